"""The page and the registry of the placed instances, from records made here."""

from __future__ import annotations

import json
import runpy
from typing import TYPE_CHECKING

import pytest
from documents import ROOT
from study_records import pages_of, record, write_study

from scope_opt.model.instance import Instance
from scope_opt.report.markdown import render
from scope_opt.report.results import as_placed, best_known, orders, placed, rankings, shapes
from scope_opt.report.results import records as results
from scope_opt.schedule.evaluate import evaluate
from scope_opt.schedule.schedule import Schedule
from scope_opt.solving.solver import SolveOptions, solve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from scope_opt.solving.solver import SegmentChoice
    from scope_opt.studies.records import Record

NAMES = ("alexnet-64", "resnet18-256")
"""One is proved; links may leave a gap in the other."""
LABELS = (*placed.SCHEMES, "exact")


def solved(name: str, label: str) -> Record:
    instance = results.placed_instance(name)
    segments: SegmentChoice | None = None if label in ("exact", "pipeline") else "balanced"
    found = solve(instance, label, SolveOptions(segments=segments))
    if (name, label) == (NAMES[1], "exact"):  # whether or not it is proved one day
        assert found.objective_ps is not None
        bound = found.objective_ps * 9 // 10
        content = json.loads(found.to_json())
        gap = (found.objective_ps - bound) / found.objective_ps
        found = type(found).from_json(
            json.dumps(content | {"status": "feasible", "bound_ps": bound, "gap": gap}), "test"
        )
    return record(found, label, **({} if segments is None else {"segments": segments}))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of results with a small study of placed instances, and the real `optima`."""
    folder = tmp_path_factory.mktemp("results")
    (folder / "optima").symlink_to(ROOT / "results" / "optima")
    write_study(folder, "placed", [solved(name, label) for name in NAMES for label in LABELS])
    return folder


@pytest.fixture(autouse=True)
def small(made: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pages are made of that folder."""
    with pages_of(made, monkeypatch, [best_known.known_placed, as_placed.schedules_as_placed]):
        yield


def rows(page: str, heading: str) -> dict[str, list[str]]:
    """Cells of the table below a heading, by instance."""
    lines = (page.split(f"## {heading}")[1] if heading else page).split("## ")[0].splitlines()
    table = [line for line in lines if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("| ").split("|")] for line in table]
    return {first: rest for first, *rest in cells[2:]}


def test_the_page_says_what_the_records_say() -> None:
    page = render(placed.page())
    found = results.records_of("placed")
    proofs = rows(page, "What is proved")
    assert list(proofs) == list(NAMES)
    for name, cells in proofs.items():
        exact = found.result(f"{name}-placed", "exact")
        assert exact is not None
        assert exact.schedule is not None
        assert exact.objective_ps is not None
        assert exact.bound_ps is not None
        latency, bound, gap, busiest, _, segments, clusters, by = cells
        assert latency == f"{exact.objective_ps / 1e9:.3f}"
        assert bound == f"{exact.bound_ps / 1e9:.3f}"
        assert gap == f"{100 * (1 - exact.bound_ps / exact.objective_ps):.1f}"
        assert 0 < float(busiest) <= 1
        assert "recursion" in by
        assert int(segments) == len(exact.schedule.segments)
        assert int(clusters) == len(list(exact.schedule.clusters))
    assert [cells[2] for cells in proofs.values()] == ["0.0", "10.0"]
    assert "shared links included: 1 of 2 instances" in page
    assert "Open between the best schedule and the bound: resnet18-256 10.0 %" in page


def test_schemes_and_the_regressed_optimum() -> None:
    found = results.records_of("placed")
    optimum = results.records_of("optima").result("resnet18-256", "exact")
    exact = found.objective("resnet18-256-placed", "exact")
    assert optimum is not None
    assert optimum.schedule is not None
    assert exact is not None
    there = evaluate(results.placed_instance("resnet18-256"), optimum.schedule).objective_ps
    assert there is not None
    page = render(placed.page())
    *schemes, gain, regressed, place = rows(page, "Schemes, and the regressed optimum")[NAMES[1]]
    known = [found.objective("resnet18-256-placed", label) for label in placed.SCHEMES]
    values = [value for value in known if value is not None]
    assert len(values) == 4
    assert schemes == [f"{value / exact:.2f}" for value in values]
    assert gain == f"{min(values[:3]) / values[3]:.2f}"
    assert regressed == f"{there / exact:.2f}"
    assert int(place) == 1 + sum(value < there for value in (exact, *values))


def test_the_ranking_of_schemes_is_shown_where_the_models_disagree() -> None:
    page = render(placed.page())
    ranked = rows(page, "Ranking of the schemes in both models")
    for name in NAMES:
        orders = []
        for study, instance in (("optima", name), ("placed", f"{name}-placed")):
            found = results.records_of(study)
            times = {label: found.objective(instance, label) for label in placed.SCHEMES}
            known = {label: value for label, value in times.items() if value is not None}
            orders.append(", ".join(sorted(known, key=known.__getitem__)))
        assert ranked.get(name) == (None if orders[0] == orders[1] else orders)
    assert f"in {len(ranked)} instances" in page


def test_what_turns_a_ranking() -> None:
    turn = rankings.Turn("a", "b", (1.2, 1.1, 0.9, 0.8))
    assert turn.by == "links"
    assert turn._replace(over=(1.2, 0.9, 1.0, 0.8)).by == "search"  # what turns it for good
    assert turn._replace(over=(1.2, 0.9, 0.9, 0.8)).by == "places"
    page = render(placed.page())
    then = results.records_of("optima")
    seen = 0
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split("|")]
        if len(cells) != 8 or cells[0] not in NAMES or cells[-1] not in rankings.STEPS:
            continue
        seen += 1
        name, behind, ahead, regressed, *_, search, _ = cells
        old = [then.objective(name, label) or 0 for label in (ahead, behind)]
        now = [
            results.records_of("placed").objective(f"{name}-placed", label) or 0
            for label in (ahead, behind)
        ]
        assert regressed == f"{old[0] / old[1]:.2f}"
        assert search == f"{now[0] / now[1]:.2f}"
        assert old[0] >= old[1]
        assert now[0] < now[1]
    assert f"What turns the {seen} pairs" in page
    assert seen > 0


def test_the_registry_holds_placed_instances(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(best_known, "PLACED_STUDIES", ("placed",))
    known = best_known.known_placed()
    assert list(known) == [f"{name}-placed" for name in NAMES]
    best_known.write(known, tmp_path / "best_known.json", tmp_path / "best_known")
    proved, open_ = json.loads((tmp_path / "best_known.json").read_text())["entries"]
    assert (proved["class"], proved["proved_by"]) == ("proved by one method", ["exact"])
    assert proved["bound_ps"] == proved["objective_ps"]
    assert (open_["class"], open_["proved_by"]) == ("best known", [])
    assert open_["bound_ps"] < open_["objective_ps"]
    for entry in (proved, open_):
        name = entry["instance"]["name"]
        assert "recursion" in entry["bound_by"]
        assert entry["command"] == f"scope-opt solve instances/placed/{name}.json --solver exact"
        schedule = Schedule.load(tmp_path / entry["schedule"])
        instance = Instance.load(ROOT / "instances" / "placed" / f"{name}.json")
        assert entry["instance"]["digest"] == schedule.instance.digest == instance.digest
        assert evaluate(instance, schedule).objective_ps == entry["objective_ps"]


def test_the_page_of_orders(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "SOLVED", made / "orders" / "results.jsonl")
    monkeypatch.setattr(orders, "HILBERT", made / "orders" / "hilbert.jsonl")
    monkeypatch.setattr(orders, "known_placed", dict)
    monkeypatch.setattr("sys.argv", ["run.py", "60", "resnet18-16", "alexnet-64"])
    script = runpy.run_path(str(ROOT / "results" / "orders" / "run.py"))
    for name in ("SOLVED", "HILBERT"):
        monkeypatch.setitem(script["main"].__globals__, name, getattr(orders, name))
    (made / "orders").mkdir()
    script["main"]()
    page = render(orders.page())
    solved = orders.load_solved()
    cells = rows(page, "")
    assert list(solved) == ["resnet18-16", "alexnet-64"]
    assert list(cells) == ["alexnet-64", "resnet18-16"]
    for name, (order, open_, zigzag, latency, more, bound, gap, _, curve, by) in cells.items():
        result = solved[name]
        assert result.schedule is not None
        assert result.objective_ps is not None
        assert result.schedule.order == order
        assert (open_, gap, by) == ("-", "0.0", "recursion")
        assert latency == bound == f"{result.objective_ps / 1e9:.3f}"
        alone = solve(results.placed_instance(name)).objective_ps
        assert alone is not None
        assert zigzag == f"{alone / 1e9:.3f}"
        assert more == f"{100 * (alone / result.objective_ps - 1):.1f}"
        along = solve(
            results.placed_instance(name), options=SolveOptions(order=("hilbert",))
        ).objective_ps
        assert along is not None
        assert curve == f"{100 * (along / result.objective_ps - 1):.1f}"
    assert "links included: 2 of 2" in page
    assert "Along a Hilbert-like curve, proved in 2 instances" in page


def test_a_study_that_has_not_run_has_no_page(made: Path) -> None:
    new = made / "new"
    new.mkdir()
    assert results.has_run("new")
    for file in ("study.toml", "run.py"):
        (new / file).write_text("")
        assert not results.has_run("new")
    assert results.has_run("placed")


def test_shapes_of_regions_by_hand() -> None:
    # Two by two squares, wherever the curve runs straight through; else 3 + 1 or a row.
    square = shapes.shape(64, "blocks-2", 4)
    assert 1 <= square.perimeter < shapes.shape(64, "zigzag", 4).perimeter
    # One row of the mesh: 8 in a line have a perimeter of 18, and 4 x 4 pairs cross the middle;
    # others bend into the next row. The whole mesh is a square.
    whole = shapes.shape(16, "zigzag", 8)
    starts = [position % 4 for position in range(9)]
    # From the first of a row: 2 x 4. Else three rows, with 4 + 4 sides down and 2 + 2 + 2 across.
    assert whole.perimeter == pytest.approx(
        sum(12 if start == 0 else 14 for start in starts) / 9 / (4 * 8**0.5)
    )
    assert len(shapes.shape_rows()) == len(shapes.MESHES) * len(shapes.ORDERS)
