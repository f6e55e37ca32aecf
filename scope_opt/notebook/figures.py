"""Figures of reports as plotly's figures in Python, where no page draws them.

What `scope_opt/report/templates/report.js` does in a browser is done here, in the page's light
colours and on a ground of its own, so that nothing is lost in a dark notebook.
"""

from __future__ import annotations

import html
import math
import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from scope_opt.cost.build import build_tables
from scope_opt.model import units
from scope_opt.model.files import InputError, closest
from scope_opt.model.instance import Instance
from scope_opt.notebook.cases import case_of
from scope_opt.report import mesh_figures, schedule_figures, segment_figures
from scope_opt.report.figure import Field, Figure, axis, bar_parts, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from scope_opt.notebook.cases import Shown
    from scope_opt.report.cases import Case
    from scope_opt.report.figure import Cell, Unit

    Maker = Callable[[Case, int], Figure | None]

PALETTE = 8


def _mesh(case: Case, segment: int) -> Figure | None:
    package = case.instance.package
    if package is None:
        return None
    return mesh_figures.regions(package, case.evaluation.segments[segment], segment)


def _links(case: Case, segment: int) -> Figure | None:
    package = case.instance.package
    if package is None or not case.links or not case.links[segment]:
        return None
    loads = case.links[segment]
    return mesh_figures.links(package, case.evaluation.segments[segment], loads, segment)


def _memory(case: Case, segment: int) -> Figure | None:
    return None if case.instance.package is None else segment_figures.memory(case, segment)


FIGURES: Mapping[str, Maker] = {
    "pipeline": segment_figures.pipeline,
    "mesh": _mesh,
    "links": _links,
    "loads": segment_figures.loads,
    "times": segment_figures.times,
    "memory": _memory,
    "timeline": lambda case, _: schedule_figures.timeline([case]),
    "layers": lambda case, _: schedule_figures.layers(case),
    "utilization": lambda case, _: schedule_figures.utilization(case),
    "energy": lambda case, _: schedule_figures.energy([case]),
}
"""Of schedules and results; the first is shown if none is named, the first six are of a segment."""
LAYERS = "layers"
"""The figure of an instance."""


def plot(
    document: Shown,
    figure: str | None = None,
    *,
    segment: int = 0,
    instance: Instance | None = None,
) -> go.Figure:
    """See `scope_opt.model.shown.Shown.plot`."""
    names = [LAYERS] if isinstance(document, Instance) else list(FIGURES)
    name = names[0] if figure is None else figure
    if name not in names:
        raise InputError("figure", [f"found {name!r}; {closest(str(name), names)}"])
    if isinstance(document, Instance):
        return drawn(instance_layers(document))
    case = case_of(document, instance)
    segments = len(case.evaluation.segments)
    if not segments:
        raise InputError("schedule", ["is no schedule of this instance; see evaluate()"])
    if not 0 <= segment < segments:
        raise InputError("segment", [f"found {segment}; allowed 0 to {segments - 1}"])
    made = FIGURES[name](case, segment)
    if made is None:
        known = [other for other in FIGURES if FIGURES[other](case, segment) is not None]
        problem = f"{name!r} does not exist for this instance; allowed: {', '.join(known)}"
        raise InputError("figure", [problem])
    return drawn(made)


def instance_layers(instance: Instance) -> Figure:
    """What every layer computes, and how many bytes of weights it has."""
    tables, network = build_tables(instance), instance.network
    physical = network is not None
    work = [int(load) if physical else seconds(int(load)) for load in tables.load]
    rows = [
        [index, name, load, int(weights)]
        for index, (name, load, weights) in enumerate(
            zip(instance.layer_names, work, tables.weight_bytes, strict=True)
        )
    ]
    unit: Unit = "MAC" if physical else "s"
    what = "computation" if physical else "time on one chiplet"
    return Figure(
        key="layers",
        title="Layers",
        summary="What each layer computes for one sample.",
        fields=(Field("layer"), Field("name"), Field(what, unit), Field("weights", "B")),
        traces=bar_parts(rows, [(what, 2, "--c0", "")], outline=0),
        layout={"bargap": 0.12, "xaxis": axis("layer"), "yaxis": axis(f"{what} per sample", unit)},
        wide=True,
    )


def drawn(figure: Figure) -> go.Figure:
    """A figure of a report as one of plotly."""
    traces, rows = [], []  # type: ignore[var-annotated]
    for trace in figure.traces:
        rows = rows if trace.rows is None else [list(row) for row in trace.rows]
        made = {"type": trace.kind, "name": html.escape(trace.name), **_coloured(trace.style)}
        for side in ("x", "y"):
            if isinstance(made.get(side), int | float):
                made[side] = [made[side]] * len(rows)
        for attribute, index in trace.at.items():
            _put(made, attribute, _column(rows, attribute, index, figure.fields[index].unit))
        made["customdata"] = [
            [
                html.escape(shown(value, column.unit))
                for value, column in zip(row, figure.fields, strict=True)
            ]
            for row in rows
        ]
        lines = [
            f"{html.escape(column.name)}: %{{customdata[{index}]}}"
            for index, column in enumerate(figure.fields)
        ]
        if figure.series:
            lines.insert(0, f"<b>{made['name']}</b>")
        made["hovertemplate"] = "<br>".join(lines) + "<extra></extra>"
        traces.append(made)
    return go.Figure({"data": traces, "layout": _layout(figure)})


def shown(value: Cell, unit: Unit) -> str:
    """A cell as text."""
    if value is None:
        return units.ABSENT
    if isinstance(value, str) or unit == "":
        return str(value)
    if unit == "share":
        return units.percent(value)
    if unit == "factor":
        return f"{value:.4g}"
    if unit == "s":
        return units.seconds(value).replace(" us", " µs")
    return units.joules(value) if unit == "J" else units.count(value, unit)


@cache
def colours() -> Mapping[str, str]:
    """Colours of the pages of reports, by name: ``--ink``; the light ones."""
    style = resources.files("scope_opt.report").joinpath("templates/report.css").read_text("utf-8")
    light = style.partition("@media")[0]
    return dict(re.findall(r"(--[a-z0-9-]+): (#[0-9a-f]{6})", light))


def palette(index: int) -> str:
    """Colour of a cluster."""
    return colours()[f"--c{index % PALETTE}"]


def _coloured(value: Any) -> Any:
    """A copy in which ``--name`` is that colour."""
    if isinstance(value, str):
        return colours()[value] if value.startswith("--") else value
    if isinstance(value, list | tuple):
        return [_coloured(inner) for inner in value]
    if isinstance(value, dict):
        return {key: _coloured(inner) for key, inner in value.items()}
    return value


def _column(rows: Sequence[Sequence[Cell]], attribute: str, index: int, unit: Unit) -> list[Any]:
    def cell(value: Any) -> Any:
        if attribute.endswith("color"):
            if unit == "share":
                return _heat(value)
            return colours()["--surface"] if value is None else palette(value)
        if attribute.endswith("opacity"):
            return 0.6 if value % 2 else 1
        if attribute == "text":
            return "" if value is None else html.escape(shown(value, unit))
        return html.escape(value) if isinstance(value, str) else value

    return [cell(row[index]) for row in rows]


def _heat(share: float) -> str:
    """Colour of a share, from pale to ``--heat2``."""
    at = 2 * min(1.0, max(0.0, share))
    ends = [colours()[f"--heat{stop}"] for stop in (math.floor(at), math.ceil(at))]
    low, high = ([int(end[i : i + 2], 16) for i in (1, 3, 5)] for end in ends)
    mixed = (round(a + (b - a) * (at % 1)) for a, b in zip(low, high, strict=True))
    return f"rgb({','.join(map(str, mixed))})"


def _put(target: dict[str, Any], path: str, value: object) -> None:
    *keys, last = path.split(".")
    for key in keys:
        target = target.setdefault(key, {})
    target[last] = value


def _merged(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in more.items():
        both = isinstance(merged.get(key), dict) and isinstance(value, dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def _layout(figure: Figure) -> dict[str, Any]:
    ink, line, surface = (colours()[name] for name in ("--ink", "--line", "--surface"))
    side = {
        "automargin": True,
        **dict.fromkeys(("gridcolor", "zerolinecolor", "linecolor", "tickcolor"), line),
    }
    base: dict[str, Any] = {
        "template": "none",
        "title": {"text": figure.title, "x": 0.01, "font": {"size": 14}},
        "paper_bgcolor": surface,
        "plot_bgcolor": surface,
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": ink},
        "margin": {"l": 8, "r": 12, "t": 60, "b": 48, "pad": 2},
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1.02,
            "yanchor": "bottom",
            "bgcolor": "rgba(0,0,0,0)",
            "traceorder": "normal",
        },
        "height": figure.height + 74,
        "xaxis": side,
        "yaxis": {**side, "title": {"standoff": 8}},
    }
    if not figure.wide:
        base["width"] = 620
    if "xaxis2" in figure.layout:
        base["xaxis2"] = side
    return _merged(base, _coloured(dict(figure.layout)))
