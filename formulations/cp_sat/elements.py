"""A compact constraint program for given segments, for OR-tools CP-SAT.

Every layer has a region size and a partition, and a Boolean that says whether it opens a cluster;
its times and energies are looked up in one table over these, and running sums over the layers make
the times of clusters. O(L C) table rows, where the program over columns has O(L^2 C) Booleans.
Up to idle chiplets, no two solutions are the same schedule.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from formulations.cp_sat.rows import PowerRow, import_cp_sat
from formulations.cp_sat.states import LayerStates
from scope_opt.model.files import InputError
from scope_opt.model.tables import PARTITIONS
from scope_opt.schedule.schedule import make_segment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from formulations.space import Caps, Space
    from scope_opt.model.tables import LatencyTables
    from scope_opt.schedule.schedule import Segment


class ElementProgram:
    """The constraint program for one unit of time.

    Times are rounded down to whole units, so that a unit above 1 ps makes a relaxation. Energies
    are exact.

    Parameters
    ----------
    tables : LatencyTables
    space : Space
        What schedules may look like; must leave no choice of segments.
    caps : Caps
        Largest beats.
    unit_ps : int
        Unit of time; 1 for the exact program.
    ceiling_ps : int, optional
        Schedules above this latency are no solutions that anyone needs.

    Raises
    ------
    InputError
        If segments are to be chosen.
    """

    def __init__(
        self,
        tables: LatencyTables,
        space: Space,
        caps: Caps,
        unit_ps: int,
        ceiling_ps: int | None = None,
    ) -> None:
        self.model = import_cp_sat().CpModel()
        self._tables, self._space, self._caps, self._unit = tables, space, caps, unit_ps
        self._energy = tables.energy if space.energy_matters else None
        self._states = LayerStates(tables, space)
        self._runs = _given_runs(space)
        """First and last layer of every segment; empty if the given ones are not allowed."""
        self._latency: list[tuple[Any, int]] = []
        self._spent: list[Any] = []
        self.objective: Any = 0
        if not self._runs or not space.sizes:
            self.model.add_exactly_one([])
            self._constant, self._scale = 0, 1
            return
        self._decisions()
        for first, last in self._runs:
            self._segment(first, last)
        self._objective(ceiling_ps)

    def _decisions(self) -> None:
        model, space, layers = self.model, self._space, range(self._tables.layers)
        sizes = import_cp_sat().Domain.from_values(space.sizes)
        self.size = [model.new_int_var_from_domain(sizes, "") for _ in layers]
        """Chiplets of the layer's region."""
        self.partition = [model.new_bool_var("") for _ in layers]
        """Whether the layer is WSP."""
        self.starts = [model.new_bool_var("") for _ in layers]
        """Whether the layer opens a cluster."""
        self.count: dict[tuple[int, int], Any] = {}
        """Whether the segment with that first layer has so many clusters."""
        firsts = {first for first, _ in self._runs}
        for layer in layers:
            if len(space.partitions[layer]) == 1:
                model.add(self.partition[layer] == space.partitions[layer][0])
            if layer in firsts or not space.clusters[:layer, layer:].any():
                model.add(self.starts[layer] == 1)
            if not space.clusters[layer, layer:].any():
                model.add(self.starts[layer] == 0)

    # --- A segment -------------------------------------------------------------------------------

    def _segment(self, first: int, last: int) -> None:
        model, tables = self.model, self._tables
        layers = range(first, last + 1)
        beat, top = self._beat(first, last)
        opened = []
        for layer in layers:
            size = model.new_int_var(0, tables.chiplets, "")
            model.add(size == self.size[layer]).only_enforce_if(self.starts[layer])
            model.add(size == 0).only_enforce_if(~self.starts[layer])
            opened.append(size)
            if layer > first:
                same = model.add(self.size[layer] == self.size[layer - 1])
                same.only_enforce_if(~self.starts[layer])
        model.add(sum(opened) <= tables.chiplets)
        skips = self._skips(first, last)
        spent = [fj for found in skips.values() for _, fj in found]
        streamed, refetched = self._capacity(first, last) if last > first else ({}, [])
        times, areas = [], []
        for layer in layers:
            time, area, energies = self._layer(layer, first, last, top, skips.get(layer, []))
            times.append(time)
            areas.append(area)
            spent += energies
        # Redundant: the chiplet-time of all layers fits the package and the beat.
        model.add(sum(areas) <= tables.chiplets * beat)
        running = None
        for layer, time in zip(layers, times, strict=True):
            total = model.new_int_var(0, top, "")
            model.add(total >= time)
            if layer in streamed:
                row = model.add(total >= time + streamed[layer])
                row.only_enforce_if(self.starts[layer])
            if running is not None:
                row = model.add(total >= time + running)
                row.only_enforce_if(~self.starts[layer])
            model.add(beat >= total)
            running = total
        self._limits(first, last, beat, sum(spent), sum(refetched))

    def _beat(self, first: int, last: int) -> tuple[Any, int]:
        """Beat of a segment, split by its number of clusters, and the largest one."""
        model, tables, space = self.model, self._tables, self._space
        ends = (first, last)
        least = max(int(tables.segment_dram_ps[ends]), int(self._caps.floors[ends])) // self._unit
        slowest = self._states.largest_beat_ps // self._unit
        beats, used, tops = [], [], [0]
        for n in range(space.fewest, min(space.most, last - first + 1) + 1):
            cap = int(self._caps.all_segments(n)[ends])
            if cap < 0:
                continue
            chosen = model.new_bool_var("")
            tops.append(max(least, min(cap // self._unit, slowest)))
            beat = model.new_int_var(0, tops[-1], "")
            model.add(beat >= least).only_enforce_if(chosen)
            model.add(beat == 0).only_enforce_if(~chosen)
            model.add(sum(self.starts[first : last + 1]) == n).only_enforce_if(chosen)
            self._latency.append((beat, tables.samples + n - 1))
            self.count[first, n] = chosen
            beats.append(beat)
            used.append(chosen)
        model.add_exactly_one(used)
        return sum(beats), max(tops)

    def _skips(self, first: int, last: int) -> dict[int, list[tuple[Any, Any]]]:
        """Per layer, time and energy of its skip edges to other clusters of the segment."""
        found: dict[int, list[tuple[Any, Any]]] = {}
        for e, (u, v) in self._states.edges:
            if first <= u < v <= last:
                crossing = self.model.new_bool_var("")
                self.model.add_max_equality(crossing, self.starts[u + 1 : v + 1])
                rows: list[tuple[int, ...]] = []
                for r, ps, fj in self._states.crossing(e):
                    rows += [(0, r, 0, 0), (1, r, ps // self._unit, fj)]
                found.setdefault(u, []).append(self._look_up([crossing, self.size[u]], rows))
        return found

    def _look_up(self, keys: list[Any], rows: Sequence[tuple[int, ...]]) -> Any:
        """Variables for the rest of the one row that begins with the values of ``keys``."""
        rest = list(zip(*rows, strict=True))[len(keys) :]
        values = [self.model.new_int_var(min(column), max(column), "") for column in rest]
        self.model.add_allowed_assignments([*keys, *values], rows)
        return values

    def _layer(
        self, layer: int, first: int, last: int, top: int, skips: Sequence[tuple[Any, Any]]
    ) -> tuple[Any, Any, list[Any]]:
        """Time of a layer, a lower bound on its chiplet-time, and its energies (Eq. 7)."""
        model, unit, inner = self.model, self._unit, layer < last
        rows = []
        for *state, computing_ps, sending_ps, fj in self._states.states(layer, first, last):
            least = max(computing_ps, sending_ps) // unit
            if least <= top:
                row = (*state, computing_ps // unit, sending_ps // unit, state[0] * least, fj)
                rows.append(row)
        keys = [self.size[layer], self.partition[layer]]
        keys.append(self.partition[layer + 1] if inner else model.new_constant(0))
        keys += [self.starts[layer], self.starts[layer + 1] if inner else model.new_constant(1)]
        time = model.new_int_var(0, top, "")
        if not rows:
            model.add_exactly_one([])
            return time, 0, []
        computing, sending, area, energy = self._look_up(keys, rows)
        energies, sent = [energy], [sending, *(ps for ps, _ in skips)]
        if inner:
            received, received_fj = self._received(layer)
            sent.append(received)
            energies.append(received_fj)
        model.add(time >= computing)
        model.add(time >= sum(sent))
        return time, area, energies

    def _received(self, layer: int) -> Any:
        """What the layer pays for the next cluster's receiving (Case 2 of Table II)."""
        rows: list[tuple[int, ...]] = []
        for r, then, ps, fj in self._states.receiving(layer):
            rows += [(r, then, 0, 0, 0), (r, then, 1, ps // self._unit, fj)]
        following = layer + 1
        keys = [self.size[following], self.partition[following], self.starts[following]]
        return self._look_up(keys, rows)

    def _capacity(self, first: int, last: int) -> tuple[dict[int, Any], list[Any]]:
        """Weights fit the buffers; or the time per cluster opened, and bytes, of refetching."""
        model, t, layers = self.model, self._tables, range(first, last + 1)
        weights = t.weight_bytes.tolist()
        total = self._per_cluster(first, last, weights)
        loaded = self._per_cluster(first, last, [int(weight > 0) for weight in weights])
        streamed: dict[int, Any] = {}
        refetched = []
        for layer in layers:
            room = t.weight_buffer_bytes * self.size[layer] - total[layer]
            copies = weights[layer] * self.size[layer] - weights[layer]
            if not t.stream:
                model.add(room >= 0)
                model.add(copies <= room).only_enforce_if(self.partition[layer])
                continue
            if weights[layer]:
                single = model.new_bool_var("")
                model.add(self.size[layer] == 1).only_enforce_if(single)
                model.add(copies <= room).only_enforce_if(self.partition[layer], ~single)
            over, excess = model.new_bool_var(""), model.new_int_var(0, sum(weights), "")
            model.add(room >= 0).only_enforce_if(~over)
            model.add(excess >= -room).only_enforce_if(self.starts[layer])
            rows = [(r, int(t.stream_fs_per_byte[r])) for r in self._space.sizes]
            (fs_per_byte,) = self._look_up([self.size[layer]], rows)
            most_fs = sum(weights) * max(fs for _, fs in rows)
            spent_fs = model.new_int_var(0, most_fs, "")
            model.add_multiplication_equality(spent_fs, [excess, fs_per_byte])
            most_ps = len(layers) * t.dram_latency_ps + most_fs // 1000 + 1
            streamed[layer] = model.new_int_var(0, most_ps // self._unit + 1, "")
            # A time rounded down to units is less than a unit below the true one.
            scaled = 1000 * (self._unit * streamed[layer] + self._unit - 1)
            row = model.add(scaled >= spent_fs + 1000 * t.dram_latency_ps * loaded[layer])
            row.only_enforce_if(over, self.starts[layer])
            refetched.append(excess)
        return streamed, refetched

    def _per_cluster(self, first: int, last: int, values: Sequence[int]) -> list[Any]:
        """Per layer, the sum of ``values`` over the layers of its cluster."""
        model, top = self.model, sum(values[first : last + 1])
        so_far = [model.new_int_var(0, top, "") for _ in range(first, last + 1)]
        total = [model.new_int_var(0, top, "") for _ in range(first, last + 1)]
        for k, layer in enumerate(range(first, last + 1)):
            starts = self.starts[layer]
            model.add(so_far[k] == values[layer]).only_enforce_if(starts)
            if k > 0:
                model.add(so_far[k] == so_far[k - 1] + values[layer]).only_enforce_if(~starts)
                model.add(total[k - 1] == so_far[k - 1]).only_enforce_if(starts)
                model.add(total[k - 1] == total[k]).only_enforce_if(~starts)
        model.add(total[-1] == so_far[-1])
        return [None] * first + total

    def _limits(self, first: int, last: int, beat: Any, spent: Any, refetched: Any) -> None:
        """DRAM traffic of a sample, and the beat that its energy asks for."""
        space, unit = self._space, self._unit
        if space.traffic_limit_bytes is not None:
            left = space.traffic_limit_bytes - int(space.traffic_bytes[first, last])
            self.model.add(refetched <= left)
        if self._energy is None:
            return
        energy = spent + refetched * self._energy.dram_fj_per_byte
        self._spent.append(energy)
        power = PowerRow.of(space, self._states.largest_beat_ps, self._states.largest_fj)
        if power is not None:
            per_beat, per_energy = power
            self.model.add(per_beat * (unit * beat + unit - 1) >= per_energy * energy)

    def _objective(self, ceiling_ps: int | None) -> None:
        """Latency; or energy, where a bound on the latency is the ceiling."""
        tables, space = self._tables, self._space
        load = sum(int(tables.load_ps[run]) for run in self._runs)
        latency = sum(beat * times for beat, times in self._latency)
        if ceiling_ps is not None:
            self.model.add(latency <= (ceiling_ps - load) // self._unit)
        if space.budget_fj is not None:
            self.model.add(sum(self._spent) <= space.budget_fj)
        self.objective, self._scale, self._constant = latency, self._unit, load
        if space.latency_ps is not None and tables.energy is not None:
            self._constant = tables.loading_fj
            self._scale, self.objective = tables.samples, sum(self._spent)
        self.model.minimize(self.objective)

    # --- Solutions -------------------------------------------------------------------------------

    def bound(self, objective: int) -> int:
        """Lower bound in ps or fJ that follows from one on the objective in units."""
        return objective * self._scale + self._constant

    def schedule(self, value: Callable[[Any], int]) -> tuple[Segment, ...]:
        """Schedule of a solution, given the values of variables."""
        segments = []
        for first, last in self._runs:
            opened = [layer for layer in range(first, last + 1) if value(self.starts[layer])]
            parts = [
                (end - begin, value(self.size[begin]), list(map(value, self.partition[begin:end])))
                for begin, end in pairwise([*opened, last + 1])
            ]
            segments.append(make_segment(first, parts))
        return tuple(segments)

    def hint(self, segments: Sequence[Segment]) -> bool:
        """Hint the decisions of a schedule; what follows from them is left to CP-SAT."""
        for segment in segments:
            count = self.count.get((segment.first_layer, len(segment.clusters)))
            if count is None:
                return False
            self.model.add_hint(count, 1)
            for cluster in segment.clusters:
                layers = range(cluster.first_layer, cluster.last_layer + 1)
                for layer, partition in zip(layers, cluster.partitions, strict=True):
                    self.model.add_hint(self.size[layer], cluster.chiplets)
                    self.model.add_hint(self.partition[layer], PARTITIONS.index(partition))
                    self.model.add_hint(self.starts[layer], int(layer == cluster.first_layer))
        return True


def _given_runs(space: Space) -> list[tuple[int, int]]:
    """Segments, where there is no choice; empty if those given are not allowed."""
    if (space.segments.sum(axis=1) > 1).any():
        problem = "encoding 'elements' needs given segments: one ('single'), or their first layers"
        raise InputError("--encoding", [problem])
    runs: list[tuple[int, int]] = []
    layers = len(space.segments)
    while not runs or runs[-1][1] + 1 < layers:
        first = runs[-1][1] + 1 if runs else 0
        ends = np.flatnonzero(space.segments[first])
        if not ends.size:
            return []
        runs.append((first, int(ends[0])))
    return runs if space.segment_count in (None, len(runs)) else []
