"""Best regions and partitions of given clusters: a recursion over where each region begins.

The label of ``(c, s, r, p)`` is the time of the slowest cluster from the ``c``-th on, when that one
lies on the ``r`` positions from ``s`` and its first layer has partition ``p``: the least there can
be. Inside a cluster the partitions are a two-state shortest path. All costs are those of the model,
in both models, but for links that transfers share. Sizes and positions are searched within windows;
with windows over the whole package this is the optimum for the clusters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scope_opt.model.compiled import compiled, loop
from scope_opt.search.allowed import may_isp, may_wsp
from scope_opt.search.packed import NEVER
from scope_opt.search.placed import (
    TRAVEL,
    WANTED,
    activations_fit,
    hand_over_ps,
    layer_ps,
    sending_layer_ps,
)
from scope_opt.search.times import (
    closing_time,
    copy_fits,
    free_bytes,
    gather_time,
    inner_layer_time,
    last_layer_time,
    leaving_time,
    opening_time,
    receiving_time,
    stream_time,
    total_weights,
    whole_package,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scope_opt.search.allowed import Allowed
    from scope_opt.search.packed import Bytes, Ints, PackedTables

    Flags = NDArray[np.bool_]


@loop
def _step_ps(
    packed: PackedTables,
    facts: Ints,
    seg_first: int,
    seg_last: int,
    first: int,
    last: int,
    start: int,
    size: int,
    layer: int,
    this: int,
    then: int,
) -> int:
    """Time of a layer that is not the last one of its cluster."""
    if packed.places.placed:
        return int(
            layer_ps(
                packed.places,
                facts,
                seg_first,
                seg_last,
                first,
                last,
                start,
                size,
                0,
                layer,
                this,
                then,
            )
        )
    leaving = leaving_time(packed.layers, packed.edges, layer, size, last, seg_last)
    time = gather_time(packed.times, layer, this, size, False)
    time += opening_time(packed.layers, packed.edges, packed.in_edges, layer, seg_first)
    time += receiving_time(packed.layers, packed.edges, packed.in_edges, layer, size, first)
    return int(time + inner_layer_time(packed.times, layer, this, then, size, leaving))


@loop
def _preparing_ps(
    packed: PackedTables, seg_first: int, first: int, last: int, size: int, this: int
) -> int:
    """What the last layer of a cluster takes beside `_last_ps`."""
    if packed.places.placed:
        return 0
    time = gather_time(packed.times, last, this, size, first == last)
    time += opening_time(packed.layers, packed.edges, packed.in_edges, last, seg_first)
    return int(
        time + receiving_time(packed.layers, packed.edges, packed.in_edges, last, size, first)
    )


@loop
def _last_ps(
    packed: PackedTables,
    seg_first: int,
    seg_last: int,
    first: int,
    last: int,
    start: int,
    size: int,
    closing: int,
    this: int,
    then: int,
    following: int,
    handed: int,
) -> int:
    """Time of the last layer of a cluster, in the regressed model without its preparation.

    ``closing`` is the `closing_time` of that model, ``handed`` the hand-over of the placed one.
    """
    if packed.places.placed:
        return sending_layer_ps(
            packed.places, seg_first, seg_last, first, last, start, size, last, this, handed
        )
    return last_layer_time(packed.times, last, this, size, closing, then, following)


@loop
def fill_path(
    packed: PackedTables,
    choice: Bytes,
    facts: Ints,
    seg_first: int,
    seg_last: int,
    first: int,
    last: int,
    start: int,
    size: int,
    path: Ints,
) -> None:
    """Least times of the layers of a cluster before each one, over the partitions.

    ``path[u, 2 p + q]``: first partition ``p``, layer ``u`` has ``q``; `NEVER` where not allowed.
    """
    weights = total_weights(packed.layers, first, last)
    passing = packed.stream or whole_package(packed.times, seg_first, seg_last, size)
    room = free_bytes(packed.weight_buffer_bytes, size, weights, passing)
    for u in range(first, last + 1):
        fits = room >= 0 and copy_fits(packed.layers, u, size, room)
        for q in range(2):
            possible = room >= 0
            if possible:
                possible = may_wsp(choice[u], fits) if q == 1 else may_isp(choice[u], fits)
            if possible and packed.places.limit >= 0:
                possible = activations_fit(packed.places, facts, seg_first, first, u, q, size)
            for p in range(2):
                best = NEVER
                if possible and u == first:
                    best = 0 if p == q else NEVER
                elif possible:
                    for before in range(2):
                        spent = path[u - 1, 2 * p + before]
                        if spent < NEVER:
                            best = min(
                                best,
                                spent
                                + _step_ps(
                                    packed,
                                    facts,
                                    seg_first,
                                    seg_last,
                                    first,
                                    last,
                                    start,
                                    size,
                                    u - 1,
                                    before,
                                    q,
                                ),
                            )
                path[u, 2 * p + q] = best


@compiled
def best_regions(
    packed: PackedTables,
    allowed: Allowed,
    facts: Ints,
    starts: Ints,
    low: Ints,
    high: Ints,
    below: int = NEVER,
) -> tuple[int, Ints, Bytes]:
    """Regions and partitions of given clusters with the least slowest cluster.

    Parameters
    ----------
    packed : PackedTables
    allowed : Allowed
        Sizes and partitions that may be.
    facts : int64 array
        `segment_facts` of the segment.
    starts : int64 array, shape ``(clusters + 1,)``
        First layers, then the layer behind the segment.
    low, high : int64 array, shape ``(clusters,)``
        Smallest and largest region of each cluster that is looked at.
    below : int
        Only what takes less is looked for, in ps.

    Returns
    -------
    beat_ps : int
        `NEVER` if there is nothing within the windows below that.
    regions : int64 array, shape ``(clusters,)``
    partition : int8 array, shape ``(L + 1,)``
        Meaningful for the segment's layers.
    """
    clusters, chiplets = len(low), packed.times.shape[1] - 1
    seg_first, seg_last = starts[0], starts[clusters] - 1
    places = packed.places
    regions = np.zeros(clusters, dtype=np.int64)
    partition = np.zeros(len(packed.times) + 1, dtype=np.int8)
    before = np.zeros(clusters + 1, dtype=np.int64)
    until = np.zeros(clusters + 1, dtype=np.int64)
    for c in range(clusters):
        before[c + 1] = before[c] + low[c]
        until[c + 1] = until[c] + high[c]
    if before[clusters] > chiplets:
        return NEVER, regions, partition
    widest = deepest = longest = 1
    for c in range(clusters):
        until[c] = min(until[c], chiplets - (before[clusters] - before[c]))
        widest = max(widest, until[c] - before[c] + 1)
        deepest = max(deepest, high[c] - low[c] + 1)
        longest = max(longest, starts[c + 1] - starts[c])
    label = np.full((clusters, widest, deepest, 2), below, dtype=np.int64)
    origin = np.zeros((clusters, widest, deepest, 2), dtype=np.int64)
    path = np.empty((len(packed.times) + 1, 4), dtype=np.int64)
    phases = 1
    if places.placed:
        for position in range(chiplets):
            phases = max(phases, places.phase[position] + 1)
    inner = np.empty((phases, deepest, 4), dtype=np.int64)
    made = np.full((phases, deepest), -1, dtype=np.int64)
    for c in range(clusters - 1, -1, -1):
        first, last = starts[c], starts[c + 1] - 1
        weights = total_weights(packed.layers, first, last)
        for s in range(before[c], until[c] + 1):
            phase = places.phase[s] if places.placed else 0
            for r in range(low[c], min(high[c], chiplets - s) + 1):
                if not allowed.regions[first, r]:
                    continue
                if made[phase, r - low[c]] != c:
                    made[phase, r - low[c]] = c
                    fill_path(
                        packed, allowed.choice, facts, seg_first, seg_last, first, last, s, r, path
                    )
                    refetch = 0
                    if not whole_package(packed.times, seg_first, seg_last, r):
                        refetch = stream_time(packed, first, last, weights, r)
                    for pq in range(4):
                        spent = path[last, pq]
                        if spent < NEVER:
                            spent += refetch
                            spent += _preparing_ps(packed, seg_first, first, last, r, pq % 2)
                        inner[phase, r - low[c], pq] = spent
                own = inner[phase, r - low[c]]
                closing = 0
                if not places.placed:
                    closing = closing_time(
                        packed.times, packed.layers, packed.edges, last, r, seg_last
                    )
                found = label[c, s - before[c], r - low[c]]
                kept = origin[c, s - before[c], r - low[c]]
                if c == clusters - 1:
                    for pq in range(4):
                        if own[pq] < NEVER:
                            time = own[pq] + _last_ps(
                                packed,
                                seg_first,
                                seg_last,
                                first,
                                last,
                                s,
                                r,
                                closing,
                                pq % 2,
                                0,
                                0,
                                0,
                            )
                            if time < found[pq // 2]:
                                found[pq // 2], kept[pq // 2] = time, pq % 2
                    continue
                position = s + r
                if position < before[c + 1] or position > until[c + 1]:
                    continue
                behind = label[c + 1, position - before[c + 1]]
                for following in range(low[c + 1], min(high[c + 1], chiplets - position) + 1):
                    for then in range(2):
                        rest = behind[following - low[c + 1], then]
                        if rest >= found[0] and rest >= found[1]:
                            continue
                        handed = 0
                        if places.placed:
                            handed = hand_over_ps(
                                places,
                                facts[last - seg_first, TRAVEL],
                                facts[last - seg_first, WANTED],
                                then,
                                s,
                                r,
                                following,
                            )
                        for q in range(2):
                            if own[q] >= NEVER and own[2 + q] >= NEVER:
                                continue
                            ending = _last_ps(
                                packed,
                                seg_first,
                                seg_last,
                                first,
                                last,
                                s,
                                r,
                                closing,
                                q,
                                then,
                                following,
                                handed,
                            )
                            for p in range(2):
                                if own[2 * p + q] >= NEVER:
                                    continue
                                time = max(own[2 * p + q] + ending, rest)
                                if time < found[p]:
                                    found[p] = time
                                    kept[p] = q + 2 * then + 4 * following
    best, s, r, p = below, 0, 0, 0
    for size in range(low[0], high[0] + 1):
        for q in range(2):
            if label[0, 0, size - low[0], q] < best:
                best, r, p = label[0, 0, size - low[0], q], size, q
    if best >= below:
        return NEVER, regions, partition
    for c in range(clusters):
        first, last = starts[c], starts[c + 1] - 1
        way = origin[c, s - before[c], r - low[c], p]
        q = way % 2
        regions[c] = r
        fill_path(packed, allowed.choice, facts, seg_first, seg_last, first, last, s, r, path)
        for u in range(last, first, -1):
            partition[u] = q
            for earlier in range(2):
                spent = path[u - 1, 2 * p + earlier]
                if spent < NEVER and path[u, 2 * p + q] == spent + _step_ps(
                    packed, facts, seg_first, seg_last, first, last, s, r, u - 1, earlier, q
                ):
                    q = earlier
                    break
        partition[first] = p
        s += r
        p, r = way // 2 % 2, way // 4
    return best, regions, partition
