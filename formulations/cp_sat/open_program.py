"""The constraint program as its user may change it, solve it in CP-SAT and write it."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from formulations.cp_sat.rows import import_cp_sat
from formulations.cp_sat.run import drive, objective_of
from formulations.family.open_program import OpenProgram, Scale
from formulations.family.solution_file import SolutionFile
from scope_opt.model.files import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from formulations.cp_sat.columns import Program
    from formulations.family.open_program import Answer, Status
    from formulations.request import Request
    from scope_opt.schedule.schedule import Schedule, Segment

RESPONSES = (".pb", ".txt", ".textproto")
"""Files of CP-SAT's answers: as a protocol buffer, or that as text."""


class CpSatProgram(OpenProgram):
    """A `CpModel` of columns; variables and rows get names.

    Parameters
    ----------
    request, formulation, ceiling_ps
        See `OpenProgram`.
    program : Program
        Exact: its units are 1 ps and 1 fJ.
    """

    def __init__(
        self, request: Request, formulation: str, program: Program, ceiling_ps: int | None
    ) -> None:
        scale = Scale(program.unit_ps, program.unit_fj, program.scale, program.constant)
        super().__init__(request, formulation, program.model, scale, program.schedule, ceiling_ps)
        self._program, self._variables = program, program.variables()
        self._families = {name: list(places) for name, places in program.families.items()}
        proto = self.model.proto
        self._minimized = _terms(proto.objective)
        self._names: dict[str, Any] = {}
        for family, members in self._variables.items():
            for index, variable in members.items():
                places = index if isinstance(index, tuple) else (index,)
                name = "_".join(map(str, (family, *places)))
                proto.variables[variable.index].name = name
                self._names[name] = variable
        for place, variable in enumerate(proto.variables):
            if not variable.name:
                variable.name = f"part_{place}"
        for family, rows in self._families.items():
            for number, place in enumerate(rows, 1):
                proto.constraints[place].name = f"{family}_{number}"
        proto.name = self.title

    @property
    def variables(self) -> Mapping[str, Mapping[Any, Any]]:
        """See `OpenProgram`."""
        return self._variables

    @property
    def families(self) -> Mapping[str, Sequence[Any]]:
        """See `OpenProgram`; rows as CP-SAT's protocol buffers have them."""
        rows = self.model.proto.constraints
        return {name: [rows[place] for place in some] for name, some in self._families.items()}

    def constrain(self, name: str, *rows: Any) -> None:
        """See `OpenProgram`."""
        if name in self._families:
            raise ValueError(f"the program has a {name!r} already; take another name")
        self._families[name] = []
        for number, row in enumerate(rows, 1):
            self._families[name].append(self.model.add(row).with_name(f"{name}_{number}").index)

    def names(self) -> dict[str, Any]:
        """See `OpenProgram`."""
        return self._names

    def _whole(self, variable: Any) -> bool:
        return True

    def _solution_file(self, path: Path) -> SolutionFile:
        """Also an answer of CP-SAT, which has values by the places of variables."""
        if path.suffix not in RESPONSES:
            return super()._solution_file(path)
        from google.protobuf import message, text_format
        from ortools.sat import cp_model_pb2

        response = cp_model_pb2.CpSolverResponse()
        try:
            data = path.read_bytes()
            if path.suffix == ".pb":
                response.ParseFromString(data)
            else:
                text_format.Parse(data.decode(), response)
        except OSError as error:
            raise InputError(str(path), [f"cannot be read: {error.strerror}"]) from error
        except (message.DecodeError, text_format.ParseError, UnicodeDecodeError) as error:
            raise InputError(str(path), [f"no answer of CP-SAT: {error}"]) from error
        proto, solution = self.model.proto, list(response.solution)
        # Others may have added variables behind those that are here.
        if len(solution) < max(variable.index for variable in self._names.values()) + 1:
            problem = (
                f"holds {len(solution)} values, allowed {len(proto.variables)} and more; take the "
                "instance, segments and ceiling that the program was written with"
            )
            raise InputError(str(path), [problem])
        values = {name: solution[variable.index] for name, variable in self._names.items()}
        return SolutionFile(values, response.objective_value)

    def solve(
        self,
        time_limit_s: float | None = None,
        threads: int = 1,
        start: Schedule | None = None,
        log: Path | None = None,
    ) -> Answer:
        """See `OpenProgram`; in CP-SAT, whose proofs are left to a second run."""
        cp, program, monitor = import_cp_sat(), self._program, self._monitor(time_limit_s)
        options = replace(self._request.options, threads=threads, log=log)
        found: list[Sequence[Segment]] = []
        bounds: list[int] = []
        self.model.clear_hints()
        if start is not None:
            program.hint(start.segments)
        status, solver = drive(
            replace(self._request, options=options, monitor=monitor),
            self.model,
            program.schedule,
            on_solution=found.append,
            on_bound=bounds.append,
        )
        own = _terms(self.model.proto.objective) != self._minimized
        value = bound = schedule = None
        if found:
            solution = list(solver.response_proto.solution)
            schedule = self._schedule(lambda variable: solution[variable.index])
            if not own:
                value = float(program.bound(objective_of(self.model, solution)))
        if status == cp.OPTIMAL and value is not None:
            bounds.append(objective_of(self.model, solution))
        if bounds and not own:
            bound = program.bound(max(bounds))
        ends: dict[Any, Status] = {cp.OPTIMAL: "optimal", cp.INFEASIBLE: "infeasible"}
        return self._answer(ends.get(status, "stopped"), schedule, value, bound)

    def content(self, suffix: str) -> bytes:
        """See `OpenProgram`: .pb, CP-SAT's own protocol buffer; its objective is in ps or fJ."""
        if suffix != ".pb":
            problem = f"found {suffix!r}; solver 'cp-sat' writes .pb, the MILPs .mps and .lp"
            raise InputError("--output", [problem])
        objective, scale = self.model.proto.objective, self.scale
        before = objective.scaling_factor, objective.offset
        if _terms(objective) == self._minimized:
            objective.scaling_factor = scale.factor
            objective.offset = scale.constant / scale.factor
        try:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model.pb"
                if not self.model.export_to_file(str(path)):
                    raise InputError("--output", ["OR-tools cannot write the program"])
                return path.read_bytes()
        finally:
            objective.scaling_factor, objective.offset = before


def _terms(objective: Any) -> tuple[list[int], list[int]]:
    return list(objective.vars), list(objective.coeffs)
