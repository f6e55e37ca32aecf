"""Commands that show files and say what can be in them."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from scope_opt.commands.arguments import NOTHING_FOUND
from scope_opt.terminal.console import (
    complain,
    print_json,
    print_result,
    print_schedule,
    print_view,
    warn_mismatch,
)

if TYPE_CHECKING:
    from scope_opt.model.files import Document


class DocumentKind(StrEnum):
    """Documents with a JSON Schema."""

    INSTANCE = "instance"
    SCHEDULE = "schedule"
    RESULT = "result"
    VALIDATION = "validation"
    RECORD = "record"
    REPLAY = "replay"
    PARETO = "pareto"
    NETWORK = "network"
    PACKAGE = "package"


def show(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="Instance, network, package, schedule, result or validation, or - for stdin.",
        ),
    ],
    instance: Annotated[
        str | None,
        typer.Argument(metavar="[INSTANCE]", help="Instance of the schedule or result."),
    ] = None,
) -> None:
    """Show an instance, a network or a package in numbers, or a schedule as a picture.

    An instance of the paper (say resnet50-64) is found by itself; for others, name the file to see
    loads, times and the mesh. Exit code 1 if the schedule breaks a rule.

    \b
    Examples:
      scope-opt show resnet50-64.json
      scope-opt show net.json
      scope-opt show schedule.json resnet50-64.json
    """  # noqa: D301  # \b keeps the line breaks
    from scope_opt.model.files import InputError
    from scope_opt.model.instance import Instance
    from scope_opt.model.parts import NetworkFile, PackageFile
    from scope_opt.schedule.schedule import Schedule
    from scope_opt.solving.result import Result
    from scope_opt.terminal.inputs import known_instance, load, load_instance, naming
    from scope_opt.validation.document import Validation

    document = load(file, Instance, NetworkFile, PackageFile, Schedule, Result, Validation)
    if isinstance(document, NetworkFile | PackageFile):
        from scope_opt.terminal.halves import network_view, package_view

        if instance is not None:
            wrong = f"goes with a schedule or a result, not with {file}"
            raise InputError(instance, [wrong])
        if isinstance(document, NetworkFile):
            network = document.network
            print_view(lambda console: network_view(console, network))
        else:
            package = document.package
            print_view(lambda _: package_view(package))
        return
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

            if found is not None:
                found = document.ordered(found)
            description = found.description if found is not None else ""
            print_view(lambda _: title(document.instance.name, description))
            valid = print_schedule(document, found).feasible
    if not valid:
        raise typer.Exit(NOTHING_FOUND)
    if found is None:
        complain("name the INSTANCE as second argument to see loads, times and the mesh")


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
    from scope_opt.model.parts import NetworkFile, PackageFile
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
        DocumentKind.NETWORK: NetworkFile,
        DocumentKind.PACKAGE: PackageFile,
    }
    print_json(kinds[document].model_json_schema(by_alias=True))
