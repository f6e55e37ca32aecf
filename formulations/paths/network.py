"""Single segments under one largest beat: a path through the layers, without times.

Under a given beat every time is a yes or a no: columns that take longer vanish, and a column may
only be followed by one whose receiving still fits. What is left is a path through the layers with
few clusters and few chiplets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from formulations.paths.kernels import (
    by_node,
    joined_within,
    lightest_path,
    lightest_within,
    short_enough,
)
from scope_opt.model.tables import LIMIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from formulations.columns.columns import Columns
    from formulations.request import Request

    Ints = NDArray[np.int64]

WEIGHTS = 8
"""Ways to weigh chiplets against clusters when columns on no short path are dropped."""
COEFFICIENT = 10**6
"""Energies and bytes are counted in units of which a limit has this many."""


@dataclass(frozen=True)
class Limits:
    """A row ``sum of values <= limit`` over the columns used, in integers of any size."""

    values: Ints
    limit: int


class Fewest(NamedTuple):
    """What a program says about the number of clusters."""

    clusters: int | None
    """Fewest there can be, within what is asked; None if there is no solution."""
    used: list[int] | None
    """Columns of a solution; None if none was found."""


class FewestClusters(Protocol):
    """A program that asks for the fewest clusters of a segment under one largest beat."""

    def solve(self, request: Request, target: int) -> Fewest:
        """Solve it until the monitor stops it; that many clusters are few enough.

        A library that finds that more are needed gets the credit.
        """

    def exclude(self, used: Sequence[int]) -> None:
        """Make a set of columns no solution any more."""


class BeatNetwork:
    """Where a path may go under one largest beat.

    Nodes are numbered in the order in which a path visits them: one before the first layer, one
    after the last, and after each layer in between one per level of receiving that some cluster
    ending there affords, the highest first, with steps down from one to the next.

    Parameters
    ----------
    columns : Columns
    ends : (int, int)
        First and last layer of the segment.
    beat_ps : int
        Largest beat.
    chiplets, clusters : int
        At most.
    values : sequence of array, optional
        What else matters of a column; less is better. Without, columns that others beat are kept.
    """

    def __init__(
        self,
        columns: Columns,
        ends: tuple[int, int],
        beat_ps: int,
        chiplets: int,
        clusters: int,
        values: Sequence[NDArray[Any]] | None,
    ) -> None:
        c = columns
        kept, leaves, arrives, self.steps, self.goal = joined_within(c, ends, beat_ps)
        if values is not None:
            keys = np.stack([leaves, arrives, *(v[kept] for v in values)])
            best = _cheapest(keys, c.size[kept])
            kept, leaves, arrives = kept[best], leaves[best], arrives[best]
        self.kept, self.leaves, self.arrives = kept, leaves, arrives
        self.size, self._chiplets = c.size[kept], chiplets
        self._keep(self._short_enough(clusters))

    def lightest(self, chiplets: int, counts: tuple[int, int]) -> list[int]:
        """As the function of that name, of the columns that are left."""
        path = lightest_path(self._arcs[:4], self.size, self.goal, chiplets, counts)
        return [int(k) for k in self.kept[path]]

    def _keep(self, some: NDArray[np.bool_]) -> None:
        self.kept, self.size = self.kept[some], self.size[some]
        self.leaves, self.arrives = self.leaves[some], self.arrives[some]

    @property
    def _arcs(self) -> tuple[Ints, Ints, Ints, Ints, Ints]:
        heads = np.concatenate([self.arrives, self.steps[:, 1]])
        tails = np.concatenate([self.leaves, self.steps[:, 0]])
        forwards, backwards = by_node(heads, self.goal), by_node(self.goal - tails, self.goal)
        return self.leaves, self.arrives, self.steps, forwards, backwards

    def _short_enough(self, clusters: int) -> NDArray[np.bool_]:
        """Whether a path through a column keeps to both limits, weighed against each other."""
        share = np.arange(WEIGHTS + 1)[:, None]
        lengths = share * clusters * self.size + (WEIGHTS - share) * self._chiplets
        most = WEIGHTS * clusters * self._chiplets
        return short_enough(self._arcs, lengths, self.goal, most)


def lightest(
    columns: Columns,
    ends: tuple[int, int],
    beat_ps: int,
    chiplets: int,
    counts: tuple[int, int],
) -> list[int]:
    """Columns of a path under one largest beat with the fewest clusters, and then chiplets.

    ``counts`` are the fewest and most clusters; empty if there is no path. Nothing but the package
    limits it.
    """
    path: list[int] = lightest_within(columns, ends, beat_ps, chiplets, counts).tolist()
    return path


def _cheapest(keys: NDArray[Any], size: Ints) -> Ints:
    """Of the columns with equal first two keys, those that no other one beats in all else."""
    if len(keys) == 2:
        pairs = keys[0] * (1 + keys[1].max(initial=0)) + keys[1]
        order = np.argsort(pairs * (1 + size.max(initial=0)) + size, kind="stable")
        best: Ints = order[np.diff(pairs[order], prepend=-1) > 0]
        return best
    order = np.lexsort((size, *keys[::-1]))
    kept: list[int] = []
    rest = np.vstack([keys[2:], size[None, :]])
    ends, begin = keys[:2], 0
    for k in order.tolist():
        if kept and np.any(ends[:, kept[-1]] != ends[:, k]):
            begin = len(kept)
        rivals = rest[:, kept[begin:]]
        if not np.any(np.all(rivals <= rest[:, k : k + 1], axis=0)):
            kept.append(k)
    return np.array(kept, dtype=np.int64)


def side_rows(
    request: Request, columns: Columns, ends: tuple[int, int], beat_ps: int
) -> list[Limits]:
    """Rows for energy, power and DRAM traffic of a segment with that beat."""
    space = request.space
    rows = []
    if space.budget_fj is not None:
        rows.append(Limits(columns.energy_fj, space.budget_fj))
    if space.power_fj_per_ps is not None and beat_ps < LIMIT - 1:
        rows.append(Limits(columns.energy_fj, int(space.power_fj_per_ps * beat_ps)))
    most = space.refetch_limit_bytes(ends)
    if most is not None:
        rows.append(Limits(columns.refetched_bytes, most))
    return rows
