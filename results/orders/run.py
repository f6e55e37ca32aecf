"""Solve every placed instance in the best order of positions.

    python results/orders/run.py [SECONDS] [INSTANCE...]

SECONDS is the time limit of an instance, shared by its orders, 600 by default. Results that are
there are kept. Each is written as it ends, so an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from scope_opt.model.files import write_text
from scope_opt.report.results.orders import SOLVED, load_solved
from scope_opt.report.results.records import PAPER_INSTANCES, placed_instance
from scope_opt.solving.solver import SolveOptions, solve
from scope_opt.studies.provenance import note_run
from scope_opt.studies.records import MANIFEST

if TYPE_CHECKING:
    from scope_opt.solving.result import Result


def main() -> None:
    """Make what is missing."""
    limit_s = float(sys.argv[1]) if len(sys.argv) > 1 else 600.0
    names = sys.argv[2:] or PAPER_INSTANCES
    known = load_solved()
    noted = False
    for name in names:
        instance = placed_instance(name)
        old = known.get(name)
        if old is not None and old.instance.digest == instance.digest:
            continue
        if not noted:
            note_run(Path(__file__).parent / MANIFEST, "python results/orders/run.py")
            noted = True
        options = SolveOptions(order="all", time_limit_s=limit_s)
        known[name] = solve(instance, "exact", options)
        write_text(SOLVED, "".join(map(line, known.values())), force=True)
        print(f"{name}: {known[name].status}", flush=True)


def line(result: Result) -> str:
    """Without its trajectory, which is used nowhere here."""
    return json.dumps({**json.loads(result.to_json()), "trajectory": []}) + "\n"


if __name__ == "__main__":
    main()
