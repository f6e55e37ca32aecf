"""A cluster with what surrounds it."""

from __future__ import annotations

from typing import NamedTuple


class Column(NamedTuple):
    """Layers ``first..last`` as a cluster of ``size`` chiplets in certain surroundings."""

    first: int
    last: int
    size: int
    partition: int | None
    """Of the first layer; None where nothing depends on it (``opens``)."""
    opens: bool
    """Whether it is the first cluster of its segment."""
    closes: bool
    """Whether it is the last cluster of its segment."""
    starts: tuple[int, int]
    """Range of first layers that the segment may have."""
    ends: tuple[int, int]
    """Range of last layers that the segment may have."""
    time_ps: int
    """Least time for one sample; exact unless ``sending_ps`` is given."""
    sending_ps: int | None
    """Time without what the next cluster's receiving adds; None if that cannot matter."""
    energy_fj: int
    """Energy of one sample, receiving from the cluster before included; 0 if it does not matter."""
    refetched_bytes: int
    """Weights fetched again for every sample."""
    partitions: tuple[int, ...]
