"""Whole networks in one program, with the beat of every possible segment as a variable.

The constraint families are those of `formulations.cp_sat.columns`, here as linear rows. Times and
energies are floats in moderate units, so the bound that HiGHS proves is lowered by what its
tolerances can amount to before it counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from formulations.columns.schedules import SegmentColumn
from formulations.highs import TOLERANCE, Highs, import_pyomo
from formulations.program.clusters import ClusterProgram
from scope_opt.model.tables import LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from formulations.columns.columns import Columns
    from formulations.columns.schedules import Partitions
    from formulations.request import Request
    from formulations.space import Caps
    from scope_opt.schedule.evaluation import SegmentReport
    from scope_opt.schedule.schedule import Segment

LARGEST = 10**5
"""Times, energies and bytes are counted in units of which the largest has this many, or in 1."""


def _unit(largest: int) -> int:
    return max(1, largest // LARGEST)


class BeatsProgram:
    """The program in Pyomo.

    Parameters
    ----------
    request : Request
    columns : Columns
    partitions : sequence of tuple of int
        Of the layers of each column.
    caps : Caps
        Largest beats.
    """

    def __init__(
        self, request: Request, columns: Columns, partitions: Partitions, caps: Caps
    ) -> None:
        self._pyo = import_pyomo()
        self._tables, self._space = request.tables, request.space
        self._program = ClusterProgram(self._tables, self._space, columns, partitions, caps)
        self._layers = self._program.layers
        self.model = self._pyo.ConcreteModel()
        self._data()
        rows: dict[str, Callable[[], None]] = {
            "beat_ranges": self._variables,
            "paths": self._paths,
            "surroundings": self._surroundings,
            "cluster_counts": self._cluster_counts,
            "regions": self._regions,
            "beats": self._beats,
            "area": self._area,
            "energy_budget": self._energy,
            "power": self._power,
            "traffic": self._traffic,
            "latency_bound": self._objective,
            "excluded": lambda: None,
        }
        for name, state in rows.items():
            self._rows = self._pyo.ConstraintList()
            self.model.add_component(name, self._rows)
            state()

    def _data(self) -> None:
        """Units of time and energy, and times in units."""
        program = self._program
        self.unit_fj = _unit(max(program.spent_fj, default=0))
        times = list(map(float, program.times_ps))
        slowest = float(program.slowest_ps)
        if self._space.power_fj_per_ps is not None:
            power = float(self._space.power_fj_per_ps)
            energies = zip(times, program.energy_fj, strict=True)
            times = [max(time, spent / power) for time, spent in energies]
            slowest = max(slowest, program.most_fj / power)
        self.unit_ps = _unit(int(slowest))
        self._slowest = slowest / self.unit_ps + 1
        self._times = [time / self.unit_ps for time in times]
        self._spent = [value / self.unit_fj for value in program.spent_fj]

    def _variables(self) -> None:
        pyo, model, top = self._pyo, self.model, self._program.segments
        model.x = pyo.Var(self._program.keys, domain=pyo.Binary)
        self.x = list(model.x.values())
        model.segment = pyo.Var(list(top), domain=pyo.Binary)
        model.beat = pyo.Var(list(top), bounds=(0, None))
        self.segments = {key: model.segment[key] for key in top}
        self.beat = {key: model.beat[key] for key in top}
        for key, most_ps in top.items():
            most_units = min(most_ps / self.unit_ps, self._slowest)
            least = self._program.floor_ps(key) / self.unit_ps
            self._add([(self.beat[key], 1), (self.segments[key], -most_units)], None, 0)
            self._add([(self.beat[key], 1), (self.segments[key], -least)], 0, None)
        self.size = self._totals("size", self._program.sizes)
        self._layer_beat()

    def _layer_beat(self) -> None:
        """Beat of each layer's segment."""
        self.model.layer_beat = self._pyo.Var(self._layers)
        self.layer_beat = [self.model.layer_beat[layer] for layer in self._layers]
        for layer, variable in enumerate(self.layer_beat):
            over = [(self.beat[s], -1) for s in self._program.over(layer)]
            self._add([(variable, 1), *over], 0, 0)

    def _totals(self, name: str, values: Sequence[float]) -> list[Any]:
        """A variable per layer with the value of the column that begins there, else 0."""
        self.model.add_component(name, self._pyo.Var(self._layers, bounds=(0, None)))
        variables = [getattr(self.model, name)[layer] for layer in self._layers]
        for variable, at in zip(variables, self._program.starting, strict=True):
            self._add([(variable, -1), *((self.x[k], values[k]) for k in at)], 0, 0)
        return variables

    # --- Constraint families ---------------------------------------------------------------------

    def _paths(self) -> None:
        """Clusters are a path through the layers, segments too, and both begin and end together."""
        program, last = self._program, self._tables.layers - 1
        for layer in self._layers:
            begin = [(v, -1) for s, v in self.segments.items() if s.first == layer]
            end = [(v, -1) for s, v in self.segments.items() if s.last == layer]
            opening = [(self.x[k], 1) for k in program.opening(layer)]
            closing = [(self.x[k], 1) for k in program.closing(layer)]
            self._add([*opening, *begin], 0, 0)
            self._add([*closing, *end], 0, 0)
            if layer < last:
                ending = [(self.x[k], 1) for k in self._program.ending[layer]]
                self._add(
                    [*ending, *((self.x[k], -1) for k in self._program.starting[layer + 1])], 0, 0
                )
                following = [(v, 1) for s, v in self.segments.items() if s.first == layer + 1]
                self._add([*following, *end], 0, 0)
        self._add([(self.x[k], 1) for k in self._program.starting[0]], 1, 1)
        self._add([(v, 1) for s, v in self.segments.items() if s.first == 0], 1, 1)
        if self._space.segment_count is not None:
            count = self._space.segment_count
            self._add([(v, 1) for v in self.segments.values()], count, count)
        for (first, last), members in program.alone().items():
            used = self.segments.get(SegmentColumn(first, last, 1))
            charged = [] if used is None else [(used, -1)]
            self._add([*charged, *((self.x[k], 1) for k in members)], 0, 0)

    def _surroundings(self) -> None:
        """A column is used only in a segment that begins and ends where the column says."""
        for members, around in self._program.surroundings():
            inside = [(self.segments[s], -1) for s in around]
            self._add([*((self.x[k], 1) for k in members), *inside], None, 0)

    def _cluster_counts(self) -> None:
        """Segments have as many clusters as they are charged for: each at least, all in total."""
        self.model.starts = self._pyo.Var(self._layers, bounds=(0, 1))
        self.starts = [self.model.starts[layer] for layer in self._layers]
        for variable, at in zip(self.starts, self._program.starting, strict=True):
            self._add([(variable, -1), *((self.x[k], 1) for k in at)], 0, 0)
        for (first, last), keys in self._program.pairs.items():
            charged = [(self.segments[s], -s.clusters) for s in keys]
            self._add([*((v, 1) for v in self.starts[first : last + 1]), *charged], 0, None)
        charged = [(v, -s.clusters) for s, v in self.segments.items()]
        self._add([*((v, 1) for v in self.starts), *charged], 0, 0)

    def _regions(self) -> None:
        """The regions of a segment fit the package.

        A run of layers that segments cut in ``k`` places touches ``k + 1`` of them.
        """
        chiplets = self._tables.chiplets
        for first, last in self._program.pairs:
            cuts = [(v, -chiplets) for s, v in self.segments.items() if first < s.first <= last]
            self._add([*((v, 1) for v in self.size[first : last + 1]), *cuts], None, chiplets)

    def _beats(self) -> None:
        """The beat allows for every cluster and what it sends (Case 2 of Table II)."""
        for layer, beat in enumerate(self.layer_beat):
            times: list[tuple[Any, float]] = [
                (self.x[k], -self._times[k]) for k in self._program.covering[layer]
            ]
            self._add([(beat, 1), *times], 0, None)
            if layer + 1 == self._tables.layers:
                continue
            sending = [
                (self.x[k], -time_ps / self.unit_ps) for k, time_ps in self._program.sending(layer)
            ]
            receive_ps = self._program.receive_ps
            receiving = [
                (self.x[k], -receive_ps[k] / self.unit_ps)
                for k in self._program.starting[layer + 1]
            ]
            if sending:
                self._add([(beat, 1), *sending, *receiving], 0, None)

    def _area(self) -> None:
        """Redundant: the chiplet-time of all clusters fits the package and the beats."""
        areas = [
            (self.x[k], size * self._times[k] / self._tables.chiplets)
            for k, size in enumerate(self._program.sizes)
        ]
        self._add([*areas, *((beat, -1) for beat in self.beat.values())], None, 0)

    def _energy(self) -> None:
        """The energy of a sample stays within the budget."""
        self.energy: list[Any] = []
        if not self._space.energy_matters:
            return
        self.energy = self._totals("energy", self._spent)
        if self._space.budget_fj is not None:
            left = (self._space.budget_fj - sum(self._program.base_fj)) / self.unit_fj
            self._add([(v, 1) for v in self.energy], None, left)

    def _power(self) -> None:
        """The beat is long enough for the energy of a sample."""
        power = self._space.power_fj_per_ps
        if power is None:
            return
        per_beat = float(power * self.unit_ps / self.unit_fj)
        for (first, last), keys in self._program.pairs.items():
            base = self._program.base_of((first, last)) / self.unit_fj
            most = sum(
                max((self._spent[k] for k in at), default=0)
                for at in self._program.starting[first : last + 1]
            )
            terms: list[tuple[Any, float]] = [(v, 1) for v in self.energy[first : last + 1]]
            terms += [(self.beat[s], -per_beat) for s in keys]
            # Holds if the segment is not used, whatever the energy.
            terms += [(self.segments[s], most + base) for s in keys]
            self._add(terms, None, most)

    def _traffic(self) -> None:
        """Weights fetched again add to what a segment reads and writes in DRAM."""
        if not self._program.refetches:
            return
        refetched = self._program.refetched_bytes
        unit = _unit(max(refetched))
        moved = self._totals("refetched", [value / unit for value in refetched])
        for (first, last), keys in self._program.pairs.items():
            left = self._program.refetch_limit_bytes((first, last)) / unit
            most = sum(
                max((refetched[k] for k in at), default=0) / unit
                for at in self._program.starting[first : last + 1]
            )
            if most > left:
                terms = [(v, 1) for v in moved[first : last + 1]]
                self._add([*terms, *((self.segments[s], most - left) for s in keys)], None, most)

    def _objective(self) -> None:
        """Loads and beats, in units and up to a constant; or energy under a bound on latency."""
        program, tables = self._program, self._tables
        constant_ps = program.loading_ps
        # Every layer is loaded once: only how far a load is from a sum over its layers is decided.
        terms: list[tuple[Any, float]] = []
        for s, rest_ps in program.rest_ps().items():
            terms.append((self.segments[s], rest_ps / self.unit_ps))
            terms.append((self.beat[s], program.beats_of(s)))
        bound_ps, energy = self._space.latency_ps, tables.energy
        # What the tolerances on integers and rows of the slowest segment can amount to, in units.
        rows = len(self._layers) + 2
        self._slack = 2 * TOLERANCE * self._slowest * (tables.samples + rows)
        self.scale, self.constant = self.unit_ps, constant_ps
        """Latency in ps, or energy in fJ, is ``scale`` times the objective plus ``constant``."""
        if bound_ps is not None and energy is not None:
            self._add(terms, None, (bound_ps - constant_ps) / self.unit_ps)
            self.scale = tables.samples * self.unit_fj
            self.constant = program.least_total_fj
            terms = [(v, 1) for v in self.energy]
            self._slack = 2 * TOLERANCE * rows * (1 + max(self._spent, default=0))
        self.model.objective = self._pyo.Objective(expr=_linear(terms))

    def _add(
        self, terms: Iterable[tuple[Any, float]], low: float | None, high: float | None
    ) -> None:
        """Row between two numbers; one without variables is left out if it holds."""
        terms = list(terms)
        if not terms and (low is None or low <= 0) and (high is None or high >= 0):
            return
        row = _linear(terms)
        self._rows.add((row, low) if low == high else (low, row, high))

    # --- Solutions -------------------------------------------------------------------------------

    def read(self, value: Callable[[Any], float]) -> tuple[Segment, ...]:
        """Segments made of the columns that a solution uses."""
        return self.schedule([k for k, x in enumerate(self.x) if value(x) > 0.5])

    def schedule(self, used: Sequence[int]) -> tuple[Segment, ...]:
        """Segments made of some columns."""
        return self._program.schedule(used)

    def bound(self, objective: float) -> int:
        """Lower bound in ps or fJ that follows from one that HiGHS claims."""
        lowered = objective - self._slack - 1e-9 * abs(objective)
        return int(np.ceil(lowered * self.scale)) + self.constant

    def exclude(self, used: Sequence[int]) -> None:
        """Make a set of columns no solution any more."""
        self._add([(self.x[k], 1) for k in used], None, len(used) - 1)

    def start(
        self, segments: Sequence[Segment], reports: Sequence[SegmentReport]
    ) -> list[tuple[Any, float]] | None:
        """Values of all variables for a schedule; None if the program does not contain it."""
        used = self._program.find(segments)
        if used is None:
            return None
        values: list[tuple[Any, float]] = [(self.x[k], 1) for k in used]
        beats: dict[SegmentColumn, float] = {}
        for report in reports:
            key = SegmentColumn(report.first_layer, report.last_layer, len(report.clusters))
            if key not in self.segments:
                return None
            beats[key] = max(report.beat_ps, self._program.floor_ps(key)) / self.unit_ps
        for key, beat in beats.items():
            values += [(self.segments[key], 1), (self.beat[key], beat)]
            values += [(self.layer_beat[layer], beat) for layer in range(key.first, key.last + 1)]
        for k in used:
            first = int(self._program.columns.first[k])
            values.append((self.size[first], self._program.sizes[k]))
            values.append((self.starts[first], 1))
            if self.energy:
                values.append((self.energy[first], self._spent[k]))
        return values


def _linear(terms: Sequence[tuple[Any, float]]) -> Any:
    from pyomo.core.expr.numeric_expr import LinearExpression

    return LinearExpression(
        constant=0,
        linear_coefs=[float(coefficient) for _, coefficient in terms],
        linear_vars=[variable for variable, _ in terms],
    )


def solve_beats(request: Request, program: BeatsProgram) -> bool:
    """Solve the program; False if tolerances leave undecided what its best schedule is."""
    monitor, options = request.monitor, request.options
    start = None
    if monitor.segments is not None:
        start = program.start(monitor.segments, request.offer(monitor.segments).segments)

    def on_bound(value: float) -> None:
        bound = program.bound(value)
        if bound < LIMIT:
            best = monitor.objective
            request.raise_bound(bound if best is None else min(bound, best), highs.prover)

    for _ in range(request.tuning.rejections):
        highs = Highs(program.model, monitor)

        def used(values: Any, highs: Highs = highs) -> list[int]:
            return [k for k, x in enumerate(program.x) if highs.value(values, x) > 0.5]

        def offer(values: Any) -> bool:
            return not request.offer(program.schedule(used(values))).violations

        outcome = highs.solve(
            monitor,
            threads=request.threads,
            seed=options.seed or 0,
            log=options.log,
            start=start,
            on_solution=offer,
            on_bound=on_bound,
            # Presolve gains nothing here, takes long and cannot be interrupted.
            presolve=False,
        )
        if outcome.status == "infeasible":
            if monitor.objective is None:
                request.prove_infeasible(highs.prover)
            return True
        if outcome.bound is not None:
            on_bound(outcome.bound)
        if outcome.status == "stopped" or outcome.values is None:
            return True
        if offer(outcome.values):
            return True
        program.exclude(used(outcome.values))
    return False
