"""Committed results still hold: their schedules evaluate to the recorded numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scope_opt.bounds import latency_bound
from scope_opt.cost import build_tables
from scope_opt.evaluate import evaluate
from scope_opt.instance import Instance
from scope_opt.result import Result

ROOT = Path(__file__).parent.parent
RECORDS = ROOT / "results" / "optima" / "records.jsonl"
NAMES = sorted(path.stem for path in (ROOT / "instances" / "paper").glob("*.json"))


def records() -> dict[str, dict[str, dict[str, Any]]]:
    """Records of the study by instance and solver."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for line in RECORDS.read_text().splitlines():
        record = json.loads(line)
        found.setdefault(record["instance"]["name"], {})[record["solver"]] = record
    return found


@pytest.mark.parametrize("name", NAMES)
def test_optima(name: str) -> None:
    by_solver = records()[name]
    instance = Instance.load(ROOT / "instances" / "paper" / f"{name}.json")
    tables = build_tables(instance)
    exact = by_solver["exact"]
    assert exact["status"] == "optimal"
    assert exact["objective_ps"] >= latency_bound(tables)
    for solver, record in by_solver.items():
        attribution = record.pop("attribution", None)
        result = Result.from_json(json.dumps(record), solver)
        assert result.instance.digest == instance.digest
        if result.schedule is None:
            assert result.status == "infeasible"
            continue
        evaluation = evaluate(instance, result.schedule, tables)
        assert evaluation.violations == ()
        assert evaluation.objective_ps == result.objective_ps
        assert result.objective_ps >= exact["objective_ps"]
        if attribution is not None:
            assert attribution["segments_ps"] == exact["objective_ps"]
            assert attribution["schedule_ps"] == by_solver["scope"]["objective_ps"]
    for scheme in ("sequential", "pipeline", "segmented"):
        best, found = (by_solver[f"{kind}{scheme}"]["objective_ps"] for kind in ("exact-", ""))
        assert found is None or best <= found


def test_reach() -> None:
    """Nothing that a formulation claimed contradicts the evaluator or the proved optimum."""
    lines = (ROOT / "results" / "reach" / "records.jsonl").read_text().splitlines()
    for record in map(json.loads, lines):
        name = record["instance"]["name"]
        if record.pop("refused") is not None:
            continue
        for key in ("warm", "limit_s"):
            record.pop(key)
        result = Result.from_json(json.dumps(record), name)
        instance = Instance.load(ROOT / "instances" / "paper" / f"{name}.json")
        assert result.instance.digest == instance.digest
        optimum = records()[name]["exact"]["objective_ps"]
        assert result.bound_ps is None or result.bound_ps <= optimum
        if result.schedule is not None:
            evaluation = evaluate(instance, result.schedule)
            assert evaluation.violations == ()
            assert evaluation.objective_ps == result.objective_ps
            assert result.objective_ps >= optimum
