"""What is asked of a formulation, and the one way its answers reach the monitor.

Schedules are evaluated exactly before they count, whatever the solver library claims for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from formulations.space import Space, make_space
from formulations.tuning import DEFAULT, Tuning
from scope_opt.model.files import InputError, closest
from scope_opt.model.instance import NEEDS_ENERGY, SHAPE
from scope_opt.model.tables import LIMIT
from scope_opt.schedule.evaluate import evaluate
from scope_opt.schedule.schedule import InstanceReference, Schedule

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.schedule.evaluation import Evaluation
    from scope_opt.schedule.schedule import Segment
    from scope_opt.solving.monitor import Monitor
    from scope_opt.solving.result import Prover
    from scope_opt.solving.solver import SegmentChoice, SolveOptions

CONSTRAINTS = SHAPE | NEEDS_ENERGY
"""Side constraints that every formulation honours: all there are."""


@dataclass(frozen=True)
class Request:
    """An instance, the schedules to choose from, and where to report."""

    instance: Instance
    tables: LatencyTables
    """As programs take them; see `LatencyTables.folded`."""
    given: LatencyTables
    """As the instance has them; schedules are evaluated with these."""
    space: Space
    options: SolveOptions
    monitor: Monitor
    tuning: Tuning = DEFAULT

    @property
    def clusters(self) -> int:
        """How many clusters are possible, by their layers and region sizes."""
        layers = self.tables.layers
        return layers * (layers + 1) // 2 * len(self.space.sizes)

    @property
    def small(self) -> bool:
        """Whether programs can do without what shortest paths tell before."""
        return self.clusters <= self.tuning.small

    @property
    def threads(self) -> int:
        """How many to use."""
        return self.options.threads or 1

    @property
    def energy_minimized(self) -> bool:
        """Whether energy is minimized, within a bound on the latency."""
        return self.space.latency_ps is not None

    def offer(self, segments: Sequence[Segment]) -> Evaluation:
        """Evaluate a schedule and report it unless it breaks a rule."""
        reference = InstanceReference.to(self.instance)
        schedule = Schedule(instance=reference, segments=tuple(segments))
        evaluation = evaluate(self.instance, schedule, self.given)
        objective = self.objective(evaluation)
        # A power budget makes beats as long as it takes; no table bounds them.
        if objective is not None and (self.energy_minimized or objective < LIMIT):
            self.monitor.improve(objective, schedule.segments)
        return evaluation

    def objective(self, evaluation: Evaluation) -> int | None:
        """What is minimized; None for a schedule that breaks a rule."""
        return evaluation.energy_fj if self.energy_minimized else evaluation.objective_ps

    def raise_bound(self, bound: int, *by: Prover) -> None:
        """Report a lower bound, unless it is as good as none, and who proved it."""
        if bound < LIMIT or self.energy_minimized:
            self.monitor.raise_bound(bound, *by)

    def close_log(self, library: str) -> None:
        """Say so in the log, if one was asked for, where there was no program to solve."""
        log = self.options.log
        if log is not None and self.monitor.model is None:
            with log.open("a", encoding="utf-8") as file:
                file.write(f"{library} was not called: no program was needed\n")

    def prove_infeasible(self, *by: Prover) -> None:
        """Report that there is no schedule, which no simple reason explains, and who proved it."""
        active = ", ".join(sorted(self.instance.constraints.active()))
        rules = f"weight capacity and side constraints ({active})" if active else "weight capacity"
        reason = (
            f"{rules} leave no schedule for the segments asked for; allow other segments "
            "('dp'), relax constraints, or use overflow 'stream'"
        )
        self.monitor.prove_infeasible([reason], *by)


def make_request(
    name: str,
    instance: Instance,
    tables: LatencyTables,
    options: SolveOptions,
    monitor: Monitor,
    tuning: Tuning = DEFAULT,
) -> Request:
    """What solver ``name`` is asked; a usable warm start is reported as the first schedule.

    Raises
    ------
    InputError
        If the segments asked for contradict the instance or need another solver.
    """
    count, starts = _wanted(name, instance, options.segments)
    given, tables = tables, tables.folded()
    space = make_space(instance, tables, starts, count)
    request = Request(instance, tables, given, space, options, monitor, tuning)
    if options.warm_start is not None:
        firsts = tuple(segment.first_layer for segment in options.warm_start.segments)
        if starts not in (None, firsts) or count not in (None, len(firsts)):
            asked = f"first layers {list(starts)}" if starts is not None else f"{count} segments"
            monitor.warm_start(False, f"segments start at layers {list(firsts)}, not {asked}")
        else:
            violations = request.offer(options.warm_start.segments).violations
            monitor.warm_start(not violations, "; ".join(map(str, violations)))
    return request


def check_encoding(name: str | None, allowed: Collection[str]) -> None:
    """Raise `InputError` if there is no such encoding; None stands for the default."""
    if name is not None and name not in allowed:
        raise InputError("encoding", [f"found {name!r}; {closest(name, allowed)}"])


def _wanted(
    name: str, instance: Instance, choice: SegmentChoice | None
) -> tuple[int | None, tuple[int, ...] | None]:
    """Number of segments and their first layers, None where the program decides."""
    fixed = instance.constraints.fixed_segments
    if choice == "balanced":
        problem = (
            f"solver {name!r} has no 'balanced'; use 'dp', 'single', or the segments of a schedule "
            "that another solver wrote (--segments FILE)"
        )
        raise InputError("segments", [problem])
    if fixed is not None:
        if choice not in (None, "dp", fixed) and not (choice == "single" and fixed == (0,)):
            raise InputError("segments", [f"contradicts fixed_segments = {list(fixed)}"])
        return None, fixed
    if choice == "single":
        return None, (0,)
    if isinstance(choice, tuple):
        return None, choice
    return (choice, None) if isinstance(choice, int) else (None, None)
