"""What is proved of single segments, by programs for one largest beat after the other.

The fewest clusters that a beat needs refute it for all smaller numbers of clusters. Over the
numbers of clusters, the beats refuted so far are a staircase, and the latency bound of the segment
is the lowest of ``load + (samples + clusters - 1) * beat`` on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from formulations.beat_network import Network, side_rows
from formulations.column_table import ColumnTable, SegmentColumns
from formulations.cuts import shortest_cut
from formulations.floors import floors_of
from formulations.segment_search import PRECISION, SegmentSearch, quick_bound
from formulations.space import Caps
from scope_opt.tables import LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from formulations.beat_network import FewestClusters, Limits
    from formulations.cuts import Cuts
    from formulations.request import Request

    Ints = NDArray[np.int64]
    Formulate = Callable[
        [SegmentColumns, Network, int, tuple[int, int], Sequence[Limits]], FewestClusters
    ]
    """Makes a program of columns, network, chiplets, fewest and most clusters, and rows beside"""

REJECTIONS = 100
"""Solutions of one program that rounding let through and the evaluator does not accept."""
LOW = 8
"""The first ceiling is this part of the bound above it."""
CEILINGS = 6
"""Without a schedule, there is no ceiling any more after this many."""
RISE = 4
"""The first ceiling of a survey is this part of the bound above it."""
SWEEPS = 2
"""Bounds of all segments are computed so often; each time fewer beats are left to try."""
LOWER = 50
"""Bounds are computed again if a ceiling turns out to be higher than needed by this part."""
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
        self._raise_beats()
        self._tries = 0
        self._estimated_ps = self._searched_ps = -1
        """Latencies up to which there is a quick bound, and a schedule if there is any"""
        if not len(self._counts):
            cuts.refute(first, last, LIMIT)

    def prove(self, ceiling_ps: int | None) -> None:
        """Settle the segment for a ceiling; see `Cuts.run`."""
        cuts, monitor = self._cuts, self._request.monitor
        while not cuts.settled(*self._ends, ceiling_ps) and not monitor.stopping:
            self._decide(self._next(ceiling_ps))

    def _next(self, ceiling_ps: int | None) -> int | None:
        """A latency to ask for: low ones first, as they leave few columns."""
        known, lower = self._cuts.latency(*self._ends), int(self._cuts.lower[self._ends])
        top = known - 1 if ceiling_ps is None else min(known - 1, ceiling_ps)
        if top < LIMIT - 1:
            return top if top - lower <= top // CLOSE else (lower + top) // 2
        self._tries += 1
        return lower + (max(1, lower // LOW) << self._tries) if self._tries < CEILINGS else None

    def _raise_beats(self) -> None:
        """By what is known of the latency."""
        rest = int(self._cuts.lower[self._ends]) - self._load
        beats = -(-rest // (self._request.tables.samples + self._counts - 1))
        self._bounds = np.maximum(self._bounds, beats)

    def estimate(self, top_ps: int) -> bool:
        """A quick bound, as far as it matters up to a latency; whether that was to be done."""
        if top_ps <= self._estimated_ps:
            return False
        self._estimated_ps = top_ps
        table, lower = self._supply.table(*self._ends, top_ps), int(self._cuts.lower[self._ends])
        lower = quick_bound(self._request, table, self._ends, lower, top_ps)
        self._cuts.refute(*self._ends, lower)
        self._raise_beats()
        return True

    def search(self, top_ps: int) -> None:
        """A fast schedule of at most that latency, unless a good one is known."""
        lower, known = int(self._cuts.lower[self._ends]), self._cuts.latency(*self._ends)
        top = min(top_ps, known - 1 - known // PRECISION)
        if lower > top or top_ps <= self._searched_ps:
            return
        self._searched_ps = top_ps
        columns = self._supply.columns(*self._ends, top)
        search = SegmentSearch(self._request, columns, self._ends)
        found = search.schedule(lower, top, lambda: self._request.monitor.stopping)
        if found is not None:
            self._cuts.found(columns.segment(found.used))

    def _decide(self, latency_ps: int | None) -> None:
        """Find a schedule of at most that latency, or refute it.

        Fewer clusters allow a longer beat, so the fewest that are not refuted are asked for first.
        The answer, how many clusters that beat needs, refutes it for all smaller numbers.
        """
        monitor = self._request.monitor
        self._columns = self._supply.columns(*self._ends, latency_ps)
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
        request, monitor, columns = self._request, self._request.monitor, self._columns
        path = network.lightest(fewest, most)
        if path and self._accept(path, beat_ps):
            # Only whether fewer do is left to be asked.
            most = len(path) - 1
            if most < fewest:
                return fewest
            network.narrow(most)
            if not len(network.kept):
                return most + 1
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
            if rejected > REJECTIONS:
                raise Undecided
            program.exclude(answer.used)
        return needed

    def _accept(self, used: Sequence[int], beat_ps: int) -> bool:
        """Report a schedule; whether it keeps to the rules and the beat."""
        latency = self._cuts.found(self._columns.segment(used))
        most = self._load + (self._request.tables.samples + len(used) - 1) * beat_ps
        return latency is not None and latency <= most


class Supply:
    """Columns for all segments, made up to a ceiling that rises as they are asked for."""

    def __init__(self, request: Request, cuts: Cuts) -> None:
        self._request, self._cuts = request, cuts
        self._table: ColumnTable | None = None
        self._latest: tuple[tuple[int, int], SegmentColumns] | None = None

    def columns(self, first: int, last: int, latency_ps: int | None) -> SegmentColumns:
        """All columns that the segment can have within that latency."""
        table = self.table(first, last, latency_ps)
        if self._latest is None or self._latest[0] != (first, last):
            self._latest = (first, last), SegmentColumns(table, first, last)
        return self._latest[1]

    def table(self, first: int, last: int, latency_ps: int | None) -> ColumnTable:
        """The same with those of other segments."""
        if self._table is None or not self._table.contains(first, last, latency_ps):
            ceiling = None
            if latency_ps is not None:
                ceiling = self._generous(latency_ps + int(self._cuts.around[first, last]))
            return self.make(ceiling)
        return self._table

    def make(self, ceiling_ps: int | None) -> ColumnTable:
        """Columns of all schedules up to a ceiling."""
        monitor = self._request.monitor
        monitor.report("columns", 0.0)
        self._latest = None
        with monitor.timed("build"):
            self._table = ColumnTable(self._request, ceiling_ps, self._cuts.lower)
        return self._table

    def _generous(self, ceiling_ps: int) -> int:
        """A ceiling that others will hardly exceed soon, nor beyond what is of any use."""
        best, bound = self._request.monitor.objective, self._request.monitor.bound
        made = None if self._table is None else self._table.ceiling_ps
        if bound is None:
            return ceiling_ps
        wide = ceiling_ps if made is None else max(ceiling_ps, 2 * made - bound)
        return wide if best is None else max(ceiling_ps, min(wide, best))


class Staircases:
    """Staircases of all segments, and the columns that they share."""

    def __init__(self, request: Request, cuts: Cuts, formulate: Formulate) -> None:
        self._request, self._cuts, self._formulate = request, cuts, formulate
        self._stairs: dict[tuple[int, int], Staircase] = {}
        self._supply = Supply(request, cuts)

    def survey(self) -> None:
        """Bounds of all segments and a good schedule, without a program; raises `Stopped`.

        Ceilings rise from the bound until one is attained.
        """
        monitor, step = self._request.monitor, None
        while not monitor.stopping:
            best, bound = monitor.objective, monitor.bound
            if bound is None or (best is not None and bound >= best):
                return
            step = max(1, bound // RISE) if step is None else 2 * step
            ceiling = bound + step if best is None else min(bound + step, best)
            if ceiling >= LIMIT:
                return
            self._sweep(ceiling)
            self._search(ceiling)
            best = monitor.objective
            if best is not None and best <= ceiling:
                if best < ceiling - ceiling // LOWER:
                    self._sweep(best)
                self._follow()
                return

    def _sweep(self, ceiling_ps: int) -> None:
        """Bounds on all segments within a ceiling, by how few chiplets suffice for their layers."""
        request, cuts, space = self._request, self._cuts, self._request.space
        tables, monitor = request.tables, request.monitor
        table = self._supply.make(ceiling_ps)
        monitor.report(f"bounds of segments up to {ceiling_ps} ps", 0.0)
        caps, covers, beats = table.caps, table.covers, None
        for _ in range(SWEEPS):
            found = floors_of(
                *(covers, space, tables.layers, tables.chiplets, caps),
                lambda: monitor.stopping,
            )
            beats = found if beats is None else np.maximum(beats, found)
            # Slower schedules may have columns that are not here.
            slower = ceiling_ps + 1 - caps.around
            caps = Caps(tables, space, ceiling_ps, beats, cuts.lower)
            cuts.raise_bounds(np.minimum(caps.lower, slower))
            if caps.bound_ps > ceiling_ps:
                request.raise_bound(ceiling_ps + 1)
                return

    def _search(self, ceiling_ps: int) -> None:
        """Find schedules of the segments of the best cut by their bounds."""
        for part, top in self._path(ceiling_ps):
            part.search(top)

    def _path(self, ceiling_ps: int) -> list[tuple[Staircase, int]]:
        """Segments of the best cut by their bounds, and how long they may take; empty if too long.

        The ceiling is on the latency of the network.
        """
        total, path = shortest_cut(self._cuts.lower, self._request.space.segment_count)
        if total > ceiling_ps:
            return []
        around = self._cuts.around
        return [(self._of(*ends), ceiling_ps - int(around[ends])) for ends in path]

    def _follow(self) -> None:
        """Raise bounds of segments until those of the best cut by their bounds are as they are.

        Ever so often, and in the end, schedules of these are found.
        """
        monitor, changed, number = self._request.monitor, True, 0
        while changed and not monitor.stopping and monitor.objective is not None:
            number += 1
            path = self._path(monitor.objective - 1)
            monitor.report(f"layers in {len(path)} segments: bounds", 0.0)
            changed = any([part.estimate(top) for part, top in path])
            if not changed or number & (number - 1) == 0:
                self._search(monitor.objective - 1)

    def prove(self, first: int, last: int, ceiling_ps: int | None) -> None:
        """Settle a segment; see `Cuts.run`. Raises `Stopped` and `Undecided`."""
        self._of(first, last).prove(ceiling_ps)

    def _of(self, first: int, last: int) -> Staircase:
        if (first, last) not in self._stairs:
            parts = (self._request, self._cuts, self._supply, self._formulate)
            self._stairs[first, last] = Staircase(*parts, first, last)
        return self._stairs[first, last]
