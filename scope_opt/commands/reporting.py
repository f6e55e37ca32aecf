"""Commands that write pages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scope_opt.commands.arguments import Force
from scope_opt.terminal import complain


def report(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE...", help="Schedules or results, or one study folder."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="Where to write; for a study its report/."
        ),
    ] = None,
    instance: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE", help="Instance of a schedule, if it is not the paper's; repeatable."
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Write schedules or a study as HTML pages that need no network.

    Several schedules get a page that compares them and a page each. Open index.html of the folder.

    \b
    Examples:
      scope-opt report schedule.json -o report
      scope-opt report scope.json exact.json -o comparison
      scope-opt report results/reach
    """  # noqa: D301  # \b keeps the line breaks
    from scope_opt.files import InputError
    from scope_opt.inputs import load_instance
    from scope_opt.report.site import refuse_foreign, write_report
    from scope_opt.report.sources import schedule_pages
    from scope_opt.units import size

    instances = [load_instance(path) for path in instance or ()]
    if output is None:
        raise InputError("--output", ["a report of schedules needs a folder to be written to"])
    refuse_foreign(output, force=force)
    pages = schedule_pages(sources, instances)
    written = write_report(output, pages, force=force)
    total = sum(path.stat().st_size for path in written)
    complain(f"{written[0]}: {len(pages)} pages, {size(total)} with the script they share")
