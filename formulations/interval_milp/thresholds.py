"""Single segments by integer programs that contain no times.

Whether a schedule of latency at most ``Z`` exists is asked for one largest beat ``T`` after the
other (`paths.network`). What is left of a segment under a given ``T`` is a program with
small integers, so that the floats in which HiGHS computes do no harm: the fewest clusters that a
beat of ``T`` needs, a bound rounded up, are exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from formulations.highs import Highs, import_pyomo
from formulations.paths.network import COEFFICIENT, Fewest
from formulations.program.path import PathProgram

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from formulations.columns.columns import Columns
    from formulations.paths.network import BeatNetwork, Limits
    from formulations.program.path import Sum
    from formulations.request import Request

WHOLE_ERROR = 1e-4
"""Bounds on whole numbers may be this much too high before they are rounded up."""


class ThresholdProgram:
    """The program for one largest beat, in Pyomo.

    Parameters
    ----------
    columns, network, chiplets, counts, limits
        See `PathProgram`.
    cost : array, optional
        What a column costs; 1 each, which counts clusters, if not given.
    """

    def __init__(
        self,
        columns: Columns,
        network: BeatNetwork,
        chiplets: int,
        counts: tuple[int, int],
        limits: Sequence[Limits],
        cost: NDArray[Any] | None = None,
    ) -> None:
        self._program = program = PathProgram(columns, network, chiplets, counts, limits)
        pyo = self._pyo = import_pyomo()
        self.model = model = pyo.ConcreteModel()
        model.x = pyo.Var(range(len(program.columns)), domain=pyo.Binary)
        steps = len(program.tails) - len(program.columns)
        model.level = pyo.Var(range(steps), bounds=(0, None))
        self.x = list(model.x.values())
        self._flow([*self.x, *model.level.values()])
        model.chiplets = pyo.Constraint(expr=self._sum(program.chiplets))
        model.clusters = pyo.Constraint(expr=self._sum(program.clusters))
        model.limits = pyo.ConstraintList()
        for row in program.limits:
            # Smaller coefficients that exclude nothing the row allows; their sums are whole
            # numbers, so that floats cannot exclude what is allowed.
            unit = max(1, row.high // COEFFICIENT)
            values = self._weighted(row.values // unit)
            model.limits.add((None, values, row.high // unit + 0.5))
        model.excluded = pyo.ConstraintList()
        costs = program.clusters.values if cost is None else cost[program.columns]
        model.objective = pyo.Objective(expr=self._weighted(costs))

    def _flow(self, arcs: Sequence[Any]) -> None:
        """One path from the first node to the last."""
        program = self._program
        rows: list[tuple[list[Any], list[float]]] = [([], []) for _ in range(program.goal + 1)]
        for arc, tail, head in zip(arcs, program.tails, program.heads, strict=True):
            for node, sign in ((tail, -1.0), (head, 1.0)):
                rows[node][0].append(arc)
                rows[node][1].append(sign)
        self.model.flow = self._pyo.ConstraintList()
        for node, (variables, signs) in enumerate(rows):
            balance = -1 if node == 0 else int(node == program.goal)
            self.model.flow.add((_linear(variables, signs), balance))

    def _sum(self, row: Sum) -> tuple[int | None, Any, int]:
        return row.low, self._weighted(row.values), row.high

    def _weighted(self, values: NDArray[Any]) -> Any:
        some = np.flatnonzero(values)
        return _linear([self.x[k] for k in some.tolist()], values[some].astype(float).tolist())

    def used(self, highs: Highs, values: NDArray[np.float64]) -> list[int]:
        """Columns that a solution of the program, as HiGHS has it, uses."""
        return self._program.used(lambda k: highs.value(values, self.x[k]))

    def solve(self, request: Request, target: int) -> Fewest:
        """See `formulations.paths.network.FewestClusters`."""
        monitor, options = request.monitor, request.options
        highs = Highs(self.model, monitor)
        outcome = highs.solve(
            monitor,
            threads=request.threads,
            seed=options.seed or 0,
            log=options.log,
            target=target,
            # Presolve takes twenty times longer than solving what is nearly a shortest path.
            presolve=False,
        )
        if outcome.status == "infeasible":
            monitor.credit(highs.prover)
            return Fewest(None, None)
        bound = target if outcome.bound is None else int(np.ceil(outcome.bound - WHOLE_ERROR))
        if bound > target:
            monitor.credit(highs.prover)
        used = None if outcome.values is None else self.used(highs, outcome.values)
        return Fewest(max(target, bound), used)

    def exclude(self, used: Sequence[int]) -> None:
        """Make a set of columns no solution any more."""
        some, most = self._program.exclusion(used)
        total = _linear([self.x[k] for k in some], [1.0] * len(some))
        self.model.excluded.add((None, total, most))


def _linear(variables: list[Any], coefficients: list[float]) -> Any:
    from pyomo.core.expr.numeric_expr import LinearExpression

    return LinearExpression(constant=0, linear_coefs=coefficients, linear_vars=variables)
