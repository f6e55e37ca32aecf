"""The paper's search of one segment (Algorithm 1): merge table, transition point, regions.

Compiled; `scope_opt.search.paper.solver` drives it over the segments of a network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scope_opt.model.compiled import compiled, loop
from scope_opt.search.packed import LOAD, NEVER, WEIGHTS
from scope_opt.search.placed import activations_fit, cluster_ps, link_beat, segment_facts
from scope_opt.search.times import (
    ISP,
    WSP,
    chiplets_for,
    cluster_time,
    copy_fits,
    free_bytes,
    segment_latency,
    stream_time,
    whole_package,
)

if TYPE_CHECKING:
    from scope_opt.search.packed import Bytes, Floats, Ints, PackedTables


MEAN, MEETING, WIDEST, RATIO, LOAD_ONLY = 0, 1, 2, 3, 4
"""Measures of similarity, in the order of `scope_opt.solving.solver.READINGS`."""
FASTEST, ANY, BEST = 0, 1, 2
"""Donors of chiplets, likewise."""


@loop
def _distance(
    packed: PackedTables,
    similarity: int,
    load: Floats,
    weighted: Floats,
    low: Floats,
    high: Floats,
    start: Ints,
    k: int,
) -> float:
    """Squared distance of clusters ``k`` and ``k + 1``."""
    if similarity == LOAD_ONLY:
        return 0.0
    if similarity == MEETING:
        here, there = packed.parallelism[start[k + 1] - 1], packed.parallelism[start[k + 1]]
        across, along = here[0] - there[0], here[1] - there[1]
    elif similarity == WIDEST:
        across = max(high[k, 0], high[k + 1, 0]) - min(low[k, 0], low[k + 1, 0])
        along = max(high[k, 1], high[k + 1, 1]) - min(low[k, 1], low[k + 1, 1])
    else:
        across = weighted[k, 0] / load[k] - weighted[k + 1, 0] / load[k + 1]
        along = weighted[k, 1] / load[k] - weighted[k + 1, 1] / load[k + 1]
        if similarity == RATIO:
            return float((across - along) * (across - along))
    return float(across * across + along * along)


@compiled
def merge_order(packed: PackedTables, seg_first: int, seg_last: int, similarity: int) -> Ints:
    """Cluster merge table of a segment, as the step at which each boundary disappears.

    Starting from one cluster per layer, each step merges the adjacent pair that is closest (squared
    distance, to 1e-9); ties go to the pair with fewer MACs, then to the earlier one. Points are
    ``(log2 channels, log2 outputs)``. ``similarity`` says what is compared: the MAC-weighted means
    of both clusters (`MEAN`), the two layers that meet (`MEETING`), the extent of all layers of
    both (`WIDEST`), the means of channels over outputs (`RATIO`), or nothing but MACs
    (`LOAD_ONLY`).

    Returns
    -------
    int64 array, shape ``(layers of the segment,)``
        Entry ``k > 0``: step (1, 2, ...) that merges layer ``seg_first + k`` into the cluster
        before it. Row ``N`` of the table starts a cluster at every ``k`` whose step is later than
        ``layers - N``. Entry 0 stays 0.
    """
    layers = seg_last - seg_first + 1
    step = np.zeros(layers, dtype=np.int64)
    start = np.arange(seg_first, seg_last + 1)
    load = np.empty(layers)
    weighted = np.empty((layers, 2))
    low = packed.parallelism[seg_first : seg_last + 1].copy()
    high = low.copy()
    for k in range(layers):
        load[k] = max(1.0, float(packed.layers[seg_first + k, LOAD]))
        weighted[k] = load[k] * packed.parallelism[seg_first + k]
    clusters = layers
    for merge in range(1, layers):
        best, best_distance, best_load = -1, 0.0, 0.0
        for k in range(clusters - 1):
            # Repeated blocks are equally far apart but for float noise, which must not decide.
            squared = _distance(packed, similarity, load, weighted, low, high, start, k)
            distance = np.round(squared * 1e9)
            merged = load[k] + load[k + 1]
            if (
                best < 0
                or distance < best_distance
                or (distance == best_distance and merged < best_load)
            ):
                best, best_distance, best_load = k, distance, merged
        step[start[best + 1] - seg_first] = merge
        weighted[best] += weighted[best + 1]
        load[best] = best_load
        for axis in range(2):
            low[best, axis] = min(low[best, axis], low[best + 1, axis])
            high[best, axis] = max(high[best, axis], high[best + 1, axis])
        for k in range(best + 1, clusters - 1):
            start[k], load[k] = start[k + 1], load[k + 1]
            weighted[k] = weighted[k + 1]
            low[k], high[k] = low[k + 1], high[k + 1]
        clusters -= 1
    return step


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
def _assign(
    packed: PackedTables,
    seg_first: int,
    seg_last: int,
    start: Ints,
    weights: Ints,
    regions: Ints,
    cluster: int,
    transition: int,
    facts: Ints,
    partition: Bytes,
) -> None:
    """Partitions of one cluster: WSP before the transition where the copy fits, else ISP.

    Where activations do not fit in that partition the other one is taken, if its copy fits.
    """
    size, first = regions[cluster], start[cluster]
    passing = packed.stream or whole_package(packed.times, seg_first, seg_last, size)
    room = free_bytes(packed.weight_buffer_bytes, size, weights[cluster], passing)
    for layer in range(start[cluster], start[cluster + 1]):
        fits = copy_fits(packed.layers, layer, size, room)
        shared = fits and layer < transition
        if packed.places.limit >= 0:
            own = WSP if shared else ISP
            if not activations_fit(packed.places, facts, seg_first, first, layer, own, size):
                shared = fits and not shared
        partition[layer] = WSP if shared else ISP


@loop
def _time(
    packed: PackedTables,
    seg_first: int,
    seg_last: int,
    start: Ints,
    weights: Ints,
    regions: Ints,
    cluster: int,
    facts: Ints,
    partition: Bytes,
) -> int:
    """Time of a cluster in ps; `NEVER` if its activations do not fit."""
    following = regions[cluster + 1] if cluster + 1 < len(weights) else 0
    first, last, size = start[cluster], start[cluster + 1] - 1, regions[cluster]
    for layer in range(first, last + 1 if packed.places.limit >= 0 else first):
        own = partition[layer]
        if not activations_fit(packed.places, facts, seg_first, first, layer, own, size):
            return NEVER
    if packed.places.placed:
        position = 0
        for before in range(cluster):
            position += regions[before]
        time = 0
        if not whole_package(packed.times, seg_first, seg_last, size):
            time = stream_time(packed, first, last, weights[cluster], size)
        return time + int(
            cluster_ps(
                packed.places,
                facts,
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
        cluster_time(
            packed,
            seg_first,
            seg_last,
            start[cluster],
            start[cluster + 1] - 1,
            weights[cluster],
            regions[cluster],
            following,
            partition,
        )
    )


@loop
def _extremes(times: Ints, regions: Ints, least: Ints) -> tuple[int, int, int]:
    """First slowest cluster, how many are as slow, first fastest that can spare one (or -1)."""
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
def start_times(
    packed: PackedTables,
    seg_first: int,
    seg_last: int,
    start: Ints,
    weights: Ints,
    transition: int,
    regions: Ints,
    facts: Ints,
    partition: Bytes,
    times: Ints,
) -> None:
    """Partitions and times of all clusters."""
    for j in range(len(weights)):
        _assign(
            packed, seg_first, seg_last, start, weights, regions, j, transition, facts, partition
        )
    for j in range(len(weights)):
        times[j] = _time(packed, seg_first, seg_last, start, weights, regions, j, facts, partition)


@loop
def _move(
    packed: PackedTables,
    seg_first: int,
    seg_last: int,
    start: Ints,
    weights: Ints,
    transition: int,
    facts: Ints,
    unit: int,
    gains: int,
    donor: int,
    regions: Ints,
    partition: Bytes,
    times: Ints,
) -> None:
    """Give chiplets of one cluster to another."""
    regions[gains] += unit
    regions[donor] -= unit
    for j in (gains, donor):
        _assign(
            packed, seg_first, seg_last, start, weights, regions, j, transition, facts, partition
        )
    low, high = min(gains, donor), max(gains, donor)
    for j in range(max(0, low - 1), high + 1):
        # The cluster before a changed region sends into it; regions in between move.
        if packed.places.placed or j in (low - 1, low, high - 1, high):
            times[j] = _time(
                packed, seg_first, seg_last, start, weights, regions, j, facts, partition
            )


@loop
def _next_donor(times: Ints, regions: Ints, least: Ints, slowest: int, after: int) -> int:
    """The fastest cluster that can spare chiplets, of those behind ``after``; -1 for none."""
    best = -1
    for j in range(len(times)):
        if j == slowest or regions[j] <= least[j]:
            continue
        if after >= 0 and (times[j], j) <= (times[after], after):
            continue
        if best < 0 or times[j] < times[best]:
            best = j
    return best


@loop
def balance(
    packed: PackedTables,
    seg_first: int,
    seg_last: int,
    start: Ints,
    weights: Ints,
    least: Ints,
    transition: int,
    regions: Ints,
    facts: Ints,
    partition: Bytes,
    times: Ints,
    unit: int,
    largest: int,
    donors: int,
) -> int:
    """Move chiplets to the slowest cluster while the segment's latency falls.

    Where several clusters are equally slow the latency cannot fall until the last of them got
    faster, so a move also counts as progress when fewer clusters are slowest. Chiplets come from
    the fastest cluster (`FASTEST`), from the fastest of those with which that is progress (`ANY`),
    or from the one that leaves the slowest time least (`BEST`). ``regions``, ``partition`` and the
    clusters' ``times`` are updated in place; returns the slowest cluster's time in ps.
    """
    enough = packed.segment_dram_ps[seg_first, seg_last]
    slowest, ties, donor = _extremes(times, regions, least)
    while True:
        top = times[slowest]
        if donor < 0 or top <= enough or regions[slowest] + unit > largest:
            return int(top)
        if donors == FASTEST and donor == slowest:
            return int(top)
        if donors != FASTEST:
            donor = _next_donor(times, regions, least, slowest, -1)
        chosen, chosen_top, chosen_ties = -1, top, ties
        while donor >= 0:
            _move(
                packed,
                seg_first,
                seg_last,
                start,
                weights,
                transition,
                facts,
                unit,
                slowest,
                donor,
                regions,
                partition,
                times,
            )
            now, now_ties, _ = _extremes(times, regions, least)
            fine = times[now] < chosen_top
            fine = fine or (times[now] == chosen_top and now_ties < chosen_ties)
            if fine:
                chosen, chosen_top, chosen_ties = donor, times[now], now_ties
                if donors != BEST:
                    break
            _move(
                packed,
                seg_first,
                seg_last,
                start,
                weights,
                transition,
                facts,
                unit,
                donor,
                slowest,
                regions,
                partition,
                times,
            )
            if donors == FASTEST:
                break
            donor = _next_donor(times, regions, least, slowest, donor)
        if chosen < 0:
            return int(top)
        if donors == BEST:
            _move(
                packed,
                seg_first,
                seg_last,
                start,
                weights,
                transition,
                facts,
                unit,
                slowest,
                chosen,
                regions,
                partition,
                times,
            )
        slowest, ties, donor = _extremes(times, regions, least)


@compiled
def search_segment(
    packed: PackedTables,
    seg_first: int,
    seg_last: int,
    min_clusters: int,
    max_clusters: int,
    unit: int,
    largest: int,
    similarity: int,
    donors: int,
) -> tuple[int, Ints, Ints, Bytes]:
    """Best schedule of one segment over all rows of the merge table and all transitions.

    Regions are multiples of ``unit`` and at most ``largest``; see `merge_order` for ``similarity``
    and `balance` for ``donors``.

    Returns
    -------
    latency_ps : int
        `NEVER` if no cluster count fits.
    start : int64 array, shape ``(clusters + 1,)``
        First layer of each cluster, then ``seg_last + 1``.
    regions : int64 array, shape ``(clusters,)``
    partition : int8 array, shape ``(L,)``
        Meaningful for the segment's layers.
    """
    layers = seg_last - seg_first + 1
    chiplets = packed.times.shape[1] - 1
    package, largest = chiplets // unit * unit, min(largest, chiplets) // unit * unit
    step = merge_order(packed, seg_first, seg_last, similarity)
    facts = segment_facts(packed.places, seg_first, seg_last)
    best = NEVER
    best_start = np.zeros(0, dtype=np.int64)
    best_regions = np.zeros(0, dtype=np.int64)
    best_partition = np.zeros(len(packed.times), dtype=np.int8)
    partition = best_partition.copy()
    for clusters in range(max(1, min_clusters), min(layers, package // unit, max_clusters) + 1):
        start = np.empty(clusters + 1, dtype=np.int64)
        load = np.zeros(clusters, dtype=np.int64)
        weights = np.zeros(clusters, dtype=np.int64)
        least = np.full(clusters, unit, dtype=np.int64)
        j = -1
        for k in range(layers):
            if k == 0 or step[k] > layers - clusters:
                j += 1
                start[j] = seg_first + k
            load[j] += packed.layers[seg_first + k, LOAD]
            weights[j] += packed.layers[seg_first + k, WEIGHTS]
        start[clusters] = seg_last + 1
        alone = layers == 1 and largest == chiplets
        if alone:  # on the whole package weights of any size pass through
            least[0] = package
        elif not packed.stream:
            for j in range(clusters):
                needed = chiplets_for(weights[j], packed.weight_buffer_bytes)
                least[j] = max(unit, -(-needed // unit) * unit)
        if least.sum() > package or least.max() > largest:
            continue
        begin = np.empty(clusters, dtype=np.int64)
        first_regions(load, least, package, begin, unit, largest)
        regions = np.empty(clusters, dtype=np.int64)
        times, first_times = regions.copy(), regions.copy()
        first_partition = partition.copy()
        start_times(
            packed,
            seg_first,
            seg_last,
            start,
            weights,
            seg_first,
            begin,
            facts,
            first_partition,
            first_times,
        )
        j = 0
        for transition in range(seg_first, seg_last + 2):
            if transition > seg_first:
                # One more layer may be WSP: its cluster changes, and the one that sends into it.
                if start[j + 1] < transition:
                    j += 1
                _assign(
                    packed,
                    seg_first,
                    seg_last,
                    start,
                    weights,
                    begin,
                    j,
                    transition,
                    facts,
                    first_partition,
                )
                for changed in (j - 1, j):
                    if changed >= 0:
                        first_times[changed] = _time(
                            packed,
                            seg_first,
                            seg_last,
                            start,
                            weights,
                            begin,
                            changed,
                            facts,
                            first_partition,
                        )
            regions[:], times[:], partition[:] = begin, first_times, first_partition
            beat = balance(
                packed,
                seg_first,
                seg_last,
                start,
                weights,
                least,
                transition,
                regions,
                facts,
                partition,
                times,
                unit,
                largest,
                donors,
            )
            if beat >= NEVER:
                continue
            load_ps = packed.load_ps[seg_first, seg_last]
            dram_ps = packed.segment_dram_ps[seg_first, seg_last]
            latency = segment_latency(load_ps, dram_ps, packed.samples, clusters, beat)
            if latency < best and packed.places.shared:
                link_ps = link_beat(
                    packed.places, facts, seg_first, seg_last, start, regions, partition
                )
                beat = max(beat, link_ps)
                latency = segment_latency(load_ps, dram_ps, packed.samples, clusters, beat)
            if latency < best:
                best = latency
                best_start, best_regions = start.copy(), regions.copy()
                best_partition[:] = partition
    return best, best_start, best_regions, best_partition
