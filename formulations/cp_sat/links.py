"""The path program of placed instances in OR-tools CP-SAT: one model after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from formulations.cp_sat.rows import import_cp_sat
from formulations.cp_sat.run import drive, size
from formulations.placed.program import UNITS, Answer

if TYPE_CHECKING:
    from formulations.placed.program import PathProgram
    from formulations.request import Request


class LinkedPaths:
    """A path program in CP-SAT.

    It is asked for any path that keeps the rows, not for the shortest: only that there is none is a
    proof, and it is the one that is needed.
    """

    def __init__(self, program: PathProgram) -> None:
        self._program = program

    def solve(self, request: Request) -> Answer:
        """See `formulations.placed.program.Emitter`."""
        cp, program, monitor = import_cp_sat(), self._program, request.monitor
        with monitor.timed("build"):
            model, x = self._model()
        monitor.size(*size(model))
        found: list[list[int]] = []
        status, _ = drive(
            request,
            model,
            lambda value: [arc for arc, variable in x.items() if value(variable)],
            on_solution=found.append,
            known=lambda _: True,
            workers=1 if len(x) <= request.tuning.one_worker else None,
        )
        if status == cp.INFEASIBLE:
            monitor.credit("cp-sat")
            return Answer(None, None)
        if not found and not monitor.stopping:
            raise RuntimeError("CP-SAT ended without a proof")
        return Answer(program.needed, found[-1] if found else None)

    def _model(self) -> tuple[Any, dict[int, Any]]:
        cp, program = import_cp_sat(), self._program
        model, expr = cp.CpModel(), cp.LinearExpr
        x = {arc: model.new_bool_var("") for arc in np.flatnonzero(program.live).tolist()}
        leaving: list[list[Any]] = [[] for _ in range(program.nodes)]
        arriving: list[list[Any]] = [[] for _ in range(program.nodes)]
        for arc, variable in x.items():
            leaving[int(program.tails[arc])].append(variable)
            arriving[int(program.heads[arc])].append(variable)
        model.add_exactly_one(leaving[0])
        model.add_exactly_one(arriving[1])
        for node in range(2, program.nodes):
            model.add(expr.sum(arriving[node]) == expr.sum(leaving[node]))
            # Redundant: a path visits a node once.
            model.add_at_most_one(leaving[node])
        model.add_linear_constraint(expr.sum(list(x.values())), *program.counts)
        for _, units in program.rows:
            some = [arc for arc in x if units[arc]]
            loads = expr.weighted_sum([x[arc] for arc in some], [int(units[arc]) for arc in some])
            model.add(loads <= UNITS)
        for path in program.excluded:
            model.add(expr.sum([x[arc] for arc in path]) <= len(path) - 1)
        return model, x
