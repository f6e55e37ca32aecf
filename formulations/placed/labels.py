"""Under one largest beat: how many clusters the layers of a segment need, from every place.

A node is ``(i, s, r, p)``: a cluster begins with layer ``i`` on the ``r`` positions from ``s``, and
``p`` is the partition of its first layer. An arc is a cluster with what it hands over, from its own
node to that of the next cluster, or to the end. Labels are the fewest clusters from a node to the
end; arcs are listed that lie on a path of at most so many.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from formulations.formulas import copies_fit, layer_time, refetched, refetching_time, room_left
from formulations.placed.costs import FACTOR
from scope_opt.model.compiled import compiled, inlined, loop

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from formulations.placed.costs import SegmentCosts

    Ints = NDArray[np.int64]
    Shorts = NDArray[np.int16]

NEVER = 2**61
"""Stands for "not at all" among times."""
NONE = 30000
"""Stands for "not at all" among counts of clusters and chiplets."""


class Arcs(NamedTuple):
    """Clusters in place with what follows them, each of shape ``(n,)``.

    They are no `formulations.columns.columns.Columns`: a column knows the cluster after it only by
    a range of times for receiving, and has the best partitions for that. An arc knows the region it
    hands over to, and stands for all partitions that are fast enough under one beat.
    """

    first: Ints
    """First layer,"""
    start: Ints
    """first position,"""
    size: Ints
    """chiplets"""
    opening: Ints
    """and partition of the first layer of the cluster,"""
    last: Ints
    """its last layer"""
    closing: Ints
    """and that one's partition,"""
    next_size: Ints
    """chiplets of the next cluster, 0 at the end,"""
    next_opening: Ints
    """and partition of its first layer, 0 at the end"""
    inner_ps: Ints
    """How long the cluster may take before its last layer computes, reads left out"""

    @property
    def number(self) -> int:
        """How many arcs there are."""
        return len(self.first)


def no_arcs(room: int) -> Arcs:
    """Room for so many arcs."""
    return Arcs(*np.zeros((len(Arcs._fields), room), dtype=np.int64))


class Windows(NamedTuple):
    """What a recursion that knows sizes only says of a largest beat."""

    before: Ints
    """(k+1, L+1) fewest chiplets for the layers before each one, in so many clusters or fewer"""
    behind: Ints
    """(k+1, L+1) the same for the layers from each one on"""
    least: Ints
    """(L,) fewest chiplets for a cluster that begins with the layer"""
    longest: int
    """Most layers of a cluster"""
    clusters: int
    """No fewer clusters will do; `NONE`: none will"""


@loop
def inner_times(
    costs: SegmentCosts, i: int, row: int, size: int, limit: int, path: Ints, times: Ints
) -> int:
    """Times of clusters that begin with layer ``i`` on regions of a row, before their last layers.

    ``times[x, 2 p + q]`` is that of layers ``i..i+x`` with first and last partition ``p`` and
    ``q``: all but the reads and what the last layer computes and sends. Returns for how many ``x``
    it can be within the limit; ``path`` is room for ``(L, 4)``.
    """
    stored = transfers = count = 0
    room = 0
    for j in range(i, costs.last + 1):
        stored += costs.weights[j]
        transfers += costs.weights[j] > 0
        capacity = costs.buffer_bytes * size
        before, room = room, room_left(stored, capacity, costs.stream, False)
        if room < 0 or j - i >= len(times):
            break
        missing = refetched(stored, capacity, False)
        refetch = refetching_time(
            missing, costs.refetch_fs_per_byte[size], transfers, costs.refetch_latency_ps
        )
        # From the first layer on that has to be computed again: less room, or no longer alone.
        begin = j
        for u in range(i, j):
            if j == i + 1 or copies_fit(1, costs.weights[u], size, before) != copies_fit(
                1, costs.weights[u], size, room
            ):
                begin = u
                break
        for u in range(begin, j + 1):
            for q in range(2):
                allowed = costs.partitions[u, q] and copies_fit(q, costs.weights[u], size, room)
                if allowed and costs.activation_bytes >= 0:
                    held = costs.held[u, q, size] + costs.waiting[u] + costs.arriving[i]
                    allowed = held <= costs.activation_bytes * size
                gathering = costs.gather[u, row] if q == 1 and j > i else 0
                for p in range(2):
                    spent = NEVER
                    if allowed and u == i:
                        spent = gathering if p == q else NEVER
                    elif allowed:
                        for this in range(2):
                            sending = costs.within[u - 1, row, 2 * this + q] + costs.writes[u - 1]
                            step = layer_time(costs.compute[u - 1, size, this], sending, gathering)
                            spent = min(spent, path[u - 1, 2 * p + this] + step)
                    path[u, 2 * p + q] = min(spent, NEVER)
        least = NEVER
        for pair in range(4):
            value = path[j, pair]
            if value < NEVER:
                value += refetch
                least = min(least, value)
            times[j - i, pair] = value if costs.clusters[i, j] else NEVER
        # More layers never make a cluster faster.
        if least + costs.reads[j + 1] - costs.reads[i] > limit:
            break
        count += 1
    return count


@inlined
def _hand_over(
    costs: SegmentCosts, j: int, s: int, r: int, following: int, then: int, scattered: float
) -> int:
    """Time to hand over behind layer ``j`` from ``r`` positions from ``s`` to the next ones.

    ``scattered``: shares on the busiest link.
    """
    load = float(costs.travel[j] * scattered) / (r * following)
    if then == 0:
        gathered = costs.gather_count[costs.phase[s + r], following]
        load += float(costs.wanted[j] * gathered) / following
    return math.ceil(load * costs.ps_per_byte * FACTOR)


@compiled
def find_windows(costs: SegmentCosts, limit: int, most: int) -> Windows:
    """Where clusters may lie that are within a limit, with at most ``most`` of them."""
    first, last, chiplets = costs.first, costs.last, costs.row.shape[0]
    layers = len(costs.weights)
    # Fewest chiplets for a cluster, wherever it lies.
    need = np.full((layers, layers), NONE, dtype=np.int64)
    path = np.empty((layers + 1, 4), dtype=np.int64)
    times = np.empty((last - first + 1, 4), dtype=np.int64)
    longest = 1
    for i in range(first, last + 1):
        for size in range(1, chiplets + 1):
            if not costs.sizes[size] or (first == last and size == chiplets):
                continue
            count = inner_times(costs, i, costs.least_row + size, size, limit, path, times)
            for x in range(count):
                j = i + x
                if need[i, j] < NONE:
                    continue
                opening = costs.reads[j + 1] - costs.reads[i]
                closing = costs.writes[j]
                if j < last:
                    load = costs.travel[j] * costs.least_scatter[size]
                    closing += math.ceil(load * costs.ps_per_byte * FACTOR)
                for pair in range(4):
                    time = layer_time(costs.compute[j, size, pair & 1], closing, times[x, pair])
                    if opening + time <= limit:
                        need[i, j] = size
                        longest = max(longest, x + 1)
    behind = np.full((most + 1, layers + 1), NONE, dtype=np.int64)
    before = np.full((most + 1, layers + 1), NONE, dtype=np.int64)
    behind[:, last + 1] = 0
    before[:, first] = 0
    clusters = NONE
    for k in range(1, most + 1):
        for i in range(last, first - 1, -1):
            for j in range(i, min(last, i + longest - 1) + 1):
                behind[k, i] = min(behind[k, i], need[i, j] + behind[k - 1, j + 1])
        for j in range(first, last + 1):
            for i in range(max(first, j - longest + 1), j + 1):
                before[k, j + 1] = min(before[k, j + 1], need[i, j] + before[k - 1, i])
        behind[k] = np.minimum(behind[k], behind[k - 1])
        before[k] = np.minimum(before[k], before[k - 1])
        if behind[k, first] <= chiplets:
            clusters = min(clusters, k)
    least = np.empty(layers, dtype=np.int64)
    for i in range(layers):
        least[i] = need[i].min()
    return Windows(before, behind, least, longest, clusters)


@compiled
def find_labels(costs: SegmentCosts, windows: Windows, limit: int, most: int) -> Shorts:
    """Fewest clusters from every node to the end, at most ``most``; shape ``(n, C+1, C+1, 2)``.

    ``n`` layers of the segment; `NONE` where there is no path.
    """
    first, last, chiplets = costs.first, costs.last, costs.row.shape[0]
    before, behind, longest = windows.before[most], windows.behind[most], windows.longest
    layers = last - first + 1
    fewest = np.full((layers, chiplets + 1, chiplets + 1, 2), NONE, dtype=np.int16)
    path = np.empty((last + 2, 4), dtype=np.int64)
    times = np.empty((costs.gather.shape[1], longest, 4), dtype=np.int64)
    counts = np.zeros(costs.gather.shape[1], dtype=np.int64)
    made = np.full(costs.gather.shape[1], -1, dtype=np.int64)
    # Least time to hand over behind a layer from a region, by how many clusters follow: from the
    # fewest at the next position (`lowest`) to the most there, one after the other in `stairs`.
    lowest = np.full((layers + 1, chiplets + 1), NONE, dtype=np.int64)
    highest = np.zeros((layers + 1, chiplets + 1), dtype=np.int64)
    begins = np.full((layers, chiplets + 1, chiplets + 1), -1, dtype=np.int64)
    stairs = np.empty(1 << 16, dtype=np.int64)
    used = 0
    for i in range(last, first - 1, -1):
        if before[i] >= NONE or behind[i] >= NONE:
            continue
        for s in range(before[i], (0 if i == first else chiplets - behind[i]) + 1):
            for r in range(windows.least[i], chiplets - s + 1):
                if not costs.sizes[r] or (first == last and r == chiplets):
                    continue
                row, to = costs.row[s, r], s + r
                if made[row] != i:
                    made[row] = i
                    counts[row] = inner_times(costs, i, row, r, limit, path, times[row])
                for x in range(counts[row]):
                    j = i + x
                    opening = costs.reads[j + 1] - costs.reads[i]
                    best = fewest[i - first, s, r]
                    if j == last:
                        for pair in range(4):
                            inner = times[row, x, pair]
                            time = layer_time(costs.compute[j, r, pair & 1], costs.writes[j], inner)
                            if opening + time <= limit:
                                best[pair >> 1] = 1
                        continue
                    if to + behind[j + 1] > chiplets or to < before[j + 1]:
                        continue
                    low, high = lowest[j + 1 - first, to], highest[j + 1 - first, to]
                    if low + 1 >= max(best[0], best[1]) or low + 1 > most:
                        continue
                    begin = begins[j - first, s, r]
                    if begin < 0:
                        begin = used
                        used += high - low + 1
                        while used > len(stairs):
                            more = np.empty(2 * len(stairs), dtype=np.int64)
                            more[: len(stairs)] = stairs
                            stairs = more
                        stairs[begin:used] = NEVER
                        begins[j - first, s, r] = begin
                        for following in range(1, chiplets - to + 1):
                            scattered = costs.scatter[costs.phase[s], r, following]
                            for then in range(2):
                                count = fewest[j + 1 - first, to, following, then]
                                if count < NONE:
                                    time = _hand_over(costs, j, s, r, following, then, scattered)
                                    at = begin + count - low
                                    stairs[at] = min(stairs[at], time)
                        for at in range(begin + 1, used):
                            stairs[at] = min(stairs[at], stairs[at - 1])
                    for pair in range(4):
                        slack = limit - opening - times[row, x, pair]
                        if slack < costs.compute[j, r, pair & 1]:
                            continue
                        slack -= costs.writes[j]
                        for count in range(low, min(high, most - 1, best[pair >> 1] - 2) + 1):
                            if stairs[begin + count - low] <= slack:
                                best[pair >> 1] = count + 1
                                break
                for p in range(2):
                    if fewest[i - first, s, r, p] < NONE:
                        label = np.int64(fewest[i - first, s, r, p])
                        lowest[i - first, s] = min(lowest[i - first, s], label)
                        highest[i - first, s] = max(highest[i - first, s], label)
    return fewest


@compiled
def find_arcs(
    costs: SegmentCosts, windows: Windows, limit: int, most: int, fewest: Shorts, arcs: Arcs
) -> int:
    """List the arcs on paths of at most ``most`` clusters, by first layer; how many there are.

    ``fewest`` are labels for the same limit. Those that ``arcs`` has no room for are only counted.
    """
    first, last, chiplets = costs.first, costs.last, costs.row.shape[0]
    layers = last - first + 1
    path = np.empty((last + 2, 4), dtype=np.int64)
    times = np.empty((costs.gather.shape[1], windows.longest, 4), dtype=np.int64)
    counts = np.zeros(costs.gather.shape[1], dtype=np.int64)
    made = np.full(costs.gather.shape[1], -1, dtype=np.int64)
    passed = np.full((layers, chiplets + 1, chiplets + 1, 2), NONE, dtype=np.int16)
    """Fewest clusters before each node"""
    passed[0, 0] = 0
    number = 0
    for i in range(first, last + 1):
        x = i - first
        for s in range(chiplets):
            for r in range(1, chiplets - s + 1):
                row, to = costs.row[s, r], s + r
                for p in range(2):
                    done = passed[x, s, r, p]
                    if done >= NONE or done + fewest[x, s, r, p] > most:
                        continue
                    if made[row] != i:
                        made[row] = i
                        counts[row] = inner_times(costs, i, row, r, limit, path, times[row])
                    for length in range(counts[row]):
                        j = i + length
                        budget = limit - (costs.reads[j + 1] - costs.reads[i])
                        for q in range(2):
                            inner = times[row, length, 2 * p + q]
                            slack = budget - inner - costs.writes[j]
                            if budget - inner < costs.compute[j, r, q]:
                                continue
                            # Beyond the end there is one way on.
                            for following in range(1, 2 if j == last else chiplets - to + 1):
                                scattered = 0
                                if j < last:
                                    scattered = costs.scatter[costs.phase[s], r, following]
                                for then in range(1 if j == last else 2):
                                    left = time = 0
                                    if j < last:
                                        left = int(fewest[x + length + 1, to, following, then])
                                        if done + 1 + left > most:
                                            continue
                                        time = _hand_over(
                                            costs, j, s, r, following, then, scattered
                                        )
                                    if time > slack or done + 1 + left > most:
                                        continue
                                    if number < len(arcs.first):
                                        arcs.first[number], arcs.start[number] = i, s
                                        arcs.size[number], arcs.opening[number] = r, p
                                        arcs.last[number], arcs.closing[number] = j, q
                                        arcs.next_size[number] = following if j < last else 0
                                        arcs.next_opening[number] = then
                                        longest = max(
                                            costs.compute[j, r, q], time + costs.writes[j]
                                        )
                                        arcs.inner_ps[number] = budget - longest
                                    number += 1
                                    if j < last:
                                        after = passed[x + length + 1, to, following]
                                        if done + 1 < after[then]:
                                            after[then] = done + 1
    return number
