"""Segments of a schedule as small pictures: regions on the mesh, and how busy each cluster is."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from scope_opt.model import units
from scope_opt.model.mesh import position_grid
from scope_opt.notebook.figures import palette
from scope_opt.report.figure import duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scope_opt.model.instance import Instance
    from scope_opt.report.cases import Case
    from scope_opt.schedule.evaluation import SegmentReport

SIDE = 112
"""Pixels of the mesh's longer side."""
BAR_WIDTH, BAR_STEP, MOST_BARS = 96, 9, 12
MOST_SEGMENTS = 8


def segment_pictures(case: Case) -> str:
    """SVG of the first segments side by side, in colours for light and dark pages."""
    reports = case.evaluation.segments[:MOST_SEGMENTS]
    pictures = "".join(
        f'<div style="font-size: 11px">{_picture(case.instance, report, index)}</div>'
        for index, report in enumerate(reports)
    )
    more = len(case.evaluation.segments) - len(reports)
    rest = f"<div>and {units.plural(more, 'more segment')}</div>" if more else ""
    flow = "display: flex; flex-wrap: wrap; gap: 1em; align-items: flex-start"
    return f'<div style="{flow}">{pictures}{rest}</div>'


def _picture(instance: Instance, report: SegmentReport, index: int) -> str:
    mesh, width, height = _mesh(instance, report)
    bars = "".join(_bars(report, width + 10))
    shown = min(len(report.clusters), MOST_BARS)
    total = max(height, BAR_STEP * (shown + (shown < len(report.clusters))))
    layers = f"layers {report.first_layer}-{report.last_layer}"
    beat = f"beat {duration(report.beat_ps)}, set by {report.cause}"
    label = f"Segment {index}, {layers}"
    right = width + 10 + BAR_WIDTH
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{right + 2:g}" height="{total + 34:g}" '
        f'viewBox="0 0 {right + 2:g} {total + 34:g}" role="img" aria-label="{escape(label)}" '
        f'font-family="system-ui, sans-serif" font-size="11" fill="currentColor">'
        f'<text x="0" y="11">{escape(label)}</text>'
        f'<text x="0" y="25" opacity=".7">{escape(beat)}</text>'
        f'<g transform="translate(0 32)">{mesh}{bars}</g></svg>'
    )


def _mesh(instance: Instance, report: SegmentReport) -> tuple[str, float, float]:
    """Chiplets in their clusters' colours; a strip in order where there is no mesh."""
    package = instance.package
    strip = [list(range(instance.chiplets))]
    grid = strip if package is None else position_grid(package).tolist()
    owner = {
        position: number
        for number, cluster in enumerate(report.clusters)
        for position in range(cluster.first_position, cluster.first_position + cluster.chiplets)
    }
    cell = SIDE / max(len(grid), len(grid[0]))
    space = 1 if cell > 4 else 0
    squares = []
    for r, row in enumerate(grid):
        for c, position in enumerate(row):
            number = owner.get(position)
            look = 'fill="none" stroke="currentColor" stroke-opacity=".3"'
            if number is not None:
                look = f'fill="{palette(number)}"'
            squares.append(
                f'<rect x="{c * cell:.4g}" y="{r * cell:.4g}" width="{cell - space:.4g}" '
                f'height="{cell - space:.4g}" {look}/>'
            )
    return "".join(squares), cell * len(grid[0]), cell * len(grid)


def _bars(report: SegmentReport, left: float) -> Iterator[str]:
    """How much of the beat each cluster works; the frame is the beat."""
    for number, cluster in enumerate(report.clusters[:MOST_BARS]):
        share = cluster.time_ps / report.beat_ps if report.beat_ps else 0.0
        top = BAR_STEP * number
        yield (
            f'<rect x="{left:.4g}" y="{top}" width="{BAR_WIDTH}" height="{BAR_STEP - 2}" '
            f'fill="none" stroke="currentColor" stroke-opacity=".25" stroke-width=".5"/>'
            f'<rect x="{left:.4g}" y="{top}" width="{BAR_WIDTH * share:.4g}" '
            f'height="{BAR_STEP - 2}" fill="{palette(number)}"><title>cluster {number}, layers '
            f"{cluster.first_layer}-{cluster.last_layer}, "
            f"{units.plural(cluster.chiplets, 'chiplet')}, {duration(cluster.time_ps)} a sample"
            f"</title></rect>"
        )
    more = len(report.clusters) - MOST_BARS
    if more > 0:
        yield f'<text x="{left:.4g}" y="{BAR_STEP * MOST_BARS + 8}">and {more} more</text>'
