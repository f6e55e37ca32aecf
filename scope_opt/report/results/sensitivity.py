"""Page of the study `sensitivity`: how the gain depends on what the paper leaves open or fixes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scope_opt.report.markdown import Article, fixed, table
from scope_opt.report.results.records import ratio, records_of

if TYPE_CHECKING:
    from scope_opt.report.page import Table

LABELS = ("segmented", "scope", "exact-segmented", "exact")


def page() -> Article:
    """The page."""
    records = records_of("sensitivity")
    about = (
        "Throughput in samples per second when one parameter of the model changes: the number of "
        "samples in a batch, the bandwidth of the network on package per chiplet (100 GB/s in the "
        "paper), the weight buffers (1 MiB per chiplet) and whether PEs may be split over outputs "
        "or over channels only. *gain*: `scope` over `segmented`, the paper's search for both; "
        "*fair*: optimum of the merged over optimum of the segmented pipeline; *search*: optimum "
        "over `scope`. In brackets the number of segments."
    )
    tables: list[str | Table] = []
    gains, fair = [], []
    for name in records.instances:
        rows = []
        for variant in records.variants:
            rates = {label: records.rate(name, label, variant) for label in LABELS}
            cells = []
            for label in LABELS:
                count = records.segments(name, label, variant)
                cells.append("-" if count is None else f"{rates[label]:.0f} ({count})")
            pairs = (("scope", "segmented"), ("exact", "exact-segmented"), ("exact", "scope"))
            quotients = [ratio(rates[above], rates[below]) for above, below in pairs]
            gains += [quotients[0]] if quotients[0] is not None else []
            fair += [quotients[1]] if quotients[1] is not None else []
            rows.append([str(variant), *cells, *(fixed(each) for each in quotients)])
        header = ["variant", *LABELS, "gain", "fair", "search"]
        tables += [f"## {name}", table(header, rows)]
    spread = (
        f"Over all of these the gain lies between {min(gains):.2f}x and {max(gains):.2f}x with the "
        f"paper's search, and between {min(fair):.2f}x and {max(fair):.2f}x between proved optima."
    )
    return Article("Sensitivity of the gain", [about, spread, records.origin(), *tables])
