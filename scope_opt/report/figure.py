"""What a figure is before a browser draws it: named columns, rows, and which column goes where.

A page holds every number once. From the rows its script makes plotly's arrays, the text shown on
hover, the table behind the figure and its CSV file (``templates/report.js``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil, floor, log10
from typing import TYPE_CHECKING, Any, Literal

from scope_opt.model import units

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Cell = str | int | float | None
Unit = Literal["", "s", "J", "MAC", "B", "share", "factor"]
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
    taken from. In colours it is an index into the page's palette, or a share from pale to
    ``--heat2``; opacities alternate with it.
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


MOST_TICK = 1e300
"""Ticks end there, before numbers do."""


def log_axis(title: str, unit: Unit, values: Iterable[float]) -> dict[str, Any]:
    """A logarithmic axis with ticks at round numbers, far enough apart for their labels."""
    found = list(values)
    low, high = min(found), max(found)
    apart = (high / low) ** (1 / 9)
    decades = range(floor(log10(low)), ceil(log10(high)) + 1)
    shown: list[float] = []
    for steps in ((1, 1.1, 1.2, 1.3, 1.5, 2, 3, 5, 7), (1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1,)):
        ticks = [float(f"{step}e{decade}") for decade in decades for step in steps]
        shown = [tick for tick in ticks if low / 1.02 <= tick <= min(high * 1.02, MOST_TICK)]
        if all(b / a >= apart for a, b in pairwise(shown)):
            break
    # Where all values are close together, plotly finds ticks between them.
    placed: dict[str, Any] = {"nticks": 6}
    if len(shown) > 1:
        placed = {"tickvals": shown, "ticktext": [_tick(tick, unit) for tick in shown]}
    return axis(title, unit, type="log", tickangle=0, **placed)


def _tick(value: float, unit: Unit) -> str:
    """A round number as plotly writes it on linear axes."""
    if unit in ("", "share", "factor"):
        return f"{value:g}"
    # Beyond the first and the last prefix, numbers get longer.
    scale = min(15, max(-15, 3 * floor(round(log10(value), 9) / 3)))
    prefix = "fpnµm kMGTP"[scale // 3 + 5].strip()
    return f"{value / 10.0**scale:g}{prefix}{unit}"


def bar_marker(colour: str, pattern: str = "", outline: float = 0.5) -> dict[str, Any]:
    """Bars that a pattern tells apart without colour, too."""
    return {
        "color": colour,
        "pattern": {
            "shape": pattern,
            "solidity": 0.2,
            "size": 7,
            "fgcolor": "--on-mark",
            "bgcolor": colour,
        },
        "line": {"color": "--surface", "width": outline},
    }


def bar_parts(
    rows: Sequence[Sequence[Cell]],
    parts: Sequence[tuple[str, int, str, str]],
    outline: float = 0.5,
) -> list[Trace]:
    """Bars at the first column; a part has a name, the column of its height, colour and pattern."""
    return [
        Trace(
            "bar",
            None if number else rows,
            {"x": 0, "y": column},
            name,
            {"marker": bar_marker(colour, pattern, outline)},
        )
        for number, (name, column, colour, pattern) in enumerate(parts)
    ]


def line_style(index: int, **line: Any) -> dict[str, Any]:
    """Lines that dashes and symbols tell apart without colour, too."""
    dashes = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
    symbols = ("circle", "square", "diamond", "triangle-up", "x", "cross", "star", "pentagon")
    colour = f"--c{index % 8}"
    return {
        "mode": "lines+markers",
        "line": {"color": colour, "width": 2, "dash": dashes[index % len(dashes)], **line},
        "marker": {
            "color": colour,
            "symbol": symbols[index % len(symbols)],
            "size": 6,
            "maxdisplayed": 40,
        },
    }


def duration(picoseconds: int | None) -> str:
    """Time with a unit, written as the figures write it."""
    return units.picoseconds(picoseconds).replace(" us", " µs")


def seconds(picoseconds: int) -> float:
    """Picoseconds in seconds, as exactly as a float can say it."""
    return picoseconds / 10**12
