"""One segment: its best schedule below a budget, or the proof that there is none.

A segment costs ``load + (m + k - 1) * beat`` with ``k`` clusters, so it beats a budget ``B`` only
if its clusters are within ``T(k) = (B - 1 - load) / (m + k - 1)``. The labels at a time ``T`` give
the fewest clusters within it, which settles every ``k`` at once. Links that transfers share are
left out of the question; every schedule found is judged with them as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scope_opt.search.exact.places.judge import Judge, least_loaded
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
from scope_opt.search.placed import segment_facts
from scope_opt.search.stopping import SearchStopped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from scope_opt.model.tables import LatencyTables
    from scope_opt.search.exact.places.costs import Costs, CostTables
    from scope_opt.search.exact.places.judge import Placed
    from scope_opt.search.exact.places.labels import Labels
    from scope_opt.search.placed import PlacedKernel
    from scope_opt.solving.monitor import Monitor

    Ints = NDArray[np.int64]


WAYS, TRACES, LINKED_STEP = 24, 40, 0.003
"""Looking for schedules that load links little: ways compared at each cluster, schedules looked at
with each beat, and how much larger the next beat is."""

ROW_REGIONS = 2**16
"""Regions, over a few first layers, that are looked at between two looks at the clock."""


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
        self.judge = Judge(tables, costs.kernel)
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
        for top, bottom in self._rows():
            relax(self._costs, self._row_limit, self._relaxed, self._nothing, top, bottom)

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

    def _rows(self) -> Iterator[tuple[int, int]]:
        """The open segment's layers from the last one on, few at a time; raises `SearchStopped`."""
        rows = max(1, ROW_REGIONS // self.tables.chiplets**2)
        for top in range(self._costs.last, self._costs.first - 1, -rows):
            if self._monitor.stopping:
                raise SearchStopped
            yield top, max(self._costs.first, top - rows + 1)

    def _clusters(self, limit: int) -> int:
        """Fewest clusters within ``limit``; `NONE` if it cannot be met."""
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
            while not self._fill(limit, number == 1, labels, after):
                self._steps = np.zeros(2 * len(self._steps), dtype=np.int64)
        return int(self._labels[self._least - 1].fewest[0, 0].min())

    def _fill(self, limit: int, closing: bool, labels: Labels, after: Labels) -> bool:
        """Make all labels of a family; says whether there was room for the hand-overs."""
        assert self._window is not None
        stamp, used = np.full(len(self._counts), -1, dtype=np.int64), 0
        for top, bottom in self._rows():
            used = label_pass(
                self._costs,
                self._window,
                limit,
                self._most,
                closing,
                top,
                bottom,
                labels,
                after,
                self._inner,
                stamp,
                self._counts,
                self._offset,
                self._steps,
                used,
            )
            if used < 0:
                return False
        return True

    # --- Schedules -------------------------------------------------------------------------------

    def trace(self, limit: int, clusters: int) -> Placed:
        """The first schedule behind the labels of the last pass."""
        return self._follow(limit, clusters, lambda ways, _: ways[0], 0)

    def _guided_trace(
        self, limit: int, clusters: int, kernel: PlacedKernel, random: np.random.Generator
    ) -> Placed:
        """A schedule behind the labels that loads links little: the best of few ways each time."""
        costs = self._costs
        facts = segment_facts(kernel, costs.first, costs.last)
        loads = np.zeros((4, *kernel.mesh.tolist()))
        full = limit / kernel.ps_per_byte
        partition = np.zeros(self.tables.layers + 1, dtype=np.int8)

        def choose(ways: Ints, here: tuple[int, int, int, int]) -> Ints:
            if len(ways) > WAYS:
                ways = ways[random.choice(len(ways), WAYS, replace=False)]
            best = least_loaded(kernel, costs, facts, loads, full, ways, *here, partition)
            chosen: Ints = ways[best]
            return chosen

        return self._follow(limit, clusters, choose, int(random.integers(1 << 30)))

    def _follow(
        self,
        limit: int,
        clusters: int,
        choose: Callable[[Ints, tuple[int, int, int, int]], Ints],
        start: int,
    ) -> Placed:
        costs, labels = self._costs, self._labels
        i, s, number, left = costs.first, 0, self._least, clusters
        starts = np.argwhere(labels[number - 1].fewest[0, 0] <= left)
        r, p = starts[start % len(starts)].tolist()
        path: list[tuple[int, int, int]] = []
        partition = np.zeros(self.tables.layers + 1, dtype=np.int8)
        assert self._window is not None
        while i <= costs.last:
            after = labels[max(number - 2, 0)]
            ways = continuations(
                costs, limit, i, s, r, p, left, self._window.longest, number == 1, after
            )
            j, q, _, following, then = choose(ways, (i, s, r, p)).tolist()
            cluster_partitions(costs, i, j, r, r, r, costs.row[s, r], p, q, partition)
            path.append((i, j, r))
            i, s, r, p = j + 1, s + r, following, then
            number, left = max(number - 1, 1), left - 1
        return self.judge.judge(path, partition)

    def whole_package(self, layer: int) -> Placed | None:
        """The segment of one layer on every chiplet; None if it may not be."""
        if self._least > 1:
            return None
        return self.judge.whole_package(layer, self._tables_of_costs.space)

    # --- The search ------------------------------------------------------------------------------

    def settle(self, known: Sequence[tuple[int, int]] = ()) -> Iterator[Placed]:
        """Schedules of the open segment below its budget, each better than the last; then a proof.

        When the iterator ends, no schedule costs less than the last one, or than the budget.
        ``known`` are beats and the fewest clusters within each, as far as is known.
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

        for beat, clusters in known:
            refute(beat, clusters)

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
            if refuted[min(most, (budget - 1 - load) // beat - samples + 1)] >= beat:
                # Too many clusters within it, and fewer within a larger one.
                beat = int(beat * 1.01) + 1
                continue
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

    def load_links_less(self, known: Placed) -> Iterator[Placed]:
        """Schedules of the open segment that cost less with links, each better than the last.

        The labels at beats from that of the best schedule without links upward hold all schedules
        within them; those that load links little are looked for by chance.
        """
        first, last = self._costs.first, self._costs.last
        kernel, random = self._tables_of_costs.kernel, np.random.default_rng(0)
        load, samples = int(self.tables.load_ps[first, last]), self.tables.samples
        beat = (known.cost - load) // (samples + len(known.segment.clusters) - 1)
        linked = known.linked
        while True:
            fewest = self._clusters(beat)
            if fewest >= NONE or self.judge.cost(first, last, fewest, beat) >= linked:
                return
            for _ in range(TRACES):
                if self._monitor.stopping:
                    raise SearchStopped
                most = min((linked - 1 - load) // beat - samples + 1, self._most)
                if most < fewest:
                    break
                clusters = int(random.integers(fewest, most + 1))
                found = self._guided_trace(beat, clusters, kernel, random)
                if found.linked < linked:
                    linked = found.linked
                    yield found
            beat += max(1, int(beat * LINKED_STEP))
