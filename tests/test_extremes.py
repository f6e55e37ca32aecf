"""Numbers at the edge of what files, floats and int64 hold; names that are markup or formulas."""

from __future__ import annotations

import csv
import json
import math
import time
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import oracle
import pytest
from documents import shipped
from helpers import invoke, plain, read, solve_with
from hypothesis import given
from hypothesis import strategies as st
from strategies import physical_instances

from formulations.cp_sat.rows import PowerRow
from formulations.space import make_space
from scope_opt.cost.build import build_tables
from scope_opt.model.files import InputError
from scope_opt.model.package import LEAST, MOST
from scope_opt.model.tables import LIMIT
from scope_opt.pareto.front import Front
from scope_opt.report.front_page import front_page
from scope_opt.schedule.preflight import reasons, refuse_power
from scope_opt.solving.result import Result, Status, StopReason
from scope_opt.solving.solver import SolveOptions, solve
from scope_opt.studies.records import FORMULA, Outcome, Record, RecordFile, write_table

if TYPE_CHECKING:
    from pathlib import Path

    from documents import Json

PROGRAMS = ("cp-sat", "interval-milp", "compact-milp")


def changed(document: Json, path: str, value: object) -> Json:
    """The document with another value at a place."""
    copy: Json = json.loads(json.dumps(document))
    inner: Any = copy
    *outer, last = path.split(".")
    for key in outer:
        inner = inner[key]
    inner[last] = value
    return copy


QUANTITIES = (
    *("package.chiplet.frequency_hz", "package.nop.bandwidth_bytes_per_s"),
    *("package.nop.energy_pj_per_bit", "package.nop.eta_within", "package.nop.eta_between"),
    *("package.dram.bandwidth_bytes_per_s", "package.dram.latency_s", "package.dram.efficiency"),
    *("package.dram.energy_pj_per_bit", "package.mac_energy_pj"),
    "package.sram_energy_pj_per_byte",
)


@pytest.mark.parametrize("path", QUANTITIES)
@pytest.mark.parametrize("value", [5e-324, 1e-300, LEAST, MOST, 1e300, 1.7976931348623157e308])
def test_quantities_at_the_edge_of_floats(tmp_path: Path, path: str, value: float) -> None:
    """Shown and solved, or refused with file and, where it alone is to blame, field."""
    file = tmp_path / "instance.json"
    file.write_text(json.dumps(changed(shipped("tiny-skip"), path, value)))
    shown = invoke("show", file)
    solved = invoke("solve", file, "--solver", "scope", "--json")
    for outcome in (shown, solved):
        if outcome.exit_code == 2:
            assert outcome.stderr.startswith(f"error: {file}: ")
            if not LEAST <= value <= MOST:
                assert f"{path}: input should be" in outcome.stderr
        elif outcome is solved and outcome.exit_code == 0:
            result = Result.from_json(outcome.stdout, "stdout")
            assert result.schedule is not None
            document = json.loads(file.read_text())
            assert oracle.objective_ps(document, plain(result.schedule)) == result.objective_ps


# --- Power ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("power_w", [1e-30, 1e-12, 1.2345678901234567e-11])
def test_power_budget_under_which_latencies_overflow(tmp_path: Path, power_w: float) -> None:
    document = changed(shipped("tiny-skip"), "constraints", {"power_budget_w": power_w})
    file = tmp_path / "instance.json"
    file.write_text(json.dumps(document))
    outcome = invoke("solve", file, "--solver", "cp-sat")
    assert outcome.exit_code == 2
    assert outcome.stderr.startswith(
        f"error: {file}: constraints: power_budget_w: MACs and buffers"
    )
    assert "raise it" in outcome.stderr


@pytest.mark.parametrize("solver", PROGRAMS)
def test_small_power_budget_is_met_or_refused(solver: str) -> None:
    """Latencies just below 2^61 ps; CP-SAT may find the numbers too large."""
    document = changed(shipped("tiny-skip"), "constraints", {"power_budget_w": 1e-10})
    try:
        result = solve_with(solver, document, "single", time_limit_s=20.0)
    except InputError as error:
        assert "too large" in str(error)  # noqa: PT017
        return
    assert result.schedule is not None
    assert result.objective_ps is not None
    assert result.objective_ps < LIMIT
    assert oracle.objective_ps(document, plain(result.schedule)) == result.objective_ps


def test_latency_bound_that_the_power_budget_excludes() -> None:
    limits = {"power_budget_w": 1e-4, "latency_bound_s": 1e-4}
    instance = read(changed(shipped("tiny-skip"), "constraints", limits))
    found = reasons(instance, build_tables(instance))
    assert any("at power_budget_w = 0.0001 at least" in reason for reason in found)


@given(st.data())
def test_power_reasons_are_proofs(data: st.DataObject) -> None:
    document = data.draw(physical_instances(3, 3))
    budget = data.draw(st.floats(1e-3, 1e3))
    document = changed(document, "constraints", {"power_budget_w": budget})
    instance = read(document)
    tables = build_tables(instance)
    best = oracle.best(document)
    assert best is not None or document["overflow"] == "forbid"
    if best is None:
        return
    try:
        refuse_power(instance, tables)
    except InputError:
        assert best[1] >= LIMIT
    bound = Fraction(best[1], 10**12)
    above = math.nextafter(float(bound), math.inf)
    bounded = read(changed(document, "constraints.latency_bound_s", above))
    assert reasons(bounded, tables) == []


@pytest.mark.parametrize("power_w", [1e-30, 1e-12, 0.1, 1.2345678901234567])
@pytest.mark.parametrize("beat_ps", [1, 10**12, LIMIT, 10**40])
@pytest.mark.parametrize("energy_fj", [1, 10**9, LIMIT - 1, 10**30])
def test_power_rows_hold_for_every_beat_that_power_allows(
    power_w: float, beat_ps: int, energy_fj: int
) -> None:
    document = changed(shipped("tiny-skip"), "constraints", {"power_budget_w": power_w})
    instance = read(document)
    space = make_space(instance, build_tables(instance), None, None)
    row = PowerRow.of(space, beat_ps, energy_fj)
    assert row is not None
    needed = math.ceil(energy_fj / (1000 * Fraction(str(power_w))))
    assert row.beat_factor * min(beat_ps, LIMIT - 1) < LIMIT
    assert row.energy_factor * energy_fj < LIMIT
    assert row.beat_ps(energy_fj) <= needed


# --- Energy --------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", PROGRAMS)
def test_energies_of_a_batch_beyond_int64(solver: str) -> None:
    document = changed(shipped("tiny-skip"), "package.mac_energy_pj", 10_000.0)
    document = {**document, "samples": 10**6, "constraints": {"latency_bound_s": 1e3}}
    result = solve(read(document), solver, SolveOptions("single", time_limit_s=60.0))
    assert result.objective_fj is not None
    assert result.objective_fj > 2**63
    assert result.schedule is not None
    energy_fj = oracle.energy_fj_total(document, plain(result.schedule))
    assert energy_fj is not None
    # The oracle rounds MACs exactly; tables forgive one part in 10^12, here hundreds of fJ.
    assert 0 <= energy_fj - result.objective_fj <= energy_fj * 10**-12
    assert Result.from_json(result.to_json(), "again") == result


def test_energies_of_a_sample_beyond_int64_matter_to_limits_on_them_only() -> None:
    document = shipped("tiny-skip")
    energy = build_tables(read(document)).energy
    assert energy is not None
    most = LIMIT // int(energy.mac_fj.max())
    high = changed(
        document, "package.mac_energy_pj", 0.9 * most * document["package"]["mac_energy_pj"]
    )
    best = solve_with("exact", document)
    for solver in ("exact", "anneal", "scope", "cp-sat", "interval-milp"):
        found = solve_with(solver, high)
        assert found.objective_ps is not None
        assert best.objective_ps is not None
        assert found.objective_ps >= best.objective_ps
        assert solver == "scope" or found.objective_ps == best.objective_ps
        assert found.schedule is not None
        energy_fj = oracle.energy_fj_total(high, plain(found.schedule))
        assert energy_fj is not None
        assert energy_fj > LIMIT * high["samples"]
    for limits in ({"latency_bound_s": 1.0}, {"power_budget_w": 1e12}, {"energy_budget_j": 1e9}):
        with pytest.raises(InputError, match="leave out the limit"):
            solve_with("cp-sat", {**high, "constraints": limits})


# --- Buffers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("buffer", [2**40, 2**57])
def test_room_of_huge_buffers_fits_int64(buffer: int) -> None:
    document = shipped("tiny-stream")
    ample = changed(document, "package.chiplet.weight_buffer_bytes", buffer)
    best = solve_with("exact", ample, "single")
    found = solve_with("compact-milp", ample, "single")
    assert best.status is Status.OPTIMAL
    assert found.objective_ps == best.objective_ps
    assert found.objective_ps is not None
    assert found.bound_ps is not None
    assert found.bound_ps <= found.objective_ps <= found.bound_ps * (1 + 1e-5)  # of a float program


# --- Time limits ---------------------------------------------------------------------------------


def test_explanation_keeps_within_the_time_limit(tmp_path: Path) -> None:
    """Two limits that together leave nothing, which takes programs to find out."""
    document = shipped("tiny-skip")
    result = solve_with("cp-sat", document, "single")
    assert result.objective_ps is not None
    limits = {"latency_bound_s": 1.2 * result.objective_ps / 1e12, "power_budget_w": 0.5}
    file = tmp_path / "instance.json"
    file.write_text(json.dumps({**document, "constraints": limits}))
    began = time.perf_counter()
    outcome = invoke("solve", file, "--solver", "cp-sat", "--time-limit", "0.001")
    assert outcome.exit_code == 1
    assert time.perf_counter() - began < 10


# --- Names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [*FORMULA, "\t=", " \n+", "\r@"])
def test_table_holds_no_formulas(tmp_path: Path, start: str) -> None:
    name = f"{start}1+1"
    instance = read({**shipped("tiny-skip"), "name": name})
    result = solve(instance, "scope")
    record = Record(
        key="0" * 64,
        instance=result.instance,
        variant=name,
        label=name,
        solver="scope",
        seed=None,
        options={},
        outcome=Outcome.DONE,
        explanation=(name, name),
        result=result,
        started="2026-01-01T00:00:00+00:00",
        wall_s=0.0,
        host=name,
        commit=None,
    )
    with RecordFile(tmp_path) as file:
        file.append(record)
    write_table(tmp_path)
    with (tmp_path / "table.csv").open(newline="") as table:
        (row,) = csv.DictReader(table)
    shown = "'" + name.replace("\r", " ")
    assert row["instance"] == row["variant"] == row["label"] == row["host"] == shown
    assert row["explanation"].startswith(f"{shown}; ")
    assert row["objective_ps"] == str(result.objective_ps)
    assert row["wall_s"] == "0.0"


def test_title_of_a_front_is_no_markup() -> None:
    instance = read({**shipped("tiny-skip"), "name": "<a href='x'>&"})
    front = Front(
        instance=solve(instance, "scope").instance,
        solver="cp-sat",
        options={},
        complete=False,
        stop_reason=StopReason.INTERRUPTED,
        latency_bound_ps=None,
        points=(),
    )
    page = front_page(front, instance)
    assert "\\u0026lt;a href=" in page or "&lt;a href=" in page
    assert "<a href='x'" not in page
    assert "\\u003ca href" not in page


# --- Shown as strictly as evaluated --------------------------------------------------------------


@pytest.mark.parametrize("known", [False, True])
def test_what_is_no_schedule_is_not_drawn(tmp_path: Path, known: bool) -> None:
    document, schedule, result = (tmp_path / f"{name}.json" for name in ("i", "s", "r"))
    document.write_text(json.dumps(shipped("tiny-skip")))
    solved = json.loads(invoke("solve", document, "--json").stdout)
    broken = solved["schedule"]
    broken["segments"][-1]["clusters"][-1]["first_layer"] += 10
    schedule.write_text(json.dumps(broken))
    result.write_text(json.dumps(solved))
    for file in (schedule, result):
        outcome = invoke("show", file, *([document] if known else []))
        assert outcome.exit_code == 1
        assert "empty-cluster" in outcome.stdout
        report = tmp_path / f"report-{file.stem}"
        assert invoke("report", file, "--instance", document, "-o", report).exit_code == 0
        page = (report / "index.html").read_text()
        assert "Not feasible" in page
        assert "empty-cluster" in page
        assert "data-figure=" not in page


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("time_limit_s", "<b>"),
        ("time_limit_s", -1),
        ("time_limit_s", True),
        ("segments", "all"),
        ("segments", -1),
        ("segments", ["0"]),
        *(("seed", "1"), ("threads", 1.5), ("encoding", 3)),
    ],
)
def test_options_of_results_have_types(option: str, value: object) -> None:
    content = json.loads(solve_with("scope", shipped("tiny-skip")).to_json())
    assert Result.from_json(json.dumps(content), "file").status is Status.FEASIBLE
    content["options"][option] = value
    with pytest.raises(InputError, match=rf"^file: options\.{option}: found .*; allowed: "):
        Result.from_json(json.dumps(content), "file")
