"""Segments by the scheme of `scope-plus`: estimated all at once, then scheduled one by one.

A segment's schedule is the best of a few rows of its cluster table, each with its best regions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scope_opt.model.tables import LIMIT
from scope_opt.schedule.bounds import best_cut, best_rest, segment_bounds
from scope_opt.schedule.schedule import make_segment
from scope_opt.search.allowed import make_allowed
from scope_opt.search.cuts import CostedSegment
from scope_opt.search.packed import NEVER, pack_tables
from scope_opt.search.placed import link_beat, segment_facts
from scope_opt.search.plus.clusters import clusters_of, estimate_ending, table_rows
from scope_opt.search.plus.regions import best_regions
from scope_opt.search.plus.sizes import ROLES, make_needs
from scope_opt.search.times import segment_latency

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.search.packed import Ints

    Ends = tuple[int, int]
    Windows = tuple[Ints, Ints, Ints]

STEP, MOST_NEEDS = 1.03, 2**27
"""Ratio of neighbouring times of the cluster table, and most entries of `Needs`: for networks of
many hundred layers the ratio is larger."""
WORTH, SLOWER = 3, 3
"""Segments are estimated if a schedule with them can be within so many times the simple bound, at
beats up to so many times those of their bounds."""
ROWS = 4
"""Rows of the cluster table that get regions, in each segment."""


class Scheme:
    """Schedules segments; all of them are estimated first.

    Parameters
    ----------
    instance, tables
    stopping : callable
        Asked often whether to leave estimates as they are: `LIMIT` where there is none yet.
    """

    def __init__(
        self, instance: Instance, tables: LatencyTables, stopping: Callable[[], bool]
    ) -> None:
        limits, layers, chiplets = instance.constraints, tables.layers, tables.chiplets
        self._tables, self._chiplets = tables, chiplets
        self._packed = pack_tables(tables)
        self._allowed = make_allowed(limits, layers, chiplets)
        self._unit = limits.region_multiple or 1
        self._counts = (
            limits.min_clusters or 1,
            min(limits.max_clusters or layers, layers, chiplets),
        )
        self._rows: dict[Ends, list[tuple[int, int, int]]] = {}
        wanted, beats = self._useful()
        self._needs = make_needs(self._packed, self._allowed, beats)
        self.estimate = np.full((layers, layers), LIMIT, dtype=np.int64)
        """(L, L) latency of every segment in ps, about; `LIMIT` for those that cannot matter"""
        for last in range(layers):
            if stopping():
                return
            self.estimate[:, last] = estimate_ending(
                self._packed, *self._needs, *self._counts, last, wanted[:, last].copy()
            )

    def _useful(self) -> tuple[NDArray[np.bool_], Ints]:
        """Segments that are estimated, and the times of the cluster table."""
        tables = self._tables
        bounds = segment_bounds(tables)
        total = best_cut(bounds)
        around = total[:-1, None] + best_rest(bounds)[None, 1:]
        useful = np.triu((bounds < LIMIT) & (around + bounds <= WORTH * int(total[-1])))
        if not useful.any():
            return useful, np.ones(1, dtype=np.int64)
        beats = np.maximum((bounds - tables.load_ps)[useful] // tables.samples, 1)
        least, most = int(beats.min()), min(SLOWER * int(beats.max()), LIMIT)
        step = max(STEP, (most / least) ** (ROLES * tables.layers**2 / MOST_NEEDS))
        count = int(np.ceil(np.log(most / least) / np.log(step))) + 1
        return useful, np.unique(np.floor(least * step ** np.arange(count)).astype(np.int64))

    def refine(self, ends: Ends) -> int:
        """A closer estimate of a segment's latency in ps; `LIMIT` if it has no schedule."""
        rows = table_rows(self._packed, *self._needs, *self._counts, *ends)
        self._rows[ends] = sorted((cost, k, n) for cost, k, n in rows.tolist())
        return self._rows[ends][0][0] if len(rows) > 0 else LIMIT

    def schedule(self, first: int, last: int) -> CostedSegment | None:
        """The scheme's schedule of a segment; None if it finds none."""
        packed, best = self._packed, None
        facts = segment_facts(packed.places, first, last)
        load, dram = int(packed.load_ps[first, last]), int(packed.segment_dram_ps[first, last])
        for starts, low, high in self._candidates(first, last):
            beat, regions, partition = best_regions(packed, self._allowed, facts, starts, low, high)
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
        if (first, last) not in self._rows:
            self.refine((first, last))
        known: set[tuple[int, ...]] = set()
        for _, k, n in self._rows[first, last]:
            starts, needed = clusters_of(self._packed, *self._needs, n, first, last, k)
            cut = tuple(starts.tolist())
            if cut in known:
                continue
            known.add(cut)
            # As the needs are those by sizes, a little less may do, and more may be better.
            low = np.maximum(needed - np.maximum(1 + needed // 10, self._unit), 1)
            high = np.minimum(needed + np.maximum(2 + needed // 6, self._unit), chiplets)
            yield starts, low, high
            if len(known) == ROWS:
                return
