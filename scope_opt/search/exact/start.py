"""Schedules to begin with: a short annealing, and the segments that it came across."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scope_opt.model.tables import LIMIT
from scope_opt.schedule.bounds import best_rest
from scope_opt.schedule.schedule import InstanceReference, Schedule
from scope_opt.search.anneal.solver import Annealing, AnnealSolver, chosen_cuts, freedom
from scope_opt.search.cuts import CostedSegment
from scope_opt.solving.monitor import Monitor
from scope_opt.solving.result import relative_gap
from scope_opt.solving.solver import SolveOptions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.solving.solver import SegmentChoice

    Ints = NDArray[np.int64]

MOVES_PER_LAYER, PLACED_MOVES_PER_LAYER = 3000, 300
"""Of the annealing before the proof; about equally long in both models."""
LONGER = 15
"""How many times as long are those during a proof."""
DUE, LATE_DUE = 0.1, 0.4
"""Which share of the time to the nearer limit is over when proofs are interrupted for a longer
annealing; later on many chiplets, where the proof soon leads to better schedules, unless regions
have places and there are too many labels for that."""
LATE_LABELS = 2**30
"""Layers times the square of chiplets up to which that is so."""
SHORT_SHARE, SHARE = 0.05, 0.3
"""Which share of the time left the short annealing and longer ones take at most."""
FAR, FAR_SHARE = 0.05, 0.6
"""Gap above which a proof is far from its end, so that annealing pays more, and the share then."""
MANY_CHIPLETS = 512
"""From so many on one segment of all layers is tried by itself as well."""
WHOLE = (0,)
"""First layers of segments: all layers are one."""


class Starts:
    """Annealings beside a proof: a short one before it, and longer ones if it takes long.

    Where segments are free, so is a short one that keeps all layers in one segment: on many
    chiplets that is often the best, and it is found sooner if nothing else is tried. The first
    longer one begins anew, with segments as in the better short one, unless the proof has found a
    better schedule. As long as they or the proof find something and the proof is far from its end,
    they take turns with it, equally long, each from the best schedule known. Without a time limit
    there is none of them: what is found must not depend on the clock.

    Parameters
    ----------
    instance, tables, choice
        What is to be solved.
    bounds : int64 array, shape ``(L, L)``
        Lower bounds on the latencies of segments.
    monitor : Monitor
        Told of schedules as they are found.
    """

    def __init__(
        self,
        instance: Instance,
        tables: LatencyTables,
        choice: SegmentChoice,
        bounds: Ints,
        monitor: Monitor,
    ) -> None:
        self._instance, self._tables, self._monitor = instance, tables, monitor
        self._choice = self._first = chosen_cuts(instance, choice)
        self._bound_ps, self._whole_ps = int(best_rest(bounds)[0]), int(bounds[0, -1])
        self._done = 0
        self._idle: int | None = None
        """The best schedule before the last longer one; nothing is new if it still is"""
        self._short: int | None = None
        """What the short ones found"""
        few_labels = tables.placed is None or tables.layers * tables.chiplets**2 <= LATE_LABELS
        self._late = tables.chiplets >= MANY_CHIPLETS and few_labels
        due = LATE_DUE if self._late else DUE
        left = self._left_s
        self._due_left_s = None if left is None else (1 - due) * left
        """How much time is left when the next longer one is due"""

    def learn(self) -> list[CostedSegment]:
        """Anneal if it is time for that; returns segments, among them the best up to each layer.

        Called often: the first time, and whenever a longer annealing is due.
        """
        monitor, done = self._monitor, self._done
        if done == 0:
            self._done = 1
            found = self._anneal(1, self._choice)
            if self._whole_may_be_better:
                free = monitor.objective
                found += self._anneal(1, WHOLE)
                if monitor.objective != free:
                    self._first = WHOLE
            self._short = monitor.objective
            return found
        begun_left, due_left = self._left_s, self._due_left_s
        if begun_left is None or due_left is None or begun_left > due_left:
            return []
        if done > 1 and (not self._far or monitor.objective == self._idle):
            return []
        self._done += 1
        before = monitor.objective
        if done == 1 and before == self._short:
            found = self._anneal(LONGER, self._first)
        else:
            found = self._anneal(LONGER, self._choice, anew=False)
        self._idle = before
        left = self._left_s
        self._due_left_s = None if left is None else 2 * left - begun_left
        return found

    @property
    def _left_s(self) -> float | None:
        """Seconds to the nearer one of the limits of time and processor time; None without any.

        Annealing has one thread, which takes no more processor time than time.
        """
        both = self._monitor.left_s, self._monitor.cpu_left_s
        return min((left for left in both if left is not None), default=None)

    @property
    def _whole_may_be_better(self) -> bool:
        """Whether one segment of all layers may be best; on fewer chiplets proofs are soon."""
        if self._choice != "dp" or self._tables.chiplets < MANY_CHIPLETS:
            return False
        known = self._monitor.objective
        return self._whole_ps < (LIMIT if known is None else known)

    @property
    def _far(self) -> bool:
        """Whether much is open between the best schedule and the bound."""
        gap = relative_gap(self._monitor.objective, self._monitor.bound)
        return gap is not None and gap > FAR

    def _anneal(
        self, times: int, choice: SegmentChoice, *, anew: bool = True
    ) -> list[CostedSegment]:
        instance, tables, monitor = self._instance, self._tables, self._monitor

        def forward(quick: Monitor) -> None:
            if quick.objective is not None and quick.segments is not None:
                monitor.improve(quick.objective, quick.segments)

        left = self._left_s
        share = SHORT_SHARE if times == 1 else FAR_SHARE if self._far and not self._late else SHARE
        limit = None if left is None else share * left
        quick = Monitor(limit, forward, parent=monitor)
        moves = MOVES_PER_LAYER if tables.placed is None else PLACED_MOVES_PER_LAYER
        options = SolveOptions(
            iterations=times * moves * tables.layers, seed=self._done - 1, time_limit_s=limit
        )
        annealing = Annealing(instance, tables, options, quick, freedom(choice))
        if not anew and monitor.segments is not None:
            reference = InstanceReference.to(instance)
            annealing.begin_with(Schedule(instance=reference, segments=monitor.segments))
        else:
            AnnealSolver().start(annealing, tables, choice, quick)
        annealing.run(self._bound_ps)
        return [CostedSegment(*pair) for pair in annealing.segments()]
