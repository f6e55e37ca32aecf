"""The paper's search of one segment (Algorithm 1): transition point and regions for each row.

Compiled; `scope_opt.search.paper.solver` drives it over the segments of a network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.model.compiled import compiled, loop
from scope_opt.search.packed import NEVER
from scope_opt.search.paper.floors import longest_beat, mark_transitions, segment_reads
from scope_opt.search.paper.merging import make_row, merge_order
from scope_opt.search.placed import activations_fit, cluster_ps, link_beat, segment_facts
from scope_opt.search.times import (
    ISP,
    WSP,
    cluster_time,
    copy_fits,
    free_bytes,
    segment_latency,
    stream_time,
    whole_package,
)

if TYPE_CHECKING:
    from scope_opt.search.packed import Bytes, Ints, PackedTables
    from scope_opt.search.paper.floors import Floors
    from scope_opt.search.paper.merging import Row


FASTEST, ANY, BEST = 0, 1, 2
"""Donors of chiplets, likewise."""


class Filling(NamedTuple):
    """Regions of a row's clusters with what follows from them; changed in place."""

    regions: Ints
    """(clusters,)"""
    partition: Bytes
    """(L,) of which those of the segment count"""
    times: Ints
    """(clusters,) ps; `NEVER` where activations do not fit"""


@compiled
def first_regions(
    load: Ints, least: Ints, chiplets: int, regions: Ints, unit: int, largest: int
) -> None:
    """Fill ``regions``: proportional to ``load`` by largest remainder, at least ``least`` each.

    Regions are multiples of ``unit`` and at most ``largest``, as ``least`` and ``chiplets`` are.
    The caller guarantees ``sum(least) <= chiplets``.
    """
    clusters = len(load)
    total = float(max(1, load.sum()))
    ideal = np.empty(clusters)
    used = 0
    for j in range(clusters):
        ideal[j] = chiplets * (float(load[j]) / total)
        regions[j] = min(largest, max(least[j], int(ideal[j]) // unit * unit))
        used += regions[j]
    while used != chiplets:
        best = -1
        for j in range(clusters):
            missing = ideal[j] - regions[j]
            if used < chiplets:
                if regions[j] + unit <= largest and (
                    best < 0 or missing > ideal[best] - regions[best]
                ):
                    best = j
            elif regions[j] > least[j] and (best < 0 or missing < ideal[best] - regions[best]):
                best = j
        if best < 0:  # all regions are as large as they may be
            break
        change = unit if used < chiplets else -unit
        regions[best] += change
        used += change


@loop
def _assign(row: Row, filling: Filling, cluster: int, transition: int) -> None:
    """Partitions of one cluster: WSP before the transition where the copy fits, else ISP.

    Where activations do not fit in that partition the other one is taken, if its copy fits.
    """
    packed, size, first = row.packed, filling.regions[cluster], row.start[cluster]
    passing = packed.stream or whole_package(packed.times, row.seg_first, row.seg_last, size)
    room = free_bytes(packed.weight_buffer_bytes, size, row.weights[cluster], passing)
    for layer in range(first, row.start[cluster + 1]):
        fits = copy_fits(packed.layers, layer, size, room)
        shared = fits and layer < transition
        if packed.places.limit >= 0:
            own = WSP if shared else ISP
            if not activations_fit(
                packed.places, row.facts, row.seg_first, first, layer, own, size
            ):
                shared = fits and not shared
        filling.partition[layer] = WSP if shared else ISP


@loop
def _time(row: Row, filling: Filling, cluster: int) -> int:
    """Time of a cluster in ps; `NEVER` if its activations do not fit."""
    packed, regions, partition = row.packed, filling.regions, filling.partition
    seg_first, seg_last, weights = row.seg_first, row.seg_last, row.weights[cluster]
    following = regions[cluster + 1] if cluster + 1 < len(regions) else 0
    first, last, size = row.start[cluster], row.start[cluster + 1] - 1, regions[cluster]
    for layer in range(first, last + 1 if packed.places.limit >= 0 else first):
        own = partition[layer]
        if not activations_fit(packed.places, row.facts, seg_first, first, layer, own, size):
            return NEVER
    if packed.places.placed:
        position = 0
        for before in range(cluster):
            position += regions[before]
        time = 0
        if not whole_package(packed.times, seg_first, seg_last, size):
            time = stream_time(packed, first, last, weights, size)
        return time + int(
            cluster_ps(
                packed.places,
                row.facts,
                seg_first,
                seg_last,
                first,
                last,
                position,
                size,
                following,
                partition,
            )
        )
    return int(
        cluster_time(packed, seg_first, seg_last, first, last, weights, size, following, partition)
    )


@loop
def _extremes(row: Row, filling: Filling) -> tuple[int, int, int]:
    """First slowest cluster, how many are as slow, first fastest that can spare one (or -1)."""
    times, regions, least = filling.times, filling.regions, row.least
    slowest, ties, donor = 0, 1, -1
    for j in range(len(times)):
        if times[j] > times[slowest]:
            slowest, ties = j, 1
        elif j > 0 and times[j] == times[slowest]:
            ties += 1
        if regions[j] > least[j] and (donor < 0 or times[j] < times[donor]):
            donor = j
    return slowest, ties, donor


@loop
def start_times(row: Row, filling: Filling, transition: int) -> None:
    """Partitions and times of all clusters."""
    for j in range(len(filling.times)):
        _assign(row, filling, j, transition)
    for j in range(len(filling.times)):
        filling.times[j] = _time(row, filling, j)


@loop
def _move(row: Row, filling: Filling, transition: int, gains: int, donor: int) -> None:
    """Give chiplets of one cluster to another."""
    filling.regions[gains] += row.unit
    filling.regions[donor] -= row.unit
    for j in (gains, donor):
        _assign(row, filling, j, transition)
    low, high = min(gains, donor), max(gains, donor)
    for j in range(max(0, low - 1), high + 1):
        # The cluster before a changed region sends into it; regions in between move.
        if row.packed.places.placed or j in (low - 1, low, high - 1, high):
            filling.times[j] = _time(row, filling, j)


@loop
def _next_donor(row: Row, filling: Filling, slowest: int, after: int) -> int:
    """The fastest cluster that can spare chiplets, of those behind ``after``; -1 for none."""
    best, times = -1, filling.times
    for j in range(len(times)):
        if j == slowest or filling.regions[j] <= row.least[j]:
            continue
        if after >= 0 and (times[j], j) <= (times[after], after):
            continue
        if best < 0 or times[j] < times[best]:
            best = j
    return best


@loop
def balance(row: Row, filling: Filling, transition: int, donors: int) -> int:
    """Move chiplets to the slowest cluster while the segment's latency falls.

    Where several clusters are equally slow the latency cannot fall until the last of them got
    faster, so a move also counts as progress when fewer clusters are slowest. Chiplets come from
    the fastest cluster (`FASTEST`), from the fastest of those with which that is progress (`ANY`),
    or from the one that leaves the slowest time least (`BEST`). Returns the slowest cluster's time
    in ps.
    """
    times, regions = filling.times, filling.regions
    enough = row.packed.segment_dram_ps[row.seg_first, row.seg_last]
    slowest, ties, donor = _extremes(row, filling)
    while True:
        top = times[slowest]
        if donor < 0 or top <= enough or regions[slowest] + row.unit > row.largest:
            return int(top)
        if donors == FASTEST and donor == slowest:
            return int(top)
        if donors != FASTEST:
            donor = _next_donor(row, filling, slowest, -1)
        chosen, chosen_top, chosen_ties = -1, top, ties
        while donor >= 0:
            _move(row, filling, transition, slowest, donor)
            now, now_ties, _ = _extremes(row, filling)
            fine = times[now] < chosen_top
            fine = fine or (times[now] == chosen_top and now_ties < chosen_ties)
            if fine:
                chosen, chosen_top, chosen_ties = donor, times[now], now_ties
                if donors != BEST:
                    break
            _move(row, filling, transition, donor, slowest)
            if donors == FASTEST:
                break
            donor = _next_donor(row, filling, slowest, donor)
        if chosen < 0:
            return int(top)
        if donors == BEST:
            _move(row, filling, transition, slowest, chosen)
        slowest, ties, donor = _extremes(row, filling)


@compiled
def search_segment(
    packed: PackedTables,
    floors: Floors,
    seg_first: int,
    seg_last: int,
    min_clusters: int,
    max_clusters: int,
    unit: int,
    largest: int,
    similarity: int,
    donors: int,
    below: int,
) -> tuple[int, Ints, Ints, Bytes]:
    """Best schedule of one segment over all rows of the merge table and all transitions.

    Regions are multiples of ``unit`` and at most ``largest``; see `merge_order` for ``similarity``
    and `balance` for ``donors``. Only a latency of less than ``below`` counts: rows and transitions
    for which `floors` says that they reach none are left out, which changes no answer.

    Returns
    -------
    latency_ps : int
        `NEVER` if no cluster count fits, or none is fast enough.
    start : int64 array, shape ``(clusters + 1,)``
        First layer of each cluster, then ``seg_last + 1``.
    regions : int64 array, shape ``(clusters,)``
    partition : int8 array, shape ``(L,)``
        Meaningful for the segment's layers.
    """
    layers, chiplets = seg_last - seg_first + 1, packed.times.shape[1] - 1
    package, largest = chiplets // unit * unit, min(largest, chiplets) // unit * unit
    step = merge_order(packed, seg_first, seg_last, similarity)
    facts = segment_facts(packed.places, seg_first, seg_last)
    reads = segment_reads(packed, seg_first, seg_last)
    load_ps = packed.load_ps[seg_first, seg_last]
    dram_ps = packed.segment_dram_ps[seg_first, seg_last]
    hopeful = np.empty(layers + 1, dtype=np.bool_)
    needed = np.empty(layers + 1, dtype=np.int64), np.empty(layers + 1, dtype=np.int64)
    best, found = below, False
    best_start = np.zeros(0, dtype=np.int64)
    best_regions = np.zeros(0, dtype=np.int64)
    best_partition = np.zeros(len(packed.times), dtype=np.int8)
    for clusters in range(max(1, min_clusters), min(layers, package // unit, max_clusters) + 1):
        beat_below = longest_beat(best, load_ps, packed.samples, clusters)
        if beat_below < dram_ps:
            break  # with more clusters the beat must be shorter still
        row, load = make_row(packed, facts, seg_first, seg_last, step, clusters, unit, largest)
        if row.least.sum() > package or row.least.max() > largest:
            continue
        if not mark_transitions(row, floors, reads, package, beat_below, needed, hopeful):
            continue
        begin = Filling(
            np.empty(clusters, dtype=np.int64), best_partition.copy(), np.empty_like(load)
        )
        filling = Filling(np.empty_like(load), best_partition.copy(), np.empty_like(load))
        first_regions(load, row.least, package, begin.regions, unit, largest)
        start_times(row, begin, seg_first)
        j = 0
        for transition in range(seg_first, seg_last + 2):
            if transition > seg_first:
                # One more layer may be WSP: its cluster changes, and the one that sends into it.
                if row.start[j + 1] < transition:
                    j += 1
                _assign(row, begin, j, transition)
                for changed in (j - 1, j):
                    if changed >= 0:
                        begin.times[changed] = _time(row, begin, changed)
            if not hopeful[transition - seg_first]:
                continue
            filling.regions[:], filling.times[:] = begin.regions, begin.times
            filling.partition[:] = begin.partition
            beat = balance(row, filling, transition, donors)
            if beat >= NEVER:
                continue
            latency = segment_latency(load_ps, dram_ps, packed.samples, clusters, beat)
            if latency < best and packed.places.shared:
                link_ps = link_beat(
                    packed.places,
                    facts,
                    seg_first,
                    seg_last,
                    row.start,
                    filling.regions,
                    filling.partition,
                )
                beat = max(beat, link_ps)
                latency = segment_latency(load_ps, dram_ps, packed.samples, clusters, beat)
            if latency < best:
                best, found = latency, True
                best_start, best_regions = row.start, filling.regions.copy()
                best_partition[:] = filling.partition
                beat_below = longest_beat(best, load_ps, packed.samples, clusters)
                mark_transitions(row, floors, reads, package, beat_below, needed, hopeful)
    return best if found else NEVER, best_start, best_regions, best_partition
