"""Solve every placed instance in the best order of positions, and in that of a Hilbert-like curve.

    python results/orders/run.py [SECONDS] [INSTANCE...]

SECONDS is the time limit of an instance, shared by its orders, 600 by default. Results that are
there are kept. Each is written as it ends, so an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

from scope_opt.report.results.orders import HILBERT, SOLVED, load_solved
from scope_opt.report.results.records import PAPER_INSTANCES, placed_instance
from scope_opt.solving.solver import SolveOptions, solve
from scope_opt.studies.one_by_one import make_missing

if TYPE_CHECKING:
    from pathlib import Path

    from scope_opt.solving.solver import OrderChoice


def main() -> None:
    """Make what is missing."""
    limit_s = float(sys.argv[1]) if len(sys.argv) > 1 else 600.0
    asked: tuple[tuple[OrderChoice, Path], ...] = (("all", SOLVED), (("hilbert",), HILBERT))
    for order, file in asked:
        options = SolveOptions(order=order, time_limit_s=limit_s)
        make_missing(
            file,
            load_solved(file),
            ((name, placed_instance(name)) for name in sys.argv[2:] or PAPER_INSTANCES),
            partial(solve, solver="exact", options=options),
            "python results/orders/run.py",
        )


if __name__ == "__main__":
    main()
