"""Restricted exact solvers: exactly optimized baselines, and which decision loses how much.

All run the recursion of the exact solver on a smaller space of schedules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from scope_opt.model.files import InputError
from scope_opt.model.instance import PLACES
from scope_opt.schedule.evaluate import evaluate
from scope_opt.search.allowed import EITHER, ONLY_ISP, WSP_IF_FITS, make_allowed
from scope_opt.search.cuts import CostedSegment, total_cost
from scope_opt.search.exact.network import prove_segment
from scope_opt.search.exact.solver import ExactSolver
from scope_opt.search.paper.solver import (
    PipelineSolver,
    ScopeSolver,
    SegmentedSolver,
    SequentialSolver,
)
from scope_opt.solving.monitor import Monitor

if TYPE_CHECKING:
    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.schedule.schedule import Schedule
    from scope_opt.search.allowed import Allowed
    from scope_opt.solving.solver import SegmentChoice

ATTRIBUTABLE = ExactSolver.constraints - PLACES
"""What of `Instance.demands` `attribute` honours: parts are proved by the sizes of regions."""


class ExactSegmentedSolver(ExactSolver):
    """Proved optimum of the segmented pipeline: one layer per cluster."""

    name = "exact-segmented"
    summary = "exactly optimal segmented pipeline: one layer per cluster"
    scheme: ClassVar[type[ScopeSolver]] = SegmentedSolver
    heuristic: ClassVar[type[ScopeSolver] | None] = SegmentedSolver

    def allowed(self, instance: Instance, tables: LatencyTables) -> Allowed:
        """Clusters of one layer."""
        allowed = super().allowed(instance, tables)
        return allowed._replace(clusters=allowed.clusters & np.eye(tables.layers, dtype=np.bool_))


class ExactPipelineSolver(ExactSegmentedSolver):
    """Proved optimum of the full pipeline: one segment, one layer per cluster."""

    name = "exact-pipeline"
    summary = "exactly optimal full pipeline: one segment with one layer per cluster"
    scheme: ClassVar[type[ScopeSolver]] = PipelineSolver
    heuristic: ClassVar[type[ScopeSolver] | None] = PipelineSolver

    def segment_choice(self, choice: SegmentChoice) -> SegmentChoice:
        """Always a single segment."""
        return "single"


class ExactSequentialSolver(ExactSolver):
    """Proved optimum of sequential execution: one cluster per segment."""

    name = "exact-sequential"
    summary = "exactly optimal sequential execution: one cluster per segment"
    scheme: ClassVar[type[ScopeSolver]] = SequentialSolver
    heuristic: ClassVar[type[ScopeSolver] | None] = SequentialSolver

    def cluster_counts(self, instance: Instance, tables: LatencyTables) -> tuple[int, int]:
        """One cluster; none if the side constraints ask for more."""
        fewest, most = super().cluster_counts(instance, tables)
        return fewest, min(most, 1)


@dataclass(frozen=True)
class Attribution:
    """Optimal latency in ps when a schedule's decisions are freed one after the other.

    Each field frees one more decision than the one before it, so the differences say what each
    decision of the schedule loses. ``transition_ps`` stands beside them: the optimum over clusters
    and regions, in the schedule's segments, if each segment switches once from WSP to ISP.
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
    transition_ps: int

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
    def transition_loss(self) -> float:
        """What the single transition loses in the schedule's segments, relative to the optimum."""
        return (self.transition_ps - self.clusters_ps) / self._unit

    @property
    def _unit(self) -> int:
        return max(self.segments_ps, 1)  # tables may hold nothing but zeros


def attribute(
    instance: Instance,
    tables: LatencyTables,
    schedule: Schedule,
    optimum_ps: int,
    monitor: Monitor | None = None,
) -> Attribution:
    """Which decision of a feasible schedule loses how much against the proved optimum.

    Raises
    ------
    InputError
        If the schedule violates a rule or is better than ``optimum_ps``; in the placed model, where
        links couple the clusters of a segment.
    SearchStopped
        If the monitor asks to stop.
    """
    if tables.placed is not None:
        raise InputError("instance", ["attribution is known for the regressed model only"])
    monitor = monitor or Monitor()
    evaluation = evaluate(instance, schedule, tables)
    if evaluation.objective_ps is None or evaluation.objective_ps < optimum_ps:
        problems = [str(violation) for violation in evaluation.violations]
        raise InputError("schedule", problems or [f"is better than the optimum {optimum_ps} ps"])
    begin = [
        CostedSegment(report.latency_ps, segment)
        for report, segment in zip(evaluation.segments, schedule.segments, strict=True)
    ]
    counts = ExactSolver().cluster_counts(instance, tables)
    free = make_allowed(instance.constraints, tables.layers, tables.chiplets)
    own_clusters = np.zeros_like(free.clusters)
    own_regions = np.zeros_like(free.regions)
    for cluster in schedule.clusters:
        own_clusters[cluster.first_layer, cluster.last_layer] = True
        own_regions[cluster.first_layer, cluster.chiplets] = True
    fixed = free._replace(clusters=free.clusters & own_clusters)
    as_given = fixed._replace(regions=free.regions & own_regions)
    partitions = _optimize(tables, as_given, counts, begin, monitor)
    regions = _optimize(tables, fixed, counts, partitions, monitor)
    clusters = _optimize(tables, free, counts, regions, monitor)
    switches = [_best_transition(tables, free, counts, found, monitor) for found in clusters]
    return Attribution(
        schedule_ps=evaluation.objective_ps,
        partitions_ps=total_cost(partitions),
        regions_ps=total_cost(regions),
        clusters_ps=total_cost(clusters),
        segments_ps=optimum_ps,
        transition_ps=sum(switches),
    )


def _optimize(
    tables: LatencyTables,
    allowed: Allowed,
    counts: tuple[int, int],
    begin: list[CostedSegment],
    monitor: Monitor,
) -> list[CostedSegment]:
    """The same segments, each at its optimum in ``allowed``."""
    best = []
    for found in begin:
        ends = found.segment.first_layer, found.segment.last_layer
        better = prove_segment(tables, allowed, counts, ends, found.cost, monitor)
        best.append(better or found)
    return best


def _best_transition(
    tables: LatencyTables,
    allowed: Allowed,
    counts: tuple[int, int],
    optimum: CostedSegment,
    monitor: Monitor,
) -> int:
    """Least latency of a segment with layers WSP (where it fits) before one index, then ISP."""
    first, last = optimum.segment.first_layer, optimum.segment.last_layer
    best = 4 * optimum.cost + 1
    while True:
        found = None
        for index in range(first, last + 2):
            layers = np.arange(tables.layers)
            switched = np.where(layers < index, WSP_IF_FITS, ONLY_ISP)
            choice = np.where(allowed.choice == EITHER, switched, allowed.choice).astype(np.int8)
            better = prove_segment(
                tables, allowed._replace(choice=choice), counts, (first, last), best, monitor
            )
            if better is not None:
                found, best = better, better.cost
        if found is not None:
            return best
        best *= 4  # even the best transition is that much worse than the optimum
