from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from report_cases import placed
from rich.console import Console

from scope_opt.model import units
from scope_opt.model.generate import paper_instance
from scope_opt.model.instance import Constraints, FixedPartition, Instance
from scope_opt.schedule.evaluate import evaluate
from scope_opt.schedule.schedule import InstanceReference, Schedule, make_segment
from scope_opt.solving.solver import solve
from scope_opt.terminal.picture import (
    evaluation_view,
    partition_text,
    schedule_view,
    violation_view,
)
from scope_opt.terminal.show import Run, comparison_view, instance_view, result_view, solver_view

if TYPE_CHECKING:
    from documents import Json
    from rich.console import RenderableType

    from scope_opt.schedule.evaluation import Evaluation
    from scope_opt.solving.result import Result

TABLES: Json = {
    "format": "scope-instance/1",
    "name": "tables",
    "tables": {
        "chiplets": 2,
        "weight_buffer_bytes": 100,
        "layers": [
            {"name": n, "weight_bytes": 10, "compute_ps": {"ISP": [4000, 2000], "WSP": [5000, 1]}}
            for n in ("a", "b")
        ],
    },
}


def console(width: int, encoding: str = "utf-8") -> Console:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    return Console(file=file, width=width, markup=False, highlight=False, emoji=False)


def text(picture: RenderableType, on: Console | None = None) -> str:
    on = on or console(160)
    with on.capture() as captured:
        on.print(picture)
    return captured.get()


def schedule_of(instance: Instance, *segments: Any) -> Schedule:
    """Segments from lists of (layer count, chiplets, partitions)."""
    built, first = [], 0
    for clusters in segments:
        built.append(make_segment(first, clusters))
        first = built[-1].last_layer + 1
    return Schedule(instance=InstanceReference.to(instance), segments=tuple(built))


@pytest.fixture(scope="module")
def stream() -> Instance:
    return paper_instance("alexnet", 16, overflow="stream")


@pytest.fixture(scope="module")
def resnet() -> tuple[Instance, Result, Evaluation]:
    instance = paper_instance("resnet50", 64)
    result = solve(instance)
    assert result.schedule is not None
    return instance, result, evaluate(instance, result.schedule)


# --- Units ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "-"),
        (0, "0"),
        (5187.4, "5187"),
        (12345, "12345"),
        (1, "1.000"),
        (9.99996, "10.00"),
        (0.99996, "1.000"),
        (0.0123456, "0.01235"),
        (-12.3456, "-12.35"),
        (1e9, "1000000000"),
    ],
)
def test_number(value: float | None, expected: str) -> None:
    assert units.number(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "-"),
        (0, "0 s"),
        (1, "1.000 ps"),
        (999, "999.0 ps"),
        (1234, "1.234 ns"),
        (999_960, "1.000 us"),
        (7_653_224_830, "7.653 ms"),
        (5 * 10**12, "5.000 s"),
        (10**16, "10000 s"),
    ],
)
def test_picoseconds(value: int | None, expected: str) -> None:
    assert units.picoseconds(value) == expected


def test_other_units() -> None:
    assert units.size(None) == "-"
    assert units.size(0) == "0 B"
    assert units.size(1023) == "1023 B"
    assert units.size(1 << 20) == "1.000 MiB"
    assert units.joules(0.1186) == "118.6 mJ"
    assert units.joules(0.0) == "0 J"
    assert units.count(4.089e9, "MAC") == "4.089 GMAC"
    assert units.count(12, "MAC") == "12.00 MAC"
    assert units.count(None, "MAC") == "-"
    assert units.percent(0.2805) == "28.1%"
    assert units.percent(1e-5) == "<0.1%"
    assert units.percent(0.0) == "0.0%"
    assert units.percent(None) == "-"
    assert units.plural(1, "layer") == "1 layer"
    assert units.plain("a\x1b[31m\nb") == "a?[31m?b"


@pytest.mark.parametrize("exponent", range(-14, 4))
def test_units_keep_four_digits(exponent: int) -> None:
    """Reading the text back gives the value to four digits."""
    factors = {"ps": 1e-12, "ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
    for digits in (1.0, 1.2345, 9.9995, 9.99951):
        value = digits * 10.0**exponent
        shown, unit = units.seconds(value).split()
        assert float(shown) * factors[unit] == pytest.approx(value, rel=5.1e-4)


@pytest.mark.parametrize(
    ("letters", "expected"),
    [
        ("W", "W"),
        ("WWWIII", "WWWIII"),
        ("W" * 57 + "I" * 3, "57W 3I"),
        ("WI" * 10, "WI" * 10),
        ("", ""),
    ],
)
def test_partition_text(letters: str, expected: str) -> None:
    assert partition_text([{"W": "WSP", "I": "ISP"}[letter] for letter in letters]) == expected


# --- The mesh ------------------------------------------------------------------------------------


def cells(picture: str) -> list[list[str]]:
    """Rows of the mesh at the end of a picture."""
    rows = [line.split() for line in picture.splitlines()]
    start = max(index for index, row in enumerate(rows) if row[:1] == ["segment"])
    return [row for row in rows[start + 1 :] if row]


def test_mesh_is_in_zigzag_order_and_marks_idle_chiplets(stream: Instance) -> None:
    clusters = [(3, 3, [1] * 3), (2, 6, [0] * 2), (3, 5, [0] * 3)]
    schedule = schedule_of(stream, clusters)
    on = console(80)
    picture = text(schedule_view(on, schedule, stream, evaluate(stream, schedule)), on)
    assert cells(picture) == [
        ["0", "0", "0", "1"],
        ["1", "1", "1", "1"],
        ["1", "2", "2", "2"],
        ["·", "·", "2", "2"],
    ]
    assert "idle" in picture
    assert "14 of 16 chiplets" in picture


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("width", [30, 80, 160])
def test_links_of_a_placed_schedule(width: int, encoding: str) -> None:
    instance, schedule = placed()
    evaluation = evaluate(instance, schedule)
    report = evaluation.segments[0]
    busiest = report.busiest_link
    assert busiest is not None
    on = console(width, encoding)
    picture = text(schedule_view(on, schedule, instance, evaluation), on)
    flat = " ".join(picture.split())
    assert "in order blocks-2: stripes of 2 columns" in flat
    assert f"busiest link {busiest}" in flat
    mesh, drawn = picture.split("Package")[1].split("links, % of the beat")
    lines = [line for line in drawn.splitlines() if "*" in line]
    assert len(lines) == 1
    share = 100 * busiest.time_ps / report.beat_ps
    (shown,) = re.findall(r"(\d+)\*", lines[0])
    assert int(shown) == round(share)
    arrow = re.findall(r"([→←↓↑><v^]) *\d+\*", lines[0])[0]
    way = busiest.target[0] - busiest.source[0], busiest.target[1] - busiest.source[1]
    assert arrow in {(0, 1): "→>", (0, -1): "←<", (1, 0): "↓v", (-1, 0): "↑^"}[way]
    if encoding == "ascii":
        assert (mesh + drawn).isascii()
    assert "segment 0" in mesh
    assert max(len(line.rstrip()) for line in picture.split("Package")[1].splitlines()) <= width


def test_regions_follow_the_order_of_the_instance() -> None:
    instance, schedule = placed()
    on = console(80)
    picture = text(schedule_view(on, schedule, instance, evaluate(instance, schedule)), on)
    lines = picture.split("Package")[1].split("segment 0")[1].splitlines()
    assert [line.split()[:4] for line in lines[1:5]] == [
        ["0", "0", "·", "·"],
        ["1", "0", "3", "3"],
        ["1", "1", "3", "2"],
        ["2", "1", "2", "2"],
    ]


def test_held_activations_have_a_column() -> None:
    instance, schedule = placed()
    evaluation = evaluate(instance, schedule)
    on = console(160)
    picture = text(schedule_view(on, schedule, instance, evaluation), on)
    for cluster in evaluation.segments[0].clusters:
        held = cluster.activation_bytes
        assert held is not None
        assert re.search(rf"{re.escape(units.size(held))} +{units.percent(held / 2**20)}", picture)


def test_meshes_side_by_side(stream: Instance) -> None:
    schedule = schedule_of(stream, *([(1, 16, [0])] for _ in range(8)))
    evaluation = evaluate(stream, schedule)
    for width, per_row in ((160, 8), (80, 5), (40, 2), (20, 1)):
        on = console(width)
        picture = text(schedule_view(on, schedule, stream, evaluation), on)
        captions = [line for line in picture.splitlines() if line.startswith("  segment ")]
        assert len(captions) == -(-8 // per_row)
        assert "idle" not in picture


def test_a_mesh_too_wide_is_not_drawn() -> None:
    instance = paper_instance("alexnet", 64, overflow="stream", rows=1)
    schedule = schedule_of(instance, [(8, 64, [0] * 8)])
    on = console(80)
    picture = text(schedule_view(on, schedule, instance, evaluate(instance, schedule)), on)
    assert "1 x 64 mesh is too wide" in picture


def test_colours_are_those_of_the_clusters(stream: Instance) -> None:
    schedule = schedule_of(stream, [(4, 8, [0] * 4), (4, 8, [0] * 4)])
    colourful = Console(width=120, force_terminal=True, color_system="256", file=io.StringIO())
    view = schedule_view(colourful, schedule, stream, evaluate(stream, schedule))
    backgrounds = set(re.findall(r"48;5;(\d+)m", text(view, colourful)))
    assert len(backgrounds) == 2


# --- Tables --------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_tables_fit_the_terminal(width: int, resnet: tuple[Instance, Result, Evaluation]) -> None:
    instance, result, evaluation = resnet
    assert result.schedule is not None
    on = console(width)
    runs = [Run(instance, "scope", result), Run(instance, "other", None, "not for this one")]
    for view in (
        instance_view(instance),
        result_view(result, instance, evaluation),
        schedule_view(on, result.schedule, instance, evaluation),
        evaluation_view(on, instance, result.schedule, evaluation),
        comparison_view(on, runs),
    ):
        picture = text(view, on)
        assert "…" not in picture
        assert max(len(line.rstrip()) for line in picture.splitlines()) <= width
        if width == 160:
            assert "too narrow" not in picture


def test_slowest_clusters_are_marked(resnet: tuple[Instance, Result, Evaluation]) -> None:
    instance, result, evaluation = resnet
    assert result.schedule is not None
    on = console(160)
    picture = text(schedule_view(on, result.schedule, instance, evaluation), on)
    slowest = sum(
        cluster.time_ps == segment.beat_ps
        for segment in evaluation.segments
        for cluster in segment.clusters
    )
    assert picture.count(" slowest") == slowest > 0


def test_dram_bound_segment_says_so(stream: Instance) -> None:
    segments = [[(1, 8, [0]), (1, 8, [0])]] * 4
    schedule = schedule_of(stream, *segments)
    evaluation = evaluate(stream, schedule)
    on = console(160)
    picture = text(schedule_view(on, schedule, stream, evaluation), on)
    bound = [segment.bottleneck is None for segment in evaluation.segments]
    assert picture.count("set by DRAM traffic") == sum(bound)


def test_refetched_weights_have_a_row(stream: Instance) -> None:
    schedule = schedule_of(stream, [(4, 8, [0] * 4), (4, 8, [0] * 4)])
    on = console(160)
    picture = text(evaluation_view(on, stream, schedule, evaluate(stream, schedule)), on)
    assert picture.count("(weights refetched)") == 1


def test_schedule_without_instance(resnet: tuple[Instance, Result, Evaluation]) -> None:
    _, result, _ = resnet
    assert result.schedule is not None
    on = console(80)
    picture = text(schedule_view(on, result.schedule, None, None), on)
    assert "partitions" in picture
    assert "ZigZag" not in picture
    assert "energy" in text(result_view(result, None))


def test_broken_schedule_is_still_drawn(stream: Instance) -> None:
    schedule = schedule_of(stream, [(3, 99, [0] * 3), (2, -1, [0] * 2)])
    evaluation = evaluate(stream, schedule)
    on = console(80)
    picture = text(schedule_view(on, schedule, stream, evaluation), on)
    assert "99" in picture
    assert evaluation.violations
    broken = text(violation_view(evaluation), on)
    assert f"{len(evaluation.violations)} violations" in broken
    assert all(violation.code in broken for violation in evaluation.violations)


def test_layers_beyond_the_network_are_no_crash() -> None:
    small = paper_instance("alexnet", 16, overflow="stream")
    schedule = schedule_of(small, [(20, 16, [0] * 20)])
    on = console(80)
    assert "0-19" in text(schedule_view(on, schedule, small, evaluate(small, schedule)), on)


# --- Instances -----------------------------------------------------------------------------------


def test_table_instance_has_no_mesh_and_no_energy() -> None:
    instance = Instance.model_validate_json(json_text(TABLES))
    assert "latency tables" in text(instance_view(instance))
    result = solve(instance)
    assert result.schedule is not None
    evaluation = evaluate(instance, result.schedule)
    on = console(80)
    shown = text(schedule_view(on, result.schedule, instance, evaluation), on)
    assert "share of load" in shown
    assert "ZigZag" not in shown
    assert re.search(r"energy +-", text(result_view(result, instance, evaluation), on))
    details = text(evaluation_view(on, instance, result.schedule, evaluation), on)
    assert "Energy" not in details
    assert "as placed" not in details
    text(comparison_view(on, [Run(instance, "scope", result)]), on)


def test_times_of_zero() -> None:
    zero: dict[str, Any] = {"ISP": [0, 0], "WSP": [0, 0]}
    content = {**TABLES, "tables": {**TABLES["tables"], "layers": []}}
    content["tables"]["layers"] = [{"name": "a", "weight_bytes": 0, "compute_ps": zero}]
    instance = Instance.model_validate_json(json_text(content))
    result = solve(instance)
    assert result.schedule is not None
    evaluation = evaluate(instance, result.schedule)
    on = console(80)
    for view in (
        instance_view(instance),
        result_view(result, instance, evaluation),
        evaluation_view(on, instance, result.schedule, evaluation),
    ):
        assert re.search(r"latency +0 s", text(view, on))
    assert re.search(r"scope +0 s", text(comparison_view(on, [Run(instance, "scope", result)]), on))


def test_side_constraints_are_listed(stream: Instance) -> None:
    constraints = Constraints(
        max_region=8,
        forbidden_merges=(1, 2),
        fixed_partitions=(FixedPartition(layer=3, partition="ISP"),),
    )
    shown = text(instance_view(stream.model_copy(update={"constraints": constraints})))
    for line in (r"max_region +8", r"forbidden_merges +1, 2", r"fixed_partitions +3:ISP"):
        assert re.search(line, shown)
    assert re.search(r"Side constraints\n +none", text(instance_view(stream)))


def test_hostile_names_do_not_reach_the_terminal(stream: Instance) -> None:
    network = stream.network
    assert network is not None
    hostile = "\x1b[31m[bold]\n:smile:"
    layers = [layer.model_copy(update={"name": hostile + layer.name}) for layer in network.layers]
    network = network.model_copy(update={"name": hostile, "layers": tuple(layers)})
    changes = {"name": hostile, "description": hostile, "network": network}
    instance = stream.model_copy(update=changes)
    result = solve(instance)
    assert result.schedule is not None
    evaluation = evaluate(instance, result.schedule)
    on = console(160)
    pictures = [
        text(view, on)
        for view in (
            instance_view(instance),
            result_view(result, instance, evaluation),
            evaluation_view(on, instance, result.schedule, evaluation),
            comparison_view(on, [Run(instance, hostile, None, hostile)]),
        )
    ]
    assert all("\x1b" not in picture for picture in pictures)
    assert all("[bold]?:smile:" in picture for picture in pictures)


def test_ascii_only(stream: Instance) -> None:
    schedule = schedule_of(stream, [(4, 7, [0] * 4), (4, 8, [0] * 4)])
    on = console(120, "ascii")
    evaluation = evaluate(stream, schedule)
    assert text(schedule_view(on, schedule, stream, evaluation), on).isascii()
    assert text(evaluation_view(on, stream, schedule, evaluation), on).isascii()


def test_solver_view_says_all_where_all_constraints_are_honoured() -> None:
    described = [
        {
            "name": "complete",
            "available": True,
            "exact": True,
            "constraints": list(Constraints.model_fields),
            "summary": "all of them",
        }
    ]
    on = console(80)
    shown = text(solver_view(on, described), on)
    assert re.search(r"complete +yes +yes +- +all of them +all", shown)


def json_text(content: dict[str, Any]) -> str:
    return json.dumps(content)
