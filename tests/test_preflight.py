"""Reasons for infeasibility: they are proofs, they name the cause, and the smallest conflict."""

from __future__ import annotations

from typing import Any

import oracle
import pytest
import strategies
from documents import Json, shipped
from helpers import read
from hypothesis import given
from hypothesis import strategies as st

from scope_opt.cost.build import build_tables
from scope_opt.schedule.preflight import reasons
from scope_opt.solving.explain import conflict
from scope_opt.solving.isolate import Isolated
from scope_opt.solving.result import Status
from scope_opt.solving.solver import SolveOptions, solve, solve_next

ANY = strategies.table_instances(max_layers=4, max_chiplets=4, constraints=True)
ANY |= strategies.physical_instances(max_layers=4, max_chiplets=4, constraints=True, couplings=True)


def skip(**constraints: Any) -> Json:
    """The instance `tiny-skip`, five layers on eight chiplets, under side constraints."""
    document: Json = shipped("tiny-skip")
    return {**document, "constraints": constraints}


def found(document: Json) -> list[str]:
    instance = read(document)
    return reasons(instance, build_tables(instance))


@given(ANY)
def test_reasons_are_proofs(document: Json) -> None:
    if found(document):
        assert oracle.best(document) is None


@pytest.mark.parametrize(
    ("constraints", "expected"),
    [
        ({"latency_bound_s": 1e-6}, "every schedule takes at least"),
        ({"energy_budget_j": 1e-9}, "loading the weights alone"),
        ({"energy_budget_j": 7e-5}, "MACs, buffers and weights alone"),
        ({"min_clusters": 5, "region_multiple": 2}, "5 regions of at least 2 chiplets need 10"),
        ({"min_clusters": 4, "required_merges": [0, 3]}, "make at most 3 clusters"),
        (
            {"max_clusters": 1, "forbidden_merges": [3], "fixed_segments": [0, 2]},
            "layers 2 to 4 are a segment of at least 2 clusters",
        ),
        ({"dram_bytes_per_beat": 100}, "moves at least"),
        ({"dram_bytes_per_beat": 9000, "fixed_segments": [0, 3]}, "every segment with layer 0"),
    ],
)
def test_reasons_name_the_cause(constraints: Json, expected: str) -> None:
    document = skip(**constraints)
    assert any(expected in reason for reason in found(document)), found(document)
    assert oracle.best(document) is None
    result = solve(read(document), "cp-sat")
    assert result.status is Status.INFEASIBLE
    assert result.explanation == tuple(found(document))


def heavy(weight: int, **constraints: Any) -> Json:
    """Three layers on four chiplets whose buffers hold 100 bytes each."""
    times = {"ISP": [40, 20, 15, 10], "WSP": [40, 20, 15, 10]}
    layers = [
        {
            "name": name,
            "weight_bytes": weight if name == "big" else 10,
            "compute_ps": times,
            "input_ps": 5,
            "output_ps": 5,
        }
        for name in ("first", "big", "last")
    ]
    return {
        "format": "scope-instance/1",
        "name": "heavy",
        "tables": {
            "chiplets": 4,
            "weight_buffer_bytes": 100,
            "layers": layers,
            "dram_latency_ps": 10,
            "stream_fs_per_byte": [4000, 2000, 1334, 1000],
        },
        "constraints": constraints,
    }


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (heavy(350, max_region=3), "layer 1 (big), 350 bytes, need 4 chiplets"),
        (heavy(395, required_merges=[0]), "layers 0 to 1, which required_merges joins"),
        (
            heavy(150, fixed_partitions=[{"layer": 1, "partition": "WSP"}]),
            "fixed to WSP, which keeps all its 150 weight bytes",
        ),
    ],
)
def test_weights(document: Json, expected: str) -> None:
    assert any(expected in reason for reason in found(document))
    assert oracle.best(document) is None
    # A little less weight, and there are schedules again.
    for layer in document["tables"]["layers"]:
        layer["weight_bytes"] = min(layer["weight_bytes"], 90)
    assert not found(document)
    assert oracle.best(document) is not None


# --- Conflicts -----------------------------------------------------------------------------------


def test_conflict_is_smallest() -> None:
    document = skip(latency_bound_s=8e-5, power_budget_w=1.4, max_clusters=4, forbidden_merges=[0])
    assert not found(document)
    assert oracle.best(document) is None
    (text,) = conflict(read(document))
    assert "latency_bound_s = 8e-05" in text
    assert "power_budget_w = 1.4" in text
    assert "max_clusters" not in text
    assert "forbidden_merges" not in text
    assert "without any one of them there is one" in text


def test_conflicts_are_sought_within_the_memory_of_the_solve(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A decision that takes too much leaves its demand; too little for tables leaves no answer."""
    limits, memory_limit_bytes = [], 2**31
    decide = solve_next

    def watched(instance: Any, solver: Any, options: SolveOptions, *more: Any) -> Any:
        limits.append((type(solver), options.memory_limit_bytes))
        return decide(instance, solver, options, *more)

    monkeypatch.setattr("scope_opt.solving.explain.solve_next", watched)
    monkeypatch.setattr("scope_opt.solving.explain.START_S", 200.0)
    instance = read(heavy(395))
    (text,) = conflict(instance, "single", memory_limit_bytes=memory_limit_bytes)
    assert "overflow 'forbid'" in text
    assert set(limits) == {(Isolated, memory_limit_bytes)}
    assert conflict(instance, "single", memory_limit_bytes=1) == []
    # Not even a process that has loaded its libraries: nothing is decided.
    assert conflict(instance, "single", memory_limit_bytes=2**20) == []


def test_no_conflict_is_sought_where_the_reason_is_simple() -> None:
    document = heavy(90, min_clusters=2, region_multiple=3)
    assert found(document)
    assert conflict(read(document)) == []


def test_segments_are_among_the_demands() -> None:
    document = heavy(395)
    instance = read(document)
    assert solve(instance, "exact", SolveOptions(segments="single")).status is Status.INFEASIBLE
    (text,) = conflict(instance, "single")
    assert "segments single" in text
    assert "overflow 'forbid'" in text


@given(ANY.filter(lambda document: len(document["constraints"]) > 1), st.data())
def test_conflicts_are_infeasible_and_irreducible(document: Json, data: st.DataObject) -> None:
    if oracle.best(document) is not None or found(document):
        return
    (text,) = conflict(read(document))
    present = document["constraints"]
    named = {name: value for name, value in present.items() if f"{name} = " in text}
    policy = document.get("overflow", "forbid") if "overflow" in text else "stream"
    assert oracle.best({**document, "constraints": named, "overflow": policy}) is None
    for name in named:
        fewer = {other: value for other, value in named.items() if other != name}
        assert oracle.best({**document, "constraints": fewer, "overflow": policy}) is not None
