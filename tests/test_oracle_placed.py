"""Checks of the oracle's placed model, and of what it brings to the regressed one, by hand.

One link carries b = 25 GB/s, and eta_link is 1 where not said otherwise: a byte takes 40 ps and
10 400 fJ.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import oracle
import oracle_placed
import placed_strategies
import pytest
import strategies
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import ISP, WSP, Cluster, to_json
from oracle_placed import PlacedOracle, PlacedTimes

Json = dict[str, Any]

RELAXED = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

BYTE_PS, BYTE_FJ = 40, 10_400


def conv(in_channels: int, out_channels: int, size: int, kernel: int = 1, **changes: Any) -> Json:
    """A square layer with stride 1 and "same" padding."""
    layer: Json = {
        "name": "layer",
        "in_channels": in_channels,
        "out_channels": out_channels,
        "input_height": size,
        "input_width": size,
        "output_height": size,
        "output_width": size,
        "kernel_height": kernel,
        "kernel_width": kernel,
        "stride": 1,
        "groups": 1,
        "weight_bytes": out_channels * in_channels * kernel**2,
        **changes,
    }
    inputs = layer["in_channels"] * layer["input_height"] * layer["input_width"]
    outputs = layer["out_channels"] * layer["output_height"] * layer["output_width"]
    return {"input_bytes": inputs, "output_bytes": outputs, **layer}


def tensor(volume: int) -> Json:
    """A layer that reads and writes so many bytes, and weighs none."""
    size = {"input_width": volume, "output_width": volume}
    return conv(1, 1, 1, **size, weight_bytes=0)


def edge(u: int, v: int, volume: int, feeds: str | None = None) -> Json:
    fed = {} if feeds is None else {"feeds": feeds}
    return {"from": u, "to": v, "bytes": volume, **fed}


def problem(
    layers: list[Json],
    edges: list[Json],
    rows: int = 1,
    cols: int = 2,
    nop: Json | None = None,
    dram: Json | None = None,
    package: Json | None = None,
    buffer: int = 2**20,
    **changes: Any,
) -> Json:
    """The paper's chiplet on a small mesh."""
    return {
        "format": "scope-instance/1",
        "name": "by-hand",
        "samples": 1,
        "network": {"name": "by-hand", "layers": layers, "edges": edges},
        "package": {
            "mesh_rows": rows,
            "mesh_cols": cols,
            "chiplet": {
                "pes": 16,
                "lanes_per_pe": 8,
                "macs_per_lane": 8,
                "frequency_hz": 8e8,
                "weight_buffer_bytes": buffer,
                "global_buffer_bytes": 65536,
            },
            "nop": {
                "model": "placed",
                "bandwidth_bytes_per_s": 1e11,
                "ports": 4,
                "energy_pj_per_bit": 1.3,
                "eta_within": 1.12,
                "eta_between": 1.06,
                "eta_link": 1.0,
                **(nop or {}),
            },
            "dram": {
                "bandwidth_bytes_per_s": 1e11,
                "latency_s": 5.2e-8,
                "efficiency": 0.93,
                "energy_pj_per_bit": 4.0,
                **(dram or {}),
            },
            "pe_split": "any",
            "mac_energy_pj": 0.2,
            "sram_energy_pj_per_byte": 1.25,
            **(package or {}),
        },
        **changes,
    }


#: Memory that is never in the way.
FREE_DRAM = {"bandwidth_bytes_per_s": 1e30, "latency_s": 0.0}
REGRESSED = {"model": "regressed"}


def placed(instance: Json) -> PlacedOracle:
    judge = oracle.oracle(instance)
    assert isinstance(judge, PlacedOracle)
    return judge


def mesh(rows: int, cols: int, **package: Any) -> PlacedTimes:
    """The transfers of a package, whatever the network."""
    nop = package.pop("nop", None)
    return placed(problem([tensor(1)], [], rows, cols, nop=nop, package=package)).placed


def one_segment(*clusters: Cluster) -> Json:
    return to_json([clusters])


def comm(instance: Json, *partitions: str, chiplets: int = 2) -> list[int]:
    """Communication of every layer, all in one cluster."""
    cluster = Cluster(0, len(partitions) - 1, chiplets, partitions)
    return [row.comm_ps for row in oracle.layer_times(instance, one_segment(cluster))]


def nop_fj(instance: Json, schedule: Json) -> int:
    energy = oracle.oracle(instance).energy_fj(schedule)
    assert energy is not None
    return energy["nop"]


def along(cols: list[int]) -> list[list[int]]:
    """An order of the chiplets of a line."""
    return [[0, col] for col in cols]


def right(col: int) -> oracle.Link:
    return (0, col), (0, col + 1)


def left(col: int) -> oracle.Link:
    return (0, col), (0, col - 1)


# --- Order of positions --------------------------------------------------------------------------


def test_orders() -> None:
    def order(name: Any, rows: int = 3, cols: int = 4) -> list[tuple[int, int]]:
        return mesh(rows, cols, order=name).chiplet_at

    # Left stripe downwards, right stripe upwards; in both the first row visited runs right.
    down = [(0, 0), (0, 1), (1, 1), (1, 0), (2, 0), (2, 1)]
    up = [(2, 2), (2, 3), (1, 3), (1, 2), (0, 2), (0, 3)]
    assert order("blocks-2") == down + up
    # The first row visited need not be an even one.
    up = [(1, 2), (1, 3), (0, 3), (0, 2)]
    assert order("blocks-2", 2, 4) == [(0, 0), (0, 1), (1, 1), (1, 0), *up]
    assert order("blocks-1", 2, 2) == [(0, 0), (1, 0), (1, 1), (0, 1)]
    assert order("blocks-4") == order("zigzag") == mesh(3, 4).chiplet_at
    assert order("zigzag", 2, 2) == [(0, 0), (0, 1), (1, 1), (1, 0)]
    # Hilbert's curve of second order: quarters in U, the outer two lying down.
    quarters = [(0, 0), (0, 1), (1, 1), (1, 0)], [(2, 0), (3, 0), (3, 1), (2, 1)]
    right = [(2, 2), (3, 2), (3, 3), (2, 3)], [(1, 3), (1, 2), (0, 2), (0, 3)]
    assert order("hilbert", 4, 4) == [place for part in (*quarters, *right) for place in part]
    # Long meshes are cut across: 2 x 2 and 2 x 2.
    assert order("hilbert", 2, 4) == [
        *[(0, 0), (1, 0), (1, 1), (0, 1)],
        *[(0, 2), (1, 2), (1, 3), (0, 3)],
    ]
    assert order("hilbert", 1, 3) == [(0, 0), (0, 1), (0, 2)]
    assert order("hilbert", 3, 1) == [(0, 0), (1, 0), (2, 0)]
    assert order([[1, 1], [0, 0], [1, 0], [0, 1]], 2, 2) == [(1, 1), (0, 0), (1, 0), (0, 1)]


# --- Transfers -----------------------------------------------------------------------------------


def test_relayed_gather() -> None:
    # Thirds of the tensor: rightwards those of one, then two chiplets, leftwards likewise.
    third = Fraction(1, 3)
    model = mesh(1, 4)
    assert model.gather(0, 3) == {
        right(0): third,
        right(1): 2 * third,
        left(2): third,
        left(1): 2 * third,
    }
    assert set(model.gather(1, 3)) == {right(1), right(2), left(3), left(2)}
    assert model.gather(2, 1) == {}


def test_relayed_gather_over_longer_routes() -> None:
    # Positions at columns 2, 0, 1. From the first to the second: 1/3 over two links leftwards, 2/3
    # back. From the second to the third: 2/3 to the right, where 2/3 are already; 1/3 back.
    third = Fraction(1, 3)
    assert mesh(1, 3, order=along([2, 0, 1])).gather(0, 3) == {
        left(2): third,
        left(1): 2 * third,
        right(0): 4 * third,
        right(1): 2 * third,
    }


def test_unicast_gather() -> None:
    # On a line of three each of the links carries two of the six pairs, a third each.
    load = mesh(1, 3, nop={"gather": "unicast"}).gather(0, 3)
    assert load == dict.fromkeys([right(0), right(1), left(2), left(1)], Fraction(2, 3))


def test_exchange_and_scatter() -> None:
    # 2x2: the busiest link carries 2 of the ordered pairs, of 1/16 each; the four pairs between two
    # and two go 1/4 each, two of them down each column.
    model = mesh(2, 2)
    assert max(model.exchange(0, 4).values()) == Fraction(2, 16)
    # Eight pairs one link apart, four pairs two.
    assert sum(model.exchange(0, 4).values()) == Fraction(8 + 2 * 4, 16)
    assert max(model.scatter(0, 2, 2).values()) == Fraction(2, 4)
    # 1x3: everything passes the first link, half of it the second.
    assert mesh(1, 3).scatter(0, 1, 2) == {right(0): 1, right(1): Fraction(1, 2)}


def halo(layer: Json, r: int, rows: int, cols: int) -> dict[oracle.Link, Fraction]:
    return placed(problem([layer], [], rows, cols)).placed.halo(0, 0, r)


def test_halo_on_tiles() -> None:
    # 2 x 2 tiles. A seam holds 2 rows (or columns) of 4 values in 3 channels: 24 bytes, so 12 for
    # each of two pairs and 6 each way: (0,2), (1,3) down, (0,1), (2,3) across.
    layer = conv(3, 5, 4, 3)
    # On a line the first link rightwards carries 0-1 and 0-2, the second 0-2 and 1-3, ...
    load = halo(layer, 4, 1, 4)
    assert load == dict.fromkeys([right(0), right(1), right(2), left(3), left(2), left(1)], 12)
    # On 2x2 position 2 is opposite of 0, and 3 of 1: 0-2 goes over 1's chiplet, 2-0 over 3's.
    load = halo(layer, 4, 2, 2)
    for one, other in (((0, 0), (0, 1)), ((1, 0), (1, 1))):
        assert load[one, other] == load[other, one] == 12
    for one, other in (((0, 0), (1, 0)), ((0, 1), (1, 1))):
        assert load[one, other] == load[other, one] == 6
    # Five tiles in a row, of which the last is empty.
    assert halo(layer, 5, 1, 5) == dict.fromkeys(
        [right(0), right(1), right(2), left(3), left(2), left(1)], 12
    )
    assert halo(layer, 1, 1, 4) == {}
    # 2 x 2 tiles of two outputs, the right ones empty: 2 rows of 2 values in 3 channels, all of it
    # between positions 0 and 2.
    tall = conv(3, 5, 2, 3, stride=[1, 2], output_width=1)
    assert placed(problem([tall], [], 2, 2)).placed.tiling(0, 4) == (2, 2)
    assert halo(tall, 4, 1, 4) == dict.fromkeys([right(0), right(1), left(2), left(1)], 6)


def test_halo_with_stride_and_dilation() -> None:
    # One output depends on 2 (3 - 1) + 1 = 5 rows and 3 columns. Row seams: 5 - 1 rows of 4 values
    # in 3 channels, 48 bytes; column seams: 3 - 2 columns, 12 bytes.
    layer = conv(3, 5, 4, 3, stride=[1, 2], dilation=[2, 1], output_width=2)
    model = placed(problem([layer], [], 2, 2)).placed
    assert model.reach(0) == (5, 3)
    assert model.seam_bytes(0) == (48, 12)
    # Two tiles one above the other (4 outputs as side by side, so the smaller r1 wins: 1x2).
    assert model.tiling(0, 2) == (1, 2)
    assert halo(layer, 2, 1, 2) == {right(0): 6, left(1): 6}
    # 2x2: 48 bytes down in two pairs, 12 across in two pairs: on a line 12 and 3 each way.
    assert halo(layer, 4, 1, 4)[right(0)] == 12 + 3
    assert halo(layer, 4, 1, 4)[right(1)] == 12 + 12
    # The regressed model's halo is the sum of the seams.
    assert model.halo_bytes(0, 4) == 60
    # A stride beyond the kernel leaves nothing to share.
    far = conv(3, 5, 4, 3, stride=[4, 3], output_height=1, output_width=2)
    assert placed(problem([far], [])).placed.seam_bytes(0) == (0, 0)


# --- Entries inside a cluster --------------------------------------------------------------------


def pair(feeds: str | None = None, **nop: Any) -> Json:
    """48 bytes into a 3x3 kernel, with a halo of 24 bytes on two chiplets, 12 each way."""
    return problem([conv(1, 3, 4), conv(3, 5, 4, 3)], [edge(0, 1, 48, feeds)], nop=nop)


def test_chain_edge() -> None:
    # Gathering: half of it each way. Exchanging: a quarter each way.
    for p in (ISP, WSP):
        assert comm(pair(), p, ISP)[0] == 24 * BYTE_PS
    assert comm(pair(), WSP, WSP)[0] == 12 * BYTE_PS
    assert comm(pair(), ISP, WSP)[0] == 12 * BYTE_PS + 12 * BYTE_PS
    # One chiplet has nobody to talk to.
    assert comm(pair(), ISP, WSP, chiplets=1)[0] == 0


def test_chain_edge_that_is_added() -> None:
    for p in (ISP, WSP):
        for q in (ISP, WSP):
            assert comm(pair("sum"), p, q)[0] == (0 if p == q else 12 * BYTE_PS)


def test_link_factor_and_rounding() -> None:
    # 24 bytes at 1.15 (the default): 1104 ps; 1.001: 960.96, rounded up once.
    instance = pair()
    del instance["package"]["nop"]["eta_link"]
    assert comm(instance, ISP, ISP)[0] == 1104
    assert comm(pair(eta_link=1.001), ISP, ISP)[0] == 961
    # One entry: twice 480.48.
    assert comm(pair(eta_link=1.001), ISP, WSP)[0] == 961


def test_energy_inside_a_cluster() -> None:
    def energy(feeds: str | None, p: str, q: str) -> int:
        return nop_fj(pair(feeds), one_segment(Cluster(0, 1, 2, (p, q))))

    # Weights of a WSP layer: 3 bytes, 135 bytes, of which half goes each way.
    first, second = 3 * BYTE_FJ, 135 * BYTE_FJ
    assert energy(None, ISP, ISP) == 48 * BYTE_FJ
    assert energy(None, WSP, ISP) == 48 * BYTE_FJ + first
    assert energy(None, WSP, WSP) == 24 * BYTE_FJ + first + second
    assert energy(None, ISP, WSP) == 24 * BYTE_FJ + 24 * BYTE_FJ + second
    assert energy("sum", ISP, WSP) == 24 * BYTE_FJ + second
    assert energy("sum", ISP, ISP) == 0


def test_weight_gather() -> None:
    # 135 bytes, half of it over the link: 2700 ps; reading 16 bytes takes 52 172.04.. ps.
    schedule = one_segment(Cluster(0, 1, 2, (WSP, WSP)))
    assert [row.pre_ps for row in oracle.layer_times(pair(), schedule)] == [52_173 + 60, 2700]
    alone = to_json([(Cluster(0, 0, 2, (ISP,)),), (Cluster(1, 1, 2, (WSP,)),)])
    # 52 000 + 48 / 0.093, no gather.
    assert [row.pre_ps for row in oracle.layer_times(pair(), alone)] == [52_173, 52_517]


def projection(chain: int = 48, partial: int = 48, **nop: Any) -> Json:
    """A projection (1) and a 3x3 convolution (2) read the same tensor."""
    layers = [conv(1, 3, 4), conv(3, 5, 4), conv(3, 5, 4, 3)]
    edges = [edge(0, 1, chain), edge(0, 2, partial, "input")]
    return problem(layers, edges, cols=4, nop=nop)


def test_input_edge_inside_a_cluster() -> None:
    # While layer 1 runs: gathered or exchanged, and the halo of layer 2, which has no chain edge.
    assert comm(projection(), WSP, WSP, ISP)[1] == 24 * BYTE_PS
    assert comm(projection(), WSP, WSP, WSP)[1] == 12 * BYTE_PS + 12 * BYTE_PS
    # As ISP layer 1 has gathered it for itself.
    assert comm(projection(), WSP, ISP, ISP)[1] == 0
    assert comm(projection(), WSP, ISP, WSP)[1] == 0
    # Less of it does not help.
    assert comm(projection(40), WSP, ISP, ISP)[1] == 24 * BYTE_PS
    assert comm(projection(48, 40), WSP, ISP, ISP)[1] == 0
    # Nor does what was only added.
    added = projection()
    added["network"]["edges"][0]["feeds"] = "sum"
    assert comm(added, WSP, ISP, ISP)[1] == 24 * BYTE_PS
    # Exchange and halo are entries of their own: 480.48 each.
    assert comm(projection(eta_link=1.001), WSP, WSP, WSP)[1] == 481 + 481
    assert nop_fj(projection(), one_segment(Cluster(0, 2, 2, (ISP, ISP, ISP)))) == 48 * BYTE_FJ


def test_input_edge_beside_a_chain_edge() -> None:
    # Layer 2 reads layers 0 and 1: the halo belongs to the chain edge.
    layers = [conv(1, 3, 4), conv(3, 5, 4), conv(3, 5, 4, 3)]
    edges = [edge(0, 1, 48), edge(1, 2, 80), edge(0, 2, 8, "input")]
    instance = problem(layers, edges)
    assert comm(instance, WSP, WSP, WSP)[1] == 12 * BYTE_PS + 2 * BYTE_PS
    assert comm(instance, WSP, WSP, ISP)[1] == 40 * BYTE_PS + 4 * BYTE_PS
    # Added to the output, it stays where it is.
    instance["network"]["edges"][2] = edge(0, 2, 8)
    assert comm(instance, WSP, WSP, WSP)[1] == 12 * BYTE_PS
    # A chain edge that is added brings no halo, and none is charged for the other edge either.
    instance["network"]["edges"][1:] = [edge(1, 2, 80, "sum"), edge(0, 2, 8, "input")]
    assert comm(instance, WSP, WSP, WSP)[1] == 2 * BYTE_PS


def test_input_edge_from_an_earlier_cluster_or_segment() -> None:
    # It came with the hand-over: 48 bytes for both readers, gathered anew for layer 2.
    schedule = one_segment(Cluster(0, 0, 1, (ISP,)), Cluster(1, 2, 2, (WSP, ISP)))
    rows = oracle.layer_times(projection(), schedule)
    assert [row.comm_ps for row in rows[:2]] == [48 * BYTE_PS, 24 * BYTE_PS]
    # From an earlier segment it is read, and nothing is moved.
    apart = to_json([(Cluster(0, 0, 1, (ISP,)),), (Cluster(1, 2, 2, (WSP, ISP)),)])
    rows = oracle.layer_times(projection(), apart)
    assert rows[1].comm_ps == 0
    # 52 000 + 48 / 0.093; before layer 1 also its 15 bytes of weights, half each way.
    assert [row.pre_ps for row in rows[1:]] == [52_517 + 300, 52_517]


# --- Between clusters ----------------------------------------------------------------------------


def branch(feeds: str = "sum") -> Json:
    """Layer 0's 16 bytes are read by layer 1 (10 of them) and layer 2 (7 of them)."""
    layers = [tensor(16), tensor(20), tensor(1)]
    edges = [edge(0, 1, 10), edge(1, 2, 20), edge(0, 2, 7, feeds)]
    return problem(layers, edges, cols=4)


def test_hand_over() -> None:
    # After layer 0: 16 bytes, not 17. After layer 1: its 20 and 7 that travel on.
    thin = one_segment(*(Cluster(i, i, 1, (ISP,)) for i in range(3)))
    rows = oracle.layer_times(branch(), thin)
    assert [row.comm_ps for row in rows[:2]] == [16 * BYTE_PS, 27 * BYTE_PS]
    assert nop_fj(branch(), thin) == (16 + 27) * BYTE_FJ
    # Into two chiplets: all over the first link, half over the second. Into ISP 10 are gathered.
    for p, gathered in ((ISP, 10), (WSP, 0)):
        wide = one_segment(Cluster(0, 0, 1, (ISP,)), Cluster(1, 1, 2, (p,)), Cluster(2, 2, 1, (p,)))
        assert oracle.layer_times(branch(), wide)[0].comm_ps == (16 + gathered // 2) * BYTE_PS
        # From two into one: half over the far link, all over the near one.
        assert oracle.layer_times(branch(), wide)[1].comm_ps == 27 * BYTE_PS
        assert nop_fj(branch(), wide) == (16 + 8 + gathered + 27) * BYTE_FJ + 27 * BYTE_FJ // 2


def test_gathered_part_of_a_hand_over() -> None:
    def last_comm(feeds: str) -> int:
        schedule = one_segment(Cluster(0, 1, 1, (ISP, ISP)), Cluster(2, 2, 2, (ISP,)))
        return oracle.layer_times(branch(feeds), schedule)[1].comm_ps

    # Crossing: 20 and 7. Read as input by layer 2: 20, or both.
    assert last_comm("sum") == (27 + 10) * BYTE_PS
    assert last_comm("input") == 27 * BYTE_PS + 27 * BYTE_PS // 2
    # A tensor that both layers read crosses for the second one, which gathers it.
    layers = [tensor(16), tensor(1), tensor(1)]
    double = problem(layers, [edge(0, 1, 16), edge(0, 2, 16, "input")], cols=4)
    rows = oracle.layer_times(
        double, one_segment(Cluster(0, 1, 1, (ISP, ISP)), Cluster(2, 2, 2, (ISP,)))
    )
    assert rows[1].comm_ps == (16 + 8) * BYTE_PS
    # A chain edge that is added is not gathered.
    added = problem([tensor(16), tensor(1)], [edge(0, 1, 16, "sum")], cols=4)
    rows = oracle.layer_times(
        added, one_segment(Cluster(0, 0, 1, (ISP,)), Cluster(1, 1, 2, (ISP,)))
    )
    assert rows[0].comm_ps == 16 * BYTE_PS


def test_gathers_of_a_hand_over_lie_in_the_next_region() -> None:
    # 16 bytes to the right, half of them on; 10 gathered, half of them each way.
    (segment,) = oracle.parse(one_segment(Cluster(0, 0, 1, (ISP,)), Cluster(1, 2, 2, (ISP, WSP))))
    (entry,) = (e for e in placed(branch()).placed.entries(0, 2, 0, segment[0], (2, ISP)))
    scatter, gather = entry.transfers
    assert scatter == {right(0): 16, right(1): 8}
    assert gather == {right(1): 5, left(2): 5}


def test_hand_overs_end_with_the_segment() -> None:
    # Layer 0's 7 bytes for layer 2, in a later segment, go through DRAM.
    schedule = to_json(
        [(Cluster(0, 0, 1, (ISP,)), Cluster(1, 1, 1, (ISP,))), (Cluster(2, 2, 1, (ISP,)),)]
    )
    # 52 000 + 7 / 0.093, and 52 000 + 20 / 0.093 for layer 1.
    assert [row.comm_ps for row in oracle.layer_times(branch(), schedule)[:2]] == [
        10 * BYTE_PS + 52_076,
        52_216,
    ]
    # What layer 2 reads of layer 0 from before its segment is not gathered: 20 bytes cross, of
    # which layer 2 reads 4.
    layers = [tensor(7), tensor(20), tensor(1), tensor(1)]
    edges = [edge(0, 1, 7), edge(0, 2, 7, "input"), edge(1, 2, 4), edge(1, 3, 20)]
    instance = problem(layers, edges, cols=4)
    schedule = to_json(
        [(Cluster(0, 0, 1, (ISP,)),), (Cluster(1, 1, 1, (ISP,)), Cluster(2, 3, 2, (ISP, ISP)))]
    )
    assert oracle.layer_times(instance, schedule)[1].comm_ps == (20 + 2) * BYTE_PS


def test_hand_over_is_one_entry() -> None:
    instance = branch()
    instance["package"]["nop"]["eta_link"] = 1.001
    schedule = one_segment(Cluster(0, 0, 1, (ISP,)), Cluster(1, 2, 2, (ISP, ISP)))
    # 640.64 and 200.2: 840.84.
    assert oracle.layer_times(instance, schedule)[0].comm_ps == 841


def test_tensors_from_before_the_segment_do_not_travel() -> None:
    # Layers 1 and 2 in a segment of their own: 20 bytes cross, and layer 2 reads its 7 itself.
    schedule = to_json(
        [(Cluster(0, 0, 1, (ISP,)),), (Cluster(1, 1, 1, (ISP,)), Cluster(2, 2, 1, (ISP,)))]
    )
    rows = oracle.layer_times(branch(), schedule)
    assert rows[1].comm_ps == 20 * BYTE_PS
    # 52 000 + 10 / 0.093, + 7 / 0.093.
    assert [row.pre_ps for row in rows[1:]] == [52_108, 52_076]


def test_skip_edges_leave_no_other_trace() -> None:
    # Layer 0 feeds layer 2 only; in one cluster with it that is free.
    layers = [tensor(16), tensor(20), tensor(1)]
    instance = problem(layers, [edge(0, 1, 1), edge(1, 2, 20), edge(0, 2, 16)])
    assert comm(instance, ISP, ISP, ISP)[:2] == [20, 10 * BYTE_PS]
    # 1 byte gathered, half each way: 20 ps.


# --- DRAM ----------------------------------------------------------------------------------------


def test_a_tensor_is_written_once() -> None:
    schedule = to_json([(Cluster(0, 0, 1, (ISP,)),), (Cluster(1, 2, 1, (ISP, ISP)),)])
    rows = oracle.layer_times(branch(), schedule)
    # 16 bytes, not 17: 52 000 + 16 / 0.093 = 52 172.04..; the output of 1 byte 52 010.75...
    assert [row.comm_ps for row in rows] == [52_173, 0, 52_011]
    judge = placed(branch())
    first, second = oracle.parse(schedule)
    assert judge.dram_bytes(first) == 16 + 16
    assert judge.dram_bytes(second) == 10 + 7 + 1
    # 52 000 + 32 / 0.093 = 52 344.08.., 52 000 + 18 / 0.093 = 52 193.5...
    assert judge.times.segment_dram_ps(0, 0) == 52_345
    assert judge.times.segment_dram_ps(1, 2) == 52_194
    # The regressed model writes once per edge.
    regressed = oracle.oracle({**branch(), "package": problem([], [], nop=REGRESSED)["package"]})
    assert regressed.dram_bytes(first) == 16 + 10 + 7


@pytest.mark.parametrize("model", ["placed", "regressed"])
def test_a_layers_own_transfers(model: str) -> None:
    layers = [tensor(93), tensor(93)]
    layers[1].update(dram_read_bytes=930, dram_write_bytes=1860)
    instance = problem(layers, [edge(0, 1, 93)], nop={"model": model})
    # 52 000 + 10 000, 52 000 + 20 000, and the network's output 52 000 + 1000.
    schedule = one_segment(Cluster(0, 1, 1, (ISP, ISP)))
    rows = oracle.layer_times(instance, schedule)
    assert (rows[1].pre_ps, rows[1].comm_ps) == (62_000, 72_000 + 53_000)
    judge = oracle.oracle(instance)
    assert judge.times.segment_dram_ps(0, 1) == 52_000 + 2 * 1000 + 30_000
    assert judge.dram_bytes(oracle.parse(schedule)[0]) == 2 * 93 + 930 + 1860


@pytest.mark.parametrize("model", ["placed", "regressed"])
def test_streams(model: str) -> None:
    # Half of 887 000 bytes is written, in one tensor; two are read.
    layer = conv(1, 1, 1, input_width=400_000, output_width=443_500, dram_read_bytes=43_500)

    def times(**changes: int) -> oracle.Times:
        dram = {"streams": {**placed_strategies.STREAMS, **changes}}
        return oracle.oracle(problem([layer], [], nop={"model": model}, dram=dram)).times

    # Two streams: 45.4 + 15.4 + 79.8 ns, and 0.887 / (1 + 0.066) of the bandwidth: 10.66 us.
    assert times().segment_dram_ps(0, 0) == 140_600 + 10_660_000
    # As one stream: 45.4 + 79.8 ns, and 0.887 of the bandwidth.
    assert times(most=1).segment_dram_ps(0, 0) == 125_200 + 10_000_000
    # Single transfers: 45.4 ns and 0.908 or 0.866 of the bandwidth.
    assert times().input_ps(0) == 45_400 + 4_405_287  # 400 000 / 0.0908 = 4 405 286.3..
    assert times().output_ps(0) == 45_400 + 5_121_248  # 443 500 / 0.0866 = 5 121 247.1..
    # Loading a byte of weights: 45.4 ns and 11.01.. ps. Fetching again on one of two chiplets.
    assert times().load_ps(0, 0) == 45_412
    assert times().dram_latency_ps == 45_400
    assert times().stream_fs_per_byte(1) == 22_027  # 2 / 0.0908 ps = 22 026.4..


def test_streams_count_tensors() -> None:
    # Every edge read is a tensor, but the tensor written for two readers is one.
    dram = {"streams": placed_strategies.STREAMS}
    judge = placed({**branch(), "package": problem([], [], cols=4, dram=dram)["package"]})
    # Layer 0: 16 bytes each way, one stream: 45.4 + 79.8 ns, 32 / 0.0887 = 360.7..
    assert judge.times.segment_dram_ps(0, 0) == 125_200 + 361
    # The rest: reads of 10 and 7 bytes, 1 byte written. w = 1/18: 4 w (1 - w) = 17/81, 0.908 -
    # 0.042/18 = 0.90566..; 1 + 0.049 + 0.034/18 = 1.05088..: 18 * 1.05088.. / 0.090566.. = 208.86..
    # and 45 400 + 15 400 + 79 800 * 17/81 = 77 548.14...
    assert judge.times.segment_dram_ps(1, 2) == 77_758


# --- The beat ------------------------------------------------------------------------------------


def crossing(**changes: Any) -> Json:
    """Four layers on a line whose second and third positions changed places."""
    layers = [tensor(1000) for _ in range(4)]
    return problem(
        layers,
        [edge(i, i + 1, 1000) for i in range(3)],
        cols=4,
        nop=changes.pop("nop", None),
        dram=FREE_DRAM,
        package={"order": along([0, 2, 1, 3])},
        **changes,
    )


THIN = one_segment(*(Cluster(i, i, 1, (ISP,)) for i in range(4)))


def test_shared_links() -> None:
    # From column 0 to 2 and from 1 to 3: 2000 bytes on the link between columns 1 and 2. Computing:
    # 1000 outputs on 16 PEs, 63 cycles of 1250 ps; sending: 40 000 ps.
    judge = placed(crossing())
    (segment,) = oracle.parse(THIN)
    assert judge.link_bytes(segment) == {right(0): 1000, right(1): 2000, left(2): 1000} | {
        right(2): 1000
    }
    assert judge.busiest_links(segment) == [right(1)]
    assert judge.link_beat_ps(segment) == 2000 * BYTE_PS == 80_000
    times = [cluster.layers[0] for cluster in judge.cluster_times(segment)]
    # Reading and writing take a picosecond each.
    assert times == [(1, 78_750, 40_000), (0, 78_750, 40_000), (0, 78_750, 40_000), (0, 78_750, 1)]
    assert judge.beat_ps(segment) == 80_000
    assert oracle.objective_ps(crossing(samples=5), THIN) == (5 + 4 - 1) * 80_000
    assert "link ((0, 1), (0, 2)) carries 2000.0 bytes" in oracle.explain(crossing(), THIN)
    # Without sharing the slowest cluster decides.
    alone = crossing(nop={"shared_links": False})
    assert oracle.objective_ps(alone, THIN) == 4 * 78_751
    assert placed(alone).link_beat_ps(segment) == 0
    # Two, one and two links.
    assert nop_fj(crossing(), THIN) == (2000 + 1000 + 2000) * BYTE_FJ


def test_link_beat_sums_all_transfers() -> None:
    # Two layers on two chiplets, WSP then ISP: weights 3 and the chain edge's 48, half each way.
    judge = placed(pair())
    (segment,) = oracle.parse(one_segment(Cluster(0, 1, 2, (WSP, ISP))))
    assert judge.link_bytes(segment) == dict.fromkeys([right(0), left(1)], Fraction(51, 2))
    assert judge.link_beat_ps(segment) == 1020


def test_one_layer_on_the_whole_package_loads_no_link() -> None:
    judge = placed(problem([conv(3, 5, 4, 3)], []))
    (segment,) = oracle.parse(one_segment(Cluster(0, 0, 2, (WSP,))))
    assert judge.exempt(segment)
    assert judge.link_bytes(segment) == {}
    assert judge.busiest_links(segment) == []
    assert judge.link_beat_ps(segment) == 0


# --- Activation memory ---------------------------------------------------------------------------


def needs(instance: Json, *clusters: Cluster) -> list[int]:
    (found,) = oracle.activation_bytes(instance, one_segment(*clusters))
    return found


@pytest.mark.parametrize("model", ["placed", "regressed"])
def test_activations_of_one_layer(model: str) -> None:
    # 48 bytes in, 80 out, 48 of the input double buffered.
    layer = conv(3, 5, 4, 3)

    def need(p: str, r: int, layer: Json = layer, **package: Any) -> int:
        instance = problem([layer], [], 1, 4, nop={"model": model}, package=package)
        return needs(instance, Cluster(0, 0, r, (p,)))[0]

    # ISP: its share, and three rows of the whole: 3 * 3 * 4 bytes.
    assert need(ISP, 2) == 24 + 36 + 40 + 24
    assert need(ISP, 1) == 48 + 36 + 80 + 48
    # 16 + 36 + 26 2/3 + 16, rounded up once.
    assert need(ISP, 3) == 95
    assert need(ISP, 2, activation_policy="whole") == 48 + 40 + 24
    # The rows are not more than there is: dilated by 2 the kernel reaches over 5.
    assert need(ISP, 2, {**layer, "dilation": [2, 1]}) == 24 + 48 + 40 + 24
    # WSP, 1 x 2 tiles: all 4 rows, of the columns 1 + 3.
    assert need(WSP, 2) == 48 + 40 + 24
    # 2 x 2 tiles: still 4 x 4. 1 x 4: columns 0 + 3.
    assert need(WSP, 4) == 48 + 20 + 12
    # Upright kernel of 3 x 1 with stride (1, 2): columns 0 * 2 + 1 of 4.
    thin = conv(3, 5, 4, 3, kernel_width=1, stride=[1, 2], output_width=2)
    assert need(WSP, 2, thin) == 3 * 4 * 1 + 20 + 24


def test_activations_kept_for_later() -> None:
    # 16, 20, 1 and 5 bytes out. Layer 0's 10 read by 1, 7 by 3; layer 1's 20 by 2, 8 added by 3.
    layers = [tensor(16), tensor(20), tensor(1), tensor(5)]
    edges = [edge(0, 1, 10), edge(1, 2, 20), edge(0, 3, 7), edge(1, 3, 8), edge(2, 3, 1)]
    instance = problem(layers, edges, cols=4, package={"activation_policy": "whole"})
    # Layer 0: 16 + 16. Layer 1: 20 + 20 + 7. Layer 2: 1 + 1 + 7 + 8. Layer 3: 5 + 5 + 7 + 8, of
    # which the 15 that are added stay until the end. The network's input: 16 more.
    assert needs(instance, Cluster(0, 3, 1, (ISP,) * 4)) == [47 + 16]
    # Two clusters: layers 2, 3 receive 7 + 20 (not 28) bytes.
    assert needs(instance, Cluster(0, 1, 1, (ISP,) * 2), Cluster(2, 3, 1, (ISP,) * 2)) == [
        47 + 16,
        25 + 27,
    ]
    # Read as input, layer 3's edges are in its input: 1 + 1 + 15 for layer 2, 10 for layer 3.
    for e in edges[2:4]:
        e["feeds"] = "input"
    assert needs(instance, Cluster(0, 1, 1, (ISP,) * 2), Cluster(2, 3, 1, (ISP,) * 2)) == [
        47 + 16,
        17 + 27,
    ]
    # A tensor for two readers is kept once: 16 bytes, not 17, beside layer 1's 20 and 20.
    twice = branch()
    twice["package"]["activation_policy"] = "whole"
    twice["network"]["layers"].append(tensor(1))
    twice["network"]["edges"] = [edge(0, 1, 1), edge(1, 2, 1), edge(0, 2, 7), edge(0, 3, 10)]
    assert needs(twice, Cluster(0, 3, 1, (ISP,) * 4)) == [20 + 20 + 16 + 16]
    # A segment's first layer buffers all it reads, not only along the chain.
    first = problem([tensor(16), tensor(1), tensor(1)], [edge(0, 1, 1), edge(0, 2, 7)])
    first["package"]["activation_policy"] = "whole"
    first["network"]["edges"].append(edge(1, 2, 1))
    cut = to_json([(Cluster(0, 1, 1, (ISP, ISP)),), (Cluster(2, 2, 1, (ISP,)),)])
    assert oracle.activation_bytes(first, cut)[1] == [1 + 1 + 7 + 1]
    # Segments apart: nothing is kept for the other; layers 2 and 3 read 20, and 7 + 8 + 1 for 3.
    apart = to_json([(Cluster(0, 1, 1, (ISP,) * 2),), (Cluster(2, 3, 1, (ISP,) * 2),)])
    assert oracle.activation_bytes(instance, apart) == [[40 + 16], [10 + 20]]


@pytest.mark.parametrize("model", ["placed", "regressed"])
def test_activation_limit(model: str) -> None:
    # 24 + 36 + 40 + 24 bytes, also on the whole package.
    schedule = one_segment(Cluster(0, 0, 2, (ISP,)))
    for limit, codes in ((124, []), (123, ["activation-memory"])):
        instance = problem(
            [conv(3, 5, 4, 3)],
            [],
            nop={"model": model},
            package={"activation_buffer_bytes": limit},
        )
        assert oracle.violations(instance, schedule) == codes
    # One cluster of two is enough to break it: 1000 bytes in, out and buffered, with the row whole.
    layers = [tensor(1), tensor(1000)]
    instance = problem(layers, [], nop={"model": model}, package={"activation_buffer_bytes": 2999})
    both = (Cluster(0, 0, 1, (ISP,)), Cluster(1, 1, 1, (ISP,)))
    # Nothing crosses: 1000 in, as much once more for the row at work, 1000 out.
    assert needs(instance, *both) == [1 + 1 + 1 + 1, 3000]
    assert oracle.violations(instance, one_segment(*both)) == ["activation-memory"]


# --- The regressed model -------------------------------------------------------------------------


def test_skip_edges_paid_at_both_ends() -> None:
    # On a line a = c = 1.06 / (2 b): 21.2 ps a byte.
    layers = [tensor(1000), tensor(1), tensor(1)]
    edges = [edge(0, 1, 1), edge(1, 2, 1), edge(0, 2, 1000)]
    for skip, per_byte in (("sender", 21.2), ("both", 42.4)):
        instance = problem(layers, edges, cols=3, nop={**REGRESSED, "skip": skip})
        schedule = one_segment(*(Cluster(i, i, 1, (ISP,)) for i in range(3)))
        # The chain edge's byte: 22 ps to send, 22 to receive.
        assert oracle.layer_times(instance, schedule)[0].comm_ps == 44 + 1000 * per_byte


def regressed_projection(chain: int = 48) -> Json:
    instance = projection(chain)
    instance["package"]["nop"].update(REGRESSED)
    return instance


def test_regressed_input_edges_inside_a_cluster() -> None:
    # g(2) = 22.4 ps a byte: 1075.2 ps for 48 bytes, half of it into WSP, and a halo of 24 bytes:
    # 24 / (2 * 2 * 25e9) = 240 ps.
    instance = regressed_projection()
    assert comm(instance, WSP, WSP, ISP)[1] == 1076
    assert comm(instance, WSP, WSP, WSP)[1] == 538 + 240
    assert comm(instance, WSP, ISP, WSP)[1] == comm(instance, WSP, ISP, ISP)[1] == 0
    assert comm(regressed_projection(40), WSP, ISP, ISP)[1] == 1076

    # Byte-hops: 48 into ISP, 24 and the halo's 24 into WSP; the same for the chain edge as ISP.
    def energy(p: str) -> int:
        return nop_fj(instance, one_segment(Cluster(0, 2, 2, (ISP, ISP, p)))) - 48 * BYTE_FJ

    assert energy(ISP) == energy(WSP) - 135 * BYTE_FJ == 0
    mixed = one_segment(Cluster(0, 2, 2, (ISP, WSP, ISP)))
    # Layer 1's weights, 15 bytes; its chain edge, 24; the input edge, 48.
    assert nop_fj(instance, mixed) == (15 + 24 + 48) * BYTE_FJ
    mixed = one_segment(Cluster(0, 2, 2, (ISP, WSP, WSP)))
    assert nop_fj(instance, mixed) == (15 + 135 + 24 + 24 + 24) * BYTE_FJ


def test_regressed_input_edge_beside_a_chain_edge() -> None:
    layers = [conv(1, 3, 4), conv(3, 5, 4), conv(3, 5, 4, 3)]
    edges = [edge(0, 1, 48), edge(1, 2, 80), edge(0, 2, 10, "input")]
    instance = problem(layers, edges, nop=REGRESSED)
    # The halo once, 240 ps; 10 bytes at 11.2 ps.
    assert comm(instance, WSP, WSP, WSP)[1] == 240 + 112
    # Weights 3, 15 and 135; the chain edges' halos 0 and 24; half of 10 bytes.
    schedule = one_segment(Cluster(0, 2, 2, (WSP, WSP, WSP)))
    assert nop_fj(instance, schedule) == (153 + 24 + 5) * BYTE_FJ


def test_regressed_input_edge_that_opens_a_cluster() -> None:
    # Layer 2 opens a cluster: its edge is sent by layer 0 and gathered while layer 1 runs.
    instance = regressed_projection()
    instance["package"]["mesh_cols"] = 3
    for p, gathered in ((ISP, 1076), (WSP, 0)):
        schedule = one_segment(Cluster(0, 1, 1, (ISP, ISP)), Cluster(2, 2, 2, (p,)))
        rows = oracle.layer_times(instance, schedule)
        # 48 * 21.2 = 1017.6.
        assert [row.comm_ps for row in rows[:2]] == [1018, gathered]
        # 48 bytes over the mean distance on three chiplets, 4/3; gathered over one link.
        assert nop_fj(instance, schedule) == (64 + (48 if gathered else 0)) * BYTE_FJ
    # Added, it is only sent.
    instance["network"]["edges"][1]["feeds"] = "sum"
    schedule = one_segment(Cluster(0, 1, 1, (ISP, ISP)), Cluster(2, 2, 2, (ISP,)))
    assert [row.comm_ps for row in oracle.layer_times(instance, schedule)[:2]] == [1018, 0]


def test_regressed_chain_edge_that_is_added() -> None:
    instance = pair("sum", **REGRESSED)
    # 48 * 22.4 / 2 = 537.6.
    for p in (ISP, WSP):
        for q in (ISP, WSP):
            assert comm(instance, p, q)[0] == (0 if p == q else 538)
    assert nop_fj(instance, one_segment(Cluster(0, 1, 2, (ISP, ISP)))) == 0
    # Between clusters: sent and received, 1017.6 each, and not gathered.
    instance["package"]["mesh_cols"] = 3
    schedule = one_segment(Cluster(0, 0, 1, (ISP,)), Cluster(1, 1, 2, (ISP,)))
    assert oracle.layer_times(instance, schedule)[0].comm_ps == 2 * 1018
    # 1.5 hops from one to two chiplets.
    assert nop_fj(instance, schedule) == 72 * BYTE_FJ
    mixed = one_segment(Cluster(0, 1, 2, (WSP, ISP)))
    assert nop_fj(instance, mixed) == (3 + 24) * BYTE_FJ


def test_latency_as_placed() -> None:
    # The regressed model does not know of the crossing; priced in place it is there.
    instance = crossing(nop=REGRESSED)
    assert oracle.placed_latency_ps(instance, THIN) == 4 * 80_000
    assert oracle.placed_latency_ps(instance, THIN) == oracle.objective_ps(crossing(), THIN)
    # One after the other: a = c = 21.2 ps a byte, less than computing.
    assert oracle.objective_ps(instance, THIN) == 4 * 78_751


def test_tables_cannot_say_everything() -> None:
    for instance in (crossing(), regressed_projection()):
        with pytest.raises(ValueError, match="explicit tables"):
            oracle.to_tables(instance)


# --- Properties ----------------------------------------------------------------------------------

BOTH = placed_strategies.placed_instances() | placed_strategies.repaired_instances()


@st.composite
def problems(draw: st.DrawFn, instances: st.SearchStrategy[Json]) -> tuple[Json, Json]:
    """An instance, and a schedule of any kind or one with many clusters."""
    instance = draw(instances)
    kind = draw(st.sampled_from([strategies.schedules, placed_strategies.pipelines]))
    return instance, draw(kind(instance))


PLACED = problems(placed_strategies.placed_instances(constraints=True, couplings=True))
ANY = problems(BOTH)


def changed(instance: Json, part: str | None = None, **changes: Any) -> Json:
    """The instance with these keys of a part of its package."""
    package = instance["package"]
    new = {**package, **changes} if part is None else {**package}
    if part is not None:
        new[part] = {**package[part], **changes}
    return {**instance, "package": new}


@given(problem=PLACED)
@RELAXED
def test_better_packages_are_never_slower(problem: tuple[Json, Json]) -> None:
    instance, schedule = problem
    latency, codes = oracle.objective_ps(instance, schedule), oracle.violations(instance, schedule)

    def better(part: str | None, **changes: Any) -> None:
        other = changed(instance, part, **changes)
        assert oracle.objective_ps(other, schedule) <= latency
        assert set(oracle.violations(other, schedule)) <= set(codes)

    package = instance["package"]
    for part in ("nop", "dram"):
        faster = 1.5 * package[part]["bandwidth_bytes_per_s"]
        better(part, bandwidth_bytes_per_s=faster)
    better("nop", eta_link=0.9)
    better("nop", shared_links=False)
    more = package["chiplet"]["weight_buffer_bytes"] + 100
    better("chiplet", weight_buffer_bytes=more)
    if "activation_buffer_bytes" in package:
        better(None, activation_buffer_bytes=package["activation_buffer_bytes"] + 1)


@given(problem=PLACED)
@RELAXED
def test_transfers(problem: tuple[Json, Json]) -> None:
    instance, schedule = problem
    judge = placed(instance)
    model, chiplets = judge.placed, judge.chiplets
    for segment in oracle.parse(schedule):
        carried = judge.link_bytes(segment)
        # One cluster's transfers follow one another, so alone it never overloads a link.
        if len(segment) == 1:
            assert judge.link_beat_ps(segment) <= judge.cluster_times(segment)[0].time_ps
        # Energy is that of the bytes on all links, rounded up entry by entry.
        least = sum(carried.values(), Fraction(0)) * model.nop_fj_per_byte_hop
        assert -1 < judge.nop_fj(segment) - least < 3 * len(model.layers) + len(model.edges)
    # Over all chiplets: each must receive what the others hold, over at least one link each. What
    # is relayed to neighbours takes no more.
    moved = {}
    for gather in ("relay", "unicast"):
        other = placed(changed(instance, "nop", gather=gather)).placed
        moved[gather] = sum(other.gather(0, chiplets).values())
        assert moved[gather] >= chiplets - 1
    if instance["package"].get("order", "zigzag") == "zigzag":
        assert moved["relay"] == chiplets - 1
    assert moved["unicast"] == chiplets * sum(model.exchange(0, chiplets).values())


@given(problem=PLACED, upside_down=st.booleans(), left_to_right=st.booleans())
@RELAXED
def test_mirrored_meshes(
    problem: tuple[Json, Json], upside_down: bool, left_to_right: bool
) -> None:
    # A route along the row first is one in the mirror, too.
    instance, schedule = problem
    rows, cols = instance["package"]["mesh_rows"], instance["package"]["mesh_cols"]
    mirrored = [
        [rows - 1 - row if upside_down else row, cols - 1 - col if left_to_right else col]
        for row, col in oracle_placed.positions(instance["package"])
    ]
    other = changed(instance, order=mirrored)
    assert oracle.objective_ps(other, schedule) == oracle.objective_ps(instance, schedule)
    assert oracle.energy_fj_total(other, schedule) == oracle.energy_fj_total(instance, schedule)


@given(problem=ANY)
@RELAXED
def test_activations_do_not_depend_on_places(problem: tuple[Json, Json]) -> None:
    instance, schedule = problem
    other = changed(instance, "nop", model="placed")
    assert oracle.activation_bytes(instance, schedule) == oracle.activation_bytes(other, schedule)
    if oracle.is_placed(instance):
        assert oracle.placed_latency_ps(instance, schedule) == oracle.objective_ps(
            instance, schedule
        )


@pytest.mark.parametrize("segments", ["free", "single"])
@given(data=st.data())
@settings(RELAXED, max_examples=40)
def test_best_is_the_least_of_all(segments: str, data: st.DataObject) -> None:
    extras = {"constraints": data.draw(st.booleans()), "couplings": data.draw(st.booleans())}
    sizes = data.draw(st.sampled_from([(2, 4), (3, 3)]))
    instance = data.draw(
        placed_strategies.placed_instances(*sizes, **extras)
        | placed_strategies.repaired_instances(*sizes, **extras)
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
        assert value == objective(schedule) == min(objective(s) for s in valid)
    # Sharing links never helps.
    if oracle.is_placed(instance) and found is not None and not judge.minimizes_energy:
        alone = oracle.best(changed(instance, "nop", shared_links=False), segments)
        assert alone is not None
        assert alone[1] <= found[1]


# --- The strategies ------------------------------------------------------------------------------


@given(problem=ANY)
@RELAXED
def test_networks(problem: tuple[Json, Json]) -> None:
    network = problem[0]["network"]
    layers, edges = network["layers"], network["edges"]
    for layer in layers:
        per_group = layer["in_channels"] // layer["groups"]
        area = layer["kernel_height"] * layer["kernel_width"]
        assert layer["weight_bytes"] in (0, layer["out_channels"] * per_group * area)
        outputs = layer["out_channels"] * layer["output_height"] * layer["output_width"]
        assert 1 <= layer["output_bytes"] <= outputs
        for k, side in enumerate(("height", "width")):
            stride = oracle.height_width(layer["stride"])[k]
            dilation = oracle.height_width(layer.get("dilation", 1))[k]
            size = layer[f"input_{side}"] - dilation * (layer[f"kernel_{side}"] - 1) - 1
            paddings = range(dilation * (layer[f"kernel_{side}"] - 1) + 1)
            reachable = {(size + pad) // stride + 1 for pad in paddings if size + pad >= 0}
            assert layer[f"output_{side}"] in reachable
    pairs = [(e["from"], e["to"]) for e in edges]
    assert len(pairs) == len(set(pairs))
    assert all(0 <= u < v < len(layers) for u, v in pairs)
    assert {v for _, v in pairs} == set(range(1, len(layers)))
    assert all(1 <= e["bytes"] <= layers[e["from"]]["output_bytes"] for e in edges)


def test_strategies_reach_every_rule() -> None:
    seen: set[str] = set()

    @given(problem=PLACED)
    @settings(RELAXED, max_examples=400, derandomize=True, database=None)
    def collect(problem: tuple[Json, Json]) -> None:
        instance, schedule = problem
        judge = placed(instance)
        codes = judge.violations(schedule)
        seen.update(codes)
        if not codes:
            seen.add("sound")
        model = judge.placed
        for segment in oracle.parse(schedule):
            beat, first, last = judge.beat_ps(segment), segment[0].first, segment[-1].last
            if beat == judge.link_beat_ps(segment):
                seen.add("links decide")
            if beat == judge.times.segment_dram_ps(first, last):
                seen.add("DRAM decides")
            if judge.exempt(segment):
                seen.add("exempt")
            for cluster in segment:
                for v in range(cluster.first + 1, cluster.last + 1):
                    before = cluster.partitions[v - 1 - cluster.first]
                    volumes = model.inputs_to_move(first, v, before)
                    if volumes:
                        seen.add("input edge")
                        if model.chain[v - 1] == 0:
                            seen.add("halo of an input edge")
                    elif model.inputs_to_move(first, v, WSP):
                        seen.add("already there")
                    if v - 1 in model.adds:
                        seen.add("chain edge added")
                if cluster.last < last:
                    layer = cluster.last
                    if model.crossing_bytes(first, layer, last) > model.chain[layer]:
                        seen.add("travels on")

    collect()
    assert seen >= {
        *("sound", "links decide", "DRAM decides", "exempt", "input edge"),
        *("halo of an input edge", "already there", "chain edge added", "travels on"),
        *("activation-memory", "capacity", "wsp-copy", "dram-per-beat", "energy-budget"),
        "latency-bound",
    }
