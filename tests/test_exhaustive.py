"""Enumeration of one segment's schedules, against the oracle's own enumeration."""

from __future__ import annotations

import bisect
import itertools
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import oracle
import placed_strategies
import pytest
import strategies
from documents import keep_constraints
from helpers import read
from hypothesis import given, settings
from hypothesis import strategies as st

from scope_opt.cost.build import build_tables
from scope_opt.model.files import InputError
from scope_opt.model.generate import paper_instance
from scope_opt.model.instance import SHAPE
from scope_opt.schedule.count import log10_space_size, space_size
from scope_opt.schedule.schedule import Schedule
from scope_opt.search.census.distribution import Distribution, distribution
from scope_opt.search.census.exhaustive import ExhaustiveSolver
from scope_opt.search.census.tuning import BINS
from scope_opt.search.stopping import SearchStopped
from scope_opt.solving.fallback import FALLBACK
from scope_opt.solving.monitor import Monitor
from scope_opt.solving.result import Result, Status, StopReason
from scope_opt.solving.solver import SolveOptions, load_solver, solve

if TYPE_CHECKING:
    from documents import Json

    from scope_opt.model.instance import Instance

ANY = strategies.table_instances(5, 6) | strategies.physical_instances(5, 6)
SMALL = strategies.table_instances(4, 5) | strategies.physical_instances(4, 5)
PLACED = placed_strategies.placed_instances(4, 4)
LIMITED = placed_strategies.limited_instances(4, 5)


@st.composite
def placed_constrained(draw: st.DrawFn) -> Json:
    """Placed instances with side constraints that concern a single segment."""
    document = draw(placed_strategies.placed_instances(4, 4, constraints=True))
    return keep_constraints(document, SHAPE - {"fixed_segments"})


@st.composite
def constrained(draw: st.DrawFn) -> Json:
    """Instances with side constraints that concern a single segment."""
    document: Json = draw(
        strategies.table_instances(5, 6, constraints=True)
        | strategies.physical_instances(5, 6, constraints=True)
    )
    for name in ("energy_budget_j", "fixed_segments"):
        document["constraints"].pop(name, None)
    return document


def run(instance: Instance, **options: Any) -> Result:
    return solve(instance, ExhaustiveSolver(), SolveOptions(**options))


def pausing(schedules: int) -> ExhaustiveSolver:
    """The solver with a look at the clock after so many schedules."""

    class Pausing(ExhaustiveSolver):
        pause = schedules

    return Pausing()


def count(instance: Instance, **arguments: Any) -> Distribution:
    return distribution(instance, build_tables(instance), **arguments)


def layers_of(document: Json, number: int, chiplets: int) -> Json:
    """An instance of equal layers, of which none needs any room."""
    names = [f"l{index}" for index in range(number)]
    times = [1000 // r for r in range(1, chiplets + 1)]
    both = {"ISP": times, "WSP": times}
    layers = [{"name": name, "weight_bytes": 0, "compute_ps": both} for name in names]
    tables = {"chiplets": chiplets, "weight_buffer_bytes": 1, "layers": layers}
    return {"format": "scope-instance/1", "name": "equal", "tables": tables, **document}


# --- Size of the space ---------------------------------------------------------------------------


def test_sizes_of_alexnet_on_16_chiplets() -> None:
    assert space_size(8, 16) == 43_659_264
    assert space_size(8, 16, idle=True) == 125_520_384


@pytest.mark.parametrize("idle", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 3, 5])
@pytest.mark.parametrize("chiplets", [1, 2, 4, 5])
def test_size_is_the_number_of_schedules(layers: int, chiplets: int, idle: bool) -> None:
    schedules = sum(1 for _ in oracle.enumerate_schedules(layers, chiplets, idle))
    assert space_size(layers, chiplets, idle) == schedules


def test_size_of_the_largest_space_of_the_paper() -> None:
    assert len(str(space_size(156, 256))) == 164
    assert log10_space_size(156, 256) == pytest.approx(163.64, abs=0.005)
    assert log10_space_size(156, 256, idle=True) == pytest.approx(164.06, abs=0.005)


@pytest.mark.parametrize("sizes", [(0, 4), (4, 0), (-1, 4)])
def test_empty_spaces_are_refused(sizes: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least one"):
        space_size(*sizes)


# --- Solver --------------------------------------------------------------------------------------


def agrees(document: Json, exact: bool = True) -> None:
    """The solver and the oracle find the same optimum, or all find none; also the exact one."""
    instance, best = read(document), oracle.best(document, segments="single")
    found = run(instance)
    results = [found]
    if exact and instance.demands <= load_solver("exact").constraints:
        results.append(solve(instance, "exact", SolveOptions(segments="single")))
    assert found.stop_reason is StopReason.COMPLETED
    for result in results:
        if best is None:
            assert result.status is Status.INFEASIBLE
            assert result.explanation
        else:
            assert result.status is Status.OPTIMAL
            assert result.objective_ps == result.bound_ps == best[1]


@given(ANY)
def test_finds_the_optimum(document: Json) -> None:
    agrees(document)


@given(constrained())
def test_finds_the_optimum_under_side_constraints(document: Json) -> None:
    agrees(document)


@settings(max_examples=strategies.share(2))
@given(PLACED)
def test_finds_the_optimum_in_place(document: Json) -> None:
    agrees(document)


@settings(max_examples=strategies.share(2))
@given(placed_constrained())
def test_finds_the_optimum_in_place_under_side_constraints(document: Json) -> None:
    agrees(document)


@settings(max_examples=strategies.share(2))
@given(LIMITED)
def test_finds_the_optimum_with_little_room_for_activations(document: Json) -> None:
    agrees(document, exact=False)


@given(SMALL | PLACED, st.sampled_from([1, 7]))
@settings(max_examples=20)
def test_pausing_changes_nothing(document: Json, chunk: int) -> None:
    whole = run(read(document))
    parts = solve(read(document), pausing(chunk))
    assert (parts.status, parts.objective_ps) == (whole.status, whole.objective_ps)
    assert parts.schedule == whole.schedule


def test_explains_that_the_weights_do_not_fit() -> None:
    result = run(paper_instance("alexnet", 16))
    assert result.status is Status.INFEASIBLE
    assert "weights of one segment" in result.explanation[0]
    assert "'exact'" in result.explanation[0]


def test_explains_that_the_constraints_exclude_everything() -> None:
    document = layers_of({"constraints": {"max_clusters": 1, "forbidden_merges": [0]}}, 2, 4)
    result = run(read(document))
    assert result.status is Status.INFEASIBLE
    assert "forbidden_merges, max_clusters" in result.explanation[0]


@pytest.mark.parametrize("segments", ["dp", "balanced", 2, (0, 1)])
def test_several_segments_are_refused(segments: Any) -> None:
    with pytest.raises(InputError, match="'single', or solver 'exact'"):
        run(read(layers_of({}, 2, 2)), segments=segments)


def test_a_single_segment_may_be_asked_for() -> None:
    assert run(read(layers_of({}, 2, 2)), segments="single").status is Status.OPTIMAL


@pytest.mark.parametrize(
    ("layers", "chiplets", "shown"),
    [
        (16, 16, f"{space_size(16, 16, idle=True):,}"),
        (156, 256, "about 10^164.1"),
        (1000, 200, "about 10^"),  # not even looked at
        (26, 1, f"{2**26:,}"),  # too many times of a single cluster
    ],
)
def test_large_spaces_are_refused(layers: int, chiplets: int, shown: str) -> None:
    with pytest.raises(InputError, match="solver 'exact'") as raised:
        run(read(layers_of({}, layers, chiplets)))
    assert f"{layers} layers on {chiplets} chiplets have {shown}" in str(raised.value)


def test_constraints_can_make_a_large_space_small_enough() -> None:
    pairs = [index for index in range(15) if index % 4 != 3]
    fixed = [{"layer": index, "partition": "ISP"} for index in range(16)]
    document = layers_of(
        {"constraints": {"required_merges": pairs, "fixed_partitions": fixed}}, 16, 16
    )
    result = run(read(document))
    assert result.status is Status.OPTIMAL
    exact = solve(read(document), "exact", SolveOptions(segments="single"))
    assert result.objective_ps == exact.objective_ps


# --- Interruption --------------------------------------------------------------------------------


def test_out_of_time_at_once() -> None:
    result = run(paper_instance("alexnet", 16, overflow="stream"), time_limit_s=0)
    assert (result.status, result.stop_reason) == (Status.FEASIBLE, StopReason.TIME_LIMIT)
    assert result.explanation == (FALLBACK,)  # it has none of its own
    assert result.bound_ps is not None


def test_an_interrupted_run_keeps_the_best_so_far() -> None:
    instance = paper_instance("alexnet", 16, overflow="stream")
    stages = []

    def stop(monitor: Monitor) -> None:
        stages.append(monitor.stage)
        monitor.interrupted = 0 < monitor.done < 1

    result = solve(instance, pausing(10_000), on_progress=stop)
    assert (result.status, result.stop_reason) == (Status.FEASIBLE, StopReason.INTERRUPTED)
    assert result.bound_ps is not None
    assert result.objective_ps is not None
    assert result.bound_ps < result.objective_ps
    assert "of 33,401,139 schedules" in stages[-1]


def test_half_a_distribution_is_none() -> None:
    instance = paper_instance("alexnet", 16, overflow="stream")
    with pytest.raises(SearchStopped):
        count(instance, monitor=Monitor(time_limit_s=0))


# --- Distribution --------------------------------------------------------------------------------


def every_latency(document: Json, idle: bool) -> tuple[int, list[int]]:
    """Number of schedules, and latencies of the valid ones, ascending."""
    judge = oracle.oracle(document)
    segments = list(oracle.enumerate_segments(0, judge.n_layers - 1, judge.chiplets, idle))
    valid = [segment for segment in segments if not judge.segment_codes(segment)]
    return len(segments), sorted(judge.segment_ps(segment) for segment in valid)


def matches(document: Json, idle: bool, data: st.DataObject, **cut: int) -> None:
    """The distribution has exactly the counts of the enumeration."""
    schedules, latencies = every_latency(document, idle)
    near = st.integers(0, 2 * max(latencies, default=1))
    asked = data.draw(st.lists(st.sampled_from(latencies) | near if latencies else near))
    found = count(read(document), idle=idle, rank_of=asked, **cut)
    assert (found.schedules, found.valid) == (schedules, len(latencies))
    assert [rank.latency_ps for rank in found.ranks] == asked
    for rank in found.ranks:
        assert rank.better == bisect.bisect_left(latencies, rank.latency_ps)
        assert rank.better + rank.equal == bisect.bisect_right(latencies, rank.latency_ps)
    assert len(found.counts) <= cut.get("bins", BINS)
    if not latencies:
        assert found.counts == found.edges_ps == ()
        assert found.minimum_ps is found.maximum_ps is found.quantile_ps(0.5) is None
        return
    times = Counter(latencies)
    assert (found.minimum_ps, found.maximum_ps) == (latencies[0], latencies[-1])
    assert (found.at_minimum, found.at_maximum) == (times[latencies[0]], times[latencies[-1]])
    places = [bisect.bisect_left(latencies, edge) for edge in found.edges_ps]
    assert list(found.counts) == [high - low for low, high in itertools.pairwise(places)]
    assert sum(found.counts) == found.valid
    share = data.draw(st.floats(0, 1))
    exact = latencies[max(0, -int(-share * len(latencies) // 1) - 1)]
    quantile = found.quantile_ps(share)
    assert quantile is not None
    bin_of = bisect.bisect_right(found.edges_ps, exact) - 1
    assert exact <= quantile < found.edges_ps[bin_of + 1]
    assert found.quantile_ps(0) == latencies[0]
    assert found.quantile_ps(1) == latencies[-1]


@given(ANY, st.booleans(), st.data())
def test_distribution_counts_every_schedule(
    document: Json, idle: bool, data: st.DataObject
) -> None:
    matches(document, idle, data)


@given(constrained(), st.booleans(), st.data())
def test_distribution_keeps_side_constraints(
    document: Json, idle: bool, data: st.DataObject
) -> None:
    matches(document, idle, data)


@settings(max_examples=strategies.share(2))
@given(PLACED | LIMITED | placed_constrained(), st.booleans(), st.data())
def test_distribution_counts_in_place(document: Json, idle: bool, data: st.DataObject) -> None:
    matches(document, idle, data)


@given(SMALL | PLACED, st.booleans(), st.data())
@settings(max_examples=20)
def test_distribution_in_many_parts(document: Json, idle: bool, data: st.DataObject) -> None:
    bins = data.draw(st.sampled_from([1, 2, 10]))
    matches(document, idle, data, bins=bins, pause=3)


def test_distribution_of_alexnet() -> None:
    instance = paper_instance("alexnet", 16, overflow="stream")
    best = solve(instance, "exact", SolveOptions(segments="single"))
    other = solve(instance, "pipeline")
    assert best.schedule is not None
    assert other.schedule is not None
    found = count(instance, rank_of=[best.schedule, other.schedule])
    assert found.schedules == 43_659_264
    # Counted in closed form, and one by one.
    assert found.valid == sum(found.counts) == 10_951_083
    assert found.minimum_ps == best.objective_ps
    assert found.ranks[0].better == 0
    assert found.ranks[0].equal == found.at_minimum
    assert 0 < found.ranks[1].better < found.valid
    assert found.ranks[1].better_share == found.ranks[1].better / found.valid
    assert len(found.counts) > BINS / 4
    data = json.loads(json.dumps(found.to_json_dict()))
    assert data["valid"] == found.valid
    assert data["ranks"][1]["better"] == found.ranks[1].better
    assert [entry["share"] for entry in data["quantiles"]][:2] == [0.0001, 0.001]


def test_an_invalid_schedule_has_no_rank() -> None:
    instance = read(layers_of({}, 2, 2))
    result = run(instance)
    assert result.schedule is not None
    text = result.schedule.to_json().replace('"chiplets": 2', '"chiplets": 3')
    with pytest.raises(InputError, match="schedule to rank"):
        count(instance, rank_of=[Schedule.from_json(text, "test")])


def test_distribution_is_about_single_segments() -> None:
    document = layers_of({"constraints": {"fixed_segments": [0, 1]}}, 2, 2)
    with pytest.raises(InputError, match="fixed_segments"):
        count(read(document))
    document["constraints"]["fixed_segments"] = [0]
    assert count(read(document)).valid == space_size(2, 2)


def test_a_share_is_between_0_and_1() -> None:
    with pytest.raises(ValueError, match="allowed 0 to 1"):
        count(read(layers_of({}, 2, 2))).quantile_ps(1.5)
