"""The cost model: an instance's network and package become latency and energy tables.

Puts together the formulas of `scope_opt.cost`, the only place with any; docs/model.md derives each
of them. Equation and table numbers are those of the Scope paper (arXiv 2602.14393).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scope_opt.cost.dram import DRAM, dram_s, dram_traffic, efficiency, latency_s
from scope_opt.cost.energy import energy_tables
from scope_opt.cost.layers import LayerShape, layer_shape
from scope_opt.cost.nop import package_coefficients
from scope_opt.cost.rows import table_rows
from scope_opt.cost.transfers import transfers
from scope_opt.model.files import InputError
from scope_opt.model.places import placed_tables
from scope_opt.model.tables import Flow, LatencyTables, ceil_int

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from scope_opt.model.instance import Instance
    from scope_opt.model.network import Network

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


def build_tables(instance: Instance, pause: Callable[[], None] = lambda: None) -> LatencyTables:
    """Tables of an instance, by the cost model or from its explicit tables.

    ``pause`` is called between pieces of the work, of which none takes a second; it may raise an
    exception to end it.

    Raises
    ------
    InputError
        If a time or an energy overflows int64.
    """
    try:
        return _build_tables(instance, pause)
    except InputError as error:
        raise InputError(f"instance {instance.name}", error.problems) from None


def _build_tables(instance: Instance, pause: Callable[[], None]) -> LatencyTables:
    if instance.tables is not None:
        return instance.tables.to_tables(instance.samples, stream=instance.overflow == "stream")
    network, package = instance.network, instance.package
    assert network is not None  # instance.tables is None, so both are there
    assert package is not None
    rows = table_rows(network)
    shapes: list[LayerShape] = []
    for layer in rows.first:
        shapes.append(layer_shape(network.layers[layer], package))
        pause()
    placed = package.nop.model == "placed"
    chain = np.array(network.chain_bytes(), dtype=np.float64)
    weights = np.array([layer.weight_bytes for layer in network.layers], dtype=np.int64)
    # In the placed model tensors travel with the pipeline: skip edges have no times of their own.
    skips = [] if placed else sorted(network.skip_edges(), key=lambda e: (e.source, e.target))
    skip_bytes = np.array([edge.bytes for edge in skips], dtype=np.float64)
    traffic = dram_traffic(network, package.dram, once=placed)
    flow = _flow(network)
    own = np.array([(layer.dram_read_bytes, layer.dram_write_bytes) for layer in network.layers])
    own_bytes = own.T.astype(np.int64) if own.any() else (None, None)
    nop = None if placed else package_coefficients(package)
    pause()
    moved = transfers(nop, network, package, rows, shapes)
    link_s = 1 / package.nop.port_bytes_per_s

    def ps(seconds: Floats, field: str = "nop.bandwidth_bytes_per_s") -> Ints:
        return ceil_int(seconds * 1e12, f"package.{field}: a time in ps")

    refetch = _per_size(package.chiplets, lambda r: 1e15 * package.chiplets / r)
    refetch /= efficiency(package.dram) * package.dram.bandwidth_bytes_per_s
    opening = np.array([network.layers[0].input_bytes, *chain[:-1]])
    closing = np.array([*chain[:-1], network.layers[-1].output_bytes])
    if placed:
        closing = np.array([int(flow.leaving(u, u)) for u in range(len(weights))], dtype=np.float64)
    return LatencyTables(
        samples=instance.samples,
        stream=instance.overflow == "stream",
        weight_buffer_bytes=package.chiplet.weight_buffer_bytes,
        weight_bytes=weights,
        compute_ps=ps(
            np.array([s.cycles for s in shapes]) / package.chiplet.frequency_hz,
            "chiplet.frequency_hz",
        )[rows.of],
        gather_ps=rows.every(ps(moved.gather * link_s)),
        within_ps=rows.every(ps(moved.within * link_s)),
        send_ps=rows.every(ps(moved.send * link_s)),
        receive_ps=rows.every(ps(moved.receive * link_s)),
        input_ps=ps(dram_s(package.dram, opening), DRAM),
        output_ps=ps(dram_s(package.dram, closing, written=1.0), DRAM),
        edge_from=np.array([edge.source for edge in skips], dtype=np.int64),
        edge_after=np.array([edge.source for edge in skips], dtype=np.int64),
        edge_to=np.array([edge.target for edge in skips], dtype=np.int64),
        edge_send_ps=ps(np.multiply.outer(skip_bytes, moved.skip) * link_s),
        edge_receive_ps=np.zeros((len(skips), package.chiplets + 1), dtype=np.int64),
        edge_write_ps=ps(dram_s(package.dram, skip_bytes, written=1.0), DRAM),
        edge_read_ps=ps(dram_s(package.dram, skip_bytes), DRAM),
        read_ps=traffic.read_ps,
        write_ps=traffic.write_ps,
        segment_dram_ps=traffic.segment_ps,
        load_ps=ps(dram_s(package.dram, _segment_sums(weights)), DRAM),
        dram_latency_ps=int(ps(np.array(latency_s(package.dram)), "dram.latency_s")),
        stream_fs_per_byte=ceil_int(refetch, f"package.{DRAM}: a time per byte in fs"),
        load=np.array([layer.macs for layer in network.layers], dtype=np.int64),
        parallelism=np.log2(
            [
                (layer.out_channels, layer.output_height * layer.output_width)
                for layer in network.layers
            ]
        ),
        energy=energy_tables(
            network, package, nop, rows, shapes, skip_bytes, opening, closing, traffic.bytes
        ),
        own_read_bytes=own_bytes[0],
        own_write_bytes=own_bytes[1],
        own_read_ps=ps(dram_s(package.dram, own[:, 0]), DRAM) if own.any() else None,
        own_write_ps=ps(dram_s(package.dram, own[:, 1], written=1.0), DRAM) if own.any() else None,
        flow=flow,
        placed=None if nop else placed_tables(network, package, [s.seams for s in shapes], rows.of),
        held_bytes=rows.every(np.array([s.held_bytes for s in shapes])),
        activation_buffer_bytes=package.activation_buffer_bytes,
    )


def _flow(network: Network) -> Flow:
    edges = sorted(network.edges, key=lambda edge: (edge.source, edge.target))
    return Flow(
        input_bytes=network.layers[0].input_bytes,
        output_bytes=np.array([layer.output_bytes for layer in network.layers], dtype=np.int64),
        edge_from=np.array([edge.source for edge in edges], dtype=np.int64),
        edge_to=np.array([edge.target for edge in edges], dtype=np.int64),
        edge_bytes=np.array([edge.bytes for edge in edges], dtype=np.int64),
        edge_input=np.array([edge.is_input for edge in edges], dtype=np.bool_),
    )


def _segment_sums(values: Ints) -> Ints:
    """Sum over layers ``i..j`` at ``[i, j]``, 0 below the diagonal."""
    total = np.concatenate([[0], np.cumsum(values)])
    return np.triu(total[None, 1:] - total[:-1, None])


def _per_size(chiplets: int, function: Callable[[Floats], Floats]) -> Floats:
    """``function`` of the region sizes 1..chiplets, with an unused 0 in front."""
    return np.concatenate([[0.0], function(np.arange(1.0, chiplets + 1))])
