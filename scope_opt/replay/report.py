"""A schedule replayed in both modes and compared with the evaluator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from scope_opt.cost.build import build_tables
from scope_opt.model.files import Document
from scope_opt.model.network import Count, Index
from scope_opt.replay.engine import Mode, SegmentTimes, simulate
from scope_opt.replay.stages import pipelines
from scope_opt.schedule.evaluate import evaluate
from scope_opt.schedule.preflight import refuse_power
from scope_opt.schedule.schedule import InstanceReference, Schedule

if TYPE_CHECKING:
    from collections.abc import Callable

    from scope_opt.model.instance import Instance
    from scope_opt.replay.engine import Slice
    from scope_opt.replay.stages import Pipeline
    from scope_opt.schedule.evaluation import Evaluation


class InvalidSchedule(Exception):
    """A schedule that breaks a rule cannot be replayed; carries the evaluation that says which."""

    def __init__(self, evaluation: Evaluation) -> None:
        self.evaluation = evaluation
        super().__init__("; ".join(map(str, evaluation.violations)))


class ReplayedStage(Document):
    """How a cluster spent the time of its segment after loading; the times sum up to it."""

    first_layer: Index
    last_layer: Index
    chiplets: Count
    sample_ps: Index
    """Work for one sample."""
    busy_ps: Index
    input_ps: Index
    """Waiting for a sample."""
    room_ps: Index
    """Blocked: no room for its output, because a later stage has not taken what is there."""
    dram_ps: Index
    """Waiting for the shared DRAM; only first stages do."""
    power_ps: Index
    """Waiting for the power budget; only first stages do."""
    beat_ps: Index
    """Waiting for the end of the beat; in lockstep only."""
    links_ps: Index = 0
    """What its samples took longer because mesh links were shared; not in lockstep."""
    drained_ps: Index
    """After its last sample."""


class ReplayedLink(Document):
    """A directed link of the mesh, by row and column of the chiplets that it joins."""

    source: tuple[Index, Index]
    target: tuple[Index, Index]
    sample_ps: Index
    """How long it is busy with the transfers of one sample."""


class ReplayedSegment(Document):
    """A segment; it loads weights, then runs."""

    keep_nulls: ClassVar[bool] = True

    first_layer: Index
    last_layer: Index
    load_ps: Index
    run_ps: Index
    busiest_link: ReplayedLink | None = None
    """None where links are not shared or carry nothing."""
    stages: tuple[ReplayedStage, ...]


class Replay(Document):
    """Outcome of a replay, in both modes; ``mode`` is the one that events and segments are of."""

    keep_nulls: ClassVar[bool] = True

    format: Literal["scope-replay/1"] = "scope-replay/1"
    instance: InstanceReference
    mode: Mode
    buffers: Count
    """Samples that fit between a stage and the next one."""
    evaluator_ps: Index
    """Latency that the evaluator computes."""
    lockstep_ps: Index
    asynchronous_ps: Index
    difference: Annotated[float, Field(ge=-1)] | None
    """Asynchronous compared with lockstep: -0.02 is 2 % less; None where lockstep takes no time."""
    events: Index
    segments: tuple[ReplayedSegment, ...]

    @property
    def agrees(self) -> bool:
        """Whether lockstep took what the evaluator says."""
        return self.lockstep_ps == self.evaluator_ps


def replay(
    instance: Instance,
    schedule: Schedule,
    mode: Mode = "asynchronous",
    buffers: int = 2,
    record: Callable[[Slice], None] | None = None,
    on_progress: Callable[[str, float], None] | None = None,
) -> Replay:
    """Replay a schedule in both modes; for the parameters see `scope_opt.replay.engine.simulate`.

    Parameters
    ----------
    mode : Mode
        The mode to record and to report in detail.

    Raises
    ------
    InvalidSchedule
        If the evaluator finds a rule broken.
    InputError
        If there is too much to replay.
    """
    instance = schedule.ordered(instance)
    tables = build_tables(instance)
    refuse_power(instance, tables)
    evaluation = evaluate(instance, schedule, tables)
    if evaluation.objective_ps is None:
        raise InvalidSchedule(evaluation)
    work = pipelines(instance, schedule, tables)
    modes: tuple[Mode, ...] = ("lockstep", "asynchronous")
    found = {
        each: simulate(
            work, instance.samples, each, buffers, record if each == mode else None, on_progress
        )
        for each in modes
    }
    lockstep_ps, asynchronous_ps = (found[each].latency_ps for each in modes)
    return Replay(
        instance=InstanceReference.to(instance),
        mode=mode,
        buffers=buffers,
        evaluator_ps=evaluation.objective_ps,
        lockstep_ps=lockstep_ps,
        asynchronous_ps=asynchronous_ps,
        difference=(asynchronous_ps - lockstep_ps) / lockstep_ps if lockstep_ps else None,
        events=found[mode].events,
        segments=tuple(map(_segment, work, found[mode].segments)),
    )


def _segment(pipeline: Pipeline, times: SegmentTimes) -> ReplayedSegment:
    stages = [
        ReplayedStage(
            first_layer=stage.first_layer,
            last_layer=stage.last_layer,
            chiplets=stage.chiplets,
            sample_ps=stage.sample_ps,
            busy_ps=spent.busy_ps,
            input_ps=spent.waits_ps.get("input", 0),
            room_ps=spent.waits_ps.get("room", 0),
            dram_ps=spent.waits_ps.get("dram", 0),
            power_ps=spent.waits_ps.get("power", 0),
            beat_ps=spent.waits_ps.get("beat", 0),
            links_ps=spent.waits_ps.get("links", 0),
            drained_ps=spent.drained_ps,
        )
        for stage, spent in zip(pipeline.stages, times.stages, strict=True)
    ]
    link, busiest = pipeline.busiest_link, None
    if link is not None:
        busiest = ReplayedLink(source=link.source, target=link.target, sample_ps=pipeline.link_ps)
    return ReplayedSegment(
        first_layer=stages[0].first_layer,
        last_layer=stages[-1].last_layer,
        load_ps=times.load_ps,
        run_ps=times.run_ps,
        busiest_link=busiest,
        stages=tuple(stages),
    )
