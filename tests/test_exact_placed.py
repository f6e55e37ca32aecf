"""The exact solver on placed instances: equal to exhaustive search, and its bounds honest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import oracle
import placed_strategies
from hypothesis import HealthCheck, given, settings

from scope_opt.model.instance import Instance
from scope_opt.search.exact.solver import ExactSolver
from scope_opt.solving.result import Result, Status, StopReason
from scope_opt.solving.solver import SolveOptions, solve

if TYPE_CHECKING:
    from scope_opt.solving.solver import SegmentChoice

Json = dict[str, Any]

INSTANCES = Path(__file__).parents[1] / "instances"
TINY = sorted((INSTANCES / "tiny-placed").glob("*.json"))

QUICK = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
SMALL = placed_strategies.placed_instances(max_layers=4, max_chiplets=4)
SIDE = placed_strategies.placed_instances(max_layers=4, max_chiplets=4, constraints=True)


def run(document: Json, segments: SegmentChoice = "dp", solver: str = "exact") -> Result:
    instance = Instance.from_json(json.dumps(document), "test")
    return solve(instance, solver, SolveOptions(segments=segments))


def within_reach(document: Json) -> Json:
    """The instance without the side constraints that the exact solver refuses."""
    present = document.get("constraints", {})
    honoured = {k: v for k, v in present.items() if k in ExactSolver.constraints}
    return {**document, "constraints": honoured}


def linked(document: Json, shared: bool) -> Json:
    """The instance with or without shared links."""
    nop = {**document["package"]["nop"], "shared_links": shared}
    return {**document, "package": {**document["package"], "nop": nop}}


def settled(document: Json, result: Result, segments: str = "free") -> None:
    """The bound is the optimum without links; the objective is one with links, and feasible."""
    assert result.stop_reason is StopReason.COMPLETED
    without = oracle.best(linked(document, shared=False), segments)
    best = oracle.best(document, segments)
    if without is None:
        assert best is None
        assert result.status is Status.INFEASIBLE
        assert result.explanation
        return
    assert best is not None
    assert result.bound_ps == without[1]
    assert result.objective_ps is not None
    assert result.objective_ps >= best[1]
    assert (result.status is Status.OPTIMAL) == (result.objective_ps == without[1])
    if result.status is Status.FEASIBLE:
        assert "links" in result.explanation[0]
    if not document["package"]["nop"].get("shared_links", True):
        assert result.status is Status.OPTIMAL


@QUICK
@given(SMALL)
def test_equals_exhaustive_search(document: Json) -> None:
    document = within_reach(document)
    settled(document, run(document))
    settled(document, run(document, "single"), "single")


@QUICK
@given(SIDE)
def test_equals_exhaustive_search_under_side_constraints(document: Json) -> None:
    document = within_reach(document)
    settled(document, run(document))
