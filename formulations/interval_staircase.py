"""What is proved of single segments, by programs for one largest beat after the other.

The fewest clusters that a beat needs refute it for all smaller numbers of clusters. Over the
numbers of clusters, the beats refuted so far are a staircase, and the latency bound of the segment
is the lowest of ``load + (samples + clusters - 1) * beat`` on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from formulations.highs import Highs
from formulations.interval_thresholds import (
    ColumnTable,
    Network,
    SegmentColumns,
    ThresholdProgram,
    side_rows,
)
from scope_opt.bounds import best_cut, best_rest
from scope_opt.tables import LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from formulations.cuts import Cuts
    from formulations.interval_thresholds import Limits
    from formulations.request import Request

    Ints = NDArray[np.int64]

ROUND = 1e-4
"""Bounds on whole numbers may be this much too high before they are rounded up."""
REJECTIONS = 100
"""Solutions of one program that rounding let through and the evaluator does not accept."""
LOW = 8
"""The first ceiling is this part of the bound above it."""
CEILINGS = 6
"""Without a schedule, there is no ceiling any more after this many."""
CLOSE = 400
"""Gaps below this part of the latency are closed in one go."""


class Undecided(Exception):
    """Too many solutions differ from acceptable ones by less than the rounding."""


class Staircase:
    """What is proved of one segment: a lower bound on the beat for every number of clusters."""

    def __init__(
        self,
        request: Request,
        cuts: Cuts,
        supply: Callable[[int, int, int | None], SegmentColumns],
        first: int,
        last: int,
    ) -> None:
        self._request, self._cuts, self._supply = request, cuts, supply
        self._ends = (first, last)
        tables, space = request.tables, request.space
        self._load = int(tables.load_ps[first, last])
        most = min(space.most, last - first + 1)
        self._counts = np.arange(space.fewest, most + 1)
        lower = int(cuts.lower[first, last])
        # The simple bound is one on the beat, whatever the number of clusters.
        beat = -(-(lower - self._load) // (tables.samples + space.fewest - 1))
        self._bounds = np.full(len(self._counts), beat, dtype=np.int64)
        """Least beat that is not refuted, for each number of clusters or fewer"""
        self._step: int | None = None
        self._tries, self._attained = 0, False
        if not len(self._counts):
            cuts.refute(first, last, LIMIT)

    def prove(self, ceiling_ps: int | None) -> None:
        """Settle the segment for a ceiling; see `Cuts.run`."""
        cuts, monitor = self._cuts, self._request.monitor
        while not cuts.settled(*self._ends, ceiling_ps) and not monitor.stopping:
            self._decide(self._next(ceiling_ps))

    def _next(self, ceiling_ps: int | None) -> int | None:
        """A latency to ask for: low ones first, as they leave few columns."""
        lower = int(self._cuts.lower[self._ends])
        known = self._cuts.latency(*self._ends) - 1
        top = known if ceiling_ps is None else min(known, ceiling_ps)
        if top >= LIMIT - 1:
            if self._tries >= CEILINGS:
                return None
            self._tries += 1
        elif self._attained:
            gap = top - lower
            return top if gap <= top // CLOSE else lower + gap // 2
        self._step = max(1, lower // LOW) if self._step is None else 2 * self._step
        return min(top, lower + self._step)

    def _decide(self, latency_ps: int | None) -> None:
        """Find a schedule of at most that latency, or refute it.

        Fewer clusters allow a longer beat, so the fewest that are not refuted are asked for first.
        The answer, how many clusters that beat needs, refutes it for all smaller numbers.
        """
        monitor = self._request.monitor
        self._columns = self._supply(*self._ends, latency_ps)
        while not monitor.stopping:
            beats = self._beats(latency_ps)
            open_counts = np.flatnonzero(self._bounds <= beats)
            if not len(open_counts):
                return
            if self._cuts.latency(*self._ends) <= (LIMIT - 1 if latency_ps is None else latency_ps):
                self._attained = True
                return
            index = int(open_counts[0])
            self._query(index, int(beats[index]), int(self._counts[open_counts[-1]]))

    def _beats(self, latency_ps: int | None) -> Ints:
        """Largest beat within the latency, per number of clusters."""
        if latency_ps is None:
            return np.full(len(self._counts), LIMIT, dtype=np.int64) - 1
        return (latency_ps - self._load) // (self._request.tables.samples + self._counts - 1)

    def _query(self, index: int, beat_ps: int, most: int) -> None:
        """How many clusters does that beat need? Raises the bounds accordingly."""
        columns, monitor = self._columns, self._request.monitor
        fewest = int(self._counts[index])
        limits = side_rows(self._request, columns, self._ends, beat_ps)
        needed = most + 1
        if all(row.limit >= 0 for row in limits):
            with monitor.timed("build"):
                network = Network(
                    *(columns, self._ends, beat_ps, self._request.tables.chiplets, most),
                    [row.values for row in limits],
                )
            if len(network.kept):
                needed = self._needed(network, limits, fewest, most, beat_ps)
        # Clusters of several were made only up to a shorter time than single ones.
        beats = np.where(self._counts > 1, min(beat_ps, columns.complete_ps), beat_ps)
        refuted = self._counts < needed
        self._bounds = np.where(refuted, np.maximum(self._bounds, beats + 1), self._bounds)
        samples = self._request.tables.samples
        totals = [
            LIMIT if beat >= LIMIT else self._load + (samples + count - 1) * beat
            for beat, count in zip(self._bounds.tolist(), self._counts.tolist(), strict=True)
        ]
        self._cuts.refute(*self._ends, min(totals))

    def _needed(
        self,
        network: Network,
        limits: Sequence[Limits],
        fewest: int,
        most: int,
        beat_ps: int,
    ) -> int:
        """Least number of clusters from ``fewest`` up; more than ``most``: that many do not do."""
        request, columns, rejected = self._request, self._columns, 0
        monitor, options = request.monitor, request.options
        needed = fewest
        begin, end = self._ends
        text = f"beat {beat_ps} ps, {fewest} to {most} clusters, {len(network.kept)} columns"
        monitor.report(f"layers {begin} to {end}: {text}", 0.0)
        with monitor.timed("build"):
            program = ThresholdProgram(
                columns, network, request.tables.chiplets, (fewest, most), limits
            )
        while not monitor.stopping:
            highs = Highs(program.model, monitor)
            outcome = highs.solve(
                monitor,
                threads=options.threads or 1,
                seed=options.seed or 0,
                log=options.log,
                target=fewest,
                # Presolve takes twenty times longer than solving what is nearly a shortest path.
                presolve=False,
            )
            if outcome.status == "infeasible":
                return most + 1
            if outcome.bound is not None:
                needed = max(needed, int(np.ceil(outcome.bound - ROUND)))
            if outcome.values is None:
                continue
            used = program.used(highs, outcome.values)
            latency = self._cuts.found(columns.segment(used))
            samples = request.tables.samples
            allowed = self._load + (samples + len(used) - 1) * beat_ps
            if latency is not None and latency <= allowed:
                return needed
            rejected += 1
            if rejected > REJECTIONS:
                raise Undecided
            program.exclude(used)
        return needed


class Staircases:
    """Staircases of all segments, and the columns that they share."""

    def __init__(self, request: Request, cuts: Cuts) -> None:
        self._request, self._cuts = request, cuts
        self._stairs: dict[tuple[int, int], Staircase] = {}
        self._table: ColumnTable | None = None
        self._latest: tuple[tuple[int, int], SegmentColumns] | None = None
        lower = cuts.lower
        before, rest = best_cut(lower), best_rest(lower)
        self._around = before[:-1, None] + rest[None, 1:]
        """(L, L) bound on the layers around each segment, as `Caps` has it or more"""

    def prove(self, first: int, last: int, ceiling_ps: int | None) -> None:
        """Settle a segment; see `Cuts.run`. Raises `Stopped` and `Undecided`."""
        if (first, last) not in self._stairs:
            stairs = Staircase(self._request, self._cuts, self.supply, first, last)
            self._stairs[first, last] = stairs
        self._stairs[first, last].prove(ceiling_ps)

    def supply(self, first: int, last: int, latency_ps: int | None) -> SegmentColumns:
        """All columns that the segment can have within that latency."""
        ceiling = None
        if latency_ps is not None:
            ceiling = latency_ps + int(self._around[first, last])
        table = self._table
        made = None if table is None else table.ceiling_ps
        if table is None or (made is not None and (ceiling is None or ceiling > made)):
            monitor = self._request.monitor
            monitor.report("columns", 0.0)
            with monitor.timed("build"):
                table = self._table = ColumnTable(self._request, self._generous(ceiling, made))
            self._latest = None
        if self._latest is None or self._latest[0] != (first, last):
            self._latest = (first, last), SegmentColumns(table, first, last)
        return self._latest[1]

    def _generous(self, ceiling_ps: int | None, made_ps: int | None) -> int | None:
        """A ceiling that others will hardly exceed soon, nor beyond what is of any use."""
        best, bound = self._request.monitor.objective, self._request.monitor.bound
        if ceiling_ps is None or bound is None:
            return ceiling_ps
        wide = ceiling_ps if made_ps is None else max(ceiling_ps, 2 * made_ps - bound)
        return wide if best is None else max(ceiling_ps, min(wide, best))
