"""Constraint programs in OR-tools CP-SAT: run in a thread, stopped on request."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from formulations.cp_sat.rows import import_cp_sat

if TYPE_CHECKING:
    from collections.abc import Callable

    from formulations.request import Request

    Value = Callable[[Any], int]

POLL_S = 0.02
"""Seconds between two looks at whether to stop."""


def drive(
    request: Request,
    model: Any,
    read: Callable[[Value], Any],
    on_solution: Callable[[Any], object],
    on_bound: Callable[[int], object] = lambda bound: None,
    workers: int | None = None,
) -> tuple[Any, Any]:
    """Solve a model until done or until the monitor says so.

    Parameters
    ----------
    request : Request
        For the seed, the log and the monitor.
    model : ortools.sat.python.cp_model.CpModel
    read : callable
        Makes something of a solution, given the values of variables; called in another thread.
    on_solution, on_bound : callable
        Get what ``read`` made of each better solution, and each better bound; called in the calling
        thread.
    workers : int, optional
        By default as many as the request has threads.

    Returns
    -------
    (status, solver)
        As CP-SAT has them.
    """
    cp, options, monitor = import_cp_sat(), request.options, request.monitor
    solver = cp.CpSolver()
    solver.parameters.num_workers = request.threads if workers is None else workers
    solver.parameters.random_seed = options.seed or 0
    solver.parameters.linearization_level = 2
    solver.parameters.catch_sigint_signal = False
    if options.log is not None:
        solver.parameters.log_search_progress = True
        solver.parameters.log_to_stdout = False
    events: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()

    class OnSolution(cp.CpSolverSolutionCallback):  # type: ignore[misc, name-defined]
        def on_solution_callback(self) -> None:
            events.put(("solution", read(self.value)))

    solver.best_bound_callback = lambda bound: events.put(("bound", bound))
    solver.log_callback = lambda line: events.put(("log", line))
    outcome: list[Any] = []

    def work() -> None:
        try:
            outcome.append(solver.solve(model, OnSolution()))
        except BaseException as error:  # raised again in the main thread
            outcome.append(error)

    def report() -> None:
        lines = []
        while not events.empty():
            kind, value = events.get()
            if kind == "solution":
                on_solution(value)
            elif kind == "log":
                lines.append(f"{value}\n")
            else:
                on_bound(_floor(value))
        if lines and options.log is not None:
            with options.log.open("a", encoding="utf-8") as file:
                file.writelines(lines)

    thread = threading.Thread(target=work, name="cp-sat", daemon=True)
    with monitor.library("cp-sat"):
        thread.start()
        try:
            while thread.is_alive():
                thread.join(POLL_S)
                report()
                if thread.is_alive() and monitor.stopping:
                    solver.stop_search()
        finally:
            if thread.is_alive():
                solver.stop_search()
                thread.join()
    report()
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0], solver


def size(model: Any) -> tuple[int, int, int]:
    """Variables, constraints and the terms in them."""
    proto, terms = model.proto, 0
    for row in proto.constraints:
        terms += len(row.enforcement_literal)
        if row.has_linear():
            terms += len(row.linear.vars)
        elif row.has_exactly_one():
            terms += len(row.exactly_one.literals)
        elif row.has_table():
            terms += len(row.table.values)
    return len(proto.variables), len(proto.constraints), terms


def _floor(bound: float) -> int:
    """A bound that CP-SAT reports as a float, rounded down safely."""
    value = int(np.floor(bound))
    return value if abs(value) < 2**53 else int(np.floor(np.nextafter(bound, -np.inf)))
