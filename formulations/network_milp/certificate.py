"""Bounds that hold in integers, from the duals of a relaxation.

Any multipliers of rows give a lower bound on every solution, by adding up what each variable costs
less what the rows pay for it. HiGHS' duals, rounded to integers, make a good one, and integers add
up exactly, so that no tolerance enters (after Neumaier and Shcherbina, *Safe bounds in linear and
mixed-integer linear programming*, 2004).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from scope_opt.model.tables import LIMIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from formulations.network_milp.copies import Beats, Copy
    from formulations.network_milp.rows import Program, Run

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

FINEST = 10
"""Multipliers are integers in units of ``2^-FINEST`` ps, or coarser so that sums fit 64 bits."""


def whole_multipliers(duals: Floats, lower: Ints, upper: Ints) -> Ints:
    """Duals as integers, 0 where a row has not the side that its dual is of."""
    multipliers = np.rint(duals).astype(np.int64)
    multipliers[(multipliers > 0) & (lower <= -LIMIT)] = 0
    multipliers[(multipliers < 0) & (upper >= LIMIT)] = 0
    return multipliers


class Certificate:
    """What multipliers prove of a program.

    Parameters
    ----------
    program : Program
    duals : array of float
        In ps, by row: positive where the lower side holds a solution back, negative where the
        upper.
    runs : sequence of dict from Run to float
        By copy: multipliers in ps of runs, at least 0.
    """

    def __init__(self, program: Program, duals: Floats, runs: Sequence[dict[Run, float]]) -> None:
        self._program = program
        self.shift = self._finest(duals, runs)
        unit = 2.0**self.shift
        multipliers = whole_multipliers(np.asarray(duals) * unit, program.lower, program.upper)
        paid = np.zeros(len(program.cost), dtype=np.int64)
        np.add.at(paid, program.columns, program.values * multipliers[program.rows])
        self.reduced: Ints = self._scaled(program.cost) - paid
        """Reduced costs by variable, in units of ``2^-shift`` ps"""
        self.prices: list[list[Ints]] = []
        """By copy and resource: ``(L,)`` what a unit costs a cluster that begins there"""
        for copy, at, some in zip(program.copies, program.variables, runs, strict=True):
            self.prices.append(self._runs(copy, at.segments, at.clusters, some, unit))
        sides = np.where(multipliers > 0, program.lower, program.upper)
        held = multipliers != 0
        # Python's integers: sums may be long.
        total = sum((multipliers[held] * sides[held]).tolist())
        total += sum(self.reduced[self.reduced < 0].tolist())
        self.total = total
        self.bound_ps = -(-total >> self.shift) if self.shift >= 0 else total << -self.shift
        """No solution takes less; latencies are whole numbers."""

    def _scaled(self, times_ps: Any) -> Any:
        """Times in the unit of this certificate, rounded down where that is coarser."""
        return times_ps << self.shift if self.shift >= 0 else times_ps >> -self.shift

    def _finest(self, duals: Floats, runs: Sequence[dict[Run, float]]) -> int:
        """As fine a unit as 64 bits allow, for sums over columns of at most four rows and runs."""
        program = self._program
        largest = float(np.abs(duals).max(initial=0.0)) + float(program.cost.max(initial=0))
        supplies = max(resource.supply for resource in program.resources)
        largest = 8.0 * largest + 2.0 * supplies * sum(sum(some.values()) for some in runs)
        return int(min(FINEST, 61 - np.ceil(np.log2(max(2.0, largest)))))

    def _runs(
        self, copy: Copy, segments: int, clusters: int, some: dict[Run, float], unit: float
    ) -> list[Ints]:
        """Charge what runs cost clusters, and pay segments for what they supply."""
        program = self._program
        candidates, layers = program.candidates, program.candidates.layers
        first = candidates.first[copy.clusters]
        a, b = copy.segments.T
        prices = []
        for number, resource in enumerate(program.resources):
            begin, end = np.zeros(layers + 1, dtype=np.int64), np.zeros(layers + 1, dtype=np.int64)
            for run, multiplier in some.items():
                if run.resource == number:
                    charged = max(0, round(multiplier * unit))
                    begin[run.first] += charged
                    end[run.last + 1] += charged
            begun, ended = np.cumsum(begin), np.cumsum(end)
            price = (begun - ended)[:-1]
            use = resource.use[copy.clusters]
            self.reduced[clusters : clusters + len(first)] += price[first] * use
            # A segment supplies every run that has a layer in common with it.
            touched = begun[b] - ended[a]
            self.reduced[segments : segments + len(a)] -= resource.supply * touched
            prices.append(price)
        return prices

    def remaining(self, ceiling_ps: int) -> list[Beats]:
        """What schedules within a ceiling can still consist of, by copy."""
        program, left = self._program, []
        c = program.candidates
        slack = self._scaled(ceiling_ps) - self.total
        for copy, at, prices in zip(program.copies, program.variables, self.prices, strict=True):
            room = slack - np.maximum(0, self.reduced[at.segments : at.clusters])
            segments = np.zeros((c.layers, c.layers), dtype=np.bool_)
            some = copy.segments[room >= 0]
            segments[some[:, 0], some[:, 1]] = True
            # Larger regions of the same kind pay for their further chiplets.
            room = slack - np.maximum(0, self.reduced[at.clusters : at.steps])
            k, price = copy.clusters, prices[0][c.first[copy.clusters]]
            further = np.where(price > 0, room // np.maximum(1, price), c.chiplets)
            top = np.where(room >= 0, c.size[k] + np.minimum(further, c.chiplets), 0)
            largest = np.zeros(c.kinds, dtype=np.int64)
            np.maximum.at(largest, c.kind[k], top)
            if len(some):
                largest = np.minimum(largest, copy.beats.largest)
                left.append(replace(copy.beats, segments=segments, largest=largest))
        return left
