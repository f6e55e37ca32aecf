"""Page of the study `placed`: the paper's networks where regions lie and links are shared."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING

from scope_opt.report.markdown import Article, bullets, fixed, table
from scope_opt.report.results.as_placed import schedules_as_placed
from scope_opt.report.results.rankings import STEPS, causes, rankings, turn_rows
from scope_opt.report.results.records import (
    PAPER_INSTANCES,
    milliseconds,
    placed_instance,
    ratio,
    records_of,
    span,
)
from scope_opt.schedule.evaluate import evaluate
from scope_opt.solving.metrics import proof_text
from scope_opt.solving.result import Status

if TYPE_CHECKING:
    from scope_opt.schedule.evaluation import Evaluation
    from scope_opt.solving.result import Result

SCHEMES = ("sequential", "pipeline", "segmented", "scope")
OPTIMA = ("exact-sequential", "exact-pipeline", "exact-segmented")
REGRESSED = "regressed optimum"


@dataclass(frozen=True)
class _Case:
    """What the study says of one instance that `exact` has a schedule of."""

    name: str
    """In the regressed model; the placed instance is named after it."""
    exact: Result
    regressed_ps: int | None
    """Latency of the regressed model's proved optimum where its regions lie."""

    @property
    def proved(self) -> bool:
        """Whether its optimum is proved, links included."""
        return self.exact.status is Status.OPTIMAL

    @property
    def latency_ps(self) -> int:
        """Latency of the best schedule of `exact`."""
        assert self.exact.objective_ps is not None
        return self.exact.objective_ps

    @cached_property
    def schemes(self) -> dict[str, int]:
        """Latencies as the paper's search finds them, of the schemes that have a schedule."""
        records = records_of("placed")
        found = {label: records.objective(f"{self.name}-placed", label) for label in SCHEMES}
        return {label: value for label, value in found.items() if value is not None}

    @property
    def gain(self) -> float | None:
        """The best baseline's latency over that of `scope`."""
        baselines = [value for label, value in self.schemes.items() if label != "scope"]
        return ratio(min(baselines, default=None), self.schemes.get("scope"))

    @property
    def place(self) -> int | None:
        """Place of the regressed optimum among the schedules of this model; 1: none is faster."""
        if self.regressed_ps is None:
            return None
        others = (self.latency_ps, *self.schemes.values())
        return 1 + sum(value < self.regressed_ps for value in others)


def page() -> Article:
    """The page."""
    records = records_of("placed")
    asked = [name for name in PAPER_INSTANCES if records.record(f"{name}-placed", "exact")]
    cases = [case for name in asked if (case := _case(name)) is not None]
    return Article(
        "The paper's networks where their regions lie",
        [
            f"{len(asked)} instances of `instances/placed`: transfers cost what they do between the "
            "places of the regions, and a beat lasts as long as its busiest link is loaded "
            "([docs/model.md](../../docs/model.md#17-the-placed-model)). Each scheme is run with the "
            "paper's search (balanced segments) and at its optimum, `exact` with free segments.",
            records.origin(),
            bullets(_lines(cases, len(asked))),
            "## What is proved",
            "*latency*: of the best schedule of `exact`, with shared links. *bound*: no schedule "
            "takes less; *gap* between the two, 0 where the optimum is proved with links. "
            "*bound by*: who proved it. *busiest link*: how long it is loaded for a sample, over the "
            "beat, worst segment. Latencies in ms, *s*: seconds of `exact`, tables included.",
            table(
                (
                    *("instance", "latency", "bound", "gap %", "busiest link", "s"),
                    *("segments", "clusters", "bound by"),
                ),
                [_proof_row(case) for case in cases],
            ),
            "## Schemes, and the regressed optimum",
            "Latency over that of `exact`, as the paper's search finds each scheme; `-` where it has "
            "no valid schedule. *gain*: the best baseline over `scope`. *regressed optimum*: the "
            "proved optimum of the regressed model ([`optima`](../optima)) where its regions lie, "
            "and its *place* among the schedules of this row: 1 if none is faster.",
            table(
                ["instance", *SCHEMES, "gain", REGRESSED, "place"],
                [_scheme_row(case) for case in cases],
            ),
            "## Schemes at their optimum",
            "Latency of the best schedule of each scheme over that of `exact`, cuts free; in brackets, by how "
            "many per cent of its throughput the scheme's optimum may still be faster, as links leave it open. "
            "*merging*: throughput of `exact` over `exact-segmented`, one layer per cluster; it lies between "
            "two numbers where one of them is open.",
            table(["instance", *OPTIMA, "merging"], [_optima_row(case) for case in cases]),
            "## Ranking of the schemes in both models",
            "From the fastest, as the paper's search finds each of them in that model; only where "
            "the two models disagree.",
            table(["instance", "regressed", "placed"], _rankings(cases), 3),
            "## What turns them",
            "Pairs of schemes that change places, but for those that are equally fast in one of the models. "
            "Latency of *then ahead*, which the regressed model ranks behind, over that of "
            "*then behind*. *regressed*: schedules and prices of that model; *places*: the same "
            "schedules where their regions lie, as if links were not shared; *links*: with shared "
            "links; *search*: what the search finds in the placed model. *turned by*: the step from "
            "which on the order is the other one.",
            table(
                ("instance", "then behind", "then ahead", *STEPS, "turned by"),
                [row for case in cases for row in turn_rows(case.name, case.schemes)],
                3,
            ),
            causes({case.name: case.schemes for case in cases}),
        ],
    )


def _case(name: str) -> _Case | None:
    exact = records_of("placed").result(f"{name}-placed", "exact")
    if exact is None or exact.schedule is None:
        return None
    other = schedules_as_placed(name).get("exact")
    return _Case(name, exact, None if other is None else other.shared_ps)


def _lines(cases: list[_Case], asked: int) -> list[str]:
    proved = [case for case in cases if case.proved]
    open_ = {case.name: case.exact.gap for case in cases if not case.proved}
    seconds = sum(case.exact.times_s.total for case in cases)
    lines = [
        f"Proved optimal, shared links included: {len(proved)} of {asked} instances; all "
        f"{len(cases)} solves took {seconds:.0f} s together."
    ]
    if open_:
        gaps = (f"{name} {_percent(gap)} %" for name, gap in open_.items())
        lines.append(f"Open between the best schedule and the bound: {', '.join(gaps)}.")
    over = sorted(
        case.schemes["scope"] / case.latency_ps for case in cases if "scope" in case.schemes
    )
    if over:
        lines.append(
            f"`scope` is {100 * (median(over) - 1):.1f} % above `exact` in the median, "
            f"{100 * (over[-1] - 1):.1f} % at worst."
        )
    gains = {case.name: case.gain for case in cases if case.gain is not None}
    if gains:
        best = max(gains, key=gains.__getitem__)
        lines.append(
            f"Largest gain of `scope` over the best baseline: {gains[best]:.2f}x ({best})."
        )
    longer = {case.name: case.regressed_ps / case.latency_ps for case in cases if case.regressed_ps}
    if longer:
        worst = max(longer, key=longer.__getitem__)
        beaten = [case for case in cases if (case.place or 0) > 2]
        lines.append(
            f"The regressed optimum takes {median(longer.values()):.2f} times as long in the median, "
            f"{longer[worst]:.2f} times at worst ({worst}). In {len(beaten)} of {len(longer)} instances a "
            "scheme of the paper's search is faster than it, too."
        )
    records = records_of("placed")
    merging = {
        case.name: gain
        for case in cases
        if (gain := records.gain(f"{case.name}-placed", "exact", "exact-segmented")) is not None
    }
    if merging:
        most = max(merging, key=lambda name: merging[name][0])
        low, high = (median(gain[end] for gain in merging.values()) for end in (0, 1))
        lines.append(
            f"Merging layers into clusters is worth {span((low, high))}x in the median between optima, "
            f"{span(merging[most])}x at most ({most})."
        )
    changed = len(_rankings(cases))
    lines.append(f"The schemes rank differently in the two models in {changed} instances.")
    return lines


def _proof_row(case: _Case) -> list[str]:
    schedule, bound_ps = case.exact.schedule, case.exact.bound_ps
    assert schedule is not None
    return [
        case.name,
        milliseconds(case.latency_ps),
        milliseconds(bound_ps),
        _percent(case.exact.gap),
        fixed(busiest_share(evaluate(placed_instance(case.name), schedule)) or 0.0),
        fixed(case.exact.times_s.total, ".1f"),
        str(len(schedule.segments)),
        str(len(list(schedule.clusters))),
        proof_text(case.exact) or "-",
    ]


def _scheme_row(case: _Case) -> list[str]:
    over = [ratio(case.schemes.get(label), case.latency_ps) for label in SCHEMES]
    return [
        case.name,
        *map(fixed, over),
        fixed(case.gain),
        fixed(ratio(case.regressed_ps, case.latency_ps)),
        "-" if case.place is None else str(case.place),
    ]


def _optima_row(case: _Case) -> list[str]:
    records, name = records_of("placed"), f"{case.name}-placed"
    cells = []
    for label in OPTIMA:
        share = records.open_share(name, label)
        cell = fixed(ratio(records.objective(name, label), case.latency_ps))
        cells.append(cell if share is None else f"{cell} (+{100 * share:.1f})")
    return [case.name, *cells, span(records.gain(name, "exact", "exact-segmented"))]


def _rankings(cases: list[_Case]) -> list[list[str]]:
    rows = []
    for case in cases:
        regressed, placed = rankings(case.name, case.schemes)
        if regressed != placed:
            rows.append([case.name, ", ".join(regressed), ", ".join(placed)])
    return rows


def busiest_share(evaluation: Evaluation) -> float | None:
    """Longest time of a link over its segment's beat; None where links are not known."""
    loads = [
        segment.busiest_link.time_ps / segment.beat_ps
        for segment in evaluation.segments
        if segment.busiest_link is not None
    ]
    return max(loads, default=None)


def _percent(share: float | None) -> str:
    return fixed(None if share is None else 100 * share, ".1f")
