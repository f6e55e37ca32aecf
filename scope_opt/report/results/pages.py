"""Which pages there are, and where each lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scope_opt.report.results import (
    alexnet_space,
    as_placed,
    case_study,
    certificates,
    gaps,
    one_segment,
    optima,
    orders,
    overview,
    placed,
    plus,
    reach,
    readings,
    relaxations,
    scale,
    scaling,
    segment_counts,
    sensitivity,
    takeaways,
    transformers,
    validation,
)
from scope_opt.report.results.records import RESULTS, has_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from scope_opt.report.markdown import Article

OVERVIEW = "overview"
_ALL: dict[str, Callable[[], Article]] = {
    "optima": optima.page,
    "scaling": scaling.page,
    "segment-counts": segment_counts.page,
    "case-study": case_study.page,
    "alexnet-space": alexnet_space.page,
    sensitivity.REGRESSED: sensitivity.page,
    sensitivity.PLACED: sensitivity.placed_page,
    "validation": validation.page,
    "readings": readings.page,
    "reach": reach.page,
    "gaps": gaps.page,
    "formulations": relaxations.page,
    "as-placed": as_placed.page,
    "placed": placed.page,
    "one-segment": one_segment.page,
    "orders": orders.page,
    "certificates": certificates.page,
    "transformers": transformers.page,
    "plus": plus.page,
    "scale": scale.page,
    "takeaways": takeaways.page,
    OVERVIEW: overview.page,
}
PAGES = {name: page for name, page in _ALL.items() if has_run(name)}
"""By the folder in ``results``; the overview is of all of them."""


def folder(name: str) -> Path:
    """Where its README.md and pictures lie."""
    return RESULTS if name == OVERVIEW else RESULTS / name
