"""What a solve returns: status, objective, bound, gap, times, trajectory, provenance."""

from __future__ import annotations

import platform
from contextlib import suppress
from enum import StrEnum
from importlib import metadata
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import AfterValidator, Field, model_validator

from scope_opt import __version__
from scope_opt.model.files import MAX_INT, Document, inconsistent, optional, shortened
from scope_opt.model.network import Index
from scope_opt.model.package import Order
from scope_opt.model.shown import Shown
from scope_opt.schedule.schedule import InstanceReference, Schedule

if TYPE_CHECKING:
    from collections.abc import Callable

Prover = Literal["paths", "highs", "cp-sat", "recursion", "enumeration", "simple bound"]
"""What proves bounds: shortest paths over columns, programs in a library, the recursion of solver
`exact`, going through all schedules, or sums over the tables of a segment."""
PROVERS: tuple[Prover, ...] = get_args(Prover)
Library = Literal["highs", "cp-sat"]
"""What solves mathematical programs."""
SolverClass = Literal["L", "D", "H", "P", "E"]
"""What a result speaks for: `scope_opt.solving.metrics.CLASS_NAMES` says what they are."""


class Status(StrEnum):
    """What is known about the instance."""

    OPTIMAL = "optimal"
    """A schedule, proved best: bound equals objective."""
    FEASIBLE = "feasible"
    """A schedule, not proved best."""
    INFEASIBLE = "infeasible"
    """Proved that the solver's schedules contain no valid one."""
    UNKNOWN = "unknown"
    """No schedule found, none excluded."""


class StopReason(StrEnum):
    """Why the solver ended."""

    COMPLETED = "completed"
    TIME_LIMIT = "time_limit"
    CPU_LIMIT = "cpu_limit"
    """The solver's process has used as much processor time as allowed."""
    GAP_LIMIT = "gap_limit"
    """The gap is as small as was asked for."""
    OUTDONE = "outdone"
    """Of an order of positions: its bound reaches the best schedule of the others."""
    MEMORY_LIMIT = "memory_limit"
    """The solver's process was ended because it used more memory than allowed."""
    INTERRUPTED = "interrupted"
    ERROR = "error"
    """The solver's process crashed; what it had found until then counts."""


def _options(value: dict[str, Any]) -> dict[str, Any]:
    """Refuse values that no run can have had, of the options that others read."""
    inconsistent(
        (name, f"found {shortened(repr(value[name]))}; allowed: {allowed}")
        for name, (fits, allowed) in _KNOWN_OPTIONS.items()
        if value.get(name) is not None and not fits(value[name])
    )
    return value


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value <= MAX_INT  # type: ignore[operator]


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_INT


def _is_choice(value: object) -> bool:
    """Whether it is a `scope_opt.solving.solver.SegmentChoice`, tuples as lists."""
    if isinstance(value, list | tuple):
        return all(map(_is_count, value))
    return value in ("single", "balanced", "dp") or _is_count(value)


_KNOWN_OPTIONS: dict[str, tuple[Callable[[object], bool], str]] = {
    **dict.fromkeys(("time_limit_s", "rel_gap"), (_is_number, "a number from 0")),
    **dict.fromkeys(
        ("seed", "iterations", "threads", "points", "memory_limit_bytes"),
        (_is_count, "an integer from 0"),
    ),
    **dict.fromkeys(
        ("encoding", "similarity", "donor"), (lambda value: isinstance(value, str), "a name")
    ),
    "segments": (_is_choice, "single, balanced, dp, a number, or a list of first layers"),
}
Options = Annotated[dict[str, Any], AfterValidator(_options)]
"""What a run was asked for, besides its instance."""


class EnergyBreakdown(Document):
    """Energy of all samples in joules; weight loading counts as DRAM."""

    mac: float
    sram: float
    nop: float
    dram: float
    total: float


class Times(Document):
    """Wall times in seconds; ``total`` includes the check of what was found, but not ``compile``.

    ``build`` is the time to set up mathematical programs and ``translate`` that to hand them to
    their solver; None for other methods. ``solve`` is the rest of the solver's time. ``compile`` is
    the time in which machine code was made, once per machine; no other time and no limit counts it.
    """

    tables: float
    build: float | None
    translate: float | None = None
    solve: float
    total: float
    compile: float = optional(0.0)


class ModelSize(Document):
    """Size of a mathematical program."""

    variables: Index
    constraints: Index
    nonzeros: Index


class Proof(Document):
    """Who proved the bound, or that there is no schedule, and what a library had to do for it."""

    by: tuple[Prover, ...]
    """All that the bound rests on, in the order of `PROVERS`; ``simple bound`` only where nothing
    else raised it. Empty for a solver that does not say, and for a run without a bound."""
    library: Library | None
    """Which one was handed programs, whether or not the bound rests on its answers."""
    programs: Index
    """Mathematical programs built and handed to a library."""
    library_s: float
    """Wall time in seconds that the library spent on them."""
    second_library: Library | None = None
    """Another one that was handed programs, which ``programs`` and ``library_s`` count as well."""

    @property
    def libraries(self) -> tuple[Library, ...]:
        """All that were handed programs."""
        both = (self.library, self.second_library)
        return tuple(library for library in both if library is not None)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        found = []
        if self.by != tuple(prover for prover in PROVERS if prover in self.by):
            found.append(("by", f"must be distinct and in the order {', '.join(PROVERS)}"))
        if (self.library is None) != (self.programs == 0):
            found.append(("library", "goes with at least one program"))
        if self.second_library is not None and self.library in (None, self.second_library):
            found.append(("second_library", "goes with a first one, which it is not"))
        if {"highs", "cp-sat"} & set(self.by) - set(self.libraries):
            found.append(("by", "names a library that was handed no program"))
        inconsistent(found)
        return self


Energy = Annotated[int, Field(ge=0, le=2**100)]
"""Energy of all samples in fJ. That of one sample fits 63 bits, as all tables do."""


class TrajectoryPoint(Document):
    """Incumbent and bound from ``time_s`` after the start on; in fJ where energy is minimized."""

    time_s: float
    objective_ps: Index | None = None
    bound_ps: Index | None = None
    objective_fj: Energy | None = None
    bound_fj: Energy | None = None


class OrderOutcome(Document):
    """What solving in one order of positions has shown; in fJ where energy is minimized.

    The bound is one on schedules in this order, or the objective of the best one in another order
    if no schedule in this order is better.
    """

    keep_nulls: ClassVar[bool] = True

    order: Order
    stop_reason: StopReason
    objective_ps: Index | None
    bound_ps: Index | None
    objective_fj: Index | None = None
    bound_fj: Index | None = None
    infeasible: bool = False
    """Whether it is proved that there is no schedule."""
    time_s: float


class Result(Document, Shown):
    """Outcome of one solve; numbers that do not exist are None (null), never 0 or infinity.

    Objective and bound are latencies of all samples in ps, or, where the instance bounds the
    latency, energies in fJ; the gap is that of the pair which exists.
    """

    keep_nulls: ClassVar[bool] = True

    format: Literal["scope-result/1"] = "scope-result/1"
    instance: InstanceReference
    solver: str
    solver_class: SolverClass | None = None
    """None for solvers in no class, and in results older than the field; see
    `scope_opt.solving.metrics.solver_class`."""
    options: Options
    status: Status
    stop_reason: StopReason
    explanation: tuple[str, ...] = ()
    """Why there is no schedule or no proof, if not for a limit, in the user's terms; else empty."""
    objective_ps: Index | None
    bound_ps: Index | None
    objective_fj: Energy | None = None
    bound_fj: Energy | None = None
    gap: float | None
    latency_s: float | None
    throughput_per_s: float | None
    utilization: float | None
    energy_j: EnergyBreakdown | None
    times_s: Times
    peak_memory_bytes: Index | None
    """Largest resident size of the process that solved."""
    model: ModelSize | None = None
    """The largest mathematical program of the run."""
    proof: Proof | None = None
    """None where there is neither a bound nor a program, and in results older than the field; see
    `scope_opt.solving.metrics.proof_of`."""
    warm_start: str | None = None
    """``accepted``, or ``rejected: why``; None without one."""
    orders: tuple[OrderOutcome, ...] = optional(())
    """Orders of positions that were tried, if the order was to be chosen; the schedule has its."""
    trajectory: tuple[TrajectoryPoint, ...]
    schedule: Schedule | None
    versions: dict[str, str]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        found = []
        if None not in (self.objective_ps, self.objective_fj):
            found.append(("objective_fj", "excludes objective_ps; one of the two is minimized"))
        objective, bound, unit = self.objective_ps, self.bound_ps, "ps"
        if self.objective_fj is not None or self.bound_fj is not None:
            objective, bound, unit = self.objective_fj, self.bound_fj, "fj"
        if (self.schedule is None) != (objective is None):
            found.append((f"objective_{unit}", "goes with a schedule"))
        if (self.status in (Status.OPTIMAL, Status.FEASIBLE)) != (self.schedule is not None):
            found.append(("status", f"'{self.status}' contradicts the presence of a schedule"))
        if objective is not None and bound is not None:
            if bound > objective:
                found.append((f"bound_{unit}", f"{bound} exceeds the objective"))
            if (self.status is Status.OPTIMAL) != (bound == objective):
                found.append(("status", "is 'optimal' exactly if bound and objective are equal"))
        elif self.status is Status.OPTIMAL:
            found.append(("status", "'optimal' needs a bound"))
        if self.gap != relative_gap(objective, bound):
            found.append(("gap", "is not (objective - bound) / objective"))
        inconsistent(found)
        return self


def relative_gap(objective: int | None, bound: int | None) -> float | None:
    """``(objective - bound) / objective``; None where either is missing, 0 for equal values."""
    if objective is None or bound is None:
        return None
    return (objective - bound) / objective if objective > bound else 0.0


def versions() -> dict[str, str]:
    """Versions of what a result may depend on, of what is installed."""
    found = {"scope-opt": __version__, "python": platform.python_version()}
    for package in ("numpy", "scipy", "numba", "ortools", "pyomo", "highspy"):
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
