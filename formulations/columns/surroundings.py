"""What surrounds a cluster: segments between which nothing differs, reads and writes; compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from formulations.columns.sized import AFTER, READ, TO
from scope_opt.model.compiled import loop, released

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from formulations.columns.sized import SizedTables

    Ints = NDArray[np.int64]


class Surroundings(NamedTuple):
    """Ranges of the first and last layers that the segment of some layers may have.

    Entry 0 of either is the first, or last, of these layers itself: they open, or close, a segment.
    """

    starts: Ints
    """(n, 2)"""
    ends: Ints
    """(m, 2)"""
    tops: Ints
    """(n, m) ps: largest time of a cluster of these layers; -1 if there is none"""
    read_ps: Ints
    read_fj: Ints
    """(n,) for reading what layers before the segment made"""


@released
def surroundings(
    tables: SizedTables, first: int, last: int, one: Ints, several: Ints
) -> Surroundings:
    """Those of layers ``first..last``.

    For ``one`` and ``several`` see `formulations.columns.kernels.columns_from`.
    """
    starts = np.concatenate((np.array([[first, first]]), start_ranges(tables, first, last)))
    ends = np.concatenate((np.array([[last, last]]), end_ranges(tables, first, last)))
    tops = np.empty((len(starts), len(ends)), dtype=np.int64)
    read_ps = np.empty(len(starts), dtype=np.int64)
    read_fj = np.empty(len(starts), dtype=np.int64)
    for i in range(len(starts)):
        read_ps[i], read_fj[i] = reads(tables, first, last, starts[i, 0])
        for j in range(len(ends)):
            tops[i, j] = largest(several, starts[i], ends[j])
    tops[0, 0] = one[first, last]
    return Surroundings(starts, ends, tops, read_ps, read_fj)


@released
def end_ranges(tables: SizedTables, first: int, last: int) -> Ints:
    """Ranges of segment ends beyond ``last`` between which no skip edge changes sides."""
    layers = len(tables.weight_bytes)
    cut = np.zeros(layers + 1, dtype=np.bool_)
    cut[last + 1] = cut[layers] = True
    for edge in range(tables.leaving[first], tables.leaving[last + 1]):
        if tables.edges[edge, TO] > last:
            cut[tables.edges[edge, TO]] = True
    return ranges_between(np.flatnonzero(cut))


@released
def start_ranges(tables: SizedTables, first: int, last: int) -> Ints:
    """Ranges of segment starts before ``first`` between which no skip edge changes sides."""
    cut = np.zeros(first + 1, dtype=np.bool_)
    cut[0] = cut[first] = True
    for edge in range(tables.leaving[first]):
        if tables.edges[edge, AFTER] < first <= tables.edges[edge, TO] <= last:
            cut[tables.edges[edge, AFTER] + 1] = True
    return ranges_between(np.flatnonzero(cut))


@released
def ranges_between(cuts: Ints) -> Ints:
    """(n, 2): first and last of what lies between each two cuts."""
    ranges = np.empty((max(0, len(cuts) - 1), 2), dtype=np.int64)
    for n in range(len(ranges)):
        ranges[n, 0], ranges[n, 1] = cuts[n], cuts[n + 1] - 1
    return ranges


@loop
def reads(tables: SizedTables, first: int, last: int, start: int) -> tuple[int, int]:
    """Time and energy of reading what layers before the segment's first one made."""
    time = tables.input[first] if start == first else 0
    spent = tables.energy.input[first] if start == first else 0
    for edge in range(tables.leaving[start]):
        if tables.edges[edge, AFTER] < start and first <= tables.edges[edge, TO] <= last:
            time += tables.edges[edge, READ]
            spent += tables.energy.edge_dram[edge]
    return time, spent


@loop
def sends_fj(tables: SizedTables, first: int, last: int, k: int, end: int) -> int:
    """Energy for all that leaves a cluster, in a segment up to ``end``; receiving is left out."""
    spent = int(tables.energy.output[last] if end == last else tables.energy.send[last, k])
    for edge in range(tables.leaving[first], tables.leaving[last + 1]):
        to = tables.edges[edge, TO]
        if to > end:
            spent += tables.energy.edge_dram[edge]
        elif to > last:
            spent += tables.energy.edge_send[edge, k]
    return spent


@loop
def largest(caps: Ints, starts: Ints, ends: Ints) -> int:
    """Largest entry within ranges of segment starts and ends."""
    top = -1
    for start in range(starts[0], starts[1] + 1):
        for end in range(ends[0], ends[1] + 1):
            top = max(top, caps[start, end])
    return top
