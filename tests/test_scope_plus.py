"""`scope-plus`: valid schedules, best regions of given clusters, the cluster table, small gaps."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import oracle
import placed_strategies
import pytest
import strategies
from documents import INSTANCES, keep_constraints
from helpers import plain, read, solve_with
from hypothesis import given, settings
from hypothesis import strategies as st

from scope_opt import load
from scope_opt.cost.build import build_tables
from scope_opt.schedule.bounds import segment_bounds
from scope_opt.schedule.evaluate import evaluate_segment
from scope_opt.search.allowed import make_allowed
from scope_opt.search.equal import moved
from scope_opt.search.exact.inner import last_layers, least_computation
from scope_opt.search.packed import NEVER, pack_tables
from scope_opt.search.placed import segment_facts
from scope_opt.search.plus import sizes
from scope_opt.search.plus.inner import make_times
from scope_opt.search.plus.regions import best_regions
from scope_opt.search.plus.scheme import Scheme
from scope_opt.search.plus.solver import ScopePlusSolver
from scope_opt.search.plus.table import ClusterTable
from scope_opt.search.times import segment_latency
from scope_opt.solving.result import Result, Status
from scope_opt.solving.solver import SolveOptions, solve

if TYPE_CHECKING:
    from documents import Json
    from numpy.typing import NDArray

    from scope_opt.search.allowed import Allowed
    from scope_opt.search.packed import Ints, PackedTables

SMALL = (
    strategies.table_instances(max_layers=5, max_chiplets=5, constraints=True)
    | strategies.physical_instances(max_layers=5, max_chiplets=5, constraints=True)
    | placed_strategies.placed_instances()
)
TINY = (
    strategies.table_instances(max_layers=4, max_chiplets=4)
    | strategies.physical_instances(max_layers=4, max_chiplets=4)
    | placed_strategies.placed_instances()
)


def firsts(result: Result) -> tuple[int, ...]:
    assert result.schedule is not None
    return tuple(segment.first_layer for segment in result.schedule.segments)


@settings(max_examples=60)
@given(SMALL, st.sampled_from(["single", "balanced", "dp", 1, 2]))
def test_schedules_are_valid_and_no_better_than_the_best(document: Json, segments: Any) -> None:
    document = keep_constraints(document, ScopePlusSolver.constraints)
    layers = len(read(document).layer_names)
    segments = min(segments, layers) if isinstance(segments, int) else segments
    fixed = document.get("constraints", {}).get("fixed_segments")
    if fixed is not None:
        segments = tuple(fixed)
    result = solve_with("scope-plus", document, segments)
    best = oracle.best(document)
    if result.schedule is None:
        # Only simple reasons prove anything here.
        assert result.explanation
        assert result.status is Status.UNKNOWN or best is None or segments != "dp"
        return
    assert best is not None
    assert oracle.violations(document, plain(result.schedule)) == []
    assert result.objective_ps == oracle.objective_ps(document, plain(result.schedule)) >= best[1]
    assert result.bound_ps is not None
    assert result.bound_ps <= best[1]
    if isinstance(segments, int):
        assert len(firsts(result)) == segments
    elif isinstance(segments, tuple):
        assert firsts(result) == segments
    again = solve_with("scope-plus", document, segments)
    assert again.schedule == result.schedule


@settings(max_examples=40)
@given(TINY, st.data())
def test_regions_of_given_clusters_are_the_best(document: Json, data: st.DataObject) -> None:
    """With windows over the whole package, and links that are not shared."""
    if oracle.is_placed(document):
        nop = {**document["package"]["nop"], "shared_links": False}
        document = {**document, "package": {**document["package"], "nop": nop}}
    instance = read(document)
    tables = build_tables(instance)
    layers, chiplets = tables.layers, tables.chiplets
    inner: st.SearchStrategy[set[int]] = st.just(set())
    if layers > 1:
        inner = st.sets(st.integers(1, layers - 1), max_size=chiplets - 1)
    starts = np.array([0, *sorted(data.draw(inner)), layers])
    clusters = len(starts) - 1
    packed = pack_tables(tables)
    ones = np.ones(clusters, dtype=np.int64)
    beat, regions, partition = best_regions(
        packed,
        make_allowed(instance.constraints, layers, chiplets),
        segment_facts(packed.places, 0, layers - 1),
        starts,
        ones,
        ones * chiplets,
    )
    judge = oracle.oracle(document)

    def slowest(sizes: tuple[int, ...], chosen: tuple[str, ...]) -> int | None:
        segment = tuple(
            oracle.Cluster(int(a), int(b) - 1, size, chosen[a:b])
            for (a, b), size in zip(itertools.pairwise(starts), sizes, strict=True)
        )
        if judge.segment_codes(segment):
            return None
        return max(times.time_ps for times in judge.cluster_times(segment))

    sizes = [
        s for s in itertools.product(range(1, chiplets + 1), repeat=clusters) if sum(s) <= chiplets
    ]
    every = itertools.product(sizes, itertools.product(oracle.PARTITIONS, repeat=layers))
    times = [time for each in every if (time := slowest(*each)) is not None]
    if beat >= NEVER:
        assert not times
        return
    assert beat == min(times)
    names = tuple(oracle.PARTITIONS[p] for p in partition[:layers])
    assert slowest(tuple(regions.tolist()), names) == beat


@settings(max_examples=60)
@given(
    strategies.table_instances(max_layers=6, max_chiplets=6)
    | strategies.physical_instances(max_layers=5, max_chiplets=6)
    | placed_strategies.placed_instances(),
    st.integers(1, 10**6),
)
def test_rows_of_the_cluster_table_keep_their_beat(document: Json, beat: int) -> None:
    """With the regions that the clusters need, wherever the search for the beat begins.

    In place this holds where no chiplet is idle: only then regions lie where the table has them.
    """
    instance = read(document)
    tables = build_tables(instance)
    packed, layers, chiplets = pack_tables(tables), tables.layers, tables.chiplets
    if layers == 1:
        return
    allowed = make_allowed(instance.constraints, layers, chiplets)
    ends = (0, layers - 1)
    times = make_times(packed, allowed, beat)
    table = ClusterTable(packed, allowed, times, ends, beat, 0, 1)
    rows = table.rows(1, min(layers, chiplets))
    assert [row.cost for row in rows] == sorted(row.cost for row in rows)
    for row in rows:
        assert row.starts[0] == 0
        assert row.starts[-1] == layers
        assert (np.diff(row.starts) > 0).all()
        assert row.needed.sum() <= chiplets
        if packed.places.placed and row.needed.sum() < chiplets:
            continue
        facts = segment_facts(packed.places, *ends)
        found = best_regions(packed, allowed, facts, row.starts, row.needed, row.needed)
        load, dram = int(packed.load_ps[ends]), int(packed.segment_dram_ps[ends])
        clusters = len(row.needed)
        assert segment_latency(load, dram, packed.samples, clusters, found[0]) <= row.cost


@settings(max_examples=60, deadline=None)
@given(
    strategies.table_instances(max_layers=6, max_chiplets=6)
    | strategies.physical_instances(max_layers=5, max_chiplets=6)
    | placed_strategies.placed_instances(),
    st.integers(1, 10**6),
)
def test_rows_are_the_same_whatever_was_scheduled_before(document: Json, beat: int) -> None:
    """Times of clusters are shared by segments, but for those that cross a segment's ends."""
    instance = read(document)
    tables = build_tables(instance)
    packed, layers, chiplets = pack_tables(tables), tables.layers, tables.chiplets
    allowed = make_allowed(instance.constraints, layers, chiplets)
    shared = make_times(packed, allowed, beat)
    for first in range(layers):
        for last in range(first + 1, layers):
            found = []
            for times in (shared, make_times(packed, allowed, beat)):
                table = ClusterTable(packed, allowed, times, (first, last), beat, 0, 1)
                found.append(table.rows(1, min(layers, chiplets)))
                if times is shared:
                    shared = table.times
            for before, alone in zip(*found, strict=True):
                assert before.cost == alone.cost
                assert before.starts.tolist() == alone.starts.tolist()
                assert before.needed.tolist() == alone.needed.tolist()
                if packed.places.placed and alone.needed.sum() < chiplets:
                    continue
                facts = segment_facts(packed.places, first, last)
                regions = best_regions(
                    packed, allowed, facts, alone.starts, alone.needed, alone.needed
                )
                dram = int(packed.segment_dram_ps[first, last])
                load = int(packed.load_ps[first, last])
                clusters = len(alone.needed)
                cost = segment_latency(load, dram, packed.samples, clusters, regions[0])
                assert cost <= alone.cost


def needs_of_each_layer(packed: PackedTables, allowed: Allowed, beats: Ints) -> NDArray[np.int16]:
    """Chiplets of all clusters, none of them taken from other layers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sizes, "alike_layers", lambda packed, *_: np.arange(len(packed.times)))
        return sizes.make_needs(packed, allowed, beats).fewest


@settings(max_examples=40)
@given(SMALL, st.integers(0, 10**6))
def test_layers_that_are_alike_need_the_same(document: Json, shortest: int) -> None:
    instance = read(document)
    tables = build_tables(instance)
    packed = pack_tables(tables)
    allowed = make_allowed(instance.constraints, tables.layers, tables.chiplets)
    beats = shortest + np.array([1, 10**3, 10**6, 10**9])
    found = sizes.make_needs(packed, allowed, beats).fewest
    assert (found == needs_of_each_layer(packed, allowed, beats)).all()


@pytest.mark.parametrize(
    ("name", "longest"),
    [
        ("paper/resnet101-32", 10**8),
        ("placed/resnet101-32-placed", 10**8),
        ("transformers/bert-large-512tokens-64", 10**10),
    ],
)
def test_blocks_of_deep_networks_need_the_same(name: str, longest: int) -> None:
    instance = load(INSTANCES / f"{name}.json")
    tables = build_tables(instance)
    packed = pack_tables(tables)
    allowed = make_allowed(instance.constraints, tables.layers, tables.chiplets)
    beats = np.geomspace(10**6, longest, 30).astype(np.int64)
    found = sizes.make_needs(packed, allowed, beats).fewest
    assert (found == needs_of_each_layer(packed, allowed, beats)).all()
    priced = sizes.sized(packed) if packed.places.placed else packed
    length = last_layers(priced, least_computation(priced), allowed, int(beats[-1]))
    assert len(set(sizes.alike_layers(priced, allowed, length).tolist())) < tables.layers


@pytest.mark.parametrize("name", ["resnet50-32", "resnet50-32-placed"])
def test_equal_segments_take_the_same(name: str) -> None:
    instance = load(name)
    tables = build_tables(instance)
    scheme = Scheme(instance, tables, segment_bounds(tables), lambda: False)
    compared = 0
    for a, b in zip(*np.nonzero(np.triu(scheme.equal.several, 1)), strict=True):
        first = int(scheme.equal.first[a, b])
        if first == a or (found := scheme.schedule(first, first + int(b - a))) is None:
            continue
        there = evaluate_segment(instance, moved(found.segment, int(a)), tables)
        assert there is not None
        assert there.latency_ps == found.cost
        compared += 1
        if compared == 20:
            return
    assert compared > 0


@pytest.mark.parametrize("name", ["resnet18-32", "vgg16-64", "darknet19-128"])
def test_is_close_to_the_optimum_and_better_than_the_paper_s_search(name: str) -> None:
    entries = json.loads((INSTANCES / "best_known.json").read_text())["entries"]
    known = next(e["objective_ps"] for e in entries if e["instance"]["name"] == name)
    result, paper = solve(load(name), "scope-plus"), solve(load(name), "scope")
    assert result.objective_ps is not None
    assert paper.objective_ps is not None
    assert result.objective_ps <= 1.08 * known
    assert result.objective_ps < paper.objective_ps


def test_it_is_better_in_place_too_and_can_be_asked_for_an_order() -> None:
    instance = load("resnet18-64-placed")
    result, paper = solve(instance, "scope-plus"), solve(instance, "scope")
    assert result.objective_ps is not None
    assert paper.objective_ps is not None
    assert result.objective_ps < paper.objective_ps
    every = solve(instance, "scope-plus", SolveOptions(order="all"))
    assert every.objective_ps is not None
    assert every.objective_ps <= result.objective_ps


def test_a_limit_leaves_it_with_what_it_has() -> None:
    result = solve(load("resnet18-64"), "scope-plus", SolveOptions(time_limit_s=0))
    assert result.status in (Status.UNKNOWN, Status.FEASIBLE)
