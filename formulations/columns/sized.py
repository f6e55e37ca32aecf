"""Tables of an instance as compiled code takes them, over the region sizes there may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.model.tables import LIMIT
from scope_opt.schedule.bounds import layer_floors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from formulations.space import Space
    from scope_opt.model.tables import LatencyTables

    Ints = NDArray[np.int64]
    Flags = NDArray[np.bool_]


FROM, AFTER, TO, WRITE, READ = range(5)
"""Columns of `SizedTables.edges`, as in `LatencyTables`."""


class SizedEnergies(NamedTuple):
    """`EnergyTables` by region size, in fJ; all 0 where energy does not matter."""

    per_byte: int
    """Of weights fetched again"""
    layer: Ints
    """(L, 2, S): what a layer spends in its own buffers and MACs"""
    gather: Ints
    """(L, S)"""
    within: Ints
    """(L, 2, 2, S)"""
    send: Ints
    """(L, S)"""
    receive: Ints
    """(L, 2, S)"""
    input: Ints
    output: Ints
    """(L,)"""
    edge_send: Ints
    """(E, S)"""
    edge_dram: Ints
    """(E,): for one access, the write or the read"""


class SizedTables(NamedTuple):
    """`LatencyTables` and `Space` in the form compiled code takes; ``S`` region sizes."""

    chiplets: int
    stream: bool
    weight_buffer_bytes: int
    dram_latency_ps: int
    sizes: Ints
    """(S,)"""
    weight_bytes: Ints
    """(L,)"""
    allowed: Flags
    """(L, 2)"""
    compute: Ints
    """(L, 2, S) ps, like all that follows"""
    gather: Ints
    """(L, S)"""
    within: Ints
    """(L, 2, 2, S)"""
    send: Ints
    """(L, S)"""
    receive: Ints
    """(L, 2, S)"""
    received: Ints
    """(L, 2): least and most that the cluster after a layer can charge it for receiving"""
    least: Ints
    """(L, S): lower bound on the time of a layer, whatever surrounds it"""
    stream_fs_per_byte: Ints
    """(S,)"""
    input: Ints
    output: Ints
    """(L,)"""
    leaving: Ints
    """(L + 1,): edges ``leaving[l] .. leaving[l + 1]`` leave layer ``l``"""
    edges: Ints
    """(E, 5): ``FROM``, ``AFTER``, ``TO``, ``WRITE``, ``READ``"""
    edge_send: Ints
    edge_receive: Ints
    """(E, S)"""
    clusters: Flags
    """(L, L)"""
    energy_matters: bool
    energy: SizedEnergies


def sized_tables(tables: LatencyTables, space: Space) -> SizedTables:
    """Rearrange tables for compiled code."""
    sizes = np.array(space.sizes, dtype=np.int64)
    layers = tables.layers
    edges = [tables.edge_from, tables.edge_after, tables.edge_to]
    edges += [tables.edge_write_ps, tables.edge_read_ps]
    allowed = np.zeros((layers, 2), dtype=np.bool_)
    for layer, partitions in enumerate(space.partitions):
        allowed[layer, list(partitions)] = True
    received = np.zeros((layers, 2), dtype=np.int64)
    charged = tables.receive_ps[:-1][..., sizes]
    possible = allowed[1:, :, None]
    received[:-1, 0] = np.where(possible, charged, LIMIT).min(axis=(1, 2))
    received[:-1, 1] = np.where(possible, charged, 0).max(axis=(1, 2))

    def sized(values: Ints) -> Ints:
        return np.ascontiguousarray(values[..., sizes])

    return SizedTables(
        chiplets=tables.chiplets,
        stream=tables.stream,
        weight_buffer_bytes=tables.weight_buffer_bytes,
        dram_latency_ps=tables.dram_latency_ps,
        sizes=sizes,
        weight_bytes=tables.weight_bytes.copy(),
        allowed=allowed,
        compute=sized(tables.compute_ps),
        gather=sized(tables.gather_ps),
        within=sized(tables.within_ps),
        send=sized(tables.send_ps),
        receive=sized(tables.receive_ps),
        received=received,
        least=np.ascontiguousarray(np.minimum(*layer_floors(tables))[:, sizes - 1]),
        stream_fs_per_byte=sized(tables.stream_fs_per_byte),
        input=tables.input_ps.copy(),
        output=tables.output_ps.copy(),
        leaving=np.searchsorted(tables.edge_from, np.arange(layers + 1)),
        edges=np.stack(edges, axis=1),
        edge_send=sized(tables.edge_send_ps),
        edge_receive=sized(tables.edge_receive_ps),
        clusters=space.clusters.copy(),
        energy_matters=space.energy_matters and tables.energy is not None,
        energy=_sized_energies(tables, space, sizes),
    )


def _sized_energies(tables: LatencyTables, space: Space, sizes: Ints) -> SizedEnergies:
    def sized(values: Ints) -> Ints:
        return np.ascontiguousarray(values[..., sizes])

    energy = tables.energy
    if energy is None or not space.energy_matters:
        times = (tables.compute_ps, tables.gather_ps, tables.within_ps, tables.send_ps)
        more = (*times, tables.receive_ps)
        flat = (tables.input_ps, tables.output_ps)
        shaped = (*map(sized, more), *flat, sized(tables.edge_send_ps), tables.edge_read_ps)
        return SizedEnergies(0, *map(np.zeros_like, shaped))
    return SizedEnergies(
        per_byte=energy.dram_fj_per_byte,
        layer=sized(energy.mac_fj[:, None, None] + energy.sram_fj),
        gather=sized(energy.gather_fj),
        within=sized(energy.within_fj),
        send=sized(energy.send_fj),
        receive=sized(energy.receive_fj),
        input=energy.input_bytes * energy.dram_fj_per_byte,
        output=energy.output_bytes * energy.dram_fj_per_byte,
        edge_send=sized(energy.edge_send_fj),
        edge_dram=energy.edge_bytes * energy.dram_fj_per_byte,
    )
