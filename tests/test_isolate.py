"""Solvers in a process of their own: same answers, hard limits, and crashes that cost nothing."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest
from rogues import Crashes, Eats, Hangs, Lies, Raises, Refuses, Rogue

from scope_opt.model.files import InputError
from scope_opt.model.generate import paper_instance
from scope_opt.solving.isolate import Isolated
from scope_opt.solving.result import Status, StopReason
from scope_opt.solving.solver import SolveOptions, load_solver, solve

if TYPE_CHECKING:
    from scope_opt.model.instance import Instance
    from scope_opt.solving.monitor import Monitor


def instance() -> Instance:
    return paper_instance("alexnet", 64)


def test_same_result_as_in_this_process() -> None:
    options = SolveOptions(segments=1)
    here = solve(instance(), "exact", options)
    there = solve(instance(), Isolated(load_solver("exact")), options)
    different = {"times_s", "trajectory", "peak_memory_bytes"}
    assert there.model_dump(exclude=different) == here.model_dump(exclude=different)
    assert there.status is Status.OPTIMAL
    assert [(p.objective_ps, p.bound_ps) for p in there.trajectory][-1] == (
        here.objective_ps,
        here.bound_ps,
    )


def test_program_size_and_times_come_along() -> None:
    options = SolveOptions(segments=1, encoding="columns")
    here = solve(instance(), "cp-sat", options)
    there = solve(instance(), Isolated(load_solver("cp-sat")), options)
    assert there.model is not None
    assert there.model == here.model
    assert there.times_s.build is not None
    assert 0 < there.times_s.build < there.times_s.total


@pytest.mark.parametrize(
    ("solver", "message"), [(Crashes(), "SIGSEGV"), (Raises(), "RuntimeError: out of luck")]
)
def test_crashes_leave_the_best_schedule(solver: Rogue, message: str) -> None:
    result = solve(instance(), Isolated(solver))
    assert result.stop_reason is StopReason.ERROR
    assert result.status is Status.FEASIBLE
    assert result.objective_ps == solve(instance(), "scope").objective_ps
    assert result.bound_ps == 1
    assert message in result.explanation[0]


def test_refusals_are_raised_here() -> None:
    with pytest.raises(InputError, match="2 problems") as caught:
        solve(instance(), Isolated(Refuses()))
    assert caught.value.source == "instance"


def test_what_does_not_stop_in_time_is_ended() -> None:
    solve(instance(), "scope")  # compiles, also for the process that is started
    result = solve(instance(), Isolated(Hangs(), grace_s=0.2), SolveOptions(time_limit_s=8.0))
    assert result.stop_reason is StopReason.TIME_LIMIT
    assert result.status is Status.FEASIBLE


def test_memory_limit() -> None:
    result = solve(instance(), Isolated(Eats()), SolveOptions(memory_limit_bytes=2**30))
    assert result.stop_reason is StopReason.MEMORY_LIMIT
    assert result.status is Status.FEASIBLE
    assert "1 GiB" in result.explanation[0]


def test_interrupts_are_passed_on() -> None:
    solver = Isolated(Hangs(), grace_s=0.2)

    def interrupt_once(monitor: Monitor) -> None:
        if monitor.objective is not None and not monitor.interrupted:
            os.kill(os.getpid(), signal.SIGINT)

    assert threading.current_thread() is threading.main_thread()
    result = solve(instance(), solver, on_progress=interrupt_once)
    assert result.stop_reason is StopReason.INTERRUPTED
    assert result.status is Status.FEASIBLE


def test_lies_are_caught(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from scope_opt.solving.solver import SolverDisagreement

    monkeypatch.chdir(tmp_path)
    with pytest.raises(SolverDisagreement):
        solve(instance(), Isolated(Lies(), grace_s=0.2))
