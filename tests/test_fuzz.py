"""A little of what `fuzz` does for hours, the same in every run."""

from __future__ import annotations

import json
import random
import tomllib
from typing import TYPE_CHECKING

import fuzz
import pytest
from documents import TINY, shipped
from fuzz import (
    Fuzzer,
    changed,
    contradiction,
    contradiction_of,
    differential,
    problem_of,
    toml,
)
from helpers import read
from rogues import registered

from scope_opt.solving.result import Status
from scope_opt.solving.solver import solve

if TYPE_CHECKING:
    from pathlib import Path

CASES, EXAMPLES = 120, 12


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> Fuzzer:
    return Fuzzer(tmp_path_factory.mktemp("fuzz") / "case")


@pytest.mark.parametrize("first", range(0, CASES, 20))
def test_commands_end_in_words(fuzzer: Fuzzer, first: int) -> None:
    failures = list(fuzzer.cases(first, 20))
    assert not failures, "\n".join(f"{name}: {what}" for name, what in failures)


def test_solvers_do_not_contradict_each_other() -> None:
    differential(0, EXAMPLES)


# --- The fuzzer itself ---------------------------------------------------------------------------


def test_defects_and_delays_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registered(tmp_path, monkeypatch)
    instance = str(TINY / "tiny-skip.json")
    assert problem_of(["show", instance]) is None
    assert problem_of(["show", str(tmp_path / "no.json")]) is None  # refused in words
    assert "RuntimeError: out of luck" in (
        problem_of(["solve", instance, "--solver", "raises"]) or ""
    )
    monkeypatch.chdir(tmp_path)  # where the schedule of a lie is kept
    assert "disagree" in (problem_of(["solve", instance, "--solver", "lies"]) or "")
    monkeypatch.setattr(fuzz, "CASE_S", 1.0)
    assert problem_of(["solve", instance, "--solver", "hangs"]) == "took more than 1 s"


def test_contradictions_are_noticed() -> None:
    instance = read(shipped("tiny-skip"))
    result = solve(instance, "exact")
    assert result.objective_ps is not None
    found = {"exact": result, "scope": solve(instance, "scope")}
    assert contradiction_of(instance, found) is None
    assert contradiction(shipped("tiny-skip")) is None
    better = found["scope"].model_copy(update={"objective_ps": result.objective_ps - 1})
    said = contradiction_of(instance, {**found, "scope": better})
    assert said == (
        f"exact proves {result.objective_ps}, scope has a schedule of {result.objective_ps - 1}"
    )
    none = result.model_copy(update={"status": Status.INFEASIBLE, "objective_ps": None})
    said = contradiction_of(instance, {**found, "exact": none})
    assert said is not None
    assert said.startswith("exact proves that there is no schedule, scope has one")


@pytest.mark.parametrize("number", range(30))
def test_changed_documents_are_still_json(number: int) -> None:
    draw = random.Random(number)
    content = changed(draw, shipped("tiny-skip"))
    assert json.dumps(content) == json.dumps(changed(random.Random(number), shipped("tiny-skip")))


def test_studies_are_written_as_they_are() -> None:
    study = {"a b": [1, 2.5, "x"], "t": {"y": True}, "solvers": [{"solver": "scope"}, {"n": []}]}
    assert tomllib.loads(toml(study)) == study
