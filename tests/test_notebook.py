"""What results, schedules and instances show of themselves, and the notebooks that show it."""

from __future__ import annotations

import json
import re
import runpy
import sys
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest
from documents import ROOT, shipped
from helpers import read

from scope_opt import InputError, evaluate, load, progress, solve
from scope_opt.notebook.figures import FIGURES, colours
from scope_opt.solving import api

if TYPE_CHECKING:
    from pathlib import Path

    from scope_opt import Monitor, Result

PLACED = "tiny-links"
NOTEBOOKS = ROOT / "docs" / "notebooks"
RUN = runpy.run_path(str(NOTEBOOKS / "run.py"))


@pytest.fixture(scope="module")
def placed() -> Result:
    return solve(PLACED, "scope", segments="single")


@pytest.fixture(scope="module")
def regressed() -> Result:
    return solve("tiny-skip", "scope")


def bars(figure: Any) -> list[Any]:
    return [trace for trace in figure.data if trace.type == "bar"]


def test_a_result_shows_status_value_bound_and_who_proved_it(placed: Result) -> None:
    page = placed._repr_html_()
    root = ElementTree.fromstring(page.replace("&ensp;", " "))  # well-formed
    rows = {row[0].text: row[1].text for row in root.iter("tr")}
    assert rows["status"] == "feasible"
    assert rows["proved by"] == "simple bound"
    assert {"latency", "lower bound", "segments"} <= rows.keys()
    squares = list(root.iter("{http://www.w3.org/2000/svg}rect"))
    assert placed.schedule is not None
    segments, clusters = len(placed.schedule.segments), len(list(placed.schedule.clusters))
    assert len(squares) == segments * load(PLACED).chiplets + 2 * clusters


def test_what_is_shown_is_equal_each_time(placed: Result) -> None:
    assert solve(PLACED, "scope", segments="single")._repr_html_() == placed._repr_html_()


def test_a_result_without_schedule_shows_why() -> None:
    class Hopeless:
        name = "hopeless"
        summary = "claims that there is nothing"
        exact = False
        constraints: frozenset[str] = frozenset()
        options: frozenset[str] = frozenset()

        def run(self, instance: Any, tables: Any, options: Any, monitor: Monitor) -> None:
            monitor.prove_infeasible(["weights are <too> large"])

    result = solve("tiny-skip", Hopeless())
    page = result._repr_html_()
    assert "weights are &lt;too&gt; large" in page
    assert "infeasible" in page
    assert "<svg" not in page
    for name in ("plot", "to_frame"):
        with pytest.raises(InputError, match="this result holds none"):
            getattr(result, name)()
    assert result.to_frame("result").status.tolist() == ["infeasible"]


def test_text_of_documents_is_no_markup() -> None:
    document = shipped("tiny-skip") | {"description": "<script>alert(1)</script>"}
    document["network"]["layers"][0]["name"] = "<b>&"
    instance = read(document)
    result = solve(instance, "scope")
    for page in (instance._repr_html_(), result._repr_html_()):
        assert "<script>" not in page
    text = result.plot("layers").to_json()
    assert "<b>&" not in text.replace("\\u003c", "<").replace("<b>&amp;", "")


def test_schedules_of_unknown_instances_say_what_is_missing() -> None:
    instance = read(shipped("tiny-skip") | {"samples": 7})
    schedule = solve(instance, "scope").schedule
    assert schedule is not None
    assert "<svg" in schedule._repr_html_()  # solved in this session
    api._solved.clear()
    assert "give it: instance=load(FILE)" in schedule._repr_html_()
    with pytest.raises(InputError, match="tiny-skip is not known here"):
        schedule.plot()
    assert schedule.plot(instance=instance).data
    with pytest.raises(InputError, match="this is about tiny-skip"):
        schedule.to_frame(instance=load("tiny-skip"))


def test_session_forgets_instances_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "_MOST_SOLVED", 2)
    for samples in (3, 4, 5):
        solve(read(shipped("tiny-skip") | {"samples": samples}), "scope")
    assert len(api._solved) == 2


@pytest.mark.parametrize("figure", FIGURES)
def test_every_figure_is_drawn(placed: Result, figure: str) -> None:
    made = placed.plot(figure)
    assert made.data
    assert "--" not in re.sub(r'"(text|hovertemplate|name)":"[^"]*"', "", made.to_json())
    assert made.layout.paper_bgcolor == colours()["--surface"]


def test_the_pipeline_is_that_of_the_evaluator(placed: Result) -> None:
    instance = load(PLACED)
    assert placed.schedule is not None
    report = evaluate(instance, placed.schedule).segments[0]
    made = placed.plot("pipeline")
    work = [trace for trace in bars(made) if trace.name == "samples"]
    assert sum(len(trace.y) for trace in work) == instance.samples * len(report.clusters)
    ends = max(b + x for trace in work for b, x in zip(trace.base, trace.x, strict=True))
    assert ends <= report.latency_ps / 1e12 * (1 + 1e-9)


def test_the_mesh_has_every_chiplet(placed: Result) -> None:
    made = placed.plot("mesh")
    assert sum(len(trace.y) for trace in bars(made)) == load(PLACED).chiplets


def test_frames_add_up(placed: Result) -> None:
    instance = load(PLACED)
    assert placed.schedule is not None
    found = evaluate(instance, placed.schedule)
    layers, clusters = placed.to_frame("layers"), placed.to_frame()
    assert layers.name.tolist() == list(instance.layer_names)
    assert clusters.chiplets.tolist() == [c.chiplets for c in placed.schedule.clusters]
    assert placed.to_frame("segments").latency_ps.sum() == found.objective_ps
    links = placed.to_frame("links")
    for index, segment in enumerate(found.segments):
        assert links[links.segment == index].time_ps.max() == segment.link_beat_ps
    row = placed.to_frame("result").iloc[0]
    assert (row.objective_ps, row.bound_ps) == (placed.objective_ps, placed.bound_ps)
    trajectory = placed.to_frame("trajectory")
    assert trajectory.objective_ps.dropna().iloc[-1] == placed.objective_ps


def test_instances_show_themselves() -> None:
    instance = load("tiny-skip")
    assert instance.network is not None
    frame = instance.to_frame()
    assert frame.macs.sum() == instance.network.macs
    (trace,) = instance.plot().data
    assert list(trace.y) == frame.macs.tolist()
    assert "lower bound" in instance._repr_html_()


def test_tables_show_themselves() -> None:
    instance = load("tiny-tables")
    result = solve(instance, "scope")
    for document in (instance, result):
        assert document._repr_html_()
        assert document.plot().data
        assert len(document.to_frame())
    with pytest.raises(InputError, match="'mesh' does not exist for this instance; allowed: pipe"):
        result.plot("mesh")


def test_wrong_names_are_told(regressed: Result) -> None:
    with pytest.raises(InputError, match=r"figure: found 'msh'; did you mean 'mesh'\?"):
        regressed.plot("msh")
    with pytest.raises(InputError, match="segment: found 5; allowed 0 to "):
        regressed.plot("mesh", segment=5)
    with pytest.raises(InputError, match=r"rows: found 'layer'; did you mean 'layers'\?"):
        regressed.to_frame("layer")
    with pytest.raises(InputError, match="rows: 'links' of tiny-skip carry nothing"):
        regressed.to_frame("links")


def test_without_pandas_it_is_said_how_to_get_it(
    regressed: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match=r"needs pandas.*pip install 'scope-opt\[notebook\]'"):
        regressed.to_frame()


def test_progress_is_plain_lines_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scope_opt.terminal.console.PLAIN_PROGRESS_S", 0.0)
    with progress("mine") as on_progress:
        result = solve("tiny-skip", "scope", on_progress=on_progress)
    assert result.schedule is not None
    lines = capsys.readouterr().err.splitlines()
    assert lines
    assert all(line.startswith("mine: ") for line in lines)


@pytest.mark.parametrize("notebook", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_show_what_they_kept(notebook: Path) -> None:
    """If not: ``python docs/notebooks/run.py``."""
    content = RUN["read"](notebook)
    kept = [cell["outputs"] for cell in RUN["code_cells"](content)]
    assert RUN["comparable"](kept) == RUN["comparable"](RUN["run"](notebook))


@pytest.mark.parametrize("notebook", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_are_clean(notebook: Path) -> None:
    content = json.loads(notebook.read_text("utf-8"))
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in content["cells"]]
    assert len(ids) == len(set(ids))
    cells = RUN["code_cells"](content)
    text = json.dumps([RUN["comparable"]([cell["outputs"]]) for cell in cells])
    assert str(ROOT) not in text
    assert "/tmp" not in text
    pictures = [o for cell in cells for o in cell["outputs"] if "image/png" in o.get("data", {})]
    assert pictures
