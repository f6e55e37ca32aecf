"""HiGHS and the bridge from Pyomo: right answers from the pinned version, and every promise."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pyo = pytest.importorskip("pyomo.environ", reason="Pyomo is not installed", exc_type=ImportError)
highspy = pytest.importorskip("highspy", reason="HiGHS is not installed", exc_type=ImportError)

from formulations.highs import Highs, Outcome, file_names  # noqa: E402
from scope_opt.solving.monitor import Monitor  # noqa: E402
from scope_opt.solving.solver import SolverUnavailable  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

# --- The pinned version --------------------------------------------------------------------------

BOTH = """
import {first}, {second}
import highspy
from ortools.sat.python import cp_model
highs = highspy.Highs()
highs.setOptionValue("output_flag", False)
x = highs.addVariable(lb=0, ub=10, obj=-1, type=highspy.HighsVarType.kInteger)
highs.addConstr(2 * x <= 7)
highs.run()
assert highs.getInfo().objective_function_value == -3
model = cp_model.CpModel()
y = model.new_int_var(0, 10, "y")
model.add(2 * y <= 7)
model.maximize(y)
solver = cp_model.CpSolver()
assert solver.solve(model) == cp_model.OPTIMAL and solver.objective_value == 3
"""


@pytest.mark.parametrize(
    "order", list(itertools.permutations(["highspy", "ortools.sat.python.cp_model"]))
)
def test_highs_and_or_tools_share_a_process(order: tuple[str, str]) -> None:
    """Later versions of the two bring a library of the same name and cannot."""
    pytest.importorskip("ortools", exc_type=ImportError)
    script = BOTH.format(first=order[0], second=order[1])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_version_is_one_without_known_wrong_answers() -> None:
    """See the reasons at the dependency in pyproject.toml before this is changed."""
    assert version("highspy").startswith("1.12.")


def model_of(build: Any) -> Any:
    model = pyo.ConcreteModel()
    build(model)
    return model


def fixed_charge(m: Any) -> None:
    """Buying for 2 each is cheaper than opening the supply for 99999."""
    m.supplied, m.bought = pyo.Var(bounds=(0, None)), pyo.Var(bounds=(0, None))
    m.opened = pyo.Var(domain=pyo.Binary)
    m.demand = pyo.Constraint(expr=m.supplied + m.bought == 10)
    m.link = pyo.Constraint(expr=m.supplied <= 100 * m.opened)
    m.cost = pyo.Objective(expr=2 * m.bought + 99999 * m.opened)


def exclusive(m: Any) -> None:
    """One of two demands can be served; the dearer one should be."""
    m.on = pyo.Var(range(2), domain=pyo.Binary)
    m.served = pyo.Var(range(2), bounds=(0, 1000))
    m.lost = pyo.Var(range(2), bounds=(0, 1000))
    m.links = pyo.Constraint(range(2), rule=lambda m, k: m.served[k] <= 1000 * m.on[k])
    m.demand = pyo.Constraint(range(2), rule=lambda m, k: m.served[k] + m.lost[k] == 1000)
    m.one = pyo.Constraint(expr=m.on[0] + m.on[1] <= 1)
    m.cost = pyo.Objective(expr=10 * m.lost[0] + 8 * m.lost[1])


def mixed_cover(m: Any) -> None:
    """Cheaper continuous than integer."""
    m.x = pyo.Var(bounds=(0, 10))
    m.z = pyo.Var(bounds=(0, 10), domain=pyo.Integers)
    m.cover = pyo.Constraint(expr=m.x + m.z >= 4.5)
    m.cost = pyo.Objective(expr=2 * m.x + 3 * m.z)


def absolute_value(m: Any) -> None:
    """An integer that is to be large, with its absolute value at a low price."""
    m.gap, m.t = pyo.Var(bounds=(0, None)), pyo.Var()
    m.x = pyo.Var(domain=pyo.NonNegativeIntegers)
    m.sum = pyo.Constraint(expr=m.gap + m.x == 3)
    m.above = pyo.Constraint(expr=m.x <= m.t)
    m.below = pyo.Constraint(expr=-m.x <= m.t)
    m.most = pyo.Constraint(expr=m.x <= 3)
    m.least = pyo.Constraint(expr=m.x >= 0.45)
    m.cost = pyo.Objective(expr=100 * m.gap + 0.01 * m.t)


@pytest.mark.parametrize(
    ("build", "best"),
    [(fixed_charge, 20), (exclusive, 8000), (mixed_cover, 9), (absolute_value, 0.03)],
)
@pytest.mark.parametrize("presolve", [True, False])
def test_models_that_presolve_of_another_version_gets_wrong(
    build: Any, best: float, presolve: bool
) -> None:
    monitor = Monitor()
    outcome = Highs(model_of(build), monitor).solve(monitor, presolve=presolve)
    assert outcome.status == "optimal"
    assert outcome.objective == pytest.approx(best)
    assert outcome.bound == pytest.approx(best)


@pytest.mark.parametrize("seed", range(4))
def test_small_scheduling_models_agree_with_cp_sat(seed: int) -> None:
    """Pure integer programs with indicator rows of big constants, on which versions differ."""
    cp_model = pytest.importorskip("ortools.sat.python.cp_model", exc_type=ImportError)
    rng = np.random.default_rng(seed)
    jobs, horizon = 6, 60
    length, due = rng.integers(3, 12, jobs), rng.integers(5, 40, jobs)
    pairs = list(itertools.combinations(range(jobs), 2))
    model = pyo.ConcreteModel()
    model.start = pyo.Var(range(jobs), domain=pyo.Integers, bounds=(0, horizon))
    model.late = pyo.Var(range(jobs), domain=pyo.Integers, bounds=(0, horizon))
    model.before = pyo.Var(pairs, domain=pyo.Binary)
    model.rows = pyo.ConstraintList()
    cp = cp_model.CpModel()
    start = [cp.new_int_var(0, horizon, "") for _ in range(jobs)]
    late = [cp.new_int_var(0, horizon, "") for _ in range(jobs)]
    for j in range(jobs):
        model.rows.add(model.late[j] >= model.start[j] + int(length[j]) - int(due[j]))
        cp.add(late[j] >= start[j] + int(length[j]) - int(due[j]))
    for i, j in pairs:
        big = 600 * model.before[i, j]
        model.rows.add(model.start[j] >= model.start[i] + int(length[i]) - 600 + big)
        model.rows.add(model.start[i] >= model.start[j] + int(length[j]) - big)
    sizes = map(int, length)
    cp.add_no_overlap(
        [cp.new_fixed_size_interval_var(s, n, "") for s, n in zip(start, sizes, strict=True)]
    )
    model.cost = pyo.Objective(expr=sum(model.late[j] for j in range(jobs)))
    cp.minimize(sum(late))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    assert solver.solve(cp) == cp_model.OPTIMAL
    monitor = Monitor()
    outcome = Highs(model, monitor).solve(monitor)
    assert outcome.status == "optimal"
    assert outcome.objective == pytest.approx(solver.objective_value)


# --- The bridge ----------------------------------------------------------------------------------


@st.composite
def programs(draw: st.DrawFn) -> Any:
    """Random mixed-integer programs with rows of every kind, in bounded variables."""
    count = draw(st.integers(1, 5))
    model = pyo.ConcreteModel()
    model.x = pyo.Var(range(count))
    number = st.integers(-6, 6)
    for k in range(count):
        kind = draw(st.sampled_from([pyo.Binary, pyo.Integers, pyo.Reals]))
        model.x[k].domain = kind
        if kind is not pyo.Binary:
            low = draw(number)
            model.x[k].setlb(low)
            model.x[k].setub(low + draw(st.integers(0, 6)))
    model.rows = pyo.ConstraintList()
    for _ in range(draw(st.integers(0, 4))):
        body = sum(draw(number) * model.x[k] for k in range(count)) + draw(number) + model.x[0]
        low, width = draw(number), draw(st.integers(0, 5))
        sides: list[Any] = [(low, low), (low, low + width), (low, None), (None, low)]
        low, high = draw(st.sampled_from(sides))
        model.rows.add((body, low) if low == high else (low, body, high))
    cost = sum(draw(number) * model.x[k] for k in range(count)) + draw(number)
    model.cost = pyo.Objective(expr=cost + 0 * model.x[0])
    return model


def solve(model: Any, **options: Any) -> Outcome:
    monitor = Monitor()
    return Highs(model, monitor).solve(monitor, **options)


def read(path: Path) -> Any:
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    assert highs.readModel(str(path)) == highspy.HighsStatus.kOk
    return highs


def optimum(highs: Any) -> float | None:
    highs.setOptionValue("mip_rel_gap", 1e-9)
    highs.run()
    if highs.getModelStatus() == highspy.HighsModelStatus.kInfeasible:
        return None
    assert highs.getModelStatus() == highspy.HighsModelStatus.kOptimal
    return float(highs.getInfo().objective_function_value)


@settings(max_examples=max(1, settings().max_examples // 2))
@given(model=programs())
def test_arrays_say_what_pyomos_own_file_says(
    model: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("programs") / "pyomo.lp"
    outcome = solve(model)
    model.write(str(path))
    expected = optimum(read(path))
    if expected is None:
        assert outcome.status == "infeasible"
    else:
        assert outcome.status == "optimal"
        assert outcome.objective == pytest.approx(expected, abs=1e-5)
        assert outcome.bound == pytest.approx(expected, abs=1e-5)


def written(highs: Highs, suffix: str, factor: float = 1.0, constant: float = 0.0) -> bytes:
    names = dict(zip(map(id, highs.columns), file_names(highs.columns), strict=True))
    return highs.content(suffix, "program", ["a comment"], names, factor, constant)


@settings(max_examples=max(1, settings().max_examples // 4))
@given(model=programs())
def test_written_files_are_the_same_program(
    model: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("programs")
    monitor = Monitor()
    highs = Highs(model, monitor)
    if not highs.columns:
        return
    expected = highs.solve(monitor).objective
    for suffix in (".mps", ".lp"):
        path = folder / f"program{suffix}"
        path.write_bytes(written(highs, suffix))
        back = read(path)
        lp = back.getLp()
        assert sorted(lp.col_names_) == sorted(f"x_{v.index()}" for v in highs.columns)
        for variable in highs.columns:
            column = lp.col_names_.index(f"x_{variable.index()}")
            assert (lp.col_lower_[column], lp.col_upper_[column]) == variable.bounds
            whole = bool(lp.integrality_) and (
                lp.integrality_[column] == highspy.HighsVarType.kInteger
            )
            assert whole == (not variable.is_continuous())
        found = optimum(back)
        assert (found is None) == (expected is None)
        assert found is None or found == pytest.approx(expected, abs=1e-5)


def test_or_tools_reads_written_files(tmp_path: Path) -> None:
    model_builder = pytest.importorskip("ortools.linear_solver.python.model_builder")
    monitor = Monitor()
    program = written(Highs(model_of(fixed_charge), monitor), ".mps", factor=3, constant=1)
    (tmp_path / "program.mps").write_bytes(program)
    model = model_builder.Model()
    assert model.import_from_mps_file(str(tmp_path / "program.mps"))
    solver = model_builder.Solver("scip")
    solver.solve(model)
    assert solver.objective_value == pytest.approx(3 * 20 + 1)


def knapsacks(size: int, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    model = pyo.ConcreteModel()
    model.x = pyo.Var(range(size), domain=pyo.Binary)
    model.rows = pyo.ConstraintList()
    for _ in range(size):
        weights = rng.integers(1, 100, size)
        row = sum(int(w) * model.x[k] for k, w in enumerate(weights))
        model.rows.add(row <= int(weights.sum()) // 3)
    gains = rng.integers(1, 100, size)
    model.cost = pyo.Objective(expr=-sum(int(g) * model.x[k] for k, g in enumerate(gains)))
    return model


def test_gap_is_honored() -> None:
    model = knapsacks(30)
    exact, loose = solve(model), solve(model, rel_gap=0.5)
    assert exact.status == loose.status == "optimal"
    assert exact.objective is not None
    assert exact.objective == pytest.approx(exact.bound)
    assert loose.objective is not None
    assert loose.bound is not None
    assert loose.bound < loose.objective - 1


def test_number_of_threads_can_change() -> None:
    model = knapsacks(20)
    found = {round(solve(model, threads=n).objective or 0) for n in (1, 2, 1, 2)}
    assert len(found) == 1


def test_interruption() -> None:
    model, monitor = knapsacks(120), Monitor()
    highs = Highs(model, monitor)
    threading.Timer(1.0, lambda: setattr(monitor, "interrupted", True)).start()
    began = time.perf_counter()
    outcome = highs.solve(monitor)
    assert outcome.status == "stopped"
    assert outcome.objective is not None
    assert outcome.bound is not None
    assert outcome.bound < outcome.objective
    assert time.perf_counter() - began < 60


def test_highs_keeps_time_limits_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not listen while in heuristics, for half a minute where programs are large."""
    monkeypatch.setattr(Monitor, "stopping", False)
    outcome = Highs(knapsacks(120), monitor := Monitor(time_limit_s=1.0)).solve(monitor)
    assert outcome.status == "stopped"
    assert outcome.objective is not None
    assert monitor.elapsed_s < 60


def test_solutions_and_bounds_arrive_in_the_calling_thread() -> None:
    monitor = Monitor()
    highs = Highs(knapsacks(30), monitor)
    threads: set[threading.Thread] = set()
    solutions: list[Any] = []
    bounds: list[float] = []

    def on_solution(values: Any) -> None:
        threads.add(threading.current_thread())
        solutions.append(values)

    outcome = highs.solve(monitor, on_solution=on_solution, on_bound=bounds.append)
    assert threads == {threading.current_thread()}
    assert outcome.values is not None
    assert np.allclose(solutions[-1], outcome.values)
    assert bounds == sorted(bounds)
    assert outcome.bound is not None
    assert bounds[-1] <= outcome.bound + 1e-6


def test_target_and_limit_end_a_run() -> None:
    model = knapsacks(40)
    best = solve(model)
    assert best.objective is not None
    good = solve(model, target=best.objective * 0.8)
    assert good.objective is not None
    assert good.objective <= best.objective * 0.8
    assert good.bound is None or good.bound <= best.objective + 1e-6
    bound = solve(model, limit=best.objective * 1.5)
    assert bound.bound is not None
    assert bound.bound > best.objective * 1.5


def test_starts_are_checked() -> None:
    model = model_of(exclusive)
    good = [(model.on[0], 1), (model.served[0], 1000), (model.lost[1], 1000)]
    accepted = solve(model, start=good)
    assert accepted.start_accepted is True
    rejected = solve(model, start=[*good, (model.on[1], 1)])
    assert rejected.start_accepted is False
    assert solve(model).start_accepted is None
    assert accepted.objective == rejected.objective == pytest.approx(8000)


def test_starts_are_used() -> None:
    """With the optimum to begin with, the first solution reported is no worse."""
    model, monitor = knapsacks(40), Monitor()
    highs = Highs(model, monitor)
    best = highs.solve(monitor)
    assert best.values is not None
    start = [(x, round(highs.value(best.values, x))) for x in model.x.values()]
    seen: list[Any] = []
    again = highs.solve(monitor, start=start, on_solution=seen.append)
    assert again.start_accepted
    assert again.objective == pytest.approx(best.objective)
    assert seen
    assert all(np.allclose(values, best.values) for values in seen)


def test_log_is_appended_and_nothing_is_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "highs.log"
    for _ in range(2):
        solve(model_of(fixed_charge), log=log)
    solve(model_of(fixed_charge))
    assert log.read_text().count("Solving report") == 2
    assert capfd.readouterr().out == ""


def test_sizes_and_times_reach_the_monitor() -> None:
    monitor = Monitor()
    Highs(model_of(exclusive), monitor)
    assert monitor.model is not None
    assert (monitor.model.variables, monitor.model.constraints) == (6, 5)
    assert monitor.model.nonzeros == 10
    assert monitor.phases_s["translate"] > 0


def test_programs_without_rows_variables_or_solutions() -> None:
    model = pyo.ConcreteModel()
    model.cost = pyo.Objective(expr=3)
    assert solve(model)[:3] == ("optimal", 3.0, 3.0)
    model.x, model.unused = pyo.Var(domain=pyo.Binary), pyo.Var(initialize=5)
    model.row = pyo.Constraint(expr=2 * model.x >= 1)
    monitor = Monitor()
    highs = Highs(model, monitor)
    outcome = highs.solve(monitor)
    assert outcome.values is not None
    assert highs.value(outcome.values, model.x) == 1
    assert highs.value(outcome.values, model.unused) == 0
    model.no = pyo.Constraint(expr=model.x <= 0.5)
    assert solve(model).status == "infeasible"
    model.x.fix(0)
    assert solve(model).status == "infeasible"


def test_unbounded_programs_are_errors() -> None:
    model = pyo.ConcreteModel()
    model.x = pyo.Var(domain=pyo.NonNegativeIntegers)
    model.cost = pyo.Objective(expr=-model.x)
    with pytest.raises(RuntimeError, match="HiGHS ends with Unbounded"):
        solve(model)


@pytest.mark.parametrize("library", ["pyomo.environ", "highspy"])
def test_missing_library(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(exclusive)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(SolverUnavailable, match="pip install"):
        Highs(model, Monitor())
