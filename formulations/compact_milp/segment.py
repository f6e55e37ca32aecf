"""One segment as a block of a mixed-integer program whose size does not grow with the clusters.

Per layer there is a binary that says whether it opens a cluster, one for its partition, and the
size of its cluster's region, which layers of a cluster have in common. Tables become piecewise
linear functions of that size (`piecewise`, `encodings`); times and weights of clusters are running
sums over the layers that begin anew with every cluster.

Every other continuous variable is the least value that its rows allow, since whatever is minimized
or bounded grows with it. So a row for a certain state (partitions, cut or not) is switched off in
all others by subtracting ``M`` times the binaries that differ, where ``M`` is no larger than what
the row can exceed the least of all states by, over all breakpoints.
"""

from __future__ import annotations

from itertools import pairwise
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from formulations.compact_milp.clusters import share_rows
from formulations.compact_milp.encodings import encode
from formulations.compact_milp.tables import NoSchedule, most_beats_ps
from formulations.highs import import_pyomo
from scope_opt.model.tables import ISP, PARTITIONS, WSP
from scope_opt.schedule.schedule import make_segment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from formulations.compact_milp.clusters import Least
    from formulations.compact_milp.tables import Choice, LayerTables
    from formulations.space import Space
    from scope_opt.model.tables import LatencyTables
    from scope_opt.schedule.schedule import Segment

    Floats = NDArray[np.float64]

BYTE_SCALE = 1e5
"""Weights are counted in bytes up to this total, in larger units beyond."""


ROUNDING = 1e-6
"""Floats this much above a whole number count as that number."""


class Units(NamedTuple):
    """What the program counts in."""

    ps: int
    fj: int
    whole: bool
    """Whether the beat is a whole number of units (of 1 ps)."""


class SegmentModel:
    """Rows and variables of one segment of at least two layers.

    Parameters
    ----------
    block : pyomo Block
        Empty.
    tables, space
        The instance.
    first, last : int
        Layers.
    layers : dict of LayerTables
        By layer.
    units : Units
    ceiling_ps : int, optional
        Schedules that take longer need not be solutions.
    encoding : str
        See `formulations.compact_milp.encodings`.
    least : dict, optional
        What clusters need at least, by their first and last layers; those that are not there
        cannot be within the ceiling. See `formulations.compact_milp.clusters`.

    Raises
    ------
    NoSchedule
        If no number of clusters is allowed.
    """

    def __init__(
        self,
        block: Any,
        tables: LatencyTables,
        space: Space,
        first: int,
        last: int,
        layers: dict[int, LayerTables],
        units: Units,
        ceiling_ps: int | None,
        encoding: str,
        least: dict[tuple[int, int], Least] | None = None,
    ) -> None:
        self._pyo, self._block = import_pyomo(), block
        self._tables, self._space, self._units = tables, space, units
        self._first, self._last, self._range = first, last, range(first, last + 1)
        self._layers = layers
        mosts = most_beats_ps(tables, space, first, last, ceiling_ps)
        self._mosts = {n: most / units.ps for n, most in mosts.items()}
        """Largest beat by number of clusters."""
        self._most = max(self._mosts.values())
        self._variables: dict[str, dict[Any, Any]] = {}
        self._defined: list[tuple[Any, list[Any]]] = []
        self._scale = max(1.0, float(tables.weight_bytes[first : last + 1].sum()) / BYTE_SCALE)
        self._cap = tables.weight_buffer_bytes / self._scale
        self._weight = [int(weight) / self._scale for weight in tables.weight_bytes]
        rows: dict[str, Callable[[], None]] = {
            "decisions": lambda: self._decisions(encoding),
            "regions": self._regions,
            "edges": self._edges,
            "stored_weights": self._stored_weights,
            "refetches": self._refetches,
            "energies": self._energy,
            "times": self._times,
            "counts": self._counts,
            "shares": lambda: self._shares(least),
        }
        for name, state in rows.items():
            self._rows = self._pyo.ConstraintList()
            block.add_component(name, self._rows)
            state()

    # --- Variables -------------------------------------------------------------------------------

    def _variable(self, name: str, domain: str = "NonNegativeReals", **more: Any) -> Any:
        variable = self._pyo.Var(domain=getattr(self._pyo, domain), **more)
        self._block.add_component(name, variable)
        family, _, index = name.rpartition("_")
        self._variables.setdefault(family or name, {})[int(index) if family else None] = variable
        return variable

    def variables(self, place: int) -> dict[str, dict[Any, Any]]:
        """By family and layer (``leaves`` and ``edge``: skip edge).

        Those of the whole segment are indexed by its ``place`` and the number of clusters. ``cut``
        has the first layer too, and ``size`` is an expression, the region size of every layer.
        """
        found = {
            family: {
                (place, index) if family in ("beat", "clusters") else index: variable
                for index, variable in members.items()
            }
            for family, members in self._variables.items()
        }
        return {**found, "cut": self.cut, "size": self.size, "share": self._share}

    def _least(self, name: str, *rows: Any, domain: str = "NonNegativeReals") -> Any:
        """A variable that is the least non-negative value that is at least every row."""
        variable = self._variable(name, domain)
        for row in rows:
            self._rows.add(variable >= row)
        self._defined.append((variable, list(rows)))
        return variable

    def _decisions(self, encoding: str) -> None:
        """Cuts before layers, partitions, region sizes."""
        space, first, last = self._space, self._first, self._last
        step = space.sizes[0]
        self.cut: dict[int, Any] = {first: 1}
        """Whether a layer opens a cluster."""
        self.wsp: dict[int, Any] = {}
        self.size: dict[int, Any] = {}
        self._steps: dict[int, Any] = {}
        self._argument = {}
        for layer in self._range:
            if layer > first:
                may = space.clusters[first:layer, layer - 1].any()
                must = not space.clusters[first:layer, layer : last + 1].any()
                if must and not may:
                    raise NoSchedule
                bounds = (int(must), int(may))
                self.cut[layer] = self._variable(f"cut_{layer}", "Binary", bounds=bounds)
            allowed = space.partitions[layer]
            self.wsp[layer] = self._variable(
                f"wsp_{layer}", "Binary", bounds=(min(allowed), max(allowed))
            )
            sizes = self._layers[layer].sizes
            steps = self._variable(
                f"steps_{layer}", "Integers", bounds=(sizes[0] // step, sizes[-1] // step)
            )
            self._steps[layer], self.size[layer] = steps, step * steps
            encoded = self._pyo.Block()
            self._block.add_component(f"size_{layer}", encoded)
            breakpoints = self._layers[layer].breakpoints
            self._argument[layer] = encode(encoding, encoded, self.size[layer], breakpoints)

    def _off(self, layer: int, partition: int) -> Any:
        """1 if the layer has the other partition."""
        return self.wsp[layer] if partition == ISP else 1 - self.wsp[layer]

    def _of(self, layer: int, values: Floats) -> Any:
        return self._argument[layer].of(values.tolist())

    def _values(self, layer: int, *key: str | int) -> Floats:
        """Values at the layer's breakpoints, in units."""
        unit = {
            "fj": self._units.fj,
            "stream": 1000 * self._units.ps,
            "room": 1000 * self._units.ps,
        }
        return self._layers[layer].values(key) / unit.get(str(key[0]), self._units.ps)

    # --- Rows ------------------------------------------------------------------------------------

    def _regions(self) -> None:
        """Layers of a cluster share a region; regions fit the package."""
        taken: list[Any] = []
        for layer in self._range:
            low, high = self._layers[layer].sizes[0], self._layers[layer].sizes[-1]
            cut, size = self.cut[layer], self.size[layer]
            if layer == self._first:
                taken.append(size)
                continue
            # Chiplets of the region that opens here: 0, or its size.
            region = self._least(f"region_{layer}", size - high * (1 - cut), low * cut)
            self._rows.add(region <= high * cut)
            self._rows.add(size <= self.size[layer - 1] + region)
            self._rows.add(self.size[layer - 1] - size <= (high - low) * cut)
            taken.append(region)
        self._rows.add(sum(taken) <= self._tables.chiplets)

    def _edges(self) -> None:
        """Edges of the segment, and whether they leave a cluster and enter one.

        A tensor leaves its cluster where it has no earlier reader outside, and enters another one
        where it has no earlier reader inside.
        """
        tables = self._tables
        self._received: dict[int, list[tuple[int, Any]]] = {layer: [] for layer in self._range}
        self._sent: dict[int, list[tuple[int, Any]]] = {layer: [] for layer in self._range}
        self._read_ps = dict.fromkeys(self._range, 0)
        self._write_ps = dict.fromkeys(self._range, 0)
        ends = (tables.edge_from, tables.edge_after, tables.edge_to)
        for e, (u, after, v) in enumerate(zip(*(end.tolist() for end in ends), strict=True)):
            if v not in self._range:
                if u in self._range and after <= self._last:
                    self._write_ps[u] += int(tables.edge_write_ps[e])
                continue
            if after < self._first:
                self._read_ps[v] += int(tables.edge_read_ps[e])
                enters = 1
            else:
                cuts = [self.cut[layer] for layer in range(after + 1, v + 1)]
                if u in self._range:
                    before = sum(self.cut[layer] for layer in range(u + 1, after + 1))
                    leaves = self._least(f"leaves_{e}", *(cut - before for cut in cuts))
                    self._sent[u].append((e, leaves))
                if tables.edge_receive_ps[e].any():
                    enters = self._least(f"enters_{e}", *cuts)
            if tables.edge_receive_ps[e].any():
                self._received[v].append((e, enters))

    def _costs(self, kind: str) -> tuple[dict[int, Any], dict[int, Any], dict[int, Any]]:
        """Of computing, gathering and sending, by layer; in time or in energy."""
        compute: dict[int, Any] = {}
        gather: dict[int, Any] = {}
        send: dict[int, Any] = {}
        for layer in self._range:
            allowed = self._space.partitions[layer]
            by_partition = {p: self._values(layer, kind, "compute", p) for p in allowed}
            compute[layer] = self._one_of(
                f"{kind}_compute_{layer}",
                layer,
                [(values, [self._off(layer, p)]) for p, values in by_partition.items()],
            )
            gather[layer] = 0
            needed = self._values(layer, kind, "gather")
            if WSP in allowed and needed.max() > 0:
                # Not if it opens a cluster and the next layer does too.
                around = [layer] if layer > self._first else []
                around += [layer + 1] if layer < self._last else []
                row = self._of(layer, needed) - needed.max() * (1 - self.wsp[layer])
                cuts = (needed.max() * self.cut[k] for k in around)
                gather[layer] = self._least(f"{kind}_gather_{layer}", *(row - cut for cut in cuts))
            send[layer] = sum(
                self._leaving(kind, layer, e, leaves) for e, leaves in self._sent[layer]
            )
            if layer < self._last:
                send[layer] += self._handing_on(kind, layer)
        return compute, gather, send

    def _leaving(self, kind: str, layer: int, edge: int, leaves: Any) -> Any:
        values = self._values(layer, kind, "edge", edge)
        row = self._of(layer, values) - values.max() * (1 - leaves)
        return self._least(f"{kind}_edge_{edge}", row)

    def _receiving(self, layer: int) -> Any:
        """Time to take in what enters the layer's cluster along edges."""
        total: Any = 0
        for e, enters in self._received[layer]:
            values = self._values(layer, "ps", "receive_edge", e)
            row = self._of(layer, values) - values.max() * (1 - enters)
            total += self._least(f"ps_receive_edge_{e}", row)
        return total

    def _handing_on(self, kind: str, layer: int) -> Any:
        """Cases 1 and 2 of Table II."""
        allowed, then = self._space.partitions[layer], self._space.partitions[layer + 1]
        cut = self.cut[layer + 1]
        arrives = {q: self._values(layer + 1, kind, "receive", q) for q in then}
        received = self._one_of(
            f"{kind}_receive_{layer}",
            layer + 1,
            [(values, [self._off(layer + 1, q)]) for q, values in arrives.items()],
        )
        sent = self._values(layer, kind, "send")
        least = min(float(values.min()) for values in arrives.values())
        most = max(float(values.max()) for values in arrives.values())
        inside = {(p, q): self._values(layer, kind, "within", p, q) for p in allowed for q in then}
        base = np.min([*inside.values(), sent + least], axis=0)
        rows = [self._of(layer, base)]
        if cut.ub:
            rows.append(self._of(layer, sent) + received - ((sent - base).max() + most) * (1 - cut))
        if not cut.lb:
            for (p, q), values in inside.items():
                off = self._off(layer, p) + self._off(layer + 1, q) + cut
                if (values - base).max() > 0:
                    rows.append(self._of(layer, values) - (values - base).max() * off)
        return self._least(f"{kind}_hand_{layer}", *rows)

    def _one_of(self, name: str, layer: int, choices: list[tuple[Floats, list[Any]]]) -> Any:
        """What the one choice says of which nothing is off; the least of them, at least."""
        if len(choices) == 1:
            return self._of(layer, choices[0][0])
        base = np.min([values for values, _ in choices], axis=0)
        rows = [self._of(layer, base)]
        for values, off in choices:
            excess = float((values - base).max())
            if excess > 0:
                rows.append(self._of(layer, values) - excess * sum(off))
        return self._least(name, *rows)

    def _running(self, name: str, addends: dict[int, Any], most: Callable[[int], float]) -> Any:
        """Sums over the layers of a cluster so far; ``most``: of those up to a layer."""
        sums: dict[int, Any] = {}
        for layer in self._range:
            rows = [addends[layer]]
            if layer > self._first:
                above = sums[layer - 1] + addends[layer]
                rows.append(above - most(layer - 1) * self.cut[layer])
            sums[layer] = self._least(f"{name}_{layer}", *rows)
        return sums

    def _stored_weights(self) -> None:
        """Weights fit the region, and copies for WSP beside them (docs/model.md, section 7)."""
        cap, stream = self._cap, self._tables.stream
        addends = {layer: self._weight[layer] for layer in self._range}
        everything = sum(addends.values())
        most = everything if stream else min(everything, cap * self._space.sizes[-1])
        self._so_far = np.cumsum([addends[layer] for layer in self._range])

        def up_to(layer: int) -> float:
            return min(most, float(self._so_far[layer - self._first]))

        self._stored = self._running("stored", addends, up_to)
        self._single: dict[int, Any] = {}
        total: Any = None
        for layer in reversed(self._range):
            sizes, size = self._layers[layer].sizes, self.size[layer]
            if not stream:
                self._rows.add(self._stored[layer] <= cap * size)
            rows = [self._stored[layer]]
            if total is not None:
                rows.append(total - most * self.cut[layer + 1])
            # Weights of the whole cluster.
            total = self._least(f"cluster_{layer}", *rows)
            weight = self._weight[layer]
            excess = max((weight - cap) * r for r in (sizes[0], sizes[-1])) - weight + most
            if WSP not in self._space.partitions[layer] or weight == 0 or excess <= 0:
                continue
            row = weight * (size - 1) + total - cap * size - excess * self._off(layer, WSP)
            if stream and sizes[0] == 1:
                # One chiplet has no copies, however much it has to fetch again.
                single = self._variable(f"single_{layer}", "Binary")
                self._rows.add(size <= 1 + (sizes[-1] - 1) * (1 - single))
                row -= excess * single
                self._single[layer] = single
            self._rows.add(row <= 0)

    def _refetches(self) -> None:
        """Time and bytes of fetching again what does not fit (policy "stream")."""
        tables, space, cap = self._tables, self._space, self._cap
        self._stream: dict[int, Any] = {}
        self._over: dict[int, Any] = {}
        again: list[Any] = []
        lows = {layer: self._layers[layer].sizes[0] for layer in self._range}
        possible = [
            layer
            for layer in self._range
            if tables.stream and self._so_far[layer - self._first] > cap * lows[layer]
        ]
        if possible:
            fetch = {layer: self._of(layer, self._values(layer, "stream")) for layer in self._range}
            tops = np.cumsum([self._values(layer, "stream").max() for layer in self._range])
            times = self._running("fetch", fetch, lambda k: float(tops[k - self._first]))
            latency = tables.dram_latency_ps / self._units.ps
            loads = {layer: int(self._weight[layer] > 0) for layer in self._range}
            counts = self._running("loads", loads, lambda k: k - self._first + 1)
        for layer in possible:
            excess = self._stored[layer] - cap * self.size[layer]
            most = float(self._so_far[layer - self._first]) - cap * lows[layer]
            over = self._over[layer] = self._variable(f"over_{layer}", "Binary")
            self._rows.add(excess <= most * over)
            delays = latency * (layer - self._first + 1)
            delay = self._least(f"delay_{layer}", latency * counts[layer] - delays * (1 - over))
            room = self._of(layer, self._values(layer, "room"))
            self._stream[layer] = self._least(f"stream_{layer}", times[layer] + delay - room)
            last = 1 if layer == self._last else self.cut[layer + 1]
            again.append(self._least(f"again_{layer}", excess - most * (1 - last)))
        self._again = sum(again) * self._scale
        limit = space.traffic_limit_bytes
        if limit is not None and again:
            moved = int(space.traffic_bytes[self._first, self._last])
            self._rows.add(sum(again) <= (limit - moved) / self._scale)

    def _energy(self) -> None:
        """Energy of one sample."""
        e, first, last = self._tables.energy, self._first, self._last
        self.energy: Any = 0
        """In units; 0 if it does not matter."""
        if e is None or not self._space.energy_matters:
            return
        unit = self._units.fj
        parts = [sum(cost.values()) for cost in self._costs("fj")]
        constant = sum(map(int, e.mac_fj[first : last + 1]))
        constant += int(self._space.traffic_bytes[first, last]) * e.dram_fj_per_byte
        self.energy = sum(parts) + self._again * (e.dram_fj_per_byte / unit) + constant / unit

    def _times(self) -> None:
        """Times of layers (Eq. 7) and of clusters (Eq. 3), and the beat (Eq. 2)."""
        tables, unit = self._tables, self._units.ps
        compute, gather, send = self._costs("ps")
        times: dict[int, Any] = {}
        for layer in self._range:
            before, after = self._read_ps[layer], self._write_ps[layer]
            before += int(tables.input_ps[layer]) if layer == self._first else 0
            after += int(tables.output_ps[layer]) if layer == self._last else 0
            head = before / unit + gather[layer] + self._receiving(layer)
            times[layer] = self._least(
                f"time_{layer}",
                head + compute[layer],
                head + after / unit + send[layer],
                before / unit + self._of(layer, self._values(layer, "floor")),
            )
        clusters = self._running("cluster_time", times, lambda _: self._most)
        rows = [clusters[layer] + self._stream.get(layer, 0) for layer in self._range]
        rows.append(int(tables.segment_dram_ps[self._first, self._last]) / unit)
        # Chiplet-time: a region's size times its cluster's time is within size times beat.
        areas = (self._of(layer, self._values(layer, "area")) for layer in self._range)
        rows.append(sum(areas) / tables.chiplets)
        power = self._space.power_fj_per_ps
        if power is not None:
            rows.append(self.energy * (self._units.fj / unit / float(power)))
        domain = "NonNegativeIntegers" if self._units.whole else "NonNegativeReals"
        self.beat = self._least("beat", *rows, domain=domain)
        self._layer_times = times

    def _counts(self) -> None:
        """The beat of each number of clusters, 0 but for one; the latency."""
        tables, first, last = self._tables, self._first, self._last
        self._count: dict[int, Any] = {}
        split = []
        for n, most in self._mosts.items():
            used = self._count[n] = self._variable(f"clusters_{n}", "Binary")
            beat = self._least(f"beat_{n}", self.beat - self._most * (1 - used))
            self._rows.add(beat <= most * used)
            split.append((n, beat))
        self._rows.add(sum(self._count.values()) == 1)
        used = sum(n * variable for n, variable in self._count.items())
        self._rows.add(used == sum(self.cut.values()))
        self._rows.add(sum(beat for _, beat in split) >= self.beat)
        # No cluster takes more than the beat, so all layers take no more than all clusters' beats.
        self._rows.add(sum(n * beat for n, beat in split) >= sum(self._layer_times.values()))
        load = int(tables.load_ps[first, last]) / self._units.ps
        self.latency = load + sum((tables.samples + n - 1) * beat for n, beat in split)
        """In units."""

    def _shares(self, least: dict[tuple[int, int], Least] | None) -> None:
        """Shares of whole clusters, which only strengthen the relaxation."""
        self._share: dict[tuple[int, int], Any] = {}
        if least is None:
            return
        if not any(i == self._first for i, _ in least) or not any(
            j == self._last for _, j in least
        ):
            raise NoSchedule
        self._block.share = self._pyo.Var(list(least), bounds=(0, 1))
        self._share = dict(self._block.share.items())
        limits = self._tables.chiplets, self._units.ps
        share_rows(self._rows.add, least, self._share, self.cut, self.size, self.beat, limits)

    # --- Schedules -------------------------------------------------------------------------------

    def start(self, segment: Segment) -> None:
        """Give every variable its value in a schedule of the segment."""
        used = {(cluster.first_layer, cluster.last_layer) for cluster in segment.clusters}
        for ends, share in self._share.items():
            _set(share, int(ends in used))
        for cluster in segment.clusters:
            stored = 0.0
            for layer, partition in enumerate(cluster.partitions, cluster.first_layer):
                if layer > self._first:
                    self.cut[layer].set_value(
                        int(layer == cluster.first_layer), skip_validation=True
                    )
                _set(self.wsp[layer], PARTITIONS.index(partition))
                self._steps[layer].set_value(
                    cluster.chiplets / self._space.sizes[0], skip_validation=True
                )
                self._argument[layer].start(cluster.chiplets)
                stored += self._weight[layer]
                if layer in self._single:
                    _set(self._single[layer], int(cluster.chiplets == 1))
                if layer in self._over:
                    self._over[layer].set_value(
                        int(stored > self._cap * cluster.chiplets), skip_validation=True
                    )
        for n, used in self._count.items():
            _set(used, int(n == len(segment.clusters)))
        for variable, rows in self._defined:
            least = max(0.0, *(self._pyo.value(row) for row in rows))
            variable.set_value(
                least if variable.is_continuous() else ceil(least - ROUNDING), skip_validation=True
            )

    def read(self, value: Callable[[Any], float]) -> Segment:
        """Schedule in a solution, given its variables' values."""
        firsts = [
            layer for layer in self._range if layer == self._first or value(self.cut[layer]) > 0.5
        ]
        clusters = []
        for start, end in pairwise([*firsts, self._last + 1]):
            size = self._space.sizes[0] * round(value(self._steps[start]))
            # A fixed partition may occur in no row, so that HiGHS does not know it.
            partitions = [
                WSP if self.wsp[k].lb == 1 or value(self.wsp[k]) > 0.5 else ISP
                for k in range(start, end)
            ]
            clusters.append((end - start, size, partitions))
        return make_segment(self._first, clusters)


class OneLayer:
    """A segment of one layer: a choice among its few schedules.

    Parameters
    ----------
    block : pyomo Block
        Empty.
    choices : list of Choice
        Of the layer.
    units : Units

    Raises
    ------
    NoSchedule
        If there is none.
    """

    def __init__(self, block: Any, choices: Sequence[Choice], units: Units) -> None:
        pyo = import_pyomo()
        if not choices:
            raise NoSchedule
        self._choices = choices
        keys = [
            (c.layer, c.layer, c.size, PARTITIONS[c.partition][0], k) for k, c in enumerate(choices)
        ]
        block.chosen = pyo.Var(keys, domain=pyo.Binary)
        block.one = pyo.Constraint(expr=sum(block.chosen.values()) == 1)
        self._chosen = list(block.chosen.values())
        self._keys = list(block.chosen.keys())
        pairs = list(zip(self._choices, self._chosen, strict=True))
        self.latency = sum(choice.latency_ps / units.ps * chosen for choice, chosen in pairs)
        self.energy = sum(choice.energy_fj / units.fj * chosen for choice, chosen in pairs)

    def variables(self, place: int) -> dict[str, dict[Any, Any]]:
        """The choices, by the segment's ``place`` and their columns; see `SegmentModel`."""
        pairs = zip(self._keys, self._chosen, strict=True)
        return {"chosen": {(place, *key): variable for key, variable in pairs}}

    def start(self, segment: Segment) -> None:
        """Choose a schedule, or one at least as good."""
        (cluster,) = segment.clusters
        wanted = (cluster.chiplets, PARTITIONS.index(cluster.partitions[0]))
        for choice, chosen in zip(self._choices, self._chosen, strict=True):
            _set(chosen, int((choice.size, choice.partition) == wanted))

    def read(self, value: Callable[[Any], float]) -> Segment:
        """Schedule in a solution, given its variables' values."""
        best = max(range(len(self._choices)), key=lambda k: value(self._chosen[k]))
        if value(self._chosen[best]) < 0.5:
            raise ValueError(f"nothing is chosen for layer {self._choices[best].layer}")
        return self._choices[best].segment


def _set(variable: Any, value: float) -> None:
    """Also to a value that the variable may not have: then the schedule is no solution."""
    variable.set_value(value, skip_validation=True)
