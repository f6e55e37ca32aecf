"""The cost model: an instance's network and package become latency and energy tables.

The only place with cost formulas; docs/model.md derives each of them. Equation and table numbers
are those of the Scope paper (arXiv 2602.14393).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.optimize import nnls

from scope_opt.model.files import InputError
from scope_opt.model.mesh import means_between, means_within
from scope_opt.model.network import Layer
from scope_opt.model.places import placed_tables, seams
from scope_opt.model.tables import ISP, WSP, EnergyTables, Flow, LatencyTables, ceil_int

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from scope_opt.model.instance import Instance
    from scope_opt.model.network import Network
    from scope_opt.model.package import Dram, Package
    from scope_opt.model.places import Seams

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

REGRESSION_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192)
"""Region sizes between which the region-to-region coefficients are regressed."""
DRAM = "dram.bandwidth_bytes_per_s"


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
    nop = None if placed else _nop(package)
    pause()
    moved = _transfers(nop, network, package, rows, shapes)
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
        dram_latency_ps=int(ps(np.array(_latency_s(package.dram)), "dram.latency_s")),
        stream_fs_per_byte=ceil_int(refetch, f"package.{DRAM}: a time per byte in fs"),
        load=np.array([layer.macs for layer in network.layers], dtype=np.int64),
        parallelism=np.log2(
            [
                (layer.out_channels, layer.output_height * layer.output_width)
                for layer in network.layers
            ]
        ),
        energy=_energy(
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


# --- DRAM ----------------------------------------------------------------------------------------


def _latency_s(dram: Dram) -> float:
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
    latency: Floats = np.asarray(_latency_s(dram))
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


# --- Layers --------------------------------------------------------------------------------------


class _Rows(NamedTuple):
    """Rows that tables over region sizes need: layers with equal ones share theirs.

    All blocks of a transformer are alike, so that hundreds of layers have a handful of rows.
    """

    first: list[int]
    """First layer of each row."""
    of: Ints
    """(L,) row of each layer"""

    def every(self, values: Ints) -> Ints:
        """Values of the rows for every layer; zeros take no memory until somebody writes them."""
        if values.any():
            return values[self.of]
        return np.zeros((len(self.of), *values.shape[1:]), dtype=np.int64)


def table_rows(network: Network) -> _Rows:
    """Tell layers apart by all that their times and those of their transfers depend on."""
    fields = [name for name in Layer.model_fields if name != "name"]
    kinds = [tuple(getattr(layer, name) for name in fields) for layer in network.layers]
    chain, summed, inputs = network.chain_bytes(), _summed(network), _inputs(network)
    found: dict[object, int] = {}
    first: list[int] = []
    of = np.zeros(len(kinds), dtype=np.int64)
    for layer, kind in enumerate(kinds):
        there, wanted = inputs.get(layer, {}), inputs.get(layer + 1, {})
        reads = sorted(
            (source == layer, moved, there.get(source, 0) < moved)
            for source, moved in wanted.items()
        )
        following = kinds[layer + 1 : layer + 2]
        key = (kind, chain[layer], layer in summed, tuple(following), tuple(reads))
        of[layer] = found.setdefault(key, len(found))
        if of[layer] == len(first):
            first.append(layer)
    return _Rows(first, of)


def _summed(network: Network) -> set[int]:
    """Layers whose chain edge is added to the output of the next layer."""
    return {edge.source for edge in network.edges if edge.is_chain and not edge.is_input}


def _inputs(network: Network) -> dict[int, dict[int, int]]:
    """Bytes of input that a layer reads, by the layer they are from."""
    inputs: dict[int, dict[int, int]] = {}
    for edge in network.edges:
        if edge.is_input:
            inputs.setdefault(edge.target, {})[edge.source] = edge.bytes
    return inputs


class LayerShape(NamedTuple):
    """What one layer costs a chiplet of a region of each size; index = region size, 0 unused."""

    cycles: Ints
    """(2, C+1) by partition (Eq. 5)"""
    halo_bytes: Floats
    """(C+1,) overlap of the layer's own input tiles under WSP; 0 for one chiplet"""
    seams: Seams
    """the same, seam by seam"""
    held_bytes: Ints
    """(2, C+1) input and output that a region holds while it computes the layer, by partition"""


def layer_shape(layer: Layer, package: Package) -> LayerShape:
    """Compute cycles of a layer in both partitions, and its halo, for every region size."""
    sizes = np.arange(1, package.chiplets + 1)
    outputs = layer.output_height * layer.output_width
    groups, group_inputs = layer.groups, layer.in_channels // layer.groups
    group_outputs = layer.out_channels // groups
    if groups == 1:
        own_groups, own_outputs = np.ones_like(sizes), -(-group_outputs // sizes)
    else:
        # Whole groups while there are enough of them, then several chiplets to a group.
        own_groups = -(-groups // np.minimum(sizes, groups))
        own_outputs = -(-group_outputs // np.maximum(sizes // groups, 1))
    rows, cols = tilings(layer.output_height, layer.output_width, package.chiplets)
    tile = (-(-layer.output_height // rows)) * (-(-layer.output_width // cols))
    kernel = layer.kernel_height * layer.kernel_width
    cycles = np.zeros((2, package.chiplets + 1), dtype=np.int64)
    cycles[0, 1:] = kernel * _pe_passes(package, group_inputs, own_outputs, outputs, own_groups)
    cycles[1, 1:] = kernel * _pe_passes(package, group_inputs, group_outputs, tile, groups)

    (reach_down, reach_across), (down, across) = layer.reach, layer.steps
    seams_down = np.minimum(rows, layer.output_height) - 1
    seams_across = np.minimum(cols, layer.output_width) - 1
    row_bytes, col_bytes = layer.seam_bytes
    halo = np.zeros(package.chiplets + 1)
    halo[1:] = seams_down * row_bytes + seams_across * col_bytes

    # Under WSP every chiplet holds its tile's input; under ISP its share and a window of the rest.
    tile_rows = np.minimum(
        (-(-layer.output_height // rows) - 1) * down + reach_down, layer.input_height
    )
    tile_cols = np.minimum(
        (-(-layer.output_width // cols) - 1) * across + reach_across, layer.input_width
    )
    window = min(layer.input_bytes, layer.in_channels * reach_down * layer.input_width)
    held = np.zeros((2, package.chiplets + 1), dtype=np.int64)
    if package.activation_policy == "stream":
        held[0, 1:] = layer.input_bytes + window * sizes
    else:
        held[0, 1:] = layer.input_bytes * sizes
    held[1, 1:] = layer.in_channels * tile_rows * tile_cols * sizes
    held[:, 1:] += layer.output_bytes
    return LayerShape(cycles, halo, seams(layer, rows, cols), held)


@lru_cache(maxsize=1024)
def tilings(height: int, width: int, chiplets: int) -> tuple[Ints, Ints]:
    """WSP tile grids, rows and columns, for each region size 1..chiplets; see `tile_grid`."""
    rows, cols = _grids(chiplets)
    return _best_grids(height, width, rows, cols)


def tile_grid(layer: Layer, size: int) -> tuple[int, int]:
    """Rows and columns of a layer's WSP tiles on ``size`` chiplets.

    The grid ``rows x cols = size`` with the fewest outputs per chiplet, then the most nearly
    square, then the one with fewer rows.
    """
    rows = np.arange(1, size + 1)
    rows = rows[size % rows == 0]
    grids = _best_grids(layer.output_height, layer.output_width, rows, size // rows)
    return int(grids[0][0]), int(grids[1][0])


@lru_cache(maxsize=8)
def _grids(chiplets: int) -> tuple[Ints, Ints]:
    """Rows and columns of all grids of up to so many tiles."""
    most = [chiplets // rows for rows in range(1, chiplets + 1)]
    rows = np.repeat(np.arange(1, chiplets + 1), most)
    return rows, np.concatenate([np.arange(1, cols + 1) for cols in most])


def _best_grids(height: int, width: int, rows: Ints, cols: Ints) -> tuple[Ints, Ints]:
    """The best grid of each size there is, by size; see `tile_grid`."""
    sizes, outputs = rows * cols, -(-height // rows) * -(-width // cols)
    order = np.lexsort((rows, abs(rows - cols), outputs, sizes))
    best = order[np.diff(sizes[order], prepend=0) > 0]
    return rows[best], cols[best]


def _pe_passes(
    package: Package,
    inputs: int,
    outputs: int | Ints,
    positions: int | Ints,
    groups: int | Ints,
) -> Ints:
    """Passes over the kernel that the busiest PE needs, at the best split of the PEs.

    Per group ``inputs`` and ``outputs`` channels; ``positions`` output positions. The PEs split
    ``a*b*c*d`` over input channels, output channels, positions and groups (powers of two).
    """
    chiplet = package.chiplet
    doublings = chiplet.pes.bit_length() - 1
    over_any = package.pe_split == "any"
    best: Ints | None = None
    for log_a in range(doublings + 1):
        for log_b in range(doublings + 1 - log_a):
            rest = doublings - log_a - log_b
            if rest and not over_any:
                continue
            for log_c in range(rest + 1):
                passes = np.asarray(
                    -(-groups // 2 ** (rest - log_c))
                    * -(-inputs // (chiplet.macs_per_lane * 2**log_a))
                    * -(-outputs // (chiplet.lanes_per_pe * 2**log_b))
                    * -(-positions // 2**log_c),
                    dtype=np.int64,
                )
                best = passes if best is None else np.minimum(best, passes)
    assert best is not None  # a = pes, b = c = d = 1 is always tried
    return best


@dataclass(frozen=True, eq=False)
class NopCoefficients:
    """Time and hops per byte as functions of the region size; each ``(C+1,)``, index 0 unused.

    ``gather``, ``send`` and ``receive`` are in bytes over the worst link per byte moved (times the
    eta factors): multiply by the volume and divide by the link's bandwidth. ``*_hops`` are means
    over the bytes moved.
    """

    gather: Floats
    hops: Floats
    send: Floats
    receive: Floats
    send_hops: Floats
    receive_hops: Floats
    skip: Floats
    """of a skip edge between clusters, charged to its sender"""


@lru_cache(maxsize=64)
def nop_coefficients(
    rows: int, cols: int, eta_within: float, eta_between: float, skip_both: bool = False
) -> NopCoefficients:
    """Coefficients of a mesh: link counts inside regions, separable regression between them.

    With ``skip_both`` a skip edge costs its sender what both ends of a transfer would, the
    receiver as if it had as many chiplets; that does not depend on how the regression is split.
    """
    chiplets = rows * cols
    within = means_within(rows, cols)
    gather = np.zeros(chiplets + 1)
    gather[1:] = eta_within * within.peak_within[1:] / np.arange(1, chiplets + 1)
    send, receive = separable_fit(
        chiplets, lambda r, q: means_between(rows, cols, r, q)[0] / (r * q)
    )
    send_hops, receive_hops = separable_fit(
        chiplets, lambda r, q: means_between(rows, cols, r, q)[1]
    )
    return NopCoefficients(
        gather=gather,
        hops=within.hops_within,
        send=eta_between * send,
        receive=eta_between * receive,
        send_hops=send_hops,
        receive_hops=receive_hops,
        skip=eta_between * (send + receive if skip_both else send),
    )


def regression_pairs(chiplets: int) -> list[tuple[int, int]]:
    """Pairs of consecutive region sizes that the regression is fitted to."""
    return [(r, q) for r in REGRESSION_SIZES for q in REGRESSION_SIZES if r + q <= chiplets]


def separable_fit(chiplets: int, target: Callable[[int, int], float]) -> tuple[Floats, Floats]:
    """Fit ``target(r, r') ~ a(r) + c(r')`` with ``a, c >= 0``, least squares on relative errors.

    The fit leaves one direction free (``a + t, c - t``); ``t`` is chosen so that the means of
    ``a`` and ``c`` over the fitted sizes come as close as the signs allow. Linear between fitted
    sizes, constant beyond the largest (Lawson and Hanson, Solving Least Squares Problems, 1974).

    Returns
    -------
    a, c : float arrays, shape ``(chiplets + 1,)``
    """
    pairs = regression_pairs(chiplets)
    if not pairs:
        return np.zeros(chiplets + 1), np.zeros(chiplets + 1)
    sizes = sorted({size for pair in pairs for size in pair})
    column = {size: index for index, size in enumerate(sizes)}
    matrix = np.zeros((len(pairs), 2 * len(sizes)))
    for row, (size, next_size) in enumerate(pairs):
        scale = 1 / target(size, next_size)
        matrix[row, column[size]] = scale
        matrix[row, len(sizes) + column[next_size]] = scale
    solution, _ = nnls(matrix, np.ones(len(pairs)))
    a, c = solution[: len(sizes)], solution[len(sizes) :]
    shift = float(np.clip((c.mean() - a.mean()) / 2, -a.min(), c.min()))
    every = np.arange(chiplets + 1)
    # Ten decimals: the last digits of the fit differ between linear algebra libraries.
    fitted_a = np.interp(every, sizes, np.round(a + shift, 10))
    fitted_c = np.interp(every, sizes, np.round(c - shift, 10))
    fitted_a[0] = fitted_c[0] = 0.0
    return fitted_a, fitted_c


def _nop(package: Package) -> NopCoefficients:
    nop = package.nop
    return nop_coefficients(
        package.mesh_rows, package.mesh_cols, nop.eta_within, nop.eta_between, nop.skip == "both"
    )


class _Moved(NamedTuple):
    """Bytes over the worst link, or byte-hops; as in `LatencyTables`, but for rows, not layers."""

    gather: Floats
    within: Floats
    send: Floats
    receive: Floats
    skip: Floats
    """(C+1,) per byte"""


def _transfers(
    nop: NopCoefficients | None,
    network: Network,
    package: Package,
    rows: _Rows,
    shapes: list[LayerShape],
    *,
    energy: bool = False,
) -> _Moved:
    """Weight gathers and the chain transfers of Table II for every row; 0 without ``nop``."""
    sizes, count = np.arange(package.chiplets + 1), len(rows.first)
    within = np.zeros((count, 2, 2, len(sizes)))
    none = np.zeros(len(sizes))
    if nop is None:
        nothing = np.zeros((count, len(sizes)))
        return _Moved(nothing, within, nothing, np.zeros((count, 2, len(sizes))), none)
    if energy:
        gather = np.maximum(sizes - 1, 0) * nop.hops
        halo_cost = np.ones(len(sizes))  # tiles trade seams with their neighbours
        send, receive = nop.send_hops, nop.receive_hops
        skip = np.where(sizes > 0, nop.hops[-1], 0.0)  # anywhere to anywhere
    else:
        gather = nop.gather
        halo_cost = np.divide(0.5, sizes, out=none.copy(), where=sizes > 0)
        send, receive, skip = nop.send, nop.receive, nop.skip
    exchange = np.divide(gather, sizes, out=none.copy(), where=sizes > 0)
    chain, summed, inputs = network.chain_bytes(), _summed(network), _inputs(network)
    into_isp = np.zeros((count, len(sizes)))
    for row, layer in enumerate(rows.first):
        if layer == len(chain) - 1:
            continue
        halo = shapes[rows.of[layer + 1]].halo_bytes * halo_cost
        if layer in summed:  # what is added has to lie as the sum does
            within[row, 0, 1] = within[row, 1, 0] = chain[layer] * exchange
        elif chain[layer]:
            within[row, :, 0] = chain[layer] * gather
            within[row, 0, 1] = chain[layer] * exchange + halo
            within[row, 1, 1] = halo
        wanted = inputs.get(layer + 1, {})
        into_isp[row] = sum(wanted.values()) * gather
        # What else the next layer reads is moved along, unless an ISP layer before it read it too.
        there = inputs.get(layer, {})
        for own in (ISP, WSP):
            further = [
                moved
                for source, moved in wanted.items()
                if source != layer and (own == WSP or there.get(source, 0) < moved)
            ]
            within[row, own, ISP] += sum(further) * gather
            within[row, own, WSP] += sum(further) * exchange
            if further and not chain[layer]:
                within[row, own, WSP] += halo
    handed_on = np.array([chain[layer] for layer in rows.first], dtype=np.float64)
    into_wsp = np.multiply.outer(handed_on, receive)
    weights = np.array([float(network.layers[layer].weight_bytes) for layer in rows.first])
    return _Moved(
        np.multiply.outer(weights, gather),
        within,
        np.multiply.outer(handed_on, send),
        np.stack([into_wsp + into_isp, into_wsp], axis=1),
        skip,
    )


def _segment_sums(values: Ints) -> Ints:
    """Sum over layers ``i..j`` at ``[i, j]``, 0 below the diagonal."""
    total = np.concatenate([[0], np.cumsum(values)])
    return np.triu(total[None, 1:] - total[:-1, None])


def _per_size(chiplets: int, function: Callable[[Floats], Floats]) -> Floats:
    """``function`` of the region sizes 1..chiplets, with an unused 0 in front."""
    return np.concatenate([[0.0], function(np.arange(1.0, chiplets + 1))])


def _energy(
    network: Network,
    package: Package,
    nop: NopCoefficients | None,
    rows: _Rows,
    shapes: list[LayerShape],
    skip_bytes: Floats,
    opening: Floats,
    closing: Floats,
    traffic_bytes: Ints,
) -> EnergyTables:
    layers = [network.layers[layer] for layer in rows.first]
    sizes = np.arange(package.chiplets + 1)
    weights = np.array([layer.weight_bytes for layer in layers], dtype=np.float64)
    inputs = np.array([layer.input_bytes for layer in layers], dtype=np.float64)
    outputs = np.array(
        [float(layer.out_channels * layer.output_height * layer.output_width) for layer in layers]
    )
    halos = np.array([shape.halo_bytes for shape in shapes])
    accesses = np.zeros((len(layers), 2, len(sizes)))
    accesses[:, 0] = weights[:, None] + np.multiply.outer(inputs, sizes) + outputs[:, None]
    accesses[:, 1] = np.multiply.outer(weights, sizes) + inputs[:, None] + halos + outputs[:, None]
    accesses[:, :, 0] = 0

    def nop_fj(byte_hops: Floats) -> Ints:
        return ceil_int(
            byte_hops * (8000 * package.nop.energy_pj_per_bit),
            "package.nop.energy_pj_per_bit: an energy in fJ",
        )

    moved = _transfers(nop, network, package, rows, shapes, energy=True)
    return EnergyTables(
        mac_fj=ceil_int(
            np.array([float(layer.macs) for layer in network.layers])
            * 1000
            * package.mac_energy_pj,
            "package.mac_energy_pj: an energy in fJ",
        ),
        sram_fj=ceil_int(
            accesses * 1000 * package.sram_energy_pj_per_byte,
            "package.sram_energy_pj_per_byte: an energy in fJ",
        )[rows.of],
        gather_fj=rows.every(nop_fj(moved.gather)),
        within_fj=rows.every(nop_fj(moved.within)),
        send_fj=rows.every(nop_fj(moved.send)),
        receive_fj=rows.every(nop_fj(moved.receive)),
        edge_send_fj=nop_fj(np.multiply.outer(skip_bytes, moved.skip)),
        input_bytes=opening.astype(np.int64),
        output_bytes=closing.astype(np.int64),
        edge_bytes=skip_bytes.astype(np.int64),
        traffic_bytes=traffic_bytes,
        dram_fj_per_byte=int(
            ceil_int(
                8000 * package.dram.energy_pj_per_bit,
                "package.dram.energy_pj_per_bit: an energy per byte in fJ",
            )
        ),
    )
