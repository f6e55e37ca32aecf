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
    rows = [
        [label, *(cell for names in models.values() for cell in _cells(label, names, readings))]
        for label in records.labels
    ]
    columns = ("change", "gap", "largest", "best")
    header = ["reading", *(f"{model} {what}" for model in models for what in columns)]
    return Article(
        "Readings of the paper's search",
        [
            "The paper does not say how similar two clusters are, from which region a chiplet comes, or "
            "how a network is cut. `scope` is one reading "
            "([docs/model.md](../../docs/model.md#121-the-papers-search-scope-alg-1)); here are others, "
            "one choice at a time, then the most thorough ones together, and `scope-plus`, which takes "
            "each of these decisions by a recursion.",
            "*change*: latency against the default reading, median over the instances, less than 0 is "
            "faster. *gap*, *largest*: above the best schedule of `exact`, median and largest; all in "
            "per cent, over the instances with a record. *best*: how often no reading is faster "
            "(`scope-plus` is none).",
            _findings(models, readings),
            table(header, rows),
            records.origin(),
        ],
    )


def _findings(models: dict[str, list[str]], readings: list[str]) -> str:
    """The best reading, and what each choice is worth by itself, as bullets."""
    lines = []
    for model, names in models.items():
        gaps = {label: _gaps(label, names) for label in readings}
        best = min((label for label in readings if gaps[label]), key=lambda x: median(gaps[x]))
        single = [label for label in readings if "," not in label and label != DEFAULT]
        worth = sorted((median(_changes(label, names)), label) for label in single)
        lines += [
            f"- {model}: the best reading is *{best}*, {median(gaps[best]):.1f} % above the best "
            f"schedule of `exact` in the median; `scope` as it is by default {median(gaps[DEFAULT]):.1f} %. "
            "What each choice is worth by itself: "
            + ", ".join(f"{label} {change:+.1f} %" for change, label in worth)
            + "."
        ]
    return "\n".join(lines)


def _cells(label: str, names: list[str], readings: list[str]) -> list[str]:
    """What one reading is worth on the instances of a model."""
    records = records_of(STUDY)
    found = [name for name in names if records.objective(name, label) is not None]
    best = sum(records.objective(name, label) == _least(name, readings) for name in found)
    gaps = _gaps(label, names)
    return [
        _median(_changes(label, names)),
        _median(gaps),
        fixed(max(gaps, default=None), ".1f"),
        f"{best} of {len(found)}",
    ]


def _gaps(label: str, names: list[str]) -> list[float]:
    """Per cent above the best schedule of `exact`, where both have one."""
    records = records_of(STUDY)
    over = (ratio(records.objective(name, label), _optimum(name)) for name in names)
    return [100 * (value - 1) for value in over if value is not None]


def _changes(label: str, names: list[str]) -> list[float]:
    """Per cent of latency against the default reading, where both have a schedule."""
    records = records_of(STUDY)
    over = (
        ratio(records.objective(name, label), records.objective(name, DEFAULT)) for name in names
    )
    return [100 * (value - 1) for value in over if value is not None]


def _median(values: list[float]) -> str:
    return fixed(median(values) if values else None, ".2f")


def _optimum(name: str) -> int | None:
    """Latency in ps of the best schedule of `exact` in the instance's model."""
    return records_of("placed" if name.endswith("-placed") else "optima").objective(name, "exact")


def _least(name: str, readings: list[str]) -> int | None:
    """Least latency in ps that a reading finds; None if none finds a schedule."""
    records = records_of(STUDY)
    found = (records.objective(name, label) for label in readings)
    return min((value for value in found if value is not None), default=None)
