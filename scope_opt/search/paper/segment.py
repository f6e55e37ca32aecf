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
    from scope_opt.search.packed import Bytes, Ints, PackedTables


@compiled
def merge_order(packed: PackedTables, seg_first: int, seg_last: int) -> Ints:
    """Cluster merge table of a segment, as the step at which each boundary disappears.

    Starting from one cluster per layer, each step merges the adjacent pair whose MAC-weighted mean
    ``(log2 channels, log2 outputs)`` are closest (squared distance, to 1e-9); ties go to the pair
    with fewer MACs, then to the earlier one.

    Returns
    -------
    int64 array, shape ``(layers of the segment,)``
        Entry ``k > 0``: step (1, 2, ...) that merges layer ``seg_first + k`` into the cluster
        before it. Row ``N`` of the table starts a cluster at every ``k`` whose step is later than
        ``layers - N``. Entry 0 stays 0.
    """
    layers = seg_last - seg_first + 1
    step = np.zeros(layers, dtype=np.int64)
    start = np.arange(layers)
    load = np.empty(layers)
    weighted = np.empty((layers, 2))
    for k in range(layers):
        load[k] = max(1.0, float(packed.layers[seg_first + k, LOAD]))
        weighted[k] = load[k] * packed.parallelism[seg_first + k]
    clusters = layers
    for merge in range(1, layers):
        best, best_distance, best_load = -1, 0.0, 0.0
        for k in range(clusters - 1):
            across = weighted[k, 0] / load[k] - weighted[k + 1, 0] / load[k + 1]
            along = weighted[k, 1] / load[k] - weighted[k + 1, 1] / load[k + 1]
            # Repeated blocks are equally far apart but for float noise, which must not decide.
            distance = np.round((across * across + along * along) * 1e9)
            merged = load[k] + load[k + 1]
            if (
                best < 0
                or distance < best_distance
                or (distance == best_distance and merged < best_load)
            ):
                best, best_distance, best_load = k, distance, merged
        step[start[best + 1]] = merge
        weighted[best] += weighted[best + 1]
        load[best] = best_load
        for k in range(best + 1, clusters - 1):
            start[k], load[k] = start[k + 1], load[k + 1]
            weighted[k] = weighted[k + 1]
        clusters -= 1
    return step


@compiled
def first_regions(load: Ints, least: Ints, chiplets: int, regions: Ints) -> None:
    """Fill ``regions``: proportional to ``load`` by largest remainder, at least ``least`` each.

    The caller guarantees ``sum(least) <= chiplets``.
    """
    clusters = len(load)
    total = float(max(1, load.sum()))
    ideal = np.empty(clusters)
    used = 0
    for j in range(clusters):
        ideal[j] = chiplets * (float(load[j]) / total)
        regions[j] = max(least[j], int(ideal[j]))
        used += regions[j]
    while used != chiplets:
        best = -1
        for j in range(clusters):
            missing = ideal[j] - regions[j]
            if used < chiplets:
                if best < 0 or missing > ideal[best] - regions[best]:
                    best = j
            elif regions[j] > least[j] and (best < 0 or missing < ideal[best] - regions[best]):
                best = j
        change = 1 if used < chiplets else -1
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
) -> int:
    """Move chiplets from the fastest to the slowest cluster while the segment's latency falls.

    Where several clusters are equally slow the latency cannot fall until the last of them got
    faster, so a move also counts as progress when fewer clusters are slowest. ``regions``,
    ``partition`` and the clusters' ``times`` are updated in place; returns the slowest cluster's
    time in ps.
    """
    enough = packed.segment_dram_ps[seg_first, seg_last]
    slowest, ties, donor = _extremes(times, regions, least)
    while True:
        top = times[slowest]
        if donor < 0 or donor == slowest or top <= enough:
            return int(top)
        regions[slowest] += 1
        regions[donor] -= 1
        for j in (slowest, donor):
            _assign(
                packed,
                seg_first,
                seg_last,
                start,
                weights,
                regions,
                j,
                transition,
                facts,
                partition,
            )
        low, high = min(slowest, donor), max(slowest, donor)
        for j in range(max(0, low - 1), high + 1):
            # The cluster before a changed region sends into it; regions in between move.
            if packed.places.placed or j in (low - 1, low, high - 1, high):
                times[j] = _time(
                    packed, seg_first, seg_last, start, weights, regions, j, facts, partition
                )
        now, now_ties, next_donor = _extremes(times, regions, least)
        if times[now] > top or (times[now] == top and now_ties >= ties):
            regions[slowest] -= 1
            regions[donor] += 1
            for j in (slowest, donor):
                _assign(
                    packed,
                    seg_first,
                    seg_last,
                    start,
                    weights,
                    regions,
                    j,
                    transition,
                    facts,
                    partition,
                )
            return int(top)
        slowest, ties, donor = now, now_ties, next_donor


@compiled
def search_segment(
    packed: PackedTables,
    seg_first: int,
    seg_last: int,
    min_clusters: int,
    max_clusters: int,
) -> tuple[int, Ints, Ints, Bytes]:
    """Best schedule of one segment over all rows of the merge table and all transitions.

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
    package = packed.times.shape[1] - 1
    step = merge_order(packed, seg_first, seg_last)
    facts = segment_facts(packed.places, seg_first, seg_last)
    best = NEVER
    best_start = np.zeros(0, dtype=np.int64)
    best_regions = np.zeros(0, dtype=np.int64)
    best_partition = np.zeros(len(packed.times), dtype=np.int8)
    partition = best_partition.copy()
    for clusters in range(max(1, min_clusters), min(layers, package, max_clusters) + 1):
        start = np.empty(clusters + 1, dtype=np.int64)
        load = np.zeros(clusters, dtype=np.int64)
        weights = np.zeros(clusters, dtype=np.int64)
        least = np.ones(clusters, dtype=np.int64)
        j = -1
        for k in range(layers):
            if k == 0 or step[k] > layers - clusters:
                j += 1
                start[j] = seg_first + k
            load[j] += packed.layers[seg_first + k, LOAD]
            weights[j] += packed.layers[seg_first + k, WEIGHTS]
        start[clusters] = seg_last + 1
        if not packed.stream and layers > 1:
            for j in range(clusters):
                least[j] = max(1, chiplets_for(weights[j], packed.weight_buffer_bytes))
        if layers == 1:  # alone on the whole package, weights of any size pass through
            least[0] = package
        if least.sum() > package:
            continue
        begin = np.empty(clusters, dtype=np.int64)
        first_regions(load, least, package, begin)
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
