"""Piecewise linear tables: errors and sides by definition, optimality by enumeration."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations, pairwise, product
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import strategies
from documents import INSTANCES
from hypothesis import given, settings
from hypothesis import strategies as st

from formulations.compact_milp.piecewise import LEVELS, RUNGS, Kind, Piecewise, approximate, refine
from scope_opt.cost.build import build_tables
from scope_opt.model.files import InputError
from scope_opt.model.instance import Instance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAPER = INSTANCES / "paper"

KINDS = st.sampled_from(Kind)
TOLERANCES = st.sampled_from([0, 0.001, 0.01, 0.05, 0.3, 0.8, 1, 3, Fraction(1, 7)])


@st.composite
def tables(
    draw: st.DrawFn, most_sizes: int, most_ps: int = 10**13
) -> tuple[list[int], tuple[int, ...]]:
    """A table (index = region size) and the allowed sizes."""
    step = draw(st.sampled_from([1, 1, 2, 3]))
    count = draw(st.integers(1, most_sizes))
    sizes = tuple(range(step, step * count + 1, step))
    if draw(st.booleans()):
        left_out = draw(st.sets(st.sampled_from(sizes)))
        sizes = tuple(size for size in sizes if size not in left_out) or sizes
    top = draw(st.sampled_from([3, 12, 1000, most_ps]))
    ragged = [draw(st.integers(0, min(top, most_ps))) for _ in range(step * count)]
    smooth = [min(top, most_ps) // (r + draw(st.integers(0, 1))) for r in range(1, len(ragged) + 1)]
    # The unused entry must not matter, nor those at sizes that are not allowed.
    return [10**15, *draw(st.sampled_from([ragged, smooth, smooth[::-1]]))], sizes


# --- The same, by definition ---------------------------------------------------------------------


def value_at(points: list[tuple[int, int]], size: int) -> Fraction:
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 <= size <= x1:
            return y0 + Fraction(size - x0, x1 - x0) * (y1 - y0)
    ((x, y),) = points
    assert x == size
    return Fraction(y)


def points_of(piecewise: Piecewise) -> list[tuple[int, int]]:
    return list(zip(piecewise.sizes, piecewise.values, strict=True))


def errors(points: list[tuple[int, int]], table: Any, sizes: tuple[int, ...]) -> list[Fraction]:
    return [value_at(points, size) - int(table[size]) for size in sizes]


def check(piecewise: Piecewise, table: Any, sizes: tuple[int, ...]) -> None:
    """Domain, side, continuity at breakpoints and both errors."""
    assert piecewise.sizes[0] == sizes[0]
    assert piecewise.sizes[-1] == sizes[-1]
    assert set(piecewise.sizes) <= set(sizes)
    assert list(piecewise.sizes) == sorted(set(piecewise.sizes))
    assert all(isinstance(value, int) and value >= 0 for value in piecewise.values)
    points = points_of(piecewise)
    off = errors(points, table, sizes)
    assert [piecewise.at(size) for size in sizes] == [value_at(points, size) for size in sizes]
    if piecewise.kind is Kind.UNDER:
        assert max(off) <= 0
    elif piecewise.kind is Kind.OVER:
        assert min(off) >= 0
    else:
        assert all(value == table[size] for size, value in points)
    assert piecewise.error_ps == max(map(abs, off))
    relative = [
        abs(value) / max(int(table[size]), 1) for value, size in zip(off, sizes, strict=True)
    ]
    assert piecewise.relative_error == max(relative)


def widths(table: list[int], sizes: tuple[int, ...], tolerance: Any) -> dict[int, int]:
    """Width of the band on one side, in ps, by size."""
    top = 2 * max(table[size] for size in sizes)
    return {s: min(int(Fraction(str(tolerance)) * max(table[s], 1)), top) for s in sizes}


def choices(table: list[int], width: dict[int, int], size: int, kind: Kind) -> set[int]:
    """Values that a breakpoint may have."""
    if kind is Kind.INTERPOLATE:
        return {table[size]}
    if kind is Kind.UNDER:
        span, sign = min(width[size], table[size]), -1
    else:
        span, sign = width[size], 1
    return {table[size] + sign * (span * c // LEVELS) for c in range(LEVELS + 1)}


def belongs(
    points: list[tuple[int, int]],
    table: list[int],
    sizes: tuple[int, ...],
    kind: Kind,
    tolerance: Any,
) -> bool:
    """Whether the function through the points is in the class of a tolerance."""
    width = widths(table, sizes, tolerance)
    if any(value not in choices(table, width, size, kind) for size, value in points):
        return False
    return all(
        -(0 if kind is Kind.OVER else width[s]) <= off <= (0 if kind is Kind.UNDER else width[s])
        for s, off in zip(sizes, errors(points, table, sizes), strict=True)
    )


def brute_fewest(table: list[int], sizes: tuple[int, ...], kind: Kind, tolerance: Any) -> int:
    """Fewest breakpoints over every subset of the sizes and every choice of values."""
    width = widths(table, sizes, tolerance)
    for count in range(1, len(sizes) + 1):
        for chosen in subsets(sizes, count):
            for values in product(*(choices(table, width, size, kind) for size in chosen)):
                points = list(zip(chosen, values, strict=True))
                if belongs(points, table, sizes, kind, tolerance):
                    return count
    raise AssertionError("the table itself is in the class")


def subsets(sizes: tuple[int, ...], count: int) -> Iterator[tuple[int, ...]]:
    """Subsets of that many sizes with the first and the last."""
    if count == 1:
        if len(sizes) == 1:
            yield sizes
        return
    for inner in combinations(sizes[1:-1], count - 2):
        yield (sizes[0], *inner, sizes[-1])


# --- Approximations ------------------------------------------------------------------------------


@given(tables(30), KINDS, TOLERANCES)
def test_tolerance_holds_at_every_allowed_size(drawn: Any, kind: Kind, tolerance: Any) -> None:
    table, sizes = drawn
    found = approximate(table, sizes, kind=kind, tolerance=tolerance)
    check(found, table, sizes)
    assert found.kind is kind
    assert found.relative_error <= Fraction(str(tolerance))
    if tolerance == 0:
        assert found.error_ps == 0


@settings(max_examples=strategies.share(2))
@given(tables(12), KINDS, st.integers(2, 13))
def test_count_holds(drawn: Any, kind: Kind, count: int) -> None:
    table, sizes = drawn
    found = approximate(table, sizes, kind=kind, count=count)
    check(found, table, sizes)
    assert len(found.sizes) <= count
    if count >= len(sizes):
        assert found.error_ps == 0


@given(tables(5), KINDS, TOLERANCES)
def test_no_function_has_fewer_breakpoints(drawn: Any, kind: Kind, tolerance: Any) -> None:
    table, sizes = drawn
    found = approximate(table, sizes, kind=kind, tolerance=tolerance)
    assert len(found.sizes) == brute_fewest(table, sizes, kind, tolerance)


def test_convex_table() -> None:
    table = [0, 100, 50, 33, 25, 20, 17, 14, 12]
    for kind in Kind:
        found = approximate(table, range(1, 9), kind=kind, tolerance=0.1)
        assert len(found.sizes) == brute_fewest(table, tuple(range(1, 9)), kind, 0.1)
    assert len(approximate(table, range(1, 9), kind=Kind.UNDER, tolerance=0).sizes) == 7
    assert len(approximate(table, range(1, 9), kind=Kind.UNDER, tolerance=0.1).sizes) == 5


LADDER = [
    Fraction(0),
    *((1 + Fraction(i, RUNGS)) * Fraction(2) ** k for k in range(-8, 6) for i in range(RUNGS)),
]
"""Tolerances tried for a given number of breakpoints, as far as the tables here need them."""


@given(tables(7), st.integers(2, 4))
def test_interpolation_has_the_least_error(drawn: Any, count: int) -> None:
    table, sizes = drawn
    found = approximate(table, sizes, kind=Kind.INTERPOLATE, count=count)
    # Bands are whole picoseconds wide, tolerances a ladder: the least band that holds, one rung up.
    least = min(
        max(
            Fraction(ceil(abs(value)), max(table[size], 1))
            for value, size in zip(
                errors([(s, table[s]) for s in chosen], table, sizes), sizes, strict=True
            )
        )
        for fewer in range(1, count + 1)
        for chosen in subsets(sizes, min(fewer, len(sizes)))
    )
    assert found.relative_error <= least * (1 + Fraction(1, RUNGS))


@pytest.mark.parametrize("kind", [Kind.UNDER, Kind.OVER])
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("ragged", [False, True])
def test_one_rung_less_is_not_enough(kind: Kind, count: int, ragged: bool) -> None:
    sizes = tuple(range(1, 7))
    table = [0, *(10**9 // r + ragged * (r % 3) * 10**8 for r in sizes)]
    found = approximate(table, sizes, kind=kind, count=count)
    points = points_of(found)
    # Values this large tell the tolerance whose levels they are on.
    place = next(i for i, e in enumerate(LADDER) if belongs(points, table, sizes, kind, e))
    assert brute_fewest(table, sizes, kind, LADDER[place]) <= count
    assert brute_fewest(table, sizes, kind, LADDER[place - 1]) > count


def test_two_breakpoints_always_do() -> None:
    table, sizes = [0, 1, 10, 0, 10, 0, 1], tuple(range(1, 7))
    for kind in Kind:
        found = approximate(table, sizes, kind=kind, count=2)
        check(found, table, sizes)
        assert found.sizes == (1, 6)


@settings(max_examples=strategies.share(2))
@given(tables(4, most_ps=6), KINDS, st.integers(2, 3))
def test_the_next_smaller_tolerance_needs_more(drawn: Any, kind: Kind, count: int) -> None:
    table, sizes = drawn
    found = approximate(table, sizes, kind=kind, count=count)
    fewest: dict[Any, int] = {}  # by band: most tolerances have that of the next smaller one
    enough = []
    for tolerance in LADDER:
        band = tuple(widths(table, sizes, tolerance).values())
        if band not in fewest:
            fewest[band] = brute_fewest(table, sizes, kind, tolerance)
        enough.append(fewest[band] <= count)
    before = [False, *enough[:-1]]
    turns = [e for e, now, then in zip(LADDER, enough, before, strict=True) if now and not then]
    points = points_of(found)
    assert any(belongs(points, table, sizes, kind, tolerance) for tolerance in turns)


def test_zero_entries_count_as_one_picosecond() -> None:
    found = approximate([0, 0, 1, 0], (1, 2, 3), kind=Kind.OVER, count=2)
    assert found.error_ps == found.relative_error == 1
    assert len(approximate([0] * 9, range(1, 9), kind=Kind.UNDER, tolerance=0).sizes) == 2


# --- Refinement ----------------------------------------------------------------------------------


@given(tables(12), KINDS, TOLERANCES, st.data())
def test_refining_is_exact_around_and_nowhere_worse(
    drawn: Any, kind: Kind, tolerance: Any, data: st.DataObject
) -> None:
    table, sizes = drawn
    old = approximate(table, sizes, kind=kind, tolerance=tolerance)
    for _ in range(2):
        place = data.draw(st.integers(0, len(sizes) - 1))
        new = refine(old, table, sizes, sizes[place])
        check(new, table, sizes)
        near = sizes[max(place - 1, 0) : place + 2]
        assert set(near) | set(old.sizes) <= set(new.sizes)
        assert all(new.at(size) == table[size] for size in near)
        assert all(abs(new.at(s) - table[s]) <= abs(old.at(s) - table[s]) for s in sizes)
        old = new


@given(tables(12), KINDS, TOLERANCES)
def test_refining_everywhere_gives_the_table(drawn: Any, kind: Kind, tolerance: Any) -> None:
    table, sizes = drawn
    found = approximate(table, sizes, kind=kind, tolerance=tolerance)
    for size in sizes:
        found = refine(found, table, sizes, size)
    assert found.sizes == sizes
    assert found.values == tuple(table[size] for size in sizes)
    assert found.error_ps == found.relative_error == 0


def test_refining_leaves_distant_pieces_alone() -> None:
    table = [0, *(10**6 // r for r in range(1, 65))]
    old = approximate(table, range(1, 65), kind=Kind.UNDER, tolerance=0.01)
    new = refine(old, table, range(1, 65), 2)
    untouched = [size for size in old.sizes if size > 20]
    assert len(untouched) > 2
    assert [new.at(s) for s in range(21, 65)] == [old.at(s) for s in range(21, 65)]
    assert len(new.sizes) < len(old.sizes) + 8


# --- Tables of the paper -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", Kind)
def test_tables_of_resnet50(kind: Kind) -> None:
    text = (PAPER / "resnet50-64.json").read_text()
    built = build_tables(Instance.from_json(text, "resnet50-64"))
    arrays = (
        *(built.compute_ps, built.gather_ps, built.within_ps),
        *(built.send_ps, built.receive_ps),
    )
    rows = np.unique(np.concatenate([a.reshape(-1, built.chiplets + 1) for a in arrays]), axis=0)
    for sizes in (tuple(range(1, 65)), tuple(range(4, 65, 4))):
        for row in rows:
            found = approximate(row, sizes, kind=kind, tolerance=0.01)
            check(found, row, sizes)
            assert found.relative_error <= Fraction(1, 100)


# --- Bad arguments -------------------------------------------------------------------------------

TABLE = [0, 4, 3, 9]


@pytest.mark.parametrize(
    ("field", "call"),
    [
        ("approximation", lambda: approximate(TABLE, (1, 2), kind=Kind.UNDER)),
        (
            "approximation",
            lambda: approximate(TABLE, (1, 2), kind=Kind.UNDER, tolerance=0.1, count=2),
        ),
        ("tolerance", lambda: approximate(TABLE, (1, 2), kind=Kind.UNDER, tolerance=-0.1)),
        ("tolerance", lambda: approximate(TABLE, (1, 2), kind=Kind.UNDER, tolerance=float("nan"))),
        ("count", lambda: approximate(TABLE, (1, 2), kind=Kind.UNDER, count=1)),
        ("count", lambda: approximate(TABLE, (1,), kind=Kind.UNDER, count=0)),
        ("sizes", lambda: approximate(TABLE, (2, 1), kind=Kind.UNDER, count=2)),
        ("sizes", lambda: approximate(TABLE, (1, 1), kind=Kind.UNDER, count=2)),
        ("sizes", lambda: approximate(TABLE, (0, 1), kind=Kind.UNDER, count=2)),
        ("sizes", lambda: approximate(TABLE, (1, 4), kind=Kind.UNDER, count=2)),
        ("sizes", lambda: approximate(TABLE, (), kind=Kind.UNDER, count=2)),
        ("table", lambda: approximate([0, 1.5], (1,), kind=Kind.UNDER, count=2)),
        ("table", lambda: approximate([0, -1], (1,), kind=Kind.UNDER, count=2)),
        ("table", lambda: approximate([0, 2**60], (1,), kind=Kind.UNDER, count=2)),
    ],
)
def test_bad_arguments(field: str, call: Callable[[], Piecewise]) -> None:
    with pytest.raises(InputError) as refused:
        call()
    assert refused.value.source == field


def test_bad_refinements() -> None:
    sizes = (1, 2, 3)
    found = approximate(TABLE, sizes, kind=Kind.UNDER, count=2)
    for table, allowed, around in (
        (TABLE, sizes, 4),
        (TABLE, (1, 3), 2),
        (TABLE, (1, 2), 1),
        ([0, 4, 3, 8], sizes, 1),
    ):
        with pytest.raises(InputError):
            refine(found, table, allowed, around)
    for size in (0, 4):
        with pytest.raises(InputError):
            found.at(size)
