"""What transfers between chiplets cost (Table II): from the tables, or where regions really lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from scope_opt.cost.layers import tile_grid
from scope_opt.model.tables import ISP, WSP, ceil_int

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from scope_opt.model.network import Edge, Network
    from scope_opt.model.package import Package
    from scope_opt.schedule.links import Bytes, Mesh, Region

    Measure = Callable[[tuple[Bytes, ...]], int]


class Transfers(Protocol):
    """Cost of each transfer per sample, all in one unit: ps or fJ.

    ``ends`` are the first and last layer of the segment.
    """

    def gather(self, layer: int, at: Region) -> int:
        """The whole kernel, to every chiplet of the region."""

    def within(self, layer: int, partition: int, then: int, at: Region) -> int:
        """Case 1: to the next layer, of partition ``then``, in the same cluster."""

    def arriving(
        self, layer: int, partition: int, then: int, at: Region, ends: tuple[int, int]
    ) -> int:
        """Input of the next layer, in the same cluster, that earlier layers have computed."""

    def between(self, layer: int, then: int, at: Region, to: Region, ends: tuple[int, int]) -> int:
        """Case 2: to the next layer, of partition ``then``, in the next cluster."""

    def skip(self, edge: int, at: Region) -> int:
        """Along a skip edge to another cluster."""

    def receive(self, edge: int, at: Region) -> int:
        """Along an edge into a cluster, besides what its sender pays."""


class Tabulated(NamedTuple):
    """Costs from the tables: they depend on the sizes of the regions only."""

    gathers: NDArray[np.int64]
    withins: NDArray[np.int64]
    sends: NDArray[np.int64]
    receives: NDArray[np.int64]
    skips: NDArray[np.int64]
    entering: NDArray[np.int64]

    def gather(self, layer: int, at: Region) -> int:
        """See `Transfers`."""
        return int(self.gathers[layer, at.size])

    def within(self, layer: int, partition: int, then: int, at: Region) -> int:
        """See `Transfers`."""
        return int(self.withins[layer, partition, then, at.size])

    def arriving(
        self, layer: int, partition: int, then: int, at: Region, ends: tuple[int, int]
    ) -> int:
        """See `Transfers`; edges inside a cluster are free."""
        return 0

    def between(self, layer: int, then: int, at: Region, to: Region, ends: tuple[int, int]) -> int:
        """See `Transfers`."""
        return int(self.sends[layer, at.size]) + int(self.receives[layer, then, to.size])

    def skip(self, edge: int, at: Region) -> int:
        """See `Transfers`."""
        return int(self.skips[edge, at.size])

    def receive(self, edge: int, at: Region) -> int:
        """See `Transfers`."""
        return int(self.entering[edge, at.size])


class Placed:
    """Costs from the links that every transfer uses where its regions lie (docs/model.md).

    Parameters
    ----------
    network, package : Network, Package
    mesh : Mesh
        Of the package.
    measure : callable
        From the maps of one transfer, one for each thing that it moves, to its cost.
    """

    def __init__(self, network: Network, package: Package, mesh: Mesh, measure: Measure) -> None:
        self._network, self._package = network, package
        self._mesh, self._measure = mesh, measure
        self._chain = {edge.source: edge for edge in network.edges if edge.is_chain}

    def gather(self, layer: int, at: Region) -> int:
        """See `Transfers`."""
        return self._measure((self._mesh.gather(self._network.layers[layer].weight_bytes, at),))

    def within(self, layer: int, partition: int, then: int, at: Region) -> int:
        """See `Transfers`."""
        edge = self._chain.get(layer)
        if edge is None:
            return 0
        if not edge.is_input:  # what is added has to lie as the sum does
            return 0 if partition == then else self._exchange(edge.bytes, at)
        if then == ISP:
            return self._measure((self._mesh.gather(edge.bytes, at),))
        halo = self._halo(layer + 1, at)
        if partition == WSP:
            return self._measure((halo,))
        return self._measure((self._mesh.exchange(edge.bytes, at), halo))

    def arriving(
        self, layer: int, partition: int, then: int, at: Region, ends: tuple[int, int]
    ) -> int:
        """See `Transfers`."""
        present: dict[int, int] = {}
        if partition == ISP:  # whose input every chiplet has
            present = {e.source: e.bytes for e in self._inputs(layer)}
        edges = [
            edge
            for edge in self._inputs(layer + 1)
            if ends[0] <= edge.source < layer and present.get(edge.source, 0) < edge.bytes
        ]
        if then == ISP:
            return sum(self._measure((self._mesh.gather(edge.bytes, at),)) for edge in edges)
        total = sum(self._exchange(edge.bytes, at) for edge in edges)
        if edges and layer not in self._chain:
            total += self._measure((self._halo(layer + 1, at),))
        return total

    def between(self, layer: int, then: int, at: Region, to: Region, ends: tuple[int, int]) -> int:
        """See `Transfers`; everything that later layers of the segment need moves along."""
        first, last = ends
        travelling = self.travelling(layer, first, last)
        maps = [self._mesh.scatter(travelling, at, to)]
        if then == ISP:
            wanted = sum(e.bytes for e in self._inputs(layer + 1) if e.source >= first)
            maps.append(self._mesh.gather(min(travelling, wanted), to))
        return self._measure(tuple(maps))

    def skip(self, edge: int, at: Region) -> int:
        """See `Transfers`; it travels with the rest."""
        return 0

    def receive(self, edge: int, at: Region) -> int:
        """See `Transfers`; no tensor is charged to its readers."""
        return 0

    def travelling(self, layer: int, first: int, last: int) -> int:
        """Bytes of layers ``first..layer`` that layers behind ``layer`` up to ``last`` read."""
        wanted: dict[int, int] = {}
        for edge in self._network.edges:
            if first <= edge.source <= layer < edge.target <= last:
                wanted[edge.source] = wanted.get(edge.source, 0) + edge.bytes
        layers = self._network.layers
        return sum(min(layers[u].output_bytes, moved) for u, moved in wanted.items())

    def _inputs(self, layer: int) -> list[Edge]:
        return [edge for edge in self._network.edges if edge.target == layer and edge.is_input]

    def _exchange(self, volume: int, at: Region) -> int:
        return self._measure((self._mesh.exchange(volume, at),))

    def _halo(self, layer: int, at: Region) -> Bytes:
        own = self._network.layers[layer]
        return self._mesh.halo(own, tile_grid(own, at.size), at)


def link_times(package: Package) -> Measure:
    """Picoseconds of a transfer: what it moves one after the other, each as its busiest link."""
    factor = 1e12 * package.nop.eta_link / package.nop.port_bytes_per_s

    def measure(maps: tuple[Bytes, ...]) -> int:
        return int(ceil_int(sum(float(moved.max(initial=0.0)) for moved in maps) * factor))

    return measure


def link_energies(package: Package) -> Measure:
    """Femtojoules of a transfer: all bytes on all links."""
    factor = 8000 * package.nop.energy_pj_per_bit

    def measure(maps: tuple[Bytes, ...]) -> int:
        return int(ceil_int(sum(float(moved.sum()) for moved in maps) * factor))

    return measure
