"""Pages as files: rendered from templates, written into a folder that is marked as a report."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from scope_opt import __version__
from scope_opt.model.files import Document, InputError, write_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scope_opt.report.page import Page

MARKER = "scope-report.json"
SCRIPT = "plotly.min.js"
LISTED = 5
"""Dropped pages that a message names."""


class Marker(Document):
    """Says that a folder was made by this command, and which of its files were."""

    format: Literal["scope-report/1"] = "scope-report/1"
    files: tuple[str, ...]
    title: str | None = None
    """Of a report of one page, which is index.html whatever it shows; else None."""


def refuse_foreign(folder: Path, *, force: bool) -> None:
    """Raise `InputError` where a report may not be written.

    A folder that is empty, or was made by this command, may be written into; any other only with
    ``force``, and then nothing in it but pages of the same names is replaced.
    """
    above = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if above != folder and above.is_dir():
        return  # made when the report is written
    if not folder.is_dir():
        raise InputError(str(folder), ["is no folder; a report needs one"])
    if not force and any(folder.iterdir()) and not (folder / MARKER).is_file():
        problem = "holds other files, but no report; use --force to write into it all the same"
        raise InputError(str(folder), [problem])


def dropped_pages(folder: Path, pages: Sequence[Page]) -> list[str]:
    """Pages of an earlier report in the folder that these pages would take the place of.

    Pages that are written again are not among them: the report is brought up to date.
    """
    names = {page.file for page in pages}
    dropped = [name for name in _earlier_files(folder) if name not in {*names, SCRIPT}]
    title = _earlier_title(folder)
    # Beside others of its solver a schedule has its file in the title as well.
    if title is not None and not any(f"{page.title}, ".startswith(f"{title}, ") for page in pages):
        dropped.insert(0, f"index.html ({title})")
    return dropped


def write_report(folder: Path, pages: Sequence[Page], *, force: bool = False) -> list[Path]:
    """Write pages and the script they share; with ``force``, pages of an earlier report go.

    Everything is rendered before anything is written.

    Returns
    -------
    list of Path
        What was written, the first page first.

    Raises
    ------
    InputError
        As `refuse_foreign` does, if pages of an earlier report would go, or if a file cannot be
        written.
    """
    from plotly.offline import get_plotlyjs

    refuse_foreign(folder, force=force)
    dropped = dropped_pages(folder, pages)
    if dropped and not force:
        problem = f"holds pages of an earlier report that this one lacks: {listed(dropped)}"
        way_out = "name another folder, report all schedules at once, or use --force to drop them"
        raise InputError(str(folder), [f"{problem}; {way_out}"])
    environment = _environment()
    texts = {page.file: _render(environment, page) for page in pages}
    texts[SCRIPT] = get_plotlyjs()
    old = _earlier_files(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(str(folder), [f"cannot be made: {error.strerror}"]) from None
    # First, so that a folder left half-written by an interruption can be written again.
    marker = Marker(files=tuple(dict.fromkeys([*texts, *old])))
    marker.save(folder / MARKER, force=True)
    for name, text in texts.items():
        write_text(folder / name, text, force=True)
    for name in old:
        if name not in texts:
            (folder / name).unlink(missing_ok=True)
    title = pages[0].title if len(pages) == 1 else None
    Marker(files=tuple(texts), title=title).save(folder / MARKER, force=True)
    return [folder / name for name in texts]


def _earlier_files(folder: Path) -> list[str]:
    """Files that an earlier report left in the folder, if its marker can be believed."""
    if not (folder / MARKER).is_file():
        return []
    names = Marker.load(folder / MARKER).files
    return [name for name in names if PurePosixPath(name).name == name]


def _earlier_title(folder: Path) -> str | None:
    """Title of an earlier report's only page."""
    if not (folder / MARKER).is_file():
        return None
    return Marker.load(folder / MARKER).title


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = [f"and {len(names) - LISTED} more"] if len(names) > LISTED else []
    return ", ".join([*names[:LISTED], *more])


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("scope_opt.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["data"] = _data
    for name in ("css", "js"):
        source, _, _ = environment.loader.get_source(environment, f"report.{name}")  # type: ignore[union-attr]
        environment.globals[name] = Markup(source)
    environment.globals["version"] = __version__
    return environment


def render(page: Page) -> str:
    """A page that stands alone."""
    return _render(_environment(), page)


def _render(environment: Environment, page: Page) -> str:
    return environment.get_template(page.template).render(page=page, **page.content)


def _data(content: Any) -> Markup:
    """JSON inside a script element, which only ``</`` and ``<!--`` could leave."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))
