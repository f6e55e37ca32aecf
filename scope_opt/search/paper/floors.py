"""What the clusters of a row take at least, whatever regions they get: rows that cannot win.

For a given transition point the partition of every layer is known but for copies that do not fit.
The least times of layers are cumulated, so that a cluster's is a difference; and the fewest
chiplets with which every cluster keeps within a beat must be there together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.model.compiled import compiled, inlined, loop
from scope_opt.search.packed import OUTPUT, RECEIVE, SEND, WEIGHTS
from scope_opt.search.paper.merging import make_row, merge_order
from scope_opt.search.placed import link_ps, segment_facts, weight_gather_ps, within_ps
from scope_opt.search.times import (
    ISP,
    WSP,
    compute_time,
    copy_fits,
    free_bytes,
    gather_time,
    inner_layer_time,
    opening_times,
    segment_latency,
    whole_package,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scope_opt.search.packed import Floats, Ints, PackedTables
    from scope_opt.search.paper.merging import Row
    from scope_opt.search.placed import PlacedKernel

    Flags = NDArray[np.bool_]


PRECISION = 64
"""Beats are bounded to one part in so many."""


class Floors(NamedTuple):
    """Least times of layers in ps by region size, DRAM reads left out; ``l, r`` are the axes."""

    same: Ints
    """(2, L+1, C+1) cumulated over layers with another one behind them in their cluster, of the
    same partition"""
    turn: Ints
    """(L, C+1) of a WSP layer with an ISP layer behind it in its cluster"""
    either: Ints
    """(L+1, C+1) as ``same``, for any partitions"""
    prepare: Ints
    """(L, C+1) of a WSP layer that is not alone: its weights"""
    leaving: Ints
    """(2, L, C+1) of the last layer of a cluster with another one behind it"""
    ending: Ints
    """(2, L, C+1) of the last layer of a segment"""


def make_floors(packed: PackedTables) -> Floors:
    """Least times of all layers on all region sizes."""
    layers, sizes = packed.times.shape[:2]
    inner = np.zeros((2, 2, layers, sizes), dtype=np.int64)
    prepare = np.zeros((layers, sizes), dtype=np.int64)
    leaving = np.zeros((2, layers, sizes), dtype=np.int64)
    ending = np.zeros((2, layers, sizes), dtype=np.int64)
    if packed.places.placed:
        anywhere, scattered = _anywhere(packed.places)
        _fill_placed(anywhere, scattered, inner, prepare, leaving, ending)
    else:
        _fill(packed, inner, prepare, leaving, ending)
    inner[WSP] += prepare
    cumulated = np.zeros((3, layers + 1, sizes), dtype=np.int64)
    for own in (ISP, WSP):
        np.cumsum(inner[own, own], axis=0, out=cumulated[own, 1:])
    np.cumsum(inner.min(axis=(0, 1)), axis=0, out=cumulated[2, 1:])
    return Floors(
        same=cumulated[:2].copy(),
        turn=inner[WSP, ISP].copy(),
        either=cumulated[2].copy(),
        prepare=prepare,
        leaving=leaving,
        ending=ending,
    )


def _anywhere(kernel: PlacedKernel) -> tuple[PlacedKernel, Floats]:
    """Counts of links that hold wherever a region lies, halos and scatters left out.

    And, by its size, the least share of what a region sends that the busiest link carries.
    """
    sizes = kernel.gather.shape[1]
    scattered = np.zeros(sizes)
    if len(kernel.scatter) > 0:
        counts = kernel.scatter[:, 1:, 1:].min(axis=0).astype(np.float64)
        size = np.arange(1, sizes)
        # Lifted by less than what a time is rounded up by; lowered by more than their rounding.
        scattered[1:] = (counts / (size[:, None] * size)).min(axis=1) * (1 - 1e-9)
    return kernel._replace(
        phase=np.zeros_like(kernel.phase),
        gather=kernel.gather.min(axis=0, keepdims=True),
        exchange=kernel.exchange.min(axis=0, keepdims=True),
        halo=np.zeros((len(kernel.halo), 1, sizes)),
    ), scattered


@compiled
def _fill(packed: PackedTables, inner: Ints, prepare: Ints, leaving: Ints, ending: Ints) -> None:
    times = packed.times
    for layer in range(times.shape[0]):
        received = times[layer, 1:, RECEIVE:].min()
        for size in range(1, times.shape[1]):
            prepare[layer, size] = gather_time(times, layer, WSP, size, False)
            for own in (ISP, WSP):
                for then in (ISP, WSP):
                    inner[own, then, layer, size] = inner_layer_time(
                        times, layer, own, then, size, 0
                    )
                computed = compute_time(times, layer, own, size)
                sent = times[layer, size, SEND] + received
                leaving[own, layer, size] = max(computed, sent)
                ending[own, layer, size] = max(computed, packed.layers[layer, OUTPUT])


@compiled
def _fill_placed(
    kernel: PlacedKernel,
    scattered: Floats,
    inner: Ints,
    prepare: Ints,
    leaving: Ints,
    ending: Ints,
) -> None:
    layers = kernel.compute_ps.shape[0]
    for layer in range(layers):
        travels = min(kernel.output_bytes[layer], kernel.chain[layer, 0])
        for size in range(1, kernel.compute_ps.shape[2]):
            prepare[layer, size] = weight_gather_ps(kernel, kernel.weights[layer], 0, size)
            sent = link_ps(kernel, travels * scattered[size])
            for own in (ISP, WSP):
                computed = kernel.compute_ps[layer, own, size]
                for then in (ISP, WSP):
                    # Only the chain edge starts within a segment that starts here.
                    moved = 0
                    if layer + 1 < layers:
                        moved = within_ps(kernel, layer, own, then, 0, size, layer)
                    inner[own, then, layer, size] = max(computed, moved)
                leaving[own, layer, size] = max(computed, sent)
                ending[own, layer, size] = max(computed, kernel.write_ps[layer, layer])


@compiled
def segment_reads(packed: PackedTables, seg_first: int, seg_last: int) -> Ints:
    """(L+1,) DRAM reads of the layers of a segment, cumulated, in ps."""
    if not packed.places.placed:
        return opening_times(packed, seg_first)
    reads = np.zeros(len(packed.times) + 1, dtype=np.int64)
    for layer in range(seg_first, seg_last + 1):
        reads[layer + 1] = reads[layer] + packed.places.read_ps[seg_first, layer]
    return reads


@inlined
def longest_beat(below: int, load_ps: int, samples: int, clusters: int) -> int:
    """Longest beat with which a segment of so many clusters takes less than ``below``, in ps."""
    return (below - 1 - load_ps) // (samples + clusters - 1)


@loop
def _least_ps(
    row: Row, floors: Floors, reads: Ints, first: int, last: int, transition: int, size: int
) -> int:
    """Least time of a cluster in ps, where all copies before the transition fit."""
    closing = floors.ending if last == row.seg_last else floors.leaving
    time = reads[last + 1] - reads[first]
    if transition > last:
        time += floors.same[WSP, last, size] - floors.same[WSP, first, size]
        if last > first:
            time += floors.prepare[last, size]
        return int(time + closing[WSP, last, size])
    turn = max(first, transition)
    if turn > first:
        time += floors.same[WSP, turn - 1, size] - floors.same[WSP, first, size]
        time += floors.turn[turn - 1, size]
    time += floors.same[ISP, last, size] - floors.same[ISP, turn, size]
    return int(time + closing[ISP, last, size])


@loop
def _least_either_ps(
    row: Row, floors: Floors, reads: Ints, first: int, last: int, size: int
) -> int:
    """Least time of a cluster in ps, whatever the partitions of its layers."""
    closing = floors.ending if last == row.seg_last else floors.leaving
    shared = closing[WSP, last, size]
    if last > first:
        shared += floors.prepare[last, size]
    time = reads[last + 1] - reads[first]
    time += floors.either[last, size] - floors.either[first, size]
    return int(time + min(closing[ISP, last, size], shared))


@loop
def fewest_chiplets(
    row: Row, floors: Floors, reads: Ints, cluster: int, transition: int, beat: int, most: int
) -> int:
    """Fewest chiplets, up to ``most``, that may keep a cluster within a beat; else one more."""
    packed, first, last = row.packed, row.start[cluster], row.start[cluster + 1] - 1
    heaviest = first
    for layer in range(first, min(last + 1, transition)):
        if packed.layers[layer, WEIGHTS] > packed.layers[heaviest, WEIGHTS]:
            heaviest = layer
    for size in range(row.least[cluster], min(most, row.largest) + 1, row.unit):
        known = packed.places.limit < 0
        if known and transition > first:
            passing = packed.stream or whole_package(
                packed.times, row.seg_first, row.seg_last, size
            )
            room = free_bytes(packed.weight_buffer_bytes, size, row.weights[cluster], passing)
            known = copy_fits(packed.layers, heaviest, size, room)
        if known:
            time = _least_ps(row, floors, reads, first, last, transition, size)
        else:
            time = _least_either_ps(row, floors, reads, first, last, size)
        if time <= beat:
            return int(size)
    return most + 1


@loop
def mark_transitions(
    row: Row,
    floors: Floors,
    reads: Ints,
    package: int,
    beat: int,
    needed: tuple[Ints, Ints],
    hopeful: Flags,
) -> bool:
    """Mark the transitions with which all clusters may keep within a beat; whether there are any.

    ``hopeful[t]`` is of the transition before layer ``t`` of the segment. ``needed`` is room for
    chiplets, (clusters + 1,) each.
    """
    before, behind = needed
    clusters, first = len(row.least), row.seg_first
    hopeful[:] = False
    before[0] = behind[clusters] = 0
    for j in range(clusters - 1, -1, -1):
        left = package - behind[j + 1]
        fewest = fewest_chiplets(row, floors, reads, j, row.start[j], beat, left)
        behind[j] = behind[j + 1] + fewest
    hopeful[0] = possible = behind[0] <= package
    for j in range(clusters):
        left = package - before[j] - behind[j + 1]
        for transition in range(row.start[j] + 1, row.start[j + 1] + 1):
            if left > 0:
                fewest = fewest_chiplets(row, floors, reads, j, transition, beat, left)
                hopeful[transition - first] = fewest <= left
                possible = possible or fewest <= left
        left = package - before[j]
        fewest = fewest_chiplets(row, floors, reads, j, row.start[j + 1], beat, left)
        if fewest > left:
            break
        before[j + 1] = before[j] + fewest
    return bool(possible)


@compiled
def segment_floor(
    packed: PackedTables,
    floors: Floors,
    seg_first: int,
    seg_last: int,
    min_clusters: int,
    max_clusters: int,
    unit: int,
    largest: int,
    similarity: int,
    below: int,
) -> int:
    """What a segment takes at least in ps, with any regions and transition; at most ``below``."""
    layers, chiplets = seg_last - seg_first + 1, packed.times.shape[1] - 1
    package, largest = chiplets // unit * unit, min(largest, chiplets) // unit * unit
    step = merge_order(packed, seg_first, seg_last, similarity)
    facts = segment_facts(packed.places, seg_first, seg_last)
    reads = segment_reads(packed, seg_first, seg_last)
    load_ps = packed.load_ps[seg_first, seg_last]
    dram_ps = packed.segment_dram_ps[seg_first, seg_last]
    hopeful = np.empty(layers + 1, dtype=np.bool_)
    needed = np.empty(layers + 1, dtype=np.int64), np.empty(layers + 1, dtype=np.int64)
    for clusters in range(max(1, min_clusters), min(layers, package // unit, max_clusters) + 1):
        high = longest_beat(below, load_ps, packed.samples, clusters)
        if high < dram_ps:
            break
        row, _ = make_row(packed, facts, seg_first, seg_last, step, clusters, unit, largest)
        if row.least.sum() > package or row.least.max() > largest:
            continue
        if not mark_transitions(row, floors, reads, package, high, needed, hopeful):
            continue
        low = dram_ps - 1
        while high - low > 1 + high // PRECISION:
            middle = (low + high) // 2
            if mark_transitions(row, floors, reads, package, middle, needed, hopeful):
                high = middle
            else:
                low = middle
        below = segment_latency(load_ps, dram_ps, packed.samples, clusters, low + 1)
    return int(below)
