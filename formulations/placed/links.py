"""What transfers put on each directed link of the mesh.

A link is named by the way it leads (east, west, south, north) and the chiplet that it leaves, and
numbered in this order. Routes are XY, so the pairs of senders and receivers that share a link are a
product of two counts of chiplets, and counts over a run of positions are differences of sums.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scope_opt.model.compiled import compiled
from scope_opt.model.link_counts import add_route

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scope_opt.model.places import PlacedTables, Seams

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]


class Links:
    """Bytes per link of the transfers of regions: maps over all links, or one link at a time."""

    def __init__(self, placed: PlacedTables) -> None:
        self._placed, (rows, cols) = placed, placed.mesh
        y, x = np.mgrid[:rows, :cols].reshape(2, -1, 1)
        row, col = placed.place.T
        everywhere = np.ones_like(y, dtype=bool)
        # Who sends over a link, and who receives.
        sources = [(row == y) & (col <= x), (row == y) & (col >= x), row <= y, row >= y]
        targets = [
            everywhere & (col > x),
            everywhere & (col < x),
            (col == x) & (row > y),
            (col == x) & (row < y),
        ]
        self._sources, self._targets = (
            _sums(np.concatenate(sources)),
            _sums(np.concatenate(targets)),
        )
        # Steps of a relay: that from position t - 1 to t counts at t, and so does the way back.
        forth, back = _steps(placed.place, rows, cols)
        number = np.arange(len(row))
        self._relay = [_sums(a) for a in (forth, forth * number, back, back * number)]
        self._halos: dict[tuple[int, int, int], Floats] = {}

    def pairs(self, start: Ints, size: Ints, to: Ints, to_size: Ints, link: int | slice) -> Ints:
        """Pairs of a sender in one run and a receiver in another whose routes share a link."""
        sources, targets = self._sources[link], self._targets[link]
        counts: Ints = (sources[..., start + size] - sources[..., start]) * (
            targets[..., to + to_size] - targets[..., to]
        )
        return counts

    def gathers(self, start: Ints, size: Ints, link: int | slice) -> Floats:
        """Bytes on a link for each byte that is gathered in a region."""
        if not self._placed.relay:
            return self.pairs(start, size, start, size, link) / size
        end = start + size
        forth, forth_at, back, back_at = (
            sums[link][..., end] - sums[link][..., start + 1] for sums in self._relay
        )
        shares = forth_at - start * forth + end * back - back_at
        loads: Floats = shares / size
        return loads

    def exchanges(self, start: Ints, size: Ints, link: int | slice) -> Floats:
        """Bytes on a link for each byte that is exchanged in a region."""
        return self.pairs(start, size, start, size, link) / (size * size)

    def scatters(self, start: Ints, size: Ints, following: Ints, link: int | slice) -> Floats:
        """Bytes on a link for each byte that is handed over to the next region; 0 for none."""
        shares = size * np.maximum(following, 1)
        return self.pairs(start, size, start + size, following, link) / shares

    def halo(self, layer: int, start: int, size: int) -> Floats:
        """Bytes on all links when the tiles of a layer exchange what overlaps."""
        shape = int(self._placed.shape[layer])
        key = (shape, start, size)
        if key not in self._halos:
            seams: Seams = self._placed.seams[shape]
            loads = np.zeros((4, *self._placed.mesh))
            if size > 1:
                _add_halo(loads, self._placed.place, start, seams.tiles[size], seams.shares[size])
            self._halos[key] = loads.reshape(-1)
        return self._halos[key]


def _sums(values: NDArray[np.generic]) -> Ints:
    """Sums over the positions before each one."""
    sums = np.zeros((values.shape[0], values.shape[1] + 1), dtype=np.int64)
    np.cumsum(values, axis=1, out=sums[:, 1:])
    return sums


def _steps(place: Ints, rows: int, cols: int) -> tuple[Ints, Ints]:
    """Which links the steps between neighbouring positions take; shape ``(links, C)`` each."""
    forth = np.zeros((4 * rows * cols, len(place)), dtype=np.int64)
    back = np.zeros_like(forth)
    for t in range(1, len(place)):
        for steps, source, target in ((forth, t - 1, t), (back, t, t - 1)):
            loads = np.zeros((4, rows, cols), dtype=np.int64)
            add_route(loads, place[source], place[target], 1)
            steps[:, t] = loads.reshape(-1)
    return forth, back


@compiled
def _add_halo(loads: Floats, place: Ints, start: int, tiles: Ints, shares: Floats) -> None:
    columns, used_rows, used_columns = tiles
    for k in range(used_rows):
        for c in range(used_columns):
            here = place[start + k * columns + c]
            if k + 1 < used_rows:
                below = place[start + (k + 1) * columns + c]
                add_route(loads, here, below, shares[0])
                add_route(loads, below, here, shares[0])
            if c + 1 < used_columns:
                beside = place[start + k * columns + c + 1]
                add_route(loads, here, beside, shares[1])
                add_route(loads, beside, here, shares[1])
