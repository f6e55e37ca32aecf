"""Coefficients of the placed model: what transfers load where regions lie.

Solvers read them; docs/model.md derives them. A transfer takes the time of its busiest link, so
all that is kept of it are integers, how many shares of its volume that link carries. Whoever needs
a time multiplies volume and count, divides by the number of shares, and multiplies that by
`PlacedTables.ps_per_byte`, in this order, so that all get the same floats.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.model.mesh import places

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scope_opt.model.network import Layer, Network
    from scope_opt.model.package import Package

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]


class Seams(NamedTuple):
    """How the WSP tiles of a layer meet, for every region size; index 0 unused."""

    tiles: Ints
    """(C+1, 3): columns of the tile grid, its rows with outputs, its columns with outputs"""
    shares: Floats
    """(C+1, 2): bytes each way between two tiles that meet in a row seam, in a column seam"""


@dataclass(frozen=True, eq=False)
class PlacedTables:
    """What a placed instance adds to `LatencyTables`. ``L`` layers, ``C`` chiplets, ``E`` edges.

    Counts depend on where a region starts through ``phase`` only: with ZigZag order on its column.
    """

    ps_per_byte: float
    """Time to carry a byte over a link, beat after beat."""
    shared_links: bool
    """Whether the busiest link bounds the beat."""
    relay: bool
    """Whether gathered shares are handed on from position to position."""
    mesh: tuple[int, int]
    place: Ints
    """(C, 2) row and column of each position"""
    phase: Ints
    """(C,) row of the counts for regions that start at a position"""
    gather: Ints
    """(phases, C+1) shares of 1/r of the volume on the busiest link of a gather"""
    exchange: Ints
    """(phases, C+1) the same of an exchange, shares of 1/r^2"""
    scatter: NDArray[np.int32]
    """(phases, C+1, C+1) the same from a region to the next, shares of 1/(r r')"""
    shape: Ints
    """(L,) row of the halo arrays"""
    halo_bytes: Floats
    """(shapes, phases, C+1) bytes on the busiest link of a layer's halo"""
    seams: tuple[Seams, ...]
    """(shapes,)"""
    worst_link_bytes: float
    """Bytes that no segment carries over one link for a sample; a coarse bound."""


def placed_tables(network: Network, package: Package, tilings: list[Seams]) -> PlacedTables:
    """Count shares for every place; ``tilings`` are the layers' `Seams`."""
    from scope_opt.model import link_counts  # compiled: loads numba

    rows, cols = package.mesh_rows, package.mesh_cols
    counts = _counts(package)
    # Layers that tile alike share their halos.
    kinds: dict[bytes, int] = {}
    shape = np.array(
        [kinds.setdefault(s.tiles.tobytes() + s.shares.tobytes(), len(kinds)) for s in tilings]
    )
    first = [int(np.flatnonzero(shape == kind)[0]) for kind in range(len(kinds))]
    seams = tuple(tilings[index] for index in first)
    halos = [
        link_counts.halo_peaks(counts.place, rows, cols, counts.phases, s.tiles, s.shares)
        for s in seams
    ]
    return PlacedTables(
        ps_per_byte=1e12 * package.nop.eta_link / package.nop.port_bytes_per_s,
        shared_links=package.nop.shared_links,
        relay=package.nop.gather == "relay",
        mesh=(rows, cols),
        place=counts.place,
        phase=np.arange(package.chiplets, dtype=np.int64) % counts.phases,
        gather=counts.relay if package.nop.gather == "relay" else counts.exchange,
        exchange=counts.exchange,
        scatter=counts.scatter,
        shape=shape,
        halo_bytes=np.array(halos),
        seams=seams,
        worst_link_bytes=_worst_link_bytes(network, counts, halos, shape),
    )


def _worst_link_bytes(network: Network, counts: _Counts, halos: list[Floats], shape: Ints) -> float:
    """Every transfer there can be, at its worst place, and all of them on one link."""
    sizes = np.maximum(np.arange(counts.exchange.shape[1], dtype=np.float64), 1)
    gather = float((np.maximum(counts.relay, counts.exchange) / sizes).max())
    exchange = float((counts.exchange / sizes**2).max())
    scatter = float((counts.scatter / np.multiply.outer(sizes, sizes)).max())
    moved = float(sum(edge.bytes for edge in network.edges)) + float(network.weight_bytes)
    travelling = float(sum(edge.bytes * (edge.target - edge.source) for edge in network.edges))
    halo = sum(float(halos[kind].max()) for kind in shape)
    return moved * (gather + exchange) + travelling * (scatter + gather) + 2 * halo


class _Counts(NamedTuple):
    place: Ints
    phases: int
    relay: Ints
    exchange: Ints
    scatter: NDArray[np.int32]


def _counts(package: Package) -> _Counts:
    return _count(package.mesh_rows, package.mesh_cols, package.order, places(package).tobytes())


@lru_cache(maxsize=8)
def _count(rows: int, cols: int, order: object, positions: bytes) -> _Counts:
    from scope_opt.model import link_counts  # compiled: loads numba

    place = np.frombuffer(positions, dtype=np.int64).reshape(-1, 2)
    # A ZigZag that starts a row later is the same one, shifted or mirrored.
    phases = cols if order == "zigzag" else rows * cols
    return _Counts(
        place,
        phases,
        link_counts.relay_counts(place, rows, cols, phases),
        link_counts.exchange_counts(place, rows, cols, phases),
        link_counts.scatter_counts(place, rows, cols, phases),
    )


def seams(layer: Layer, rows: Ints, cols: Ints) -> Seams:
    """How the tiles of a layer meet; ``rows x cols`` is its tile grid for sizes 1, 2, ..."""
    used_rows = np.minimum(rows, layer.output_height)
    used_cols = np.minimum(cols, layer.output_width)
    (reach_down, reach_across), (down, across) = layer.reach, layer.steps
    row_bytes = layer.in_channels * max(0, reach_down - down) * layer.input_width
    col_bytes = layer.in_channels * max(0, reach_across - across) * layer.input_height
    # Half of a pair's part of the seam each way; without a seam there is nothing to share.
    shares = np.stack(
        [
            np.where(used_rows > 1, row_bytes / (2 * used_cols), 0.0),
            np.where(used_cols > 1, col_bytes / (2 * used_rows), 0.0),
        ],
        axis=1,
    )
    tiles = np.stack([cols, used_rows, used_cols], axis=1)
    return Seams(
        np.concatenate([np.zeros((1, 3), dtype=np.int64), tiles]),
        np.concatenate([np.zeros((1, 2)), shares]),
    )
