"""One beat's traffic as text, for simulators of networks (docs/replay.md describes the file).

In a beat every stage works on one sample, so that all transfers of a sample happen once. A transfer
is many messages, each from one chiplet to another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from scope_opt.cost.build import build_tables
from scope_opt.model import units
from scope_opt.model.files import InputError
from scope_opt.model.mesh import link_loads, links, places
from scope_opt.replay.stages import pipelines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from scope_opt.model.instance import Instance
    from scope_opt.model.package import Package
    from scope_opt.replay.stages import Pipeline
    from scope_opt.replay.transfers import Part
    from scope_opt.schedule.schedule import Schedule

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

COLUMNS = (
    *("source", "destination", "bytes", "flits", "start_cycle"),
    *("kind", "segment", "from_layer", "to_layer"),
)
FLIT_BYTES = 32
MOST_MESSAGES = 4_000_000
"""About 200 MB of text."""
MOST_COUNTED = 2**53
"""Flits, and cycles of a beat: up to here floats count exactly."""

Injection = Literal["paced", "burst"]
"""Flits of a message spread evenly over the beat, or all there when the beat begins."""


class _Sent(NamedTuple):
    """Messages of a part, one entry each."""

    part: Part
    sources: Ints
    """Chiplets by number, row by row."""
    destinations: Ints
    bytes: Floats
    flits: Ints


def refuse_without_places(instance: Instance) -> None:
    """Raise `InputError` unless the instance says where regions lie.

    Raises
    ------
    InputError
        For explicit tables and the regressed model.
    """
    package = instance.package
    if package is not None and package.nop.model == "placed":
        return
    found = (
        "has explicit tables, which know no places"
        if package is None
        else f"package.nop.model is {package.nop.model!r}, which prices transfers by the sizes of "
        "regions and does not say between which chiplets they go"
    )
    way_out = (
        "give the same network in the placed model, as 'generate' writes it; schedules that were "
        "found in either model can be used"
    )
    raise InputError("--traffic", [f"{instance.name}: {found}; {way_out}"])


def traffic(
    instance: Instance,
    schedule: Schedule,
    flit_bytes: int = FLIT_BYTES,
    injection: Injection = "paced",
) -> str:
    """The messages of one beat of every segment of a valid schedule.

    Parameters
    ----------
    flit_bytes : int
        What a link carries in a cycle.
    injection : Injection
        What start cycles say.

    Raises
    ------
    InputError
        If the instance does not say where regions lie, or there is too much to write.
    """
    instance = schedule.ordered(instance)
    refuse_without_places(instance)
    assert instance.package is not None
    tables = build_tables(instance)
    writer = _Writer(instance.package, flit_bytes, injection)
    work = pipelines(instance, schedule, tables)
    _refuse_excess(work, flit_bytes, writer.cycle_ps)
    heads: list[str] = []
    lines: list[str] = []
    for index, (segment, pipeline) in enumerate(zip(schedule.segments, work, strict=True)):
        sent = writer.sent(pipeline)
        layers = f"layers {segment.first_layer} to {segment.last_layer}"
        heads.append(f"# segment {index}: {layers}, {writer.summary(pipeline, sent)}")
        lines += writer.lines(index, pipeline, sent)
    about = f"# instance: {units.plain(instance.name)}, {instance.digest}"
    return "\n".join([*writer.head(about), *heads, "# " + " ".join(COLUMNS), *lines, ""])


def _refuse_excess(work: list[Pipeline], flit_bytes: int, cycle_ps: float) -> None:
    parts = [part for pipeline in work for part in pipeline.parts]
    messages = sum(part.sent.most for part in parts)
    flits = messages + sum(float(part.loads.sum()) for part in parts) / flit_bytes
    cycles = max(pipeline.beat_ps for pipeline in work) / cycle_ps
    problems = []
    if messages > MOST_MESSAGES:
        problems.append(
            f"would have up to {messages} messages, at most {MOST_MESSAGES} are written; take an "
            "instance of fewer chiplets, or one with package.nop.gather 'relay'"
        )
    if max(flits, cycles) > MOST_COUNTED:
        problems.append(
            f"would have up to {flits:.2g} flits in a beat of {cycles:.2g} cycles, at most "
            f"{MOST_COUNTED} can be counted; take a larger --flit-bytes"
        )
    if problems:
        raise InputError("--traffic", problems)


class _Writer:
    """Writes traffic of a package."""

    def __init__(self, package: Package, flit_bytes: int, injection: Injection) -> None:
        self._package, self._flit_bytes, self._injection = package, flit_bytes, injection
        self._mesh = package.mesh_rows, package.mesh_cols
        self._chiplet: Ints = places(package) @ np.array([package.mesh_cols, 1])
        self.cycle_ps = 1e12 * flit_bytes / package.nop.port_bytes_per_s

    def head(self, about: str) -> list[str]:
        """Comments about the whole file."""
        rows, cols = self._mesh
        order = self._package.order
        listed = order if isinstance(order, str) else " ".join(f"{y},{x}" for y, x in order)
        return [
            "# scope-traffic/1: messages between chiplets in one beat of each segment",
            about,
            f"# mesh: {rows} rows, {cols} columns; chiplet = row * {cols} + column; routes go "
            "along the row first",
            f"# order: {listed}",
            f"# gathers: {self._package.nop.gather}",
            f"# flit: {self._flit_bytes} bytes; cycle: {_number(self.cycle_ps)} ps, one flit over "
            "every link",
            f"# injection: {self._injection}",
        ]

    def sent(self, pipeline: Pipeline) -> list[_Sent]:
        """Messages of a segment, in the order in which its stages send them."""
        found = []
        for part in pipeline.parts:
            messages = part.sent.messages()
            source, target = (self._chiplet[ends] for ends in (messages.sources, messages.targets))
            flits = np.ceil(messages.bytes / self._flit_bytes).astype(np.int64)
            found.append(_Sent(part, source, target, messages.bytes, flits))
        return found

    def summary(self, pipeline: Pipeline, sent: list[_Sent]) -> str:
        """Beat, sums and the busiest link of a segment."""
        beat = self._cycles(pipeline)
        messages = sum(len(each.flits) for each in sent)
        moved = sum(float(each.bytes.sum()) for each in sent)
        flits = sum(int(each.flits.sum()) for each in sent)
        text = f"beat {pipeline.beat_ps} ps = {_number(beat)} cycles, {messages} messages, "
        text += f"{_number(moved)} bytes, {flits} flits"
        loads = self._loads(sent)
        if not loads.any():
            return text
        busiest = int(loads.argmax())
        source, target = (row * self._mesh[1] + col for row, col in links(*self._mesh)[busiest])
        flits, moved = int(loads[busiest]), sum(float(each.part.loads[busiest]) for each in sent)
        carried = moved / self._flit_bytes / beat
        text += f", busiest link {source} to {target}: {_number(moved)} bytes, {flits} flits, "
        return text + f"load {carried:.3f} by bytes, {flits / beat:.3f} by flits"

    def lines(self, index: int, pipeline: Pipeline, sent: list[_Sent]) -> Iterator[str]:
        """One line for each message."""
        for each, starts in zip(sent, self._starts(pipeline, sent), strict=True):
            source, target = each.part.layers
            end = f"{each.part.kind} {index} {source} {target}"
            arrays = (each.sources, each.destinations, each.bytes, each.flits, starts)
            for here, there, size, *times in zip(*(x.tolist() for x in arrays), strict=True):
                yield f"{here} {there} {_number(size)} {times[0]} {times[1]} {end}"

    def _cycles(self, pipeline: Pipeline) -> float:
        return pipeline.beat_ps / self.cycle_ps

    def _starts(self, pipeline: Pipeline, sent: list[_Sent]) -> Iterator[Ints]:
        """Cycle of the first flit of each message.

        Paced, flits of a message are a beat over their number apart. It begins so far into the
        first of these intervals as the chiplet's flits before it are of all it sends: messages of
        one chiplet do not begin together.
        """
        if self._injection == "burst":
            yield from (np.zeros_like(each.flits) for each in sent)
            return
        total = np.zeros(len(self._chiplet))
        for each in sent:
            np.add.at(total, each.sources, each.flits)
        before, beat = np.zeros_like(total), self._cycles(pipeline)
        for each in sent:
            # Stable: messages of one chiplet stay in the order in which it sends them.
            order = np.argsort(each.sources, kind="stable")
            flits, sources = each.flits[order], each.sources[order]
            first = np.flatnonzero(np.diff(sources, prepend=-1))
            passed = np.cumsum(flits) - flits
            own = passed - np.repeat(passed[first], np.diff(first, append=len(flits)))
            starts = np.empty_like(flits)
            starts[order] = (before[sources] + own) / total[sources] * beat / flits
            np.add.at(before, each.sources, each.flits)
            yield starts

    def _loads(self, sent: list[_Sent]) -> Ints:
        """Flits on every link, in the order of `scope_opt.model.mesh.links`."""
        chiplets = len(self._chiplet)
        between = np.zeros((chiplets, chiplets), dtype=np.int64)
        for each in sent:
            np.add.at(between, (each.sources, each.destinations), each.flits)
        total = np.zeros(len(links(*self._mesh)), dtype=np.int64)
        for chiplet in np.flatnonzero(between.any(axis=1)):
            alone = np.zeros((1, *self._mesh), dtype=np.int64)
            alone.flat[chiplet] = 1
            total += link_loads(alone, between[chiplet].reshape(1, *self._mesh))[0]
        return total


def _number(value: float) -> str:
    """Exactly, and whole numbers without a point."""
    return repr(value).removesuffix(".0")
