"""How a command ends when it is told to, and where it cannot print."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

import psutil
import pytest
from helpers import invoke

from scope_opt.model.generate import paper_instance
from scope_opt.schedule.evaluate import evaluate
from scope_opt.schedule.schedule import Schedule
from scope_opt.solving.monitor import Monitor, interruptible
from scope_opt.solving.result import Result, StopReason

if TYPE_CHECKING:
    from collections.abc import Callable

SCOPE_OPT = (sys.executable, "-m", "scope_opt")
TINY = Path(__file__).parents[1] / "instances/tiny/tiny-skip.json"
ENDINGS = (signal.SIGTERM, signal.SIGHUP)


# --- Signals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ENDINGS)
def test_signals_mean_ctrl_c_where_the_program_says_so(how: signal.Signals) -> None:
    before = signal.signal(how, signal.default_int_handler)
    try:
        monitor = Monitor()
        with interruptible(monitor):
            os.kill(os.getpid(), how)
            os.kill(os.getpid(), how)  # they come in pairs, which is no second Ctrl-C
            assert monitor.stopping
        assert signal.getsignal(how) is signal.default_int_handler
        with pytest.raises(KeyboardInterrupt), interruptible(monitor):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(how, before)
    assert monitor.stop_reason is StopReason.INTERRUPTED


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_other_handlers_are_left_alone(handler: signal.Handlers) -> None:
    before = signal.signal(signal.SIGHUP, handler)
    try:
        with interruptible(Monitor()):
            assert signal.getsignal(signal.SIGHUP) is handler
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("how", "isolated"), [(signal.SIGTERM, False), (signal.SIGTERM, True), (signal.SIGHUP, True)]
)
def test_best_schedule_is_saved(tmp_path: Path, how: signal.Signals, isolated: bool) -> None:
    instance = paper_instance("resnet50", 64, nop="regressed")
    instance.save(tmp_path / "instance.json")
    options = ("--solver", "anneal", "--iterations", "10" * 6, "--json", "-o", "schedule.json")
    with subprocess.Popen(
        [*SCOPE_OPT, "solve", "instance.json", *options, *(["--isolate"] if isolated else [])],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            while "best" not in process.stderr.readline():  # it may have to compile before
                assert process.poll() is None
            children = psutil.Process(process.pid).children(recursive=True)
            assert len(children) == isolated
            process.send_signal(how)
            stdout, stderr = process.communicate(timeout=120)
        finally:
            process.kill()  # else a failure would wait for its end
    assert process.returncode == 0, stderr
    assert "interrupted: this is the best schedule so far" in stderr
    result = Result.from_json(stdout, "stdout")
    assert result.stop_reason is StopReason.INTERRUPTED
    assert result.schedule == Schedule.load(tmp_path / "schedule.json")
    assert evaluate(instance, result.schedule).objective_ps == result.objective_ps
    assert not any(child.is_running() for child in children)


def test_closing_the_terminal_saves_the_schedule(tmp_path: Path) -> None:
    paper_instance("resnet50", 64, nop="regressed").save(tmp_path / "instance.json")
    ours, theirs = pty.openpty()
    words = ("solve", "instance.json", "--solver", "anneal", "-o", "schedule.json")
    with subprocess.Popen(
        [*SCOPE_OPT, *words],
        cwd=tmp_path,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    ) as process:
        os.close(theirs)
        seen = b""
        while b"best" not in seen:
            seen += os.read(ours, 4096)
        os.close(ours)
        assert process.wait(120) >= 0  # it was not killed; what it prints goes nowhere
    schedule = Schedule.load(tmp_path / "schedule.json")
    assert evaluate(paper_instance("resnet50", 64, nop="regressed"), schedule).feasible


STUDY = """
instances = ["instance.json"]
memory_limit_gib = 4.0
[[solvers]]
solver = "scope"
[[solvers]]
solver = "anneal"
time_limit_s = 600.0
"""


def eventually(true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 120
    while not true() and time.monotonic() < deadline:
        time.sleep(0.05)
    return true()


@pytest.mark.parametrize(
    ("how", "everybody"), [(signal.SIGTERM, True), (signal.SIGTERM, False), (signal.SIGHUP, False)]
)
def test_study_is_written_and_goes_on(tmp_path: Path, how: signal.Signals, everybody: bool) -> None:
    """Also where its children get the signal, as from a scheduler that ends a job."""
    paper_instance("resnet50", 64, nop="regressed").save(tmp_path / "instance.json")
    (tmp_path / "study.toml").write_text(STUDY)
    records, table = tmp_path / "records.jsonl", tmp_path / "table.csv"
    command = [*SCOPE_OPT, "study", "study.toml", "--jobs", "2", "--oversubscribe"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert eventually(lambda: records.exists() and records.read_bytes() != b"")
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        for child in children if everybody else ():
            child.send_signal(how)
        process.send_signal(how)
        _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    assert "interrupted: 1 of 2 jobs done; the same command goes on" in stderr
    assert len(records.read_text().splitlines()) == 1
    assert len(table.read_text().splitlines()) == 2
    assert not any(child.is_running() for child in children)
    outcome = invoke("study", tmp_path / "study.toml", "--dry-run")
    assert "1 of 2 jobs done" in outcome.stdout


# --- Streams -------------------------------------------------------------------------------------


def run(*arguments: str, stdout: IO[str] | int, close: int | None = None) -> tuple[int, str]:
    """Exit code and messages, with an own stdout or with one of the streams closed."""
    closing = "" if close is None else f"{close}>&-"
    command = ["sh", "-c", f'exec "$@" {closing}', "sh", *SCOPE_OPT, *arguments]
    ran = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True)
    return ran.returncode, ran.stderr


@pytest.mark.parametrize(
    "arguments", [("solve", str(TINY), "--json"), ("show", str(TINY)), ("--help",), ("schema",)]
)
def test_full_disk_behind_stdout(arguments: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        code, errors = run(*arguments, stdout=full)
    assert (code, errors) == (2, "error: stdout: cannot be written: No space left on device\n")


def test_schedule_is_saved_before_it_cannot_be_printed(tmp_path: Path) -> None:
    saved = tmp_path / "schedule.json"
    code, errors = run("solve", str(TINY), "-o", str(saved), stdout=subprocess.DEVNULL, close=1)
    assert code == 2
    assert errors.splitlines() == [
        f"result written to {saved}",
        "error: stdout: cannot be written: Bad file descriptor",
    ]
    assert Schedule.load(saved).segments


def test_closed_stdin_and_stderr(tmp_path: Path) -> None:
    code, errors = run("show", "-", stdout=subprocess.DEVNULL, close=0)
    assert (code, errors) == (2, "error: stdin: is closed; name a file, or write to it\n")
    saved = tmp_path / "schedule.json"
    code, _ = run("solve", str(TINY), "-o", str(saved), stdout=subprocess.DEVNULL, close=2)
    assert code == 0
    assert Schedule.load(saved).segments


def test_reader_that_has_seen_enough_is_no_defect() -> None:
    command = [*SCOPE_OPT, "schema"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as shown:
        assert shown.stdout is not None
        assert shown.stderr is not None
        shown.stdout.close()
        assert shown.stderr.read() == b""
        assert shown.wait() == 1
