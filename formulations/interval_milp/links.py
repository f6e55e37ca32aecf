"""The path program of placed instances in HiGHS: its relaxation, and the program itself if need be.

Without rows for links the relaxation is a shortest path and has whole solutions, with a few it
mostly still has. So it is solved again and again as rows come in, each time from the basis it had,
and only a solution in parts that keeps all links makes it an integer program.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from formulations.highs import ABS_GAP, REL_GAP, TOLERANCE, Run, import_highs
from formulations.interval_milp.thresholds import WHOLE_ERROR
from formulations.placed.program import UNITS, Answer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from formulations.placed.program import PathProgram
    from formulations.request import Request

    Floats = NDArray[np.float64]


class LinkedPaths:
    """A path program in HiGHS."""

    def __init__(self, program: PathProgram) -> None:
        self._highspy, self._program = import_highs(), program
        self._splits = -1
        """At how many splits of arcs the program was handed over"""
        self._rows = self._excluded = 0
        """How many rows of links, and excluded paths, HiGHS has"""

    def solve(self, request: Request) -> Answer:
        """See `formulations.placed.program.Emitter`."""
        program, monitor = self._program, request.monitor
        with monitor.library("highs"):
            self._update(request)
            while True:
                outcome = self._run(request, self._highs, continuous=True)
                if outcome is None:
                    return Answer(program.needed, None)
                status, objective, _, values = outcome
                clusters = max(program.needed, int(np.ceil(objective - WHOLE_ERROR)))
                if status == "infeasible" or clusters > program.counts[1]:
                    monitor.credit("highs")
                    return Answer(None, None)
                if clusters > program.needed:
                    monitor.credit("highs")
                if np.abs(values - values.round()).max() < WHOLE_ERROR:
                    return Answer(clusters, np.flatnonzero(values > 0.5).tolist())
                if not program.separate(values):
                    return self._whole(request, clusters)
                self._update(request)

    def _whole(self, request: Request, clusters: int) -> Answer:
        """Solve the program as it is in whole numbers; any solution will do."""
        highspy, program = self._highspy, self._program
        lp = self._highs.getLp()
        lp.integrality_ = [highspy.HighsVarType.kInteger] * lp.num_col_
        highs = self._engine(request, lp)
        highs.setOptionValue("mip_rel_gap", REL_GAP)
        highs.setOptionValue("mip_abs_gap", ABS_GAP)
        highs.setOptionValue("mip_feasibility_tolerance", TOLERANCE)
        highs.setOptionValue("objective_target", program.counts[1] + 0.5)
        outcome = self._run(request, highs, continuous=False)
        if outcome is None:
            return Answer(clusters, None)
        status, _, bound, values = outcome
        if status == "infeasible":
            request.monitor.credit("highs")
            return Answer(None, None)
        bound = int(np.ceil(bound - WHOLE_ERROR)) if np.isfinite(bound) else clusters
        return Answer(max(clusters, bound), np.flatnonzero(values > 0.5).tolist())

    def _run(
        self, request: Request, highs: Any, *, continuous: bool
    ) -> tuple[str, float, float, Floats] | None:
        """Status, objective, bound and values; None if the monitor wants to stop."""
        log = request.options.log
        if log is not None:

            def append(event: Any) -> None:
                with log.open("a", encoding="utf-8") as file:
                    file.write(event.message)

            highs.enableCallbacks()
            highs.cbLogging += append
        run = Run(highs, self._highspy, None, continuous)
        run.until_done(request.monitor, None, None)
        text, outcome = run.outcome(None)
        if outcome is not None and outcome.status == "infeasible":
            return "infeasible", 0.0, 0.0, np.zeros(0)
        if outcome is not None and outcome.values is not None and outcome.objective is not None:
            bound = -np.inf if outcome.bound is None else outcome.bound
            if outcome.status == "optimal" or not request.monitor.stopping:
                return outcome.status, outcome.objective, bound, outcome.values
        if request.monitor.stopping:
            return None
        raise RuntimeError(f"HiGHS ends with {text}")

    # --- Handing over ----------------------------------------------------------------------------

    def _engine(self, request: Request, lp: Any) -> Any:
        highs = self._highspy.Highs()
        highs.setOptionValue("output_flag", request.options.log is not None)
        highs.setOptionValue("threads", request.threads)
        highs.setOptionValue("random_seed", request.options.seed or 0)
        highs.setOptionValue("primal_feasibility_tolerance", TOLERANCE)
        highs.setOptionValue("dual_feasibility_tolerance", TOLERANCE)
        if highs.passModel(lp) == self._highspy.HighsStatus.kError:
            raise RuntimeError("HiGHS refuses the model")
        return highs

    def _update(self, request: Request) -> None:
        """Bring HiGHS up to date: new rows are added, new arcs make it begin anew."""
        program = self._program
        if self._splits != program.splits:
            self._begin(request)
        infinity = self._highspy.kHighsInf
        for _, units in program.rows[self._rows :]:
            some = np.flatnonzero(units * program.live)
            # Sums are whole numbers, so that floats cannot exclude what is allowed.
            values = units[some].astype(np.float64)
            self._highs.addRow(-infinity, UNITS + 0.5, len(some), some.astype(np.int32), values)
        for path in program.excluded[self._excluded :]:
            ones = np.ones(len(path))
            self._highs.addRow(
                -infinity, len(path) - 1.0, len(path), np.array(path, dtype=np.int32), ones
            )
        self._rows, self._excluded = len(program.rows), len(program.excluded)
        lp = self._highs.getLp()
        nonzeros = self._highs.getNumNz()
        request.monitor.size(int(program.live.sum()), lp.num_row_, nonzeros)

    def _begin(self, request: Request) -> None:
        """A program with the rows of paths and the number of clusters."""
        program, highspy = self._program, self._highspy
        count, nodes = program.arcs.number, program.nodes
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = count, nodes + 1
        lp.col_cost_ = np.ones(count)
        lp.col_lower_ = np.zeros(count)
        lp.col_upper_ = program.live.astype(np.float64)
        # What leaves a node less what arrives there; the last row counts clusters.
        balance = np.zeros(nodes)
        balance[0], balance[1] = 1, -1
        lp.row_lower_ = np.append(balance, program.counts[0])
        lp.row_upper_ = np.append(balance, program.counts[1])
        lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        lp.a_matrix_.num_col_, lp.a_matrix_.num_row_ = count, nodes + 1
        lp.a_matrix_.start_ = 3 * np.arange(count + 1, dtype=np.int32)
        last = np.full(count, nodes)
        rows = np.stack([program.tails, program.heads, last], axis=1)
        lp.a_matrix_.index_ = rows.astype(np.int32).reshape(-1)
        lp.a_matrix_.value_ = np.tile([1.0, -1.0, 1.0], count)
        self._highs = self._engine(request, lp)
        self._splits, self._rows, self._excluded = program.splits, 0, 0
