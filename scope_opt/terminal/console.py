"""What commands say: data on stdout, progress and warnings on stderr.

Everything heavy is imported inside the functions, so that help and usage errors answer at once.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console, RenderableType
    from rich.progress import Progress

    from scope_opt.model.instance import Instance
    from scope_opt.schedule.evaluation import Evaluation
    from scope_opt.schedule.schedule import InstanceReference, Schedule
    from scope_opt.solving.monitor import Monitor
    from scope_opt.solving.result import Result

PLAIN_PROGRESS_S = 5.0
"""Seconds between progress lines where stderr is no terminal."""
COMPILING_S = 20.0
"""The same while machine code is made, which can take minutes on a machine's first run."""
VERBOSE_S = 0.1
"""The same between phases, with ``--verbose``."""
Verbosity = Literal["quiet", "normal", "verbose"]
_verbosity: ContextVar[Verbosity] = ContextVar("verbosity", default="normal")


def complain(message: str) -> None:
    """A message on stderr, without characters of the input that could steer the terminal."""
    lines = ("".join(c if c.isprintable() else "?" for c in line) for line in message.split("\n"))
    with suppress(OSError):  # a full disk or a closed terminal: there is nobody to tell
        typer.echo("\n".join(lines), err=True)


def warn_mismatch(source: str, reference: InstanceReference, instance: Instance) -> None:
    """Say that a document was made for another instance, if it was."""
    if reference.digest != instance.digest:
        complain(
            f"warning: {source}: made for {reference.name} ({reference.digest[:12]}), not for this "
            f"{instance.name} ({instance.digest[:12]})"
        )


def print_text(text: str) -> None:
    """A document on stdout."""
    typer.echo(text.encode(), nl=False)  # documents are UTF-8, whatever the terminal is


def print_json(content: Any) -> None:
    """Plain data on stdout."""
    print_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def print_view(view: Callable[[Console], RenderableType]) -> None:
    """Tables and pictures on stdout, as wide as the terminal."""
    from scope_opt.terminal.show import make_console

    console = make_console()
    with console.capture() as captured:
        console.print(view(console))
    lines = captured.get().split("\n")
    sys.stdout.write("\n".join(line.rstrip() for line in lines))
    sys.stdout.flush()


def print_result(result: Result, instance: Instance | None) -> bool:
    """A result with a picture of its schedule; whether that, if there is one, keeps the rules."""
    from scope_opt.terminal.show import result_view

    evaluation = None
    if result.schedule is not None:
        instance = instance and result.schedule.ordered(instance)
        evaluation = print_schedule(result.schedule, instance)
    valid = evaluation is None or evaluation.feasible
    if valid:
        known = None if instance is None else evaluation
        print_view(lambda _: result_view(result, instance, known))  # last: pictures can be long
    return valid


def print_schedule(schedule: Schedule, instance: Instance | None) -> Evaluation:
    """A picture of a schedule, as far as it is one, and the rules it breaks.

    The instance where it is known; otherwise little is checked.
    """
    from scope_opt.schedule.evaluate import evaluate, evaluate_structure
    from scope_opt.terminal.picture import schedule_view, violation_view

    evaluation = evaluate_structure(schedule) if not instance else evaluate(instance, schedule)
    if evaluation.feasible or evaluation.segments:
        print_view(lambda console: schedule_view(console, schedule, instance, evaluation))
    if not evaluation.feasible:
        print_view(lambda _: violation_view(evaluation))
    return evaluation


def set_verbosity(*, quiet: bool, verbose: bool) -> None:
    """How much progress the command at hand shows."""
    if quiet and verbose:
        raise typer.BadParameter("contradicts --verbose; give one of them", param_hint="--quiet")
    _verbosity.set("quiet" if quiet else "verbose" if verbose else "normal")


def verbosity() -> Verbosity:
    """How much progress is shown."""
    return _verbosity.get()


@contextmanager
def progress(label: str) -> Iterator[Callable[[Monitor], None]]:
    """What a solver reports, on stderr: a live line on a terminal, else a line now and then."""
    level = verbosity()
    if level == "quiet":
        yield lambda _: None
        return
    if level == "verbose" or not is_live():
        yield _PlainProgress(label, phases=level == "verbose")
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from scope_opt.terminal.show import make_console

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TimeElapsedColumn(),
    )
    with live(Progress(*columns, console=make_console(stderr=True), transient=True)) as display:
        task = display.add_task(label, total=1.0)

        def on_progress(monitor: Monitor) -> None:
            display.update(task, completed=monitor.done, description=f"{label}: {_state(monitor)}")

        yield on_progress


def is_live() -> bool:
    """Whether lines on stderr can change; not where escape codes are not wanted."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")


@contextmanager
def live(display: Progress) -> Iterator[Progress]:
    """A live display, whose end does not fail where the terminal has been closed."""
    display.start()
    try:
        yield display
    finally:
        with suppress(OSError):
            display.stop()


class _PlainProgress:
    """A line on stderr every few seconds, and with ``phases`` at the beginning of each."""

    def __init__(self, label: str, *, phases: bool = False) -> None:
        self._label, self._phases = label, phases
        self._stage, self._next_phase = "", 0.0
        self._next = time.monotonic() + PLAIN_PROGRESS_S
        self._next_compiling = 0.0

    def __call__(self, monitor: Monitor) -> None:
        now = time.monotonic()
        if monitor.compiling:
            if now >= self._next_compiling:
                self._next_compiling = now + COMPILING_S
                complain(f"{self._label}: {_state(monitor)}")
            return
        begun = self._phases and monitor.stage != self._stage and now >= self._next_phase
        if begun or now >= self._next:
            self._stage, self._next_phase = monitor.stage, now + VERBOSE_S
            self._next = now + PLAIN_PROGRESS_S
            state = f"{monitor.elapsed_s:.0f} s, {monitor.done:.0%}, {_state(monitor)}"
            complain(f"{self._label}: {state.removesuffix(', ')}")


def _state(monitor: Monitor) -> str:
    from scope_opt.model.units import joules, picoseconds

    if monitor.interrupted:
        return "stopping"
    if monitor.compiling:
        return f"compiling, once per machine: {monitor.compile_s:.0f} s, not counted in limits"
    best = picoseconds(monitor.objective)
    if monitor.objective is None:
        best = ""
    elif monitor.minimizes == "energy":
        best = joules(monitor.objective / 10**15)
    return ", ".join(part for part in (monitor.stage, best and f"best {best}") if part)
