"""Which schedules are searched: side constraints as masks, for compiled code."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.model.compiled import inlined

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scope_opt.model.instance import Constraints
    from scope_opt.search.packed import Bytes

    Flags = NDArray[np.bool_]

ONLY_ISP, ONLY_WSP, EITHER, WSP_IF_FITS = 1, 2, 3, 4
"""Entries of `Allowed.choice`: the partitions a layer may take."""


class Allowed(NamedTuple):
    """Which schedules are searched; everything is allowed where nothing restricts it."""

    clusters: Flags
    """(L, L) whether layers ``i..j`` may be a cluster"""
    regions: Flags
    """(L, C+1) whether a cluster that starts at ``i`` may have ``r`` chiplets"""
    choice: Bytes
    """(L,) `ONLY_ISP`, `ONLY_WSP`, `EITHER`, or `WSP_IF_FITS` (else ISP)"""


def make_allowed(constraints: Constraints, layers: int, chiplets: int) -> Allowed:
    """What an instance's side constraints allow; cluster counts are left to the searches."""
    clusters = np.triu(np.ones((layers, layers), dtype=np.bool_))
    for layer in constraints.forbidden_merges or ():
        clusters[: layer + 1, layer + 1 :] = False
    for layer in constraints.required_merges or ():
        clusters[:, layer] = False
        clusters[layer + 1, :] = False
    sizes = np.arange(chiplets + 1)
    allowed = sizes >= 1
    if constraints.region_multiple is not None:
        allowed &= sizes % constraints.region_multiple == 0
    if constraints.max_region is not None:
        allowed &= sizes <= constraints.max_region
    choice = np.full(layers, EITHER, dtype=np.int8)
    for fixed in constraints.fixed_partitions or ():
        choice[fixed.layer] = ONLY_WSP if fixed.partition == "WSP" else ONLY_ISP
    return Allowed(clusters, np.tile(allowed, (layers, 1)), choice)


@inlined
def may_isp(choice: int, fits: bool) -> bool:
    """Whether a layer may be ISP; ``fits`` says whether its WSP copy would fit."""
    return choice in (ONLY_ISP, EITHER) or (choice == WSP_IF_FITS and not fits)


@inlined
def may_wsp(choice: int, fits: bool) -> bool:
    """Whether a layer may be WSP; ``fits`` says whether its copy fits."""
    return fits and choice != ONLY_ISP
