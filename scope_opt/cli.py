"""The command line, ``scope-opt``.

The commands themselves are in `scope_opt.commands`. Data goes to stdout, progress and warnings to
stderr.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from scope_opt import __version__
from scope_opt.commands import (
    checking,
    documents,
    installation,
    making,
    registry,
    replaying,
    reporting,
    solving,
    studies,
    tradeoffs,
    validating,
)
from scope_opt.commands.arguments import BAD_INPUT, INTERRUPTED, NOTHING_FOUND, UNAVAILABLE
from scope_opt.solving.host import ENDINGS
from scope_opt.terminal.console import complain, set_verbosity


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
            raise typer.Exit(_told(error)) from None


def _told(error: Exception) -> int:
    """Exit code of an error that is no defect of this program, once it is told; else raises it."""
    code = _exit_code(error)
    if code is None:
        raise error
    complain(f"error: {error}")
    return code


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
    "3 solver not available, 130 ended by Ctrl-C, SIGTERM or SIGHUP with nothing to show.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line."""
    _prepare_streams()
    if os.environ.get("NO_COLOR"):
        os.environ["TERM"] = "dumb"  # bold and dim text, and live lines, are escape codes as well
        # Having compiled something, numba resets colours at the end.
        os.environ["NUMBA_DISABLE_ERROR_MESSAGE_HIGHLIGHTING"] = "1"
    for number in ENDINGS:
        if signal.getsignal(number) is signal.SIG_DFL:  # not under nohup
            signal.signal(number, signal.default_int_handler)
    try:
        app(prog_name="scope-opt")
    except Exception as error:  # while help is printed
        sys.exit(_told(error))


class _Stdout(io.FileIO):
    """Standard output that cannot be written is a wrong argument, not a defect."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise  # the reader has seen enough
        except OSError as error:
            from scope_opt.model.files import InputError

            # What is left must not fail once more when the interpreter ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            raise InputError("stdout", [f"cannot be written: {error.strerror}"]) from None


def _prepare_streams() -> None:
    """Make sure that stdout and stderr are there, show every name, and fail in words."""
    for handle in range(3):
        try:
            os.fstat(handle)
        except OSError:  # closed; the next file that is opened would get its number
            os.open(os.devnull, os.O_RDONLY)  # the lowest that is free
    encoding = getattr(sys.stdout, "encoding", "utf-8")
    buffer = io.BufferedWriter(_Stdout(1, "wb", closefd=False))
    sys.stdout = io.TextIOWrapper(buffer, encoding, "replace", line_buffering=buffer.isatty())
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # until the end
    if hasattr(sys.stderr, "reconfigure"):
        sys.stderr.reconfigure(errors="replace")


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
    set_verbosity(quiet=False, verbose=False)  # also after another command in the same process


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
    making.combine,
    making.generate,
    installation.solvers,
    documents.schema,
    installation.warmup,
    installation.doctor,
):
    app.command()(_command)
app.command("import")(making.import_network)
app.add_typer(making.packages, name="package")
app.add_typer(registry.registry, name="registry")
