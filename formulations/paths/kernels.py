"""Compiled inner loops over the columns of one segment under one largest beat.

Networks come as arcs between numbered nodes that lead to higher numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from formulations.columns.kernels import columns_within
from formulations.formulas import longest_beat
from scope_opt.model.compiled import released
from scope_opt.model.tables import LIMIT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from formulations.columns.columns import Columns

    Ints = NDArray[np.int64]
    Flags = NDArray[np.bool_]
    Numbers = NDArray[np.int32]


@released
def fastest_within(
    columns: Columns, slowest: int, first: int, last: int
) -> tuple[Ints, Ints, Ints, Ints]:
    """Times, first layers, last layers and sizes of columns that segment ``first..last`` can have.

    In the order given, which is that of their times, up to the slowest time.
    """
    c = columns
    count = int(np.searchsorted(c.time_ps, slowest, side="right"))
    found = columns_within(columns, 0, count, first, last, slowest)
    return c.time_ps[found], c.first[found], c.last[found], c.size[found]


@released
def between(
    columns: Columns, fits: Ints, first: int, last: int, beat: int
) -> tuple[Ints, Ints, Ints, int]:
    """Nodes that columns leave from and arrive at, -1 for none; steps down; number of the last.

    Columns are sorted by first layer and receiving; ``fits`` are those that take no longer than the
    beat. See `formulations.paths.network.BeatNetwork`.
    """
    firsts, lasts = columns.first, columns.last
    sending, receiving = columns.sending_ps, columns.receive_ps
    leaves = np.full(len(firsts), -1, dtype=np.int64)
    arrives = np.full(len(firsts), -1, dtype=np.int64)
    steps = np.empty((len(fits), 2), dtype=np.int64)
    # Columns by their last layer: those of layer l are ending[bounds[l - first] ...].
    bounds = np.zeros(last - first + 2, dtype=np.int64)
    for k in fits:
        bounds[lasts[k] - first + 1] += 1
    bounds = np.cumsum(bounds)
    ending, place = np.empty(len(fits), dtype=np.int64), bounds.copy()
    for k in fits:
        ending[place[lasts[k] - first]] = k
        place[lasts[k] - first] += 1
    afford = np.empty(len(fits), dtype=np.int64)
    nodes, made, begun = 1, 0, 0
    while begun < len(fits) and firsts[fits[begun]] == first:
        leaves[fits[begun]] = 0
        begun += 1
    for layer in range(first, last):
        start = begun
        while start < len(fits) and firsts[fits[start]] == layer + 1:
            start += 1
        starting = fits[begun:start]
        begun = start
        low, high = bounds[layer - first], bounds[layer - first + 1]
        levels = receiving[starting]
        # How far up the times for receiving a cluster that ends here can afford to go.
        wanted = np.zeros(len(levels), dtype=np.bool_)
        for n in range(low, high):
            afford[n] = np.searchsorted(levels, beat - sending[ending[n]], side="right") - 1
            if afford[n] >= 0:
                wanted[afford[n]] = True
        # From the highest such place down to the lowest; columns in between leave from the next
        # higher one.
        node = np.full(len(levels) + 1, -1, dtype=np.int64)
        count = 0
        for n in range(len(levels) - 1, -1, -1):
            if wanted[n]:
                if count > 0:
                    steps[made, 0], steps[made, 1] = nodes + count - 1, nodes + count
                    made += 1
                count += 1
            if count > 0:
                node[n] = nodes + count - 1
        nodes += count
        for n in range(low, high):
            if afford[n] >= 0:
                arrives[ending[n]] = node[afford[n]]
        for n in range(len(starting)):
            # Equal times are one level, that of the last of them: all there is or none.
            leaves[starting[n]] = node[n]
    for k in ending[bounds[last - first] :]:
        arrives[k] = nodes
    return leaves, arrives, steps[:made].copy(), nodes


@released
def joined_within(
    columns: Columns, ends: tuple[int, int], beat: int
) -> tuple[Ints, Ints, Ints, Ints, int]:
    """Columns within a beat that others can come before and after, and the network of these.

    Columns, the nodes they leave from and arrive at, steps down, number of the last node; see
    `between`.
    """
    fits = np.flatnonzero(columns.time_ps <= beat)
    leaves, arrives, steps, goal = between(columns, fits, ends[0], ends[1], beat)
    joined = fits[(leaves[fits] >= 0) & (arrives[fits] >= 0)]
    return joined, leaves[joined], arrives[joined], steps, goal


@released
def by_node(nodes: Ints, goal: int) -> Ints:
    """Places in an array of nodes up to the goal, ordered by node, equal ones as they come."""
    place = np.zeros(goal + 2, dtype=np.int64)
    for node in nodes:
        place[node + 1] += 1
    place = np.cumsum(place)
    order = np.empty(len(nodes), dtype=np.int64)
    for k in range(len(nodes)):
        order[place[nodes[k]]] = k
        place[nodes[k]] += 1
    return order


@released
def short_enough(
    arcs: tuple[Ints, Ints, Ints, Ints, Ints], lengths: Ints, goal: int, most: int
) -> Flags:
    """Whether a path from node 0 to the goal through a column has a length of at most ``most``.

    For each row of ``lengths``, which are those of the columns; steps have none. ``arcs`` are the
    nodes that columns leave and arrive at, steps, and the numbers of columns, then steps, ordered
    by where they arrive and, backwards, by where they leave.
    """
    leaves, arrives, steps, forwards, backwards = arcs
    count = len(leaves)
    fits = np.ones(count, dtype=np.bool_)
    for kind in range(len(lengths)):
        length = lengths[kind]
        before = np.full(goal + 1, LIMIT, dtype=np.int64)
        after = np.full(goal + 1, LIMIT, dtype=np.int64)
        before[0], after[goal] = 0, 0
        for k in forwards:
            if k < count:
                before[arrives[k]] = min(before[arrives[k]], before[leaves[k]] + length[k])
            else:
                tail, head = steps[k - count]
                before[head] = min(before[head], before[tail])
        for k in backwards:
            if k < count:
                after[leaves[k]] = min(after[leaves[k]], after[arrives[k]] + length[k])
            else:
                tail, head = steps[k - count]
                after[tail] = min(after[tail], after[head])
        for k in range(count):
            if before[leaves[k]] + length[k] + after[arrives[k]] > most:
                fits[k] = False
    return fits


@released
def lightest_path(
    arcs: tuple[Ints, Ints, Ints, Ints],
    size: Ints,
    goal: int,
    chiplets: int,
    counts: tuple[int, int],
) -> Ints:
    """Columns of a path with the fewest clusters, at least ``counts[0]``, that fit the package.

    Of those the one with the fewest chiplets; empty if there is none with ``counts[1]`` clusters or
    fewer. For ``arcs`` see `short_enough`; here they are not needed backwards.
    """
    leaves, arrives, steps, forwards = arcs
    count, most = len(leaves), counts[1]
    none = chiplets + 1
    least = np.full((goal + 1, most + 1), none, dtype=np.int32)
    through = np.full((goal + 1, most + 1), -1, dtype=np.int32)
    least[0, 0] = 0
    # Numbers of clusters with which nodes are reached.
    low, high = np.full(goal + 1, most + 1, dtype=np.int64), np.zeros(goal + 1, dtype=np.int64)
    low[0], high[0] = 0, 1
    for k in forwards:
        if k < count:
            tail, head, used, extra = leaves[k], arrives[k], 1, size[k]
        else:
            tail, head, used, extra = steps[k - count, 0], steps[k - count, 1], 0, 0
        for n in range(low[tail], min(high[tail], most + 1 - used)):
            total = least[tail, n] + extra
            if total < least[head, n + used]:
                least[head, n + used], through[head, n + used] = total, k
                low[head] = min(low[head], n + used)
                high[head] = max(high[head], n + used + 1)
    for n in range(max(1, counts[0]), most + 1):
        if least[goal, n] < none:
            path = np.empty(n, dtype=np.int64)
            node, left = goal, n
            while node > 0:
                k = through[node, left]
                if k < count:
                    left -= 1
                    path[left] = k
                    node = leaves[k]
                else:
                    node = steps[k - count, 0]
            return path
    return np.empty(0, dtype=np.int64)


@released
def lightest_within(
    columns: Columns,
    ends: tuple[int, int],
    beat: int,
    chiplets: int,
    counts: tuple[int, int],
) -> Ints:
    """The path of `lightest_path` under one largest beat; for ``columns`` see `between`."""
    joined, tails, heads, steps, goal = joined_within(columns, ends, beat)
    forwards = by_node(np.concatenate((heads, steps[:, 1].copy())), goal)
    arcs = (tails, heads, steps, forwards)
    return joined[lightest_path(arcs, columns.size[joined], goal, chiplets, counts)]


@released
def coverable(
    columns: tuple[Ints, Ints, Ints, Ints],
    ends: tuple[int, int],
    chiplets: int,
    counts: tuple[int, int],
    timing: tuple[int, int],
    window: tuple[int, int],
    steps: int,
) -> int:
    """Lower bound in ps on the latency of a segment, whatever its clusters hand over.

    Parameters
    ----------
    columns : tuple of array
        Times, sorted, with the first layers, last layers and sizes that go with them.
    ends : (int, int)
        First and last layer of the segment.
    chiplets : int
    counts : (int, int)
        Fewest and most clusters.
    timing : (int, int)
        Time for loading weights, and the number of samples.
    window : (int, int)
        A latency that is a lower bound already, and one above which nothing matters; all columns of
        schedules up to that must be there.
    steps : int
        How often to halve the window, at most.
    """
    times, firsts, lasts, sizes = columns
    first, last = ends
    load, samples = timing
    layers = last - first + 1
    most = min(counts[1], layers)
    needed = np.empty((layers, layers), dtype=np.int32)
    covered = np.empty((layers + 1, most + 1), dtype=np.int32)
    low, high = window[0], window[1] + 1
    for _ in range(steps):
        if low >= high:
            break
        latency = (low + high) // 2
        n = counts[0]
        attained = False
        while n <= most:
            beat = longest_beat(latency, load, samples, n)
            if beat < 0:
                break
            _cover(times, firsts, lasts, sizes, beat, first, chiplets, needed, covered)
            fewest = n
            while fewest <= most and covered[layers, fewest] > chiplets:
                fewest += 1
            if fewest == n:
                attained = True
                break
            # That many take longer in all; whether they fit the shorter beat is the next question.
            n = fewest
        if attained:
            high = latency
        else:
            low = latency + 1
    return low


@released
def _cover(
    times: Ints,
    firsts: Ints,
    lasts: Ints,
    sizes: Ints,
    beat: int,
    first: int,
    chiplets: int,
    needed: Numbers,
    covered: Numbers,
) -> None:
    """Fill ``covered[l, n]``: fewest chiplets for the first ``l`` layers in ``n`` clusters."""
    layers, most, none = len(needed), covered.shape[1] - 1, chiplets + 1
    needed[:] = none
    for k in range(len(times)):
        if times[k] > beat:
            break
        i, j = firsts[k] - first, lasts[k] - first
        needed[i, j] = min(needed[i, j], sizes[k])
    covered[:] = none
    covered[0, 0] = 0
    # Numbers of clusters of which there are covers, by number of layers.
    some, some_end = np.zeros(layers + 1, dtype=np.int64), np.ones(layers + 1, dtype=np.int64)
    for end in range(1, layers + 1):
        for begin in range(end):
            size = needed[begin, end - 1]
            low, high = some[begin], min(some_end[begin], most)
            if size < none and low < high:
                before, after = covered[begin, low:high], covered[end, low + 1 : high + 1]
                for n in range(len(before)):
                    after[n] = min(after[n], before[n] + size)
        some[end], some_end[end] = most + 1, 0
        for n in range(1, most + 1):
            if covered[end, n] < none:
                some[end] = min(some[end], n)
                some_end[end] = n + 1
