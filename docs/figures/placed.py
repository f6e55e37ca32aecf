"""Draw the pictures of the placed model from the worked example of docs/model.md.

    python docs/figures/placed.py

writes placed-links.svg, placed-beat.svg and placed-relay.svg. Instance and schedule are read from
the document, every number comes from their evaluation. Drawing needs matplotlib, which is among
the development packages. The pictures have a white ground of their own, so that they can be read
on light and on dark pages.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from scope_opt.model.instance import Instance
from scope_opt.model.mesh import places
from scope_opt.model.tables import PARTITIONS
from scope_opt.schedule.evaluate import evaluate
from scope_opt.schedule.links import Mesh, Region
from scope_opt.schedule.schedule import Schedule
from scope_opt.schedule.transfers import Placed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scope_opt.model.package import Package
    from scope_opt.schedule.evaluation import SegmentReport

    Bytes = NDArray[Any]

HERE = Path(__file__).parent
DOCUMENT = HERE.parent / "model.md"
REGIONS = ("#bfdbf7", "#fbe3b5")
IDLE = "#ececec"
INK, PALE, BUSIEST = "#1f2933", "#9aa5b1", "#c8102e"


class Example(NamedTuple):
    """The worked example: one segment on its package."""

    instance: Instance
    schedule: Schedule
    segment: SegmentReport
    links: Bytes
    """Bytes of all transfers of a sample on every link, in the order of ``mesh.links``."""
    mesh: Mesh

    @property
    def package(self) -> Package:
        """The instance's; it has no tables of its own."""
        assert self.instance.package is not None
        return self.instance.package

    @property
    def regions(self) -> list[Region]:
        """Of the clusters, in order."""
        return [Region(c.first_position, c.chiplets) for c in self.segment.clusters]


def blocks(text: str) -> dict[str, str]:
    """JSON blocks of a document by the name in the comment before them."""
    found = re.findall(r"<!-- example: (\w+) -->\n+```json\n(.*?)```", text, re.DOTALL)
    return dict(found)


def example() -> Example:
    """Evaluate the document's example."""
    found = blocks(DOCUMENT.read_text("utf-8"))
    instance = Instance.from_json(found["instance"], "docs/model.md")
    schedule = Schedule.from_json(found["schedule"], "docs/model.md")
    segment = evaluate(instance, schedule).segments[0]
    assert instance.network is not None
    assert instance.package is not None
    mesh = Mesh(instance.package)
    total = mesh.nothing()

    def add(maps: tuple[Bytes, ...]) -> int:
        for moved in maps:
            total[:] += moved
        return 0

    transfers = Placed(instance.network, instance.package, mesh, add)
    ends = (segment.first_layer, segment.last_layer)
    regions = [Region(c.first_position, c.chiplets) for c in segment.clusters]
    for index, (cluster, at) in enumerate(zip(segment.clusters, regions, strict=True)):
        for this, then in zip(cluster.layers, [*cluster.layers[1:], None], strict=True):
            number = PARTITIONS.index(this.partition)
            if this.partition == "WSP" and len(cluster.layers) > 1:
                transfers.gather(this.index, at)
            if then is not None:
                following = PARTITIONS.index(then.partition)
                transfers.within(this.index, number, following, at)
                transfers.arriving(this.index, number, following, at, ends)
            elif index + 1 < len(regions):
                opening = PARTITIONS.index(segment.clusters[index + 1].layers[0].partition)
                transfers.between(this.index, opening, at, regions[index + 1], ends)
    return Example(instance, schedule, segment, total, mesh)


def draw_links(e: Example, path: Path) -> None:
    """Regions on the mesh, what every link carries in a beat, and the busiest one."""
    plt = pyplot("placed-links")
    figure, axis = plt.subplots(figsize=(7.2, 5.0))
    draw_chiplets(axis, e.package, e.regions)
    peak = float(e.links.max())
    busiest = e.segment.busiest_link
    assert busiest is not None
    marked = (busiest.source, busiest.target)
    for link, carried in zip(e.mesh.links, e.links.tolist(), strict=True):
        if carried:
            chosen = (link.source, link.target) == marked
            width = 0.5 + 3.5 * carried / peak
            draw_arrow(axis, link.source, link.target, BUSIEST if chosen else INK, width)
            place_label(axis, link.source, link.target, f"{carried:.0f}", bold=chosen)
    lines = [
        (f"cluster 0 on {e.regions[0].size} chiplets", REGIONS[0]),
        (f"cluster 1 on {e.regions[1].size} chiplets", REGIONS[1]),
        ("idle", IDLE),
    ]
    for row, (text, color) in enumerate(lines):
        axis.add_patch(plt.Rectangle((3.75, 0.08 + 0.3 * row), 0.16, 0.16, fc=color, ec=INK))
        axis.text(4.0, 0.16 + 0.3 * row, text, va="center", fontsize=9, color=INK)
    notes = [
        "numbers: bytes of one",
        "sample on each link",
        "",
        "busiest link:",
        f"{busiest.bytes:.0f} bytes,",
        f"{busiest.time_ps / 1000:.0f} ns",
    ]
    for row, text in enumerate(notes):
        color = BUSIEST if row > 2 else INK
        axis.text(3.75, 1.3 + 0.24 * row, text, va="center", fontsize=9, color=color)
    finish(axis, (-0.45, 5.3), (3.45, -0.45))
    save(figure, path)


def draw_relay(e: Example, path: Path) -> None:
    """Shares on every link while a region gathers, handed on along its positions."""
    plt = pyplot("placed-relay")
    figure, axis = plt.subplots(figsize=(7.2, 1.7))
    at = e.regions[1]
    draw_chiplets(axis, e.package, [Region(0, 0), at], only=at)
    for link, share in zip(e.mesh.links, e.mesh.gather(at.size, at).tolist(), strict=True):
        if share:
            draw_arrow(axis, link.source, link.target, INK, 0.6 + 0.4 * share)
            place_label(axis, link.source, link.target, f"{share:.0f}/{at.size}")
    notes = [
        f"region of {at.size} chiplets, positions {at.first} to {at.positions[-1]}",
        f"each has 1/{at.size} of the volume and needs all of it",
        "on a link: what is handed on over it",
    ]
    for row, text in enumerate(notes):
        axis.text(3.6, 1.2 + 0.25 * row, text, va="center", fontsize=9, color=INK)
    finish(axis, (-0.45, 7.2), (2.4, 0.6))
    save(figure, path)


def draw_beat(e: Example, path: Path) -> None:
    """What the clusters, the DRAM and the busiest link do for one sample within a beat."""
    plt = pyplot("placed-beat")
    figure, axis = plt.subplots(figsize=(9, 3.9), constrained_layout=True)
    colors = {"preparation": "#7a8b99", "computation": "#1b6ca8", "communication": "#e08e0b"}
    names: list[tuple[float, str]] = []
    row = 0.0
    for number, cluster in enumerate(e.segment.clusters):
        now = 0
        for layer in cluster.layers:
            parts = (
                ("preparation", now, layer.preparation_ps, 0.0, 0.9),
                ("computation", now + layer.preparation_ps, layer.computation_ps, 0.0, 0.45),
                ("communication", now + layer.preparation_ps, layer.communication_ps, 0.45, 0.45),
            )
            for kind, start, length, offset, height in parts:
                if length:
                    draw_bar(axis, start, length, row + offset, height, colors[kind])
            axis.plot([now / 1000] * 2, [row - 0.04, row + 0.94], color=INK, linewidth=0.8)
            axis.text((now + 12000) / 1000, row - 0.1, layer.name, fontsize=9, color=INK)
            now += layer.time_ps
        axis.text(now / 1000 + 10, row + 0.45, f"{now / 1000:.0f} ns", va="center", fontsize=9)
        names.append((row + 0.45, f"cluster {number}\non {cluster.chiplets}"))
        row += 1.4
    busiest = e.segment.busiest_link
    assert busiest is not None
    dram = e.segment.dram_beat_ps
    draw_bar(axis, 0, dram, row, 0.45, "#6b4c9a")
    axis.text(dram / 1000 + 10, row + 0.22, f"{dram / 1000:.0f} ns", va="center", fontsize=9)
    names.append((row + 0.22, "DRAM"))
    row += 0.85
    now = 0
    for share in busiest.shares:
        length = round(busiest.time_ps * share.bytes / busiest.bytes)
        draw_bar(axis, now, length, row, 0.45, BUSIEST)
        layer = e.instance.layer_names[share.layer]
        middle = (now + length / 2) / 1000
        axis.text(
            middle, row + 0.22, f"{share.what} of {layer}", ha="center", va="center", color="white",
            fontsize=9,
        )  # fmt: skip
        now += length
    names.append((row + 0.22, "busiest link"))
    beat = e.segment.beat_ps / 1000
    axis.axvline(beat, color=INK, linestyle="--", linewidth=1)
    axis.text(beat - 8, row - 0.5, f"beat {beat:.0f} ns", ha="right", va="center", fontsize=9)
    for kind, color in colors.items():
        axis.plot([], [], color=color, linewidth=6, label=kind)
    axis.legend(loc="upper right", frameon=False, fontsize=9, ncols=3, bbox_to_anchor=(1, 1.13))
    axis.set_yticks([y for y, _ in names], [name for _, name in names])
    axis.set_ylim(row + 0.6, -0.35)
    axis.set_xlim(0, beat * 1.03)
    axis.set_xlabel("ns since the beat began; each cluster works on a sample of its own")
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.tick_params(left=False)
    save(figure, path)


def draw_bar(axis: Any, start: int, length: int, row: float, height: float, color: str) -> None:
    """A bar from ``start`` for ``length`` picoseconds."""
    span = [(start / 1000, length / 1000)]
    axis.broken_barh(span, (row, height), facecolors=color, edgecolors="white", linewidth=0.8)


def draw_chiplets(
    axis: Any, package: Package, regions: list[Region], only: Region | None = None
) -> None:
    """Chiplets as squares with their position, in the color of their region."""
    plt = pyplot()
    for position, (y, x) in enumerate(places(package).tolist()):
        owners = [i for i, region in enumerate(regions) if position in region.positions]
        if only is not None and position not in only.positions:
            continue
        color = REGIONS[owners[0]] if owners else IDLE
        corner = (x - 0.17, y - 0.17)
        axis.add_patch(plt.Rectangle(corner, 0.34, 0.34, fc=color, ec=INK, linewidth=1))
        axis.text(x, y, str(position), ha="center", va="center", fontsize=10, color=INK)


SIDE = 0.075
"""How far the two directions of a link lie apart from its middle."""


def aside(source: tuple[int, int], target: tuple[int, int]) -> tuple[float, float, int, int]:
    """Shift of a directed link to its right-hand side, and its direction."""
    across, down = target[1] - source[1], target[0] - source[0]
    return -down * SIDE, across * SIDE, across, down


def draw_arrow(
    axis: Any, source: tuple[int, int], target: tuple[int, int], color: str, width: float
) -> None:
    """An arrow from chiplet to chiplet, keeping to its right."""
    right, below, across, down = aside(source, target)
    start = (source[1] + right + 0.19 * across, source[0] + below + 0.19 * down)
    end = (target[1] + right - 0.19 * across, target[0] + below - 0.19 * down)
    style = {"arrowstyle": "-|>", "color": color, "linewidth": width, "shrinkA": 0, "shrinkB": 0}
    axis.annotate("", xy=end, xytext=start, arrowprops=style)


def place_label(
    axis: Any, source: tuple[int, int], target: tuple[int, int], text: str, *, bold: bool = False
) -> None:
    """A number beside an arrow."""
    right, below, across, _ = aside(source, target)
    x, y = (source[1] + target[1]) / 2 + 1.4 * right, (source[0] + target[0]) / 2 + 2.2 * below
    where = {"ha": "center" if across else ("left" if right > 0 else "right"), "va": "center"}
    weight = "bold" if bold else "normal"
    color = BUSIEST if bold else INK
    axis.text(x, y, text, fontsize=8, color=color, fontweight=weight, **where)


def finish(axis: Any, across: tuple[float, float], down: tuple[float, float]) -> None:
    """Equal scales, rows downwards, no axes."""
    axis.set_xlim(*across)
    axis.set_ylim(*down)
    axis.set_aspect("equal")
    axis.axis("off")
    axis.figure.subplots_adjust(left=0, right=1, bottom=0, top=1)


def pyplot(salt: str | None = None) -> Any:
    """Matplotlib without a screen, with identifiers that depend on ``salt`` only."""
    try:
        import matplotlib
    except ImportError:
        sys.exit("drawing needs matplotlib: pip install -r requirements.lock")
    matplotlib.use("Agg")
    if salt is not None:
        matplotlib.rcParams |= {"svg.hashsalt": salt, "svg.fonttype": "none"}
    from matplotlib import pyplot as plt

    return plt


def save(figure: Any, path: Path) -> None:
    """Write it without a date."""
    figure.savefig(path, facecolor="white", metadata={"Date": None})
    pyplot().close(figure)


FIGURES = {
    "placed-links.svg": draw_links,
    "placed-beat.svg": draw_beat,
    "placed-relay.svg": draw_relay,
}


def main() -> None:
    """Write all pictures."""
    found = example()
    for name, draw in FIGURES.items():
        draw(found, HERE / name)


if __name__ == "__main__":
    main()
