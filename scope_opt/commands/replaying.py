"""The command that replays schedules."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from scope_opt.commands.arguments import NOTHING_FOUND, Force, InstanceFile, Json
from scope_opt.terminal.console import (
    complain,
    print_json,
    print_text,
    print_view,
    progress,
    warn_mismatch,
)


class ReplayMode(StrEnum):
    """How the stages of a segment move on."""

    LOCKSTEP = "lockstep"
    ASYNCHRONOUS = "asynchronous"


class Injection(StrEnum):
    """When chiplets send what they have to send in a beat."""

    PACED = "paced"
    BURST = "burst"


def simulate(
    instance: InstanceFile,
    schedule: Annotated[
        str, typer.Argument(metavar="SCHEDULE", help="Schedule or result file, or - for stdin.")
    ],
    mode: Annotated[
        ReplayMode,
        typer.Option(
            help="What the stages and the trace show: all stages together in every beat, as the "
            "model assumes, or each stage as soon as it can."
        ),
    ] = ReplayMode.ASYNCHRONOUS,
    buffers: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="Samples that fit between a stage and the next one; asynchronous mode.",
        ),
    ] = 2,
    trace: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a trace for ui.perfetto.dev or chrome://tracing (.json or .json.gz).",
        ),
    ] = None,
    trace_samples: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Trace only the first N and last N samples of each segment; by default all of a "
            "small replay, else 4.",
        ),
    ] = None,
    traffic: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the messages of one beat of each segment for a simulator of networks "
            "(.txt or .txt.gz); placed model only.",
        ),
    ] = None,
    flit_bytes: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=2**31,
            help="Bytes of a flit in the traffic, which a link carries in a cycle; default 32.",
        ),
    ] = None,
    injection: Annotated[
        Injection | None,
        typer.Option(
            help="When the traffic starts: its flits evenly over the beat (default), or all at the "
            "beginning."
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Replay a schedule event by event: a second check of its latency, and where stages wait.

    The lockstep replay must take exactly what the evaluator computes; exit code 1 if it does not,
    or if the schedule breaks a rule. docs/replay.md explains the two modes.

    \b
    Examples:
      scope-opt simulate resnet50-64.json schedule.json
      scope-opt simulate resnet50-64.json schedule.json --trace trace.json.gz
      scope-opt simulate resnet50-64.json schedule.json --mode lockstep --json
      scope-opt simulate resnet50-64-placed.json schedule.json --traffic beat.txt
    """  # noqa: D301  # \b keeps the line breaks
    from scope_opt.model.files import InputError, refuse_existing, write_text
    from scope_opt.replay.report import InvalidSchedule, replay
    from scope_opt.replay.trace import Trace, default_shown
    from scope_opt.replay.traffic import FLIT_BYTES, refuse_without_places
    from scope_opt.replay.traffic import traffic as messages
    from scope_opt.solving.monitor import Monitor
    from scope_opt.terminal.inputs import load_both, naming

    if trace is not None:
        refuse_existing(trace, force=force)
    elif trace_samples is not None:
        raise InputError("--trace-samples", ["is about a trace; add --trace FILE"])
    if traffic is not None:
        refuse_existing(traffic, force=force)
        if traffic == trace:
            raise InputError("--traffic", [f"{traffic} is the file of --trace, too; name another"])
    for option, value in (("--flit-bytes", flit_bytes), ("--injection", injection)):
        if traffic is None and value is not None:
            raise InputError(option, ["is about traffic; add --traffic FILE"])
    problem, found = load_both(instance, schedule)
    if traffic is not None:
        refuse_without_places(problem)
    warn_mismatch(schedule, found.instance, problem)
    problem = found.ordered(problem)
    shown = default_shown(problem) if trace_samples is None else trace_samples
    recorder = Trace(problem, found, shown)
    record = None if trace is None else recorder.add
    try:
        with naming(instance), progress(f"{problem.name}, replay") as on_progress:
            report = Monitor(on_progress=on_progress).report
            replayed = replay(problem, found, mode.value, buffers, record, report)
    except InvalidSchedule as error:
        evaluation = error.evaluation
        if as_json:
            print_json(evaluation.to_json_dict())
        else:
            from scope_opt.terminal.picture import violation_view

            print_view(lambda _: violation_view(evaluation))
        raise typer.Exit(NOTHING_FOUND) from None
    if trace is not None:
        write_text(trace, recorder.text(), force=force)
        note = f"; {recorder.left_out} samples between the first and last {shown} of each segment"
        complain(f"trace written to {trace}" + (f"{note} left out" if recorder.left_out else ""))
    if traffic is not None:
        timing = Injection.PACED if injection is None else injection
        text = messages(problem, found, flit_bytes or FLIT_BYTES, timing.value)
        write_text(traffic, text, force=force)
        complain(f"traffic written to {traffic}")
    if as_json:
        print_text(replayed.to_json())
    else:
        from scope_opt.replay.view import replay_view

        print_view(lambda console: replay_view(console, replayed, problem))
    if not replayed.agrees:
        complain("error: the lockstep replay and the evaluator disagree; one of them is wrong")
        raise typer.Exit(NOTHING_FOUND)
