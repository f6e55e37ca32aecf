"""What the stages of a pipeline do for each sample, read off the latency tables.

This is the replay's own reading of docs/model.md (sections 3 to 8 and 10). It shares no code with
the evaluator, so that the two can check each other.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from scope_opt.model.tables import PARTITIONS, WSP

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import EnergyTables, LatencyTables
    from scope_opt.schedule.schedule import Cluster, Schedule, Segment


class LayerWork(NamedTuple):
    """One layer, one sample, in ps: preparation, then computation while results are sent away."""

    layer: int
    preparation_ps: int
    computation_ps: int
    communication_ps: int


class Stage(NamedTuple):
    """A cluster as a stage of its segment's pipeline."""

    first_layer: int
    last_layer: int
    chiplets: int
    refetch_ps: int
    """Fetching again, for every sample, the weights that do not fit."""
    layers: tuple[LayerWork, ...]

    @property
    def sample_ps(self) -> int:
        """Time for one sample."""
        return self.refetch_ps + sum(
            layer.preparation_ps + max(layer.computation_ps, layer.communication_ps)
            for layer in self.layers
        )


class Link(NamedTuple):
    """Data that passes from one stage to a later one, stages by index."""

    source: int
    target: int


class Pipeline(NamedTuple):
    """A segment: weights are loaded once, then samples pass through the stages."""

    load_ps: int
    dram_ps: int
    """Time in which the shared DRAM serves one sample."""
    power_ps: int
    """Time in which one sample draws no more than the power budget; 0 without one."""
    stages: tuple[Stage, ...]
    links: tuple[Link, ...]
    """From each stage to the next, and skip edges between clusters; sorted, each once."""


def pipelines(instance: Instance, schedule: Schedule, tables: LatencyTables) -> list[Pipeline]:
    """Work of every segment of a valid schedule, in order."""
    return [_Reading(instance, tables, segment).pipeline() for segment in schedule.segments]


class _Moves(NamedTuple):
    """Tables of what moving data takes, all in ps or all in fJ; axes as in `LatencyTables`."""

    gather: NDArray[np.int64]
    within: NDArray[np.int64]
    send: NDArray[np.int64]
    receive: NDArray[np.int64]
    skip: NDArray[np.int64]


class _Reading:
    """One segment's entries of the tables."""

    def __init__(self, instance: Instance, tables: LatencyTables, segment: Segment) -> None:
        self._tables, self._clusters = tables, segment.clusters
        self._budget_w = instance.constraints.power_budget_w
        self._first, self._last = segment.first_layer, segment.last_layer
        self._stage: list[int] = []
        """Stage of each layer of the segment, counted from its first layer."""
        self._partition: list[int] = []
        for index, cluster in enumerate(segment.clusters):
            self._stage += [index] * len(cluster.partitions)
            self._partition += map(PARTITIONS.index, cluster.partitions)
        only = self._first == self._last
        self._tiled = only and segment.clusters[0].chiplets == instance.chiplets
        """A layer alone on the package: its weights pass through once, for all samples."""
        edges = zip(tables.edge_from.tolist(), tables.edge_to.tolist(), strict=True)
        self._edges: list[tuple[int, int, int]] = [
            (edge, source, target) for edge, (source, target) in enumerate(edges)
        ]

    def pipeline(self) -> Pipeline:
        """The segment's work."""
        ends = self._first, self._last
        return Pipeline(
            load_ps=int(self._tables.load_ps[ends]),
            dram_ps=int(self._tables.segment_dram_ps[ends]),
            power_ps=self._power_ps(),
            stages=tuple(map(self._stage_work, self._clusters)),
            links=self._links(),
        )

    def _links(self) -> tuple[Link, ...]:
        found = {Link(stage, stage + 1) for stage in range(len(self._clusters) - 1)}
        for _, source, target in self._edges:
            if self._inside(source) and self._inside(target):
                found.add(Link(self._stage_of(source), self._stage_of(target)))
        return tuple(sorted(link for link in found if link.source != link.target))

    def _stage_work(self, cluster: Cluster) -> Stage:
        layers = range(cluster.first_layer, cluster.last_layer + 1)
        excess, refetch_ps = self._excess(cluster), 0
        if excess:
            fetches = sum(1 for layer in layers if self._tables.weight_bytes[layer])
            rate_fs = int(self._tables.stream_fs_per_byte[cluster.chiplets])
            refetch_ps = fetches * self._tables.dram_latency_ps + -(-excess * rate_fs // 1000)
        return Stage(
            cluster.first_layer,
            cluster.last_layer,
            cluster.chiplets,
            refetch_ps,
            tuple(map(self._layer_work, layers)),
        )

    def _layer_work(self, layer: int) -> LayerWork:
        t = self._tables
        moves = _Moves(t.gather_ps, t.within_ps, t.send_ps, t.receive_ps, t.edge_send_ps)
        preparation = self._gathering(moves, layer)
        communication = self._sending(moves, layer)
        if layer == self._first:
            preparation += int(t.input_ps[layer])
        if layer == self._last:
            communication += int(t.output_ps[layer])
        for edge, source, target in self._edges:
            if target == layer and source < self._first:
                preparation += int(t.edge_read_ps[edge])
            if source == layer and target > self._last:
                communication += int(t.edge_write_ps[edge])
        partition, chiplets = self._partition[layer - self._first], self._chiplets(layer)
        computation = int(t.compute_ps[layer, partition, chiplets])
        return LayerWork(layer, preparation, computation, communication)

    def _gathering(self, moves: _Moves, layer: int) -> int:
        """The whole kernel of a WSP layer, again for every sample unless the layer is alone."""
        cluster = self._clusters[self._stage_of(layer)]
        shared = cluster.first_layer < cluster.last_layer
        wsp = self._partition[layer - self._first] == WSP
        return int(moves.gather[layer, cluster.chiplets]) if wsp and shared else 0

    def _sending(self, moves: _Moves, layer: int) -> int:
        """To the next layer and along skip edges, inside the segment."""
        chiplets, total = self._chiplets(layer), 0
        if layer < self._last:
            position = layer - self._first
            this, then = self._partition[position : position + 2]
            if self._stage_of(layer + 1) == self._stage_of(layer):
                total += int(moves.within[layer, this, then, chiplets])
            else:
                total += int(moves.send[layer, chiplets])
                total += int(moves.receive[layer, then, self._chiplets(layer + 1)])
        for edge, source, target in self._edges:
            leaves = source == layer and self._inside(target)
            if leaves and self._stage_of(target) != self._stage_of(layer):
                total += int(moves.skip[edge, chiplets])
        return total

    def _power_ps(self) -> int:
        energy = self._tables.energy
        if self._budget_w is None or energy is None:
            return 0
        budget_fj_per_ps = 1000 * Fraction(str(self._budget_w))  # 1 W is 1 J/s, 1000 fJ/ps
        return -int(-self._sample_fj(energy) // budget_fj_per_ps)

    def _sample_fj(self, e: EnergyTables) -> int:
        """Energy that one sample takes in this segment."""
        moves = _Moves(e.gather_fj, e.within_fj, e.send_fj, e.receive_fj, e.edge_send_fj)
        total = 0
        for layer in range(self._first, self._last + 1):
            partition = self._partition[layer - self._first]
            total += int(e.mac_fj[layer]) + int(e.sram_fj[layer, partition, self._chiplets(layer)])
            total += self._gathering(moves, layer) + self._sending(moves, layer)
        moved = int(e.input_bytes[self._first]) + int(e.output_bytes[self._last])
        moved += sum(self._excess(cluster) for cluster in self._clusters)
        for edge, source, target in self._edges:
            if self._inside(source) != self._inside(target):
                moved += int(e.edge_bytes[edge])
        return total + moved * e.dram_fj_per_byte

    def _excess(self, cluster: Cluster) -> int:
        """Weight bytes fetched again for every sample."""
        if self._tiled:
            return 0
        stored = self._tables.weight_bytes[cluster.first_layer : cluster.last_layer + 1].sum()
        return max(0, int(stored) - self._tables.weight_buffer_bytes * cluster.chiplets)

    def _inside(self, layer: int) -> bool:
        return self._first <= layer <= self._last

    def _stage_of(self, layer: int) -> int:
        return self._stage[layer - self._first]

    def _chiplets(self, layer: int) -> int:
        return self._clusters[self._stage_of(layer)].chiplets
