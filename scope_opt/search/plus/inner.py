"""Times of clusters, up to what their last layer computes and sends.

They are made where they are first asked for: for clusters from one layer on, of one size and, in
the placed model, one place, all last layers at once, up to a time. Most are the same in every
segment but for the DRAM reads of its first layers, which are added where they are used, and from
every layer that is alike; a segment makes its own where tensors cross its ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.model.compiled import inlined, loop
from scope_opt.search.allowed import may_isp, may_wsp
from scope_opt.search.exact.inner import (
    drop_copies,
    fill_row,
    last_layers,
    least_computation,
    least_times,
)
from scope_opt.search.packed import FROM, NEVER, TO, WEIGHTS
from scope_opt.search.placed import activations_fit, segment_facts, weight_gather_ps, within_ps
from scope_opt.search.plus.sizes import alike_layers
from scope_opt.search.times import (
    closing_times,
    compute_time,
    copy_fits,
    free_bytes,
    opening_times,
    stream_time,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scope_opt.search.allowed import Allowed
    from scope_opt.search.exact.inner import LeastTimes
    from scope_opt.search.packed import Ints, PackedTables

    Flags = NDArray[np.bool_]
    Entries = NDArray[np.int32]

SHARED, OWN = 0, 1
"""Whose times: of all segments, or of one of them."""
LEAST = 4
"""Columns of ``inner`` for the least time of this and all longer clusters with what their last
layer computes; by first partition."""
GATHERED = 4
"""Column of ``steps`` for what a layer gathers as WSP."""
BEGIN, MADE, UPTO = 0, 1, 2
"""Columns of ``rows``."""
PLACES = 8
"""Places that are told apart in a row of the mesh."""
LONGER = 1.5
"""Times of clusters are made up to so many times the beat that asks for them."""
ROOM = 1 << 22, 1 << 18
"""Rows of ``inner`` and ``steps`` to begin with: room that is not used takes no memory."""


class ClusterTimes(NamedTuple):
    """What is known of clusters; the arrays of a segment are replaced for another one."""

    first: int
    last: int
    limit: int
    """ps; longer clusters are not known"""
    grain: int
    """Places are told apart by multiples of so many positions"""
    facts: Ints
    """`segment_facts` of the segment"""
    reads: Ints
    """(L+1,) DRAM reads in the segment in ps, cumulated over layers"""
    closing: Ints
    """(L, C+1) `closing_times` of the segment, for the regressed model"""
    crossing: Flags
    """(L,) whether what a layer sends on depends on the segment's ends"""
    until: Ints
    """(L,) last layer of the clusters from a layer on that are the same in every segment"""
    least: LeastTimes
    """What layers take at least in any cluster and segment"""
    length: Ints
    """(L, C+1) layers of the longest clusters from a layer on"""
    alike: Ints
    """(L,) the first layer from which clusters take the same"""
    used: Ints
    """(2, 2) rows of ``inner`` and of ``steps`` that are taken, by `SHARED` and `OWN`"""
    rows: Ints
    """(2, L, C+1, places, 3): where the clusters from a layer on ``BEGIN`` in ``inner``, how many
    are ``MADE``, and ``UPTO`` how many ps all are, 0 if they are not made"""
    inner: Ints
    """(2, rows, 6) ps for first and last partition ``2 p + q``, `NEVER` where not allowed; `LEAST`.
    DRAM reads are left out."""
    step: Entries
    """(2, L, C+1, places) row of ``steps``, 0 if not made"""
    steps: Ints
    """(2, rows, 5) ps of one layer: ``2 p + q`` with the next one in its cluster, DRAM reads left
    out; then `GATHERED`"""
    path: Ints
    """(L, 4) room for the shortest path"""
    fits: Flags
    """(L,) room for the copies that fit"""


def make_times(packed: PackedTables, allowed: Allowed, limit: int) -> ClusterTimes:
    """Times of clusters up to ``limit`` ps, none of them made yet, and of no segment."""
    layers, sizes = packed.times.shape[:2]
    placed, grain = packed.places.placed, max(1, int(packed.places.mesh[1]) // PLACES)
    places = int(packed.places.phase.max()) // grain + 1 if placed else 1
    none = np.zeros(0, dtype=np.int64)
    # Packed tables of the placed model hold computation alone.
    least = least_computation(packed) if placed else least_times(packed, allowed)
    length = last_layers(packed, least, allowed, limit)
    return ClusterTimes(
        first=0,
        last=layers - 1,
        limit=limit,
        grain=grain,
        facts=np.zeros((0, 0), dtype=np.int64),
        reads=none,
        closing=np.zeros((0, 0), dtype=np.int64),
        crossing=none > 0,
        until=none,
        least=least,
        length=length,
        alike=alike_layers(packed, allowed, length),
        used=np.ones((2, 2), dtype=np.int64),
        rows=np.zeros((2, layers, sizes, places, 3), dtype=np.int64),
        inner=np.empty((2, ROOM[0], 6), dtype=np.int64),
        step=np.zeros((2, layers, sizes, places) if placed else (2, 0, 0, 0), dtype=np.int32),
        steps=np.empty((2, ROOM[1] if placed else layers + 1, 5), dtype=np.int64),
        path=np.empty((layers, 4), dtype=np.int64),
        fits=np.zeros(layers, dtype=np.bool_),
    )


def times_within(packed: PackedTables, times: ClusterTimes, first: int, last: int) -> ClusterTimes:
    """The same for another segment: what was made for the one before is forgotten."""
    layers, kernel = len(packed.times), packed.places
    crossing = np.zeros(layers, dtype=np.bool_)
    if kernel.placed:
        inside = np.arange(first, last)
        crossing[inside] = kernel.write_ps[last, inside] != kernel.write_ps[-1, inside]
        source, target = kernel.edges[:, 0], kernel.edges[:, 1]
        arrives = (kernel.edges[:, 3] == 1) & (source < first) & (first < target)
        crossing[target[arrives & (target <= last)] - 1] = True
        reads = np.concatenate([[0], kernel.read_ps[first].cumsum()])
    else:
        source = packed.edges[packed.edges[:, TO] > last, FROM]
        crossing[source[(first <= source) & (source < last)]] = True
        reads = opening_times(packed, first)
    until = np.where(crossing, np.arange(layers), layers)
    until = np.minimum.accumulate(until[::-1])[::-1]
    if kernel.limit >= 0:
        until[:] = -1  # what is held depends on all that comes before
    times.rows[OWN, times.first : times.last + 1] = 0
    times.step[OWN, times.first : times.last + 1] = 0
    times.used[OWN] = 1
    return times._replace(
        first=first,
        last=last,
        facts=segment_facts(kernel, first, last),
        reads=reads,
        closing=closing_times(packed, first, last),
        crossing=crossing,
        until=until,
    )


def with_room(times: ClusterTimes) -> ClusterTimes:
    """The same with twice the rows of what has no room for another layer."""
    found = []
    for rows, used in zip((times.inner, times.steps), times.used.T, strict=True):
        if used.max() + len(times.path) > rows.shape[1]:
            larger = np.empty((2, 2 * rows.shape[1], rows.shape[2]), dtype=np.int64)
            for whose in (SHARED, OWN):
                larger[whose, : used[whose]] = rows[whose, : used[whose]]
            found.append(larger)
        else:
            found.append(rows)
    inner, steps = found
    return times._replace(inner=inner, steps=steps)


@loop
def make_row(
    packed: PackedTables,
    allowed: Allowed,
    times: ClusterTimes,
    whose: int,
    i: int,
    start: int,
    size: int,
    beat: int,
) -> bool:
    """Make the clusters from layer ``i`` on for a beat; whether there was room for them."""
    begin, layers = times.used[whose, 0], len(times.path)
    # A segment's own clusters have steps of both kinds.
    steps = max(times.used[SHARED, 1], times.used[OWN, 1])
    if begin + layers > times.inner.shape[1] or steps + layers > times.steps.shape[1]:
        return False
    seg_first, seg_last = (times.first, times.last) if whose == OWN else (0, layers - 1)
    limit, place = min(int(beat * LONGER), times.limit), 0
    if packed.places.placed:
        place = packed.places.phase[start] // times.grain
        stop = _fill_placed(
            packed, allowed, times, whose, seg_first, seg_last, i, start, size, limit
        )
    else:
        stop = _fill_regressed(packed, allowed, times, whose, seg_last, i, size, limit)
    least = times.inner[whose, begin + stop - i]
    least[LEAST] = least[LEAST + 1] = NEVER
    for j in range(stop - 1, i - 1, -1):
        behind, least = least, times.inner[whose, begin + j - i]
        for p in range(2):
            time = behind[LEAST + p]
            for q in range(2):
                time = min(time, least[2 * p + q] + computation(packed, j, q, size))
            least[LEAST + p] = time
    own = times.rows[whose, i, size, place]
    own[BEGIN], own[MADE], own[UPTO] = begin, stop - i, limit
    times.used[whose, 0] += stop - i + 1
    return True


@inlined
def computation(packed: PackedTables, layer: int, own: int, size: int) -> int:
    """What a layer computes with partition ``own``, in ps."""
    if packed.places.placed:
        return int(packed.places.compute_ps[layer, own, size])
    return compute_time(packed.times, layer, own, size)


@loop
def _fill_regressed(
    packed: PackedTables,
    allowed: Allowed,
    times: ClusterTimes,
    whose: int,
    seg_last: int,
    i: int,
    size: int,
    limit: int,
) -> int:
    """Fill the rows of clusters; returns the layer behind the longest of them."""
    before, last = times.least.before, times.least.last
    stop, longest = i, min(seg_last + 1, i + times.length[i, size])
    while stop < longest and before[stop, size] - before[i, size] + last[stop, size] <= limit:
        stop += 1
    fill_row(
        packed,
        allowed,
        seg_last,
        i,
        size,
        stop,
        i,
        times.inner[whose],
        times.used[whose, 0],
        times.path,
        times.fits,
    )
    return stop


@loop
def _make_step(
    packed: PackedTables, times: ClusterTimes, whose: int, layer: int, start: int, size: int
) -> int:
    """Make what a layer takes beside the next one in its cluster; returns its row."""
    kernel, row = packed.places, times.used[whose, 1]
    seg_first, seg_last = (times.first, times.last) if whose == OWN else (0, len(times.path) - 1)
    times.step[whose, layer, size, kernel.phase[start] // times.grain] = row
    times.used[whose, 1] += 1
    own = times.steps[whose, row]
    own[GATHERED] = weight_gather_ps(kernel, kernel.weights[layer], start, size)
    for this in range(2):
        prepared = own[GATHERED] if this == 1 else 0
        computed = kernel.compute_ps[layer, this, size]
        for then in range(2):
            own[2 * this + then] = prepared + computed
            if layer < len(times.path) - 1:
                sent = kernel.write_ps[seg_last, layer]
                sent += within_ps(kernel, layer, this, then, start, size, seg_first)
                own[2 * this + then] = prepared + max(computed, sent)
    return int(row)


@loop
def _fill_placed(
    packed: PackedTables,
    allowed: Allowed,
    times: ClusterTimes,
    whose: int,
    seg_first: int,
    seg_last: int,
    i: int,
    start: int,
    size: int,
    limit: int,
) -> int:
    """Fill the rows of clusters; returns the layer behind the longest of them."""
    kernel, path, fits = packed.places, times.path, times.fits
    place, begin, weights, largest = kernel.phase[start] // times.grain, times.used[whose, 0], 0, -1
    longest = min(seg_last + 1, i + times.length[i, size])
    for j in range(i, longest):
        weights += packed.layers[j, WEIGHTS]
        room = free_bytes(packed.weight_buffer_bytes, size, weights, packed.stream)
        whose_step = OWN if whose == OWN and times.crossing[j] else SHARED
        row = times.step[whose_step, j, size, place]
        if row == 0:
            row = _make_step(packed, times, whose_step, j, start, size)
        gathered = times.steps[whose_step, row, GATHERED]
        # The path goes on from the first layer whose copy no longer fits beside the weights.
        changed = j
        if largest >= 0 and not copy_fits(packed.layers, largest, size, room):
            changed, largest = drop_copies(packed.layers, fits, i, j, size, room)
        fits[j] = copy_fits(packed.layers, j, size, room)
        if fits[j] and (largest < 0 or packed.layers[j, WEIGHTS] > packed.layers[largest, WEIGHTS]):
            largest = j
        for u in range(changed, j + 1):
            step = times.steps[SHARED, 0]
            if u > i:
                whose_step = OWN if whose == OWN and times.crossing[u - 1] else SHARED
                step = times.steps[whose_step, times.step[whose_step, u - 1, size, place]]
            for q in range(2):
                choice = allowed.choice[u]
                possible = may_wsp(choice, fits[u]) if q == 1 else may_isp(choice, fits[u])
                if possible and kernel.limit >= 0:
                    possible = activations_fit(kernel, times.facts, seg_first, i, u, q, size)
                for p in range(2):
                    best = NEVER
                    if possible and u == i:
                        best = 0 if p == q else NEVER
                    elif possible:
                        for before in range(2):
                            best = min(best, path[u - 1, 2 * p + before] + step[2 * before + q])
                    path[u, 2 * p + q] = best
        least = NEVER
        refetch = 0
        if weights > packed.weight_buffer_bytes * size:
            refetch = stream_time(packed, i, j, weights, size)
        for pq in range(4):
            spent = path[j, pq]
            least = min(least, spent)
            if spent < NEVER and allowed.clusters[i, j]:
                # Alone in its cluster, a layer keeps the weights that it gathered.
                spent += refetch + (gathered if pq % 2 == 1 and j > i else 0)
            else:
                spent = NEVER
            times.inner[whose, begin + j - i, pq] = spent
        if least > limit:
            return j
    return int(longest)
