"""All columns that schedules up to a ceiling can have, and those of single segments."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from formulations.arrays import take
from formulations.columns.kernels import columns_within
from formulations.columns.maker import ColumnMaker
from formulations.columns.schedules import to_segments
from formulations.space import Caps
from scope_opt.model.tables import LIMIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from formulations.columns.columns import Columns
    from formulations.request import Request
    from scope_opt.schedule.schedule import Segment

    Ints = NDArray[np.int64]


class ColumnTable:
    """Columns that schedules up to a ceiling can consist of.

    Parameters
    ----------
    request : Request
    ceiling_ps : int, optional
        Columns that only slower schedules of the whole network can have are left out.
    proved : array of int64, shape (L, L), optional
        Lower bounds on the latencies of segments.
    ends : (int, int), optional
        First and last layer of the only segment that matters; the ceiling is then on it alone.

    Raises
    ------
    Stopped
        If the monitor wants to stop.
    """

    def __init__(
        self,
        request: Request,
        ceiling_ps: int | None,
        proved: Ints | None = None,
        ends: tuple[int, int] | None = None,
    ) -> None:
        tables, stopping = request.tables, lambda: request.monitor.stopping
        self._maker = ColumnMaker(tables, request.space, stopping, request.threads)
        self.caps = Caps(tables, request.space, ceiling_ps, proved=proved, ends=ends)
        self.ceiling_ps = ceiling_ps
        columns = self._maker.columns(self.caps)
        self.columns = take(columns, np.lexsort((columns.receive_ps, columns.first)))
        """Ordered by first layer and receiving"""

    @cached_property
    def by_time(self) -> Columns:
        """The same in ascending order of their times."""
        return take(self.columns, np.argsort(self.columns.time_ps, kind="stable"))

    def complete_ps(self, first: int, last: int) -> int:
        """All clusters of a segment that take no longer are here, unless they are alone in it."""
        if self.ceiling_ps is None:
            return LIMIT - 1
        several = self.caps.all_segments(2)[first, last]
        return int(max(several, self.caps.floors[first, last] - 1))

    def contains(self, first: int, last: int, latency_ps: int | None) -> bool:
        """Whether all columns are here that a segment can have within that latency."""
        if self.ceiling_ps is None or latency_ps is None:
            return self.ceiling_ps is None
        return latency_ps + int(self.caps.around[first, last]) <= self.ceiling_ps

    def of_segment(self, first: int, last: int, slowest_ps: int = LIMIT) -> Columns:
        """All columns that a segment can have, up to that time; ordered as the others."""
        low, high = np.searchsorted(self.columns.first, [first, last + 1]).tolist()
        return take(self.columns, columns_within(self.columns, low, high, first, last, slowest_ps))

    def longest(self, columns: Columns, caps: Caps) -> Ints:
        """Largest times that columns may take."""
        c, layers = columns, len(caps.floors)
        ranges = (c.start_low, c.start_high, c.end_low, c.end_high)
        alone = c.opens & c.closes
        key = alone
        for value in ranges:
            key = key * layers + value
        _, places, inverse = np.unique(key, return_index=True, return_inverse=True)
        tops = [
            caps.cluster((low, high), (end_low, end_high), alone=bool(single))
            for low, high, end_low, end_high, single in zip(
                *(values[places].tolist() for values in (*ranges, alone)), strict=True
            )
        ]
        return np.array(tops, dtype=np.int64)[inverse]

    def partitions(self, columns: Columns) -> list[tuple[int, ...]]:
        """Partitions of the layers of each column."""
        return self._maker.partitions(columns)

    def segments(self, columns: Columns) -> tuple[Segment, ...]:
        """Segments that consist of these columns."""
        return to_segments(columns, self.partitions(columns))

    def segment(self, columns: Columns, used: Sequence[int]) -> Segment:
        """The segment that consists of some of the columns."""
        (found,) = self.segments(take(columns, np.array(used)))
        return found
