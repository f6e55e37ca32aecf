"""Replay of schedules: lockstep is the model to the picosecond, asynchronous is a recurrence."""

from __future__ import annotations

import gzip
import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import jsonschema
import numpy as np
import oracle
import placed_strategies
import pytest
import strategies
from documents import ROOT, Json
from helpers import invoke, read, read_schedule
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scope_opt.model.files import InputError
from scope_opt.model.instance import Instance
from scope_opt.replay import report as replay_report
from scope_opt.replay import sharing
from scope_opt.replay.engine import MAX_LAYER_RUNS, Slice, simulate
from scope_opt.replay.report import InvalidSchedule, Replay, replay
from scope_opt.replay.stages import Channel, LayerWork, Pipeline, Stage, pipelines
from scope_opt.replay.trace import Trace, default_shown
from scope_opt.replay.transfers import Transfer
from scope_opt.schedule.evaluate import evaluate
from scope_opt.schedule.schedule import InstanceReference, Schedule, make_segment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


OPTIMA = ("alexnet-32", "resnet50-64", "darknet19-256", "resnet152-256")
WAITS = ("input_ps", "room_ps", "dram_ps", "power_ps", "beat_ps", "links_ps")


def optimum(name: str) -> tuple[Instance, Schedule, int]:
    """A shipped instance with its best known schedule, an optimum, and that schedule's latency."""
    instance = Instance.load(ROOT / "instances" / "paper" / f"{name}.json")
    schedule = Schedule.load(ROOT / "instances" / "best_known" / f"{name}.json")
    registry = json.loads((ROOT / "instances" / "best_known.json").read_text())
    known = {entry["instance"]["name"]: entry["objective_ps"] for entry in registry["entries"]}
    return instance, schedule, known[name]


def parsed(instance: Json, schedule: Json) -> tuple[Instance, Schedule]:
    problem = read(instance)
    return problem, read_schedule(problem, schedule)


@st.composite
def limited(draw: st.DrawFn, instances: st.SearchStrategy[Json]) -> tuple[Json, Json]:
    """An instance whose only limit is a power budget, and a valid schedule of it."""
    instance = draw(instances)
    limits = instance.get("constraints", {})
    power = {key: limits[key] for key in ("power_budget_w",) if key in limits}
    instance = {**instance, "samples": draw(st.integers(1, 7)), "constraints": power}
    schedules = strategies.schedules(instance)
    if "package" in instance:
        instance["package"].pop("activation_buffer_bytes", None)
        schedules |= placed_strategies.pipelines(instance)
    schedule = draw(schedules)
    assume(not oracle.violations(instance, schedule))
    return instance, schedule


def problems() -> st.SearchStrategy[tuple[Json, Json]]:
    """A random instance of the regressed model or of tables, and a valid schedule of it."""
    return limited(
        strategies.table_instances(constraints=False)
        | strategies.physical_instances(max_layers=5, couplings=True)
        | placed_strategies.repaired_instances(max_layers=5, couplings=True)
    )


def placed_problems() -> st.SearchStrategy[tuple[Json, Json]]:
    """The same of the placed model."""
    instances = placed_strategies.placed_instances(couplings=True)
    return limited(instances | instances.map(crowded))


def crowded(instance: Json) -> Json:
    """More chiplets on slow links, where transfers of several stages meet."""
    package = {**instance["package"], "mesh_rows": 3, "mesh_cols": 4, "order": "zigzag"}
    slow = {"bandwidth_bytes_per_s": 1e6, "shared_links": True}
    return {**instance, "package": {**package, "nop": {**package["nop"], **slow}}}


# --- Independent times of the asynchronous mode --------------------------------------------------


def stage_times(segment: Any) -> list[int]:
    return [cluster.time_ps for cluster in segment.clusters]


def asynchronous_end(
    times: list[int], links: Sequence[tuple[int, int]], paces: Sequence[int], m: int, buffers: int
) -> int:
    """When a segment ends after loading: the least solution of max-plus inequalities.

    A stage starts a sample after it finished the one before, its predecessors finished the sample,
    and its successors finished the one that held the room.
    """
    start = [[0] * m for _ in times]
    for k in range(m):
        for s in range(len(times)):
            after = [0]
            if k:
                after.append(start[s][k - 1] + times[s])
                after += [start[0][k - 1] + pace for pace in paces if s == 0]
            for u, v in links:
                if v == s:
                    after.append(start[u][k] + times[u])
                held = k - (buffers + v - u - 1)
                if u == s and held >= 0:
                    after.append(start[v][held] + times[v])
            start[s][k] = max(after)
    ends = [start[s][-1] + times[s] for s in range(len(times))]
    return max(*ends, *(start[0][-1] + pace for pace in paces))


def links_between(instance: Json, segment: Any) -> list[tuple[int, int]]:
    """Stages that data passes between, from the instance's own edges."""
    of = {layer.index: c for c, cluster in enumerate(segment.clusters) for layer in cluster.layers}
    source = instance["tables" if "tables" in instance else "network"]
    pairs = {(c, c + 1) for c in range(len(segment.clusters) - 1)}
    for edge in source["edges"]:
        for reader in edge["to"] if isinstance(edge["to"], list) else [edge["to"]]:
            begin, end = of.get(edge["from"]), of.get(reader)
            if begin is not None and end is not None and begin != end:
                pairs.add((begin, end))
    return sorted(pairs)


# --- Agreement -----------------------------------------------------------------------------------


@settings(max_examples=strategies.share(1))
@given(problems(), st.integers(1, 4))
def test_random_schedules(problem: tuple[Json, Json], buffers: int) -> None:
    instance, schedule = problem
    found = replay(*parsed(instance, schedule), "asynchronous", buffers)
    assert found.lockstep_ps == found.evaluator_ps == oracle.objective_ps(instance, schedule)

    m, expected, closed = instance["samples"], 0, 0
    for segment in evaluate(*parsed(instance, schedule)).segments:
        times, paces = stage_times(segment), (segment.dram_beat_ps, segment.power_beat_ps)
        links = links_between(instance, segment)
        expected += segment.load_ps + asynchronous_end(times, links, paces, m, buffers)
        closed += segment.load_ps + (m - 1) * segment.beat_ps + max(sum(times), *paces)
    assert found.asynchronous_ps == expected
    if buffers >= 2:  # docs/replay.md proves both
        assert found.asynchronous_ps == closed
        assert found.asynchronous_ps <= found.lockstep_ps


@settings(max_examples=strategies.share(1))
@given(placed_problems(), st.integers(1, 4))
def test_random_placed_schedules(problem: tuple[Json, Json], buffers: int) -> None:
    instance, schedule = problem
    found = replay(*parsed(instance, schedule), "asynchronous", buffers)
    assert found.lockstep_ps == found.evaluator_ps == oracle.objective_ps(instance, schedule)

    m, shared = instance["samples"], instance["package"]["nop"].get("shared_links", True)
    evaluation = evaluate(*parsed(instance, schedule))
    for replayed, segment in zip(found.segments, evaluation.segments, strict=True):
        busiest, link_ps = segment.busiest_link, 0
        if shared and busiest is not None:
            assert replayed.busiest_link is not None
            assert replayed.busiest_link.sample_ps == segment.link_beat_ps
            link_ps = segment.link_beat_ps
        else:
            assert replayed.busiest_link is None
        times, paces = stage_times(segment), (segment.dram_beat_ps, segment.power_beat_ps)
        neighbours = [(c, c + 1) for c in range(len(times) - 1)]
        alone = asynchronous_end(times, neighbours, paces, m, buffers)
        late = sum(stage.links_ps for stage in replayed.stages)
        # Nobody is early: neither a sample nor the link that has to carry all of them.
        assert replayed.run_ps >= max(alone, m * (link_ps - 1))
        assert late or replayed.run_ps == alone
        assert shared or not late


@settings(max_examples=strategies.share(4))
@given(
    problems() | placed_problems(),
    st.sampled_from(["lockstep", "asynchronous"]),
    st.integers(1, 3),
)
def test_times_add_up(problem: tuple[Json, Json], mode: Any, buffers: int) -> None:
    instance, schedule = parsed(*problem)
    slices: list[Slice] = []
    found = replay(instance, schedule, mode, buffers, slices.append)
    total = sum(segment.load_ps + segment.run_ps for segment in found.segments)
    assert total == (found.lockstep_ps if mode == "lockstep" else found.asynchronous_ps)
    for s, segment in enumerate(found.segments):
        for c, stage in enumerate(segment.stages):
            assert stage.busy_ps == instance.samples * stage.sample_ps
            waited = sum(getattr(stage, wait) for wait in WAITS)
            assert stage.busy_ps + waited + stage.drained_ps == segment.run_ps
            if mode == "lockstep":
                assert stage.room_ps == stage.dram_ps == stage.power_ps == stage.links_ps == 0
            else:
                assert stage.beat_ps == 0
                assert c == 0 or stage.dram_ps == stage.power_ps == 0
            # Each sample once, in order, one at a time.
            samples = [p for p in slices if (p.kind, p.segment, p.stage) == ("sample", s, c)]
            assert [piece.sample for piece in samples] == list(range(instance.samples))
            assert all(a.end_ps <= b.start_ps for a, b in pairwise(samples))
            # A sample is late only by what its transfers are, and those show when.
            late = [p for p in slices if (p.kind, p.segment, p.stage) == ("links", s, c)]
            assert stage.links_ps <= sum(piece.end_ps - piece.start_ps for piece in late)
        drams = [p for p in slices if (p.kind, p.segment) == ("dram", s)]
        assert [piece.sample for piece in drams] == list(range(instance.samples))
        assert all(a.end_ps <= b.start_ps for a, b in pairwise(drams))


@pytest.mark.parametrize("name", OPTIMA)
def test_committed_optima(name: str) -> None:
    instance, schedule, latency_ps = optimum(name)
    found = replay(instance, schedule)
    assert found.lockstep_ps == found.evaluator_ps == latency_ps
    assert latency_ps * 0.97 < found.asynchronous_ps < latency_ps
    # With single buffers a stage and the next cannot work on two samples at once.
    single = replay(instance, schedule, buffers=1)
    assert single.asynchronous_ps > latency_ps
    assert replay(instance, schedule, buffers=9).asynchronous_ps == found.asynchronous_ps


@pytest.mark.parametrize("name", OPTIMA)
def test_optima_where_they_lie(name: str) -> None:
    _, schedule, _ = optimum(name)
    instance = Instance.load(ROOT / "instances" / "placed" / f"{name}-placed.json")
    found, evaluation = replay(instance, schedule), evaluate(instance, schedule)
    assert found.lockstep_ps == found.evaluator_ps == evaluation.objective_ps
    for replayed, segment in zip(found.segments, evaluation.segments, strict=True):
        link, expected = replayed.busiest_link, segment.busiest_link
        assert (link is None) == (expected is None)
        if link is not None and expected is not None:
            assert link.sample_ps == segment.link_beat_ps
            assert (link.source, link.target) == (expected.source, expected.target)
        times = stage_times(segment)
        paces = segment.dram_beat_ps, segment.power_beat_ps
        beat = max(*times, *paces)
        alone = (instance.samples - 1) * beat + max(sum(times), *paces)
        assert replayed.run_ps >= max(alone, instance.samples * (segment.link_beat_ps - 1))


# --- By hand -------------------------------------------------------------------------------------


def chain(*times: int, dram: int = 0, power: int = 0, channels: Sequence[Channel] = ()) -> Pipeline:
    """Stages of one layer with such times, a load of 100."""
    stages = tuple(Stage(s, s, 1, 0, (LayerWork(s, time, 0, 0),)) for s, time in enumerate(times))
    every = {Channel(s, s + 1) for s in range(len(times) - 1)} | set(channels)
    return Pipeline(100, dram, power, stages, tuple(sorted(every)))


def latency(pipeline: Pipeline, m: int, mode: Any = "asynchronous", buffers: int = 2) -> int:
    return simulate([pipeline], m, mode, buffers).latency_ps


def test_by_hand() -> None:
    assert latency(chain(5, 7, 3), 4, "lockstep") == 100 + (4 + 2) * 7
    assert latency(chain(5, 7, 3), 4) == 100 + 5 + 4 * 7 + 3
    # Single buffers: the first stage waits for the second one, a sample every 5 + 7.
    assert latency(chain(5, 7, 3), 4, buffers=1) == 100 + 15 + 3 * (5 + 7)
    assert latency(chain(5, dram=9), 4, "lockstep") == latency(chain(5, dram=9), 4) == 100 + 4 * 9
    assert latency(chain(5, power=9), 4) == 100 + 4 * 9
    assert latency(chain(5, 6, dram=9), 4) == 100 + 3 * 9 + 11
    assert latency(chain(0, 0), 3) == 100


def test_skip_links_need_room() -> None:
    """A skip past the middle stage holds one sample more than a link to the next."""
    pipeline = chain(1, 1, 10, channels=[Channel(0, 2)])
    assert latency(pipeline, 5) == latency(chain(1, 1, 10), 5) == 100 + 2 + 5 * 10
    # The last stage ends samples 0 and 1 at 12 and 22. With the skip, samples 3 and 4 wait for
    # these; without, sample 4 for the middle stage, which passed sample 2 on at 12.
    waits = [
        simulate([each], 5, "asynchronous").segments[0].stages[0].waits_ps["room"]
        for each in (pipeline, chain(1, 1, 10))
    ]
    assert waits == [(12 - 3) + (22 - 13), 13 - 4]


def test_refetch_comes_first() -> None:
    slices: list[Slice] = []
    stage = Stage(0, 0, 1, 4, (LayerWork(0, 1, 2, 3),))
    simulate([Pipeline(0, 0, 0, (stage,), ())], 1, "asynchronous", 2, slices.append)
    assert {piece.kind: (piece.start_ps, piece.end_ps) for piece in slices} == {
        "load": (0, 0),
        "dram": (0, 0),
        "refetch": (0, 4),
        "preparation": (4, 5),
        "computation": (5, 7),
        "communication": (5, 8),
        "layer": (4, 8),
        "sample": (0, 8),
    }


# --- Shared links --------------------------------------------------------------------------------


def transfer(time: int, *links: float) -> Transfer:
    """With parts of its time in which it keeps links busy."""
    return Transfer(time, 0, time * np.array(links))


def sends(*works: tuple[Transfer, ...], computation: int = 0) -> Pipeline:
    """Stages of one layer that sends such transfers; nothing to load."""
    stages = tuple(
        Stage(s, s, 1, 0, (LayerWork(s, 0, computation, sum(t.time_ps for t in sent), (), sent),))
        for s, sent in enumerate(works)
    )
    channels = tuple(Channel(s, s + 1) for s in range(len(works) - 1))
    links_ps = sum(t.links_ps for sent in works for t in sent if t.links_ps is not None)
    return Pipeline(0, 0, 0, stages, channels, int(np.max(links_ps)))


def test_links_by_hand() -> None:
    one, other = (transfer(10, 1, 0),), (transfer(10, 0, 1),)
    assert latency(sends(one, other), 4) == latency(chain(10, 10), 4) - 100
    # The same link: samples 0 of the second stage and 1 of the first take turns, 20 together.
    assert latency(sends(one, one), 4) == 10 + 3 * 20 + 10
    assert latency(sends(one, one), 4, "lockstep") == (4 + 1) * 20
    # A third stage on a link of its own is in nobody's way.
    assert latency(sends(one, one, other), 4) == 10 + 3 * 20 + 10 + 10
    # Half a link each: both at once.
    half = (transfer(10, 0.5),)
    assert latency(sends(half, half), 4) == 5 * 10
    # The first needs 4, the second 10: together 8 until the first is done, then 6 more.
    assert latency(sends((transfer(4, 1),), (transfer(10, 1),)), 2) == 4 + 8 + 6 + 10
    # Two transfers one after the other: only the second meets the next stage's.
    two = (transfer(5, 0, 1), transfer(5, 1, 0))
    assert latency(sends(two, (transfer(5, 1, 0),)), 2) == 10 + 10 + 5
    # In step, stages meet on one link after the other: 40 a sample, where the beat is 20.
    both = (transfer(10, 1, 0), transfer(10, 0, 1))
    assert latency(sends(both, both), 4) == 20 + 3 * 40 + 20
    assert latency(sends(both, both), 4, "lockstep") == (4 + 1) * 20


def test_computation_hides_what_links_take_longer() -> None:
    one = (transfer(10, 1),)
    times = [simulate([sends(one, one, computation=c)], 4, "asynchronous") for c in (10, 15, 20)]
    assert [each.latency_ps for each in times] == [10 + 3 * 20 + 10, 15 + 3 * 20 + 15, 5 * 20]
    assert [each.segments[0].stages[0].waits_ps["links"] for each in times] == [30, 15, 0]


@given(
    st.integers(1, 4).flatmap(
        lambda links: st.lists(
            st.lists(
                st.sampled_from([0.0, 0.1, 0.5, 1.0]) | st.floats(0, 1),
                min_size=links,
                max_size=links,
            ),
            min_size=1,
            max_size=6,
        )
    )
)
def test_paces_are_fair(drawn: list[list[float]]) -> None:
    """No link carries more than it can; a slowed transfer is the fastest on one that is full."""
    use = np.array(drawn)
    found = sharing.paces(use)
    carried = found @ use
    assert (carried <= 1 + 1e-6).all()
    for row, pace in enumerate(found):
        assert 0 < pace <= 1
        if pace < 1:
            assert any(
                carried[link] >= 1 - 1e-6 and pace >= found[use[:, link] > 0].max() - 1e-6
                for link in np.flatnonzero(use[row])
            )


def test_work_is_bounded() -> None:
    with pytest.raises(InputError, match="a replay takes at most 5000000 samples"):
        simulate([chain(1, 1)], MAX_LAYER_RUNS, "lockstep")


def test_progress() -> None:
    instance, schedule, _ = optimum("resnet50-64")
    said: list[tuple[str, float]] = []
    many = instance.model_copy(update={"samples": 300})
    replay(many, schedule, on_progress=lambda stage, done: said.append((stage, done)))
    assert [text.split(",")[0] for text, _ in said] == ["lockstep"] + ["asynchronous"] * 2
    assert all(0 < done < 1 for _, done in said)


# --- Invalid schedules ---------------------------------------------------------------------------


def test_invalid_schedule() -> None:
    instance = Instance.load(ROOT / "instances" / "tiny" / "tiny-skip.json")
    segment = make_segment(0, [(5, 9, [0] * 5)])
    schedule = Schedule(instance=InstanceReference.to(instance), segments=(segment,))
    with pytest.raises(InvalidSchedule, match="region-total") as caught:
        replay(instance, schedule)
    assert caught.value.evaluation == evaluate(instance, schedule)


# --- Traces --------------------------------------------------------------------------------------


def check_trace(text: str) -> list[Json]:
    """The rules of the Trace Event Format that viewers rely on; returns the slices."""
    document = json.loads(text)
    assert document["displayTimeUnit"] in ("ms", "ns")
    tracks: dict[tuple[int, int], list[Json]] = {}
    named = set()
    for event in document["traceEvents"]:
        assert event["ph"] in ("X", "M", "C")
        assert isinstance(event["name"], str)
        assert event["pid"] > 0
        if event["ph"] == "M":
            assert event["name"].removeprefix("process").removeprefix("thread") in (
                "_name",
                "_sort_index",
            )
            named.add((event["name"], event["pid"], event["tid"]))
            continue
        assert event["ts"] >= 0
        if event["ph"] == "C":
            assert event["args"]["samples"] >= 0
            continue
        assert event["dur"] >= 0
        assert event["ts"] == event["args"]["start_ps"] // 1000 / 1000
        tracks.setdefault((event["pid"], event["tid"]), []).append(event)
    tids = [tid for _, tid in tracks]
    assert len(tids) == len(set(tids))
    assert tracks
    assert all(("thread_name", pid, tid) in named for pid, tid in tracks)
    for events in tracks.values():
        for unit in ("ns", "ps"):
            _check_nesting([_interval(event, unit) for event in events])
    return [event for events in tracks.values() for event in events]


def _interval(event: Json, unit: str) -> tuple[int, int]:
    if unit == "ps":
        begin = event["args"]["start_ps"]
        return begin, begin + event["args"]["duration_ps"]
    begin = round(event["ts"] * 1000)
    return begin, begin + round(event["dur"] * 1000)


def _check_nesting(intervals: list[tuple[int, int]]) -> None:
    """In file order each slice lies inside the open one, or after it."""
    open_ends: list[int] = []
    last = 0
    for begin, end in intervals:
        assert begin >= last
        last = begin
        while open_ends and open_ends[-1] <= begin:
            open_ends.pop()
        assert not open_ends or end <= open_ends[-1]
        open_ends.append(end)


@settings(max_examples=strategies.share(4))
@given(
    problems() | placed_problems(),
    st.sampled_from(["lockstep", "asynchronous"]),
    st.sampled_from([None, 1, 2]),
)
def test_traces_nest(problem: tuple[Json, Json], mode: Any, shown: int | None) -> None:
    instance, schedule = parsed(*problem)
    trace = Trace(instance, schedule, shown)
    replay(instance, schedule, mode, record=trace.add)
    slices = check_trace(trace.text())
    edge = instance.samples if shown is None else shown
    visible = [k for k in range(instance.samples) if k < edge or k >= instance.samples - edge]
    assert trace.left_out == instance.samples - len(visible)
    samples = {event["args"]["sample"] for event in slices if event["cat"] == "sample"}
    assert samples <= set(visible)
    busy = any(
        stage.sample_ps
        for segment in replay(instance, schedule).segments
        for stage in segment.stages
    )
    assert samples == (set(visible) if busy else set())


def test_trace_of_an_optimum() -> None:
    instance, schedule, _ = optimum("alexnet-32")
    trace = Trace(instance, schedule, None)
    found = replay(instance, schedule, record=trace.add)
    slices = check_trace(trace.text())
    layers = [event for event in slices if event["cat"] == "layer"]
    assert len(layers) == len(instance.layer_names) * instance.samples
    assert {event["name"] for event in layers} == set(instance.layer_names)
    busy = sum(event["args"]["duration_ps"] for event in slices if event["cat"] == "sample")
    assert busy == sum(stage.busy_ps for segment in found.segments for stage in segment.stages)
    loads = [event for event in slices if event["cat"] == "load"]
    assert [event["args"]["duration_ps"] for event in loads] == [
        segment.load_ps for segment in found.segments
    ]
    assert max(sum(_interval(event, "ps")) - event["args"]["start_ps"] for event in slices) == (
        found.asynchronous_ps
    )
    counters = [
        event["args"]["samples"]
        for event in json.loads(trace.text())["traceEvents"]
        if event["ph"] == "C"
    ]
    assert counters[0] == 1
    assert counters[-1] == 0
    assert max(counters) > 1


def test_large_traces_are_cut() -> None:
    small, _, _ = optimum("alexnet-32")
    large = Instance.load(ROOT / "instances" / "paper" / "resnet152-256.json")
    assert default_shown(small) is None
    assert default_shown(large.model_copy(update={"samples": 1000})) == 4


# --- Command -------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    instance, schedule, _ = optimum("alexnet-32")
    paths = tmp_path / "instance.json", tmp_path / "schedule.json"
    instance.save(paths[0])
    schedule.save(paths[1])
    return paths


def test_command(files: tuple[Path, Path], tmp_path: Path) -> None:
    trace = tmp_path / "trace.json.gz"
    outcome = invoke("simulate", *files, "--trace", trace, "--trace-samples", 3)
    assert outcome.exit_code == 0, outcome.output
    assert "agrees with the evaluator" in outcome.stdout
    assert "58 samples between the first and last 3 of each segment left out" in outcome.stderr
    slices = check_trace(gzip.decompress(trace.read_bytes()).decode())
    shown = {event["args"]["sample"] for event in slices if event["cat"] == "sample"}
    assert shown == {0, 1, 2, 61, 62, 63}


def test_command_shows_links(tmp_path: Path) -> None:
    _, schedule, _ = optimum("resnet50-64")
    instance = Instance.load(ROOT / "instances" / "placed" / "resnet50-64-placed.json")
    reference = InstanceReference.to(instance)
    paths = tmp_path / "instance.json", tmp_path / "schedule.json"
    instance.save(paths[0])
    schedule.model_copy(update={"instance": reference}).save(paths[1])
    trace = tmp_path / "trace.json"
    outcome = invoke("simulate", *paths, "--trace", trace)
    assert outcome.exit_code == 0, outcome.output
    found = replay(instance, schedule)
    shares = [
        (instance.samples * segment.busiest_link.sample_ps / segment.run_ps, segment.busiest_link)
        for segment in found.segments
        if segment.busiest_link is not None
    ]
    used, link = max(shares, key=lambda share: share[0])
    place = f"{list(link.source)} to {list(link.target)}"
    line = next(x for x in outcome.stdout.splitlines() if "busiest link" in x)
    assert place in line
    assert f"{100 * used:.1f}% of the time of segment" in line
    assert " links " in outcome.stdout
    late = [event for event in check_trace(trace.read_text()) if event["cat"] == "links"]
    assert late
    assert all("layer" in event["args"] for event in late)


def test_command_json(files: tuple[Path, Path]) -> None:
    outcome = invoke("simulate", *files, "--mode", "lockstep", "--json")
    assert outcome.exit_code == 0, outcome.output
    schema = json.loads(invoke("schema", "replay").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(outcome.stdout), schema)
    found = Replay.from_json(outcome.stdout, "stdout")
    instance, schedule, _ = optimum("alexnet-32")
    assert found == replay(instance, schedule, "lockstep")


def test_command_refuses(files: tuple[Path, Path], tmp_path: Path) -> None:
    instance, schedule = files
    broken = json.loads(schedule.read_text())
    broken["segments"].pop()
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps(broken))
    trace = tmp_path / "trace.json"
    outcome = invoke("simulate", instance, bad, "--trace", trace)
    assert outcome.exit_code == 1
    assert "layer-coverage" in outcome.stdout
    assert not trace.exists()
    outcome = invoke("simulate", instance, bad, "--json")
    assert outcome.exit_code == 1
    assert json.loads(outcome.stdout)["violations"][0]["code"] == "layer-coverage"

    outcome = invoke("simulate", *files, "--trace-samples", 3)
    assert (outcome.exit_code, "--trace-samples" in outcome.stderr) == (2, True)
    trace.write_text("kept")
    outcome = invoke("simulate", *files, "--trace", trace)
    assert (outcome.exit_code, trace.read_text()) == (2, "kept")
    assert invoke("simulate", *files, "--mode", "backwards").exit_code == 2
    assert invoke("simulate", *files, "--buffers", 0).exit_code == 2
    assert invoke("simulate", *files, "--trace", trace, "--force").exit_code == 0
    check_trace(trace.read_text())


def test_disagreement_fails(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def slower(*arguments: Any) -> list[Pipeline]:
        return [each._replace(load_ps=each.load_ps + 1) for each in pipelines(*arguments)]

    monkeypatch.setattr(replay_report, "pipelines", slower)
    outcome = invoke("simulate", *files)
    assert outcome.exit_code == 1
    assert "DISAGREES with the evaluator" in outcome.stdout
    assert "disagree" in outcome.stderr
