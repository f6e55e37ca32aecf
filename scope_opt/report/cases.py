"""A schedule with everything a page says about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scope_opt.cost.build import build_tables
from scope_opt.schedule.evaluate import evaluate, link_loads

if TYPE_CHECKING:
    from scope_opt.model.instance import Instance
    from scope_opt.report.figure import Unit
    from scope_opt.schedule.evaluation import Evaluation, LinkReport, SegmentReport
    from scope_opt.schedule.schedule import Schedule
    from scope_opt.solving.result import Result


@dataclass(frozen=True)
class Case:
    """One schedule of one instance.

    ``label`` tells it from the others of its report, ``title`` from all others.
    """

    label: str
    title: str
    instance: Instance
    schedule: Schedule
    result: Result | None
    """What the solve said; None for a bare schedule."""
    evaluation: Evaluation
    layer_loads: tuple[int, ...]
    """Per layer: MACs, or for explicit tables picoseconds on one chiplet."""
    links: tuple[tuple[LinkReport, ...], ...] = ()
    """What every segment puts on every link; empty where transfers have no place."""

    @property
    def load_unit(self) -> Unit:
        """Unit of `load`."""
        return "s" if self.instance.network is None else "MAC"

    def load(self, first_layer: int, last_layer: int | None = None) -> float:
        """Load of a layer, or of several, in `load_unit`."""
        last_layer = first_layer if last_layer is None else last_layer
        total = sum(self.layer_loads[first_layer : last_layer + 1])
        return total / 10**12 if self.load_unit == "s" else total


def make_case(
    label: str, title: str, instance: Instance, schedule: Schedule, result: Result | None = None
) -> Case:
    """Evaluate a schedule for its page; raises `InputError` where a number overflows."""
    instance = schedule.ordered(instance)
    tables = build_tables(instance)
    evaluation = evaluate(instance, schedule, tables)
    loads = tuple(int(load) for load in tables.load)
    links = link_loads(instance, schedule, tables) if evaluation.segments else ()
    return Case(label, title, instance, schedule, result, evaluation, loads, links)


def phases_ps(samples: int, segment: SegmentReport) -> tuple[int, int, int]:
    """Fill, steady state and drain of a segment's pipeline.

    In between as many clusters are busy as there are samples or clusters, whichever is fewer.
    """
    ramp = min(samples, len(segment.clusters)) - 1
    beats = samples + len(segment.clusters) - 1
    return (ramp * segment.beat_ps, (beats - 2 * ramp) * segment.beat_ps, ramp * segment.beat_ps)
