"""State of simulated annealing: a schedule as one row per layer, and its incremental evaluation.

Also the random numbers, so that equal seeds give equal runs on every machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.search.allowed import may_isp, may_wsp
from scope_opt.search.anneal.tuning import CROWD, SPREAD
from scope_opt.search.compiled import compiled, inlined, loop
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
    from numpy.typing import NDArray

    from scope_opt.search.packed import Bytes, Ints, PackedTables

    Floats = NDArray[np.float64]
    Words = NDArray[np.uint64]

# Columns of `State.layer`. Those of a cluster hold in the row of its first layer, those of a
# segment likewise.
MARK, WISH, SIZE, TIME, STREAM, MISSING = 0, 1, 2, 3, 4, 5
LATENCY, EXCESS, USED, SLOWEST, COLUMNS = 6, 7, 8, 9, 10
INSIDE, CLUSTER, SEGMENT = 0, 1, 2
"""Entries of `MARK`: the layer continues a cluster, begins one, begins a segment."""
FREE, APART, TOGETHER = 0, 1, 2
"""Entries of `Rules.border`."""
KINDS = 12


class Rules(NamedTuple):
    """What moves may do: the side constraints as masks, and sums over layers."""

    border: Bytes
    """(L+1,) whether a cluster begins at the layer: `FREE`, `APART` (must), `TOGETHER` (cannot)"""
    choice: Bytes
    """(L,) as in `Allowed`"""
    unit: int
    """Region sizes are multiples of this"""
    largest: int
    """Largest region, a multiple of the unit"""
    package: int
    """Chiplets that regions can take, a multiple of the unit"""
    fewest: int
    """Fewest clusters in a segment"""
    most: int
    """Most clusters in a segment"""
    weights: Ints
    """(L+1,) cumulated over layers: weight bytes"""
    area: Floats
    """(L+1,) cumulated over layers: least chiplet-time"""
    segment_moves: float
    """How often segments are changed instead of a burst of moves inside one"""


class State(NamedTuple):
    """A schedule and what is known of its parts."""

    layer: Ints
    """(L+1, COLUMNS); row ``L`` only marks the end"""
    partition: Bytes
    """(L+1,) partition of each layer: WSP where it is wished for and its copy fits"""
    guide: Floats
    """(L+1,) of a segment, at its first layer: its latency, and a little for what may lower it"""


class Memory(NamedTuple):
    """The best valid schedule seen of every segment."""

    latency: Ints
    """(L, L) in ps by first and last layer, `LIMIT` where there is none"""
    offset: Ints
    """(L, L) where its rows begin, or -1"""
    rows: NDArray[np.int32]
    """(capacity, 3) columns `MARK`, `WISH` and `SIZE` of its layers"""
    used: Ints
    """(2,) rows in use; schedules stored"""


class Walk(NamedTuple):
    """All that annealing reads and writes."""

    packed: PackedTables
    rules: Rules
    state: State
    """The current schedule"""
    saved: State
    """What a move inside a segment changes, to undo it"""
    spare: State
    """What a change of segments changes, to undo it"""
    memory: Memory
    frequency: Floats
    """(KINDS,) probability of each kind of move, cumulated: over those inside segments, then over
    those of segments"""
    share: Floats
    """(L+1,) at the first layer of a cluster: what new regions are to be in proportion to"""
    changed: Ints
    """(4,) see `revalue`"""
    rng: Words
    stats: Ints
    """(KINDS, 2) moves tried and accepted"""


# --- Random numbers ------------------------------------------------------------------------------


def make_rng(seed: int, stream: int = 0) -> Words:
    """State of a generator of random numbers that depends on nothing else (splitmix64)."""
    mask = 2**64 - 1
    word = (seed * 0x9E3779B97F4A7C15 + stream * 0xD1B54A32D192ED03 + 0x632BE59BD9B4E019) & mask
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & mask
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & mask
    return np.array([(word ^ (word >> 31)) or 1], dtype=np.uint64)


@compiled
def random_bits(rng: Words) -> int:
    """53 random bits (xorshift64*)."""
    word = rng[0]
    word ^= word >> np.uint64(12)
    word ^= word << np.uint64(25)
    word ^= word >> np.uint64(27)
    rng[0] = word
    return int((word * np.uint64(0x2545F4914F6CDD1D)) >> np.uint64(11))


@compiled
def random_below(rng: Words, limit: int) -> int:
    """Random integer from 0 to ``limit - 1``."""
    return random_bits(rng) % limit


@compiled
def random_share(rng: Words) -> float:
    """Random number from 0 to 1, 1 excluded."""
    return random_bits(rng) * 2.0**-53


@compiled
def random_step(rng: Words, most: int) -> int:
    """Random integer from 1 to ``most``, mostly small."""
    step = 1
    while step < most and random_bits(rng) % 5 < 2:
        step += 1
    return step


# --- Reading a schedule --------------------------------------------------------------------------


@inlined
def head_of_cluster(layer: Ints, index: int) -> int:
    """First layer of the cluster of a layer."""
    while layer[index, MARK] == INSIDE:
        index -= 1
    return index


@inlined
def after_cluster(layer: Ints, index: int) -> int:
    """First layer behind the cluster of a layer."""
    index += 1
    while layer[index, MARK] == INSIDE:
        index += 1
    return index


@inlined
def head_of_segment(layer: Ints, index: int) -> int:
    """First layer of the segment of a layer."""
    while layer[index, MARK] != SEGMENT:
        index -= 1
    return index


@inlined
def after_segment(layer: Ints, index: int) -> int:
    """First layer behind the segment of a layer."""
    index += 1
    while layer[index, MARK] != SEGMENT:
        index += 1
    return index


@inlined
def least_size(packed: PackedTables, rules: Rules, first: int, after: int) -> int:
    """Fewest chiplets that hold the weights of a cluster, a multiple of the unit."""
    if packed.stream:
        return rules.unit
    weights = rules.weights[after] - rules.weights[first]
    needed = chiplets_for(weights, packed.weight_buffer_bytes)
    return int(max(rules.unit, -(-needed // rules.unit) * rules.unit))


# --- Evaluation ----------------------------------------------------------------------------------


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
def revalue(
    packed: PackedTables, rules: Rules, state: State, low: int, high: int, changed: Ints
) -> None:
    """Bring a segment up to date.

    ``changed`` are two ranges of layers, ``changed[0]..changed[1]-1`` and
    ``changed[2]..changed[3]-1``, that consist of the clusters that were changed. The guide adds to
    the latency a little for clusters nearly as slow as the slowest one, and for chiplet-time,
    which a later move can turn into latency.
    """
    layer, partition, choices, cumulated = state.layer, state.partition, rules.choice, rules.weights
    times, layers, edges, in_edges = packed.times, packed.layers, packed.edges, packed.in_edges
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
    _judge(packed, rules, state, low, high)


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


@loop
def even_out(walk: Walk, low: int, high: int) -> None:
    """Move chiplets to the slowest cluster while that helps; evaluates the whole segment."""
    packed, rules, state, changed = walk.packed, walk.rules, walk.state, walk.changed
    layer, unit = state.layer, rules.unit
    changed[:] = 0
    changed[0], changed[1] = low, high
    revalue(packed, rules, state, low, high, changed)
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
        revalue(packed, rules, state, low, high, changed)
        slowest, now, donor, idle = _extremes(packed, rules, layer, low, high)
        if layer[slowest, TIME] > top or (layer[slowest, TIME] == top and now >= ties):
            layer[gained, SIZE] -= unit
            if lost >= 0:
                layer[lost, SIZE] += unit
            revalue(packed, rules, state, low, high, changed)
            break
        ties = now
