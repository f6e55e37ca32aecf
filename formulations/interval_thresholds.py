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

from formulations.columns import Caps, ColumnMaker
from formulations.highs import Highs, import_pyomo
from scope_opt.bounds import best_cut, best_rest
from scope_opt.schedule import make_segment
from scope_opt.tables import LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from formulations.columns import Column
    from formulations.cuts import Cuts
    from formulations.request import Request
    from scope_opt.schedule import Segment

    Ints = NDArray[np.int64]

ROUND = 1e-4
"""Bounds on whole numbers may be this much too high before they are rounded up."""
COEFFICIENT = 10**6
"""Energies and bytes are counted in units of which a limit has this many."""
ROUND_ENERGY = 1e-7
"""Bounds on energy may be too high by this part."""
REJECTIONS = 100
"""Solutions of one program that rounding let through and the evaluator does not accept."""
LOW = 32
"""The first ceiling is this part of the bound above it."""
CEILINGS = 6
"""Without a schedule, there is no ceiling any more after this many."""
CLOSE = 400
"""Gaps below this part of the latency are closed in one go."""


class Undecided(Exception):
    """Too many solutions differ from acceptable ones by less than the rounding."""


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
        maker = ColumnMaker(request.tables, request.space, lambda: request.monitor.stopping)
        self.caps = Caps(request.tables, request.space, ceiling_ps)
        self.ceiling_ps = ceiling_ps
        self.columns: list[Column] = list(maker.columns(self.caps))
        numbers = [
            (
                *(c.first, c.last, c.size, c.time_ps),
                -LIMIT if c.sending_ps is None else c.sending_ps,
                0 if c.opens else maker.receive_ps(c),
                *(c.energy_fj, c.refetched_bytes, c.opens, c.closes, *c.starts, *c.ends),
            )
            for c in self.columns
        ]
        self.numbers = np.array(numbers, dtype=np.int64).reshape(len(numbers), 14).T


class SegmentColumns:
    """Those of the columns that a segment can have, by the data that its programs need."""

    def __init__(self, table: ColumnTable, first: int, last: int) -> None:
        numbers = table.numbers
        opens, closes, start_low, start_high, end_low, end_high = numbers[8:]
        inside = (numbers[0] >= first) & (numbers[1] <= last)
        inside &= (opens == (numbers[0] == first)) & (closes == (numbers[1] == last))
        inside &= (start_low <= first) & (first <= start_high)
        inside &= (end_low <= last) & (last <= end_high)
        index = np.flatnonzero(inside)
        self.columns = [table.columns[k] for k in index.tolist()]
        self.first, self.last, self.size, self.time_ps = numbers[:4, index]
        self.sending_ps, self.receive_ps, self.energy_fj, self.refetched_bytes = numbers[4:8, index]
        self.unlimited = table.ceiling_ps is None
        self.complete_ps = LIMIT - 1
        """All clusters that take no longer are here, unless they are alone in the segment."""
        if not self.unlimited:
            floor = int(table.caps.floors[first, last])
            self.complete_ps = max(table.caps.segment(first, last, 2), floor - 1)
        self._events = self._find_events()

    def _find_events(self) -> Ints:
        """Every time that a cluster can take, sorted."""
        events = [self.time_ps]
        for layer in np.unique(self.last):
            sending = np.unique(self.sending_ps[(self.last == layer) & (self.sending_ps >= 0)])
            receive = np.unique(self.receive_ps[self.first == layer + 1])
            events.append((sending[:, None] + receive[None, :]).ravel())
        return np.unique(np.concatenate(events))

    def attained_after(self, beat_ps: int) -> int:
        """Least time above ``beat_ps`` that a cluster takes; `LIMIT` if there is none."""
        index = int(np.searchsorted(self._events, beat_ps, side="right"))
        return int(self._events[index]) if index < len(self._events) else LIMIT

    def segment(self, used: Sequence[int]) -> Segment:
        """The segment that consists of these columns."""
        ordered = sorted(self.columns[k] for k in used)
        parts = [(c.last - c.first + 1, c.size, c.partitions) for c in ordered]
        return make_segment(ordered[0].first, parts)


class ThresholdProgram:
    """The program for one largest beat, in Pyomo.

    Parameters
    ----------
    columns : SegmentColumns
    ends : (int, int)
        First and last layer of the segment.
    beat_ps : int
        Largest beat.
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
        ends: tuple[int, int],
        beat_ps: int,
        chiplets: int,
        counts: tuple[int, int],
        limits: Sequence[Limits],
        cost: NDArray[Any] | None = None,
    ) -> None:
        self._pyo = import_pyomo()
        self._columns = columns
        self._network(ends, beat_ps, [*(row.values for row in limits), *_some(cost)])
        pyo, model = self._pyo, self._pyo.ConcreteModel()
        self.model = model
        model.x = pyo.Var(range(len(self.kept)), domain=pyo.Binary)
        model.level = pyo.Var(range(len(self._steps)), bounds=(0, None))
        self.x = [model.x[k] for k in range(len(self.kept))]
        self._flow(model)
        size = columns.size[self.kept]
        model.chiplets = pyo.Constraint(expr=(None, self._row(size), chiplets))
        ones = np.ones(len(self.kept), dtype=np.int64)
        model.clusters = pyo.Constraint(expr=(counts[0], self._row(ones), counts[1]))
        model.limits = pyo.ConstraintList()
        for row in limits:
            values, most = row.scaled()
            model.limits.add((None, self._row(values[self.kept]), most))
        model.excluded = pyo.ConstraintList()
        objective = ones if cost is None else cost[self.kept]
        model.objective = pyo.Objective(expr=self._row(objective))

    def _network(self, ends: tuple[int, int], beat_ps: int, others: Sequence[NDArray[Any]]) -> None:
        """Columns that fit the beat, the nodes that they join, and steps between nodes."""
        c, (first, last) = self._columns, ends
        fits = np.flatnonzero(c.time_ps <= beat_ps)
        leaves = np.full(len(c.columns), -1, dtype=np.int64)
        arrives = leaves.copy()
        nodes, steps = 1, []
        leaves[fits[c.first[fits] == first]] = 0
        self.goal = -1
        for layer in range(first, last + 1):
            ending = fits[c.last[fits] == layer]
            if layer == last:
                self.goal = nodes
                arrives[ending] = nodes
                nodes += 1
                continue
            starting = fits[c.first[fits] == layer + 1]
            receive = np.unique(c.receive_ps[starting])
            # How far up the sorted times for receiving a cluster that ends here can afford to go.
            afford = np.searchsorted(receive, beat_ps - c.sending_ps[ending], side="right") - 1
            levels = np.unique(afford[afford >= 0])
            arrives[ending] = np.where(afford < 0, -1, nodes + np.searchsorted(levels, afford))
            needs = np.searchsorted(levels, np.searchsorted(receive, c.receive_ps[starting]))
            leaves[starting] = np.where(needs == len(levels), -1, nodes + needs)
            steps += [(nodes + k, nodes + k - 1) for k in range(1, len(levels))]
            nodes += len(levels)
        self._nodes, self._steps = nodes, steps
        joined = fits[(leaves[fits] >= 0) & (arrives[fits] >= 0)]
        keys = np.stack([leaves[joined], arrives[joined], *(v[joined] for v in others)])
        self.kept = joined[_cheapest(keys, c.size[joined])]
        self._leaves, self._arrives = leaves[self.kept], arrives[self.kept]

    def _flow(self, model: Any) -> None:
        """One path from the first node to the last."""
        rows: list[tuple[list[Any], list[float]]] = [([], []) for _ in range(self._nodes)]

        def arc(variable: Any, tail: int, head: int) -> None:
            for node, sign in ((tail, -1.0), (head, 1.0)):
                rows[node][0].append(variable)
                rows[node][1].append(sign)

        for variable, tail, head in zip(
            self.x, self._leaves.tolist(), self._arrives.tolist(), strict=True
        ):
            arc(variable, tail, head)
        for k, (tail, head) in enumerate(self._steps):
            arc(model.level[k], tail, head)
        model.flow = self._pyo.ConstraintList()
        for node, (variables, signs) in enumerate(rows):
            balance = -1 if node == 0 else int(node == self.goal)
            model.flow.add((_linear(variables, signs), balance))

    def _row(self, values: NDArray[Any]) -> Any:
        some = np.flatnonzero(values)
        return _linear([self.x[k] for k in some.tolist()], values[some].astype(float).tolist())

    def used(self, values: Callable[[Any], float]) -> list[int]:
        """Columns that a solution uses."""
        return [int(self.kept[k]) for k, x in enumerate(self.x) if values(x) > 0.5]

    def exclude(self, used: Sequence[int]) -> None:
        """Make a set of columns no solution any more."""
        where = {int(column): k for k, column in enumerate(self.kept)}
        expression = _linear([self.x[where[column]] for column in used], [1.0] * len(used))
        self.model.excluded.add((None, expression, len(used) - 1))


def _linear(variables: list[Any], coefficients: list[float]) -> Any:
    from pyomo.core.expr.numeric_expr import LinearExpression

    return LinearExpression(constant=0, linear_coefs=coefficients, linear_vars=variables)


def _some(values: NDArray[Any] | None) -> list[NDArray[Any]]:
    return [] if values is None else [values]


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


class Staircase:
    """What is proved of one segment: a lower bound on the beat for every number of clusters."""

    def __init__(
        self,
        request: Request,
        cuts: Cuts,
        supply: Callable[[int, int, int | None], SegmentColumns],
        first: int,
        last: int,
    ) -> None:
        self._request, self._cuts, self._supply = request, cuts, supply
        self._ends = (first, last)
        tables, space = request.tables, request.space
        self._load = int(tables.load_ps[first, last])
        most = min(space.most, last - first + 1)
        self._counts = np.arange(space.fewest, most + 1)
        lower = int(cuts.lower[first, last])
        # The simple bound is one on the beat, whatever the number of clusters.
        beat = -(-(lower - self._load) // (tables.samples + space.fewest - 1))
        self._bounds = np.full(len(self._counts), beat, dtype=np.int64)
        """Least beat that is not refuted, for each number of clusters or fewer"""
        self._step: int | None = None
        self._tries, self._attained = 0, False
        if not len(self._counts):
            cuts.refute(first, last, LIMIT)

    def prove(self, ceiling_ps: int | None) -> None:
        """Settle the segment for a ceiling; see `Cuts.run`."""
        cuts, monitor = self._cuts, self._request.monitor
        while not cuts.settled(*self._ends, ceiling_ps) and not monitor.stopping:
            self._decide(self._next(ceiling_ps))

    def _next(self, ceiling_ps: int | None) -> int | None:
        """A latency to ask for: low ones first, as they leave few columns."""
        lower = int(self._cuts.lower[self._ends])
        known = self._cuts.latency(*self._ends) - 1
        top = known if ceiling_ps is None else min(known, ceiling_ps)
        if top >= LIMIT - 1:
            if self._tries >= CEILINGS:
                return None
            self._tries += 1
        elif self._attained:
            gap = top - lower
            return top if gap <= top // CLOSE else lower + gap // 2
        self._step = max(1, lower // LOW) if self._step is None else 2 * self._step
        return min(top, lower + self._step)

    def _decide(self, latency_ps: int | None) -> None:
        """Find a schedule of at most that latency, or refute it.

        Fewer clusters allow a longer beat, so the fewest that are not refuted are asked for first.
        The answer, how many clusters that beat needs, refutes it for all smaller numbers.
        """
        monitor = self._request.monitor
        self._columns = self._supply(*self._ends, latency_ps)
        while not monitor.stopping:
            beats = self._beats(latency_ps)
            open_counts = np.flatnonzero(self._bounds <= beats)
            if not len(open_counts):
                return
            if self._cuts.latency(*self._ends) <= (LIMIT - 1 if latency_ps is None else latency_ps):
                self._attained = True
                return
            index = int(open_counts[0])
            self._query(index, int(beats[index]), int(self._counts[open_counts[-1]]))

    def _beats(self, latency_ps: int | None) -> Ints:
        """Largest beat within the latency, per number of clusters."""
        if latency_ps is None:
            return np.full(len(self._counts), LIMIT, dtype=np.int64) - 1
        return (latency_ps - self._load) // (self._request.tables.samples + self._counts - 1)

    def _query(self, index: int, beat_ps: int, most: int) -> None:
        """How many clusters does that beat need? Raises the bounds accordingly."""
        columns, monitor = self._columns, self._request.monitor
        fewest = int(self._counts[index])
        limits = side_rows(self._request, columns, self._ends, beat_ps)
        needed = most + 1
        if all(row.limit >= 0 for row in limits):
            with monitor.timed("build"):
                chiplets = self._request.tables.chiplets
                program = ThresholdProgram(
                    columns, self._ends, beat_ps, chiplets, (fewest, most), limits
                )
            needed = self._needed(program, columns, fewest, most, beat_ps)
        refuted = self._counts < needed
        # Clusters of several were made only up to a shorter time than single ones.
        several = self._after(min(beat_ps, columns.complete_ps))
        following = np.where(self._counts > 1, several, self._after(beat_ps))
        self._bounds = np.where(refuted, np.maximum(self._bounds, following), self._bounds)
        samples = self._request.tables.samples
        totals = [
            LIMIT if beat >= LIMIT - 1 else self._load + (samples + count - 1) * beat
            for beat, count in zip(self._bounds.tolist(), self._counts.tolist(), strict=True)
        ]
        self._cuts.refute(*self._ends, min(totals))

    def _after(self, beat_ps: int) -> int:
        """Least beat that can be attained if ``beat_ps`` cannot."""
        columns = self._columns
        if columns.unlimited and beat_ps >= LIMIT - 1:
            return LIMIT
        if self._request.space.power_fj_per_ps is not None:
            return beat_ps + 1
        return min(columns.attained_after(beat_ps), max(beat_ps, columns.complete_ps) + 1)

    def _needed(
        self,
        program: ThresholdProgram,
        columns: SegmentColumns,
        fewest: int,
        most: int,
        beat_ps: int,
    ) -> int:
        """Least number of clusters from ``fewest`` up; more than ``most``: that many do not do."""
        request, rejected = self._request, 0
        monitor, options = request.monitor, request.options
        needed = fewest
        begin, end = self._ends
        text = f"beat {beat_ps} ps, {fewest} to {most} clusters, {len(program.kept)} columns"
        monitor.report(f"layers {begin} to {end}: {text}", 0.0)
        while not monitor.stopping:
            highs = Highs(program.model, monitor)
            outcome = highs.solve(
                monitor,
                threads=options.threads or 1,
                seed=options.seed or 0,
                log=options.log,
                target=fewest,
                # Presolve takes twenty times longer than solving what is nearly a shortest path.
                presolve=False,
            )
            if outcome.status == "infeasible":
                return most + 1
            if outcome.bound is not None:
                needed = max(needed, int(np.ceil(outcome.bound - ROUND)))
            if outcome.values is None:
                continue
            values = outcome.values
            used = program.used(lambda x: highs.value(values, x))  # noqa: B023
            latency = self._cuts.found(columns.segment(used))
            samples = request.tables.samples
            allowed = self._load + (samples + len(used) - 1) * beat_ps
            if latency is not None and latency <= allowed:
                return needed
            rejected += 1
            if rejected > REJECTIONS:
                raise Undecided
            program.exclude(used)
        return needed


def minimize_energy(request: Request) -> bool:
    """Least energy of one segment with all layers, within the bound on its latency.

    Each program covers a range of cluster counts under the beat that the smallest of them allows.
    What it finds is too slow, in which case the range is split, or a schedule. Its rivals within
    the rounding are asked for too, so that the best one is proved exactly.

    Returns
    -------
    bool
        Whether the tolerances allowed that.
    """
    space, tables, monitor = request.space, request.tables, request.monitor
    energy, ends = tables.energy, (0, tables.layers - 1)
    latency_ps = space.latency_ps
    assert energy is not None
    assert latency_ps is not None
    with monitor.timed("build"):
        columns = SegmentColumns(ColumnTable(request, latency_ps), *ends)
    base = energy.mac_fj + energy.sram_fj[:, :, 1:].min(axis=(1, 2))
    sums = np.concatenate([[0], np.cumsum(base)])
    spent = columns.energy_fj - (sums[columns.last + 1] - sums[columns.first])
    unit = max(1.0, float(spent.max(initial=0)) / COEFFICIENT)
    loading = energy.dram_fj_per_byte * sum(map(int, tables.weight_bytes))

    def total_fj(spent_fj: float) -> int:
        return int(tables.samples * (int(np.ceil(spent_fj)) + int(sums[-1])) + loading)

    room = latency_ps - int(tables.load_ps[ends])
    # Least that each range of cluster counts can spend.
    ranges = [(0.0, space.fewest, min(space.most, tables.layers))]
    while ranges and not monitor.stopping:
        request.raise_bound(_at_most(total_fj(min(ranges)[0]), monitor.objective))
        ranges.sort()
        least, low, high = ranges.pop(0)
        best = monitor.objective
        if best is not None and total_fj(least) >= best:
            break
        beat = room // (tables.samples + low - 1)
        limits = side_rows(request, columns, ends, beat)
        if (
            low > high
            or beat < int(tables.segment_dram_ps[ends])
            or any(row.limit < 0 for row in limits)
        ):
            continue
        with monitor.timed("build"):
            program = ThresholdProgram(
                columns, ends, beat, tables.chiplets, (low, high), limits, spent / unit
            )
        rejected = 0
        while True:
            monitor.report(f"energy within beat {beat} ps, {low} to {high} clusters", 0.0)
            highs = Highs(program.model, monitor)
            options = request.options
            outcome = highs.solve(
                monitor,
                threads=options.threads or 1,
                seed=options.seed or 0,
                log=options.log,
                presolve=False,
            )
            if outcome.status == "infeasible":
                break
            if outcome.bound is not None:
                safe = (outcome.bound * (1 - ROUND_ENERGY) - ROUND) * unit
                least = max(least, safe)
            best = monitor.objective
            if monitor.stopping or outcome.values is None:
                ranges.append((least, low, high))
                break
            if best is not None and total_fj(least) >= best:
                break
            values = outcome.values
            used = program.used(lambda x: highs.value(values, x))  # noqa: B023
            evaluation = request.offer([columns.segment(used)])
            if evaluation.violations and len(used) > low:
                ranges += [(least, low, len(used) - 1), (least, len(used), high)]
                break
            rejected += 1
            if rejected > REJECTIONS:
                return False
            program.exclude(used)
    if monitor.stopping:
        return True
    if monitor.objective is None:
        request.prove_infeasible()
    else:
        request.raise_bound(monitor.objective)
    return True


def _at_most(bound: int, objective: int | None) -> int:
    return bound if objective is None else min(bound, objective)


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


class Thresholds:
    """Staircases of all segments, and the columns that they share."""

    def __init__(self, request: Request, cuts: Cuts) -> None:
        self._request, self._cuts = request, cuts
        self._stairs: dict[tuple[int, int], Staircase] = {}
        self._table: ColumnTable | None = None
        lower = cuts.lower
        before, rest = best_cut(lower), best_rest(lower)
        self._around = before[:-1, None] + rest[None, 1:]
        """(L, L) bound on the layers around each segment, as `Caps` has it or more"""

    def prove(self, first: int, last: int, ceiling_ps: int | None) -> None:
        """Settle a segment; see `Cuts.run`. Raises `Stopped` and `Undecided`."""
        if (first, last) not in self._stairs:
            stairs = Staircase(self._request, self._cuts, self.supply, first, last)
            self._stairs[first, last] = stairs
        self._stairs[first, last].prove(ceiling_ps)

    def supply(self, first: int, last: int, latency_ps: int | None) -> SegmentColumns:
        """All columns that the segment can have within that latency."""
        ceiling = None
        if latency_ps is not None:
            ceiling = latency_ps + int(self._around[first, last])
        table = self._table
        made = None if table is None else table.ceiling_ps
        if table is None or (made is not None and (ceiling is None or ceiling > made)):
            monitor = self._request.monitor
            monitor.report("columns", 0.0)
            with monitor.timed("build"):
                table = self._table = ColumnTable(self._request, self._generous(ceiling, made))
        return SegmentColumns(table, first, last)

    def _generous(self, ceiling_ps: int | None, made_ps: int | None) -> int | None:
        """A ceiling that others will hardly exceed soon, nor beyond what is of any use."""
        best, bound = self._request.monitor.objective, self._request.monitor.bound
        if ceiling_ps is None or bound is None:
            return ceiling_ps
        wide = ceiling_ps if made_ps is None else max(ceiling_ps, 2 * made_ps - bound)
        return wide if best is None else max(ceiling_ps, min(wide, best))
