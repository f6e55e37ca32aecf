"""Where to cut a network into segments, given a way to schedule one segment.

The same methods serve every scheme, so that schemes differ only in how they fill a segment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scope_opt.model.tables import LIMIT
from scope_opt.schedule.bounds import best_cut, best_rest, segment_bounds
from scope_opt.search.cuts import (
    CostedSegment,
    Prefixes,
    segment_ends,
    shortest_cut,
    total_cost,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from scope_opt.model.tables import LatencyTables
    from scope_opt.schedule.schedule import Segment
    from scope_opt.solving.monitor import Monitor
    from scope_opt.solving.solver import SegmentChoice

    Cuts = tuple[int, ...]
    Costed = tuple[int, tuple[Segment, ...]]


class SegmentSearch:
    """Schedules segments on demand, remembers them, and reports complete networks.

    Parameters
    ----------
    tables : LatencyTables
    schedule : callable
        ``schedule(first, last, below)`` gives the scheme's schedule of that segment; None if it has
        none of less than ``below`` ps. It may give a slower one as well.
    monitor : Monitor
        Told of every better network schedule; asked whether to stop.
    floor : callable, optional
        ``floor(first, last, below)`` is a lower bound in ps on the latencies of such schedules, at
        most ``below``; asked for before a segment is scheduled as part of the best cut.
    """

    def __init__(
        self,
        tables: LatencyTables,
        schedule: Callable[[int, int, int], CostedSegment | None],
        monitor: Monitor,
        floor: Callable[[int, int, int], int] | None = None,
    ) -> None:
        self._tables = tables
        self._schedule = schedule
        self._monitor = monitor
        self._known: dict[tuple[int, int], CostedSegment] = {}
        self._bounds = segment_bounds(tables)
        self._floor, self._raised = floor, set[tuple[int, int]]()
        self._floors = self._bounds.copy()
        """What segments take at least in this scheme; known ones exactly"""

    def bound(self, choice: SegmentChoice) -> int:
        """Lower bound in ps on every schedule with such segments; `LIMIT` if there is none."""
        if choice == "single":
            choice = (0,)
        if isinstance(choice, tuple):
            return min(
                LIMIT,
                sum(int(self._bounds[pair]) for pair in segment_ends(choice, self._tables.layers)),
            )
        return int(best_cut(self._bounds)[-1])

    def run(self, choice: SegmentChoice) -> None:
        """Search the segmentations that ``choice`` admits."""
        if choice == "single":
            choice = (0,)
        if isinstance(choice, tuple):
            self._try(choice)
        elif isinstance(choice, int):
            self._try_balanced(choice)
        else:
            for count in range(1, self._tables.layers + 1):
                if self._monitor.stopping:
                    return
                self._monitor.report(f"segments: {count}", count / self._tables.layers)
                self._try_balanced(count)
            if choice == "dp":
                self._cut_exactly()

    def _segment(self, first: int, last: int, below: int) -> CostedSegment | None:
        """The scheme's schedule of a segment if it takes less than ``below``."""
        ends = (first, last)
        if ends not in self._known and self._floors[ends] < below:
            found = self._schedule(first, last, below)
            if found is not None:
                self._known[ends] = found
            self._floors[ends] = below if found is None else found.cost
        return self._known[ends] if self._floors[ends] < below else None

    def _try(self, cuts: Cuts) -> None:
        """Schedule one segmentation, unless its floors say it cannot beat the best so far."""
        pairs = segment_ends(cuts, self._tables.layers)
        found: list[CostedSegment] = []
        for first, last in pairs:
            if found and self._monitor.stopping:
                return
            least = sum(int(self._floors[pair]) for pair in pairs)
            room = self._limit - least + int(self._floors[first, last])
            segment = self._segment(first, last, room)
            if segment is None:
                return
            found.append(segment)
        self._monitor.improve(total_cost(found), [segment.segment for segment in found])

    @property
    def _limit(self) -> int:
        """What schedules must take less than to matter."""
        return LIMIT if self._monitor.objective is None else self._monitor.objective

    def _try_balanced(self, count: int) -> None:
        for cuts in balanced_choices(self._tables, count):
            self._try(cuts)

    def _cut_exactly(self) -> None:
        """Best segmentation for the scheme's own latencies.

        If it is stopped, the best one that was found so far.
        """
        best = self._best_cut()
        if best is not None and not self._monitor.stopping:
            best = self._last_cut(best[0])
        if best is not None:
            self._monitor.improve(*best)

    def _best_cut(self) -> Costed | None:
        """A segmentation that takes least; None if it is no better than the best schedule so far.

        Segments of the cut that takes least by floors are scheduled, which raises floors, until
        that cut takes as long as one all of whose segments are known.
        """
        limit, layers = self._limit, self._tables.layers
        best: Costed | None = None
        promised = int(best_cut(self._floors)[-1])
        while not self._monitor.stopping:
            least, starts = shortest_cut(self._floors, 0, LIMIT)
            total = int(least)
            if total >= limit:
                break
            self._monitor.report("cuts", (total - promised) / (limit - promised))
            pairs = segment_ends(starts.tolist(), layers)
            if self._raise_floors(pairs, limit - total):
                continue
            for pair in pairs:
                floor = int(self._floors[pair])
                if self._segment(*pair, limit - total + floor) is None or self._monitor.stopping:
                    break
                total += int(self._floors[pair]) - floor
            else:
                limit = total
                best = total, tuple(self._known[pair].segment for pair in pairs)
        return best

    def _raise_floors(self, pairs: list[tuple[int, int]], room: int) -> bool:
        """Whether some of these segments had no floor of the scheme itself."""
        if self._floor is None:
            return False
        missing = [pair for pair in pairs if pair not in self._known and pair not in self._raised]
        for pair in missing:
            self._raised.add(pair)
            least = int(self._floors[pair])
            self._floors[pair] = max(least, self._floor(*pair, least + room))
        return bool(missing)

    def _last_cut(self, latency: int) -> Costed | None:
        """The segmentation that takes so long; of equal ones that whose last segments are short."""
        layers = self._tables.layers
        prefixes, after = Prefixes(layers), best_rest(self._floors)
        value = prefixes.value
        for last in range(layers):
            for first in range(last, -1, -1):
                # Only what can be part of it, or is better than what is known of the prefix.
                room = min(latency + 1 - int(after[last + 1]), int(value[last + 1]))
                segment = self._segment(first, last, room - int(value[first]))
                if segment is not None:
                    prefixes.add(first, last, segment)
        return prefixes.whole()


def balanced_choices(tables: LatencyTables, count: int) -> list[Cuts]:
    """Balanced cuts into ``count`` segments: with weights stored, or refetched if allowed."""
    stored = balanced_cuts(tables, count, stored=True)
    free = balanced_cuts(tables, count, stored=False) if tables.stream else None
    return [cuts for cuts in dict.fromkeys((stored, free)) if cuts is not None]


def balanced_cuts(tables: LatencyTables, count: int, *, stored: bool = True) -> Cuts | None:
    """First layers of ``count`` segments with the smallest largest load.

    Among those, the cut with the smallest sum of squared loads; then the one whose segments end
    earliest, from the last segment backwards. If ``stored``, the weights of every segment of two
    or more layers must fit the package. None if there is no such cut.
    """
    layers = tables.layers
    total = np.concatenate([[0], np.cumsum(tables.load)])
    load = (total[None, 1:] - total[:-1, None]).astype(np.float64)
    weight = np.concatenate([[0], np.cumsum(tables.weight_bytes)])
    allowed = np.triu(np.ones((layers, layers), dtype=bool))
    if stored:
        fits = weight[None, 1:] - weight[:-1, None] <= tables.weight_buffer_bytes * tables.chiplets
        allowed &= fits | np.eye(layers, dtype=bool)
    load = np.where(allowed, load, np.inf)

    largest = np.full(layers + 1, np.inf)
    largest[0] = 0.0
    for _ in range(count):
        largest[1:] = np.maximum(largest[:-1, None], load).min(axis=0)
        largest[0] = np.inf
    if np.isinf(largest[-1]):
        return None
    squares = np.where(load <= largest[-1], load, np.inf) ** 2
    _, cuts = shortest_cut(squares, count, np.inf)
    return tuple(cuts.tolist())
