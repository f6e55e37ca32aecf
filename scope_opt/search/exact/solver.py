"""The exact solver: schedules of whole networks with a proof that none is better.

A dynamic program over the last layers: for each, every segment that could end there and improve
the best schedule of the layers up to it is found or refuted (`scope_opt.search.exact.prover`). All
arithmetic is in integers, so a completed run proves the optimum, not an approximation of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from scope_opt.model.instance import SHAPE, Constraints
from scope_opt.model.tables import LIMIT
from scope_opt.schedule.bounds import best_rest, cuts_before, segment_bounds
from scope_opt.schedule.evaluate import evaluate
from scope_opt.schedule.schedule import InstanceReference, Schedule
from scope_opt.search.allowed import make_allowed
from scope_opt.search.cuts import (
    CostedSegment,
    other_segments,
    possible_segments,
    segment_ends,
    total_cost,
)
from scope_opt.search.exact.network import NetworkProof
from scope_opt.search.exact.start import Starts
from scope_opt.search.paper.segmentation import balanced_choices
from scope_opt.search.paper.solver import ScopeSolver, agreed_segments
from scope_opt.search.stopping import SearchStopped
from scope_opt.solving.monitor import Monitor
from scope_opt.solving.solver import SolveOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.schedule.schedule import Segment
    from scope_opt.search.allowed import Allowed
    from scope_opt.search.cuts import Learn
    from scope_opt.search.exact.places.judge import Placed
    from scope_opt.search.exact.places.network import PlacedProof
    from scope_opt.solving.result import Prover
    from scope_opt.solving.solver import SegmentChoice

    Ints = NDArray[np.int64]


class ExactSolver:
    """Proved optimum over segments, clusters, regions and partitions."""

    name = "exact"
    summary = "exact recursion over clusters, regions and partitions: proves the optimum"
    exact = True
    constraints: ClassVar[frozenset[str]] = SHAPE | {"placed"}
    options: ClassVar[frozenset[str]] = frozenset({"warm_start", "threads"})
    continued_by: ClassVar[str | None] = "interval-milp"
    """Solver that goes on where shared links leave a gap."""
    scheme: ClassVar[type[ScopeSolver]] = ScopeSolver
    """Heuristic search of the same schedules."""
    heuristic: ClassVar[type[ScopeSolver] | None] = None
    """Quick search of some of them, to begin with; None for a short annealing."""

    def __init__(self, *, begins: bool = True) -> None:
        """``begins``: whether it looks for schedules before the proof."""
        self._begins = begins

    @property
    def warm_ups(self) -> tuple[ExactSolver, ...]:
        """Solvers that together run all that is compiled here.

        On small instances nothing is left to find after the beginning.
        """
        return self, type(self)(begins=False)

    def allowed(self, instance: Instance, tables: LatencyTables) -> Allowed:
        """Schedules that are searched."""
        return make_allowed(instance.constraints, tables.layers, tables.chiplets)

    def cluster_counts(self, instance: Instance, tables: LatencyTables) -> tuple[int, int]:
        """Fewest and most clusters per segment."""
        limits = instance.constraints
        return limits.min_clusters or 1, limits.max_clusters or tables.layers

    def segment_choice(self, choice: SegmentChoice) -> SegmentChoice:
        """Segmentation used when asked for ``choice``."""
        return choice

    def run(
        self,
        instance: Instance,
        tables: LatencyTables,
        options: SolveOptions,
        monitor: Monitor,
    ) -> None:
        """Search; see `scope_opt.solving.solver.Solver`.

        With segments ``balanced`` each balanced cut is solved to its optimum, which says nothing
        about other cuts: the bound reported is the simple one.
        """
        choice = self.segment_choice(options.segments or "dp")
        fixed = instance.constraints.fixed_segments
        if fixed is not None:
            choice = agreed_segments(choice, fixed)
        if options.warm_start is not None:
            self._begin_with(instance, tables, options.warm_start, choice, monitor)
        threads = options.threads or 1
        try:
            if choice == "balanced":
                self._prove_balanced(instance, tables, threads, monitor)
                if monitor.objective is None:
                    monitor.give_up(["no balanced cut has a schedule; try segments 'dp'"])
                return
            bound = self._prove(instance, tables, choice, threads, monitor)
        except SearchStopped as stopped:
            if stopped.bound_ps is not None and stopped.bound_ps < LIMIT:
                monitor.raise_bound(stopped.bound_ps, "recursion")
            return
        if not monitor.infeasible:
            monitor.raise_bound(bound, "recursion")

    def _begin_with(
        self,
        instance: Instance,
        tables: LatencyTables,
        start: Schedule,
        choice: SegmentChoice,
        monitor: Monitor,
    ) -> None:
        """Report a warm start, which is valid, if it is one of the schedules that are searched."""
        segments = start.segments
        problem = other_segments(start, choice) or self._other_scheme(instance, tables, segments)
        monitor.warm_start(not problem, problem)
        if not problem:
            monitor.improve(total_cost(_admitted(instance, tables, segments)), segments)

    def _other_scheme(
        self, instance: Instance, tables: LatencyTables, segments: Sequence[Segment]
    ) -> str:
        """Why valid segments are none of those that are searched; empty if they are."""
        clusters = self.allowed(instance, tables).clusters
        fewest, most = self.cluster_counts(instance, tables)
        for segment in segments:
            where = f"the segment at layer {segment.first_layer}"
            if not fewest <= len(segment.clusters) <= most:
                count = len(segment.clusters)
                return f"{where} has {count} clusters, {self.name!r} searches {fewest} to {most}"
            for cluster in segment.clusters:
                if not clusters[cluster.first_layer, cluster.last_layer]:
                    ends = f"layers {cluster.first_layer} to {cluster.last_layer}"
                    return f"{where} has {ends} in a cluster, {self.name!r} searches none such"
        return ""

    def _prove_balanced(
        self, instance: Instance, tables: LatencyTables, threads: int, monitor: Monitor
    ) -> None:
        """Best schedule over the balanced cuts; raises `SearchStopped` without a bound."""
        bounds = segment_bounds(tables)
        simple = int(best_rest(bounds)[0])
        if simple < LIMIT:
            monitor.raise_bound(simple, "simple bound")
        for count in range(1, tables.layers + 1):
            monitor.report(f"balanced segments: {count}", count / tables.layers)
            for cuts in balanced_choices(tables, count):
                least = sum(int(bounds[ends]) for ends in segment_ends(cuts, tables.layers))
                if monitor.objective is not None and least >= monitor.objective:
                    continue
                inner = Monitor(parent=monitor)
                try:
                    self._prove(instance, tables, cuts, threads, inner)
                except SearchStopped:
                    # The bound of one cut says nothing about the others.
                    raise SearchStopped from None
                finally:
                    if inner.objective is not None and inner.segments is not None:
                        monitor.improve(inner.objective, inner.segments)

    def _prove(
        self,
        instance: Instance,
        tables: LatencyTables,
        choice: SegmentChoice,
        threads: int,
        monitor: Monitor,
    ) -> int:
        """Best schedule for one choice of segments; returns the bound. Raises `SearchStopped`."""
        _, count, starts = _wanted(choice)
        allowed = self.allowed(instance, tables)
        clusters = self.cluster_counts(instance, tables)
        possible = possible_segments(tables.layers, starts)
        bounds = np.where(possible, segment_bounds(tables), LIMIT)
        simple = int(cuts_before(bounds, count)[-1, -1])
        if simple >= LIMIT:
            self._check_found(instance, tables, choice, monitor, "simple bound")
            return LIMIT if monitor.cutoff is None else monitor.cutoff
        learn = self._begin(instance, tables, choice, bounds, monitor)
        proof: NetworkProof | PlacedProof
        if tables.placed is not None:
            from scope_opt.search.exact.places.network import PlacedProof as Proof

            def look(segments: Sequence[Segment]) -> list[Placed]:
                return _placed(instance, tables, segments)

            proof = Proof(tables, allowed, clusters, count, bounds, learn, look, monitor)
        else:
            known = (
                [] if monitor.segments is None else _admitted(instance, tables, monitor.segments)
            )
            proof = NetworkProof(
                tables, allowed, clusters, count, bounds, known, learn, monitor, threads
            )
        try:
            proof.run()
        finally:
            monitor.segment_floors_ps = proof.floors
        self._check_found(instance, tables, choice, monitor, "recursion")
        return proof.bound()

    def _begin(
        self,
        instance: Instance,
        tables: LatencyTables,
        choice: SegmentChoice,
        bounds: Ints,
        monitor: Monitor,
    ) -> Learn:
        """Report schedules that are found quickly; returns what finds more of them later."""
        if not self._begins:
            return list
        if self.heuristic is None:
            return Starts(instance, tables, choice, bounds, monitor).learn
        if tables.placed is None:
            quick = Monitor(parent=monitor)
            free = instance.model_copy(update={"constraints": Constraints()})
            method, _, _ = _wanted(choice)
            self.heuristic().run(free, tables, SolveOptions(segments=method), quick)
            if quick.segments is not None:
                found = _admitted(instance, tables, quick.segments)
                if found:
                    monitor.improve(total_cost(found), [one.segment for one in found])
        return list

    def _check_found(
        self,
        instance: Instance,
        tables: LatencyTables,
        choice: SegmentChoice,
        monitor: Monitor,
        by: Prover,
    ) -> None:
        """Without a schedule, a completed run has proved that there is none that matters."""
        if monitor.objective is None and monitor.cutoff is None:
            reasons = self.scheme().obstacles(instance, tables, choice)
            active = ", ".join(sorted(instance.constraints.active()))
            monitor.prove_infeasible(
                reasons or [f"weight capacity and side constraints ({active}) leave no schedule"],
                by,
            )


def _wanted(choice: SegmentChoice) -> tuple[SegmentChoice, int | None, tuple[int, ...] | None]:
    """The quick search's segment choice; the number of segments and their first layers, if set."""
    if choice == "single":
        return choice, 1, (0,)
    if isinstance(choice, tuple):
        return choice, len(choice), choice
    if isinstance(choice, int):
        return choice, choice, None
    return "balanced", None, None


def _admitted(
    instance: Instance, tables: LatencyTables, segments: tuple[Segment, ...]
) -> list[CostedSegment]:
    """The segments of a schedule with their costs; empty if the instance does not admit it."""
    schedule = Schedule(instance=InstanceReference.to(instance), segments=segments)
    evaluation = evaluate(instance, schedule, tables)
    if not evaluation.feasible:
        return []
    costs = [report.latency_ps for report in evaluation.segments]
    return [CostedSegment(cost, one) for cost, one in zip(costs, segments, strict=True)]


def _placed(instance: Instance, tables: LatencyTables, segments: Sequence[Segment]) -> list[Placed]:
    """The segments of a valid schedule, without shared links and with them."""
    from scope_opt.search.exact.places.judge import reported

    schedule = Schedule(instance=InstanceReference.to(instance), segments=tuple(segments))
    reports = zip(evaluate(instance, schedule, tables).segments, segments, strict=True)
    return [reported(*pair, tables.samples) for pair in reports]
