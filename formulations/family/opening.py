"""A schedule to begin with, from a solver that needs no library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scope_opt.model.files import InputError
from scope_opt.solving.monitor import Monitor
from scope_opt.solving.solver import (
    SolveOptions,
    SolverUnavailable,
    load_solver,
    refuse_unsupported,
)

if TYPE_CHECKING:
    from formulations.request import Request

OPENER = "anneal"


def begin_with_schedule(request: Request) -> bool:
    """Have annealing find a first schedule, unless one is known or the instance is small.

    It is found by its name, as solvers of other packages are. Its schedule is evaluated as any, and
    nothing that is proved rests on it.

    Returns
    -------
    bool
        Whether a schedule is known that is more than a simple one.
    """
    monitor = request.monitor
    if monitor.objective is not None:
        return True
    if request.small or not request.tuning.opening_moves:
        return False
    options = SolveOptions(
        segments=request.options.segments,
        seed=request.options.seed,
        iterations=request.tuning.opening_moves,
    )
    try:
        solver = load_solver(OPENER)
        refuse_unsupported(request.instance, solver, options)
    except (InputError, SolverUnavailable):
        return False
    monitor.report("annealing", 0.0)
    part = Monitor(parent=monitor)
    solver.run(request.instance, request.given, options, part)
    if part.segments is None:
        return False
    return not request.offer(part.segments).violations
