"""Page of the study `plus`: `scope-plus` on networks that it was not designed on."""

from __future__ import annotations

from statistics import median
from typing import NamedTuple

from scope_opt.report.markdown import Article, bullets, fixed, table
from scope_opt.report.results.records import milliseconds, records_of
from scope_opt.solving.metrics import proof_text

STUDY = "plus"
PAPER, PLUS, EXACT = "scope", "scope-plus", "exact"
GOAL_MEDIAN, GOAL_WORST = 0.02, 0.08
"""Gaps that `scope-plus` is to keep."""


class _Case(NamedTuple):
    """An instance that all solvers have been run on, latencies in ps."""

    name: str
    paper_ps: int | None
    plus_ps: int
    plus_s: float
    best_ps: int
    """Of all schedules of the study."""
    bound_ps: int
    by: str
    """Who proved the bound."""

    @property
    def gap(self) -> float:
        """`scope-plus` above the best schedule known."""
        return self.plus_ps / self.best_ps - 1

    @property
    def at_most(self) -> float:
        """The same above the lower bound: the gap to the optimum is no larger."""
        return self.plus_ps / self.bound_ps - 1

    @property
    def paper_gap(self) -> float | None:
        """`scope` above the best schedule known."""
        return None if self.paper_ps is None else self.paper_ps / self.best_ps - 1

    @property
    def proved(self) -> bool:
        """Whether the best schedule is the optimum."""
        return self.best_ps == self.bound_ps


def page() -> Article:
    """The page."""
    records = records_of(STUDY)
    cases = [case for name in records.instances if (case := _case(name)) is not None]
    return Article(
        "scope-plus on networks it was not designed on",
        [
            "`scope-plus` was made with the paper's networks at hand. Here it solves others: depthwise "
            "layers (MobileNetV2), concatenations (DenseNet-121), three scales (YOLOv3) and "
            "transformers, on the paper's package in both models; instances whose names do not say "
            "`placed` price transfers by the sizes of regions. `exact` has a minute for each.",
            records.origin(),
            bullets([_summary(cases), *_by_model(cases)]),
            "*gap*: latency above the best schedule of all three solvers, per cent; *at most*: above the "
            "lower bound, equal where the best is proved optimal. *scope*: gap of the paper's search, `-` "
            "where it has no schedule. Latencies of all samples in ms, *s*: seconds of `scope-plus`.",
            table(
                ("instance", "best", "bound", "scope", "gap", "at most", "s", "bound by"),
                [_row(case) for case in cases],
            ),
        ],
    )


def _case(name: str) -> _Case | None:
    records = records_of(STUDY)
    plus, exact = (records.result(name, label) for label in (PLUS, EXACT))
    if plus is None or exact is None or plus.objective_ps is None or exact.bound_ps is None:
        return None
    paper = records.objective(name, PAPER)
    known = (paper, plus.objective_ps, exact.objective_ps)
    return _Case(
        name,
        paper,
        plus.objective_ps,
        plus.times_s.total,
        min(value for value in known if value is not None),
        exact.bound_ps,
        proof_text(exact) or "-",
    )


def _summary(cases: list[_Case]) -> str:
    proved = sum(case.proved for case in cases)
    return (
        f"{_spread('`scope-plus`', [case.gap for case in cases])} on {len(cases)} instances, "
        f"{proved} of them proved; "
        f"{_spread('`scope`', [case.paper_gap for case in cases if case.paper_gap is not None])}. "
        f"The goal, a median below {100 * GOAL_MEDIAN:.0f} % and none above {100 * GOAL_WORST:.0f} %, is "
        f"{'met' if _met([case.gap for case in cases]) else 'missed'}, by the best schedules known."
    )


def _by_model(cases: list[_Case]) -> list[str]:
    models = {"placed": True, "regressed": False}
    lines = []
    for model, placed in models.items():
        own = [case for case in cases if case.name.endswith("-placed") == placed]
        if own:
            worst = max(own, key=lambda case: case.gap)
            lines.append(
                f"{model}: {_spread('gap', [case.gap for case in own])} ({worst.name}); against the "
                f"bounds at most {100 * max(case.at_most for case in own):.1f} %."
            )
    return lines


def _met(gaps: list[float]) -> bool:
    return median(gaps) < GOAL_MEDIAN and max(gaps) <= GOAL_WORST


def _spread(what: str, gaps: list[float]) -> str:
    return f"{what} {100 * median(gaps):.1f} % in the median, {100 * max(gaps):.1f} % at worst"


def _row(case: _Case) -> list[str]:
    gaps = (case.paper_gap, case.gap, case.at_most)
    return [
        case.name,
        milliseconds(case.best_ps),
        milliseconds(case.bound_ps),
        *(fixed(None if gap is None else 100 * gap, ".1f") for gap in gaps),
        fixed(case.plus_s, ".1f"),
        case.by,
    ]
