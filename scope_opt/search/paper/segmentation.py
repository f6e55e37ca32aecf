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
    from scope_opt.solving.monitor import Monitor
    from scope_opt.solving.solver import SegmentChoice

    Cuts = tuple[int, ...]


class SegmentSearch:
    """Schedules segments on demand, remembers them, and reports complete networks.

    Parameters
    ----------
    tables : LatencyTables
    schedule : callable
        ``schedule(first, last)`` gives the scheme's schedule of that segment; None if it has none.
    monitor : Monitor
        Told of every better network schedule; asked whether to stop.
    """

    def __init__(
        self,
        tables: LatencyTables,
        schedule: Callable[[int, int], CostedSegment | None],
        monitor: Monitor,
    ) -> None:
        self._tables = tables
        self._schedule = schedule
        self._monitor = monitor
        self._known: dict[tuple[int, int], CostedSegment | None] = {}
        self._bounds = segment_bounds(tables)

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

    def _segment(self, first: int, last: int) -> CostedSegment | None:
        key = (first, last)
        if key not in self._known:
            self._known[key] = self._schedule(first, last)
        return self._known[key]

    def _try(self, cuts: Cuts) -> None:
        """Schedule one segmentation, unless its bound says it cannot beat the best so far."""
        pairs = segment_ends(cuts, self._tables.layers)
        best = self._monitor.objective
        if best is not None and sum(int(self._bounds[pair]) for pair in pairs) >= best:
            return
        found: list[CostedSegment] = []
        for first, last in pairs:
            if found and self._monitor.stopping:
                return
            segment = self._segment(first, last)
            if segment is None:
                return
            found.append(segment)
        self._monitor.improve(total_cost(found), [segment.segment for segment in found])

    def _try_balanced(self, count: int) -> None:
        for cuts in balanced_choices(self._tables, count):
            self._try(cuts)

    def _cut_exactly(self) -> None:
        """Best segmentation for the scheme's own latencies, by dynamic programming over cuts.

        A candidate segment is scheduled only if the best prefix before it, its lower bound and the
        bound of the layers after it together stay below the best schedule known.
        """
        layers, monitor = self._tables.layers, self._monitor
        after = best_rest(self._bounds)
        prefixes = Prefixes(layers)
        value = prefixes.value[0]
        for last in range(layers):
            monitor.report(f"cuts up to layer {last}", last / layers)
            for first in range(last, -1, -1):
                if value[first] >= LIMIT:
                    continue
                if monitor.stopping:
                    return
                least = int(value[first]) + int(self._bounds[first, last])
                limit = monitor.objective
                if least >= value[last + 1]:
                    continue
                if limit is not None and least + int(after[last + 1]) >= limit:
                    continue
                segment = self._segment(first, last)
                if segment is not None:
                    prefixes.add(first, last, segment)
        whole = prefixes.segments(0, layers)
        if whole is not None:
            latency, segments = whole
            monitor.improve(latency, segments)


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
