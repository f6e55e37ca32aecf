"""Layers that share rows of tables, and what the next layer reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.model.network import Layer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scope_opt.model.network import Network

    Ints = NDArray[np.int64]


class Rows(NamedTuple):
    """Rows that tables over region sizes need: layers with equal ones share theirs.

    All blocks of a transformer are alike, so that hundreds of layers have a handful of rows.
    """

    first: list[int]
    """First layer of each row."""
    of: Ints
    """(L,) row of each layer"""

    def every(self, values: Ints) -> Ints:
        """Values of the rows for every layer; zeros take no memory until somebody writes them."""
        if values.any():
            return values[self.of]
        return np.zeros((len(self.of), *values.shape[1:]), dtype=np.int64)


def table_rows(network: Network) -> Rows:
    """Tell layers apart by all that their times and those of their transfers depend on."""
    fields = [name for name in Layer.model_fields if name != "name"]
    kinds = [tuple(getattr(layer, name) for name in fields) for layer in network.layers]
    chain, summed, inputs = network.chain_bytes(), summed_layers(network), inputs_of(network)
    found: dict[object, int] = {}
    first: list[int] = []
    of = np.zeros(len(kinds), dtype=np.int64)
    for layer, kind in enumerate(kinds):
        there, wanted = inputs.get(layer, {}), inputs.get(layer + 1, {})
        reads = sorted(
            (source == layer, moved, there.get(source, 0) < moved)
            for source, moved in wanted.items()
        )
        following = kinds[layer + 1 : layer + 2]
        key = (kind, chain[layer], layer in summed, tuple(following), tuple(reads))
        of[layer] = found.setdefault(key, len(found))
        if of[layer] == len(first):
            first.append(layer)
    return Rows(first, of)


def summed_layers(network: Network) -> set[int]:
    """Layers whose chain edge is added to the output of the next layer."""
    return {edge.source for edge in network.edges if edge.is_chain and not edge.is_input}


def inputs_of(network: Network) -> dict[int, dict[int, int]]:
    """Bytes of input that a layer reads, by the layer they are from."""
    inputs: dict[int, dict[int, int]] = {}
    for edge in network.edges:
        if edge.is_input:
            inputs.setdefault(edge.target, {})[edge.source] = edge.bytes
    return inputs
