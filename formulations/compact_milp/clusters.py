"""What whole clusters of a segment need at least, lifted from columns into the compact program.

Layer by layer the relaxation cannot see a cluster as a whole: it opens a fraction of a cluster
everywhere, and the big-M of running sums lets it. A share of each run of layers that may be a
cluster, continuous and tied to the binaries, mends that; there are as many as runs of layers,
whatever the number of chiplets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from formulations.columns.table import ColumnTable

if TYPE_CHECKING:
    from collections.abc import Callable

    from formulations.columns.columns import Columns
    from formulations.request import Request

    Ends = tuple[int, int]
    ColumnsOf = Callable[[int, int, int | None], Columns]
    """Of a segment by its first and last layer, within a latency."""


class Least(NamedTuple):
    """The least that a cluster of given layers takes, over all regions and partitions."""

    chiplets: int
    time_ps: int
    area_ps: int
    """Chiplets times time."""


def least_of_clusters(columns: Columns, layers: int) -> dict[Ends, Least]:
    """Clusters that columns of a segment allow, by their layers."""
    runs = columns.first * layers + columns.last
    order = np.argsort(runs, kind="stable")
    if len(order) == 0:
        return {}
    begins = np.flatnonzero(np.diff(runs[order], prepend=-1))
    values = (columns.size, columns.time_ps, columns.size * columns.time_ps)
    least = [np.minimum.reduceat(value[order], begins).tolist() for value in values]
    return {
        divmod(run, layers): Least(*numbers)
        for run, *numbers in zip(runs[order][begins].tolist(), *least, strict=True)
    }


def columns_of(request: Request, ceiling_ps: int | None) -> ColumnsOf | None:
    """Columns for given segments; None where they would be too many.

    Where energy matters, clusters have many undominated partitions.
    """
    space, most = request.space, request.tuning.max_columns
    if space.energy_matters or (ceiling_ps is None and request.clusters > most):
        return None
    table = ColumnTable(request, ceiling_ps)
    return lambda first, last, latency_ps: table.of_segment(first, last)


def share_rows(
    add: Callable[[Any], object],
    least: dict[Ends, Least],
    shares: dict[Ends, Any],
    cut: dict[int, Any],
    size: dict[int, Any],
    beat: Any,
    limits: tuple[int, float],
) -> None:
    """Rows that tie shares of clusters to what the program decides.

    Parameters
    ----------
    add : callable
        Takes a row.
    least, shares : dict
        By first and last layer of a cluster.
    cut, size : dict
        Of the program, by layer.
    beat : expression
        In units.
    limits : (int, float)
        Chiplets of the package; ps in a unit.
    """
    chiplets, unit = limits
    first, last = min(cut), max(cut)
    for layer in range(first, last + 1):
        starting = sum(share for (i, _), share in shares.items() if i == layer)
        add(starting == cut[layer])
        if layer > first:
            add(sum(share for (_, j), share in shares.items() if j == layer - 1) == cut[layer])
        over = [
            (least[ends], share) for ends, share in shares.items() if ends[0] <= layer <= ends[1]
        ]
        add(size[layer] >= sum(need.chiplets * share for need, share in over))
        add(beat >= sum(need.time_ps / unit * share for need, share in over))
    everything = [(least[ends], share) for ends, share in shares.items()]
    add(sum(need.chiplets * share for need, share in everything) <= chiplets)
    add(sum(need.area_ps / (unit * chiplets) * share for need, share in everything) <= beat)
