"""Operators of ONNX by what becomes of them."""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Kind(Enum):
    """What an operator is to the model."""

    LAYER = "layer"
    """Has multiply-accumulates: convolutions and matrix products."""
    ATTENTION = "attention"
    """Two layers: scores of queries and keys, and their product with the values."""
    POOL = "pooling"
    """Hands on less than it reads: fused into the layer before."""
    FUSED = "fused"
    """Works on each element, or normalizes: fused into the layer before."""
    JOIN = "join"
    """Makes one tensor of the elements of several: an edge, unless they come from one layer."""
    MOVE = "move"
    """Rearranges, selects or repeats elements: costs nothing."""
    CONCAT = "concatenation"
    """Every tensor is an input of the readers."""


_BY_KIND: dict[Kind, str] = {
    Kind.LAYER: "Conv ConvTranspose ConvInteger QLinearConv Gemm MatMul MatMulInteger "
    "QLinearMatMul Einsum",
    Kind.ATTENTION: "Attention",
    Kind.POOL: "MaxPool AveragePool LpPool GlobalMaxPool GlobalAveragePool GlobalLpPool ReduceMean "
    "ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp "
    "ReduceSumSquare ArgMax ArgMin TopK",
    Kind.FUSED: "Abs Acos Acosh Asin Asinh Atan Atanh BatchNormalization Bernoulli BitShift "
    "BitwiseNot Cast CastLike Ceil Celu Clip Cos Cosh CumSum DequantizeLinear Dropout "
    "DynamicQuantizeLinear Elu Erf Exp Floor Gelu GroupNormalization HardSigmoid HardSwish Hardmax "
    "Identity InstanceNormalization IsInf IsNaN LRN LayerNormalization LeakyRelu Log LogSoftmax "
    "LpNormalization MeanVarianceNormalization Mish Neg Not PRelu QuantizeLinear "
    "RMSNormalization Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softmax Softplus "
    "Softsign Sqrt Swish Tan Tanh ThresholdedRelu Trilu com.microsoft.BiasGelu "
    "com.microsoft.FastGelu com.microsoft.Gelu com.microsoft.QuickGelu "
    "com.microsoft.SimplifiedLayerNormalization SimplifiedLayerNormalization",
    Kind.JOIN: "Add And BitwiseAnd BitwiseOr BitwiseXor Div Equal Greater GreaterOrEqual "
    "GridSample Less LessOrEqual Max Mean Min Mod Mul Or Pow ScatterElements ScatterND Sub Sum "
    "Where Xor "
    "com.microsoft.SkipLayerNormalization com.microsoft.SkipSimplifiedLayerNormalization",
    Kind.MOVE: "CenterCropPad Compress DepthToSpace Expand Flatten Gather GatherElements GatherND "
    "OneHot Pad Reshape Resize ReverseSequence Slice SpaceToDepth Split Squeeze Tile Transpose "
    "Unsqueeze Upsample",
    Kind.CONCAT: "Concat",
}

KINDS: Mapping[str, Kind] = MappingProxyType(
    {op: kind for kind, names in _BY_KIND.items() for op in names.split()}
)
"""Every operator that can be stated; those of other domains with their domain."""

SHAPES = frozenset({"Shape", "Size"})
"""Operators whose result depends on sizes alone."""
