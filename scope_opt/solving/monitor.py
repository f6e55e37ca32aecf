"""What a running solver reports, and how it learns that it should stop."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from scope_opt.model import compilation
from scope_opt.solving.host import ENDINGS
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

    import numpy as np
    from numpy.typing import NDArray

    from scope_opt.schedule.schedule import Segment
    from scope_opt.solving.result import Library, Prover

ACCEPTED = "accepted"
"""What results say of a warm start that the solver began with."""


class Monitor:
    """Where a running solver reports, and learns that it should stop.

    Objective and bound are in ps, or in fJ where the instance minimizes energy. Its clock stands
    still while machine code is made (`scope_opt.model.compilation`), and so do its limits.
    """

    def __init__(
        self,
        time_limit_s: float | None = None,
        on_progress: Callable[[Monitor], None] | None = None,
        parent: Monitor | None = None,
        rel_gap: float = 0.0,
        minimizes: Literal["latency", "energy"] = "latency",
        cutoff: int | None = None,
        cpu_limit_s: float | None = None,
        memory_limit_bytes: int | None = None,
    ) -> None:
        """``parent``: the monitor of a solver that runs another one; it decides when to stop.

        ``cutoff``: only schedules with an objective below it matter. ``cpu_limit_s``: processor
        time that this process may use from now on, on all its threads. ``memory_limit_bytes``: what
        the tables may take.
        """
        self._parent, self._rel_gap, self._cutoff = parent, rel_gap, cutoff
        self.minimizes = minimizes
        self._start, self._compiled_s = time.perf_counter(), compilation.spent_s()
        self._compiles_there_since: float | None = None
        self._compiled_there_s = 0.0
        self._limit_s = time_limit_s
        self._cpu_end = None if cpu_limit_s is None else cpu_s() + cpu_limit_s
        self.memory_limit_bytes = memory_limit_bytes
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
        self._libraries: tuple[Library, ...] = ()
        self._programs, self._library_s = 0, 0.0
        self.segment_floors_ps: NDArray[np.int64] | None = None
        """(L, L) lower bounds on the latencies of segments, for a solver that continues another"""
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
        """Seconds since the start, without those of `compile_s`."""
        return time.perf_counter() - self._start - self.compile_s

    @property
    def compile_s(self) -> float:
        """Seconds since the start in which machine code was made, here or in a child."""
        since = self._compiles_there_since
        running_s = 0.0 if since is None else time.perf_counter() - since
        return compilation.spent_s() - self._compiled_s + self._compiled_there_s + running_s

    @property
    def compiling(self) -> bool:
        """Whether machine code is made now."""
        return compilation.active() or self._compiles_there_since is not None

    def compiles_there(self, active: bool) -> None:
        """Note whether a process that solves for this one compiles now."""
        since = self._compiles_there_since
        if active == (since is not None):
            return
        if since is not None:
            self._compiled_there_s += time.perf_counter() - since
        self._compiles_there_since = time.perf_counter() if active else None
        if self._parent is not None:
            self._parent.compiles_there(active)
        self.tell()

    @property
    def left_s(self) -> float | None:
        """Seconds to the time limit; None if there is none."""
        own = None if self._limit_s is None else max(0.0, self._limit_s - self.elapsed_s)
        above = None if self._parent is None else self._parent.left_s
        return min((left for left in (own, above) if left is not None), default=None)

    @property
    def cpu_left_s(self) -> float | None:
        """Seconds of processor time to its limit; None if there is none."""
        own = None if self._cpu_end is None else max(0.0, self._cpu_end - cpu_s())
        above = None if self._parent is None else self._parent.cpu_left_s
        return min((left for left in (own, above) if left is not None), default=None)

    @property
    def stopping(self) -> bool:
        """Whether the solver should return with what it has; remembered as having stopped early."""
        late = self._limit_s is not None and self.elapsed_s >= self._limit_s
        if self._cpu_end is not None and cpu_s() >= self._cpu_end:
            late = self.cpu_spent = True
        enough = self._close or self.outdone
        if late or self.interrupted or enough or (self._parent and self._parent.stopping):
            self.stopped_early = True
        return self.stopped_early

    @property
    def cutoff(self) -> int | None:
        """Objective that schedules must be below to matter; None if any matters.

        A solver may take it for the objective of a schedule that is known. If it then finds none,
        it has proved that bound, and not that there is no schedule.
        """
        above = None if self._parent is None else self._parent.cutoff
        return min((value for value in (self._cutoff, above) if value is not None), default=None)

    @property
    def outdone(self) -> bool:
        """Whether no schedule that matters is left: the bound reaches the cutoff."""
        return None not in (self.bound, self.cutoff) and (self.bound or 0) >= (self.cutoff or 0)

    @property
    def _close(self) -> bool:
        """Whether the gap is as small as asked for, but not closed."""
        known = (value for value in (self.objective, self.cutoff) if value is not None)
        gap = relative_gap(min(known, default=None), self.bound)
        return gap is not None and 0 < gap <= self._rel_gap

    @property
    def stop_reason(self) -> StopReason:
        """Why the solver ended."""
        if self.failure is not None:
            return self.failure
        if not self.stopped_early:
            return StopReason.COMPLETED
        if self.interrupted or (self._parent is not None and self._parent.interrupted):
            return StopReason.INTERRUPTED
        if self.outdone:
            return StopReason.OUTDONE
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
        if name not in self._libraries:
            self._libraries += (name,)
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
            library=self._libraries[0] if self._libraries else None,
            programs=self._programs,
            library_s=self._library_s,
            second_library=self._libraries[1] if len(self._libraries) > 1 else None,
        )

    def absorb(self, part: Monitor) -> None:
        """Count the work that a solver did for a part of the problem as done here."""
        for phase, spent in part.phases_s.items():
            self.phases_s[phase] = self.phases_s.get(phase, 0.0) + spent
        if part.model is not None:
            self.size(part.model.variables, part.model.constraints, part.model.nonzeros)
        self._libraries = tuple(dict.fromkeys((*self._libraries, *part._libraries)))
        self._programs += part._programs
        self._library_s += part._library_s
        if part.start_verdict is not None and self.start_verdict != ACCEPTED:
            self.start_verdict = part.start_verdict
        peaks = (self.peak_memory_bytes, part.peak_memory_bytes)
        self.peak_memory_bytes = max((peak for peak in peaks if peak is not None), default=None)

    def adopt(self, proof: Proof | None) -> None:
        """Take over what a solver in another process says of its proof."""
        if proof is not None:
            self._provers = frozenset(proof.by)
            self._libraries, self._programs = proof.libraries, proof.programs
            self._library_s = proof.library_s

    @contextmanager
    def timed(self, phase: Literal["build", "translate"]) -> Iterator[None]:
        """Count what is done inside as building programs, or as handing them to their solver."""
        began = self.elapsed_s
        try:
            yield
        finally:
            spent = self.elapsed_s - began
            self.phases_s[phase] = self.phases_s.get(phase, 0.0) + spent

    def size(self, variables: int, constraints: int, nonzeros: int) -> None:
        """Report the size of a program; the largest is kept."""
        if self.model is None or nonzeros > self.model.nonzeros:
            self.model = ModelSize(variables=variables, constraints=constraints, nonzeros=nonzeros)

    def warm_start(self, accepted: bool, reason: str = "") -> None:
        """Report whether the solver could begin with the schedule that it was given."""
        self.start_verdict = ACCEPTED if accepted else f"rejected: {reason}"

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
        self.tell()

    def tell(self) -> None:
        """Call back whoever follows the progress."""
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
        self.tell()


def cpu_s() -> float:
    """Processor time of this process in seconds, without that for compilation."""
    return time.process_time() - compilation.cpu_s()


class _BrokenOff(BaseException):
    """Compilation was interrupted: nothing else would listen for seconds or minutes."""


@contextmanager
def interruptible(monitor: Monitor) -> Iterator[None]:
    """Turn the first Ctrl-C into a request to stop; only the main thread may set handlers.

    SIGTERM and SIGHUP likewise, where the program has made them mean Ctrl-C by giving them
    `signal.default_int_handler`, as ``scope-opt`` does. Only a second Ctrl-C raises
    KeyboardInterrupt: the others often come in pairs.

    While machine code is made there is no solver that could stop: what is done inside is then
    broken off, and what it has reported counts.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(number: int, _frame: object) -> None:
        if monitor.interrupted and number == signal.SIGINT:
            raise KeyboardInterrupt
        monitor.interrupted = True
        if compilation.breakable():
            raise _BrokenOff

    alike = (s for s in ENDINGS if signal.getsignal(s) is signal.default_int_handler)
    previous = {s: signal.signal(s, on_signal) for s in (signal.SIGINT, *alike)}
    try:
        yield
    except _BrokenOff:
        monitor.stopped_early = True
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
