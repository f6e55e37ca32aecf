"""Validate the paper's search on every instance of the paper.

    python results/validation/run.py

Validations that are there are kept. Each is written as it ends, so an interrupted run goes on where
it stopped.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from scope_opt.model.files import write_text
from scope_opt.report.results.records import PAPER_INSTANCES, paper_instance
from scope_opt.report.results.validation import SOLVER, VALIDATIONS, load_validations
from scope_opt.studies.provenance import note_run
from scope_opt.studies.records import MANIFEST
from scope_opt.validation.run import ValidationOptions, validate

if TYPE_CHECKING:
    from scope_opt.validation.document import Validation


def main() -> None:
    """Make what is missing."""
    known = load_validations()
    noted = False
    for name in PAPER_INSTANCES:
        instance = paper_instance(name)
        old = known.get(name)
        if old is not None and old.instance.digest == instance.digest:
            continue
        if not noted:
            note_run(Path(__file__).parent / MANIFEST, "python results/validation/run.py")
            noted = True
        known[name] = validate(instance, SOLVER, ValidationOptions())
        write_text(VALIDATIONS, "".join(map(line, known.values())), force=True)
        print(f"{name}: validated", flush=True)


def line(validation: Validation) -> str:
    """Without trajectories, which are long and used nowhere here."""
    content = json.loads(validation.to_json())
    for result in (*content["runs"], content["exact"], content["one_segment"]):
        if result is not None:
            result["trajectory"] = []
    return json.dumps(content) + "\n"


if __name__ == "__main__":
    main()
