"""Tables of an instance within the limits of a monitor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scope_opt.cost.build import build_tables
from scope_opt.cost.footprint import table_bytes
from scope_opt.solving.monitor import cpu_s
from scope_opt.solving.result import StopReason

if TYPE_CHECKING:
    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.solving.monitor import Monitor

LEAST_S = 2.0
"""Processor time that tables get whatever the limit: without them nothing at all is known."""
TABLES_STOPPED = "stopped while the tables of times were built, before any schedule has a latency"


class TablesStopped(Exception):
    """A limit left no time, or no memory, for the tables."""

    def __init__(self, explanation: str, failure: StopReason | None = None) -> None:
        super().__init__(explanation)
        self.failure = failure
        """None where the monitor knows why it stops."""

    def report(self, monitor: Monitor) -> None:
        """Have a monitor say so."""
        if self.failure is None:
            monitor.give_up([str(self)])
        else:
            monitor.fail(self.failure, [str(self)])


def build_within(instance: Instance, monitor: Monitor) -> LatencyTables:
    """Tables of an instance; raises `TablesStopped` where a limit of the monitor ends it before.

    A time limit gives them at least `LEAST_S`. A memory limit that they would break by themselves
    is told before any of it is taken.
    """
    limit_bytes = monitor.memory_limit_bytes
    needed_bytes = 0 if limit_bytes is None else table_bytes(instance)
    if limit_bytes is not None and needed_bytes > limit_bytes:
        excess = _table_excess(instance, needed_bytes, limit_bytes)
        raise TablesStopped(excess, StopReason.MEMORY_LIMIT)
    began_s = cpu_s()

    def pause() -> None:
        if monitor.stopping and (monitor.interrupted or cpu_s() - began_s >= LEAST_S):
            raise TablesStopped(TABLES_STOPPED)

    return build_tables(instance, pause)


def _table_excess(instance: Instance, needed_bytes: int, limit_bytes: int) -> str:
    """What to say of tables that do not fit, with what would."""
    layers, chiplets = len(instance.layer_names), instance.chiplets
    needed, limit = needed_bytes / 2**30, limit_bytes / 2**30
    return (
        f"the tables of times of {layers} layers on {chiplets} chiplets take up to {needed:.3g} "
        f"GiB; the memory limit is {limit:.3g} GiB; allow more than twice as much as they take, "
        "or take fewer chiplets or a network of fewer layers"
    )
