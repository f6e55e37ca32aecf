"""The whole mapping problem as one constraint program, solved by OR-tools CP-SAT.

One Boolean per cluster column (`formulations.columns`) and one per segment and number of clusters;
README.md in this folder lists the constraint families under the names of the methods here.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from formulations.columns import Caps, ColumnMaker, Space, Stopped
from formulations.request import CONSTRAINTS, Request, make_request
from scope_opt.files import InputError
from scope_opt.schedule import make_segment
from scope_opt.tables import LIMIT, PARTITIONS

from scope_opt.solver import SolverUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from formulations.columns import Column
    from scope_opt.instance import Instance
    from scope_opt.schedule import Segment
    from scope_opt.tables import LatencyTables

    from scope_opt.solver import Monitor, SolveOptions

ROW_LIMIT = 2**30
"""Rows over Booleans keep the sum of their coefficients below this."""
INTEGER_LIMIT = 2**61
"""Rows over integers keep their largest possible value below this; CP-SAT refuses 2^63."""
COARSE_STEPS = 1000
"""Beats are this many units long, at most, in the first, coarse program."""
MAX_COLUMNS = 1_000_000
"""Columns above which a program is not built; CP-SAT would need tens of gigabytes."""
FIRST_STEP = 8
"""The first ceiling is this part of the gap (of the bound, without a schedule) above the bound."""
CEILINGS = 4
"""Without a schedule, there is no ceiling any more after this many."""
CLOSE = 200
"""Gaps below this part of the bound are closed in one go."""
POLL_S = 0.02
"""Seconds between two looks at whether to stop."""


class SegmentColumn(NamedTuple):
    """Layers ``first..last`` as a segment of so many clusters."""

    first: int
    last: int
    clusters: int


def import_cp_sat() -> Any:
    """OR-tools' module for CP-SAT; raises `SolverUnavailable` if it is not installed."""
    try:
        from ortools.sat.python import cp_model
    except ImportError as error:
        raise SolverUnavailable(
            f"solver 'cp-sat' needs OR-tools; install it with: pip install ortools ({error})"
        ) from error
    return cp_model


class Program:
    """The constraint program for one time unit.

    All times are rounded down to whole units, so a unit above 1 ps makes a relaxation: every
    schedule remains a solution, with an objective that, times the unit, is at most its latency.

    Parameters
    ----------
    tables : LatencyTables
    space : Space
        What schedules may look like.
    columns : list of Column
    receive_ps : list of int
        What each column's predecessor pays for handing over to it.
    caps : Caps
        Largest beats.
    unit_ps : int
        Length of the time unit; 1 for the exact program.
    energy_unit_fj : int
        The same for energies; 1 for the exact budget.
    ceiling_ps : int, optional
        Schedules above this latency need not be solutions.
    """

    def __init__(
        self,
        tables: LatencyTables,
        space: Space,
        columns: Sequence[Column],
        receive_ps: Sequence[int],
        caps: Caps,
        unit_ps: int,
        energy_unit_fj: int = 1,
        ceiling_ps: int | None = None,
    ) -> None:
        self._cp = import_cp_sat()
        self.model = self._cp.CpModel()
        self.tables, self.space, self.columns = tables, space, columns
        self.unit_ps = unit_ps
        self._layers = tables.layers
        self._times = [column.time_ps // unit_ps for column in columns]
        self._sending = [
            None if column.sending_ps is None else column.sending_ps // unit_ps
            for column in columns
        ]
        self._receive = [value // unit_ps for value in receive_ps]
        self._caps, self._energy_unit = caps, energy_unit_fj
        self._hints: dict[int, int] = {}
        self._variables()
        self._cover()
        self._ends()
        self._surroundings()
        self._cluster_counts()
        self._regions()
        self._beats()
        self._handing_over()
        self._area()
        self._energy()
        self._objective(ceiling_ps)

    # --- Variables -------------------------------------------------------------------------------

    def _variables(self) -> None:
        model, layers = self.model, self._layers
        self.x = [model.new_bool_var("") for _ in self.columns]
        """One per column: the cluster is used."""
        slowest = max(
            [
                *self._times,
                *(s for s in self._sending if s is not None),
                0,
            ]
        ) + max(self._receive, default=0)
        slowest = max(slowest, int(self.tables.segment_dram_ps.max()) // self.unit_ps)
        self.slowest = slowest
        largest = [self._caps.all_segments(n).copy() for n in (1, 2)]
        self.segments: dict[SegmentColumn, Any] = {}
        """One per segment and number of clusters: the segment is used."""
        self.beat: dict[SegmentColumn, Any] = {}
        """Its beat in units, 0 if it is not used."""
        opening = {c.first for c in self.columns if c.opens}
        closing = {c.last for c in self.columns if c.closes}
        for first in sorted(opening):
            for last in sorted(end for end in closing if end >= first):
                if not self.space.segments[first, last]:
                    continue
                for n in range(self.space.fewest, min(self.space.most, last - first + 1) + 1):
                    cap = largest[0] if n == 1 else largest[1]
                    top = int(cap[first, last])
                    if n > 2 and top < LIMIT and top >= 0:
                        top = self._caps.segment(first, last, n)
                    if top < 0:
                        continue
                    key = SegmentColumn(first, last, n)
                    top = min(top // self.unit_ps, slowest)
                    self.segments[key] = model.new_bool_var("")
                    self.beat[key] = model.new_int_var(0, top, "")
        self.begins = [model.new_bool_var("") for _ in range(layers)]
        """Layer opens a segment."""
        self.starts = [model.new_bool_var("") for _ in range(layers)]
        """Layer opens a cluster."""
        self.size = [model.new_int_var(0, self.tables.chiplets, "") for _ in range(layers)]
        """Region size of the cluster that the layer opens, else 0."""
        self.beat_at = [model.new_int_var(0, slowest, "") for _ in range(layers)]
        """Beat of the layer's segment."""
        self.starting: list[list[int]] = [[] for _ in range(layers)]
        self.ending: list[list[int]] = [[] for _ in range(layers)]
        self.covering: list[list[int]] = [[] for _ in range(layers)]
        for k, column in enumerate(self.columns):
            self.starting[column.first].append(k)
            self.ending[column.last].append(k)
            for layer in range(column.first, column.last + 1):
                self.covering[layer].append(k)

    # --- Constraint families ---------------------------------------------------------------------

    def _cover(self) -> None:
        """Every layer is in exactly one cluster and one segment."""
        model = self.model
        for layer in range(self._layers):
            model.add_exactly_one(self.x[k] for k in self.covering[layer])
            over = [v for s, v in self.segments.items() if s.first <= layer <= s.last]
            model.add_exactly_one(over)
            model.add(self.starts[layer] == self._sum(self.x[k] for k in self.starting[layer]))
            first = [v for s, v in self.segments.items() if s.first == layer]
            model.add(self.begins[layer] == self._sum(first))
        if self.space.segment_count is not None:
            model.add(self._sum(self.begins) == self.space.segment_count)

    def _ends(self) -> None:
        """Segments begin with clusters that open and end with clusters that close them."""
        model = self.model
        for layer in range(self._layers):
            opening = (self.x[k] for k in self.starting[layer] if self.columns[k].opens)
            model.add(self._sum(opening) == self.begins[layer])
            closing = (self.x[k] for k in self.ending[layer] if self.columns[k].closes)
            ending = (v for s, v in self.segments.items() if s.last == layer)
            model.add(self._sum(closing) == self._sum(ending))
        whole: dict[tuple[int, int], list[Any]] = {}
        for k, column in enumerate(self.columns):
            if column.opens and column.closes:
                whole.setdefault((column.first, column.last), []).append(self.x[k])
        pairs = {(s.first, s.last) for s in self.segments if s.clusters == 1} | set(whole)
        for first, last in sorted(pairs):
            used = self.segments.get(SegmentColumn(first, last, 1), 0)
            model.add(self._sum(whole.get((first, last), [])) == used)

    def _surroundings(self) -> None:
        """A column is used only in a segment that begins and ends where the column says."""
        groups: dict[tuple[int, int, int, int], list[Any]] = {}
        for k, column in enumerate(self.columns):
            if column.opens and column.closes:
                continue
            low, high = column.starts
            if not column.opens and (low, high) != (0, column.first - 1):
                groups.setdefault((0, column.first, low, high), []).append(self.x[k])
            low, high = column.ends
            if not column.closes and (low, high) != (column.last + 1, self._layers - 1):
                groups.setdefault((1, column.last, low, high), []).append(self.x[k])
        for (side, layer, low, high), members in groups.items():
            around = [
                v
                for s, v in self.segments.items()
                if s.first <= layer <= s.last and low <= (s.last if side else s.first) <= high
            ]
            self.model.add(self._sum(members) <= self._sum(around))

    def _cluster_counts(self) -> None:
        """A segment has the number of clusters that it is charged for."""
        model = self.model
        for s, used in self.segments.items():
            inside = self._sum(self.starts[s.first : s.last + 1])
            model.add(inside == s.clusters).only_enforce_if(used)
        total = self._weighted([(v, s.clusters) for s, v in self.segments.items()])
        model.add(self._sum(self.starts) == total)

    def _regions(self) -> None:
        """The regions of a segment fit the package, for every run of layers at once.

        A run that segments cut in ``k`` places touches ``k + 1`` of them.
        """
        model, chiplets = self.model, self.tables.chiplets
        for layer in range(self._layers):
            sizes = [(self.x[k], self.columns[k].size) for k in self.starting[layer]]
            model.add(self.size[layer] == self._weighted(sizes))
        for first in range(self._layers):
            for last in range(first + 1, self._layers):
                cuts = self._sum(self.begins[first + 1 : last + 1])
                used = self._sum(self.size[first : last + 1])
                model.add(used <= chiplets + chiplets * cuts)

    def _beats(self) -> None:
        """The beat is that of the segment and at least every cluster's time."""
        model = self.model
        dram = self.tables.segment_dram_ps
        for s, used in self.segments.items():
            beat = self.beat[s]
            least = max(int(dram[s.first, s.last]), int(self._caps.floors[s.first, s.last]))
            model.add(beat >= least // self.unit_ps).only_enforce_if(used)
            model.add(beat == 0).only_enforce_if(~used)
        heaviest = max(
            sum(self._times[k] for k in self.covering[layer]) for layer in range(self._layers)
        )
        self.coarse = max(1, -(-heaviest // ROW_LIMIT))
        """Units per coarse unit, in which rows over many Booleans stay small."""
        self.coarse_at = self.beat_at
        if self.coarse > 1:
            top = self.slowest // self.coarse
            self.coarse_at = [model.new_int_var(0, top, "") for _ in range(self._layers)]
        for layer in range(self._layers):
            over = [v for s, v in self.beat.items() if s.first <= layer <= s.last]
            model.add(self.beat_at[layer] == self._sum(over))
            if self.coarse > 1:
                model.add(self.coarse * self.coarse_at[layer] <= self.beat_at[layer])
                for k in self.starting[layer]:
                    model.add(self.beat_at[layer] >= self._times[k]).only_enforce_if(self.x[k])
            rows = [(self.x[k], self._times[k] // self.coarse) for k in self.covering[layer]]
            model.add(self.coarse_at[layer] >= self._weighted(rows))

    def _handing_over(self) -> None:
        """A cluster pays for what the next one receives (Case 2 of Table II)."""
        model = self.model
        self.received: dict[int, Any] = {}
        for layer in range(self._layers - 1):
            senders = [(k, self._sending[k]) for k in self.ending[layer]]
            sending = [(k, value) for k, value in senders if value is not None]
            receiving = [k for k in self.starting[layer + 1] if self._receive[k] > 0]
            if not sending or not receiving:
                continue
            received = model.new_int_var(0, max(self._receive[k] for k in receiving), "")
            self.received[layer] = received
            self._at_least(received, [(k, self._receive[k]) for k in receiving])
            total = sum(value for _, value in sending)
            if total < ROW_LIMIT:
                terms = [(self.x[k], value) for k, value in sending]
                model.add(self.beat_at[layer] >= self._weighted(terms) + received)
            else:
                for k, value in sending:
                    row = model.add(self.beat_at[layer] >= received + value)
                    row.only_enforce_if(self.x[k])

    def _area(self) -> None:
        """Redundant: the chiplet-time of a segment's clusters fits the package and the beat."""
        model, chiplets = self.model, self.tables.chiplets
        areas = [column.size * self._times[k] for k, column in enumerate(self.columns)]
        heaviest = max(sum(areas[k] for k in at) for at in self.starting)
        unit = max(self.coarse, -(-heaviest // ROW_LIMIT))
        self.area, self.area_beat = [], []
        self.area_unit = unit
        for layer in range(self._layers):
            terms = [
                (self.x[k], self.columns[k].size * (self._times[k] // unit))
                for k in self.starting[layer]
            ]
            top = max((value for _, value in terms), default=0)
            area = model.new_int_var(0, top, "")
            model.add(area == self._weighted(terms))
            self.area.append(area)
            beat = model.new_int_var(0, self.slowest // unit, "")
            model.add(unit * beat <= self.beat_at[layer])
            self.area_beat.append(beat)
        pairs: dict[tuple[int, int], list[Any]] = {}
        for s, used in self.segments.items():
            pairs.setdefault((s.first, s.last), []).append(used)
        for (first, last), used in pairs.items():
            inside = self._sum(self.area[first : last + 1])
            for literal in used:
                row = model.add(inside <= chiplets * self.area_beat[first])
                row.only_enforce_if(literal)
        # All segments together.
        top = self.slowest * len(self.beat)
        self.area_total = model.new_int_var(0, top // unit, "")
        model.add(unit * self.area_total <= self._sum(self.beat.values()))
        model.add(self._sum(self.area) <= chiplets * self.area_total)

    def _energy(self) -> None:
        """The energy of a sample stays within the budget."""
        self.energy: list[Any] = []
        budget = self.space.budget_fj
        if budget is None:
            return
        model, unit = self.model, self._energy_unit
        if budget < 0:
            model.add_bool_or([])
            return
        values = [column.energy_fj // unit for column in self.columns]
        for layer in range(self._layers):
            top = max((values[k] for k in self.starting[layer]), default=0)
            energy = model.new_int_var(0, top, "")
            self._at_least(energy, [(k, values[k]) for k in self.starting[layer]])
            self.energy.append(energy)
        model.add(self._sum(self.energy) <= budget // unit)

    def _objective(self, ceiling_ps: int | None) -> None:
        """Loads of the segments, and their beats as often as samples and clusters ask."""
        load = self.tables.load_ps
        # Every layer is loaded once: only how far a load is from a sum over its layers is decided.
        shares = np.diff(np.concatenate([[0], load[0]])).tolist()
        self.constant_ps = int(load[0, -1])
        terms: list[tuple[Any, int]] = []
        for s, used in self.segments.items():
            rest = int(load[s.first, s.last]) - sum(shares[s.first : s.last + 1])
            if rest // self.unit_ps:
                terms.append((used, rest // self.unit_ps))
            terms.append((self.beat[s], self.tables.samples + s.clusters - 1))
        self.model.minimize(self._weighted(terms))
        if ceiling_ps is not None:
            most = (ceiling_ps - self.constant_ps) // self.unit_ps
            self.model.add(self._weighted(terms) <= most)

    # --- Rows ------------------------------------------------------------------------------------

    def _sum(self, terms: Iterable[Any]) -> Any:
        return self._cp.LinearExpr.sum(list(terms))

    def _weighted(self, terms: Sequence[tuple[Any, int]]) -> Any:
        return self._cp.LinearExpr.weighted_sum([v for v, _ in terms], [c for _, c in terms])

    def _at_least(self, variable: Any, terms: Sequence[tuple[int, int]]) -> None:
        """``variable`` is at least the coefficient of the one column that is used, if any."""
        if sum(value for _, value in terms) < ROW_LIMIT:
            self.model.add(variable >= self._weighted([(self.x[k], c) for k, c in terms]))
            return
        for k, value in terms:
            self.model.add(variable >= value).only_enforce_if(self.x[k])

    # --- Solutions -------------------------------------------------------------------------------

    def bound_ps(self, objective: int) -> int:
        """Lower bound in ps that follows from one on the objective in units."""
        return objective * self.unit_ps + self.constant_ps

    def objective(self, beats: dict[SegmentColumn, int]) -> int:
        """Objective in units of a solution, given the beats of its segments."""
        load = self.tables.load_ps
        total = 0
        for s, beat in beats.items():
            shares = int(load[0, s.last]) - (int(load[0, s.first - 1]) if s.first else 0)
            total += (int(load[s.first, s.last]) - shares) // self.unit_ps
            total += (self.tables.samples + s.clusters - 1) * beat
        return total

    def schedule(self, used: Sequence[int]) -> tuple[Segment, ...]:
        """Segments made of columns, given by index."""
        segments: list[Segment] = []
        parts: list[tuple[int, int, Sequence[int]]] = []
        first = 0
        for column in sorted(self.columns[k] for k in used):
            first = column.first if column.opens else first
            parts.append((column.last - column.first + 1, column.size, column.partitions))
            if column.closes:
                segments.append(make_segment(first, parts))
                parts = []
        return tuple(segments)

    def find(self, segments: Sequence[Segment]) -> list[int] | None:
        """Columns of a schedule, or of one at least as good; None if they are not there."""
        wanted: list[tuple[int, int, int, int | None, int, int, bool]] = []
        for segment in segments:
            for index, cluster in enumerate(segment.clusters):
                head = PARTITIONS.index(cluster.partitions[0]) if index else None
                closes = index == len(segment.clusters) - 1
                wanted.append(
                    (
                        *(cluster.first_layer, cluster.last_layer, cluster.chiplets, head),
                        *(segment.first_layer, segment.last_layer, closes),
                    )
                )
        chosen: list[int] = []
        for first, last, size, head, start, end, closes in wanted:
            fitting = [
                k
                for k in self.starting[first]
                if (c := self.columns[k]).last == last
                and c.size == size
                and c.partition == head
                and c.closes == closes
                and c.starts[0] <= start <= c.starts[1]
                and c.ends[0] <= end <= c.ends[1]
            ]
            if not fitting:
                return None
            chosen.append(min(fitting, key=lambda k: self.columns[k].time_ps))
        return chosen

    def hint(self, segments: Sequence[Segment]) -> bool:
        """Hint every variable from a schedule; False if the program does not contain it."""
        used = self.find(segments)
        if used is None:
            return False
        keys = [SegmentColumn(s.first_layer, s.last_layer, len(s.clusters)) for s in segments]
        if any(key not in self.segments for key in keys):
            return False
        chosen = set(used)
        ordered = sorted(used, key=lambda k: self.columns[k].first)
        received: dict[int, int] = {}
        cluster_beat: dict[int, int] = {}
        for k, following in zip(ordered, [*ordered[1:], None], strict=True):
            column = self.columns[k]
            extra = 0 if following is None or column.closes else self._receive[following]
            received[column.last] = extra
            sending = self._sending[k]
            time = max(self._times[k], 0 if sending is None else sending + extra)
            cluster_beat[column.first] = time
        beats: dict[SegmentColumn, int] = {}
        for key in keys:
            inside = [t for first, t in cluster_beat.items() if key.first <= first <= key.last]
            least = max(
                int(self.tables.segment_dram_ps[key.first, key.last]),
                int(self._caps.floors[key.first, key.last]),
            )
            beats[key] = max(*inside, least // self.unit_ps)
        put = self.model.add_hint
        for k, x in enumerate(self.x):
            put(x, int(k in chosen))
        for key, literal in self.segments.items():
            put(literal, int(key in beats))
            put(self.beat[key], beats.get(key, 0))
        firsts = {self.columns[k].first: k for k in used}
        at = [b for key, b in sorted(beats.items()) for _ in range(key.first, key.last + 1)]
        begins = {key.first for key in keys}
        for layer in range(self._layers):
            opened = firsts.get(layer)
            put(self.begins[layer], int(layer in begins))
            put(self.starts[layer], int(opened is not None))
            put(self.size[layer], 0 if opened is None else self.columns[opened].size)
            put(self.beat_at[layer], at[layer])
            if self.coarse > 1:
                put(self.coarse_at[layer], at[layer] // self.coarse)
            unit = self.area_unit
            area = (
                0 if opened is None else self.columns[opened].size * (self._times[opened] // unit)
            )
            put(self.area[layer], area)
            put(self.area_beat[layer], at[layer] // unit)
            if self.energy:
                fj = 0 if opened is None else self.columns[opened].energy_fj
                put(self.energy[layer], fj // self._energy_unit)
            if layer in self.received:
                put(self.received[layer], received.get(layer, 0))
        put(self.area_total, sum(beats.values()) // self.area_unit)
        return True


class CpSatSolver:
    """Constraint programming over cluster columns."""

    name = "cp-sat"
    summary = "constraint program (OR-tools CP-SAT) over segments and clusters, energy budgets too"
    exact = True
    constraints: ClassVar[frozenset[str]] = CONSTRAINTS
    options: ClassVar[frozenset[str]] = frozenset({"seed", "warm_start"})

    def run(
        self,
        instance: Instance,
        tables: LatencyTables,
        options: SolveOptions,
        monitor: Monitor,
    ) -> None:
        """Search; see `scope_opt.solver.Solver`.

        Coarse programs come first. One worker, so that runs are repeatable.
        """
        import_cp_sat()
        try:
            Search(make_request(self.name, instance, tables, options, monitor)).run()
        except Stopped:
            return


class Search:
    """The programs for one instance, from coarse to exact, and what they tell the monitor."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._tables, self._space = request.tables, request.space
        self._seed, self._monitor = request.options.seed or 0, request.monitor
        self._maker = ColumnMaker(self._tables, self._space, lambda: self._monitor.stopping)

    def run(self) -> None:
        """Solve program after program; raises `Stopped`.

        Each asks for schedules up to a ceiling: few columns matter under a low one, and to refute
        it is quick and raises the bound. Ceilings rise, in growing steps, until one is attained;
        then the units become exact.
        """
        monitor = self._monitor
        self._request.raise_bound(Caps(self._tables, self._space, None).bound_ps)
        self._begin()
        bound = monitor.bound
        step: int | None = None
        exact, tries = False, 0
        while bound is None or monitor.objective is None or bound < monitor.objective:
            if monitor.stopping:
                raise Stopped
            best = monitor.objective
            if bound is None:
                ceiling = best
            else:
                gap = None if best is None else best - bound
                if step is None:
                    step = max(1, bound // FIRST_STEP if gap is None else gap // FIRST_STEP)
                ceiling = bound + step
                if gap is not None and (step >= gap or gap <= bound // CLOSE):
                    ceiling = best
                elif gap is None and (tries >= CEILINGS or ceiling >= LIMIT):
                    ceiling = None
                step *= 2
                tries += 1
            monitor.report("columns", 0.0)
            caps = Caps(self._tables, self._space, ceiling)
            columns = self._columns(caps)
            unit = 1 if exact else self._unit(columns, ceiling)
            attained = self._solve(columns, caps, unit, ceiling)
            if not attained and ceiling is None:
                self._request.prove_infeasible()
                return
            if attained and unit == 1:
                return
            if attained:
                exact, step = True, None
            bound = monitor.bound

    def _begin(self) -> None:
        """Best schedule in which every segment is one cluster, to begin with."""
        space, layers = self._space, self._tables.layers
        if space.fewest > 1:
            return
        alone = self._maker.segments_of_one()
        load, samples = self._tables.load_ps, self._tables.samples
        cost = {
            pair: int(load[pair])
            + samples * max(column.time_ps, int(self._tables.segment_dram_ps[pair]))
            for pair, column in alone.items()
        }
        # Per number of segments so far (always 0 if any number will do) and layers so far.
        best: dict[tuple[int, int], tuple[int, tuple[Column, ...]]] = {(0, 0): (0, ())}
        for end in range(layers):
            for first in range(end + 1):
                if (first, end) not in cost:
                    continue
                for row in range(end + 1):
                    before = best.get((row, first))
                    if before is None:
                        continue
                    to = (row + 1 if space.segment_count is not None else row, end + 1)
                    total = before[0] + cost[first, end]
                    if to not in best or total < best[to][0]:
                        best[to] = (total, (*before[1], alone[first, end]))
        found = best.get((space.segment_count or 0, layers))
        if found is not None:
            self._request.offer(
                [
                    make_segment(
                        column.first,
                        [(column.last - column.first + 1, column.size, column.partitions)],
                    )
                    for column in found[1]
                ]
            )

    def _columns(self, caps: Caps) -> list[Column]:
        columns: list[Column] = []
        for column in self._maker.columns(caps):
            columns.append(column)
            if len(columns) > MAX_COLUMNS:
                problem = (
                    f"solver 'cp-sat' would need more than {MAX_COLUMNS} Booleans; use solver "
                    "'exact', fewer segments or a smaller max_region"
                )
                raise InputError("instance", [problem])
        return columns

    def _unit(self, columns: Sequence[Column], ceiling: int | None) -> int:
        """Length of a coarse program's time unit in ps; 1 if that is hardly finer."""
        slowest = max((column.time_ps for column in columns), default=0)
        if ceiling is not None:
            slowest = min(slowest, ceiling // self._tables.samples)
        unit = slowest // COARSE_STEPS
        return unit if unit > 8 else 1

    def _solve(self, columns: Sequence[Column], caps: Caps, unit: int, ceiling: int | None) -> bool:
        """Solve one program; False if there is no schedule up to the ceiling."""
        monitor = self._monitor
        energy_unit = 1
        if self._space.budget_fj is not None and unit > 1:
            largest = max((column.energy_fj for column in columns), default=0)
            energy_unit = max(1, largest // COARSE_STEPS**2)
        receive = [self._maker.receive_ps(column) for column in columns]
        if monitor.stopping:
            raise Stopped
        program = Program(
            self._tables, self._space, columns, receive, caps, unit, energy_unit, ceiling
        )
        problem = program.model.validate()
        if problem:
            raise RuntimeError(f"CP-SAT refuses the program: {problem}")
        if monitor.segments is not None:
            program.hint(monitor.segments)
        limit = "" if ceiling is None else f" up to {ceiling} ps"
        monitor.report(f"schedules{limit} in units of {unit} ps, {len(columns)} columns", 0.0)
        status, objective = self._drive(program, ceiling)
        cp = import_cp_sat()
        if status == cp.INFEASIBLE:
            if ceiling is not None:
                if monitor.objective is not None and ceiling >= monitor.objective:
                    raise RuntimeError("CP-SAT refutes a program that contains a known schedule")
                self._request.raise_bound(ceiling + 1)
            return False
        if status == cp.OPTIMAL and objective is not None:
            self._request.raise_bound(program.bound_ps(objective))
            return True
        if not monitor.stopping:
            raise RuntimeError("CP-SAT ended without a proof")
        raise Stopped

    def _drive(self, program: Program, ceiling: int | None) -> tuple[Any, int | None]:
        """Run CP-SAT in a thread; report what it finds; stop it when the monitor says so."""
        cp = import_cp_sat()
        solver = cp.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = self._seed
        solver.parameters.linearization_level = 2
        solver.parameters.catch_sigint_signal = False
        events: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()

        class OnSolution(cp.CpSolverSolutionCallback):  # type: ignore[misc, name-defined]
            def on_solution_callback(self) -> None:
                used = [k for k, x in enumerate(program.x) if self.boolean_value(x)]
                events.put(("schedule", used))

        solver.best_bound_callback = lambda bound: events.put(("bound", bound))
        outcome: list[Any] = []

        def work() -> None:
            try:
                outcome.append(solver.solve(program.model, OnSolution()))
            except BaseException as error:  # raised again in the main thread
                outcome.append(error)

        def report() -> None:
            while not events.empty():
                kind, value = events.get()
                if kind == "schedule":
                    self._request.offer(program.schedule(value))
                else:
                    bound = program.bound_ps(_floor(value))
                    self._request.raise_bound(bound if ceiling is None else min(bound, ceiling + 1))

        thread = threading.Thread(target=work, name="cp-sat", daemon=True)
        thread.start()
        try:
            while thread.is_alive():
                thread.join(POLL_S)
                report()
                if thread.is_alive() and self._monitor.stopping:
                    solver.stop_search()
        finally:
            if thread.is_alive():
                solver.stop_search()
                thread.join()
        report()
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        status = outcome[0]
        objective = None
        if status == cp.OPTIMAL:
            beats = {
                s: solver.value(program.beat[s])
                for s, used in program.segments.items()
                if solver.boolean_value(used)
            }
            objective = program.objective(beats)
        return status, objective


def _floor(bound: float) -> int:
    """A bound that CP-SAT reports as a float, rounded down safely."""
    value = int(np.floor(bound))
    return value if abs(value) < 2**53 else int(np.floor(np.nextafter(bound, -np.inf)))
