"""What a figure is before a browser draws it: named columns, rows, and which column goes where.

A page holds every number once. From the rows its script makes plotly's arrays, the text shown on
hover, the table behind the figure and its CSV file (``templates/report.js``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from scope_opt import units

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Cell = str | int | float | None
Unit = Literal["", "s", "J", "B", "MAC", "1/s", "share", "factor"]
"""How a column is shown: ``share`` as a percentage, ``factor`` with four digits, no unit as it is,
the others with an SI prefix."""


@dataclass(frozen=True)
class Field:
    """A column of a figure's data."""

    name: str
    unit: Unit = ""


@dataclass(frozen=True)
class Trace:
    """One series of marks.

    ``at`` names for plotly attributes, such as ``x`` or ``marker.color``, the column that they are
    taken from. In colours it is an index into the page's palette, and opacities alternate with it.
    ``style`` is passed to plotly as it is, except that ``--name`` stands for a colour of the page,
    light or dark, and that one ``x`` or ``y`` counts for all rows.
    """

    kind: str
    rows: Sequence[Sequence[Cell]] | None
    """None for those of the trace before: another column of the same data."""
    at: Mapping[str, int]
    name: str = ""
    style: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Figure:
    """A figure with its data.

    Parameters
    ----------
    key : str
        Unique on its page; files made from the figure are named after it.
    title, summary : str
        Heading, and what a reader sees in it in one or two sentences.
    fields : sequence of Field
        Columns of the rows of all traces.
    traces : sequence of Trace
        With more than one, ``series`` names the column that tells them apart.
    layout : mapping
        Of plotly; the page adds fonts, margins and colours.
    height : int
        Pixels.
    """

    key: str
    title: str
    summary: str
    fields: Sequence[Field]
    traces: Sequence[Trace]
    layout: Mapping[str, Any]
    height: int = 340
    series: str = ""
    wide: bool = False
    """Whether it needs the whole width of the page."""

    def data(self) -> dict[str, Any]:
        """Plain data for the page's script."""
        return {
            "key": self.key,
            "series": self.series,
            "fields": [[column.name, column.unit] for column in self.fields],
            "traces": [
                {
                    "type": trace.kind,
                    "name": trace.name,
                    "at": dict(trace.at),
                    "style": dict(trace.style),
                    "rows": None if trace.rows is None else [list(row) for row in trace.rows],
                }
                for trace in self.traces
            ],
            "layout": dict(self.layout),
            "height": self.height,
        }


def axis(title: str, unit: Unit = "", **more: Any) -> dict[str, Any]:
    """A plotly axis whose ticks carry the unit."""
    ticks: dict[str, Any] = {}
    if unit == "share":
        ticks = {"tickformat": ".0%", "rangemode": "tozero"}
    elif unit == "factor":
        ticks = {"tickformat": "~g"}
    elif unit:
        ticks = {"tickformat": "~s", "ticksuffix": unit}
    return {"title": {"text": title}, **ticks, **more}


def duration(picoseconds: int | None) -> str:
    """Time with a unit, written as the figures write it."""
    return units.picoseconds(picoseconds).replace(" us", " µs")


def seconds(picoseconds: int) -> float:
    """Picoseconds in seconds, as exactly as a float can say it."""
    return picoseconds / 10**12
