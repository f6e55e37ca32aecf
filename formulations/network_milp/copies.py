"""Copies of the line of layers, one for every range of beats, and the clusters each one needs.

A segment of several clusters lives in the copy whose range has its beat. There a cluster may take
as long as the longest beat of the range and is charged the shortest, so that the product of beats
and numbers of clusters is a sum. Where the range is a single beat, nothing is lost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from scope_opt.model.tables import LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from formulations.network_milp.candidates import Candidates

    Ints = NDArray[np.int64]
    Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Beats:
    """A range of beats, and what segments with such a beat may still consist of."""

    low_ps: int
    high_ps: int
    segments: Flags
    """(L, L)"""
    largest: Ints
    """By kind of cluster: the largest region."""
    fits: bool = False
    """Whether each segment is known to fit on the chiplets as long as ``high_ps`` is allowed."""

    def split(self, beats_ps: Iterable[int]) -> list[Beats]:
        """Ranges of which each of these beats begins one."""
        inside = sorted({beat for beat in beats_ps if self.low_ps < beat <= self.high_ps})
        lows, highs = [self.low_ps, *inside], [*(beat - 1 for beat in inside), self.high_ps]
        return [
            replace(self, low_ps=low, high_ps=high, fits=self.fits and high == self.high_ps)
            for low, high in zip(lows, highs, strict=True)
        ]

    def points(self, beats_ps: Iterable[int]) -> list[Beats]:
        """These beats and no others, as far as they are in the range."""
        inside = sorted({beat for beat in beats_ps if self.low_ps <= beat <= self.high_ps})
        return [replace(self, low_ps=beat, high_ps=beat, fits=False) for beat in inside]


def geometric(candidates: Candidates, ratio: float) -> list[Beats]:
    """All beats there can be, in ranges whose ends have about that ratio."""
    span = candidates.range_ps
    if span is None:
        return []
    low, high = span
    count = max(1, int(np.ceil(np.log((high + 1) / max(1, low)) / np.log(ratio))))
    inner = np.geomspace(max(1, low), high + 1, count + 1)[1:-1]
    everything = Beats(
        low,
        high,
        candidates.longest_beat_ps >= 0,
        np.full(candidates.kinds, candidates.chiplets, dtype=np.int64),
    )
    return everything.split(np.round(inner).astype(np.int64).tolist())


class Copy:
    """Segments and clusters of one range of beats.

    Of clusters of one kind that arrive and leave at the same levels, the one with the smallest
    region is enough. Levels say how much of the beat is left, after a layer, for the next cluster's
    receiving; level 0 is the least that any cluster needs.

    Parameters
    ----------
    candidates : Candidates
    beats : Beats
    every : bool
        Keep larger regions too, which somebody's own constraints may ask for.
    """

    def __init__(self, candidates: Candidates, beats: Beats, *, every: bool = False) -> None:
        c, self.beats = candidates, beats
        low, high = beats.low_ps, beats.high_ps
        possible = beats.segments & (c.longest_beat_ps >= low) & (c.beat_ps <= high)
        k = np.flatnonzero(
            (c.time_ps <= high) & (c.longest_ps >= low) & (c.size <= beats.largest[c.kind])
        )
        k = k[_surrounded(c, k, possible)]
        k, leaves, arrives = self._levelled(c, k)
        kind = c.kind[k]
        key = (kind * (1 + leaves.max(initial=0)) + leaves) * (1 + arrives.max(initial=0)) + arrives
        order = np.lexsort((c.size[k], key))
        if not every:
            order = order[np.diff(key[order], prepend=-1) > 0]
        self.clusters: Ints = k[order]
        """Places in `Candidates`, ordered by kind, and so by first layer"""
        self.leaves, self.arrives = leaves[order], arrives[order]
        """Level after the layer before, which receiving needs; and level reached after the last"""
        self.segments: Ints = np.argwhere(possible)
        """(n, 2): first and last layers"""

    def _levelled(self, c: Candidates, k: Ints) -> tuple[Ints, Ints, Ints]:
        """Clusters that can be joined to others, with their levels."""
        first, last = c.first[k], c.last[k]
        leaves, arrives = np.zeros(len(k), np.int64), np.zeros(len(k), np.int64)
        keep = np.ones(len(k), dtype=np.bool_)
        self.levels: Ints = np.ones(c.layers, dtype=np.int64)
        """(L,): how many there are after each layer"""
        left = np.where(c.sending_ps[k] < 0, LIMIT, self.beats.high_ps - c.sending_ps[k])
        before, after = ~c.closes[k], ~c.opens[k]
        by_last = np.argsort(last, kind="stable")
        bounds = np.searchsorted(last[by_last], np.arange(c.layers + 1))
        starts = np.searchsorted(first, np.arange(c.layers + 1))
        for layer in range(c.layers - 1):
            ending = by_last[bounds[layer] : bounds[layer + 1]]
            ending = ending[before[ending]]
            following = np.arange(starts[layer + 1], starts[layer + 2])
            following = following[after[following]]
            if not len(ending) or not len(following):
                keep[ending] = keep[following] = False
                continue
            receive = c.receive_ps[k[following]]
            most = receive.max()
            affords = np.minimum(left[ending], most)
            keep[ending[affords < receive.min()]] = False
            levels = np.unique(affords[affords >= receive.min()])
            if not len(levels):
                keep[ending] = keep[following] = False
                continue
            needs = np.searchsorted(levels, receive, "left")
            keep[following[needs == len(levels)]] = False
            arrives[ending] = np.maximum(0, np.searchsorted(levels, affords, "right") - 1)
            leaves[following] = needs
            self.levels[layer] = len(levels)
        return k[keep], leaves[keep], arrives[keep]


def _surrounded(c: Candidates, k: Ints, possible: Flags) -> Flags:
    """Whether there is a segment that has what surrounds each cluster."""
    total = np.zeros((c.layers + 1, c.layers + 1), dtype=np.int64)
    total[1:, 1:] = possible.cumsum(axis=0).cumsum(axis=1)
    (a, b), (e, f) = c.starts[:, k], c.ends[:, k]
    count = total[b + 1, f + 1] - total[a, f + 1] - total[b + 1, e] + total[a, e]
    some: Flags = count > 0
    return some
