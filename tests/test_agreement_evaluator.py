"""The evaluator agrees with the oracle, an independent reading of the problem statement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import helpers
import oracle
import oracle_placed
import placed_strategies
import strategies
from helpers import read, read_schedule
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from scope_opt.cost.build import build_tables
from scope_opt.model.files import InputError
from scope_opt.schedule.evaluate import evaluate_segment

if TYPE_CHECKING:
    from documents import Json

    from scope_opt.schedule.evaluation import Evaluation


EXPLICIT = strategies.table_instances(constraints=True)
PHYSICAL = strategies.physical_instances(
    constraints=True, couplings=True
) | placed_strategies.repaired_instances(constraints=True)
COUPLED = strategies.physical_instances(couplings=True) | placed_strategies.unlimited_instances(
    6, 8, couplings=True
)
PLACED = placed_strategies.placed_instances(constraints=True)


@st.composite
def problems(draw: st.DrawFn, instances: st.SearchStrategy[Json]) -> tuple[Json, Json]:
    """An instance and a schedule for it, half of them structurally sound for certain."""
    instance = draw(instances)
    kinds = [strategies.schedules, strategies.valid_or_not]
    if oracle.is_placed(instance):
        kinds.append(placed_strategies.pipelines)
    return instance, draw(draw(st.sampled_from(kinds))(instance))


def judge(instance: Json, schedule: Json) -> Evaluation:
    try:
        return helpers.judge(instance, schedule)
    except InputError:
        reject()  # some broken schedules (no segments, a negative layer) are not even a document


@settings(max_examples=300, deadline=None)
@given(problems(EXPLICIT) | problems(PHYSICAL) | problems(PLACED))
def test_rules_times_and_energies(problem: tuple[Json, Json]) -> None:
    instance, schedule = problem
    found = judge(instance, schedule)
    codes = oracle.violations(instance, schedule)
    assert sorted({violation.code for violation in found.violations}) == codes
    assert (found.segments == ()) == bool(oracle.STRUCTURAL_CODES & set(codes))
    if not found.segments:
        return

    # All integers, each rounded once from values that agree to float precision: exactly equal.
    layers = [
        (layer.index, layer.preparation_ps, layer.computation_ps, layer.communication_ps)
        for segment in found.segments
        for cluster in segment.clusters
        for layer in cluster.layers
    ]
    assert layers == [
        (layer.layer, layer.pre_ps, layer.compute_ps, layer.comm_ps)
        for layer in oracle.layer_times(instance, schedule)
    ]
    reference = oracle.oracle(instance)
    assert [(segment.beat_ps, segment.power_beat_ps) for segment in found.segments] == [
        (reference.beat_ps(segment), reference.power_ps(segment))
        for segment in oracle.parse(schedule)
    ]
    parsed = oracle.parse(schedule)
    held = [cluster.activation_bytes for s in found.segments for cluster in s.clusters]
    if "tables" not in instance:
        assert held == [
            bytes_ for segment in parsed for bytes_ in reference.activation_bytes(segment)
        ]
    if isinstance(reference, oracle_placed.PlacedOracle):
        for segment, report in zip(parsed, found.segments, strict=True):
            assert report.link_beat_ps == reference.link_beat_ps(segment)
            busiest, link = reference.busiest_links(segment), report.busiest_link
            assert (link is None) == (not busiest)
            assert link is None or (link.source, link.target) in busiest
    latency_ps = sum(segment.latency_ps for segment in found.segments)
    assert latency_ps == oracle.objective_ps(instance, schedule)
    if codes:
        assert (found.objective_ps, found.energy, found.energy_fj) == (None, None, None)
        return
    assert found.objective_ps == latency_ps
    assert found.energy_fj == oracle.energy_fj_total(instance, schedule)
    energy_j = oracle.energy_j(instance, schedule)
    if energy_j is None:
        assert found.energy is None
    else:
        assert found.energy is not None
        for part, value in energy_j.items():
            assert getattr(found.energy, f"{part}_j") == value  # both rounded from exact numbers


@settings(max_examples=150, deadline=None)
@given(problems(EXPLICIT) | problems(PHYSICAL) | problems(PLACED))
def test_segments_alone(problem: tuple[Json, Json]) -> None:
    """As in their schedule, or refused for what is said of them there."""
    document, schedule = problem
    found = judge(document, schedule)
    assume(found.segments)
    instance = read(document)
    segments = read_schedule(instance, schedule).segments
    tables = build_tables(instance)
    for s, (segment, report) in enumerate(zip(segments, found.segments, strict=True)):
        places = {violation.where.split(",")[0] for violation in found.violations}
        expected = None if f"segment {s}" in places else report
        assert evaluate_segment(instance, segment, tables) == expected


@st.composite
def physical_problems(draw: st.DrawFn) -> tuple[Json, Json]:
    instance = draw(COUPLED)
    instance["overflow"] = "stream"  # so that most schedules are valid
    return instance, draw(strategies.schedules(instance))


@settings(max_examples=200, deadline=None)
@given(physical_problems())
def test_placed_latency(problem: tuple[Json, Json]) -> None:
    instance, schedule = problem
    found = judge(instance, schedule)
    assume(found.feasible)
    assert found.placed_latency_ps == oracle.placed_latency_ps(instance, schedule)


@given(problems(EXPLICIT) | problems(PHYSICAL) | problems(PLACED))
def test_no_schedule_exceeds_the_worst_latency(problem: tuple[Json, Json]) -> None:
    document, schedule = problem
    found = judge(document, schedule)
    assume(found.feasible and "power_budget_w" not in document.get("constraints", {}))
    latency_ps = sum(segment.latency_ps for segment in found.segments)
    assert latency_ps <= build_tables(read(document)).worst_latency_ps
