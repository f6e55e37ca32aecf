"""Who proved a result: every solver says it, and pages say no more than that."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from documents import two_layers
from helpers import read
from rogues import Crashes, Rogue
from test_metrics import SOLVED, renamed, small

from formulations.cp_sat.solver import CpSatSolver
from formulations.interval_milp.solver import IntervalMilpSolver
from formulations.tuning import Tuning
from scope_opt.model.files import InputError
from scope_opt.model.generate import paper_instance
from scope_opt.model.instance import Instance
from scope_opt.schedule.schedule import InstanceReference
from scope_opt.solving.isolate import Isolated
from scope_opt.solving.metrics import (
    CLASS_NAMES,
    CLASSES,
    library_share,
    library_work,
    proof_of,
    proof_text,
    provers,
    reference,
    solver_class,
    used_floats,
)
from scope_opt.solving.monitor import Monitor
from scope_opt.solving.result import ModelSize, Proof, Result, Status, StopReason, Times
from scope_opt.solving.solver import SolveOptions, load_solver, solve
from scope_opt.studies.records import RECORDS, Outcome, Record, write_table

if TYPE_CHECKING:
    from scope_opt.model.tables import LatencyTables

Json = dict[str, Any]

TINY = Path(__file__).parents[1] / "instances" / "tiny"


def tiny(stem: str, **constraints: Any) -> Instance:
    document: Json = json.loads((TINY / f"{stem}.json").read_text())
    document["constraints"] = constraints or document.get("constraints", {})
    return Instance.from_json(json.dumps(document), stem)


def proof(result: Result) -> Proof:
    assert result.proof is not None
    return result.proof


# --- What solvers say ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("solver", "by"),
    [
        *((name, "recursion") for name in ("exact", "exact-segmented", "exact-sequential")),
        *(("exhaustive", "enumeration"), ("paths", "paths")),
        *((name, "simple bound") for name in ("scope", "anneal", "sequential", "segmented")),
    ],
)
def test_without_programs(solver: str, by: str) -> None:
    options = SolveOptions(iterations=100 if solver == "anneal" else None)
    result = solve(tiny("tiny-skip"), solver, options)
    assert proof(result).by == (by,)
    assert proof(result) == Proof(by=proof(result).by, library=None, programs=0, library_s=0.0)
    assert proof_text(result) == ("bounded by paths" if by == "paths" else by)
    assert not used_floats(result)


@pytest.mark.parametrize("solver", [CpSatSolver, IntervalMilpSolver])
def test_paths_that_close_the_gap_leave_the_library_out(
    solver: type[CpSatSolver | IntervalMilpSolver],
) -> None:
    """They come first in large instances."""
    result = solve(tiny("tiny-skip"), solver(Tuning(small=0)))
    assert result.status is Status.OPTIMAL
    assert result.proof == Proof(by=("paths",), library=None, programs=0, library_s=0.0)
    assert not used_floats(result)
    assert proof_text(result) == "bounded by paths"


@pytest.mark.parametrize(
    ("solver", "encoding", "constraints"),
    [
        ("cp-sat", None, {"latency_bound_s": 0.0001}),
        ("interval-milp", None, {"energy_budget_j": 0.0002}),
        ("interval-milp", None, {"latency_bound_s": 0.001}),
        ("interval-milp", "thresholds", {"power_budget_w": 0.3}),
        ("interval-milp", "beats", {}),
        ("compact-milp", None, {}),
    ],
)
def test_programs_count_and_have_the_credit(
    solver: str, encoding: str | None, constraints: Json
) -> None:
    options = SolveOptions(segments="single", encoding=encoding)
    result = solve(tiny("tiny-skip", **constraints), solver, options)
    library = "cp-sat" if solver == "cp-sat" else "highs"
    said = proof(result)
    assert library in said.by
    assert set(said.by) <= {"paths", library, "enumeration"}
    assert said.library == library
    assert said.programs > 0
    assert 0 < said.library_s < result.times_s.total
    assert used_floats(result) == (library == "highs")
    assert result.model is not None
    text = proof_text(result)
    assert text is not None
    assert text.startswith(f"{', '.join(said.by)}: {said.programs} program")
    assert f"largest {result.model.variables:,} x {result.model.constraints:,}, " in text
    assert text.endswith("CP-SAT" if solver == "cp-sat" else "HiGHS")


def test_a_library_that_only_finds_the_schedule_proves_nothing() -> None:
    """The bound is that of paths; CP-SAT attains it."""
    said = proof(solve(tiny("tiny-tables"), "cp-sat"))
    assert said.by == ("paths",)
    assert (said.library, said.programs) == ("cp-sat", 1)
    assert said.library_s > 0


@pytest.mark.parametrize("solver", ["exact", "paths", "cp-sat"])
def test_simple_reasons_are_the_simple_bound(solver: str) -> None:
    result = solve(tiny("tiny-skip", min_clusters=5, region_multiple=2), solver)
    assert result.status is Status.INFEASIBLE
    assert proof(result).by == ("simple bound",)
    assert provers(result) == proof_text(result) == "simple bound"


@pytest.mark.parametrize(
    ("solver", "by"),
    [
        *(("exact", "simple bound"), ("exhaustive", "enumeration")),
        # Weights that exceed all buffers leave no segment to look at, nor columns to a program.
        *(("paths", "simple bound"), ("cp-sat", "paths"), ("pipeline", "simple bound")),
    ],
)
def test_who_proved_that_there_is_no_schedule(solver: str, by: str) -> None:
    options = SolveOptions(segments=None if solver == "pipeline" else "single")
    result = solve(paper_instance("alexnet", 16), solver, options)
    assert result.status is Status.INFEASIBLE
    assert proof(result).by == (by,)


def test_the_recursion_proves_what_the_simple_bound_does_not_see() -> None:
    """Each of two clusters needs two of three chiplets, though all weights fit into the buffers."""
    document = two_layers(constraints={"min_clusters": 2})
    document["tables"] |= {"chiplets": 3, "weight_buffer_bytes": 2}
    for layer in document["tables"]["layers"]:
        layer |= {"weight_bytes": 3, "compute_ps": {"ISP": [10] * 3, "WSP": [10] * 3}}
    result = solve(read(document), "exact", SolveOptions(segments="single"))
    assert result.status is Status.INFEASIBLE
    assert proof(result).by == ("recursion",)


class Silent(Rogue):
    """Reports a bound and does not say where it is from."""

    def run(
        self, instance: Instance, tables: LatencyTables, options: SolveOptions, monitor: Monitor
    ) -> None:
        monitor.raise_bound(1)


def test_solvers_that_do_not_say() -> None:
    result = solve(small(), Silent())
    assert proof(result).by == ()
    assert proof_text(result) == provers(result) == "unnamed"


# --- From other processes ------------------------------------------------------------------------


def test_isolated_solvers_say_the_same() -> None:
    instance = tiny("tiny-skip", energy_budget_j=0.0002)
    here = proof(solve(instance, "cp-sat"))
    there = proof(solve(instance, Isolated(load_solver("cp-sat"))))
    assert (there.by, there.library, there.programs) == (here.by, here.library, here.programs)
    assert there.library_s > 0


class SaysAndCrashes(Crashes):
    """Has a program solved before it crashes."""

    def misbehave(self, monitor: Monitor) -> None:
        with monitor.library("cp-sat"):
            pass
        monitor.raise_bound(2, "cp-sat")
        super().misbehave(monitor)


def test_a_crash_leaves_what_was_said() -> None:
    result = solve(paper_instance("alexnet", 64), Isolated(SaysAndCrashes()))
    assert result.stop_reason is StopReason.ERROR
    assert result.bound_ps == 2
    assert proof(result).by == ("cp-sat",)
    assert (proof(result).library, proof(result).programs) == ("cp-sat", 1)


# --- Monitors ------------------------------------------------------------------------------------


def test_credit_counts_once_the_bound_rises() -> None:
    monitor = Monitor()
    assert monitor.proof is None
    monitor.raise_bound(5, "simple bound")
    assert monitor.proof is not None
    assert monitor.proof.by == ("simple bound",)
    with monitor.library("highs"):
        pass
    monitor.credit("highs")
    assert monitor.proof.by == ("simple bound",)  # no bound rests on that so far
    monitor.raise_bound(5, "enumeration")  # no higher
    assert monitor.proof.by == ("simple bound",)
    monitor.raise_bound(6, "paths")
    assert monitor.proof == Proof(
        by=("paths", "highs"), library="highs", programs=1, library_s=monitor.proof.library_s
    )


def test_programs_without_a_bound_are_kept() -> None:
    monitor = Monitor()
    with monitor.library("cp-sat"):
        pass
    assert monitor.proof is not None
    assert (monitor.proof.by, monitor.proof.programs) == ((), 1)
    monitor.prove_infeasible(["there is none"], "cp-sat")
    assert monitor.proof.by == ("cp-sat",)


@pytest.mark.parametrize(
    ("by", "library", "programs"),
    [
        (["highs", "paths"], "highs", 1),
        (["paths", "paths"], None, 0),
        (["highs"], None, 0),
        (["highs"], "cp-sat", 1),
        (["paths"], "highs", 0),
        (["paths"], None, 1),
        (["magic"], None, 0),
    ],
)
def test_proofs_that_contradict_themselves(
    by: list[str], library: str | None, programs: int
) -> None:
    content = {"by": by, "library": library, "programs": programs, "library_s": 0.0}
    with pytest.raises(InputError):
        Proof.from_json(json.dumps(content), "test")


# --- Readers -------------------------------------------------------------------------------------


def test_results_come_back_with_it() -> None:
    result = solve(tiny("tiny-skip"), "interval-milp")
    again = Result.from_json(result.to_json(), "test")
    assert again == result
    assert proof(again).library == "highs"


def old(solver: str, model: ModelSize | None = None, **changes: Any) -> Result:
    """A result from before the field."""
    content = json.loads(renamed(SOLVED["exact", None], solver).to_json())
    del content["proof"]
    result = Result.from_json(json.dumps(content), "test")
    return result.model_copy(update={"model": model, **changes})


def test_old_results_say_what_they_record_and_no_more() -> None:
    size = ModelSize(variables=4321, constraints=1234, nonzeros=9)
    for solver in ("cp-sat", "interval-milp"):
        result = old(solver)
        assert proof_of(result) == Proof(by=("paths",), library=None, programs=0, library_s=0.0)
        assert proof_text(result) == "bounded by paths"
        unsaid = [
            old(solver, size),
            old(solver, stop_reason=StopReason.MEMORY_LIMIT),
            old(solver, options={"encoding": "columns"}),
        ]
        for result in unsaid:
            assert proof_of(result) is None
            assert proof_text(result) == provers(result) == "not recorded"
    for solver in ("exact", "compact-milp", "somebody's"):
        assert provers(old(solver)) == "not recorded"
        assert library_work(old(solver)) is None
    floats = [old(solver, size) for solver in ("interval-milp", "compact-milp")]
    assert all(map(used_floats, floats))
    others = [old("interval-milp"), old("compact-milp"), old("cp-sat", size), old("exact")]
    assert not any(map(used_floats, others))
    nothing: Json = {"bound_ps": None, "gap": None, "status": Status.FEASIBLE}
    assert provers(old("scope", **nothing)) is None
    assert proof_text(old("scope", **nothing)) is None


def test_words_for_programs() -> None:
    size = ModelSize(variables=4321, constraints=1234, nonzeros=9)
    said = Proof(by=("paths", "highs"), library="highs", programs=1200, library_s=3.14)
    times = Times(tables=0.0, build=None, solve=6.28, total=6.28)
    result = old("interval-milp", size, proof=said, times_s=times)
    assert library_share(result) == 0.5
    assert proof_text(result) == (
        "paths, highs: 1,200 programs, largest 4,321 x 1,234, 3.1 s (50 %) in HiGHS"
    )
    both = said.model_copy(update={"second_library": "cp-sat"})
    text = proof_text(old("network-milp", size, proof=both, times_s=times))
    assert text is not None
    assert text.endswith("3.1 s (50 %) in HiGHS and CP-SAT")
    nothing: Json = {"bound_ps": None, "gap": None, "status": Status.FEASIBLE}
    unproved = said.model_copy(update={"by": (), "programs": 1})
    assert proof_text(old("interval-milp", proof=unproved, times_s=times, **nothing)) == (
        "no bound: 1 program, 3.1 s (50 %) in HiGHS"
    )


def test_classes() -> None:
    """By solver and encoding; a program that paths helped does not speak for its library alone."""
    alone = Proof(by=("highs",), library="highs", programs=1, library_s=1.0)
    helped = alone.model_copy(update={"by": ("paths", "highs")})
    assert solver_class(old("network-milp", proof=alone)) == "L"
    assert solver_class(old("network-milp", proof=helped)) == "H"
    columns: Json = {"options": {"encoding": "columns"}}
    assert solver_class(old("cp-sat", **columns)) == "L"
    assert solver_class(old("cp-sat", proof=helped, **columns)) == "H"
    assert solver_class(old("interval-milp")) == "H"
    assert solver_class(old("scope")) == "P"
    assert solver_class(old("exact")) == "E"
    assert solver_class(old("anneal")) is None
    assert solver_class(old("somebody's")) is None
    assert set(CLASSES.values()) <= set(CLASS_NAMES)


def test_a_result_names_its_class() -> None:
    assert solve(tiny("tiny-skip"), "interval-milp").solver_class == "H"
    beats = SolveOptions(encoding="beats")
    assert solve(tiny("tiny-skip"), "interval-milp", beats).solver_class == "L"
    assert solve(tiny("tiny-skip"), "scope").solver_class == "P"


def test_a_second_library_is_another_one() -> None:
    said: Json = {"by": ["highs", "cp-sat"], "programs": 2, "library_s": 1.0}
    Proof.from_json(json.dumps({**said, "library": "highs", "second_library": "cp-sat"}), "test")
    for first, second in (("highs", "highs"), (None, "cp-sat"), ("highs", None)):
        content = {**said, "library": first, "second_library": second}
        with pytest.raises(InputError):
            Proof.from_json(json.dumps(content), "test")


def test_simple_bounds_are_one_method_whoever_reports_them() -> None:
    simple = Proof(by=("simple bound",), library=None, programs=0, library_s=0.0)
    exact = renamed(SOLVED["exact", None], "exact", proof=simple)
    other = renamed(exact, "cp-sat")
    assert reference([exact, other]).kind == "opt1"
    assert reference([exact, other]).methods == ("simple bound",)
    assert reference([SOLVED["exact", None], other]).methods == ("exact",)


def test_tables_of_studies_say_it(tmp_path: Path) -> None:
    size = ModelSize(variables=4321, constraints=1234, nonzeros=9)
    said = Proof(by=("paths", "highs"), library="highs", programs=12, library_s=3.5)
    results = [old("interval-milp", size, proof=said), old("cp-sat"), old("exact"), None]
    lines = [
        Record(
            key=f"{number:064x}",
            instance=InstanceReference.to(small()),
            variant=None,
            label=f"{number}",
            solver="any",
            seed=None,
            options={},
            outcome=Outcome.REFUSED if result is None else Outcome.DONE,
            result=result,
            started="2026-01-01T00:00:00+00:00",
            wall_s=1.0,
            host="here",
            commit=None,
        ).to_line()
        for number, result in enumerate(results)
    ]
    (tmp_path / RECORDS).write_text("".join(lines))
    write_table(tmp_path)
    rows = list(csv.DictReader((tmp_path / "table.csv").read_text().splitlines()))
    names = ("class", "proof_by", "library", "programs", "library_s")
    assert [tuple(row[name] for name in names) for row in rows] == [
        ("H", "paths, highs", "highs", "12", "3.5"),
        ("H", "paths", "", "0", "0.0"),
        ("E", "not recorded", "", "", ""),
        ("", "", "", "", ""),
    ]
