"""Where to split ranges of beats: at the beats that solutions really have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from formulations.network_milp.copies import Beats
    from formulations.network_milp.rows import Program

    Floats = NDArray[np.float64]
    BeatsFound = dict[tuple[int, int], set[int]]
    """By shortest and longest beat of a range, beats found in it."""

USED = 1e-7
"""Values of variables below count as 0."""
WIDE = 1.0005
"""Ranges whose ends have a larger ratio are halved as well, whether a solution uses them or not:
the next one would use those that are left."""


def true_beats(program: Program, values: Floats) -> BeatsFound:
    """Beats of the segments a solution uses, by the range they are in, taken with its clusters.

    A relaxation may mix several segments; the longest cluster inside decides. Ranges it does not
    use are left out.
    """
    c = program.candidates
    found: BeatsFound = {}
    for copy, at in zip(program.copies, program.variables, strict=True):
        k = copy.clusters[values[at.clusters : at.steps] > USED]
        segments = copy.segments[values[at.segments : at.clusters] > USED]
        if not len(k) or not len(segments):
            continue
        low, high = copy.beats.low_ps, copy.beats.high_ps
        time = c.time_ps[k].copy()
        for layer in np.unique(c.last[k]).tolist():
            ending = np.flatnonzero((c.last[k] == layer) & ~c.closes[k] & (c.sending_ps[k] >= 0))
            following = (c.first[k] == layer + 1) & ~c.opens[k]
            if len(ending) and following.any():
                received = c.receive_ps[k[following]]
                pairs = c.sending_ps[k[ending]][:, None] + received[None, :]
                pairs[pairs > high] = 0
                time[ending] = np.maximum(time[ending], pairs.max(axis=1))
        beats = found.setdefault((low, high), set())
        for a, b in segments.tolist():
            inside = (c.first[k] >= a) & (c.last[k] <= b)
            if inside.any():
                beats.add(max(low, int(time[inside].max()), int(c.beat_ps[a, b])))
    return found


def refined(ranges: Sequence[Beats], beats: BeatsFound) -> list[Beats]:
    """Ranges split at the beats found in them, and the long ones in the middle."""
    split: list[Beats] = []
    for each in ranges:
        ends = each.low_ps, each.high_ps
        at = set(beats.get(ends, ()))
        if each.high_ps > WIDE * each.low_ps:
            at.add(1 + int((each.low_ps * each.high_ps) ** 0.5))
        split += each.split(at)
    return split
