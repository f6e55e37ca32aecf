"""The exact solver: equal to exhaustive search, and honest about what it has proved so far."""

from __future__ import annotations

import functools
import itertools
import json
import os
import signal
import threading
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import oracle
import placed_strategies
import pytest
import strategies
from documents import TINY_FILES, Json, keep_constraints, shipped
from helpers import read, read_schedule, solve_with
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from scope_opt.cost.build import build_tables
from scope_opt.model.files import InputError
from scope_opt.model.generate import paper_instance
from scope_opt.model.instance import PLACES
from scope_opt.model.package import MAX_CHIPLETS
from scope_opt.model.tables import LIMIT
from scope_opt.schedule.bounds import latency_bound, segment_bounds
from scope_opt.schedule.preflight import reasons
from scope_opt.schedule.schedule import InstanceReference, Schedule
from scope_opt.search.allowed import (
    EITHER,
    ONLY_ISP,
    ONLY_WSP,
    WSP_IF_FITS,
    Allowed,
    make_allowed,
)
from scope_opt.search.exact import start
from scope_opt.search.exact.floors import Floors, relax
from scope_opt.search.exact.inner import (
    end_inner_times,
    fill_inner_times,
    least_times,
    make_inner_times,
)
from scope_opt.search.exact.prover import Prover
from scope_opt.search.exact.recursion import (
    TOO_MANY,
    Labels,
    Run,
    make_coupling,
    make_labels,
    make_segments,
    solve_rows,
)
from scope_opt.search.exact.solver import ExactSolver
from scope_opt.search.packed import NEVER, pack_tables
from scope_opt.search.paper.segmentation import balanced_choices
from scope_opt.search.times import opening_times
from scope_opt.solving.monitor import Monitor
from scope_opt.solving.result import Result, Status, StopReason
from scope_opt.solving.solver import SolveOptions, solve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.search.cuts import CostedSegment
    from scope_opt.solving.solver import SegmentChoice

Costs = dict[tuple[int, int], int]


SMALL = strategies.table_instances(max_layers=4, max_chiplets=5)
SMALL |= strategies.physical_instances(max_layers=4, max_chiplets=4)
SMALL |= placed_strategies.unlimited_instances()
SIDE = strategies.table_instances(max_layers=4, max_chiplets=5, constraints=True)
SIDE |= strategies.physical_instances(max_layers=4, max_chiplets=4, constraints=True)
MEDIUM = strategies.table_instances(max_layers=8, max_chiplets=10)
MEDIUM |= strategies.physical_instances(max_layers=8, max_chiplets=10)
CHOICES = ("single", "free", "number", "starts")


run = partial(solve_with, "exact")


# --- Exhaustive search ---------------------------------------------------------------------------


def segment_optima(document: Json) -> Costs:
    """Least latency of every segment that has a valid schedule."""
    judge = oracle.oracle(document)
    costs: Costs = {}
    for first, last in itertools.combinations_with_replacement(range(judge.n_layers), 2):
        valid = [
            judge.segment_ps(segment)
            for segment in oracle.enumerate_segments(first, last, judge.chiplets)
            if not judge.segment_codes(segment)
        ]
        if valid:
            costs[first, last] = min(valid)
    return costs


def all_starts(layers: int) -> Iterator[tuple[int, ...]]:
    """First layers of every segmentation."""
    for count in range(layers):
        for inner in itertools.combinations(range(1, layers), count):
            yield (0, *inner)


def least(
    document: Json, costs: Costs, admits: Callable[[tuple[int, ...]], bool] = lambda _: True
) -> int | None:
    """Least latency over the segmentations that are admitted; None if none has a schedule."""
    judge = oracle.oracle(document)
    best: int | None = None
    for starts in all_starts(judge.n_layers):
        if not (admits(starts) and judge.allows_starts(list(starts))):
            continue
        ends = [*(first - 1 for first in starts[1:]), judge.n_layers - 1]
        pairs = list(zip(starts, ends, strict=True))
        if all(pair in costs for pair in pairs):
            total = sum(costs[pair] for pair in pairs)
            best = total if best is None else min(best, total)
    return best


def chosen(kind: str, starts: tuple[int, ...]) -> SegmentChoice:
    """A segment choice that admits ``starts``."""
    choices: dict[str, SegmentChoice] = {
        "single": "single",
        "free": "dp",
        "number": len(starts),
        "starts": starts,
    }
    return choices[kind]


def admitted(choice: SegmentChoice) -> Callable[[tuple[int, ...]], bool]:
    """Which first layers a segment choice admits."""
    if choice == "single":
        return lambda starts: starts == (0,)
    if isinstance(choice, int):
        return lambda starts: len(starts) == choice
    if isinstance(choice, tuple):
        return lambda starts: starts == choice
    return lambda starts: True


def firsts(schedule: Schedule) -> tuple[int, ...]:
    return tuple(segment.first_layer for segment in schedule.segments)


def settled(result: Result, best: int | None) -> None:
    """A completed run says what exhaustive search says."""
    assert result.stop_reason is StopReason.COMPLETED
    if best is None:
        assert result.status is Status.INFEASIBLE
        assert result.schedule is None
        assert all(result.explanation)
        assert result.explanation
        assert result.bound_ps is None or result.bound_ps < LIMIT
        return
    assert result.objective_ps == best
    assert result.bound_ps == best
    assert result.gap == 0
    assert result.status is Status.OPTIMAL
    assert result.explanation == ()


# --- Equal to exhaustive search ------------------------------------------------------------------


@given(SMALL, st.data())
def test_equals_exhaustive_search(document: Json, data: st.DataObject) -> None:
    costs = segment_optima(document)
    layers = oracle.oracle(document).n_layers
    starts = data.draw(st.sampled_from(list(all_starts(layers))))
    for kind in CHOICES:
        choice = chosen(kind, starts)
        result = run(document, choice)
        settled(result, least(document, costs, admitted(choice)))
        if result.schedule is not None:
            assert admitted(choice)(firsts(result.schedule))


@given(SIDE)
def test_equals_exhaustive_search_under_side_constraints(document: Json) -> None:
    document = keep_constraints(document, ExactSolver.constraints)
    costs = segment_optima(document)
    settled(run(document), least(document, costs))
    if "fixed_segments" not in document["constraints"]:
        settled(run(document, "single"), least(document, costs, admitted("single")))
        if len(read(document).layer_names) > 1:
            settled(run(document, 2), least(document, costs, admitted(2)))


@settings(max_examples=strategies.share(8))
@given(
    strategies.table_instances(max_layers=6, max_chiplets=5, constraints=True)
    | strategies.physical_instances(max_layers=6, max_chiplets=5, constraints=True)
)
def test_equals_the_oracles_own_optimum(document: Json) -> None:
    document = keep_constraints(document, ExactSolver.constraints)
    best = oracle.best(document)
    settled(run(document), None if best is None else best[1])


@pytest.mark.parametrize("path", TINY_FILES, ids=lambda path: path.stem)
def test_shipped_tiny_instances(path: Path) -> None:
    document = keep_constraints(json.loads(path.read_text()), ExactSolver.constraints)
    best = oracle.best(document)
    assert best is not None
    settled(run(document), best[1])


def chain_optimum(document: Json) -> int | None:
    """Best single segment by a recursion that never asks for a time: least slowest cluster.

    Enumerates partitions inside a cluster only, and carries the number of chiplets left, so it
    reaches larger instances than exhaustive search.
    """
    judge = oracle.oracle(document)
    times, layers, chiplets = judge.times, judge.n_layers, judge.chiplets
    last = layers - 1
    ends: dict[tuple[int, int, int], list[tuple[int, int, tuple[int, int, int]]]] = {}
    for i, r in itertools.product(range(layers), range(1, chiplets + 1)):
        for j in range(i, layers):
            best: dict[tuple[int, int, int, int], int] = {}
            for names in itertools.product(oracle.PARTITIONS, repeat=j - i + 1):
                cluster = oracle.Cluster(i, j, r, names)
                if valid_cluster(judge, cluster, exempt=judge.exempt((cluster,)) and layers == 1):
                    time = judge.cluster_time(
                        0, last, cluster, (1, oracle.ISP) if j < last else None
                    )
                    _, compute, comm = time.layers[-1]
                    if j < last:
                        comm -= times.receive_ps(j, oracle.ISP, 1)
                    spent = time.time_ps - max(time.layers[-1][1:])
                    p, q = (oracle.PARTITIONS.index(names[k]) for k in (0, -1))
                    key = (p, q, compute, comm)
                    best[key] = min(best.get(key, spent), spent)
            for (p, q, compute, comm), spent in best.items():
                ends.setdefault((i, p, r), []).append((j, q, (spent, compute, comm)))

    @functools.cache
    def slowest(i: int, p: int, r: int, left: int, clusters: int) -> int:
        """Least slowest time of exactly so many clusters; the first is given, ``left`` follow."""
        found = NEVER
        for j, _, (spent, compute, comm) in ends.get((i, p, r), []):
            if j == last:
                if clusters == 1:
                    found = min(found, spent + max(compute, comm))
                continue
            if clusters == 1:
                continue
            for then, size in itertools.product(range(2), range(1, left + 1)):
                receive = times.receive_ps(j, oracle.PARTITIONS[then], size)
                time = spent + max(compute, comm + receive)
                if time < found:
                    rest = slowest(j + 1, then, size, left - size, clusters - 1)
                    found = min(found, max(time, rest))
        return found

    totals = []
    for clusters in range(1, min(layers, chiplets) + 1):
        beat = min(
            slowest(0, p, r, chiplets - r, clusters)
            for p in range(2)
            for r in range(1, chiplets + 1)
        )
        if beat < NEVER:
            beat = max(beat, times.segment_dram_ps(0, last))
            totals.append(times.load_ps(0, last) + (judge.samples + clusters - 1) * beat)
    return min(totals, default=None)


def valid_cluster(judge: oracle.Oracle, cluster: oracle.Cluster, exempt: bool = False) -> bool:
    """The capacity rules of docs/model.md, section 7."""
    weights = judge.times.weights[cluster.first : cluster.last + 1]
    room = judge.times.capacity * cluster.chiplets - sum(weights)
    tiled = exempt or judge.overflow == "stream"
    copies = [
        weight * (cluster.chiplets - 1)
        for weight, name in zip(weights, cluster.partitions, strict=True)
        if name == oracle.WSP
    ]
    return (tiled or room >= 0) and max(copies, default=0) <= max(room, 0)


@settings(max_examples=strategies.share(10))
@given(MEDIUM)
def test_larger_single_segments(document: Json) -> None:
    settled(run(document, "single"), chain_optimum(document))


# --- Side constraints, one by one ----------------------------------------------------------------


def against(name: str, schedule: Schedule, layers: int, chiplets: int) -> list[Any]:
    """Values of a side constraint that the schedule violates."""
    clusters = list(schedule.clusters)
    counts = [len(segment.clusters) for segment in schedule.segments]
    sizes = {cluster.chiplets for cluster in clusters}
    starts = firsts(schedule)
    if name == "min_clusters":
        return [min(counts) + 1]
    if name == "max_clusters":
        return [max(counts) - 1] if max(counts) > 1 else []
    if name == "forbidden_merges":
        inner = [layer for c in clusters for layer in range(c.first_layer, c.last_layer)]
        return [[layer] for layer in inner]
    if name == "required_merges":
        return [[cluster.last_layer] for cluster in clusters[:-1]]
    if name == "fixed_partitions":
        names = [partition for cluster in clusters for partition in cluster.partitions]
        other = {"ISP": "WSP", "WSP": "ISP"}
        return [[{"layer": layer, "partition": other[p]}] for layer, p in enumerate(names)]
    if name == "region_multiple":
        return [k for k in range(2, chiplets + 1) if any(size % k for size in sizes)]
    if name == "max_region":
        return [max(sizes) - 1] if max(sizes) > 1 else []
    assert name == "fixed_segments"
    return [list(other) for other in all_starts(layers) if other != starts]


CONSTRAINTS = sorted(ExactSolver.constraints - PLACES)


@pytest.mark.parametrize("name", CONSTRAINTS)
@settings(
    max_examples=strategies.share(5), suppress_health_check=[HealthCheck.filter_too_much]
)  # of equal schedules, the one with fewest clusters is found, which few limits exclude
@given(
    document=strategies.table_instances(max_layers=4, max_chiplets=4)
    | strategies.physical_instances(max_layers=4, max_chiplets=4),
    data=st.data(),
)
def test_each_side_constraint_binds(name: str, document: Json, data: st.DataObject) -> None:
    unbound = run(document)
    assume(unbound.schedule is not None)
    assert unbound.schedule is not None
    assert unbound.objective_ps is not None
    judge = oracle.oracle(document)
    values = against(name, unbound.schedule, judge.n_layers, judge.chiplets)
    assume(values)
    value = data.draw(st.sampled_from(values))
    bound = {**document, "constraints": {name: value}}
    assert oracle.violations(bound, json.loads(unbound.schedule.to_json()))
    result = run(bound)
    settled(result, least(bound, segment_optima(bound)))
    assert result.objective_ps is None or result.objective_ps >= unbound.objective_ps


BINDING: dict[str, Any] = {
    "min_clusters": 3,
    "max_clusters": 1,
    "forbidden_merges": [1],
    "required_merges": [0],
    "fixed_partitions": [{"layer": 1, "partition": "ISP"}],
    "region_multiple": 2,
    "max_region": 2,
    "fixed_segments": [0, 2],
}


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_each_side_constraint_costs_something(name: str) -> None:
    document = shipped("tiny-tables")
    free = run(document).objective_ps
    bound = {**document, "constraints": {name: BINDING[name]}}
    result = run(bound)
    settled(result, least(bound, segment_optima(bound)))
    assert free is not None
    assert result.objective_ps is not None
    assert result.objective_ps > free


def test_energy_budgets_are_refused() -> None:
    document = shipped("tiny-constraints")
    assert document["constraints"]["energy_budget_j"] is not None
    with pytest.raises(InputError, match="does not honour energy_budget_j"):
        run(document)


def test_segments_that_contradict_fixed_segments_are_refused() -> None:
    document = shipped("tiny-tables")
    document["constraints"] = {"fixed_segments": [0, 2]}
    for choice in ("single", 3, (0, 1)):
        with pytest.raises(InputError, match="contradicts fixed_segments"):
            run(document, choice)
    assert run(document).objective_ps == run(document, (0, 2)).objective_ps


# --- Against the heuristics ----------------------------------------------------------------------

HEURISTICS = ("scope", "sequential", "pipeline", "segmented")


@settings(max_examples=strategies.share(8))
@given(MEDIUM)
def test_never_above_a_heuristic(document: Json) -> None:
    choices: list[tuple[SegmentChoice, tuple[SegmentChoice, ...]]] = [
        ("dp", ("dp", "balanced", "single")),
        ("single", ("single",)),
    ]
    for own, theirs in choices:
        best = run(document, own)
        for solver, segments in itertools.product(HEURISTICS, theirs):
            other = solve_with(solver, document, segments)
            if other.objective_ps is not None:
                assert best.objective_ps is not None
                assert best.objective_ps <= other.objective_ps


@pytest.mark.parametrize(
    ("network", "chiplets"), [("alexnet", 16), ("vgg16", 64), ("resnet18", 16), ("resnet50", 64)]
)
def test_paper_instances(network: str, chiplets: int) -> None:
    instance = paper_instance(network, chiplets)
    result = solve(instance, "exact")
    assert result.status is Status.OPTIMAL
    assert result.objective_ps is not None
    assert result.objective_ps >= latency_bound(build_tables(instance))
    assert result.objective_ps <= (solve(instance, "scope").objective_ps or 0)
    single = solve(instance, "exact", SolveOptions(segments="single"))
    if single.objective_ps is None:
        assert single.status is Status.INFEASIBLE
    else:
        assert single.objective_ps >= result.objective_ps


# --- Segments ------------------------------------------------------------------------------------


@settings(max_examples=strategies.share(5))
@given(MEDIUM)
def test_balanced_is_the_best_of_the_balanced_cuts(document: Json) -> None:
    tables = build_tables(read(document))
    counts = range(1, tables.layers + 1)
    cuts = [cut for count in counts for cut in balanced_choices(tables, count)]
    values = [run(document, cut).objective_ps for cut in cuts]
    best = min((value for value in values if value is not None), default=None)
    result = run(document, "balanced")
    assert result.objective_ps == best
    if best is not None:
        assert result.schedule is not None
        assert firsts(result.schedule) in cuts
        assert result.bound_ps is not None
        assert result.bound_ps <= (run(document).objective_ps or 0)


@settings(max_examples=strategies.share(5))
@given(MEDIUM)
def test_segment_choices_agree(document: Json) -> None:
    free = run(document)
    counts = range(1, len(read(document).layer_names) + 1)
    values = [run(document, count).objective_ps for count in counts]
    assert free.objective_ps == min((v for v in values if v is not None), default=None)
    assert values[0] == run(document, "single").objective_ps
    if free.schedule is not None:
        assert run(document, firsts(free.schedule)).objective_ps == free.objective_ps


# --- Repeatable ----------------------------------------------------------------------------------


@settings(max_examples=strategies.share(4))
@given(MEDIUM, st.sampled_from(["dp", "single", "balanced"]))
def test_two_runs_are_equal(document: Json, choice: SegmentChoice) -> None:
    one, two = run(document, choice), run(document, choice)
    assert one.schedule == two.schedule
    assert one.explanation == two.explanation
    steps = [[(p.objective_ps, p.bound_ps) for p in r.trajectory] for r in (one, two)]
    assert steps[0] == steps[1]


def same_with_threads(instance: Instance, choice: SegmentChoice) -> None:
    """Schedules, bounds, their order, and the bounds on segments."""
    tables = build_tables(instance)
    found = []
    for threads in (1, 3):
        monitor = Monitor()
        options = SolveOptions(segments=choice, threads=threads)
        ExactSolver().run(instance, tables, options, monitor)
        steps = [(point.objective_ps, point.bound_ps) for point in monitor.trajectory]
        floors = monitor.segment_floors_ps
        found.append((monitor.segments, steps, None if floors is None else floors.tolist()))
    assert found[0] == found[1]


@settings(max_examples=strategies.share(4))
@given(MEDIUM | SIDE, st.sampled_from(["dp", "single", "balanced", 2]))
def test_threads_change_nothing(document: Json, choice: SegmentChoice) -> None:
    document = keep_constraints(document, ExactSolver.constraints)
    if "fixed_segments" in document["constraints"]:
        choice = "dp"
    same_with_threads(read(document), choice)


@pytest.mark.parametrize(
    ("name", "chiplets"),
    [("vgg16", 32), ("encoder-3blocks-64wide-4heads-64hidden-16tokens", 8)],
)
def test_threads_change_nothing_where_each_has_much_to_do(name: str, chiplets: int) -> None:
    same_with_threads(paper_instance(name, chiplets), "dp")


def test_latency_zero() -> None:
    zeros = {"ISP": [0, 0], "WSP": [0, 0]}
    layers = [{"name": f"l{k}", "weight_bytes": 1, "compute_ps": zeros} for k in range(3)]
    tables = {"chiplets": 2, "weight_buffer_bytes": 9, "layers": layers}
    document = {"format": "scope-instance/1", "name": "zero", "tables": tables}
    settled(run(document), 0)
    assert {point.objective_ps for point in run(document).trajectory} <= {None, 0}


# --- Warm starts ---------------------------------------------------------------------------------


@given(SIDE, st.data())
def test_warm_starts(document: Json, data: st.DataObject) -> None:
    document = keep_constraints(document, ExactSolver.constraints)
    begin = data.draw(strategies.schedules(document))
    schedule = read_schedule(read(document), begin)
    options = SolveOptions(warm_start=schedule)
    if oracle.violations(document, begin):
        if reasons(read(document), build_tables(read(document))):
            return  # there is no schedule at all, so the start is not looked at
        result = solve(read(document), "exact", options)
        assert result.warm_start is not None
        assert result.warm_start.startswith("rejected: ")
        assert any(code in result.warm_start for code in oracle.violations(document, begin))
        assert result.objective_ps == run(document).objective_ps
        assert result.status in (Status.OPTIMAL, Status.INFEASIBLE)
        return
    value = oracle.objective_ps(document, begin)
    result = solve(read(document), "exact", options)
    assert result.trajectory[0].objective_ps == value
    assert result.warm_start == "accepted"
    assert result.objective_ps is not None
    assert result.objective_ps <= value
    assert result.objective_ps == run(document).objective_ps
    assert result.status is Status.OPTIMAL

    impatient = Impatient(0)
    ExactSolver().run(read(document), build_tables(read(document)), options, impatient)
    assert impatient.objective is not None
    assert impatient.objective <= value


@settings(max_examples=strategies.share(2))
@given(SMALL, st.data())
def test_warm_starts_of_other_segments(document: Json, data: st.DataObject) -> None:
    begin = data.draw(strategies.schedules(document))
    assume(not oracle.violations(document, begin))
    schedule = read_schedule(read(document), begin)
    layers = oracle.oracle(document).n_layers
    starts = data.draw(st.sampled_from(list(all_starts(layers))))
    choice = chosen(data.draw(st.sampled_from(CHOICES)), starts)
    options = SolveOptions(segments=choice, warm_start=schedule)
    if admitted(choice)(firsts(schedule)):
        result = solve(read(document), "exact", options)
        assert result.trajectory[0].objective_ps == oracle.objective_ps(document, begin)
        assert result.objective_ps == run(document, choice).objective_ps
    else:
        result = solve(read(document), "exact", options)
        assert result.warm_start is not None
        assert result.warm_start.startswith("rejected: segments start at layers")
        assert result.objective_ps == run(document, choice).objective_ps


# --- Annealings beside a proof -------------------------------------------------------------------


class Clock(Monitor):
    """Time passes when a test says so, of the limit and of the processor or of one of them."""

    def __init__(self, *limits: str) -> None:
        super().__init__()
        self.limits = limits

    now = 0.0

    @property
    def elapsed_s(self) -> float:
        return self.now

    @property
    def left_s(self) -> float | None:
        return 100 - self.now if "time" in self.limits else None

    @property
    def cpu_left_s(self) -> float | None:
        return 100 - self.now if "processor" in self.limits else None


@pytest.mark.parametrize("limits", [("time",), ("processor",), ("time", "processor")])
def test_annealings_take_turns_with_a_proof_that_is_far_from_its_end(
    limits: tuple[str, ...],
) -> None:
    instance = paper_instance("alexnet", 16)
    tables = build_tables(instance)
    monitor = Clock(*limits)
    monitor.raise_bound(1, "simple bound")
    starts = start.Starts(instance, tables, "dp", np.triu(np.ones((8, 8), dtype=np.int64)), monitor)
    lengths: list[int] = []
    gains: list[int] = []

    def anneal(times: int, _: SegmentChoice, *, anew: bool = True) -> list[CostedSegment]:
        lengths.append(times)
        monitor.now += times
        monitor.improve((monitor.objective or 10**6) - gains.pop(0), [])
        return []

    with mock.patch.object(starts, "_anneal", anneal):
        gains[:] = [1, 1, 1, 0]
        for now in (0, 9, 10, 39, 40, 69):
            monitor.now = max(monitor.now, now)
            starts.learn()
        # The first at once, one when a tenth is over, one when the proof had as long.
        assert lengths == [1, start.LONGER, start.LONGER]
        monitor.now = 70
        starts.learn()
        assert len(lengths) == 4
        monitor.now = 99
        starts.learn()
        assert len(lengths) == 4  # the last one found nothing


def test_no_longer_annealings_without_a_limit() -> None:
    instance = paper_instance("alexnet", 16)
    tables = build_tables(instance)
    monitor = Clock()
    starts = start.Starts(instance, tables, "dp", np.triu(np.ones((8, 8), dtype=np.int64)), monitor)
    with mock.patch.multiple(start, MOVES_PER_LAYER=20):
        assert starts.learn()
        monitor.now = 99
        assert not starts.learn()


def test_annealings_take_shares_of_the_nearer_limit() -> None:
    instance = paper_instance("alexnet", 16)
    tables = build_tables(instance)
    monitor = Monitor(time_limit_s=1000, cpu_limit_s=100)
    starts = start.Starts(instance, tables, "dp", np.triu(np.ones((8, 8), dtype=np.int64)), monitor)
    with (
        mock.patch.multiple(start, MOVES_PER_LAYER=20),
        mock.patch("scope_opt.search.exact.start.SolveOptions", wraps=SolveOptions) as options,
    ):
        assert starts.learn()
    limit_s = options.call_args.kwargs["time_limit_s"]
    assert 0 < limit_s <= start.SHORT_SHARE * 100


def test_no_more_annealing_when_a_proof_is_near_its_end() -> None:
    instance = paper_instance("alexnet", 16)
    tables = build_tables(instance)
    monitor = Clock("time")
    starts = start.Starts(instance, tables, "dp", np.triu(np.ones((8, 8), dtype=np.int64)), monitor)
    with mock.patch.multiple(start, MOVES_PER_LAYER=20):
        assert starts.learn()
        best = monitor.objective
        assert best is not None
        monitor.raise_bound(best - best // 50, "simple bound")
        monitor.now = 10
        assert starts.learn()
        monitor.now = 99
        assert not starts.learn()


# --- Stopped at any time -------------------------------------------------------------------------


class Impatient(Monitor):
    """Stops when asked for the ``patience``-th time."""

    def __init__(self, patience: int) -> None:
        super().__init__()
        self.patience = patience

    @property
    def stopping(self) -> bool:
        self.patience -= 1
        self.stopped_early |= self.patience < 0
        return self.stopped_early


def check_anytime(document: Json, choice: SegmentChoice, best: int | None, threads: int = 1) -> int:
    """Stop after every number of questions; return how many a complete run asks."""
    instance = read(document)
    tables = build_tables(instance)
    for patience in itertools.count():
        monitor = Impatient(patience)
        # The annealing that it begins with asks as well, once in every few moves.
        with mock.patch.multiple(start, MOVES_PER_LAYER=1, PLACED_MOVES_PER_LAYER=1):
            options = SolveOptions(segments=choice, threads=threads)
            ExactSolver().run(instance, tables, options, monitor)
        bounds = [point.bound_ps for point in monitor.trajectory if point.bound_ps is not None]
        assert bounds == sorted(bounds)
        if best is None:
            assert monitor.objective is None
            assert monitor.stopped_early or monitor.infeasible
        else:
            assert not monitor.infeasible
            assert (monitor.bound or 0) <= best
            assert monitor.objective is None or monitor.objective >= best
            if monitor.segments is not None:
                schedule = Schedule(
                    instance=InstanceReference.to(instance), segments=monitor.segments
                )
                found = json.loads(schedule.to_json())
                assert not oracle.violations(document, found)
                assert oracle.objective_ps(document, found) == monitor.objective
        if not monitor.stopped_early:
            assert monitor.objective == best
            assert best is None or monitor.bound == best
            return patience
    raise AssertionError


@settings(max_examples=strategies.share(4))
@given(SIDE, st.data())
def test_bounds_hold_at_any_time(document: Json, data: st.DataObject) -> None:
    document = keep_constraints(document, ExactSolver.constraints)
    costs = segment_optima(document)
    choices: list[SegmentChoice] = ["dp"]
    if "fixed_segments" not in document["constraints"]:
        layers = oracle.oracle(document).n_layers
        starts = data.draw(st.sampled_from(list(all_starts(layers))))
        choices = [chosen(kind, starts) for kind in CHOICES]
    for choice in choices:
        best, threads = least(document, costs, admitted(choice)), data.draw(st.sampled_from([1, 3]))
        check_anytime(document, choice, best, threads)


@pytest.mark.parametrize("threads", [1, 3])
def test_bounds_hold_at_any_time_on_a_larger_instance(threads: int) -> None:
    """Many runs of the recursion between the first bound and the proof."""
    document = json.loads(paper_instance("alexnet", 16).to_json())
    best = run(document).objective_ps
    instance = read(document)
    tables = build_tables(instance)
    last = 0
    for patience in range(0, 4000, 37):
        monitor = Impatient(patience)
        ExactSolver().run(instance, tables, SolveOptions(threads=threads), monitor)
        assert best is not None
        assert (monitor.bound or 0) <= best
        assert monitor.objective is None or monitor.objective >= best
        last = patience
        if not monitor.stopped_early:
            break
    assert last > 37


def ctrl_c(times: int) -> Callable[[Monitor], None]:
    """Press it when last layers are being settled."""

    def follow(monitor: Monitor) -> None:
        if monitor.stage == "segments to layer 20" and not monitor.interrupted:
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGINT)

    return follow


def test_ctrl_c_ends_threads() -> None:
    before, instance = threading.active_count(), paper_instance("resnet50", 64)
    options = SolveOptions(threads=3)
    result = solve(instance, "exact", options, ctrl_c(1))
    assert result.stop_reason is StopReason.INTERRUPTED
    assert result.status is Status.FEASIBLE
    assert 0 < (result.bound_ps or 0) < (result.objective_ps or 0)
    assert threading.active_count() == before
    with pytest.raises(KeyboardInterrupt):
        solve(instance, "exact", options, ctrl_c(2))
    assert threading.active_count() == before


def test_limits_count_all_threads() -> None:
    options = SolveOptions(threads=3, cpu_limit_s=0.3)
    result = solve(paper_instance("resnet152", 64), "exact", options)
    assert result.stop_reason is StopReason.CPU_LIMIT
    assert 0 < (result.bound_ps or 0) < (result.objective_ps or 0)


def test_a_failure_in_a_thread_ends_the_others() -> None:
    before, instance = threading.active_count(), paper_instance("resnet50", 64)
    tables = build_tables(instance)
    settle, left = Prover.settle, itertools.count(30, -1)

    def fail(*arguments: Any) -> Any:
        if next(left) < 0:
            raise MemoryError
        return settle(*arguments)

    with mock.patch.object(Prover, "settle", fail), pytest.raises(MemoryError):
        ExactSolver().run(instance, tables, SolveOptions(threads=3), Monitor())
    assert threading.active_count() == before


def true_beats(document: Json, last: int) -> dict[tuple[int, int], int]:
    """Least beat of each segment that ends at ``last``, by first layer and number of clusters."""
    judge = oracle.oracle(document)
    beats: dict[tuple[int, int], int] = {}
    for first in range(last + 1):
        for segment in oracle.enumerate_segments(first, last, judge.chiplets):
            if judge.segment_codes(segment):
                continue
            load = judge.times.load_ps(first, last)
            beat, rest = divmod(judge.segment_ps(segment) - load, judge.samples + len(segment) - 1)
            assert rest == 0
            key = (first, len(segment))
            beats[key] = min(beats.get(key, beat), beat)
    return beats


@settings(max_examples=strategies.share(2))
@given(SMALL, st.data())
def test_refuted_beats_are_impossible(document: Json, data: st.DataObject) -> None:
    """After every run, what the prover calls refuted is, and what it finds is real."""
    instance = read(document)
    tables = build_tables(instance)
    last = data.draw(st.integers(0, tables.layers - 1))
    beats = true_beats(document, last)
    high = 2 * max(beats.values(), default=50)
    budgets = np.array(
        [data.draw(st.integers(0, (tables.samples + 2) * high)) for _ in range(last + 1)]
    )
    given_budgets = budgets.copy()
    found: dict[int, int] = {}
    allowed = make_allowed(instance.constraints, tables.layers, tables.chiplets)
    limit = max(1, int(budgets.max()) // tables.samples)
    prover = Prover(tables, pack_tables(tables), allowed, (1, tables.layers), limit)
    exempt = prover.whole_package(last)
    if exempt is not None and exempt.cost < budgets[last]:
        budgets[last] = found[last] = exempt.cost

    def improve(first: int, better: Any) -> None:
        assert better.cost < budgets[first]
        budgets[first] = found[first] = better.cost

    def progress(refuted: np.ndarray) -> None:
        for (first, clusters), beat in beats.items():
            alone = first == last and clusters == 1 and exempt is not None
            if clusters < refuted.shape[1] and not alone:
                assert refuted[first, clusters] < beat

    segments = prover.segments_ending_at(last)
    none = np.zeros(last + 1, np.int64)
    prover.settle(segments, none, none, lambda: budgets, improve, progress)
    costs = segment_optima(document)
    for first in range(last + 1):
        best = costs.get((first, last))
        if best is not None and best < given_budgets[first]:
            assert found[first] == best
        else:
            assert first not in found


REGRESSED = strategies.table_instances(max_layers=4, max_chiplets=5, constraints=True)
REGRESSED |= strategies.physical_instances(max_layers=4, max_chiplets=4, constraints=True)


@settings(max_examples=strategies.share(2))
@given(REGRESSED, st.data())
def test_floors_of_segments_hold(document: Json, data: st.DataObject) -> None:
    """Lower bounds from regions that are not coupled, for random budgets and ratios of times."""
    instance = read(keep_constraints(document, ExactSolver.constraints))
    tables, limits = build_tables(instance), instance.constraints
    allowed = make_allowed(limits, tables.layers, tables.chiplets)
    clusters = limits.min_clusters or 1, limits.max_clusters or tables.layers
    limit = tables.worst_latency_ps // tables.samples
    prover = Prover(tables, pack_tables(tables), allowed, clusters, limit)
    relaxed = relax(prover.packed, allowed, prover.shared)
    exempt = [prover.whole_package(layer) for layer in range(tables.layers)]
    alone = np.array([LIMIT if found is None else found.cost for found in exempt])
    lower = segment_bounds(tables)
    beats = (lower - tables.load_ps) // tables.samples
    floors = Floors(relaxed, tables.samples, clusters, tables.load_ps, beats, alone)
    together = limits.required_merges or ()
    costs = {
        (first, last): cost
        for (first, last), cost in segment_optima(document).items()
        if first - 1 not in together and last not in together
    }
    for _ in range(2):
        budgets = lower.copy()
        for ends, cost in costs.items():
            budgets[ends] = data.draw(st.integers(1, 2 * cost + 1))
        floors.sharpen(
            lower,
            budgets,
            tables.worst_latency_ps // tables.samples,
            data.draw(st.floats(0.001, 1.0)),
        )
        for ends, cost in costs.items():
            assert lower[ends] <= cost


# --- Monotone ------------------------------------------------------------------------------------


def fewer_chiplets(document: Json) -> Json:
    """The tables without the largest region."""

    def shorten(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shorten(entry) for key, entry in value.items()}
        return value[:-1]

    tables = document["tables"]
    by_size = ("compute_ps", "gather_ps", "within_ps", "send_ps", "receive_ps")
    layers = [
        {key: shorten(value) if key in by_size else value for key, value in layer.items()}
        for layer in tables["layers"]
    ]
    along = ("send_ps", "receive_ps")
    edges = [
        {key: shorten(value) if key in along else value for key, value in edge.items()}
        for edge in tables["edges"]
    ]
    changed = {
        "chiplets": tables["chiplets"] - 1,
        "layers": layers,
        "edges": edges,
        "stream_fs_per_byte": tables["stream_fs_per_byte"][:-1],
    }
    return {**document, "tables": {**tables, **changed}}


def faster_nop(document: Json) -> Json:
    """All transfers between chiplets in half the time."""

    def halve(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: halve(entry) for key, entry in value.items()}
        return [entry // 2 for entry in value]

    tables = document["tables"]
    nop = ("gather_ps", "within_ps", "send_ps", "receive_ps")
    layers = [
        {key: halve(value) if key in nop else value for key, value in layer.items()}
        for layer in tables["layers"]
    ]
    edges = [
        {key: halve(value) if key in nop else value for key, value in edge.items()}
        for edge in tables["edges"]
    ]
    return {**document, "tables": {**tables, "layers": layers, "edges": edges}}


def never_worse(worse: Json, better: Json) -> None:
    for choice in ("dp", "single"):
        before, after = run(worse, choice).objective_ps, run(better, choice).objective_ps
        if before is not None:
            assert after is not None
            assert after <= before


MONOTONE = strategies.table_instances(max_layers=8, max_chiplets=10, monotone=True)


@settings(max_examples=strategies.share(4))
@given(MONOTONE)
def test_more_chiplets_are_never_worse(document: Json) -> None:
    assume(document["tables"]["chiplets"] > 1)
    never_worse(fewer_chiplets(document), document)


@settings(max_examples=strategies.share(4))
@given(MEDIUM, st.integers(1, 30))
def test_more_buffer_is_never_worse(document: Json, more: int) -> None:
    larger = json.loads(json.dumps(document))
    if "tables" in larger:
        larger["tables"]["weight_buffer_bytes"] += more
    else:
        larger["package"]["chiplet"]["weight_buffer_bytes"] += more
    never_worse(document, larger)


@settings(max_examples=strategies.share(4))
@given(strategies.table_instances(max_layers=8, max_chiplets=10))
def test_more_bandwidth_is_never_worse(document: Json) -> None:
    never_worse(document, faster_nop(document))


# --- The recursion -------------------------------------------------------------------------------


@st.composite
def masks(draw: st.DrawFn, tables: LatencyTables) -> Allowed:
    """Mostly everything allowed, sometimes any restriction at all."""
    layers, chiplets = tables.layers, tables.chiplets

    def flags(count: int) -> list[bool]:
        some = st.lists(st.sampled_from([True] * 4 + [False]), min_size=count, max_size=count)
        return draw(some | st.just([True] * count))

    kinds = st.sampled_from([EITHER, EITHER, EITHER, ONLY_ISP, ONLY_WSP, WSP_IF_FITS])
    regions = np.array(flags(layers * (chiplets + 1))).reshape(layers, chiplets + 1)
    regions[:, 0] = False
    return Allowed(
        np.triu(np.array(flags(layers * layers)).reshape(layers, layers)),
        regions,
        np.array([draw(kinds) for _ in range(layers)], dtype=np.int8),
    )


def members(document: Json, allowed: Allowed, i: int, j: int, r: int) -> Iterator[oracle.Cluster]:
    """All clusters ``i..j`` on ``r`` chiplets that the masks and the capacity rules admit."""
    judge = oracle.oracle(document)
    if not (allowed.clusters[i, j] and allowed.regions[i, r]):
        return
    for names in itertools.product(oracle.PARTITIONS, repeat=j - i + 1):
        cluster = oracle.Cluster(i, j, r, names)
        if not valid_cluster(judge, cluster):
            continue
        for layer, name in zip(range(i, j + 1), names, strict=True):
            choice = int(allowed.choice[layer])
            if choice == WSP_IF_FITS:
                weights = judge.times.weights
                room = judge.times.capacity * r - sum(weights[i : j + 1])
                fits = weights[layer] * (r - 1) <= max(room, 0)
                choice = ONLY_WSP if fits else ONLY_ISP
            if choice not in (EITHER, ONLY_WSP if name == oracle.WSP else ONLY_ISP):
                break
        else:
            yield cluster


BEFORE = -1
"""A first layer of the segment that no cluster sees."""


@settings(max_examples=strategies.share(2))
@given(SMALL, st.data())
def test_inner_times_of_clusters(document: Json, data: st.DataObject) -> None:
    tables = build_tables(read(document))
    judge = oracle.oracle(document)
    allowed = data.draw(masks(tables))
    seg_last = data.draw(st.integers(0, tables.layers - 1))
    from_layer = data.draw(st.integers(0, seg_last))
    limit = data.draw(st.just(LIMIT) | st.integers(0, 200))
    packed = pack_tables(tables)
    least = least_times(packed, allowed)
    costs = make_inner_times(packed, least, allowed, limit)
    if data.draw(st.booleans()):
        limit = data.draw(st.integers(0, limit))
        costs = end_inner_times(packed, least, allowed, costs, from_layer, seg_last, limit)
    else:
        from_layer, seg_last = 0, tables.layers - 1
    longer: dict[tuple[int, int], int] = {}
    for i, r in itertools.product(range(seg_last + 1), range(1, tables.chiplets + 1)):
        for j in reversed(range(max(i, from_layer), seg_last + 1)):
            best = [NEVER] * 4
            times = []
            for cluster in members(document, allowed, i, j, r):
                following = (1, oracle.ISP) if j < seg_last else None
                time = judge.cluster_time(BEFORE, seg_last, cluster, following)
                # What the last layer always reads is part of its computation.
                own = judge.times.own_read_ps(j)
                inner = time.time_ps - max(time.layers[-1][1:]) - own
                pq = 2 * (cluster.partitions[0] == oracle.WSP)
                pq += cluster.partitions[-1] == oracle.WSP
                best[pq] = min(best[pq], inner)
                times.append(inner + own + time.layers[-1][1])
            index = j - max(i, from_layer)
            if index < costs.length[i, r]:
                row = costs.start[i, r] + index
                assert costs.inner[row].tolist() == best
                longer[i, r] = min(longer.get((i, r), NEVER), *times, NEVER)
                # Rows that are part of another one's know of its longer clusters, too.
                assert costs.least[row] <= longer[i, r]
                assert costs.alike[i] != i or costs.least[row] == longer[i, r]
            else:
                assert min(times, default=NEVER) > limit


def test_equal_blocks_store_their_inner_times_once() -> None:
    instance = paper_instance("encoder-4blocks-64wide-4heads-64hidden-16tokens", 8)
    tables = build_tables(instance)
    packed = pack_tables(tables)
    allowed = make_allowed(instance.constraints, tables.layers, tables.chiplets)
    limit = int(tables.compute_ps[:, :, -1].sum())
    costs = make_inner_times(packed, least_times(packed, allowed), allowed, limit)
    layers = np.arange(tables.layers)
    assert np.count_nonzero(costs.alike == layers) < tables.layers / 2
    start = np.concatenate([[0], costs.length.ravel().cumsum()[:-1]]).reshape(costs.length.shape)
    alone = costs._replace(alike=layers, start=start)
    every = fill_inner_times(packed, allowed, alone)
    for begin, own, length in zip(
        costs.start.ravel(), start.ravel(), costs.length.ravel(), strict=True
    ):
        assert np.array_equal(costs.inner[begin : begin + length], every[own : own + length])


@settings(deadline=None, max_examples=strategies.share(6))
@given(st.integers(2, 8), st.integers(1, 40), st.floats(0.01, 0.5), st.integers(0, 2**32 - 1))
def test_equal_blocks_are_bounded_once(chiplets: int, wide: int, step: float, seed: int) -> None:
    """Floors with what equal blocks have in common are those that every block has by itself."""
    name = f"encoder-3blocks-{8 * wide}wide-4heads-64hidden-16tokens"
    instance = paper_instance(name, chiplets)
    tables = build_tables(instance)
    allowed = make_allowed(instance.constraints, tables.layers, tables.chiplets)
    clusters, rng = (1, tables.layers), np.random.default_rng(seed)
    limit = tables.worst_latency_ps // tables.samples
    prover = Prover(tables, pack_tables(tables), allowed, clusters, limit)
    relaxed = relax(prover.packed, allowed, prover.shared)
    assert (relaxed.twin < tables.layers).any()
    apart = relaxed._replace(
        twin=np.full_like(relaxed.twin, tables.layers),
        **{name: getattr(relaxed, name).copy() for name in ("need", "least", "reach")},
    )
    simple = segment_bounds(tables)
    beats, alone = (simple - tables.load_ps) // tables.samples, np.full(tables.layers, LIMIT)
    budgets = (simple * rng.uniform(0.5, 4, simple.shape)).astype(np.int64)
    found = []
    for each in (relaxed, apart):
        lower = simple.copy()
        floors = Floors(each, tables.samples, clusters, tables.load_ps, beats, alone)
        floors.sharpen(lower, budgets, limit, step)
        found.append((lower, floors.beat_ps, each.need, each.least, each.reach))
    for one, other in zip(*found, strict=True):
        assert np.array_equal(one, other)


def least_label(labels: Labels, row: int, p: int, k: int, sizes: list[int]) -> int:
    """Least label of ``k`` clusters over the first sizes by receive time, as the steps say."""
    first, stop = labels.steps[row, p : p + 2]
    times = labels.received[first:stop]
    assert (np.diff(times) >= 0).all()
    steps = [step for step in range(first, stop) if labels.size[step] in sizes]
    if not steps:
        return TOO_MANY
    # Steps come in the order of the sizes.
    assert steps == list(range(first, steps[-1] + 1))
    at = labels.start[row] + (steps[-1] - labels.steps[row, 0]) * labels.width[row]
    return int(labels.minima[at + k])


@settings(max_examples=strategies.share(3))
@given(SMALL, st.data())
def test_fewest_chiplets(document: Json, data: st.DataObject) -> None:
    tables = build_tables(read(document))
    judge = oracle.oracle(document)
    layers, chiplets = tables.layers, tables.chiplets
    allowed = data.draw(masks(tables))
    last = data.draw(st.integers(0, layers - 1))
    first = data.draw(st.integers(0, last))
    most = data.draw(st.integers(1, min(layers, chiplets)))

    packed = pack_tables(tables)
    reads = opening_times(packed, first)
    opens = [judge.times.input_ps(k) if k == first else 0 for k in range(layers)]
    for edge, (u, readers) in enumerate(judge.times.tensors):
        if u < first <= readers[-1]:
            opens[min(v for v in readers if v >= first)] += judge.times.skip_read_ps(edge)
    assert np.diff(reads).tolist()[first:] == opens[first:]

    # Slowest time and labels of every way to divide i..last, read for the first time or not.
    ways: list[tuple[int, int, int, int, int, int, int]] = []
    for i in range(last + 1):
        for segment in oracle.enumerate_segments(i, last, chiplets):
            if len(segment) > most or not all(
                c in set(members(document, allowed, c.first, c.last, c.chiplets)) for c in segment
            ):
                continue
            heads = [(c.chiplets, c.partitions[0]) for c in segment[1:]]
            plain = [
                judge.cluster_time(BEFORE, last, cluster, following).time_ps
                for cluster, following in zip(segment, [*heads, None], strict=True)
            ]
            opened = [
                time + sum(opens[c.first : c.last + 1])
                for time, c in zip(plain, segment, strict=True)
            ]
            head = segment[0]
            p = oracle.PARTITIONS.index(head.partitions[0])
            total = sum(c.chiplets for c in segment)
            ways.append((i, p, head.chiplets, len(segment), total, max(plain), max(opened)))

    moments = sorted({time for way in ways for time in way[5:]})
    ceiling = max(moments, default=10)
    limits = st.sampled_from(moments) if moments else st.just(5)
    limit = max(0, data.draw(limits) + data.draw(st.sampled_from([0, 0, -1, 1])))

    coupling = make_coupling(packed, allowed)
    shared = make_inner_times(packed, coupling.least, allowed, ceiling + 1)
    segments = make_segments(packed, coupling, allowed, shared, last, ceiling + 1)
    # Clusters before the split know nothing of the segment's end.
    tensors = judge.times.tensors
    assert segments.ending.first == min([last + 1, *(u for u, v in tensors if u <= last < v[-1])])
    # Room for steps is made where there is too little.
    none, nowhere = np.empty(1, np.int64), np.empty(1, np.int16)
    labels = make_labels(layers + 1, chiplets, most)
    labels = labels._replace(received=none, size=none.copy(), minima=nowhere)
    nothing = np.zeros(layers + 1, np.int64)
    # One chiplet set aside for what lies before some layer.
    reserved = nothing.copy()
    reserved[data.draw(st.integers(1, layers + 1)) :] = 1
    partial = Run(
        times=packed.times,
        coupling=coupling,
        segments=segments,
        limit=limit,
        clusters=most,
        top=last,
        bottom=0,
        reads=nothing,
        reserved=reserved,
        known=labels,
        labels=labels,
    )
    at_once = data.draw(st.integers(1, layers))
    labels = solve_rows(partial, at_once, lambda: None).labels
    complete = make_labels(layers + 1, chiplets, most)
    whole = partial._replace(reserved=nothing, known=complete, labels=complete)
    whole = solve_rows(whole, at_once, lambda: None)
    complete = whole.labels
    reading = [v for u, readers in tensors for v in readers if u < first]
    reach = max([first, *(v for v in reading if first <= v <= last)])
    # Only the rows that are wanted.
    again = make_labels(reach - first + 1, chiplets, most)._replace(first=first)
    reread = whole._replace(top=reach, bottom=first, reads=reads, labels=again)
    again = solve_rows(reread, at_once, lambda: None).labels

    def within(label: int, available: int) -> int:
        return label if label <= available else TOO_MANY

    every = range(last + 1)
    cases = ((labels, every, 5, reserved), (complete, every, 5, nothing))
    for found, rows, column, apart in (*cases, (again, range(first, reach + 1), 6, nothing)):
        expected: dict[tuple[int, int, int, int], int] = {}
        for i, p, r, k, total, *_ in (way for way in ways if way[column] <= limit):
            expected[i, p, r, k] = min(expected.get((i, p, r, k), TOO_MANY), total)
        for i, k in itertools.product(rows, range(1, most + 1)):
            if k > last - i + 1:
                continue
            left, row = chiplets - int(apart[i]), i - found.first
            # Labels of other numbers of clusters are what an earlier layer left there.
            fresh = found.low[row] <= k <= found.high[row]
            own = [
                [expected.get((i, p, r, k), TOO_MANY) for r in range(1, chiplets + 1)]
                for p in range(2)
            ]
            for p, r in itertools.product(range(2), range(1, chiplets + 1)):
                if i == rows[0]:  # the layer computed last
                    label = int(found.fewest[p, r, k]) if fresh else TOO_MANY
                    assert within(label, left) == within(own[p][r - 1], left)
                if i > 0:
                    sizes = coupling.order[i - 1, p, :r]
                    label = least_label(found, row, p, k, sizes.tolist()) if fresh else TOO_MANY
                    assert within(label, left) == within(min(own[p][n - 1] for n in sizes), left)
            label = int(found.best[row, k])
            assert within(label, left) == within(min(map(min, own)), left)


def test_counts_of_the_largest_package_fit_their_type() -> None:
    assert MAX_CHIPLETS < TOO_MANY
    assert np.iinfo(np.int16).max >= TOO_MANY + MAX_CHIPLETS
