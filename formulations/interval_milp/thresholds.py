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
from formulations.paths.network import Fewest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from formulations.columns.table import SegmentColumns
    from formulations.paths.network import BeatNetwork, Limits
    from formulations.request import Request

WHOLE_ERROR = 1e-4
"""Bounds on whole numbers may be this much too high before they are rounded up."""


class ThresholdProgram:
    """The program for one largest beat, in Pyomo.

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
    cost : array, optional
        What a column costs; 1 each, which counts clusters, if not given.
    """

    def __init__(
        self,
        columns: SegmentColumns,
        network: BeatNetwork,
        chiplets: int,
        counts: tuple[int, int],
        limits: Sequence[Limits],
        cost: NDArray[Any] | None = None,
    ) -> None:
        self._network, kept = network, network.kept
        pyo = self._pyo = import_pyomo()
        self.model = model = pyo.ConcreteModel()
        model.x = pyo.Var(range(len(kept)), domain=pyo.Binary)
        model.level = pyo.Var(range(len(network.steps)), bounds=(0, None))
        self.x = [model.x[k] for k in range(len(kept))]
        self._flow(model)
        model.chiplets = pyo.Constraint(expr=(None, self._row(columns.size[kept]), chiplets))
        ones = np.ones(len(kept), dtype=np.int64)
        model.clusters = pyo.Constraint(expr=(counts[0], self._row(ones), counts[1]))
        model.limits = pyo.ConstraintList()
        for row in limits:
            values, most = row.scaled()
            # Sums are whole numbers, so that floats cannot exclude what is allowed.
            model.limits.add((None, self._row(values[kept]), most + 0.5))
        model.excluded = pyo.ConstraintList()
        model.objective = pyo.Objective(expr=self._row(ones if cost is None else cost[kept]))

    def _flow(self, model: Any) -> None:
        """One path from the first node to the last."""
        network = self._network
        rows: list[tuple[list[Any], list[float]]] = [([], []) for _ in range(network.goal + 1)]

        def arc(variable: Any, tail: int, head: int) -> None:
            for node, sign in ((tail, -1.0), (head, 1.0)):
                rows[node][0].append(variable)
                rows[node][1].append(sign)

        for variable, tail, head in zip(
            self.x, network.leaves.tolist(), network.arrives.tolist(), strict=True
        ):
            arc(variable, tail, head)
        for k, (tail, head) in enumerate(network.steps.tolist()):
            arc(model.level[k], tail, head)
        model.flow = self._pyo.ConstraintList()
        for node, (variables, signs) in enumerate(rows):
            balance = -1 if node == 0 else int(node == network.goal)
            model.flow.add((_linear(variables, signs), balance))

    def _row(self, values: NDArray[Any]) -> Any:
        some = np.flatnonzero(values)
        return _linear([self.x[k] for k in some.tolist()], values[some].astype(float).tolist())

    def used(self, highs: Highs, values: NDArray[np.float64]) -> list[int]:
        """Columns that a solution of the program, as HiGHS has it, uses."""
        return [
            int(self._network.kept[k]) for k, x in enumerate(self.x) if highs.value(values, x) > 0.5
        ]

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
        where = {int(column): k for k, column in enumerate(self._network.kept)}
        expression = _linear([self.x[where[column]] for column in used], [1.0] * len(used))
        self.model.excluded.add((None, expression, len(used) - 1))


def _linear(variables: list[Any], coefficients: list[float]) -> Any:
    from pyomo.core.expr.numeric_expr import LinearExpression

    return LinearExpression(constant=0, linear_coefs=coefficients, linear_vars=variables)
