"""Pages as Markdown with pictures beside them: what a repository shows without a browser's scripts.

Tables are those of `scope_opt.report.page`, which HTML pages have, too. Pictures are drawn by
matplotlib, since there is no script that could draw them when the page is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scope_opt.model.files import InputError, write_text
from scope_opt.model.units import ABSENT
from scope_opt.report.page import Column, Link, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from scope_opt.report.page import Chip

COLORS = ("#1b6ca8", "#c8553d", "#3c8d5a", "#7a4ea3", "#8a6d1f", "#4c4c4c")
MARKERS = "osD^vx"


@dataclass(frozen=True)
class Picture:
    """A figure in a file of its own."""

    file: str
    title: str
    """Said where the picture cannot be seen."""
    draw: Callable[[], Any]
    """Makes the figure of matplotlib; called only when files are written."""


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


def number(value: float | None, pattern: str = ".2f") -> str:
    """A number of fixed form, as in columns whose heading has the unit."""
    return ABSENT if value is None else format(value, pattern)


def render(article: Article) -> str:
    """The page's text."""
    return "\n\n".join([f"# {article.title}", *map(_block, article.blocks)]) + "\n"


def write_article(article: Article, folder: Path) -> None:
    """Write README.md and the pictures beside it; they are equal each time they are written."""
    for block in article.blocks:
        if isinstance(block, Picture):
            block.draw().savefig(folder / block.file, metadata={"Date": None})
    write_text(folder / "README.md", render(article), force=True)


def new_figure(rows: int = 1, columns: int = 1, width: float = 9, height: float = 3.6) -> Any:
    """Figure and axes of matplotlib.

    Raises
    ------
    InputError
        Without matplotlib, which is among the development packages.
    """
    try:
        import matplotlib
    except ImportError:
        raise InputError("figures", ["need matplotlib: pip install 'scope-opt[dev]'"]) from None
    matplotlib.use("Agg")
    matplotlib.rcParams |= {"svg.hashsalt": "scope-opt", "svg.fonttype": "none", "font.size": 9}
    from matplotlib import pyplot as plt

    return plt.subplots(rows, columns, figsize=(width, height), constrained_layout=True)


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
