"""Pyomo models in HiGHS: translated to arrays once, run in a thread, stopped on request.

HiGHS computes in floats. What it returns here is what it claims, within the tolerances that are set
explicitly below; rounding bounds safely and checking solutions is left to the caller.
"""

from __future__ import annotations

import queue
import re
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from scope_opt.model.files import InputError
from scope_opt.solving.solver import SolverUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

    from scope_opt.solving.monitor import Monitor
    from scope_opt.solving.result import Prover

    Floats = NDArray[np.float64]

TOLERANCE = 1e-7
"""By which rows, bounds and integrality may be violated; HiGHS is unreliable below 1e-8."""
REL_GAP, ABS_GAP = 1e-9, 1e-6
"""Gaps at which HiGHS calls a solution optimal, unless told otherwise."""
POLL_S = 0.02
"""Seconds between two looks at whether to stop."""
LATE_S = 0.1
"""By how much the time limit of HiGHS is later, so that the monitor knows why it ended."""


def import_pyomo() -> Any:
    """Pyomo's modelling module; raises `SolverUnavailable` if it is not installed."""
    try:
        import pyomo.environ
    except ImportError as error:
        raise SolverUnavailable(
            f"mixed-integer programs need Pyomo; install it with: pip install pyomo ({error})"
        ) from error
    return pyomo.environ


def import_highs() -> Any:
    """HiGHS' module; raises `SolverUnavailable` if it is not installed."""
    try:
        import highspy
    except ImportError as error:
        raise SolverUnavailable(
            "mixed-integer programs need HiGHS; install it with: pip install 'highspy<1.13' "
            f"({error})"
        ) from error
    return highspy


FORMATS = (".mps", ".lp")
"""Files that programs can be written as."""


class Outcome(NamedTuple):
    """How a run of HiGHS ended."""

    status: Literal["optimal", "infeasible", "stopped"]
    """``stopped``: by the monitor, or because ``target`` or ``limit`` was reached."""
    objective: float | None
    """Of ``values``; None without a solution."""
    bound: float | None
    """Lower bound within HiGHS' tolerances; None if there is none."""
    values: Floats | None
    """Best solution, by column."""
    start_accepted: bool | None
    """Whether the start was feasible and the run began with it; None without a start."""


class Highs:
    """A Pyomo model as HiGHS has it.

    Parameters
    ----------
    model : pyomo.environ.ConcreteModel
        Linear, one objective, to be minimized. Only what is active counts; later changes do not.
    monitor : Monitor
        Learns how long the translation took and how large the program is.
    """

    def __init__(self, model: Any, monitor: Monitor) -> None:
        self._highspy = import_highs()
        self._rows: list[Any] = []
        self._refuted = False
        """Whether a row without variables cannot hold; Pyomo notices that."""
        with monitor.timed("translate"):
            self._lp = self._translate(model)
        lp = self._lp
        monitor.size(lp.num_col_, lp.num_row_, len(lp.a_matrix_.value_))

    def _translate(self, model: Any) -> Any:
        import_pyomo()
        from pyomo.common.errors import InfeasibleConstraintException
        from pyomo.repn.plugins.standard_form import LinearStandardFormCompiler

        highspy = self._highspy
        lp = highspy.HighsLp()
        self.columns: list[Any] = []
        """Pyomo's variables; those that occur in no row and not in the objective are left out."""
        self._index: dict[int, int] = {}
        try:
            form = LinearStandardFormCompiler().write(model, mixed_form=True)
        except InfeasibleConstraintException:
            self._refuted = True
            return lp
        self.columns = form.columns
        self._index = {id(variable): k for k, variable in enumerate(form.columns)}
        infinity = highspy.kHighsInf
        bounds = [variable.bounds for variable in form.columns]
        self._lower = np.array(
            [-infinity if low is None else low for low, _ in bounds], dtype=float
        )
        self._upper = np.array([infinity if up is None else up for _, up in bounds], dtype=float)
        self._integer = np.array([not v.is_continuous() for v in form.columns], dtype=bool)
        self._matrix, self._rows = form.A, [row.constraint for row in form.rows]
        rhs = np.array(form.rhs, dtype=float)
        # -1: at least, 0: equal, 1: at most.
        kind = np.array([row.bound_type for row in form.rows], dtype=int)
        self._row_lower = np.where(kind <= 0, rhs, -infinity)
        self._row_upper = np.where(kind >= 0, rhs, infinity)
        lp.num_col_, lp.num_row_ = len(form.columns), len(rhs)
        lp.col_cost_ = form.c.toarray().sum(axis=0)
        lp.offset_ = float(np.sum(form.c_offset))
        lp.col_lower_, lp.col_upper_ = self._lower, self._upper
        lp.row_lower_, lp.row_upper_ = self._row_lower, self._row_upper
        lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        lp.a_matrix_.num_col_, lp.a_matrix_.num_row_ = lp.num_col_, lp.num_row_
        lp.a_matrix_.start_ = form.A.indptr
        lp.a_matrix_.index_ = form.A.indices
        lp.a_matrix_.value_ = form.A.data
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        lp.integrality_ = [kinds[whole] for whole in self._integer.tolist()]
        return lp

    @property
    def prover(self) -> Prover:
        """Who proves what `solve` says: HiGHS is not called where one row alone decides."""
        return "simple bound" if self._refuted or not self.columns else "highs"

    def value(self, values: Floats, variable: Any) -> float:
        """Value of one of the model's variables; 0 if no row and no objective has it."""
        column = self._index.get(id(variable))
        return 0.0 if column is None else float(values[column])

    def content(
        self,
        suffix: str,
        title: str,
        description: Iterable[str],
        names: Mapping[int, str],
        factor: float,
        constant: float,
    ) -> bytes:
        """The program as the file of the format that ``suffix`` names, .mps or .lp.

        Parameters
        ----------
        suffix, title : str
            The format; the program's name, without spaces.
        description : iterable of str
            Lines of a comment.
        names : mapping
            Of variables, by their ``id``; see `file_names`. Rows have Pyomo's names in this form.
        factor, constant : float
            The objective is multiplied by the one, then the other is added.

        Raises
        ------
        InputError
            For another format, or a program that obviously has no solution.
        """
        if suffix not in FORMATS:
            problem = f"found {suffix!r}; MILPs are written as {' or '.join(FORMATS)}"
            raise InputError("--output", [problem])
        if self._refuted:
            raise InputError("instance", ["there is no schedule, so there is no program"])
        self._lp.model_name_ = title
        highs = self._engine(None)
        for column, variable in enumerate(self.columns):
            highs.passColName(column, names[id(variable)])
            highs.changeColCost(column, factor * float(self._lp.col_cost_[column]))
        highs.changeObjectiveOffset(factor * self._lp.offset_ + constant)
        for row, name in enumerate(file_names(self._rows)):
            highs.passRowName(row, name)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"program{suffix}"
            if highs.writeModel(str(path)) == self._highspy.HighsStatus.kError:
                raise OSError("HiGHS cannot write the program")
            written = path.read_bytes()
        mark = "*" if suffix == ".mps" else "\\"
        comment = "".join(f"{mark} {line}\n" for line in description)
        return comment.encode("ascii", "replace") + written

    def solve(
        self,
        monitor: Monitor,
        *,
        threads: int = 1,
        seed: int = 0,
        log: Path | None = None,
        start: Iterable[tuple[Any, float]] | None = None,
        target: float | None = None,
        limit: float | None = None,
        on_solution: Callable[[Floats], object] | None = None,
        on_bound: Callable[[float], None] | None = None,
        rel_gap: float = REL_GAP,
        abs_gap: float = ABS_GAP,
        presolve: bool = True,
    ) -> Outcome:
        """Minimize, in a thread of its own, until done or until the monitor wants to stop.

        Parameters
        ----------
        monitor : Monitor
            Asked every 20 ms whether to stop. HiGHS has its time limit as well, a little later,
            since in heuristics it does not listen, for half a minute on large programs.
        threads, seed : int
            Of HiGHS.
        log : Path, optional
            HiGHS' log is appended to this file; without it HiGHS is silent.
        start : iterable of (variable, value), optional
            A solution to begin with; variables not named are 0.
        target : float, optional
            A solution with at most this objective is good enough.
        limit : float, optional
            A bound above this is good enough.
        on_solution, on_bound : callable, optional
            Get the values by column of each better solution, and each better bound; called in the
            calling thread.
        rel_gap, abs_gap : float
            Gaps at which to call a solution optimal.
        presolve : bool
            Whether to simplify the program first, which may take longer than solving it.

        Raises
        ------
        RuntimeError
            If HiGHS fails, or the program is unbounded.
        """
        if self._refuted:
            return Outcome("infeasible", None, None, None, None)
        if not self.columns:
            return Outcome("optimal", self._lp.offset_, self._lp.offset_, np.zeros(0), None)
        options: dict[str, Any] = {
            "threads": threads,
            "random_seed": seed,
            "mip_rel_gap": rel_gap,
            "mip_abs_gap": abs_gap,
            "mip_feasibility_tolerance": TOLERANCE,
            "primal_feasibility_tolerance": TOLERANCE,
            "dual_feasibility_tolerance": TOLERANCE,
        }
        if target is not None:
            options["objective_target"] = target
        first = None if start is None else self._start(start)
        status = outcome = None
        # What cannot be decided, or fails, is run again the other way.
        with monitor.library("highs"):
            for simplify in ("on", "off") if presolve else ("off", "on"):
                left_s = monitor.left_s
                if left_s is not None:
                    options["time_limit"] = left_s + LATE_S
                run = Run(self._engine(log), self._highspy, limit, not self._integer.any())
                for name, value in {**options, "presolve": simplify}.items():
                    _ok(run.highs.setOptionValue(name, value), self._highspy, f"option {name}")
                if first is not None:
                    solution = self._highspy.HighsSolution()
                    solution.col_value = first
                    solution.value_valid = True
                    run.highs.setSolution(solution)
                run.until_done(monitor, on_solution, on_bound)
                status, outcome = run.outcome(None if start is None else first is not None)
                if outcome is not None:
                    return outcome
        raise RuntimeError(f"HiGHS ends with {status}")

    def _engine(self, log: Path | None) -> Any:
        """HiGHS with the model in it, and its log in a file or nowhere."""
        highs = self._highspy.Highs()
        highs.setOptionValue("output_flag", log is not None)
        log_to(highs, log)
        _ok(highs.passModel(self._lp), self._highspy, "the model")
        return highs

    def _start(self, pairs: Iterable[tuple[Any, float]]) -> Floats | None:
        """A complete start by column; None if it is not feasible, since HiGHS would not say."""
        values = np.zeros(len(self.columns))
        for variable, value in pairs:
            column = self._index.get(id(variable))
            if column is not None:
                values[column] = value
        fits = np.all(values >= self._lower - TOLERANCE)
        fits &= np.all(values <= self._upper + TOLERANCE)
        whole = values[self._integer]
        fits &= np.all(np.abs(whole - np.round(whole)) <= TOLERANCE)
        rows = self._matrix @ values
        fits &= np.all(rows >= self._row_lower - TOLERANCE)
        fits &= np.all(rows <= self._row_upper + TOLERANCE)
        return values if fits else None


class Run:
    """One run of HiGHS and what its callbacks say."""

    def __init__(self, highs: Any, highspy: Any, limit: float | None, continuous: bool) -> None:
        self.highs, self._highspy, self._limit = highs, highspy, limit
        self._continuous = continuous
        self._stop = threading.Event()
        self._solutions: queue.SimpleQueue[Floats] = queue.SimpleQueue()
        self._bound = -np.inf
        self._errors: list[BaseException] = []

    def until_done(
        self,
        monitor: Monitor,
        on_solution: Callable[[Floats], object] | None,
        on_bound: Callable[[float], None] | None,
    ) -> None:
        """Run HiGHS in a thread; hand on what it finds; stop it when the monitor says so."""
        self.highs.enableCallbacks()  # an earlier run has disabled them
        self._subscribe(on_solution is not None)
        told = -np.inf

        def report() -> None:
            nonlocal told
            while not self._solutions.empty():
                values = self._solutions.get()
                if on_solution is not None:
                    on_solution(values)
            if self._bound > told:
                told = self._bound
                if on_bound is not None:
                    on_bound(told)

        thread = threading.Thread(target=self._work, name="highs", daemon=True)
        thread.start()
        try:
            while thread.is_alive():
                thread.join(POLL_S)
                report()
                if thread.is_alive() and monitor.stopping:
                    self._stop.set()
        finally:
            self._stop.set()
            thread.join()
        report()
        if self._errors:
            raise self._errors[0]

    def _work(self) -> None:
        try:
            # The pool of threads is per process; without this another number of threads fails.
            self._highspy.Highs.resetGlobalScheduler(True)
            self.highs.run()
            # HiGHS holds its own wrapper as callback data and would never be freed.
            self.highs.clearCallbacks()
            self.highs.disableCallbacks()
        except BaseException as error:  # raised again in the main thread
            self._errors.append(error)

    def _subscribe(self, solutions: bool) -> None:
        def on_improvement(event: Any) -> None:
            self._solutions.put(np.array(event.data_out.mip_solution))

        def on_interrupt(event: Any) -> None:
            if self._stop.is_set():
                event.interrupt()

        def on_mip_interrupt(event: Any) -> None:
            bound = event.data_out.mip_dual_bound
            self._bound = max(self._bound, bound)
            if self._stop.is_set() or (self._limit is not None and bound > self._limit):
                event.interrupt()

        self.highs.cbMipInterrupt += on_mip_interrupt
        self.highs.cbSimplexInterrupt += on_interrupt
        self.highs.cbIpmInterrupt += on_interrupt
        if solutions:
            self.highs.cbMipImprovingSolution += on_improvement

    def outcome(self, accepted: bool | None) -> tuple[str, Outcome | None]:
        """What HiGHS says in the end; no outcome if it failed or could not decide."""
        kinds = self._highspy.HighsModelStatus
        status, info = self.highs.getModelStatus(), self.highs.getInfo()
        text = self.highs.modelStatusToString(status)
        objective = values = bound = None
        if info.primal_solution_status == self._highspy.kSolutionStatusFeasible:
            objective = info.objective_function_value
            values = np.array(self.highs.getSolution().col_value)
        if np.isfinite(info.mip_dual_bound):
            bound = info.mip_dual_bound
        if status == kinds.kOptimal:
            objective = info.objective_function_value
            bound = objective if self._continuous else bound
            return text, Outcome("optimal", objective, bound, values, accepted)
        if status == kinds.kInfeasible:
            return text, Outcome("infeasible", None, None, None, accepted)
        if status in (kinds.kInterrupt, kinds.kTimeLimit, kinds.kObjectiveTarget):
            return text, Outcome("stopped", objective, bound, values, accepted)
        return text, None


def log_to(highs: Any, log: Path | None) -> None:
    """Have HiGHS' log appended to a file.

    A log file of HiGHS' own would begin anew with every program; with a callback nothing goes to
    the console.
    """
    if log is None:
        return

    def append(event: Any) -> None:
        with log.open("a", encoding="utf-8") as file:
            file.write(event.message)

    highs.cbLogging += append


def _ok(status: Any, highspy: Any, what: str) -> None:
    if status == highspy.HighsStatus.kError:
        raise RuntimeError(f"HiGHS refuses {what}")


def file_names(components: Iterable[Any]) -> list[str]:
    """Names of Pyomo's variables or rows that MPS and LP files can hold.

    They are Pyomo's with every run of other characters than letters and digits replaced by an
    underscore, numbered where that makes two equal.
    """
    used: dict[str, int] = {}
    names = []
    for component in components:
        plain = re.sub("[^A-Za-z0-9]+", "_", component.name).strip("_")
        name, number = plain, used.get(plain, 0)
        while name in used:
            number += 1
            name = f"{plain}_{number}"
        used[plain] = number
        used.setdefault(name, 0)
        names.append(name)
    return names
