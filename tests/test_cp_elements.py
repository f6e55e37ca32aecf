"""The compact constraint program: equal to exhaustive search and to the program over columns."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import oracle
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st

from scope_opt.model.cost import build_tables
from scope_opt.model.files import InputError
from scope_opt.model.generate import paper_instance
from scope_opt.model.instance import Instance
from scope_opt.schedule.evaluate import evaluate
from scope_opt.schedule.schedule import Schedule
from scope_opt.solving.result import Result, Status
from scope_opt.solving.solver import SolveOptions, solve

cp_model = pytest.importorskip(
    "ortools.sat.python.cp_model", reason="OR-tools is not installed", exc_type=ImportError
)

from formulations.cp_sat.elements import ElementProgram  # noqa: E402
from formulations.cp_sat.solver import CpSatSolver  # noqa: E402
from formulations.space import Caps, make_space  # noqa: E402

if TYPE_CHECKING:
    from scope_opt.solving.solver import SegmentChoice

Json = dict[str, Any]

ANY = strategies.table_instances(max_layers=6, max_chiplets=6)
ANY |= strategies.physical_instances(max_layers=6, max_chiplets=6)


def read(document: Json) -> Instance:
    return Instance.from_json(json.dumps(document), "test")


def run(document: Json, segments: SegmentChoice | None, encoding: str = "elements") -> Result:
    options = SolveOptions(segments=segments, encoding=encoding)
    return solve(read(document), CpSatSolver(), options)


def objective(result: Result) -> tuple[int | None, int | None]:
    return result.objective_ps, result.objective_fj


def program_of(document: Json, starts: tuple[int, ...], unit: int = 1) -> ElementProgram:
    instance = read(document)
    tables = build_tables(instance)
    space = make_space(instance, tables, starts, None)
    return ElementProgram(tables, space, Caps(tables, space, None), unit)


def solved(program: ElementProgram) -> Any:
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    return solver, solver.solve(program.model)


@settings(max_examples=strategies.share(2))
@given(
    document=strategies.table_instances(max_layers=4, max_chiplets=4, constraints=True)
    | strategies.physical_instances(
        max_layers=3, max_chiplets=4, constraints=True, couplings=True
    ).filter(lambda document: bool(document["constraints"]))
)
def test_equals_exhaustive_search(document: Json) -> None:
    if "fixed_segments" in document["constraints"]:
        document["constraints"]["fixed_segments"] = [0]
    result = run(document, (0,))
    best = oracle.best(document, "single")
    if best is None:
        assert result.status is Status.INFEASIBLE
        return
    assert result.status is Status.OPTIMAL
    assert best[1] in objective(result)


@settings(max_examples=strategies.share(4))
@given(
    document=ANY
    | strategies.physical_instances(max_layers=5, max_chiplets=6, constraints=True, couplings=True),
    data=st.data(),
)
def test_equals_the_program_over_columns(document: Json, data: st.DataObject) -> None:
    layers = len(document["tables" if "tables" in document else "network"]["layers"])
    fixed = document["constraints"].get("fixed_segments")
    inner = data.draw(st.sets(st.integers(1, layers - 1))) if layers > 1 else set()
    choice = None if fixed else (0, *sorted(inner))
    result, columns = run(document, choice), run(document, choice, "columns")
    assert result.status is columns.status
    assert objective(result) == objective(columns)


@settings(max_examples=strategies.share(2))
@given(document=ANY, data=st.data())
def test_schedules_are_solutions_with_the_evaluators_objective(
    document: Json, data: st.DataObject
) -> None:
    """The program fixed to a schedule has its latency, or no solution if it is not valid."""
    drawn = data.draw(strategies.schedules(document))
    instance = read(document)
    schedule = {**drawn, "instance": {"name": instance.name, "digest": instance.digest}}
    evaluation = evaluate(instance, Schedule.from_json(json.dumps(schedule), "test"))
    starts = tuple(segment["clusters"][0]["first_layer"] for segment in drawn["segments"])
    program = program_of(document, starts)
    for cluster in (c for segment in drawn["segments"] for c in segment["clusters"]):
        first = cluster["first_layer"]
        for layer in range(first, cluster["last_layer"] + 1):
            wsp = cluster["partitions"][layer - first] == "WSP"
            program.model.add(program.starts[layer] == int(layer == first))
            program.model.add(program.size[layer] == cluster["chiplets"])
            program.model.add(program.partition[layer] == int(wsp))
    solver, status = solved(program)
    if evaluation.feasible:
        assert status == cp_model.OPTIMAL
        assert program.bound(solver.value(program.objective)) == evaluation.objective_ps
    else:
        assert status == cp_model.INFEASIBLE


@settings(max_examples=strategies.share(4))
@given(document=ANY, unit=st.sampled_from([2, 7, 1000]))
def test_coarse_programs_are_relaxations(document: Json, unit: int) -> None:
    exact, coarse = program_of(document, (0,)), program_of(document, (0,), unit)
    solver, status = solved(exact)
    relaxed, relaxed_status = solved(coarse)
    assert relaxed_status == status
    if status == cp_model.OPTIMAL:
        bound = coarse.bound(relaxed.value(coarse.objective))
        assert bound <= exact.bound(solver.value(exact.objective))


@settings(max_examples=strategies.share(4))
@given(document=ANY, unit=st.sampled_from([1, 3]))
def test_solutions_are_schedules_and_good_hints(document: Json, unit: int) -> None:
    program = program_of(document, (0,), unit)
    solver, status = solved(program)
    if status != cp_model.OPTIMAL:
        return
    segments = program.schedule(solver.value)
    again = program_of(document, (0,), unit)
    assert again.hint(segments)
    again.model.add(again.objective <= solver.value(program.objective))
    hinted = cp_model.CpSolver()
    hinted.parameters.num_workers = 1
    hinted.parameters.fix_variables_to_their_hinted_value = True
    assert hinted.solve(again.model) == cp_model.OPTIMAL


def test_paper_instance() -> None:
    instance = paper_instance("alexnet", 16)
    exact = solve(instance, "exact")
    assert exact.schedule is not None
    starts = tuple(segment.first_layer for segment in exact.schedule.segments)
    options = SolveOptions(segments=starts, encoding="elements")
    result = solve(instance, CpSatSolver(), options)
    assert result.status is Status.OPTIMAL
    assert result.objective_ps == exact.objective_ps


def test_free_segments_are_refused() -> None:
    with pytest.raises(InputError, match="needs given segments"):
        solve(paper_instance("alexnet", 16), CpSatSolver(), SolveOptions(encoding="elements"))
