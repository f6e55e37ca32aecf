"""Memory of tables, told before they are built: against what allocators count, and as a limit."""

from __future__ import annotations

import json
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from documents import Json, conv, physical, two_layers
from helpers import invoke

from scope_opt.cost.build import build_tables
from scope_opt.cost.footprint import table_bytes
from scope_opt.cost.layers import tilings
from scope_opt.model.generate import instance_named
from scope_opt.model.instance import Instance
from scope_opt.solving import pricing
from scope_opt.solving.api import solve
from scope_opt.solving.result import Status, StopReason

if TYPE_CHECKING:
    from pathlib import Path

    from scope_opt.model.tables import LatencyTables

LARGE = "encoder-96blocks-512tokens-4096"
LIMIT = 2**29
"""Bytes; less than the tables of LARGE take."""


def built_in(name: str) -> Instance:
    found = instance_named(name)
    assert found is not None
    return found


def deep() -> Instance:
    """Many layers on few chiplets: tables over pairs of layers are what counts."""
    layers = [conv(8, 8, name=f"layer {index}") for index in range(400)]
    edges = [(index, index + 1, 8) for index in range(399)]
    return Instance.from_json(json.dumps(physical(layers, edges)), "deep")


def explicit(readers: int) -> Instance:
    """Tables of one tensor that many layers read: of its times there is a row for each."""
    times = [10] * 256
    layer: Json = {"weight_bytes": 1, "compute_ps": {"ISP": times, "WSP": times}}
    layers = [{"name": f"layer {index}", **layer} for index in range(64)]
    edge = {"from": 0, "to": [*range(1, readers + 1)], "send_ps": times}
    tables = {
        "chiplets": 256,
        "weight_buffer_bytes": 10**6,
        "layers": layers,
        "edges": [{**edge, "write_ps": 1, "read_ps": 1}],
    }
    return Instance.from_json(json.dumps(two_layers(tables=tables)), "explicit")


@pytest.mark.parametrize(
    "instance",
    [
        built_in("alexnet-256"),
        built_in("densenet121-64"),
        built_in("resnet152-256"),
        built_in("resnet50-256-placed"),
        built_in("resnet50-256-placed-hilbert"),
        built_in("encoder-12blocks-512tokens-256"),
        deep(),
        explicit(1),
        explicit(63),
    ],
    ids=lambda instance: instance.name,
)
def test_no_more_is_taken_than_is_told(instance: Instance) -> None:
    build_tables(instance)  # the mesh is counted, and machine code there
    tilings.cache_clear()
    tracemalloc.start()
    tables = build_tables(instance)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert tables.layers == len(instance.layer_names)
    assert peak <= table_bytes(instance) <= 2 * peak


def refused(*_: object) -> LatencyTables:
    raise AssertionError("the tables are built")


def test_tables_beyond_the_memory_limit_are_not_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pricing, "build_tables", refused)
    built_in(LARGE).save(tmp_path / "large.json")
    arguments = ("--memory-limit", LIMIT / 2**30, "--json")
    outcome = invoke("solve", tmp_path / "large.json", *arguments)
    assert outcome.exit_code == 1
    found = json.loads(outcome.stdout)
    assert (found["status"], found["stop_reason"]) == ("unknown", "memory_limit")
    assert found["options"]["memory_limit_bytes"] == LIMIT
    (why,) = found["explanation"]
    assert "768 layers on 4096 chiplets take up to 0.765 GiB" in why
    assert "the memory limit is 0.5 GiB; allow more than twice" in why


def test_the_limit_holds_without_a_process_of_its_own() -> None:
    instance = built_in("alexnet-16")
    needed = table_bytes(instance)
    assert solve(instance, "scope", memory_limit_bytes=needed).schedule is not None
    result = solve(instance, "scope", memory_limit_bytes=needed - 1)
    assert (result.status, result.stop_reason) == (Status.UNKNOWN, StopReason.MEMORY_LIMIT)
    assert result.schedule is None


def test_an_order_whose_tables_are_too_large_is_told() -> None:
    instance = built_in("alexnet-64-placed")
    limit = table_bytes(instance)
    assert table_bytes(instance.in_order("hilbert")) > limit
    result = solve(instance, "scope", order=["zigzag", "hilbert"], memory_limit_bytes=limit)
    assert result.stop_reason is StopReason.MEMORY_LIMIT
    assert result.schedule is not None
    assert result.schedule.order == "zigzag"
    assert any("order hilbert: the tables of times of 8 layers" in x for x in result.explanation)
