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

from scope_opt.model.package import means_between, means_within
from scope_opt.model.tables import EnergyTables, LatencyTables, ceil_int

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from scope_opt.model.instance import Instance
    from scope_opt.model.network import Layer, Network
    from scope_opt.model.package import Dram, Package

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

REGRESSION_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192)
"""Region sizes between which the region-to-region coefficients are regressed."""


def build_tables(instance: Instance) -> LatencyTables:
    """Tables of an instance, by the cost model or from its explicit tables.

    Raises
    ------
    InputError
        If a time or an energy overflows int64.
    """
    if instance.tables is not None:
        return instance.tables.to_tables(instance.samples, stream=instance.overflow == "stream")
    network, package = instance.network, instance.package
    assert network is not None  # instance.tables is None, so both are there
    assert package is not None
    shapes = [layer_shape(layer, package) for layer in network.layers]
    nop = nop_coefficients(
        package.mesh_rows, package.mesh_cols, package.nop.eta_within, package.nop.eta_between
    )
    chain = np.array(network.chain_bytes(), dtype=np.float64)
    weights = np.array([layer.weight_bytes for layer in network.layers], dtype=np.int64)
    skips = sorted(network.skip_edges(), key=lambda edge: (edge.source, edge.target))
    skip_bytes = np.array([edge.bytes for edge in skips], dtype=np.float64)
    traffic = segment_traffic(network)
    moved = _transfers(nop, chain, [shape.halo_bytes for shape in shapes], package)
    second_per_link_byte = 1 / package.nop.port_bytes_per_s

    def ps(seconds: Floats) -> Ints:
        return ceil_int(seconds * 1e12)

    def dram(volumes: Floats | Ints) -> Ints:
        return ps(dram_s(package.dram, volumes))

    refetch = _per_size(package.chiplets, lambda r: 1e15 * package.chiplets / r)
    refetch /= package.dram.efficiency * package.dram.bandwidth_bytes_per_s
    opening = np.array([network.layers[0].input_bytes, *chain[:-1]])
    closing = np.array([*chain[:-1], network.layers[-1].output_bytes])
    gather = np.multiply.outer(weights, nop.gather) * second_per_link_byte
    return LatencyTables(
        samples=instance.samples,
        stream=instance.overflow == "stream",
        weight_buffer_bytes=package.chiplet.weight_buffer_bytes,
        weight_bytes=weights,
        compute_ps=ps(np.array([s.cycles for s in shapes]) / package.chiplet.frequency_hz),
        gather_ps=ps(gather),
        within_ps=ps(moved.within * second_per_link_byte),
        send_ps=ps(moved.send * second_per_link_byte),
        receive_ps=ps(moved.receive * second_per_link_byte),
        input_ps=dram(opening),
        output_ps=dram(closing),
        edge_from=np.array([edge.source for edge in skips], dtype=np.int64),
        edge_to=np.array([edge.target for edge in skips], dtype=np.int64),
        edge_send_ps=ps(np.multiply.outer(skip_bytes, nop.send) * second_per_link_byte),
        edge_write_ps=dram(skip_bytes),
        edge_read_ps=dram(skip_bytes),
        segment_dram_ps=dram(traffic),
        load_ps=dram(_segment_sums(weights)),
        dram_latency_ps=int(ps(np.array(package.dram.latency_s))),
        stream_fs_per_byte=ceil_int(refetch),
        load=np.array([layer.macs for layer in network.layers], dtype=np.int64),
        parallelism=np.log2(
            [
                (layer.out_channels, layer.output_height * layer.output_width)
                for layer in network.layers
            ]
        ),
        energy=_energy(network, package, nop, shapes, skip_bytes, opening, closing),
    )


def dram_s(dram: Dram, volumes: Floats | Ints) -> Floats:
    """Seconds for one DRAM transfer of each volume in bytes; no bytes, no transfer."""
    seconds = dram.latency_s + volumes / (dram.efficiency * dram.bandwidth_bytes_per_s)
    return np.where(volumes > 0, seconds, 0.0)


class LayerShape(NamedTuple):
    """What one layer costs a chiplet of a region of each size; index = region size, 0 unused."""

    cycles: Ints
    """(2, C+1) by partition (Eq. 5)"""
    halo_bytes: Floats
    """(C+1,) overlap of the layer's own input tiles under WSP; 0 for one chiplet"""


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

    seams_down = np.minimum(rows, layer.output_height) - 1
    seams_across = np.minimum(cols, layer.output_width) - 1
    overlap_down = max(0, layer.kernel_height - layer.stride) * layer.input_width
    overlap_across = max(0, layer.kernel_width - layer.stride) * layer.input_height
    halo = np.zeros(package.chiplets + 1)
    halo[1:] = layer.in_channels * (seams_down * overlap_down + seams_across * overlap_across)
    return LayerShape(cycles, halo)


@lru_cache(maxsize=1024)
def tilings(height: int, width: int, chiplets: int) -> tuple[Ints, Ints]:
    """WSP tile grids for each region size 1..chiplets.

    The grid ``rows x cols = size`` with the fewest outputs per chiplet, then the most nearly
    square, then the one with fewer rows.
    """
    best = np.zeros((chiplets, 2), dtype=np.int64)
    for size in range(1, chiplets + 1):
        grids = [(rows, size // rows) for rows in range(1, size + 1) if size % rows == 0]
        best[size - 1] = min(
            grids,
            key=lambda grid: (
                -(-height // grid[0]) * -(-width // grid[1]),
                abs(grid[0] - grid[1]),
                grid[0],
            ),
        )
    return best[:, 0], best[:, 1]


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


@lru_cache(maxsize=64)
def nop_coefficients(
    rows: int, cols: int, eta_within: float, eta_between: float
) -> NopCoefficients:
    """Coefficients of a mesh: link counts inside regions, separable regression between them."""
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


class _Transfers(NamedTuple):
    within: Floats
    send: Floats
    receive: Floats


def _transfers(
    nop: NopCoefficients,
    chain: Floats,
    halos: list[Floats],
    package: Package,
    *,
    energy: bool = False,
) -> _Transfers:
    """Chain transfers of Table II for every layer: bytes over the worst link, or byte-hops.

    ``halos[l]`` is the overlap of layer ``l``'s own input tiles. Shapes as in `LatencyTables`.
    """
    layers, sizes = len(chain), np.arange(package.chiplets + 1)
    within = np.zeros((layers, 2, 2, len(sizes)))
    if energy:
        gather = np.maximum(sizes - 1, 0) * nop.hops
        exchange = np.divide(gather, sizes, out=np.zeros(len(sizes)), where=sizes > 0)
        halo_cost = np.ones(len(sizes))  # tiles trade seams with their neighbours
        send, receive = nop.send_hops, nop.receive_hops
    else:
        gather = nop.gather
        exchange = np.divide(gather, sizes, out=np.zeros(len(sizes)), where=sizes > 0)
        halo_cost = np.divide(0.5, sizes, out=np.zeros(len(sizes)), where=sizes > 0)
        send, receive = nop.send, nop.receive
    for layer in range(layers - 1):
        if chain[layer] == 0:
            continue
        halo = halos[layer + 1] * halo_cost
        within[layer, :, 0] = chain[layer] * gather
        within[layer, 0, 1] = chain[layer] * exchange + halo
        within[layer, 1, 1] = halo
    into_wsp = np.multiply.outer(chain, receive)
    into_isp = into_wsp + np.multiply.outer(chain, gather)
    return _Transfers(
        within, np.multiply.outer(chain, send), np.stack([into_isp, into_wsp], axis=1)
    )


def segment_traffic(network: Network) -> Ints:
    """DRAM bytes that segment ``[i, j]`` reads and writes per sample, shape ``(L, L)``."""
    layers = len(network.layers)
    chain = network.chain_bytes()
    traffic = np.zeros((layers, layers), dtype=np.int64)
    first, last = np.triu_indices(layers)
    reads = np.array([network.layers[0].input_bytes, *chain[:-1]], dtype=np.int64)
    writes = np.array([*chain[:-1], network.layers[-1].output_bytes], dtype=np.int64)
    traffic[first, last] = reads[first] + writes[last]
    for edge in network.skip_edges():
        u, v = edge.source, edge.target
        traffic[u + 1 : v + 1, v:] += edge.bytes  # enters: the segment holds v, not u
        traffic[: u + 1, u:v] += edge.bytes  # leaves: the segment holds u, not v
    return np.triu(traffic)


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
    nop: NopCoefficients,
    shapes: list[LayerShape],
    skip_bytes: Floats,
    opening: Floats,
    closing: Floats,
) -> EnergyTables:
    layers = network.layers
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
        return ceil_int(byte_hops * (8000 * package.nop.energy_pj_per_bit))

    chain = np.array(network.chain_bytes(), dtype=np.float64)
    moved = _transfers(nop, chain, [shape.halo_bytes for shape in shapes], package, energy=True)
    gather_hops = np.maximum(sizes - 1, 0) * nop.hops
    everywhere = np.where(sizes > 0, nop.hops[-1], 0.0)
    return EnergyTables(
        mac_fj=ceil_int(
            np.array([float(layer.macs) for layer in layers]) * 1000 * package.mac_energy_pj
        ),
        sram_fj=ceil_int(accesses * 1000 * package.sram_energy_pj_per_byte),
        gather_fj=nop_fj(np.multiply.outer(weights, gather_hops)),
        within_fj=nop_fj(moved.within),
        send_fj=nop_fj(moved.send),
        receive_fj=nop_fj(moved.receive),
        edge_send_fj=nop_fj(np.multiply.outer(skip_bytes, everywhere)),
        input_bytes=opening.astype(np.int64),
        output_bytes=closing.astype(np.int64),
        edge_bytes=skip_bytes.astype(np.int64),
        dram_fj_per_byte=int(ceil_int(8000 * package.dram.energy_pj_per_bit)),
    )
