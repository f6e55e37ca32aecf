"""Inside a cluster: its least time up to the last layer, over the partitions.

For a cluster of first layer ``i`` on ``r`` chiplets, ``D[u, p, q]`` is the least time of the layers
``i..u`` with partition ``p`` on the first and ``q`` on the last one, what follows in layer ``u``
left out: a shortest path over two states per layer, because whether a WSP copy fits depends only
on the cluster's weights and region. All last layers ``j`` come from one path that is extended layer
by layer. (Section 3 of docs/exact.md.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.model.compiled import compiled, inlined, loop, released
from scope_opt.search.allowed import may_isp, may_wsp
from scope_opt.search.equal import edges_of, kinds
from scope_opt.search.packed import FROM, GATHER, IN_START, NEVER, TO, WEIGHTS
from scope_opt.search.stopping import SearchStopped
from scope_opt.search.times import (
    ISP,
    WSP,
    compute_time,
    copy_fits,
    fastest_layers,
    free_bytes,
    gather_time,
    inner_layer_time,
    leaving_time,
    receiving_time,
    stream_time,
    total_weights,
)
from scope_opt.search.workers import ONE_WORKER

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scope_opt.search.allowed import Allowed
    from scope_opt.search.packed import Bytes, Ints, PackedTables
    from scope_opt.search.workers import Workers

    Flags = NDArray[np.bool_]


CLUSTERS = 1 << 20
"""Inner times that are computed between two looks at the clock, about."""


class LeastTimes(NamedTuple):
    """What layers take at least on ``r`` chiplets in any cluster and segment."""

    before: Ints
    """(L+1, C+1) ps cumulated over layers: of one that another one follows in its cluster"""
    last: Ints
    """(L, C+1) ps: of the last one of a cluster"""


def least_computation(packed: PackedTables) -> LeastTimes:
    """Computation alone."""
    fastest = fastest_layers(packed)
    return LeastTimes(fastest, np.diff(fastest, axis=0))


@compiled
def least_times(packed: PackedTables, allowed: Allowed) -> LeastTimes:
    """What counts whatever a cluster's end: computation, transfers to the next layer and gathers.

    Edges are left out. WSP needs room for its copy beside the layer's own weights. A layer that
    may be neither counts 0, and one that none can follow only its computation.
    """
    times, layers = packed.times, packed.layers
    before = np.zeros((times.shape[0] + 1, times.shape[1]), dtype=np.int64)
    last = np.zeros(times.shape[:2], dtype=np.int64)
    for r in range(1, times.shape[1]):
        then_isp = then_wsp = False
        for layer in range(times.shape[0] - 1, -1, -1):
            room = free_bytes(packed.weight_buffer_bytes, r, layers[layer, WEIGHTS], packed.stream)
            choice, fits = allowed.choice[layer], copy_fits(layers, layer, r, room)
            isp, wsp = may_isp(choice, False), may_wsp(choice, fits)
            inside = alone = NEVER
            for own in range(2):
                if not (wsp if own == WSP else isp):
                    continue
                alone = min(alone, compute_time(times, layer, own, r))
                gather = gather_time(times, layer, own, r, False)
                for then in range(2):
                    if then_wsp if then == WSP else then_isp:
                        passed = inner_layer_time(times, layer, own, then, r, 0)
                        inside = min(inside, gather + passed)
            last[layer, r] = 0 if alone == NEVER else alone
            before[layer + 1, r] = last[layer, r] if inside == NEVER else inside
            then_isp, then_wsp = isp, wsp
        for layer in range(times.shape[0]):
            before[layer + 1, r] += before[layer, r]
    return LeastTimes(before, last)


@inlined
def _least_time(before: Ints, last: Ints, i: int, j: int, r: int) -> int:
    """Of the cluster ``i..j``; the arrays are those of `LeastTimes`."""
    return int(before[j, r] - before[i, r] + last[j, r])


class InnerTimes(NamedTuple):
    """Inner times of clusters, ragged: row ``(i, r)`` holds the last layers from ``first`` on."""

    first: int
    """Smallest last layer stored"""
    stop: int
    """The last layer of a cluster is below it"""
    alike: Ints
    """(L,) the first layer whose rows a layer's rows begin like; they are stored once"""
    start: Ints
    """(L, C+1) where row ``(i, r)`` starts in ``inner``"""
    length: Ints
    """(L, C+1) how many last layers it has, from ``max(i, first)`` on"""
    inner: Ints
    """(entries, 4) ps for first and last partition ``2 p + q``: everything but the last layer's
    computation and communication; `NEVER` where not allowed"""
    least: Ints
    """(entries,) ps that neither this cluster nor a longer one of the row takes less than"""


def make_inner_times(
    packed: PackedTables,
    least: LeastTimes,
    allowed: Allowed,
    limit: int,
    workers: Workers = ONE_WORKER,
) -> InnerTimes:
    """Inner times of clusters that see no segment's end and may meet ``limit``.

    ``least`` are the `least_times`.

    Raises
    ------
    SearchStopped
        If the workers, asked every so many clusters, are stopping.
    """
    length = last_layers(packed, least, allowed, limit)
    rows = _rows(0, len(length), _alike(packed, allowed, length), length)
    rows = rows._replace(inner=fill_inner_times(packed, allowed, rows, workers))
    return rows._replace(least=_least_times(packed.times, rows))


def end_inner_times(
    packed: PackedTables,
    least: LeastTimes,
    allowed: Allowed,
    shared: InnerTimes,
    first: int,
    seg_last: int,
    limit: int,
    workers: Workers = ONE_WORKER,
) -> InnerTimes:
    """Those with a last layer ``first..seg_last`` of the same clusters, in segments that end there.

    ``shared`` are the `make_inner_times`, whose limit is no smaller; the others are as there.
    """
    layers = np.arange(len(shared.length))
    begin = np.maximum(layers, first)[:, None]
    stop = layers[:, None] + _within(least, shared.length, limit)
    stop = np.minimum(stop, seg_last + 1)
    rows = _rows(first, seg_last + 1, layers, np.maximum(stop - begin, 0))
    rows = rows._replace(inner=fill_inner_times(packed, allowed, rows, workers))
    return rows._replace(least=_least_times(packed.times, rows))


@released
def _within(least: LeastTimes, length: Ints, limit: int) -> Ints:
    """How many of the clusters of each row can meet a limit."""
    before, last = least.before, least.last
    fewer = np.zeros_like(length)
    for i in range(len(length)):
        for r in range(1, length.shape[1]):
            low, high = 0, length[i, r]
            while low < high:
                middle = (low + high + 1) // 2
                if _least_time(before, last, i, i + middle - 1, r) <= limit:
                    low = middle
                else:
                    high = middle - 1
            fewer[i, r] = low
    return fewer


def _stored(alike: Ints, length: Ints) -> Ints:
    """(L, C+1) lengths of the rows that are stored, 0 for those that are part of another one."""
    return np.where((alike == np.arange(len(alike)))[:, None], length, 0)


def _rows(first: int, stop: int, alike: Ints, length: Ints) -> InnerTimes:
    """Rows not filled yet."""
    own = _stored(alike, length)
    start = np.concatenate([[0], own.ravel().cumsum()[:-1]]).reshape(own.shape)[alike]
    none = np.empty((0, 4), dtype=np.int64)
    return InnerTimes(first, stop, alike, start, length, none, none[:, 0])


def fill_inner_times(
    packed: PackedTables, allowed: Allowed, rows: InnerTimes, workers: Workers = ONE_WORKER
) -> Ints:
    """``inner`` of the clusters of ``rows``, for a segment that ends with the last layer there."""
    seg_last = rows.stop - 1
    length = _stored(rows.alike, rows.length)
    done = np.concatenate([[0], np.cumsum(length.sum(axis=1))])
    inner = np.empty((int(done[-1]), 4), dtype=np.int64)
    # A few first layers at a time where they have many clusters.
    cuts = np.searchsorted(done, np.arange(0, int(done[-1]), CLUSTERS), side="right") - 1
    cuts = np.unique(np.concatenate([[0], cuts, [seg_last + 1]]))

    def fill(part: int) -> None:
        if workers.stopping():
            raise SearchStopped
        low, high = cuts[part], cuts[part + 1]
        _fill_rows(packed, allowed, seg_last, rows.first, low, high, rows.start, length, inner)

    workers.each(fill, len(cuts) - 1)
    return inner


@compiled
def last_layers(packed: PackedTables, least: LeastTimes, allowed: Allowed, limit: int) -> Ints:
    """Lengths of the rows of `InnerTimes`: clusters that can meet ``limit`` at all."""
    layers, sizes = packed.times.shape[0], packed.times.shape[1]
    before, last = least.before, least.last
    length = np.zeros((layers, sizes), dtype=np.int64)
    for i in range(layers):
        for r in range(1, sizes):
            if not allowed.regions[i, r]:
                continue
            weights = 0
            j = i
            while j < layers:
                weights += packed.layers[j, WEIGHTS]
                if free_bytes(packed.weight_buffer_bytes, r, weights, packed.stream) < 0:
                    break
                if _least_time(before, last, i, j, r) > limit:
                    break
                j += 1
            length[i, r] = j - i
    return length


def _alike(packed: PackedTables, allowed: Allowed, length: Ints) -> Ints:
    """`InnerTimes.alike` where no cluster sees the segment's end.

    Two layers are alike if the layers from them on are the same, skip edges included, as far as
    their clusters reach: the blocks of a deep network. Of the last one a cluster reaches, what it
    sends is not asked.
    """
    inside, ends = (
        kinds(_layer_facts(packed, allowed, layer)[:count] for layer in range(len(length)))
        for count in (None, 5)
    )
    alike = np.arange(len(length))
    known: dict[int, list[int]] = {}
    for layer, reach in enumerate(length.max(axis=1).tolist()):
        if reach == 0:
            continue
        first = ends[layer] if reach == 1 else inside[layer]
        for other in known.setdefault(int(first), []):
            own, others = slice(layer, layer + reach), slice(other, other + reach)
            if (
                (length[layer] <= length[other]).all()
                and np.array_equal(inside[own][:-1], inside[others][:-1])
                and ends[own][-1] == ends[others][-1]
                and np.array_equal(allowed.clusters[layer, own], allowed.clusters[other, others])
            ):
                alike[layer] = other
                break
        else:
            known[int(first)].append(layer)
    return alike


def _layer_facts(packed: PackedTables, allowed: Allowed, layer: int) -> tuple[object, ...]:
    """All that the inner times of a cluster take from one of its layers, the last one first."""
    edges = edges_of(packed, layer)
    return (
        int(packed.layers[layer, WEIGHTS]),
        int(allowed.choice[layer]),
        allowed.regions[layer].tobytes(),
        packed.times[layer, :, : GATHER + 1].tobytes(),
        edges[edges[:, TO] == 0].tobytes(),
        packed.times[layer].tobytes(),
        edges[edges[:, FROM] == 0].tobytes(),
    )


@released
def _least_times(times: Ints, rows: InnerTimes) -> Ints:
    """``least`` of `InnerTimes`: inner time and computation of the last layer, from the end on."""
    least = np.empty(len(rows.inner), dtype=np.int64)
    for i in range(len(rows.start)):
        if rows.alike[i] != i:
            continue
        for r in range(1, rows.start.shape[1]):
            before, time = rows.start[i, r], NEVER
            for x in range(rows.length[i, r] - 1, -1, -1):
                j = max(i, rows.first) + x
                for pq in range(4):
                    spent = rows.inner[before + x, pq]
                    time = min(time, spent + compute_time(times, j, pq % 2, r))
                least[before + x] = time
    return least


# --- The path ------------------------------------------------------------------------------------


@inlined
def _begin_path(path: Ints, i: int, gather: int, receiving: int, isp: bool, wsp: bool) -> None:
    """``D[i]``: first and last partition are the same; ``gather`` is what WSP takes."""
    path[i, 0] = receiving if isp else NEVER
    path[i, 1] = path[i, 2] = NEVER
    path[i, 3] = receiving + gather if wsp else NEVER


@inlined
def _extend_path(
    path: Ints, times: Ints, u: int, r: int, leaving: int, receiving: int, isp: bool, wsp: bool
) -> None:
    """``D[u]`` from ``D[u - 1]``.

    ``leaving`` is the `leaving_time` of layer ``u - 1``, ``receiving`` the `receiving_time` of
    ``u``.
    """
    for q in range(2):
        prepared = receiving + gather_time(times, u, q, r, False)
        for p in range(2):
            best = NEVER
            if wsp if q == WSP else isp:
                for before in range(2):
                    spent = path[u - 1, 2 * p + before]
                    if spent < NEVER:
                        spent += inner_layer_time(times, u - 1, before, q, r, leaving)
                        best = min(best, spent + prepared)
            path[u, 2 * p + q] = best


@inlined
def _advance(
    path: Ints,
    times: Ints,
    layers: Ints,
    edges: Ints,
    in_edges: Ints,
    choice: Bytes,
    fits: Flags,
    i: int,
    changed: int,
    j: int,
    r: int,
    seg_last: int,
) -> None:
    """Recompute ``D[changed..j]`` of the cluster ``i..j``."""
    for u in range(changed, j + 1):
        isp, wsp = may_isp(choice[u], fits[u]), may_wsp(choice[u], fits[u])
        receiving = receiving_time(layers, edges, in_edges, u, r, i)
        if u == i:
            _begin_path(path, i, gather_time(times, i, WSP, r, i == j), receiving, isp, wsp)
        else:
            leaving = leaving_time(layers, edges, u - 1, r, j, seg_last)
            _extend_path(path, times, u, r, leaving, receiving, isp, wsp)


# --- All last layers from one path ---------------------------------------------------------------


@inlined
def _behind_sources(layers: Ints, edges: Ints, in_edges: Ints, i: int, j: int) -> int:
    """First layer behind the source of a skip edge that ends inside ``i..j`` since ``j`` joined."""
    changed = j
    for index in range(layers[j, IN_START], layers[j + 1, IN_START]):
        source = edges[in_edges[index], FROM]
        if source >= i:
            changed = min(changed, source + 1)
    return changed


@inlined
def drop_copies(layers: Ints, fits: Flags, i: int, j: int, r: int, room: int) -> tuple[int, int]:
    """Unmark the copies of ``i..j-1`` that no longer fit.

    Returns the first of them, or ``j``; and the layer with the largest copy that still fits, or -1.
    """
    changed, largest = j, -1
    for u in range(i, j):
        if fits[u]:
            if not copy_fits(layers, u, r, room):
                fits[u] = False
                changed = min(changed, u)
            elif largest < 0 or layers[u, WEIGHTS] > layers[largest, WEIGHTS]:
                largest = u
    return changed, largest


@released
def _fill_rows(
    packed: PackedTables,
    allowed: Allowed,
    seg_last: int,
    first: int,
    low: int,
    high: int,
    start: Ints,
    length: Ints,
    inner: Ints,
) -> None:
    """`fill_inner_times` of the first layers ``low..high-1``."""
    layers = len(packed.times)
    path = np.empty((layers, 4), dtype=np.int64)
    fits = np.empty(layers, dtype=np.bool_)
    for i in range(low, high):
        for r in range(1, length.shape[1]):
            if length[i, r] > 0:
                stop = max(i, first) + length[i, r]
                fill_row(
                    packed, allowed, seg_last, i, r, stop, first, inner, start[i, r], path, fits
                )


@loop
def fill_row(
    packed: PackedTables,
    allowed: Allowed,
    seg_last: int,
    i: int,
    r: int,
    stop: int,
    first: int,
    inner: Ints,
    row: int,
    path: Ints,
    fits: Flags,
) -> None:
    """Inner times of the clusters from ``i`` on ``r`` chiplets, from row ``row`` on.

    The path restarts at the earliest layer whose cost changes when layer ``j`` joins: behind the
    source of a skip edge that now ends inside the cluster; at a WSP copy that no longer fits beside
    the added weights; at ``i`` for the second layer, as a WSP layer that is no longer alone gathers
    for every sample.
    """
    times, layers, edges, in_edges = packed.times, packed.layers, packed.edges, packed.in_edges
    weights, largest = 0, -1
    for j in range(i, stop):
        weights += layers[j, WEIGHTS]
        room = free_bytes(packed.weight_buffer_bytes, r, weights, packed.stream)
        changed = _behind_sources(layers, edges, in_edges, i, j)
        if largest >= 0 and not copy_fits(layers, largest, r, room):
            dropped, largest = drop_copies(layers, fits, i, j, r, room)
            changed = min(changed, dropped)
        fits[j] = copy_fits(layers, j, r, room)
        if fits[j] and (largest < 0 or layers[j, WEIGHTS] > layers[largest, WEIGHTS]):
            largest = j
        if j == i + 1:
            changed = i
        _advance(
            path, times, layers, edges, in_edges, allowed.choice, fits, i, changed, j, r, seg_last
        )
        if j >= first:
            refetch = stream_time(packed, i, j, weights, r)
            _store(inner, row, path, j, refetch, allowed.clusters[i, j])
            row += 1


@inlined
def _store(inner: Ints, row: int, path: Ints, j: int, refetch: int, possible: bool) -> None:
    """Inner times of the cluster that ends with layer ``j``."""
    for pq in range(4):
        spent = path[j, pq]
        inner[row, pq] = spent + refetch if possible and spent < NEVER else NEVER


# --- The partitions of one cluster ---------------------------------------------------------------


@compiled
def cluster_partitions(
    packed: PackedTables, allowed: Allowed, seg_last: int, cluster: Ints, partition: Bytes
) -> None:
    """Write the best partitions of one cluster into ``partition``, shape ``(L,)``.

    ``cluster`` holds first and last layer, region size, first and last partition.
    """
    i, j, r, p, q = cluster[0], cluster[1], cluster[2], cluster[3], cluster[4]
    times, layers, edges, in_edges = packed.times, packed.layers, packed.edges, packed.in_edges
    weights = total_weights(layers, i, j)
    room = free_bytes(packed.weight_buffer_bytes, r, weights, packed.stream)
    fits = np.empty(len(times), dtype=np.bool_)
    for u in range(i, j + 1):
        fits[u] = copy_fits(layers, u, r, room)
    path = np.empty((len(times), 4), dtype=np.int64)
    _advance(path, times, layers, edges, in_edges, allowed.choice, fits, i, i, j, r, seg_last)
    for u in range(j, i, -1):
        partition[u] = q
        leaving = leaving_time(layers, edges, u - 1, r, j, seg_last)
        spent = path[u, 2 * p + q] - gather_time(times, u, q, r, False)
        spent -= receiving_time(layers, edges, in_edges, u, r, i)
        isp_before = path[u - 1, 2 * p + ISP]
        isp_before += inner_layer_time(times, u - 1, ISP, q, r, leaving)
        q = ISP if isp_before == spent else WSP
    partition[i] = q
