"""What schedules of segments cost, without and with the links that their transfers share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scope_opt.model.compiled import compiled
from scope_opt.schedule.schedule import make_segment
from scope_opt.search.allowed import ONLY_ISP, ONLY_WSP, WSP_IF_FITS
from scope_opt.search.exact.places.labels import cluster_partitions
from scope_opt.search.placed import (
    ARRIVING,
    WAITING,
    add_cluster,
    busiest_ps,
    cluster_ps,
    segment_facts,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scope_opt.model.tables import LatencyTables
    from scope_opt.schedule.evaluation import SegmentReport
    from scope_opt.schedule.schedule import Segment
    from scope_opt.search.allowed import Allowed
    from scope_opt.search.exact.places.costs import Costs
    from scope_opt.search.placed import PlacedKernel

    Ints = NDArray[np.int64]
    Bytes = NDArray[np.int8]
    Floats = NDArray[np.float64]

STEEPNESS = 8
"""Power of a link's load, relative to what it carries in a beat, that guided choices add up."""


@dataclass(frozen=True)
class Placed:
    """A segment's schedule with its latency in ps, weight loading included."""

    cost: int
    """Without the links that its transfers share."""
    linked: int
    """With them."""
    segment: Segment


class Judge:
    """Computes what schedules of segments cost."""

    def __init__(self, tables: LatencyTables, kernel: PlacedKernel) -> None:
        self._tables, self._kernel = tables, kernel

    def cost(self, first: int, last: int, clusters: int, beat: int) -> int:
        """Latency of a segment."""
        load = int(self._tables.load_ps[first, last])
        return load + (self._tables.samples + clusters - 1) * beat

    def allows(self, path: list[tuple[int, int, int]], partition: Bytes, space: Allowed) -> bool:
        """Whether clusters keep to the space, and find room for weights and activations.

        Weights of one layer on the whole package may be of any size.
        """
        tables, kernel = self._tables, self._kernel
        first, last = path[0][0], path[-1][1]
        waiting, arriving = np.zeros((2, last + 1), dtype=np.int64)
        facts = segment_facts(kernel, first, last)
        waiting[first:], arriving[first:] = facts[:, WAITING], facts[:, ARRIVING]
        for i, j, r in path:
            inside, own = slice(i, j + 1), partition[i : j + 1].astype(np.int64)
            weights, choice = kernel.weights[inside], space.choice[inside]
            room = tables.weight_buffer_bytes * r - int(weights.sum())
            fits = weights * (r - 1) <= max(0, room)
            barred = np.where(own == 1, (choice == ONLY_ISP) | ~fits, choice == ONLY_WSP)
            barred |= (own == 0) & (choice == WSP_IF_FITS) & fits
            if kernel.limit >= 0:
                held = kernel.held[np.arange(i, j + 1), own, r]
                barred |= held + waiting[inside] + arriving[i] > kernel.limit * r
            whole = first == last and r == tables.chiplets
            if barred.any() or (room < 0 and not tables.stream and not whole):
                return False
            if not (space.clusters[i, j] and space.regions[i, r]):
                return False
        return True

    def judge(self, path: list[tuple[int, int, int]], partition: Bytes) -> Placed:
        """Clusters ``i..j`` on ``r`` chiplets, one after another from position 0 on."""
        first, last = path[0][0], path[-1][1]
        kernel, tables = self._kernel, self._tables
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
            self.cost(first, last, count, beat),
            self.cost(first, last, count, max(beat, int(busiest_ps(kernel, loads)))),
            make_segment(first, parts),
        )

    def _refetch_ps(self, i: int, j: int, r: int) -> int:
        weights = self._tables.weight_bytes[i : j + 1]
        excess = int(weights.sum()) - self._tables.weight_buffer_bytes * r
        if excess <= 0:
            return 0
        femtoseconds = excess * int(self._tables.stream_fs_per_byte[r])
        return int((weights > 0).sum()) * self._tables.dram_latency_ps + -(-femtoseconds // 1000)

    def whole_package(self, layer: int, space: Allowed) -> Placed | None:
        """The segment of one layer on every chiplet, whose weights may be of any size."""
        path, found = [(layer, layer, self._tables.chiplets)], []
        for own in range(2):
            partition = np.full(self._tables.layers + 1, own, dtype=np.int8)
            if self.allows(path, partition, space):
                found.append(self.judge(path, partition))
        return min(found, key=lambda placed: placed.cost, default=None)


def reported(report: SegmentReport, segment: Segment, samples: int) -> Placed:
    """A segment that the evaluator has reported on."""
    beat = max(report.dram_beat_ps, *(cluster.time_ps for cluster in report.clusters))
    cost = report.load_ps + (samples + len(report.clusters) - 1) * beat
    return Placed(cost, report.latency_ps, segment)


@compiled
def least_loaded(
    kernel: PlacedKernel,
    costs: Costs,
    facts: Ints,
    loads: Floats,
    full: float,
    ways: Ints,
    i: int,
    s: int,
    r: int,
    p: int,
    partition: Bytes,
) -> int:
    """Which way on from a cluster's first layer leaves links that carry ``full`` least loaded.

    ``ways`` as of `continuations`. The cluster's transfers are added to the loads, and its
    partitions are set.
    """
    best, least = 0, np.inf
    trial = np.empty_like(loads)
    for index in range(len(ways) + 1):
        # At last once more the best one, to keep it.
        way = index if index < len(ways) else best
        j, q, _, following, then = ways[way]
        cluster_partitions(costs, i, j, r, r, r, costs.row[s, r], p, q, partition)
        if j < costs.last:
            partition[j + 1] = then
        trial[:] = loads
        add_cluster(kernel, trial, facts, costs.first, costs.last, i, j, s, r, following, partition)
        score = ((trial / full) ** STEEPNESS).sum()
        if index < len(ways) and score < least:
            best, least = way, score
    loads[:] = trial
    return best
