"""Jobs of a study, many at once: each as soon as what it begins with is there."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import TYPE_CHECKING, Protocol

from scope_opt.model.files import InputError
from scope_opt.solving.host import usable_cores
from scope_opt.solving.monitor import Monitor, interruptible
from scope_opt.studies.job import run_job
from scope_opt.studies.jobs import begun_first

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scope_opt.schedule.schedule import Schedule
    from scope_opt.studies.jobs import Job
    from scope_opt.studies.records import Record, RecordFile

TICK_S = 0.2
"""Seconds between two calls of `Watcher.tick`."""


class Backend(Protocol):
    """Where jobs run."""

    @property
    def slots(self) -> int:
        """Jobs that it can run at once, at present."""

    def submit(
        self, job: Job, start: Schedule | None, news: Callable[[Monitor], None]
    ) -> Future[Record | None]:
        """Run a job, see `run_job`; None stands for a job that was lost, too."""

    def close(self) -> None:
        """End the jobs that run and give everything back."""


class Watcher(Protocol):
    """Who is told how a study goes on."""

    def started(self, job: Job) -> None:
        """A job was handed to the backend."""

    def news(self, job: Job, monitor: Monitor) -> None:
        """A solver has reported; called from any thread, and only by backends of this machine."""

    def ended(self, job: Job, record: Record) -> None:
        """A job's record is on the disk."""

    def tick(self) -> None:
        """Now and then."""


class LocalPool:
    """Threads of this machine, each of which starts and watches one process at a time."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._cancelled = threading.Event()
        self._threads = ThreadPoolExecutor(slots)

    def submit(
        self, job: Job, start: Schedule | None, news: Callable[[Monitor], None]
    ) -> Future[Record | None]:
        """See `Backend`."""
        return self._threads.submit(run_job, job, start, self._cancelled.is_set, news)

    def close(self) -> None:
        """See `Backend`."""
        self._cancelled.set()
        self._threads.shutdown(wait=True, cancel_futures=True)


def run_all(jobs: Sequence[Job], records: RecordFile, backend: Backend, watcher: Watcher) -> None:
    """Run the jobs that have no record yet, and record each as it ends.

    Whatever interrupts it, jobs that have ended are recorded and those that run are ended without a
    record. Jobs that the backend loses have none either.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C, when all that is done.
    """
    ready: deque[Job] = deque()
    blocked: dict[str, list[Job]] = defaultdict(list)
    for job in begun_first(jobs):
        known = records.records.get(job.key)
        if known is not None:
            _rename(known, job, records)
            continue
        if job.warm_start is None or job.warm_start in records.records:
            ready.append(job)
        else:
            blocked[job.warm_start].append(job)
    running: dict[Future[Record | None], Job] = {}

    def record_ended() -> None:
        for future in [future for future in running if future.done()]:
            job = running.pop(future)
            record = None if future.cancelled() else future.result()
            if record is not None:
                records.append(record)
                watcher.ended(job, record)
                ready.extendleft(reversed(blocked.pop(job.key, [])))

    interrupt = Monitor()
    try:
        with interruptible(interrupt):  # so that Ctrl-C does not come between a line's halves
            while (ready or running) and not interrupt.interrupted:
                while ready and len(running) < backend.slots:
                    job = ready.popleft()
                    news = partial(watcher.news, job)
                    running[backend.submit(job, _start(job, records), news)] = job
                    watcher.started(job)
                if running:
                    wait(running, TICK_S, FIRST_COMPLETED)
                else:
                    time.sleep(TICK_S)  # until there is somebody to give a job to
                record_ended()
                watcher.tick()
    finally:
        backend.close()
        record_ended()
    if interrupt.interrupted:
        raise KeyboardInterrupt


def _rename(known: Record, job: Job, records: RecordFile) -> None:
    """Record a job once more whose labels have changed since."""
    start = "warm_start"
    if (known.label, known.variant) != (job.label, job.variant) or (
        known.options.get(start) != job.options.get(start)
    ):
        names = {"label": job.label, "variant": job.variant, "options": job.options}
        records.append(known.model_copy(update=names))


def _start(job: Job, records: RecordFile) -> Schedule | None:
    """Schedule that a job begins with."""
    if job.warm_start is None:
        return None
    result = records.records[job.warm_start].result
    return None if result is None else result.schedule


def slots_for(jobs: Sequence[Job], asked: int | None, *, oversubscribe: bool) -> int:
    """How many jobs run at once on this machine.

    Raises
    ------
    InputError
        If they may use more threads than there are cores.
    """
    cores = usable_cores()
    threads = max(job.threads for job in jobs)
    slots = asked or max(1, cores // threads)
    if slots * threads > cores and not oversubscribe:
        wanted = f"{slots} at once with up to {threads} threads on {cores} cores would share them"
        advice = "times would mean little; ask for less, or add --oversubscribe"
        raise InputError("--jobs", [f"{wanted}; {advice}"])
    return slots
