"""Attribution: which decision of a schedule loses how much against the optimum.

Decisions are freed one after the other, and each space of schedules is solved to its optimum by the
recursion of the exact solver. In the placed model that leaves shared links out, so that a step is
known between its optimum without them and the best schedule found with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from scope_opt.model.files import InputError
from scope_opt.model.tables import LIMIT
from scope_opt.schedule.evaluate import evaluate
from scope_opt.search.allowed import EITHER, ONLY_ISP, WSP_IF_FITS, make_allowed
from scope_opt.search.exact.network import prove_segment
from scope_opt.search.exact.places.costs import CostTables
from scope_opt.search.exact.places.judge import Placed, reported
from scope_opt.search.exact.places.segment import SegmentSearch
from scope_opt.search.exact.solver import ExactSolver
from scope_opt.solving.monitor import Monitor

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.schedule.schedule import Schedule
    from scope_opt.search.allowed import Allowed


@dataclass(frozen=True)
class Attribution:
    """Optimal latency in ps when a schedule's decisions are freed one after the other.

    Each field frees one more decision than the one before it, so the differences say what each
    decision of the schedule loses. ``transition_ps`` stands beside them: the optimum over clusters
    and regions, in the schedule's segments, if each segment switches once from WSP to ISP; None if
    no such schedule is valid. In the placed model each is the best schedule found, and ``open_ps``
    the most by which one of them may still be above its optimum.
    """

    schedule_ps: int
    partitions_ps: int
    """Partitions free; segments, clusters and regions as in the schedule"""
    regions_ps: int
    """Also regions free"""
    clusters_ps: int
    """Also clusters free"""
    segments_ps: int
    """Everything free: the optimum of the instance"""
    transition_ps: int | None
    open_ps: int = 0

    @property
    def gap(self) -> float:
        """``(schedule - optimum) / optimum``."""
        return sum(self.losses().values())

    def losses(self) -> dict[str, float]:
        """Loss by decision, relative to the optimum; they add up to `gap`."""
        steps = (
            ("partitions", self.schedule_ps, self.partitions_ps),
            ("regions", self.partitions_ps, self.regions_ps),
            ("clusters", self.regions_ps, self.clusters_ps),
            ("segments", self.clusters_ps, self.segments_ps),
        )
        return {name: (before - after) / self._unit for name, before, after in steps}

    @property
    def transition_loss(self) -> float | None:
        """What the single transition loses in the schedule's segments, relative to the optimum."""
        if self.transition_ps is None:
            return None
        return (self.transition_ps - self.clusters_ps) / self._unit

    @property
    def open_share(self) -> float:
        """``open_ps`` relative to the optimum."""
        return self.open_ps / self._unit

    @property
    def _unit(self) -> int:
        return max(self.segments_ps, 1)  # tables may hold nothing but zeros


def attribute(
    instance: Instance,
    tables: LatencyTables,
    schedule: Schedule,
    optimum_ps: int,
    monitor: Monitor | None = None,
    bound_ps: int | None = None,
) -> Attribution:
    """Which decision of a feasible schedule loses how much against the optimum.

    Parameters
    ----------
    instance, tables, schedule : Instance, LatencyTables, Schedule
    optimum_ps : int
        The optimum, or the best latency known if links leave it open.
    monitor : Monitor, optional
        Asked whether to stop.
    bound_ps : int, optional
        Proved lower bound on the optimum; by default ``optimum_ps``.

    Raises
    ------
    InputError
        If the schedule violates a rule or is better than ``optimum_ps``.
    SearchStopped
        If the monitor asks to stop.
    """
    monitor = monitor or Monitor()
    evaluation = evaluate(instance, schedule, tables)
    if evaluation.objective_ps is None or evaluation.objective_ps < optimum_ps:
        problems = [str(violation) for violation in evaluation.violations]
        raise InputError("schedule", problems or [f"is better than the optimum {optimum_ps} ps"])
    counts = ExactSolver().cluster_counts(instance, tables)
    free = make_allowed(instance.constraints, tables.layers, tables.chiplets)
    own_clusters = np.zeros_like(free.clusters)
    own_regions = np.zeros_like(free.regions)
    for cluster in schedule.clusters:
        own_clusters[cluster.first_layer, cluster.last_layer] = True
        own_regions[cluster.first_layer, cluster.chiplets] = True
    fixed = free._replace(clusters=free.clusters & own_clusters)
    as_given = fixed._replace(regions=free.regions & own_regions)

    optimizer: _Optimizer
    if tables.placed is None:
        optimizer = _Regressed(tables, counts, monitor)
    else:
        optimizer = _PlacedOptimizer(tables, counts, monitor, free)
    reports = zip(evaluation.segments, schedule.segments, strict=True)
    begin = [reported(report, segment, tables.samples) for report, segment in reports]
    partitions = [optimizer.best([as_given], found) for found in begin]
    regions = [optimizer.best([fixed], step.placed) for step in partitions]
    clusters = [optimizer.best([free], step.placed) for step in regions]
    switches = [_best_transition(optimizer, free, step.placed) for step in clusters]
    steps = [_total(step) for step in (partitions, regions, clusters)]
    transition = None if None in switches else _total(step for step in switches if step)
    optimum, bound = min(optimum_ps, steps[-1][0]), optimum_ps if bound_ps is None else bound_ps
    known = [*steps, (optimum, min(bound, optimum))]
    known += [] if transition is None else [transition]
    return Attribution(
        schedule_ps=evaluation.objective_ps,
        partitions_ps=steps[0][0],
        regions_ps=steps[1][0],
        clusters_ps=steps[2][0],
        segments_ps=optimum,
        transition_ps=None if transition is None else transition[0],
        open_ps=max(found - least for found, least in known),
    )


class _Step(NamedTuple):
    """A segment with decisions freed."""

    bound: int
    """Proved lower bound on its latency"""
    placed: Placed
    """Best schedule found: without links, and with them"""


class _Optimizer(Protocol):
    """Solves segments in given spaces of schedules."""

    def best(self, spaces: Iterable[Allowed], begin: Placed) -> _Step:
        """Best schedule of a segment in any of the spaces, or that one.

        ``begin`` may have a latency that no schedule reaches: then it is a budget.
        """


def _total(steps: Iterable[_Step]) -> tuple[int, int]:
    """Best latency found of all segments, and its bound."""
    found = list(steps)
    return sum(step.placed.linked for step in found), sum(step.bound for step in found)


def _best_transition(optimizer: _Optimizer, free: Allowed, optimum: Placed) -> _Step | None:
    """A segment with layers WSP (where it fits) before one index, then ISP; None if none may be."""
    first, last = optimum.segment.first_layer, optimum.segment.last_layer
    layers = np.arange(len(free.choice))
    spaces = []
    for index in range(first, last + 2):
        switched = np.where(layers < index, WSP_IF_FITS, ONLY_ISP)
        choice = np.where(free.choice == EITHER, switched, free.choice).astype(np.int8)
        spaces.append(free._replace(choice=choice))
    budget = 4 * optimum.linked + 1
    while budget < LIMIT:
        found = optimizer.best(spaces, Placed(budget, budget, optimum.segment))
        if found.placed.linked < budget:
            return found
        budget *= 4  # even the best transition is that much worse than the optimum
    return None


class _Regressed:
    """Where links are not shared: each space is solved to its optimum."""

    def __init__(self, tables: LatencyTables, counts: tuple[int, int], monitor: Monitor) -> None:
        self._tables, self._counts, self._monitor = tables, counts, monitor

    def best(self, spaces: Iterable[Allowed], begin: Placed) -> _Step:
        """See `_Optimizer`."""
        cost, segment = begin.linked, begin.segment
        ends = segment.first_layer, segment.last_layer
        for space in spaces:
            better = prove_segment(self._tables, space, self._counts, ends, cost, self._monitor)
            if better is not None:
                cost, segment = better.cost, better.segment
        return _Step(cost, Placed(cost, cost, segment))


class _PlacedOptimizer:
    """Where regions have places: proved without shared links, then looked for with them."""

    def __init__(
        self,
        tables: LatencyTables,
        counts: tuple[int, int],
        monitor: Monitor,
        space: Allowed,
    ) -> None:
        self._tables, self._counts, self._monitor = tables, counts, monitor
        self._costs = CostTables(tables, space)

    def best(self, spaces: Iterable[Allowed], begin: Placed) -> _Step:
        """See `_Optimizer`."""
        first, last = begin.segment.first_layer, begin.segment.last_layer
        spaces = list(spaces)
        without = linked = begin
        where = spaces[0]
        for space in spaces:
            for placed in self._below(space, first, last, without.cost):
                if placed.cost < without.cost:
                    without, where = placed, space
                if placed.linked < linked.linked:
                    linked = placed
        if linked.linked > without.cost and without.cost < LIMIT:
            search = self._search(where)
            search.open(first, last, linked.linked)
            known = Placed(without.cost, linked.linked, without.segment)
            for placed in search.load_links_less(known):
                linked = placed
        return _Step(without.cost, Placed(without.cost, linked.linked, linked.segment))

    def _search(self, space: Allowed) -> SegmentSearch:
        self._costs.limit(space)
        return SegmentSearch(self._tables, self._costs, self._counts, self._monitor)

    def _below(self, space: Allowed, first: int, last: int, budget: int) -> Sequence[Placed]:
        """Schedules in a space, the last of them its best one if that is below the budget."""
        search, found = self._search(space), []
        alone = search.whole_package(first) if first == last else None
        if alone is not None and alone.cost < budget:
            found.append(alone)
            budget = alone.cost
        search.open(first, last, budget)
        return [*found, *search.settle()]
