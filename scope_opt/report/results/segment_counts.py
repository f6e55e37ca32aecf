"""Page of the study `segment-counts`: what the number of segments does (Fig. 1(b) of the paper)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from scope_opt.report.drawing import COLORS, MARKERS, new_figure
from scope_opt.report.markdown import Article, Picture, bullets, table
from scope_opt.report.results.records import MODELS, gain, rate_cell, records_of, span

if TYPE_CHECKING:
    from scope_opt.report.page import Table
    from scope_opt.report.results.records import Model, Records

STUDY = "segment-counts"
NETWORKS = {"resnet152-256": "ResNet-152 on 256 chiplets", "resnet50-128": "ResNet-50 on 128"}
"""Instances of the regressed model; the second one is solved exactly in both."""
SCHEMES = ("segmented", "scope", "exact-segmented", "exact")
CHOICES = {"balanced": "best of all balanced", "dp": "free cuts"}


class Counted(NamedTuple):
    """A network in a model."""

    network: str
    model: Model

    @property
    def title(self) -> str:
        """Headings."""
        return f"{NETWORKS[self.network]}, {self.model.name}"

    @property
    def name(self) -> str:
        """Of the instance."""
        return self.network + self.model.suffix

    def source(self, label: str) -> tuple[Records, str]:
        """Where a label's record is, and its name there.

        Proofs with a given number of segments are limited where they take long, and those with free
        cuts stand in the study of the model then.
        """
        own, limited = records_of(STUDY), f"{label}, limited"
        if own.rate(self.name, label) is not None:
            return own, label
        if own.rate(self.name, limited) is not None:
            return own, limited
        scheme, choice = label.split()
        return (records_of(self.model.study), scheme) if choice == "dp" else (own, label)

    def rate(self, label: str) -> float | None:
        """Samples per second."""
        records, name = self.source(label)
        return records.rate(self.name, name)

    def share(self, label: str) -> float | None:
        """By which share of its throughput the optimum may be faster, None if that is proved.

        No number of segments is faster than free cuts.
        """
        records, name = self.source(label)
        share, rate = records.open_share(self.name, name), records.rate(self.name, name)
        if not label.startswith("exact") or share is None or rate is None:
            return None
        free, scheme = records_of(self.model.study), label.split()[0]
        best = free.rate(self.name, scheme)
        if best is None:
            return share
        most = best * (1 + (free.open_share(self.name, scheme) or 0))
        return max(0.0, min(share, most / rate - 1))

    def cell(self, label: str) -> str:
        """The rate with what is open."""
        return rate_cell(self.rate(label), self.share(label))

    def gain(self, merged: str, single: str) -> tuple[float, float] | None:
        """Throughput of one label over another, as `gain` of records says."""
        labels = merged, single
        return gain([self.rate(label) for label in labels], [self.share(label) for label in labels])

    def chosen(self, label: str) -> str:
        """The number of segments of a label that chooses it."""
        records, name = self.source(label)
        return str(records.segments(self.name, name) or "-")


def page() -> Article:
    """The page."""
    records = records_of(STUDY)
    cases = [
        case
        for network in NETWORKS
        for model in MODELS
        if (case := Counted(network, model)).name in records.instances
    ]
    counts = sorted({int(label.split()[1]) for label in records.labels if label[-1].isdigit()})
    blocks: list[str | Table] = []
    for case in cases:
        rows = [
            *(_row(case, str(count), str(count)) for count in counts),
            *(_row(case, choice, title) for choice, title in CHOICES.items()),
        ]
        header = ["segments", *SCHEMES, "gain", "gain of optima"]
        blocks += [f"## {case.title}", table(header, rows), bullets(_verdict(case, counts))]
    return Article(
        "How many segments",
        [
            "Throughput of the segmented pipeline (one layer per cluster) and of Scope (merged layers) "
            "in a given number of segments (Fig. 1(b) of the paper), in both models. *segmented* and "
            "*scope*: the paper's search, segments balanced by MACs; *exact-segmented* and *exact*: the "
            "best schedules of the two schemes, cuts free. In brackets, by how many per cent of its "
            "throughput the optimum may still be faster where links or a limit of processor time leave it "
            "open, which is no more than what is known of free cuts; the gain of optima then lies between two numbers.",
            Picture("throughput.svg", "Throughput over segments", lambda: _draw(cases, counts)),
            *blocks,
        ],
    )


def _row(case: Counted, choice: str, title: str) -> list[str]:
    labels = [f"{scheme} {choice}" for scheme in SCHEMES]
    cells = [case.cell(label) for label in labels]
    if choice in CHOICES:
        cells = [
            cell if cell == "-" else f"{cell} at {case.chosen(label)}"
            for cell, label in zip(cells, labels, strict=True)
        ]
    searched, optimal = case.gain(labels[1], labels[0]), case.gain(labels[3], labels[2])
    return [title, *cells, span(searched), span(optimal)]


def _verdict(case: Counted, counts: list[int]) -> list[str]:
    pair = (
        "The paper compares 3 segments (segmented) with 2 (Scope) and reports 1.73x for ResNet-152; that pair "
        f"gives {span(case.gain('scope 2', 'segmented 3'))}x here with the paper's search"
    )
    balanced = f"{span(case.gain('scope balanced', 'segmented balanced'))}x with the paper's search"
    same = {
        count: gain
        for count in counts
        if (gain := case.gain(f"exact {count}", f"exact-segmented {count}")) is not None
    }
    if not same:
        searched = {
            count: gain
            for count in counts
            if (gain := case.gain(f"scope {count}", f"segmented {count}")) is not None
        }
        most = max(searched, key=searched.__getitem__)
        free = records_of(case.model.study).gain(case.name, "exact", "exact-segmented")
        return [
            f"With the paper's search merging pays most at {most} segments, {span(searched[most])}x. When both "
            f"choose freely the gain is {balanced} and {span(free)}x between optima "
            f"([`{case.model.study}`](../{case.model.study})).",
            f"{pair}.",
        ]
    most = max(same, key=same.__getitem__)
    optimal = case.gain("exact dp", "exact-segmented dp")
    return [
        f"At an equal number of segments merging pays most at {most}: {span(same[most])}x between optima.",
        "The segmented pipeline escapes by cutting more often. When both choose freely the gain is "
        f"{balanced} and {span(optimal)}x between optima (at {case.chosen('exact dp')} and "
        f"{case.chosen('exact-segmented dp')} segments).",
        f"{pair} and {span(case.gain('exact 2', 'exact-segmented 3'))}x at the optima.",
        f"The optimum of the merged pipeline is {span(case.gain('exact dp', 'segmented balanced'))}x the "
        f"segmented pipeline as the paper's search finds it, of which {span(optimal)}x come from merging, "
        f"the rest from optimizing.",
    ]


def _draw(cases: list[Counted], counts: list[int]) -> Any:
    rows = -(-len(cases) // 2)
    figure, axes = new_figure(rows, 2, width=9.5, height=3.2 * rows)
    for axis, case in zip(axes.flat, cases, strict=False):
        for n, scheme in enumerate(SCHEMES):
            rates = [(count, case.rate(f"{scheme} {count}")) for count in counts]
            points = [(count, rate) for count, rate in rates if rate is not None]
            if points:
                style = ":" if scheme.startswith("exact") else "-"
                xs, ys = zip(*points, strict=True)
                axis.plot(xs, ys, style, color=COLORS[n % 2], marker=MARKERS[n], ms=4, label=scheme)
        axis.set_title(case.title, fontsize=9)
        axis.set_xticks(counts)
        axis.set_xlabel("segments")
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    for line in axes:
        line[0].set_ylabel("samples per second")
    axes.flat[0].legend(frameon=False, fontsize=8)
    return figure
