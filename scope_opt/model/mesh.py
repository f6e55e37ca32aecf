"""Geometry of the mesh: orders of positions, XY routes, and how many of them share a link.

`link_loads` counts routes by the definition, for the evaluator and the replay; the tables come from
the faster recursions of `scope_opt.model.link_counts`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from scope_opt.model.package import Package

    Ints = NDArray[np.int64]
    Place = tuple[int, int]


class LinkUse(NamedTuple):
    """Traffic when every source sends one unit to every destination over XY routes."""

    peak: Ints
    """Pairs that share the most loaded directed link."""
    total: Ints
    """Sum over pairs of the number of links between them."""


def snake_positions(rows: int, cols: int) -> Ints:
    """ZigZag position of each chiplet, shape ``(rows, cols)``: odd rows run right to left."""
    order = np.arange(rows * cols).reshape(rows, cols)
    order[1::2] = order[1::2, ::-1]
    return order


def hilbert_places(rows: int, cols: int) -> list[tuple[int, int]]:
    """Row and column of each position along a Hilbert-like curve through any mesh.

    From the top left corner along the longer side, the first row of a square. A rectangle that is
    long for its depth is cut in two, others into three as Hilbert's square is into four, with the
    last two in one; parts that are begun and left on the same side have even lengths where they
    can, so that steps lead to neighbours: all but at most one.
    """
    if cols >= rows:
        return list(_curve((0, 0), (0, 1), cols, (1, 0), rows))
    return list(_curve((0, 0), (1, 0), rows, (0, 1), cols))


def _curve(corner: Place, along: Place, length: int, across: Place, depth: int) -> Iterator[Place]:
    """Through a rectangle, from a corner to the one at the other end of its length."""

    def at(forward: int, aside: int) -> Place:
        row, col = (corner[axis] + forward * along[axis] + aside * across[axis] for axis in (0, 1))
        return row, col

    if depth == 1 or length == 1:
        yield from (at(k, 0) if depth == 1 else at(0, k) for k in range(max(length, depth)))
        return
    half, near = length // 2, depth // 2
    if 2 * length > 3 * depth:
        half += half % 2 if length > 2 else 0
        yield from _curve(corner, along, half, across, depth)
        yield from _curve(at(half, 0), along, length - half, across, depth)
        return
    near += near % 2 if depth > 2 else 0
    backward, back = (-along[0], -along[1]), (-across[0], -across[1])
    yield from _curve(corner, across, near, along, half)
    yield from _curve(at(0, near), along, length, across, depth - near)
    yield from _curve(at(length - 1, near - 1), back, near, backward, length - half)


def position_grid(package: Package) -> Ints:
    """Position of each chiplet in the package's order, shape ``(rows, cols)``."""
    rows, cols, order = package.mesh_rows, package.mesh_cols, package.order
    if order == "hilbert":
        order = tuple(hilbert_places(rows, cols))
    if not isinstance(order, str):
        grid = np.empty((rows, cols), dtype=np.int64)
        for position, place in enumerate(order):
            grid[place] = position
        return grid
    width = package.block_width or cols
    stripe = snake_positions(rows, width)
    # Every second stripe runs from the bottom to the top.
    stripes = [stripe[:: -1 if k % 2 else 1] + k * rows * width for k in range(cols // width)]
    return np.concatenate(stripes, axis=1)


def places(package: Package) -> Ints:
    """Row and column of each position, shape ``(C, 2)``; the inverse of `position_grid`."""
    return _placed(position_grid(package))


def _placed(grid: Ints) -> Ints:
    found = np.empty((grid.size, 2), dtype=np.int64)
    found[grid.ravel()] = np.indices(grid.shape).reshape(2, -1).T
    return found


def period(place: Ints) -> int:
    """Least number of positions after which an order goes on as from its start.

    It may do so shifted or mirrored: XY routes are shifted and mirrored alike, so that runs which
    start whole periods apart load their links alike. With ZigZag order that is one row.
    """
    steps = np.diff(place, axis=0)
    for found in range(1, len(place)):
        later, earlier = steps[found:], steps[: len(steps) - found]
        if all(
            np.array_equal(later[:, axis], earlier[:, axis])
            or np.array_equal(later[:, axis], -earlier[:, axis])
            for axis in (0, 1)
        ):
            return found
    return len(place)


def link_loads(sources: Ints, destinations: Ints) -> Ints:
    """Count XY routes over every directed mesh link, for a batch of source and destination sets.

    A route runs along the source's row to the destination's column, then along that column. So the
    pairs crossing from column ``x`` to ``x+1`` in row ``y`` are the sources of that row at or left
    of ``x`` times all destinations right of ``x``; those crossing from row ``y`` to ``y+1`` in
    column ``x`` are all sources at or above ``y`` times the destinations of that column below it.

    Parameters
    ----------
    sources, destinations : int64 arrays, shape ``(batch, rows, cols)``
        1 where the chiplet belongs to the set, else 0.

    Returns
    -------
    int64 array, shape ``(batch, links)``
        Links in the order of `links`.
    """
    in_row = np.cumsum(sources, axis=2)
    beyond = np.cumsum(destinations.sum(axis=1), axis=1)
    in_column = np.cumsum(destinations, axis=1)
    above = np.cumsum(sources.sum(axis=2), axis=1)

    row_left, row_all = in_row[:, :, :-1], in_row[:, :, -1:]
    dst_left, dst_all = beyond[:, None, :-1], beyond[:, None, -1:]
    column_above, column_all = in_column[:, :-1, :], in_column[:, -1:, :]
    src_above, src_all = above[:, :-1, None], above[:, -1:, None]
    loads = (
        row_left * (dst_all - dst_left),
        (row_all - row_left) * dst_left,
        src_above * (column_all - column_above),
        (src_all - src_above) * column_above,
    )
    batch = len(sources)
    return np.concatenate([load.reshape(batch, -1) for load in loads], axis=1)


def links(rows: int, cols: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Directed links by the places they join: all that lead east, west, south, north."""
    rightward = [((y, x), (y, x + 1)) for y in range(rows) for x in range(cols - 1)]
    downward = [((y, x), (y + 1, x)) for y in range(rows - 1) for x in range(cols)]
    leftward = [(end, start) for start, end in rightward]
    return [*rightward, *leftward, *downward, *((end, start) for start, end in downward)]


def link_use(sources: Ints, destinations: Ints) -> LinkUse:
    """Busiest link and total of `link_loads`, each of shape ``(batch,)``."""
    loads = link_loads(sources, destinations)
    return LinkUse(loads.max(axis=1, initial=0), loads.sum(axis=1))


def runs(rows: int, cols: int, first: Ints, size: int) -> Ints:
    """Sets of ``size`` consecutive ZigZag positions from ``first``, as `link_use` takes them."""
    order = snake_positions(rows, cols)[None]
    start = first[:, None, None]
    return ((order >= start) & (order < start + size)).astype(np.int64)


class MeshMeans(NamedTuple):
    """Means over all places a run of chiplets can lie, index = region size (0 unused)."""

    peak_within: NDArray[np.float64]
    """Mean of `LinkUse.peak` for an all-to-all inside the run."""
    hops_within: NDArray[np.float64]
    """Mean hops between two different chiplets of the run."""


@lru_cache(maxsize=64)
def means_within(rows: int, cols: int) -> MeshMeans:
    """Mean link load and hops inside runs of each size; arrays of shape ``(chiplets + 1,)``."""
    from scope_opt.model import link_counts  # compiled: loads numba

    place, phases = _zigzag(rows, cols)
    chiplets = rows * cols
    starts = np.array([_starts(chiplets, size, phases) for size in range(chiplets + 1)]).T
    peaks = link_counts.exchange_counts(place, rows, cols, phases)
    totals = link_counts.hops_within(place, rows, cols, phases)
    sizes = np.arange(chiplets + 1)
    runs_of = np.maximum(starts.sum(axis=0), 1)
    means = MeshMeans(
        (starts * peaks).sum(axis=0) / runs_of,
        (starts * totals).sum(axis=0) / runs_of / np.maximum(sizes * (sizes - 1), 1),
    )
    for mean in means:
        mean[:2] = 0
        mean.setflags(write=False)
    return means


@lru_cache(maxsize=4096)
def means_between(rows: int, cols: int, size: int, next_size: int) -> tuple[float, float]:
    """Mean most-loaded-link count and mean hops from a run to the run that follows it."""
    from scope_opt.model import link_counts  # compiled: loads numba

    place, phases = _zigzag(rows, cols)
    starts = _starts(rows * cols, size + next_size, phases)
    peak = hops = 0
    for start in np.flatnonzero(starts).tolist():
        run = (place, rows, cols, start, size, next_size)
        peak += int(starts[start]) * link_counts.scatter_count(*run)
        hops += int(starts[start]) * link_counts.hops_between(*run)
    count = int(starts.sum())
    return peak / count, hops / count / (size * next_size)


@lru_cache(maxsize=64)
def _zigzag(rows: int, cols: int) -> tuple[Ints, int]:
    place = _placed(snake_positions(rows, cols))
    return place, period(place)


def _starts(chiplets: int, size: int, phases: int) -> Ints:
    """How many runs of a size begin a number of whole periods behind each of the first starts."""
    return np.maximum((chiplets - size - np.arange(phases)) // phases + 1, 0)
