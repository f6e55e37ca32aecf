"""Segments by the scheme of `scope-plus`: estimated all at once, then scheduled one by one.

A segment's schedule is the best of a few rows of its cluster table, each with its best regions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scope_opt.model.tables import LIMIT
from scope_opt.schedule.bounds import best_around, best_cut
from scope_opt.schedule.schedule import make_segment
from scope_opt.search.allowed import make_allowed
from scope_opt.search.cuts import CostedSegment
from scope_opt.search.equal import equal_segments
from scope_opt.search.packed import NEVER, pack_tables
from scope_opt.search.placed import link_beat, segment_facts
from scope_opt.search.plus.estimates import estimate_ending
from scope_opt.search.plus.inner import make_times
from scope_opt.search.plus.regions import best_regions
from scope_opt.search.plus.sizes import ROLES, longest_cluster, make_needs
from scope_opt.search.plus.table import ClusterTable
from scope_opt.search.times import segment_latency

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.search.packed import Ints

    Ends = tuple[int, int]
    Windows = tuple[Ints, Ints, Ints]

STEP, MOST_NEEDS = 1.02, 2**27
"""Ratio of neighbouring times of `Needs`, and most entries: for networks of many hundred layers the
ratio is larger."""
WORTH, SLOWER = 3, 4
"""Segments are estimated if a schedule with them can be within so many times the simple bound, with
beats up to so many times the longest of their bounds."""
ROWS = 4
"""Rows of the cluster table that get regions, in each segment."""


class Scheme:
    """Schedules segments; all of them are estimated first.

    Parameters
    ----------
    instance, tables
    bounds : int64 array, shape ``(L, L)``
        `segment_bounds` in ps.
    stopping : callable
        Asked often whether to leave estimates as they are: `LIMIT` where there is none yet.
    """

    def __init__(
        self,
        instance: Instance,
        tables: LatencyTables,
        bounds: Ints,
        stopping: Callable[[], bool],
    ) -> None:
        limits, layers, chiplets = instance.constraints, tables.layers, tables.chiplets
        self._tables, self._chiplets = tables, chiplets
        self._packed = pack_tables(tables)
        self._allowed = make_allowed(limits, layers, chiplets)
        self._unit = limits.region_multiple or 1
        self._jumps = self._longest = 0
        """Of the longest segment yet, and its layers but one: estimates err alike"""
        self._counts = (
            limits.min_clusters or 1,
            min(limits.max_clusters or layers, layers, chiplets),
        )
        every = np.triu(np.ones((layers, layers), dtype=np.bool_))
        self.equal = equal_segments(self._packed, self._allowed, every)
        """Segments that have the same schedules"""
        self.estimate = np.full((layers, layers), LIMIT, dtype=np.int64)
        """(L, L) latency of every segment in ps, about; `LIMIT` for those that cannot matter"""
        self._beat = np.ones((layers, layers), dtype=np.int64)
        wanted, beats = self._useful(bounds)
        self._times = make_times(self._packed, self._allowed, int(beats[-1]))
        needs = make_needs(self._packed, self._allowed, beats)
        # Of equal segments, the first one is estimated.
        wanted = self.equal.gather(wanted.astype(np.int64)) > 0
        for last in np.flatnonzero(wanted.any(axis=0)):
            if stopping():
                break
            found = estimate_ending(
                self._packed, *needs, *self._counts, int(last), wanted[:, last].copy()
            )
            self.estimate[:, last], self._beat[:, last] = found[:, 0], found[:, 1]
        for known in (self.estimate, self._beat):
            known[self.equal.places] = known[self.equal.others]

    def _useful(self, bounds: Ints) -> tuple[NDArray[np.bool_], Ints]:
        """Segments that are estimated, and the times of their clusters."""
        tables, costs = self._tables, self._layers_alone()
        total = best_cut(bounds)
        around = best_around(bounds)
        most = WORTH * int(total[-1])
        if (costs < LIMIT).all():
            most = min(most, int(costs.sum()))
        useful = np.triu((bounds < LIMIT) & (around + bounds <= most), 1)
        if not useful.any():
            return useful, np.ones(1, dtype=np.int64)
        beats = np.maximum((bounds - tables.load_ps)[useful] // tables.samples, 1)
        shortest, longest = int(beats.min()), SLOWER * int(beats.max())
        if (costs < LIMIT).all():
            # Segments that take longer than their layers one by one are of no use.
            upto = np.concatenate([[0], costs.cumsum()])
            apart = upto[None, 1:] - upto[:-1, None] - tables.load_ps
            longest = min(longest, int(apart[useful].max()) // tables.samples)
        longest = max(shortest + 1, min(longest, LIMIT))
        layers = longest_cluster(self._packed, self._allowed, longest)
        entries = ROLES * tables.layers * layers
        step = max(STEP, (longest / shortest) ** (entries / MOST_NEEDS))
        count = int(np.ceil(np.log(longest / shortest) / np.log(step))) + 1
        return useful, np.unique(np.floor(shortest * step ** np.arange(count)).astype(np.int64))

    def _layers_alone(self) -> Ints:
        """(L,) latency of each layer as a segment of its own in ps, `LIMIT` if it cannot be one."""
        costs = np.full(self._tables.layers, LIMIT, dtype=np.int64)
        for layer in range(self._tables.layers):
            first = self.equal.first[layer, layer]
            if first < layer:
                costs[layer] = costs[first]
            elif (found := self.schedule(layer, layer)) is not None:
                costs[layer] = found.cost
        return costs

    def schedule(self, first: int, last: int) -> CostedSegment | None:
        """The scheme's schedule of a segment; None if it finds none."""
        packed, best = self._packed, None
        facts = segment_facts(packed.places, first, last)
        load, dram = int(packed.load_ps[first, last]), int(packed.segment_dram_ps[first, last])
        for starts, low, high in self._candidates(first, last):
            below = NEVER
            if best is not None:
                below = -(-(best.cost - load) // (packed.samples + len(low) - 1))
            beat, regions, partition = best_regions(
                packed, self._allowed, facts, starts, low, high, below
            )
            if beat >= NEVER:
                continue
            if packed.places.shared:
                links = link_beat(packed.places, facts, first, last, starts, regions, partition)
                beat = max(beat, links)
            cost = segment_latency(load, dram, packed.samples, len(regions), beat)
            if best is None or cost < best.cost:
                parts = zip(starts[:-1], starts[1:], regions, strict=True)
                clusters = [
                    (int(end - begin), int(size), partition[begin:end].tolist())
                    for begin, end, size in parts
                ]
                best = CostedSegment(cost, make_segment(first, clusters))
        return best

    def _candidates(self, first: int, last: int) -> Iterator[Windows]:
        """First layers of clusters, ending with the layer behind; sizes from and to."""
        chiplets = self._chiplets
        if first == last:
            # On the whole package, weights of any size pass through.
            if self._counts[0] == 1 and self._allowed.clusters[first, last]:
                yield np.array([first, last + 1]), np.array([1]), np.array([chiplets])
            return
        beat = min(int(self._beat[first, last]), LIMIT // self._packed.samples)
        table = ClusterTable(
            self._packed, self._allowed, self._times, (first, last), beat, self._jumps, self._unit
        )
        rows = table.rows(*self._counts)
        self._times = table.times
        if last - first >= self._longest:
            self._jumps, self._longest = table.jumps, last - first
        known: set[tuple[int, ...]] = set()
        for row in rows:
            cut = tuple(row.starts.tolist())
            if cut in known:
                continue
            known.add(cut)
            # Regions end with the package in the table and begin with it here: a little less
            # may do, and more may be better.
            low = np.maximum(row.needed - np.maximum(1 + row.needed // 10, self._unit), 1)
            high = np.minimum(row.needed + np.maximum(2 + row.needed // 6, self._unit), chiplets)
            yield row.starts, low, high
            if len(known) == ROWS:
                return
