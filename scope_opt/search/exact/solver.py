"""The exact solver: schedules of whole networks with a proof that none is better.

A dynamic program over the last layers: for each, every segment that could end there and improve
the best schedule of the layers up to it is found or refuted (`scope_opt.search.exact.prover`). All
arithmetic is in integers, so a completed run proves the optimum, not an approximation of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from scope_opt.model.files import InputError
from scope_opt.model.instance import SHAPE, Constraints
from scope_opt.model.tables import LIMIT
from scope_opt.schedule.bounds import best_rest, segment_bounds
from scope_opt.schedule.evaluate import evaluate
from scope_opt.schedule.schedule import InstanceReference, Schedule
from scope_opt.search.allowed import make_allowed
from scope_opt.search.cuts import CostedSegment, Prefixes, segment_ends, total_cost
from scope_opt.search.exact.prover import Prover
from scope_opt.search.paper.segmentation import balanced_choices
from scope_opt.search.paper.solver import ScopeSolver, SegmentedSolver, agreed_segments
from scope_opt.search.stopping import SearchStopped
from scope_opt.search.times import longest_beat
from scope_opt.solving.monitor import Monitor
from scope_opt.solving.solver import SolveOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.schedule.schedule import Segment
    from scope_opt.search.allowed import Allowed
    from scope_opt.solving.solver import SegmentChoice

    Ints = NDArray[np.int64]


class ExactSolver:
    """Proved optimum over segments, clusters, regions and partitions."""

    name = "exact"
    summary = "exact recursion over clusters, regions and partitions: proves the optimum"
    exact = True
    constraints: ClassVar[frozenset[str]] = SHAPE | {"placed"}
    options: ClassVar[frozenset[str]] = frozenset({"warm_start"})
    scheme: ClassVar[type[ScopeSolver]] = ScopeSolver
    """Heuristic search of the same schedules."""
    heuristic: ClassVar[type[ScopeSolver]] = SegmentedSolver
    """Quick search of some of them, to begin with."""

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
            start = self._warm_start(instance, tables, options.warm_start, choice)
            monitor.improve(total_cost(start), [found.segment for found in start])
        try:
            if choice == "balanced":
                self._prove_balanced(instance, tables, monitor)
                if monitor.objective is None:
                    monitor.give_up(["no balanced cut has a schedule; try segments 'dp'"])
                return
            bound = self._prove(instance, tables, choice, monitor)
        except SearchStopped as stopped:
            if stopped.bound_ps is not None and stopped.bound_ps < LIMIT:
                monitor.raise_bound(stopped.bound_ps, "recursion")
            return
        if not monitor.infeasible:
            monitor.raise_bound(bound, "recursion")

    def _warm_start(
        self, instance: Instance, tables: LatencyTables, schedule: Schedule, choice: SegmentChoice
    ) -> list[CostedSegment]:
        """The segments of a warm start; raises `InputError` if they are not what is searched."""
        evaluation = evaluate(instance, schedule, tables)
        problems = [str(violation) for violation in evaluation.violations]
        firsts = tuple(segment.first_layer for segment in schedule.segments)
        _, count, starts = _wanted(choice)
        if starts not in (None, firsts) or count not in (None, len(firsts)):
            problems.append(f"segments start at layers {list(firsts)}, asked for {choice!r}")
        if problems:
            raise InputError("warm start", problems)
        return [
            CostedSegment(report.latency_ps, segment)
            for report, segment in zip(evaluation.segments, schedule.segments, strict=True)
        ]

    def _prove_balanced(self, instance: Instance, tables: LatencyTables, monitor: Monitor) -> None:
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
                    self._prove(instance, tables, cuts, inner)
                except SearchStopped:
                    # The bound of one cut says nothing about the others.
                    raise SearchStopped from None
                finally:
                    if inner.objective is not None and inner.segments is not None:
                        monitor.improve(inner.objective, inner.segments)

    def _prove(
        self, instance: Instance, tables: LatencyTables, choice: SegmentChoice, monitor: Monitor
    ) -> int:
        """Best schedule for one choice of segments; returns the bound. Raises `SearchStopped`."""
        method, count, starts = _wanted(choice)
        if tables.placed is not None:
            return self._prove_placed(instance, tables, choice, monitor)
        quick = Monitor(parent=monitor)
        free = instance.model_copy(update={"constraints": Constraints()})
        self.heuristic().run(free, tables, SolveOptions(segments=method), quick)
        begin: list[CostedSegment] = []
        for segments in (quick.segments, monitor.segments):
            if segments is not None:
                found = _admitted(instance, tables, segments)
                begin = min(begin, found, key=total_cost)
        if begin:
            monitor.improve(total_cost(begin), [found.segment for found in begin])
        proof = NetworkProof(
            tables,
            self.allowed(instance, tables),
            self.cluster_counts(instance, tables),
            Prefixes(tables.layers, count, starts),
            begin,
            monitor,
        )
        proof.run()
        self._check_found(instance, tables, choice, monitor)
        return proof.bound()

    def _prove_placed(
        self, instance: Instance, tables: LatencyTables, choice: SegmentChoice, monitor: Monitor
    ) -> int:
        """The same where regions have places."""
        from scope_opt.search.exact.places.judge import reported
        from scope_opt.search.exact.places.network import PlacedProof

        _, count, starts = _wanted(choice)
        begin = []
        if monitor.segments is not None:
            schedule = Schedule(instance=InstanceReference.to(instance), segments=monitor.segments)
            evaluation = evaluate(instance, schedule, tables)
            reports = zip(evaluation.segments, schedule.segments, strict=True)
            begin = [reported(*pair, tables.samples) for pair in reports]
        proof = PlacedProof(
            tables,
            self.allowed(instance, tables),
            self.cluster_counts(instance, tables),
            count,
            Prefixes(tables.layers, count, starts).allowed,
            begin,
            monitor,
        )
        proof.run()
        self._check_found(instance, tables, choice, monitor)
        return proof.bound()

    def _check_found(
        self, instance: Instance, tables: LatencyTables, choice: SegmentChoice, monitor: Monitor
    ) -> None:
        """Without a schedule, a completed run has proved that there is none that matters."""
        if monitor.objective is None and monitor.cutoff is None:
            reasons = self.scheme().obstacles(instance, tables, choice)
            active = ", ".join(sorted(instance.constraints.active()))
            monitor.prove_infeasible(
                reasons or [f"weight capacity and side constraints ({active}) leave no schedule"],
                "recursion",
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


class NetworkProof:
    """The dynamic program over last layers, with a bound that is valid at any time."""

    def __init__(
        self,
        tables: LatencyTables,
        allowed: Allowed,
        clusters: tuple[int, int],
        prefixes: Prefixes,
        begin: Sequence[CostedSegment],
        monitor: Monitor,
    ) -> None:
        """``begin``: the segments of a schedule that is known, empty if there is none."""
        self.prefixes = prefixes
        self._tables, self._monitor = tables, monitor
        lower = segment_bounds(tables)
        lower[~prefixes.allowed] = LIMIT
        self._lower = np.triu(lower)
        self._rest = best_rest(self._lower)
        self._done = 0
        self._begin = list(begin)
        self._most = min(total_cost(begin), LIMIT if monitor.cutoff is None else monitor.cutoff)
        # No segment of a better schedule has a larger beat.
        limit = self._most // tables.samples if self._most < LIMIT else longest_beat(tables)
        self._prover = Prover(tables, allowed, clusters, limit, monitor)

    def run(self) -> None:
        """Settle every last layer in turn; raises `SearchStopped`, with the bound so far."""
        layers = self._tables.layers
        if self.bound() < LIMIT:
            self._monitor.raise_bound(self.bound(), "simple bound")
        try:
            for last in range(layers):
                self._monitor.report(f"layer {last + 1} of {layers}", last / layers)
                self._settle(last)
                self._done = last + 1
        except SearchStopped:
            raise SearchStopped(self.bound()) from None

    def bound(self) -> int:
        """Lower bound on every schedule that is valid at any time.

        A schedule continues one of the settled prefixes with a segment that ends later, and costs
        no less than the bounds of that segment and of the rest.
        """
        done, tables = self._done, self._tables
        if done == tables.layers:
            return min(self._most, self.prefixes.best)
        prefix = self.prefixes.value.min(axis=0)[: done + 1, None]
        ways = prefix + self._lower[: done + 1, done:] + self._rest[None, done + 1 :]
        return min(self._most, int(ways.min()))

    def _settle(self, last: int) -> None:
        tables, prefixes = self._tables, self.prefixes
        useful = self._most - int(self._rest[last + 1])

        def budgets() -> Ints:
            return prefixes.budgets(last, useful)

        def improve(first: int, found: CostedSegment) -> None:
            prefixes.add(first, last, found)
            if last == tables.layers - 1:
                self._report(last)

        alone = self._prover.whole_package(last)
        if alone is not None and alone.cost < budgets()[last]:
            improve(last, alone)
        if (budgets() > self._lower[: last + 1, last]).any():
            load = tables.load_ps[: last + 1, last]
            least = (self._lower[: last + 1, last] - load) // tables.samples
            segments = self._prover.segments_ending_at(last)
            self._prover.settle(segments, least, budgets, improve)
        self._report(last)

    def _report(self, last: int) -> None:
        """Report the best way to the end of ``last``, completed by the first schedule's rest."""
        row = len(self.prefixes.value) - 1
        after = [found for found in self._begin if found.segment.first_layer > last]
        if last < self._tables.layers - 1:
            if not after or after[0].segment.first_layer != last + 1:
                return
            row = row if self.prefixes.count is None else row - len(after)
        before = self.prefixes.segments(row, last + 1)
        if before is not None:
            total, segments = before
            total += sum(found.cost for found in after)
            self._monitor.improve(total, [*segments, *(found.segment for found in after)])


def prove_segment(
    tables: LatencyTables,
    allowed: Allowed,
    clusters: tuple[int, int],
    ends: tuple[int, int],
    budget_ps: int,
    monitor: Monitor,
) -> CostedSegment | None:
    """Best schedule of the segment ``ends`` that costs less than the budget; None if none does.

    Raises
    ------
    SearchStopped
        If the monitor asks to stop.
    """
    first, last = ends
    inside = np.zeros_like(allowed.regions)
    inside[first : last + 1] = allowed.regions[first : last + 1]
    prover = Prover(
        tables, allowed._replace(regions=inside), clusters, budget_ps // tables.samples, monitor
    )
    best: list[CostedSegment] = []
    budgets = np.zeros(last + 1, dtype=np.int64)
    budgets[first] = budget_ps

    def improve(_: int, found: CostedSegment) -> None:
        best.append(found)
        budgets[first] = found.cost

    if first == last:
        alone = prover.whole_package(first)
        if alone is not None and alone.cost < budget_ps:
            improve(first, alone)
    least = np.zeros(last + 1, dtype=np.int64)
    prover.settle(prover.segments_ending_at(last), least, lambda: budgets, improve)
    return best[-1] if best else None


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
