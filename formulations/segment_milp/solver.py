"""Solver `segment-milp`: a program for each segment that matters, under a shortest path over cuts.

The master is a shortest path: the best cut of the layers by what is proved of every segment so far.
The segment on it of which least is known gets a round of its own program, the network program of
its layers alone, until all segments of the best cut are solved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

from formulations.cp_sat.rows import import_cp_sat
from formulations.family.opening import begin_with_schedule
from formulations.family.solver import ProgramSolver
from formulations.highs import import_highs
from formulations.network_milp.goal import OneSegment
from formulations.network_milp.search import UNDECIDED, Search
from formulations.paths.cuts import Cuts
from scope_opt.model.instance import SHAPE
from scope_opt.model.tables import LIMIT

if TYPE_CHECKING:
    from formulations.request import Request

    Pair = tuple[int, int]


class SegmentMilpSolver(ProgramSolver):
    """A mixed-integer program per segment, asked for only where the best cut needs it."""

    name = "segment-milp"
    summary = "a program per segment under a shortest path over cuts (HiGHS, CP-SAT)"
    library = "HiGHS"
    encodings = ()
    constraints: ClassVar[frozenset[str]] = SHAPE
    options: ClassVar[frozenset[str]] = frozenset({"seed", "warm_start", "threads", "log"})

    def import_library(self) -> None:
        """See `ProgramSolver`."""
        import_highs()
        import_cp_sat()

    def search(self, request: Request) -> None:
        """See `ProgramSolver`."""
        begin_with_schedule(request)
        cuts = Cuts(self.name, request)
        cuts.begin()
        try:
            cuts.run(SegmentPrograms(request, cuts).prove)
        except _Undecided:
            request.monitor.give_up([UNDECIDED])


class _Undecided(Exception):
    """Integers of 64 bits cannot tell the schedules of a segment apart."""


class _Asked(NamedTuple):
    """A segment's program, and the highest ceiling for which it leaves nothing out."""

    goal: OneSegment
    search: Search
    highest_ps: int


class SegmentPrograms:
    """Programs of segments, kept from one round to the next.

    Parameters
    ----------
    request : Request
    cuts : Cuts
        Gets what is proved and found.
    """

    def __init__(self, request: Request, cuts: Cuts) -> None:
        self._request, self._cuts = request, cuts
        self._asked: dict[Pair, _Asked] = {}

    def prove(self, first: int, last: int, ceiling_ps: int | None) -> None:
        """One round of a segment's program, up to what it may take in a better schedule.

        That is more than ``ceiling_ps``, which `Cuts` suggests, but it only falls from visit to
        visit, so that the program never has to be built again. As long as no schedule is known,
        ceilings rise, and it has.
        """
        ends = first, last
        worst = self._request.tables.worst_latency_ps
        lower, best = int(self._cuts.lower[ends]), self._request.monitor.objective
        if lower > worst:
            self._cuts.refute(first, last, LIMIT)
            return
        if best is None:
            ceiling = min(worst, lower + max(1, lower // self._request.tuning.network_rise))
        else:
            ceiling = best - 1 - int(self._cuts.around[ends])
        asked = self._asked.get(ends)
        if asked is None or asked.highest_ps < ceiling:
            goal = OneSegment(self._cuts, ends, ceiling)
            asked = self._asked[ends] = _Asked(goal, Search(self._request, goal), ceiling)
        asked.goal.fall(ceiling)
        asked.search.run(1)
        if asked.search.stuck:
            raise _Undecided
