"""Draw what a schedule decides, and a beat, from the best known schedule of AlexNet on 32 chiplets.

    python docs/figures/schedule.py

writes schedule.svg and beat.svg beside this file. Every number is the evaluator's.
"""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from scope_opt import Schedule, evaluate, load
from scope_opt.model.mesh import position_grid
from scope_opt.model.shipped import shipped_folder
from scope_opt.model.units import picoseconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scope_opt import Instance
    from scope_opt.schedule.evaluation import SegmentReport

HERE = Path(__file__).parent
NAME = "alexnet-32"
COLOURS = ("#5b8def", "#e0742f", "#2fa36b", "#b36fd9", "#b08a1e", "#e5636a")
STYLE = """
  .paper { fill: #ffffff; }
  text { fill: #1d2733; font: 13px system-ui, "DejaVu Sans", sans-serif; }
  .note { fill: #56616d; font-size: 12px; }
  .on { fill: #0b0d11; }
  .frame { fill: none; stroke: #8793a0; }
  .line { stroke: #66727f; fill: none; }
  .wait { fill: #d9dde3; }
  .load { fill: #8a8f98; }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117; }
    text { fill: #e6edf3; }
    .note { fill: #a3adb8; }
    .on { fill: #0b0d11; }
    .frame { stroke: #6e7a86; }
    .line { stroke: #8b96a1; }
    .wait { fill: #343c49; }
  }
"""
CELL, LAYER, GAP, LEFT = 22, 66, 30, 84
BEATS, BEAT, ROW = 7, 104, 34


def example() -> tuple[Instance, Sequence[SegmentReport]]:
    """The instance, and what the evaluator says of the segments of its best known schedule."""
    instance = load(NAME)
    schedule = Schedule.load(shipped_folder() / "best_known" / f"{NAME}.json")
    return instance, evaluate(instance, schedule).segments


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    """A line of text."""
    mark = f' class="{kind}"' if kind else ""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{mark}>{words}</text>'


def box(x: float, y: float, width: float, height: float, look: str) -> str:
    """A rectangle; ``look`` is a class, or a colour."""
    style = f'fill="{look}"' if look.startswith("#") else f'class="{look}"'
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="2" {style}/>'


def colours(segments: Sequence[SegmentReport]) -> list[list[str]]:
    """A colour for each cluster, all different."""
    starts = accumulate((len(segment.clusters) for segment in segments), initial=0)
    return [
        [COLOURS[(start + c) % len(COLOURS)] for c in range(len(segment.clusters))]
        for start, segment in zip(starts, segments, strict=False)
    ]


def draw_schedule() -> str:
    """Layers, segments and clusters; below each segment its regions on the mesh."""
    instance, segments = example()
    assert instance.package is not None
    grid = position_grid(instance.package).tolist()
    mesh = CELL * len(grid[0])
    parts: list[str] = []
    x = float(LEFT)
    for words, y in (
        ("segment", 40),
        ("layer", 78),
        ("partition", 98),
        ("cluster", 124),
        ("chiplets", 142),
    ):
        parts.append(text(12, y, words, "note"))
    parts.append(text(12, 184, "regions", "note"))
    looks = colours(segments)
    for s, segment in enumerate(segments):
        layers = segment.last_layer - segment.first_layer + 1
        width = max(LAYER * layers, mesh)
        each = width / layers
        parts.append(box(x, 22, width, 28, "frame"))
        parts.append(text(x + width / 2, 41, f"segment {s}", anchor="middle"))
        for c, cluster in enumerate(segment.clusters):
            start = x + each * (cluster.first_layer - segment.first_layer)
            wide = each * len(cluster.layers)
            parts.append(box(start + 1, 60, wide - 2, 92, looks[s][c]))
            for n, layer in enumerate(cluster.layers):
                middle = start + each * (n + 0.5)
                parts.append(text(middle, 78, layer.name, "on", "middle"))
                parts.append(text(middle, 98, layer.partition, "on", "middle"))
            parts.append(text(start + wide / 2, 124, f"{s}.{c}", "on", "middle"))
            parts.append(text(start + wide / 2, 142, f"{cluster.chiplets}", "on", "middle"))
        parts += _regions(segment, grid, x + (width - mesh) / 2, looks[s])
        below = 176 + CELL * len(grid) + 20
        words = f"{picoseconds(segment.latency_ps)}".replace(" us", " µs")
        parts.append(text(x + width / 2, below, words, "note", "middle"))
        x += width + GAP
        if s + 1 < len(segments):
            parts.append(text(x - GAP / 2, 41, "→", anchor="middle"))
    label = "Segments of layers, clusters in each, and their regions on the mesh"
    return _picture(parts, x - GAP + 14, 176 + CELL * len(grid) + 34, label)


def _regions(
    segment: SegmentReport, grid: list[list[int]], x: float, looks: Sequence[str]
) -> Iterator[str]:
    owner = {
        position: number
        for number, cluster in enumerate(segment.clusters)
        for position in range(cluster.first_position, cluster.first_position + cluster.chiplets)
    }
    for r, row in enumerate(grid):
        for c, position in enumerate(row):
            number = owner.get(position)
            look = "wait" if number is None else looks[number]
            yield box(x + CELL * c, 168 + CELL * r, CELL - 2, CELL - 2, look)


def draw_beat() -> str:
    """The first beats of the first segment: who works on which sample, and who waits."""
    instance, segments = example()
    segment, looks = segments[0], colours(segments)[0]
    assert segment.beat_ps
    clusters = segment.clusters
    top, load = 58, 64
    begin = LEFT + load
    bottom = top + ROW * len(clusters)
    parts = [box(LEFT, top, load - 3, bottom - top - 6, "load")]
    parts.append(text(LEFT + load / 2, (top + bottom) / 2, "load", "on", "middle"))
    for beat in range(BEATS + 1):
        x = begin + BEAT * beat
        way = f"M{x} {top - 12} V{bottom + 6}"
        parts.append(f'<path class="line" stroke-dasharray="3 3" d="{way}"/>')
        if beat < BEATS:
            parts.append(text(x + BEAT / 2, top - 16, f"beat {beat}", "note", "middle"))
    for c, cluster in enumerate(clusters):
        y = top + ROW * c
        parts.append(text(12, y + 18, f"cluster {c}", "note"))
        share = cluster.time_ps / segment.beat_ps
        for beat in range(BEATS):
            x, sample = begin + BEAT * beat, beat - c
            if sample >= 0:
                parts.append(box(x + 1, y, (BEAT - 2) * share, ROW - 6, looks[c]))
                words = f"sample {sample}"
                parts.append(text(x + BEAT / 2, y + 18, words, "on", "middle"))
            if sample < 0 or share < 0.99:
                waits = x + 1 + (BEAT - 2) * share if sample >= 0 else x + 1
                parts.append(box(waits, y, x + BEAT - 1 - waits, ROW - 6, "wait"))
    beats = instance.samples + len(clusters) - 1
    latency = picoseconds(segment.load_ps + beats * segment.beat_ps)
    times = ", ".join(f"cluster {c}: {picoseconds(k.time_ps)}" for c, k in enumerate(clusters))
    lines = (
        f"time per sample: {times}; the beat, {picoseconds(segment.beat_ps)}, is set by "
        f"{segment.cause}",
        f"{picoseconds(segment.load_ps)} of loading + ({instance.samples} + {len(clusters)} - 1) "
        f"beats = {latency}; loading is not to scale",
    )
    for number, line in enumerate(lines):
        parts.append(text(12, bottom + 30 + 20 * number, line.replace(" us", " µs"), "note"))
    label = "Beats of a pipeline: each sample moves on by one cluster a beat"
    return _picture(parts, begin + BEAT * BEATS + 14, bottom + 64, label)


def _picture(parts: Sequence[str], width: float, height: float, label: str) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" role="img" aria-label="{label}">'
    )
    paper = f'<rect class="paper" width="{width:g}" height="{height:g}" rx="10"/>'
    return "\n".join([head, f"<style>{STYLE}</style>", paper, *parts, "</svg>"]) + "\n"


PICTURES = {"schedule.svg": draw_schedule, "beat.svg": draw_beat}

if __name__ == "__main__":
    for name, draw in PICTURES.items():
        (HERE / name).write_text(draw(), "utf-8")
