"""Enumeration of every schedule of one segment where transfers cost what they do in place.

What a cluster takes depends on where its region lies, and the busiest link on all clusters at once,
so schedules are visited one by one. They are chosen in two steps. First the layout, cluster by
cluster from the first layer on: which layers, how many chiplets. With it go the time of each layer
and the bytes it puts on each link, for its own partition and the one beside it. Then the
partitions, layer by layer, which only adds these up.

Where only the best schedule is wanted, branches that cannot lead to a better one are left out. They
count as seen all the same, so that progress is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.search.allowed import Allowed, make_allowed
from scope_opt.search.census.enumeration import (
    AT_LEAST,
    AT_MOST,
    CLUSTERS,
    LEAST,
    MOST,
    TOTAL,
    bisect,
    cluster_limits,
    count_partitions,
    count_schedules,
    too_many_schedules,
)
from scope_opt.search.census.tuning import MAX_LINK_LOADS, MAX_TIMES, PLACED_PAUSE
from scope_opt.search.census.validity import permitted
from scope_opt.search.compiled import compiled, inlined, loop
from scope_opt.search.packed import NEVER, PackedTables, pack_tables
from scope_opt.search.placed import (
    TRAVEL,
    WANTED,
    add_exchange,
    add_gather,
    add_halo,
    add_pairs,
    carry_ps,
    layer_ps,
    segment_facts,
    within_bytes,
)
from scope_opt.search.stopping import SearchStopped
from scope_opt.search.times import (
    ISP,
    WSP,
    free_bytes,
    stream_time,
    total_weights,
    whole_package,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.search.census.enumeration import Tally
    from scope_opt.search.packed import Bytes, Ints
    from scope_opt.search.placed import PlacedKernel
    from scope_opt.solving.monitor import Monitor

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

FIRST, LAST, SIZE, START, LEFT = 0, 1, 2, 3, 4
"""Columns of `PlacedWalk.layout`: layers, region, its first position, chiplets it may have."""
DEPTH, LEVEL = 0, 1
"""Entries of `PlacedWalk.at`: the cluster and the layer whose choice comes next."""
GATHER, EXCHANGE, SCATTER = 0, 1, 2
"""Patterns of `PlacedWalk.unit`."""


class Costs(NamedTuple):
    """What clusters may be and what they cost, for compiled code."""

    packed: PackedTables
    allowed: Allowed
    facts: Ints
    """`segment_facts`"""


class PlacedWalk(NamedTuple):
    """The schedules to enumerate and where the enumeration is, for compiled code."""

    samples: int
    load_ps: int
    dram_ps: int
    """Least beat from the DRAM traffic of the segment"""
    best_only: bool
    shared: bool
    """Whether the busiest link bounds the beat"""
    ps_per_byte: float
    options: Floats
    """(L, L, C+1) `count_partitions`"""
    ways: Floats
    """(D, L+1, C+1) number of schedules of the last ``e`` layers on ``c`` chiplets behind ``d``
    clusters; the last ``d`` stands for all that are larger"""
    at: Ints
    """(2,)"""
    layout: Ints
    """(L, 5) the clusters at hand"""
    above: Floats
    """(L+1,) in how many ways the layers of the first ``k`` clusters can be partitioned"""
    unit: Floats
    """(L, 3, links) what one byte of each transfer puts on the links, in every cluster; that of
    scattering to the cluster comes from the one before"""
    unit_mesh: Floats
    """(L, 3, 4, rows, cols) the same memory"""
    halo: Floats
    """(links,) of the layer at hand"""
    halo_mesh: Floats
    """(4, rows, cols) the same memory"""
    opens: Flags
    """(L,) whether a cluster begins here"""
    refetch_ps: Ints
    """(L,) for the first layer of a cluster: to fetch weights again"""
    may: Flags
    """(L, 2) partitions that break no rule"""
    step_ps: Ints
    """(L, 2, 2) time of each layer, by its partition and the next one's"""
    carried: Floats
    """(L, 2, 2, links) bytes that come with each layer, by the partition before and its own"""
    carried_most: Floats
    """(L, 2, 2) the largest of them"""
    below: Ints
    """(L+1,) in how many ways the layers from here on can be partitioned"""
    tail_ps: Ints
    """(L,) least time from a layer to the end of its cluster"""
    later_ps: Ints
    """(L,) least time of the slowest cluster that begins behind a layer"""
    choice: Bytes
    """(L,) partitions at hand"""
    spent_ps: Ints
    """(L+1,) time of a cluster before each of its layers"""
    beat_ps: Ints
    """(L+1,) least beat from the clusters before each layer's"""
    loads: Floats
    """(L+1, links) bytes on the links before each layer"""
    most: Floats
    """(L+1,) the largest of them"""
    best_layout: Ints
    best_choice: Bytes


def prepare_placed(
    instance: Instance, tables: LatencyTables, idle: bool, best_only: bool
) -> tuple[Costs, PlacedWalk, int]:
    """What compiled code needs, and the number of schedules to enumerate.

    Raises
    ------
    InputError
        If there are too many.
    """
    layers, chiplets = tables.layers, tables.chiplets
    placed = tables.placed
    assert placed is not None  # the instance is placed
    links = 4 * chiplets
    most_schedules = MAX_LINK_LOADS // links
    too_many = too_many_schedules(instance, idle, most_schedules)
    if layers * layers * chiplets > MAX_TIMES:
        raise too_many
    packed, allowed = pack_tables(tables), make_allowed(instance.constraints, layers, chiplets)
    facts = segment_facts(packed.places, 0, layers - 1)
    options = count_partitions(packed, allowed, facts)
    fewest, most, depths = cluster_limits(instance.constraints, layers, chiplets)
    # Counted from the last layer on: the same sums with the layers turned round.
    turned = np.ascontiguousarray(options[::-1, ::-1].transpose(1, 0, 2))
    ways = count_schedules(turned, fewest, most, depths, idle)
    number = float(ways[0, -1, -1])
    if number > most_schedules:
        raise too_many
    layout = np.zeros((layers, 5), dtype=np.int64)
    layout[0] = 0, layers - 1, 0, 0, chiplets
    unit, halo = np.zeros((layers, 3, links)), np.zeros(links)
    mesh = 4, *placed.mesh
    walk = PlacedWalk(
        samples=tables.samples,
        load_ps=int(tables.load_ps[0, -1]),
        dram_ps=int(tables.segment_dram_ps[0, -1]),
        best_only=best_only,
        shared=placed.shared_links,
        ps_per_byte=placed.ps_per_byte,
        options=options,
        ways=ways,
        at=np.array([0, -1]),
        layout=layout,
        above=np.ones(layers + 1),
        unit=unit,
        unit_mesh=unit.reshape(layers, 3, *mesh),
        halo=halo,
        halo_mesh=halo.reshape(mesh),
        opens=np.zeros(layers, np.bool_),
        refetch_ps=np.zeros(layers, np.int64),
        may=np.zeros((layers, 2), np.bool_),
        step_ps=np.zeros((layers, 2, 2), np.int64),
        carried=np.zeros((layers, 2, 2, links)),
        carried_most=np.zeros((layers, 2, 2)),
        below=np.ones(layers + 1, np.int64),
        tail_ps=np.zeros(layers, np.int64),
        later_ps=np.zeros(layers, np.int64),
        choice=np.zeros(layers, np.int8),
        spent_ps=np.zeros(layers + 1, np.int64),
        beat_ps=np.full(layers + 1, tables.segment_dram_ps[0, -1]),
        loads=np.zeros((layers + 1, links)),
        most=np.zeros(layers + 1),
        best_layout=layout.copy(),
        best_choice=np.zeros(layers, np.int8),
    )
    return Costs(packed, allowed, facts), walk, int(number)


# --- Layouts -------------------------------------------------------------------------------------


@inlined
def _longest_beat(walk: PlacedWalk, tally: Tally, clusters: int) -> int:
    """Beats above this one are of no interest for schedules of so many clusters or more."""
    if not walk.best_only or tally.totals[TOTAL] == 0:
        return NEVER
    steps = walk.samples + clusters - 1
    return int((tally.totals[LEAST] - walk.load_ps - 1) // steps)


@inlined
def _rest_of(walk: PlacedWalk, depth: int) -> float:
    """Number of schedules of what lies behind the cluster at this depth, for its partitions."""
    layers, deepest = len(walk.layout), walk.ways.shape[0] - 1
    first, last, size, _, left = walk.layout[depth]
    behind = walk.ways[min(depth + 1, deepest), layers - 1 - last, left - size]
    return float(walk.options[first, last, size] * behind)


@compiled
def _next_layout(costs: Costs, walk: PlacedWalk, tally: Tally) -> bool:
    """Go on to the next layout; False if there is none."""
    kernel, layers, layout = costs.packed.places, len(walk.layout), walk.layout
    depth = walk.at[DEPTH]
    while depth >= 0:
        own = layout[depth]
        own[LAST] += 1
        if own[LAST] == layers:
            own[LAST] = own[FIRST]
            own[SIZE] += 1
            if own[SIZE] > own[LEFT]:
                depth -= 1
                continue
            _open_region(kernel, walk, depth)
            if depth > 0:
                # The last layer of the cluster before sends to this region.
                sender = layout[depth - 1]
                _fill_times(kernel, costs.facts, walk.step_ps, sender, own[FIRST] - 1, own[SIZE])
                if _least_ps(walk, depth - 1) > _longest_beat(walk, tally, depth + 1):
                    for last in range(own[FIRST], layers):
                        own[LAST] = last
                        tally.totals[TOTAL] += int(walk.above[depth] * _rest_of(walk, depth))
                    continue
        if _rest_of(walk, depth) == 0:
            continue
        first, last, size, start, left = own
        walk.above[depth + 1] = walk.above[depth] * walk.options[first, last, size]
        _fill_cluster(costs, walk, depth)
        if last == layers - 1:
            walk.at[DEPTH] = depth
            _look_ahead(walk)
            return True
        depth += 1
        layout[depth, FIRST], layout[depth, LAST] = last + 1, layers - 1
        layout[depth, SIZE], layout[depth, START] = 0, start + size
        layout[depth, LEFT] = left - size
    return False


@compiled
def _open_region(kernel: PlacedKernel, walk: PlacedWalk, depth: int) -> None:
    """Patterns of transfers in a cluster's region and from the region before it."""
    if not walk.shared:
        return
    walk.unit[depth] = 0
    start, size = walk.layout[depth, START], walk.layout[depth, SIZE]
    add_gather(kernel, walk.unit_mesh[depth, GATHER], 1.0, start, size)
    add_exchange(kernel, walk.unit_mesh[depth, EXCHANGE], 1.0, start, size)
    if depth > 0:
        before, sources = walk.layout[depth - 1, START], walk.layout[depth - 1, SIZE]
        share = 1.0 / (sources * size)
        add_pairs(kernel, walk.unit_mesh[depth, SCATTER], before, sources, start, size, share)


@loop
def _fill_times(
    kernel: PlacedKernel, facts: Ints, step_ps: Ints, own: Ints, layer: int, following: int
) -> None:
    """Times of a layer of the cluster ``own``, before a region of so many chiplets."""
    for this in (ISP, WSP):
        for then in (ISP, WSP):
            step_ps[layer, this, then] = layer_ps(
                kernel,
                facts,
                0,
                len(step_ps) - 1,
                own[FIRST],
                own[LAST],
                own[START],
                own[SIZE],
                following,
                layer,
                this,
                then,
            )


@inlined
def _least_step(walk: PlacedWalk, layer: int) -> int:
    """Least time of a layer with a partition that it may have."""
    least = NEVER
    for this in (ISP, WSP):
        if walk.may[layer, this]:
            least = min(least, min(walk.step_ps[layer, this, ISP], walk.step_ps[layer, this, WSP]))
    return least


@inlined
def _least_ps(walk: PlacedWalk, depth: int) -> int:
    """A time that a closed cluster takes at least."""
    first, last = walk.layout[depth, FIRST], walk.layout[depth, LAST]
    least = walk.refetch_ps[first]
    for layer in range(first, last + 1):
        least += _least_step(walk, layer)
    return int(least)


@compiled
def _fill_cluster(costs: Costs, walk: PlacedWalk, depth: int) -> None:
    """All that is known of a cluster's layers without the next region."""
    packed, layers, cluster = costs.packed, len(walk.layout), walk.layout[depth]
    first, last, size = cluster[FIRST], cluster[LAST], cluster[SIZE]
    weights = total_weights(packed.layers, first, last)
    tiled = whole_package(packed.times, 0, layers - 1, size)
    room = free_bytes(packed.weight_buffer_bytes, size, weights, packed.stream or tiled)
    walk.refetch_ps[first] = 0 if tiled else stream_time(packed, first, last, weights, size)
    for layer in range(first, last + 1):
        walk.opens[layer] = layer == first
        for own in (ISP, WSP):
            walk.may[layer, own] = permitted(
                packed, costs.allowed, costs.facts, first, layer, own, size, room
            )
        if layer < last or layer == layers - 1:
            _fill_times(packed.places, costs.facts, walk.step_ps, cluster, layer, 0)
        if walk.shared:
            _fill_carried(packed.places, costs.facts, walk, depth, layer)


@compiled
def _fill_carried(
    kernel: PlacedKernel, facts: Ints, walk: PlacedWalk, depth: int, layer: int
) -> None:
    """Bytes that come with a layer: what enters it, and its gathered weights."""
    first, last, size, start, _ = walk.layout[depth]
    if layer > first:
        walk.halo[:] = 0
        add_halo(kernel, walk.halo_mesh, layer, start, size)
    for before in (ISP, WSP):
        for own in (ISP, WSP):
            gathered = exchanged = scattered = 0.0
            halo = False
            if layer > first:
                gathered, exchanged, halo = within_bytes(kernel, layer - 1, before, own, 0)
            elif layer > 0:
                scattered = float(facts[layer - 1, TRAVEL])
                if own == ISP:
                    gathered = float(facts[layer - 1, WANTED])
            if own == WSP and last > first:
                gathered += kernel.weights[layer]
            most = 0.0
            for link in range(len(walk.halo)):
                load = (
                    gathered * walk.unit[depth, GATHER, link]
                    + exchanged * walk.unit[depth, EXCHANGE, link]
                    + scattered * walk.unit[depth, SCATTER, link]
                )
                if halo:
                    load += walk.halo[link]
                walk.carried[layer, before, own, link] = load
                most = max(most, load)
            walk.carried_most[layer, before, own] = most


@loop
def _look_ahead(walk: PlacedWalk) -> None:
    """What the partitions of a whole layout take at least, and their number."""
    layers = len(walk.layout)
    tail = later = 0
    ways = 1
    for layer in range(layers - 1, -1, -1):
        ways *= int(walk.may[layer, ISP]) + int(walk.may[layer, WSP])
        walk.below[layer] = ways
        tail += _least_step(walk, layer)
        walk.tail_ps[layer], walk.later_ps[layer] = tail, later
        if walk.opens[layer]:
            later, tail = max(later, tail + walk.refetch_ps[layer]), 0
    walk.at[LEVEL] = 0
    walk.choice[0] = -1


# --- Partitions ----------------------------------------------------------------------------------


@loop
def _add_loads(loads: Floats, more: Floats, both: Floats) -> float:
    """Sum of two loads of the links; returns its largest entry."""
    most = 0.0
    for link in range(len(loads)):
        both[link] = loads[link] + more[link]
        most = max(most, both[link])
    return most


@loop
def _most_loaded(loads: Floats, more: Floats) -> float:
    """Largest entry of a sum of two loads; in four strands, as each step waits for the last."""
    a = b = c = d = 0.0
    for link in range(0, len(loads), 4):
        a = max(a, loads[link] + more[link])
        b = max(b, loads[link + 1] + more[link + 1])
        c = max(c, loads[link + 2] + more[link + 2])
        d = max(d, loads[link + 3] + more[link + 3])
    return max(max(a, b), max(c, d))


@loop
def _record(walk: PlacedWalk, tally: Tally, latency: int, usual: int) -> int:
    """Count a schedule; returns its bin. ``usual`` is a bin that is worth trying first."""
    totals, edges, at = tally.totals, tally.edges, usual
    bins = len(edges)
    if latency < edges[at] or (at + 1 < bins and latency >= edges[at + 1]):
        at = max(0, bisect(edges, 0, bins, latency) - 1)
    tally.counts[at] += 1
    if totals[TOTAL] == 0 or latency < totals[LEAST]:
        totals[LEAST], totals[AT_LEAST], totals[CLUSTERS] = latency, 0, walk.at[DEPTH] + 1
        for k in range(len(walk.choice)):
            walk.best_choice[k] = walk.choice[k]
            for column in range(walk.layout.shape[1]):
                walk.best_layout[k, column] = walk.layout[k, column]
    if totals[TOTAL] == 0 or latency > totals[MOST]:
        totals[MOST], totals[AT_MOST] = latency, 0
    totals[AT_LEAST] += latency == totals[LEAST]
    totals[AT_MOST] += latency == totals[MOST]
    totals[TOTAL] += 1
    return at


@loop
def _count_partitions(walk: PlacedWalk, tally: Tally, until: int) -> None:
    """Go on through the partitions of the layout at hand, until so many schedules are counted.

    Level after level, the next partition of a layer that it may have.
    """
    choice, may, totals = walk.choice, walk.may, tally.totals
    layers, clusters = len(choice), walk.at[DEPTH] + 1
    steps = walk.samples + clusters - 1
    longest = _longest_beat(walk, tally, clusters)
    level, usual = walk.at[LEVEL], 0
    while level >= 0 and totals[TOTAL] < until:
        own = choice[level] + 1
        if own == ISP and not may[level, ISP]:
            own = WSP
        if own > WSP or not may[level, own]:
            level -= 1
            continue
        choice[level] = own
        before, spent, beat = ISP, walk.spent_ps[level], walk.beat_ps[level]
        if level > 0:
            before = choice[level - 1]
            spent += walk.step_ps[level - 1, before, own]
        if walk.opens[level]:
            beat = max(beat, spent)
            spent = walk.refetch_ps[level]
        if walk.best_only:
            least = max(max(beat, spent + walk.tail_ps[level]), walk.later_ps[level])
            if least > longest:
                totals[TOTAL] += walk.below[level + 1]
                continue
        loads, more = walk.loads[level], walk.carried[level, before, own]
        if level < layers - 1:
            if walk.shared:
                most = _add_loads(loads, more, walk.loads[level + 1])
                walk.most[level + 1] = most
                if walk.best_only and carry_ps(walk.ps_per_byte, most) > longest:
                    totals[TOTAL] += walk.below[level + 1]
                    continue
            level += 1
            walk.spent_ps[level], walk.beat_ps[level], choice[level] = spent, beat, -1
            continue
        beat = max(beat, spent + walk.step_ps[level, own, ISP])
        if walk.shared:
            most = walk.most[level] + walk.carried_most[level, before, own]
            if carry_ps(walk.ps_per_byte, most) > beat:
                beat = max(beat, carry_ps(walk.ps_per_byte, _most_loaded(loads, more)))
        latency = walk.load_ps + steps * beat
        usual = _record(walk, tally, latency, usual)
        longest = _longest_beat(walk, tally, clusters)
    walk.at[LEVEL] = level


@compiled
def _count_until(costs: Costs, walk: PlacedWalk, tally: Tally, until: int) -> bool:
    """Go on until so many schedules are counted; False if there are no more."""
    while tally.totals[TOTAL] < until:
        if walk.at[LEVEL] < 0 and not _next_layout(costs, walk, tally):
            return False
        _count_partitions(walk, tally, until)
    return True


def enumerate_placed(
    costs: Costs, walk: PlacedWalk, tally: Tally, number: int, monitor: Monitor, pause: int
) -> Iterator[None]:
    """Count every schedule, with a pause after so many or so; raises `SearchStopped`."""
    done, pause, more = 0, min(pause, PLACED_PAUSE), True
    while more and done < number:
        if monitor.stopping:
            raise SearchStopped
        more = _count_until(costs, walk, tally, done + pause)
        done = int(tally.totals[TOTAL])
        monitor.report(f"{done:,} of {number:,} schedules", done / number)
        yield


# --- Bounds and results --------------------------------------------------------------------------


def longest_placed(costs: Costs, walk: PlacedWalk) -> int:
    """A beat that no schedule exceeds: all layers one after the other, at their slowest, in ps.

    The busiest link of a segment has no more to do than the busiest links of all its transfers.
    """
    kernel, layers = costs.packed.places, len(walk.layout)
    sizes = np.arange(1, kernel.gather.shape[1])
    gather = float((kernel.gather[:, 1:] / sizes).max())
    exchange = float((kernel.exchange[:, 1:] / sizes**2).max())
    scatter = float((kernel.scatter[:, 1:, 1:] / (sizes[:, None] * sizes)).max())
    halo = kernel.halo[kernel.shape].max(axis=(1, 2)) if kernel.halo.size else np.zeros(layers)
    load = gather * float(kernel.weights.sum()) + max(gather, exchange) * float(
        kernel.edges[:, 2].sum()
    )
    load += 2 * float(halo.sum())
    load += float(scatter * costs.facts[:, TRAVEL].sum() + gather * costs.facts[:, WANTED].sum())
    entries = 4 * layers + 2 * len(kernel.edges)
    fixed = kernel.read_ps[0].sum() + kernel.write_ps[-1].sum()
    fixed += kernel.compute_ps.reshape(layers, -1).max(axis=1).sum()
    stream = int(costs.packed.stream_fs_per_byte.max()) * int(kernel.weights.sum()) // 1000
    stream += layers * (costs.packed.dram_latency_ps + 1)
    return max(walk.dram_ps, int(fixed) + int(load * kernel.ps_per_byte) + entries + stream + 1)


def best_clusters(walk: PlacedWalk, tally: Tally) -> list[tuple[int, int, list[int]]]:
    """Layers, chiplets and partitions of each cluster of the best schedule so far."""
    clusters = []
    for first, last, size, _, _ in walk.best_layout[: tally.totals[CLUSTERS]].tolist():
        clusters.append((last - first + 1, size, walk.best_choice[first : last + 1].tolist()))
    return clusters
