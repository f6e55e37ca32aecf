"""The paper's merge table (Algorithm 1): which clusters a segment has, for each number of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.model.compiled import compiled, loop
from scope_opt.search.packed import LOAD, WEIGHTS
from scope_opt.search.times import chiplets_for

if TYPE_CHECKING:
    from scope_opt.search.packed import Floats, Ints, PackedTables


MEAN, MEETING, WIDEST, RATIO, LOAD_ONLY = 0, 1, 2, 3, 4
"""Measures of similarity, in the order of `scope_opt.solving.solver.READINGS`."""


class Row(NamedTuple):
    """A row of the merge table: the clusters of a segment, and what their regions keep to."""

    packed: PackedTables
    facts: Ints
    """See `segment_facts`"""
    seg_first: int
    seg_last: int
    start: Ints
    """(clusters + 1,) first layers, then the one behind the segment"""
    weights: Ints
    """(clusters,) bytes"""
    least: Ints
    """(clusters,) chiplets that a region has at least"""
    unit: int
    """Regions are multiples of it"""
    largest: int
    """and no larger than this"""


@loop
def _distance(
    packed: PackedTables,
    similarity: int,
    load: Floats,
    weighted: Floats,
    low: Floats,
    high: Floats,
    start: Ints,
    k: int,
) -> float:
    """Squared distance of clusters ``k`` and ``k + 1``."""
    if similarity == LOAD_ONLY:
        return 0.0
    if similarity == MEETING:
        here, there = packed.parallelism[start[k + 1] - 1], packed.parallelism[start[k + 1]]
        across, along = here[0] - there[0], here[1] - there[1]
    elif similarity == WIDEST:
        across = max(high[k, 0], high[k + 1, 0]) - min(low[k, 0], low[k + 1, 0])
        along = max(high[k, 1], high[k + 1, 1]) - min(low[k, 1], low[k + 1, 1])
    else:
        across = weighted[k, 0] / load[k] - weighted[k + 1, 0] / load[k + 1]
        along = weighted[k, 1] / load[k] - weighted[k + 1, 1] / load[k + 1]
        if similarity == RATIO:
            return float((across - along) * (across - along))
    return float(across * across + along * along)


@compiled
def merge_order(packed: PackedTables, seg_first: int, seg_last: int, similarity: int) -> Ints:
    """Cluster merge table of a segment, as the step at which each boundary disappears.

    Starting from one cluster per layer, each step merges the adjacent pair that is closest (squared
    distance, to 1e-9); ties go to the pair with fewer MACs, then to the earlier one. Points are
    ``(log2 channels, log2 outputs)``. ``similarity`` says what is compared: the MAC-weighted means
    of both clusters (`MEAN`), the two layers that meet (`MEETING`), the extent of all layers of
    both (`WIDEST`), the means of channels over outputs (`RATIO`), or nothing but MACs
    (`LOAD_ONLY`).

    Returns
    -------
    int64 array, shape ``(layers of the segment,)``
        Entry ``k > 0``: step (1, 2, ...) that merges layer ``seg_first + k`` into the cluster
        before it. Row ``N`` of the table starts a cluster at every ``k`` whose step is later than
        ``layers - N``. Entry 0 stays 0.
    """
    layers = seg_last - seg_first + 1
    step = np.zeros(layers, dtype=np.int64)
    start = np.arange(seg_first, seg_last + 1)
    load = np.empty(layers)
    weighted = np.empty((layers, 2))
    low = packed.parallelism[seg_first : seg_last + 1].copy()
    high = low.copy()
    for k in range(layers):
        load[k] = max(1.0, float(packed.layers[seg_first + k, LOAD]))
        weighted[k] = load[k] * packed.parallelism[seg_first + k]
    clusters = layers
    for merge in range(1, layers):
        best, best_distance, best_load = -1, 0.0, 0.0
        for k in range(clusters - 1):
            # Repeated blocks are equally far apart but for float noise, which must not decide.
            squared = _distance(packed, similarity, load, weighted, low, high, start, k)
            distance = np.round(squared * 1e9)
            merged = load[k] + load[k + 1]
            if (
                best < 0
                or distance < best_distance
                or (distance == best_distance and merged < best_load)
            ):
                best, best_distance, best_load = k, distance, merged
        step[start[best + 1] - seg_first] = merge
        weighted[best] += weighted[best + 1]
        load[best] = best_load
        for axis in range(2):
            low[best, axis] = min(low[best, axis], low[best + 1, axis])
            high[best, axis] = max(high[best, axis], high[best + 1, axis])
        for k in range(best + 1, clusters - 1):
            start[k], load[k] = start[k + 1], load[k + 1]
            weighted[k] = weighted[k + 1]
            low[k], high[k] = low[k + 1], high[k + 1]
        clusters -= 1
    return step


@compiled
def make_row(
    packed: PackedTables,
    facts: Ints,
    seg_first: int,
    seg_last: int,
    step: Ints,
    clusters: int,
    unit: int,
    largest: int,
) -> tuple[Row, Ints]:
    """The row with so many clusters of a merge table, and the loads of the clusters."""
    layers, chiplets = seg_last - seg_first + 1, packed.times.shape[1] - 1
    start = np.empty(clusters + 1, dtype=np.int64)
    load = np.zeros(clusters, dtype=np.int64)
    weights = np.zeros(clusters, dtype=np.int64)
    least = np.full(clusters, unit, dtype=np.int64)
    j = -1
    for k in range(layers):
        if k == 0 or step[k] > layers - clusters:
            j += 1
            start[j] = seg_first + k
        load[j] += packed.layers[seg_first + k, LOAD]
        weights[j] += packed.layers[seg_first + k, WEIGHTS]
    start[clusters] = seg_last + 1
    if layers == 1 and largest == chiplets:  # weights of any size pass through the whole package
        least[0] = chiplets // unit * unit
    elif not packed.stream:
        for j in range(clusters):
            needed = chiplets_for(weights[j], packed.weight_buffer_bytes)
            least[j] = max(unit, -(-needed // unit) * unit)
    return Row(packed, facts, seg_first, seg_last, start, weights, least, unit, largest), load
