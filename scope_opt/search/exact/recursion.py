"""The exact recursion of one segment: fewest chiplets for every number of clusters.

For a bound ``T`` on every cluster's time, ``F[i, p, r, k]`` is the fewest chiplets that ``k``
clusters need for the layers from ``i`` to the segment's last one, when the first of them has ``r``
chiplets and partition ``p`` on layer ``i``. A cluster depends on the next one only through the
time to receive, a function of the next region's size and the next layer's partition; so with the
region sizes sorted by that time, a prefix minimum of the later layers' ``F`` answers which
continuation within the slack is cheapest. Inside a cluster the partitions are a two-state shortest
path, because whether a WSP copy fits depends only on the cluster's weights and region.

All compiled; `scope_opt.search.exact.solver` drives it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from scope_opt.search.kernels import (
    COMPUTE,
    FROM,
    GATHER,
    IN_START,
    INPUT,
    NEVER,
    OUT_START,
    OUTPUT,
    READ,
    RECEIVE,
    SEND,
    TO,
    WEIGHTS,
    WITHIN,
    WRITE,
    cluster_time,
    stream_time,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scope_opt.search.kernels import Bytes, Ints, Kernel

    Shorts = NDArray[np.int16]
    Flags = NDArray[np.bool_]

TOO_MANY = 30000
"""Stands for "not with the chiplets there are" among int16 counts."""

ONLY_ISP, ONLY_WSP, FREE, WSP_IF_FITS = 1, 2, 3, 4
"""Entries of `Space.choice`: the partitions a layer may take."""


class Space(NamedTuple):
    """Which schedules are searched; everything is allowed where nothing restricts it."""

    clusters: Flags
    """(L, L) whether layers ``i..j`` may be a cluster"""
    regions: Flags
    """(L, C+1) whether a cluster that starts at ``i`` may have ``r`` chiplets"""
    choice: Bytes
    """(L,) `ONLY_ISP`, `ONLY_WSP`, `FREE`, or `WSP_IF_FITS` (else ISP)"""


class Coupling(NamedTuple):
    """What does not depend on the segment's ends."""

    received: Ints
    """(L, 2, C) receive times of layer ``l`` into partition ``q``, ascending"""
    order: Ints
    """(L, 2, C) the region sizes in that order"""
    fastest: Ints
    """(L+1, C+1) cumulated over layers: least computation on ``r`` chiplets"""


class Costs(NamedTuple):
    """Inner times of clusters, ragged: row ``(i, r)`` holds the last layers ``from_layer .. ``."""

    from_layer: int
    """Smallest last layer stored"""
    start: Ints
    """(L, C+1) where row ``(i, r)`` starts in ``inner``"""
    length: Ints
    """(L, C+1) how many last layers it has, from ``max(i, from_layer)`` on"""
    inner: Ints
    """(entries, 4) ps for first and last partition ``2 p + q``: everything but the last layer's
    computation and communication; `NEVER` where not allowed"""


def make_coupling(kernel: Kernel) -> Coupling:
    """Sort the receive times and cumulate the least computation times."""
    receive = kernel.times[:, 1:, RECEIVE:].transpose(0, 2, 1)
    order = np.argsort(receive, axis=2, kind="stable")
    fastest = kernel.times[:, :, COMPUTE:GATHER].min(axis=2)
    return Coupling(
        received=np.take_along_axis(receive, order, axis=2),
        order=order + 1,
        fastest=np.concatenate([np.zeros((1, fastest.shape[1]), np.int64), fastest.cumsum(axis=0)]),
    )


@njit(cache=True)
def last_layers(
    kernel: Kernel, coupling: Coupling, space: Space, seg_last: int, from_layer: int, limit: int
) -> tuple[Ints, Ints]:
    """Row starts and lengths of `Costs` for clusters that can meet ``limit`` at all."""
    layers, sizes = kernel.times.shape[0], kernel.times.shape[1]
    start = np.zeros((layers, sizes), dtype=np.int64)
    count = np.zeros((layers, sizes), dtype=np.int64)
    total = 0
    for i in range(seg_last + 1):
        for r in range(1, sizes):
            start[i, r] = total
            if not space.regions[i, r]:
                continue
            weights = 0
            j = i
            while j <= seg_last:
                weights += kernel.layers[j, WEIGHTS]
                if not kernel.stream and weights > kernel.weight_buffer_bytes * r:
                    break
                if coupling.fastest[j + 1, r] - coupling.fastest[i, r] > limit:
                    break
                j += 1
            count[i, r] = max(0, j - max(i, from_layer))
            total += count[i, r]
    return start, count


@njit(cache=True)
def fill_costs(
    kernel: Kernel,
    space: Space,
    seg_last: int,
    from_layer: int,
    start: Ints,
    count: Ints,
) -> Ints:
    """Inner times of all clusters of `last_layers`, for a segment that ends at ``seg_last``.

    For each first layer and region the last layer advances one by one. The shortest path restarts
    at the earliest layer whose cost changed: a skip edge that now ends inside the cluster, or a
    WSP copy that no longer fits beside the added weights.
    """
    layers, sizes = kernel.times.shape[0], kernel.times.shape[1]
    entries = 0
    for i in range(layers):
        for r in range(1, sizes):
            entries += count[i, r]
    inner = np.empty((entries, 4), dtype=np.int64)
    path = np.empty((layers + 1, 4), dtype=np.int64)
    leaving = np.empty(layers, dtype=np.int64)
    fits = np.empty(layers, dtype=np.bool_)
    times, facts, edges = kernel.times, kernel.layers, kernel.edges
    for i in range(seg_last + 1):
        for r in range(1, sizes):
            if count[i, r] == 0:
                continue
            weights = 0
            heaviest = 0  # largest weight among layers whose copy fits
            stop = max(i, from_layer) + count[i, r]
            for j in range(i, stop):
                weights += facts[j, WEIGHTS]
                room = kernel.weight_buffer_bytes * r - weights
                if kernel.stream:
                    room = max(0, room)
                changed = j
                leaving[j] = 0
                for edge in range(facts[j, OUT_START], facts[j + 1, OUT_START]):
                    if edges[edge, TO] > seg_last:
                        leaving[j] += edges[edge, WRITE]
                    else:
                        leaving[j] += kernel.edge_send_ps[edge, r]
                for index in range(facts[j, IN_START], facts[j + 1, IN_START]):
                    edge = kernel.in_edges[index]
                    u = edges[edge, FROM]
                    if u >= i:
                        leaving[u] -= kernel.edge_send_ps[edge, r]
                        changed = min(changed, u + 1)
                if heaviest * (r - 1) > room:
                    heaviest = 0
                    for u in range(i, j):
                        if fits[u]:
                            if facts[u, WEIGHTS] * (r - 1) > room:
                                fits[u] = False
                                changed = min(changed, u)
                            else:
                                heaviest = max(heaviest, facts[u, WEIGHTS])
                fits[j] = facts[j, WEIGHTS] * (r - 1) <= room
                if fits[j]:
                    heaviest = max(heaviest, facts[j, WEIGHTS])
                if j == i + 1:
                    changed = i  # a WSP layer that is no longer alone gathers for every sample
                for u in range(changed, j + 1):
                    choice = space.choice[u]
                    isp = choice in (ONLY_ISP, FREE) or (choice == WSP_IF_FITS and not fits[u])
                    wsp = fits[u] and choice != ONLY_ISP
                    gather = times[u, r, GATHER] if j > i else 0
                    if u == i:
                        path[i, 0] = 0 if isp else NEVER
                        path[i, 1] = path[i, 2] = NEVER
                        path[i, 3] = gather if wsp else NEVER
                        continue
                    for p in range(2):
                        for q in range(2):
                            best = NEVER
                            if wsp if q == 1 else isp:
                                for before in range(2):
                                    spent = path[u - 1, 2 * p + before]
                                    if spent < NEVER:
                                        moved = times[u - 1, r, WITHIN + 2 * before + q]
                                        spent += max(
                                            times[u - 1, r, COMPUTE + before],
                                            moved + leaving[u - 1],
                                        )
                                        best = min(best, spent)
                                if q == 1 and best < NEVER:
                                    best += gather
                            path[u, 2 * p + q] = best
                if j < from_layer:
                    continue
                row = start[i, r] + j - max(i, from_layer)
                refetch = 0
                if kernel.stream:
                    refetch = stream_time(kernel, i, j, weights, r)
                for pq in range(4):
                    value = path[j, pq]
                    if value < NEVER and space.clusters[i, j]:
                        inner[row, pq] = value + refetch
                    else:
                        inner[row, pq] = NEVER
    return inner


def make_costs(
    kernel: Kernel,
    coupling: Coupling,
    space: Space,
    seg_last: int,
    from_layer: int,
    limit: int,
) -> Costs:
    """Inner times of clusters with last layer ``from_layer..seg_last`` that may meet ``limit``."""
    start, count = last_layers(kernel, coupling, space, seg_last, from_layer, limit)
    inner = fill_costs(kernel, space, seg_last, from_layer, start, count)
    return Costs(from_layer, start, count, inner)


@njit(cache=True)
def closing_costs(kernel: Kernel, seg_last: int) -> Ints:
    """(L, C+1) fixed part of the communication of a cluster's last layer, in ps.

    Sending along the chain and along all its skip edges; for the segment's last layer the output.
    """
    facts, edges = kernel.layers, kernel.edges
    cost = np.zeros((kernel.times.shape[0], kernel.times.shape[1]), dtype=np.int64)
    for j in range(seg_last + 1):
        for r in range(1, kernel.times.shape[1]):
            cost[j, r] = kernel.times[j, r, SEND] if j < seg_last else facts[j, OUTPUT]
            for edge in range(facts[j, OUT_START], facts[j + 1, OUT_START]):
                if edges[edge, TO] > seg_last:
                    cost[j, r] += edges[edge, WRITE]
                else:
                    cost[j, r] += kernel.edge_send_ps[edge, r]
    return cost


@njit(cache=True)
def opening_reads(kernel: Kernel, seg_first: int) -> Ints:
    """(L+1,) cumulated over layers: DRAM reads of a segment that starts at ``seg_first``, in ps."""
    layers = kernel.times.shape[0]
    reads = np.zeros(layers + 1, dtype=np.int64)
    for layer in range(layers):
        read = 0
        if layer == seg_first:
            read += kernel.layers[layer, INPUT]
        if layer >= seg_first:
            for index in range(kernel.layers[layer, IN_START], kernel.layers[layer + 1, IN_START]):
                edge = kernel.in_edges[index]
                if kernel.edges[edge, FROM] < seg_first:
                    read += kernel.edges[edge, READ]
        reads[layer + 1] = reads[layer] + read
    return reads


class Labels(NamedTuple):
    """Results of the recursion; rows of layers outside the last call are stale."""

    fewest: Shorts
    """(L+1, 2, C+1, K+1) `F` of the module docstring"""
    within: Shorts
    """(L+1, 2, C, K+1) prefix minima of ``fewest`` over the sizes in `Coupling.order`"""
    best: Shorts
    """(L+1, K+1) minimum over partitions and sizes; column 0 holds the minimum over ``k``"""


def make_labels(layers: int, chiplets: int, clusters: int) -> Labels:
    """Room for up to ``clusters`` clusters."""
    return Labels(
        np.full((layers + 1, 2, chiplets + 1, clusters + 1), TOO_MANY, dtype=np.int16),
        np.full((layers + 1, 2, chiplets, clusters + 1), TOO_MANY, dtype=np.int16),
        np.full((layers + 1, clusters + 1), TOO_MANY, dtype=np.int16),
    )


class Segments(NamedTuple):
    """What the recursion needs of the segments that end at ``last``."""

    last: int
    costs: Costs
    """Clusters that end before ``ending.from_layer``: they see nothing of the segment's end"""
    ending: Costs
    """The other clusters"""
    closing: Ints
    """`closing_costs`"""


@njit(cache=True)
def _count_within(values: Ints, limit: int) -> int:
    """How many of the ascending ``values`` are at most ``limit``."""
    low, high = 0, len(values)
    while low < high:
        middle = (low + high) // 2
        if values[middle] <= limit:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True)
def solve_rows(
    kernel: Kernel,
    coupling: Coupling,
    segments: Segments,
    reads: Ints,
    reserved: Ints,
    top: int,
    bottom: int,
    limit: int,
    clusters: int,
    known: Labels,
    labels: Labels,
) -> None:
    """Compute the labels of layers ``top`` down to ``bottom`` for cluster times <= ``limit``.

    ``reads`` adds a segment's opening DRAM reads. ``reserved[i]`` chiplets are needed by the
    layers before ``i``: labels that leave fewer are left out. Continuations at layers above
    ``top`` are taken from ``known``, the others from ``labels``; the two may be the same.
    """
    times, length = kernel.times, kernel.times.shape[1]
    chiplets = length - 1
    last, split = segments.last, segments.ending.from_layer
    closing, fastest = segments.closing, coupling.fastest
    received, orders = coupling.received, coupling.order
    short_start, short_length = segments.costs.start, segments.costs.length
    long_start, long_length = segments.ending.start, segments.ending.length
    short_inner, long_inner = segments.costs.inner, segments.ending.inner
    fewest, within, best = labels.fewest, labels.within, labels.best
    known_within, known_best = known.within, known.best
    for i in range(top, bottom - 1, -1):
        most = min(clusters, last - i + 1)
        best[i, :] = TOO_MANY
        fewest[i, :, :, : most + 1] = TOO_MANY
        for r in range(1, length - reserved[i]):
            reach = min(split, i + short_length[i, r])
            if long_length[i, r] > 0:
                reach = max(i, split) + long_length[i, r]
            for j in range(i, reach):
                if fastest[j + 1, r] - fastest[i, r] > limit:
                    break
                ends = j == last
                if not ends:
                    rest_least = known_best[j + 1, 0] if j >= top else best[j + 1, 0]
                    if reserved[i] + r + rest_least > chiplets:
                        continue
                row = short_start[i, r] + j - i
                if j >= split:
                    row = long_start[i, r] + j - max(i, split)
                budget = limit - (reads[j + 1] - reads[i])
                for pq in range(4):
                    q = pq % 2
                    spent = short_inner[row, pq] if j < split else long_inner[row, pq]
                    slack = budget - spent
                    if slack < times[j, r, COMPUTE + q] or slack < closing[j, r]:
                        continue
                    found_row = fewest[i, pq // 2, r]
                    if ends:
                        found_row[1] = r
                        continue
                    slack -= closing[j, r]
                    for q_next in range(2):
                        found = _count_within(received[j, q_next], slack)
                        if found == 0:
                            continue
                        if j >= top:
                            rest = known_within[j + 1, q_next, found - 1]
                        else:
                            rest = within[j + 1, q_next, found - 1]
                        for k in range(1, min(most, last - j + 1)):
                            value = np.int16(rest[k] + r)
                            if value < found_row[k + 1]:
                                found_row[k + 1] = value
        least = TOO_MANY
        for p in range(2):
            for r in range(1, length):
                own = fewest[i, p, r]
                for k in range(1, most + 1):
                    if own[k] < best[i, k]:
                        best[i, k] = own[k]
            if i > 0:
                order = orders[i - 1, p]
                within[i, p, 0] = fewest[i, p, order[0]]
                for index in range(1, chiplets):
                    before, after = within[i, p, index - 1], within[i, p, index]
                    own = fewest[i, p, order[index]]
                    for k in range(1, most + 1):
                        after[k] = min(before[k], own[k])
        for k in range(1, most + 1):
            least = min(least, best[i, k])
        best[i, 0] = least


@njit(cache=True)
def trace(
    kernel: Kernel,
    coupling: Coupling,
    segments: Segments,
    reads: Ints,
    first: int,
    top: int,
    limit: int,
    clusters: int,
    known: Labels,
    labels: Labels,
) -> Ints:
    """One solution behind ``labels.best[first, clusters]``, after `solve_rows` up to ``top``.

    Returns
    -------
    int64 array, shape ``(clusters, 5)``
        First layer, last layer, region size, first and last partition of each cluster.
    """
    last, split = segments.last, segments.ending.from_layer
    result = np.empty((clusters, 5), dtype=np.int64)
    i, p, r = first, 0, 1
    for index in range(2 * (kernel.times.shape[1] - 1)):
        p, r = index % 2, 1 + index // 2
        if labels.fewest[i, p, r, clusters] == labels.best[i, clusters]:
            break
    for k in range(clusters, 0, -1):
        use_known = i > top
        wanted = known.fewest[i, p, r, k] if use_known else labels.fewest[i, p, r, k]
        done = False
        reach = min(split, i + segments.costs.length[i, r])
        if segments.ending.length[i, r] > 0:
            reach = max(i, split) + segments.ending.length[i, r]
        for j in range(i, reach):
            for q in range(2):
                if j < split:
                    row = segments.costs.start[i, r] + j - i
                    spent = segments.costs.inner[row, 2 * p + q]
                else:
                    row = segments.ending.start[i, r] + j - max(i, split)
                    spent = segments.ending.inner[row, 2 * p + q]
                slack = limit - (reads[j + 1] - reads[i]) - spent
                closing = segments.closing[j, r]
                if slack < kernel.times[j, r, COMPUTE + q] or slack < closing:
                    continue
                result[clusters - k] = np.array([i, j, r, p, q])
                if j == last:
                    done = k == 1
                elif k > 1:
                    for q_next in range(2):
                        order = coupling.order[j, q_next]
                        found = _count_within(coupling.received[j, q_next], slack - closing)
                        for index in range(found):
                            if j >= top:
                                rest = known.fewest[j + 1, q_next, order[index], k - 1]
                            else:
                                rest = labels.fewest[j + 1, q_next, order[index], k - 1]
                            if rest + r == wanted:
                                i, p, r = j + 1, q_next, order[index]
                                done = True
                                break
                        if done:
                            break
                if done:
                    break
            if done:
                break
    return result


@njit(cache=True)
def cluster_partitions(
    kernel: Kernel, space: Space, seg_last: int, found: Ints, partition: Bytes
) -> None:
    """Write the best partitions of one cluster of `trace` into ``partition``, shape ``(L,)``."""
    i, j, r = found[0], found[1], found[2]
    times, facts, edges = kernel.times, kernel.layers, kernel.edges
    weights = 0
    for u in range(i, j + 1):
        weights += facts[u, WEIGHTS]
    room = kernel.weight_buffer_bytes * r - weights
    if kernel.stream:
        room = max(0, room)
    spent = np.full((j - i + 1, 2), NEVER, dtype=np.int64)
    came_from = np.zeros((j - i + 1, 2), dtype=np.int64)
    for u in range(i, j + 1):
        fits = facts[u, WEIGHTS] * (r - 1) <= room
        choice = space.choice[u]
        isp = choice in (ONLY_ISP, FREE) or (choice == WSP_IF_FITS and not fits)
        wsp = fits and choice != ONLY_ISP
        leaving = 0
        if u > i:
            for edge in range(facts[u - 1, OUT_START], facts[u, OUT_START]):
                if edges[edge, TO] > seg_last:
                    leaving += edges[edge, WRITE]
                elif edges[edge, TO] > j:
                    leaving += kernel.edge_send_ps[edge, r]
        for q in range(2):
            if not (wsp if q == 1 else isp):
                continue
            if u == i:
                spent[0, q] = 0 if q == found[3] else NEVER
                continue
            for before in range(2):
                value = spent[u - 1 - i, before]
                if value == NEVER:
                    continue
                if before == 1:
                    value += times[u - 1, r, GATHER]
                moved = times[u - 1, r, WITHIN + 2 * before + q] + leaving
                value += max(times[u - 1, r, COMPUTE + before], moved)
                if value < spent[u - i, q]:
                    spent[u - i, q] = value
                    came_from[u - i, q] = before
    q = found[4]
    for u in range(j, i - 1, -1):
        partition[u] = q
        q = came_from[u - i, q]


@njit(cache=True)
def slowest_cluster(
    kernel: Kernel, seg_first: int, seg_last: int, path: Ints, partition: Bytes
) -> int:
    """Largest cluster time of a segment given as by `trace`, in ps."""
    slowest = 0
    for index in range(len(path)):
        i, j, r = path[index, 0], path[index, 1], path[index, 2]
        weights = 0
        for layer in range(i, j + 1):
            weights += kernel.layers[layer, WEIGHTS]
        following = path[index + 1, 2] if index + 1 < len(path) else 0
        time = cluster_time(kernel, seg_first, seg_last, i, j, weights, r, following, partition)
        slowest = max(slowest, time)
    return slowest
