"""Latency tables as continuous piecewise linear functions of the region size, with exact errors.

A table is given at the region sizes that an instance allows; a program with one variable per
breakpoint wants few of them. All three kinds of approximation are a shortest path: every function
of the class goes through points ``(size, value)``, two points are joined if the line between them
stays in a band around the table at every allowed size, and the path with the fewest points wins
(Imai and Iri, Polygonal approximations of a curve, 1988, for the band and the graph).

All comparisons are between integers, so nothing has to be trusted but the arithmetic; errors are
measured on the final integer values.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from scope_opt.model.files import InputError
from scope_opt.model.tables import LIMIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Ints = NDArray[np.int64]

LEVELS = 4
"""Steps between the table and the edge of the band at which a breakpoint's value may lie."""
RUNGS = 64
"""Tolerances tried per factor of two when the number of breakpoints is given."""


class Kind(StrEnum):
    """Where an approximation lies: nowhere above the table, nowhere below, or through it."""

    UNDER = "under"
    OVER = "over"
    INTERPOLATE = "interpolate"


@dataclass(frozen=True)
class Piecewise:
    """Continuous function, linear between breakpoints, with its errors over the allowed sizes."""

    kind: Kind
    sizes: tuple[int, ...]
    """Breakpoints, increasing; the first and the last are those of the domain."""
    values: tuple[int, ...]
    """Picoseconds at the breakpoints."""
    error_ps: Fraction
    """Largest deviation from the table."""
    relative_error: Fraction
    """Largest deviation in parts of the table's value; an entry of 0 counts as 1 ps."""

    def at(self, size: int) -> Fraction:
        """Value in ps at a size between the first and the last breakpoint; `InputError` outside."""
        if not self.sizes[0] <= size <= self.sizes[-1]:
            allowed = f"{self.sizes[0]} to {self.sizes[-1]}"
            raise InputError("size", [f"found {size}; allowed are {allowed}"])
        right = bisect_left(self.sizes, size)
        if self.sizes[right] == size:
            return Fraction(self.values[right])
        left, run = right - 1, self.sizes[right] - self.sizes[right - 1]
        rise = self.values[right] - self.values[left]
        return self.values[left] + Fraction(rise * (size - self.sizes[left]), run)


def approximate(
    table: ArrayLike,
    sizes: Sequence[int],
    *,
    kind: Kind,
    tolerance: Fraction | float | None = None,
    count: int | None = None,
) -> Piecewise:
    """Approximate a table by a continuous piecewise linear function.

    A tolerance ``e`` stands for a band of ``w = min(floor(e * max(table[r], 1)), 2 max(table))``
    ps at every allowed size ``r``, on the side of the kind (both sides for ``INTERPOLATE``); values
    below 0 are excluded. The functions of the class stay in the band at all allowed sizes, their
    breakpoints are allowed sizes, and the value at a breakpoint is the table's for
    ``INTERPOLATE``, else one of ``LEVELS + 1``: the table's value moved by ``floor(w c / LEVELS)``
    ps, ``c = 0..LEVELS``. Bands of at most ``LEVELS`` ps thus admit every integer.

    With ``tolerance``, no function of the class has fewer breakpoints. With ``count``, the
    tolerances tried are 0 and ``(1 + i/RUNGS) 2^k``. The result is of the class of one of them
    and that of the next smaller one has no function with so few breakpoints. For ``INTERPOLATE``
    classes grow with the tolerance, so this is the least; the levels of the other kinds move with
    it, so a much smaller tolerance could in principle do by luck.

    Parameters
    ----------
    table : int array, shape ``(C + 1,)``
        Picoseconds by region size, index 0 unused, none negative.
    sizes : sequence of int
        Allowed region sizes, increasing. Nothing is promised between them.
    tolerance : number
        Largest relative error; as the decimal number written, not the float nearest to it.
    count : int
        Largest number of breakpoints.

    Raises
    ------
    InputError
        For a bad argument, or if ``4 * max(table) * C`` is not below `LIMIT` (int64 products).
    """
    x, f = _points(table, sizes)
    if (tolerance is None) == (count is None):
        raise InputError("approximation", ["give either a tolerance or a count of breakpoints"])
    if tolerance is not None:
        return _within(x, f, kind, _fraction(tolerance))
    assert count is not None
    if count < min(2, len(x)):
        raise InputError("count", [f"found {count}; {len(x)} sizes need at least {min(2, len(x))}"])
    exact = _within(x, f, kind, Fraction(0))
    if len(exact.sizes) <= count:
        return exact
    # Below 1/max the band has no width. At 2 max two breakpoints do: both 0, both on the table,
    # or both at their middle level, between max and 2 max.
    octaves = int(2 * f.max()).bit_length()
    low, high = -RUNGS * octaves - 1, RUNGS * octaves
    best = _within(x, f, kind, _rung(high))
    while high - low > 1:
        middle = (low + high) // 2
        found = _within(x, f, kind, _rung(middle))
        if len(found.sizes) <= count:
            high, best = middle, found
        else:
            low = middle
    return best


def refine(piecewise: Piecewise, table: ArrayLike, sizes: Sequence[int], around: int) -> Piecewise:
    """Make the approximation exact at a region size and at its allowed neighbours.

    These sizes become breakpoints, all old breakpoints stay, and so do the pieces that touch none
    of them; the other pieces get the fewest breakpoints that they need (values as in
    `approximate`). The deviation grows at no allowed size and no value changes side: a new piece is
    confined to the band between the table and the old function, rounded towards the table, and
    the table's own values are in that band, so such pieces exist.
    Refining around every size ends with the table, all allowed sizes being breakpoints.

    Raises
    ------
    InputError
        For a bad table or bad sizes, or if ``around`` is not an allowed size.
    """
    x, f = _points(table, sizes)
    place = int(np.searchsorted(x, around))
    if place == len(x) or x[place] != around:
        raise InputError("around", [f"region size {around} is not one of the allowed sizes"])
    if not set(piecewise.sizes) <= set(x.tolist()):
        raise InputError("sizes", ["a breakpoint of the approximation is not an allowed size"])
    exact = set(range(max(place - 1, 0), min(place + 2, len(x))))
    off = [abs(piecewise.at(r) - entry) for r, entry in zip(x.tolist(), f.tolist(), strict=True)]
    if max(off) != piecewise.error_ps:
        raise InputError("table", ["not the one that was approximated: the error is another"])
    # Whole picoseconds that a value may be off, so that it is nowhere further off than before.
    slack = np.array([int(value) for value in off])
    slack[sorted(exact)] = 0
    kept = [int(index) for index in np.searchsorted(x, piecewise.sizes)]
    anchors = sorted(exact.union(kept))
    breaks, values = [anchors[0]], [_anchor(f, slack, anchors[0], piecewise.kind)]
    for left, right in pairwise(anchors):
        end = _anchor(f, slack, right, piecewise.kind)
        if {left, right}.isdisjoint(exact):
            breaks.append(right)
            values.append(end)
            continue
        part = slice(left, right + 1)
        low, high, choices = _band(f[part], slack[part], piecewise.kind)
        choices[0], choices[-1] = values[-1], end
        inner, at = _fewest(x[part], low, high, choices)
        breaks += [left + index for index in inner[1:]]
        values += at[1:]
    return _measured(x, f, piecewise.kind, breaks, values)


def _points(table: ArrayLike, sizes: Sequence[int]) -> tuple[Ints, Ints]:
    """Allowed sizes and the table there; refuses what `approximate` says it refuses."""
    entries, x = np.asarray(table), np.asarray(sizes)
    for name, array in (("table", entries), ("sizes", x)):
        if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
            raise InputError(name, ["must be a one-dimensional array of integers, not empty"])
    if not len(x) or np.any(np.diff(x) <= 0) or x[0] < 1 or x[-1] >= len(entries):
        raise InputError("sizes", [f"must be increasing, from 1 to at most {len(entries) - 1}"])
    x, f = x.astype(np.int64), entries[x].astype(np.int64)
    if f.min() < 0 or 4 * int(f.max()) * int(x[-1]) >= LIMIT:
        most = (LIMIT - 1) // (4 * int(x[-1]))
        problem = f"entries from {f.min()} to {f.max()} ps; allowed 0 to {most} ps"
        raise InputError("table", [problem])
    return x, f


def _fraction(tolerance: Fraction | float) -> Fraction:
    try:
        value = Fraction(str(tolerance))
    except ValueError:
        value = Fraction(-1)
    if value < 0:
        raise InputError("tolerance", [f"found {tolerance}; allowed are numbers from 0"])
    return value


def _rung(index: int) -> Fraction:
    """Tolerance of a geometric ladder in steps that are exact binary fractions."""
    octave, step = divmod(index, RUNGS)
    return (1 + Fraction(step, RUNGS)) * Fraction(2) ** octave


def _within(x: Ints, f: Ints, kind: Kind, tolerance: Fraction) -> Piecewise:
    """Fewest breakpoints for a tolerance."""
    top = 2 * int(f.max())
    width = [int(min(tolerance * max(entry, 1), top)) for entry in f.tolist()]
    low, high, choices = _band(f, np.array(width, dtype=np.int64), kind)
    return _measured(x, f, kind, *_fewest(x, low, high, choices))


def _band(f: Ints, width: Ints, kind: Kind) -> tuple[Ints, Ints, Ints]:
    """Band of a kind: least and largest values ``(n,)`` and choices at breakpoints ``(n, k)``."""
    below = np.minimum(width, f)
    if kind is Kind.INTERPOLATE:
        return f - below, f + width, f[:, None].copy()
    sign, span = (-1, below) if kind is Kind.UNDER else (1, width)
    steps = span[:, None] * np.arange(LEVELS + 1) // LEVELS
    ends = f + sign * span
    return np.minimum(f, ends), np.maximum(f, ends), f[:, None] + sign * steps


def _anchor(f: Ints, slack: Ints, index: int, kind: Kind) -> int:
    """Value at an old or exact breakpoint; ``slack`` is the whole deviation there."""
    sign = {Kind.UNDER: -1, Kind.OVER: 1, Kind.INTERPOLATE: 0}[kind]
    return int(f[index] + sign * slack[index])


def _fewest(x: Ints, low: Ints, high: Ints, choices: Ints) -> tuple[list[int], list[int]]:
    """Path from the first to the last size with the fewest points; then nearest to the table.

    Parameters
    ----------
    x, low, high : int arrays, shape ``(n,)``
        Sizes and the band, ends included.
    choices : int array, shape ``(n, k)``
        Values a breakpoint may have, the nearest to the table first.

    Returns
    -------
    indices into ``x``, values
    """
    count, levels = choices.shape
    joined = _joined(x, low, high, choices)
    # One point more outweighs all preferences among the values.
    point = count * levels
    cost = np.full((count, levels), count * 2 * point, dtype=np.int64)
    cost[0] = np.arange(levels)
    before = np.zeros((count, levels), dtype=np.int64)
    for right in range(1, count):
        reach = joined[right, :, : right * levels]
        total = np.where(reach, cost[:right].reshape(-1), count * 2 * point)
        before[right] = total.argmin(axis=1)
        cost[right] = total.min(axis=1) + point + np.arange(levels)
    state = (count - 1) * levels + int(cost[-1].argmin())
    states = [state]
    while state >= levels:
        state = int(before[divmod(state, levels)])
        states.append(state)
    states.reverse()
    return [state // levels for state in states], [int(choices.flat[state]) for state in states]


def _joined(x: Ints, low: Ints, high: Ints, choices: Ints) -> NDArray[np.bool_]:
    """Which points may be joined: ``[right, level, left * k + level]``, for all ``left < right``.

    From every point at once: the slopes that pass between the band's ends at the sizes so far are
    an interval, kept as two fractions; it shrinks with each size and its owner is dropped when it
    is empty. A denominator of 0 makes a slope infinite.
    """
    count, levels = choices.shape
    joined = np.zeros((count, levels, count * levels), dtype=np.bool_)
    points = np.arange(count * levels)
    least, least_run = np.full(points.shape, -1), np.zeros_like(points)
    most, most_run = np.full(points.shape, 1), np.zeros_like(points)
    for step in range(1, count):
        here = points // levels + step < count
        points, least, least_run, most, most_run = (
            array[here] for array in (points, least, least_run, most, most_run)
        )
        start, right = choices.reshape(-1)[points], points // levels + step
        run = x[right] - x[right - step]
        rise = choices[right] - start[:, None]
        joined[right, :, points] = (rise * least_run[:, None] >= (least * run)[:, None]) & (
            rise * most_run[:, None] <= (most * run)[:, None]
        )
        lower, upper = low[right] - start, high[right] - start
        steeper = lower * least_run > least * run
        least, least_run = np.where(steeper, lower, least), np.where(steeper, run, least_run)
        flatter = upper * most_run < most * run
        most, most_run = np.where(flatter, upper, most), np.where(flatter, run, most_run)
        alive = least * most_run <= most * least_run
        if not alive.any():
            break
        points, least, least_run, most, most_run = (
            array[alive] for array in (points, least, least_run, most, most_run)
        )
    return joined


def _measured(x: Ints, f: Ints, kind: Kind, breaks: list[int], values: list[int]) -> Piecewise:
    """Function through these points with its errors, in exact arithmetic."""
    worst, relative = Fraction(0), Fraction(0)
    if len(breaks) == 1:
        worst = abs(Fraction(values[0] - int(f[0])))
        relative = worst / max(int(f[0]), 1)
    for (left, right), (start, end) in zip(pairwise(breaks), pairwise(values), strict=True):
        part, run = slice(left, right + 1), int(x[right] - x[left])
        off = start * (x[right] - x[part]) + end * (x[part] - x[left]) - f[part] * run
        assert kind is not Kind.UNDER or off.max() <= 0
        assert kind is not Kind.OVER or off.min() >= 0
        off = np.abs(off)
        worst = max(worst, Fraction(int(off.max()), run))
        scale = np.maximum(f[part], 1)
        relative = max(
            relative,
            *(Fraction(a, b * run) for a, b in zip(off.tolist(), scale.tolist(), strict=True)),
        )
    return Piecewise(kind, tuple(int(x[index]) for index in breaks), tuple(values), worst, relative)
