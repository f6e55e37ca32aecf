"""One job of a study in a process of its own, within hard limits; whatever happens is recorded."""

from __future__ import annotations

import platform
import tempfile
import time
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, NamedTuple

from scope_opt.model.files import InputError
from scope_opt.schedule.schedule import InstanceReference
from scope_opt.solving.child import Child
from scope_opt.solving.isolate import Progress, memory_excess, sender
from scope_opt.solving.monitor import Monitor
from scope_opt.solving.result import Result, StopReason
from scope_opt.solving.solver import (
    SolverDisagreement,
    SolverUnavailable,
    load_solver,
    solve,
)
from scope_opt.solving.warmup import warm_up
from scope_opt.studies.provenance import commit
from scope_opt.studies.records import Outcome, Record

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.schedule.schedule import Schedule
    from scope_opt.solving.solver import SolveOptions, Solver
    from scope_opt.studies.jobs import Job

LOADING_LIMIT_S = 300.0
"""Seconds until a solver must be loaded, compilation included."""
LAST_LINES = 5
"""Of what a process printed before it crashed, for its record."""


class _Started(NamedTuple):
    """The solver is loaded; its time counts from here on."""


class _Failed(NamedTuple):
    """There is no result."""

    outcome: Outcome
    explanation: tuple[str, ...]


def run_job(
    job: Job,
    start: Schedule | None,
    cancelled: Callable[[], bool],
    on_progress: Callable[[Monitor], None] | None = None,
) -> Record | None:
    """Run a job in a new process and wait for it.

    The clock starts when the process has loaded the solver. The calling thread only watches, so
    many may run at once.

    Parameters
    ----------
    job : Job
    start : Schedule, optional
        What it begins with; required if ``job.warm_start`` is set.
    cancelled : callable
        Asked every 50 ms or so; True ends the process.
    on_progress : callable, optional
        Called in this thread with what the solver has so far.

    Returns
    -------
    Record or None
        None if it was cancelled.
    """
    if job.warm_start is not None and start is None:
        label = job.options["warm_start"]
        why = f"the entry {label!r} found no schedule to begin with"
        return _record(job, datetime.now(UTC), 0.0, _Failed(Outcome.REFUSED, (why,)))
    return _Run(job, start, cancelled, on_progress).record()


class _Run:
    """A job that runs, seen from outside of its process."""

    def __init__(
        self,
        job: Job,
        start: Schedule | None,
        cancelled: Callable[[], bool],
        on_progress: Callable[[Monitor], None] | None,
    ) -> None:
        self._job, self._start = job, start
        self._cancelled, self._on_progress = cancelled, on_progress
        self._began, self._began_at = time.monotonic(), datetime.now(UTC)
        self._monitor: Monitor | None = None
        """What the solver has reported; None until it is loaded."""
        self._answer: Result | _Failed | None = None
        self._peak_bytes = 0

    def record(self) -> Record | None:
        with tempfile.TemporaryFile() as printed:
            child = Child(_work, self._job, self._start, output=printed)
            try:
                ending = child.watch(self._receive, lambda: self._judge(child))
                wall_s = time.monotonic() - self._began
            finally:
                child.end(self._job.grace_s if isinstance(self._answer, Result) else 0.0)
            if ending is not None:
                why = (f"the solver's process {ending}", *_last_lines(printed))
                self._answer = _Failed(Outcome.CRASHED, why)
        if self._answer is None:
            return None  # cancelled
        return _record(self._job, self._began_at, wall_s, self._answer, self._salvage())

    def _receive(self, message: object) -> bool:
        """Take note of a message; True after the last one."""
        if isinstance(message, _Started):
            self._began, self._began_at = time.monotonic(), datetime.now(UTC)
            minimizes = self._job.instance.minimizes
            self._monitor = Monitor(on_progress=self._on_progress, minimizes=minimizes)
        elif isinstance(message, Progress):
            assert self._monitor is not None
            message.repeat(self._monitor)
        else:
            assert isinstance(message, Result | _Failed)
            self._answer = message
            return True
        return False

    def _judge(self, child: Child) -> bool:
        """Whether the process must be ended, and why."""
        limit_bytes = self._job.options.get("memory_limit_bytes")
        resident_bytes = child.resident_bytes()
        self._peak_bytes = max(self._peak_bytes, resident_bytes)
        if limit_bytes is not None and resident_bytes > limit_bytes:
            self._answer = _Failed(Outcome.MEMORY_LIMIT, (memory_excess(limit_bytes),))
            return True
        limit_s, doing = LOADING_LIMIT_S, "loading and compiling took"
        spent_s = time.monotonic() - self._began
        if self._monitor is not None:
            spent_s = self._monitor.elapsed_s
            limit_s = self._job.options.get("time_limit_s", float("inf")) + self._job.grace_s
            doing = "the solver went on for"
        if spent_s > limit_s:
            self._answer = _Failed(Outcome.WALL_LIMIT, (f"{doing} more than {limit_s:g} s",))
            return True
        return self._cancelled()

    def _salvage(self) -> Result | None:
        """Result of what the solver had reported before its process was ended or crashed."""
        failed, monitor = self._answer, self._monitor
        reasons = {
            Outcome.CRASHED: StopReason.ERROR,
            Outcome.WALL_LIMIT: StopReason.TIME_LIMIT,
            Outcome.MEMORY_LIMIT: StopReason.MEMORY_LIMIT,
        }
        if not isinstance(failed, _Failed) or monitor is None or failed.outcome not in reasons:
            return None
        spent_s = monitor.elapsed_s
        monitor.fail(reasons[failed.outcome], failed.explanation)
        monitor.peak_memory_bytes = self._peak_bytes
        teller = _Teller(load_solver(self._job.solver), monitor)
        try:
            result = solve(self._job.instance, teller, self._job.solve_options(self._start))
        except SolverDisagreement:
            return None  # what it had reported was wrong
        times = result.times_s.model_copy(update={"solve": spent_s, "total": spent_s})
        return result.model_copy(update={"times_s": times})


class _Teller:
    """Repeats what a solver has reported, so that `solve` makes a checked result of it."""

    def __init__(self, solver: Solver, reported: Monitor) -> None:
        self._reported = reported
        self.name, self.summary, self.exact = solver.name, solver.summary, solver.exact
        self.constraints, self.options = solver.constraints, solver.options

    def run(
        self, instance: Instance, tables: LatencyTables, options: SolveOptions, monitor: Monitor
    ) -> None:
        """See `scope_opt.solving.solver.Solver`."""
        told = self._reported
        monitor.objective, monitor.bound, monitor.segments = (
            told.objective,
            told.bound,
            told.segments,
        )
        monitor.adopt(told.proof)
        monitor.trajectory = told.trajectory
        monitor.peak_memory_bytes = told.peak_memory_bytes
        assert told.failure is not None
        monitor.fail(told.failure, told.explanation)


def _record(
    job: Job,
    began: datetime,
    wall_s: float,
    answer: Result | _Failed,
    salvaged: Result | None = None,
) -> Record:
    return Record(
        key=job.key,
        instance=InstanceReference.to(job.instance),
        variant=job.variant,
        label=job.label,
        solver=job.solver,
        seed=job.seed,
        options=job.options,
        outcome=Outcome.DONE if isinstance(answer, Result) else answer.outcome,
        explanation=() if isinstance(answer, Result) else answer.explanation,
        result=answer if isinstance(answer, Result) else salvaged,
        started=began.isoformat(timespec="seconds"),
        wall_s=round(wall_s, 6),
        host=platform.node(),
        commit=commit(),
    )


def _last_lines(printed: IO[bytes]) -> list[str]:
    """End of what a process printed."""
    printed.seek(max(0, printed.seek(0, 2) - 10_000))
    lines = printed.read().decode(errors="replace").splitlines()
    return [line for line in lines if line.strip()][-LAST_LINES:]


# --- In the job's process ------------------------------------------------------------------------


def _work(pipe: Connection, job: Job, start: Schedule | None) -> None:
    try:
        solver = load_solver(job.solver)
        options = job.solve_options(start)
        warm_up(solver, job.instance.demands, options)
        pipe.send(_Started())
        pipe.send(solve(job.instance, solver, options, sender(pipe)))
    except (InputError, SolverUnavailable) as error:
        pipe.send(_Failed(Outcome.REFUSED, tuple(str(error).splitlines())))
    except Exception as error:  # whatever it is, it is not the study's defect
        lines = f"{type(error).__name__}: {error}".splitlines()
        pipe.send(_Failed(Outcome.CRASHED, tuple(lines)))
