"""A replay as text for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from scope_opt.model import units
from scope_opt.terminal.show import Columns, facts, title

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from scope_opt.model.instance import Instance
    from scope_opt.replay.report import Replay, ReplayedSegment, ReplayedStage
    from scope_opt.terminal.show import Fact

_SPENT = (
    *(("busy", "busy_ps"), ("no input", "input_ps"), ("no room", "room_ps"), ("DRAM", "dram_ps")),
    *(("power", "power_ps"), ("links", "links_ps"), ("beat", "beat_ps"), ("drained", "drained_ps")),
)
"""Columns about a stage's time, with their fields."""


def replay_view(console: Console, replay: Replay, instance: Instance) -> RenderableType:
    """Latency in both modes, and how every stage spent its time in the mode asked for."""
    verdict = "agrees" if replay.agrees else "DISAGREES"
    buffered = units.plural(replay.buffers, "buffer")
    change = "" if replay.difference is None else f"{100 * replay.difference:+.3f}%, "
    rows: list[Fact] = [
        ("evaluator", units.picoseconds(replay.evaluator_ps), f"{replay.evaluator_ps} ps"),
        (
            "lockstep",
            units.picoseconds(replay.lockstep_ps),
            f"{replay.lockstep_ps} ps, {verdict} with the evaluator",
        ),
        (
            "asynchronous",
            units.picoseconds(replay.asynchronous_ps),
            f"{change}{buffered} between a stage and the next",
        ),
        ("events", str(replay.events), f"{replay.mode}, {instance.samples} samples"),
    ]
    busiest = _busiest_link(replay, instance.samples)
    if busiest is not None:
        rows.append(busiest)
    heading = title(f"Stages, {replay.mode}", "shares of the segment's time after loading")
    return Group(
        title(instance.name, instance.description),
        Text(),
        facts(rows),
        Text(),
        heading,
        Text(),
        _stages(console, replay),
    )


def _busiest_link(replay: Replay, samples: int) -> Fact | None:
    """The link in use for the largest share of its segment's time, where links are shared."""
    found = [
        (samples * segment.busiest_link.sample_ps / segment.run_ps, index, segment.busiest_link)
        for index, segment in enumerate(replay.segments)
        if segment.busiest_link is not None
    ]
    if not found:
        return None
    used, index, link = max(found, key=lambda entry: entry[0])
    (row, column), (to_row, to_column) = link.source, link.target
    place = f"[{row}, {column}] to [{to_row}, {to_column}]"
    carries = f"{units.picoseconds(link.sample_ps)} per sample"
    return "busiest link", place, f"{carries}, {units.percent(used)} of the time of segment {index}"


def _stages(console: Console, replay: Replay) -> RenderableType:
    stages = [stage for segment in replay.segments for stage in segment.stages]
    shown = [
        (header, name) for header, name in _SPENT if any(getattr(stage, name) for stage in stages)
    ]
    table = Columns(
        (
            ("segment", "right", 0),
            ("loads", "right", 2),
            ("runs", "right", 1),
            ("cluster", "right", 0),
            ("layers", "left", 0),
            ("chiplets", "right", 1),
            ("per sample", "right", 0),
            *((header, "right", 0) for header, _ in shown),
        )
    )
    for index, segment in enumerate(replay.segments):
        for c, stage in enumerate(segment.stages):
            start = ["", "", ""]
            if c == 0:
                times = (segment.load_ps, segment.run_ps)
                start = [str(index), *map(units.picoseconds, times)]
            table.add(
                *start,
                str(c),
                f"{stage.first_layer}-{stage.last_layer}",
                str(stage.chiplets),
                units.picoseconds(stage.sample_ps),
                *(_share(segment, stage, name) for _, name in shown),
            )
        table.end_section()
    return table.fit(console)


def _share(segment: ReplayedSegment, stage: ReplayedStage, name: str) -> str:
    return units.percent(getattr(stage, name) / segment.run_ps if segment.run_ps else None)
