"""Pages as Markdown: text, tables and pictures beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scope_opt.report.drawing import new_figure
from scope_opt.report.markdown import Article, Picture, bullets, fixed, render, table, write_article
from scope_opt.report.page import Chip, Column, Link, Table

if TYPE_CHECKING:
    from pathlib import Path


def draw() -> Any:
    figure, axis = new_figure(width=2, height=1)
    axis.plot([0, 1], [1, 0])
    return figure


ARTICLE = Article(
    "Title",
    [
        "A paragraph.",
        "## Heading",
        bullets(["one", "two"]),
        table(["name", "s"], [[Link("a", "a.md"), fixed(1.0)], ["b", fixed(None)]]),
        Table("Before it.", [Column("x", number=False)], [[Chip("c", 1)]]),
        Picture("line.svg", "A line", draw),
    ],
)
TEXT = """# Title

A paragraph.

## Heading

- one
- two

| name | s |
| --- | ---: |
| [a](a.md) | 1.00 |
| b | - |

Before it.

| x |
| --- |
| c |

![A line](line.svg)
"""


def test_text() -> None:
    assert render(ARTICLE) == TEXT


def test_files_are_equal_each_time(tmp_path: Path) -> None:
    write_article(ARTICLE, tmp_path)
    picture = (tmp_path / "line.svg").read_bytes()
    write_article(ARTICLE, tmp_path)
    assert (tmp_path / "line.svg").read_bytes() == picture
    assert (tmp_path / "README.md").read_text() == TEXT
