"""The network program in CP-SAT, in picoseconds: what is left in the end is proved in integers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from formulations.cp_sat.rows import import_cp_sat
from formulations.cp_sat.run import drive, size
from formulations.space import Stopped
from scope_opt.model.tables import LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from formulations.network_milp.rows import Program, Run
    from formulations.request import Request

    Ints = NDArray[np.int64]


TOTAL = 2**61
"""Costs add up to less."""


class InCpSat:
    """A program as CP-SAT has it.

    Parameters
    ----------
    program : Program
    ceiling_ps : int
        Slower solutions are left out.
    runs : iterable of Run
        Rows besides those that integer solutions need.
    """

    def __init__(self, program: Program, ceiling_ps: int, runs: Iterable[Run]) -> None:
        cp = import_cp_sat()
        self._program = program
        model = self._model = cp.CpModel()
        self._variables = [model.new_bool_var("") for _ in program.cost]
        expr = self._expr = cp.LinearExpr
        order = np.argsort(program.rows, kind="stable")
        row = program.rows[order]
        bounds = np.searchsorted(row, np.arange(len(program.lower) + 1)).tolist()
        columns, values = program.columns[order].tolist(), program.values[order].tolist()
        for number, (low, high) in enumerate(
            zip(program.lower.tolist(), program.upper.tolist(), strict=True)
        ):
            part = slice(bounds[number], bounds[number + 1])
            if part.start == part.stop and low <= 0 <= high:
                continue
            total = expr.weighted_sum([self._variables[j] for j in columns[part]], values[part])
            model.add_linear_constraint(total, max(low, -LIMIT), min(high, LIMIT))
        for run in sorted(program.whole_runs | set(runs)):
            for copy in range(len(program.copies)):
                self._run(copy, run)
        # Sums have to fit 64 bits; costs in coarser units, rounded down, are a relaxation.
        self.unit_ps = 1 + sum(program.cost.tolist()) // TOTAL
        total = expr.weighted_sum(self._variables, (program.cost // self.unit_ps).tolist())
        model.add_linear_constraint(total, 0, ceiling_ps // self.unit_ps)
        model.minimize(total)

    def _run(self, number: int, run: Run) -> None:
        program = self._program
        copy, at = program.copies[number], program.variables[number]
        resource = program.resources[run.resource]
        low, high = np.searchsorted(
            program.candidates.first[copy.clusters], [run.first, run.last + 1]
        ).tolist()
        use = resource.use[copy.clusters[low:high]].tolist()
        if sum(use) <= resource.supply:
            return
        a, b = copy.segments.T
        touching = np.flatnonzero((a <= run.last) & (b >= run.first)) + at.segments
        self._model.add_linear_constraint(
            self._expr.weighted_sum(
                [
                    *self._variables[at.clusters + low : at.clusters + high],
                    *(self._variables[j] for j in touching.tolist()),
                ],
                [*use, *[-resource.supply] * len(touching)],
            ),
            -LIMIT,
            0,
        )

    def solve(
        self,
        request: Request,
        on_solution: Callable[[Ints], object],
        on_bound: Callable[[int], object],
    ) -> Ints | None:
        """An optimal solution, or None if there is none up to the ceiling, which CP-SAT proves.

        Raises
        ------
        Stopped
            If the monitor wants to stop before that.
        """
        request.monitor.size(*size(self._model))
        cp = import_cp_sat()
        status, solver = drive(
            request,
            self._model,
            lambda value: np.array([value(x) for x in self._variables], dtype=np.int64),
            on_solution=on_solution,
            on_bound=lambda bound: on_bound(bound * self.unit_ps),
        )
        if status == cp.INFEASIBLE:
            return None
        if status == cp.OPTIMAL:
            best = np.array(solver.response_proto.solution, dtype=np.int64)[: len(self._variables)]
            on_bound(int(best @ (self._program.cost // self.unit_ps)) * self.unit_ps)
            return best
        if request.monitor.stopping:
            raise Stopped
        raise RuntimeError("CP-SAT ended without a proof")
