"""The network program in HiGHS: its linear relaxation, with runs added as they are broken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from formulations.highs import REL_GAP, TOLERANCE, import_highs, log_to
from formulations.highs import Run as HighsRun
from formulations.network_milp.certificate import Certificate
from formulations.network_milp.engine import engine, linear_program
from formulations.network_milp.sums import PrefixSums
from formulations.space import Stopped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from formulations.network_milp.rows import Program, Run
    from formulations.request import Request

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

BROKEN = 1e-5
"""Part of what there is by which a run may be exceeded before it becomes a row."""
PARTS = 10**5
"""The dearest variable costs so many units, so that tolerances mean the same everywhere."""


class InHighs:
    """A program as HiGHS has it.

    Parameters
    ----------
    program : Program
    request : Request
        For the monitor, the log, the seed and the number of threads.
    integer : bool
        Whether to ask for integer solutions; else for the relaxation.
    """

    def __init__(self, program: Program, request: Request, *, integer: bool) -> None:
        self._highspy = import_highs()
        self._program, self._request, self._integer = program, request, integer
        self._runs: set[Run] = set()
        self._row_of: list[tuple[int, Run]] = []
        """Copy and run of the rows after the program's own"""
        cheapest = max(1, int(program.cost.max(initial=1)))
        self._unit = max(1.0, cheapest / PARTS)
        with request.monitor.timed("translate"):
            self._sums = PrefixSums(program)
            self._highs = self._load()

    def _load(self) -> Any:
        highspy, program = self._highspy, self._program
        own, sums = len(program.lower), self._sums
        count, height = sums.width, own + sums.height
        free = np.zeros(count - len(program.cost))
        # Sums are free: what bounds on them would earn is in no certificate.
        lower, upper = np.full(count, -highspy.kHighsInf), np.full(count, highspy.kHighsInf)
        lower[: len(program.cost)], upper[: len(program.cost)] = 0, 1
        none = np.zeros(sums.height, dtype=np.int64)
        row = np.concatenate([program.rows, own + sums.rows])
        lp = linear_program(
            np.concatenate([program.cost / self._unit, free]),
            (lower, upper),
            (np.concatenate([program.lower, none]), np.concatenate([program.upper, none])),
            (
                row,
                np.concatenate([program.columns, sums.columns]),
                np.concatenate([program.values, sums.values]),
            ),
        )
        if self._integer:
            kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
            whole = np.zeros(count, dtype=np.bool_)
            whole[: len(program.cost)] = True
            for at in program.variables:
                whole[at.steps : at.end] = False
            lp.integrality_ = [kinds[is_whole] for is_whole in whole.tolist()]
        self._own, self._height, self._width, self._terms = own, height, count, len(row)
        return engine(
            lp,
            self._request,
            output_flag=self._request.options.log is not None,
            mip_feasibility_tolerance=TOLERANCE,
            mip_rel_gap=REL_GAP,
            # Of integer programs as simple as these the simplification takes longer than it saves.
            presolve="off" if self._integer else "on",
        )

    def add(self, runs: Iterable[Run]) -> int:
        """Add rows that are not there yet, in all copies; say how many runs that are."""
        new = sorted(set(runs) - self._runs)
        self._runs.update(new)
        starts: list[int] = []
        index: list[int] = []
        value: list[int] = []
        for copy in range(len(self._sums.copies)):
            for run in new:
                terms = self._sums.terms(copy, run)
                starts.append(len(index))
                index += [column for column, _ in terms]
                value += [coefficient for _, coefficient in terms]
                self._row_of.append((copy, run))
        if starts:
            self._highs.addRows(
                len(starts),
                np.full(len(starts), -self._highspy.kHighsInf),
                np.zeros(len(starts)),
                len(index),
                np.array(starts, dtype=np.int32),
                np.array(index, dtype=np.int32),
                np.array(value, dtype=float),
            )
            self._terms += len(index)
        rows = self._height + len(self._row_of)
        self._request.monitor.size(self._width, rows, self._terms)
        return len(new)

    @property
    def runs(self) -> set[Run]:
        """Those that are rows."""
        return set(self._runs)

    def relax(self) -> tuple[Floats, Certificate]:
        """Solve the relaxation, and again with the runs it breaks, until it breaks none.

        Returns
        -------
        (values, certificate)
            Values by variable of the program.

        Raises
        ------
        Stopped
            If the monitor wants to stop.
        """
        certificate = None
        with self._request.monitor.library("highs"):
            while True:
                self._run(None)
                solution = self._highs.getSolution()
                values = np.array(solution.col_value)[: len(self._program.cost)]
                certificate = self._certificate(np.array(solution.row_dual))
                if not self.add(self._program.broken_runs(values, BROKEN)):
                    return values, certificate

    def _certificate(self, duals: Floats) -> Certificate:
        runs: list[dict[Run, float]] = [{} for _ in self._sums.copies]
        for (copy, run), dual in zip(self._row_of, duals[self._height :].tolist(), strict=True):
            if dual < 0:
                runs[copy][run] = -dual * self._unit
        return Certificate(self._program, duals[: self._own] * self._unit, runs)

    def search(self, on_solution: Callable[[Floats], object], nodes: int, seconds: float) -> None:
        """Look for integer solutions, in so many nodes and for so long at most."""
        self._highs.setOptionValue("mip_max_nodes", nodes)
        with self._request.monitor.library("highs"):
            self._run(seconds, on_solution)

    def _run(
        self, seconds: float | None, on_solution: Callable[[Floats], object] | None = None
    ) -> None:
        monitor, kinds = self._request.monitor, self._highspy.HighsModelStatus
        left = min((s for s in (seconds, monitor.left_s) if s is not None), default=None)
        if left is not None:
            # HiGHS counts its time from when the model was passed.
            self._highs.setOptionValue("time_limit", self._highs.getRunTime() + left + 0.1)
        self._highs.enableCallbacks()
        log_to(self._highs, self._request.options.log)
        run = HighsRun(self._highs, self._highspy, None, not self._integer)
        run.until_done(monitor, on_solution, None)
        status = self._highs.getModelStatus()
        if status == kinds.kOptimal:
            return
        if monitor.stopping:
            raise Stopped
        if not self._integer:
            raise RuntimeError(f"HiGHS ends with {self._highs.modelStatusToString(status)}")
