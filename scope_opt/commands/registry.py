"""Commands on the registry of best known schedules."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scope_opt.commands.arguments import NOTHING_FOUND
from scope_opt.terminal.console import complain, print_text

registry = typer.Typer(help="The registry of best known schedules.", no_args_is_help=True)


@registry.callback()
def _registry() -> None:
    """The registry of best known schedules."""


@registry.command()
def check(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Instances; all by default.", show_default=False),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Another registry than the one of the repository."),
    ] = None,
) -> None:
    """Evaluate every schedule again, and verify every certificate.

    Tables of certificates are compared with those computed from the instance. No solver is
    involved. Exit code 1 if an entry is wrong.

    \b
    Examples:
      scope-opt registry check
      scope-opt registry check resnet50-64 resnet152-16
    """  # noqa: D301  # \b keeps the line breaks
    from scope_opt.solving.registry import SHIPPED, check_registry

    wrong = total = certified = 0
    for found in check_registry(file or SHIPPED, tuple(names or ())):
        name, total = found.entry.instance.name, total + 1
        certified += found.certified_ps is not None
        for problem in found.problems:
            complain(f"{name}: {problem}")
        wrong += bool(found.problems)
        proof = f"bound of {found.certified_ps} ps certified" if found.certified_ps else ""
        said = "WRONG" if found.problems else f"{found.entry.objective_ps} ps evaluated"
        print_text("  ".join(filter(None, (name, said, proof))) + "\n")
    print_text(f"{total} entries, {certified} certified, {wrong} wrong\n")
    if wrong:
        raise typer.Exit(NOTHING_FOUND)
