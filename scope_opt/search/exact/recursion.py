"""The exact recursion of one segment: fewest chiplets for every number of clusters.

For a bound ``T`` on every cluster's time, ``F[i, p, r, k]`` is the fewest chiplets that ``k``
clusters need for the layers from ``i`` to the segment's last one, when the first of them has ``r``
chiplets and partition ``p`` on layer ``i``. A cluster depends on the next one only through the
time to receive, a function of the next region's size and the next layer's partition; so with the
region sizes sorted by that time, a prefix minimum of the later layers' ``F`` answers which
continuation within the slack is cheapest.

All compiled; `scope_opt.search.exact.prover` drives it. (Section 2 of docs/exact.md, with its
symbols.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.model.compiled import compiled, inlined, loop
from scope_opt.search.exact.inner import end_inner_times
from scope_opt.search.packed import FROM, TO
from scope_opt.search.times import (
    closing_times,
    cluster_time,
    compute_time,
    fastest_layers,
    receive_times,
    total_weights,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from scope_opt.search.allowed import Allowed
    from scope_opt.search.exact.inner import InnerTimes
    from scope_opt.search.packed import Bytes, Ints, PackedTables

    Shorts = NDArray[np.int16]

TOO_MANY = 20000
"""Stands for "not with the chiplets there are" among int16 counts, to which those are added."""


class Coupling(NamedTuple):
    """What does not depend on the segment's ends."""

    received: Ints
    """(L, 2, C) receive times of layer ``l`` into partition ``q``, ascending"""
    order: Ints
    """(L, 2, C) the region sizes in that order"""
    fastest: Ints
    """(L+1, C+1) cumulated over layers: least computation on ``r`` chiplets"""


def make_coupling(packed: PackedTables) -> Coupling:
    """Sort the receive times and cumulate the least computation times."""
    receive = receive_times(packed)
    order = np.argsort(receive, axis=2, kind="stable")
    return Coupling(np.take_along_axis(receive, order, axis=2), order + 1, fastest_layers(packed))


class Labels(NamedTuple):
    """Results of the recursion; rows of layers outside the last call are stale.

    Each layer's `F` is wanted only until its prefix minima are there: these also say, where they
    fall, which size has which label.
    """

    first: int
    """Layer of the first row"""
    fewest: Shorts
    """(2, C+1, K+1) `F` of the module docstring, of the layer computed last"""
    within: Shorts
    """(rows, 2, C, K+1) prefix minima of `F` over the sizes in `Coupling.order`; not of layer 0"""
    best: Shorts
    """(rows, K+1) minimum over partitions and sizes; column 0 holds the minimum over ``k``"""


def make_labels(rows: int, chiplets: int, clusters: int) -> Labels:
    """Room for so many layers from 0 on, and up to ``clusters`` clusters."""
    return Labels(
        0,
        np.full((2, chiplets + 1, clusters + 1), TOO_MANY, dtype=np.int16),
        np.full((rows, 2, chiplets, clusters + 1), TOO_MANY, dtype=np.int16),
        np.full((rows, clusters + 1), TOO_MANY, dtype=np.int16),
    )


class Segments(NamedTuple):
    """What the recursion needs of the segments that end at ``last``."""

    last: int
    shared: InnerTimes
    """Clusters that see nothing of the segment's end"""
    ending: InnerTimes
    """The other clusters"""
    closing: Ints
    """`closing_times`"""


def make_segments(
    packed: PackedTables,
    allowed: Allowed,
    shared: InnerTimes,
    last: int,
    stopping: Callable[[], bool] = lambda: False,
) -> Segments:
    """Tables of the segments that end at ``last``; ``shared`` are the times without such an end.

    Inside clusters only skip edges depend on the end, those to layers behind it. ``stopping`` is
    that of `make_inner_times`.
    """
    edges = packed.edges
    crossing = edges[(edges[:, FROM] <= last) & (edges[:, TO] > last), FROM]
    split = min([last + 1, *crossing.tolist()])
    ending = end_inner_times(packed, allowed, shared, split, last, stopping)
    return Segments(last, shared._replace(stop=split), ending, closing_times(packed, last))


class Run(NamedTuple):
    """One run of the recursion: it asks for segments whose clusters all meet a time.

    It computes the labels of the layers ``top`` down to ``bottom``. Continuations at layers above
    ``top`` are taken from ``known``, the others from ``labels``; the two may be the same.
    """

    times: Ints
    """As in `PackedTables`"""
    coupling: Coupling
    segments: Segments
    limit: int
    """`T` of the module docstring"""
    clusters: int
    """Most clusters"""
    top: int
    bottom: int
    reads: Ints
    """(L+1,) cumulated over layers: the segment's opening DRAM reads"""
    reserved: Ints
    """(L+1,) chiplets that the layers before each need: labels that leave fewer are left out"""
    known: Labels
    labels: Labels


# --- One cluster ---------------------------------------------------------------------------------


@inlined
def _stored(costs: InnerTimes, i: int, r: int) -> tuple[int, int]:
    """Range of the last layers of the clusters from ``i`` on ``r`` chiplets."""
    first = max(i, costs.first)
    return first, min(costs.stop, first + costs.length[i, r])


@inlined
def _slack(times: Ints, closing: int, j: int, q: int, r: int, left: int) -> int:
    """What ``left``, the time for the end of layer ``j``, leaves for receiving; -1 if too little.

    The layer computes with partition ``q`` while it sends, which takes ``closing`` on its side.
    """
    if left < compute_time(times, j, q, r) or left < closing:
        return -1
    return left - closing


@inlined
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


# --- The labels of one layer ---------------------------------------------------------------------


@loop
def _clear(labels: Labels, i: int, most: int) -> None:
    """No label of layer ``i`` yet."""
    labels.best[i - labels.first, :] = TOO_MANY
    labels.fewest[:, :, : most + 1] = TOO_MANY


@inlined
def _put_before(own: Shorts, rest: Shorts, r: int, most: int) -> None:
    """Improve the labels ``own`` by ``r`` chiplets before up to ``most - 1`` other clusters."""
    for k in range(1, most):
        chiplets = np.int16(rest[k] + r)
        if chiplets < own[k + 1]:
            own[k + 1] = chiplets


@loop
def _put_first(run: Run, costs: InnerTimes, i: int) -> None:
    """Labels of layer ``i`` by all clusters of ``costs`` that begin there."""
    times, reads, top, limit, last = run.times, run.reads, run.top, run.limit, run.segments.last
    closing, fastest, received = run.segments.closing, run.coupling.fastest, run.coupling.received
    chiplets, reserved, own = times.shape[1] - 1, run.reserved[i], run.labels.fewest
    for r in range(1, chiplets + 1 - reserved):
        first, stop = _stored(costs, i, r)
        for j in range(first, stop):
            if fastest[j + 1, r] - fastest[i, r] > limit:
                break
            behind = run.known if j >= top else run.labels
            row = j + 1 - behind.first
            if j < last and reserved + r + behind.best[row, 0] > chiplets:
                continue
            inner = costs.inner[costs.start[i, r] + j - first]
            budget = limit - (reads[j + 1] - reads[i])
            most = min(run.clusters, last - i + 1, last - j + 1)
            for pq in range(4):
                slack = _slack(times, closing[j, r], j, pq % 2, r, budget - inner[pq])
                if slack < 0:
                    continue
                if j == last:
                    own[pq // 2, r, 1] = r
                    continue
                for q_next in range(2):
                    found = _count_within(received[j, q_next], slack)
                    if found > 0:
                        rest = behind.within[row, q_next, found - 1]
                        _put_before(own[pq // 2, r], rest, r, most)


@loop
def _take_minima(labels: Labels, order: Ints, i: int, most: int) -> None:
    """``within`` and ``best`` of layer ``i``; ``order`` are the sizes by receive time."""
    row = i - labels.first
    fewest, within, best = labels.fewest, labels.within[row], labels.best[row]
    for p in range(2):
        for r in range(1, fewest.shape[1]):
            own = fewest[p, r]
            for k in range(1, most + 1):
                best[k] = min(best[k], own[k])
        if i > 0:
            within[p, 0, :] = TOO_MANY
            for k in range(1, most + 1):
                within[p, 0, k] = fewest[p, order[p, 0], k]
            for n in range(1, within.shape[1]):
                before, after, own = within[p, n - 1], within[p, n], fewest[p, order[p, n]]
                for k in range(1, most + 1):
                    after[k] = min(before[k], own[k])
    for k in range(1, most + 1):
        best[0] = min(best[0], best[k])


@compiled
def solve_rows(run: Run) -> None:
    """Compute the labels that a run asks for."""
    segments = run.segments
    for i in range(run.top, run.bottom - 1, -1):
        most = min(run.clusters, segments.last - i + 1)
        _clear(run.labels, i, most)
        for costs in (segments.shared, segments.ending):
            _put_first(run, costs, i)
        _take_minima(run.labels, run.coupling.order[i - 1], i, most)


# --- A solution behind a label -------------------------------------------------------------------


@compiled
def _first_cluster(fewest: Shorts, wanted: int, clusters: int) -> tuple[int, int]:
    """Partition and size of a first cluster with the label that is wanted; the smallest size."""
    for r in range(1, fewest.shape[1]):
        for p in range(2):
            if fewest[p, r, clusters] == wanted:
                return p, r
    return 0, 0


@compiled
def _successor(
    coupling: Coupling, within: Shorts, j: int, slack: int, wanted: int, k: int
) -> tuple[int, int]:
    """Partition and size of a next cluster with that label and receive time; size 0 if none.

    Where prefix minima first reach the label, which is the least there is, a size has it.
    """
    for q_next in range(2):
        found = _count_within(coupling.received[j, q_next], slack)
        for n in range(found):
            if within[q_next, n, k] == wanted:
                return q_next, coupling.order[j, q_next, n]
    return 0, 0


@compiled
def _rest_of_cluster(
    run: Run, costs: InnerTimes, i: int, p: int, r: int, k: int, wanted: int
) -> tuple[int, int, int, int]:
    """What follows in a solution of label ``F[i, p, r, k]``, its first cluster being in ``costs``.

    ``wanted`` is the label of the next cluster.

    Last layer of the cluster, or -1; its partition; partition and size of the next cluster.
    """
    reads, last = run.reads, run.segments.last
    first, stop = _stored(costs, i, r)
    for j in range(first, stop):
        if (j == last) != (k == 1):
            continue
        left = run.limit - (reads[j + 1] - reads[i])
        behind = run.known if j >= run.top else run.labels
        for q in range(2):
            spent = costs.inner[costs.start[i, r] + j - first, 2 * p + q]
            closing = run.segments.closing[j, r]
            slack = _slack(run.times, closing, j, q, r, left - spent)
            if slack < 0:
                continue
            if j == last:
                return j, q, 0, 0
            within = behind.within[j + 1 - behind.first]
            q_next, r_next = _successor(run.coupling, within, j, slack, wanted, k - 1)
            if r_next > 0:
                return j, q, q_next, r_next
    return -1, 0, 0, 0


@compiled
def trace(run: Run, clusters: int) -> Ints:
    """One solution behind ``labels.best[bottom, clusters]``, after `solve_rows`.

    Returns
    -------
    int64 array, shape ``(clusters, 5)``
        First layer, last layer, region size, first and last partition of each cluster.
    """
    result = np.empty((clusters, 5), dtype=np.int64)
    i = run.bottom
    label = run.labels.best[i - run.labels.first, clusters]
    p, r = _first_cluster(run.labels.fewest, label, clusters)
    for index in range(clusters):
        k = clusters - index
        label -= r
        j, q, q_next, r_next = _rest_of_cluster(run, run.segments.shared, i, p, r, k, label)
        if j < 0:
            j, q, q_next, r_next = _rest_of_cluster(run, run.segments.ending, i, p, r, k, label)
        result[index] = np.array([i, j, r, p, q])
        i, p, r = j + 1, q_next, r_next
    return result


@compiled
def slowest_cluster(
    packed: PackedTables, seg_first: int, seg_last: int, path: Ints, partition: Bytes
) -> int:
    """Largest cluster time of a segment given as by `trace`, in ps."""
    slowest = 0
    for index in range(len(path)):
        i, j, r = path[index, 0], path[index, 1], path[index, 2]
        weights = total_weights(packed.layers, i, j)
        following = path[index + 1, 2] if index + 1 < len(path) else 0
        time = cluster_time(packed, seg_first, seg_last, i, j, weights, r, following, partition)
        slowest = max(slowest, time)
    return slowest
