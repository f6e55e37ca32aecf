"""Mathematical programs of the mapping problem; the only package to import modelling libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from formulations.family.open_program import OpenProgram
    from scope_opt.model.instance import Instance
    from scope_opt.solving.monitor import Monitor
    from scope_opt.solving.solver import SegmentChoice, Solver


def build(
    instance: Instance | str | Path,
    formulation: str | Solver,
    *,
    segments: SegmentChoice | None = None,
    encoding: str | None = None,
    ceiling_ps: int | None = None,
    on_progress: Callable[[Monitor], None] | None = None,
) -> OpenProgram:
    """Mathematical program of an instance, to be changed, solved, or written.

    It has every valid schedule that the segments allow, so that constraints of one's own can be
    added to it: for each choice of segments, clusters and regions in the families of columns one
    with the fastest partitions, in ``compact-milp`` every choice of partitions too.

    Parameters
    ----------
    instance : Instance, str or Path
        The problem, its file, or its name; see `scope_opt.load`.
    formulation : str or Solver
        The name of a solver that has a program, such as ``"interval-milp"``; or the solver, with
        a tuning of one's own.
    segments : str, int or tuple of int, optional
        See `scope_opt.SolveOptions`; free if not given.
    encoding : str, optional
        Of the family; its default if not given.
    ceiling_ps : int, optional
        Schedules of a larger latency may be left out, which makes the program smaller. What is
        added must not need them.
    on_progress : callable, optional
        Called with the monitor now and then.

    Raises
    ------
    InputError
        If there is no such program, or the family refuses the instance or an option.
    SolverUnavailable
        If there is no such family, or its library is missing.
    """
    from formulations.family.open_program import OpenProgram
    from scope_opt.model.instance import Instance
    from scope_opt.solving.api import load
    from scope_opt.solving.program import build_program
    from scope_opt.solving.solver import SolveOptions

    if not isinstance(instance, Instance):
        instance = load(instance)
    options = SolveOptions(segments=segments, encoding=encoding)
    program = build_program(instance, formulation, options, ceiling_ps, on_progress)
    if not isinstance(program, OpenProgram):
        raise TypeError(f"the program of {formulation!r} cannot be changed: {type(program)}")
    return program
