"""Page of the case study: loads and energy of ResNet-152 on 256 chiplets (Fig. 10 of the paper)."""

from __future__ import annotations

from functools import partial
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, Any, NamedTuple

from scope_opt.report.drawing import COLORS, new_figure
from scope_opt.report.markdown import Article, Picture, bullets, fixed, table
from scope_opt.report.results.placed import busiest_share
from scope_opt.report.results.records import MODELS, instance_of, records_of
from scope_opt.schedule.evaluate import evaluate

if TYPE_CHECKING:
    from scope_opt.report.page import Table
    from scope_opt.report.results.records import Model
    from scope_opt.schedule.evaluation import ClusterReport, Evaluation

NAME = "resnet152-256"
PAIR = ("segmented 3", "scope 2")
"""What the paper looks at: its best schedules of the two schemes."""
SEARCHED = (*PAIR, "segmented balanced", "scope balanced")
"""Of the study `segment-counts`."""
OPTIMA = ("exact-segmented", "exact")
"""Of the study of all instances in a model."""


class Case(NamedTuple):
    """A schedule and what the evaluator says of it."""

    label: str
    evaluation: Evaluation

    @property
    def clusters(self) -> list[ClusterReport]:
        """All clusters, in layer order."""
        return [cluster for segment in self.evaluation.segments for cluster in segment.clusters]

    def busy(self) -> list[float]:
        """Share of its segment's beat that each cluster works."""
        return [
            cluster.time_ps / segment.beat_ps
            for segment in self.evaluation.segments
            for cluster in segment.clusters
        ]

    def loads(self) -> list[float]:
        """MACs per chiplet of each cluster over the mean of its segment."""
        found = []
        for segment in self.evaluation.segments:
            mean = sum(c.load for c in segment.clusters) / segment.chiplets
            found += [cluster.load / cluster.chiplets / mean for cluster in segment.clusters]
        return found


def page() -> Article:
    """The page."""
    blocks: list[str | Table | Picture] = []
    for model in MODELS:
        cases = cases_of(model)
        blocks += [
            f"## Balance, {model.name}",
            Picture(
                f"loads{model.suffix}.svg",
                f"Load per chiplet of every cluster, {model.name}",
                partial(_draw, cases),
            ),
            table(
                (
                    *("schedule", "latency ms", "segments", "clusters", "variation", "largest"),
                    *("busy %", "utilization %", "busiest link %"),
                ),
                [_balance_row(case) for case in cases],
            ),
            f"## Energy of 64 samples, mJ, {model.name}",
            table(
                ["schedule", "MAC", "SRAM", "NoP", "DRAM", "total"],
                [_energy_row(case) for case in cases],
            ),
        ]
    return Article(
        "Case study: ResNet-152 on 256 chiplets",
        [
            "Where the time goes when layers are merged (Fig. 10 of the paper), in both models. The first "
            "two schedules are the pair of the paper, three segments of single layers against two of "
            "merged ones; then both schemes with their best number of segments by the paper's search, "
            "and the best schedules of `exact-segmented` and `exact`, which cut freely. Records: "
            "[`segment-counts`](../segment-counts), [`optima`](../optima) and [`placed`](../placed), "
            "where it is said what is proved.",
            bullets([_verdict(model) for model in MODELS]),
            "Pictures: MACs per chiplet of each cluster over the mean of its segment, by layer: 1 is ideal "
            "balance. Dashed lines are ends of segments. *variation*: standard deviation over mean of the "
            "clusters' MACs per chiplet; *largest*: the most loaded over the mean of its segment; *busy*: "
            "mean share of the beat that clusters work; *utilization*: of all MAC units over the whole "
            "latency; *busiest link*: share of the beat that it is loaded for, worst segment, which the "
            "regressed model does not know.",
            *blocks,
        ],
    )


def cases_of(model: Model) -> list[Case]:
    """The schedules that are compared in a model, those that there are."""
    instance, name = instance_of(model, NAME), NAME + model.suffix
    results = {label: records_of("segment-counts").result(name, label) for label in SEARCHED}
    results |= {label: records_of(model.study).result(name, label) for label in OPTIMA}
    return [
        Case(label, evaluate(instance, result.schedule))
        for label, result in results.items()
        if result is not None and result.schedule is not None
    ]


def _balance_row(case: Case) -> list[str]:
    evaluation, loads = case.evaluation, case.loads()
    busiest = busiest_share(evaluation)
    return [
        case.label,
        fixed(1000 * (evaluation.latency_s or 0), ".3f"),
        str(len(evaluation.segments)),
        str(len(case.clusters)),
        fixed(pstdev(loads) / fmean(loads)),
        fixed(max(loads)),
        fixed(100 * fmean(case.busy()), ".0f"),
        fixed(100 * (evaluation.utilization or 0), ".1f"),
        fixed(None if busiest is None else 100 * busiest, ".0f"),
    ]


def _energy_row(case: Case) -> list[str]:
    energy = case.evaluation.energy
    assert energy is not None
    parts = (energy.mac_j, energy.sram_j, energy.nop_j, energy.dram_j, energy.total_j)
    return [case.label, *(fixed(1000 * part, ".1f") for part in parts)]


def _verdict(model: Model) -> str:
    by_label = {case.label: case.evaluation for case in cases_of(model)}
    single, merged = (by_label[label] for label in PAIR)
    assert single.energy is not None
    assert merged.energy is not None
    assert single.latency_s is not None
    assert merged.latency_s is not None
    return (
        f"{model.name.capitalize()}, the paper's pair: the merged schedule is "
        f"{single.latency_s / merged.latency_s:.2f} times as fast, takes "
        f"{merged.energy.total_j / single.energy.total_j:.2f} times the energy, "
        f"{merged.energy.nop_j / single.energy.nop_j:.2f} times for transfers on the package (the paper: 1.73 "
        "times as fast, equal energy)."
    )


def _draw(cases: list[Case]) -> Any:
    figure, axes = new_figure(len(cases), 1, width=9, height=1.5 * len(cases))
    for axis, case in zip(axes, cases, strict=True):
        xs: list[float] = []
        ys: list[float] = []
        for cluster, load in zip(case.clusters, case.loads(), strict=True):
            xs += [cluster.first_layer - 0.5, cluster.last_layer + 0.5]
            ys += [load, load]
        axis.fill_between(xs, ys, color=COLORS[0 if "segmented" in case.label else 1], alpha=0.7)
        axis.axhline(1, color="black", lw=0.8)
        for segment in case.evaluation.segments[1:]:
            axis.axvline(segment.first_layer - 0.5, color="black", ls="--", lw=0.8)
        axis.set_title(case.label, fontsize=9, loc="left")
        axis.set_xlim(-0.5, max(cluster.last_layer for cluster in case.clusters) + 0.5)
        axis.set_ylim(0, 3)
    axes[-1].set_xlabel("layer")
    figure.supylabel("load per chiplet / mean", fontsize=9)
    return figure
