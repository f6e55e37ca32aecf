"""One segment: its best schedule below a budget, or the proof that there is none.

A segment costs ``load + (m + k - 1) * beat`` with ``k`` clusters, so it beats a budget ``B`` only
if its clusters are within ``T(k) = (B - 1 - load) / (m + k - 1)``. The labels at a time ``T`` give
the fewest clusters within it, which settles every ``k`` at once. Links that transfers share are
left out of the question; every schedule found is judged with them as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scope_opt.schedule.schedule import make_segment
from scope_opt.search.exact.places.labels import (
    NONE,
    Window,
    cluster_partitions,
    continuations,
    label_pass,
    make_labels,
)
from scope_opt.search.exact.places.relaxation import (
    Relaxed,
    find_window,
    forget,
    least_feasible,
    relax,
    relaxed_bound,
    relaxed_clusters,
    relaxed_feasible,
)
from scope_opt.search.exact.prover import Stopped
from scope_opt.search.exact.recursion import ONLY_ISP, ONLY_WSP, WSP_IF_FITS
from scope_opt.search.placed import add_cluster, busiest_ps, cluster_ps, segment_facts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from scope_opt.model.tables import LatencyTables
    from scope_opt.schedule.schedule import Segment
    from scope_opt.search.exact.places.costs import Costs, CostTables
    from scope_opt.search.exact.places.labels import Labels
    from scope_opt.solving.monitor import Monitor

    Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Placed:
    """A segment's schedule with its latency in ps, weight loading included."""

    cost: int
    """Without the links that its transfers share."""
    linked: int
    """With them."""
    segment: Segment


class SegmentSearch:
    """Searches segments one after the other.

    Parameters
    ----------
    tables : LatencyTables
        Of a placed instance.
    costs : CostTables
    clusters : tuple of int
        Fewest and most clusters per segment.
    monitor : Monitor
        Asked whether to stop before every pass of labels.
    """

    def __init__(
        self,
        tables: LatencyTables,
        costs: CostTables,
        clusters: tuple[int, int],
        monitor: Monitor,
    ) -> None:
        self.tables, self._tables_of_costs, self._monitor = tables, costs, monitor
        self.passes = 0
        layers, chiplets = tables.layers, tables.chiplets
        self._least = clusters[0]
        self._most = min(clusters[1], layers, chiplets)
        self._costs: Costs = costs.segment(0, layers - 1)
        least = costs.kernel.compute_ps[:, :, 1:].min(axis=(1, 2))
        self._computations = np.concatenate([[0], np.cumsum(least)])
        self._relaxed = Relaxed(
            np.zeros((layers, 1, chiplets + 1), dtype=np.int64), np.full(layers, -1, dtype=np.int64)
        )
        self._row_limit, self._last = -1, layers - 1
        self._nothing = np.zeros(layers + 1, dtype=np.int64)
        self._worst = tables.worst_latency_ps
        self.limit = self._budget = 0
        self._fewest = np.zeros((layers + 2, self._most + 1), dtype=np.int64)
        self._before = np.zeros(layers + 2, dtype=np.int64)
        self._behind = np.zeros(layers + 2, dtype=np.int64)
        self._least_size = np.zeros(layers, dtype=np.int64)
        self._labels: list[Labels] = []
        self._inner = np.zeros((costs.rows, 1, 4), dtype=np.int64)
        self._counts = np.zeros(costs.rows, dtype=np.int64)
        self._offset = np.zeros((1, chiplets + 1, chiplets + 1), dtype=np.int32)
        self._steps = np.zeros(1 << 16, dtype=np.int64)
        self._window: Window | None = None

    # --- Questions about the open segment --------------------------------------------------------

    def open(self, first: int, last: int, budget: int) -> None:
        """Turn to a segment of which only schedules below the budget matter."""
        tables = self._tables_of_costs
        self._budget = budget
        load = int(self.tables.load_ps[first, last])
        limit = (budget - 1 - load) // (self.tables.samples + self._least - 1)
        self.limit = min(limit, self._worst)
        self._costs = tables.segment(first, last)
        if self.limit > self._row_limit:
            # A little further, so as not to come back for every segment.
            self.restrict(self.limit + self.limit // 2)
        forget(self._relaxed, tables.changed, (self._last, last))
        tables.changed[:] = False
        self._last = last
        relax(self._costs, self._row_limit, self._relaxed, self._nothing)

    def restrict(self, limit: int) -> None:
        """Prepare for segments with beats up to a limit."""
        layers, _, sizes = self._relaxed.times.shape
        self._row_limit = limit
        total = self._computations
        ends = np.searchsorted(total, total[:-1] + limit, side="right") - 1
        longest = max(1, int((np.minimum(ends, layers) - np.arange(layers)).max()))
        self._relaxed = Relaxed(
            np.empty((layers, longest, sizes), dtype=np.int64), np.full(layers, -1, dtype=np.int64)
        )

    def bound(self, step: float = 0.02) -> int:
        """Lower bound on the latency of the open segment, at most its budget."""
        first, last = self._costs.first, self._costs.last
        return int(
            relaxed_bound(
                self._costs,
                self._relaxed,
                self.tables.samples,
                int(self.tables.load_ps[first, last]),
                int(self.tables.segment_dram_ps[first, last]),
                self._budget,
                self._least,
                self._most,
                step,
                self._behind,
                self._fewest,
            )
        )

    def _relaxed_clusters(self, limit: int) -> int:
        return int(
            relaxed_clusters(
                self._costs, self._relaxed, limit, self._least, self._most, self._fewest
            )
        )

    def _clusters(self, limit: int) -> int:
        """Fewest clusters within ``limit``; `NONE` if it cannot be met."""
        if self._monitor.stopping:
            raise Stopped
        self.passes += 1
        costs = self._costs
        layers, chiplets = costs.last - costs.first + 1, self.tables.chiplets
        longest = find_window(
            costs, self._relaxed, limit, self._before, self._behind, self._least_size
        )
        self._window = Window(self._before, self._behind, self._least_size, longest)
        if longest > self._inner.shape[1]:
            self._inner = np.zeros((len(self._inner), longest, 4), dtype=np.int64)
        if layers > len(self._offset):
            self._offset = np.zeros((layers, chiplets + 1, chiplets + 1), dtype=np.int32)
            self._labels = []
        while len(self._labels) < self._least:
            self._labels.append(make_labels(len(self._offset), chiplets))
        for number, labels in enumerate(self._labels[: self._least], 1):
            after = self._labels[max(number - 2, 0)]
            while True:
                stamp = np.full(len(self._counts), -1, dtype=np.int64)
                used = label_pass(
                    costs,
                    self._window,
                    limit,
                    self._most,
                    number == 1,
                    labels,
                    after,
                    self._inner,
                    stamp,
                    self._counts,
                    self._offset,
                    self._steps,
                )
                if used >= 0:
                    break
                self._steps = np.zeros(2 * len(self._steps), dtype=np.int64)
        return int(self._labels[self._least - 1].fewest[0, 0].min())

    # --- Schedules -------------------------------------------------------------------------------

    def trace(self, limit: int, clusters: int, choose: np.random.Generator | None = None) -> Placed:
        """A schedule behind the labels of the last pass: the first one, or any by chance."""
        costs, labels = self._costs, self._labels
        i, s, number, left = costs.first, 0, self._least, clusters
        starts = np.argwhere(labels[number - 1].fewest[0, 0] <= left)
        r, p = starts[0 if choose is None else choose.integers(len(starts))].tolist()
        path: list[tuple[int, int, int]] = []
        partition = np.zeros(self.tables.layers + 1, dtype=np.int8)
        assert self._window is not None
        while i <= costs.last:
            after = labels[max(number - 2, 0)]
            ways = continuations(
                costs, limit, i, s, r, p, left, self._window.longest, number == 1, after
            )
            way = ways[0 if choose is None else choose.integers(len(ways))]
            j, q, _, following, then = way.tolist()
            cluster_partitions(costs, i, j, s, r, p, q, partition)
            path.append((i, j, r))
            i, s, r, p = j + 1, s + r, following, then
            number, left = max(number - 1, 1), left - 1
        return self._judge(path, partition)

    def _judge(self, path: list[tuple[int, int, int]], partition: NDArray[np.int8]) -> Placed:
        """What clusters ``(i, j, r)`` cost, one after another from position 0 on."""
        first, last = path[0][0], path[-1][1]
        kernel, tables = self._tables_of_costs.kernel, self.tables
        facts = segment_facts(kernel, first, last)
        loads = np.zeros((4, *kernel.mesh.tolist()))
        whole = first == last and path[0][2] == tables.chiplets
        beat = int(tables.segment_dram_ps[first, last])
        s = 0
        for index, (i, j, r) in enumerate(path):
            following = path[index + 1][2] if j < last else 0
            where = (facts, first, last, i, j, s, r, following, partition)
            time = int(cluster_ps(kernel, *where))
            if not whole:
                time += self._refetch_ps(i, j, r)
                if kernel.shared:
                    add_cluster(kernel, loads, *where)
            beat = max(beat, time)
            s += r
        parts = [(j - i + 1, r, partition[i : j + 1].tolist()) for i, j, r in path]
        count = len(path)
        return Placed(
            self._cost(first, last, count, beat),
            self._cost(first, last, count, max(beat, int(busiest_ps(kernel, loads)))),
            make_segment(first, parts),
        )

    def _refetch_ps(self, i: int, j: int, r: int) -> int:
        weights = self.tables.weight_bytes[i : j + 1]
        excess = int(weights.sum()) - self.tables.weight_buffer_bytes * r
        if excess <= 0:
            return 0
        femtoseconds = excess * int(self.tables.stream_fs_per_byte[r])
        return int((weights > 0).sum()) * self.tables.dram_latency_ps + -(-femtoseconds // 1000)

    def _cost(self, first: int, last: int, clusters: int, beat: int) -> int:
        load = int(self.tables.load_ps[first, last])
        return load + (self.tables.samples + clusters - 1) * beat

    def whole_package(self, layer: int) -> Placed | None:
        """The segment of one layer on every chiplet, whose weights may be of any size."""
        costs, chiplets = self._tables_of_costs.segment(layer, layer), self.tables.chiplets
        allowed = costs.regions[layer, chiplets] and costs.clusters[layer, layer]
        if self._least > 1 or not allowed:
            return None
        weights = int(costs.weights[layer])
        fits = weights * (chiplets - 1) <= max(0, costs.buffer_bytes * chiplets - weights)
        found = []
        for own in (0, 1):
            barred = {0: ONLY_WSP, 1: ONLY_ISP}[own] == costs.choice[layer]
            barred |= own == 1 and not fits
            barred |= own == 0 and fits and costs.choice[layer] == WSP_IF_FITS
            if costs.activation_bytes >= 0:
                need = costs.held[layer, own, chiplets] + costs.arriving[layer]
                barred |= need > costs.activation_bytes * chiplets
            if not barred:
                partition = np.full(self.tables.layers + 1, own, dtype=np.int8)
                found.append(self._judge([(layer, layer, chiplets)], partition))
        return min(found, key=lambda placed: placed.cost, default=None)

    # --- The search ------------------------------------------------------------------------------

    def settle(self) -> Iterator[Placed]:
        """Schedules of the open segment below its budget, each better than the last; then a proof.

        When the iterator ends, no schedule costs less than the last one, or than the budget.
        """
        budget = self._budget
        first, last = self._costs.first, self._costs.last
        load = int(self.tables.load_ps[first, last])
        dram = int(self.tables.segment_dram_ps[first, last])
        samples, most = self.tables.samples, min(self._most, last - first + 1)
        refuted = np.full(most + 2, dram - 1, dtype=np.int64)
        """Largest beat known impossible with each number of clusters, or fewer"""

        def time(k: int) -> int:
            return min((budget - 1 - load) // (samples + k - 1), self.limit)

        def refute(beat: int, clusters: int) -> None:
            np.maximum(refuted[:clusters], beat, out=refuted[:clusters])

        # From the least beat that the relaxation allows, a little further each time.
        beat = time(self._least)
        if beat < dram or not relaxed_feasible(self._costs, self._relaxed, beat, self._behind):
            return
        _, beat = least_feasible(self._costs, self._relaxed, dram - 1, beat, self._behind)
        step = 1.01
        while beat <= self.limit:
            clusters = self._relaxed_clusters(beat)
            if load + (samples + clusters - 1) * beat >= budget:
                break
            clusters = self._clusters(beat)
            refute(beat, clusters)
            if clusters < NONE:
                found = self.trace(beat, clusters)
                if found.cost < budget:
                    budget = found.cost
                    yield found
                if load + (samples + clusters - 1) * beat >= budget * 1.05:
                    break
            beat = int(beat * step) + 1
            step = min(step * 1.15, 1.04)

        k = self._least
        while k <= most:
            beat = time(k)
            if beat < dram:
                return
            if refuted[k] >= beat:
                k += 1
                continue
            clusters = self._relaxed_clusters(beat)
            if clusters <= k:
                clusters = self._clusters(beat)
            refute(beat, clusters)
            if clusters > k:
                continue
            found = self.trace(beat, clusters)
            budget = found.cost
            yield found
            # Halve what is open for this number of clusters, then ask for one unit less.
            while refuted[clusters] < (beat := time(clusters)):
                low, high = int(refuted[clusters]), beat
                while high - low > max(1, high // 2000):
                    middle = (low + high) // 2
                    if self._relaxed_clusters(middle) > clusters:
                        low = middle
                    else:
                        high = middle
                refute(low, clusters + 1)
                middle = beat if beat - low < beat // 1000 else (low + beat) // 2
                fewer = self._clusters(middle)
                refute(middle, fewer)
                if fewer <= clusters:
                    found = self.trace(middle, fewer)
                    if found.cost < budget:
                        budget = found.cost
                        yield found
