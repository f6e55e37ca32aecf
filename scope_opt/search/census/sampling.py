"""Schedules of one segment drawn uniformly, and how many of them beat a given latency.

The space is that of the paper's Eq. 8 and 9: clusters, regions that use every chiplet, and
partitions, valid or not (`schedule.count`). Its schedules are numbered. A number's low bits are
the partitions. The rest numbers the ways to mark ``L - 1`` of the ``L - 1`` gaps between layers and
the ``C - 1`` gaps between chiplets, which are ``L + C - 2`` choose ``L - 1``: a marked gap between
layers is none between clusters, and a marked gap between chiplets is one between regions. With
``N - 1`` marked gaps between chiplets, ``L - N`` gaps between layers are marked and ``N - 1`` are
not, so there are ``N`` clusters and ``N`` regions. So a uniform integer gives a uniform schedule,
and independent integers give independent schedules.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import betaincinv

from scope_opt.model.compiled import compiled, loop
from scope_opt.schedule.count import space_size
from scope_opt.schedule.schedule import make_segment
from scope_opt.search.allowed import make_allowed
from scope_opt.search.census.distribution import refuse_other_constraints
from scope_opt.search.census.tuning import AT_ONCE
from scope_opt.search.census.validity import permitted
from scope_opt.search.packed import NEVER, pack_tables
from scope_opt.search.placed import cluster_ps, link_beat, segment_facts
from scope_opt.search.stopping import SearchStopped
from scope_opt.search.times import (
    cluster_time,
    free_bytes,
    segment_latency,
    stream_time,
    total_weights,
    whole_package,
)
from scope_opt.solving.monitor import Monitor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.schedule.schedule import Segment
    from scope_opt.search.allowed import Allowed
    from scope_opt.search.packed import Bytes, Ints, PackedTables

DIGIT_BITS = 32
"""Numbers of schedules have hundreds of bits; compiled code gets them as digits of so many bits, in
int64, where differences of digits do not overflow."""
DIGIT = 2**DIGIT_BITS


# --- From numbers to schedules -------------------------------------------------------------------


def _digits(numbers: Sequence[int], width: int) -> Ints:
    """(n, width) digits of each number, least significant first."""
    size = width * DIGIT_BITS // 8
    data = b"".join([number.to_bytes(size, "little") for number in numbers])
    return np.frombuffer(data, dtype="<u4").astype(np.int64).reshape(len(numbers), width)


def _width(size: int) -> int:
    """Digits of numbers below ``size``."""
    return max(1, -(-size.bit_length() // DIGIT_BITS))


def _path_counts(layers: int, chiplets: int) -> Ints:
    """(L, C, width) digits of ``a + b`` choose ``a``: ways to mark ``a`` of ``a + b`` gaps."""
    counts = [1] * chiplets
    rows = [counts]
    for _ in range(layers - 1):
        counts = [1, *counts[1:]]
        for b in range(1, chiplets):
            counts[b] += counts[b - 1]
        rows.append(counts)
    width = _width(space_size(layers, chiplets) >> layers)
    flat = [count for row in rows for count in row]
    return _digits(flat, width).reshape(layers, chiplets, width)


@compiled
def _unrank(number: Ints, paths: Ints, start: Ints, region: Ints, partition: Bytes) -> int:
    """Fill in the schedule with this number (digits); returns how many clusters it has.

    Cluster ``k`` has the layers from ``start[k]`` to below ``start[k + 1]``.
    """
    layers, chiplets, width = paths.shape
    for layer in range(layers):
        partition[layer] = (number[layer // DIGIT_BITS] >> (layer % DIGIT_BITS)) & 1
    rest = np.zeros(width, dtype=np.int64)
    skipped, shift = layers // DIGIT_BITS, layers % DIGIT_BITS
    for k in range(width):
        if k + skipped < len(number):
            rest[k] = number[k + skipped] >> shift
        if k + skipped + 1 < len(number):
            rest[k] |= (number[k + skipped + 1] << (DIGIT_BITS - shift)) & (DIGIT - 1)
    # Gap by gap: with ``marks`` marks and ``blanks`` others left, the schedules that mark the next
    # gap come first.
    marks, blanks = layers - 1, chiplets - 1
    clusters = regions = 1
    start[0] = region[0] = 0
    size = 1
    for gap in range(layers + chiplets - 2):
        marked = marks > 0 and _take(rest, paths[marks - 1, blanks])
        if marked:
            marks -= 1
        else:
            blanks -= 1
        if gap < layers - 1:
            if not marked:
                start[clusters] = gap + 1
                clusters += 1
        elif marked:
            region[regions - 1] = size
            regions += 1
            size = 1
        else:
            size += 1
    start[clusters] = layers
    region[regions - 1] = size
    return clusters


@compiled
def _take(rest: Ints, count: Ints) -> bool:
    """Whether ``rest`` is below ``count``; otherwise ``count`` is subtracted from it."""
    for k in range(len(rest) - 1, -1, -1):
        if rest[k] < count[k]:
            return True
        if rest[k] > count[k]:
            break
    borrow = 0
    for k in range(len(rest)):
        left = rest[k] - count[k] - borrow
        borrow = 1 if left < 0 else 0
        rest[k] = left + borrow * DIGIT
    return False


def schedule_at(number: int, layers: int, chiplets: int) -> Segment:
    """The one-segment schedule with a number from 0 to below `space_size`.

    Raises
    ------
    ValueError
        If there is no such number.
    """
    size = space_size(layers, chiplets)
    if not 0 <= number < size:
        raise ValueError(f"number {number}; allowed 0 to below {size}")
    start, region = np.zeros(layers + 1, np.int64), np.zeros(layers, np.int64)
    partition = np.zeros(layers, np.int8)
    digits = _digits([number], _width(size))[0]
    clusters = _unrank(digits, _path_counts(layers, chiplets), start, region, partition)
    ends = start[: clusters + 1].tolist()
    return make_segment(
        0,
        [
            (ends[k + 1] - ends[k], int(region[k]), partition[ends[k] : ends[k + 1]].tolist())
            for k in range(clusters)
        ],
    )


# --- Evaluation ----------------------------------------------------------------------------------


@loop
def _slowest_ps(
    packed: PackedTables,
    allowed: Allowed,
    facts: Ints,
    clusters: int,
    start: Ints,
    region: Ints,
    partition: Bytes,
) -> int:
    """Time of a one-segment schedule's slowest cluster in ps; `NEVER` if it breaks a rule."""
    layers = len(partition)
    slowest = position = 0
    for k in range(clusters):
        first, last, r = start[k], start[k + 1] - 1, region[k]
        if not allowed.clusters[first, last] or not allowed.regions[first, r]:
            return NEVER
        weights = total_weights(packed.layers, first, last)
        tiled = whole_package(packed.times, 0, layers - 1, r)
        room = free_bytes(packed.weight_buffer_bytes, r, weights, packed.stream or tiled)
        if room < 0:
            return NEVER
        for layer in range(first, last + 1):
            own = partition[layer]
            if not permitted(packed, allowed, facts, first, layer, own, r, room):
                return NEVER
        following = region[k + 1] if k + 1 < clusters else 0
        if packed.places.placed:
            time = 0 if tiled else stream_time(packed, first, last, weights, r)
            time += cluster_ps(
                packed.places,
                facts,
                0,
                layers - 1,
                first,
                last,
                position,
                r,
                following,
                partition,
            )
        else:
            time = cluster_time(
                packed, 0, layers - 1, first, last, weights, r, following, partition
            )
        slowest = max(slowest, time)
        position += r
    return int(slowest)


@compiled
def one_segment_ps(
    packed: PackedTables,
    allowed: Allowed,
    facts: Ints,
    fixed: tuple[int, int],
    clusters: int,
    start: Ints,
    region: Ints,
    partition: Bytes,
) -> int:
    """Latency of a one-segment schedule in ps; `NEVER` if it breaks a rule.

    ``facts`` are the segment's `segment_facts`; ``fixed`` are the time to load weights and the
    least beat of the segment's DRAM traffic.
    """
    slowest = _slowest_ps(packed, allowed, facts, clusters, start, region, partition)
    if slowest == NEVER:
        return NEVER
    if packed.places.shared:
        starts, sizes = start[: clusters + 1], region[:clusters]
        busiest = link_beat(packed.places, facts, 0, len(partition) - 1, starts, sizes, partition)
        slowest = max(slowest, busiest)
    return int(segment_latency(fixed[0], fixed[1], packed.samples, clusters, slowest))


@compiled
def _latencies(
    packed: PackedTables,
    allowed: Allowed,
    facts: Ints,
    counts: tuple[int, int],
    fixed: tuple[int, int],
    paths: Ints,
    numbers: Ints,
) -> Ints:
    """(n,) latency in ps of the schedules with these numbers; `NEVER` for those not valid.

    ``counts`` are the fewest and most clusters allowed; ``facts`` and ``fixed`` as for
    `one_segment_ps`.
    """
    layers = paths.shape[0]
    start, region = np.zeros(layers + 1, np.int64), np.zeros(layers, np.int64)
    partition = np.zeros(layers, np.int8)
    found = np.full(len(numbers), NEVER, dtype=np.int64)
    for index in range(len(numbers)):
        clusters = _unrank(numbers[index], paths, start, region, partition)
        if counts[0] <= clusters <= counts[1]:
            found[index] = one_segment_ps(
                packed, allowed, facts, fixed, clusters, start, region, partition
            )
    return found


class Sampler:
    """Latencies of the numbered one-segment schedules of an instance.

    Raises
    ------
    InputError
        For a side constraint that is not about the shape of a single segment.
    """

    def __init__(self, instance: Instance, tables: LatencyTables) -> None:
        refuse_other_constraints(instance)
        limits, layers, chiplets = instance.constraints, tables.layers, tables.chiplets
        self.size = space_size(layers, chiplets)
        self._packed = pack_tables(tables)
        self._allowed = make_allowed(limits, layers, chiplets)
        self._facts = segment_facts(self._packed.places, 0, layers - 1)
        self._counts = limits.min_clusters or 1, limits.max_clusters or layers
        self._fixed = int(tables.load_ps[0, -1]), int(tables.segment_dram_ps[0, -1])
        self._paths = _path_counts(layers, chiplets)
        self._width = _width(self.size)

    def latencies(self, numbers: Sequence[int]) -> Ints:
        """(n,) latency in ps of the schedules with these numbers; `NEVER` for those not valid."""
        digits = _digits(numbers, self._width)
        found: Ints = _latencies(
            self._packed,
            self._allowed,
            self._facts,
            self._counts,
            self._fixed,
            self._paths,
            digits,
        )
        return found


# --- Sampling ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sample:
    """What independent uniform draws, with replacement, say about a latency."""

    drawn: int
    valid: int
    """Of those drawn, the ones that break no rule."""
    better: int
    """Of those, the ones that take less time."""
    equal: int
    """Of those, the ones that take exactly as long."""


def sample(
    instance: Instance,
    tables: LatencyTables,
    latency_ps: int,
    draws: int,
    seed: int = 0,
    monitor: Monitor | None = None,
    at_once: int = AT_ONCE,
) -> Sample:
    """Draw one-segment schedules and compare them with a latency.

    If the monitor asks to stop, which is looked at after every ``at_once`` draws, there are fewer
    than wanted; as that does not depend on what was drawn, they are as good as any.

    Raises
    ------
    InputError
        For a side constraint that is not about the shape of a single segment.
    SearchStopped
        If the monitor asks to stop before the first draw.
    """
    sampler, source = Sampler(instance, tables), random.Random(seed)

    def draw(number: int) -> Ints:
        return sampler.latencies([source.randrange(sampler.size) for _ in range(number)])

    return tally(draw, latency_ps, draws, monitor, at_once)


def tally(
    draw: Callable[[int], Ints],
    latency_ps: int,
    draws: int,
    monitor: Monitor | None,
    at_once: int = AT_ONCE,
) -> Sample:
    """Compare drawn latencies, `NEVER` for schedules that are not valid, with a given one.

    Parameters
    ----------
    draw : callable
        Gives so many more latencies.
    latency_ps, draws, monitor, at_once
        As for `sample`.
    """
    monitor = monitor or Monitor()
    drawn = valid = better = equal = 0
    while drawn < draws and not monitor.stopping:
        found = draw(min(at_once, draws - drawn))
        drawn += len(found)
        valid += int(np.count_nonzero(found < NEVER))
        better += int(np.count_nonzero(found < latency_ps))
        equal += int(np.count_nonzero(found == latency_ps))
        monitor.report(f"{drawn:,} of {draws:,} schedules drawn", drawn / draws)
    if not drawn:
        raise SearchStopped
    return Sample(drawn, valid, better, equal)


def share_at_most(hits: int, draws: int, confidence: float) -> float | None:
    """Upper confidence bound on a share of which ``hits`` of ``draws`` independent draws were seen.

    Exact (Clopper and Pearson, Biometrika 26, 1934), one-sided: whatever the share is, the bound is
    below it with a probability of at most ``1 - confidence``. None without draws.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence}; allowed between 0 and 1")
    if draws == 0:
        return None
    return 1.0 if hits == draws else float(betaincinv(hits + 1, draws - hits, confidence))
