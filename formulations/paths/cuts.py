"""Whole networks, segment by segment.

Latency is a sum over segments, so where nothing else couples them a solver only has to know single
segments: the best cut of the layers follows by a shortest path, once over lower bounds and once
over the best schedules known.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from formulations.columns.maker import ColumnMaker, alone_latencies_ps
from formulations.columns.schedules import to_segments
from formulations.formulas import longest_beat
from scope_opt.model.files import InputError
from scope_opt.model.tables import LIMIT
from scope_opt.schedule.bounds import best_around, cuts_before, segment_bounds
from scope_opt.schedule.evaluate import evaluate, evaluate_segment
from scope_opt.schedule.schedule import InstanceReference, Schedule

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from formulations.request import Request
    from formulations.space import Space
    from scope_opt.schedule.schedule import Segment
    from scope_opt.solving.result import Prover

    Ints = NDArray[np.int64]
    Prove = Callable[[int, int, int | None], None]


class Known(NamedTuple):
    """A schedule of one segment, with its exact latency."""

    latency_ps: int
    segment: Segment


def single_only(space: Space) -> bool:
    """Whether the whole network as one segment is the only choice."""
    return space.segment_count == 1 or int(space.segments.sum()) == int(space.segments[0, -1])


def shortest_cut(costs: Ints, count: int | None) -> tuple[int, list[tuple[int, int]]]:
    """Cheapest cut of the layers, as ends of segments; `LIMIT` and none if there is no cut.

    Parameters
    ----------
    costs : array of int64, shape (L, L)
        Of segments by first and last layer; `LIMIT` for none.
    count : int, optional
        Number of segments, if that is given.
    """
    rows = cuts_before(costs, count)
    total, end, row = int(rows[-1, -1]), len(costs), len(rows) - 1
    if total >= LIMIT:
        return LIMIT, []
    path: list[tuple[int, int]] = []
    while end > 0:
        row = max(0, row - 1)
        first = int(np.argmin(rows[row, :end] + costs[:end, end - 1]))
        path.append((first, end - 1))
        end = first
    return total, path[::-1]


class Cuts:
    """What is known of every segment, and what follows for the whole network.

    Parameters
    ----------
    name : str
        The solver's name, for messages.
    request : Request

    Raises
    ------
    InputError
        If segments share more than the sum of their latencies.
    """

    def __init__(self, name: str, request: Request) -> None:
        space, tables = request.space, request.tables
        if space.couples_segments and not single_only(space):
            problem = (
                f"solver {name!r} takes segments one by one, but an energy budget or a latency "
                "bound is shared by all of them; use one segment (--segments single) or solver "
                "'cp-sat'"
            )
            raise InputError("segments", [problem])
        self._request, self._space, self._tables = request, space, tables
        lower = segment_bounds(tables)
        # The bound counts one cluster; every further one takes another beat.
        beats = longest_beat(lower, tables.load_ps, tables.samples, 1)
        lower = np.where(lower < LIMIT, lower + (space.fewest - 1) * beats, LIMIT)
        lower[~space.segments] = LIMIT
        self.lower: Ints = lower
        """(L, L) proved lower bounds; `LIMIT` where there is no schedule"""
        self.known: dict[tuple[int, int], Known] = {}
        """Best schedules, by first and last layer."""
        self._costs = np.full_like(lower, LIMIT)
        """(L, L) their latencies where segments are allowed; `LIMIT` where none is known"""
        self._publish("simple bound")
        for segment in request.monitor.segments or ():
            self.found(segment)

    def begin(self) -> None:
        """Learn the segments of one cluster; offer the best schedule made of them.

        In a deep network on a large package of some region sizes only, as there are so many.
        """
        space, tables = self._space, self._tables
        if space.fewest > 1:
            return
        every = 1 + tables.layers**2 * len(space.sizes) // self._request.tuning.alone
        sizes = space.sizes[::-every][::-1]
        request, few = self._request, replace(space, sizes=sizes)
        maker = ColumnMaker(tables, few, lambda: request.monitor.stopping, request.threads)
        columns = maker.fastest_alone()
        latencies = alone_latencies_ps(tables, space, columns)
        segments = to_segments(columns, maker.partitions(columns))
        for ends, latency, segment in zip(columns.runs, latencies, segments, strict=True):
            if latency < LIMIT:
                self._keep(ends, Known(latency, segment))
        self._offer()

    def found(self, segment: Segment) -> int | None:
        """Report a schedule of a segment.

        Returns
        -------
        int or None
            Its exact latency in ps; None if it breaks a rule.
        """
        latency = self._latency(segment)
        pair = (segment.first_layer, segment.last_layer)
        if latency is not None and latency < self.latency(*pair):
            self._keep(pair, Known(latency, segment))
            self._offer()
        return latency

    def refute(self, first: int, last: int, below_ps: int, *by: Prover) -> None:
        """Report that no schedule of the segment takes less than that, and who proved it.

        `LIMIT`: it has none.
        """
        if below_ps > self.lower[first, last]:
            self.lower[first, last] = min(below_ps, LIMIT)
            self._publish(*by)

    def raise_bounds(self, bounds_ps: Ints, *by: Prover) -> None:
        """The same for all segments, shape ``(L, L)``."""
        raised = np.minimum(np.maximum(self.lower, bounds_ps), LIMIT)
        if (raised > self.lower).any():
            self.lower = raised
            self._publish(*by)

    @property
    def around(self) -> Ints:
        """(L, L) lower bounds on the latency of all layers outside a segment."""
        return best_around(self.lower)

    def latency(self, first: int, last: int) -> int:
        """Latency of the segment's best known schedule, `LIMIT` if none is known."""
        best = self.known.get((first, last))
        return LIMIT if best is None else best.latency_ps

    def settled(self, first: int, last: int, ceiling_ps: int | None) -> bool:
        """Whether the best is known, or that there is none up to the ceiling."""
        lower = int(self.lower[first, last])
        beyond = LIMIT if ceiling_ps is None else ceiling_ps + 1
        return lower >= min(self.latency(first, last), beyond)

    def run(self, prove: Prove) -> None:
        """Have segments proved until the best cut is; tell the monitor if there is none.

        Parameters
        ----------
        prove : callable
            Called with a segment's first and last layer and a ceiling in ps, or None for no
            ceiling. Reports to `found` and `refute` until the segment is `settled`: no schedule of
            it is as short as the ceiling, or the best one known is proved to be best. It may
            return before that only if the monitor is stopping.
        """
        monitor = self._request.monitor
        while not monitor.stopping:
            total, path = shortest_cut(self.lower, self._space.segment_count)
            if total >= LIMIT:
                self._request.prove_infeasible("simple bound")  # at least: others have credit
                return
            best = monitor.objective
            if best is not None and total >= best:
                return
            unsettled = [ends for ends in path if self.lower[ends] < self.latency(*ends)]
            first, last = max(
                unsettled, key=lambda ends: self.latency(*ends) - int(self.lower[ends])
            )
            prove(first, last, self._ceiling(first, last, total, best, alone=len(path) == 1))

    def _ceiling(
        self, first: int, last: int, total: int, best: int | None, *, alone: bool
    ) -> int | None:
        """How short the segment has to be to matter, or less, since others may get in between."""
        if best is None:
            return None
        lower, tuning = int(self.lower[first, last]), self._request.tuning
        gap = best - 1 - total
        if not alone and gap > best // tuning.cut_close:
            gap = min(gap // tuning.cut_share, total // tuning.cut_rise)
        return lower + gap

    def _latency(self, segment: Segment) -> int | None:
        """By the evaluator; a segment that is the whole schedule has to keep to all rules."""
        request = self._request
        if segment.last_layer - segment.first_layer + 1 < self._tables.layers:
            report = evaluate_segment(request.instance, segment, request.given)
            return None if report is None else report.latency_ps
        reference = InstanceReference.to(request.instance)
        whole = Schedule(instance=reference, segments=(segment,))
        return evaluate(request.instance, whole, request.given).objective_ps

    def _keep(self, ends: tuple[int, int], known: Known) -> None:
        self.known[ends] = known
        if self._space.segments[ends] and known.latency_ps < LIMIT:
            self._costs[ends] = known.latency_ps

    def _offer(self) -> None:
        total, path = shortest_cut(self._costs, self._space.segment_count)
        objective = self._request.monitor.objective
        if total < LIMIT and (objective is None or total < objective):
            self._request.offer([self.known[ends].segment for ends in path])

    def _publish(self, *by: Prover) -> None:
        # The whole network's bound may rise later, with that of another segment.
        self._request.monitor.credit(*by)
        total, _ = shortest_cut(self.lower, self._space.segment_count)
        self._request.raise_bound(total)
