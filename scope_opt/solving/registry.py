"""The registry of best known schedules as a benchmark: its entries, each checked anew.

An entry's schedule is judged by the evaluator. Beside it may lie a certificate, ``NAME.proof.gz``;
that is verified by the checker, which shares nothing with any solver, and its tables are compared
with those computed from the instance. (docs/registry.md)
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from pydantic import Field

import scope_check
from scope_opt.cost.build import build_tables
from scope_opt.model.files import Document, InputError, optional, write_text
from scope_opt.model.network import Index
from scope_opt.model.shipped import shipped_folder
from scope_opt.schedule.evaluate import evaluate
from scope_opt.schedule.schedule import InstanceReference, Schedule
from scope_opt.solving.api import load
from scope_opt.solving.certificate import Certificate, tables_digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from scope_opt.model.instance import Instance

SHIPPED = shipped_folder() / "best_known.json"
PROOF = ".proof.gz"
"""Ending of the certificate beside a schedule's file."""
CERTIFICATE = "certificate"
"""In ``bound_by`` and ``proved_by``: a certificate from outside the studies, which was accepted."""
CLASSES = {
    "opt": "proved by two methods",
    "opt1": "proved by one method",
    "best": "best known",
    "inf": "proved infeasible",
    "unkn": "nothing known",
}
"""Of an entry, by the kind of what is known; see `scope_opt.solving.metrics.Reference`."""
Difficulty = Literal["easy", "medium", "hard", "open"]
JUDGE = "exact"
"""The solver whose time to the proof says how hard an instance is."""
EASY_S, MEDIUM_S = 1.0, 60.0
"""Longest times to the proof of easy and of medium instances."""


def difficulty(proved_in_s: Mapping[str, float], *, proved: bool) -> Difficulty:
    """Open, or how long the proof takes; hard as well where only others than `JUDGE` have one."""
    if not proved:
        return "open"
    seconds = proved_in_s.get(JUDGE, math.inf)
    return "easy" if seconds <= EASY_S else "medium" if seconds <= MEDIUM_S else "hard"


class Claim(Document):
    """A lower bound that somebody says holds; nothing here has verified it."""

    bound_ps: Index
    source: str


class Entry(Document):
    """The best known schedule of an instance, and what is proved."""

    instance: InstanceReference
    objective_ps: Index
    bound_ps: Index | None
    kind: str = Field(alias="class")
    proved_by: tuple[str, ...]
    bound_by: tuple[str, ...]
    difficulty: Difficulty
    proved_in_s: dict[str, float]
    """Wall time of each solver's fastest run that proves the optimum, in the records of studies."""
    schedule: str
    """Its file, from the registry's folder."""
    command: str | None
    """That finds it; None if it was submitted."""
    versions: dict[str, str]
    schedule_source: str | None = optional(None)
    """Who submitted the schedule; None if it is that of a study."""
    bound_source: str | None = optional(None)
    """Who submitted the certificate of the bound; None if that is the bound of a study."""
    claim: Claim | None = optional(None)
    """The largest bound that is claimed, if it is above the one that is proved."""

    @property
    def proved(self) -> bool:
        """Whether the objective is a proved optimum: the instance is closed."""
        return self.bound_ps == self.objective_ps


class Registry(Document):
    """All entries."""

    keep_nulls: ClassVar[bool] = True

    format: Literal["scope-best-known/3"] = "scope-best-known/3"
    entries: tuple[Entry, ...]

    def write(self, path: Path) -> None:
        """Write the registry, and its values beside it, in a ``.solu`` file."""
        self.save(path, force=True)
        write_text(path.with_suffix(".solu"), solution_values(self.entries), force=True)


def solution_values(entries: Iterable[Entry]) -> str:
    """The values of a registry as benchmarks of optimization publish theirs, one per line."""
    lines = []
    for entry in entries:
        name = entry.instance.name
        lines.append(f"={'opt' if entry.proved else 'best'}= {name} {entry.objective_ps}\n")
        if not entry.proved and entry.bound_ps is not None:
            lines.append(f"=bestbound= {name} {entry.bound_ps}\n")
    return "".join(lines)


class Checked(NamedTuple):
    """What checking one entry has shown."""

    entry: Entry
    problems: tuple[str, ...]
    certified_ps: int | None
    """The bound that its certificate proves; None without a certificate that is accepted"""


def check_registry(registry: Path, names: tuple[str, ...] = ()) -> Iterator[Checked]:
    """Check the entries of those names, or all, one after the other.

    Raises
    ------
    InputError
        If the registry cannot be read, or has no entry of a name.
    """
    entries = Registry.load(registry).entries
    known = [entry.instance.name for entry in entries]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(str(registry), [f"no entry {name!r}" for name in unknown])
    for entry in entries:
        if not names or entry.instance.name in names:
            yield _check(registry.parent, entry)


def _check(folder: Path, entry: Entry) -> Checked:
    problems: list[str] = []
    certified = None
    try:
        instance, path = load(entry.instance.name), folder / entry.schedule
        schedule = Schedule.load(path)
        problems += _of_schedule(instance, entry, schedule)
        proof = path.with_suffix(PROOF)
        if proof.exists():
            certified = certified_bound(instance, schedule, proof)
            if entry.bound_ps is None or certified > entry.bound_ps:
                problems.append(f"bound_ps: {entry.bound_ps}; its certificate proves {certified}")
    except InputError as error:
        problems += error.problems
    return Checked(entry, tuple(problems), certified)


def _of_schedule(instance: Instance, entry: Entry, schedule: Schedule) -> Iterator[str]:
    """What is wrong with a schedule and what an entry says of it."""
    if entry.instance.digest != instance.digest:
        yield f"entry: is for another instance, its digest is {entry.instance.digest}"
    latency_ps, problems = judged(instance, schedule)
    yield from problems
    if latency_ps != entry.objective_ps:
        yield f"objective_ps: {entry.objective_ps}; the schedule takes {latency_ps}"
    if entry.bound_ps is not None and entry.bound_ps > entry.objective_ps:
        yield f"bound_ps: {entry.bound_ps} exceeds the objective"
    if entry.difficulty != difficulty(entry.proved_in_s, proved=entry.proved):
        yield f"difficulty: {entry.difficulty!r} is not what bound_ps and proved_in_s say"


def judged(instance: Instance, schedule: Schedule) -> tuple[int | None, tuple[str, ...]]:
    """The latency of a schedule in ps, and why it is none of the instance, by the evaluator."""
    if schedule.instance.digest != instance.digest:
        found = f"found {schedule.instance.digest}; that of {instance.name} is {instance.digest}"
        return None, (f"schedule: is for another instance, its digest: {found}",)
    if schedule.ordered(instance).digest != instance.digest:
        return None, ("order: is not that of the instance, which has schedules of its own",)
    evaluation = evaluate(instance, schedule)
    return evaluation.objective_ps, tuple(map(str, evaluation.violations))


def certified_bound(instance: Instance, schedule: Schedule, path: Path) -> int:
    """The bound that a certificate proves; raises `InputError` if it is none."""
    proof = Certificate.load(path)
    if proof.first_layers is not None:
        problem = "first_layers: its bound is one of schedules that are cut there only; "
        raise InputError(str(path), [problem + "needs that of a solve with free segments"])
    computed = tables_digest(build_tables(instance))
    if proof.tables_sha256 != computed:
        problem = f"tables_sha256: {proof.tables_sha256}; those of the instance have {computed}"
        raise InputError(str(path), [problem])
    try:
        scope_check.check(*map(_plain, (instance, schedule, proof)))
    except (scope_check.Refused, scope_check.Unusable) as reason:
        raise InputError(str(path), [str(reason)]) from None
    return proof.bound_ps


def _plain(document: Document) -> dict[str, Any]:
    """What the file of a document holds."""
    content: dict[str, Any] = json.loads(document.to_json())
    return content
