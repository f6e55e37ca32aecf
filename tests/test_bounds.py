"""Lower bounds: by hand, below the optimum, and below every valid schedule."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import oracle
import strategies
from helpers import read
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scope_opt.cost.build import build_tables
from scope_opt.model.instance import Instance
from scope_opt.model.network import Edge, Layer, Network
from scope_opt.model.tables import LIMIT, LatencyTables
from scope_opt.model.zoo import paper_package
from scope_opt.schedule.bounds import best_cut, latency_bound, layer_floors, segment_bounds

if TYPE_CHECKING:
    from documents import Json

TINY = strategies.table_instances(max_layers=3, max_chiplets=4) | strategies.physical_instances(
    max_layers=3, max_chiplets=4
)
ANY = strategies.table_instances() | strategies.physical_instances()


def tables_of(document: Json) -> LatencyTables:
    return build_tables(read(document))


def spans(schedule: Json) -> list[tuple[int, int]]:
    """First and last layer of each segment."""
    return [
        (segment["clusters"][0]["first_layer"], segment["clusters"][-1]["last_layer"])
        for segment in schedule["segments"]
    ]


def by_hand(**changes: Any) -> Json:
    """Two layers on two chiplets; the second one scales, the first one does not."""
    layers = [
        {
            "name": "stubborn",
            "weight_bytes": 4,
            "compute_ps": {"ISP": [10, 9], "WSP": [12, 8]},
            "within_ps": {p: {"ISP": [3, 30], "WSP": [2, 20]} for p in oracle.PARTITIONS},
            "send_ps": [7, 6],
            "receive_ps": {"ISP": [9, 8], "WSP": [6, 5]},
            "output_ps": 100,
        },
        {"name": "easy", "weight_bytes": 4, "compute_ps": {"ISP": [8, 4], "WSP": [8, 6]}},
    ]
    tables = {"chiplets": 2, "weight_buffer_bytes": 4, "layers": layers}
    document: Json = {"format": "scope-instance/1", "name": "by hand", "samples": 3}
    return {**document, "tables": {**tables, **changes}}


def test_floors_by_hand() -> None:
    inside, closing = layer_floors(tables_of(by_hand()))
    # First layer, in a segment. One chiplet: max(10, 2) with ISP. Two: within costs 20, but to
    # the next cluster 6 + 5 = 11, more than either computation.
    # Second: nothing to hand on.
    assert inside.tolist() == [[10, 11], [8, 4]]
    # As the last of its segment the first layer writes for 100 ps.
    assert closing.tolist() == [[100, 100], [8, 4]]


def test_segment_bounds_by_hand() -> None:
    # Both: slowest layer 10; chiplet-time min(10, 22) + min(8, 8) = 18 on 2 chiplets: 9.
    # First alone: 100, chiplet-time 100/2. Second alone: 4, chiplet-time 8/2.
    assert segment_bounds(tables_of(by_hand())).tolist() == [[3 * 100, 3 * 10], [0, 3 * 4]]
    # Weight loading is added once, DRAM traffic bounds the beat.
    busy = by_hand(load_ps=[[1, 2], [9, 4]], segment_dram_ps=[[0, 50], [9, 3]])
    assert segment_bounds(tables_of(busy)).tolist() == [[301, 152], [0, 16]]
    assert latency_bound(tables_of(busy)) == 152
    # A large sum of chiplet-times counts, rounded up: 11 + 8 = 19 on 2 chiplets is 10.
    spread = by_hand()
    spread["tables"]["layers"][0]["compute_ps"] = {"ISP": [11, 6], "WSP": [11, 6]}
    spread["tables"]["layers"][0]["send_ps"] = [0, 0]
    spread["tables"]["layers"][0]["receive_ps"] = {"ISP": [0, 0], "WSP": [0, 0]}
    assert segment_bounds(tables_of(spread))[0, 1] == 3 * 10


def test_a_segment_that_cannot_be_stored_is_out() -> None:
    tight = by_hand(weight_buffer_bytes=3)
    bounds = segment_bounds(tables_of(tight))
    assert bounds.tolist() == [[300, LIMIT], [0, 12]]
    assert latency_bound(tables_of(tight)) == 312
    assert segment_bounds(tables_of({**tight, "overflow": "stream"}))[0, 1] == 30


def test_worked_example() -> None:
    # docs/model.md, section 14.
    layer = {
        **{"in_channels": 64, "out_channels": 64, "input_height": 56, "input_width": 56},
        **{"output_height": 56, "output_width": 56, "kernel_height": 3, "kernel_width": 3},
        **{"stride": 1, "groups": 1, "weight_bytes": 36864},
        **{"input_bytes": 200704, "output_bytes": 200704},
    }
    layers = tuple(Layer.model_validate({"name": name, **layer}) for name in ("l0", "l1"))
    edge = Edge.model_validate({"from": 0, "to": 1, "bytes": 200704})
    net = Network(name="example", layers=layers, edges=(edge,))
    tables = build_tables(Instance(name="example", network=net, package=paper_package(16)))
    bounds = segment_bounds(tables)
    assert latency_bound(tables) == bounds[0, 1] == 1129804775
    assert bounds[0, 0] + bounds[1, 1] == 1129856776


@given(TINY)
def test_bound_is_below_the_optimum(document: Json) -> None:
    best = oracle.best(document)
    assume(best is not None)
    assert best is not None
    assert latency_bound(tables_of(document)) <= best[1]
    only = oracle.best(document, "single")
    if only is not None:
        assert segment_bounds(tables_of(document))[0, -1] <= only[1]


@given(data=st.data())
@settings(max_examples=120)
def test_bounds_are_below_every_schedule(data: st.DataObject) -> None:
    document = data.draw(ANY)
    schedule = data.draw(strategies.schedules(document))
    # The bounds know of the buffers' total size, but not of the copies WSP makes.
    assume("capacity" not in oracle.violations(document, schedule))
    tables = tables_of(document)
    bounds = segment_bounds(tables)
    objective = oracle.objective_ps(document, schedule)
    assert latency_bound(tables) <= sum(int(bounds[span]) for span in spans(schedule)) <= objective


@given(st.integers(1, 6).flatmap(lambda n: st.lists(
    st.lists(st.integers(0, 20), min_size=n, max_size=n), min_size=n, max_size=n)))  # fmt: skip
def test_best_cut_is_the_best_of_all_cuts(costs: list[list[int]]) -> None:
    found = best_cut(np.array(costs, dtype=np.int64))
    assert found[0] == 0
    for end in range(1, len(costs) + 1):
        every = []
        for count in range(end):
            for cuts in itertools.combinations(range(1, end), count):
                starts, ends = [0, *cuts], [*cuts, end]
                every.append(sum(costs[i][j - 1] for i, j in zip(starts, ends, strict=True)))
        assert found[end] == min(every)
