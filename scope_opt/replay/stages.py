"""What the stages of a pipeline do for each sample, read off the latency tables.

This is the replay's own reading of docs/model.md. It shares no code with the evaluator, so that
the two can check each other.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.model.mesh import links
from scope_opt.model.tables import ceil_int
from scope_opt.replay.transfers import Layout, moves

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import EnergyTables, LatencyTables
    from scope_opt.replay.transfers import Moves, Part, Transfer
    from scope_opt.schedule.schedule import Cluster, Schedule, Segment


class LayerWork(NamedTuple):
    """One layer, one sample, in ps: preparation, then computation while results are sent away.

    Preparation and communication begin with transfers between chiplets; the rest is DRAM.
    """

    layer: int
    preparation_ps: int
    computation_ps: int
    communication_ps: int
    gathered: tuple[Transfer, ...] = ()
    """Transfers of the preparation."""
    sent: tuple[Transfer, ...] = ()
    """Transfers of the communication."""


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
        """Time for one sample, with every mesh link to itself."""
        return self.refetch_ps + sum(
            layer.preparation_ps + max(layer.computation_ps, layer.communication_ps)
            for layer in self.layers
        )

    @property
    def transfers(self) -> Iterator[Transfer]:
        """All transfers of a sample."""
        for layer in self.layers:
            yield from (*layer.gathered, *layer.sent)


class Channel(NamedTuple):
    """Data that passes from one stage to a later one, stages by index."""

    source: int
    target: int


class MeshLink(NamedTuple):
    """The busiest directed link of the mesh, by ``(row, column)`` of the chiplets it joins."""

    source: tuple[int, int]
    target: tuple[int, int]


class Pipeline(NamedTuple):
    """A segment: weights are loaded once, then samples pass through the stages."""

    load_ps: int
    dram_ps: int
    """Time in which the shared DRAM serves one sample."""
    power_ps: int
    """Time in which one sample draws no more than the power budget; 0 without one."""
    stages: tuple[Stage, ...]
    channels: tuple[Channel, ...]
    """From each stage to the next, and skip edges between clusters; sorted, each once."""
    link_ps: int = 0
    """Time in which the busiest link carries one sample; 0 where links are not shared."""
    busiest_link: MeshLink | None = None
    """None where links are not shared or carry nothing."""

    @property
    def beat_ps(self) -> int:
        """Time after which all samples move on by a stage."""
        times = [stage.sample_ps for stage in self.stages]
        return max(*times, self.dram_ps, self.power_ps, self.link_ps)

    @property
    def parts(self) -> Iterator[Part]:
        """All that is moved for a sample, where regions have places."""
        for stage in self.stages:
            for transfer in stage.transfers:
                yield from transfer.parts


def pipelines(instance: Instance, schedule: Schedule, tables: LatencyTables) -> list[Pipeline]:
    """Work of every segment of a valid schedule, in order."""
    package = instance.package
    every = moves(tables, 0.0 if package is None else package.nop.energy_pj_per_bit)
    return [_Reading(instance, tables, segment, every).pipeline() for segment in schedule.segments]


class _Reading:
    """One segment's work."""

    def __init__(
        self, instance: Instance, tables: LatencyTables, segment: Segment, moves: Moves
    ) -> None:
        self._tables, self._clusters, self._moves = tables, segment.clusters, moves
        self._budget_w = instance.constraints.power_budget_w
        self._at = Layout(segment)
        self._first, self._last = segment.first_layer, segment.last_layer
        only = self._first == self._last
        self._tiled = only and segment.clusters[0].chiplets == instance.chiplets
        """A layer alone on the package: its weights pass through once, for all samples."""

    def pipeline(self) -> Pipeline:
        """The segment's work."""
        ends = self._first, self._last
        stages = tuple(map(self._stage_work, self._clusters))
        link_ps, busiest_link = self._busiest_link(stages)
        return Pipeline(
            load_ps=int(self._tables.load_ps[ends]),
            dram_ps=int(self._tables.segment_dram_ps[ends]),
            power_ps=self._power_ps(stages),
            stages=stages,
            channels=self._channels(),
            link_ps=link_ps,
            busiest_link=busiest_link,
        )

    def _channels(self) -> tuple[Channel, ...]:
        """In the placed model everything travels from stage to stage: it has no skip edges."""
        found = {Channel(stage, stage + 1) for stage in range(len(self._clusters) - 1)}
        edges = zip(self._tables.edge_from.tolist(), self._tables.edge_to.tolist(), strict=True)
        for source, target in edges:
            if self._first <= source and target <= self._last:
                found.add(Channel(self._at.stage[source], self._at.stage[target]))
        return tuple(sorted(channel for channel in found if channel.source != channel.target))

    def _busiest_link(self, stages: tuple[Stage, ...]) -> tuple[int, MeshLink | None]:
        """The link that all transfers of a sample together load most, and how long."""
        loads = [
            transfer.links_ps
            for stage in stages
            for transfer in stage.transfers
            if transfer.links_ps is not None
        ]
        placed = self._tables.placed
        if placed is None or not loads:
            return 0, None
        total = np.sum(loads, axis=0)
        busiest = int(total.argmax())
        return int(ceil_int(total[busiest])), MeshLink(*links(*placed.mesh)[busiest])

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
        t, at = self._tables, self._at
        gathered, sent = self._moves.preparing(at, layer), self._moves.sending(at, layer)
        read_ps, write_ps = int(t.read_ps[self._first, layer]), int(t.write_ps[self._last, layer])
        return LayerWork(
            layer,
            sum(transfer.time_ps for transfer in gathered) + read_ps,
            int(t.compute_ps[layer, at.partition[layer], at.region(layer).size]),
            sum(transfer.time_ps for transfer in sent) + write_ps,
            tuple(gathered),
            tuple(sent),
        )

    def _power_ps(self, stages: tuple[Stage, ...]) -> int:
        energy = self._tables.energy
        if self._budget_w is None or energy is None:
            return 0
        budget_fj_per_ps = 1000 * Fraction(str(self._budget_w))  # 1 W is 1 J/s, 1000 fJ/ps
        return -int(-self._sample_fj(energy, stages) // budget_fj_per_ps)

    def _sample_fj(self, e: EnergyTables, stages: tuple[Stage, ...]) -> int:
        """Energy that one sample takes in this segment."""
        total = sum(transfer.energy_fj for stage in stages for transfer in stage.transfers)
        for layer, partition in self._at.partition.items():
            size = self._at.region(layer).size
            total += int(e.mac_fj[layer]) + int(e.sram_fj[layer, partition, size])
        moved = int(e.traffic_bytes[self._first, self._last])
        moved += sum(self._excess(cluster) for cluster in self._clusters)
        return total + moved * e.dram_fj_per_byte

    def _excess(self, cluster: Cluster) -> int:
        """Weight bytes fetched again for every sample."""
        if self._tiled:
            return 0
        stored = self._tables.weight_bytes[cluster.first_layer : cluster.last_layer + 1].sum()
        return max(0, int(stored) - self._tables.weight_buffer_bytes * cluster.chiplets)
