"""Compiled making of columns where energy does not matter (`formulations.columns.maker`).

One call handles all clusters with the same first layer: for every last layer, all region sizes at
once. Without energies the least time before a layer computes is all that has to be known of the
choices before it, for each partition of the first layer and of that layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from formulations.formulas import (
    copies_fit,
    layer_time,
    refetched,
    refetching_time,
    room_left,
)
from scope_opt.model.compiled import released
from scope_opt.model.tables import LIMIT, WSP

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from formulations.space import Space
    from scope_opt.model.tables import LatencyTables

    Ints = NDArray[np.int64]
    Flags = NDArray[np.bool_]

NONE = -1
"""Stands for a partition or a time that a column does not have."""

# Entries of a row, in the order of `Column` without its energy and partitions; then what the
# partitions follow from: the size's index, the segment end and the partitions of the first and the
# last layer that they were chosen for.
FIRST, LAST, SIZE, HEAD, OPENS, CLOSES, START, END = 0, 1, 2, 3, 4, 5, 6, 8
TIME, SENDING, REFETCHED = 10, 11, 12
INDEX, MADE_FOR, FIRST_PARTITION, LAST_PARTITION, ENTRIES = 13, 14, 15, 16, 17


class SizedTables(NamedTuple):
    """`LatencyTables` and `Space` in the form compiled code takes; ``S`` region sizes."""

    chiplets: int
    stream: bool
    weight_buffer_bytes: int
    dram_latency_ps: int
    sizes: Ints
    """(S,)"""
    weight_bytes: Ints
    """(L,)"""
    allowed: Flags
    """(L, 2)"""
    compute: Ints
    """(L, 2, S) ps, like all that follows"""
    gather: Ints
    """(L, S)"""
    within: Ints
    """(L, 2, 2, S)"""
    send: Ints
    """(L, S)"""
    receive: Ints
    """(L, 2): see `receiving_ps`"""
    least: Ints
    """(L, S): lower bound on the time of a layer, whatever surrounds it"""
    stream_fs_per_byte: Ints
    """(S,)"""
    input: Ints
    output: Ints
    """(L,)"""
    leaving: Ints
    """(L + 1,): skip edges ``leaving[l] .. leaving[l + 1]`` leave layer ``l``"""
    edges: Ints
    """(E, 4): from, to, write, read"""
    edge_send: Ints
    """(E, S)"""
    clusters: Flags
    """(L, L)"""


def allowed_partitions(space: Space) -> Flags:
    """(L, 2): which partitions each layer may have."""
    allowed = np.zeros((len(space.partitions), 2), dtype=np.bool_)
    for layer, partitions in enumerate(space.partitions):
        allowed[layer, list(partitions)] = True
    return allowed


def receiving_ps(tables: LatencyTables, space: Space) -> Ints:
    """(L, 2): least and most that the cluster after a layer can charge it for receiving."""
    possible = allowed_partitions(space)[1:, :, None]
    received = tables.receive_ps[:-1, :, list(space.sizes)]
    receive = np.zeros((tables.layers, 2), dtype=np.int64)
    receive[:-1, 0] = np.where(possible, received, LIMIT).min(axis=(1, 2))
    receive[:-1, 1] = np.where(possible, received, 0).max(axis=(1, 2))
    return receive


def sized_tables(tables: LatencyTables, space: Space, least: Ints) -> SizedTables:
    """Rearrange tables for compiled code; ``least`` are the lower bounds by region size."""
    sizes = np.array(space.sizes, dtype=np.int64)
    layers = tables.layers
    edges = [tables.edge_from, tables.edge_to, tables.edge_write_ps, tables.edge_read_ps]

    def sized(values: Ints) -> Ints:
        return np.ascontiguousarray(values[..., sizes])

    return SizedTables(
        chiplets=tables.chiplets,
        stream=tables.stream,
        weight_buffer_bytes=tables.weight_buffer_bytes,
        dram_latency_ps=tables.dram_latency_ps,
        sizes=sizes,
        weight_bytes=tables.weight_bytes.copy(),
        allowed=allowed_partitions(space),
        compute=sized(tables.compute_ps),
        gather=sized(tables.gather_ps),
        within=sized(tables.within_ps),
        send=sized(tables.send_ps),
        receive=receiving_ps(tables, space),
        least=np.ascontiguousarray(least[:, sizes - 1]),
        stream_fs_per_byte=sized(tables.stream_fs_per_byte),
        input=tables.input_ps.copy(),
        output=tables.output_ps.copy(),
        leaving=np.searchsorted(tables.edge_from, np.arange(layers + 1)),
        edges=np.stack(edges, axis=1),
        edge_send=sized(tables.edge_send_ps),
        clusters=space.clusters.copy(),
    )


# --- Times ---------------------------------------------------------------------------------------


@released
def room_and_stream(
    tables: SizedTables, first: int, last: int, k: int, stored: int, exempt: bool
) -> tuple[int, int]:
    """Bytes left for gathered copies (negative: no column), and time to fetch weights again."""
    capacity = tables.weight_buffer_bytes * tables.sizes[k]
    room = room_left(stored, capacity, tables.stream, exempt)
    missing = refetched(stored, capacity, exempt)
    transfers = 0
    if missing > 0:
        for layer in range(first, last + 1):
            transfers += tables.weight_bytes[layer] > 0
    fs_per_byte = tables.stream_fs_per_byte[k]
    return room, refetching_time(missing, fs_per_byte, transfers, tables.dram_latency_ps)


@released
def skip_sends(
    tables: SizedTables, layer: int, last: int, end: int, low: int, high: int, out: Ints
) -> None:
    """What skip edges add to the sending of a layer of a cluster, in a segment up to ``end``."""
    out[low:high] = 0
    for edge in range(tables.leaving[layer], tables.leaving[layer + 1]):
        to = tables.edges[edge, 1]
        if to > end:
            out[low:high] += tables.edges[edge, 2]
        elif to > last:
            out[low:high] += tables.edge_send[edge, low:high]


@released
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


@released
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


@released
def narrow(heads: Ints, low: int, high: int, top: int) -> tuple[int, int]:
    """Give up the sizes at both ends of a range of which nothing is within ``top``."""
    while low < high and heads[:, :, low].min() > top:
        heads[:, :, low] = LIMIT
        low += 1
    while low < high and heads[:, :, high - 1].min() > top:
        high -= 1
        heads[:, :, high] = LIMIT
    return low, high


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


@released
def reads(tables: SizedTables, first: int, last: int, start: int) -> int:
    """Time for reading over DRAM what layers before the segment's first one made."""
    time = tables.input[first] if start == first else 0
    for edge in range(tables.leaving[start]):
        if first <= tables.edges[edge, 1] <= last:
            time += tables.edges[edge, 3]
    return time


@released
def largest(caps: Ints, starts: Ints, ends: Ints) -> int:
    """Largest entry within ranges of segment starts and ends."""
    top = -1
    for start in range(starts[0], starts[1] + 1):
        for end in range(ends[0], ends[1] + 1):
            top = max(top, caps[start, end])
    return top


# --- Columns -------------------------------------------------------------------------------------


@released
def undominated(times: Ints, sendings: Ints, partitions: Ints, count: int) -> int:
    """Keep, at the front and sorted, choices that no other one beats in both times."""
    for i in range(1, count):
        j = i
        while j > 0 and (times[j], sendings[j]) < (times[j - 1], sendings[j - 1]):
            for values in (times, sendings, partitions):
                values[j - 1], values[j] = values[j], values[j - 1]
            j -= 1
    kept = 0
    for i in range(count):
        if kept == 0 or sendings[i] < sendings[kept - 1]:
            times[kept], sendings[kept] = times[i], sendings[i]
            partitions[kept] = partitions[i]
            kept += 1
    return kept


@released
def choices(heads: Ints, compute: Ints, handed: int, k: int, head: int, out: Ints) -> int:
    """Undominated times of a cluster if its last layer computes, or sends, for longer.

    ``head`` is the partition of the first layer, `NONE` for any. ``out`` has rows for the two
    times and the number ``2 p + q`` of the partitions of the first and the last layer.
    """
    count = 0
    for p in range(2):
        for q in range(2):
            if head in (NONE, p) and heads[p, q, k] < LIMIT:
                out[0, count] = heads[p, q, k] + compute[q, k]
                out[1, count] = heads[p, q, k] + handed
                out[2, count] = 2 * p + q
                count += 1
    return undominated(out[0], out[1], out[2], count)


@released
def columns_from(
    tables: SizedTables, first: int, one: Ints, several: Ints, refetch_limit: int
) -> Ints:
    """Columns that begin with a layer.

    Parameters
    ----------
    tables : SizedTables
    first : int
        The layer.
    one, several : array of int64, shape (L, L)
        Largest time of the only cluster of a segment, and of one of several, in ps; -1 for none.
    refetch_limit : int
        Largest number of weight bytes that a cluster may fetch again.

    Returns
    -------
    array of int64, shape (n, ENTRIES)
    """
    layers, count = len(tables.weight_bytes), len(tables.sizes)
    rows = np.empty((1024, ENTRIES), dtype=np.int64)
    used = 0
    least = np.zeros(count, dtype=np.int64)
    rooms, streams = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    active = np.zeros(count, dtype=np.bool_)
    extra = np.zeros(count, dtype=np.int64)
    found = np.zeros((3, 4), dtype=np.int64)
    stored = 0
    starts_alone = np.array([[first, first]])
    for last in range(first, layers):
        least += tables.least[last]
        stored += tables.weight_bytes[last]
        if not tables.clusters[first, last]:
            continue
        # Ranges of segment starts and ends: entry 0 is the cluster's own first or last layer.
        starts = np.concatenate((starts_alone, start_ranges(tables, first, last)))
        ends = np.concatenate((np.array([[last, last]]), end_ranges(tables, first, last)))
        tops = np.empty((len(starts), len(ends)), dtype=np.int64)
        times = np.empty(len(starts), dtype=np.int64)
        for i in range(len(starts)):
            times[i] = reads(tables, first, last, starts[i, 0])
            for j in range(len(ends)):
                tops[i, j] = largest(several, starts[i], ends[j])
        tops[0, 0] = one[first, last]
        top = tops.max()
        low, high = count, 0
        for k in range(count):
            whole = first == last and tables.sizes[k] == tables.chiplets
            missing = refetched(stored, tables.weight_buffer_bytes * tables.sizes[k], whole)
            active[k] = least[k] <= top and missing <= refetch_limit
            if active[k]:
                low, high = min(low, k), k + 1
                rooms[k], streams[k] = room_and_stream(tables, first, last, k, stored, False)
        if low >= high:
            continue
        # Times before the last layer computes, for each range of ends, and what that layer sends.
        heads = np.full((len(ends), 2, 2, count), LIMIT, dtype=np.int64)
        handed = np.zeros((len(ends), count), dtype=np.int64)
        # A single layer on the whole package does not need the room that is found missing here.
        some, beyond = (low, high) if first == last else (high, low)
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
        for k in range(some, beyond):
            if not active[k]:
                continue
            wanted = 8 * len(starts) * (len(ends) + 1)
            if used + wanted > len(rows):
                more = np.empty((2 * len(rows) + wanted, ENTRIES), dtype=np.int64)
                more[:used] = rows[:used]
                rows = more
            fixed = (first, last, k, stored)
            used = closing(
                tables, fixed, heads[0], handed[0, k], starts, times, tops, found, rows, used
            )
            if last + 1 < layers and tops[:, 1:].max() >= 0:
                used = inner(
                    tables, fixed, heads, handed, starts, ends, times, tops, found, rows, used
                )
    return rows[:used]


@released
def closing(
    tables: SizedTables,
    fixed: tuple[int, int, int, int],
    heads: Ints,
    handed: int,
    starts: Ints,
    reads_ps: Ints,
    tops: Ints,
    found: Ints,
    rows: Ints,
    used: int,
) -> int:
    """Append the columns of one run and region size that end their segment."""
    first, last, k, stored = fixed
    compute = tables.compute[last]
    ends = np.array([last, last])
    for i in range(len(starts)):
        if tops[i, 0] < 0:
            continue
        exempt = i == 0 and first == last and tables.sizes[k] == tables.chiplets
        if exempt:
            room, stream = room_and_stream(tables, first, last, k, stored, True)
            before = np.empty((2, 2, k + 1), dtype=np.int64)
            begin(tables, first, last, k, room, stream, before)
        else:
            before = heads
        for head in range(NONE, 2):
            if (head == NONE) != (i == 0):
                continue
            n = choices(before, compute, handed, k, head, found)
            best = -1
            for choice in range(n):
                time = max(found[0, choice], found[1, choice])
                if best < 0 or time < max(found[0, best], found[1, best]):
                    best = choice
            if best < 0:
                continue
            time = max(found[0, best], found[1, best]) + reads_ps[i]
            if time <= tops[i, 0]:
                surroundings = (head, i == 0, True)
                write(tables, fixed, surroundings, starts[i], ends, rows[used])
                if exempt:
                    rows[used, REFETCHED] = 0
                rows[used, TIME], rows[used, SENDING] = time, NONE
                rows[used, MADE_FOR] = last
                rows[used, FIRST_PARTITION] = found[2, best] // 2
                rows[used, LAST_PARTITION] = found[2, best] % 2
                used += 1
    return used


@released
def write(
    tables: SizedTables,
    fixed: tuple[int, int, int, int],
    surroundings: tuple[int, bool, bool],
    starts: Ints,
    ends: Ints,
    row: Ints,
) -> None:
    """Fill in what does not depend on partitions."""
    first, last, k, stored = fixed
    row[0], row[LAST], row[SIZE], row[INDEX] = first, last, tables.sizes[k], k
    row[HEAD], row[OPENS], row[CLOSES] = surroundings
    row[START : START + 2] = starts
    row[END : END + 2] = ends
    row[REFETCHED] = refetched(stored, tables.weight_buffer_bytes * tables.sizes[k], False)


@released
def inner(
    tables: SizedTables,
    fixed: tuple[int, int, int, int],
    heads: Ints,
    handed: Ints,
    starts: Ints,
    ends: Ints,
    reads_ps: Ints,
    tops: Ints,
    found: Ints,
    rows: Ints,
    used: int,
) -> int:
    """Append the columns of one run and region size that hand their output to a next cluster."""
    first, last, k, _ = fixed
    least, most = tables.receive[last]
    # Choices for each range of ends and each partition of the first layer, ``NONE`` at the end.
    table = np.zeros((len(ends), 3, 3, 4), dtype=np.int64)
    counts = np.zeros((len(ends), 3), dtype=np.int64)
    for j in range(1, len(ends)):
        if tops[:, j].max() < 0:
            continue
        for head in range(NONE, 2):
            if head != NONE and first == 0:
                continue
            out = table[j, head]
            n = choices(heads[j], tables.compute[last], handed[j, k], k, head, out)
            for choice in range(n):
                out[0, choice] = max(out[0, choice], out[1, choice] + least)
                if out[1, choice] + most <= out[0, choice]:
                    out[1, choice] = NONE
            counts[j, head] = undominated(out[0], out[1], out[2], n)
    j = 1
    while j < len(ends):
        if tops[:, j].max() < 0:
            j += 1
            continue
        # Ranges between which no difference shows are one.
        after = j + 1
        while after < len(ends) and tops[:, after].max() >= 0 and same(table, counts, j, after):
            after += 1
        merged = np.array([ends[j, 0], ends[after - 1, 1]])
        for i in range(len(starts)):
            top = tops[i, j:after].max()
            for head in range(NONE, 2):
                if (head == NONE) != (i == 0):
                    continue
                for choice in range(counts[j, head]):
                    time = table[j, head, 0, choice] + reads_ps[i]
                    if time > top:
                        continue
                    sending = table[j, head, 1, choice]
                    write(tables, fixed, (head, i == 0, False), starts[i], merged, rows[used])
                    rows[used, TIME] = time
                    rows[used, SENDING] = sending + reads_ps[i] if sending >= 0 else NONE
                    rows[used, MADE_FOR] = ends[j, 0]
                    rows[used, FIRST_PARTITION] = table[j, head, 2, choice] // 2
                    rows[used, LAST_PARTITION] = table[j, head, 2, choice] % 2
                    used += 1
        j = after
    return used


@released
def same(table: Ints, counts: Ints, i: int, j: int) -> bool:
    """Whether the choices for two ranges of ends have the same times."""
    for head in range(3):
        if counts[i, head] != counts[j, head]:
            return False
        for choice in range(counts[i, head]):
            for entry in range(2):
                if table[i, head, entry, choice] != table[j, head, entry, choice]:
                    return False
    return True


# --- Partitions ----------------------------------------------------------------------------------


@released
def partitions_of(tables: SizedTables, rows: Ints) -> NDArray[np.int8]:
    """Partitions that attain the times of columns.

    Shape ``(n, L)``; entry ``l`` of a row is the partition of the column's ``l``-th layer.
    """
    layers, count = len(tables.weight_bytes), len(tables.sizes)
    found = np.zeros((len(rows), layers), dtype=np.int8)
    heads = np.empty((layers + 1, 2, 2, count), dtype=np.int64)
    extra, rooms = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    stored = np.zeros(layers + 1, dtype=np.int64)
    stored[1:] = np.cumsum(tables.weight_bytes)
    for n in range(len(rows)):
        row = rows[n]
        first, last, k, end = row[0], row[LAST], row[INDEX], row[MADE_FOR]
        p, q = row[FIRST_PARTITION], row[LAST_PARTITION]
        found[n, 0], found[n, last - first] = p, q
        if last - first < 2:
            continue
        weights = stored[last + 1] - stored[first]
        rooms[k], stream = room_and_stream(tables, first, last, k, weights, False)
        begin(tables, first, last, k, rooms[k], stream, heads[0])
        for layer in range(first, last):
            step_from = layer - first
            heads[step_from + 1, :, :, k] = heads[step_from, :, :, k]
            skip_sends(tables, layer, last, end, k, k + 1, extra)
            step(tables, layer, k, k + 1, extra, rooms, heads[step_from + 1])
        for layer in range(last - 1, first, -1):
            skip_sends(tables, layer, last, end, k, k + 1, extra)
            gather = tables.gather[layer + 1, k] if q == WSP else 0
            at = layer - first
            for then in range(2):
                sending = tables.within[layer, then, q, k] + extra[k]
                time = layer_time(tables.compute[layer, then, k], sending, gather)
                if heads[at, p, then, k] + time == heads[at + 1, p, q, k]:
                    q = then
                    break
            found[n, at] = q
    return found


@released
def columns_within(numbers: Ints, low: int, high: int, first: int, last: int, slowest: int) -> Ints:
    """Columns among ``low..high`` that segment ``first..last`` can have, up to the slowest time.

    ``numbers`` are those of `formulations.columns.table.ColumnTable`.
    """
    found = np.empty(high - low, dtype=np.int64)
    count = 0
    for k in range(low, high):
        if numbers[3, k] > slowest:
            continue
        begin, end = numbers[0, k], numbers[1, k]
        if end > last or (numbers[8, k] == 1) != (begin == first):
            continue
        if (numbers[9, k] == 1) != (end == last):
            continue
        if numbers[10, k] > first or first > numbers[11, k]:
            continue
        if numbers[12, k] > last or last > numbers[13, k]:
            continue
        found[count] = k
        count += 1
    return found[:count].copy()
