"""Figures of one segment: its pipeline, and its loads, times and memory by cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scope_opt.model import units
from scope_opt.report.cases import phases_ps
from scope_opt.report.figure import (
    Field,
    Figure,
    Trace,
    axis,
    bar_marker,
    bar_parts,
    duration,
    seconds,
)
from scope_opt.report.schedule_figures import reference_line
from scope_opt.terminal.picture import activation_limit

if TYPE_CHECKING:
    from scope_opt.report.cases import Case
    from scope_opt.report.figure import Cell
    from scope_opt.schedule.evaluation import SegmentReport

MAX_BARS = 2000
"""Most bars of a pipeline figure; with more, samples in the middle are left out."""


def pipeline(case: Case, index: int) -> Figure:
    """Which cluster works on which sample when; the first and the last samples if all are many."""
    segment, samples = case.evaluation.segments[index], case.instance.samples
    clusters, beat_ps = len(segment.clusters), segment.beat_ps
    fill_ps, steady_ps, _ = phases_ps(samples, segment)
    shown = max(1, MAX_BARS // (2 * clusters))
    cut = samples > 2 * shown
    first = range(min(shown, samples) if cut else samples)
    last = range(samples - shown, samples) if cut else range(0)
    end_ps = segment.load_ps + (samples + clusters - 1) * beat_ps
    windows = [(0, end_ps)]
    width_ps = segment.load_ps + (shown + clusters - 1) * beat_ps
    if cut and 2 * width_ps < end_ps:  # else the first samples end after the last ones begin
        windows = [(0, width_ps), (end_ps - width_ps, end_ps)]
    load = [[None, number, 0.0, seconds(segment.load_ps)] for number in range(clusters)]
    bars: list[list[list[Cell]]] = [
        [
            [
                sample,
                number,
                seconds(segment.load_ps + (sample + number) * beat_ps),
                seconds(cluster.time_ps),
            ]
            for sample in part
            for number, cluster in enumerate(segment.clusters)
        ]
        for part in (first, last)
        if part
    ]
    at = {"y": 1, "base": 2, "x": 3}
    bar = {"orientation": "h", "width": 0.84}
    traces = []
    if segment.load_ps:
        style = {**bar, "marker": bar_marker("--c7", "x")}
        traces.append(Trace("bar", load, at, "weight loading", style))
    for number, rows in enumerate(bars):
        style = {**bar, "marker": {"line": {"color": "--surface", "width": 0.5}}}
        style |= {"xaxis": "x2"} if number and len(windows) == 2 else {}
        traces.append(
            Trace("bar", rows, {**at, "marker.color": 1, "marker.opacity": 0}, "samples", style)
        )
    marks = (
        ("fill", segment.load_ps, segment.load_ps + fill_ps),
        ("steady state", segment.load_ps + fill_ps, segment.load_ps + fill_ps + steady_ps),
        ("drain", segment.load_ps + fill_ps + steady_ps, end_ps),
    )
    axes = {}
    for number, (begin, end) in enumerate(windows):
        domain = [0.0, 1.0] if len(windows) == 1 else [[0.0, 0.485], [0.515, 1.0]][number]
        name = f"xaxis{number + 1 if number else ''}"
        axes[name] = axis("time", "s", domain=domain, range=[seconds(begin), seconds(end)])
    text = f"cluster {clusters - 1}" if clusters > 1 else "the cluster"
    drawn = f"All {units.plural(samples, 'sample')} are drawn."
    if cut:
        drawn = f"Of {samples} samples the first and the last {shown} are drawn."
    if len(windows) == 2:
        drawn += " The axis leaves out the time between them."
    return Figure(
        key=f"pipeline-{index}",
        title="Pipeline",
        summary=f"Each sample goes through the clusters in order, one cluster per beat of "
        f"{duration(beat_ps)}; the last leaves {text} at "
        f"{duration(end_ps)}. Bars are as long as a cluster works on a sample, "
        f"odd samples paler. {drawn}",
        fields=(
            Field("sample"),
            Field("cluster"),
            Field("start", "s"),
            Field("duration", "s"),
        ),
        traces=traces,
        series="work",
        layout={
            "barmode": "overlay",
            **axes,
            "yaxis": axis(
                "cluster",
                autorange="reversed",
                dtick=max(1, clusters // 20),
                showgrid=False,
                zeroline=False,
            ),
            "showlegend": False,
            **_phase_marks(marks, windows),
        },
        height=min(640, 190 + max(3, clusters) * 17),
        wide=True,
    )


def _phase_marks(
    marks: tuple[tuple[str, int, int], ...], windows: list[tuple[int, int]]
) -> dict[str, Any]:
    """Lines where phases of the pipeline meet, and their names above, in each part of the axis."""
    shapes, names = [], []
    for number, (begin, end) in enumerate(windows):
        place = {"xref": f"x{number + 1 if number else ''}", "yref": "paper"}
        for name, start, stop in marks:
            left, right = max(start, begin), min(stop, end)
            if left >= right:
                continue
            if begin < start:
                line = {"color": "--ink", "width": 1, "dash": "dot"}
                at = {"x0": seconds(start), "x1": seconds(start), "y0": 0, "y1": 1}
                shapes.append({"type": "line", "line": line, **at, **place})
            if right - left > (end - begin) / 20:
                label = {"x": seconds((left + right) // 2), "y": 1, "yanchor": "bottom"}
                names.append({"text": name, "showarrow": False, **label, **place})
    return {"shapes": shapes, "annotations": names}


def loads(case: Case, index: int) -> Figure:
    """Load of every cluster, layer by layer, beside what its chiplets would take if balanced."""
    segment = case.evaluation.segments[index]
    total = case.load(segment.first_layer, segment.last_layer)
    rows: list[list[Cell]] = []
    balanced: list[list[Cell]] = []
    for number, cluster in enumerate(segment.clusters):
        for layer in cluster.layers:
            load = case.load(layer.index)
            share = load / total if total else None
            rows.append([number, cluster.chiplets, layer.index, layer.name, load, share])
        share = cluster.chiplets / segment.chiplets
        balanced.append([number, cluster.chiplets, None, None, total * share, share])
    piece = {"marker": {"line": {"color": "--surface", "width": 1}}}
    even = {
        "mode": "markers",
        "marker": {
            "symbol": "line-ew-open",
            "size": max(5, min(18, 200 // len(segment.clusters))),
            "color": "--ink",
            "line": {"width": 3, "color": "--ink"},
        },
    }
    unit = case.load_unit
    return Figure(
        key=f"load-{index}",
        title="Load by cluster",
        summary="Bars are made of the loads of the cluster's layers"
        + (", in seconds on one chiplet" if unit == "s" else "")
        + ". Dashes show the balanced load: the segment's load in proportion to chiplets.",
        fields=(
            Field("cluster"),
            Field("chiplets"),
            Field("layer"),
            Field("name"),
            Field("load", unit),
            Field("share of segment", "share"),
        ),
        traces=[
            Trace("bar", rows, {"x": 0, "y": 4, "marker.color": 0}, "layer", piece),
            Trace("scatter", balanced, {"x": 0, "y": 4}, "balanced", even),
        ],
        series="load",
        layout={
            "barmode": "stack",
            "bargap": 0.15,
            "xaxis": cluster_axis(segment),
            "yaxis": axis("load per sample", unit),
            "showlegend": False,
        },
    )


def times(case: Case, index: int) -> Figure:
    """Time of every cluster for one sample beside the beat."""
    segment = case.evaluation.segments[index]
    rows: list[list[Cell]] = []
    for number, cluster in enumerate(segment.clusters):
        computation = sum(layer.computation_ps for layer in cluster.layers)
        preparation = sum(layer.preparation_ps for layer in cluster.layers)
        busy = cluster.time_ps / segment.beat_ps if segment.beat_ps else None
        exposed = cluster.time_ps - cluster.stream_ps - computation - preparation
        parts = (preparation, computation, exposed, cluster.stream_ps, cluster.time_ps)
        rows.append([number, cluster.chiplets, *map(seconds, parts), busy])
    looks = [
        ("preparation", 2, "--c1", "/"),
        ("computation", 3, "--c0", ""),
        ("communication not hidden", 4, "--c3", "x"),
    ]
    if any(cluster.stream_ps for cluster in segment.clusters):
        looks.append(("weights fetched again", 5, "--c6", "\\"))
    beat = f"beat {duration(segment.beat_ps)}, set by {segment.cause}"
    return Figure(
        key=f"times-{index}",
        title="Time by cluster",
        summary=f"Time of each cluster for one sample. The dashed line is the {beat}: "
        "above shorter bars lies the time that their chiplets wait.",
        fields=(
            Field("cluster"),
            Field("chiplets"),
            Field("preparation", "s"),
            Field("computation", "s"),
            Field("communication not hidden", "s"),
            Field("weights fetched again", "s"),
            Field("time", "s"),
            Field("busy", "share"),
        ),
        traces=bar_parts(rows, looks),
        layout={
            "barmode": "stack",
            "bargap": 0.15,
            "xaxis": cluster_axis(segment),
            "yaxis": axis("time per sample", "s"),
            **reference_line(seconds(segment.beat_ps), beat),
        },
    )


def memory(case: Case, index: int) -> Figure:
    """Activations that each chiplet of every cluster has to hold, beside the limit if any."""
    segment, limit = case.evaluation.segments[index], activation_limit(case.instance)
    rows: list[list[Cell]] = []
    for number, cluster in enumerate(segment.clusters):
        held = cluster.activation_bytes
        full = held / limit if held is not None and limit else None
        rows.append([number, cluster.chiplets, held, full])
    marks: dict[str, Any] = {}
    if limit is not None:
        marks = reference_line(limit, f"activation buffer, {units.size(limit)}")
    return Figure(
        key=f"memory-{index}",
        title="Activation memory by cluster",
        summary="Activations that each chiplet of a cluster holds at once, where its region is "
        "fullest: "
        + ("no buffer is given that limits them." if limit is None else "the line is its buffer."),
        fields=(
            Field("cluster"),
            Field("chiplets"),
            Field("held by each chiplet", "B"),
            Field("share of buffer", "share"),
        ),
        traces=[
            Trace(
                "bar",
                rows,
                {"x": 0, "y": 2, "marker.color": 0},
                "activations",
                {"marker": {"line": {"color": "--surface", "width": 1}}},
            )
        ],
        layout={
            "bargap": 0.15,
            "xaxis": cluster_axis(segment),
            "yaxis": axis("held by each chiplet", "B"),
            "showlegend": False,
            **marks,
        },
    )


def cluster_axis(segment: SegmentReport) -> dict[str, Any]:
    """Clusters by number."""
    count = len(segment.clusters)
    return axis("cluster", dtick=max(1, count // 12), range=[-0.6, count - 0.4])
