"""State of simulated annealing: a schedule as one row per layer, and what is known of it.

Also the random numbers, so that equal seeds give equal runs on every machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.model.compiled import compiled, inlined
from scope_opt.search.times import chiplets_for

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
    """(L+1,) partition of each layer: the one wished for, where weights and activations fit"""
    guide: Floats
    """(L+1,) of a segment, at its first layer: its latency, and a little for what may lower it"""
    phase: Ints
    """(L+1,) of a cluster, at its first layer: where its region begins, as far as it matters to
    transfers; empty where they have no places"""


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
    facts: Ints
    """(L, FACTS) of the segment at hand: what `segment_facts` says of it, see `learn_ends`; empty
    where it does not matter"""
    shared_links: bool
    """Whether their load counts, see `settle`"""
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
