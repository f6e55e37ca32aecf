"""Interval formulation: clusters are intervals of layers, chosen by integer programs in HiGHS.

Two encodings. ``thresholds`` asks, segment by segment, which beats are possible, in programs that
contain no times (`formulations.paths.staircase`). ``beats`` is one program of the whole network
with the beats as variables (`formulations.interval_milp.beats`); it also serves where segments are
coupled by an energy budget or a bound on the latency, and is what is exported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from formulations.columns.maker import ColumnMaker
from formulations.family.open_program import Scale
from formulations.family.pyomo_program import PyomoProgram
from formulations.family.solver import Family
from formulations.highs import import_highs, import_pyomo
from formulations.interval_milp.beats import BeatsProgram, solve_beats
from formulations.interval_milp.energy import EnergySearch
from formulations.interval_milp.links import LinkedPaths
from formulations.interval_milp.thresholds import ThresholdProgram
from formulations.paths.cuts import Cuts, single_only
from formulations.paths.solver import prove_cuts
from formulations.paths.staircase import Undecided
from formulations.placed.solver import prove_placed, refuse_foreign
from formulations.request import CONSTRAINTS
from formulations.space import Caps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from formulations.request import Request
    from scope_opt.schedule.schedule import Segment

UNDECIDED = (
    "schedules differ by less than HiGHS can tell apart; the bound is as far as it can be trusted"
)


class IntervalMilpSolver(Family):
    """Mixed-integer programs over cluster columns."""

    name = "interval-milp"
    summary = "mixed-integer programs (HiGHS) over segments and clusters as intervals of layers"
    library = "HiGHS"
    encodings = ("thresholds", "beats")
    constraints: ClassVar[frozenset[str]] = CONSTRAINTS | {"placed"}

    def import_library(self) -> None:
        """See `Family`."""
        import_pyomo()
        import_highs()

    def search(self, request: Request) -> None:
        """See `Family`."""
        space, encoding = request.space, request.options.encoding
        if request.given.placed is not None:
            refuse_foreign(self.name, request.instance, request.options.encoding, self.encodings[0])
            decided = _segment_by_segment(self.name, request)
        elif encoding == "beats" or (space.couples_segments and not single_only(space)):
            decided = solve_beats(request, _known_beats_program(request))
        elif space.latency_ps is not None:
            decided = EnergySearch(request, space.latency_ps).run()
        else:
            decided = _segment_by_segment(self.name, request)
        if not decided:
            request.monitor.give_up([UNDECIDED])

    def program(self, request: Request, ceiling_ps: int | None) -> PyomoProgram:
        """The program of encoding ``beats``; see `Family`."""
        program = _beats_program(request, ceiling_ps)

        def start(segments: Sequence[Segment]) -> list[tuple[Any, float]] | None:
            return program.start(segments, request.offer(segments).segments)

        return PyomoProgram(
            request,
            self.name,
            program.model,
            Scale(program.unit_ps, program.unit_fj, program.scale, program.constant),
            program.read,
            ceiling_ps,
            bound=program.bound,
            start=start,
            presolve=False,
        )


def _segment_by_segment(name: str, request: Request) -> bool:
    """Prove the best cut by thresholds; False if HiGHS' tolerances do not allow that."""
    try:
        if request.given.placed is not None:
            prove_placed(name, request, LinkedPaths)
        else:
            prove_cuts(name, request, ThresholdProgram)
    except Undecided:
        return False
    return True


def _known_beats_program(request: Request) -> BeatsProgram:
    """The program that contains all schedules at least as good as the best one known."""
    space, monitor = request.space, request.monitor
    if not request.energy_minimized:
        request.raise_bound(Caps(request.tables, space, None).bound_ps, "simple bound")
    if not space.couples_segments:
        Cuts(IntervalMilpSolver.name, request).begin()
    return _beats_program(
        request, monitor.objective if space.latency_ps is None else space.latency_ps
    )


def _beats_program(request: Request, ceiling_ps: int | None) -> BeatsProgram:
    """The program that contains all schedules up to a ceiling."""
    space, tables, monitor = request.space, request.tables, request.monitor
    maker = ColumnMaker(tables, space, lambda: monitor.stopping)
    caps = Caps(tables, space, ceiling_ps)
    monitor.report("columns", 0.0)
    with monitor.timed("build"):
        columns = maker.columns(caps)
        return BeatsProgram(request, columns, maker.partitions(columns), caps)
