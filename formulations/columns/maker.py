"""Clusters a schedule can consist of, as columns of a mathematical program.

A column fixes the layers of a cluster, its region size, and as much of what surrounds it as its
time depends on: whether it opens or closes its segment, where the segment begins and ends as far
as skip edges tell the difference, and the partition of its first layer if the cluster before pays
for it. All other partitions are chosen here, by a shortest path through the layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from formulations.arrays import joined, take
from formulations.columns.choices import no_choices
from formulations.columns.columns import no_columns
from formulations.columns.kernels import columns_from
from formulations.columns.labels import no_labels, partitions_of
from formulations.columns.parallel import each
from formulations.columns.sized import sized_tables
from formulations.formulas import segment_latency
from formulations.space import Caps
from scope_opt.model.tables import LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from formulations.columns.columns import Columns
    from formulations.space import Space
    from scope_opt.model.tables import LatencyTables

    Ints = NDArray[np.int64]

ROOM = 1024
"""Columns that there is room for at first."""


def alone_latencies_ps(tables: LatencyTables, space: Space, columns: Columns) -> list[int]:
    """Latencies of segments of one cluster; `LIMIT` where one breaks a limit, or takes that long.

    The limits are those on energy and on DRAM traffic.
    """
    found = []
    numbers = (columns.time_ps, columns.energy_fj, columns.refetched_bytes)
    rows = zip(columns.runs, *(values.tolist() for values in numbers), strict=True)
    for ends, time_ps, energy_fj, refetched_bytes in rows:
        most = space.refetch_limit_bytes(ends)
        too_much = space.budget_fj is not None and energy_fj > space.budget_fj
        if too_much or (most is not None and refetched_bytes > most):
            found.append(LIMIT)
            continue
        beat = max(time_ps, int(tables.segment_dram_ps[ends]), space.power_beat_ps(energy_fj))
        latency = segment_latency(int(tables.load_ps[ends]), tables.samples, 1, beat)
        found.append(min(latency, LIMIT))
    return found


class ColumnMaker:
    """Columns of an instance, made on demand.

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
        self._tables, self._space = tables, space
        self._stopping, self._threads = stopping, threads
        self._sized = sized_tables(tables, space)

    def columns(self, caps: Caps) -> Columns:
        """Every column that can matter, best partitions only, ordered by first layer."""
        space = self._space
        none = np.full_like(caps.one, -1)
        one = caps.one if space.fewest <= 1 else none
        several = caps.several if space.most >= 2 else none
        return joined(self._made(one, several, space.traffic_limit_bytes))

    def alone(self, caps: Caps) -> Columns:
        """The columns that are a segment by themselves."""
        return joined([no_columns(), *self._alone(caps)])

    def _alone(self, caps: Caps) -> Iterator[Columns]:
        if self._space.fewest <= 1:
            yield from self._made(caps.one, np.full_like(caps.one, -1), None)

    def fastest_alone(self) -> Columns:
        """Of the columns that are a segment by themselves, the fastest of every run of layers."""
        found = [no_columns()]
        for columns in self._alone(Caps(self._tables, self._space, None)):
            order = np.lexsort((-columns.size, columns.time_ps, columns.last))
            best = np.diff(columns.last[order], prepend=-1) > 0
            found.append(take(columns, order[best]))
        return joined(found)

    def partitions(self, columns: Columns) -> list[tuple[int, ...]]:
        """Partitions of the layers of each column; equal ones are one object."""
        c = columns
        order = np.lexsort((-c.time_ps, c.made_for, c.size, c.last, c.first))
        data = partitions_of(self._sized, columns, order, no_labels())
        shared: dict[bytes, tuple[int, ...]] = {}
        found = []
        for row, length in zip(data, (c.last - c.first + 1).tolist(), strict=True):
            key = row[:length].tobytes()
            found.append(shared.setdefault(key, tuple(key)))
        return found

    def _made(self, one: Ints, several: Ints, refetch_limit: int | None) -> Iterator[Columns]:
        layers, limit = self._tables.layers, LIMIT if refetch_limit is None else refetch_limit
        # Labels can be many.
        runs = [(first, (first, layers - 1)) for first in range(layers)]
        if self._sized.energy_matters:
            pairs = np.argwhere(self._space.clusters).tolist()
            runs = [(first, (last, last)) for first, last in pairs]

        def work(k: int) -> Columns:
            first, lasts = runs[k]
            room = no_columns(ROOM), no_labels(), no_choices()
            count, found = columns_from(self._sized, first, lasts, one, several, limit, *room)
            return take(found, slice(count))

        return each(work, len(runs), self._threads, self._stopping)
