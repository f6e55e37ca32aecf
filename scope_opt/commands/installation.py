"""Commands about the installation."""

from __future__ import annotations

from typing import Annotated

import typer

from scope_opt.commands.arguments import NOTHING_FOUND, Json
from scope_opt.terminal.console import complain, print_json, print_view, progress


def solvers(as_json: Json = False) -> None:
    """List the solvers: whether they prove optimality, and what side constraints they honour."""
    from scope_opt.terminal.show import describe_solvers, solver_view

    described = describe_solvers()
    if as_json:
        print_json(described)
    else:
        print_view(lambda console: solver_view(console, described))


def warmup(
    solver: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this solver; repeatable."),
    ] = None,
) -> None:
    """Compile the searches of all solvers, which otherwise happens when they first run.

    Machine code is kept on disk, once per machine and version. No limit of a solve counts the time
    that it takes; its result names it.

    \b
    Examples:
      scope-opt warmup
      scope-opt warmup --solver exact --solver cp-sat
    """  # noqa: D301  # \b keeps the line breaks
    from scope_opt.model import compilation
    from scope_opt.model.units import plain, seconds
    from scope_opt.solving.solver import SolverUnavailable, load_solver, solver_names
    from scope_opt.solving.warmup import kinds, warm_up

    for name in solver or ():
        load_solver(name)  # says so before anything is compiled
    for name in solver or solver_names():
        try:
            chosen = load_solver(name)
        except SolverUnavailable as error:
            complain(str(error))
            continue
        before_s = compilation.spent_s()
        with progress(name) as on_progress:
            for demands in kinds(chosen):
                warm_up(chosen, demands, on_progress=on_progress)
        spent_s = compilation.spent_s() - before_s
        found = f"compiled in {seconds(spent_s)}" if spent_s else "ready"
        typer.echo(f"{plain(name):<17} {found}")


def doctor() -> None:
    """Check the installation: packages, solvers, machine, and one small solve from end to end."""
    from rich.text import Text

    from scope_opt.model.units import plain
    from scope_opt.terminal.doctor import run_checks
    from scope_opt.terminal.show import make_console

    console, passed = make_console(), True
    for check in run_checks():
        passed &= check.passed
        mark = Text(
            "ok    " if check.passed else "FAILED", style="green" if check.passed else "red"
        )
        line = Text.assemble(mark, f"  {check.name:<17} {plain(check.found)}", overflow="fold")
        if not check.passed:
            line.append(f"\n        {check.fix}")
        console.print(line)
    if not passed:
        raise typer.Exit(NOTHING_FOUND)
