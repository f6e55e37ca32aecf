"""Bounds on segments of placed instances that count no positions: never above any schedule."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import oracle
import placed_strategies
import pytest
from documents import INSTANCES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scope_opt.cost.build import build_tables
from scope_opt.model.instance import Instance
from scope_opt.schedule.bounds import segment_bounds
from scope_opt.search.exact.places import sizes
from scope_opt.search.exact.places.bounds import PricedBounds
from scope_opt.search.exact.places.judge import Judge
from scope_opt.search.exact.places.sizes import make_classes
from scope_opt.search.exact.solver import ExactSolver
from scope_opt.search.packed import pack_tables
from scope_opt.search.stopping import SearchStopped
from scope_opt.solving.monitor import Monitor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scope_opt.model.tables import LatencyTables

Json = dict[str, Any]

ALEXNET = INSTANCES / "placed" / "alexnet-16-placed.json"
SMALL = placed_strategies.placed_instances(max_layers=4, max_chiplets=4, constraints=True)


def within_reach(document: Json) -> Json:
    """Without links and the side constraints that the exact solver refuses."""
    present = document.get("constraints", {})
    honoured = {k: v for k, v in present.items() if k in ExactSolver.constraints}
    nop = {**document["package"]["nop"], "shared_links": False}
    package = {**document["package"], "nop": nop}
    return {**document, "constraints": honoured, "package": package}


def schedules(document: Json) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Latency and number of clusters of all schedules of every segment that has any.

    One layer on the whole package has rules of its own and is none of these.
    """
    judge = oracle.oracle(document)
    found: dict[tuple[int, int], list[tuple[int, int]]] = {}
    merged = document["constraints"].get("required_merges", [])
    for first in range(judge.n_layers):
        for last in range(first, judge.n_layers):
            if first - 1 in merged or last in merged:
                continue
            for segment in oracle.enumerate_segments(first, last, judge.chiplets):
                whole = first == last and segment[0].chiplets == judge.chiplets
                if not whole and not judge.segment_codes(segment):
                    latency = judge.segment_ps(segment)
                    found.setdefault((first, last), []).append((latency, len(segment)))
    return found


def read(document: Json) -> tuple[Instance, LatencyTables]:
    instance = Instance.from_json(json.dumps(document), "test")
    return instance, build_tables(instance)


def make_bounds(document: Json, monitor: Monitor) -> tuple[PricedBounds, NDArray[np.int64]]:
    """The bounds of an instance, and its least beats."""
    instance, tables = read(document)
    solver = ExactSolver()
    space, counts = solver.allowed(instance, tables), solver.cluster_counts(instance, tables)
    beats = (segment_bounds(tables) - tables.load_ps) // tables.samples
    return PricedBounds(tables, space, counts, monitor), beats


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SMALL, st.booleans(), st.booleans(), st.sampled_from([0.03, 0.3, 3.0]), st.data())
def test_no_schedule_is_below(
    monkeypatch: pytest.MonkeyPatch,
    document: Json,
    joined: bool,
    by_phase: bool,
    step: float,
    data: st.DataObject,
) -> None:
    """With every size a class of its own, and with classes of several sizes."""
    document = within_reach(document)
    monkeypatch.setattr(sizes, "SINGLE", 1 if joined else 64)
    monkeypatch.setattr(sizes, "GROWTH", 2.0 if joined else 1.06)
    bounds, beats = make_bounds(document, Monitor())
    _, tables = read(document)
    found = schedules(document)
    best = {ends: min(each)[0] for ends, each in found.items()}
    layers = len(beats)
    factor = data.draw(st.sampled_from([1, 1.1, 3]))
    budgets = np.zeros((layers, layers), dtype=np.int64)
    for ends, latency in best.items():
        budgets[ends] = int(latency * factor) + 1
    lower = np.zeros((layers, layers), dtype=np.int64)
    lasts = data.draw(st.integers(1, layers)) if bounds.any_clusters else 1
    for last in range(layers - 1, -1, -lasts):
        until = min(layers, last + lasts) - 1
        bounds.sharpen_all(lower, budgets, beats, step, last, until)
    assert all(lower[ends] <= latency for ends, latency in best.items())
    # Segments that begin behind the layers that others end with are left out.
    reached = [-(-(layers - 1 - last) // lasts) * lasts for last in range(layers)]
    assert all(lower[ends] > 0 for ends in best if ends[0] <= layers - 1 - reached[ends[1]])
    for ends, latency in best.items():
        told: list[int] = []
        known = bounds.sharpen(
            *ends, int(budgets[ends]), int(beats[ends]), told.append, by_phase=by_phase
        )
        assert told == sorted(told)
        assert 0 < told[-1] <= latency
        load = int(tables.load_ps[ends])
        for beat, fewest in known:
            within = [
                k for each, k in found[ends] if each <= load + (tables.samples + k - 1) * beat
            ]
            assert min(within, default=fewest) >= fewest


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SMALL, st.booleans())
def test_schedules_that_labels_lead_to_are_judged_rightly(
    monkeypatch: pytest.MonkeyPatch, document: Json, joined: bool
) -> None:
    """Those allowed are schedules, at their latency; with a class for every size all are allowed.

    Not where a layer is WSP whenever that fits, which labels with prices do not know of.
    """
    document = within_reach(document)
    monkeypatch.setattr(sizes, "SINGLE", 1 if joined else 64)
    monkeypatch.setattr(sizes, "GROWTH", 2.0 if joined else 1.06)
    bounds, beats = make_bounds(document, Monitor())
    instance, tables = read(document)
    judge = Judge(tables, pack_tables(tables).places)
    space = ExactSolver().allowed(instance, tables)
    for ends, each in schedules(document).items():
        budget = 2 * min(each)[0]
        known = bounds.sharpen(*ends, budget, int(beats[ends]), lambda _: None, by_phase=True)
        for clusters, partition in bounds.schedules(*ends, known):
            if clusters[0][2] == tables.chiplets and ends[0] == ends[1]:
                continue
            allowed = judge.allows(clusters, partition, space)
            assert allowed or joined
            if allowed:
                assert (judge.judge(clusters, partition).cost, len(clusters)) in each


def test_labels_lead_near_the_best_schedule() -> None:
    document = json.loads(ALEXNET.read_text())
    bounds, beats = make_bounds(document, Monitor())
    _, tables = read(document)
    judge, ends = Judge(tables, pack_tables(tables).places), (1, 4)
    told: list[int] = []
    known = bounds.sharpen(*ends, 10**12, int(beats[ends]), told.append, by_phase=True)
    costs = [judge.judge(*each).cost for each in bounds.schedules(*ends, known)]
    assert told[-1] <= min(costs) < 1.05 * told[-1]


@given(SMALL)
def test_classes_of_one_size_have_the_counts_of_regions(document: Json) -> None:
    """Shares of scatters are then those of the busiest link, at every phase."""
    _, tables = read(within_reach(document))
    placed, chiplets = tables.placed, tables.chiplets
    assert placed is not None
    placed.halos()
    classes = make_classes(pack_tables(tables).places, chiplets)
    assert classes.low.tolist() == classes.high.tolist() == list(range(1, chiplets + 1))
    for start in range(chiplets):
        for size in range(1, chiplets - start):
            for following in range(1, chiplets - start - size + 1):
                share = placed.scatter_count(start, size, following) / (size * following)
                found = classes.scatter[placed.phase[start], size - 1, following - 1]
                assert found == share
                assert classes.scatter[-1, size - 1, following - 1] <= share


def test_classes_cost_no_more_than_their_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever sizes share a class, on a package where regions turn corners."""
    document = json.loads(ALEXNET.read_text())
    _, tables = read(document)
    placed, chiplets = tables.placed, tables.chiplets
    assert placed is not None
    placed.halos()
    monkeypatch.setattr(sizes, "SINGLE", 2)
    monkeypatch.setattr(sizes, "GROWTH", 1.6)
    classes = make_classes(pack_tables(tables).places, chiplets)
    assert (classes.high > classes.low).any()
    of = np.searchsorted(classes.low, np.arange(chiplets + 1), side="right") - 1
    for start in range(chiplets):
        phase = placed.phase[start]
        for size in range(1, chiplets - start + 1):
            c = of[size]
            assert classes.gather[phase, c] <= placed.gather[phase, size] / size
            assert classes.exchange[phase, c] <= placed.exchange[phase, size] / size**2
            assert (classes.halo[:, phase, c] <= placed.halo_bytes[:, phase, size]).all()
            for following in range(1, chiplets - start - size + 1):
                share = placed.scatter_count(start, size, following) / (size * following)
                assert classes.scatter[phase, c, of[following]] <= share


class Stopped(Monitor):
    """Asks to stop from the start."""

    @property
    def stopping(self) -> bool:
        return True


def test_stops_when_told() -> None:
    document = json.loads(ALEXNET.read_text())
    with pytest.raises(SearchStopped):
        make_bounds(document, Stopped())
