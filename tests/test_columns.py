"""Columns made by compiled code: the same as by labels, with the times that the evaluator finds."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest
import strategies
from helpers import read
from hypothesis import given, settings
from hypothesis import strategies as st

from formulations.columns.maker import ColumnMaker
from formulations.space import Caps, Stopped, make_space
from scope_opt.model.cost import build_tables
from scope_opt.model.generate import paper_instance
from scope_opt.model.tables import LIMIT
from scope_opt.schedule.evaluate import evaluate
from scope_opt.schedule.schedule import InstanceReference, Schedule, make_segment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from documents import Json

    from formulations.columns.column import Column
    from formulations.space import Space
    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables


def without_energy(document: Json) -> Instance:
    """Without limits that make energy matter; that on DRAM traffic stays."""
    for name in ("energy_budget_j", "latency_bound_s", "power_budget_w"):
        document["constraints"].pop(name, None)
    return read(document)


INSTANCES = st.builds(
    without_energy,
    strategies.table_instances(max_layers=6, max_chiplets=5, constraints=True)
    | strategies.table_instances(max_layers=8, max_chiplets=4)
    | strategies.physical_instances(max_layers=5, max_chiplets=6, constraints=True, couplings=True)
    | strategies.physical_instances(max_layers=7, max_chiplets=4),
)


def by_labels(maker: ColumnMaker, space: Space, caps: Caps) -> Iterator[Column]:
    for layers in itertools.product(range(len(space.clusters)), range(len(space.clusters))):
        if space.clusters[layers]:
            yield from maker.run(*layers, caps)


def numbers(columns: Iterable[Column]) -> Counter[tuple[object, ...]]:
    """Everything but the partitions, of which several can be best."""
    return Counter(column[:-1] for column in columns)


@given(
    instance=INSTANCES,
    percent=st.sampled_from([None, None, 0, 1, 10, 50, 200]),
    starts=st.sampled_from([None, None, (0,)]),
)
def test_equal_to_columns_by_labels(
    instance: Instance, percent: int | None, starts: tuple[int, ...] | None
) -> None:
    tables = build_tables(instance)
    wanted = instance.constraints.fixed_segments or starts
    space = make_space(instance, tables, wanted, None)
    bound = Caps(tables, space, None).bound_ps
    ceiling = None if percent is None or bound >= LIMIT else bound + bound * percent // 100
    caps, maker = Caps(tables, space, ceiling), ColumnMaker(tables, space)
    columns = list(maker.columns(caps))
    assert numbers(columns) == numbers(by_labels(maker, space, caps))
    for column in columns:
        assert column.partition in (None, column.partitions[0])


@given(instance=INSTANCES)
def test_segments_of_one_cluster_equal_those_by_labels(instance: Instance) -> None:
    tables = build_tables(instance)
    space = make_space(instance, tables, instance.constraints.fixed_segments, None)
    maker, caps = ColumnMaker(tables, space), Caps(tables, space, None)
    found = maker.segments_of_one()
    for layers in itertools.product(range(tables.layers), range(tables.layers)):
        allowed = space.clusters[layers] and space.segments[layers]
        columns = list(maker.alone(*layers, caps)) if allowed else []
        if not columns:
            assert layers not in found
            continue
        best = min(columns, key=lambda column: (column.time_ps, -column.size))
        assert found[layers][:-1] == best[:-1]


def surrounded(
    column: Column, tables: LatencyTables, space: Space, data: st.DataObject
) -> tuple[list[tuple[int, int, tuple[int, ...]]], int] | None:
    """Clusters of a segment that the column is one of, and its place; None if they do not fit."""
    last = column.closes
    others = (not column.opens) + (not last)
    room = tables.chiplets - column.size
    sizes = [size for size in space.sizes if size <= room - others + 1]
    if others and (not sizes or sizes[0] * others > room):
        return None
    clusters, place = [(len(column.partitions), column.size, column.partitions)], 0
    if not column.opens:
        count = column.first - data.draw(st.integers(*column.starts))
        clusters, place = [(count, sizes[0], (0,) * count), *clusters], 1
        room -= sizes[0]
    if not last:
        count = data.draw(st.integers(*column.ends)) - column.last
        size = data.draw(st.sampled_from([size for size in sizes if size <= room]))
        head = data.draw(st.sampled_from(space.partitions[column.last + 1]))
        clusters.append((count, size, (head,) + (0,) * (count - 1)))
    return clusters, place


@settings(max_examples=max(1, settings().max_examples // 2))
@given(instance=INSTANCES, data=st.data())
def test_partitions_attain_the_times(instance: Instance, data: st.DataObject) -> None:
    tables = build_tables(instance)
    space = make_space(instance, tables, instance.constraints.fixed_segments, None)
    columns = list(ColumnMaker(tables, space).columns(Caps(tables, space, None)))
    for index in data.draw(st.sets(st.integers(0, max(0, len(columns) - 1)), max_size=12)):
        if not columns:
            return
        column = columns[index]
        found = surrounded(column, tables, space, data)
        if found is None:
            continue
        clusters, place = found
        begin = column.first - sum(cluster[0] for cluster in clusters[:place])
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
        time = column.time_ps
        if not column.closes and column.sending_ps is not None:
            _, size, partitions = clusters[place + 1]
            receive = int(tables.receive_ps[column.last, partitions[0], size])
            time = max(time, column.sending_ps + receive)
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
    columns = list(ColumnMaker(tables, space).columns(Caps(tables, space, 100)))
    assert [(c.size, c.time_ps, c.refetched_bytes) for c in columns] == [(2, 54, 0)]


@pytest.mark.parametrize("network", ["resnet18", "alexnet"])
def test_paper_instance_equal_to_columns_by_labels(network: str) -> None:
    instance = paper_instance(network, 16)
    tables = build_tables(instance)
    space = make_space(instance, tables, None, None)
    caps = Caps(tables, space, Caps(tables, space, None).bound_ps * 5 // 4)
    maker = ColumnMaker(tables, space)
    columns = list(maker.columns(caps))
    assert columns
    assert numbers(columns) == numbers(by_labels(maker, space, caps))
    assert sum(map(len, maker.rows(caps))) == len(columns)


@pytest.mark.parametrize("budget", [None, 1.0])
def test_stops_when_told(budget: float | None) -> None:
    document = json.loads(paper_instance("alexnet", 16).to_json())
    document["constraints"] = {"energy_budget_j": budget}
    instance = read(document)
    tables = build_tables(instance)
    space = make_space(instance, tables, None, None)
    maker = ColumnMaker(tables, space, lambda: True)
    with pytest.raises(Stopped):
        list(maker.columns(Caps(tables, space, None)))
    with pytest.raises(Stopped):
        maker.segments_of_one()
