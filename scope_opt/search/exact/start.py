"""Schedules to begin with: a short annealing, and the segments that it came across."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scope_opt.schedule.schedule import InstanceReference, Schedule
from scope_opt.search.anneal.solver import Annealing, AnnealSolver, chosen_cuts, freedom
from scope_opt.search.cuts import CostedSegment
from scope_opt.solving.monitor import Monitor
from scope_opt.solving.result import relative_gap
from scope_opt.solving.solver import SolveOptions

if TYPE_CHECKING:
    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.solving.solver import SegmentChoice

MOVES_PER_LAYER, PLACED_MOVES_PER_LAYER = 3000, 300
"""Of the annealing before the proof; about equally long in both models."""
LONGER = 15
"""How many times as long are those during a proof."""
DUE, SHARE = 0.1, 0.3
"""Which share of the time limit is over when proofs are interrupted for a longer annealing, and
which share of the rest annealings take at most."""
FAR, FAR_SHARE = 0.05, 0.6
"""Gap above which a proof is far from its end, so that annealing pays more, and the share then."""


class Starts:
    """Annealings beside a proof: a short one before it, and longer ones if it takes long.

    The first longer one begins anew. As long as they find something and the proof is far from its
    end, they take turns with it, equally long, each from the best schedule known. Without a time
    limit there is none of them: what is found must not depend on the clock.

    Parameters
    ----------
    instance, tables, choice
        What is to be solved.
    bound_ps : int
        No schedule takes less.
    monitor : Monitor
        Told of schedules as they are found.
    """

    def __init__(
        self,
        instance: Instance,
        tables: LatencyTables,
        choice: SegmentChoice,
        bound_ps: int,
        monitor: Monitor,
    ) -> None:
        self._instance, self._tables, self._monitor = instance, tables, monitor
        self._choice, self._bound_ps = chosen_cuts(instance, choice), bound_ps
        left = monitor.left_s
        self._done = 0
        self._due_s = None if left is None else monitor.elapsed_s + DUE * left

    def learn(self) -> list[CostedSegment]:
        """Anneal if it is time for that; returns segments, among them the best up to each layer.

        Called often: the first time, and whenever a longer annealing is due.
        """
        monitor, done = self._monitor, self._done
        if done == 0:
            self._done = 1
            return self._anneal(1)
        if self._due_s is None or monitor.elapsed_s < self._due_s:
            return []
        if done > 1 and not self._far:
            self._due_s = None
            return []
        self._done += 1
        begun, before = monitor.elapsed_s, monitor.objective
        found = self._anneal(LONGER)
        better = monitor.objective != before
        self._due_s = 2 * monitor.elapsed_s - begun if better else None
        return found

    @property
    def _far(self) -> bool:
        """Whether much is open between the best schedule and the bound."""
        gap = relative_gap(self._monitor.objective, self._monitor.bound)
        return gap is not None and gap > FAR

    def _anneal(self, times: int) -> list[CostedSegment]:
        instance, tables, monitor = self._instance, self._tables, self._monitor

        def forward(quick: Monitor) -> None:
            if quick.objective is not None and quick.segments is not None:
                monitor.improve(quick.objective, quick.segments)

        left = monitor.left_s
        limit = None if left is None else (FAR_SHARE if self._far else SHARE) * left
        quick = Monitor(limit, forward, parent=monitor)
        moves = MOVES_PER_LAYER if tables.placed is None else PLACED_MOVES_PER_LAYER
        options = SolveOptions(
            iterations=times * moves * tables.layers, seed=self._done - 1, time_limit_s=limit
        )
        annealing = Annealing(instance, tables, options, quick, freedom(self._choice))
        if self._done > 2 and monitor.segments is not None:
            reference = InstanceReference.to(instance)
            annealing.begin_with(Schedule(instance=reference, segments=monitor.segments))
        else:
            AnnealSolver().start(annealing, tables, self._choice, quick)
        annealing.run(self._bound_ps)
        return [CostedSegment(*pair) for pair in annealing.segments()]
