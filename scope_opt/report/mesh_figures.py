"""Figures of one segment on the mesh: its regions, and how loaded the links are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scope_opt.model import units
from scope_opt.model.mesh import position_grid
from scope_opt.report.figure import Field, Figure, Trace, axis, duration, seconds
from scope_opt.terminal.mesh import loaded_by, order_text
from scope_opt.terminal.picture import layer_range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scope_opt.model.package import Package
    from scope_opt.report.figure import Cell
    from scope_opt.schedule.evaluation import LinkReport, SegmentReport

NODE = 0.26
"""Half the side of a chiplet in the figure of links, in cells."""
LANES = (0.02, 0.24)
"""From the middle of a pair of links to the near and the far side of one, in cells."""


def regions(package: Package, segment: SegmentReport, index: int) -> Figure:
    """Chiplets of the mesh with the cluster that each works for."""
    order = position_grid(package)
    place = {int(order[r, c]): (r, c) for r in range(len(order)) for c in range(len(order[0]))}
    rows: list[list[Cell]] = []
    for number, cluster in enumerate(segment.clusters):
        layers = layer_range(cluster.first_layer, cluster.last_layer)
        members = range(cluster.first_position, cluster.first_position + cluster.chiplets)
        rows += [[number, p, *place[p], layers] for p in members if p in place]
    idle: list[list[Cell]] = [
        [None, position, *place[position], None]
        for position in range(segment.chiplets, package.chiplets)
    ]
    cell = {
        "y": 1,
        "width": 1,
        "offset": -0.5,
        "marker": {"line": {"color": "--surface", "width": 1}},
    }
    used = {
        **cell,
        "textposition": "inside",
        "insidetextanchor": "middle",
        "textangle": 0,
        "insidetextfont": {"color": "--on-mark"},
    }
    at = {"x": 3, "base": 2}
    traces = [Trace("bar", rows, {**at, "text": 0, "marker.color": 0}, "used", used)]
    if idle:
        pattern = {"shape": "/", "fgcolor": "--muted", "bgcolor": "--surface"}
        line = {"color": "--muted", "width": 0.5}
        free = {**cell, "marker": {"color": "--surface", "pattern": pattern, "line": line}}
        traces.append(Trace("bar", idle, at, "idle", free))
    shape = {"type": "path", "xref": "x", "yref": "y", "line": {"color": "--ink", "width": 2}}
    return Figure(
        key=f"mesh-{index}",
        title="Regions on the mesh",
        summary=f"The {package.mesh_rows} x {package.mesh_cols} chiplets, each with the number of "
        f"its cluster. Regions follow one another {order_text(package)}"
        + (": even rows run right, odd rows left." if package.order == "zigzag" else ".")
        + (" Hatched chiplets are idle." if idle else ""),
        fields=(
            Field("cluster"),
            Field("position"),
            Field("row"),
            Field("column"),
            Field("layers"),
        ),
        traces=traces,
        series="chiplet" if idle else "",
        layout={
            "barmode": "overlay",
            **_mesh_axes(package, 0.5),
            "shapes": [
                {**shape, "path": path} for path in [_borders(package, segment, 0.0)] if path
            ],
            "showlegend": False,
        },
        **_size(package),
    )


def links(
    package: Package, segment: SegmentReport, loads: Sequence[LinkReport], index: int
) -> Figure:
    """Both directions of every link, coloured by the share of the beat that it is loaded."""
    busiest = segment.busiest_link
    assert busiest is not None  # else there are no loads
    beat_ps = segment.beat_ps
    near, far = LANES
    wide = far - near
    # Each link keeps to the right of its way, as cars do, so that the two of a pair lie apart.
    lanes: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {
        "east": ((0, 1), {"orientation": "h", "x": 1, "offset": near}),
        "west": ((0, -1), {"orientation": "h", "x": -1, "offset": -far}),
        "south": ((1, 0), {"y": 1, "offset": -far}),
        "north": ((-1, 0), {"y": -1, "offset": near}),
    }
    piece = {"line": {"color": "--surface", "width": 0.5}}
    dot = {"symbol": "circle", "size": 8, "line": {"color": "--ink", "width": 1.5}}
    # Its colour brings the scale along, which bars cannot do.
    dot |= {"color": [busiest.time_ps / beat_ps], "coloraxis": "coloraxis"}
    start = {"mode": "markers", "marker": dot}
    traces = [Trace("scatter", [_link_row(busiest, beat_ps)], {"x": 1, "y": 0}, "busiest", start)]
    for name, (way, lane) in lanes.items():
        found = [link for link in loads if _way(link) == way]
        if found:
            at = {"y": 0, "base": 1} if way[0] == 0 else {"x": 1, "base": 0}
            rows = [_link_row(link, beat_ps) for link in found]
            style = {**lane, "width": wide, "marker": piece, "textposition": "none"}
            traces.append(Trace("bar", rows, {**at, "marker.color": 6}, name, style))
    top = busiest.time_ps / beat_ps
    most = f"{duration(busiest.time_ps)} a sample, {units.percent(top)} of the beat"
    chiplets = "".join(
        _polygon(
            [(c - NODE, r - NODE), (c + NODE, r - NODE), (c + NODE, r + NODE), (c - NODE, r + NODE)]
        )
        for r in range(package.mesh_rows)
        for c in range(package.mesh_cols)
        if (r, c) != busiest.source
    )
    shape = {"type": "path", "xref": "x", "yref": "y"}
    return Figure(
        key=f"links-{index}",
        title="Links of the mesh",
        summary="How long every link is loaded in a beat; each keeps to the right of its way. "
        f"The busiest, outlined, leads from {busiest}: {most}, {loaded_by(busiest)}. "
        "Dotted lines are borders of regions.",
        fields=(
            Field("row"),
            Field("column"),
            Field("to row"),
            Field("to column"),
            Field("carried per sample", "B"),
            Field("loaded per sample", "s"),
            Field("share of the beat", "share"),
            Field("by"),
        ),
        traces=traces,
        series="direction",
        layout={
            "barmode": "overlay",
            **_mesh_axes(package, 0.0),
            "coloraxis": {
                "cmin": 0,
                "cmax": 1,
                "colorscale": [[0, "--heat0"], [0.5, "--heat1"], [1, "--heat2"]],
                "colorbar": {
                    **{"orientation": "h", "x": 0.5, "y": 1.01, "yanchor": "bottom"},
                    **{"len": 0.8, "thickness": 8, "tickformat": ".0%", "outlinewidth": 0},
                },
            },
            "shapes": [
                {
                    **shape,
                    "path": chiplets,
                    "fillcolor": "--surface",
                    "line": {"color": "--muted", "width": 1},
                },
                {
                    **shape,
                    "path": _borders(package, segment, 0.5) or "M0,0",
                    "line": {"color": "--muted", "width": 1.5, "dash": "dot"},
                },
                {**shape, "path": _outline(busiest), "line": {"color": "--ink", "width": 2}},
            ],
            "showlegend": False,
        },
        **_size(package),
    )


def _way(link: LinkReport) -> tuple[int, int]:
    """Rows down and columns to the right that a link leads."""
    return link.target[0] - link.source[0], link.target[1] - link.source[1]


def _link_row(link: LinkReport, beat_ps: int) -> list[Cell]:
    share = link.time_ps / beat_ps
    by = loaded_by(link) if link.shares else None
    return [*link.source, *link.target, link.bytes, seconds(link.time_ps), share, by]


def _outline(link: LinkReport) -> str:
    """Around the part of a link that lies between its chiplets, as an SVG path."""
    (row, column), (down, right) = link.source, _way(link)

    def corner(along: float, aside: float) -> tuple[float, float]:
        # To the right of the way: an eastward link lies further down, a southward one to the left.
        return column + right * along - down * aside, row + down * along + right * aside

    near, far = LANES
    return _polygon(
        [corner(NODE, near), corner(1 - NODE, near), corner(1 - NODE, far), corner(NODE, far)]
    )


def _polygon(corners: Sequence[tuple[float, float]]) -> str:
    """An SVG path; plotly knows absolute commands only."""
    return "M" + "L".join(f"{round(x, 3)},{round(y, 3)}" for x, y in corners) + "Z"


def _mesh_axes(package: Package, middle: float) -> dict[str, Any]:
    """Rows and columns; the middle of row 0 lies at ``middle``, that of column 0 at 0."""
    labelled = range(0, package.mesh_rows, max(1, package.mesh_rows // 8))
    plain: dict[str, Any] = {"showgrid": False, "zeroline": False, "constrain": "domain"}
    return {
        "xaxis": axis("column", range=[-0.5, package.mesh_cols - 0.5], **plain),
        "yaxis": axis(
            "row",
            range=[package.mesh_rows - 0.5 + middle, middle - 0.5],
            tickvals=[row + middle for row in labelled],
            ticktext=list(map(str, labelled)),
            scaleanchor="x",
            **plain,
        ),
    }


def _size(package: Package) -> dict[str, Any]:
    large = package.mesh_rows > 16
    return {"height": 760 if large else 360, "wide": large}


def _borders(package: Package, segment: SegmentReport, up: float) -> str:
    """Lines between chiplets of different clusters, as an SVG path in cells moved up by ``up``."""
    owner: dict[int, int] = {}
    for number, cluster in enumerate(segment.clusters):
        start = cluster.first_position
        owner |= dict.fromkeys(range(start, start + cluster.chiplets), number)
    order = position_grid(package)
    cells = [[owner.get(int(position)) for position in row] for row in order]
    lines = []
    for r, row in enumerate(cells):
        for c, cell in enumerate(row):
            if c + 1 < len(row) and row[c + 1] != cell:
                lines.append(f"M{c + 0.5:g},{r - up:g}L{c + 0.5:g},{r + 1 - up:g}")
            if r + 1 < len(cells) and cells[r + 1][c] != cell:
                lines.append(f"M{c - 0.5:g},{r + 1 - up:g}L{c + 0.5:g},{r + 1 - up:g}")
    return "".join(lines)
