"""Energy of a sample: MACs, buffers, links and DRAM."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scope_opt.cost.transfers import transfers
from scope_opt.model.tables import EnergyTables, ceil_int

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scope_opt.cost.layers import LayerShape
    from scope_opt.cost.nop import NopCoefficients
    from scope_opt.cost.rows import Rows
    from scope_opt.model.network import Network
    from scope_opt.model.package import Package

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


def energy_tables(
    network: Network,
    package: Package,
    nop: NopCoefficients | None,
    rows: Rows,
    shapes: list[LayerShape],
    skip_bytes: Floats,
    opening: Floats,
    closing: Floats,
    traffic_bytes: Ints,
) -> EnergyTables:
    """Energies in fJ of a network's layers on a package.

    ``rows`` and ``shapes`` are those of the times; ``skip_bytes`` bytes of each skip edge,
    ``opening`` and ``closing`` what the first and the last layer of a segment read and write,
    ``traffic_bytes`` what goes through DRAM, all as in `EnergyTables`. Without ``nop``, transfers
    cost nothing here: the placed model prices them by place.
    """
    layers = [network.layers[layer] for layer in rows.first]
    sizes = np.arange(package.chiplets + 1)
    weights = np.array([layer.weight_bytes for layer in layers], dtype=np.float64)
    inputs = np.array([layer.input_bytes for layer in layers], dtype=np.float64)
    outputs = np.array(
        [float(layer.out_channels * layer.output_height * layer.output_width) for layer in layers]
    )
    halos = np.array([shape.halo_bytes for shape in shapes])
    accesses = np.zeros((len(layers), 2, len(sizes)))
    accesses[:, 0] = weights[:, None] + np.multiply.outer(inputs, sizes) + outputs[:, None]
    accesses[:, 1] = np.multiply.outer(weights, sizes) + inputs[:, None] + halos + outputs[:, None]
    accesses[:, :, 0] = 0

    def nop_fj(byte_hops: Floats) -> Ints:
        return ceil_int(
            byte_hops * (8000 * package.nop.energy_pj_per_bit),
            "package.nop.energy_pj_per_bit: an energy in fJ",
        )

    moved = transfers(nop, network, package, rows, shapes, energy=True)
    return EnergyTables(
        mac_fj=ceil_int(
            np.array([float(layer.macs) for layer in network.layers])
            * 1000
            * package.mac_energy_pj,
            "package.mac_energy_pj: an energy in fJ",
        ),
        sram_fj=ceil_int(
            accesses * 1000 * package.sram_energy_pj_per_byte,
            "package.sram_energy_pj_per_byte: an energy in fJ",
        )[rows.of],
        gather_fj=rows.every(nop_fj(moved.gather)),
        within_fj=rows.every(nop_fj(moved.within)),
        send_fj=rows.every(nop_fj(moved.send)),
        receive_fj=rows.every(nop_fj(moved.receive)),
        edge_send_fj=nop_fj(np.multiply.outer(skip_bytes, moved.skip)),
        input_bytes=opening.astype(np.int64),
        output_bytes=closing.astype(np.int64),
        edge_bytes=skip_bytes.astype(np.int64),
        traffic_bytes=traffic_bytes,
        dram_fj_per_byte=int(
            ceil_int(
                8000 * package.dram.energy_pj_per_bit,
                "package.dram.energy_pj_per_bit: an energy per byte in fJ",
            )
        ),
    )
