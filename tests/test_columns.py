"""Columns against all partitions, enumerated, and against the times that the evaluator finds."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
import strategies
from helpers import read
from hypothesis import given, settings
from hypothesis import strategies as st

from formulations.arrays import take
from formulations.columns.columns import NO_SENDING, NONE
from formulations.columns.maker import ColumnMaker, alone_latencies_ps
from formulations.space import Caps, Stopped, make_space
from scope_opt.cost.build import build_tables
from scope_opt.model.generate import paper_instance
from scope_opt.model.tables import LIMIT, WSP
from scope_opt.schedule.evaluate import evaluate
from scope_opt.schedule.schedule import InstanceReference, Schedule, make_segment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from documents import Json

    from formulations.columns.columns import Columns
    from formulations.space import Space
    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables

INSTANCES = st.builds(
    read,
    strategies.table_instances(max_layers=5, max_chiplets=4, constraints=True)
    | strategies.table_instances(max_layers=6, max_chiplets=3)
    | strategies.physical_instances(max_layers=5, max_chiplets=4, constraints=True, couplings=True)
    | strategies.physical_instances(max_layers=6, max_chiplets=3),
)


# --- All partitions, enumerated ------------------------------------------------------------------


class Around(NamedTuple):
    """A cluster and its segment."""

    first: int
    last: int
    size: int
    start: int
    end: int


class Cost(NamedTuple):
    """Of a choice of partitions, before the next cluster receives."""

    computed_ps: int
    """If the last layer computes for longer than it sends"""
    sent_ps: int
    """If it does not; what the next cluster charges for receiving is to be added"""
    energy_fj: int


def cost(t: LatencyTables, at: Around, partitions: tuple[int, ...]) -> Cost | None:
    """By the tables; None if the weights do not fit."""
    first, last, size, start, end = at
    layers = range(first, last + 1)
    stored, buffers = int(t.weight_bytes[first : last + 1].sum()), t.weight_buffer_bytes * size
    exempt = first == last == start == end and size == t.chiplets
    missing = 0 if exempt else max(0, stored - buffers)
    if missing and not t.stream:
        return None
    for layer, partition in zip(layers, partitions, strict=True):
        copies = int(t.weight_bytes[layer]) * (size - 1) if partition == WSP else 0
        if copies > max(0, buffers - stored):
            return None
    e = t.energy
    dram_fj = 0 if e is None else e.dram_fj_per_byte
    time, energy = 0, missing * dram_fj
    if missing:
        fetched = sum(1 for layer in layers if t.weight_bytes[layer] > 0)
        time += fetched * t.dram_latency_ps
        time += -(-missing * int(t.stream_fs_per_byte[size]) // 1000)
    computed = sent = 0
    if start == first:
        time += int(t.input_ps[first])
        energy += 0 if e is None else int(e.input_bytes[first]) * dram_fj
    elif e is not None:
        energy += int(e.receive_fj[first - 1, partitions[0], size])
    for layer, p in zip(layers, partitions, strict=True):
        if e is not None:
            energy += int(e.mac_fj[layer] + e.sram_fj[layer, p, size])
        if p == WSP and first < last:
            time += int(t.gather_ps[layer, size])
            energy += 0 if e is None else int(e.gather_fj[layer, size])
        computed = int(t.compute_ps[layer, p, size])
        if layer < last:
            q = partitions[layer + 1 - first]
            sent, sent_fj = t.within_ps[layer, p, q, size], e and e.within_fj[layer, p, q, size]
        elif layer < end:
            sent, sent_fj = t.send_ps[layer, size], e and e.send_fj[layer, size]
        else:
            sent, sent_fj = t.output_ps[layer], e and e.output_bytes[layer] * dram_fj
        sent, energy = int(sent), energy + int(sent_fj or 0)
        ends = zip(t.edge_from, t.edge_after, t.edge_to, strict=True)
        for edge, (u, after, v) in enumerate(ends):
            if after < first and v == layer:
                time += int(t.edge_receive_ps[edge, size])
            if after < start and v == layer:
                time += int(t.edge_read_ps[edge])
                energy += 0 if e is None else int(e.edge_bytes[edge]) * dram_fj
            if u == layer and after <= end < v:
                sent += int(t.edge_write_ps[edge])
                energy += 0 if e is None else int(e.edge_bytes[edge]) * dram_fj
            if u == layer and after <= last < v <= end:
                sent += int(t.edge_send_ps[edge, size])
                energy += 0 if e is None else int(e.edge_send_fj[edge, size])
        if layer < last:
            time += max(computed, sent)
    return Cost(time + computed, time + sent, energy)


def charged(tables: LatencyTables, space: Space, at: Around) -> tuple[int, int]:
    """Least and most that the next cluster can charge for receiving."""
    if at.last == at.end:
        return 0, 0
    possible = [
        int(tables.receive_ps[at.last, p, size])
        for p in space.partitions[at.last + 1]
        for size in space.sizes
    ]
    return min(possible), max(possible)


def best(tables: LatencyTables, space: Space, at: Around, head: int) -> set[tuple[int, ...]]:
    """Times with the least and the most charged, and energies, that no other choice beats."""
    least, most = charged(tables, space, at)
    found = set()
    for partitions in itertools.product(*space.partitions[at.first : at.last + 1]):
        if head not in (NONE, partitions[0]):
            continue
        one = cost(tables, at, partitions)
        if one is not None:
            times = (max(one.computed_ps, one.sent_ps + more) for more in (least, most))
            found.add((*times, one.energy_fj if space.energy_matters else 0))
    return {
        a
        for a in found
        if not any(a != b and all(x >= y for x, y in zip(a, b, strict=True)) for b in found)
    }


def surroundings(tables: LatencyTables, space: Space, caps: Caps) -> Iterator[tuple[Around, int]]:
    """Clusters in all segments, with the largest time that they may take."""
    for first, last in np.argwhere(space.clusters).tolist():
        stored = int(tables.weight_bytes[first : last + 1].sum())
        for start, end in itertools.product(range(first + 1), range(last, tables.layers)):
            alone = (first, last) == (start, end)
            for size in space.sizes:
                if alone:
                    top = int(caps.one[start, end]) if space.fewest <= 1 else -1
                else:
                    top = int(caps.several[start, end]) if space.most >= 2 else -1
                    top = -1 if size == tables.chiplets else top
                exempt = alone and first == last and size == tables.chiplets
                missing = 0 if exempt else max(0, stored - tables.weight_buffer_bytes * size)
                if space.traffic_limit_bytes is None or missing <= space.traffic_limit_bytes:
                    yield Around(first, last, size, start, end), top


def space_of(
    instance: Instance, starts: tuple[int, ...] | None = None
) -> tuple[LatencyTables, Space]:
    tables = build_tables(instance).folded()
    return tables, make_space(instance, tables, instance.constraints.fixed_segments or starts, None)


@settings(max_examples=strategies.share(2))
@given(
    instance=INSTANCES,
    percent=st.sampled_from([None, None, 0, 1, 10, 50, 200]),
    starts=st.sampled_from([None, None, (0,)]),
    data=st.data(),
)
def test_every_choice_that_no_other_one_beats(
    instance: Instance, percent: int | None, starts: tuple[int, ...] | None, data: st.DataObject
) -> None:
    """In each segment there are just the columns that matter, each of them once."""
    tables, space = space_of(instance, starts)
    bound = Caps(tables, space, None).bound_ps
    ceiling = None if percent is None or bound >= LIMIT else bound + bound * percent // 100
    caps = Caps(tables, space, ceiling)
    c = ColumnMaker(tables, space).columns(caps)
    for at, top in surroundings(tables, space, caps):
        first, last, size, start, end = at
        mine = (c.first == first) & (c.last == last) & (c.size == size)
        mine &= (c.start_low <= start) & (start <= c.start_high)
        mine &= (c.end_low <= end) & (end <= c.end_high)
        mine &= (c.opens == (start == first)) & (c.closes == (end == last))
        some = take(c, mine & (c.time_ps <= top))
        _, most = charged(tables, space, at)
        latest = np.where(some.sending_ps == NO_SENDING, 0, some.sending_ps + most)
        found = zip(some.time_ps, np.maximum(some.time_ps, latest), some.energy_fj, strict=True)
        by_head: dict[int, list[tuple[int, ...]]] = {}
        for head, values in zip(some.partition.tolist(), found, strict=True):
            by_head.setdefault(head, []).append(tuple(map(int, values)))
        for head in [NONE] if start == first else space.partitions[first]:
            wanted = [values for values in best(tables, space, at, head) if values[0] <= top]
            assert sorted(by_head.pop(head, [])) == sorted(wanted), (at, head)
        assert not by_head


@settings(max_examples=strategies.share(2))
@given(instance=INSTANCES)
def test_partitions_are_those_that_columns_say(instance: Instance) -> None:
    tables, space = space_of(instance)
    maker = ColumnMaker(tables, space)
    columns = maker.columns(Caps(tables, space, None))
    for k, partitions in enumerate(maker.partitions(columns)):
        c = [int(values[k]) for values in columns]
        one = type(columns)._make(c)
        start, end = (c[columns._fields.index(name)] for name in ("start_high", "end_low"))
        at = Around(c[0], c[1], c[2], start, end)
        assert all(p in space.partitions[c[0] + x] for x, p in enumerate(partitions))
        assert c[3] in (NONE, partitions[0])
        found = cost(tables, at, partitions)
        assert found is not None
        least, most = charged(tables, space, at)
        assert one.time_ps == max(found.computed_ps, found.sent_ps + least)
        if one.sending_ps == NO_SENDING:
            assert found.sent_ps + most <= one.time_ps
        else:
            assert one.sending_ps == found.sent_ps
        assert one.energy_fj == (found.energy_fj if space.energy_matters else 0)
        received = tables.receive_ps[c[0] - 1, partitions[0], c[2]] if start < c[0] else 0
        assert one.receive_ps == received


@given(instance=INSTANCES)
def test_the_fastest_segments_of_one_cluster(instance: Instance) -> None:
    tables, space = space_of(instance)
    maker, caps = ColumnMaker(tables, space), Caps(tables, space, None)
    every, fastest = maker.alone(caps), maker.fastest_alone()
    assert every.number == 0 or bool((every.opens & every.closes).all())
    assert len(set(fastest.runs)) == fastest.number
    assert set(fastest.runs) == set(every.runs)
    for k, ends in enumerate(fastest.runs):
        same = take(every, np.array([run == ends for run in every.runs]))
        times = zip(same.time_ps.tolist(), (-same.size).tolist(), strict=True)
        assert (fastest.time_ps[k], -fastest.size[k]) == min(times)


@settings(max_examples=strategies.share(2))
@given(instance=INSTANCES)
def test_latencies_of_segments_of_one_cluster(instance: Instance) -> None:
    """They are the evaluator's, and `LIMIT` where a limit is broken."""
    tables, space = space_of(instance, (0,))
    maker = ColumnMaker(tables, space)
    columns = maker.alone(Caps(tables, space, None))
    latencies = alone_latencies_ps(tables, space, columns)
    sizes, chosen = columns.size.tolist(), maker.partitions(columns)
    for k, ends in enumerate(columns.runs):
        if ends != (0, tables.layers - 1):
            continue
        segments = (make_segment(0, [(tables.layers, sizes[k], chosen[k])]),)
        schedule = Schedule(instance=InstanceReference.to(instance), segments=segments)
        evaluation = evaluate(instance, schedule, build_tables(instance))
        if space.latency_ps is None:
            assert evaluation.objective_ps == (latencies[k] if latencies[k] < LIMIT else None)
        elif evaluation.feasible:
            assert latencies[k] <= space.latency_ps


# --- The evaluator -------------------------------------------------------------------------------


def surrounded(
    columns: Columns,
    k: int,
    partitions: tuple[int, ...],
    tables: LatencyTables,
    space: Space,
    data: st.DataObject,
) -> tuple[list[tuple[int, int, tuple[int, ...]]], int] | None:
    """Clusters of a segment that the column is one of, and its place; None if they do not fit."""
    first, last, own, _, opens, closes, *ranges = (int(values[k]) for values in columns)
    others = (not opens) + (not closes)
    room = tables.chiplets - own
    sizes = [size for size in space.sizes if size <= room - others + 1]
    if others and (not sizes or sizes[0] * others > room):
        return None
    clusters, place = [(len(partitions), own, partitions)], 0
    if not opens:
        count = first - data.draw(st.integers(*ranges[:2]))
        clusters, place = [(count, sizes[0], (0,) * count), *clusters], 1
        room -= sizes[0]
    if not closes:
        count = data.draw(st.integers(*ranges[2:4])) - last
        size = data.draw(st.sampled_from([size for size in sizes if size <= room]))
        head = data.draw(st.sampled_from(space.partitions[last + 1]))
        clusters.append((count, size, (head,) + (0,) * (count - 1)))
    return clusters, place


@settings(max_examples=max(1, settings().max_examples // 2))
@given(instance=INSTANCES, data=st.data())
def test_partitions_attain_the_times(instance: Instance, data: st.DataObject) -> None:
    tables = build_tables(instance)
    space = make_space(instance, tables, instance.constraints.fixed_segments, None)
    maker = ColumnMaker(tables, space)
    c = maker.columns(Caps(tables, space, None))
    chosen = maker.partitions(c)
    for k in data.draw(st.sets(st.integers(0, max(0, c.number - 1)), max_size=12)):
        if not c.number:
            return
        found = surrounded(c, k, chosen[k], tables, space, data)
        if found is None:
            continue
        clusters, place = found
        begin = int(c.first[k]) - sum(cluster[0] for cluster in clusters[:place])
        end = begin + sum(cluster[0] for cluster in clusters)
        segments = [make_segment(begin, clusters)]
        if begin:
            segments.insert(0, make_segment(0, [(begin, 1, (0,) * begin)]))
        if end < tables.layers:
            count = tables.layers - end
            segments.append(make_segment(end, [(count, 1, (0,) * count)]))
        schedule = Schedule(instance=InstanceReference.to(instance), segments=tuple(segments))
        evaluation = evaluate(instance, schedule, tables)
        at = int(begin > 0)
        time = int(c.time_ps[k])
        if c.sending_ps[k] != NO_SENDING:
            _, size, partitions = clusters[place + 1]
            receive = int(tables.receive_ps[c.last[k], partitions[0], size])
            time = max(time, int(c.sending_ps[k]) + receive)
        assert evaluation.segments[at].clusters[place].time_ps == time
        where = f"segment {at}, cluster {place}"
        assert not [v for v in evaluation.violations if (v.where + ",").startswith(where + ",")]


def test_a_layer_alone_on_the_package_needs_no_room() -> None:
    times = {"ISP": [3, 2], "WSP": [3, 2]}
    layer = {"name": "l0", "weight_bytes": 9, "compute_ps": times, "output_ps": 50, "input_ps": 4}
    document: Json = {
        "format": "scope-instance/1",
        "name": "large",
        "samples": 1,
        "tables": {"chiplets": 2, "weight_buffer_bytes": 1, "layers": [layer]},
        "constraints": {},
    }
    instance = read(document)
    tables = build_tables(instance)
    space = make_space(instance, tables, None, None)
    c = ColumnMaker(tables, space).columns(Caps(tables, space, 100))
    assert (c.size.tolist(), c.time_ps.tolist(), c.refetched_bytes.tolist()) == ([2], [54], [0])


@pytest.mark.parametrize("budget", [None, 1.0])
def test_stops_when_told(budget: float | None) -> None:
    document = json.loads(paper_instance("alexnet", 16).to_json())
    document["constraints"] = {"energy_budget_j": budget}
    instance = read(document)
    tables = build_tables(instance)
    space = make_space(instance, tables, None, None)
    maker = ColumnMaker(tables, space, lambda: True)
    with pytest.raises(Stopped):
        maker.columns(Caps(tables, space, None))
    with pytest.raises(Stopped):
        maker.fastest_alone()
