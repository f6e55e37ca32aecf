"""Columns by labels: every choice of partitions that no other one beats in time and energy."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from formulations.columns.column import Column
from formulations.columns.kernels import receiving_ps
from formulations.formulas import (
    copies_fit,
    layer_time,
    refetched,
    refetching_time,
    room_left,
)
from scope_opt.model.tables import WSP
from scope_opt.schedule.bounds import layer_floors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from formulations.space import Caps, Space
    from scope_opt.model.tables import LatencyTables


class _Label(NamedTuple):
    """A choice of partitions up to a layer: time before it computes, energy so far."""

    head_ps: int
    energy_fj: int
    partitions: tuple[int, ...]


class _End(NamedTuple):
    """A choice of all partitions: time if computing is longer, time if sending is, energy."""

    time_ps: int
    sending_ps: int
    energy_fj: int
    partitions: tuple[int, ...]


class LabelledRuns:
    """Columns of one run of layers after the other.

    Parameters
    ----------
    tables : LatencyTables
    space : Space
    """

    def __init__(self, tables: LatencyTables, space: Space) -> None:
        self._tables, self._space = tables, space
        self._energy = tables.energy if space.energy_matters else None
        # Python integers and lists are several times faster than NumPy scalars in these loops.
        self._compute = tables.compute_ps.tolist()
        self._gather = tables.gather_ps.tolist()
        self._within = tables.within_ps.tolist()
        self._send = tables.send_ps.tolist()
        self._input, self._output = tables.input_ps.tolist(), tables.output_ps.tolist()
        self._weights = tables.weight_bytes.tolist()
        self._edges = list(
            enumerate(zip(tables.edge_from.tolist(), tables.edge_to.tolist(), strict=True))
        )
        self._edge_send = tables.edge_send_ps.tolist()
        self._edge_write, self._edge_read = (
            tables.edge_write_ps.tolist(),
            tables.edge_read_ps.tolist(),
        )
        inside, closing = layer_floors(tables)
        self._least = np.minimum(inside, closing)
        self._received = receiving_ps(tables, space).tolist()

    def alone(self, first: int, last: int, caps: Caps) -> Iterator[Column]:
        """Columns that are a whole segment, of every region size."""
        for size in self._space.sizes:
            yield from self._sized(first, last, size, caps, alone=True)

    def run(self, first: int, last: int, caps: Caps) -> Iterator[Column]:
        """Every column that can matter."""
        layers = self._tables.layers
        top = max(
            caps.cluster((first, first), (last, last), alone=True),
            caps.cluster((0, first), (last, layers - 1), alone=False),
        )
        if top < 0:
            return
        least = self._least[first : last + 1].sum(axis=0)
        limit = self._space.traffic_limit_bytes
        for size in self._space.sizes:
            exempt = first == last and size == self._tables.chiplets
            if limit is not None and self._refetched(first, last, size, exempt=exempt) > limit:
                continue
            if least[size - 1] <= top:
                yield from self._sized(first, last, size, caps)

    def _sized(
        self, first: int, last: int, size: int, caps: Caps, *, alone: bool = False
    ) -> Iterator[Column]:
        """Columns of one run of layers and one region size; ``alone``: those of whole segments."""
        layers, space = self._tables.layers, self._space
        if space.fewest <= 1 and caps.cluster((first, first), (last, last), alone=True) >= 0:
            yield from self._closing(first, last, size, caps, opens=True)
        if alone or space.most < 2:
            return
        if first > 0:
            yield from self._closing(first, last, size, caps, opens=False)
        if last < layers - 1:
            yield from self._inner(first, last, size, caps)

    def _closing(
        self, first: int, last: int, size: int, caps: Caps, *, opens: bool
    ) -> Iterator[Column]:
        tables = self._tables
        if not opens and caps.cluster((0, first - 1), (last, last), alone=False) < 0:
            return
        exempt = opens and first == last and size == tables.chiplets
        sends, sent_fj = self._leaving(first, last, size, last)
        handed = sends[-1] + self._output[last]
        closing_fj = sent_fj
        if self._energy is not None:
            closing_fj += int(self._energy.output_bytes[last]) * self._energy.dram_fj_per_byte
        for head, ends in self._paths(first, last, size, sends, handed, exempt=exempt, merge=opens):
            plain = [
                _End(max(end.time_ps, end.sending_ps), 0, end.energy_fj, end.partitions)
                for end in ends
            ]
            received_fj = self._handed_fj(first, head, size)
            for starts, reads_ps, reads_fj in self._entering(first, last, opens=opens):
                top = caps.cluster(starts, (last, last), alone=opens)
                for end in _undominated(plain):
                    if end.time_ps + reads_ps <= top:
                        yield Column(
                            first,
                            last,
                            size,
                            head,
                            opens,
                            True,
                            starts,
                            (last, last),
                            end.time_ps + reads_ps,
                            None,
                            end.energy_fj + reads_fj + closing_fj + received_fj,
                            self._refetched(first, last, size, exempt=exempt),
                            end.partitions,
                        )

    def _inner(self, first: int, last: int, size: int, caps: Caps) -> Iterator[Column]:
        """Columns that hand their output to a next cluster."""
        least, most = self._received[last]
        # Ranges of segment ends between which no skip edge changes sides, merged where the
        # difference does not show.
        merged: list[tuple[tuple[int, int], dict[int | None, list[_End]]]] = []
        for ends in self._end_ranges(first, last):
            if caps.cluster((0, first), ends, alone=False) < 0:
                continue
            sends, sent_fj = self._leaving(first, last, size, ends[0])
            handed = self._send[last][size] + sends[-1]
            sent_fj += int(self._energy.send_fj[last, size]) if self._energy is not None else 0
            table: dict[int | None, list[_End]] = {}
            for head, found in self._paths(first, last, size, sends, handed, merge=None):
                outcome = []
                for end in found:
                    time = max(end.time_ps, end.sending_ps + least)
                    matters = end.sending_ps + most > time
                    outcome.append(
                        _End(
                            time,
                            end.sending_ps if matters else -1,
                            end.energy_fj + sent_fj,
                            end.partitions,
                        )
                    )
                table[head] = _undominated(outcome)
            if merged and merged[-1][0][1] + 1 == ends[0] and _same(merged[-1][1], table):
                merged[-1] = ((merged[-1][0][0], ends[1]), table)
            else:
                merged.append((ends, table))
        for opens in (True, False):
            if not opens and first == 0:
                continue
            for starts, reads_ps, reads_fj in self._entering(first, last, opens=opens):
                for ends, table in merged:
                    top = caps.cluster(starts, ends, alone=False)
                    for head, found in table.items():
                        if opens != (head is None):
                            continue
                        fj = reads_fj + self._handed_fj(first, head, size)
                        for end in found:
                            if end.time_ps + reads_ps > top:
                                continue
                            sending = end.sending_ps + reads_ps if end.sending_ps >= 0 else None
                            yield Column(
                                first,
                                last,
                                size,
                                head,
                                opens,
                                False,
                                starts,
                                ends,
                                end.time_ps + reads_ps,
                                sending,
                                end.energy_fj + fj,
                                self._refetched(first, last, size),
                                end.partitions,
                            )

    def _refetched(self, first: int, last: int, size: int, *, exempt: bool = False) -> int:
        """Weight bytes that do not fit the region, where that is allowed."""
        stored = sum(self._weights[first : last + 1])
        return refetched(stored, self._tables.weight_buffer_bytes * size, exempt)

    def _end_ranges(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        targets = {v for _, (u, v) in self._edges if first <= u <= last < v}
        cuts = sorted({last + 1, *targets, self._tables.layers})
        yield from ((low, high - 1) for low, high in pairwise(cuts))

    def _entering(
        self, first: int, last: int, *, opens: bool
    ) -> Iterator[tuple[tuple[int, int], int, int]]:
        """Ranges of the segment's first layer, with time and energy of reading from before it."""
        incoming = [(e, u) for e, (u, v) in self._edges if u < first <= v <= last]
        cuts = sorted({0, *(u + 1 for _, u in incoming if u + 1 < first), first})
        ranges = [(first, first)] if opens else [(a, b - 1) for a, b in pairwise(cuts)]
        for low, high in ranges:
            read = [e for e, u in incoming if u < low]
            time = sum(self._edge_read[e] for e in read)
            time += self._input[first] if opens else 0
            fj = 0
            if self._energy is not None:
                moved = sum(int(self._energy.edge_bytes[e]) for e in read)
                moved += int(self._energy.input_bytes[first]) if opens else 0
                fj = moved * self._energy.dram_fj_per_byte
            yield (low, high), time, fj

    def _leaving(self, first: int, last: int, size: int, end: int) -> tuple[list[int], int]:
        """What skip edges add to each layer's sending if the segment ends at ``end``; energy."""
        sends, fj = [0] * (last - first + 1), 0
        for e, (u, v) in self._edges:
            if first <= u <= last < v:
                inside = v <= end
                sends[u - first] += self._edge_send[e][size] if inside else self._edge_write[e]
                if self._energy is not None:
                    fj += (
                        int(self._energy.edge_send_fj[e, size])
                        if inside
                        else int(self._energy.edge_bytes[e]) * self._energy.dram_fj_per_byte
                    )
        return sends, fj

    def _handed_fj(self, first: int, head: int | None, size: int) -> int:
        if self._energy is None or head is None:
            return 0
        return int(self._energy.receive_fj[first - 1, head, size])

    def _paths(
        self,
        first: int,
        last: int,
        size: int,
        sends: list[int],
        handed: int,
        *,
        exempt: bool = False,
        merge: bool | None,
    ) -> Iterator[tuple[int | None, list[_End]]]:
        """Undominated choices of partitions, for each partition of the first layer.

        ``merge``: over all first partitions together (key None) if true, apart if false, both if
        None. ``sends`` is what skip edges add to each layer's sending, ``handed`` all that
        the last layer sends, receiving left out.
        """
        tables = self._tables
        stored = sum(self._weights[first : last + 1])
        capacity = tables.weight_buffer_bytes * size
        room = room_left(stored, capacity, tables.stream, exempt)
        if room < 0:
            return
        missing = refetched(stored, capacity, exempt)
        transfers = sum(weight > 0 for weight in self._weights[first : last + 1])
        fs_per_byte = int(tables.stream_fs_per_byte[size])
        stream_ps = refetching_time(missing, fs_per_byte, transfers, tables.dram_latency_ps)
        stream_fj = 0 if self._energy is None else missing * self._energy.dram_fj_per_byte
        choices = [
            [
                p
                for p in self._space.partitions[layer]
                if copies_fit(p, self._weights[layer], size, room)
            ]
            for layer in range(first, last + 1)
        ]
        everything: list[_End] = []
        for head in choices[0]:
            gather = self._gather[first][size] if head == WSP and first < last else 0
            fj = stream_fj + self._layer_fj(first, head, size, alone=first == last)
            states = {head: [_Label(stream_ps + gather, fj, (head,))]}
            for layer in range(first, last):
                states = self._step(layer, size, sends[layer - first], states, choices, first)
            ends = [
                _End(
                    label.head_ps + self._compute[last][partition][size],
                    label.head_ps + handed,
                    label.energy_fj,
                    label.partitions,
                )
                for partition, labels in states.items()
                for label in labels
            ]
            ends = _undominated(ends)
            everything += ends
            if merge is not True and first > 0:
                yield head, ends
        if merge is not False and everything:
            yield None, _undominated(everything)

    def _step(
        self,
        layer: int,
        size: int,
        sends: int,
        states: dict[int, list[_Label]],
        choices: list[list[int]],
        first: int,
    ) -> dict[int, list[_Label]]:
        """From the choices up to ``layer`` to those up to the next one, in the same cluster."""
        following: dict[int, list[_Label]] = {}
        for then in choices[layer + 1 - first]:
            gather = self._gather[layer + 1][size] if then == WSP else 0
            fj = self._layer_fj(layer + 1, then, size, alone=False)
            reached = []
            for partition, labels in states.items():
                sending = self._within[layer][partition][then][size] + sends
                time = layer_time(self._compute[layer][partition][size], sending, gather)
                moved = fj
                if self._energy is not None:
                    moved += int(self._energy.within_fj[layer, partition, then, size])
                reached += [
                    _Label(head + time, energy + moved, (*chosen, then))
                    for head, energy, chosen in labels
                ]
            following[then] = _fewest(reached)
        return following

    def _layer_fj(self, layer: int, partition: int, size: int, *, alone: bool) -> int:
        if self._energy is None:
            return 0
        total = int(self._energy.mac_fj[layer]) + int(self._energy.sram_fj[layer, partition, size])
        gathers = partition == WSP and not alone
        return total + (int(self._energy.gather_fj[layer, size]) if gathers else 0)


def _fewest(labels: list[_Label]) -> list[_Label]:
    """Labels that no other one beats in time and energy."""
    kept: list[_Label] = []
    for label in sorted(labels):
        if not kept or label.energy_fj < kept[-1].energy_fj:
            kept.append(label)
    return kept


def _undominated(ends: Iterable[_End]) -> list[_End]:
    """Choices that no other one beats in both times and energy."""
    kept: list[_End] = []
    for end in sorted(ends):
        if not any(
            other.sending_ps <= end.sending_ps and other.energy_fj <= end.energy_fj
            for other in kept
        ):
            kept.append(end)
    return kept


def _same(a: dict[int | None, list[_End]], b: dict[int | None, list[_End]]) -> bool:
    def numbers(table: dict[int | None, list[_End]]) -> dict[int | None, list[tuple[int, ...]]]:
        return {head: [tuple(end[:3]) for end in ends] for head, ends in table.items()}

    return numbers(a) == numbers(b)
