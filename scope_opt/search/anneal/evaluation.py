"""What a schedule of the walk is worth: incremental evaluation of one segment.

`revalue` evaluates the clusters that a move changed. In the placed model also those whose regions
moved, since sizes before them changed.

The load of the links is a matter of the whole segment and takes longer than all the rest. So
`revalue` leaves it out: what it says is a lower bound. `settle` adds it, and is called only for
what would be kept without it. A state that is kept is settled, and so are segments in memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scope_opt.model.compiled import compiled, inlined, loop
from scope_opt.search.allowed import may_isp, may_wsp
from scope_opt.search.anneal.state import (
    EXCESS,
    INSIDE,
    LATENCY,
    MARK,
    MISSING,
    SIZE,
    SLOWEST,
    STREAM,
    TIME,
    USED,
    WISH,
    Rules,
    State,
    Walk,
    after_cluster,
    head_of_cluster,
    least_size,
)
from scope_opt.search.anneal.tuning import CROWD, SPREAD
from scope_opt.search.placed import activations_fit, cluster_ps, link_beat, segment_facts
from scope_opt.search.times import (
    ISP,
    WSP,
    chiplets_for,
    copy_fits,
    free_bytes,
    layers_time,
    refetch_time,
    segment_latency,
    whole_package,
)

if TYPE_CHECKING:
    from scope_opt.search.packed import Bytes, Ints, PackedTables


@compiled
def learn_ends(walk: Walk, low: int, high: int) -> None:
    """Find out what depends on the ends of a segment, before it is evaluated.

    Callers leave it out where there are no facts, and `settle` too: calls that hand over the walk
    take longer than a move.
    """
    walk.facts[: high - low] = segment_facts(walk.packed.places, low, high - 1)


# --- Clusters ------------------------------------------------------------------------------------


@inlined
def _choose_partitions(
    layers: Ints,
    choices: Bytes,
    layer: Ints,
    partition: Bytes,
    first: int,
    after: int,
    size: int,
    room: int,
) -> int:
    """WSP in a cluster where it is wished for or required and the copy fits.

    Returns how many required copies do not fit.
    """
    missing = 0
    for index in range(first, after):
        fits, choice = copy_fits(layers, index, size, room), choices[index]
        isp = may_isp(choice, fits)
        shared = may_wsp(choice, fits) and (layer[index, WISH] == WSP or not isp)
        partition[index] = WSP if shared else ISP
        if not (shared or isp):
            missing += 1
    return missing


@inlined
def _weigh(
    packed: PackedTables, rules: Rules, state: State, low: int, high: int, changed: Ints
) -> None:
    """Partitions of changed clusters, what does not fit of their weights, and its refetching."""
    layer, partition, choices, cumulated = state.layer, state.partition, rules.choice, rules.weights
    times, layers = packed.times, packed.layers
    stream_fs_per_byte, dram_latency_ps = packed.stream_fs_per_byte, packed.dram_latency_ps
    buffer, stream = packed.weight_buffer_bytes, packed.stream
    for part in (0, 2):
        a = changed[part]
        while a < changed[part + 1]:
            after, size = after_cluster(layer, a), layer[a, SIZE]
            weights = cumulated[after] - cumulated[a]
            room = free_bytes(buffer, size, weights, True)
            missing = _choose_partitions(layers, choices, layer, partition, a, after, size, room)
            excess = 0
            if not whole_package(times, low, high - 1, size):
                excess = -min(0, free_bytes(buffer, size, weights, False))
            if excess > 0 and not stream:
                missing += chiplets_for(excess, buffer)
            layer[a, MISSING] = missing
            layer[a, STREAM] = refetch_time(
                layers, stream_fs_per_byte, dram_latency_ps, a, after - 1, size, excess
            )
            a = after


@inlined
def _time(packed: PackedTables, state: State, low: int, high: int, changed: Ints) -> None:
    """Times of clusters that were changed, or send into such a one, by sizes of regions alone."""
    layer, partition = state.layer, state.partition
    times, layers, edges, in_edges = packed.times, packed.layers, packed.edges, packed.in_edges
    for part in (0, 2):
        a = changed[part]
        if a < changed[part + 1] and a > low:  # the cluster before sends into the first one
            a = head_of_cluster(layer, a - 1)
        while a < changed[part + 1]:
            after, size = after_cluster(layer, a), layer[a, SIZE]
            following = layer[after, SIZE] if after < high else 0
            layer[a, TIME] = layer[a, STREAM] + layers_time(
                times,
                layers,
                edges,
                in_edges,
                low,
                high - 1,
                a,
                after - 1,
                size,
                following,
                partition,
            )
            a = after


@inlined
def _fit_activations(
    packed: PackedTables,
    rules: Rules,
    facts: Ints,
    state: State,
    low: int,
    changed: Ints,
) -> None:
    """Take the other partition where a layer's activations do not fit in the one chosen.

    A layer that fits in neither is missing.
    """
    layer, partition, choices, cumulated = state.layer, state.partition, rules.choice, rules.weights
    places, layers, buffer = packed.places, packed.layers, packed.weight_buffer_bytes
    for part in (0, 2):
        a = changed[part]
        while a < changed[part + 1]:
            after, size = after_cluster(layer, a), layer[a, SIZE]
            room = free_bytes(buffer, size, cumulated[after] - cumulated[a], True)
            for index in range(a, after):
                own = int(partition[index])
                if activations_fit(places, facts, low, a, index, own, size):
                    continue
                fits, choice = copy_fits(layers, index, size, room), choices[index]
                other = may_isp(choice, fits) if own == WSP else may_wsp(choice, fits)
                if other and activations_fit(places, facts, low, a, index, 1 - own, size):
                    partition[index] = 1 - own
                else:
                    layer[a, MISSING] += 1
            a = after


@inlined
def _time_places(
    packed: PackedTables, facts: Ints, state: State, low: int, high: int, changed: Ints
) -> None:
    """The same where regions have places, which sizes before them change."""
    layer, phase, places = state.layer, state.phase, packed.places
    position, a = 0, low
    while a < high:
        after, size = after_cluster(layer, a), layer[a, SIZE]
        if (
            phase[a] != places.phase[position]
            or changed[0] <= a < changed[1]
            or changed[2] <= a < changed[3]
            or changed[0] <= after < changed[1]
            or changed[2] <= after < changed[3]
        ):
            following = layer[after, SIZE] if after < high else 0
            phase[a] = places.phase[position]
            layer[a, TIME] = layer[a, STREAM] + cluster_ps(
                places,
                facts,
                low,
                high - 1,
                a,
                after - 1,
                position,
                size,
                following,
                state.partition,
            )
        position += size
        a = after


# --- Segments ------------------------------------------------------------------------------------


@inlined
def _judge(packed: PackedTables, rules: Rules, state: State, low: int, high: int) -> None:
    """Sum up the clusters of a segment: latency, what does not fit, and the guide."""
    layer = state.layer
    clusters = used = missing = 0
    slowest, area = low, 0.0
    for a in range(low, high):
        if layer[a, MARK] == INSIDE:
            continue
        clusters += 1
        used += layer[a, SIZE]
        missing += layer[a, MISSING]
        area += float(layer[a, SIZE]) * float(layer[a, TIME])
        if layer[a, TIME] > layer[slowest, TIME]:
            slowest = a
    top = 1.0 / max(1, layer[slowest, TIME])
    crowd = 0.0
    for a in range(low, high):
        if layer[a, MARK] != INSIDE:
            ratio = layer[a, TIME] * top
            ratio *= ratio
            ratio *= ratio
            crowd += ratio * ratio
    missing += max(0, rules.fewest - clusters) + max(0, clusters - rules.most)
    latency = segment_latency(
        packed.load_ps[low, high - 1],
        packed.segment_dram_ps[low, high - 1],
        packed.samples,
        clusters,
        layer[slowest, TIME],
    )
    layer[low, LATENCY] = latency
    layer[low, EXCESS] = missing
    layer[low, USED] = used
    layer[low, SLOWEST] = slowest
    extra = CROWD * layer[slowest, TIME] * crowd / clusters
    extra += SPREAD * area / rules.package
    state.guide[low] = latency + (packed.samples + clusters - 1) * extra


@loop
def revalue_sizes(
    packed: PackedTables, rules: Rules, state: State, low: int, high: int, changed: Ints
) -> None:
    """`revalue` where only sizes matter: calls are cheap without all that places need."""
    _weigh(packed, rules, state, low, high, changed)
    _time(packed, state, low, high, changed)
    _judge(packed, rules, state, low, high)


@loop
def revalue_places(
    packed: PackedTables,
    rules: Rules,
    facts: Ints,
    state: State,
    low: int,
    high: int,
    changed: Ints,
) -> None:
    """`revalue` where regions have places, or activations a limit."""
    _weigh(packed, rules, state, low, high, changed)
    if packed.places.limit >= 0:
        _fit_activations(packed, rules, facts, state, low, changed)
    if packed.places.placed:
        _time_places(packed, facts, state, low, high, changed)
    else:
        _time(packed, state, low, high, changed)
    _judge(packed, rules, state, low, high)


@inlined
def revalue(
    packed: PackedTables,
    rules: Rules,
    facts: Ints,
    state: State,
    low: int,
    high: int,
    changed: Ints,
) -> None:
    """Bring a segment up to date, but for the load of links; `learn_ends` comes before.

    ``changed`` are two ranges of layers, ``changed[0]..changed[1]-1`` and
    ``changed[2]..changed[3]-1``, that consist of the clusters that were changed. The guide adds to
    the latency a little for clusters nearly as slow as the slowest one, and for chiplet-time,
    which a later move can turn into latency.
    """
    if len(facts) == 0:
        revalue_sizes(packed, rules, state, low, high, changed)
    else:
        revalue_places(packed, rules, facts, state, low, high, changed)


@compiled
def settle(walk: Walk, low: int, high: int) -> None:
    """Add the load of links to what `revalue` has found out."""
    packed, state = walk.packed, walk.state
    if not walk.shared_links:
        return
    layer = state.layer
    clusters = 0
    starts = np.empty(high - low + 1, dtype=np.int64)
    sizes = np.empty(high - low, dtype=np.int64)
    for a in range(low, high):
        if layer[a, MARK] != INSIDE:
            starts[clusters], sizes[clusters] = a, layer[a, SIZE]
            clusters += 1
    starts[clusters] = high
    link_ps = link_beat(
        packed.places, walk.facts, low, high - 1, starts, sizes[:clusters], state.partition
    )
    latency = segment_latency(packed.load_ps[low, high - 1], link_ps, packed.samples, clusters, 0)
    if latency > layer[low, LATENCY]:
        state.guide[low] += latency - layer[low, LATENCY]
        layer[low, LATENCY] = latency


@compiled
def evaluate_segment(walk: Walk, low: int, high: int) -> None:
    """Evaluate a whole segment."""
    changed = walk.changed
    if len(walk.facts) > 0:
        learn_ends(walk, low, high)
    changed[:] = 0
    changed[0], changed[1] = low, high
    revalue(walk.packed, walk.rules, walk.facts, walk.state, low, high, changed)
    if len(walk.facts) > 0:
        settle(walk, low, high)


# --- Regions -------------------------------------------------------------------------------------


@compiled
def reshare(walk: Walk, low: int, high: int) -> bool:
    """Give all chiplets to the clusters of a segment, in proportion to ``share``.

    Every cluster gets what its weights need, if there are enough chiplets for that, and at least
    the unit. False if there are too few even for that.
    """
    packed, rules, share = walk.packed, walk.rules, walk.share
    layer, unit = walk.state.layer, rules.unit
    total, needed, count = 0.0, 0, 0
    least = np.empty(high - low, dtype=np.int64)
    alone = whole_package(packed.times, low, high - 1, rules.package)
    a = low
    while a < high:
        after = after_cluster(layer, a)
        least[a - low] = least_size(packed, rules, a, after)
        if alone and rules.largest == rules.package:
            least[a - low] = rules.package  # weights of any size pass through
        least[a - low] = min(least[a - low], rules.largest)
        needed += least[a - low]
        total += share[a]
        count += 1
        a = after
    if count * unit > rules.package:
        return False
    if needed > rules.package:
        least[:] = unit
    left = rules.package
    scale = rules.package / max(total, 1e-9)
    for a in range(low, high):
        if layer[a, MARK] != INSIDE:
            size = int(share[a] * scale) // unit * unit
            layer[a, SIZE] = min(rules.largest, max(size, least[a - low]))
            left -= layer[a, SIZE]
    while left != 0:
        change = unit if left > 0 else -unit
        best, most = -1, 0.0
        for a in range(low, high):
            if layer[a, MARK] == INSIDE:
                continue
            size = layer[a, SIZE] + change
            if size > rules.largest or size < least[a - low]:
                continue
            # Chiplets that the cluster lacks, or has too many, in proportion to its share.
            lack = (share[a] * scale - layer[a, SIZE]) * change
            if best < 0 or lack > most:
                best, most = a, lack
        if best < 0:  # all regions are as large as they may be
            break
        layer[best, SIZE] += change
        left -= change
    return True


@loop
def _extremes(
    packed: PackedTables, rules: Rules, layer: Ints, low: int, high: int
) -> tuple[int, int, int, int]:
    """Slowest cluster, how many are as slow, the one to take chiplets from (or -1), the idle."""
    slowest, ties, donor, idle, least = low, 0, -1, rules.package, 0.0
    a = low
    while a < high:
        after = after_cluster(layer, a)
        size, time = layer[a, SIZE], layer[a, TIME]
        idle -= size
        if time > layer[slowest, TIME]:
            slowest, ties = a, 1
        elif time == layer[slowest, TIME]:
            ties += 1
        if size > rules.unit:
            then = float(time) * size / (size - rules.unit)
            if (donor < 0 or then < least) and size > least_size(packed, rules, a, after):
                donor, least = a, then
        a = after
    return slowest, ties, donor, idle


@compiled
def even_out(walk: Walk, low: int, high: int) -> None:
    """Move chiplets to the slowest cluster while that helps; evaluates the whole segment."""
    if len(walk.facts) > 0:
        learn_ends(walk, low, high)
    _even_out(walk, low, high)
    if len(walk.facts) > 0:
        settle(walk, low, high)


@loop
def _even_out(walk: Walk, low: int, high: int) -> None:
    packed, rules, state, changed = walk.packed, walk.rules, walk.state, walk.changed
    layer, unit, facts = state.layer, rules.unit, walk.facts
    changed[:] = 0
    changed[0], changed[1] = low, high
    revalue(packed, rules, facts, state, low, high, changed)
    slowest, ties, donor, idle = _extremes(packed, rules, layer, low, high)
    while True:
        top = layer[slowest, TIME]
        if idle >= unit:
            donor = -1
        elif donor < 0 or donor == slowest:
            break
        if layer[slowest, SIZE] + unit > rules.largest:
            break
        if top <= packed.segment_dram_ps[low, high - 1]:
            break
        gained, lost = slowest, donor
        changed[:] = 0
        changed[0], changed[1] = gained, after_cluster(layer, gained)
        layer[gained, SIZE] += unit
        if lost >= 0:
            changed[2], changed[3] = lost, after_cluster(layer, lost)
            layer[lost, SIZE] -= unit
        revalue(packed, rules, facts, state, low, high, changed)
        slowest, now, donor, idle = _extremes(packed, rules, layer, low, high)
        if layer[slowest, TIME] > top or (layer[slowest, TIME] == top and now >= ties):
            layer[gained, SIZE] -= unit
            if lost >= 0:
                layer[lost, SIZE] += unit
            revalue(packed, rules, facts, state, low, high, changed)
            break
        ties = now
