"""Proofs about segments: which of them beat a budget, and that no others do.

A segment ``[a, b]`` costs ``load + (m + k - 1) * beat`` with ``k`` clusters, so it beats a budget
only if its clusters all meet the time ``T(a, k) = (budget - 1 - load) / (m + k - 1)``. One run of
the recursion (`recursion`) at a time ``T`` says for every first layer ``a`` and
every ``k`` at once whether that is possible, and refutes all ``(a, k)`` with ``T(a, k) <= T`` for
which it is not. `Prover.settle` asks at few, coarse times first and at exact ones only where it
matters, until every ``(a, k)`` is refuted or has become the new budget.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scope_opt.model.tables import LIMIT
from scope_opt.schedule.bounds import layer_floors
from scope_opt.schedule.schedule import make_segment
from scope_opt.search.allowed import may_isp, may_wsp
from scope_opt.search.cuts import CostedSegment
from scope_opt.search.exact.inner import cluster_partitions, make_inner_times
from scope_opt.search.exact.recursion import (
    Labels,
    Run,
    Segments,
    make_coupling,
    make_labels,
    make_segments,
    slowest_cluster,
    solve_rows,
    trace,
)
from scope_opt.search.packed import FROM, TO
from scope_opt.search.stopping import SearchStopped
from scope_opt.search.times import (
    ISP,
    WSP,
    cluster_time,
    copy_fits,
    free_bytes,
    opening_times,
    segment_latency,
)
from scope_opt.search.workers import ONE_WORKER, Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from scope_opt.model.tables import LatencyTables
    from scope_opt.search.allowed import Allowed
    from scope_opt.search.packed import PackedTables

    Ints = NDArray[np.int64]

STEPS = (0.5, 0.15, 0.05, 0.015, 0.005, 0.0015, 0.0)
"""Ratios by which the tested times fall within a sweep; each sweep is finer than the last."""
ROW_WORK = 2**21
"""Labels that are computed between two looks at the clock, where that is possible."""
EXACT_BELOW = 0.06
"""Sweeps at least this fine account for the DRAM reads that open a segment."""


@dataclass
class _Room:
    """Labels of a run, which no other run may use at the same time."""

    common: Labels
    """Of segments from any layer on"""
    opened: Labels
    """Of one segment, only of layers that read from before it"""


class Prover:
    """Finds the segments that beat a budget, and proves that no others do.

    Parameters
    ----------
    tables : LatencyTables
    packed : PackedTables
        The same, packed.
    allowed : Allowed
        What schedules may look like.
    clusters : tuple of int
        Fewest and most clusters per segment.
    limit_ps : int
        Bound on the beat of every segment that can matter.
    workers : Workers, optional
        Asked whether to stop before every run of the recursion. All but the making of a prover may
        be done by several of them at once.
    """

    def __init__(
        self,
        tables: LatencyTables,
        packed: PackedTables,
        allowed: Allowed,
        clusters: tuple[int, int],
        limit_ps: int,
        workers: Workers = ONE_WORKER,
    ) -> None:
        self.tables, self.allowed, self.clusters = tables, allowed, clusters
        self.packed = packed
        self._coupling = make_coupling(self.packed, allowed)
        self._workers = workers
        self._limit = limit_ps
        layers = tables.layers
        self.most = min(clusters[1], layers, tables.chiplets)
        self.shared = make_inner_times(
            self.packed, self._coupling.least, allowed, limit_ps, workers
        )
        self._zeros = np.zeros(layers + 1, dtype=np.int64)
        least = layer_floors(tables)[0] * np.arange(1, tables.chiplets + 1)
        self._work = np.concatenate([[0], np.cumsum(least.min(axis=1))])
        # Last layer that a segment starting at each layer still reads from before it.
        self._reach = np.arange(layers)
        for edge in self.packed.edges:
            for first in range(edge[FROM] + 1, edge[TO] + 1):
                self._reach[first] = max(self._reach[first], edge[TO])
        self._rooms: list[_Room] = []
        """Those that no run uses now"""

    def narrow(self, most: int) -> None:
        """Leave out segments of more clusters than that; before any is searched.

        Labels take room for every number of clusters.
        """
        self.most = min(self.most, max(most, self.clusters[0]))

    @contextmanager
    def _room(self) -> Iterator[_Room]:
        try:
            room = self._rooms.pop()
        except IndexError:
            layers, size = self.tables.layers, (self.tables.chiplets, self.most)
            reach = int((self._reach - np.arange(layers)).max())
            room = _Room(make_labels(layers + 1, *size), make_labels(reach + 1, *size))
        try:
            yield room
        finally:
            self._rooms.append(room)

    def segments_ending_at(self, last: int, budgets: Ints | None = None) -> Segments:
        """Tables of the segments with that last layer, or those of them below their budgets."""
        limit = self._limit
        if budgets is not None:
            room = budgets - 1 - self.tables.load_ps[: last + 1, last]
            beats = max(1, self.tables.samples + self.clusters[0] - 1)
            limit = min(limit, max(0, int(room.max()) // beats))
        # Work of its own, perhaps of one of the workers.
        alone = Workers(stopping=self._workers.stopping)
        return make_segments(
            *(self.packed, self._coupling, self.allowed, self.shared, last, limit, alone)
        )

    def whole_package(self, layer: int) -> CostedSegment | None:
        """The segment of one layer on every chiplet, whose weights may be of any size."""
        packed, chiplets = self.packed, self.tables.chiplets
        possible = self.allowed.regions[layer, chiplets] and self.allowed.clusters[layer, layer]
        if self.clusters[0] > 1 or not possible:
            return None
        weights = int(self.tables.weight_bytes[layer])
        room = free_bytes(packed.weight_buffer_bytes, chiplets, weights, True)
        fits = copy_fits(packed.layers, layer, chiplets, room)
        choice = self.allowed.choice[layer]
        may = {ISP: may_isp(choice, fits), WSP: may_wsp(choice, fits)}
        best: CostedSegment | None = None
        for own in (own for own in (ISP, WSP) if may[own]):
            partition = np.full(layer + 1, own, dtype=np.int8)
            time = cluster_time(packed, layer, layer, layer, layer, weights, chiplets, 0, partition)
            cost = self._cost(layer, layer, 1, time)
            if best is None or cost < best.cost:
                best = CostedSegment(cost, make_segment(layer, [(1, chiplets, [own])]))
        return best

    def settle(
        self,
        segments: Segments,
        least: Ints,
        least_beats: Ints,
        budgets: Callable[[], Ints],
        improve: Callable[[int, CostedSegment], None],
        progress: Callable[[Ints], None] | None = None,
    ) -> Ints:
        """Find or refute every segment ``[a, last]`` that costs less than ``budgets()[a]``.

        Parameters
        ----------
        segments : Segments
            Of one last layer.
        least : int64 array, shape ``(last + 1,)``
            Lower bound on the latency of each segment.
        least_beats : int64 array, shape ``(last + 1,)``
            Lower bound on the beat of each, whatever its number of clusters.
        budgets : callable
            Current budgets in ps, shape ``(last + 1,)``; 0 where the segment does not matter.
        improve : callable
            Told ``(a, found)`` for every segment found below its budget; must lower the budget.
        progress : callable, optional
            Given the refuted beats, as returned, after every run.

        Returns
        -------
        int64 array, shape ``(last + 1, K + 1)``
            The largest beat known impossible for each first layer and number of clusters.
        """
        tables, last = self.tables, segments.last
        first = np.arange(last + 1)[:, None]
        k = np.arange(self.most + 1)[None, :]
        fewest = self.clusters[0]
        sensible = (k >= fewest) & (k >= 1) & (k <= last - first + 1)
        dram = tables.segment_dram_ps[: last + 1, last]
        load = tables.load_ps[: last + 1, last]
        beats = np.maximum(tables.samples + k - 1, 1)
        refuted: Ints = np.maximum(-(-(least - load)[:, None] // beats), least_beats[:, None]) - 1
        np.maximum(refuted, -1, out=refuted)

        def open_below(ceiling: int) -> tuple[Ints, NDArray[np.bool_]]:
            asked = np.minimum((budgets()[:, None] - 1 - load[:, None]) // beats, self._limit)
            alive = sensible & (asked > refuted) & (asked >= dram[:, None]) & (asked < ceiling)
            return asked, alive

        never = np.iinfo(np.int64).max
        asked, alive = open_below(never)
        spread = (asked[alive] / np.maximum(refuted, dram[:, None] - 1)[alive].clip(1)).max(
            initial=1
        )
        for step in STEPS:
            if step > 0 and 1 + step > spread:
                continue
            ceiling, lucky = never, False
            while True:
                asked, alive = open_below(ceiling)
                if not alive.any():
                    break
                limit = int(asked[alive].max())
                if step == 0 and lucky:
                    # Another schedule was found at the largest time: look far below it at once.
                    limit -= (limit - int(refuted[alive & (asked == limit)].max())) // 2
                targets = alive & (asked >= limit / (1 + step))
                before = budgets().copy()
                with self._room() as room:
                    self._run(room, segments, limit, targets, refuted, step, budgets, improve)
                lucky = not lucky and bool((budgets() < before).any())
                if progress is not None:
                    progress(refuted)
                if step > 0:
                    ceiling = int(limit / (1 + step))
        return refuted

    def _run(
        self,
        room: _Room,
        segments: Segments,
        limit: int,
        targets: NDArray[np.bool_],
        refuted: Ints,
        step: float,
        budgets: Callable[[], Ints],
        improve: Callable[[int, CostedSegment], None],
    ) -> None:
        """One run of the recursion at ``limit``, then what it did not refute.

        First layers whose best number of clusters beats their budget are taken at once, the
        largest gain first. In fine sweeps every target is looked at with its own opening reads.
        """
        starts = np.flatnonzero(targets.any(axis=1))
        most = int(np.flatnonzero(targets.any(axis=0))[-1])
        last = segments.last
        run = self._ask(room.common, segments, limit, most, int(starts[0]))
        run = run._replace(reserved=self._reserved(starts, last, limit))
        run = self._solve(run)
        room.common = run.labels
        impossible = self._refute(run, starts, refuted)
        possible = np.logical_not(impossible)
        possible[:, : self.clusters[0]] = False
        values = np.where(possible, self._values(starts, last, limit, most), LIMIT).min(axis=1)
        left = np.any(targets[starts, : most + 1] & possible, axis=1).tolist()
        for index in np.argsort(values - budgets()[starts], kind="stable").tolist():
            first = int(starts[index])
            if (left[index] and step < EXACT_BELOW) or values[index] < budgets()[first]:
                self._open(room, run, first, refuted, budgets, improve)

    def _open(
        self,
        room: _Room,
        run: Run,
        first: int,
        refuted: Ints,
        budgets: Callable[[], Ints],
        improve: Callable[[int, CostedSegment], None],
    ) -> None:
        """Redo the layers of one segment that read from before it, and take its best schedule."""
        run = run._replace(
            top=min(int(self._reach[first]), run.segments.last),
            bottom=first,
            reads=opening_times(self.packed, first),
            reserved=self._zeros,
            labels=room.opened._replace(first=first),
        )
        run = self._solve(run)
        room.opened = run.labels
        impossible = self._refute(run, np.array([first]), refuted)
        counts = np.flatnonzero(~impossible[0])
        counts = counts[counts >= self.clusters[0]]
        if len(counts):
            # All meet the limit, so the fewest cost least.
            found = self._found(run, int(counts[0]))
            if found.cost < budgets()[first]:
                improve(first, found)

    def _ask(self, labels: Labels, segments: Segments, limit: int, most: int, bottom: int) -> Run:
        """A run for all segments from ``bottom`` on, their opening reads left out."""
        return Run(
            times=self.packed.times,
            coupling=self._coupling,
            segments=segments,
            limit=limit,
            clusters=most,
            top=segments.last,
            bottom=bottom,
            reads=self._zeros,
            reserved=self._zeros,
            known=labels,
            labels=labels,
        )

    def _reserved(self, starts: Ints, last: int, limit: int) -> Ints:
        """Chiplets that the layers before each need from the nearest of ``starts`` on.

        Only the rows of ``starts`` are complete then: the others serve a segment that began
        earlier.
        """
        nearest = np.searchsorted(starts, np.arange(last + 2), side="right") - 1
        work = self._work[: last + 2] - self._work[starts[np.maximum(nearest, 0)]]
        needed: Ints = -(-np.maximum(work, 0) // max(limit, 1))
        return np.minimum(needed, self.tables.chiplets)

    def _solve(self, run: Run) -> Run:
        # Few rows at a time where they are large, so as to look at the clock in between.
        rows = max(1, ROW_WORK // (self.tables.chiplets * run.clusters))
        return solve_rows(run, rows, self._pause)

    def _pause(self) -> None:
        if self._workers.stopping():
            raise SearchStopped

    def _refute(self, run: Run, starts: Ints, refuted: Ints) -> NDArray[np.bool_]:
        """Record which segments no number of chiplets allows; shape ``(starts, k)``."""
        most = run.clusters
        impossible = np.asarray(
            run.labels.best[starts - run.labels.first, : most + 1] > self.tables.chiplets
        )
        part = refuted[starts, : most + 1]
        refuted[starts, : most + 1] = np.where(impossible, np.maximum(part, run.limit), part)
        impossible[:, 0] = True
        return impossible

    def _found(self, run: Run, clusters: int) -> CostedSegment:
        """The schedule behind a label of a run's bottom row, with the beat it really has."""
        first, last = run.bottom, run.segments.last
        path = trace(run, clusters)
        partition = np.zeros(self.tables.layers, dtype=np.int8)
        for cluster in path:
            cluster_partitions(self.packed, self.allowed, last, cluster, partition)
        slowest = slowest_cluster(self.packed, first, last, path, partition)
        parts = [
            (int(j - i + 1), int(r), [int(p) for p in partition[i : j + 1]])
            for i, j, r, _, _ in path
        ]
        return CostedSegment(self._cost(first, last, clusters, slowest), make_segment(first, parts))

    def _cost(self, first: int, last: int, clusters: int, slowest: int) -> int:
        load, dram = self.tables.load_ps[first, last], self.tables.segment_dram_ps[first, last]
        return int(segment_latency(load, dram, self.tables.samples, clusters, slowest))

    def _values(self, starts: Ints, last: int, limit: int, most: int) -> Ints:
        """Cost of each segment and number of clusters if the slowest cluster takes ``limit``."""
        beat = np.maximum(self.tables.segment_dram_ps[starts, last], limit)
        load = self.tables.load_ps[starts, last]
        steps = self.tables.samples + np.arange(most + 1) - 1
        values: Ints = load[:, None] + steps[None, :] * beat[:, None]
        return values
