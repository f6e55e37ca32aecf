"""Commands that run solvers or write their programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scope_opt.commands.arguments import (
    NOTHING_FOUND,
    CpuLimit,
    Encoding,
    Force,
    InstanceFile,
    Iterations,
    Json,
    RelGap,
    Seed,
    SegmentsOption,
    Threads,
    TimeLimit,
    WarmStart,
)
from scope_opt.terminal.console import (
    complain,
    print_json,
    print_result,
    print_text,
    print_view,
    progress,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from scope_opt.model.instance import Instance
    from scope_opt.solving.result import Result
    from scope_opt.solving.solver import SegmentChoice, SolveOptions, Solver
    from scope_opt.terminal.show import Run


def solve(
    instance: InstanceFile,
    solver: Annotated[str, typer.Option(metavar="NAME", help="See scope-opt solvers.")] = "exact",
    segments: SegmentsOption = None,
    time_limit: TimeLimit = None,
    cpu_limit: CpuLimit = None,
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
    from scope_opt.model.files import InputError, refuse_existing
    from scope_opt.solving.isolate import Isolated
    from scope_opt.solving.solver import SolveOptions, load_solver
    from scope_opt.solving.solver import solve as run
    from scope_opt.terminal.inputs import load_instance, load_schedule, segment_choice

    for target in (output, log):
        if target is not None:
            refuse_existing(target, force=force)
    problem = load_instance(instance)
    start = load_schedule(str(warm_start)) if warm_start is not None else None
    options = SolveOptions(
        segments=segment_choice(segments),
        time_limit_s=time_limit,
        cpu_limit_s=cpu_limit,
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
    from scope_opt.solving.explain import conflict

    with progress(f"{instance.name}, looking for the reason") as on_progress:
        found = conflict(instance, segments, on_progress)
    return result.model_copy(update={"explanation": (*result.explanation, *found)})


def compare(
    instances: Annotated[
        list[str], typer.Argument(metavar="INSTANCE...", help="Instance files.", show_default=False)
    ],
    solvers: Annotated[
        str, typer.Option(metavar="NAME,NAME,...", help="Solvers, separated by commas.")
    ] = "sequential,pipeline,segmented,scope,exact",
    segments: SegmentsOption = None,
    time_limit: TimeLimit = None,
    cpu_limit: CpuLimit = None,
    as_json: Json = False,
) -> None:
    """Solve instances with several solvers and put the outcomes in one table.

    The limits hold for each solver on each instance.

    \b
    Examples:
      scope-opt compare resnet50-64.json resnet152-256.json
      scope-opt compare *.json --solvers segmented,scope --segments dp --json > results.json
    """  # noqa: D301  # \b keeps the line breaks
    from scope_opt.model.files import InputError
    from scope_opt.solving.solver import SolveOptions, check_segments, load_solver
    from scope_opt.terminal.inputs import load_instance, segment_choice

    names = list(dict.fromkeys(name.strip() for name in solvers.split(",") if name.strip()))
    if not names:
        raise InputError("--solvers", [f"found {solvers!r}; needs at least one solver"])
    problems = [load_instance(path) for path in instances]
    options = SolveOptions(segment_choice(segments), time_limit, cpu_limit_s=cpu_limit)
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
        from scope_opt.terminal.show import comparison_view

        print_view(lambda console: comparison_view(console, runs))
    solved = {run.instance.digest for run in runs if not run.explanation}
    if any(problem.digest not in solved for problem in problems):
        raise typer.Exit(NOTHING_FOUND)


def _runs(
    problems: Sequence[Instance], solvers: Mapping[str, Solver], options: SolveOptions
) -> Iterator[Run]:
    """Every instance with every solver, until interrupted."""
    from scope_opt.model.files import InputError
    from scope_opt.solving.solver import SolverDisagreement, solve
    from scope_opt.terminal.show import Run

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
    from scope_opt.model.files import refuse_existing, write_bytes
    from scope_opt.solving.solver import SolveOptions, load_solver, write_program
    from scope_opt.terminal.inputs import load_instance, segment_choice

    refuse_existing(output, force=force)
    problem = load_instance(instance)
    options = SolveOptions(segments=segment_choice(segments), encoding=encoding)
    solver = load_solver(formulation)
    with progress(f"{problem.name}, {formulation}") as on_progress:
        program = write_program(problem, solver, options, output.suffix, on_progress)
    write_bytes(output, program, force=force)
    complain(f"program written to {output}")
