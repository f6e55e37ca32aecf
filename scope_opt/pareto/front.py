"""Latency-energy fronts as documents: points with certificates, none of them dominated."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import model_validator

from scope_opt.model.files import Document, InputError, inconsistent
from scope_opt.model.network import Index
from scope_opt.schedule.evaluate import evaluate
from scope_opt.schedule.schedule import InstanceReference, Schedule
from scope_opt.solving.result import Energy, Options, Status, StopReason, relative_gap
from scope_opt.solving.solver import SolverDisagreement

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scope_opt.model.instance import Instance
    from scope_opt.solving.solver import SegmentChoice


class Point(Document):
    """A schedule, and what is proved about the energy of all that are as fast as ``within_ps``."""

    keep_nulls: ClassVar[bool] = True

    latency_ps: Index
    energy_fj: Energy
    within_ps: Index | None
    """Bound on the latency under which the energy was minimized; None: any latency."""
    status: Status
    """``optimal``: no schedule within the bound takes less energy; else ``feasible``."""
    bound_fj: Energy | None
    """Least energy of any schedule within the bound, as far as proved."""
    gap: float | None
    time_s: float
    schedule: Schedule

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        found = []
        if self.within_ps is not None and self.latency_ps > self.within_ps:
            found.append(("latency_ps", f"{self.latency_ps} exceeds within_ps"))
        if self.bound_fj is not None and self.bound_fj > self.energy_fj:
            found.append(("bound_fj", f"{self.bound_fj} exceeds energy_fj"))
        if self.status != (Status.OPTIMAL if self.bound_fj == self.energy_fj else Status.FEASIBLE):
            found.append(("status", "is 'optimal' exactly if bound and energy are equal"))
        if self.gap != relative_gap(self.energy_fj, self.bound_fj):
            found.append(("gap", "is not (energy - bound) / energy"))
        inconsistent(found)
        return self

    def with_bound(self, bound_fj: int | None) -> Point:
        """The same with another certificate."""
        proved = bound_fj == self.energy_fj
        changes = {
            "bound_fj": bound_fj,
            "gap": relative_gap(self.energy_fj, bound_fj),
            "status": Status.OPTIMAL if proved else Status.FEASIBLE,
        }
        return self.model_copy(update=changes)

    def answers(self, within_ps: int | None) -> bool:
        """Whether this is a proved optimum under that bound as well."""
        if self.status is not Status.OPTIMAL:
            return False
        fast = within_ps is None or self.latency_ps <= within_ps
        return fast and _looseness(within_ps) <= _looseness(self.within_ps)


class Front(Document):
    """Undominated points by latency: each takes more time and less energy than the one before."""

    keep_nulls: ClassVar[bool] = True

    format: Literal["scope-pareto/1"] = "scope-pareto/1"
    instance: InstanceReference
    solver: str
    options: Options
    complete: bool
    """Proved to hold every undominated pair of latency and energy, up to the latency asked for."""
    stop_reason: StopReason
    explanation: tuple[str, ...] = ()
    """Why there is no point; else empty."""
    latency_bound_ps: Index | None
    """Latency that no schedule goes below, as far as proved."""
    points: tuple[Point, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        pairs = [(point.latency_ps, point.energy_fj) for point in self.points]
        inconsistent(
            (f"points.{index}", "is dominated or not in order of latency")
            for index, (this, then) in enumerate(pairwise(pairs), start=1)
            if not (this[0] < then[0] and this[1] > then[1])
        )
        return self


def check_front(
    front: Front, instance: Instance, segments: SegmentChoice | None, source: str
) -> None:
    """Raise `InputError` if a front of a file is no start for one of this instance.

    It must be about the same schedules, and its points must evaluate to their numbers.
    """
    problems = []
    if front.instance.digest != instance.digest:
        found = f"{front.instance.name} ({front.instance.digest[:12]})"
        wanted = f"{instance.name} ({instance.digest[:12]})"
        problems.append(f"instance: is a front of {found}, not of this {wanted}")
    elif front.options.get("segments") != listed(segments):
        cut = front.options.get("segments")
        problems.append(f"options.segments: found {cut}, asked for {listed(segments)}")
    else:
        for index, point in enumerate(front.points):
            evaluation = evaluate(instance, point.schedule)
            numbers = evaluation.objective_ps, evaluation.energy_fj
            if numbers != (point.latency_ps, point.energy_fj):
                problem = f"its schedule has latency and energy {numbers}"
                problems.append(f"points.{index}: {problem}")
    if problems:
        raise InputError(source, [*problems, "use --force to begin anew"])


def _looseness(within_ps: int | None) -> float:
    return math.inf if within_ps is None else within_ps


def strengthened(points: Iterable[Point]) -> list[Point]:
    """What is proved about all schedules within a latency holds for faster ones too."""

    def order(point: Point) -> tuple[float, int]:
        return -_looseness(point.within_ps), -(point.bound_fj or 0)

    found: list[Point] = []
    bound_fj = None
    for point in sorted(points, key=order):
        known = [bound for bound in (bound_fj, point.bound_fj) if bound is not None]
        bound_fj = max(known, default=None)
        if bound_fj is not None and bound_fj > point.energy_fj:
            claim = f"no schedule within {point.latency_ps} ps takes less than {bound_fj} fJ"
            raise SolverDisagreement(f"proved that {claim}, but one takes {point.energy_fj} fJ")
        found.append(point.with_bound(bound_fj))
    return found


def undominated(points: Iterable[Point]) -> tuple[Point, ...]:
    """By latency, each pair once; of equal ones that with the certificate that reaches farthest."""

    def order(point: Point) -> tuple[float, ...]:
        proved = point.status is Status.OPTIMAL
        return point.latency_ps, point.energy_fj, not proved, -_looseness(point.within_ps)

    kept: list[Point] = []
    for point in sorted(points, key=order):
        if not kept or point.energy_fj < kept[-1].energy_fj:
            kept.append(point)
    return tuple(kept)


def listed(segments: SegmentChoice | None) -> str | int | list[int] | None:
    """As JSON has it."""
    return list(segments) if isinstance(segments, tuple) else segments
