"""The cluster table: for every segment and number of clusters, those that need fewest chiplets.

Where the paper merges neighbours that are alike, this is a recursion over the layers: within a
time, ``F[i, k]`` is the fewest chiplets of ``k`` clusters for the layers from ``i`` to the
segment's last one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scope_opt.model.compiled import compiled, inlined, loop
from scope_opt.model.tables import LIMIT
from scope_opt.search.plus.sizes import CLOSING, INNER, ROLES, TOO_MANY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scope_opt.search.packed import Ints, PackedTables

    Flags = NDArray[np.bool_]
    Shorts = NDArray[np.int16]


COARSE = 5
"""Of how many times one is looked at to estimate all segments."""
SLACK = 1.2
"""Rows of the cluster table are made up to so many times the latency of the best one, about."""


@compiled
def segment_extra(packed: PackedTables, first: int, last: int) -> Ints:
    """DRAM transfers that layers of segment ``first..last`` have because of its ends, in ps.

    Cumulated over layers, shape ``(L+1,)``; the output of the last layer is left out.
    """
    reads, writes = packed.places.read_ps, packed.places.write_ps
    layers = len(packed.times)
    extra = np.zeros(layers + 1, dtype=np.int64)
    for layer in range(first, last + 1):
        own = reads[first, layer] - (reads[0, layer] if layer > 0 else 0)
        if layer < last:
            own += writes[last, layer] - writes[layers - 1, layer]
        extra[layer + 1] = extra[layer] + own
    extra[last + 2 :] = extra[last + 1]
    return extra


@inlined
def _within(beats: Ints, n: int, extra: int) -> int:
    """Index of the largest time that leaves ``extra`` of the ``n``-th; -1 if there is none."""
    if extra > 0:
        left = beats[n] - extra
        while n >= 0 and beats[n] > left:
            n -= 1
    return n


@inlined
def _begins(needs: Shorts, i: int, last: int) -> bool:
    """Whether a cluster may begin at a layer, within the largest time."""
    found = False
    for role in range(ROLES):
        for j in range(i, last + 1):
            found = found or needs[len(needs) - 1, role, i, j] < TOO_MANY
    return found


@compiled
def count_chiplets(
    needs: Shorts,
    beats: Ints,
    n: int,
    extra: Ints,
    first: int,
    last: int,
    most: int,
    chiplets: int,
    labels: Shorts,
) -> int:
    """Fill ``labels[i, k]``, `F` of the module, for segments that end at ``last``.

    Returns the first layer for which there is a label within ``chiplets``, from ``first`` on.
    """
    for i in range(last, first - 1, -1):
        least = open_cluster(needs, beats, n, extra, i, last, most, chiplets, labels, labels[i])
        # Where no cluster may begin at all, segments may still begin before.
        if least > chiplets and _begins(needs, i, last):
            return i + 1
    return first


@loop
def open_cluster(
    needs: Shorts,
    beats: Ints,
    n: int,
    extra: Ints,
    i: int,
    last: int,
    most: int,
    chiplets: int,
    labels: Shorts,
    own: Shorts,
) -> int:
    """Labels ``own[p, k]`` of layer ``i`` by those of layers behind; returns the least of them."""
    own[:, : most + 1] = TOO_MANY
    index = _within(beats, n, extra[last + 1] - extra[i])
    for p in range(2):
        if index >= 0:
            own[p, 1] = needs[index, CLOSING + p, i, last]
    for j in range(i, last):
        index = _within(beats, n, extra[j + 1] - extra[i])
        if index < 0:
            break
        for role in range(4):
            need = needs[index, INNER + role, i, j]
            if need > chiplets:
                continue
            behind, ahead = labels[j + 1, role % 2], own[role // 2]
            for k in range(1, min(most, last - j + 1)):
                ahead[k + 1] = min(ahead[k + 1], np.int16(behind[k] + need))
    least = TOO_MANY
    for p in range(2):
        for k in range(1, most + 1):
            least = min(least, own[p, k])
    return least


@compiled
def estimate_ending(
    packed: PackedTables,
    beats: Ints,
    needs: Shorts,
    least: int,
    most: int,
    last: int,
    wanted: Flags,
) -> Ints:
    """Latency in ps of the best row of the cluster table of segments up to ``last``, about; (L,).

    By first layer, `LIMIT` where it is not ``wanted`` or there is no row. ``least`` and ``most``
    are the numbers of clusters. DRAM transfers at both ends of a segment count in its first and
    its last cluster only, so that the labels of a beat serve all first layers.
    """
    layers, chiplets = packed.times.shape[0], packed.times.shape[1] - 1
    estimate = np.full(layers, LIMIT, dtype=np.int64)
    labels = np.full((layers + 1, 2, most + 2), TOO_MANY, dtype=np.int16)
    total = np.full((2, most + 2), TOO_MANY, dtype=np.int16)
    none = np.zeros(layers + 1, dtype=np.int64)
    extra = np.zeros((layers, layers + 1), dtype=np.int64)
    low = last + 1
    for first in range(last, -1, -1):
        if wanted[first]:
            low = first
            extra[first] = segment_extra(packed, first, last)
    for n in range(0, len(beats), COARSE):
        here = min(most, last - low + 1)
        reached = count_chiplets(needs, beats, n, none, low, last, here, chiplets, labels)
        for first in range(reached, last + 1):
            beat = max(beats[n], packed.segment_dram_ps[first, last])
            load = packed.load_ps[first, last]
            if not wanted[first]:
                continue
            if load + (packed.samples + least - 1) * beat >= estimate[first]:
                continue
            open_cluster(needs, beats, n, extra[first], first, last, here, chiplets, labels, total)
            for k in range(least, min(here, last - first + 1) + 1):
                if min(total[0, k], total[1, k]) <= chiplets:
                    cost = load + (packed.samples + k - 1) * beat
                    estimate[first] = min(estimate[first], cost)
                    break
    return estimate


@compiled
def table_rows(
    packed: PackedTables,
    beats: Ints,
    needs: Shorts,
    least: int,
    most: int,
    first: int,
    last: int,
) -> Ints:
    """All useful rows of the cluster table of one segment: latency, number of clusters, beat index.

    Shape ``(rows, 3)``; for each time the fewest clusters that fit.
    """
    chiplets = packed.times.shape[1] - 1
    most = min(most, last - first + 1)
    labels = np.full((last + 2, 2, most + 2), TOO_MANY, dtype=np.int16)
    rows = np.empty((len(beats), 3), dtype=np.int64)
    extra = segment_extra(packed, first, last)
    best = LIMIT
    count = 0
    for n in range(len(beats)):
        beat = max(beats[n], packed.segment_dram_ps[first, last])
        load = packed.load_ps[first, last]
        if load + (packed.samples + least - 1) * beat >= best * SLACK:
            break
        reached = count_chiplets(needs, beats, n, extra, first, last, most, chiplets, labels)
        if reached > first:
            continue
        for k in range(least, most + 1):
            if min(labels[first, 0, k], labels[first, 1, k]) <= chiplets:
                cost = load + (packed.samples + k - 1) * beat
                best = min(best, cost)
                rows[count, 0], rows[count, 1], rows[count, 2] = cost, k, n
                count += 1
                break
    return rows[:count]


@compiled
def clusters_of(
    packed: PackedTables, beats: Ints, needs: Shorts, n: int, first: int, last: int, clusters: int
) -> tuple[Ints, Ints]:
    """A row of the cluster table: first layers, then ``last + 1``; and what each one needs."""
    chiplets = packed.times.shape[1] - 1
    extra = segment_extra(packed, first, last)
    labels = np.full((last + 2, 2, clusters + 2), TOO_MANY, dtype=np.int16)
    count_chiplets(needs, beats, n, extra, first, last, clusters, chiplets, labels)
    start = np.zeros(clusters + 1, dtype=np.int64)
    need = np.zeros(clusters, dtype=np.int64)
    start[clusters] = last + 1
    i, p = first, 0
    if labels[first, 1, clusters] < labels[first, 0, clusters]:
        p = 1
    for c in range(clusters):
        k = clusters - c
        start[c] = i
        wanted = labels[i, p, k]
        if k == 1:
            need[c] = wanted
            break
        for j in range(i, last):
            index = _within(beats, n, extra[j + 1] - extra[i])
            found = -1
            for q in range(2):
                if index >= 0:
                    size = needs[index, INNER + 2 * p + q, i, j]
                    if size <= chiplets and size + labels[j + 1, q, k - 1] == wanted:
                        found = q
                        need[c] = size
            if found >= 0:
                i, p = j + 1, found
                break
    return start, need
