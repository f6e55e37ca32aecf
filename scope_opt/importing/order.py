"""An order of layers in which few bytes wait for their readers.

A tensor waits from the layer that makes it to the last that reads it; in a pipeline it travels
along. The order looked for makes the sum over layers of what waits behind them least. It is a
shortest path over the sets of layers that can be done first, exact as long as there are at most
`WIDTH` of them of each size, else the best of those kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scope_opt.importing.graph import Node

WIDTH = 256


@dataclass(frozen=True)
class _State:
    """Operators done, as bits, the layers among them in order, and what waits for readers."""

    done: int
    path: tuple[int, _Path] | None
    waiting: frozenset[str]
    cost: int
    broken: int
    """Layers that do not read what the layer before them made."""

    @property
    def rank(self) -> tuple[int, int]:
        return self.cost, self.broken


_Path = tuple[int, "_Path"] | None


def short_branches(
    nodes: Sequence[Node], is_layer: Callable[[Node], bool], size: Callable[[str], int]
) -> list[Node]:
    """Operators in an order that keeps branches short.

    Parameters
    ----------
    nodes : sequence of Node
        In an order in which they can run.
    is_layer : callable
        Whether an operator is a layer; all others are done as soon as they can be.
    size : callable
        Bytes of a tensor that wait for its readers.
    """
    return _Search(nodes, is_layer, size).run()


class _Search:
    def __init__(
        self, nodes: Sequence[Node], is_layer: Callable[[Node], bool], size: Callable[[str], int]
    ) -> None:
        self.nodes = nodes
        self.size = size
        self.layers = [index for index, node in enumerate(nodes) if is_layer(node)]
        self.is_layer = frozenset(self.layers)
        self.before = [0] * len(nodes)
        """Operators whose tensors an operator reads, as bits."""
        self.readers: dict[str, list[int]] = {}
        self.main: list[frozenset[int]] = []
        """Layers whose output an operator works on first of all."""
        makers = {tensor: index for index, node in enumerate(nodes) for tensor in node.outputs}
        begun: set[int] = set()  # what depends on a layer
        for index, node in enumerate(nodes):
            makes = [makers[tensor] for tensor in node.inputs if tensor in makers]
            for tensor in dict.fromkeys(node.inputs):
                self.readers.setdefault(tensor, []).append(index)
            self.before[index] = sum(1 << maker for maker in set(makes))
            first = makers.get(node.inputs[0], -1) if node.inputs else -1
            if first in self.is_layer:
                self.main.append(frozenset([first]))
            else:
                self.main.append(self.main[first] if first >= 0 else frozenset())
            if any(maker in begun or maker in self.is_layer for maker in makes):
                begun.add(index)
        self.roots = self.is_layer - begun
        """Layers that read inputs alone."""

    def run(self) -> list[Node]:
        light = [index for index in range(len(self.nodes)) if index not in self.is_layer]
        states = [self._settle(_State(0, None, frozenset(), 0, 0), light)]
        for _ in self.layers:
            found: dict[tuple[int, int], _State] = {}
            for state in states:
                for layer in self._ready(state):
                    new = self._do(state, layer)
                    key = new.done, layer
                    if key not in found or new.rank < found[key].rank:
                        found[key] = new
            states = sorted(found.values(), key=lambda state: state.rank)[:WIDTH]
        return self._nodes(states[0])

    def _ready(self, state: _State) -> list[int]:
        """Layers that can be next, in file order: readers of what waits, and of inputs alone."""
        readers = {reader for tensor in state.waiting for reader in self.readers[tensor]}
        return sorted(
            layer
            for layer in self.roots | (readers & self.is_layer)
            if not state.done >> layer & 1 and not self.before[layer] & ~state.done
        )

    def _do(self, state: _State, layer: int) -> _State:
        last = state.path[0] if state.path else None
        follows = last is None or last in self.main[layer]
        new = _State(
            state.done | 1 << layer,
            (layer, state.path),
            state.waiting.union(self.nodes[layer].outputs),
            state.cost,
            state.broken + (not follows),
        )
        readers = [r for tensor in self.nodes[layer].outputs for r in self.readers.get(tensor, ())]
        new = self._settle(new, readers)
        cost = new.cost + sum(map(self.size, new.waiting))
        return _State(new.done, new.path, new.waiting, cost, new.broken)

    def _settle(self, state: _State, candidates: Sequence[int]) -> _State:
        """Do what is no layer and can be done; drop what nobody reads any more."""
        done, waiting = state.done, set(state.waiting)
        stack = list(candidates)
        while stack:
            index = stack.pop()
            if index in self.is_layer or done >> index & 1 or self.before[index] & ~done:
                continue
            done |= 1 << index
            for tensor in self.nodes[index].outputs:
                waiting.add(tensor)
                stack += self.readers.get(tensor, ())
        waiting = {
            tensor
            for tensor in waiting
            if any(not done >> reader & 1 for reader in self.readers.get(tensor, []))
        }
        return _State(done, state.path, frozenset(waiting), state.cost, state.broken)

    def _nodes(self, state: _State) -> list[Node]:
        """All operators in the order of a path: layers, and others as soon as they can be."""
        order: list[int] = []
        path = state.path
        while path is not None:
            layer, path = path
            order.append(layer)
        done, found = 0, []
        light = [index for index in range(len(self.nodes)) if index not in self.is_layer]
        for layer_or_none in [None, *reversed(order)]:
            if layer_or_none is not None:
                done |= 1 << layer_or_none
                found.append(layer_or_none)
            left = []
            for index in light:
                if self.before[index] & ~done:
                    left.append(index)
                else:
                    done |= 1 << index
                    found.append(index)
            light = left
        return [self.nodes[index] for index in found]
