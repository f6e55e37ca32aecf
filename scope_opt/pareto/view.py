"""A latency-energy front as text for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from scope_opt.model import units
from scope_opt.solving.result import Status
from scope_opt.terminal.show import BAD, DIM, GOOD, Columns, facts, title

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from scope_opt.model.instance import Instance
    from scope_opt.pareto.front import Front, Point
    from scope_opt.terminal.show import Fact

WIDTH, HEIGHT = 64, 12
"""Characters of the picture, axes left out."""


def front_view(console: Console, front: Front, instance: Instance) -> RenderableType:
    """What is proved, the points as a picture and as a table."""
    rows: list[Fact] = [
        ("solver", units.plain(front.solver), ""),
        ("front", *_extent(front)),
        ("least latency", units.picoseconds(front.latency_bound_ps), "no schedule is faster"),
    ]
    parts: list[RenderableType] = [
        title(instance.name, instance.description),
        Text(),
        facts(rows),
        Text(),
    ]
    if not front.points:
        explained = [Text(f"  {units.plain(line)}", overflow="fold") for line in front.explanation]
        return Group(*parts, title("No schedule"), *explained)
    return Group(*parts, *_picture(front.points), Text(), _table(console, front.points))


def _extent(front: Front) -> tuple[Text, str]:
    """How much of the front there is, and why not all."""
    found = units.plural(len(front.points), "point")
    if front.complete:
        return Text(found, style=GOOD), "complete: no other schedule is better than all of them"
    reasons = []
    if front.stop_reason == "interrupted":
        reasons.append("interrupted")
    elif front.options.get("points") is not None:
        reasons.append("a sample of the front")
    unproved = sum(point.status is not Status.OPTIMAL for point in front.points)
    if unproved:
        reasons.append(f"{unproved} not proved optimal")
    if front.points and front.points[0].latency_ps != front.latency_bound_ps:
        reasons.append("least latency not proved")
    return Text(found, style="" if front.points else BAD), ", ".join(reasons)


def _table(console: Console, points: tuple[Point, ...]) -> RenderableType:
    table = Columns(
        (
            ("latency", "right", 0),
            ("energy", "right", 0),
            ("energy x delay", "right", 1),
            ("segments", "right", 2),
            ("clusters", "right", 2),
            ("certificate", "left", 0),
            ("least energy up to", "right", 3),
            ("time", "right", 4),
        )
    )
    for point in points:
        energy_j, latency_s = point.energy_fj / 1e15, point.latency_ps / 1e12
        within = units.picoseconds(point.within_ps)
        table.add(
            units.picoseconds(point.latency_ps),
            units.joules(energy_j),
            f"{units.number(energy_j * latency_s * 1e6)} uJ s",
            str(len(point.schedule.segments)),
            str(len(list(point.schedule.clusters))),
            _certificate(point),
            "any latency" if point.within_ps is None else within,
            units.seconds(point.time_s),
        )
    return table.fit(console)


def _certificate(point: Point) -> Text:
    if point.status is Status.OPTIMAL:
        return Text("optimal", style=GOOD)
    return Text("no bound" if point.gap is None else f"gap {100 * point.gap:.2g}%")


def _picture(points: tuple[Point, ...]) -> list[Text]:
    """Points in a frame, energy upwards and latency to the right."""
    latencies = [point.latency_ps for point in points]
    energies = [point.energy_fj for point in points]
    grid = [[" "] * WIDTH for _ in range(HEIGHT)]
    for latency, energy in zip(latencies, energies, strict=True):
        column = _place(latency, min(latencies), max(latencies), WIDTH)
        grid[HEIGHT - 1 - _place(energy, min(energies), max(energies), HEIGHT)][column] = "o"
    labels = [""] * HEIGHT
    labels[-1] = units.joules(min(energies) / 1e15)
    labels[0] = units.joules(max(energies) / 1e15)
    lines = [
        Text.assemble(f"  {label:>9} ", ("|", DIM), "".join(row).rstrip())
        for label, row in zip(labels, grid, strict=True)
    ]
    first, last = units.picoseconds(min(latencies)), units.picoseconds(max(latencies))
    lines.append(Text.assemble(" " * 12, ("+" + "-" * WIDTH, DIM)))
    lines.append(Text(" " * 13 + first + last.rjust(WIDTH - len(first))))
    return lines


def _place(value: int, least: int, most: int, length: int) -> int:
    return (value - least) * (length - 1) // (most - least) if most > least else 0
