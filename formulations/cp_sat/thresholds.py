"""Single segments by constraint programs that contain no times, for OR-tools CP-SAT.

The fewest clusters of a segment under one largest beat (`formulations.paths.network`), as in
`formulations.interval_milp.thresholds`, here in integers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from formulations.cp_sat.rows import ROW_LIMIT, import_cp_sat
from formulations.cp_sat.run import drive, size
from formulations.paths.network import Fewest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from formulations.columns.table import SegmentColumns
    from formulations.paths.network import BeatNetwork, Limits
    from formulations.request import Request


class CpThresholdProgram:
    """The program for one largest beat.

    Parameters
    ----------
    columns : SegmentColumns
    network : BeatNetwork
    chiplets : int
        Of the package.
    counts : (int, int)
        Fewest and most clusters.
    limits : list of Limits
        Rows beside.
    """

    def __init__(
        self,
        columns: SegmentColumns,
        network: BeatNetwork,
        chiplets: int,
        counts: tuple[int, int],
        limits: Sequence[Limits],
    ) -> None:
        cp = import_cp_sat()
        self._kept, self._expr, self.model = network.kept, cp.LinearExpr, cp.CpModel()
        self.x = [self.model.new_bool_var("") for _ in network.kept]
        """One per column that is left: the cluster is used."""
        self._flow(network)
        self._at_most(columns.size[network.kept], chiplets)
        self._clusters = self._expr.sum(self.x)
        self.model.add_linear_constraint(self._clusters, *counts)
        for row in limits:
            # More than the limit is as bad as any more; coarser units exclude nothing.
            values = np.minimum(row.values[network.kept], row.limit + 1)
            unit = 1 + int(values.sum()) // ROW_LIMIT
            self._at_most(values // unit, row.limit // unit)
        self.model.minimize(self._clusters)

    def _flow(self, network: BeatNetwork) -> None:
        """One path from the first node to the last."""
        model = self.model
        steps = [model.new_bool_var("") for _ in network.steps]
        leaving: list[list[Any]] = [[] for _ in range(network.goal + 1)]
        arriving: list[list[Any]] = [[] for _ in range(network.goal + 1)]
        tails = [*network.leaves.tolist(), *network.steps[:, 0].tolist()]
        heads = [*network.arrives.tolist(), *network.steps[:, 1].tolist()]
        for variable, tail, head in zip([*self.x, *steps], tails, heads, strict=True):
            leaving[tail].append(variable)
            arriving[head].append(variable)
        model.add_exactly_one(leaving[0])
        model.add_exactly_one(arriving[network.goal])
        for node in range(1, network.goal):
            model.add(self._expr.sum(arriving[node]) == self._expr.sum(leaving[node]))
            # Redundant: a path visits a node once.
            model.add_at_most_one(leaving[node])

    def _at_most(self, values: NDArray[Any], limit: int) -> None:
        self.model.add(self._expr.weighted_sum(self.x, values.tolist()) <= limit)

    def solve(self, request: Request, target: int) -> Fewest:
        """See `formulations.paths.network.FewestClusters`."""
        request.monitor.size(*size(self.model))
        found: list[list[int]] = []
        bounds = [target]
        status, solver = drive(
            request,
            self.model,
            self._used,
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

    def _used(self, value: Any) -> list[int]:
        return [int(self._kept[k]) for k, x in enumerate(self.x) if value(x)]

    def exclude(self, used: Sequence[int]) -> None:
        """Make a set of columns no solution any more."""
        where = {int(column): k for k, column in enumerate(self._kept)}
        some = self._expr.sum([self.x[where[column]] for column in used])
        self.model.add(some <= len(used) - 1)
