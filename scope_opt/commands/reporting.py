"""Commands that write pages."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scope_opt.commands.arguments import Force
from scope_opt.terminal.console import PLAIN_PROGRESS_S, complain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scope_opt.report.page import Page


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
    A report is brought up to date in its folder; if pages of an earlier one would go, --force is
    needed.

    \b
    Examples:
      scope-opt report schedule.json -o report
      scope-opt report scope.json exact.json -o comparison
      scope-opt report results/reach
    """  # noqa: D301  # \b keeps the line breaks
    from scope_opt.model.files import InputError
    from scope_opt.model.units import plural, size
    from scope_opt.report.site import dropped_pages, listed, refuse_foreign, write_report
    from scope_opt.report.sources import schedule_pages, study_folder_pages
    from scope_opt.terminal.inputs import load_instance

    instances = [load_instance(path) for path in instance or ()]
    folders = [source for source in sources if Path(source).is_dir()]
    if folders and len(sources) > 1:
        raise InputError(folders[0], ["a folder, a study's, is reported alone"])
    if output is None:
        if not folders:
            raise InputError("--output", ["a report of schedules needs a folder to go to"])
        output = Path(folders[0]) / "report"
    refuse_foreign(output, force=force)
    if folders:
        pages = list(_with_progress(study_folder_pages(Path(folders[0]), instances)))
    else:
        pages = schedule_pages(sources, instances)
    dropped = dropped_pages(output, pages)
    written = write_report(output, pages, force=force)
    if dropped:
        complain(f"pages of the earlier report are gone: {listed(dropped)}")
    weights = [path.stat().st_size for path in written]
    largest = f"largest {size(max(weights[: len(pages)]))}"
    script = f"{size(weights[len(pages)])} script"
    complain(f"{written[0]}: {plural(len(pages), 'page')}, {largest}; {script} that all share")


def _with_progress(pages: Iterator[Page]) -> Iterator[Page]:
    """The pages, with a line on stderr every few seconds."""
    told = time.monotonic()
    for count, page in enumerate(pages, start=1):
        yield page
        if time.monotonic() > told + PLAIN_PROGRESS_S:
            told = time.monotonic()
            complain(f"{page.title}: {count} pages so far")
