"""Times and energies of single layers in every state, for the compact constraint program."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from formulations.space import worst_energy_fj
from scope_opt.model.tables import LIMIT, WSP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from formulations.space import Space
    from scope_opt.model.tables import LatencyTables


class State(NamedTuple):
    """What a layer does in one state."""

    size: int
    partition: int
    then: int
    """Partition of the next layer; 0 for the last one of a segment."""
    starts: int
    """Whether it opens a cluster."""
    ends: int
    """Whether the next layer does, or there is none."""
    computing_ps: int
    """Preparation and computation."""
    sending_ps: int
    """Preparation and what it sends, skip edges inside the segment and receiving left out."""
    energy_fj: int
    """Of those, and of the layer's part in the DRAM traffic."""


class LayerStates:
    """States of the layers of an instance.

    Parameters
    ----------
    tables : LatencyTables
    space : Space
        What schedules may look like.
    """

    def __init__(self, tables: LatencyTables, space: Space) -> None:
        self._tables, self._space = tables, space
        self._energy = tables.energy if space.energy_matters else None
        self.edges = list(
            enumerate(zip(tables.edge_from.tolist(), tables.edge_to.tolist(), strict=True))
        )
        self.largest_fj = (
            0 if self._energy is None else worst_energy_fj(tables, 0, tables.layers - 1)
        )
        """Bound on the energy of a sample."""
        self.largest_beat_ps = self._largest_beat_ps()
        """Bound on every beat."""

    def states(self, layer: int, first: int, last: int) -> Iterator[State]:
        """Every state of a layer of segment ``first..last``; alone, those that weights allow."""
        t, alone = self._tables, first == last
        reads, writes = self._ends_ps(layer, first, last)
        moved_fj = self._dram_fj(layer, first, last)
        choices = product(
            self._space.sizes,
            self._space.partitions[layer],
            (0, 1) if layer < last else (0,),
            (0, 1) if layer > first else (1,),
            (0, 1) if layer < last else (1,),
        )
        for size, partition, then, starts, ends in choices:
            refetching = self._refetching(layer, partition, size) if alone else (0, 0)
            if refetching is None:
                continue
            gathers = partition == WSP and not (starts and ends)
            head = reads + refetching[0] + int(t.gather_ps[layer, size]) * gathers
            send = writes
            if layer < last:
                within = int(t.within_ps[layer, partition, then, size])
                send += int(t.send_ps[layer, size]) if ends else within
            fj, e = 0, self._energy
            if e is not None:
                fj = moved_fj + refetching[1] * e.dram_fj_per_byte
                fj += int(e.mac_fj[layer] + e.sram_fj[layer, partition, size])
                fj += int(e.gather_fj[layer, size]) * gathers
                if layer < last:
                    within = int(e.within_fj[layer, partition, then, size])
                    fj += int(e.send_fj[layer, size]) if ends else within
            computing = head + int(t.compute_ps[layer, partition, size])
            yield State(size, partition, then, starts, ends, computing, head + send, fj)

    def crossing(self, edge: int) -> list[tuple[int, int, int]]:
        """Size, time and energy of sending a skip edge to another cluster of the segment."""
        t, e = self._tables, self._energy
        return [
            (r, int(t.edge_send_ps[edge, r]), 0 if e is None else int(e.edge_send_fj[edge, r]))
            for r in self._space.sizes
        ]

    def receiving(self, layer: int) -> list[tuple[int, int, int, int]]:
        """Size and partition of the next layer, time and energy of its receiving (Case 2)."""
        t, e = self._tables, self._energy
        return [
            (
                *(r, then, int(t.receive_ps[layer, then, r])),
                0 if e is None else int(e.receive_fj[layer, then, r]),
            )
            for r in self._space.sizes
            for then in self._space.partitions[layer + 1]
        ]

    def _ends_ps(self, layer: int, first: int, last: int) -> tuple[int, int]:
        """What a layer reads and writes in DRAM because of where its segment begins and ends."""
        t = self._tables
        reads = int(t.input_ps[layer]) if layer == first else 0
        writes = int(t.output_ps[layer]) if layer == last else 0
        for edge, (u, v) in self.edges:
            reads += int(t.edge_read_ps[edge]) if v == layer and u < first else 0
            writes += int(t.edge_write_ps[edge]) if u == layer and v > last else 0
        return reads, writes

    def _dram_fj(self, layer: int, first: int, last: int) -> int:
        """The energy of that."""
        e = self._energy
        if e is None:
            return 0
        moved = int(e.input_bytes[layer]) if layer == first else 0
        moved += int(e.output_bytes[layer]) if layer == last else 0
        for edge, (u, v) in self.edges:
            if (v == layer and u < first) or (u == layer and v > last):
                moved += int(e.edge_bytes[edge])
        return moved * e.dram_fj_per_byte

    def _refetching(self, layer: int, partition: int, size: int) -> tuple[int, int] | None:
        """Time and bytes of refetching for a segment of one layer; None if it is not allowed.

        On the whole package weights pass through in tiles that serve all samples.
        """
        t = self._tables
        exempt, stored = size == t.chiplets, int(t.weight_bytes[layer])
        room = t.weight_buffer_bytes * size - stored
        if room < 0 and not exempt and not t.stream:
            return None
        if partition == WSP and stored * (size - 1) > max(0, room):
            return None
        if exempt or room >= 0:
            return 0, 0
        limit = self._space.traffic_limit_bytes
        if limit is not None and self._space.traffic_bytes[layer, layer] - room > limit:
            return None
        return t.dram_latency_ps - room * int(t.stream_fs_per_byte[size]) // 1000, -room

    def _largest_beat_ps(self) -> int:
        tables = self._tables
        parts = [tables.compute_ps, tables.gather_ps, tables.within_ps, tables.send_ps]
        parts += [tables.receive_ps, tables.input_ps, tables.output_ps]
        parts += [tables.edge_send_ps, tables.edge_write_ps, tables.edge_read_ps]
        total = sum(int(p.reshape(len(p), -1).max(axis=1).sum()) for p in parts if p.size)
        total += tables.layers * tables.dram_latency_ps + 1
        weights = sum(map(int, tables.weight_bytes))
        total += weights * int(tables.stream_fs_per_byte.max()) // 1000
        total = max(total, int(tables.segment_dram_ps.max()))
        if self._space.power_fj_per_ps is not None:
            total = max(total, int(self.largest_fj / self._space.power_fj_per_ps) + 1)
        return min(total, LIMIT // (2 * tables.samples + 2 * tables.layers))
