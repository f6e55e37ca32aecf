"""Every schedule of one segment: the optimum by enumeration.

Enumeration knows none of the ideas that make the other searches fast, so it is what they can be
held against on small instances.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from scope_opt.model.files import InputError
from scope_opt.model.instance import PLACES, SHAPE
from scope_opt.schedule.bounds import segment_bounds
from scope_opt.search.census.enumeration import LEAST, TOTAL, make_tally
from scope_opt.search.census.space import make_space
from scope_opt.search.census.tuning import PAUSE
from scope_opt.search.stopping import SearchStopped

if TYPE_CHECKING:
    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.solving.monitor import Monitor
    from scope_opt.solving.solver import SolveOptions


class ExhaustiveSolver:
    """Optimum over every schedule of one segment, idle chiplets included."""

    name = "exhaustive"
    summary = "every schedule of one segment, for small instances: the optimum without any theory"
    exact = True
    constraints: ClassVar[frozenset[str]] = (SHAPE | PLACES) - {"fixed_segments"}
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
        space = make_space(instance, tables, idle=True, best_only=True)
        if space.number == 0:
            monitor.prove_infeasible([_none_valid(instance, tables)], "enumeration")
            return
        tally = make_tally(tables.layers, [0])
        bound = int(segment_bounds(tables)[0, -1])
        try:
            for _ in space.count(tally, monitor, self.pause):
                least = int(tally.totals[LEAST])
                found = tally.totals[TOTAL] > 0
                if found and (monitor.objective is None or least < monitor.objective):
                    monitor.improve(least, [space.best(tally)])
        except SearchStopped:
            monitor.raise_bound(bound, "simple bound")
        else:
            monitor.raise_bound(int(tally.totals[LEAST]), "enumeration")


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
