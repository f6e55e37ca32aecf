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

from scope_opt.model.compiled import compiled, inlined, loop, released
from scope_opt.search.exact.inner import end_inner_times, least_times
from scope_opt.search.packed import FROM, TO
from scope_opt.search.times import (
    closing_times,
    cluster_time,
    compute_time,
    fastest_layers,
    receive_times,
    total_weights,
)
from scope_opt.search.workers import ONE_WORKER

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from scope_opt.search.allowed import Allowed
    from scope_opt.search.exact.inner import InnerTimes, LeastTimes
    from scope_opt.search.packed import Bytes, Ints, PackedTables
    from scope_opt.search.workers import Workers

    Shorts = NDArray[np.int16]

TOO_MANY = 20000
"""Stands for "not with the chiplets there are" among int16 counts, to which those are added."""
FIRST_STEPS = 4
"""Times the chiplets: room for steps to begin with. A single layer has at most twice as many."""


class Coupling(NamedTuple):
    """What does not depend on the segment's ends."""

    received: Ints
    """(L, 2, C) receive times of layer ``l`` into partition ``q``, ascending"""
    order: Ints
    """(L, 2, C) the region sizes in that order"""
    least: LeastTimes
    quickest: Ints
    """(L+1,) cumulated over layers: least computation on any number of chiplets"""


def make_coupling(packed: PackedTables, allowed: Allowed) -> Coupling:
    """Sort the receive times and cumulate the least times of layers."""
    receive = receive_times(packed)
    order = np.argsort(receive, axis=2, kind="stable")
    quickest = np.diff(fastest_layers(packed)[:, 1:], axis=0).min(axis=1)
    return Coupling(
        np.take_along_axis(receive, order, axis=2),
        order + 1,
        least_times(packed, allowed),
        np.concatenate([[0], quickest.cumsum()]),
    )


class Labels(NamedTuple):
    """Results of the recursion; rows of layers outside the last call are stale.

    Each layer's `F` is wanted only until its prefix minima over the sizes in `Coupling.order` are
    there; of layer 0, which nothing is before, in any order. They fall at few of the sizes, the
    steps, and only these are kept: they also say which size has which label. `low` and `high`
    enclose the numbers of clusters that are possible; entries outside of them are stale as well.
    """

    first: int
    """Layer of the first row"""
    fewest: Shorts
    """(2, C+1, K+1) `F` of the module docstring, of the layer computed last"""
    steps: Ints
    """(rows, 3) the first step of either partition, and that after the last one"""
    start: Ints
    """(rows,) those of the first of them: of ``k`` clusters at ``k`` entries behind this"""
    width: Ints
    """(rows,) how many entries each step has"""
    received: Ints
    """(steps,) receive time into each step's size, ascending within a partition"""
    size: Ints
    """(steps,)"""
    minima: Shorts
    """(entries,) of step after step, for each number of clusters"""
    used: Ints
    """(2,) steps and entries of the rows computed so far"""
    best: Shorts
    """(rows, K+1) minimum over partitions and sizes; column 0 holds the minimum over ``k``"""
    low: Ints
    """(rows,) fewest clusters of a label that leaves enough chiplets to the layers before"""
    high: Ints
    """(rows,) most clusters of one; below `low` if there is none"""


def make_labels(rows: int, chiplets: int, clusters: int) -> Labels:
    """Room for so many layers from 0 on, and up to ``clusters`` clusters.

    Of steps as many as there mostly are; `solve_rows` makes more room.
    """
    return Labels(
        0,
        np.full((2, chiplets + 1, clusters + 1), TOO_MANY, dtype=np.int16),
        np.zeros((rows, 3), dtype=np.int64),
        np.zeros(rows, dtype=np.int64),
        np.zeros(rows, dtype=np.int64),
        np.empty(FIRST_STEPS * chiplets, dtype=np.int64),
        np.empty(FIRST_STEPS * chiplets, dtype=np.int64),
        np.empty(FIRST_STEPS * chiplets * clusters, dtype=np.int16),
        np.zeros(2, dtype=np.int64),
        np.full((rows, clusters + 1), TOO_MANY, dtype=np.int16),
        np.ones(rows, dtype=np.int64),
        np.zeros(rows, dtype=np.int64),
    )


def _enlarged(labels: Labels) -> Labels:
    """The same labels, with room for twice as many steps."""
    steps, entries = labels.used.tolist()
    larger = labels._replace(
        received=np.empty(2 * len(labels.received), dtype=np.int64),
        size=np.empty(2 * len(labels.size), dtype=np.int64),
        minima=np.empty(2 * len(labels.minima), dtype=np.int16),
    )
    larger.received[:steps] = labels.received[:steps]
    larger.size[:steps] = labels.size[:steps]
    larger.minima[:entries] = labels.minima[:entries]
    return larger


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
    coupling: Coupling,
    allowed: Allowed,
    shared: InnerTimes,
    last: int,
    limit: int,
    workers: Workers = ONE_WORKER,
) -> Segments:
    """Tables of the segments that end at ``last``; ``shared`` are the times without such an end.

    Inside clusters only skip edges depend on the end, those to layers behind it. ``limit`` bounds
    the times asked for; ``workers`` are those of `make_inner_times`.
    """
    edges = packed.edges
    crossing = edges[(edges[:, FROM] <= last) & (edges[:, TO] > last), FROM]
    split = min([last + 1, *crossing.tolist()])
    ending = end_inner_times(packed, coupling.least, allowed, shared, split, last, limit, workers)
    return Segments(last, shared._replace(stop=split), ending, closing_times(packed, 0, last))


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
def _last_step(behind: Labels, row: int, q: int, limit: int) -> int:
    """The last step of partition ``q`` whose receive time is at most ``limit``; -1 if none is."""
    first = behind.steps[row, q]
    low, high = first, behind.steps[row, q + 1]
    while low < high:
        middle = (low + high) // 2
        if behind.received[middle] <= limit:
            low = middle + 1
        else:
            high = middle
    return low - 1 if low > first else -1


@inlined
def _minima_at(labels: Labels, row: int, step: int) -> int:
    """Where the minima of a step of the row are: of ``k`` clusters at ``k`` entries behind that."""
    return int(labels.start[row] + (step - labels.steps[row, 0]) * labels.width[row])


# --- The labels of one layer ---------------------------------------------------------------------


@loop
def _window(run: Run, i: int) -> tuple[int, int, int]:
    """What labels of layer ``i`` can be like, by those behind it.

    The first layer that can be the last one of a cluster from ``i`` on, -1 if there is none; fewest
    and most clusters.
    """
    quickest, last = run.coupling.quickest, run.segments.last
    nearest, low, high = -1, TOO_MANY, 0
    for j in range(i, last + 1):
        if quickest[j + 1] - quickest[i] > run.limit:
            break
        fewest = most = 0
        if j < last:
            behind = run.known if j >= run.top else run.labels
            row = j + 1 - behind.first
            fewest, most = behind.low[row], behind.high[row]
            if fewest > most:
                continue
        if nearest < 0:
            nearest = j
        low, high = min(low, fewest + 1), max(high, most + 1)
    return nearest, low, min(high, run.clusters)


@loop
def _clear(labels: Labels, i: int, low: int, high: int) -> None:
    """No label of layer ``i`` yet."""
    row = i - labels.first
    labels.best[row, :] = TOO_MANY
    labels.low[row], labels.high[row] = 1, 0
    labels.fewest[:, :, low : high + 1] = TOO_MANY


@inlined
def _put_before(own: Shorts, minima: Shorts, at: int, r: int, low: int, high: int) -> None:
    """Improve the labels ``own`` by ``r`` chiplets before ``low`` to ``high`` other clusters.

    ``minima[at + k]`` is what ``k`` others take.
    """
    for k in range(low, high + 1):
        own[k + 1] = min(own[k + 1], np.int16(minima[at + k] + r))


@loop
def _put_first(run: Run, costs: InnerTimes, i: int, nearest: int, high: int) -> None:
    """Labels of layer ``i`` by the clusters of ``costs`` from there to ``nearest`` or further."""
    times, reads, top, limit, last = run.times, run.reads, run.top, run.limit, run.segments.last
    closing = run.segments.closing
    chiplets, reserved, own = times.shape[1] - 1, run.reserved[i], run.labels.fewest
    for r in range(1, chiplets + 1 - reserved):
        first, stop = _stored(costs, i, r)
        skipped = max(0, nearest - first)
        for j in range(first + skipped, stop):
            row = costs.start[i, r] + j - first
            if costs.least[row] > limit:
                break
            inner = costs.inner[row]
            behind = run.known if j >= top else run.labels
            row = j + 1 - behind.first
            if j < last and reserved + r + behind.best[row, 0] > chiplets:
                continue
            budget = limit - (reads[j + 1] - reads[i])
            low, most = behind.low[row], min(behind.high[row], high - 1)
            for pq in range(4):
                slack = _slack(times, closing[j, r], j, pq % 2, r, budget - inner[pq])
                if slack < 0:
                    continue
                if j == last:
                    own[pq // 2, r, 1] = r
                    continue
                for q_next in range(2):
                    step = _last_step(behind, row, q_next, slack)
                    if step >= 0:
                        at = _minima_at(behind, row, step)
                        _put_before(own[pq // 2, r], behind.minima, at, r, low, most)


@loop
def _take_minima(
    labels: Labels, received: Ints, order: Ints, i: int, low: int, high: int, chiplets: int
) -> None:
    """All but ``fewest`` of layer ``i``, of ``low`` to ``high`` clusters.

    ``received`` and ``order`` are receive times and their sizes, as in `Coupling`; labels of more
    than so many ``chiplets`` are of no use.
    """
    row, width = i - labels.first, high - low + 1
    fewest, minima, best = labels.fewest, labels.minima, labels.best[row]
    step, end = labels.used[0], labels.used[1]
    labels.start[row], labels.width[row] = end - low, width
    for p in range(2):
        labels.steps[row, p] = step
        # At `last` are the minima so far; the first step of a partition takes the place of none.
        last = end
        for x in range(width):
            minima[last + x] = TOO_MANY
        for n in range(order.shape[1]):
            own = fewest[p, order[p, n]]
            fewer = 0
            for x in range(width):
                fewer += own[low + x] < minima[last + x]
            if fewer > 0:
                for x in range(width):
                    minima[end + x] = min(minima[last + x], own[low + x])
                labels.received[step], labels.size[step] = received[p, n], order[p, n]
                last = end
                step += 1
                end += width
        for x in range(width):
            best[low + x] = min(best[low + x], minima[last + x])
    labels.steps[row, 2] = step
    labels.used[0], labels.used[1] = step, end
    for k in range(high, low - 1, -1):
        best[0] = min(best[0], best[k])
        if best[k] <= chiplets:
            labels.low[row], labels.high[row] = k, max(k, labels.high[row])


@released
def _solve_rows(run: Run, top: int, bottom: int) -> int:
    """Compute the labels of the layers ``top`` down to ``bottom``, as far as there is room.

    Returns the layer to go on with, below ``bottom`` if there is none.
    """
    segments, chiplets, used = run.segments, run.times.shape[1] - 1, run.labels.used
    received, order = run.coupling.received, run.coupling.order
    for i in range(top, bottom - 1, -1):
        nearest, low, high = _window(run, i)
        width = max(0, high - low + 1)
        if used[0] + 2 * chiplets > len(run.labels.size):
            return i
        if used[1] + 2 * chiplets * width > len(run.labels.minima):
            return i
        _clear(run.labels, i, low, high)
        if nearest < 0 or low > high:
            continue
        for costs in (segments.shared, segments.ending):
            _put_first(run, costs, i, nearest, high)
        left = chiplets - run.reserved[i]
        _take_minima(run.labels, received[i - 1], order[i - 1], i, low, high, left)
    return bottom - 1


def solve_rows(run: Run, at_once: int, pause: Callable[[], None]) -> Run:
    """Compute the labels that a run asks for; returns it with them.

    ``pause`` is called before each ``at_once`` layers and at the end.
    """
    run.labels.used[:] = 0
    pause()
    top = run.top
    while top >= run.bottom:
        reached = _solve_rows(run, top, max(run.bottom, top - at_once + 1))
        if reached == top:
            labels = _enlarged(run.labels)
            known = labels if run.known is run.labels else run.known
            run = run._replace(labels=labels, known=known)
        top = reached
        pause()
    return run


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
def _successor(behind: Labels, row: int, slack: int, wanted: int, k: int) -> tuple[int, int]:
    """Partition and size of a next cluster with that label and receive time; size 0 if none.

    Where prefix minima first reach the label, which is the least there is, a size has it.
    """
    for q_next in range(2):
        for step in range(behind.steps[row, q_next], _last_step(behind, row, q_next, slack) + 1):
            at = _minima_at(behind, row, step)
            if behind.minima[at + k] == wanted:
                return q_next, behind.size[step]
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
            row = j + 1 - behind.first
            if not behind.low[row] <= k - 1 <= behind.high[row]:
                continue
            q_next, r_next = _successor(behind, row, slack, wanted, k - 1)
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
