"""Mathematical programs of instances: built by solvers that have them, for anybody to solve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from scope_opt.cost.build import build_tables
from scope_opt.model.files import InputError
from scope_opt.solving.monitor import Monitor
from scope_opt.solving.solver import (
    SolveOptions,
    Solver,
    check_segments,
    load_solver,
    refuse_unsupported,
    solver_names,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.schedule.schedule import Schedule


class Program(Protocol):
    """A mathematical program of an instance."""

    def content(self, suffix: str) -> bytes:
        """The program as the file of the format that ``suffix`` names.

        Raises
        ------
        InputError
            For a format it does not know.
        """

    def import_solution(self, path: Path) -> Imported:
        """Schedule in the file of a solution that another solver wrote.

        Raises
        ------
        InputError
            If the file holds no solution of this program.
        """


class Imported(Protocol):
    """What a file of a solution says."""

    @property
    def schedule(self) -> Schedule:
        """As its variables have it; nothing is checked."""

    @property
    def claimed(self) -> float | None:
        """Objective that the file claims, in ps or fJ; None if it does not say."""


@runtime_checkable
class Formulation(Solver, Protocol):
    """A solver that has a mathematical program; nothing else is needed to register a family."""

    def build(
        self,
        instance: Instance,
        tables: LatencyTables,
        options: SolveOptions,
        monitor: Monitor,
        ceiling_ps: int | None,
    ) -> Program:
        """One program that has every schedule the options allow, up to a latency if one is given.

        Raises
        ------
        InputError
            If there is none for these options, or none of a size that can be handled.
        """


def build_program(
    instance: Instance,
    formulation: str | Solver,
    options: SolveOptions | None = None,
    ceiling_ps: int | None = None,
    on_progress: Callable[[Monitor], None] | None = None,
) -> Program:
    """Mathematical program of an instance.

    Parameters
    ----------
    instance : Instance
    formulation : str or Solver
        A solver that follows `Formulation`, or its name.
    options : SolveOptions, optional
        ``segments`` and ``encoding`` count.
    ceiling_ps : int, optional
        Schedules of a larger latency may be left out; none are without it.
    on_progress : callable, optional
        Called with the monitor now and then.

    Raises
    ------
    InputError
        If the solver has no program, or refuses the instance or an option.
    SolverUnavailable
        If there is no such solver, or its library is missing.
    """
    solver = load_solver(formulation) if isinstance(formulation, str) else formulation
    if not isinstance(solver, Formulation):
        problem = (
            f"solver {solver.name!r} has no program; formulations: {', '.join(formulation_names())}"
        )
        raise InputError("--formulation", [problem])
    options = options or SolveOptions()
    refuse_unsupported(instance, solver, options)
    check_segments(options.segments, len(instance.layer_names))
    if ceiling_ps is not None and instance.minimizes == "energy":
        bound = f"latency_bound_s = {instance.constraints.latency_bound_s} of the instance is one"
        raise InputError("ceiling", [f"found {ceiling_ps} ps, but {bound} already; leave it out"])
    monitor = Monitor(on_progress=on_progress, minimizes=instance.minimizes)
    return solver.build(instance, build_tables(instance), options, monitor, ceiling_ps)


def formulation_names() -> list[str]:
    """Names of the registered solvers that have programs."""
    return [name for name in solver_names() if isinstance(load_solver(name), Formulation)]
