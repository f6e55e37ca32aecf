"""From operators to layers and edges, as docs/import.md says."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scope_opt.importing.operators import KINDS, Kind
from scope_opt.importing.products import attention, conv, conv_transpose, einsum, gemm, matmul
from scope_opt.importing.values import Part, Value, concatenated, merged

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from scope_opt.importing.graph import Graph, Node
    from scope_opt.importing.products import Product
    from scope_opt.model.network import Feeds

STATED: Mapping[str, Callable[..., Product | str]] = {
    "Gemm": gemm,
    "Einsum": einsum,
    "ConvTranspose": conv_transpose,
    "MatMul": matmul,
    "MatMulInteger": matmul,
    "QLinearMatMul": matmul,
}
"""How layers are stated, if not as convolutions."""
READ_AT: Mapping[str, tuple[int, int]] = {"QLinearConv": (0, 3), "QLinearMatMul": (0, 3)}
"""Where operators have their two operands, if not first."""


@dataclass
class Draft:
    """A layer, and what is known so far of who reads it."""

    node: Node
    part: str
    """What it is of an operator that becomes several layers."""
    product: Product
    made: int
    """Elements that it produces."""
    handed_on: int = 0
    tensors: dict[str, int] = field(default_factory=dict)
    """Bytes of each tensor that somebody reads of it."""
    fetched: dict[str, int] = field(default_factory=dict)
    """Bytes that it reads of what is in DRAM."""
    free_bytes: int = 0
    """Those that the first layer reads anyway."""
    dram_write_bytes: int = 0

    @property
    def dram_read_bytes(self) -> int:
        """What it reads from DRAM besides, each tensor once."""
        return sum(self.fetched.values()) - self.free_bytes

    @property
    def output_bytes(self) -> int:
        """What it hands on: all that is read of it, each tensor once."""
        return max(1, min(self.handed_on, sum(self.tensors.values()), self.made))


@dataclass
class Lowered:
    """Layers in execution order, their edges, and what became of every operator."""

    layers: list[Draft] = field(default_factory=list)
    edges: dict[tuple[int, int], tuple[int, Feeds]] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Operators by name and outcome."""
    weights: dict[str, int] = field(default_factory=dict)
    """Weights of layers, by their elements; layers may share them."""
    tables: dict[str, int] = field(default_factory=dict)
    """Tables of embeddings that stay in DRAM, by their elements."""
    problems: list[str] = field(default_factory=list)


def lower(graph: Graph, nodes: Sequence[Node], ignored: frozenset[str]) -> Lowered:
    """Turn operators into layers, in the order given.

    Operators that cannot be stated exactly are listed as problems.
    """
    return _Lowering(graph, ignored).run(nodes)


class _Lowering:
    def __init__(self, graph: Graph, ignored: frozenset[str]) -> None:
        self.graph = graph
        self.ignored = ignored
        self.found = Lowered()
        self.read: dict[tuple[int, int], dict[str, int]] = {}
        """Bytes of each tensor that an edge carries."""
        for name in graph.inputs:
            size = graph.elements(name)
            self.found.values[name] = Value(graph.shapes[name], (Part(name, size, size),))

    def run(self, nodes: Sequence[Node]) -> Lowered:
        for node in nodes:
            for tensor, value in zip(node.outputs, self._outputs(node), strict=False):
                if tensor:
                    self.found.values[tensor] = value
        if not self.found.problems:
            self._write_outputs()
            self._size_edges()
        return self.found

    # --- Operators -------------------------------------------------------------------------------

    def _outputs(self, node: Node) -> Sequence[Value]:
        kind = KINDS.get(node.op)
        shape = self.graph.shapes.get(node.outputs[0], ())  # unknown only where nobody reads it
        if node.op in self.ignored:
            self.found.outcomes[node.op, "ignored"] += 1
            return [self._joined(node, self._values(node.inputs), shape)] * len(node.outputs)
        if kind is Kind.LAYER:
            return [self._layer(node)]
        if kind is Kind.ATTENTION:
            return self._attention(node)
        if kind is Kind.JOIN:
            values = self._values(node.inputs)
            found = self._joined(node, values, shape)
            several = len({part.source for value in values for part in value.parts}) > 1
            self.found.outcomes[node.op, "edge" if several else "fused"] += 1
            return [found, *self._others(node, found)]
        if kind is Kind.CONCAT:
            values = self._values(node.inputs)
            axis = node.attributes.get("axis", 1) % len(shape)
            found = concatenated(values, shape, axis)
            self.found.outcomes[node.op, "edge" if len(found.parts) > 1 else "moved"] += 1
            return [found]
        first = self._value(node.inputs[0])
        if kind is Kind.POOL:
            self.found.outcomes[node.op, "fused"] += 1
            found = first.reshaped(shape, pooled=True)
            return [found, *self._others(node, found)]
        if kind is Kind.FUSED:
            self.found.outcomes[node.op, "fused"] += 1
            found = first.reshaped(shape)
            return [found, *self._others(node, found)]
        return self._moved(node, first)

    def _others(self, node: Node, found: Value) -> list[Value]:
        """Further outputs, such as indices of maxima: of the same elements."""
        shapes = (self.graph.shapes.get(tensor) for tensor in node.outputs[1:])
        return [found.reshaped(shape) if shape is not None else found for shape in shapes]

    def _moved(self, node: Node, first: Value) -> Sequence[Value]:
        shape = self.graph.shapes.get(node.outputs[0], ())
        self.found.outcomes[node.op, "moved"] += 1
        if node.op.startswith("Gather") and first.constant:
            self.found.outcomes[node.op, "moved"] -= 1
            self.found.outcomes[node.op, "DRAM"] += 1
            table = node.inputs[0]
            self.found.tables[table] = self.graph.elements(table)
            size = math.prod(shape)
            return [Value(shape, (Part(table, size, size),))]
        if node.op == "Split":
            axis = node.attributes.get("axis", 0) % len(first.shape)
            found, at = [], 0
            parts = [self.graph.shapes.get(tensor) for tensor in node.outputs]
            for part in parts:
                if part is None:  # nobody reads it, and the places of others are not known
                    return [first.reshaped(other or ()) for other in parts]
                found.append(first.sliced(part, axis, at))
                at += part[axis]
            return found
        if node.op == "Slice" and (window := self._window(node, first.shape)) is not None:
            return [first.sliced(shape, *window)]
        if first.constant:  # a constant, indexed or repeated by what varies
            return [self._joined(node, self._values(node.inputs[1:]), shape)]
        return [first.reshaped(shape)]

    def _window(self, node: Node, shape: tuple[int, ...]) -> tuple[int, int] | None:
        """Axis and first element of a slice along one axis, None if there are more."""
        if "starts" in node.attributes:
            starts, axes = node.attributes["starts"], node.attributes.get("axes", [0])
        else:
            given = [self.graph.values.get(tensor) for tensor in node.inputs[1:]]
            if len(given) < 3 or given[0] is None or given[2] is None:
                return None
            starts, axes = given[0].tolist(), given[2].tolist()
            if len(given) > 3 and (given[3] is None or any(given[3] != 1)):
                return None
        if len(axes) != 1:
            return None
        size = shape[axes[0]]
        first = starts[0] + size if starts[0] < 0 else starts[0]
        return axes[0] % len(shape), max(0, min(first, size))

    def _joined(self, node: Node, values: Sequence[Value], shape: tuple[int, ...]) -> Value:
        """Element by element: at the layer that makes the last operand, or else at the readers."""
        varying = [value for value in values if not value.constant]
        if not varying:
            return Value(shape)
        parts = merged(part for value in varying for part in value.parts)
        if len(parts) == 1:
            most = max(value.parts[0].bytes for value in varying)
            return Value(
                shape, (Part(parts[0].source, min(most, math.prod(shape)), parts[0].whole),)
            )
        if len(varying) == 1:
            return varying[0].reshaped(shape)
        host = max((part.source for part in parts if isinstance(part.source, int)), default=None)
        for value in varying:
            own = value.parts[0]
            complete = len(value.parts) == 1 and own.source == host and own.bytes == own.whole
            if complete and own.bytes == math.prod(shape):
                assert isinstance(host, int)
                for tensor, other in zip(node.inputs, map(self._value, node.inputs), strict=True):
                    if other is not value:
                        self._read(host, tensor, other, "sum")
                return Value(shape, (own,))
        return Value(shape, parts)

    # --- Layers ----------------------------------------------------------------------------------

    def _layer(self, node: Node) -> Value:
        shape = self.graph.shapes[node.outputs[0]]
        if node.op == "Einsum" and len(node.inputs) != 2:
            self.found.problems.append(f"{node}: {len(node.inputs)} operands; allowed 2")
            return Value(shape)
        left, right = READ_AT.get(node.op, (0, 1))
        operands = [node.inputs[left], node.inputs[right]]
        state: Callable[..., Product | str] = STATED.get(node.op) or conv
        shapes = [self.graph.shapes[tensor] for tensor in operands]
        fixed = [tensor in self.graph.constants for tensor in operands]
        product = state(node.attributes, *shapes, shape, *fixed)
        if isinstance(product, str):
            self.found.problems.append(f"{node}: {product}")
            return Value(shape)
        self.found.outcomes[node.op, "layer"] += 1
        order = operands if product.reads == 0 else operands[::-1]
        if product.weights:
            self.found.weights[order[1]] = self.graph.elements(order[1])
        added = [tensor for tensor in node.inputs if tensor not in operands]
        return self._add(node, "", product, shape, order, added)

    def _attention(self, node: Node) -> Sequence[Value]:
        """Scores and their product with the values; keys and values may be those of a cache."""
        query, key, value, mask, old_keys, old_values = (*node.inputs, "", "", "", "")[:6]
        shapes = self.graph.shapes
        cached = shapes[old_keys][2] if old_keys else 0
        scores, context = attention(
            node.attributes, shapes[query], shapes[key], shapes[value], cached
        )
        if shapes[query][0] != 1:
            problem = f"{node}: a batch of {shapes[query][0]}; one sample is mapped"
            self.found.problems.append(problem)
        self.found.outcomes[node.op, "layers"] += 1
        made = f"{node.outputs[0]}/scores"
        size = (scores.out_channels, *scores.output)
        self.found.values[made] = self._add(
            node, "scores", scores, size, [query, key, old_keys], [mask]
        )
        found = [
            self._add(
                node, "context", context, shapes[node.outputs[0]], [made, value, old_values], []
            )
        ]
        for tensor, parts in zip(
            node.outputs[1:], ((old_keys, key), (old_values, value), (made,)), strict=False
        ):
            joined = [self._value(part) for part in parts if part]
            shape = shapes.get(tensor, joined[-1].shape)
            found.append(Value(shape, merged(part for each in joined for part in each.parts)))
        return found

    def _add(
        self,
        node: Node,
        part: str,
        product: Product,
        shape: tuple[int, ...],
        operands: Sequence[str],
        added: Sequence[str],
    ) -> Value:
        """Append a layer that reads ``operands``, the first of which is its input."""
        index = len(self.found.layers)
        made = math.prod(shape)
        self.found.layers.append(Draft(node, part, product, made))
        for tensor in operands:
            # The first layer reads its input from DRAM anyway.
            free = index == 0 and tensor == operands[0]
            self._read(index, tensor, self._value(tensor), "input", free=free)
        for tensor in added:
            self._read(index, tensor, self._value(tensor), "sum")
        return Value(shape, (Part(index, made, made),))

    def _read(
        self, reader: int, tensor: str, value: Value, feeds: Feeds, *, free: bool = False
    ) -> None:
        """Let a layer read a tensor: edges from layers, or DRAM."""
        for part in value.parts:
            if isinstance(part.source, str):
                draft = self.found.layers[reader]
                before = draft.fetched.get(part.source, 0)
                draft.fetched[part.source] = max(before, part.bytes)
                draft.free_bytes += part.bytes if free else 0
                continue
            if part.source == reader:
                continue
            self._hand_on(part, tensor)
            pair = part.source, reader
            self.read.setdefault(pair, {})[tensor] = part.bytes
            known = self.found.edges.get(pair)
            self.found.edges[pair] = (0, "input" if known and known[1] == "input" else feeds)

    def _hand_on(self, part: Part, tensor: str) -> None:
        assert isinstance(part.source, int)
        draft = self.found.layers[part.source]
        draft.handed_on = max(draft.handed_on, part.whole)
        draft.tensors[tensor] = max(draft.tensors.get(tensor, 0), part.bytes)

    def _write_outputs(self) -> None:
        """Let layers write outputs to DRAM, but for the last: it writes its own anyway."""
        last = len(self.found.layers) - 1
        for tensor in self.graph.outputs:
            for part in self._value(tensor).parts:
                if isinstance(part.source, int):
                    self._hand_on(part, tensor)
                    if part.source != last:
                        self.found.layers[part.source].dram_write_bytes += part.bytes

    def _size_edges(self) -> None:
        for pair, tensors in self.read.items():
            most = self.found.layers[pair[0]].output_bytes
            self.found.edges[pair] = (min(sum(tensors.values()), most), self.found.edges[pair][1])

    def _value(self, tensor: str) -> Value:
        found = self.found.values.get(tensor)
        return Value(self.graph.shapes.get(tensor, ())) if found is None else found

    def _values(self, tensors: Sequence[str]) -> list[Value]:
        return [self._value(tensor) for tensor in tensors if tensor]
