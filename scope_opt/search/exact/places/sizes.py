"""Least costs of regions in classes of sizes: what bounds on large packages are made of.

A small size is a class of its own. Larger sizes differ little from the next ones and share a class,
which costs the least that any region of these sizes costs and counts as the fewest chiplets that
one has. So a bound takes about as long for thousands of chiplets as for hundreds.

What a transfer takes depends on where its regions begin through a few *phases* only (with ZigZag
order the column). The last row of every table is the least over all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.model.compiled import compiled
from scope_opt.model.link_counts import scatter_count
from scope_opt.search.allowed import EITHER, WSP_IF_FITS
from scope_opt.search.exact.places.costs import FLOOR
from scope_opt.search.placed import (
    ARRIVING,
    TRAVEL,
    WAITING,
    WANTED,
    segment_facts,
    within_bytes,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from scope_opt.model.tables import LatencyTables
    from scope_opt.search.allowed import Allowed
    from scope_opt.search.placed import PlacedKernel

    Ints = NDArray[np.int64]
    Bytes = NDArray[np.int8]
    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

SINGLE, GROWTH = 64, 1.06
"""Sizes up to the first number have classes of their own; above it one begins this factor later
than the one before it."""


class Classes(NamedTuple):
    """Classes of sizes, and the least shares of a volume that their transfers load a link with.

    ``n`` classes, ``P`` phases. A share is infinite where the package has no room for the regions.
    """

    low: Ints
    """(n,) smallest size"""
    high: Ints
    """(n,) largest size"""
    gather: Floats
    """(P+1, n)"""
    exchange: Floats
    """(P+1, n)"""
    halo: Floats
    """(shapes, P+1, n) bytes"""
    scatter: Floats
    """(P+1, n, n) from a region to the one behind it"""
    after: Ints
    """(P+1, n) phase of the positions behind a region; P if not all of the class have the same"""


class LeastCosts(NamedTuple):
    """Least costs in a segment ``first..last``; as `Costs`, but for classes in place of sizes."""

    first: int
    last: int
    reads: Ints
    writes: Ints
    travel: Ints
    wanted: Ints
    waiting: Ints
    arriving: Ints
    compute: Ints
    """(L, n, 2)"""
    fastest: Ints
    """(L+1, n)"""
    gather: Ints
    """(L, rows); a row for every phase that is told apart and every class"""
    within: Ints
    """(L, rows, 4)"""
    weights: Ints
    buffer_bytes: int
    stream: bool
    refetch_latency_ps: int
    refetch_fs_per_byte: Ints
    """(n,)"""
    held: Ints
    """(L, 2, n) for as much memory as the largest size of a class has"""
    activation_bytes: int
    clusters: Flags
    regions: Flags
    """(L, n)"""
    choice: Bytes
    ps_per_byte: float
    """A little less than a link takes, see `FLOOR`"""


def make_classes(
    kernel: PlacedKernel, chiplets: int, pause: Callable[[], None] = lambda: None
) -> Classes:
    """Classes of all sizes; ``pause`` is called again and again and may raise an exception."""
    lows = [1]
    while lows[-1] < chiplets:
        lows.append(lows[-1] + 1 if lows[-1] < SINGLE else int(lows[-1] * GROWTH))
    low = np.array([size for size in lows if size <= chiplets], dtype=np.int64)
    high = np.append(low[1:] - 1, chiplets)
    phases, count = len(kernel.gather), len(low)
    after = np.full((phases + 1, count), phases, dtype=np.int64)
    alone = np.flatnonzero(low == high)
    after[:phases, alone] = (np.arange(phases)[:, None] + low[alone]) % phases
    gather, exchange = np.full((2, phases + 1, count), np.inf)
    halo = np.full((len(kernel.halo), phases + 1, count), np.inf)
    scatter = np.full((phases + 1, count, count), np.inf)
    counts = np.zeros((phases, count, count), dtype=np.int64)
    for phase in range(phases):
        pause()
        _fill_shares(kernel, low, high, phase, gather, exchange, halo)
        _count_scatters(kernel, low, phase, counts[phase])
    for phase in range(phases):
        pause()
        _fill_scatters(counts, low, high, phase, chiplets, scatter[phase])
    for shares in (gather, exchange, scatter):
        shares[-1] = shares[:-1].min(axis=0)
    halo[:, -1] = halo[:, :-1].min(axis=1)
    return Classes(low, high, gather, exchange, halo, scatter, after)


@compiled
def _fill_shares(
    kernel: PlacedKernel,
    low: Ints,
    high: Ints,
    phase: int,
    gather: Floats,
    exchange: Floats,
    halo: Floats,
) -> None:
    for c in range(len(low)):
        # The first position with the phase has the most room behind it.
        for size in range(low[c], min(high[c], len(kernel.place) - phase) + 1):
            share = kernel.gather[phase, size] / size
            gather[phase, c] = min(gather[phase, c], share)
            share = kernel.exchange[phase, size] / (size * size)
            exchange[phase, c] = min(exchange[phase, c], share)
            for shape in range(len(halo)):
                halo[shape, phase, c] = min(halo[shape, phase, c], kernel.halo[shape, phase, size])


@compiled
def _count_scatters(kernel: PlacedKernel, low: Ints, phase: int, counts: Ints) -> None:
    """Shares on the busiest link between the smallest regions of two classes."""
    rows, cols = kernel.mesh
    for c in range(len(low)):
        for d in range(len(low)):
            if phase + low[c] + low[d] <= len(kernel.place):
                counts[c, d] = scatter_count(kernel.place, rows, cols, phase, low[c], low[d])


@compiled
def _fill_scatters(
    counts: Ints, low: Ints, high: Ints, phase: int, chiplets: int, scatter: Floats
) -> None:
    """More senders or receivers load no link less: the smallest regions that meet where theirs do.

    The senders nearest the boundary begin up to ``high - low`` positions behind the phase.
    """
    phases = len(counts)
    for c in range(len(low)):
        for d in range(len(low)):
            for more in range(min(phases, high[c] - low[c] + 1)):
                if phase + more + low[c] + low[d] <= chiplets:
                    share = counts[(phase + more) % phases, c, d] / (high[c] * high[d])
                    scatter[c, d] = min(scatter[c, d], share)


class LeastTables:
    """`LeastCosts` of one segment after the other.

    Parameters
    ----------
    tables : LatencyTables
        Of a placed instance.
    space : Allowed
    kernel : PlacedKernel
        With all halos.
    classes : Classes
    phases : range
        Which of them are told apart; only the last one, the least over all, or all others.
    """

    def __init__(
        self,
        tables: LatencyTables,
        space: Allowed,
        kernel: PlacedKernel,
        classes: Classes,
        phases: range,
    ) -> None:
        self._kernel, self._tables, self._classes, self._phases = kernel, tables, classes, phases
        low, high = classes.low, classes.high
        layers, count = tables.layers, len(low)
        compute = np.minimum.reduceat(tables.compute_ps, low, axis=2).transpose(0, 2, 1)
        fastest = np.zeros((layers + 1, count), dtype=np.int64)
        fastest[1:] = compute.min(axis=2).cumsum(axis=0)
        held = np.zeros((layers, 2, count), dtype=np.int64)
        if kernel.limit >= 0:
            # What a region has less memory than the largest of its class counts as held.
            sizes, largest = np.arange(tables.chiplets + 1), np.repeat(high, high - low + 1)
            less = kernel.limit * (np.concatenate([[0], largest]) - sizes)
            held = np.minimum.reduceat(kernel.held + less, low, axis=2)
        shares = classes.gather[phases.start : phases.stop].reshape(-1)
        loads = np.multiply.outer(
            kernel.weights * (kernel.ps_per_byte * FLOOR), np.where(shares < np.inf, shares, 0)
        )
        self._arrived = np.full(layers, -1, dtype=np.int64)
        self._reads = np.full(layers, -1, dtype=np.int64)
        writes, travel, wanted, waiting, arriving = np.zeros((5, layers), dtype=np.int64)
        self._costs = LeastCosts(
            first=0,
            last=layers - 1,
            reads=np.zeros(layers + 1, dtype=np.int64),
            writes=writes,
            travel=travel,
            wanted=wanted,
            waiting=waiting,
            arriving=arriving,
            compute=np.ascontiguousarray(compute),
            fastest=fastest,
            gather=np.ceil(loads).astype(np.int64),
            within=np.zeros((layers, len(shares), 4), dtype=np.int64),
            weights=kernel.weights,
            buffer_bytes=tables.weight_buffer_bytes,
            stream=tables.stream,
            refetch_latency_ps=tables.dram_latency_ps,
            refetch_fs_per_byte=np.minimum.reduceat(tables.stream_fs_per_byte, low),
            held=held,
            activation_bytes=kernel.limit,
            clusters=space.clusters,
            regions=np.maximum.reduceat(space.regions, low, axis=1),
            choice=np.where(space.choice == WSP_IF_FITS, EITHER, space.choice).astype(np.int8),
            ps_per_byte=kernel.ps_per_byte * FLOOR,
        )

    def segment(self, first: int, last: int, until: int) -> tuple[LeastCosts, int]:
        """Costs of one segment, and its last layer that costs something else than before.

        At least what these layers cost in any segment that ends from ``last`` to ``until``.

        Costs of the segment before are overwritten. The layer is ``first - 1`` if all cost the
        same.
        """
        costs, inside = self._costs, slice(first, last + 1)
        facts = segment_facts(self._kernel, first, last)
        columns = [
            (self._tables.write_ps[last : until + 1, inside].min(axis=0), costs.writes),
            (self._tables.read_ps[first, inside], self._reads),
            (facts[:, TRAVEL], costs.travel),
            (facts[:, WANTED], costs.wanted),
        ]
        if costs.activation_bytes >= 0:
            columns += [(facts[:, WAITING], costs.waiting), (facts[:, ARRIVING], costs.arriving)]
        changed = np.zeros(last + 1 - first, dtype=np.bool_)
        for values, target in columns:
            changed |= target[inside] != values
            target[inside] = values
        costs.reads[: first + 1] = 0
        costs.reads[first + 1 : last + 2] = np.cumsum(self._reads[inside])
        classes, phases = self._classes, self._phases
        top = _fill_within(
            self._kernel,
            classes.gather,
            classes.exchange,
            classes.halo,
            phases.start,
            phases.stop,
            first,
            last,
            self._arrived,
            costs.within,
        )
        layers = np.flatnonzero(changed)
        if len(layers):
            top = max(top, first + int(layers[-1]))
        return costs._replace(first=first, last=last), top


@compiled
def _fill_within(
    kernel: PlacedKernel,
    gather: Floats,
    exchange: Floats,
    halo: Floats,
    start: int,
    stop: int,
    first: int,
    last: int,
    arrived: Ints,
    within: Ints,
) -> int:
    """Transfers inside clusters, where more or fewer edges come from the segment than before.

    Returns the last layer with others than before, or ``first - 1``.
    """
    top, factor = first - 1, kernel.ps_per_byte * FLOOR
    for layer in range(first, last):
        inputs = 0
        for index in range(kernel.in_start[layer + 1], kernel.in_start[layer + 2]):
            inputs += kernel.edges[kernel.in_edges[index], 0] >= first
        if inputs == arrived[layer]:
            continue
        arrived[layer] = inputs
        top = layer
        shape = kernel.shape[layer + 1]
        for pair in range(4):
            gathered, exchanged, seams = within_bytes(kernel, layer, pair // 2, pair % 2, first)
            row = 0
            for phase in range(start, stop):
                for c in range(gather.shape[1]):
                    load = 0.0
                    if gather[phase, c] < np.inf:
                        load = gathered * gather[phase, c] + exchanged * exchange[phase, c]
                        if seams:
                            load += halo[shape, phase, c]
                    within[layer, row, pair] = int(np.ceil(load * factor))
                    row += 1
    return top
