"""Whole networks: the dynamic program over last layers, for segments that have places.

Segments do not influence each other, so with ``c(a, b)`` the least latency of a segment the optimum
is ``V(L)`` of ``V(b + 1) = min over a of V(a) + c(a, b)``. Segments are asked for in order of
``V(a)`` plus a lower bound, and only against the budget below which they matter.

Links that transfers share are left out of ``c``: they couple all clusters of a segment. So the
result of the program is a lower bound, proved without them, while every schedule that is found is
judged with them. If the best one found reaches the bound, it is proved with links as well.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.model.tables import LIMIT
from scope_opt.schedule.bounds import best_around, cuts_before, cuts_behind, join_cuts
from scope_opt.search.equal import equal_segments
from scope_opt.search.exact.places.bounds import PricedBounds
from scope_opt.search.exact.places.costs import CostTables
from scope_opt.search.exact.places.judge import Judge, Placed
from scope_opt.search.exact.places.known import Known, Prefixes, ends_of
from scope_opt.search.exact.places.segment import SegmentSearch
from scope_opt.search.packed import pack_tables
from scope_opt.search.stopping import SearchStopped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from scope_opt.model.tables import LatencyTables
    from scope_opt.schedule.schedule import Segment
    from scope_opt.search.allowed import Allowed
    from scope_opt.search.cuts import Learn
    from scope_opt.search.equal import EqualSegments
    from scope_opt.solving.monitor import Monitor

    Ints = NDArray[np.int64]
    Ends = tuple[int, int]


MOST_SEGMENTS = 16
"""In how many segments schedules are looked for that links lengthen less."""

MANY_CHIPLETS = 512
"""From so many on segments are bounded with prices first; on fewer, labels soon know more."""

FEW_LABELS, MOST_LABELS = 2**28, 5 * 2**29
"""Bytes of labels up to which they are begun with at once, and up to which there are any."""


class Pass(NamedTuple):
    """How all segments are bounded before those that look best."""

    share: float
    """Of all layers, how many last layers at a time; the fewer, the sharper"""
    most: int
    """How many at most"""
    step: float
    """Ratio of the beats at which that is done, less 1"""
    few: float
    """Where fewer segments than so many for each layer would be bounded, they are left out"""

    def lasts(self, layers: int) -> int:
        """How many last layers at a time."""
        return max(1, min(self.most, int(self.share * layers)))


PASSES = Pass(0.05, 64, 0.3, 0.0), Pass(0.025, 8, 0.1, 0.05)
ONE_BY_ONE = Pass(0.0, 1, 0.3, 0.0)
"""Where not all clusters are allowed; see `PricedBounds.any_clusters`."""


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
    bounds : int64 array, shape ``(L, L)``
        Lower bounds on the latencies of segments, `LIMIT` where layers may not be one.
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
        bounds: Ints,
        learn: Learn,
        judge: Callable[[Sequence[Segment]], list[Placed]],
        monitor: Monitor,
    ) -> None:
        self._tables, self._monitor, self._clusters = tables, monitor, clusters
        self._count = count
        self._known = Known(tables.layers, count)
        self._prefixes = Prefixes(tables.layers, count)
        self._beats = (bounds - tables.load_ps) // tables.samples
        self._lower = np.triu(bounds)
        self._alone = Judge(tables, pack_tables(tables).places)
        self._priced: PricedBounds | None = None
        self._possible = np.triu(bounds < LIMIT)
        self._sharp: tuple[dict[int, list[tuple[int, int]]], ...] = ({}, {})
        """What is known of segments that are bounded as well as they can be without labels, phases
        not told apart or told apart; by the number of `EqualSegments`."""
        self._rest = cuts_behind(self._lower, count)
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
            self._begin()
            if self._most >= LIMIT:
                self._start(thorough=False)
            self._bound_segments()
            if self._priced is not None:
                self._sharpen_cut(by_phase=False)
                if self._label_bytes > FEW_LABELS:
                    self._sharpen_cut(by_phase=True)
            if self._label_bytes > MOST_LABELS:
                self._go_without_labels()
                return
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
        outside = join_cuts(self._prefixes.value[:, : done + 1], self._rest[:, done + 1 :])
        return min(self._most, int((outside + self._lower[: done + 1, done:]).min()))

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
            if self._possible[layer, layer] and self._clusters[0] == 1:
                alone = self._alone.whole_package(layer, self._space)
                if alone is not None:
                    self._add(alone)

    @cached_property
    def _equal(self) -> EqualSegments:
        return equal_segments(pack_tables(self._tables), self._space, self._possible)

    @cached_property
    def _search(self) -> SegmentSearch:
        costs = CostTables(self._tables, self._space)
        return SegmentSearch(self._tables, costs, self._clusters, self._monitor)

    def _open(self, first: int, last: int, budget: int) -> None:
        if self._monitor.stopping:
            raise SearchStopped
        self._search.open(first, last, budget)

    def _bound_segments(self) -> None:
        """Bounds for all segments that could be in a better schedule."""
        if self._tables.chiplets < MANY_CHIPLETS or not PricedBounds.possible(self._tables):
            self._search_whole()
            self._bound_each()
            return
        self._priced = PricedBounds(self._tables, self._space, self._clusters, self._monitor)
        if FEW_LABELS < self._label_bytes <= MOST_LABELS:
            self._sharpen_known()
        for each in PASSES if self._priced.any_clusters else (ONE_BY_ONE,):
            self._bound_all(self._priced, each)

    def _bound_all(self, priced: PricedBounds, how: Pass) -> None:
        """Bound segments of any length that end with one layer after the other."""
        layers = self._tables.layers
        number = how.lasts(layers)
        # At the last of equal ones: few last layers are left then.
        budgets = self._equal.gather_last(self._budgets())
        for last in range(layers - 1, -1, -number):
            self._monitor.report("bounds of segments", 0.0)
            self._take_found()
            until = min(layers, last + number) - 1
            ends = slice(last + 1), slice(last, until + 1)
            below = (self._lower[ends] < budgets[ends]).any(axis=1)
            if below.sum() <= how.few * last:
                continue
            priced.sharpen_all(self._lower, budgets, self._beats, how.step, last, until)
            self._lower = self._equal.spread(self._lower)
            self._rest = cuts_behind(self._lower, self._count)
            self._raise()

    def _budgets(self) -> Ints:
        """What each segment must cost less than to be in a better schedule."""
        lower = self._lower
        budgets = self._most - best_around(lower, self._count)
        if self._most >= LIMIT:
            budgets = np.minimum(budgets, 8 * lower)
        for (first, last), alone in self._known.without.items():
            # A layer alone on the whole package has a better schedule than bounds know of.
            if first == last:
                budgets[first, last] = min(budgets[first, last], alone.cost)
        return np.where(self._possible, budgets, 0)

    def _search_whole(self) -> None:
        """Find the best schedule with a single segment: often good, and free ones are no worse."""
        whole = 0, self._tables.layers - 1
        budget = int(self._budgets()[whole])
        if self._most < LIMIT and self._lower[whole] < budget and self._label_bytes <= MOST_LABELS:
            self._monitor.report("one segment", 0.0)
            for _ in self._solve(*whole, budget):
                pass
            self._rest = cuts_behind(self._lower, self._count)

    def _bound_each(self) -> None:
        """Bounds from the relaxation, of one segment after the other."""
        lower, layers = self._lower, self._tables.layers
        before = cuts_before(lower, self._count)
        for last in range(layers - 1, -1, -1):
            self._monitor.report("bounds of segments", 0.0)
            self._take_found()
            outside = join_cuts(before[:, : last + 1], self._rest[:, last + 1 : last + 2])
            for first in range(last, -1, -1):
                budget = self._most - int(outside[first, 0])
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
            self._rest = cuts_behind(lower, self._count)
            self._raise()

    def _sharpen(self, first: int, last: int, budget: int, *, by_phase: bool) -> None:
        """Bound a segment as well as that can be done without labels, once."""
        ends = first, last
        alike, number = self._equal.like(ends), self._equal.number(ends)
        if number in self._sharp[by_phase]:
            return
        alone = self._known.without.get(ends) if first == last else None

        def tell(bound: int) -> None:
            least = bound if alone is None else min(bound, alone.cost)
            self._lower[alike] = np.maximum(self._lower[alike], least)
            self._rest = cuts_behind(self._lower, self._count)
            self._raise()
            self._take_found()

        floor = int(self._beats[ends])
        assert self._priced is not None
        known = self._priced.sharpen(*ends, budget, floor, tell, by_phase=by_phase)
        self._sharp[by_phase][number] = known
        if by_phase:
            for clusters, partition in self._priced.schedules(*ends, known):
                if self._alone.allows(clusters, partition, self._space):
                    self._add(self._alone.judge(clusters, partition))

    def _sharpen_known(self) -> None:
        """Bound the segments of the best schedule: these labels may lead to better ones."""
        best = self._known.best(links=True)
        for first, last in map(ends_of, [] if best is None else best[1]):
            if first < last:
                self._monitor.report("bounds of segments", 0.0)
                budget = int(self._budgets()[first, last])
                self._sharpen(first, last, budget, by_phase=True)

    def _sharpen_cut(self, *, by_phase: bool) -> None:
        """Bound the segments of the cut that looks best by their bounds, until none is left."""
        while self.bound() < self._most:
            sharp = self._sharp[by_phase]
            left = [ends for ends in self._promising() if self._equal.number(ends) not in sharp]
            if not left:
                return
            before = cuts_before(self._lower, self._count)
            for first, last in left:
                self._monitor.report("bounds of segments", 0.0)
                outside = join_cuts(before[:, [first]], self._rest[:, [last + 1]])
                budget = min(self._most - int(outside[0, 0]), 8 * int(self._lower[first, last]))
                self._sharpen(first, last, budget, by_phase=by_phase)

    def _promising(self) -> list[Ends]:
        """Segments of the cut that looks best by its bounds; none if there is no cut."""
        first, row, layers = 0, len(self._rest) - 1, self._tables.layers
        segments: list[Ends] = []
        while first < layers:
            row = max(0, row - 1)
            ways = self._lower[first, first:] + self._rest[row, first + 1 :]
            if ways.min() >= LIMIT:
                return []
            last = first + int(ways.argmin())
            segments.append((first, last))
            first = last + 1
        return segments

    @property
    def _label_bytes(self) -> int:
        """What labels of the longest segment that can matter take, with counts of scatters."""
        firsts, lasts = np.nonzero(self._possible & (self._lower < self._budgets()))
        longest = int((lasts - firsts).max(initial=-1)) + 1
        assert self._tables.placed is not None
        phases, sizes = self._tables.placed.gather.shape
        return int(sizes**2 * (4 * phases + longest * (4 + 4 * self._clusters[0])))

    def _go_without_labels(self) -> None:
        """Find schedules as long as there is time; bounds are as good as they get."""
        learned = self._monitor.objective
        limits = self._monitor.left_s, self._monitor.cpu_left_s
        while limits != (None, None) and not self._monitor.stopping:
            self._take_found()
            if self._monitor.objective == learned:
                break
            learned = self._monitor.objective
        gibibytes = self._label_bytes / 2**30
        if self.bound() < self._linked:
            self._monitor.give_up(
                [
                    f"bounded, not proved: labels for every position of {self._tables.chiplets} "
                    f"chiplets would take {gibibytes:.0f} GiB, more than the "
                    f"{MOST_LABELS / 2**30:.0f} GiB that are used for them"
                ]
            )

    def _start(self, *, thorough: bool) -> None:
        """Solve the segments that look best by their bounds, or find any schedules of them."""
        for first, last in self._promising():
            budget = 4 * int(self._lower[first, last])
            for _ in self._solve(first, last, budget):
                if not thorough:
                    break

    def _solve(self, first: int, last: int, budget: int) -> Iterator[Placed]:
        """Find a segment's best schedule below a budget; what is refuted raises its bound."""
        beats: list[tuple[int, int]] = []
        if self._priced is not None:
            self._sharpen(first, last, budget, by_phase=True)
            if self._lower[first, last] >= budget:
                return
            beats = self._sharp[True].get(self._equal.number((first, last)), [])
        self._open(first, last, budget)
        for placed in self._search.settle(beats):
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
        left = set(np.flatnonzero(self._possible[: last + 1, last]).tolist())
        prefix = prefixes.value.min(axis=0)
        while left:
            first = min(left, key=lambda first: int(prefix[first] + lower[first, last]))
            left.remove(first)
            useful = self._most - self._rest[::-1, last + 1]
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
            ends = [ends_of(placed) for path in paths if path is not None for placed in path[1]]
            whole = (0, self._tables.layers - 1)
            ends += [whole] if self._possible[whole] else []
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
        outside = join_cuts(self._prefixes.value[:, [first]], self._rest[:, [last + 1]])
        return int(outside[0, 0])

    def _alternatives(self, tried: set[Ends]) -> list[Ends]:
        """Segments that could be in a better schedule, the most promising first."""
        layers = self._tables.layers
        outside = join_cuts(self._prefixes.value[:, :layers], self._rest[:, 1:])
        value = np.triu(outside + self._lower)
        pairs = np.argwhere(self._possible & (value < self._linked))
        pairs = pairs[np.argsort(value[pairs[:, 0], pairs[:, 1]], kind="stable")]
        return [(a, b) for a, b in pairs.tolist() if (a, b) not in tried]
