"""Exactly optimized baselines and the attribution of gaps, against exhaustive search."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import oracle
import placed_strategies
import pytest
import strategies
from documents import Json, keep_constraints
from helpers import read, read_schedule, solve_with
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scope_opt.cost.build import build_tables
from scope_opt.model.files import InputError
from scope_opt.model.generate import paper_instance
from scope_opt.search.exact.attribution import Attribution, attribute
from scope_opt.search.exact.solver import ExactSolver
from scope_opt.solving.result import Result, Status
from scope_opt.solving.solver import SolveOptions, solve

if TYPE_CHECKING:
    from scope_opt.solving.solver import SegmentChoice

Segments = list[oracle.Segment]

SIDE = strategies.table_instances(max_layers=4, max_chiplets=4, constraints=True)
SIDE |= strategies.physical_instances(max_layers=4, max_chiplets=3, constraints=True)
MEDIUM = strategies.table_instances(max_layers=7, max_chiplets=9)
MEDIUM |= strategies.physical_instances(max_layers=7, max_chiplets=9)


def enumerated(document: Json) -> list[tuple[int, Segments]]:
    """Every valid schedule with its latency."""
    judge = oracle.oracle(document)
    found = []
    for schedule in oracle.enumerate_all(judge.n_layers, judge.chiplets):
        segments = oracle.parse(schedule)
        starts = [segment[0].first for segment in segments]
        if judge.allows_starts(starts) and not any(map(judge.segment_codes, segments)):
            found.append((sum(map(judge.segment_ps, segments)), segments))
    return found


def least(schedules: list[tuple[int, Segments]], admits: Rule) -> int | None:
    return min((value for value, segments in schedules if admits(segments)), default=None)


# --- Restricted solvers --------------------------------------------------------------------------


def single_layers(segments: Segments) -> bool:
    return all(c.first == c.last for segment in segments for c in segment)


def one_cluster(segments: Segments) -> bool:
    return all(len(segment) == 1 for segment in segments)


def one_segment(segments: Segments) -> bool:
    return len(segments) == 1


Rule = Callable[[Segments], bool]

RESTRICTIONS: dict[str, tuple[Rule, ...]] = {
    "exact-segmented": (single_layers,),
    "exact-pipeline": (single_layers, one_segment),
    "exact-sequential": (one_cluster,),
}
BASELINES = {
    "exact-segmented": "segmented",
    "exact-pipeline": "pipeline",
    "exact-sequential": "sequential",
}


def obeying(rules: Iterable[Rule]) -> Rule:
    """All of these rules as one."""
    return lambda segments: all(rule(segments) for rule in rules)


def settled(result: Result, best: int | None) -> None:
    if best is None:
        assert result.status is Status.INFEASIBLE
        assert result.explanation
        return
    assert result.status is Status.OPTIMAL
    assert (result.objective_ps, result.bound_ps, result.gap) == (best, best, 0)


@settings(max_examples=strategies.share(3))
@given(SIDE)
def test_equal_to_exhaustive_search(document: Json) -> None:
    document = keep_constraints(document, ExactSolver.constraints)
    schedules = enumerated(document)
    fixed = "fixed_segments" in document["constraints"]
    for solver, rules in RESTRICTIONS.items():
        if solver == "exact-pipeline" and fixed:
            continue
        result = solve_with(solver, document)
        settled(result, least(schedules, obeying(rules)))
        if result.schedule is not None:
            found = oracle.parse(json.loads(result.schedule.to_json()))
            assert obeying(rules)(found)
        if not fixed:
            rules = (*rules, one_segment)
            best = least(schedules, obeying(rules))
            settled(solve_with(solver, document, "single"), best)


@settings(max_examples=strategies.share(6))
@given(MEDIUM)
def test_never_above_the_baseline_of_the_scheme(document: Json) -> None:
    free = solve_with("exact", document).objective_ps
    for solver, baseline in BASELINES.items():
        for choice in ("dp", "balanced", "single"):
            best = solve_with(solver, document, choice)
            other = solve_with(baseline, document, choice).objective_ps
            if other is not None:
                assert best.objective_ps is not None
                assert best.objective_ps <= other
            if best.objective_ps is not None:
                assert free is not None
                assert free <= best.objective_ps


@pytest.mark.parametrize("solver", BASELINES)
def test_paper_instance(solver: str) -> None:
    instance = paper_instance("resnet18", 64)
    best = solve(instance, solver)
    other = solve(instance, BASELINES[solver])
    assert best.status is Status.OPTIMAL
    assert best.objective_ps is not None
    assert other.objective_ps is not None
    assert (solve(instance, "exact").objective_ps or 0) <= best.objective_ps <= other.objective_ps


# --- Attribution ---------------------------------------------------------------------------------


def shape(segments: Segments, depth: str) -> Any:
    """The decisions of a schedule down to a depth: segments, clusters, regions."""
    if depth == "segments":
        return [segment[0].first for segment in segments]
    if depth == "clusters":
        return [[cluster.first for cluster in segment] for segment in segments]
    return [[(cluster.first, cluster.chiplets) for cluster in segment] for segment in segments]


def switches_once(judge: oracle.Oracle, segment: oracle.Segment) -> bool:
    """Whether the layers before some index are WSP where the copy fits, and all others ISP."""
    first, last = segment[0].first, segment[-1].last
    partitions = [name for cluster in segment for name in cluster.partitions]
    fits = []
    for cluster in segment:
        weights = judge.times.weights[cluster.first : cluster.last + 1]
        room = max(0, judge.times.capacity * cluster.chiplets - sum(weights))
        fits += [weight * (cluster.chiplets - 1) <= room for weight in weights]
    for index in range(last - first + 2):
        pattern = [oracle.WSP if k < index and fit else oracle.ISP for k, fit in enumerate(fits)]
        if partitions == pattern:
            return True
    return False


PLACED = placed_strategies.placed_instances(max_layers=4, max_chiplets=3, constraints=True)


def drawn(document: Json, data: st.DataObject) -> tuple[list[tuple[int, Segments]], int, Segments]:
    """Every schedule of an instance, and one of them with its latency."""
    schedules = enumerated(document)
    assume(schedules)
    return schedules, *data.draw(st.sampled_from(schedules))


def attributed(
    document: Json, segments: Segments, optimum: int, bound: int | None = None
) -> Attribution:
    instance = read(document)
    schedule = read_schedule(instance, oracle.to_json(segments))
    return attribute(instance, build_tables(instance), schedule, optimum, bound_ps=bound)


def unlinked(document: Json) -> Json:
    """The instance without shared links."""
    nop = {**document["package"]["nop"], "shared_links": False}
    return {**document, "package": {**document["package"], "nop": nop}}


@settings(max_examples=strategies.share(2))
@given(SIDE | PLACED.map(unlinked), st.data())
def test_attribution(document: Json, data: st.DataObject) -> None:
    document = keep_constraints(document, ExactSolver.constraints)
    schedules, value, segments = drawn(document, data)
    optimum = min(total for total, _ in schedules)
    found = attributed(document, segments, optimum)

    def freed(depth: str) -> int | None:
        return least(schedules, lambda other: shape(other, depth) == shape(segments, depth))

    assert found.schedule_ps == value
    assert found.partitions_ps == freed("regions")
    assert found.regions_ps == freed("clusters")
    assert found.clusters_ps == freed("segments")
    assert found.segments_ps == optimum
    assert found.open_ps == 0
    chain = (value, found.partitions_ps, found.regions_ps, found.clusters_ps, optimum)
    assert list(chain) == sorted(chain, reverse=True)
    assert set(found.losses()) == {"partitions", "regions", "clusters", "segments"}
    assert sum(found.losses().values()) == pytest.approx(found.gap)
    assert found.gap == pytest.approx((value - optimum) / optimum)

    # Limited activations may leave neither partition to a layer whose copy fits.
    limited = "activation_buffer_bytes" in document.get("package", {})
    if "fixed_partitions" not in document["constraints"] and not limited:
        judge = oracle.oracle(document)
        assert found.transition_ps == least(
            schedules,
            lambda other: (
                shape(other, "segments") == shape(segments, "segments")
                and all(switches_once(judge, segment) for segment in other)
            ),
        )


@settings(max_examples=strategies.share(2))
@given(PLACED, st.data())
def test_attribution_with_shared_links(document: Json, data: st.DataObject) -> None:
    """Every step is a schedule of its space, and no further from its optimum than is said."""
    document = keep_constraints(document, ExactSolver.constraints)
    schedules, value, segments = drawn(document, data)
    optimum = min(total for total, _ in schedules)
    bound = min(total for total, _ in enumerated(unlinked(document)))
    found = attributed(document, segments, optimum, bound)
    steps = {
        "regions": found.partitions_ps,
        "clusters": found.regions_ps,
        "segments": found.clusters_ps,
    }
    for depth, latency in steps.items():
        space = [
            total for total, other in schedules if shape(other, depth) == shape(segments, depth)
        ]
        assert latency in space
        assert latency - found.open_ps <= min(space)
    chain = (value, *steps.values(), found.segments_ps)
    assert list(chain) == sorted(chain, reverse=True)
    assert found.segments_ps == optimum
    assert found.open_ps >= optimum - bound
    if found.transition_ps is not None:
        assert found.transition_ps >= min(
            total
            for total, other in schedules
            if shape(other, "segments") == shape(segments, "segments")
        )


def test_losses_by_hand() -> None:
    found = Attribution(
        schedule_ps=150,
        partitions_ps=140,
        regions_ps=125,
        clusters_ps=120,
        segments_ps=100,
        transition_ps=130,
    )
    assert found.gap == 0.5
    expected = {"partitions": 0.1, "regions": 0.15, "clusters": 0.05, "segments": 0.2}
    assert found.losses() == pytest.approx(expected)


def test_attribution_of_latency_zero() -> None:
    zeros = {"ISP": [0, 0], "WSP": [0, 0]}
    layers = [{"name": f"l{k}", "weight_bytes": 1, "compute_ps": zeros} for k in range(3)]
    tables = {"chiplets": 2, "weight_buffer_bytes": 9, "layers": layers}
    instance = read({"format": "scope-instance/1", "name": "zero", "tables": tables})
    schedule = solve(instance, "exact").schedule
    assert schedule is not None
    found = attribute(instance, build_tables(instance), schedule, 0)
    assert found == Attribution(0, 0, 0, 0, 0, 0)


@settings(max_examples=strategies.share(3))
@given(SIDE, st.data())
def test_schedules_that_cannot_be_attributed(document: Json, data: st.DataObject) -> None:
    document = keep_constraints(document, ExactSolver.constraints)
    schedule = data.draw(strategies.schedules(document))
    instance = read(document)
    given_schedule = read_schedule(read(document), schedule)
    codes = oracle.violations(document, schedule)
    optimum = 0 if codes else oracle.objective_ps(document, schedule) + 1
    message = codes[0] if codes else "is better than the optimum"
    with pytest.raises(InputError, match=message):
        attribute(instance, build_tables(instance), given_schedule, optimum)


def test_attribution_of_the_papers_search() -> None:
    instance = paper_instance("resnet18", 64)
    tables = build_tables(instance)
    schedule = solve(instance, "scope").schedule
    optimum = solve(instance, "exact").objective_ps
    assert schedule is not None
    assert optimum is not None
    found = attribute(instance, tables, schedule, optimum)
    starts = tuple(segment.first_layer for segment in schedule.segments)
    fixed = solve(instance, "exact", SolveOptions(segments=starts))
    assert found.clusters_ps == fixed.objective_ps
    assert all(loss >= 0 for loss in found.losses().values())
    assert sum(found.losses().values()) == pytest.approx(found.gap)
    assert found.transition_ps is not None
    assert found.clusters_ps <= found.transition_ps
    assert found.open_ps == 0
    assert found.partitions_ps <= found.schedule_ps


@pytest.mark.parametrize("choice", list(itertools.product(BASELINES, ["dp", "single"])), ids=str)
def test_two_runs_are_equal(choice: tuple[str, SegmentChoice]) -> None:
    solver, segments = choice
    instance = paper_instance("alexnet", 16, overflow="stream")
    options = SolveOptions(segments=segments)
    assert solve(instance, solver, options).schedule == solve(instance, solver, options).schedule


def test_warm_starts_of_other_schemes_are_rejected() -> None:
    """They may be better than the optimum that is proved."""
    instance = paper_instance("resnet18", 16)
    start = solve(instance, "exact").schedule
    assert start is not None
    assert any(len(segment.clusters) > 1 for segment in start.segments)
    result = solve(instance, "exact-sequential", SolveOptions(warm_start=start))
    assert result.warm_start is not None
    assert "'exact-sequential' searches 1 to 1" in result.warm_start
    assert result.status is Status.OPTIMAL
    assert result.objective_ps == solve(instance, "exact-sequential").objective_ps
