"""Enumeration of every schedule of one segment where transfers cost what they do in place.

What a cluster takes depends on where its region lies, and the busiest link on all clusters at once,
so schedules are visited one by one. They are chosen in two steps. First the layout, cluster by
cluster from the first layer on: which layers, how many chiplets. With it go the time of each layer
and the bytes it puts on each link, for its own partition and the one beside it. Then the
partitions, layer by layer, which only adds these up.

Where only the best schedule is wanted, branches that cannot lead to a better one are left out. They
count as seen all the same, so that progress is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scope_opt.model.compiled import compiled, loop
from scope_opt.search.census.enumeration import (
    AT_LEAST,
    AT_MOST,
    CLUSTERS,
    LEAST,
    MOST,
    TOTAL,
    bisect,
)
from scope_opt.search.census.placed_layouts import DEPTH, LEVEL, longest_interesting, next_layout
from scope_opt.search.census.tuning import PLACED_PAUSE
from scope_opt.search.placed import TRAVEL, WANTED, carry_ps
from scope_opt.search.stopping import SearchStopped
from scope_opt.search.times import ISP, WSP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from scope_opt.search.census.enumeration import Tally
    from scope_opt.search.census.placed_layouts import Costs, PlacedWalk
    from scope_opt.solving.monitor import Monitor

    Floats = NDArray[np.float64]


# --- Partitions ----------------------------------------------------------------------------------


@loop
def _add_loads(loads: Floats, more: Floats, both: Floats) -> float:
    """Sum of two loads of the links; returns its largest entry."""
    most = 0.0
    for link in range(len(loads)):
        both[link] = loads[link] + more[link]
        most = max(most, both[link])
    return most


@loop
def _most_loaded(loads: Floats, more: Floats) -> float:
    """Largest entry of a sum of two loads; in four strands, as each step waits for the last."""
    a = b = c = d = 0.0
    for link in range(0, len(loads), 4):
        a = max(a, loads[link] + more[link])
        b = max(b, loads[link + 1] + more[link + 1])
        c = max(c, loads[link + 2] + more[link + 2])
        d = max(d, loads[link + 3] + more[link + 3])
    return max(max(a, b), max(c, d))


@loop
def _record(walk: PlacedWalk, tally: Tally, latency: int, usual: int) -> int:
    """Count a schedule; returns its bin. ``usual`` is a bin that is worth trying first."""
    totals, edges, at = tally.totals, tally.edges, usual
    bins = len(edges)
    if latency < edges[at] or (at + 1 < bins and latency >= edges[at + 1]):
        at = max(0, bisect(edges, 0, bins, latency) - 1)
    tally.counts[at] += 1
    if totals[TOTAL] == 0 or latency < totals[LEAST]:
        totals[LEAST], totals[AT_LEAST], totals[CLUSTERS] = latency, 0, walk.at[DEPTH] + 1
        for k in range(len(walk.choice)):
            walk.best_choice[k] = walk.choice[k]
            for column in range(walk.layout.shape[1]):
                walk.best_layout[k, column] = walk.layout[k, column]
    if totals[TOTAL] == 0 or latency > totals[MOST]:
        totals[MOST], totals[AT_MOST] = latency, 0
    totals[AT_LEAST] += latency == totals[LEAST]
    totals[AT_MOST] += latency == totals[MOST]
    totals[TOTAL] += 1
    return at


@loop
def _count_partitions(walk: PlacedWalk, tally: Tally, until: int) -> None:
    """Go on through the partitions of the layout at hand, until so many schedules are counted.

    Level after level, the next partition of a layer that it may have.
    """
    choice, may, totals = walk.choice, walk.may, tally.totals
    layers, clusters = len(choice), walk.at[DEPTH] + 1
    steps = walk.samples + clusters - 1
    longest = longest_interesting(walk, tally, clusters)
    level, usual = walk.at[LEVEL], 0
    while level >= 0 and totals[TOTAL] < until:
        own = choice[level] + 1
        if own == ISP and not may[level, ISP]:
            own = WSP
        if own > WSP or not may[level, own]:
            level -= 1
            continue
        choice[level] = own
        before, spent, beat = ISP, walk.spent_ps[level], walk.beat_ps[level]
        if level > 0:
            before = choice[level - 1]
            spent += walk.step_ps[level - 1, before, own]
        if walk.opens[level]:
            beat = max(beat, spent)
            spent = walk.refetch_ps[level]
        if walk.best_only:
            least = max(max(beat, spent + walk.tail_ps[level]), walk.later_ps[level])
            if least > longest:
                totals[TOTAL] += walk.below[level + 1]
                continue
        loads, more = walk.loads[level], walk.carried[level, before, own]
        if level < layers - 1:
            if walk.shared:
                most = _add_loads(loads, more, walk.loads[level + 1])
                walk.most[level + 1] = most
                if walk.best_only and carry_ps(walk.ps_per_byte, most) > longest:
                    totals[TOTAL] += walk.below[level + 1]
                    continue
            level += 1
            walk.spent_ps[level], walk.beat_ps[level], choice[level] = spent, beat, -1
            continue
        beat = max(beat, spent + walk.step_ps[level, own, ISP])
        if walk.shared:
            most = walk.most[level] + walk.carried_most[level, before, own]
            if carry_ps(walk.ps_per_byte, most) > beat:
                beat = max(beat, carry_ps(walk.ps_per_byte, _most_loaded(loads, more)))
        latency = walk.load_ps + steps * beat
        usual = _record(walk, tally, latency, usual)
        longest = longest_interesting(walk, tally, clusters)
    walk.at[LEVEL] = level


@compiled
def _count_until(costs: Costs, walk: PlacedWalk, tally: Tally, until: int) -> bool:
    """Go on until so many schedules are counted; False if there are no more."""
    while tally.totals[TOTAL] < until:
        if walk.at[LEVEL] < 0 and not next_layout(costs, walk, tally):
            return False
        _count_partitions(walk, tally, until)
    return True


def enumerate_placed(
    costs: Costs, walk: PlacedWalk, tally: Tally, number: int, monitor: Monitor, pause: int
) -> Iterator[None]:
    """Count every schedule, with a pause after so many or so; raises `SearchStopped`."""
    done, pause, more = 0, min(pause, PLACED_PAUSE), True
    while more and done < number:
        if monitor.stopping:
            raise SearchStopped
        more = _count_until(costs, walk, tally, done + pause)
        done = int(tally.totals[TOTAL])
        monitor.report(f"{done:,} of {number:,} schedules", done / number)
        yield


# --- Bounds and results --------------------------------------------------------------------------


def longest_placed(costs: Costs, walk: PlacedWalk) -> int:
    """A beat that no schedule exceeds: all layers one after the other, at their slowest, in ps.

    The busiest link of a segment has no more to do than the busiest links of all its transfers.
    """
    kernel, layers = costs.packed.places, len(walk.layout)
    sizes = np.arange(1, kernel.gather.shape[1])
    gather = float((kernel.gather[:, 1:] / sizes).max())
    exchange = float((kernel.exchange[:, 1:] / sizes**2).max())
    scatter = 1.0  # all from one chiplet to the next
    halo = kernel.halo[kernel.shape].max(axis=(1, 2)) if kernel.halo.size else np.zeros(layers)
    load = gather * float(kernel.weights.sum()) + max(gather, exchange) * float(
        kernel.edges[:, 2].sum()
    )
    load += 2 * float(halo.sum())
    load += float(scatter * costs.facts[:, TRAVEL].sum() + gather * costs.facts[:, WANTED].sum())
    entries = 4 * layers + 2 * len(kernel.edges)
    fixed = kernel.read_ps[0].sum() + kernel.write_ps[-1].sum()
    fixed += kernel.compute_ps.reshape(layers, -1).max(axis=1).sum()
    stream = int(costs.packed.stream_fs_per_byte.max()) * int(kernel.weights.sum()) // 1000
    stream += layers * (costs.packed.dram_latency_ps + 1)
    return max(walk.dram_ps, int(fixed) + int(load * kernel.ps_per_byte) + entries + stream + 1)


def best_clusters(walk: PlacedWalk, tally: Tally) -> list[tuple[int, int, list[int]]]:
    """Layers, chiplets and partitions of each cluster of the best schedule so far."""
    clusters = []
    for first, last, size, _, _ in walk.best_layout[: tally.totals[CLUSTERS]].tolist():
        clusters.append((last - first + 1, size, walk.best_choice[first : last + 1].tolist()))
    return clusters
