"""Clusters a schedule can consist of, as columns of a mathematical program.

A column fixes the layers of a cluster, its region size, and as much of what surrounds it as its
time depends on: whether it opens or closes its segment, where the segment begins and ends as far
as skip edges tell the difference, and the partition of its first layer if the cluster before pays
for it. All other partitions are chosen here, by a shortest path through the layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from formulations.columns.column import Column
from formulations.columns.kernels import (
    LAST,
    SIZE,
    TIME,
    columns_from,
    partitions_of,
    sized_tables,
)
from formulations.columns.labels import LabelledRuns
from formulations.columns.parallel import each
from formulations.formulas import segment_latency
from formulations.space import Caps, Stopped
from scope_opt.model.tables import LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from formulations.space import Space
    from scope_opt.model.tables import LatencyTables

    Ints = NDArray[np.int64]


def alone_latency_ps(tables: LatencyTables, space: Space, column: Column) -> int | None:
    """Latency of a segment of one cluster; None if it breaks a limit on energy or DRAM traffic."""
    ends = column.first, column.last
    most = space.refetch_limit_bytes(ends)
    if most is not None and column.refetched_bytes > most:
        return None
    if space.budget_fj is not None and column.energy_fj > space.budget_fj:
        return None
    beat = max(column.time_ps, int(tables.segment_dram_ps[ends]))
    beat = max(beat, space.power_beat_ps(column.energy_fj))
    return segment_latency(int(tables.load_ps[ends]), tables.samples, 1, beat)


class ColumnMaker(LabelledRuns):
    """Columns of an instance, made on demand.

    Compiled code makes them unless energies matter; those need several choices of partitions for
    the same surroundings.

    Parameters
    ----------
    tables : LatencyTables
    space : Space
    stopping : callable
        Asked once per first layer or, where energies matter, per run of layers; when it says so,
        `Stopped` is raised.
    threads : int
        For compiled code.
    """

    def __init__(
        self,
        tables: LatencyTables,
        space: Space,
        stopping: Callable[[], bool] = lambda: False,
        threads: int = 1,
    ) -> None:
        super().__init__(tables, space)
        self._stopping, self._threads = stopping, threads
        self._compiled = None if space.energy_matters else sized_tables(tables, space, self._least)

    def receive_ps(self, column: Column) -> int:
        """What the cluster before pays to hand its output to this one."""
        if column.partition is None:
            return 0
        return int(self._tables.receive_ps[column.first - 1, column.partition, column.size])

    def columns(self, caps: Caps) -> Iterator[Column]:
        """Every column that can matter, best partitions only."""
        if self._compiled is None:
            for pair in self._pairs(self._space.clusters):
                yield from self.run(*pair, caps)
        else:
            for rows in self.rows(caps):
                yield from self.objects(rows)

    def rows(self, caps: Caps) -> Iterator[Ints]:
        """The same as numbers, one array per first layer; only where energy does not matter.

        Each of shape ``(n, ENTRIES)`` with a row for each column, see
        `formulations.columns.kernels`. That takes a small part of the time and memory that objects
        take.
        """
        space = self._space
        none = np.full_like(caps.one, -1)
        one = caps.one if space.fewest <= 1 else none
        several = caps.several if space.most >= 2 else none
        yield from self._rows(one, several, space.traffic_limit_bytes)

    def objects(self, rows: Ints) -> Iterator[Column]:
        """Columns of some rows."""
        assert self._compiled is not None
        layers = self._tables.layers
        data = partitions_of(self._compiled, rows).tobytes()
        # Columns share their partitions, which are most of the memory they take.
        shared: dict[bytes, tuple[int, ...]] = {}
        for n, row in enumerate(rows.tolist()):
            first, last, size, head, opens, closes, a, b, c, d, time, sending, refetched, *_ = row
            key = data[n * layers : n * layers + last - first + 1]
            partitions = shared.get(key)
            if partitions is None:
                partitions = shared[key] = tuple(key)
            yield Column(
                first,
                last,
                size,
                None if head < 0 else head,
                opens == 1,
                closes == 1,
                (a, b),
                (c, d),
                time,
                None if sending < 0 else sending,
                0,
                refetched,
                partitions,
            )

    def segments_of_one(self) -> dict[tuple[int, int], Column]:
        """Fastest single-cluster segment of every run of layers that has one."""
        found: dict[tuple[int, int], Column] = {}
        for column in self._alone(Caps(self._tables, self._space, None)):
            pair = (column.first, column.last)
            best = found.get(pair)
            if best is None or (column.time_ps, -column.size) < (best.time_ps, -best.size):
                found[pair] = column
        return found

    def _alone(self, caps: Caps) -> Iterator[Column]:
        """Columns of whole segments, the fastest of each run of layers among them."""
        space = self._space
        if space.fewest > 1:
            return
        if self._compiled is None:
            for pair in self._pairs(space.clusters & space.segments):
                yield from self.alone(*pair, caps)
            return
        for rows in self._rows(caps.one, np.full_like(caps.one, -1), None):
            ordered = rows[np.lexsort((-rows[:, SIZE], rows[:, TIME], rows[:, LAST]))]
            yield from self.objects(ordered[np.diff(ordered[:, LAST], prepend=-1) > 0])

    def _rows(self, one: Ints, several: Ints, refetch_limit: int | None) -> Iterator[Ints]:
        sized, limit = self._compiled, LIMIT if refetch_limit is None else refetch_limit
        assert sized is not None

        def work(first: int) -> Ints:
            return columns_from(sized, first, one, several, limit)

        yield from each(work, self._tables.layers, self._threads, self._stopping)

    def _pairs(self, wanted: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
        for first, last in np.argwhere(wanted).tolist():
            if self._stopping():
                raise Stopped
            yield first, last
