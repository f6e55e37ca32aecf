"""Page of the study `readings`: the paper's search where its text leaves a choice."""

from __future__ import annotations

from statistics import median

from scope_opt.report.markdown import Article, fixed, table
from scope_opt.report.results.records import ratio, records_of

STUDY = "readings"
DEFAULT, BETTER = "scope", "scope-plus"


def page() -> Article:
    """The page."""
    records = records_of(STUDY)
    models = {
        "regressed": [name for name in records.instances if not name.endswith("-placed")],
        "placed": [name for name in records.instances if name.endswith("-placed")],
    }
    readings = [label for label in records.labels if label != BETTER]
    rows = []
    for label in records.labels:
        cells = [label]
        for names in models.values():
            changes = [
                100 * (found - 1)
                for name in names
                if (
                    found := ratio(records.objective(name, label), records.objective(name, DEFAULT))
                )
            ]
            least = {name: _least(name, readings) for name in names}
            best = sum(
                value is not None and records.objective(name, label) == value
                for name, value in least.items()
            )
            middle = median(changes) if changes else None
            cells += [
                fixed(middle, ".2f"),
                fixed(min(changes, default=None), ".2f"),
                fixed(max(changes, default=None), ".2f"),
                f"{best} of {len(names)}",
            ]
        rows.append(cells)
    header = [
        "reading",
        *(f"{model} {what}" for model in models for what in ("median", "least", "most", "best")),
    ]
    return Article(
        "Readings of the paper's search",
        [
            "The paper does not say how similar two clusters are, from which region a chiplet comes, or "
            "how a network is cut. `scope` is one reading "
            "([docs/model.md](../../docs/model.md#121-the-papers-search-scope-alg-1)); here are others, "
            "one choice at a time, then the most thorough ones together, and `scope-plus`, which takes "
            "each of these decisions by a recursion.",
            "Latency against the default reading in per cent, less than 0 is faster: in the median over "
            "the instances, at the least and at the most. *best*: how often no reading is faster "
            "(`scope-plus` is none).",
            table(header, rows),
            records.origin(),
        ],
    )


def _least(name: str, readings: list[str]) -> int | None:
    """Least latency in ps that a reading finds; None if none finds a schedule."""
    records = records_of(STUDY)
    found = (records.objective(name, label) for label in readings)
    return min((value for value in found if value is not None), default=None)
