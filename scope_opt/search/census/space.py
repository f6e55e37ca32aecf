"""The schedules of one segment, to be enumerated in the way that the instance's model allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from scope_opt.schedule.schedule import make_segment
from scope_opt.search.allowed import ONLY_ISP, ONLY_WSP, make_allowed
from scope_opt.search.census.enumeration import (
    CLUSTERS,
    ENTERED,
    START,
    enumerate_schedules,
    prepare,
    slowest_possible,
)
from scope_opt.search.census.placed_enumeration import (
    best_clusters,
    enumerate_placed,
    longest_placed,
)
from scope_opt.search.census.placed_layouts import prepare_placed
from scope_opt.search.exact.inner import cluster_partitions
from scope_opt.search.packed import pack_tables
from scope_opt.search.placed import activations_fit, segment_facts
from scope_opt.search.times import ISP, WSP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.schedule.schedule import Segment
    from scope_opt.search.census.enumeration import Tally
    from scope_opt.solving.monitor import Monitor


class Space(Protocol):
    """Schedules of one segment that keep every rule."""

    @property
    def number(self) -> int:
        """How many there are."""

    def longest_beat(self) -> int:
        """A beat in ps that none of them exceeds; only if there are any."""

    def count(self, tally: Tally, monitor: Monitor, pause: int) -> Iterator[None]:
        """Count them, with a pause after so many or so; raises `SearchStopped`."""

    def best(self, tally: Tally) -> Segment:
        """The first one that takes least, of those counted."""


def make_space(
    instance: Instance, tables: LatencyTables, idle: bool, best_only: bool = False
) -> Space:
    """Prepare the enumeration.

    With ``best_only`` schedules may be counted without a look where none of them can be the first
    best one; then only the least latency and the total of the tally mean something.

    Raises
    ------
    InputError
        If there are too many schedules.
    """
    if tables.placed is not None:
        return _ByPlace(instance, tables, idle, best_only)
    return _BySize(instance, tables, idle)


class _BySize:
    """Regions matter by their sizes only."""

    def __init__(self, instance: Instance, tables: LatencyTables, idle: bool) -> None:
        self.instance, self.tables = instance, tables
        self.walk, self.number = prepare(instance, tables, idle)

    def longest_beat(self) -> int:
        return max(self.walk.dram_ps, int(slowest_possible(self.walk)))

    def count(self, tally: Tally, monitor: Monitor, pause: int) -> Iterator[None]:
        return enumerate_schedules(self.walk, tally, self.number, monitor, pause)

    def best(self, tally: Tally) -> Segment:
        tables, groups = self.tables, self.walk.groups
        packed, last_layer = pack_tables(tables), tables.layers - 1
        allowed = make_allowed(self.instance.constraints, tables.layers, tables.chiplets)
        facts = segment_facts(packed.places, 0, last_layer)
        partition = np.zeros(tables.layers, dtype=np.int8)
        clusters = []
        for group in tally.best[: tally.totals[CLUSTERS]][::-1]:
            i, j, r = groups[group, :ENTERED].tolist()
            choice = allowed.choice.copy()
            for layer in range(i, j + 1):
                for own, other in ((ISP, ONLY_WSP), (WSP, ONLY_ISP)):
                    if not activations_fit(packed.places, facts, 0, i, layer, own, r):
                        choice[layer] = other
            limited = allowed._replace(choice=choice)
            cluster_partitions(packed, limited, last_layer, groups[group, :START], partition)
            clusters.append((j - i + 1, r, partition[i : j + 1].tolist()))
        return make_segment(0, clusters)


class _ByPlace:
    """Transfers cost what they do where regions lie."""

    def __init__(
        self, instance: Instance, tables: LatencyTables, idle: bool, best_only: bool
    ) -> None:
        self.costs, self.walk, self.number = prepare_placed(instance, tables, idle, best_only)

    def longest_beat(self) -> int:
        return longest_placed(self.costs, self.walk)

    def count(self, tally: Tally, monitor: Monitor, pause: int) -> Iterator[None]:
        return enumerate_placed(self.costs, self.walk, tally, self.number, monitor, pause)

    def best(self, tally: Tally) -> Segment:
        return make_segment(0, best_clusters(self.walk, tally))
