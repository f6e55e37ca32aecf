"""Which partitions a layer may have in a cluster of a single segment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scope_opt.model.compiled import loop
from scope_opt.search.allowed import may_isp, may_wsp
from scope_opt.search.placed import activations_fit
from scope_opt.search.times import WSP, copy_fits

if TYPE_CHECKING:
    from scope_opt.search.allowed import Allowed
    from scope_opt.search.packed import Ints, PackedTables


@loop
def permitted(
    packed: PackedTables,
    allowed: Allowed,
    facts: Ints,
    first: int,
    layer: int,
    own: int,
    size: int,
    room: int,
) -> bool:
    """Whether a layer of the cluster from ``first`` on may have the partition ``own``.

    ``room`` bytes are free for a WSP copy beside the cluster's weights on its ``size`` chiplets;
    ``facts`` are the `segment_facts` of all layers, for the limit on activations.
    """
    fits, choice = copy_fits(packed.layers, layer, size, room), allowed.choice[layer]
    if own == WSP:
        if not may_wsp(choice, fits):
            return False
    elif not may_isp(choice, fits):
        return False
    return bool(activations_fit(packed.places, facts, 0, first, layer, own, size))
