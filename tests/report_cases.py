"""What the tests of reports report on: an instance with hostile names, a small study."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from scope_opt.model.generate import paper_instance
from scope_opt.model.instance import Instance
from scope_opt.schedule.schedule import InstanceReference, Schedule, make_segment
from scope_opt.solving.solver import SolveOptions, solve
from scope_opt.studies.records import Outcome, Record

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from scope_opt.solving.result import Result

MARKUP = '<img src=x onerror="fail()">'
CLOSING = "</script><b>&amp;"


def hostile() -> tuple[Instance, Schedule]:
    """An instance whose names are markup, with a schedule in two clusters that leaves one idle."""
    content: dict[str, Any] = json.loads(paper_instance("alexnet", 16, 8, "stream").to_json())
    content["name"], content["description"] = f"net {MARKUP}", CLOSING
    content["network"]["layers"][0]["name"] = MARKUP
    content["network"]["layers"][1]["name"] = CLOSING
    instance = Instance.from_json(json.dumps(content), "hostile")
    layers = len(instance.layer_names)
    segment = make_segment(0, [(3, 7, [1, 1, 0]), (layers - 3, 8, [0] * (layers - 3))])
    schedule = Schedule(instance=InstanceReference.to(instance), segments=(segment,))
    return instance, schedule


def placed() -> tuple[Instance, Schedule]:
    """Two stripes of two columns, activations limited: one segment of four clusters, one of one."""
    content: dict[str, Any] = json.loads(
        paper_instance("alexnet", 16, nop="placed", overflow="stream", order="blocks-2").to_json()
    )
    content["package"]["activation_buffer_bytes"] = 2**20
    instance = Instance.from_json(json.dumps(content), "placed")
    layers = len(instance.layer_names)
    clusters = [(1, 3, [1]), (2, 4, [1, 0]), (1, 4, [0]), (layers - 5, 3, [0] * (layers - 5))]
    segments = (make_segment(0, clusters), make_segment(layers - 1, [(1, 16, [0])]))
    return instance, Schedule(instance=InstanceReference.to(instance), segments=segments)


def record(result: Result | None, label: str, seed: int | None = None, **more: Any) -> Record:
    """A record of a result."""
    assert result is not None or "instance" in more
    content: dict[str, Any] = {
        "key": hashlib.sha256(repr((label, seed, more, result)).encode()).hexdigest(),
        "instance": None if result is None else result.instance,
        "variant": None,
        "label": label,
        "solver": label if result is None else result.solver,
        "seed": seed,
        "options": {"time_limit_s": 60.0},
        "outcome": Outcome.DONE,
        "result": result,
        "started": "2026-11-22T20:00:00+00:00",
        "wall_s": 1.0 if result is None else result.times_s.total,
        "host": "host",
        "commit": None,
    }
    return Record.model_validate({**content, **more})


def save_records(folder: Path, records: Sequence[Record]) -> None:
    """The folder of a study with these records."""
    folder.mkdir(exist_ok=True)
    (folder / "records.jsonl").write_text("".join(record.to_line() for record in records))


def small_study() -> list[Record]:
    """Three instances by three labels, one with two seeds, one run on two of them; a refusal."""
    records = []
    for name in ("alexnet", "vgg16", "darknet19"):
        instance = paper_instance(name, 16)
        records.append(record(solve(instance, "exact"), "exact"))
        records.append(record(solve(instance, "scope"), "paper's search"))
        for seed in (0, 1):
            options = SolveOptions(seed=seed, iterations=300)
            records.append(record(solve(instance, "anneal", options), "anneal", seed))
    refused: dict[str, Any] = {
        "instance": records[0].instance,
        "solver": "cp-sat",
        "outcome": Outcome.REFUSED,
        "explanation": (f"too large {MARKUP}",),
    }
    return [*records, record(None, "refused", **refused)]
