"""Least energy of a network as one segment, within a bound on its latency.

Programs for one largest beat as in `thresholds`, with energy as objective.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from formulations.columns.table import ColumnTable
from formulations.formulas import longest_beat
from formulations.highs import Highs
from formulations.interval_milp.thresholds import ThresholdProgram
from formulations.paths.network import COEFFICIENT, BeatNetwork, side_rows

if TYPE_CHECKING:
    from formulations.request import Request

RELATIVE_ERROR = 1e-7
"""Bounds of HiGHS may be too high by this part, and by as many units of energy."""


class Counts(NamedTuple):
    """A range of cluster counts, and the least that its schedules can spend."""

    least_fj: int
    """Of one sample, beyond what all schedules spend."""
    low: int
    high: int


class EnergySearch:
    """Ranges of cluster counts, each under the beat that the smallest of them allows.

    The best schedule for a range may be too slow, since its clusters are more; then the range is
    split. Otherwise it is excluded and the next best one is asked for, until the bound, lowered by
    what HiGHS may be wrong, reaches the best schedule known: that proves it exactly.
    """

    def __init__(self, request: Request, latency_ps: int) -> None:
        self._request, self._tables = request, request.tables
        energy, self._ends = self._tables.energy, (0, self._tables.layers - 1)
        if energy is None:
            raise ValueError("tables without energy")
        with request.monitor.timed("build"):
            self._table = ColumnTable(request, latency_ps)
            self._columns = self._table.of_segment(*self._ends)
        base = energy.floor_fj
        sums = np.concatenate([[0], np.cumsum(base)])
        self._base_fj = int(sums[-1])
        """What every schedule spends on a sample"""
        columns = self._columns
        self._spent = columns.energy_fj - (sums[columns.last + 1] - sums[columns.first])
        self._unit = max(1.0, float(self._spent.max(initial=0)) / COEFFICIENT)
        self._loading_fj = self._tables.loading_fj
        self._latency_ps, self._load = latency_ps, int(self._tables.load_ps[self._ends])

    def run(self) -> bool:
        """Search; False if more schedules lie within the rounding than can be told apart."""
        request, monitor, space = self._request, self._request.monitor, self._request.space
        ranges = [Counts(0, space.fewest, min(space.most, self._tables.layers))]
        while ranges and not self._reached(ranges[0].least_fj):
            counts = heappop(ranges)
            self._publish(counts.least_fj)
            if monitor.stopping:
                return True
            parts = self._solve(counts)
            if parts is None:
                return False
            for part in parts:
                heappush(ranges, part)
        if monitor.objective is None:
            request.prove_infeasible("simple bound")
        else:
            request.raise_bound(monitor.objective, "simple bound")
        return True

    def _total(self, least_fj: int) -> int:
        per_sample = least_fj + self._base_fj
        return int(self._tables.samples * per_sample + self._loading_fj)

    def _reached(self, least_fj: int) -> bool:
        best = self._request.monitor.objective
        return best is not None and self._total(least_fj) >= best

    def _publish(self, least_fj: int) -> None:
        best, bound = self._request.monitor.objective, self._total(least_fj)
        self._request.raise_bound(bound if best is None else min(bound, best), "simple bound")

    def _solve(self, counts: Counts) -> list[Counts] | None:
        """Parts of the range that remain, none if it is settled; None for no more attempts."""
        request, tables = self._request, self._tables
        monitor, options = request.monitor, request.options
        least, low, high = counts
        if low > high:
            return []
        beat = longest_beat(self._latency_ps, self._load, tables.samples, low)
        limits = side_rows(request, self._columns, self._ends, beat)
        too_fast = beat < int(tables.segment_dram_ps[self._ends])
        if too_fast or any(row.limit < 0 for row in limits):
            return []
        monitor.report(f"energy within beat {beat} ps, {low} to {high} clusters", 0.0)
        with monitor.timed("build"):
            network = BeatNetwork(
                self._columns,
                self._ends,
                beat,
                tables.chiplets,
                high,
                [*(row.values for row in limits), self._spent],
            )
            cost = self._spent / self._unit
            program = ThresholdProgram(
                self._columns, network, tables.chiplets, (low, high), limits, cost
            )
        for _ in range(request.tuning.rejections):
            highs = Highs(program.model, monitor)
            outcome = highs.solve(
                monitor,
                threads=request.threads,
                seed=options.seed or 0,
                log=options.log,
                presolve=False,
            )
            if outcome.status == "infeasible":
                monitor.credit(highs.prover)
                return []
            if outcome.bound is not None:
                monitor.credit(highs.prover)
                lowered = outcome.bound - RELATIVE_ERROR * (abs(outcome.bound) + COEFFICIENT)
                least = max(least, int(np.ceil(lowered * self._unit)))
            if self._reached(least):
                return []
            if outcome.values is None or outcome.status != "optimal":
                return [Counts(least, low, high)]
            used = program.used(highs, outcome.values)
            violations = request.offer([self._table.segment(self._columns, used)]).violations
            if violations and len(used) > low:
                return [Counts(least, low, len(used) - 1), Counts(least, len(used), high)]
            if self._reached(least):
                return []
            program.exclude(used)
        return None
