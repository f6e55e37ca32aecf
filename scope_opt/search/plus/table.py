"""The cluster table of one segment: clusters with the fewest chiplets, neighbours looked at.

Within a beat, the label of ``(i, p, k)`` is the fewest chiplets of ``k`` clusters for the layers
from ``i`` on, the first of them with partition ``p``. Regions are laid from the end of the package
backwards. So a label says how large the region behind a cluster is and where the cluster ends:
what it takes to hand over, and in the placed model what all its transfers take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.model.compiled import compiled, inlined, loop
from scope_opt.model.tables import LIMIT
from scope_opt.search.packed import RECEIVE, WEIGHTS
from scope_opt.search.placed import TRAVEL, WANTED, hand_over_ps
from scope_opt.search.plus.estimates import longest_beat
from scope_opt.search.plus.inner import (
    BEGIN,
    LEAST,
    MADE,
    OWN,
    SHARED,
    UPTO,
    computation,
    make_row,
    make_times,
    times_within,
    with_room,
)
from scope_opt.search.plus.sizes import TOO_MANY
from scope_opt.search.times import chiplets_for, fastest_layers, segment_latency

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scope_opt.search.allowed import Allowed
    from scope_opt.search.packed import Ints, PackedTables
    from scope_opt.search.plus.inner import ClusterTimes

    Shorts = NDArray[np.int16]
    Ends = tuple[int, int]

STEP, JUMP = 1.02, 1.08
"""Ratio of neighbouring beats of a table, and of those that are tried to find the first of them."""
MOST_JUMPS = 60
STRIDE = 8
"""Most beats of a table that are passed over at once."""
SLACK = 1.02
"""Rows are made up to so many times the time of the best one."""


class Row(NamedTuple):
    """A row of the cluster table."""

    cost: int
    """ps, if every cluster takes the whole beat"""
    starts: Ints
    """(clusters + 1,) first layers, then the layer behind the segment"""
    needed: Ints
    """(clusters,) chiplets"""


class Labels(NamedTuple):
    """Labels of one beat, each of shape ``(layers + 1, 2, clusters + 1)``, and room for needs."""

    fewest: Shorts
    """chiplets of all clusters, `TOO_MANY` for none; instead of those of 0 clusters, the least
    number of clusters that has a label"""
    size: Shorts
    """chiplets of the first one"""
    origin: NDArray[np.int32]
    """``2 j + q``: its last layer, and the first partition of the next cluster"""
    need: Shorts
    """(C+1, C+1) chiplets of a cluster by chiplets behind it and size of the next region"""
    stamp: Ints
    """(C+1, C+1) when that was found"""
    floor: Shorts
    """(2, phases) by first partition and phase of the last position: smaller clusters from the
    layer at hand on, however long, take more than the beat"""


class ClusterTable:
    """The cluster table of a segment of two layers or more.

    Parameters
    ----------
    packed, allowed
    times : ClusterTimes
        Of clusters of other segments; `times` when rows are made.
    ends : tuple
        First and last layer.
    beat : int
        ps, about where the first useful beat is.
    jumps : int
        So many of `JUMP` from there the search for it begins.
    unit : int
        Regions are multiples of it.
    """

    def __init__(
        self,
        packed: PackedTables,
        allowed: Allowed,
        times: ClusterTimes,
        ends: Ends,
        beat: int,
        jumps: int,
        unit: int,
    ) -> None:
        first, last = ends
        self._packed, self._allowed, self._ends, self._unit = packed, allowed, ends, unit
        self.times = times_within(packed, times, first, last)
        """What is known of clusters"""
        self.jumps = jumps
        """After `rows`, where the first useful beat was"""
        layers, chiplets = last - first + 1, packed.times.shape[1] - 1
        self._fastest = fastest_layers(packed._replace(times=packed.times[first : last + 1]))
        own = np.diff(self._fastest, axis=0)[:, 1:] * np.arange(1, chiplets + 1)
        # What earlier layers of the segment need at least: by computation, and by weights.
        self._work = np.concatenate([[0], own.min(axis=1).cumsum()])
        weights = np.concatenate([[0], packed.layers[first : last + 1, WEIGHTS].cumsum()])
        self._held = weights * 0 if packed.stream else weights // packed.weight_buffer_bytes
        self._load, self._dram = int(packed.load_ps[ends]), int(packed.segment_dram_ps[ends])
        self._beat = max(beat, self._dram, int(self._work[-1]) // chiplets, 1)
        most = min(layers, chiplets)
        shape = (layers + 1, 2, most + 1)
        phases = int(packed.places.phase.max()) + 1 if packed.places.placed else 1
        side = (chiplets + 1 if packed.places.placed else 1, chiplets + 1)
        self._labels = Labels(
            np.empty(shape, dtype=np.int16),
            np.empty(shape, dtype=np.int16),
            np.empty(shape, dtype=np.int32),
            np.empty(side, dtype=np.int16),
            np.zeros(side, dtype=np.int64),
            np.empty((2, phases), dtype=np.int16),
        )
        self._most = most
        self._known: dict[int, tuple[int, Row | None]] = {}
        """By beat, most clusters that were asked for and the row of the fewest"""

    def rows(self, least: int, most: int) -> list[Row]:
        """Rows of ``least`` to ``most`` clusters, the best first."""
        most = min(most, self._most)
        samples, best = self._packed.samples, 0
        rows: list[Row] = []
        beat, stride, longest = self._before_first(least, most), 1, LIMIT
        while beat is not None and beat <= longest:
            allowed = most
            if rows:
                spent = max(beat, self._dram)
                allowed = min(most, int((best - self._load) * SLACK) // spent - samples + 1)
            if allowed < least:
                break
            # Where so few clusters do not do within a longer beat, they do not within any before.
            ahead = beat
            for _ in range(stride - 1):
                ahead = min(_longer(ahead, STEP), longest)
            row = self._row(ahead, least, allowed)
            if row is None:
                beat, stride = _longer(ahead, STEP), min(2 * stride, STRIDE)
            elif stride > 1:
                stride //= 2
            else:
                if not rows:
                    best, longest = row.cost, longest_beat(samples, len(row.needed), beat)
                best = min(best, row.cost)
                rows.append(row)
                beat = _longer(beat, STEP)
        return sorted(rows, key=lambda row: row.cost)

    def _before_first(self, least: int, most: int) -> int | None:
        """A beat just below the first that has a row; None if none is found."""

        def fits(jumps: int) -> bool:
            return self._row(self._after(jumps), least, most) is not None

        jumps = self.jumps
        if fits(jumps):
            while self._after(jumps) > max(self._dram, 1) and fits(jumps - 1):
                jumps -= 1
        else:
            step = 1
            while not fits(min(jumps + step, MOST_JUMPS)):
                if jumps + step >= MOST_JUMPS:
                    return None
                jumps, step = jumps + step, 2 * step
            # None at `jumps`, but so many behind it.
            step = min(step, MOST_JUMPS - jumps)
            while step > 1:
                half = step // 2
                if fits(jumps + half):
                    step = half
                else:
                    jumps, step = jumps + half, step - half
            jumps += 1
        self.jumps = jumps
        return self._after(jumps - 1)

    def _after(self, jumps: int) -> int:
        """The beat so many jumps behind the one that the search was told to begin with."""
        return max(1, int(self._beat * JUMP**jumps))

    def _row(self, beat: int, least: int, most: int) -> Row | None:
        """The row with the fewest clusters within a beat; None if there is none up to ``most``."""
        asked, row = self._known.get(beat, (0, None))
        if row is None and asked < most:
            k = self._fill(beat, least, most)
            if k > 0:
                cost = segment_latency(self._load, self._dram, self._packed.samples, k, beat)
                row = Row(cost, *read_row(self._labels, k, self._ends[0]))
            self._known[beat] = most, row
        return row if row is not None and len(row.needed) <= most else None

    def _fill(self, beat: int, least: int, most: int) -> int:
        """Make the labels of a beat; the fewest clusters that the package has room for, or 0."""
        if beat > self.times.limit:
            times = make_times(self._packed, self._allowed, 2 * beat)
            self.times = times_within(self._packed, times, *self._ends)
        before = np.maximum(self._work // max(beat, 1), self._held)
        chiplets = self._packed.times.shape[1] - 1
        if before[-1] > chiplets:
            return 0
        while not fill_labels(
            self._packed,
            self._allowed,
            self.times,
            self._labels,
            self._fastest,
            before,
            beat,
            most,
            self._unit,
        ):
            self.times = with_room(self.times)
        fits = (self._labels.fewest[0, :, least : most + 1] <= chiplets).any(axis=0)
        return int(fits.argmax()) + least if fits.any() else 0


def _longer(beat: int, ratio: float) -> int:
    return max(beat + 1, int(beat * ratio))


@inlined
def _need(
    packed: PackedTables,
    allowed: Allowed,
    times: ClusterTimes,
    i: int,
    j: int,
    p: int,
    then: int,
    behind: int,
    following: int,
    low: int,
    high: int,
    beat: int,
    floor: Shorts,
    ending: int,
) -> int:
    """Fewest chiplets, from ``low`` to ``high``, of a cluster within a beat; -1 without room.

    ``ending`` is the phase of its last position, and ``low`` no less than the ``floor`` there,
    which is raised to what is found.
    """
    kernel, layer, last = packed.places, times.first + i, times.first + j
    whose, known = OWN, layer
    if last <= times.until[layer]:
        whose, known = SHARED, times.alike[layer]
    left = beat - (times.reads[last + 1] - times.reads[layer])
    begins = False
    for size in range(low, high + 1):
        if not allowed.regions[layer, size]:
            continue
        start, place, where = packed.times.shape[1] - 1 - behind - size, 0, 0
        if kernel.placed:
            place = start - kernel.phase[start] % times.grain
            where = kernel.phase[start] // times.grain
        row = times.rows[whose, known, size, where]
        if row[UPTO] < left and not make_row(
            packed, allowed, times, whose, known, place, size, beat
        ):
            return -1
        if j - i >= row[MADE]:
            continue
        inner = times.inner[whose, row[BEGIN] + j - i]
        if not begins:
            if inner[LEAST + p] > left:
                continue
            begins = True
            floor[p, ending] = size
        sent = -1
        for q in range(2):
            spent = inner[2 * p + q]
            if spent + computation(packed, last, q, size) > left:
                continue
            if sent < 0:
                if kernel.placed:
                    sent = kernel.write_ps[times.last, last]
                    if following > 0:
                        sent += hand_over_ps(
                            kernel,
                            times.facts[j, TRAVEL],
                            times.facts[j, WANTED],
                            then,
                            start,
                            size,
                            following,
                        )
                else:
                    sent = times.closing[last, size]
                    if following > 0:
                        sent += packed.times[last, following, RECEIVE + then]
            if spent + sent <= left:
                return size
    if not begins:
        floor[p, ending] = high + 1
    return TOO_MANY


@loop
def fill_labels(
    packed: PackedTables,
    allowed: Allowed,
    times: ClusterTimes,
    labels: Labels,
    fastest: Ints,
    before: Ints,
    beat: int,
    most: int,
    unit: int,
) -> bool:
    """Labels of a beat up to ``most`` clusters; False if ``times`` have too little room.

    ``fastest`` is cumulated computation, ``before`` the chiplets that the layers before each one
    need at least.
    """
    chiplets, layers = packed.times.shape[1] - 1, len(fastest) - 1
    placed, floor = packed.places.placed, labels.floor
    labels.fewest[:] = TOO_MANY
    labels.stamp[:] = 0
    ticks = 0
    for i in range(layers - 1, -1, -1):
        low, weights = 1, 0
        floor[:] = 1
        for j in range(i, layers):
            while low <= chiplets and fastest[j + 1, low] - fastest[i, low] > beat:
                low += 1
            weights += packed.layers[times.first + j, WEIGHTS]
            if not packed.stream:
                low = max(low, chiplets_for(weights, packed.weight_buffer_bytes))
            if low + before[i] > chiplets:
                break
            if not allowed.clusters[times.first + i, times.first + j]:
                continue
            ending = j == layers - 1
            for p in range(2):
                for then in range(1 if ending else 2):
                    ticks += 1
                    begin, stop = 0, 1
                    if not ending:
                        begin, stop = labels.fewest[j + 1, then, 0], min(most, layers - j)
                    for k in range(begin, stop):
                        behind, following = 0, 0
                        if not ending:
                            behind = labels.fewest[j + 1, then, k]
                            following = labels.size[j + 1, then, k]
                        left = chiplets - before[i] - behind
                        better = labels.fewest[i, p, k + 1] - behind - 1
                        if min(left, better) < low:
                            continue
                        phase = packed.places.phase[chiplets - behind - 1] if placed else 0
                        if min(left, better) < floor[p, phase]:
                            continue
                        key = behind if placed else 0
                        if labels.stamp[key, following] != ticks:
                            # Without places it serves whatever lies behind.
                            high = left if placed else chiplets - before[i]
                            high = min(high, 3 * low + max(12, unit))
                            # In the placed model few clusters share a key, and most of them are no
                            # better than what is known: larger sizes are not looked at then.
                            tried = min(high, better) if placed else high
                            need = _need(
                                packed,
                                allowed,
                                times,
                                i,
                                j,
                                p,
                                then,
                                behind,
                                following,
                                max(low, floor[p, phase]),
                                tried,
                                beat,
                                floor,
                                phase,
                            )
                            if need < 0:
                                return False
                            if need <= tried or tried == high:
                                labels.stamp[key, following] = ticks
                                labels.need[key, following] = need
                        else:
                            need = labels.need[key, following]
                        if need <= min(left, better):
                            labels.fewest[i, p, k + 1] = need + behind
                            labels.size[i, p, k + 1] = need
                            labels.origin[i, p, k + 1] = 2 * j + then
        for p in range(2):
            k = 1
            while k <= most and labels.fewest[i, p, k] == TOO_MANY:
                k += 1
            labels.fewest[i, p, 0] = k
    return True


@compiled
def read_row(labels: Labels, clusters: int, first: int) -> tuple[Ints, Ints]:
    """First layers of the clusters that a label stands for, then the layer behind; their needs."""
    starts = np.zeros(clusters + 1, dtype=np.int64)
    needed = np.zeros(clusters, dtype=np.int64)
    i, p = 0, 0
    if labels.fewest[0, 1, clusters] < labels.fewest[0, 0, clusters]:
        p = 1
    for c in range(clusters):
        starts[c], needed[c] = first + i, labels.size[i, p, clusters - c]
        way = labels.origin[i, p, clusters - c]
        i, p = way // 2 + 1, way % 2
    starts[clusters] = first + i
    return starts, needed
