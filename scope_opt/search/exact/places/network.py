"""Whole networks: the dynamic program over last layers, for segments that have places.

Segments do not influence each other, so with ``c(a, b)`` the least latency of a segment the optimum
is ``V(L)`` of ``V(b + 1) = min over a of V(a) + c(a, b)``. Segments are asked for in order of
``V(a)`` plus a lower bound, and only against the budget below which they matter.

Links that transfers share are left out of ``c``: they couple all clusters of a segment. So the
result of the program is a lower bound, proved without them, while every schedule that is found is
judged with them. If the best one found reaches the bound, it is proved with links as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scope_opt.model.tables import LIMIT
from scope_opt.schedule.bounds import best_cut, best_rest, segment_bounds
from scope_opt.search.exact.places.costs import CostTables
from scope_opt.search.exact.places.judge import Placed
from scope_opt.search.exact.places.segment import SegmentSearch
from scope_opt.search.stopping import SearchStopped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from scope_opt.model.tables import LatencyTables
    from scope_opt.schedule.schedule import Segment
    from scope_opt.search.allowed import Allowed
    from scope_opt.search.cuts import Learn
    from scope_opt.solving.monitor import Monitor

    Ints = NDArray[np.int64]
    Ends = tuple[int, int]


MOST_SEGMENTS = 16
"""In how many segments schedules are looked for that links lengthen less."""


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
        ends = _ends(placed)
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

    def budget(self, first: int, last: int, useful: int) -> int:
        """What a segment must cost less than to matter; ``useful`` bounds the layers to its end."""
        before = self.value[:, first] if self.count is None else self.value[:-1, first]
        target = self.value[:, last + 1] if self.count is None else self.value[1:, last + 1]
        reached = before < LIMIT
        room = np.minimum(target[reached], useful) - before[reached]
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


class PlacedProof:
    """Proves the optimum of a placed instance without shared links, and looks for it with them.

    Parameters
    ----------
    tables : LatencyTables
    space : Allowed
        What schedules may look like.
    clusters : tuple of int
        Fewest and most clusters per segment.
    count : int or None
        Number of segments, None for any.
    allowed : bool array, shape ``(L, L)``
        Which layers may be a segment.
    learn : Learn
        What finds schedules beside the proof and reports them to the monitor.
    judge : callable
        The segments of such a schedule as `Placed`.
    monitor : Monitor
    """

    def __init__(
        self,
        tables: LatencyTables,
        space: Allowed,
        clusters: tuple[int, int],
        count: int | None,
        allowed: NDArray[np.bool_],
        learn: Learn,
        judge: Callable[[Sequence[Segment]], list[Placed]],
        monitor: Monitor,
    ) -> None:
        self._tables, self._monitor, self._clusters = tables, monitor, clusters
        self._known = Known(tables.layers, count)
        self._prefixes = Prefixes(tables.layers, count)
        self._lower = segment_bounds(tables)
        self._lower[~allowed] = LIMIT
        self._lower = np.triu(self._lower)
        self._allowed = allowed
        self._rest = best_rest(self._lower)
        self._done = 0
        self._taken: tuple[Segment, ...] | None = None
        self._raise()
        self._space = space
        self._learn, self._judge = learn, judge

    def run(self) -> None:
        """Settle every last layer in turn; raises `SearchStopped`, with the bound so far."""
        try:
            self._take_found()
            if self._monitor.stopping:
                raise SearchStopped
            costs = CostTables(self._tables, self._space)
            self._search = SegmentSearch(self._tables, costs, self._clusters, self._monitor)
            self._begin()
            if self._most >= LIMIT:
                self._start(thorough=False)
            self._bound_segments()
            self._start(thorough=True)
            layers = self._tables.layers
            for last in range(layers):
                self._monitor.report(f"layer {last + 1} of {layers}", last / layers)
                self._take_found()
                self._settle(last)
                self._done = last + 1
                self._raise()
            self._reach_bound()
        except SearchStopped:
            self._raise()
            raise SearchStopped(self.bound()) from None
        finally:
            self._explain()

    def bound(self) -> int:
        """Lower bound on every schedule that is valid at any time, with links or without.

        A schedule continues one of the settled prefixes with a segment that ends later, and costs
        no less than the bounds of that segment and of the rest.
        """
        done = self._done
        if done == self._tables.layers:
            return min(self._most, self._prefixes.total)
        prefix = self._prefixes.value.min(axis=0)[: done + 1, None]
        ways = prefix + self._lower[: done + 1, done:] + self._rest[None, done + 1 :]
        return min(self._most, int(ways.min()))

    @property
    def floors(self) -> Ints:
        """Lower bounds on segments that hold with links or without, shape ``(L, L)``."""
        return self._lower

    @property
    def _most(self) -> int:
        return self._below(self._known.best(links=False))

    def _take_found(self) -> None:
        """Use the schedule that was found beside the proof, if there is a new one."""
        self._learn()
        segments = self._monitor.segments
        if segments is not None and segments is not self._taken:
            self._taken = segments
            for placed in self._judge(segments):
                self._add(placed)

    def _raise(self) -> None:
        if self.bound() < LIMIT:
            self._monitor.raise_bound(self.bound(), "recursion")

    def _add(self, placed: Placed) -> None:
        """Keep a segment's schedule, and report the network's best one if it got better."""
        self._known.add(placed)
        best = self._known.best(links=True)
        if best is not None:
            self._monitor.improve(best[0], [placed.segment for placed in best[1]])

    def _explain(self) -> None:
        """Say what the bound leaves out, where it is not reached."""
        best = self._known.best(links=True)
        if best is None or best[0] <= self.bound():
            return
        if self._done == self._tables.layers:
            self._monitor.give_up(
                [
                    f"proved without the links that transfers share: no schedule takes less than "
                    f"{self.bound() / 10**9:.6g} ms; with them the best one found takes "
                    f"{best[0] / 10**9:.6g} ms, and the bound leaves them out"
                ]
            )

    # --- The steps -------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Every layer by itself on the whole package, where that is allowed."""
        for layer in range(self._tables.layers):
            if self._monitor.stopping:
                raise SearchStopped
            if self._allowed[layer, layer]:
                alone = self._search.whole_package(layer)
                if alone is not None:
                    self._add(alone)

    def _open(self, first: int, last: int, budget: int) -> None:
        if self._monitor.stopping:
            raise SearchStopped
        self._search.open(first, last, budget)

    def _bound_segments(self) -> None:
        """Bounds from the relaxation for all segments that could be in a better schedule."""
        lower, layers = self._lower, self._tables.layers
        before = best_cut(lower)
        for last in range(layers - 1, -1, -1):
            self._monitor.report("bounds of segments", 0.0)
            self._take_found()
            for first in range(last, -1, -1):
                budget = self._most - int(before[first]) - int(self._rest[last + 1])
                if self._most >= LIMIT:
                    budget = min(budget, 8 * int(lower[first, last]))
                if lower[first, last] >= budget:
                    continue
                self._open(first, last, budget)
                found = self._search.bound()
                alone = self._known.without.get((first, last))
                if first == last and alone is not None:
                    found = min(found, alone.cost)
                lower[first, last] = max(lower[first, last], found)
            self._rest = best_rest(lower)
            self._raise()

    def _start(self, *, thorough: bool) -> None:
        """Solve the segments that look best by their bounds, or find any schedules of them."""
        layers, first = self._tables.layers, 0
        while first < layers:
            ways = self._lower[first, first:] + self._rest[first + 1 :]
            last = first + int(ways.argmin())
            if ways.min() >= LIMIT:
                return
            budget = 4 * int(self._lower[first, last])
            for _ in self._solve(first, last, budget):
                if not thorough:
                    break
            first = last + 1

    def _solve(self, first: int, last: int, budget: int) -> Iterator[Placed]:
        """Find a segment's best schedule below a budget; what is refuted raises its bound."""
        self._open(first, last, budget)
        for placed in self._search.settle():
            budget = placed.cost
            self._add(placed)
            yield placed
        # A layer alone on the whole package is known without being searched for.
        known = self._known.without.get((first, last))
        floor = budget if known is None else min(budget, known.cost)
        self._lower[first, last] = max(self._lower[first, last], floor)

    def _settle(self, last: int) -> None:
        """Find or refute all segments that end at a layer and can matter."""
        prefixes, known, lower = self._prefixes, self._known.without, self._lower
        for first in range(last + 1):
            if (first, last) in known:
                prefixes.add(first, last, known[first, last].cost)
        left = set(np.flatnonzero(self._allowed[: last + 1, last]).tolist())
        prefix = prefixes.value.min(axis=0)
        while left:
            first = min(left, key=lambda first: int(prefix[first] + lower[first, last]))
            left.remove(first)
            useful = self._most - int(self._rest[last + 1])
            budget = prefixes.budget(first, last, useful)
            if lower[first, last] >= budget:
                continue
            for placed in self._solve(first, last, budget):
                prefixes.add(first, last, placed.cost)

    def _reach_bound(self) -> None:
        """Look for schedules that links lengthen less: in the best segments, then in others."""
        tried: set[Ends] = set()
        while True:
            paths = [self._known.best(links=links) for links in (True, False)]
            ends = [_ends(placed) for path in paths if path is not None for placed in path[1]]
            whole = (0, self._tables.layers - 1)
            ends += [whole] if self._allowed[whole] else []
            left = [pair for pair in ends if pair not in tried] or self._alternatives(tried)
            if not left or self._linked <= self.bound():
                return
            pair = left[0]
            tried.add(pair)
            if len(tried) > MOST_SEGMENTS:
                return
            budget = self._linked - self._around(*pair)
            if pair in self._known.without:
                budget = min(budget, self._known.without[pair].cost)
            if self._lower[pair] < budget:
                for _ in self._solve(*pair, budget):
                    pass
            if pair in self._known.without:
                without, linked = self._known.of(pair)
                if linked.linked > without.cost:
                    self._open(*pair, linked.linked)
                    known = Placed(without.cost, linked.linked, without.segment)
                    for placed in self._search.load_links_less(known):
                        self._add(placed)

    @property
    def _linked(self) -> int:
        return self._below(self._known.best(links=True))

    def _below(self, best: tuple[int, list[Placed]] | None) -> int:
        """What a schedule must cost less than to matter."""
        cutoff = self._monitor.cutoff
        return min(LIMIT if best is None else best[0], LIMIT if cutoff is None else cutoff)

    def _around(self, first: int, last: int) -> int:
        """What the layers before and behind a segment cost at least."""
        return int(self._prefixes.value[:, first].min() + self._rest[last + 1])

    def _alternatives(self, tried: set[Ends]) -> list[Ends]:
        """Segments that could be in a better schedule, the most promising first."""
        layers = self._tables.layers
        prefix = self._prefixes.value.min(axis=0)[:layers, None]
        value = np.triu(prefix + self._lower + self._rest[None, 1:])
        pairs = np.argwhere(self._allowed & (value < self._linked))
        pairs = pairs[np.argsort(value[pairs[:, 0], pairs[:, 1]], kind="stable")]
        return [(a, b) for a, b in pairs.tolist() if (a, b) not in tried]


def _ends(placed: Placed) -> Ends:
    return placed.segment.first_layer, placed.segment.last_layer
