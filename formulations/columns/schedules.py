"""Schedules as sets of columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from scope_opt.model.tables import PARTITIONS
from scope_opt.schedule.schedule import make_segment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from formulations.columns.column import Column
    from scope_opt.schedule.schedule import Segment


class SegmentColumn(NamedTuple):
    """Layers ``first..last`` as a segment of so many clusters."""

    first: int
    last: int
    clusters: int


def column_keys(columns: Sequence[Column]) -> list[tuple[int, int, int, str, int]]:
    """First and last layer, chiplets, partitions (``I`` or ``W`` per layer) and a running number.

    Variables of columns are named after them; the number tells apart what only differs in
    surroundings.
    """
    letters: dict[tuple[int, ...], str] = {}
    keys = []
    for k, column in enumerate(columns):
        text = letters.get(column.partitions)
        if text is None:
            text = "".join(PARTITIONS[partition][0] for partition in column.partitions)
            letters[column.partitions] = text
        keys.append((column.first, column.last, column.size, text, k))
    return keys


def to_segments(columns: Iterable[Column]) -> tuple[Segment, ...]:
    """Segments that consist of these columns."""
    segments: list[Segment] = []
    parts: list[tuple[int, int, Sequence[int]]] = []
    first = 0
    for column in sorted(columns, key=lambda c: c.first):
        first = column.first if column.opens else first
        parts.append((column.last - column.first + 1, column.size, column.partitions))
        if column.closes:
            segments.append(make_segment(first, parts))
            parts = []
    return tuple(segments)


def find_columns(
    columns: Sequence[Column], starting: Sequence[Sequence[int]], segments: Sequence[Segment]
) -> list[int] | None:
    """Columns of a schedule; None if some are not there.

    Where a schedule's own partitions are no column, the fastest ones that are take their place.
    """
    chosen: list[int] = []
    for segment in segments:
        for cluster in segment.clusters:
            opens = cluster is segment.clusters[0]
            closes = cluster is segment.clusters[-1]
            partitions = tuple(map(PARTITIONS.index, cluster.partitions))
            shape = (cluster.last_layer, cluster.chiplets, None if opens else partitions[0])
            fitting = [
                k
                for k in starting[cluster.first_layer]
                if (c := columns[k])[1:4] == shape
                and (c.opens, c.closes) == (opens, closes)
                and c.starts[0] <= segment.first_layer <= c.starts[1]
                and c.ends[0] <= segment.last_layer <= c.ends[1]
            ]
            if not fitting:
                return None

            def rank(k: int, wanted: tuple[int, ...] = partitions) -> tuple[bool, int]:
                return columns[k].partitions != wanted, columns[k].time_ps

            chosen.append(min(fitting, key=rank))
    return chosen
