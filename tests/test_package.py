"""Placement and link counts against routes walked link by link."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scope_opt.model.mesh import (
    hilbert_places,
    link_use,
    means_between,
    means_within,
    runs,
    snake_positions,
)

Place = tuple[int, int]
Link = tuple[Place, Place]


def walk(source: Place, target: Place) -> list[Link]:
    """Directed links of the XY route: along the source's row, then along the target's column."""
    links, here = [], source
    for axis in (1, 0):
        while here[axis] != target[axis]:
            moved = list(here)
            moved[axis] += 1 if target[axis] > here[axis] else -1
            after = (moved[0], moved[1])
            links.append((here, after))
            here = after
    return links


def walked(sources: list[Place], targets: list[Place]) -> tuple[int, int]:
    """Pairs on the most loaded link, and links walked by all pairs together."""
    use = Counter(link for source in sources for target in targets for link in walk(source, target))
    return max(use.values(), default=0), sum(use.values())


@st.composite
def meshes_with_sets(draw: st.DrawFn) -> tuple[int, int, list[list[Place]]]:
    """A small mesh and an even number of sets of chiplets, overlaps and empty sets included."""
    rows, cols = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    places = [(y, x) for y in range(rows) for x in range(cols)]
    chosen = st.sets(st.sampled_from(places)).map(sorted)
    pairs = draw(st.lists(st.tuples(chosen, chosen), min_size=1, max_size=3))
    return rows, cols, [one for pair in pairs for one in pair]


@given(meshes_with_sets())
def test_link_use_counts_every_route(drawn: tuple[int, int, list[list[Place]]]) -> None:
    rows, cols, sets = drawn
    masks = np.zeros((len(sets), rows, cols), dtype=np.int64)
    for mask, places in zip(masks, sets, strict=True):
        for place in places:
            mask[place] = 1
    use = link_use(masks[::2], masks[1::2])
    expected = [walked(*pair) for pair in zip(sets[::2], sets[1::2], strict=True)]
    assert list(zip(use.peak, use.total, strict=True)) == expected


@pytest.mark.parametrize("rows", range(1, 18))
@pytest.mark.parametrize("cols", [*range(1, 18), 64])
def test_the_hilbert_like_curve_visits_every_chiplet_by_steps_to_neighbours(
    rows: int, cols: int
) -> None:
    places = hilbert_places(rows, cols)
    assert sorted(places) == [(y, x) for y in range(rows) for x in range(cols)]
    steps = [abs(y - v) + abs(x - u) for (y, x), (v, u) in pairwise(places)]
    # From corner to corner along an odd side, with as many chiplets of both colours of a
    # chessboard, there is no way by neighbours alone.
    odd = max(rows, cols) % 2 == 1 and min(rows, cols) % 2 == 0
    assert sum(step > 1 for step in steps) <= odd
    assert max(steps, default=0) <= 2


def test_snake_order() -> None:
    assert snake_positions(3, 3).tolist() == [[0, 1, 2], [5, 4, 3], [6, 7, 8]]
    assert snake_positions(1, 4).tolist() == [[0, 1, 2, 3]]
    assert snake_positions(3, 1).tolist() == [[0], [1], [2]]


def test_runs_follow_the_snake() -> None:
    first, second = runs(3, 3, np.array([1, 4]), 3).tolist()
    assert first == [[0, 1, 1], [0, 0, 1], [0, 0, 0]]  # positions 1, 2, 3: the turn on the right
    assert second == [[0, 0, 0], [1, 1, 0], [1, 0, 0]]  # positions 4, 5, 6: the turn on the left


@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (1, 5), (4, 1), (2, 3), (3, 3), (4, 4)])
def test_means_over_all_places(rows: int, cols: int) -> None:
    place = {
        int(position): (int(y), int(x))
        for (y, x), position in np.ndenumerate(snake_positions(rows, cols))
    }
    chiplets = rows * cols
    within = means_within(rows, cols)
    assert within.peak_within.shape == within.hops_within.shape == (chiplets + 1,)
    assert within.peak_within[:2].tolist() == within.hops_within[:2].tolist() == [0, 0]
    for size in range(2, chiplets + 1):
        found = []
        for start in range(chiplets - size + 1):
            run = [place[s] for s in range(start, start + size)]
            found.append(walked(run, run))
        starts = len(found)
        peak = Fraction(sum(peak for peak, _ in found), starts)
        hops = Fraction(sum(total for _, total in found), starts * size * (size - 1))
        assert within.peak_within[size] == pytest.approx(float(peak), rel=1e-12)
        assert within.hops_within[size] == pytest.approx(float(hops), rel=1e-12)
    for size in range(1, chiplets):
        following = min(3, chiplets - size)
        found = []
        for start in range(chiplets - size - following + 1):
            run = [place[s] for s in range(start, start + size)]
            after = [place[s] for s in range(start + size, start + size + following)]
            found.append(walked(run, after))
        peak = Fraction(sum(peak for peak, _ in found), len(found))
        hops = Fraction(sum(total for _, total in found), len(found) * size * following)
        assert means_between(rows, cols, size, following) == pytest.approx(
            (float(peak), float(hops)), rel=1e-12
        )


def test_means_of_the_paper_s_smallest_package() -> None:
    # docs/model.md, section 14. Three in a run of the 4x4 mesh: the middle link carries 1*2 pairs,
    # straight or around a corner. All sixteen: a link in the middle of a row carries that row's 2
    # sources left of it times the 8 destinations right of it, one in the middle of a column the 8
    # sources above it times that column's 2 destinations below it: 16.
    peak = means_within(4, 4).peak_within
    assert [peak[size] for size in (1, 3, 8, 16)] == [0, 2, 8, 16]
    assert peak[4] == pytest.approx(46 / 13, rel=1e-12)
