"""Compiled inner loops on the latency tables, shared by the searches.

Numba compiles them at their first call and caches the machine code beside this file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scope_opt.model.tables import LatencyTables

    Ints = NDArray[np.int64]
    Bytes = NDArray[np.int8]

NEVER = 2**62
"""Stands for "no such schedule" among int64 times."""

# Last axis of `Kernel.times`: everything one evaluation needs lies side by side in memory.
COMPUTE, GATHER, WITHIN, SEND, RECEIVE, ENTRIES = 0, 2, 3, 7, 8, 10
# Columns of `Kernel.layers` and `Kernel.edges`.
WEIGHTS, INPUT, OUTPUT, LOAD, OUT_START, IN_START = 0, 1, 2, 3, 4, 5
FROM, TO, WRITE, READ = 0, 1, 2, 3


class Kernel(NamedTuple):
    """`LatencyTables` in the form compiled code takes: few arrays, times of a layer together."""

    samples: int
    stream: bool
    weight_buffer_bytes: int
    dram_latency_ps: int
    times: Ints
    """(L, C+1, 10) ps: ``COMPUTE + p``, ``GATHER``, ``WITHIN + 2 p + q``, ``SEND``, ``RECEIVE + q``
    for partition ``p`` and next partition ``q``"""
    layers: Ints
    """(L+1, 6): ``WEIGHTS`` bytes, ``INPUT`` and ``OUTPUT`` ps, ``LOAD``; skip edges
    ``OUT_START .. next OUT_START`` leave the layer, ``in_edges[IN_START .. next]`` enter it"""
    edges: Ints
    """(E, 4): ``FROM``, ``TO``, ``WRITE`` and ``READ`` ps"""
    in_edges: Ints
    """(E,) edges sorted by target"""
    edge_send_ps: Ints
    """(E, C+1)"""
    segment_dram_ps: Ints
    """(L, L)"""
    stream_fs_per_byte: Ints
    """(C+1,)"""
    parallelism: NDArray[np.float64]
    """(L, 2)"""


def make_kernel(tables: LatencyTables) -> Kernel:
    """Rearrange tables for compiled code."""
    layers, chiplets = tables.layers, tables.chiplets
    times = np.empty((layers, chiplets + 1, ENTRIES), dtype=np.int64)
    times[:, :, COMPUTE:GATHER] = tables.compute_ps.transpose(0, 2, 1)
    times[:, :, GATHER] = tables.gather_ps
    pairs = tables.within_ps.reshape(layers, 4, chiplets + 1)
    times[:, :, WITHIN:SEND] = pairs.transpose(0, 2, 1)
    times[:, :, SEND] = tables.send_ps
    times[:, :, RECEIVE:] = tables.receive_ps.transpose(0, 2, 1)
    by_target = np.argsort(tables.edge_to, kind="stable")
    bounds = np.arange(layers + 1)
    columns = np.zeros((layers + 1, 6), dtype=np.int64)
    columns[:-1, WEIGHTS] = tables.weight_bytes
    columns[:-1, INPUT] = tables.input_ps
    columns[:-1, OUTPUT] = tables.output_ps
    columns[:-1, LOAD] = tables.load
    columns[:, OUT_START] = np.searchsorted(tables.edge_from, bounds)
    columns[:, IN_START] = np.searchsorted(tables.edge_to[by_target], bounds)
    edges = np.stack(
        [tables.edge_from, tables.edge_to, tables.edge_write_ps, tables.edge_read_ps], axis=1
    )
    return Kernel(
        samples=tables.samples,
        stream=tables.stream,
        weight_buffer_bytes=tables.weight_buffer_bytes,
        dram_latency_ps=tables.dram_latency_ps,
        times=times,
        layers=columns,
        edges=edges,
        in_edges=by_target,
        edge_send_ps=tables.edge_send_ps.copy(),
        segment_dram_ps=tables.segment_dram_ps.copy(),
        stream_fs_per_byte=tables.stream_fs_per_byte.copy(),
        parallelism=tables.parallelism.copy(),
    )


@njit(cache=True)
def whole_package(kernel: Kernel, seg_first: int, seg_last: int, chiplets: int) -> bool:
    """Whether the segment is one layer on every chiplet, whose weights may pass in tiles."""
    return seg_first == seg_last and chiplets == kernel.times.shape[1] - 1


@njit(cache=True)
def copy_fits(kernel: Kernel, layer: int, weights: int, chiplets: int, tiled: bool) -> bool:
    """Whether a WSP layer's gathered copy fits beside its cluster's ``weights`` bytes."""
    room = kernel.weight_buffer_bytes * chiplets - weights
    if tiled or kernel.stream:
        room = max(0, room)
    return bool(kernel.layers[layer, WEIGHTS] * (chiplets - 1) <= room)


@njit(cache=True)
def stream_time(kernel: Kernel, first: int, last: int, weights: int, chiplets: int) -> int:
    """Time per sample to refetch the weights of a cluster that do not fit, in ps."""
    excess = weights - kernel.weight_buffer_bytes * chiplets
    if excess <= 0:
        return 0
    stored = 0
    for layer in range(first, last + 1):
        if kernel.layers[layer, WEIGHTS] > 0:
            stored += 1
    refetch = (excess * kernel.stream_fs_per_byte[chiplets] + 999) // 1000
    return int(stored * kernel.dram_latency_ps + refetch)


@njit(cache=True)
def cluster_time(
    kernel: Kernel,
    seg_first: int,
    seg_last: int,
    first: int,
    last: int,
    weights: int,
    chiplets: int,
    next_chiplets: int,
    partition: Bytes,
) -> int:
    """Time per sample of cluster ``first..last`` in segment ``seg_first..seg_last``, in ps.

    ``weights`` is the cluster's total; ``partition`` is read for its layers and the next one.
    Feasibility is the caller's business. (Eq. 3-7 of the paper.)
    """
    times, layers, edges = kernel.times, kernel.layers, kernel.edges
    time = 0
    if not whole_package(kernel, seg_first, seg_last, chiplets):
        time = stream_time(kernel, first, last, weights, chiplets)
    for layer in range(first, last + 1):
        own = partition[layer]
        preparation = 0
        if own == 1 and last > first:
            preparation = times[layer, chiplets, GATHER]
        if layer == seg_first:
            preparation += layers[layer, INPUT]
        for index in range(layers[layer, IN_START], layers[layer + 1, IN_START]):
            edge = kernel.in_edges[index]
            if edges[edge, FROM] < seg_first:
                preparation += edges[edge, READ]
        if layer < last:
            communication = times[layer, chiplets, WITHIN + 2 * own + partition[layer + 1]]
        elif layer < seg_last:
            communication = times[layer, chiplets, SEND]
            communication += times[layer, next_chiplets, RECEIVE + partition[layer + 1]]
        else:
            communication = layers[layer, OUTPUT]
        for edge in range(layers[layer, OUT_START], layers[layer + 1, OUT_START]):
            if edges[edge, TO] > seg_last:
                communication += edges[edge, WRITE]
            elif edges[edge, TO] > last:
                communication += kernel.edge_send_ps[edge, chiplets]
        time += preparation + max(times[layer, chiplets, COMPUTE + own], communication)
    return time
