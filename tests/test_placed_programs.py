"""Path programs on placed instances: equal to exhaustive search, shared links included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import oracle
import placed_strategies
import pytest
import strategies
from helpers import read, read_schedule, solve_with
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from formulations.arrays import take
from formulations.placed.costs import PlacedCosts
from formulations.placed.labels import find_arcs, find_labels, find_windows, no_arcs
from formulations.placed.links import Links
from formulations.placed.program import UNITS, PathProgram
from formulations.request import make_request
from scope_opt.cost.build import build_tables
from scope_opt.model.files import InputError
from scope_opt.model.instance import SHAPE
from scope_opt.model.tables import PARTITIONS
from scope_opt.schedule.evaluate import evaluate
from scope_opt.schedule.preflight import reasons
from scope_opt.solving.monitor import Monitor
from scope_opt.solving.program import build_program
from scope_opt.solving.result import Result, Status, StopReason
from scope_opt.solving.solver import SolveOptions

if TYPE_CHECKING:
    from scope_opt.schedule.schedule import Segment

Json = dict[str, Any]

INSTANCES = Path(__file__).parents[1] / "instances"
TINY = sorted((INSTANCES / "tiny-placed").glob("*.json"))
SOLVERS = ["interval-milp", "cp-sat"]


def within_reach(document: Json) -> Json:
    """The instance without the side constraints that path programs have no rows for."""
    present = document.get("constraints", {})
    return {**document, "constraints": {k: v for k, v in present.items() if k in SHAPE}}


def with_nop(document: Json, **keys: Any) -> Json:
    nop = {**document["package"]["nop"], **keys}
    return {**document, "package": {**document["package"], "nop": nop}}


def alike(layers: int, channels: int, side: int, kernel: int) -> Json:
    """Equal layers in a row, so that no cluster is much slower than the others."""
    outputs = channels * side * side
    layer = {
        **{"in_channels": channels, "out_channels": channels, "stride": 1, "groups": 1},
        **{"input_height": side, "input_width": side, "output_height": side, "output_width": side},
        **{"kernel_height": kernel, "kernel_width": kernel},
        "weight_bytes": channels * channels * kernel * kernel,
        **{"input_bytes": outputs, "output_bytes": outputs},
    }
    edges = [{"from": v - 1, "to": v, "bytes": outputs} for v in range(1, layers)]
    if layers > 2:
        edges.insert(1, {"from": 0, "to": 2, "bytes": outputs})
    names = [f"l{index}" for index in range(layers)]
    return {"name": "alike", "layers": [{"name": n, **layer} for n in names], "edges": edges}


@st.composite
def crowded(draw: st.DrawFn) -> Json:
    """Instances in which what transfers share decides.

    Several clusters, whose chiplets lie in each other's way, on slow links; weights and activations
    seldom matter.
    """
    document: Json = draw(placed_strategies.placed_instances(max_layers=4, max_chiplets=6))
    package = {k: v for k, v in document["package"].items() if k != "activation_buffer_bytes"}
    rows, cols = draw(st.sampled_from([(1, 4), (1, 5), (2, 3), (2, 2)]))
    package["mesh_rows"], package["mesh_cols"] = rows, cols
    places = [[y, x] for y in range(rows) for x in range(cols)]
    package["order"] = draw(st.permutations(places))
    package["chiplet"] = {**package["chiplet"], "weight_buffer_bytes": 1 << 20}
    document = {**document, "package": package}
    if draw(st.sampled_from([True, True, False])):
        shape = (draw(st.sampled_from(some)) for some in ([4, 3], [8, 32], [4, 8], [1, 3]))
        document["network"] = alike(*shape)
    most = min(len(places), len(document["network"]["layers"]))
    document["constraints"] = {"min_clusters": draw(st.sampled_from([most, most - 1, 1])) or 1}
    speed = draw(st.sampled_from([1e6, 1e7, 1e8, 4e8]))
    return with_nop(document, bandwidth_bytes_per_s=speed, shared_links=True)


def check(document: Json, result: Result, segments: str = "free") -> None:
    """Proved, and as good as the best of all schedules."""
    assert result.stop_reason is StopReason.COMPLETED
    best = oracle.best(document, segments)
    if best is None:
        assert result.status is Status.INFEASIBLE
        assert result.explanation
        return
    assert result.objective_ps == best[1]
    assert result.status is Status.OPTIMAL


@pytest.mark.parametrize("solver", SOLVERS)
@settings(max_examples=strategies.share(2))
@given(document=placed_strategies.placed_instances(4, 4, constraints=True))
def test_equals_exhaustive_search(solver: str, document: Json) -> None:
    document = within_reach(document)
    check(document, solve_with(solver, document))


@pytest.mark.parametrize("solver", SOLVERS)
@settings(max_examples=strategies.share(2))
@given(document=crowded())
def test_equals_exhaustive_search_where_links_are_slow(solver: str, document: Json) -> None:
    document = within_reach(document)
    result = solve_with(solver, document, "single")
    check(document, result, "single")
    without = oracle.best(with_nop(document, shared_links=False), "single")
    if without is not None:
        event(f"links decide: {without[1] < (result.objective_ps or 0)}")
        event(f"programs: {result.proof is not None and result.proof.programs > 0}")


@pytest.mark.parametrize("path", TINY, ids=lambda path: path.stem)
def test_shipped_tiny_instances(path: Path) -> None:
    document = within_reach(json.loads(path.read_text()))
    results = [solve_with(solver, document) for solver in SOLVERS]
    for result in results:
        check(document, result)


# --- What exact hands on -------------------------------------------------------------------------


@settings(max_examples=strategies.share(2))
@given(crowded())
def test_programs_close_what_exact_leaves_open(document: Json) -> None:
    document = within_reach(document)
    alone = solve_with("exact", document, "single", programs=False)
    continued = solve_with("exact", document, "single")
    check(document, continued, "single")
    assert alone.options["programs"] is False
    assert "programs" not in continued.options
    assert alone.proof is None or alone.proof.programs == 0
    if alone.status is Status.FEASIBLE:
        event("exact left a gap")
        assert "links" in alone.explanation[0]
        assert continued.proof is not None
        assert "recursion" in continued.proof.by
    else:
        assert (continued.status, continued.bound_ps) == (alone.status, alone.bound_ps)


def test_programs_prove_a_shipped_instance_whose_links_bind() -> None:
    """ResNet-18 on 256 chiplets in the best cut: as `exact`, but with rows for its links."""
    path = INSTANCES / "placed" / "resnet18-256-placed.json"
    document = json.loads(path.read_text())
    known = solve_with("exact", document)
    assert (known.status, known.objective_ps) == (Status.OPTIMAL, 944_765_340)
    assert known.schedule is not None
    cut = tuple(segment.first_layer for segment in known.schedule.segments)
    found = solve_with("interval-milp", document, cut)
    assert (found.status, found.objective_ps) == (Status.OPTIMAL, 944_765_340)
    assert found.proof is not None
    assert (found.proof.library, found.proof.programs > 0) == ("highs", True)


# --- The program is a relaxation -----------------------------------------------------------------


@st.composite
def scheduled(draw: st.DrawFn) -> tuple[Json, Json]:
    document = draw(crowded())
    document = {**document, "constraints": {}}
    return document, draw(placed_strategies.pipelines(document))


def find_path(program: PathProgram, segment: Segment) -> list[list[int]]:
    """Arcs of each cluster of a schedule, those of its choices of partitions once it is split."""
    found, s, clusters = [], 0, segment.clusters
    for cluster, after in zip(clusters, [*clusters[1:], None], strict=True):
        opening, closing = (PARTITIONS.index(cluster.partitions[k]) for k in (0, -1))
        size, then = 0, 0
        if after is not None:
            size, then = after.chiplets, PARTITIONS.index(after.partitions[0])
        wanted = [cluster.first_layer, s, cluster.chiplets, opening]
        wanted += [cluster.last_layer, closing, size, then]
        numbers = np.stack(program.arcs[:-1], axis=1)
        same = (numbers == wanted).all(axis=1) & program.live
        found.append(np.flatnonzero(same).tolist())
        s += cluster.chiplets
    return found


@given(scheduled())
def test_no_schedule_within_the_beat_is_cut_off(drawn: tuple[Json, Json]) -> None:
    document, plan = drawn
    instance = read(document)
    tables = build_tables(instance)
    assume(not reasons(instance, tables))
    schedule = read_schedule(instance, plan)
    evaluation = evaluate(instance, schedule, tables)
    assume(evaluation.feasible)
    report, segment = evaluation.segments[0], schedule.segments[0]
    last, count = segment.last_layer, len(segment.clusters)
    assume(last > 0 or segment.clusters[0].chiplets < instance.chiplets)
    assert tables.placed is not None
    request = make_request("test", instance, tables, SolveOptions("single"), Monitor())
    costs = PlacedCosts(request).segment(0, last)
    windows = find_windows(costs, report.beat_ps, count)
    assert windows.clusters <= count
    labels = find_labels(costs, windows, report.beat_ps, count)
    assert labels[0, 0].min() <= count
    arcs = no_arcs(10**5)
    number = find_arcs(costs, windows, report.beat_ps, count, labels, arcs)
    assert number <= arcs.number
    arcs = take(arcs, np.arange(number))
    links = Links(tables.placed)
    program = PathProgram(costs, links, arcs, (1, count), report.beat_ps, 1)
    path = find_path(program, segment)
    assert [len(some) for some in path] == [1] * count
    used = np.zeros(number)
    used[[some[0] for some in path]] = 1
    assert program.separate(used) == 0
    # Split, the clusters' choices have the schedule's own partitions among them, or better ones.
    program.split([some[0] for some in path])
    choices = find_path(program, segment)
    assert all(choices)
    every = np.arange(program.arcs.number)
    units = np.floor(program._loads(slice(None), every) / program._capacity * UNITS)
    assert sum(units[:, some].min(axis=1) for some in choices).max() <= UNITS


# --- What is refused -----------------------------------------------------------------------------


def test_what_programs_have_no_rows_for_is_refused() -> None:
    document = json.loads((INSTANCES / "placed" / "resnet18-16-placed.json").read_text())
    for solver, encoding in (("interval-milp", "beats"), ("cp-sat", "columns")):
        with pytest.raises(InputError, match="encoding: found"):
            solve_with(solver, document, encoding=encoding)
        limited = {**document, "constraints": {"power_budget_w": 100.0}}
        with pytest.raises(InputError, match=r"power_budget_w: .*allowed there are fixed_part"):
            solve_with(solver, limited)
        with pytest.raises(InputError, match="found 'placed'"):
            build_program(read(document), solver)
    with pytest.raises(InputError, match=r"compact-milp.*sizes only"):
        solve_with("compact-milp", document)
