"""Measure how the time of a proof grows with layers and chiplets, and draw it.

    python docs/figures/exact_growth.py            measure, then write exact-growth.csv and .svg
    python docs/figures/exact_growth.py --draw     only draw from exact-growth.csv

Drawing needs matplotlib, which is among the development packages.
Times are medians of three runs of the search alone, on tables built before and with everything
compiled. Processor time is taken, which other programs on the machine disturb less than wall time
(the search runs on one core); the slopes are what the figure is about.
"""

from __future__ import annotations

import argparse
import csv
import time
from math import log
from pathlib import Path
from statistics import median
from typing import Any

from scope_opt.cost.build import build_tables
from scope_opt.model.generate import paper_instance
from scope_opt.report.drawing import COLORS, new_figure, save_figure
from scope_opt.search.exact.solver import ExactSolver
from scope_opt.solving.monitor import Monitor
from scope_opt.solving.solver import SolveOptions

HERE = Path(__file__).parent
CSV = HERE / "exact-growth.csv"
BY_LAYERS = [(f"resnet{depth}", 64) for depth in (18, 34, 50, 101, 152)]
BY_CHIPLETS = [("resnet50", chiplets) for chiplets in (16, 32, 64, 128, 256)]
CHOICES = ("single", "dp")
REPEATS = 3

Row = dict[str, Any]


def measure() -> list[Row]:
    """Solve every instance with one segment and with free segments."""
    small = paper_instance("alexnet", 16)
    for choice in CHOICES:
        search(small, choice)  # compiles
    rows = []
    for network, chiplets in dict.fromkeys(BY_LAYERS + BY_CHIPLETS):
        instance = paper_instance(network, chiplets)
        for choice in CHOICES:
            runs = [search(instance, choice) for _ in range(REPEATS)]
            row = {
                "network": network,
                "layers": len(instance.layer_names),
                "chiplets": chiplets,
                "segments": "single" if choice == "single" else "free",
                "seconds": f"{median(seconds for seconds, _ in runs):.4f}",
                "status": runs[0][1],
            }
            print(*row.values(), flush=True)
            rows.append(row)
    return rows


def search(instance: Any, choice: Any) -> tuple[float, str]:
    """Processor seconds of one search, and how it ended."""
    tables = build_tables(instance)
    monitor = Monitor()
    began = time.process_time()
    ExactSolver().run(instance, tables, SolveOptions(segments=choice), monitor)
    seconds = time.process_time() - began
    if monitor.objective is None:
        return seconds, "infeasible"
    assert monitor.bound == monitor.objective
    return seconds, "optimal"


def slope(points: list[tuple[float, float]]) -> float:
    """Exponent between the first and the last point on logarithmic axes."""
    (x0, y0), (x1, y1) = points[0], points[-1]
    return log(y1 / y0) / log(x1 / x0)


def draw(rows: list[Row], path: Path) -> None:
    """Write the figure."""
    figure, axes = new_figure(1, 2, width=9, height=3.8)
    axes[1].sharey(axes[0])
    axes[1].tick_params(labelleft=False)
    panels = (
        (axes[0], BY_LAYERS, "layers", "ResNet-18 to 152, 64 chiplets", {"single": 2, "free": 3}),
        (axes[1], BY_CHIPLETS, "chiplets", "ResNet-50", {"single": 1, "free": 1}),
    )
    styles = {"single": (COLORS[0], "o"), "free": (COLORS[1], "s")}
    for axis, wanted, key, title, theory in panels:
        for choice, (color, marker) in styles.items():
            points = sorted(
                (float(row[key]), float(row["seconds"]), row["status"])
                for row in rows
                if row["segments"] == choice and (row["network"], int(row["chiplets"])) in wanted
            )
            line = [(x, y) for x, y, status in points if status == "optimal"]
            label = {"single": "one segment", "free": "free segments"}[choice]
            label += f" (measured exponent {slope(line):.1f})"
            axis.plot(*zip(*line, strict=True), color=color, marker=marker, label=label)
            none = [(x, y) for x, y, status in points if status != "optimal"]
            if none:
                axis.plot(
                    *zip(*none, strict=True),
                    color=color,
                    marker=marker,
                    linestyle="none",
                    markerfacecolor="none",
                    label="proved infeasible",
                )
            x0, y0 = line[0]
            x1 = line[-1][0]
            power = theory[choice]
            axis.plot(
                [x0, x1],
                [y0, y0 * (x1 / x0) ** power],
                color=color,
                linestyle=":",
                linewidth=1.2,
                label=f"section 9, given K: slope {power}",
            )
        ticks = sorted(
            {float(row[key]) for row in rows if (row["network"], int(row["chiplets"])) in wanted}
        )
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.minorticks_off()
        axis.set_xlabel(key)
        axis.set_title(title, fontsize=10)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7.5, frameon=False)
    axes[0].set_ylabel("processor seconds to the proof")
    save_figure(figure, path)


def main() -> None:
    """Measure unless told otherwise, and draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--draw", action="store_true", help="only draw from the CSV file")
    parser.add_argument("--output", type=Path, default=HERE / "exact-growth.svg", help="figure")
    arguments = parser.parse_args()
    if not arguments.draw:
        rows = measure()
        with CSV.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    with CSV.open(newline="") as file:
        draw(list(csv.DictReader(file)), arguments.output)


if __name__ == "__main__":
    main()
