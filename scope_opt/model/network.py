"""Neural networks as data: layers in execution order and the edges between them."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from scope_opt.model.files import MAX_INT, Document, inconsistent

Count = Annotated[int, Field(ge=1, le=MAX_INT)]
"""A positive integer that fits int64."""
Index = Annotated[int, Field(ge=0, le=MAX_INT)]
"""A non-negative integer that fits int64."""
Name = Annotated[str, Field(min_length=1, max_length=200)]


class Layer(Document):
    """One weighted layer with 8-bit weights and activations.

    ``output_height`` and ``output_width`` are before any pooling fused into the layer;
    ``output_bytes`` is what is handed on after it. ``weight_bytes`` is 0 for a product of two
    activations (nothing is stored), else the size of the kernel.
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
    stride: Count
    groups: Count
    weight_bytes: Index
    input_bytes: Count
    output_bytes: Count

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
        for axis in ("height", "width"):
            size, kernel = getattr(self, f"input_{axis}"), getattr(self, f"kernel_{axis}")
            least = max(1, (size - kernel) // self.stride + 1)
            most = (size + kernel - 2) // self.stride + 1
            value = getattr(self, f"output_{axis}")
            if not least <= value <= most:
                message = (
                    f"{value} does not follow from input {size}, kernel {kernel} and stride "
                    f"{self.stride} with any padding below the kernel size; "
                    f"allowed {least} to {most}"
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
    """Layer ``target`` reads ``bytes`` of the output of layer ``source``, per sample."""

    source: Index = Field(alias="from")
    target: Index = Field(alias="to")
    bytes: Count

    @model_validator(mode="after")
    def _forward(self) -> Self:
        inconsistent(forward_problems(self.source, self.target))
        return self

    @property
    def is_chain(self) -> bool:
        """Whether the edge joins consecutive layers; every other edge is a skip edge."""
        return self.target == self.source + 1


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
        found += edge_problems(pairs, len(self.layers))
        for index, edge in enumerate(self.edges):
            if edge.source < len(self.layers):
                produced = self.layers[edge.source].output_bytes
                if edge.bytes > produced:
                    message = f"{edge.bytes} is more than layer {edge.source} hands on, {produced}"
                    found.append((f"edges.{index}.bytes", message))
        inconsistent(found)
        return self

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


def edge_problems(pairs: list[tuple[int, int]], layers: int) -> list[tuple[str, str]]:
    """Edges out of range or listed twice, as ``(path, message)``."""
    found: list[tuple[str, str]] = []
    seen: dict[tuple[int, int], int] = {}
    for index, pair in enumerate(pairs):
        for key, layer in zip(("from", "to"), pair, strict=True):
            if layer >= layers:
                message = f"layer {layer} does not exist; allowed 0 to {layers - 1}"
                found.append((f"edges.{index}.{key}", message))
        first = seen.setdefault(pair, index)
        if first != index:
            found.append((f"edges.{index}", f"same layers as edges.{first}"))
    return found
