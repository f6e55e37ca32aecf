"""The network program over a given grid of beats in Pyomo, for anybody to change, solve and write.

Over ranges it is a relaxation, over points a restriction: see `ENCODINGS`.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from formulations.arrays import joined, take
from formulations.columns.schedules import column_keys, find_columns, to_segments
from formulations.highs import TOLERANCE, import_pyomo
from formulations.network_milp.candidates import Candidates
from formulations.network_milp.copies import geometric
from formulations.network_milp.rows import Program
from formulations.network_milp.sums import PrefixSums
from scope_opt.model.tables import LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from formulations.columns.columns import Columns
    from formulations.request import Request
    from scope_opt.schedule.evaluation import SegmentReport
    from scope_opt.schedule.schedule import Segment

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

ENCODINGS = ("relaxation", "restriction")
"""Every schedule is a solution of both. A segment is charged the shortest beat of the range that
its own is in, so that no schedule costs more than it takes; or the next longer point, so that none
costs less."""
LARGEST = 10**5
"""Times are counted in units of which the largest cost has so many, or in 1."""
SETTLED = 0.5
"""Above it the value of a binary counts as 1."""


class GridProgram:
    """The program in Pyomo.

    Parameters
    ----------
    request : Request
    ceiling_ps : int, optional
        Slower schedules may be left out.
    encoding : str
        One of `ENCODINGS`.
    """

    def __init__(self, request: Request, ceiling_ps: int | None, encoding: str) -> None:
        candidates = Candidates(request, ceiling_ps, every=True)
        ranges = geometric(candidates, request.tuning.network_grid)
        if encoding == "restriction":
            ranges = [replace(each, low_ps=each.high_ps) for each in ranges]
        self._program = program = Program(candidates, ranges, 0, every=True)
        self._sums = PrefixSums(program)
        self.unit_ps = max(1, int(program.cost.max(initial=1)) // LARGEST)
        self._layers = range(candidates.layers)
        columns = [candidates.columns(copy.clusters, []) for copy in program.copies]
        alone = candidates.columns(np.zeros(0, dtype=np.int64), program.candidates.singles)
        self._columns = [alone, *columns]
        """Segments of one cluster; clusters of each copy"""
        self._partitions = [candidates.partitions(part) for part in self._columns]
        self.model = import_pyomo().ConcreteModel(name=request.instance.name)
        self._add_variables()
        self._add_rows()
        costs = zip(self._variables, program.cost.tolist(), strict=False)
        terms = [(v, cost / self.unit_ps) for v, cost in costs if v is not None and cost]
        self.model.objective = import_pyomo().Objective(expr=_linear(terms))

    # --- Model -----------------------------------------------------------------------------------

    def _add_variables(self) -> None:
        pyo, model, program = import_pyomo(), self.model, self._program
        lows = [copy.beats.low_ps for copy in program.copies]
        begins = np.cumsum([0, *(part.number for part in self._columns[:-1])]).tolist()
        parts = zip(self._columns, self._partitions, begins, [0, *lows], strict=True)
        keys = [
            (*key[:4], begin + key[4], low)
            for part, partitions, begin, low in parts
            for key in column_keys(part, partitions)
        ]
        model.x = pyo.Var(keys, domain=pyo.Binary)
        copies = list(zip(program.copies, lows, strict=True))
        model.segment = pyo.Var(
            [(a, b, low) for copy, low in copies for a, b in copy.segments.tolist()],
            domain=pyo.Binary,
        )
        model.step = pyo.Var(
            [
                (layer, level, low)
                for copy, low in copies
                for layer in self._layers[:-1]
                for level in range(1, int(copy.levels[layer]))
            ],
            bounds=(0, 1),
        )
        names = [resource.name for resource in program.resources]
        model.covered = pyo.Var([(layer, low) for low in lows for layer in self._layers])
        named = [(layer, name, low) for low in lows for name in names for layer in self._layers]
        model.used, model.level = pyo.Var(named), pyo.Var(named)
        # In the order of the program: the variable for "no schedule" is none of these.
        x, segment, step = (iter(v.values()) for v in (model.x, model.segment, model.step))
        self._variables: list[Any] = [next(x) for _ in program.candidates.singles]
        self._variables.append(None)
        for at in program.variables:
            self._variables += [next(segment) for _ in range(at.segments, at.clusters)]
            self._variables += [next(x) for _ in range(at.clusters, at.steps)]
            self._variables += [next(step) for _ in range(at.steps, at.end)]
        covered, used, level = (iter(v.values()) for v in (model.covered, model.used, model.level))
        for _ in lows:
            self._variables += [next(covered) for _ in self._layers]
            for _ in names:
                self._variables += [next(used) for _ in self._layers]
                self._variables += [next(level) for _ in self._layers]

    def _add_rows(self) -> None:
        program, sums = self._program, self._sums
        rows = _grouped(program.rows, program.columns, program.values, len(program.lower))
        sides = list(zip(program.lower.tolist(), program.upper.tolist(), strict=True))
        for name, spans in groupby(program.families, key=lambda family: family[0]):
            for _, begin, end in spans:
                for terms, (low, high) in zip(rows[begin:end], sides[begin:end], strict=True):
                    self._add(name, terms, low, high)
        for terms in _grouped(sums.rows, sums.columns, sums.values, sums.height):
            self._add("sums", terms, 0, 0)
        for run in sorted(program.whole_runs):
            name = f"{program.resources[run.resource].name}_of_runs"
            for copy in range(len(program.copies)):
                self._add(name, sums.terms(copy, run), -LIMIT, 0)

    def _add(self, name: str, terms: Iterable[tuple[int, int]], low: int, high: int) -> None:
        """Row between two numbers; one without variables is left out if it holds."""
        named = [(v, c) for column, c in terms if (v := self._variables[column]) is not None]
        if not named and low <= 0 <= high:
            return
        family = self.model.component(name)
        if family is None:
            family = import_pyomo().ConstraintList()
            self.model.add_component(name, family)
        row = _linear(named)
        if low == high:
            family.add((row, low))
        else:
            family.add((low if low > -LIMIT else None, row, high if high < LIMIT else None))

    # --- Solutions -------------------------------------------------------------------------------

    def _own(self, copy: int | None) -> list[Any]:
        """Variables of segments of one cluster, or of the clusters of a copy."""
        if copy is None:
            return self._variables[: self._program.none]
        at = self._program.variables[copy]
        return self._variables[at.clusters : at.steps]

    def read(self, value: Callable[[Any], float]) -> tuple[Segment, ...]:
        """Segments made of the columns that a solution uses."""
        copies = [None, *range(len(self._program.copies))]
        used: list[Columns] = []
        partitions: list[tuple[int, ...]] = []
        parts = zip(self._columns, self._partitions, copies, strict=True)
        for columns, chosen, copy in parts:
            own = [k for k, x in enumerate(self._own(copy)) if value(x) > SETTLED]
            used.append(take(columns, np.array(own, dtype=np.int64)))
            partitions += [chosen[k] for k in own]
        return to_segments(joined(used), partitions)

    def bound(self, objective: float) -> int:
        """Lower bound in ps on the objective that follows from one that HiGHS claims."""
        most = float(self._program.cost.max(initial=0)) / self.unit_ps
        slack = 2 * TOLERANCE * (1 + most) * (len(self._layers) + 2)
        return int(np.ceil((objective - slack - 1e-9 * abs(objective)) * self.unit_ps))

    def start(
        self, segments: Sequence[Segment], reports: Sequence[SegmentReport]
    ) -> list[tuple[Any, float]] | None:
        """Values of all variables for a schedule; None if the program does not contain it."""
        x = np.zeros(self._sums.width)
        for segment, report in zip(segments, reports, strict=True):
            ends = segment.first_layer, segment.last_layer
            copy = None
            if len(segment.clusters) > 1:
                copy = self._copy_of(ends, report.beat_ps)
                if copy is None:
                    return None
            part = 0 if copy is None else copy + 1
            found = find_columns(self._columns[part], self._partitions[part], [segment])
            if found is None:
                return None
            if copy is None:
                x[found] = 1
            elif not self._enter(x, copy, ends, found):
                return None
        self._sum_up(x)
        values = zip(self._variables, x.tolist(), strict=True)
        return [(variable, value) for variable, value in values if variable is not None and value]

    def _copy_of(self, ends: tuple[int, int], beat_ps: int) -> int | None:
        """The copy for a segment with that beat."""
        for number, copy in enumerate(self._program.copies):
            if copy.beats.high_ps >= beat_ps and list(ends) in copy.segments.tolist():
                return number
        return None

    def _enter(self, x: Floats, copy: int, ends: tuple[int, int], found: Sequence[int]) -> bool:
        """Set the variables of a segment; False if a cluster cannot hand over to the next."""
        here, at = self._program.copies[copy], self._program.variables[copy]
        x[at.segments + here.segments.tolist().index(list(ends))] = 1
        x[at.clusters + np.array(found)] = 1
        node = np.concatenate([[0], np.cumsum(here.levels[:-1])])
        candidates = self._program.candidates
        for k, following in pairwise(found):
            layer = int(candidates.last[here.clusters[k]])
            arrives, leaves = int(here.arrives[k]), int(here.leaves[following])
            if leaves > arrives:
                return False
            # Steps are numbered like nodes, without the lowest one after each layer.
            step = at.steps + int(node[layer]) - (layer + 1)
            x[step + leaves + 1 : step + arrives + 1] = 1
        return True

    def _sum_up(self, x: Floats) -> None:
        """Set the sums, each of which is defined by what stands before it."""
        sums, own = self._sums, len(self._program.cost)
        order = np.argsort(sums.rows, kind="stable")
        rows, columns, values = sums.rows[order], sums.columns[order], sums.values[order]
        bounds = np.searchsorted(rows, np.arange(sums.height + 1))
        for row in range(sums.height):
            part = slice(bounds[row], bounds[row + 1])
            x[own + row] = values[part] @ x[columns[part]]


def _grouped(rows: Ints, columns: Ints, values: Ints, height: int) -> list[list[tuple[int, int]]]:
    """Terms by row."""
    found: list[list[tuple[int, int]]] = [[] for _ in range(height)]
    for row, column, value in zip(rows.tolist(), columns.tolist(), values.tolist(), strict=True):
        found[row].append((column, value))
    return found


def _linear(terms: Sequence[tuple[Any, float]]) -> Any:
    from pyomo.core.expr.numeric_expr import LinearExpression

    return LinearExpression(
        constant=0,
        linear_coefs=[float(coefficient) for _, coefficient in terms],
        linear_vars=[variable for variable, _ in terms],
    )
