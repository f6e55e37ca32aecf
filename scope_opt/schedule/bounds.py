"""Simple lower bounds, valid for every schedule and computed in milliseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scope_opt.model.compiled import compiled
from scope_opt.model.tables import LIMIT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scope_opt.model.tables import LatencyTables

    Ints = NDArray[np.int64]


def layer_floors(tables: LatencyTables) -> tuple[Ints, Ints]:
    """Least time of each layer on each region size, whatever surrounds it, in ps.

    The smaller, over the partitions, of the computation and the cheapest communication the layer
    can have: inside a segment, and as the segment's last layer. Each of shape ``(L, C)``, entry
    ``r - 1`` for ``r`` chiplets.
    """
    receive = tables.receive_ps[:, :, 1:].min(axis=(1, 2))
    across = (tables.send_ps + receive[:, None])[:, None, :]
    inside = np.maximum(tables.compute_ps, np.minimum(tables.within_ps.min(axis=2), across))
    closing = np.maximum(tables.compute_ps, tables.output_ps[:, None, None])
    return inside.min(axis=1)[:, 1:], closing.min(axis=1)[:, 1:]


def segment_bounds(tables: LatencyTables) -> Ints:
    """Lower bound on the latency of every segment ``[i, j]`` in ps, shape ``(L, L)``.

    The beat is at least the segment's DRAM time, every layer's least time, and the chiplet-time
    of its layers spread over the whole package: a cluster of ``r`` chiplets takes
    ``sum_l t_l(r)``, so ``r`` times that is at least the sum of ``min_r r t_l(r)``, and the regions
    together have ``C`` chiplets. A segment whose weights cannot be stored has the bound `LIMIT`.
    Entries below the diagonal are 0.
    """
    sizes = np.arange(1, tables.chiplets + 1)
    inside, closing = layer_floors(tables)
    layers = tables.layers
    area = np.concatenate([[0], np.cumsum((inside * sizes).min(axis=1))])
    spread = area[None, :-1] - area[:-1, None] + (closing * sizes).min(axis=1)
    slowest = np.zeros((layers, layers), dtype=np.int64)
    for first in range(layers):
        slowest[first, first + 1 :] = np.maximum.accumulate(inside[first:-1].min(axis=1))
    slowest = np.maximum(slowest, closing.min(axis=1))
    beat = np.maximum(tables.segment_dram_ps, np.maximum(slowest, -(-spread // tables.chiplets)))
    bounds = tables.load_ps + tables.samples * beat
    if not tables.stream:
        weights = np.concatenate([[0], np.cumsum(tables.weight_bytes)])
        stored = weights[None, 1:] - weights[:-1, None]
        too_large = stored > tables.weight_buffer_bytes * tables.chiplets
        bounds[too_large & ~np.eye(layers, dtype=bool)] = LIMIT
    return np.triu(bounds)


@compiled
def _least_up_to(last: int, before: Ints, costs: Ints) -> int:
    """Least cost of the layers up to ``last``, given that of those before their last segment."""
    least = LIMIT
    for first in range(last + 1):
        least = min(least, before[first] + costs[first, last])
    return least


@compiled
def best_cut(costs: Ints) -> Ints:
    """Least total cost of cutting the layers before each index into segments.

    ``costs[i, j]`` is the cost of segment ``[i, j]``; `LIMIT` stands for none. Entry ``k`` of the
    result covers layers ``0..k-1``; shape ``(L+1,)``.
    """
    best = np.zeros(len(costs) + 1, dtype=np.int64)
    for last in range(len(costs)):
        best[last + 1] = _least_up_to(last, best, costs)
    return best


@compiled
def best_cuts(costs: Ints, count: int) -> Ints:
    """The same for each number of segments up to a count; shape ``(count + 1, L + 1)``."""
    best = np.full((count + 1, len(costs) + 1), LIMIT)
    best[0, 0] = 0
    for n in range(count):
        for last in range(len(costs)):
            best[n + 1, last + 1] = _least_up_to(last, best[n], costs)
    return best


def segment_traffic_bytes(tables: LatencyTables) -> Ints:
    """DRAM bytes of one sample in every segment ``[i, j]``, refetched weights left out.

    Shape ``(L, L)``, 0 below the diagonal and for explicit tables.
    """
    if tables.energy is None:
        return np.zeros((tables.layers, tables.layers), dtype=np.int64)
    return tables.energy.traffic_bytes.copy()


def latency_bound(tables: LatencyTables) -> int:
    """Lower bound on the latency of any schedule, in ps: the best cut of `segment_bounds`."""
    return int(best_cut(segment_bounds(tables))[-1])


def best_rest(costs: Ints) -> Ints:
    """Least total cost of cutting the layers from each index on; see `best_cut`."""
    return best_cut(_backwards(costs))[::-1]


def cuts_before(costs: Ints, count: int | None) -> Ints:
    """Least total cost of the layers before each index, a row for each number of segments.

    Shape ``(count + 1, L + 1)``; where ``count`` is None a single row, for any number of them.
    """
    return best_cut(costs)[None] if count is None else best_cuts(costs, count)


def cuts_behind(costs: Ints, count: int | None) -> Ints:
    """The same of the layers from each index on."""
    return cuts_before(_backwards(costs), count)[:, ::-1]


def join_cuts(before: Ints, behind: Ints) -> Ints:
    """Least cost of what lies on both sides of a segment, so that with it all are as many as asked.

    ``before`` of shape ``(rows, I)`` and ``behind`` ``(rows, J)`` have rows as those of
    `cuts_before`; the result is ``(I, J)``.
    """
    least: Ints = before[0, :, None] + behind[max(0, len(behind) - 2), None]
    for row in range(1, len(before) - 1):
        np.minimum(least, before[row, :, None] + behind[-2 - row, None], out=least)
    return least


def best_around(costs: Ints, count: int | None = None) -> Ints:
    """Least total cost of all layers outside each segment, shape ``(L, L)``.

    ``count`` is the number of segments, None for any.
    """
    return join_cuts(cuts_before(costs, count)[:, :-1], cuts_behind(costs, count)[:, 1:])


def _backwards(costs: Ints) -> Ints:
    return np.tril(costs[::-1, ::-1]).T
