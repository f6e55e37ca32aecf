"""Compiled making of columns (`formulations.columns.maker`).

One call handles clusters with the same first layer: for every last layer, all region sizes at once.
First the least time before a layer computes, for each partition of the first layer and of that
layer; that is all that has to be known of the choices before it, unless energy matters. Where it
does, labels follow for the region sizes that are fast enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from formulations.arrays import longer
from formulations.columns.columns import NO_SENDING, NONE, Columns
from formulations.columns.labels import Labels, find_labels, fitting, skip_sends
from formulations.formulas import copies_fit, layer_time
from scope_opt.model.compiled import loop, released
from scope_opt.model.tables import LIMIT, WSP

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from formulations.columns.sized import SizedTables

    Ints = NDArray[np.int64]

ANY = 2
"""Number of the choices for any partition of the first layer; else it is that partition."""


class Choices(NamedTuple):
    """Choices of all partitions of a cluster, each of shape ``(n,)``; see `Columns`."""

    time_ps: Ints
    sending_ps: Ints
    energy_fj: Ints
    label: Ints


def no_choices() -> Choices:
    """Room for choices, which grows where it is needed."""
    return Choices(*np.zeros((4, 1024), dtype=np.int64))


# --- Times ---------------------------------------------------------------------------------------


@loop
def begin(
    tables: SizedTables, first: int, last: int, k: int, room: int, stream: int, heads: Ints
) -> None:
    """Fill ``heads[p, q, k]``, times before the first layer computes; `LIMIT` if impossible."""
    heads[:, :, k] = LIMIT
    for p in range(2):
        fits = copies_fit(p, tables.weight_bytes[first], tables.sizes[k], room)
        if room >= 0 and tables.allowed[first, p] and fits:
            heads[p, p, k] = stream
            if p == WSP and first < last:
                heads[p, p, k] += tables.gather[first, k]


@loop
def step(
    tables: SizedTables, layer: int, low: int, high: int, extra: Ints, rooms: Ints, heads: Ints
) -> None:
    """From times before ``layer`` computes to those before the next one does, in place."""
    compute, within = tables.compute[layer], tables.within[layer]
    isp, wsp = tables.allowed[layer + 1]
    weights, gather = tables.weight_bytes[layer + 1], tables.gather[layer + 1]
    for k in range(low, high):
        to_wsp = wsp and copies_fit(WSP, weights, tables.sizes[k], rooms[k])
        from_isp, from_wsp = compute[0, k], compute[1, k]
        a = layer_time(from_isp, within[0, 0, k] + extra[k], 0)
        b = layer_time(from_wsp, within[1, 0, k] + extra[k], 0)
        c = layer_time(from_isp, within[0, 1, k] + extra[k], gather[k])
        d = layer_time(from_wsp, within[1, 1, k] + extra[k], gather[k])
        for p in range(2):
            x, y = heads[p, 0, k], heads[p, 1, k]
            heads[p, 0, k] = min(x + a, y + b, LIMIT) if isp else LIMIT
            heads[p, 1, k] = min(x + c, y + d, LIMIT) if to_wsp else LIMIT


@loop
def narrow(heads: Ints, low: int, high: int, top: int) -> tuple[int, int]:
    """Give up the sizes at both ends of a range of which nothing is within ``top``."""
    while low < high and _soonest(heads, low) > top:
        heads[:, :, low] = LIMIT
        low += 1
    while low < high and _soonest(heads, high - 1) > top:
        high -= 1
        heads[:, :, high] = LIMIT
    return low, high


@loop
def _soonest(heads: Ints, k: int) -> int:
    return int(min(heads[0, 0, k], heads[0, 1, k], heads[1, 0, k], heads[1, 1, k]))


# --- Surroundings --------------------------------------------------------------------------------


@released
def end_ranges(tables: SizedTables, first: int, last: int) -> Ints:
    """Ranges of segment ends beyond ``last`` between which no skip edge changes sides."""
    layers = len(tables.weight_bytes)
    cut = np.zeros(layers + 1, dtype=np.bool_)
    cut[last + 1] = cut[layers] = True
    for edge in range(tables.leaving[first], tables.leaving[last + 1]):
        if tables.edges[edge, 1] > last:
            cut[tables.edges[edge, 1]] = True
    return ranges_between(np.flatnonzero(cut))


@released
def start_ranges(tables: SizedTables, first: int, last: int) -> Ints:
    """Ranges of segment starts before ``first`` between which no skip edge changes sides."""
    cut = np.zeros(first + 1, dtype=np.bool_)
    cut[0] = cut[first] = True
    for edge in range(tables.leaving[first]):
        if first <= tables.edges[edge, 1] <= last:
            cut[tables.edges[edge, 0] + 1] = True
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
        if first <= tables.edges[edge, 1] <= last:
            time += tables.edges[edge, 3]
            spent += tables.energy.edge_dram[edge]
    return time, spent


@loop
def sends_fj(tables: SizedTables, first: int, last: int, k: int, end: int) -> int:
    """Energy for all that leaves a cluster, in a segment up to ``end``; receiving is left out."""
    spent = int(tables.energy.output[last] if end == last else tables.energy.send[last, k])
    for edge in range(tables.leaving[first], tables.leaving[last + 1]):
        to = tables.edges[edge, 1]
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


# --- Columns -------------------------------------------------------------------------------------


@loop
def choices(
    labels: Labels,
    spans: Ints,
    low: Ints,
    high: Ints,
    handed: int,
    spent: int,
    head: int,
    top: int,
    at: Ints,
    found: Choices,
    used: int,
) -> int:
    """Append the choices that no other one beats, up to a time; how many there are then.

    Whatever the next cluster charges for receiving, a choice that beats another is as fast, and
    takes no more energy. It is enough to look at the least and the most that can be charged.

    Parameters
    ----------
    labels, spans
        Of the cluster's last layer.
    low, high : int64 array, shape (2,)
        What is added to the time of a label for the last layer, by its partition, if the next
        cluster charges the least and the most.
    handed, spent : int
        What the last layer sends, and the energy for all that leaves the cluster.
    head : int
        Partition of the first layer, or `ANY`.
    top : int
        Largest time.
    at : int64 array, shape (4,)
        Overwritten.
    found : Choices
        With room for all labels.
    used : int
        How many choices there are before.
    """
    time_ps, energy_fj, _ = labels
    for pair in range(4):
        if head not in (ANY, pair // 2):
            continue
        q = pair % 2
        for other in range(4):
            at[other] = spans[other]
        for n in range(spans[pair], spans[pair + 1]):
            if time_ps[n] + low[q] > top:
                break
            beaten = False
            for other in range(4):
                if other == pair or head not in (ANY, other // 2):
                    continue
                o = other % 2
                # How much faster a label has to be for the other pair to be as fast.
                ahead = max(low[o] - low[q], high[o] - high[q])
                behind = max(low[q] - low[o], high[q] - high[o])
                while at[other] < spans[other + 1] and time_ps[at[other]] + ahead <= time_ps[n]:
                    at[other] += 1
                best = at[other] - 1
                if best < spans[other] or energy_fj[best] > energy_fj[n]:
                    continue
                # Of two that are equal the first one stays.
                equal = time_ps[best] + ahead == time_ps[n] and energy_fj[best] == energy_fj[n]
                beaten |= not equal or ahead + behind > 0 or other < pair
            if not beaten:
                found.time_ps[used] = time_ps[n] + low[q]
                found.sending_ps[used] = NO_SENDING
                if high[q] > low[q]:
                    found.sending_ps[used] = time_ps[n] + handed
                found.energy_fj[used] = energy_fj[n] + spent
                found.label[used] = 4 * (n - spans[pair]) + pair
                used += 1
    return used


@loop
def same(found: Choices, spans: Ints, i: int, j: int) -> bool:
    """Whether the choices for two ranges of ends have the same times and energies."""
    for head in range(3):
        a, b = spans[i, head], spans[j, head]
        if spans[i, head + 1] - a != spans[j, head + 1] - b:
            return False
        for n in range(spans[i, head + 1] - a):
            if found.time_ps[a + n] != found.time_ps[b + n]:
                return False
            if found.sending_ps[a + n] != found.sending_ps[b + n]:
                return False
            if found.energy_fj[a + n] != found.energy_fj[b + n]:
                return False
    return True


@released
def more_choices(found: Choices, count: int) -> Choices:
    """The same with room for so many."""
    return Choices(
        longer(found.time_ps, count),
        longer(found.sending_ps, count),
        longer(found.energy_fj, count),
        longer(found.label, count),
    )


@released
def more_columns(columns: Columns, count: int) -> Columns:
    """The same with room for so many."""
    c = columns
    return Columns(
        longer(c.first, count),
        longer(c.last, count),
        longer(c.size, count),
        longer(c.partition, count),
        longer(c.opens, count),
        longer(c.closes, count),
        longer(c.start_low, count),
        longer(c.start_high, count),
        longer(c.end_low, count),
        longer(c.end_high, count),
        longer(c.time_ps, count),
        longer(c.sending_ps, count),
        longer(c.receive_ps, count),
        longer(c.energy_fj, count),
        longer(c.refetched_bytes, count),
        longer(c.made_for, count),
        longer(c.label, count),
    )


@released
def columns_from(
    tables: SizedTables,
    first: int,
    lasts: tuple[int, int],
    one: Ints,
    several: Ints,
    refetch_limit: int,
    columns: Columns,
    labels: Labels,
    found: Choices,
) -> tuple[int, Columns]:
    """Columns that begin with a layer.

    Parameters
    ----------
    tables : SizedTables
    first : int
        The layer.
    lasts : (int, int)
        Range of their last layers.
    one, several : array of int64, shape (L, L)
        Largest time of the only cluster of a segment, and of one of several, in ps; -1 for none.
    refetch_limit : int
        Largest number of weight bytes that a cluster may fetch again.
    columns, labels, found
        Room for results, and for what is between.

    Returns
    -------
    int, Columns
        How many there are, and arrays of which these are the first entries.
    """
    layers, count = len(tables.weight_bytes), len(tables.sizes)
    used = 0
    least = np.zeros(count, dtype=np.int64)
    rooms, streams = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    missing = np.zeros(count, dtype=np.int64)
    active = np.zeros(count, dtype=np.bool_)
    extra = np.zeros(count, dtype=np.int64)
    label_spans = np.zeros((layers, 5), dtype=np.int64)
    last_span = np.zeros(5, dtype=np.int64)
    lowest, highest = np.zeros(2, dtype=np.int64), np.zeros(2, dtype=np.int64)
    at = np.zeros(4, dtype=np.int64)
    stored = 0
    starts_alone = np.array([[first, first]])
    for last in range(first, lasts[1] + 1):
        least += tables.least[last]
        stored += tables.weight_bytes[last]
        if last < lasts[0] or not tables.clusters[first, last]:
            continue
        # Ranges of segment starts and ends: entry 0 is the cluster's own first or last layer.
        starts = np.concatenate((starts_alone, start_ranges(tables, first, last)))
        ends = np.concatenate((np.array([[last, last]]), end_ranges(tables, first, last)))
        tops = np.empty((len(starts), len(ends)), dtype=np.int64)
        times = np.empty(len(starts), dtype=np.int64)
        energies = np.empty(len(starts), dtype=np.int64)
        for i in range(len(starts)):
            times[i], energies[i] = reads(tables, first, last, starts[i, 0])
            for j in range(len(ends)):
                tops[i, j] = largest(several, starts[i], ends[j])
        tops[0, 0] = one[first, last]
        top = tops.max()
        low, high = count, 0
        for k in range(count):
            active[k] = least[k] <= top
            if active[k]:
                rooms[k], missing[k], streams[k] = fitting(tables, first, last, k, stored)
                active[k] = missing[k] <= refetch_limit
            if active[k]:
                low, high = min(low, k), k + 1
        if low >= high:
            continue
        # Times before the last layer computes, for each range of ends, and what that layer sends.
        heads = np.full((len(ends), 2, 2, count), LIMIT, dtype=np.int64)
        handed = np.zeros((len(ends), count), dtype=np.int64)
        some, beyond = high, low
        for j in range(len(ends)):
            if tops[:, j].max() < 0:
                continue
            for k in range(low, high):
                if active[k]:
                    begin(tables, first, last, k, rooms[k], streams[k], heads[j])
            a, b = narrow(heads[j], low, high, top)
            for layer in range(first, last):
                skip_sends(tables, layer, last, ends[j, 0], a, b, extra)
                step(tables, layer, a, b, extra, rooms, heads[j])
                a, b = narrow(heads[j], a, b, top)
            skip_sends(tables, last, last, ends[j, 0], low, high, extra)
            for k in range(low, high):
                handed[j, k] = extra[k]
                handed[j, k] += tables.send[last, k] if j > 0 else tables.output[last]
            if a < b:
                some, beyond = min(some, a), max(beyond, b)
        # Where the choices begin for each range of ends and partition of the first layer.
        spans = np.zeros((len(ends), 4), dtype=np.int64)
        for k in range(some, beyond):
            if not active[k]:
                continue
            size = tables.sizes[k]
            # On the whole package there is no room for other clusters.
            whole = size == tables.chiplets
            sides = (1, 1) if whole else (len(starts), len(ends))
            number = 0
            for j in range(sides[1]):
                spans[j] = number
                soonest = LIMIT
                for pair in range(4):
                    time = heads[j, pair // 2, pair % 2, k] + tables.compute[last, pair % 2, k]
                    soonest = min(soonest, time)
                if soonest > tops[: sides[0], j].max():
                    continue
                if tables.energy_matters:
                    run = (first, last, stored)
                    labels = find_labels(tables, run, k, ends[j, 0], top, labels, label_spans)
                    last_span[:] = label_spans[last - first]
                    spent = sends_fj(tables, first, last, k, ends[j, 0])
                else:
                    spent = 0
                    for pair in range(4):
                        time = heads[j, pair // 2, pair % 2, k]
                        labels.time_ps[last_span[pair]] = time
                        last_span[pair + 1] = last_span[pair] + (time < LIMIT)
                for q in range(2):
                    computed, sent = tables.compute[last, q, k], handed[j, k]
                    lowest[q] = highest[q] = max(computed, sent)
                    if j > 0:
                        lowest[q] = max(computed, sent + tables.received[last, 0])
                        highest[q] = max(computed, sent + tables.received[last, 1])
                wanted = number + 2 * (last_span[4] - last_span[0])
                if wanted > len(found.time_ps):
                    found = more_choices(found, 2 * wanted)
                for head in range(3):
                    spans[j, head] = number
                    if head == ANY or sides[0] > 1:
                        number = choices(
                            labels,
                            last_span,
                            lowest,
                            highest,
                            handed[j, k],
                            spent,
                            head,
                            top,
                            at,
                            found,
                            number,
                        )
                spans[j, 3] = number
            wanted = used + number * sides[0]
            if wanted > len(columns.first):
                columns = more_columns(columns, 2 * wanted)
            j = 0
            while j < sides[1]:
                # Ranges between which no difference shows are one.
                after = j + 1
                while j > 0 and after < sides[1] and same(found, spans, j, after):
                    after += 1
                for i in range(sides[0]):
                    most = tops[i, j:after].max()
                    for head in range(3):
                        if (head == ANY) != (i == 0):
                            continue
                        received = received_fj = 0
                        if i > 0:
                            received = tables.receive[first - 1, head, k]
                            received_fj = tables.energy.receive[first - 1, head, k]
                        for n in range(spans[j, head], spans[j, head + 1]):
                            time = found.time_ps[n] + times[i]
                            if time > most:
                                continue
                            columns.first[used] = first
                            columns.last[used] = last
                            columns.size[used] = size
                            columns.partition[used] = NONE if head == ANY else head
                            columns.opens[used] = i == 0
                            columns.closes[used] = j == 0
                            columns.start_low[used] = starts[i, 0]
                            columns.start_high[used] = starts[i, 1]
                            columns.end_low[used] = ends[j, 0]
                            columns.end_high[used] = ends[after - 1, 1]
                            columns.time_ps[used] = time
                            columns.sending_ps[used] = NO_SENDING
                            if found.sending_ps[n] != NO_SENDING:
                                columns.sending_ps[used] = found.sending_ps[n] + times[i]
                            columns.receive_ps[used] = received
                            energy = found.energy_fj[n] + energies[i] + received_fj
                            columns.energy_fj[used] = energy if tables.energy_matters else 0
                            columns.refetched_bytes[used] = missing[k]
                            columns.made_for[used] = ends[j, 0]
                            columns.label[used] = found.label[n]
                            used += 1
                j = after
    return used, columns


@released
def columns_within(
    columns: Columns, low: int, high: int, first: int, last: int, slowest: int
) -> Ints:
    """Columns among ``low..high`` that segment ``first..last`` can have, up to the slowest time."""
    c = columns
    found = np.empty(high - low, dtype=np.int64)
    count = 0
    for k in range(low, high):
        if c.time_ps[k] > slowest or c.last[k] > last:
            continue
        if (c.opens[k] == 1) != (c.first[k] == first) or (c.closes[k] == 1) != (c.last[k] == last):
            continue
        if c.start_low[k] > first or first > c.start_high[k]:
            continue
        if c.end_low[k] > last or last > c.end_high[k]:
            continue
        found[count] = k
        count += 1
    return found[:count].copy()
