"""Pages as Markdown with pictures beside them, which are read where no script can run.

Tables are those of `scope_opt.report.page`, which HTML pages have, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scope_opt.model.files import write_text
from scope_opt.model.units import ABSENT
from scope_opt.report.drawing import save_figure
from scope_opt.report.page import Column, Link, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from scope_opt.report.page import Chip


@dataclass(frozen=True)
class Picture:
    """A figure in a file of its own."""

    file: str
    title: str
    """Said where the picture cannot be seen."""
    draw: Callable[[], Any]
    """Makes the figure, as `scope_opt.report.drawing` says; called only when files are written."""


@dataclass(frozen=True)
class Article:
    """A page: its title, then paragraphs, headings (``## ...``), tables and pictures."""

    title: str
    blocks: Sequence[str | Table | Picture]


def table(header: Sequence[str], rows: Iterable[Sequence[str | Link]], left: int = 1) -> Table:
    """A table whose columns are numbers, all but the first ``left``."""
    columns = [Column(name, number=index >= left) for index, name in enumerate(header)]
    return Table("", columns, list(rows))


def bullets(items: Iterable[str]) -> str:
    """A list."""
    return "\n".join(f"- {item}" for item in items)


def fixed(value: float | None, pattern: str = ".2f") -> str:
    """A number of fixed form, as in columns whose heading has the unit."""
    return ABSENT if value is None else format(value, pattern)


def render(article: Article) -> str:
    """The page's text."""
    return "\n\n".join([f"# {article.title}", *map(_block, article.blocks)]) + "\n"


def write_article(article: Article, folder: Path) -> None:
    """Write README.md and the pictures beside it; they are equal each time they are written."""
    for block in article.blocks:
        if isinstance(block, Picture):
            save_figure(block.draw(), folder / block.file)
    write_text(folder / "README.md", render(article), force=True)


def _block(block: str | Table | Picture) -> str:
    if isinstance(block, Picture):
        return f"![{block.title}]({block.file})"
    if isinstance(block, Table):
        marks = ["---:" if column.number else "---" for column in block.columns]
        names = [column.name for column in block.columns]
        lines = [names, marks, *([_cell(cell) for cell in row] for row in block.rows)]
        text = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
        return f"{block.caption}\n\n{text}" if block.caption else text
    return block


def _cell(cell: str | Link | Chip) -> str:
    if isinstance(cell, Link):
        return f"[{cell.text}]({cell.link})"
    return cell if isinstance(cell, str) else cell.text
