"""A segment as a pipeline on the package: what each part of it takes, holds and moves.

Equation and table numbers are those of the Scope paper (arXiv 2602.14393). Times and energies are
plain Python integers (ps, fJ).
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.model.package import Package
from scope_opt.model.tables import PARTITIONS, WSP
from scope_opt.schedule.evaluation import (
    ClusterReport,
    EnergyReport,
    LayerReport,
    LinkReport,
    LinkShare,
    SegmentReport,
)
from scope_opt.schedule.links import Mesh, Region
from scope_opt.schedule.rules import Violation, layers_of, place_of
from scope_opt.schedule.transfers import Placed, Tabulated, Transfers, link_energies, link_times

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scope_opt.model.instance import Instance
    from scope_opt.model.network import Network
    from scope_opt.model.tables import EnergyTables, Flow, LatencyTables
    from scope_opt.schedule.evaluation import Bound, Moved
    from scope_opt.schedule.links import Bytes
    from scope_opt.schedule.schedule import Cluster, Segment


class Costs(NamedTuple):
    """What transfers cost, and what they put on links."""

    times: Transfers
    energies: Transfers | None
    links: Links | None


class Links(NamedTuple):
    """Transfers of a placed instance as maps of bytes per link."""

    network: Network
    package: Package
    mesh: Mesh

    @property
    def shared(self) -> bool:
        """Whether they bound the beat."""
        return self.package.nop.shared_links


def costs_of(instance: Instance, t: LatencyTables) -> Costs:
    """Costs of transfers in the instance's own model."""
    if t.placed is not None and instance.network is not None and instance.package is not None:
        return placed_costs(instance.network, instance.package)
    energies = None
    if t.energy is not None:
        e = t.energy
        received = np.zeros_like(e.edge_send_fj)  # part of what sending takes
        energies = Tabulated(
            e.gather_fj, e.within_fj, e.send_fj, e.receive_fj, e.edge_send_fj, received
        )
    times = Tabulated(
        *(t.gather_ps, t.within_ps, t.send_ps, t.receive_ps, t.edge_send_ps, t.edge_receive_ps)
    )
    return Costs(times, energies, None)


def placed_costs(network: Network, package: Package) -> Costs:
    """Costs of transfers between places, whatever model the instance has."""
    mesh = _mesh(package)
    return Costs(
        Placed(network, package, mesh, link_times(package)),
        Placed(network, package, mesh, link_energies(package)),
        Links(network, package, mesh),
    )


@lru_cache(maxsize=8)
def _mesh_of(content: str) -> Mesh:
    return Mesh(Package.from_json(content, "package"))


def _mesh(package: Package) -> Mesh:
    """A mesh that remembers what was counted on it."""
    return _mesh_of(package.to_json())


class EnergyFj(NamedTuple):
    """Energy in femtojoules."""

    mac: int
    sram: int
    nop: int
    dram: int

    def report(self) -> EnergyReport:
        """The same in joules."""
        return EnergyReport(*(fj / 10**15 for fj in (*self, sum(self))))


class Pipeline:
    """A segment on the package, its regions placed one after another from position 0."""

    def __init__(self, instance: Instance, tables: LatencyTables, segment: Segment) -> None:
        self._instance, self._tables = instance, tables
        self.clusters = segment.clusters
        self.first, self.last = segment.first_layer, segment.last_layer
        self.partition: dict[int, int] = {}
        self.cluster: dict[int, int] = {}
        self.regions: list[Region] = []
        for index, cluster in enumerate(self.clusters):
            position = sum(region.size for region in self.regions)
            self.regions.append(Region(position, cluster.chiplets))
            self.cluster |= dict.fromkeys(layers_of(cluster), index)
            indices = map(PARTITIONS.index, cluster.partitions)
            self.partition |= dict(zip(layers_of(cluster), indices, strict=True))
        # Alone on the whole package, a layer's weights pass through in tiles, each of which serves
        # all samples: it needs no room and no refetching.
        self.energy = tables.energy
        self.exempt = self.first == self.last and self.regions[0].size == instance.chiplets
        inside = range(self.first, self.last + 1)
        # Within one cluster the data is in the region's buffers already. A tensor leaves once, for
        # its first reader elsewhere, and enters a cluster once, for its first reader there.
        self.crossing: list[tuple[int, int]] = []
        self.entering: list[tuple[int, int]] = []
        for e, (u, before, v) in enumerate(_edges(tables)):
            at = self.cluster.get(v)
            if at is not None and self.cluster.get(before) != at:
                self.entering.append((e, v))
                if u in inside and self.cluster[before] == self.cluster[u]:
                    self.crossing.append((e, u))

    def region(self, layer: int) -> Region:
        """Where a layer is computed."""
        return self.regions[self.cluster[layer]]

    def room(self, cluster: Cluster) -> int:
        """Bytes left in the weight buffers of the cluster's region; negative if it overflows."""
        return self._tables.weight_buffer_bytes * cluster.chiplets - self.stored(cluster)

    def stored(self, cluster: Cluster) -> int:
        """Bytes of the cluster's weights."""
        return sum(int(self._tables.weight_bytes[layer]) for layer in layers_of(cluster))

    def refetched(self, cluster: Cluster) -> int:
        """Weight bytes fetched for every sample because they do not fit (policy ``stream``)."""
        return max(0, -self.room(cluster)) if self._tables.stream and not self.exempt else 0

    def buffers(self, segment: int) -> Iterator[Violation]:
        """Weights stay on chip, and with them the whole kernel that a WSP layer gathers."""
        tiled = self._tables.stream or self.exempt
        for c, cluster in enumerate(self.clusters):
            room, size = self.room(cluster), cluster.chiplets
            if room < 0 and not tiled:
                stored, per_chiplet = self.stored(cluster), self._tables.weight_buffer_bytes
                message = (
                    f"layers {cluster.first_layer} to {cluster.last_layer} have {stored} bytes of "
                    f"weights, {-room} more than the buffers of {size} chiplets; needs "
                    f"{-(-stored // per_chiplet)} chiplets, fewer layers, or overflow 'stream'"
                )
                yield Violation("capacity", f"segment {segment}, cluster {c}", message)
            room = max(0, room) if tiled else room
            for layer in layers_of(cluster):
                copies = int(self._tables.weight_bytes[layer]) * (size - 1)
                if self.partition[layer] == WSP and copies > room:
                    message = (
                        f"WSP copies the whole kernel to all {size} chiplets, {copies} bytes more "
                        f"in the region, where {max(0, room)} are free; needs ISP, fewer layers "
                        "in the cluster, or a region of another size"
                    )
                    where = place_of(self._instance, segment, c, layer)
                    yield Violation("wsp-copy", where, message)

    def activations(self, segment: int) -> Iterator[Violation]:
        """What a chiplet holds of activations, where that is limited."""
        most = self._tables.activation_buffer_bytes
        for c, cluster in enumerate(self.clusters):
            held = self.held(cluster)
            if most is not None and held is not None and held > most:
                message = (
                    f"each of {cluster.chiplets} chiplets has to hold {held} bytes of activations, "
                    f"its buffer has {most}; needs more chiplets, other partitions or fewer layers "
                    "in the segment, or activation_policy 'stream'"
                )
                yield Violation("activation-memory", f"segment {segment}, cluster {c}", message)

    def held(self, cluster: Cluster) -> int | None:
        """Bytes of activations on each chiplet of a cluster; None where sizes are not known.

        At its fullest layer: the layer's own input and output and what later layers still need,
        and all the while the next sample's input, which arrives already.
        """
        flow, held = self._tables.flow, self._tables.held_bytes
        if flow is None or held is None:
            return None
        first, size = cluster.first_layer, cluster.chiplets
        arriving = _waiting(flow, self.first, self.last, first - 1)
        if first == self.first:
            entering = (flow.edge_from < first) & (flow.edge_to == first)
            arriving = sum(flow.edge_bytes[entering].tolist())
            arriving = flow.input_bytes if first == 0 else arriving
        fullest = max(
            int(held[layer, self.partition[layer], size])
            + _waiting(flow, self.first, self.last, layer, before=True)
            for layer in layers_of(cluster)
        )
        return -(-(fullest + arriving) // size)

    def traffic(self, segment: int) -> Iterator[Violation]:
        """DRAM traffic per beat."""
        most = self._instance.constraints.dram_bytes_per_beat
        if most is not None and self.energy is not None:
            moved = self.dram_bytes(self.energy)
            if moved > most:
                message = f"{moved} bytes for a sample; allowed up to {most}"
                yield Violation("dram-per-beat", f"segment {segment}", message)

    def gather(self, layer: int, nop: Transfers) -> int:
        """Weight gather of a WSP layer; alone in its cluster it keeps the copy (Eq. 4)."""
        cluster = self.clusters[self.cluster[layer]]
        alone = cluster.first_layer == cluster.last_layer
        repeated = self.partition[layer] == WSP and not alone
        return nop.gather(layer, self.region(layer)) if repeated else 0

    def receives(self, layer: int, nop: Transfers) -> int:
        """What the layer takes into its region along edges before it computes."""
        return sum(nop.receive(e, self.region(layer)) for e, v in self.entering if v == layer)

    def sends(self, layer: int, nop: Transfers) -> int:
        """What the layer sends to others of the segment (Eq. 6)."""
        at, ends = self.region(layer), (self.first, self.last)
        total = sum(nop.skip(e, at) for e, u in self.crossing if u == layer)
        if layer == self.last:
            return total
        this, then, to = self.partition[layer], self.partition[layer + 1], self.region(layer + 1)
        if self.cluster[layer] == self.cluster[layer + 1]:
            total += nop.within(layer, this, then, at)
            return total + nop.arriving(layer, this, then, at, ends)
        return total + nop.between(layer, then, at, to, ends)

    def moved(self, links: Links) -> list[tuple[Moved, int, Bytes]]:
        """All transfers of a sample: of what, of which layer, the bytes on every link."""
        found: list[tuple[Moved, int, Bytes]] = []
        what: Moved = "weights"

        def measure(maps: tuple[Bytes, ...]) -> int:
            found.append((what, layer, sum(maps, links.mesh.nothing())))
            return 0

        transfers = Placed(links.network, links.package, links.mesh, measure)
        for layer in self.partition if not self.exempt else ():
            what = "weights"
            self.gather(layer, transfers)
            handed = layer < self.last and self.cluster[layer] != self.cluster[layer + 1]
            what = "hand-over" if handed else "activations"
            self.sends(layer, transfers)
        return found

    def busiest_link(self, links: Links) -> LinkReport | None:
        """Where all transfers of a sample, added up, meet most; None if nothing is moved."""
        moved = self.moved(links)
        total = sum((part for _, _, part in moved), links.mesh.nothing())
        return _link(links, int(total.argmax()), total, moved) if total.any() else None

    def links(self, links: Links) -> tuple[LinkReport, ...]:
        """Every link; none if nothing is moved."""
        moved = self.moved(links)
        total = sum((part for _, _, part in moved), links.mesh.nothing())
        count = len(total) if total.any() else 0
        return tuple(_link(links, index, total, moved) for index in range(count))

    def report(self, costs: Costs) -> SegmentReport:
        """Eq. 2: the slowest cluster, the DRAM traffic, power or a link sets the beat."""
        clusters = tuple(self._cluster(index, costs.times) for index in range(len(self.clusters)))
        times = [cluster.time_ps for cluster in clusters]
        dram_beat_ps = int(self._tables.segment_dram_ps[self.first, self.last])
        load_ps = int(self._tables.load_ps[self.first, self.last])
        power_beat_ps, budget_w = 0, self._instance.constraints.power_budget_w
        if budget_w is not None and self.energy is not None:
            # 1 W is 1000 fJ per ps.
            spent = sum(self.sample_energy(self.energy, costs.energies))
            power_beat_ps = ceil(spent / (1000 * Fraction(str(budget_w))))
        busiest = None if costs.links is None else self.busiest_link(costs.links)
        shared = busiest is not None and costs.links is not None and costs.links.shared
        link_beat_ps = busiest.time_ps if shared and busiest is not None else 0
        beat_ps = max(*times, dram_beat_ps, power_beat_ps, link_beat_ps)
        run_ps = (self._instance.samples + len(clusters) - 1) * beat_ps
        return SegmentReport(
            first_layer=self.first,
            last_layer=self.last,
            beat_ps=beat_ps,
            dram_beat_ps=dram_beat_ps,
            power_beat_ps=power_beat_ps,
            link_beat_ps=link_beat_ps,
            busiest_link=busiest,
            load_ps=load_ps,
            latency_ps=load_ps + run_ps,
            bottleneck=times.index(beat_ps) if beat_ps in times else None,
            chiplets=sum(region.size for region in self.regions),
            utilization=utilization(self._instance, sum(c.load for c in clusters), run_ps),
            clusters=clusters,
        )

    def sample_energy(self, e: EnergyTables, transfers: Transfers | None) -> EnergyFj:
        """MACs, buffers, transfers and DRAM traffic of one sample."""
        assert transfers is not None  # there are energies
        mac = sram = nop = 0
        for layer, partition in self.partition.items():
            mac += int(e.mac_fj[layer])
            sram += int(e.sram_fj[layer, partition, self.region(layer).size])
            nop += self.gather(layer, transfers) + self.sends(layer, transfers)
        return EnergyFj(mac, sram, nop, self.dram_bytes(e) * e.dram_fj_per_byte)

    def dram_bytes(self, e: EnergyTables) -> int:
        """What one sample reads and writes in DRAM."""
        moved = int(e.traffic_bytes[self.first, self.last])
        return moved + sum(self.refetched(cluster) for cluster in self.clusters)

    def _cluster(self, index: int, nop: Transfers) -> ClusterReport:
        """Eq. 3: a sample visits the cluster's layers one after another."""
        tables, cluster, region = self._tables, self.clusters[index], self.regions[index]
        layers = tuple(self._layer(layer, nop) for layer in layers_of(cluster))
        stream_ps, refetched = 0, self.refetched(cluster)
        if refetched:
            transfers = sum(int(tables.weight_bytes[layer]) > 0 for layer in layers_of(cluster))
            femtoseconds = refetched * int(tables.stream_fs_per_byte[region.size])
            stream_ps = transfers * tables.dram_latency_ps + -(-femtoseconds // 1000)
        return ClusterReport(
            first_layer=cluster.first_layer,
            last_layer=cluster.last_layer,
            chiplets=region.size,
            first_position=region.first,
            time_ps=sum(layer.time_ps for layer in layers) + stream_ps,
            stream_ps=stream_ps,
            weight_bytes=self.stored(cluster),
            buffer_bytes=tables.weight_buffer_bytes * region.size,
            load=sum(int(tables.load[layer]) for layer in layers_of(cluster)),
            activation_bytes=self.held(cluster),
            layers=layers,
        )

    def _layer(self, layer: int, nop: Transfers) -> LayerReport:
        """Eq. 7; what crosses the ends of the segment goes through DRAM."""
        tables, partition = self._tables, self.partition[layer]
        preparation_ps = self.gather(layer, nop) + self.receives(layer, nop)
        preparation_ps += int(tables.read_ps[self.first, layer])
        communication_ps = self.sends(layer, nop) + int(tables.write_ps[self.last, layer])
        computation_ps = int(tables.compute_ps[layer, partition, self.region(layer).size])
        parts: dict[Bound, int] = {
            "computation": computation_ps,
            "communication": communication_ps,
            "preparation": preparation_ps,
        }
        return LayerReport(
            index=layer,
            name=self._instance.layer_names[layer],
            partition="WSP" if partition == WSP else "ISP",
            preparation_ps=preparation_ps,
            computation_ps=computation_ps,
            communication_ps=communication_ps,
            time_ps=preparation_ps + max(computation_ps, communication_ps),
            bound_by=max(parts, key=lambda part: parts[part]),
        )


def _link(
    links: Links, index: int, total: Bytes, moved: list[tuple[Moved, int, Bytes]]
) -> LinkReport:
    """One link under all transfers of a sample."""
    link = links.mesh.links[index]
    shares = [LinkShare(what, layer, float(b[index])) for what, layer, b in moved if b[index]]
    return LinkReport(
        source=link.source,
        target=link.target,
        bytes=float(total[index]),
        time_ps=link_times(links.package)((total[index : index + 1],)),
        shares=tuple(sorted(shares, key=lambda share: -share.bytes)),
    )


def _waiting(flow: Flow, first: int, last: int, layer: int, *, before: bool = False) -> int:
    """Bytes of the segment's layers up to ``layer`` that later ones of it need.

    With ``before`` those of earlier layers only, what is added to ``layer``'s output included.
    """
    source, to = flow.edge_from, flow.edge_to
    if before:
        waits = (source < layer) & ((to > layer) | ((to == layer) & ~flow.edge_input))
    else:
        waits = (source <= layer) & (layer < to)
    waits &= (first <= source) & (to <= last)
    wanted: dict[int, int] = {}
    for u, moved in zip(source[waits].tolist(), flow.edge_bytes[waits].tolist(), strict=True):
        wanted[u] = wanted.get(u, 0) + moved
    return sum(min(int(flow.output_bytes[u]), moved) for u, moved in wanted.items())


def utilization(instance: Instance, macs: int, time_ps: int) -> float | None:
    """Share of the package's possible MACs that ``macs`` a sample are."""
    if instance.package is None:
        return None
    chiplet = instance.package.chiplet
    possible = instance.chiplets * chiplet.macs_per_cycle * chiplet.frequency_hz * time_ps / 10**12
    return instance.samples * macs / possible


def _edges(tables: LatencyTables) -> Iterator[tuple[int, int, int]]:
    """Edges of the tables as ``(from, after, to)``."""
    arrays = (tables.edge_from, tables.edge_after, tables.edge_to)
    yield from zip(*(array.tolist() for array in arrays), strict=True)
