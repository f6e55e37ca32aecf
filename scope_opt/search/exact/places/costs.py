"""What clusters of one segment cost where they may lie, in plain arrays for compiled code.

Transfers inside a region depend on its size and place. Regions on which all of them take the same
time share a *row*: with ZigZag order those that begin in the same column, and often more. For every
size there is one more row with the least times over all places, for bounds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.model.compiled import compiled
from scope_opt.model.tables import LIMIT
from scope_opt.search.placed import (
    ARRIVING,
    TRAVEL,
    WAITING,
    WANTED,
    make_placed,
    segment_facts,
    weight_gather_ps,
    within_ps,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scope_opt.model.tables import LatencyTables
    from scope_opt.search.allowed import Allowed
    from scope_opt.search.placed import PlacedKernel

    Ints = NDArray[np.int64]
    Shorts = NDArray[np.int32]
    Bytes = NDArray[np.int8]
    Flags = NDArray[np.bool_]
    Floats = NDArray[np.float64]

FLOOR = 1 - 1e-9
"""Factor on float bounds, so that no rounding lifts them above what they bound."""


class Costs(NamedTuple):
    """Costs of a segment ``first..last``; arrays over layers are indexed by the layer itself.

    Times in ps. Rows of all arrays but those of the segment's layers are stale.
    """

    first: int
    last: int
    reads: Ints
    """(L+1,) DRAM reads, cumulated over layers"""
    writes: Ints
    """(L,) DRAM writes of each layer"""
    travel: Ints
    """(L,) bytes handed on behind each layer"""
    wanted: Ints
    """(L,) bytes of them that are input of the next layer"""
    waiting: Ints
    """(L,) bytes that wait for later layers while this one computes"""
    arriving: Ints
    """(L,) bytes of input of a cluster that opens here"""
    least_hand_over: Ints
    """(L, C+1) least time of a hand-over from ``r`` chiplets, wherever they lie"""
    compute: Ints
    """(L, C+1, 2)"""
    fastest: Ints
    """(L+1, C+1) the faster of both partitions, cumulated over layers"""
    gather: Ints
    """(L, rows) weight gather"""
    within: Ints
    """(L, rows, 4) to the next layer in the cluster, by this and the next partition ``2 p + q``"""
    weights: Ints
    """(L,) bytes"""
    buffer_bytes: int
    stream: bool
    refetch_latency_ps: int
    refetch_fs_per_byte: Ints
    held: Ints
    """(L, 2, C+1) bytes of input and output in a region"""
    activation_bytes: int
    """Activations that a chiplet can hold; negative for any amount"""
    row: Shorts
    """(C, C+1) row of the region of each size from each position"""
    phase: Ints
    """(C,) row of the counts below for regions that start at a position"""
    scatter: Shorts
    """(phases, C+1, C+1)"""
    gather_count: Ints
    """(phases, C+1)"""
    ps_per_byte: float
    clusters: Flags
    """(L, L) whether layers ``i..j`` may be a cluster"""
    regions: Flags
    """(L, C+1)"""
    choice: Bytes
    """(L,) partitions a layer may take, as in `Allowed`"""
    monotone: bool
    """Whether more layers never make a cluster faster"""


class CostTables:
    """`Costs` of one segment after the other; what they share is computed once."""

    def __init__(self, tables: LatencyTables, space: Allowed) -> None:
        self.kernel = kernel = _complete(tables)
        self.tables, self.space = tables, space
        layers, chiplets = tables.layers, tables.chiplets
        row, starts, sizes = _rows(kernel, chiplets)
        self._starts, self._sizes = starts, sizes
        count = len(starts)
        self.rows = count + chiplets + 1
        """Number of rows; that of least times on ``r`` chiplets is ``rows - C - 1 + r``."""
        self._within = np.zeros((layers, self.rows, 4), dtype=np.int64)
        self._gather = np.zeros((layers, self.rows), dtype=np.int64)
        _fill_gathers(kernel, starts, sizes, self._gather)
        self.changed = np.ones(layers, dtype=np.bool_)
        # How many edges arrived at the next layer when its transfers were computed.
        self._known = np.full(layers, -1, dtype=np.int64)
        compute = np.ascontiguousarray(tables.compute_ps.transpose(0, 2, 1))
        fastest = np.zeros((layers + 1, chiplets + 1), dtype=np.int64)
        fastest[1:] = compute.min(axis=2).cumsum(axis=0)
        self.least_scatter, self.least_receive = _least_scatter(kernel, chiplets)
        """(C+1,) least bytes on a link per byte sent from, and to, so many chiplets."""
        self._costs = Costs(
            first=0,
            last=layers - 1,
            reads=np.zeros(layers + 1, dtype=np.int64),
            writes=np.zeros(layers, dtype=np.int64),
            travel=np.zeros(layers, dtype=np.int64),
            wanted=np.zeros(layers, dtype=np.int64),
            waiting=np.zeros(layers, dtype=np.int64),
            arriving=np.zeros(layers, dtype=np.int64),
            least_hand_over=np.zeros((layers, chiplets + 1), dtype=np.int64),
            compute=compute,
            fastest=fastest,
            gather=self._gather,
            within=self._within,
            weights=kernel.weights,
            buffer_bytes=tables.weight_buffer_bytes,
            stream=tables.stream,
            refetch_latency_ps=tables.dram_latency_ps,
            refetch_fs_per_byte=tables.stream_fs_per_byte.copy(),
            held=kernel.held,
            activation_bytes=kernel.limit,
            row=row,
            phase=kernel.phase,
            scatter=kernel.scatter,
            gather_count=kernel.gather,
            ps_per_byte=kernel.ps_per_byte,
            clusters=space.clusters,
            regions=space.regions,
            choice=space.choice,
            monotone=True,
        )
        self.limit(space)

    def limit(self, space: Allowed) -> None:
        """Search other schedules from now on."""
        from scope_opt.search.allowed import WSP_IF_FITS

        self.space = space
        self._costs = self._costs._replace(
            clusters=space.clusters,
            regions=space.regions,
            choice=space.choice,
            monotone=not bool((space.choice == WSP_IF_FITS).any()),
        )

    def segment(self, first: int, last: int) -> Costs:
        """Costs of one segment; those of the segment before are overwritten.

        Layers whose costs are no longer what they were, reads left out, are marked in `changed`
        until somebody clears it.
        """
        costs = self._costs
        inside = slice(first, last + 1)
        writes = self.tables.write_ps[last, inside]
        self.changed[inside] |= writes != costs.writes[inside]
        costs.reads[: first + 1] = 0
        reads = self.tables.read_ps[first, inside]
        costs.reads[first + 1 : last + 2] = np.cumsum(reads)
        costs.writes[inside] = writes
        facts = segment_facts(self.kernel, first, last)
        for column, target in (
            (TRAVEL, costs.travel),
            (WANTED, costs.wanted),
            (WAITING, costs.waiting),
            (ARRIVING, costs.arriving),
        ):
            if column == TRAVEL or costs.activation_bytes >= 0:
                self.changed[inside] |= facts[:, column] != target[inside]
            target[inside] = facts[:, column]
        least = np.multiply.outer(
            costs.travel[inside], self.least_scatter * (self.kernel.ps_per_byte * FLOOR)
        )
        costs.least_hand_over[inside] = np.ceil(least).astype(np.int64)
        _fill_within(self.kernel, self._starts, self._sizes, first, last, self._known, self._within)
        return costs._replace(first=first, last=last)


def _complete(tables: LatencyTables) -> PlacedKernel:
    """A kernel in which nothing is left to be made while the search goes on."""
    placed = tables.placed
    assert placed is not None
    placed.halos()
    return make_placed(tables)._replace(scatter=placed.scatter)


def _rows(kernel: PlacedKernel, chiplets: int) -> tuple[Shorts, Ints, Ints]:
    """Rows of all regions, and a position and size for each row."""
    row = np.full((chiplets, chiplets + 1), -1, dtype=np.int32)
    starts: list[int] = []
    sizes: list[int] = []
    for size in range(1, chiplets + 1):
        phases = kernel.phase[: chiplets - size + 1]
        what = np.column_stack(
            [
                kernel.gather[phases, size],
                kernel.exchange[phases, size],
                *(halo[phases, size] for halo in kernel.halo),
            ]
        )
        _, first, inverse = np.unique(what, axis=0, return_index=True, return_inverse=True)
        row[: len(phases), size] = len(starts) + inverse.reshape(-1)
        starts += first.tolist()
        sizes += [size] * len(first)
    return row, np.array(starts), np.array(sizes)


def _least_scatter(kernel: PlacedKernel, chiplets: int) -> tuple[Floats, Floats]:
    sizes = np.maximum(np.arange(chiplets + 1, dtype=np.float64), 1)
    shares = np.where(kernel.scatter > 0, kernel.scatter / np.multiply.outer(sizes, sizes), np.inf)
    least = shares.min(axis=0)
    sent, received = least.min(axis=1), least.min(axis=0)
    return np.where(sent < np.inf, sent, 0.0), np.where(received < np.inf, received, 0.0)


@compiled
def _fill_gathers(kernel: PlacedKernel, starts: Ints, sizes: Ints, gather: Ints) -> None:
    rows, least = len(starts), gather.shape[1] - kernel.compute_ps.shape[2]
    for layer in range(gather.shape[0]):
        volume = kernel.weights[layer]
        gather[layer, least:] = LIMIT
        for row in range(rows):
            size = sizes[row]
            time = weight_gather_ps(kernel, volume, starts[row], size)
            gather[layer, row] = time
            gather[layer, least + size] = min(gather[layer, least + size], time)


@compiled
def _fill_within(
    kernel: PlacedKernel,
    starts: Ints,
    sizes: Ints,
    first: int,
    last: int,
    known: Ints,
    within: Ints,
) -> None:
    """Transfers inside clusters, where more or fewer edges come from the segment than before."""
    rows, least = len(starts), within.shape[1] - kernel.compute_ps.shape[2]
    for layer in range(first, last):
        arriving = 0
        for index in range(kernel.in_start[layer + 1], kernel.in_start[layer + 2]):
            arriving += kernel.edges[kernel.in_edges[index], 0] >= first
        if arriving == known[layer]:
            continue
        known[layer] = arriving
        within[layer, least:] = LIMIT
        for row in range(rows):
            start, size = starts[row], sizes[row]
            for this in range(2):
                for then in range(2):
                    pair = 2 * this + then
                    time = within_ps(kernel, layer, this, then, start, size, first)
                    within[layer, row, pair] = time
                    if time < within[layer, least + size, pair]:
                        within[layer, least + size, pair] = time
