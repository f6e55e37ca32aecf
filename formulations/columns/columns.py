"""Columns: clusters with what surrounds them, as one array for each of their numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

NONE = -1
"""Stands for a partition that a column does not depend on."""
NO_SENDING = -(2**61)
"""Stands for a sending time that cannot matter: no receiving makes it count."""


class Columns(NamedTuple):
    """Layers ``first..last`` as clusters of ``size`` chiplets in certain surroundings.

    Each of shape ``(n,)``; what is true or false is 1 or 0.
    """

    first: Ints
    last: Ints
    size: Ints
    partition: Ints
    """Of the first layer; `NONE` where nothing depends on it (``opens``)"""
    opens: Ints
    """Whether it is the first cluster of its segment"""
    closes: Ints
    """Whether it is the last cluster of its segment"""
    start_low: Ints
    start_high: Ints
    """Range of first layers that the segment may have"""
    end_low: Ints
    end_high: Ints
    """Range of last layers that the segment may have"""
    time_ps: Ints
    """Least time for one sample; exact where sending cannot matter"""
    sending_ps: Ints
    """Time without what the next cluster's receiving adds; `NO_SENDING` where that cannot matter"""
    receive_ps: Ints
    """What the cluster before pays to hand its output to this one"""
    energy_fj: Ints
    """Energy of one sample, receiving from the cluster before included; 0 if it does not matter"""
    refetched_bytes: Ints
    """Weights fetched again for every sample"""
    made_for: Ints
    """Last layer of a segment that the partitions were chosen for,"""
    label: Ints
    """and which choice it is: see `formulations.columns.labels`"""

    @property
    def number(self) -> int:
        """How many columns there are."""
        return len(self.first)

    @property
    def runs(self) -> list[tuple[int, int]]:
        """First and last layer of each."""
        return list(zip(self.first.tolist(), self.last.tolist(), strict=True))


def no_columns(room: int = 0) -> Columns:
    """Room for so many columns."""
    return Columns(*np.zeros((len(Columns._fields), room), dtype=np.int64))
