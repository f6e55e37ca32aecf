"""The interval programs: equal to exhaustive search, with bounds that can be trusted."""

from __future__ import annotations

import json
import sys

import numpy as np
import oracle
import placed_strategies
import pytest
import strategies
from documents import TINY_FILES, Json, only, shipped
from helpers import agree, exactly, read, read_schedule, solve_with
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scope_opt.cost.build import build_tables
from scope_opt.model.files import InputError
from scope_opt.model.generate import paper_instance
from scope_opt.schedule.bounds import latency_bound
from scope_opt.schedule.evaluate import evaluate
from scope_opt.solving.monitor import Monitor
from scope_opt.solving.program import build_program
from scope_opt.solving.result import Status, StopReason
from scope_opt.solving.solver import SolveOptions, SolverUnavailable, solve

pytest.importorskip("pyomo.environ", reason="Pyomo is not installed", exc_type=ImportError)
pytest.importorskip("highspy", reason="HiGHS is not installed", exc_type=ImportError)

from typing import TYPE_CHECKING, Any

from formulations.arrays import take
from formulations.columns.maker import ColumnMaker
from formulations.columns.table import ColumnTable
from formulations.cp_sat.solver import CpSatSolver
from formulations.highs import Highs
from formulations.interval_milp.beats import BeatsProgram
from formulations.interval_milp.solver import IntervalMilpSolver
from formulations.interval_milp.thresholds import ThresholdProgram
from formulations.paths.cuts import Cuts
from formulations.paths.network import BeatNetwork
from formulations.paths.staircase import Staircases
from formulations.paths.survey import Survey
from formulations.request import Request, make_request
from formulations.space import Caps
from formulations.tuning import DEFAULT, Tuning

if TYPE_CHECKING:
    from pathlib import Path

    from scope_opt.solving.result import Result
    from scope_opt.solving.solver import SegmentChoice

SMALL = strategies.table_instances(max_layers=4, max_chiplets=4)
SMALL |= strategies.physical_instances(max_layers=4, max_chiplets=4)
SMALL |= placed_strategies.unlimited_instances()
SIDE = strategies.table_instances(max_layers=4, max_chiplets=4, constraints=True)
SIDE |= strategies.physical_instances(
    max_layers=3, max_chiplets=4, constraints=True, couplings=True
)
MEDIUM = strategies.table_instances(max_layers=6, max_chiplets=6)
MEDIUM |= strategies.physical_instances(max_layers=6, max_chiplets=6)

COUPLINGS = {"energy_budget_j", "latency_bound_s", "power_budget_w", "dram_bytes_per_beat"}
"""Side constraints that the exact solver does not honor."""
CLOSE = 1e-4
"""Relative gap that floats may leave in programs whose variables are times or energies."""


def run(
    document: Json,
    segments: SegmentChoice | None = None,
    tuning: Tuning = DEFAULT,
    **options: Any,
) -> Result:
    return solve_with(IntervalMilpSolver(tuning), document, segments, **options)


def close(objective: int) -> float:
    return max(1, CLOSE * objective)


# --- Agreement -----------------------------------------------------------------------------------


@settings(max_examples=strategies.share(2))
@given(document=SMALL, choice=st.sampled_from(["free", "single"]))
def test_thresholds_equal_exhaustive_search(document: Json, choice: str) -> None:
    result = run(document, "single" if choice == "single" else None)
    agree(document, result, oracle.best(document, choice))


@settings(max_examples=strategies.share(2))
@given(document=SMALL, choice=st.sampled_from(["free", "single"]))
def test_beats_equal_exhaustive_search(document: Json, choice: str) -> None:
    result = run(document, "single" if choice == "single" else None, encoding="beats")
    agree(document, result, oracle.best(document, choice), close)


@settings(max_examples=strategies.share(2))
@given(document=SIDE, choice=st.sampled_from(["free", "single"]))
def test_equals_exhaustive_search_under_side_constraints(document: Json, choice: str) -> None:
    constraints = document["constraints"]
    assume(choice == "free" or "fixed_segments" not in constraints)
    coupled = {"energy_budget_j", "latency_bound_s"} & set(constraints)
    result = run(document, "single" if choice == "single" else None)
    open_gap = exactly if choice == "single" or not coupled else close
    agree(document, result, oracle.best(document, choice), open_gap)


@settings(max_examples=strategies.share(2))
@given(document=SMALL | SIDE | MEDIUM, data=st.data())
def test_quick_bounds_and_schedules_first(document: Json, data: st.DataObject) -> None:
    """As in large instances, with bounds and schedules of any quality."""
    constraints = document.get("constraints", {})
    assume(not {"energy_budget_j", "latency_bound_s"} & set(constraints))
    free = "fixed_segments" in constraints or len(read(document).layer_names) > 4
    choice = "free" if free else data.draw(st.sampled_from(["free", "single"]))
    halvings, precision = data.draw(st.integers(0, 3)), data.draw(st.integers(1, 9))
    tuning = Tuning(small=0, halvings=halvings, precision=precision)
    result = run(document, "single" if choice == "single" else None, tuning)
    if set(constraints) & COUPLINGS or not free:
        agree(document, result, oracle.best(document, choice))
    else:
        exact = solve(read(document), "exact")
        assert result.status is exact.status
        assert result.objective_ps == exact.objective_ps


@settings(max_examples=strategies.share(4))
@given(document=SIDE)
def test_beats_under_side_constraints(document: Json) -> None:
    agree(document, run(document, encoding="beats"), oracle.best(document), close)


@settings(max_examples=strategies.share(4))
@given(document=MEDIUM, data=st.data())
def test_equals_the_exact_solver(document: Json, data: st.DataObject) -> None:
    choice = data.draw(strategies.segment_choices(len(read(document).layer_names)))
    result = run(document, choice)
    exact = solve(read(document), "exact", SolveOptions(segments=choice))
    assert result.status is exact.status
    assert result.objective_ps == exact.objective_ps


@pytest.mark.parametrize("path", TINY_FILES, ids=lambda path: path.stem)
def test_shipped_tiny_instances(path: Path) -> None:
    document = json.loads(path.read_text())
    result = run(document)
    if set(document.get("constraints", {})) & COUPLINGS:
        agree(document, result, oracle.best(document), close)
    else:
        exact = solve(read(document), "exact")
        assert result.status is exact.status is Status.OPTIMAL
        assert result.objective_ps == exact.objective_ps


def test_paper_instance() -> None:
    instance = paper_instance("alexnet", 16)
    for segments in (None, (0, 3, 5, 6, 7)):
        options = SolveOptions(segments=segments)
        result = solve(instance, IntervalMilpSolver(), options)
        exact = solve(instance, "exact", options)
        assert result.status is exact.status is Status.OPTIMAL
        assert result.objective_ps == exact.objective_ps


def test_paper_instance_as_one_segment() -> None:
    instance = paper_instance("resnet18", 16)
    options = SolveOptions(segments="single")
    result = solve(instance, IntervalMilpSolver(), options)
    exact = solve(instance, "exact", options)
    assert result.status is exact.status is Status.OPTIMAL
    assert result.objective_ps == exact.objective_ps


# --- Programs ------------------------------------------------------------------------------------


def ask(document: Json) -> Request:
    instance = read(document)
    tables = build_tables(instance)
    monitor = Monitor(minimizes=instance.minimizes)
    return make_request("interval-milp", instance, tables, SolveOptions(), monitor)


@settings(max_examples=strategies.share(2))
@given(document=MEDIUM, data=st.data())
def test_beats_program_has_the_evaluators_objective(document: Json, data: st.DataObject) -> None:
    """Fixed to a schedule it has its latency and accepts it as a start, or has no solution."""
    drawn = data.draw(strategies.schedules(document))
    request = ask(only(document, drawn))
    schedule = read_schedule(request.instance, drawn)
    evaluation = evaluate(request.instance, schedule)
    caps = Caps(request.tables, request.space, None)
    maker = ColumnMaker(request.tables, request.space)
    columns = maker.columns(caps)
    program = BeatsProgram(request, columns, maker.partitions(columns), caps)
    for cluster in schedule.clusters:
        program.size[cluster.first_layer].fix(cluster.chiplets)
    outcome = Highs(program.model, request.monitor).solve(request.monitor)
    if not evaluation.feasible:
        assert outcome.status == "infeasible"
        return
    assert outcome.status == "optimal"
    assert outcome.bound is not None
    assert evaluation.objective_ps is not None
    bound = program.bound(outcome.bound)
    assert bound <= evaluation.objective_ps <= bound + max(1, CLOSE * bound)
    for cluster in schedule.clusters:
        program.size[cluster.first_layer].unfix()
    start = program.start(schedule.segments, evaluation.segments)
    assert start is not None
    free = Highs(program.model, request.monitor).solve(request.monitor, start=start)
    assert free.start_accepted


@settings(max_examples=strategies.share(2))
@given(document=MEDIUM, data=st.data())
def test_schedules_pass_their_own_threshold_and_no_lower_one(
    document: Json, data: st.DataObject
) -> None:
    drawn = data.draw(strategies.schedules(document))
    request = ask(only(document, drawn))
    schedule = read_schedule(request.instance, drawn)
    evaluation = evaluate(request.instance, schedule)
    assume(evaluation.feasible)
    table = ColumnTable(request, None)
    # Other region sizes are none of this schedule.
    sizes = {c.first_layer: c.chiplets for c in schedule.clusters}
    wanted = np.array([sizes.get(layer, 0) for layer in range(request.tables.layers)])
    table.columns = take(table.columns, table.columns.size == wanted[table.columns.first])
    for segment, report in zip(schedule.segments, evaluation.segments, strict=True):
        ends, count = (report.first_layer, report.last_layer), len(segment.clusters)
        columns = table.of_segment(*ends)
        chiplets = request.tables.chiplets
        for below in (0, 1):
            beat = report.beat_ps - below
            if beat < report.dram_beat_ps:
                continue
            network = BeatNetwork(columns, ends, beat, chiplets, count, [])
            program = ThresholdProgram(columns, network, chiplets, (count, count), [])
            outcome = Highs(program.model, request.monitor).solve(request.monitor)
            assert (outcome.status == "optimal") == (not below)


@settings(max_examples=strategies.share(4))
@given(document=MEDIUM, below=st.integers(0, 70))
def test_bounds_between_whole_beats_are_rounded_up(document: Json, below: int) -> None:
    """A segment is settled whatever bound on its latency there is before."""
    exact = solve(read(document), "exact", SolveOptions(segments="single"))
    assume(exact.schedule is not None and exact.objective_ps is not None)
    assert exact.schedule is not None
    assert exact.objective_ps is not None
    tables = build_tables(read(document))
    options, monitor = SolveOptions(segments="single"), Monitor(time_limit_s=20)
    request = make_request("interval-milp", read(document), tables, options, monitor)
    cuts, ends = Cuts("interval-milp", request), (0, tables.layers - 1)
    cuts.found(exact.schedule.segments[0])
    cuts.refute(*ends, exact.objective_ps - below)
    supply = Survey(request, cuts).supply
    Staircases(request, cuts, supply, ThresholdProgram).prove(*ends, None)
    assert not monitor.stopped_early
    assert cuts.lower[ends] == exact.objective_ps


# --- Behavior ------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["thresholds", "beats"])
def test_warm_start(encoding: str) -> None:
    instance = paper_instance("alexnet", 16)
    best = solve(instance, "exact")
    options = SolveOptions(warm_start=best.schedule, encoding=encoding)
    result = solve(instance, IntervalMilpSolver(), options)
    assert result.warm_start == "accepted"
    assert result.objective_ps == best.objective_ps
    assert result.trajectory[0].objective_ps == best.objective_ps


def test_warm_starts_that_do_not_fit_are_rejected() -> None:
    instance = paper_instance("alexnet", 16)
    best = solve(instance, "exact").schedule
    assert best is not None
    assert len(best.segments) > 1
    options = SolveOptions(warm_start=best.model_copy(update={"segments": best.segments[:-1]}))
    result = solve(instance, IntervalMilpSolver(), options)
    assert result.warm_start is not None
    assert result.warm_start.startswith("rejected: layer-coverage at schedule")
    assert result.status is Status.OPTIMAL
    options = SolveOptions(segments=len(best.segments) + 1, warm_start=best)
    result = solve(instance, IntervalMilpSolver(), options)
    assert result.warm_start is not None
    assert result.warm_start.startswith("rejected: segments start at layers")
    assert result.status is Status.OPTIMAL


@pytest.mark.parametrize(
    ("encoding", "network", "chiplets"),
    [("thresholds", "resnet152", 128), ("beats", "resnet18", 16)],
)
def test_time_limit_leaves_a_valid_bound(encoding: str, network: str, chiplets: int) -> None:
    instance = paper_instance(network, chiplets)
    solve(paper_instance("alexnet", 16), IntervalMilpSolver())  # compiles
    options = SolveOptions(time_limit_s=10.0, encoding=encoding)
    result = solve(instance, IntervalMilpSolver(), options)
    assert result.stop_reason is StopReason.TIME_LIMIT
    assert result.objective_ps is not None
    assert result.bound_ps is not None
    assert latency_bound(build_tables(instance)) <= result.bound_ps <= result.objective_ps
    bounds = [p.bound_ps for p in result.trajectory if p.bound_ps is not None]
    assert bounds == sorted(bounds)
    exact = solve(instance, "exact")
    assert exact.objective_ps is not None
    assert result.bound_ps <= exact.objective_ps


def test_interruption_keeps_the_best_schedule() -> None:
    def stop(monitor: Monitor) -> None:
        monitor.interrupted |= monitor.stage.startswith("bounds")

    result = solve(paper_instance("resnet18", 16), IntervalMilpSolver(), on_progress=stop)
    assert result.stop_reason is StopReason.INTERRUPTED
    assert result.status is Status.FEASIBLE
    assert result.times_s.total < 60


def test_program_sizes_and_times_are_recorded() -> None:
    result = run(shipped("tiny-attention"))
    assert result.model is not None
    assert result.model.variables > 0
    assert result.times_s.build is not None
    assert result.times_s.translate is not None


def test_same_seed_same_run(tmp_path: Path) -> None:
    document = shipped("tiny-attention")
    results = [run(document, seed=7, log=tmp_path / "log", threads=2) for _ in range(2)]
    assert results[0].schedule == results[1].schedule
    assert (tmp_path / "log").read_text().count("HiGHS") >= 2


@pytest.mark.parametrize(
    ("solver", "library"), [(IntervalMilpSolver, "HiGHS"), (CpSatSolver, "CP-SAT")]
)
def test_log_without_programs(solver: Any, library: str, tmp_path: Path) -> None:
    """Shortest paths alone prove this one if they come first, as they do in large instances."""
    instance, log = read(shipped("tiny-attention")), tmp_path / "log"
    result = solve(instance, solver(Tuning(small=0)), SolveOptions(log=log))
    assert result.status is Status.OPTIMAL
    assert result.model is None
    assert log.read_text() == f"{library} was not called: no program was needed\n"


def test_unknown_encodings_and_formats_are_refused() -> None:
    document = shipped("tiny-attention")
    with pytest.raises(InputError, match="allowed: thresholds, beats"):
        run(document, encoding="sideways")
    with pytest.raises(InputError, match=r"\.mps or \.lp"):
        build_program(read(document), IntervalMilpSolver()).content(".pb")


@pytest.mark.parametrize("library", ["pyomo.environ", "highspy"])
def test_missing_library(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(SolverUnavailable, match="pip install"):
        run(shipped("tiny-attention"))
