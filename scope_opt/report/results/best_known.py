"""The registry of best known schedules, `instances/best_known.json`, from records of studies."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from scope_opt.model.files import write_text
from scope_opt.report.results import transformers
from scope_opt.report.results.records import PAPER_INSTANCES, ROOT, has_run, records_of
from scope_opt.solving.metrics import Reference, bound, proof_of, reference
from scope_opt.solving.result import PROVERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from scope_opt.solving.result import Result

REGISTRY = ROOT / "instances" / "best_known.json"
SCHEDULES = ROOT / "instances" / "best_known"
STUDIES = ("optima", "reach")
"""Those of the regressed model."""
PLACED_STUDIES = ("placed",)
CLASSES = {
    "opt": "proved by two methods",
    "opt1": "proved by one method",
    "best": "best known",
    "inf": "proved infeasible",
    "unkn": "nothing known",
}


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
    """Write the registry and a schedule file of each entry."""
    entries = []
    schedules.mkdir(exist_ok=True)
    for name, (what, results) in references.items():
        best = [r for r in results if r.objective_ps == what.objective and r.schedule is not None]
        if not best:
            continue
        first = best[0]
        assert first.schedule is not None
        first.schedule.save(schedules / f"{name}.json", force=True)
        entries.append(
            {
                "instance": {"name": name, "digest": first.instance.digest},
                "objective_ps": what.objective,
                "bound_ps": what.bound,
                "class": CLASSES[what.kind],
                "proved_by": list(what.methods),
                "bound_by": _bound_by(what, results),
                "schedule": f"{schedules.name}/{name}.json",
                "command": f"scope-opt solve instances/{_folder(name)}/{name}.json --solver {first.solver}",
                "versions": first.versions,
            }
        )
    content = {"format": "scope-best-known/2", "entries": entries}
    write_text(registry, json.dumps(content, indent=2) + "\n", force=True)
    write_text(registry.with_suffix(".solu"), solution_values(entries), force=True)


def solution_values(entries: Iterable[Mapping[str, Any]]) -> str:
    """The values of a registry as benchmarks of optimization publish theirs, one per line."""
    lines = []
    for entry in entries:
        name, value, bound = entry["instance"]["name"], entry["objective_ps"], entry["bound_ps"]
        if value == bound:
            lines.append(f"=opt= {name} {value}")
            continue
        lines.append(f"=best= {name} {value}")
        if bound is not None:
            lines.append(f"=bestbound= {name} {bound}")
    return "".join(f"{line}\n" for line in lines)


def _folder(name: str) -> str:
    """Of the instance, in ``instances``."""
    return next(
        folder
        for folder in ("paper", "placed", "transformers")
        if (ROOT / "instances" / folder / f"{name}.json").exists()
    )


def _bound_by(what: Reference, results: Sequence[Result]) -> list[str]:
    """Who proved the bound: all provers of the results that reach it."""
    proofs = [proof_of(result) for result in results if bound(result) == what.bound]
    named = {prover for proof in proofs if proof is not None for prover in proof.by}
    return [prover for prover in PROVERS if prover in named]
