"""Figures of one schedule, and those that set several side by side."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any

from scope_opt.report.cases import phases_ps
from scope_opt.report.figure import (
    Field,
    Figure,
    Trace,
    axis,
    bar_marker,
    bar_parts,
    line_style,
    seconds,
)
from scope_opt.terminal.picture import layer_range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scope_opt.report.cases import Case
    from scope_opt.report.figure import Cell
    from scope_opt.schedule.schedule import Schedule

LABELLED_SEGMENTS = 16
"""Up to so many segments a figure of the whole network names them."""
SEPARATED_SEGMENTS = 40
"""Up to so many it draws lines between them."""


def timeline(cases: Sequence[Case]) -> Figure:
    """Segments one after another, each loading weights, filling, running and draining."""
    parts = ("weight loading", "fill", "steady state", "drain")
    rows: dict[str, list[list[Cell]]] = {part: [] for part in parts}
    for case in cases:
        start = 0
        for index, segment in enumerate(case.evaluation.segments):
            spans = (segment.load_ps, *phases_ps(case.instance.samples, segment))
            for part, span in zip(parts, spans, strict=True):
                if span:
                    rows[part].append([case.label, index, seconds(start), seconds(span)])
                start += span
    few = max(len(case.evaluation.segments) for case in cases) <= LABELLED_SEGMENTS
    looks = (("--c7", "x"), ("--c1", "/"), ("--c0", ""), ("--c3", "\\"))
    traces = [
        Trace(
            "bar",
            rows[part],
            {"y": 0, "base": 2, "x": 3} | ({"text": 1} if few and part == "steady state" else {}),
            part,
            {
                "orientation": "h",
                "marker": bar_marker(colour, pattern),
                "textposition": "inside",
                "insidetextanchor": "middle",
                "textangle": 0,
                "insidetextfont": {"color": "--on-mark"},
            },
        )
        for part, (colour, pattern) in zip(parts, looks, strict=True)
        if rows[part]
    ]
    return Figure(
        key="timeline",
        title="Time by segment",
        summary="The batch goes through one segment after another. Each loads its weights, fills "
        "its pipeline, runs with all clusters busy, and drains."
        + (" Numbers are those of the segments." if few else ""),
        fields=(Field("schedule"), Field("segment"), Field("start", "s"), Field("duration", "s")),
        traces=traces,
        series="phase",
        layout={
            "barmode": "overlay",
            "xaxis": axis("time", "s", rangemode="tozero"),
            "yaxis": by_case(cases),
        },
        height=170 + 34 * len(cases),
        wide=True,
    )


def energy(cases: Sequence[Case]) -> Figure | None:
    """Energy of all samples by part; None if no schedule has one."""
    looks = (
        ("MAC units", "mac_j", "--c0", ""),
        ("SRAM", "sram_j", "--c2", "/"),
        ("network on package", "nop_j", "--c1", "\\"),
        ("DRAM", "dram_j", "--c3", "x"),
    )
    found = [(case, case.evaluation.energy) for case in cases]
    known = [(case, energy) for case, energy in found if energy is not None]
    if not known:
        return None
    traces = []
    for name, attribute, colour, pattern in looks:
        rows = [
            [
                case.label,
                getattr(energy, attribute),
                getattr(energy, attribute) / energy.total_j if energy.total_j else None,
            ]
            for case, energy in known
        ]
        style = {"orientation": "h", "marker": bar_marker(colour, pattern)}
        traces.append(Trace("bar", rows, {"y": 0, "x": 1}, name, style))
    return Figure(
        key="energy",
        title="Energy",
        summary="Energy of all samples by where it is spent; loading weights counts as DRAM.",
        fields=(Field("schedule"), Field("energy", "J"), Field("share", "share")),
        traces=traces,
        series="part",
        layout={
            "barmode": "stack",
            "xaxis": axis("energy", "J", rangemode="tozero"),
            "yaxis": by_case([case for case, _ in known]),
        },
        height=170 + 34 * len(known),
        wide=True,
    )


def layers(case: Case) -> Figure:
    """Time of every layer per sample, and what it consists of."""
    rows: list[list[Cell]] = []
    for s, segment in enumerate(case.evaluation.segments):
        for c, cluster in enumerate(segment.clusters):
            for layer in cluster.layers:
                exposed = max(0, layer.communication_ps - layer.computation_ps)
                rows.append(
                    [
                        layer.index,
                        layer.name,
                        f"{s}.{c}",
                        cluster.chiplets,
                        layer.partition,
                        seconds(layer.preparation_ps),
                        seconds(layer.computation_ps),
                        seconds(layer.communication_ps),
                        seconds(exposed),
                        seconds(layer.time_ps),
                        layer.bound_by,
                    ]
                )
    looks = (
        ("preparation", 5, "--c1", "/"),
        ("computation", 6, "--c0", ""),
        ("communication not hidden", 8, "--c3", "x"),
    )
    return Figure(
        key="layers",
        title="What bounds each layer",
        summary="A layer prepares, then computes while it already sends results away. Of "
        "communication only what computation does not hide is drawn, so that a bar is as high as "
        "the layer takes for one sample."
        + (
            " Dotted lines separate segments."
            if 1 < len(case.schedule.segments) <= SEPARATED_SEGMENTS
            else ""
        ),
        fields=(
            Field("layer"),
            Field("name"),
            Field("segment.cluster"),
            Field("chiplets"),
            Field("partition"),
            Field("preparation", "s"),
            Field("computation", "s"),
            Field("communication", "s"),
            Field("communication not hidden", "s"),
            Field("time", "s"),
            Field("bound by"),
        ),
        traces=bar_parts(rows, looks, outline=0),
        layout={
            "barmode": "stack",
            "bargap": 0.12,
            "xaxis": axis("layer"),
            "yaxis": axis("time per sample", "s"),
            "legend": {"y": 1.1},  # above the numbers of segments
            **_segment_lines(case.schedule),
        },
        wide=True,
    )


def utilization(case: Case) -> Figure | None:
    """How busy the MAC units of every region are in the steady state; None without a package."""
    package = case.instance.package
    if package is None:
        return None
    chiplet = package.chiplet
    rows: list[list[Cell]] = []
    for s, segment in enumerate(case.evaluation.segments):
        for c, cluster in enumerate(segment.clusters):
            macs_per_s = chiplet.macs_per_cycle * chiplet.frequency_hz * cluster.chiplets
            possible = macs_per_s * segment.beat_ps / 10**12
            rows.append(
                [
                    f"{s}.{c}",
                    s,
                    layer_range(cluster.first_layer, cluster.last_layer),
                    cluster.chiplets,
                    cluster.load / possible if possible else None,
                    cluster.time_ps / segment.beat_ps if segment.beat_ps else None,
                ]
            )
    total = case.evaluation.utilization
    lines = {} if total is None else reference_line(total, f"whole batch {100 * total:.1f}%")
    return Figure(
        key="utilization",
        title="Use of the MAC units by cluster",
        summary="Useful MACs of a sample over those that the MAC units of the cluster's region "
        "could do in a beat. The line is the whole package over the whole batch, weight loading, "
        "filling and draining included.",
        fields=(
            Field("cluster"),
            Field("segment"),
            Field("layers"),
            Field("chiplets"),
            Field("MAC use", "share"),
            Field("busy", "share"),
        ),
        traces=[
            Trace(
                "bar",
                rows,
                {"x": 0, "y": 4, "marker.color": 1},
                style={"marker": {"line": {"width": 0}}},
            )
        ],
        layout={
            "bargap": 0.12,
            "xaxis": axis("segment.cluster", type="category", showgrid=False),
            "yaxis": axis("MAC use", "share"),
            "showlegend": False,
            **lines,
        },
        height=300,
        wide=True,
    )


def use_over_time(cases: Sequence[Case]) -> Figure | None:
    """Utilization of the package by the segment that runs; None without packages."""
    traces = []
    for index, case in enumerate(cases):
        segments = case.evaluation.segments
        if case.instance.package is None or not segments:
            continue
        starts = list(accumulate((s.latency_ps for s in segments), initial=0))
        rows: list[list[Cell]] = [
            [seconds(start), number, segment.utilization]
            for number, (start, segment) in enumerate(zip(starts, segments, strict=False))
        ]
        rows.append([seconds(starts[-1]), len(segments) - 1, segments[-1].utilization])
        traces.append(
            Trace("scatter", rows, {"x": 0, "y": 2}, case.label, line_style(index, shape="hv"))
        )
    if not traces:
        return None
    return Figure(
        key="use-over-time",
        title="Use of the MAC units over time",
        summary="Useful MACs over those that all MAC units of the package could do, segment by "
        "segment; weight loading left out.",
        fields=(Field("start", "s"), Field("segment"), Field("MAC use", "share")),
        traces=traces,
        series="schedule",
        layout={
            "xaxis": axis("time", "s", rangemode="tozero"),
            "yaxis": axis("MAC use", "share"),
        },
        wide=True,
    )


def region_sizes(cases: Sequence[Case]) -> Figure:
    """How many chiplets every layer has, schedule by schedule."""
    traces = []
    for index, case in enumerate(cases):
        rows: list[list[Cell]] = []
        for s, segment in enumerate(case.schedule.segments):
            for c, cluster in enumerate(segment.clusters):
                for layer, partition in enumerate(cluster.partitions, cluster.first_layer):
                    rows.append([layer, f"{s}.{c}", cluster.chiplets, partition])
        style = line_style(index, shape="hvh")
        traces.append(Trace("scatter", rows, {"x": 0, "y": 2}, case.label, style))
    return Figure(
        key="region-sizes",
        title="Chiplets by layer",
        summary="Size of the region that every layer runs on. Steps are borders of clusters.",
        fields=(Field("layer"), Field("segment.cluster"), Field("chiplets"), Field("partition")),
        traces=traces,
        series="schedule",
        layout={"xaxis": axis("layer"), "yaxis": axis("chiplets", rangemode="tozero")},
        wide=True,
    )


# --- What figures share --------------------------------------------------------------------------


def by_case(cases: Sequence[Case]) -> dict[str, Any]:
    """The axis of schedules, the first on top; without labels if there is only one."""
    shown = {} if len(cases) > 1 else {"showticklabels": False}
    return {"type": "category", "autorange": "reversed", **shown}


def reference_line(value: float, text: str) -> dict[str, Any]:
    """A horizontal line across the figure, with its meaning written on it."""
    line = {"color": "--ink", "width": 1.5, "dash": "dash"}
    place = {"xref": "paper", "yref": "y"}
    label = {"x": 1, "xanchor": "right", "yanchor": "bottom", "showarrow": False}
    return {
        "shapes": [
            {"type": "line", "x0": 0, "x1": 1, "y0": value, "y1": value, "line": line, **place}
        ],
        "annotations": [{"y": value, "text": text, "bgcolor": "--surface", **label, **place}],
    }


def _segment_lines(schedule: Schedule) -> dict[str, Any]:
    """Where segments begin, on an axis of layers."""
    segments = schedule.segments
    if len(segments) > SEPARATED_SEGMENTS:
        return {}
    line = {"color": "--ink", "width": 1, "dash": "dot"}
    place = {"xref": "x", "yref": "paper"}
    shapes = [
        {
            "type": "line",
            "x0": segment.first_layer - 0.5,
            "x1": segment.first_layer - 0.5,
            "y0": 0,
            "y1": 1,
            "line": line,
            **place,
        }
        for segment in segments[1:]
    ]
    if len(segments) > LABELLED_SEGMENTS:
        return {"shapes": shapes}
    labels = [
        {
            "x": (segment.first_layer + segment.last_layer) / 2,
            "y": 1,
            "yanchor": "bottom",
            "showarrow": False,
            "text": str(index),
            **place,
        }
        for index, segment in enumerate(segments)
    ]
    return {"shapes": shapes, "annotations": labels}
