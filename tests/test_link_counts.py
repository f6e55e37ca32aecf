"""Link counts of all regions against routes walked one by one, for any order of positions."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers import read
from hypothesis import given
from hypothesis import strategies as st
from test_package import walk

from scope_opt.cost.build import build_tables
from scope_opt.model import places as places_module
from scope_opt.model.generate import paper_instance
from scope_opt.model.mesh import period, places
from scope_opt.model.zoo import paper_package
from scope_opt.solving.solver import SolveOptions, solve

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scope_opt.model.instance import Instance
    from scope_opt.model.places import PlacedTables

Place = tuple[int, int]


@st.composite
def orders(draw: st.DrawFn) -> tuple[int, int, str | list[Place]]:
    """A small mesh and how its positions run."""
    rows, cols = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    stripes = [f"blocks-{width}" for width in range(1, cols + 1) if cols % width == 0]
    anyhow = st.permutations([(y, x) for y in range(rows) for x in range(cols)])
    return rows, cols, draw(st.sampled_from(["zigzag", "hilbert", *stripes]) | anyhow)


def placed(rows: int, cols: int, order: str | list[Place], gather: str = "relay") -> Instance:
    """Two convolutions whose tiles have seams both ways, down and across differently."""
    found = paper_instance("alexnet", rows * cols, rows=rows, cols=cols, nop="placed")
    document = found.model_dump(mode="json", by_alias=True, exclude_none=True)
    document["package"] |= {"order": order}
    document["package"]["nop"] |= {"gather": gather}
    return read(document)


def tables_of(instance: Instance) -> PlacedTables:
    found = build_tables(instance).placed
    assert found is not None
    return found


def busiest(routes: Iterable[tuple[Place, Place, float]]) -> float:
    """The most that a link carries, of routes with what each carries."""
    loads: Counter[object] = Counter()
    for source, target, amount in routes:
        for link in walk(source, target):
            loads[link] += amount  # type: ignore[assignment]
    return max(loads.values(), default=0)


@given(orders(), st.data())
def test_counts_of_every_region(
    drawn: tuple[int, int, str | list[Place]], data: st.DataObject
) -> None:
    rows, cols, _ = drawn
    instance = placed(*drawn)
    assert instance.package is not None
    found, unicast = tables_of(instance), tables_of(placed(*drawn, gather="unicast"))
    place = [(int(y), int(x)) for y, x in places(instance.package)]
    chiplets = rows * cols
    start = data.draw(st.integers(0, chiplets - 1))
    size = data.draw(st.integers(1, chiplets - start))
    run = place[start : start + size]
    phase = found.phase[start]
    exchanged = busiest((a, b, 1) for a in run for b in run)
    assert found.exchange[phase, size] == unicast.gather[phase, size] == exchanged
    steps = list(pairwise(run))
    forward = [(a, b, k) for k, (a, b) in enumerate(steps, start=1)]
    back = [(b, a, size - k) for k, (a, b) in enumerate(steps, start=1)]
    assert found.gather[phase, size] == busiest([*forward, *back])
    for following in range(1, chiplets - start - size + 1):
        after = place[start + size : start + size + following]
        scattered = busiest((a, b, 1) for a in run for b in after)
        assert found.scatter[phase, size, following] == scattered
        assert found.scatter_count(start, size, following) == scattered
    for shape, seams in enumerate(found.seams):
        columns, used_rows, used_columns = seams.tiles[size].tolist()
        down, across = seams.shares[size].tolist()
        grid = {(k, c): run[k * columns + c] for k in range(used_rows) for c in range(used_columns)}
        pairs = [
            (here, grid[k + dk, c + dc], share)
            for (k, c), here in grid.items()
            for dk, dc, share in ((1, 0, down), (0, 1, across))
            if (k + dk, c + dc) in grid
        ]
        both = [*pairs, *((b, a, share) for a, b, share in pairs)]
        assert found.halo(shape, start, size) == pytest.approx(busiest(both), rel=1e-12)
        assert found.halo(shape, start, size) <= seams.one_way_bytes * (1 + 1e-12)
    assert np.array_equal(found.halos() >= 0, np.ones_like(found.halo_bytes, dtype=bool))


@pytest.mark.parametrize(
    ("rows", "cols", "order", "expected"),
    [
        (1, 1, "zigzag", 1),
        (1, 8, "zigzag", 1),  # every run in a row is like every other
        (8, 1, "zigzag", 1),
        (4, 5, "zigzag", 5),
        (4, 6, "blocks-2", 8),  # a stripe
        (
            3,
            3,
            [(1, 1), (0, 0), (2, 2), (0, 1), (0, 2), (1, 0), (2, 0), (1, 2), (2, 1)],
            7,
        ),  # the last step is the first, turned
    ],
)
def test_period_of_an_order(rows: int, cols: int, order: str | list[Place], expected: int) -> None:
    package = placed(rows, cols, order).package
    assert package is not None
    assert period(places(package)) == expected


@pytest.mark.parametrize("solver", ["anneal", "exact"])
def test_counts_made_one_by_one_give_the_same_schedule(
    solver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = placed(3, 4, "blocks-2")
    options = SolveOptions(seed=1, iterations=2000) if solver == "anneal" else SolveOptions()
    expected = solve(instance, solver, options)
    monkeypatch.setattr(places_module, "MOST_SCATTER_COUNTS", 0)
    found = solve(instance, solver, options)
    assert found.objective_ps == expected.objective_ps
    assert found.schedule == expected.schedule


def test_the_largest_package() -> None:
    """Tables of 4,096 chiplets, of which nothing grows with their square."""
    package = paper_package(4096, nop="placed")
    assert (package.mesh_rows, package.mesh_cols) == (64, 64)
    found = tables_of(paper_instance("alexnet", 4096, nop="placed"))
    assert found.gather[0, 4096] == 4095
    # From one half to the other: over a column's middle link go all sources above, 2048, to the
    # column's 32 targets below.
    assert found.scatter_count(0, 2048, 2048) == 2048 * 32
    assert not found.scatter_fits
