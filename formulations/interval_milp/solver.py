"""Interval formulation: clusters are intervals of layers, chosen by integer programs in HiGHS.

Two encodings. ``thresholds`` asks, segment by segment, which beats are possible, in programs that
contain no times (`formulations.paths.staircase`). ``beats`` is one program of the whole network
with the beats as variables (`formulations.interval_milp.beats`); it also serves where segments are
coupled by an energy budget or a bound on the latency, and is what is exported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from formulations.columns.maker import ColumnMaker
from formulations.highs import Highs, import_highs, import_pyomo
from formulations.interval_milp.beats import BeatsProgram, solve_beats
from formulations.interval_milp.energy import EnergySearch
from formulations.interval_milp.links import LinkedPaths
from formulations.interval_milp.thresholds import ThresholdProgram
from formulations.paths.cuts import Cuts, single_only
from formulations.paths.solver import prove_cuts
from formulations.paths.staircase import Undecided
from formulations.placed.solver import prove_placed, refuse_export, refuse_foreign
from formulations.request import CONSTRAINTS, Request, check_encoding, make_request
from formulations.space import Caps, Stopped
from formulations.tuning import DEFAULT, Tuning

if TYPE_CHECKING:
    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.solving.monitor import Monitor
    from scope_opt.solving.solver import SolveOptions

ENCODINGS = ("thresholds", "beats")
"""The first is the default."""
UNDECIDED = (
    "schedules differ by less than HiGHS can tell apart; the bound is as far as it can be trusted"
)


class IntervalMilpSolver:
    """Mixed-integer programs over cluster columns."""

    name = "interval-milp"
    summary = "mixed-integer programs (HiGHS) over segments and clusters as intervals of layers"
    exact = True
    constraints: ClassVar[frozenset[str]] = CONSTRAINTS | {"placed"}
    options: ClassVar[frozenset[str]] = frozenset(
        {"seed", "warm_start", "threads", "encoding", "log"}
    )

    def __init__(self, tuning: Tuning = DEFAULT) -> None:
        self._tuning = tuning

    def run(
        self,
        instance: Instance,
        tables: LatencyTables,
        options: SolveOptions,
        monitor: Monitor,
    ) -> None:
        """Search; see `scope_opt.solving.solver.Solver`."""
        import_pyomo()
        import_highs()
        check_encoding(options.encoding, ENCODINGS)
        if tables.placed is not None:
            refuse_foreign(self.name, instance, options.encoding, ENCODINGS[0])
        request = make_request(self.name, instance, tables, options, monitor, self._tuning)
        space = request.space
        try:
            if tables.placed is not None:
                decided = _segment_by_segment(self.name, request)
            elif options.encoding == "beats" or (space.couples_segments and not single_only(space)):
                decided = solve_beats(request, _beats_program(request))
            elif space.latency_ps is not None:
                decided = EnergySearch(request, space.latency_ps).run()
            else:
                decided = _segment_by_segment(self.name, request)
            if not decided:
                monitor.give_up([UNDECIDED])
        except Stopped:
            return
        finally:
            request.close_log("HiGHS")

    def export(
        self,
        instance: Instance,
        tables: LatencyTables,
        options: SolveOptions,
        monitor: Monitor,
        suffix: str,
    ) -> bytes:
        """The program of encoding ``beats``; see `scope_opt.solving.solver.write_program`.

        It has the schedules that are no slower than the best one with one cluster per segment.
        """
        check_encoding(options.encoding, ENCODINGS)
        if tables.placed is not None:
            refuse_export(self.name)
        request = make_request(self.name, instance, tables, options, monitor, self._tuning)
        program = _beats_program(request)
        return Highs(program.model, monitor).content(suffix, program.scale, program.constant)


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


def _beats_program(request: Request) -> BeatsProgram:
    """The program that contains all schedules at least as good as the best one known."""
    space, tables, monitor = request.space, request.tables, request.monitor
    if not request.energy_minimized:
        request.raise_bound(Caps(tables, space, None).bound_ps, "simple bound")
    maker = ColumnMaker(tables, space, lambda: monitor.stopping)
    if not space.couples_segments:
        Cuts(IntervalMilpSolver.name, request).begin()
    ceiling = monitor.objective if space.latency_ps is None else space.latency_ps
    caps = Caps(tables, space, ceiling)
    monitor.report("columns", 0.0)
    with monitor.timed("build"):
        columns = list(maker.columns(caps))
        receive = [maker.receive_ps(column) for column in columns]
        return BeatsProgram(request, columns, receive, caps)
