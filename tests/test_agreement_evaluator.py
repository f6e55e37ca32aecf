"""The evaluator agrees with the oracle, an independent reading of the problem statement."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import helpers
import oracle
import strategies
from helpers import read, read_schedule
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from scope_opt.model.cost import build_tables
from scope_opt.model.files import InputError
from scope_opt.schedule.evaluate import Evaluation, evaluate_segment

if TYPE_CHECKING:
    from fractions import Fraction

    from documents import Json


EXPLICIT = strategies.table_instances(constraints=True)
PHYSICAL = strategies.physical_instances(constraints=True, couplings=True)


@st.composite
def problems(draw: st.DrawFn, instances: st.SearchStrategy[Json]) -> tuple[Json, Json]:
    """An instance and a schedule for it, half of them structurally sound for certain."""
    instance = draw(instances)
    kind = draw(st.sampled_from([strategies.schedules, strategies.valid_or_not]))
    return instance, draw(kind(instance))


def judge(instance: Json, schedule: Json) -> Evaluation:
    try:
        return helpers.judge(instance, schedule)
    except InputError:
        reject()  # some broken schedules (no segments, a negative layer) are not even a document


@settings(max_examples=300, deadline=None)
@given(problems(EXPLICIT) | problems(PHYSICAL))
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
@given(problems(EXPLICIT) | problems(PHYSICAL))
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


class Placed(oracle.PhysicalTimes):
    """The oracle's times with every transfer's routes counted where the regions of a segment lie.

    A layer determines its region and the next one, so the region sizes it is asked for are ignored.
    """

    def __init__(self, instance: Json, segment: oracle.Segment) -> None:
        super().__init__(instance["network"], instance["package"])
        self.run: dict[int, range] = {}
        position = 0
        for cluster in segment:
            for layer in range(cluster.first, cluster.last + 1):
                self.run[layer] = range(position, position + cluster.chiplets)
            position += cluster.chiplets

    def all_gather_s(self, volume: int, layer: int) -> Fraction:
        run = self.run[layer]
        peak = oracle.busiest_link(self.cols, oracle.pairs_within(run.start, len(run)))
        return volume * self.eta_within * peak / (len(run) * self.port)

    def scatter_s(self, volume: int, layer: int, target: int) -> Fraction:
        pairs = [(i, j) for i in self.run[layer] for j in self.run[target]]
        peak = oracle.busiest_link(self.cols, pairs)
        return volume * self.eta_between * peak / (len(pairs) * self.port)

    def gather_ps(self, layer: int, r: int) -> int:
        return math.ceil(self.all_gather_s(self.weights[layer], layer) * 10**12)

    def within_ps(self, layer: int, partition: str, following: str, r: int) -> int:
        if following == oracle.WSP and partition == oracle.WSP:
            return int(super().within_ps(layer, partition, following, r))
        seconds = self.all_gather_s(self.chain[layer], layer)
        if following == oracle.WSP and self.chain[layer] > 0:
            seconds = seconds / r + self.halo_s(self.halo_bytes(layer + 1, r), r)
        return math.ceil(seconds * 10**12)

    def send_ps(self, layer: int, r: int) -> int:
        return 0  # sending and receiving are one transfer

    def receive_ps(self, layer: int, following: str, r_next: int) -> int:
        seconds = self.scatter_s(self.chain[layer], layer, layer + 1)
        if following == oracle.ISP:
            seconds += self.all_gather_s(self.chain[layer], layer + 1)
        return math.ceil(seconds * 10**12)

    def skip_send_ps(self, edge: int, r: int) -> int:
        seconds = self.scatter_s(self.skip_bytes[edge], *self.skips[edge])
        return math.ceil(seconds * 10**12)


def placed_latency_ps(instance: Json, schedule: Json) -> int:
    total = 0
    for segment in oracle.parse(schedule):
        placed = oracle.Oracle(instance)
        placed.times = Placed(instance, segment)
        total += placed.segment_ps(segment)
    return total


@st.composite
def physical_problems(draw: st.DrawFn) -> tuple[Json, Json]:
    instance = draw(strategies.physical_instances(couplings=True))
    instance["overflow"] = "stream"  # so that most schedules are valid
    return instance, draw(strategies.schedules(instance))


@settings(max_examples=200, deadline=None)
@given(physical_problems())
def test_placed_latency(problem: tuple[Json, Json]) -> None:
    instance, schedule = problem
    found = judge(instance, schedule)
    assume(found.feasible)
    assert found.placed_latency_ps == placed_latency_ps(instance, schedule)
    # A run of all chiplets lies in one place only: there the tables' means are exact.
    whole = instance["package"]["mesh_rows"] * instance["package"]["mesh_cols"]
    if all(segment.clusters[0].chiplets == whole for segment in found.segments):
        assert found.placed_latency_ps == found.objective_ps
