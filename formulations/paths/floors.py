"""Lower bounds on the beats of segments, from how few chiplets columns can cover their layers with.

If even the smallest regions that keep every cluster's time within a beat take more chiplets than
there are, the beat is not possible. What handing over adds, and where ranges of last layers end, is
left out, so this is a relaxation; energies and DRAM traffic are left out, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from formulations.columns.parallel import each
from formulations.tuning import DEFAULT, Tuning
from scope_opt.model.compiled import released
from scope_opt.model.tables import LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from formulations.columns.columns import Columns
    from formulations.space import Caps, Space

    Ints = NDArray[np.int64]


def floors_of(
    columns: Columns,
    space: Space,
    layers: int,
    chiplets: int,
    caps: Caps | None = None,
    stopping: Callable[[], bool] = lambda: False,
    threads: int = 1,
    tuning: Tuning = DEFAULT,
) -> Ints:
    """Lower bound in ps on the beat of segment ``[i, j]`` of ``n`` clusters.

    Parameters
    ----------
    columns : Columns
        In ascending order of their times. Beats that need another column are impossible.
    space : Space
        For the number of clusters.
    layers, chiplets : int
    caps : Caps, optional
        Larger beats than those are not tried, and called impossible.
    stopping : callable
        Asked once per first layer; when it says so, `Stopped` is raised.
    threads : int
        For compiled code.
    tuning : Tuning
        How many beats are tried.

    Returns
    -------
    array of int64, shape (L, L, N + 1)
        `LIMIT` where no beat is possible; entry 0 of the last axis is unused.
    """
    most = space.most
    floors = np.full((layers, layers, most + 1), LIMIT)
    if not columns.number:
        return floors
    times = columns.time_ps[np.diff(columns.time_ps, prepend=-1) > 0]
    affordable = 2 + tuning.floor_work // (layers**3 * most)
    beats, least = _tried(times, min(tuning.floor_beats, affordable))
    tops = np.full((layers, layers, most + 1), LIMIT - 1)
    if caps is not None:
        tops[..., 0] = -1
        for n in range(1, most + 1):
            tops[..., n] = caps.all_segments(n)
    lows = np.zeros((layers, layers), dtype=np.int64) if caps is None else caps.floors

    def work(first: int) -> None:
        _floors_from(
            columns, first, beats, least, chiplets, lows[first], tops[first], floors[first]
        )

    for _ in each(work, layers, threads, stopping):
        pass
    return floors


def _tried(times: Ints, most: int) -> tuple[Ints, Ints]:
    """Beats to try, and the least one if so many of them are too short.

    A beat that is too short makes the next time of any column the least one.
    """
    count = min(len(times), most)
    steps = np.arange(len(times))
    if count < len(times):
        # As many for every factor: segments of one layer have beats, too.
        wanted = np.geomspace(max(1, times[0]), max(1, times[-1]), count)
        steps = np.unique(np.minimum(np.searchsorted(times, wanted), len(times) - 1))
        steps = np.unique(np.concatenate([[0], steps, [len(times) - 1]]))
    beats = times[steps]
    least = np.concatenate([times[:1], times[np.minimum(steps[:-1] + 1, len(times) - 1)], [LIMIT]])
    return beats, least


@released
def _floors_from(
    columns: Columns,
    first: int,
    beats: Ints,
    least: Ints,
    chiplets: int,
    lows: Ints,
    tops: Ints,
    floors: Ints,
) -> None:
    """Fill in ``floors[last, n]`` of the segments that begin with a layer."""
    layers, most = floors.shape[0], floors.shape[1] - 1
    none = chiplets + 1
    needed = np.full((4, layers, layers), none, dtype=np.int32)
    covered = np.empty((layers, most + 1), dtype=np.int32)
    inside = np.empty(most + 1, dtype=np.int32)
    # Numbers of clusters of which there are covers, by last layer.
    some, some_end = np.zeros(layers, dtype=np.int64), np.zeros(layers, dtype=np.int64)
    column = 0
    open_low, open_top = LIMIT, np.int64(-1)
    for last in range(first, layers):
        top = tops[last].max()
        if top >= 0:
            open_top = max(open_top, top)
            open_low = min(open_low, lows[last])
    for step in range(len(beats)):
        beat = beats[step]
        # This step is about the beats from there up to its own.
        shortest = least[step]
        if shortest > open_top:
            return
        while column < len(columns.time_ps) and columns.time_ps[column] <= beat:
            k, column = column, column + 1
            if columns.first[k] < first or first < columns.start_low[k]:
                continue
            if columns.start_high[k] < first:
                continue
            i, j = columns.first[k], columns.last[k]
            kind = 2 * columns.opens[k] + columns.closes[k]
            needed[kind, i, j] = min(needed[kind, i, j], columns.size[k])
        # The last beat before those that are possible tells whether no other column is needed.
        if step + 1 < len(beats) and beats[step + 1] <= open_low:
            continue
        # Most clusters with such a beat of any segment that has these layers and more.
        useful = np.zeros(layers + 1, dtype=np.int64)
        for last in range(layers - 1, first - 1, -1):
            useful[last] = useful[last + 1]
            n = min(most, last - first + 1)
            while n > useful[last] and tops[last, n] < shortest:
                n -= 1
            useful[last] = max(useful[last], n)
        for last in range(first, layers):
            if useful[last] == 0:
                break
            # Fewest chiplets for layers first..last in n clusters, the segment going on after them.
            covered[last] = none
            inside[:] = none
            inside[1] = needed[3, first, last]
            covered[last, 1] = needed[2, first, last]
            limit = min(useful[last], last - first + 1)
            for then in range(first + 1, last + 1):
                begin, end = some[then - 1], min(some_end[then - 1], limit)
                for kind in range(2):
                    size = needed[kind, then, last]
                    if size < none and begin < end:
                        before = covered[then - 1, begin:end]
                        row = inside if kind else covered[last]
                        after = row[begin + 1 : end + 1]
                        for n in range(len(before)):
                            after[n] = min(after[n], before[n] + size)
            some[last], some_end[last] = limit + 1, 0
            for n in range(1, limit + 1):
                if covered[last, n] < none:
                    some[last] = min(some[last], n)
                    some_end[last] = n + 1
            for n in range(1, limit + 1):
                if inside[n] < none and floors[last, n] == LIMIT:
                    floors[last, n] = least[step]
