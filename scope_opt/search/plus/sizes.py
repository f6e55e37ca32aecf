"""How many chiplets each possible cluster needs within a time, by sizes of regions alone.

Clusters are chosen by this. It is what they need but for two simplifications: the next region is as
large as their own, and in the placed model every region begins at one typical position.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.model.compiled import compiled
from scope_opt.search.equal import kinds, layer_facts
from scope_opt.search.exact.inner import fill_row, last_layers, least_computation, least_times
from scope_opt.search.packed import (
    COMPUTE,
    GATHER,
    IN_START,
    NEVER,
    OUT_START,
    OUTPUT,
    RECEIVE,
    SEND,
    WITHIN,
)
from scope_opt.search.placed import (
    TRAVEL,
    WANTED,
    gather_bytes,
    link_ps,
    scatter_shares,
    segment_facts,
    weight_gather_ps,
    within_ps,
)
from scope_opt.search.times import closing_times, ending_times

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scope_opt.search.allowed import Allowed
    from scope_opt.search.packed import Bytes, Ints, PackedTables
    from scope_opt.search.placed import PlacedKernel

    Shorts = NDArray[np.int16]

TOO_MANY = 15000
"""Stands for "not with the chiplets there are" among int16 counts, two of which can be added."""
INNER, CLOSING, ROLES = 0, 4, 6
"""What a cluster is in its segment: ``INNER + 2 p + q`` hands over to another one, ``CLOSING + p``
ends it; ``p`` is its own first partition, ``q`` that of the next cluster."""


class Needs(NamedTuple):
    """Fewest chiplets of every cluster within every one of some times."""

    beats: Ints
    """(n,) ps, ascending"""
    fewest: Shorts
    """(n, ROLES, L, longest) of cluster ``i..j`` at ``i, j - i``; `TOO_MANY` for none"""
    reach: Shorts
    """(n, L) layers of the longest cluster from each layer on"""


def longest_cluster(packed: PackedTables, allowed: Allowed, limit: int) -> int:
    """Most layers that a cluster can have within ``limit`` ps, at least 1."""
    return max(1, int(last_layers(packed, least_computation(packed), allowed, limit).max()))


def make_needs(packed: PackedTables, allowed: Allowed, beats: Ints) -> Needs:
    """Chiplets of all clusters within ``beats``, ascending times in ps."""
    if packed.places.placed:
        packed = sized(packed)
    layers, limit = len(packed.times), int(beats[-1])
    length = last_layers(packed, least_times(packed, allowed), allowed, limit)
    shape = (len(beats), ROLES, layers, max(1, int(length.max())))
    fewest = np.full(shape, TOO_MANY, dtype=np.int16)
    reach = np.zeros((len(beats), layers), dtype=np.int16)
    sending, ending = closing_times(packed, 0, layers - 1), ending_times(packed)
    alike = alike_layers(packed, allowed, length)
    own = np.where((alike == np.arange(layers))[:, None], length, 0)
    _fill_needs(packed, allowed, own, sending, ending, beats, fewest, reach)
    for layer in np.flatnonzero(alike < np.arange(layers)):
        fewest[:, :, layer] = fewest[:, :, alike[layer]]
        reach[:, layer] = reach[:, alike[layer]]
    return Needs(beats, fewest, reach)


def alike_layers(packed: PackedTables, allowed: Allowed, length: Ints) -> Ints:
    """(L,) the first layer whose clusters need what those from each layer on do.

    The layers from both on are the same as far as their clusters reach, as in the blocks of a deep
    network. The network's last layer hands nothing over: it is like no other.
    """
    layers = len(length)
    kind = kinds(
        (layer_facts(packed, allowed, layer), layer == layers - 1) for layer in range(layers)
    )
    reach = length.max(axis=1)
    known: dict[tuple[bytes, ...], int] = {}
    return np.array(
        [
            known.setdefault(
                (
                    kind[layer : layer + reach[layer]].tobytes(),
                    length[layer].tobytes(),
                    allowed.clusters[layer, layer : layer + reach[layer]].tobytes(),
                ),
                layer,
            )
            for layer in range(layers)
        ],
        dtype=np.int64,
    )


def sized(packed: PackedTables) -> PackedTables:
    """Placed tables with transfers priced at one position, as if only sizes mattered."""
    kernel = packed.places
    layers = packed.layers.copy()
    layers[:, OUT_START] = layers[:, IN_START] = 0
    times = packed.times.copy()
    facts = segment_facts(kernel, 0, len(times) - 1)
    own = np.array([0, 1], dtype=np.int8)  # the type that other callers pass
    _price(kernel, facts, len(kernel.place) // 2 + int(kernel.mesh[1]) // 2, own, times)
    layers[:-1, OUTPUT] = np.diagonal(kernel.write_ps)
    return packed._replace(
        times=times, layers=layers, edges=packed.edges[:0], in_edges=packed.in_edges[:0]
    )


@compiled
def _price(kernel: PlacedKernel, facts: Ints, typical: int, own: Bytes, times: Ints) -> None:
    layers, sizes = times.shape[0], times.shape[1]
    for layer in range(layers):
        opening = kernel.read_ps[0, layer] if layer > 0 else 0
        extra = opening + (kernel.write_ps[layers - 1, layer] if layer < layers - 1 else 0)
        for size in range(1, sizes):
            # Regions that reach beyond the last position from there begin earlier.
            start = min(typical, sizes - 1 - size)
            row = times[layer, size]
            for p in range(2):
                row[COMPUTE + p] = kernel.compute_ps[layer, p, size] + opening
            row[GATHER] = weight_gather_ps(kernel, kernel.weights[layer], start, size)
            if layer == layers - 1:
                continue
            for p in range(2):
                for q in range(2):
                    row[WITHIN + 2 * p + q] = extra + within_ps(
                        kernel, layer, own[p], own[q], start, size, 0
                    )
            following = max(1, min(size, sizes - 1 - start - size))
            first = min(start, max(0, sizes - 1 - size - following))
            row[SEND] = extra
            if size < sizes - 1:
                shares = scatter_shares(kernel, first, size, following)
                load = float(facts[layer, TRAVEL] * shares) / (size * following)
                row[SEND] += link_ps(kernel, load)
            row[RECEIVE] = link_ps(kernel, gather_bytes(kernel, facts[layer, WANTED], start, size))
            row[RECEIVE + 1] = 0


@compiled
def _fill_needs(
    packed: PackedTables,
    allowed: Allowed,
    length: Ints,
    sending: Ints,
    ending: Ints,
    beats: Ints,
    fewest: Shorts,
    reach: Shorts,
) -> None:
    times = packed.times
    layers, sizes = times.shape[0], times.shape[1]
    path = np.empty((layers, 4), dtype=np.int64)
    fits = np.empty(layers, dtype=np.bool_)
    inner = np.empty((layers, 4), dtype=np.int64)
    unmet = np.empty((ROLES, layers), dtype=np.int64)
    for i in range(layers):
        unmet[:] = len(beats)
        for r in range(1, sizes):
            if length[i, r] == 0:
                continue
            stop = i + length[i, r]
            fill_row(packed, allowed, layers - 1, i, r, stop, 0, inner, 0, path, fits)
            for j in range(i, stop):
                for p in range(2):
                    computed = NEVER
                    for q in range(2):
                        computed = min(computed, inner[j - i, 2 * p + q] + times[j, r, COMPUTE + q])
                    for then in range(3):
                        role, sent = INNER + 2 * p + then, sending[j, r]
                        if then == 2:
                            role, sent = CLOSING + p, ending[j, r]
                        elif j < layers - 1:
                            sent += times[j, r, RECEIVE + then]
                        else:
                            continue
                        n = unmet[role, j]
                        if n == 0 or computed > beats[n - 1]:
                            continue
                        time = NEVER
                        for q in range(2):
                            spent = inner[j - i, 2 * p + q]
                            time = min(time, spent + max(times[j, r, COMPUTE + q], sent))
                        while n > 0 and beats[n - 1] >= time:
                            n -= 1
                            fewest[n, role, i, j - i] = r
                            reach[n, i] = max(reach[n, i], j - i + 1)
                        unmet[role, j] = n
