"""Layouts of one segment's schedules in the placed model, and what their parts cost.

A layout says which layers and how many chiplets each cluster has. With it go the time of each layer
and the bytes that come with it on each link, for its own partition and the one beside it;
`placed_enumeration` adds these up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.model.compiled import compiled, inlined, loop
from scope_opt.search.allowed import Allowed, make_allowed
from scope_opt.search.census.enumeration import (
    LEAST,
    TOTAL,
    cluster_limits,
    count_partitions,
    count_schedules,
    too_many_schedules,
)
from scope_opt.search.census.tuning import MAX_LINK_LOADS, MAX_TIMES
from scope_opt.search.census.validity import permitted
from scope_opt.search.packed import NEVER, PackedTables, pack_tables
from scope_opt.search.placed import (
    TRAVEL,
    WANTED,
    add_exchange,
    add_gather,
    add_halo,
    add_pairs,
    layer_ps,
    segment_facts,
    within_bytes,
)
from scope_opt.search.times import (
    ISP,
    WSP,
    free_bytes,
    stream_time,
    total_weights,
    whole_package,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.search.census.enumeration import Tally
    from scope_opt.search.packed import Bytes, Ints
    from scope_opt.search.placed import PlacedKernel

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
    placed.halos()  # of which the longest is read
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
def longest_interesting(walk: PlacedWalk, tally: Tally, clusters: int) -> int:
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
def next_layout(costs: Costs, walk: PlacedWalk, tally: Tally) -> bool:
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
                if _least_ps(walk, depth - 1) > longest_interesting(walk, tally, depth + 1):
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
