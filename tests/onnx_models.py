"""ONNX models of twelve families and more, written operator by operator.

Weights have sizes only: their data would be in a file that is not there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from pathlib import Path

Size = int | str | None


class Model:
    """Collects operators; each returns the name of its tensor."""

    def __init__(self, name: str, opset: int = 18) -> None:
        self.name = name
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.stored: list[TensorProto] = []
        self.domains: set[str] = set()

    def input(self, name: str, *shape: Size, kind: int = TensorProto.FLOAT) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def weight(self, *shape: int, kind: int = TensorProto.FLOAT) -> str:
        tensor = TensorProto(name=f"w{len(self.stored)}", data_type=kind, dims=shape)
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="not-there.bin")
        self.stored.append(tensor)
        return tensor.name

    def integers(self, *values: int) -> str:
        name = f"i{len(self.stored)}"
        self.stored.append(numpy_helper.from_array(np.array(values, dtype=np.int64), name))
        return name

    def op(
        self, kind: str, *inputs: str, name: str = "", domain: str = "", **attributes: Any
    ) -> str:
        return self.ops(kind, 1, *inputs, name=name, domain=domain, **attributes)[0]

    def ops(
        self, kind: str, count: int, *inputs: str, name: str = "", domain: str = "", **rest: Any
    ) -> list[str]:
        outputs = [f"t{len(self.nodes)}_{k}" for k in range(count)]
        self.domains.add(domain)
        self.nodes.append(helper.make_node(kind, inputs, outputs, name, domain=domain, **rest))
        return outputs

    def save(self, folder: Path, *outputs: str) -> Path:
        results = [helper.make_empty_tensor_value_info(output) for output in outputs]
        graph = helper.make_graph(self.nodes, self.name, self.inputs, results, self.stored)
        sets = [helper.make_opsetid(domain, 1) for domain in self.domains - {""}]
        model = helper.make_model(graph, opset_imports=[*sets, helper.make_opsetid("", self.opset)])
        path = folder / f"{self.name}.onnx"
        onnx.save(model, path)
        return path

    # --- What many models have -------------------------------------------------------------------

    def conv(
        self,
        x: str,
        channels: int,
        out: int,
        kernel: int | tuple[int, ...] = 3,
        stride: int | tuple[int, ...] = 1,
        group: int = 1,
        dilation: int | tuple[int, ...] = 1,
        act: str = "Relu",
        pad: bool = True,
        name: str = "",
    ) -> str:
        kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
        axes = len(kernel)
        stride = (stride,) * axes if isinstance(stride, int) else stride
        dilation = (dilation,) * axes if isinstance(dilation, int) else dilation
        pads = [d * (k - 1) // 2 * pad for k, d in zip(kernel, dilation, strict=True)]
        made = self.op(
            "Conv", x, self.weight(out, channels // group, *kernel), self.weight(out),
            strides=stride, pads=[*pads, *pads], group=group, dilations=dilation, name=name,
        )  # fmt: skip
        return self.op(act, made) if act else made

    def dense(self, x: str, channels: int, out: int, name: str = "") -> str:
        """A linear layer as PyTorch exports it for tensors of rank three."""
        made = self.op("MatMul", x, self.weight(channels, out), name=name)
        return self.op("Add", self.weight(out), made)

    def norm(self, x: str, width: int) -> str:
        return self.op("LayerNormalization", x, self.weight(width), self.weight(width))

    def heads(self, x: str, heads: int, width: int, *, keys: bool = False) -> str:
        """From (1, T, width) to (1, heads, T, head); keys are (1, heads, head, T)."""
        split = self.op("Reshape", x, self.integers(1, -1, heads, width // heads))
        return self.op("Transpose", split, perm=[0, 2, 3, 1] if keys else [0, 2, 1, 3])

    def attention(self, x: str, width: int, heads: int, block: str) -> str:
        query = self.heads(self.dense(x, width, width, f"{block}.query"), heads, width)
        key = self.heads(self.dense(x, width, width, f"{block}.key"), heads, width, keys=True)
        value = self.heads(self.dense(x, width, width, f"{block}.value"), heads, width)
        scores = self.op("MatMul", query, key, name=f"{block}.scores")
        scaled = self.op("Div", scores, self.weight(1))
        context = self.op("MatMul", self.op("Softmax", scaled), value, name=f"{block}.context")
        merged = self.op("Transpose", context, perm=[0, 2, 1, 3])
        flat = self.op("Reshape", merged, self.integers(1, -1, width))
        return self.dense(flat, width, width, f"{block}.output")

    def block(self, x: str, width: int, heads: int, hidden: int, name: str) -> str:
        """Encoder block with normalization after each half."""
        x = self.norm(self.op("Add", self.attention(x, width, heads, name), x), width)
        up = self.op("Gelu", self.dense(x, width, hidden, f"{name}.up"))
        down = self.dense(up, hidden, width, f"{name}.down")
        return self.norm(self.op("Add", down, x), width)


def resnet18(folder: Path) -> Path:
    """In PyTorch's order: projections after the two convolutions of their block."""
    m = Model("resnet18")
    x = m.conv(m.input("image", 1, 3, 224, 224), 3, 64, 7, 2, name="/conv1/Conv")
    x = m.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for stage, out in enumerate((64, 128, 256, 512), start=1):
        for block in range(2):
            stride = 2 if stage > 1 and block == 0 else 1
            name = f"/layer{stage}/layer{stage}.{block}"
            a = m.conv(x, channels, out, 3, stride, name=f"{name}/conv1/Conv")
            b = m.conv(a, out, out, 3, act="", name=f"{name}/conv2/Conv")
            if channels != out:
                x = m.conv(x, channels, out, 1, stride, act="", name=f"{name}/downsample/Conv")
            x = m.op("Relu", m.op("Add", b, x))
            channels = out
    flat = m.op("Flatten", m.op("GlobalAveragePool", x))
    out_ = m.op("Gemm", flat, m.weight(1000, 512), m.weight(1000), transB=1, name="/fc/Gemm")
    return m.save(folder, out_)


def mobilenet(folder: Path) -> Path:
    m = Model("mobilenet")
    x = m.conv(m.input("image", "batch", 3, 32, 32), 3, 16, 3, 2, act="HardSwish")
    for channels, out, stride in ((16, 16, 1), (16, 24, 2)):
        wide = m.conv(x, channels, 4 * channels, 1)
        deep = m.conv(wide, 4 * channels, 4 * channels, 3, stride, group=4 * channels)
        y = m.conv(deep, 4 * channels, out, 1, act="")
        x = m.op("Add", x, y) if channels == out else y
    pooled = m.op("ReduceMean", x, m.integers(2, 3), keepdims=0)
    return m.save(folder, m.op("Gemm", pooled, m.weight(24, 10)))


def densenet(folder: Path) -> Path:
    m = Model("densenet")
    x = m.conv(m.input("image", 1, 3, 16, 16), 3, 8)
    channels = 8
    for _ in range(3):
        normal = m.op(
            "BatchNormalization", x, *(m.weight(channels) for _ in range(4)), epsilon=1e-5
        )
        new = m.conv(m.op("Relu", normal), channels, 4, act="")
        x = m.op("Concat", x, new, axis=1)
        channels += 4
    x = m.conv(x, channels, 10, 1, act="")
    return m.save(folder, m.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2]))


def inception(folder: Path) -> Path:
    m = Model("inception")
    stem = m.conv(m.input("image", 1, 3, 16, 16), 3, 8)
    a = m.conv(stem, 8, 4, 1)
    b = m.conv(m.conv(stem, 8, 4, 1), 4, 6, (1, 3))
    pool = m.op("MaxPool", stem, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
    c = m.conv(pool, 8, 2, 1)
    joined = m.op("Concat", a, b, c, axis=-3)
    return m.save(folder, m.conv(joined, 12, 5, 1))


def unet(folder: Path) -> Path:
    """One level: the skip carries the whole map, the way down the pooled one."""
    m = Model("unet")
    top = m.conv(m.input("image", 1, 1, 16, 16), 1, 8)
    down = m.op("MaxPool", top, kernel_shape=[2, 2], strides=[2, 2])
    bottom = m.conv(down, 8, 16)
    up = m.op("ConvTranspose", bottom, m.weight(16, 8, 2, 2), strides=[2, 2], name="up")
    joined = m.op("Concat", top, up, axis=1)
    return m.save(folder, m.conv(joined, 16, 8))


def bert(folder: Path, blocks: int = 2) -> Path:
    """Sizes open: sequence is to be given."""
    m = Model("bert", 20)
    x = m.input("tokens", "batch", "sequence", 768)
    for block in range(blocks):
        x = m.block(x, 768, 12, 3072, f"block{block + 1}")
    return m.save(folder, x)


def embedding(folder: Path) -> Path:
    """Identifiers of tokens, two tables, one block: what embeddings need from DRAM."""
    m = Model("embedding", 20)
    ids = m.input("ids", 1, 10, kind=TensorProto.INT64)
    words = m.op("Gather", m.weight(1000, 32), ids)
    x = m.norm(m.op("Add", words, m.weight(1, 10, 32)), 32)
    return m.save(folder, m.block(x, 32, 4, 64, "block"))


def llama(folder: Path, cached: int = 7) -> Path:
    """One token of a decoder: rotated queries, shared keys, caches, a gated network."""
    m = Model("llama", 20)
    width, heads, kv, head = 32, 4, 2, 8
    x = m.input("hidden", 1, 1, width)
    pasts = [m.input(f"past_{kind}", 1, kv, cached, head) for kind in ("key", "value")]

    def rms(y: str) -> str:
        mean = m.op("ReduceMean", m.op("Pow", y, m.weight(1)), m.integers(-1))
        root = m.op("Sqrt", m.op("Add", mean, m.weight(1)))
        return m.op("Mul", m.weight(width), m.op("Div", y, root))

    def rotate(y: str) -> str:
        first = m.op("Slice", y, m.integers(0), m.integers(4), m.integers(3), m.integers(1))
        second = m.op("Slice", y, m.integers(4), m.integers(8), m.integers(3), m.integers(1))
        half = m.op("Concat", m.op("Neg", second), first, axis=-1)
        return m.op("Add", m.op("Mul", y, m.weight(head)), m.op("Mul", half, m.weight(head)))

    def shared(y: str) -> str:
        grown = m.op("Unsqueeze", y, m.integers(2))
        spread = m.op("Expand", grown, m.integers(1, kv, heads // kv, cached + 1, head))
        return m.op("Reshape", spread, m.integers(1, heads, cached + 1, head))

    normal = rms(x)
    query = rotate(m.heads(m.op("MatMul", normal, m.weight(width, 32), name="query"), heads, 32))
    key = rotate(m.heads(m.op("MatMul", normal, m.weight(width, 16), name="key"), kv, 16))
    value = m.heads(m.op("MatMul", normal, m.weight(width, 16), name="value"), kv, 16)
    keys = m.op("Concat", pasts[0], key, axis=2)
    values = m.op("Concat", pasts[1], value, axis=2)
    turned = m.op("Transpose", shared(keys), perm=[0, 1, 3, 2])
    scores = m.op("Softmax", m.op("MatMul", query, turned, name="scores"))
    context = m.op("MatMul", scores, shared(values), name="context")
    flat = m.op("Reshape", m.op("Transpose", context, perm=[0, 2, 1, 3]), m.integers(1, 1, width))
    x = m.op("Add", x, m.op("MatMul", flat, m.weight(width, width), name="output"))
    normal = rms(x)
    gate = m.op("MatMul", normal, m.weight(width, 48), name="gate")
    up = m.op("MatMul", normal, m.weight(width, 48), name="up")
    gated = m.op("Mul", m.op("Mul", gate, m.op("Sigmoid", gate)), up)
    x = m.op("Add", x, m.op("MatMul", gated, m.weight(48, width), name="down"))
    return m.save(folder, x, keys, values)


def vit(folder: Path) -> Path:
    """Patches by a convolution, a class token, sizes computed from other sizes."""
    m = Model("vit", 20)
    patches = m.conv(m.input("image", 1, 3, 32, 32), 3, 24, 8, 8, act="", pad=False)
    shape = m.op("Shape", patches)
    kept = m.op("Slice", shape, m.integers(0), m.integers(2), m.integers(0))
    flat = m.op("Reshape", patches, m.op("Concat", kept, m.integers(-1), axis=0))
    tokens = m.op("Transpose", flat, perm=[0, 2, 1])
    x = m.op("Concat", m.weight(1, 1, 24), tokens, axis=1)
    x = m.op("Add", x, m.weight(1, 17, 24))
    x = m.block(x, 24, 3, 96, "block")
    first = m.op("Gather", x, m.integers(0), axis=1)
    return m.save(folder, m.dense(first, 24, 10, "head"))


def shufflenet(folder: Path) -> Path:
    """Channels are split, one half convolved, then all are shuffled."""
    m = Model("shufflenet")
    x = m.conv(m.input("image", 1, 3, 8, 8), 3, 8)
    for _ in range(2):
        left, right = m.ops("Split", 2, x, m.integers(4, 4), axis=1)
        right = m.conv(m.conv(right, 4, 4, 1), 4, 4, 3, group=4, act="")
        joined = m.op("Concat", left, right, axis=1)
        grouped = m.op("Reshape", joined, m.integers(1, 2, 4, 8, 8))
        shuffled = m.op("Transpose", grouped, perm=[0, 2, 1, 3, 4])
        x = m.op("Reshape", shuffled, m.integers(1, 8, 8, 8))
    return m.save(folder, m.conv(x, 8, 4, 1))


def efficientnet(folder: Path) -> Path:
    """Squeeze and excitation before the projection."""
    m = Model("efficientnet")
    x = m.conv(m.input("image", 1, 3, 8, 8), 3, 8)
    deep = m.conv(x, 8, 8, 3, group=8)
    small = m.conv(m.op("GlobalAveragePool", deep), 8, 2, 1)
    scale = m.conv(small, 2, 8, 1, act="Sigmoid")
    scaled = m.op("Mul", deep, scale)
    return m.save(folder, m.op("Add", m.conv(scaled, 8, 8, 1, act=""), x))


def wavenet(folder: Path) -> Path:
    """One axis, dilations, gates made of the halves of one layer."""
    m = Model("wavenet")
    x = m.conv(m.input("sound", 1, 1, 64), 1, 8, (3,), act="")
    for dilation in (1, 4):
        both = m.conv(x, 8, 16, (3,), dilation=dilation, act="")
        left, right = m.ops("Split", 2, both, axis=1, num_outputs=2)
        gated = m.op("Mul", m.op("Tanh", left), m.op("Sigmoid", right))
        x = m.op("Add", m.conv(gated, 8, 8, (1,), act=""), x)
    return m.save(folder, x)


def deepspeech(folder: Path) -> Path:
    """A kernel and strides that differ along the axes."""
    m = Model("deepspeech")
    x = m.input("spectrum", 1, 1, 81, 40)
    x = m.op("Conv", x, m.weight(4, 1, 41, 11), strides=[2, 2], pads=[20, 5, 20, 5])
    x = m.op("Clip", x)
    x = m.op("Conv", x, m.weight(4, 4, 21, 11), strides=[2, 1], pads=[10, 5, 10, 5])
    return m.save(folder, x)


def yolo(folder: Path) -> Path:
    """A pyramid of two levels with an output each."""
    m = Model("yolo")
    fine = m.conv(m.input("image", 1, 3, 16, 16), 3, 8, act="LeakyRelu")
    coarse = m.conv(fine, 8, 16, 3, 2)
    first = m.conv(coarse, 16, 6, 1, act="")
    small = m.conv(coarse, 16, 8, 1)
    up = m.op("Resize", small, "", "", m.integers(1, 8, 16, 16), mode="nearest")
    joined = m.op("Concat", up, fine, axis=1)
    return m.save(folder, first, m.conv(joined, 16, 6, 1, act=""))


def mixer(folder: Path) -> Path:
    """Weights multiply from the left as well, and one product is an equation."""
    m = Model("mixer")
    x = m.input("tokens", 1, 6, 16)
    mixed = m.op("MatMul", m.weight(6, 6), x, name="tokens")
    y = m.op("Add", mixed, x)
    out = m.op("Einsum", y, m.weight(16, 12), equation="btc,cd->btd", name="channels")
    return m.save(folder, out)


def quantized(folder: Path) -> Path:
    """Stored weights behind a conversion, and a quantized convolution."""
    m = Model("quantized")
    x = m.input("image", 1, 3, 8, 8)
    kernel = m.op("DequantizeLinear", m.weight(4, 3, 3, 3, kind=TensorProto.INT8), m.weight())
    zero = m.weight(kind=TensorProto.UINT8)
    q = m.op("QuantizeLinear", m.op("Conv", x, kernel, pads=[1, 1, 1, 1]), m.weight(), zero)
    kernel = m.weight(2, 4, 1, 1, kind=TensorProto.UINT8)
    z = m.op("QLinearConv", q, m.weight(), zero, kernel, m.weight(), zero, m.weight(), zero)
    return m.save(folder, z)
