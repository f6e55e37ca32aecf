"""What layers of a segment move between chiplets, by the replay's own reading of docs/model.md.

Times of the placed model come from the tables, which count the shares on busiest links; what every
link carries is counted here, route by route. That the two belong together is for tests to see.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import numpy as np

from scope_opt.model.mesh import link_loads, links
from scope_opt.model.tables import ISP, PARTITIONS, WSP, ceil_int
from scope_opt.replay.messages import Pairs, Region, Seams, Steps, tile_positions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from scope_opt.model.tables import LatencyTables
    from scope_opt.replay.messages import Pattern
    from scope_opt.schedule.schedule import Segment

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Kind = Literal["gather", "relay", "exchange", "scatter", "halo"]


class Part(NamedTuple):
    """A thing that is moved between the places of regions."""

    kind: Kind
    layers: tuple[int, int]
    """Whose output, for which layer; a layer twice: its kernel."""
    peak: float
    """Bytes on its busiest link."""
    loads: Floats
    """Bytes on every link, in the order of `scope_opt.model.mesh.links`."""
    sent: Pattern
    """Which chiplets send them."""


class Transfer(NamedTuple):
    """Something moved for one sample, after which the next transfer of the layer begins."""

    time_ps: int
    """With every link it needs to itself."""
    energy_fj: int
    links_ps: Floats | None = None
    """Part of ``time_ps`` that each mesh link is busy with it; None where links are not shared."""
    parts: tuple[Part, ...] = ()
    """What is moved, one after the other; none in the regressed model, which knows no places."""


class Layout:
    """Where the layers of a segment run, and how they are split."""

    def __init__(self, segment: Segment) -> None:
        self.first, self.last = segment.first_layer, segment.last_layer
        self.regions: list[Region] = []
        self.stage: dict[int, int] = {}
        self.partition: dict[int, int] = {}
        position = 0
        for index, cluster in enumerate(segment.clusters):
            self.regions.append(Region(position, cluster.chiplets))
            position += cluster.chiplets
            for layer, partition in enumerate(cluster.partitions, cluster.first_layer):
                self.stage[layer] = index
                self.partition[layer] = PARTITIONS.index(partition)

    def region(self, layer: int) -> Region:
        """Where a layer runs."""
        return self.regions[self.stage[layer]]

    def together(self, layer: int, other: int) -> bool:
        """Whether two layers are in one cluster of the segment."""
        return self.stage.get(layer, -1) == self.stage.get(other, -2)

    def gathers(self, layer: int) -> bool:
        """Whether the whole kernel is gathered for every sample: WSP, unless alone and kept."""
        shared = self.together(layer, layer - 1) or self.together(layer, layer + 1)
        return shared and self.partition[layer] == WSP


class Moves(Protocol):
    """Transfers of a layer, in order."""

    def preparing(self, at: Layout, layer: int) -> list[Transfer]:
        """Before it computes."""

    def sending(self, at: Layout, layer: int) -> list[Transfer]:
        """While it computes: to the next layer, and to others of the segment."""


def moves(tables: LatencyTables, pj_per_bit: float) -> Moves:
    """Transfers of an instance by its model; the energy of a bit per link is for the placed one."""
    return _Regressed(tables) if tables.placed is None else _Placed(tables, pj_per_bit)


class _Regressed:
    """Transfers that the tables price by sizes of regions."""

    def __init__(self, t: LatencyTables) -> None:
        times = t.gather_ps, t.within_ps, t.send_ps, t.receive_ps, t.edge_send_ps
        energies: Sequence[Ints | None] = (None,) * len(times)
        if t.energy is not None:
            e = t.energy
            energies = e.gather_fj, e.within_fj, e.send_fj, e.receive_fj, e.edge_send_fj
        priced = zip(times, energies, strict=True)
        self._gather, self._within, self._send, self._receive, self._skip = priced
        ends = t.edge_from, t.edge_after, t.edge_to
        self._edges = list(zip(*(end.tolist() for end in ends), strict=True))
        self._edge_receive = t.edge_receive_ps

    def preparing(self, at: Layout, layer: int) -> list[Transfer]:
        """See `Moves`."""
        size = at.region(layer).size
        found = [_read(self._gather, (layer, size))] if at.gathers(layer) else []
        for edge, (_, before, target) in enumerate(self._edges):
            if (
                target == layer
                and not at.together(before, target)
                and self._edge_receive[edge, size]
            ):
                found.append(Transfer(int(self._edge_receive[edge, size]), 0))
        return found

    def sending(self, at: Layout, layer: int) -> list[Transfer]:
        """See `Moves`."""
        found, size = [], at.region(layer).size
        if layer < at.last:
            this, then = at.partition[layer], at.partition[layer + 1]
            if at.together(layer, layer + 1):
                found.append(_read(self._within, (layer, this, then, size)))
            else:
                found.append(_read(self._send, (layer, size)))
                found.append(_read(self._receive, (layer, then, at.region(layer + 1).size)))
        for edge, (source, before, target) in enumerate(self._edges):
            if source != layer or target > at.last:
                continue
            if at.together(source, before) and not at.together(before, target):
                found.append(_read(self._skip, (edge, size)))
        return found


def _read(priced: tuple[Ints, Ints | None], entry: tuple[int, ...]) -> Transfer:
    times, energies = priced
    return Transfer(int(times[entry]), 0 if energies is None else int(energies[entry]))


class _Edge(NamedTuple):
    source: int
    bytes: int
    is_input: bool


class _Placed:
    """Transfers that load the links where regions lie."""

    def __init__(self, tables: LatencyTables, pj_per_bit: float) -> None:
        placed, flow = tables.placed, tables.flow
        assert placed is not None
        assert flow is not None  # the instance has a network
        self._placed, self._weights = placed, tables.weight_bytes.tolist()
        self._fj_per_byte = 8000 * pj_per_bit
        self._routes = _Routes(placed.mesh, placed.place)
        self._into: list[list[_Edge]] = [[] for _ in self._weights]
        """Edges by the layer that reads them."""
        arrays = flow.edge_from, flow.edge_to, flow.edge_bytes, flow.edge_input
        for source, target, moved, is_input in zip(*(x.tolist() for x in arrays), strict=True):
            self._into[target].append(_Edge(source, moved, is_input))
        self._output = flow.output_bytes.tolist()

    def preparing(self, at: Layout, layer: int) -> list[Transfer]:
        """See `Moves`."""
        if not at.gathers(layer):
            return []
        kernel = self._gather(self._weights[layer], at.region(layer), (layer, layer))
        return list(self._transfer(kernel))

    def sending(self, at: Layout, layer: int) -> list[Transfer]:
        """See `Moves`."""
        if layer == at.last:
            return []
        if at.together(layer, layer + 1):
            return [*self._chain(at, layer), *self._inputs(at, layer)]
        return list(self._hand_over(at, layer))

    def _chain(self, at: Layout, layer: int) -> Iterator[Transfer]:
        """Case 1: what the next layer reads of this one."""
        edge = self._from_before(layer + 1)
        if edge is None:
            return
        here, ends = at.region(layer), (layer, layer + 1)
        this, then = at.partition[layer], at.partition[layer + 1]
        if not edge.is_input:  # what is added has to lie as the sum does
            if this != then:
                yield from self._transfer(self._exchange(edge.bytes, here, ends))
        elif then == ISP:
            yield from self._transfer(self._gather(edge.bytes, here, ends))
        elif this == WSP:
            yield from self._transfer(self._halo(layer + 1, here))
        else:
            halo = self._halo(layer + 1, here)
            yield from self._transfer(self._exchange(edge.bytes, here, ends), halo)

    def _inputs(self, at: Layout, layer: int) -> Iterator[Transfer]:
        """What the next layer, in the same cluster, reads of layers before this one.

        An ISP layer has its whole input on every chiplet; what that includes need not move again.
        """
        here, into_isp = at.region(layer), at.partition[layer + 1] == ISP
        had = self._into[layer] if at.partition[layer] == ISP else []
        present = {edge.source: edge.bytes for edge in had if edge.is_input}
        moved = [
            edge
            for edge in self._into[layer + 1]
            if edge.is_input
            and at.first <= edge.source < layer
            and edge.bytes > present.get(edge.source, 0)
        ]
        for edge in moved:
            move = self._gather if into_isp else self._exchange
            yield from self._transfer(move(edge.bytes, here, (edge.source, layer + 1)))
        if moved and not into_isp and self._from_before(layer + 1) is None:
            yield from self._transfer(self._halo(layer + 1, here))

    def _hand_over(self, at: Layout, layer: int) -> Iterator[Transfer]:
        """Case 2: all that later layers of the segment read, and for ISP the next one's input."""
        here, there, ends = at.region(layer), at.region(layer + 1), (layer, layer + 1)
        travels = 0
        for source in range(at.first, layer + 1):
            later = range(layer + 1, at.last + 1)
            read = sum(e.bytes for v in later for e in self._into[v] if e.source == source)
            travels += min(self._output[source], read)
        parts = [self._scatter(travels, here, there, ends)]
        if at.partition[layer + 1] == ISP:
            into = self._into[layer + 1]
            read = sum(e.bytes for e in into if e.is_input and e.source >= at.first)
            parts.append(self._gather(min(travels, read), there, ends))
        yield from self._transfer(*parts)

    def _from_before(self, layer: int) -> _Edge | None:
        """The chain edge into a layer."""
        return next((edge for edge in self._into[layer] if edge.source == layer - 1), None)

    def _transfer(self, *parts: Part) -> Iterator[Transfer]:
        """One transfer of parts moved one after the other; nothing to move is none."""
        placed = self._placed
        time_ps = int(ceil_int(sum(part.peak for part in parts) * placed.ps_per_byte))
        if time_ps == 0:
            return
        moved = sum(float(part.loads.sum()) for part in parts)
        links_ps = np.sum([part.loads for part in parts], axis=0) * placed.ps_per_byte
        energy_fj = int(ceil_int(moved * self._fj_per_byte))
        yield Transfer(time_ps, energy_fj, links_ps if placed.shared_links else None, parts)

    def _gather(self, volume: int, at: Region, layers: tuple[int, int]) -> Part:
        """Every byte to every chiplet."""
        share = volume / at.size
        peak = int(self._placed.gather[self._phase(at), at.size])
        if self._placed.relay:
            loads, sent = self._routes.relayed(at), Steps(at, share)
            return Part("relay", layers, volume * peak / at.size, volume * loads / at.size, sent)
        loads, pairs = self._routes.pairs(at, at), Pairs(at, at, share)
        return Part("gather", layers, volume * peak / at.size, volume * loads / at.size, pairs)

    def _exchange(self, volume: int, at: Region, layers: tuple[int, int]) -> Part:
        """From every chiplet to every other one an equal part."""
        peak, shares = int(self._placed.exchange[self._phase(at), at.size]), at.size**2
        loads = volume * self._routes.pairs(at, at) / shares
        sent = Pairs(at, at, volume / shares)
        return Part("exchange", layers, volume * peak / shares, loads, sent)

    def _scatter(self, volume: int, at: Region, to: Region, layers: tuple[int, int]) -> Part:
        """From every chiplet of a region to every one of the next an equal part."""
        peak = self._placed.scatter_count(at.first, at.size, to.size)
        shares = at.size * to.size
        loads = volume * self._routes.pairs(at, to) / shares
        sent = Pairs(at, to, volume / shares)
        return Part("scatter", layers, volume * peak / shares, loads, sent)

    def _halo(self, layer: int, at: Region) -> Part:
        """Between tiles of a layer that meet, of its input."""
        shape = int(self._placed.shape[layer])
        seams = self._placed.seams[shape]
        row_bytes, col_bytes = seams.shares[at.size].tolist()
        columns, used_rows, used_columns = seams.tiles[at.size].tolist()
        tiles = columns, used_rows, used_columns
        down, across = self._routes.seams(at.first, tiles)
        peak = self._placed.halo(shape, at.first, at.size)
        loads = down * row_bytes + across * col_bytes
        sent = Seams(at.first, tiles, row_bytes, col_bytes)
        return Part("halo", (layer - 1, layer), peak, loads, sent)

    def _phase(self, at: Region) -> int:
        return int(self._placed.phase[at.first])


class _Routes:
    """Routes over each directed link, in the order of `scope_opt.model.mesh.links`."""

    def __init__(self, mesh: tuple[int, int], place: Ints) -> None:
        self._mesh, self._place = mesh, place
        self.pairs = lru_cache(maxsize=4096)(self._pairs)
        self.relayed = lru_cache(maxsize=4096)(self._relayed)
        self.seams = lru_cache(maxsize=4096)(self._seams)

    def _pairs(self, at: Region, to: Region) -> Ints:
        """From every chiplet of a region to every one of another."""
        sets = [np.arange(run.first, run.first + run.size)[None] for run in (at, to)]
        counts: Ints = link_loads(*map(self._sets, sets))[0]
        return counts

    def _relayed(self, at: Region) -> Ints:
        """Shares handed on along the positions: all before a step forward, all behind it back."""
        steps = np.arange(1, at.size)
        here, before = at.first + steps, at.first + steps - 1
        return steps @ self._single(before, here) + (at.size - steps) @ self._single(here, before)

    def _seams(self, first: int, tiles: tuple[int, int, int]) -> tuple[Ints, Ints]:
        """Both ways between tiles that meet in row seams, and in column seams."""
        grid = tile_positions(first, tiles)
        return self._both_ways(grid[:-1], grid[1:]), self._both_ways(grid[:, :-1], grid[:, 1:])

    def _both_ways(self, one: Ints, other: Ints) -> Ints:
        one, other = one.ravel(), other.ravel()
        both = self._single(one, other) + self._single(other, one)
        counts: Ints = both.sum(axis=0)
        return counts

    def _single(self, sources: Ints, targets: Ints) -> Ints:
        """The route from each source to its target, shape ``(routes, links)``."""
        if not len(sources):
            return np.zeros((0, len(links(*self._mesh))), dtype=np.int64)
        return link_loads(self._sets(sources[:, None]), self._sets(targets[:, None]))

    def _sets(self, positions: Ints) -> Ints:
        """Sets of positions as `link_loads` takes them; shape ``(sets, members)``."""
        found = np.zeros((len(positions), *self._mesh), dtype=np.int64)
        rows, cols = self._place[positions].transpose(2, 0, 1)
        found[np.arange(len(positions))[:, None], rows, cols] = 1
        return found
