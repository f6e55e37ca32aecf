"""Exactly optimized baselines: the exact solver on the smaller space of schedules of a scheme."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from scope_opt.search.exact.solver import ExactSolver
from scope_opt.search.paper.solver import (
    PipelineSolver,
    ScopeSolver,
    SegmentedSolver,
    SequentialSolver,
)

if TYPE_CHECKING:
    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.search.allowed import Allowed
    from scope_opt.solving.solver import SegmentChoice


class ExactSegmentedSolver(ExactSolver):
    """Proved optimum of the segmented pipeline: one layer per cluster."""

    name = "exact-segmented"
    summary = "exactly optimal segmented pipeline: one layer per cluster"
    single_layers: ClassVar[bool] = True
    continued_by: ClassVar[str | None] = None
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
    continued_by: ClassVar[str | None] = None
    scheme: ClassVar[type[ScopeSolver]] = SequentialSolver
    heuristic: ClassVar[type[ScopeSolver] | None] = SequentialSolver

    def cluster_counts(self, instance: Instance, tables: LatencyTables) -> tuple[int, int]:
        """One cluster; none if the side constraints ask for more."""
        fewest, most = super().cluster_counts(instance, tables)
        return fewest, min(most, 1)
