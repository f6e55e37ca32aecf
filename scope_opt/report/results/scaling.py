"""Page of the study `scaling`: one network on more and more chiplets (Fig. 9 of the paper)."""

from __future__ import annotations

from functools import partial
from math import log2
from typing import TYPE_CHECKING, Any

from scope_opt.model.zoo import PAPER_CHIPLETS
from scope_opt.report.drawing import COLORS, MARKERS, new_figure
from scope_opt.report.markdown import Article, Picture, fixed, table
from scope_opt.report.results.records import ratio, records_of

if TYPE_CHECKING:
    from scope_opt.report.results.records import Records

NETWORK = "resnet152"
SCHEMES = ("sequential", "segmented", "scope")
LABELS = (*SCHEMES, "exact-sequential", "exact-segmented", "exact")


def page() -> Article:
    """The page."""
    records = records_of("optima")
    names = {chiplets: f"{NETWORK}-{chiplets}" for chiplets in PAPER_CHIPLETS}
    rows, speedups = [], []
    for chiplets, name in names.items():
        rates = [records.rate(name, label) for label in LABELS]
        rows.append([str(chiplets), *(fixed(rate, ".0f") for rate in rates)])
        over = [
            ratio(records.rate(name, label), records.rate(names[16], label)) for label in LABELS
        ]
        speedups.append([str(chiplets), *(fixed(each) for each in over)])
    first, last = (records.rate(names[chiplets], "exact") for chiplets in (16, 256))
    assert first is not None
    assert last is not None
    header = ["chiplets", *LABELS]
    return Article(
        "ResNet-152 on 16 to 256 chiplets",
        [
            "How throughput grows with the package (Fig. 9 of the paper; the full pipeline is left out "
            "there as here, as it has no valid schedule on few chiplets). Records: "
            "[`optima`](../optima).",
            Picture("throughput.svg", "Throughput over chiplets", partial(_draw, records, names)),
            f"Sixteen times the chiplets make the optimum {last / first:.1f} times as fast, an exponent "
            f"of {log2(last / first) / 4:.2f} (1 would be ideal).",
            "## Samples per second",
            table(header, rows),
            "## Over the same scheme on 16 chiplets",
            table(header, speedups),
        ],
    )


def _draw(records: Records, names: dict[int, str]) -> Any:
    figure, axis = new_figure(width=6.5, height=3.8)
    for n, scheme in enumerate(SCHEMES):
        exact = "exact" if scheme == "scope" else f"exact-{scheme}"
        for label, style in ((scheme, "-"), (exact, ":")):
            rates = [records.rate(name, label) for name in names.values()]
            axis.plot(
                list(names), rates, style, color=COLORS[n], marker=MARKERS[n], label=label, ms=4
            )
    ideal = records.rate(names[16], "exact")
    assert ideal is not None
    axis.plot(
        list(names), [ideal * c / 16 for c in names], "--", color="gray", lw=0.8, label="ideal"
    )
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.set_xticks(list(names), [str(chiplets) for chiplets in names])
    axis.set_xlabel("chiplets")
    axis.set_ylabel("samples per second")
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=8)
    return figure
