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


class Prefixes:
    """Best schedules of prefixes of a network, for given numbers of segments or any number.

    ``value[n, e]`` is the least latency found for layers ``0..e-1`` in ``n`` segments (in any
    number: a single row). ``allowed[a, b]`` says whether ``a..b`` may be a segment: all of them,
    or exactly those between consecutive ``starts``.
    """

    def __init__(
        self, layers: int, count: int | None = None, starts: Sequence[int] | None = None
    ) -> None:
        self.count = count
        self.value = np.full((1 if count is None else count + 1, layers + 1), LIMIT, np.int64)
        self.value[0, 0] = 0
        self._last: dict[tuple[int, int], tuple[int, Segment]] = {}
        self.allowed: Flags = np.triu(np.ones((layers, layers), dtype=np.bool_))
        if starts is not None:
            self.allowed[:] = False
            for ends in segment_ends(starts, layers):
                self.allowed[ends] = True

    @property
    def best(self) -> int:
        """Least latency of a complete schedule, `LIMIT` if none was found."""
        return int(self.value[-1, -1])

    def budgets(self, last: int, most: int) -> Ints:
        """What a segment ``[a, last]`` must cost less than to matter; 0 where it cannot.

        ``most`` bounds the useful latency of the layers up to ``last``.
        """
        prefix = self.value if self.count is None else self.value[:-1]
        target = self.value if self.count is None else self.value[1:]
        room = np.minimum(target[:, last + 1], most)[:, None] - prefix[:, : last + 1]
        room[prefix[:, : last + 1] >= LIMIT] = 0
        best: Ints = np.where(self.allowed[: last + 1, last], room.max(axis=0), 0)
        return np.maximum(best, 0)

    def add(self, first: int, last: int, found: CostedSegment) -> None:
        """Use a segment wherever it improves a prefix."""
        for row in range(len(self.value)):
            before = row if self.count is None else row - 1
            if before < 0 or self.value[before, first] >= LIMIT:
                continue
            total = int(self.value[before, first]) + found.cost
            if total < self.value[row, last + 1]:
                self.value[row, last + 1] = total
                self._last[row, last + 1] = (first, found.segment)

    def segments(self, row: int, end: int) -> tuple[int, tuple[Segment, ...]] | None:
        """The schedule behind ``value[row, end]``, with that value."""
        if row < 0 or self.value[row, end] >= LIMIT:
            return None
        total = int(self.value[row, end])
        chosen: list[Segment] = []
        while end > 0:
            end, segment = self._last[row, end]
            chosen.append(segment)
            row = row if self.count is None else row - 1
        return total, tuple(reversed(chosen))
