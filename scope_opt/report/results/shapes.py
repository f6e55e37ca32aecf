"""Shapes of regions by the order of positions: their perimeter, and how crowded their links get."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.model.mesh import link_use, position_grid
from scope_opt.model.zoo import paper_package
from scope_opt.report.markdown import fixed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Grids = NDArray[np.int64]

MESHES = (64, 256)
ORDERS = ("zigzag", "blocks-1", "blocks-2", "blocks-4", "hilbert")
SIZES = (4, 16, 64)


class Shape(NamedTuple):
    """Means over all regions of a size."""

    perimeter: float
    """Sides of chiplets that no other chiplet of the region touches, over those of a square."""
    exchange: float
    """Pairs on the busiest link when every chiplet sends to every other, over those of a square's
    middle if it were spread evenly: a quarter of all pairs over the side."""
    scatter: float
    """The same from a region to the next one of its size, over all pairs spread over the side."""


def shape(chiplets: int, order: str, size: int) -> Shape:
    """Of runs of so many positions on the paper's mesh with so many chiplets."""
    grid = position_grid(paper_package(chiplets, nop="placed", order=order))
    starts = np.arange(chiplets - size + 1)
    runs = _runs(grid, starts, size)
    side = size**0.5
    inside = link_use(runs, runs).peak
    # Those that have another one of the size behind them.
    ahead = starts[: chiplets - 2 * size + 1]
    between = link_use(_runs(grid, ahead, size), _runs(grid, ahead + size, size)).peak
    return Shape(
        perimeter=fmean(_perimeters(runs).tolist()) / (4 * side),
        exchange=fmean(inside.tolist()) / (size**2 / 4 / side),
        scatter=fmean(between.tolist()) / (size**2 / side),
    )


def shape_rows() -> list[list[str]]:
    """Rows of a table: mesh, order, then `Shape` for each of `SIZES`."""
    rows = []
    for chiplets in MESHES:
        for order in ORDERS:
            shapes = [shape(chiplets, order, size) for size in SIZES if 2 * size <= chiplets]
            cells = [fixed(value) for each in zip(*shapes, strict=True) for value in _padded(each)]
            side = round(chiplets**0.5)
            rows.append([f"{side} x {side}", order, *cells])
    return rows


def shape_lines() -> list[str]:
    """What the table says of perimeters."""
    lines = []
    for chiplets in MESHES:
        side = round(chiplets**0.5)
        sizes = [size for size in SIZES if 2 * size <= chiplets]
        found = {
            order: [shape(chiplets, order, size).perimeter for size in sizes] for order in ORDERS
        }
        least = [min(values) for values in zip(*found.values(), strict=True)]
        best = [
            next(order for order in ORDERS if found[order][k] == value)
            for k, value in enumerate(least)
        ]
        shortest = ", ".join(f"{order} for {n}" for order, n in zip(best, sizes, strict=True))
        over = {
            order: max(value / other for value, other in zip(values, least, strict=True))
            for order, values in found.items()
        }
        steady = min(over, key=over.__getitem__)
        lines.append(
            f"{side} x {side}: the shortest perimeters have {shortest}; {steady} is never more than "
            f"{100 * (over[steady] - 1):.0f} % above them, zigzag up to {100 * (over['zigzag'] - 1):.0f} %."
        )
    return lines


def _padded(values: tuple[float, ...]) -> list[float | None]:
    """One for each of `SIZES`."""
    return [*values, *[None] * (len(SIZES) - len(values))]


def _runs(grid: Grids, starts: Grids, size: int) -> Grids:
    """1 where a chiplet belongs to the run from each start, shape ``(starts, rows, cols)``."""
    first = starts[:, None, None]
    return ((grid >= first) & (grid < first + size)).astype(np.int64)


def _perimeters(runs: Grids) -> Grids:
    framed = np.pad(runs, ((0, 0), (1, 1), (1, 1)))
    across = np.abs(np.diff(framed, axis=2)).sum(axis=(1, 2))
    found: Grids = across + np.abs(np.diff(framed, axis=1)).sum(axis=(1, 2))
    return found
