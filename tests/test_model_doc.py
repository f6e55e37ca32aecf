"""The worked example of docs/model.md in both models: its arithmetic, its totals, its pictures."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from scope_opt.model.instance import Instance
from scope_opt.model.tables import ceil_int
from scope_opt.schedule.evaluate import evaluate
from scope_opt.schedule.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scope_opt.schedule.evaluation import Evaluation

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "model.md").read_text("utf-8")
ARITHMETIC = re.compile(r"[-+*/()., \d]|e-?\d|max")


def load_figures() -> Any:
    """Import the script, which belongs to no package."""
    path = ROOT / "docs" / "figures" / "placed.py"
    spec = importlib.util.spec_from_file_location("placed_figures", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["placed_figures"] = module
    spec.loader.exec_module(module)
    return module


figures = load_figures()


class Row(NamedTuple):
    """A line of a table: part, what it is, how it is computed, its integer."""

    part: str
    arithmetic: str
    value: int


def table(name: str) -> list[Row]:
    """Lines of the table after the comment that names it."""
    found = re.search(rf"<!-- example: {name} -->\n\n((?:\|.*\n)+)", TEXT)
    assert found is not None, name
    rows = []
    for line in found[1].splitlines()[2:]:
        part, _, arithmetic, value = (cell.strip() for cell in line.strip("|").split("|"))
        rows.append(Row(part, arithmetic.strip("`"), int(value)))
    return rows


def computed(arithmetic: str, unit: float) -> int:
    """What the arithmetic of a line gives; integers are there already."""
    assert ARITHMETIC.sub("", arithmetic) == "", arithmetic
    value = eval(arithmetic, {"__builtins__": {}}, {"max": max})
    return value if isinstance(value, int) else int(ceil_int(value * unit))


def sums(rows: list[Row]) -> dict[str, int]:
    """Sum of the lines of each part."""
    found: dict[str, int] = {}
    for row in rows:
        found[row.part] = found.get(row.part, 0) + row.value
    return found


def example(model: str) -> Instance:
    """The document's instance, or the same as the document changes it for the regressed model."""
    content = json.loads(figures.blocks(TEXT)["instance"])
    if model == "regressed":
        content["package"]["nop"] |= {"model": "regressed", "skip": "both"}
        for edge in content["network"]["edges"]:
            edge.pop("feeds", None)
    return Instance.from_json(json.dumps(content), "docs/model.md")


def evaluated(model: str) -> Evaluation:
    instance = example(model)
    content = json.loads(figures.blocks(TEXT)["schedule"])
    content["instance"]["digest"] = instance.digest
    found = evaluate(instance, Schedule.from_json(json.dumps(content), "docs/model.md"))
    assert found.feasible
    return found


def time_parts(evaluation: Evaluation) -> Iterator[tuple[str, int]]:
    """What the evaluator says, by the names of the document's lines; zeros have no line."""
    segment = evaluation.segments[0]
    yield "sdram", segment.dram_beat_ps
    yield "load", segment.load_ps
    yield "link", segment.link_beat_ps
    yield "beat", segment.beat_ps
    assert evaluation.objective_ps is not None
    yield "latency", evaluation.objective_ps
    for index, cluster in enumerate(segment.clusters):
        yield f"cluster {index}", cluster.time_ps
        for layer in cluster.layers:
            yield f"pre {layer.name}", layer.preparation_ps
            yield f"comp {layer.name}", layer.computation_ps
            yield f"comm {layer.name}", layer.communication_ps


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("placed", 1e12),
        ("regressed", 1e12),
        ("held", 1),
        ("placed energy", 1),
        ("regressed energy", 1),
    ],
)
def test_arithmetic(name: str, unit: float) -> None:
    for row in table(name):
        assert computed(row.arithmetic, unit) == row.value, row


@pytest.mark.parametrize("model", ["placed", "regressed"])
def test_times_are_the_evaluators(model: str) -> None:
    said = {part: ps for part, ps in time_parts(evaluated(model)) if ps}
    assert sums(table(model)) == said


@pytest.mark.parametrize("model", ["placed", "regressed"])
def test_energies_are_the_evaluators(model: str) -> None:
    evaluation = evaluated(model)
    parts = sums(table(f"{model} energy"))
    assert evaluation.energy_fj == parts.pop("total")
    assert evaluation.energy is not None
    for part in ("mac", "sram", "nop"):
        assert getattr(evaluation.energy, f"{part}_j") == 64 * parts[part] / 10**15
    assert evaluation.energy.dram_j == (64 * parts["dram"] + parts["weights"]) / 10**15


def test_activation_memory_is_the_evaluators() -> None:
    parts = sums(table("held"))
    clusters = evaluated("placed").segments[0].clusters
    assert [parts["cluster 0 holds"], parts["cluster 1 holds"]] == [
        cluster.activation_bytes for cluster in clusters
    ]


def test_schedule_belongs_to_the_instance() -> None:
    content = json.loads(figures.blocks(TEXT)["schedule"])
    assert content["instance"] == {"name": "four-layers", "digest": example("placed").digest}


def test_busiest_link_is_the_one_named() -> None:
    busiest = evaluated("placed").segments[0].busiest_link
    assert busiest is not None
    assert f"link from {list(busiest.source)} to {list(busiest.target)}" in TEXT.replace("\n", " ")
    assert {(share.what, share.layer) for share in busiest.shares} == {
        ("hand-over", 1),
        ("activations", 2),
    }
    drawn = figures.example()
    assert float(drawn.links.max()) == busiest.bytes


@pytest.mark.parametrize("name", figures.FIGURES)
def test_pictures_are_up_to_date(name: str, tmp_path: Path) -> None:
    """All that is written in them; the shapes depend on the version of matplotlib."""
    pytest.importorskip("matplotlib")
    figures.FIGURES[name](figures.example(), tmp_path / name)

    def words(path: Path) -> list[str]:
        return re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text("utf-8"))

    committed = words(ROOT / "docs" / "figures" / name)
    assert committed == words(tmp_path / name), "run python docs/figures/placed.py"
    assert len(committed) > 5
    assert f"(figures/{name})" in TEXT
