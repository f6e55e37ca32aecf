"""Page of what somebody who designs a heuristic should take from the studies."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property, partial
from statistics import median
from typing import TYPE_CHECKING

from scope_opt.model.package import order_name
from scope_opt.model.zoo import PAPER_CHIPLETS
from scope_opt.report.markdown import Article, bullets, fixed, table
from scope_opt.report.results.as_placed import schedules_as_placed
from scope_opt.report.results.orders import ZIGZAG, load_solved, zigzag_over_best
from scope_opt.report.results.records import (
    MODELS,
    PAPER_INSTANCES,
    has_run,
    placed_instance,
    ratio,
    records_of,
)
from scope_opt.report.results.validation import DECISIONS, load_validations, losses_of, of_model
from scope_opt.schedule.evaluate import evaluate
from scope_opt.solving.result import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from scope_opt.solving.result import Result

SCHEMES = ("sequential", "pipeline", "segmented", "scope")
CROWDED = 0.9
"""Part of the beat for which the busiest link is loaded, from which on links decide."""


@dataclass(frozen=True)
class _Case:
    """An instance in one model, with a schedule of `exact`."""

    name: str
    """Of the instance in the regressed model."""
    exact: Result
    latencies: dict[str, int]
    """Of all labels of the study that have a schedule."""

    @property
    def chiplets(self) -> int:
        """Of the package."""
        return int(self.name.rsplit("-", 1)[1])

    @property
    def proved(self) -> bool:
        """Whether the schedule of `exact` is proved optimal."""
        return self.exact.status is Status.OPTIMAL

    def over(self, label: str, other: str) -> float | None:
        """Latency of one label over that of another."""
        return ratio(self.latencies.get(label), self.latencies.get(other))

    @property
    def winner(self) -> str:
        """The fastest scheme as the paper's search finds them; of several the first."""
        found = [label for label in SCHEMES if label in self.latencies]
        return min(found, key=self.latencies.__getitem__, default="none")

    @cached_property
    def links_decide(self) -> bool:
        """Whether a shared link of the placed instance sets a beat, or nearly does."""
        assert self.exact.schedule is not None
        return any(
            segment.link_beat_ps >= CROWDED * segment.beat_ps
            for segment in evaluate(placed_instance(self.name), self.exact.schedule).segments
        )


def page() -> Article:
    """The page."""
    regressed, placed = _cases(("optima",), ""), _cases(("placed", "gaps"), "-placed")
    return Article(
        "What a heuristic designer should take from this",
        [
            "Computed from the records of [`optima`](../optima), [`placed`](../placed), [`gaps`](../gaps), "
            "[`orders`](../orders) and [`validation`](../validation). *regressed*: transfers cost "
            "what regions of their sizes take in the mean, as in the paper; *placed*: what they take "
            "where the regions lie, with shared links ([docs/model.md](../../docs/model.md)). "
            "Reproduce with `python -m scope_opt.report.results takeaways`.",
            table(["", "regressed", "placed"], _both(regressed, placed)),
            "*Gap*: latency above the best schedule of `exact`, which is the proved optimum where one "
            "is proved; of `anneal` that of the first seed. The schemes are those of the paper's "
            "search with balanced segments; of equally fast ones the simplest counts. *Merging*: the segmented pipeline (one layer per cluster) over `scope`, or "
            "over `exact`, which may merge layers into clusters; above 1 merging pays. Where links leave an "
            "optimum open ([`placed`](../placed)) the best schedule stands for it.",
            "## What follows",
            bullets([*_decisions(), *_places(placed), *_links(placed), *_orders()]),
            "## By the size of the package, placed",
            "*gap*: of `scope`, median and largest, per cent. *merging*: median by the paper's "
            "search. *links decide*: instances whose best schedule has a segment with the busiest "
            f"link loaded for {CROWDED} of the beat or more.",
            table(
                ["chiplets", "instances", "gap", "largest", "merging", "links decide"],
                [_size_row(chiplets, placed) for chiplets in PAPER_CHIPLETS],
            ),
        ],
    )


def _cases(studies: tuple[str, ...], suffix: str) -> list[_Case]:
    """Instances of the first study that `exact` has a schedule of; the others add further labels."""
    sources = [records_of(study) for study in studies if has_run(study)]
    found = []
    for name in PAPER_INSTANCES:
        exact = next((records.result(name + suffix, "exact") for records in sources[:1]), None)
        if exact is not None and exact.schedule is not None:
            known = {
                label: value
                for records in reversed(sources)
                for label in records.labels
                if (value := records.objective(name + suffix, label)) is not None
            }
            found.append(_Case(name, exact, known))
    return found


def _both(regressed: list[_Case], placed: list[_Case]) -> list[list[str]]:
    def row(title: str, cell: Callable[[list[_Case]], str]) -> list[str]:
        return [title, cell(regressed), cell(placed)]

    def excess(label: str, cases: list[_Case]) -> str:
        over = [100 * (value - 1) for value in _over(cases, label, "exact")]
        return f"{median(over):.1f}, {max(over):.1f}" if over else "-"

    def merging(single: str, merged: str, cases: list[_Case]) -> str:
        over = _over(cases, single, merged)
        if not over:
            return "-"
        slower = sum(value < 1 for value in over)
        return f"{median(over):.2f}, {max(over):.2f}; {slower} of {len(over)}"

    return [
        row("instances, proved optimal", lambda c: f"{len(c)}, {sum(case.proved for case in c)}"),
        *(
            row(f"gap of `{label}`, median and largest, %", partial(excess, label))
            for label in ("scope", "segmented", "anneal")
        ),
        row(
            "merging by search: median, largest; slower in",
            partial(merging, "segmented", "scope"),
        ),
        row(
            "merging between optima: median, largest; slower in",
            partial(merging, "exact-segmented", "exact"),
        ),
        row(
            "fastest scheme by search",
            lambda c: ", ".join(
                f"{label} {count}" for label, count in Counter(x.winner for x in c).most_common()
            ),
        ),
    ]


def _over(cases: list[_Case], label: str, other: str) -> list[float]:
    found = (case.over(label, other) for case in cases)
    return [value for value in found if value is not None]


def _decisions() -> list[str]:
    """Which decision of the paper's search loses most."""
    known, lines = load_validations(), []
    for model in MODELS:
        every = list(losses_of(of_model(known, model)).values())
        if not every:
            continue
        largest = Counter(
            max(DECISIONS, key=lambda decision: getattr(losses, decision))
            for losses in every
            if any(getattr(losses, decision) > 0 for decision in DECISIONS)
        )
        worst = {x: max(getattr(losses, x) for losses in every) for x in DECISIONS}
        counted = ", ".join(f"{decision} in {count}" for decision, count in largest.most_common())
        most = ", ".join(f"{decision} {100 * value:.1f} %" for decision, value in worst.items())
        lines.append(
            f"**What loses, {model.name}.** Of the decisions of `scope`, the one that loses most is {counted} of "
            f"{len(every)} instances with an attribution; the largest losses: {most}."
        )
    return lines


def _places(placed: list[_Case]) -> list[str]:
    """What the regressed optimum is worth where its regions lie."""
    there = {case.name: schedules_as_placed(case.name).get("exact") for case in placed}
    pairs = [(case, own) for case in placed if (own := there[case.name]) is not None]
    if not pairs:
        return []
    over = {case.name: own.shared_ps / case.latencies["exact"] for case, own in pairs}
    beaten = sum(
        any(case.latencies.get(label, own.shared_ps) < own.shared_ps for label in SCHEMES)
        for case, own in pairs
    )
    worst = max(over, key=over.__getitem__)
    return [
        "**Search with places.** Where its regions lie, the regressed optimum takes "
        f"{median(over.values()):.2f} times as long as the placed best schedule in the median, "
        f"{over[worst]:.2f} times at worst ({worst}). In {beaten} of {len(pairs)} instances a plain "
        "scheme searched with places overtakes it."
    ]


def _links(placed: list[_Case]) -> list[str]:
    deciding = [case for case in placed if case.links_decide]
    if not placed:
        return []
    by_network = Counter(case.name.rsplit("-", 1)[0] for case in deciding)
    names = ", ".join(f"{name} {count}" for name, count in by_network.most_common())
    return [
        f"**Links.** They decide in {len(deciding)} of {len(placed)} best schedules"
        + (f" ({names})" if names else "")
        + f": the busiest link of some segment is loaded for {CROWDED} of its beat or more."
    ]


def _orders() -> list[str]:
    if not has_run("orders"):
        return []
    solved = load_solved()
    found = {name: solved[name] for name in PAPER_INSTANCES if name in solved}
    wins = Counter(
        order_name(result.schedule.order)
        for result in found.values()
        if result.schedule is not None and result.schedule.order is not None
    )
    over = {name: zigzag_over_best(result) for name, result in found.items()}
    gains = {name: value - 1 for name, value in over.items() if value is not None}
    if not gains:
        return []
    best = max(gains, key=gains.__getitem__)
    counted = ", ".join(f"{name} {count}" for name, count in wins.most_common())
    others = sum(wins.values()) - wins[ZIGZAG]
    return [
        f"**Order of positions.** Best: {counted}. Another order than ZigZag wins in {others} of "
        f"{len(found)} instances, by {100 * gains[best]:.1f} % at most ({best})."
    ]


def _size_row(chiplets: int, placed: list[_Case]) -> list[str]:
    cases = [case for case in placed if case.chiplets == chiplets]
    gaps = [100 * (value - 1) for value in _over(cases, "scope", "exact")]
    merging = _over(cases, "segmented", "scope")
    return [
        str(chiplets),
        str(len(cases)),
        fixed(median(gaps) if gaps else None, ".1f"),
        fixed(max(gaps, default=None), ".1f"),
        fixed(median(merging) if merging else None),
        str(sum(case.links_decide for case in cases)),
    ]
