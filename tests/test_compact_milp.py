"""The compact mixed-integer program: equal to exhaustive search, within the tolerance of floats."""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import helpers
import oracle
import placed_strategies
import pytest
import strategies
from documents import TINY_FILES, Json, shipped
from helpers import read, read_schedule, solve_with
from hypothesis import given, settings
from hypothesis import strategies as st

from scope_opt.cost.build import build_tables
from scope_opt.model.files import InputError
from scope_opt.model.generate import paper_instance
from scope_opt.schedule.bounds import latency_bound
from scope_opt.schedule.evaluate import evaluate
from scope_opt.schedule.schedule import InstanceReference, Schedule
from scope_opt.solving.monitor import Monitor
from scope_opt.solving.result import Result, Status, StopReason
from scope_opt.solving.solver import SolveOptions, SolverUnavailable, solve

pyo = pytest.importorskip("pyomo.environ", reason="Pyomo is not installed")
highspy = pytest.importorskip("highspy", reason="HiGHS is not installed")

from formulations.compact_milp.clusters import columns_of  # noqa: E402
from formulations.compact_milp.encodings import ENCODINGS  # noqa: E402
from formulations.compact_milp.rounds import Rounds  # noqa: E402
from formulations.compact_milp.solver import CompactMilpSolver  # noqa: E402
from formulations.compact_milp.tables import NoSchedule  # noqa: E402
from formulations.highs import Highs  # noqa: E402
from formulations.request import make_request  # noqa: E402
from formulations.tuning import DEFAULT, Tuning  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

    from formulations.compact_milp.rounds import Program
    from scope_opt.schedule.schedule import Segment
    from scope_opt.solving.solver import SegmentChoice


GAP = 2e-5
"""What bounds leave open."""
FLOATS = 1e-6
"""By how much values that floats compute may be off."""

SMALL = strategies.table_instances(max_layers=4, max_chiplets=4)
SMALL |= strategies.physical_instances(max_layers=4, max_chiplets=4)
SMALL |= placed_strategies.unlimited_instances()
SIDE = strategies.table_instances(max_layers=4, max_chiplets=5, constraints=True)
PHYSICAL = strategies.physical_instances(
    max_layers=4, max_chiplets=4, constraints=True, couplings=True
)


def run(
    document: Json,
    segments: SegmentChoice | None = None,
    tuning: Tuning = DEFAULT,
    **options: Any,
) -> Result:
    return solve_with(CompactMilpSolver(tuning), document, segments, **options)


def open_gap(document: Json, objective: int) -> float:
    """What floats leave open, and beats that are not whole picoseconds."""
    instance = read(document)
    return GAP * objective + len(instance.layer_names) * (instance.samples + 1)


def agree(document: Json, result: Result, best: tuple[Json, int] | None) -> None:
    helpers.agree(document, result, best, partial(open_gap, document))


@st.composite
def with_given_segments(draw: st.DrawFn, documents: st.SearchStrategy[Json]) -> Json:
    """Instances with fixed segments, as the program needs them where they share a limit."""
    document = draw(documents)
    constraints = document["constraints"]
    if "fixed_segments" in constraints:
        return document
    layers = len(read(document).layer_names)
    together = constraints.get("required_merges", [])
    firsts = [k for k in range(1, layers) if k - 1 not in together and draw(st.booleans())]
    return {**document, "constraints": {**constraints, "fixed_segments": [0, *firsts]}}


# --- Agreement -----------------------------------------------------------------------------------


@settings(max_examples=strategies.share(4))
@given(
    document=SMALL,
    choice=st.sampled_from(["free", "single"]),
    tolerance=st.sampled_from([0.0, 0.05, 0.3]),
)
def test_equals_exhaustive_search(document: Json, choice: str, tolerance: float) -> None:
    """With exact tables, and with coarse ones that have to be refined."""
    tuning = Tuning(exact_sizes=0, first_error=tolerance)
    result = run(document, "single" if choice == "single" else None, tuning)
    agree(document, result, oracle.best(document, choice))


@settings(max_examples=strategies.share(5))
@given(document=SIDE)
def test_side_constraints(document: Json) -> None:
    agree(document, run(document), oracle.best(document))


@settings(max_examples=strategies.share(2))
@given(document=with_given_segments(PHYSICAL))
def test_couplings(document: Json) -> None:
    """Energy, latency, power and traffic limits, and everything else."""
    agree(document, run(document), oracle.best(document))


@pytest.mark.parametrize("encoding", ENCODINGS)
@settings(max_examples=strategies.share(20))
@given(document=SMALL)
def test_encodings(encoding: str, document: Json) -> None:
    result = run(document, "single", encoding=encoding)
    agree(document, result, oracle.best(document, "single"))


@pytest.mark.parametrize("path", TINY_FILES, ids=lambda path: path.stem)
def test_shipped_tiny_instances(path: Path) -> None:
    document = json.loads(path.read_text())
    coupled = {"energy_budget_j", "latency_bound_s"} & set(document["constraints"])
    if coupled and "fixed_segments" not in document["constraints"]:
        with pytest.raises(InputError, match="--segments FILE"):
            run(document)
        agree(document, run(document, "single"), oracle.best(document, "single"))
    elif coupled:
        agree(document, run(document), oracle.best(document))
    else:
        exact = solve(read(document), "exact").objective_ps
        assert exact is not None
        agree(document, run(document), ({}, exact))


# --- The program ---------------------------------------------------------------------------------


def program_of(
    document: Json, schedule: Json, tolerance: float, encoding: str | None = None
) -> tuple[Program, Segments]:
    """Program for the segments of a schedule, and these."""
    instance = read(document)
    drawn = read_schedule(instance, schedule)
    ends = [(s.first_layer, s.last_layer) for s in drawn.segments]
    tables, monitor = build_tables(instance), Monitor()
    options = SolveOptions(segments=tuple(first for first, _ in ends), encoding=encoding)
    request = make_request("compact-milp", instance, tables, options, monitor)
    if not all(request.space.segments[pair] for pair in ends):
        raise NoSchedule
    rounds = Rounds(request, ends, [None] * len(ends), tolerance, columns_of(request, None))
    return rounds.program(), drawn.segments


Segments = tuple["Segment", ...]


def objective(document: Json, segments: Segments) -> int | None:
    instance = read(document)
    schedule = Schedule(instance=InstanceReference.to(instance), segments=segments)
    evaluation = evaluate(instance, schedule)
    return evaluation.energy_fj if instance.minimizes == "energy" else evaluation.objective_ps


def total(program: Program, value: float) -> float:
    """Objective in ps or fJ of one in units."""
    if program.space.latency_ps is None:
        return value * program.units.ps
    energy = program.tables.energy
    assert energy is not None
    loading = int(program.tables.weight_bytes.sum()) * energy.dram_fj_per_byte
    return program.tables.samples * value * program.units.fj + loading


def _bounded(program: Program) -> list[Any]:
    variables = program.model.component_data_objects(pyo.Var)
    return [v for v in variables if v.lb is not None and v.ub is not None]


@settings(max_examples=strategies.share(1))
@given(
    document=strategies.table_instances(max_layers=6, max_chiplets=6, constraints=True)
    | strategies.physical_instances(max_layers=6, max_chiplets=6, constraints=True, couplings=True),
    data=st.data(),
    tolerance=st.sampled_from([0.0, 0.0, 0.05, 0.3]),
)
def test_schedules_are_solutions_with_the_evaluators_objective(
    document: Json, data: st.DataObject, tolerance: float
) -> None:
    """A valid schedule's own values are a solution; with approximate tables one that is no worse.

    A schedule that is not valid is none.
    """
    drawn = data.draw(strategies.schedules(document))
    constraints = {k: v for k, v in document["constraints"].items() if k != "fixed_segments"}
    document = {**document, "constraints": constraints}
    try:
        program, segments = program_of(document, drawn, tolerance)
    except NoSchedule:
        assert oracle.violations(document, drawn)
        return
    expected = objective(document, segments)
    start = program.start(segments)
    monitor = Monitor()
    outcome = Highs(program.model, monitor).solve(monitor, start=start)
    # Variables in no row are none of HiGHS'.
    inside = all(v.lb - FLOATS <= v.value <= v.ub + FLOATS for v in _bounded(program))
    if expected is None:
        assert tolerance > 0 or not (outcome.start_accepted and inside)
    else:
        assert outcome.start_accepted
        assert inside
        value = total(program, pyo.value(program.model.objective))
        assert value <= expected * (1 + 1e-9)
        if tolerance == 0:
            assert value >= expected - open_gap(document, expected)


@settings(max_examples=strategies.share(4))
@given(document=SMALL, data=st.data(), encoding=st.sampled_from(list(ENCODINGS)))
def test_fixed_decisions_leave_no_better_value(
    document: Json, data: st.DataObject, encoding: str
) -> None:
    """Without approximation a solution's objective is that of the schedule that is read off it."""
    drawn = data.draw(strategies.schedules(document))
    try:
        program, _ = program_of(document, drawn, 0.0, encoding)
    except NoSchedule:
        return
    monitor = Monitor()
    highs = Highs(program.model, monitor)
    outcome = highs.solve(monitor)
    if outcome.values is None:
        return
    assert outcome.objective is not None
    values = outcome.values
    found = objective(document, tuple(program.read(lambda variable: highs.value(values, variable))))
    assert found is not None
    value = total(program, outcome.objective)
    assert found - open_gap(document, found) <= value <= found + FLOATS * found


# --- Behaviour -----------------------------------------------------------------------------------


def test_warm_start() -> None:
    instance = paper_instance("alexnet", 16)
    best = solve(instance, "scope")
    assert best.schedule is not None
    chosen = SolveOptions(segments=None, warm_start=best.schedule, time_limit_s=1.0)
    result = solve(instance, CompactMilpSolver(), chosen)
    assert result.trajectory[0].objective_ps == best.objective_ps
    assert result.warm_start == "accepted"


def test_time_limit_leaves_a_valid_bound() -> None:
    instance = paper_instance("resnet18", 32)
    options = SolveOptions(segments="single", time_limit_s=2.0)
    result = solve(instance, CompactMilpSolver(), options)
    assert result.stop_reason is StopReason.TIME_LIMIT
    assert result.bound_ps is not None
    assert result.objective_ps is not None
    assert latency_bound(build_tables(instance)) <= result.bound_ps <= result.objective_ps
    bounds = [p.bound_ps for p in result.trajectory if p.bound_ps is not None]
    assert bounds == sorted(bounds)


def test_interruption_keeps_the_best_schedule() -> None:
    def stop(monitor: Monitor) -> None:
        monitor.interrupted |= monitor.stage.startswith("program")

    result = solve(paper_instance("alexnet", 16), CompactMilpSolver(), on_progress=stop)
    assert result.stop_reason is StopReason.INTERRUPTED
    assert result.status is Status.FEASIBLE


def test_log_and_sizes(tmp_path: Path) -> None:
    document = shipped("tiny-skip")
    result = run(document, "single", log=tmp_path / "highs.log", seed=3, threads=1)
    assert "HiGHS" in (tmp_path / "highs.log").read_text()
    assert result.model is not None
    assert result.model.nonzeros > result.model.variables


def test_unknown_encodings_are_refused() -> None:
    with pytest.raises(InputError, match="incremental"):
        run(shipped("tiny-attention"), encoding="sos2")


def test_limits_of_free_segments_are_refused() -> None:
    document = shipped("tiny-skip")
    document["constraints"] = {"energy_budget_j": 1.5e-4}
    with pytest.raises(InputError, match="cp-sat"):
        run(document)


def test_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "highspy", None)
    with pytest.raises(SolverUnavailable, match="pip install"):
        run(shipped("tiny-attention"))


def test_budgets_below_weight_loading_are_explained() -> None:
    document = shipped("tiny-skip")
    document["constraints"] = {"energy_budget_j": 1e-15}
    result = run(document, "single")
    assert result.status is Status.INFEASIBLE
    assert "loading the weights alone" in result.explanation[0]
