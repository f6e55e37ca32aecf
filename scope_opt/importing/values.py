"""Where the elements of a tensor come from: layers, and inputs of the network."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Source = int | str
"""Index of a layer, or name of a tensor that is read from DRAM."""


@dataclass(frozen=True)
class Part:
    """``bytes`` of a tensor come from ``source``, which hands on ``whole`` where it is read."""

    source: Source
    bytes: int
    whole: int

    @property
    def is_layer(self) -> bool:
        """Whether a layer makes it; else it is read from DRAM."""
        return isinstance(self.source, int)

    def scaled(self, to: int, of: int, *, pooled: bool) -> Part:
        """The part of a tensor with ``to`` elements made of one with ``of``.

        What repeats elements changes nothing: that is done where they are read. Pooling is done
        where they are made, so that less is handed on.
        """
        if to >= of:
            return self
        whole = _share(self.whole, to, of) if pooled else self.whole
        return replace(self, bytes=_share(self.bytes, to, of), whole=whole)


@dataclass(frozen=True)
class Block:
    """A stretch of a concatenation: its extent along the axis and what it consists of."""

    extent: int
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Value:
    """A tensor: its shape and what it is made of; nothing where it is constant.

    ``blocks`` divide it along ``axis`` as long as that is known, so that a slice reads only
    from the layers whose output it holds.
    """

    shape: tuple[int, ...]
    parts: tuple[Part, ...] = ()
    axis: int | None = None
    blocks: tuple[Block, ...] = ()

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def constant(self) -> bool:
        """Whether no input of the network changes it."""
        return not self.parts

    def reshaped(self, shape: tuple[int, ...], *, pooled: bool = False) -> Value:
        """The same elements, fewer or more of them, in another shape."""
        to, of = math.prod(shape), self.elements
        parts = tuple(part.scaled(to, of, pooled=pooled) for part in self.parts)
        same = self.axis is not None and len(shape) == len(self.shape)
        if not same or shape[self.axis or 0] != self.shape[self.axis or 0]:
            return Value(shape, parts)
        blocks = tuple(
            Block(block.extent, tuple(part.scaled(to, of, pooled=pooled) for part in block.parts))
            for block in self.blocks
        )
        return Value(shape, parts, self.axis, blocks)

    def sliced(self, shape: tuple[int, ...], axis: int, first: int) -> Value:
        """Elements ``first`` and following along ``axis``, as many as ``shape`` says."""
        if self.axis != axis:
            return Value(shape, self.reshaped(shape).parts)
        found, at = [], 0
        for block in self.blocks:
            kept = min(at + block.extent, first + shape[axis]) - max(at, first)
            if kept > 0:
                parts = (part.scaled(kept, block.extent, pooled=False) for part in block.parts)
                found.append(Block(kept, tuple(parts)))
            at += block.extent
        return Value(shape, merged(part for block in found for part in block.parts))


def concatenated(values: Sequence[Value], shape: tuple[int, ...], axis: int) -> Value:
    """Tensors one after the other along ``axis``."""
    blocks: list[Block] = []
    for value in values:
        same = value.axis == axis and value.blocks
        blocks += value.blocks if same else [Block(value.shape[axis], value.parts)]
    parts = merged(part for value in values for part in value.parts)
    return Value(shape, parts, axis, tuple(blocks))


def merged(parts: Iterable[Part]) -> tuple[Part, ...]:
    """One part for each source, in order of appearance; no more than the source hands on."""
    found: dict[Source, Part] = {}
    for part in parts:
        before = found.get(part.source, replace(part, bytes=0))
        whole = max(before.whole, part.whole)
        size = min(before.bytes + part.bytes, whole)
        found[part.source] = Part(part.source, size, whole)
    return tuple(found.values())


def _share(size: int, to: int, of: int) -> int:
    return -(-size * to // of)
