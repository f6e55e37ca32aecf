"""The independent evaluator: is a schedule valid, how long does it take, and why.

It reads like the problem statement (docs/model.md) and shares no code with any solver. Equation and
table numbers are those of the Scope paper (arXiv 2602.14393). Times and energies are plain Python
integers (ps, fJ) up to the conversion to seconds and joules at the very end.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import lru_cache
from math import ceil
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from weakref import WeakKeyDictionary

from scope_opt.model.cost import build_tables, dram_traffic
from scope_opt.model.package import Package
from scope_opt.model.tables import PARTITIONS, WSP
from scope_opt.schedule.links import Link, Mesh, Region
from scope_opt.schedule.rules import Violation, fixed_starts, layers_of, place_of, shape, structure
from scope_opt.schedule.transfers import Placed, Tabulated, Transfers, link_energies, link_times

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scope_opt.model.instance import Instance
    from scope_opt.model.network import Network
    from scope_opt.model.tables import EnergyTables, Flow, LatencyTables, Partition
    from scope_opt.schedule.links import Bytes
    from scope_opt.schedule.schedule import Cluster, Schedule, Segment

Bound = Literal["computation", "communication", "preparation"]
Moved = Literal["weights", "activations", "hand-over"]


@dataclass(frozen=True)
class LayerReport:
    """Time of one layer per sample (Eq. 7): preparation + max(computation, communication)."""

    index: int
    name: str
    partition: Partition
    preparation_ps: int
    computation_ps: int
    communication_ps: int
    time_ps: int
    bound_by: Bound
    """The largest of the three."""


@dataclass(frozen=True)
class ClusterReport:
    """A cluster of layers on its region; times per sample (Eq. 3)."""

    first_layer: int
    last_layer: int
    chiplets: int
    first_position: int
    """Position in the package's order that its region starts at; a segment's regions follow one
    another from 0 on."""
    time_ps: int
    """All layers, and ``stream_ps``."""
    stream_ps: int
    """Fetching again the weights that do not fit."""
    weight_bytes: int
    buffer_bytes: int
    """Weight buffers of the region."""
    load: int
    """MACs; for explicit tables the picoseconds its layers take on one chiplet."""
    activation_bytes: int | None
    """Activations that each of its chiplets has to hold; None for explicit tables."""
    layers: tuple[LayerReport, ...]


@dataclass(frozen=True)
class LinkShare:
    """What one transfer puts on a link in a beat."""

    what: Moved
    layer: int
    bytes: float


@dataclass(frozen=True)
class LinkReport:
    """A link of the mesh and what a segment puts on it."""

    source: tuple[int, int]
    """Row and column of the chiplet that it leads away from."""
    target: tuple[int, int]
    bytes: float
    """What it carries for one sample."""
    time_ps: int
    """How long it takes for that, beat after beat."""
    shares: tuple[LinkShare, ...]
    """By whom it is loaded, most first."""

    def __str__(self) -> str:
        return str(Link(self.source, self.target))


@dataclass(frozen=True)
class SegmentReport:
    """Clusters running as a pipeline (Eq. 2): ``load + (samples + clusters - 1) * beat``."""

    first_layer: int
    last_layer: int
    beat_ps: int
    dram_beat_ps: int
    """Least beat that the segment's DRAM traffic allows."""
    power_beat_ps: int
    """Least beat that the power budget allows; 0 without one."""
    link_beat_ps: int
    """Least beat in which every link carries its share; 0 where links are not shared."""
    busiest_link: LinkReport | None
    """None in the regressed model, and where no link carries anything."""
    load_ps: int
    """Weight loading, once per batch."""
    latency_ps: int
    bottleneck: int | None
    """Index of the slowest cluster; None when DRAM traffic, power or a link bounds the beat."""
    chiplets: int
    """Chiplets in use."""
    utilization: float | None
    """As in `Evaluation`, weight loading left out."""
    clusters: tuple[ClusterReport, ...]

    @property
    def cause(self) -> str:
        """What sets the beat; of several, a cluster, DRAM traffic, power, a link, in this order."""
        if self.bottleneck is not None:
            return f"cluster {self.bottleneck}"
        if self.dram_beat_ps == self.beat_ps:
            return "DRAM traffic"
        if self.power_beat_ps == self.beat_ps or self.busiest_link is None:
            return "power budget"
        return f"link {self.busiest_link}"


@dataclass(frozen=True)
class EnergyReport:
    """Energy of all samples in joules; weight loading counts as DRAM."""

    mac_j: float
    sram_j: float
    nop_j: float
    dram_j: float
    total_j: float


@dataclass(frozen=True)
class Evaluation:
    """What the evaluator says about a schedule.

    With violations every number is None, but ``segments`` still breaks the times down as if the
    schedule were allowed. Only where its structure is broken (layer coverage, empty clusters,
    region sizes, partition counts) nothing further is checked and ``segments`` is empty. Explicit
    tables have no energy, utilization or placed latency.
    """

    violations: tuple[Violation, ...]
    objective_ps: int | None = None
    """Latency of all samples, weight loading included (Eq. 1)."""
    latency_s: float | None = None
    throughput_per_s: float | None = None
    """Samples per second; None too where explicit tables make the latency 0."""
    utilization: float | None = None
    """Useful MACs over those that all MAC units of the package could do in the same time."""
    energy: EnergyReport | None = None
    energy_fj: int | None = None
    """Energy of all samples in femtojoules, exact."""
    placed_latency_ps: int | None = None
    """Latency in the placed model: what transfers take where the regions lie, links shared.

    None where that is the objective.
    """
    segments: tuple[SegmentReport, ...] = ()

    @property
    def feasible(self) -> bool:
        """Whether the schedule breaks no rule."""
        return not self.violations

    def to_json_dict(self) -> dict[str, Any]:
        """Plain data for `json.dumps`; None where a number does not exist."""

        def plain(items: list[tuple[str, Any]]) -> dict[str, Any]:
            return {key: list(v) if isinstance(v, tuple) else v for key, v in items}

        violations = [violation._asdict() for violation in self.violations]
        data = asdict(self, dict_factory=plain)
        return {"feasible": self.feasible, **data, "violations": violations}


def evaluate(
    instance: Instance, schedule: Schedule, tables: LatencyTables | None = None
) -> Evaluation:
    """Check a schedule against every rule and break down its latency and energy.

    Parameters
    ----------
    instance : Instance
        The problem. Whether the schedule was made for it (its digest) is the caller's to check.
    schedule : Schedule
        Nothing is assumed about it.
    tables : LatencyTables, optional
        The instance's tables where they are at hand; built otherwise.

    Raises
    ------
    InputError
        If a time or an energy of the instance overflows int64.
    """
    layers = len(instance.layer_names)
    violations = tuple(structure(schedule.segments, (0, layers - 1), instance.chiplets))
    if violations:
        return Evaluation(violations)
    t = build_tables(instance) if tables is None else tables
    pipelines = [_Pipeline(instance, t, segment) for segment in schedule.segments]
    costs = _costs(instance, t)
    segments = tuple(pipeline.report(costs) for pipeline in pipelines)
    energy = _energy(t, pipelines, costs)
    objective_ps = sum(segment.latency_ps for segment in segments)
    violations = (
        *(
            found
            for s, segment in enumerate(schedule.segments)
            for found in _own(instance, s, segment, pipelines[s])
        ),
        *fixed_starts(instance, schedule.segments),
        *_totals(instance, objective_ps, energy),
    )
    if violations:
        return Evaluation(violations, segments=segments)
    latency_s = objective_ps / 10**12
    placed_ps = None if t.placed is not None else _placed_ps(instance, t, schedule)
    return Evaluation(
        violations=(),
        objective_ps=objective_ps,
        latency_s=latency_s,
        throughput_per_s=instance.samples / latency_s if objective_ps else None,
        utilization=_utilization(instance, sum(map(int, t.load)), objective_ps),
        energy=energy.report() if energy is not None else None,
        energy_fj=sum(energy) if energy is not None else None,
        placed_latency_ps=placed_ps,
        segments=segments,
    )


def evaluate_structure(schedule: Schedule) -> Evaluation:
    """What can be said about a schedule whose instance is not at hand: whether it is one at all."""
    last_layer = schedule.segments[-1].last_layer
    return Evaluation(tuple(structure(schedule.segments, (0, last_layer), None)))


def evaluate_segment(
    instance: Instance, segment: Segment, tables: LatencyTables
) -> SegmentReport | None:
    """The same for one segment, whatever the others are; None if it breaks a rule of its own."""
    ends = (segment.first_layer, segment.last_layer)
    if any(structure((segment,), ends, instance.chiplets)):
        return None
    pipeline = _Pipeline(instance, tables, segment)
    broken = any(_own(instance, 0, segment, pipeline))
    return None if broken else pipeline.report(_costs(instance, tables))


def link_loads(
    instance: Instance, schedule: Schedule, tables: LatencyTables | None = None
) -> tuple[tuple[LinkReport, ...], ...]:
    """What every segment puts on every link of the mesh, idle links included.

    Parameters
    ----------
    instance, schedule : Instance, Schedule
        The schedule has segments that `evaluate` reports on.
    tables : LatencyTables, optional
        The instance's tables where they are at hand; built otherwise.

    Returns
    -------
    tuple of tuple of LinkReport
        For each segment its links, in the order of `scope_opt.model.mesh.links`; nothing for a
        segment that moves nothing over links, and in the regressed model.
    """
    t = build_tables(instance) if tables is None else tables
    links = _costs(instance, t).links
    if links is None:
        return tuple(() for _ in schedule.segments)
    return tuple(_Pipeline(instance, t, segment).links(links) for segment in schedule.segments)


class _Costs(NamedTuple):
    """What transfers cost, and what they put on links."""

    times: Transfers
    energies: Transfers | None
    links: _Links | None


class _Links(NamedTuple):
    """Transfers of a placed instance as maps of bytes per link."""

    network: Network
    package: Package
    mesh: Mesh

    @property
    def shared(self) -> bool:
        """Whether they bound the beat."""
        return self.package.nop.shared_links


def _costs(instance: Instance, t: LatencyTables) -> _Costs:
    if t.placed is not None and instance.network is not None and instance.package is not None:
        return _placed_costs(instance.network, instance.package)
    energies = None
    if t.energy is not None:
        e = t.energy
        energies = Tabulated(e.gather_fj, e.within_fj, e.send_fj, e.receive_fj, e.edge_send_fj)
    times = Tabulated(t.gather_ps, t.within_ps, t.send_ps, t.receive_ps, t.edge_send_ps)
    return _Costs(times, energies, None)


def _placed_costs(network: Network, package: Package) -> _Costs:
    mesh = _mesh(package)
    return _Costs(
        Placed(network, package, mesh, link_times(package)),
        Placed(network, package, mesh, link_energies(package)),
        _Links(network, package, mesh),
    )


@lru_cache(maxsize=8)
def _mesh_of(content: str) -> Mesh:
    return Mesh(Package.from_json(content, "package"))


def _mesh(package: Package) -> Mesh:
    """A mesh that remembers what was counted on it."""
    return _mesh_of(package.to_json())


_AS_PLACED: WeakKeyDictionary[LatencyTables, LatencyTables] = WeakKeyDictionary()
"""Tables of the regressed model with the DRAM traffic of the placed one."""


def _placed_ps(instance: Instance, t: LatencyTables, schedule: Schedule) -> int | None:
    """What a schedule of the regressed model takes in the placed one; all else is the same."""
    network, package = instance.network, instance.package
    if network is None or package is None:
        return None
    tables = _AS_PLACED.get(t)
    if tables is None:
        traffic = dram_traffic(network, package.dram, once=True)
        tables = _AS_PLACED[t] = replace(
            t,
            read_ps=traffic.read_ps,
            write_ps=traffic.write_ps,
            segment_dram_ps=traffic.segment_ps,
            energy=None if t.energy is None else replace(t.energy, traffic_bytes=traffic.bytes),
        )
    costs = _placed_costs(network, package)
    pipelines = (_Pipeline(instance, tables, segment) for segment in schedule.segments)
    return sum(pipeline.report(costs).latency_ps for pipeline in pipelines)


def _utilization(instance: Instance, macs: int, time_ps: int) -> float | None:
    if instance.package is None:
        return None
    chiplet = instance.package.chiplet
    possible = instance.chiplets * chiplet.macs_per_cycle * chiplet.frequency_hz * time_ps / 10**12
    return instance.samples * macs / possible


def _edges(tables: LatencyTables) -> list[tuple[int, int]]:
    """Skip edges as ``(from, to)``."""
    return [(int(u), int(v)) for u, v in zip(tables.edge_from, tables.edge_to, strict=True)]


# --- Rules ---------------------------------------------------------------------------------------


def _own(instance: Instance, s: int, segment: Segment, pipeline: _Pipeline) -> Iterator[Violation]:
    """Rules that a segment keeps or breaks by itself."""
    yield from pipeline.buffers(s)
    yield from pipeline.activations(s)
    yield from shape(instance, s, segment)
    yield from pipeline.traffic(s)


def _totals(instance: Instance, latency_ps: int, energy: _EnergyFj | None) -> Iterator[Violation]:
    """Limits on energy and latency; decimal numbers count as they are written."""
    wanted = instance.constraints
    budget_j, bound_s = wanted.energy_budget_j, wanted.latency_bound_s
    if budget_j and energy and sum(energy) > Fraction(str(budget_j)) * 10**15:
        message = f"{sum(energy) / 10**15} J; allowed up to {budget_j} J"
        yield Violation("energy-budget", "schedule", message)
    if bound_s and latency_ps > Fraction(str(bound_s)) * 10**12:
        message = f"{latency_ps / 10**12} s; allowed up to {bound_s} s"
        yield Violation("latency-bound", "schedule", message)


# --- A segment -----------------------------------------------------------------------------------


class _EnergyFj(NamedTuple):
    """Energy in femtojoules."""

    mac: int
    sram: int
    nop: int
    dram: int

    def report(self) -> EnergyReport:
        return EnergyReport(*(fj / 10**15 for fj in (*self, sum(self))))


class _Pipeline:
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
        edges = list(enumerate(_edges(tables)))
        inside = range(self.first, self.last + 1)
        # Within one cluster the data is in the region's buffers already.
        self.crossing = [
            (e, u, v)
            for e, (u, v) in edges
            if u in inside and v in inside and self.cluster[u] != self.cluster[v]
        ]

    def region(self, layer: int) -> Region:
        return self.regions[self.cluster[layer]]

    def room(self, cluster: Cluster) -> int:
        """Bytes left in the weight buffers of the cluster's region; negative if it overflows."""
        return self._tables.weight_buffer_bytes * cluster.chiplets - self.stored(cluster)

    def stored(self, cluster: Cluster) -> int:
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
            arriving = sum(moved for u, v, moved, _ in _flows(flow) if u < first and v == first)
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

    def sends(self, layer: int, nop: Transfers) -> int:
        """What the layer sends to others of the segment (Eq. 6)."""
        at, ends = self.region(layer), (self.first, self.last)
        total = sum(nop.skip(e, at) for e, u, _ in self.crossing if u == layer)
        if layer == self.last:
            return total
        this, then, to = self.partition[layer], self.partition[layer + 1], self.region(layer + 1)
        if self.cluster[layer] == self.cluster[layer + 1]:
            total += nop.within(layer, this, then, at)
            return total + nop.arriving(layer, this, then, at, ends)
        return total + nop.between(layer, then, at, to, ends)

    def moved(self, links: _Links) -> list[tuple[Moved, int, Bytes]]:
        """All transfers of a sample: of what, of which layer, the bytes on every link."""
        found: list[tuple[Moved, int, Bytes]] = []

        def collect(what: Moved, layer: int) -> Transfers:
            def measure(maps: tuple[Bytes, ...]) -> int:
                found.append((what, layer, sum(maps, links.mesh.nothing())))
                return 0

            return Placed(links.network, links.package, links.mesh, measure)

        for layer in self.partition if not self.exempt else ():
            self.gather(layer, collect("weights", layer))
            handed = layer < self.last and self.cluster[layer] != self.cluster[layer + 1]
            self.sends(layer, collect("hand-over" if handed else "activations", layer))
        return found

    def busiest_link(self, links: _Links) -> LinkReport | None:
        """Where all transfers of a sample, added up, meet most; None if nothing is moved."""
        moved = self.moved(links)
        total = sum((part for _, _, part in moved), links.mesh.nothing())
        return _link(links, int(total.argmax()), total, moved) if total.any() else None

    def links(self, links: _Links) -> tuple[LinkReport, ...]:
        """Every link; none if nothing is moved."""
        moved = self.moved(links)
        total = sum((part for _, _, part in moved), links.mesh.nothing())
        count = len(total) if total.any() else 0
        return tuple(_link(links, index, total, moved) for index in range(count))

    def report(self, costs: _Costs) -> SegmentReport:
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
            utilization=_utilization(self._instance, sum(c.load for c in clusters), run_ps),
            clusters=clusters,
        )

    def sample_energy(self, e: EnergyTables, transfers: Transfers | None) -> _EnergyFj:
        """MACs, buffers, transfers and DRAM traffic of one sample."""
        assert transfers is not None  # there are energies
        mac = sram = nop = 0
        for layer, partition in self.partition.items():
            mac += int(e.mac_fj[layer])
            sram += int(e.sram_fj[layer, partition, self.region(layer).size])
            nop += self.gather(layer, transfers) + self.sends(layer, transfers)
        return _EnergyFj(mac, sram, nop, self.dram_bytes(e) * e.dram_fj_per_byte)

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
        preparation_ps = self.gather(layer, nop)
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
    links: _Links, index: int, total: Bytes, moved: list[tuple[Moved, int, Bytes]]
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


def _flows(flow: Flow) -> Iterator[tuple[int, int, int, bool]]:
    """Edges as source, target, bytes and whether they are input."""
    arrays = (flow.edge_from, flow.edge_to, flow.edge_bytes, flow.edge_input)
    yield from zip(*(array.tolist() for array in arrays), strict=True)


def _waiting(flow: Flow, first: int, last: int, layer: int, *, before: bool = False) -> int:
    """Bytes of the segment's layers up to ``layer`` that later ones of it need.

    With ``before`` those of earlier layers only, what is added to ``layer``'s output included.
    """
    wanted: dict[int, int] = {}
    for u, v, moved, is_input in _flows(flow):
        inside = first <= u and v <= last
        later = (
            (u < layer and (v > layer or (v == layer and not is_input)))
            if before
            else (u <= layer < v)
        )
        if inside and later:
            wanted[u] = wanted.get(u, 0) + moved
    return sum(min(int(flow.output_bytes[u]), moved) for u, moved in wanted.items())


def _energy(tables: LatencyTables, pipelines: list[_Pipeline], costs: _Costs) -> _EnergyFj | None:
    """Of all samples; weights are fetched once per batch."""
    if tables.energy is None:
        return None
    weights_fj = sum(map(int, tables.weight_bytes)) * tables.energy.dram_fj_per_byte
    parts = [pipeline.sample_energy(tables.energy, costs.energies) for pipeline in pipelines]
    mac, sram, nop, dram = (tables.samples * sum(part) for part in zip(*parts, strict=True))
    return _EnergyFj(mac, sram, nop, dram + weights_fj)
