"""What a schedule within a ceiling can consist of: clusters, and segments of one cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from formulations.arrays import take
from formulations.columns.table import ColumnTable
from formulations.formulas import segment_latency

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from formulations.columns.columns import Columns
    from formulations.request import Request
    from scope_opt.schedule.schedule import Segment

    Ints = NDArray[np.int64]
    Flags = NDArray[np.bool_]


class Single(NamedTuple):
    """A segment of one cluster."""

    first: int
    last: int
    latency_ps: int
    column: int
    """Its index in the table of columns."""


class Candidates:
    """Clusters and segments that schedules up to a ceiling can have, as arrays.

    Parameters
    ----------
    request : Request
        Energies must not matter.
    ceiling_ps : int, optional
        Largest latency.
    ends : (int, int), optional
        First and last layer of a segment, which is then all there is; else the whole network.
    every : bool
        Keep slower segments of one cluster too, which somebody's own constraints may ask for.

    Raises
    ------
    Stopped
        If the monitor wants to stop.
    """

    def __init__(
        self,
        request: Request,
        ceiling_ps: int | None,
        ends: tuple[int, int] | None = None,
        *,
        every: bool = False,
    ) -> None:
        tables, space = request.tables, request.space
        self.span = (0, tables.layers - 1) if ends is None else ends
        """First and last layer of what is scheduled"""
        self.layers, self.chiplets, self.samples = tables.layers, tables.chiplets, tables.samples
        self.fewest, self.most = space.fewest, space.most
        self.load_ps = tables.load_ps
        self.segment_count = space.segment_count if ends is None else None
        self._table = ColumnTable(request, ceiling_ps, ends=ends)
        caps, columns = self._table.caps, self._table.columns
        alone = (columns.opens & columns.closes) == 1
        self.singles = self._singles(np.flatnonzero(alone), tables.segment_dram_ps, every)
        self.index: Ints = np.flatnonzero(~alone)
        """Clusters of segments of several, by their place in the table; what follows is of them"""
        some = take(columns, self.index)
        self.first, self.last, self.size, self.time_ps = (
            some.first,
            some.last,
            some.size,
            some.time_ps,
        )
        self.sending_ps, self.receive_ps = some.sending_ps, some.receive_ps
        """Time without what the next cluster's receiving adds, negative where that cannot matter;
        and what receiving adds to the cluster before"""
        self.opens, self.closes = some.opens == 1, some.closes == 1
        self.starts = np.stack([some.start_low, some.start_high])
        self.ends = np.stack([some.end_low, some.end_high])
        """(2, n): least and largest first layer of the segment, and last layer"""
        self.longest_ps: Ints = self._table.longest(some, caps)
        """Largest beat that a segment with the cluster may have"""
        keys = np.stack([some.first, some.last, some.opens, some.closes, *self.starts, *self.ends])
        _, inverse = np.unique(keys, axis=1, return_inverse=True)
        self.kind: Ints = np.asarray(inverse, dtype=np.int64).ravel()
        """Clusters of equal kind have equal layers and surroundings"""
        self.kinds = int(self.kind.max(initial=-1)) + 1
        sending = max(0, int(self.sending_ps.max(initial=0)))
        slowest = max(
            int(self.time_ps.max(initial=0)),
            sending + int(self.receive_ps.max(initial=0)),
            int(tables.segment_dram_ps.max()),
        )
        longest = np.minimum(caps.all_segments(max(2, space.fewest)), slowest)
        self.beat_ps: Ints = np.maximum(caps.floors, tables.segment_dram_ps)
        """(L, L): least beat of a segment"""
        several = np.triu(np.ones_like(space.segments), 1) & space.segments
        several &= (longest >= self.beat_ps) & (space.most >= 2)
        self.longest_beat_ps: Ints = np.where(several, longest, -1)
        """(L, L): largest beat of a segment of several clusters; -1 if it can have none"""

    def _singles(self, index: Ints, dram_ps: Ints, every: bool) -> list[Single]:
        """Segments of one cluster; the fastest of each run of layers, or every one."""
        found: list[Single] = []
        some = take(self._table.columns, index)
        times = some.time_ps.tolist()
        for column, (a, b), time_ps in zip(index.tolist(), some.runs, times, strict=True):
            beat = max(time_ps, int(dram_ps[a, b]))
            latency = segment_latency(int(self.load_ps[a, b]), self.samples, 1, beat)
            found.append(Single(a, b, latency, column))
        if every:
            return found
        best: dict[tuple[int, int], Single] = {}
        for single in found:
            known = best.setdefault((single.first, single.last), single)
            if single.latency_ps < known.latency_ps:
                best[single.first, single.last] = single
        return list(best.values())

    @property
    def range_ps(self) -> tuple[int, int] | None:
        """Shortest and longest beat of segments of several clusters; None if there are none."""
        possible = self.longest_beat_ps >= 0
        if not possible.any() or not len(self.index):
            return None
        low = max(int(self.beat_ps[possible].min()), int(self.time_ps.min()))
        high = int(self.longest_beat_ps.max())
        return (low, high) if low <= high else None

    def columns(self, clusters: Ints, singles: list[Single]) -> Columns:
        """Columns of some clusters, and of some segments of one."""
        alone = np.array([single.column for single in singles], dtype=np.int64)
        return take(self._table.columns, np.concatenate([self.index[clusters], alone]))

    def partitions(self, columns: Columns) -> list[tuple[int, ...]]:
        """Partitions of the layers of each column."""
        return self._table.partitions(columns)

    def segments(self, clusters: Ints, singles: list[Single]) -> tuple[Segment, ...]:
        """Segments made of some clusters, and some of one."""
        return self._table.segments(self.columns(clusters, singles))
