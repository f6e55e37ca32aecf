"""How long the work of a solve takes; `make bench` runs these and nothing else does."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Literal

import pytest

from scope_opt.cost import layers
from scope_opt.cost.build import build_tables
from scope_opt.cost.nop import nop_coefficients
from scope_opt.model import mesh, places
from scope_opt.model.generate import paper_instance
from scope_opt.search.census.sampling import sample
from scope_opt.solving.solver import SolveOptions, solve

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

pytestmark = pytest.mark.bench


def forget() -> None:
    """Empty the caches of the cost model, which would make every round but the first free."""
    cached = (
        *(layers.tilings, nop_coefficients, mesh.means_within, mesh.means_between),
        *(layers._grids, mesh._zigzag, places._count),
    )
    for function in cached:
        function.cache_clear()


@pytest.mark.parametrize("nop", ["regressed", "placed"])
@pytest.mark.parametrize("chiplets", [64, 256, 512, 1024, 2048, 4096])
def test_tables(
    benchmark: BenchmarkFixture, chiplets: int, nop: Literal["regressed", "placed"]
) -> None:
    """Tables of the largest network; beside the time the memory they take at most."""
    build_tables(paper_instance("alexnet", 4, nop=nop))  # compiles
    instance = paper_instance("resnet152", chiplets, nop=nop)
    tables = benchmark.pedantic(build_tables, args=(instance,), setup=forget, rounds=3)
    assert tables.layers == 156
    forget()
    tracemalloc.start()
    build_tables(instance)
    benchmark.extra_info["peak_bytes"] = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("network", "chiplets", "rounds"), [("resnet50", 64, 3), ("resnet152", 256, 1)]
)
def test_paper_search(
    benchmark: BenchmarkFixture, network: str, chiplets: int, rounds: int
) -> None:
    solve(paper_instance("alexnet", 16), "scope")  # compiles
    instance = paper_instance(network, chiplets)
    options = SolveOptions(segments="balanced")
    result = benchmark.pedantic(
        solve, args=(instance, "scope", options), setup=forget, rounds=rounds
    )
    assert result.schedule is not None
    benchmark.extra_info["objective_ps"] = result.objective_ps


@pytest.mark.parametrize(("network", "chiplets"), [("resnet18", 64), ("resnet152", 256)])
def test_a_sample_of_10000_schedules(
    benchmark: BenchmarkFixture, network: str, chiplets: int
) -> None:
    instance = paper_instance(network, chiplets, overflow="stream")
    arguments = (instance, build_tables(instance), 10**10, 10_000)
    found = benchmark.pedantic(sample, args=arguments, rounds=3, warmup_rounds=1)
    assert found.drawn == 10_000
