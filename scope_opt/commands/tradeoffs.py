"""The command that trades latency for energy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scope_opt.commands.arguments import (
    NOTHING_FOUND,
    CpuLimit,
    Encoding,
    Force,
    InstanceFile,
    Json,
    Quiet,
    SegmentsOption,
    Threads,
    Verbose,
    duration,
)
from scope_opt.terminal.console import (
    complain,
    print_text,
    print_view,
    progress,
    set_verbosity,
)

if TYPE_CHECKING:
    from scope_opt.model.instance import Instance
    from scope_opt.pareto.front import Front
    from scope_opt.solving.solver import SegmentChoice


def pareto(
    instance: InstanceFile,
    solver: Annotated[
        str, typer.Option(metavar="NAME", help="One that honours a latency bound.")
    ] = "cp-sat",
    points: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=2,
            help="Solve for the ends and N - 2 latency bounds evenly between them; by default all "
            "points of the front are sought.",
        ),
    ] = None,
    slowest: Annotated[
        float | None,
        typer.Option(
            metavar="FACTOR", min=1.0, help="Only up to this many times the least latency."
        ),
    ] = None,
    time_limit: Annotated[
        float | None,
        typer.Option(metavar="TIME", parser=duration, help="For each solve: 90, 1m, 2h."),
    ] = None,
    cpu_limit: CpuLimit = None,
    segments: SegmentsOption = None,
    threads: Threads = None,
    encoding: Encoding = None,
    output: Annotated[
        Path | None,
        typer.Option(
            *("--output", "-o"),
            metavar="FILE",
            help="Write the front here after every solve. A file that holds a front of the same "
            "instance is continued.",
        ),
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Draw the front, as a page that needs no network."),
    ] = None,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Trade latency for energy: schedules of which none is better in both.

    Least latency, least energy, and points between, each with a certificate. Ctrl-C stops and
    keeps the points so far. docs/pareto.md has the method and what to expect of it.

    \b
    Examples:
      scope-opt pareto alexnet-16.json --points 8 --figure front.html
      scope-opt pareto tiny-skip.json -o front.json
      scope-opt pareto resnet18-16.json --points 6 --slowest 1.3 --time-limit 60
    """  # noqa: D301  # \b keeps the line breaks
    from scope_opt.model.files import InputError, refuse_existing, write_text
    from scope_opt.pareto.search import trace_front
    from scope_opt.solving.solver import SolveOptions
    from scope_opt.terminal.inputs import load_instance, naming, segment_choice

    set_verbosity(quiet=quiet, verbose=verbose)
    problem = load_instance(instance)
    choice = segment_choice(segments)
    if figure is not None:
        if figure.suffix != ".html":
            raise InputError("--figure", [f"found {str(figure)!r}; the name must end in .html"])
        refuse_existing(figure, force=force)
    previous = None
    if output is not None:
        previous = _continued(output, problem, choice, force=force)

    def keep(front: Front) -> None:
        if output is not None and front.points:
            front.save(output, force=True)

    options = SolveOptions(
        choice, time_limit, threads=threads, encoding=encoding, cpu_limit_s=cpu_limit
    )
    with naming(instance):
        front = trace_front(
            problem,
            solver,
            options,
            points,
            slowest,
            progress=progress,
            on_front=keep,
            previous=previous,
        )
    if front.stop_reason == "interrupted":
        complain("interrupted: these are the points so far")
    keep(front)
    if output is not None and front.points:
        complain(f"front written to {output}")
    if as_json:
        print_text(front.to_json())
    else:
        from scope_opt.pareto.view import front_view

        print_view(lambda console: front_view(console, front, problem))
    if not front.points:
        raise typer.Exit(NOTHING_FOUND)
    if figure is not None:
        from scope_opt.report.front_page import front_page

        write_text(figure, front_page(front, problem), force=force)
        complain(f"figure written to {figure}")


def _continued(
    output: Path, instance: Instance, segments: SegmentChoice | None, *, force: bool
) -> Front | None:
    """Front to continue: what the output file holds, if that is about the same schedules."""
    from scope_opt.model.files import InputError, refuse_existing
    from scope_opt.pareto.front import Front, check_front

    try:
        refuse_existing(output, force=force)
    except InputError:
        if not output.is_file():
            raise
        try:
            front = Front.load(output)
        except InputError:
            pass  # some other file, which must not be replaced
        else:
            check_front(front, instance, segments, str(output))
            complain(f"{output}: continued from {len(front.points)} points")
            return front
        raise
    return None
