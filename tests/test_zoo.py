"""The paper's networks and packages against published totals and hand-derived values."""

from __future__ import annotations

from typing import Any

import pytest

from scope_opt.model.files import InputError
from scope_opt.model.generate import instance_named, network_named, paper_instance
from scope_opt.model.network import Network
from scope_opt.model.package import MAX_CHIPLETS
from scope_opt.model.zoo import NETWORKS, PAPER_CHIPLETS, build_network, paper_package


def edges_of(network: Network) -> dict[tuple[str, str], int]:
    """Bytes by the names of the two layers."""
    names = [layer.name for layer in network.layers]
    return {(names[edge.source], names[edge.target]): edge.bytes for edge in network.edges}


@pytest.mark.parametrize(
    ("name", "layers", "gmac", "million_weights"),
    [
        ("alexnet", 8, 0.72, 60.95),
        ("vgg16", 16, 15.47, 138.34),
        ("darknet19", 19, 2.79, 20.83),
        ("resnet18", 21, 1.81, 11.68),
        ("resnet34", 37, 3.66, 21.78),
        ("resnet50", 54, 4.09, 25.50),
        ("resnet101", 105, 7.80, 44.44),
        ("resnet152", 156, 11.51, 60.04),
    ],
)
def test_totals(name: str, layers: int, gmac: float, million_weights: float) -> None:
    network = build_network(name)
    assert network.name == name
    assert len(network.layers) == layers
    assert network.macs / 1e9 == pytest.approx(gmac, abs=0.005, rel=0)
    assert network.weight_bytes / 1e6 == pytest.approx(million_weights, abs=0.005, rel=0)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        # 3 504 872 less 34 112 of normalization less 1 000 biases.
        ("mobilenetv2", 3_469_760),
        # 7 978 856 less 83 648 less 1 000.
        ("densenet121", 7_894_208),
        # 61 949 149 less 2 x 26 304 of normalization less 3 x 255 biases.
        ("yolov3", 61_895_776),
        # Parameters of the reference implementations less biases and normalization:
        # 138 357 544 less 4 224 + 9 192 biases.
        ("vgg16", 138_344_128),
        # 11 689 512 less 9 600 of normalization less 1 000 biases.
        ("resnet18", 11_678_912),
        # 21 797 672 less 17 024 less 1 000.
        ("resnet34", 21_779_648),
        # 25 557 032 less 53 120 less 1 000.
        ("resnet50", 25_502_912),
        # 44 549 160 less 105 344 less 1 000.
        ("resnet101", 44_442_816),
        # 60 192 808 less 151 424 less 1 000.
        ("resnet152", 60_040_384),
        # 60 965 224 less 10 568 biases.
        ("alexnet", 60_954_656),
    ],
)
def test_exact_weights(name: str, parameters: int) -> None:
    assert network_named(name).weight_bytes == parameters


@pytest.mark.parametrize(
    ("name", "layers", "gmac"),
    [
        ("mobilenetv2", 53, 0.301),
        ("densenet121", 121, 2.834),
        ("yolov3", 75, 65.86 / 2),  # published as operations
    ],
)
def test_totals_of_networks_that_the_paper_does_not_study(
    name: str, layers: int, gmac: float
) -> None:
    network = network_named(name)
    assert len(network.layers) == layers
    assert network.macs / 1e9 == pytest.approx(gmac, abs=0.003, rel=0)
    assert instance_named(f"{name}-64-placed") == paper_instance(name, 64, nop="placed")


def test_what_dense_layers_and_scales_read() -> None:
    dense = network_named("densenet121")
    names = [layer.name for layer in dense.layers]
    edges = edges_of(dense)
    # The sixth layer of the first block reads the entry and the five before it, in one map.
    sixth = dense.layers[names.index("dense1_6_a")]
    assert (sixth.in_channels, sixth.input_height) == (64 + 5 * 32, 56)
    readers = {target: size for (source, target), size in edges.items() if source == "dense1_1_b"}
    assert readers == dict.fromkeys(
        [*(f"dense1_{k}_a" for k in range(2, 7)), "transition1"], 32 * 56 * 56
    )
    # The classifier reads means over the map.
    last = {source: size for (source, target), size in edges.items() if target == "fc"}
    assert last == {"transition3": 512, **{f"dense4_{k}_b": 32 for k in range(1, 17)}}
    scales = network_named("yolov3")
    edges = edges_of(scales)
    # Copies of a value are not sent: 256 x 13 x 13 bytes make a map of 26 x 26.
    assert edges["lateral2", "head2_1"] == 256 * 13 * 13
    assert edges["residual4_8_b", "head2_1"] == 512 * 26 * 26
    (joined,) = (layer for layer in scales.layers if layer.name == "head2_1")
    assert (joined.in_channels, joined.input_height) == (768, 26)
    boxes = [layer for layer in scales.layers if layer.name.startswith("boxes")]
    assert [(each.out_channels, each.output_width) for each in boxes] == [
        (255, 13),
        (255, 26),
        (255, 52),
    ]


@pytest.mark.parametrize(
    ("network", "layer", "expected"),
    [
        # channels in, out; input, output size; kernel, stride, groups; weights; MACs; bytes on
        # 55 = (227 - 11) / 4 + 1; pooled 27 = (55 - 3) / 2 + 1
        ("alexnet", "conv1", (3, 96, 227, 55, 11, 4, 1, 34848, 105415200, 96 * 27**2)),
        ("alexnet", "conv2", (96, 256, 27, 27, 5, 1, 2, 307200, 223948800, 256 * 13**2)),
        ("alexnet", "conv3", (256, 384, 13, 13, 3, 1, 1, 884736, 149520384, 384 * 13**2)),
        ("alexnet", "conv4", (384, 384, 13, 13, 3, 1, 2, 663552, 112140288, 384 * 13**2)),
        ("alexnet", "conv5", (384, 256, 13, 13, 3, 1, 2, 442368, 74760192, 256 * 6**2)),
        ("alexnet", "fc6", (9216, 4096, 1, 1, 1, 1, 1, 37748736, 37748736, 4096)),
        ("vgg16", "conv1_1", (3, 64, 224, 224, 3, 1, 1, 1728, 86704128, 64 * 224**2)),
        ("vgg16", "conv5_3", (512, 512, 14, 14, 3, 1, 1, 2359296, 462422016, 512 * 7**2)),
        ("vgg16", "fc6", (25088, 4096, 1, 1, 1, 1, 1, 102760448, 102760448, 4096)),
        ("darknet19", "conv4", (128, 64, 56, 56, 1, 1, 1, 8192, 25690112, 64 * 56**2)),
        ("darknet19", "conv19", (1024, 1000, 7, 7, 1, 1, 1, 1024000, 50176000, 1000)),
        ("resnet50", "conv1", (3, 64, 224, 112, 7, 2, 1, 9408, 118013952, 200704)),
        # the stride is in the 3x3 convolution and in the projection
        ("resnet50", "conv3_1_a", (256, 128, 56, 56, 1, 1, 1, 32768, 102760448, 128 * 56**2)),
        ("resnet50", "conv3_1_b", (128, 128, 56, 28, 3, 2, 1, 147456, 115605504, 128 * 28**2)),
        (
            "resnet50",
            "conv3_1_projection",
            (256, 512, 56, 28, 1, 2, 1, 131072, 102760448, 512 * 28**2),
        ),
        # global average pooling is fused into the last convolution
        ("resnet50", "conv5_3_c", (512, 2048, 7, 7, 1, 1, 1, 1048576, 51380224, 2048)),
        ("resnet50", "fc", (2048, 1000, 1, 1, 1, 1, 1, 2048000, 2048000, 1000)),
        ("resnet18", "conv5_2_b", (512, 512, 7, 7, 3, 1, 1, 2359296, 115605504, 512)),
    ],
)
def test_layer(network: str, layer: str, expected: tuple[int, ...]) -> None:
    (found,) = (x for x in build_network(network).layers if x.name == layer)
    assert found.input_height == found.input_width
    assert found.output_height == found.output_width
    assert found.kernel_height == found.kernel_width
    assert expected == (
        found.in_channels,
        found.out_channels,
        found.input_height,
        found.output_height,
        found.kernel_height,
        found.stride,
        found.groups,
        found.weight_bytes,
        found.macs,
        found.output_bytes,
    )


def test_darknet19_kernels_and_channels() -> None:
    shapes = [
        (layer.out_channels, layer.kernel_height) for layer in build_network("darknet19").layers
    ]
    assert shapes == [
        *[(32, 3), (64, 3)],
        *[(128, 3), (64, 1), (128, 3)],
        *[(256, 3), (128, 1), (256, 3)],
        *[(512, 3), (256, 1), (512, 3), (256, 1), (512, 3)],
        *[(1024, 3), (512, 1), (1024, 3), (512, 1), (1024, 3)],
        (1000, 1),
    ]


def test_projection_block_of_resnet18() -> None:
    network = build_network("resnet18")
    assert [layer.name for layer in network.layers][3:9] == [
        "conv2_2_a",
        "conv2_2_b",
        "conv3_1_projection",
        "conv3_1_a",
        "conv3_1_b",
        "conv3_2_a",
    ]
    before, inside = 64 * 56**2, 128 * 28**2
    touching = {
        pair: size for pair, size in edges_of(network).items() if pair[1].startswith("conv3_1")
    }
    assert touching == {
        ("conv2_2_b", "conv3_1_projection"): before,  # chain
        ("conv2_2_b", "conv3_1_a"): before,  # skip; no chain edge from the projection
        ("conv3_1_a", "conv3_1_b"): inside,  # chain
        ("conv3_1_projection", "conv3_1_b"): inside,  # skip
    }
    assert network.chain_bytes()[4:7] == [before, 0, inside]


def test_first_block_of_resnet18_takes_its_shortcut_from_conv1() -> None:
    edges = edges_of(build_network("resnet18"))
    first = {pair: size for pair, size in edges.items() if pair[1].startswith("conv2_1")}
    size = 64 * 56**2
    assert first == {
        ("conv1", "conv2_1_a"): size,
        ("conv2_1_a", "conv2_1_b"): size,
        ("conv1", "conv2_1_b"): size,
    }


def test_first_block_of_resnet50_projects() -> None:
    edges = edges_of(build_network("resnet50"))
    narrow, wide = 64 * 56**2, 256 * 56**2
    assert {pair: size for pair, size in edges.items() if pair[1].startswith("conv2_1")} == {
        ("conv1", "conv2_1_projection"): narrow,
        ("conv1", "conv2_1_a"): narrow,
        ("conv2_1_a", "conv2_1_b"): narrow,
        ("conv2_1_b", "conv2_1_c"): narrow,
        ("conv2_1_projection", "conv2_1_c"): wide,
    }


def test_identity_block_of_resnet50() -> None:
    edges = edges_of(build_network("resnet50"))
    narrow, wide = 64 * 56**2, 256 * 56**2
    assert {pair: size for pair, size in edges.items() if pair[1].startswith("conv2_2")} == {
        ("conv2_1_c", "conv2_2_a"): wide,
        ("conv2_2_a", "conv2_2_b"): narrow,
        ("conv2_2_b", "conv2_2_c"): narrow,
        ("conv2_1_c", "conv2_2_c"): wide,
    }


def test_last_block_of_resnet50() -> None:
    """Its shortcut carries the full map, the edge into fc only the averages."""
    edges = edges_of(build_network("resnet50"))
    assert edges["conv5_2_c", "conv5_3_c"] == 2048 * 7**2
    assert edges["conv5_3_c", "fc"] == 2048


@pytest.mark.parametrize(
    ("name", "skips"),
    [
        ("alexnet", 0),
        ("vgg16", 0),
        ("darknet19", 0),
        # per block the shortcut's end, per projection also the way round it
        ("resnet18", 8 + 3),
        ("resnet34", 16 + 3),
        ("resnet50", 16 + 4),
        ("resnet101", 33 + 4),
        ("resnet152", 50 + 4),
    ],
)
def test_skip_edge_count(name: str, skips: int) -> None:
    assert len(build_network(name).skip_edges()) == skips


@pytest.mark.parametrize("name", NETWORKS)
def test_edges_are_connected_and_carry_what_is_produced(name: str) -> None:
    network = build_network(name)
    fed = {edge.target for edge in network.edges}
    assert fed == set(range(1, len(network.layers)))
    for edge in network.edges:
        producer, consumer = network.layers[edge.source], network.layers[edge.target]
        assert edge.bytes == producer.output_bytes
        if edge.is_chain:
            assert consumer.input_bytes == producer.output_bytes
    # Every layer but the last is read by someone.
    assert {edge.source for edge in network.edges} == set(range(len(network.layers) - 1))
    for layer in network.layers:
        assert layer.weight_bytes > 0


@pytest.mark.parametrize("name", NETWORKS)
def test_json_round_trip(name: str) -> None:
    network = build_network(name)
    assert Network.from_json(network.to_json(), name) == network


@pytest.mark.parametrize(
    ("name", "close"),
    [
        ("resnet51", "resnet50"),
        ("ResNet-50", "resnet50"),
        ("VGG16", "vgg16"),
        ("alxnet", "alexnet"),
    ],
)
def test_unknown_network(name: str, close: str) -> None:
    with pytest.raises(InputError) as error:
        build_network(name)
    (problem,) = error.value.problems
    assert f"did you mean '{close}'?" in problem
    assert problem.endswith(", ".join(NETWORKS))


def test_unknown_network_that_resembles_none() -> None:
    with pytest.raises(InputError, match="allowed: alexnet, vgg16") as error:
        build_network("")
    assert "did you mean" not in str(error.value)


@pytest.mark.parametrize(
    ("chiplets", "mesh"),
    [
        (16, (4, 4)),
        (32, (4, 8)),
        (64, (8, 8)),
        (128, (8, 16)),
        (256, (16, 16)),
        (1, (1, 1)),
        (2, (1, 2)),
        (7, (1, 7)),
        (12, (3, 4)),
        (36, (6, 6)),
    ],
)
def test_mesh(chiplets: int, mesh: tuple[int, int]) -> None:
    package = paper_package(chiplets)
    assert (package.mesh_rows, package.mesh_cols) == mesh
    assert package.chiplets == chiplets


def test_paper_chiplets() -> None:
    assert PAPER_CHIPLETS == (16, 32, 64, 128, 256)


@pytest.mark.parametrize(
    ("rows", "cols", "mesh"), [(2, None, (2, 8)), (None, 2, (8, 2)), (16, 1, (16, 1))]
)
def test_chosen_mesh(rows: int | None, cols: int | None, mesh: tuple[int, int]) -> None:
    package = paper_package(16, rows, cols)
    assert (package.mesh_rows, package.mesh_cols) == mesh


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), f"chiplets: 0 is out of range; allowed 1 to {MAX_CHIPLETS}"),
        ((-4,), "chiplets: -4 is out of range"),
        ((MAX_CHIPLETS + 1,), f"chiplets: {MAX_CHIPLETS + 1} is out of range"),
        ((16, 3), "mesh: 3 rows do not divide 16 chiplets"),
        ((16, None, 0), "mesh: 0 columns do not divide 16 chiplets"),
        ((16, -4, -4), "mesh: -4 rows do not divide 16 chiplets"),
        ((16, 4, 2), "mesh: 4 x 2 is not 16 chiplets"),
    ],
)
def test_impossible_package(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InputError) as error:
        paper_package(*arguments)
    assert message in str(error.value)


def test_paper_parameters() -> None:
    package = paper_package(64)
    assert package.model_dump(exclude_none=True) == {
        "mesh_rows": 8,
        "mesh_cols": 8,
        "chiplet": {
            "pes": 16,
            "lanes_per_pe": 8,
            "macs_per_lane": 8,
            "frequency_hz": 8e8,
            "weight_buffer_bytes": 1048576,
            "global_buffer_bytes": 65536,
        },
        "nop": {
            "bandwidth_bytes_per_s": 1e11,
            "ports": 4,
            "energy_pj_per_bit": 1.3,
            "eta_within": 1.12,
            "eta_between": 1.06,
        },
        "dram": {
            "bandwidth_bytes_per_s": 1e11,
            "latency_s": 5.2e-8,
            "efficiency": 0.93,
            "energy_pj_per_bit": 4.0,
        },
        "pe_split": "any",
        "mac_energy_pj": 0.2,
        "sram_energy_pj_per_byte": 1.25,
    }
    assert package.chiplet.macs_per_cycle == 1024
    assert package.nop.port_bytes_per_s == 25e9
