"""The rows of the network program, stated once for every library, in integers.

Rows have families, whose symbols the README explains. Those that a package or a limit of clusters
sets are *runs*: within a segment, the clusters that begin at layers ``i..j`` have no more chiplets
than there are. They are stated by prefix sums, four terms each, and only those that are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from formulations.network_milp.copies import Copy
from scope_opt.model.tables import LIMIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from formulations.network_milp.candidates import Candidates
    from formulations.network_milp.copies import Beats
    from scope_opt.schedule.schedule import Segment

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]


COUPLING = ("network", "segment_count")
"""Families of rows that join copies; all others are of one copy."""


class Variables(NamedTuple):
    """Where the variables of one copy begin; each family is consecutive."""

    segments: int
    clusters: int
    steps: int
    end: int


class Run(NamedTuple):
    """A row on the clusters that begin at layers ``first..last``, in each copy."""

    resource: int
    first: int
    last: int


@dataclass(frozen=True)
class Resource:
    """What the clusters of a segment share."""

    name: str
    use: Ints
    """By cluster of the candidates."""
    supply: int


class Program:
    """Minimize latency over paths of segments through the network and of clusters through copies.

    Every variable is 0 or 1; the steps between levels are so by themselves.

    Parameters
    ----------
    candidates : Candidates
    ranges : sequence of Beats
        Those of which segments remain get a copy.
    none_ps : int
        What it costs to have no schedule, more than any that is wanted: so there always is a
        solution, and bounds alone say that there is no schedule.
    every : bool
        See `Copy`.
    """

    def __init__(
        self,
        candidates: Candidates,
        ranges: Sequence[Beats],
        none_ps: int,
        *,
        every: bool = False,
    ) -> None:
        c = self.candidates = candidates
        copies = [Copy(c, beats, every=every) for beats in ranges]
        self.copies = [copy for copy in copies if len(copy.segments) and len(copy.clusters)]
        self.resources = [Resource("chiplets", c.size, c.chiplets)]
        if c.most < min(c.layers, c.chiplets // int(c.size.min(initial=1))):
            self.resources.append(Resource("clusters", np.ones_like(c.size), c.most))
        self._rows: list[Ints] = []
        self._columns: list[Ints] = []
        self._values: list[Ints] = []
        self._lower: list[Ints] = []
        self._upper: list[Ints] = []
        self._count = 0
        self.families: list[tuple[str, int, int]] = []
        """Names of families of rows with the rows they begin and end before"""
        self.cost: Ints = self._costs(none_ps)
        """In ps, by variable: segments of one cluster, no schedule, then copy by copy"""
        self.none = len(c.singles)
        begin, end = c.span[0], c.span[1] + 1
        balance = np.zeros(c.layers + 1, dtype=np.int64)
        balance[begin], balance[end] = -1, 1
        network = self._add("network", balance, balance, c.layers + 1)
        self._put(
            network[np.array([s.first for s in c.singles], dtype=np.int64)],
            np.arange(self.none),
            -1,
        )
        self._put(
            network[np.array([s.last + 1 for s in c.singles], dtype=np.int64)],
            np.arange(self.none),
            1,
        )
        none = np.array([self.none])
        self._put(network[[begin]], none, -1)
        self._put(network[[end]], none, 1)
        for copy, at in zip(self.copies, self.variables, strict=True):
            segments = at.segments + np.arange(len(copy.segments))
            self._put(network[copy.segments[:, 0]], segments, -1)
            self._put(network[copy.segments[:, 1] + 1], segments, 1)
            self._clusters(copy, at)
            self._surroundings(copy, at)
        if c.segment_count is not None:
            whole = [np.arange(self.none)]
            whole += [np.arange(at.segments, at.clusters) for at in self.variables]
            row = self._add("segment_count", c.segment_count, c.segment_count, 1)
            self._put(row, np.concatenate(whole), 1)
            self._put(row, none, c.segment_count)
        if c.fewest > 2:
            for copy, at in zip(self.copies, self.variables, strict=True):
                self._fewest(copy, at)
        self.rows = np.concatenate(self._rows)
        self.columns = np.concatenate(self._columns)
        self.values = np.concatenate(self._values)
        """Terms of rows: row, variable, coefficient"""
        self.lower, self.upper = np.concatenate(self._lower), np.concatenate(self._upper)
        """Of rows; ``-LIMIT`` and `LIMIT` for none"""

    # --- Variables -------------------------------------------------------------------------------

    def _costs(self, none_ps: int) -> Ints:
        """Number the variables; return what each costs."""
        c = self.candidates
        costs = [np.array([*(single.latency_ps for single in c.singles), none_ps], dtype=np.int64)]
        self.variables: list[Variables] = []
        used = len(c.singles) + 1
        for copy in self.copies:
            low = copy.beats.low_ps
            a, b = copy.segments.T
            # The segment pays what its own least beat is above the copy's, for as many clusters as
            # it has at least.
            least = np.maximum(low, c.beat_ps[a, b])
            fewest = max(2, c.fewest)
            costs.append(c.load_ps[a, b] + (c.samples - 1 + fewest) * least - fewest * low)
            costs.append(np.full(len(copy.clusters), low, dtype=np.int64))
            steps = int((copy.levels - 1).sum())
            costs.append(np.zeros(steps, dtype=np.int64))
            clusters = used + len(a)
            end = clusters + len(copy.clusters) + steps
            self.variables.append(Variables(used, clusters, end - steps, end))
            used = end
        return np.concatenate(costs)

    # --- Rows ------------------------------------------------------------------------------------

    def _clusters(self, copy: Copy, at: Variables) -> None:
        """Clusters are a path through the copy wherever a segment is."""
        c, k = self.candidates, copy.clusters
        layers = c.layers
        first, last, opens, closes = c.first[k], c.last[k], c.opens[k], c.closes[k]
        x = at.clusters + np.arange(len(k))
        s = at.segments + np.arange(len(copy.segments))
        opening = self._add("opening", 0, 0, layers)
        self._put(opening[copy.segments[:, 0]], s, -1)
        self._put(opening[first[opens]], x[opens], 1)
        closing = self._add("closing", 0, 0, layers)
        self._put(closing[copy.segments[:, 1]], s, -1)
        self._put(closing[last[closes]], x[closes], 1)
        # One node per level after each layer but the last.
        counts = copy.levels[:-1]
        handing = self._add("handing_over", 0, 0, int(counts.sum()))
        begin = np.concatenate([[0], np.cumsum(counts)])
        self._put(handing[begin[last[~closes]] + copy.arrives[~closes]], x[~closes], 1)
        self._put(handing[begin[first[~opens] - 1] + copy.leaves[~opens]], x[~opens], -1)
        upper = np.setdiff1d(np.arange(int(counts.sum())), begin)
        steps = at.steps + np.arange(len(upper))
        self._put(handing[upper], steps, -1)
        self._put(handing[upper - 1], steps, 1)

    def _surroundings(self, copy: Copy, at: Variables) -> None:
        """A cluster is used only where the segment around it is what its time was computed for."""
        c, k = self.candidates, copy.clusters
        a, b = copy.segments.T
        sides = (
            ("begun", c.first[k], c.starts[:, k], ~c.opens[k], a),
            ("ended", c.last[k], c.ends[:, k], ~c.closes[k], b),
        )
        for name, layer, (low, high), free, end in sides:
            beyond = layer + 1 if name == "ended" else np.zeros_like(layer)
            until = np.full_like(layer, c.layers - 1) if name == "ended" else layer - 1
            told = np.flatnonzero(free & ((low > beyond) | (high < until)))
            if not len(told):
                continue
            keys = np.stack([layer[told], low[told], high[told]])
            ranges, inverse = np.unique(keys, axis=1, return_inverse=True)
            which = np.asarray(inverse).ravel()
            for number, (where, least, most) in enumerate(ranges.T.tolist()):
                around = (a <= where) & (b >= where)
                inside = around & (end >= least) & (end <= most)
                if (around == inside).all():
                    continue  # every segment around is one of these; being a path says the rest
                row = self._add(name, -LIMIT, 0, 1)
                self._put(row, at.clusters + told[which == number], 1)
                self._put(row, at.segments + np.flatnonzero(inside), -1)

    def _fewest(self, copy: Copy, at: Variables) -> None:
        """Segments have so many clusters at least."""
        first = self.candidates.first[copy.clusters]
        rows = self._add("fewest_clusters", 0, LIMIT, len(copy.segments))
        for row, n, (a, b) in zip(rows, range(len(rows)), copy.segments.tolist(), strict=True):
            low, high = np.searchsorted(first, [a, b + 1]).tolist()
            self._put(row, np.arange(at.clusters + low, at.clusters + high), 1)
            self._put(row, np.array([at.segments + n]), -self.candidates.fewest)

    def _add(self, name: str, lower: int | Ints, upper: int | Ints, count: int) -> Ints:
        """Numbers of new rows."""
        self._lower.append(np.broadcast_to(np.asarray(lower, dtype=np.int64), count))
        self._upper.append(np.broadcast_to(np.asarray(upper, dtype=np.int64), count))
        self.families.append((name, self._count, self._count + count))
        self._count += count
        return np.arange(self._count - count, self._count)

    def _put(self, rows: Ints, columns: Ints, value: int) -> None:
        """Terms with one coefficient."""
        self._rows.append(np.broadcast_to(rows, columns.shape).astype(np.int64))
        self._columns.append(columns.astype(np.int64))
        self._values.append(np.full(columns.shape, value, dtype=np.int64))

    # --- Runs ------------------------------------------------------------------------------------

    @property
    def whole_runs(self) -> set[Run]:
        """All runs that integer solutions need: those of whole segments."""
        ends = {(a, b) for copy in self.copies for a, b in copy.segments.tolist()}
        return {Run(resource, a, b) for resource in range(len(self.resources)) for a, b in ends}

    def broken_runs(self, values: Floats, tolerance: float) -> set[Run]:
        """Of the runs from each layer, in each copy, the one that a solution breaks most.

        ``tolerance`` is the part of what there is that does not count.
        """
        broken: set[Run] = set()
        layers = self.candidates.layers
        for copy, at in zip(self.copies, self.variables, strict=True):
            first = self.candidates.first[copy.clusters]
            x = values[at.clusters : at.steps]
            opened, covered = _open_and_covered(copy, values[at.segments : at.clusters], layers)
            for number, resource in enumerate(self.resources):
                used = np.bincount(first, x * resource.use[copy.clusters], layers)
                level = np.cumsum(used - resource.supply * opened)
                # Entry (i, j): what the clusters from i to j take beyond what there is.
                excess = level[None, :] - (level - used + resource.supply * covered)[:, None]
                excess[np.tril_indices(layers, -1)] = -np.inf
                worst = excess.argmax(axis=1)
                most = excess[np.arange(layers), worst]
                for i in np.flatnonzero(most > tolerance * resource.supply).tolist():
                    broken.add(Run(number, i, int(worst[i])))
        return broken

    # --- Solutions -------------------------------------------------------------------------------

    def segments_of(self, values: Floats | Ints) -> tuple[Segment, ...]:
        """Those of an integer solution; none where it is that there is no schedule."""
        if values[self.none] > 0.5:
            return ()
        singles = [
            s for s, value in zip(self.candidates.singles, values, strict=False) if value > 0.5
        ]
        used = [
            copy.clusters[values[at.clusters : at.steps] > 0.5]
            for copy, at in zip(self.copies, self.variables, strict=True)
        ]
        return self.candidates.segments(np.concatenate([np.zeros(0, np.int64), *used]), singles)


def _open_and_covered(copy: Copy, s: Floats, layers: int) -> tuple[Floats, Floats]:
    """By layer, how much of a segment begins there, and how much has it."""
    a, b = copy.segments.T
    opened: Floats = np.bincount(a, s, layers).astype(np.float64)
    closed = np.concatenate([[0.0], np.bincount(b, s, layers)[:-1]])
    covered: Floats = np.cumsum(opened - closed)
    return opened, covered
