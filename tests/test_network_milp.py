"""The network program: equal to exhaustive search, with bounds proved in integers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import oracle
import placed_strategies
import pytest
import strategies
from helpers import agree, read, solve_with
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scope_opt.solving.solver import SolveOptions, solve

pytest.importorskip("highspy", reason="HiGHS is not installed", exc_type=ImportError)
pytest.importorskip("ortools", reason="OR-tools is not installed", exc_type=ImportError)

from formulations.network_milp.solver import NetworkMilpSolver
from formulations.tuning import DEFAULT, Tuning

if TYPE_CHECKING:
    from documents import Json

    from scope_opt.solving.result import Result
    from scope_opt.solving.solver import SegmentChoice

SMALL = strategies.table_instances(max_layers=4, max_chiplets=4)
SMALL |= strategies.physical_instances(max_layers=4, max_chiplets=4)
SMALL |= placed_strategies.unlimited_instances()
SIDE = strategies.table_instances(max_layers=4, max_chiplets=4, constraints=True)
MEDIUM = strategies.table_instances(max_layers=6, max_chiplets=6)
MEDIUM |= strategies.physical_instances(max_layers=6, max_chiplets=6)
TUNINGS = st.builds(
    Tuning,
    network_ratio=st.sampled_from([1.05, 1.2, 3.0, 100.0]),
    network_rise=st.sampled_from([1, 8, 50]),
    network_tries=st.integers(1, 3),
    network_every=st.sampled_from([1, 3, 100]),
    network_small=st.sampled_from([0, 5, 1500]),
)
"""Effort goes elsewhere; answers must be the same."""


def run(
    document: Json,
    segments: SegmentChoice | None = None,
    tuning: Tuning = DEFAULT,
    **options: Any,
) -> Result:
    return solve_with(NetworkMilpSolver(tuning), document, segments, **options)


@settings(max_examples=strategies.share(1))
@given(document=SMALL, choice=st.sampled_from(["free", "single"]), tuning=TUNINGS)
def test_equals_exhaustive_search(document: Json, choice: str, tuning: Tuning) -> None:
    result = run(document, "single" if choice == "single" else None, tuning)
    agree(document, result, oracle.best(document, choice))


@settings(max_examples=strategies.share(1))
@given(document=SIDE, choice=st.sampled_from(["free", "single"]), tuning=TUNINGS)
def test_equals_exhaustive_search_under_side_constraints(
    document: Json, choice: str, tuning: Tuning
) -> None:
    assume(choice == "free" or "fixed_segments" not in document["constraints"])
    result = run(document, "single" if choice == "single" else None, tuning)
    agree(document, result, oracle.best(document, choice))


@settings(max_examples=strategies.share(2))
@given(document=MEDIUM, data=st.data())
def test_equals_the_exact_solver(document: Json, data: st.DataObject) -> None:
    choice = data.draw(strategies.segment_choices(len(read(document).layer_names)))
    result = run(document, choice, data.draw(TUNINGS))
    exact = solve(read(document), "exact", SolveOptions(segments=choice))
    assert result.status is exact.status
    assert result.objective_ps == exact.objective_ps
