"""What one layer costs the chiplets of a region: cycles, halo and buffers."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.model.places import seams

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scope_opt.model.network import Layer
    from scope_opt.model.package import Package
    from scope_opt.model.places import Seams

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


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
