"""Compare the cost model with simulator measurements; print markdown for docs/model.md.

Run it as ``python instances/calibration/report_errors.py``; with ``--update docs/model.md`` it
replaces what lies between the two calibration markers of that file instead of printing.

Relative errors are (model - measured) / measured. Percentiles are of absolute errors; the worst
error keeps its sign, a minus means that the model is too fast.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.optimize import least_squares

from scope_opt.cost.build import build_tables
from scope_opt.cost.dram import dram_s
from scope_opt.cost.layers import layer_shape
from scope_opt.cost.nop import nop_coefficients
from scope_opt.model.instance import Instance
from scope_opt.model.mesh import link_use, means_between, runs
from scope_opt.model.network import Edge, Layer, Network
from scope_opt.model.tables import WSP
from scope_opt.model.zoo import STREAMS, paper_package

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from scope_opt.model.package import Streams

HERE = Path(__file__).parent
BEGIN, END = "<!-- calibration:begin -->", "<!-- calibration:end -->"

FAIR_LINK_BYTES = 80 * 1024
"""More than this over the most loaded link, and the simulator's arbitration becomes unfair."""
SMALL_LINK_BYTES = 16 * 1024
"""Less than this, and the fixed latency shows."""
REGRESSION_MESHES = ((4, 4), (4, 8), (8, 8), (8, 16), (16, 16))
WITHIN, BETWEEN, HALO = "all_gather", "scatter", "halo"
TITLES = {
    WITHIN: "all-gather, all-to-all",
    BETWEEN: "region to region",
    HALO: "halo",
}
ONE_FACTOR_TITLES = {
    WITHIN: "exchange, unicast gather",
    BETWEEN: "scatter",
    HALO: "halo of direct neighbours",
}
WRITTEN = {"read": 0.0, "write": 1.0, "mix": 0.5}
"""Written share of the bytes, by operation."""


class Errors(NamedTuple):
    """Summary of relative errors."""

    number: int
    median: float
    mean: float
    p90: float
    p95: float
    worst: float
    """With its sign; the others are of absolute values."""

    @classmethod
    def of(cls, errors: Sequence[float]) -> Errors:
        """Summarize ``(model - measured) / measured``."""
        signed = np.array(errors)
        size = np.abs(signed)
        p50, p90, p95 = np.quantile(size, (0.5, 0.9, 0.95))
        worst = signed[size.argmax()]
        return cls(len(signed), *(float(x) for x in (p50, size.mean(), p90, p95, worst)))

    def cells(self) -> list[str]:
        """Table cells, errors in percent."""
        values = (self.median, self.mean, self.p90, self.p95)
        return [str(self.number), *(f"{100 * x:.1f}" for x in values), signed_percent(self.worst)]


def signed_percent(value: float) -> str:
    """Percentage with one decimal, a sign, and a real minus; no sign on 0.0."""
    text = f"{100 * value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], text_columns: int) -> str:
    """Markdown table whose first ``text_columns`` columns are left-aligned."""
    rule = ["---"] * text_columns + ["---:"] * (len(head) - text_columns)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def read(name: str) -> list[dict[str, str]]:
    """Rows of one of the measurement files."""
    with (HERE / name).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


# --- Network on package --------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Mesh, pattern and regions of a series of simulated transfers."""

    pattern: str
    rows: int
    cols: int
    start: int
    size: int
    next_size: int
    """Size of the region that follows; equal to ``size`` for patterns inside one region."""

    @property
    def mesh(self) -> str:
        """As the tables name it."""
        return f"{self.rows}×{self.cols}"

    @property
    def peak(self) -> int:
        """Pairs on the most loaded link where the regions really lie."""
        source = runs(self.rows, self.cols, np.array([self.start]), self.size)
        if self.pattern != BETWEEN:
            return int(link_use(source, source).peak[0])
        after = np.array([self.start + self.size])
        target = runs(self.rows, self.cols, after, self.next_size)
        return int(link_use(source, target).peak[0])

    @property
    def link_bytes_per_byte(self) -> float:
        """Bytes over the most loaded link per byte of the volume ``V``, actual place."""
        if self.pattern == HALO:
            return 0.5 / self.size
        pairs = self.size * self.next_size if self.pattern == BETWEEN else self.size
        return self.peak / pairs

    @property
    def placed_s_per_byte(self) -> float:
        """Model with the link count of the actual place."""
        nop = paper_package(self.rows * self.cols, self.rows, self.cols).nop
        if self.pattern == HALO:
            return self.table_s_per_byte
        eta = nop.eta_between if self.pattern == BETWEEN else nop.eta_within
        return eta * self.link_bytes_per_byte / nop.port_bytes_per_s

    @property
    def table_s_per_byte(self) -> float:
        """Model as the latency tables have it: means over all places, separable sum."""
        nop = paper_package(self.rows * self.cols, self.rows, self.cols).nop
        if self.pattern == HALO:
            return float(halo_s_per_byte(self.rows, self.cols)[self.size])
        found = nop_coefficients(self.rows, self.cols, nop.eta_within, nop.eta_between)
        if self.pattern == BETWEEN:
            link_bytes = found.send[self.size] + found.receive[self.next_size]
        else:
            link_bytes = found.gather[self.size]
        return float(link_bytes) / nop.port_bytes_per_s

    @property
    def sustained_s_per_byte(self) -> float:
        """Placed model: the link count of the actual place, and one factor for every transfer."""
        nop = paper_package(self.rows * self.cols, self.rows, self.cols).nop
        return nop.eta_link * self.link_bytes_per_byte / nop.port_bytes_per_s

    @property
    def relayed_isp_s_per_byte(self) -> float:
        """Placed model of a hand-over into ISP: region to region, then a relayed gather."""
        nop = paper_package(self.rows * self.cols, self.rows, self.cols).nop
        relayed = (self.next_size - 1) / self.next_size
        return self.sustained_s_per_byte + nop.eta_link * relayed / nop.port_bytes_per_s

    @property
    def case2_isp_s_per_byte(self) -> float:
        """Model of Case 2 into an ISP layer: region to region, then all-gather by the receivers."""
        nop = paper_package(self.rows * self.cols, self.rows, self.cols).nop
        found = nop_coefficients(self.rows, self.cols, nop.eta_within, nop.eta_between)
        return self.table_s_per_byte + float(found.gather[self.next_size]) / nop.port_bytes_per_s


@lru_cache(maxsize=8)
def halo_s_per_byte(rows: int, cols: int) -> NDArray[np.float64]:
    """Halo time per byte by region size, read off the tables of two 3x3 convolutions."""
    package = paper_package(rows * cols, rows, cols)
    layers = tuple(conv_layer(f"conv{index}", 64, 64, 56, 56, 3, 3, 1, 1) for index in (1, 2))
    edge = Edge.model_validate({"from": 0, "to": 1, "bytes": layers[0].output_bytes})
    network = Network(name="halo", layers=layers, edges=(edge,))
    tables = build_tables(Instance(name="halo", network=network, package=package))
    halo_bytes = layer_shape(layers[1], package).halo_bytes
    seconds = tables.within_ps[0, WSP, WSP] / 1e12
    per_byte: NDArray[np.float64] = np.zeros(len(seconds))
    np.divide(seconds, halo_bytes, out=per_byte, where=halo_bytes > 0)
    return per_byte


class Series(NamedTuple):
    """One place, several volumes."""

    place: Place
    volumes: NDArray[np.float64]
    seconds: NDArray[np.float64]

    @property
    def link_bytes(self) -> NDArray[np.float64]:
        """Bytes over the most loaded link of each transfer."""
        return self.volumes * self.place.link_bytes_per_byte

    def line(self) -> tuple[float, float]:
        """Slope (s per byte) and fixed part (s), least squares over fairly arbitrated runs."""
        fair = self.link_bytes <= FAIR_LINK_BYTES
        slope, fixed = np.polyfit(self.volumes[fair], self.seconds[fair], 1)
        return float(slope), float(fixed)


def transfers() -> list[Series]:
    """Simulated transfers as series over the volume, each simulation once.

    All-to-all and multicast rows repeat the simulations of all-gather and scatter with another
    volume ``V``: times the region size, and divided by the receiving region's size.
    """
    measured: dict[str, dict[Place, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in read("nop_booksim2.csv"):
        rows, cols = int(row["mesh_y"]), int(row["mesh_x"])
        place = Place(
            {"all_to_all": WITHIN, "multicast": BETWEEN}.get(row["pattern"], row["pattern"]),
            rows,
            cols,
            int(row["start"]),
            int(row["r_src"]),
            int(row["r_dst"]),
        )
        volume = int(row["bytes"])
        if row["pattern"] == "all_to_all":
            volume //= place.size
        elif row["pattern"] == "multicast":
            volume *= place.next_size
        bytes_per_cycle = int(row["flit_bytes"]) * int(row["flits_per_cycle_port"])
        link = paper_package(rows * cols, rows, cols).nop.port_bytes_per_s
        measured[row["pattern"]][place][volume] = int(row["cycles"]) * bytes_per_cycle / link
    if measured["all_to_all"] != measured[WITHIN] or measured["multicast"] != measured[BETWEEN]:
        raise ValueError("all-to-all or multicast rows are no longer the same simulations")
    found = []
    for pattern in (WITHIN, BETWEEN, HALO):
        for place, times in measured[pattern].items():
            volumes = sorted(times)
            seconds = [times[volume] for volume in volumes]
            found.append(Series(place, np.array(volumes, dtype=float), np.array(seconds)))
    return found


def by_pattern_and_mesh(series: list[Series]) -> Iterator[tuple[str, str, list[Series]]]:
    """Groups ``(pattern, mesh, series)``; after several meshes of a pattern, all of them."""
    for pattern in (WITHIN, BETWEEN, HALO):
        chosen = [s for s in series if s.place.pattern == pattern]
        for mesh in dict.fromkeys(s.place.mesh for s in chosen):
            yield pattern, mesh, [s for s in chosen if s.place.mesh == mesh]
        yield pattern, "all", chosen


def slope_errors(series: list[Series], model: Callable[[Place], float]) -> Errors:
    """Error of the time per byte: model against the slope fitted to each series."""
    return Errors.of([model(s.place) / s.line()[0] - 1 for s in series])


def placed(place: Place) -> float:
    """Model with the actual place."""
    return place.placed_s_per_byte


def tabulated(place: Place) -> float:
    """Model of the latency tables."""
    return place.table_s_per_byte


def sustained(place: Place) -> float:
    """The placed model."""
    return place.sustained_s_per_byte


def case2(place: Place) -> float:
    """Case 2 into ISP in the regressed model."""
    return place.case2_isp_s_per_byte


def relayed_isp(place: Place) -> float:
    """The hand-over into ISP in the placed model."""
    return place.relayed_isp_s_per_byte


MODELS: dict[str, list[tuple[str, Callable[[Place], float]]]] = {
    WITHIN: [("actual place", placed), ("mean over places, $\\gamma$", tabulated)],
    BETWEEN: [("actual place", placed), ("separable, $\\sigma + \\rho$", tabulated)],
    HALO: [("formula", tabulated)],
}


def total_errors(
    series: list[Series], low: float, high: float, model: Callable[[Place], float]
) -> Errors | None:
    """Error of the time of whole transfers whose busiest link carries (low, high] bytes."""
    errors: list[float] = []
    for s in series:
        chosen = (s.link_bytes > low) & (s.link_bytes <= high)
        errors += (model(s.place) * s.volumes[chosen] / s.seconds[chosen] - 1).tolist()
    return Errors.of(errors) if errors else None


HEAD = ["median", "mean", "90th", "95th", "worst"]


def nop_slopes(series: list[Series]) -> str:
    """Errors of the slope per pattern, mesh and form of the model."""
    rows = [
        [TITLES[pattern], form, mesh, *slope_errors(chosen, model).cells()]
        for pattern in MODELS
        for form, model in MODELS[pattern]
        for of, mesh, chosen in by_pattern_and_mesh(series)
        if of == pattern
    ]
    return table(["Transfer", "Model", "Mesh", "series", *HEAD], rows, 3)


def nop_totals(series: list[Series]) -> str:
    """Errors of whole transfers, by the bytes on the most loaded link."""
    limits = (
        ("up to 16 KiB", 0, SMALL_LINK_BYTES),
        ("16 to 80 KiB", SMALL_LINK_BYTES, FAIR_LINK_BYTES),
        ("above 80 KiB", FAIR_LINK_BYTES, np.inf),
    )
    rows = []
    for pattern in MODELS:
        chosen = [s for s in series if s.place.pattern == pattern]
        for form, model in MODELS[pattern]:
            for name, low, high in limits:
                errors = total_errors(chosen, low, high, model)
                if errors is not None:
                    rows.append([TITLES[pattern], form, name, *errors.cells()])
    return table(["Transfer", "Model", "On the worst link", "runs", *HEAD], rows, 3)


def fixed_parts_ns(series: list[Series]) -> dict[str, tuple[float, float]]:
    """Median and largest fixed part of a transfer per mesh, in ns."""
    found: dict[str, list[float]] = defaultdict(list)
    for s in series:
        found[s.place.mesh].append(s.line()[1] * 1e9)
    return {mesh: (float(np.median(ns)), max(ns)) for mesh, ns in found.items()}


def link_factors(series: list[Series]) -> NDArray[np.float64]:
    """Measured time per byte over that of the busiest link alone, per series."""
    link = paper_package(16).nop.port_bytes_per_s
    return np.array([s.line()[0] * link / s.place.link_bytes_per_byte for s in series])


def one_factor_slopes(series: list[Series]) -> str:
    """Table of measured factors and of the errors of the one that the placed model takes."""
    eta = paper_package(16).nop.eta_link
    rows = []
    for pattern, mesh, group in by_pattern_and_mesh(series):
        factors = link_factors(group)
        errors = slope_errors(group, sustained)
        rows.append(
            [
                ONE_FACTOR_TITLES[pattern],
                mesh,
                str(len(group)),
                *(f"{x:.2f}" for x in np.quantile(factors, (0.1, 0.5, 0.9, 1))),
                f"{100 * np.mean(factors <= eta):.0f} %",
                *errors.cells()[1:],
            ]
        )
    head = ["Transfer", "Mesh", "series", "factor: 10th", "median", "90th", "largest"]
    head += [f"up to {eta}", f"error: {HEAD[0]}", *HEAD[1:]]
    return table(head, rows, 2)


def one_factor_totals(series: list[Series]) -> str:
    """Table of errors of whole transfers in the placed model, fairly arbitrated, per mesh."""
    rows = []
    for pattern, mesh, group in by_pattern_and_mesh(series):
        for name, low, high in (
            ("up to 80 KiB", 0, FAIR_LINK_BYTES),
            ("above 80 KiB", FAIR_LINK_BYTES, np.inf),
        ):
            errors = total_errors(group, low, high, sustained)
            if errors is not None:
                rows.append([ONE_FACTOR_TITLES[pattern], mesh, name, *errors.cells()])
    return table(["Transfer", "Mesh", "On the worst link", "runs", *HEAD], rows, 3)


def multicast_ratios(series: list[Series], model: Callable[[Place], float]) -> NDArray[np.float64]:
    """Model of Case 2 into ISP over the measured time of r' unicast copies, per series, r' > 1."""
    return np.array(
        [
            model(s.place) / (s.line()[0] * s.place.next_size)
            for s in series
            if s.place.pattern == BETWEEN and s.place.next_size > 1
        ]
    )


def into_isp(ratios: NDArray[np.float64]) -> tuple[str, str, str, str]:
    """Percentiles 5, 50 and 95 of the ratios, and how many are below 1, as printed."""
    low, middle, high = (f"{x:.2f}" for x in np.quantile(ratios, (0.05, 0.5, 0.95)))
    return low, middle, high, f"{100 * np.mean(ratios < 1):.0f} %"


# --- DRAM ----------------------------------------------------------------------------------------


class DramError(NamedTuple):
    """Model against Ramulator2 for one operation and number of concurrent streams."""

    operation: str
    streams: int
    errors: Errors
    large: float
    """Signed error of the largest transfer."""


def dram_errors(model: Streams | None = None) -> list[DramError]:
    """Errors of one DRAM transfer of all streams' bytes, at the simulated peak bandwidth.

    With ``model`` what it says of streams and writes, else the constant efficiency and latency.
    """
    found: dict[tuple[str, int], list[tuple[int, float]]] = defaultdict(list)
    for row, error in zip(read("dram_ramulator2.csv"), dram_points(model), strict=True):
        found[row["op"], int(row["streams"])].append((int(row["bytes"]), error))
    return [
        DramError(op, streams, Errors.of([error for _, error in pairs]), max(pairs)[1])
        for (op, streams), pairs in found.items()
    ]


def dram_summary() -> str:
    """Table of both DRAM models over all measured points, and by operation."""
    rows = []
    for name, model in (("constant", None), ("streams", STREAMS)):
        for operation in (*WRITTEN, "all"):
            signed = dram_points(model, operation)
            rows.append([name, operation, *Errors.of(signed).cells()])
    return table(["Model", "Operation", "points", *HEAD], rows, 2)


def dram_points(model: Streams | None, operation: str = "all") -> list[float]:
    """Signed errors of the measured points of an operation, or of ``all``."""
    package = paper_package(16)
    found = []
    for row in read("dram_ramulator2.csv"):
        if operation in (row["op"], "all"):
            peak = float(row["peak_bytes_per_s"])
            update = {"bandwidth_bytes_per_s": peak, "streams": model}
            dram, streams = package.dram.model_copy(update=update), int(row["streams"])
            volume = np.array(streams * int(row["bytes"]))
            seconds = float(dram_s(dram, volume, WRITTEN[row["op"]], streams))
            found.append(seconds / float(row["seconds"]) - 1)
    return found


def fitted_streams() -> Streams:
    """Least squares on the relative errors of all measured points, from `STREAMS` on."""
    names = [name for name in type(STREAMS).model_fields if name != "most"]
    start = np.array([getattr(STREAMS, name) for name in names])

    def coefficients(scales: NDArray[np.float64]) -> Streams:
        values = dict(zip(names, (start * scales).tolist(), strict=True))
        return STREAMS.model_copy(update=values)

    fit = least_squares(
        lambda scales: np.array(dram_points(coefficients(scales))), np.ones(len(names))
    )
    return coefficients(fit.x)


# --- Computation ---------------------------------------------------------------------------------


def conv_layer(
    name: str,
    inputs: int,
    outputs: int,
    height: int,
    width: int,
    kernel_height: int,
    kernel_width: int,
    stride: int,
    groups: int,
) -> Layer:
    """Layer with that many outputs per channel and just the input it needs, no padding."""
    input_height = (height - 1) * stride + kernel_height
    input_width = (width - 1) * stride + kernel_width
    return Layer(
        name=name,
        in_channels=inputs,
        out_channels=outputs,
        input_height=input_height,
        input_width=input_width,
        output_height=height,
        output_width=width,
        kernel_height=kernel_height,
        kernel_width=kernel_width,
        stride=stride,
        groups=groups,
        weight_bytes=outputs * (inputs // groups) * kernel_height * kernel_width,
        input_bytes=inputs * input_height * input_width,
        output_bytes=outputs * height * width,
    )


class ComputeRatios(NamedTuple):
    """Cycles found by a tool over cycles of the formula."""

    tool: str
    pe_split: str
    left_out: int
    """Rows whose search had not converged."""
    ratios: NDArray[np.float64]


def compute_ratios() -> list[ComputeRatios]:
    """Ratios per tool and PE splitting, the slice of one chiplet as a layer on one chiplet."""
    ratios: dict[tuple[str, str], list[float]] = defaultdict(list)
    left_out: dict[tuple[str, str], int] = defaultdict(int)
    for row in read("compute_timeloop_zigzag.csv"):
        key = (
            "Timeloop" if row["tool"].startswith("timeloop") else "ZigZag",
            "channels" if row["mapping_space"] == "CK" else "any",
        )
        if "not converged" in f"{row['search']} {row['note']}".lower():
            left_out[key] += 1
            continue
        shape = (int(row[column]) for column in ("C", "K", "P", "Q", "R", "S", "stride", "groups"))
        package = paper_package(1).model_copy(update={"pe_split": key[1]})
        cycles = layer_shape(conv_layer(row["layer"], *shape), package).cycles[WSP, 1]
        ratios[key].append(int(row["compute_cycles"]) / int(cycles))
    return [
        ComputeRatios(tool, split, left_out[tool, split], np.array(found))
        for (tool, split), found in sorted(ratios.items(), reverse=True)
    ]


# --- Regression between regions ------------------------------------------------------------------


class RegressionError(NamedTuple):
    """Separable fit against exact mean counts on one mesh."""

    rows: int
    cols: int
    step: int
    errors: Errors
    within_20: float
    """Share of the pairs with at most 20 % error."""


@lru_cache(maxsize=8)
def regression_error(rows: int, cols: int) -> RegressionError:
    """Errors over all pairs of region sizes; from 256 chiplets on of every third size."""
    chiplets = rows * cols
    step = 3 if chiplets >= 256 else 1
    nop = nop_coefficients(rows, cols, 1.0, 1.0)
    errors = []
    for size in range(1, chiplets, step):
        for next_size in range(1, chiplets - size + 1, step):
            exact = means_between(rows, cols, size, next_size)[0] / (size * next_size)
            errors.append(float(nop.send[size] + nop.receive[next_size]) / exact - 1)
    share = float(np.mean(np.abs(errors) <= 0.2))
    return RegressionError(rows, cols, step, Errors.of(errors), share)


# --- The report ----------------------------------------------------------------------------------


def report() -> str:
    """Markdown of all comparisons."""
    series = transfers()
    total = sum(len(s.volumes) for s in series)
    eta = paper_package(16).nop.eta_link
    unrounded = Errors.of(dram_points(fitted_streams()))
    fixed = ", ".join(
        f"{median:.0f} ns on {mesh} (at most {most:.0f} ns)"
        for mesh, (median, most) in fixed_parts_ns(series).items()
    )
    low, middle, high, cheaper = into_isp(multicast_ratios(series, case2))
    relayed = into_isp(multicast_ratios(series, relayed_isp))
    dram_rows, stream_rows = (
        [
            [e.operation, str(e.streams), *e.errors.cells(), signed_percent(e.large)]
            for e in dram_errors(model)
        ]
        for model in (None, STREAMS)
    )
    compute_rows = [
        [
            c.tool,
            f"`{c.pe_split}`",
            str(len(c.ratios)),
            str(c.left_out),
            f"{100 * np.mean(np.abs(c.ratios - 1) <= 0.005):.0f} %",
            *(f"{x:.3f}" for x in (c.ratios.min(), np.median(c.ratios))),
            *(f"{x:.3f}" for x in (np.quantile(c.ratios, 0.95), c.ratios.max())),
        ]
        for c in compute_ratios()
    ]
    regression_rows = []
    for mesh in REGRESSION_MESHES:
        r = regression_error(*mesh)
        name = f"{r.rows}×{r.cols}" + (f" (every {r.step}rd size)" if r.step > 1 else "")
        regression_rows.append([name, *r.errors.cells(), f"{100 * r.within_20:.0f}"])
    dram_head = ["Operation", "Streams", "runs", *HEAD, "4 MiB per stream"]
    compute_head = ["Tool", "`pe_split`", "slices", "left out", "equal"]
    compute_head += ["smallest", "median", "95th", "largest"]
    parts = [
        "Errors are (model − measured) / measured in percent: median, mean and percentiles of the "
        "absolute value, the\nworst with its sign. A minus means that the model is too fast.",
        f"**NoP, time per byte** ({total} simulations in {len(series)} series). A series is one "
        "place of one pattern with several volumes;\nits slope is fitted over transfers with at "
        "most 80 KiB on the most loaded link. All-to-all is the same simulation as\nall-gather "
        "(the volume counts $r$ times), so both have the same errors.",
        nop_slopes(series),
        "The fitted fixed part of a transfer, which the model leaves out, has the median\n"
        f"{fixed}.",
        "**NoP, whole transfers**, the fixed part included, by the bytes on the most loaded link:",
        nop_totals(series),
        "**Into ISP**: the model sends one copy and lets the receivers gather it, instead of "
        "sending $r'$ unicast copies. Its\ntime over the simulated time of the copies: median "
        f"{middle} (5th percentile {low}, 95th {high}); it is below 1 in\n{cheaper} of the series "
        "with $r' > 1$. The copies are the same simulation as region to region.",
        f"**NoP, the one factor of the placed model**, $\\eta_{{link}}$ = {eta}, at actual places. "
        "The factor is the measured time per\nbyte over that of the busiest link alone, one "
        "transfer on an idle mesh; the errors are those of the model's\ntime per byte.",
        one_factor_slopes(series),
        "Whole transfers with that factor, the fixed part included:",
        one_factor_totals(series),
        "**Hand-over into ISP, placed**: scatter and relayed gather over the simulated time of "
        f"$r'$ unicast copies: median {relayed[1]}\n(5th percentile {relayed[0]}, 95th "
        f"{relayed[2]}); below 1 in {relayed[3]} of the series with $r' > 1$. Relayed gathers "
        "themselves were not simulated.",
        "**NoP, the separable form**: $\\sigma(r) + \\rho(r')$ against the exact mean counts "
        "$\\bar M(r, r')$, over all pairs of region sizes:",
        table(["Mesh", "pairs", *HEAD, "share within 20 %"], regression_rows, 1),
        "**DRAM**: one $\\mathrm{dram}(\\cdot)$ of the bytes of all streams, with the default "
        "efficiency and latency and the\nsimulated peak of 102.4 GB/s:",
        table(dram_head, dram_rows, 1),
        "The same points in the stream model, one transfer of all bytes in so many streams, half "
        "of the bytes of a mix written,\nbeside the constant:",
        dram_summary(),
        "The coefficients are a least-squares fit of relative errors to these 72 points, rounded; "
        f"unrounded the median would be\n{100 * unrounded.median:.1f} % and the 90th percentile "
        f"{100 * unrounded.p90:.1f} %. By operation and number of streams:",
        table(dram_head, stream_rows, 1),
        "**Computation**: cycles found by the tool over cycles of the formula, without searches "
        "that had not converged (left out).\nEqual means within 0.5 %.",
        table(compute_head, compute_rows, 2),
    ]
    return "\n\n".join(parts)


def updated(text: str, block: str) -> str:
    """Text with the part between the markers replaced."""
    head, _, rest = text.partition(BEGIN)
    _, found, tail = rest.partition(END)
    if not found:
        raise ValueError(f"needs the lines {BEGIN} and {END}")
    return f"{head}{BEGIN}\n\n{block}\n\n{END}{tail}"


def main() -> None:
    """Print the report, or put it into a file."""
    parser = argparse.ArgumentParser(description="Compare the cost model with measurements.")
    parser.add_argument("--update", metavar="FILE", type=Path, help="file with the two markers")
    update: Path | None = parser.parse_args().update
    if update is None:
        print(report())
    else:
        update.write_text(updated(update.read_text("utf-8"), report()), "utf-8")


if __name__ == "__main__":
    main()
