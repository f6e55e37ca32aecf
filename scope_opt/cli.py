"""The command line, ``scope-opt``.

Everything heavy is imported inside the commands, so that help and usage errors answer at once.
Data goes to stdout, progress and warnings to stderr.
"""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from scope_opt import __version__
from scope_opt.terminal import (
    complain,
    print_json,
    print_result,
    print_schedule,
    print_text,
    print_view,
    progress,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from scope_opt.files import Document
    from scope_opt.instance import Instance
    from scope_opt.result import Result
    from scope_opt.schedule import InstanceReference
    from scope_opt.show import Run
    from scope_opt.solver import SegmentChoice, SolveOptions, Solver

NOTHING_FOUND, BAD_INPUT, UNAVAILABLE, INTERRUPTED = 1, 2, 3, 130
"""Exit codes besides 0."""

NETWORK_NAMES = (
    *("alexnet", "vgg16", "darknet19"),
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
)
"""As in `scope_opt.zoo`, which is too heavy to import for a help page."""


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
    str | None,
    typer.Option(
        metavar="single|balanced|dp|N|FILE",
        help="How to cut the network: one segment, the best of all balanced cuts, the best of all "
        "cuts (dp), N segments, or those of a schedule, a result or a list of first layers. "
        "Exact solvers and anneal cut freely unless told otherwise, the others take balanced.",
    ),
]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of a randomized solver.")]
Iterations = Annotated[
    int | None,
    typer.Option(min=1, help="Moves of a randomized solver; repeatable, unlike a time limit."),
]
WarmStart = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Schedule or result to begin with, where supported."),
]
TimeLimit = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", min=0.0, help="Stop then, with the best schedule so far."),
]
RelGap = Annotated[
    float,
    typer.Option(
        metavar="SHARE",
        min=0.0,
        help="Stop once (objective - bound) / objective is at most this.",
    ),
]
Threads = Annotated[
    int | None, typer.Option(min=1, help="Threads of the solver library, where supported.")
]
Encoding = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Variant of a formulation; see formulations/README.md."),
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
    solver: Annotated[str, typer.Option(metavar="NAME", help="See scope-opt solvers.")] = "exact",
    segments: SegmentsOption = None,
    time_limit: TimeLimit = None,
    seed: Seed = None,
    iterations: Iterations = None,
    warm_start: WarmStart = None,
    rel_gap: RelGap = 0.0,
    threads: Threads = None,
    encoding: Encoding = None,
    log: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the solver library's own log here."),
    ] = None,
    isolate: Annotated[
        bool,
        typer.Option(
            "--isolate",
            help="Solve in a process of its own, which is ended if it does not stop in time; if "
            "it crashes, the best schedule until then is kept.",
        ),
    ] = False,
    memory_limit: Annotated[
        float | None,
        typer.Option(metavar="GIB", min=0.1, help="End the solver's process above this; isolates."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the schedule here."),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Find a schedule, check it, print it.

    Ctrl-C stops the search and keeps the best schedule so far; a second one gives up at once.

    \b
    Examples:
      scope-opt solve resnet50-64.json
      scope-opt solve resnet50-64.json --segments dp --time-limit 60 -o schedule.json
      scope-opt generate resnet50 --chiplets 64 | scope-opt solve - --json
    """  # noqa: D301  # \b keeps the line breaks
    from scope_opt.files import InputError, refuse_existing
    from scope_opt.inputs import load_instance, load_schedule, segment_choice
    from scope_opt.isolate import Isolated
    from scope_opt.solver import SolveOptions, load_solver
    from scope_opt.solver import solve as run

    for target in (output, log):
        if target is not None:
            refuse_existing(target, force=force)
    problem = load_instance(instance)
    start = load_schedule(str(warm_start)) if warm_start is not None else None
    options = SolveOptions(
        segments=segment_choice(segments),
        time_limit_s=time_limit,
        seed=seed,
        iterations=iterations,
        warm_start=start,
        rel_gap=rel_gap,
        threads=threads,
        encoding=encoding,
        log=log,
    )
    chosen = load_solver(solver)
    if isolate or memory_limit is not None:
        limit = None if memory_limit is None else int(memory_limit * 2**30)
        chosen = Isolated(chosen, limit)
    with progress(f"{problem.name}, {solver}") as on_progress:
        result = run(problem, chosen, options, on_progress)
    if result.status == "infeasible":
        result = _explained(result, problem, options.segments)

    unwritten: InputError | None = None
    if output is not None and result.schedule is not None:
        try:
            result.schedule.save(output, force=force)
            complain(f"schedule written to {output}")
        except InputError as error:  # what was found is printed before this counts
            unwritten = error
    if result.stop_reason == "interrupted":
        kept = "this is the best schedule so far" if result.schedule else "no schedule found yet"
        complain(f"interrupted: {kept}")
    if as_json:
        print_text(result.to_json())
    else:
        print_result(result, problem)
    if unwritten is not None:
        raise unwritten
    if result.schedule is None:
        raise typer.Exit(NOTHING_FOUND)


def _explained(result: Result, instance: Instance, segments: SegmentChoice | None) -> Result:
    """The result with what contradicts what, where that is more than it says already."""
    from scope_opt.explain import conflict

    with progress(f"{instance.name}, looking for the reason") as on_progress:
        found = conflict(instance, segments, on_progress)
    return result.model_copy(update={"explanation": (*result.explanation, *found)})


@app.command()
def compare(
    instances: Annotated[
        list[str], typer.Argument(metavar="INSTANCE...", help="Instance files.", show_default=False)
    ],
    solvers: Annotated[
        str, typer.Option(metavar="NAME,NAME,...", help="Solvers, separated by commas.")
    ] = "sequential,pipeline,segmented,scope,exact",
    segments: SegmentsOption = None,
    time_limit: TimeLimit = None,
    as_json: Json = False,
) -> None:
    """Solve instances with several solvers and put the outcomes in one table.

    The time limit holds for each solver on each instance.

    \b
    Examples:
      scope-opt compare resnet50-64.json resnet152-256.json
      scope-opt compare *.json --solvers segmented,scope --segments dp --json > results.json
    """  # noqa: D301  # \b keeps the line breaks
    from scope_opt.files import InputError
    from scope_opt.inputs import load_instance, segment_choice
    from scope_opt.solver import SolveOptions, check_segments, load_solver

    names = list(dict.fromkeys(name.strip() for name in solvers.split(",") if name.strip()))
    if not names:
        raise InputError("--solvers", [f"found {solvers!r}; needs at least one solver"])
    problems = [load_instance(path) for path in instances]
    options = SolveOptions(segment_choice(segments), time_limit)
    for problem in problems:
        check_segments(options.segments, len(problem.layer_names))
    chosen = {name: load_solver(name) for name in names}
    runs = list(_runs(problems, chosen, options))

    if as_json:
        results = [run.result for run in runs if run.result is not None]
        print_json([json.loads(result.to_json()) for result in results])
        for run in runs:
            if run.result is None:
                complain(f"{run.instance.name}, {run.solver}: {run.failure}")
    else:
        from scope_opt.show import comparison_view

        print_view(lambda console: comparison_view(console, runs))
    solved = {run.instance.digest for run in runs if not run.explanation}
    if any(problem.digest not in solved for problem in problems):
        raise typer.Exit(NOTHING_FOUND)


def _runs(
    problems: Sequence[Instance], solvers: Mapping[str, Solver], options: SolveOptions
) -> Iterator[Run]:
    """Every instance with every solver, until interrupted."""
    from scope_opt.files import InputError
    from scope_opt.show import Run
    from scope_opt.solver import SolverDisagreement, solve

    for problem in problems:
        for name, solver in solvers.items():
            try:
                with progress(f"{problem.name}, {name}") as on_progress:
                    result = solve(problem, solver, options, on_progress)
            except (InputError, SolverDisagreement) as error:
                yield Run(problem, name, None, str(error))
                continue
            yield Run(problem, name, result)
            if result.stop_reason == "interrupted":
                complain("interrupted: the remaining runs are left out")
                return


@app.command()
def export(
    instance: InstanceFile,
    formulation: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="compact-milp, interval-milp or cp-sat.", show_default=False
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            *("--output", "-o"),
            metavar="FILE",
            help="The ending says the format: .mps or .lp (MILPs), .pb (OR-tools).",
            show_default=False,
        ),
    ],
    segments: SegmentsOption = None,
    encoding: Encoding = None,
    force: Force = False,
) -> None:
    """Write the mathematical program of an instance, for any solver that reads it.

    Times are in the units that the program's first lines or name say; nothing is solved.

    \b
    Examples:
      scope-opt export alexnet-16.json --formulation interval-milp -o alexnet.mps
      scope-opt export tiny-skip.json --formulation cp-sat --segments single -o skip.pb
    """  # noqa: D301  # \b keeps the line breaks
    from scope_opt.files import refuse_existing, write_bytes
    from scope_opt.inputs import load_instance, segment_choice
    from scope_opt.solver import SolveOptions, load_solver, write_program

    refuse_existing(output, force=force)
    problem = load_instance(instance)
    options = SolveOptions(segments=segment_choice(segments), encoding=encoding)
    solver = load_solver(formulation)
    with progress(f"{problem.name}, {formulation}") as on_progress:
        program = write_program(problem, solver, options, output.suffix, on_progress)
    write_bytes(output, program, force=force)
    complain(f"program written to {output}")


@app.command()
def evaluate(
    instance: InstanceFile,
    schedule: Annotated[
        str, typer.Argument(metavar="SCHEDULE", help="Schedule or result file, or - for stdin.")
    ],
    as_json: Json = False,
) -> None:
    """Check a schedule against every rule and break down its latency and energy.

    No solver is involved. Exit code 1 if the schedule breaks a rule.

    \b
    Examples:
      scope-opt evaluate resnet50-64.json schedule.json
      scope-opt evaluate resnet50-64.json schedule.json --json
    """  # noqa: D301  # \b keeps the line breaks
    from scope_opt.evaluate import evaluate as check
    from scope_opt.inputs import load_instance, load_schedule

    problem = load_instance(instance)
    found = load_schedule(schedule)
    _warn_mismatch(schedule, found.instance, problem)
    evaluation = check(problem, found)
    if as_json:
        print_json(evaluation.to_json_dict())
    else:
        from scope_opt.picture import evaluation_view, violation_view

        if evaluation.feasible:
            print_view(lambda console: evaluation_view(console, problem, found, evaluation))
        else:
            print_view(lambda _: violation_view(evaluation))
    if not evaluation.feasible:
        raise typer.Exit(NOTHING_FOUND)


@app.command()
def distribution(
    instance: InstanceFile,
    rank: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Schedule or result to rank; may be repeated."),
    ] = None,
    idle: Annotated[
        bool, typer.Option("--idle", help="Also count schedules that leave chiplets idle.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Count every one-segment schedule by its latency, and rank schedules among them.

    For instances small enough to enumerate; larger ones are refused with their count.

    \b
    Examples:
      scope-opt generate alexnet --chiplets 16 --overflow stream -o alexnet.json
      scope-opt solve alexnet.json --solver scope --segments single -o schedule.json
      scope-opt distribution alexnet.json --rank schedule.json
    """  # noqa: D301  # \b keeps the line breaks
    from scope_opt.cost import build_tables
    from scope_opt.inputs import load_instance, load_schedule
    from scope_opt.search.exhaustive import distribution as count
    from scope_opt.show import distribution_view
    from scope_opt.solver import Monitor

    problem = load_instance(instance)
    schedules = [load_schedule(str(path)) for path in rank or ()]
    with progress(f"{problem.name}, distribution") as on_progress:
        monitor = Monitor(on_progress=on_progress)
        found = count(problem, build_tables(problem), idle, monitor, schedules)
    if as_json:
        print_json(found.to_json_dict())
    else:
        names = [str(path) for path in rank or ()]
        print_view(lambda _: distribution_view(problem, found, names))
    if not found.valid:
        raise typer.Exit(NOTHING_FOUND)


@app.command()
def show(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="Instance, schedule or result, or - for stdin.")
    ],
    instance: Annotated[
        str | None,
        typer.Argument(metavar="[INSTANCE]", help="Instance of the schedule or result."),
    ] = None,
) -> None:
    """Show an instance in numbers, or a schedule as a picture.

    An instance of the paper (say resnet50-64) is found by itself; for others, name the file to see
    loads, times and the mesh.

    \b
    Examples:
      scope-opt show resnet50-64.json
      scope-opt show schedule.json resnet50-64.json
    """  # noqa: D301  # \b keeps the line breaks
    from scope_opt.evaluate import evaluate as check
    from scope_opt.files import InputError
    from scope_opt.inputs import known_instance, load, load_instance
    from scope_opt.instance import Instance
    from scope_opt.result import Result
    from scope_opt.schedule import Schedule

    document = load(file, Instance, Schedule, Result)
    if isinstance(document, Instance):
        if instance is not None:
            wrong = f"goes with a schedule or a result, but {file} is an instance"
            raise InputError(instance, [wrong])
        from scope_opt.show import instance_view

        print_view(lambda _: instance_view(document))
        return
    assert isinstance(document, Schedule | Result)
    found: Instance | None
    if instance is not None:
        found = load_instance(instance)
        _warn_mismatch(file, document.instance, found)
    else:
        found = known_instance(document.instance)
    if isinstance(document, Result):
        print_result(document, found)
    else:
        from scope_opt.show import title

        description = found.description if found is not None else ""
        print_view(lambda _: title(document.instance.name, description))
        print_schedule(document, found, None if found is None else check(found, document))
    if found is None:
        complain("name the INSTANCE as second argument to see loads, times and the mesh")


@app.command()
def generate(
    network: Annotated[
        str, typer.Argument(metavar="NETWORK", help=f"One of {', '.join(NETWORK_NAMES)}.")
    ],
    chiplets: Annotated[int, typer.Option(metavar="N", help="Number of chiplets.")],
    rows: Annotated[
        int | None, typer.Option(metavar="R", help="Mesh rows; nearly square if absent.")
    ] = None,
    cols: Annotated[int | None, typer.Option(metavar="C", help="Mesh columns.")] = None,
    samples: Annotated[int, typer.Option(metavar="M", help="Samples per batch.")] = 64,
    overflow: Annotated[
        Overflow,
        typer.Option(help="Weights that do not fit: not allowed, or fetched for every sample."),
    ] = Overflow.FORBID,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Instead of stdout."),
    ] = None,
    force: Force = False,
) -> None:
    """Write an instance: a network of the paper on the paper's package.

    \b
    Examples:
      scope-opt generate resnet50 --chiplets 64 -o resnet50-64.json
      scope-opt generate vgg16 --chiplets 16 --overflow stream | scope-opt show -
    """  # noqa: D301  # \b keeps the line breaks
    from scope_opt.files import refuse_existing
    from scope_opt.generate import paper_instance

    if output is not None:
        refuse_existing(output, force=force)
    instance = paper_instance(network, chiplets, samples, overflow.value, rows, cols)
    if output is None:
        print_text(instance.to_json())
    else:
        instance.save(output, force=force)
        complain(f"{instance.name} written to {output}")


@app.command()
def solvers(as_json: Json = False) -> None:
    """List the solvers: whether they prove optimality, and what side constraints they honour."""
    from scope_opt.show import describe_solvers, solver_view

    described = describe_solvers()
    if as_json:
        print_json(described)
    else:
        print_view(lambda console: solver_view(console, described))


@app.command()
def schema(
    document: Annotated[DocumentKind, typer.Argument(help="Kind of document.")] = (
        DocumentKind.INSTANCE
    ),
) -> None:
    """Print the JSON Schema of a file format.

    \b
    Example:
      scope-opt schema schedule > scope-schedule-1.schema.json
    """  # noqa: D301  # \b keeps the line breaks
    from scope_opt.instance import Instance
    from scope_opt.result import Result
    from scope_opt.schedule import Schedule

    kinds: dict[DocumentKind, type[Document]] = {
        DocumentKind.INSTANCE: Instance,
        DocumentKind.SCHEDULE: Schedule,
        DocumentKind.RESULT: Result,
    }
    print_json(kinds[document].model_json_schema(by_alias=True))


@app.command()
def doctor() -> None:
    """Check the installation: packages, solvers, machine, and one small solve from end to end."""
    from rich.text import Text

    from scope_opt.doctor import run_checks
    from scope_opt.show import make_console
    from scope_opt.units import plain

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


# --- Printing ------------------------------------------------------------------------------------


def _warn_mismatch(source: str, reference: InstanceReference, instance: Instance) -> None:
    if reference.digest != instance.digest:
        complain(
            f"warning: {source}: made for {reference.name} ({reference.digest[:12]}), not for this "
            f"{instance.name} ({instance.digest[:12]})"
        )
