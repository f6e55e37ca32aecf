"""Warm starts: one that breaks a rule of the instance is rejected before a solver sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scope_opt.model.files import InputError
from scope_opt.schedule.evaluate import evaluate

if TYPE_CHECKING:
    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.schedule.schedule import Schedule
    from scope_opt.solving.monitor import Monitor

SHOWN = 3
"""Violations that are named; a schedule of another shape can have one a layer."""


def usable_start(
    instance: Instance,
    tables: LatencyTables,
    schedule: Schedule,
    monitor: Monitor,
    *,
    foreign: bool,
) -> Schedule | None:
    """The warm start, or None, and the monitor is told why, if it breaks a rule.

    Parameters
    ----------
    instance, tables : Instance, LatencyTables
        What is solved; in one of its orders of positions, where those are chosen.
    schedule : Schedule
    monitor : Monitor
    foreign : bool
        Whether it was made for another instance.

    Raises
    ------
    InputError
        If it breaks a rule and is another instance's: then it is a mix-up. One that keeps all rules
        is welcome wherever it comes from, for instance from fewer side constraints.
    """
    violations = evaluate(instance, schedule, tables).violations
    if not violations:
        return schedule
    found = [str(violation) for violation in violations[:SHOWN]]
    if len(violations) > SHOWN:
        found.append(f"and {len(violations) - SHOWN} more")
    if foreign:
        made_for = f"{schedule.instance.name} ({schedule.instance.digest[:12]})"
        way_out = "give a schedule of this instance, or none"
        problem = f"made for {made_for}, breaks rules of {instance.name}; {way_out}"
        raise InputError("warm start", [problem, *found])
    monitor.warm_start(False, "; ".join(found))
    return None
