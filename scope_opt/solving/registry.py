"""The registry of best known schedules as a benchmark: every entry checked anew.

An entry's schedule is judged by the evaluator. Beside it may lie a certificate, ``NAME.proof.gz``;
that is verified by the checker, which shares nothing with any solver, and its tables are compared
with those computed from the instance.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import Field

import scope_check
from scope_opt.model.cost import build_tables
from scope_opt.model.files import Document, InputError
from scope_opt.model.network import Index
from scope_opt.schedule.evaluate import evaluate
from scope_opt.schedule.schedule import InstanceReference, Schedule
from scope_opt.solving.api import load
from scope_opt.solving.certificate import Certificate, tables_digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scope_opt.model.instance import Instance

SHIPPED = Path(__file__).parents[2] / "instances" / "best_known.json"
PROOF = ".proof.gz"
"""Ending of the certificate beside a schedule's file."""


class Entry(Document):
    """The best known schedule of an instance, and what is proved."""

    instance: InstanceReference
    objective_ps: Index
    bound_ps: Index | None
    kind: str = Field(alias="class")
    proved_by: tuple[str, ...]
    bound_by: tuple[str, ...]
    schedule: str
    """Its file, from the registry's folder."""
    command: str
    versions: dict[str, str]


class Registry(Document):
    """All entries."""

    format: Literal["scope-best-known/2"]
    entries: tuple[Entry, ...]


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
            certified = _of_proof(instance, schedule, proof)
            if entry.bound_ps is None or certified > entry.bound_ps:
                problems.append(f"bound_ps: {entry.bound_ps}; its certificate proves {certified}")
    except InputError as error:
        problems += error.problems
    return Checked(entry, tuple(problems), certified)


def _of_schedule(instance: Instance, entry: Entry, schedule: Schedule) -> Iterator[str]:
    """What is wrong with a schedule and what an entry says of it."""
    for what, reference in (("entry", entry.instance), ("schedule", schedule.instance)):
        if reference.digest != instance.digest:
            yield f"{what}: is for another instance, its digest is {reference.digest}"
    evaluation = evaluate(instance, schedule)
    yield from map(str, evaluation.violations)
    if evaluation.objective_ps != entry.objective_ps:
        yield f"objective_ps: {entry.objective_ps}; the schedule takes {evaluation.objective_ps}"
    if entry.bound_ps is not None and entry.bound_ps > entry.objective_ps:
        yield f"bound_ps: {entry.bound_ps} exceeds the objective"


def _of_proof(instance: Instance, schedule: Schedule, path: Path) -> int:
    """The bound that a certificate proves; raises `InputError` if it is none."""
    proof = Certificate.load(path)
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
