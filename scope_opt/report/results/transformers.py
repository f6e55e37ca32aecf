"""Page of the study `transformers`: prompts and tokens of published transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scope_opt.report.markdown import Article, bullets, fixed, table
from scope_opt.report.results.records import has_run, milliseconds, ratio, records_of
from scope_opt.solving.metrics import proof_text
from scope_opt.solving.result import Status

if TYPE_CHECKING:
    from scope_opt.solving.result import Result

STUDY = "transformers"
HEURISTICS = ("segmented", "scope")


def names() -> list[str]:
    """Instances that `exact` has been run on."""
    if not has_run(STUDY):
        return []
    records = records_of(STUDY)
    return [name for name in records.instances if records.record(name, "exact")]


def page() -> Article:
    """The page."""
    records = records_of(STUDY)
    found = {
        name: result
        for name in names()
        if (result := records.result(name, "exact")) is not None and result.schedule is not None
    }
    proved = [name for name, result in found.items() if result.status is Status.OPTIMAL]
    lines = [f"Proved optimal: {len(proved)} of {len(found)}."]
    open_ = [
        f"{name} {_percent(result.gap)} %" for name, result in found.items() if name not in proved
    ]
    if open_:
        lines.append(f"Open, with their gaps: {', '.join(open_)}.")
    return Article(
        "Transformers",
        [
            "Instances of `instances/transformers`: encoders, and decoders that read a prompt or, "
            "behind cached tokens, write one more, on the paper's package. "
            f"{records.origin()}",
            bullets(lines),
            "Latencies of all samples in ms: *latency* of the best schedule of `exact`, no "
            "schedule takes less than *bound*; of the others how many times as long they take, `-` "
            "where they have none. *s*: seconds of `exact`.",
            table(
                (
                    *("instance", "latency", "bound", "gap %", *HEURISTICS),
                    *("segments", "clusters", "s", "bound by"),
                ),
                [_row(name, result) for name, result in found.items()],
            ),
        ],
    )


def _row(name: str, result: Result) -> list[str]:
    records, schedule = records_of(STUDY), result.schedule
    assert schedule is not None
    over = [ratio(records.objective(name, label), result.objective_ps) for label in HEURISTICS]
    return [
        name,
        milliseconds(result.objective_ps),
        milliseconds(result.bound_ps),
        _percent(result.gap),
        *map(fixed, over),
        str(len(schedule.segments)),
        str(len(list(schedule.clusters))),
        fixed(result.times_s.total, ".1f"),
        proof_text(result) or "-",
    ]


def _percent(share: float | None) -> str:
    return fixed(None if share is None else 100 * share, ".1f")
