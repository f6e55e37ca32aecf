"""What shortest paths tell of all segments: bounds, and a good schedule to begin with.

Programs are then needed only for segments that these leave open (`formulations.paths.cuts`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from formulations.arrays import take
from formulations.columns.table import ColumnTable
from formulations.formulas import longest_beat
from formulations.paths.cuts import shortest_cut
from formulations.paths.floors import floors_of
from formulations.paths.network import BeatNetwork
from formulations.paths.segment import SegmentSearch, quick_bound
from formulations.space import Caps
from scope_opt.model.tables import LIMIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from formulations.columns.columns import Columns
    from formulations.paths.cuts import Cuts, Prove
    from formulations.request import Request
    from scope_opt.schedule.schedule import Segment

    Ends = tuple[int, int]


class Supply:
    """Columns for all segments, made up to a ceiling that rises as they are asked for."""

    def __init__(self, request: Request, cuts: Cuts) -> None:
        self._request, self._cuts = request, cuts
        self._table: ColumnTable | None = None
        self._latest: tuple[Ends, int | None, Columns] | None = None
        """A segment, a latency, and the columns that are of use up to that"""

    def columns(self, first: int, last: int, latency_ps: int | None) -> Columns:
        """All columns that are of use to the segment within that latency."""
        ends, table = (first, last), self.table(first, last, latency_ps)
        if self._latest is not None and self._latest[0] == ends:
            known = self._latest[1]
            if known is None or (latency_ps is not None and latency_ps <= known):
                return self._latest[2]
        columns = self._useful(table, ends, latency_ps)
        self._latest = ends, latency_ps, columns
        return columns

    def segment(self, columns: Columns, used: Sequence[int]) -> Segment:
        """The segment that consists of some of its columns."""
        assert self._table is not None
        return self._table.segment(columns, used)

    def complete_ps(self, first: int, last: int) -> int:
        """See `ColumnTable.complete_ps`."""
        assert self._table is not None
        return self._table.complete_ps(first, last)

    def _useful(self, table: ColumnTable, ends: Ends, latency_ps: int | None) -> Columns:
        """Columns on paths that may fit the package, with the longest beat there is."""
        if latency_ps is None:
            return table.of_segment(*ends)
        tables, space = self._request.tables, self._request.space
        load = int(tables.load_ps[ends])
        beat = longest_beat(latency_ps, load, tables.samples, space.fewest)
        most = min(space.most, ends[1] - ends[0] + 1)
        columns = table.of_segment(*ends, beat)
        network = BeatNetwork(columns, ends, beat, tables.chiplets, most, None)
        return take(columns, np.sort(network.kept))

    def table(self, first: int, last: int, latency_ps: int | None) -> ColumnTable:
        """The same with those of other segments."""
        if self._table is None or not self._table.contains(first, last, latency_ps):
            ceiling = LIMIT
            if latency_ps is not None:
                ceiling = latency_ps + int(self._cuts.around[first, last])
            return self.make(None if ceiling >= LIMIT else self._generous(ceiling))
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


class Survey:
    """Bounds and schedules of segments, for `Cuts`."""

    def __init__(self, request: Request, cuts: Cuts) -> None:
        self._request, self._cuts = request, cuts
        self.supply = Supply(request, cuts)
        self._bounded: dict[Ends, int] = {}
        """Latencies up to which segments have a quick bound"""
        self._searched: dict[Ends, int] = {}
        """Latencies up to which schedules of segments have been looked for"""

    def run(self) -> None:
        """Bounds of all segments and a good schedule, without a program; raises `Stopped`.

        Ceilings rise from the bound until one is attained.
        """
        monitor, tuning, step = self._request.monitor, self._request.tuning, None
        while not monitor.stopping:
            best, bound = monitor.objective, monitor.bound
            if bound is None or (best is not None and bound >= best):
                return
            step = max(1, bound // tuning.survey_rise) if step is None else 2 * step
            ceiling = bound + step if best is None else min(bound + step, best)
            if ceiling >= LIMIT:
                return
            self._sweep(ceiling)
            self._find(ceiling)
            best = monitor.objective
            if best is not None and best < ceiling - ceiling // tuning.sweep_again:
                self._sweep(best)
            self._follow(ceiling)
            if monitor.objective is not None and monitor.objective <= ceiling:
                return

    def _sweep(self, ceiling_ps: int) -> None:
        """Bounds on all segments within a ceiling, by how few chiplets suffice for their layers."""
        request, cuts, space = self._request, self._cuts, self._request.space
        tables, monitor = request.tables, request.monitor
        table = self.supply.make(ceiling_ps)
        monitor.report(f"bounds of segments up to {ceiling_ps} ps", 0.0)
        caps, beats = table.caps, None
        for _ in range(request.tuning.sweeps):
            found = floors_of(
                table.by_time,
                space,
                tables.layers,
                tables.chiplets,
                caps=caps,
                stopping=lambda: monitor.stopping,
                threads=request.threads,
                tuning=request.tuning,
            )
            beats = found if beats is None else np.maximum(beats, found)
            # Slower schedules may have columns that are not here.
            slower = ceiling_ps + 1 - caps.around
            caps = Caps(tables, space, ceiling_ps, beats, cuts.lower)
            cuts.raise_bounds(np.minimum(caps.lower, slower), "paths")
            if caps.bound_ps > ceiling_ps:
                request.raise_bound(ceiling_ps + 1, "paths")
                return

    def first(self, prove: Prove) -> Prove:
        """The same after a search for a schedule of the segment.

        That is not limited by the ceiling that it is given but by the best schedule known.
        """

        def both(first: int, last: int, ceiling_ps: int | None) -> None:
            ends, best = (first, last), self._request.monitor.objective
            if best is not None:
                room = best - 1 - int(self._cuts.around[ends])
                self._search(ends, room)
            if not self._cuts.settled(*ends, ceiling_ps):
                prove(*ends, ceiling_ps)

        return both

    def _bound(self, ends: Ends, room_ps: int) -> bool:
        """Raise the bound of a segment as far as it matters; whether that was to be done."""
        if room_ps <= self._bounded.get(ends, -1):
            return False
        self._bounded[ends] = room_ps
        lower, table = int(self._cuts.lower[ends]), self.supply.table(*ends, room_ps)
        raised = quick_bound(self._request, table, ends, lower, room_ps)
        self._cuts.refute(*ends, raised, "paths")
        return True

    def _search(self, ends: Ends, room_ps: int) -> None:
        """Find a schedule of a segment of at most that latency, unless a good one is known."""
        cuts, monitor = self._cuts, self._request.monitor
        lower, known = int(cuts.lower[ends]), cuts.latency(*ends)
        top = min(room_ps, known - 1 - known // self._request.tuning.precision)
        if lower > top or room_ps <= self._searched.get(ends, -1):
            return
        self._searched[ends] = room_ps
        columns = self.supply.columns(*ends, top)
        search = SegmentSearch(self._request, columns, ends)
        used = search.schedule(lower, top, lambda: monitor.stopping)
        if used is not None:
            cuts.found(self.supply.segment(columns, used))

    def _find(self, ceiling_ps: int) -> None:
        """Find schedules of the segments of the best cut by their bounds."""
        for ends, room in self._path(ceiling_ps):
            self._search(ends, room)

    def _path(self, ceiling_ps: int) -> list[tuple[Ends, int]]:
        """Segments of the best cut by their bounds, and how long they may take; empty if too long.

        The ceiling is on the latency of the network.
        """
        total, path = shortest_cut(self._cuts.lower, self._request.space.segment_count)
        if total > ceiling_ps:
            return []
        around = self._cuts.around
        return [(ends, ceiling_ps - int(around[ends])) for ends in path]

    def _follow(self, ceiling_ps: int) -> None:
        """Raise bounds of segments until those of the best cut by their bounds are as they are.

        Ever so often, and in the end, schedules of these are found.
        """
        monitor, changed, number = self._request.monitor, True, 0
        while changed and not monitor.stopping:
            number += 1
            best = monitor.objective
            limit = ceiling_ps if best is None else min(ceiling_ps, best - 1)
            path = self._path(limit)
            monitor.report(f"bounds of {len(path)} segments", 0.0)
            new = [self._bound(ends, room) for ends, room in path]
            changed = any(new)
            if not changed or number & (number - 1) == 0:
                self._find(limit)
