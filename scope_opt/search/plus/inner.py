"""Times of the clusters of a segment, up to what their last layer computes and sends.

They are made where they are first asked for: for clusters from one layer on, of one size and, in
the placed model, one place, all last layers at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.model.compiled import loop
from scope_opt.search.allowed import may_isp, may_wsp
from scope_opt.search.exact.inner import drop_copies, fill_row
from scope_opt.search.packed import NEVER, WEIGHTS
from scope_opt.search.placed import activations_fit, layer_ps, segment_facts, weight_gather_ps
from scope_opt.search.times import closing_times, copy_fits, free_bytes, opening_times, stream_time

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scope_opt.search.allowed import Allowed
    from scope_opt.search.packed import Ints, PackedTables

    Flags = NDArray[np.bool_]
    Entries = NDArray[np.int32]

PREPARED = 4
"""Column of ``steps`` for what a layer prepares as ISP; the next one is as WSP."""
PLACES = 8
"""Places that are told apart in a row of the mesh."""
ROOM = 1 << 20, 1 << 17
"""Rows of ``inner`` and ``steps`` to begin with: room that is not used takes no memory."""


class ClusterTimes(NamedTuple):
    """What is known of the clusters of one segment."""

    first: int
    last: int
    limit: int
    """ps; longer clusters are left out"""
    grain: int
    """Places are told apart by multiples of so many positions"""
    facts: Ints
    """`segment_facts` of the segment"""
    reads: Ints
    """(L+1,) cumulated `opening_times`, for the regressed model"""
    closing: Ints
    """(L, C+1) `closing_times`, for the regressed model"""
    used: Ints
    """(2,) rows of ``inner`` and of ``steps`` that are taken"""
    begin: Entries
    """(segment's layers, C+1, phases) where the clusters from a layer on begin in ``inner``, -1 if
    they are not made; the phase is that of their first position"""
    made: Entries
    """The same for how many there are"""
    inner: Ints
    """(rows, 4) ps for first and last partition ``2 p + q``, `NEVER` where not allowed"""
    step: Entries
    """(segment's layers, C+1, phases) row of ``steps``, -1 if not made"""
    steps: Ints
    """(rows, 6) ps of one layer: ``2 p + q`` with the next one in its cluster, then `PREPARED`"""
    path: Ints
    """(L, 4) room for the shortest path"""
    fits: Flags
    """(L,) room for the copies that fit"""


def make_times(packed: PackedTables, ends: tuple[int, int], limit: int) -> ClusterTimes:
    """Times of the clusters of a segment, none of them made yet."""
    first, last = ends
    layers, sizes = packed.times.shape[:2]
    phases = int(packed.places.phase.max()) + 1 if packed.places.placed else 1
    shape = (last - first + 1, sizes, phases)
    return ClusterTimes(
        first=first,
        last=last,
        limit=limit,
        grain=max(1, int(packed.places.mesh[1]) // PLACES),
        facts=segment_facts(packed.places, first, last),
        reads=opening_times(packed, first),
        closing=closing_times(packed, first, last),
        used=np.zeros(2, dtype=np.int64),
        begin=np.full(shape, -1, dtype=np.int32),
        made=np.zeros(shape, dtype=np.int32),
        inner=np.empty((ROOM[0], 4), dtype=np.int64),
        step=np.full(shape if packed.places.placed else (0, 0, 0), -1, dtype=np.int32),
        steps=np.empty((ROOM[1] if packed.places.placed else shape[0], 6), dtype=np.int64),
        path=np.empty((layers, 4), dtype=np.int64),
        fits=np.zeros(layers, dtype=np.bool_),
    )


def with_room(times: ClusterTimes) -> ClusterTimes:
    """The same with twice the rows of what has no room for another layer."""
    layers = times.last - times.first + 1
    inner, steps = (
        np.concatenate([rows, np.empty_like(rows)]) if used + layers > len(rows) else rows
        for rows, used in zip((times.inner, times.steps), times.used, strict=True)
    )
    return times._replace(inner=inner, steps=steps)


@loop
def make_row(
    packed: PackedTables, allowed: Allowed, times: ClusterTimes, i: int, start: int, size: int
) -> bool:
    """Make the clusters from layer ``i`` on; whether there was room for them."""
    layers = times.last - i + 1
    if times.used[0] + layers > len(times.inner) or times.used[1] + layers > len(times.steps):
        return False
    phase = packed.places.phase[start] if packed.places.placed else 0
    times.begin[i - times.first, size, phase] = times.used[0]
    if packed.places.placed:
        rows = _fill_placed(packed, allowed, times, i, start, size)
    else:
        rows = _fill_regressed(packed, allowed, times, i, size)
    times.made[i - times.first, size, phase] = rows
    times.used[0] += rows
    return True


@loop
def _fill_regressed(
    packed: PackedTables, allowed: Allowed, times: ClusterTimes, i: int, size: int
) -> int:
    stop, weights, spent = i, 0, 0
    while stop <= times.last:
        weights += packed.layers[stop, WEIGHTS]
        spent += min(packed.times[stop, size, 0], packed.times[stop, size, 1])
        if spent > times.limit:
            break
        if free_bytes(packed.weight_buffer_bytes, size, weights, packed.stream) < 0:
            break
        stop += 1
    row = times.used[0]
    fill_row(
        packed,
        allowed,
        times.last,
        i,
        size,
        stop,
        i,
        times.inner,
        row,
        times.path,
        times.fits,
    )
    for j in range(i, stop):
        for pq in range(4):
            if times.inner[row + j - i, pq] < NEVER:
                times.inner[row + j - i, pq] += times.reads[j + 1] - times.reads[i]
    return stop - i


@loop
def _make_steps(
    packed: PackedTables, times: ClusterTimes, layer: int, start: int, size: int
) -> None:
    kernel, seg_first = packed.places, times.first
    row = times.used[1]
    times.step[layer - seg_first, size, kernel.phase[start]] = row
    times.used[1] += 1
    for this in range(2):
        prepared = kernel.read_ps[seg_first, layer]
        if this == 1:
            prepared += weight_gather_ps(kernel, kernel.weights[layer], start, size)
        times.steps[row, PREPARED + this] = prepared
        for then in range(2):
            if layer < times.last:
                times.steps[row, 2 * this + then] = layer_ps(
                    kernel,
                    times.facts,
                    seg_first,
                    times.last,
                    layer,
                    layer + 1,
                    start,
                    size,
                    0,
                    layer,
                    this,
                    then,
                )


@loop
def _fill_placed(
    packed: PackedTables, allowed: Allowed, times: ClusterTimes, i: int, start: int, size: int
) -> int:
    kernel, path, fits = packed.places, times.path, times.fits
    phase, begin, weights, largest = kernel.phase[start], times.used[0], 0, -1
    for j in range(i, times.last + 1):
        weights += packed.layers[j, WEIGHTS]
        room = free_bytes(packed.weight_buffer_bytes, size, weights, packed.stream)
        if room < 0:
            return j - i
        if times.step[j - times.first, size, phase] < 0:
            _make_steps(packed, times, j, start, size)
        # The path goes on from the first layer whose copy no longer fits beside the weights.
        changed = j
        if largest >= 0 and not copy_fits(packed.layers, largest, size, room):
            changed, largest = drop_copies(packed.layers, fits, i, j, size, room)
        fits[j] = copy_fits(packed.layers, j, size, room)
        if fits[j] and (largest < 0 or packed.layers[j, WEIGHTS] > packed.layers[largest, WEIGHTS]):
            largest = j
        for u in range(changed, j + 1):
            for q in range(2):
                choice = allowed.choice[u]
                possible = may_wsp(choice, fits[u]) if q == 1 else may_isp(choice, fits[u])
                if possible and kernel.limit >= 0:
                    possible = activations_fit(kernel, times.facts, times.first, i, u, q, size)
                for p in range(2):
                    best = NEVER
                    if possible and u == i:
                        best = 0 if p == q else NEVER
                    elif possible:
                        row = times.step[u - 1 - times.first, size, phase]
                        for before in range(2):
                            spent = path[u - 1, 2 * p + before] + times.steps[row, 2 * before + q]
                            best = min(best, spent)
                    path[u, 2 * p + q] = best
        least = NEVER
        row = times.step[j - times.first, size, phase]
        refetch = stream_time(packed, i, j, weights, size)
        for pq in range(4):
            spent = path[j, pq]
            if spent < NEVER and allowed.clusters[i, j]:
                # Alone in its cluster, a layer keeps the weights that it gathered.
                spent += refetch + times.steps[row, PREPARED + (pq % 2 if j > i else 0)]
            else:
                spent = NEVER
            times.inner[begin + j - i, pq] = spent
            least = min(least, path[j, pq])
        if least > times.limit:
            return j - i
    return times.last - i + 1
