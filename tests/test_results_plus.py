"""The page about `scope-plus` on other networks, from records made here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from documents import two_layers
from helpers import read

from scope_opt.model.tables import ISP
from scope_opt.report.markdown import render
from scope_opt.report.results import plus
from scope_opt.report.results import records as results
from scope_opt.schedule.schedule import make_segment
from scope_opt.solving.result import Result
from scope_opt.solving.solver import solve
from scope_opt.studies.provenance import note_run
from scope_opt.studies.records import MANIFEST, RECORDS, Outcome, Record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.solving.monitor import Monitor
    from scope_opt.solving.solver import SolveOptions

#: Latencies of scope, scope-plus and exact, and the bound of exact, in ps.
CASES = {
    "a-64": (130_000, 101_000, 100_000, 100_000),
    "b-64-placed": (None, 106_000, 100_000, 90_000),
    "c-64-placed": (120_000, 100_000, 110_000, 95_000),
}


class Given:
    """Both layers on both chiplets."""

    name = "given"
    summary = "what a test says"
    exact = False
    constraints: frozenset[str] = frozenset()
    options: frozenset[str] = frozenset()

    def run(
        self, instance: Instance, tables: LatencyTables, options: SolveOptions, monitor: Monitor
    ) -> None:
        monitor.improve(80, [make_segment(0, [(2, 2, [ISP, ISP])])])  # 4 samples of 10 + 10


def record(name: str, label: str, objective: int | None, bound: int) -> Record:
    """A record with other numbers than those of the solve it was made from."""
    content = json.loads(solve(read(two_layers() | {"name": name}), Given()).to_json())
    content |= {"solver": label, "objective_ps": objective, "bound_ps": bound, "status": "feasible"}
    content |= {"trajectory": [], "gap": objective and (objective - bound) / objective}
    if objective is None:
        content |= {"schedule": None, "status": "unknown", "latency_s": None, "energy_j": None}
        content |= {"throughput_per_s": None}
    elif objective == bound:
        content |= {"status": "optimal"}
    found = Result.from_json(json.dumps(content), "test")
    return Record(
        key=f"{sum(map(ord, name + label)):064x}",
        instance=found.instance,
        variant=None,
        label=label,
        solver=label,
        seed=None,
        options={},
        outcome=Outcome.DONE,
        result=found,
        started="2026-01-01T00:00:00+00:00",
        wall_s=1.0,
        host="test",
        commit=None,
    )


@pytest.fixture(autouse=True)
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder of results with these records."""
    study = tmp_path / plus.STUDY
    study.mkdir()
    lines = []
    for name, (paper, own, exact, bound) in CASES.items():
        for label, value in ((plus.PAPER, paper), (plus.PLUS, own), (plus.EXACT, exact)):
            lines.append(record(name, label, value, bound).to_line())
    (study / RECORDS).write_text("".join(lines))
    note_run(study / MANIFEST, "test")
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    results.records_of.cache_clear()
    yield
    results.records_of.cache_clear()


def test_gaps_are_those_to_the_best_schedule_and_to_the_bound() -> None:
    page = render(plus.page())
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    cells = {row[0]: row[1:] for row in rows[1:] if "---" not in row[0]}
    assert list(cells) == list(CASES)
    assert cells["a-64"][2:5] == ["30.0", "1.0", "1.0"]
    assert cells["b-64-placed"][2:5] == ["-", "6.0", "17.8"]
    assert cells["c-64-placed"][2:5] == ["20.0", "0.0", "5.3"]  # better than exact, stopped
    assert "`scope-plus` 1.0 % in the median, 6.0 % at worst on 3 instances, 1 of them" in page
    assert "is met, by the best schedules known" in page
    assert "placed: gap 3.0 % in the median, 6.0 % at worst (b-64-placed)" in page
    assert "against the bounds at most 17.8 %" in page
