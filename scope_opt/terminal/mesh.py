"""The mesh in the terminal: where regions lie, and how loaded its links are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from scope_opt.model import units
from scope_opt.model.mesh import position_grid
from scope_opt.terminal.show import DIM, natural_width

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, RenderableType

    from scope_opt.model.package import Package
    from scope_opt.schedule.evaluation import LinkReport, SegmentReport

_COLOURS = (
    "cornflower_blue",
    "light_goldenrod2",
    "dark_sea_green3",
    "plum3",
    "sandy_brown",
    "turquoise2",
    "light_coral",
    "grey70",
)
_HEAT = ((0.75, "black on indian_red1"), (0.5, "black on orange1"), (0.25, "black on khaki3"))
"""Styles of links from a share of the beat on."""
_ARROWS = {(0, 1): "→>", (0, -1): "←<", (1, 0): "↓v", (-1, 0): "↑^"}


def colour_of(cluster: int) -> str:
    """Colour of a cluster; after eight they begin again."""
    return _COLOURS[cluster % len(_COLOURS)]


def idle_mark(console: Console) -> str:
    """What stands for a chiplet without work, and for one that sends nothing."""
    return "." if console.options.ascii_only else "·"


def order_text(package: Package) -> str:
    """How positions run through the mesh, as in "regions laid out ..."."""
    if package.order == "zigzag":
        return "in ZigZag order from the top left"
    if package.order == "hilbert":
        return "in order hilbert: along a Hilbert-like curve from the top left"
    if package.block_width is None:
        return "in the order that the instance lists"
    stripes = f"stripes of {units.plural(package.block_width, 'column')}"
    return f"in order {package.order}: {stripes}, down and up in turn from the top left"


def region_map(
    console: Console, package: Package, sizes: Sequence[int], caption: str
) -> RenderableType:
    """Chiplets labelled with the cluster whose region they belong to."""
    owner = [index for index, size in enumerate(sizes) for _ in range(size)]
    width = max(3, len(str(len(sizes) - 1)) + 1)
    if package.mesh_cols * width + 2 > console.width:
        mesh = f"{package.mesh_rows} x {package.mesh_cols}"
        return Text(f"  {caption}: the {mesh} mesh is too wide to draw here", style=DIM)
    text = Text(f"  {caption}\n", no_wrap=True)
    for row in position_grid(package):
        text.append("  ")
        for position in row:
            if position < len(owner):
                cluster = owner[position]
                text.append(f"{cluster:^{width}}", style=f"black on {colour_of(cluster)}")
            else:
                text.append(f"{idle_mark(console):^{width}}", style=DIM)
        text.append("\n")
    return text


LINKS_CAPTION = "links, % of the beat"
LINKS_NOTE = (
    "  Links: the busiest of those that lead away from each chiplet, where it leads and the share "
    "of the beat that it is loaded; * marks the busiest of the segment."
)


def link_map(
    console: Console, package: Package, report: SegmentReport, links: Sequence[LinkReport]
) -> RenderableType:
    """At every chiplet the busiest link that leads away from it: which way, and how loaded it is.

    One of a chiplet's up to four links has to do here, so that the map is no larger than the mesh.
    """
    busiest: dict[tuple[int, int], LinkReport] = {}
    for link in links:
        if link.bytes > 0 and (
            link.source not in busiest or link.bytes > busiest[link.source].bytes
        ):
            busiest[link.source] = link
    shares = {at: link.time_ps / report.beat_ps for at, link in busiest.items()}
    digits = max((len(f"{100 * share:.0f}") for share in shares.values()), default=1)
    if package.mesh_cols * (digits + 2) + 2 > console.width:
        return Text("  too narrow for: links", style=DIM)
    most = report.busiest_link
    text = Text(f"  {LINKS_CAPTION}\n", no_wrap=True)
    for row in range(package.mesh_rows):
        text.append("  ")
        for column in range(package.mesh_cols):
            found = busiest.get((row, column))
            if found is None:
                text.append(f"{idle_mark(console):^{digits + 2}}", style=DIM)
                continue
            share = shares[row, column]
            marked = most is not None and (found.source, found.target) == (most.source, most.target)
            way = (found.target[0] - row, found.target[1] - column)
            arrow = _ARROWS[way][console.options.ascii_only]
            style = next((style for least, style in _HEAT if share >= least), "")
            text.append(f"{arrow}{100 * share:>{digits}.0f}", style=style)
            text.append("*" if marked else " ", style=f"bold {style}" if marked else style)
        text.append("\n")
    return text


def loaded_by(link: LinkReport) -> str:
    """The transfers that load a link most."""
    what = {"hand-over": "handed over by", "weights": "weights of", "activations": "sent by"}
    moved: dict[str, float] = {}
    for share in link.shares:
        name = f"{what[share.what]} layer {share.layer}"
        moved[name] = moved.get(name, 0.0) + share.bytes
    ranked = sorted(moved.items(), key=lambda item: -item[1])
    parts = [f"{units.percent(part / link.bytes)} {name}" for name, part in ranked[:3]]
    rest = sum(part for _, part in ranked[3:])
    if rest:
        parts.append(f"{units.percent(rest / link.bytes)} of {len(ranked) - 3} more")
    return ", ".join(parts)


def together(console: Console, *pictures: RenderableType) -> RenderableType:
    """Pictures beside one another, or below where they do not fit."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    for _ in pictures:
        grid.add_column(no_wrap=True)
    grid.add_row(*pictures)
    return grid if natural_width(console, grid) <= console.width else Group(*pictures)


def side_by_side(console: Console, pictures: Sequence[RenderableType]) -> RenderableType:
    """Pictures of equal width, as many in a row as fit."""
    widest = max(natural_width(console, picture) for picture in pictures)
    per_row = max(1, (console.width + 2) // (widest + 2))
    grid = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(min(per_row, len(pictures))):
        grid.add_column(no_wrap=True)
    for start in range(0, len(pictures), per_row):
        grid.add_row(*pictures[start : start + per_row])
    return grid
