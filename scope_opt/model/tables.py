"""Latency tables: the integer arrays that every solver and the evaluator read.

They come from the cost model (`scope_opt.cost.build`) or are given directly by an instance,
measured on a simulator or on hardware. Times are int64 picoseconds, energies int64 femtojoules;
every entry was rounded up once by `ceil_int`, so all that follows is exact integer arithmetic.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from scope_opt.model.files import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from scope_opt.model.places import PlacedTables

ISP, WSP = 0, 1
"""Partition indices: input-shared (weights split), weight-shared (outputs split)."""
PARTITIONS = ("ISP", "WSP")
"""Partition names by index."""
Partition = Literal["ISP", "WSP"]

LIMIT = 2**61
"""Bound on any total a schedule can reach, so that sums of three stay inside int64."""


def ceil_int(values: ArrayLike, what: str = "a time or an energy") -> NDArray[np.int64]:
    """Round up to whole units: the one place where the physical model becomes integers.

    A value at most one part in 10^12 above an integer counts as that integer, so that float noise
    (1.25e-7 s is 125000.00000000001 ps) does not add a unit.

    Parameters
    ----------
    values : array of float
        Non-negative, in the target unit (ps, fJ, ...).
    what : str
        What the error names: the field that makes them large.

    Raises
    ------
    InputError
        If an entry exceeds `LIMIT`.
    """
    raw = np.asarray(values, dtype=np.float64)
    if not np.all(raw < LIMIT):
        problem = f"{what}: found {raw.max():.3g}; allowed below 2^61 = {LIMIT:.3g}"
        raise InputError("instance", [problem])
    return np.ceil(raw * (1 - 1e-12)).astype(np.int64)


@dataclass(frozen=True, eq=False)
class EnergyTables:
    """Energy per sample in femtojoules; the shapes mirror `LatencyTables`."""

    mac_fj: NDArray[np.int64]
    """(L,)"""
    sram_fj: NDArray[np.int64]
    """(L, 2, C+1) by partition and region size"""
    gather_fj: NDArray[np.int64]
    """(L, C+1) weight gather of a WSP layer"""
    within_fj: NDArray[np.int64]
    """(L, 2, 2, C+1)"""
    send_fj: NDArray[np.int64]
    """(L, C+1)"""
    receive_fj: NDArray[np.int64]
    """(L, 2, C+1)"""
    edge_send_fj: NDArray[np.int64]
    """(E, C+1) skip edge to another cluster of the segment"""
    input_bytes: NDArray[np.int64]
    """(L,) DRAM bytes read when the layer opens a segment"""
    output_bytes: NDArray[np.int64]
    """(L,) DRAM bytes written when the layer closes a segment"""
    edge_bytes: NDArray[np.int64]
    """(E,) DRAM bytes of a skip edge between segments, written once and read once"""
    traffic_bytes: NDArray[np.int64]
    """(L, L) DRAM bytes of one sample in segment [i, j], refetched weights left out"""
    dram_fj_per_byte: int

    @property
    def floor_fj(self) -> NDArray[np.int64]:
        """What each layer takes at least for MACs and buffers, in any state; shape ``(L,)``."""
        buffers: NDArray[np.int64] = self.sram_fj[:, :, 1:].min(axis=(1, 2))
        return self.mac_fj + buffers


@dataclass(frozen=True, eq=False)
class Flow:
    """Which layers read what of which; ``N`` edges, the chain included, sorted by (from, to)."""

    input_bytes: int
    """The network's input."""
    output_bytes: NDArray[np.int64]
    """(L,) what a layer hands on, however many read it"""
    edge_from: NDArray[np.int64]
    """(N,)"""
    edge_to: NDArray[np.int64]
    """(N,)"""
    edge_bytes: NDArray[np.int64]
    """(N,)"""
    edge_input: NDArray[np.bool_]
    """(N,) whether the edge is its reader's input; else it is added to the reader's output"""

    def leaving(self, layer: int, last: int) -> int:
        """Bytes of a layer's output that layers behind ``last`` read; all of the last layer's."""
        if layer == len(self.output_bytes) - 1:
            return int(self.output_bytes[layer])
        beyond = (self.edge_from == layer) & (self.edge_to > last)
        return min(int(self.output_bytes[layer]), int(self.edge_bytes[beyond].sum()))


@dataclass(frozen=True, eq=False)
class LatencyTables:
    """All times of one instance. ``L`` layers, ``C`` chiplets, ``E`` skip edges.

    Axes over the region size have ``C + 1`` entries; index 0 is unused. Partition axes are
    ``[ISP, WSP]``. ``within_ps[l, p, q, r]`` is Case 1 of Table II (next layer ``l+1`` has
    partition ``q``); Case 2 is ``send_ps[l, r] + receive_ps[l, q, r_next]``.

    In the placed model transfers depend on more than region sizes: ``gather_ps``, ``within_ps``,
    ``send_ps`` and ``receive_ps`` are 0, there are no skip edges, and ``placed`` and ``flow`` say
    what they cost.
    """

    samples: int
    stream: bool
    """Overflow policy: refetch what does not fit (True) or forbid it (False)."""
    weight_buffer_bytes: int
    """Per chiplet."""
    weight_bytes: NDArray[np.int64]
    """(L,)"""
    compute_ps: NDArray[np.int64]
    """(L, 2, C+1)"""
    gather_ps: NDArray[np.int64]
    """(L, C+1) preparation of a WSP layer in a cluster of two or more layers"""
    within_ps: NDArray[np.int64]
    """(L, 2, 2, C+1)"""
    send_ps: NDArray[np.int64]
    """(L, C+1)"""
    receive_ps: NDArray[np.int64]
    """(L, 2, C+1)"""
    input_ps: NDArray[np.int64]
    """(L,) DRAM read that opens a segment"""
    output_ps: NDArray[np.int64]
    """(L,) DRAM write that closes a segment"""
    edge_from: NDArray[np.int64]
    """(E,) skip edges, and all edges of explicit tables, sorted by (from, to)"""
    edge_after: NDArray[np.int64]
    """(E,) the reader of the same tensor before ``edge_to``; ``edge_from`` if there is none.

    Tensors are charged once: an edge is where the end of a cluster, or of a segment, lies behind
    ``edge_after`` and before ``edge_to``."""
    edge_to: NDArray[np.int64]
    """(E,)"""
    edge_send_ps: NDArray[np.int64]
    """(E, C+1) to another cluster of the same segment"""
    edge_receive_ps: NDArray[np.int64]
    """(E, C+1) the consumer's preparation, whatever cluster or segment the tensor comes from"""
    edge_write_ps: NDArray[np.int64]
    """(E,) to a later segment: the producer's write"""
    edge_read_ps: NDArray[np.int64]
    """(E,) to a later segment: the consumer's read"""
    read_ps: NDArray[np.int64]
    """(L, L) all DRAM reads of layer ``v`` in a segment that starts at ``a``: ``[a, v]``"""
    write_ps: NDArray[np.int64]
    """(L, L) all DRAM writes of layer ``u`` in a segment that ends at ``b``: ``[b, u]``"""
    segment_dram_ps: NDArray[np.int64]
    """(L, L) least beat of segment [i, j] from its DRAM traffic; 0 below the diagonal"""
    load_ps: NDArray[np.int64]
    """(L, L) weight loading of segment [i, j]"""
    dram_latency_ps: int
    stream_fs_per_byte: NDArray[np.int64]
    """(C+1,) refetch time per byte, in femtoseconds, at the region's share of the bandwidth"""
    load: NDArray[np.int64]
    """(L,) computational load the heuristics balance: MACs, or time on one chiplet"""
    parallelism: NDArray[np.float64]
    """(L, 2) log2 of what ISP and WSP can split: channels, outputs"""
    energy: EnergyTables | None = None
    own_read_bytes: NDArray[np.int64] | None = None
    """(L,) what a layer reads from DRAM in any schedule, part of ``read_ps``; None for nothing"""
    own_write_bytes: NDArray[np.int64] | None = None
    """(L,) likewise what it writes, part of ``write_ps``"""
    own_read_ps: NDArray[np.int64] | None = None
    """(L,) time of that"""
    own_write_ps: NDArray[np.int64] | None = None
    """(L,) time of that"""
    flow: Flow | None = None
    """None for explicit tables"""
    placed: PlacedTables | None = None
    """None but in the placed model"""
    held_bytes: NDArray[np.int64] | None = None
    """(L, 2, C+1) input and output that a region holds while it computes a layer"""
    activation_buffer_bytes: int | None = None
    """What a chiplet can hold of activations; None for any amount"""

    def __post_init__(self) -> None:
        for value in _arrays(self):
            value.setflags(write=False)
        if self.energy is not None:
            for value in _arrays(self.energy):
                value.setflags(write=False)
        self._refuse_overflow()
        object.__setattr__(self, "stream_fs_per_byte", self._harmless_refetch())
        self.stream_fs_per_byte.setflags(write=False)

    def folded(self) -> LatencyTables:
        """The same times without DRAM traffic of the layers' own, for solvers that know of none.

        A layer takes its reads and the longer of computing and sending; so its own reads can as
        well be part of both, and its own writes of whatever it sends. Energies likewise.
        """
        reads, writes = self.own_read_ps, self.own_write_ps
        if reads is None or writes is None:
            return self
        energy = self.energy
        if energy is not None and self.own_read_bytes is not None:
            assert self.own_write_bytes is not None
            moved = (self.own_read_bytes + self.own_write_bytes) * energy.dram_fj_per_byte
            energy = replace(energy, mac_fj=energy.mac_fj + moved)
        both = reads + writes
        return replace(
            self,
            compute_ps=self.compute_ps + reads[:, None, None],
            within_ps=self.within_ps + both[:, None, None, None],
            send_ps=self.send_ps + both[:, None],
            output_ps=self.output_ps + both,
            energy=energy,
        )

    @property
    def layers(self) -> int:
        """Number of layers ``L``."""
        return len(self.weight_bytes)

    @property
    def chiplets(self) -> int:
        """Number of chiplets ``C``."""
        return len(self.stream_fs_per_byte) - 1

    @property
    def loading_fj(self) -> int:
        """Energy of loading all weights, once per batch; 0 without energies."""
        return 0 if self.energy is None else self._stored_bytes * self.energy.dram_fj_per_byte

    @property
    def _stored_bytes(self) -> int:
        return sum(map(int, self.weight_bytes))

    @cached_property
    def worst_latency_ps(self) -> int:
        """A latency that no schedule exceeds; the stretching by a power budget is left out."""
        return self._worst_latency_ps(self.samples)

    def _worst_latency_ps(self, samples: int) -> int:
        """The same for other numbers of samples.

        The worst way to cut the layers into segments, whose beats are at most all worst times of
        their layers together. In floats, lifted by more than their rounding.
        """
        beat = np.concatenate([[0.0], np.cumsum(self._worst_times())])
        worst = np.zeros(self.layers + 1)
        for last in range(self.layers):
            first = slice(last + 1)
            beats = np.maximum(beat[last + 1] - beat[first], self.segment_dram_ps[first, last])
            clusters = np.minimum(np.arange(last + 1, 0, -1), self.chiplets)
            latency = (samples + clusters - 1) * beats + self.load_ps[first, last]
            worst[last + 1] = (worst[first] + latency).max()
        total = worst[-1]
        if self.placed is not None:
            # No layer sends, and no link carries, more than all links' busiest loads together.
            carried = self.placed.worst_link_bytes * self.placed.ps_per_byte + self.layers**2
            total += (samples + self._most_clusters - 1) * carried
        return int(total * (1 + 1e-9)) + 1

    @property
    def _most_clusters(self) -> int:
        return min(self.layers, self.chiplets)

    def _worst_times(self) -> NDArray[np.float64]:
        """What each layer takes at most for a sample in any segment, in ps; shape ``(L,)``."""

        def worst(part: NDArray[np.int64]) -> NDArray[np.float64]:
            found: NDArray[np.float64] = part.reshape(self.layers, -1).max(axis=1).astype(float)
            return found

        sent = np.maximum(worst(self.within_ps), worst(self.send_ps) + worst(self.receive_ps))
        sent += worst(self.write_ps.T)
        if len(self.edge_from):
            np.add.at(sent, self.edge_from, self.edge_send_ps.max(axis=1))
        times: NDArray[np.float64] = worst(self.gather_ps) + worst(self.read_ps.T)
        times += np.maximum(worst(self.compute_ps), sent)
        if len(self.edge_to):
            np.add.at(times, self.edge_to, self.edge_receive_ps.max(axis=1))
        if self.stream:
            slowest = float(self.stream_fs_per_byte.max(initial=0))
            times += self.dram_latency_ps + 1 + self.weight_bytes * (slowest / 1000)
        return times

    def _refuse_overflow(self) -> None:
        """Bound every sum that solvers make; raises `InputError` when int64 is too small."""
        problems = []
        times = self._worst_times()
        beat, slowest = float(times.sum()), int(times.argmax())
        if self.worst_latency_ps >= LIMIT:
            fit = bisect_left(
                range(1, self.samples + 1),
                True,
                key=lambda samples: self._worst_latency_ps(samples) >= LIMIT,
            )
            way_out = f"at most {fit} samples fit" if fit else "even one sample is too slow"
            problems.append(
                f"samples: {self.samples} could take {self.worst_latency_ps:.3g} ps, of it for "
                f"each {times[slowest]:.3g} ps in layer {slowest}; allowed below 2^61 ps, "
                f"26 days; {way_out}"
            )
        elif beat * self.chiplets >= LIMIT:
            problems.append(
                f"a sample could take {beat:.3g} ps, of it {times[slowest]:.3g} ps for layer "
                f"{slowest}; allowed is 2^61 / chiplets = {LIMIT / self.chiplets:.3g} ps"
            )
        weights = self._stored_bytes
        if weights * self.chiplets >= LIMIT:
            problems.append(
                f"{weights} bytes of weights on {self.chiplets} chiplets; their product must be "
                f"below 2^61 = {LIMIT}"
            )
        if self.weight_buffer_bytes * self.chiplets >= LIMIT:
            problems.append(
                f"weight_buffer_bytes: {self.weight_buffer_bytes} on each of {self.chiplets} "
                f"chiplets; allowed below 2^61 = {LIMIT} in all"
            )
        refetch = weights * int(self.stream_fs_per_byte.max(initial=0))
        if self.stream and refetch >= LIMIT:
            problems.append(
                f"fetching {weights} bytes of weights again could take {refetch / 1000:.3g} ps; "
                f"allowed below 2^61 fs = {LIMIT / 1000:.3g} ps: choose overflow 'forbid' or a "
                "faster DRAM"
            )
        if problems:
            raise InputError("instance", problems)

    def _harmless_refetch(self) -> NDArray[np.int64]:
        """``stream_fs_per_byte``, lowered if need be where no schedule refetches anything.

        There it only guides searches through schedules that do not fit; sums with it must not
        overflow.
        """
        if self.stream:
            return self.stream_fs_per_byte
        room_ps = (LIMIT - self.worst_latency_ps) // (self.samples + self._most_clusters)
        room_ps = min(room_ps, LIMIT // 1000) - self.layers * self.dram_latency_ps - 1
        return np.minimum(
            self.stream_fs_per_byte, max(0, 1000 * room_ps) // max(1, self._stored_bytes)
        )


def _arrays(tables: LatencyTables | EnergyTables) -> Iterator[NDArray[np.int64]]:
    for field in fields(tables):
        value = getattr(tables, field.name)
        if isinstance(value, np.ndarray):
            yield value
