"""The paper's search and its baselines: one search, four restrictions of the clustering.

Scope (arXiv 2602.14393, Algorithm 1) tries every row of the cluster merge table; the baselines
keep one cluster per segment (sequential) or one layer per cluster (pipeline, segmented pipeline).
Transition point, region heuristic and segment methods are the same for all four.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from scope_opt.model.files import InputError
from scope_opt.model.instance import PLACES
from scope_opt.model.tables import LIMIT
from scope_opt.schedule.schedule import make_segment
from scope_opt.search.cuts import CostedSegment, segment_ends
from scope_opt.search.packed import NEVER, pack_tables
from scope_opt.search.paper.floors import make_floors, segment_floor
from scope_opt.search.paper.segment import search_segment
from scope_opt.search.paper.segmentation import SegmentSearch
from scope_opt.solving.solver import READINGS

if TYPE_CHECKING:
    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.solving.monitor import Monitor
    from scope_opt.solving.solver import SegmentChoice, SolveOptions


def agreed_segments(choice: SegmentChoice, fixed: tuple[int, ...]) -> tuple[int, ...]:
    """The instance's fixed segments, if ``choice`` allows them; raises `InputError` otherwise."""
    if choice in ("balanced", "dp", len(fixed), fixed) or (choice == "single" and fixed == (0,)):
        return fixed
    raise InputError("segments", [f"{choice!r} contradicts fixed_segments = {list(fixed)}"])


class ScopeSolver:
    """The paper's search: every cluster count of the merge table."""

    name = "scope"
    summary = "the paper's merged pipeline: merge table, transition point, region heuristic"
    exact = False
    constraints: ClassVar[frozenset[str]] = frozenset(
        {"min_clusters", "max_clusters", "fixed_segments", "region_multiple", "max_region"} | PLACES
    )
    options: ClassVar[frozenset[str]] = frozenset({"donor", "similarity"})

    def cluster_counts(self, layers: int) -> tuple[int, int]:
        """Fewest and most clusters the scheme allows in a segment of so many layers."""
        return 1, layers

    def segment_choice(self, choice: SegmentChoice) -> SegmentChoice:
        """Segmentation the scheme uses when asked for ``choice``."""
        return choice

    def run(
        self,
        instance: Instance,
        tables: LatencyTables,
        options: SolveOptions,
        monitor: Monitor,
    ) -> None:
        """Search; see `scope_opt.solving.solver.Solver`."""
        packed = pack_tables(tables)
        floors = make_floors(packed)
        limits = instance.constraints
        similarity = READINGS["similarity"].index(options.similarity or "mean")
        donors = READINGS["donor"].index(options.donor or "fastest")
        unit, largest = limits.region_multiple or 1, limits.max_region or tables.chiplets

        def limits_of(first: int, last: int) -> tuple[int, int, int, int, int, int, int]:
            """The segment, and what its clusters and regions keep to."""
            fewest, most = self.cluster_counts(last - first + 1)
            fewest = max(fewest, limits.min_clusters or 1)
            most = min(most, limits.max_clusters or most)
            return first, last, fewest, most, unit, largest, similarity

        def floor(first: int, last: int, below: int) -> int:
            return int(segment_floor(packed, floors, *limits_of(first, last), below))

        def schedule(first: int, last: int, below: int) -> CostedSegment | None:
            latency, start, regions, partition = search_segment(
                packed, floors, *limits_of(first, last), donors, below
            )
            if latency == NEVER:
                return None
            clusters = [
                (int(end - begin), int(size), [int(p) for p in partition[begin:end]])
                for begin, end, size in zip(start[:-1], start[1:], regions, strict=True)
            ]
            return CostedSegment(int(latency), make_segment(first, clusters))

        asked: SegmentChoice = options.segments or "balanced"
        choice = self.segment_choice(asked)
        if limits.fixed_segments is not None:
            asked = choice = agreed_segments(choice, limits.fixed_segments)
        search = SegmentSearch(tables, schedule, monitor, floor)
        bound = search.bound(asked)  # the scheme's own restriction bounds nobody else
        if bound < LIMIT:
            monitor.raise_bound(bound, "simple bound")
        search.run(choice)
        if monitor.segments is None and not monitor.stopped_early:
            proofs = self.obstacles(instance, tables, choice)
            if proofs:
                monitor.prove_infeasible(proofs, "simple bound")
            else:
                monitor.give_up(
                    [
                        f"solver {self.name!r} finds no schedule for these segments under the "
                        "cluster counts and the weight capacity, though there may be one; try "
                        "solver 'exact', segments 'dp', more chiplets or overflow 'stream'"
                    ]
                )

    def obstacles(
        self, instance: Instance, tables: LatencyTables, choice: SegmentChoice
    ) -> list[str]:
        """Why no schedule of the scheme can exist, and what would help; empty if one may."""
        _, most = self.cluster_counts(tables.layers)
        asked = instance.constraints.min_clusters or 1
        if asked > most:
            return [f"min_clusters = {asked}, but {self.name!r} makes at most {most} per segment"]
        starts = (0,) if choice == "single" else choice
        if not isinstance(starts, tuple):
            return []  # every layer may be a segment of its own
        return [
            obstacle
            for first, last in segment_ends(starts, tables.layers)
            for obstacle in self._segment_obstacles(instance, tables, first, last)
        ]

    def _segment_obstacles(
        self, instance: Instance, tables: LatencyTables, first: int, last: int
    ) -> list[str]:
        layers = last - first + 1
        if layers == 1:
            return []
        found = []
        fewest, _ = self.cluster_counts(layers)
        if fewest > tables.chiplets:
            found.append(
                f"one cluster per layer needs {layers} chiplets, there are {tables.chiplets}; "
                "allow more segments (solver 'segmented') or merge layers"
            )
        if tables.stream:
            return found
        stored = tables.weight_bytes[first : last + 1]
        needed = int(np.maximum(-(-stored // tables.weight_buffer_bytes), 1).sum())
        buffers = tables.weight_buffer_bytes * tables.chiplets
        weights = int(stored.sum())
        help_ = "use more segments, more chiplets, larger buffers or overflow 'stream'"
        if weights > buffers:
            layer = first + int(stored.argmax())
            found.append(
                f"the weights of segment {first} to {last}, {weights} bytes, exceed all weight "
                f"buffers, {buffers} bytes, by {weights - buffers}; largest layer {layer} "
                f"({instance.layer_names[layer]}, {int(tables.weight_bytes[layer])} bytes); {help_}"
            )
        elif layers == fewest <= tables.chiplets < needed:
            found.append(
                f"one cluster per layer needs {needed} chiplets for the weights of segment {first} "
                f"to {last}, there are {tables.chiplets}; {help_}"
            )
        return found


class SequentialSolver(ScopeSolver):
    """One cluster per segment: every layer on the whole package in turn."""

    name = "sequential"
    summary = "baseline: one cluster per segment, layers one after another on all chiplets"
    options: ClassVar[frozenset[str]] = frozenset()

    def cluster_counts(self, layers: int) -> tuple[int, int]:
        """One cluster."""
        return 1, 1


class SegmentedSolver(ScopeSolver):
    """One layer per cluster in every segment: the segmented pipeline."""

    name = "segmented"
    summary = "baseline: segmented pipeline, one layer per cluster"
    single_layers: ClassVar[bool] = True
    options: ClassVar[frozenset[str]] = frozenset({"donor"})

    def cluster_counts(self, layers: int) -> tuple[int, int]:
        """As many clusters as layers."""
        return layers, layers


class PipelineSolver(SegmentedSolver):
    """One layer per cluster in a single segment: the full pipeline."""

    name = "pipeline"
    summary = "baseline: full pipeline, one segment with one layer per cluster"

    def segment_choice(self, choice: SegmentChoice) -> SegmentChoice:
        """Always a single segment."""
        return "single"
