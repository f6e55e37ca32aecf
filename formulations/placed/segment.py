"""One segment: beats are refuted, with so many clusters, until its best schedule is known.

A segment of ``k`` clusters takes ``load + (samples + k - 1) * beat``. So a latency allows a largest
beat for every number of clusters, and each is asked for by itself: can the segment be done within
that beat in at most so many clusters? Sizes alone refute most, labels over places most of the
rest; what is left is a path program if transfers share links, and is known to be possible if not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from formulations.arrays import take
from formulations.formulas import longest_beat, segment_latency
from formulations.paths.staircase import Undecided
from formulations.placed.labels import NONE, find_arcs, find_labels, find_windows, no_arcs
from formulations.placed.program import PathProgram
from scope_opt.model.tables import LIMIT
from scope_opt.schedule.schedule import make_segment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from formulations.paths.cuts import Cuts
    from formulations.placed.costs import PlacedCosts, SegmentCosts
    from formulations.placed.links import Links
    from formulations.placed.program import Emitter
    from formulations.request import Request

    Ints = NDArray[np.int64]


class SegmentProof:
    """What is proved of one segment: a lower bound on the beat for every number of clusters.

    Parameters
    ----------
    request : Request
    cuts : Cuts
    costs : PlacedCosts
    links : Links
    emit : callable
        Makes what hands a program to a library.
    ends : (int, int)
        First and last layer.
    """

    def __init__(
        self,
        request: Request,
        cuts: Cuts,
        costs: PlacedCosts,
        links: Links,
        emit: Callable[[PathProgram], Emitter],
        ends: tuple[int, int],
    ) -> None:
        self._request, self._cuts, self._costs = request, cuts, costs
        self._links, self._emit, self._ends = links, emit, ends
        tables, space = request.given, request.space
        self._load = int(tables.load_ps[ends])
        self._worst = tables.worst_latency_ps
        most = min(space.most, ends[1] - ends[0] + 1)
        self._counts = np.arange(space.fewest, most + 1)
        self._bounds = np.full(len(self._counts), tables.segment_dram_ps[ends])
        """Least beat that is not refuted, for each number of clusters"""
        # A layer alone on the package is no path; all that it may be is known.
        alone = ends[0] == ends[1] and space.fewest == 1
        self._alone = cuts.latency(*ends) if alone else LIMIT
        self._steps = [0, 0]
        """By how much the bound was exceeded last, without programs and with them"""
        self._possible = LIMIT
        """A latency that is possible but for links and rounding"""

    def prove(self, ceiling_ps: int | None) -> None:
        """Settle the segment for a ceiling; see `formulations.paths.cuts.Cuts.run`."""
        cuts, monitor = self._cuts, self._request.monitor
        refuted = self._beats(int(cuts.lower[self._ends]) - 1)
        self._raise(np.maximum(self._bounds, refuted + 1))
        costs = self._costs.segment(*self._ends)
        while not cuts.settled(*self._ends, ceiling_ps) and not monitor.stopping:
            known, lower = cuts.latency(*self._ends), int(cuts.lower[self._ends])
            top = min(known if ceiling_ps is None else min(known, ceiling_ps + 1), LIMIT) - 1
            middle = self._between(lower, min(top, self._possible))
            if middle is not None:
                # Labels alone: few arcs are left when the first program is made.
                self._decide(costs, middle, programs=False)
            else:
                self._decide(costs, self._next(lower, top), programs=True)

    def _between(self, lower: int, top: int) -> int | None:
        """A latency in the middle, or beyond the bound by a growing step if there is no end to it.

        None once they are close.
        """
        if top >= LIMIT - 1:
            self._steps[0] = 2 * self._steps[0] or max(1, lower // self._request.tuning.stair_rise)
            return min(lower + self._steps[0], LIMIT - 1)
        return (
            None if top - lower <= top // self._request.tuning.label_close else (lower + top) // 2
        )

    def _next(self, lower: int, top: int) -> int:
        """A latency to ask programs for: low ones first, as they leave few arcs."""
        tuning = self._request.tuning
        if top - lower <= top // tuning.linked_close:
            return top
        self._steps[1] = 2 * self._steps[1] or max(1, lower // tuning.linked_rise)
        return min(max(lower, self._possible) + self._steps[1], (lower + top) // 2)

    def _beats(self, latency_ps: int) -> Ints:
        """Largest beat within the latency, per number of clusters."""
        beats = longest_beat(latency_ps, self._load, self._request.tables.samples, self._counts)
        return np.minimum(beats, self._worst)

    def _raise(self, bounds_ps: Ints) -> None:
        self._bounds = bounds_ps
        samples = self._request.tables.samples
        totals = [
            LIMIT if beat > self._worst else segment_latency(self._load, samples, count, beat)
            for beat, count in zip(bounds_ps.tolist(), self._counts.tolist(), strict=True)
        ]
        self._cuts.refute(*self._ends, min([*totals, self._alone]), "paths")

    def _decide(self, costs: SegmentCosts, latency_ps: int, *, programs: bool) -> None:
        """Find a schedule of at most that latency, or refute it.

        Without programs it is left open where labels do not refute it.
        """
        monitor, beats = self._request.monitor, self._beats(latency_ps)
        while not monitor.stopping:
            open_counts = np.flatnonzero(self._bounds <= beats)
            if not len(open_counts) or self._cuts.latency(*self._ends) <= latency_ps:
                return
            index = int(open_counts[0])
            beat, most = int(beats[index]), int(self._counts[index])
            with monitor.timed("build"):
                needed, program = self._program(costs, beat, most, wanted=programs)
            if needed <= most and not programs:
                self._possible = min(self._possible, latency_ps)
                return
            if program is not None:
                needed = self._needed(program, most, beat)
            refuted = self._counts < needed
            self._raise(np.where(refuted, np.maximum(self._bounds, beat + 1), self._bounds))

    def _program(
        self, costs: SegmentCosts, beat_ps: int, most: int, *, wanted: bool
    ) -> tuple[int, PathProgram | None]:
        """How many clusters that beat needs, links left out; the program if that is no answer."""
        windows = find_windows(costs, beat_ps, int(self._counts[-1]))
        if windows.clusters > most:
            return windows.clusters, None
        further = min(most + self._request.tuning.linked_further, int(self._counts[-1]))
        labels = find_labels(costs, windows, beat_ps, further)
        needed = int(labels[0, 0].min())
        if needed >= NONE:
            return further + 1, None
        if needed > most or not wanted:
            return needed, None
        arcs = no_arcs(1 << 16)
        number = find_arcs(costs, windows, beat_ps, most, labels, arcs)
        if number > arcs.number:
            arcs = no_arcs(number)
            find_arcs(costs, windows, beat_ps, most, labels, arcs)
        arcs = take(arcs, np.arange(number))
        fewest = self._request.space.fewest
        text = f"beat {beat_ps} ps, {needed} to {most} clusters, {number} arcs"
        first, last = self._ends
        self._request.monitor.report(f"layers {first} to {last}: {text}", 0.0)
        return needed, PathProgram(costs, self._links, arcs, (fewest, most), beat_ps, needed)

    def _needed(self, program: PathProgram, most: int, beat_ps: int) -> int:
        """How many clusters the beat needs with links; more than ``most``: that many do not do.

        Schedules that are found are reported.
        """
        request, monitor = self._request, self._request.monitor
        needed, path, emitter = program.needed, program.shortest(), None
        while not monitor.stopping:
            if len(path) >= program.counts[0]:
                if self._accept(program, path, beat_ps):
                    return needed
                used = np.zeros(program.arcs.number)
                used[path] = 1
                if not program.separate(used) and not program.split(path):
                    program.exclude(path)
                if max(program.splits, len(program.excluded)) > request.tuning.rejections:
                    raise Undecided
            emitter = self._emit(program) if emitter is None else emitter
            answer = emitter.solve(request)
            if answer.clusters is None:
                return most + 1
            needed = max(needed, answer.clusters)
            path = [] if answer.used is None else program.path(answer.used)
        return needed

    def _accept(self, program: PathProgram, path: Sequence[int], beat_ps: int) -> bool:
        """Report a path's schedule; whether it keeps to the rules and the beat."""
        latency = self._cuts.found(make_segment(self._ends[0], program.schedule(path)))
        samples = self._request.tables.samples
        most = segment_latency(self._load, samples, len(path), beat_ps)
        return latency is not None and latency <= most
