"""Commands that judge schedules."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scope_opt.commands.arguments import NOTHING_FOUND, InstanceFile, Json
from scope_opt.terminal.console import print_json, print_view, progress, warn_mismatch


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
    from scope_opt.schedule.evaluate import evaluate as check
    from scope_opt.terminal.inputs import load_both, naming

    problem, found = load_both(instance, schedule)
    warn_mismatch(schedule, found.instance, problem)
    problem = found.ordered(problem)
    with naming(instance):
        evaluation = check(problem, found)
    if as_json:
        print_json(evaluation.to_json_dict())
    else:
        from scope_opt.terminal.picture import evaluation_view, violation_view

        if evaluation.feasible:
            print_view(lambda console: evaluation_view(console, problem, found, evaluation))
        else:
            print_view(lambda _: violation_view(evaluation))
    if not evaluation.feasible:
        raise typer.Exit(NOTHING_FOUND)


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
    from scope_opt.cost.build import build_tables
    from scope_opt.search.census.distribution import distribution as count
    from scope_opt.solving.monitor import Monitor
    from scope_opt.terminal.inputs import load_instance, load_schedule, naming
    from scope_opt.terminal.show import distribution_view

    problem = load_instance(instance)
    schedules = [load_schedule(str(path)) for path in rank or ()]
    with naming(instance), progress(f"{problem.name}, distribution") as on_progress:
        monitor = Monitor(on_progress=on_progress)
        found = count(problem, build_tables(problem), idle, monitor, schedules)
    if as_json:
        print_json(found.to_json_dict())
    else:
        names = [str(path) for path in rank or ()]
        print_view(lambda _: distribution_view(problem, found, names))
    if not found.valid:
        raise typer.Exit(NOTHING_FOUND)
