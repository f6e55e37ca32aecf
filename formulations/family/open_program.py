"""A program that its user may change, solve, write, and read solutions of.

`OpenProgram` is what `formulations.build` returns, whatever library the family's model is for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from formulations.family.solution_file import SolutionFile, read_solution
from scope_opt import __version__
from scope_opt.model.files import InputError, write_bytes
from scope_opt.schedule.evaluate import evaluate
from scope_opt.schedule.schedule import InstanceReference, Schedule
from scope_opt.solving.monitor import Monitor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from formulations.request import Request
    from scope_opt.schedule.evaluation import Evaluation
    from scope_opt.schedule.schedule import Segment

    Value = Callable[[Any], float]
    Read = Callable[[Value], Sequence[Segment]]

Status = Literal["optimal", "infeasible", "stopped"]

FRACTION = 1e-4
"""Values of integer variables may be this far from whole numbers."""


@dataclass(frozen=True)
class Scale:
    """What the numbers of a program mean.

    The instance's objective (latency in ps, or energy in fJ where that is minimized) is ``factor``
    times the objective of the library's model, plus ``constant``.
    """

    unit_ps: int
    """Times are counted in units of so many ps,"""
    unit_fj: int
    """energies in units of so many fJ."""
    factor: int
    constant: int


@dataclass(frozen=True)
class Answer:
    """How a run of the library ended."""

    status: Status
    """As the library claims for the program with the constraints added to it."""
    schedule: Schedule | None
    """Of the best solution found."""
    evaluation: Evaluation | None
    """Of that schedule by the rules of the instance, which know nothing of added constraints."""
    objective: int | None
    """Latency of the schedule in ps, or its energy in fJ where that is minimized, by those rules;
    None if it breaks one."""
    value: float | None
    """What the model says instead, in the same unit: as much, unless added constraints lengthen
    beats. None if another objective was put in place."""
    bound: int | None
    """Lower bound on the model's objective over all solutions, in the same unit."""


@dataclass(frozen=True)
class Imported:
    """Schedule in the file of a solution, and the objective that the file claims, if it does."""

    schedule: Schedule
    claimed: float | None


class OpenProgram(ABC):
    """A program of an instance in a modelling library.

    Parameters
    ----------
    request : Request
        The instance and its options.
    formulation : str
        Name of the family.
    model : object
        The library's: a Pyomo ``ConcreteModel`` or a ``CpModel``.
    scale : Scale
    read : callable
        Makes segments of a solution, given the values of variables.
    ceiling_ps : int, optional
        Schedules of a larger latency may be left out of the model.

    Attributes
    ----------
    instance, formulation, model, scale, ceiling_ps
        As above.
    """

    def __init__(
        self,
        request: Request,
        formulation: str,
        model: Any,
        scale: Scale,
        read: Read,
        ceiling_ps: int | None = None,
    ) -> None:
        self._request, self._read = request, read
        self.instance, self.formulation = request.instance, formulation
        self.model, self.scale, self.ceiling_ps = model, scale, ceiling_ps

    # --- The model -------------------------------------------------------------------------------

    @property
    @abstractmethod
    def variables(self) -> Mapping[str, Mapping[Any, Any]]:
        """The library's variables, by family and index; the family's README says what they are."""

    @property
    @abstractmethod
    def families(self) -> Mapping[str, Sequence[Any]]:
        """The library's rows by family, own ones included."""

    @abstractmethod
    def constrain(self, name: str, *rows: Any) -> None:
        """Add rows to the model, as a family of that name.

        Parameters
        ----------
        name : str
            Of the family; exported files have it.
        *rows
            Expressions of the model's library, such as ``2 * x <= y``.
        """

    # --- Solutions -------------------------------------------------------------------------------

    @abstractmethod
    def names(self) -> dict[str, Any]:
        """Variables by the names that they have in files."""

    @abstractmethod
    def _whole(self, variable: Any) -> bool:
        """Whether a variable takes only whole numbers."""

    def schedule_from(self, solution: Mapping[str, float] | Value | str | Path) -> Schedule:
        """Schedule in a solution; `scope_opt.evaluate` says whether it is valid, and its cost.

        Parameters
        ----------
        solution : mapping, callable, str or Path
            Values by the names that variables have in files, those that are 0 may be left out;
            or a function from the library's variables to their values, such as
            ``pyomo.environ.value`` or the method ``value`` of a ``CpSolver``; or the path of a
            file, see `import_solution`.

        Raises
        ------
        InputError
            If these are no values of this program's variables, or make no schedule.
        """
        if isinstance(solution, str | Path):
            return self.import_solution(Path(solution)).schedule
        if isinstance(solution, Mapping):
            return self._schedule(self._by_name("solution", dict(solution)))
        return self._schedule(solution)

    def import_solution(self, path: Path) -> Imported:
        """Schedule in a file of a solution: by HiGHS, SCIP, CBC, Gurobi or CPLEX.

        The program that was solved must have been written by the same formulation, for the same
        instance and options; rows and variables may have been added to it.

        Raises
        ------
        InputError
            If the file holds no solution of this program.
        """
        found = self._solution_file(path)
        value = self._by_name(str(path), found.values)
        return Imported(self._schedule(value, str(path)), found.objective)

    def _solution_file(self, path: Path) -> SolutionFile:
        return read_solution(path)

    def _by_name(self, source: str, values: dict[str, float]) -> Value:
        names = self.names()
        known = values.keys() & names.keys()
        if not known:
            example = next(iter(values), "nothing")
            problem = (
                f"no variable of {self.formulation} of {self.instance.name} (found {example!r}, "
                f"allowed such as {next(iter(names))!r}); take the instance, formulation, "
                "segments, encoding and ceiling that the program was written with"
            )
            raise InputError(source, [problem])
        for name in sorted(known):
            value = values[name]
            if self._whole(names[name]) and abs(value - round(value)) > FRACTION:
                problem = f"{name} = {value}, allowed are whole numbers; solve it with integers"
                raise InputError(source, [problem])
        by_variable = {id(names[name]): values[name] for name in known}
        return lambda variable: by_variable.get(id(variable), 0.0)

    def _schedule(self, value: Value, source: str = "solution") -> Schedule:
        try:
            segments = tuple(self._read(value))
        except (IndexError, ValueError) as error:
            raise InputError(source, [f"these values make no schedule: {error}"]) from error
        layers = [
            layer
            for segment in segments
            for cluster in segment.clusters
            for layer in range(cluster.first_layer, cluster.last_layer + 1)
        ]
        for layer in range(len(self.instance.layer_names)):
            if layers.count(layer) != 1:
                problem = f"layer {layer} is in {layers.count(layer)} clusters, allowed is 1"
                raise InputError(source, [f"these values make no schedule: {problem}"])
        return Schedule(instance=InstanceReference.to(self.instance), segments=segments)

    # --- Solving ---------------------------------------------------------------------------------

    @abstractmethod
    def solve(
        self,
        time_limit_s: float | None = None,
        threads: int = 1,
        start: Schedule | None = None,
        log: Path | None = None,
    ) -> Answer:
        """Solve the model as it is now, with the library that the solver of this name uses.

        Parameters
        ----------
        time_limit_s : float, optional
        threads : int
        start : Schedule, optional
            To begin with, if it keeps to the constraints added.
        log : Path, optional
            File for the library's own log.
        """

    def _monitor(self, time_limit_s: float | None) -> Monitor:
        return Monitor(time_limit_s, minimizes=self.instance.minimizes)

    def _answer(
        self,
        status: Status,
        schedule: Schedule | None,
        value: float | None,
        bound: int | None,
    ) -> Answer:
        if schedule is None:
            return Answer(status, None, None, None, None, bound)
        evaluation = evaluate(self.instance, schedule, self._request.given)
        objective = self._request.objective(evaluation)
        return Answer(status, schedule, evaluation, objective, value, bound)

    # --- Files -----------------------------------------------------------------------------------

    @abstractmethod
    def content(self, suffix: str) -> bytes:
        """The program as the file of the format that ``suffix`` names.

        Raises
        ------
        InputError
            For a format that the library does not write, or a program that obviously has no
            solution.
        """

    def write(self, path: str | Path, *, force: bool = False) -> None:
        """Write the program to a file; its ending says the format; ``force`` replaces one."""
        target = Path(path)
        write_bytes(target, self.content(target.suffix), force=force)

    @property
    def title(self) -> str:
        """Name of the program in files: instance, formulation, unit of time."""
        name = "".join(c if c.isascii() and c.isalnum() else "-" for c in self.instance.name)
        return f"{name}_{self.formulation}_1_unit={self.scale.unit_ps}_ps"

    @property
    def description(self) -> list[str]:
        """What files say of themselves, in lines."""
        options, scale = self._request.options, self.scale
        segments = "free" if options.segments is None else str(options.segments)
        kind = self.formulation + (f" ({options.encoding})" if options.encoding else "")
        minimized = "energy in fJ" if self.instance.minimizes == "energy" else "latency in ps"
        lines = [
            f"Scope-Opt {__version__}: {kind} of {self.title.split('_', 1)[0]}",
            f"instance {self.instance.digest}, segments: {segments}",
            f"1 unit = {scale.unit_ps} ps for times",
            f"the objective is the {minimized}",
            "no schedule is left out"
            if self.ceiling_ps is None
            else f"schedules above {self.ceiling_ps} ps are left out",
        ]
        if self._request.space.energy_matters:
            lines[3:3] = [f"1 unit = {scale.unit_fj} fJ for energies"]
        return lines
