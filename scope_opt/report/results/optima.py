"""Page of the study `optima`: the four schemes, heuristic and optimal."""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

from scope_opt.model.generate import TITLES
from scope_opt.model.zoo import PAPER_CHIPLETS
from scope_opt.report.drawing import COLORS, new_figure
from scope_opt.report.markdown import Article, Picture, bullets, fixed, table
from scope_opt.report.results.records import PAPER_INSTANCES, milliseconds, ratio, records_of
from scope_opt.solving.result import Status

if TYPE_CHECKING:
    from scope_opt.report.page import Table
    from scope_opt.report.results.records import Records

HEURISTICS = ("sequential", "pipeline", "segmented", "scope")
EXACT = ("exact-sequential", "exact-pipeline", "exact-segmented", "exact")


def page() -> Article:
    """The page."""
    records = records_of("optima")
    names = [name for name in PAPER_INSTANCES if _complete(records, name)]
    proved = [name for name in names if _proved(records, name)]
    gaps = sorted(_gap(records, name, "scope") for name in proved)
    annealed = sorted(_annealed(records, name)[1] for name in proved)
    seconds = sum(_seconds(records, name, "exact") for name in names)
    gains = {name: _gain(records, name, HEURISTICS) for name in names}
    fair = {name: _gain(records, name, EXACT) for name in names}
    best, best_fair = max(gains, key=gains.__getitem__), max(fair, key=fair.__getitem__)
    slowest = max(names, key=lambda name: _seconds(records, name, "scope"))
    return Article(
        "The paper's networks: four schemes, heuristic and optimal",
        [
            f"{len(names)} instances: eight networks on 16 to 256 chiplets, 64 samples (Fig. 7 of the "
            "paper). Each scheme is run with the paper's search (balanced segments) and exactly (free "
            "segments, proved optimal).",
            records.origin(),
            bullets(
                [
                    f"Proved optimal: {len(proved)} of {len(names)} instances, {seconds:.0f} s together.",
                    f"`scope` is {100 * median(gaps):.1f} % above the optimum in the median, "
                    f"{100 * gaps[int(0.9 * (len(gaps) - 1))]:.1f} % at the 90th percentile, "
                    f"{100 * gaps[-1]:.1f} % at worst; `anneal` (median of its seeds) "
                    f"{100 * median(annealed):.1f} % in the median, {100 * annealed[-1]:.1f} % at worst.",
                    f"Largest gain of `scope` over the best baseline: {gains[best]:.2f}x ({best}); "
                    f"with every scheme at its optimum: {fair[best_fair]:.2f}x ({best_fair}).",
                    f"Longest search of `scope`: {_seconds(records, slowest, 'scope'):.1f} s ({slowest}).",
                ]
            ),
            Picture(
                "throughput.svg", "Throughput of the four schemes", partial(_draw, records, names)
            ),
            "Throughput over that of the proved optimum of all schemes; bars are the paper's search, "
            "marks the proved optimum of each scheme.",
            *_throughput(records, names, gains, fair),
            *_latencies(records, names),
        ],
    )


def _throughput(
    records: Records, names: list[str], gains: dict[str, float], fair: dict[str, float]
) -> list[str | Table]:
    rows = []
    for name in names:
        cells = []
        for heuristic, exact in zip(HEURISTICS, EXACT, strict=True):
            cells += [fixed(records.rate(name, label), ".0f") for label in (heuristic, exact)]
        rows.append([name, *cells, fixed(gains[name]), fixed(fair[name])])
    header = ["instance"]
    header += [cell for scheme in HEURISTICS[:-1] for cell in (scheme, "opt")]
    return [
        "## Throughput, samples per second",
        "`-` where the scheme has no valid schedule. *opt*: proved optimum of the scheme. *gain*: "
        "`scope` over the best baseline, both as the paper's search finds them; *fair*: the same "
        "with every scheme at its optimum.",
        table([*header, "scope", "optimum", "gain", "fair"], rows),
    ]


def _latencies(records: Records, names: list[str]) -> list[str | Table]:
    rows = []
    for name in names:
        cells = [milliseconds(records.objective(name, x)) for x in ("scope", "segmented", "exact")]
        cells.append(f"{_seconds(records, name, 'exact'):.2f}")
        cells.append(f"{100 * _gap(records, name, 'scope'):.1f}")
        cells.append(f"{_seconds(records, name, 'scope'):.2f}")
        least, middle, most = _annealed(records, name)
        cells.append(f"{100 * middle:.1f} ({100 * least:.1f} to {100 * most:.1f})")
        cells.append(f"{_seconds(records, name, 'anneal'):.1f}")
        counts = [str(records.segments(name, x)) for x in ("segmented", "scope", "exact")]
        rows.append([name, *cells, ", ".join(counts)])
    header = ["instance", "scope ms", "segmented ms", "optimum ms", "proof s", "gap %", "scope s"]
    header += ["anneal %", "anneal s", "segments (seg., scope, opt.)"]
    return [
        "## Latency, gap and time",
        "*gap*: latency of `scope` above the proved optimum, in per cent of the optimum "
        "([`validation`](../validation) says which decision loses it). *anneal*: the same for "
        "simulated annealing with its default number of moves, median and range of three seeds, and "
        "seconds of the first. Last column: numbers of segments of segmented pipeline, scope and "
        "optimum.",
        table(header, rows),
    ]


def _draw(records: Records, names: list[str]) -> Any:
    figure, axes = new_figure(2, 4, width=11, height=5)
    for axis, (network, title) in zip(axes.flat, TITLES.items(), strict=True):
        here = [c for c in PAPER_CHIPLETS if f"{network}-{c}" in names]
        for n, (heuristic, exact) in enumerate(zip(HEURISTICS, EXACT, strict=True)):
            at = [k + 0.2 * (n - 1.5) for k in range(len(here))]
            for label, draw in ((heuristic, True), (exact, False)):
                points = []
                for x, chiplets in zip(at, here, strict=True):
                    name = f"{network}-{chiplets}"
                    share = ratio(records.rate(name, label), records.rate(name, "exact"))
                    if share is not None:
                        points.append((x, share))
                xs, ys = zip(*points, strict=True) if points else ((), ())
                if draw:
                    axis.bar(xs, ys, width=0.18, color=COLORS[n], label=heuristic)
                else:
                    axis.plot(xs, ys, "_", color="black", markersize=6)
        axis.set_title(title)
        axis.set_xticks(range(len(here)), [str(c) for c in here])
        axis.set_ylim(0, 1.08)
        axis.grid(axis="y", alpha=0.3)
    for axis in axes[1]:
        axis.set_xlabel("chiplets")
    for axis in axes[:, 0]:
        axis.set_ylabel("throughput / optimum")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return figure


def _complete(records: Records, name: str) -> bool:
    return all(records.record(name, label) for label in (*HEURISTICS, *EXACT, "anneal"))


def _proved(records: Records, name: str) -> bool:
    result = records.result(name, "exact")
    return result is not None and result.status is Status.OPTIMAL


def _seconds(records: Records, name: str, label: str) -> float:
    result = records.result(name, label)
    return 0.0 if result is None else result.times_s.solve


def _excess(objective: int | None, optimum: int | None) -> float:
    assert objective is not None
    assert optimum is not None
    return (objective - optimum) / optimum


def _gap(records: Records, name: str, label: str) -> float:
    return _excess(records.objective(name, label), records.objective(name, "exact"))


def _annealed(records: Records, name: str) -> tuple[float, float, float]:
    """Least, median and largest gap over the seeds."""
    optimum = records.objective(name, "exact")
    results = [record.result for record in records.seeds(name, "anneal")]
    gaps = sorted(_excess(r.objective_ps, optimum) for r in results if r is not None)
    return gaps[0], median(gaps), gaps[-1]


def _gain(records: Records, name: str, labels: tuple[str, ...]) -> float:
    """Best baseline's latency over the merged pipeline's, the last of ``labels``."""
    *baselines, merged = [records.objective(name, label) for label in labels]
    gain = ratio(min(value for value in baselines if value is not None), merged)
    assert gain is not None
    return gain
