"""How long proofs take, with the paper's search on the same instances to compare with."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from scope_opt.cost.build import build_tables
from scope_opt.model.generate import paper_instance
from scope_opt.model.instance import Instance
from scope_opt.search.exact.solver import ExactSolver
from scope_opt.search.paper.solver import ScopeSolver
from scope_opt.solving.monitor import Monitor
from scope_opt.solving.solver import SolveOptions

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from scope_opt.solving.solver import SegmentChoice, Solver

pytestmark = pytest.mark.bench


@pytest.mark.parametrize(
    ("network", "chiplets", "choice", "solver"),
    [
        pytest.param("resnet152", 256, "single", ExactSolver, id="resnet152-256-exact-single"),
        pytest.param("resnet152", 256, "balanced", ScopeSolver, id="resnet152-256-scope"),
        pytest.param("resnet50", 64, "dp", ExactSolver, id="resnet50-64-exact-free"),
        pytest.param("resnet152", 256, "dp", ExactSolver, id="resnet152-256-exact-free"),
        pytest.param("resnet50", 64, "balanced", ScopeSolver, id="resnet50-64-scope"),
    ],
)
def test_search(
    benchmark: BenchmarkFixture,
    network: str,
    chiplets: int,
    choice: SegmentChoice,
    solver: type[Solver],
) -> None:
    small = paper_instance("alexnet", 16)
    solver().run(small, build_tables(small), SolveOptions(), Monitor())  # compiles
    instance = paper_instance(network, chiplets)
    tables = build_tables(instance)
    options = SolveOptions(segments=choice)

    def search() -> Monitor:
        monitor = Monitor()
        solver().run(instance, tables, options, monitor)
        return monitor

    monitor = benchmark.pedantic(search, rounds=3)
    assert monitor.objective is not None
    if solver is ExactSolver:
        assert monitor.bound == monitor.objective
    benchmark.extra_info["objective_ps"] = monitor.objective
    benchmark.extra_info["bound_ps"] = monitor.bound


ENCODER = "encoder-96blocks-1024wide-16heads-4096hidden-384tokens"
"""768 layers"""


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("network", "chiplets", "choice"),
    [
        pytest.param("resnet101", 256, "dp", id="resnet101-256-free"),
        pytest.param("resnet152", 256, "dp", id="resnet152-256-free"),
        pytest.param("resnet152", 2048, "single", id="resnet152-2048-single"),
        pytest.param(ENCODER, 256, "dp", id="encoder-256-free"),
        pytest.param(ENCODER, 2048, "single", id="encoder-2048-single"),
    ],
)
def test_threads(
    benchmark: BenchmarkFixture, network: str, chiplets: int, choice: SegmentChoice, threads: int
) -> None:
    """Wall time of the same proof in one and two threads."""
    small = paper_instance("alexnet", 16)
    ExactSolver().run(small, build_tables(small), SolveOptions(threads=threads), Monitor())
    instance = paper_instance(network, chiplets)
    tables = build_tables(instance)
    monitor = Monitor()
    options = SolveOptions(segments=choice, threads=threads)
    began = time.process_time()
    benchmark.pedantic(ExactSolver().run, args=(instance, tables, options, monitor), rounds=1)
    benchmark.extra_info["cpu_s"] = time.process_time() - began
    assert monitor.objective is not None
    assert monitor.bound == monitor.objective


def test_all_paper_instances(benchmark: BenchmarkFixture) -> None:
    """Free segments of every instance in ``instances/paper``, tables built before."""
    paths = sorted((Path(__file__).parents[2] / "instances" / "paper").glob("*.json"))
    instances = [Instance.load(path) for path in paths]
    tables = [build_tables(instance) for instance in instances]

    def prove() -> None:
        for instance, built in zip(instances, tables, strict=True):
            monitor = Monitor()
            ExactSolver().run(instance, built, SolveOptions(), monitor)
            assert monitor.bound == monitor.objective

    prove()  # compiles
    benchmark.pedantic(prove, rounds=1)
