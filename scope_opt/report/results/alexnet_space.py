"""Page of the study `alexnet-space`: every schedule of AlexNet on 16 chiplets (Fig. 8 of the paper)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from scope_opt.cost.build import build_tables
from scope_opt.report.drawing import COLORS, new_figure
from scope_opt.report.markdown import Article, Picture, fixed, table
from scope_opt.report.results.records import MODELS, instance_of, milliseconds, records_of
from scope_opt.search.census.distribution import distribution

if TYPE_CHECKING:
    from scope_opt.report.page import Table
    from scope_opt.report.results.records import Model
    from scope_opt.search.census.distribution import Distribution

BINS = 12
"""Of the distribution, to a bin of the figure."""
STUDY = "alexnet-space"
NAME, VARIANT = "alexnet-16", "stream"


def page() -> Article:
    """The page."""
    records = records_of(STUDY)
    blocks: list[str | Table | Picture] = []
    for model in MODELS:
        if NAME + model.suffix in records.instances:
            blocks += _blocks(model)
    solved = [model.name for model in MODELS if is_best(model)]
    return Article(
        "Every schedule of AlexNet on 16 chiplets",
        [
            "All schedules of one segment that use every chiplet (Fig. 8 and Eq. 9 of the paper), in both "
            "models. The weights of AlexNet exceed all buffers of the package, so those that do not fit are "
            "fetched again for every sample (`overflow` `stream`). Latencies are of 64 samples.",
            "The paper's search is among the top 0.05 % there. Here it finds the optimum in "
            f"{len(solved)} of the {len(MODELS)} models ({', '.join(solved)}): with weights streamed for every "
            "sample DRAM bounds every schedule, and the case says little about a search. [`validation`](../validation) has cases that do.",
            records.origin(),
            *blocks,
        ],
    )


def is_best(model: Model) -> bool:
    """Whether the paper's search finds the optimum of one segment."""
    records, name = records_of(STUDY), NAME + model.suffix
    searched = records.objective(name, "scope", VARIANT)
    return searched is not None and searched == records.objective(name, "exact", VARIANT)


def _blocks(model: Model) -> list[str | Table | Picture]:
    records, name = records_of(STUDY), NAME + model.suffix
    instance = instance_of(model, NAME).model_copy(update={"overflow": "stream"})
    found = {}
    for label in records.labels:
        result = records.result(name, label, VARIANT)
        if result is not None and result.schedule is not None:
            found[label] = result.schedule
    counted = distribution(instance, build_tables(instance), rank_of=tuple(found.values()))
    ranks = dict(zip(found, counted.ranks, strict=True))
    rows = []
    for label, rank in ranks.items():
        assert rank.better_share is not None
        rows.append(
            [
                label,
                milliseconds(rank.latency_ps),
                str(len(found[label].segments[0].clusters)),
                f"{rank.better:,}",
                fixed(100 * (rank.better + 1) / counted.valid, ".6f"),
                fixed(100 * (rank.better + 1) / counted.schedules, ".6f"),
            ]
        )
    marks = {label: rank.latency_ps for label, rank in ranks.items()}
    return [
        f"## {model.name.capitalize()}",
        f"{counted.schedules:,} schedules, of which {counted.valid:,} are valid.",
        Picture(
            f"distribution{model.suffix}.svg",
            f"Distribution of the latency, {model.name}",
            partial(_draw, counted, marks),
        ),
        table(
            (
                *("solver", "latency ms", "clusters", "schedules that are faster"),
                *("top % of the valid", "top % of all"),
            ),
            rows,
        ),
    ]


def _draw(counted: Distribution, marks: dict[str, int]) -> Any:
    figure, axis = new_figure(width=8, height=3.6)
    starts = range(0, len(counted.counts), BINS)
    counts = [sum(counted.counts[start : start + BINS]) for start in starts]
    edges = [counted.edges_ps[start] / 1e9 for start in starts] + [counted.edges_ps[-1] / 1e9]
    axis.stairs(counts, edges, fill=True, color="#9bb8d3")
    axis.set_yscale("log")
    axis.set_xscale("log")
    shown = list(dict.fromkeys(marks.values()))
    for n, latency in enumerate(shown):
        label = ", ".join(name for name, value in marks.items() if value == latency)
        axis.axvline(latency / 1e9, color=COLORS[n + 1], lw=1.2, label=label)
    axis.set_xticks((40, 60, 100, 200, 400, 700), ("40", "60", "100", "200", "400", "700"))
    axis.minorticks_off()
    axis.set_xlabel("latency of 64 samples, ms")
    axis.set_ylabel("schedules per bin")
    figure.legend(loc="outside upper left", ncols=2, frameon=False, fontsize=8)
    return figure
