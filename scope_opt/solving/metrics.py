"""Numbers that studies and validations of solvers report, each with its definition and source.

Pure functions on plain numbers, results and trajectories. All costs are minimized: latencies in ps
or energies in fJ. A number that does not exist is None; a run without a schedule counts in every
share of the instances, as one that was not solved.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Literal

import numpy as np

from scope_opt.solving.result import Proof, Status, StopReason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from scope_opt.schedule.schedule import Schedule
    from scope_opt.solving.result import Result, SolverClass, TrajectoryPoint

METHODS = {
    "exact": "exact",
    "paths": "formulations",
    "cp-sat": "formulations",
    "interval-milp": "formulations",
    "compact-milp": "formulations",
    "network-milp": "formulations",
    "segment-milp": "formulations",
    "exhaustive": "exhaustive",
}
"""Method behind each solver whose bounds hold for every schedule of the segments asked for.

Two proofs are independent if their methods differ: solvers of one method share code that proves,
as the formulations do. A bound that is no more than the simple one is of the method
``simple bound``, whoever reports it. ``exact-segmented`` and its like are missing because their
bounds hold for their own scheme only, and they use the method of ``exact``.
"""

CLASSES: dict[str, SolverClass] = {
    "network-milp": "L",
    "cp-sat columns": "L",
    "interval-milp beats": "L",
    "segment-milp": "D",
    "cp-sat": "H",
    "interval-milp": "H",
    "compact-milp": "H",
    **dict.fromkeys(("scope", "sequential", "pipeline", "segmented"), "P"),
    **dict.fromkeys(("exact", "exact-sequential", "exact-pipeline", "exact-segmented"), "E"),
    **dict.fromkeys(("exhaustive", "paths"), "E"),
}
"""Class of each solver, and of an encoding whose class is another: what its results speak for.

``anneal`` and ``scope-plus`` have none; solvers of other packages neither.
"""

CLASS_NAMES: dict[SolverClass, str] = {
    "L": "a library on one program",
    "D": "a library on a program per segment",
    "H": "paths first, a library closes",
    "P": "the paper's search",
    "E": "exact, no library",
}

SIMPLE = "simple bound"
BY_PATHS = "bounded by paths"
"""Of a bound without a program."""
LIBRARIES = {"highs": "HiGHS", "cp-sat": "CP-SAT"}

Space = Literal["single"] | int | tuple[int, ...] | None
"""Segments that a question is about: one, a number, given first layers, or None for all."""

ReferenceClass = Literal["opt", "opt1", "best", "inf", "unkn"]


# --- Reference values ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Reference:
    """What is known about the optimum of an instance, from all results there are.

    ``kind`` is ``opt`` for an optimum that two or more independent methods proved, ``opt1`` for one
    that a single method proved, ``best`` for the best known schedule, ``inf`` if there is none at
    all (proved), ``unkn`` if none is known. The names follow the ``.solu`` files of MIPLIB (Koch
    et al., 2011); the count of methods is this project's, as solvers can be wrong.
    """

    objective: int | None
    """Least objective of any schedule."""
    bound: int | None
    """Largest proved lower bound."""
    kind: ReferenceClass
    methods: tuple[str, ...] = ()
    """Methods whose own bound is the objective, or that proved that there is no schedule."""

    @property
    def proved(self) -> bool:
        """Whether the objective is a proved optimum."""
        return self.kind in ("opt", "opt1")


def reference(
    results: Iterable[Result], segments: Space = None, methods: Mapping[str, str] = METHODS
) -> Reference:
    """Reference value of one instance.

    A schedule counts if it has the segments that the question is about. A bound counts if it was
    proved for these segments or for all, by a solver of ``methods``. Results that chose the order
    of positions as well are about another question and are left out.

    Parameters
    ----------
    results : iterable of Result
        Of one instance, by any solvers.
    segments : Space
        Restriction of the question; by default none.
    methods : mapping
        Method of each solver whose bounds can be trusted for all schedules.

    Raises
    ------
    ValueError
        If the results are of different instances, or contradict each other: a bound above another
        one's schedule, or a proof that there is none.
    """
    found = [result for result in results if not result.orders]
    if len({result.instance.digest for result in found}) > 1:
        raise ValueError("results of different instances have no common reference")
    values = [
        cost
        for result in found
        if result.schedule is not None and _lies_in(result.schedule, segments)
        if (cost := objective(result)) is not None
    ]
    best = min(values, default=None)
    bounds: dict[str, int] = {}
    excluded: set[str] = set()
    for result in found:
        if result.solver not in methods or _proved_for(result) not in (None, segments):
            continue
        simple = result.proof is not None and result.proof.by == (SIMPLE,)
        method = SIMPLE if simple else methods[result.solver]
        floor = bound(result)
        if floor is not None:
            bounds[method] = max(floor, bounds.get(method, floor))
        if result.status is Status.INFEASIBLE:
            excluded.add(method)
    if best is None:
        kind: ReferenceClass = "inf" if excluded else "unkn"
        return Reference(None, max(bounds.values(), default=None), kind, _independent(excluded))
    if excluded:
        raise ValueError(f"{', '.join(sorted(excluded))} excluded every schedule; there is one")
    wrong = sorted(method for method, floor in bounds.items() if floor > best)
    if wrong:
        raise ValueError(f"bound of {', '.join(wrong)} exceeds the objective {best} of a schedule")
    proving = _independent(method for method, floor in bounds.items() if floor == best)
    kind = "best" if not proving else "opt1" if len(proving) == 1 else "opt"
    return Reference(best, max(bounds.values(), default=None), kind, proving)


def proof_times(
    results: Iterable[Result], known: Reference, methods: Mapping[str, str] = METHODS
) -> dict[str, float]:
    """Wall seconds of the fastest run of each solver that proves the optimum of an instance.

    Runs that proved it for some segments or orders only are left out, as in `reference`.
    """
    found: dict[str, float] = {}
    for result in results:
        proves = result.status is Status.OPTIMAL and objective(result) == known.objective
        if not proves or result.solver not in methods or result.orders:
            continue
        if _proved_for(result) is not None:
            continue
        seconds = round(result.times_s.total, 3)
        found[result.solver] = min(seconds, found.get(result.solver, seconds))
    return dict(sorted(found.items()))


def _independent(methods: Iterable[str]) -> tuple[str, ...]:
    """Simple bounds are part of every method, so that they count only by themselves."""
    found = tuple(sorted(methods))
    return found if len(found) == 1 else tuple(method for method in found if method != SIMPLE)


def objective(result: Result) -> int | None:
    """What was minimized: latency in ps, or energy in fJ."""
    return result.objective_ps if result.objective_fj is None else result.objective_fj


def bound(result: Result) -> int | None:
    """Its proved lower bound."""
    return result.bound_ps if result.bound_fj is None else result.bound_fj


def _proved_for(result: Result) -> Space | str:
    """Segments that a result's bound is about."""
    asked = result.options.get("segments")
    if result.solver == "exhaustive":
        return "single"
    if asked in (None, "dp"):
        return None
    return tuple(asked) if isinstance(asked, list) else asked


def _lies_in(schedule: Schedule, segments: Space) -> bool:
    if segments is None:
        return True
    if isinstance(segments, tuple):
        return tuple(segment.first_layer for segment in schedule.segments) == segments
    return len(schedule.segments) == (1 if segments == "single" else segments)


# --- Proofs --------------------------------------------------------------------------------------


def proof_of(result: Result) -> Proof | None:
    """Who proved a result's bound, or that there is no schedule; None if that is not recorded.

    Results older than the field say it in one case only: ``cp-sat`` and ``interval-milp`` taking
    segments one by one, with their end reported and no program, had their bounds from paths.
    """
    if result.proof is not None:
        return result.proof
    by_paths = (
        result.solver in ("cp-sat", "interval-milp")
        and result.options.get("encoding") in (None, "segments", "thresholds")
        and result.stop_reason not in (StopReason.MEMORY_LIMIT, StopReason.ERROR)
        and result.model is None
        and bound(result) is not None
    )
    return Proof(by=("paths",), library=None, programs=0, library_s=0.0) if by_paths else None


def provers(result: Result) -> str | None:
    """Who proved it, for a table: ``paths, highs``, ``unnamed`` or ``not recorded``.

    None where there is nothing to prove: neither a bound nor the claim that there is no schedule.
    """
    if bound(result) is None and result.status is not Status.INFEASIBLE:
        return None
    proof = proof_of(result)
    return "not recorded" if proof is None else ", ".join(proof.by) or "unnamed"


def solver_class(result: Result) -> SolverClass | None:
    """What a result speaks for; None for a solver that is in no class.

    A program that was helped by bounds from shortest paths does not speak for its library alone,
    whatever was asked for.
    """
    asked = f"{result.solver} {result.options.get('encoding')}"
    found = CLASSES.get(asked, CLASSES.get(result.solver))
    proof = proof_of(result)
    mixed = found in ("L", "D") and proof is not None and "paths" in proof.by
    return "H" if mixed else found


def library_share(result: Result) -> float | None:
    """Share of the run's time spent inside a library; None where that is not recorded."""
    proof, total = proof_of(result), result.times_s.total
    return None if proof is None or total <= 0 else min(1.0, proof.library_s / total)


def library_work(result: Result) -> str | None:
    """What was left to a library: ``12 programs, largest 4,321 x 1,234, 3.1 s (40 %) in HiGHS``.

    Sizes are variables and constraints; the share is that of the whole run. `BY_PATHS` where there
    was no program; None where programs are not what one would expect, or nothing is recorded.
    """
    proof, size = proof_of(result), result.model
    if proof is None or proof.library is None:
        return BY_PATHS if proof is not None and "paths" in proof.by else None
    number = "1 program" if proof.programs == 1 else f"{proof.programs:,} programs"
    largest = "" if size is None else f" largest {size.variables:,} x {size.constraints:,},"
    names = " and ".join(LIBRARIES[library] for library in proof.libraries)
    share = library_share(result)
    part = "" if share is None else f" ({100 * share:.0f} %)"
    return f"{number},{largest} {proof.library_s:.1f} s{part} in {names}"


def proof_text(result: Result) -> str | None:
    """Both: ``bounded by paths``, or ``paths, highs: 12 programs, largest ...``."""
    who, work = provers(result), library_work(result)
    if work is None or work == BY_PATHS:
        return who if work is None else work
    return f"{who or 'no bound'}: {work}"


def used_floats(result: Result) -> bool:
    """Whether the bound is left to HiGHS, which computes in floats.

    Only then can a gap be left that floats cannot prove: everything else computes in integers,
    ``network-milp`` and ``segment-milp`` too, which take nothing but multipliers from HiGHS.
    """
    if result.solver in ("network-milp", "segment-milp"):
        return False
    if result.proof is not None:
        return "highs" in result.proof.libraries
    return result.solver in ("interval-milp", "compact-milp") and result.model is not None


# --- Gaps ----------------------------------------------------------------------------------------


def optimality_gap(cost: int, optimum: int) -> float | None:
    """``cost / optimum - 1``; None if only the optimum is 0, since no ratio says how far that is.

    Raises
    ------
    ValueError
        If the cost is below the optimum, which then is none.
    """
    if cost < optimum or optimum < 0:
        raise ValueError(f"cost {cost} below the proved optimum {optimum}")
    if cost == optimum:
        return 0.0
    return (cost - optimum) / optimum if optimum else None


def gap_bracket(cost: int, known: Reference) -> tuple[float | None, float | None]:
    """Between which two numbers the gap to the optimum lies.

    ``[cost / best - 1, cost / bound - 1]``: the optimum lies between the best schedule known and
    the bound. Both are the gap itself where the optimum is proved; an end without a best schedule
    or a bound is None.
    """
    best = cost if known.objective is None else min(cost, known.objective)
    low = None if known.objective is None else optimality_gap(cost, best)
    high = None if known.bound is None else optimality_gap(cost, known.bound)
    return low, high


@dataclass(frozen=True)
class Summary:
    """Spread of numbers over instances or seeds."""

    count: int
    missing: int
    """How many of ``count`` are None; these are in no percentile, but in the shares."""
    best: float | None
    median: float | None
    p90: float | None
    worst: float | None
    share_at_0: float | None
    """Share of ``count`` that is exactly 0."""


def summary(values: Iterable[float | None]) -> Summary:
    """Least, median, 90th percentile and largest number, and the share of zeros.

    The 90th percentile of ``n`` ascending numbers is the one at place ``ceil(0.9 n)`` (nearest
    rank), so it is one of them; the median is the mean of the two middle ones for even ``n``.
    """
    everything = list(values)
    present = sorted(value for value in everything if value is not None)
    return Summary(
        count=len(everything),
        missing=len(everything) - len(present),
        best=present[0] if present else None,
        median=median(present) if present else None,
        p90=present[-(-9 * len(present) // 10) - 1] if present else None,
        worst=present[-1] if present else None,
        share_at_0=present.count(0) / len(everything) if everything else None,
    )


def shifted_geometric_mean(
    values: Sequence[float | None], shift: float, limit: float | Sequence[float] | None = None
) -> float:
    """``exp(mean(log(v + shift))) - shift``, between the geometric and the arithmetic mean.

    After Achterberg (Constraint Integer Programming, PhD thesis, 2007) and Mittelmann's benchmarks,
    who use a shift of 10 s for times. Their guard ``max(1, v + shift)``, which matters only for
    shifts below 1, is left out: with it, the mean of small values would exceed them all.

    Parameters
    ----------
    values : sequence of float or None
        At least 0; None for a run that did not finish.
    shift : float
        Small values differ by less than this without changing the mean much.
    limit : float or sequence of float, optional
        Counted for each None: the time limit, of all runs or of each. Leaving those out would
        reward giving up.

    Raises
    ------
    ValueError
        If there are no values, one is negative, ``v + shift`` is 0, or a None has no limit.
    """
    if not values:
        raise ValueError("the mean of no values does not exist")
    if limit is None or isinstance(limit, int | float):
        limits: list[float | None] = [limit] * len(values)
    else:
        limits = list(limit)
    counted = [
        allowed if value is None else value for value, allowed in zip(values, limits, strict=True)
    ]
    present = [value for value in counted if value is not None]
    if len(present) < len(counted):
        raise ValueError("an unfinished run needs a limit to be counted at")
    if min(present) < 0 or min(present) + shift <= 0:
        raise ValueError(f"values from 0 on, above 0 with the shift; found {min(present)}")
    return math.exp(math.fsum(math.log(value + shift) for value in present) / len(present)) - shift


# --- Profiles ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Profile:
    """Share of the instances whose value is at most ``x``: a step function of ``x``."""

    values: tuple[float, ...]
    """Ascending, of the instances that were solved."""
    instances: int
    """All of them."""

    def share(self, x: float) -> float:
        """Share of all instances with a value of at most ``x``."""
        return int(np.searchsorted(self.values, x, side="right")) / self.instances

    def steps(self) -> list[tuple[float, float]]:
        """Where the share rises, and to what; constant in between and 0 before."""
        return [(x, self.share(x)) for x in sorted(set(self.values))]


def gap_profile(gaps: Sequence[float | None]) -> Profile:
    """Share of the instances within a given gap; for heuristics, whose time hardly matters.

    The variant of a performance profile that has the gap to a common reference as its axis, so
    that, unlike ratios to the best solver of the comparison, it does not depend on who takes part.
    """
    if not gaps:
        raise ValueError("the profile of no instances does not exist")
    return Profile(tuple(sorted(gap for gap in gaps if gap is not None)), len(gaps))


def performance_profiles(costs: Mapping[str, Sequence[float | None]]) -> dict[str, Profile]:
    """Performance profile of each solver: share of instances within a factor of the best.

    Dolan and More, "Benchmarking optimization software with performance profiles", Mathematical
    Programming 91 (2002): ``rho_s(tau)`` is the share of instances with
    ``cost_s / min over solvers of the cost <= tau``. With more than two solvers, the order of two
    curves can change with a third one: read them against the best, not against each other.

    Parameters
    ----------
    costs : mapping of str to sequence
        For each solver the time or objective on every instance, above 0; None where it failed.

    Raises
    ------
    ValueError
        For no instances, different numbers of them, or a cost of 0 or less.
    """
    table = list(zip(*costs.values(), strict=True))
    if not table:
        raise ValueError("the profile of no instances does not exist")
    best = [min((cost for cost in row if cost is not None), default=None) for row in table]
    least = min((cost for cost in best if cost is not None), default=1)
    if least <= 0:
        raise ValueError(f"costs must be above 0 to have ratios; found {least}")
    return {
        name: gap_profile(
            [
                None if cost is None or least is None else cost / least
                for cost, least in zip(column, best, strict=True)
            ]
        )
        for name, column in costs.items()
    }


# --- Trajectories --------------------------------------------------------------------------------


def primal_integral(trajectory: Sequence[TrajectoryPoint], best: int, limit_s: float) -> float:
    """Integral of the primal gap over time, in seconds; over ``limit_s`` it is in [0, 1].

    Berthold, "Measuring the impact of primal heuristics", Operations Research Letters 41 (2013):
    the gap of a schedule with objective ``z`` to the optimum or best known ``z*`` is
    ``|z - z*| / max(|z|, |z*|)``, 0 if both are 0, and 1 as long as there is no schedule. What was
    found last holds until the limit. Small values mean good schedules early.
    """
    return _integral(trajectory, limit_s, lambda cost, _: _normalized_gap(cost, best))


def primal_dual_integral(trajectory: Sequence[TrajectoryPoint], limit_s: float) -> float:
    """Integral of the gap between a run's own schedule and bound, in seconds.

    As `primal_integral`, with the bound in the place of the optimum and a gap of 1 as long as
    either is missing (the primal-dual integral of SCIP and HiGHS).
    """
    return _integral(trajectory, limit_s, _normalized_gap)


@dataclass(frozen=True)
class Milestones:
    """Seconds from the start of a run; None for what did not happen."""

    first_s: float | None
    """First schedule."""
    best_s: float | None
    """Best schedule of the run."""
    proof_s: float | None
    """Bound equal to the objective."""


def milestones(trajectory: Sequence[TrajectoryPoint]) -> Milestones:
    """When a run found its first and its best schedule, and when it had proved it."""
    first = best = proof = None
    least: int | None = None
    for point in trajectory:
        cost, floor = _costs(point)
        if cost is None:
            continue
        first = point.time_s if first is None else first
        if least is None or cost < least:
            least, best = cost, point.time_s
        if proof is None and floor == cost:
            proof = point.time_s
    return Milestones(first, best, proof)


def time_to(trajectory: Sequence[TrajectoryPoint], target: int) -> float | None:
    """Seconds until the first schedule with at most this objective; None if there is none."""
    for point in trajectory:
        cost, _ = _costs(point)
        if cost is not None and cost <= target:
            return point.time_s
    return None


def time_to_gap(trajectory: Sequence[TrajectoryPoint], gap: float) -> float | None:
    """Seconds until a run's own schedule and bound are within that relative gap of each other.

    ``(objective - bound) / objective``, as results state it; None if they never are.
    """
    for point in trajectory:
        cost, floor = _costs(point)
        if cost is not None and floor is not None and cost - floor <= gap * cost:
            return point.time_s
    return None


def _costs(point: TrajectoryPoint) -> tuple[int | None, int | None]:
    if point.objective_fj is not None or point.bound_fj is not None:
        return point.objective_fj, point.bound_fj
    return point.objective_ps, point.bound_ps


def _normalized_gap(cost: int | None, other: int | None) -> float:
    if cost is None or other is None:
        return 1.0
    return abs(cost - other) / max(cost, other) if cost != other else 0.0


def _integral(
    trajectory: Sequence[TrajectoryPoint],
    limit_s: float,
    gap: Callable[[int | None, int | None], float],
) -> float:
    if limit_s < 0:
        raise ValueError(f"limit {limit_s} s; allowed from 0")
    times = [0.0, *(min(point.time_s, limit_s) for point in trajectory), limit_s]
    gaps = [1.0, *(gap(*_costs(point)) for point in trajectory)]
    return math.fsum(
        (end - begin) * height for (begin, end), height in zip(pairwise(times), gaps, strict=True)
    )
