"""Reports in a real browser, offline: what is drawn, what a reader can do, what it looks like."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from helpers import invoke
from report_cases import MARKUP, hostile, placed, save_records, small_study

from scope_opt.model.generate import paper_instance
from scope_opt.notebook.figures import FIGURES
from scope_opt.report.figure import duration
from scope_opt.schedule.evaluate import evaluate
from scope_opt.solving.metrics import objective
from scope_opt.solving.solver import solve
from scope_opt.studies.records import load_records

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from scope_opt.schedule.evaluation import Evaluation

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium installed to open pages with")

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
DRAW_ALL = """async () => {
  for (const box of document.querySelectorAll("details.segment")) box.open = true;
  const figures = [...document.querySelectorAll("figure")];
  for (const figure of figures) {
    figure.scrollIntoView();
    for (let i = 0; !figure.querySelector(".main-svg"); i++) {
      if (i > 500) throw Error("not drawn: " + figure.id);
      await new Promise((go) => setTimeout(go, 10));
    }
  }
  scrollTo(0, 0);
}"""
PLOTTED = """() => Object.fromEntries([...document.querySelectorAll("figure")].map((figure) => {
  const { data, layout } = figure.querySelector(".plot");
  return [figure.id, JSON.parse(JSON.stringify({ data, layout }))];
}))"""
STRUCTURE = """() => ({
  levels: [...document.querySelectorAll("h1,h2,h3,h4")].map((h) => +h.tagName[1]),
  ids: [...document.querySelectorAll("[id]")].filter((e) => !e.closest("svg"))
    .map((e) => e.id).filter((id, i, all) => all.indexOf(id) !== i),
  unnamed: [...document.querySelectorAll("button, [role], a")].filter(
    (e) => !e.ariaLabel && !e.textContent.trim() && !e.closest("svg")).length,
  headless: [...document.querySelectorAll("main table")].filter(
    (t) => !t.caption || !t.querySelector("th[scope=col]")
      || !t.querySelector("th[scope=row]")).length,
  lang: document.documentElement.lang,
})"""
TOO_WIDE = "() => document.documentElement.scrollWidth - innerWidth"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api")
    assert CHROMIUM is not None
    if subprocess.run([CHROMIUM, "--version"], capture_output=True, check=False).returncode:
        pytest.skip(f"{CHROMIUM} does not start")  # such as a stub that asks for another package
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reports of one schedule, of several, of one with hostile names, a placed one, a study."""
    path = tmp_path_factory.mktemp("reports")
    network = paper_instance("alexnet", 64)
    for solver in ("segmented", "sequential"):
        solve(network, solver).save(path / f"{solver}.json")
    instance, schedule = hostile()
    instance.save(path / "instance.json")
    schedule.save(path / "schedule.json")
    instance, schedule = placed()
    instance.save(path / "placed-instance.json")
    schedule.save(path / "placed.json")
    save_records(path / "study", small_study())
    hostile_files = (path / "schedule.json", "--instance", path / "instance.json")
    placed_files = (path / "placed.json", "--instance", path / "placed-instance.json")
    for arguments in (
        (path / "segmented.json", "-o", path / "one"),
        (path / "segmented.json", path / "sequential.json", "-o", path / "two"),
        (*hostile_files, "-o", path / "hostile"),
        (*placed_files, "-o", path / "placed"),
        (path / "study",),
    ):
        outcome = invoke("report", *arguments)
        assert outcome.exit_code == 0, outcome.output
    return path


class Opened:
    """A page with what it asked for and complained about."""

    def __init__(self, browser: Browser, path: Path, *, draw: bool = True, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.page: Page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(path.as_uri())
        if draw:
            self.page.evaluate(DRAW_ALL)

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()


@pytest.fixture(scope="module")
def schedule_page(browser: Browser, folder: Path) -> Iterator[Opened]:
    size = {"width": 1280, "height": 900}
    path = folder / "one" / "index.html"
    with Opened(browser, path, viewport=size, color_scheme="light") as opened:
        yield opened


@pytest.fixture(scope="module")
def evaluation(folder: Path) -> Evaluation:
    found = solve(paper_instance("alexnet", 64), "segmented").schedule
    assert found is not None
    return evaluate(paper_instance("alexnet", 64), found)


@pytest.mark.parametrize(
    "name",
    [
        *("one/index.html", "two/index.html", "hostile/index.html", "placed/index.html"),
        *("study/report/index.html", "study/report/alexnet-16.html"),
    ],
)
def test_pages_draw_everything_offline_quietly_and_fit(
    browser: Browser, folder: Path, name: str
) -> None:
    import plotly.graph_objects as go

    path = folder / name
    phone = {"width": 390, "height": 844}
    with Opened(browser, path, viewport=phone, color_scheme="dark") as opened:
        assert opened.complaints == []
        assert opened.requests[:2] == [path.as_uri(), (path.parent / "plotly.min.js").as_uri()]
        assert all(url.startswith("data:") for url in opened.requests[2:])
        assert opened.page.evaluate(TOO_WIDE) <= 0
        for figure in opened.page.evaluate(PLOTTED).values():
            go.Figure(figure)  # refuses properties and values that plotly does not know
            assert all(len(trace["customdata"]) > 0 for trace in figure["data"])
            assert figure["layout"]["paper_bgcolor"] == "#171b22"
        structure = opened.page.evaluate(STRUCTURE)
        levels = structure.pop("levels")
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(b <= a + 1 for a, b in pairwise(levels))
        assert structure == {"ids": [], "unnamed": 0, "headless": 0, "lang": "en"}


def test_figures_show_the_evaluation(schedule_page: Opened, evaluation: Evaluation) -> None:
    assert schedule_page.page.evaluate(TOO_WIDE) <= 0
    figures = schedule_page.page.evaluate(PLOTTED)
    layers = [
        layer
        for segment in evaluation.segments
        for cluster in segment.clusters
        for layer in cluster.layers
    ]
    preparation, computation, exposed = figures["layers"]["data"]
    assert preparation["y"] == [layer.preparation_ps / 1e12 for layer in layers]
    assert computation["y"] == [layer.computation_ps / 1e12 for layer in layers]
    heights = map(sum, zip(preparation["y"], computation["y"], exposed["y"], strict=True))
    assert list(heights) == pytest.approx([layer.time_ps / 1e12 for layer in layers])
    ends = [
        base + length
        for trace in figures["timeline"]["data"]
        for base, length in zip(trace["base"], trace["x"], strict=True)
    ]
    assert max(ends) == pytest.approx(evaluation.latency_s)
    assert evaluation.energy is not None
    energies = [trace["x"] for trace in figures["energy"]["data"]]
    assert [sum(values) for values in energies] == [
        evaluation.energy.mac_j,
        evaluation.energy.sram_j,
        evaluation.energy.nop_j,
        evaluation.energy.dram_j,
    ]
    piped = [index for index, s in enumerate(evaluation.segments) if len(s.clusters) > 1]
    assert piped
    for index in piped:
        segment = evaluation.segments[index]
        cells = figures[f"mesh-{index}"]["data"][0]
        assert cells["text"] == [
            str(number) for number, c in enumerate(segment.clusters) for _ in range(c.chiplets)
        ]
        parts = figures[f"times-{index}"]["data"]
        sums = [sum(values) for values in zip(*(part["y"] for part in parts), strict=True)]
        assert sums == pytest.approx([cluster.time_ps / 1e12 for cluster in segment.clusters])


def test_hover_has_numbers_with_units(schedule_page: Opened, evaluation: Evaluation) -> None:
    page = schedule_page.page
    page.locator("#layers").scroll_into_view_if_needed()
    # In a stack, the bars of the second trace follow those of the first in the document.
    bars = page.locator("#layers .trace.bars").nth(1).locator(".point path")
    longest = max(
        (layer for s in evaluation.segments for c in s.clusters for layer in c.layers),
        key=lambda layer: layer.computation_ps,
    )
    box = bars.nth(longest.index).bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    text = page.locator("#layers .hovertext").text_content()
    assert text is not None
    assert f"name: {longest.name}" in text
    assert f"computation: {duration(longest.computation_ps)}" in text
    page.mouse.move(0, 0)


def test_csv_is_the_data_of_the_figure(schedule_page: Opened, evaluation: Evaluation) -> None:
    with schedule_page.page.expect_download() as started:
        schedule_page.page.get_by_role(
            "button", name="Download What bounds each layer as CSV"
        ).click()
    assert started.value.suggested_filename == "index-layers.csv"
    text = started.value.path().read_text(encoding="utf-8-sig")
    found = list(csv.DictReader(io.StringIO(text)))
    layers = [layer for s in evaluation.segments for c in s.clusters for layer in c.layers]
    assert [(row["name"], float(row["time (s)"]), row["bound by"]) for row in found] == [
        (layer.name, layer.time_ps / 1e12, layer.bound_by) for layer in layers
    ]


@pytest.mark.parametrize(("name", "magic"), [("SVG", b"<svg "), ("PNG", b"\x89PNG\r\n\x1a\n")])
def test_pictures_can_be_saved(schedule_page: Opened, name: str, magic: bytes) -> None:
    with schedule_page.page.expect_download() as started:
        schedule_page.page.get_by_role("button", name=f"Download Energy as {name}").click()
    assert started.value.suggested_filename == f"index-energy.{name.lower()}"
    content = started.value.path().read_bytes()
    assert content.startswith(magic)
    if name == "SVG":
        assert b"network on package" in content
    assert schedule_page.complaints == []


def test_figures_follow_the_colour_scheme(schedule_page: Opened) -> None:
    page = schedule_page.page
    ground = "() => document.querySelector('#energy .plot').layout.paper_bgcolor"
    assert page.evaluate(ground) == "#ffffff"
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"({ground})() === '#171b22'")
    page.emulate_media(color_scheme="light")
    page.wait_for_function(f"({ground})() === '#ffffff'")


def test_zoom_can_be_reset(schedule_page: Opened) -> None:
    page = schedule_page.page
    plot = "document.querySelector('figure[id^=pipeline] .plot')"
    shown = f"() => [...{plot}._fullLayout.xaxis.range]"
    whole = page.evaluate(shown)
    page.evaluate(f"() => Plotly.relayout({plot}, {{'xaxis.range': [0, 1e-6]}})")
    assert page.evaluate(shown) == [0, 1e-6]
    page.get_by_role("button", name="Reset the view of Pipeline").first.click()
    page.wait_for_function(f"({shown})()[1] === {whole[1]}")


def test_everything_can_be_reached_by_keyboard(browser: Browser, folder: Path) -> None:
    with Opened(browser, folder / "two" / "index.html", draw=False) as opened:
        page = opened.page
        page.keyboard.press("Tab")
        assert page.evaluate("() => document.activeElement.textContent") == "Skip to the content"
        labels = []
        for _ in range(100):
            page.keyboard.press("Tab")
            labels.append(
                page.evaluate(
                    "() => document.activeElement.ariaLabel || document.activeElement.textContent"
                )
            )
            if labels[-1] == "Data of this figure":
                break
        assert labels[1:3] == ["segmented", "sequential"]
        assert "Download Time by segment as SVG" in labels
        page.keyboard.press("Enter")
        table = page.locator("#timeline table")
        assert table.locator("thead th[scope=col]").all_text_contents() == [
            *("phase", "schedule", "segment", "start", "duration"),
        ]
        assert table.locator("tbody tr").count() > 0
        assert opened.complaints == []


def test_names_are_shown_as_they_are(browser: Browser, folder: Path) -> None:
    with Opened(browser, folder / "hostile" / "index.html", draw=False) as opened:
        page = opened.page
        assert page.locator("h1").text_content() == f"net {MARKUP}, schedule"
        assert page.locator("main img").count() == 0
        page.locator("#layers summary").click()
        assert page.locator("#layers tbody tr").first.locator("td").nth(1).text_content() == MARKUP
        hover = page.evaluate(
            "() => document.querySelector('#layers .plot').data[0].customdata[0][1]"
        )
        assert hover == MARKUP.replace("<", "&lt;").replace(">", "&gt;")


def test_python_draws_what_the_page_draws(browser: Browser, folder: Path) -> None:
    """`plot` does in Python what the page's script does, in the page's light colours."""
    instance, schedule = placed()
    path = folder / "placed" / "index.html"
    with Opened(browser, path, color_scheme="light") as opened:
        pages = opened.page.evaluate(PLOTTED)
    names = {"pipeline": "pipeline-0", "mesh": "mesh-0", "links": "links-0", "loads": "load-0"}
    names |= {"times": "times-0", "memory": "memory-0"}
    names |= {name: name for name in ("timeline", "layers", "utilization", "energy")}
    assert set(names) == set(FIGURES)
    for name, key in names.items():
        text = schedule.plot(name, instance=instance).to_json(engine="json")
        drawn = json.loads(text.replace(instance.name, "placed"))  # the page's label is its file
        assert len(drawn["data"]) == len(pages[key]["data"])
        for mine, theirs in zip(drawn["data"], pages[key]["data"], strict=True):
            texts = mine.pop("customdata"), theirs.pop("customdata")
            assert comparable(mine) == comparable(theirs), name
            for row, other in zip(*texts, strict=True):
                assert len(row) == len(other)


def comparable(value: Any) -> Any:
    """A trace with what two writers of JSON and of colours may write differently made one."""
    if isinstance(value, dict):
        return {key: comparable(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [comparable(inner) for inner in value]
    if isinstance(value, str):
        return value.replace(", ", ",").lower()
    return pytest.approx(value) if isinstance(value, float) else value


def test_study_pages_show_the_records(browser: Browser, folder: Path) -> None:
    records = load_records(folder / "study")
    with Opened(browser, folder / "study" / "report" / "alexnet-16.html") as opened:
        course = opened.page.evaluate(PLOTTED)["course"]["data"]
        drawn = {trace["name"]: trace for trace in course if trace["line"]["dash"] == "solid"}
        for record in records:
            if record.instance.name != "alexnet-16" or record.result is None:
                continue
            name = record.label if record.seed is None else f"{record.label}, seed {record.seed}"
            value = objective(record.result)
            assert value is not None
            assert drawn[name]["y"][-1] == value / 1e12
        assert MARKUP in (opened.page.locator("main").text_content() or "")
        opened.page.get_by_role("link", name="The best schedule").click()
        assert "alexnet-16" in (opened.page.locator("h1").text_content() or "")
        assert opened.page.locator("figure").count() > 3
        opened.page.get_by_role("link", name="Study study").click()
        assert json.loads(opened.page.locator("#gap-profile script").text_content() or "")["traces"]
