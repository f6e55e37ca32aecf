"""Bytes and byte-hops of weight gathers and of transfers from layer to layer (Table II)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.cost.rows import inputs_of, summed_layers
from scope_opt.model.tables import ISP, WSP

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scope_opt.cost.layers import LayerShape
    from scope_opt.cost.nop import NopCoefficients
    from scope_opt.cost.rows import Rows
    from scope_opt.model.network import Network
    from scope_opt.model.package import Package

    Floats = NDArray[np.float64]


class Moved(NamedTuple):
    """Bytes over the worst link, or byte-hops; as in `LatencyTables`, but for rows, not layers."""

    gather: Floats
    within: Floats
    send: Floats
    receive: Floats
    skip: Floats
    """(C+1,) per byte"""


def transfers(
    nop: NopCoefficients | None,
    network: Network,
    package: Package,
    rows: Rows,
    shapes: list[LayerShape],
    *,
    energy: bool = False,
) -> Moved:
    """Weight gathers and the chain transfers of Table II for every row; 0 without ``nop``."""
    sizes, count = np.arange(package.chiplets + 1), len(rows.first)
    within = np.zeros((count, 2, 2, len(sizes)))
    none = np.zeros(len(sizes))
    if nop is None:
        nothing = np.zeros((count, len(sizes)))
        return Moved(nothing, within, nothing, np.zeros((count, 2, len(sizes))), none)
    if energy:
        gather = np.maximum(sizes - 1, 0) * nop.hops
        halo_cost = np.ones(len(sizes))  # tiles trade seams with their neighbours
        send, receive = nop.send_hops, nop.receive_hops
        skip = np.where(sizes > 0, nop.hops[-1], 0.0)  # anywhere to anywhere
    else:
        gather = nop.gather
        halo_cost = np.divide(0.5, sizes, out=none.copy(), where=sizes > 0)
        send, receive, skip = nop.send, nop.receive, nop.skip
    exchange = np.divide(gather, sizes, out=none.copy(), where=sizes > 0)
    chain, summed, inputs = network.chain_bytes(), summed_layers(network), inputs_of(network)
    into_isp = np.zeros((count, len(sizes)))
    for row, layer in enumerate(rows.first):
        if layer == len(chain) - 1:
            continue
        halo = shapes[rows.of[layer + 1]].halo_bytes * halo_cost
        if layer in summed:  # what is added has to lie as the sum does
            within[row, 0, 1] = within[row, 1, 0] = chain[layer] * exchange
        elif chain[layer]:
            within[row, :, 0] = chain[layer] * gather
            within[row, 0, 1] = chain[layer] * exchange + halo
            within[row, 1, 1] = halo
        wanted = inputs.get(layer + 1, {})
        into_isp[row] = sum(wanted.values()) * gather
        # What else the next layer reads is moved along, unless an ISP layer before it read it too.
        there = inputs.get(layer, {})
        for own in (ISP, WSP):
            further = [
                moved
                for source, moved in wanted.items()
                if source != layer and (own == WSP or there.get(source, 0) < moved)
            ]
            within[row, own, ISP] += sum(further) * gather
            within[row, own, WSP] += sum(further) * exchange
            if further and not chain[layer]:
                within[row, own, WSP] += halo
    handed_on = np.array([chain[layer] for layer in rows.first], dtype=np.float64)
    into_wsp = np.multiply.outer(handed_on, receive)
    weights = np.array([float(network.layers[layer].weight_bytes) for layer in rows.first])
    return Moved(
        np.multiply.outer(weights, gather),
        within,
        np.multiply.outer(handed_on, send),
        np.stack([into_wsp + into_isp, into_wsp], axis=1),
        skip,
    )
