"""Validate the paper's search on every instance of the paper.

    python results/validation/run.py [--placed] [INSTANCE...]

With ``--placed``, in the placed model; for a proof there, give the names of instances that `exact`
solves soon. Validations that are there are kept. Each is written as it ends, so an interrupted run
goes on where it stopped.
"""

from __future__ import annotations

import sys

from scope_opt.report.results.records import PAPER_INSTANCES, paper_instance, placed_instance
from scope_opt.report.results.validation import SOLVER, VALIDATIONS, load_validations
from scope_opt.studies.one_by_one import make_missing
from scope_opt.validation.run import ValidationOptions, validate


def main() -> None:
    """Make what is missing."""
    names = [name for name in sys.argv[1:] if name != "--placed"] or PAPER_INSTANCES
    of_name = placed_instance if "--placed" in sys.argv else paper_instance
    instances = [of_name(name) for name in names]
    make_missing(
        VALIDATIONS,
        load_validations(),
        ((instance.name, instance) for instance in instances),
        lambda instance: validate(instance, SOLVER, ValidationOptions()),
        "python results/validation/run.py" + (" --placed" if "--placed" in sys.argv else ""),
    )


if __name__ == "__main__":
    main()
