"""Lower bounds on segments of placed instances without a label for every position.

A segment with ``k`` clusters costs ``load + (m + k - 1) * beat``. Between two beats it needs at
least the clusters that the upper one asks for (`priced`), and has more than the lower one as its
beat.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.model.tables import LIMIT
from scope_opt.search.exact.places.priced import Level
from scope_opt.search.exact.places.sizes import make_classes
from scope_opt.search.packed import pack_tables
from scope_opt.search.stopping import SearchStopped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from scope_opt.model.tables import LatencyTables
    from scope_opt.search.allowed import Allowed
    from scope_opt.solving.monitor import Monitor

    Ints = NDArray[np.int64]
    Bytes = NDArray[np.int8]

MOST_PHASES = 64
"""With more of them there are no such bounds: sizes of regions say little of where they lie."""

PRICES = (0.5, 1.0, 2.5, 20.0)
"""Prices that are tried, in chiplets that each of the most useful clusters has on average."""

FINE_PRICES = (0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
LARGER = (1.0, 1.01, 1.02, 1.03, 1.04, 1.06, 1.08)
"""Prices, and factors on beats, with which schedules are looked for."""

COARSE, FINE = 0.01, 0.002
"""How far apart beats are before phases are told apart, and when a bound is sharp enough."""

TOO_MANY = 2**30
"""Stands for more clusters than there may be, or than can be of use."""

BATCH = 4
"""So many beats of a segment are looked at together, as times inside clusters serve them all."""


class PricedBounds:
    """Lower bounds on segments, of many at once and sharper ones of single segments.

    Parameters
    ----------
    tables : LatencyTables
        Of a placed instance, in whose order of positions few phases recur (`possible`).
    space : Allowed
        What schedules may look like.
    clusters : tuple of int
        Fewest and most clusters per segment.
    monitor : Monitor
        Asked whether to stop; what is known then raises `SearchStopped`.
    """

    def __init__(
        self, tables: LatencyTables, space: Allowed, clusters: tuple[int, int], monitor: Monitor
    ) -> None:
        self._tables, self._space, self._monitor = tables, space, monitor
        self._fewest, self._most = clusters[0], min(clusters[1], tables.layers, tables.chiplets)
        assert tables.placed is not None
        tables.placed.halos(self._pause)
        self._classes = make_classes(pack_tables(tables).places, tables.chiplets, self._pause)
        self._anywhere = Level(tables, space, self._classes, by_phase=False)
        self._by_phase: Level | None = None

    @staticmethod
    def possible(tables: LatencyTables) -> bool:
        """Whether there are such bounds."""
        return tables.placed is not None and len(tables.placed.gather) <= MOST_PHASES

    @property
    def any_clusters(self) -> bool:
        """Whether any layers may be a cluster.

        Only then are those of a longer segment, without its last layers, clusters as well, so that
        bounds of several last layers can be asked for at once.
        """
        return bool(self._space.clusters[np.triu_indices(self._tables.layers)].all())

    def _pause(self) -> None:
        if self._monitor.stopping:
            raise SearchStopped

    def sharpen_all(
        self, lower: Ints, budgets: Ints, beats: Ints, step: float, last: int, until: int
    ) -> None:
        """Raise the bounds of segments that end from ``last`` to ``until``, all at once.

        Those that begin up to ``last`` and are below their budgets; what layers behind ``last``
        cost is left out. More than one last layer needs `any_clusters`. ``beats`` are lower
        bounds on beats, shape ``(L, L)``; those tried are a factor ``1 + step`` apart.
        """
        below = lower[: last + 1, last : until + 1] < budgets[: last + 1, last : until + 1]
        firsts = np.flatnonzero(below.any(axis=1))
        if not len(firsts):
            return
        ends = np.ix_(firsts, np.arange(last, until + 1))
        samples, load = self._tables.samples, self._tables.load_ps[ends]
        room, floors = budgets[ends] - 1 - load, np.maximum(beats[ends], 1)
        limits = room // (samples + self._fewest - 1)
        low, high = int(floors[below[firsts]].min()), int(limits[below[firsts]].max())
        found = budgets[ends]
        if low <= high:
            number = 2 + int(np.log(high / low) / np.log1p(step))
            beat = np.append(np.geomspace(low, high, number).astype(np.int64)[:-1], high)
            beat = np.unique(np.maximum(beat, low))
            # Above a beat are at least these beats, and at most so many clusters are of use then.
            above = np.append(0, beat[:-1]) + 1
            starts = np.maximum(above[:, None, None], floors)
            useful = np.clip((room // starts - samples + 1).max(axis=(1, 2)), 1, self._most)
            self._ask(self._anywhere, beat, useful)
            for index in range(len(firsts) - 1, -1, -1):
                clusters = self._clusters(self._anywhere, int(firsts[index]), last, until)
                fewest = np.maximum(clusters, self._fewest)[:, None]
                possible = (starts[:, index] <= limits[index]) & (fewest <= useful[:, None])
                latency = load[index] + (samples + fewest - 1) * starts[:, index]
                least = np.where(possible, latency, LIMIT).min(axis=0)
                found[index] = np.minimum(found[index], least)
        lower[ends] = np.maximum(lower[ends], found)

    def sharpen(
        self,
        first: int,
        last: int,
        budget: int,
        floor: int,
        tell: Callable[[int], None],
        *,
        by_phase: bool,
    ) -> list[tuple[int, int]]:
        """Bound a segment whose beat is at least ``floor`` as well as these bounds can.

        That takes much longer if phases are told apart. ``tell`` hears of bounds as they rise, at
        most to the budget. Returns beats and the fewest clusters within each.
        """
        load, samples = int(self._tables.load_ps[first, last]), self._tables.samples
        limit, floor = (budget - 1 - load) // (samples + self._fewest - 1), max(floor, 1)
        if limit < floor:
            tell(budget)
            return []
        if by_phase and self._by_phase is None:
            self._by_phase = Level(self._tables, self._space, self._classes, by_phase=True)
        known: list[tuple[int, int]] = []
        queue: list[_Between] = []

        def put(above: int, beat: int, clusters: int, sharp: bool) -> None:
            latency = load + (samples + clusters - 1) * (above + 1)
            heappush(queue, _Between(latency, above, beat, clusters, sharp))

        def settled(one: _Between) -> bool:
            return one.latency >= budget or (one.sharp >= by_phase and not one.wide)

        def ask(level: Level | None, asked: list[tuple[_Between, int]]) -> list[int]:
            above = np.array([one.above for one, _ in asked])
            beats = np.array([beat for _, beat in asked])
            # More clusters cost the budget.
            useful = np.clip((budget - 1 - load) // (above + 1) - samples + 1, 1, self._most)
            order = np.argsort(beats, kind="stable")
            assert level is not None
            self._ask(level, beats[order], useful[order])
            fewest = np.array([one.clusters for one, _ in asked])
            fewest[order] = np.maximum(fewest[order], self._clusters(level, first, last, last))
            known.extend(zip(beats.tolist(), fewest.tolist(), strict=True))
            return list(np.where(fewest > useful, TOO_MANY, fewest).tolist())

        put(floor - 1, limit, self._fewest, False)
        while True:
            tell(min(budget, queue[0].latency))
            batch: list[_Between] = []
            while queue and len(batch) < BATCH and not settled(queue[0]):
                batch.append(heappop(queue))
            if not batch:
                return known
            wide = [(one, (one.above + one.beat) // 2) for one in batch if one.wide]
            if wide:
                for (one, middle), below in zip(wide, ask(self._anywhere, wide), strict=True):
                    put(one.above, middle, below, False)
                    put(middle, one.beat, one.clusters, one.sharp)
            narrow = [(one, one.beat) for one in batch if not one.wide]
            if narrow:
                for (one, beat), clusters in zip(narrow, ask(self._by_phase, narrow), strict=True):
                    put(one.above, beat, clusters, True)

    def schedules(
        self, first: int, last: int, known: Sequence[tuple[int, int]]
    ) -> Iterator[tuple[list[tuple[int, int, int]], Bytes]]:
        """Clusters that labels with phases lead to, near the best of the beats that `sharpen` told.

        First and last layer and size of each, and the partitions of all layers. They fit the
        package and nearly keep to a beat; side constraints they may break.
        """
        if self._by_phase is None or not known:
            return
        samples, load = self._tables.samples, int(self._tables.load_ps[first, last])
        told = np.array(sorted(known, reverse=True))
        # Within a smaller beat there are no fewer clusters.
        fewest = np.maximum.accumulate(told[:, 1])
        latency = np.where(fewest <= self._most, load + (samples + fewest - 1) * told[:, 0], LIMIT)
        best = int(latency.argmin())
        beats = np.unique((told[best, 0] * np.array(LARGER)).astype(np.int64))
        useful = np.full(len(beats), min(self._most, 2 * int(fewest[best])))
        self._ask(self._by_phase, beats, useful, FINE_PRICES)
        self._by_phase.open(first, last, last, self._monitor)
        for clusters, partition in self._by_phase.follow():
            fits = sum(size for _, _, size in clusters) <= self._tables.chiplets
            if fits and self._fewest <= len(clusters) <= self._most:
                yield clusters, partition

    def _ask(
        self, level: Level, beats: Ints, useful: Ints, per_cluster: Sequence[float] = PRICES
    ) -> None:
        """Ask for clusters within each beat, with all prices; more than useful need not be told."""
        prices = np.outer(self._tables.chiplets / useful, per_cluster)
        prices = np.maximum(1, prices).astype(np.int64).reshape(-1)
        count = len(per_cluster)
        level.ask(np.repeat(beats, count), prices, np.repeat(useful, count))

    def _clusters(self, level: Level, first: int, last: int, until: int) -> Ints:
        """Fewest clusters of a segment within each beat, by the best price; see `Level.open`."""
        found = level.open(first, last, until, self._monitor)
        clusters: Ints = found.reshape(-1, len(PRICES)).max(axis=1)
        return clusters


class _Between(NamedTuple):
    """Schedules of a segment whose beat is between two; in order of the least latency."""

    latency: int
    above: int
    """A beat that all of them exceed"""
    beat: int
    """A beat that none exceeds"""
    clusters: int
    """How many they have at least"""
    sharp: bool
    """Whether phases were told apart"""

    @property
    def wide(self) -> bool:
        """Whether the two beats are too far apart."""
        apart = FINE if self.sharp else COARSE
        return self.beat - self.above > max(1, int(self.beat * apart))
