"""What is proved of single segments, by programs for one largest beat after the other.

The fewest clusters that a beat needs refute it for all smaller numbers of clusters. Over the
numbers of clusters, the beats refuted so far are a staircase, and the latency bound of the segment
is the lowest of ``load + (samples + clusters - 1) * beat`` on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from formulations.formulas import longest_beat, segment_latency
from formulations.paths.network import BeatNetwork, lightest, side_rows
from scope_opt.model.tables import LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from formulations.columns.columns import Columns
    from formulations.paths.cuts import Cuts
    from formulations.paths.network import FewestClusters, Limits
    from formulations.paths.survey import Supply
    from formulations.request import Request

    Ints = NDArray[np.int64]
    Formulate = Callable[
        [Columns, BeatNetwork, int, tuple[int, int], Sequence[Limits]], FewestClusters
    ]
    """Makes a program of columns, network, chiplets, fewest and most clusters, and rows beside"""


class Undecided(Exception):
    """Too many solutions differ from acceptable ones by less than the rounding."""


class Staircase:
    """What is proved of one segment: a lower bound on the beat for every number of clusters."""

    def __init__(
        self,
        request: Request,
        cuts: Cuts,
        supply: Supply,
        formulate: Formulate,
        first: int,
        last: int,
    ) -> None:
        self._request, self._cuts, self._supply = request, cuts, supply
        self._formulate = formulate
        self._ends = (first, last)
        tables, space = request.tables, request.space
        self._load = int(tables.load_ps[first, last])
        most = min(space.most, last - first + 1)
        self._counts = np.arange(space.fewest, most + 1)
        self._bounds = np.full(len(self._counts), tables.segment_dram_ps[first, last])
        """Least beat that is not refuted, for each number of clusters"""
        self._step: int | None = None
        self._tries = 0
        if not len(self._counts):
            cuts.refute(first, last, LIMIT, "simple bound")

    def prove(self, ceiling_ps: int | None) -> None:
        """Settle the segment for a ceiling; see `Cuts.run`."""
        cuts, monitor = self._cuts, self._request.monitor
        refuted = self._beats(int(cuts.lower[self._ends]) - 1)
        self._raise(np.maximum(self._bounds, refuted + 1))
        while not cuts.settled(*self._ends, ceiling_ps) and not monitor.stopping:
            self._decide(self._next(ceiling_ps))

    def _next(self, ceiling_ps: int | None) -> int | None:
        """A latency to ask for: low ones first, as they leave few columns."""
        tuning = self._request.tuning
        known, lower = self._cuts.latency(*self._ends), int(self._cuts.lower[self._ends])
        top = known - 1 if ceiling_ps is None else min(known - 1, ceiling_ps)
        if top < LIMIT - 1:
            return top if top - lower <= top // tuning.stair_close else (lower + top) // 2
        self._tries += 1
        self._step = max(1, lower // tuning.stair_rise) if self._step is None else 2 * self._step
        latency = lower + self._step
        return latency if self._tries <= tuning.stair_ceilings and latency < LIMIT - 1 else None

    def _decide(self, latency_ps: int | None) -> None:
        """Find a schedule of at most that latency, or refute it.

        Fewer clusters allow a longer beat, so the fewest that are not refuted are asked for first.
        The answer, how many clusters that beat needs, refutes it for all smaller numbers.
        """
        monitor = self._request.monitor
        self._columns = self._supply.columns(*self._ends, latency_ps)
        self._complete_ps = self._supply.complete_ps(*self._ends)
        while not monitor.stopping:
            beats = self._beats(latency_ps)
            open_counts = np.flatnonzero(self._bounds <= beats)
            if not len(open_counts):
                return
            if self._cuts.latency(*self._ends) <= (LIMIT - 1 if latency_ps is None else latency_ps):
                return
            index = int(open_counts[0])
            self._query(index, int(beats[index]), int(self._counts[open_counts[-1]]))

    def _beats(self, latency_ps: int | None) -> Ints:
        """Largest beat within the latency, per number of clusters."""
        if latency_ps is None:
            return np.full(len(self._counts), LIMIT, dtype=np.int64) - 1
        return longest_beat(latency_ps, self._load, self._request.tables.samples, self._counts)

    def _query(self, index: int, beat_ps: int, most: int) -> None:
        """How many clusters does that beat need? Raises the bounds accordingly."""
        columns, request = self._columns, self._request
        fewest, chiplets = int(self._counts[index]), request.tables.chiplets
        limits = side_rows(request, columns, self._ends, beat_ps)
        if any(row.limit < 0 for row in limits):
            self._refute(most + 1, beat_ps)
            return
        if not request.small:
            path = lightest(columns, self._ends, beat_ps, chiplets, (fewest, most))
            if len(path) == fewest and self._accept(path, beat_ps):
                return
            if len(path) > fewest:
                # Only whether fewer do is left to be asked.
                most = len(path) - 1
        with request.monitor.timed("build"):
            values = [row.values for row in limits]
            network = BeatNetwork(columns, self._ends, beat_ps, chiplets, most, values)
        needed = most + 1
        if len(network.kept):
            needed = self._needed(network, limits, fewest, most, beat_ps)
        self._refute(needed, beat_ps)

    def _refute(self, needed: int, beat_ps: int) -> None:
        """Fewer clusters do not do with that beat."""
        # Clusters of several were made only up to a shorter time than single ones.
        beats = np.where(self._counts > 1, min(beat_ps, self._complete_ps), beat_ps)
        refuted = self._counts < needed
        self._raise(np.where(refuted, np.maximum(self._bounds, beats + 1), self._bounds))

    def _raise(self, bounds_ps: Ints) -> None:
        """Set the bounds on the beats, and that on the latency which follows: beats are whole."""
        self._bounds = bounds_ps
        samples = self._request.tables.samples
        totals = [
            LIMIT if beat >= LIMIT else segment_latency(self._load, samples, count, beat)
            for beat, count in zip(bounds_ps.tolist(), self._counts.tolist(), strict=True)
        ]
        # A library that answered has its credit already.
        self._cuts.refute(*self._ends, min(totals, default=LIMIT), "paths")

    def _needed(
        self,
        network: BeatNetwork,
        limits: Sequence[Limits],
        fewest: int,
        most: int,
        beat_ps: int,
    ) -> int:
        """Least number of clusters from ``fewest`` up; more than ``most``: that many do not do."""
        request, monitor, columns = self._request, self._request.monitor, self._columns
        first, last = self._ends
        text = f"beat {beat_ps} ps, {fewest} to {most} clusters, {len(network.kept)} columns"
        monitor.report(f"layers {first} to {last}: {text}", 0.0)
        with monitor.timed("build"):
            program = self._formulate(
                columns, network, request.tables.chiplets, (fewest, most), limits
            )
        needed, rejected = fewest, 0
        while not monitor.stopping:
            answer = program.solve(request, fewest)
            if answer.clusters is None:
                return most + 1
            needed = max(needed, answer.clusters)
            if answer.used is None:
                continue
            if self._accept(answer.used, beat_ps):
                return needed
            rejected += 1
            if rejected > request.tuning.rejections:
                raise Undecided
            program.exclude(answer.used)
        return needed

    def _accept(self, used: Sequence[int], beat_ps: int) -> bool:
        """Report a schedule; whether it keeps to the rules and the beat."""
        latency = self._cuts.found(self._supply.segment(self._columns, used))
        most = segment_latency(self._load, self._request.tables.samples, len(used), beat_ps)
        return latency is not None and latency <= most


class Staircases:
    """Staircases of all segments."""

    def __init__(self, request: Request, cuts: Cuts, supply: Supply, formulate: Formulate) -> None:
        self._parts = (request, cuts, supply, formulate)
        self._stairs: dict[tuple[int, int], Staircase] = {}

    def prove(self, first: int, last: int, ceiling_ps: int | None) -> None:
        """Settle a segment; see `Cuts.run`. Raises `Stopped` and `Undecided`."""
        if (first, last) not in self._stairs:
            self._stairs[first, last] = Staircase(*self._parts, first, last)
        self._stairs[first, last].prove(ceiling_ps)
