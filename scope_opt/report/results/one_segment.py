"""Page of the study `one-segment`: the placed networks as one pipeline, with shared links."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scope_opt.report.markdown import Article, bullets, fixed, table
from scope_opt.report.results.records import milliseconds, ratio, records_of
from scope_opt.solving.metrics import proof_text
from scope_opt.solving.result import Status

if TYPE_CHECKING:
    from scope_opt.solving.result import Result


def page() -> Article:
    """The page."""
    records = records_of("one-segment")
    found = {
        name: result
        for name in records.instances
        if (result := records.result(name, "exact")) is not None
    }
    infeasible = [name for name, result in found.items() if result.status is Status.INFEASIBLE]
    proved = [name for name, result in found.items() if result.status is Status.OPTIMAL]
    lines = [
        f"Proved, shared links included: {len(proved)} optima and {len(infeasible)} times that there "
        f"is no schedule, of {len(found)} instances.",
    ]
    if infeasible:
        lines.append(
            f"Weights do not fit the package at once: {', '.join(map(_short, infeasible))}."
        )
    free = records_of("placed")
    return Article(
        "One segment",
        [
            "Instances of `instances/placed` with up to 64 chiplets, the whole network as one "
            f"pipeline. {records.origin()}",
            bullets(lines),
            "*free*: latency over that of the best schedule in any number of segments "
            "([`placed`](../placed)). Latencies in ms, *s*: seconds of `exact`.",
            table(
                ("instance", "latency", "bound", "gap %", "free", "clusters", "s", "bound by"),
                [
                    _row(name, result, free.objective(name, "exact"))
                    for name, result in found.items()
                    if name not in infeasible
                ],
            ),
        ],
    )


def _row(name: str, result: Result, free_ps: int | None) -> list[str]:
    clusters = None if result.schedule is None else len(list(result.schedule.clusters))
    return [
        _short(name),
        milliseconds(result.objective_ps),
        milliseconds(result.bound_ps),
        fixed(None if result.gap is None else 100 * result.gap, ".1f"),
        fixed(ratio(result.objective_ps, free_ps)),
        "-" if clusters is None else str(clusters),
        fixed(result.times_s.total, ".1f"),
        proof_text(result) or "-",
    ]


def _short(name: str) -> str:
    return name.removesuffix("-placed")
