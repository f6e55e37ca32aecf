"""Page of the case study: loads and energy of ResNet-152 on 256 chiplets (Fig. 10 of the paper)."""

from __future__ import annotations

from functools import partial
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, Any, NamedTuple

from scope_opt.report.drawing import COLORS, new_figure
from scope_opt.report.markdown import Article, Picture, fixed, table
from scope_opt.report.results.records import paper_instance, records_of
from scope_opt.schedule.evaluate import evaluate

if TYPE_CHECKING:
    from scope_opt.schedule.evaluation import ClusterReport, Evaluation

NAME = "resnet152-256"
LABELS = (
    *("segmented 3", "scope 2", "segmented balanced", "scope balanced"),
    *("exact-segmented dp", "exact dp"),
)
"""Of the study `segment-counts`; the first two are the pair that the paper looks at."""


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
    records = records_of("segment-counts")
    instance = paper_instance(NAME)
    cases = []
    for label in LABELS:
        result = records.result(NAME, label)
        if result is not None and result.schedule is not None:
            cases.append(Case(label, evaluate(instance, result.schedule)))
    rows, energies = [], []
    for case in cases:
        evaluation, loads = case.evaluation, case.loads()
        rows.append(
            [
                case.label,
                fixed(1000 * (evaluation.latency_s or 0), ".3f"),
                str(len(evaluation.segments)),
                str(len(case.clusters)),
                fixed(pstdev(loads) / fmean(loads)),
                fixed(max(loads)),
                fixed(100 * fmean(case.busy()), ".0f"),
                fixed(100 * (evaluation.utilization or 0), ".1f"),
            ]
        )
        energy = evaluation.energy
        assert energy is not None
        parts = (energy.mac_j, energy.sram_j, energy.nop_j, energy.dram_j, energy.total_j)
        energies.append([case.label, *(fixed(1000 * part, ".1f") for part in parts)])
    return Article(
        "Case study: ResNet-152 on 256 chiplets",
        [
            "Where the time goes when layers are merged (Fig. 10 of the paper). The first two schedules "
            "are the pair of the paper, three segments of single layers against two of merged ones; "
            "then both schemes with their best number of segments, by the paper's search and at the "
            "proved optimum. Records: [`segment-counts`](../segment-counts).",
            Picture("loads.svg", "Load per chiplet of every cluster", partial(_draw, cases)),
            "MACs per chiplet of each cluster over the mean of its segment, by layer: 1 is ideal "
            "balance. Dashed lines are ends of segments.",
            "## Balance",
            "*variation*: standard deviation over mean of the clusters' MACs per chiplet; *largest*: the "
            "most loaded over the mean of its segment; *busy*: mean share of the beat that clusters "
            "work; *utilization*: of all MAC units over the whole latency.",
            table(
                [
                    "schedule",
                    "latency ms",
                    "segments",
                    "clusters",
                    "variation",
                    "largest",
                    "busy %",
                    "utilization %",
                ],
                rows,
            ),
            "## Energy of 64 samples, mJ",
            table(["schedule", "MAC", "SRAM", "NoP", "DRAM", "total"], energies),
            _verdict(cases),
        ],
    )


def _verdict(cases: list[Case]) -> str:
    by_label = {case.label: case.evaluation for case in cases}
    pair = [by_label[label] for label in LABELS[:2]]
    assert pair[0].energy is not None
    assert pair[1].energy is not None
    assert pair[0].utilization is not None
    assert pair[1].utilization is not None
    energy = pair[1].energy.total_j / pair[0].energy.total_j
    used = pair[1].utilization / pair[0].utilization
    return (
        f"Of the paper's pair, the merged schedule takes {energy:.2f} times the energy and uses the "
        f"MAC units {used:.2f} times as well (the paper: equal energy, more utilization)."
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
