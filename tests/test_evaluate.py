"""The evaluator against numbers derived by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import documents
import pytest
from documents import conv
from helpers import judge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from documents import Json

    from scope_opt.schedule.evaluation import Evaluation

Clusters = list[tuple[int, str]]  # (chiplets, one letter I or W per layer)

NAMES = {"I": "ISP", "W": "WSP"}
SIZES = range(1, 6)
SKIPS = [(0, 2), (0, 3), (1, 3)]


def coded(**changes: Any) -> Json:
    """Four layers, five chiplets, three skip edges; every table entry tells where it comes from.

    With layer l, partition p, next partition q (ISP 0, WSP 1), region size r, skip edge e:
    compute 1000 + 100 l + 10 p + r, gather 2000 + 100 l + r, within 3000 + 100 l + 20 p + 10 q + r,
    send 4000 + 100 l + r, receive 50000 + 100 l + 20 q + 2 r, input 100000 + l, output 200000 + l,
    skip send 300000 + 10 e + r, skip write 1000000 + e, skip read 2000000 + e,
    load of segment [i, j] 7000000 + 10 i + j. Layer l has 10 (l + 1) bytes of weights.
    """
    layers = [
        {
            "name": f"l{i}",
            "weight_bytes": 10 * (i + 1),
            "compute_ps": {
                "ISP": [1000 + 100 * i + r for r in SIZES],
                "WSP": [1010 + 100 * i + r for r in SIZES],
            },
            "gather_ps": [2000 + 100 * i + r for r in SIZES],
            "within_ps": {
                "ISP": {
                    "ISP": [3000 + 100 * i + r for r in SIZES],
                    "WSP": [3010 + 100 * i + r for r in SIZES],
                },
                "WSP": {
                    "ISP": [3020 + 100 * i + r for r in SIZES],
                    "WSP": [3030 + 100 * i + r for r in SIZES],
                },
            },
            "send_ps": [4000 + 100 * i + r for r in SIZES],
            "receive_ps": {
                "ISP": [50_000 + 100 * i + 2 * r for r in SIZES],
                "WSP": [50_020 + 100 * i + 2 * r for r in SIZES],
            },
            "input_ps": 100_000 + i,
            "output_ps": 200_000 + i,
        }
        for i in range(4)
    ]
    edges = [
        {
            "from": u,
            "to": v,
            "send_ps": [300_000 + 10 * e + r for r in SIZES],
            "write_ps": 1_000_000 + e,
            "read_ps": 2_000_000 + e,
        }
        for e, (u, v) in enumerate(SKIPS)
    ]
    tables = {
        "chiplets": 5,
        "weight_buffer_bytes": 200,
        "layers": layers,
        "edges": edges,
        "load_ps": [[7_000_000 + 10 * i + j if j >= i else 0 for j in range(4)] for i in range(4)],
    }
    instance: Json = {"name": "coded", "samples": 3}
    instance |= {key: changes.pop(key) for key in ("overflow", "constraints") if key in changes}
    return {**instance, "tables": {**tables, **changes}}


def physical(
    mesh: tuple[int, int],
    channels: Sequence[tuple[int, ...]],
    edges: list[tuple[int, int, int]],
    *,
    fast_dram: bool = False,
    **changes: Any,
) -> Json:
    """Layers of (inputs, outputs[, map size, kernel size]) on the paper's chiplets.

    With ``fast_dram`` every DRAM transfer takes 1 ps after rounding.
    """
    layers = [conv(*sizes, name=f"l{i}") for i, sizes in enumerate(channels)]
    instance = documents.physical(layers, edges, *mesh, **{"samples": 2, **changes})
    if fast_dram:
        instance["package"]["dram"] |= {"bandwidth_bytes_per_s": 1e18, "latency_s": 0.0}
    return instance


def plan(*segments: Clusters) -> Json:
    """A schedule whose clusters take the layers in order."""
    layer = 0
    built: list[Json] = []
    for clusters in segments:
        built.append({"clusters": []})
        for chiplets, letters in clusters:
            built[-1]["clusters"].append(
                {
                    "first_layer": layer,
                    "last_layer": layer + len(letters) - 1,
                    "chiplets": chiplets,
                    "partitions": [NAMES[letter] for letter in letters],
                }
            )
            layer += len(letters)
    return {"segments": built}


def codes(instance: Json, schedule: Json) -> list[str]:
    return [violation.code for violation in judge(instance, schedule).violations]


def layer_times(evaluation: Evaluation) -> list[tuple[int, int, int]]:
    return [
        (layer.preparation_ps, layer.computation_ps, layer.communication_ps)
        for segment in evaluation.segments
        for cluster in segment.clusters
        for layer in cluster.layers
    ]


# --- Times ---------------------------------------------------------------------------------------


def test_two_clusters_in_one_segment() -> None:
    # Clusters {0 WSP, 1 ISP} on 2 chiplets, {2 ISP, 3 WSP} on 3.
    found = judge(coded(), plan([(2, "WI"), (3, "IW")]))
    assert layer_times(found) == [
        # gather 2002 + network input 100000; WSP -> ISP 3022 + skips (0,2) 300002, (0,3) 300012
        (102_002, 1012, 603_036),
        # Case 2 into ISP on 3: send 4102 + receive 50106; skip (1,3) 300022
        (0, 1102, 354_230),
        # ISP -> WSP; the skip edges end here, which costs nothing
        (0, 1203, 3213),
        # gather 2303; network output 200003
        (2303, 1313, 200_003),
    ]
    first, second = found.segments[0].clusters
    assert (first.time_ps, first.first_position, first.chiplets) == (1_059_268, 0, 2)
    assert (second.time_ps, second.first_position, second.chiplets) == (205_519, 2, 3)
    assert (first.weight_bytes, first.buffer_bytes, first.stream_ps) == (30, 400, 0)
    # Load of explicit tables: the faster partition's time on one chiplet, 1001 + 1101.
    assert first.load == 2102
    segment = found.segments[0]
    assert (segment.beat_ps, segment.bottleneck, segment.chiplets) == (1_059_268, 0, 5)
    assert (segment.load_ps, segment.dram_beat_ps) == (7_000_003, 0)
    # 7000003 + (3 samples + 2 clusters - 1) * 1059268
    assert found.feasible
    assert found.objective_ps == segment.latency_ps == 11_237_075
    assert found.latency_s == 11_237_075e-12
    assert found.throughput_per_s == pytest.approx(3 / 11_237_075e-12)
    assert (found.energy, found.utilization, found.placed_latency_ps) == (None, None, None)


def test_two_segments() -> None:
    # Segment {0 WSP on 2}, {1 WSP on 3}; segment {2 ISP, 3 ISP on 4}.
    found = judge(coded(), plan([(2, "W"), (3, "W")], [(4, "II")]))
    assert layer_times(found) == [
        # Alone in its cluster: no gather. Case 2 into WSP on 3: 4002 + 50026; both skip edges are
        # written: 1000000 + 1000001
        (100_000, 1012, 2_054_029),
        # Closes the segment: output 200001 instead of Case 2; skip (1,3) written: 1000002
        (0, 1113, 1_200_003),
        # Opens a segment: input 100002; reads skip (0,2): 2000000. ISP -> ISP 3204
        (2_100_002, 1204, 3204),
        # Reads skips (0,3) and (1,3): 2000001 + 2000002
        (4_000_003, 1304, 200_003),
    ]
    first, second = found.segments
    # The slower of 2154029 and 1200003; 7000001 + (3 + 2 - 1) * 2154029
    assert (first.beat_ps, first.latency_ps) == (2_154_029, 15_616_117)
    # 2103206 + 4200006; 7000023 + (3 + 1 - 1) * 6303212
    assert (second.beat_ps, second.latency_ps) == (6_303_212, 25_909_659)
    assert second.clusters[0].first_position == 0
    assert found.objective_ps == 41_525_776


def test_one_cluster_keeps_skip_edges_and_gathers_for_every_wsp_layer() -> None:
    found = judge(coded(), plan([(5, "WWWW")]))
    assert layer_times(found) == [
        (102_005, 1015, 3035),  # gather 2005 + input; WSP -> WSP
        (2105, 1115, 3135),
        (2205, 1215, 3235),
        (2305, 1315, 200_003),
    ]


def test_what_bounds_a_layer() -> None:
    found = judge(coded(), plan([(2, "WI"), (3, "IW")]))
    layers = [layer for cluster in found.segments[0].clusters for layer in cluster.layers]
    assert [layer.bound_by for layer in layers] == ["communication"] * 4
    assert [layer.time_ps for layer in layers] == [705_038, 354_230, 3213, 202_306]
    found = judge(coded(edges=[]), plan([(2, "WI"), (3, "IW")]))
    layers = [layer for cluster in found.segments[0].clusters for layer in cluster.layers]
    assert (layers[0].bound_by, layers[0].name, layers[0].partition) == ("preparation", "l0", "WSP")
    instance = coded()
    instance["tables"]["layers"][1]["compute_ps"]["ISP"] = [10**9] * 5
    found = judge(instance, plan([(2, "WI"), (3, "IW")]))
    assert found.segments[0].clusters[0].layers[1].bound_by == "computation"


@pytest.mark.parametrize(
    ("dram_ps", "beat_ps", "bottleneck"),
    [(1_059_267, 1_059_268, 0), (1_059_268, 1_059_268, 0), (2_000_000, 2_000_000, None)],
)
def test_dram_traffic_bounds_the_beat(dram_ps: int, beat_ps: int, bottleneck: int | None) -> None:
    traffic = [[0] * 4 for _ in range(4)]
    traffic[0][3] = dram_ps
    found = judge(coded(segment_dram_ps=traffic), plan([(2, "WI"), (3, "IW")]))
    segment = found.segments[0]
    assert (segment.beat_ps, segment.bottleneck) == (beat_ps, bottleneck)
    assert segment.dram_beat_ps == dram_ps
    assert found.objective_ps == 7_000_003 + 4 * beat_ps


def test_stream_refetches_what_does_not_fit() -> None:
    # 10 bytes per chiplet. {0, 1} on 2: 30 - 20 = 10 bytes too many at 1501 fs, 15.01 -> 16 ps,
    # and two fetches of 7 ps. {2, 3} on 3: 70 - 30 = 40 bytes at 1001 fs, 40.04 -> 41 ps.
    instance = coded(
        overflow="stream",
        weight_buffer_bytes=10,
        dram_latency_ps=7,
        stream_fs_per_byte=[9000, 1501, 1001, 9000, 9000],
    )
    schedule = plan([(2, "II"), (3, "II")])
    first, second = judge(instance, schedule).segments[0].clusters
    assert (first.stream_ps, second.stream_ps) == (30, 55)
    assert first.time_ps == sum(layer.time_ps for layer in first.layers) + 30
    # A layer without weights is not fetched: 20 - 20 bytes fit, 30 + 40 as before.
    instance["tables"]["layers"][0]["weight_bytes"] = 0
    first, second = judge(instance, schedule).segments[0].clusters
    assert (first.stream_ps, second.stream_ps) == (0, 55)
    instance["tables"]["layers"][1]["weight_bytes"] = 21
    assert judge(instance, schedule).segments[0].clusters[0].stream_ps == 7 + 2


@pytest.mark.parametrize("overflow", ["forbid", "stream"])
def test_one_layer_on_the_whole_package_always_fits(overflow: str) -> None:
    instance = coded(
        overflow=overflow,
        weight_buffer_bytes=1,
        dram_latency_ps=7,
        stream_fs_per_byte=[1000] * 5,
    )
    whole: list[Clusters] = [[(5, "I")]] * 4
    found = judge(instance, plan(*whole))
    assert found.feasible
    assert [segment.clusters[0].stream_ps for segment in found.segments] == [0] * 4
    # Not so on a part of the package: 10 bytes on 4 chiplets are 6 too many.
    found = judge(instance, plan([(4, "I")], *whole[1:]))
    if overflow == "forbid":
        assert [violation.code for violation in found.violations] == ["capacity"]
    else:
        assert found.feasible
        assert found.segments[0].clusters[0].stream_ps == 7 + 6
    # Nor may a WSP layer copy a kernel that does not fit.
    assert codes(instance, plan([(5, "W")], *whole[1:])) == ["wsp-copy"]


def test_zero_latency_has_no_throughput() -> None:
    layer = {"name": "l", "weight_bytes": 0, "compute_ps": {"ISP": [0], "WSP": [0]}}
    tables = {"chiplets": 1, "weight_buffer_bytes": 1, "layers": [layer]}
    found = judge({"name": "zero", "tables": tables}, plan([(1, "I")]))
    assert (found.objective_ps, found.throughput_per_s) == (0, None)


# --- Rules ---------------------------------------------------------------------------------------

VALID = plan([(2, "WI"), (3, "IW")])


def changed(cluster: int, **fields: Any) -> Json:
    schedule: Json = json.loads(json.dumps(VALID))
    schedule["segments"][0]["clusters"][cluster].update(fields)
    return schedule


BROKEN = {
    "layer-coverage": (coded(), changed(1, first_layer=3, partitions=["WSP"])),
    "empty-cluster": (
        coded(),
        {
            "segments": [
                {
                    "clusters": [
                        *plan([(2, "WIIW")])["segments"][0]["clusters"],
                        {"first_layer": 4, "last_layer": 3, "chiplets": 1, "partitions": []},
                    ]
                }
            ]
        },
    ),
    "region-size": (coded(), changed(0, chiplets=0)),
    "region-total": (coded(), changed(1, chiplets=4)),
    "partition-count": (coded(), changed(0, partitions=["WSP"])),
    # 100 bytes on 5 chiplets, where 70 fit.
    "capacity": (coded(weight_buffer_bytes=14), plan([(5, "IIII")])),
    # {0, 1}: 30 stored, 10 more for the copy of layer 0, 2 * 19 = 38 hold; all else fits.
    "wsp-copy": (coded(weight_buffer_bytes=19), plan([(2, "WI")], [(3, "I")], [(3, "I")])),
    "min-clusters": (coded(constraints={"min_clusters": 3}), VALID),
    "max-clusters": (coded(constraints={"max_clusters": 1}), VALID),
    "forbidden-merge": (coded(constraints={"forbidden_merges": [1, 2]}), VALID),
    "required-merge": (coded(constraints={"required_merges": [0, 1]}), VALID),
    "fixed-partition": (
        coded(
            constraints={
                "fixed_partitions": [
                    {"layer": 0, "partition": "WSP"},
                    {"layer": 2, "partition": "WSP"},
                ]
            }
        ),
        VALID,
    ),
    "region-multiple": (coded(constraints={"region_multiple": 2}), VALID),
    "max-region": (coded(constraints={"max_region": 2}), VALID),
    "fixed-segments": (coded(constraints={"fixed_segments": [0, 2]}), VALID),
    "energy-budget": (
        physical((1, 1), [(4, 8)], [], constraints={"energy_budget_j": 1914.7e-12}),
        plan([(1, "I")]),
    ),
}


@pytest.mark.parametrize("code", BROKEN)
def test_one_broken_rule_gives_its_code_alone(code: str) -> None:
    instance, schedule = BROKEN[code]
    found = judge(instance, schedule)
    assert [violation.code for violation in found.violations] == [code]
    assert not found.feasible
    structural = code in [
        *("layer-coverage", "empty-cluster", "region-size", "region-total", "partition-count")
    ]
    assert (found.segments == ()) == structural
    assert (found.objective_ps, found.latency_s, found.throughput_per_s) == (None, None, None)
    assert (found.utilization, found.energy, found.placed_latency_ps) == (None, None, None)


def test_the_unbroken_schedule_is_valid() -> None:
    assert codes(coded(), VALID) == []
    satisfied = {
        "min_clusters": 2,
        "max_clusters": 2,
        "forbidden_merges": [1],
        "required_merges": [0, 2],
        "fixed_partitions": [{"layer": 0, "partition": "WSP"}],
        "region_multiple": 1,
        "max_region": 3,
        "fixed_segments": [0],
    }
    assert codes(coded(constraints=satisfied), VALID) == []


@pytest.mark.parametrize("overflow", ["forbid", "stream"])
@pytest.mark.parametrize(("buffer", "expected"), [(20, []), (19, ["wsp-copy"])])
def test_wsp_copy_fits_to_the_byte(overflow: str, buffer: int, expected: list[str]) -> None:
    # 30 bytes stored and 10 for the copy of layer 0: 2 chiplets of 20 bytes hold them exactly.
    instance = coded(overflow=overflow, weight_buffer_bytes=buffer)
    assert codes(instance, plan([(2, "WI")], [(3, "I")], [(3, "I")])) == expected


def test_capacity_fits_to_the_byte() -> None:
    assert codes(coded(weight_buffer_bytes=20), plan([(5, "IIII")])) == []
    assert codes(coded(weight_buffer_bytes=19), plan([(5, "IIII")])) == ["capacity"]


def test_streaming_leaves_no_room_for_a_copy() -> None:
    # 100 bytes on 5 chiplets of 10: nothing is free, except for a layer without weights.
    instance = coded(overflow="stream", weight_buffer_bytes=10)
    assert codes(instance, plan([(5, "WIII")])) == ["wsp-copy"]
    instance["tables"]["layers"][0]["weight_bytes"] = 0
    assert codes(instance, plan([(5, "WIII")])) == []


def test_every_offender_is_listed_with_its_place_and_numbers() -> None:
    found = judge(coded(weight_buffer_bytes=10), plan([(2, "WW"), (3, "II")]))
    assert [(violation.code, violation.where) for violation in found.violations] == [
        ("capacity", "segment 0, cluster 0"),
        ("wsp-copy", "segment 0, cluster 0, layer 0 (l0)"),
        ("wsp-copy", "segment 0, cluster 0, layer 1 (l1)"),
        ("capacity", "segment 0, cluster 1"),
    ]
    message = found.violations[3].message
    # 70 bytes, 30 fit; 7 chiplets of 10 would do.
    assert "layers 2 to 3 have 70 bytes" in message
    assert "40 more" in message
    assert "7 chiplets" in message
    assert "20 bytes more" in found.violations[2].message


def test_layers_missing_repeated_or_beyond_the_last() -> None:
    missing = plan([(5, "IIII")])
    missing["segments"][0]["clusters"][0].update(first_layer=1, partitions=["ISP"] * 3)
    assert codes(coded(), missing) == ["layer-coverage"]
    assert codes(coded(), plan([(5, "III")])) == ["layer-coverage"]
    assert codes(coded(), plan([(5, "IIIII")])) == ["layer-coverage"]
    assert codes(coded(), changed(1, first_layer=1, partitions=["ISP"] * 3)) == ["layer-coverage"]
    empty = {"first_layer": 2, "last_layer": 0, "chiplets": 1, "partitions": []}
    assert codes(coded(), {"segments": [{"clusters": [empty]}]}) == [
        "empty-cluster",
        "layer-coverage",
    ]


# --- Energy, utilization -------------------------------------------------------------------------


def test_one_layer_on_one_chiplet() -> None:
    # Layer 4 -> 8: 32 MACs, one cycle (1250 ps); 4 bytes in, 8 out, 32 of weights.
    # DRAM: 52000 ps and 1 / (0.93 * 0.1 bytes/ps) per byte: 4 -> 52043.01, 8 -> 52086.02,
    # 12 -> 52129.03, 32 -> 52344.09.
    found = judge(physical((1, 1), [(4, 8)], []), plan([(1, "I")]))
    assert layer_times(found) == [(52_044, 1250, 52_087)]
    segment = found.segments[0]
    assert (segment.load_ps, segment.dram_beat_ps) == (52_345, 52_130)
    assert found.objective_ps == 52_345 + 2 * 104_131
    assert found.placed_latency_ps == found.objective_ps
    assert segment.clusters[0].load == 32
    # 2 samples of 32 MACs on 1024 units at 0.0008 cycles per ps.
    assert segment.utilization == pytest.approx(64 / (1024 * 0.0008 * 208_262))
    assert found.utilization == pytest.approx(64 / (1024 * 0.0008 * 260_607))
    # 2 * 32 * 0.2 pJ; 2 * (32 + 4 + 8) * 1.25 pJ; (2 * (4 + 8) + 32) * 8 * 4 pJ
    assert found.energy is not None
    assert found.energy.mac_j == pytest.approx(12.8e-12, rel=1e-12)
    assert found.energy.sram_j == pytest.approx(110e-12, rel=1e-12)
    assert found.energy.nop_j == 0
    assert found.energy.dram_j == pytest.approx(1792e-12, rel=1e-12)
    assert found.energy.total_j == pytest.approx(1914.8e-12, rel=1e-12)


def test_energy_budget_is_met_to_the_femtojoule() -> None:
    for budget_j, expected in [(1914.8e-12, []), (1914.799e-12, ["energy-budget"])]:
        instance = physical((1, 1), [(4, 8)], [], constraints={"energy_budget_j": budget_j})
        assert codes(instance, plan([(1, "I")])) == expected


def test_energy_of_transfers_adds_up() -> None:
    # 1 x 2 mesh: two chiplets one hop apart, 8 * 1.3 = 10.4 pJ per byte and hop.
    network = [(8, 8), (8, 8), (8, 8)]
    edges = [(0, 1, 8), (0, 2, 8), (1, 2, 8)]
    # {0 WSP, 1 ISP} on both: its kernel of 64 bytes and its output of 8 bytes are gathered. Layer 2
    # has its own segment.
    found = judge(physical((1, 2), network, edges), plan([(2, "WI")], [(2, "I")]))
    assert found.energy is not None
    assert found.energy.nop_j == pytest.approx(2 * (64 + 8) * 10.4e-12, rel=1e-12)
    # Input, output of each segment, the skip edge written and read; all weights once.
    assert found.energy.dram_j == pytest.approx((2 * (4 * 8 + 2 * 8) + 192) * 32e-12, rel=1e-12)
    # A skip edge between clusters travels the mean distance over the package, 1 hop; the chain edge
    # into an ISP region of one chiplet is not gathered.
    found = judge(physical((1, 2), network, edges), plan([(1, "II"), (1, "I")]))
    assert found.energy is not None
    assert found.energy.nop_j == pytest.approx(2 * (8 + 8) * 10.4e-12, rel=1e-12)
    parts = (found.energy.mac_j, found.energy.sram_j, found.energy.nop_j, found.energy.dram_j)
    assert sum(parts) == pytest.approx(found.energy.total_j, rel=1e-12)


def test_streamed_weights_cost_dram_energy_for_every_sample() -> None:
    instance = physical((1, 2), [(8, 8), (8, 8)], [(0, 1, 8)], overflow="stream")
    instance["package"]["chiplet"]["weight_buffer_bytes"] = 50
    found = judge(instance, plan([(2, "II")]))
    # 128 bytes, 100 fit: 28 again per sample, beside 8 in and 8 out; 128 once.
    assert found.energy is not None
    assert found.energy.dram_j == pytest.approx((2 * (16 + 28) + 128) * 32e-12, rel=1e-12)


# --- Placement -----------------------------------------------------------------------------------


@pytest.mark.parametrize("letters", [("II", "II"), ("WW", "WI"), ("IW", "WW")])
def test_placement_changes_nothing_where_all_places_are_alike(letters: tuple[str, str]) -> None:
    # On a 1 x 5 mesh every run of 2 loads its link alike; no chain edge joins the two clusters.
    instance = physical((1, 5), [(64, 64)] * 4, [(0, 1, 64), (2, 3, 64)], fast_dram=True)
    instance["package"]["nop"] |= {"eta_within": 1.0, "eta_between": 1.0, "eta_link": 1.0}
    found = judge(instance, plan([(2, letters[0]), (2, letters[1])]))
    assert found.feasible
    assert found.placed_latency_ps == found.objective_ps


# On a 2 x 2 mesh ZigZag visits (0,0), (0,1), (1,1), (1,0); a link moves 0.025 bytes/ps. The wide
# layers need 8 cycles = 10000 ps, less than their transfers; DRAM takes 1 ps. One sample.
@pytest.mark.parametrize(
    ("letter", "transfer_ps"),
    [
        # (0,0) sends to (0,1) and (1,1): XY routes both over (0,0) -> (0,1), M = 2.
        # 1000 * 1.15 * 2 / (1 * 2) / 0.025
        ("W", 46_000),
        # and (0,1), (1,1) hand each other their half: 1000 * 1.15 * 1 / 2 / 0.025
        ("I", 46_000 + 23_000),
    ],
)
def test_placed_transfer_to_the_next_cluster(letter: str, transfer_ps: int) -> None:
    channels = [(8, 1000), (1000, 8)]
    instance = physical((2, 2), channels, [(0, 1, 1000)], fast_dram=True, samples=1)
    found = judge(instance, plan([(1, "I"), (2, letter)]))
    # Weight loading, then two beats of the first cluster (input, transfer).
    assert found.placed_latency_ps == 1 + 2 * (1 + transfer_ps)


def test_a_tensor_travels_with_the_pipeline_to_a_region_that_is_not_adjacent() -> None:
    # Layer 1 does not read it, but its region takes it, and hands it on to (1,1) straight down and
    # to (1,0) over (0,0): M = 1 both times, for all of it and for halves.
    channels = [(8, 1000), (8, 8), (1000, 8)]
    instance = physical((2, 2), channels, [(0, 2, 1000)], fast_dram=True, samples=1)
    found = judge(instance, plan([(1, "I"), (1, "I"), (2, "I")]))
    # 1000 * 1.15 * 1 / (1 * 1) / 0.025; three clusters.
    assert found.placed_latency_ps == 1 + 3 * (1 + 46_000)


def test_placed_gathers_inside_a_region() -> None:
    # Positions 1 to 3 are neighbours. Thirds are handed on along them both ways: from (1,1) to
    # (1,0) those of (0,1) and (1,1).
    # Layers {1 WSP, 2 ISP} on it: kernel of 8 * 1000 bytes gathered, then 1000 bytes.
    channels = [(8, 8), (8, 1000), (1000, 8)]
    instance = physical((2, 2), channels, [(1, 2, 1000)], fast_dram=True, samples=1)
    found = judge(instance, plan([(1, "I"), (3, "WI")]))
    kernel_ps = 245_334  # 8000 * 1.15 * 2 / 3 / 0.025 = 245333.3
    activation_ps = 30_667  # 1000 * 1.15 * 2 / 3 / 0.025 = 30666.7
    # Layer 2 computes 8 cycles.
    assert found.placed_latency_ps == 1 + 2 * (kernel_ps + activation_ps + 10_000)


@pytest.mark.parametrize(
    ("chain", "transfer_ps", "placed_ps"),
    [
        # all_to_all: 512 * 1.12 * 1 / 2 / 2 / 0.025 = 5734.4. Tiles 1 x 2 share one seam of
        # (5 - 1) x 8 pixels and 8 channels: 256 / (2 * 2) / 0.025 = 2560.
        # Placed: 512 * 1.15 / 4 / 0.025 = 5888, and half of the seam over the one link each way:
        # 256 / 2 * 1.15 / 0.025 = 5888.
        (True, 8295, 2 * 5888),
        # Without a chain edge nothing moves; computing on (8 channels, 4 outputs) takes 4 cycles.
        (False, 5000, 5000),
    ],
)
def test_halo_on_one_region(chain: bool, transfer_ps: int, placed_ps: int) -> None:
    edges = [(0, 1, 512)] if chain else []
    channels = [(8, 8, 8, 1), (8, 8, 8, 5)]
    instance = physical((1, 2), channels, edges, fast_dram=True, samples=1)
    found = judge(instance, plan([(2, "IW")]))
    # Loading and input 1 ps each; kernel 1600 * 1.12 / 2 / 0.025; 25 * 2 cycles.
    assert found.objective_ps == 2 + transfer_ps + 35_840 + 62_500
    kernel_ps = 36_800  # 1600 * 1.15 / 2 / 0.025
    assert found.placed_latency_ps == 2 + placed_ps + kernel_ps + 62_500
    # With a hundredth of the bandwidth the transfers of an absent edge would stand out.
    instance["package"]["nop"]["bandwidth_bytes_per_s"] = 1e9
    found = judge(instance, plan([(2, "IW")]))
    slow_ps = 829_440 if chain else 5000
    assert found.objective_ps == 2 + slow_ps + 3_584_000 + 62_500
    slow_ps = 1_177_600 if chain else 5000
    assert found.placed_latency_ps == 2 + slow_ps + 3_680_000 + 62_500


# --- Data ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [None, "capacity", "layer-coverage"])
def test_json_data_is_plain(code: str | None) -> None:
    instance, schedule = (coded(), VALID) if code is None else BROKEN[code]
    found = judge(instance, schedule)
    data = found.to_json_dict()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["feasible"] == (code is None)
    if code is None:
        assert data["segments"][0]["clusters"][1]["layers"][0]["name"] == "l2"
        assert data["objective_ps"] == 11_237_075
    else:
        assert data["violations"][0]["code"] == code
        assert data["objective_ps"] is None
