"""Studies on a real Dask scheduler with two worker processes on this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest
from documents import TINY
from helpers import invoke
from rogues import TRACES, eventually, registered, waiting

from scope_opt.studies.file import load_study
from scope_opt.studies.jobs import jobs_of
from scope_opt.studies.records import load_records

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("distributed")

WORKERS = 2


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where solvers that wait leave their process ids; they are registered."""
    folder = tmp_path_factory.mktemp("traces")
    with pytest.MonkeyPatch.context() as patch:
        registered(tmp_path_factory.mktemp("plugin"), patch)
        patch.setenv(TRACES, str(folder))
        yield folder


@pytest.fixture(scope="module")
def scheduler(traces: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a scheduler with two workers, in folders of their own and without nannies."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    dask = [sys.executable, "-m", "distributed.cli"]
    begun = []
    try:
        for number in range(WORKERS + 1):
            folder = tmp_path_factory.mktemp("dask")
            role = [f"{dask[2]}.dask_worker", address, "--no-nanny", "--nthreads", "1"]
            if number == 0:
                role = [f"{dask[2]}.dask_scheduler", "--host", "127.0.0.1", "--port", str(port)]
            command = [*dask[:2], *role, "--no-dashboard"]
            log = (folder / "log").open("wb")
            begun.append(subprocess.Popen(command, cwd=folder, stdout=log, stderr=log))
            log.close()
        yield address
    finally:
        for process in reversed(begun):
            process.kill()
            process.wait()


def study(folder: Path, entries: str) -> Path:
    path = folder / "study.toml"
    path.write_text(f'instances = ["{TINY}/tiny-s*.json"]\ntime_limit_s = 50\n{entries}')
    return path


def begin(file: Path, scheduler: str) -> subprocess.Popen[str]:
    """A study that runs on the cluster."""
    command = [sys.executable, "-m", "scope_opt", "study", str(file), "--cluster", scheduler]
    command.append("--oversubscribe")
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_study_leaves_nothing_on_the_workers(
    scheduler: str, traces: Path, tmp_path: Path, how: signal.Signals
) -> None:
    for path in traces.iterdir():
        path.unlink()
    file = study(tmp_path, '[[solvers]]\nsolver = "waits"\n')
    with begin(file, scheduler) as ran:
        assert eventually(lambda: len(waiting(traces)) == WORKERS)
        assert all(map(psutil.pid_exists, waiting(traces)))
        assert len(set(waiting(traces).values())) == WORKERS
        ran.send_signal(how)
        _, errors = ran.communicate(timeout=120)
    if how == signal.SIGINT:
        assert ran.returncode == 130, errors
        assert "interrupted: 0 of 2 jobs done" in errors
    assert eventually(lambda: not any(map(psutil.pid_exists, waiting(traces))))
    assert load_records(tmp_path) == []


def test_killed_worker_loses_nothing(scheduler: str, traces: Path, tmp_path: Path) -> None:
    for path in traces.iterdir():
        path.unlink()
    entries = '[[solvers]]\nsolver = "exact"\nwarm_start = "waits"\n[[solvers]]\nsolver = "waits"\n'
    file = study(tmp_path, entries)
    with begin(file, scheduler) as ran:
        assert eventually(lambda: len(waiting(traces)) == WORKERS)
        solver, worker = next(iter(waiting(traces).items()))
        os.kill(worker, signal.SIGKILL)
        assert eventually(lambda: not psutil.pid_exists(solver))
        (traces / "go").touch()
        _, errors = ran.communicate(timeout=120)
    assert ran.returncode == 0, errors
    assert len(waiting(traces)) == WORKERS + 1  # one waited twice
    found = load_records(tmp_path)
    assert {record.key for record in found} == {job.key for job in jobs_of(load_study(file), file)}
    assert [(record.instance.name, record.label, record.outcome) for record in found] == [
        (name, label, "done")
        for name in ("tiny-skip", "tiny-stream")
        for label in ("exact", "waits")
    ]
    assert len((tmp_path / "records.jsonl").read_text().splitlines()) == len(found)
    exact = found[0].result
    assert exact is not None
    assert exact.status == "optimal"
    assert exact.schedule is not None


def test_another_version_on_a_worker_ends_the_study(
    scheduler: str, traces: Path, tmp_path: Path
) -> None:
    file = study(tmp_path, '[[solvers]]\nsolver = "scope"\n')
    code = f"""
import sys
import scope_opt.solving.result
scope_opt.solving.result.__version__ = "0.0.9"
from scope_opt.cli import main
sys.argv = ["scope-opt", "study", {str(file)!r}, "--cluster", {scheduler!r}, "--oversubscribe"]
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "--cluster: scope-opt 0.1.0 on " in done.stderr
    assert "0.0.9 where the study runs" in done.stderr
    assert load_records(tmp_path) == []


def test_more_threads_than_cores_are_refused(scheduler: str, traces: Path, tmp_path: Path) -> None:
    entry = '[[solvers]]\nsolver = "cp-sat"\nthreads = 512\n'
    command = [sys.executable, "-m", "scope_opt", "study", str(study(tmp_path, entry))]
    command += ["--cluster", scheduler]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "up to 512 threads on" in done.stderr
    assert not (tmp_path / "records.jsonl").exists()


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    file = study(tmp_path, '[[solvers]]\nsolver = "scope"\n')
    outcome = invoke("study", file, "--cluster", "tcp://127.0.0.1:1")
    assert outcome.exit_code == 3
    assert "pip install 'scope-opt[cluster]'" in outcome.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["study.toml"]


def test_jobs_are_for_this_machine(tmp_path: Path) -> None:
    file = study(tmp_path, '[[solvers]]\nsolver = "scope"\n')
    outcome = invoke("study", file, "--cluster", "x", "--jobs", "2")
    assert outcome.exit_code == 2
    assert "--jobs: is for this machine" in outcome.stderr
