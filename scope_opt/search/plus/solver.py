"""`scope-plus`: the paper's scheme, with each of its decisions taken by a recursion.

- Segments: a shortest path over all cuts, on the latencies that the scheme itself reaches. Those
  are estimated for all segments at once; segments on the path that looks best are scheduled, until
  all on it are.
- Clusters: a table by time. For every segment and number of clusters, those that need the fewest
  chiplets within a beat (`table`), at beats 2 % apart, instead of one table by similarity.
- Regions and partitions: for given clusters the best ones (`regions`), instead of moves from
  proportional regions and one transition from WSP to ISP.

It proves nothing: clusters are chosen by sizes of regions alone, and links that transfers share are
not looked at before a schedule is complete.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from scope_opt.model.instance import PLACES, SHAPE
from scope_opt.model.tables import LIMIT
from scope_opt.schedule.bounds import best_cut, segment_bounds
from scope_opt.search.anneal.solver import chosen_cuts
from scope_opt.search.cuts import segment_ends, shortest_cut
from scope_opt.search.equal import moved
from scope_opt.search.paper.segmentation import SegmentSearch
from scope_opt.search.paper.solver import ScopeSolver
from scope_opt.search.plus.scheme import Scheme

if TYPE_CHECKING:
    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.search.cuts import CostedSegment
    from scope_opt.search.packed import Ints
    from scope_opt.solving.monitor import Monitor
    from scope_opt.solving.solver import SolveOptions

    Ends = tuple[int, int]

SCHEDULED, ENOUGH = 40, 0.997
"""Most segments of several layers that are scheduled; and the search ends when it promises less
than so much of the best latency."""
JUDGED, HOPEFUL = 4, 0.1
"""When so many segments are scheduled, this quantile of how they compare to their estimates
corrects the estimates of all others."""


class ScopePlusSolver:
    """The paper's scheme with better decisions."""

    name: ClassVar[str] = "scope-plus"
    summary: ClassVar[str] = (
        "the paper's scheme with better decisions: recursions over cuts, clusters and regions"
    )
    exact: ClassVar[bool] = False
    constraints: ClassVar[frozenset[str]] = SHAPE | PLACES
    options: ClassVar[frozenset[str]] = frozenset()

    def run(
        self,
        instance: Instance,
        tables: LatencyTables,
        options: SolveOptions,
        monitor: Monitor,
    ) -> None:
        """Search; see `scope_opt.solving.solver.Solver`.

        Equal input gives equal output, unless a limit stops the search.
        """
        bounds = segment_bounds(tables)
        bound_ps = int(best_cut(bounds)[-1])
        if bound_ps < LIMIT:
            monitor.raise_bound(bound_ps, "simple bound")
        choice = chosen_cuts(instance, options.segments)
        monitor.report("estimates of segments", 0.0)
        scheme = Scheme(instance, tables, bounds, lambda: monitor.stopping)
        if isinstance(choice, int):
            _Cut(scheme, tables.layers, choice, monitor).run()
        elif choice == "dp":
            _Cut(scheme, tables.layers, None, monitor).run()
        else:
            SegmentSearch(tables, lambda a, b, _: scheme.schedule(a, b), monitor).run(choice)
        if monitor.segments is None and not monitor.stopped_early:
            proofs = ScopeSolver().obstacles(instance, tables, choice)
            if proofs:
                monitor.prove_infeasible(proofs, "simple bound")
                return
            monitor.give_up(
                [
                    f"solver {self.name!r} finds no schedule for these segments under the side "
                    "constraints and the weight capacity, though there may be one; try solver "
                    "'exact', segments 'dp', more chiplets or overflow 'stream'"
                ]
            )


class _Cut:
    """The best cut, with segments scheduled only where it looks best.

    Equal segments are scheduled once.
    """

    def __init__(self, scheme: Scheme, layers: int, count: int | None, monitor: Monitor) -> None:
        self._scheme, self._layers, self._count = scheme, layers, count or 0
        self._monitor = monitor
        self._equal, self._estimate = scheme.equal, scheme.estimate
        self._costs = np.full((layers, layers), LIMIT, dtype=np.int64)
        """(L, L) ps that segments take; `LIMIT` where they are not scheduled"""
        self._done = np.zeros((layers, layers), dtype=np.bool_)
        self._known: dict[int, CostedSegment] = {}
        """By the number of `EqualSegments`"""
        self._ratios: list[float] = []
        """Latencies of scheduled segments by their estimates"""

    def run(self) -> None:
        """Schedule segments of the path that looks best, until it promises too little."""
        for layer in range(self._layers):
            if self._monitor.stopping:
                return
            if not self._done[layer, layer]:
                self._schedule((layer, layer))
        self._report()
        scheduled = 0
        while scheduled < SCHEDULED and not self._monitor.stopping:
            total, path = self._path(self._hoped())
            left = {self._equal.number(ends): ends for ends in path if not self._done[ends]}
            best = self._monitor.objective
            if not left or (best is not None and total > ENOUGH * best):
                break
            for ends in left.values():
                self._schedule(ends)
            scheduled += len(left)
            self._report()

    def _hoped(self) -> Ints:
        """What segments take, or may take as far as is known."""
        factor = 1.0
        if len(self._ratios) >= JUDGED:
            factor = float(np.quantile(self._ratios, HOPEFUL))
        hoped = np.where(self._estimate < LIMIT, self._estimate * factor, float(LIMIT))
        return np.where(self._done, self._costs, hoped.astype(np.int64))

    def _path(self, costs: Ints) -> tuple[int, list[Ends]]:
        """The best cut, and what it costs; no segments if there is none."""
        total, starts = shortest_cut(costs, self._count, LIMIT)
        return int(total), segment_ends(starts.tolist(), self._layers) if total < LIMIT else []

    def _schedule(self, ends: Ends) -> None:
        found, alike = self._scheme.schedule(*ends), self._equal.like(ends)
        self._done[alike] = True
        if found is not None:
            self._costs[alike] = found.cost
            self._known[self._equal.number(ends)] = found
            if self._estimate[ends] < LIMIT:
                self._ratios.append(found.cost / int(self._estimate[ends]))

    def _report(self) -> None:
        """Tell the monitor of the best schedule that known segments make up."""
        total, ends = self._path(self._costs)
        if ends:
            found = [(self._known[self._equal.number(each)].segment, each[0]) for each in ends]
            self._monitor.improve(total, [moved(segment, first) for segment, first in found])
