"""The exact solver: schedules of whole networks with a proof that none is better.

A dynamic program over the last layers: for each, every segment that could end there and improve
the best schedule of the layers up to it is found or refuted (`scope_opt.search.prover`). All
arithmetic is in integers, so a completed run proves the optimum, not an approximation of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from scope_opt.bounds import best_rest, segment_bounds
from scope_opt.evaluate import evaluate
from scope_opt.files import InputError
from scope_opt.schedule import InstanceReference, Schedule
from scope_opt.search.prover import Found, Prover, Stopped, make_space
from scope_opt.search.scope import ScopeSolver
from scope_opt.solver import Monitor, SolveOptions
from scope_opt.tables import LIMIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from scope_opt.instance import Instance
    from scope_opt.schedule import Segment
    from scope_opt.search.recursion import Space
    from scope_opt.solver import SegmentChoice
    from scope_opt.tables import LatencyTables

    Ints = NDArray[np.int64]


class Cut:
    """Best schedules of prefixes of a network, for given numbers of segments or any number.

    ``value[n, e]`` is the least latency found for layers ``0..e-1`` in ``n`` segments (in any
    number: a single row). Segments may start only at layers in ``starts``, if given.
    """

    def __init__(self, layers: int, count: int | None, starts: Sequence[int] | None) -> None:
        self.count = count
        self.value = np.full((1 if count is None else count + 1, layers + 1), LIMIT, np.int64)
        self.value[0, 0] = 0
        self._last: dict[tuple[int, int], tuple[int, Segment]] = {}
        self._layers = layers
        self.open = np.ones(layers + 1, dtype=np.bool_)
        if starts is not None:
            self.open[:] = False
            self.open[[*starts, layers]] = True

    def _rows(self, before: bool) -> slice:
        if self.count is None:
            return slice(None)
        return slice(0, self.count) if before else slice(1, self.count + 1)

    def budgets(self, last: int, most: Ints) -> Ints:
        """What a segment ``[a, last]`` must cost less than to matter; 0 where it cannot.

        ``most``, per row of ``value``, bounds the useful latency of the layers up to ``last``.
        """
        target = np.minimum(self.value[:, last + 1], most)[self._rows(before=False)]
        prefix = self.value[self._rows(before=True), : last + 1]
        room = np.where(prefix < LIMIT, target[:, None] - prefix, 0)
        best: Ints = np.maximum(room.max(axis=0), 0)
        best[~self.open[: last + 1]] = 0
        if not self.open[last + 1]:
            best[:] = 0
        return best

    def add(self, first: int, last: int, found: Found) -> None:
        """Use a segment wherever it improves a prefix."""
        for row in range(len(self.value)):
            before = row if self.count is None else row - 1
            if before < 0 or self.value[before, first] >= LIMIT:
                continue
            total = int(self.value[before, first]) + found.cost
            if total < self.value[row, last + 1]:
                self.value[row, last + 1] = total
                self._last[row, last + 1] = (first, found.segment)

    def segments(self) -> tuple[int, tuple[Segment, ...]] | None:
        """The best complete schedule and its latency."""
        row, end = len(self.value) - 1, self._layers
        total = int(self.value[row, end])
        if total >= LIMIT:
            return None
        chosen: list[Segment] = []
        while end > 0:
            end, segment = self._last[row, end]
            chosen.append(segment)
            row = row if self.count is None else row - 1
        return total, tuple(reversed(chosen))


class ExactSolver:
    """Proved optimum over segments, clusters, regions and partitions."""

    name = "exact"
    summary = "exact recursion over clusters, regions and partitions: proves the optimum"
    exact = True
    constraints: ClassVar[frozenset[str]] = frozenset(
        {
            "min_clusters",
            "max_clusters",
            "forbidden_merges",
            "required_merges",
            "fixed_partitions",
            "region_multiple",
            "max_region",
            "fixed_segments",
        }
    )

    def space(self, instance: Instance, tables: LatencyTables) -> Space:
        """Schedules searched; restrictions of this solver override it."""
        return make_space(instance.constraints, tables.layers, tables.chiplets)

    def cluster_counts(self, instance: Instance, tables: LatencyTables) -> tuple[int, int]:
        """Fewest and most clusters per segment."""
        limits = instance.constraints
        return limits.min_clusters or 1, limits.max_clusters or tables.layers

    def start(
        self, instance: Instance, tables: LatencyTables, choice: SegmentChoice, monitor: Monitor
    ) -> tuple[int, tuple[Segment, ...]] | None:
        """A schedule to begin with, from the paper's search."""
        inner = Monitor(parent=monitor)
        method = "balanced" if choice == "dp" else choice
        free = instance.model_copy(update={"constraints": type(instance.constraints)()})
        ScopeSolver().run(free, tables, SolveOptions(segments=method), inner)
        return _admitted(instance, tables, inner)

    def run(
        self,
        instance: Instance,
        tables: LatencyTables,
        options: SolveOptions,
        monitor: Monitor,
    ) -> None:
        """Search; see `scope_opt.solver.Solver`."""
        choice = options.segments if options.segments is not None else "dp"
        fixed = instance.constraints.fixed_segments
        if fixed is not None:
            if choice not in ("balanced", "dp", fixed):
                raise InputError("segments", [f"contradicts fixed_segments = {list(fixed)}"])
            choice = fixed
        count: int | None = None
        starts: tuple[int, ...] | None = None
        if choice == "single":
            count, starts = 1, (0,)
        elif isinstance(choice, tuple):
            count, starts = len(choice), choice
        elif isinstance(choice, int):
            count = choice
        begin = self.start(instance, tables, choice, monitor)
        if begin is not None:
            monitor.improve(*begin)
        search = NetworkProof(self, instance, tables, Cut(tables.layers, count, starts), monitor)
        try:
            search.run()
        except Stopped:
            monitor.raise_bound(search.bound())
            return
        whole = search.cut.segments()
        if whole is not None:
            monitor.improve(*whole)
        if monitor.objective_ps is None:
            monitor.prove_infeasible(["no schedule meets the weight capacity and side constraints"])
        else:
            monitor.raise_bound(monitor.objective_ps)


class NetworkProof:
    """The dynamic program over last layers, with a bound that is valid at any time."""

    def __init__(
        self,
        solver: ExactSolver,
        instance: Instance,
        tables: LatencyTables,
        cut: Cut,
        monitor: Monitor,
    ) -> None:
        self.tables, self.cut, self.monitor = tables, cut, monitor
        self._lower = segment_bounds(tables)
        self._lower[~cut.open[:-1]] = LIMIT
        self._lower[:, ~cut.open[1:]] = LIMIT
        self._lower = np.triu(self._lower)
        self._rest = best_rest(self._lower)
        self._done = 0
        self._most = LIMIT if monitor.objective_ps is None else monitor.objective_ps
        self._prover = Prover(
            tables,
            solver.space(instance, tables),
            solver.cluster_counts(instance, tables),
            self._largest_beat(),
            monitor,
        )

    def run(self) -> None:
        """Settle every last layer in turn; raises `Stopped` when asked to stop."""
        layers = self.tables.layers
        self.monitor.raise_bound(self.bound())
        for last in range(layers):
            self.monitor.report(f"layer {last + 1} of {layers}", last / layers)
            self._settle(last)
            self._done = last + 1

    def bound(self) -> int:
        """Lower bound on every schedule that is valid at any time.

        A schedule continues one of the settled prefixes with a segment that ends later, and costs
        no less than the bounds of that segment and of the rest.
        """
        done = self._done
        prefix = self.cut.value.min(axis=0)[: done + 1, None]
        if done == self.tables.layers:
            return min(self._most, int(prefix[-1, 0]))
        ways = prefix + self._lower[: done + 1, done:] + self._rest[None, done + 1 :]
        return min(self._most, int(ways.min()))

    def _largest_beat(self) -> int:
        """No segment of a better schedule has a larger beat."""
        if self._most < LIMIT:
            return self._most // self.tables.samples
        tables = self.tables
        stream = int(tables.stream_fs_per_byte.max()) * int(tables.weight_bytes.sum()) // 1000
        total = stream + tables.layers * tables.dram_latency_ps
        for part in (tables.compute_ps, tables.gather_ps, tables.within_ps, tables.send_ps):
            total += int(part.reshape(tables.layers, -1).max(axis=1).sum())
        for part in (tables.receive_ps, tables.input_ps, tables.output_ps):
            total += int(part.reshape(tables.layers, -1).max(axis=1).sum())
        for part in (tables.edge_send_ps, tables.edge_read_ps, tables.edge_write_ps):
            total += int(part.sum())
        return max(total, int(tables.segment_dram_ps.max()))

    def _settle(self, last: int) -> None:
        tables, cut = self.tables, self.cut
        useful = np.full(len(cut.value), self._most - int(self._rest[last + 1]), dtype=np.int64)

        def budgets() -> Ints:
            return cut.budgets(last, useful)

        def improve(first: int, found: Found) -> None:
            cut.add(first, last, found)
            whole = cut.segments() if last == tables.layers - 1 else None
            if whole is not None:
                self.monitor.improve(*whole)

        alone = self._prover.whole_package(last)
        if alone is not None and alone.cost < budgets()[last]:
            improve(last, alone)
        load = tables.load_ps[: last + 1, last]
        least = (self._lower[: last + 1, last] - load) // tables.samples
        if not (budgets() > self._lower[: last + 1, last]).any():
            return
        self._prover.settle(self._prover.segments_ending_at(last), least, budgets, improve)


def _admitted(
    instance: Instance, tables: LatencyTables, monitor: Monitor
) -> tuple[int, tuple[Segment, ...]] | None:
    """The monitor's schedule, if the instance's side constraints admit it."""
    if monitor.segments is None or monitor.objective_ps is None:
        return None
    schedule = Schedule(instance=InstanceReference.to(instance), segments=monitor.segments)
    if not evaluate(instance, schedule, tables).feasible:
        return None
    return monitor.objective_ps, monitor.segments
