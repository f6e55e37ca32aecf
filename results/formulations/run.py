"""Sizes and linear relaxations of the mixed-integer formulations, one segment.

    python results/formulations/run.py

Every program admits schedules up to a tenth above the optimum, as after a good warm start. Its
relaxation drops integrality; its value is compared with the optimum that `exact` proves.
"""

from __future__ import annotations

import csv
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from formulations.columns.maker import ColumnMaker
from formulations.compact_milp.clusters import columns_of
from formulations.compact_milp.encodings import ENCODINGS
from formulations.compact_milp.rounds import Rounds
from formulations.highs import Highs, import_pyomo
from formulations.interval_milp.beats import BeatsProgram
from formulations.network_milp.grid import GridProgram
from formulations.request import Request, make_request
from formulations.space import Caps
from formulations.tuning import DEFAULT
from scope_opt.cost.build import build_tables
from scope_opt.report.results.records import RESULTS, paper_instance
from scope_opt.report.results.relaxations import FIELDS, SIZES, STUDY
from scope_opt.schedule.bounds import latency_bound
from scope_opt.solving.monitor import Monitor
from scope_opt.solving.solver import SolveOptions, solve
from scope_opt.studies.provenance import note_run
from scope_opt.studies.records import MANIFEST

if TYPE_CHECKING:
    from scope_opt.model.instance import Instance

NAMES = ("alexnet-64", "resnet18-16", "darknet19-32", "resnet18-64", "resnet50-64")
ROOM = 1.1
"""Ceiling over optimum."""
COARSE, CLUSTERS = "coarse tables", "whole clusters"
"""Tables with a first error; rows that say what clusters need."""


class Row(NamedTuple):
    """A program and its relaxation."""

    formulation: str
    variables: int
    constraints: int
    nonzeros: int
    relaxed: float
    """Value of the relaxation over the optimum."""
    seconds: float
    """To build, translate and solve it."""


def main() -> None:
    """Measure, and write the table that the page is made from."""
    note_run(RESULTS / STUDY / MANIFEST, "python results/formulations/run.py")
    found: list[list[object]] = []
    for name in NAMES:
        instance = paper_instance(name)
        best = solve(instance, "exact", SolveOptions(segments="single")).objective_ps
        assert best is not None
        simple = latency_bound(build_tables(instance)) / best
        found.append([name, "simple bound", "", "", "", f"{simple:.4f}", ""])
        for row in rows(instance, best):
            *sizes, relaxed, seconds = row
            found.append([name, *sizes, f"{relaxed:.4f}", f"{seconds:.1f}"])
            print(*found[-1], flush=True)
    with SIZES.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([FIELDS, *found])


def rows(instance: Instance, best_ps: int) -> list[Row]:
    """Every formulation of one instance."""
    ceiling = int(ROOM * best_ps)
    names = ["interval-milp, beats", "network-milp, relaxation"]
    names += [f"compact-milp, {encoding}" for encoding in (*ENCODINGS, COARSE, CLUSTERS)]
    return [relaxation(instance, name, best_ps, ceiling) for name in names]


def relaxation(instance: Instance, formulation: str, best_ps: int, ceiling_ps: int) -> Row:
    """Build a program, drop integrality, solve."""
    began, monitor = time.perf_counter(), Monitor()
    solver, _, encoding = formulation.partition(", ")
    options = SolveOptions(segments="single", encoding=encoding if encoding in ENCODINGS else None)
    request = make_request(solver, instance, build_tables(instance), options, monitor)
    program: Any
    if encoding == "beats":
        program = beats(request, ceiling_ps)
    elif solver == "network-milp":
        program = GridProgram(request, ceiling_ps, encoding)
    else:
        tolerance = DEFAULT.first_error if encoding == COARSE else 0.0
        columns = columns_of(request, ceiling_ps) if encoding == CLUSTERS else None
        ends = [(0, request.tables.layers - 1)]
        program = Rounds(request, ends, [ceiling_ps], tolerance, columns).program()
    import_pyomo().TransformationFactory("core.relax_integer_vars").apply_to(program.model)
    outcome = Highs(program.model, monitor).solve(monitor)
    assert outcome.objective is not None
    assert monitor.model is not None
    bound = program.bound(outcome.objective)
    seconds = time.perf_counter() - began
    return Row(formulation, *monitor.model.model_dump().values(), bound / best_ps, seconds)


def beats(request: Request, ceiling_ps: int) -> BeatsProgram:
    """The interval program with beats as variables."""
    caps = Caps(request.tables, request.space, ceiling_ps)
    maker = ColumnMaker(request.tables, request.space)
    columns = maker.columns(caps)
    return BeatsProgram(request, columns, maker.partitions(columns), caps)


if __name__ == "__main__":
    main()
