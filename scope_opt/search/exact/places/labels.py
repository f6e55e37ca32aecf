"""The recursion of one segment over places: fewest clusters within a largest time.

For a bound ``T`` on every cluster's time, the label of ``(i, s, r, p)`` is the fewest clusters that
the layers from ``i`` to the segment's last one need, when the first of them lies on the ``r``
positions from ``s`` and layer ``i`` has partition ``p``. Regions follow one another, so the next
cluster begins at ``s + r``, and what is handed over to it depends on nothing but both regions and
its first partition. Inside a cluster the partitions are a two-state shortest path.

Where a segment must have several clusters, there is one more family of labels for each number
``n``: the fewest among at least ``n`` clusters.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.model.compiled import compiled
from scope_opt.search.allowed import ONLY_ISP, ONLY_WSP, WSP_IF_FITS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scope_opt.search.exact.places.costs import Costs
    from scope_opt.search.exact.places.sizes import LeastCosts

    Ints = NDArray[np.int64]
    Shorts = NDArray[np.int16]
    Offsets = NDArray[np.int32]
    Bytes = NDArray[np.int8]
    Flags = NDArray[np.bool_]

NEVER = 2**62
"""Stands for "not at all" among times."""
NONE = 30000
"""Stands for "not at all" among counts of clusters, chiplets and positions."""
FACTOR = 1 - 1e-12
"""As `ceil_int` rounds."""


class Window(NamedTuple):
    """Where clusters may begin, found by a recursion that knows sizes only."""

    before: Ints
    """(L+2,) fewest chiplets for the layers of the segment before each one"""
    behind: Ints
    """(L+2,) fewest chiplets for the layers from each one on"""
    least_size: Ints
    """(L,) fewest chiplets for a cluster that begins at each layer"""
    longest: int
    """Most layers in a cluster"""


class Labels(NamedTuple):
    """Labels of one family, and what they were made of."""

    fewest: Shorts
    """(n, C+1, C+1, 2) for the segment's layer, position, size and partition"""
    lowest: Shorts
    """(n, C+1) the least of them at each position"""
    spread: Shorts
    """(n, C+1) how many values there are from the least to the greatest"""


def make_labels(layers: int, chiplets: int) -> Labels:
    """Room for segments of so many layers."""
    size = chiplets + 1
    return Labels(
        np.full((layers, size, size, 2), NONE, dtype=np.int16),
        np.full((layers, size), NONE, dtype=np.int16),
        np.zeros((layers, size), dtype=np.int16),
    )


@compiled
def inner_times(
    costs: Costs | LeastCosts,
    i: int,
    size: int,
    low: int,
    high: int,
    row: int,
    limit: int,
    reads: Ints,
    monotone: bool,
    path: Ints,
    fits: Flags,
    inner: Ints,
) -> int:
    """Times of the clusters that begin at layer ``i`` on a region, without their last layers.

    ``inner[x, 2 p + q]`` is that of ``i..i+x`` with first and last partition ``p`` and ``q``,
    DRAM reads and the last layer's computation and communication left out. Returns how many last
    layers can meet the limit. The region has ``size`` chiplets; where costs are of classes of
    sizes in place of sizes, that is a class, of sizes from ``low`` to ``high``.
    """
    last, writes, compute, fastest = costs.last, costs.writes, costs.compute, costs.fastest
    gather, within, weights, choice = costs.gather, costs.within, costs.weights, costs.choice
    held, activation_bytes, waiting = costs.held, costs.activation_bytes, costs.waiting
    stream, arriving = costs.stream, costs.arriving[i]
    stored = 0
    loaded = 0
    heaviest = 0
    count = 0
    for j in range(i, last + 1):
        stored += weights[j]
        if weights[j] > 0:
            loaded += 1
        room = costs.buffer_bytes * high - stored
        refetch = 0
        if room < 0:
            if not stream:
                break
            femtoseconds = -room * costs.refetch_fs_per_byte[size]
            refetch = loaded * costs.refetch_latency_ps + (femtoseconds + 999) // 1000
            room = 0
        opening = reads[j + 1] - reads[i]
        if fastest[j + 1, size] - fastest[i, size] + refetch + opening > limit or j - i >= len(
            inner
        ):
            break
        changed = j
        if heaviest * (low - 1) > room:
            heaviest = 0
            for u in range(i, j):
                if fits[u]:
                    if weights[u] * (low - 1) > room:
                        fits[u] = False
                        changed = min(changed, u)
                    else:
                        heaviest = max(heaviest, weights[u])
        fits[j] = weights[j] * (low - 1) <= room
        if fits[j]:
            heaviest = max(heaviest, weights[j])
        if j == i + 1:
            changed = i  # a WSP layer that is no longer alone gathers for every sample
        for u in range(changed, j + 1):
            allowed = choice[u]
            isp = allowed != ONLY_WSP and not (allowed == WSP_IF_FITS and fits[u])
            wsp = fits[u] and allowed != ONLY_ISP
            if activation_bytes >= 0:
                most = activation_bytes * high - waiting[u] - arriving
                isp = isp and held[u, 0, size] <= most
                wsp = wsp and held[u, 1, size] <= most
            gathered = gather[u, row] if j > i else 0
            if u == i:
                path[i, 0] = 0 if isp else NEVER
                path[i, 1] = NEVER
                path[i, 2] = NEVER
                path[i, 3] = gathered if wsp else NEVER
                continue
            after_isp, after_wsp = compute[u - 1, size, 0], compute[u - 1, size, 1]
            written = writes[u - 1]
            for q in range(2):
                if not (wsp if q == 1 else isp):
                    path[u, q] = NEVER
                    path[u, 2 + q] = NEVER
                    continue
                step_isp = max(after_isp, within[u - 1, row, q] + written)
                step_wsp = max(after_wsp, within[u - 1, row, 2 + q] + written)
                for p in range(2):
                    spent = min(path[u - 1, 2 * p] + step_isp, path[u - 1, 2 * p + 1] + step_wsp)
                    if q == 1:
                        spent += gathered
                    path[u, 2 * p + q] = min(spent, NEVER)
        least = NEVER
        for pq in range(4):
            value = path[j, pq]
            if value < NEVER:
                value += refetch
                least = min(least, value)
            inner[j - i, pq] = value if costs.clusters[i, j] else NEVER
        if monotone and least + opening > limit:
            break
        count += 1
    return count


@compiled
def label_pass(
    costs: Costs,
    window: Window,
    limit: int,
    most: int,
    closing: bool,
    top: int,
    bottom: int,
    labels: Labels,
    after: Labels,
    inner: Ints,
    stamp: Ints,
    counts: Ints,
    offset: Offsets,
    steps: Ints,
    used: int,
) -> int:
    """Fill a family of labels for clusters within ``limit``, at most ``most`` of them.

    Of the layers from ``top`` down to ``bottom``, those behind them being filled. ``after`` are the
    labels of the clusters behind; ``closing`` says whether a single cluster is enough.
    ``offset[x, s, r]`` says where ``steps``, of which ``used`` are taken, has the least times to
    hand over what layer ``x`` of the segment sends from size ``r`` to position ``s``, by the
    clusters behind. Returns how many are taken then, -1 if ``steps`` is too short.
    """
    first, last = costs.first, costs.last
    reads, writes, travel, wanted = costs.reads, costs.writes, costs.travel, costs.wanted
    least_hand_over, compute, monotone = costs.least_hand_over, costs.compute, costs.monotone
    rows, phase, scatter, gather_count = costs.row, costs.phase, costs.scatter, costs.gather_count
    ps_per_byte, regions = costs.ps_per_byte, costs.regions
    before, behind, least_size = window.before, window.behind, window.least_size
    fewest, lowest, spread = labels.fewest, labels.lowest, labels.spread
    next_fewest, next_lowest, next_spread = after.fewest, after.lowest, after.spread
    chiplets = rows.shape[0]
    path = np.empty((last + 2, 4), dtype=np.int64)
    fits = np.empty(last + 2, dtype=np.bool_)
    for i in range(top, bottom - 1, -1):
        x = i - first
        fewest[x] = NONE
        lowest[x] = NONE
        spread[x] = 0
        offset[x] = -1
        if before[i] >= NONE or behind[i] >= NONE or least_size[i] >= NONE:
            continue
        from_position, to_position = before[i], chiplets - behind[i]
        if i == first:
            from_position = to_position = 0
        for s in range(from_position, to_position + 1):
            least = NONE
            greatest = 0
            for r in range(least_size[i], chiplets - s + 1):
                # One layer on the whole package has rules of its own.
                if not regions[i, r] or (first == last and r == chiplets):
                    continue
                row = rows[s, r]
                if stamp[row] != i:
                    stamp[row] = i
                    counts[row] = inner_times(
                        costs, i, r, r, r, row, limit, reads, monotone, path, fits, inner[row]
                    )
                best_isp = NONE
                best_wsp = NONE
                position = s + r
                begin = 0
                for length in range(counts[row]):
                    j = i + length
                    if j < last:
                        if position + behind[j + 1] > chiplets or position < before[j + 1]:
                            continue
                        begin = next_lowest[j + 1 - first, position]
                        if begin + 1 >= max(best_isp, best_wsp):
                            continue
                    budget = limit - (reads[j + 1] - reads[i])
                    for pq in range(4):
                        slack = budget - inner[row, length, pq]
                        if slack < compute[j, r, pq & 1]:
                            continue
                        slack -= writes[j]
                        if j == last:
                            if slack >= 0 and closing:
                                if pq < 2:
                                    best_isp = 1
                                else:
                                    best_wsp = 1
                            continue
                        best = best_isp if pq < 2 else best_wsp
                        if begin + 1 >= best or slack < least_hand_over[j, r]:
                            continue
                        values = next_spread[j + 1 - first, position]
                        at = offset[j - first, position, r]
                        if at < 0:
                            if used + values > len(steps):
                                return -1
                            at = used
                            used += values
                            offset[j - first, position, r] = at
                            for step in range(values):
                                steps[at + step] = NEVER
                            scattered = scatter[phase[s], r]
                            if position < chiplets:
                                gathered = gather_count[phase[position]]
                                for following in range(1, chiplets - position + 1):
                                    isp = next_fewest[j + 1 - first, position, following, 0]
                                    wsp = next_fewest[j + 1 - first, position, following, 1]
                                    if isp >= NONE and wsp >= NONE:
                                        continue
                                    load = float(travel[j] * scattered[following]) / (r * following)
                                    if wsp < NONE:
                                        time = math.ceil(load * ps_per_byte * FACTOR)
                                        if time < steps[at + wsp - begin]:
                                            steps[at + wsp - begin] = time
                                    if isp < wsp:
                                        load += float(wanted[j] * gathered[following]) / following
                                        time = math.ceil(load * ps_per_byte * FACTOR)
                                        if time < steps[at + isp - begin]:
                                            steps[at + isp - begin] = time
                            for step in range(1, values):
                                steps[at + step] = min(steps[at + step], steps[at + step - 1])
                        for step in range(min(values, best - 1 - begin)):
                            if steps[at + step] <= slack:
                                best = begin + step + 1
                                break
                        if best <= most:
                            if pq < 2:
                                best_isp = best
                            else:
                                best_wsp = best
                fewest[x, s, r, 0] = best_isp
                fewest[x, s, r, 1] = best_wsp
                least = min(least, best_isp, best_wsp)
                if best_isp < NONE:
                    greatest = max(greatest, best_isp)
                if best_wsp < NONE:
                    greatest = max(greatest, best_wsp)
            lowest[x, s] = least
            if least < NONE:
                spread[x, s] = greatest - least + 1
    return used


@compiled
def continuations(
    costs: Costs,
    limit: int,
    i: int,
    s: int,
    r: int,
    p: int,
    clusters_left: int,
    longest: int,
    closing: bool,
    after: Labels,
) -> Ints:
    """Ways on from a label: last layer and partition, time left; next size and partition, 0 at end.

    The clusters behind number at most ``clusters_left - 1``. Shape (ways, 5).
    """
    last, first = costs.last, costs.first
    chiplets = costs.row.shape[0]
    path = np.empty((last + 2, 4), dtype=np.int64)
    fits = np.empty(last + 2, dtype=np.bool_)
    inner = np.empty((longest, 4), dtype=np.int64)
    row = costs.row[s, r]
    count = inner_times(
        costs, i, r, r, r, row, limit, costs.reads, costs.monotone, path, fits, inner
    )
    ways = np.empty((16, 5), dtype=np.int64)
    found = 0
    position = s + r
    for length in range(count):
        j = i + length
        for q in range(2):
            slack = limit - (costs.reads[j + 1] - costs.reads[i]) - inner[length, 2 * p + q]
            if slack < costs.compute[j, r, q]:
                continue
            slack -= costs.writes[j]
            if j == last:
                if slack >= 0 and closing:
                    ways[found] = (j, q, slack, 0, 0)
                    found += 1
            elif position < chiplets and slack >= 0:
                for following in range(1, chiplets - position + 1):
                    for then in range(2):
                        behind = after.fewest[j + 1 - first, position, following, then]
                        if behind >= clusters_left:
                            continue
                        shares = r * following
                        sent = costs.travel[j] * costs.scatter[costs.phase[s], r, following]
                        load = float(sent) / shares
                        if then == 0:
                            gathered = costs.gather_count[costs.phase[position], following]
                            load += float(costs.wanted[j] * gathered) / following
                        time = math.ceil(load * costs.ps_per_byte * FACTOR)
                        if time <= slack:
                            ways[found] = (j, q, slack - time, following, then)
                            found += 1
                            if found == len(ways):
                                more = np.empty((2 * found, 5), dtype=np.int64)
                                more[:found] = ways
                                ways = more
            if found == len(ways):
                more = np.empty((2 * found, 5), dtype=np.int64)
                more[:found] = ways
                ways = more
    return ways[:found]


@compiled
def cluster_partitions(
    costs: Costs | LeastCosts,
    i: int,
    j: int,
    size: int,
    low: int,
    high: int,
    row: int,
    p: int,
    q: int,
    partition: Bytes,
) -> None:
    """Set the partitions with which a cluster takes its inner time; see `inner_times`."""
    stored = 0
    for layer in range(i, j + 1):
        stored += costs.weights[layer]
    room = costs.buffer_bytes * high - stored
    if costs.stream:
        room = max(0, room)
    spent = np.full((j - i + 1, 2), NEVER, dtype=np.int64)
    came = np.zeros((j - i + 1, 2), dtype=np.int8)
    for u in range(i, j + 1):
        for own in range(2):
            if (u == i and own != p) or (u == j and own != q):
                continue
            fits = costs.weights[u] * (low - 1) <= room
            allowed = costs.choice[u]
            if own == 1 and (not fits or allowed == ONLY_ISP):
                continue
            if own == 0 and (allowed == ONLY_WSP or (allowed == WSP_IF_FITS and fits)):
                continue
            if costs.activation_bytes >= 0:
                need = costs.held[u, own, size] + costs.waiting[u] + costs.arriving[i]
                if need > costs.activation_bytes * high:
                    continue
            pre = costs.gather[u, row] if own == 1 and j > i else 0
            if u == i:
                spent[0, own] = pre
                continue
            for earlier in range(2):
                value = spent[u - 1 - i, earlier]
                if value >= NEVER:
                    continue
                moved = costs.within[u - 1, row, 2 * earlier + own] + costs.writes[u - 1]
                value += max(costs.compute[u - 1, size, earlier], moved) + pre
                if value < spent[u - i, own]:
                    spent[u - i, own] = value
                    came[u - i, own] = earlier
    own = q
    for u in range(j, i - 1, -1):
        partition[u] = own
        own = came[u - i, own]
