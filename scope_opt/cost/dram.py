"""Time in DRAM, and what each segment moves through it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.model.tables import ceil_int

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scope_opt.model.network import Network
    from scope_opt.model.package import Dram

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

DRAM = "dram.bandwidth_bytes_per_s"


def latency_s(dram: Dram) -> float:
    """Seconds before a transfer by itself begins."""
    return dram.latency_s if dram.streams is None else dram.streams.latency_s


def efficiency(dram: Dram, written: Floats | float = 0.0, streams: Ints | int = 1) -> Floats:
    """Share of the bandwidth that ``streams`` transfers reach, ``written`` of it writes."""
    model = dram.streams
    if model is None:
        return np.asarray(dram.efficiency)
    share, others = np.asarray(written), np.asarray(streams) - 1
    alone = model.read + (model.write - model.read) * share
    return np.asarray(
        alone / (1 + (model.slope + (model.slope_write - model.slope) * share) * others)
    )


def dram_s(
    dram: Dram, volumes: Floats | Ints, written: Floats | float = 0.0, streams: Ints | int = 1
) -> Floats:
    """Seconds to move each volume in bytes through DRAM; no bytes, no transfer.

    ``written`` is the share of the bytes that is written, ``streams`` how many transfers go on at
    once. Fitted to simulations (docs/model.md).
    """
    latency: Floats = np.asarray(latency_s(dram))
    if dram.streams is not None:
        latency = latency + dram.streams.latency_per_stream_s * (np.asarray(streams) - 1)
        latency = latency + dram.streams.latency_mixed_s * 4 * (written * (1 - np.asarray(written)))
    seconds = latency + volumes / (efficiency(dram, written, streams) * dram.bandwidth_bytes_per_s)
    return np.where(volumes > 0, seconds, 0.0)


class Traffic(NamedTuple):
    """What goes through DRAM for one sample; entries that no segment has are 0."""

    read_ps: Ints
    """(L, L) reads of layer ``v`` in a segment that starts at ``a``, at ``[a, v]``"""
    write_ps: Ints
    """(L, L) writes of layer ``u`` in a segment that ends at ``b``, at ``[b, u]``"""
    bytes: Ints
    """(L, L) all of segment ``[a, b]``"""
    segment_ps: Ints
    """(L, L) least beat of segment ``[a, b]``: all of it at once"""


def dram_traffic(network: Network, dram: Dram, *, once: bool) -> Traffic:
    """DRAM traffic of all segments.

    A layer reads the network's input, edges from before the segment, and what it always reads.
    It writes what later segments read, every edge by itself or, with ``once``, its output
    (at most all of it) once; and what it always writes.
    """
    layers = len(network.layers)

    def square() -> Ints:
        return np.zeros((layers, layers), dtype=np.int64)

    def time(volumes: Ints | int, written: float) -> Ints:
        return ceil_int(
            dram_s(dram, np.asarray(volumes), written) * 1e12, f"package.{DRAM}: a time in ps"
        )

    read_ps, reads, read = square(), square(), square()
    write_ps, writes, wrote = square(), square(), square()
    volumes = np.array([edge.bytes for edge in network.edges], dtype=np.int64)
    for edge, read_time, write_time in zip(
        network.edges, time(volumes, 0.0), time(volumes, 1.0), strict=True
    ):
        u, v = edge.source, edge.target
        into = np.s_[u + 1 : v + 1, v]
        read_ps[into] += read_time
        reads[into] += 1
        read[into] += edge.bytes
        out = np.s_[u:v, u]
        write_ps[out] += write_time
        writes[out] += 1
        wrote[out] += edge.bytes
    output = network.layers[-1].output_bytes
    write_ps[-1, -1], writes[-1, -1], wrote[-1, -1] = time(output, 1.0), 1, output
    if once:
        wrote = np.minimum(wrote, [layer.output_bytes for layer in network.layers])
        writes = (wrote > 0).astype(np.int64)
        write_ps = time(wrote, 1.0)
    read_ps[0, 0] += time(network.layers[0].input_bytes, 0.0)
    reads[0, 0] += 1
    read[0, 0] += network.layers[0].input_bytes
    for layer, own in enumerate(network.layers):
        if own.dram_read_bytes:
            read_ps[: layer + 1, layer] += time(own.dram_read_bytes, 0.0)
            reads[: layer + 1, layer] += 1
            read[: layer + 1, layer] += own.dram_read_bytes
        if own.dram_write_bytes:
            write_ps[layer:, layer] += time(own.dram_write_bytes, 1.0)
            writes[layer:, layer] += 1
            wrote[layer:, layer] += own.dram_write_bytes
    # [a, b]: reads of layers a..b of a segment that starts at a, writes of one that ends at b.
    tensors_read, bytes_read = (np.triu(np.cumsum(x, axis=1)) for x in (reads, read))
    tensors_written, bytes_written = (
        np.triu(np.cumsum(x[:, ::-1], axis=1)[:, ::-1].T) for x in (writes, wrote)
    )
    total = bytes_read + bytes_written
    written = bytes_written / np.maximum(total, 1)
    streams = np.maximum(1, np.maximum(tensors_read, tensors_written))
    if dram.streams is not None:
        streams = np.minimum(streams, dram.streams.most)
    beats = ceil_int(dram_s(dram, total, written, streams) * 1e12, f"package.{DRAM}: a time in ps")
    return Traffic(read_ps, write_ps, total, beats)
