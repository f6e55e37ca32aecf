"""What a solve returns: status, objective, bound, gap, times, trajectory, provenance."""

from __future__ import annotations

import platform
from enum import StrEnum
from importlib import metadata
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from scope_opt import __version__
from scope_opt.files import Document, inconsistent
from scope_opt.network import Index
from scope_opt.schedule import InstanceReference, Schedule


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
    INTERRUPTED = "interrupted"


class EnergyBreakdown(Document):
    """Energy of all samples in joules; weight loading counts as DRAM."""

    mac: float
    sram: float
    nop: float
    dram: float
    total: float


class Times(Document):
    """Wall times in seconds. ``build`` is the time to set up a mathematical program."""

    tables: float
    build: float | None
    solve: float
    total: float


class TrajectoryPoint(Document):
    """Incumbent and bound from ``time_s`` after the start on."""

    time_s: float
    objective_ps: Index | None
    bound_ps: Index | None


class Result(Document):
    """Outcome of one solve; numbers that do not exist are None (null), never 0 or infinity."""

    keep_nulls: ClassVar[bool] = True

    format: Literal["scope-result/1"] = "scope-result/1"
    instance: InstanceReference
    solver: str
    options: dict[str, Any]
    status: Status
    stop_reason: StopReason
    explanation: tuple[str, ...] = ()
    """Why there is no schedule, in the user's terms; empty otherwise."""
    objective_ps: Index | None
    bound_ps: Index | None
    gap: float | None
    latency_s: float | None
    throughput_per_s: float | None
    utilization: float | None
    energy_j: EnergyBreakdown | None
    times_s: Times
    peak_memory_bytes: Index | None
    """Largest resident size of the whole process so far."""
    trajectory: tuple[TrajectoryPoint, ...]
    schedule: Schedule | None
    versions: dict[str, str]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        found = []
        if (self.schedule is None) != (self.objective_ps is None):
            found.append(("objective_ps", "goes with a schedule"))
        if (self.status in (Status.OPTIMAL, Status.FEASIBLE)) != (self.schedule is not None):
            found.append(("status", f"'{self.status}' contradicts the presence of a schedule"))
        if self.objective_ps is not None and self.bound_ps is not None:
            if self.bound_ps > self.objective_ps:
                found.append(("bound_ps", f"{self.bound_ps} exceeds the objective"))
            if (self.status is Status.OPTIMAL) != (self.bound_ps == self.objective_ps):
                found.append(("status", "is 'optimal' exactly if bound and objective are equal"))
        elif self.status is Status.OPTIMAL:
            found.append(("status", "'optimal' needs a bound"))
        if self.gap != relative_gap(self.objective_ps, self.bound_ps):
            found.append(("gap", "is not (objective - bound) / objective"))
        inconsistent(found)
        return self


def relative_gap(objective_ps: int | None, bound_ps: int | None) -> float | None:
    """``(objective - bound) / objective``; None where either is missing, 0 for equal values."""
    if objective_ps is None or bound_ps is None:
        return None
    return (objective_ps - bound_ps) / objective_ps if objective_ps > bound_ps else 0.0


def versions() -> dict[str, str]:
    """Versions of what a result may depend on."""
    found = {"scope-opt": __version__, "python": platform.python_version()}
    for package in ("numpy", "scipy", "numba", "ortools"):
        found[package] = metadata.version(package)
    return found
