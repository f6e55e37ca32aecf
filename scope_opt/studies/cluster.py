"""Jobs of a study on the workers of a Dask cluster, each in a process of its own there, too."""

from __future__ import annotations

import platform
import time
import uuid
from concurrent.futures import Future
from typing import TYPE_CHECKING

from scope_opt.model.files import InputError
from scope_opt.solving.host import usable_cores
from scope_opt.solving.result import versions
from scope_opt.solving.solver import SolverUnavailable
from scope_opt.studies.job import run_job
from scope_opt.studies.records import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scope_opt.schedule.schedule import Schedule
    from scope_opt.solving.monitor import Monitor
    from scope_opt.studies.jobs import Job

CONNECT_S = 15.0
"""Seconds to find the scheduler."""
COUNT_S = 1.0
"""Seconds between two looks at how many workers there are."""


class DaskCluster:
    """Workers that a Dask scheduler knows; each takes as many jobs at once as it has threads.

    A job whose worker dies runs again on another one; the results of those that ended are recorded
    here, so workers need neither this machine's files nor each other.

    Raises
    ------
    SolverUnavailable
        If the package that talks to the scheduler is missing.
    InputError
        If there is no scheduler at the address.
    """

    def __init__(self, address: str) -> None:
        try:
            from distributed import Client
        except ImportError:
            needs = "needs the package 'distributed'; install it with: pip install"
            raise SolverUnavailable(f"--cluster {needs} 'scope-opt[cluster]'") from None
        try:
            self._client = Client(address, timeout=CONNECT_S, set_as_default=False)
        except (OSError, ValueError) as error:  # a timeout is an OSError
            problem = f"no scheduler at {address}: {str(error) or type(error).__name__}"
            raise InputError("--cluster", [problem]) from None
        self._executor = self._client.get_executor(pure=False)
        self._slots, self._counted = 0, 0.0

    @property
    def slots(self) -> int:
        """Threads of all workers that there are now."""
        if time.monotonic() > self._counted + COUNT_S:
            self._slots = sum(self._client.nthreads().values())
            self._counted = time.monotonic()
        return self._slots

    def refuse_oversubscription(self, jobs: Sequence[Job]) -> None:
        """Raise `InputError` if jobs may use more threads than a machine has cores."""
        threads = max((job.threads for job in jobs), default=1)
        at_once: dict[str, int] = {}
        cores: dict[str, int] = {}
        workers = self._client.nthreads()
        for worker, (machine, count) in sorted(self._client.run(_machine).items()):
            at_once[machine] = at_once.get(machine, 0) + workers.get(worker, 0)
            cores[machine] = count
        problems = [
            f"{machine}: {jobs_at_once} jobs at once with up to {threads} threads on "
            f"{cores[machine]} cores; start fewer workers there, or add --oversubscribe"
            for machine, jobs_at_once in at_once.items()
            if jobs_at_once * threads > cores[machine]
        ]
        if problems:
            raise InputError("--cluster", problems)

    def submit(
        self, job: Job, start: Schedule | None, news: Callable[[Monitor], None]
    ) -> Future[Record | None]:
        """See `Backend`; what happens on a worker until a job's end is no news."""
        from distributed.scheduler import KilledWorker

        name = f"{job.key[:16]}-{uuid.uuid4().hex}"  # never that of an earlier attempt
        answer: Future[Record | None] = Future()

        def hand_over(there: Future[str | None]) -> None:
            error = None if there.cancelled() else there.exception()
            if there.cancelled() or isinstance(error, KilledWorker):
                answer.set_result(None)
            elif error is not None:
                answer.set_exception(error)
            else:
                line = there.result()
                answer.set_result(None if line is None else Record.from_json(line, str(job)))

        self._executor.submit(_run, job, start, name, key=name).add_done_callback(hand_over)
        return answer

    def close(self) -> None:
        """See `scope_opt.studies.pool.Backend`."""
        self._executor.shutdown(wait=False)
        self._client.close()


# --- On a worker ---------------------------------------------------------------------------------


def _machine() -> tuple[str, int]:
    return platform.node(), usable_cores()


def _run(job: Job, start: Schedule | None, name: str) -> str | None:
    """Run a job; the record as JSON."""
    from distributed import get_worker

    different = [
        f"{package} {here} on {platform.node()}, {job.versions[package]} where the study runs"
        for package, here in versions().items()
        if job.versions[package] != here
    ]
    if different:
        raise InputError("--cluster", different)
    tasks = get_worker().state.tasks

    def cancelled() -> bool:
        """Whether the study was interrupted, or is gone."""
        task = tasks.get(name)
        return task is None or task.state == "cancelled"

    record = run_job(job, start, cancelled)
    return None if record is None else record.to_line()
