"""The multi-chip module: chiplets on a mesh, their network, their DRAM, and where regions lie."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from scope_opt.model.files import Document, inconsistent
from scope_opt.model.network import Count

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_CHIPLETS = 1024
"""Largest package accepted: tables grow with layers x chiplets, link counts with chiplets^3."""

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
MeshSide = Annotated[int, Field(ge=1, le=MAX_CHIPLETS)]


class Chiplet(Document):
    """Compute and buffers of one chiplet: ``pes`` x ``lanes_per_pe`` x ``macs_per_lane`` MACs."""

    pes: Annotated[int, Field(ge=1, le=2**20)]
    lanes_per_pe: Annotated[int, Field(ge=1, le=2**20)]
    macs_per_lane: Annotated[int, Field(ge=1, le=2**20)]
    frequency_hz: Positive
    weight_buffer_bytes: Count
    global_buffer_bytes: Count

    @property
    def macs_per_cycle(self) -> int:
        """MAC units of the chiplet."""
        return self.pes * self.lanes_per_pe * self.macs_per_lane


class Nop(Document):
    """Network on package: bandwidth per chiplet over all its ports, per direction.

    ``eta_within`` and ``eta_between`` are the measured ratio of simulated time to the time that
    the most loaded link alone would need, within a region and between two regions.
    """

    bandwidth_bytes_per_s: Positive
    ports: Annotated[int, Field(ge=1, le=1024)]
    energy_pj_per_bit: NonNegative
    eta_within: Positive
    eta_between: Positive

    @property
    def port_bytes_per_s(self) -> float:
        """Bandwidth of one directed mesh link."""
        return self.bandwidth_bytes_per_s / self.ports


class Dram(Document):
    """Main memory shared by the package."""

    bandwidth_bytes_per_s: Positive
    latency_s: NonNegative
    efficiency: Annotated[float, Field(gt=0, le=1)]
    energy_pj_per_bit: NonNegative


class Package(Document):
    """Chiplets on a ``mesh_rows`` x ``mesh_cols`` mesh, visited in ZigZag (snake) order."""

    mesh_rows: MeshSide
    mesh_cols: MeshSide
    chiplet: Chiplet
    nop: Nop
    dram: Dram
    pe_split: Literal["any", "channels"] = "any"
    mac_energy_pj: NonNegative
    sram_energy_pj_per_byte: NonNegative

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        found = []
        if self.chiplets > MAX_CHIPLETS:
            message = (
                f"{self.mesh_rows} x {self.mesh_cols} chiplets; allowed at most {MAX_CHIPLETS}"
            )
            found.append(("mesh_rows", message))
        if self.chiplet.pes & (self.chiplet.pes - 1):
            found.append(("chiplet.pes", f"{self.chiplet.pes} is not a power of two"))
        inconsistent(found)
        return self

    @property
    def chiplets(self) -> int:
        """Number of chiplets."""
        return self.mesh_rows * self.mesh_cols


class LinkUse(NamedTuple):
    """Traffic when every source sends one unit to every destination over XY routes."""

    peak: NDArray[np.int64]
    """Pairs that share the most loaded directed link."""
    total: NDArray[np.int64]
    """Sum over pairs of the number of links between them."""


def snake_positions(rows: int, cols: int) -> NDArray[np.int64]:
    """ZigZag position of each chiplet, shape ``(rows, cols)``: odd rows run right to left."""
    order = np.arange(rows * cols).reshape(rows, cols)
    order[1::2] = order[1::2, ::-1]
    return order


def link_use(sources: NDArray[np.int64], destinations: NDArray[np.int64]) -> LinkUse:
    """Count XY routes per directed mesh link for a batch of source and destination sets.

    A route runs along the source's row to the destination's column, then along that column. So the
    pairs crossing from column ``x`` to ``x+1`` in row ``y`` are the sources of that row at or left
    of ``x`` times all destinations right of ``x``; those crossing from row ``y`` to ``y+1`` in
    column ``x`` are all sources at or above ``y`` times the destinations of that column below it.

    Parameters
    ----------
    sources, destinations : int64 arrays, shape ``(batch, rows, cols)``
        1 where the chiplet belongs to the set, else 0.

    Returns
    -------
    LinkUse
        ``peak`` and ``total``, each of shape ``(batch,)``.
    """
    in_row = np.cumsum(sources, axis=2)
    beyond = np.cumsum(destinations.sum(axis=1), axis=1)
    in_column = np.cumsum(destinations, axis=1)
    above = np.cumsum(sources.sum(axis=2), axis=1)

    row_left, row_all = in_row[:, :, :-1], in_row[:, :, -1:]
    dst_left, dst_all = beyond[:, None, :-1], beyond[:, None, -1:]
    column_above, column_all = in_column[:, :-1, :], in_column[:, -1:, :]
    src_above, src_all = above[:, :-1, None], above[:, -1:, None]
    loads = (
        row_left * (dst_all - dst_left),
        (row_all - row_left) * dst_left,
        src_above * (column_all - column_above),
        (src_all - src_above) * column_above,
    )
    batch = len(sources)
    flat = np.concatenate([load.reshape(batch, -1) for load in loads], axis=1)
    return LinkUse(flat.max(axis=1, initial=0), flat.sum(axis=1))


def runs(rows: int, cols: int, first: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Sets of ``size`` consecutive positions from each of ``first``, as `link_use` takes them."""
    order = snake_positions(rows, cols)[None]
    start = first[:, None, None]
    return ((order >= start) & (order < start + size)).astype(np.int64)


class MeshMeans(NamedTuple):
    """Means over all places a run of chiplets can lie, index = region size (0 unused)."""

    peak_within: NDArray[np.float64]
    """Mean of `LinkUse.peak` for an all-to-all inside the run."""
    hops_within: NDArray[np.float64]
    """Mean hops between two different chiplets of the run."""


@lru_cache(maxsize=64)
def means_within(rows: int, cols: int) -> MeshMeans:
    """Mean link load and hops inside runs of each size; arrays of shape ``(chiplets + 1,)``."""
    chiplets = rows * cols
    peak, hops = np.zeros(chiplets + 1), np.zeros(chiplets + 1)
    for size in range(2, chiplets + 1):
        members = runs(rows, cols, np.arange(chiplets - size + 1), size)
        use = link_use(members, members)
        peak[size] = use.peak.mean()
        hops[size] = use.total.mean() / (size * (size - 1))
    return MeshMeans(peak, hops)


@lru_cache(maxsize=64)
def means_between(rows: int, cols: int, size: int, next_size: int) -> tuple[float, float]:
    """Mean most-loaded-link count and mean hops from a run to the run that follows it."""
    first = np.arange(rows * cols - size - next_size + 1)
    use = link_use(
        runs(rows, cols, first, size),
        runs(rows, cols, first + size, next_size),
    )
    return float(use.peak.mean()), float(use.total.mean()) / (size * next_size)
