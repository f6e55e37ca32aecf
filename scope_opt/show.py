"""Instances, results and comparisons as text for the terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, Group
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from scope_opt import units
from scope_opt.bounds import latency_bound
from scope_opt.cost import build_tables
from scope_opt.result import Status, StopReason

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

    from scope_opt.evaluate import ClusterReport, EnergyReport, Evaluation, SegmentReport
    from scope_opt.instance import Constraints, Instance
    from scope_opt.package import Package
    from scope_opt.result import EnergyBreakdown, Result
    from scope_opt.schedule import Cluster, Schedule, Segment

PIPED_WIDTH = 160
"""Columns where the output is no terminal: wide enough for every table."""

TITLE, DIM, GOOD, BAD = "bold", "dim", "green", "bold red"
_STATUS_STYLE = {Status.OPTIMAL: GOOD, Status.FEASIBLE: GOOD}


def make_console(*, stderr: bool = False) -> Console:
    """Console that takes text literally and does not cut tables short in a pipe."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PIPED_WIDTH
    return Console(stderr=stderr, width=width, markup=False, highlight=False, emoji=False)


# --- Parts ---------------------------------------------------------------------------------------


class Columns:
    """A table that leaves out its least important columns where the terminal is too narrow.

    Parameters
    ----------
    columns : sequence of (header, alignment, rank)
        ``rank`` 0 stays; the highest rank goes first.
    """

    def __init__(self, columns: Sequence[tuple[str, str, int]]) -> None:
        self._columns = columns
        self._rows: list[tuple[list[Text | str], str]] = []
        self._sections: set[int] = set()

    def add(self, *cells: Text | str, style: str = "") -> None:
        self._rows.append((list(cells), style))

    def end_section(self) -> None:
        self._sections.add(len(self._rows))

    def fit(self, console: Console, width: int | None = None) -> RenderableType:
        """The table, with a line that names the columns left out."""
        shown = list(range(len(self._columns)))
        left_out: list[str] = []
        width = width or console.width
        while True:
            table = self._table(shown)
            wanted = Measurement.get(console, console.options, table).maximum
            droppable = [index for index in shown if self._columns[index][2] > 0]
            if wanted <= width or not droppable:
                break
            goes = max(droppable, key=lambda index: (self._columns[index][2], index))
            shown.remove(goes)
            left_out.append(self._columns[goes][0])
        if not left_out:
            return table
        note = f"too narrow for: {', '.join(left_out)}"
        return Group(table, Text(note, style=DIM))

    def _table(self, shown: list[int]) -> Table:
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style=TITLE)
        for index in shown:
            header, alignment, _ = self._columns[index]
            fold = alignment == "fold"
            table.add_column(
                header,
                justify="right" if alignment == "right" else "left",
                no_wrap=not fold,
                overflow="fold" if fold else "ellipsis",
            )
        for number, (cells, style) in enumerate(self._rows, start=1):
            picked = [cells[index] if index < len(cells) else "" for index in shown]
            table.add_row(*picked, style=style, end_section=number in self._sections)
        return table


def facts(rows: Iterable[tuple[str, str | Text, str]]) -> Table:
    """Lines of name, value and remark."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(style=DIM, overflow="fold")
    for name, value, remark in rows:
        table.add_row(f"  {name}", value, remark)
    return table


def title(*parts: str) -> Text:
    first, *rest = (units.plain(part) for part in parts if part)
    return Text.assemble((first, TITLE), *(f"  {part}" for part in rest), overflow="fold")


def bar(share: float, length: int, *, ascii_only: bool) -> str:
    """A bar of ``share`` of ``length`` characters; never empty for a share above zero."""
    eighths = round(max(0.0, min(1.0, share)) * length * 8)
    if ascii_only:
        return "#" * max(1 if share > 0 else 0, round(eighths / 8))
    eighths = max(1 if share > 0 else 0, eighths)
    return "█" * (eighths // 8) + ("", *"▏▎▍▌▋▊▉")[eighths % 8]


# --- Instances -----------------------------------------------------------------------------------


def instance_view(instance: Instance) -> RenderableType:
    """Sizes, totals, whether the weights fit, lower bounds and side constraints."""
    tables = build_tables(instance)
    weights, buffer = int(tables.weight_bytes.sum()), tables.weight_buffer_bytes
    largest = int(tables.weight_bytes.argmax())
    rows: list[tuple[str, str | Text, str]] = []
    skips = units.plural(len(tables.edge_from), "skip edge")
    network, package = instance.network, instance.package
    layers = len(instance.layer_names)
    if network is not None:
        rows.append(("network", units.plain(network.name), f"{layers} layers, {skips}"))
        most = max(network.layers, key=lambda layer: layer.macs)
        remark = f"per sample; most in {units.plain(most.name)}, {units.count(most.macs, 'MAC')}"
        rows.append(("computation", units.count(network.macs, "MAC"), remark))
    else:
        rows.append(("network", "latency tables", f"{layers} layers, {skips}"))
    rows.append(("samples", str(instance.samples), "per batch"))
    remark = (
        f"largest layer {largest} ({units.plain(instance.layer_names[largest])}), "
        f"{units.size(int(tables.weight_bytes[largest]))}"
    )
    rows.append(("weights", units.size(weights), remark))
    if package is not None:
        rows += _package_facts(package)
    else:
        rows.append(("package", units.plural(instance.chiplets, "chiplet"), ""))
    total = buffer * instance.chiplets
    rows.append(("weight buffers", units.size(total), f"{units.size(buffer)} per chiplet"))
    rows.append(_fit(weights, total, stream=tables.stream))
    policy = {
        "forbid": "a cluster's weights must fit the buffers of its region",
        "stream": "weights that do not fit are fetched again for every sample",
    }
    rows.append(("overflow", instance.overflow, policy[instance.overflow]))

    bound = latency_bound(tables)
    floors: list[tuple[str, str | Text, str]] = [
        ("latency", units.picoseconds(bound), "of any schedule, weight loading included")
    ]
    if bound:
        rate = f"{units.number(instance.samples / (bound / 1e12))} samples/s"
        floors.append(("throughput", rate, "at most"))
    if network is not None and package is not None:
        peak = package.chiplet.macs_per_cycle * package.chiplet.frequency_hz * package.chiplets
        ideal = network.macs * instance.samples / peak
        floors.append(("computation alone", units.seconds(ideal), "all MAC units always busy"))
        if weights:
            dram = package.dram
            once = dram.latency_s + weights / (dram.bandwidth_bytes_per_s * dram.efficiency)
            floors.append(("weights alone", units.seconds(once), "each read once from DRAM"))
    return Group(
        title(instance.name, instance.description),
        Text(),
        facts(rows),
        Text(),
        title("Lower bounds"),
        facts(floors),
        Text(),
        title("Side constraints"),
        facts(_constraint_facts(instance.constraints)),
    )


def _package_facts(package: Package) -> Iterable[tuple[str, str, str]]:
    chip = package.chiplet
    mesh = f"{package.mesh_rows} x {package.mesh_cols}"
    yield "package", units.plural(package.chiplets, "chiplet"), f"{mesh} mesh"
    peak = chip.macs_per_cycle * chip.frequency_hz * package.chiplets
    remark = f"{chip.macs_per_cycle} MACs per chiplet at {units.count(chip.frequency_hz, 'Hz')}"
    yield "peak", units.count(peak, "MAC/s"), remark
    nop, dram = package.nop, package.dram
    remark = f"per chiplet and direction, {units.plural(nop.ports, 'port')}"
    yield "network on package", units.count(nop.bandwidth_bytes_per_s, "B/s"), remark
    remark = f"shared, {units.percent(dram.efficiency)} of it usable"
    yield "DRAM", units.count(dram.bandwidth_bytes_per_s, "B/s"), remark


def _fit(weights: int, buffers: int, *, stream: bool) -> tuple[str, Text, str]:
    if weights <= buffers:
        share = units.percent(weights / buffers)
        return "one segment", Text("fits", style=GOOD), f"all weights take {share} of the buffers"
    remark = f"weights are {units.number(weights / buffers)} x the buffers; "
    if stream:
        return "one segment", Text("overflows", style="yellow"), remark + "refetching or segments"
    least = -(-weights // buffers)
    return (
        "one segment",
        Text("does not fit", style="yellow"),
        f"{remark}about {least} segments or more",
    )


def _constraint_facts(constraints: Constraints) -> list[tuple[str, str | Text, str]]:
    present = constraints.model_dump(exclude_none=True)
    if not present:
        return [("none", "", "")]
    facts: list[tuple[str, str | Text, str]] = []
    for name, value in present.items():
        if name == "fixed_partitions":
            value = [f"{entry['layer']}:{entry['partition']}" for entry in value]
        text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        facts.append((name, "", text))
    return facts


# --- Results -------------------------------------------------------------------------------------

_ENDED = {
    StopReason.COMPLETED: "completed",
    StopReason.TIME_LIMIT: "stopped at the time limit",
    StopReason.INTERRUPTED: "interrupted, best so far",
}


def result_view(
    result: Result, instance: Instance | None, evaluation: Evaluation | None = None
) -> RenderableType:
    """Summary of a solve."""
    description = instance.description if instance is not None else ""
    status = Text(result.status.value, style=_STATUS_STYLE.get(result.status, BAD))
    ended = f"{_ENDED[result.stop_reason]}, {units.seconds(result.times_s.total)}"
    rows: list[tuple[str, str | Text, str]] = [
        ("solver", units.plain(result.solver), _options(result)),
        ("status", status, ended),
    ]
    samples = instance.samples if instance is not None else None
    if result.objective_ps is not None:
        batch = f"{units.plural(samples, 'sample')}, " if samples is not None else ""
        rows.append(
            ("latency", units.picoseconds(result.objective_ps), f"{batch}weight loading included")
        )
        rows += placement_facts(result.objective_ps, evaluation)
        rows.append(("throughput", f"{units.number(result.throughput_per_s)} samples/s", ""))
    gap = "" if result.gap is None else f"no schedule is faster; gap {units.percent(result.gap)}"
    rows.append(("lower bound", units.picoseconds(result.bound_ps), gap))
    if result.objective_ps is not None:
        rows.append(("utilization", units.percent(result.utilization), "of all MAC units"))
        rows.append(_energy_fact(result.energy_j, samples))
        rows.append(structure_fact(result.schedule))
    parts: list[RenderableType] = [
        title(result.instance.name, description),
        Text(),
        facts(rows),
    ]
    if result.explanation:
        parts += [Text(), title("No schedule")]
        parts += [Text(f"  {units.plain(line)}", overflow="fold") for line in result.explanation]
    return Group(*parts)


def _options(result: Result) -> str:
    segments = result.options.get("segments")
    text = f"segments {segments}" if segments is not None else ""
    limit = result.options.get("time_limit_s")
    return units.plain(text + (f", time limit {units.seconds(limit)}" if limit else ""))


def structure_fact(schedule: Schedule | None) -> tuple[str, str, str]:
    if schedule is None:
        return "segments", units.ABSENT, ""
    clusters = len(list(schedule.clusters))
    return "segments", str(len(schedule.segments)), f"{units.plural(clusters, 'cluster')} in all"


def placement_facts(
    objective_ps: int, evaluation: Evaluation | None
) -> Iterable[tuple[str, str | Text, str]]:
    if evaluation is not None and evaluation.placed_latency_ps is not None:
        placed = evaluation.placed_latency_ps
        remark = "with every transfer counted where its regions lie"
        if objective_ps:
            remark = f"{100 * (placed / objective_ps - 1):+.1f}%, {remark}"
        yield "latency as placed", units.picoseconds(placed), remark


def _energy_fact(
    energy: EnergyBreakdown | None, samples: int | None
) -> tuple[str, str | Text, str]:
    if energy is None:
        return "energy", units.ABSENT, ""
    parts = (("MAC", energy.mac), ("SRAM", energy.sram), ("NoP", energy.nop), ("DRAM", energy.dram))
    return _energy_line(energy.total, parts, samples)


def _energy_line(
    total: float, parts: Iterable[tuple[str, float]], samples: int | None
) -> tuple[str, str | Text, str]:
    shares = ", ".join(
        f"{name} {units.percent(value / total if total else None)}" for name, value in parts
    )
    each = f"{units.joules(total / samples)} per sample: " if samples else ""
    return "energy", units.joules(total), each + shares
