"""Solver `cp-sat`: constraint programs of the whole mapping problem, solved by OR-tools CP-SAT."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from formulations.arrays import take
from formulations.columns.maker import ColumnMaker, alone_latencies_ps
from formulations.columns.schedules import to_segments
from formulations.columns.table import ColumnTable
from formulations.cp_sat.columns import Program
from formulations.cp_sat.links import LinkedPaths
from formulations.cp_sat.open_program import CpSatProgram
from formulations.cp_sat.rows import import_cp_sat
from formulations.cp_sat.run import drive, refuse_overflow, size
from formulations.cp_sat.thresholds import CpThresholdProgram
from formulations.family.solver import Family
from formulations.paths.cuts import shortest_cut
from formulations.paths.floors import floors_of
from formulations.paths.solver import prove_cuts
from formulations.paths.staircase import Undecided
from formulations.placed.solver import prove_placed, refuse_foreign
from formulations.request import CONSTRAINTS
from formulations.space import Caps, Stopped
from scope_opt.model.files import InputError
from scope_opt.model.tables import LIMIT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from formulations.columns.columns import Columns
    from formulations.columns.schedules import Partitions
    from formulations.request import Request

    Ints = NDArray[np.int64]


class CpSatSolver(Family):
    """Constraint programming over cluster columns: coarse programs first.

    Encodings: segments one by one where nothing couples them, else as ``columns``; one program
    whose Booleans are columns. One worker unless told otherwise, so that runs are repeatable.
    """

    name = "cp-sat"
    summary = "constraint program (OR-tools CP-SAT) over segments and clusters, energy budgets too"
    library = "CP-SAT"
    encodings = ("segments", "columns")
    constraints: ClassVar[frozenset[str]] = CONSTRAINTS | {"placed"}

    def import_library(self) -> None:
        """See `Family`."""
        import_cp_sat()

    def search(self, request: Request) -> None:
        """See `Family`."""
        if request.given.placed is None:
            Search(request).run()
            return
        refuse_foreign(self.name, request.instance, request.options.encoding, self.encodings[0])
        try:
            prove_placed(self.name, request, LinkedPaths)
        except Undecided:
            request.monitor.give_up(["schedules break links by less than the program can tell"])

    def program(self, request: Request, ceiling_ps: int | None) -> CpSatProgram:
        """The exact program of encoding ``columns``, in ps and fJ; see `Family`."""
        try:
            program = Search(request).exact_program(ceiling_ps)
        except Stopped:
            reasons = [f"{reason}, or a ceiling" for reason in request.monitor.explanation]
            raise InputError("instance", reasons) from None
        if program is None:
            within = "" if ceiling_ps is None else f" within {ceiling_ps} ps"
            problem = f"there is no schedule{within}, so there is no program"
            raise InputError("instance", [problem])
        return CpSatProgram(request, self.name, program, ceiling_ps)


class Search:
    """The programs for one instance, from coarse to exact, and what they tell the monitor."""

    def __init__(self, request: Request) -> None:
        self._request, self._monitor = request, request.monitor
        self._tables, self._space, self._tuning = request.tables, request.space, request.tuning

    def run(self) -> None:
        """Solve program after program; raises `Stopped`."""
        request = self._request
        one_program = request.options.encoding == "columns"
        if one_program or request.small or self._space.couples_segments:
            self._begin()
            if request.energy_minimized:
                self._least_energy()
            else:
                self._least_latency()
            return
        try:
            prove_cuts(CpSatSolver.name, request, CpThresholdProgram)
        except Undecided:
            self._least_latency()

    def exact_program(self, ceiling: int | None) -> Program | None:
        """The program of all schedules up to a ceiling; None if it has no solution."""
        built = self._build(ceiling, exact=True)
        return None if built is None else built[1]

    def _least_latency(self) -> None:
        """Each program asks for schedules up to a ceiling.

        Few columns matter under a low one, and to refute it is quick and raises the bound. Ceilings
        rise, in growing steps, until one is attained; then the units become exact.
        """
        monitor = self._monitor
        simple = Caps(self._tables, self._space, None).bound_ps
        self._request.raise_bound(simple, "simple bound")
        bound = monitor.bound
        step: int | None = None
        exact, tries = False, 0
        while bound is None or monitor.objective is None or bound < monitor.objective:
            if monitor.stopping:
                raise Stopped
            best = monitor.objective
            if bound is None:
                ceiling = best
            else:
                gap = None if best is None else best - bound
                if step is None:
                    step = max(1, bound // self._tuning.program_rise)
                ceiling = bound + step
                if gap is not None and (step >= gap or gap <= bound // self._tuning.program_close):
                    ceiling = best
                elif gap is None and (tries >= self._tuning.program_ceilings or ceiling >= LIMIT):
                    ceiling = None
                step *= 2
                tries += 1
            unit = self._solve(ceiling, exact=exact)
            if unit is None and ceiling is None:
                self._request.prove_infeasible("simple bound")  # at least: others have credit
                return
            if unit == 1:
                return
            if unit is not None:
                exact, step = True, None
            elif ceiling is not None:
                if monitor.objective is not None and ceiling >= monitor.objective:
                    raise RuntimeError("CP-SAT refutes a program that contains a known schedule")
                self._request.raise_bound(ceiling + 1, "simple bound")
            bound = monitor.bound

    def _least_energy(self) -> None:
        """A coarse program, then the exact one, both within the bound on the latency."""
        monitor, ceiling = self._monitor, self._space.latency_ps
        for exact in (False, True):
            if monitor.objective is not None and monitor.bound == monitor.objective:
                return
            unit = self._solve(ceiling, exact=exact)
            if unit is None:
                if monitor.objective is not None:
                    raise RuntimeError("CP-SAT refutes a program that contains a known schedule")
                self._request.prove_infeasible("simple bound")
            if unit in (None, 1):
                return

    def _begin(self) -> None:
        """Best schedule in which every segment is one cluster, to begin with."""
        space = self._space
        if space.fewest > 1:
            return
        maker = ColumnMaker(self._tables, space, lambda: self._monitor.stopping)
        columns = maker.fastest_alone()
        costs = np.full_like(self._tables.load_ps, LIMIT)
        costs[columns.first, columns.last] = alone_latencies_ps(self._tables, space, columns)
        _, path = shortest_cut(costs, space.segment_count)
        if path:
            chosen = take(columns, np.array([columns.runs.index(ends) for ends in path]))
            self._request.offer(to_segments(chosen, maker.partitions(chosen)))

    # --- One program -----------------------------------------------------------------------------

    def _solve(self, ceiling: int | None, *, exact: bool) -> int | None:
        """Solve one program to the end; its unit in ps, None if there is no solution.

        Raises `Stopped` if the monitor says so before the end.
        """
        monitor = self._monitor
        monitor.report("building the program", 0.0)
        with monitor.timed("build"):
            built = self._build(ceiling, exact=exact)
            if built is None:
                return None
            unit, program = built
            refuse_overflow(program.model)
            if monitor.segments is not None:
                program.hint(monitor.segments)
            monitor.size(*size(program.model))
        limit = "" if ceiling is None else f" up to {ceiling} ps"
        monitor.report(f"schedules{limit} in units of {unit} ps", 0.0)
        most = None if ceiling is None or self._request.energy_minimized else ceiling + 1

        def on_bound(value: int) -> None:
            bound = program.bound(value)
            self._request.raise_bound(bound if most is None else min(bound, most), "cp-sat")

        def known(value: int) -> bool:
            return monitor.bound is not None and program.bound(value) <= monitor.bound

        status, solver = drive(
            self._request,
            program.model,
            program.schedule,
            on_solution=self._request.offer,
            on_bound=on_bound,
            known=known,
        )
        cp = import_cp_sat()
        if status == cp.INFEASIBLE:
            monitor.credit("cp-sat")
            return None
        if status == cp.OPTIMAL:
            self._request.raise_bound(program.bound(solver.value(program.objective)), "cp-sat")
            return unit
        if not monitor.stopping:
            raise RuntimeError("CP-SAT ended without a proof")
        raise Stopped

    def _build(self, ceiling: int | None, *, exact: bool) -> tuple[int, Program] | None:
        """Program and its unit in ps; None if it has no solution."""
        tables, space = self._tables, self._space
        found = self._columns(ceiling)
        if found is None:
            return None
        caps, columns, partitions = found
        slowest = int(columns.time_ps.max(initial=0))
        unit = 1 if exact else self._unit(slowest, ceiling)
        unit_fj = 1
        if space.energy_matters and unit > 1:
            largest = int(columns.energy_fj.max(initial=0))
            unit_fj = max(1, largest // self._tuning.coarse_steps**2)
        if self._monitor.stopping:
            raise Stopped
        return unit, Program(tables, space, columns, partitions, caps, unit, unit_fj, ceiling)

    def _columns(self, ceiling: int | None) -> tuple[Caps, Columns, Partitions] | None:
        """Largest beats, columns of schedules up to the ceiling; None if there is none.

        Columns bound beats from below, which may leave fewer columns, and so on. Their partitions
        are looked up when it is known which ones are left.
        """
        tables, space, monitor = self._tables, self._space, self._monitor
        table = ColumnTable(self._request, ceiling)
        caps, columns = table.caps, table.columns
        most = self._tuning.max_columns
        if columns.number > most:
            problem = (
                f"solver 'cp-sat' would need more than {most} Booleans; use solver "
                "'exact', fewer segments or a smaller max_region"
            )
            monitor.give_up([problem])
            raise Stopped
        if space.couples_segments:
            columns = self._within_energy(columns)
        before = None
        while before is None or columns.number < before * self._tuning.fewer:
            before = columns.number
            beats = floors_of(
                take(columns, np.argsort(columns.time_ps)),
                space,
                tables.layers,
                tables.chiplets,
                stopping=lambda: monitor.stopping,
                threads=self._request.threads,
                tuning=self._tuning,
            )
            caps = Caps(tables, space, ceiling, beats)
            if ceiling is not None and not self._request.energy_minimized:
                self._request.raise_bound(min(caps.bound_ps, ceiling + 1), "paths")
            columns = take(columns, columns.time_ps <= table.longest(columns, caps))
            if columns.number < before:
                monitor.credit("paths")  # what follows rests on their leaving columns out
        if caps.bound_ps > (LIMIT - 1 if ceiling is None else ceiling):
            monitor.credit("paths")
            return None
        return caps, columns, table.partitions(columns)

    def _within_energy(self, columns: Columns) -> Columns:
        """Columns that some row of columns through all layers contains at little enough energy.

        That of the known schedule, where energy is minimized. The least of all rows is a bound.
        """
        tables, energy, budget = self._tables, self._tables.energy, self._space.budget_fj
        first, last, spent = columns.first, columns.last, columns.energy_fj
        if energy is None:
            return columns
        loading = tables.loading_fj
        before, rest = np.full((2, tables.layers + 1), LIMIT)
        before[0] = rest[-1] = 0
        for layer in range(tables.layers):
            some = first == layer
            np.minimum.at(before, last[some] + 1, before[layer] + spent[some])
            some = last == tables.layers - 1 - layer
            np.minimum.at(rest, first[some], rest[tables.layers - layer] + spent[some])
        most = LIMIT if budget is None else budget
        if self._request.energy_minimized:
            if before[-1] < LIMIT:
                least = tables.samples * int(before[-1]) + loading
                self._request.raise_bound(least, "paths")
            if self._monitor.objective is not None:
                most = min(most, (self._monitor.objective - loading) // tables.samples)
        return take(columns, before[first] + spent + rest[last + 1] <= most)

    def _unit(self, slowest: int, ceiling: int | None) -> int:
        """Length of a coarse program's time unit in ps; 1 if that is hardly finer."""
        if ceiling is not None:
            slowest = min(slowest, ceiling // self._tables.samples)
        unit = slowest // self._tuning.coarse_steps
        return unit if unit > 8 else 1
