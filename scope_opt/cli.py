"""The command line, ``scope-opt``.

Everything heavy is imported inside the commands, so that help and usage errors answer at once.
Data goes to stdout, progress and warnings to stderr.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path  # noqa: TC003  # typer evaluates the annotations
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperGroup

from scope_opt import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import RenderableType

    from scope_opt.files import Document
    from scope_opt.instance import Instance
    from scope_opt.result import Result
    from scope_opt.schedule import InstanceReference, Schedule
    from scope_opt.solver import Monitor, SegmentChoice

    AnyDocument = TypeVar("AnyDocument", bound=Document)

NOTHING_FOUND, BAD_INPUT, UNAVAILABLE, INTERRUPTED = 1, 2, 3, 130
"""Exit codes besides 0."""

PLAIN_PROGRESS_S = 5.0
"""Seconds between progress lines where stderr is no terminal."""


class _Commands(TyperGroup):
    """Turns the project's own errors into a message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # a closed pipe must show here, not when the interpreter ends
            return result
        except KeyboardInterrupt:
            _complain("interrupted")
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            code = _exit_code(error)
            if code is None:
                raise
            _complain(f"error: {error}")
            raise typer.Exit(code) from None


def _exit_code(error: Exception) -> int | None:
    """Exit code of an error that is not a defect of this program."""
    if "scope_opt.files" in sys.modules:
        from scope_opt.files import InputError

        if isinstance(error, InputError):
            return BAD_INPUT
    if "scope_opt.solver" in sys.modules:
        from scope_opt.solver import SolverDisagreement, SolverUnavailable

        if isinstance(error, SolverUnavailable):
            return UNAVAILABLE
        if isinstance(error, SolverDisagreement):
            return NOTHING_FOUND
    return None


def _complain(message: str) -> None:
    """A message on stderr, without characters of the input that could steer the terminal."""
    lines = ("".join(c if c.isprintable() else "?" for c in line) for line in message.split("\n"))
    typer.echo("\n".join(lines), err=True)


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


# --- Arguments shared by commands ----------------------------------------------------------------


class Overflow(StrEnum):
    """What to do with weights that do not fit."""

    FORBID = "forbid"
    STREAM = "stream"


class DocumentKind(StrEnum):
    """Documents with a JSON Schema."""

    INSTANCE = "instance"
    SCHEDULE = "schedule"
    RESULT = "result"


InstanceFile = Annotated[
    str, typer.Argument(metavar="INSTANCE", help="Instance file (.json, .json.gz), or - for stdin.")
]
SegmentsOption = Annotated[
    str,
    typer.Option(
        metavar="single|balanced|dp|N|FILE",
        help="How to cut the network: one segment, the best of all balanced cuts, the best of all "
        "cuts, N balanced segments, or those of a schedule, a result or a list of first layers.",
    ),
]
TimeLimit = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", min=0.0, help="Stop then, with the best schedule so far."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing output file.")]


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


# --- Commands ------------------------------------------------------------------------------------


@app.command()
def solve(
    instance: InstanceFile,
    solver: Annotated[str, typer.Option(help="See scope-opt solvers.")] = "scope",
    segments: SegmentsOption = "balanced",
    time_limit: TimeLimit = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the schedule here."),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Find a schedule, check it and print it.

    Ctrl-C stops the search and keeps the best schedule so far; twice gives up at once.

    \b
    Examples:
      scope-opt solve instances/paper/resnet50-64.json
      scope-opt solve resnet50-64.json --segments dp --time-limit 60 -o schedule.json
      scope-opt generate resnet50 --chiplets 64 | scope-opt solve - --json
    """
    from scope_opt.files import InputError, refuse_existing
    from scope_opt.solver import SolveOptions, load_solver
    from scope_opt.solver import solve as run

    chosen = load_solver(solver)
    if output is not None:
        refuse_existing(output, force=force)
    problem = _load_instance(instance)
    options = SolveOptions(_segment_choice(segments), time_limit)
    with _progress(f"{problem.name}, {solver}") as on_progress:
        result = run(problem, chosen, options, on_progress)

    unwritten: InputError | None = None
    if output is not None and result.schedule is not None:
        try:
            result.schedule.save(output, force=force)
        except InputError as error:  # show what was found before failing
            unwritten = error
    if as_json:
        _print_text(result.to_json())
    else:
        _print_result(result, problem)
    if result.stop_reason == "interrupted":
        _complain(
            "interrupted: this is the best schedule so far"
            if result.schedule
            else "interrupted before a schedule was found"
        )
    if unwritten is not None:
        raise unwritten
    if output is not None and result.schedule is not None:
        _complain(f"schedule written to {output}")
    if result.schedule is None:
        raise typer.Exit(NOTHING_FOUND)


@app.command()
def compare(
    instances: Annotated[
        list[str], typer.Argument(metavar="INSTANCE...", help="Instance files (.json, .json.gz).")
    ],
    solvers: Annotated[
        str, typer.Option(metavar="NAME,NAME,...", help="Solvers, separated by commas.")
    ] = "sequential,pipeline,segmented,scope",
    segments: SegmentsOption = "balanced",
    time_limit: TimeLimit = None,
    as_json: Json = False,
) -> None:
    """Solve instances with several solvers and compare the outcomes in one table.

    \b
    Examples:
      scope-opt compare resnet50-64.json resnet152-256.json
      scope-opt compare instances/paper/*.json --solvers segmented,scope --json > results.json
    """
    from scope_opt.comparison import Comparison, Run
    from scope_opt.files import InputError
    from scope_opt.solver import (
        SolveOptions,
        SolverDisagreement,
        check_segments,
        load_solver,
    )
    from scope_opt.solver import solve as run

    names = list(dict.fromkeys(name.strip() for name in solvers.split(",") if name.strip()))
    if not names:
        raise InputError("--solvers", [f"found {solvers!r}; needs at least one name"])
    chosen = [load_solver(name) for name in names]
    problems = [_load_instance(path) for path in instances]
    options = SolveOptions(_segment_choice(segments), time_limit)
    for problem in problems:
        check_segments(options.segments, len(problem.layer_names))

    runs: list[Run] = []
    for problem in problems:
        for name, each in zip(names, chosen, strict=True):
            try:
                with _progress(f"{problem.name}, {name}") as on_progress:
                    result = run(problem, each, options, on_progress)
                runs.append(Run(problem, name, result))
            except (InputError, SolverDisagreement) as error:
                runs.append(Run(problem, name, None, str(error)))
            interrupted = runs[-1].result is not None and (
                runs[-1].result.stop_reason == "interrupted"
            )
            if interrupted:
                break
        else:
            continue
        _complain("interrupted: the remaining runs are left out")
        break

    comparison = Comparison(runs)
    if as_json:
        found = [run.result for run in runs if run.result is not None]
        _print_json([json.loads(result.to_json()) for result in found])
        for run_ in runs:
            if run_.result is None:
                _complain(f"{run_.instance.name}, {run_.solver}: {run_.failure}")
    else:
        _print(lambda console: comparison.view(console))
    if not comparison.complete:
        raise typer.Exit(NOTHING_FOUND)
