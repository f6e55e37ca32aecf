"""Every cost formula of the searches, once: times of layers and clusters, weights and copies.

Nothing else in `scope_opt.search` reads the cost columns of `PackedTables`. The functions take
plain arrays and become part of the loops that call them, see `compiled`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scope_opt.model.compiled import compiled, inlined, loop
from scope_opt.search.packed import (
    AFTER,
    COMPUTE,
    GATHER,
    IN_START,
    INPUT,
    OUT_START,
    OUTPUT,
    READ,
    RECEIVE,
    SEND,
    SKIP,
    TAKE,
    TO,
    WEIGHTS,
    WITHIN,
    WRITE,
)

if TYPE_CHECKING:
    from scope_opt.search.packed import Bytes, Ints, PackedTables

ISP, WSP = 0, 1
"""Partitions as compiled code knows them."""


# --- Weights -------------------------------------------------------------------------------------


@inlined
def total_weights(layers: Ints, first: int, last: int) -> int:
    """Weights of the layers ``first..last`` in bytes."""
    weights = 0
    for layer in range(first, last + 1):
        weights += layers[layer, WEIGHTS]
    return weights


@inlined
def whole_package(times: Ints, seg_first: int, seg_last: int, size: int) -> bool:
    """Whether the segment is one layer on every chiplet, whose weights may pass in tiles."""
    return seg_first == seg_last and size == times.shape[1] - 1


@inlined
def free_bytes(buffer_bytes: int, size: int, weights: int, passing: bool) -> int:
    """Room beside a cluster's weights; below 0 if they do not fit, unless they may pass."""
    room = buffer_bytes * size - weights
    return max(0, room) if passing else room


@inlined
def copy_fits(layers: Ints, layer: int, size: int, room: int) -> bool:
    """Whether a WSP layer's gathered copy fits into ``room`` bytes beside its cluster's weights."""
    return bool(layers[layer, WEIGHTS] * (size - 1) <= room)


@inlined
def chiplets_for(weights: int, buffer_bytes: int) -> int:
    """Fewest chiplets that hold so many bytes."""
    return -(-weights // buffer_bytes)


@inlined
def refetch_time(
    layers: Ints,
    stream_fs_per_byte: Ints,
    dram_latency_ps: int,
    first: int,
    last: int,
    size: int,
    excess: int,
) -> int:
    """Time per sample to fetch ``excess`` bytes of a cluster's weights again, in ps."""
    if excess <= 0:
        return 0
    stored = 0
    for layer in range(first, last + 1):
        if layers[layer, WEIGHTS] > 0:
            stored += 1
    return int(stored * dram_latency_ps + (excess * stream_fs_per_byte[size] + 999) // 1000)


@loop
def stream_time(packed: PackedTables, first: int, last: int, weights: int, size: int) -> int:
    """Time per sample to refetch what does not fit of a cluster's ``weights`` bytes, in ps."""
    excess = weights - packed.weight_buffer_bytes * size
    if excess <= 0:
        return 0
    return int(
        refetch_time(
            packed.layers,
            packed.stream_fs_per_byte,
            packed.dram_latency_ps,
            first,
            last,
            size,
            excess,
        )
    )


# --- One layer -----------------------------------------------------------------------------------


@inlined
def compute_time(times: Ints, layer: int, own: int, size: int) -> int:
    """Computation of a layer with partition ``own`` on ``size`` chiplets, in ps."""
    return int(times[layer, size, COMPUTE + own])


@inlined
def gather_time(times: Ints, layer: int, own: int, size: int, alone: bool) -> int:
    """Preparation of a layer: a WSP kernel is gathered, only once if it is alone in its cluster."""
    return 0 if own == ISP or alone else int(times[layer, size, GATHER])


@inlined
def opening_time(layers: Ints, edges: Ints, in_edges: Ints, layer: int, seg_first: int) -> int:
    """DRAM reads of a layer in a segment from ``seg_first`` on: input and edges, in ps.

    Of a tensor from before the segment only the first reader reads.
    """
    time = layers[layer, INPUT] if layer == seg_first else 0
    for index in range(layers[layer, IN_START], layers[layer + 1, IN_START]):
        edge = in_edges[index]
        if edges[edge, AFTER] < seg_first:
            time += edges[edge, READ]
    return int(time)


@inlined
def receiving_time(
    layers: Ints, edges: Ints, in_edges: Ints, layer: int, size: int, first: int
) -> int:
    """What a layer of the cluster ``first..`` takes into its region along edges, in ps.

    Of a tensor from before the cluster only the first reader does.
    """
    time = 0
    for index in range(layers[layer, IN_START], layers[layer + 1, IN_START]):
        edge = in_edges[index]
        if edges[edge, AFTER] < first:
            time += edges[edge, TAKE + 2 * size]
    return int(time)


@inlined
def leaving_time(layers: Ints, edges: Ints, layer: int, size: int, last: int, seg_last: int) -> int:
    """Edges of a layer that leave its cluster ``..last``, sent or written to DRAM, in ps.

    Of a tensor's readers only the first one behind the end of the cluster, or segment, counts.
    """
    time = 0
    for edge in range(layers[layer, OUT_START], layers[layer + 1, OUT_START]):
        if edges[edge, TO] > seg_last:
            if edges[edge, AFTER] <= seg_last:
                time += edges[edge, WRITE]
        elif edges[edge, TO] > last and edges[edge, AFTER] <= last:
            time += edges[edge, SKIP + 2 * size]
    return int(time)


@inlined
def inner_layer_time(times: Ints, layer: int, own: int, then: int, size: int, leaving: int) -> int:
    """Time of a layer whose next one, of partition ``then``, is in its cluster, in ps."""
    communication = times[layer, size, WITHIN + 2 * own + then] + leaving
    return int(max(times[layer, size, COMPUTE + own], communication))


@inlined
def closing_time(
    times: Ints, layers: Ints, edges: Ints, layer: int, size: int, seg_last: int
) -> int:
    """What the last layer of a cluster sends or writes, whatever receives it, in ps."""
    time = times[layer, size, SEND] if layer < seg_last else layers[layer, OUTPUT]
    return int(time + leaving_time(layers, edges, layer, size, layer, seg_last))


@inlined
def last_layer_time(
    times: Ints, layer: int, own: int, size: int, closing: int, then: int, next_size: int
) -> int:
    """Time of the last layer of a cluster in ps.

    The next cluster has ``next_size`` chiplets, 0 if there is none, and begins with partition
    ``then``; ``closing`` is the layer's `closing_time`.
    """
    communication = closing
    if next_size > 0:
        communication += times[layer, next_size, RECEIVE + then]
    return int(max(times[layer, size, COMPUTE + own], communication))


# --- Clusters and segments -----------------------------------------------------------------------


@inlined
def layers_time(
    times: Ints,
    layers: Ints,
    edges: Ints,
    in_edges: Ints,
    seg_first: int,
    seg_last: int,
    first: int,
    last: int,
    size: int,
    next_size: int,
    partition: Bytes,
) -> int:
    """Time per sample of the layers of cluster ``first..last`` in ps, refetched weights left out.

    ``partition`` is read for the cluster's layers and the next one. (Eq. 3-7 of the paper.)
    """
    time = 0
    for layer in range(first, last):
        own = partition[layer]
        time += gather_time(times, layer, own, size, False)
        time += opening_time(layers, edges, in_edges, layer, seg_first)
        time += receiving_time(layers, edges, in_edges, layer, size, first)
        leaving = leaving_time(layers, edges, layer, size, last, seg_last)
        time += inner_layer_time(times, layer, own, partition[layer + 1], size, leaving)
    own, then = partition[last], 0
    if next_size > 0:
        then = partition[last + 1]
    time += gather_time(times, last, own, size, first == last)
    time += opening_time(layers, edges, in_edges, last, seg_first)
    time += receiving_time(layers, edges, in_edges, last, size, first)
    closing = closing_time(times, layers, edges, last, size, seg_last)
    return time + last_layer_time(times, last, own, size, closing, then, next_size)


@loop
def cluster_time(
    packed: PackedTables,
    seg_first: int,
    seg_last: int,
    first: int,
    last: int,
    weights: int,
    size: int,
    next_size: int,
    partition: Bytes,
) -> int:
    """Time per sample of cluster ``first..last`` in segment ``seg_first..seg_last``, in ps.

    ``weights`` is the cluster's total; ``next_size`` is 0 for the segment's last cluster.
    Feasibility is the caller's business.
    """
    time = layers_time(
        packed.times,
        packed.layers,
        packed.edges,
        packed.in_edges,
        seg_first,
        seg_last,
        first,
        last,
        size,
        next_size,
        partition,
    )
    if not whole_package(packed.times, seg_first, seg_last, size):
        time += stream_time(packed, first, last, weights, size)
    return int(time)


@inlined
def segment_latency(
    load_ps: int, dram_ps: int, samples: int, clusters: int, slowest_ps: int
) -> int:
    """Latency of a segment with that slowest cluster, in ps."""
    return int(load_ps + (samples + clusters - 1) * max(slowest_ps, dram_ps))


# --- Tables of them ------------------------------------------------------------------------------


def receive_times(packed: PackedTables) -> Ints:
    """(L, 2, C) ps to receive a layer's output into the next one's partition and region size."""
    return packed.times[:, 1:, RECEIVE:].transpose(0, 2, 1)


def compute_times(packed: PackedTables) -> Ints:
    """(L, C+1, 2) computation of each layer by region size and partition, in ps."""
    return np.ascontiguousarray(packed.times[:, :, COMPUTE:GATHER])


def fastest_layers(packed: PackedTables) -> Ints:
    """(L+1, C+1) cumulated over layers: least computation on ``r`` chiplets, in ps."""
    fastest = packed.times[:, :, COMPUTE:GATHER].min(axis=2)
    return np.concatenate([np.zeros((1, fastest.shape[1]), np.int64), fastest.cumsum(axis=0)])


@compiled
def closing_times(packed: PackedTables, seg_first: int, seg_last: int) -> Ints:
    """(L, C+1) `closing_time` of the layers from ``seg_first`` in segments up to ``seg_last``."""
    times, layers, edges = packed.times, packed.layers, packed.edges
    closing = np.zeros((times.shape[0], times.shape[1]), dtype=np.int64)
    for layer in range(seg_first, seg_last + 1):
        for size in range(1, times.shape[1]):
            closing[layer, size] = closing_time(times, layers, edges, layer, size, seg_last)
    return closing


@compiled
def ending_times(packed: PackedTables) -> Ints:
    """(L, C+1) `closing_time` of each layer as the last one of its segment."""
    times, layers, edges = packed.times, packed.layers, packed.edges
    ending = np.zeros((times.shape[0], times.shape[1]), dtype=np.int64)
    for layer in range(times.shape[0]):
        for size in range(1, times.shape[1]):
            ending[layer, size] = closing_time(times, layers, edges, layer, size, layer)
    return ending


@compiled
def opening_times(packed: PackedTables, seg_first: int) -> Ints:
    """(L+1,) cumulated over layers: `opening_time` in a segment that starts at ``seg_first``."""
    layers, edges, in_edges = packed.layers, packed.edges, packed.in_edges
    reads = np.zeros(len(layers), dtype=np.int64)
    for layer in range(len(layers) - 1):
        reads[layer + 1] = reads[layer]
        if layer >= seg_first:
            reads[layer + 1] += opening_time(layers, edges, in_edges, layer, seg_first)
    return reads
