"""Solver `paths`: equal to exhaustive search and to `exact`, without any modelling library."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import oracle
import placed_strategies
import pytest
import strategies
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from formulations.paths.solver import PathsSolver, ShortestPath
from formulations.tuning import DEFAULT, Tuning
from scope_opt.model.files import InputError
from scope_opt.model.generate import paper_instance
from scope_opt.model.instance import SHAPE, Instance
from scope_opt.solving.result import Proof, Result, Status, StopReason
from scope_opt.solving.solver import SolveOptions, load_solver, solve

if TYPE_CHECKING:
    from scope_opt.solving.solver import SegmentChoice

Json = dict[str, Any]

TINY = Path(__file__).parents[1] / "instances" / "tiny"

SMALL = strategies.table_instances(max_layers=4, max_chiplets=4, constraints=True)
SMALL |= strategies.physical_instances(max_layers=4, max_chiplets=4)
SMALL |= placed_strategies.unlimited_instances()
MEDIUM = strategies.table_instances(max_layers=6, max_chiplets=6)
MEDIUM |= strategies.physical_instances(max_layers=6, max_chiplets=6)


def read(document: Json) -> Instance:
    return Instance.from_json(json.dumps(document), "test")


def run(
    document: Json,
    segments: SegmentChoice | None = None,
    tuning: Tuning = DEFAULT,
    **options: Any,
) -> Result:
    return solve(read(document), PathsSolver(tuning), SolveOptions(segments=segments, **options))


def tiny(name: str) -> Json:
    document: Json = json.loads((TINY / f"{name}.json").read_text())
    return document


def agree(document: Json, result: Result, best: tuple[Json, int] | None) -> None:
    """The result is that of exhaustive search, proved without a program."""
    assert result.stop_reason is StopReason.COMPLETED
    assert result.model is None
    assert result.proof is not None
    assert result.proof.library is None
    if best is None:
        assert result.status is Status.INFEASIBLE
        assert result.explanation
        return
    assert result.status is Status.OPTIMAL
    assert result.objective_ps == best[1]
    assert result.schedule is not None
    assert not oracle.violations(document, json.loads(result.schedule.to_json()))


@settings(max_examples=strategies.share(2))
@given(document=SMALL, choice=st.sampled_from(["free", "single"]), small=st.booleans())
def test_equals_exhaustive_search(document: Json, choice: str, small: bool) -> None:
    """With and without the survey that comes first in large instances."""
    constraints = document.get("constraints", {})
    assume(set(constraints) <= SHAPE)
    assume(choice == "free" or "fixed_segments" not in constraints)
    tuning = Tuning(small=10**9 if small else 0)
    result = run(document, "single" if choice == "single" else None, tuning)
    agree(document, result, oracle.best(document, choice))


@settings(max_examples=strategies.share(4))
@given(document=MEDIUM, data=st.data())
def test_equals_the_exact_solver(document: Json, data: st.DataObject) -> None:
    choice = data.draw(strategies.segment_choices(len(read(document).layer_names)))
    result = run(document, choice)
    exact = solve(read(document), "exact", SolveOptions(segments=choice))
    assert result.status is exact.status
    assert result.objective_ps == exact.objective_ps


@pytest.mark.parametrize(
    ("network", "chiplets", "segments"),
    [("alexnet", 16, None), ("alexnet", 64, (0, 3, 5)), ("resnet18", 16, "single")],
)
def test_paper_instances(network: str, chiplets: int, segments: SegmentChoice | None) -> None:
    instance = paper_instance(network, chiplets)
    options = SolveOptions(segments=segments)
    result = solve(instance, "paths", options)
    exact = solve(instance, "exact", options)
    assert result.status is exact.status is Status.OPTIMAL
    assert result.objective_ps == exact.objective_ps


@pytest.mark.parametrize("stem", ["tiny-energy", "tiny-constraints"])
def test_limits_that_add_up_are_refused_with_the_way_out(stem: str) -> None:
    with pytest.raises(InputError, match=r"solvers that do: .*cp-sat, interval-milp"):
        run(tiny(stem))
    with pytest.raises(ValueError, match="no limit"):
        ShortestPath(None, None, 1, (1, 1), [None])  # type: ignore[arg-type, list-item]


def test_options() -> None:
    document = tiny("tiny-skip")
    first = run(document)
    again = run(document, warm_start=first.schedule, threads=2)
    assert again.warm_start == "accepted"
    assert again.schedule == first.schedule
    for refused in ({"seed": 1}, {"encoding": "beats"}, {"log": Path("log")}):
        with pytest.raises(InputError, match="does not use it; it uses: threads, warm_start"):
            run(document, **refused)


def test_stopped_it_leaves_schedule_and_bound() -> None:
    instance = paper_instance("resnet18", 64)
    result = solve(instance, "paths", SolveOptions(rel_gap=0.5))
    assert result.stop_reason is StopReason.GAP_LIMIT
    assert result.objective_ps is not None
    assert result.bound_ps is not None
    assert result.bound_ps <= result.objective_ps
    assert run(tiny("tiny-skip"), time_limit_s=0).stop_reason is StopReason.TIME_LIMIT


def test_it_needs_no_modelling_library() -> None:
    code = """
import sys
absent = ("pyomo", "highspy", "ortools")
sys.modules |= dict.fromkeys(absent)
from importlib import metadata
found = metadata.version
def version(name):
    if name in absent:
        raise metadata.PackageNotFoundError(name)
    return found(name)
metadata.version = version
from scope_opt import solve
for name in ("tiny-skip", "alexnet-64"):
    result = solve(name, "paths")
    assert result.status == "optimal", result
    assert not set(absent) & set(result.versions)
assert all(sys.modules[name] is None for name in absent)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_it_is_registered() -> None:
    assert isinstance(load_solver("paths"), PathsSolver)
    assert run(tiny("tiny-skip")).proof == Proof(
        by=("paths",), library=None, programs=0, library_s=0.0
    )
