"""Checks of the oracle itself, by numbers derived by hand, and of the strategies."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import oracle
import pytest
import strategies
from documents import Json, conv, physical
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import ISP, WSP, Cluster, to_json

RELAXED = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def model(instance: Json) -> oracle.PhysicalTimes:
    times = oracle.oracle(instance).physical
    assert times is not None
    return times


def one_segment(*clusters: Cluster) -> Json:
    return to_json([clusters])


# --- The mesh ------------------------------------------------------------------------------------


def test_snake_turns_at_the_row_ends() -> None:
    assert [oracle.place(3, s) for s in range(6)] == [
        (0, 0),
        (0, 1),
        (0, 2),
        (1, 2),
        (1, 1),
        (1, 0),
    ]


def test_route_follows_the_row_first() -> None:
    # On 2x2 position 0 is (0, 0) and position 2 is (1, 1).
    assert oracle.route(2, 0, 2) == (((0, 0), (0, 1)), ((0, 1), (1, 1)))
    assert oracle.route(2, 2, 0) == (((1, 1), (1, 0)), ((1, 0), (0, 0)))


def test_busiest_link_on_2x2() -> None:
    # Positions 0..3 are (0,0), (0,1), (1,1), (1,0).
    def within(s: int, r: int) -> int:
        return oracle.busiest_link(2, oracle.pairs_within(s, r))

    def between(s: int, r: int, q: int) -> int:
        return oracle.busiest_link(2, oracle.pairs_between(s, r, q))

    # Two neighbours use one link per direction.
    assert [within(s, 2) for s in range(3)] == [1, 1, 1]
    # 0 -> 1 and 0 -> 2 both leave to the right.
    assert [within(s, 3) for s in range(2)] == [2, 2]
    # To the right in row 0: 0 -> 1 and 0 -> 2. Down in column 1: 0 -> 2 and 1 -> 2. No link more.
    assert within(0, 4) == 2
    # Down in column 1: 0 -> 2 and 1 -> 2; down in column 0: 0 -> 3 and 1 -> 3.
    assert between(0, 2, 2) == 2
    # 0 -> 1 and 0 -> 2 share the link to the right.
    assert between(0, 1, 2) == 2
    # 0 -> 1 right; 0 -> 2 right and down; 0 -> 3 straight down.
    assert between(0, 1, 3) == 2


def test_busiest_link_on_a_line() -> None:
    # On a line the link between two neighbouring runs carries all r r' pairs, the link in the
    # middle of a run of r carries floor(r/2) ceil(r/2) per direction.
    for r in range(1, 5):
        assert oracle.load_within(1, 8, r) == (r // 2) * ((r + 1) // 2)
        for q in range(1, 5):
            assert oracle.load_between(1, 8, r, q) == r * q


def test_mean_hops() -> None:
    # Line of 3: distances 1, 1, 2 (each way). 2x2: each chiplet has two at 1 and one at 2.
    assert oracle.hops_within(1, 3, 3) == Fraction(4, 3)
    assert oracle.hops_within(2, 2, 4) == Fraction(4, 3)
    assert oracle.hops_within(2, 2, 1) == 0
    # On 1x3 a run of 2 behind one chiplet is at 1 and 2.
    assert oracle.hops_between(1, 3, 1, 2) == Fraction(3, 2)


# --- Transfers -----------------------------------------------------------------------------------


def test_gather_on_two_chiplets() -> None:
    # 1x2: M = 1, so g(2) = 1.12 * 1 / (2 * 25e9) = 2.24e-11 s per byte: 22 400 ps for 1000 bytes.
    layer = conv(10, 100, 4)
    times = model(physical([layer], []))
    assert layer["weight_bytes"] == 1000
    assert times.gather_ps(0, 1) == 0
    assert times.gather_ps(0, 2) == 22_400


def test_send_and_receive_on_a_line() -> None:
    # On a line M(s, r, r') = r r' for all runs, so a + c = 1.06 / b for every pair, which the gauge
    # divides equally: a = c = 2.12e-11 s per byte. 1000 bytes: 21 200 ps each; into ISP on two
    # chiplets also an all-gather of 22 400 ps.
    layers = [conv(10, 250, 2), conv(250, 1, 2)]
    times = model(physical(layers, [(0, 1, 1000)], cols=3))
    for r in (1, 2):
        assert times.send_ps(0, r) == 21_200
        assert times.receive_ps(0, WSP, r) == 21_200
    assert times.receive_ps(0, ISP, 1) == 21_200
    assert times.receive_ps(0, ISP, 2) == 21_200 + 22_400


def test_hops_fit_on_three_in_a_line() -> None:
    # Means (1,1): 1, (1,2) and (2,1): 3/2: exactly ha = hc = (1/2, 1).
    fit = oracle.hops_fit(1, 3)
    assert fit.grid == (1, 2)
    assert [float(x) for x in (*fit.a, *fit.c)] == pytest.approx([0.5, 1.0, 0.5, 1.0])


def test_regression_is_stationary_and_balanced() -> None:
    # On 2x3 no coefficient is at its bound, so every partial derivative of the sum of squared
    # relative errors vanishes, and the two means are equal.
    fit = oracle.load_fit(2, 3)
    assert fit.grid == (1, 2, 3, 4)
    a, c = dict(zip(fit.grid, fit.a, strict=True)), dict(zip(fit.grid, fit.c, strict=True))
    assert min(*fit.a, *fit.c) > 0
    slope_a: dict[int, float] = dict.fromkeys(fit.grid, 0.0)
    slope_c: dict[int, float] = dict.fromkeys(fit.grid, 0.0)
    for r in fit.grid:
        for q in fit.grid:
            if r + q <= 6:
                y = oracle.load_between(2, 3, r, q) / (r * q)
                slope = float(((a[r] + c[q]) / y - 1) / y)
                slope_a[r] += slope
                slope_c[q] += slope
    assert max(map(abs, [*slope_a.values(), *slope_c.values()])) < 1e-9
    assert float(sum(fit.a)) == pytest.approx(float(sum(fit.c)))


def test_interpolation() -> None:
    values = tuple(map(Fraction, (10, 20, 30)))
    got = [oracle.interpolate((1, 2, 6), values, r) for r in (1, 2, 3, 5, 6, 7, 100)]
    assert got == [10, 20, 22.5, 27.5, 30, 30, 30]


def test_lone_chiplet_has_no_transfers() -> None:
    times = model(physical([conv(1, 1, 2), conv(1, 1, 2)], [(0, 1, 4)], cols=1))
    assert times.send_ps(0, 1) == times.receive_ps(0, ISP, 1) == times.gather_ps(0, 1) == 0
    assert times.within_ps(0, ISP, WSP, 1) == 0


def test_dram_time() -> None:
    # 93 000 bytes at 0.93 * 100 GB/s are 1 us, and 52 ns latency; nothing costs nothing.
    layer = conv(93, 1, 1, input_height=10, input_width=100, output_height=10, output_width=100)
    times = model(physical([layer, conv(1, 1, 1)], []))
    assert times.input_ps(0) == 1_052_000
    assert times.input_ps(1) == times.output_ps(0) == 0
    # 1 byte: 52 000 + 10.75... ps, rounded up.
    assert times.output_ps(1) == 52_011
    # Both at once pay the latency once: 52 000 + 93 001 / 0.093.
    assert times.segment_dram_ps(0, 1) == 1_052_011
    # 94 bytes of weights: 52 000 + 1010.75...
    assert times.load_ps(0, 1) == 53_011


# --- Computation and halos -----------------------------------------------------------------------


def test_cycles_of_a_first_layer() -> None:
    # 3 -> 64 channels, 7x7, 112x112 outputs. With one PE column over input channels, the 16 PEs
    # share 64/8 output channel groups and 12544 outputs without loss: 8 * 12544 / 16 * 49 cycles.
    shape = {"output_height": 112, "output_width": 112, "stride": 2}
    layer = conv(3, 64, 224, 7, **shape)
    assert model(physical([layer], [])).compute_ps(0, ISP, 1) == 6272 * 49 * 1250
    # Over channels only, 8 of them do (the other factor 2 is wasted on input channels).
    narrow = model(physical([layer], [], pe_split="channels"))
    assert narrow.compute_ps(0, ISP, 1) == 12544 * 49 * 1250
    # On two chiplets half the output channels, or half the outputs.
    assert model(physical([layer], [])).compute_ps(0, ISP, 2) == 3136 * 49 * 1250
    assert model(physical([layer], [])).compute_ps(0, WSP, 2) == 3136 * 49 * 1250


def test_cycles_with_groups() -> None:
    # Depthwise, 4 groups, 3x3, 4x4 outputs.
    times = model(physical([conv(4, 4, 4, 3, groups=4)], [], rows=2, cols=4))
    # 2 groups on each of two chiplets: 2 * 16 outputs on 16 PEs.
    assert times.cycles(0, ISP, 2) == 2 * 9
    # One group on each of four: 16 outputs on 16 PEs. Three chiplets: the fullest has 2 groups.
    assert times.cycles(0, ISP, 4) == 1 * 9
    assert times.cycles(0, ISP, 3) == 2 * 9
    # Two chiplets per group cannot share one output channel.
    assert times.cycles(0, ISP, 8) == 1 * 9
    # WSP, two tiles: 4 groups * 8 outputs on 16 PEs.
    assert times.cycles(0, WSP, 2) == 2 * 9


def test_grouped_layer_on_more_chiplets_than_groups() -> None:
    # 2 groups of 40 output channels on 5 chiplets: floor(5/2) = 2 chiplets per group, 20 channels
    # each: b = 4 PEs (of 8 lanes) for 20 channels and c = 4 for 16 outputs: 1 * 1 * 1 * 4.
    # b = 2: ceil(20/16) * 2 = 4 as well; b = 1, c = 16: 3 * 1 = 3 is the best.
    times = model(physical([conv(2, 80, 4, groups=2)], [], rows=1, cols=5))
    assert times.cycles(0, ISP, 5) == 3


def test_tiling_and_halo() -> None:
    # 4x4 outputs, 3x3 kernel, 3 input channels.
    times = model(physical([conv(1, 3, 4), conv(3, 5, 4, 3)], [(0, 1, 48)], rows=2, cols=4))
    # Same outputs and same |r1 - r2| for 1x2 and 2x1: the smaller r1.
    assert times.tiling(1, 2) == (1, 2)
    # 1x4, 2x2 and 4x1 all give 4 outputs: the squarest.
    assert times.tiling(1, 4) == (2, 2)
    # 1x3: 4*2 = 8 outputs; 3x1: 2*4.
    assert times.tiling(1, 3) == (1, 3)
    # 1x5 leaves 4*1 outputs with a fifth tile empty.
    assert times.tiling(1, 5) == (1, 5)
    # One seam of two columns (3 - 1) of 4 values in 3 channels; 2x2: one seam each way.
    assert times.halo_bytes(1, 1) == 0
    assert times.halo_bytes(1, 2) == 24
    assert times.halo_bytes(1, 4) == 48
    # Four tiles that hold anything have three seams.
    assert times.halo_bytes(1, 5) == 72
    # The same upright, one column wide: three seams of two rows with one value in 3 channels.
    tall = conv(3, 5, 4, 3, input_width=1, output_width=1)
    upright = model(physical([tall], [], rows=2, cols=4))
    assert upright.tiling(0, 5) == (5, 1)
    assert upright.halo_bytes(0, 5) == 18
    # 1x1 kernels do not overlap.
    assert times.halo_bytes(0, 4) == 0
    # WSP -> WSP on r = 2: 24 bytes / (2 * 2 * 25e9) = 240 ps.
    assert times.within_ps(0, WSP, WSP, 2) == 240
    # -> ISP: g(2) = 22.4 ps per byte: 1075.2 ps for V = 48.
    assert times.within_ps(0, WSP, ISP, 2) == times.within_ps(0, ISP, ISP, 2) == 1076
    # ISP -> WSP: half of that and the halo, rounded once: 537.6 + 240.
    assert times.within_ps(0, ISP, WSP, 2) == 778
    assert times.within_ps(0, ISP, WSP, 1) == 0


def test_absent_chain_edge_moves_nothing() -> None:
    layers = [conv(1, 3, 4), conv(1, 3, 4), conv(3, 5, 4, 3)]
    times = model(physical(layers, [(0, 1, 48), (0, 2, 48)], cols=4))
    for p in (ISP, WSP):
        for q in (ISP, WSP):
            assert times.within_ps(1, p, q, 4) == times.within_fj(1, p, q, 4) == 0
        assert times.receive_ps(1, p, 2) == times.send_ps(1, 2) == 0
    assert times.input_ps(2) == times.output_ps(1) == 0


# --- Latency of a schedule -----------------------------------------------------------------------


def two_layers(**changes: Any) -> Json:
    """Two layers on three chiplets, explicit tables, 10 samples."""
    zeros = [0, 0, 0]
    return {
        "format": "scope-instance/1",
        "name": "two",
        "samples": 10,
        "overflow": "forbid",
        "tables": {
            "chiplets": 3,
            "weight_buffer_bytes": 100,
            "layers": [
                {
                    "name": "first",
                    "weight_bytes": 8,
                    "compute_ps": {ISP: [30, 16, 11], WSP: [31, 17, 10]},
                    "gather_ps": [0, 4, 5],
                    "within_ps": {
                        ISP: {ISP: [0, 6, 9], WSP: [0, 7, 8]},
                        WSP: {ISP: [0, 20, 21], WSP: [0, 1, 2]},
                    },
                    "send_ps": [4, 3, 2],
                    "receive_ps": {ISP: [1, 2, 3], WSP: [1, 40, 1]},
                    "input_ps": 5,
                    "output_ps": 7,
                },
                {
                    "name": "second",
                    "weight_bytes": 5,
                    "compute_ps": {ISP: [40, 21, 15], WSP: [44, 22, 14]},
                    "gather_ps": [0, 3, 6],
                    "input_ps": 6,
                    "output_ps": 8,
                },
            ],
            "edges": [],
            "segment_dram_ps": [[12, 36], [0, 22]],
            "load_ps": [[50, 100], [0, 60]],
            "dram_latency_ps": 3,
            "stream_fs_per_byte": [1400, 700, zeros[0] + 467],
        },
        "constraints": {},
        **changes,
    }


def test_pipeline_of_two() -> None:
    # Layer 0 on 1: input 5, then 30 over send 4 + receive 2 = 6: 35. Layer 1 on 2: 21 over 8: 21.
    # Beat: 36, the DRAM traffic. 100 + (10 + 2 - 1) * 36.
    schedule = one_segment(Cluster(0, 0, 1, (ISP,)), Cluster(1, 1, 2, (ISP,)))
    rows = oracle.layer_times(two_layers(), schedule)
    assert [(x.pre_ps, x.compute_ps, x.comm_ps, x.time_ps) for x in rows] == [
        (5, 30, 6, 35),
        (0, 21, 8, 21),
    ]
    assert oracle.objective_ps(two_layers(), schedule) == 100 + 11 * 36
    # Into WSP on 2 the transfer takes 4 + 40 and shows: 5 + 44. One-layer WSP clusters gather
    # nothing: 22.
    schedule = one_segment(Cluster(0, 0, 1, (ISP,)), Cluster(1, 1, 2, (WSP,)))
    assert [x.time_ps for x in oracle.layer_times(two_layers(), schedule)] == [49, 22]
    assert oracle.objective_ps(two_layers(), schedule) == 100 + 11 * 49


def test_one_cluster_of_two() -> None:
    # ISP, ISP on 3: 5 + max(11, 9) + max(15, 8) = 31, below the DRAM beat of 36.
    schedule = one_segment(Cluster(0, 1, 3, (ISP, ISP)))
    assert oracle.objective_ps(two_layers(), schedule) == 100 + 10 * 36
    # WSP, ISP on 2: pre 5 + 4 (kernel), max(17, 20), then 21: 50.
    schedule = one_segment(Cluster(0, 1, 2, (WSP, ISP)))
    assert oracle.objective_ps(two_layers(), schedule) == 100 + 10 * 50
    # WSP, WSP on 2: 5 + 4 + max(17, 1), then 3 + max(22, 8): 51.
    schedule = one_segment(Cluster(0, 1, 2, (WSP, WSP)))
    assert oracle.objective_ps(two_layers(), schedule) == 100 + 10 * 51


def test_two_segments() -> None:
    # 5 + max(11, 7) = 16 over DRAM 12; 6 + max(15, 8) = 21 under DRAM 22.
    schedule = to_json([(Cluster(0, 0, 3, (ISP,)),), (Cluster(1, 1, 3, (ISP,)),)])
    assert oracle.objective_ps(two_layers(), schedule) == 50 + 10 * 16 + 60 + 10 * 22


def test_best_of_two() -> None:
    # One cluster on 3 chiplets is bounded by DRAM (460), two segments with WSP for layer 0:
    # 50 + 10 * 15 + 60 + 10 * 22 = 480. A pipeline has 11 beats of at least 36.
    found = oracle.best(two_layers())
    assert found is not None
    assert found[1] == 460
    # Fixed segments leave the second: WSP for layer 0 (5 + max(10, 7)), either for layer 1.
    found = oracle.best(two_layers(constraints={"fixed_segments": [0, 1]}))
    assert found is not None
    assert found[1] == 480
    assert oracle.best(two_layers(constraints={"fixed_segments": [0, 1]}), "single") is None


def skipping() -> Json:
    """Four layers on four chiplets; skip edges 0 -> 2 and 0 -> 3; everything else is free."""
    layer = {
        "name": "x",
        "weight_bytes": 1,
        "compute_ps": {ISP: [1] * 4, WSP: [1] * 4},
        "input_ps": 0,
        "output_ps": 0,
    }
    return {
        "format": "scope-instance/1",
        "name": "skips",
        "samples": 1,
        "overflow": "forbid",
        "tables": {
            "chiplets": 4,
            "weight_buffer_bytes": 10,
            "layers": [layer] * 4,
            "edges": [
                {"from": 0, "to": 2, "send_ps": [10, 9, 8, 7], "write_ps": 100, "read_ps": 200},
                {"from": 0, "to": 3, "send_ps": [20, 19, 18, 17], "write_ps": 300, "read_ps": 400},
            ],
            "dram_latency_ps": 0,
            "stream_fs_per_byte": [0] * 4,
        },
        "constraints": {},
    }


@pytest.mark.parametrize(
    ("segments", "pre", "comm"),
    [
        # All in one cluster: the data stay where they are.
        ([[(0, 3, 4)]], [0, 0, 0, 0], [0, 0, 0, 0]),
        # Edge 0 -> 3 leaves the cluster; 0 -> 2 does not. Sent from 2 chiplets: 19.
        ([[(0, 2, 2), (3, 3, 1)]], [0, 0, 0, 0], [19, 0, 0, 0]),
        # Both leave, to the next cluster or the one after it: 10 + 20 from one chiplet.
        ([[(0, 1, 1), (2, 2, 1), (3, 3, 1)]], [0, 0, 0, 0], [30, 0, 0, 0]),
        # 0 -> 3 leaves the segment: written by 0, read by 3; 0 -> 2 is sent.
        ([[(0, 0, 1), (1, 2, 1)], [(3, 3, 4)]], [0, 0, 0, 400], [310, 0, 0, 0]),
        # Both leave the segment, whose last layer is 0 itself.
        ([[(0, 0, 1)], [(1, 3, 4)]], [0, 0, 200, 400], [400, 0, 0, 0]),
        # Over a whole segment: the segment in between does not touch it.
        ([[(0, 0, 1)], [(1, 1, 1)], [(2, 3, 4)]], [0, 0, 200, 400], [400, 0, 0, 0]),
    ],
)
def test_skip_edges(
    segments: list[list[tuple[int, int, int]]], pre: list[int], comm: list[int]
) -> None:
    schedule = to_json(
        [tuple(Cluster(i, j, r, (ISP,) * (j - i + 1)) for i, j, r in seg) for seg in segments]
    )
    rows = oracle.layer_times(skipping(), schedule)
    assert [x.pre_ps for x in rows] == pre
    assert [x.comm_ps for x in rows] == comm


def test_dram_traffic_of_segments() -> None:
    # Edges 0 -> 1 (16 bytes), 1 -> 2 (16), 0 -> 2 (5): input 4, output 16 at the end.
    layers = [conv(1, 4, 2), conv(4, 4, 2), conv(4, 4, 2)]
    times = model(physical(layers, [(0, 1, 16), (1, 2, 16), (0, 2, 5)]))
    assert times.segment_bytes(0, 2) == 4 + 16
    assert times.segment_bytes(0, 0) == 4 + 16 + 5
    assert times.segment_bytes(0, 1) == 4 + 16 + 5
    assert times.segment_bytes(1, 1) == 16 + 16
    assert times.segment_bytes(1, 2) == 16 + 16 + 5
    assert times.segment_bytes(2, 2) == 16 + 16 + 5


# --- Capacity ------------------------------------------------------------------------------------


def weighted(weights: list[int], capacity: int, overflow: str, chiplets: int = 2) -> Json:
    """Layers of 100 ps with given weights and nothing else."""
    return {
        "format": "scope-instance/1",
        "name": "weights",
        "samples": 1,
        "overflow": overflow,
        "tables": {
            "chiplets": chiplets,
            "weight_buffer_bytes": capacity,
            "layers": [
                {
                    "name": f"l{i}",
                    "weight_bytes": weight,
                    "compute_ps": {ISP: [100] * chiplets, WSP: [100] * chiplets},
                    "input_ps": 0,
                    "output_ps": 0,
                }
                for i, weight in enumerate(weights)
            ],
            "edges": [],
            "dram_latency_ps": 3,
            "stream_fs_per_byte": [1400, 700, 467][:chiplets],
        },
        "constraints": {},
    }


def test_capacity_forbidden() -> None:
    instance = weighted([15, 20], 10, "forbid")
    # 35 bytes do not fit into 20.
    assert oracle.violations(instance, one_segment(Cluster(0, 1, 2, (ISP, ISP)))) == ["capacity"]
    # 15 and 20 do not fit into 10 each.
    pipeline = one_segment(Cluster(0, 0, 1, (ISP,)), Cluster(1, 1, 1, (ISP,)))
    assert oracle.violations(instance, pipeline) == ["capacity"]
    assert oracle.best(instance, "single") is None
    # In segments of their own they fit into 20 (15, 20).
    separate = to_json([(Cluster(0, 0, 2, (ISP,)),), (Cluster(1, 1, 2, (ISP,)),)])
    assert oracle.violations(instance, separate) == []
    # What fits exactly fits.
    assert (
        oracle.violations(
            weighted([15, 5], 10, "forbid"), one_segment(Cluster(0, 1, 2, (ISP, ISP)))
        )
        == []
    )


def test_one_layer_on_the_whole_package_is_exempt() -> None:
    whole = to_json([(Cluster(0, 0, 2, (ISP,)),), (Cluster(1, 1, 2, (ISP,)),)])
    part = to_json([(Cluster(0, 0, 2, (ISP,)),), (Cluster(1, 1, 1, (ISP,)),)])
    for overflow in ("forbid", "stream"):
        instance = weighted([15, 99], 10, overflow)
        assert oracle.violations(instance, whole) == []
        # No streaming either.
        assert oracle.objective_ps(instance, whole) == 200
    # On a part of the package nothing is exempt.
    assert oracle.violations(weighted([15, 99], 10, "forbid"), part) == ["capacity"]
    # Streaming 89 bytes at 1.4 ps: 124.6, and 3 ps latency.
    assert oracle.objective_ps(weighted([15, 99], 10, "stream"), part) == 200 + 125 + 3


def test_stream() -> None:
    # 35 bytes on 2 * 10: 15 bytes too many at 0.7 ps: 10.5 -> 11, and twice the latency of 3.
    schedule = one_segment(Cluster(0, 1, 2, (ISP, ISP)))
    instance = weighted([15, 20], 10, "stream")
    assert oracle.violations(instance, schedule) == []
    assert oracle.objective_ps(instance, schedule) == 200 + 11 + 6
    # A layer without weights fetches nothing: 15 bytes too many, one latency.
    schedule = one_segment(Cluster(0, 2, 2, (ISP, ISP, ISP)))
    assert oracle.objective_ps(weighted([35, 0, 0], 10, "stream"), schedule) == 300 + 11 + 3
    # Just full: nothing is fetched.
    schedule = one_segment(Cluster(0, 1, 2, (ISP, ISP)))
    assert oracle.objective_ps(weighted([15, 5], 10, "stream"), schedule) == 200


def test_stream_rate() -> None:
    # Half of two chiplets has half the bandwidth: 1e15 / 93e9 * 2 / 1 fs per byte, rounded up.
    times = model(physical([conv(1, 1, 1)], []))
    assert times.stream_fs_per_byte(1) == 21_506
    assert times.stream_fs_per_byte(2) == 10_753
    assert times.dram_latency_ps == 52_000


def test_gathered_copy_must_fit() -> None:
    # W (r - 1) <= cap r - sum W: 8 beside 13 of 20 does not fit, 5 does.
    for overflow in ("forbid", "stream"):
        instance = weighted([8, 5], 10, overflow)
        for partitions, codes in (
            ((WSP, ISP), ["wsp-copy"]),
            ((ISP, WSP), []),
            ((ISP, ISP), []),
            ((WSP, WSP), ["wsp-copy"]),
        ):
            assert oracle.violations(instance, one_segment(Cluster(0, 1, 2, partitions))) == codes
    # An overfull cluster has no room for a copy, but a layer without weights needs none.
    for partitions, codes in (((WSP, ISP), ["wsp-copy"]), ((ISP, WSP), [])):
        schedule = one_segment(Cluster(0, 1, 2, partitions))
        assert oracle.violations(weighted([25, 0], 10, "stream"), schedule) == codes
    # Exempt layers may be WSP only with their copy: 15 <= 20 - 15 fails, 10 <= 20 - 10 holds.
    for weight, codes in ((15, ["wsp-copy"]), (10, []), (30, ["wsp-copy"])):
        schedule = one_segment(Cluster(0, 0, 2, (WSP,)))
        for overflow in ("forbid", "stream"):
            assert oracle.violations(weighted([weight], 10, overflow), schedule) == codes
    # On one chiplet the copy is the tile.
    assert (
        oracle.violations(
            weighted([10, 1], 11, "forbid"), one_segment(Cluster(0, 1, 1, (WSP, WSP)))
        )
        == []
    )


# --- Structure and side constraints --------------------------------------------------------------


@pytest.mark.parametrize(
    ("clusters", "codes"),
    [
        ([(0, 0, 1, 1)], ["layer-coverage"]),
        ([(0, 0, 1, 1), (0, 1, 1, 2)], ["layer-coverage"]),
        ([(1, 1, 1, 1), (0, 0, 1, 1)], ["layer-coverage"]),
        ([(0, 2, 1, 3)], ["layer-coverage"]),
        ([(0, 1, 0, 2)], ["region-size"]),
        ([(0, 0, 3, 1), (1, 1, 1, 1)], ["region-total"]),
        ([(0, 1, 1, 1)], ["partition-count"]),
        ([(0, 1, 1, 2), (2, 1, 1, 0)], ["empty-cluster"]),
        ([], ["empty-cluster", "layer-coverage"]),
        ([(0, 0, 9, 0)], ["layer-coverage", "partition-count", "region-total"]),
    ],
)
def test_structure(clusters: list[tuple[int, int, int, int]], codes: list[str]) -> None:
    schedule = one_segment(*(Cluster(i, j, r, (ISP,) * n) for i, j, r, n in clusters))
    assert oracle.violations(two_layers(), schedule) == codes
    with pytest.raises(ValueError, match="not a schedule"):
        oracle.objective_ps(two_layers(), schedule)


def test_no_segments() -> None:
    assert oracle.violations(two_layers(), to_json([])) == ["layer-coverage"]


MERGED = one_segment(Cluster(0, 1, 2, (ISP, WSP)))
APART = one_segment(Cluster(0, 0, 1, (ISP,)), Cluster(1, 1, 2, (ISP,)))
SEGMENTS = to_json([(Cluster(0, 0, 1, (ISP,)),), (Cluster(1, 1, 3, (ISP,)),)])


@pytest.mark.parametrize(
    ("constraints", "schedule", "codes"),
    [
        ({"min_clusters": 2}, MERGED, ["min-clusters"]),
        ({"min_clusters": 2}, APART, []),
        ({"min_clusters": 2}, SEGMENTS, ["min-clusters"]),
        ({"max_clusters": 1}, APART, ["max-clusters"]),
        ({"max_clusters": 1}, SEGMENTS, []),
        ({"forbidden_merges": [0]}, MERGED, ["forbidden-merge"]),
        ({"forbidden_merges": [0]}, APART, []),
        ({"required_merges": [0]}, MERGED, []),
        ({"required_merges": [0]}, APART, ["required-merge"]),
        ({"required_merges": [0]}, SEGMENTS, ["required-merge"]),
        ({"fixed_partitions": [{"layer": 1, "partition": ISP}]}, MERGED, ["fixed-partition"]),
        ({"fixed_partitions": [{"layer": 1, "partition": ISP}]}, APART, []),
        ({"region_multiple": 2}, MERGED, []),
        ({"region_multiple": 2}, APART, ["region-multiple"]),
        ({"max_region": 2}, APART, []),
        ({"max_region": 2}, SEGMENTS, ["max-region"]),
        ({"fixed_segments": [0]}, APART, []),
        ({"fixed_segments": [0]}, SEGMENTS, ["fixed-segments"]),
        ({"fixed_segments": [0, 1]}, SEGMENTS, []),
        ({"fixed_segments": [0, 1]}, APART, ["fixed-segments"]),
        ({"max_clusters": 1, "region_multiple": 2}, APART, ["max-clusters", "region-multiple"]),
    ],
)
def test_side_constraints(constraints: Json, schedule: Json, codes: list[str]) -> None:
    assert oracle.violations(two_layers(constraints=constraints), schedule) == codes


# --- Energy --------------------------------------------------------------------------------------


def test_energy_of_one_layer() -> None:
    # 1x1, 3 -> 2 channels, 2x2: 24 MACs at 0.2 pJ. WSP on 2: two kernels of 6 bytes, 12 bytes of
    # input, 8 of output: 32 accesses at 1.25 pJ. DRAM: 12 + 8 bytes of 32 pJ, weights 6 bytes once.
    instance = physical([conv(3, 2, 2)], [], samples=2)
    judge = oracle.oracle(instance)
    schedule = one_segment(Cluster(0, 0, 2, (WSP,)))
    assert judge.energy_fj(schedule) == {
        "mac": 2 * 4_800,
        "sram": 2 * 40_000,
        "nop": 0,
        "dram": 2 * 640_000 + 192_000,
        "total": 1_561_600,
    }
    joules = oracle.energy_j(instance, schedule)
    assert joules is not None
    assert joules["total"] == pytest.approx(1.5616e-9)
    # ISP: each chiplet reads all inputs: 6 + 2 * 12 + 8 = 38 accesses.
    energy = judge.energy_fj(one_segment(Cluster(0, 0, 2, (ISP,))))
    assert energy is not None
    assert energy["sram"] == 2 * 47_500
    # The bound counts the whole batch.
    for budget, codes in ((1.5616e-9, []), (1.5615e-9, ["energy-budget"])):
        bounded = {**instance, "constraints": {"energy_budget_j": budget}}
        assert oracle.violations(bounded, schedule) == codes


def test_energy_of_transfers() -> None:
    # V = 8 bytes, 10.4 pJ per byte and hop; weights 6 and 10 bytes; h(2) = 1 on a line.
    layers = [conv(3, 2, 2), conv(2, 5, 2)]
    instance = physical(layers, [(0, 1, 8)], samples=1, cols=3)

    def nop(*clusters: Cluster) -> int:
        energy = oracle.oracle(instance).energy_fj(one_segment(*clusters))
        assert energy is not None
        return energy["nop"]

    # Case 1 into ISP: (r - 1) V = 8.
    assert nop(Cluster(0, 1, 2, (ISP, ISP))) == 8 * 10_400
    # ISP -> WSP: half of it (no halo), and gathering the second kernel: 10 bytes.
    assert nop(Cluster(0, 1, 2, (ISP, WSP))) == 4 * 10_400 + 10 * 10_400
    # WSP -> WSP: no halo for 1x1, both kernels.
    assert nop(Cluster(0, 1, 2, (WSP, WSP))) == 16 * 10_400
    # Case 2 from 1 to 1, one hop; from 1 to 2, 1.5 hops; into ISP V more, one hop each.
    assert nop(Cluster(0, 0, 1, (ISP,)), Cluster(1, 1, 1, (ISP,))) == 8 * 10_400
    assert nop(Cluster(0, 0, 1, (ISP,)), Cluster(1, 1, 2, (WSP,))) == 12 * 10_400
    assert nop(Cluster(0, 0, 1, (ISP,)), Cluster(1, 1, 2, (ISP,))) == 20 * 10_400


def test_energy_of_skip_edges_and_streams() -> None:
    layers = [conv(1, 4, 2), conv(4, 4, 2), conv(4, 4, 2)]
    edges = [(0, 1, 16), (1, 2, 16), (0, 2, 3)]
    instance = physical(layers, edges, samples=1, cols=3, overflow="stream", buffer=10)
    judge = oracle.oracle(instance)
    # 4 + 16 + 16 bytes of weights. The skip edge travels 4/3 hops, the mean of the whole line.
    schedule = one_segment(Cluster(0, 1, 2, (ISP, ISP)), Cluster(2, 2, 1, (ISP,)))
    energy = judge.energy_fj(schedule)
    assert energy is not None
    # Case 1 (r - 1) V h = 16; Case 2 from 2 to 1 chiplets 1.5 hops: 24; skip 4.
    assert energy["nop"] == (16 + 24 + 4) * 10_400
    # Input 4, output 16; 6 bytes of layer 2 do not fit into 10 and return; 36 bytes once.
    assert energy["dram"] == (4 + 16 + 6 + 36) * 32_000
    # Two segments: the edges 1 -> 2 and 0 -> 2 are written and read, layer 2 has all chiplets.
    schedule = to_json([(Cluster(0, 1, 2, (ISP, ISP)),), (Cluster(2, 2, 3, (ISP,)),)])
    energy = judge.energy_fj(schedule)
    assert energy is not None
    assert energy["dram"] == (4 + 16 + 2 * 16 + 2 * 3 + 36) * 32_000


@pytest.mark.parametrize(
    "name", ["energy_budget_j", "latency_bound_s", "power_budget_w", "dram_bytes_per_beat"]
)
def test_tables_have_no_energy(name: str) -> None:
    assert oracle.energy_j(two_layers(), APART) is None
    assert oracle.energy_fj_total(two_layers(), APART) is None
    with pytest.raises(ValueError, match=f"no energy and no bytes for .*{name}"):
        oracle.violations(two_layers(constraints={name: 1}), APART)


# --- Limits on latency, power and DRAM traffic ---------------------------------------------------


def limited(instance: Json, **limits: float) -> Json:
    """The instance with these side constraints only."""
    return {**instance, "constraints": limits}


def test_power_budget_lengthens_the_beat() -> None:
    # The layer of test_energy_of_one_layer: 4 800 + 40 000 + 640 000 = 684 800 fJ per sample.
    # Reading 12 bytes takes 52 129.03.. ps, then writing 8 takes 52 086.02.. ps (computing less),
    # together more than the DRAM's 52 000 + 20 / 0.093; loading 6 bytes takes 52 064.5.. ps.
    instance = physical([conv(3, 2, 2)], [], samples=2)
    schedule = one_segment(Cluster(0, 0, 2, (WSP,)))
    assert oracle.objective_ps(instance, schedule) == 52_065 + 2 * (52_130 + 52_087)
    # 684 800 fJ in 104 217 ps are 6.57 mW; 4 mW take 171 200 ps, 3.7 mW 185 081.08.. ps.
    for watts, beat in ((7e-3, 104_217), (0.004, 171_200), (3.7e-3, 185_082)):
        slowed = limited(instance, power_budget_w=watts)
        assert oracle.objective_ps(slowed, schedule) == 52_065 + 2 * beat
        # It takes longer, which breaks no rule and changes no energy.
        assert oracle.violations(slowed, schedule) == []
        assert oracle.energy_fj_total(slowed, schedule) == 1_561_600


def test_power_budget_of_each_segment() -> None:
    # MACs: 40 and 400 at 0.2 pJ. SRAM: weights 10 and 100, inputs 4 and 10, outputs 40 (before
    # pooling to 10) and 40 at 1.25 pJ. DRAM: 4 + 10 bytes for the first segment, 10 + 40 for the
    # second at 32 pJ. No NoP.
    layers = [conv(1, 10, 2, output_bytes=10), conv(10, 10, 2, input_height=1, input_width=1)]
    instance = physical(layers, [(0, 1, 10)], samples=3)
    schedule = to_json([(Cluster(0, 0, 1, (ISP,)),), (Cluster(1, 1, 1, (ISP,)),)])
    first = 40 * 200 + 54 * 1_250 + 14 * 32_000
    second = 400 * 200 + 150 * 1_250 + 50 * 32_000
    assert oracle.energy_fj_total(instance, schedule) == 3 * (first + second) + 110 * 32_000
    # 1 mW: one femtojoule per picosecond. Loading 10 bytes and 100.
    slowed = limited(instance, power_budget_w=0.001)
    loads = 52_108 + 53_076
    assert oracle.objective_ps(slowed, schedule) == loads + 3 * first + 3 * second
    # Two clusters in one segment fill the pipeline: 3 + 1 beats of the energy of both. The edge
    # is sent one hop instead of written and read.
    pipeline = one_segment(Cluster(0, 0, 1, (ISP,)), Cluster(1, 1, 1, (ISP,)))
    both = first + second - 20 * 32_000 + 10 * 10_400
    assert oracle.objective_ps(slowed, pipeline) == 53_183 + 4 * both


def test_power_counts_refetched_weights() -> None:
    # 16 bytes of weights for a buffer of 5 on one of two chiplets: 11 return for every sample.
    # 64 MACs; weights, input and output take 16 SRAM accesses each; DRAM 16 + 16 + 11 bytes.
    instance = physical([conv(4, 4, 2)], [], samples=1, overflow="stream", buffer=5)
    energy = 64 * 200 + 48 * 1_250 + 43 * 32_000
    slowed = limited(instance, power_budget_w=0.001)
    part = one_segment(Cluster(0, 0, 1, (ISP,)))
    assert oracle.objective_ps(slowed, part) == 52_173 + energy
    assert oracle.energy_fj_total(slowed, part) == energy + 16 * 32_000
    # On the whole package they pass through once; the input is read twice.
    whole = one_segment(Cluster(0, 0, 2, (ISP,)))
    assert oracle.objective_ps(slowed, whole) == 52_173 + energy + 16 * 1_250 - 11 * 32_000


def test_dram_bytes_per_beat() -> None:
    # As in test_energy_of_skip_edges_and_streams. One segment: input 4, output 16, and 6 bytes of
    # layer 2 that do not fit. Two: 4 + 16 + 3 and 16 + 3 + 16; on three chiplets all weights fit.
    layers = [conv(1, 4, 2), conv(4, 4, 2), conv(4, 4, 2)]
    edges = [(0, 1, 16), (1, 2, 16), (0, 2, 3)]
    instance = physical(layers, edges, samples=9, cols=3, overflow="stream", buffer=10)
    one = one_segment(Cluster(0, 1, 2, (ISP, ISP)), Cluster(2, 2, 1, (ISP,)))
    two = to_json([(Cluster(0, 1, 2, (ISP, ISP)),), (Cluster(2, 2, 3, (ISP,)),)])
    # On one chiplet 6 bytes of layer 2 do not.
    less = to_json([(Cluster(0, 1, 2, (ISP, ISP)),), (Cluster(2, 2, 1, (ISP,)),)])
    for schedule, most in ((one, 26), (two, 35), (less, 41)):
        for limit, codes in ((most, []), (most - 1, ["dram-per-beat"])):
            bounded = limited(instance, dram_bytes_per_beat=limit)
            assert oracle.violations(bounded, schedule) == codes
            assert oracle.objective_ps(bounded, schedule) == oracle.objective_ps(instance, schedule)


def test_latency_bound() -> None:
    instance = physical([conv(3, 2, 2)], [], samples=2)
    schedule = one_segment(Cluster(0, 0, 2, (WSP,)))
    latency = 52_065 + 2 * 104_217
    assert latency == 260_499
    # The bound is the decimal as written; it is met with equality.
    for seconds, codes in ((2.60499e-7, []), (2.60498e-7, ["latency-bound"]), (1.0, [])):
        assert oracle.violations(limited(instance, latency_bound_s=seconds), schedule) == codes
        assert oracle.objective_ps(limited(instance, latency_bound_s=seconds), schedule) == latency
    # The power budget's longer beat counts.
    for seconds, codes in ((3.94465e-7, []), (3.94464e-7, ["latency-bound"])):
        slowed = limited(instance, latency_bound_s=seconds, power_budget_w=0.004)
        assert oracle.violations(slowed, schedule) == codes
    # Reported beside other rules, but not for what is no schedule.
    hopeless = limited(
        instance, latency_bound_s=1e-9, energy_budget_j=1e-12, dram_bytes_per_beat=19, max_region=1
    )
    assert oracle.violations(hopeless, schedule) == [
        "dram-per-beat",
        "energy-budget",
        "latency-bound",
        "max-region",
    ]
    assert oracle.violations(hopeless, to_json([])) == ["layer-coverage"]


def halves(**limits: float) -> Json:
    """One layer that two chiplets run twice as fast as WSP, for more energy; one sample.

    4096 outputs of 9 MACs on 16 PEs: 2304 cycles, on two chiplets half of it. Reading and writing
    4096 bytes each takes 96 044 ps before and during that, loading 9 bytes of weights 52 097 ps.
    """
    return limited(physical([conv(1, 1, 64, 3)], [], samples=1), **limits)


# MACs, then SRAM accesses (two kernels and a halo of 128 bytes more on two chiplets), then DRAM.
SLOW_PS, SLOW_FJ = 52_097 + 96_044 + 2_880_000, 36_864 * 200 + 8_201 * 1_250 + 8_201 * 32_000
FAST_PS, FAST_FJ = 52_097 + 96_044 + 1_440_000, SLOW_FJ + (9 + 128) * 1_250


def test_least_energy_within_a_latency_bound() -> None:
    slow = [one_segment(Cluster(0, 0, 1, (p,))) for p in (ISP, WSP)]
    fast = one_segment(Cluster(0, 0, 2, (WSP,)))
    for schedule, latency, energy in ((slow[0], SLOW_PS, SLOW_FJ), (fast, FAST_PS, FAST_FJ)):
        assert oracle.objective_ps(halves(), schedule) == latency
        assert oracle.energy_fj_total(halves(), schedule) == energy
    assert oracle.best(halves()) == (fast, FAST_PS)

    assert (SLOW_PS, FAST_PS) == (3_028_141, 1_588_141)
    for seconds in (1, 3.028141e-6):
        found = oracle.best(halves(latency_bound_s=seconds))
        assert found is not None
        assert found[0] in slow
        assert found[1] == SLOW_FJ
    for seconds in (3.02814e-6, 1.588141e-6):
        assert oracle.best(halves(latency_bound_s=seconds)) == (fast, FAST_FJ)
    assert oracle.best(halves(latency_bound_s=1.58814e-6)) is None

    # Other limits hold as well: an energy between the two, the bytes of the only segment, a power
    # (the slow schedule's: 273 pJ in 2.98 us, 0.092 mW) that leaves no schedule fast enough.
    assert (SLOW_FJ, FAST_FJ) == (280_056_050, 280_227_300)
    within = {"latency_bound_s": 3.028141e-6}
    assert oracle.best(halves(latency_bound_s=2e-6, energy_budget_j=2.801e-7)) is None
    assert oracle.best(halves(**within, energy_budget_j=2.8e-7)) is None
    assert oracle.best(halves(**within, dram_bytes_per_beat=8192)) is not None
    assert oracle.best(halves(**within, dram_bytes_per_beat=8191)) is None
    assert oracle.best(halves(**within, power_budget_w=0.1)) is not None
    assert oracle.best(halves(**within, power_budget_w=0.09)) is None


def test_latency_bound_couples_segments() -> None:
    # The layer twice, in segments of their own. Both slow, one slow and one fast, both fast: which
    # of the two is fast makes no difference.
    network = [conv(1, 1, 64, 3), conv(1, 1, 64, 3)]
    instance = physical(network, [(0, 1, 4096)], samples=1)
    for seconds, fast in ((6.056282e-6, 0), (6.056281e-6, 1), (4.616281e-6, 2), (3.17628e-6, None)):
        bounded = limited(instance, latency_bound_s=seconds)
        bounded["constraints"]["fixed_segments"] = [0, 1]
        found = oracle.best(bounded)
        if fast is None:
            assert found is None
        else:
            assert found is not None
            assert found[1] == (2 - fast) * SLOW_FJ + fast * FAST_FJ


# --- Enumeration ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("layers", "chiplets"), [(1, 1), (1, 4), (2, 3), (3, 2), (4, 4), (5, 3)])
def test_number_of_schedules(layers: int, chiplets: int) -> None:
    # Eq. 8, 9 for all chiplets used; with idle ones, the idle rest is one more (possibly empty)
    # region.
    full = list(oracle.enumerate_schedules(layers, chiplets, idle=False))
    assert len(full) == 2**layers * math.comb(layers + chiplets - 2, layers - 1)
    idle = list(oracle.enumerate_schedules(layers, chiplets))
    assert len(idle) == 2**layers * math.comb(layers + chiplets - 1, layers)
    assert len({str(schedule) for schedule in idle}) == len(idle)
    assert all(schedule in idle for schedule in full)


def test_number_of_schedules_with_segments() -> None:
    # Three layers on two chiplets; one segment of n layers has 2^n C(n + 1, n) = 4, 12, 32:
    # 4^3 + 2 * 4 * 12 + 32.
    found = [str(schedule) for schedule in oracle.enumerate_all(3, 2)]
    assert len(found) == len(set(found)) == 192


@pytest.mark.parametrize("segments", ["free", "single"])
@given(data=st.data())
@RELAXED
def test_best_is_the_least_of_all(segments: str, data: st.DataObject) -> None:
    instance = data.draw(
        st.one_of(
            strategies.table_instances(max_layers=3, max_chiplets=3, constraints=True),
            strategies.physical_instances(
                max_layers=2, max_chiplets=4, constraints=True, couplings=True
            ),
            strategies.trading_instances(max_layers=3, max_chiplets=3),
        )
    )
    judge = oracle.oracle(instance)

    def objective(schedule: Json) -> int:
        if not judge.minimizes_energy:
            return judge.objective_ps(schedule)
        energy = oracle.energy_fj_total(instance, schedule)
        assert energy is not None
        return energy

    every = oracle.enumerate_all if segments == "free" else oracle.enumerate_schedules
    valid = [s for s in every(judge.n_layers, judge.chiplets) if not judge.violations(s)]
    found = oracle.best(instance, segments)
    if found is None:
        assert valid == []
    else:
        schedule, value = found
        assert schedule in valid
        assert value == objective(schedule)
        assert value == min(objective(s) for s in valid)


@given(data=st.data())
@RELAXED
def test_limits(data: st.DataObject) -> None:
    instance = data.draw(strategies.physical_instances(couplings=True))
    free = {**instance, "constraints": {}}
    limits = instance["constraints"]
    schedule = data.draw(strategies.schedules(instance))
    # No limit changes the energy, and only power changes the latency: just enough to respect it.
    assert oracle.energy_fj_total(instance, schedule) == oracle.energy_fj_total(free, schedule)
    for segment in oracle.parse(schedule):
        beat, least = (oracle.oracle(x).beat_ps(segment) for x in (instance, free))
        if "power_budget_w" in limits:
            joules = Fraction(sum(oracle.oracle(free).segment_energy_fj(segment)), 10**15)
            budget = oracle.exact(limits["power_budget_w"])
            assert joules / Fraction(beat, 10**12) <= budget
            assert beat == least or joules / Fraction(beat - 1, 10**12) > budget
        else:
            assert beat == least
    # Each limit is a rule of its own.
    codes = set(oracle.violations(free, schedule))
    latency = Fraction(oracle.objective_ps(instance, schedule), 10**12)
    if latency > oracle.exact(limits.get("latency_bound_s", latency)):
        codes.add("latency-bound")
    segments = map(oracle.oracle(instance).dram_bytes, oracle.parse(schedule))
    if max(segments) > limits.get("dram_bytes_per_beat", math.inf):
        codes.add("dram-per-beat")
    assert oracle.violations(instance, schedule) == sorted(codes)


# --- The strategies ------------------------------------------------------------------------------


def check_network(network: Json) -> None:
    """Consistency rules of a network."""
    layers = network["layers"]
    for layer in layers:
        c, k, groups = layer["in_channels"], layer["out_channels"], layer["groups"]
        assert c % groups == k % groups == 0
        assert layer["input_bytes"] == c * layer["input_height"] * layer["input_width"]
        area = layer["kernel_height"] * layer["kernel_width"]
        assert layer["weight_bytes"] in (0, k * (c // groups) * area)
        outputs = k * layer["output_height"] * layer["output_width"]
        assert 1 <= layer["output_bytes"] <= outputs
        for side in ("height", "width"):
            size, kernel = layer[f"input_{side}"], layer[f"kernel_{side}"]
            # Reachable whether the padding is counted per end or for both ends together.
            for total in ({2 * pad for pad in range(kernel)}, set(range(kernel))):
                assert layer[f"output_{side}"] in {
                    (size + pad - kernel) // layer["stride"] + 1
                    for pad in total
                    if size + pad >= kernel
                }
    pairs = [(edge["from"], edge["to"]) for edge in network["edges"]]
    assert len(pairs) == len(set(pairs))
    assert all(0 <= u < v < len(layers) for u, v in pairs)
    assert {v for _, v in pairs} == set(range(1, len(layers)))
    for edge in network["edges"]:
        assert 1 <= edge["bytes"] <= layers[edge["from"]]["output_bytes"]


@given(data=st.data())
@RELAXED
def test_physical_instances(data: st.DataObject) -> None:
    extras: Json = {key: data.draw(st.booleans()) for key in ("constraints", "couplings")}
    instance = data.draw(strategies.physical_instances(**extras))
    check_network(instance["network"])
    judge = oracle.oracle(instance)
    assert judge.n_layers <= 6
    assert judge.chiplets <= 8
    for _ in range(3):
        schedule = data.draw(strategies.schedules(instance))
        assert not oracle.STRUCTURAL_CODES.intersection(oracle.violations(instance, schedule))
        assert oracle.objective_ps(instance, schedule) > 0
        energy = oracle.energy_j(instance, schedule)
        assert energy is not None
        assert energy["total"] == pytest.approx(sum(energy.values()) / 2)
        assert oracle.explain(instance, schedule)
        # Written as explicit tables the instance is the same.
        if not set(oracle.PHYSICAL_CONSTRAINTS).intersection(instance["constraints"]):
            tables = oracle.to_tables(instance)
            assert oracle.violations(tables, schedule) == oracle.violations(instance, schedule)
            assert oracle.objective_ps(tables, schedule) == oracle.objective_ps(instance, schedule)


@given(instance=strategies.trading_instances())
@RELAXED
def test_trading_instances(instance: Json) -> None:
    limits = instance["constraints"]
    free = {**limits, "latency_bound_s": None}
    fastest, found = oracle.best({**instance, "constraints": free}), oracle.best(instance)
    assert fastest is not None
    assert found is not None
    assert Fraction(fastest[1], 10**12) <= oracle.exact(limits["latency_bound_s"])
    energy = oracle.energy_fj_total(instance, fastest[0])
    assert energy is not None
    assert found[1] <= energy


@given(data=st.data())
@RELAXED
def test_table_instances(data: st.DataObject) -> None:
    instance = data.draw(strategies.table_instances(constraints=data.draw(st.booleans())))
    for _ in range(3):
        schedule = data.draw(strategies.schedules(instance))
        assert not oracle.STRUCTURAL_CODES.intersection(oracle.violations(instance, schedule))
        assert oracle.objective_ps(instance, schedule) > 0
        rows = oracle.layer_times(instance, schedule)
        assert [row.layer for row in rows] == list(range(len(instance["tables"]["layers"])))


def numbers_by_size(value: Any) -> list[list[int]]:
    """All lists of numbers in a table document."""
    if isinstance(value, dict):
        return [found for child in value.values() for found in numbers_by_size(child)]
    if isinstance(value, list):
        if all(isinstance(child, int) for child in value):
            return [value]
        return [found for child in value for found in numbers_by_size(child)]
    return []


@given(instance=strategies.table_instances(monotone=True))
@RELAXED
def test_monotone_tables(instance: Json) -> None:
    tables = instance["tables"]
    edges = [[edge["send_ps"], edge.get("receive_ps", [])] for edge in tables["edges"]]
    for table in numbers_by_size([tables["layers"], edges, tables["stream_fs_per_byte"]]):
        assert table == sorted(table, reverse=True)


@given(data=st.data())
@RELAXED
def test_broken_schedules(data: st.DataObject) -> None:
    instance = data.draw(
        st.one_of(strategies.table_instances(), strategies.physical_instances(max_chiplets=4))
    )
    schedule = data.draw(strategies.valid_or_not(instance))
    codes = oracle.violations(instance, schedule)
    if oracle.STRUCTURAL_CODES.intersection(codes):
        with pytest.raises(ValueError, match="not a schedule"):
            oracle.objective_ps(instance, schedule)
    else:
        assert oracle.objective_ps(instance, schedule) > 0


def test_strategies_reach_every_rule() -> None:
    seen: set[str] = set()
    sound = 0

    @given(data=st.data())
    @settings(RELAXED, max_examples=800, derandomize=True, database=None)
    def collect(data: st.DataObject) -> None:
        nonlocal sound
        instance = data.draw(
            st.one_of(
                strategies.table_instances(4, 4, constraints=True),
                strategies.physical_instances(4, 4, constraints=True, couplings=True),
            )
        )
        # Broken schedules are checked no further, so only a few of them.
        kind = data.draw(st.sampled_from([strategies.schedules] * 3 + [strategies.valid_or_not]))
        codes = oracle.violations(instance, data.draw(kind(instance)))
        seen.update(codes)
        sound += not codes

    collect()
    assert sound >= 20
    assert seen >= oracle.STRUCTURAL_CODES | {
        "capacity",
        "wsp-copy",
        "min-clusters",
        "max-clusters",
        "forbidden-merge",
        "required-merge",
        "fixed-partition",
        "region-multiple",
        "max-region",
        "fixed-segments",
        "energy-budget",
        "latency-bound",
        "dram-per-beat",
    }
