"""`solve`: it finds solvers, checks what they claim, stops them, and writes the result down."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from documents import two_layers
from helpers import read

from scope_opt import __version__
from scope_opt.model.files import InputError
from scope_opt.model.generate import paper_instance
from scope_opt.model.tables import ISP
from scope_opt.schedule.schedule import Schedule, make_segment
from scope_opt.solving.fallback import FALLBACK
from scope_opt.solving.monitor import Monitor
from scope_opt.solving.result import Result, Status, StopReason, relative_gap
from scope_opt.solving.solver import (
    SolveOptions,
    SolverDisagreement,
    SolverUnavailable,
    load_solver,
    solve,
    solver_names,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from documents import Json

    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables

PAPER = ("pipeline", "scope", "segmented", "sequential")


def tiny(**changes: Any) -> Instance:
    """One segment of one cluster takes 4 * 20 ps."""
    return read(two_layers(**changes))


ONE_CLUSTER = (make_segment(0, [(2, 1, [ISP, ISP])]),)
TOO_MANY_CHIPLETS = (make_segment(0, [(2, 3, [ISP, ISP])]),)
OBJECTIVE = 4 * 20


class Scripted:
    """A solver that does what its test says."""

    name = "scripted"
    summary = "for tests"
    exact = False
    constraints: frozenset[str] = frozenset()
    options: frozenset[str] = frozenset()

    def __init__(self, act: Callable[[Monitor, SolveOptions], None]) -> None:
        self._act = act

    def run(
        self, instance: Instance, tables: LatencyTables, options: SolveOptions, monitor: Monitor
    ) -> None:
        self._act(monitor, options)


def scripted(act: Callable[[Monitor], Any]) -> Scripted:
    return Scripted(lambda monitor, _options: act(monitor))


# --- Registry ------------------------------------------------------------------------------------


def test_every_registered_solver_loads() -> None:
    names = solver_names()
    assert names == sorted(names)
    assert set(PAPER) <= set(names)
    for name in names:
        found = load_solver(name)
        assert found.name == name
        assert found.summary
        assert isinstance(found.constraints, frozenset)


def test_an_unknown_solver_lists_the_known_ones() -> None:
    with pytest.raises(SolverUnavailable, match=r"no solver 'magic'; registered: .*scope") as error:
        solve(tiny(), "magic")
    for name in solver_names():
        assert name in str(error.value)


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Install a distribution with one solver: its entry point and the source of its module."""

    def install(entry_point: str, source: str) -> None:
        (tmp_path / "other_solvers.py").write_text(source)
        metadata = tmp_path / "other_solvers-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[scope_opt.solvers]\n{entry_point}\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "other_solvers", raising=False)

    return install


PLUG_IN = """
from scope_opt.schedule.schedule import make_segment

class OneCluster:
    name = "one-cluster"
    summary = "everything on one chiplet"
    exact = False
    constraints = frozenset({"max_region"})
    options = frozenset()

    def run(self, instance, tables, options, monitor):
        layers = tables.layers
        segment = make_segment(0, [(layers, 1, [0] * layers)])
        monitor.improve(int(tables.samples * tables.compute_ps[:, 0, 1].sum()), [segment])
"""


def test_a_plug_in_is_found_through_its_entry_point(plug_in: Callable[[str, str], None]) -> None:
    plug_in("one-cluster = other_solvers:OneCluster", PLUG_IN)
    assert "one-cluster" in solver_names()
    result = solve(tiny(), "one-cluster")
    assert (result.solver, result.status, result.objective_ps) == (
        "one-cluster",
        Status.FEASIBLE,
        OBJECTIVE,
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import no_such_library", "No module named 'no_such_library'"),
        ("", "no attribute 'OneCluster'"),
        (
            "class OneCluster:\n    def __init__(self):\n        raise OSError('no licence')",
            "licence",
        ),
    ],
)
def test_a_broken_plug_in_is_reported(
    plug_in: Callable[[str, str], None], source: str, message: str
) -> None:
    plug_in("broken = other_solvers:OneCluster", source)
    with pytest.raises(SolverUnavailable, match=f"'broken' cannot be loaded: .*{message}"):
        load_solver("broken")
    # It stands in nobody's way.
    assert solve(tiny(), "scope").schedule is not None


# --- Constraints ---------------------------------------------------------------------------------


def test_unsupported_constraints_name_solvers_that_honour_them(
    plug_in: Callable[[str, str], None],
) -> None:
    plug_in("one-cluster = other_solvers:OneCluster", PLUG_IN)
    constrained = tiny(constraints={"max_region": 1})
    with pytest.raises(InputError) as refusal:
        solve(constrained, scripted(lambda monitor: pytest.fail("must not run")))
    (problem,) = refusal.value.problems
    assert problem.startswith("solver 'scripted' does not honour max_region; solvers that do: ")
    assert "one-cluster" in problem
    assert solve(constrained, "one-cluster").objective_ps == OBJECTIVE


def test_constraints_nobody_honours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scope_opt.solving.solver.solver_names", lambda: ["scope", "missing"])
    limits = {
        "fixed_partitions": [{"layer": 0, "partition": "ISP"}],
        "forbidden_merges": [0],
    }
    with pytest.raises(InputError) as refusal:
        solve(tiny(constraints=limits), "scope")
    assert refusal.value.problems == tuple(
        f"solver 'scope' does not honour {name}; no registered solver does"
        for name in ("fixed_partitions", "forbidden_merges")
    )


# --- Claims are checked --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "messages"),
    [
        (
            lambda monitor: monitor.improve(OBJECTIVE - 1, ONE_CLUSTER),
            ["claimed 79 ps, the evaluator finds 80 ps"],
        ),
        (
            lambda monitor: monitor.improve(OBJECTIVE, TOO_MANY_CHIPLETS),
            ["region-total at segment 0: regions take 3 chiplets; there are 2"],
        ),
        (
            lambda monitor: (
                monitor.improve(OBJECTIVE, ONE_CLUSTER),
                monitor.raise_bound(OBJECTIVE + 1),
            ),
            ["bound 81 ps exceeds the objective 80 ps"],
        ),
        (
            lambda monitor: (monitor.improve(1, ONE_CLUSTER), monitor.raise_bound(2)),
            ["claimed 1 ps", "bound 2 ps exceeds the objective 1 ps"],
        ),
    ],
    ids=["objective", "schedule", "bound", "objective and bound"],
)
def test_a_solver_that_is_wrong_is_caught(
    act: Callable[[Monitor], Any],
    messages: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SolverDisagreement) as caught:
        solve(tiny(), scripted(act))
    for message in messages:
        assert message in str(caught.value)
    (saved,) = tmp_path.iterdir()
    assert saved.name in str(caught.value)
    assert saved.name.startswith("disagreement-scripted-")
    schedule = Schedule.load(saved)
    assert schedule.segments in (ONE_CLUSTER, TOO_MANY_CHIPLETS)
    assert schedule.instance.digest == tiny().digest
    # A second disagreement replaces the file instead of hiding behind it.
    with pytest.raises(SolverDisagreement):
        solve(tiny(), scripted(act))


def test_an_error_of_the_solver_is_not_swallowed() -> None:
    def fail(_monitor: Monitor) -> None:
        raise ZeroDivisionError("of the solver's own making")

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError):
        solve(tiny(), scripted(fail))
    assert signal.getsignal(signal.SIGINT) is before


# --- Status --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bound", "status", "gap"),
    [
        (None, Status.FEASIBLE, None),
        (60, Status.FEASIBLE, 0.25),
        (OBJECTIVE, Status.OPTIMAL, 0.0),
    ],
)
def test_optimal_means_that_the_bound_meets_the_objective(
    bound: int | None, status: Status, gap: float | None
) -> None:
    def act(monitor: Monitor) -> None:
        if bound is not None:
            monitor.raise_bound(bound)
        monitor.improve(OBJECTIVE, ONE_CLUSTER)

    result = solve(tiny(), scripted(act))
    assert (result.status, result.bound_ps, result.gap) == (status, bound, gap)
    assert result.stop_reason is StopReason.COMPLETED
    assert result.latency_s == OBJECTIVE / 1e12
    assert result.explanation == ()


def test_without_a_schedule() -> None:
    result = solve(tiny(), scripted(lambda monitor: monitor.raise_bound(7)))
    assert (result.status, result.bound_ps, result.gap) == (Status.UNKNOWN, 7, None)
    reasons = ["layer first takes 3 bytes too many", "use more chiplets"]
    result = solve(tiny(), scripted(lambda monitor: monitor.prove_infeasible(reasons)))
    assert (result.status, result.explanation) == (Status.INFEASIBLE, tuple(reasons))
    for number in ("objective_ps", "bound_ps", "gap", "latency_s", "throughput_per_s"):
        assert getattr(result, number) is None


def test_why_there_is_no_proof() -> None:
    def act(monitor: Monitor) -> None:
        monitor.improve(OBJECTIVE, ONE_CLUSTER)
        monitor.give_up(["too large to prove"])

    result = solve(tiny(), scripted(act))
    assert (result.status, result.explanation) == (Status.FEASIBLE, ("too large to prove",))
    assert result.stop_reason is StopReason.COMPLETED


def test_only_improvements_are_kept() -> None:
    def act(monitor: Monitor) -> None:
        monitor.raise_bound(10)
        monitor.improve(OBJECTIVE, ONE_CLUSTER)
        monitor.improve(OBJECTIVE, TOO_MANY_CHIPLETS)  # no better, hence not looked at
        monitor.raise_bound(9)
        monitor.raise_bound(20)

    result = solve(tiny(), scripted(act))
    assert [(point.objective_ps, point.bound_ps) for point in result.trajectory] == [
        (None, 10),
        (OBJECTIVE, 10),
        (OBJECTIVE, 20),
    ]
    times = [point.time_s for point in result.trajectory]
    assert times == sorted(times)


def test_progress_is_passed_on() -> None:
    seen: list[tuple[str, float, int | None]] = []

    def act(monitor: Monitor) -> None:
        monitor.report("first half", 0.5)
        monitor.improve(OBJECTIVE, ONE_CLUSTER)

    solve(tiny(), scripted(act), on_progress=lambda m: seen.append((m.stage, m.done, m.objective)))
    assert seen == [("first half", 0.5, None), ("first half", 0.5, OBJECTIVE)]


# --- Stopping ------------------------------------------------------------------------------------


def wait_for(monitor: Monitor) -> None:
    """What a well-behaved solver does: look at ``stopping``, then return with what it has."""
    monitor.improve(OBJECTIVE, ONE_CLUSTER)
    while not monitor.stopping:
        assert monitor.elapsed_s < 60


def test_time_limit() -> None:
    result = solve(tiny(), scripted(wait_for), SolveOptions(time_limit_s=0.01))
    assert (result.status, result.stop_reason) == (Status.FEASIBLE, StopReason.TIME_LIMIT)
    assert result.options["time_limit_s"] == 0.01


def test_limit_of_processor_time() -> None:
    result = solve(tiny(), scripted(wait_for), SolveOptions(cpu_limit_s=0.05))
    assert (result.status, result.stop_reason) == (Status.FEASIBLE, StopReason.CPU_LIMIT)
    assert result.options["cpu_limit_s"] == 0.05


def test_processor_time_left_is_that_of_the_nearest_limit() -> None:
    assert Monitor(time_limit_s=1).cpu_left_s is None
    outer = Monitor(cpu_limit_s=100)
    nearer = Monitor(parent=outer, cpu_limit_s=50)
    monitors = (outer, Monitor(parent=outer), nearer, Monitor(parent=nearer, cpu_limit_s=70))
    for monitor, limit_s in zip(monitors, (100, 100, 50, 50), strict=True):
        left_s = monitor.cpu_left_s
        assert left_s is not None
        assert limit_s - 10 < left_s <= limit_s
    assert Monitor(cpu_limit_s=0).cpu_left_s == 0


def test_sleeping_takes_no_processor_time() -> None:
    def act(monitor: Monitor) -> None:
        monitor.improve(OBJECTIVE, ONE_CLUSTER)
        while not monitor.stopping:
            time.sleep(0.02)

    result = solve(tiny(), scripted(act), SolveOptions(time_limit_s=0.3, cpu_limit_s=30.0))
    assert result.stop_reason is StopReason.TIME_LIMIT


def test_a_run_that_ends_by_itself_did_not_hit_its_limit() -> None:
    # The limit may pass after the last look; what counts is whether the solver stopped for it.
    def act(monitor: Monitor) -> None:
        monitor.improve(OBJECTIVE, ONE_CLUSTER)
        while monitor.elapsed_s < 0.01:
            pass

    result = solve(tiny(), scripted(act), SolveOptions(time_limit_s=0.001))
    assert result.stop_reason is StopReason.COMPLETED


@pytest.mark.parametrize("solver", PAPER)
def test_no_time_at_all(solver: str) -> None:
    result = solve(tiny(), solver, SolveOptions(time_limit_s=0.0))
    if solver == "pipeline":  # its one segmentation is tried before anybody looks at the clock
        assert (result.status, result.stop_reason) == (Status.FEASIBLE, StopReason.COMPLETED)
    else:
        assert (result.status, result.stop_reason) == (Status.FEASIBLE, StopReason.TIME_LIMIT)
        assert result.explanation == (FALLBACK,)  # it has none of its own


def test_the_first_interrupt_stops_the_solver() -> None:
    def act(monitor: Monitor) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        wait_for(monitor)

    before = signal.getsignal(signal.SIGINT)
    result = solve(tiny(), scripted(act))
    assert (result.status, result.stop_reason) == (Status.FEASIBLE, StopReason.INTERRUPTED)
    assert result.objective_ps == OBJECTIVE
    assert signal.getsignal(signal.SIGINT) is before


def test_the_second_interrupt_ends_the_program() -> None:
    def stubborn(_monitor: Monitor) -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        for _ in range(10_000_000):  # until the signal is handled
            pass

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        solve(tiny(), scripted(stubborn))
    assert signal.getsignal(signal.SIGINT) is before


def test_solving_outside_the_main_thread() -> None:
    results: list[Result] = []
    thread = threading.Thread(
        target=lambda: results.append(solve(tiny(), "scope", SolveOptions(time_limit_s=60)))
    )
    thread.start()
    thread.join()
    assert results[0].schedule == solve(tiny(), "scope").schedule


def test_interrupting_a_search_keeps_its_best_schedule() -> None:
    def interrupt(monitor: Monitor) -> None:
        if monitor.objective is not None and not monitor.interrupted:
            os.kill(os.getpid(), signal.SIGINT)

    result = solve(paper_instance("alexnet", 64), "scope", on_progress=interrupt)
    assert result.stop_reason is StopReason.INTERRUPTED
    assert result.objective_ps is not None
    assert result.objective_ps == result.trajectory[-1].objective_ps


# --- Results -------------------------------------------------------------------------------------


def test_results_round_trip_through_json() -> None:
    for instance in (paper_instance("alexnet", 64), tiny()):
        result = solve(instance, "scope", SolveOptions(segments=(0, 1)))
        text = result.to_json()
        assert Result.from_json(text, "test") == result
        document = json.loads(text)
        assert document["format"] == "scope-result/1"
        assert document["options"] == {"segments": [0, 1], "time_limit_s": None}
        assert document["instance"] == {"name": instance.name, "digest": instance.digest}
        assert document["versions"]["scope-opt"] == __version__
        assert document["objective_ps"] == round(document["latency_s"] * 1e12)
        # Tables carry no energy: null, not 0 and not left out.
        assert (document["energy_j"] is None) == (instance.tables is not None)


def test_absent_numbers_are_written_as_null() -> None:
    result = solve(tiny(), scripted(lambda monitor: None))
    document = json.loads(result.to_json())
    absent = {name for name, value in document.items() if value is None}
    assert absent == {
        *("objective_ps", "bound_ps", "gap", "latency_s", "throughput_per_s"),
        *("utilization", "energy_j", "schedule", "objective_fj", "bound_fj", "model", "proof"),
        *("warm_start", "solver_class"),
    }
    assert document["times_s"]["build"] is None
    assert Result.from_json(result.to_json(), "test") == result


def test_energies_add_up() -> None:
    energy = solve(paper_instance("alexnet", 64), "scope").energy_j
    assert energy is not None
    assert energy.total == pytest.approx(energy.mac + energy.sram + energy.nop + energy.dram)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"status": "optimal"}, "'optimal' exactly if bound and objective are equal"),
        ({"status": "optimal", "bound_ps": None, "gap": None}, "'optimal' needs a bound"),
        ({"status": "infeasible"}, "contradicts the presence of a schedule"),
        ({"status": "feasible", "schedule": None}, "goes with a schedule"),
        ({"bound_ps": OBJECTIVE, "gap": 0.0}, "'optimal' exactly if bound and objective are equal"),
        ({"bound_ps": OBJECTIVE + 1, "gap": 0.0}, "exceeds the objective"),
        ({"gap": 0.5}, r"is not \(objective - bound\) / objective"),
        ({"gap": None}, r"is not \(objective - bound\) / objective"),
        ({"objective_ps": -1}, "greater than or equal to 0"),
        ({"stop_reason": "tired"}, "stop_reason"),
        ({"comment": "hello"}, "unknown key"),
    ],
)
def test_results_that_contradict_themselves(changes: Json, message: str) -> None:
    def act(monitor: Monitor) -> None:
        monitor.raise_bound(60)
        monitor.improve(OBJECTIVE, ONE_CLUSTER)

    document = {**json.loads(solve(tiny(), scripted(act)).to_json()), **changes}
    with pytest.raises(InputError, match=message):
        Result.from_json(json.dumps(document), "test")


@pytest.mark.parametrize(
    ("objective", "bound", "gap"),
    [(None, None, None), (4, None, None), (None, 4, None), (4, 3, 0.25), (4, 4, 0.0), (0, 0, 0.0)],
)
def test_gap(objective: int | None, bound: int | None, gap: float | None) -> None:
    assert relative_gap(objective, bound) == gap
