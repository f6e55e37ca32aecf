"""The networks and packages the Scope paper studies, built from their published definitions.

Networks take one 224 x 224 RGB image (AlexNet 227 x 227). Pooling is fused into the layer before
it, and a fully connected layer is a 1x1 convolution on a 1x1 map.
"""

from __future__ import annotations

import math
from itertools import count
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from scope_opt.model.files import InputError, closest
from scope_opt.model.network import Network
from scope_opt.model.package import (
    MAX_CHIPLETS,
    Chiplet,
    Dram,
    Nop,
    Package,
    Streams,
    usual_eta_link,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from scope_opt.model.package import Order

PAPER_CHIPLETS = (16, 32, 64, 128, 256)
"""Package sizes the paper studies."""


def alexnet() -> Network:
    """AlexNet (Krizhevsky et al. 2012), with its two groups in conv2, conv4 and conv5."""
    net = Network.build("alexnet", 3, 227, 227)
    net.conv("conv1", 96, 11, 4, padding="valid").pool(3, 2)
    net.conv("conv2", 256, 5, groups=2).pool(3, 2)
    net.conv("conv3", 384, 3)
    net.conv("conv4", 384, 3, groups=2)
    net.conv("conv5", 256, 3, groups=2).pool(3, 2)
    net.dense("fc6", 4096).dense("fc7", 4096).dense("fc8", 1000)
    return net.finish()


def vgg16() -> Network:
    """VGG-16 (Simonyan and Zisserman 2015, configuration D)."""
    net = Network.build("vgg16", 3, 224, 224)
    stages = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
    for stage, (channels, depth) in enumerate(stages, start=1):
        for index in range(1, depth + 1):
            net.conv(f"conv{stage}_{index}", channels, 3)
        net.pool(2)
    net.dense("fc6", 4096).dense("fc7", 4096).dense("fc8", 1000)
    return net.finish()


def darknet19() -> Network:
    """DarkNet-19 (Redmon and Farhadi 2017), the classifier: a 1x1 convolution, then an average."""
    net = Network.build("darknet19", 3, 224, 224)
    number = count(1)
    # Inside a stage, 3x3 convolutions alternate with 1x1 convolutions to half the channels.
    stages = ((32, 1), (64, 1), (128, 3), (256, 3), (512, 5), (1024, 5))
    for channels, depth in stages:
        for index in range(depth):
            narrow = index % 2
            net.conv(f"conv{next(number)}", channels >> narrow, 1 if narrow else 3)
        if channels != 1024:
            net.pool(2)
    return net.conv(f"conv{next(number)}", 1000, 1).global_pool().finish()


def _resnet(name: str, depths: Sequence[int], *, bottleneck: bool) -> Network:
    """ResNet (He et al. 2016); a bottleneck strides in its 3x3 convolution.

    Where a block changes the shape of its input, the projection shortcut is the block's first
    layer; every shortcut ends in the block's last layer, which adds it to its own output.
    """
    net = Network.build(name, 3, 224, 224)
    net.conv("conv1", 64, 7, 2).pool(3, 2, 1)
    for stage, depth in enumerate(depths):
        width = 64 << stage
        channels = 4 * width if bottleneck else width
        for index in range(depth):
            block = f"conv{stage + 2}_{index + 1}"
            entry = shortcut = net.last
            stride = 2 if stage and not index else 1
            if net.output().channels != channels or stride != 1:
                shortcut = net.conv(f"{block}_projection", channels, 1, stride).last
            if bottleneck:
                net.conv(f"{block}_a", width, 1, reads=entry)
                net.conv(f"{block}_b", width, 3, stride)
                net.conv(f"{block}_c", channels, 1)
            else:
                net.conv(f"{block}_a", width, 3, stride, reads=entry)
                net.conv(f"{block}_b", channels, 3)
            net.add(shortcut)
    return net.global_pool().dense("fc", 1000).finish()


def resnet18() -> Network:
    """ResNet-18: two basic blocks per stage."""
    return _resnet("resnet18", (2, 2, 2, 2), bottleneck=False)


def resnet34() -> Network:
    """ResNet-34: basic blocks."""
    return _resnet("resnet34", (3, 4, 6, 3), bottleneck=False)


def resnet50() -> Network:
    """ResNet-50: bottleneck blocks."""
    return _resnet("resnet50", (3, 4, 6, 3), bottleneck=True)


def resnet101() -> Network:
    """ResNet-101: bottleneck blocks."""
    return _resnet("resnet101", (3, 4, 23, 3), bottleneck=True)


def resnet152() -> Network:
    """ResNet-152: bottleneck blocks."""
    return _resnet("resnet152", (3, 8, 36, 3), bottleneck=True)


NETWORKS: Mapping[str, Callable[[], Network]] = MappingProxyType(
    {
        builder.__name__: builder
        for builder in (
            alexnet,
            vgg16,
            darknet19,
            resnet18,
            resnet34,
            resnet50,
            resnet101,
            resnet152,
        )
    }
)
"""The paper's networks by name, in the paper's order."""


STREAMS = Streams(
    latency_s=45.4e-9,
    latency_per_stream_s=15.4e-9,
    latency_mixed_s=79.8e-9,
    read=0.908,
    write=0.866,
    slope=0.049,
    slope_write=0.083,
    most=8,
)
"""Fitted to 72 simulations of LPDDR5 with 1 to 8 streams (docs/model.md)."""


def build_network(name: str) -> Network:
    """Build one of the paper's networks.

    Parameters
    ----------
    name : str
        A key of `NETWORKS`.

    Returns
    -------
    Network

    Raises
    ------
    InputError
        For an unknown name, with the allowed names and the closest of them.
    """
    if name not in NETWORKS:
        plain = "".join(letter for letter in name.lower() if letter.isalnum())
        problem = f"{name!r} is not a built-in network; {closest(plain, NETWORKS)}"
        raise InputError("network", [problem])
    return NETWORKS[name]()


def paper_package(
    chiplets: int,
    rows: int | None = None,
    cols: int | None = None,
    nop: Literal["regressed", "placed"] = "regressed",
    order: Order = "zigzag",
) -> Package:
    """Package of the paper's Table III with a given number of chiplets.

    Parameters
    ----------
    chiplets : int
        Number of chiplets; the paper studies `PAPER_CHIPLETS`.
    rows, cols : int, optional
        Mesh. One follows from the other; without both, the most nearly square mesh with at least
        as many columns as rows.
    nop : {"regressed", "placed"}
        Whether transfers are priced by the sizes of regions or by where these lie.
    order : str or sequence of (row, column)
        How positions run through the mesh; see `Package`.

    Returns
    -------
    Package

    Raises
    ------
    InputError
        If the number is out of range or the mesh does not have that many chiplets.
    """
    rows, cols = paper_mesh(chiplets, rows, cols)
    placed = nop == "placed"
    return Package(
        mesh_rows=rows,
        mesh_cols=cols,
        chiplet=Chiplet(
            pes=16,
            lanes_per_pe=8,
            macs_per_lane=8,
            frequency_hz=800e6,
            weight_buffer_bytes=16 * 64 * 1024,  # 64 KB in each of the 16 PEs
            global_buffer_bytes=64 * 1024,
        ),
        nop=Nop(
            bandwidth_bytes_per_s=100e9,
            ports=4,
            energy_pj_per_bit=1.3,
            # Not in Table III: measured on flit-level network simulations.
            eta_within=1.12,
            eta_between=1.06,
            model=nop,
            eta_link=usual_eta_link(order if placed else "zigzag"),
        ),
        dram=Dram(
            bandwidth_bytes_per_s=100e9,  # 128-bit LPDDR5
            # The rest is not in Table III: latency and efficiency are regressed on DRAM
            # simulations, the energy is a typical published figure for LPDDR5.
            latency_s=52e-9,
            efficiency=0.93,
            energy_pj_per_bit=4.0,
            streams=STREAMS if placed else None,
        ),
        order=order,
        mac_energy_pj=0.2,
        # Not in Table III. Horowitz (ISSCC 2014): 20 pJ per 64-bit access of a 32 KB SRAM in
        # 45 nm, halved for 28 nm.
        sram_energy_pj_per_byte=1.25,
    )


def paper_mesh(chiplets: int, rows: int | None = None, cols: int | None = None) -> tuple[int, int]:
    """Rows and columns of a number of chiplets; raises `InputError` as `paper_package` does."""
    if not 1 <= chiplets <= MAX_CHIPLETS:
        raise InputError("chiplets", [f"{chiplets} is out of range; allowed 1 to {MAX_CHIPLETS}"])
    for side, value in (("rows", rows), ("columns", cols)):
        if value is not None and (value < 1 or chiplets % value):
            raise InputError("mesh", [f"{value} {side} do not divide {chiplets} chiplets evenly"])
    if rows is None and cols is None:
        rows = max(side for side in range(1, math.isqrt(chiplets) + 1) if chiplets % side == 0)
    rows = rows or chiplets // (cols or 1)
    cols = cols or chiplets // rows
    if rows * cols != chiplets:
        raise InputError("mesh", [f"{rows} x {cols} is not {chiplets} chiplets"])
    return rows, cols
