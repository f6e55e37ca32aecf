"""What the solvers of all families of programs have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from formulations.request import CONSTRAINTS, Request, check_encoding, make_request
from formulations.space import Stopped
from formulations.tuning import DEFAULT, Tuning
from scope_opt.model.files import InputError

if TYPE_CHECKING:
    from formulations.family.open_program import OpenProgram
    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.solving.monitor import Monitor
    from scope_opt.solving.solver import SolveOptions


class ProgramSolver(ABC):
    """A solver with mathematical programs; see `scope_opt.solving.solver.Solver`.

    It says what it is in the class variables, and has the methods that are abstract here.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    library: ClassVar[str]
    """Whose log ``options.log`` is."""
    encodings: ClassVar[tuple[str, ...]]
    """The first is the default; none if there is nothing to choose."""
    exact = True
    constraints: ClassVar[frozenset[str]] = CONSTRAINTS
    options: ClassVar[frozenset[str]] = frozenset(
        {"seed", "warm_start", "threads", "encoding", "log"}
    )

    def __init__(self, tuning: Tuning = DEFAULT) -> None:
        self._tuning = tuning

    @abstractmethod
    def import_library(self) -> None:
        """Raise `SolverUnavailable` if what the family needs is not installed."""

    @abstractmethod
    def search(self, request: Request) -> None:
        """Report schedules and bounds; may end by raising `Stopped`."""

    def run(
        self,
        instance: Instance,
        tables: LatencyTables,
        options: SolveOptions,
        monitor: Monitor,
    ) -> None:
        """Search; see `scope_opt.solving.solver.Solver`."""
        request = self._request(instance, tables, options, monitor)
        try:
            self.search(request)
        except Stopped:
            return
        finally:
            request.close_log(self.library)

    def _request(
        self,
        instance: Instance,
        tables: LatencyTables,
        options: SolveOptions,
        monitor: Monitor,
    ) -> Request:
        self.import_library()
        check_encoding(options.encoding, self.encodings)
        return make_request(self.name, instance, tables, options, monitor, self._tuning)


class Family(ProgramSolver):
    """One with a program of the whole network; see `scope_opt.solving.program.Formulation`.

    It has one more method. It is registered as a solver, and with that as a formulation.
    """

    @abstractmethod
    def program(self, request: Request, ceiling_ps: int | None) -> OpenProgram:
        """One program that has every schedule up to the ceiling.

        Where energy is minimized, the ceiling is the bound on the latency.
        """

    def build(
        self,
        instance: Instance,
        tables: LatencyTables,
        options: SolveOptions,
        monitor: Monitor,
        ceiling_ps: int | None,
    ) -> OpenProgram:
        """See `scope_opt.solving.program.Formulation`."""
        if tables.placed is not None:
            problem = (
                f"nop.model: found 'placed', for which solver {self.name!r} makes one program "
                "after the other, one for each segment and largest beat; it can write that of a "
                "'regressed' instance"
            )
            raise InputError("package", [problem])
        request = self._request(instance, tables, options, monitor)
        bound_ps = request.space.latency_ps
        return self.program(request, ceiling_ps if bound_ps is None else bound_ps)
