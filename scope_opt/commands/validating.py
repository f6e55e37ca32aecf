"""The command that judges solvers."""

from __future__ import annotations

from typing import Annotated

import typer

from scope_opt.commands.arguments import (
    NOTHING_FOUND,
    Donor,
    InstanceFile,
    Iterations,
    Json,
    OrderOption,
    Quiet,
    SegmentsOption,
    Similarity,
    Verbose,
    duration,
)
from scope_opt.terminal.console import (
    print_text,
    print_view,
    progress,
    set_verbosity,
)


def validate_heuristic(
    instance: InstanceFile,
    solver: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Any registered solver, one of your own too.",
            show_default=False,
        ),
    ],
    segments: SegmentsOption = None,
    order: OrderOption = None,
    seed: Annotated[
        int, typer.Option(min=0, help="First seed of a randomized solver, and of the sample.")
    ] = 0,
    seeds: Annotated[
        int, typer.Option(min=1, help="Runs of a randomized solver, with a seed each.")
    ] = 1,
    iterations: Iterations = None,
    similarity: Similarity = None,
    donor: Donor = None,
    solver_time_limit: Annotated[
        float | None,
        typer.Option(metavar="TIME", parser=duration, help="Of each run of the solver: 90, 1m."),
    ] = None,
    solver_cpu_limit: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0.0, help="Processor time of each run of the solver."),
    ] = None,
    time_limit: Annotated[
        float | None,
        typer.Option(
            metavar="TIME",
            parser=duration,
            help="Of the exact solver, and of the attribution; without a proof the gap is a range.",
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Draw so many schedules for the rank, from all and from the valid ones. By "
            "default every schedule is counted, or, where there are too many, 200,000 drawn.",
        ),
    ] = None,
    confidence: Annotated[
        float, typer.Option(metavar="SHARE", help="Of the bounds on the rank from a sample.")
    ] = 0.95,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Say how good a heuristic is: gap to the proved optimum, rank, loss by decision.

    The rank is that of a one-segment schedule among all of them; docs/heuristics.md explains every
    number. With --order the heuristic and the exact solver both choose the order of positions; rank
    and losses are those in the order of the heuristic's schedule. Ctrl-C ends the step at hand with
    what it has. Exit code 1 if there is no schedule.

    \b
    Examples:
      scope-opt validate-heuristic resnet18-64.json --solver scope
      scope-opt validate-heuristic vgg16-64.json --solver anneal --seeds 5 --iterations 20000
      scope-opt validate-heuristic resnet50-64-placed --solver scope-plus --order all
    """  # noqa: D301  # \b keeps the line breaks
    from scope_opt.model.files import InputError
    from scope_opt.solving.solver import SolveOptions
    from scope_opt.terminal.inputs import load_instance, naming, order_choice, segment_choice
    from scope_opt.validation.run import ValidationOptions, validate

    set_verbosity(quiet=quiet, verbose=verbose)
    if not 0 < confidence < 1:
        raise InputError("--confidence", [f"found {confidence}; allowed between 0 and 1"])
    problem = load_instance(instance)
    options = ValidationOptions(
        solver=SolveOptions(
            segments=segment_choice(segments),
            order=order_choice(order),
            time_limit_s=solver_time_limit,
            cpu_limit_s=solver_cpu_limit,
            seed=seed,
            iterations=iterations,
            similarity=similarity,
            donor=donor,
        ),
        seeds=seeds,
        time_limit_s=time_limit,
        draws=samples,
        confidence=confidence,
    )
    with naming(instance):
        found = validate(problem, solver, options, lambda step: progress(f"{problem.name}, {step}"))
    if as_json:
        print_text(found.to_json())
    else:
        from scope_opt.validation.view import validation_view

        print_view(lambda _: validation_view(found, problem))
    if found.runs[0].schedule is None:
        raise typer.Exit(NOTHING_FOUND)
