"""The paper's search and its baselines: each step by hand, and what holds of every answer."""

from __future__ import annotations

import itertools
import json
import math
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import oracle
import placed_strategies
import pytest
import strategies
from documents import keep_constraints
from helpers import read, solve_with
from hypothesis import given, settings
from hypothesis import strategies as st

from scope_opt import evaluate, load
from scope_opt.cost.build import build_tables
from scope_opt.model.files import InputError
from scope_opt.model.generate import paper_instance
from scope_opt.search.packed import NEVER, PackedTables, pack_tables
from scope_opt.search.paper.floors import Floors, make_floors, segment_floor
from scope_opt.search.paper.merging import MEAN, Row, merge_order
from scope_opt.search.paper.segment import ANY as ANY_DONOR
from scope_opt.search.paper.segment import (
    BEST,
    FASTEST,
    Filling,
    balance,
    first_regions,
    search_segment,
    start_times,
)
from scope_opt.search.paper.segmentation import balanced_choices, balanced_cuts
from scope_opt.search.paper.solver import ScopeSolver
from scope_opt.search.placed import segment_facts
from scope_opt.solving.result import Status
from scope_opt.solving.solver import READINGS, SolveOptions, solve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from documents import Json

    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.solving.solver import SegmentChoice


SOLVERS = ("scope", "sequential", "pipeline", "segmented")
ANY = strategies.table_instances() | strategies.physical_instances()
CHOICES = st.sampled_from(["balanced", "dp", "single"])


def plain(
    compute: list[int],
    chiplets: int,
    weights: list[int] | None = None,
    buffer: int = 100,
    **top: Any,
) -> Json:
    """A table instance whose layers share their work evenly under ISP; WSP is twice as slow."""
    weights = weights or [0] * len(compute)
    layers = [
        {
            "name": f"l{index}",
            "weight_bytes": weight,
            "compute_ps": {
                "ISP": [-(-time // r) for r in range(1, chiplets + 1)],
                "WSP": [2 * time] * chiplets,
            },
        }
        for index, (time, weight) in enumerate(zip(compute, weights, strict=True))
    ]
    tables = {"chiplets": chiplets, "weight_buffer_bytes": buffer, "layers": layers}
    document: Json = {
        "format": "scope-instance/1",
        "name": "plain",
        "samples": 10,
        "tables": tables,
    }
    return {**document, **top}


def points(load: list[int], places: list[tuple[float, float]]) -> PackedTables:
    """Packed tables of which only loads and points for the merge table matter."""
    packed = pack_tables(build_tables(read(plain(load, 2))))
    return packed._replace(parallelism=np.array(places, dtype=np.float64))


# --- Cluster merge table -------------------------------------------------------------------------


def rows(packed: PackedTables) -> list[list[int]]:
    """First layers of the clusters, from one cluster per layer to a single one."""
    step = merge_order(packed, 0, len(packed.times) - 1, MEAN)
    layers = len(step)
    return [
        [k for k in range(layers) if k == 0 or step[k] > layers - count]
        for count in range(layers, 0, -1)
    ]


def test_the_closest_neighbours_merge_first() -> None:
    packed = points([1, 1, 1, 1], [(0, 0), (5, 0), (6, 0), (6, 3)])
    # 1 and 2 are 1 apart; then their mean (5.5, 0) and 3 are sqrt(0.25 + 9) apart, 0 is 5.5 away.
    assert rows(packed) == [[0, 1, 2, 3], [0, 1, 3], [0, 1], [0]]


def test_means_are_weighted_by_load() -> None:
    # 0 and 1 merge into a mean of 0.9 (weights 1 and 9), which is nearer to 2 than 2 is to 3; with
    # an unweighted mean of 0.5 it would be farther.
    places = [(0.0, 0.0), (1.0, 0.0), (2.2, 0.0), (3.55, 0.0)]
    assert rows(points([1, 9, 1, 1], places)) == [[0, 1, 2, 3], [0, 2, 3], [0, 3], [0]]
    assert rows(points([1, 1, 1, 1], places)) == [[0, 1, 2, 3], [0, 2, 3], [0, 2], [0]]


def test_ties_go_to_less_load_then_to_the_front() -> None:
    places = [(0.0, 0.0)] * 4
    # Pairs weigh 5+4, 4+2, 2+7: the middle one. Then 5+6 against 6+7: the front one.
    assert rows(points([5, 4, 2, 7], places)) == [[0, 1, 2, 3], [0, 1, 3], [0, 3], [0]]
    assert rows(points([3, 3, 3, 3], places)) == [[0, 1, 2, 3], [0, 2, 3], [0, 2], [0]]


def test_float_noise_does_not_decide_a_tie() -> None:
    third = 1 / 3
    places = [(third * 3, 0.1 + 0.2), (0.0, 0.0), (0.0, 0.0), (1.0, 0.3)]
    # |0 - 1| = |2 - 3| but for rounding of 0.1 + 0.2; 1 and 2 merge at once; loads 1 + 10 against
    # 10 + 2.
    assert rows(points([1, 5, 5, 2], places))[1:3] == [[0, 1, 3], [0, 3]]


# --- Regions -------------------------------------------------------------------------------------


def shared(load: list[int], least: list[int], chiplets: int) -> list[int]:
    regions = np.zeros(len(load), dtype=np.int64)
    first_regions(np.array(load), np.array(least), chiplets, regions, 1, chiplets)
    return [int(size) for size in regions]


@pytest.mark.parametrize(
    ("load", "least", "chiplets", "expected"),
    [
        ([1, 1], [1, 1], 8, [4, 4]),
        ([1, 2, 5], [1, 1, 1], 8, [1, 2, 5]),
        ([1, 1, 1], [1, 1, 1], 4, [2, 1, 1]),  # equal remainders: the lower index
        ([10, 26, 64], [1, 1, 1], 10, [1, 3, 6]),  # 1.0, 2.6, 6.4: the spare one to 0.6
        ([1, 99], [1, 1], 10, [1, 9]),  # 0.1 and 9.9: least 1, so 9 stays
        ([1, 99], [4, 1], 10, [4, 6]),  # 9.9 gives up 3 of its 9
        ([50, 50, 1], [1, 1, 8], 10, [1, 1, 8]),  # 4.95 each: three and three are taken back
        ([0, 0], [1, 1], 5, [3, 2]),  # no load anywhere
    ],
)
def test_first_regions(
    load: list[int], least: list[int], chiplets: int, expected: list[int]
) -> None:
    assert shared(load, least, chiplets) == expected


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 5)), min_size=1, max_size=6),
    st.integers(0, 40),
)
def test_first_regions_use_every_chiplet(clusters: list[tuple[int, int]], spare: int) -> None:
    load, least = [c[0] for c in clusters], [c[1] for c in clusters]
    chiplets = sum(least) + spare
    regions = shared(load, least, chiplets)
    assert sum(regions) == chiplets
    assert all(size >= floor for size, floor in zip(regions, least, strict=True))
    ideal = [chiplets * one / max(1, sum(load)) for one in load]
    if sum(load) and all(floor <= int(one) for floor, one in zip(least, ideal, strict=True)):
        # Where no minimum binds, nobody is off by a whole chiplet.
        assert all(abs(size - one) < 1 for size, one in zip(regions, ideal, strict=True))


@st.composite
def balances(draw: st.DrawFn) -> tuple[LatencyTables, Any]:
    """Packed tables and a start for `balance`: one segment of all layers."""
    tables = build_tables(read(draw(ANY)))
    clusters = draw(st.integers(1, min(tables.layers, tables.chiplets)))
    inner = st.sets(st.integers(1, tables.layers - 1), min_size=clusters - 1, max_size=clusters - 1)
    cuts = sorted(draw(inner)) if clusters > 1 else []
    start = np.array([0, *cuts, tables.layers])
    sums = [tables.weight_bytes[a:b].sum() for a, b in itertools.pairwise(start)]
    regions = [1] * clusters
    for _ in range(tables.chiplets - clusters):
        regions[draw(st.integers(0, clusters - 1))] += 1
    transition = draw(st.integers(0, tables.layers))
    return tables, (start, np.array(sums), transition, np.array(regions))


@given(balances(), st.sampled_from([FASTEST, ANY_DONOR, BEST]))
def test_balancing_never_ends_behind_its_start(
    drawn: tuple[LatencyTables, Any], donors: int
) -> None:
    tables, (start, weights, transition, regions) = drawn
    packed, least = pack_tables(tables), np.ones(len(weights), dtype=np.int64)
    last = tables.layers - 1

    def settle(floor: Any, sizes: Any) -> tuple[int, list[int]]:
        partition = np.zeros(tables.layers, dtype=np.int8)
        filling = Filling(sizes.copy(), partition, np.zeros_like(sizes))
        facts = segment_facts(packed.places, 0, last)
        row = Row(packed, facts, 0, last, start, weights, floor, 1, tables.chiplets)
        start_times(row, filling, transition)
        beat = balance(row, filling, transition, donors)
        own = filling.regions
        return beat, own.tolist()

    # No cluster can spare a chiplet: nothing moves.
    before, kept = settle(regions, regions)
    assert kept == regions.tolist()
    after, moved = settle(least, regions)
    assert after <= before
    assert sum(moved) == sum(kept)
    assert min(moved) >= 1
    # The result is a place to stop at: starting there changes nothing.
    assert settle(least, np.array(moved)) == (after, moved)


def test_balancing_moves_to_the_slowest_from_the_fastest() -> None:
    # 60/2, 10/2 and 10/4: the fastest (2.5, rounded up to 3) gives one: 20, 5, 4. Again: 15, 5, 5.
    # Now the first of the two 5s gives its spare one: 12, 10, 5; then 10, 10, 10 from the last one;
    # nobody slower than 10 is left who could spare one... 60/6 = 10 ties with 10/1.
    packed = pack_tables(build_tables(read(plain([60, 10, 10], 8))))
    regions, partition = np.array([2, 2, 4]), np.zeros(3, dtype=np.int8)
    ones = np.ones(3, dtype=np.int64)
    facts = segment_facts(packed.places, 0, 2)
    row = Row(packed, facts, 0, 2, np.arange(4), ones * 0, ones, 1, 8)
    filling = Filling(regions, partition, ones * 0)
    start_times(row, filling, 0)
    beat = balance(row, filling, 0, FASTEST)
    assert (beat, regions.tolist()) == (10, [6, 1, 1])


# --- One segment ---------------------------------------------------------------------------------


@given(data=st.data())
def test_a_segment_s_latency_is_the_oracle_s(data: st.DataObject) -> None:
    document = data.draw(ANY)
    tables = build_tables(read(document))
    first = data.draw(st.integers(0, tables.layers - 1))
    last = data.draw(st.integers(first, tables.layers - 1))
    fewest = data.draw(st.integers(1, last - first + 1))
    most = data.draw(st.integers(fewest, last - first + 1))
    packed = pack_tables(tables)
    limits = (first, last, fewest, most, 1, tables.chiplets, MEAN)
    floors = make_floors(packed)
    latency, start, regions, partition = search_segment(packed, floors, *limits, FASTEST, NEVER)
    assert segment_floor(packed, floors, *limits, NEVER) <= latency
    if latency == NEVER:
        return
    assert fewest <= len(regions) <= most
    assert regions.sum() == tables.chiplets
    segment = tuple(
        oracle.Cluster(
            int(a), int(b) - 1, int(size), tuple(oracle.PARTITIONS[p] for p in partition[a:b])
        )
        for (a, b), size in zip(itertools.pairwise(start), regions, strict=True)
    )
    judge = oracle.oracle(document)
    assert judge.segment_codes(segment) == frozenset()
    assert latency == judge.segment_ps(segment)


class Reference:
    """Algorithm 1 on one segment of all layers, read off docs/model.md, section 12.1.

    Exact fractions and the oracle's times; shared with the compiled search are only the loads and
    the points of the merge table.
    """

    def __init__(self, document: Json, tables: LatencyTables) -> None:
        self.judge = oracle.oracle(document)
        self.package, self.stream = tables.chiplets, tables.stream
        self.weights, self.capacity = self.judge.times.weights, self.judge.times.capacity
        self.load = [int(one) for one in tables.load]
        self.points = [(float(x), float(y)) for x, y in tables.parallelism]
        self.layers = range(tables.layers)

    def merge_table(self) -> Iterator[list[range]]:
        """Clusters, from one per layer down to one."""

        def centre(cluster: range) -> tuple[float, float]:
            loads = [max(1, self.load[layer]) for layer in cluster]
            x, y = zip(*(self.points[layer] for layer in cluster), strict=True)
            return np.average(x, weights=loads), np.average(y, weights=loads)

        clusters = [range(layer, layer + 1) for layer in self.layers]
        while True:
            yield clusters
            if len(clusters) == 1:
                return
            keys = []
            for k, (one, other) in enumerate(itertools.pairwise(clusters)):
                apart = round(math.dist(centre(one), centre(other)) ** 2, 8)
                keys.append((apart, sum(max(1, self.load[i]) for i in (*one, *other)), k))
            k = min(keys)[2]
            merged = range(clusters[k].start, clusters[k + 1].stop)
            clusters = [*clusters[:k], merged, *clusters[k + 2 :]]

    def least_regions(self, clusters: list[range]) -> list[int]:
        """Chiplets each cluster cannot do without."""
        if len(self.layers) == 1:
            return [self.package]
        if self.stream:
            return [1] * len(clusters)
        weights = [sum(self.weights[i] for i in one) for one in clusters]
        return [max(1, math.ceil(Fraction(w, self.capacity))) for w in weights]

    def start(self, clusters: list[range], least: list[int]) -> list[int]:
        """Regions proportional to the loads, by largest remainder."""
        loads = [sum(self.load[i] for i in one) for one in clusters]
        entitled = [Fraction(self.package * one, max(1, sum(loads))) for one in loads]
        sizes = [max(n, int(q)) for n, q in zip(least, entitled, strict=True)]
        while sum(sizes) != self.package:
            short = [q - size for q, size in zip(entitled, sizes, strict=True)]
            if sum(sizes) < self.package:
                sizes[short.index(max(short))] += 1
            else:
                able = [k for k, n in enumerate(least) if sizes[k] > n]
                sizes[min(able, key=lambda k: (short[k], k))] -= 1  # used at once
        return sizes

    def segment(
        self, clusters: list[range], sizes: list[int], transition: int
    ) -> tuple[oracle.Segment, list[int]]:
        """Partitions for these regions, and the clusters' times."""
        built = []
        for cluster, r in zip(clusters, sizes, strict=True):
            room = self.capacity * r - sum(self.weights[i] for i in cluster)
            if self.stream or (len(self.layers) == 1 and r == self.package):
                room = max(0, room)
            parts = tuple(
                oracle.WSP if i < transition and self.weights[i] * (r - 1) <= room else oracle.ISP
                for i in cluster
            )
            built.append(oracle.Cluster(cluster[0], cluster[-1], r, parts))
        segment = tuple(built)
        return segment, [times.time_ps for times in self.judge.cluster_times(segment)]

    def balanced(
        self, clusters: list[range], least: list[int], sizes: list[int], transition: int
    ) -> oracle.Segment:
        """Move chiplets while it helps."""
        segment, times = self.segment(clusters, sizes, transition)
        dram = self.judge.times.segment_dram_ps(0, self.layers[-1])
        while max(times) > dram:
            slow = times.index(max(times))
            able = [k for k, n in enumerate(least) if sizes[k] > n]
            giver = min(able, key=lambda k: (times[k], k), default=slow)  # used at once
            if giver == slow:
                break
            moved = [size + (k == slow) - (k == giver) for k, size in enumerate(sizes)]
            tried, tried_times = self.segment(clusters, moved, transition)
            worth = [(max(one), one.count(max(one))) for one in (tried_times, times)]
            if worth[0] >= worth[1]:
                break
            sizes, segment, times = moved, tried, tried_times
        return segment

    def best(self) -> int | None:
        """Least latency in ps, None if no number of clusters fits."""
        found = []
        for clusters in self.merge_table():
            least = self.least_regions(clusters)
            if sum(least) <= self.package:
                sizes = self.start(clusters, least)
                for transition in range(len(self.layers) + 1):
                    segment = self.balanced(clusters, least, sizes, transition)
                    found.append(self.judge.segment_ps(segment))
        return min(found, default=None)


@given(ANY)
def test_search_follows_the_algorithm(document: Json) -> None:
    result = solve_with("scope", document, "single")
    assert result.objective_ps == Reference(document, build_tables(read(document))).best()


# --- Whole networks ------------------------------------------------------------------------------


@given(ANY, st.sampled_from(SOLVERS), CHOICES)
@settings(max_examples=150)
def test_schedules_are_valid_and_cost_what_they_claim(
    document: Json, solver: str, segments: SegmentChoice
) -> None:
    result = solve_with(solver, document, segments)
    if result.schedule is None:
        assert result.status is Status.INFEASIBLE
        assert result.explanation
        return
    schedule = json.loads(result.schedule.to_json())
    assert oracle.violations(document, schedule) == []
    assert oracle.objective_ps(document, schedule) == result.objective_ps
    assert result.bound_ps is not None
    assert result.objective_ps is not None
    assert result.bound_ps <= result.objective_ps
    # Asking for exactly these segments gives the same schedule again.
    starts = tuple(segment.first_layer for segment in result.schedule.segments)
    if solver != "pipeline":
        assert solve_with(solver, document, starts).objective_ps == result.objective_ps


LIMITED = strategies.table_instances(
    max_layers=4, max_chiplets=5, constraints=True
) | strategies.physical_instances(max_layers=4, max_chiplets=5, constraints=True)


@given(LIMITED, st.sampled_from(SOLVERS), st.integers(1, 3), st.integers(1, 5))
@settings(max_examples=60)
def test_limits_on_regions_and_counts_of_clusters_are_kept(
    document: Json, solver: str, multiple: int, largest: int
) -> None:
    kept = ScopeSolver.constraints - ({"fixed_segments"} if solver == "pipeline" else set())
    document = keep_constraints(document, kept)
    chiplets = read(document).chiplets
    multiple = min(multiple, chiplets)
    limits = {"region_multiple": multiple, "max_region": min(chiplets, max(multiple, largest))}
    document = {**document, "constraints": {**document.get("constraints", {}), **limits}}
    result = solve_with(solver, document, "dp" if solver != "pipeline" else None)
    best = oracle.best(document)
    if result.schedule is None:
        assert result.explanation
        assert result.status is Status.UNKNOWN or best is None or solver != "scope"
        return
    assert best is not None
    assert oracle.violations(document, json.loads(result.schedule.to_json())) == []
    assert result.objective_ps is not None
    assert result.objective_ps >= best[1]
    assert all(cluster.chiplets % multiple == 0 for cluster in result.schedule.clusters)


@given(ANY, st.sampled_from(READINGS["similarity"]), st.sampled_from(READINGS["donor"]))
@settings(max_examples=40)
def test_every_reading_gives_valid_schedules(document: Json, similarity: str, donor: str) -> None:
    result = solve_with("scope", document, similarity=similarity, donor=donor)
    if result.schedule is None:
        return
    schedule = json.loads(result.schedule.to_json())
    assert oracle.violations(document, schedule) == []
    assert oracle.objective_ps(document, schedule) == result.objective_ps
    assert result.options["similarity"] == similarity
    assert result.options["donor"] == donor


def test_measures_of_similarity_merge_differently() -> None:
    # Three layers: 0 and 1 are 1 apart, 1 and 2 are (2, 2) apart, with the same ratio.
    packed = points([1, 1, 1], [(0, 0), (1, 0), (3, 2)])

    def merged_first(similarity: str) -> int:
        step = merge_order(packed, 0, 2, READINGS["similarity"].index(similarity))
        return int(np.flatnonzero(step == 1)[0])

    assert [merged_first(name) for name in ("mean", "meeting", "widest")] == [1, 1, 1]
    assert merged_first("ratio") == 2
    heavy = points([9, 1, 1], [(0, 0), (0, 0), (5, 5)])
    assert merge_order(heavy, 0, 2, READINGS["similarity"].index("load")).tolist().index(1) == 2
    # 0 and 1 merge first. Their mean is 1.7 from layer 2, which is 1.4 from layer 3; but layer 1 is
    # only 1.2 from it.
    chain = points([1, 1, 1, 1], [(0, 0), (1, 0), (2.2, 0), (3.6, 0)])
    mean, meeting = (
        merge_order(chain, 0, 3, READINGS["similarity"].index(name)).tolist()
        for name in ("mean", "meeting")
    )
    assert mean.index(2) == 3
    assert meeting.index(2) == 2


def test_a_reading_that_is_none_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"found 'fastst'; did you mean 'fastest'\?"):
        SolveOptions(donor="fastst")
    with pytest.raises(InputError, match="allowed: mean, meeting, widest, ratio, load"):
        SolveOptions(similarity="x")
    with pytest.raises(InputError, match="does not use it"):
        solve(load("alexnet-16"), "sequential", SolveOptions(donor="any"))


def objective(document: Json, solver: str, segments: Any = "balanced") -> float:
    found = solve_with(solver, document, segments).objective_ps
    return math.inf if found is None else found


@given(ANY)
@settings(max_examples=50)
def test_more_freedom_never_hurts(document: Json) -> None:
    found = {
        (solver, segments): objective(document, solver, segments)
        for solver in SOLVERS
        for segments in ("single", "balanced", "dp")
    }
    for segments in ("single", "balanced", "dp"):
        for baseline in ("sequential", "segmented"):
            assert found["scope", segments] <= found[baseline, segments]
        assert found["scope", segments] <= found["pipeline", segments]
        assert found["pipeline", segments] == found["segmented", "single"]
    for solver in ("scope", "sequential", "segmented"):
        assert found[solver, "dp"] <= found[solver, "balanced"] <= found[solver, "single"]


@given(ANY.filter(lambda document: layers_of(document) <= 5), st.sampled_from(SOLVERS[:2]))
@settings(max_examples=40)
def test_dp_finds_the_best_of_all_cuts(document: Json, solver: str) -> None:
    layers = range(1, layers_of(document))
    cuts = [
        (0, *inner) for n in range(len(layers) + 1) for inner in itertools.combinations(layers, n)
    ]
    every = [objective(document, solver, starts) for starts in cuts]
    assert objective(document, solver, "dp") == min(every)


class Unpruned:
    """What ``dp`` means: all segments searched in full, then the recursion over all cuts."""

    def __init__(self, instance: Instance, similarity: int, donors: int) -> None:
        self.tables = build_tables(instance)
        limits = instance.constraints
        packed, chiplets, layers = (
            pack_tables(self.tables),
            self.tables.chiplets,
            range(self.tables.layers),
        )
        nothing = Floors(*(part * 0 for part in make_floors(packed)))
        rest = (
            limits.region_multiple or 1,
            limits.max_region or chiplets,
            similarity,
            donors,
            NEVER,
        )
        self.found: dict[tuple[int, int], tuple[int, list[tuple[int, int]], bytes]] = {}
        for first, last in itertools.combinations_with_replacement(layers, 2):
            fewest, most = limits.min_clusters or 1, limits.max_clusters or len(layers)
            latency, start, regions, partition = search_segment(
                packed, nothing, first, last, fewest, most, *rest
            )
            if latency < NEVER:
                clusters = list(zip(start[:-1].tolist(), regions.tolist(), strict=True))
                own = partition[first : last + 1].tobytes()
                self.found[first, last] = latency, clusters, own

    def balanced(self) -> tuple[float, list[tuple[int, int]]]:
        """The first of the fastest balanced cuts."""
        best: tuple[float, list[tuple[int, int]]] = (math.inf, [])
        for count in range(1, self.tables.layers + 1):
            for cuts in balanced_choices(self.tables, count):
                ends = [*cuts[1:], self.tables.layers]
                pairs = [(a, b - 1) for a, b in zip(cuts, ends, strict=True)]
                if all(pair in self.found for pair in pairs):
                    total = sum(self.found[pair][0] for pair in pairs)
                    best = min(best, (total, pairs), key=lambda one: one[0])
        return best

    def cut(self) -> tuple[float, list[tuple[int, int]]]:
        """The fastest cut, or the balanced one if that is as fast."""
        best: list[tuple[float, list[tuple[int, int]]]] = [(0, [])]
        for last in range(self.tables.layers):
            fastest: tuple[float, list[tuple[int, int]]] = (math.inf, [])
            for first in range(last, -1, -1):
                if (first, last) in self.found and best[first][0] < math.inf:
                    total = best[first][0] + self.found[first, last][0]
                    if total < fastest[0]:
                        fastest = total, [*best[first][1], (first, last)]
            best.append(fastest)
        return min(self.balanced(), best[-1], key=lambda one: one[0])


def agrees_with_the_unpruned_recursion(instance: Instance, similarity: str, donor: str) -> None:
    """Every digit: objective, segments, clusters, regions, partitions."""
    reading = READINGS["similarity"].index(similarity), READINGS["donor"].index(donor)
    plain = Unpruned(instance, *reading)
    total, pairs = plain.cut()
    options = SolveOptions(segments="dp", similarity=similarity, donor=donor)
    result = solve(instance, "scope", options)
    assert result.objective_ps == (None if total == math.inf else total)
    if result.schedule is None:
        return
    segments = result.schedule.segments
    assert [(one.first_layer, one.last_layer) for one in segments] == pairs
    for segment, pair in zip(segments, pairs, strict=True):
        _, clusters, own = plain.found[pair]
        assert [(one.first_layer, one.chiplets) for one in segment.clusters] == clusters
        parts = [p for one in segment.clusters for p in one.partitions]
        assert bytes(oracle.PARTITIONS.index(p) for p in parts) == own


READING = st.sampled_from(READINGS["similarity"]), st.sampled_from(READINGS["donor"])


@given(ANY | placed_strategies.placed_instances(), *READING)
@settings(max_examples=60)
def test_what_is_left_out_changes_no_answer(document: Json, similarity: str, donor: str) -> None:
    agrees_with_the_unpruned_recursion(read(document), similarity, donor)


@given(LIMITED, *READING)
@settings(max_examples=30)
def test_what_is_left_out_changes_no_answer_under_limits(
    document: Json, similarity: str, donor: str
) -> None:
    kept = ScopeSolver.constraints - {"fixed_segments"}
    agrees_with_the_unpruned_recursion(read(keep_constraints(document, kept)), similarity, donor)


@pytest.mark.parametrize("name", ["alexnet-64", "vgg16-32", "resnet18-64", "resnet18-64-placed"])
def test_what_is_left_out_changes_no_answer_on_networks_of_the_paper(name: str) -> None:
    agrees_with_the_unpruned_recursion(load(name), "mean", "fastest")


def layers_of(document: Json) -> int:
    source = document.get("tables") or document["network"]
    return len(source["layers"])


TINY = strategies.table_instances(max_layers=3, max_chiplets=4) | strategies.physical_instances(
    max_layers=3, max_chiplets=4
)


@given(TINY, st.sampled_from(["scope", "sequential", "segmented"]), CHOICES)
def test_the_optimum_lies_between_bound_and_objective(
    document: Json, solver: str, segments: SegmentChoice
) -> None:
    result = solve_with(solver, document, segments)
    # Asked for a single segment, a solver speaks of the schedules with a single segment.
    best = oracle.best(document, "single" if segments == "single" else "free")
    if best is None:
        assert result.schedule is None
        return
    assert result.bound_ps is not None
    assert result.bound_ps <= best[1]
    assert result.objective_ps is None or best[1] <= result.objective_ps
    if result.status is Status.OPTIMAL:
        assert result.objective_ps == best[1]


def test_the_pipeline_s_own_restriction_does_not_raise_the_bound() -> None:
    # One segment takes 100 ps for its DRAM traffic, two segments 1 ps each.
    document = plain([1, 1], 2, samples=1)
    document["tables"]["segment_dram_ps"] = [[0, 100], [0, 0]]
    assert solve_with("scope", document).objective_ps == 2
    bound = solve_with("pipeline", document).bound_ps
    assert bound is not None
    assert bound <= 2


@given(ANY, st.sampled_from(SOLVERS), CHOICES)
@settings(max_examples=30)
def test_equal_input_gives_equal_output(
    document: Json, solver: str, segments: SegmentChoice
) -> None:
    first, second = (solve_with(solver, document, segments) for _ in range(2))
    assert first.schedule == second.schedule
    assert (first.objective_ps, first.bound_ps) == (second.objective_ps, second.bound_ps)
    numbers = [[(p.objective_ps, p.bound_ps) for p in one.trajectory] for one in (first, second)]
    assert numbers[0] == numbers[1]


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_network_of_the_paper(solver: str) -> None:
    instance = paper_instance("resnet18", 32)
    result = solve(instance, solver)
    assert result.schedule is not None
    document, schedule = json.loads(instance.to_json()), json.loads(result.schedule.to_json())
    assert oracle.violations(document, schedule) == []
    assert oracle.objective_ps(document, schedule) == result.objective_ps


# --- Segments ------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), min_size=1, max_size=7),
    st.integers(1, 7),
    st.integers(1, 12),
    st.booleans(),
)
def test_balanced_cuts_are_the_best_of_all(
    layers: list[tuple[int, int]], count: int, buffer: int, stored: bool
) -> None:
    load, weights = [one[0] for one in layers], [one[1] for one in layers]
    document = plain(load, 2, weights, buffer)
    every = []
    for inner in itertools.combinations(range(1, len(load)), count - 1):
        starts, ends = [0, *inner], [*inner, len(load)]
        pairs = list(zip(starts, ends, strict=True))
        sums = [sum(load[i:j]) for i, j in pairs]
        fits = not stored or all(j == i + 1 or sum(weights[i:j]) <= 2 * buffer for i, j in pairs)
        if fits:
            key = (max(sums), sum(one**2 for one in sums), starts[::-1])
            every.append((key, tuple(starts)))
    expected = min(every)[1] if every else None
    assert balanced_cuts(build_tables(read(document)), count, stored=stored) == expected


def test_a_fixed_number_of_segments() -> None:
    document = plain([4, 1, 1, 4, 1, 1], 3)
    for count in range(1, 7):
        result = solve_with("scope", document, count)
        assert result.schedule is not None
        assert len(result.schedule.segments) == count
        if count == 2:
            assert [segment.first_layer for segment in result.schedule.segments] == [0, 3]


def test_segments_given_by_their_first_layers() -> None:
    result = solve_with("scope", plain([4, 1, 1, 4, 1, 1], 6), (0, 1, 5))
    assert result.schedule is not None
    assert [segment.first_layer for segment in result.schedule.segments] == [0, 1, 5]
    assert result.options["segments"] == [0, 1, 5]


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        (0, "found 0; allowed 1 to 3"),
        (4, "found 4; allowed 1 to 3"),
        ((1, 2), "must start with 0"),
        ((0, 2, 2), "increase"),
        ((0, 3), "below 3"),
        ((), "must start with 0"),
    ],
)
def test_impossible_segments(segments: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        solve_with("scope", plain([1, 1, 1], 2), segments)


# --- Nothing found -------------------------------------------------------------------------------


def test_more_layers_than_chiplets_is_explained() -> None:
    result = solve_with("pipeline", plain([1, 2, 3], 2))
    assert (result.status, result.schedule, result.objective_ps) == (Status.INFEASIBLE, None, None)
    assert len(result.explanation) == 1
    assert "needs 3 chiplets, there are 2" in result.explanation[0]
    assert "segmented" in result.explanation[0]


def test_too_many_weights_for_one_segment_are_explained() -> None:
    document = plain([1, 2], 2, weights=[7, 30], buffer=10)
    for solver in ("scope", "pipeline"):
        result = solve_with(solver, document, "single")
        assert result.status is Status.INFEASIBLE
        (reason,) = result.explanation
        for part in ("37 bytes", "20 bytes", "by 17", "layer 1 (l1, 30 bytes)", "stream"):
            assert part in reason
    # Two segments of one layer each pass their weights through; refetching keeps one segment.
    assert solve_with("scope", document).status is not Status.INFEASIBLE
    streamed = {**document, "overflow": "stream"}
    assert solve_with("scope", streamed, "single").status is not Status.INFEASIBLE


def test_segments_that_do_not_fit_are_explained() -> None:
    result = solve_with("scope", plain([1, 2, 3], 2, weights=[7, 30, 1], buffer=10), (0, 2))
    assert result.status is Status.INFEASIBLE
    assert "the weights of segment 0 to 1, 37 bytes" in result.explanation[0]


def test_a_failed_search_proves_nothing() -> None:
    document = plain([1, 1, 1], 2, constraints={"min_clusters": 2})
    result = solve_with("scope", document, (0, 2))
    assert result.status is Status.UNKNOWN
    assert "though there may be one" in result.explanation[0]


# --- Side constraints ----------------------------------------------------------------------------


@st.composite
def constrained(draw: st.DrawFn) -> Json:
    """Instances with those constraints that the searches honour."""
    document = draw(ANY)
    layers = layers_of(document)
    chosen: Json = {}
    if draw(st.booleans()):
        chosen["min_clusters"] = draw(st.integers(1, layers))
    if draw(st.booleans()):
        chosen["max_clusters"] = draw(st.integers(chosen.get("min_clusters", 1), layers))
    if draw(st.booleans()):
        chosen["fixed_segments"] = [0, *(i for i in range(1, layers) if draw(st.booleans()))]
    return {**document, "constraints": chosen}


@given(constrained(), st.sampled_from(["scope", "sequential", "segmented"]))
def test_constraints_are_honoured(document: Json, solver: str) -> None:
    result = solve_with(solver, document, "dp")
    if result.schedule is not None:
        assert oracle.violations(document, json.loads(result.schedule.to_json())) == []


def test_bounds_on_the_number_of_clusters() -> None:
    # Without transfers merging costs nothing but the rounding of shares; one cluster is quickest.
    document = plain([12, 12, 12, 12], 4)
    counts = {}
    for limits in ({}, {"min_clusters": 2}, {"min_clusters": 3, "max_clusters": 3}):
        result = solve_with("scope", {**document, "constraints": limits}, "single")
        assert result.schedule is not None
        counts[tuple(limits)] = len(result.schedule.segments[0].clusters)
    assert counts == {(): 1, ("min_clusters",): 2, ("min_clusters", "max_clusters"): 3}
    impossible = {**document, "constraints": {"min_clusters": 2}}
    assert solve_with("sequential", impossible).status is Status.INFEASIBLE


def test_segments_that_contradict_the_instance_s() -> None:
    document = plain([1, 1, 1], 2, constraints={"fixed_segments": [0, 1]})
    expected = partial(pytest.raises, InputError, match=r"contradicts fixed_segments = \[0, 1\]")
    for segments in ("single", 3, (0, 2)):
        with expected():
            solve_with("scope", document, segments)
    assert (
        solve_with("scope", document, (0, 1)).objective_ps
        == solve_with("scope", document).objective_ps
    )


def test_constraints_a_search_does_not_honour_are_refused() -> None:
    document = plain([1, 1, 1], 2, constraints={"forbidden_merges": [0], "max_clusters": 2})
    with pytest.raises(InputError) as refusal:
        solve_with("scope", document)
    (problem,) = refusal.value.problems  # which other solvers do is not for this test to know
    assert problem.startswith("solver 'scope' does not honour forbidden_merges; ")


# --- Where regions lie ---------------------------------------------------------------------------


@given(document=placed_strategies.placed_instances(), data=st.data())
@settings(max_examples=strategies.share(2))
def test_placed_schedules_are_what_they_claim_to_be(document: Json, data: st.DataObject) -> None:
    """`solve` has the evaluator check latency and rules; the oracle says whether any are broken."""
    solver = data.draw(st.sampled_from(["scope", "sequential", "pipeline", "segmented"]))
    result = solve_with(solver, document, data.draw(st.sampled_from(["balanced", "dp", "single"])))
    if result.schedule is None:
        return
    schedule = json.loads(result.schedule.to_json())
    assert not oracle.violations(document, schedule)
    assert oracle.objective_ps(document, schedule) == result.objective_ps


@given(document=placed_strategies.placed_instances(max_layers=3, max_chiplets=4))
@settings(max_examples=strategies.share(4))
def test_placed_schedules_are_never_faster_than_the_best(document: Json) -> None:
    result = solve_with("scope", document, "dp")
    best = oracle.best(document, "free")
    if result.objective_ps is not None:
        assert best is not None
        assert best[1] <= result.objective_ps
    assert result.bound_ps is None or best is None or result.bound_ps <= best[1]


@pytest.mark.parametrize("name", ["resnet18-16", "resnet50-64"])
def test_more_bandwidth_and_unshared_links_are_never_slower(name: str) -> None:
    """Of one schedule; a search may find another."""
    instance = load(f"{name}-placed")
    result = solve(instance, "scope")
    assert result.schedule is not None
    assert instance.package is not None
    known = evaluate(instance, result.schedule).objective_ps
    assert known is not None
    nop = instance.package.nop
    for changes in ({"bandwidth_bytes_per_s": 2e11}, {"shared_links": False}, {"eta_link": 1.0}):
        package = instance.package.model_copy(update={"nop": nop.model_copy(update=changes)})
        faster = evaluate(instance.model_copy(update={"package": package}), result.schedule)
        assert faster.objective_ps is not None
        assert faster.objective_ps <= known


def test_solvers_that_know_no_places_say_so() -> None:
    with pytest.raises(InputError, match=r"nop.model: solver 'paths' knows regions by their sizes"):
        solve(load("resnet18-16-placed"), "paths")
