"""Tables of an instance within the limits of a monitor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scope_opt.model.cost import build_tables
from scope_opt.solving.monitor import cpu_s

if TYPE_CHECKING:
    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.solving.monitor import Monitor

LEAST_S = 2.0
"""Processor time that tables get whatever the limit: without them nothing at all is known."""
TABLES_STOPPED = "stopped while the tables of times were built, before any schedule has a latency"


class TablesStopped(Exception):
    """There was no time for the tables."""


def build_within(instance: Instance, monitor: Monitor) -> LatencyTables:
    """Tables of an instance; raises `TablesStopped` where the monitor wants to stop before.

    A time limit gives them at least `LEAST_S`.
    """
    began_s = cpu_s()

    def pause() -> None:
        if monitor.stopping and (monitor.interrupted or cpu_s() - began_s >= LEAST_S):
            raise TablesStopped

    return build_tables(instance, pause)
