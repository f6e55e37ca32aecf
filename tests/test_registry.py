"""The registry is checked anew, what is wrong in one is told, and what is better is added."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from documents import INSTANCES
from helpers import invoke
from hypothesis import given
from hypothesis import strategies as st

from scope_opt.model.files import InputError
from scope_opt.report.results import best_known
from scope_opt.schedule.evaluate import evaluate
from scope_opt.schedule.schedule import Schedule
from scope_opt.solving.api import load, solve
from scope_opt.solving.certificate import Certificate
from scope_opt.solving.metrics import proof_times, reference
from scope_opt.solving.registry import Registry, difficulty, solution_values
from scope_opt.solving.submission import Submission, load_submissions, merge

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from scope_opt.solving.result import Result

NAME = "resnet18-16"
FILES = (f"{NAME}.json", f"{NAME}.proof.gz")
OPTIMUM, PROOF = (INSTANCES / "best_known" / file for file in FILES)
REGISTRY = Registry.load(INSTANCES / "best_known.json")
OPTIMUM_PS = next(e.objective_ps for e in REGISTRY.entries if e.instance.name == NAME)


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    """A registry of one entry with a certificate."""
    (tmp_path / "best_known").mkdir()
    for file in FILES:
        shutil.copy(INSTANCES / "best_known" / file, tmp_path / "best_known" / file)
    entries = tuple(entry for entry in REGISTRY.entries if entry.instance.name == NAME)
    Registry(entries=entries).write(tmp_path / "best_known.json")
    return tmp_path / "best_known.json"


# --- Checking ------------------------------------------------------------------------------------


def test_shipped_entries_are_right() -> None:
    done = invoke("registry", "check", "alexnet-16", NAME)
    assert done.exit_code == 0
    assert "bound of" in done.stdout
    assert "2 entries, 2 certified, 0 wrong" in done.stdout


@pytest.mark.parametrize(("key", "more"), [("objective_ps", 1), ("bound_ps", -1), ("bound_ps", 1)])
def test_an_entry_that_says_something_else_is_wrong(registry: Path, key: str, more: int) -> None:
    content = json.loads(registry.read_text())
    content["entries"][0][key] += more
    registry.write_text(json.dumps(content))
    done = invoke("registry", "check", "--file", registry)
    assert done.exit_code == 1
    assert f"{NAME}: {key}" in done.stderr
    assert f"{NAME}: difficulty" in done.stderr


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
    assert (INSTANCES / "best_known.solu").read_text() == solution_values(REGISTRY.entries)
    some = REGISTRY.entries[0]
    open_ = some.model_copy(update={"objective_ps": 7, "bound_ps": 5})
    unknown = some.model_copy(update={"objective_ps": 7, "bound_ps": None})
    name = some.instance.name
    assert solution_values([open_, unknown]).splitlines() == [
        *(f"=best= {name} 7", f"=bestbound= {name} 5", f"=best= {name} 7"),
    ]


# --- How hard instances are ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "proved", "said"),
    [
        ({"exact": 1.0}, True, "easy"),
        ({"exact": 1.001, "cp-sat": 0.1}, True, "medium"),
        ({"exact": 60.0}, True, "medium"),
        ({"exact": 60.001}, True, "hard"),
        ({"cp-sat": 0.1}, True, "hard"),
        ({}, True, "hard"),
        ({}, False, "open"),
    ],
)
def test_the_time_of_exact_says_how_hard(
    times: Mapping[str, float], proved: bool, said: str
) -> None:
    assert difficulty(times, proved=proved) == said


def test_only_proofs_of_the_optimum_count() -> None:
    exact, part = solve("alexnet-16"), solve("alexnet-16", segments=3)
    scheme, sequential = (solve("alexnet-16", name) for name in ("exact-sequential", "sequential"))
    slow = exact.model_copy(
        update={"times_s": exact.times_s.model_copy(update={"total": exact.times_s.total + 1})}
    )
    results = [slow, part, exact, scheme, sequential]
    known = reference(results)
    assert proof_times(results, known) == {"exact": round(exact.times_s.total, 3)}
    assert proof_times([part, scheme, sequential], known) == {}


def test_the_list_says_it_of_each_instance() -> None:
    done = invoke("registry", "list")
    assert done.exit_code == 0
    rows = [line.split() for line in done.stdout.splitlines()[2:]]
    said = {cells[0]: cells[1] for cells in rows if len(cells) > 1}
    entries = {entry.instance.name: entry.difficulty for entry in REGISTRY.entries}
    folders = ("paper", "placed", "transformers")
    others = [path.stem for folder in folders for path in (INSTANCES / folder).glob("*.json")]
    assert said == dict.fromkeys(others, "open") | entries


# --- Submissions ---------------------------------------------------------------------------------


LATENCIES, BOUNDS = st.integers(50, 100), st.none() | st.integers(0, 60)


@given(
    st.lists(st.tuples(LATENCIES, BOUNDS, BOUNDS), max_size=6),
    st.tuples(LATENCIES, st.none() | st.integers(0, 50)),
)
def test_the_best_of_all_submissions_stands(
    numbers: list[tuple[int, int | None, int | None]], study: tuple[int, int | None]
) -> None:
    """Least latency, largest bound; no claim changes them. A bound above a latency is told."""
    entry = next(entry for entry in REGISTRY.entries if entry.instance.name == NAME)
    entry = entry.model_copy(update={"objective_ps": study[0], "bound_ps": study[1]})
    if not entry.proved:
        entry = entry.model_copy(update={"difficulty": "open", "proved_by": ()})
    schedule = Schedule.load(OPTIMUM)
    submissions = [
        Submission(
            source=str(number),
            objective_ps=latency,
            bound_ps=bound,
            claimed_bound_ps=claim,
            schedule=schedule,
        )
        for number, (latency, bound, claim) in enumerate(numbers)
    ]
    least = min([study[0], *(latency for latency, _, _ in numbers)])
    given_bounds = [study[1], *(bound for _, bound, _ in numbers)]
    bounds = [bound for bound in given_bounds if bound is not None]
    largest = max(bounds, default=None)
    if largest is not None and largest > least:
        with pytest.raises(InputError, match="one of the two is wrong"):
            merge({NAME: entry}, submissions, OPTIMUM.parent)
        return
    merged, best = merge({NAME: entry}, submissions, OPTIMUM.parent)
    found = merged[NAME]
    assert (found.objective_ps, found.bound_ps) == (least, largest)
    assert (found.difficulty == "open") == (least != largest)
    assert bool(found.proved_by) == (least == largest)
    assert (NAME in best) == (least < study[0]) == (found.schedule_source is not None)
    if found.claim is not None:
        assert (largest or 0) < found.claim.bound_ps <= least


@pytest.fixture(scope="module")
def poor() -> Result:
    """Of the instance, far from its optimum."""
    return solve(NAME, "sequential")


def from_study(folder: Path, result: Result) -> Path:
    """A registry as it is written from the records of a study with that result."""
    registry = folder / "best_known.json"
    known = {result.instance.name: (reference([result]), [result])}
    best_known.write(known, registry, folder / "best_known")
    return registry


@pytest.fixture
def open_registry(tmp_path: Path, poor: Result) -> Path:
    """A registry in which the instance is open."""
    return from_study(tmp_path, poor)


def only_entry(registry: Path) -> Any:
    (entry,) = json.loads(registry.read_text())["entries"]
    return entry


def check(registry: Path) -> str:
    done = invoke("registry", "check", "--file", registry)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def contents(registry: Path) -> dict[Path, bytes]:
    files = [path for path in registry.parent.rglob("*") if path.is_file()]
    return {path: path.read_bytes() for path in files}


def submit(registry: Path, *arguments: str | Path) -> Any:
    return invoke("registry", "submit", *arguments, "--file", registry)


def test_a_better_schedule_with_its_certificate_closes_an_instance(
    open_registry: Path, poor: Result
) -> None:
    before = only_entry(open_registry)
    assert before["difficulty"] == "open"
    done = submit(open_registry, OPTIMUM, "--certificate", PROOF, "--source", "A. Author")
    assert done.exit_code == 0, done.stderr
    assert f"schedule of {OPTIMUM_PS} ps, before {poor.objective_ps} ps" in done.stdout
    entry = only_entry(open_registry)
    assert entry["objective_ps"] == entry["bound_ps"] == OPTIMUM_PS
    assert entry["schedule_source"] == entry["bound_source"] == "A. Author"
    assert entry["proved_by"] == entry["bound_by"] == ["certificate"]
    assert (entry["class"], entry["difficulty"]) == ("proved by one method", "hard")
    assert entry["command"] is None
    solu = open_registry.with_suffix(".solu").read_text()
    assert solu == f"=opt= {NAME} {OPTIMUM_PS}\n"
    assert "1 entries, 1 certified, 0 wrong" in check(open_registry)

    kept = contents(open_registry)
    from_study(open_registry.parent, poor)  # the registry anew, from records that know less
    assert contents(open_registry) == kept

    again = submit(open_registry, OPTIMUM, "--certificate", PROOF, "--source", "B. Other")
    assert again.exit_code == 1
    assert "not better than what the registry has" in again.stderr
    assert contents(open_registry) == kept


def test_a_bound_of_some_schedules_is_none_of_the_instance(
    open_registry: Path, tmp_path: Path
) -> None:
    proof, found = tmp_path / "one.gz", tmp_path / "one.json"
    one = ["--segments", "single", "-o", found, "--certificate", proof]
    assert invoke("solve", NAME, *one).exit_code == 0
    kept = contents(open_registry)
    done = submit(open_registry, found, "--certificate", proof, "--source", "A")
    assert done.exit_code == 2
    assert "first_layers" in done.stderr
    assert "free segments" in done.stderr
    assert contents(open_registry) == kept


def test_schedule_and_certificate_may_come_one_after_the_other(
    open_registry: Path, poor: Result
) -> None:
    """A certificate is kept beside a schedule that is better than the one it came with."""
    found = poor.schedule
    assert found is not None
    found.save(open_registry.parent / "poor.json")
    weak = open_registry.parent / "weak.proof.gz"
    proof = Certificate.load(PROOF).model_copy(update={"objective_ps": poor.objective_ps})
    proof.save(weak)
    done = submit(
        open_registry, open_registry.parent / "poor.json", "--certificate", weak, "--source", "A"
    )
    assert done.exit_code == 0, done.stderr
    entry = only_entry(open_registry)
    assert entry["objective_ps"] == poor.objective_ps
    assert entry["bound_ps"] == OPTIMUM_PS
    assert entry["difficulty"] == "open"
    assert "schedule_source" not in entry
    assert f"=bestbound= {NAME} {OPTIMUM_PS}" in open_registry.with_suffix(".solu").read_text()
    check(open_registry)

    assert submit(open_registry, OPTIMUM).exit_code == 0
    entry = only_entry(open_registry)
    assert (entry["schedule_source"], entry["bound_source"]) == ("not stated", "A")
    assert entry["proved_by"] == ["certificate"]
    assert "1 certified, 0 wrong" in check(open_registry)
    kept = contents(open_registry)
    from_study(open_registry.parent, poor)
    assert contents(open_registry) == kept


def test_a_study_that_finds_more_takes_over(open_registry: Path) -> None:
    assert submit(open_registry, OPTIMUM, "--source", "A").exit_code == 0
    from_study(open_registry.parent, solve(NAME))
    entry = only_entry(open_registry)
    assert entry["proved_by"] == ["exact"]
    assert "schedule_source" not in entry
    assert entry["command"].endswith("--solver exact")


def test_an_instance_without_an_entry_gets_one(open_registry: Path) -> None:
    other = INSTANCES / "best_known" / "alexnet-16.json"
    assert submit(open_registry, other, "--source", "A").exit_code == 0
    entry = json.loads(open_registry.read_text())["entries"][1]
    assert entry["instance"]["name"] == "alexnet-16"
    assert entry["objective_ps"] == evaluate(load("alexnet-16"), Schedule.load(other)).objective_ps
    assert (entry["bound_ps"], entry["difficulty"]) == (None, "open")
    assert "2 entries" in check(open_registry)


def test_a_certificate_where_there_was_none_is_kept_once(registry: Path) -> None:
    beside = registry.parent / "best_known" / FILES[1]
    assert submit(registry, OPTIMUM, "--certificate", PROOF).exit_code == 1
    beside.unlink()
    assert submit(registry, OPTIMUM, "--certificate", PROOF, "--source", "A").exit_code == 0
    assert beside.read_bytes() == PROOF.read_bytes()
    entry = only_entry(registry)
    assert entry["bound_source"] == "A"
    assert "exact" in entry["proved_by"]
    assert submit(registry, OPTIMUM, "--certificate", PROOF, "--source", "A").exit_code == 1
    assert len(load_submissions(beside.parent)) == 1


def test_a_claimed_bound_proves_nothing(open_registry: Path, poor: Result) -> None:
    path = open_registry.parent / "poor.json"
    poor.save(path)
    claim = OPTIMUM_PS - 1
    arguments = (path, "--source", "A", "--claimed-bound-ps")
    done = submit(open_registry, *arguments, str(claim))
    assert done.exit_code == 0, done.stderr
    assert f"bound of {claim} ps claimed, not verified" in done.stdout
    entry = only_entry(open_registry)
    assert entry["claim"] == {"bound_ps": claim, "source": "A"}
    assert (entry["bound_ps"], entry["difficulty"]) == (None, "open")
    assert str(claim) not in open_registry.with_suffix(".solu").read_text()
    assert submit(open_registry, *arguments, str(claim)).exit_code == 1
    assert submit(open_registry, *arguments, str(claim - 1)).exit_code == 1
    check(open_registry)

    # One that a better schedule disproves goes, and so does one that is proved.
    assert submit(open_registry, *arguments, str(OPTIMUM_PS + 1)).exit_code == 0
    assert submit(open_registry, OPTIMUM).exit_code == 0
    assert "claim" not in only_entry(open_registry)
    assert submit(open_registry, OPTIMUM, *arguments[1:], str(claim)).exit_code == 0
    assert only_entry(open_registry)["claim"]["bound_ps"] == claim
    assert submit(open_registry, OPTIMUM, "--certificate", PROOF).exit_code == 0
    assert "claim" not in only_entry(open_registry)


def test_a_stated_bound_does_not_count(open_registry: Path) -> None:
    """A result may state any bound up to its latency."""
    path = open_registry.parent / "optimal.json"
    solve(NAME).save(path)
    assert submit(open_registry, path, "--source", "A").exit_code == 0
    entry = only_entry(open_registry)
    assert entry["objective_ps"] == OPTIMUM_PS
    assert entry["bound_ps"] is None


def broken(key: str) -> tuple[Any, list[str], str]:
    """A document that is refused, options, and what is said."""
    schedule = json.loads(OPTIMUM.read_text())
    if key == "rule":
        schedule["segments"][0]["clusters"][0]["chiplets"] += 100
        return schedule, [], "chiplets"
    if key == "digest":
        schedule["instance"]["digest"] = "0" * 64
        return schedule, [], "schedule: is for another instance"
    if key == "name":
        schedule["instance"]["name"] = "../mine"
        return schedule, [], "instance.name: found '../mine'; allowed: those of instances/paper"
    if key == "order":
        return schedule | {"order": "blocks-2"}, [], "order: "
    if key == "objective":
        result = json.loads(solve(NAME, "sequential").to_json())
        more = result["objective_ps"] + 1
        gap = (more - result["bound_ps"]) / more
        return result | {"objective_ps": more, "gap": gap}, [], f"objective_ps: found {more}"
    if key == "claim":
        claim = ["--claimed-bound-ps", str(OPTIMUM_PS + 1), "--source", "A"]
        return schedule, claim, f"a schedule of {NAME} takes {OPTIMUM_PS} ps"
    if key == "claim of nobody":
        return schedule, ["--claimed-bound-ps", "1"], "--source"
    if key == "source":
        return schedule, ["--source", "a\nb"], "on one line"
    certificate = ["--certificate", str(INSTANCES / "best_known" / "resnet50-64.proof.gz")]
    return schedule, certificate, "tables_sha256"


@pytest.mark.parametrize(
    "key",
    [
        *("rule", "digest", "name", "order", "objective"),
        *("claim", "claim of nobody", "source", "certificate of another instance"),
    ],
)
def test_what_is_not_so_is_refused(open_registry: Path, key: str) -> None:
    document, options, said = broken(key)
    path = open_registry.parent / "given.json"
    path.write_text(json.dumps(document))
    before = contents(open_registry)
    done = submit(open_registry, path, *options)
    assert done.exit_code == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert contents(open_registry) == before


def test_a_schedule_below_a_proved_bound_is_told(registry: Path) -> None:
    """One of the two must be wrong, and nothing is written."""
    content = json.loads(registry.read_text())
    content["entries"][0] |= {"objective_ps": OPTIMUM_PS + 2, "bound_ps": OPTIMUM_PS + 1}
    registry.write_text(json.dumps(content))
    before = contents(registry)
    done = submit(registry, OPTIMUM)
    assert done.exit_code == 2
    assert "one of the two is wrong" in done.stderr
    assert contents(registry) == before
