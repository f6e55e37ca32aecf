"""Segments that are the same but for where they begin, as the blocks of a deep network make them.

Such segments have the same schedules at the same latencies, so what is proved of one is proved of
all, and a schedule of one serves the others. (Section 6 of docs/exact.md.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.search.packed import AFTER, FROM, OUT_START, TO

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from scope_opt.schedule.schedule import Segment
    from scope_opt.search.allowed import Allowed
    from scope_opt.search.packed import Ints, PackedTables
    from scope_opt.search.placed import PlacedKernel

    Flags = NDArray[np.bool_]


def kinds(facts: Iterable[object]) -> Ints:
    """A number for each, the same for equal ones."""
    found: dict[object, int] = {}
    return np.array([found.setdefault(each, len(found)) for each in facts], dtype=np.int64)


def edges_of(packed: PackedTables, layer: int) -> Ints:
    """Rows of the edges from and to a layer, the layers they name relative to it."""
    touching = (packed.edges[:, FROM] == layer) | (packed.edges[:, TO] == layer)
    edges: Ints = packed.edges[touching]
    edges[:, (FROM, AFTER, TO)] -= layer
    return edges


class EqualSegments(NamedTuple):
    """Which segments of a network are equal.

    Made by `equal_segments`.
    """

    first: Ints
    """(L, L) first layer of the first segment that is equal to ``[a, b]``; for ``a <= b``"""
    places: tuple[Ints, Ints]
    """Every ``a`` and ``b``"""
    others: tuple[Ints, Ints]
    """The ends of the first segments that are equal to those"""
    several: Flags
    """(L, L) whether another one is equal to it"""

    def number(self, ends: tuple[int, int]) -> int:
        """The same for equal segments, and no others."""
        return int(self.first[ends]) * len(self.first) + ends[1] - ends[0]

    def like(self, ends: tuple[int, int]) -> tuple[Ints, Ints]:
        """First and last layers of all segments equal to one, itself included."""
        width = ends[1] - ends[0]
        firsts = np.flatnonzero(self.first.diagonal(width) == self.first[ends])
        return firsts, firsts + width

    def gather(self, values: Ints) -> Ints:
        """The largest value of equal segments, at the first of them; 0 at the others."""
        largest = np.zeros_like(values)
        np.maximum.at(largest, self.others, values[self.places])
        return largest

    def gather_last(self, values: Ints) -> Ints:
        """The largest value of equal segments, at the last of them; 0 at the others."""
        firsts, lasts = self.others
        moved = np.zeros_like(values)
        latest = np.zeros_like(self.first)
        np.maximum.at(latest, self.others, self.places[0])
        first = latest[self.others]
        moved[first, lasts - firsts + first] = self.gather(values)[self.others]
        return moved

    def spread(self, values: Ints) -> Ints:
        """The largest value of equal segments, at all of them."""
        result = np.zeros_like(values)
        result[self.places] = self.gather(values)[self.others]
        return result


def equal_segments(packed: PackedTables, allowed: Allowed, possible: Flags) -> EqualSegments:
    """Find equal segments; ``possible``, shape ``(L, L)``, are those that are searched at all.

    Two are equal if their layers are, one after the other, with all edges from and to them. Rules
    about clusters that not every layer can begin and end make all layers different.
    """
    layers = len(possible)
    free = bool(allowed.clusters[np.triu_indices(layers)].all())
    kind = kinds(
        (layer_facts(packed, allowed, layer), layer if not free else 0) for layer in range(layers)
    )
    first = np.tile(np.arange(layers)[:, None], layers)
    same = np.zeros(layers + 1, dtype=np.int64)
    for a in range(layers - 1, -1, -1):
        # How many layers from each one on are those from `a` on.
        same[:-1] = np.where(kind == kind[a], 1 + same[1:], 0)
        reach = 0
        before = np.concatenate([[0], np.maximum.accumulate(same[:a])])[:a]
        for other in np.flatnonzero(same[:a] > before):
            first[a, a + reach : a + same[other]] = other
            reach = int(same[other])
    places = np.triu_indices(layers)
    for facts in (packed.load_ps, packed.segment_dram_ps, possible):
        others = first[places], places[1] - places[0] + first[places]
        first[places] = np.where(facts[places] == facts[others], first[places], places[0])
    others = first[places], places[1] - places[0] + first[places]
    count = np.zeros_like(first)
    np.add.at(count, others, 1)
    several = np.zeros(first.shape, dtype=np.bool_)
    several[places] = count[others] > 1
    return EqualSegments(first, places, others, several)


def layer_facts(packed: PackedTables, allowed: Allowed, layer: int) -> tuple[object, ...]:
    """All that a segment's latency takes from one of its layers."""
    return (
        packed.layers[layer, :OUT_START].tobytes(),
        packed.times[layer].tobytes(),
        edges_of(packed, layer).tobytes(),
        int(allowed.choice[layer]),
        allowed.regions[layer].tobytes(),
        _placed_facts(packed.places, layer) if packed.places.placed else (),
    )


def _placed_facts(kernel: PlacedKernel, layer: int) -> tuple[object, ...]:
    """The same where transfers have places."""
    touching = (kernel.edges[:, 0] == layer) | (kernel.edges[:, 1] == layer)
    edges = kernel.edges[touching]
    edges[:, :2] -= layer
    return (
        kernel.chain[layer].tobytes(),
        int(kernel.output_bytes[layer]),
        int(kernel.shape[layer]),
        kernel.held[layer].tobytes(),
        kernel.compute_ps[layer].tobytes(),
        edges.tobytes(),
        _changes(kernel.read_ps[layer::-1, layer]),
        _changes(kernel.write_ps[layer:, layer]),
        # What arrives at a segment that begins with the network.
        kernel.input_bytes if layer == 0 else 0,
    )


def _changes(values: Ints) -> tuple[tuple[int, int], ...]:
    """Where a sequence changes, and to what, whatever its length."""
    where = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    return tuple((int(index), int(values[index])) for index in where)


def moved(segment: Segment, first_layer: int) -> Segment:
    """The same clusters from another layer on."""
    by = first_layer - segment.first_layer
    clusters = tuple(
        cluster.model_copy(
            update={
                "first_layer": cluster.first_layer + by,
                "last_layer": cluster.last_layer + by,
            }
        )
        for cluster in segment.clusters
    )
    return segment.model_copy(update={"clusters": clusters})
