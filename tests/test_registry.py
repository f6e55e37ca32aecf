"""The registry is checked anew, and what is wrong in one is told."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from documents import INSTANCES
from helpers import invoke

from scope_opt.report.results.best_known import solution_values
from scope_opt.solving.certificate import Certificate

if TYPE_CHECKING:
    from pathlib import Path

NAME = "resnet18-16"
FILES = (f"{NAME}.json", f"{NAME}.proof.gz")
ENTRIES = json.loads((INSTANCES / "best_known.json").read_text())["entries"]


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    """A registry of one entry with a certificate."""
    (tmp_path / "best_known").mkdir()
    for file in FILES:
        shutil.copy(INSTANCES / "best_known" / file, tmp_path / "best_known" / file)
    entries = [entry for entry in ENTRIES if entry["instance"]["name"] == NAME]
    content = {"format": "scope-best-known/2", "entries": entries}
    (tmp_path / "best_known.json").write_text(json.dumps(content))
    return tmp_path / "best_known.json"


def test_shipped_entries_are_right() -> None:
    done = invoke("registry", "check", "alexnet-16", NAME)
    assert done.exit_code == 0
    assert "bound of" in done.stdout
    assert "2 entries, 1 certified, 0 wrong" in done.stdout


@pytest.mark.parametrize(("key", "more"), [("objective_ps", 1), ("bound_ps", -1), ("bound_ps", 1)])
def test_an_entry_that_says_something_else_is_wrong(registry: Path, key: str, more: int) -> None:
    content = json.loads(registry.read_text())
    content["entries"][0][key] += more
    registry.write_text(json.dumps(content))
    done = invoke("registry", "check", "--file", registry)
    assert done.exit_code == 1
    assert f"{NAME}: {key}" in done.stderr


def test_a_certificate_that_proves_less_or_other_tables_is_wrong(registry: Path) -> None:
    path = registry.parent / "best_known" / FILES[1]
    proof = Certificate.load(path)
    for changed, said in (
        ({"tables_sha256": "0" * 64}, "tables_sha256"),
        ({"bound_ps": proof.bound_ps + 1}, "prefix_bounds_ps"),
        ({"objective_ps": proof.objective_ps + 1}, "the schedule takes"),
    ):
        proof.model_copy(update=changed).save(path, force=True)
        done = invoke("registry", "check", "--file", registry)
        assert done.exit_code == 1
        assert said in done.stderr


def test_a_schedule_that_breaks_a_rule_or_is_missing_is_wrong(registry: Path) -> None:
    path = registry.parent / "best_known" / FILES[0]
    schedule = json.loads(path.read_text())
    schedule["segments"][0]["clusters"][0]["chiplets"] += 1
    path.write_text(json.dumps(schedule))
    assert invoke("registry", "check", "--file", registry).exit_code == 1
    path.unlink()
    assert invoke("registry", "check", "--file", registry).exit_code == 1


def test_a_name_without_an_entry_is_bad_input(registry: Path) -> None:
    done = invoke("registry", "check", "resnet1000-1", "--file", registry)
    assert done.exit_code == 2
    assert "resnet1000-1" in done.stderr


def test_values_of_the_registry_are_those_of_its_entries() -> None:
    assert (INSTANCES / "best_known.solu").read_text() == solution_values(ENTRIES)
    open_ = {"instance": {"name": "open"}, "objective_ps": 7, "bound_ps": 5}
    unknown = {"instance": {"name": "unknown"}, "objective_ps": 7, "bound_ps": None}
    assert solution_values([open_, unknown]).splitlines() == [
        *("=best= open 7", "=bestbound= open 5", "=best= unknown 7"),
    ]
