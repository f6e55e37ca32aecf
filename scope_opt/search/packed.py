"""Latency tables packed for compiled code: few plain arrays, the times of a layer side by side.

`scope_opt.search.times` holds every formula that reads them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from scope_opt.search.placed import make_placed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scope_opt.model.tables import LatencyTables
    from scope_opt.search.placed import PlacedKernel

    Ints = NDArray[np.int64]
    Bytes = NDArray[np.int8]
    Floats = NDArray[np.float64]

NEVER = 2**62
"""Stands for "no such schedule" among int64 times."""

# Last axis of `PackedTables.times`.
COMPUTE, GATHER, WITHIN, SEND, RECEIVE, ENTRIES = 0, 2, 3, 7, 8, 10
# Columns of `PackedTables.layers` and `PackedTables.edges`.
WEIGHTS, INPUT, OUTPUT, LOAD, OUT_START, IN_START = 0, 1, 2, 3, 4, 5
FROM, AFTER, TO, WRITE, READ, SKIP, TAKE = 0, 1, 2, 3, 4, 5, 6


class PackedTables(NamedTuple):
    """`LatencyTables` in the form compiled code takes.

    Inner loops get the arrays themselves: taking them out of a tuple costs several times as much
    as the time of a layer.
    """

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
    """(E, 5 + 2 (C+1)): ``FROM``, ``AFTER`` and ``TO`` as in `LatencyTables`, ``WRITE`` and
    ``READ`` ps, then for ``r`` chiplets ``SKIP + 2 r`` ps to send from them to another cluster and
    ``TAKE + 2 r`` ps to receive on them"""
    in_edges: Ints
    """(E,) edges sorted by target"""
    segment_dram_ps: Ints
    """(L, L)"""
    load_ps: Ints
    """(L, L) weight loading of each segment"""
    stream_fs_per_byte: Ints
    """(C+1,)"""
    parallelism: Floats
    """(L, 2)"""
    places: PlacedKernel
    """What transfers cost where regions lie"""


_PACKED: WeakKeyDictionary[LatencyTables, PackedTables] = WeakKeyDictionary()


def pack_tables(tables: LatencyTables) -> PackedTables:
    """Rearrange tables for compiled code, once for all who search them; to be read only."""
    packed = _PACKED.get(tables)
    if packed is None:
        packed = _PACKED[tables] = _pack(tables)
    return packed


def _pack(tables: LatencyTables) -> PackedTables:
    places, tables = make_placed(tables), tables.folded()
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
    edges = np.empty((len(tables.edge_from), SKIP + 2 * (chiplets + 1)), dtype=np.int64)
    edges[:, FROM], edges[:, AFTER], edges[:, TO] = (
        *(tables.edge_from, tables.edge_after, tables.edge_to),
    )
    edges[:, WRITE], edges[:, READ] = tables.edge_write_ps, tables.edge_read_ps
    edges[:, SKIP::2], edges[:, TAKE::2] = tables.edge_send_ps, tables.edge_receive_ps
    return PackedTables(
        samples=tables.samples,
        stream=tables.stream,
        weight_buffer_bytes=tables.weight_buffer_bytes,
        dram_latency_ps=tables.dram_latency_ps,
        times=times,
        layers=columns,
        edges=edges,
        in_edges=by_target,
        segment_dram_ps=tables.segment_dram_ps.copy(),
        load_ps=tables.load_ps.copy(),
        stream_fs_per_byte=tables.stream_fs_per_byte.copy(),
        parallelism=tables.parallelism.copy(),
        places=places,
    )
