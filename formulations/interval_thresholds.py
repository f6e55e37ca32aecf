"""Single segments by integer programs that contain no times.

Whether a schedule of latency at most ``Z`` exists is asked for one largest beat ``T`` after the
other. Under a given ``T`` every time is a yes or a no: columns that take longer vanish, and a
column may only be followed by one whose receiving still fits. What is left is a path through the
layers with few clusters and few chiplets, a program with small integers, so that the floats in
which HiGHS computes do no harm: the fewest clusters that a beat of ``T`` needs, a bound rounded up,
are exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from formulations.column_kernels import (
    END,
    ENTRIES,
    FIRST,
    HEAD,
    LAST,
    OPENS,
    REFETCHED,
    SENDING,
    SIZE,
    TIME,
)
from formulations.columns import ColumnMaker
from formulations.highs import Highs, import_pyomo
from formulations.space import Caps
from scope_opt.schedule import make_segment
from scope_opt.tables import LIMIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from formulations.request import Request
    from formulations.space import Column
    from scope_opt.schedule import Segment

    Ints = NDArray[np.int64]

WEIGHTS = 8
"""Ways to weigh chiplets against clusters when columns on no short path are dropped."""
COEFFICIENT = 10**6
"""Energies and bytes are counted in units of which a limit has this many."""


@dataclass(frozen=True)
class Limits:
    """A row ``sum of values <= limit`` over the columns used, in integers of any size."""

    values: Ints
    limit: int

    def scaled(self) -> tuple[Ints, float]:
        """Smaller coefficients that exclude nothing the row allows."""
        unit = max(1, self.limit // COEFFICIENT)
        return self.values // unit, self.limit // unit + 0.5


class ColumnTable:
    """Columns that schedules up to a ceiling can consist of, as arrays.

    Parameters
    ----------
    request : Request
    ceiling_ps : int, optional
        Columns that only slower schedules of the whole network can have are left out.

    Raises
    ------
    Stopped
        If the monitor wants to stop.
    """

    def __init__(self, request: Request, ceiling_ps: int | None) -> None:
        tables, stopping = request.tables, lambda: request.monitor.stopping
        self._maker = ColumnMaker(tables, request.space, stopping)
        self.caps = Caps(tables, request.space, ceiling_ps)
        self.ceiling_ps = ceiling_ps
        # As numbers where that is possible: objects are made for the few columns that are used.
        self._columns: list[Column] = []
        self._rows = np.zeros((0, ENTRIES), dtype=np.int64)
        if request.space.energy_matters:
            self._columns = list(self._maker.columns(self.caps))
            self.numbers = self._from_objects()
        else:
            self._rows = np.concatenate([self._rows, *self._maker.rows(self.caps)])
            self.numbers = self._from_rows(tables.receive_ps)
        """(14, n), ordered by first layer: see `SegmentColumns`"""

    def column(self, index: int) -> Column:
        """One of the columns."""
        if self._columns:
            return self._columns[index]
        return next(self._maker.objects(self._rows[index : index + 1]))

    def _from_objects(self) -> Ints:
        numbers = [
            (
                *(c.first, c.last, c.size, c.time_ps),
                -LIMIT if c.sending_ps is None else c.sending_ps,
                self._maker.receive_ps(c),
                *(c.energy_fj, c.refetched_bytes, c.opens, c.closes, *c.starts, *c.ends),
            )
            for c in self._columns
        ]
        return np.array(numbers, dtype=np.int64).reshape(len(numbers), 14).T

    def _from_rows(self, receive_ps: Ints) -> Ints:
        rows = self._rows.T
        first, head, sending = rows[FIRST], rows[HEAD], rows[SENDING]
        received = np.where(head < 0, 0, receive_ps[first - 1, head, rows[SIZE]])
        known = (first, rows[LAST], rows[SIZE], rows[TIME], np.where(sending < 0, -LIMIT, sending))
        rest = (received, np.zeros_like(first), rows[REFETCHED], *rows[OPENS : END + 2])
        return np.stack([*known, *rest])


class SegmentColumns:
    """Those of the columns that a segment can have, by the data that its programs need."""

    def __init__(self, table: ColumnTable, first: int, last: int) -> None:
        # Columns are sorted by their first layer.
        begin, end = np.searchsorted(table.numbers[0], [first, last + 1])
        numbers = table.numbers[:, begin:end]
        opens, closes, start_low, start_high, end_low, end_high = numbers[8:]
        inside = (numbers[0] >= first) & (numbers[1] <= last)
        inside &= (opens == (numbers[0] == first)) & (closes == (numbers[1] == last))
        inside &= (start_low <= first) & (first <= start_high)
        inside &= (end_low <= last) & (last <= end_high)
        index = np.flatnonzero(inside)
        self._table, self._index = table, begin + index
        self.first, self.last, self.size, self.time_ps = numbers[:4, index]
        self.sending_ps, self.receive_ps, self.energy_fj, self.refetched_bytes = numbers[4:8, index]
        self.unlimited = table.ceiling_ps is None
        self.complete_ps = LIMIT - 1
        """All clusters that take no longer are here, unless they are alone in the segment."""
        if not self.unlimited:
            floor = int(table.caps.floors[first, last])
            self.complete_ps = max(table.caps.segment(first, last, 2), floor - 1)

    def segment(self, used: Sequence[int]) -> Segment:
        """The segment that consists of these columns."""
        ordered = sorted(self._table.column(int(self._index[k])) for k in used)
        parts = [(c.last - c.first + 1, c.size, c.partitions) for c in ordered]
        return make_segment(ordered[0].first, parts)


class Network:
    """Where a path may go under one largest beat.

    Nodes are numbered in the order in which a path visits them: one before the first layer, one
    after the last, and after each layer in between one per level of receiving that some cluster
    ending there affords, the highest first, with steps down from one to the next.

    Parameters
    ----------
    columns : SegmentColumns
    ends : (int, int)
        First and last layer of the segment.
    beat_ps : int
        Largest beat.
    chiplets, clusters : int
        At most.
    values : sequence of array
        What else matters of a column; less is better.
    """

    def __init__(
        self,
        columns: SegmentColumns,
        ends: tuple[int, int],
        beat_ps: int,
        chiplets: int,
        clusters: int,
        values: Sequence[NDArray[Any]],
    ) -> None:
        c, (first, last) = columns, ends
        fits = np.flatnonzero(c.time_ps <= beat_ps)
        leaves = np.full(len(c.first), -1, dtype=np.int64)
        arrives = leaves.copy()
        leaves[fits[c.first[fits] == first]] = 0
        nodes, steps = 1, []
        for layer in range(first, last):
            ending = fits[c.last[fits] == layer]
            starting = fits[c.first[fits] == layer + 1]
            receive = _distinct(c.receive_ps[starting])
            # How far up the sorted times for receiving a cluster that ends here can afford to go.
            afford = np.searchsorted(receive, beat_ps - c.sending_ps[ending], side="right") - 1
            levels = _distinct(afford[afford >= 0])
            top = nodes + len(levels) - 1
            arrives[ending] = np.where(afford < 0, -1, top - np.searchsorted(levels, afford))
            needs = np.searchsorted(levels, np.searchsorted(receive, c.receive_ps[starting]))
            leaves[starting] = np.where(needs == len(levels), -1, top - needs)
            steps += [(node, node + 1) for node in range(nodes, top)]
            nodes += len(levels)
        arrives[fits[c.last[fits] == last]] = nodes
        self.goal, self.steps = nodes, steps
        joined = fits[(leaves[fits] >= 0) & (arrives[fits] >= 0)]
        keys = np.stack([leaves[joined], arrives[joined], *(v[joined] for v in values)])
        kept = joined[_cheapest(keys, c.size[joined])]
        kept = kept[
            self._short_enough(leaves[kept], arrives[kept], c.size[kept], chiplets, clusters)
        ]
        self.kept, self.leaves, self.arrives = kept, leaves[kept], arrives[kept]

    def _short_enough(
        self, leaves: Ints, arrives: Ints, size: Ints, chiplets: int, clusters: int
    ) -> NDArray[np.bool_]:
        """Whether a path through a column keeps to both limits, weighed against each other."""
        share = np.arange(WEIGHTS + 1)[:, None]
        lengths = share * clusters * size + (WEIGHTS - share) * chiplets
        steps = np.array(self.steps, dtype=np.int64).reshape(-1, 2)
        tails, heads = np.append(leaves, steps[:, 0]), np.append(arrives, steps[:, 1])
        free = np.zeros((len(lengths), len(steps)), dtype=np.int64)
        arcs = np.hstack([lengths, free])
        before = _distances(tails, heads, arcs, self.goal)
        after = _distances(self.goal - heads, self.goal - tails, arcs, self.goal)[:, ::-1]
        through = before[:, leaves] + lengths + after[:, arrives]
        fits: NDArray[np.bool_] = np.all(through <= WEIGHTS * clusters * chiplets, axis=0)
        return fits


class ThresholdProgram:
    """The program for one largest beat, in Pyomo.

    Parameters
    ----------
    columns : SegmentColumns
    network : Network
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
        network: Network,
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
            model.limits.add((None, self._row(values[kept]), most))
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
        for k, (tail, head) in enumerate(network.steps):
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

    def exclude(self, used: Sequence[int]) -> None:
        """Make a set of columns no solution any more."""
        where = {int(column): k for k, column in enumerate(self._network.kept)}
        expression = _linear([self.x[where[column]] for column in used], [1.0] * len(used))
        self.model.excluded.add((None, expression, len(used) - 1))


def _distinct(values: Ints) -> Ints:
    """Sorted, without repetitions; NumPy's own function is slow for short arrays."""
    ordered = np.sort(values)
    return ordered[np.diff(ordered, prepend=-LIMIT) > 0]


def _distances(tails: Ints, heads: Ints, lengths: Ints, goal: int) -> Ints:
    """Shortest paths from node 0 to all others up to ``goal``, at most `LIMIT`.

    Arcs lead to higher numbers. ``lengths`` and the result have a row per kind of length.
    """
    order = np.argsort(heads, kind="stable")
    tails, lengths = tails[order], lengths[:, order]
    bounds = np.searchsorted(heads[order], np.arange(goal + 2)).tolist()
    least = np.full((len(lengths), goal + 1), LIMIT, dtype=np.int64)
    least[:, 0] = 0
    for node in range(1, goal + 1):
        begin, end = bounds[node : node + 2]
        if begin < end:
            totals = least[:, tails[begin:end]] + lengths[:, begin:end]
            least[:, node] = np.minimum(totals.min(axis=1), LIMIT)
    return least


def _linear(variables: list[Any], coefficients: list[float]) -> Any:
    from pyomo.core.expr.numeric_expr import LinearExpression

    return LinearExpression(constant=0, linear_coefs=coefficients, linear_vars=variables)


def _cheapest(keys: NDArray[Any], size: Ints) -> Ints:
    """Of the columns with equal first two keys, those that no other one beats in all else."""
    order = np.lexsort((size, *keys[::-1]))
    if len(keys) == 2:
        sorted_keys = keys[:, order]
        new = np.ones(len(order), dtype=np.bool_)
        new[1:] = np.any(sorted_keys[:, 1:] != sorted_keys[:, :-1], axis=0)
        return order[new]
    kept: list[int] = []
    rest = np.vstack([keys[2:], size[None, :]])
    ends, begin = keys[:2], 0
    for k in order.tolist():
        if kept and np.any(ends[:, kept[-1]] != ends[:, k]):
            begin = len(kept)
        rivals = rest[:, kept[begin:]]
        if not np.any(np.all(rivals <= rest[:, k : k + 1], axis=0)):
            kept.append(k)
    return np.array(kept, dtype=np.int64)


def side_rows(
    request: Request, columns: SegmentColumns, ends: tuple[int, int], beat_ps: int
) -> list[Limits]:
    """Rows for energy, power and DRAM traffic of a segment with that beat."""
    space = request.space
    rows = []
    if space.budget_fj is not None:
        rows.append(Limits(columns.energy_fj, space.budget_fj))
    if space.power_fj_per_ps is not None and beat_ps < LIMIT - 1:
        rows.append(Limits(columns.energy_fj, int(space.power_fj_per_ps * beat_ps)))
    if space.traffic_limit_bytes is not None:
        left = space.traffic_limit_bytes - int(space.traffic_bytes[ends])
        rows.append(Limits(columns.refetched_bytes, left))
    return rows
