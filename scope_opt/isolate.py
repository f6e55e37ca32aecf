"""A solver in a process of its own: what it does to memory, or a crash, ends nothing else."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import psutil

from scope_opt.files import InputError
from scope_opt.result import ModelSize, StopReason
from scope_opt.solver import Monitor, SolverUnavailable, interruptible, peak_memory_bytes

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess

    from scope_opt.instance import Instance
    from scope_opt.schedule import Segment
    from scope_opt.solver import SolveOptions, Solver
    from scope_opt.tables import LatencyTables

POLL_S = 0.05
"""Seconds between two looks at the process's memory and at whether to stop."""
GRACE_S = 10.0
"""Seconds that a solver has to stop after it was asked to, before its process is ended."""


class _Progress(NamedTuple):
    """What the solver has so far."""

    objective: int | None
    bound: int | None
    segments: tuple[Segment, ...] | None
    """None where they are those sent before."""
    stage: str
    done: float


class _Final(NamedTuple):
    """What else is known once the solver is done."""

    phases_s: dict[str, float]
    model: ModelSize | None
    start_verdict: str | None
    infeasible: bool
    explanation: tuple[str, ...]
    stopped_early: bool
    peak_memory_bytes: int


class Isolated:
    """A solver that runs another one in a child process, within hard limits.

    What the child reports reaches the monitor as it comes, so that a child that crashes, or is
    ended for using too much memory or for not stopping in time, leaves its best schedule and bound.

    Parameters
    ----------
    solver : Solver
        Its class must be importable, as the child gets it by name.
    memory_limit_bytes : int, optional
        Largest resident size of the child.
    grace_s : float
        Seconds that it has to stop after a time limit or Ctrl-C.
    """

    def __init__(
        self, solver: Solver, memory_limit_bytes: int | None = None, grace_s: float = GRACE_S
    ) -> None:
        self._solver, self._memory_limit, self._grace_s = solver, memory_limit_bytes, grace_s
        self.name, self.summary, self.exact = solver.name, solver.summary, solver.exact
        self.constraints, self.options = solver.constraints, solver.options

    def run(
        self,
        instance: Instance,
        tables: LatencyTables,
        options: SolveOptions,
        monitor: Monitor,
    ) -> None:
        """Run the solver in a child process; see `scope_opt.solver.Solver`."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=False)
        # The child counts on a clock that both share, so that its start-up counts as well.
        left = options.time_limit_s
        deadline = None if left is None else time.time() + left - monitor.elapsed_s
        work = (theirs, self._solver, instance, tables, options, deadline)
        child = context.Process(target=_work, args=work, daemon=True)
        child.start()
        theirs.close()  # so that the child's end shows as the end of what can be read
        try:
            if self._watch(child, ours, monitor):
                child.join(self._grace_s)  # to tidy up after itself
        finally:
            if child.is_alive():
                child.kill()
            child.join()

    def _watch(self, child: SpawnProcess, pipe: Connection, monitor: Monitor) -> bool:
        """Pass on what the child reports; True once it is done, False if it has to be ended."""
        asked_at: float | None = None
        while True:
            try:
                # More than one message may wait; each is read before the child is judged.
                while pipe.poll(POLL_S):
                    if _receive(pipe.recv(), monitor):
                        return True
            except EOFError:
                child.join()
                if monitor.stopping:
                    return False
                code = child.exitcode or 0
                monitor.fail(StopReason.ERROR, [f"the solver's process {_ending(code)}"])
                return False
            if self._memory_limit is not None and _resident(child) > self._memory_limit:
                limit = f"{self._memory_limit / 2**30:.3g} GiB"
                monitor.fail(StopReason.MEMORY_LIMIT, [f"the solver used more than {limit}"])
                return False
            if not monitor.stopping:
                continue
            if asked_at is None:
                asked_at = time.perf_counter()
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid or 0, signal.SIGINT)
            elif time.perf_counter() - asked_at > self._grace_s:
                return False  # the caller ends it; the monitor knows why it stops


def _receive(message: object, monitor: Monitor) -> bool:
    """Hand a message to the monitor; True after the last one."""
    if isinstance(message, Exception):
        raise message
    if isinstance(message, str):
        monitor.fail(StopReason.ERROR, [f"the solver broke down: {message}"])
        return True
    if isinstance(message, _Progress):
        if message.segments is not None and message.objective is not None:
            monitor.improve(message.objective, message.segments)
        if message.bound is not None:
            monitor.raise_bound(message.bound)
        monitor.report(message.stage, message.done)
        return False
    assert isinstance(message, _Final)
    monitor.phases_s, monitor.model = message.phases_s, message.model
    monitor.start_verdict = message.start_verdict
    monitor.infeasible, monitor.explanation = message.infeasible, message.explanation
    monitor.stopped_early |= message.stopped_early
    monitor.peak_memory_bytes = message.peak_memory_bytes
    return True


def _ending(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code} before it was done"


def _resident(child: SpawnProcess) -> int:
    try:
        return int(psutil.Process(child.pid).memory_info().rss)
    except psutil.Error:
        return 0  # it has just ended


# --- In the child --------------------------------------------------------------------------------


def _work(
    pipe: Connection,
    solver: Solver,
    instance: Instance,
    tables: LatencyTables,
    options: SolveOptions,
    deadline: float | None,
) -> None:
    os.setsid()  # a terminal's Ctrl-C reaches the parent only, which passes it on
    left = None if deadline is None else max(0.0, deadline - time.time())
    sent: tuple[Segment, ...] | None = None

    def send(monitor: Monitor) -> None:
        nonlocal sent
        news = None if monitor.segments is sent else monitor.segments
        sent = monitor.segments
        state = (monitor.objective, monitor.bound, news, monitor.stage, monitor.done)
        pipe.send(_Progress(*state))

    monitor = Monitor(left, send, rel_gap=options.rel_gap, minimizes=instance.minimizes)
    try:
        with interruptible(monitor):
            solver.run(instance, tables, replace(options, time_limit_s=left), monitor)
    except (InputError, SolverUnavailable) as error:
        pipe.send(error)
        return
    except Exception as error:  # whatever it is, it is not this process's defect
        pipe.send(f"{type(error).__name__}: {error}")
        return
    pipe.send(
        _Final(
            phases_s=monitor.phases_s,
            model=monitor.model,
            start_verdict=monitor.start_verdict,
            infeasible=monitor.infeasible,
            explanation=monitor.explanation,
            stopped_early=monitor.stopped_early,
            peak_memory_bytes=peak_memory_bytes(),
        )
    )
