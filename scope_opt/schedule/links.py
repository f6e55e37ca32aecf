"""What transfers between chiplets put on the links of the mesh, for the evaluator.

A transfer is a map of the bytes that every directed link carries for one sample. Its time is that
of its busiest link, its energy that of all of them; the maps of all transfers of a segment, added
up, are what its links carry in a beat. Solvers count the same with code of their own
(`scope_opt.model.link_counts`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.model.mesh import link_loads, links, position_grid

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from scope_opt.model.network import Layer
    from scope_opt.model.package import Package

    Ints = NDArray[np.int64]
    Bytes = NDArray[np.float64]


class Region(NamedTuple):
    """A run of positions."""

    first: int
    size: int

    @property
    def positions(self) -> range:
        """Its positions."""
        return range(self.first, self.first + self.size)


class Link(NamedTuple):
    """A directed link, by ``(row, column)`` of the two chiplets it joins."""

    source: tuple[int, int]
    target: tuple[int, int]

    def __str__(self) -> str:
        (y, x), (to_y, to_x) = self
        return f"[{y}, {x}] to [{to_y}, {to_x}]"


class Mesh:
    """Counts routes over links; all maps are arrays over `links`, in that order."""

    def __init__(self, package: Package) -> None:
        self._relay = package.nop.gather == "relay"
        self._grid = position_grid(package)
        rows, cols = self._grid.shape
        self._place = {int(self._grid[y, x]): (y, x) for y in range(rows) for x in range(cols)}
        self.links = [Link(*ends) for ends in links(rows, cols)]
        self._number = {link: index for index, link in enumerate(self.links)}
        self._between = lru_cache(maxsize=4096)(self._count_pairs)
        self._along = lru_cache(maxsize=4096)(self._count_relayed)
        self._seams = lru_cache(maxsize=4096)(self._count_seams)
        self._route = lru_cache(maxsize=65536)(self._walk)

    def nothing(self) -> Bytes:
        """No bytes anywhere."""
        return np.zeros(len(self.links))

    def gather(self, volume: int, at: Region) -> Bytes:
        """Every byte to every chiplet of a region."""
        counts = self._along(at) if self._relay else self._between(at, at)
        return volume * counts / at.size

    def exchange(self, volume: int, at: Region) -> Bytes:
        """Every chiplet of a region sends every other an equal part of its share."""
        return volume * self._between(at, at) / at.size**2

    def scatter(self, volume: int, at: Region, to: Region) -> Bytes:
        """Every byte from somewhere in a region to one chiplet of another."""
        return volume * self._between(at, to) / (at.size * to.size)

    def halo(self, layer: Layer, grid: tuple[int, int], at: Region) -> Bytes:
        """Neighbouring tiles of a layer, ``grid`` of them, exchange the input they both need."""
        if at.size == 1:
            return self.nothing()
        rows, cols = min(grid[0], layer.output_height), min(grid[1], layer.output_width)
        (reach_down, reach_across), (down, across) = layer.reach, layer.steps
        row_seam = layer.in_channels * max(0, reach_down - down) * layer.input_width
        col_seam = layer.in_channels * max(0, reach_across - across) * layer.input_height
        over_rows, over_cols = self._seams(at.first, grid[1], rows, cols)
        # All pairs along a seam share it, and each sends half of its part each way.
        load: Bytes = over_rows * (row_seam / (2 * cols)) + over_cols * (col_seam / (2 * rows))
        return load

    def _count_pairs(self, at: Region, to: Region) -> Ints:
        """Pairs of a source and a target on every link."""
        sets = [
            ((self._grid >= run.first) & (self._grid < run.first + run.size)) for run in (at, to)
        ]
        sources, targets = (members[None].astype(np.int64) for members in sets)
        counts: Ints = link_loads(sources, targets)[0]
        return counts

    def _count_relayed(self, at: Region) -> Ints:
        """Shares on every link when chiplets hand on what they have along the positions."""
        counts = np.zeros(len(self.links), dtype=np.int64)
        for k in range(1, at.size):
            before, here = at.first + k - 1, at.first + k
            for link in self._route(before, here):
                counts[link] += k
            for link in self._route(here, before):
                counts[link] += at.size - k
        return counts

    def _count_seams(self, first: int, grid_cols: int, rows: int, cols: int) -> tuple[Ints, Ints]:
        """Pairs of tiles that meet in row seams, and in column seams, on every link."""

        def meet(pairs: Iterable[tuple[int, int]]) -> Ints:
            counts = np.zeros(len(self.links), dtype=np.int64)
            for one, other in pairs:
                for link in (*self._route(one, other), *self._route(other, one)):
                    counts[link] += 1
            return counts

        def at(k: int, c: int) -> int:
            return first + k * grid_cols + c

        down = ((at(k, c), at(k + 1, c)) for k in range(rows - 1) for c in range(cols))
        across = ((at(k, c), at(k, c + 1)) for k in range(rows) for c in range(cols - 1))
        return meet(down), meet(across)

    def _walk(self, source: int, target: int) -> tuple[int, ...]:
        """Links of the XY route between two positions: along the row first."""
        (y, x), (to_y, to_x) = self._place[source], self._place[target]
        found = []
        while (y, x) != (to_y, to_x):
            step = (
                (y, x + (1 if to_x > x else -1)) if x != to_x else (y + (1 if to_y > y else -1), x)
            )
            found.append(self._number[Link((y, x), step)])
            y, x = step
        return tuple(found)
