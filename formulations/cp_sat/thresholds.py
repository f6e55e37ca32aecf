"""Single segments by constraint programs that contain no times, for OR-tools CP-SAT.

The fewest clusters of a segment under one largest beat: the rows of `formulations.program.path`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from formulations.cp_sat.rows import ROW_LIMIT, import_cp_sat
from formulations.cp_sat.run import drive, size
from formulations.paths.network import Fewest
from formulations.program.path import PathProgram

if TYPE_CHECKING:
    from collections.abc import Sequence

    from formulations.columns.columns import Columns
    from formulations.paths.network import BeatNetwork, Limits
    from formulations.program.path import Sum
    from formulations.request import Request


class CpThresholdProgram:
    """The program for one largest beat; the parameters are those of `PathProgram`."""

    def __init__(
        self,
        columns: Columns,
        network: BeatNetwork,
        chiplets: int,
        counts: tuple[int, int],
        limits: Sequence[Limits],
    ) -> None:
        cp = import_cp_sat()
        self._expr, self.model = cp.LinearExpr, cp.CpModel()
        self._program = program = PathProgram(columns, network, chiplets, counts, limits)
        arcs = [self.model.new_bool_var("") for _ in program.tails]
        self.x = arcs[: len(program.columns)]
        """One per column that is left: the cluster is used."""
        self._flow(arcs)
        self._sum(program.chiplets)
        clusters = self._sum(program.clusters)
        for row in program.limits:
            # More than the limit is as bad as any more; coarser units exclude nothing.
            values = np.minimum(row.values, row.high + 1)
            unit = 1 + int(values.sum()) // ROW_LIMIT
            self._sum(row._replace(values=values // unit, high=row.high // unit))
        self.model.minimize(clusters)

    def _flow(self, arcs: Sequence[Any]) -> None:
        """One path from the first node to the last."""
        model, goal = self.model, self._program.goal
        leaving: list[list[Any]] = [[] for _ in range(goal + 1)]
        arriving: list[list[Any]] = [[] for _ in range(goal + 1)]
        for arc, tail, head in zip(arcs, self._program.tails, self._program.heads, strict=True):
            leaving[tail].append(arc)
            arriving[head].append(arc)
        model.add_exactly_one(leaving[0])
        model.add_exactly_one(arriving[goal])
        for node in range(1, goal):
            model.add(self._expr.sum(arriving[node]) == self._expr.sum(leaving[node]))
            # Redundant: a path visits a node once.
            model.add_at_most_one(leaving[node])

    def _sum(self, row: Sum) -> Any:
        total = self._expr.weighted_sum(self.x, row.values.tolist())
        if row.low is None:
            self.model.add(total <= row.high)
        else:
            self.model.add_linear_constraint(total, row.low, row.high)
        return total

    def solve(self, request: Request, target: int) -> Fewest:
        """See `formulations.paths.network.FewestClusters`."""
        request.monitor.size(*size(self.model))
        found: list[list[int]] = []
        bounds = [target]
        status, solver = drive(
            request,
            self.model,
            lambda value: self._program.used(lambda k: value(self.x[k])),
            on_solution=found.append,
            on_bound=bounds.append,
            known=lambda clusters: clusters <= target,
            workers=1 if len(self.x) <= request.tuning.one_worker else None,
        )
        cp = import_cp_sat()
        if status == cp.INFEASIBLE:
            request.monitor.credit("cp-sat")
            return Fewest(None, None)
        if status == cp.OPTIMAL:
            bounds.append(round(solver.objective_value))
        elif not request.monitor.stopping:
            raise RuntimeError("CP-SAT ended without a proof")
        if max(bounds) > target:
            request.monitor.credit("cp-sat")
        return Fewest(max(bounds), found[-1] if found else None)

    def exclude(self, used: Sequence[int]) -> None:
        """Make a set of columns no solution any more."""
        some, most = self._program.exclusion(used)
        self.model.add(self._expr.sum([self.x[k] for k in some]) <= most)
