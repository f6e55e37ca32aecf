"""Event-driven replay of a schedule, sample by sample and layer by layer.

Two modes. In lockstep all stages of a segment move on together, which is what Eq. 2 of the paper
assumes; asynchronously a stage starts a sample as soon as its input, room for its output and the
shared DRAM are there, and transfers under way share the mesh's links. docs/replay.md defines both.
Times are integer picoseconds throughout.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

import simpy
from simpy.core import EmptySchedule

from scope_opt.model.files import InputError
from scope_opt.replay.sharing import SharedLinks

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from scope_opt.replay.stages import Channel, LayerWork, Pipeline, Stage
    from scope_opt.replay.transfers import Transfer

    Steps = Generator[simpy.Event, int]
    Timed = Generator[simpy.Event, int, int]

Mode = Literal["lockstep", "asynchronous"]
Wait = Literal["input", "room", "dram", "power", "beat", "links"]
Work = Literal["sample", "refetch", "layer", "preparation", "computation", "communication", "links"]
Kind = Literal["load", "dram"] | Work

MAX_LAYER_RUNS = 10**7
"""Layers x samples that a replay accepts: some minutes, with an event or more for each part."""


class Slice(NamedTuple):
    """Something that went on from ``start_ps`` to ``end_ps``; indices that do not apply are None.

    ``dram`` is the traffic of one sample in the shared DRAM, ``links`` the time by which a transfer
    is late because others use its links.
    """

    kind: Kind
    segment: int
    start_ps: int
    end_ps: int
    stage: int | None = None
    sample: int | None = None
    layer: int | None = None


@dataclass
class StageTimes:
    """How a stage spent its time, in ps; with ``drained_ps`` the time of its segment after loading.

    It works, waits, and after the last sample has nothing left to do. Waiting for links is what
    its samples take longer than they would with every link to themselves.
    """

    busy_ps: int = 0
    waits_ps: dict[Wait, int] = field(default_factory=dict)
    drained_ps: int = 0


class SegmentTimes(NamedTuple):
    """One segment of a replay."""

    load_ps: int
    run_ps: int
    """From the end of loading to the end of the segment."""
    stages: list[StageTimes]


class Timeline(NamedTuple):
    """Outcome of a replay."""

    latency_ps: int
    events: int
    segments: list[SegmentTimes]


def simulate(
    pipelines: Sequence[Pipeline],
    samples: int,
    mode: Mode,
    buffers: int = 2,
    record: Callable[[Slice], None] | None = None,
    on_progress: Callable[[str, float], None] | None = None,
) -> Timeline:
    """Replay segments one after the other.

    Parameters
    ----------
    pipelines : sequence of Pipeline
        Of a valid schedule.
    samples : int
        Number of samples ``m``.
    mode : Mode
        See docs/replay.md.
    buffers : int
        Samples that fit between a stage and the next one, at least 1; the lockstep mode needs 2
        and takes no notice of it.
    record : callable, optional
        Called with everything that goes on, a slice after the slices inside it.
    on_progress : callable, optional
        Called with what is going on and which share is done.

    Raises
    ------
    InputError
        If there is too much to replay.
    """
    if not 1 <= buffers <= MAX_LAYER_RUNS:
        raise InputError("--buffers", [f"found {buffers}; allowed 1 to {MAX_LAYER_RUNS}"])
    layers = sum(len(stage.layers) for pipeline in pipelines for stage in pipeline.stages)
    if layers * samples > MAX_LAYER_RUNS:
        found = f"{samples} samples of {layers} layers"
        most = MAX_LAYER_RUNS // layers
        raise InputError("samples", [f"found {found}; a replay takes at most {most} samples"])
    clock_ps, events, segments = 0, 0, []
    for index, pipeline in enumerate(pipelines):
        env = simpy.Environment(initial_time=clock_ps)
        run = _Run(env, index, pipeline, samples, buffers, record)
        process = env.process(run.lockstep() if mode == "lockstep" else run.asynchronous())
        try:
            while not process.processed:
                env.step()
                events += 1
                if on_progress is not None and events % 50_000 == 0:
                    share = (index + run.done / samples) / len(pipelines)
                    on_progress(f"{mode}, segment {index}, {run.done} samples done", share)
        except EmptySchedule:
            raise AssertionError("a stage waits for ever") from None
        end_ps = int(env.now)
        segments.append(run.times(clock_ps, end_ps))
        clock_ps = end_ps
    return Timeline(clock_ps, events, segments)


class _Run:
    """One segment in its environment."""

    def __init__(
        self,
        env: simpy.Environment,
        segment: int,
        pipeline: Pipeline,
        samples: int,
        buffers: int,
        record: Callable[[Slice], None] | None,
    ) -> None:
        self._env, self._segment, self._pipeline = env, segment, pipeline
        self._samples, self._buffers, self._record = samples, buffers, record
        self._times = [StageTimes() for _ in pipeline.stages]
        self._finished_ps = [0] * len(pipeline.stages)
        self._links: SharedLinks | None = None
        """In the asynchronous mode, where links are shared."""
        self.done = 0
        """Samples that have left the last stage."""

    @property
    def _now_ps(self) -> int:
        return int(self._env.now)

    def times(self, began_ps: int, ended_ps: int) -> SegmentTimes:
        """What happened, once everything has."""
        for times, finished_ps in zip(self._times, self._finished_ps, strict=True):
            times.drained_ps = ended_ps - finished_ps
        load_ps = self._pipeline.load_ps
        return SegmentTimes(load_ps, ended_ps - began_ps - load_ps, self._times)

    # --- Lockstep -------------------------------------------------------------------------------

    def lockstep(self) -> Steps:
        """Every beat all stages move on together, whether or not they hold a sample.

        A beat ends when each stage, the DRAM, the power budget and the busiest link are done with
        one sample. That stages without a sample take their time too is how Eq. 2 fills and drains
        the pipeline.
        """
        yield from self._load()
        held: list[int | None] = [None] * len(self._pipeline.stages)
        beat = 0
        while self.done < self._samples:
            enters = beat if beat < self._samples else None
            held = [enters, *held[:-1]]
            began_ps = self._now_ps
            parts = [self._env.process(self._beat(s, held[s])) for s in range(len(held))]
            shared = self._pipeline.dram_ps, self._pipeline.power_ps, self._pipeline.link_ps
            yield self._env.all_of([*parts, *map(self._env.timeout, shared)])
            if enters is not None:
                self._note("dram", began_ps, began_ps + self._pipeline.dram_ps, sample=enters)
            for stage, sample in enumerate(held):
                if beat < stage:
                    self._waited(stage, "input", began_ps)
                elif sample is not None and sample < self._samples - 1:
                    self._waited(stage, "beat", self._finished_ps[stage])
            self.done += held[-1] is not None
            beat += 1

    def _beat(self, stage: int, sample: int | None) -> Steps:
        yield from self._work(stage, sample)
        if sample is not None:
            self._finished_ps[stage] = self._now_ps

    # --- Asynchronous ---------------------------------------------------------------------------

    def asynchronous(self) -> Steps:
        """Stages on their own; the channels between them hold a limited number of samples."""
        yield from self._load()
        env, stages, channels = self._env, self._pipeline.stages, self._pipeline.channels
        if self._pipeline.link_ps:
            self._links = SharedLinks(env, stages)
        filled = {channel: simpy.Container(env) for channel in channels}
        # A channel past n stages holds n samples more: as many as are on their way in between.
        rooms = {
            channel: simpy.Container(env, init=self._buffers + channel.target - channel.source - 1)
            for channel in channels
        }
        yield env.all_of([env.process(self._stage(s, filled, rooms)) for s in range(len(stages))])

    def _stage(
        self,
        stage: int,
        filled: dict[Channel, simpy.Container],
        rooms: dict[Channel, simpy.Container],
    ) -> Steps:
        inputs = [channel for channel in filled if channel.target == stage]
        outputs = [channel for channel in filled if channel.source == stage]
        occupied: list[simpy.Process] = []
        dram, power = simpy.Resource(self._env), simpy.Resource(self._env)
        for sample in range(self._samples):
            waiting_ps = self._now_ps
            for channel in inputs:
                yield filled[channel].get(1)
            waiting_ps = self._waited(stage, "input", waiting_ps)
            for channel in outputs:
                yield rooms[channel].get(1)
            waiting_ps = self._waited(stage, "room", waiting_ps)
            if stage == 0:
                # A sample's traffic is served as one job, in order, from when it enters.
                served = dram.request()
                yield served
                waiting_ps = self._waited(stage, "dram", waiting_ps)
                paid = power.request()
                yield paid
                self._waited(stage, "power", waiting_ps)
                began_ps, dram_ps = self._now_ps, self._pipeline.dram_ps
                self._note("dram", began_ps, began_ps + dram_ps, sample=sample)
                occupied = [
                    self._env.process(self._occupy(dram, served, dram_ps)),
                    self._env.process(self._occupy(power, paid, self._pipeline.power_ps)),
                ]
            yield from self._work(stage, sample)
            for channel in outputs:
                yield filled[channel].put(1)
            for channel in inputs:
                yield rooms[channel].put(1)
            self._finished_ps[stage] = self._now_ps
            self.done += stage == len(self._pipeline.stages) - 1
        yield self._env.all_of(occupied)

    def _occupy(
        self, resource: simpy.Resource, request: simpy.resources.resource.Request, time_ps: int
    ) -> Steps:
        yield self._env.timeout(time_ps)
        resource.release(request)

    # --- Both -----------------------------------------------------------------------------------

    def _load(self) -> Steps:
        began_ps = self._now_ps
        yield self._env.timeout(self._pipeline.load_ps)
        self._note("load", began_ps, self._now_ps)
        self._finished_ps = [self._now_ps] * len(self._finished_ps)

    def _work(self, index: int, sample: int | None) -> Steps:
        """One sample through the layers of a stage; without one, the same time passes."""
        stage: Stage = self._pipeline.stages[index]
        env, began_ps = self._env, self._now_ps
        if stage.refetch_ps:
            yield env.timeout(stage.refetch_ps)
            self._note("refetch", began_ps, self._now_ps, index, sample)
        for work in stage.layers:
            layer, start_ps = work.layer, self._now_ps
            ready_ps = yield self._moving(index, sample, work, work.preparation_ps, work.gathered)
            computed = env.timeout(work.computation_ps)
            sent = self._moving(index, sample, work, work.communication_ps, work.sent)
            yield computed
            sent_ps = yield sent  # returns at once if that was sooner
            if self._record is not None:
                done_ps = ready_ps + work.computation_ps
                self._note("preparation", start_ps, ready_ps, index, sample, layer)
                self._note("computation", ready_ps, done_ps, index, sample, layer)
                self._note("communication", ready_ps, sent_ps, index, sample, layer)
                self._note("layer", start_ps, self._now_ps, index, sample, layer)
        if sample is not None:
            self._times[index].busy_ps += stage.sample_ps
            self._waited(index, "links", began_ps + stage.sample_ps)
            self._note("sample", began_ps, self._now_ps, index, sample)

    def _moving(
        self,
        stage: int,
        sample: int | None,
        work: LayerWork,
        time_ps: int,
        transfers: tuple[Transfer, ...],
    ) -> simpy.Event:
        """Transfers of a layer, then DRAM, ``time_ps`` together; the event's value is their end."""
        if self._links is None or not transfers:
            return self._env.timeout(time_ps, self._now_ps + time_ps)
        return self._env.process(self._carry(self._links, stage, sample, work, time_ps, transfers))

    def _carry(
        self,
        links: SharedLinks,
        stage: int,
        sample: int | None,
        work: LayerWork,
        time_ps: int,
        transfers: tuple[Transfer, ...],
    ) -> Timed:
        for transfer in transfers:
            alone_ps = self._now_ps + transfer.time_ps
            yield links.carry(stage, transfer)
            if self._now_ps > alone_ps:
                self._note("links", alone_ps, self._now_ps, stage, sample, work.layer)
            time_ps -= transfer.time_ps
        yield self._env.timeout(time_ps)
        return self._now_ps

    def _waited(self, stage: int, wait: Wait, since_ps: int) -> int:
        """Count the time since then as waiting; returns the time now."""
        now_ps = self._now_ps
        waits = self._times[stage].waits_ps
        waits[wait] = waits.get(wait, 0) + now_ps - since_ps
        return now_ps

    def _note(
        self,
        kind: Kind,
        start_ps: int,
        end_ps: int,
        stage: int | None = None,
        sample: int | None = None,
        layer: int | None = None,
    ) -> None:
        if self._record is not None and (sample is not None or kind == "load"):
            self._record(Slice(kind, self._segment, start_ps, end_ps, stage, sample, layer))
