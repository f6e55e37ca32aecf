"""The command line, ``scope-opt``.

The commands themselves are in `scope_opt.commands`. Data goes to stdout, progress and warnings to
stderr.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from scope_opt import __version__
from scope_opt.commands import (
    checking,
    documents,
    installation,
    replaying,
    reporting,
    solving,
    studies,
    tradeoffs,
    validating,
)
from scope_opt.commands.arguments import BAD_INPUT, INTERRUPTED, NOTHING_FOUND, UNAVAILABLE
from scope_opt.terminal.console import complain


class _Commands(TyperGroup):
    """Turns the project's own errors into a message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # a closed pipe must show here, not when the interpreter ends
            return result
        except KeyboardInterrupt:
            complain("interrupted")
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            code = _exit_code(error)
            if code is None:
                raise
            complain(f"error: {error}")
            raise typer.Exit(code) from None


def _exit_code(error: Exception) -> int | None:
    """Exit code of an error that is not a defect of this program."""
    if "scope_opt.model.files" in sys.modules:
        from scope_opt.model.files import InputError

        if isinstance(error, InputError):
            return BAD_INPUT
    if "scope_opt.solving.solver" in sys.modules:
        from scope_opt.solving.solver import SolverDisagreement, SolverUnavailable

        if isinstance(error, SolverUnavailable):
            return UNAVAILABLE
        if isinstance(error, SolverDisagreement):
            return NOTHING_FOUND
    return None


app = typer.Typer(
    name="scope-opt",
    cls=_Commands,
    help="Map neural networks onto multi-chip-module (chiplet) accelerators.",
    epilog="Exit codes: 0 solved or valid, 1 nothing found or check failed, 2 bad input, "
    "3 solver not available.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # names a terminal cannot show must not stop us
    app(prog_name="scope-opt")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"scope-opt {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


for _command in (
    solving.solve,
    solving.compare,
    tradeoffs.pareto,
    checking.evaluate,
    studies.study,
    replaying.simulate,
    solving.export,
    solving.import_solution,
    checking.distribution,
    validating.validate_heuristic,
    documents.show,
    reporting.report,
    documents.generate,
    installation.solvers,
    documents.schema,
    installation.doctor,
):
    app.command()(_command)
