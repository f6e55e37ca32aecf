"""Convolutions and matrix products as layers: exactly, or with the reason why not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Shape = tuple[int, ...]
Pair = tuple[int, int]


@dataclass(frozen=True)
class Product:
    """The numbers of a layer.

    ``reads`` says which of the two operands is the layer's input; ``weights`` whether the other is
    stored.
    """

    in_channels: int
    out_channels: int
    input: Pair
    output: Pair
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    groups: int = 1
    weights: bool = True
    reads: int = 0

    @property
    def weight_bytes(self) -> int:
        """Elements of the kernel, 0 if it is not stored."""
        kernel = self.out_channels * (self.in_channels // self.groups) * math.prod(self.kernel)
        return kernel if self.weights else 0

    @property
    def macs(self) -> int:
        """Multiply-accumulates of a sample."""
        kernel = (self.in_channels // self.groups) * math.prod(self.kernel)
        return self.out_channels * math.prod(self.output) * kernel


def conv(
    attributes: Mapping[str, Any], data: Shape, kernel: Shape, made: Shape, _: bool, fixed: bool
) -> Product | str:
    """A convolution over one or two axes."""
    if (wrong := _not_flat(data)) is not None:
        return wrong
    window, stride, dilation = _window(attributes, kernel[2:])
    output = _pair(made[2:])
    pads = _pads(attributes, len(data) - 2)
    size = [*_pair(data[2:])]
    for axis in range(2):
        reach = dilation[axis] * (window[axis] - 1) + 1
        if output[axis] > (size[axis] + reach - 2) // stride[axis] + 1:
            size[axis] += pads[axis]  # wider than the kernel reaches: part of the input
    return Product(
        in_channels=data[1],
        out_channels=kernel[0],
        input=(size[0], size[1]),
        output=output,
        kernel=window,
        stride=stride,
        dilation=dilation,
        groups=int(attributes.get("group", 1)),
        weights=fixed,
    )


def conv_transpose(
    attributes: Mapping[str, Any], data: Shape, kernel: Shape, made: Shape, _: bool, fixed: bool
) -> Product | str:
    """A transposed convolution whose kernel is a multiple of its stride.

    Each input position then makes ``stride`` x ``stride`` outputs of every channel out of ``kernel
    / stride`` positions per axis: a convolution with so many times the channels.
    """
    if (wrong := _not_flat(data)) is not None:
        return wrong
    window, stride, dilation = _window(attributes, kernel[2:])
    output = _pair(made[2:])
    if any(k % s or o % s for k, s, o in zip(window, stride, output, strict=True)) or dilation != (
        1,
        1,
    ):
        return (
            f"a transposed convolution with kernel {_times(window)}, stride {_times(stride)} and "
            f"dilation {_times(dilation)} to {_times(output)} is no convolution; kernel and output "
            "must be multiples of the stride. Use such a kernel, or resize and convolve"
        )
    phases = math.prod(stride)
    taps = (window[0] // stride[0], window[1] // stride[1])
    size, out = _pair(data[2:]), (output[0] // stride[0], output[1] // stride[1])
    if any(not s - t + 1 <= o <= s + t - 1 for s, t, o in zip(size, taps, out, strict=True)):
        return f"padding that makes {_times(output)} of {_times(size)} is beyond the kernel"
    groups = int(attributes.get("group", 1))
    return Product(
        in_channels=data[1],
        out_channels=kernel[1] * groups * phases,
        input=size,
        output=out,
        kernel=taps,
        groups=groups,
        weights=fixed,
    )


def matmul(
    _: Mapping[str, Any], left: Shape, right: Shape, __: Shape, *fixed: bool
) -> Product | str:
    """A product over the last axis of the left and the last but one of the right operand."""
    left = (1, *left) if len(left) == 1 else left
    right = (*right, 1) if len(right) == 1 else right
    rank = max(len(left), len(right))
    pairs = list(zip(_batch(left, rank), _batch(right, rank), strict=True))
    return _product(
        both=math.prod(a for a, b in pairs if a > 1 and b > 1),
        left=left[-2] * math.prod(a for a, b in pairs if b == 1),
        right=right[-1] * math.prod(b for a, b in pairs if a == 1),
        summed=left[-1],
        fixed=fixed,
    )


def gemm(
    attributes: Mapping[str, Any], left: Shape, right: Shape, _: Shape, *fixed: bool
) -> Product | str:
    """A product of two matrices, either of which may be transposed."""
    rows, summed = left[::-1] if attributes.get("transA", 0) else left
    columns = right[0] if attributes.get("transB", 0) else right[1]
    return _product(both=1, left=rows, right=columns, summed=summed, fixed=fixed)


def einsum(
    attributes: Mapping[str, Any], left: Shape, right: Shape, _: Shape, *fixed: bool
) -> Product | str:
    """A product of two tensors whose axes are named, if it is a matrix product."""
    equation = str(attributes["equation"]).replace(" ", "")
    operands, arrow, result = equation.partition("->")
    names = operands.split(",")
    single = all(len(set(part)) == len(part) for part in (*names, result))
    if not arrow or "." in equation or not single:
        return f"the equation {equation!r} is no matrix product; write it as MatMul"
    sizes = dict(zip(names[0] + names[1], left + right, strict=True))
    first, second, kept = set(names[0]), set(names[1]), set(result)
    if (first ^ second) - kept:
        return f"the equation {equation!r} sums over one operand alone; sum before"

    def extent(axes: set[str]) -> int:
        return math.prod(sizes[axis] for axis in axes)

    return _product(
        both=extent(first & second & kept),
        left=extent(first - second),
        right=extent(second - first),
        summed=extent(first & second - kept),
        fixed=fixed,
    )


def attention(
    attributes: Mapping[str, Any], query: Shape, key: Shape, value: Shape, cached: int
) -> tuple[Product, Product]:
    """Scores of queries and keys, and their product with the values, by heads.

    Operands are (1, heads, tokens, size) or, with numbers of heads as attributes, (1, tokens,
    heads x size). Keys that several heads share are counted for each of these heads.
    """
    if len(query) == 3:
        heads, shared = int(attributes["q_num_heads"]), int(attributes["kv_num_heads"])
        tokens, width, keys, out = query[1], query[2], key[1], value[2] // shared * heads
    else:
        heads, tokens, keys = query[1], query[2], key[2]
        width, out = heads * query[3], heads * value[3]
    all_keys = heads * (cached + keys)
    places = (tokens, 1)
    return (
        Product(width, all_keys, places, places, groups=heads, weights=False),
        Product(all_keys, out, places, places, groups=heads, weights=False),
    )


def _product(*, both: int, left: int, right: int, summed: int, fixed: Sequence[bool]) -> Product:
    """A batch of ``both`` products, each of ``left x summed`` and ``summed x right``.

    The batch, such as the heads of attention, are groups; rows of the operand that is read are
    positions, columns of the other are channels.
    """
    reads = 1 if fixed[0] else 0
    positions, channels = (left, right) if reads == 0 else (right, left)
    return Product(
        in_channels=both * summed,
        out_channels=both * channels,
        input=(positions, 1),
        output=(positions, 1),
        groups=both,
        weights=any(fixed),
        reads=reads,
    )


def _not_flat(data: Shape) -> str | None:
    if len(data) not in (3, 4):
        return f"{len(data) - 2} axes; convolutions have one or two"
    if data[0] != 1:
        return f"a batch of {data[0]}; one sample is mapped: give the input's first size as 1"
    return None


def _window(attributes: Mapping[str, Any], kernel: Sequence[int]) -> tuple[Pair, Pair, Pair]:
    ones = [1] * len(kernel)
    stride, dilation = attributes.get("strides", ones), attributes.get("dilations", ones)
    return _pair(kernel), _pair(stride), _pair(dilation)


def _pads(attributes: Mapping[str, Any], axes: int) -> Pair:
    """Padding of both sides together, by axis."""
    pads = attributes.get("pads", [0] * 2 * axes)
    both = [pads[axis] + pads[axes + axis] for axis in range(axes)]
    return (both[0], both[1] if axes == 2 else 0)


def _pair(sizes: Sequence[int]) -> Pair:
    """Height and width; one axis is the height."""
    return (int(sizes[0]), int(sizes[1]) if len(sizes) > 1 else 1)


def _batch(shape: Shape, rank: int) -> Shape:
    """Axes before the matrix, as many as ``rank`` leaves."""
    return (1,) * (rank - len(shape)) + shape[:-2]


def _times(pair: Pair) -> str:
    return f"{pair[0]}x{pair[1]}"
