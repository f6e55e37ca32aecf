"""The cost model against numbers derived by hand, and entry by entry against the oracle."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Literal

import documents
import numpy as np
import oracle
import pytest
import strategies
from helpers import read
from hypothesis import given, settings

from scope_opt.cost import build
from scope_opt.cost.build import build_tables
from scope_opt.cost.dram import dram_s, dram_traffic
from scope_opt.cost.layers import layer_shape, tilings
from scope_opt.cost.nop import nop_coefficients, regression_pairs, separable_fit
from scope_opt.cost.rows import Rows, table_rows
from scope_opt.model.files import InputError
from scope_opt.model.generate import paper_instance
from scope_opt.model.instance import Instance
from scope_opt.model.network import Edge, Layer, Network
from scope_opt.model.package import Package
from scope_opt.model.tables import ISP, LIMIT, WSP, LatencyTables, ceil_int
from scope_opt.model.zoo import build_network, paper_package

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from documents import Json

DRAM = paper_package(1).dram


def conv(name: str, channels: tuple[int, int], size: int, kernel: int, **changes: int) -> Layer:
    return Layer.model_validate(documents.conv(*channels, size, kernel, name=name, **changes))


def network(layers: list[Layer], *edges: tuple[int, int, int]) -> Network:
    arrows = [Edge.model_validate({"from": u, "to": v, "bytes": size}) for u, v, size in edges]
    return Network(name="by hand", layers=tuple(layers), edges=tuple(arrows))


def with_parts(package: Package, **parts: Json) -> Package:
    """The package with some values changed, e.g. ``chiplet={"pes": 1}``; ``top`` for its own."""
    data = package.model_dump()
    data.update(parts.pop("top", {}))
    for part, changes in parts.items():
        data[part].update(changes)
    return Package.model_validate(data)


def instance(net: Network, package: Package, **changes: Any) -> Instance:
    return Instance(name="by hand", network=net, package=package, **changes)


# --- Rounding ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, 0),
        (1e-9, 1),
        (1.0, 1),
        (1.001, 2),
        (1.25e-7 * 1e12, 125_000),  # 125000.00000000001 as a float
        (5.2e-8 * 1e12, 52_000),
        (0.1 * 3 * 1e12, 300_000_000_000),  # 300000000000.00006
        (1e12 + 0.5, 10**12),  # half a unit in 10^12 counts as noise
        (1e11 + 0.5, 10**11 + 1),
    ],
)
def test_rounding_up(value: float, expected: int) -> None:
    assert int(ceil_int(value)) == expected


@pytest.mark.parametrize("value", [float(LIMIT), 1e30, float("inf"), float("nan")])
def test_rounding_refuses_what_int64_cannot_hold(value: float) -> None:
    with pytest.raises(InputError, match=r"a time or an energy: found .*; allowed below 2\^61"):
        ceil_int([1.0, value])


# --- Computation ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pe_split", "chiplets", "partition", "cycles"),
    [
        # conv1: 3 -> 64 channels, 7x7 kernel, 112x112 outputs; 16 PEs of 8 lanes with 8 MACs.
        # ceil(3/8) = 1 whatever w. 8 lanes on 64 channels: x = 8 with y = 2, or x = 1 with y = 16,
        # both 1*8*12544/16 = 6272 passes over the 49 kernel elements.
        ("any", 1, ISP, 6272 * 49),
        ("any", 1, WSP, 6272 * 49),
        # 4 of the 64 channels per chiplet: one pass with x = 1, so y = 16: 12544/16 = 784.
        ("any", 16, ISP, 784 * 49),
        # 4x4 tiles of 28x28 = 784 outputs: 8 channel passes over 16 PEs, 784*8/16 = 392.
        ("any", 16, WSP, 392 * 49),
        # Channels only: x = 8 covers the 64 channels, the other PEs idle: one pass per output.
        ("channels", 1, ISP, 12544 * 49),
        ("channels", 16, ISP, 12544 * 49),
        ("channels", 16, WSP, 784 * 49),
    ],
)
def test_resnet50_conv1(pe_split: str, chiplets: int, partition: int, cycles: int) -> None:
    package = with_parts(paper_package(16), top={"pe_split": pe_split})
    conv1 = build_network("resnet50").layers[0]
    assert layer_shape(conv1, package).cycles[partition, chiplets] == cycles
    # 800 MHz: 1250 ps per cycle.
    tables = build_tables(instance(build_network("resnet50"), package))
    assert tables.compute_ps[0, partition, chiplets] == cycles * 1250


def test_groups_are_dealt_out_whole_then_shared() -> None:
    # 2 groups of 4 -> 32 channels on 4x4 outputs; one PE of 2 lanes with 1 MAC: the cycles are
    # G' * A_g * ceil(K'/2) * O = G' * 4 * ceil(K'/2) * 16.
    package = with_parts(paper_package(6), chiplet={"pes": 1, "lanes_per_pe": 2})
    package = with_parts(package, chiplet={"macs_per_lane": 1})
    cycles = layer_shape(conv("grouped", (8, 64), 4, 1, groups=2), package).cycles
    assert cycles[ISP, 1:].tolist() == [
        2 * 4 * 16 * 16,
        1 * 4 * 16 * 16,
        1 * 4 * 16 * 16,  # floor(3/2) = 1 chiplet per group: the third one idles
        1 * 4 * 8 * 16,  # two chiplets per group: 16 channels each
        1 * 4 * 8 * 16,
        1 * 4 * 6 * 16,  # three: ceil(32/3) = 11 channels
    ]
    assert cycles[WSP, 1:].tolist() == [
        2 * 4 * 16 * outputs
        for outputs in (16, 8, 8, 4, 4, 4)  # 1x1, 1x2, 1x3: 4*2, 2x2, 1x5: 4*1, 2x3: 2*2
    ]


def test_groups_split_over_pes() -> None:
    # Depthwise: 4 groups of one channel, 3 outputs of 1x1. 4 PEs take a group each (z = 4).
    package = with_parts(paper_package(2), chiplet={"pes": 4})
    layer = conv("depthwise", (4, 4), 1, 1, groups=4)
    assert layer_shape(layer, package).cycles[:, 1:].tolist() == [[1, 1], [1, 1]]
    channels = with_parts(package, top={"pe_split": "channels"})
    # Without z the four groups follow one another; two chiplets take two each under ISP.
    assert layer_shape(layer, channels).cycles[:, 1:].tolist() == [[4, 2], [4, 4]]


@pytest.mark.parametrize(
    ("height", "width", "size", "grid"),
    [
        (56, 56, 1, (1, 1)),
        (56, 56, 3, (1, 3)),  # 56*19 either way; equally square; fewer rows
        (56, 56, 4, (2, 2)),  # 784 outputs for every grid: the square one
        (7, 7, 4, (1, 4)),  # 7*2 = 14; 2x2 gives 4*4 = 16
        (7, 7, 16, (4, 4)),  # 2*2 = 4; 2x8 gives 4*1 = 4 as well
        (7, 7, 14, (2, 7)),  # 4*1, 1*4 for 7x2: equally square
        (1, 1, 6, (2, 3)),  # more chiplets than outputs: all grids equal
        (9, 1, 4, (4, 1)),  # a column: 3, against 5 for 2x2
        (1, 9, 4, (1, 4)),
    ],
)
def test_tilings(height: int, width: int, size: int, grid: tuple[int, int]) -> None:
    rows, cols = tilings(height, width, 16)
    assert (rows[size - 1], cols[size - 1]) == grid


def test_halo_of_the_layer_s_own_input() -> None:
    package = paper_package(16)
    # 64 channels of 56x56, kernel 3, stride 1: each seam shares 2 rows or columns of 56.
    halo = layer_shape(conv("square", (64, 64), 56, 3), package).halo_bytes
    assert halo[1] == 0
    assert halo[2] == 64 * (1 * 2 * 56)
    assert halo[4] == 64 * (1 * 2 * 56 + 1 * 2 * 56)
    assert halo[16] == 64 * (3 * 2 * 56 + 3 * 2 * 56)
    # Stride 2 under kernel 3 shares 1; a kernel no larger than the stride shares nothing.
    strided = conv("strided", (64, 64), 56, 3, stride=2, output_height=28, output_width=28,
                   output_bytes=64 * 28 * 28)  # fmt: skip
    assert layer_shape(strided, package).halo_bytes[4] == 64 * (1 * 1 * 56 + 1 * 1 * 56)
    pointwise = conv("pointwise", (64, 64), 56, 1)
    assert not layer_shape(pointwise, package).halo_bytes.any()
    # 2x1 outputs on 2x8 tiles (1x1, 1 output each): min(8, 1) - 1 = 0 seams across, 1 down.
    narrow = conv("narrow", (5, 5), 3, 3, input_width=1, output_width=1, output_height=2,
                  input_height=2, input_bytes=10, output_bytes=10)  # fmt: skip
    rows, cols = tilings(2, 1, 16)
    assert (rows[15], cols[15]) == (4, 4)
    assert layer_shape(narrow, package).halo_bytes[16] == 5 * (1 * 2 * 1)


# --- Transfers -----------------------------------------------------------------------------------


def by_hand(volume: int = 1000) -> Instance:
    """Two layers on two chiplets side by side, where every coefficient can be worked out.

    All traffic uses the one link each way, b = 25 GB/s, 40 ps per byte. Gathering in the pair:
    every chiplet sends its half, gamma(2) = 1.12 * 1/2 * 40 = 22.4 ps per byte. From one chiplet
    to the other every byte crosses once: sigma + rho = 1.06 * 40, half each: 21.2 ps per byte.
    """
    layers = [
        conv("first", (3, 10), 10, 1, output_bytes=volume),
        conv("second", (10, 4), 10, 3),
    ]
    return instance(network(layers, (0, 1, volume)), paper_package(2))


def test_transfers_by_hand() -> None:
    tables = build_tables(by_hand())
    # Halo of the second layer on 1x2 tiles: 10 channels, one seam of 2 columns with 10 rows,
    # 200 bytes; each chiplet exchanges its half over two ports: 200/(2*2*b) = 2000 ps.
    assert tables.within_ps[0, :, :, 1].tolist() == [[0, 0], [0, 0]]
    assert tables.within_ps[0, ISP, ISP, 2] == 22_400
    assert tables.within_ps[0, WSP, ISP, 2] == 22_400
    assert tables.within_ps[0, WSP, WSP, 2] == 2_000
    assert tables.within_ps[0, ISP, WSP, 2] == 11_200 + 2_000
    assert tables.send_ps[0].tolist() == [0, 21_200, 21_200]
    assert tables.receive_ps[0, WSP].tolist() == [0, 21_200, 21_200]
    assert tables.receive_ps[0, ISP].tolist() == [0, 21_200, 21_200 + 22_400]
    # Weights: 10*3 bytes in the first layer, 4*10*9 in the second.
    assert tables.gather_ps.tolist() == [[0, 0, 672], [0, 0, 8064]]
    # The last layer has nothing to send.
    for table in (tables.within_ps, tables.send_ps, tables.receive_ps):
        assert not table[1].any()


def test_one_rounding_per_entry() -> None:
    # V = 1 byte: 11.2 + 2000 ps is 2012, not 12 + 2000 rounded apart (equal) nor 2011; the split
    # 21.2 + 22.4 = 43.6 is 44, not 22 + 23.
    tables = build_tables(by_hand(volume=1))
    assert tables.within_ps[0, ISP, WSP, 2] == 2_012
    assert tables.receive_ps[0, ISP, 2] == 44
    assert (tables.send_ps[0, 1], tables.receive_ps[0, WSP, 2]) == (22, 22)


def test_no_chain_edge_no_transfer() -> None:
    layers = [conv(f"l{i}", (4, 4), 8, 3) for i in range(3)]
    tables = build_tables(instance(network(layers, (0, 2, 100), (1, 2, 256)), paper_package(4)))
    for table in (tables.within_ps, tables.send_ps, tables.receive_ps):
        assert not table[0].any()
    assert tables.output_ps[0] == tables.input_ps[1] == 0
    # The skip edge is there: 100 bytes of DRAM traffic take 52 ns + 100/93 ns.
    assert (tables.edge_from.tolist(), tables.edge_to.tolist()) == ([0], [2])
    assert tables.edge_write_ps.tolist() == tables.edge_read_ps.tolist() == [53_076]


def test_skip_edges_are_sent_at_the_sender_s_share_and_sorted() -> None:
    layers = [conv(f"l{i}", (4, 4), 8, 3) for i in range(4)]
    edges = [(1, 3, 250), (0, 3, 100), (0, 2, 50), (0, 1, 256), (1, 2, 256), (2, 3, 256)]
    tables = build_tables(instance(network(layers, *edges), paper_package(2)))
    assert list(zip(tables.edge_from, tables.edge_to, strict=True)) == [(0, 2), (0, 3), (1, 3)]
    assert tables.edge_send_ps.tolist() == [[0, ps, ps] for ps in (1060, 2120, 5300)]


def test_regression_on_meshes_small_enough_to_solve() -> None:
    # 1x3: every transfer between neighbours puts all of its pairs on one link, y = 1 throughout.
    send, receive = separable_fit(3, lambda _r, _q: 1.0)
    assert send[1:].tolist() == receive[1:].tolist() == [0.5, 0.5, 0.5]
    assert send[0] == receive[0] == 0
    # A target that is a sum is met exactly: a = r, c = 2 + q up to a shift, which makes the means
    # over the grid 1, 2, 3, 4, 6 equal: a = r + 1, c = q + 1. Linear at 5, constant beyond 6.
    send, receive = separable_fit(7, lambda r, q: r + q + 2.0)
    assert send[1:] == pytest.approx([2, 3, 4, 5, 6, 7, 7])
    assert receive[1:] == pytest.approx([2, 3, 4, 5, 6, 7, 7])
    # q^3 wants a large shift towards a, but c must not fall below 0: a = 1, c = q^3 - 1.
    send, receive = separable_fit(7, lambda _r, q: float(q**3))
    assert send[1:] == pytest.approx([1] * 7)
    assert receive[1:4] == pytest.approx([0, 7, 26])


def test_one_chiplet_has_nowhere_to_send() -> None:
    assert regression_pairs(1) == []
    coefficients = nop_coefficients(1, 1, 1.12, 1.06)
    for field in fields(coefficients):
        assert not getattr(coefficients, field.name).any()


def test_regression_grid() -> None:
    assert regression_pairs(4) == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (3, 1)]
    assert max(r for r, _ in regression_pairs(256)) == 192


# --- DRAM ----------------------------------------------------------------------------------------


def test_dram_transfers() -> None:
    # 93 bytes per ns at 93% of 100 GB/s, after 52 ns; no bytes take no time.
    times = dram_s(paper_package(1).dram, np.array([0, 1, 930]))
    assert ceil_int(times * 1e12).tolist() == [0, 52_011, 62_000]


def test_segment_traffic_with_skip_edges() -> None:
    layers = [conv(f"l{i}", (4, 4), 8, 3) for i in range(4)]
    # Chain edges of 10, 0 (absent) and 30 bytes; skip edges 0 -> 2 of 5 and 0 -> 3 of 7 bytes.
    net = network(layers, (0, 1, 10), (2, 3, 30), (0, 2, 5), (0, 3, 7))
    # The network reads and writes 4*8*8 = 256 bytes.
    assert dram_traffic(net, DRAM, once=False).bytes.tolist() == [
        # to 0: out 10, both skips leave; to 1: out 0, both leave; to 2: 0 -> 3 leaves; to 3: none
        [256 + 10 + 12, 256 + 0 + 12, 256 + 30 + 7, 256 + 256],
        # from 1: in 10; layer 2 reads 5, layer 3 reads 7 of earlier segments
        [0, 10 + 0, 10 + 30 + 5, 10 + 256 + 12],
        [0, 0, 0 + 30 + 5, 0 + 256 + 12],
        [0, 0, 0, 30 + 256 + 7],
    ]
    tables = build_tables(instance(net, paper_package(2)))
    assert tables.segment_dram_ps[0, 0] == 52_000 + 2_990  # 278 bytes: 2989.2 ps
    assert tables.segment_dram_ps[1, 0] == 0
    assert tables.input_ps.tolist() == [52_000 + 2_753, 52_000 + 108, 0, 52_000 + 323]
    assert tables.output_ps.tolist() == [52_000 + 108, 0, 52_000 + 323, 52_000 + 2_753]


def test_loading_weights() -> None:
    layers = [conv("a", (31, 3), 4, 1), conv("b", (3, 4), 4, 1, weight_bytes=0)]
    layers.append(conv("c", (4, 465), 4, 1))
    net = network(layers, (0, 1, 48), (1, 2, 64))
    # 93, 0 and 1860 bytes: one latency for all weights of a segment, none without weights.
    assert build_tables(instance(net, paper_package(2))).load_ps.tolist() == [
        [53_000, 53_000, 73_000],
        [0, 0, 72_000],
        [0, 0, 72_000],
    ]


def test_refetching_at_a_share_of_the_bandwidth() -> None:
    tables = build_tables(paper_instance("alexnet", 16, overflow="stream"))
    assert tables.stream
    assert tables.dram_latency_ps == 52_000
    # 16 of 16 chiplets: 1e15/93e9 = 10752.7 fs per byte; one chiplet has a sixteenth of that rate.
    assert tables.stream_fs_per_byte[[0, 1, 8, 16]].tolist() == [0, 172_044, 21_506, 10_753]


# --- Energy --------------------------------------------------------------------------------------


def test_energy_by_hand() -> None:
    tables = build_tables(by_hand())
    energy = tables.energy
    assert energy is not None
    # MACs: 10*3*100 and 4*10*9*100, 0.2 pJ each.
    assert energy.mac_fj.tolist() == [3000 * 200, 36000 * 200]
    # SRAM, 1250 fJ per byte. First: 30 bytes of weights, 300 of input, 1000 of output.
    assert energy.sram_fj[0, ISP].tolist() == [0, 1330 * 1250, 1630 * 1250]  # input twice
    assert energy.sram_fj[0, WSP].tolist() == [0, 1330 * 1250, 1360 * 1250]  # weights twice
    # Second: 360, 1000 and 400 bytes, and under WSP on two chiplets 200 bytes of halo.
    assert energy.sram_fj[1, WSP].tolist() == [0, 1760 * 1250, (1760 + 360 + 200) * 1250]
    # NoP: one hop, 8 * 1.3 pJ = 10400 fJ per byte. Gathering moves half to the other, twice.
    hop = 10_400
    assert energy.gather_fj.tolist() == [[0, 0, 30 * hop], [0, 0, 360 * hop]]
    assert energy.within_fj[0, :, ISP, 2].tolist() == [1000 * hop] * 2
    assert energy.within_fj[0, ISP, WSP, 2] == (500 + 200) * hop
    assert energy.within_fj[0, WSP, WSP, 2] == 200 * hop
    assert not energy.within_fj[0, :, :, :2].any()
    # Between the chiplets: mean distance 1, half for the sender and half for the receiver.
    assert energy.send_fj[0].tolist() == [0, 500 * hop, 500 * hop]
    assert energy.receive_fj[0, WSP].tolist() == [0, 500 * hop, 500 * hop]
    assert energy.receive_fj[0, ISP].tolist() == [0, 500 * hop, 1500 * hop]
    # DRAM: 8 * 4 pJ per byte.
    assert energy.dram_fj_per_byte == 32_000
    assert energy.input_bytes.tolist() == [300, 1000]
    assert energy.output_bytes.tolist() == [1000, 400]


def test_energy_of_skip_edges_crosses_the_mesh_s_mean_distance() -> None:
    layers = [conv(f"l{i}", (4, 4), 8, 3) for i in range(3)]
    edges = [(0, 1, 256), (1, 2, 256), (0, 2, 100)]
    tables = build_tables(instance(network(layers, *edges), paper_package(4)))
    assert tables.energy is not None
    # 2x2: of the three others two are one hop away and one is two, 4/3 on average.
    assert tables.energy.edge_send_fj.tolist() == [[0, *[1_386_667] * 4]]
    assert tables.energy.edge_bytes.tolist() == [100]


# --- The worked example of docs/model.md, section 14 ---------------------------------------------


def worked_example() -> Instance:
    layers = [conv(name, (64, 64), 56, 3) for name in ("l0", "l1")]
    return instance(network(layers, (0, 1, 200_704)), paper_package(16))


@pytest.mark.parametrize(
    ("name", "index", "expected"),
    [
        ("compute_ps", (0, ISP), [141120000, 52920000, 35280000, 17640000, 17640000]),
        ("compute_ps", (0, WSP), [141120000, 47880000, 35280000, 17640000, 8820000]),
        ("gather_ps", (0,), [0, 1101005, 1460949, 1651508, 1651508]),
        ("within_ps", (0, WSP, WSP), [0, 95574, 71680, 71680, 53760]),
        ("within_ps", (0, WSP, ISP), [0, 5994360, 7954054, 8991540, 8991540]),
        ("within_ps", (0, ISP, ISP), [0, 5994360, 7954054, 8991540, 8991540]),
        ("within_ps", (0, ISP, WSP), [0, 2093694, 2060194, 1195623, 615732]),
        ("send_ps", (0,), [4784766, 2237528, 1377125, 1202455, 740523]),
        ("receive_ps", (0, WSP), [5129652, 1989894, 1583954, 802173, 822216]),
        ("receive_ps", (0, ISP), [5129652, 7984253, 9538007, 9793713, 9813755]),
        ("stream_fs_per_byte", (), [172044, 57348, 43011, 21506, 10753]),
    ],
)
def test_tables_of_the_worked_example(
    name: str, index: tuple[int, ...], expected: list[int]
) -> None:
    table = getattr(build_tables(worked_example()), name)[index]
    assert table[[1, 3, 4, 8, 16]].tolist() == expected


def test_dram_times_of_the_worked_example() -> None:
    tables = build_tables(worked_example())
    assert tables.input_ps.tolist() == tables.output_ps.tolist() == [2_210_108] * 2
    assert tables.segment_dram_ps.tolist() == [[4_368_216] * 2, [0, 4_368_216]]
    assert tables.load_ps.tolist() == [[448_388, 844_775], [0, 448_388]]


# --- Against the oracle --------------------------------------------------------------------------

FREE_OF_PHYSICS = {
    *("load", "parallelism", "energy"),
    *("flow", "placed", "held_bytes", "activation_buffer_bytes"),
    *("own_read_ps", "own_write_ps", "own_read_bytes", "own_write_bytes"),
}
"""What explicit tables lack or define differently: search hints, energies, bytes, places."""


def latency_arrays(tables: LatencyTables) -> dict[str, Any]:
    return {
        field.name: np.asarray(getattr(tables, field.name)).tolist()
        for field in fields(tables)
        if field.name not in FREE_OF_PHYSICS
    }


@given(strategies.physical_instances(max_layers=4, max_chiplets=12))
def test_tables_equal_the_oracle_s(document: Json) -> None:
    found = latency_arrays(build_tables(read(document)))
    assert found == latency_arrays(build_tables(read(oracle.to_tables(document))))


@given(strategies.physical_instances(max_layers=3))
@settings(max_examples=50)
def test_energies_equal_the_oracle_s(document: Json) -> None:
    tables, model = build_tables(read(document)), oracle.oracle(document).physical
    energy = tables.energy
    assert energy is not None
    assert model is not None
    layers, sizes = range(tables.layers), range(1, tables.chiplets + 1)
    both = (oracle.ISP, oracle.WSP)

    def rows(entry: Callable[[int, int], int], items: Iterable[int] = layers) -> list[list[int]]:
        return [[entry(item, r) for r in sizes] for item in items]

    assert energy.mac_fj.tolist() == [model.mac_fj(i) for i in layers]
    expected = [[[model.sram_fj(i, p, r) for r in sizes] for p in both] for i in layers]
    assert energy.sram_fj[..., 1:].tolist() == expected
    assert energy.gather_fj[:, 1:].tolist() == rows(model.gather_fj)
    assert energy.within_fj[..., 1:].tolist() == [
        [[[model.within_fj(i, p, q, r) for r in sizes] for q in both] for p in both] for i in layers
    ]
    assert energy.send_fj[:, 1:].tolist() == rows(model.send_fj)
    assert energy.receive_fj[..., 1:].tolist() == [
        [[model.receive_fj(i, q, r) for r in sizes] for q in both] for i in layers
    ]
    skips = sorted(range(len(model.skips)), key=lambda edge: model.skips[edge])
    assert energy.edge_send_fj[:, 1:].tolist() == rows(lambda e, _: model.skip_fj(e), skips)
    assert energy.dram_fj_per_byte == model.dram_fj_per_byte
    spans = [(first, last) for last in layers for first in range(last + 1)]
    assert [model.segment_bytes(*span) for span in spans] == [
        dram_traffic(network_of(document), DRAM, once=False).bytes[span] for span in spans
    ]


def network_of(document: Json) -> Network:
    net = read(document).network
    assert net is not None
    return net


# --- Sizes and limits ----------------------------------------------------------------------------


def test_the_largest_instance_of_the_paper() -> None:
    tables = build_tables(paper_instance("resnet152", 256))
    layers, sizes, skips = 156, 257, len(tables.edge_from)
    assert (tables.layers, tables.chiplets) == (layers, 256)
    # One per block, and a second one where the shortcut is a projection.
    assert skips == len(build_network("resnet152").skip_edges()) == 50 + 4
    shapes = {
        "compute_ps": (layers, 2, sizes),
        "gather_ps": (layers, sizes),
        "within_ps": (layers, 2, 2, sizes),
        "send_ps": (layers, sizes),
        "receive_ps": (layers, 2, sizes),
        "input_ps": (layers,),
        "output_ps": (layers,),
        "edge_send_ps": (skips, sizes),
        "edge_write_ps": (skips,),
        "segment_dram_ps": (layers, layers),
        "load_ps": (layers, layers),
        "stream_fs_per_byte": (sizes,),
    }
    for name, shape in shapes.items():
        table = getattr(tables, name)
        assert (name, table.shape, table.dtype) == (name, shape, np.int64)
        assert table.min() >= 0
        assert not table.flags.writeable


def test_times_beyond_int64_are_refused() -> None:
    small = by_hand()
    assert small.network is not None
    assert small.package is not None
    slow = with_parts(small.package, chiplet={"frequency_hz": 1e-9})
    with pytest.raises(InputError, match=r"by hand: package.chiplet.frequency_hz: a time in ps"):
        build_tables(instance(small.network, slow))
    # Each entry fits, but not the sum over a billion samples; so many fit, and not one more.
    crawling = with_parts(small.package, chiplet={"frequency_hz": 1.0})
    with pytest.raises(InputError, match=r"samples: 1000000000 could take .* in layer 1") as error:
        build_tables(instance(small.network, crawling, samples=10**9))
    most = re.search(r"at most (\d+) samples fit", str(error.value))
    assert most is not None
    fitting = int(most[1])
    assert build_tables(instance(small.network, crawling, samples=fitting)).samples == fitting
    with pytest.raises(InputError, match=f"at most {fitting} samples fit"):
        build_tables(instance(small.network, crawling, samples=fitting + 1))


def test_the_largest_batches_fit() -> None:
    document = paper_instance("resnet152", 256, samples=10**6)
    assert build_tables(document).worst_latency_ps < LIMIT / 10


@pytest.mark.parametrize("nop", ["regressed", "placed"])
def test_layers_alike_share_what_is_built(
    nop: Literal["regressed", "placed"], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of equal layers against tables in which each layer is built by itself."""
    blocks = 4
    layers = [
        layer.model_copy(update={"name": f"{layer.name}-{block}"})
        for block in range(blocks)
        for layer in (conv("a", (8, 8), 6, 3), conv("b", (8, 8), 6, 3), conv("c", (8, 8), 6, 1))
    ]
    edges = []
    for a in range(0, 3 * blocks, 3):
        # The third layer of a block reads both others; it is added to that of the next block.
        edges += [(a, a + 1, "input"), (a, a + 2, "input"), (a + 1, a + 2, "input")]
        if a + 3 < 3 * blocks:
            edges += [(a + 2, a + 3, "sum" if a == 3 else "input"), (a + 2, a + 5, "sum")]
    net = Network(
        name="blocks",
        layers=tuple(layers),
        edges=tuple(
            Edge.model_validate({"from": u, "to": v, "bytes": 288, "feeds": feeds})
            for u, v, feeds in edges
        ),
    )
    document = instance(net, paper_package(9, nop=nop))
    shared = build_tables(document)
    assert len(table_rows(net).first) < len(layers)
    single = Rows(list(range(len(layers))), np.arange(len(layers)))
    monkeypatch.setattr(build, "table_rows", lambda _: single)
    expected = build_tables(document)
    for found, wanted in ((shared, expected), (shared.energy, expected.energy)):
        assert found is not None
        assert wanted is not None
        for field in fields(wanted):
            value = getattr(wanted, field.name)
            if isinstance(value, np.ndarray):
                assert np.array_equal(getattr(found, field.name), value), field.name
    if shared.placed is not None and expected.placed is not None:
        found_halos, wanted_halos = shared.placed.halos(), expected.placed.halos()
        assert np.array_equal(found_halos[shared.placed.shape], wanted_halos[expected.placed.shape])


def test_building_tables_can_be_ended() -> None:
    class EndedError(Exception):
        pass

    def pause() -> None:
        raise EndedError

    with pytest.raises(EndedError):
        build_tables(by_hand(), pause)


def test_refetch_times_count_only_where_weights_are_fetched_again() -> None:
    """Under a slow DRAM; searches still compute with times of excess."""
    small = by_hand()
    assert small.network is not None
    assert small.package is not None
    layers = [layer.model_copy(update={"weight_bytes": 10**10}) for layer in small.network.layers]
    net = small.network.model_copy(update={"layers": tuple(layers)})
    slow = with_parts(small.package, dram={"bandwidth_bytes_per_s": 1e5})
    tables = build_tables(instance(net, slow, samples=3))
    excess = 2 * 10**10
    refetch = excess * int(tables.stream_fs_per_byte.max())
    assert refetch < LIMIT
    assert tables.worst_latency_ps + (3 + 2) * (refetch // 1000) < LIMIT
    with pytest.raises(InputError, match="choose overflow 'forbid' or a faster DRAM"):
        build_tables(instance(net, slow, samples=3, overflow="stream"))


def test_explicit_times_beyond_int64_are_refused() -> None:
    layer = {"name": "l", "weight_bytes": 1, "compute_ps": {"ISP": [2**61], "WSP": [1]}}
    document: Json = {
        "format": "scope-instance/1",
        "name": "huge",
        "samples": 1,
        "tables": {"chiplets": 1, "weight_buffer_bytes": 1, "layers": [layer]},
    }
    with pytest.raises(InputError, match=r"instance huge: samples: .*even one sample is too slow"):
        build_tables(read(document))
    layer["compute_ps"] = {"ISP": [1], "WSP": [1]}
    layer["weight_bytes"] = 2**62
    with pytest.raises(InputError, match="4611686018427387904 bytes of weights on 1 chiplets"):
        build_tables(read(document))
