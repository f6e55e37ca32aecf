"""Labels in which a cluster has a price in chiplets: how many clusters a beat asks for at least.

The fewest clusters within a beat ``T`` take a label for every position. A bound takes less: let a
cluster cost its chiplets and a price ``w`` more. If the layers of a segment cost at least ``F(w)``
in clusters within ``T``, then ``k`` clusters on ``C`` chiplets, which cost ``C + k w`` at most, are
``k >= (F(w) - C) / w``. That holds for every price, and near the best one it is nearly the fewest
clusters. Regions are in classes of sizes (`sizes`) and keep what makes a hand-over slow: the sizes
of both and, where phases are told apart, where they lie.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.model.compiled import compiled, loop
from scope_opt.search.exact.places.labels import NEVER, cluster_partitions, inner_times
from scope_opt.search.exact.places.sizes import LeastTables
from scope_opt.search.packed import pack_tables
from scope_opt.search.stopping import SearchStopped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from scope_opt.model.tables import LatencyTables
    from scope_opt.search.allowed import Allowed
    from scope_opt.search.exact.places.sizes import Classes, LeastCosts
    from scope_opt.solving.monitor import Monitor

    Ints = NDArray[np.int64]
    Costs = NDArray[np.int32]
    Shorts = NDArray[np.int16]
    Bytes = NDArray[np.int8]

UNKNOWN = 2**30
"""Stands for "not within the beat, or for more than anybody asks for" among costs."""

AT_ONCE = 2**23
"""Clusters, their phases and beats that are looked at between two looks at the clock."""


class Priced(NamedTuple):
    """Least costs of the layers from each on; ``g`` beats and prices, ``s`` phases, ``n`` classes.

    The last phase stands for all of them.
    """

    cost: Costs
    """(g, L+1, s, n, 2) by the first region and its first partition"""
    order: Shorts
    """(g, L+1, s, 2, n) classes by cost"""
    number: Costs
    """(g, L+1, s, 2) how many of them there are"""


def make_priced(beats: int, layers: int, phases: int, classes: int) -> Priced:
    """Room for so much."""
    return Priced(
        np.full((beats, layers + 1, phases, classes, 2), UNKNOWN, dtype=np.int32),
        np.zeros((beats, layers + 1, phases, 2, classes), dtype=np.int16),
        np.zeros((beats, layers + 1, phases, 2), dtype=np.int32),
    )


@loop
def _sort(cost: Costs, p: int, most: int, order: Shorts) -> int:
    """Put classes that cost at most ``most`` with partition ``p`` in order; how many they are."""
    found = 0
    for c in range(len(cost)):
        if cost[c, p] > most:
            continue
        at = found
        while at > 0 and cost[order[at - 1], p] > cost[c, p]:
            order[at] = order[at - 1]
            at -= 1
        order[at] = c
        found += 1
    return found


@loop
def _least_behind(
    priced: Priced,
    costs: LeastCosts,
    classes: Classes,
    g: int,
    j: int,
    phase: int,
    c: int,
    base: int,
    slack: int,
    best: int,
) -> int:
    """Least cost, if below ``best``, of the layers behind ``j``, which is handed over in time.

    The cluster that ends with ``j`` is of class ``c`` and begins in a phase.
    """
    after = classes.after[phase, c]
    order, cost = priced.order[g, j + 1, after - base], priced.cost[g, j + 1, after - base]
    for q in range(2):
        gathered = costs.wanted[j] if q == 0 else 0
        for index in range(priced.number[g, j + 1, after - base, q]):
            d = order[q, index]
            if cost[d, q] >= best:
                break
            load = costs.travel[j] * classes.scatter[phase, c, d]
            load += gathered * classes.gather[after, d]
            if load * costs.ps_per_byte <= slack:
                best = cost[d, q]
                break
    return int(best)


@compiled
def price_rows(
    costs: LeastCosts,
    classes: Classes,
    base: int,
    beats: Ints,
    prices: Ints,
    most: Ints,
    top: int,
    bottom: int,
    inner: Ints,
    priced: Priced,
) -> None:
    """Fill the rows of layers ``top`` down to ``bottom``, those behind them being filled.

    ``beats`` ascend, each with a price and the ``most`` that a cost is asked for. Phases count
    from ``base`` on.
    """
    first, last = costs.first, costs.last
    phases = priced.cost.shape[2]
    told_apart = max(1, phases - 1)
    reads, compute, writes = costs.reads, costs.compute, costs.writes
    low, high = classes.low, classes.high
    path = np.empty((last + 2, 4), dtype=np.int64)
    fits = np.empty(last + 2, dtype=np.bool_)
    for i in range(top, max(bottom, first) - 1, -1):
        priced.cost[:, i] = UNKNOWN
        for s in range(told_apart):
            for c in range(len(low)):
                if not costs.regions[i, c] or classes.gather[base + s, c] == np.inf:
                    continue
                row = s * len(low) + c
                reached = inner_times(
                    costs, i, c, low[c], high[c], row, beats[-1], reads, True, path, fits, inner
                )
                for x in range(reached):
                    j = i + x
                    for pq in range(4):
                        if inner[x, pq] >= NEVER:
                            continue
                        time = inner[x, pq] + reads[j + 1] - reads[i]
                        least = time + max(compute[j, c, pq & 1], writes[j])
                        for g in range(len(beats) - 1, -1, -1):
                            if least > beats[g]:
                                break
                            own = low[c] + prices[g]
                            best = priced.cost[g, i, s, c, pq >> 1] - own
                            if j == last:
                                best = min(best, 0)
                            else:
                                slack = beats[g] - time - writes[j]
                                best = _least_behind(
                                    priced, costs, classes, g, j, base + s, c, base, slack, best
                                )
                            priced.cost[g, i, s, c, pq >> 1] = best + own
        for g in range(len(beats)):
            for s in range(told_apart):
                if phases > 1:
                    for c in range(len(low)):
                        for p in range(2):
                            value = min(priced.cost[g, i, -1, c, p], priced.cost[g, i, s, c, p])
                            priced.cost[g, i, -1, c, p] = value
            for s in range(phases):
                for p in range(2):
                    priced.number[g, i, s, p] = _sort(
                        priced.cost[g, i, s], p, most[g], priced.order[g, i, s, p]
                    )


@compiled
def follow(
    costs: LeastCosts,
    classes: Classes,
    base: int,
    g: int,
    beat: int,
    inner: Ints,
    priced: Priced,
    clusters: Ints,
    partition: Bytes,
) -> int:
    """Clusters that the labels of a beat lead to, from position 0 on, each of its smallest size.

    Sets their first and last layers and sizes, and partitions; returns how many they are, 0 if
    the labels lead to none. What they cost where they lie is another question.
    """
    first, last, reads = costs.first, costs.last, costs.reads
    told_apart = max(1, priced.cost.shape[2] - 1)
    low, sizes = classes.low, len(classes.low)
    path = np.empty((last + 2, 4), dtype=np.int64)
    fits = np.empty(last + 2, dtype=np.bool_)
    i, s, c, p, best = first, 0, 0, 0, UNKNOWN
    for d in range(sizes):
        for then in range(2):
            if priced.cost[g, first, 0, d, then] < best:
                best, c, p = priced.cost[g, first, 0, d, then], d, then
    found = 0
    while best < UNKNOWN:
        row = s * sizes + c
        reached = inner_times(
            costs, i, c, low[c], low[c], row, beat, reads, True, path, fits, inner
        )
        after, best, j, q, following, then = (s + low[c]) % told_apart, UNKNOWN, i, p, 0, 0
        for x in range(reached):
            for own in range(2):
                if inner[x, 2 * p + own] >= NEVER:
                    continue
                time = inner[x, 2 * p + own] + reads[i + x + 1] - reads[i]
                if time + max(costs.compute[i + x, c, own], costs.writes[i + x]) > beat:
                    continue
                if i + x == last:
                    best, j, q = 0, last, own
                    break
                slack = beat - time - costs.writes[i + x]
                behind = priced.cost[g, i + x + 1, after]
                for d in range(sizes):
                    for other in range(2):
                        if behind[d, other] >= best:
                            continue
                        load = costs.travel[i + x] * classes.scatter[base + s, c, d]
                        if other == 0:
                            load += costs.wanted[i + x] * classes.gather[base + after, d]
                        if load * costs.ps_per_byte <= slack:
                            best, j, q = behind[d, other], i + x, own
                            following, then = d, other
        if best >= UNKNOWN:
            break
        cluster_partitions(costs, i, j, c, low[c], low[c], row, p, q, partition)
        clusters[found, 0], clusters[found, 1], clusters[found, 2] = i, j, low[c]
        found += 1
        if j == last:
            return found
        i, s, c, p = j + 1, after, following, then
    return 0


class Level:
    """Labels of one segment after the other, with phases told apart or without."""

    def __init__(
        self, tables: LatencyTables, space: Allowed, classes: Classes, *, by_phase: bool
    ) -> None:
        layers, phases = tables.layers, len(classes.after) - 1
        told_apart = range(phases) if by_phase else range(phases, phases + 1)
        self._base = told_apart.start
        self._phases = phases + 1 if by_phase else 1
        kernel = pack_tables(tables).places
        self._least = LeastTables(tables, space, kernel, classes, told_apart)
        self._classes, self._layers, self._chiplets = classes, layers, tables.chiplets
        least = kernel.compute_ps[:, :, 1:].min(axis=(1, 2))
        self._computations = np.concatenate([[0], np.cumsum(least)])
        self._priced = make_priced(0, layers, self._phases, len(classes.low))
        self._inner = np.empty((1, 4), dtype=np.int64)
        self._done = layers
        self._ends: tuple[int, int] | None = None

    def ask(self, beats: Ints, prices: Ints, clusters: Ints) -> None:
        """Beats for segments to be opened, ascending, each with a price and most clusters."""
        layers = self._layers
        if len(beats) > len(self._priced.cost):
            self._priced = make_priced(len(beats), layers, self._phases, len(self._classes.low))
        self._beats, self._prices = beats, prices
        self._most = self._chiplets + prices * clusters
        total = self._computations
        ends = np.searchsorted(total, total[:-1] + beats[-1], side="right") - 1
        longest = max(1, int((np.minimum(ends, layers) - np.arange(layers)).max()))
        if longest > len(self._inner):
            self._inner = np.empty((longest, 4), dtype=np.int64)
        self._ends = None

    def open(self, first: int, last: int, until: int, monitor: Monitor) -> Ints:
        """Fewest clusters of a segment with each beat, at least; more than most where too many.

        Of every segment that ends from ``last`` to ``until``.

        Rows that are as before are kept, from one first layer to the one before it best. Raises
        `SearchStopped`.
        """
        costs, top = self._least.segment(first, last, until)
        self._costs = costs
        if (last, until) != self._ends:
            top, self._ends = last, (last, until)
        else:
            top = max(top, self._done - 1)
        self._done = last + 1
        grid = len(self._beats)
        cost, order, number = self._priced
        priced = Priced(cost[:grid], order[:grid], number[:grid])
        regions = self._phases * len(self._classes.low)
        rows = max(1, AT_ONCE // (grid * regions * len(self._inner)))
        while top >= first:
            if monitor.stopping:
                self._ends = None
                raise SearchStopped
            bottom = max(first, top - rows + 1)
            price_rows(
                costs,
                self._classes,
                self._base,
                self._beats,
                self._prices,
                self._most,
                top,
                bottom,
                self._inner,
                priced,
            )
            top = bottom - 1
        self._done = first
        # A segment begins at position 0.
        least = np.minimum(priced.cost[:, first, 0].min(axis=(1, 2)), self._most + 1)
        clusters: Ints = -((self._chiplets - least) // self._prices)
        return np.maximum(clusters, 1)

    def follow(self) -> Iterator[tuple[list[tuple[int, int, int]], Bytes]]:
        """Clusters of the segment opened last, for each beat and price that labels lead to some.

        First and last layer and size of each, and the partitions of all layers.
        """
        clusters = np.empty((self._layers, 3), dtype=np.int64)
        for g, beat in enumerate(self._beats.tolist()):
            partition = np.zeros(self._layers + 1, dtype=np.int8)
            found = follow(
                self._costs,
                self._classes,
                self._base,
                g,
                beat,
                self._inner,
                self._priced,
                clusters,
                partition,
            )
            if found:
                yield [(i, j, r) for i, j, r in clusters[:found].tolist()], partition
