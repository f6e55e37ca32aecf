"""What became of an imported file, for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group

from scope_opt.model import units
from scope_opt.terminal.show import Columns, facts, title

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console, RenderableType

    from scope_opt.importing.onnx import Coverage
    from scope_opt.terminal.show import Fact

_MEANING = {
    "layer": "a layer each",
    "layers": "two layers: scores, and their product with the values",
    "edge": "an edge: a further input, or added to a layer's output",
    "fused": "fused into the layer before",
    "moved": "rearranged or selected, at no cost",
    "DRAM": "looked up in a table in DRAM",
    "ignored": "left out, as told",
}


def coverage_view(console: Console, name: str, coverage: Coverage) -> RenderableType:
    """Operators and what became of them, then sums."""
    table = Columns((("operator", "left", 0), ("number", "right", 0), ("became", "left", 0)))
    for operator, outcome, count in coverage.operators:
        table.add(units.plain(operator), str(count), _MEANING[outcome])
    return Group(title(name), "", table.fit(console), "", facts(_facts(coverage)))


def _facts(coverage: Coverage) -> Iterable[Fact]:
    yield "layers", str(coverage.layers), ""
    yield "MACs", units.count(coverage.macs, "MAC"), "per sample"
    yield "weights", units.count(coverage.weight_bytes, "B"), "one byte each"
    if coverage.other_elements:
        remark = "biases, normalizations and other constants that are no weights of layers"
        yield "not counted", units.count(coverage.other_elements, ""), remark
    if coverage.shared_bytes:
        remark = "of weights that several layers share: each holds its own"
        yield "shared", units.count(coverage.shared_bytes, "B"), remark
    if coverage.table_elements:
        yield "tables", units.count(coverage.table_elements, "B"), "of embeddings, in DRAM"
    if coverage.dram_bytes:
        remark = "per sample: further inputs and outputs, caches, embeddings read once more"
        yield "DRAM", units.size(coverage.dram_bytes), remark
    for dimension, size in coverage.assumed:
        yield (
            "assumed",
            f"{units.plain(dimension)} = {size}",
            "open in the file; --size says otherwise",
        )
