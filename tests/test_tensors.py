"""Edges of explicit tables: tensors charged once, at their sender and at their receivers."""

from __future__ import annotations

import json
from typing import Any

import oracle
import pytest
import strategies
from helpers import agree, invoke, judge, plain, read, solve_with
from hypothesis import given, settings

from scope_opt.model.files import InputError
from scope_opt.schedule.schedule import InstanceReference, Schedule, make_segment

Json = dict[str, Any]

# --- A published profile -------------------------------------------------------------------------

COMPUTE_US = """
18962 9706 2946 1357 1204 754 1780 1259 2340 1696 493 1713 2064 1455 2045 0 2685 1530 941 495
2111 952 490 1449 2096 0 2690 1283 959 520 2055 972 516 1478 2172 0 2686 2610 1297 757 2603 572
402 1458 1238 2571 1238 0 1428 1486 593 425 1586 582 361 1299 1274 0 1423 1276 563 358 1369 545
354 1308 1230 0 1524 1280 554 358 1348 575 361 1318 1236 0 1420 2571 763 500 3347 477 324 1464
884 2777 907 0 783 1635 507 319 1510 470 319 1265 1546 0 793 1483 471 336 1306 465 299 1286 855
0 812 1453 442 294 1425 434 297 1266 856 0 789 1446 438 290 1285 443 300 1271 859 0 797 1473 509
326 1297 453 342 1267 854 0 792 2557 582 359 3001 383 280 1698 531 2467 535 0 476 2491 379 280
2663 383 300 1338 521 0 476 1553 379 286 1268 399 275 1333 520 0 473 636 0 0 422
"""
"""Of the 177 operators of a ResNet-50, in microseconds."""
TENSOR = """
294 1568 1568 1568 392 392 392 392 392 392 392 1568 1568 1568 1568 1568 1568 392 392 392 392 392
392 1568 1568 1568 1568 392 392 392 392 392 392 1568 1568 1568 1568 784 784 784 196 196 196 784
784 784 784 784 784 196 196 196 196 196 196 784 784 784 784 196 196 196 196 196 196 784 784 784
784 196 196 196 196 196 196 784 784 784 784 392 392 392 98 98 98 392 392 392 392 392 392 98 98
98 98 98 98 392 392 392 392 98 98 98 98 98 98 392 392 392 392 98 98 98 98 98 98 392 392 392 392
98 98 98 98 98 98 392 392 392 392 98 98 98 98 98 98 392 392 392 392 196 196 196 49 49 49 196 196
196 196 196 196 49 49 49 49 49 49 196 196 196 196 49 49 49 49 49 49 196 196 196 196 4 0 2 0
"""
"""To move the output of each, in 1/8192 ms."""
READERS = {
    4: [5, 13],
    16: [17, 25],
    26: [27, 35],
    36: [37, 45],
    48: [49, 57],
    58: [59, 67],
    68: [69, 77],
    78: [79, 87],
    90: [91, 99],
    100: [101, 109],
    110: [111, 119],
    120: [121, 129],
    130: [131, 139],
    140: [141, 149],
    152: [153, 161],
    162: [163, 171],
    173: [174, 175],
    12: [15],
    44: [47],
    86: [89],
    148: [151],
}
"""Of those whose output is not read by the next operator alone."""
UNITS_PER_MS = 8192 * 125


def profile(devices: int) -> Json:
    """The profile in as many stages: what they receive, compute and send, one after the other."""

    def row(time: int) -> list[int]:
        return [time] * devices

    def either(value: Any) -> Json:
        return dict.fromkeys(oracle.PARTITIONS, value)

    layers = [
        {
            "name": f"operator{k}",
            "weight_bytes": 0,
            "compute_ps": either(row(0)),
            "within_ps": either(either(row(time))),
            "send_ps": row(time),
            "output_ps": time,
        }
        for k, time in enumerate(computing())
    ]
    edges = [
        {
            **{"from": source, "to": readers, "send_ps": row(moved), "receive_ps": row(moved)},
            **{"write_ps": 0, "read_ps": 0},
        }
        for source, (readers, moved) in enumerate(tensors())
    ]
    return {
        "format": "scope-instance/1",
        "name": "profile",
        "samples": 1,
        "tables": {
            "chiplets": devices,
            "weight_buffer_bytes": 1,
            "layers": layers,
            "edges": edges,
        },
        "constraints": {
            "fixed_segments": [0],
            "max_region": 1,
            "min_clusters": devices,
            "max_clusters": devices,
        },
    }


def computing() -> list[int]:
    """By operator."""
    return [int(time) * UNITS_PER_MS // 1000 for time in COMPUTE_US.split()]


def tensors() -> list[tuple[list[int], int]]:
    """Readers and time of the output of every operator but the last."""
    moved = [int(time) * UNITS_PER_MS // 8192 for time in TENSOR.split()]
    return [(READERS.get(k, [k + 1]), time) for k, time in enumerate(moved[:-1])]


def least_beat(devices: int) -> int:
    """By dynamic programming over the ends of stages."""
    times, moves = computing(), tensors()
    count = len(times)
    best: list[int | None] = [0] + [None] * count
    stage = [[0] * (count + 1) for _ in range(count)]
    for first in range(count):
        computed = 0
        for last in range(first, count):
            computed += times[last]
            total = computed
            for source, (readers, moved) in enumerate(moves):
                total += moved * (first <= source <= last < readers[-1])
                total += moved * (source < first and any(first <= v <= last for v in readers))
            stage[first][last + 1] = total
    for _ in range(devices):
        found: list[int | None] = [None] * (count + 1)
        for end in range(1, count + 1):
            ways = [
                max(before, stage[first][end])
                for first, before in enumerate(best[:end])
                if before is not None
            ]
            found[end] = min(ways, default=None)
        best = found
    assert best[-1] is not None
    return best[-1]


def test_a_published_profile_has_its_known_optimum() -> None:
    """Six devices: 34.2228515625 ms."""
    beat = 34.2228515625 * UNITS_PER_MS
    assert least_beat(6) == beat
    result = solve_with("exact", profile(6))
    assert result.status == "optimal"
    assert result.objective_ps == result.bound_ps == 6 * beat


# --- What is charged where -----------------------------------------------------------------------


def small(edges: list[Json]) -> Json:
    """Five layers that take a time each, on three chiplets."""
    times = {partition: [1, 1, 1] for partition in oracle.PARTITIONS}
    layers = [{"name": f"l{k}", "weight_bytes": 0, "compute_ps": times} for k in range(5)]
    tables = {"chiplets": 3, "weight_buffer_bytes": 1, "layers": layers, "edges": edges}
    return {"format": "scope-instance/1", "name": "small", "samples": 1, "tables": tables}


TENSOR_EDGE = {
    **{"from": 0, "to": [1, 3, 4], "send_ps": [10, 11, 12], "receive_ps": [3, 4, 5]},
    **{"write_ps": 100, "read_ps": 20},
}


@pytest.mark.parametrize(
    ("segments", "preparing", "sending"),
    [
        # Sent once, received by both clusters behind; at the second one's first reader only.
        ([[(1, 1), (2, 1), (2, 1)]], [0, 3, 0, 3, 0], 10),
        ([[(1, 2), (4, 1)]], [0, 3, 0, 0, 0], 11),
        ([[(2, 1), (3, 2)]], [0, 0, 0, 4, 0], 10),
        ([[(5, 3)]], [0, 0, 0, 0, 0], 0),
        # Written once, read once; a cluster that does not read it receives nothing.
        ([[(1, 1), (1, 1)], [(1, 1), (1, 1), (1, 1)]], [0, 3, 0, 23, 3], 110),
        # Read once by each segment, and nothing is sent where no other cluster reads it.
        ([[(2, 3)], [(2, 3)], [(1, 2)]], [0, 0, 0, 25, 24], 100),
    ],
)
def test_tensors_are_charged_once(
    segments: list[list[tuple[int, int]]], preparing: list[int], sending: int
) -> None:
    document = small([TENSOR_EDGE])
    made, first = [], 0
    for clusters in segments:
        made.append(make_segment(first, [(n, size, [0] * n) for n, size in clusters]))
        first += sum(n for n, _ in clusters)
    schedule = Schedule(instance=InstanceReference.to(read(document)), segments=tuple(made))
    evaluation = judge(document, plain(schedule))
    assert evaluation.objective_ps is not None
    layers = [
        layer
        for segment in evaluation.segments
        for cluster in segment.clusters
        for layer in cluster.layers
    ]
    assert [layer.preparation_ps for layer in layers] == preparing
    assert [layer.communication_ps for layer in layers] == [sending, 0, 0, 0, 0]


def test_one_reader_in_a_list_is_one_reader() -> None:
    edge = {**TENSOR_EDGE, "to": 3}
    one, listed = (solve_with("exact", small([{**edge, "to": to}])) for to in (3, [3]))
    assert one.objective_ps == listed.objective_ps


# --- Every method --------------------------------------------------------------------------------


def charges_tensors(document: Json) -> bool:
    """Whether it says what only explicit tables can."""
    edges = document["tables"]["edges"]
    several = any(isinstance(edge["to"], list) for edge in edges)
    return several or any(any(edge.get("receive_ps", ())) for edge in edges)


TENSORS = strategies.table_instances(max_layers=4, max_chiplets=4).filter(charges_tensors)
PROVING = ["exact", "paths", "cp-sat", "interval-milp", "segment-milp", "network-milp"]
SEARCHING = ["scope", "scope-plus", "anneal", "sequential", "segmented", "pipeline"]


@given(TENSORS)
@settings(max_examples=strategies.share(4))
def test_proofs_agree_with_enumeration(document: Json) -> None:
    best = oracle.best(document)
    for name in PROVING:
        agree(document, solve_with(name, document), best)


@given(TENSORS)
@settings(max_examples=strategies.share(4))
def test_one_segment_agrees_with_enumeration(document: Json) -> None:
    best = oracle.best(document, "single")
    for name in ("exhaustive", "exact"):
        agree(document, solve_with(name, document, "single"), best)


@given(TENSORS)
@settings(max_examples=strategies.share(4))
def test_searches_find_nothing_faster(document: Json) -> None:
    best = oracle.best(document)
    for name in SEARCHING:
        result = solve_with(name, document)
        if result.schedule is not None:
            assert best is not None
            assert result.objective_ps is not None
            assert result.objective_ps >= best[1]
            assert oracle.objective_ps(document, plain(result.schedule)) == result.objective_ps


# --- Bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"to": [3, 1]}, "edges.0.to: needs layers in ascending order, each once; found [3, 1]"),
        ({"to": [1, 1]}, "edges.0.to: needs layers in ascending order, each once; found [1, 1]"),
        ({"to": [0, 1]}, "edges.0.to: 0 does not come after 'from' = 0"),
        ({"to": [1, 5]}, "edges.0.to: layer 5 does not exist; allowed 0 to 4"),
        ({"to": []}, "edges.0.to: tuple should have at least 1 item after validation, not 0"),
        ({"to": "1"}, "edges.0.to: input should be a valid integer; found '1'"),
        ({"receive_ps": [1]}, "edges.0.receive_ps: 1 entries; needs one per region size, 3"),
    ],
)
def test_bad_edges(change: Json, message: str) -> None:
    with pytest.raises(InputError) as error:
        read(small([{**TENSOR_EDGE, **change}]))
    assert message in str(error.value)


def test_a_reader_of_two_edges_from_one_layer(tmp_path: Any) -> None:
    file = tmp_path / "small.json"
    file.write_text(json.dumps(small([TENSOR_EDGE, {**TENSOR_EDGE, "to": 4}])))
    run = invoke("show", file)
    assert run.exit_code == 2
    assert "edges.1: same layers as edges.0" in " ".join(run.output.split())
