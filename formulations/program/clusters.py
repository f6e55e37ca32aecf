"""The whole network over cluster columns: what its rows say, in ps, fJ and bytes.

Emitters state them in units of their own, with implications (CP-SAT) or a big-M (Pyomo). Here is
which columns and segments meet in a row, and which numbers are in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from formulations.arrays import take
from formulations.columns.columns import NO_SENDING
from formulations.columns.schedules import SegmentColumn, column_keys, find_columns, to_segments

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from formulations.columns.columns import Columns
    from formulations.columns.schedules import Partitions
    from formulations.space import Caps, Space
    from scope_opt.model.tables import LatencyTables
    from scope_opt.schedule.schedule import Segment

    Pair = tuple[int, int]


class ClusterProgram:
    """The program of an instance.

    Parameters
    ----------
    tables, space
        The instance.
    columns : Columns
    partitions : sequence of tuple of int
        Of the layers of each column.
    caps : Caps
        Largest beats.
    """

    def __init__(
        self,
        tables: LatencyTables,
        space: Space,
        columns: Columns,
        partitions: Partitions,
        caps: Caps,
    ) -> None:
        self.tables, self.space, self._caps = tables, space, caps
        self.columns, self._partitions = columns, partitions
        # Libraries take integers of Python.
        self.runs = columns.runs
        self.sizes: list[int] = columns.size.tolist()
        self.times_ps: list[int] = columns.time_ps.tolist()
        self.receive_ps: list[int] = columns.receive_ps.tolist()
        self.energy_fj: list[int] = columns.energy_fj.tolist()
        self.refetched_bytes: list[int] = columns.refetched_bytes.tolist()
        self.layers = range(tables.layers)
        self.starting: list[list[int]] = [[] for _ in self.layers]
        """Columns by their first layer,"""
        self.ending: list[list[int]] = [[] for _ in self.layers]
        """by their last layer,"""
        self.covering: list[list[int]] = [[] for _ in self.layers]
        """and by every layer."""
        for k, (first, last) in enumerate(self.runs):
            self.starting[first].append(k)
            self.ending[last].append(k)
            for layer in range(first, last + 1):
                self.covering[layer].append(k)
        self.segments = self._segments()
        """Largest beat in ps by first layer, last layer and number of clusters."""
        self.pairs: dict[Pair, list[SegmentColumn]] = {}
        """The same segments by first and last layer."""
        for key in self.segments:
            self.pairs.setdefault((key.first, key.last), []).append(key)
        self.base_fj = [0] * tables.layers
        """Energy that a layer takes whatever its partition and region."""
        if space.energy_matters and tables.energy is not None:
            self.base_fj = tables.energy.floor_fj.tolist()
        energies = zip(self.runs, self.energy_fj, strict=True)
        self.spent_fj = [spent - self.base_of(ends) for ends, spent in energies]
        """What the clusters take beyond that."""

    def _segments(self) -> dict[SegmentColumn, int]:
        c = self.columns
        opening: list[int] = np.unique(c.first[c.opens == 1]).tolist()
        closing: list[int] = np.unique(c.last[c.closes == 1]).tolist()
        fewest, most = self.space.fewest, self.space.most
        caps = {n: self._caps.all_segments(n) for n in range(fewest, most + 1)}
        return {
            SegmentColumn(first, last, n): int(caps[n][first, last])
            for first in opening
            for last in closing
            if first <= last and self.space.segments[first, last]
            for n in range(fewest, min(most, last - first + 1) + 1)
            if caps[n][first, last] >= 0
        }

    # --- Schedules -------------------------------------------------------------------------------

    @property
    def keys(self) -> list[tuple[int, int, int, str, int]]:
        """Names of the columns; see `column_keys`."""
        return column_keys(self.columns, self._partitions)

    def schedule(self, used: Sequence[int]) -> tuple[Segment, ...]:
        """Segments that consist of some of the columns."""
        some = take(self.columns, np.array(used, dtype=np.int64))
        return to_segments(some, [self._partitions[k] for k in used])

    def find(self, segments: Sequence[Segment]) -> list[int] | None:
        """Columns of a schedule; see `find_columns`."""
        return find_columns(self.columns, self._partitions, segments)

    # --- Clusters and segments -------------------------------------------------------------------

    def opening(self, layer: int) -> list[int]:
        """Columns that open a segment with this layer."""
        return [k for k in self.starting[layer] if self.columns.opens[k]]

    def closing(self, layer: int) -> list[int]:
        """Columns that close a segment with this layer."""
        return [k for k in self.ending[layer] if self.columns.closes[k]]

    def over(self, layer: int) -> list[SegmentColumn]:
        """Segments that this layer is in."""
        return [s for s in self.segments if s.first <= layer <= s.last]

    def alone(self) -> dict[Pair, list[int]]:
        """Columns that are whole segments, for every pair of ends that has one or may have."""
        found: dict[Pair, list[int]] = {
            (s.first, s.last): [] for s in self.segments if s.clusters == 1
        }
        for k in np.flatnonzero(self.columns.opens & self.columns.closes).tolist():
            found.setdefault(self.runs[k], []).append(k)
        return found

    def surroundings(self) -> Iterator[tuple[list[int], list[SegmentColumn]]]:
        """Columns that need a segment which begins, or ends, in a certain range; those segments."""
        c, last_layer = self.columns, self.tables.layers - 1
        begun = (c.opens == 0) & ((c.start_low > 0) | (c.start_high < c.first - 1))
        ended = (c.closes == 0) & ((c.end_low > c.last + 1) | (c.end_high < last_layer))
        groups: dict[tuple[int, int, int, int], list[int]] = {}
        sides = (
            (0, begun, (c.first, c.start_low, c.start_high)),
            (1, ended, (c.last, c.end_low, c.end_high)),
        )
        for side, limited, numbers in sides:
            some = np.flatnonzero(limited)
            keys = zip(*(values[some].tolist() for values in numbers), strict=True)
            for k, (layer, low, high) in zip(some.tolist(), keys, strict=True):
                groups.setdefault((side, layer, low, high), []).append(k)
        for (side, layer, low, high), members in groups.items():
            yield members, [s for s in self.over(layer) if low <= s[side] <= high]

    # --- Times -----------------------------------------------------------------------------------

    @property
    def slowest_ps(self) -> int:
        """No beat is longer, power aside."""
        slowest = max(self.times_ps, default=0)
        sending = max(0, int(self.columns.sending_ps.max(initial=0)))
        sending += max(self.receive_ps, default=0)
        return max(slowest, sending, int(self.tables.segment_dram_ps.max()))

    def floor_ps(self, s: SegmentColumn) -> int:
        """Beat that a segment has at least, whatever its clusters."""
        return max(int(self.tables.segment_dram_ps[s.first, s.last]), self._caps.floor(*s))

    def sending(self, layer: int) -> list[tuple[int, int]]:
        """Columns that end with this layer and whose time for handing over matters; that time."""
        times = ((k, int(self.columns.sending_ps[k])) for k in self.ending[layer])
        return [(k, time_ps) for k, time_ps in times if time_ps != NO_SENDING]

    @property
    def loading_ps(self) -> int:
        """What loading takes whatever the segments; the rest is `rest_ps`."""
        return int(self.tables.load_ps[0, -1])

    def rest_ps(self) -> dict[SegmentColumn, int]:
        """What loading a segment takes beyond its layers' shares of `loading_ps`."""
        load = self.tables.load_ps
        shares = np.diff(np.concatenate([[0], load[0]])).tolist()
        return {
            s: int(load[s.first, s.last]) - sum(shares[s.first : s.last + 1]) for s in self.segments
        }

    def beats_of(self, s: SegmentColumn) -> int:
        """How many beats a segment lasts."""
        return self.tables.samples + s.clusters - 1

    # --- Energies and bytes ----------------------------------------------------------------------

    def base_of(self, ends: Pair) -> int:
        """Energy that these layers take in any case."""
        return sum(self.base_fj[ends[0] : ends[1] + 1])

    @property
    def most_fj(self) -> int:
        """No schedule takes more energy for a sample."""
        return sum(max((self.energy_fj[k] for k in at), default=0) for at in self.starting)

    @property
    def least_total_fj(self) -> int:
        """Energy of all samples, loading included, beyond that of the clusters."""
        return self.tables.samples * sum(self.base_fj) + self.tables.loading_fj

    @property
    def refetches(self) -> bool:
        """Whether there is a limit on DRAM traffic that clusters use up in part."""
        limited = self.space.traffic_limit_bytes is not None
        return limited and any(self.refetched_bytes)

    def refetch_limit_bytes(self, ends: Pair) -> int:
        """What that limit leaves for weights fetched again."""
        left = self.space.refetch_limit_bytes(ends)
        assert left is not None
        return left
