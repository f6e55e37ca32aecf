"""The best schedules found of segments, and what they make of the layers up to each one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scope_opt.model.tables import LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from scope_opt.search.exact.places.judge import Placed

    Ends = tuple[int, int]
    Ints = NDArray[np.int64]


def ends_of(placed: Placed) -> Ends:
    """First and last layer of a segment."""
    return placed.segment.first_layer, placed.segment.last_layer


class Known:
    """The best schedules found of each segment: without links, and with them."""

    def __init__(self, layers: int, count: int | None) -> None:
        """``count``: the number of segments, None for any."""
        self._layers, self._count = layers, count
        self.without: dict[Ends, Placed] = {}
        self._linked: dict[Ends, Placed] = {}
        self._best: dict[bool, tuple[int, list[Placed]] | None] = {}

    def add(self, placed: Placed) -> None:
        """Keep a schedule if it is better than those of the same segment."""
        ends = ends_of(placed)
        if ends not in self.without or placed.cost < self.without[ends].cost:
            self.without[ends] = placed
            self._best.pop(False, None)
        if ends not in self._linked or placed.linked < self._linked[ends].linked:
            self._linked[ends] = placed
            self._best.pop(True, None)

    def of(self, ends: Ends) -> tuple[Placed, Placed]:
        """The best schedule found of a segment without links, and with them."""
        return self.without[ends], self._linked[ends]

    def best(self, *, links: bool) -> tuple[int, list[Placed]] | None:
        """The best schedule of the network that they make, with its latency."""
        if links not in self._best:
            self._best[links] = self._make(links=links)
        return self._best[links]

    def _make(self, *, links: bool) -> tuple[int, list[Placed]] | None:
        known = self._linked if links else self.without
        cost: Callable[[Placed], int] = (
            (lambda placed: placed.linked) if links else (lambda placed: placed.cost)
        )
        prefixes = Prefixes(self._layers, self._count)
        for ends in sorted(known, key=lambda ends: ends[1]):
            prefixes.add(*ends, cost(known[ends]))
        return prefixes.path(known)


class Prefixes:
    """Least cost of the layers before each one.

    ``value[n, e]`` is that of layers ``0..e-1`` in ``n`` segments; in any number, a single row.
    """

    def __init__(self, layers: int, count: int | None) -> None:
        self.count = count
        self.value = np.full((1 if count is None else count + 1, layers + 1), LIMIT, np.int64)
        self.value[0, 0] = 0
        self._first: dict[tuple[int, int], int] = {}

    @property
    def total(self) -> int:
        """Least cost of all layers, `LIMIT` if there is none."""
        return int(self.value[-1, -1])

    def budget(self, first: int, last: int, useful: Ints) -> int:
        """What a segment must cost less than to matter.

        ``useful[n]`` is what the layers to its end must cost less than, in ``n`` segments.
        """
        row = slice(None) if self.count is None else slice(1, None)
        before = self.value[: len(self.value[row]), first]
        reached = before < LIMIT
        target = np.minimum(self.value[row, last + 1], useful[row])
        room = target[reached] - before[reached]
        return int(room.max(initial=0))

    def add(self, first: int, last: int, cost: int) -> None:
        """Use a segment wherever it improves a prefix."""
        for row in range(len(self.value)):
            before = row if self.count is None else row - 1
            if before < 0 or self.value[before, first] >= LIMIT:
                continue
            total = int(self.value[before, first]) + cost
            if total < self.value[row, last + 1]:
                self.value[row, last + 1] = total
                self._first[row, last + 1] = first

    def path(self, known: dict[Ends, Placed]) -> tuple[int, list[Placed]] | None:
        """The segments behind the total."""
        if self.total >= LIMIT:
            return None
        row, end = len(self.value) - 1, self.value.shape[1] - 1
        chosen: list[Placed] = []
        while end > 0:
            first = self._first[row, end]
            chosen.append(known[first, end - 1])
            end, row = first, row if self.count is None else row - 1
        return self.total, chosen[::-1]
