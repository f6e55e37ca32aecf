"""The cost model against simulator measurements, and their report in the documentation."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

import numpy as np
import pytest
from documents import ROOT

from scope_opt.schedule.links import Mesh, Region
from scope_opt.schedule.transfers import link_times


def load_report() -> Any:
    """Import the script, which belongs to no package."""
    path = ROOT / "instances" / "calibration" / "report_errors.py"
    spec = importlib.util.spec_from_file_location("report_errors", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["report_errors"] = module
    spec.loader.exec_module(module)
    return module


report = load_report()


@pytest.fixture(scope="module")
def series() -> list[Any]:
    found: list[Any] = report.transfers()
    return found


def of(series: list[Any], pattern: str) -> list[Any]:
    return [s for s in series if s.place.pattern == pattern]


def test_documentation_is_up_to_date() -> None:
    text = (ROOT / "docs" / "model.md").read_text("utf-8")
    assert report.updated(text, report.report()) == text, (
        "run python instances/calibration/report_errors.py --update docs/model.md"
    )


def test_every_measurement_is_used(series: list[Any]) -> None:
    rows = report.read("nop_booksim2.csv")
    repeated = [row for row in rows if row["pattern"] in ("all_to_all", "multicast")]
    assert sum(len(s.volumes) for s in series) == len(rows) - len(repeated) == 853
    assert sum(e.errors.number for e in report.dram_errors()) == 72
    assert sum(len(c.ratios) + c.left_out for c in report.compute_ratios()) == 132


def test_inside_a_region(series: list[Any]) -> None:
    errors = report.slope_errors(of(series, "all_gather"), report.placed)
    assert errors.median < 0.05
    assert errors.p90 < 0.1
    assert abs(errors.worst) < 0.125


def test_between_regions(series: list[Any]) -> None:
    errors = report.slope_errors(of(series, "scatter"), report.placed)
    assert errors.median < 0.065
    assert errors.p90 < 0.125
    assert abs(errors.worst) < 0.22


def test_halo(series: list[Any]) -> None:
    errors = report.slope_errors(of(series, "halo"), report.tabulated)
    assert abs(errors.worst) < 0.001


def test_tables_average_over_places(series: list[Any]) -> None:
    """The tables' error is larger, but not out of hand: the documentation says why."""
    assert report.slope_errors(of(series, "all_gather"), report.tabulated).median < 0.1
    assert report.slope_errors(of(series, "scatter"), report.tabulated).median < 0.2


def test_contention_range(series: list[Any]) -> None:
    """Simulated time per byte over that of the worst link alone, as the documentation states."""

    def ratios(pattern: str, *, one_sided: bool) -> list[float]:
        return [
            s.line()[0] * 25e9 / s.place.link_bytes_per_byte
            for s in of(series, pattern)
            if (min(s.place.size, s.place.next_size) == 1) == one_sided
        ]

    assert round(min(ratios("all_gather", one_sided=False)), 3) >= 1
    assert max(ratios("all_gather", one_sided=False)) == pytest.approx(1.22, abs=0.01)
    assert max(ratios("scatter", one_sided=False)) == pytest.approx(1.34, abs=0.01)
    assert ratios("scatter", one_sided=True) == pytest.approx([1.0] * 40, abs=0.001)


def test_model_is_optimistic_under_unfair_arbitration(series: list[Any]) -> None:
    low = report.FAIR_LINK_BYTES
    errors = report.total_errors(of(series, "all_gather"), low, np.inf, report.placed)
    assert -0.4 < errors.worst < -0.3


def test_one_factor_at_actual_places(series: list[Any]) -> None:
    """What section 16 says of single transfers under the placed model's factor."""

    def on(pattern: str, mesh: str) -> list[Any]:
        return [s for s in of(series, pattern) if s.place.mesh == mesh]

    exchange, scatter, halo = (of(series, p) for p in ("all_gather", "scatter", "halo"))
    assert np.median(report.link_factors(exchange)) == pytest.approx(1.12, abs=0.005)
    assert np.median(report.link_factors(scatter)) == pytest.approx(1.00, abs=0.005)
    assert report.link_factors(halo) == pytest.approx(np.ones(31), abs=0.001)
    large = report.slope_errors(on("all_gather", "16×16"), report.sustained)
    assert large.median < 0.055
    assert large.p90 < 0.075
    large = report.slope_errors(on("scatter", "16×16"), report.sustained)
    assert large.median < 0.07
    assert large.p90 < 0.155
    # Where it is too fast, by no more than the largest factor says.
    worst = max(report.link_factors(exchange).max(), report.link_factors(scatter).max())
    errors = [report.sustained(s.place) / s.line()[0] - 1 for s in (*exchange, *scatter)]
    assert min(errors) == pytest.approx(1.15 / worst - 1)
    assert min(errors) > -0.15


def test_factor_is_the_one_of_the_evaluator(series: list[Any]) -> None:
    """The script's bytes per link are those that the placed model counts."""
    for s in of(series, "all_gather")[::7] + of(series, "scatter")[::9]:
        place = s.place
        package = report.paper_package(place.rows * place.cols, place.rows, place.cols)
        mesh, at = Mesh(package), Region(place.start, place.size)
        if place.pattern == "all_gather":
            moved = mesh.exchange(10**6 * place.size, at)
        else:
            moved = mesh.scatter(10**6, at, Region(place.start + place.size, place.next_size))
        seconds = link_times(package)((moved,)) / 1e12
        assert seconds == pytest.approx(1e6 * report.sustained(place), rel=1e-6)


def test_relayed_hand_over_is_faster_than_copies(series: list[Any]) -> None:
    ratios = report.multicast_ratios(series, report.relayed_isp)
    assert np.median(ratios) == pytest.approx(0.54, abs=0.01)
    assert np.mean(ratios < 1) > 0.8


@pytest.mark.parametrize("mesh", report.REGRESSION_MESHES)
def test_separable_form(mesh: tuple[int, int]) -> None:
    found = report.regression_error(*mesh)
    assert found.errors.mean < 0.08
    assert found.within_20 > 0.94
    assert abs(found.errors.worst) < 0.85


def test_dram() -> None:
    found = {(e.operation, e.streams): e for e in report.dram_errors()}
    assert found["read", 1].errors.median < 0.03
    assert abs(found["read", 1].large) < 0.03
    # What the documentation warns of: optimistic with writes and with several streams.
    for (operation, streams), error in found.items():
        if streams > 1 or operation == "write":
            assert error.large < -0.05, (operation, streams)
    assert found["read", 8].large < -0.25


def test_dram_streams() -> None:
    every = report.Errors.of(report.dram_points(report.STREAMS))
    constant = report.Errors.of(report.dram_points(None))
    assert every.number == constant.number == 72
    assert every.median < 0.023
    assert every.p90 < 0.052
    assert abs(every.worst) < 0.1
    assert constant.median > 8 * every.median
    for error in report.dram_errors(report.STREAMS):
        assert error.errors.median < 0.045, (error.operation, error.streams)


def test_dram_coefficients_are_the_rounded_fit() -> None:
    fitted, shipped = report.fitted_streams(), report.STREAMS
    errors = report.Errors.of(report.dram_points(fitted))
    assert errors.median < 0.0215
    assert errors.p90 < 0.0495
    for name in ("latency_s", "latency_per_stream_s", "latency_mixed_s"):
        assert getattr(fitted, name) == pytest.approx(getattr(shipped, name), abs=0.06e-9)
    for name in ("read", "write", "slope", "slope_write"):
        assert getattr(fitted, name) == pytest.approx(getattr(shipped, name), abs=0.0006)


@pytest.mark.parametrize("index", range(3))
def test_computation(index: int) -> None:
    found = report.compute_ratios()[index]
    assert found.ratios.min() >= 1
    assert np.median(found.ratios) == pytest.approx(1, abs=0.02)
    assert np.mean(np.abs(found.ratios - 1) <= 0.005) > 0.75
    assert found.ratios.max() < 1.5


def test_update_needs_the_markers() -> None:
    assert report.updated(f"a\n{report.BEGIN}\nold\n{report.END}\nb", "new") == (
        f"a\n{report.BEGIN}\n\nnew\n\n{report.END}\nb"
    )
    with pytest.raises(ValueError, match="needs the lines"):
        report.updated("no markers", "new")
