"""Whole networks: a dynamic program over the last layers, with bounds on all segments.

For each last layer, every segment that could end there and improve the best schedule of the layers
up to it is found or refuted (`scope_opt.search.exact.prover`). Segments that cannot be in a better
schedule than the best one known need no search; lower bounds on all segments say which
(`scope_opt.search.exact.floors`). (Section 6 of docs/exact.md.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scope_opt.model.tables import LIMIT
from scope_opt.schedule.bounds import best_cut, best_cuts, best_rest, segment_bounds
from scope_opt.search.cuts import CostedSegment, Prefixes, segment_ends, shortest_cut
from scope_opt.search.exact.floors import Floors, relax
from scope_opt.search.exact.prover import Prover
from scope_opt.search.stopping import SearchStopped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from scope_opt.model.tables import LatencyTables
    from scope_opt.search.allowed import Allowed
    from scope_opt.search.cuts import Learn
    from scope_opt.solving.monitor import Monitor

    Ints = NDArray[np.int64]
    Flags = NDArray[np.bool_]

FLOOR_STEPS = (0.3, 0.1, 0.03)
"""Ratios of the times at which segments are bounded, each time those that can matter still."""

ROUNDS = 3
"""How often the cut that looks best is searched before the proof."""


def around(lower: Ints, count: int | None) -> Ints:
    """Lower bounds on the latency of all layers outside a segment, shape ``(L, L)``.

    ``lower`` are those of segments; ``count`` is the number of segments, None for any.
    """
    if count is None:
        outside: Ints = best_cut(lower)[:-1, None] + best_rest(lower)[None, 1:]
        return outside
    before = best_cuts(lower, count)
    backwards = np.tril(lower[::-1, ::-1]).T
    behind = best_cuts(backwards, count)[:, ::-1]
    least: Ints = before[0, :-1, None] + behind[count - 1, None, 1:]
    for n in range(1, count):
        np.minimum(least, before[n, :-1, None] + behind[count - 1 - n, None, 1:], out=least)
    return least


class NetworkProof:
    """Proves the best schedule over all cuts of a network that are allowed.

    Parameters
    ----------
    tables : LatencyTables
    allowed : Allowed
        What schedules may look like.
    clusters : tuple of int
        Fewest and most clusters per segment.
    prefixes : Prefixes
        Which layers may be a segment, and in which number.
    known : sequence of CostedSegment
        The segments of a schedule that is known, empty if there is none.
    learn : Learn
        What finds segments beside the proof.
    monitor : Monitor
    """

    def __init__(
        self,
        tables: LatencyTables,
        allowed: Allowed,
        clusters: tuple[int, int],
        prefixes: Prefixes,
        known: Sequence[CostedSegment],
        learn: Learn,
        monitor: Monitor,
    ) -> None:
        self._tables, self._allowed, self._clusters = tables, allowed, clusters
        self._prefixes, self._count, self._monitor = prefixes, prefixes.count, monitor
        self._known: dict[tuple[int, int], CostedSegment] = {}
        self._costs = np.full((tables.layers, tables.layers), LIMIT, dtype=np.int64)
        """Latencies of the best segments known"""
        self._most = LIMIT if monitor.cutoff is None else monitor.cutoff
        self._done = 0
        simple = segment_bounds(tables)
        self._beat = (simple - tables.load_ps) // tables.samples
        simple[~prefixes.allowed] = LIMIT
        self._lower = np.triu(simple)
        self._possible = np.triu(simple < LIMIT)
        self._rest = best_rest(self._lower)
        self._least = 0
        """No schedule takes less, by the bounds of segments"""
        self._combine()
        self._learn = learn
        self._take(known)

    def run(self) -> None:
        """Search until the best schedule is proved; raises `SearchStopped`, with the bound."""
        if self.bound() < LIMIT:
            self._monitor.raise_bound(self.bound(), "simple bound")
        try:
            self._take(self._learn())
            prover = self._prepare()
            self._search_promising(prover)
            layers = self._tables.layers
            for last in range(layers):
                if self.bound() >= self._most:
                    return
                if self._monitor.stopping:
                    raise SearchStopped
                self._monitor.report(f"layer {last + 1} of {layers}", last / layers)
                self._take(self._learn())
                self._settle(prover, last)
                self._done = last + 1
                self._publish()
        except SearchStopped:
            self._publish()
            raise SearchStopped(self.bound()) from None

    def bound(self) -> int:
        """Lower bound on every schedule that is valid at any time."""
        done = self._done
        if done == self._tables.layers:
            return min(self._most, self._prefixes.best)
        prefix = self._prefixes.value.min(axis=0)[: done + 1, None]
        ways = prefix + self._lower[: done + 1, done:] + self._rest[None, done + 1 :]
        return min(self._most, max(self._least, int(ways.min())))

    @property
    def floors(self) -> Ints:
        """Lower bounds on the latencies of segments as far as they are proved, shape ``(L, L)``."""
        return self._lower

    # --- The steps -------------------------------------------------------------------------------

    def _prepare(self) -> Prover:
        """Learn the segments of one layer on the whole package, and bound all segments."""
        tables = self._tables
        # No segment of a better schedule has a larger beat.
        limit = min(self._most, tables.worst_latency_ps) // tables.samples
        prover = Prover(tables, self._allowed, self._clusters, limit, self._monitor)
        alone = np.full(tables.layers, LIMIT, dtype=np.int64)
        for layer in range(tables.layers):
            found = prover.whole_package(layer)
            if found is not None:
                alone[layer] = found.cost
                self._take([found])
        relaxed = relax(prover.packed, self._allowed, prover.shared, lambda: self._monitor.stopping)
        floors = Floors(
            relaxed,
            tables.samples,
            (self._clusters[0], prover.most),
            tables.load_ps,
            self._beat,
            alone,
            self._monitor,
        )
        for step in FLOOR_STEPS:
            self._monitor.report("bounds of segments", 0.0)
            floors.sharpen(self._lower, self._budgets(), limit, step)
            self._combine()
            self._publish()
        self._beat = floors.beat_ps
        prover.narrow(self._most_clusters())
        return prover

    def _most_clusters(self) -> int:
        """Of a segment in a better schedule, by lower bounds on beats; more would take too long."""
        tables, budgets = self._tables, self._budgets()
        if self._most >= LIMIT:
            return tables.layers
        beats = (budgets - 1 - tables.load_ps) // np.maximum(self._beat, 1)
        most = np.where(self._lower < budgets, beats - tables.samples + 1, 0)
        return min(tables.layers, int(most.max()))

    def _combine(self) -> None:
        """What the bounds of segments say of the layers behind each one, and of all."""
        self._rest = best_rest(self._lower)
        total, _ = shortest_cut(self._lower, self._count or 0, LIMIT)
        self._least = max(self._least, int(total))

    def _budgets(self) -> Ints:
        """What each segment must cost less than to be in a better schedule; 0 if it cannot be."""
        budgets = self._most - around(self._lower, self._count)
        if self._most >= LIMIT:
            budgets = np.minimum(budgets, 8 * self._lower)
        return np.where(self._possible, np.maximum(np.minimum(budgets, self._costs), 0), 0)

    def _search_promising(self, prover: Prover) -> None:
        """Settle the segments of the cut that looks best, and the whole network as one segment."""
        layers, whole = self._tables.layers, (0, self._tables.layers - 1)
        for _ in range(ROUNDS):
            before = self._most
            total, starts = shortest_cut(self._lower, self._count or 0, LIMIT)
            cut = segment_ends(starts.tolist(), layers) if total < self._most else []
            for ends in dict.fromkeys([*cut, whole]):
                if self._monitor.stopping:
                    raise SearchStopped
                self._take(self._learn())
                if self._lower[ends] < self._budgets()[ends]:
                    self._settle_alone(prover, ends)
                    self._publish()
            if self._most == before:
                return

    def _settle_alone(self, prover: Prover, ends: tuple[int, int]) -> None:
        """Find the best schedule of one segment, or that it cannot be in a better schedule."""
        first, last = ends
        outside = int(around(self._lower, self._count)[ends])
        budgets = np.zeros(last + 1, dtype=np.int64)

        def budget() -> Ints:
            budgets[first] = max(0, min(self._most - outside, int(self._costs[ends])))
            return budgets

        def improve(_: int, found: CostedSegment) -> None:
            self._take([found])

        least = self._lower[: last + 1, last]
        beats = self._beat[: last + 1, last]
        segments = prover.segments_ending_at(last, budget())
        prover.settle(segments, least, beats, budget, improve)
        self._lower[ends] = max(int(self._lower[ends]), int(budget()[first]))
        self._combine()

    def _settle(self, prover: Prover, last: int) -> None:
        """Find or refute every segment with that last layer that could be in a better schedule."""
        column = slice(0, last + 1), last
        rest = int(self._rest[last + 1])

        def budgets() -> Ints:
            return self._prefixes.budgets(last, self._most - rest)

        def improve(_: int, found: CostedSegment) -> None:
            self._prefixes.add(found.segment.first_layer, last, found)
            self._take([found])

        for first in range(last + 1):
            if (first, last) in self._known:
                self._prefixes.add(first, last, self._known[first, last])
        if (budgets() > self._lower[column]).any():
            segments = prover.segments_ending_at(last, budgets())
            beats = self._beat[column]
            prover.settle(segments, self._lower[column], beats, budgets, improve)
            # What is refuted costs its budget at least; where it was found, that is its cost.
            self._lower[column] = np.maximum(self._lower[column], budgets())

    def _keep(self, found: CostedSegment) -> None:
        ends = found.segment.first_layer, found.segment.last_layer
        if self._possible[ends] and found.cost < self._costs[ends]:
            self._costs[ends] = found.cost
            self._known[ends] = found

    def _take(self, found: Sequence[CostedSegment]) -> None:
        """Use segments; report the network's best schedule if it got better."""
        for one in found:
            self._keep(one)
        total, starts = shortest_cut(self._costs, self._count or 0, LIMIT)
        if total < self._most:
            self._most = int(total)
            ends = segment_ends(starts.tolist(), self._tables.layers)
            self._monitor.improve(self._most, [self._known[pair].segment for pair in ends])

    def _publish(self) -> None:
        if self.bound() < LIMIT:
            self._monitor.raise_bound(self.bound(), "recursion")


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
    prover.settle(prover.segments_ending_at(last), least, least, lambda: budgets, improve)
    return best[-1] if best else None
