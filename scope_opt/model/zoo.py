"""The networks and packages the Scope paper studies, built from their published definitions.

Networks take one 224 x 224 RGB image (AlexNet 227 x 227). Pooling is fused into the layer before
it, and a fully connected layer is a 1x1 convolution on a 1x1 map.
"""

from __future__ import annotations

import difflib
import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple

from scope_opt.model.files import InputError
from scope_opt.model.network import Edge, Feeds, Layer, Network
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


class _Map(NamedTuple):
    """A square activation map as handed on, after fused pooling."""

    channels: int
    size: int

    @property
    def bytes(self) -> int:
        return self.channels * self.size**2


class _Pool(NamedTuple):
    """A pooling window on a square map."""

    kernel: int
    stride: int
    padding: int = 0


def _shrink(size: int, kernel: int, stride: int, padding: int) -> int:
    """Outputs per axis of a sliding window, incomplete windows dropped."""
    return (size + 2 * padding - kernel) // stride + 1


class _Builder:
    """Collects layers in execution order and the edges between their indices.

    Parameters
    ----------
    name : str
        Name of the network.
    size : int
        Height and width of the RGB input.
    """

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.layers: list[Layer] = []
        self.maps: list[_Map] = []
        self.edges: dict[tuple[int, int], Feeds] = {}
        self.image = _Map(3, size)

    @property
    def last(self) -> int:
        """Index of the layer added last; -1 stands for the image."""
        return len(self.layers) - 1

    def conv(
        self,
        name: str,
        channels: int,
        kernel: int,
        stride: int = 1,
        *,
        source: int | None = None,
        padding: int | None = None,
        groups: int = 1,
        pool: _Pool | Literal["global"] | None = None,
        flatten: bool = False,
    ) -> int:
        """Add a convolution reading layer ``source`` (default: the last) and return its index."""
        source = self.last if source is None else source
        read = self.maps[source] if source >= 0 else self.image
        if flatten:
            read = _Map(read.bytes, 1)
        size = _shrink(read.size, kernel, stride, kernel // 2 if padding is None else padding)
        handed_on = size
        if pool is not None:
            handed_on = 1 if pool == "global" else _shrink(size, *pool)
        self.maps.append(_Map(channels, handed_on))
        self.layers.append(
            Layer(
                name=name,
                in_channels=read.channels,
                out_channels=channels,
                input_height=read.size,
                input_width=read.size,
                output_height=size,
                output_width=size,
                kernel_height=kernel,
                kernel_width=kernel,
                stride=stride,
                groups=groups,
                weight_bytes=channels * (read.channels // groups) * kernel**2,
                input_bytes=read.bytes,
                output_bytes=self.maps[-1].bytes,
            )
        )
        if source >= 0:
            self.connect(source, self.last, "input")
        return self.last

    def dense(self, name: str, channels: int) -> int:
        """Add a fully connected layer on the flattened output of the last layer."""
        return self.conv(name, channels, 1, flatten=True)

    def connect(self, source: int, target: int, feeds: Feeds = "sum") -> None:
        """Let layer ``target`` read all that layer ``source`` hands on."""
        self.edges[source, target] = feeds

    def build(self) -> Network:
        """Return the network, its edges ordered by producer, then by consumer."""
        edges = [
            Edge.model_validate(
                {
                    "from": source,
                    "to": target,
                    "bytes": self.maps[source].bytes,
                    # A chain edge is input by default, a skip edge a summand.
                    "feeds": feeds if (feeds == "input") != (target == source + 1) else None,
                }
            )
            for (source, target), feeds in sorted(self.edges.items())
        ]
        return Network(name=self.name, layers=tuple(self.layers), edges=tuple(edges))


def alexnet() -> Network:
    """AlexNet (Krizhevsky et al. 2012), with its two groups in conv2, conv4 and conv5."""
    net = _Builder("alexnet", 227)
    overlapping = _Pool(3, 2)
    net.conv("conv1", 96, 11, 4, padding=0, pool=overlapping)
    net.conv("conv2", 256, 5, groups=2, pool=overlapping)
    net.conv("conv3", 384, 3)
    net.conv("conv4", 384, 3, groups=2)
    net.conv("conv5", 256, 3, groups=2, pool=overlapping)
    for index, channels in enumerate((4096, 4096, 1000), start=6):
        net.dense(f"fc{index}", channels)
    return net.build()


def vgg16() -> Network:
    """VGG-16 (Simonyan and Zisserman 2015, configuration D)."""
    net = _Builder("vgg16", 224)
    stages = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
    for stage, (channels, depth) in enumerate(stages, start=1):
        for index in range(1, depth + 1):
            pool = _Pool(2, 2) if index == depth else None
            net.conv(f"conv{stage}_{index}", channels, 3, pool=pool)
    for index, channels in enumerate((4096, 4096, 1000), start=6):
        net.dense(f"fc{index}", channels)
    return net.build()


def darknet19() -> Network:
    """DarkNet-19 (Redmon and Farhadi 2017), the classifier: a 1x1 convolution, then an average."""
    net = _Builder("darknet19", 224)
    # Inside a stage, 3x3 convolutions alternate with 1x1 convolutions to half the channels.
    stages = ((32, 1), (64, 1), (128, 3), (256, 3), (512, 5), (1024, 5))
    for channels, depth in stages:
        for index in range(depth):
            ends_stage = index == depth - 1 and channels != 1024
            net.conv(
                f"conv{net.last + 2}",
                channels // 2 if index % 2 else channels,
                1 if index % 2 else 3,
                pool=_Pool(2, 2) if ends_stage else None,
            )
    net.conv(f"conv{net.last + 2}", 1000, 1, pool="global")
    return net.build()


def _resnet(name: str, depths: Sequence[int], *, bottleneck: bool) -> Network:
    """ResNet (He et al. 2016); a bottleneck strides in its 3x3 convolution.

    Where a block changes the shape of its input, the projection shortcut is the block's first
    layer; every shortcut ends in the block's last layer, which adds it to its own output.
    """
    net = _Builder(name, 224)
    net.conv("conv1", 64, 7, 2, pool=_Pool(3, 2, 1))
    for stage, depth in enumerate(depths):
        width = 64 << stage
        channels = 4 * width if bottleneck else width
        for index in range(depth):
            block = f"conv{stage + 2}_{index + 1}"
            entry = shortcut = net.last
            stride = 2 if stage and not index else 1
            ends_network = stage == len(depths) - 1 and index == depth - 1
            pool: Literal["global"] | None = "global" if ends_network else None
            if net.maps[entry].channels != channels or stride != 1:
                shortcut = net.conv(f"{block}_projection", channels, 1, stride)
            if bottleneck:
                net.conv(f"{block}_a", width, 1, source=entry)
                net.conv(f"{block}_b", width, 3, stride)
                last = net.conv(f"{block}_c", channels, 1, pool=pool)
            else:
                net.conv(f"{block}_a", width, 3, stride, source=entry)
                last = net.conv(f"{block}_b", channels, 3, pool=pool)
            net.connect(shortcut, last)
    net.dense("fc", 1000)
    return net.build()


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
        close = difflib.get_close_matches(plain, NETWORKS, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        problem = f"{name!r} is not a built-in network; {hint}allowed: {', '.join(NETWORKS)}"
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
