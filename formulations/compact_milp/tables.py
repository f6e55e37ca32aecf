"""What the compact mixed-integer programs read: tables of layers, and how large a beat can be."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from formulations.arrays import take
from formulations.columns.maker import ColumnMaker, alone_latencies_ps
from formulations.compact_milp.piecewise import Kind, approximate, refine
from formulations.formulas import longest_beat, refetching_time
from formulations.space import Caps, worst_energy_fj
from scope_opt.model.tables import LIMIT, PARTITIONS
from scope_opt.schedule.bounds import layer_floors
from scope_opt.schedule.schedule import make_segment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from formulations.columns.columns import Columns
    from formulations.compact_milp.piecewise import Piecewise
    from formulations.space import Space
    from scope_opt.model.tables import LatencyTables
    from scope_opt.schedule.schedule import Segment

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Key = tuple[str | int, ...]


class NoSchedule(Exception):
    """The segment has no schedule, which shows before a program is made."""


class LayerTables:
    """Tables of one layer over the region sizes it may have, approximated from below.

    Parameters
    ----------
    tables : dict
        By key; shape ``(C + 1,)``. Keys that begin with "room" are approximated from above.
    sizes : sequence of int
        Region sizes.
    tolerance : float
        Of the approximation; 0 for none.
    """

    def __init__(self, tables: dict[Key, Ints], sizes: Sequence[int], tolerance: float) -> None:
        self._tables, self.sizes = tables, tuple(sizes)
        self._functions: dict[Key, Piecewise] = {
            key: approximate(
                table,
                self.sizes,
                kind=Kind.OVER if key[0] == "room" else Kind.UNDER,
                tolerance=tolerance,
            )
            for key, table in tables.items()
        }

    @property
    def breakpoints(self) -> list[int]:
        """Of all tables together."""
        return sorted({size for f in self._functions.values() for size in f.sizes})

    @property
    def exact(self) -> bool:
        """Whether no table differs from its approximation."""
        return all(function.error_ps == 0 for function in self._functions.values())

    def values(self, key: Key) -> Floats:
        """A table's approximation at the breakpoints."""
        function = self._functions[key]
        return np.array([float(function.at(size)) for size in self.breakpoints])

    def refine(self, size: int) -> bool:
        """Make all tables exact at a size; whether that changed any."""
        before = self._functions
        self._functions = {
            key: function
            if function.error_ps == 0
            else refine(function, self._tables[key], self.sizes, size)
            for key, function in before.items()
        }
        return self._functions != before


def layer_tables(
    tables: LatencyTables, space: Space, first: int, last: int, most_ps: int, tolerance: float
) -> dict[int, LayerTables]:
    """Tables of the layers of a segment, over the region sizes at which they keep up with a beat.

    Raises
    ------
    NoSchedule
        If a layer keeps up at none.
    """
    found: dict[int, LayerTables] = {}
    inside, closing = layer_floors(tables)
    # More than all weights has no use, and times their bytes it might not fit int64.
    buffer = min(tables.weight_buffer_bytes, int(tables.weight_bytes.sum()))
    for layer in range(first, last + 1):
        floor = np.concatenate([[0], (closing if layer == last else inside)[layer]])
        fast = [size for size in space.sizes if floor[size] <= most_ps]
        if not fast:
            raise NoSchedule
        sizes = [size for size in space.sizes if size >= fast[0]]
        chiplets = np.arange(tables.chiplets + 1)
        rows: dict[Key, Ints] = {("floor",): floor, ("area",): floor * chiplets}
        edges = [
            e
            for e, (u, v) in enumerate(zip(tables.edge_from, tables.edge_to, strict=True))
            if u == layer and v <= last
        ]
        costs = [("ps", _times(tables))]
        if space.energy_matters and tables.energy is not None:
            e = tables.energy
            arrays = (e.sram_fj, e.gather_fj, e.within_fj, e.send_fj, e.receive_fj, e.edge_send_fj)
            costs.append(("fj", arrays))
        for kind, (compute, gather, within, send, receive, edge) in costs:
            for p in space.partitions[layer]:
                rows[kind, "compute", p] = compute[layer, p]
            rows[kind, "gather"] = gather[layer]
            if layer < last:
                rows[kind, "send"] = send[layer]
                for p in space.partitions[layer]:
                    for q in space.partitions[layer + 1]:
                        rows[kind, "within", p, q] = within[layer, p, q]
            if layer > first:
                for q in space.partitions[layer]:
                    rows[kind, "receive", q] = receive[layer - 1, q]
            rows |= {(kind, "edge", e): edge[e] for e in edges}
        entering = np.flatnonzero(tables.edge_to == layer).tolist()
        rows |= {("ps", "receive_edge", e): tables.edge_receive_ps[e] for e in entering}
        if tables.stream:
            rows["stream",] = tables.weight_bytes[layer] * tables.stream_fs_per_byte
            rows["room",] = buffer * chiplets * tables.stream_fs_per_byte
        found[layer] = LayerTables(rows, sizes, tolerance)
    return found


def _times(t: LatencyTables) -> tuple[Ints, ...]:
    return (t.compute_ps, t.gather_ps, t.within_ps, t.send_ps, t.receive_ps, t.edge_send_ps)


def most_beats_ps(
    tables: LatencyTables, space: Space, first: int, last: int, ceiling_ps: int | None
) -> dict[int, int]:
    """Largest beats of interest under a ceiling, by number of clusters, decreasing.

    Raises
    ------
    NoSchedule
        If no number of clusters has one.
    """
    worst = worst_beat_ps(tables, space, first, last)
    dram, load = int(tables.segment_dram_ps[first, last]), int(tables.load_ps[first, last])
    found: dict[int, int] = {}
    for n in range(space.fewest, min(space.most, last - first + 1) + 1):
        most = worst
        if ceiling_ps is not None:
            most = min(worst, longest_beat(ceiling_ps, load, tables.samples, n))
        if most >= dram:
            found[n] = most
    if not found:
        raise NoSchedule
    return found


def worst_beat_ps(tables: LatencyTables, space: Space, first: int, last: int) -> int:
    """A beat that no schedule of the segment needs to exceed."""
    part = slice(first, last + 1)
    arrays = [*_times(tables)[:5], tables.input_ps, tables.output_ps]
    total = sum(int(a[part].reshape(last - first + 1, -1).max(axis=1).sum()) for a in arrays)
    by_size = (tables.edge_send_ps, tables.edge_receive_ps)
    for array in (*by_size, tables.edge_write_ps, tables.edge_read_ps):
        total += int(array.reshape(len(array), -1).max(axis=1).sum()) if len(array) else 0
    stored = int(tables.weight_bytes[part].sum())
    if tables.stream:
        slowest = int(tables.stream_fs_per_byte.max())
        total += refetching_time(stored, slowest, last - first + 1, tables.dram_latency_ps)
    worst = max(total, int(tables.segment_dram_ps[first, last]))
    return max(worst, space.power_beat_ps(worst_energy_fj(tables, first, last)))


class Choice(NamedTuple):
    """A schedule of one layer as a segment."""

    layer: int
    size: int
    partition: int
    latency_ps: int
    energy_fj: int

    @property
    def segment(self) -> Segment:
        """The schedule."""
        return make_segment(self.layer, [(1, self.size, (self.partition,))])


class OneLayerSegments:
    """Schedules of layers that are a segment each."""

    def __init__(self, tables: LatencyTables, space: Space) -> None:
        self._tables, self._space = tables, space

    @cached_property
    def _caps(self) -> Caps:
        return Caps(self._tables, self._space, None)

    @cached_property
    def _columns(self) -> list[Columns]:
        """By partition: columns are of the best one, here both are wanted."""
        clusters = np.eye(self._tables.layers, dtype=np.bool_) & self._space.clusters
        spaces = [
            replace(self._space, partitions=((p,),) * self._tables.layers, clusters=clusters)
            for p in range(len(PARTITIONS))
        ]
        return [ColumnMaker(self._tables, space).alone(self._caps) for space in spaces]

    def choices(self, layer: int) -> list[Choice]:
        """All of one layer."""
        found = []
        for p in self._space.partitions[layer]:
            columns = take(self._columns[p], self._columns[p].first == layer)
            latencies = alone_latencies_ps(self._tables, self._space, columns)
            numbers = (columns.size.tolist(), latencies, columns.energy_fj.tolist())
            for size, latency_ps, energy_fj in zip(*numbers, strict=True):
                if latency_ps < LIMIT:
                    found.append(Choice(layer, size, p, latency_ps, energy_fj))
        return found
