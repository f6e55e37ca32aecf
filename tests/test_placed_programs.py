"""Path programs on placed instances: equal to exhaustive search, shared links included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import oracle
import placed_strategies
import pytest
import strategies
from helpers import solve_with
from hypothesis import event, given, settings
from hypothesis import strategies as st

from scope_opt.model.instance import SHAPE
from scope_opt.solving.result import Result, Status, StopReason

Json = dict[str, Any]

INSTANCES = Path(__file__).parents[1] / "instances"
TINY = sorted((INSTANCES / "tiny-placed").glob("*.json"))
SOLVERS = ["interval-milp", "cp-sat"]


def within_reach(document: Json) -> Json:
    """The instance without the side constraints that path programs have no rows for."""
    present = document.get("constraints", {})
    return {**document, "constraints": {k: v for k, v in present.items() if k in SHAPE}}


def with_nop(document: Json, **keys: Any) -> Json:
    nop = {**document["package"]["nop"], **keys}
    return {**document, "package": {**document["package"], "nop": nop}}


@st.composite
def crowded(draw: st.DrawFn) -> Json:
    """Instances in which what transfers share decides.

    Several clusters, whose chiplets lie in each other's way, on slow links; weights and activations
    seldom matter.
    """
    document: Json = draw(placed_strategies.placed_instances(max_layers=4, max_chiplets=6))
    package = {k: v for k, v in document["package"].items() if k != "activation_buffer_bytes"}
    places = [[y, x] for y in range(package["mesh_rows"]) for x in range(package["mesh_cols"])]
    package["order"] = draw(st.permutations(places))
    package["chiplet"] = {**package["chiplet"], "weight_buffer_bytes": 1 << 20}
    most = min(len(places), len(document["network"]["layers"]), 3)
    limits = {"min_clusters": draw(st.integers(1, most))}
    document = {**document, "package": package, "constraints": limits}
    speed = draw(st.sampled_from([1e6, 1e7, 1e8, 4e8]))
    return with_nop(document, bandwidth_bytes_per_s=speed, shared_links=True)


def check(document: Json, result: Result, segments: str = "free") -> None:
    """Proved, and as good as the best of all schedules."""
    assert result.stop_reason is StopReason.COMPLETED
    best = oracle.best(document, segments)
    if best is None:
        assert result.status is Status.INFEASIBLE
        assert result.explanation
        return
    assert result.objective_ps == best[1]
    assert result.status is Status.OPTIMAL


@pytest.mark.parametrize("solver", SOLVERS)
@settings(max_examples=strategies.share(2))
@given(document=placed_strategies.placed_instances(4, 4, constraints=True))
def test_equals_exhaustive_search(solver: str, document: Json) -> None:
    document = within_reach(document)
    check(document, solve_with(solver, document))


@pytest.mark.parametrize("solver", SOLVERS)
@settings(max_examples=strategies.share(2))
@given(document=crowded())
def test_equals_exhaustive_search_where_links_are_slow(solver: str, document: Json) -> None:
    document = within_reach(document)
    result = solve_with(solver, document, "single")
    check(document, result, "single")
    without = oracle.best(with_nop(document, shared_links=False), "single")
    if without is not None:
        event(f"links decide: {without[1] < (result.objective_ps or 0)}")
        event(f"programs: {result.proof is not None and result.proof.programs > 0}")
