"""Figures of a study: profiles, times to a gap, growth, and the course of single runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scope_opt.model import units
from scope_opt.report.figure import Field, Figure, Trace, axis, line_style, log_axis, seconds
from scope_opt.report.study_data import (
    cost,
    finished_s,
    gap,
    limit_s,
    proof_s,
    run_name,
    time_to_gap,
)
from scope_opt.solving import metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scope_opt.report.figure import Cell, Unit
    from scope_opt.report.study_data import Problem, Study
    from scope_opt.solving.metrics import Profile
    from scope_opt.studies.records import Record

MAX_POINTS = 300
"""Most points of a run's course; with more, some in between are left out."""
LEAST_S = 1e-3
"""Where logarithmic time axes begin: what was there earlier, was there at once."""


def study_figures(study: Study) -> list[Figure]:
    """Those that the records have numbers for."""
    made = [
        _gap_profile(study),
        _objective_profile(study),
        _time_profile(study),
        _time_to_gap(study, 0.0),
        _time_to_gap(study, 0.01),
        _growth(study, "layers", lambda problem: problem.layers),
        _growth(
            study,
            "chiplets",
            lambda problem: None if problem.instance is None else problem.instance.chiplets,
        ),
    ]
    return [figure for figure in made if figure is not None]


def _gap_profile(study: Study) -> Figure | None:
    profiles = {
        label: metrics.gap_profile(found)
        for label in study.labels
        if (found := study.values(label, gap, study.common))
    }
    return _profile(
        "gap-profile",
        "Gap profile",
        "Share of the instances whose gap to the optimum, or to the best schedule known where that "
        "is not proved, is at most so large. Higher is better",
        study,
        profiles,
        Field("gap", "share"),
        shift=1.0,
    )


def _objective_profile(study: Study) -> Figure | None:
    costs = {
        label: study.values(label, lambda _, record: cost(record), study.common)
        for label in study.labels
    }
    return _profile(
        "objective-profile",
        "Performance profile of the objective",
        "Share of the instances on which a label's objective is within a factor of the best in "
        "this study (Dolan and Moré 2002)",
        study,
        _performance(costs),
        Field("factor of the best", "factor"),
    )


def _time_profile(study: Study) -> Figure | None:
    times = {label: study.values(label, proof_s, study.common) for label in study.labels}
    proving = {label: found for label, found in times.items() if any(found)}
    return _profile(
        "time-profile",
        "Performance profile of the time to the proof",
        "Share of the instances that a label proved optimal within a factor of the time of the "
        "fastest; labels that proved none are left out",
        study,
        _performance(proving),
        Field("factor of the fastest", "factor"),
    )


def _performance(costs: dict[str, list[float | None]]) -> dict[str, Profile]:
    """Profiles, unless there is nothing to compare; costs of 0 have no ratios."""
    present = [value for column in costs.values() for value in column if value is not None]
    if len(costs) < 2 or not present or min(present) <= 0:
        return {}
    return metrics.performance_profiles(costs)


def _time_to_gap(study: Study, target: float) -> Figure | None:
    """Share of the instances on which a label has come so close, over time."""
    profiles: dict[str, Profile] = {}
    for label in study.labels:
        times = study.values(label, time_to_gap(target), study.common)
        if times:
            clipped = [None if value is None else max(LEAST_S, value) for value in times]
            profiles[label] = metrics.gap_profile(clipped)
    goal = "the best schedule known" if target == 0 else f"{target:.0%} of the best schedule known"
    return _profile(
        f"time-to-{100 * target:g}",
        f"Time to within {goal}" if target else f"Time to {goal}",
        "Share of the instances on which a label has come so close after so many seconds",
        study,
        profiles,
        Field("time", "s"),
    )


def _profile(
    key: str,
    title: str,
    summary: str,
    study: Study,
    profiles: dict[str, Profile],
    field: Field,
    shift: float = 0.0,
) -> Figure | None:
    """Step functions on a logarithmic axis, of the value or, so that 0 has a place, of 1 + it."""
    ends = [profile.values for profile in profiles.values() if profile.values]
    if not ends:
        return None
    first, last = min(values[0] for values in ends), max(values[-1] for values in ends)
    shown = Field(f"1 + {field.name}", "factor") if shift else field
    traces = []
    for index, label in enumerate(study.labels):
        if label not in profiles:
            continue
        steps = profiles[label].steps()
        if not steps or steps[0][0] > first:
            steps.insert(0, (first, 0.0))
        if steps[-1][0] < last:
            steps.append((last, steps[-1][1]))
        rows: list[list[Cell]] = [[x + shift, share] for x, share in steps]
        if shift:
            rows = [[*row, x] for row, (x, _) in zip(rows, steps, strict=True)]
        style = line_style(index, shape="hv")
        traces.append(Trace("scatter", rows, {"x": 0, "y": 1}, label, style))
    return Figure(
        key=key,
        title=title,
        summary=f"{summary}. {_basis(study)}",
        fields=[shown, Field("instances", "share"), field][: 3 if shift else 2],
        traces=traces,
        series="label",
        layout={
            "xaxis": log_axis(shown.name, shown.unit, (first + shift, last + shift)),
            "yaxis": axis("share of instances", "share", range=[-0.03, 1.03]),
        },
        height=380,
    )


def _basis(study: Study) -> str:
    common = len(study.common)
    if common == len(study.problems):
        return f"All {units.plural(common, 'instance')}."
    return f"The {common} of {len(study.problems)} instances that every label was run on."


def _growth(study: Study, name: str, size: Callable[[Problem], int | None]) -> Figure | None:
    """Time of every run against the size of its instance, both logarithmic."""
    traces: list[Trace] = []
    sizes: set[int] = set()
    times: list[float] = []
    for index, label in enumerate(study.labels):
        rows: list[list[Cell]] = []
        for problem in study.problems:
            amount = size(problem)
            if amount is None:
                continue
            for record in problem.runs(label):
                done = finished_s(problem, record)
                if done is None and record.result is None:
                    continue  # refused, or lost before it began
                time = limit_s(record) if done is None else done
                state = "unfinished" if done is None else "finished"
                rows.append([problem.title, amount, max(LEAST_S, time), state])
                sizes.add(amount)
                times.append(max(LEAST_S, time))
        style = line_style(index)
        symbol = style["marker"]["symbol"]
        for state, mark in (("finished", symbol), ("unfinished", f"{symbol}-open")):
            of_state = [row for row in rows if row[3] == state]
            marker = {**style["marker"], "symbol": mark, "size": 8, "maxdisplayed": 0}
            again = state == "unfinished" and len(of_state) < len(rows)
            look = {
                "mode": "markers",
                "marker": marker,
                "legendgroup": label,
                "showlegend": not again,
            }
            if of_state:
                traces.append(Trace("scatter", of_state, {"x": 1, "y": 2}, label, look))
    if len(sizes) < 2:
        return None
    return Figure(
        key=f"growth-{name}",
        title=f"Time against {name}",
        summary="A mark for each run, both axes logarithmic. Open marks are runs that did not "
        "end by themselves, at their time limit.",
        fields=(Field("instance"), Field(name), Field("time", "s"), Field("run")),
        traces=traces,
        series="label",
        layout={
            "xaxis": axis(name, type="log", tickvals=_ticks(sorted(sizes)), tickformat="d"),
            "yaxis": log_axis("time", "s", times),
        },
        height=420,
    )


def _ticks(sizes: list[int]) -> list[int]:
    """Sizes far enough from each other for their numbers to stand side by side."""
    kept: list[int] = []
    for amount in sizes:
        if not kept or amount >= 1.2 * kept[-1]:
            kept.append(amount)
    return kept


def course(problem: Problem, labels: Sequence[str]) -> Figure | None:
    """Schedules and bounds of every run of a problem over time; None without any."""
    traces: list[Trace] = []
    thinned = False
    for record in problem.records:
        lines = _lines(record)
        thinned = thinned or any(len(line) > MAX_POINTS for line in lines.values())
        style = line_style(labels.index(record.label), shape="hv")
        shown = True  # one entry in the legend for both lines of a run
        for name, line in lines.items():
            look = {**style, "line": {**style["line"], "dash": _DASH[name]}}
            look |= {"legendgroup": run_name(record), "showlegend": shown}
            if line:
                shown = False
                traces.append(
                    Trace("scatter", _thin(line), {"x": 0, "y": 1}, run_name(record), look)
                )
    if not traces:
        return None
    times = [float(row[0] or 0) for trace in traces for row in trace.rows or ()]
    unit: Unit = "J" if problem.energy else "s"
    minimized = "energy" if problem.energy else "latency"
    return Figure(
        key="course",
        title="Schedules and bounds over time",
        summary="Solid: the best schedule of each run so far. Dotted: its lower bound. Where they "
        "meet, the run proved that its solver has no better choice."
        + (f" Of long courses {MAX_POINTS} points are drawn." if thinned else ""),
        fields=(Field("time", "s"), Field(minimized, unit), Field("of")),
        traces=traces,
        series="run",
        layout={
            "xaxis": log_axis("time", "s", times),
            "yaxis": axis(minimized, unit),
        },
        height=460,
        wide=True,
    )


_DASH = {"schedule": "solid", "lower bound": "dot"}


def _lines(record: Record) -> dict[str, list[list[Cell]]]:
    """Objective and bound where they change, and what they were at the end."""
    result = record.result
    if result is None:
        return {}
    energy = result.objective_fj is not None or result.bound_fj is not None
    points = [
        (p.time_s, *((p.objective_fj, p.bound_fj) if energy else (p.objective_ps, p.bound_ps)))
        for p in result.trajectory
    ]
    points.append((result.times_s.total, metrics.objective(result), metrics.bound(result)))
    lines: dict[str, list[list[Cell]]] = {}
    for column, name in enumerate(_DASH, start=1):
        line: list[list[Cell]] = []
        before: int | None = None
        for number, point in enumerate(points):
            value = point[column]
            end = number == len(points) - 1
            if isinstance(value, int) and (value != before or end):
                time = max(LEAST_S, point[0])
                line.append([time, value / 10**15 if energy else seconds(value), name])
                before = value
        lines[name] = line
    return lines


def _thin(line: list[list[Cell]]) -> list[list[Cell]]:
    """At most so many points, the first and the last among them."""
    if len(line) <= MAX_POINTS:
        return line
    step = (len(line) - 1) / (MAX_POINTS - 1)
    return [line[round(number * step)] for number in range(MAX_POINTS)]
