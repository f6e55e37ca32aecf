"""Schedules and bounds for the registry from anyone: verified, and kept beside the schedules.

The registry is written from records of studies. What was submitted stays in a file of its own,
``submissions.jsonl``, and is merged whenever the registry is written. A bound counts only with a
certificate that the checker accepts; one without is kept as a claim, which proves nothing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from scope_opt.model.files import Document, InputError, read_text, write_text
from scope_opt.model.network import Index
from scope_opt.model.shipped import shipped_instances
from scope_opt.schedule.schedule import InstanceReference, Schedule
from scope_opt.solving.api import load
from scope_opt.solving.certificate import Certificate
from scope_opt.solving.registry import (
    CERTIFICATE,
    CLASSES,
    PROOF,
    Claim,
    Entry,
    Registry,
    certified_bound,
    difficulty,
    judged,
)
from scope_opt.solving.result import Result

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from scope_opt.model.instance import Instance

FOLDERS = ("paper", "placed", "transformers")
"""Of ``instances``: what the registry is about."""
SUBMISSIONS = "submissions.jsonl"
"""File in the folder of the schedules."""
MAX_SOURCE = 500
"""Characters."""


class Submission(Document):
    """What somebody found, verified when it came in."""

    keep_nulls: ClassVar[bool] = True

    format: Literal["scope-submission/1"] = "scope-submission/1"
    source: str
    objective_ps: Index
    """Latency of the schedule, as evaluated."""
    bound_ps: Index | None
    """That its certificate proves, which was accepted; None without one."""
    claimed_bound_ps: Index | None
    """That is not verified."""
    schedule: Schedule

    @property
    def instance(self) -> InstanceReference:
        """The instance that the schedule is for."""
        return self.schedule.instance


class Outcome(NamedTuple):
    """What a submission has changed."""

    before: Entry | None
    """None: the instance had no entry"""
    after: Entry
    certified: bool
    """Whether its certificate is kept"""

    @property
    def kept(self) -> bool:
        """Whether anything of it was better than what the registry had."""
        return self.certified or self.after != self.before


def benchmark() -> list[str]:
    """Names of the instances that the registry is about, whether or not it has an entry of them."""
    files = shipped_instances().items()
    return [name for name, path in files if path.parent.name in FOLDERS]


def load_submissions(schedules: Path) -> list[Submission]:
    """Submissions in the folder of a registry's schedules, in the order in which they came."""
    path = schedules / SUBMISSIONS
    lines = read_text(path).splitlines() if path.exists() else []
    return [
        Submission.from_json(line, f"{path}, line {number}")
        for number, line in enumerate(lines, start=1)
    ]


def merge(
    entries: Mapping[str, Entry], submissions: list[Submission], schedules: Path
) -> tuple[dict[str, Entry], dict[str, Schedule]]:
    """Entries with what submissions improve, and the submitted schedules that are the best.

    Submissions for instances that have changed since are left out.

    Raises
    ------
    InputError
        If a bound exceeds the latency of a schedule: one of the two is wrong.
    """
    merged, best = dict(entries), {}
    for given in submissions:
        name = given.instance.name
        entry = merged.get(name)
        digest = _instance(name, merged).digest if entry is None else entry.instance.digest
        if digest != given.instance.digest:
            continue
        merged[name] = improved(entry, given, f"{schedules.name}/{name}.json")
        if entry is None or given.objective_ps < entry.objective_ps:
            best[name] = given.schedule
    return merged, best


def improved(entry: Entry | None, given: Submission, file: str) -> Entry:
    """The entry with what is better in a submission; equal to it if nothing is.

    Parameters
    ----------
    entry : Entry or None
        None if the instance has none yet.
    given : Submission
    file : str
        Where the schedule of the instance is kept, from the registry's folder.

    Raises
    ------
    InputError
        If a bound exceeds the latency of a schedule: one of the two is wrong.
    """
    old = entry or _unproved(given, file)
    changes: dict[str, Any] = {}
    if given.objective_ps < old.objective_ps:
        changes |= _of_schedule(given)
    if given.bound_ps is not None and given.bound_ps >= (old.bound_ps or 0):
        raised = given.bound_ps != old.bound_ps
        by = (CERTIFICATE,) if raised else old.bound_by
        if raised or old.bound_source is None:
            source = {"bound_source": given.source}
            changes |= {"bound_ps": given.bound_ps, "bound_by": by} | source
    claimed = given.claimed_bound_ps
    if claimed is not None and (old.claim is None or claimed > old.claim.bound_ps):
        changes["claim"] = Claim(bound_ps=claimed, source=given.source)
    new = old.model_copy(update=changes)
    if new.bound_ps is not None and new.bound_ps > new.objective_ps:
        problem = (
            f"bound_ps: {new.bound_ps} ({new.bound_source or ', '.join(new.bound_by)}) exceeds "
            f"the latency {new.objective_ps} ps of a schedule "
            f"({new.schedule_source or 'of a study'}) that the evaluator accepts; one of the two "
            "is wrong, please report it"
        )
        raise InputError(new.instance.name, [problem])
    return _concluded(old, new)


def _unproved(given: Submission, file: str) -> Entry:
    """The entry of an instance of which nothing was known."""
    fields: dict[str, Any] = {
        "instance": given.instance,
        "bound_ps": None,
        "class": CLASSES["best"],
        "proved_by": (),
        "bound_by": (),
        "difficulty": "open",
        "proved_in_s": {},
        "schedule": file,
    }
    return Entry.model_validate(fields | _of_schedule(given))


def _of_schedule(given: Submission) -> dict[str, Any]:
    return {
        "objective_ps": given.objective_ps,
        "command": None,
        "versions": {},
        "schedule_source": given.source,
    }


def _concluded(old: Entry, new: Entry) -> Entry:
    """The entry with what follows from its values."""
    changes: dict[str, Any] = {}
    if new.claim is not None and not (new.bound_ps or 0) < new.claim.bound_ps <= new.objective_ps:
        changes["claim"] = None  # proved or disproved by now
    if new.proved and not old.proved:
        changes |= {
            "kind": CLASSES["opt1"],
            "proved_by": new.bound_by,
            "difficulty": difficulty(new.proved_in_s, proved=True),
        }
    return new.model_copy(update=changes)


def submit(
    registry: Path,
    document: Schedule | Result,
    given_as: str,
    source: str,
    certificate: Path | None = None,
    claimed_bound_ps: int | None = None,
) -> Outcome:
    """Verify a schedule, and add what is better than in the registry to it.

    Parameters
    ----------
    registry : Path
    document : Schedule or Result
        From the file.
    given_as : str
        Its file, as errors call it.
    source : str
        Who found it, or where it is published.
    certificate : Path, optional
        Of the schedule, as ``solve --certificate`` writes it.
    claimed_bound_ps : int, optional
        A lower bound that cannot be verified.

    Raises
    ------
    InputError
        If anything is not what it says: the schedule breaks a rule, belongs to another instance
        or takes another time than the result states, the certificate is not accepted.
    """
    if not source.strip() or not source.isprintable() or len(source) > MAX_SOURCE:
        allowed = f"printable text of up to {MAX_SOURCE} characters on one line"
        raise InputError("--source", [f"found {source[:40]!r}; allowed: {allowed}"])
    entries = {entry.instance.name: entry for entry in Registry.load(registry).entries}
    schedule, objective_ps, instance = _verified(document, given_as, entries)
    name = instance.name
    before, folder = entries.get(name), registry.with_suffix("")
    file = before.schedule if before is not None else f"{folder.name}/{name}.json"
    known = objective_ps if before is None else min(before.objective_ps, objective_ps)
    if claimed_bound_ps is not None and claimed_bound_ps > known:
        problem = f"{claimed_bound_ps} is wrong: a schedule of {name} takes {known} ps"
        raise InputError("--claimed-bound-ps", [problem])
    proof = (registry.parent / file).with_suffix(PROOF)
    bound_ps = None if certificate is None else certified_bound(instance, schedule, certificate)
    if bound_ps is not None and before is not None and before.bound_ps is not None:
        beside = bound_ps == before.bound_ps and proof.exists()
        if beside or bound_ps < before.bound_ps:
            bound_ps = None  # as much is certified, or more is known
    given = Submission(
        source=source,
        objective_ps=objective_ps,
        bound_ps=bound_ps,
        claimed_bound_ps=claimed_bound_ps,
        schedule=schedule,
    )
    after = improved(before, given, file)
    outcome = Outcome(before, after, certified=bound_ps is not None)
    if not outcome.kept:
        return outcome
    text = "".join(_line(each) for each in (*load_submissions(folder), given))
    write_text(folder / SUBMISSIONS, text, force=True)
    if before is None or objective_ps < before.objective_ps:
        schedule.save(registry.parent / file, force=True)
    if certificate is not None and outcome.certified:
        Certificate.load(certificate).save(proof, force=True)
    restate_certificate(proof, after.objective_ps)
    Registry(entries=tuple((entries | {name: after}).values())).write(registry)
    return outcome


def restate_certificate(proof: Path, objective_ps: int) -> None:
    """Have a certificate, if there is one, name the latency of the schedule that it lies beside.

    Its bound holds beside any schedule; which latency it states, the checker compares.
    """
    if proof.exists():
        found = Certificate.load(proof)
        if found.objective_ps != objective_ps:
            found.model_copy(update={"objective_ps": objective_ps}).save(proof, force=True)


def _verified(
    document: Schedule | Result, file: str, entries: Mapping[str, Entry]
) -> tuple[Schedule, int, Instance]:
    """The schedule of a document, its latency and its instance."""
    schedule = document.schedule if isinstance(document, Result) else document
    if schedule is None:
        raise InputError(file, ["schedule: this result holds none"])
    try:
        instance = _instance(schedule.instance.name, entries)
        latency_ps, problems = judged(instance, schedule)
    except InputError as error:
        raise InputError(file, error.problems) from None
    if problems or latency_ps is None:
        raise InputError(file, problems)
    if isinstance(document, Result):
        found = []
        if document.instance != schedule.instance:
            found.append("schedule.instance: is another one than that of the result")
        if document.objective_ps != latency_ps:
            stated = document.objective_ps
            found.append(f"objective_ps: found {stated}; the schedule takes {latency_ps} ps")
        if found:
            raise InputError(file, found)
    return schedule, latency_ps, instance


def _instance(name: str, entries: Mapping[str, Entry]) -> Instance:
    if name in entries or name in benchmark():
        return load(name)
    where = ", ".join(f"instances/{folder}" for folder in FOLDERS)
    allowed = f"those of {where}, such as 'resnet50-64'"
    raise InputError("instance.name", [f"instance.name: found {name!r}; allowed: {allowed}"])


def _line(given: Submission) -> str:
    return json.dumps(json.loads(given.to_json()), ensure_ascii=False) + "\n"
