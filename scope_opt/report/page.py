"""Pages before they are rendered, and what they consist of beside figures."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


@dataclass(frozen=True)
class Fact:
    """A number with its name."""

    name: str
    value: str
    remark: str = ""


@dataclass(frozen=True)
class Link:
    """A table cell that leads to another page."""

    text: str
    link: str


@dataclass(frozen=True)
class Chip:
    """A table cell in the colour of a cluster."""

    text: str
    chip: int


@dataclass(frozen=True)
class Column:
    """A column of a table; ``fold`` lets long text take several lines."""

    name: str
    number: bool = True
    fold: bool = False


@dataclass(frozen=True)
class Table:
    """A table; the first cell of a row is the row's heading."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str | Link | Chip]]


@dataclass(frozen=True)
class Page:
    """A page: its file, its template and what that fills in."""

    file: str
    template: str
    title: str
    subtitle: str = ""
    trail: Sequence[tuple[str, str]] = ()
    """Text and file of the pages above this one."""
    content: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What files made from the page's figures begin with."""
        return self.file.removesuffix(".html")


def file_names(labels: Iterable[str]) -> list[str]:
    """A readable page name for each label, all different even where case does not count."""
    names: list[str] = []
    taken = {"index"}
    for label in labels:
        base = re.sub(r"[^A-Za-z0-9.=_-]+", "-", label).strip("-.")[:80] or "page"
        name, number = base, 2
        while name.lower() in taken:
            name, number = f"{base}-{number}", number + 1
        taken.add(name.lower())
        names.append(f"{name}.html")
    return names
