"""Commands that run solvers or write their programs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scope_opt.commands.arguments import (
    NOTHING_FOUND,
    Ceiling,
    CpuLimit,
    Donor,
    Encoding,
    Force,
    InstanceFile,
    Iterations,
    Json,
    OrderOption,
    Quiet,
    RelGap,
    Seed,
    SegmentsOption,
    Similarity,
    Threads,
    TimeLimit,
    Verbose,
    WarmStart,
)
from scope_opt.terminal.console import (
    complain,
    print_json,
    print_result,
    print_text,
    print_view,
    progress,
    set_verbosity,
    warn_mismatch,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.solving.monitor import Monitor
    from scope_opt.solving.program import Program
    from scope_opt.solving.result import Result
    from scope_opt.solving.solver import SolveOptions, Solver
    from scope_opt.terminal.show import Run


STDERR = Path("/dev/stderr")
"""Where there is one, a log that is asked for on the terminal goes there."""


def solve(
    instance: InstanceFile,
    solver: Annotated[str, typer.Option(metavar="NAME", help="See scope-opt solvers.")] = "exact",
    segments: SegmentsOption = None,
    order: OrderOption = None,
    time_limit: TimeLimit = None,
    cpu_limit: CpuLimit = None,
    seed: Seed = None,
    iterations: Iterations = None,
    warm_start: WarmStart = None,
    rel_gap: RelGap = 0.0,
    threads: Threads = None,
    encoding: Encoding = None,
    similarity: Similarity = None,
    donor: Donor = None,
    log: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the solver library's own log here; with -v it is shown."
        ),
    ] = None,
    programs: Annotated[
        bool,
        typer.Option(
            "--programs/--no-programs",
            help="Where shared links leave exact a gap, go on with the programs of interval-milp.",
        ),
    ] = True,
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
        typer.Option(
            metavar="GIB",
            min=0.1,
            help="End the solver's process above this; isolates. Nor are tables built that take "
            "more by themselves.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            *("--output", "-o"),
            metavar="FILE",
            help="Write the result here: the schedule with its bound and who proved it. Whatever "
            "takes a schedule takes it.",
        ),
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write here what scope-check verifies the bound from; exact, without constraints.",
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Find a schedule, check it, print it.

    Ctrl-C stops the search and keeps the best schedule so far; a second one gives up at once.

    With --order each order of positions is solved, pruned by the best schedule of the others; they
    share the time limit. The bound is one over all of them, and the schedule carries its order:
    every command that reads it evaluates, draws and replays it on the same INSTANCE in that order.

    \b
    Examples:
      scope-opt solve resnet50-64.json
      scope-opt solve resnet50-64.json --segments dp --time-limit 60 -o schedule.json
      scope-opt generate resnet50 --chiplets 64 | scope-opt solve - --json
      scope-opt solve resnet50-64-placed.json --order zigzag,blocks-4 -o schedule.json
      scope-opt solve resnet50-64.json -o schedule.json --certificate proof.gz
    """  # noqa: D301  # \b keeps the line breaks
    from scope_opt.model.files import InputError, refuse_existing
    from scope_opt.solving.certificate import Certificate, certify, refuse_uncertifiable
    from scope_opt.solving.isolate import Isolated, memory_bytes
    from scope_opt.solving.solver import SolveOptions, load_solver
    from scope_opt.solving.solver import solve as run
    from scope_opt.terminal.inputs import (
        load_instance,
        load_schedule,
        naming,
        order_choice,
        segment_choice,
    )

    set_verbosity(quiet=quiet, verbose=verbose)
    for target in (output, log, certificate):
        if target is not None:
            refuse_existing(target, force=force)
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
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
        similarity=similarity,
        donor=donor,
        log=log,
        order=order_choice(order),
        programs=programs,
        memory_limit_bytes=None
        if memory_limit is None
        else memory_bytes(memory_limit, "--memory-limit"),
    )
    if start is not None:
        warn_mismatch(str(warm_start), start.instance, problem)
    chosen = load_solver(solver)
    if verbose and log is None and "log" in chosen.options and STDERR.exists():
        options = replace(options, log=STDERR)
    if certificate is not None:
        refuse_uncertifiable(problem, solver, options)
    if isolate or memory_limit is not None:
        if certificate is not None:
            raise InputError("--certificate", ["goes without --isolate and --memory-limit"])
        chosen = Isolated(chosen)
    certified: Certificate | None = None

    def keep(tables: LatencyTables, monitor: Monitor) -> None:
        nonlocal certified
        objective, floors = monitor.objective, monitor.segment_floors_ps
        if certificate is not None and objective is not None and floors is not None:
            certified = certify(problem, tables, objective, floors, options.segments)

    with naming(instance, warm_start), progress(f"{problem.name}, {solver}") as on_progress:
        result = run(problem, chosen, options, on_progress, keep)
    if result.status == "infeasible":
        result = _explained(result, problem, options)

    unwritten: InputError | None = None
    try:
        if output is not None and result.schedule is not None:
            result.save(output, force=force)
            complain(f"result written to {output}")
        if certificate is not None and certified is not None:
            certified.save(certificate, force=force)
            complain(f"certificate of a bound of {certified.bound_ps} ps written to {certificate}")
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


def _explained(result: Result, instance: Instance, options: SolveOptions) -> Result:
    """The result with what contradicts what, where that is more than it says already.

    The search for it has what the solve has left of its time, and the solve's memory.
    """
    from scope_opt.solving.explain import conflict

    limit_s = options.time_limit_s
    left_s = None if limit_s is None else limit_s - result.times_s.total
    with progress(f"{instance.name}, looking for the reason") as on_progress:
        found = conflict(
            instance, options.segments, on_progress, left_s, options.memory_limit_bytes
        )
    return result.model_copy(update={"explanation": (*result.explanation, *found)})


def compare(
    instances: Annotated[
        list[str], typer.Argument(metavar="INSTANCE...", help="Instance files.", show_default=False)
    ],
    solvers: Annotated[
        str, typer.Option(metavar="NAME,NAME,...", help="Solvers, separated by commas.")
    ] = "sequential,pipeline,segmented,scope,exact",
    segments: SegmentsOption = None,
    order: OrderOption = None,
    time_limit: TimeLimit = None,
    cpu_limit: CpuLimit = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
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
    from scope_opt.terminal.inputs import load_instance, naming, order_choice, segment_choice

    set_verbosity(quiet=quiet, verbose=verbose)
    names = list(dict.fromkeys(name.strip() for name in solvers.split(",") if name.strip()))
    if not names:
        raise InputError("--solvers", [f"found {solvers!r}; needs at least one solver"])
    problems = [load_instance(path) for path in instances]
    options = SolveOptions(
        segment_choice(segments),
        time_limit,
        cpu_limit_s=cpu_limit,
        order=order_choice(order),
    )
    for path, problem in zip(instances, problems, strict=True):
        with naming(path):
            check_segments(options.segments, len(problem.layer_names))
    chosen = {name: load_solver(name) for name in names}
    runs = list(_runs(dict(zip(instances, problems, strict=True)), chosen, options))

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
    problems: Mapping[str, Instance], solvers: Mapping[str, Solver], options: SolveOptions
) -> Iterator[Run]:
    """Every instance, by its file, with every solver, until interrupted."""
    from scope_opt.model.files import InputError
    from scope_opt.solving.solver import SolverDisagreement, solve_next
    from scope_opt.terminal.inputs import naming
    from scope_opt.terminal.show import Run

    for file, problem in problems.items():
        for name, solver in solvers.items():
            try:
                with naming(file), progress(f"{problem.name}, {name}") as on_progress:
                    result, interrupted = solve_next(problem, solver, options, on_progress)
            except (InputError, SolverDisagreement) as error:
                yield Run(problem, name, None, str(error))
                continue
            yield Run(problem, name, result)
            if interrupted:
                complain("interrupted: the remaining runs are left out")
                return


FormulationName = Annotated[
    str,
    typer.Option(metavar="NAME", help="Such as interval-milp; see scope-opt solvers."),
]


def export(
    instance: InstanceFile,
    formulation: FormulationName,
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
    ceiling: Ceiling = None,
    force: Force = False,
) -> None:
    """Write the mathematical program of an instance, for any solver that reads it.

    The file says in which unit its times are; nothing is solved. What a solver answers becomes a
    schedule with import-solution.

    \b
    Examples:
      scope-opt export alexnet-16.json --formulation interval-milp -o alexnet.mps
      scope-opt export tiny-skip.json --formulation cp-sat --segments single -o skip.pb
    """  # noqa: D301  # \b keeps the line breaks
    from scope_opt.model.files import refuse_existing, write_bytes

    refuse_existing(output, force=force)
    program = _program(instance, formulation, segments, encoding, ceiling)[1]
    write_bytes(output, program.content(output.suffix), force=force)
    complain(f"program written to {output}")


def import_solution(
    instance: InstanceFile,
    solution: Annotated[
        Path,
        typer.Argument(
            metavar="SOLUTION",
            help="File of HiGHS, SCIP, CBC, Gurobi or CPLEX; for cp-sat also a response of CP-SAT "
            "(.pb, .txt).",
        ),
    ],
    formulation: FormulationName,
    segments: SegmentsOption = None,
    encoding: Encoding = None,
    ceiling: Ceiling = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the schedule here."),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Turn another solver's solution of an exported program into a schedule, and judge it.

    Name the formulation, segments, encoding and ceiling of the export. Exit code 1 if the schedule
    breaks a rule.

    \b
    Examples:
      scope-opt export alexnet-16.json --formulation interval-milp -o alexnet.mps
      scip -c "read alexnet.mps optimize write solution alexnet.sol quit"
      scope-opt import-solution alexnet-16.json alexnet.sol --formulation interval-milp
    """  # noqa: D301  # \b keeps the line breaks
    from scope_opt.model.files import refuse_existing
    from scope_opt.schedule.evaluate import evaluate
    from scope_opt.terminal.picture import evaluation_view, violation_view

    if output is not None:
        refuse_existing(output, force=force)
    problem, program = _program(instance, formulation, segments, encoding, ceiling)
    imported = program.import_solution(solution)
    schedule = imported.schedule
    evaluation = evaluate(problem, schedule)
    energy = problem.minimizes == "energy"
    value = evaluation.energy_fj if energy else evaluation.objective_ps
    if imported.claimed is not None and value is not None:
        unit = "fJ" if energy else "ps"
        if abs(imported.claimed - value) > CLAIM * value:
            complain(f"{solution} claims {imported.claimed:.0f} {unit}, the schedule has {value}")
    if output is not None:
        schedule.save(output, force=force)
        complain(f"schedule written to {output}")
    if as_json:
        print_json(evaluation.to_json_dict())
    elif evaluation.feasible:
        print_view(lambda console: evaluation_view(console, problem, schedule, evaluation))
    else:
        print_view(lambda _: violation_view(evaluation))
    if not evaluation.feasible:
        raise typer.Exit(NOTHING_FOUND)


CLAIM = 1e-6
"""Relative difference between a claimed objective and the schedule's that floats explain."""


def _program(
    instance: str,
    formulation: str,
    segments: str | None,
    encoding: str | None,
    ceiling_ps: int | None,
) -> tuple[Instance, Program]:
    from scope_opt.model.files import InputError, closest
    from scope_opt.solving.program import build_program, formulation_names
    from scope_opt.solving.solver import SolveOptions, solver_names
    from scope_opt.terminal.inputs import load_instance, naming, segment_choice

    problem = load_instance(instance)
    options = SolveOptions(segments=segment_choice(segments), encoding=encoding)
    if formulation not in solver_names():
        found = f"found {formulation!r}; {closest(formulation, formulation_names())}"
        raise InputError("--formulation", [found])
    with naming(instance), progress(f"{problem.name}, {formulation}") as on_progress:
        program = build_program(problem, formulation, options, ceiling_ps, on_progress)
    return problem, program
