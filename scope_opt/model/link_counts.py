"""Compiled counting of transfers that share a mesh link, for every place a region can have.

All routes are XY: along the source's row, then along the target's column. With every chiplet of a
run sending to every chiplet of another, the load of a link is a product of two counts
(`scope_opt.model.mesh.link_loads`), and so the busiest link follows from the largest counts per
column and per row: ``maxima`` below. Those change little when a run grows by one chiplet.

Counts are made anew by every process and not kept on disk: those of 4,096 chiplets take 0.2 s.
Only halos and scatters of all regions take seconds there; they are made when they are asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scope_opt.model.compiled import compiled, inlined, loop

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Numbers = NDArray[np.int32]
    Floats = NDArray[np.float64]


@compiled
def _add_source(y: int, x: int, rows: Numbers, maxima: Numbers, above: Numbers) -> None:
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
def _add_target(y: int, x: int, columns: Numbers, maxima: Numbers, left: Numbers) -> None:
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


@inlined
def _busiest(
    row_maxima: Numbers, above: Numbers, column_maxima: Numbers, left: Numbers
) -> np.int32:
    """Largest load: along rows sources of one row, along columns targets of one column."""
    peak = np.int32(0)
    targets, sources = left[-1], above[-1]
    for column in range(len(left) - 1):
        east = np.int32(row_maxima[0, column] * (targets - left[column]))
        west = np.int32(row_maxima[1, column] * left[column])
        peak = max(peak, max(east, west))
    for row in range(len(above) - 1):
        south = np.int32(above[row] * column_maxima[1, row])
        north = np.int32((sources - above[row]) * column_maxima[0, row])
        peak = max(peak, max(south, north))
    return peak


@compiled
def exchange_counts(place: Ints, rows: int, cols: int, phases: int) -> Ints:
    """Pairs on the busiest link when all of a run send to all of it, ``[start, size]``."""
    chiplets = len(place)
    peaks = np.zeros((phases, chiplets + 1), dtype=np.int64)
    for start in range(phases):
        in_row, row_maxima = np.zeros((rows, cols), np.int32), np.zeros((2, cols), np.int32)
        in_column, column_maxima = np.zeros((rows, cols), np.int32), np.zeros((2, rows), np.int32)
        above, left = np.zeros(rows, np.int32), np.zeros(cols, np.int32)
        for size in range(1, chiplets - start + 1):
            y, x = place[start + size - 1]
            _add_source(y, x, in_row, row_maxima, above)
            _add_target(y, x, in_column, column_maxima, left)
            peaks[start, size] = _busiest(row_maxima, above, column_maxima, left)
    return peaks


@compiled
def scatter_count(place: Ints, rows: int, cols: int, start: int, size: int, following: int) -> int:
    """Pairs on the busiest link from a run to the run after it."""
    in_row, row_maxima = np.zeros((rows, cols), np.int32), np.zeros((2, cols), np.int32)
    in_column, column_maxima = np.zeros((rows, cols), np.int32), np.zeros((2, rows), np.int32)
    above, left = np.zeros(rows, np.int32), np.zeros(cols, np.int32)
    for position in range(start, start + size):
        in_row[place[position, 0], place[position, 1]] = 1
    for position in range(start + size, start + size + following):
        in_column[place[position, 0], place[position, 1]] = 1
    sources = targets = 0
    for y in range(rows):
        for x in range(1, cols):
            in_row[y, x] += in_row[y, x - 1]
        total = in_row[y, cols - 1]
        sources += total
        above[y] = sources
        for x in range(cols - 1):
            row_maxima[0, x] = max(row_maxima[0, x], in_row[y, x])
            row_maxima[1, x] = max(row_maxima[1, x], total - in_row[y, x])
    for x in range(cols):
        for y in range(1, rows):
            in_column[y, x] += in_column[y - 1, x]
        total = in_column[rows - 1, x]
        targets += total
        left[x] = targets
        for y in range(rows - 1):
            column_maxima[0, y] = max(column_maxima[0, y], in_column[y, x])
            column_maxima[1, y] = max(column_maxima[1, y], total - in_column[y, x])
    return int(_busiest(row_maxima, above, column_maxima, left))


@compiled
def scatter_counts(place: Ints, rows: int, cols: int, phases: int) -> Numbers:
    """`scatter_count` of all runs, ``[start, size, following]``."""
    chiplets = len(place)
    peaks = np.zeros((phases, chiplets + 1, chiplets + 1), dtype=np.int32)
    # Sources of a run from each start, as far as the run has come.
    in_row, row_maxima = (
        np.zeros((phases, rows, cols), np.int32),
        np.zeros((phases, 2, cols), np.int32),
    )
    above = np.zeros((phases, rows), np.int32)
    # Targets from one position on, for every number of them.
    column_maxima = np.zeros((chiplets + 1, 2, rows), np.int32)
    left = np.zeros((chiplets + 1, cols), np.int32)
    for to in range(1, chiplets):
        y, x = place[to - 1]
        for start in range(min(phases, to)):
            _add_source(y, x, in_row[start], row_maxima[start], above[start])
        in_column = np.zeros((rows, cols), np.int32)
        for following in range(1, chiplets - to + 1):
            y, x = place[to + following - 1]
            column_maxima[following] = column_maxima[following - 1]
            left[following] = left[following - 1]
            _add_target(y, x, in_column, column_maxima[following], left[following])
        for start in range(min(phases, to)):
            _fill_peaks(
                row_maxima[start],
                above[start],
                column_maxima,
                left,
                peaks[start, to - start, : chiplets - to + 1],
            )
    return peaks


@loop
def _fill_peaks(
    row_maxima: Numbers, above: Numbers, column_maxima: Numbers, left: Numbers, peaks: Numbers
) -> None:
    for following in range(1, len(peaks)):
        peaks[following] = _busiest(row_maxima, above, column_maxima[following], left[following])


@compiled
def hops_within(place: Ints, rows: int, cols: int, phases: int) -> Ints:
    """Sum of the distances of all pairs of a run, both ways, ``[start, size]``."""
    chiplets = len(place)
    totals = np.zeros((phases, chiplets + 1), dtype=np.int64)
    for start in range(phases):
        in_rows, in_columns = np.zeros(rows, np.int64), np.zeros(cols, np.int64)
        for size in range(1, chiplets - start + 1):
            y, x = place[start + size - 1]
            in_rows[y] += 1
            in_columns[x] += 1
            totals[start, size] = _distances(in_rows, in_rows) + _distances(in_columns, in_columns)
    return totals


@compiled
def hops_between(place: Ints, rows: int, cols: int, start: int, size: int, following: int) -> int:
    """Sum of the distances from the chiplets of a run to those of the run after it."""
    in_rows, in_columns = np.zeros((2, rows), np.int64), np.zeros((2, cols), np.int64)
    for position in range(start, start + size + following):
        which = 0 if position < start + size else 1
        in_rows[which, place[position, 0]] += 1
        in_columns[which, place[position, 1]] += 1
    return int(_distances(in_rows[0], in_rows[1]) + _distances(in_columns[0], in_columns[1]))


@loop
def _distances(sources: Ints, targets: Ints) -> int:
    """Sum over pairs of how far they are apart along an axis with so many at each coordinate."""
    total = before = arrived = 0
    all_sources, all_targets = sources.sum(), targets.sum()
    for at in range(len(sources) - 1):
        before += sources[at]
        arrived += targets[at]
        total += before * (all_targets - arrived) + (all_sources - before) * arrived
    return total


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
    # Of a link: how many steps back it carries, and its shares apart from size for each of those.
    links = np.zeros((4, rows, cols, 2), dtype=np.int64)
    # By steps back the most such shares. No share leaves a link when the run grows, so what a link
    # had with fewer steps may stay here.
    most = np.zeros(chiplets + 1, dtype=np.int64)
    for start in range(phases):
        links[:] = 0
        most[:] = -(chiplets**2)
        steps = 0
        for size in range(2, chiplets - start + 1):
            k = size - 1
            here, before = place[start + k], place[start + k - 1]
            steps = max(steps, _add_shares(links, most, before, here, 0, k))
            steps = max(steps, _add_shares(links, most, here, before, 1, -k))
            peak = 0
            for back in range(steps + 1):
                peak = max(peak, most[back] + back * size)
            peaks[start, size] = peak
    return peaks


@loop
def _add_shares(
    links: Ints, most: Ints, source: Ints, target: Ints, steps: int, shares: int
) -> int:
    """Add steps and shares to every link of a route; the most steps that one of them has now."""
    found = 0
    y, x = source[0], source[1]
    while y != target[0] or x != target[1]:
        direction, next_y, next_x = _next(y, x, target)
        link = links[direction, y, x]
        link[0] += steps
        link[1] += shares
        most[link[0]] = max(most[link[0]], link[1])
        found = max(found, link[0])
        y, x = next_y, next_x
    return found


@inlined
def _next(y: int, x: int, target: Ints) -> tuple[int, int, int]:
    """Next link of a route: its direction, and the chiplet it leads to."""
    if x != target[1]:
        return (0, y, x + 1) if x < target[1] else (1, y, x - 1)
    return (2, y + 1, x) if y < target[0] else (3, y - 1, x)


@compiled
def fill_halo_peaks(
    place: Ints, rows: int, cols: int, start: int, tiles: Ints, shares: Floats, peaks: Floats
) -> None:
    """Bytes on the busiest link when neighbouring tiles exchange what overlaps, ``[size]``.

    For regions from ``start`` on. ``tiles[size]`` are the columns of the tile grid, and its rows
    and columns that have outputs; ``shares[size]`` the bytes each way over a row seam and over a
    column seam, for one pair of tiles. Tile ``(k, c)`` lies on position ``k columns + c`` of the
    run. Sizes that are too large have 0. The first entry, of no size, is written last.
    """
    chiplets = len(place)
    peaks[1:] = 0
    # Tiles of one size are among those of the next with as many columns: these are grown.
    by_columns = np.argsort(tiles[:, 0] * (chiplets + 1) + np.arange(chiplets + 1))
    # Pairs of tiles on a link: in row seams, in column seams.
    links = np.zeros((4, rows, cols, 2), dtype=np.int64)
    # By pairs in column seams the most in row seams; as links only gain pairs, what one had with
    # fewer may stay here.
    most = np.zeros(2 * chiplets + 1, dtype=np.int64)
    columns = grown = pairs = 0
    for size in by_columns:
        down, across = shares[size]
        if size < 2 or size > chiplets - start or (down == 0 and across == 0):
            continue
        if tiles[size, 0] != columns:
            columns, grown, pairs = tiles[size, 0], 0, 0
            links[:] = 0
            most[:] = -1
        used_rows, used_columns = tiles[size, 1], tiles[size, 2]
        for k in range(grown, used_rows):
            for c in range(used_columns):
                here = place[start + k * columns + c]
                if k > 0:
                    above = place[start + (k - 1) * columns + c]
                    _add_pair(links, most, here, above, 0)
                    _add_pair(links, most, above, here, 0)
                if c > 0:
                    beside = place[start + k * columns + c - 1]
                    pairs = max(pairs, _add_pair(links, most, here, beside, 1))
                    pairs = max(pairs, _add_pair(links, most, beside, here, 1))
        grown = used_rows
        for meeting in range(pairs + 1):
            if most[meeting] >= 0:
                peaks[size] = max(peaks[size], most[meeting] * down + meeting * across)
    peaks[0] = 0


@loop
def _add_pair(links: Ints, most: Ints, source: Ints, target: Ints, seam: int) -> int:
    """One more pair of a kind of seam; the most pairs in column seams on a link of its route."""
    found = 0
    y, x = source[0], source[1]
    while y != target[0] or x != target[1]:
        direction, next_y, next_x = _next(y, x, target)
        link = links[direction, y, x]
        link[seam] += 1
        most[link[1]] = max(most[link[1]], link[0])
        found = max(found, link[1])
        y, x = next_y, next_x
    return found
