"""Explicit tables: an instance's latencies as measured on a simulator or on hardware."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Self

import numpy as np
from pydantic import Discriminator, Field, Tag, model_validator

from scope_opt.model.files import Document, inconsistent
from scope_opt.model.network import Count, Index, Name, edge_problems, forward_problems
from scope_opt.model.package import MAX_CHIPLETS
from scope_opt.model.tables import PARTITIONS, LatencyTables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

Times = Annotated[tuple[Index, ...], Field(max_length=MAX_CHIPLETS, fail_fast=True)]
"""One time per region size 1..C; the first that is wrong is told."""


Row = Annotated[tuple[Index, ...], Field(fail_fast=True)]
"""One time per layer."""


class ByPartition(Document):
    """A table for each partition."""

    ISP: Times
    WSP: Times


class ByPartitionPair(Document):
    """A table for each partition of this layer and of the next."""

    ISP: ByPartition
    WSP: ByPartition


class TableLayer(Document):
    """Measured times of one layer, in picoseconds; absent tables are zero."""

    name: Name
    weight_bytes: Index
    compute_ps: ByPartition
    gather_ps: Times | None = None
    within_ps: ByPartitionPair | None = None
    send_ps: Times | None = None
    receive_ps: ByPartition | None = None
    input_ps: Index = 0
    output_ps: Index = 0

    def tables(self) -> Iterator[tuple[str, Times]]:
        """Every table over region sizes that is present, with its path."""
        yield from (
            ("compute_ps.ISP", self.compute_ps.ISP),
            ("compute_ps.WSP", self.compute_ps.WSP),
        )
        if self.gather_ps is not None:
            yield "gather_ps", self.gather_ps
        if self.send_ps is not None:
            yield "send_ps", self.send_ps
        if self.receive_ps is not None:
            yield from (
                ("receive_ps.ISP", self.receive_ps.ISP),
                ("receive_ps.WSP", self.receive_ps.WSP),
            )
        if self.within_ps is not None:
            for this in PARTITIONS:
                pair: ByPartition = getattr(self.within_ps, this)
                yield from (
                    (f"within_ps.{this}.{then}", getattr(pair, then)) for then in PARTITIONS
                )


Readers = Annotated[
    Annotated[Index, Tag("(layer)")]
    | Annotated[tuple[Index, ...], Field(min_length=1), Tag("(layers)")],
    Discriminator(lambda value: "(layers)" if isinstance(value, list | tuple) else "(layer)"),
]
"""One layer, or several in ascending order."""


class TableEdge(Document):
    """A tensor with measured times: to other clusters, or over DRAM to other segments.

    However many layers read it, it is sent and written once, received once by each cluster, and
    read once by each segment.
    """

    source: Index = Field(alias="from")
    target: Readers = Field(alias="to")
    send_ps: Times
    receive_ps: Times | None = None
    write_ps: Index
    read_ps: Index

    @property
    def readers(self) -> tuple[int, ...]:
        """The layers that read the tensor."""
        return self.target if isinstance(self.target, tuple) else (self.target,)

    @property
    def steps(self) -> Iterator[tuple[int, int]]:
        """Each reader behind the one before it, the first one behind the source."""
        return pairwise((self.source, *self.readers))

    @model_validator(mode="after")
    def _forward(self) -> Self:
        inconsistent(forward_problems(self.source, self.readers[0]))
        descends = any(then <= reader for reader, then in pairwise(self.readers))
        message = f"needs layers in ascending order, each once; found {list(self.readers)}"
        inconsistent([("to", message)] if descends else [])
        return self


class ExplicitTables(Document):
    """Latency tables given by an instance instead of a network and a package."""

    chiplets: Annotated[int, Field(ge=1, le=MAX_CHIPLETS)]
    weight_buffer_bytes: Count
    layers: Annotated[tuple[TableLayer, ...], Field(min_length=1)]
    edges: tuple[TableEdge, ...] = ()
    segment_dram_ps: tuple[Row, ...] | None = None
    load_ps: tuple[Row, ...] | None = None
    dram_latency_ps: Index = 0
    stream_fs_per_byte: Times | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        found: list[tuple[str, str]] = []
        lengths = [
            (f"layers.{index}.{path}", values)
            for index, layer in enumerate(self.layers)
            for path, values in layer.tables()
        ]
        for index, edge in enumerate(self.edges):
            lengths.append((f"edges.{index}.send_ps", edge.send_ps))
            if edge.receive_ps is not None:
                lengths.append((f"edges.{index}.receive_ps", edge.receive_ps))
        if self.stream_fs_per_byte is not None:
            lengths.append(("stream_fs_per_byte", self.stream_fs_per_byte))
        for path, values in lengths:
            if len(values) != self.chiplets:
                message = f"{len(values)} entries; needs one per region size, {self.chiplets}"
                found.append((path, message))
        pairs = [
            (index, (edge.source, reader))
            for index, edge in enumerate(self.edges)
            for reader in edge.readers
        ]
        found += edge_problems(pairs, len(self.layers))
        for name in ("segment_dram_ps", "load_ps"):
            matrix = getattr(self, name)
            if matrix is not None and [len(row) for row in matrix] != [len(self.layers)] * len(
                self.layers
            ):
                found.append((name, f"needs {len(self.layers)} rows of {len(self.layers)} entries"))
        inconsistent(found)
        return self

    def to_tables(self, samples: int, *, stream: bool) -> LatencyTables:
        """Arrays for the solvers; raises `InputError` on int64 overflow."""
        layers, chiplets = len(self.layers), self.chiplets

        def row(values: Times | None) -> list[int]:
            return [0, *(values if values is not None else (0,) * chiplets)]

        def rows(pair: ByPartition | None) -> list[list[int]]:
            return [row(pair.ISP), row(pair.WSP)] if pair is not None else [row(None)] * 2

        def by_edge(tables: list[Times | None]) -> NDArray[np.int64]:
            full = np.array([row(table) for table in tables], dtype=np.int64)
            return full.reshape(len(tables), chiplets + 1)

        def square(matrix: tuple[tuple[int, ...], ...] | None) -> NDArray[np.int64]:
            full = np.array(matrix if matrix is not None else np.zeros((layers, layers)))
            return np.triu(full.astype(np.int64))

        compute = np.array([rows(layer.compute_ps) for layer in self.layers], dtype=np.int64)
        within = [
            [rows(pair.ISP), rows(pair.WSP)] if pair is not None else [rows(None)] * 2
            for pair in (layer.within_ps for layer in self.layers)
        ]
        within[-1] = [rows(None), rows(None)]  # the last layer has no next one
        # An entry for each reader.
        read = ((edge, *step) for edge in self.edges for step in edge.steps)
        edges = sorted(read, key=lambda entry: (entry[0].source, entry[2]))
        read_ps = np.diag(np.array([layer.input_ps for layer in self.layers])).astype(np.int64)
        write_ps = np.diag(np.array([layer.output_ps for layer in self.layers])).astype(np.int64)
        for edge, after, reader in edges:
            read_ps[after + 1 : reader + 1, reader] += edge.read_ps
            write_ps[after:reader, edge.source] += edge.write_ps
        # Without channel and output counts, what a partition can split is read off its speed-up.
        fastest = np.maximum(compute[:, :, 1:].min(axis=2), 1)
        return LatencyTables(
            samples=samples,
            stream=stream,
            weight_buffer_bytes=self.weight_buffer_bytes,
            weight_bytes=np.array([layer.weight_bytes for layer in self.layers], dtype=np.int64),
            compute_ps=compute,
            gather_ps=np.array([row(layer.gather_ps) for layer in self.layers], dtype=np.int64),
            within_ps=np.array(within, dtype=np.int64),
            send_ps=np.array([row(layer.send_ps) for layer in self.layers], dtype=np.int64),
            receive_ps=np.array([rows(layer.receive_ps) for layer in self.layers], dtype=np.int64),
            input_ps=np.array([layer.input_ps for layer in self.layers], dtype=np.int64),
            output_ps=np.array([layer.output_ps for layer in self.layers], dtype=np.int64),
            edge_from=np.array([edge.source for edge, _, _ in edges], dtype=np.int64),
            edge_after=np.array([after for _, after, _ in edges], dtype=np.int64),
            edge_to=np.array([reader for _, _, reader in edges], dtype=np.int64),
            edge_send_ps=by_edge([edge.send_ps for edge, _, _ in edges]),
            edge_receive_ps=by_edge([edge.receive_ps for edge, _, _ in edges]),
            edge_write_ps=np.array([edge.write_ps for edge, _, _ in edges], dtype=np.int64),
            edge_read_ps=np.array([edge.read_ps for edge, _, _ in edges], dtype=np.int64),
            read_ps=read_ps,
            write_ps=write_ps,
            segment_dram_ps=square(self.segment_dram_ps),
            load_ps=square(self.load_ps),
            dram_latency_ps=self.dram_latency_ps,
            stream_fs_per_byte=np.array(row(self.stream_fs_per_byte), dtype=np.int64),
            load=compute[:, :, 1].min(axis=1),
            parallelism=np.log2(np.maximum(compute[:, :, 1], 1) / fastest),
        )
