"""Page of the gap study: every solver on every paper instance, against the best that is known."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from scope_opt.report.drawing import COLORS, new_figure
from scope_opt.report.markdown import Article, Picture, fixed, table
from scope_opt.report.results import best_known
from scope_opt.report.results.records import MODELS, records_of
from scope_opt.solving.metrics import (
    gap_bracket,
    gap_profile,
    milestones,
    performance_profiles,
    primal_dual_integral,
    primal_integral,
    shifted_geometric_mean,
    summary,
)
from scope_opt.solving.registry import CLASSES
from scope_opt.solving.result import Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scope_opt.report.page import Table
    from scope_opt.report.results.records import Model
    from scope_opt.solving.metrics import Reference
    from scope_opt.solving.result import Result

    Runs = dict[str, dict[str, Result | None]]
    """Results by solver and instance, of the jobs that were run; None for one without a result."""

STUDY = "gaps"
SOLVERS = {
    "regressed": {
        "segmented": "optima",
        "scope": "optima",
        "scope-plus": "readings",
        "anneal": "optima",
        "anneal 60 s": "reach",
        "exact": "optima",
        "interval-milp": "reach",
        "cp-sat": "reach",
        "compact-milp": "reach",
    },
    "placed": {
        "segmented": "placed",
        "scope": "placed",
        "scope-plus": "readings",
        "anneal": STUDY,
        "exact": "placed",
        "interval-milp": STUDY,
        "cp-sat": STUDY,
    },
}
"""By model, labels and the study that has their records."""
ORDER = tuple(SOLVERS["regressed"])
EXACT = ("exact", "interval-milp", "cp-sat", "compact-milp")
LIMIT_S = 60.0
SHIFT_S = 10.0


def page() -> Article:
    """The page."""
    return Article(
        "Gap study: every solver on every instance of the paper",
        [
            "Free segments unless the solver has its own method. The registry "
            "`instances/best_known.json` and its schedules are written from records of "
            "[`optima`](../optima), [`reach`](../reach), [`placed`](../placed) and this study; `scope-plus` is one of "
            "the searches of [`readings`](../readings).",
            "`exact` and the heuristics run on one thread to their end, the formulations on two for at most "
            f"{LIMIT_S:.0f} s; *anneal 60 s* is annealing with the same time. In the placed model annealing and "
            "the formulations are records of this study, the latter on packages of up to 32 chiplets; `exact` "
            "ends there with programs for shared links; the times of this study are of a machine that did other "
            "work, too. All others are records of the studies named, which "
            "say machine and commits.",
            records_of(STUDY).origin(),
            "Pictures, left: share of the instances run whose schedule is within a gap of the reference. "
            "Right, where several exact methods were run: share of the instances given to all of them that are "
            "proved optimal within a factor of the fastest proof (Dolan and Moré, 2002).",
            "*Over all instances*: gaps to the reference in per cent; *none*: instances without a schedule, "
            f"which count in the share at 0. *time*: shifted geometric mean in seconds (shift {SHIFT_S:.0f} s) "
            f"until the solver ended, unproved runs of the exact methods at {LIMIT_S:.0f} s. *integral*: mean "
            f"primal and primal-dual integral over {LIMIT_S:.0f} s, as a share of them (Berthold, 2013; 0 is "
            "best, 1 is nothing at all). *first*, *best*, *proof*: median seconds until the first and the best "
            "schedule and the proof, of the instances that have them.",
            "*Instance by instance*: reference latency in ms and its class (`opt` proved by two or more "
            "independent methods, `opt1` by one, `best` only known); then the gap of each solver in per cent, "
            "as a bracket where the optimum is not proved. A star marks a proof by the solver itself; an empty "
            "cell, that it has not been run.",
            *(block for model in MODELS for block in _blocks(model)),
        ],
    )


def _blocks(model: Model) -> list[str | Picture | Table]:
    references = references_of(model)
    runs = _runs(model, references)
    kinds = [known.kind for known in references.values()]
    counts = ", ".join(
        f"{kinds.count(kind)} {meaning}" for kind, meaning in CLASSES.items() if kind in kinds
    )
    rows = []
    for name, what in references.items():
        cells = [fixed(None if what.objective is None else what.objective / 1e9, ".3f"), what.kind]
        cells += [_gap(results[name], what) if name in results else "" for results in runs.values()]
        rows.append([name, *cells])
    return [
        f"## Over all instances, {model.name}",
        f"{len(references)} instances; reference values: {counts}."
        + (
            f" {len(_common(runs))} of them were given to every exact method."
            if _proving(runs)
            else ""
        ),
        Picture(
            f"profiles{model.suffix}.svg",
            f"Gap and time profiles, {model.name}",
            partial(_draw, references, runs),
        ),
        table(
            (
                *("solver", "runs", "median", "p90", "worst", "at 0 %", "none", "proved", "time"),
                *("integral", "primal-dual", "first", "best", "proof"),
            ),
            [_aggregate(solver, results, references) for solver, results in runs.items()],
        ),
        f"## Instance by instance, {model.name}",
        table(["instance", "reference", "class", *runs], rows),
    ]


def references_of(model: Model) -> dict[str, Reference]:
    """What the registry's studies say of each instance in this model."""
    known = best_known.known_placed() if model.suffix else best_known.known()
    return {name: what for name, (what, _) in known.items()}


def _runs(model: Model, references: Mapping[str, Reference]) -> Runs:
    """Those that there are of each solver."""
    found: Runs = {}
    for solver, study in SOLVERS[model.name].items():
        records = records_of(study)
        results = {
            name: records.result(name, solver)
            for name in references
            if records.record(name, solver) is not None
        }
        if results:
            found[solver] = results
    return found


def _gap(result: Result | None, what: Reference) -> str:
    if result is None or result.objective_ps is None:
        return "-"
    low, high = gap_bracket(result.objective_ps, what)
    star = "*" if result.status is Status.OPTIMAL else ""
    if low == high:
        return fixed(None if low is None else 100 * low) + star
    return f"{fixed(None if low is None else 100 * low)} to {fixed(None if high is None else 100 * high)}"


def _proving(runs: Runs) -> list[str]:
    """Exact methods that were run, if there are any to compare."""
    found = [solver for solver in EXACT if solver in runs]
    return found if len(found) > 1 else []


def _common(runs: Runs) -> list[str]:
    """Instances that every exact method was run on."""
    first, *others = _proving(runs)
    return [name for name in runs[first] if all(name in runs[solver] for solver in others)]


def _gaps(
    results: Mapping[str, Result | None], references: Mapping[str, Reference]
) -> list[float | None]:
    return [
        None
        if result is None or result.objective_ps is None
        else gap_bracket(result.objective_ps, references[name])[0]
        for name, result in results.items()
    ]


def _seconds(solver: str, result: Result | None) -> float | None:
    """Until the end of a run; None for an exact method without a proof."""
    if result is None or (solver in EXACT and result.status is not Status.OPTIMAL):
        return None
    return result.times_s.total


def _aggregate(
    solver: str, results: Mapping[str, Result | None], references: Mapping[str, Reference]
) -> list[str]:
    spread = summary(_gaps(results, references))
    times = [_seconds(solver, result) for result in results.values()]
    primal, dual, reached = [], [], []
    for name, result in results.items():
        best = references[name].objective
        points = () if result is None else result.trajectory
        if best is not None:
            primal.append(primal_integral(points, best, LIMIT_S) / LIMIT_S)
        dual.append(primal_dual_integral(points, LIMIT_S) / LIMIT_S)
        reached.append(milestones(points))
    when = [
        summary([getattr(each, field) for each in reached]).median
        for field in ("first_s", "best_s", "proof_s")
    ]
    percent = [spread.median, spread.p90, spread.worst, spread.share_at_0]
    return [
        solver,
        str(len(results)),
        *(fixed(None if value is None else 100 * value) for value in percent),
        str(spread.missing),
        str(sum(r is not None and r.status is Status.OPTIMAL for r in results.values())),
        fixed(shifted_geometric_mean(times, SHIFT_S, LIMIT_S)),
        fixed(sum(primal) / len(primal), ".3f"),
        fixed(sum(dual) / len(dual), ".3f"),
        *(fixed(value) for value in when),
    ]


def _draw(references: Mapping[str, Reference], runs: Runs) -> Any:
    proving = _proving(runs)
    figure, axes = new_figure(1, 1 + bool(proving), width=10 if proving else 5.5, height=3.8)
    panels = list(axes) if proving else [axes]
    panels[0].set_xlabel("gap to the reference")
    panels[0].set_ylabel("share of instances")
    for solver, results in runs.items():
        profile = gap_profile(_gaps(results, references))
        steps = [(max(x, 1e-5), share) for x, share in profile.steps()]
        xs = [1e-5, *(x for x, _ in steps), 1e2]
        ys = [profile.share(0.0), *(share for _, share in steps), profile.share(1e9)]
        panels[0].step(xs, ys, where="post", **_style(solver))
    if proving:
        common = _common(runs)
        times = {
            solver: [_seconds(solver, runs[solver][name]) for name in common] for solver in proving
        }
        for solver, profile in performance_profiles(times).items():
            xs = [1.0, *(x for x, _ in profile.steps()), 1e4]
            ys = [profile.share(1.0), *(share for _, share in profile.steps()), profile.share(1e4)]
            panels[1].step(xs, ys, where="post", **_style(solver))
        panels[1].set_xlabel("time to proof over the fastest")
    for axis in panels:
        axis.set_xscale("log")
        axis.set_ylim(0, 1.03)
        axis.grid(alpha=0.3)
        axis.legend(frameon=False, fontsize=7.5)
    return figure


def _style(solver: str) -> dict[str, str]:
    """Of a solver's line, the same in both models."""
    n = ORDER.index(solver)
    style = "-" if n < len(COLORS) else "--"
    return {"color": COLORS[n % len(COLORS)], "linestyle": style, "label": solver}
