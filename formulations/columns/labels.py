"""Choices of partitions for the layers of one cluster, as compiled labels.

A label stands for a choice up to a layer: the time before that layer computes, and the energy so
far, what depends on the layer's partition included. Of the labels with the same partitions of the
first layer and of this one only those are kept that no other one beats in both; where energy does
not matter, that is one.

Labels of one layer follow each other, pair after pair: ``2 p + q`` is the number of the *pair* with
partition ``p`` of the first layer and ``q`` of this one. Of a pair they are ordered by rising time
and falling energy. *Spans*, shape ``(5,)``, say where each pair begins and the last one ends.

A column's ``label`` is ``4 n + pair`` for the ``n``-th label of a pair at its last layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from formulations.arrays import longer
from formulations.columns.sized import AFTER, TO, WRITE
from formulations.formulas import copies_fit, layer_time, refetched, refetching_time, room_left
from scope_opt.model.compiled import loop, released
from scope_opt.model.tables import LIMIT, WSP

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from formulations.columns.columns import Columns
    from formulations.columns.sized import SizedTables

    Ints = NDArray[np.int64]


class Labels(NamedTuple):
    """Labels of all layers of a cluster, each of shape ``(n,)``."""

    time_ps: Ints
    energy_fj: Ints
    parent: Ints
    """The label of the layer before that it continues"""


def no_labels() -> Labels:
    """Room for labels, which grows where it is needed."""
    return Labels(*np.zeros((3, 1024), dtype=np.int64))


@loop
def fitting(
    tables: SizedTables, first: int, last: int, k: int, stored: int
) -> tuple[int, int, int]:
    """What weights leave of a region, and what fetching the rest again takes.

    Bytes left for gathered copies (negative: no column), bytes fetched again for every sample, and
    the time for that.
    """
    capacity = tables.weight_buffer_bytes * tables.sizes[k]
    exempt = first == last and tables.sizes[k] == tables.chiplets
    room = room_left(stored, capacity, tables.stream, exempt)
    missing = refetched(stored, capacity, exempt)
    transfers = 0
    if missing > 0:
        for layer in range(first, last + 1):
            transfers += tables.weight_bytes[layer] > 0
    fs_per_byte = tables.stream_fs_per_byte[k]
    time = refetching_time(missing, fs_per_byte, transfers, tables.dram_latency_ps)
    return room, missing, time


@loop
def skip_sends(
    tables: SizedTables, layer: int, last: int, end: int, low: int, high: int, out: Ints
) -> None:
    """What edges add to the sending of a layer of a cluster, in a segment up to ``end``."""
    for k in range(low, high):
        out[k] = 0
    for edge in range(tables.leaving[layer], tables.leaving[layer + 1]):
        after, to = tables.edges[edge, AFTER], tables.edges[edge, TO]
        if to > end:
            if after <= end:
                for k in range(low, high):
                    out[k] += tables.edges[edge, WRITE]
        elif to > last and after <= last:
            for k in range(low, high):
                out[k] += tables.edge_send[edge, k]


@loop
def receptions(tables: SizedTables, first: int, last: int, low: int, high: int, out: Ints) -> None:
    """What a cluster takes into its region along edges, whatever its segment and partitions."""
    for k in range(low, high):
        out[k] = 0
    for edge in range(tables.leaving[last]):
        if tables.edges[edge, AFTER] < first <= tables.edges[edge, TO] <= last:
            for k in range(low, high):
                out[k] += tables.edge_receive[edge, k]


@released
def find_labels(
    tables: SizedTables,
    run: tuple[int, int, int],
    k: int,
    end: int,
    limit: int,
    labels: Labels,
    spans: Ints,
) -> Labels:
    """Labels of a cluster in a segment up to ``end``.

    Parameters
    ----------
    tables : SizedTables
    run : (int, int, int)
        First and last layer, and the bytes of their weights.
    k : int
        Index of the region size.
    end : int
    limit : int
        Largest time of the cluster: labels that exceed it for certain are left out, which changes
        the place of no other one.
    labels : Labels
        Overwritten.
    spans : int64 array, shape (L, 5)
        Filled in for each layer of the run, counted from its first one.

    Returns
    -------
    Labels
        The same, or larger ones.
    """
    first, last, stored = run
    room, missing, refetch = fitting(tables, first, last, k, stored)
    rest = tables.least[first : last + 1, k].sum()
    extra = np.zeros(k + 1, dtype=np.int64)
    size, used, before = tables.sizes[k], 0, 0
    receptions(tables, first, last, k, k + 1, extra)
    ahead = refetch + extra[k]
    steps, moved = np.zeros(2, dtype=np.int64), np.zeros(2, dtype=np.int64)
    for layer in range(first, last + 1):
        x = layer - first
        rest -= tables.least[layer, k]
        wanted = used + 2 * (used - before) + 2
        before = used
        if wanted > len(labels.time_ps):
            labels = Labels(
                longer(labels.time_ps, 2 * wanted),
                longer(labels.energy_fj, 2 * wanted),
                longer(labels.parent, 2 * wanted),
            )
        if layer > first:
            skip_sends(tables, layer - 1, last, end, k, k + 1, extra)
        for pair in range(4):
            spans[x, pair] = used
            p, q = pair // 2, pair % 2
            fits = room >= 0 and copies_fit(q, tables.weight_bytes[layer], size, room)
            if not fits or not tables.allowed[layer, q]:
                continue
            gathers = q == WSP and first < last
            gathering = tables.gather[layer, k] if gathers else 0
            spent = tables.energy.layer[layer, q, k]
            spent += tables.energy.gather[layer, k] if gathers else 0
            most = limit - rest - tables.compute[layer, q, k]
            if layer == first:
                if p == q and ahead + gathering <= most:
                    labels.time_ps[used] = ahead + gathering
                    labels.energy_fj[used] = missing * tables.energy.per_byte + spent
                    labels.parent[used] = -1
                    used += 1
                continue
            for then in range(2):
                sending = tables.within[layer - 1, then, q, k] + extra[k]
                steps[then] = layer_time(tables.compute[layer - 1, then, k], sending, gathering)
                moved[then] = spent + tables.energy.within[layer - 1, then, q, k]
            used = continued(labels, spans[x - 1, 2 * p : 2 * p + 3], steps, moved, most, used)
        spans[x, 4] = used
    return labels


@loop
def continued(labels: Labels, spans: Ints, steps: Ints, moved: Ints, most: int, used: int) -> int:
    """Append what continues the labels of two pairs, up to a time; how many there are then.

    Labels ``spans[i] .. spans[i + 1]`` become longer by ``steps[i]`` and take ``moved[i]`` more.
    """
    time_ps, energy_fj, parent = labels
    a, b = spans[0], spans[1]
    least = LIMIT
    while a < spans[1] or b < spans[2]:
        time = energy = LIMIT
        if a < spans[1]:
            time, energy = time_ps[a] + steps[0], energy_fj[a] + moved[0]
        k, second = a, False
        if b < spans[2]:
            other, spent = time_ps[b] + steps[1], energy_fj[b] + moved[1]
            second = a == spans[1] or (other, spent) < (time, energy)
            if second:
                time, energy, k = other, spent, b
        a += not second
        b += second
        if time > most:
            break
        if energy < least:
            time_ps[used], energy_fj[used], parent[used] = time, energy, k
            least = energy
            used += 1
    return used


@released
def partitions_of(
    tables: SizedTables, columns: Columns, order: Ints, labels: Labels
) -> NDArray[np.int8]:
    """Partitions of columns, shape ``(n, L)``; entry ``l`` is that of the ``l``-th layer of one.

    ``order``: columns that differ only in their times should follow each other, the longest first,
    since then they share labels.
    """
    layers = len(tables.weight_bytes)
    found = np.zeros((len(order), layers), dtype=np.int8)
    spans = np.zeros((layers, 5), dtype=np.int64)
    stored = np.zeros(layers + 1, dtype=np.int64)
    stored[1:] = np.cumsum(tables.weight_bytes)
    known, reached = (-1, -1, -1, -1), -1
    for n in order:
        first, last, size = columns.first[n], columns.last[n], columns.size[n]
        key = (first, last, size, columns.made_for[n])
        if key != known or columns.time_ps[n] > reached:
            k = np.searchsorted(tables.sizes, size)
            run = (first, last, stored[last + 1] - stored[first])
            known, reached = key, columns.time_ps[n]
            labels = find_labels(tables, run, k, key[3], reached, labels, spans)
        pair = columns.label[n] % 4
        at = spans[last - first, pair] + columns.label[n] // 4
        for x in range(last - first, -1, -1):
            found[n, x] = pair % 2
            at = labels.parent[at]
            if x > 0:
                pair = pair // 2 * 2
                pair += at >= spans[x - 1, pair + 1]
    return found
