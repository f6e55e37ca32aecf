"""Page of `formulations`: sizes and linear relaxations of the mixed-integer programs.

``results/formulations/run.py`` measures them.
"""

from __future__ import annotations

import csv

from scope_opt.report.markdown import Article, table
from scope_opt.report.results.records import RESULTS, machine

STUDY = "formulations"
SIZES = RESULTS / STUDY / "sizes.csv"
FIELDS = ("instance", "formulation", "variables", "constraints", "non-zeros", "relaxation", "s")


def page() -> Article:
    """The page."""
    with SIZES.open(newline="") as file:
        rows = [[row[name] or "-" for name in FIELDS] for row in csv.DictReader(file)]
    return Article(
        "Sizes and relaxations of the mixed-integer formulations",
        [
            "One segment, schedules up to 1.1 times the optimum. *Relaxation*: value of the linear "
            "relaxation over the optimum that `exact` proves; 1 would be a proof. *Coarse tables*: "
            "piecewise linear from below, relative error 0.2. *Whole clusters*: with rows that say "
            "what clusters need at least, as the solver has them. Seconds to build, translate "
            "and solve the relaxation, one thread. The encoding `thresholds` of interval-milp has "
            "no single program. Reproduce with `python results/formulations/run.py`, which writes "
            "`sizes.csv`.",
            machine(STUDY),
            table(FIELDS, rows, left=2),
        ],
    )
