"""Valid schedules of one segment drawn uniformly, for instances where hardly any schedule is.

Whether a cluster is valid depends on its layers, the size of its region and its partitions only,
wherever the region lies, and how many partitions are allowed is a product over its layers. So the
valid schedules can be counted from the first layer on (`enumeration`), and drawn from the last: a
cluster is chosen with the number of schedules that have it, then the partition of each of its
layers. The counts are floats, sums and products of positive numbers. Their errors, at most L^2 C
2^-53 relative, and those of the random floats keep the total variation distance from uniform below
1e-7.

Drawing is done for many schedules at once, state by state: those for which the layers before ``e``
on ``c`` chiplets are left, which all choose from the same clusters, scan them once together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scope_opt.model.compiled import compiled
from scope_opt.schedule.count import log10_space_size
from scope_opt.search.allowed import make_allowed
from scope_opt.search.census.distribution import refuse_other_constraints
from scope_opt.search.census.enumeration import cluster_limits, count_partitions, count_schedules
from scope_opt.search.census.sampling import Sample, one_segment_ps, tally
from scope_opt.search.census.tuning import MAX_LOG10, MAX_STEPS
from scope_opt.search.census.validity import permitted
from scope_opt.search.packed import pack_tables
from scope_opt.search.placed import segment_facts
from scope_opt.search.times import ISP, WSP, free_bytes, total_weights, whole_package

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scope_opt.model.instance import Constraints, Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.search.allowed import Allowed
    from scope_opt.search.packed import Bytes, Ints, PackedTables
    from scope_opt.solving.monitor import Monitor

    Floats = NDArray[np.float64]
    Shorts = NDArray[np.int16]


def countable(constraints: Constraints, layers: int, chiplets: int) -> bool:
    """Whether the valid schedules can be counted with the time and precision there is."""
    depths = cluster_limits(constraints, layers, chiplets)[2]
    steps = (layers * chiplets) ** 2 // 4 * depths
    return steps <= MAX_STEPS and log10_space_size(layers, chiplets) <= MAX_LOG10


class ValidSampler:
    """Latencies of uniformly drawn valid one-segment schedules, if they are `countable`.

    Raises
    ------
    InputError
        For a side constraint that is not about the shape of a single segment.
    """

    def __init__(self, instance: Instance, tables: LatencyTables) -> None:
        refuse_other_constraints(instance)
        layers, chiplets = tables.layers, tables.chiplets
        fewest, most, depths = cluster_limits(instance.constraints, layers, chiplets)
        self._packed = pack_tables(tables)
        self._allowed = make_allowed(instance.constraints, layers, chiplets)
        self._fixed = int(tables.load_ps[0, -1]), int(tables.segment_dram_ps[0, -1])
        self._facts = segment_facts(self._packed.places, 0, layers - 1)
        self._options = count_partitions(self._packed, self._allowed, self._facts)
        self._ways = count_schedules(self._options, fewest, most, depths, False)
        self.number = float(self._ways[0, -1, -1])
        """How many valid schedules there are."""

    def sample(
        self, latency_ps: int, draws: int, seed: int = 0, monitor: Monitor | None = None
    ) -> Sample:
        """As `sampling.sample`; all draws are valid, none if no schedule is."""
        source = np.random.default_rng(seed)
        if self.number == 0:
            return Sample(drawn=0, valid=0, better=0, equal=0)
        return tally(lambda draws: self.latencies(draws, source), latency_ps, draws, monitor)

    def latencies(self, draws: int, source: np.random.Generator) -> Ints:
        """(draws,) latencies in ps; there must be a valid schedule."""
        layers = self._ways.shape[1] - 1
        start = np.zeros((draws, layers), dtype=np.int16)
        region = np.zeros((draws, layers), dtype=np.int16)
        clusters = np.zeros(draws, dtype=np.int64)
        _draw_clusters(self._options, self._ways, source, start, region, clusters)
        found: Ints = _draw_latencies(
            self._packed,
            self._allowed,
            self._facts,
            self._fixed,
            source,
            start,
            region,
            clusters,
        )
        return found


@compiled
def _draw_clusters(
    options: Floats,
    ways: Floats,
    source: np.random.Generator,
    start: Shorts,
    region: Shorts,
    clusters: Ints,
) -> None:
    """First layers and regions of the clusters of each schedule, last cluster first."""
    draws = len(clusters)
    depths, layers, chiplets = ways.shape[0], ways.shape[1] - 1, ways.shape[2] - 1
    # Lists of the schedules in each state, linked by ``after``.
    head = np.full((depths, layers + 1, chiplets + 1), -1, dtype=np.int64)
    after = np.arange(1, draws + 1)
    after[-1] = -1
    head[0, layers, chiplets] = 0
    for end in range(layers, 0, -1):
        for left in range(1, chiplets + 1):
            for depth in range(depths):
                count, each = 0, head[depth, end, left]
                while each >= 0:
                    count, each = count + 1, after[each]
                if count == 0:
                    continue
                members, each = np.empty(count, dtype=np.int64), head[depth, end, left]
                for k in range(count):
                    members[k], each = each, after[each]
                marks = np.empty(count)
                for k in range(count):
                    marks[k] = source.random() * ways[depth, end, left]
                order = np.argsort(marks)
                then = min(depth + 1, depths - 1)
                k, total = 0, 0.0
                last_first, last_region = 0, 0
                for i in range(end - 1, -1, -1):
                    for r in range(1, left + 1):
                        share = options[i, end - 1, r] * ways[then, i, left - r]
                        if share == 0:
                            continue
                        total += share
                        last_first, last_region = i, r
                        while k < count and marks[order[k]] < total:
                            own = members[order[k]]
                            _choose(own, i, r, start, region, clusters)
                            after[own] = head[then, i, left - r]
                            head[then, i, left - r] = own
                            k += 1
                    if k == count:
                        break
                for rest in range(k, count):  # left over by rounding
                    own = members[order[rest]]
                    _choose(own, last_first, last_region, start, region, clusters)
                    after[own] = head[then, last_first, left - last_region]
                    head[then, last_first, left - last_region] = own


@compiled
def _choose(own: int, i: int, r: int, start: Shorts, region: Shorts, clusters: Ints) -> None:
    start[own, clusters[own]] = i
    region[own, clusters[own]] = r
    clusters[own] += 1


@compiled
def _draw_latencies(
    packed: PackedTables,
    allowed: Allowed,
    facts: Ints,
    fixed: tuple[int, int],
    source: np.random.Generator,
    start: Shorts,
    region: Shorts,
    clusters: Ints,
) -> Ints:
    """(draws,) latencies in ps, with a uniform choice among the partitions that are allowed."""
    draws, layers = start.shape
    found = np.empty(draws, dtype=np.int64)
    first, size = np.zeros(layers + 1, dtype=np.int64), np.zeros(layers, dtype=np.int64)
    partition = np.zeros(layers, dtype=np.int8)
    for own in range(draws):
        count = clusters[own]
        for k in range(count):
            first[k], size[k] = start[own, count - 1 - k], region[own, count - 1 - k]
        first[count] = layers
        for k in range(count):
            _draw_partitions(
                packed, allowed, facts, source, first[k], first[k + 1], size[k], partition
            )
        found[own] = one_segment_ps(packed, allowed, facts, fixed, count, first, size, partition)
    return found


@compiled
def _draw_partitions(
    packed: PackedTables,
    allowed: Allowed,
    facts: Ints,
    source: np.random.Generator,
    first: int,
    end: int,
    chiplets: int,
    partition: Bytes,
) -> None:
    weights = total_weights(packed.layers, first, end - 1)
    passing = packed.stream or whole_package(packed.times, 0, len(partition) - 1, chiplets)
    room = free_bytes(packed.weight_buffer_bytes, chiplets, weights, passing)
    for layer in range(first, end):
        isp = permitted(packed, allowed, facts, first, layer, ISP, chiplets, room)
        wsp = permitted(packed, allowed, facts, first, layer, WSP, chiplets, room)
        partition[layer] = source.random() < 0.5 if isp and wsp else wsp
