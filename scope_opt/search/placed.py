"""Compiled costs of the placed model for the searches: what transfers take where regions lie.

Every time is made from integer counts of `scope_opt.model.places.PlacedTables` in one way: volume
times count, divided by the number of shares; the parts of one transfer added; times the time a byte
takes on a link; rounded up.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.model.compiled import compiled, inlined, loop
from scope_opt.model.link_counts import add_route, fill_halo_peaks, scatter_count

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scope_opt.model.tables import LatencyTables

    Ints = NDArray[np.int64]
    Bytes = NDArray[np.int8]
    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

NO_CHAIN, CHAIN_INPUT, CHAIN_SUM = 0, 1, 2
"""What the edge to the next layer is."""
TRAVEL, WANTED, WAITING, ARRIVING, FACTS = 0, 1, 2, 3, 4
"""Columns of what `segment_facts` says of each layer."""


class PlacedKernel(NamedTuple):
    """`PlacedTables` and `Flow` in the form compiled code takes; empty for other instances."""

    placed: bool
    """Whether transfers have places."""
    shared: bool
    """Whether the busiest link bounds the beat."""
    relay: bool
    limit: int
    """Activations that a chiplet can hold, in bytes; negative for any amount"""
    ps_per_byte: float
    phase: Ints
    gather: Ints
    exchange: Ints
    scatter: NDArray[np.int32]
    """(phases, C+1, C+1); empty where that is too large, see `scatter_count`"""
    shape: Ints
    halo: Floats
    """(shapes, phases, C+1); a row is made when it is first asked for, see `halo_bytes`"""
    place: Ints
    """(C, 2)"""
    mesh: Ints
    """(2,) rows and columns"""
    tiles: Ints
    """(shapes, C+1, 3)"""
    shares: Floats
    """(shapes, C+1, 2)"""
    chain: Ints
    """(L, 2) bytes of the edge to the next layer, and what it is"""
    output_bytes: Ints
    edges: Ints
    """(N, 5): from, to, bytes, whether input, whether the layer before the target has the same
    input at least as fully"""
    out_start: Ints
    """(L+1,) edges sorted by source: where those of a layer begin"""
    in_edges: Ints
    """(N,) edges sorted by target"""
    in_start: Ints
    """(L+1,) where those of a layer begin"""
    held: Ints
    """(L, 2, C+1) bytes of input and output in a region"""
    input_bytes: int
    compute_ps: Ints
    """(L, 2, C+1)"""
    read_ps: Ints
    """(L, L)"""
    write_ps: Ints
    """(L, L)"""
    weights: Ints
    """(L,) bytes"""


def make_placed(tables: LatencyTables) -> PlacedKernel:
    """Rearrange tables for compiled code."""
    placed, flow, layers = tables.placed, tables.flow, tables.layers
    none = np.zeros((0, 0), dtype=np.int64)
    edges = np.zeros((0, 5), dtype=np.int64)
    output, chain = np.zeros(layers, np.int64), np.zeros((layers, 2), np.int64)
    if flow is not None:
        output = flow.output_bytes.copy()
        edges = np.zeros((len(flow.edge_from), 5), dtype=np.int64)
        edges[:, 0], edges[:, 1], edges[:, 2] = flow.edge_from, flow.edge_to, flow.edge_bytes
        edges[:, 3] = flow.edge_input
        inputs = {(u, v): moved for u, v, moved, feeds, _ in edges.tolist() if feeds}
        for edge in edges:
            u, v, moved = (int(part) for part in edge[:3])
            edge[4] = inputs.get((u, v - 1), 0) >= moved
            if v == u + 1:
                chain[u] = moved, CHAIN_INPUT if edge[3] else CHAIN_SUM
    by_target = np.argsort(edges[:, 1], kind="stable")
    bounds = np.arange(layers + 1)
    return PlacedKernel(
        placed=placed is not None,
        shared=placed is not None and placed.shared_links,
        relay=placed is not None and placed.relay,
        limit=-1 if tables.activation_buffer_bytes is None else tables.activation_buffer_bytes,
        ps_per_byte=0.0 if placed is None else placed.ps_per_byte,
        phase=np.zeros(0, np.int64) if placed is None else placed.phase.copy(),
        gather=none if placed is None else placed.gather.copy(),
        exchange=none if placed is None else placed.exchange.copy(),
        scatter=placed.scatter
        if placed is not None and placed.scatter_fits
        else np.zeros((0, 0, 0), np.int32),
        shape=np.zeros(0, np.int64) if placed is None else placed.shape.copy(),
        halo=np.zeros((0, 0, 0)) if placed is None else placed.halo_bytes,
        place=none if placed is None else placed.place.copy(),
        mesh=np.array((0, 0) if placed is None else placed.mesh),
        tiles=np.zeros((0, 0, 3), np.int64)
        if placed is None
        else np.array([s.tiles for s in placed.seams]),
        shares=np.zeros((0, 0, 2))
        if placed is None
        else np.array([s.shares for s in placed.seams]),
        chain=chain,
        output_bytes=output,
        edges=edges,
        out_start=np.searchsorted(edges[:, 0], bounds),
        in_edges=by_target,
        in_start=np.searchsorted(edges[by_target, 1], bounds),
        held=np.zeros((0, 2, 0), np.int64)
        if tables.held_bytes is None
        else tables.held_bytes.copy(),
        input_bytes=0 if flow is None else flow.input_bytes,
        compute_ps=tables.compute_ps.copy(),
        read_ps=tables.read_ps.copy(),
        write_ps=tables.write_ps.copy(),
        weights=tables.weight_bytes.copy(),
    )


# --- What depends on the segment's ends ----------------------------------------------------------


@compiled
def segment_facts(kernel: PlacedKernel, first: int, last: int) -> Ints:
    """Bytes that layers of segment ``first..last`` hand on and hold, in one row for each of them.

    ``TRAVEL``: what layers up to this one have computed and later ones read; ``WANTED``: what of
    it is input of the next layer; ``WAITING``: what earlier layers have computed and this or later
    ones still need while this one computes; ``ARRIVING``: input of a cluster that opens here.
    """
    facts = np.zeros((last - first + 1, FACTS), dtype=np.int64)
    edges = kernel.edges
    for u in range(first, last + 1):
        # From the last reader to the first: what is still to be read behind each layer.
        ahead = 0
        stop = last
        for edge in range(kernel.out_start[u + 1] - 1, kernel.out_start[u] - 1, -1):
            v, moved = edges[edge, 1], edges[edge, 2]
            if v > last:
                continue
            if ahead > 0:
                for layer in range(v, stop):
                    _hold(kernel, facts, first, u, layer, ahead)
            stop = v
            # Beside what later layers read, layer v has its own summand while it computes.
            ahead += moved
            if edges[edge, 3] == 0 and v > u:
                held = min(kernel.output_bytes[u], ahead)
                less = min(kernel.output_bytes[u], ahead - moved)
                facts[v - first, WAITING] += held - less
        if ahead > 0:
            for layer in range(u, stop):
                _hold(kernel, facts, first, u, layer, ahead)
    for layer in range(first, last):
        wanted = 0
        for index in range(kernel.in_start[layer + 1], kernel.in_start[layer + 2]):
            edge = kernel.in_edges[index]
            if edges[edge, 0] >= first and edges[edge, 3] == 1:
                wanted += edges[edge, 2]
        facts[layer - first, WANTED] = min(wanted, facts[layer - first, TRAVEL])
        facts[layer + 1 - first, ARRIVING] = facts[layer - first, TRAVEL]
    arriving = kernel.input_bytes if first == 0 else 0
    for index in range(kernel.in_start[first], kernel.in_start[first + 1]):
        arriving += kernel.edges[kernel.in_edges[index], 2]
    facts[0, ARRIVING] = arriving
    return facts


@loop
def _hold(kernel: PlacedKernel, facts: Ints, first: int, u: int, layer: int, ahead: int) -> None:
    """Of layer ``u`` so many bytes are read behind ``layer``."""
    moved = min(kernel.output_bytes[u], ahead)
    facts[layer - first, TRAVEL] += moved
    if layer > u:
        facts[layer - first, WAITING] += moved


# --- Times ---------------------------------------------------------------------------------------


@inlined
def carry_ps(ps_per_byte: float, link_bytes: float) -> int:
    """Time in which a link carries so many bytes; rounded as `ceil_int` does."""
    return math.ceil(link_bytes * ps_per_byte * (1 - 1e-12))


@inlined
def link_ps(kernel: PlacedKernel, link_bytes: float) -> int:
    """The same for links of the package."""
    return carry_ps(kernel.ps_per_byte, link_bytes)


@loop
def gather_bytes(kernel: PlacedKernel, volume: int, start: int, size: int) -> float:
    """On the busiest link, when every chiplet of a region gets all of the volume."""
    return float(volume * kernel.gather[kernel.phase[start], size]) / size


@loop
def exchange_bytes(kernel: PlacedKernel, volume: int, start: int, size: int) -> float:
    """On the busiest link, when every chiplet sends every other a part of its share."""
    return float(volume * kernel.exchange[kernel.phase[start], size]) / (size * size)


@loop
def halo_bytes(kernel: PlacedKernel, layer: int, start: int, size: int) -> float:
    """On the busiest link, when neighbouring tiles of a WSP layer exchange what overlaps."""
    shape, phase = kernel.shape[layer], kernel.phase[start]
    if kernel.halo[shape, phase, 0] < 0:
        _make_halos(kernel, shape, phase)
    return float(kernel.halo[shape, phase, size])


@compiled
def _make_halos(kernel: PlacedKernel, shape: int, phase: int) -> None:
    fill_halo_peaks(
        kernel.place,
        kernel.mesh[0],
        kernel.mesh[1],
        phase,
        kernel.tiles[shape],
        kernel.shares[shape],
        kernel.halo[shape, phase],
    )


@loop
def scatter_shares(kernel: PlacedKernel, start: int, size: int, following: int) -> int:
    """Shares on the busiest link, when a region sends all it has to the next one."""
    phase = kernel.phase[start]
    if len(kernel.scatter):
        return int(kernel.scatter[phase, size, following])
    return int(scatter_count(kernel.place, kernel.mesh[0], kernel.mesh[1], phase, size, following))


@loop
def weight_gather_ps(kernel: PlacedKernel, volume: int, start: int, size: int) -> int:
    """Preparation of a WSP layer that is not alone in its cluster."""
    return int(link_ps(kernel, gather_bytes(kernel, volume, start, size)))


@loop
def within_ps(
    kernel: PlacedKernel, layer: int, this: int, then: int, start: int, size: int, seg_first: int
) -> int:
    """What a layer and layers before it send to the next one, in the same cluster."""
    moved, kind = kernel.chain[layer]
    time = 0
    if kind == CHAIN_SUM and this != then:
        time = link_ps(kernel, exchange_bytes(kernel, moved, start, size))
    elif kind == CHAIN_INPUT:
        if then == 0:
            load = gather_bytes(kernel, moved, start, size)
        else:
            load = halo_bytes(kernel, layer + 1, start, size)
            if this == 0:
                load = exchange_bytes(kernel, moved, start, size) + load
        time = link_ps(kernel, load)
    alone = kind == NO_CHAIN
    for index in range(kernel.in_start[layer + 1], kernel.in_start[layer + 2]):
        edge = kernel.in_edges[index]
        if not _arrives(kernel, edge, layer, this, seg_first):
            continue
        if then == 0:
            time += link_ps(kernel, gather_bytes(kernel, kernel.edges[edge, 2], start, size))
        else:
            time += link_ps(kernel, exchange_bytes(kernel, kernel.edges[edge, 2], start, size))
            if alone:
                time += link_ps(kernel, halo_bytes(kernel, layer + 1, start, size))
                alone = False
    return int(time)


@loop
def _arrives(kernel: PlacedKernel, edge: int, layer: int, this: int, seg_first: int) -> bool:
    """Whether an edge into the next layer has to move: further input that is not there yet."""
    source, _, _, is_input, there = kernel.edges[edge]
    if is_input == 0 or source == layer or source < seg_first:
        return False
    return this == 1 or there == 0


@loop
def hand_over_ps(
    kernel: PlacedKernel,
    travel: int,
    wanted: int,
    then: int,
    start: int,
    size: int,
    following: int,
) -> int:
    """To the next cluster: all that travels is scattered, its first layer's input gathered."""
    shares = size * following
    load = float(travel * scatter_shares(kernel, start, size, following)) / shares
    if then == 0:
        load = load + gather_bytes(kernel, wanted, start + size, following)
    return int(link_ps(kernel, load))


@loop
def sending_layer_ps(
    kernel: PlacedKernel,
    seg_first: int,
    seg_last: int,
    first: int,
    last: int,
    start: int,
    size: int,
    layer: int,
    this: int,
    sent: int,
) -> int:
    """The same as `layer_ps`, of a layer that takes ``sent`` ps to hand on what it made."""
    preparation = kernel.read_ps[seg_first, layer]
    if this == 1 and last > first:
        preparation += weight_gather_ps(kernel, kernel.weights[layer], start, size)
    communication = kernel.write_ps[seg_last, layer] + sent
    return int(preparation + max(kernel.compute_ps[layer, this, size], communication))


@loop
def layer_ps(
    kernel: PlacedKernel,
    facts: Ints,
    seg_first: int,
    seg_last: int,
    first: int,
    last: int,
    start: int,
    size: int,
    following: int,
    layer: int,
    this: int,
    then: int,
) -> int:
    """Time per sample of one layer of a cluster ``first..last``, in ps; see `cluster_ps`.

    ``this`` is its partition, ``then`` that of the next layer.
    """
    sent = 0
    if layer < last:
        sent = within_ps(kernel, layer, this, then, start, size, seg_first)
    elif layer < seg_last:
        travel, wanted = facts[layer - seg_first, TRAVEL], facts[layer - seg_first, WANTED]
        sent = hand_over_ps(kernel, travel, wanted, then, start, size, following)
    return sending_layer_ps(
        kernel, seg_first, seg_last, first, last, start, size, layer, this, sent
    )


@loop
def cluster_ps(
    kernel: PlacedKernel,
    facts: Ints,
    seg_first: int,
    seg_last: int,
    first: int,
    last: int,
    start: int,
    size: int,
    following: int,
    partition: Bytes,
) -> int:
    """Time per sample of the layers of a cluster on positions from ``start``, in ps.

    Refetched weights are left out; ``following`` is the next cluster's size, 0 if there is none;
    ``partition`` is read for the cluster and the layer behind. (Eq. 3-7 of the paper.)
    """
    time = 0
    for layer in range(first, last + 1):
        this, then = partition[layer], partition[layer + 1] if layer < seg_last else 0
        time += layer_ps(
            kernel,
            facts,
            seg_first,
            seg_last,
            first,
            last,
            start,
            size,
            following,
            layer,
            this,
            then,
        )
    return int(time)


@loop
def activations_fit(
    kernel: PlacedKernel, facts: Ints, seg_first: int, first: int, layer: int, own: int, size: int
) -> bool:
    """Whether a layer's activations fit on the chiplets of its cluster, from ``first`` on."""
    if kernel.limit < 0:
        return True
    held = kernel.held[layer, own, size] + facts[layer - seg_first, WAITING]
    return bool(held + facts[first - seg_first, ARRIVING] <= kernel.limit * size)


# --- Links ---------------------------------------------------------------------------------------


@compiled
def add_pairs(
    kernel: PlacedKernel, loads: Floats, start: int, size: int, to: int, to_size: int, share: float
) -> None:
    """Every chiplet of a run sends a share to every chiplet of another."""
    rows, cols = kernel.mesh
    source_rows, source = np.zeros((rows, cols)), np.zeros(rows)
    target_columns, target = np.zeros((rows, cols)), np.zeros(cols)
    for position in range(start, start + size):
        y, x = kernel.place[position]
        source_rows[y, x] += 1
        source[y] += 1
    for position in range(to, to + to_size):
        y, x = kernel.place[position]
        target_columns[y, x] += 1
        target[x] += 1
    for y in range(rows):
        if source[y] == 0:
            continue
        left = before = 0.0
        for x in range(cols - 1):
            left += source_rows[y, x]
            before += target[x]
            loads[0, y, x] += share * left * (to_size - before)
            loads[1, y, x + 1] += share * (source[y] - left) * before
    for x in range(cols):
        if target[x] == 0:
            continue
        above = before = 0.0
        for y in range(rows - 1):
            above += source[y]
            before += target_columns[y, x]
            loads[2, y, x] += share * above * (target[x] - before)
            loads[3, y + 1, x] += share * (size - above) * before


@compiled
def add_gather(kernel: PlacedKernel, loads: Floats, volume: float, start: int, size: int) -> None:
    """Bytes of a gather over every link, named by direction and the chiplet that it leaves."""
    if not kernel.relay:
        add_pairs(kernel, loads, start, size, start, size, volume / size)
        return
    for k in range(1, size):
        before, here = kernel.place[start + k - 1], kernel.place[start + k]
        add_route(loads, before, here, volume * k / size)
        add_route(loads, here, before, volume * (size - k) / size)


@compiled
def add_exchange(kernel: PlacedKernel, loads: Floats, volume: float, start: int, size: int) -> None:
    """Bytes of an exchange over every link."""
    add_pairs(kernel, loads, start, size, start, size, volume / (size * size))


@loop
def add_halo(kernel: PlacedKernel, loads: Floats, layer: int, start: int, size: int) -> None:
    """Bytes of a halo over every link."""
    shape = kernel.shape[layer]
    columns, used_rows, used_columns = kernel.tiles[shape, size]
    down, across = kernel.shares[shape, size]
    if size == 1 or (down == 0 and across == 0):
        return
    for k in range(used_rows):
        for c in range(used_columns):
            here = kernel.place[start + k * columns + c]
            if k + 1 < used_rows:
                below = kernel.place[start + (k + 1) * columns + c]
                add_route(loads, here, below, down)
                add_route(loads, below, here, down)
            if c + 1 < used_columns:
                beside = kernel.place[start + k * columns + c + 1]
                add_route(loads, here, beside, across)
                add_route(loads, beside, here, across)


@loop
def within_bytes(
    kernel: PlacedKernel, layer: int, this: int, then: int, seg_first: int
) -> tuple[float, float, bool]:
    """What `within_ps` times, in bytes: gathered, exchanged, and whether there is a halo."""
    gathered = exchanged = 0.0
    moved, kind = kernel.chain[layer]
    halo = False
    if kind == CHAIN_SUM and this != then:
        exchanged += moved
    elif kind == CHAIN_INPUT:
        if then == 0:
            gathered += moved
        else:
            halo = True
            if this == 0:
                exchanged += moved
    for index in range(kernel.in_start[layer + 1], kernel.in_start[layer + 2]):
        edge = kernel.in_edges[index]
        if _arrives(kernel, edge, layer, this, seg_first):
            if then == 0:
                gathered += kernel.edges[edge, 2]
            else:
                exchanged += kernel.edges[edge, 2]
                halo = halo or kind == NO_CHAIN
    return gathered, exchanged, halo


@compiled
def add_cluster(
    kernel: PlacedKernel,
    loads: Floats,
    facts: Ints,
    seg_first: int,
    seg_last: int,
    first: int,
    last: int,
    start: int,
    size: int,
    following: int,
    partition: Bytes,
) -> None:
    """Bytes of all transfers of a cluster, handing over included, over every link.

    ``partition`` is read for the cluster and the layer behind.
    """
    gathered = exchanged = 0.0
    for layer in range(first, last + 1):
        this = partition[layer]
        if this == 1 and last > first:
            gathered += kernel.weights[layer]
        if layer == last:
            continue
        more_gathered, more_exchanged, halo = within_bytes(
            kernel, layer, this, partition[layer + 1], seg_first
        )
        gathered += more_gathered
        exchanged += more_exchanged
        if halo:
            add_halo(kernel, loads, layer + 1, start, size)
    if gathered > 0:
        add_gather(kernel, loads, gathered, start, size)
    if exchanged > 0:
        add_exchange(kernel, loads, exchanged, start, size)
    if last < seg_last:
        travel, to = facts[last - seg_first, TRAVEL], start + size
        if travel > 0:
            share = float(travel) / (size * following)
            add_pairs(kernel, loads, start, size, to, following, share)
        if partition[last + 1] == 0 and facts[last - seg_first, WANTED] > 0:
            add_gather(kernel, loads, float(facts[last - seg_first, WANTED]), to, following)


@compiled
def busiest_ps(kernel: PlacedKernel, loads: Floats) -> int:
    """How long the busiest link takes."""
    return int(link_ps(kernel, loads.max()))


@compiled
def link_beat(
    kernel: PlacedKernel,
    facts: Ints,
    seg_first: int,
    seg_last: int,
    starts: Ints,
    sizes: Ints,
    partition: Bytes,
) -> int:
    """Least beat in which every link carries all that a segment puts on it, in ps.

    ``starts`` are the first layers of its clusters and the layer behind the last, ``sizes`` their
    regions. 0 where a layer alone on the package sends nothing.
    """
    clusters, package = len(sizes), len(kernel.place)
    if clusters == 1 and sizes[0] == package and seg_first == seg_last:
        return 0
    loads = np.zeros((4, kernel.mesh[0], kernel.mesh[1]))
    position = 0
    for j in range(clusters):
        following = sizes[j + 1] if j + 1 < clusters else 0
        first, last = starts[j], starts[j + 1] - 1
        add_cluster(
            kernel,
            loads,
            facts,
            seg_first,
            seg_last,
            first,
            last,
            position,
            sizes[j],
            following,
            partition,
        )
        position += sizes[j]
    return int(busiest_ps(kernel, loads))
