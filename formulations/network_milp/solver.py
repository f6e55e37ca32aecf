"""Solver `network-milp`: one program for the whole network, refined until it is proved.

HiGHS solves relaxations, whose bounds are proved in integers from their duals, and looks for
schedules; what is left in the end CP-SAT proves. No bound comes from anything but these programs
and the simple sums over tables that every solver begins with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from formulations.cp_sat.rows import import_cp_sat
from formulations.highs import import_highs
from formulations.network_milp.search import NetworkSearch
from formulations.paths.cuts import Cuts
from formulations.request import make_request
from formulations.space import Stopped
from formulations.tuning import DEFAULT, Tuning
from scope_opt.model.instance import SHAPE

if TYPE_CHECKING:
    from formulations.request import Request
    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.solving.monitor import Monitor
    from scope_opt.solving.solver import SolveOptions

UNDECIDED = "times are too long for 64 bits to tell such close schedules apart; the bound holds"


class NetworkMilpSolver:
    """One mixed-integer program, with a copy of the layers for every range of beats.

    Energies and refetched bytes would need rows that tell segments apart: those side constraints
    are left to other programs.
    """

    name = "network-milp"
    summary = "one program for the whole network, layers copied per range of beats (HiGHS, CP-SAT)"
    exact = True
    constraints: ClassVar[frozenset[str]] = SHAPE
    options: ClassVar[frozenset[str]] = frozenset({"seed", "warm_start", "threads", "log"})

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
        import_highs()
        import_cp_sat()
        request = make_request(self.name, instance, tables, options, monitor, self._tuning)
        try:
            _search(self.name, request)
        except Stopped:
            return
        finally:
            request.close_log("HiGHS")


def _search(name: str, request: Request) -> None:
    """Search up to ceilings that rise until there is a schedule below."""
    monitor, tuning = request.monitor, request.tuning
    worst = request.tables.worst_latency_ps
    # Segments of one cluster, from which the best cut is a schedule, and simple bounds.
    Cuts(name, request).begin()
    if monitor.bound is None:
        request.prove_infeasible("simple bound")
        return
    rise = max(1, monitor.bound // tuning.network_rise)
    while monitor.objective is None or monitor.bound < monitor.objective:
        highest = worst if monitor.objective is None else monitor.objective - 1
        ceiling = monitor.bound + rise
        if ceiling + rise >= highest:
            ceiling = highest
        search = NetworkSearch(request, ceiling)
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
