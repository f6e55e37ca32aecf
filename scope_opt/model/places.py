"""Coefficients of the placed model: what transfers load where regions lie.

Solvers read them; docs/model.md derives them. A transfer takes the time of its busiest link, so
all that is kept of it are integers, how many shares of its volume that link carries. Whoever needs
a time multiplies volume and count, divides by the number of shares, and multiplies that by
`PlacedTables.ps_per_byte`, in this order, so that all get the same floats.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.model.mesh import period, places

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from scope_opt.model.network import Layer, Network
    from scope_opt.model.package import Package

    Ints = NDArray[np.int64]
    Numbers = NDArray[np.int32]
    Floats = NDArray[np.float64]

MOST_SCATTER_COUNTS = 2**26
"""More counts of scatters than this, 256 MiB, are not made unless all of them are needed."""


class Seams(NamedTuple):
    """How the WSP tiles of a layer meet, for every region size; index 0 unused."""

    tiles: Ints
    """(C+1, 3): columns of the tile grid, its rows with outputs, its columns with outputs"""
    shares: Floats
    """(C+1, 2): bytes each way between two tiles that meet in a row seam, in a column seam"""

    @property
    def one_way_bytes(self) -> float:
        """All that tiles of one size send one way over their seams, at most; no link has more."""
        _, rows, cols = self.tiles.T
        down, across = self.shares.T
        return float(((rows - 1) * cols * down + rows * (cols - 1) * across).max())


@dataclass(frozen=True, eq=False)
class PlacedTables:
    """What a placed instance adds to `LatencyTables`. ``L`` layers, ``C`` chiplets, ``E`` edges.

    Counts depend on where a region starts through ``phase`` only: with ZigZag order on its column.
    Those of a scatter and of halos are made when somebody asks for them.
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
    shape: Ints
    """(L,) row of the halo arrays"""
    seams: tuple[Seams, ...]
    """(shapes,)"""
    worst_link_bytes: float
    """Bytes that no segment carries over one link for a sample; a coarse bound."""
    halo_bytes: Floats
    """(shapes, phases, C+1) bytes on the busiest link of a layer's halo; negative where not made
    yet, see `halos`"""

    @cached_property
    def scatter(self) -> Numbers:
        """Shares of 1/(r r') on the busiest link from a region to the next, (phases, C+1, C+1)."""
        from scope_opt.model import link_counts  # compiled: loads numba

        return link_counts.scatter_counts(self.place, *self.mesh, len(self.gather))

    @property
    def scatter_fits(self) -> bool:
        """Whether all of `scatter` is small enough to be made for a search that needs little."""
        phases, sizes = self.gather.shape
        return bool(phases * sizes**2 <= MOST_SCATTER_COUNTS)

    def scatter_count(self, start: int, size: int, following: int) -> int:
        """The same of one region."""
        from scope_opt.model import link_counts  # compiled: loads numba

        return link_counts.scatter_count(
            self.place, *self.mesh, int(self.phase[start]), size, following
        )

    def halo(self, shape: int, start: int, size: int) -> float:
        """Bytes on the busiest link of one halo."""
        phase = int(self.phase[start])
        if self.halo_bytes[shape, phase, 0] < 0:
            self._make_halos(shape, phase)
        return float(self.halo_bytes[shape, phase, size])

    def halos(self, pause: Callable[[], None] = lambda: None) -> Floats:
        """All of `halo_bytes`; ``pause`` is called again and again and may raise an exception."""
        for shape, phase in np.argwhere(self.halo_bytes[:, :, 0] < 0).tolist():
            self._make_halos(shape, phase)
            pause()
        return self.halo_bytes

    def _make_halos(self, shape: int, phase: int) -> None:
        from scope_opt.model import link_counts  # compiled: loads numba

        link_counts.fill_halo_peaks(
            self.place, *self.mesh, phase, *self.seams[shape], self.halo_bytes[shape, phase]
        )


def placed_tables(
    network: Network, package: Package, tilings: list[Seams], row: Ints
) -> PlacedTables:
    """Count shares for every place; ``tilings[row[l]]`` are the `Seams` of layer ``l``."""
    counts = _counts(package)
    # Layers that tile alike share their halos.
    kinds: dict[bytes, int] = {}
    kind = [kinds.setdefault(s.tiles.tobytes() + s.shares.tobytes(), len(kinds)) for s in tilings]
    shape = np.array(kind)[row]
    seams = tuple(tilings[kind.index(index)] for index in range(len(kinds)))
    halos = sum(
        seams[index].one_way_bytes * int((shape == index).sum()) for index in range(len(seams))
    )
    return PlacedTables(
        ps_per_byte=1e12 * package.nop.eta_link / package.nop.port_bytes_per_s,
        shared_links=package.nop.shared_links,
        relay=package.nop.gather == "relay",
        mesh=(package.mesh_rows, package.mesh_cols),
        place=counts.place,
        phase=np.arange(package.chiplets, dtype=np.int64) % len(counts.exchange),
        gather=counts.relay if package.nop.gather == "relay" else counts.exchange,
        exchange=counts.exchange,
        shape=shape,
        seams=seams,
        worst_link_bytes=_worst_link_bytes(network, counts, halos),
        halo_bytes=_none_yet(len(kinds), *counts.exchange.shape),
    )


def _worst_link_bytes(network: Network, counts: _Counts, halos: float) -> float:
    """Every transfer there can be, at its worst place, and all of them on one link."""
    sizes = np.maximum(np.arange(counts.exchange.shape[1], dtype=np.float64), 1)
    gather = float((np.maximum(counts.relay, counts.exchange) / sizes).max())
    exchange = float((counts.exchange / sizes**2).max())
    scatter = 1.0  # all from one chiplet to the next
    moved = float(sum(edge.bytes for edge in network.edges)) + float(network.weight_bytes)
    travelling = float(sum(edge.bytes * (edge.target - edge.source) for edge in network.edges))
    return moved * (gather + exchange) + travelling * (scatter + gather) + 2 * halos


def _none_yet(shapes: int, phases: int, sizes: int) -> Floats:
    """Halos still to be made; memory is taken when they are, as orders may have many phases."""
    halos = np.zeros((shapes, phases, sizes))
    halos[:, :, 0] = -1.0
    return halos


class _Counts(NamedTuple):
    place: Ints
    relay: Ints
    exchange: Ints


def _counts(package: Package) -> _Counts:
    return _count(package.mesh_rows, package.mesh_cols, places(package).tobytes())


@lru_cache(maxsize=8)
def _count(rows: int, cols: int, positions: bytes) -> _Counts:
    from scope_opt.model import link_counts  # compiled: loads numba

    place = np.frombuffer(positions, dtype=np.int64).reshape(-1, 2)
    phases = period(place)
    return _Counts(
        place,
        link_counts.relay_counts(place, rows, cols, phases),
        link_counts.exchange_counts(place, rows, cols, phases),
    )


def seams(layer: Layer, rows: Ints, cols: Ints) -> Seams:
    """How the tiles of a layer meet; ``rows x cols`` is its tile grid for sizes 1, 2, ..."""
    used_rows = np.minimum(rows, layer.output_height)
    used_cols = np.minimum(cols, layer.output_width)
    row_bytes, col_bytes = layer.seam_bytes
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
