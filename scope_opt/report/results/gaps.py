"""Page of the gap study: every solver on every paper instance, against the best that is known."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from scope_opt.report.drawing import COLORS, new_figure
from scope_opt.report.markdown import Article, Picture, fixed, table
from scope_opt.report.results import best_known
from scope_opt.report.results.records import records_of
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

    from scope_opt.solving.metrics import Reference
    from scope_opt.solving.result import Result

    Runs = dict[str, dict[str, Result | None]]
    """Results by solver and instance, of the jobs that were run; None for one without a result."""

SOLVERS = {
    "segmented": "optima",
    "scope": "optima",
    "anneal": "optima",
    "anneal 60 s": "reach",
    "exact": "optima",
    "interval-milp": "reach",
    "cp-sat": "reach",
    "compact-milp": "reach",
}
"""Labels and the study that has their records."""
EXACT = ("exact", "interval-milp", "cp-sat", "compact-milp")
LIMIT_S = 60.0
SHIFT_S = 10.0


def page() -> Article:
    """The page."""
    known = best_known.known()
    studies = {study: records_of(study) for study in set(SOLVERS.values())}
    names = list(known)
    references = {name: known[name][0] for name in names}
    runs: Runs = {
        solver: {
            name: studies[study].result(name, solver)
            for name in names
            if studies[study].record(name, solver) is not None
        }
        for solver, study in SOLVERS.items()
    }
    runs = {solver: results for solver, results in runs.items() if results}
    kinds = [references[name].kind for name in names]
    counts = ", ".join(
        f"{kinds.count(kind)} {meaning}" for kind, meaning in CLASSES.items() if kind in kinds
    )
    rows = []
    for name in names:
        what = references[name]
        cells = [fixed(None if what.objective is None else what.objective / 1e9, ".3f"), what.kind]
        cells += [_gap(results[name], what) if name in results else "" for results in runs.values()]
        rows.append([name, *cells])
    return Article(
        "Gap study: every solver on every instance of the paper",
        [
            f"{len(names)} instances, free segments unless the solver has its own method; reference values: "
            f"{counts}. The registry `instances/best_known.json` and its schedules are written from the same "
            "records, those of [`optima`](../optima) and [`reach`](../reach).",
            f"`exact` and the heuristics run on one thread to their end, the formulations on two for at most "
            f"{LIMIT_S:.0f} s; *anneal 60 s* is annealing with the same time. Machine and commits: as the two "
            "studies say.",
            Picture("profiles.svg", "Gap and time profiles", partial(_draw, references, runs)),
            "Left: share of the instances run whose schedule is within a gap of the reference. Right: share of "
            f"the {len(_common(runs))} instances that every exact method was run on that are proved optimal within a "
            "factor of the fastest proof (Dolan and Moré, 2002).",
            "## Over all instances",
            "Gaps to the reference in per cent; *none*: instances without a schedule, which count in the share "
            f"at 0. *time*: shifted geometric mean in seconds (shift {SHIFT_S:.0f} s) until the solver ended, "
            f"unproved runs of the exact methods at their limit of {LIMIT_S:.0f} s. *integral*: mean primal and "
            f"primal-dual integral over {LIMIT_S:.0f} s, as a share of them (Berthold, 2013; 0 is best, 1 is "
            "nothing at all). *first*, *best*, *proof*: median seconds until the first and the best schedule and "
            "the proof, of the instances that have them.",
            table(
                [
                    "solver",
                    "runs",
                    "median",
                    "p90",
                    "worst",
                    "at 0 %",
                    "none",
                    "proved",
                    "time",
                    "integral",
                    "primal-dual",
                    "first",
                    "best",
                    "proof",
                ],
                [_aggregate(solver, results, references) for solver, results in runs.items()],
            ),
            "## Instance by instance",
            "Reference latency in ms and its class (`opt` proved by two or more independent methods, `opt1` by "
            "one, `best` only known); then the gap of each solver in per cent, as a bracket where the optimum is "
            "not proved. A star marks a proof by the solver itself; an empty cell, that it has not been run.",
            table(["instance", "reference", "class", *runs], rows),
        ],
    )


def _gap(result: Result | None, what: Reference) -> str:
    if result is None or result.objective_ps is None:
        return "-"
    low, high = gap_bracket(result.objective_ps, what)
    star = "*" if result.status is Status.OPTIMAL else ""
    if low == high:
        return fixed(None if low is None else 100 * low) + star
    return f"{fixed(None if low is None else 100 * low)} to {fixed(None if high is None else 100 * high)}"


def _common(runs: Runs) -> list[str]:
    """Instances that every exact method was run on."""
    methods = [runs[solver] for solver in EXACT if solver in runs]
    return [name for name in methods[0] if all(name in results for results in methods)]


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
    figure, (left, right) = new_figure(1, 2, width=10, height=3.8)
    for solver, results in runs.items():
        n = list(SOLVERS).index(solver)
        profile = gap_profile(_gaps(results, references))
        steps = [(max(x, 1e-5), share) for x, share in profile.steps()]
        xs = [1e-5, *(x for x, _ in steps), 1e2]
        ys = [profile.share(0.0), *(share for _, share in steps), profile.share(1e9)]
        style = "-" if n < len(COLORS) else "--"
        left.step(xs, ys, style, where="post", color=COLORS[n % len(COLORS)], label=solver)
    times = {
        solver: [_seconds(solver, runs[solver][name]) for name in _common(runs)]
        for solver in EXACT
        if solver in runs
    }
    for solver, profile in performance_profiles(times).items():
        n = list(SOLVERS).index(solver)
        xs = [1.0, *(x for x, _ in profile.steps()), 1e4]
        ys = [profile.share(1.0), *(share for _, share in profile.steps()), profile.share(1e4)]
        style = "-" if n < len(COLORS) else "--"
        right.step(xs, ys, style, where="post", color=COLORS[n % len(COLORS)], label=solver)
    left.set_xlabel("gap to the reference")
    right.set_xlabel("time to proof over the fastest")
    for axis in (left, right):
        axis.set_xscale("log")
        axis.set_ylim(0, 1.03)
        axis.grid(alpha=0.3)
        axis.legend(frameon=False, fontsize=7.5)
    left.set_ylabel("share of instances")
    return figure
