"""How the latencies of all schedules of one segment are distributed, and where some rank."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scope_opt.model.files import InputError
from scope_opt.model.instance import SHAPE
from scope_opt.model.tables import LIMIT
from scope_opt.schedule.bounds import segment_bounds
from scope_opt.schedule.count import space_size
from scope_opt.schedule.evaluate import evaluate
from scope_opt.schedule.schedule import Schedule
from scope_opt.search.census.enumeration import AT_LEAST, AT_MOST, LEAST, MOST, make_tally
from scope_opt.search.census.space import make_space
from scope_opt.search.census.tuning import BINS, PAUSE
from scope_opt.solving.monitor import Monitor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.search.census.space import Space


@dataclass(frozen=True)
class Rank:
    """Where a latency lies among those of all valid schedules."""

    latency_ps: int
    better: int
    """Valid schedules that take less."""
    equal: int
    """Valid schedules that take exactly as long."""
    better_share: float | None
    """``better`` over all valid ones; None if there are none."""


@dataclass(frozen=True)
class Distribution:
    """Latencies of all schedules of one segment."""

    idle: bool
    """Whether schedules may leave chiplets idle."""
    schedules: int
    """All schedules, valid or not."""
    valid: int
    """Those that meet the weight capacity and the side constraints; all that follows counts them"""
    minimum_ps: int | None
    at_minimum: int
    """How many schedules take the minimum."""
    maximum_ps: int | None
    at_maximum: int
    edges_ps: tuple[int, ...]
    """Bin ``k`` holds latencies from ``edges_ps[k]`` to below ``edges_ps[k + 1]``."""
    counts: tuple[int, ...]
    """Exact number of schedules in each bin; one fewer than edges."""
    ranks: tuple[Rank, ...]
    """Of the latencies asked for, in that order."""

    def quantile_ps(self, share: float) -> int | None:
        """Least latency, to one bin, that at least this share of the valid schedules keep.

        The upper end of the bin in which the exact quantile lies, so at most a bin's width above
        it; ``0`` gives the minimum and ``1`` the maximum exactly. None if no schedule is valid.
        """
        if not 0 <= share <= 1:
            raise ValueError(f"share {share}; allowed 0 to 1")
        if self.minimum_ps is None or self.maximum_ps is None:
            return None
        if share == 0:
            return self.minimum_ps
        within = np.cumsum(self.counts)
        at = int(np.searchsorted(within, share * self.valid))
        at = min(at, len(self.counts) - 1)
        return min(self.edges_ps[at + 1] - 1, self.maximum_ps)

    def to_json_dict(self) -> dict[str, Any]:
        """Plain data for `json.dumps`, with some quantiles; None where a number does not exist."""
        shares = (0.0001, 0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
        quantiles = [{"share": share, "latency_ps": self.quantile_ps(share)} for share in shares]
        data = {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}
        return {**data, "quantiles": quantiles}


def distribution(
    instance: Instance,
    tables: LatencyTables,
    idle: bool = False,
    monitor: Monitor | None = None,
    rank_of: Sequence[int | Schedule] = (),
    bins: int = BINS,
    pause: int = PAUSE,
) -> Distribution:
    """Count the latencies of all schedules of one segment.

    Parameters
    ----------
    instance : Instance
        Its side constraints decide, with the weight capacity, which schedules are valid.
    tables : LatencyTables
    idle : bool
        Whether schedules may leave chiplets idle; the paper's count does not.
    monitor : Monitor, optional
        Told about progress, and asked whether to stop.
    rank_of : sequence of int or Schedule
        Latencies in ps, or schedules (of any kind), whose exact rank is wanted.
    bins : int
        Most bins of the distribution.
    pause : int
        Schedules between two looks at the clock, about.

    Raises
    ------
    InputError
        If there are too many schedules, for a side constraint that is not about the shape of a
        single segment, or for a schedule to rank that is not valid.
    SearchStopped
        If the monitor asked to stop: half a distribution means nothing.
    """
    monitor = monitor or Monitor()
    refuse_other_constraints(instance)
    asked = [_latency(instance, tables, item) for item in rank_of]
    space = make_space(instance, tables, idle)
    number = space.number
    edges = _edges(space, tables, bins) if number else [0, 1]
    # The bins are cut further where an exact rank is wanted.
    fine = sorted({*edges[:-1], *asked, *(latency + 1 for latency in asked)})
    tally = make_tally(tables.layers, fine)
    for _ in space.count(tally, monitor, pause):
        pass
    counts = dict(zip(fine, tally.counts.tolist(), strict=True))
    coarse = np.searchsorted(np.array(edges[1:-1], dtype=np.int64), fine, side="right")
    binned = np.zeros(len(edges) - 1, dtype=np.int64)
    np.add.at(binned, coarse, tally.counts)
    ranks = []
    for latency in asked:
        better = sum(count for edge, count in counts.items() if edge < latency)
        share = better / number if number else None
        ranks.append(Rank(latency, better, counts[latency], share))
    filled = np.flatnonzero(binned)
    first, stop = (int(filled[0]), int(filled[-1]) + 1) if number else (0, 0)
    return Distribution(
        idle=idle,
        schedules=space_size(tables.layers, tables.chiplets, idle),
        valid=number,
        minimum_ps=int(tally.totals[LEAST]) if number else None,
        at_minimum=int(tally.totals[AT_LEAST]),
        maximum_ps=int(tally.totals[MOST]) if number else None,
        at_maximum=int(tally.totals[AT_MOST]),
        edges_ps=tuple(edges[first : stop + 1]) if number else (),
        counts=tuple(binned[first:stop].tolist()),
        ranks=tuple(ranks),
    )


def refuse_other_constraints(instance: Instance) -> None:
    """Raise `InputError` unless side constraints concern the shape of single segments only."""
    other = sorted(instance.constraints.active() - SHAPE)
    if len(instance.constraints.fixed_segments or ()) > 1:
        other.append("several fixed_segments")
    if other:
        problem = f"{', '.join(other)}: not supported for the schedules of one segment; drop them"
        raise InputError("constraints", [problem])


def _latency(instance: Instance, tables: LatencyTables, item: int | Schedule) -> int:
    if not isinstance(item, Schedule):
        return int(item)
    evaluation = evaluate(instance, item, tables)
    if evaluation.objective_ps is None:
        problems = [str(violation) for violation in evaluation.violations]
        raise InputError("schedule to rank", problems)
    return evaluation.objective_ps


def _edges(space: Space, tables: LatencyTables, bins: int) -> list[int]:
    """Ends of the bins, evenly spaced on a logarithmic scale between bounds on the latency."""
    low = int(segment_bounds(tables)[0, -1])
    clusters = min(tables.layers, tables.chiplets)
    load_ps = int(tables.load_ps[0, -1])
    high = min(LIMIT, load_ps + (tables.samples + clusters - 1) * space.longest_beat() + 1)
    spaced = np.geomspace(max(low, 1), max(high, 2), bins + 1)[1:-1]
    inside = np.unique(np.round(spaced).astype(np.int64))
    return [low, *(int(edge) for edge in inside if low < edge < high), high]
