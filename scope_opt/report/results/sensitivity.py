"""Pages of `sensitivity` and `sensitivity-placed`: what the gain depends on, in both models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scope_opt.report.markdown import Article, bullets, fixed, table
from scope_opt.report.results.records import ratio, records_of, span

if TYPE_CHECKING:
    from scope_opt.report.page import Table
    from scope_opt.report.results.records import Records

REGRESSED, PLACED = "sensitivity", "sensitivity-placed"
BASES = {REGRESSED: "as in the paper", PLACED: "as shipped"}
"""The variant that changes nothing, by study."""
LABELS = ("segmented", "scope", "scope-plus", "exact-segmented", "exact")
PAIRS = {
    "gain": ("scope", "segmented"),
    "fair": ("exact", "exact-segmented"),
    "search": ("exact", "scope"),
}
COLUMNS = (
    "*gain*: `scope` over `segmented`, the paper's search for both; *fair*: optimum of the merged over "
    "optimum of the segmented pipeline; *search*: optimum over `scope`. At the rates the number of segments."
)


def page() -> Article:
    """The page of the regressed model."""
    return _page(
        REGRESSED,
        "Sensitivity of the gain",
        "Throughput in samples per second when one parameter of the model changes: the number of "
        "samples in a batch, the bandwidth of the network on package per chiplet (100 GB/s in the "
        "paper), the weight buffers (1 MiB per chiplet) and whether PEs may be split over outputs "
        f"or over channels only. {COLUMNS}",
    )


def placed_page() -> Article:
    """The page of the placed model."""
    return _page(
        PLACED,
        "Sensitivity of the gain where regions lie",
        "As [`sensitivity`](../sensitivity), in the placed model, with what only matters there: the "
        "bandwidth of DRAM, which transfers to and from it share by beat (100 GB/s as shipped), the order of "
        "positions, how gathers are routed, whether links are shared, and memory for activations on a "
        f"chiplet, without limit as shipped. {COLUMNS} In brackets, by how many per cent of its "
        "throughput the optimum may still be faster where it is not proved; what is computed from it then "
        "lies between two numbers.",
    )


def _page(study: str, title: str, about: str) -> Article:
    records = records_of(study)
    labels = [label for label in LABELS if label in records.labels]
    tables: list[str | Table] = []
    for name in records.instances:
        rows = []
        for variant in _variants(records, study):
            cells = [_cell(records, name, label, variant) for label in labels]
            quotients = (records.gain(name, *pair, variant) for pair in PAIRS.values())
            rows.append([variant, *cells, *map(span, quotients)])
        tables += [f"## {name}", table(["variant", *labels, *PAIRS], rows)]
    return Article(
        title,
        [
            about,
            bullets(_lines(records, study)),
            records.origin(),
            "## What each change is worth",
            f"Throughput over that of the same solver {BASES[study]}.",
            table(
                (
                    "variant",
                    *(
                        f"{name}, {label}"
                        for name in records.instances
                        for label in PAIRS["search"]
                    ),
                ),
                _worth(records, study),
            ),
            *tables,
        ],
    )


def _variants(records: Records, study: str) -> list[str]:
    """The one that changes nothing first."""
    found = [variant for variant in records.variants if variant is not None]
    return sorted(found, key=lambda variant: variant != BASES[study])


def _cell(records: Records, name: str, label: str, variant: str) -> str:
    count = records.segments(name, label, variant)
    return "-" if count is None else f"{records.rate_cell(name, label, variant)} at {count}"


def _worth(records: Records, study: str) -> list[list[str]]:
    rows = []
    for variant in _variants(records, study)[1:]:
        over = [
            ratio(records.rate(name, label, variant), records.rate(name, label, BASES[study]))
            for name in records.instances
            for label in PAIRS["search"]
        ]
        rows.append([variant, *map(fixed, over)])
    return rows


def _lines(records: Records, study: str) -> list[str]:
    cases = [(name, variant) for name in records.instances for variant in _variants(records, study)]
    found = {
        column: {
            (name, variant): gain
            for name, variant in cases
            if (gain := records.gain(name, *pair, variant)) is not None
        }
        for column, pair in PAIRS.items()
    }
    lines = []
    for column, what in (("gain", "with the paper's search"), ("fair", "between optima")):
        least = min(found[column], key=lambda case: found[column][case][0])
        most = max(found[column], key=lambda case: found[column][case][1])
        lines.append(
            f"The gain of merging {what} lies between {found[column][least][0]:.2f}x ({', '.join(least)}) "
            f"and {found[column][most][1]:.2f}x ({', '.join(most)})."
        )
    behind = [case for case, (_, high) in found["gain"].items() if high < 1]
    lines.append(
        f"`scope` is behind `segmented` in {len(behind)} of {len(found['gain'])} cases"
        + (": " + "; ".join(", ".join(case) for case in behind) if behind else "")
        + "."
    )
    return lines
