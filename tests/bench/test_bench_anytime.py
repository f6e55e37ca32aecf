"""How good `exact` is when it is stopped early: gaps over time, on instances that take long."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from scope_opt.model.generate import paper_instance
from scope_opt.solving.metrics import milestones, primal_dual_integral, time_to_gap
from scope_opt.solving.solver import SolveOptions, solve

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

pytestmark = pytest.mark.bench

LIMIT_S = 30.0


@pytest.mark.parametrize(
    ("network", "chiplets", "samples"),
    [("resnet50", 64, 64), ("resnet152", 256, 64), ("resnet152", 256, 10_000)],
)
def test_stopped_early(
    benchmark: BenchmarkFixture, network: str, chiplets: int, samples: int
) -> None:
    solve(paper_instance("alexnet", 16), "exact")  # compiles
    instance = paper_instance(network, chiplets).model_copy(update={"samples": samples})
    options = SolveOptions(time_limit_s=LIMIT_S)
    result = benchmark.pedantic(solve, args=(instance, "exact", options), rounds=1)
    assert result.schedule is not None
    trajectory = result.trajectory
    benchmark.extra_info.update(
        gap=result.gap,
        primal_dual_integral_s=primal_dual_integral(trajectory, LIMIT_S),
        first_s=milestones(trajectory).first_s,
        to_5_percent_s=time_to_gap(trajectory, 0.05),
        to_1_percent_s=time_to_gap(trajectory, 0.01),
    )
