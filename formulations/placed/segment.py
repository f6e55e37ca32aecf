"""One segment: beats are refuted, with so many clusters, until its best schedule is known.

A segment of ``k`` clusters takes ``load + (samples + k - 1) * beat``. So a latency allows a largest
beat for every number of clusters, and each is asked for by itself: can the segment be done within
that beat in at most so many clusters? Sizes alone refute most, labels over places most of the
rest; what is left is a path program if transfers share links, and is known to be possible if not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from formulations.formulas import longest_beat, segment_latency
from formulations.paths.staircase import Undecided
from formulations.placed.labels import NONE, find_arcs, find_labels, find_windows
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
        self._step = 0

    def prove(self, ceiling_ps: int | None) -> None:
        """Settle the segment for a ceiling; see `formulations.paths.cuts.Cuts.run`."""
        cuts, monitor = self._cuts, self._request.monitor
        refuted = self._beats(int(cuts.lower[self._ends]) - 1)
        self._raise(np.maximum(self._bounds, refuted + 1))
        costs = self._costs.segment(*self._ends)
        while not cuts.settled(*self._ends, ceiling_ps) and not monitor.stopping:
            self._decide(costs, self._next(ceiling_ps))

    def _next(self, ceiling_ps: int | None) -> int:
        """A latency to ask for: low ones first, as they leave few arcs."""
        tuning = self._request.tuning
        known, lower = self._cuts.latency(*self._ends), int(self._cuts.lower[self._ends])
        top = known - 1 if ceiling_ps is None else min(known - 1, ceiling_ps)
        if top < LIMIT - 1:
            close = top - lower <= top // tuning.linked_close
            return top if close else lower + (top - lower) // tuning.linked_share
        self._step = max(1, lower // tuning.stair_rise) if self._step == 0 else 2 * self._step
        return min(lower + self._step, LIMIT - 1)

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

    def _decide(self, costs: SegmentCosts, latency_ps: int) -> None:
        """Find a schedule of at most that latency, or refute it."""
        monitor, beats = self._request.monitor, self._beats(latency_ps)
        while not monitor.stopping:
            open_counts = np.flatnonzero(self._bounds <= beats)
            if not len(open_counts) or self._cuts.latency(*self._ends) <= latency_ps:
                return
            index = int(open_counts[0])
            beat = int(beats[index])
            needed = self._needed(costs, beat, int(self._counts[index]))
            refuted = self._counts < needed
            self._raise(np.where(refuted, np.maximum(self._bounds, beat + 1), self._bounds))

    def _needed(self, costs: SegmentCosts, beat_ps: int, most: int) -> int:
        """How many clusters that beat needs, or so many more than ``most`` that it does not do."""
        request, monitor, (first, last) = self._request, self._request.monitor, self._ends
        further = min(most + request.tuning.linked_further, int(self._counts[-1]))
        with monitor.timed("build"):
            windows = find_windows(costs, beat_ps, int(self._counts[-1]))
            if windows.clusters > most:
                return windows.clusters
            labels = find_labels(costs, windows, beat_ps, further)
            needed = int(labels[0, 0].min())
            if needed > most:
                return further + 1 if needed >= NONE else needed
            number, arcs = find_arcs(costs, windows, beat_ps, most, labels, 1 << 16)
            if number > len(arcs):
                number, arcs = find_arcs(costs, windows, beat_ps, most, labels, number)
            counts = (request.space.fewest, most)
            text = f"{counts[0]} to {most} clusters, {number} arcs"
            monitor.report(f"layers {first} to {last}: beat {beat_ps} ps, {text}", 0.0)
            program = PathProgram(costs, self._links, arcs, counts, beat_ps, needed)
            path = program.shortest()
        if len(path) >= counts[0] and self._accept(program, path, beat_ps):
            return needed
        emitter = self._emit(program)
        while not monitor.stopping:
            answer = emitter.solve(request)
            if answer.clusters is None:
                return most + 1
            needed = max(needed, answer.clusters)
            if answer.used is None:
                continue
            path = program.path(answer.used)
            if self._accept(program, path, beat_ps):
                return needed
            used = np.zeros(len(program.arcs))
            used[path] = 1
            if not program.separate(used) and not program.split(path):
                program.exclude(path)
            if max(program.splits, len(program.excluded)) > request.tuning.rejections:
                raise Undecided
        return needed

    def _accept(self, program: PathProgram, path: Sequence[int], beat_ps: int) -> bool:
        """Report a path's schedule; whether it keeps to the rules and the beat."""
        latency = self._cuts.found(make_segment(self._ends[0], program.schedule(path)))
        samples = self._request.tables.samples
        most = segment_latency(self._load, samples, len(path), beat_ps)
        return latency is not None and latency <= most
