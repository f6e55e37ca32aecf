"""Commands about the installation."""

from __future__ import annotations

import typer

from scope_opt.commands.arguments import NOTHING_FOUND, Json
from scope_opt.terminal.console import print_json, print_view


def solvers(as_json: Json = False) -> None:
    """List the solvers: whether they prove optimality, and what side constraints they honour."""
    from scope_opt.terminal.show import describe_solvers, solver_view

    described = describe_solvers()
    if as_json:
        print_json(described)
    else:
        print_view(lambda console: solver_view(console, described))


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
