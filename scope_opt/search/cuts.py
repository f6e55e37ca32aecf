"""Where to cut a network into segments: shortest paths over the layers.

A cut is a path from layer 0 to the end, and a segment ``[a, b]`` an arc from ``a`` to ``b + 1``.
`shortest_cut` takes the costs of all arcs, `Prefixes` those that a search finds out one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from scope_opt.model.compiled import compiled
from scope_opt.model.tables import LIMIT
from scope_opt.schedule.bounds import best_cut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from scope_opt.schedule.schedule import Schedule, Segment
    from scope_opt.search.packed import Floats, Ints
    from scope_opt.solving.solver import SegmentChoice

    Flags = NDArray[np.bool_]


def segment_ends(starts: Sequence[int], layers: int) -> list[tuple[int, int]]:
    """First and last layer of each segment, from the first layers."""
    return [(first, following - 1) for first, following in pairwise((*starts, layers))]


def other_segments(schedule: Schedule, choice: SegmentChoice) -> str:
    """Why a schedule has not the segments asked for; empty if it has. Any are ``balanced`` here."""
    firsts = tuple(segment.first_layer for segment in schedule.segments)
    wanted = (0,) if choice == "single" else choice
    if wanted in ("dp", "balanced", len(firsts), firsts):
        return ""
    return f"segments start at layers {list(firsts)}, asked for {choice!r}"


@compiled
def shortest_cut(costs: Ints | Floats, count: int, none: int | float) -> tuple[int | float, Ints]:
    """Least total cost of all layers in ``count`` segments (0: any number), and their first layers.

    ``costs[a, b]`` is the cost of segment ``[a, b]``, ``none`` if it cannot be one; the result is
    ``none`` if there is no cut. Costs may be floats, then ``none`` is one. Of equal cuts the one
    whose segments begin earliest is taken, from the last segment backwards.
    """
    layers = len(costs)
    rows = max(1, count)
    prefix = np.full((rows + 1, layers + 1), none)
    origin = np.zeros((rows + 1, layers + 1), dtype=np.int64)
    prefix[0, 0] = 0
    for row in range(1, rows + 1):
        if count == 0:
            prefix[1, 0] = 0
        for after in range(1, layers + 1):
            for first in range(after):
                before = prefix[row if count == 0 else row - 1, first]
                if before < none and costs[first, after - 1] < none:
                    total = before + costs[first, after - 1]
                    if total < prefix[row, after]:
                        prefix[row, after], origin[row, after] = total, first
    starts = np.zeros(layers, dtype=np.int64)
    found, row, after = 0, rows, layers
    if prefix[rows, layers] < none:
        while after > 0:
            after = origin[row, after]
            starts[found] = after
            found += 1
            if count > 0:
                row -= 1
    return prefix[rows, layers], starts[:found][::-1].copy()


def best_ends(costs: Ints) -> set[tuple[int, int]]:
    """Segments of the best cuts of the layers up to each one: first layer, and that behind them.

    ``costs[a, b]`` is the cost of segment ``[a, b]``, `LIMIT` if none is known.
    """
    best = best_cut(costs)
    ends = set()
    for after in range(1, len(best)):
        if best[after] < LIMIT:
            ends.add((int(np.argmin(best[:after] + costs[:after, after - 1])), after))
    return ends


@dataclass(frozen=True)
class CostedSegment:
    """A segment's schedule and its latency in ps, weight loading included."""

    cost: int
    segment: Segment


Learn = Callable[[], list[CostedSegment]]
"""Asked often during a proof for segments that were found beside it."""


def total_cost(segments: Sequence[CostedSegment]) -> int:
    """Latency of a whole schedule, `LIMIT` for none."""
    return sum(found.cost for found in segments) if segments else LIMIT


def possible_segments(layers: int, starts: Sequence[int] | None) -> Flags:
    """(L, L) whether ``a..b`` may be a segment: any, or exactly those between ``starts``."""
    if starts is None:
        return np.triu(np.ones((layers, layers), dtype=np.bool_))
    possible = np.zeros((layers, layers), dtype=np.bool_)
    for ends in segment_ends(starts, layers):
        possible[ends] = True
    return possible


class Prefixes:
    """Best schedules of prefixes of a network, in any number of segments.

    ``value[e]`` is the least latency found for layers ``0..e-1``.
    """

    def __init__(self, layers: int) -> None:
        self.value = np.full(layers + 1, LIMIT, np.int64)
        self.value[0] = 0
        self._last: dict[int, Segment] = {}

    def add(self, first: int, last: int, found: CostedSegment) -> None:
        """Use a segment if it improves the prefix that it ends."""
        if self.value[first] >= LIMIT:
            return
        total = int(self.value[first]) + found.cost
        if total < self.value[last + 1]:
            self.value[last + 1] = total
            self._last[last + 1] = found.segment

    def whole(self) -> tuple[int, tuple[Segment, ...]] | None:
        """The schedule of all layers with its latency; None if none was found."""
        end = len(self.value) - 1
        total = int(self.value[end])
        if total >= LIMIT:
            return None
        chosen: list[Segment] = []
        while end > 0:
            chosen.append(self._last[end])
            end = chosen[-1].first_layer
        return total, tuple(reversed(chosen))
