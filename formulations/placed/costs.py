"""What clusters of one segment take and move where they may lie, in plain arrays.

Inside a region transfers depend on its size and place. Regions on which all of them take the same
time share a *row* of the tables here; for every size there is one more with the least times over
all places.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.model.tables import ISP, WSP

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from formulations.request import Request
    from scope_opt.model.tables import Flow

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

FACTOR = 1 - 1e-12
"""As `scope_opt.model.tables.ceil_int` rounds."""


class SegmentCosts(NamedTuple):
    """Costs of a segment ``first..last``; arrays over layers are indexed by the layer itself.

    Times in ps, volumes in bytes. ``L`` layers, ``C`` chiplets; pairs of partitions of a layer and
    the next one are numbered ``2 p + q``.
    """

    first: int
    last: int
    reads: Ints
    """(L+1,) DRAM reads, cumulated over the layers of the segment"""
    writes: Ints
    """(L,) DRAM writes"""
    travel: Ints
    """(L,) what is handed on behind a layer"""
    wanted: Ints
    """(L,) what of it is input of the next layer"""
    waiting: Ints
    """(L,) what earlier layers computed and is still needed while this one computes"""
    arriving: Ints
    """(L,) input of a cluster that begins with the layer"""
    compute: Ints
    """(L, C+1, 2)"""
    gather: Ints
    """(L, rows) of weights, by a WSP layer that is not alone in its cluster"""
    within: Ints
    """(L, rows, 4) to the next layer of the same cluster"""
    gathered: Ints
    """(L, 4) what of that is gathered,"""
    exchanged: Ints
    """(L, 4) and exchanged"""
    halo: Flags
    """(L, 4) whether tiles of the next layer exchange what overlaps"""
    weights: Ints
    """(L,)"""
    buffer_bytes: int
    stream: bool
    refetch_latency_ps: int
    refetch_fs_per_byte: Ints
    """(C+1,)"""
    held: Ints
    """(L, 2, C+1) input and output in a region"""
    activation_bytes: int
    """What a chiplet can hold of activations; negative for any amount"""
    row: Ints
    """(C, C+1) row of the region of each size from each position; -1 for none"""
    least_row: int
    """Row of the least times for size ``r`` is ``least_row + r``."""
    phase: Ints
    """(C,) row of the counts below for regions that begin at a position"""
    scatter: NDArray[np.int32]
    """(phases, C+1, C+1) shares of ``1 / (r r')`` on the busiest link"""
    least_scatter: Floats
    """(C+1,) least bytes on the busiest link, per byte sent from so many chiplets"""
    gather_count: Ints
    """(phases, C+1) shares of ``1 / r``"""
    ps_per_byte: float
    clusters: Flags
    """(L, L) which runs of layers may be a cluster"""
    sizes: Flags
    """(C+1,) which sizes regions may have"""
    partitions: Flags
    """(L, 2) which partitions a layer may have"""


class PlacedCosts:
    """`SegmentCosts` of one segment after the other."""

    def __init__(self, request: Request) -> None:
        tables, space = request.given, request.space
        assert tables.placed is not None
        assert tables.flow is not None
        assert tables.held_bytes is not None
        self._tables, self._flow, placed = tables, tables.flow, tables.placed
        self._edges = _edges(self._flow)
        layers, chiplets = tables.layers, tables.chiplets
        row, phases, sizes = _rows(request)
        self._count, self._rows = len(sizes), len(sizes) + chiplets + 1
        self._of_size = [np.flatnonzero(sizes == size) for size in range(chiplets + 1)]
        self._gather_share = placed.gather[phases, sizes]
        self._exchange_share = placed.exchange[phases, sizes]
        self._halo_bytes = placed.halo_bytes[:, phases, sizes]
        self._sizes, self._factor = sizes, placed.ps_per_byte
        self._known: dict[tuple[int, tuple[tuple[int, int], ...]], tuple[Ints, ...]] = {}
        gather = np.stack([self._time(self._gathers(int(w))) for w in tables.weight_bytes])
        whole = np.maximum(np.arange(chiplets + 1), 1)
        shares = placed.scatter / np.multiply.outer(whole, whole)
        least = np.where(placed.scatter > 0, shares, np.inf).min(axis=(0, 2))
        allowed = np.zeros(chiplets + 1, dtype=np.bool_)
        allowed[list(space.sizes)] = True
        partitions = np.zeros((layers, 2), dtype=np.bool_)
        for layer, some in enumerate(space.partitions):
            partitions[layer, list(some)] = True
        self._costs = SegmentCosts(
            first=0,
            last=layers - 1,
            reads=np.zeros(layers + 1, dtype=np.int64),
            writes=np.zeros(layers, dtype=np.int64),
            travel=np.zeros(layers, dtype=np.int64),
            wanted=np.zeros(layers, dtype=np.int64),
            waiting=np.zeros(layers, dtype=np.int64),
            arriving=np.zeros(layers, dtype=np.int64),
            compute=np.ascontiguousarray(tables.compute_ps.transpose(0, 2, 1)),
            gather=gather,
            within=np.zeros((layers, self._rows, 4), dtype=np.int64),
            gathered=np.zeros((layers, 4), dtype=np.int64),
            exchanged=np.zeros((layers, 4), dtype=np.int64),
            halo=np.zeros((layers, 4), dtype=np.bool_),
            weights=tables.weight_bytes.copy(),
            buffer_bytes=tables.weight_buffer_bytes,
            stream=tables.stream,
            refetch_latency_ps=tables.dram_latency_ps,
            refetch_fs_per_byte=tables.stream_fs_per_byte.copy(),
            held=tables.held_bytes.copy(),
            activation_bytes=(
                -1 if tables.activation_buffer_bytes is None else tables.activation_buffer_bytes
            ),
            row=row,
            least_row=self._count,
            phase=placed.phase.copy(),
            scatter=placed.scatter.copy(),
            # No rounding may lift a bound above what it bounds.
            least_scatter=np.where(least < np.inf, least, 0.0) * (1 - 1e-9),
            gather_count=placed.gather.copy(),
            ps_per_byte=placed.ps_per_byte,
            clusters=space.clusters.copy(),
            sizes=allowed,
            partitions=partitions,
        )

    def segment(self, first: int, last: int) -> SegmentCosts:
        """Costs of one segment; those of the segment before are overwritten."""
        costs, tables = self._costs, self._tables
        inside = slice(first, last + 1)
        costs.reads[: first + 1] = 0
        costs.reads[first + 1 : last + 2] = np.cumsum(tables.read_ps[first, inside])
        costs.writes[inside] = tables.write_ps[last, inside]
        _fill_volumes(self._flow, self._edges, costs, first, last)
        for layer in range(first, last):
            times, gathered, exchanged, halo = self._within(layer, first)
            costs.within[layer] = times
            costs.gathered[layer], costs.exchanged[layer] = gathered, exchanged
            costs.halo[layer] = halo
        return costs._replace(first=first, last=last)

    # --- Transfers inside a region; bytes on the busiest link, by row ----------------------------

    def _gathers(self, volume: int) -> Floats:
        loads: Floats = volume * self._gather_share / self._sizes
        return loads

    def _exchanges(self, volume: int) -> Floats:
        loads: Floats = volume * self._exchange_share / (self._sizes * self._sizes)
        return loads

    def _time(self, loads: Floats) -> Ints:
        """Times by row, rounded up once, and the least ones by size behind them."""
        assert loads.shape == (self._count,)
        times = np.ceil(loads * self._factor * FACTOR).astype(np.int64)
        least = [times[rows].min(initial=2**62) for rows in self._of_size]
        return np.concatenate([times, np.array(least, dtype=np.int64)])

    def _within(self, layer: int, first: int) -> tuple[Ints, ...]:
        """To the next layer: times (rows, 4), bytes gathered and exchanged (4,), halos (4,)."""
        edges = tuple(
            (u, moved)
            for u, v, moved, is_input in self._edges
            if v == layer + 1 and is_input and first <= u < layer
        )
        if (layer, edges) not in self._known:
            self._known[layer, edges] = self._compute_within(layer, edges)
        return self._known[layer, edges]

    def _compute_within(self, layer: int, edges: tuple[tuple[int, int], ...]) -> tuple[Ints, ...]:
        placed = self._tables.placed
        assert placed is not None
        chain, chain_is_input = 0, False
        present: dict[int, int] = {}
        for u, v, moved, is_input in self._edges:
            if (u, v) == (layer, layer + 1):
                chain, chain_is_input = moved, is_input
            if v == layer and is_input:
                present[u] = moved
        halos = self._halo_bytes[placed.shape[layer + 1]]
        times = np.zeros((self._rows, 4), dtype=np.int64)
        gathered, exchanged = np.zeros(4, dtype=np.int64), np.zeros(4, dtype=np.int64)
        halo = np.zeros(4, dtype=np.int64)
        for this in (ISP, WSP):
            for then in (ISP, WSP):
                pair, total = 2 * this + then, np.zeros(self._rows, dtype=np.int64)
                if chain and chain_is_input and then == ISP:
                    total += self._time(self._gathers(chain))
                    gathered[pair] += chain
                elif chain and chain_is_input:
                    moved = chain if this == ISP else 0
                    total += self._time(self._exchanges(moved) + halos)
                    exchanged[pair] += moved
                    halo[pair] = 1
                elif chain and this != then:
                    total += self._time(self._exchanges(chain))
                    exchanged[pair] += chain
                for u, moved in edges:
                    if this == ISP and present.get(u, 0) >= moved:
                        continue  # every chiplet has it already
                    if then == ISP:
                        total += self._time(self._gathers(moved))
                        gathered[pair] += moved
                        continue
                    total += self._time(self._exchanges(moved))
                    exchanged[pair] += moved
                    if not chain and not halo[pair]:
                        total += self._time(halos)
                        halo[pair] = 1
                times[:, pair] = total
        return times, gathered, exchanged, halo


def _edges(flow: Flow) -> list[tuple[int, int, int, bool]]:
    """Edges as source, target, bytes, and whether they are input."""
    arrays = (flow.edge_from, flow.edge_to, flow.edge_bytes, flow.edge_input)
    return list(zip(*(array.tolist() for array in arrays), strict=True))


def _fill_volumes(
    flow: Flow,
    edges: list[tuple[int, int, int, bool]],
    costs: SegmentCosts,
    first: int,
    last: int,
) -> None:
    """What layers of the segment hand on and hold."""
    inside = slice(first, last + 1)
    for array in (costs.travel, costs.wanted, costs.waiting, costs.arriving):
        array[inside] = 0
    readers: dict[int, list[tuple[int, int, bool]]] = {}
    opening = flow.input_bytes if first == 0 else 0
    for u, v, moved, is_input in edges:
        if first <= u and v <= last:
            readers.setdefault(u, []).append((v, moved, is_input))
            if is_input:
                costs.wanted[v - 1] += moved
        elif u < first == v:
            opening += moved
    for u, some in readers.items():
        size = int(flow.output_bytes[u])
        for layer in range(u, max(v for v, _, _ in some) + 1):
            behind = sum(moved for v, moved, _ in some if v > layer)
            added = sum(moved for v, moved, is_input in some if v == layer and not is_input)
            costs.travel[layer] += min(size, behind)
            if layer > u:
                costs.waiting[layer] += min(size, behind + added)
    costs.wanted[inside] = np.minimum(costs.wanted[inside], costs.travel[inside])
    costs.arriving[first + 1 : last + 1] = costs.travel[first:last]
    costs.arriving[first] = opening


def _rows(request: Request) -> tuple[Ints, Ints, Ints]:
    """Rows of all regions, with a phase and a size for each row."""
    placed, chiplets = request.given.placed, request.given.chiplets
    assert placed is not None
    row = np.full((chiplets, chiplets + 1), -1, dtype=np.int64)
    phases: list[int] = []
    sizes: list[int] = []
    for size in range(1, chiplets + 1):
        where = placed.phase[: chiplets - size + 1]
        halos = placed.halo_bytes[:, where, size]
        counts = np.stack([placed.gather[where, size], placed.exchange[where, size]])
        kinds = np.concatenate([counts, halos]).T
        _, first, inverse = np.unique(kinds, axis=0, return_index=True, return_inverse=True)
        row[: len(where), size] = len(sizes) + inverse.reshape(-1)
        phases += where[first].tolist()
        sizes += [size] * len(first)
    return row, np.array(phases), np.array(sizes)
