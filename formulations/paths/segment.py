"""Schedules and quick bounds of single segments, by shortest paths over their columns.

They decide which programs have to be solved, so that these are few. A schedule is one wherever it
comes from; the bound leaves out what handing over adds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from formulations.formulas import longest_beat, segment_latency
from formulations.paths.kernels import coverable, fastest_within
from formulations.paths.network import lightest

if TYPE_CHECKING:
    from collections.abc import Callable

    from formulations.columns.columns import Columns
    from formulations.columns.table import ColumnTable
    from formulations.request import Request


class Attempt(NamedTuple):
    """Columns of a schedule, and its latency unless energy or DRAM traffic makes it longer."""

    latency_ps: int
    used: list[int]


def quick_bound(
    request: Request, table: ColumnTable, ends: tuple[int, int], low_ps: int, top_ps: int
) -> int:
    """Lower bound on the latency of a segment, of at least ``low_ps``, at most ``top_ps + 1``.

    The table has all columns up to that latency.
    """
    tables, space = request.tables, request.space
    timing = int(tables.load_ps[ends]), tables.samples
    slowest = longest_beat(top_ps, timing[0], tables.samples, space.fewest)
    return coverable(
        fastest_within(table.by_time, slowest, *ends),
        ends,
        tables.chiplets,
        counts=(space.fewest, space.most),
        timing=timing,
        window=(low_ps, top_ps),
        steps=request.tuning.halvings,
    )


class SegmentSearch:
    """One segment, given all the columns that it can have up to some latency."""

    def __init__(self, request: Request, columns: Columns, ends: tuple[int, int]) -> None:
        tables, space = request.tables, request.space
        self._columns, self._ends, self._precision = columns, ends, request.tuning.precision
        self._chiplets, self._samples = tables.chiplets, tables.samples
        self._load, self._dram = int(tables.load_ps[ends]), int(tables.segment_dram_ps[ends])
        self._counts = np.arange(space.fewest, min(space.most, ends[1] - ends[0] + 1) + 1)
        self._refuted = np.full(len(self._counts), self._dram - 1)
        """Longest beat that is known to be too short, by number of clusters"""

    def schedule(
        self, low_ps: int, top_ps: int, stopping: Callable[[], bool] = lambda: False
    ) -> list[int] | None:
        """Columns of a fast schedule within a range of latencies; None if there is none.

        Only chiplets and the number of clusters limit it.
        """
        best = self._attempt(top_ps)
        if best is None:
            return None
        top = best.latency_ps - 1
        while top - low_ps > top // self._precision and not stopping():
            middle = (low_ps + top) // 2
            found = self._attempt(middle)
            if found is None:
                low_ps = middle + 1
            else:
                best, top = found, found.latency_ps - 1
        return best.used

    def _attempt(self, latency_ps: int) -> Attempt | None:
        """A schedule of at most that latency."""
        beats = longest_beat(latency_ps, self._load, self._samples, self._counts)
        while len(still := np.flatnonzero(beats > self._refuted)):
            first, last = int(still[0]), int(still[-1])
            beat, n, most = int(beats[first]), int(self._counts[first]), int(self._counts[last])
            used = lightest(self._columns, self._ends, beat, self._chiplets, (n, most))
            needed = len(used) if used else most + 1
            # More clusters make it longer; whether they fit the shorter beat is the next question.
            short = self._counts < needed
            self._refuted[short] = np.maximum(self._refuted[short], beat)
            if needed == n:
                return Attempt(self._latency(used), used)
        return None

    def _latency(self, used: list[int]) -> int:
        c = self._columns
        handing = c.sending_ps[used[:-1]] + c.receive_ps[used[1:]]
        slowest = max(int(c.time_ps[used].max()), int(handing.max(initial=0)), self._dram)
        return segment_latency(self._load, self._samples, len(used), slowest)
