"""Constraint programs in OR-tools CP-SAT: run in a thread, stopped on request."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from formulations.cp_sat.rows import import_cp_sat
from scope_opt.model.files import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
    known: Callable[[int], bool] = lambda bound: False,
    workers: int | None = None,
) -> tuple[Any, Any]:
    """Solve a model until done or until the monitor says so; believe no proof of a single run.

    Releases of CP-SAT have called feasible models infeasible. So the first run only gives
    solutions, which callers evaluate. What it proves, "infeasible" or an optimum that is not
    ``known`` to be a bound, is left to a second run, whose presolve does not probe. Bounds are
    reported from that run alone.

    Parameters
    ----------
    request : Request
        For the seed, the log and the monitor.
    model : ortools.sat.python.cp_model.CpModel
        The second run begins with the solution of the first one as its hint.
    read : callable
        Makes something of a solution, given the values of variables; called in another thread.
    on_solution, on_bound : callable
        Get what ``read`` made of each better solution, and each better bound; called in the calling
        thread.
    known : callable
        Whether a bound on the objective is proved by other means.
    workers : int, optional
        By default as many as the request has threads.

    Returns
    -------
    (status, solver)
        As CP-SAT has them.

    Raises
    ------
    RuntimeError
        If the second run refutes the solution of the first one.
    """
    cp, call = import_cp_sat(), (request, model, read, on_solution)
    status, first = _run(*call, workers=workers)
    if status not in (cp.OPTIMAL, cp.INFEASIBLE):
        return status, first
    if status == cp.OPTIMAL:
        found = list(first.response_proto.solution)
        objective = objective_of(model, found)
        if known(objective):
            return status, first
        _hint(model, found)
    request.monitor.report("the same program without probing", 0.0)
    again, second = _run(*call, on_bound=on_bound, workers=workers, probing=False)
    if status == cp.OPTIMAL and (
        again == cp.INFEASIBLE
        or (again == cp.OPTIMAL and objective_of(model, second.response_proto.solution) > objective)
    ):
        raise RuntimeError("CP-SAT refutes a solution that it has found before")
    return again, second


def _run(
    request: Request,
    model: Any,
    read: Callable[[Value], Any],
    on_solution: Callable[[Any], object],
    *,
    on_bound: Callable[[int], object] = lambda bound: None,
    workers: int | None,
    probing: bool = True,
) -> tuple[Any, Any]:
    """One run; see `drive`."""
    cp, options, monitor = import_cp_sat(), request.options, request.monitor
    solver = cp.CpSolver()
    solver.parameters.num_workers = request.threads if workers is None else workers
    solver.parameters.random_seed = options.seed or 0
    solver.parameters.linearization_level = 2
    # OR-tools 9.15 makes wrong proofs with it; tests/test_cp_sat.py has a model.
    solver.parameters.auto_detect_greater_than_at_least_one_of = False
    if not probing:
        solver.parameters.cp_model_probing_level = 0
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


def refuse_overflow(model: Any) -> None:
    """Raise `InputError` for a model whose sums CP-SAT cannot add up in 64 bits."""
    problem = model.validate()
    if problem:
        kind = problem.partition(":")[0].strip()  # the whole row follows
        raise InputError(
            "instance",
            [
                f"numbers too large for CP-SAT, whose sums must fit 64 bits ({kind}); raise "
                "power_budget_w if that stretches the beats, take fewer samples, or use solver "
                "'interval-milp'"
            ],
        )


def objective_of(model: Any, solution: Sequence[int]) -> int:
    """Of a solution, without a constant part; exact, which CP-SAT's own float is not."""
    terms = zip(model.proto.objective.vars, model.proto.objective.coeffs, strict=True)
    return sum(factor * solution[variable] for variable, factor in terms)


def _hint(model: Any, solution: Sequence[int]) -> None:
    """Hint every variable, and nothing else."""
    model.clear_hints()
    hints = model.proto.solution_hint
    hints.vars.extend(range(len(solution)))
    hints.values.extend(solution)


def size(model: Any) -> tuple[int, int, int]:
    """Variables, constraints and the terms in them."""
    proto, terms = model.proto, 0
    for row in proto.constraints:
        terms += len(row.enforcement_literal)
        if row.has_linear():
            terms += len(row.linear.vars)
        elif row.has_exactly_one():
            terms += len(row.exactly_one.literals)
    return len(proto.variables), len(proto.constraints), terms


def _floor(bound: float) -> int:
    """A bound that CP-SAT reports as a float, rounded down safely."""
    value = int(np.floor(bound))
    return value if abs(value) < 2**53 else int(np.floor(np.nextafter(bound, -np.inf)))
