"""The registry of best known schedules, `instances/best_known.json`, from records of studies."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from scope_opt.report.results import transformers
from scope_opt.report.results.records import PAPER_INSTANCES, ROOT, has_run, records_of
from scope_opt.solving.metrics import Reference, bound, proof_of, proof_times, reference
from scope_opt.solving.registry import CLASSES, PROOF, Entry, Registry, difficulty
from scope_opt.solving.result import PROVERS
from scope_opt.solving.submission import FOLDERS, load_submissions, merge, restate_certificate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from scope_opt.schedule.schedule import Schedule
    from scope_opt.solving.result import Result

REGISTRY = ROOT / "instances" / "best_known.json"
SCHEDULES = ROOT / "instances" / "best_known"
STUDIES = ("optima", "reach")
"""Those of the regressed model."""
PLACED_STUDIES = ("placed", "gaps")


@cache
def known() -> dict[str, tuple[Reference, Sequence[Result]]]:
    """What all studies together say of each paper instance."""
    return _known(PAPER_INSTANCES, STUDIES)


@cache
def known_placed() -> dict[str, tuple[Reference, Sequence[Result]]]:
    """The same of the instances of the placed model; objectives count shared links."""
    return _known([f"{name}-placed" for name in PAPER_INSTANCES], PLACED_STUDIES)


@cache
def known_transformers() -> dict[str, tuple[Reference, Sequence[Result]]]:
    """The same of the transformers."""
    return _known(transformers.names(), (transformers.STUDY,))


def _known(
    names: Iterable[str], studies: Iterable[str]
) -> dict[str, tuple[Reference, Sequence[Result]]]:
    records = [records_of(study) for study in studies if has_run(study)]
    found: dict[str, tuple[Reference, Sequence[Result]]] = {}
    for name in names:
        results = [result for study in records for result in study.results(name)]
        if results:
            found[name] = reference(results), results
    return found


def write(
    references: Mapping[str, tuple[Reference, Sequence[Result]]],
    registry: Path = REGISTRY,
    schedules: Path = SCHEDULES,
) -> None:
    """Write the registry and a schedule file of each entry, with what was submitted to it."""
    entries: dict[str, Entry] = {}
    best: dict[str, Schedule] = {}
    for name, (what, results) in references.items():
        first = next((r for r in results if r.schedule and r.objective_ps == what.objective), None)
        if first is None or first.schedule is None:
            continue
        entries[name] = _entry(name, what, results, first, schedules)
        best[name] = first.schedule
    entries, submitted = merge(entries, load_submissions(schedules), schedules)
    for name, schedule in (best | submitted).items():
        file = schedules / f"{name}.json"
        schedule.save(file, force=True)
        restate_certificate(file.with_suffix(PROOF), entries[name].objective_ps)
    Registry(entries=tuple(entries.values())).write(registry)


def _entry(
    name: str, what: Reference, results: Sequence[Result], first: Result, schedules: Path
) -> Entry:
    """What studies say of an instance; ``first`` has the schedule."""
    proved_in_s = proof_times(results, what)
    fields = {
        "instance": first.instance,
        "objective_ps": what.objective,
        "bound_ps": what.bound,
        "class": CLASSES[what.kind],
        "proved_by": what.methods,
        "bound_by": _bound_by(what, results),
        "difficulty": difficulty(proved_in_s, proved=what.proved),
        "proved_in_s": proved_in_s,
        "schedule": f"{schedules.name}/{name}.json",
        "command": f"scope-opt solve instances/{_folder(name)}/{name}.json --solver {first.solver}",
        "versions": first.versions,
    }
    return Entry.model_validate(fields)


def _folder(name: str) -> str:
    """Of the instance, in ``instances``."""
    return next(
        folder for folder in FOLDERS if (ROOT / "instances" / folder / f"{name}.json").exists()
    )


def _bound_by(what: Reference, results: Sequence[Result]) -> tuple[str, ...]:
    """Who proved the bound: all provers of the results that reach it."""
    proofs = [proof_of(result) for result in results if bound(result) == what.bound]
    named = {prover for proof in proofs if proof is not None for prover in proof.by}
    return tuple(prover for prover in PROVERS if prover in named)
