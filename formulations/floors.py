"""Lower bounds on the beats of segments, from how few chiplets columns can cover their layers with.

If even the smallest regions that keep every cluster's time within a beat take more chiplets than
there are, the beat is not possible. What handing over adds, and where ranges of surroundings end,
is left out, so this is a relaxation; energies and DRAM traffic are left out, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scope_opt.tables import LIMIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from formulations.space import Column, Space

    Ints = NDArray[np.int64]

STEPS = 4096
"""Beats that are tried, at most."""
WORK = 10**9
"""Additions that a call may take, roughly; fewer beats are tried in a deep network."""


def beat_floors(columns: Sequence[Column], space: Space, layers: int, chiplets: int) -> Ints:
    """Lower bound in ps on the beat of segment ``[i, j]`` of ``n`` clusters.

    Parameters
    ----------
    columns : list of Column
        Beats that need another column are impossible.
    space : Space
        For the number of clusters.
    layers, chiplets : int

    Returns
    -------
    array of int64, shape (L, L, N + 1)
        `LIMIT` where no beat is possible; entry 0 of the last axis is unused.
    """
    most = space.most
    floors = np.full((layers, layers, most + 1), LIMIT)
    if not columns:
        return floors
    times = np.unique([column.time_ps for column in columns])
    tried = min(len(times), STEPS, 2 + WORK // (layers**3 * most))
    steps = np.unique(np.linspace(0, len(times) - 1, tried).astype(int))
    beats = times[steps]
    # A beat that is too short makes the next time of any column the least one.
    least = np.concatenate([times[:1], times[np.minimum(steps[:-1] + 1, len(times) - 1)], [LIMIT]])
    inner, closing, opening, whole = _needed(columns, beats, layers, chiplets)
    for first in range(layers):
        # Fewest chiplets for layers first..last in n clusters, the segment going on after them.
        open_end = np.full((layers, most + 1, len(beats)), chiplets + 1, dtype=np.int32)
        for last in range(first, layers):
            ends = np.full((most + 1, len(beats)), chiplets + 1, dtype=np.int32)
            ends[1], open_end[last, 1] = whole[first, last], opening[first, last]
            if last > first and most > 1:
                before = open_end[first:last, 1:-1]
                after = inner[first + 1 : last + 1, last][:, None]
                open_end[last, 2:] = np.minimum((before + after).min(axis=0), chiplets + 1)
                after = closing[first + 1 : last + 1, last][:, None]
                ends[2:] = (before + after).min(axis=0)
            floors[first, last] = least[(ends > chiplets).sum(axis=1)]
    return floors


def _needed(
    columns: Sequence[Column], beats: Ints, layers: int, chiplets: int
) -> NDArray[np.int32]:
    """Fewest chiplets on which layers ``i..j`` fit a beat, by kind of cluster; ``C + 1`` if none.

    Kinds are numbered by ``2 * opens + closes``.
    """
    needed = np.full((4, layers, layers, len(beats)), chiplets + 1, dtype=np.int32)
    at = np.searchsorted(beats, [column.time_ps for column in columns])
    for column, step in zip(columns, at.tolist(), strict=True):
        place = (2 * column.opens + column.closes, column.first, column.last, step)
        needed[place] = min(needed[place], column.size)
    result: NDArray[np.int32] = np.minimum.accumulate(needed, axis=-1)
    return result
