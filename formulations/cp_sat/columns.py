"""The mapping problem as one constraint program over cluster columns, for OR-tools CP-SAT.

One Boolean per column (`formulations.columns.maker`) and one per segment and number of clusters;
README.md in this folder lists the constraint families under the names of the methods here.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from formulations.columns.columns import NO_SENDING
from formulations.columns.schedules import SegmentColumn
from formulations.cp_sat.rows import ROW_LIMIT, PowerRow, Rows, import_cp_sat
from formulations.program.clusters import ClusterProgram

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from formulations.columns.columns import Columns
    from formulations.columns.schedules import Partitions
    from formulations.space import Caps, Space
    from scope_opt.model.tables import LatencyTables
    from scope_opt.schedule.schedule import Segment


class Program:
    """The constraint program for one unit of time and one of energy.

    All times and energies are rounded down to whole units, so that larger units make a relaxation:
    every schedule remains a solution, with an objective of at most its own.

    Parameters
    ----------
    tables : LatencyTables
    space : Space
        What schedules may look like.
    columns : Columns
    partitions : sequence of tuple of int
        Of the layers of each column.
    caps : Caps
        Largest beats.
    unit_ps, unit_fj : int
        Units of time and energy; 1 for the exact program.
    ceiling_ps : int, optional
        Schedules above this latency are no solutions that anyone needs.
    """

    def __init__(
        self,
        tables: LatencyTables,
        space: Space,
        columns: Columns,
        partitions: Partitions,
        caps: Caps,
        unit_ps: int,
        unit_fj: int = 1,
        ceiling_ps: int | None = None,
    ) -> None:
        self.model = import_cp_sat().CpModel()
        self._program = ClusterProgram(tables, space, columns, partitions, caps)
        self.tables, self.space, self.columns = tables, space, columns
        self.unit_ps, self.unit_fj = unit_ps, unit_fj
        self._layers = tables.layers
        self._rows = Rows(self.model, columns.number)
        self.x = self._rows.x
        """One per column: the cluster is used."""
        self._data()
        self.families: dict[str, range] = {}
        """Places of each family's rows in the model."""
        rows: dict[str, Callable[[], None]] = {
            "totals": self._variables,
            "cover": self._cover,
            "ends": self._ends,
            "surroundings": self._surroundings,
            "cluster_counts": self._cluster_counts,
            "regions": self._regions,
            "beats": self._beats,
            "handing_over": self._handing_over,
            "area": self._area,
            "energy_budget": self._energy,
            "power": self._power,
            "traffic": self._traffic,
            "latency_bound": lambda: self._objective(ceiling_ps),
        }
        for name, state in rows.items():
            before = len(self.model.proto.constraints)
            state()
            self.families[name] = range(before, len(self.model.proto.constraints))

    def _data(self) -> None:
        """Numbers of the columns in units."""
        program = self._program
        most_fj, slowest = program.most_fj, program.slowest_ps
        # The row of all segments has a beat, and a unit that it was rounded down by, for each.
        beats = self._layers * (self._largest_beat(most_fj) + self.unit_ps)
        self._power_row = PowerRow.of(self.space, beats, most_fj)
        times = program.times_ps
        if self._power_row is not None:
            # A segment's beat allows for the power of each of its clusters alone, too.
            alone = map(self._power_row.beat_ps, program.energy_fj)
            times = [max(pair) for pair in zip(times, alone, strict=True)]
            slowest = max(slowest, self._power_row.beat_ps(most_fj))
        self._times = [time // self.unit_ps for time in times]
        self._receive = [value // self.unit_ps for value in program.receive_ps]
        self._slowest = slowest // self.unit_ps
        self._spent = [value // self.unit_fj for value in program.spent_fj]

    def _largest_beat(self, most_fj: int) -> int:
        """Bound in ps on the beats that a power row meets."""
        if self.space.power_fj_per_ps is None:
            return 0
        slowest = max(self._program.times_ps, default=0)
        return max(slowest, int(most_fj / self.space.power_fj_per_ps) + 1)

    # --- Variables -------------------------------------------------------------------------------

    def _variables(self) -> None:
        model, layers = self.model, range(self._layers)
        self.segments: dict[SegmentColumn, Any] = {}
        """One per segment and number of clusters: the segment is used."""
        self.beat: dict[SegmentColumn, Any] = {}
        """Its beat in units, 0 if it is not used."""
        for key, most_ps in self._program.segments.items():
            self.segments[key] = model.new_bool_var("")
            most_units = min(most_ps // self.unit_ps, self._slowest)
            self.beat[key] = model.new_int_var(0, most_units, "")
        self.begins = [model.new_bool_var("") for _ in layers]
        """Layer opens a segment."""
        self.starts = [
            self._rows.pick([(k, 1) for k in self._program.starting[layer]]) for layer in layers
        ]
        """Layer opens a cluster."""
        sizes = [
            [(k, self._program.sizes[k]) for k in self._program.starting[layer]] for layer in layers
        ]
        self.size = [self._rows.pick(terms) for terms in sizes]
        """Region size of the cluster that the layer opens, else 0."""
        self.beat_at = [model.new_int_var(0, self._slowest, "") for _ in layers]
        """Beat of the layer's segment."""

    # --- Constraint families ---------------------------------------------------------------------

    def _cover(self) -> None:
        """Every layer is in exactly one cluster and one segment."""
        model = self.model
        for layer in range(self._layers):
            model.add_exactly_one(self.x[k] for k in self._program.covering[layer])
            model.add_exactly_one(self.segments[s] for s in self._program.over(layer))
            first = [v for s, v in self.segments.items() if s.first == layer]
            model.add(self.begins[layer] == self._rows.sum(first))
        if self.space.segment_count is not None:
            model.add(self._rows.sum(self.begins) == self.space.segment_count)

    def _ends(self) -> None:
        """Segments begin with clusters that open and end with clusters that close them."""
        model = self.model
        for layer in range(self._layers):
            opening = (self.x[k] for k in self._program.opening(layer))
            model.add(self._rows.sum(opening) == self.begins[layer])
            closing = (self.x[k] for k in self._program.closing(layer))
            ending = (v for s, v in self.segments.items() if s.last == layer)
            model.add(self._rows.sum(closing) == self._rows.sum(ending))
        for (first, last), members in sorted(self._program.alone().items()):
            used = self.segments.get(SegmentColumn(first, last, 1), 0)
            model.add(self._rows.sum(self.x[k] for k in members) == used)

    def _surroundings(self) -> None:
        """A column is used only in a segment that begins and ends where the column says."""
        for members, around in self._program.surroundings():
            inside = self._rows.sum(self.segments[s] for s in around)
            self.model.add(self._rows.sum(self.x[k] for k in members) <= inside)

    def _cluster_counts(self) -> None:
        """A segment has the number of clusters that it is charged for."""
        model = self.model
        for s, used in self.segments.items():
            inside = self._rows.sum(self.starts[s.first : s.last + 1])
            model.add(inside == s.clusters).only_enforce_if(used)
        total = self._rows.weighted([(v, s.clusters) for s, v in self.segments.items()])
        model.add(self._rows.sum(self.starts) == total)

    def _regions(self) -> None:
        """The regions of a segment fit the package, for every run of layers at once.

        A run that segments cut in ``k`` places touches ``k + 1`` of them.
        """
        chiplets = self.tables.chiplets
        for first in range(self._layers):
            for last in range(first + 1, self._layers):
                cuts = self._rows.sum(self.begins[first + 1 : last + 1])
                used = self._rows.sum(self.size[first : last + 1])
                self.model.add(used <= chiplets + chiplets * cuts)

    def _beats(self) -> None:
        """The beat is that of the segment and at least every cluster's time."""
        model = self.model
        for s, used in self.segments.items():
            model.add(self.beat[s] >= self._floor(s)).only_enforce_if(used)
            model.add(self.beat[s] == 0).only_enforce_if(~used)
        for layer in range(self._layers):
            over = self._rows.sum(self.beat[s] for s in self._program.over(layer))
            model.add(self.beat_at[layer] == over)
            times = [(k, self._times[k]) for k in self._program.covering[layer]]
            self._rows.at_least(self.beat_at[layer], times, self._program.starting[layer])

    def _floor(self, s: SegmentColumn) -> int:
        """Beat in units that a segment has at least, whatever its clusters."""
        return self._program.floor_ps(s) // self.unit_ps

    def _handing_over(self) -> None:
        """A cluster pays for what the next one receives (Case 2 of Table II)."""
        model = self.model
        for layer in range(self._layers - 1):
            senders = self._program.sending(layer)
            sending = [(k, time_ps // self.unit_ps) for k, time_ps in senders]
            receiving = [(k, self._receive[k]) for k in self._program.starting[layer + 1]]
            receiving = [(k, value) for k, value in receiving if value > 0]
            if not sending or not receiving:
                continue
            received = self._rows.pick(receiving)
            if sum(value for _, value in sending) < ROW_LIMIT:
                terms = [(self.x[k], value) for k, value in sending]
                model.add(self.beat_at[layer] >= self._rows.weighted(terms) + received)
            else:
                for k, value in sending:
                    row = model.add(self.beat_at[layer] >= received + value)
                    row.only_enforce_if(self.x[k])

    def _area(self) -> None:
        """Redundant: the chiplet-time of a segment's clusters fits the package and the beat."""
        model, chiplets = self.model, self.tables.chiplets
        sizes = self._program.sizes
        areas = [size * time for size, time in zip(sizes, self._times, strict=True)]
        heaviest = max(sum(areas[k] for k in at) for at in self._program.starting)
        unit = max(1, -(-heaviest // ROW_LIMIT))
        area = [
            self._rows.pick([(k, sizes[k] * (self._times[k] // unit)) for k in at])
            for at in self._program.starting
        ]
        beat = [self._rows.part([variable], unit, self._slowest) for variable in self.beat_at]
        for s, used in self.segments.items():
            row = model.add(self._rows.sum(area[s.first : s.last + 1]) <= chiplets * beat[s.first])
            row.only_enforce_if(used)
        beats = list(self.beat.values())
        total = self._rows.part(beats, unit, self._slowest * self._layers)
        model.add(self._rows.sum(area) <= chiplets * total)

    def _energy(self) -> None:
        """The energy of a sample stays within the budget."""
        self.energy: list[Any] = []
        budget = self.space.budget_fj
        if not self.space.energy_matters:
            return
        for at in self._program.starting:
            self.energy.append(self._rows.pick([(k, self._spent[k]) for k in at]))
        base_fj = sum(self._program.base_fj)
        if budget is not None and budget < base_fj:
            self.model.add_bool_or([])
        elif budget is not None:
            most = (budget - base_fj) // self.unit_fj
            self.model.add(self._rows.sum(self.energy) <= most)

    def _power(self) -> None:
        """The beat is long enough for the energy of a sample; all segments together, redundant."""
        if self._power_row is None:
            return
        for s, used in self.segments.items():
            self._power_limits(s.first, s.last, self.beat[s], used).only_enforce_if(used)
        beats = self._rows.part(list(self.beat.values()), 1, self._slowest * self._layers)
        self._power_limits(0, self._layers - 1, beats, self._rows.sum(self.begins))

    def _power_limits(self, first: int, last: int, beats: Any, segments: Any) -> Any:
        """Beats rounded down are less than a unit below the true ones."""
        assert self._power_row is not None
        per_beat, per_energy = self._power_row
        spent = self._rows.sum(self.energy[first : last + 1])
        base = per_energy * self._program.base_of((first, last))
        true = per_beat * self.unit_ps * beats + per_beat * (self.unit_ps - 1) * segments
        return self.model.add(true >= per_energy * self.unit_fj * spent + base)

    def _traffic(self) -> None:
        """Weights fetched again add to what a segment reads and writes in DRAM."""
        if not self._program.refetches:
            return
        refetched = [
            self._rows.pick([(k, self._program.refetched_bytes[k]) for k in at])
            for at in self._program.starting
        ]
        for s, used in self.segments.items():
            left = self._program.refetch_limit_bytes((s.first, s.last))
            row = self.model.add(self._rows.sum(refetched[s.first : s.last + 1]) <= left)
            row.only_enforce_if(used)

    def _objective(self, ceiling_ps: int | None) -> None:
        """Loads of the segments, and their beats as often as samples and clusters ask; or energy.

        Energy is minimized where there is a bound on the latency, which then is the ceiling.
        """
        program, constant_ps = self._program, self._program.loading_ps
        # Every layer is loaded once: only how far a load is from a sum over its layers is decided.
        terms: list[tuple[Any, int]] = []
        for s, rest_ps in program.rest_ps().items():
            if rest_ps // self.unit_ps:
                terms.append((self.segments[s], rest_ps // self.unit_ps))
            terms.append((self.beat[s], program.beats_of(s)))
        latency = self._rows.weighted(terms)
        if ceiling_ps is not None:
            self.model.add(latency <= (ceiling_ps - constant_ps) // self.unit_ps)
        # Latency in ps, or energy in fJ, is ``scale`` times the objective plus ``constant``.
        if self.space.latency_ps is None or self.tables.energy is None:
            self.objective, self.scale, self.constant = latency, self.unit_ps, constant_ps
        else:
            self.objective = self._rows.sum(self.energy)
            self.scale = self.tables.samples * self.unit_fj
            self.constant = program.least_total_fj
        self.model.minimize(self.objective)

    # --- Solutions -------------------------------------------------------------------------------

    def variables(self) -> dict[str, dict[Any, Any]]:
        """By family and index."""
        by_layer = {
            "begins": self.begins,
            "starts": self.starts,
            "size": self.size,
            "layer_beat": self.beat_at,
            "energy": self.energy,
        }
        return {
            "x": dict(zip(self._program.keys, self.x, strict=True)),
            "segment": self.segments,
            "beat": self.beat,
            **{name: dict(enumerate(some)) for name, some in by_layer.items() if some},
        }

    def bound(self, objective: int) -> int:
        """Lower bound in ps or fJ that follows from one on the objective in units."""
        return objective * self.scale + self.constant

    def schedule(self, value: Callable[[Any], float]) -> tuple[Segment, ...]:
        """Segments made of the columns that a solution uses."""
        return self._program.schedule([k for k, x in enumerate(self.x) if value(x) > 0.5])

    def hint(self, segments: Sequence[Segment]) -> bool:
        """Hint every variable from a schedule; False if the program does not contain it."""
        chosen = self._program.find(segments)
        keys = [SegmentColumn(s.first_layer, s.last_layer, len(s.clusters)) for s in segments]
        if chosen is None or any(key not in self.segments for key in keys):
            return False
        values: dict[int, int] = {}
        for key, used in self.segments.items():
            values[used.index] = int(key in keys)
            values[self.beat[key].index] = 0
        for layer, begins in enumerate(self.begins):
            values[begins.index] = int(any(key.first == layer for key in keys))
        for key in keys:
            inside = [k for k in chosen if key.first <= self.columns.first[k] <= key.last]
            beat = max(self._floor(key), self._slowest_cluster(inside), self._power_beat(inside))
            values[self.beat[key].index] = beat
            for layer in range(key.first, key.last + 1):
                values[self.beat_at[layer].index] = beat
        self._rows.hint(values, chosen)
        return True

    def _slowest_cluster(self, columns: Sequence[int]) -> int:
        """Longest time in units of a segment's clusters, handing over included."""
        times = [self._times[k] for k in columns]
        for k, following in pairwise(columns):
            sending_ps = int(self.columns.sending_ps[k])
            if sending_ps != NO_SENDING:
                times.append(sending_ps // self.unit_ps + self._receive[following])
        return max(times)

    def _power_beat(self, columns: Sequence[int]) -> int:
        """Least beat in units of a segment under the power budget."""
        if self._power_row is None:
            return 0
        runs = (self._program.runs[k] for k in columns)
        spent = sum(map(self._program.base_of, runs)) + self.unit_fj * sum(
            self._spent[k] for k in columns
        )
        return max(0, -(-(self._power_row.beat_ps(spent) - self.unit_ps + 1) // self.unit_ps))
