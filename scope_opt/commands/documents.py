"""Commands that show and write files."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scope_opt.commands.arguments import NOTHING_FOUND, Force
from scope_opt.terminal.console import (
    complain,
    print_json,
    print_result,
    print_schedule,
    print_text,
    print_view,
    warn_mismatch,
)

if TYPE_CHECKING:
    from scope_opt.model.files import Document

NETWORK_NAMES = (
    *("alexnet", "vgg16", "darknet19"),
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
)
"""As in `scope_opt.model.zoo`, which is too heavy to import for a help page."""


class Overflow(StrEnum):
    """What to do with weights that do not fit."""

    FORBID = "forbid"
    STREAM = "stream"


class NopModel(StrEnum):
    """What transfers between chiplets are priced by."""

    PLACED = "placed"
    REGRESSED = "regressed"


class DocumentKind(StrEnum):
    """Documents with a JSON Schema."""

    INSTANCE = "instance"
    SCHEDULE = "schedule"
    RESULT = "result"
    VALIDATION = "validation"
    RECORD = "record"
    REPLAY = "replay"
    PARETO = "pareto"


def show(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="Instance, schedule, result or validation, or - for stdin."
        ),
    ],
    instance: Annotated[
        str | None,
        typer.Argument(metavar="[INSTANCE]", help="Instance of the schedule or result."),
    ] = None,
) -> None:
    """Show an instance in numbers, or a schedule as a picture.

    An instance of the paper (say resnet50-64) is found by itself; for others, name the file to see
    loads, times and the mesh. Exit code 1 if the schedule breaks a rule.

    \b
    Examples:
      scope-opt show resnet50-64.json
      scope-opt show schedule.json resnet50-64.json
    """  # noqa: D301  # \b keeps the line breaks
    from scope_opt.model.files import InputError
    from scope_opt.model.instance import Instance
    from scope_opt.schedule.schedule import Schedule
    from scope_opt.solving.result import Result
    from scope_opt.terminal.inputs import known_instance, load, load_instance, naming
    from scope_opt.validation.document import Validation

    document = load(file, Instance, Schedule, Result, Validation)
    if isinstance(document, Instance):
        if instance is not None:
            wrong = f"goes with a schedule or a result, but {file} is an instance"
            raise InputError(instance, [wrong])
        from scope_opt.terminal.show import instance_view

        with naming(file):
            print_view(lambda _: instance_view(document))
        return
    assert isinstance(document, Schedule | Result | Validation)
    found: Instance | None
    if instance is not None:
        found = load_instance(instance)
        warn_mismatch(file, document.instance, found)
    else:
        found = known_instance(document.instance)
    if isinstance(document, Validation):
        from scope_opt.validation.view import validation_view

        print_view(lambda _: validation_view(document, found))
        return
    with naming(instance or document.instance.name):
        if isinstance(document, Result):
            valid = print_result(document, found)
        else:
            from scope_opt.terminal.show import title

            description = found.description if found is not None else ""
            print_view(lambda _: title(document.instance.name, description))
            valid = print_schedule(document, found).feasible
    if not valid:
        raise typer.Exit(NOTHING_FOUND)
    if found is None:
        complain("name the INSTANCE as second argument to see loads, times and the mesh")


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
    nop: Annotated[
        NopModel,
        typer.Option(help="Transfers priced where regions lie, or by their sizes alone."),
    ] = NopModel.PLACED,
    order: Annotated[
        str,
        typer.Option(metavar="ORDER", help="Of positions on the mesh: zigzag or blocks-W."),
    ] = "zigzag",
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
      scope-opt generate resnet50 --chiplets 64 --order blocks-4 -o blocks.json
      scope-opt generate vgg16 --chiplets 16 --nop regressed --overflow stream | scope-opt show -
    """  # noqa: D301  # \b keeps the line breaks
    from scope_opt.model.files import refuse_existing
    from scope_opt.model.generate import paper_instance

    if output is not None:
        refuse_existing(output, force=force)
    instance = paper_instance(
        network, chiplets, samples, overflow.value, rows, cols, nop.value, order
    )
    if output is None:
        print_text(instance.to_json())
    else:
        instance.save(output, force=force)
        complain(f"{instance.name} written to {output}")


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
    from scope_opt.model.instance import Instance
    from scope_opt.pareto.front import Front
    from scope_opt.replay.report import Replay
    from scope_opt.schedule.schedule import Schedule
    from scope_opt.solving.result import Result
    from scope_opt.studies.records import Record
    from scope_opt.validation.document import Validation

    kinds: dict[DocumentKind, type[Document]] = {
        DocumentKind.INSTANCE: Instance,
        DocumentKind.SCHEDULE: Schedule,
        DocumentKind.RESULT: Result,
        DocumentKind.VALIDATION: Validation,
        DocumentKind.RECORD: Record,
        DocumentKind.REPLAY: Replay,
        DocumentKind.PARETO: Front,
    }
    print_json(kinds[document].model_json_schema(by_alias=True))
