"""What a cluster can move over links in a given time, over all partitions of its layers.

The fastest partitions of a cluster may load links far more than others that are fast enough. So
there is a front of choices, none of which is faster and moves less than another: gathers load links
of a region in one pattern, exchanges in another, and the halo of each layer in one of its own.

Long clusters have more choices than can be listed. Neighbours on a front are then merged into a
choice as fast as the faster one that moves as little of everything as any of them: it bounds them
all, but is none of them (*not exact*).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from formulations.formulas import copies_fit, layer_time, refetched, refetching_time, room_left
from scope_opt.model.compiled import compiled, loop

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from formulations.placed.costs import SegmentCosts

    Ints = NDArray[np.int64]
    Bytes = NDArray[np.int8]
    Flags = NDArray[np.bool_]


class Front(NamedTuple):
    """Choices of a cluster's partitions by rising time, ``n`` of them for ``k`` layers."""

    time: Ints
    """(n,) as `formulations.placed.labels.inner_times`"""
    gathered: Ints
    """(n,) bytes, at least"""
    exchanged: Ints
    """(n,)"""
    halo: Flags
    """(n, k) whether tiles of the layer exchange what overlaps; False if that was not asked for"""
    partition: Bytes
    """(n, k) partitions that take just the time; the whole choice if it is exact"""
    exact: Flags
    """(n,)"""


@compiled
def _room(size: int, layers: int) -> Front:
    return Front(
        np.empty(size, dtype=np.int64),
        np.empty(size, dtype=np.int64),
        np.empty(size, dtype=np.int64),
        np.zeros((size, layers), dtype=np.bool_),
        np.zeros((size, layers), dtype=np.int8),
        np.ones(size, dtype=np.bool_),
    )


@loop
def _copy(source: Front, k: int, target: Front, at: int) -> None:
    target.time[at] = source.time[k]
    target.gathered[at] = source.gathered[k]
    target.exchanged[at] = source.exchanged[k]
    for layer in range(source.halo.shape[1]):
        target.halo[at, layer] = source.halo[k, layer]
        target.partition[at, layer] = source.partition[k, layer]
    target.exact[at] = source.exact[k]


@loop
def _before(front: Front, a: int, b: int) -> bool:
    """Whether choice ``a`` comes before ``b``: by time, then by what it moves."""
    if front.time[a] != front.time[b]:
        return bool(front.time[a] < front.time[b])
    if front.gathered[a] != front.gathered[b]:
        return bool(front.gathered[a] < front.gathered[b])
    return bool(front.exchanged[a] < front.exchanged[b])


@loop
def _as_good(front: Front, k: int, other: Front, index: int) -> bool:
    """Whether a choice is as fast as another and moves no more."""
    if front.time[k] > other.time[index] or front.gathered[k] > other.gathered[index]:
        return False
    if front.exchanged[k] > other.exchanged[index]:
        return False
    for layer in range(front.halo.shape[1]):
        if front.halo[k, layer] and not other.halo[index, layer]:
            return False
    return True


@loop
def _reduce(found: Front, number: int, most: int, kept: Front, order: Ints) -> int:
    """The best of ``number`` choices, merged if they are more than ``most``; how many are kept.

    ``order`` is room for their numbers.
    """
    for k in range(number):
        here, at = k, k
        while at > 0 and _before(found, here, order[at - 1]):
            order[at] = order[at - 1]
            at -= 1
        order[at] = here
    good = 0
    for k in range(number):
        beaten = False
        for better in range(good):
            if _as_good(found, order[better], found, order[k]):
                beaten = True
                break
        if not beaten:
            order[good] = order[k]
            good += 1
    if good <= most:
        for k in range(good):
            _copy(found, order[k], kept, k)
        return good
    for k in range(most):
        begin, end = k * good // most, (k + 1) * good // most
        _copy(found, order[begin], kept, k)
        for other in range(begin + 1, end):
            one = order[other]
            kept.gathered[k] = min(kept.gathered[k], found.gathered[one])
            kept.exchanged[k] = min(kept.exchanged[k], found.exchanged[one])
            for layer in range(kept.halo.shape[1]):
                kept.halo[k, layer] &= found.halo[one, layer]
            kept.exact[k] = False
    return most


@compiled
def find_front(
    costs: SegmentCosts,
    i: int,
    j: int,
    row: int,
    size: int,
    p: int,
    q: int,
    limit: int,
    most: int,
    halos: bool,
) -> Front:
    """Choices of at most ``limit`` for layers ``i..j`` on regions of a row.

    ``p`` and ``q`` are the first and last partition, ``most`` is how many choices are kept.
    """
    layers = j - i + 1
    capacity = costs.buffer_bytes * size
    stored = transfers = 0
    for u in range(i, j + 1):
        stored += costs.weights[u]
        transfers += costs.weights[u] > 0
    room = room_left(stored, capacity, costs.stream, False)
    refetch = refetching_time(
        refetched(stored, capacity, False),
        costs.refetch_fs_per_byte[size],
        transfers,
        costs.refetch_latency_ps,
    )
    here = (_room(most, layers), _room(most, layers))
    after = (_room(most, layers), _room(most, layers))
    found, order = _room(2 * most, layers), np.empty(2 * most, dtype=np.int64)
    count = np.zeros(2, dtype=np.int64)
    for u in range(i, j + 1):
        counted = count.copy()
        for then in range(2):
            count[then] = 0
            allowed = costs.partitions[u, then] and copies_fit(then, costs.weights[u], size, room)
            if costs.activation_bytes >= 0:
                held = costs.held[u, then, size] + costs.waiting[u] + costs.arriving[i]
                allowed = allowed and held <= costs.activation_bytes * size
            if not allowed or (u == i and then != p) or (u == j and then != q):
                continue
            gathering, weights = 0, 0
            if then == 1 and layers > 1:
                gathering, weights = costs.gather[u, row], costs.weights[u]
            if u == i:
                one = after[then]
                one.time[0] = refetch + gathering
                one.gathered[0], one.exchanged[0] = weights, 0
                one.halo[0] = False
                one.partition[0] = 0
                one.partition[0, 0] = then
                one.exact[0] = True
                count[then] = 1 if one.time[0] <= limit else 0
                continue
            number = 0
            for this in range(2):
                pair = 2 * this + then
                sending = costs.within[u - 1, row, pair] + costs.writes[u - 1]
                step = layer_time(costs.compute[u - 1, size, this], sending, gathering)
                for k in range(counted[this]):
                    if here[this].time[k] + step > limit:
                        break  # they are sorted
                    _copy(here[this], k, found, number)
                    found.time[number] += step
                    found.gathered[number] += weights + costs.gathered[u - 1, pair]
                    found.exchanged[number] += costs.exchanged[u - 1, pair]
                    found.halo[number, u - i] = halos and costs.halo[u - 1, pair]
                    found.partition[number, u - i] = then
                    number += 1
            count[then] = _reduce(found, number, most, after[then], order)
        here, after = after, here
    kept, number = here[q], count[q]
    return Front(
        kept.time[:number].copy(),
        kept.gathered[:number].copy(),
        kept.exchanged[:number].copy(),
        kept.halo[:number].copy(),
        kept.partition[:number].copy(),
        kept.exact[:number].copy(),
    )


def moved(costs: SegmentCosts, i: int, partition: list[int]) -> tuple[int, int, list[int]]:
    """What a cluster from layer ``i`` on gathers and exchanges, and which layers' halos."""
    gathered = exchanged = 0
    halos = []
    for x, this in enumerate(partition):
        if this == 1 and len(partition) > 1:
            gathered += int(costs.weights[i + x])
        if x + 1 < len(partition):
            pair = 2 * this + partition[x + 1]
            gathered += int(costs.gathered[i + x, pair])
            exchanged += int(costs.exchanged[i + x, pair])
            if costs.halo[i + x, pair]:
                halos.append(i + x + 1)
    return gathered, exchanged, halos
