"""A solver in a process of its own: what it does to memory, or a crash, ends nothing else."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from scope_opt.model import compilation
from scope_opt.model.files import InputError
from scope_opt.solving.child import Child, listen
from scope_opt.solving.host import peak_memory_bytes
from scope_opt.solving.monitor import Monitor, interruptible
from scope_opt.solving.result import ModelSize, Proof, StopReason
from scope_opt.solving.solver import SCHEME, SolverUnavailable, run_solver

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.schedule.schedule import Segment
    from scope_opt.solving.solver import SolveOptions, Solver

GRACE_S = 10.0
"""Seconds that a solver has to stop after it was asked to, before its process is ended."""
MOST_GIB = 2**20
"""Largest memory limit."""
REPORT_S = 0.1
"""Seconds between two messages that hold no news but which share of the work is done."""


class Progress(NamedTuple):
    """What a solver in another process has so far."""

    objective: int | None
    bound: int | None
    segments: tuple[Segment, ...] | None
    """None where they are those sent before."""
    proof: Proof | None
    stage: str
    done: float
    compiling: bool

    def repeat(self, monitor: Monitor) -> None:
        """Report it to a monitor of this process."""
        monitor.compiles_there(self.compiling)
        monitor.adopt(self.proof)
        if self.segments is not None and self.objective is not None:
            monitor.improve(self.objective, self.segments)
        if self.bound is not None:
            monitor.raise_bound(self.bound)
        monitor.report(self.stage, self.done)


def sender(pipe: Connection) -> Callable[[Monitor], None]:
    """Callback of a monitor that sends its news as `Progress`."""
    sent: tuple[Segment, ...] | None = None
    points, next_s, compiling = 0, 0.0, False
    alone = threading.Lock()  # what threads of the solver compile they tell themselves

    def send(monitor: Monitor) -> None:
        nonlocal sent, points, next_s, compiling
        with alone:
            now = time.monotonic()
            changed = len(monitor.trajectory) != points or monitor.compiling != compiling
            if not changed and now < next_s:
                return
            news = None if monitor.segments is sent else monitor.segments
            sent, points, next_s = monitor.segments, len(monitor.trajectory), now + REPORT_S
            compiling = monitor.compiling
            known = (monitor.objective, monitor.bound, news, monitor.proof)
            pipe.send(Progress(*known, monitor.stage, monitor.done, compiling))

    return send


def memory_bytes(gib: float, source: str) -> int:
    """A memory limit in bytes; raises `InputError` for one that no machine has."""
    if not 0 < gib <= MOST_GIB:
        raise InputError(source, [f"found {gib}; allowed are numbers up to {MOST_GIB} (GiB)"])
    return int(gib * 2**30)


def memory_excess(limit_bytes: int) -> str:
    """What to say of a solver that is ended for its memory."""
    return f"the solver used more than {limit_bytes / 2**30:.3g} GiB"


class _Final(NamedTuple):
    """What else is known once the solver is done."""

    phases_s: dict[str, float]
    model: ModelSize | None
    proof: Proof | None
    start_verdict: str | None
    infeasible: bool
    explanation: tuple[str, ...]
    stopped_early: bool
    cpu_spent: bool
    peak_memory_bytes: int | None


class Isolated:
    """A solver that runs another one in a child process, within hard limits.

    The child may become as large as ``SolveOptions.memory_limit_bytes`` says.

    What the child reports reaches the monitor as it comes, so that a child that crashes, or is
    ended for using too much memory or for not stopping in time, leaves its best schedule and bound.

    Parameters
    ----------
    solver : Solver
        Its class must be importable, as the child gets it by name.
    grace_s : float
        Seconds that it has to stop after a time limit or Ctrl-C.
    """

    def __init__(self, solver: Solver, grace_s: float = GRACE_S) -> None:
        self._solver, self._grace_s = solver, grace_s
        self.name, self.summary, self.exact = solver.name, solver.summary, solver.exact
        self.constraints, self.options = solver.constraints, solver.options
        for name in SCHEME:
            if hasattr(solver, name):
                setattr(self, name, getattr(solver, name))

    def run(
        self,
        instance: Instance,
        tables: LatencyTables,
        options: SolveOptions,
        monitor: Monitor,
    ) -> None:
        """Run the solver in a child process; see `scope_opt.solving.solver.Solver`."""
        # The child counts on a clock that both share, so that its start-up counts as well.
        left = options.time_limit_s
        deadline = None if left is None else time.time() + left - monitor.elapsed_s
        cutoff = monitor.cutoff
        child = Child(_work, self._solver, instance, tables, options, deadline, cutoff)
        done = False
        try:
            done = self._watch(child, monitor, options.memory_limit_bytes)
        finally:
            monitor.compiles_there(False)
            child.end(self._grace_s if done else 0.0)  # to tidy up after itself

    def _watch(self, child: Child, monitor: Monitor, limit_bytes: int | None) -> bool:
        """Pass on what the child reports; True once it is done, False if it has to be ended."""
        asked_at: float | None = None
        done = False

        def receive(message: object) -> bool:
            nonlocal done
            done = _receive(message, monitor)
            return done

        def judge() -> bool:
            nonlocal asked_at
            if limit_bytes is not None and child.resident_bytes() > limit_bytes:
                monitor.fail(StopReason.MEMORY_LIMIT, [memory_excess(limit_bytes)])
                return True
            if not monitor.stopping:
                return False
            if asked_at is None:
                asked_at = time.perf_counter()
                child.interrupt()
            return time.perf_counter() - asked_at > self._grace_s  # the monitor knows why

        ending = child.watch(receive, judge)
        if ending is not None and not monitor.stopping:
            monitor.fail(StopReason.ERROR, [f"the solver's process {ending}"])
        return done


def _receive(message: object, monitor: Monitor) -> bool:
    """Hand a message to the monitor; True after the last one."""
    if isinstance(message, Exception):
        raise message
    if isinstance(message, str):
        monitor.fail(StopReason.ERROR, [f"the solver broke down: {message}"])
        return True
    if isinstance(message, Progress):
        message.repeat(monitor)
        return False
    assert isinstance(message, _Final)
    monitor.phases_s, monitor.model = message.phases_s, message.model
    monitor.adopt(message.proof)
    monitor.start_verdict = message.start_verdict or monitor.start_verdict
    monitor.infeasible, monitor.explanation = message.infeasible, message.explanation
    monitor.stopped_early |= message.stopped_early
    monitor.cpu_spent |= message.cpu_spent
    monitor.peak_memory_bytes = message.peak_memory_bytes
    return True


# --- In the child --------------------------------------------------------------------------------


def _work(
    pipe: Connection,
    solver: Solver,
    instance: Instance,
    tables: LatencyTables,
    options: SolveOptions,
    deadline: float | None,
    cutoff: int | None,
) -> None:
    left = None if deadline is None else max(0.0, deadline - time.time())
    monitor = Monitor(
        left,
        sender(pipe),
        rel_gap=options.rel_gap,
        minimizes=instance.minimizes,
        cpu_limit_s=options.cpu_limit_s,
        cutoff=cutoff,
    )
    try:
        with interruptible(monitor), compilation.told(monitor.tell):
            listen()
            run_solver(solver, instance, tables, replace(options, time_limit_s=left), monitor)
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
            proof=monitor.proof,
            start_verdict=monitor.start_verdict,
            infeasible=monitor.infeasible,
            explanation=monitor.explanation,
            stopped_early=monitor.stopped_early,
            cpu_spent=monitor.cpu_spent,
            peak_memory_bytes=peak_memory_bytes(),
        )
    )
