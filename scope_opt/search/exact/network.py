"""Whole networks: a dynamic program over the last layers, with bounds on all segments.

For each last layer, every segment that could end there and improve the best schedule of the layers
up to it is found or refuted (`scope_opt.search.exact.prover`). Segments that cannot be in a better
schedule than the best one known need no search; lower bounds on all segments say which
(`scope_opt.search.exact.floors`). (Section 6 of docs/exact.md.)
"""

from __future__ import annotations

from itertools import chain, repeat
from typing import TYPE_CHECKING

import numpy as np

from scope_opt.model.tables import LIMIT
from scope_opt.schedule.bounds import best_cut, best_cuts, best_rest, segment_bounds
from scope_opt.search.cuts import CostedSegment, segment_ends, shortest_cut
from scope_opt.search.exact.equal import equal_segments, moved
from scope_opt.search.exact.floors import Floors, relax
from scope_opt.search.exact.prover import Prover
from scope_opt.search.packed import pack_tables
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

FEW = 4
"""So few segments are searched at once instead of being bounded ever more finely."""

SHARES = (0.5,)
"""How far the proof goes at a time, of what is open between the bound and the best schedule."""

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
    count : int, optional
        How many segments, None for any number.
    possible : bool array, shape ``(L, L)``
        Which layers may be a segment.
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
        count: int | None,
        possible: Flags,
        known: Sequence[CostedSegment],
        learn: Learn,
        monitor: Monitor,
    ) -> None:
        self._tables, self._allowed, self._clusters = tables, allowed, clusters
        self._count, self._monitor = count, monitor
        self._known: dict[int, CostedSegment] = {}
        """By the number of `EqualSegments`"""
        self._costs = np.full((tables.layers, tables.layers), LIMIT, dtype=np.int64)
        """Latencies of the best segments known"""
        self._most = LIMIT if monitor.cutoff is None else monitor.cutoff
        simple = segment_bounds(tables)
        self._beat = (simple - tables.load_ps) // tables.samples
        simple[~possible] = LIMIT
        self._lower = np.triu(simple)
        self._possible = np.triu(simple < LIMIT)
        self._packed = pack_tables(tables)
        self._equal = equal_segments(self._packed, allowed, self._possible)
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
            for share in chain(SHARES, repeat(1.0)):
                if self.bound() >= self._most:
                    return
                self._settle_below(prover, self._goal(share))
        except SearchStopped:
            self._combine()
            self._publish()
            raise SearchStopped(self.bound()) from None

    def bound(self) -> int:
        """Lower bound on every schedule that is valid at any time."""
        return min(self._most, self._least)

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
        prover = Prover(tables, self._packed, self._allowed, self._clusters, limit, self._monitor)
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
            budgets = self._equal.gather(self._budgets())
            if step < FLOOR_STEPS[0] and np.count_nonzero(self._lower < budgets) <= FEW:
                break
            self._monitor.report("bounds of segments", 0.0)
            floors.sharpen(self._lower, budgets, limit, step)
            self._lower = self._equal.spread(self._lower)
            self._combine()
            self._publish()
        self._beat = self._equal.spread(floors.beat_ps)
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
        """What the bounds of segments say of all layers."""
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
        alike = self._equal.like(ends)
        self._lower[alike] = np.maximum(self._lower[alike], int(budget()[first]))
        self._combine()

    def _goal(self, share: float) -> int:
        """So much of the way from the bound to the best schedule known."""
        if self._most < LIMIT:
            return self._least + max(1, round(share * (self._most - self._least)))
        far = 2 * self._least < self._tables.worst_latency_ps
        return 2 * self._least if far else LIMIT

    def _settle_below(self, prover: Prover, goal: int) -> None:
        """Find or refute all segments of schedules that take less than ``goal``.

        Nor does a segment matter that leads to a layer no sooner than the best segments known do.
        What the layers before a segment take at least is sharper where these have been settled. Of
        equal segments the first is settled for all.
        """
        lower, several, layers = self._lower, self._equal.several, self._tables.layers
        outside = around(lower, self._count)
        rest, prefix = best_rest(lower), best_cut(lower)
        shared = goal - outside
        if self._count is None:
            later = best_rest(self._costs)
            shared = np.minimum(shared, self._sooner[None, 1:] - prefix[:-1, None])
            shared = np.minimum(shared, later[:-1, None] - rest[None, 1:])
        shared = np.where(self._possible & several, shared, 0)
        shared = self._equal.gather(np.maximum(shared, 0)) if several.any() else shared
        for last in range(layers):
            if self._monitor.stopping:
                raise SearchStopped
            self._take(self._learn())
            self._monitor.report(f"segments to layer {last + 1}", last / layers)
            column, before = (slice(0, last + 1), last), prefix[: last + 1]
            least = before + rest[last + 1] if self._count is None else outside[column]

            def budgets(
                last: int = last,
                column: tuple[slice, int] = column,
                before: Ints = before,
                least: Ints = least,
            ) -> Ints:
                most = min(goal, self._most)
                below = most - least
                if self._count is None:
                    below = np.minimum(below, self._sooner[last + 1] - before)
                below = np.maximum(below, shared[column] - (goal - most))
                below = np.minimum(below, self._costs[column])
                return np.where(self._possible[column], np.maximum(below, 0), 0)

            def improve(_: int, found: CostedSegment) -> None:
                self._take([found])

            if (budgets() > lower[column]).any():
                segments = prover.segments_ending_at(last, budgets())
                prover.settle(segments, lower[column], self._beat[column], budgets, improve)
                # What is refuted costs its budget at least; where it was found, that is its cost.
                lower[column] = np.maximum(lower[column], budgets())
                for first in np.flatnonzero(several[column]).tolist():
                    alike = self._equal.like((first, last))
                    lower[alike] = np.maximum(lower[alike], lower[first, last])
            prefix[last + 1] = (before + lower[column]).min()
        self._combine()
        self._publish()

    def _keep(self, found: CostedSegment) -> None:
        ends = found.segment.first_layer, found.segment.last_layer
        if self._possible[ends] and found.cost < self._costs[ends]:
            self._costs[self._equal.like(ends)] = found.cost
            self._known[self._equal.number(ends)] = found

    def _best(self, ends: tuple[int, int]) -> CostedSegment | None:
        """The best schedule known of a segment, or of one that is equal to it."""
        found = self._known.get(self._equal.number(ends)) if self._possible[ends] else None
        if found is None or found.segment.first_layer == ends[0]:
            return found
        return CostedSegment(found.cost, moved(found.segment, ends[0]))

    def _take(self, found: Sequence[CostedSegment]) -> None:
        """Use segments; report the network's best schedule if it got better."""
        for one in found:
            self._keep(one)
        self._sooner = best_cut(self._costs)
        total, starts = shortest_cut(self._costs, self._count or 0, LIMIT)
        if total < self._most:
            self._most = int(total)
            ends = segment_ends(starts.tolist(), self._tables.layers)
            found_there = (self._best(pair) for pair in ends)
            self._monitor.improve(self._most, [one.segment for one in found_there if one])

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
    packed, limit = pack_tables(tables), budget_ps // tables.samples
    prover = Prover(tables, packed, allowed._replace(regions=inside), clusters, limit, monitor)
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
