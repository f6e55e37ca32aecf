"""Programs of single segments under a shortest path over cuts: equal to exhaustive search."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import strategies
from documents import shipped
from helpers import read, solve_with
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_network_milp import MEDIUM, TUNINGS, Impatient

from formulations.network_milp.goal import OneSegment
from formulations.network_milp.search import Search
from formulations.paths.cuts import Cuts
from formulations.request import make_request
from formulations.segment_milp.solver import SegmentMilpSolver
from formulations.tuning import DEFAULT, Tuning
from scope_opt.cost.build import build_tables
from scope_opt.model.files import InputError
from scope_opt.model.generate import paper_instance
from scope_opt.solving.result import Status, StopReason
from scope_opt.solving.solver import SolveOptions, solve

if TYPE_CHECKING:
    from documents import Json

    from scope_opt.solving.result import Result
    from scope_opt.solving.solver import SegmentChoice


def run(
    document: Json,
    segments: SegmentChoice | None = None,
    tuning: Tuning = DEFAULT,
    **options: Any,
) -> Result:
    return solve_with(SegmentMilpSolver(tuning), document, segments, **options)


@settings(max_examples=strategies.share(2))
@given(document=MEDIUM, data=st.data())
def test_equals_the_exact_solver(document: Json, data: st.DataObject) -> None:
    choice = data.draw(strategies.segment_choices(len(read(document).layer_names)))
    # With a schedule to begin with, as larger instances have one, and without.
    tuning = replace(data.draw(TUNINGS), small=data.draw(st.sampled_from([0, 1000])))
    result = run(document, choice, replace(tuning, opening_moves=2000))
    exact = solve(read(document), "exact", SolveOptions(segments=choice))
    assert result.status is exact.status
    assert result.objective_ps == exact.objective_ps


@settings(max_examples=strategies.share(2))
@given(document=MEDIUM, data=st.data())
def test_every_segment_for_itself(document: Json, data: st.DataObject) -> None:
    """What is proved of a segment is its optimum, whatever is around it."""
    instance, monitor = read(document), Impatient(10**9)
    layers = len(instance.layer_names)
    first = data.draw(st.integers(0, layers - 1))
    last = data.draw(st.integers(first, layers - 1))
    starts = tuple(layer for layer in sorted({0, first, last + 1}) if layer < layers)
    exact = solve(instance, "exact", SolveOptions(segments=starts))
    assume(exact.schedule is not None)
    assert exact.schedule is not None
    tables, options = build_tables(instance), SolveOptions()
    request = make_request("segment-milp", instance, tables, options, monitor)
    cuts = Cuts("segment-milp", request)
    goal = OneSegment(cuts, (first, last), tables.worst_latency_ps)
    assert Search(request, goal).run()
    segment = next(s for s in exact.schedule.segments if s.first_layer == first)
    assert cuts.lower[first, last] == cuts.latency(first, last)
    cuts.found(segment)
    assert cuts.lower[first, last] == cuts.latency(first, last)


@pytest.mark.parametrize(
    ("name", "segments"),
    [("alexnet", None), ("vgg16", None), ("vgg16", 5), ("resnet18", "single")],
)
def test_paper_instance(name: str, segments: SegmentChoice | None) -> None:
    instance = paper_instance(name, 16)
    options = SolveOptions(segments=segments)
    result, exact = solve(instance, SegmentMilpSolver(), options), solve(instance, "exact", options)
    assert result.status is exact.status is Status.OPTIMAL
    assert result.objective_ps == exact.objective_ps
    assert result.solver_class == "D"
    assert result.proof is not None
    assert set(result.proof.by) <= {"highs", "cp-sat"}
    assert result.proof.programs > 0


@settings(max_examples=strategies.share(4))
@given(document=MEDIUM, patience=st.integers(0, 80))
def test_a_stopped_run_leaves_a_bound(document: Json, patience: int) -> None:
    """Stopped at any of the moments at which it looks; what it says then is true."""
    exact = solve(read(document), "exact")
    instance, monitor = read(document), Impatient(patience)
    SegmentMilpSolver().run(instance, build_tables(instance), SolveOptions(), monitor)
    if exact.objective_ps is None:
        assert monitor.objective is None
        return
    assert not monitor.infeasible
    assert monitor.bound is not None
    assert monitor.bound <= exact.objective_ps
    assert monitor.objective is None or exact.objective_ps <= monitor.objective


def test_begins_with_an_annealed_schedule() -> None:
    """And repeats itself: what it begins with depends on nothing but the seed."""
    instance, options = paper_instance("resnet50", 64), SolveOptions(time_limit_s=10, seed=3)
    moves = SolveOptions(iterations=2000, seed=3)
    result = solve(instance, SegmentMilpSolver(Tuning(opening_moves=2000)), options)
    annealed = solve(instance, "anneal", moves)
    assert result.stop_reason is StopReason.TIME_LIMIT
    found = [point.objective_ps for point in result.trajectory if point.objective_ps is not None]
    assert found[0] == annealed.objective_ps
    assert result.bound_ps is not None
    assert result.objective_ps is not None
    assert result.bound_ps < result.objective_ps


def test_refuses_what_it_does_not_honour() -> None:
    with pytest.raises(InputError, match=r"does not honour latency_bound_s; .*interval-milp"):
        solve_with("segment-milp", shipped("tiny-energy"))
