"""Compiled counting of transfers that share a mesh link, for every place a region can have.

All routes are XY: along the source's row, then along the target's column. With every chiplet of a
run sending to every chiplet of another, the load of a link is a product of two counts
(`scope_opt.model.mesh.link_use`), and so the busiest link follows from the largest counts per
column and per row: ``maxima`` below. Those change little when a run grows by one chiplet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scope_opt.model.compiled import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Numbers = NDArray[np.int32]
    Floats = NDArray[np.float64]


@compiled
def _add_source(y: int, x: int, rows: Ints, maxima: Ints, above: Ints) -> None:
    """One more source; ``rows[y, x']`` of row ``y`` lie at or left of ``x'``."""
    cols = rows.shape[1]
    for column in range(cols):
        if column >= x:
            rows[y, column] += 1
    total = rows[y, cols - 1]
    for column in range(cols - 1):
        maxima[0, column] = max(maxima[0, column], rows[y, column])
        maxima[1, column] = max(maxima[1, column], total - rows[y, column])
    for row in range(len(above)):
        if row >= y:
            above[row] += 1


@compiled
def _add_target(y: int, x: int, columns: Ints, maxima: Ints, left: Ints) -> None:
    """The same for targets, with rows and columns exchanged."""
    rows = columns.shape[0]
    for row in range(rows):
        if row >= y:
            columns[row, x] += 1
    total = columns[rows - 1, x]
    for row in range(rows - 1):
        maxima[0, row] = max(maxima[0, row], columns[row, x])
        maxima[1, row] = max(maxima[1, row], total - columns[row, x])
    for column in range(len(left)):
        if column >= x:
            left[column] += 1


@compiled
def _busiest(row_maxima: Ints, above: Ints, column_maxima: Ints, left: Ints) -> int:
    """Largest load: along rows sources of one row, along columns targets of one column."""
    peak = 0
    targets, sources = left[-1], above[-1]
    for column in range(len(left) - 1):
        east = row_maxima[0, column] * (targets - left[column])
        west = row_maxima[1, column] * left[column]
        peak = max(peak, east, west)
    for row in range(len(above) - 1):
        south = above[row] * column_maxima[1, row]
        north = (sources - above[row]) * column_maxima[0, row]
        peak = max(peak, south, north)
    return peak


@compiled
def exchange_counts(place: Ints, rows: int, cols: int, phases: int) -> Ints:
    """Pairs on the busiest link when all of a run send to all of it, ``[start, size]``."""
    chiplets = len(place)
    peaks = np.zeros((phases, chiplets + 1), dtype=np.int64)
    for start in range(phases):
        in_row, row_maxima = np.zeros((rows, cols), np.int64), np.zeros((2, cols), np.int64)
        in_column, column_maxima = np.zeros((rows, cols), np.int64), np.zeros((2, rows), np.int64)
        above, left = np.zeros(rows, np.int64), np.zeros(cols, np.int64)
        for size in range(1, chiplets - start + 1):
            y, x = place[start + size - 1]
            _add_source(y, x, in_row, row_maxima, above)
            _add_target(y, x, in_column, column_maxima, left)
            peaks[start, size] = _busiest(row_maxima, above, column_maxima, left)
    return peaks


@compiled
def scatter_counts(place: Ints, rows: int, cols: int, phases: int) -> Numbers:
    """Pairs on the busiest link from a run to the run after it, ``[start, size, next size]``."""
    chiplets = len(place)
    peaks = np.zeros((phases, chiplets + 1, chiplets + 1), dtype=np.int32)
    for start in range(phases):
        in_row, row_maxima = np.zeros((rows, cols), np.int64), np.zeros((2, cols), np.int64)
        above = np.zeros(rows, np.int64)
        for size in range(1, chiplets - start):
            y, x = place[start + size - 1]
            _add_source(y, x, in_row, row_maxima, above)
            in_column = np.zeros((rows, cols), np.int64)
            column_maxima, left = np.zeros((2, rows), np.int64), np.zeros(cols, np.int64)
            for following in range(1, chiplets - start - size + 1):
                y, x = place[start + size + following - 1]
                _add_target(y, x, in_column, column_maxima, left)
                peak = _busiest(row_maxima, above, column_maxima, left)
                peaks[start, size, following] = peak
    return peaks


@compiled
def add_route(loads: Ints | Floats, source: Ints, target: Ints, amount: float) -> None:
    """Add to ``loads[direction, row, column]`` what a route carries over every link it takes.

    A link is named by the chiplet that it leaves; directions are east, west, south and north.
    """
    y, x = source[0], source[1]
    while x < target[1]:
        loads[0, y, x] += amount
        x += 1
    while x > target[1]:
        loads[1, y, x] += amount
        x -= 1
    while y < target[0]:
        loads[2, y, x] += amount
        y += 1
    while y > target[0]:
        loads[3, y, x] += amount
        y -= 1


@compiled
def relay_counts(place: Ints, rows: int, cols: int, phases: int) -> Ints:
    """Shares on the busiest link when they are handed on along a run, ``[start, size]``.

    The step from the run's position ``k - 1`` to ``k`` carries the shares of ``k`` chiplets, the
    step back those of the other ``size - k``. With neighbouring positions that is ``size - 1``.
    """
    chiplets = len(place)
    peaks = np.zeros((phases, chiplets + 1), dtype=np.int64)
    for start in range(phases):
        # On a link: shares of the steps forward; how many steps back, and the sum of their k.
        forward = np.zeros((4, rows, cols), dtype=np.int64)
        steps = np.zeros((4, rows, cols), dtype=np.int64)
        behind = np.zeros((4, rows, cols), dtype=np.int64)
        apart = False
        for size in range(2, chiplets - start + 1):
            k = size - 1
            here, before = place[start + k], place[start + k - 1]
            apart = apart or abs(here[0] - before[0]) + abs(here[1] - before[1]) > 1
            add_route(forward, before, here, k)
            add_route(steps, here, before, 1)
            add_route(behind, here, before, k)
            peaks[start, size] = size - 1
            if apart:
                peaks[start, size] = (forward + size * steps - behind).max()
    return peaks


@compiled
def halo_peaks(
    place: Ints, rows: int, cols: int, phases: int, tiles: Ints, shares: Floats
) -> Floats:
    """Bytes on the busiest link when neighbouring tiles exchange what overlaps, ``[start, size]``.

    ``tiles[size]`` are the columns of the tile grid, and its rows and columns that have outputs;
    ``shares[size]`` the bytes each way over a row seam and over a column seam, for one pair of
    tiles. Tile ``(k, c)`` lies on position ``k columns + c`` of the run.
    """
    chiplets = len(place)
    peaks = np.zeros((phases, chiplets + 1))
    down = np.zeros((4, rows, cols), dtype=np.int64)
    across = np.zeros((4, rows, cols), dtype=np.int64)
    for start in range(phases):
        for size in range(2, chiplets - start + 1):
            columns, used_rows, used_columns = tiles[size]
            if shares[size, 0] == 0 and shares[size, 1] == 0:
                continue
            down[:] = 0
            across[:] = 0
            for k in range(used_rows):
                for c in range(used_columns):
                    here = place[start + k * columns + c]
                    if k + 1 < used_rows:
                        below = place[start + (k + 1) * columns + c]
                        add_route(down, here, below, 1)
                        add_route(down, below, here, 1)
                    if c + 1 < used_columns:
                        beside = place[start + k * columns + c + 1]
                        add_route(across, here, beside, 1)
                        add_route(across, beside, here, 1)
            peak = 0.0
            for direction in range(4):
                for y in range(rows):
                    for x in range(cols):
                        load = down[direction, y, x] * shares[size, 0]
                        load += across[direction, y, x] * shares[size, 1]
                        peak = max(peak, load)
            peaks[start, size] = peak
    return peaks
