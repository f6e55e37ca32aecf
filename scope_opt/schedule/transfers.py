"""What transfers between chiplets cost (Table II): from the tables, or where regions really lie."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from scope_opt.model.cost import layer_shape
from scope_opt.model.package import link_use, runs
from scope_opt.model.tables import ISP, WSP, ceil_int

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scope_opt.model.network import Network
    from scope_opt.model.package import Package


class Region(NamedTuple):
    """A run of chiplets in ZigZag order."""

    first: int
    size: int


class Transfers(Protocol):
    """Cost of each transfer per sample, all in one unit: ps or fJ."""

    def gather(self, layer: int, at: Region) -> int:
        """The whole kernel, to every chiplet of the region."""

    def within(self, layer: int, partition: int, then: int, at: Region) -> int:
        """Case 1: to the next layer, of partition ``then``, in the same cluster."""

    def between(self, layer: int, then: int, at: Region, to: Region) -> int:
        """Case 2: to the next layer, of partition ``then``, in the next cluster."""

    def skip(self, edge: int, at: Region, to: Region) -> int:
        """Along a skip edge to another cluster."""


class Tabulated(NamedTuple):
    """Costs from the tables: they depend on the sizes of the regions only."""

    gathers: NDArray[np.int64]
    withins: NDArray[np.int64]
    sends: NDArray[np.int64]
    receives: NDArray[np.int64]
    skips: NDArray[np.int64]

    def gather(self, layer: int, at: Region) -> int:
        """See `Transfers`."""
        return int(self.gathers[layer, at.size])

    def within(self, layer: int, partition: int, then: int, at: Region) -> int:
        """See `Transfers`."""
        return int(self.withins[layer, partition, then, at.size])

    def between(self, layer: int, then: int, at: Region, to: Region) -> int:
        """See `Transfers`."""
        return int(self.sends[layer, at.size]) + int(self.receives[layer, then, to.size])

    def skip(self, edge: int, at: Region, to: Region) -> int:
        """See `Transfers`."""
        return int(self.skips[edge, at.size])


class Placed:
    """Times (ps) from the most loaded link of every transfer where its regions really lie.

    The tables hold the mean load of that link over all places a region may lie, and between
    regions a separable regression of that mean. All else is the same.
    """

    def __init__(self, network: Network, package: Package, edges: list[tuple[int, int]]) -> None:
        volumes = {(edge.source, edge.target): edge.bytes for edge in network.edges}
        self._package, self._network = package, network
        self._mesh = package.mesh_rows, package.mesh_cols
        self._chain = network.chain_bytes()
        self._skips = [volumes[edge] for edge in edges]

    def gather(self, layer: int, at: Region) -> int:
        """See `Transfers`."""
        return self._ps(self._all_gather(self._network.layers[layer].weight_bytes, at))

    def within(self, layer: int, partition: int, then: int, at: Region) -> int:
        """See `Transfers`."""
        gathered = self._all_gather(self._chain[layer], at)
        if then == ISP or self._chain[layer] == 0:
            return self._ps(gathered)
        shape = layer_shape(self._network.layers[layer + 1], self._package)
        halo = float(shape.halo_bytes[at.size]) / (2 * at.size)
        return self._ps(halo if partition == WSP else gathered / at.size + halo)

    def between(self, layer: int, then: int, at: Region, to: Region) -> int:
        """See `Transfers`."""
        volume = self._chain[layer]
        gathered = self._all_gather(volume, to) if then == ISP else 0.0
        return self._ps(self._scatter(volume, at, to) + gathered)

    def skip(self, edge: int, at: Region, to: Region) -> int:
        """See `Transfers`."""
        return self._ps(self._scatter(self._skips[edge], at, to))

    def _all_gather(self, volume: int, at: Region) -> float:
        """Bytes over the most loaded link, as in `_scatter`."""
        share = volume / at.size
        return share * self._package.nop.eta_within * _peak(*self._mesh, at, at)

    def _scatter(self, volume: int, at: Region, to: Region) -> float:
        share = volume / (at.size * to.size)
        return share * self._package.nop.eta_between * _peak(*self._mesh, at, to)

    def _ps(self, link_bytes: float) -> int:
        return int(ceil_int(link_bytes / self._package.nop.port_bytes_per_s * 1e12))


@lru_cache(maxsize=4096)
def _peak(rows: int, cols: int, at: Region, to: Region) -> int:
    """Pairs that share the most loaded link when all of ``at`` send to all of ``to``."""
    senders = runs(rows, cols, np.array([at.first]), at.size)
    return int(link_use(senders, runs(rows, cols, np.array([to.first]), to.size)).peak[0])
