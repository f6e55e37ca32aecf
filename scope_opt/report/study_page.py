"""Pages of a study: its overview, and one for each of its instances."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scope_opt.model import units
from scope_opt.report.cases import make_case
from scope_opt.report.figure import duration
from scope_opt.report.page import Column, Fact, Link, Page, Table, file_names
from scope_opt.report.schedule_page import schedule_page
from scope_opt.report.study_data import (
    cost,
    finished_s,
    gap,
    limit_s,
    primal_share,
    proof_s,
    run_name,
)
from scope_opt.report.study_figures import course, study_figures
from scope_opt.solving import metrics
from scope_opt.solving.result import Status
from scope_opt.studies.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scope_opt.report.study_data import Problem, Study
    from scope_opt.studies.records import Record

SHIFT_S = 1.0
"""Shift of the geometric mean of times."""
KINDS = {
    "opt": "optimum, proved by more than one method",
    "opt1": "optimum, proved by one method",
    "best": "best known, optimum not proved",
    "inf": "proved to have no schedule",
    "unkn": "unknown",
}


def study_pages(study: Study, runs: Sequence[dict[str, Any]]) -> Iterator[Page]:
    """Overview, instances and best schedules.

    Parameters
    ----------
    study : Study
    runs : sequence of dict
        Of its manifest: when, where and by what it was run; empty if there is none.
    """
    title = f"Study {study.name}"
    files = file_names(problem.title for problem in study.problems)
    yield _overview(study, title, files, runs)
    for problem, file in zip(study.problems, files, strict=True):
        trail = [(title, "index.html")]
        best, link = problem.best, None
        if best is not None and problem.instance is not None and best.result is not None:
            assert best.result.schedule is not None
            link = f"best-{file}"
            name = run_name(best)
            full = f"{problem.title}, {name}"
            schedule, instance = best.result.schedule, problem.instance
            case = make_case(name, full, instance, schedule, best.result)
            yield schedule_page(case, link, [*trail, (problem.title, file)])
        yield _problem_page(study, problem, file, link, trail)


# --- Overview ------------------------------------------------------------------------------------


def _overview(
    study: Study, title: str, files: Sequence[str], runs: Sequence[dict[str, Any]]
) -> Page:
    content = {
        "facts": list(_facts(study)),
        "notes": [
            f"{problem.title}: {problem.contradiction}"
            for problem in study.problems
            if problem.contradiction
        ],
        "tables": [_outcomes(study), _aggregates(study)],
        "gaps": _gaps(study, files),
        "figures": study_figures(study),
        "figure_note": ""
        if study.common
        else "No instance was run by every label, so that no profile can compare them.",
        "runs": _runs(runs),
    }
    labels = ", ".join(study.labels)
    return Page("index.html", "study.html.j2", title, labels, content=content)


def _facts(study: Study) -> Iterator[Fact]:
    records = study.records
    labels = units.plural(len(study.labels), "label")
    yield Fact(
        "Runs", str(len(records)), f"{labels} on {units.plural(len(study.problems), 'instance')}"
    )
    kinds = [problem.reference.kind for problem in study.problems]
    proved = sum(kind in ("opt", "opt1") for kind in kinds)
    yield Fact("Optimum proved", f"{proved} of {len(kinds)}", "instances, by any of the labels")
    without = kinds.count("unkn") + kinds.count("inf")
    if without:
        yield Fact("Without schedule", str(without), "instances")
    yield Fact("Time", duration_s(sum(record.wall_s for record in records)), "of all runs together")
    days = sorted(record.started[:10] for record in records)
    if days:
        span = days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
        hosts = units.plural(len({record.host for record in records}), "machine")
        yield Fact("Date", span, f"on {hosts}")


def _outcomes(study: Study) -> Table:
    """How the runs of each label ended."""
    headings = [status.value for status in Status]
    headings += [o.value.replace("_", " ") for o in Outcome if o is not Outcome.DONE]
    counts = {label: dict.fromkeys(headings, 0) for label in study.labels}
    for record in study.records:
        ended = record.outcome.value.replace("_", " ")
        if record.outcome is Outcome.DONE and record.result is not None:
            ended = record.result.status.value
        counts[record.label][ended] = counts[record.label].get(ended, 0) + 1
    shown = [name for name in headings if any(row[name] for row in counts.values())]
    rows = [
        [label, str(sum(row.values())), *(str(row[name] or units.ABSENT) for name in shown)]
        for label, row in counts.items()
    ]
    columns = [Column("label", False), *map(Column, ["runs", *shown])]
    caption = "How the runs ended; optimal and infeasible are about what the solver may choose"
    return Table(caption, columns, rows)


def _aggregates(study: Study) -> Table:
    """Times and gaps of each label over its instances."""
    names = (
        *("instances", "with schedule", "best known", "proved optimal", "time"),
        *("gap, median", "p90", "worst", "primal integral"),
    )
    rows = []
    for label in study.labels:
        found = metrics.summary(study.values(label, gap))
        proved = study.values(label, proof_s)
        runs = [(p, record) for p in study.problems for record in p.runs(label)]
        times = [finished_s(problem, record) for problem, record in runs]
        limits = [limit_s(record) for _, record in runs]
        primal = [v for p, record in runs if (v := primal_share(p, record)) is not None]
        at_best = round((found.share_at_0 or 0) * found.count)
        rows.append(
            [
                label,
                str(found.count),
                str(found.count - found.missing),
                str(at_best),
                str(sum(value is not None for value in proved)),
                duration_s(metrics.shifted_geometric_mean(times, SHIFT_S, limits)),
                *map(units.percent, (found.median, found.p90, found.worst)),
                units.percent(sum(primal) / len(primal)) if primal else units.ABSENT,
            ]
        )
    caption = (
        "Labels over their instances, of several seeds the median. Time: geometric mean with a "
        f"shift of {SHIFT_S:g} s, where a run that did not end by itself counts as its time limit. "
        "Gap: to the optimum, or to the best schedule known where that is not proved; runs "
        "without a schedule have none. Primal integral: mean share of the time limit. "
        "Labels with different numbers of instances cannot be compared."
    )
    return Table(caption, [Column("label", False), *map(Column, names)], rows)


def _gaps(study: Study, files: Sequence[str]) -> Table:
    """Instances by labels."""
    columns = [Column("instance", False), Column("reference"), Column("kind", False)]
    columns += [Column(label) for label in study.labels]
    rows: list[list[str | Link]] = []
    for problem, file in zip(study.problems, files, strict=True):
        kind = "contradicted" if problem.contradiction else problem.reference.kind
        row: list[str | Link] = [
            Link(problem.title, file),
            _amount(problem, problem.reference.objective),
            kind,
        ]
        rows.append(row + [_gap_text(problem, problem.runs(label)) for label in study.labels])
    kinds = {problem.reference.kind for problem in study.problems}
    legend = "; ".join(f"{kind}: {text}" for kind, text in KINDS.items() if kind in kinds)
    caption = (
        f"Gap to the optimum; between two numbers where it is not proved. {legend}. "
        "Of several seeds the median, and the worst in brackets."
    )
    return Table(caption, columns, rows)


def _gap_text(problem: Problem, runs: Sequence[Record]) -> str:
    """Gap of a label on an instance, or why there is none."""
    if not runs:
        return units.ABSENT
    costs = sorted(found for record in runs if (found := cost(record)) is not None)
    if not costs:
        record = runs[0]
        if record.outcome is not Outcome.DONE or record.result is None:
            return record.outcome.value.replace("_", " ")
        return "infeasible" if record.result.status is Status.INFEASIBLE else "no schedule"
    if problem.contradiction:
        return units.ABSENT
    text = _bracket(problem, costs[(len(costs) - 1) // 2])
    if len(runs) > 1:
        failed = len(runs) - len(costs)
        worst = f"{units.plural(failed, 'failure')}" if failed else _bracket(problem, costs[-1])
        text += f" ({worst})"
    return text


def _bracket(problem: Problem, found: int) -> str:
    low, high = metrics.gap_bracket(found, problem.reference)
    if low == high:
        return units.percent(low)
    return f"{units.percent(low)} to {units.percent(high) if high is not None else '?'}"


def _runs(runs: Sequence[dict[str, Any]]) -> Table | None:
    """What the manifest says about how the records came to be."""
    if not runs:
        return None
    rows = []
    for run in runs:
        machine = run.get("machine")
        parts = machine if isinstance(machine, dict) else {}
        described = ", ".join(
            str(parts[name]) + (" cores" if name == "cores" else "")
            for name in ("cpu", "cores")
            if parts.get(name) is not None
        )
        rows.append(
            [
                str(run.get("started", units.ABSENT)),
                str(run.get("command", units.ABSENT)),
                str(run.get("commit") or units.ABSENT)[:12],
                described or units.ABSENT,
            ]
        )
    names = ("started", "command", "commit", "machine")
    return Table(
        "Runs of the study", [Column(name, False, name == "command") for name in names], rows
    )


# --- Instances -----------------------------------------------------------------------------------


def _problem_page(
    study: Study, problem: Problem, file: str, best: str | None, trail: Sequence[tuple[str, str]]
) -> Page:
    figure = course(problem, study.labels)
    content = {
        "facts": list(_problem_facts(problem)),
        "notes": [problem.contradiction] if problem.contradiction else [],
        "best": best,
        "best_label": "" if problem.best is None else run_name(problem.best),
        "why_no_page": "" if problem.instance is not None else "its instance is not at hand",
        "figures": [] if figure is None else [figure],
        "table": _problem_table(problem),
    }
    description = problem.instance.description if problem.instance is not None else ""
    return Page(file, "problem.html.j2", problem.title, description, trail, content)


def _problem_facts(problem: Problem) -> Iterator[Fact]:
    reference = problem.reference
    yield Fact("Reference", _amount(problem, reference.objective), KINDS[reference.kind])
    if reference.bound is not None:
        yield Fact("Lower bound", _amount(problem, reference.bound), "best of all runs")
    if reference.methods:
        yield Fact("Proved by", ", ".join(reference.methods))
    if problem.layers is not None:
        yield Fact("Layers", str(problem.layers))
    if problem.instance is not None:
        yield Fact("Chiplets", str(problem.instance.chiplets))


def _problem_table(problem: Problem) -> Table:
    numbers = ("objective", "bound", "gap to optimum", "own gap", "first", "best", "proof", "time")
    columns = [Column("run", False), Column("outcome", False), *map(Column, numbers)]
    columns += [Column("bound by", False), Column("remark", False, fold=True)]
    rows = []
    for record in problem.records:
        result, found = record.result, cost(record)
        ended = record.outcome.value.replace("_", " ")
        if record.outcome is Outcome.DONE and result is not None:
            ended = result.status.value
            if result.stop_reason.value != "completed":
                ended += f", {result.stop_reason.value.replace('_', ' ')}"
        times = metrics.milestones(()) if result is None else metrics.milestones(result.trajectory)
        remarks = [*record.explanation, *(result.explanation if result is not None else ())]
        if result is not None and result.warm_start is not None:
            remarks.append(f"warm start {result.warm_start}")
        rows.append(
            [
                run_name(record),
                ended,
                _amount(problem, found),
                _amount(problem, None if result is None else metrics.bound(result)),
                units.ABSENT
                if found is None or problem.contradiction
                else _bracket(problem, found),
                units.percent(None if result is None else result.gap),
                *map(duration_s, (times.first_s, times.best_s, times.proof_s)),
                duration_s(record.wall_s),
                (None if result is None else metrics.proof_text(result)) or units.ABSENT,
                "; ".join(dict.fromkeys(remarks)),
            ]
        )
    caption = (
        "Runs on this instance. First, best and proof: seconds until the first and the best "
        "schedule of the run and until it was proved optimal, where the solver reports its course. "
        "Bound by: who proved the bound, and the programs that a library was handed."
    )
    return Table(caption, columns, rows)


def _amount(problem: Problem, value: int | None) -> str:
    if value is not None and problem.energy:
        return units.joules(value / 10**15)
    return duration(value)


def duration_s(value: float | None) -> str:
    """Seconds with a unit."""
    return units.seconds(value).replace(" us", " µs")
