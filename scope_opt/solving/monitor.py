"""What a running solver reports, and how it learns that it should stop."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from scope_opt.solving.result import (
    PROVERS,
    ModelSize,
    Proof,
    StopReason,
    TrajectoryPoint,
    relative_gap,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from scope_opt.schedule.schedule import Segment
    from scope_opt.solving.result import Library, Prover


class Monitor:
    """Where a running solver reports, and learns that it should stop.

    Objective and bound are in ps, or in fJ where the instance minimizes energy.
    """

    def __init__(
        self,
        time_limit_s: float | None = None,
        on_progress: Callable[[Monitor], None] | None = None,
        parent: Monitor | None = None,
        rel_gap: float = 0.0,
        minimizes: Literal["latency", "energy"] = "latency",
        cpu_limit_s: float | None = None,
    ) -> None:
        """``parent``: the monitor of a solver that runs another one; it decides when to stop.

        ``cpu_limit_s``: processor time that this process may use from now on, on all its threads.
        """
        self._parent, self._rel_gap = parent, rel_gap
        self.minimizes = minimizes
        self._start = time.perf_counter()
        self._deadline = None if time_limit_s is None else self._start + time_limit_s
        self._cpu_end = None if cpu_limit_s is None else time.process_time() + cpu_limit_s
        self.cpu_spent = False
        """Whether the limit of processor time was reached"""
        self._on_progress = on_progress
        self.interrupted = False
        self.objective: int | None = None
        self.bound: int | None = None
        self.segments: tuple[Segment, ...] | None = None
        self.phases_s: dict[str, float] = {}
        """Time spent in `timed` phases."""
        self.model: ModelSize | None = None
        self._provers: frozenset[Prover] = frozenset()
        """What the bound rests on"""
        self._credited: frozenset[Prover] = frozenset()
        """What the next bound will rest on besides"""
        self._library: Library | None = None
        self._programs, self._library_s = 0, 0.0
        self.start_verdict: str | None = None
        self.trajectory: list[TrajectoryPoint] = []
        self.infeasible = False
        self.explanation: tuple[str, ...] = ()
        self.stage = ""
        self.done = 0.0
        self.stopped_early = False
        self.failure: StopReason | None = None
        self.peak_memory_bytes: int | None = None
        """Of the process that solves, where that is another one."""

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._start

    @property
    def left_s(self) -> float | None:
        """Seconds to the time limit; None if there is none."""
        own = None if self._deadline is None else max(0.0, self._deadline - time.perf_counter())
        above = None if self._parent is None else self._parent.left_s
        return min((left for left in (own, above) if left is not None), default=None)

    @property
    def stopping(self) -> bool:
        """Whether the solver should return with what it has; remembered as having stopped early."""
        late = self._deadline is not None and time.perf_counter() >= self._deadline
        if self._cpu_end is not None and time.process_time() >= self._cpu_end:
            late = self.cpu_spent = True
        if late or self.interrupted or self._close or (self._parent and self._parent.stopping):
            self.stopped_early = True
        return self.stopped_early

    @property
    def _close(self) -> bool:
        """Whether the gap is as small as asked for, but not closed."""
        gap = relative_gap(self.objective, self.bound)
        return gap is not None and 0 < gap <= self._rel_gap

    @property
    def stop_reason(self) -> StopReason:
        """Why the solver ended."""
        if self.failure is not None:
            return self.failure
        if not self.stopped_early:
            return StopReason.COMPLETED
        if self.interrupted:
            return StopReason.INTERRUPTED
        if self._close:
            return StopReason.GAP_LIMIT
        return StopReason.CPU_LIMIT if self.cpu_spent else StopReason.TIME_LIMIT

    def improve(self, objective: int, segments: Sequence[Segment]) -> None:
        """Report a schedule; kept if better than the best so far."""
        if self.objective is None or objective < self.objective:
            self.objective = objective
            self.segments = tuple(segments)
            self._record()

    def raise_bound(self, bound: int, *by: Prover) -> None:
        """Report a lower bound on every schedule of the instance, and who proved it.

        It rests on what was credited since the last one as well.
        """
        if self.bound is None or bound > self.bound:
            self.bound = bound
            self.credit(*by)
            self._settle_credit()
            self._record()

    def credit(self, *provers: Prover) -> None:
        """Say what the next bound, or the proof that there is no schedule, rests on.

        For solvers whose bound is made of many that are proved one by one.
        """
        self._credited |= frozenset(provers)

    @contextmanager
    def library(self, name: Library) -> Iterator[None]:
        """Count what is done inside as one program that a library solves."""
        began = time.perf_counter()
        self._library = name
        self._programs += 1
        try:
            yield
        finally:
            self._library_s += time.perf_counter() - began

    @property
    def proof(self) -> Proof | None:
        """Who proved the bound, or that there is no schedule; None without either and programs."""
        if self.bound is None and not self.infeasible and not self._programs:
            return None
        by = tuple(prover for prover in PROVERS if prover in self._provers)
        return Proof(
            by=by if len(by) == 1 else tuple(prover for prover in by if prover != "simple bound"),
            library=self._library,
            programs=self._programs,
            library_s=self._library_s,
        )

    def adopt(self, proof: Proof | None) -> None:
        """Take over what a solver in another process says of its proof."""
        if proof is not None:
            self._provers = frozenset(proof.by)
            self._library, self._programs = proof.library, proof.programs
            self._library_s = proof.library_s

    @contextmanager
    def timed(self, phase: Literal["build", "translate"]) -> Iterator[None]:
        """Count what is done inside as building programs, or as handing them to their solver."""
        began = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - began
            self.phases_s[phase] = self.phases_s.get(phase, 0.0) + spent

    def size(self, variables: int, constraints: int, nonzeros: int) -> None:
        """Report the size of a program; the largest is kept."""
        if self.model is None or nonzeros > self.model.nonzeros:
            self.model = ModelSize(variables=variables, constraints=constraints, nonzeros=nonzeros)

    def warm_start(self, accepted: bool, reason: str = "") -> None:
        """Report whether the solver could begin with the schedule that it was given."""
        self.start_verdict = "accepted" if accepted else f"rejected: {reason}"

    def prove_infeasible(self, explanation: Sequence[str], *by: Prover) -> None:
        """Report that there is no schedule, why, in the user's terms, and who proved it."""
        self.infeasible = True
        self.explanation = tuple(explanation)
        self.credit(*by)
        self._settle_credit()

    def give_up(self, explanation: Sequence[str]) -> None:
        """Report that none was found, which proves nothing, and what to try instead."""
        self.explanation = tuple(explanation)

    def fail(self, reason: StopReason, explanation: Sequence[str]) -> None:
        """Report that the solver broke down; what it reported before counts."""
        self.failure, self.explanation = reason, tuple(explanation)

    def report(self, stage: str, done: float) -> None:
        """Say what is going on and which share (0 to 1) of it is done."""
        self.stage, self.done = stage, done
        if self._on_progress is not None:
            self._on_progress(self)

    def _settle_credit(self) -> None:
        self._provers |= self._credited
        self._credited = frozenset()

    def _record(self) -> None:
        time_s = round(self.elapsed_s, 6)
        objective, bound = self.objective, self.bound
        if self.minimizes == "energy":
            point = TrajectoryPoint(time_s=time_s, objective_fj=objective, bound_fj=bound)
        else:
            point = TrajectoryPoint(time_s=time_s, objective_ps=objective, bound_ps=bound)
        self.trajectory.append(point)
        if self._on_progress is not None:
            self._on_progress(self)


@contextmanager
def interruptible(monitor: Monitor) -> Iterator[None]:
    """Turn the first Ctrl-C into a request to stop; only the main thread may set handlers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_interrupt(_signal: int, _frame: object) -> None:
        if monitor.interrupted:
            raise KeyboardInterrupt
        monitor.interrupted = True

    previous = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
