"""Proofs about segments: which of them beat a budget, and that no others do.

A segment ``[a, b]`` costs ``load + (m + k - 1) * beat`` with ``k`` clusters, so it beats a budget
only if its clusters all meet the time ``T(a, k) = (budget - 1 - load) / (m + k - 1)``. One run of
the recursion (`recursion`) at a time ``T`` says for every first layer ``a`` and
every ``k`` at once whether that is possible, and refutes all ``(a, k)`` with ``T(a, k) <= T`` for
which it is not. `Prover.settle` asks at few, coarse times first and at exact ones only where it
matters, until every ``(a, k)`` is refuted or has become the new budget.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scope_opt.model.tables import LIMIT
from scope_opt.schedule.bounds import layer_floors
from scope_opt.schedule.schedule import make_segment
from scope_opt.search.exact.recursion import (
    FREE,
    ONLY_ISP,
    ONLY_WSP,
    WSP_IF_FITS,
    Segments,
    Space,
    closing_costs,
    cluster_partitions,
    make_costs,
    make_coupling,
    make_labels,
    opening_reads,
    slowest_cluster,
    solve_rows,
    trace,
)
from scope_opt.search.kernels import FROM, TO, make_kernel

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from scope_opt.model.instance import Constraints
    from scope_opt.model.tables import LatencyTables
    from scope_opt.schedule.schedule import Segment
    from scope_opt.search.exact.recursion import Labels
    from scope_opt.solving.monitor import Monitor

    Ints = NDArray[np.int64]

STEPS = (0.5, 0.15, 0.05, 0.015, 0.005, 0.0015, 0.0)
"""Ratios by which the tested times fall within a sweep; each sweep is finer than the last."""
EXACT_BELOW = 0.06
"""Sweeps at least this fine account for the DRAM reads that open a segment."""


class Stopped(Exception):
    """The monitor asked to stop; carries the lower bound in ps that holds all the same."""

    def __init__(self, bound_ps: int | None = None) -> None:
        super().__init__("stopped")
        self.bound_ps = bound_ps


@dataclass(frozen=True)
class Found:
    """A segment's schedule and its latency in ps, weight loading included."""

    cost: int
    segment: Segment


def make_space(constraints: Constraints, layers: int, chiplets: int) -> Space:
    """Search space of an instance's side constraints; cluster counts are kept by the prover."""
    clusters = np.triu(np.ones((layers, layers), dtype=np.bool_))
    for layer in constraints.forbidden_merges or ():
        clusters[: layer + 1, layer + 1 :] = False
    for layer in constraints.required_merges or ():
        clusters[:, layer] = False
        clusters[layer + 1, :] = False
    sizes = np.arange(chiplets + 1)
    allowed = sizes >= 1
    if constraints.region_multiple is not None:
        allowed &= sizes % constraints.region_multiple == 0
    if constraints.max_region is not None:
        allowed &= sizes <= constraints.max_region
    choice = np.full(layers, FREE, dtype=np.int8)
    for fixed in constraints.fixed_partitions or ():
        choice[fixed.layer] = ONLY_WSP if fixed.partition == "WSP" else ONLY_ISP
    return Space(clusters, np.tile(allowed, (layers, 1)), choice)


class Prover:
    """Finds the segments that beat a budget, and proves that no others do.

    Parameters
    ----------
    tables : LatencyTables
    space : Space
        What schedules may look like.
    clusters : tuple of int
        Fewest and most clusters per segment.
    limit_ps : int
        Bound on the beat of every segment that can matter.
    monitor : Monitor
        Asked whether to stop before every run of the recursion.
    """

    def __init__(
        self,
        tables: LatencyTables,
        space: Space,
        clusters: tuple[int, int],
        limit_ps: int,
        monitor: Monitor,
    ) -> None:
        self.tables, self.space, self.clusters = tables, space, clusters
        self.kernel = make_kernel(tables)
        self._coupling = make_coupling(self.kernel)
        self._monitor = monitor
        self._limit = limit_ps
        layers = tables.layers
        self._most = min(clusters[1], layers, tables.chiplets)
        self._costs = make_costs(self.kernel, self._coupling, space, layers - 1, 0, limit_ps)
        self._labels = make_labels(layers, tables.chiplets, self._most)
        self._opened = make_labels(layers, tables.chiplets, self._most)
        self._zeros = np.zeros(layers + 1, dtype=np.int64)
        least = layer_floors(tables)[0] * np.arange(1, tables.chiplets + 1)
        self._work = np.concatenate([[0], np.cumsum(least.min(axis=1))])
        self.runs = 0
        # Last layer that a segment starting at each layer still reads from before it.
        self._reach = np.arange(layers)
        for edge in self.kernel.edges:
            for first in range(edge[FROM] + 1, edge[TO] + 1):
                self._reach[first] = max(self._reach[first], edge[TO])

    def segments_ending_at(self, last: int) -> Segments:
        """Tables of the segments with that last layer."""
        edges = self.kernel.edges
        crossing = edges[(edges[:, FROM] <= last) & (edges[:, TO] > last), FROM]
        split = min([last, *crossing.tolist()])
        ending = make_costs(self.kernel, self._coupling, self.space, last, split, self._limit)
        return Segments(last, self._costs, ending, closing_costs(self.kernel, last))

    def whole_package(self, layer: int) -> Found | None:
        """The segment of one layer on every chiplet, whose weights may be of any size."""
        kernel, chiplets = self.kernel, self.tables.chiplets
        allowed = self.space.regions[layer, chiplets] and self.space.clusters[layer, layer]
        if self.clusters[0] > 1 or not allowed:
            return None
        room = max(
            0, self.tables.weight_buffer_bytes * chiplets - int(self.tables.weight_bytes[layer])
        )
        fits = int(self.tables.weight_bytes[layer]) * (chiplets - 1) <= room
        reads = opening_reads(kernel, layer)
        closing = closing_costs(kernel, layer)[layer, chiplets]
        best: Found | None = None
        for partition in (0, 1):
            if partition == 1 and (not fits or self.space.choice[layer] == ONLY_ISP):
                continue
            if partition == 0 and self.space.choice[layer] == ONLY_WSP:
                continue
            if partition == 0 and self.space.choice[layer] == WSP_IF_FITS and fits:
                continue
            time = max(int(self.tables.compute_ps[layer, partition, chiplets]), int(closing))
            time += int(reads[layer + 1] - reads[layer])
            cost = self._cost(layer, layer, 1, time)
            if best is None or cost < best.cost:
                best = Found(cost, make_segment(layer, [(1, chiplets, [partition])]))
        return best

    def settle(
        self,
        segments: Segments,
        least_beat: Ints,
        budgets: Callable[[], Ints],
        improve: Callable[[int, Found], None],
        progress: Callable[[Ints], None] | None = None,
    ) -> Ints:
        """Find or refute every segment ``[a, last]`` that costs less than ``budgets()[a]``.

        Parameters
        ----------
        segments : Segments
            Of one last layer.
        least_beat : int64 array, shape ``(last + 1,)``
            Lower bound on the beat of each segment.
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
        k = np.arange(self._most + 1)[None, :]
        fewest = self.clusters[0]
        sensible = (k >= fewest) & (k >= 1) & (k <= last - first + 1)
        refuted = np.repeat(np.maximum(least_beat - 1, -1)[:, None], self._most + 1, axis=1)
        dram = tables.segment_dram_ps[: last + 1, last]
        load = tables.load_ps[: last + 1, last]
        beats = tables.samples + k - 1
        for step in STEPS:
            ceiling = np.iinfo(np.int64).max
            while True:
                asked = (budgets()[:, None] - 1 - load[:, None]) // np.maximum(beats, 1)
                asked = np.minimum(asked, self._limit)
                alive = sensible & (asked > refuted) & (asked >= dram[:, None]) & (asked < ceiling)
                if not alive.any():
                    break
                limit = int(asked[alive].max())
                targets = alive & (asked >= limit / (1 + step))
                self._run(segments, limit, targets, refuted, step, budgets, improve)
                if progress is not None:
                    progress(refuted)
                if step > 0:
                    ceiling = int(limit / (1 + step))
        return refuted

    def _run(
        self,
        segments: Segments,
        limit: int,
        targets: NDArray[np.bool_],
        refuted: Ints,
        step: float,
        budgets: Callable[[], Ints],
        improve: Callable[[int, Found], None],
    ) -> None:
        """One run of the recursion at ``limit``, then what it did not refute.

        First layers whose best number of clusters beats their budget are taken at once, the
        largest gain first. In fine sweeps every target is looked at with its own opening reads.
        """
        starts = np.flatnonzero(targets.any(axis=1))
        lowest, most = int(starts[0]), int(np.flatnonzero(targets.any(axis=0))[-1])
        last = segments.last
        # Only the targets' own rows are complete: the others serve a segment that began earlier.
        nearest = np.searchsorted(starts, np.arange(last + 2), side="right") - 1
        work = self._work[: last + 2] - self._work[starts[np.maximum(nearest, 0)]]
        reserved = np.minimum(-(-np.maximum(work, 0) // max(limit, 1)), self.tables.chiplets)
        self._rows(segments, self._zeros, reserved, last, lowest, limit, most, self._labels)
        impossible = self._refute(self._labels, starts, limit, most, refuted)
        possible = np.logical_not(impossible)
        possible[:, : self.clusters[0]] = False
        values = np.where(possible, self._values(starts, last, limit, most), LIMIT).min(axis=1)
        left = np.any(targets[starts, : most + 1] & possible, axis=1).tolist()
        for index in np.argsort(values - budgets()[starts], kind="stable").tolist():
            first = int(starts[index])
            if (left[index] and step < EXACT_BELOW) or values[index] < budgets()[first]:
                self._open(segments, first, limit, most, refuted, budgets, improve)

    def _refute(
        self, labels: Labels, starts: Ints, limit: int, most: int, refuted: Ints
    ) -> NDArray[np.bool_]:
        """Record which segments no number of chiplets allows; shape ``(starts, k)``."""
        impossible = np.asarray(labels.best[starts, : most + 1] > self.tables.chiplets)
        part = refuted[starts, : most + 1]
        refuted[starts, : most + 1] = np.where(impossible, np.maximum(part, limit), part)
        impossible[:, 0] = True
        return impossible

    def _open(
        self,
        segments: Segments,
        first: int,
        limit: int,
        most: int,
        refuted: Ints,
        budgets: Callable[[], Ints],
        improve: Callable[[int, Found], None],
    ) -> None:
        """Redo the layers of one segment that read from before it, and take its best schedule."""
        reads = opening_reads(self.kernel, first)
        top = min(int(self._reach[first]), segments.last)
        self._rows(segments, reads, self._zeros, top, first, limit, most, self._opened)
        impossible = self._refute(self._opened, np.array([first]), limit, most, refuted)
        counts = np.flatnonzero(~impossible[0])
        counts = counts[counts >= self.clusters[0]]
        if len(counts):
            clusters = int(counts[0])  # all meet the limit, so the fewest cost least
            found = self._found(segments, reads, first, top, limit, clusters)
            if found.cost < budgets()[first]:
                improve(first, found)

    def _rows(
        self,
        segments: Segments,
        reads: Ints,
        reserved: Ints,
        top: int,
        bottom: int,
        limit: int,
        most: int,
        labels: Labels,
    ) -> None:
        if self._monitor.stopping:
            raise Stopped
        self.runs += 1
        solve_rows(
            self.kernel,
            self._coupling,
            segments,
            reads,
            reserved,
            top,
            bottom,
            limit,
            most,
            self._labels,
            labels,
        )

    def _found(
        self, segments: Segments, reads: Ints, first: int, top: int, limit: int, clusters: int
    ) -> Found:
        """The schedule behind a label, with the beat it really has."""
        path = trace(
            self.kernel,
            self._coupling,
            segments,
            reads,
            first,
            top,
            limit,
            clusters,
            self._labels,
            self._opened,
        )
        partition = np.zeros(self.tables.layers, dtype=np.int8)
        for cluster in path:
            cluster_partitions(self.kernel, self.space, segments.last, cluster, partition)
        beat = slowest_cluster(self.kernel, first, segments.last, path, partition)
        parts = [
            (int(j - i + 1), int(r), [int(p) for p in partition[i : j + 1]])
            for i, j, r, _, _ in path
        ]
        return Found(self._cost(first, segments.last, clusters, beat), make_segment(first, parts))

    def _cost(self, first: int, last: int, clusters: int, beat: int) -> int:
        beat = max(beat, int(self.tables.segment_dram_ps[first, last]))
        load = int(self.tables.load_ps[first, last])
        return load + (self.tables.samples + clusters - 1) * beat

    def _values(self, starts: Ints, last: int, limit: int, most: int) -> Ints:
        """Cost of each segment and number of clusters if the slowest cluster takes ``limit``."""
        beat = np.maximum(self.tables.segment_dram_ps[starts, last], limit)
        load = self.tables.load_ps[starts, last]
        steps = self.tables.samples + np.arange(most + 1) - 1
        values: Ints = load[:, None] + steps[None, :] * beat[:, None]
        return values
