"""Columns as arrays: all that schedules up to a ceiling can have, and those of single segments."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from formulations.columns.kernels import (
    END,
    ENTRIES,
    FIRST,
    HEAD,
    LAST,
    OPENS,
    REFETCHED,
    SENDING,
    SIZE,
    TIME,
    columns_within,
)
from formulations.columns.maker import ColumnMaker
from formulations.space import Caps
from scope_opt.model.tables import LIMIT
from scope_opt.schedule.schedule import make_segment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from formulations.columns.column import Column
    from formulations.request import Request
    from scope_opt.schedule.schedule import Segment

    Ints = NDArray[np.int64]


class ColumnTable:
    """Columns that schedules up to a ceiling can consist of, as arrays.

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
        self.complete_ps: Ints = np.maximum(self.caps.all_segments(2), self.caps.floors - 1)
        """(L, L) time up to which all clusters of several of a segment are here"""
        # As numbers where that is possible: objects are made for the few columns that are used.
        self._columns: list[Column] = []
        self._rows = np.zeros((0, ENTRIES), dtype=np.int64)
        if request.space.energy_matters:
            self._columns = list(self._maker.columns(self.caps))
            self.numbers = self._from_objects()
        else:
            self._rows = np.concatenate([self._rows, *self._maker.rows(self.caps)])
            self.numbers = self._from_rows(tables.receive_ps)
        """(14, n), ordered by first layer and receiving: see `SegmentColumns`"""
        order = np.lexsort((self.numbers[5], self.numbers[0]))
        self.numbers = np.ascontiguousarray(self.numbers[:, order])
        if self._columns:
            self._columns = [self._columns[k] for k in order.tolist()]
        else:
            self._rows = self._rows[order]
        order = np.argsort(self.numbers[3], kind="stable")
        self.times: Ints = self.numbers[3, order]
        """(n,) in ascending order"""
        self.by_time = self.numbers[[0, 1, 2, 8, 9, 10, 11, 12, 13]].astype(np.int32)[:, order]
        """(9, n) what `formulations.paths.kernels.fastest_within` needs, in the order of times"""

    def column(self, index: int) -> Column:
        """One of the columns."""
        return self.objects(np.array([index]))[0]

    def contains(self, first: int, last: int, latency_ps: int | None) -> bool:
        """Whether all columns are here that a segment can have within that latency."""
        if self.ceiling_ps is None or latency_ps is None:
            return self.ceiling_ps is None
        return latency_ps + int(self.caps.around[first, last]) <= self.ceiling_ps

    def of_segment(self, first: int, last: int, slowest_ps: int = LIMIT) -> SegmentColumns:
        """All columns that a segment can have, up to that time."""
        # Columns are sorted by their first layer.
        low, high = np.searchsorted(self.numbers[0], [first, last + 1]).tolist()
        index = columns_within(self.numbers, low, high, first, last, slowest_ps)
        return SegmentColumns(self, (first, last), index)

    def covers(self, index: Ints | None = None) -> tuple[Ints, ...]:
        """All columns, or some, as `formulations.paths.floors.Covers`."""
        chosen = self.numbers if index is None else self.numbers[:, index]
        first, last, size, time, _, _, _, _, opens, closes, low, high, *_ = chosen
        return time, first, last, size, 2 * opens + closes, low, high

    def longest(self, index: Ints, caps: Caps) -> Ints:
        """Largest times that some of the columns may take."""
        layers = len(caps.floors)
        opens, closes, *around = self.numbers[8:, index]
        alone = opens & closes
        key = alone
        for value in around:
            key = key * layers + value
        _, places, inverse = np.unique(key, return_index=True, return_inverse=True)
        tops = [
            caps.cluster((a, b), (c, d), alone=bool(single))
            for a, b, c, d, single in zip(
                *(values[places].tolist() for values in (*around, alone)), strict=True
            )
        ]
        return np.array(tops, dtype=np.int64)[inverse]

    def objects(self, index: Ints) -> list[Column]:
        """Some of the columns."""
        if self._columns:
            return [self._columns[k] for k in index.tolist()]
        return list(self._maker.objects(self._rows[index]))

    def _from_objects(self) -> Ints:
        numbers = [
            (
                *(c.first, c.last, c.size, c.time_ps),
                -LIMIT if c.sending_ps is None else c.sending_ps,
                self._maker.receive_ps(c),
                *(c.energy_fj, c.refetched_bytes, c.opens, c.closes, *c.starts, *c.ends),
            )
            for c in self._columns
        ]
        return np.array(numbers, dtype=np.int64).reshape(len(numbers), 14).T

    def _from_rows(self, receive_ps: Ints) -> Ints:
        rows = self._rows.T
        first, head, sending = rows[FIRST], rows[HEAD], rows[SENDING]
        received = np.where(head < 0, 0, receive_ps[first - 1, head, rows[SIZE]])
        known = (first, rows[LAST], rows[SIZE], rows[TIME], np.where(sending < 0, -LIMIT, sending))
        rest = (received, np.zeros_like(first), rows[REFETCHED], *rows[OPENS : END + 2])
        return np.stack([*known, *rest])


class SegmentColumns:
    """Those of the columns that a segment can have, by the data that its programs need."""

    def __init__(
        self,
        table: ColumnTable,
        ends: tuple[int, int],
        index: Ints,
    ) -> None:
        """``index``: which columns of the table; `ColumnTable.of_segment` has them all."""
        numbers = table.numbers
        self._table, self._index, self._ends = table, index, ends
        self.first, self.last, self.size, self.time_ps = numbers[:4, index]
        self.sending_ps, self.receive_ps = numbers[4:6, index]
        self.unlimited = table.ceiling_ps is None
        self.complete_ps = LIMIT - 1 if self.unlimited else int(table.complete_ps[ends])
        """All clusters that take no longer are here, unless they are alone in the segment."""

    @cached_property
    def energy_fj(self) -> Ints:
        """Of one sample; 0 if it does not matter."""
        energies: Ints = self._table.numbers[6, self._index]
        return energies

    @cached_property
    def refetched_bytes(self) -> Ints:
        """Weights fetched again for every sample."""
        weights: Ints = self._table.numbers[7, self._index]
        return weights

    def only(self, some: Ints) -> SegmentColumns:
        """Some of the columns, the others being of no use."""
        return SegmentColumns(self._table, self._ends, self._index[np.sort(some)])

    def segment(self, used: Sequence[int]) -> Segment:
        """The segment that consists of these columns."""
        ordered = sorted(self._table.column(int(self._index[k])) for k in used)
        parts = [(c.last - c.first + 1, c.size, c.partitions) for c in ordered]
        return make_segment(ordered[0].first, parts)
