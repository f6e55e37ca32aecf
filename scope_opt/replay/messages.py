"""Which chiplet sends which how much when something is moved inside a region or to the next one.

Positions in the package's order. What a chiplet keeps is no message, nor is one of no bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]


class Region(NamedTuple):
    """A run of positions."""

    first: int
    size: int


class Messages(NamedTuple):
    """One entry for each message, in the order in which a chiplet sends its own."""

    sources: Ints
    targets: Ints
    bytes: Floats


class Pattern(Protocol):
    """Messages that are not listed yet: of large regions there are many."""

    @property
    def most(self) -> int:
        """So many at most."""

    def messages(self) -> Messages:
        """All of them."""


class Pairs(NamedTuple):
    """From every chiplet of a region to every other one of a region, each the same bytes."""

    at: Region
    to: Region
    each: float

    @property
    def most(self) -> int:
        """See `Pattern`."""
        return self.at.size * self.to.size

    def messages(self) -> Messages:
        """See `Pattern`; in each round every chiplet sends, as far as may be to one of its own."""
        rounds, senders = np.indices((self.to.size, self.at.size)).reshape(2, -1)
        sources = self.at.first + senders
        targets = self.to.first + (senders + rounds) % self.to.size
        return _listed(sources, targets, np.full(len(sources), self.each))


class Steps(NamedTuple):
    """Shares handed on along a region: to the next position all before it, back all behind."""

    at: Region
    share: float
    """Bytes that every chiplet has at first."""

    @property
    def most(self) -> int:
        """See `Pattern`."""
        return 2 * self.at.size

    def messages(self) -> Messages:
        """See `Pattern`."""
        steps = np.arange(1, self.at.size)
        here, before = self.at.first + steps, self.at.first + steps - 1
        shares = np.concatenate([steps, self.at.size - steps])
        return _listed(*_both_ways(before, here), self.share * shares)


class Seams(NamedTuple):
    """Both ways between tiles that meet, a grid of them on consecutive positions."""

    first: int
    tiles: tuple[int, int, int]
    """As in `scope_opt.model.places.Seams`: columns of the grid, rows and columns used."""
    row_bytes: float
    """Each way between two tiles that meet in a row seam."""
    col_bytes: float
    """The same in a column seam."""

    @property
    def most(self) -> int:
        """See `Pattern`."""
        return 4 * self.tiles[1] * self.tiles[2]

    def messages(self) -> Messages:
        """See `Pattern`."""
        grid = tile_positions(self.first, self.tiles)
        down = _both_ways(grid[:-1].ravel(), grid[1:].ravel())
        across = _both_ways(grid[:, :-1].ravel(), grid[:, 1:].ravel())
        sources, targets = (np.concatenate(ends) for ends in zip(down, across, strict=True))
        seams = len(down[0]), len(across[0])
        return _listed(sources, targets, np.repeat([self.row_bytes, self.col_bytes], seams))


def tile_positions(first: int, tiles: tuple[int, int, int]) -> Ints:
    """Positions of the tiles that have outputs, shape ``(rows used, columns used)``."""
    columns, used_rows, used_columns = tiles
    grid: Ints = first + np.arange(used_rows)[:, None] * columns + np.arange(used_columns)
    return grid


def _both_ways(one: Ints, other: Ints) -> tuple[Ints, Ints]:
    return np.concatenate([one, other]), np.concatenate([other, one])


def _listed(sources: Ints, targets: Ints, moved: Floats) -> Messages:
    sent = (sources != targets) & (moved > 0)
    return Messages(sources[sent], targets[sent], moved[sent])
