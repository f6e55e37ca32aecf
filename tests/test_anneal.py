"""Annealing: valid schedules, the optimum of small instances, repeatable runs, every option."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from typing import Any

import numpy as np
import oracle
import placed_strategies
import pytest
import strategies
from documents import INSTANCES, Json, keep_constraints
from helpers import plain, read, read_schedule
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scope_opt import load
from scope_opt.cost.build import build_tables
from scope_opt.model.files import InputError
from scope_opt.model.generate import paper_instance
from scope_opt.model.instance import Instance
from scope_opt.model.tables import LIMIT
from scope_opt.search.anneal.solver import (
    ANY,
    Annealing,
    AnnealSolver,
    to_segments,
)
from scope_opt.search.anneal.state import (
    EXCESS,
    LATENCY,
    MARK,
    SEGMENT,
    SLOWEST,
    TIME,
    USED,
    make_rng,
)
from scope_opt.search.anneal.walk import anneal
from scope_opt.search.cuts import shortest_cut
from scope_opt.search.paper.segmentation import balanced_choices
from scope_opt.solving.monitor import Monitor
from scope_opt.solving.result import Result, Status, StopReason
from scope_opt.solving.solver import SolveOptions, solve

LARGE = strategies.table_instances() | strategies.physical_instances()
SMALL = strategies.table_instances(
    max_layers=5, max_chiplets=5, constraints=True
) | strategies.physical_instances(max_layers=5, max_chiplets=5, constraints=True)


def run(document: Json | Instance, **options: Any) -> Result:
    instance = document if isinstance(document, Instance) else read(document)
    return solve(instance, AnnealSolver(), SolveOptions(**options))


def firsts(result: Result) -> tuple[int, ...]:
    assert result.schedule is not None
    return tuple(segment.first_layer for segment in result.schedule.segments)


# --- Answers -------------------------------------------------------------------------------------


def check_answer(document: Json, seed: int, iterations: int) -> None:
    """A schedule is valid and no better than the best; without one, no more is claimed."""
    document = keep_constraints(document, AnnealSolver.constraints)
    result = run(document, seed=seed, iterations=iterations)
    best = oracle.best(document)
    if result.schedule is None:
        # Only simple reasons prove anything here.
        assert result.status == Status.UNKNOWN or (best is None and result.explanation)
        return
    assert best is not None
    assert oracle.violations(document, plain(result.schedule)) == []
    assert result.objective_ps == oracle.objective_ps(document, plain(result.schedule)) >= best[1]


@settings(max_examples=60)
@given(SMALL, st.integers(0, 3), st.sampled_from([0, 1, 50, 2000]))
def test_schedules_are_valid_and_no_better_than_the_best(
    document: Json, seed: int, iterations: int
) -> None:
    check_answer(document, seed, iterations)


@settings(max_examples=40)
@given(LARGE, st.integers(0, 3), st.data())
def test_segments_are_as_asked_for(document: Json, seed: int, data: st.DataObject) -> None:
    instance = read(document)
    layers = len(instance.layer_names)
    starts = data.draw(st.sets(st.integers(0, layers - 1)).map(lambda s: tuple(sorted({0, *s}))))
    choice = data.draw(st.sampled_from(["single", "balanced", "dp", starts, len(starts)]))
    result = run(document, seed=seed, iterations=500, segments=choice)
    if result.schedule is None:
        return
    assert oracle.violations(document, plain(result.schedule)) == []
    assert result.objective_ps == oracle.objective_ps(document, plain(result.schedule))
    if choice == "single":
        assert firsts(result) == (0,)
    elif isinstance(choice, tuple):
        assert firsts(result) == choice
    elif isinstance(choice, int):
        assert len(firsts(result)) == choice
    elif choice == "balanced":
        assert firsts(result) in balanced_choices(build_tables(instance), len(firsts(result)))


def drawn(count: int) -> list[Json]:
    """The same varied small instances every time, with and without side constraints."""
    found: dict[str, Json] = {}

    @settings(max_examples=count, derandomize=True, database=None)
    @given(SMALL)
    def collect(document: Json) -> None:
        document = keep_constraints(document, AnnealSolver.constraints)
        found[json.dumps(document)] = document

    collect()
    return list(found.values())


def test_finds_the_optimum_of_small_instances() -> None:
    solvable = optimal = missed = 0
    for document in drawn(120):
        best = oracle.best(document)
        result = run(document, seed=1, iterations=20_000)
        if best is None:
            assert result.schedule is None
            continue
        solvable += 1
        optimal += result.objective_ps == best[1]
        missed += result.schedule is None
    assert solvable >= 60
    assert missed == 0
    assert optimal >= 0.95 * solvable


@pytest.mark.parametrize(
    ("network", "chiplets", "optimum", "gap"),
    [
        ("resnet18", 16, 10302355348, 0.01),
        ("vgg16", 64, 21847672750, 0.01),
        ("resnet50", 64, 6960647698, 0.06),
    ],
)
def test_comes_close_to_the_optimum_of_networks(
    network: str, chiplets: int, optimum: int, gap: float
) -> None:
    result = run(paper_instance(network, chiplets), iterations=1_000_000)
    assert result.objective_ps is not None
    assert optimum <= result.objective_ps <= (1 + gap) * optimum


def test_bound_and_trajectory_are_reported() -> None:
    result = run(paper_instance("resnet50", 64), iterations=100_000)
    objectives = [point.objective_ps for point in result.trajectory if point.objective_ps]
    assert result.status == Status.FEASIBLE
    assert result.stop_reason == StopReason.COMPLETED
    assert result.bound_ps is not None
    assert len(objectives) >= 3
    assert objectives == sorted(objectives, reverse=True)


def test_stops_at_a_schedule_that_meets_the_bound() -> None:
    times = {"ISP": [6, 3], "WSP": [6, 3]}
    layers = [{"name": "l0", "weight_bytes": 1, "compute_ps": times}]
    tables = {"chiplets": 2, "weight_buffer_bytes": 10, "layers": layers}
    document = {"format": "scope-instance/1", "name": "one", "samples": 4, "tables": tables}
    result = run(document, iterations=10**9)
    assert result.status == Status.OPTIMAL
    assert result.objective_ps == 12


def test_repairs_starts_that_do_not_fit() -> None:
    # One segment of ten layers on ten chiplets: only one chiplet per layer holds the weights.
    times = {"ISP": [9] * 10, "WSP": [9] * 10}
    layers = [
        {"name": f"l{i}", "weight_bytes": weight, "compute_ps": times}
        for i, weight in enumerate([10, 1, 19, 10, 5, 5, 10, 25, 5, 10])
    ]
    tables = {"chiplets": 10, "weight_buffer_bytes": 10, "layers": layers}
    document = {"format": "scope-instance/1", "name": "tight", "samples": 4, "tables": tables}
    constraints = {"min_clusters": 4, "max_region": 3}
    instance = read({**document, "constraints": constraints})
    result = run(instance, segments="single", iterations=50_000)
    assert result.schedule is not None
    assert oracle.violations(plain(instance), plain(result.schedule)) == []


# --- Repeatability -------------------------------------------------------------------------------


def objectives(result: Result) -> list[int | None]:
    return [point.objective_ps for point in result.trajectory]


@settings(max_examples=20)
@given(LARGE, st.integers(0, 2**31 - 1), st.integers(0, 3000))
def test_same_seed_same_run(document: Json, seed: int, iterations: int) -> None:
    np.random.seed(1)  # noqa: NPY002 (must not matter)
    one = run(document, seed=seed, iterations=iterations)
    np.random.seed(2)  # noqa: NPY002
    two = run(document, seed=seed, iterations=iterations)
    assert one.schedule == two.schedule
    assert objectives(one) == objectives(two)


def test_same_seed_same_run_of_a_network() -> None:
    instance = paper_instance("resnet50", 64)
    one, two, other = (run(instance, seed=s, iterations=60_000) for s in (3, 3, 4))
    assert one.schedule == two.schedule
    assert objectives(one) == objectives(two)
    assert objectives(one) != objectives(other)
    assert (
        run(instance, iterations=20_000).schedule
        == run(instance, seed=0, iterations=20_000).schedule
    )


def test_random_numbers() -> None:
    assert make_rng(1)[0] != make_rng(2)[0] != make_rng(1, 1)[0] != make_rng(1)[0]
    assert all(make_rng(seed)[0] != 0 for seed in (0, -1, 2**64, 10**30))


# --- Options -------------------------------------------------------------------------------------


def test_more_moves_do_not_hurt_much_and_usually_help() -> None:
    instance = paper_instance("resnet50", 64)
    few, many = (run(instance, iterations=n).objective_ps for n in (5_000, 500_000))
    assert few is not None
    assert many is not None
    assert many < few


def test_time_limit() -> None:
    instance = paper_instance("resnet50", 64)
    run(instance, iterations=1000)  # compiled
    began = time.perf_counter()
    result = run(instance, time_limit_s=1.0)
    assert time.perf_counter() - began < 4.0
    assert result.schedule is not None
    assert run(instance, time_limit_s=1.0, iterations=500).schedule is not None
    assert run(instance, time_limit_s=0.001).schedule is not None


def test_interrupt() -> None:
    instance = paper_instance("resnet50", 64)
    run(instance, iterations=1000)
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    began = time.perf_counter()
    result = run(instance, iterations=10**10)
    timer.join()
    assert result.stop_reason == StopReason.INTERRUPTED
    assert result.schedule is not None
    assert time.perf_counter() - began < 5.0


@settings(max_examples=40)
@given(SMALL, st.data())
def test_a_warm_start_is_kept_or_improved(document: Json, data: st.DataObject) -> None:
    document = keep_constraints(document, AnnealSolver.constraints)
    found = oracle.best(document)
    if found is None:
        return
    schedule, best = found
    given_schedule = data.draw(strategies.schedules(document) | st.just(schedule))
    instance = read(document)
    warm = read_schedule(instance, given_schedule)
    iterations = data.draw(st.sampled_from([0, 1, 300]))
    if oracle.violations(document, given_schedule):
        result = run(document, iterations=iterations, warm_start=warm)
        assert result.warm_start is not None
        assert result.warm_start.startswith("rejected: ")
        assert result.objective_ps == run(document, iterations=iterations).objective_ps
        return
    before = oracle.objective_ps(document, given_schedule)
    result = run(document, iterations=iterations, warm_start=warm)
    assert result.objective_ps is not None
    assert best <= result.objective_ps <= before
    count = len(warm.segments)
    assert len(firsts(run(document, iterations=50, warm_start=warm, segments=count))) == count


def test_a_warm_start_must_fit_the_segments() -> None:
    instance = paper_instance("alexnet", 64)
    warm = run(instance, iterations=2000).schedule
    assert warm is not None
    starts = tuple(segment.first_layer for segment in warm.segments)
    for choice in (len(starts) + 1, (0, 1, 2, 3, 4, 5, 6, 7), "balanced"):
        if choice != starts:
            result = run(instance, iterations=10, warm_start=warm, segments=choice)
            assert result.warm_start is not None
            assert result.warm_start.startswith("rejected: segments ")
            cold = run(instance, iterations=10, segments=choice)
            assert result.objective_ps == cold.objective_ps is not None


def test_fixed_segments() -> None:
    document = json.loads(paper_instance("alexnet", 64).to_json())
    document["constraints"] = {"fixed_segments": [0, 5, 6, 7]}
    for choice in (None, "dp", "balanced", 4, (0, 5, 6, 7)):
        assert firsts(run(document, iterations=500, segments=choice)) == (0, 5, 6, 7)
    with pytest.raises(InputError, match="fixed_segments"):
        run(document, iterations=500, segments="single")


# --- Parts ---------------------------------------------------------------------------------------


@settings(max_examples=40)
@example(json.loads(paper_instance("resnet18", 16).to_json()), 1)
@given(LARGE, st.integers(0, 3))
def test_what_is_known_of_the_parts_stays_right(document: Json, seed: int) -> None:
    check_parts(document, seed)


def check_parts(document: Json, seed: int) -> None:
    """Moves evaluate only what they changed: compare with an evaluation of everything."""
    instance = read(document)
    tables = build_tables(instance)
    annealing = Annealing(instance, tables, SolveOptions(seed=seed), Monitor(), ANY)
    cuts = balanced_choices(tables, 1 + seed % tables.layers)
    if not cuts or annealing.start(cuts[0]) is None:
        return
    walk = annealing.walk
    for _ in range(20):
        anneal(walk, 20, 1e6, 1.0)
        layer = walk.state.layer
        segments = to_segments(walk.state)
        heads = [segment.first_layer for segment in segments]
        assert heads == np.flatnonzero(layer[:-1, MARK] == SEGMENT).tolist()
        text = json.dumps(
            {"segments": [json.loads(segment.model_dump_json()) for segment in segments]}
        )
        schedule = json.loads(text)
        valid = not oracle.violations(document, schedule)
        assert valid == (layer[heads, EXCESS].sum() == 0)
        assert oracle.objective_ps(document, schedule) == layer[heads, LATENCY].sum()
        for head, segment in zip(heads, segments, strict=True):
            times = [layer[cluster.first_layer, TIME] for cluster in segment.clusters]
            assert layer[layer[head, SLOWEST], TIME] == max(times)
            assert layer[head, USED] == segment.chiplets
            if valid:
                assert walk.memory.latency[head, segment.last_layer] <= layer[head, LATENCY]


def test_shortest_cut() -> None:
    latency = np.full((3, 3), LIMIT)
    assert shortest_cut(latency, 0, LIMIT)[0] == LIMIT
    for (first, last), value in {(0, 0): 5, (1, 2): 6, (0, 1): 2, (2, 2): 3, (1, 1): 1}.items():
        latency[first, last] = value
    assert shortest_cut(latency, 0, LIMIT)[0] == 5
    assert shortest_cut(latency, 0, LIMIT)[1].tolist() == [0, 2]
    assert shortest_cut(latency, 3, LIMIT)[0] == 9
    assert shortest_cut(latency, 3, LIMIT)[1].tolist() == [0, 1, 2]
    assert shortest_cut(latency, 1, LIMIT)[0] == LIMIT


@pytest.mark.parametrize(("network", "chiplets"), [("resnet50", 16), ("resnet18", 32)])
def test_going_back_to_the_best_leaves_nothing_stale(network: str, chiplets: int) -> None:
    # Several falls of the temperature, each of which begins with the best segments found so far:
    # what is known of every segment must stay what the evaluator says of the whole.
    instance = paper_instance(network, chiplets)
    result = solve(instance, AnnealSolver(), SolveOptions(seed=0, iterations=1_000_000))
    assert result.schedule is not None  # `solve` has compared it with the evaluator
    tables = build_tables(instance)
    annealing = Annealing(
        instance, tables, SolveOptions(seed=1, iterations=200_000), Monitor(), ANY
    )
    assert annealing.start([0, tables.layers // 2]) is not None
    annealing.run(0)
    walk = annealing.walk
    annealing._recall_best(0)
    heads = np.flatnonzero(walk.state.layer[:-1, MARK] == SEGMENT)
    for low, high in zip(heads, [*heads[1:], tables.layers], strict=True):
        assert walk.state.layer[low, LATENCY] == walk.memory.latency[low, high - 1]


# --- Where regions lie ---------------------------------------------------------------------------

TINY_PLACED = [json.loads(path.read_text()) for path in sorted(INSTANCES.glob("tiny-placed/*"))]


@st.composite
def _limited(draw: st.DrawFn, instances: st.SearchStrategy[Json]) -> Json:
    """With a limit on activations, about what some schedule needs."""
    document = draw(instances)
    need = max(map(max, oracle.activation_bytes(document, draw(strategies.schedules(document)))))
    limit = max(1, need + draw(st.sampled_from([0, -1, need])))
    return {**document, "package": {**document["package"], "activation_buffer_bytes": limit}}


PLACED = placed_strategies.placed_instances() | _limited(strategies.physical_instances())
SMALL_PLACED = placed_strategies.placed_instances(3, 4, constraints=True) | _limited(
    strategies.physical_instances(3, 4, constraints=True)
)


@settings(max_examples=40)
@example(json.loads((INSTANCES / "placed" / "resnet18-16-placed.json").read_text()), 1)
@given(PLACED, st.integers(0, 3))
def test_what_is_known_of_placed_parts_stays_right(document: Json, seed: int) -> None:
    """Regions that move, links that carry more, activations that no longer fit."""
    check_parts(document, seed)


@settings(max_examples=40)
@given(SMALL_PLACED, st.integers(0, 3), st.sampled_from([0, 1, 50, 2000]))
def test_placed_schedules_are_valid_and_no_better_than_the_best(
    document: Json, seed: int, iterations: int
) -> None:
    check_answer(document, seed, iterations)


@pytest.mark.parametrize("document", TINY_PLACED, ids=lambda document: str(document["name"]))
@pytest.mark.parametrize("changes", [{}, {"shared_links": False}, {"gather": "unicast"}])
def test_tiny_placed_instances(document: Json, changes: Json) -> None:
    package = {**document["package"], "nop": {**document["package"]["nop"], **changes}}
    document = {**document, "package": package}
    results = [run(document, seed=seed, iterations=20_000) for seed in (0, 0, 1)]
    one, again, other = results
    assert one.schedule == again.schedule
    assert objectives(one) == objectives(again)
    for result in results:
        assert result.schedule is not None
        assert oracle.violations(document, plain(result.schedule)) == []
        assert oracle.objective_ps(document, plain(result.schedule)) == result.objective_ps
    quick = solve(read(document), "scope", SolveOptions(segments="dp"))
    if quick.objective_ps is not None:
        found = run(document, iterations=1000, warm_start=quick.schedule)
        assert found.objective_ps is not None
        assert found.objective_ps <= quick.objective_ps
    if not changes:
        best = oracle.best(document)
        assert best is not None
        assert best[1] in (one.objective_ps, other.objective_ps)


def test_improves_on_the_paper_s_search_in_place() -> None:
    instance = load("resnet50-64-placed")
    quick = solve(instance, "scope")
    assert quick.objective_ps is not None
    for options in ({}, {"warm_start": quick.schedule}):
        found = run(instance, iterations=100_000, **options)
        assert found.objective_ps is not None
        assert found.objective_ps < quick.objective_ps
