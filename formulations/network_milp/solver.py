"""Solver `network-milp`: one program for the whole network, refined until it is proved.

HiGHS solves relaxations, whose bounds are proved in integers from their duals, and looks for
schedules; what is left in the end CP-SAT proves. No bound comes from anything but these programs
and the simple sums over tables that every solver begins with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from formulations.cp_sat.rows import import_cp_sat
from formulations.family.open_program import Scale
from formulations.family.opening import begin_with_schedule
from formulations.family.pyomo_program import PyomoProgram
from formulations.family.solver import Family
from formulations.highs import import_highs, import_pyomo
from formulations.network_milp.goal import WholeNetwork
from formulations.network_milp.grid import ENCODINGS, GridProgram
from formulations.network_milp.search import UNDECIDED, Search
from formulations.paths.cuts import Cuts
from scope_opt.model.files import InputError
from scope_opt.model.instance import SHAPE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from formulations.request import Request
    from scope_opt.schedule.schedule import Segment


class NetworkMilpSolver(Family):
    """One mixed-integer program, with a copy of the layers for every range of beats.

    Energies and refetched bytes would need rows that tell segments apart: those side constraints
    are left to other programs.
    """

    name = "network-milp"
    summary = "one program for the whole network, layers copied per range of beats (HiGHS, CP-SAT)"
    library = "HiGHS"
    encodings = ENCODINGS
    constraints: ClassVar[frozenset[str]] = SHAPE
    options: ClassVar[frozenset[str]] = frozenset(
        {"seed", "warm_start", "threads", "encoding", "log"}
    )

    def import_library(self) -> None:
        """See `Family`."""
        import_highs()
        import_cp_sat()

    def search(self, request: Request) -> None:
        """Search up to ceilings that rise until there is a schedule below."""
        if request.options.encoding is not None:
            problem = (
                f"found {request.options.encoding!r}, which is for programs on a fixed grid of "
                "beats, as export writes them; to solve, leave it out: the grid is refined then"
            )
            raise InputError("encoding", [problem])
        monitor, tuning = request.monitor, request.tuning
        worst = request.tables.worst_latency_ps
        opened = begin_with_schedule(request)
        # Segments of one cluster, from which the best cut is a schedule, and simple bounds.
        Cuts(self.name, request).begin()
        if monitor.bound is None:
            request.prove_infeasible("simple bound")
            return
        rise = worst if opened else max(1, monitor.bound // tuning.network_rise)
        while monitor.objective is None or monitor.bound < monitor.objective:
            highest = worst if monitor.objective is None else monitor.objective - 1
            ceiling = monitor.bound + rise
            if ceiling + rise >= highest:
                ceiling = highest
            search = Search(request, WholeNetwork(request, ceiling))
            settled = search.run(None if ceiling == highest else tuning.network_tries)
            if not settled and monitor.objective is not None and monitor.objective <= ceiling:
                settled = search.run()
            if not settled and ceiling == highest:
                monitor.give_up([UNDECIDED])
                return
            if monitor.objective is None and monitor.bound > worst:
                request.prove_infeasible("highs")
                return
            if not settled or monitor.objective is None or monitor.objective > ceiling:
                rise *= 2

    def program(self, request: Request, ceiling_ps: int | None) -> PyomoProgram:
        """The program over a fixed grid of beats; see `Family`."""
        import_pyomo()
        program = GridProgram(request, ceiling_ps, request.options.encoding or ENCODINGS[0])

        def start(segments: Sequence[Segment]) -> list[tuple[Any, float]] | None:
            return program.start(segments, request.offer(segments).segments)

        return PyomoProgram(
            request,
            self.name,
            program.model,
            Scale(program.unit_ps, 1, program.unit_ps, 0),
            program.read,
            ceiling_ps,
            bound=program.bound,
            start=start,
            presolve=False,
        )
