"""What all segments take, about: the fewest chiplets of their clusters within a time.

Where the paper merges neighbours that are alike, this is a recursion over the layers: within a
time, ``F[i, k]`` is the fewest chiplets of ``k`` clusters for the layers from ``i`` to the
segment's last one, each cluster by its needs alone.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from scope_opt.model.compiled import compiled, inlined, loop
from scope_opt.model.tables import LIMIT
from scope_opt.search.plus.sizes import CLOSING, INNER, ROLES, TOO_MANY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scope_opt.search.packed import Ints, PackedTables

    Flags = NDArray[np.bool_]
    Shorts = NDArray[np.int16]


NEAR = 1.2
"""Beats that are longer by no more than this ratio are always tried."""


@compiled
def segment_extra(packed: PackedTables, first: int, last: int) -> Ints:
    """DRAM transfers that layers of segment ``first..last`` have because of its ends, in ps.

    Cumulated over layers, shape ``(L+1,)``; the output of the last layer is left out.
    """
    reads, writes = packed.places.read_ps, packed.places.write_ps
    layers = len(packed.times)
    extra = np.zeros(layers + 1, dtype=np.int64)
    for layer in range(first, last + 1):
        own = reads[first, layer] - (reads[0, layer] if layer > 0 else 0)
        if layer < last:
            own += writes[last, layer] - writes[layers - 1, layer]
        extra[layer + 1] = extra[layer] + own
    extra[last + 2 :] = extra[last + 1]
    return extra


@inlined
def longest_beat(samples: int, clusters: int, beat: int) -> int:
    """The longest beat in ps that is tried if so many clusters are the fewest within ``beat``.

    Within a longer one fewer do, but seldom so many fewer that it pays: this is half the way, by
    ratios, to the beat that would cost the same with a single cluster, or `NEAR`.
    """
    return int(beat * max(NEAR, math.sqrt((samples + clusters - 1) / samples)))


@inlined
def _within(beats: Ints, n: int, extra: int) -> int:
    """Index of the largest time that leaves ``extra`` of the ``n``-th; -1 if there is none."""
    if extra > 0:
        left = beats[n] - extra
        while n >= 0 and beats[n] > left:
            n -= 1
    return n


@inlined
def _begins(needs: Shorts, i: int, last: int) -> bool:
    """Whether a cluster may begin at a layer, within the largest time."""
    found = False
    for role in range(ROLES):
        for length in range(min(last - i + 1, needs.shape[3])):
            found = found or needs[len(needs) - 1, role, i, length] < TOO_MANY
    return found


@compiled
def count_chiplets(
    needs: Shorts,
    reach: Shorts,
    beats: Ints,
    n: int,
    extra: Ints,
    first: int,
    last: int,
    most: int,
    chiplets: int,
    labels: Shorts,
) -> int:
    """Fill ``labels[i, k]``, `F` of the module, for segments that end at ``last``.

    Returns the first layer for which there is a label within ``chiplets``, from ``first`` on.
    """
    for i in range(last, first - 1, -1):
        least = open_cluster(
            needs, reach, beats, n, extra, i, last, most, chiplets, labels, labels[i]
        )
        # Where no cluster may begin at all, segments may still begin before.
        if least > chiplets and _begins(needs, i, last):
            return i + 1
    return first


@loop
def open_cluster(
    needs: Shorts,
    reach: Shorts,
    beats: Ints,
    n: int,
    extra: Ints,
    i: int,
    last: int,
    most: int,
    chiplets: int,
    labels: Shorts,
    own: Shorts,
) -> int:
    """Labels ``own[p, k]`` of layer ``i`` by those of layers behind; returns the least of them."""
    own[:, : most + 1] = TOO_MANY
    index = _within(beats, n, extra[last + 1] - extra[i])
    for p in range(2):
        if index >= 0 and last - i < needs.shape[3]:
            own[p, 1] = needs[index, CLOSING + p, i, last - i]
    for j in range(i, min(last, i + reach[n, i])):
        index = _within(beats, n, extra[j + 1] - extra[i])
        if index < 0:
            break
        for role in range(4):
            need = needs[index, INNER + role, i, j - i]
            if need > chiplets:
                continue
            behind, ahead = labels[j + 1, role % 2], own[role // 2]
            count = max(0, min(most - 1, last - j))
            others, better = behind[1 : count + 1], ahead[2 : count + 2]
            for k in range(count):
                better[k] = min(better[k], np.int16(others[k] + need))
    least = TOO_MANY
    for p in range(2):
        for k in range(1, most + 1):
            least = min(least, own[p, k])
    return least


@compiled
def estimate_ending(
    packed: PackedTables,
    beats: Ints,
    needs: Shorts,
    reach: Shorts,
    least: int,
    most: int,
    last: int,
    wanted: Flags,
) -> Ints:
    """Latency in ps of segments up to ``last``, about, and beat; shape (L, 2).

    By first layer, `LIMIT` where it is not ``wanted`` or has no clusters within the times.
    ``least`` and ``most`` are the numbers of clusters. DRAM transfers at both ends of a segment
    count in its first and its last cluster only, so that the labels of a beat serve all first
    layers. Between two times, chiplets are taken to be inversely proportional to the beat.
    """
    layers, chiplets = packed.times.shape[0], packed.times.shape[1] - 1
    estimate = np.full((layers, 2), LIMIT, dtype=np.int64)
    labels = np.full((layers + 1, 2, most + 2), TOO_MANY, dtype=np.int16)
    total = np.full((2, most + 2), TOO_MANY, dtype=np.int16)
    none = np.zeros(layers + 1, dtype=np.int64)
    extra = np.zeros((layers, layers + 1), dtype=np.int64)
    low = last + 1
    for first in range(last, -1, -1):
        if wanted[first]:
            low = first
            extra[first] = segment_extra(packed, first, last)
    least_cost = np.empty(layers, dtype=np.int64)
    longest = np.full(layers, LIMIT, dtype=np.int64)
    shorter = 0
    for n in range(len(beats)):
        useful = False
        for first in range(low, last + 1):
            beat = max(shorter, packed.segment_dram_ps[first, last])
            least_cost[first] = packed.load_ps[first, last] + (packed.samples + least - 1) * beat
            if shorter > longest[first]:
                least_cost[first] = LIMIT
            useful = useful or (wanted[first] and least_cost[first] < estimate[first, 0])
        if not useful:
            break
        here = min(most, last - low + 1)
        reached = count_chiplets(needs, reach, beats, n, none, low, last, here, chiplets, labels)
        for first in range(reached, last + 1):
            if not wanted[first] or least_cost[first] >= estimate[first, 0]:
                continue
            # With the DRAM transfers at its ends a segment needs no fewer clusters.
            fewest, upto = least, min(here, last - first + 1)
            while (
                fewest <= upto
                and min(labels[first, 0, fewest], labels[first, 1, fewest]) > chiplets
            ):
                fewest += 1
            beat = max(shorter, packed.segment_dram_ps[first, last])
            cost = packed.load_ps[first, last] + (packed.samples + fewest - 1) * beat
            if fewest > upto or cost >= estimate[first, 0]:
                continue
            open_cluster(
                needs, reach, beats, n, extra[first], first, last, here, chiplets, labels, total
            )
            for k in range(fewest, upto + 1):
                need = min(total[0, k], total[1, k])
                if need <= chiplets:
                    between = max(shorter, beats[n] * need // chiplets)
                    beat = max(between, packed.segment_dram_ps[first, last])
                    cost = packed.load_ps[first, last] + (packed.samples + k - 1) * beat
                    if longest[first] == LIMIT:
                        longest[first] = longest_beat(packed.samples, k, beat)
                    if cost < estimate[first, 0]:
                        estimate[first, 0], estimate[first, 1] = cost, beat
                    break
        shorter = beats[n]
    return estimate
