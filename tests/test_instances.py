"""The shipped instances, schemas and their README against the code and against brute force."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from typing import TYPE_CHECKING, Any

import jsonschema
import oracle
import pytest
from documents import INSTANCES, shipped
from helpers import read, read_schedule

from scope_opt.model.instance import Constraints, Instance
from scope_opt.model.parts import NetworkFile, PackageFile
from scope_opt.model.zoo import NETWORKS, PAPER_CHIPLETS
from scope_opt.schedule.evaluate import evaluate
from scope_opt.schedule.schedule import Schedule
from scope_opt.solving.result import Result

if TYPE_CHECKING:
    from pathlib import Path

    from scope_opt.model.files import Document

FILES = sorted([*INSTANCES.glob("paper/*"), *INSTANCES.glob("tiny/*")])
TINY = [path.stem for path in FILES if path.parent.name == "tiny"]
SCHEMAS: dict[str, type[Document]] = {
    "instance": Instance,
    "network": NetworkFile,
    "package": PackageFile,
    "schedule": Schedule,
    "result": Result,
}
"""Those that the README describes key by key."""


def load_regenerate() -> Any:
    """Import the script, which belongs to no package."""
    spec = importlib.util.spec_from_file_location("regenerate", INSTANCES / "regenerate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["regenerate"] = module
    spec.loader.exec_module(module)
    return module


FORMATS: dict[str, type[Document]] = load_regenerate().FORMATS


regenerate = load_regenerate()


@pytest.fixture(scope="module")
def built() -> dict[str, str]:
    texts: dict[str, str] = regenerate.documents()
    return texts


def schema(kind: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((INSTANCES / f"schema/{kind}.schema.json").read_text())
    return content


def blocks() -> list[dict[str, Any]]:
    """JSON examples of the README."""
    text = (INSTANCES / "README.md").read_text()
    return [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]


def example(kind: str, index: int = 0) -> dict[str, Any]:
    found = [block for block in blocks() if block.get("format") == f"scope-{kind}/1"]
    return found[index]


def test_everything_is_there() -> None:
    paper = {f"{name}-{chiplets}" for name in NETWORKS for chiplets in PAPER_CHIPLETS}
    assert len(paper) == 40
    assert {path.stem for path in FILES if path.parent.name == "paper"} == paper
    assert len(TINY) == 9


def test_files_are_what_regenerate_builds(built: dict[str, str]) -> None:
    assert regenerate.differences(built) == []


def test_differences_are_found(built: dict[str, str], tmp_path: Path) -> None:
    for name, text in built.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (tmp_path / "tiny/tiny-skip.json").write_text("{}")
    (tmp_path / "paper/vgg16-64.json").unlink()
    (tmp_path / "tiny/stray.json").write_text("{}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(regenerate, "HERE", tmp_path)
        assert sorted(regenerate.differences(built)) == [
            "paper/vgg16-64.json: missing",
            "tiny/stray.json: not generated",
            "tiny/tiny-skip.json: differs",
        ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_file(path: Path) -> None:
    instance = Instance.load(path)
    assert instance.name == path.stem
    assert instance.to_json() == path.read_text(encoding="utf-8")
    assert instance.description
    if path.parent.name == "paper":
        assert (instance.samples, instance.overflow) == (64, "forbid")


def test_digests_are_unique() -> None:
    assert len({Instance.load(path).digest for path in FILES}) == len(FILES)


@pytest.mark.parametrize("kind", FORMATS)
def test_schema(kind: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(kind))
    assert schema(kind) == FORMATS[kind].model_json_schema(by_alias=True)


def test_files_match_the_schema() -> None:
    validator = jsonschema.Draft202012Validator(schema("instance"))
    for path in FILES:
        assert not list(validator.iter_errors(json.loads(path.read_text()))), path


def test_schema_refuses_what_is_wrong() -> None:
    validator = jsonschema.Draft202012Validator(schema("instance"))
    content = shipped("tiny-skip")
    assert validator.is_valid(content)
    assert not validator.is_valid({**content, "sample": 3})
    assert not validator.is_valid({**content, "samples": 0})
    assert not validator.is_valid({**content, "overflow": "spill"})


# --- The small instances -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def optima() -> dict[str, tuple[dict[str, Any], dict[str, Any], int]]:
    """Instance, a best schedule and what it minimizes, by name."""
    found = {}
    for name in TINY:
        content = shipped(name)
        best = oracle.best(content)
        assert best is not None
        found[name] = (content, *best)
    return found


Optima = dict[str, tuple[dict[str, Any], dict[str, Any], int]]


def weights(content: dict[str, Any]) -> list[int]:
    source = content.get("network") or content["tables"]
    return [layer["weight_bytes"] for layer in source["layers"]]


def test_optima_agree_with_the_readme(optima: Optima) -> None:
    def cluster(c: dict[str, Any]) -> str:
        partitions = " ".join(c["partitions"])
        return f"{c['first_layer']}–{c['last_layer']} on {c['chiplets']}: {partitions}"

    readme = (INSTANCES / "README.md").read_text()
    for name, (content, schedule, optimum) in optima.items():
        segments = [" + ".join(map(cluster, s["clusters"])) for s in schedule["segments"]]
        chiplets = read(content).chiplets
        row = f"| `{name}` | {len(weights(content))} | {chiplets} | {optimum} | "
        assert row + f"{'; '.join(segments)} |" in readme


def test_optima_are_interesting(optima: Optima) -> None:
    for name, (_, schedule, _) in optima.items():
        clusters = [c for s in schedule["segments"] for c in s["clusters"]]
        assert any(len(s["clusters"]) > 1 for s in schedule["segments"]), name
        assert {p for c in clusters for p in c["partitions"]} == {"ISP", "WSP"}, name
    several = {name for name, (_, s, _) in optima.items() if len(s["segments"]) > 1}
    assert len(several) >= 4


def test_special_rules_bite(optima: Optima) -> None:
    content, schedule, _ = optima["tiny-skip"]
    crossing = schedule["segments"][0]["clusters"]
    assert {"from": 0, "to": 2, "bytes": 32768} in content["network"]["edges"]
    assert crossing[0]["last_layer"] < 2

    content, _, _ = optima["tiny-projection"]
    pairs = {(edge["from"], edge["to"]) for edge in content["network"]["edges"]}
    assert (1, 2) not in pairs

    content, schedule, _ = optima["tiny-oversized"]
    assert max(weights(content)) > 6 * content["package"]["chiplet"]["weight_buffer_bytes"]
    assert schedule["segments"][1]["clusters"] == [
        {"first_layer": 2, "last_layer": 2, "chiplets": 6, "partitions": ["ISP"]}
    ]
    assert oracle.best(content, "single") is None

    content, schedule, latency_ps = optima["tiny-stream"]
    streaming = schedule["segments"][1]["clusters"][1]
    inside = weights(content)[streaming["first_layer"] : streaming["last_layer"] + 1]
    buffers = streaming["chiplets"] * content["package"]["chiplet"]["weight_buffer_bytes"]
    assert sum(inside) - buffers == 2048
    forbidding = oracle.best({**content, "overflow": "forbid"})
    assert forbidding is not None
    assert forbidding[1] > latency_ps

    content, _, _ = optima["tiny-depthwise"]
    assert {layer["groups"] for layer in content["network"]["layers"]} == {1, 2, 32}

    content, _, _ = optima["tiny-attention"]
    assert weights(content)[1:3] == [0, 0]
    assert content["network"]["edges"][:2] == [
        {"from": 0, "to": 1, "bytes": 4096},
        {"from": 0, "to": 2, "bytes": 2048},
    ]


def test_constraints_bite(optima: Optima) -> None:
    content, _, latency_ps = optima["tiny-constraints"]
    constraints = content["constraints"]
    others = optima["tiny-energy"][0]["constraints"]
    assert {*constraints, *others} == set(Constraints.model_fields)
    free = oracle.best({**content, "constraints": {}})
    budgetless = {k: v for k, v in constraints.items() if k != "energy_budget_j"}
    hungry = oracle.best({**content, "constraints": budgetless})
    assert free is not None
    assert hungry is not None
    assert free[1] < hungry[1] < latency_ps


def test_limits_on_power_and_traffic_cost_energy(optima: Optima) -> None:
    content, _, energy_fj = optima["tiny-energy"]
    for name in ("power_budget_w", "dram_bytes_per_beat"):
        fewer = {k: v for k, v in content["constraints"].items() if k != name}
        relaxed = oracle.best({**content, "constraints": fewer})
        assert relaxed is not None
        assert relaxed[1] < energy_fj


@pytest.mark.parametrize("name", TINY)
def test_evaluator_agrees_on_optimum(name: str, optima: Optima) -> None:
    content, schedule, optimum = optima[name]
    instance = read(content)
    evaluation = evaluate(instance, read_schedule(instance, schedule))
    assert evaluation.feasible
    found = evaluation.energy_fj if instance.minimizes == "energy" else evaluation.objective_ps
    assert found == optimum


# --- The README ----------------------------------------------------------------------------------


def test_readme_examples_are_valid() -> None:
    for block in blocks():
        kind = block.get("format", "").removeprefix("scope-").removesuffix("/1")
        if kind:
            SCHEMAS[kind].from_json(json.dumps(block), "README.md")
            jsonschema.validate(block, schema(kind))
        elif "package" not in block:
            content = shipped("tiny-constraints")
            assert block == content["constraints"]


def test_readme_keys_make_a_placed_package() -> None:
    """They turn a shipped package of the regressed model into that of the placed one."""
    (keys,) = (block["package"] for block in blocks() if set(block) == {"package"})
    content = json.loads((INSTANCES / "paper/vgg16-64.json").read_text())
    for key, value in keys.items():
        own = content["package"].get(key)
        content["package"][key] = own | value if isinstance(own, dict) else value
    made = Instance.from_json(json.dumps(content), "README.md")
    placed = Instance.load(INSTANCES / "placed/vgg16-64-placed.json")
    assert made.package == placed.package


def test_readme_schedule_and_result_belong_to_its_instance() -> None:
    instance = Instance.from_json(json.dumps(example("instance")), "README.md")
    schedule = Schedule.from_json(json.dumps(example("schedule")), "README.md")
    result = Result.from_json(json.dumps(example("result")), "README.md")
    assert schedule.instance.digest == result.instance.digest == instance.digest
    assert result.schedule == schedule
    evaluation = evaluate(instance, schedule)
    assert evaluation.objective_ps == result.objective_ps
    assert evaluation.latency_s == result.latency_s
    assert evaluation.throughput_per_s == result.throughput_per_s
    assert evaluation.utilization == pytest.approx(result.utilization)
    assert evaluation.energy is not None
    assert result.energy_j is not None
    assert evaluation.energy.total_j == pytest.approx(result.energy_j.total)
    assert evaluation.energy.dram_j == pytest.approx(result.energy_j.dram)


def test_readme_names_every_key() -> None:
    text = re.sub(r"```.*?```", "", (INSTANCES / "README.md").read_text(), flags=re.DOTALL)
    named = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"`([^`]+)`", text))))

    def keys(node: Any) -> set[str]:
        if isinstance(node, dict):
            return set(node) | {key for value in node.values() for key in keys(value)}
        if isinstance(node, list):
            return {key for value in node for key in keys(value)}
        return set()

    examples = keys(blocks())
    for kind in SCHEMAS:
        definitions = schema(kind)
        for node in [definitions, *definitions.get("$defs", {}).values()]:
            wanted = {key for key in node.get("properties", {}) if key not in ("ISP", "WSP")}
            assert wanted <= named | examples, (kind, wanted - named - examples)
