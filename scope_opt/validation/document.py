"""What a validation of a heuristic says: its gap, its rank, and which decisions lose how much."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from scope_opt.model.files import Document, inconsistent, optional
from scope_opt.model.network import Index
from scope_opt.schedule.schedule import InstanceReference
from scope_opt.solving.metrics import ReferenceClass
from scope_opt.solving.result import Result

Share = Annotated[float, Field(ge=0, le=1)]


class KnownOptimum(Document):
    """What is known about the optimum; see `scope_opt.solving.metrics.Reference`."""

    objective_ps: Index | None
    """The optimum if it is proved, else the best schedule known."""
    bound_ps: Index | None
    kind: ReferenceClass
    methods: tuple[str, ...]
    """Methods that proved it."""


class Gap(Document):
    """Between which numbers ``latency / optimum - 1`` lies; both are equal for a proved optimum."""

    at_least: float | None
    at_most: float | None


class Place(Document):
    """How many of a set of schedules are better than the one that is ranked."""

    counted: Index
    """Schedules enumerated or drawn."""
    better: Index
    """Those that take less time; schedules that are not valid never count as better."""
    equal: Index
    """Those that take exactly as long."""
    better_share: Share | None
    """``better / counted``; None if nothing was counted."""
    better_share_at_most: Share | None
    """The same for an enumeration, an upper confidence bound for a sample."""


class Rank(Document):
    """Rank of a one-segment schedule among those of one segment that use every chiplet.

    A sample consists of schedules drawn from all and of others drawn from the valid ones; if these
    cannot be counted, of those among the former that happen to be valid.
    """

    method: Literal["enumeration", "sampling"]
    latency_ps: Index
    """Of the schedule that is ranked."""
    schedules: Index | None
    """Size of the space; None where it does not fit 64 bits."""
    log10_schedules: float
    log10_valid: float | None
    """Of the number of valid ones; None where there is none or they cannot be counted."""
    seed: Index | None
    """Of the sample; None for an enumeration."""
    confidence: Share | None
    """Of each upper bound; None for an enumeration."""
    among_all: Place
    among_valid: Place
    """Among those that keep the weight capacity and the side constraints."""


class Losses(Document):
    """What each decision of the first run's schedule loses, relative to the optimum.

    The first four add up to the gap: each is what the optimum gains if this decision is free too,
    and the ones before it. Where shared links leave optima open they compare the best schedules
    found.
    """

    partitions: float
    regions: float
    clusters: float
    segments: float
    transition: float | None
    """What the best schedule with one switch from WSP to ISP per segment loses in the same
    segments, against free partitions; not a part of the gap. None if no such schedule is valid."""
    open: float = optional(0.0)
    """By how much each of them may be wrong, as links leave open what is optimal; 0 if proved."""


class Validation(Document):
    """A solver on one instance, against the proved optimum and against the space of schedules."""

    keep_nulls: ClassVar[bool] = True

    format: Literal["scope-validation/1"] = "scope-validation/1"
    instance: InstanceReference
    solver: str
    runs: Annotated[tuple[Result, ...], Field(min_length=1)]
    """One for each seed; rank and losses are those of the first."""
    exact: Result | None
    """None where the exact solver does not honour the instance."""
    others: tuple[Result, ...] = ()
    """What was run in its place: other solvers, for the best schedule known."""
    optimum: KnownOptimum
    gaps: tuple[Gap | None, ...]
    """One for each run; None where it found no schedule."""
    one_segment: Result | None
    """Another run, for the rank, where the first one's schedule has several segments."""
    rank: Rank | None
    no_rank: str | None
    """Why there is none."""
    losses: Losses | None
    no_losses: str | None
    """Why there are none."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        found = [
            (name, f"needs either a value or a reason in no_{name}")
            for name in ("rank", "losses")
            if (getattr(self, name) is None) == (getattr(self, f"no_{name}") is None)
        ]
        if len(self.gaps) != len(self.runs):
            found.append(("gaps", f"{len(self.gaps)} for {len(self.runs)} runs; needs one each"))
        inconsistent(found)
        return self
