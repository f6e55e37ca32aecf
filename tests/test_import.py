"""Networks from ONNX files against networks written in Python, against counts taken from the file
by themselves, and against brute force on random graphs."""

from __future__ import annotations

import itertools
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx_models
import pytest
from helpers import invoke
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx_models import Model

from scope_opt import InputError, Instance, Network
from scope_opt.importing.onnx import import_onnx
from scope_opt.importing.operators import KINDS
from scope_opt.importing.order import short_branches
from scope_opt.importing.reader import read_graph
from scope_opt.model.parts import NetworkFile
from scope_opt.model.transformers import transformer
from scope_opt.model.zoo import build_network

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scope_opt.importing.graph import Node

FAMILIES: dict[str, Callable[[Path], Path]] = {
    build.__name__: build
    for build in (
        onnx_models.resnet18,
        onnx_models.mobilenet,
        onnx_models.densenet,
        onnx_models.inception,
        onnx_models.unet,
        onnx_models.bert,
        onnx_models.embedding,
        onnx_models.llama,
        onnx_models.vit,
        onnx_models.shufflenet,
        onnx_models.efficientnet,
        onnx_models.wavenet,
        onnx_models.deepspeech,
        onnx_models.yolo,
        onnx_models.mixer,
        onnx_models.quantized,
    )
}
SIZES = {"bert": {"sequence": 16}}
HEAVY = {"Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", "QLinearConv"}


def read(family: str, folder: Path, order: Any = "file") -> Network:
    return import_onnx(FAMILIES[family](folder), SIZES.get(family, {}), order=order)[0]


def flow(network: Network) -> dict[tuple[str, str], tuple[int, str]]:
    """Bytes, and what they are to the reader, by the names of the two layers."""
    names = [layer.name for layer in network.layers]
    return {
        (names[edge.source], names[edge.target]): (edge.bytes, "input" if edge.is_input else "sum")
        for edge in network.edges
    }


def sizes(network: Network) -> list[dict[str, Any]]:
    """Layers without their names."""
    return [layer.model_dump(exclude={"name"}) for layer in network.layers]


# --- Counts by themselves ------------------------------------------------------------------------


def count(path: Path, size: dict[str, int]) -> tuple[int, int, int]:
    """Products, multiply-accumulates and weights of a file, by the library's own inference."""
    model = onnx.load(path, load_external_data=False)
    for value in model.graph.input:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if not dim.dim_value:
                dim.dim_value = size.get(dim.dim_param, 1 if axis == 0 else 0)
    model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    graph = model.graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        dims = value.type.tensor_type.shape.dim
        shapes.setdefault(value.name, tuple(dim.dim_value for dim in dims))
    fixed = set(shapes) & {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if node.input and all(tensor in fixed for tensor in node.input):
            fixed.update(node.output)
    products = macs = weights = 0
    for node in graph.node:
        if node.op_type not in HEAVY:
            continue
        left, right = (node.input[0], node.input[3 if node.op_type == "QLinearConv" else 1])
        made = math.prod(shapes[node.output[0]])
        products += 1
        weights += sum(math.prod(shapes[tensor]) for tensor in (left, right) if tensor in fixed)
        if node.op_type == "ConvTranspose":
            macs += math.prod(shapes[left]) * math.prod(shapes[right][1:])
        elif node.op_type in ("Conv", "QLinearConv"):
            macs += made * math.prod(shapes[right][1:])
        else:
            transposed = any(a.name == "transA" and a.i for a in node.attribute)
            macs += made * shapes[left][0 if transposed else -1]
    return products, macs, weights


@pytest.mark.parametrize("order", ["file", "short"])
@pytest.mark.parametrize("family", FAMILIES)
def test_counts(family: str, order: str, tmp_path: Path) -> None:
    network, coverage = import_onnx(
        FAMILIES[family](tmp_path),
        SIZES.get(family, {}),
        order=order,  # type: ignore[arg-type]
    )
    expected = count(tmp_path / f"{family}.onnx", SIZES.get(family, {}))
    assert (len(network.layers), network.macs, network.weight_bytes) == expected
    assert (coverage.layers, coverage.macs, coverage.weight_bytes) == expected


# --- Models that come with the library -----------------------------------------------------------

LIBRARY = Path(onnx.__file__).parent / "backend" / "test" / "data"


@pytest.mark.parametrize(
    ("name", "layers", "gmac", "weights"),
    [
        # Weights are the published parameters less biases and normalizations.
        ("bvlc_alexnet", 8, 0.655, 60_965_224 - 10_568),
        ("vgg19", 19, 19.632, 143_667_240 - 14_696),
        ("resnet50", 54, 4.089, 25_557_032 - 53_120 - 1000),
        ("densenet121", 121, 2.834, 7_978_856 - 83_648 - 1000),
        ("squeezenet", 26, 0.349, 1_235_496 - 3_944),
        ("inception_v1", 58, 1.432, 6_990_272),
        ("shufflenet", 50, 0.125, 1_365_464),
    ],
)
def test_published_networks(name: str, layers: int, gmac: float, weights: int) -> None:
    path = LIBRARY / "light" / f"light_{name}.onnx"
    if not path.exists():
        pytest.skip("this release of onnx has other models")
    network, _ = import_onnx(path)
    assert len(network.layers) == layers
    assert network.macs / 1e9 == pytest.approx(gmac, abs=6e-4)
    assert network.weight_bytes == weights


def test_every_model_of_the_library_is_read_or_refused_with_reasons() -> None:
    paths = sorted(LIBRARY.glob("pytorch-*/*/model.onnx"))
    outcomes = [invoke("import", path).exit_code for path in paths]
    assert set(outcomes) == ({0, 2} if paths else set())


# --- Networks known otherwise --------------------------------------------------------------------


def test_resnet18_is_that_of_the_zoo(tmp_path: Path) -> None:
    """In the order that keeps branches short; the file has the projections last."""
    expected = build_network("resnet18")
    found = read("resnet18", tmp_path, "short")
    assert sizes(found) == sizes(expected)
    assert found.edges == expected.edges
    assert [layer.name for layer in found.layers][4:8] == [
        "layer1.1/conv2", "layer2.0/downsample", "layer2.0/conv1", "layer2.0/conv2",
    ]  # fmt: skip
    in_file_order = read("resnet18", tmp_path)
    assert in_file_order.layers[7].name == "layer2.0/downsample"
    added = flow(in_file_order)["layer2.0/conv2", "layer2.0/downsample"]
    assert added == (128 * 28 * 28, "sum")


def test_bert_is_that_of_the_builder(tmp_path: Path) -> None:
    expected = transformer("encoder", blocks=2, tokens=16)
    found = read("bert", tmp_path)
    assert found.layers == expected.layers
    assert found.edges == expected.edges


def test_llama_is_that_of_the_builder(tmp_path: Path) -> None:
    """But for the vocabulary: shared keys, caches, a gated network."""
    net = Network.build("llama", 32)
    net.tokens("query", 32).tokens("key", 16, reads="input", dram_write_bytes=16)
    net.tokens("value", 16, reads="input", dram_write_bytes=16)
    net.product("scores", 4 * 8, "key", groups=4, reads="query", dram_read_bytes=7 * 16)
    net.product("context", 32, "value", groups=4, dram_read_bytes=7 * 16)
    net.tokens("output", 32).add("input").tokens("gate", 48)
    net.tokens("up", 48, reads="output").add("gate").tokens("down", 32).add("output")
    expected, found = net.finish(), read("llama", tmp_path)
    assert found.layers == expected.layers
    assert found.edges == expected.edges


def test_llama_wrote_what_others_read(tmp_path: Path) -> None:
    """Keys and values are outputs: they are written to DRAM, and the caches read from there."""
    layers = {layer.name: layer for layer in read("llama", tmp_path).layers}
    assert layers["scores"].dram_read_bytes == layers["context"].dram_read_bytes == 7 * 2 * 8
    assert layers["key"].dram_write_bytes == 16


def test_embeddings_stay_in_dram(tmp_path: Path) -> None:
    network, coverage = import_onnx(onnx_models.embedding(tmp_path))
    # Read by the first layer anyway, and once more by keys, values and the residual addition.
    assert [layer.dram_read_bytes for layer in network.layers] == [0, 320, 320, 0, 0, 320, 0, 0]
    assert coverage.table_elements == 32_000
    assert ("Gather", "DRAM", 1) in coverage.operators


# --- Edges ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "edges"),
    [
        # A concatenation is an input from each layer.
        ("densenet", {(0, 4): (8 * 256, "input"), (1, 4): (4 * 256, "input"),
                      (2, 4): (4 * 256, "input"), (3, 4): (4 * 256, "input")}),
        ("inception", {(1, 5): (4 * 256, "input"), (3, 5): (6 * 256, "input"),
                       (4, 5): (2 * 256, "input"), (0, 4): (8 * 256, "input")}),
        # The way down is pooled, the skip is not; the map grows where it is read.
        ("unet", {(0, 1): (8 * 64, "input"), (0, 3): (8 * 256, "input"),
                  (2, 3): (8 * 256, "input")}),
        ("yolo", {(3, 4): (8 * 64, "input"), (0, 4): (8 * 256, "input")}),
        # Averages of a map, and the map with its factors.
        ("efficientnet", {(1, 2): (8, "input"), (1, 4): (8 * 64, "input"), (3, 4): (8, "input"),
                          (0, 4): (8 * 64, "sum")}),
        # A gate halves what is handed on.
        ("wavenet", {(1, 2): (8 * 64, "input"), (0, 2): (8 * 64, "sum")}),
        # Half of the channels goes past.
        ("shufflenet", {(0, 1): (4 * 64, "input"), (1, 2): (4 * 64, "input")}),
    ],
)  # fmt: skip
def test_edges(family: str, edges: dict[tuple[int, int], tuple[int, str]], tmp_path: Path) -> None:
    network = read(family, tmp_path)
    names = [layer.name for layer in network.layers]
    found = flow(network)
    for (source, target), expected in edges.items():
        assert found[names[source], names[target]] == expected


def test_what_is_pooled_is_handed_on(tmp_path: Path) -> None:
    assert read("mobilenet", tmp_path).layers[-2].output_bytes == 24
    assert read("unet", tmp_path).layers[0].output_bytes == 8 * 256
    assert read("densenet", tmp_path).layers[-1].output_bytes == 10 * 64
    assert read("wavenet", tmp_path).layers[1].output_bytes == 8 * 64  # of 16 channels


def test_outputs_of_other_layers_go_to_dram(tmp_path: Path) -> None:
    assert [layer.dram_write_bytes for layer in read("yolo", tmp_path).layers] == [0, 0, 384, 0, 0]


def test_transposed_convolution_is_its_equivalent(tmp_path: Path) -> None:
    up = read("unet", tmp_path).layers[2]
    assert (up.kernel_height, up.stride, up.out_channels) == (1, 1, 8 * 4)
    assert (up.output_height, up.output_bytes) == (8, 8 * 16 * 16)


# --- Random graphs -------------------------------------------------------------------------------


@st.composite
def graphs(draw: st.DrawFn) -> Model:
    """Convolutions, sums, concatenations, slices and elementwise operators on maps of one size."""
    m = Model("random")
    tensors = [(m.input("image", 1, 4, 6, 6), 4)]
    layers = 0
    for _ in range(draw(st.integers(2, 12))):
        kind = draw(
            st.sampled_from(("Conv", "Conv", "Conv", "Add", "Mul", "Concat", "Split", "Relu"))
        )
        x, channels = tensors[draw(st.integers(max(0, len(tensors) - 4), len(tensors) - 1))]
        if kind == "Conv" and layers < 5:
            layers += 1
            out = draw(st.sampled_from((4, 6)))
            tensors.append((m.conv(x, channels, out, draw(st.sampled_from((1, 3))), act=""), out))
        elif kind in ("Add", "Mul"):
            same = [y for y, other in tensors if other == channels]
            y = draw(st.sampled_from(same))
            if not x == y == "image":
                tensors.append((m.op(kind, x, y), channels))
        elif kind == "Concat":
            y, other = draw(st.sampled_from(tensors))
            tensors.append((m.op("Concat", x, y, axis=1), channels + other))
        elif kind == "Split" and channels > 1:
            first = draw(st.integers(1, channels - 1))
            parts = m.ops("Split", 2, x, m.integers(first, channels - first), axis=1)
            tensors += zip(parts, (first, channels - first), strict=True)
        elif kind == "Relu":
            tensors.append((m.op("Relu", x), channels))
    x, channels = tensors[-1]
    m.conv(x, channels, 4, 1, act="", name="last")
    return m


def depends(model: Model) -> set[tuple[str, str]]:
    """Pairs of layers the second of which depends on the first, channel by channel."""
    behind: dict[str, list[set[str]]] = {"image": [set() for _ in range(4)]}
    widths = {tensor.name: tensor.dims for tensor in model.stored}
    found = set()
    for node in model.nodes:
        reads = [behind[tensor] for tensor in node.input if tensor in behind]
        if node.op_type == "Conv":
            own = node.name or node.output[0]
            before = set().union(*reads[0])
            found |= {(layer, own) for layer in before}
            behind[node.output[0]] = [before | {own}] * widths[node.input[1]][0]
        elif node.op_type == "Concat":
            behind[node.output[0]] = reads[0] + reads[1]
        elif node.op_type == "Split":
            first = int(numpy_helper.to_array(model.stored[int(node.input[1][1:])])[0])
            behind[node.output[0]], behind[node.output[1]] = reads[0][:first], reads[0][first:]
        else:
            behind[node.output[0]] = [set().union(*both) for both in zip(*reads, strict=True)]
    return found


def reached(network: Network) -> set[tuple[str, str]]:
    names = [layer.name for layer in network.layers]
    behind: list[set[int]] = [set() for _ in names]
    for target in range(len(names)):
        for edge in network.edges:
            if edge.target == target:
                behind[target] |= behind[edge.source] | {edge.source}
    return {(names[a], names[b]) for b, found in enumerate(behind) for a in found}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(model=graphs(), order=st.sampled_from(("file", "short")))
def test_nothing_that_a_layer_depends_on_is_lost(model: Model, order: Any, tmp_path: Path) -> None:
    path = model.save(tmp_path, model.nodes[-1].output[0])
    network, _ = import_onnx(path, order=order)
    alive = {layer.name for layer in network.layers}
    assert {pair for pair in depends(model) if pair[1] in alive} <= reached(network)
    for edge in network.edges:
        assert edge.bytes <= network.layers[edge.source].output_bytes


def waiting(nodes: Sequence[Node], elements: Callable[[str], int], layers: set[str]) -> int:
    """Bytes that wait behind each layer, counted from the definition."""
    total = 0
    makers = {tensor: node for node in nodes for tensor in node.outputs}
    order = [node for node in nodes if node.op == "Conv"]

    def done(node: Node, first: int) -> bool:
        if node.op == "Conv":
            return node in order[:first]
        return all(done(makers[tensor], first) for tensor in node.inputs if tensor in makers)

    for first in range(1, len(order) + 1):
        for tensor, maker in makers.items():
            readers = [node for node in nodes if tensor in node.inputs]
            behind = any(layer in layers for layer in ancestors(maker, makers))
            if behind and done(maker, first) and not all(done(node, first) for node in readers):
                total += elements(tensor)
    return total


def ancestors(node: Node, makers: dict[str, Node]) -> set[str]:
    found = {node.outputs[0]} if node.op == "Conv" else set()
    for tensor in node.inputs:
        if tensor in makers:
            found |= ancestors(makers[tensor], makers)
    return found


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(model=graphs())
def test_short_branches_are_the_shortest(model: Model, tmp_path: Path) -> None:
    """Among all orders of the layers, by brute force."""
    graph = read_graph(model.save(tmp_path, model.nodes[-1].output[0]), {})
    layers = {node.outputs[0] for node in graph.nodes if node.op == "Conv"}

    def is_layer(node: Node) -> bool:
        return node.op == "Conv"

    # A tensor of inputs alone waits in DRAM.
    makers = {tensor: node for node in graph.nodes for tensor in node.outputs}
    weight = {t: graph.elements(t) if ancestors(n, makers) else 0 for t, n in makers.items()}
    found = short_branches(graph.nodes, is_layer, weight.__getitem__)
    assert sorted(map(id, found)) == sorted(map(id, graph.nodes))
    before: set[str] = set(graph.inputs)
    for node in found:
        assert all(t in before or t in graph.constants for t in node.inputs)
        before.update(node.outputs)
    light = [node for node in graph.nodes if node.op != "Conv"]
    heavy = [node for node in graph.nodes if node.op == "Conv"]
    above = {node.outputs[0]: ancestors(node, makers) for node in heavy}
    costs = [
        waiting([*light, *order], graph.elements, layers)
        for order in itertools.permutations(heavy)
        if all(
            above[node.outputs[0]] <= {other.outputs[0] for other in order[: place + 1]}
            for place, node in enumerate(order)
        )
    ]
    assert waiting(found, graph.elements, layers) == min(costs)


def test_attention_as_one_operator(tmp_path: Path) -> None:
    """Shared keys, a mask, no cache: as its parts."""
    m = Model("whole", 23)
    x = m.input("x", 1, 5, 32)
    q, k, v = (m.op("MatMul", x, m.weight(32, width)) for width in (32, 16, 16))
    heads: dict[str, Any] = {"q_num_heads": 4, "kv_num_heads": 2}
    y = m.op("Attention", q, k, v, m.input("mask", 5, 5), name="self", **heads)
    network, coverage = import_onnx(m.save(tmp_path, m.op("MatMul", y, m.weight(32, 32))))
    net = Network.build("whole", 32, 5).tokens(q, 32).tokens(k, 16, reads="input")
    net.tokens(v, 16, reads="input")
    net.product("self/scores", 4 * 5, k, groups=4, reads=q, dram_read_bytes=25)
    net.product("self/context", 32, v, groups=4).tokens(network.layers[-1].name, 32)
    assert network.layers == net.finish().layers
    assert network.edges == net.finish().edges
    assert ("Attention", "layers", 1) in coverage.operators


def test_attention_with_a_cache_as_one_operator(tmp_path: Path) -> None:
    m = Model("cached", 23)
    q = m.heads(m.op("MatMul", m.input("x", 1, 1, 32), m.weight(32, 32)), 4, 32)
    k, v = (m.heads(m.op("MatMul", "x", m.weight(32, 16)), 2, 16) for _ in range(2))
    caches = [m.input(name, 1, 2, 6, 8) for name in ("keys", "values")]
    y, keys, values = m.ops("Attention", 3, q, k, v, "", *caches)
    path = m.save(tmp_path, y, keys, values)
    layers = import_onnx(path)[0].layers
    assert [layer.dram_read_bytes for layer in layers] == [0, 32, 32, 96, 96]
    # New keys and values are written; what was cached is in DRAM already.
    assert [layer.dram_write_bytes for layer in layers] == [0, 16, 16, 0, 0]
    assert [layer.macs for layer in layers[-2:]] == [4 * 8 * 7] * 2
    again = import_onnx(path, order="short")[0].layers
    assert sorted(layer.name for layer in again) == sorted(layer.name for layer in layers)
    assert sum(layer.dram_write_bytes for layer in again) == 32


# --- Operators -----------------------------------------------------------------------------------


def single(folder: Path, *shape: int, op: str, operands: Sequence[Any], **attributes: Any) -> Any:
    """The layer that one operator becomes; operands are sizes of weights."""
    m = Model("one", 20)
    x = m.input("x", *shape)
    names = [m.weight(*operand) for operand in operands]
    return import_onnx(m.save(folder, m.op(op, x, *names, **attributes)))[0].layers[0]


@pytest.mark.parametrize(
    ("op", "shape", "weight", "attributes", "expected"),
    [
        # channels in, out; input; output; kernel; groups; weights
        ("Conv", (1, 4, 9), (6, 2, 3), {"group": 2}, (4, 6, (9, 1), (7, 1), (3, 1), 2, 36)),
        ("Conv", (1, 4, 9, 9), (4, 4, 3, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
         (4, 4, (9, 9), (5, 5), (3, 3), 1, 144)),
        # Padded by more than the kernel reaches.
        ("Conv", (1, 4, 9, 9), (4, 4, 1, 1), {"pads": [1, 1, 1, 1]},
         (4, 4, (11, 11), (11, 11), (1, 1), 1, 16)),
        ("ConvTranspose", (1, 8, 5, 5), (8, 6, 4, 4), {"strides": [2, 2], "pads": [1, 1, 1, 1]},
         (8, 24, (5, 5), (5, 5), (2, 2), 1, 768)),
        ("ConvTranspose", (1, 8, 5, 5), (8, 3, 2, 2), {"strides": [2, 2], "group": 2},
         (8, 24, (5, 5), (5, 5), (1, 1), 2, 96)),
        ("ConvTranspose", (1, 8, 5), (8, 3, 3), {"pads": [1, 1]},
         (8, 3, (5, 1), (5, 1), (3, 1), 1, 72)),
        ("Gemm", (5, 4), (6, 4), {"transB": 1}, (4, 6, (5, 1), (5, 1), (1, 1), 1, 24)),
        ("Gemm", (4, 5), (4, 6), {"transA": 1}, (4, 6, (5, 1), (5, 1), (1, 1), 1, 24)),
        ("MatMul", (1, 5, 4), (4, 6), {}, (4, 6, (5, 1), (5, 1), (1, 1), 1, 24)),
        ("MatMul", (4,), (4, 6), {}, (4, 6, (1, 1), (1, 1), (1, 1), 1, 24)),
        ("MatMul", (5, 4), (4,), {}, (4, 1, (5, 1), (5, 1), (1, 1), 1, 4)),
        # Experts: one matrix each, on rows of their own or on the same.
        ("MatMul", (3, 5, 4), (3, 4, 6), {}, (12, 18, (5, 1), (5, 1), (1, 1), 3, 72)),
        ("MatMul", (1, 5, 4), (3, 4, 6), {}, (4, 18, (5, 1), (5, 1), (1, 1), 1, 72)),
        ("Einsum", (1, 5, 3, 4), (3, 4, 6), {"equation": "btgc, gcd -> btgd"},
         (12, 18, (5, 1), (5, 1), (1, 1), 3, 72)),
    ],
)  # fmt: skip
def test_layer(
    op: str,
    shape: tuple[int, ...],
    weight: tuple[int, ...],
    attributes: dict[str, Any],
    expected: tuple[Any, ...],
    tmp_path: Path,
) -> None:
    layer = single(tmp_path, *shape, op=op, operands=[weight], **attributes)
    assert expected == (
        layer.in_channels,
        layer.out_channels,
        (layer.input_height, layer.input_width),
        (layer.output_height, layer.output_width),
        (layer.kernel_height, layer.kernel_width),
        layer.groups,
        layer.weight_bytes,
    )
    assert layer.weight_bytes == math.prod(weight)


@pytest.mark.parametrize(
    ("op", "shape", "weight", "attributes", "expected"),
    [
        (
            "ConvTranspose",
            (1, 8, 5, 5),
            (8, 6, 3, 3),
            {"strides": [2, 2]},
            "multiples of the stride",
        ),
        ("Conv", (1, 4, 9, 9, 9), (4, 4, 3, 3, 3), {}, "3 axes; convolutions have one or two"),
        ("Conv", (2, 4, 9, 9), (4, 4, 3, 3), {}, "a batch of 2"),
        ("Einsum", (5, 4), (4, 6), {"equation": "ij,kl->il"}, "sums over one operand alone"),
        ("Einsum", (4, 4), (4, 6), {"equation": "ii,ij->j"}, "no matrix product"),
    ],
)
def test_what_cannot_be_stated_says_why(
    op: str,
    shape: tuple[int, ...],
    weight: tuple[int, ...],
    attributes: dict[str, Any],
    expected: str,
    tmp_path: Path,
) -> None:
    with pytest.raises(InputError) as error:
        single(tmp_path, *shape, op=op, operands=[weight], **attributes)
    assert expected in str(error.value)
    assert op in str(error.value)


def test_every_operator_is_one_of_the_librarys() -> None:
    """No name is misspelt; those of newer releases than the oldest allowed are left out."""
    known = {schema.name for schema in onnx.defs.get_all_schemas()}
    own = {op for op in KINDS if "." not in op} - {"SimplifiedLayerNormalization"}
    assert own <= known


# --- Files ---------------------------------------------------------------------------------------


def unknown_model(folder: Path) -> Path:
    m = Model("odd")
    x = m.conv(m.input("image", 1, 3, 8, 8), 3, 4)
    y = m.op("Frobnicate", x, domain="my.own")
    z = m.op("Det", m.op("Frobnicate", y, domain="my.own"))
    return m.save(folder, m.conv(y, 4, 4), z)


def test_unknown_operators_are_all_named_and_can_be_left_out(tmp_path: Path) -> None:
    path = unknown_model(tmp_path)
    refused = invoke("import", path)
    assert refused.exit_code == 2
    assert "Det (1), my.own.Frobnicate (2)" in refused.stderr
    assert "--ignore Det --ignore my.own.Frobnicate" in refused.stderr
    outcome = invoke("import", path, "--ignore", "Det", "--ignore", "my.own.Frobnicate", "--json")
    content = json.loads(outcome.stdout)
    assert content["layers"] == 2
    assert {"operator": "my.own.Frobnicate", "became": "ignored", "count": 2} in content[
        "operators"
    ]


def test_open_sizes_are_asked_for(tmp_path: Path) -> None:
    path = onnx_models.bert(tmp_path)
    refused = invoke("import", path)
    assert refused.exit_code == 2
    assert "dimension 1 (sequence) is open; give it: --size sequence=N" in refused.stderr
    named = import_onnx(path, {"sequence": 16})[0]
    assert import_onnx(path, {"tokens.1": 16})[0] == named
    output = tmp_path / "bert.json"
    done = invoke("import", path, "--size", "sequence=16", "-o", output)
    assert done.exit_code == 0
    assert "batch = 1" in done.stdout
    assert NetworkFile.load(output).network == named


def test_sizes_that_do_not_fit(tmp_path: Path) -> None:
    m = Model("fixed")
    x = m.op("MatMul", m.input("x", 1, "rows", 4), m.weight(4, 4))
    path = m.save(tmp_path, m.op("Add", x, m.weight(1, 3, 4)))
    outcome = invoke("import", path, "--size", "rows=5")
    assert outcome.exit_code == 2
    assert "Add" in outcome.stderr
    assert "--size NAME=N" in outcome.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--size", "sequence"), "found 'sequence'; allowed: NAME=N"),
        (("--size", "sequence=0"), "found 'sequence=0'"),
        (("--size", "sequence=16", "--size", "seq=4"), "no dimension 'seq'; there are batch, seq"),
        (("--size", "sequence=16", "-o", "no/such/folder/x.json"), "is a file, not a folder"),
    ],
)
def test_refused_arguments(
    arguments: tuple[str, ...],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = onnx_models.bert(tmp_path)
    (tmp_path / "no").write_text("a file")
    monkeypatch.chdir(tmp_path)
    outcome = invoke("import", path, *arguments)
    assert outcome.exit_code == 2
    assert expected in outcome.stderr


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x07", b'{"format": "x"}', None])
def test_files_that_are_no_models(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    outcome = invoke("import", path)
    assert outcome.exit_code == 2
    assert str(path) in outcome.stderr
    assert outcome.stdout == ""


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    outcome = invoke("import", tmp_path / "model.onnx")
    assert outcome.exit_code == 2
    assert "pip install 'scope-opt[onnx]'" in outcome.stderr


def test_weights_stored_beside_the_file_hold_sizes(tmp_path: Path) -> None:
    """A small tensor outside the file is read if it is there: it may be a shape."""
    m = Model("outside")
    x = m.input("x", 1, 2, 6)
    shape = m.integers(1, 3, 4)
    y = m.op("MatMul", m.op("Reshape", x, shape), m.weight(4, 5))
    (tmp_path / "shape.bin").write_bytes(np.array([1, 3, 4], dtype=np.int64).tobytes())
    stored = m.stored[0]
    stored.ClearField("raw_data")
    stored.data_location = TensorProto.EXTERNAL
    stored.external_data.add(key="location", value="shape.bin")
    layer = import_onnx(m.save(tmp_path, y))[0].layers[0]
    assert (layer.input_height, layer.in_channels) == (3, 4)


def test_functions_of_the_file_are_opened(tmp_path: Path) -> None:
    m = Model("functions")
    y = m.op("Twice", m.input("x", 1, 5, 4), m.weight(4, 4), domain="mine")
    path = m.save(tmp_path, y)
    body = [
        helper.make_node("MatMul", ["a", "w"], ["b"]),
        helper.make_node("MatMul", ["b", "w"], ["c"]),
    ]
    model = onnx.load(path, load_external_data=False)
    model.functions.append(
        helper.make_function("mine", "Twice", ["a", "w"], ["c"], body, model.opset_import)
    )
    onnx.save(model, path)
    network, _ = import_onnx(path)
    assert [layer.weight_bytes for layer in network.layers] == [16, 16]


def test_operators_in_any_order_and_those_without_effect(tmp_path: Path) -> None:
    m = Model("order")
    x = m.conv(m.input("image", 1, 3, 8, 8), 3, 4)
    m.conv(x, 4, 4)  # nobody reads it
    y = m.conv(x, 4, 4)
    m.nodes.reverse()
    network, _ = import_onnx(m.save(tmp_path, y))
    assert len(network.layers) == 2
    assert [edge.bytes for edge in network.edges] == [4 * 64]


def test_names_are_unique_and_short(tmp_path: Path) -> None:
    m = Model("names")
    x = m.input("x", 1, 5, 4)
    for name in (
        "/block.0/fc/MatMul",
        "/block.0/fc/MatMul",
        "/block.0/fc/MatMul_1",
        "fc",
        "",
        "a" * 300,
    ):
        x = m.op("MatMul", x, m.weight(4, 4), name=name)
    found = [layer.name for layer in import_onnx(m.save(tmp_path, x))[0].layers]
    assert found[:4] == ["block.0/fc", "block.0/fc#2", "block.0/fc_1", "fc"]
    assert found[5] == "a" * 180


def test_combined_and_solved(tmp_path: Path) -> None:
    """From the file to a proved schedule."""
    net, package, instance = (tmp_path / name for name in ("net.json", "pkg.toml", "all.json"))
    assert invoke("import", onnx_models.inception(tmp_path), "-o", net).exit_code == 0
    assert invoke("package", "new", "--mesh", "2x2", "-o", package).exit_code == 0
    assert invoke("combine", net, package, "--samples", 4, "-o", instance).exit_code == 0
    assert Instance.load(instance).name == "inception-on-pkg-4samples"
    solved = invoke("solve", instance, "--json")
    assert json.loads(solved.stdout)["status"] == "optimal"
