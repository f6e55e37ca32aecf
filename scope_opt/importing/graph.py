"""A network's operators as plain data, whatever file they come from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Node:
    """An operator; empty names stand for absent inputs."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.name} ({self.op})" if self.name else f"{self.op} -> {self.outputs[0]}"


@dataclass(frozen=True)
class Graph:
    """Operators that contribute to an output, in an order in which they can run."""

    name: str
    nodes: tuple[Node, ...]
    """Those of constants alone are left out."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    shapes: Mapping[str, Shape]
    constants: frozenset[str]
    """Tensors that no input of the network changes."""
    values: Mapping[str, NDArray[Any]]
    """Values of small constants, where they are known."""
    parameters: int
    """Elements of the stored tensors that contribute."""
    assumed: Mapping[str, int]
    """Sizes that the file leaves open and nobody gave."""

    def elements(self, tensor: str) -> int:
        """Number of elements of a tensor."""
        return math.prod(self.shapes[tensor])
