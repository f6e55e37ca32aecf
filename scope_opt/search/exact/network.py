"""Whole networks: a dynamic program over the last layers, with bounds on all segments.

For each last layer, every segment that could end there and improve the best schedule of the layers
up to it is found or refuted (`scope_opt.search.exact.prover`). Segments that cannot be in a better
schedule than the best one known need no search; lower bounds on all segments say which
(`scope_opt.search.exact.floors`). (Section 6 of docs/exact.md.)
"""

from __future__ import annotations

from collections import deque
from functools import partial
from itertools import chain, repeat
from typing import TYPE_CHECKING

import numpy as np

from scope_opt.model.tables import LIMIT
from scope_opt.schedule.bounds import best_around, best_cut, best_rest
from scope_opt.search.cuts import CostedSegment, segment_ends, shortest_cut
from scope_opt.search.equal import equal_segments, moved
from scope_opt.search.exact.floors import Floors, relax
from scope_opt.search.exact.prover import Prover
from scope_opt.search.packed import pack_tables
from scope_opt.search.stopping import SearchStopped
from scope_opt.search.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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

FAR, ROUNDS = 0.14, 4
"""How often in turn the cut that looks best is searched in vain before the proof, and gap below
which once is enough."""

LAG = 4
"""So many last layers are settled by what was known before the first of them; as many threads have
something to do. Not the number of threads, on which what is found must not depend."""


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
    bounds : int64 array, shape ``(L, L)``
        Lower bounds on the latencies of segments, `LIMIT` where layers may not be one.
    known : sequence of CostedSegment
        The segments of a schedule that is known, empty if there is none.
    learn : Learn
        What finds segments beside the proof.
    monitor : Monitor
    threads : int, optional
    """

    def __init__(
        self,
        tables: LatencyTables,
        allowed: Allowed,
        clusters: tuple[int, int],
        count: int | None,
        bounds: Ints,
        known: Sequence[CostedSegment],
        learn: Learn,
        monitor: Monitor,
        threads: int = 1,
    ) -> None:
        self._tables, self._allowed, self._clusters = tables, allowed, clusters
        self._count, self._monitor, self._threads = count, monitor, threads
        self._known: dict[int, CostedSegment] = {}
        """By the number of `EqualSegments`"""
        self._costs = np.full((tables.layers, tables.layers), LIMIT, dtype=np.int64)
        """Latencies of the best segments known"""
        self._most = LIMIT if monitor.cutoff is None else monitor.cutoff
        self._beat = (bounds - tables.load_ps) // tables.samples
        self._lower = np.triu(bounds)
        self._possible = np.triu(bounds < LIMIT)
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
            with Workers(self._threads, lambda: self._monitor.stopping) as workers:
                prover = self._prepare(workers)
                self._search_promising(prover)
                for share in chain(SHARES, repeat(1.0)):
                    if self.bound() >= self._most:
                        return
                    self._settle_below(prover, workers, self._goal(share))
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

    def _prepare(self, workers: Workers) -> Prover:
        """Learn the segments of one layer on the whole package, and bound all segments."""
        tables = self._tables
        # No segment of a better schedule has a larger beat.
        limit = min(self._most, tables.worst_latency_ps) // tables.samples
        prover = Prover(tables, self._packed, self._allowed, self._clusters, limit, workers)
        alone = np.full(tables.layers, LIMIT, dtype=np.int64)
        for layer in range(tables.layers):
            found = prover.whole_package(layer)
            if found is not None:
                alone[layer] = found.cost
                self._take([found])
        relaxed = relax(prover.packed, self._allowed, prover.shared, workers)
        floors = Floors(
            relaxed,
            tables.samples,
            (self._clusters[0], prover.most),
            tables.load_ps,
            self._beat,
            alone,
            workers,
        )
        for step in FLOOR_STEPS:
            # At the last of equal ones: few last layers are left then, each by itself some work.
            budgets = self._equal.gather_last(self._budgets())
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
        """Of a segment in a better schedule, by lower bounds on beats; more would take too long.

        Short segments have small beats but few layers.
        """
        tables, budgets, layers = self._tables, self._budgets(), np.arange(self._tables.layers)
        if self._most >= LIMIT:
            return tables.layers
        beats = (budgets - 1 - tables.load_ps) // np.maximum(self._beat, 1)
        most = np.minimum(beats - tables.samples, layers[None, :] - layers[:, None]) + 1
        return int(np.where(self._lower < budgets, most, 0).max())

    def _combine(self) -> None:
        """What the bounds of segments say of all layers."""
        total, _ = shortest_cut(self._lower, self._count or 0, LIMIT)
        self._least = max(self._least, int(total))

    def _budgets(self) -> Ints:
        """What each segment must cost less than to be in a better schedule; 0 if it cannot be."""
        budgets = self._most - best_around(self._lower, self._count)
        if self._most >= LIMIT:
            budgets = np.minimum(budgets, 8 * self._lower)
        return np.where(self._possible, np.maximum(np.minimum(budgets, self._costs), 0), 0)

    def _search_promising(self, prover: Prover) -> None:
        """Settle the segments of the cut that looks best, and the whole network as one segment."""
        layers, whole = self._tables.layers, (0, self._tables.layers - 1)
        in_vain = 0
        while in_vain < ROUNDS:
            before = self._most
            total, starts = shortest_cut(self._lower, self._count or 0, LIMIT)
            if self._count is None and in_vain % 2 == 1 and len(starts) > 2:
                # Bounds of long segments may be sharper.
                total, starts = shortest_cut(self._lower, len(starts) - 1, LIMIT)
            cut = segment_ends(starts.tolist(), layers) if total < self._most else []
            for ends in dict.fromkeys([*cut, whole]):
                if self._monitor.stopping:
                    raise SearchStopped
                self._take(self._learn())
                if self._lower[ends] < self._budgets()[ends]:
                    self._settle_alone(prover, ends)
                    self._publish()
            in_vain = in_vain + 1 if self._most == before else 0
            if in_vain > 0 and self._least > (1 - FAR) * self._most:
                return

    def _settle_alone(self, prover: Prover, ends: tuple[int, int]) -> None:
        """Find the best schedule of one segment, or that it cannot be in a better schedule."""
        first, last = ends
        outside = int(best_around(self._lower, self._count)[ends])
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

    def _settle_below(self, prover: Prover, workers: Workers, goal: int) -> None:
        """Find or refute all segments of schedules that take less than ``goal``.

        Nor does a segment matter that leads to a layer no sooner than the best segments known do.
        What the layers before a segment take at least is sharper where these have been settled. Of
        equal segments the first is settled for all.

        Last layers are given out in turn, each with what is known once all but the `LAG` before it
        are settled, whether these run at the same time or not.
        """
        lower, layers = self._lower, self._tables.layers
        outside = best_around(lower, self._count)
        rest, prefix = best_rest(lower), best_cut(lower)
        shared = goal - outside
        if self._count is None:
            later = best_rest(self._costs)
            shared = np.minimum(shared, self._sooner[None, 1:] - prefix[:-1, None])
            shared = np.minimum(shared, later[:-1, None] - rest[None, 1:])
        shared = np.where(self._possible & self._equal.several, np.maximum(shared, 0), 0)
        shared = self._equal.gather(shared) if self._equal.several.any() else shared
        begun: deque[tuple[_Column, Callable[[], bool]]] = deque()
        for last in range(layers):
            while len(begun) == LAG:
                self._merge(*begun.popleft(), prefix, last)
            if self._monitor.stopping:
                break
            self._take(self._learn())
            self._monitor.report(f"segments to layer {last + 1}", last / layers)
            column = self._column(last, goal, prefix, rest, outside, shared)
            if (column.budgets() > column.lower).any():
                begun.append((column, workers.begin(partial(column.settle, prover))))
            else:
                self._sharpen(prefix, last, last + 1)
        for one in begun:
            self._merge(*one, prefix, layers)
        if self._monitor.stopping:
            raise SearchStopped
        self._combine()
        self._publish()

    def _column(
        self, last: int, goal: int, prefix: Ints, rest: Ints, outside: Ints, shared: Ints
    ) -> _Column:
        """The segments to one last layer, with what is known now."""
        part, most, free = (slice(0, last + 1), last), min(goal, self._most), self._count is None
        before = prefix[: last + 1].copy()
        first_of_its_kind = self._equal.first[part] == np.arange(last + 1)
        return _Column(
            last,
            asked=self._possible[part] & first_of_its_kind,
            goals=most - (before + rest[last + 1] if free else outside[part]),
            shared=shared[part] - (goal - most),
            before=before,
            sooner=self._sooner[: last + 2].copy() if free else None,
            lower=self._lower[part].copy(),
            beats=self._beat[part],
            costs=self._costs[part].copy(),
        )

    def _merge(self, column: _Column, wait: Callable[[], bool], prefix: Ints, begun: int) -> None:
        """Take what was found and refuted of one last layer, ``begun`` of which have their turn."""
        settled, last = wait(), column.last
        self._take(list(column.found.values()))
        if settled:
            # What is refuted costs its budget at least; where it was found, that is its cost.
            lower, several = self._lower, self._equal.several[: last + 1, last]
            lower[: last + 1, last] = np.maximum(lower[: last + 1, last], column.budgets())
            for first in np.flatnonzero(several).tolist():
                alike = self._equal.like((first, last))
                lower[alike] = np.maximum(lower[alike], lower[first, last])
        self._sharpen(prefix, last, begun)

    def _sharpen(self, prefix: Ints, first: int, stop: int) -> None:
        """Lower bounds on the layers up to each of ``first..stop-1``, by those of segments."""
        for last in range(first, stop):
            prefix[last + 1] = (prefix[: last + 1] + self._lower[: last + 1, last]).min()

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


class _Column:
    """The segments with one last layer, searched with what was known when that had its turn.

    Parameters
    ----------
    last : int
    asked : bool array, shape ``(last + 1,)``
        Which of them to search.
    goals, shared : int64 array, shape ``(last + 1,)``
        What they must cost less than, by the goal, and if more for the sake of equal ones.
    before : int64 array, shape ``(last + 1,)``
        Lower bounds on the layers before each.
    sooner : int64 array, shape ``(last + 2,)``, optional
        Best latencies known of as many layers, where these matter.
    lower, beats, costs : int64 array, shape ``(last + 1,)``
        Lower bounds on latency and beat, and the best latencies known.
    """

    def __init__(
        self,
        last: int,
        *,
        asked: Flags,
        goals: Ints,
        shared: Ints,
        before: Ints,
        sooner: Ints | None,
        lower: Ints,
        beats: Ints,
        costs: Ints,
    ) -> None:
        self.last, self.lower = last, lower
        self.found: dict[int, CostedSegment] = {}
        self._asked, self._goals, self._shared = asked, goals, shared
        self._before, self._sooner, self._beats, self._costs = before, sooner, beats, costs

    def budgets(self) -> Ints:
        """What each must cost less than to matter, now; 0 where it does not."""
        below = self._goals
        if self._sooner is not None:
            below = np.minimum(below, self._sooner[-1] - self._before)
        below = np.minimum(np.maximum(below, self._shared), self._costs)
        return np.where(self._asked, np.maximum(below, 0), 0)

    def settle(self, prover: Prover) -> bool:
        """Find or refute all of them; whether it came to its end."""
        try:
            segments = prover.segments_ending_at(self.last, self.budgets())
            prover.settle(segments, self.lower, self._beats, self.budgets, self._improve)
        except SearchStopped:
            return False
        return True

    def _improve(self, first: int, found: CostedSegment) -> None:
        self.found[first] = found
        self._costs[first] = found.cost
        if self._sooner is not None:
            self._sooner[-1] = min(self._sooner[-1], self._sooner[first] + found.cost)


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
    workers = Workers(stopping=lambda: monitor.stopping)
    prover = Prover(tables, packed, allowed._replace(regions=inside), clusters, limit, workers)
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
