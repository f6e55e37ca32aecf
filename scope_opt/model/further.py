"""Convolutional networks that the Scope paper does not study, from their published definitions.

One RGB image of 224 x 224 (YOLOv3 416 x 416), pooling fused as in `scope_opt.model.zoo`.
"""

from __future__ import annotations

from itertools import count
from types import MappingProxyType
from typing import TYPE_CHECKING

from scope_opt.model.network import Network

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from scope_opt.model.builder import NetworkBuilder


def mobilenetv2() -> Network:
    """MobileNetV2 (Sandler et al. 2018) of width 1: inverted residuals around depthwise layers."""
    net = Network.build("mobilenetv2", 3, 224, 224)
    net.conv("conv1", 32, 3, 2)
    stages = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )
    number = count(1)
    for expansion, channels, depth, first_stride in stages:
        for index in range(depth):
            block, entry, read = f"block{next(number)}", net.last, net.output().channels
            stride = 1 if index else first_stride
            if expansion > 1:
                net.conv(f"{block}_expand", expansion * read, 1)
            wide = net.output().channels
            net.conv(f"{block}_depthwise", wide, 3, stride, groups=wide)
            net.conv(f"{block}_project", channels, 1)
            if index:
                net.add(entry)
    return net.conv("conv2", 1280, 1).global_pool().dense("fc", 1000).finish()


def densenet121() -> Network:
    """DenseNet-121 (Huang et al. 2017): every layer of a block reads all those before it."""
    net = Network.build("densenet121", 3, 224, 224)
    net.conv("conv1", 64, 7, 2).pool(3, 2, 1)
    depths = (6, 12, 24, 16)
    for stage, depth in enumerate(depths, start=1):
        read = [net.last]
        for index in range(1, depth + 1):
            net.conv(f"dense{stage}_{index}_a", 128, 1, reads=read)
            read.append(net.conv(f"dense{stage}_{index}_b", 32, 3).last)
        if stage < len(depths):
            channels = sum(net.output(name).channels for name in read)
            net.conv(f"transition{stage}", channels // 2, 1, reads=read).pool(2)
    return net.dense("fc", 1000, reads=read, pooled=True).finish()


def yolov3() -> Network:
    """YOLOv3 (Redmon and Farhadi 2018) for 80 classes: DarkNet-53 and heads at three scales."""
    net = Network.build("yolov3", 3, 416, 416)
    net.conv("conv1", 32, 3)
    scales = []
    for stage, depth in enumerate((1, 2, 8, 8, 4), start=1):
        channels = 32 << stage
        net.conv(f"down{stage}", channels, 3, 2)
        for index in range(1, depth + 1):
            entry = net.last
            net.conv(f"residual{stage}_{index}_a", channels // 2, 1)
            net.conv(f"residual{stage}_{index}_b", channels, 3).add(entry)
        scales.append(net.last)
    _head(net, 1, 512, [scales[4]])
    for scale, width in ((2, 256), (3, 128)):
        before = f"head{scale - 1}_5"
        net.conv(f"lateral{scale}", width, 1, reads=before).upsample(2)
        _head(net, scale, width, [net.last, scales[5 - scale]])
    return net.finish()


def _head(net: NetworkBuilder, scale: int, width: int, read: list[str]) -> None:
    """Convolutions 1x1 and 3x3 in turn, and boxes from the last of them."""
    for index in range(1, 7):
        narrow = index % 2 == 1
        net.conv(
            f"head{scale}_{index}",
            width if narrow else 2 * width,
            1 if narrow else 3,
            reads=read if index == 1 else None,
        )
    net.conv(f"boxes{scale}", 255, 1)


FURTHER: Mapping[str, Callable[[], Network]] = MappingProxyType(
    {builder.__name__: builder for builder in (mobilenetv2, densenet121, yolov3)}
)
"""These networks by name."""
