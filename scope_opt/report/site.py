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


class Marker(Document):
    """Says that a folder was made by this command, and which of its files were."""

    format: Literal["scope-report/1"] = "scope-report/1"
    files: tuple[str, ...]


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


def write_report(folder: Path, pages: Sequence[Page], *, force: bool = False) -> list[Path]:
    """Write pages and the script they share; pages of an earlier report go.

    Everything is rendered before anything is written.

    Returns
    -------
    list of Path
        What was written, the first page first.

    Raises
    ------
    InputError
        As `refuse_foreign` does, or if a file cannot be written.
    """
    from plotly.offline import get_plotlyjs

    refuse_foreign(folder, force=force)
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
    Marker(files=tuple(texts)).save(folder / MARKER, force=True)
    return [folder / name for name in texts]


def _earlier_files(folder: Path) -> list[str]:
    """Files that an earlier report left in the folder, if its marker can be believed."""
    if not (folder / MARKER).is_file():
        return []
    names = Marker.load(folder / MARKER).files
    return [name for name in names if PurePosixPath(name).name == name]


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
