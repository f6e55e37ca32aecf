"""Study files (TOML): which instances to solve, with what, within which limits."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from scope_opt.model.files import Document, inconsistent, read_text, toml_as_json
from scope_opt.model.network import Name
from scope_opt.solving.isolate import MOST_GIB
from scope_opt.solving.solver import RANGES, reading_problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


def _segments(value: object) -> object:
    if isinstance(value, list) and all(type(first) is int for first in value):
        return tuple(value)
    if type(value) is int or value in ("single", "balanced", "dp"):
        return value
    raise ValueError("allowed: single, balanced, dp, a number, or a list of first layers")


def _reading(name: str, value: str) -> str:
    problem = reading_problem(name, value)
    if problem is not None:
        raise ValueError(problem)
    return value


Segments = Annotated[Any, BeforeValidator(_segments)]
Texts = Annotated[tuple[str, ...], Field(min_length=1)]
Seed = Annotated[int, Field(ge=0, le=RANGES["seed"][1])]
Seeds = Annotated[tuple[Seed, ...], Field(min_length=1)]
Share = Annotated[float, Field(ge=RANGES["rel_gap"][0], le=RANGES["rel_gap"][1])]
Seconds = Annotated[float, Field(gt=0, le=RANGES["time_limit_s"][1])]
Gib = Annotated[float, Field(gt=0, le=MOST_GIB)]
Threads = Annotated[int, Field(ge=1, le=RANGES["threads"][1])]
Iterations = Annotated[int, Field(ge=1, le=RANGES["iterations"][1])]


Similarity = Annotated[str, AfterValidator(partial(_reading, "similarity"))]
Donor = Annotated[str, AfterValidator(partial(_reading, "donor"))]


class Entry(Document):
    """A solver with its options; those absent are the study's."""

    solver: str
    label: Name | None = None
    warm_start: str | None = None
    instances: Texts | None = None
    seeds: Seeds | None = None
    time_limit_s: Seconds | None = None
    cpu_limit_s: Seconds | None = None
    memory_limit_gib: Gib | None = None
    threads: Threads | None = None
    order: Literal["all"] | Texts | None = None
    segments: Segments | None = None
    encoding: str | None = None
    rel_gap: Share | None = None
    iterations: Iterations | None = None
    similarity: Similarity | None = None
    donor: Donor | None = None

    @property
    def name(self) -> str:
        """Label, or the solver's name."""
        return self.label or self.solver


class Variant(Document):
    """A change of every instance: values by their path in the instance's file."""

    label: Name
    set: Annotated[dict[str, Any], Field(min_length=1)]


class Study(Document):
    """What to solve, with what, within which limits."""

    instances: Texts
    time_limit_s: Seconds | None = None
    cpu_limit_s: Seconds | None = None
    memory_limit_gib: Gib | None = None
    threads: Threads | None = None
    seeds: Seeds = (0,)
    grace_s: Seconds = 10.0
    """Seconds after the time limit until a solver that goes on is ended."""
    solvers: Annotated[tuple[Entry, ...], Field(min_length=1)]
    variants: tuple[Variant, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [entry.name for entry in self.solvers]
        found = list(_repeated("solvers", names))
        found += _repeated("variants", [variant.label for variant in self.variants])
        starts = {entry.name: entry.warm_start for entry in self.solvers}
        for index, entry in enumerate(self.solvers):
            place = f"solvers.{index}.warm_start"
            if entry.warm_start is not None and entry.warm_start not in names:
                allowed = ", ".join(dict.fromkeys(names))
                found.append((place, f"no entry {entry.warm_start!r}; labels: {allowed}"))
                continue
            chain, start = [entry.name], entry.warm_start
            while start is not None and start not in chain:
                chain.append(start)
                start = starts.get(start)
            if start == entry.name:
                found.append((place, f"begins with itself: {' <- '.join([*chain, start])}"))
        inconsistent(found)
        return self


def _repeated(field: str, labels: Sequence[str]) -> Iterator[tuple[str, str]]:
    for index, label in enumerate(labels):
        if label in labels[:index]:
            yield f"{field}.{index}.label", f"{label!r} is taken by {field}.{labels.index(label)}"


def load_study(path: Path) -> Study:
    """Read a study file; raises `InputError` with every problem of its structure."""
    return Study.from_json(toml_as_json(read_text(path), str(path)), str(path))
