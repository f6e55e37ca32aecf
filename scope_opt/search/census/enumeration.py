"""Enumeration of every schedule of one segment.

Clusters are chosen from the last to the first, because a cluster's time depends on the next one's
region and first partition. For every cluster and region the times of all its partitions are
computed once and sorted; what is left of a time, the last layer's computation or sending, is the
same for all partitions with equal ends. The first cluster, where most schedules differ, is then
counted by bisection: all its partitions up to the slowest of the other clusters give the same
latency.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.model.compiled import compiled, loop
from scope_opt.model.files import InputError
from scope_opt.schedule.count import log10_space_size, space_size
from scope_opt.search.allowed import make_allowed
from scope_opt.search.census.tuning import MAX_SCHEDULES, MAX_TIMES, PAUSE
from scope_opt.search.census.validity import permitted
from scope_opt.search.packed import WEIGHTS, pack_tables
from scope_opt.search.placed import segment_facts
from scope_opt.search.stopping import SearchStopped
from scope_opt.search.times import (
    ISP,
    WSP,
    closing_times,
    free_bytes,
    gather_time,
    inner_layer_time,
    last_layer_time,
    leaving_time,
    opening_time,
    receiving_time,
    stream_time,
    whole_package,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from scope_opt.model.instance import Constraints, Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.search.allowed import Allowed
    from scope_opt.search.packed import Bytes, Ints, PackedTables
    from scope_opt.solving.monitor import Monitor

    Floats = NDArray[np.float64]

TOTAL, LEAST, AT_LEAST, MOST, AT_MOST, CLUSTERS = 0, 1, 2, 3, 4, 5
"""Entries of `Tally.totals`."""


FIRST, LAST, REGION, ENTERED, LEFT_BY, START, STOP, COLUMNS = 0, 1, 2, 3, 4, 5, 6, 7
"""Columns of `Walk.groups`."""


class Walk(NamedTuple):
    """The schedules to enumerate, for compiled code; `prepare` makes it."""

    samples: int
    load_ps: int
    dram_ps: int
    """Least beat from the DRAM traffic of the segment"""
    idle: bool
    times: Ints
    """As in `PackedTables`"""
    closing: Ints
    """(L, C+1) fixed part of the communication of a cluster's last layer"""
    groups: Ints
    """(groups, 7) clusters by ``FIRST`` and ``LAST`` layer, ``REGION``, first partition ``ENTERED``
    and last one ``LEFT_BY``; ``inner[START:STOP]`` are the times of their partitions. Sorted by
    last layer and region, those that start with layer 0 behind all others."""
    inner: Ints
    """Cluster times without the last layer's computation and communication; each group ascends"""
    middle: Ints
    """(L+1,) where the groups with this last layer start that have layers before them"""
    front: Ints
    """(L, C+2) where the groups ``0..last`` on ``r`` chiplets start"""
    ways: Floats
    """(D, L+1, C+1) number of schedules of the layers before ``e`` on ``c`` chiplets when ``d``
    clusters follow; the last ``d`` stands for all that are larger"""


class Tally(NamedTuple):
    """What the enumeration has seen so far."""

    totals: Ints
    """Schedules; least latency and how many have it; likewise the largest; clusters of the best"""
    edges: Ints
    """Lower ends of the bins"""
    counts: Ints
    """Schedules in each bin"""
    path: Ints
    """(L,) groups of the schedule at hand, last cluster first"""
    best: Ints
    """``path`` of the first schedule with the least latency"""


def make_tally(layers: int, edges: Sequence[int]) -> Tally:
    """A tally of nothing yet, with bins that begin at ``edges``."""
    return Tally(
        np.zeros(6, dtype=np.int64),
        np.array(edges, dtype=np.int64),
        np.zeros(len(edges), dtype=np.int64),
        np.zeros(layers, dtype=np.int64),
        np.zeros(layers, dtype=np.int64),
    )


# --- Preparation ---------------------------------------------------------------------------------


@loop
def _choices(
    packed: PackedTables, allowed: Allowed, facts: Ints, i: int, j: int, r: int, room: int
) -> float:
    """In how many ways the layers of a cluster can be partitioned, with that room for copies."""
    product = 1.0
    for u in range(i, j + 1):
        ways = 0
        for own in (ISP, WSP):
            if permitted(packed, allowed, facts, i, u, own, r, room):
                ways += 1
        product *= ways
    return product


@compiled
def count_partitions(packed: PackedTables, allowed: Allowed, facts: Ints) -> Floats:
    """(L, L, C+1) in how many ways the layers of a cluster can be partitioned; 0 if not allowed.

    ``facts`` are the `segment_facts` of the segment that has all layers.
    """
    layers, sizes = packed.times.shape[0], packed.times.shape[1]
    options = np.zeros((layers, layers, sizes))
    for i in range(layers):
        for r in range(1, sizes):
            passing = packed.stream or whole_package(packed.times, 0, layers - 1, r)
            weights = 0
            for j in range(i, layers if allowed.regions[i, r] else i):
                weights += packed.layers[j, WEIGHTS]
                room = free_bytes(packed.weight_buffer_bytes, r, weights, passing)
                if room < 0:
                    break
                # The clusters before and after this one need a chiplet each.
                others = (1 if i > 0 else 0) + (1 if j < layers - 1 else 0)
                if allowed.clusters[i, j] and r + others <= sizes - 1:
                    options[i, j, r] = _choices(packed, allowed, facts, i, j, r, room)
    return options


@compiled
def count_schedules(options: Floats, fewest: int, most: int, depths: int, idle: bool) -> Floats:
    """`Walk.ways` for ``fewest`` to ``most`` clusters; exact up to 2^53."""
    layers, sizes = options.shape[0], options.shape[2]
    ways = np.zeros((depths, layers + 1, sizes))
    for d in range(depths):
        for left in range(sizes if idle else 1):
            ways[d, 0, left] = 1 if fewest <= d <= most else 0
    for end in range(1, layers + 1):
        for i in range(end):
            for r in range(1, sizes):
                own = options[i, end - 1, r]
                if own == 0:
                    continue
                for d in range(depths):
                    before = ways[min(d + 1, depths - 1), i]
                    for c in range(r, sizes):
                        if before[c - r] > 0:
                            ways[d, end, c] += own * before[c - r]
    return ways


@loop
def _append_layer(
    packed: PackedTables,
    value: Ints,
    ends: Bytes,
    count: int,
    cluster: tuple[int, int, int],
    u: int,
    isp: bool,
    wsp: bool,
) -> int:
    """Continue the first ``count`` entries by layer ``u``, in every way it may be partitioned.

    ``value`` is the time of each choice of partitions so far, ``ends`` twice its first partition
    plus its last one. Returns how many there are then.
    """
    i, j, r = cluster
    times, layers, edges = packed.times, packed.layers, packed.edges
    entering = opening_time(layers, edges, packed.in_edges, u, 0)
    entering += receiving_time(layers, edges, packed.in_edges, u, r, i)
    leaving = leaving_time(layers, edges, u - 1, r, j, len(times) - 1) if u > i else 0
    for x in range(count):
        # WSP first: ISP then replaces the entry that both continue.
        for q in (WSP, ISP):
            if not (wsp if q == WSP else isp):
                continue
            spent = value[x] + entering + gather_time(times, u, q, r, i == j)
            both = 3 * q
            if u > i:
                spent += inner_layer_time(times, u - 1, ends[x] & 1, q, r, leaving)
                both = (ends[x] & 2) | q
            to = x + count if q == WSP and isp else x
            value[to], ends[to] = spent, both
    return 2 * count if isp and wsp else count


@compiled
def _fill_times(
    packed: PackedTables, allowed: Allowed, facts: Ints, options: Floats
) -> tuple[Ints, Ints]:
    """`Walk.groups`, empty ones included, and `Walk.inner`."""
    layers, sizes = packed.times.shape[0], packed.times.shape[1]
    groups = np.empty((4 * np.count_nonzero(options), COLUMNS), dtype=np.int64)
    inner = np.empty(int(options.sum()), dtype=np.int64)
    largest = int(options.max())
    value = np.empty(largest, dtype=np.int64)
    ends = np.empty(largest, dtype=np.int8)
    found = filled = 0
    for i in range(layers):
        for r in range(1, sizes):
            tiled = whole_package(packed.times, 0, layers - 1, r)
            weights = 0
            for j in range(i, layers):
                weights += packed.layers[j, WEIGHTS]
                if options[i, j, r] == 0:
                    continue
                passing = packed.stream or tiled
                room = free_bytes(packed.weight_buffer_bytes, r, weights, passing)
                value[0] = 0 if tiled else stream_time(packed, i, j, weights, r)
                count = 1
                for u in range(i, j + 1):
                    isp = permitted(packed, allowed, facts, i, u, ISP, r, room)
                    wsp = permitted(packed, allowed, facts, i, u, WSP, r, room)
                    count = _append_layer(packed, value, ends, count, (i, j, r), u, isp, wsp)
                for both in range(4):
                    start = filled
                    for x in range(count):
                        if ends[x] == both:
                            inner[filled] = value[x]
                            filled += 1
                    inner[start:filled].sort()
                    groups[found] = np.array([i, j, r, both >> 1, both & 1, start, filled])
                    found += 1
    return groups, inner


def cluster_limits(constraints: Constraints, layers: int, chiplets: int) -> tuple[int, int, int]:
    """Fewest and most clusters, and how many numbers of following clusters must be told apart."""
    fewest = constraints.min_clusters or 1
    most = min(constraints.max_clusters or layers, layers, chiplets)
    return fewest, most, 2 + most if most < min(layers, chiplets) else 1 + fewest


def prepare(instance: Instance, tables: LatencyTables, idle: bool) -> tuple[Walk, int]:
    """What compiled code needs, and the number of schedules to enumerate.

    Raises
    ------
    InputError
        If there are too many.
    """
    layers, chiplets = tables.layers, tables.chiplets
    too_many = too_many_schedules(instance, idle, MAX_SCHEDULES)
    if layers * layers * chiplets > MAX_TIMES:
        raise too_many
    packed, allowed = pack_tables(tables), make_allowed(instance.constraints, layers, chiplets)
    facts = segment_facts(packed.places, 0, layers - 1)
    options = count_partitions(packed, allowed, facts)
    if options.sum() > MAX_TIMES:
        raise too_many
    fewest, most, depths = cluster_limits(instance.constraints, layers, chiplets)
    ways = count_schedules(options, fewest, most, depths, idle)
    number = float(ways[0, -1, -1])
    if number > MAX_SCHEDULES:
        raise too_many
    groups, inner = np.zeros((0, COLUMNS), np.int64), np.zeros(0, np.int64)
    if number:
        groups, inner = _fill_times(packed, allowed, facts, options)
    groups = groups[groups[:, START] < groups[:, STOP]]
    begins, last, region = groups[:, FIRST] == 0, groups[:, LAST], groups[:, REGION]
    order = np.lexsort((region, last, begins))
    groups, middles = groups[order], int(np.count_nonzero(~begins))
    place = groups[middles:, LAST] * (chiplets + 2) + groups[middles:, REGION]
    places = np.arange(layers * (chiplets + 2)).reshape(layers, chiplets + 2)
    walk = Walk(
        samples=tables.samples,
        load_ps=int(tables.load_ps[0, -1]),
        dram_ps=int(tables.segment_dram_ps[0, -1]),
        idle=idle,
        times=packed.times,
        closing=closing_times(packed, 0, layers - 1),
        groups=groups,
        inner=inner,
        middle=np.searchsorted(groups[:middles, LAST], np.arange(layers + 1)),
        front=middles + np.searchsorted(place, places),
        ways=ways,
    )
    return walk, int(number)


def too_many_schedules(instance: Instance, idle: bool, allowed: int) -> InputError:
    """What to say where an enumeration would take too long; ``allowed`` schedules would not."""
    layers, chiplets = len(instance.layer_names), instance.chiplets
    size = space_size(layers, chiplets, idle)
    digits = log10_space_size(layers, chiplets, idle)
    shown = f"{size:,}" if digits < 15 else f"about 10^{digits:.1f}"
    problem = (
        f"{layers} layers on {chiplets} chiplets have {shown} schedules of one segment, too many "
        f"to enumerate (allowed: {allowed:,} within the weight capacity and the side "
        f"constraints, and {MAX_TIMES:,} times of single clusters); solver 'exact' proves the "
        "optimum without enumerating them"
    )
    return InputError(instance.name, [problem])


# --- Enumeration ---------------------------------------------------------------------------------


@loop
def bisect(ascending: Ints, low: int, high: int, value: int) -> int:
    """First index from ``low`` to ``high`` from which on entries exceed ``value``."""
    while low < high:
        middle = (low + high) // 2
        if ascending[middle] <= value:
            low = middle + 1
        else:
            high = middle
    return low


@loop
def _rest(walk: Walk, group: int, following: int, entered: int) -> int:
    """Time of a cluster's last layer: computation, or communication to the next cluster."""
    last, r, q = walk.groups[group, LAST], walk.groups[group, REGION], walk.groups[group, LEFT_BY]
    closing = walk.closing[last, r]
    return int(last_layer_time(walk.times, last, q, r, closing, entered, following))


@loop
def slowest_possible(walk: Walk) -> int:
    """Longest time that any cluster can have, whatever follows it, in ps."""
    layers, sizes = walk.times.shape[0], walk.times.shape[1]
    slowest = 0
    for group in range(len(walk.groups)):
        last = walk.groups[group, LAST]
        rest = _rest(walk, group, 0, ISP)
        for following in range(1, sizes if last < layers - 1 else 1):
            for entered in (ISP, WSP):
                rest = max(rest, _rest(walk, group, following, entered))
        slowest = max(slowest, walk.inner[walk.groups[group, STOP] - 1] + rest)
    return slowest


@compiled
def _close(
    walk: Walk,
    tally: Tally,
    clusters: int,
    last: int,
    left: int,
    following: int,
    entered: int,
    beat: int,
) -> None:
    """Count every schedule whose first cluster ends with layer ``last``.

    ``clusters`` counts this one too; ``left`` chiplets are left for it. The next cluster has
    ``following`` chiplets (0: there is none) and the partition ``entered`` on its first layer;
    ``beat`` is the slowest time so far.
    """
    totals, edges, counts = tally.totals, tally.edges, tally.counts
    inner, bins = walk.inner, len(edges)
    if walk.ways[min(clusters, walk.ways.shape[0] - 1), 0, 0] == 0:
        return  # not with so many clusters
    steps = walk.samples + clusters - 1
    usual = max(0, bisect(edges, 0, bins, walk.load_ps + steps * beat) - 1)
    begin = walk.front[last, 1 if walk.idle else left]
    for group in range(begin, walk.front[last, left + 1]):
        start, stop = walk.groups[group, START], walk.groups[group, STOP]
        rest = _rest(walk, group, following, entered)
        cut = bisect(inner, start, stop, beat - rest)
        counts[usual] += cut - start
        at = usual
        if bins == 1:
            counts[0] += stop - cut
        else:
            for x in range(cut, stop):
                latency = walk.load_ps + steps * (inner[x] + rest)
                at = max(at, bisect(edges, at, bins, latency) - 1)
                counts[at] += 1
        least = walk.load_ps + steps * max(beat, inner[start] + rest)
        if totals[TOTAL] == 0 or least < totals[LEAST]:
            totals[LEAST], totals[AT_LEAST], totals[CLUSTERS] = least, 0, clusters
            tally.path[clusters - 1] = group
            tally.best[:clusters] = tally.path[:clusters]
        if least == totals[LEAST]:
            equal = cut if cut > start else bisect(inner, start, stop, inner[start])
            totals[AT_LEAST] += equal - start
        most = walk.load_ps + steps * max(beat, inner[stop - 1] + rest)
        if totals[TOTAL] == 0 or most > totals[MOST]:
            totals[MOST], totals[AT_MOST] = most, 0
        if most == totals[MOST]:
            below = start
            if cut < stop:
                below = bisect(inner, start, stop, inner[stop - 1] - 1)
            totals[AT_MOST] += stop - below
        totals[TOTAL] += stop - start


@compiled
def _descend(walk: Walk, tally: Tally, group: int, start: int, stop: int) -> None:
    """Count every schedule whose last cluster is one of ``inner[start:stop]`` of a group.

    A depth-first search with its own stack: level ``d`` is the cluster before which ``d`` follow.
    """
    groups, path, deepest = walk.groups, tally.path, walk.ways.shape[0] - 1
    entry = np.empty(len(path), dtype=np.int64)
    end = np.empty(len(path), dtype=np.int64)
    rest = np.empty(len(path), dtype=np.int64)
    beat = np.empty(len(path), dtype=np.int64)
    left = np.empty(len(path), dtype=np.int64)
    path[0], entry[0], end[0], rest[0] = group, start, stop, _rest(walk, group, 0, 0)
    beat[0], left[0] = walk.dram_ps, walk.times.shape[1] - 1
    d = 0
    while True:
        if entry[d] < end[d]:
            own = path[d]
            slowest = max(beat[d], walk.inner[entry[d]] + rest[d])
            last, others = groups[own, FIRST] - 1, left[d] - groups[own, REGION]
            entered = groups[own, ENTERED]
            entry[d] += 1
            _close(walk, tally, d + 2, last, others, groups[own, REGION], entered, slowest)
            if last == 0:
                continue
            d += 1
            beat[d], left[d], path[d] = slowest, others, walk.middle[last]
        elif d == 0:
            return
        else:
            path[d] += 1
        # The next group of this level that leads to a schedule.
        after = path[d - 1]
        stop_at = walk.middle[groups[after, FIRST]]
        depth = min(d + 1, deepest)
        while path[d] < stop_at:
            first, r = groups[path[d], FIRST], groups[path[d], REGION]
            if r >= left[d]:
                path[d] = stop_at
            elif walk.ways[depth, first, left[d] - r] == 0:
                path[d] += 1
            else:
                break
        if path[d] == stop_at:
            d -= 1
            continue
        entry[d], end[d] = groups[path[d], START], groups[path[d], STOP]
        rest[d] = _rest(walk, path[d], groups[after, REGION], groups[after, ENTERED])


def enumerate_schedules(
    walk: Walk, tally: Tally, number: int, monitor: Monitor, pause: int = PAUSE
) -> Iterator[None]:
    """Count every schedule, with a pause after so many or so; raises `SearchStopped`."""
    layers, chiplets = len(walk.front), walk.ways.shape[2] - 1
    if monitor.stopping:
        raise SearchStopped
    _close(walk, tally, 1, layers - 1, chiplets, 0, 0, walk.dram_ps)
    yield
    seen = 0
    for group in range(walk.middle[-2], walk.middle[-1]):
        first, _, region, _, _, start, stop = walk.groups[group].tolist()
        before = int(walk.ways[1, first, chiplets - region])
        if before == 0:
            continue
        step = max(1, pause // before)
        for begin in range(start, stop, step):
            if monitor.stopping:
                raise SearchStopped
            _descend(walk, tally, group, begin, min(begin + step, stop))
            done = int(tally.totals[TOTAL])
            if done - seen >= pause:
                seen = done
                monitor.report(f"{done:,} of {number:,} schedules", done / number)
                yield
    yield
