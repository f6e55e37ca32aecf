"""How a study goes on, on stderr: a live display on a terminal, else a line now and then."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING

from scope_opt.terminal.console import PLAIN_PROGRESS_S, complain, is_live, live, verbosity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rich.progress import Progress, TaskID

    from scope_opt.solving.monitor import Monitor
    from scope_opt.studies.jobs import Job
    from scope_opt.studies.records import Record


QUIET_S = 60.0
"""Seconds without news after which there is a line none the less."""


def outcomes(records: Iterable[Record]) -> str:
    """Counts such as ``7 done, 1 crashed``."""
    from scope_opt.studies.records import Outcome

    counts = Counter(record.outcome for record in records)
    named = [f"{counts[kind]} {kind.replace('_', ' ')}" for kind in Outcome if counts[kind]]
    return ", ".join(named)


@contextmanager
def study_progress(
    jobs: Sequence[Job], known: Iterable[Record], slots: Callable[[], int]
) -> Iterator[PlainWatcher]:
    """A watcher of the jobs, of which some are known already."""
    if verbosity() != "normal" or not is_live():
        yield PlainWatcher(jobs, known, slots)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from scope_opt.terminal.show import make_console

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}", markup=False),
    )
    with live(Progress(*columns, console=make_console(stderr=True), transient=True)) as display:
        yield _LiveWatcher(jobs, known, slots, display)


class PlainWatcher:
    """A line when something has ended, or after a silence, but not every moment."""

    def __init__(
        self, jobs: Sequence[Job], known: Iterable[Record], slots: Callable[[], int]
    ) -> None:
        self._jobs, self._slots = jobs, slots
        self._records = {record.key: record for record in known}
        self._left = {job.key: job for job in jobs if job.key not in self._records}
        self._told, self._next = len(self._left), time.monotonic()
        self._started: dict[str, float] = {}
        self._loading: list[float] = []
        """Seconds that jobs took besides solving."""

    def started(self, job: Job) -> None:
        """See `scope_opt.studies.pool.Watcher`."""
        self._started[job.key] = time.monotonic()

    def news(self, job: Job, monitor: Monitor) -> None:
        """See `scope_opt.studies.pool.Watcher`."""

    def ended(self, job: Job, record: Record) -> None:
        """See `scope_opt.studies.pool.Watcher`."""
        self._records[job.key] = record
        self._left.pop(job.key, None)
        took_s = time.monotonic() - self._started.pop(job.key)
        self._loading.append(max(0.0, took_s - record.wall_s))

    def tick(self) -> None:
        """See `scope_opt.studies.pool.Watcher`."""
        level = verbosity()
        if level == "quiet":
            return
        now, changed = time.monotonic(), len(self._left) != self._told
        silent = now > self._next + QUIET_S
        due = now > self._next or not self._left or level == "verbose"
        if not (silent or (changed and due)):
            return
        self._told, self._next = len(self._left), now + PLAIN_PROGRESS_S
        complain(f"{self.done} of {len(self._jobs)} jobs: {self.state()}")

    @property
    def done(self) -> int:
        """Jobs that have a record."""
        return len(self._jobs) - len(self._left)

    def state(self) -> str:
        """Counts of outcomes, and how long the rest may take."""
        mine = [self._records[job.key] for job in self._jobs if job.key in self._records]
        left_s = _left_s(self._left.values(), mine)
        if self._loading:
            left_s += len(self._left) * sum(self._loading) / len(self._loading)
        left_s /= max(1, self._slots())
        parts = [outcomes(mine)]
        if self._started:
            parts.append(f"{len(self._started)} running")
        if self._left and left_s:
            parts.append(f"about {_duration(left_s)} left")
        return "; ".join(part for part in parts if part)


class _LiveWatcher(PlainWatcher):
    """A bar for the study and a line for each job that runs."""

    def __init__(
        self,
        jobs: Sequence[Job],
        known: Iterable[Record],
        slots: Callable[[], int],
        display: Progress,
    ) -> None:
        super().__init__(jobs, known, slots)
        self._display = display
        self._lines: dict[str, TaskID] = {}
        self._minimizes = {job.key: job.instance.minimizes for job in jobs}
        self._latest: dict[str, Monitor] = {}
        self._all = display.add_task("study", total=len(jobs), state="")

    def started(self, job: Job) -> None:
        super().started(job)
        limit_s = job.options.get("time_limit_s")
        self._lines[job.key] = self._display.add_task(f"  {job}", total=limit_s, state="started")

    def news(self, job: Job, monitor: Monitor) -> None:
        self._latest[job.key] = monitor

    def ended(self, job: Job, record: Record) -> None:
        super().ended(job, record)
        self._latest.pop(job.key, None)
        if job.key in self._lines:
            self._display.remove_task(self._lines.pop(job.key))

    def tick(self) -> None:
        self._display.update(self._all, completed=self.done, state=self.state())
        for key, line in self._lines.items():
            monitor = self._latest.get(key)
            if monitor is not None:
                state = f"s{_best(monitor, self._minimizes[key])}"
                self._display.update(line, completed=int(monitor.elapsed_s), state=state)


def _left_s(left: Iterable[Job], ended: Iterable[Record]) -> float:
    """Seconds that jobs may take, one after another: as those of the same label took until now."""
    took: defaultdict[str, list[float]] = defaultdict(list)
    for record in ended:
        took[record.label].append(record.wall_s)
    everywhere = [wall_s for label in took for wall_s in took[label]]
    mean_s = sum(everywhere) / len(everywhere) if everywhere else 0.0
    total_s = 0.0
    for job in left:
        own = took.get(job.label)
        total_s += sum(own) / len(own) if own else job.options.get("time_limit_s", mean_s)
    return total_s


def _best(monitor: Monitor, minimizes: str) -> str:
    """The best objective so far."""
    from scope_opt.model.units import joules, picoseconds

    best = monitor.objective
    if best is None:
        return ""
    return f", best {joules(best * 1e-15) if minimizes == 'energy' else picoseconds(best)}"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
