"""Clusters a schedule can consist of, as columns of a mathematical program.

A column fixes the layers of a cluster, its region size, and as much of what surrounds it as its
time depends on: whether it opens or closes its segment, where the segment begins and ends as far
as skip edges tell the difference, and the partition of its first layer if the cluster before pays
for it. All other partitions are chosen here, by a shortest path through the layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.bounds import (
    best_cut,
    best_rest,
    layer_floors,
    segment_bounds,
    segment_traffic_bytes,
)
from scope_opt.tables import ISP, LIMIT, WSP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from scope_opt.instance import Instance
    from scope_opt.tables import LatencyTables

    Ints = NDArray[np.int64]


class Stopped(Exception):
    """The caller asked to stop."""


class Column(NamedTuple):
    """Layers ``first..last`` as a cluster of ``size`` chiplets in certain surroundings."""

    first: int
    last: int
    size: int
    partition: int | None
    """Of the first layer; None where nothing depends on it (``opens``)."""
    opens: bool
    """Whether it is the first cluster of its segment."""
    closes: bool
    """Whether it is the last cluster of its segment."""
    starts: tuple[int, int]
    """Range of first layers that the segment may have."""
    ends: tuple[int, int]
    """Range of last layers that the segment may have."""
    time_ps: int
    """Least time for one sample; exact unless ``sending_ps`` is given."""
    sending_ps: int | None
    """Time without what the next cluster's receiving adds; None if that cannot matter."""
    energy_fj: int
    """Energy of one sample, receiving from the cluster before included; 0 if it does not matter."""
    refetched_bytes: int
    """Weights fetched again for every sample."""
    partitions: tuple[int, ...]


@dataclass(frozen=True)
class Space:
    """What schedules may look like: side constraints and the choice of segments."""

    segments: NDArray[np.bool_]
    """(L, L): which runs of layers may be a segment"""
    segment_count: int | None
    clusters: NDArray[np.bool_]
    """(L, L): which runs of layers may be a cluster"""
    fewest: int
    most: int
    """Clusters per segment."""
    sizes: tuple[int, ...]
    """Region sizes."""
    partitions: tuple[tuple[int, ...], ...]
    """Per layer."""
    budget_fj: int | None
    """Largest energy of one sample, weight loading left out; negative if that exceeds it alone."""
    latency_ps: int | None
    """Largest latency; energy is minimized if there is one."""
    power_fj_per_ps: Fraction | None
    """Largest power of a segment's steady state."""
    traffic_bytes: NDArray[np.int64]
    """(L, L): what a segment reads and writes in DRAM for one sample, refetched weights left out"""
    traffic_limit_bytes: int | None
    """Largest DRAM traffic of a segment for one sample, refetched weights included."""

    @property
    def energy_matters(self) -> bool:
        """Whether the least energy that goes with a time is needed, not only the least time."""
        limits = (self.budget_fj, self.latency_ps, self.power_fj_per_ps)
        return any(limit is not None for limit in limits)

    @property
    def couples_segments(self) -> bool:
        """Whether segments share more than the sum of their latencies."""
        return self.budget_fj is not None or self.latency_ps is not None


def make_space(
    instance: Instance, tables: LatencyTables, starts: tuple[int, ...] | None, count: int | None
) -> Space:
    """Space of an instance; ``starts`` are the first layers of its segments, if given."""
    wanted, layers = instance.constraints, tables.layers
    segments = np.triu(np.ones((layers, layers), dtype=np.bool_))
    if starts is not None:
        segments[:] = False
        for first, following in zip(starts, (*starts[1:], layers), strict=True):
            segments[first, following - 1] = True
    clusters = np.triu(np.ones((layers, layers), dtype=np.bool_))
    for layer in wanted.forbidden_merges or ():
        clusters[: layer + 1, layer + 1 :] = False
    for layer in wanted.required_merges or ():
        clusters[:, layer] = False
        clusters[layer + 1, :] = False
        segments[:, layer] = False
        segments[layer + 1, :] = False
    multiple = wanted.region_multiple or 1
    largest = min(wanted.max_region or tables.chiplets, tables.chiplets)
    fixed = {entry.layer: entry.partition for entry in wanted.fixed_partitions or ()}
    indices = {"ISP": (ISP,), "WSP": (WSP,)}
    budget = None
    if wanted.energy_budget_j is not None and tables.energy is not None:
        # The budget is the decimal number as written, not the float nearest to it.
        total = Fraction(str(wanted.energy_budget_j)) * 10**15
        loading = tables.energy.dram_fj_per_byte * sum(map(int, tables.weight_bytes))
        budget = (total - loading) // tables.samples
    bound_s, power_w = wanted.latency_bound_s, wanted.power_budget_w
    traffic = segment_traffic_bytes(tables)
    if wanted.dram_bytes_per_beat is not None:
        segments &= traffic <= wanted.dram_bytes_per_beat
    return Space(
        segments=segments,
        segment_count=count,
        clusters=clusters,
        fewest=wanted.min_clusters or 1,
        most=min(wanted.max_clusters or layers, layers, tables.chiplets // multiple),
        sizes=tuple(range(multiple, largest + 1, multiple)),
        partitions=tuple(
            indices[fixed[layer]] if layer in fixed else (ISP, WSP) for layer in range(layers)
        ),
        budget_fj=budget,
        latency_ps=None if bound_s is None else int(Fraction(str(bound_s)) * 10**12),
        # 1 W is 1000 fJ per ps.
        power_fj_per_ps=None if power_w is None else 1000 * Fraction(str(power_w)),
        traffic_bytes=traffic,
        traffic_limit_bytes=wanted.dram_bytes_per_beat,
    )


class Caps:
    """Largest beats in ps of segments that can belong to a schedule worth finding.

    A segment matters only if, with the bounds of the layers before and after it, its latency stays
    within ``most_ps``, the latency of a known schedule (None if none is known). ``beats`` are
    further lower bounds on beats, by number of clusters (`formulations.floors`).
    """

    def __init__(
        self, tables: LatencyTables, space: Space, most_ps: int | None, beats: Ints | None = None
    ) -> None:
        self._samples, self._beat_floors = tables.samples, beats
        lower = segment_bounds(tables)
        floors = (lower - tables.load_ps) // tables.samples
        if beats is not None:
            times = tables.samples - 1 + np.arange(beats.shape[2])
            known = np.maximum(np.where(beats < LIMIT, beats, 0), floors[..., None]) * times
            known += tables.load_ps[..., None]
            lower = np.maximum(lower, np.where(beats < LIMIT, known, LIMIT).min(axis=2))
            floors = np.maximum(floors, beats.min(axis=2))
        lower[~space.segments] = LIMIT
        lower = np.triu(lower)
        before, rest = best_cut(lower), best_rest(lower)
        self.bound_ps = int(before[-1])
        """Lower bound on every schedule; `LIMIT` if the bound alone leaves none."""
        possible = (lower < LIMIT) & space.segments
        self.floors = np.where(possible, floors, 0)
        """(L, L) lower bounds on the beat"""
        around = before[:-1, None] + rest[None, 1:] + tables.load_ps
        self._room = np.where(
            possible & (around < LIMIT), (LIMIT if most_ps is None else most_ps) - around, -1
        )
        self._any = np.where(possible & (around < LIMIT), LIMIT, -1) if most_ps is None else None
        # Without further bounds, two clusters leave room for the longest beat.
        several = range(2, (2 if beats is None else max(2, space.most)) + 1)
        self._several = np.maximum.reduce([self._beats(n) for n in several])
        self._one = self._beats(1)

    def floor(self, first: int, last: int, clusters: int) -> int:
        """Lower bound on the beat of a segment with so many clusters."""
        if self._beat_floors is None:
            return int(self.floors[first, last])
        return max(int(self.floors[first, last]), int(self._beat_floors[first, last, clusters]))

    def _beats(self, clusters: int) -> Ints:
        if self._any is not None:
            beats: Ints = self._any.copy()
        else:
            beats = np.where(self._room < 0, -1, self._room // (self._samples + clusters - 1))
            beats[beats < self.floors] = -1
        known = self._beat_floors
        if known is not None and clusters < known.shape[2]:
            beats[(beats < known[..., clusters]) | (known[..., clusters] == LIMIT)] = -1
        return beats

    def segment(self, first: int, last: int, clusters: int) -> int:
        """Largest beat of a segment with so many clusters; -1 if it cannot matter."""
        return int(self._beats(clusters)[first, last])

    def all_segments(self, clusters: int) -> Ints:
        """The same for every segment, shape ``(L, L)``."""
        return self._beats(clusters)

    def cluster(self, starts: tuple[int, int], ends: tuple[int, int], *, alone: bool) -> int:
        """Largest time of a cluster of a segment within those ranges; -1 if there is none."""
        if alone:
            return int(self._one[starts[0], ends[0]])
        part = self._several[starts[0] : starts[1] + 1, ends[0] : ends[1] + 1]
        return int(part.max(initial=-1))


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


class ColumnMaker:
    """Columns of an instance, made on demand.

    Parameters
    ----------
    tables : LatencyTables
    space : Space
    stopping : callable
        Asked once per run of layers; when it says so, `Stopped` is raised.
    """

    def __init__(
        self, tables: LatencyTables, space: Space, stopping: Callable[[], bool] = lambda: False
    ) -> None:
        self._tables, self._space, self._stopping = tables, space, stopping
        self._energy = tables.energy if space.energy_matters else None
        # Python integers and lists are several times faster than NumPy scalars in these loops.
        self._compute = tables.compute_ps.tolist()
        self._gather = tables.gather_ps.tolist()
        self._within = tables.within_ps.tolist()
        self._send = tables.send_ps.tolist()
        self._receive = tables.receive_ps.tolist()
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
        self._received = [self._receiving(layer) for layer in range(tables.layers)]

    def receive_ps(self, column: Column) -> int:
        """What the cluster before pays to hand its output to this one."""
        if column.partition is None:
            return 0
        return int(self._receive[column.first - 1][column.partition][column.size])

    def _receiving(self, layer: int) -> tuple[int, int]:
        """Least and most that the cluster after ``layer`` can charge it for receiving."""
        if layer + 1 >= self._tables.layers:
            return 0, 0
        values = [
            self._receive[layer][p][r]
            for p in self._space.partitions[layer + 1]
            for r in self._space.sizes
        ]
        return min(values), max(values)

    def columns(self, caps: Caps) -> Iterator[Column]:
        """Every column that can matter, best partitions only."""
        layers = self._tables.layers
        for first in range(layers):
            for last in range(first, layers):
                if self._stopping():
                    raise Stopped
                if self._space.clusters[first, last]:
                    yield from self._run(first, last, caps)

    def segments_of_one(self) -> dict[tuple[int, int], Column]:
        """Fastest single-cluster segment of every run of layers that has one."""
        found: dict[tuple[int, int], Column] = {}
        caps = Caps(self._tables, self._space, None)
        for first, last in np.argwhere(self._space.clusters & self._space.segments).tolist():
            if self._stopping():
                raise Stopped
            pair = (first, last)
            for size in reversed(self._space.sizes):
                for column in self._sized(*pair, size, caps, alone=True):
                    if pair not in found or column.time_ps < found[pair].time_ps:
                        found[pair] = column
        return found

    def _run(self, first: int, last: int, caps: Caps) -> Iterator[Column]:
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
            if limit is not None and self._refetched(first, last, size) > limit:
                exempt = first == last and size == self._tables.chiplets
                if not exempt:
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
                            *(first, last, size, head, opens, True, starts, (last, last)),
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
                                *(first, last, size, head, opens, False, starts, ends),
                                end.time_ps + reads_ps,
                                sending,
                                end.energy_fj + fj,
                                self._refetched(first, last, size),
                                end.partitions,
                            )

    def _refetched(self, first: int, last: int, size: int, *, exempt: bool = False) -> int:
        """Weight bytes that do not fit the region, where that is allowed."""
        stored = sum(self._weights[first : last + 1])
        return 0 if exempt else max(0, stored - self._tables.weight_buffer_bytes * size)

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
        room = tables.weight_buffer_bytes * size - stored
        stream_ps = stream_fj = 0
        if room < 0 and not exempt:
            if not tables.stream:
                return
            transfers = sum(weight > 0 for weight in self._weights[first : last + 1])
            femtoseconds = -room * int(tables.stream_fs_per_byte[size])
            stream_ps = transfers * tables.dram_latency_ps - -femtoseconds // 1000
            if self._energy is not None:
                stream_fj = -room * self._energy.dram_fj_per_byte
        room = max(0, room) if tables.stream or exempt else room
        choices = [
            [
                p
                for p in self._space.partitions[layer]
                if p == ISP or self._weights[layer] * (size - 1) <= room
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
                time = max(self._compute[layer][partition][size], sending) + gather
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
