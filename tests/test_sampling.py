"""Uniform samples of one-segment schedules, all or valid: numbers, evaluation, confidence."""

from __future__ import annotations

import json
import math

import numpy as np
import oracle
import placed_strategies
import pytest
import strategies
from documents import Json, keep_constraints
from helpers import read
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from scope_opt.cost.build import build_tables
from scope_opt.model.files import InputError
from scope_opt.model.generate import paper_instance
from scope_opt.model.instance import SHAPE, Constraints, Instance
from scope_opt.schedule.count import space_size
from scope_opt.schedule.evaluate import evaluate
from scope_opt.schedule.schedule import InstanceReference, Schedule
from scope_opt.search.census.distribution import distribution
from scope_opt.search.census.sampling import Sample, Sampler, sample, schedule_at, share_at_most
from scope_opt.search.census.valid_sampling import ValidSampler, countable
from scope_opt.search.packed import NEVER
from scope_opt.search.stopping import SearchStopped
from scope_opt.solving.monitor import Monitor

ANY = strategies.table_instances(6, 8, constraints=True) | strategies.physical_instances(
    6, 8, constraints=True
)
PLACED = placed_strategies.placed_instances(
    6, 8, constraints=True
) | placed_strategies.limited_instances(6, 8)


def shaped(document: Json) -> Instance:
    """The instance, without the constraints that concern more than the shape of one segment."""
    return read(keep_constraints(document, SHAPE - {"fixed_segments"}))


def segments(schedule: Json) -> str:
    return json.dumps(schedule["segments"], sort_keys=True)


# --- Numbers and schedules -----------------------------------------------------------------------


@pytest.mark.parametrize("layers", [1, 2, 3, 5])
@pytest.mark.parametrize("chiplets", [1, 2, 4, 6])
def test_every_schedule_has_one_number(layers: int, chiplets: int) -> None:
    size = space_size(layers, chiplets)
    numbered = {
        segments({"segments": [json.loads(schedule_at(k, layers, chiplets).to_json())]})
        for k in range(size)
    }
    listed = {segments(s) for s in oracle.enumerate_schedules(layers, chiplets, idle=False)}
    assert len(numbered) == size
    assert numbered == listed


def by_hand(number: int, layers: int, chiplets: int) -> list[tuple[int, int, int, str]]:
    """Clusters ``(first, last, chiplets, partitions)``, with Python's integers."""
    partitions = "".join("IW"[number >> layer & 1] for layer in range(layers))
    rest, gaps = number >> layers, layers + chiplets - 2
    marks: list[bool] = []
    for _ in range(gaps):
        left = gaps - len(marks) - 1
        wanted = layers - 1 - sum(marks)
        marking = math.comb(left, wanted - 1) if wanted else 0
        marks.append(rest < marking)
        rest -= 0 if marks[-1] else marking
    assert rest == 0
    starts = [0, *(gap + 1 for gap in range(layers - 1) if not marks[gap]), layers]
    cuts = [0, *(gap + 1 for gap in range(chiplets - 1) if marks[layers - 1 + gap]), chiplets]
    assert len(starts) == len(cuts)
    return [
        (a, b - 1, d - c, partitions[a:b])
        for a, b, c, d in zip(starts, starts[1:], cuts, cuts[1:], strict=False)
    ]


@given(st.integers(1, 70), st.integers(1, 70), st.data())
def test_numbers_of_many_digits(layers: int, chiplets: int, data: st.DataObject) -> None:
    size = space_size(layers, chiplets)
    number = data.draw(st.integers(0, size - 1) | st.sampled_from([0, size - 1, size // 2]))
    segment = schedule_at(number, layers, chiplets)
    assert [
        (c.first_layer, c.last_layer, c.chiplets, "".join(p[0] for p in c.partitions))
        for c in segment.clusters
    ] == by_hand(number, layers, chiplets)


@pytest.mark.parametrize("number", [-1, 80])
def test_other_numbers_are_refused(number: int) -> None:
    with pytest.raises(ValueError, match="below 80"):
        schedule_at(number, 3, 4)


# --- Evaluation ----------------------------------------------------------------------------------


@given(ANY | PLACED, st.data())
def test_latencies_are_those_of_the_evaluator(document: Json, data: st.DataObject) -> None:
    instance = shaped(document)
    tables = build_tables(instance)
    sampler = Sampler(instance, tables)
    numbers = data.draw(st.lists(st.integers(0, sampler.size - 1), min_size=1, max_size=20))
    reference = InstanceReference.to(instance)
    for number, latency in zip(numbers, sampler.latencies(numbers).tolist(), strict=True):
        segment = schedule_at(number, tables.layers, tables.chiplets)
        schedule = Schedule(instance=reference, segments=(segment,))
        evaluation = evaluate(instance, schedule, tables)
        assert (latency if latency < NEVER else None) == evaluation.objective_ps


def test_valid_schedules_of_a_large_instance_agree() -> None:
    instance = paper_instance("resnet18", 64)
    tables = build_tables(instance)
    sampler = Sampler(instance, tables)
    numbers = [(sampler.size // 4001) * k for k in range(4001)]
    latencies = sampler.latencies(numbers).tolist()
    valid = [k for k, latency in enumerate(latencies) if latency < NEVER]
    assert len(valid) > 10
    for k in [*valid[:10], *range(10)]:
        segment = schedule_at(numbers[k], tables.layers, tables.chiplets)
        schedule = Schedule(instance=InstanceReference.to(instance), segments=(segment,))
        objective = evaluate(instance, schedule, tables).objective_ps
        assert objective == (latencies[k] if latencies[k] < NEVER else None)


@settings(max_examples=strategies.share(4))
@given(
    strategies.table_instances(4, 5)
    | strategies.physical_instances(4, 5)
    | placed_strategies.placed_instances(4, 5)
)
def test_all_numbers_give_the_distribution(document: Json) -> None:
    instance = shaped(document)
    tables = build_tables(instance)
    sampler = Sampler(instance, tables)
    latencies = sorted(sampler.latencies(range(sampler.size)).tolist())
    valid = [latency for latency in latencies if latency < NEVER]
    asked = valid[len(valid) // 3] if valid else 1
    found = distribution(instance, tables, rank_of=[asked])
    assert (found.schedules, found.valid) == (sampler.size, len(valid))
    assert found.minimum_ps == (valid[0] if valid else None)
    better = sum(latency < asked for latency in valid)
    assert (found.ranks[0].better, found.ranks[0].equal) == (better, valid.count(asked))


# --- Sampling ------------------------------------------------------------------------------------


@pytest.mark.parametrize("overflow", ["forbid", "stream"])
@pytest.mark.parametrize("name", ["chain", "skips"])
def test_samples_agree_with_the_enumeration(name: str, overflow: str) -> None:
    """Within 99.99 % confidence on either side, for ranks from the very best to the worst."""
    instance = small(name, overflow)
    tables = build_tables(instance)
    bins = distribution(instance, tables)
    asked = [bins.quantile_ps(share) or 1 for share in (0, 0.001, 0.01, 0.1, 0.5, 1)]
    exact = distribution(instance, tables, rank_of=asked)
    assert exact.valid > 1000
    for latency, rank in zip(asked, exact.ranks, strict=True):
        found = sample(instance, tables, latency, 20_000, seed=1)
        valid = ValidSampler(instance, tables).sample(latency, 20_000, seed=1)
        assert found.drawn == valid.drawn == valid.valid == 20_000
        for hits, draws, share in (
            (found.valid, found.drawn, exact.valid / exact.schedules),
            (found.better, found.drawn, rank.better / exact.schedules),
            (found.equal, found.drawn, rank.equal / exact.schedules),
            (found.better, found.valid, rank.better / exact.valid),
            (valid.better, valid.drawn, rank.better / exact.valid),
            (valid.equal, valid.drawn, rank.equal / exact.valid),
        ):
            high = share_at_most(hits, draws, 0.9999)
            low = share_at_most(draws - hits, draws, 0.9999)
            assert low is not None
            assert high is not None
            assert 1 - low <= share <= high


def small(name: str, overflow: str) -> Instance:
    """Six layers on 8 chiplets with weights that fit only well distributed."""
    sizes = [90, 20, 150, 60, 40, 110]
    layers = []
    for index, size in enumerate(sizes):
        isp = [1000 * (index + 2) // r + 40 * r for r in range(1, 9)]
        wsp = [900 * (index + 2) // r + 70 * r for r in range(1, 9)]
        receive = {"ISP": [30 + r for r in range(8)], "WSP": [50 - r for r in range(8)]}
        layers.append(
            {
                "name": f"l{index}",
                "weight_bytes": size,
                "compute_ps": {"ISP": isp, "WSP": wsp},
                "gather_ps": [5 * size] * 8,
                "send_ps": [200 // r for r in range(1, 9)],
                "receive_ps": receive,
            }
        )
    edges = [{"from": 0, "to": 3, "send_ps": [400] * 8, "write_ps": 9, "read_ps": 9}]
    tables = {
        "chiplets": 8,
        "weight_buffer_bytes": 100,
        "layers": layers,
        "edges": edges if name == "skips" else [],
        "stream_fs_per_byte": [3000] * 8,
        "dram_latency_ps": 77,
    }
    document = {"format": "scope-instance/1", "name": name, "samples": 9, "overflow": overflow}
    return shaped({**document, "tables": tables})


def test_equal_seeds_give_equal_samples() -> None:
    instance = small("skips", "stream")
    tables = build_tables(instance)
    latency = distribution(instance, tables).quantile_ps(0.2) or 0
    valid = ValidSampler(instance, tables)
    assert valid.sample(latency, 3000, seed=5) == valid.sample(latency, 3000, seed=5)
    assert valid.sample(latency, 3000, seed=5) != valid.sample(latency, 3000, seed=6)
    first = sample(instance, tables, latency, 3000, seed=5)
    assert first != sample(instance, tables, latency, 3000, seed=6)
    assert first == sample(instance, tables, latency, 3000, seed=5, at_once=1000)


def test_a_stopped_sample_counts_what_it_drew() -> None:
    instance = small("skips", "stream")
    tables = build_tables(instance)

    def stop(monitor: Monitor) -> None:
        monitor.interrupted = monitor.done >= 0.3

    monitor = Monitor(on_progress=stop)
    found = sample(instance, tables, 10**9, 1000, monitor=monitor, at_once=100)
    assert found == sample(instance, tables, 10**9, 300)
    with pytest.raises(SearchStopped):
        sample(instance, tables, 10**9, 1000, monitor=Monitor(time_limit_s=0))


@pytest.mark.parametrize(
    "constraints", [{"energy_budget_j": 1.0}, {"power_budget_w": 9.0}, {"fixed_segments": [0, 1]}]
)
def test_other_constraints_are_refused(constraints: Json) -> None:
    instance = paper_instance("alexnet", 16)
    limits = instance.constraints.model_validate_json(json.dumps(constraints))
    limited = instance.model_copy(update={"constraints": limits})
    tables = build_tables(limited)
    for refused in (
        lambda: sample(limited, tables, 1, 10),
        lambda: ValidSampler(limited, tables),
        lambda: distribution(limited, tables),
    ):
        with pytest.raises(InputError, match="not supported for the schedules of one segment"):
            refused()


# --- Valid schedules only ------------------------------------------------------------------------


@given(ANY | PLACED)
def test_valid_schedules_are_counted_and_drawn(document: Json) -> None:
    instance = shaped(document)
    tables = build_tables(instance)
    sampler, every = ValidSampler(instance, tables), distribution(instance, tables)
    assert sampler.number == every.valid
    found = sampler.sample(every.minimum_ps or 0, 50)
    if every.valid == 0:
        assert found == Sample(drawn=0, valid=0, better=0, equal=0)
    else:
        assert found.drawn == found.valid == 50
        assert found.better == 0


@pytest.mark.parametrize(
    "constraints",
    [
        {},
        {"min_clusters": 2, "max_clusters": 3},
        {"max_clusters": 2, "fixed_partitions": [{"layer": 1, "partition": "WSP"}]},
        {"forbidden_merges": [1], "required_merges": [2], "max_region": 5},
    ],
)
@pytest.mark.parametrize("overflow", ["forbid", "stream"])
def test_valid_schedules_are_drawn_uniformly(overflow: str, constraints: Json) -> None:
    """Chi-squared test of how often each latency occurs, against how many schedules have it."""
    document = json.loads(small("skips", overflow).to_json())
    document["tables"]["weight_buffer_bytes"] = 150
    instance = shaped({**document, "constraints": constraints})
    tables = build_tables(instance)
    every = Sampler(instance, tables)
    latencies = every.latencies(range(every.size))
    values, counts = np.unique(latencies[latencies < NEVER], return_counts=True)
    assert len(values) > 50
    sampler = ValidSampler(instance, tables)
    assert sampler.number == counts.sum()
    draws = 200_000
    drawn, seen = np.unique(sampler.latencies(draws, np.random.default_rng(2)), return_counts=True)
    assert np.isin(drawn, values).all()
    observed = np.zeros(len(values))
    observed[np.searchsorted(values, drawn)] = seen
    # Neighbouring latencies together, so that each cell expects enough draws.
    expected = draws * counts / counts.sum()
    cells = (np.cumsum(expected) // 50).astype(int)
    sums = [np.bincount(cells, weights) for weights in (observed, expected)]
    filled = sums[1] > 0
    assert chisquare(sums[0][filled], sums[1][filled]).pvalue > 1e-3


def test_spaces_that_floats_cannot_count() -> None:
    assert countable(Constraints(), 156, 256)
    assert countable(Constraints(max_clusters=8), 54, 64)
    assert not countable(Constraints(), 700, 300)  # about 10^470 schedules
    assert not countable(Constraints(max_clusters=140), 156, 256)  # takes too long


# --- Confidence ----------------------------------------------------------------------------------


def binomial(draws: int, hits: int, share: float) -> float:
    return math.comb(draws, hits) * share**hits * (1 - share) ** (draws - hits)


def test_bounds_by_hand() -> None:
    # Without a hit the bound solves (1 - p)^n = 1 - confidence; three over n is the usual estimate.
    assert share_at_most(0, 1000, 0.95) == pytest.approx(1 - 0.05**0.001)
    assert share_at_most(0, 10**6, 0.95) == pytest.approx(3e-6, rel=2e-3)
    assert share_at_most(7, 7, 0.95) == 1
    assert share_at_most(0, 0, 0.95) is None
    for confidence in (0, 1):
        with pytest.raises(ValueError, match="between 0 and 1"):
            share_at_most(0, 1, confidence)


@given(st.integers(1, 60), st.data())
def test_bounds_are_those_of_the_binomial(draws: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, draws - 1))
    confidence = data.draw(st.floats(0.5, 0.999))
    bound = share_at_most(hits, draws, confidence)
    assert bound is not None
    below = sum(binomial(draws, k, bound) for k in range(hits + 1))
    assert below == pytest.approx(1 - confidence, rel=1e-6)
    more = share_at_most(hits + 1, draws, confidence)
    assert more is not None
    assert hits / draws < bound < more


@pytest.mark.parametrize("draws", [1, 5, 30])
def test_bounds_hold_as_often_as_they_say(draws: int) -> None:
    for percent in range(1, 100):
        share = percent / 100
        missed = sum(
            binomial(draws, hits, share)
            for hits in range(draws + 1)
            if (share_at_most(hits, draws, 0.9) or 0) < share
        )
        assert missed <= 0.1 + 1e-9
