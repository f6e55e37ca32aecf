"""How many schedules one segment has, before any rule excludes some (Eq. 8 and 9 of the paper).

Take a segment of ``L`` layers on ``C`` chiplets and one cluster count ``N``. The clusters are a
choice of ``N - 1`` of the ``L - 1`` gaps between layers. Regions that use every chiplet are a
choice of ``N - 1`` of the ``C - 1`` gaps between chiplets; regions that may leave chiplets idle are
``N`` sizes with a sum of at most ``C``, that is ``C choose N`` choices. Each layer has one of two
partitions. Summed over ``N``, Vandermonde's identity ``sum_N (a, n - N) (b, N) = (a + b, n)`` gives

- every chiplet used: ``2^L sum_N (L-1, N-1) (C-1, N-1) = 2^L (L+C-2, L-1)``;
- idle chiplets allowed: ``2^L sum_N (L-1, N-1) (C, N) = 2^L (L+C-1, L)``.
"""

from __future__ import annotations

import math


def space_size(layers: int, chiplets: int, idle: bool = False) -> int:
    """Number of schedules of one segment: clusters, regions and partitions.

    Parameters
    ----------
    layers, chiplets : int
        At least 1.
    idle : bool
        Whether chiplets may be left over.

    Raises
    ------
    ValueError
        If there is no layer or no chiplet.

    Examples
    --------
    AlexNet on 16 chiplets:

    >>> space_size(8, 16)
    43659264
    >>> space_size(8, 16, idle=True)
    125520384
    """
    if layers < 1 or chiplets < 1:
        raise ValueError(f"{layers} layers on {chiplets} chiplets; needs at least one of each")
    if idle:
        return math.comb(layers + chiplets - 1, layers) << layers
    return math.comb(layers + chiplets - 2, layers - 1) << layers


def log10_space_size(layers: int, chiplets: int, idle: bool = False) -> float:
    """Decimal logarithm of `space_size`, which itself may have hundreds of digits."""
    return math.log10(space_size(layers, chiplets, idle))
