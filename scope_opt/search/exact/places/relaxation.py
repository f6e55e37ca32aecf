"""What a segment needs at least, whatever the places of its regions: windows and bounds.

Every transfer takes the least time it can take anywhere. Then a cluster needs some fewest chiplets
within a time, and chiplets add up: a recursion over layers alone, thousands of times quicker than
the labels, refutes most questions and says where clusters can begin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.model.compiled import compiled
from scope_opt.search.exact.places.labels import NEVER, NONE, inner_times

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scope_opt.search.exact.places.costs import Costs

    Flags = NDArray[np.bool_]
    Ints = NDArray[np.int64]


class Relaxed(NamedTuple):
    """Least times of clusters, whatever their places; of segments opened one after the other."""

    times: Ints
    """(L, longest, C+1) of layers ``i..i+x`` on at most ``r`` chiplets, hand-over included, reads
    left out"""
    reach: Ints
    """(L,) how many last layers can be within the limit at all; negative for rows to be filled"""


def forget(relaxed: Relaxed, changed: Flags, ends: tuple[int, int]) -> None:
    """Mark the rows that depend on a changed layer, or on where the segment ends.

    ``ends`` are the last layers of two segments: rows that reach the earlier one have stopped
    there, or have to now.
    """
    layers = np.arange(len(changed))
    stop = layers + np.maximum(relaxed.reach, 0)
    total = np.concatenate([[0], np.cumsum(changed)])
    # The last layer that a row reached without being within the limit counts as well.
    touched = total[np.minimum(stop + 1, len(changed))] > total[layers]
    if ends[0] != ends[1]:
        touched |= stop >= min(ends)
    relaxed.reach[touched] = -1


@compiled
def relax(costs: Costs, limit: int, relaxed: Relaxed, nothing: Ints, top: int, bottom: int) -> None:
    """Fill the marked rows ``top`` down to ``bottom`` with clusters that may meet ``limit``."""
    last = costs.last
    times, reach = relaxed
    longest, sizes = times.shape[1], times.shape[2]
    least_rows = costs.gather.shape[1] - sizes
    path = np.empty((last + 2, 4), dtype=np.int64)
    fits = np.empty(last + 2, dtype=np.bool_)
    inner = np.empty((longest, 4), dtype=np.int64)
    chiplets = sizes - 1
    for i in range(top, bottom - 1, -1):
        if reach[i] >= 0:
            continue
        reach[i] = 0
        times[i] = NEVER
        for r in range(1, sizes):
            # One layer on the whole package has rules of its own.
            if not costs.regions[i, r] or (i == last and r == chiplets):
                continue
            row = least_rows + r
            reached = inner_times(
                costs, i, r, r, r, row, limit, nothing, costs.monotone, path, fits, inner
            )
            reach[i] = max(reach[i], reached)
            for x in range(reached):
                j = i + x
                sent = costs.writes[j]
                if j < last:
                    sent += costs.least_hand_over[j, r]
                for pq in range(4):
                    if inner[x, pq] < NEVER:
                        time = inner[x, pq] + max(costs.compute[j, r, pq & 1], sent)
                        if time < times[i, x, r]:
                            times[i, x, r] = time
        for x in range(reach[i]):
            for r in range(2, sizes):
                times[i, x, r] = min(times[i, x, r], times[i, x, r - 1])


@compiled
def fewest_within(values: Ints, limit: int) -> int:
    """First index above 0 of descending ``values`` that is at most ``limit``; `NONE` if none is."""
    if values[-1] > limit:
        return NONE
    low, high = 1, len(values) - 1
    while low < high:
        middle = (low + high) // 2
        if values[middle] <= limit:
            high = middle
        else:
            low = middle + 1
    return low


@compiled
def relaxed_clusters(
    costs: Costs, relaxed: Relaxed, limit: int, least: int, most: int, fewest: Ints
) -> int:
    """Fewest clusters, of ``least`` to ``most``, that may be within ``limit``; `NONE` if none are.

    ``fewest[i, k]``: fewest chiplets for the layers from ``i`` on in ``k`` clusters.
    """
    first, last = costs.first, costs.last
    chiplets = costs.row.shape[0]
    most = min(most, last - first + 1)
    fewest[first : last + 2] = NONE
    fewest[last + 1, 0] = 0
    for i in range(last, first - 1, -1):
        for x in range(relaxed.reach[i]):
            j = i + x
            opening = costs.reads[j + 1] - costs.reads[i]
            need = fewest_within(relaxed.times[i, x], limit - opening)
            if need >= NONE:
                continue
            for k in range(1, min(most, last - i + 1) + 1):
                total = fewest[j + 1, k - 1] + need
                if total < fewest[i, k]:
                    fewest[i, k] = total
    for k in range(least, most + 1):
        if fewest[first, k] <= chiplets:
            return k
    return NONE


@compiled
def find_window(
    costs: Costs, relaxed: Relaxed, limit: int, before: Ints, behind: Ints, least_size: Ints
) -> int:
    """Fill a `Window` for clusters within ``limit``; returns the most layers in a cluster."""
    first, last = costs.first, costs.last
    before[first : last + 2] = NONE
    behind[first : last + 2] = NONE
    before[first] = 0
    behind[last + 1] = 0
    longest = 1
    for i in range(last, first - 1, -1):
        least_size[i] = NONE
        for x in range(relaxed.reach[i]):
            j = i + x
            opening = costs.reads[j + 1] - costs.reads[i]
            need = fewest_within(relaxed.times[i, x], limit - opening)
            if need >= NONE or behind[j + 1] >= NONE:
                continue
            behind[i] = min(behind[i], behind[j + 1] + need)
            least_size[i] = min(least_size[i], need)
            longest = max(longest, x + 1)
    for i in range(first, last + 1):
        if before[i] >= NONE:
            continue
        for x in range(relaxed.reach[i]):
            j = i + x
            opening = costs.reads[j + 1] - costs.reads[i]
            need = fewest_within(relaxed.times[i, x], limit - opening)
            if need < NONE:
                before[j + 1] = min(before[j + 1], before[i] + need)
    return longest


@compiled
def relaxed_feasible(costs: Costs, relaxed: Relaxed, limit: int, behind: Ints) -> bool:
    """Whether the segment may be within ``limit`` in any number of clusters.

    ``behind[i]``: fewest chiplets for the layers from ``i`` on.
    """
    first, last = costs.first, costs.last
    behind[last + 1] = 0
    for i in range(last, first - 1, -1):
        behind[i] = NONE
        for x in range(relaxed.reach[i]):
            j = i + x
            if behind[j + 1] < NONE:
                opening = costs.reads[j + 1] - costs.reads[i]
                need = fewest_within(relaxed.times[i, x], limit - opening)
                behind[i] = min(behind[i], behind[j + 1] + need)
    return bool(behind[first] <= costs.row.shape[0])


@compiled
def least_feasible(
    costs: Costs, relaxed: Relaxed, low: int, high: int, behind: Ints
) -> tuple[int, int]:
    """Bring a beat that is impossible and one that may not be within a thousandth."""
    while high - low > max(1, high // 1000):
        middle = (low + high) // 2
        if relaxed_feasible(costs, relaxed, middle, behind):
            high = middle
        else:
            low = middle
    return low, high


@compiled
def relaxed_bound(
    costs: Costs,
    relaxed: Relaxed,
    samples: int,
    load: int,
    dram: int,
    budget: int,
    least: int,
    most: int,
    step: float,
    behind: Ints,
    fewest: Ints,
) -> int:
    """Lower bound on the latency of a segment, at most the budget.

    Between two of the beats tried, which are a factor ``1 + step`` apart, the fewest clusters are
    those at the upper one and the beat is the lower one.
    """
    limit = (budget - 1 - load) // (samples + least - 1)
    if limit < dram or not relaxed_feasible(costs, relaxed, limit, behind):
        return budget
    beat = least_feasible(costs, relaxed, dram - 1, limit, behind)[0] + 1
    best = budget
    while load + (samples + least - 1) * beat < best:
        upper = min(limit, max(beat + 1, int(beat * (1 + step))))
        useful = min(most, (best - 1 - load) // beat - samples + 1)
        clusters = relaxed_clusters(costs, relaxed, upper, least, useful, fewest)
        if clusters < NONE:
            best = min(best, load + (samples + clusters - 1) * beat)
        beat = upper + 1
    return best
