"""How much memory the tables of an instance take while they are built, told before they are.

Counted are the arrays of `scope_opt.model.tables` and `scope_opt.model.places`, and what the cost
model holds besides them at its peak. Counts of a mesh that tables of other instances share, and
what searches ask for later (`PlacedTables.scatter`), are not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scope_opt.cost.rows import table_rows
from scope_opt.model.mesh import period, places

if TYPE_CHECKING:
    from scope_opt.model.explicit import ExplicitTables
    from scope_opt.model.instance import Instance
    from scope_opt.model.network import Network
    from scope_opt.model.package import Package

WORD = 8
"""Bytes of an entry, int64 or float64."""

# Entries for each layer and region size: compute 2, gather 1, within 4, send 1, receive 2.
_TIMES = 10
# The same of EnergyTables, with accesses instead of computation.
_ENERGIES = 10
_HELD = 2
# For each row and region size: `LayerShape` and its tile grid 12, transfers in bytes and in
# byte-hops 16, accesses 2, and four steps of rounding up the largest table.
_ROW_WORK = 12 + 16 + 2 + 4 * 4
# (L, L) tables: reads, writes, their bytes, the segments' beats and weights.
_SQUARES = 5
# The cost model's further ones while it adds up DRAM traffic.
_SQUARE_WORK = 15


def table_bytes(instance: Instance) -> int:
    """Bytes that the tables of an instance take at most while they are built.

    It takes time in proportion to layers plus chiplets, not to their product.
    """
    if instance.tables is not None:
        return WORD * _explicit_words(instance.tables)
    assert instance.network is not None  # instance.tables is None, so both are there
    assert instance.package is not None
    return WORD * _built_words(instance.network, instance.package)


def _explicit_words(tables: ExplicitTables) -> int:
    layers, sizes = len(tables.layers), tables.chiplets + 1
    readers = sum(len(edge.readers) for edge in tables.edges)
    # Values are listed before they become arrays: of layers four tables, of edges one at a time.
    by_size = layers * (_TIMES + 4) + readers * (2 + 1)
    return by_size * sizes + (4 + 4) * layers**2


def _built_words(network: Network, package: Package) -> int:
    layers, sizes = len(network.layers), package.chiplets + 1
    rows = len(table_rows(network).first)
    by_size = layers * (_TIMES + _ENERGIES + _HELD) + rows * _ROW_WORK
    squares = (_SQUARES + _SQUARE_WORK) * layers**2
    if package.nop.model != "placed":
        # Times to send and to receive, energy, and four steps of rounding up.
        by_size += len(network.skip_edges()) * (3 + 4)
        return by_size * sizes + squares
    # Gathers and exchanges for each phase, and halos of all layers that tile differently.
    tilings = {(x.output_height, x.output_width, x.seam_bytes) for x in network.layers}
    return (by_size + (2 + len(tilings)) * period(places(package))) * sizes + squares
