"""One segment under one largest beat, as a path with bounded sums along it, in integers.

`formulations.paths.network` says where the path may go. How a library is told that it is one, and
how large coefficients are rounded so that nothing allowed is lost, is left to the emitters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from formulations.columns.columns import Columns
    from formulations.paths.network import BeatNetwork, Limits

    Ints = NDArray[np.int64]


class Sum(NamedTuple):
    """A row ``low <= sum of values <= high`` over the columns used."""

    values: Ints
    low: int | None
    high: int


class PathProgram:
    """The rows of the program.

    Parameters
    ----------
    columns : Columns
    network : BeatNetwork
    chiplets : int
        Of the package.
    counts : (int, int)
        Fewest and most clusters.
    limits : list of Limits
        Rows beside.
    """

    def __init__(
        self,
        columns: Columns,
        network: BeatNetwork,
        chiplets: int,
        counts: tuple[int, int],
        limits: Sequence[Limits],
    ) -> None:
        self.columns = network.kept
        """Columns that are left; arc ``k`` is one of them, the arcs behind are steps between
        levels."""
        self.tails = np.concatenate([network.leaves, network.steps[:, 0]]).tolist()
        self.heads = np.concatenate([network.arrives, network.steps[:, 1]]).tolist()
        self.goal = network.goal
        """Last node of the path; the first is 0."""
        self.chiplets = Sum(columns.size[network.kept], None, chiplets)
        self.clusters = Sum(np.ones(len(network.kept), dtype=np.int64), *counts)
        self.limits = [Sum(row.values[network.kept], None, row.limit) for row in limits]
        """Of energy, power and DRAM traffic; values may be too large for a library."""

    def used(self, value: Callable[[int], float]) -> list[int]:
        """Columns that a solution uses, given the values of arcs."""
        return [int(column) for k, column in enumerate(self.columns) if value(k) > 0.5]

    def exclusion(self, used: Sequence[int]) -> tuple[list[int], int]:
        """Arcs of a set of columns, and how many of them a path may have that is not this one."""
        where = {int(column): k for k, column in enumerate(self.columns)}
        return [where[column] for column in used], len(used) - 1
