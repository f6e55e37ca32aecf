"""Machine code is made while no clock runs, and whoever waits is told."""

from __future__ import annotations

import importlib
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import numba
import pytest
from helpers import invoke
from rogues import Rogue

from scope_opt.model import compilation
from scope_opt.model.generate import paper_instance
from scope_opt.solving.isolate import Isolated
from scope_opt.solving.monitor import Monitor, interruptible
from scope_opt.solving.result import Result, StopReason
from scope_opt.solving.solver import SolveOptions, load_solver, solve, solver_names
from scope_opt.solving.warmup import kinds, small_instance
from scope_opt.terminal.console import progress

if TYPE_CHECKING:
    from collections.abc import Iterator

PAUSE_S = 0.2


@pytest.fixture
def compiles() -> Iterator[None]:
    """As if a kernel were compiled all the while."""
    compilation.began()
    try:
        yield
    finally:
        compilation.ended()


class Compiles(Rogue):
    """Takes its time, as a kernel does when it is compiled."""

    def run(self, *arguments: Any) -> None:
        compilation.began()
        try:
            time.sleep(PAUSE_S)
        finally:
            compilation.ended()
        super().run(*arguments)


def test_what_numba_compiles_is_counted() -> None:
    def add_one(x: int) -> int:
        return x + 1

    def add_two(x: int) -> Any:
        return inner(x) + 1

    inner: Any = numba.njit(add_one)
    outer: Any = numba.njit(add_two)
    importlib.import_module("scope_opt.model.compiled")  # from then on it listens
    told: list[bool] = []
    before_s, before_cpu_s = compilation.spent_s(), compilation.cpu_s()
    began_s = time.perf_counter()
    with compilation.told(lambda: told.append(compilation.active())):
        assert outer(1) == 3
    took_s = time.perf_counter() - began_s
    assert told == [True, True, True, False]  # the inner one inside the other
    assert 0 < compilation.spent_s() - before_s < took_s
    assert compilation.cpu_s() > before_cpu_s
    after_s = compilation.spent_s()
    assert outer(2) == 4
    assert compilation.spent_s() == after_s
    assert not compilation.active()


def test_clocks_stand_still() -> None:
    monitor = Monitor(time_limit_s=PAUSE_S / 2, cpu_limit_s=PAUSE_S / 2)
    part = Monitor(parent=monitor)
    compilation.began()
    try:
        until_s = time.perf_counter() + PAUSE_S
        while time.perf_counter() < until_s:  # uses processor time, too
            assert monitor.compiling
        assert not part.stopping
        assert monitor.left_s is not None
        assert 0 < monitor.left_s <= PAUSE_S / 2
    finally:
        compilation.ended()
    assert monitor.elapsed_s < PAUSE_S / 2
    assert monitor.compile_s >= PAUSE_S
    time.sleep(PAUSE_S / 2)
    assert part.stopping
    assert monitor.stop_reason is StopReason.TIME_LIMIT


def test_clocks_stand_still_for_another_process() -> None:
    told: list[bool] = []
    monitor = Monitor(PAUSE_S / 2, lambda monitor: told.append(monitor.compiling))
    part = Monitor(parent=monitor)
    part.compiles_there(True)
    part.compiles_there(True)
    time.sleep(PAUSE_S)
    assert not monitor.stopping
    part.compiles_there(False)
    assert told == [True, False]
    assert monitor.compile_s >= PAUSE_S
    assert monitor.elapsed_s < PAUSE_S / 2


@pytest.mark.parametrize("isolated", [False, True])
def test_results_name_the_time(isolated: bool) -> None:
    solver = Isolated(Compiles()) if isolated else Compiles()
    result = solve(paper_instance("alexnet", 64), solver)
    times = result.times_s
    assert times.compile >= PAUSE_S * 0.9  # two processes, two clocks
    assert times.tables + times.solve <= times.total
    assert Result.from_json(result.to_json(), "result") == result
    again = solve(paper_instance("alexnet", 64), "scope")
    assert again.times_s.compile == 0
    assert "compile" not in again.to_json()


def test_those_who_wait_are_told(capfd: pytest.CaptureFixture[str]) -> None:
    with progress("alexnet, compiles") as on_progress:
        result = solve(paper_instance("alexnet", 64), Compiles(), on_progress=on_progress)
    assert result.schedule is not None
    lines = capfd.readouterr().err.splitlines()
    assert lines == ["alexnet, compiles: compiling, once per machine: 0 s, not counted in limits"]


def test_interrupts_break_it_off() -> None:
    before = signal.getsignal(signal.SIGINT)
    monitor = Monitor()
    with interruptible(monitor):
        compilation.began()
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
            pytest.fail("it went on")
        finally:
            compilation.ended()
    assert monitor.stopping
    assert monitor.stop_reason is StopReason.INTERRUPTED
    with interruptible(monitor):
        pass  # handlers are as before
    assert signal.getsignal(signal.SIGINT) is before


def test_interrupted_solves_keep_what_was_found() -> None:
    class Late(Rogue):
        def misbehave(self, monitor: Monitor) -> None:
            compilation.began()
            try:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(5)
            finally:
                compilation.ended()
            pytest.fail("it went on")

    result = solve(paper_instance("alexnet", 64), Late())
    assert result.stop_reason is StopReason.INTERRUPTED
    assert result.objective_ps == solve(paper_instance("alexnet", 64), "scope").objective_ps


@pytest.mark.usefixtures("compiles")
def test_messages_are_never_cut_short() -> None:
    assert compilation.breakable()

    def told() -> None:
        assert compilation.active()
        assert not compilation.breakable()

    with compilation.told(told):
        compilation.began()
        compilation.ended()
    assert compilation.breakable()


# --- Warming up ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", solver_names())
def test_kinds_are_those_that_a_solver_honours(name: str) -> None:
    solver = load_solver(name)
    found = kinds(solver)
    assert found[0] == ()
    for demands in found:
        assert set(demands) <= solver.constraints
        assert small_instance(demands).demands == set(demands)
    assert (("placed",) in found) == ("placed" in solver.constraints)


def test_warmup_compiles_once() -> None:
    outcome = invoke("warmup", "--solver", "scope", "--solver", "sequential")
    assert outcome.exit_code == 0
    assert [line.split()[0] for line in outcome.stdout.splitlines()] == ["scope", "sequential"]
    again = invoke("warmup", "--solver", "scope")
    assert again.stdout.split() == ["scope", "ready"]


def test_warmup_of_an_unknown_solver() -> None:
    outcome = invoke("warmup", "--solver", "scop")
    assert outcome.exit_code == 3
    assert "did you mean 'scope'?" in outcome.stderr


def test_no_time_is_spent_where_all_is_compiled() -> None:
    options = SolveOptions(segments=1)
    solve(paper_instance("alexnet", 64), "scope", options)
    assert solve(paper_instance("alexnet", 64), "scope", options).times_s.compile == 0
