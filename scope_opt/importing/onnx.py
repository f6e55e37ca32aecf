"""ONNX files become networks, with a report of what became of every operator."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from scope_opt.importing.lowering import lower
from scope_opt.importing.order import short_branches
from scope_opt.importing.reader import read_graph
from scope_opt.model.builder import assemble, checked
from scope_opt.model.files import InputError
from scope_opt.model.network import Layer

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from scope_opt.importing.graph import Graph
    from scope_opt.importing.lowering import Draft, Lowered
    from scope_opt.model.network import Network, Step

LayerOrder = Literal["file", "short"]
"""Layers as the file lists them, or so that branches are short."""


@dataclass(frozen=True)
class Coverage:
    """What became of a file."""

    operators: tuple[tuple[str, str, int], ...]
    """Operator, outcome, how many."""
    layers: int
    macs: int
    weight_bytes: int
    shared_bytes: int
    """Weights that are counted more than once: each layer holds its own."""
    table_elements: int
    """Elements of embedding tables, which stay in DRAM."""
    other_elements: int
    """Further stored elements that contribute: biases, normalizations."""
    dram_bytes: int
    """Read from and written to DRAM by layers for every sample."""
    assumed: tuple[tuple[str, int], ...]
    """Sizes that the file leaves open and nobody gave."""

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        operators = [
            {"operator": op, "became": outcome, "count": count}
            for op, outcome, count in self.operators
        ]
        rest = {key: value for key, value in vars(self).items() if key != "operators"}
        return {"operators": operators, **rest, "assumed": dict(self.assumed)}


def import_onnx(
    path: Path,
    sizes: Mapping[str, int] | None = None,
    ignored: Collection[str] = (),
    order: LayerOrder = "file",
) -> tuple[Network, Coverage]:
    """Read a network from an ONNX file.

    Parameters
    ----------
    path : Path
        The file; only sizes of weights are read from it.
    sizes : mapping of str to int, optional
        Sizes of open dimensions, by name or as ``INPUT.AXIS``.
    ignored : collection of str
        Operators to leave out; what they read is passed on.
    order : {"file", "short"}
        Order of the layers.

    Raises
    ------
    InputError
        If the library is not installed, or the file cannot be stated, with everything in the way.
    """
    graph = read_graph(path, sizes or {}, ignored)
    without = frozenset(ignored)
    nodes = list(graph.nodes)
    lowered = lower(graph, nodes, without)
    if order == "short" and not lowered.problems:
        made = {id(draft.node) for draft in lowered.layers}
        waiting = {  # what is in DRAM anyway waits there
            tensor: min(value.elements, sum(part.bytes for part in value.parts if part.is_layer))
            for tensor, value in lowered.values.items()
        }
        nodes = short_branches(
            nodes, lambda node: id(node) in made, lambda tensor: waiting.get(tensor, 0)
        )
        lowered = lower(graph, nodes, without)
    if lowered.problems:
        raise InputError(str(path), lowered.problems)
    if not lowered.layers:
        raise InputError(str(path), ["no operator has weights or multiplies activations"])
    network = _network(path.name.removesuffix(".onnx"), lowered)
    return network, _coverage(graph, lowered, network)


def _network(name: str, lowered: Lowered) -> Network:
    names = _names(lowered.layers)
    layers = [_layer(name, *both) for both in zip(names, lowered.layers, strict=True)]
    return assemble(name, layers, lowered.edges)


def _layer(network: str, name: str, draft: Draft) -> Layer:
    product = draft.product
    return checked(
        Layer,
        f"{network}, layer {name!r}",
        name=name,
        in_channels=product.in_channels,
        out_channels=product.out_channels,
        input_height=product.input[0],
        input_width=product.input[1],
        output_height=product.output[0],
        output_width=product.output[1],
        kernel_height=product.kernel[0],
        kernel_width=product.kernel[1],
        stride=_step(product.stride),
        dilation=_step(product.dilation),
        groups=product.groups,
        weight_bytes=product.weight_bytes,
        input_bytes=product.in_channels * product.input[0] * product.input[1],
        output_bytes=draft.output_bytes,
        dram_read_bytes=draft.dram_read_bytes,
        dram_write_bytes=draft.dram_write_bytes,
    )


def _step(pair: tuple[int, int]) -> Step:
    return pair[0] if pair[0] == pair[1] else pair


def _names(layers: list[Draft]) -> list[str]:
    """A short name for each layer, unique: ``/layer1/layer1.0/conv1/Conv`` is layer1.0/conv1."""
    found: dict[str, None] = {}
    for layer in layers:
        node = layer.node
        path = [part for part in node.name.split("/") if part] or [node.outputs[0]]
        if len(path) > 1 and re.fullmatch(rf"{re.escape(node.op)}(_\d+)?", path[-1]):
            last = path.pop().removeprefix(node.op)
            path[-1] += last
        kept = [
            part
            for part, following in zip(path, [*path[1:], ""], strict=True)
            if not following.startswith(f"{part}.")
        ]
        if layer.part:
            kept.append(layer.part)
        name = "/".join(kept)[-180:]
        count = 1
        while (unique := name if count == 1 else f"{name}#{count}") in found:
            count += 1
        found[unique] = None
    return list(found)


def _coverage(graph: Graph, lowered: Lowered, network: Network) -> Coverage:
    outcomes = sorted(
        ((outcome, op, count) for (op, outcome), count in lowered.outcomes.items() if count),
        key=lambda row: (_OUTCOMES.index(row[0]), row[1]),
    )
    weights, tables = sum(lowered.weights.values()), sum(lowered.tables.values())
    return Coverage(
        operators=tuple((op, outcome, count) for outcome, op, count in outcomes),
        layers=len(network.layers),
        macs=network.macs,
        weight_bytes=network.weight_bytes,
        shared_bytes=network.weight_bytes - weights,
        table_elements=tables,
        other_elements=max(0, graph.parameters - weights - tables),
        dram_bytes=sum(layer.dram_read_bytes + layer.dram_write_bytes for layer in network.layers),
        assumed=tuple(graph.assumed.items()),
    )


_OUTCOMES = ("layer", "layers", "edge", "fused", "moved", "DRAM", "ignored")
