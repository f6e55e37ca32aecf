"""The latency-energy front of an instance: schedules of which none is better in both.

Each point comes from a solve that minimizes energy under a bound on the latency (the
epsilon-constraint method) and carries that solve's certificate; docs/pareto.md has the method.
"""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from scope_opt.model.files import InputError
from scope_opt.model.instance import Instance
from scope_opt.model.tables import LIMIT
from scope_opt.pareto.front import Front, Point, listed, strengthened, undominated
from scope_opt.schedule.evaluate import evaluate
from scope_opt.schedule.schedule import InstanceReference
from scope_opt.solving.result import Status, StopReason
from scope_opt.solving.solver import SolveOptions, load_solver, refuse_unsupported, solve_next

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from scope_opt.schedule.schedule import Schedule
    from scope_opt.solving.monitor import Monitor
    from scope_opt.solving.result import Result
    from scope_opt.solving.solver import Solver

    Progress = Callable[[str], AbstractContextManager[Callable[[Monitor], None] | None]]

PS_PER_S = 10**12
UNBOUNDED_S = float(LIMIT // PS_PER_S + 1)
"""A bound that no schedule exceeds: it only asks for the least energy."""

COARSE = 16
"""Gaps wider than this part of the whole range are halved before the rest is swept, so that an
interrupted run leaves points all over the front."""
MOST_POINTS = 100_000
"""More than anybody solves for."""


def trace_front(
    instance: Instance,
    solver: str | Solver = "cp-sat",
    options: SolveOptions | None = None,
    points: int | None = None,
    slowest: float | None = None,
    *,
    progress: Progress | None = None,
    on_front: Callable[[Front], None] | None = None,
    previous: Front | None = None,
) -> Front:
    """Points of the front between least latency and least energy.

    Parameters
    ----------
    instance : Instance
        With a network and a package. A latency bound of its own is where the front ends.
    solver : str or Solver
        One that honours a latency bound.
    options : SolveOptions, optional
        For every solve; each has the time limit for itself.
    points : int, optional
        From 2 to `MOST_POINTS`: solve for the ends and ``points - 2`` latency bounds evenly
        between them; every point of the front if absent.
    slowest : float, optional
        Only up to so many times the least latency, at least 1.
    progress : callable, optional
        Given the name of a solve, makes a context that yields what hears of its progress.
    on_front : callable, optional
        Called with the front so far after every solve.
    previous : Front, optional
        Of the same instance: what it proved is not solved again.

    Returns
    -------
    Front
        What was found until then if interrupted by Ctrl-C.

    Raises
    ------
    InputError, SolverUnavailable, SolverDisagreement
        As `scope_opt.solving.solver.solve` does; InputError too for what cannot have a front.
    """
    if instance.network is None:
        raise InputError("instance", ["explicit tables carry no energies; needs a network"])
    if points is not None and not 2 <= points <= MOST_POINTS:
        raise InputError("points", [f"found {points}; allowed 2, the ends, to {MOST_POINTS}"])
    if slowest is not None and not 1 <= slowest < math.inf:
        raise InputError("slowest", [f"found {slowest}; needs a factor from 1 on"])
    chosen = load_solver(solver) if isinstance(solver, str) else solver
    options = options or SolveOptions()
    refuse_unsupported(_bounded(instance, UNBOUNDED_S), chosen, options)
    sweep = _Sweep(instance, chosen, options, points, slowest, progress, on_front)
    if previous is not None:
        sweep.take(previous)
    try:
        sweep.run()
    except KeyboardInterrupt:
        sweep.stop_reason = StopReason.INTERRUPTED
    return sweep.front()


def bound_seconds(latency_ps: int) -> float:
    """Value of ``latency_bound_s`` that allows exactly the latencies up to that one.

    A bound counts as the decimal number it is written as, so picoseconds survive as long as floats
    can tell them apart.

    Raises
    ------
    InputError
        If floats cannot: somewhere above two hours.
    """
    nearest = float(Decimal(latency_ps).scaleb(-12))
    for seconds in (nearest, math.nextafter(nearest, math.inf)):
        if int(Fraction(str(seconds)) * PS_PER_S) == latency_ps:
            return seconds
    problem = f"a latency bound of {latency_ps} ps is no number that a file can hold exactly"
    raise InputError("latency_bound_s", [problem])


class _Sweep:
    """Solves, and what they have found so far."""

    def __init__(
        self,
        instance: Instance,
        solver: Solver,
        options: SolveOptions,
        points: int | None,
        slowest: float | None,
        progress: Progress | None,
        on_front: Callable[[Front], None] | None,
    ) -> None:
        self._instance, self._solver, self._options = instance, solver, options
        self._points, self._slowest, self._on_front = points, slowest, on_front
        self._progress: Progress = progress or (lambda _: nullcontext())
        limit_s = instance.constraints.latency_bound_s
        self._top_ps = None if limit_s is None else int(Fraction(str(limit_s)) * PS_PER_S)
        self._found: list[Point] = []
        self._latency_bound_ps: int | None = None
        self._explanation: tuple[str, ...] = ()
        self._swept = self._interrupted = False
        self.stop_reason = StopReason.COMPLETED

    def take(self, previous: Front) -> None:
        """Begin with what an earlier front of the same instance found."""
        self._found = list(previous.points)
        self._latency_bound_ps = previous.latency_bound_ps

    def run(self) -> None:
        """Solve for both ends, then between them."""
        if self._least_latency() is Status.INFEASIBLE:
            return
        if self._slowest is not None and self._found:
            least_ps = min(point.latency_ps for point in self._found)
            most_ps = int(least_ps * Fraction(str(self._slowest)))
            self._top_ps = most_ps if self._top_ps is None else min(self._top_ps, most_ps)
        lean = self._least_energy(self._top_ps)
        if lean is None:
            return
        least_ps = min(point.latency_ps for point in self._found)
        fast = self._least_energy(least_ps)
        assert fast is not None  # a schedule of that latency is known
        if self._points is None:
            coarse_ps = (lean.latency_ps - fast.latency_ps) // COARSE
            while gaps := self._gaps(fast.latency_ps, lean.latency_ps):
                low_ps, high_ps = max(gaps, key=lambda gap: gap[1] - gap[0])
                wide = high_ps - low_ps > coarse_ps
                self._least_energy((low_ps + high_ps) // 2 if wide else high_ps)
            self._swept = True
        else:
            proved = lean.status is Status.OPTIMAL
            last_ps = lean.latency_ps if proved or self._top_ps is None else self._top_ps
            # From tight to loose: each schedule is a start for the next solve.
            for index in range(1, self._points - 1):
                step_ps = (last_ps - least_ps) * index // (self._points - 1)
                self._least_energy(least_ps + step_ps)

    def _gaps(self, least_ps: int, most_ps: int) -> list[tuple[int, int]]:
        """Runs of latencies that no solve has answered, first and last: see `Point.answers`.

        A solve within ``b`` that returns a schedule of latency ``a`` answers all bounds a to b.
        """
        gaps, next_ps = [], least_ps
        for point in sorted(self._found, key=lambda point: point.latency_ps):
            if point.latency_ps > next_ps:
                gaps.append((next_ps, point.latency_ps - 1))
            if point.latency_ps >= most_ps or point.within_ps is None:
                break
            next_ps = max(next_ps, point.within_ps + 1)
        return gaps

    def front(self) -> Front:
        """Undominated points, with every certificate as strong as all solves together make it."""
        points = undominated(strengthened(self._found))
        proved = all(point.status is Status.OPTIMAL for point in points)
        fastest = bool(points) and points[0].latency_ps == self._latency_bound_ps
        return Front(
            instance=InstanceReference.to(self._instance),
            solver=self._solver.name,
            options=_recorded(self._options, self._points, self._slowest),
            complete=self._swept and proved and fastest,
            stop_reason=self.stop_reason,
            explanation=() if points else self._explanation,
            latency_bound_ps=self._latency_bound_ps,
            points=points,
        )

    def _least_energy(self, within_ps: int | None) -> Point | None:
        """Solve for the least energy within a latency, unless an earlier solve tells it."""
        for answer in self._found:
            if answer.answers(within_ps):
                return answer
        seconds = UNBOUNDED_S if within_ps is None else bound_seconds(within_ps)
        known = self._known(within_ps)
        name = "least energy"
        if within_ps is not None:
            name += f" within {within_ps / PS_PER_S:.6g} s"
        began = time.perf_counter()
        result = self._solve(name, seconds, known)
        spent_s = round(time.perf_counter() - began, 3)
        point = self._best(known, result, within_ps, spent_s)
        if point is not None:
            self._found.append(point)
        else:
            self._explanation = result.explanation or (f"no schedule found in {spent_s} s",)
        self._ended()
        return point

    def _best(
        self, known: Point | None, result: Result, within_ps: int | None, spent_s: float
    ) -> Point | None:
        """The better one of a result and what was known, with the result's bound."""
        point = known
        if result.schedule is not None:
            point = self._point(result.schedule, spent_s)
            if known is not None and known.energy_fj < point.energy_fj:
                point = known
        if point is None:
            return None
        update = {"within_ps": within_ps, "time_s": spent_s}
        return point.model_copy(update=update).with_bound(result.bound_fj)

    def _least_latency(self) -> Status:
        """Solve for the least latency; its least energy is the next question."""
        fastest = min(self._found, key=lambda point: point.latency_ps, default=None)
        if fastest is not None and fastest.latency_ps == self._latency_bound_ps:
            return Status.OPTIMAL
        began = time.perf_counter()
        result = self._solve("least latency", None, fastest)
        self._latency_bound_ps, self._explanation = result.bound_ps, result.explanation
        if result.schedule is not None:
            point = self._point(result.schedule, round(time.perf_counter() - began, 3))
            if self._top_ps is None or point.latency_ps <= self._top_ps:
                self._found.append(point)
        self._ended()
        return result.status

    def _solve(self, name: str, bound_s: float | None, start: Point | None) -> Result:
        bounded = _bounded(self._instance, bound_s)
        options = self._options
        if start is not None and "warm_start" in self._solver.options:
            options = replace(options, warm_start=start.schedule)
        with self._progress(f"{self._instance.name}, {name}") as on_progress:
            result, self._interrupted = solve_next(bounded, self._solver, options, on_progress)
        return result

    def _ended(self) -> None:
        if self._on_front is not None:
            self._on_front(self.front())
        if self._interrupted:
            raise KeyboardInterrupt

    def _point(self, schedule: Schedule, spent_s: float) -> Point:
        """A schedule about whose energy nothing is proved."""
        own = schedule.model_copy(update={"instance": InstanceReference.to(self._instance)})
        evaluation = evaluate(_bounded(self._instance, None), own)
        assert evaluation.objective_ps is not None
        assert evaluation.energy_fj is not None
        return Point(
            latency_ps=evaluation.objective_ps,
            energy_fj=evaluation.energy_fj,
            within_ps=evaluation.objective_ps,
            status=Status.FEASIBLE,
            bound_fj=None,
            gap=None,
            time_s=spent_s,
            schedule=own,
        )

    def _known(self, within_ps: int | None) -> Point | None:
        """Known point of least energy within a latency."""
        fitting = [
            point for point in self._found if within_ps is None or point.latency_ps <= within_ps
        ]
        return min(fitting, key=lambda point: point.energy_fj, default=None)


def _bounded(instance: Instance, bound_s: float | None) -> Instance:
    """The instance with that latency bound, or without one."""
    limits = instance.constraints.model_copy(update={"latency_bound_s": bound_s})
    content = {name: getattr(instance, name) for name in Instance.model_fields}
    return Instance(**{**content, "constraints": limits})


def _recorded(options: SolveOptions, points: int | None, slowest: float | None) -> dict[str, Any]:
    return {
        "points": points,
        "slowest": slowest,
        "segments": listed(options.segments),
        "time_limit_s": options.time_limit_s,
        **({} if options.cpu_limit_s is None else {"cpu_limit_s": options.cpu_limit_s}),
        **{name: getattr(options, name) for name in sorted(options.given())},
    }
