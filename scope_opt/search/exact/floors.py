"""Lower bounds on all segments at once, before any of them is searched.

For a time ``T`` every cluster needs some fewest chiplets, whatever follows it, and chiplets add up.
A recursion over layers alone says for all segments and numbers of clusters whether the package can
be large enough. It leaves out how regions couple, so what it refutes is refuted. (Section 6 of
docs/exact.md.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.model.compiled import loop, released
from scope_opt.model.tables import LIMIT
from scope_opt.search.equal import kinds
from scope_opt.search.exact.inner import fill_inner_times
from scope_opt.search.packed import NEVER, SKIP, WRITE
from scope_opt.search.stopping import SearchStopped
from scope_opt.search.times import (
    closing_times,
    compute_times,
    ending_times,
    opening_times,
    receive_times,
)
from scope_opt.search.workers import ONE_WORKER

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scope_opt.search.allowed import Allowed
    from scope_opt.search.exact.inner import InnerTimes
    from scope_opt.search.packed import Ints, PackedTables
    from scope_opt.search.workers import Workers

    Flags = NDArray[np.bool_]
    Shorts = NDArray[np.int16]

AT_ONCE = 300_000_000
"""So many steps, about a third of a second, pass without a look at the clock."""
NONE = 15000
"""Stands for "not with the chiplets there are"; twice that is an int16 still."""
BETWEEN, OPENING, CLOSING, ALONE = 0, 2, 4, 5
"""Where a cluster stands in its segment: ``OPENING`` as the first, ``CLOSING`` as the last one. To
the first two, which another cluster follows, the partition is added with which that one begins."""


class Relaxed(NamedTuple):
    """Least times of clusters whatever regions follow them, and the regions that these ask for."""

    start: Ints
    """(L, C+1), as in `InnerTimes`"""
    length: Ints
    """(L, C+1), as in `InnerTimes`"""
    inner: Ints
    """(entries, 4), as in `InnerTimes`"""
    compute: Ints
    """(L, C+1, 2) of the last layer"""
    between: Ints
    """(L, C+1) what it sends at least if another cluster follows, receiving left out"""
    closing: Ints
    """(L, C+1) what it writes as the segment's last one"""
    received: Ints
    """(L, 2, C+2) least time to receive into partition ``q`` on at least so many chiplets"""
    opening: Ints
    """(L, W) reads of layers ``i..i+x`` in a segment from ``i`` on"""
    need: Shorts
    """(L, W, 2, 6) fewest chiplets within the time asked for last, by first partition, and
    ``BETWEEN`` and so on"""
    least: Shorts
    """(L+1, 2) of them, for any cluster that begins with layer ``i`` in partition ``p``"""
    reach: Ints
    """(L,) how many layers a cluster from ``i`` on can have within the time asked for last"""
    twin: Ints
    """(L,) the next layer with the same rows in ``inner``, as another block has it; L if none"""
    ending: Ints
    """(L,) a number for what a cluster takes from its last layer"""


def relax(
    packed: PackedTables,
    allowed: Allowed,
    shared: InnerTimes,
    workers: Workers = ONE_WORKER,
) -> Relaxed:
    """Least times of the clusters of ``shared``, which are those that see no segment's end.

    A skip edge costs the less of what it takes to another cluster, and through DRAM. ``workers``
    are those of `fill_inner_times`.
    """
    layers, sizes = packed.times.shape[:2]
    edges = packed.edges.copy()
    edges[:, SKIP::2] = np.minimum(edges[:, SKIP::2], edges[:, WRITE, None])
    cheap = packed._replace(edges=edges)
    inner = shared.inner
    if (edges != packed.edges).any():
        inner = fill_inner_times(cheap, allowed, shared, workers)
    # With the network's end far away nothing is written: skip edges go to other clusters.
    between = closing_times(cheap, 0, layers - 1)
    closing = ending_times(packed)
    received = np.full((layers, 2, sizes + 1), NEVER, dtype=np.int64)
    backwards = np.minimum.accumulate(receive_times(packed)[:, :, ::-1], axis=2)
    received[:, :, 1:sizes] = backwards[:, :, ::-1]
    longest = max(1, int(shared.length.max()))
    opening = np.zeros((layers, longest), dtype=np.int64)
    for i in range(layers):
        reads = opening_times(packed, i)[i + 1 : i + 1 + longest]
        opening[i, : len(reads)] = reads
    compute = compute_times(packed)
    ending = kinds(
        tuple(values[i].tobytes() for values in (compute, between, closing, received))
        for i in range(layers)
    )
    return Relaxed(
        shared.start,
        shared.length,
        inner,
        compute,
        between,
        closing,
        received,
        opening,
        np.empty((layers, longest, 2, 6), dtype=np.int16),
        np.empty((layers + 1, 2), dtype=np.int16),
        np.empty(layers, dtype=np.int64),
        _twins(shared),
        ending,
    )


def _twins(shared: InnerTimes) -> Ints:
    """`Relaxed.twin`."""
    layers = len(shared.length)
    twin: Ints = np.full(layers, layers, dtype=np.int64)
    later: dict[int, int] = {}
    for i in range(layers - 1, -1, -1):
        row = int(shared.alike[i])
        other = later.get(row, layers)
        # The other's clusters may be fewer where the network ends.
        there = np.minimum(shared.length[i], layers - other)
        if other < layers and np.array_equal(there, shared.length[other]):
            twin[i] = other
        later[row] = i
    return twin


@loop
def _time(relaxed: Relaxed, i: int, x: int, r: int, p: int, sent: int) -> int:
    """Least time of the cluster ``i..i+x`` on ``r`` chiplets that begins with partition ``p``.

    ``sent`` is what its last layer's communication takes.
    """
    row, time = relaxed.start[i, r] + x, NEVER
    for q in range(2):
        spent = relaxed.inner[row, 2 * p + q]
        if spent < NEVER:
            time = min(time, spent + max(relaxed.compute[i + x, r, q], sent))
    return int(time)


@loop
def _fewest_chiplets(relaxed: Relaxed, i: int, x: int, p: int, kind: int, limit: int) -> int:
    """Of the cluster ``i..i+x`` as ``kind``, from those on that it needed at larger limits."""
    j, sizes, receiving = i + x, relaxed.length.shape[1], 0
    closes = kind >= CLOSING
    left = limit
    if kind == ALONE or OPENING <= kind < CLOSING:
        left -= relaxed.opening[i, x]
    if not closes:
        # The next cluster has at least so many as any that could be there, so receiving takes at
        # least what it takes into one of these regions.
        q = kind % 2
        if j + 1 >= len(relaxed.length) or relaxed.least[j + 1, q] >= sizes:
            return NONE
        receiving = relaxed.received[j, q, relaxed.least[j + 1, q]]
    for r in range(relaxed.need[i, x, p, kind], sizes):
        if x < relaxed.length[i, r]:
            sent = relaxed.closing[j, r] if closes else relaxed.between[j, r] + receiving
            if _time(relaxed, i, x, r, p, sent) <= left:
                return r
    return NONE


@loop
def _equals_twin(relaxed: Relaxed, i: int, x: int) -> bool:
    """Whether the cluster ``i..i+x`` needs what that of the twin of ``i`` does."""
    layers, twin = len(relaxed.length), relaxed.twin[i]
    end, other = i + x, twin + x
    return bool(
        other + 1 < layers
        and relaxed.ending[end] == relaxed.ending[other]
        and relaxed.opening[i, x] == relaxed.opening[twin, x]
        and relaxed.least[end + 1, 0] == relaxed.least[other + 1, 0]
        and relaxed.least[end + 1, 1] == relaxed.least[other + 1, 1]
    )


@released
def _ask(relaxed: Relaxed, limit: int, asked: Ints, low: int, high: int) -> None:
    """Fewest chiplets of clusters within ``limit``, which must be below the last one.

    Of those that begin with the layers ``low..high-1``, after those of later ones. ``asked`` are
    the lengths of ``reach`` before the first of them.
    """
    need, least, reach = relaxed.need, relaxed.least, relaxed.reach
    layers, sizes = relaxed.length.shape
    for i in range(high - 1, low - 1, -1):
        reached, twin = 0, relaxed.twin[i]
        for p in range(2):
            smallest = sizes
            for x in range(asked[i]):
                own = need[i, x, p]
                if twin < layers and x < asked[twin] and _equals_twin(relaxed, i, x):
                    own[:] = need[twin, x, p]
                else:
                    for kind in range(6):
                        own[kind] = _fewest_chiplets(relaxed, i, x, p, kind, limit)
                for kind in range(6):
                    if own[kind] < sizes:
                        reached = max(reached, x + 1)
                for kind in (BETWEEN, BETWEEN + 1, CLOSING):
                    smallest = min(smallest, own[kind])
            least[i, p] = smallest
        reach[i] = reached


@loop
def _put(own: Shorts, rest: Shorts, chiplets: int, most: int) -> None:
    """Improve ``own`` by a cluster of so many chiplets before up to ``most - 1`` others.

    Entry 0 is the least over all numbers of clusters.
    """
    own[0] = min(own[0], np.int16(rest[0] + chiplets))
    for k in range(1, most):
        total = np.int16(rest[k] + chiplets)
        own[k + 1] = min(own[k + 1], total)


@loop
def _put_last(own: Shorts, chiplets: int) -> None:
    """Improve ``own`` by a segment's last cluster of so many chiplets."""
    own[0] = min(own[0], chiplets)
    own[1] = min(own[1], chiplets)


@released
def _cover(
    relaxed: Relaxed,
    wanted: Flags,
    fewest: int,
    most: int,
    part: int,
    parts: int,
    clusters: NDArray[np.int32],
) -> None:
    """Fewest clusters, from ``fewest`` to ``most``, of each segment that is wanted, after `_ask`.

    ``most + 1`` stands for more clusters than that, ``NONE`` for no number at all. Of the last
    layers every one of so many ``parts`` has its own, and those of the others are left as they are.
    """
    need, layers = relaxed.need, len(relaxed.need)
    # Fewest chiplets of the layers from each on, by the partition they begin with and the number of
    # clusters; of a segment's first.
    room = np.empty((layers + 1, 2, most + 1), dtype=np.int16)
    opening = np.empty(most + 1, dtype=np.int16)
    chiplets = relaxed.length.shape[1] - 1
    for last in range(part, layers, parts):
        bottom = last + 1
        for first in range(last, -1, -1):
            if wanted[first, last]:
                bottom = first
        for i in range(last, bottom - 1, -1):
            room[i] = NONE
            opening[:] = NONE
            asked = wanted[i, last]
            top = min(most, last - i + 1)
            for x in range(min(relaxed.reach[i], last - i + 1)):
                j = i + x
                for p in range(2):
                    own = need[i, x, p]
                    if j == last:
                        _put_last(room[i, p], own[CLOSING])
                        _put_last(opening, own[ALONE])
                        continue
                    for q in range(2):
                        rest = room[j + 1, q]
                        if own[BETWEEN + q] + rest[0] <= chiplets:
                            _put(room[i, p], rest, own[BETWEEN + q], top)
                        if asked and own[OPENING + q] + rest[0] <= chiplets:
                            _put(opening, rest, own[OPENING + q], top)
            if asked and opening[0] <= chiplets:
                clusters[i, last] = most + 1
                for k in range(fewest, top + 1):
                    if opening[k] <= chiplets:
                        clusters[i, last] = k
                        break


class Floors:
    """Lower bounds on segments, sharpened where it matters.

    Parameters
    ----------
    relaxed : Relaxed
    samples : int
    clusters : tuple of int
        Fewest and most clusters per segment.
    load_ps, beat_ps : int64 array, shape ``(L, L)``
        Of every segment: weight loading, and a lower bound on the beat.
    alone_ps : int64 array, shape ``(L,)``
        Latency of each layer by itself on the whole package, whose weights may be of any size.
    workers : Workers, optional
    """

    def __init__(
        self,
        relaxed: Relaxed,
        samples: int,
        clusters: tuple[int, int],
        load_ps: Ints,
        beat_ps: Ints,
        alone_ps: Ints,
        workers: Workers = ONE_WORKER,
    ) -> None:
        self._relaxed, self._samples, self._workers = relaxed, samples, workers
        self._fewest, self._most = clusters
        self._load, self._alone = load_ps, alone_ps
        self.beat_ps = beat_ps.copy()
        """Lower bounds on the beats of all segments but one layer on the whole package"""

    def sharpen(self, lower: Ints, budgets: Ints, limit: int, step: float) -> None:
        """Raise the bounds of all segments below their budgets, at most to these.

        Times are tried from the largest one downwards, at most ``limit``, by factors of
        ``1 + step``. Between two of them the fewest clusters are those at the upper one and the
        beat is the lower one.

        Raises
        ------
        SearchStopped
            If the workers are stopping; the bounds are as before then.
        """
        samples, load, least = self._samples, self._load, self.beat_ps
        below_budget = lower < budgets
        found = np.where(below_budget, budgets, LIMIT)
        top = np.minimum((budgets - 1 - load) // (samples + self._fewest - 1), limit)
        left = below_budget & (top >= least)
        self._relaxed.need[:] = 1
        self._relaxed.least[:] = 1
        self._relaxed.reach[:] = self._relaxed.length.max(axis=1)
        beat = int(top[left].max(initial=0))
        while left.any():
            if self._workers.stopping():
                raise SearchStopped
            below = min(beat - 1, int(beat / (1 + step)))
            wanted = left & (top > below) & (least <= beat)
            beats = np.maximum(below + 1, least)
            useful = (found - 1 - load) // np.maximum(beats, 1) - samples + 1
            most = min(self._most, int(useful[wanted].max(initial=0)))
            if most >= self._fewest:
                clusters = self._covered(beat, wanted, most)
                latency = load + (samples + clusters - 1) * beats
                found = np.where(wanted & (clusters <= most), np.minimum(found, latency), found)
                impossible = wanted & (clusters == NONE)
                least[impossible] = beat + 1
            left &= least <= below
            beat = min(below, int(top[left].max(initial=0)))
        layers = np.arange(len(lower))
        found[layers, layers] = np.minimum(found[layers, layers], self._alone)
        np.maximum(lower, np.where(below_budget, found, lower), out=lower)

    def _covered(self, limit: int, wanted: Flags, most: int) -> NDArray[np.int32]:
        """`_cover` of all segments, within a limit."""
        relaxed, (layers, sizes) = self._relaxed, self._relaxed.length.shape
        asked = relaxed.reach.copy()
        each = relaxed.need[0, 0].size * sizes
        step = max(1, AT_ONCE // (each * max(1, int(asked.max()))))
        for high in range(layers, 0, -step):
            if self._workers.stopping():
                raise SearchStopped
            _ask(relaxed, limit, asked, max(0, high - step), high)
        clusters = np.full(wanted.shape, NONE, dtype=np.int32)
        lasts = int(wanted.any(axis=0).sum())
        work = lasts * layers * int(relaxed.reach.max()) * most
        parts = max(self._workers.threads, min(layers, work // AT_ONCE))

        def cover(part: int) -> None:
            if self._workers.stopping():
                raise SearchStopped
            _cover(relaxed, wanted, self._fewest, most, part, parts, clusters)

        self._workers.each(cover, parts)
        return clusters
