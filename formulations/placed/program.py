"""The path program: which clusters make a segment, under one largest beat and the links' limits.

Its rows stand here once; `formulations.interval_milp.links` and `formulations.cp_sat.links` hand
them to their libraries.

    minimize   number of arcs used
    flow       one path from node 0 to node 1: at every other node as many arcs arrive as leave
    clusters   fewest <= number of arcs <= most
    link       for a link: sum of (load of the arc, in units of what the link carries) <= `UNITS`
    excluded   not all arcs of a path that is known to break a link

An arc stands for all partitions of its cluster that are fast enough, and loads a link with the
least that any of them does. That is a relaxation: no schedule within the beat is cut off. Where a
path keeps all rows and its schedule still breaks a link, its arcs are split, one for each choice of
partitions, until they load links with just what they do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from formulations.arrays import joined, take
from formulations.placed.fronts import find_front, moved
from scope_opt.model.compiled import compiled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from formulations.placed.costs import SegmentCosts
    from formulations.placed.labels import Arcs
    from formulations.placed.links import Links
    from formulations.request import Request

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

UNITS = 10**6
"""What a link carries in a beat; loads are rounded down to whole units, towards the relaxation."""
CHOICES = 24
"""Choices of a cluster's partitions that are told apart before arcs are split."""
MORE_CHOICES = 8
"""Whenever an arc is split, so many times more."""
SWEEPS, STEEPNESS = 3, 8
"""How often partitions of a path are chosen anew, and the power of a link's relative load that
choices add up."""


class Answer(NamedTuple):
    """What a library says of the program."""

    clusters: int | None
    """No fewer clusters will do; None if no number does."""
    used: list[int] | None
    """Arcs of a solution; None if none is at hand."""


class Emitter(Protocol):
    """Hands a program to a library, again and again while it grows."""

    def solve(self, request: Request) -> Answer:
        """Solve the program as it is now."""


class PathProgram:
    """The program of one segment under one largest beat.

    Parameters
    ----------
    costs : SegmentCosts
    links : Links
    arcs : Arcs
    counts : (int, int)
        Fewest and most clusters.
    beat_ps : int
    needed : int
        No fewer clusters will do, as is known without the program.
    """

    def __init__(
        self,
        costs: SegmentCosts,
        links: Links,
        arcs: Arcs,
        counts: tuple[int, int],
        beat_ps: int,
        needed: int,
    ) -> None:
        self.costs, self._links, self.counts = costs, links, counts
        self.needed = needed
        self._capacity = beat_ps / costs.ps_per_byte * (1 + 1e-9)
        self._nodes: dict[tuple[int, ...], int] = {}
        self.arcs = arcs
        self.tails, self.heads = self._ends(arcs)
        self.live: Flags = np.ones(arcs.number, dtype=np.bool_)
        """Which arcs have not been split"""
        self.rows: list[tuple[int, Ints]] = []
        """Links that have a row, and the units of every arc."""
        self.excluded: list[list[int]] = []
        self.splits = 0
        """How often arcs have been split."""
        # Choices of all arcs; arc k has those from begin[k] to end[k].
        self._gathered: Ints = np.zeros(0, dtype=np.int64)
        self._exchanged: Ints = np.zeros(0, dtype=np.int64)
        self._halo: Ints = np.zeros(0, dtype=np.int64)
        self._partitions: list[list[int]] = []
        self._exact: list[bool] = []
        self._halos = np.zeros((1, 4 * costs.row.shape[0]))
        """Halos of the choices by `_halo`; 0 stands for none"""
        self._told = np.full(arcs.number, CHOICES, dtype=np.int64)
        self._begin, self._end = self._list_choices()

    @property
    def nodes(self) -> int:
        """Number of nodes, the first two of which are the beginning and the end."""
        return len(self._nodes) + 2

    def _ends(self, arcs: Arcs) -> tuple[Ints, Ints]:
        nodes, costs = self._nodes, self.costs
        tails = np.zeros(arcs.number, dtype=np.int64)
        heads = np.ones(arcs.number, dtype=np.int64)
        rows = zip(*(values.tolist() for values in arcs), strict=True)
        for k, (i, s, r, p, j, _, following, then, _) in enumerate(rows):
            if i > costs.first:
                tails[k] = nodes.setdefault((i, s, r, p), len(nodes) + 2)
            if j < costs.last:
                heads[k] = nodes.setdefault((j + 1, s + r, following, then), len(nodes) + 2)
        return tails, heads

    # --- Choices of partitions -------------------------------------------------------------------

    def _list_choices(self) -> tuple[Ints, Ints]:
        """Fronts of all clusters; arcs with the same cluster share one, each as far as its time."""
        costs, arcs = self.costs, self.arcs
        # Regions of one row take the same time.
        rows = costs.row[arcs.start, arcs.size]
        same = (arcs.first, arcs.last, arcs.size, arcs.opening, arcs.closing, rows)
        clusters = np.column_stack(same)
        keys, group = np.unique(clusters, axis=0, return_inverse=True)
        group = group.reshape(-1)
        limits = np.zeros(len(keys), dtype=np.int64)
        np.maximum.at(limits, group, arcs.inner_ps)
        begin = np.zeros(len(keys), dtype=np.int64)
        end = np.zeros(arcs.number, dtype=np.int64)
        fronts = []
        members = np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])
        for k, (i, j, r, p, q, row) in enumerate(keys.tolist()):
            front = find_front(costs, i, j, row, r, p, q, int(limits[k]), CHOICES, False)
            begin[k] = len(self._exact)
            fast = np.searchsorted(front.time, arcs.inner_ps[members[k]], side="right")
            end[members[k]] = begin[k] + fast
            fronts.append(front)
            self._partitions += front.partition.tolist()
            self._exact += front.exact.tolist()
        self._gathered = np.concatenate([front.gathered for front in fronts])
        self._exchanged = np.concatenate([front.exchanged for front in fronts])
        self._halo = np.zeros(len(self._exact), dtype=np.int64)
        return begin[group], end

    def _settled(self, arc: int) -> bool:
        """Whether the arc has one choice, whose loads are known to the byte."""
        first = int(self._begin[arc])
        return int(self._end[arc]) == first + 1 and self._exact[first] and self._halo[first] != 0

    def split(self, path: Sequence[int]) -> bool:
        """Split the arcs of a path into their choices; False if all of them are."""
        new: list[int] = []
        begin: list[int] = []
        told: list[int] = []
        halos: list[Floats] = []
        gathered: list[int] = []
        exchanged: list[int] = []
        for arc in path:
            if self._settled(arc):
                continue
            i, s, r, p, j, q, _, _, inner = (int(values[arc]) for values in self.arcs)
            most = int(self._told[arc]) * MORE_CHOICES
            row = int(self.costs.row[s, r])
            front = find_front(self.costs, i, j, row, r, p, q, inner, most, True)
            self.live[arc] = False
            for k in range(len(front.time)):
                begin.append(len(self._exact))
                new.append(arc)
                told.append(most)
                load = np.zeros(self._halos.shape[1])
                for x in np.flatnonzero(front.halo[k]).tolist():
                    load += self._links.halo(i + x, s, r)
                halos.append(load)
                gathered.append(int(front.gathered[k]))
                exchanged.append(int(front.exchanged[k]))
                self._partitions.append(front.partition[k].tolist())
                self._exact.append(bool(front.exact[k]))
        if not new:
            return False
        self.splits += 1
        number = len(self._halos) + np.arange(len(halos))
        self._halo = np.concatenate([self._halo, number])
        self._halos = np.concatenate([self._halos, np.array(halos)])
        self._gathered = np.concatenate([self._gathered, np.array(gathered)])
        self._exchanged = np.concatenate([self._exchanged, np.array(exchanged)])
        self._begin = np.concatenate([self._begin, np.array(begin)])
        self._end = np.concatenate([self._end, np.array(begin) + 1])
        self._told = np.concatenate([self._told, np.array(told)])
        self.arcs = joined([self.arcs, take(self.arcs, np.array(new))])
        self.live = np.concatenate([self.live, np.ones(len(new), dtype=np.bool_)])
        self.tails, self.heads = self._ends(self.arcs)
        self.rows = [(link, self._units(link)) for link, _ in self.rows]
        return True

    def exclude(self, path: Sequence[int]) -> None:
        """Forbid a path whose arcs are as they are and break a link by less than the rounding."""
        self.excluded.append(list(path))

    # --- Links -----------------------------------------------------------------------------------

    def _loads(self, link: int | slice, some: Ints) -> Floats:
        """Least bytes that arcs put on a link, or on links; shape ``(..., arcs)``."""
        arcs, costs, links = take(self.arcs, some), self.costs, self._links
        start, size, following, j = arcs.start, arcs.size, arcs.next_size, arcs.last
        halo = np.ascontiguousarray(self._halos.T[link])
        loads = _least(
            np.atleast_2d(links.gathers(start, size, link)),
            np.atleast_2d(links.exchanges(start, size, link)),
            self._begin[some],
            self._end[some],
            self._gathered,
            self._exchanged,
            self._halo,
            np.atleast_2d(halo),
        )
        on = following > 0
        behind, then = start + size, np.maximum(following, 1)
        loads[:, on] += (costs.travel[j] * links.scatters(start, size, following, link))[..., on]
        isp = on & (arcs.next_opening == 0)
        wanted = costs.wanted[j[isp]]
        loads[:, isp] += wanted * links.gathers(behind[isp], then[isp], link)
        return loads

    def _units(self, link: int) -> Ints:
        loads = self._loads(link, np.arange(self.arcs.number))[0]
        units: Ints = np.floor(loads / self._capacity * UNITS).astype(np.int64)
        return units

    def separate(self, values: Floats, tolerance: float = 1e-6) -> int:
        """Add rows of links that arcs, used to such parts, overload; how many there are."""
        used = np.flatnonzero(values > tolerance)
        loads = np.floor(self._loads(slice(None), used) / self._capacity * UNITS) @ values[used]
        known = {link for link, _ in self.rows}
        over = [z for z in np.argsort(-loads).tolist() if loads[z] > UNITS * (1 + tolerance) + 0.5]
        over = [z for z in over if z not in known]
        self.rows += [(link, self._units(link)) for link in over]
        return len(over)

    def shortest(self) -> list[int]:
        """A path of the fewest arcs, whatever it does to links."""
        left = np.full(self.nodes, self.arcs.number + 1)
        left[1] = 0
        onward = np.full(self.nodes, -1)
        for arc in np.argsort(-self.arcs.first, kind="stable").tolist():
            tail, head = self.tails[arc], self.heads[arc]
            if left[head] + 1 < left[tail]:
                left[tail], onward[tail] = left[head] + 1, arc
        path, node = [], 0
        while node != 1:
            path.append(int(onward[node]))
            node = int(self.heads[path[-1]])
        return path

    # --- Schedules -------------------------------------------------------------------------------

    def path(self, used: Sequence[int]) -> list[int]:
        """Arcs in the order of their layers."""
        return sorted(used, key=lambda arc: int(self.arcs.first[arc]))

    def schedule(self, path: Sequence[int]) -> list[tuple[int, int, list[int]]]:
        """Layers, chiplets and partitions of each cluster, chosen so that links are loaded little.

        Every choice is fast enough; of those that are merged, one.
        """
        options = [
            [self._partitions[k] for k in range(int(self._begin[arc]), int(self._end[arc]))]
            for arc in path
        ]
        maps = [
            [self._map(arc, partition) for partition in some]
            for arc, some in zip(path, options, strict=True)
        ]
        chosen = [int(np.argmin([m.max() for m in some])) for some in maps]
        total = sum((some[k] for some, k in zip(maps, chosen, strict=True)), np.zeros(1))
        for _ in range(SWEEPS):
            for index, some in enumerate(maps):
                if len(some) > 1:
                    rest = total - some[chosen[index]]
                    trials = (rest + np.array(some)) / self._capacity
                    chosen[index] = int((trials**STEEPNESS).sum(axis=1).argmin())
                    total = rest + some[chosen[index]]
        return [
            (len(some[k]), int(self.arcs.size[arc]), some[k])
            for arc, some, k in zip(path, options, chosen, strict=True)
        ]

    def _map(self, arc: int, partition: list[int]) -> Floats:
        """Bytes of an arc's cluster with these partitions on all links, what is handed over too."""
        costs, links, every = self.costs, self._links, slice(None)
        i, s, r, _, j, _, following, then, _ = (int(values[arc]) for values in self.arcs)
        at, size, to = np.array([s]), np.array([r]), np.array([following])
        gathered, exchanged, halos = moved(costs, i, partition)
        load: Floats = gathered * links.gathers(at, size, every)
        load = load + exchanged * links.exchanges(at, size, every)
        if following:
            load = load + costs.travel[j] * links.scatters(at, size, to, every)
            if then == 0:
                load = load + costs.wanted[j] * links.gathers(at + size, to, every)
        return load[:, 0] + sum((links.halo(layer, s, r) for layer in halos), np.zeros(1))


@compiled
def _least(
    gathers: Floats,
    exchanges: Floats,
    begin: Ints,
    end: Ints,
    gathered: Ints,
    exchanged: Ints,
    halo: Ints,
    halos: Floats,
) -> Floats:
    """Least load over the choices of each arc, ``begin`` to ``end``; by link and arc."""
    loads = np.empty(gathers.shape)
    for z in range(gathers.shape[0]):
        for k in range(gathers.shape[1]):
            least = np.inf
            for choice in range(begin[k], end[k]):
                load = gathered[choice] * gathers[z, k] + exchanged[choice] * exchanges[z, k]
                least = min(least, load + halos[z, halo[choice]])
            loads[z, k] = least
    return loads
