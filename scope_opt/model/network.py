"""Neural networks as data: layers in execution order and the edges between them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from scope_opt.model.files import MAX_INT, Document, InputError, inconsistent, optional

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from scope_opt.model.builder import NetworkBuilder

Count = Annotated[int, Field(ge=1, le=MAX_INT)]
"""A positive integer that fits int64."""
Index = Annotated[int, Field(ge=0, le=MAX_INT)]
"""A non-negative integer that fits int64."""
Name = Annotated[str, Field(min_length=1, max_length=200)]
_Pair = Annotated[tuple[Count, ...], Field(min_length=2, max_length=2)]
Step = Annotated[
    Annotated[Count, Tag("(number)")] | Annotated[_Pair, Tag("(pair)")],
    Discriminator(lambda value: "(pair)" if isinstance(value, list | tuple) else "(number)"),
]
"""One number for both directions of a map, or ``[height, width]``."""
Feeds = Literal["input", "sum"]
"""What an edge is to its reader: input, or something added to its output."""


def both(step: Step) -> tuple[int, int]:
    """A step down and across."""
    return (step[0], step[1]) if isinstance(step, tuple) else (step, step)


class Layer(Document):
    """One weighted layer with 8-bit weights and activations.

    ``output_height`` and ``output_width`` are before any pooling fused into the layer;
    ``output_bytes`` is what is handed on after it. ``weight_bytes`` is 0 for a product of two
    activations (nothing is stored), else the size of the kernel. ``stride`` and ``dilation`` are
    one number or ``[height, width]``. ``dram_read_bytes`` and ``dram_write_bytes`` go through DRAM
    for every sample whatever the schedule, such as a cache of keys and values.
    """

    name: Name
    in_channels: Count
    out_channels: Count
    input_height: Count
    input_width: Count
    output_height: Count
    output_width: Count
    kernel_height: Count
    kernel_width: Count
    stride: Step
    dilation: Step = optional(1)
    groups: Count
    weight_bytes: Index
    input_bytes: Count
    output_bytes: Count
    dram_read_bytes: Index = optional(0)
    dram_write_bytes: Index = optional(0)

    @property
    def steps(self) -> tuple[int, int]:
        """Stride down and across."""
        return both(self.stride)

    @property
    def reach(self) -> tuple[int, int]:
        """Input rows and columns that one output reads: the kernel, spread by the dilation."""
        down, across = both(self.dilation)
        return down * (self.kernel_height - 1) + 1, across * (self.kernel_width - 1) + 1

    @property
    def seam_bytes(self) -> tuple[int, int]:
        """Input that both sides of a seam right across the layer read: of a row, a column seam."""
        (reach_down, reach_across), (down, across) = self.reach, self.steps
        return (
            self.in_channels * max(0, reach_down - down) * self.input_width,
            self.in_channels * max(0, reach_across - across) * self.input_height,
        )

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations per sample."""
        outputs = self.out_channels * self.output_height * self.output_width
        kernel = self.kernel_height * self.kernel_width
        return outputs * (self.in_channels // self.groups) * kernel

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        found: list[tuple[str, str]] = []
        for field in ("in_channels", "out_channels"):
            channels = getattr(self, field)
            if channels % self.groups:
                found.append((field, f"{channels} is not a multiple of groups = {self.groups}"))
        for axis, stride, reach in zip(("height", "width"), self.steps, self.reach, strict=True):
            size = getattr(self, f"input_{axis}")
            least = max(1, (size - reach) // stride + 1)
            most = (size + reach - 2) // stride + 1
            value = getattr(self, f"output_{axis}")
            if not least <= value <= most:
                dilated = "" if self.dilation == 1 else "dilated "
                message = (
                    f"{value} does not follow from input {size}, {dilated}kernel {reach} and "
                    f"stride {stride} with any padding below the kernel size; "
                    f"allowed {least} to {most}"
                )
                if value > size:
                    message += (
                        "; a transposed convolution is stated as a convolution with stride 1 and "
                        f"{stride * stride} times the output channels (docs/stating.md)"
                    )
                found.append((f"output_{axis}", message))
        expected = self.in_channels * self.input_height * self.input_width
        if self.input_bytes != expected:
            message = f"{self.input_bytes} is not in_channels x height x width = {expected}"
            found.append(("input_bytes", message))
        kernel_bytes = self.out_channels * (self.in_channels // self.groups)
        kernel_bytes *= self.kernel_height * self.kernel_width
        if self.weight_bytes not in (0, kernel_bytes):
            message = f"{self.weight_bytes} is not the kernel's size {kernel_bytes} (or 0)"
            found.append(("weight_bytes", message))
        produced = self.out_channels * self.output_height * self.output_width
        if self.output_bytes > produced:
            message = f"{self.output_bytes} is more than the layer produces, {produced}"
            found.append(("output_bytes", message))
        inconsistent(found)
        return self


class Edge(Document):
    """Layer ``target`` reads ``bytes`` of the output of layer ``source``, per sample.

    ``feeds`` says what for; by default a chain edge is the reader's ``input`` and a skip edge is
    added to its output (``sum``).
    """

    source: Index = Field(alias="from")
    target: Index = Field(alias="to")
    bytes: Count
    feeds: Feeds | None = None

    @model_validator(mode="after")
    def _forward(self) -> Self:
        inconsistent(forward_problems(self.source, self.target))
        return self

    @property
    def is_chain(self) -> bool:
        """Whether the edge joins consecutive layers; every other edge is a skip edge."""
        return self.target == self.source + 1

    @property
    def is_input(self) -> bool:
        """Whether the reader's input, not its output, is what the edge is for."""
        return self.feeds == "input" or (self.feeds is None and self.is_chain)


class Network(Document):
    """Layers in execution order, and what each reads of earlier ones."""

    name: Name
    layers: Annotated[tuple[Layer, ...], Field(min_length=1)]
    edges: tuple[Edge, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        found: list[tuple[str, str]] = []
        if max(self.macs, self.weight_bytes) > MAX_INT:
            found.append(("layers", "MAC count or weight bytes overflow int64"))
        names: dict[str, int] = {}
        for index, layer in enumerate(self.layers):
            first = names.setdefault(layer.name, index)
            if first != index:
                message = f"{layer.name!r} is the name of layer {first} already"
                found.append((f"layers.{index}.name", message))
        pairs = [(edge.source, edge.target) for edge in self.edges]
        found += edge_problems(enumerate(pairs), len(self.layers))
        for index, edge in enumerate(self.edges):
            if edge.source < len(self.layers):
                produced = self.layers[edge.source].output_bytes
                if edge.bytes > produced:
                    message = f"{edge.bytes} is more than layer {edge.source} hands on, {produced}"
                    found.append((f"edges.{index}.bytes", message))
        inconsistent(found)
        return self

    @staticmethod
    def build(name: str, channels: int, height: int = 1, width: int = 1) -> NetworkBuilder:
        """Start a network that is written layer by layer, by the size of its input.

        >>> net = Network.build("small", 3, 32, 32).conv("stem", 16, 3).conv("next", 16, 3)
        >>> net.add("stem").global_pool().dense("fc", 10).finish().weight_bytes
        2896
        """
        from scope_opt.model.builder import NetworkBuilder

        return NetworkBuilder(name, channels, height, width)

    @staticmethod
    def together(name: str, networks: Sequence[Network]) -> Network:
        """Several networks that share a package: each sample is one of every network.

        Their layers follow one another, named ``NETWORK.LAYER`` (and numbered where names of
        networks repeat). Only the first layer of all reads the input of its segment and only the
        last one writes the output; those in between read and write theirs as what they always do
        (`Layer.dram_read_bytes`, `Layer.dram_write_bytes`).

        >>> from scope_opt.model.zoo import build_network
        >>> both = Network.together("two", [build_network("alexnet"), build_network("vgg16")])
        >>> both.layers[8].name, both.layers[8].dram_read_bytes
        ('vgg16.conv1_1', 150528)

        Raises
        ------
        InputError
            If there is no network.
        """
        if not networks:
            raise InputError("networks", ["found none; at least one is needed"])
        seen = Counter[str]()
        layers: list[Layer] = []
        edges: list[Edge] = []
        for place, network in enumerate(networks):
            seen[network.name] += 1
            count, before = seen[network.name], len(layers)
            prefix = network.name if count == 1 else f"{network.name}-{count}"
            for index, layer in enumerate(network.layers):
                reads, writes = layer.dram_read_bytes, layer.dram_write_bytes
                if index == 0 and place > 0:
                    reads += layer.input_bytes
                if index == len(network.layers) - 1 and place < len(networks) - 1:
                    writes += layer.output_bytes
                changes = {
                    "name": f"{prefix}.{layer.name}",
                    "dram_read_bytes": reads,
                    "dram_write_bytes": writes,
                }
                layers.append(layer.model_copy(update=changes))
            for edge in network.edges:
                ends = {"source": edge.source + before, "target": edge.target + before}
                edges.append(edge.model_copy(update=ends))
        return Network(name=name, layers=tuple(layers), edges=tuple(edges))

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations of the whole network per sample."""
        return sum(layer.macs for layer in self.layers)

    @property
    def weight_bytes(self) -> int:
        """Weights of the whole network."""
        return sum(layer.weight_bytes for layer in self.layers)

    def chain_bytes(self) -> list[int]:
        """Bytes of each chain edge ``(l, l+1)``, 0 where absent; the last entry is 0."""
        volume = [0] * len(self.layers)
        for edge in self.edges:
            if edge.is_chain:
                volume[edge.source] = edge.bytes
        return volume

    def skip_edges(self) -> list[Edge]:
        """Edges between layers that are not consecutive, in file order."""
        return [edge for edge in self.edges if not edge.is_chain]


def forward_problems(source: int, target: int) -> list[tuple[str, str]]:
    """An edge that does not lead to a later layer, as ``(field, message)``."""
    if target > source:
        return []
    return [("to", f"{target} does not come after 'from' = {source}")]


def edge_problems(
    pairs: Iterable[tuple[int, tuple[int, int]]], layers: int
) -> list[tuple[str, str]]:
    """Edges out of range or listed twice, as ``(path, message)``.

    ``pairs`` are layers that an edge joins, each with the place of the edge in its list.
    """
    found: list[tuple[str, str]] = []
    seen: dict[tuple[int, int], int] = {}
    for index, pair in pairs:
        for key, layer in zip(("from", "to"), pair, strict=True):
            if layer >= layers:
                message = f"layer {layer} does not exist; allowed 0 to {layers - 1}"
                found.append((f"edges.{index}.{key}", message))
        first = seen.setdefault(pair, index)
        if first != index:
            found.append((f"edges.{index}", f"same layers as edges.{first}"))
    return found
