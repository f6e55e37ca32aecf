"""Every schedule of one segment: the optimum by enumeration.

Enumeration knows none of the ideas that make the other searches fast, so it is what they can be
held against on small instances.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from scope_opt.model.files import InputError
from scope_opt.model.instance import SHAPE
from scope_opt.schedule.bounds import segment_bounds
from scope_opt.schedule.schedule import make_segment
from scope_opt.search.allowed import make_allowed
from scope_opt.search.census.enumeration import (
    CLUSTERS,
    ENTERED,
    LEAST,
    START,
    TOTAL,
    enumerate_schedules,
    make_tally,
    prepare,
)
from scope_opt.search.census.tuning import PAUSE
from scope_opt.search.exact.inner import cluster_partitions
from scope_opt.search.packed import pack_tables
from scope_opt.search.stopping import SearchStopped

if TYPE_CHECKING:
    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.schedule.schedule import Segment
    from scope_opt.search.census.enumeration import Tally, Walk
    from scope_opt.solving.monitor import Monitor
    from scope_opt.solving.solver import SolveOptions


class ExhaustiveSolver:
    """Optimum over every schedule of one segment, idle chiplets included."""

    name = "exhaustive"
    summary = "every schedule of one segment, for small instances: the optimum without any theory"
    exact = True
    constraints: ClassVar[frozenset[str]] = SHAPE - {"fixed_segments"}
    options: ClassVar[frozenset[str]] = frozenset()
    pause: ClassVar[int] = PAUSE
    """Schedules between two looks at the clock, about."""

    def run(
        self,
        instance: Instance,
        tables: LatencyTables,
        options: SolveOptions,
        monitor: Monitor,
    ) -> None:
        """Search; see `scope_opt.solving.solver.Solver`. Segments can only be ``single``.

        Raises
        ------
        InputError
            For any other segments, or if there are too many schedules.
        """
        if options.segments not in (None, "single"):
            problem = (
                f"found {options.segments!r}; solver {self.name!r} enumerates the schedules of one "
                "segment: use 'single', or solver 'exact' for any number of segments"
            )
            raise InputError("segments", [problem])
        monitor.report("cluster times", 0.0)
        walk, number = prepare(instance, tables, idle=True)
        if number == 0:
            monitor.prove_infeasible([_none_valid(instance, tables)], "enumeration")
            return
        tally = make_tally(tables.layers, [0])
        bound = int(segment_bounds(tables)[0, -1])
        try:
            for _ in enumerate_schedules(walk, tally, number, monitor, self.pause):
                least = int(tally.totals[LEAST])
                found = tally.totals[TOTAL] > 0
                if found and (monitor.objective is None or least < monitor.objective):
                    monitor.improve(least, [_best(instance, tables, walk, tally)])
        except SearchStopped:
            monitor.raise_bound(bound, "simple bound")
        else:
            monitor.raise_bound(int(tally.totals[LEAST]), "enumeration")


def _best(instance: Instance, tables: LatencyTables, walk: Walk, tally: Tally) -> Segment:
    """The best schedule so far."""
    packed = pack_tables(tables)
    allowed = make_allowed(instance.constraints, tables.layers, tables.chiplets)
    partition = np.zeros(tables.layers, dtype=np.int8)
    clusters = []
    for group in tally.best[: tally.totals[CLUSTERS]][::-1]:
        i, j, r = walk.groups[group, :ENTERED].tolist()
        cluster_partitions(
            packed, allowed, tables.layers - 1, walk.groups[group, :START], partition
        )
        clusters.append((j - i + 1, r, partition[i : j + 1].tolist()))
    return make_segment(0, clusters)


def _none_valid(instance: Instance, tables: LatencyTables) -> str:
    weights = int(tables.weight_bytes.sum())
    buffers = tables.weight_buffer_bytes * tables.chiplets
    if tables.layers > 1 and not tables.stream and weights > buffers:
        return (
            f"the weights of one segment, {weights} bytes, exceed all weight buffers, {buffers} "
            "bytes; use more segments (solver 'exact'), more chiplets, larger buffers or overflow "
            "'stream'"
        )
    asked = ", ".join(sorted(instance.constraints.active()))
    reason = f"the weight capacity and the side constraints ({asked})" if asked else "the capacity"
    return f"none of the schedules of one segment meets {reason}; solver 'exact' tries several"
