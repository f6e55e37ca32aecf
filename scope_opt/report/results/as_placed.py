"""Page of what schedules that were found without places take where their regions lie."""

from __future__ import annotations

from functools import cache
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from scope_opt.report.markdown import Article, bullets, fixed, table
from scope_opt.report.results.records import (
    PAPER_INSTANCES,
    milliseconds,
    paper_instance,
    placed_instance,
    records_of,
)
from scope_opt.schedule.evaluate import evaluate

if TYPE_CHECKING:
    from scope_opt.model.instance import Instance
    from scope_opt.schedule.evaluation import Evaluation
    from scope_opt.schedule.schedule import Schedule

LABELS = ("exact", "anneal", "scope", "segmented", "pipeline", "sequential")
"""Schedules of the study `optima` that are compared."""


class _Placed(NamedTuple):
    """A schedule of the regressed model where its regions lie."""

    claimed_ps: int
    apart_ps: int
    """Latency in the placed model if links are not shared."""
    shared_ps: int
    """The same with shared links."""
    busiest: float
    """How long the busiest link of any segment is loaded, over the claimed beat of that segment."""
    held_bytes: int
    """Activations on the fullest chiplet."""


def page() -> Article:
    """The page."""
    found = {name: schedules_as_placed(name) for name in PAPER_INSTANCES}
    found = {name: schedules for name, schedules in found.items() if "exact" in schedules}
    optima = {name: schedules["exact"] for name, schedules in found.items()}
    longer = {name: own.shared_ps / own.claimed_ps for name, own in optima.items()}
    worst = max(longer, key=longer.__getitem__)
    best = {name: _fastest(schedules) for name, schedules in found.items()}
    overtaken = [name for name, label in best.items() if label != "exact"]
    lost = {name: optima[name].shared_ps / found[name][best[name]].shared_ps for name in overtaken}
    crowded = sum(own.busiest > 1 for own in optima.values())
    lines = [
        f"The proved optimum takes {median(longer.values()):.2f} times as long in the median, "
        f"{longer[worst]:.2f} times at worst ({worst}).",
        f"In {crowded} of {len(optima)} optima a link is loaded for longer than the claimed beat.",
        f"In {len(overtaken)} of {len(optima)} instances another known schedule is then faster"
        + (f", by up to {100 * (1 - 1 / max(lost.values())):.0f} %." if lost else "."),
    ]
    return Article(
        "Schedules found without places, where their regions lie",
        [
            "The regressed model prices transfers by the sizes of regions. Here its schedules, those "
            "of the study [`optima`](../optima), are evaluated again in the placed model "
            "([docs/model.md](../../docs/model.md)), on the instances of `instances/placed`. Nothing "
            "is solved again.",
            "Reproduce with `python -m scope_opt.report.results as-placed`.",
            bullets(lines),
            "## The proved optima",
            "*claimed*: latency in the regressed model, ms. *places*: latency in the placed model "
            "over it if links were not shared, *links*: with shared links. *busiest link*: how long "
            "it is loaded for a sample over the claimed beat, worst segment. *held*: activations on "
            "the fullest chiplet, KiB.",
            table(
                ["instance", "claimed", "places", "links", "busiest link", "held"],
                [
                    [
                        name,
                        milliseconds(own.claimed_ps),
                        fixed(own.apart_ps / own.claimed_ps),
                        fixed(own.shared_ps / own.claimed_ps),
                        fixed(own.busiest),
                        fixed(own.held_bytes / 1024, ".0f"),
                    ]
                    for name, own in optima.items()
                ],
            ),
            "## Rankings",
            "Latency in the placed model with shared links over that of the fastest schedule known "
            "of the instance; 1 where it is the fastest. `-` where the solver has no schedule.",
            table(
                ["instance", *LABELS],
                [
                    [name, *(_over(schedules, label, best[name]) for label in LABELS)]
                    for name, schedules in found.items()
                ],
            ),
        ],
    )


@cache
def schedules_as_placed(name: str) -> dict[str, _Placed]:
    """What schedules of the study `optima` take; annealing by its first seed."""
    records, placed = records_of("optima"), placed_instance(name)
    found = {}
    for label in LABELS:
        result = records.result(name, label)
        if result is None or result.schedule is None or result.objective_ps is None:
            continue
        own = _placed(paper_instance(name), placed, result.schedule, result.objective_ps)
        if own is not None:
            found[label] = own
    return found


def _placed(
    regressed: Instance, placed: Instance, schedule: Schedule, claimed_ps: int
) -> _Placed | None:
    assert placed.package is not None
    nop = placed.package.nop.model_copy(update={"shared_links": False})
    package = placed.package.model_copy(update={"nop": nop})
    shared = evaluate(placed, schedule)
    apart = evaluate(placed.model_copy(update={"package": package}), schedule)
    claimed = evaluate(regressed, schedule)
    if shared.objective_ps is None or apart.objective_ps is None:
        return None
    return _Placed(
        claimed_ps,
        apart.objective_ps,
        shared.objective_ps,
        _busiest(claimed, shared),
        _held(shared),
    )


def _busiest(claimed: Evaluation, placed: Evaluation) -> float:
    return max(
        0.0 if own.busiest_link is None else own.busiest_link.time_ps / segment.beat_ps
        for segment, own in zip(claimed.segments, placed.segments, strict=True)
    )


def _held(evaluation: Evaluation) -> int:
    return max(
        cluster.activation_bytes or 0
        for segment in evaluation.segments
        for cluster in segment.clusters
    )


def _fastest(schedules: dict[str, _Placed]) -> str:
    return min(schedules, key=lambda label: schedules[label].shared_ps)


def _over(schedules: dict[str, _Placed], label: str, best: str) -> str:
    if label not in schedules:
        return "-"
    return fixed(schedules[label].shared_ps / schedules[best].shared_ps)
