"""The compiled walk of simulated annealing: memory of the best segments, acceptance, cooling."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scope_opt.model.compiled import compiled
from scope_opt.search.anneal.evaluation import (
    evaluate_segment,
    even_out,
    learn_ends,
    reshare,
    revalue_places,
    revalue_sizes,
    settle,
)
from scope_opt.search.anneal.moves import (
    SEGMENT_SHIFT,
    SEGMENT_SPLIT,
    change_inside,
    change_segments,
)
from scope_opt.search.anneal.state import (
    COLUMNS,
    EXCESS,
    LATENCY,
    MARK,
    SEGMENT,
    Memory,
    State,
    Walk,
    after_segment,
    head_of_cluster,
    head_of_segment,
    random_below,
    random_share,
)
from scope_opt.search.anneal.tuning import BURST, TRIALS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scope_opt.search.packed import Ints

    Floats = NDArray[np.float64]
    Words = NDArray[np.uint64]


# --- Memory --------------------------------------------------------------------------------------


@compiled
def note_segment(memory: Memory, layer: Ints, low: int, high: int) -> None:
    """Keep the schedule of a segment if it is valid and better than what is known."""
    latency = layer[low, LATENCY]
    if layer[low, EXCESS] > 0 or latency >= memory.latency[low, high - 1]:
        return
    start = memory.offset[low, high - 1]
    if start < 0:
        start = memory.used[0]
        if start + high - low > len(memory.rows):
            return
        memory.used[0] += high - low
        memory.offset[low, high - 1] = start
    memory.used[1] += 1
    memory.latency[low, high - 1] = latency
    rows = memory.rows
    for a in range(low, high):
        for column in range(3):
            rows[start + a - low, column] = layer[a, column]


@compiled
def recall(walk: Walk, low: int, high: int) -> None:
    """Bring back the best schedule of a segment; there must be one."""
    memory, layer = walk.memory, walk.state.layer
    start, rows = memory.offset[low, high - 1], memory.rows
    for a in range(low, high):
        for column in range(3):
            layer[a, column] = rows[start + a - low, column]
    layer[high, MARK] = SEGMENT  # up to there it is read
    evaluate_segment(walk, low, high)


# --- Annealing -----------------------------------------------------------------------------------


@compiled
def copy_rows(source: State, target: State, a: int, b: int) -> None:
    """Copy the layers ``a..b-1``."""
    for index in range(a, b):
        for column in range(COLUMNS):
            target.layer[index, column] = source.layer[index, column]
        target.partition[index] = source.partition[index]
        target.guide[index] = source.guide[index]
    for index in range(a, min(b, len(source.phase))):
        target.phase[index] = source.phase[index]


@compiled
def _accepts(worse: float, temperature: float, rng: Words) -> bool:
    """Metropolis."""
    return bool(worse <= 0 or worse < -temperature * np.log(max(1e-300, random_share(rng))))


@compiled
def _wander(walk: Walk, low: int, high: int, moves: int, temperature: float) -> None:
    """Anneal one segment for a few moves at one temperature."""
    packed, rules, state, saved = walk.packed, walk.rules, walk.state, walk.saved
    memory, frequency, changed = walk.memory, walk.frequency, walk.changed
    rng, stats, facts, shared = walk.rng, walk.stats, walk.facts, walk.shared_links
    layer = state.layer
    worse, sizes_only = 0.0, len(facts) == 0
    if not sizes_only:
        learn_ends(walk, low, high)
    for _ in range(moves):
        draw = random_share(rng)
        kind = 0
        while draw >= frequency[kind]:
            kind += 1
        copy_rows(state, saved, low, high)
        stats[kind, 0] += 1
        fine = change_inside(rules, layer, state.partition, low, high, kind, changed, rng)
        if fine:
            if sizes_only:  # not `revalue`, which in here would count references every time
                revalue_sizes(packed, rules, state, low, high, changed)
            else:
                revalue_places(packed, rules, facts, state, low, high, changed)
            now, before = layer[low, EXCESS], saved.layer[low, EXCESS]
            if now != before:
                # Only towards valid schedules; on the way there seldom a step back.
                fine = now < before or (before > 0 and random_share(rng) < 0.02)
            elif now == 0:
                worse = state.guide[low] - saved.guide[low]
                fine = _accepts(worse, temperature, rng)
            if fine and shared:
                settle(walk, low, high)
                if now == 0 and before == 0:
                    # Twice accepted is as likely as the product, which is what Metropolis asks.
                    further = state.guide[low] - saved.guide[low] - max(0.0, worse)
                    fine = _accepts(further, temperature, rng)
        if fine:
            stats[kind, 1] += 1
            note_segment(memory, layer, low, high)
        else:
            copy_rows(saved, state, low, high)


@compiled
def anneal(walk: Walk, moves: int, hot: float, cool: float) -> int:
    """Try a number of moves on the schedule of a walk.

    A change of segments is given some moves inside the new ones before it is judged, by the best
    that is known of them.

    Parameters
    ----------
    hot : float
        Temperature in ps before the first move; every move multiplies it by ``cool``.

    Returns
    -------
    int
        How many moves were tried, a few more than asked for.
    """
    rules, state, spare, memory = walk.rules, walk.state, walk.spare, walk.memory
    share, frequency, rng, stats = walk.share, walk.frequency, walk.rng, walk.stats
    layer = state.layer
    layers = len(layer) - 1
    temperature, done = hot, 0
    while done < moves:
        at = random_below(rng, layers)
        first = head_of_segment(layer, at)
        after = after_segment(layer, at)
        if random_share(rng) >= rules.segment_moves:
            tries = min(BURST, moves - done)
            _wander(walk, first, after, tries, temperature)
            done += tries
            temperature *= cool**tries
            continue
        draw = random_share(rng)
        kind = SEGMENT_SHIFT
        while draw >= frequency[kind]:
            kind += 1
        done += 1
        stats[kind, 0] += 1
        if kind == SEGMENT_SPLIT:
            middle = head_of_cluster(layer, at) if random_below(rng, 3) > 0 else at
            if middle == first:
                continue
        else:
            middle = after
            if middle == layers:
                continue
            after = after_segment(layer, middle)
        copy_rows(state, spare, first, after)
        excess = before = 0
        for a in range(first, after):
            if layer[a, MARK] == SEGMENT:
                excess += layer[a, EXCESS]
                before += memory.latency[a, after_segment(layer, a) - 1]
        cut = change_segments(rules, layer, share, first, middle, after, kind, rng)
        fine = cut >= 0
        now = left = 0
        a = first
        while fine and a < after:
            end = cut if a < cut else after
            known = memory.offset[a, end - 1] >= 0
            if known and random_below(rng, 4) > 0:
                recall(walk, a, end)
            else:
                fine = reshare(walk, a, end)
                if fine:
                    even_out(walk, a, end)
                    fine = excess > 0 or layer[a, EXCESS] == 0
            if fine:
                note_segment(memory, layer, a, end)
                tries = (end - a) * TRIALS
                _wander(walk, a, end, tries, temperature)
                done += tries
                temperature *= cool**tries
                left += layer[a, EXCESS]
                now += memory.latency[a, end - 1]
            a = end
        if fine:
            if left != excess:
                fine = left < excess
            elif left == 0:
                fine = _accepts(float(now - before), temperature, rng)
        if fine:
            stats[kind, 1] += 1
        else:
            copy_rows(spare, state, first, after)
    return done
