"""The registry of best known schedules, `instances/best_known.json`, from records of studies."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING

from scope_opt.model.files import write_text
from scope_opt.report.results.records import PAPER_INSTANCES, ROOT, records_of
from scope_opt.solving.metrics import Reference, reference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scope_opt.solving.result import Result

REGISTRY = ROOT / "instances" / "best_known.json"
SCHEDULES = ROOT / "instances" / "best_known"
STUDIES = ("optima", "reach")
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
    studies = [records_of(study) for study in STUDIES]
    found: dict[str, tuple[Reference, Sequence[Result]]] = {}
    for name in PAPER_INSTANCES:
        results = [result for study in studies for result in study.results(name)]
        if results:
            found[name] = reference(results), results
    return found


def write(references: Mapping[str, tuple[Reference, Sequence[Result]]]) -> None:
    """Write the registry and a schedule file of each entry."""
    entries = []
    SCHEDULES.mkdir(exist_ok=True)
    for name, (what, results) in references.items():
        best = [r for r in results if r.objective_ps == what.objective and r.schedule is not None]
        if not best:
            continue
        first = best[0]
        assert first.schedule is not None
        first.schedule.save(SCHEDULES / f"{name}.json", force=True)
        entries.append(
            {
                "instance": {"name": name, "digest": first.instance.digest},
                "objective_ps": what.objective,
                "bound_ps": what.bound,
                "class": CLASSES[what.kind],
                "proved_by": list(what.methods),
                "schedule": f"best_known/{name}.json",
                "command": f"scope-opt solve instances/paper/{name}.json --solver {first.solver}",
                "versions": first.versions,
            }
        )
    content = {"format": "scope-best-known/1", "entries": entries}
    write_text(REGISTRY, json.dumps(content, indent=2) + "\n", force=True)
