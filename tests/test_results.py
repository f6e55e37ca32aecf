"""Committed results still hold: their schedules evaluate to the recorded numbers."""

from __future__ import annotations

import json
import statistics
from functools import cache
from typing import TYPE_CHECKING

import pytest
from documents import ROOT

from scope_opt.cost.build import build_tables
from scope_opt.model.instance import Instance
from scope_opt.report.markdown import Picture, render
from scope_opt.report.results import best_known
from scope_opt.report.results.certificates import CHECKS, certificate_of, load_checks
from scope_opt.report.results.orders import HILBERT, load_solved
from scope_opt.report.results.pages import PAGES, folder
from scope_opt.report.results.records import records_of
from scope_opt.schedule.bounds import latency_bound
from scope_opt.schedule.evaluate import evaluate
from scope_opt.schedule.schedule import Schedule
from scope_opt.solving import metrics
from scope_opt.solving.certificate import Certificate
from scope_opt.solving.result import Result, Status
from scope_opt.solving.solver import load_solver
from scope_opt.solving.submission import benchmark
from scope_opt.studies.file import load_study
from scope_opt.studies.jobs import jobs_of
from scope_opt.studies.records import Outcome, Record, load_records
from scope_opt.validation.document import Validation

if TYPE_CHECKING:
    from pathlib import Path

    from scope_opt.model.tables import LatencyTables

STUDIES = sorted(path.parent for path in (ROOT / "results").glob("*/records.jsonl"))
NAMES = sorted(path.stem for path in (ROOT / "instances" / "paper").glob("*.json"))
REGISTRY = json.loads((ROOT / "instances" / "best_known.json").read_text())


FOLDERS = ("paper", "placed", "transformers")


def files_of(name: str) -> list[Path]:
    """Where an instance of that name may be; built-in ones that studies name have no file."""
    return [ROOT / "instances" / folder / f"{name}.json" for folder in FOLDERS]


@cache
def shipped(name: str) -> tuple[Instance, LatencyTables]:
    """An instance of those that have studies, with its tables."""
    instance = Instance.load(next(file for file in files_of(name) if file.exists()))
    return instance, build_tables(instance)


@cache
def optima() -> dict[str, int]:
    """Proved optimum of each instance of the paper."""
    found = {}
    for record in load_records(ROOT / "results" / "optima"):
        if record.label == "exact" and record.result is not None:
            assert record.result.status is Status.OPTIMAL
            assert record.result.objective_ps is not None
            found[record.instance.name] = record.result.objective_ps
    return found


def check(result: Result, instance: Instance, tables: LatencyTables) -> None:
    """A schedule must be valid and take what was recorded."""
    assert result.instance.digest == instance.digest
    assert result.objective_ps is None or result.objective_ps >= latency_bound(tables)
    if result.schedule is None:
        return
    evaluation = evaluate(instance, result.schedule, tables)
    assert evaluation.violations == ()
    assert evaluation.objective_ps == result.objective_ps


@pytest.mark.parametrize("folder", STUDIES, ids=lambda folder: folder.name)
def test_studies(folder: Path) -> None:
    """What every record claims, and that the study file still asks for these jobs."""
    jobs = jobs_of(load_study(folder / "study.toml"), folder / "study.toml")
    asked = {(job.instance.name, job.variant, job.label, job.seed): job for job in jobs}
    by_instance: dict[tuple[str, str | None], list[Record]] = {}
    for record in load_records(folder):
        place = (record.instance.name, record.variant, record.label, record.seed)
        assert asked[place].instance.digest == record.instance.digest
        assert asked[place].options == record.options
        by_instance.setdefault(place[:2], []).append(record)
    assert by_instance
    for records in by_instance.values():
        first = records[0]
        instance = asked[first.instance.name, first.variant, first.label, first.seed].instance
        of_file = first.variant is None and any(file.exists() for file in files_of(instance.name))
        tables = shipped(instance.name)[1] if of_file else build_tables(instance)
        for record in records:
            if record.result is not None:
                check(record.result, instance, tables)
            else:
                assert record.outcome is not Outcome.DONE


@pytest.mark.parametrize("folder", STUDIES, ids=lambda folder: folder.name)
def test_no_claim_contradicts_a_proved_optimum(folder: Path) -> None:
    for record in load_records(folder):
        result = record.result
        if result is None or record.variant is not None:
            continue
        if record.instance.name not in NAMES:
            continue  # `metrics.reference` compares their bounds and schedules
        optimum = optima()[record.instance.name]
        assert result.objective_ps is None or result.objective_ps >= optimum
        free = record.options.get("segments") in (None, "dp")
        whole = free and not record.solver.startswith("exact-")
        if load_solver(record.solver).exact and whole and result.bound_ps is not None:
            assert result.bound_ps <= optimum


def test_every_scheme_is_at_most_its_own_optimum() -> None:
    found = {
        (record.instance.name, record.label): record.result.objective_ps
        for record in load_records(ROOT / "results" / "optima")
        if record.result is not None
    }
    for name in NAMES:
        for scheme in ("sequential", "pipeline", "segmented"):
            heuristic, best = found[name, scheme], found[name, f"exact-{scheme}"]
            assert heuristic is None or (best is not None and best <= heuristic)


def test_validations() -> None:
    lines = (ROOT / "results" / "validation" / "validations.jsonl").read_text().splitlines()
    assert lines
    for line in lines:
        validation = Validation.from_json(line, "validations.jsonl")
        name = validation.instance.name
        assert validation.exact is not None
        if name in optima():
            assert validation.optimum.objective_ps == optima()[name]
        else:
            known, _ = best_known.known_placed()[name]
            assert known.bound is not None
            assert validation.optimum.objective_ps is not None
            assert known.bound <= validation.optimum.objective_ps
            assert validation.optimum.bound_ps is not None
            assert known.objective is not None
            assert validation.optimum.bound_ps <= known.objective
        for result in (*validation.runs, validation.exact):
            check(result, *shipped(name))
        gap, losses = validation.gaps[0], validation.losses
        assert gap is not None
        assert losses is not None
        parts = losses.partitions + losses.regions + losses.clusters + losses.segments
        assert parts == pytest.approx(gap.at_least)


def test_registry_covers_the_paper() -> None:
    """Entries of instances that were submitted only come after those of studies."""
    names = [entry["instance"]["name"] for entry in REGISTRY["entries"]]
    placed, transformers = best_known.known_placed(), best_known.known_transformers()
    studied = names[: len(NAMES) + len(placed) + len(transformers)]
    assert studied[len(NAMES) :] == [*placed, *transformers]
    assert sorted(studied[: len(NAMES)]) == NAMES
    assert set(names[len(studied) :]) <= set(benchmark())


@pytest.mark.parametrize("entry", REGISTRY["entries"], ids=lambda entry: entry["instance"]["name"])
def test_registry(entry: dict[str, object]) -> None:
    instance, tables = shipped(entry["instance"]["name"])  # type: ignore[index]
    assert entry["instance"]["digest"] == instance.digest  # type: ignore[index]
    schedule = Schedule.load(ROOT / "instances" / str(entry["schedule"]))
    evaluation = evaluate(instance, schedule, tables)
    assert evaluation.violations == ()
    assert evaluation.objective_ps == entry["objective_ps"]
    proved = entry["bound_ps"] == entry["objective_ps"]
    assert proved == str(entry["class"]).startswith("proved")
    if instance.name in optima():
        assert proved
        assert entry["objective_ps"] == optima()[instance.name]


def test_orders() -> None:
    """Schedules evaluate in their order, and the bound is the least of all orders'."""
    for result in load_solved().values():
        check(result, *shipped(result.instance.name))
        bounds = [each.bound_ps for each in result.orders if not each.infeasible]
        assert result.bound_ps == min(bound for bound in bounds if bound is not None)
    for result in load_solved(HILBERT).values():
        check(result, *shipped(result.instance.name))
        assert result.schedule is not None
        assert result.schedule.order == "hilbert"


def test_checks_are_of_the_certificates_that_are_there() -> None:
    """Every certificate of the paper's instances, as it is now, was checked; no other one."""
    checks = load_checks()
    assert len(checks) == len(CHECKS.read_text().splitlines())
    named = [*NAMES, *(f"{name}-placed" for name in NAMES)]
    assert set(checks) == {name for name in named if certificate_of(name).exists()}
    entries = {entry["instance"]["name"]: entry for entry in REGISTRY["entries"]}
    for name, check in checks.items():
        certificate, entry = Certificate.load(certificate_of(name)), entries[name]
        assert check.instance.digest == certificate.instance.digest == shipped(name)[0].digest
        assert check.file_bytes == certificate_of(name).stat().st_size
        assert check.objective_ps == certificate.objective_ps == entry["objective_ps"]
        assert check.bound_ps == certificate.bound_ps <= entry["bound_ps"]


def test_placed_records_agree_with_each_other() -> None:
    """`metrics.reference` raises where a bound exceeds a schedule."""
    for what, results in best_known.known_placed().values():
        assert what.objective == min(r.objective_ps for r in results if r.objective_ps is not None)
        assert what.bound is not None
        assert latency_bound(shipped(results[0].instance.name)[1]) <= what.bound


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_those_of_the_records(name: str) -> None:
    article = PAGES[name]()
    assert (folder(name) / "README.md").read_text() == render(article)
    for block in article.blocks:
        if isinstance(block, Picture):
            assert (folder(name) / block.file).is_file()


def test_takeaways() -> None:
    """Numbers of the page, computed from the lines of the records once more."""
    page = (ROOT / "results" / "takeaways" / "README.md").read_text()
    rows = {
        cells[0]: cells[1:]
        for line in page.splitlines()
        if line.startswith("|")
        for cells in [[cell.strip() for cell in line.strip("| ").split(" | ")]]
    }
    for column, study in enumerate(("optima", "placed")):
        ps: dict[str, dict[str, int]] = {}
        for line in (ROOT / "results" / study / "records.jsonl").read_text().splitlines():
            record = json.loads(line)
            latency = (record["result"] or {}).get("objective_ps")
            if latency is not None and record.get("seed") in (None, 0):
                ps.setdefault(record["instance"]["name"], {})[record["label"]] = latency
        for scheme in ("scope", "segmented"):
            gaps = [x[scheme] / x["exact"] - 1 for x in ps.values() if scheme in x]
            cell = f"{100 * statistics.median(gaps):.1f}, {100 * max(gaps):.1f}"
            assert rows[f"gap of `{scheme}`, median and largest, %"][column] == cell
        if study == "placed":
            lines = (ROOT / "results" / "gaps" / "records.jsonl").read_text().splitlines()
            annealed = [record for record in map(json.loads, lines) if record["label"] == "anneal"]
            gaps = [
                record["result"]["objective_ps"] / ps[record["instance"]["name"]]["exact"] - 1
                for record in annealed
            ]
            cell = f"{100 * statistics.median(gaps):.1f}, {100 * max(gaps):.1f}"
            assert rows["gap of `anneal`, median and largest, %"][column] == cell
        for how, single, merged in (
            ("by search", "segmented", "scope"),
            ("between optima", "exact-segmented", "exact"),
        ):
            gains = [x[single] / x[merged] for x in ps.values() if {single, merged} <= set(x)]
            cell = rows[f"merging {how}: median, largest; slower in"][column]
            if not gains:
                assert cell == "-"
                continue
            slower = sum(gain < 1 for gain in gains)
            expected = f"{statistics.median(gains):.2f}, {max(gains):.2f}"
            assert cell == f"{expected}; {slower} of {len(gains)}"
    lines = (ROOT / "results" / "orders" / "results.jsonl").read_text().splitlines()
    solved = {result["instance"]["name"]: result for result in map(json.loads, lines)}
    others = sum(result["schedule"]["order"] != "zigzag" for result in solved.values())
    assert f"wins in {others} of {len(solved)} instances" in page


def test_floats_are_blamed_only_where_a_library_was_called() -> None:
    outcomes = (ROOT / "results" / "reach" / "README.md").read_text().split("## ")[1]
    table = [line.strip("| ").split(" | ") for line in outcomes.splitlines() if line[:1] == "|"]
    starred = [
        (row[0], label + suffix)
        for row in table[2:]
        for label, cell in zip(table[0][1:], row[1:], strict=True)
        for suffix, part in zip(("", " 600 s"), cell.split(" / "), strict=False)
        if part.endswith("*")
    ]
    assert starred
    for name, label in starred:
        result = records_of("reach").result(name, label)
        assert result is not None
        assert metrics.used_floats(result)
