"""Networks and packages by themselves, for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group

from scope_opt.model import units
from scope_opt.terminal.show import Columns, facts, package_facts, title

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from scope_opt.model.network import Layer, Network
    from scope_opt.model.package import Package


def package_view(package: Package) -> RenderableType:
    """A package in numbers."""
    buffers = units.size(package.chiplet.weight_buffer_bytes)
    held = ("weight buffer", buffers, "per chiplet")
    return facts([*package_facts(package), held])


def network_view(console: Console, network: Network) -> RenderableType:
    """A network in numbers, then layer by layer: sizes, and what each reads of others."""
    table = Columns(
        (
            ("layer", "right", 0),
            ("name", "left", 0),
            ("input", "right", 1),
            ("output", "right", 1),
            ("kernel", "left", 2),
            ("MACs", "right", 0),
            ("weights", "right", 0),
            ("hands on", "right", 3),
            ("DRAM", "right", 4),
            ("reads, + adds", "left", 0),
        )
    )
    for index, layer in enumerate(network.layers):
        reads = [
            f"{'' if edge.is_input else '+'}{edge.source}"
            for edge in network.edges
            if edge.target == index
        ]
        traffic = layer.dram_read_bytes + layer.dram_write_bytes
        table.add(
            str(index),
            units.plain(layer.name),
            f"{layer.in_channels} x {layer.input_height} x {layer.input_width}",
            f"{layer.out_channels} x {layer.output_height} x {layer.output_width}",
            _kernel(layer),
            units.count(layer.macs, ""),
            units.size(layer.weight_bytes) if layer.weight_bytes else "",
            units.size(layer.output_bytes),
            units.size(traffic) if traffic else "",
            " ".join(reads),
        )
    sums = [
        ("layers", str(len(network.layers)), f"{len(network.edges)} edges"),
        ("MACs", units.count(network.macs, "MAC"), "per sample"),
        ("weights", units.size(network.weight_bytes), ""),
    ]
    return Group(title(network.name), "", facts(sums), "", table.fit(console))


def _kernel(layer: Layer) -> str:
    parts = [f"{layer.kernel_height} x {layer.kernel_width}"]
    if layer.steps != (1, 1):
        parts.append(f"stride {' x '.join(map(str, layer.steps))}")
    if layer.groups > 1:
        parts.append(units.plural(layer.groups, "group"))
    return ", ".join(parts)
