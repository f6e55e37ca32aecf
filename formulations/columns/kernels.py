"""Compiled making of columns (`formulations.columns.maker`).

One call handles clusters with the same first layer: for every last layer, all region sizes at once.
First the least time before a layer computes, for each partition of the first layer and of that
layer; that is all that has to be known of the choices before it, unless energy matters. Where it
does, labels follow for the region sizes that are fast enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from formulations.arrays import longer
from formulations.columns.choices import ANY, Choices, choices, more_choices, same
from formulations.columns.columns import NO_SENDING, NONE, Columns
from formulations.columns.labels import Labels, find_labels, fitting, receptions, skip_sends
from formulations.columns.surroundings import Surroundings, sends_fj, surroundings
from formulations.formulas import copies_fit, layer_time
from scope_opt.model.compiled import loop, released
from scope_opt.model.tables import LIMIT, WSP

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from formulations.columns.sized import SizedTables

    Ints = NDArray[np.int64]


# --- Times ---------------------------------------------------------------------------------------


@loop
def begin(
    tables: SizedTables, first: int, last: int, k: int, room: int, ahead: int, heads: Ints
) -> None:
    """Fill ``heads[p, q, k]``, times before the first layer computes; `LIMIT` if impossible.

    ``ahead`` is what the cluster takes for weights fetched again, and for receiving.
    """
    heads[:, :, k] = LIMIT
    for p in range(2):
        fits = copies_fit(p, tables.weight_bytes[first], tables.sizes[k], room)
        if room >= 0 and tables.allowed[first, p] and fits:
            heads[p, p, k] = ahead
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


# --- Columns -------------------------------------------------------------------------------------


@loop
def append(
    tables: SizedTables,
    cluster: tuple[int, int, int, int],
    around: Surroundings,
    sides: tuple[int, int],
    found: Choices,
    spans: Ints,
    columns: Columns,
    used: int,
) -> int:
    """Append the columns of one run and region size; how many there are then.

    ``cluster``: first and last layer, index of the region size, bytes fetched again; ``sides``: how
    many ranges of starts and ends there are; ``spans``: where the choices for each range of ends
    and partition of the first layer begin.
    """
    first, last, k, refetched = cluster
    j = 0
    while j < sides[1]:
        # Ranges between which no difference shows are one.
        after = j + 1
        while j > 0 and after < sides[1] and same(found, spans, j, after):
            after += 1
        for i in range(sides[0]):
            top = around.tops[i, j]
            for other in range(j, after):
                top = max(top, around.tops[i, other])
            for head in range(3):
                if (head == ANY) != (i == 0):
                    continue
                received = received_fj = 0
                if i > 0:
                    received = tables.receive[first - 1, head, k]
                    received_fj = tables.energy.receive[first - 1, head, k]
                for n in range(spans[j, head], spans[j, head + 1]):
                    time = found.time_ps[n] + around.read_ps[i]
                    if time > top:
                        continue
                    columns.first[used] = first
                    columns.last[used] = last
                    columns.size[used] = tables.sizes[k]
                    columns.partition[used] = NONE if head == ANY else head
                    columns.opens[used] = i == 0
                    columns.closes[used] = j == 0
                    columns.start_low[used] = around.starts[i, 0]
                    columns.start_high[used] = around.starts[i, 1]
                    columns.end_low[used] = around.ends[j, 0]
                    columns.end_high[used] = around.ends[after - 1, 1]
                    columns.time_ps[used] = time
                    columns.sending_ps[used] = NO_SENDING
                    if found.sending_ps[n] != NO_SENDING:
                        columns.sending_ps[used] = found.sending_ps[n] + around.read_ps[i]
                    columns.receive_ps[used] = received
                    columns.energy_fj[used] = found.energy_fj[n] + around.read_fj[i] + received_fj
                    columns.refetched_bytes[used] = refetched
                    columns.made_for[used] = around.ends[j, 0]
                    columns.label[used] = found.label[n]
                    used += 1
        j = after
    return used


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
    rooms, ahead = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    missing = np.zeros(count, dtype=np.int64)
    active = np.zeros(count, dtype=np.bool_)
    extra = np.zeros(count, dtype=np.int64)
    label_spans = np.zeros((layers, 5), dtype=np.int64)
    last_span = np.zeros(5, dtype=np.int64)
    lowest, highest = np.zeros(2, dtype=np.int64), np.zeros(2, dtype=np.int64)
    at = np.zeros(4, dtype=np.int64)
    stored = 0
    for last in range(first, lasts[1] + 1):
        least += tables.least[last]
        stored += tables.weight_bytes[last]
        if last < lasts[0] or not tables.clusters[first, last]:
            continue
        around = surroundings(tables, first, last, one, several)
        ends, tops = around.ends, around.tops
        top = tops.max()
        low, high = count, 0
        receptions(tables, first, last, 0, count, extra)
        for k in range(count):
            active[k] = least[k] <= top
            if active[k]:
                rooms[k], missing[k], ahead[k] = fitting(tables, first, last, k, stored)
                ahead[k] += extra[k]
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
                    begin(tables, first, last, k, rooms[k], ahead[k], heads[j])
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
            # On the whole package there is no room for other clusters.
            whole = tables.sizes[k] == tables.chiplets
            sides = (1, 1) if whole else (len(tops), len(ends))
            number = 0
            for j in range(sides[1]):
                spans[j] = number
                soonest = LIMIT
                for pair in range(4):
                    time = heads[j, pair // 2, pair % 2, k] + tables.compute[last, pair % 2, k]
                    soonest = min(soonest, time)
                if soonest > tops[: sides[0], j].max():
                    continue
                spent = 0
                if tables.energy_matters:
                    run = (first, last, stored)
                    labels = find_labels(tables, run, k, ends[j, 0], top, labels, label_spans)
                    last_span[:] = label_spans[last - first]
                    spent = sends_fj(tables, first, last, k, ends[j, 0])
                else:
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
            cluster = (first, last, k, missing[k])
            used = append(tables, cluster, around, sides, found, spans, columns, used)
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
