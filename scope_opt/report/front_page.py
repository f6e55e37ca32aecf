"""A latency-energy front as a page of its own, which needs no script: the figure is an SVG."""

from __future__ import annotations

from html import escape
from math import ceil, floor, log10
from typing import TYPE_CHECKING

from markupsafe import Markup

from scope_opt.model import units
from scope_opt.report.figure import duration
from scope_opt.report.page import Column, Fact, Page, Table
from scope_opt.report.site import render
from scope_opt.solving.result import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scope_opt.model.instance import Instance
    from scope_opt.pareto.front import Front, Point

WIDTH, HEIGHT = 900, 420
LEFT, RIGHT, TOP, BOTTOM = 84, 24, 16, 52
TICKS = 7
"""About so many on each axis."""


def front_page(front: Front, instance: Instance) -> str:
    """The page, in light or dark colours."""
    points = front.points
    facts = [Fact("Points", str(len(points)), "complete" if front.complete else "not all")]
    if points:
        facts.append(Fact("Fastest", duration(points[0].latency_ps), _joules(points[0])))
        least = points[-1]
        facts.append(Fact("Least energy", _joules(least), duration(least.latency_ps)))
    facts.append(Fact("Lower bound", duration(front.latency_bound_ps), "no schedule is faster"))
    facts.append(Fact("Solver", front.solver))
    columns = [Column("latency"), Column("energy"), Column("segments"), Column("clusters")]
    columns.append(Column("certificate", number=False))
    rows = [[duration(point.latency_ps), _joules(point), *_structure(point)] for point in points]
    content = {
        "facts": facts,
        "picture": Markup(picture(points) if points else ""),  # all text in it is escaped
        "table": Table("Points of the front", columns, rows),
    }
    title = f"{front.instance.name}: least energy within a latency"
    subtitle = f"{instance.description}, {units.plural(instance.samples, 'sample')}"
    return render(Page("front.html", "front.html.j2", title, subtitle, content=content))


def picture(points: Sequence[Point]) -> str:
    """Steps from point to point, latency to the right and energy upwards."""
    latencies = [point.latency_ps / 1e12 for point in points]
    energies = [point.energy_fj / 1e15 for point in points]
    across, right = _scale(latencies, LEFT, WIDTH - RIGHT)
    up, top = _scale(energies, HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="100%" role="img" '
        'aria-label="Energy against latency" font-size="13" fill="var(--ink)">'
    ]
    base, edge = HEIGHT - BOTTOM, WIDTH - RIGHT
    for value in right:
        x = across(value)
        parts.append(f'<path d="M{x:.1f} {TOP} V{base}" stroke="var(--line)"/>')
        label = _short(units.seconds(value))
        parts.append(f'<text x="{x:.1f}" y="{base + 18}" text-anchor="middle">{label}</text>')
    for value in top:
        y = up(value)
        parts.append(f'<path d="M{LEFT} {y:.1f} H{edge}" stroke="var(--line)"/>')
        label = _short(units.joules(value))
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    middle = (LEFT + edge) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 10}" text-anchor="middle">latency</text>')
    parts.append(f'<text x="12" y="{TOP + 4}">energy</text>')
    places = [(across(x), up(y)) for x, y in zip(latencies, energies, strict=True)]
    steps = "".join(f" H{x:.1f} V{y:.1f}" for x, y in places[1:])
    start = f"M{places[0][0]:.1f} {places[0][1]:.1f}"
    look = 'fill="none" stroke="var(--c0)" stroke-width="2"'
    parts.append(f'<path d="{start}{steps}" {look}/>')
    for (x, y), point in zip(places, points, strict=True):
        fill = "var(--c0)" if point.status is Status.OPTIMAL else "var(--surface)"
        segments, clusters, proof = _structure(point)
        told = f"{duration(point.latency_ps)}, {_joules(point)}\n{segments} segments, "
        told += f"{clusters} clusters\n{proof}"
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{fill}" stroke="var(--c0)" '
            f'stroke-width="2"><title>{escape(told)}</title></circle>'
        )
    return "".join([*parts, "</svg>"])


def _scale(
    values: Sequence[float], begin: float, end: float
) -> tuple[Callable[[float], float], list[float]]:
    """Where a value lies between two ends, and round values to mark."""
    least, most = min(values), max(values)
    margin = (most - least or most or 1.0) * 0.06
    low, high = least - margin, most + margin
    rough = (high - low) / TICKS
    power = 10.0 ** floor(log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    marks = [step * number for number in range(ceil(low / step), floor(high / step) + 1)]
    return (lambda value: begin + (end - begin) * (value - low) / (high - low)), marks


def _short(text: str) -> str:
    """A round number without zeros at its end: ``1.500 ms`` is ``1.5 ms``."""
    number, _, unit = text.replace(" us", " µs").replace(" uJ", " µJ").partition(" ")
    number = number.rstrip("0").rstrip(".") if "." in number else number
    return escape(f"{number} {unit}")


def _joules(point: Point) -> str:
    return units.joules(point.energy_fj / 1e15)


def _structure(point: Point) -> tuple[str, str, str]:
    """Segments, clusters, and what is proved."""
    proof = "no bound" if point.gap is None else f"gap {100 * point.gap:.2g}%"
    if point.status is Status.OPTIMAL:
        proof = "optimal"
    clusters = len(list(point.schedule.clusters))
    return str(len(point.schedule.segments)), str(clusters), proof
