"""Schedules as sets of columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.model.tables import PARTITIONS
from scope_opt.schedule.schedule import make_segment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from formulations.columns.columns import Columns
    from scope_opt.schedule.schedule import Segment

    Partitions = Sequence[tuple[int, ...]]
    """Of the layers of each column"""


class SegmentColumn(NamedTuple):
    """Layers ``first..last`` as a segment of so many clusters."""

    first: int
    last: int
    clusters: int


def column_keys(columns: Columns, partitions: Partitions) -> list[tuple[int, int, int, str, int]]:
    """First and last layer, chiplets, partitions (``I`` or ``W`` per layer) and a running number.

    Variables of columns are named after them; the number tells apart what only differs in
    surroundings.
    """
    letters = {some: "".join(PARTITIONS[p][0] for p in some) for some in set(partitions)}
    rows = zip(columns.runs, columns.size.tolist(), partitions, strict=True)
    return [(*run, size, letters[some], k) for k, (run, size, some) in enumerate(rows)]


def to_segments(columns: Columns, partitions: Partitions) -> tuple[Segment, ...]:
    """Segments that consist of these columns."""
    segments: list[Segment] = []
    parts: list[tuple[int, int, Sequence[int]]] = []
    first = 0
    for k in np.argsort(columns.first).tolist():
        if columns.opens[k]:
            first = int(columns.first[k])
        parts.append((len(partitions[k]), int(columns.size[k]), partitions[k]))
        if columns.closes[k]:
            segments.append(make_segment(first, parts))
            parts = []
    return tuple(segments)


def find_columns(
    columns: Columns, partitions: Partitions, segments: Sequence[Segment]
) -> list[int] | None:
    """Columns of a schedule; None if some are not there.

    Where a schedule's own partitions are no column, the fastest ones that are take their place.
    """
    c = columns
    chosen: list[int] = []
    for segment in segments:
        begin, end = segment.first_layer, segment.last_layer
        for cluster in segment.clusters:
            opens = cluster is segment.clusters[0]
            wanted = tuple(map(PARTITIONS.index, cluster.partitions))
            fits = (c.first == cluster.first_layer) & (c.last == cluster.last_layer)
            fits &= (c.size == cluster.chiplets) & (c.opens == opens)
            fits &= c.closes == (cluster is segment.clusters[-1])
            fits &= (c.start_low <= begin) & (begin <= c.start_high)
            fits &= (c.end_low <= end) & (end <= c.end_high)
            if not opens:
                fits &= c.partition == wanted[0]
            some = np.flatnonzero(fits).tolist()
            if not some:
                return None
            own = [k for k in some if partitions[k] == wanted]
            chosen.append(min(own or some, key=lambda k: int(c.time_ps[k])))
    return chosen
