from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from documents import INSTANCES
from helpers import invoke
from report_cases import CLOSING, MARKUP, hostile, placed, record, save_records, small_study

import scope_opt.report
from scope_opt.model.files import InputError
from scope_opt.model.generate import paper_instance
from scope_opt.model.instance import Instance
from scope_opt.report import mesh_figures, schedule_figures, segment_figures
from scope_opt.report.cases import Case, make_case, phases_ps
from scope_opt.report.figure import Figure, log_axis
from scope_opt.report.page import Page, file_names
from scope_opt.report.site import MARKER, write_report
from scope_opt.report.study_data import Study, arrange
from scope_opt.report.study_figures import study_figures
from scope_opt.report.study_page import study_pages
from scope_opt.schedule.schedule import InstanceReference, Schedule, make_segment
from scope_opt.solving.metrics import shifted_geometric_mean
from scope_opt.solving.result import Result, relative_gap
from scope_opt.solving.solver import solve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scope_opt.studies.records import Record

TEMPLATES = Path(scope_opt.report.__file__).parent / "templates"


@pytest.fixture(scope="module")
def result() -> Result:
    return solve(paper_instance("resnet18", 64), "segmented")


@pytest.fixture(scope="module")
def case(result: Result) -> Case:
    assert result.schedule is not None
    return make_case("segmented", "title", paper_instance("resnet18", 64), result.schedule, result)


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return small_study()


@pytest.fixture(scope="module")
def study(records: list[Record]) -> Study:
    return arrange("small", records, lambda record: None)


def rows(figure: Figure | None, trace: int = 0) -> list[dict[str, Any]]:
    """Rows of a trace by the names of their columns."""
    assert figure is not None
    names = [field.name for field in figure.fields]
    found = figure.traces[trace].rows
    assert found is not None
    return [dict(zip(names, row, strict=True)) for row in found]


# --- Figures of a schedule -----------------------------------------------------------------------


def test_timeline_is_the_latency(case: Case) -> None:
    figure = schedule_figures.timeline([case])
    spans = sorted(
        (row["start"], row["duration"])
        for i in range(len(figure.traces))
        for row in rows(figure, i)
    )
    assert spans[0][0] == 0
    for (start, length), (following, _) in pairwise(spans):
        assert start + length == pytest.approx(following, abs=1e-12)
    assert sum(length for _, length in spans) == pytest.approx(case.evaluation.latency_s)


@pytest.mark.parametrize(("samples", "clusters"), [(1, 1), (1, 5), (5, 1), (3, 5), (5, 3), (4, 4)])
def test_phases_add_up(case: Case, samples: int, clusters: int) -> None:
    segment = case.evaluation.segments[0]
    parts = segment.clusters[:1] * clusters
    segment = type(segment)(**{**segment.__dict__, "clusters": parts})
    fill, steady, drain = phases_ps(samples, segment)
    assert fill + steady + drain == (samples + clusters - 1) * segment.beat_ps
    assert fill == drain
    busy = [  # clusters at work in each beat
        sum(0 <= beat - cluster < samples for cluster in range(clusters))
        for beat in range(samples + clusters - 1)
    ]
    assert steady == busy.count(max(busy)) * segment.beat_ps


def test_layer_bars_are_layer_times(case: Case) -> None:
    figure = schedule_figures.layers(case)
    reports = [
        layer
        for segment in case.evaluation.segments
        for cluster in segment.clusters
        for layer in cluster.layers
    ]
    assert [row["name"] for row in rows(figure)] == list(case.instance.layer_names)
    for row, report in zip(rows(figure), reports, strict=True):
        drawn = row["preparation"] + row["computation"] + row["communication not hidden"]
        assert drawn == pytest.approx(report.time_ps / 1e12)
        assert row["time"] == report.time_ps / 1e12
        assert row["bound by"] == report.bound_by


def test_energy_and_use(case: Case) -> None:
    energy = schedule_figures.energy([case])
    assert energy is not None
    assert case.evaluation.energy is not None
    total = sum(rows(energy, part)[0]["energy"] for part in range(4))
    assert total == pytest.approx(case.evaluation.energy.total_j)
    for index, segment in enumerate(case.evaluation.segments):
        used = [row for row in rows(schedule_figures.utilization(case)) if row["segment"] == index]
        macs = sum(row["MAC use"] * row["chiplets"] for row in used) / case.instance.chiplets
        beats = case.instance.samples + len(segment.clusters) - 1
        assert macs * case.instance.samples / beats == pytest.approx(segment.utilization)


def test_mesh_has_every_chiplet_once() -> None:
    instance, schedule = hostile()
    case = make_case("label", "title", instance, schedule)
    assert instance.package is not None
    figure = mesh_figures.regions(instance.package, case.evaluation.segments[0], 0)
    used, idle = rows(figure, 0), rows(figure, 1)
    assert [row["cluster"] for row in used] == [0] * 7 + [1] * 8
    assert [row["cluster"] for row in idle] == [None]
    cells = [(row["row"], row["column"]) for row in [*used, *idle]]
    assert cells == [  # snake order
        *((0, column) for column in range(4)),
        *((1, column) for column in reversed(range(4))),
        *((2, column) for column in range(4)),
        *((3, column) for column in reversed(range(4))),
    ]
    path = figure.layout["shapes"][0]["path"]
    assert "M3.5,1L3.5,2" not in path  # at the edge of the mesh
    assert path.count("M-0.5,2L0.5,2") == 0  # position 7 is cluster 1, below it 8 as well
    assert "M0.5,1L0.5,2" in path  # between positions 6 and 7


def test_links_are_those_of_the_evaluation() -> None:
    case = make_case("label", "title", *placed())
    package, segment = case.instance.package, case.evaluation.segments[0]
    assert package is not None
    assert segment.busiest_link is not None
    figure = mesh_figures.links(package, segment, case.links[0], 0)
    (busiest,), *directions = (rows(figure, index) for index in range(len(figure.traces)))
    drawn = [row for found in directions for row in found]
    ends = [(row["row"], row["column"], row["to row"], row["to column"]) for row in drawn]
    assert len(set(ends)) == len(ends) == 48  # both ways between 24 pairs of neighbours
    assert busiest == max(drawn, key=lambda row: row["carried per sample"])
    assert busiest["loaded per sample"] == segment.busiest_link.time_ps / 1e12
    for row in drawn:
        share = row["loaded per sample"] * 1e12 / segment.beat_ps
        assert row["share of the beat"] == pytest.approx(share)
        assert (row["by"] is None) == (row["carried per sample"] == 0)
    assert segment.busiest_link in case.links[0]
    assert case.links[1] == ()  # alone on the whole package
    assert str(segment.busiest_link) in figure.summary
    assert f"layer {segment.busiest_link.shares[0].layer}" in figure.summary
    # Every link leads from its bar's end to the middle of the neighbour.
    for trace, found in zip(figure.traces[1:], directions, strict=True):
        along = trace.style.get("x", 0), trace.style.get("y", 0)
        steps = {(row["to column"] - row["column"], row["to row"] - row["row"]) for row in found}
        assert steps == {along}


def test_links_have_no_loads_in_the_regressed_model(case: Case) -> None:
    assert case.links == ((),) * len(case.evaluation.segments)


def test_memory_is_that_of_the_evaluation() -> None:
    case = make_case("label", "title", *placed())
    figure = segment_figures.memory(case, 0)
    held = [cluster.activation_bytes for cluster in case.evaluation.segments[0].clusters]
    assert [row["held by each chiplet"] for row in rows(figure)] == held
    assert [row["share of buffer"] for row in rows(figure)] == [
        bytes_ / 2**20 for bytes_ in held if bytes_ is not None
    ]
    assert figure.layout["shapes"][0]["y0"] == 2**20


def test_placed_schedules_have_figures_of_their_own(tmp_path: Path) -> None:
    instance, schedule = placed()
    instance.save(tmp_path / "instance.json")
    schedule.save(tmp_path / "schedule.json")
    files = (tmp_path / "schedule.json", "--instance", tmp_path / "instance.json")
    outcome = invoke("report", *files, "-o", tmp_path / "report")
    assert outcome.exit_code == 0
    page = (tmp_path / "report" / "index.html").read_text()
    keys = re.findall(r'data-figure="([^"]*)"', page)
    first = [key for key in keys if key.endswith("-0")]
    assert first == ["pipeline-0", "mesh-0", "links-0", "load-0", "times-0", "memory-0"]
    assert [key for key in keys if key.endswith("-1")] == ["times-1", "memory-1"]
    assert "order blocks-2: stripes of 2 columns" in page
    assert "ZigZag" not in page


@pytest.mark.parametrize(("samples", "windows"), [(64, 1), (1001, 1), (5000, 2)])
def test_pipeline_draws_first_and_last_samples(samples: int, windows: int) -> None:
    instance = paper_instance("alexnet", 16, samples, "stream")
    layers = len(instance.layer_names)
    parts = [(2, 8, [0, 0]), (layers - 2, 8, [0] * (layers - 2))]
    schedule = Schedule(instance=InstanceReference.to(instance), segments=(make_segment(0, parts),))
    case = make_case("label", "title", instance, schedule)
    segment = case.evaluation.segments[0]
    figure = segment_figures.pipeline(case, 0)
    bars = [
        row
        for index, trace in enumerate(figure.traces)
        if trace.name == "samples"
        for row in rows(figure, index)
    ]
    assert len(bars) <= segment_figures.MAX_BARS
    numbers = list(dict.fromkeys(row["sample"] for row in bars))
    assert numbers[0] == 0
    assert numbers[-1] == samples - 1
    assert (f"Of {samples} samples" in figure.summary) == (len(numbers) < samples)
    assert ("xaxis2" in figure.layout) == (windows == 2)
    last = bars[-1]
    assert last["start"] + last["duration"] <= segment.latency_ps / 1e12 + 1e-12
    assert last["start"] == pytest.approx((segment.latency_ps - segment.beat_ps) / 1e12)
    right = figure.layout["xaxis2" if windows == 2 else "xaxis"]["range"][1]
    assert right == pytest.approx(segment.latency_ps / 1e12)


def test_loads_add_up_to_the_network(case: Case) -> None:
    assert case.instance.network is not None
    total = 0.0
    assert any(len(segment.clusters) > 1 for segment in case.evaluation.segments)
    for index, segment in enumerate(case.evaluation.segments):
        if len(segment.clusters) == 1:
            total += case.load(segment.first_layer, segment.last_layer)
            continue
        figure = segment_figures.loads(case, index)
        loads = sum(row["load"] for row in rows(figure, 0))
        assert sum(row["load"] for row in rows(figure, 1)) == pytest.approx(loads)
        total += loads
        times = rows(segment_figures.times(case, index))
        for row, cluster in zip(times, segment.clusters, strict=True):
            assert row["time"] == cluster.time_ps / 1e12
    assert total == case.instance.network.macs


def test_ticks_of_logarithmic_axes() -> None:
    axis = log_axis("time", "s", [0.004, 70.0])
    assert axis["ticktext"][0] == "10ms"
    assert axis["ticktext"][-1] == "10s"
    assert log_axis("factor", "factor", [1.0, 1.6])["ticktext"] == ["1", "1.1", "1.2", "1.3", "1.5"]
    assert "tickvals" not in log_axis("factor", "factor", [1.0, 1.0])
    assert log_axis("time", "s", [2.0, 3e21])["ticktext"][-1] == "1e+06Ps"
    assert log_axis("time", "s", [2e-19, 3.0])["ticktext"][0] == "0.001fs"
    assert log_axis("time", "s", [1e-307, 1.7e308])["ticktext"]


# --- Figures and tables of a study ---------------------------------------------------------------


def test_study_in_numbers(study: Study, records: Sequence[Record]) -> None:
    assert study.labels == ("anneal", "exact", "paper's search", "refused")
    assert [problem.title for problem in study.problems] == [
        "alexnet-16",
        "darknet19-16",
        "vgg16-16",
    ]
    assert [len(problem.records) for problem in study.problems] == [5, 4, 4]
    assert [problem.title for problem in study.common] == ["alexnet-16"]
    for problem in study.problems:
        (exact,) = problem.runs("exact")
        assert exact.result is not None
        assert problem.reference.kind == "opt1"
        assert problem.reference.objective == exact.result.objective_ps


def test_aggregates_and_gaps(study: Study) -> None:
    overview, *_ = study_pages(study, [])
    _, aggregates = overview.content["tables"]
    by_label = {row[0]: row for row in aggregates.rows}
    names = [column.name for column in aggregates.columns]
    exact = dict(zip(names, by_label["exact"], strict=True))
    assert exact["proved optimal"] == exact["best known"] == "3"
    assert exact["worst"] == "0.0%"
    refused = dict(zip(names, by_label["refused"], strict=True))
    assert refused["with schedule"] == "0"
    assert refused["time"] == "60.00 s"  # as long as it would have been allowed
    gaps = overview.content["gaps"]
    (refusal,) = [row[-1] for row in gaps.rows if row[-1] != "-"]
    assert refusal == "refused"
    (row,) = [row for row in gaps.rows if row[0].text == "darknet19-16"]
    problem = next(problem for problem in study.problems if problem.title == "darknet19-16")
    (found,) = problem.runs("paper's search")
    assert found.result is not None
    assert found.result.objective_ps is not None
    assert problem.reference.objective is not None
    gap = found.result.objective_ps / problem.reference.objective - 1
    assert row[5] == f"{100 * gap:.1f}%"


def test_time_of_an_unfinished_run_is_its_limit(records: Sequence[Record]) -> None:
    assert shifted_geometric_mean([None], 1.0, [60.0]) == pytest.approx(60.0)
    study = arrange("small", [r for r in records if r.label != "refused"], lambda record: None)
    assert len(study.common) == 3
    profiles = {figure.key: figure for figure in study_figures(study)}
    gaps = rows(profiles["gap-profile"], study.labels.index("exact"))
    assert (gaps[0]["gap"], gaps[0]["instances"]) == (0, 1.0)
    for figure in profiles.values():
        if not figure.key.startswith("growth"):
            for index in range(len(figure.traces)):
                shares = [row["instances"] for row in rows(figure, index)]
                assert shares == sorted(shares)
                assert all(0 <= share <= 1 for share in shares)


def test_labels_without_a_common_instance_are_not_compared(records: Sequence[Record]) -> None:
    apart = [
        record
        for record in records
        if (record.label == "exact") == (record.instance.name == "vgg16-16")
    ]
    overview, *_ = study_pages(arrange("apart", apart, lambda record: None), [])
    assert "every label" in overview.content["figure_note"]
    keys = [figure.key for figure in overview.content["figures"]]
    assert not [key for key in keys if not key.startswith("growth")]


def test_contradictions_are_shown(records: Sequence[Record]) -> None:
    (optimal,) = [r for r in records if (r.label, r.instance.name) == ("exact", "darknet19-16")]
    (worse,) = [
        r for r in records if (r.label, r.instance.name) == ("paper's search", "darknet19-16")
    ]
    assert optimal.result is not None
    assert optimal.result.objective_ps is not None
    assert worse.result is not None
    bound = optimal.result.objective_ps + 1
    content = {**worse.result.__dict__, "solver": "cp-sat", "options": {}, "bound_ps": bound}
    content["proof"] = None
    wrong = Result(**{**content, "gap": relative_gap(worse.result.objective_ps, bound)})
    both = [optimal, record(wrong, "liar")]
    pages = list(study_pages(arrange("both", both, lambda record: None), []))
    assert "formulations" in pages[0].content["notes"][0]
    gaps = pages[0].content["gaps"].rows[0]
    assert gaps[2] == "contradicted"
    assert gaps[3:] == ["-", "-"]


# --- Pages and files -----------------------------------------------------------------------------


def test_names_are_never_markup(tmp_path: Path) -> None:
    instance, schedule = hostile()
    instance.save(tmp_path / "instance.json")
    schedule.save(tmp_path / "schedule.json")
    folder = tmp_path / "report"
    outcome = invoke(
        "report", tmp_path / "schedule.json", "--instance", tmp_path / "instance.json", "-o", folder
    )
    assert outcome.exit_code == 0
    page = (folder / "index.html").read_text()
    assert MARKUP not in page
    assert page.count("</script>") == page.count("<script")
    assert MARKUP.replace("<", "\\u003c").replace('"', '\\"') in page  # in a figure's data
    assert CLOSING.replace("</", "\\u003c/").replace("<b", "\\u003cb") in page


def test_pages_name_no_other_place(tmp_path: Path, result: Result) -> None:
    result.save(tmp_path / "result.json")
    assert invoke("report", tmp_path / "result.json", "-o", tmp_path / "report").exit_code == 0
    page = (tmp_path / "report" / "index.html").read_text()
    assert re.findall(r'(?:src|href)="([^"]*)"', page) == ["data:,", "#main", "plotly.min.js"]
    assert "//" not in re.sub(r"(?m)^\s*//.*$", "", page.replace("://", ":"))
    assert not re.search(r"https?:", page)


def test_infeasible_and_malformed_schedules_are_explained(tmp_path: Path) -> None:
    instance = paper_instance("alexnet", 16)
    layers = len(instance.layer_names)
    too_full = make_segment(0, [(layers, 1, [0] * layers)])
    short = make_segment(0, [(layers - 1, 16, [0] * (layers - 1))])
    for name, segment, words in (
        ("full", too_full, "capacity"),
        ("short", short, "layer-coverage"),
    ):
        schedule = Schedule(instance=InstanceReference.to(instance), segments=(segment,))
        schedule.save(tmp_path / f"{name}.json")
        outcome = invoke("report", tmp_path / f"{name}.json", "-o", tmp_path / name)
        assert outcome.exit_code == 0
        page = (tmp_path / name / "index.html").read_text()
        assert "Not feasible" in page
        assert words in page
    both = invoke(
        "report", tmp_path / "full.json", tmp_path / "short.json", "-o", tmp_path / "both"
    )
    assert both.exit_code == 0
    assert {path.name for path in (tmp_path / "both").glob("*.html")} == {
        *("index.html", "full.html", "short.html"),
    }


def test_tables_have_neither_energy_nor_mesh(tmp_path: Path) -> None:
    path = INSTANCES / "tiny" / "tiny-tables.json"
    instance = Instance.load(path)
    segment = make_segment(0, [(1, 1, [0]), (3, 3, [1, 0, 0])])
    Schedule(instance=InstanceReference.to(instance), segments=(segment,)).save(
        tmp_path / "schedule.json"
    )
    outcome = invoke(
        "report", tmp_path / "schedule.json", "--instance", path, "-o", tmp_path / "report"
    )
    assert outcome.exit_code == 0
    page = (tmp_path / "report" / "index.html").read_text()
    keys = re.findall(r'data-figure="([^"]*)"', page)
    assert keys == ["timeline", "layers", "pipeline-0", "load-0", "times-0"]


def test_only_reports_are_overwritten(tmp_path: Path, result: Result) -> None:
    result.save(tmp_path / "result.json")
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    refused = invoke("report", tmp_path / "result.json", "-o", folder)
    assert refused.exit_code == 2
    assert "--force" in refused.output
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]
    assert invoke("report", tmp_path / "result.json", "-o", folder, "--force").exit_code == 0
    two = (tmp_path / "result.json", tmp_path / "other.json")
    result.save(two[1])
    assert invoke("report", *two, "-o", folder).exit_code == 0  # it is a report by now
    names = {path.name for path in folder.glob("*.html")}
    assert names == {"index.html", "segmented-result.html", "segmented-other.html"}
    assert invoke("report", *two, "-o", folder).exit_code == 0  # the same pages again
    refused = invoke("report", two[0], "-o", folder)
    assert refused.exit_code == 2
    assert "segmented-result.html, segmented-other.html; name another folder" in refused.stderr
    assert "--force" in refused.stderr
    assert {path.name for path in folder.glob("*.html")} == names
    outcome = invoke("report", two[0], "-o", folder, "--force")
    assert outcome.exit_code == 0
    assert "are gone: segmented-result.html, segmented-other.html\n" in outcome.stderr
    assert {path.name for path in folder.iterdir()} == {
        *("index.html", "plotly.min.js", "mine.txt", MARKER),
    }


def test_another_schedule_does_not_replace_the_only_page(tmp_path: Path, result: Result) -> None:
    result.save(tmp_path / "one.json")
    result.model_copy(update={"solver": "exact"}).save(tmp_path / "other.json")
    folder = tmp_path / "report"
    assert invoke("report", tmp_path / "one.json", "-o", folder).exit_code == 0
    before = (folder / "index.html").read_bytes()
    refused = invoke("report", tmp_path / "other.json", "-o", folder)
    assert refused.exit_code == 2
    assert f"lacks: index.html ({result.instance.name}, segmented); name" in refused.stderr
    assert (folder / "index.html").read_bytes() == before
    both = (tmp_path / "one.json", tmp_path / "other.json")
    assert invoke("report", *both, "-o", folder).exit_code == 0  # the first one is among them
    assert "segmented.html" in (folder / "index.html").read_text()


def test_a_marker_removes_nothing_outside_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "report"
    folder.mkdir()
    (tmp_path / "mine.txt").write_text("mine")
    content = {"format": "scope-report/1", "files": ["../mine.txt", "old.html"]}
    (folder / MARKER).write_text(json.dumps(content))
    (folder / "old.html").write_text("old")
    page = Page("index.html", "comparison.html.j2", "title", content={"table": None, "figures": []})
    with pytest.raises(Exception, match="None"):
        write_report(folder, [page], force=True)  # rendered before anything is written
    assert (folder / "old.html").exists()
    instance, schedule = hostile()
    instance.save(tmp_path / "instance.json")
    schedule.save(tmp_path / "schedule.json")
    arguments = (tmp_path / "schedule.json", "--instance", tmp_path / "instance.json")
    assert invoke("report", *arguments, "-o", folder).exit_code == 2  # old.html would go
    assert (folder / "old.html").exists()
    assert invoke("report", *arguments, "-o", folder, "--force").exit_code == 0
    assert (tmp_path / "mine.txt").exists()
    assert not (folder / "old.html").exists()


def test_errors_say_what_is_wrong(tmp_path: Path, result: Result) -> None:
    _, schedule = hostile()
    schedule.save(tmp_path / "schedule.json")
    result.save(tmp_path / "result.json")
    failed = solve(paper_instance("alexnet", 16), "pipeline")
    failed.save(tmp_path / "failed.json")
    paper_instance("alexnet", 16).save(tmp_path / "alexnet.json")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    save_records(tmp_path / "nothing", [])
    out = tmp_path / "report"
    other = ("--instance", tmp_path / "alexnet.json")
    for arguments, words in (
        ((tmp_path / "result.json",), "--output"),
        ((tmp_path / "schedule.json", "-o", out), "name its file with --instance"),
        ((tmp_path / "schedule.json", *other, "-o", out), "given: alexnet-16"),
        ((tmp_path / "failed.json", "-o", out), "holds none"),
        ((tmp_path / "missing.json", "-o", out), "no such file"),
        ((tmp_path / "alexnet.json", "-o", out), "scope-schedule/1, scope-result/1"),
        ((tmp_path / "empty", "-o", out), "no such file"),
        ((tmp_path / "nothing",), "holds no records"),
        ((tmp_path / "nothing", tmp_path / "result.json", "-o", out), "alone"),
        ((tmp_path / "result.json", "-o", tmp_path / "file" / "folder"), "is no folder"),
        ((tmp_path / "result.json", "-o", tmp_path / "file"), "is no folder"),
    ):
        outcome = invoke("report", *arguments)
        assert outcome.exit_code == 2, arguments
        assert words in outcome.output, outcome.output
        assert not out.exists()


def test_broken_manifest_is_an_input_error(tmp_path: Path, records: Sequence[Record]) -> None:
    save_records(tmp_path / "study", records[:1])
    for text in ("{", '{"runs": 3}'):
        (tmp_path / "study" / "manifest.json").write_text(text)
        outcome = invoke("report", tmp_path / "study")
        assert outcome.exit_code == 2
        assert "manifest.json" in outcome.output
        assert not (tmp_path / "study" / "report").exists()


def test_file_names_differ_and_are_plain() -> None:
    names = file_names(["a b", "a/b", "A b", "index", "../..", "ä", "x" * 200])
    assert len({name.lower() for name in names}) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.=_-]*\.html", name) for name in names)


def test_write_report_makes_folders_and_refuses_what_it_cannot(tmp_path: Path) -> None:
    write_report(tmp_path / "a" / "b", [])
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is no folder"):
        write_report(tmp_path / "file" / "b", [])


# --- Colours -------------------------------------------------------------------------------------


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_contrast(dark: bool) -> None:
    css = (TEMPLATES / "report.css").read_text()
    light, night = re.findall(r":root \{([^}]*)\}", css)
    colours = dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6})", light))
    if dark:
        colours |= dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6})", night))
    for text in ("ink", "muted", "link", "good", "bad"):
        for ground in ("page", "surface", "raised"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for index in range(8):
        colour = colours[f"c{index}"]
        assert contrast(colour, colours["surface"]) >= 3, index
        assert contrast(colour, colours["on-mark"]) >= 4.5, index
