"""Solvers that misbehave, for tests of what runs solvers; `registered` makes them a plug-in."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scope_opt.model.files import InputError
from scope_opt.model.tables import ISP
from scope_opt.schedule.schedule import make_segment
from scope_opt.solving.solver import SolveOptions, solve
from scope_opt.solving.warmup import NAME as WARM_UP_NAME

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.solving.monitor import Monitor

TRACES = "ROGUE_TRACES"
"""Environment variable: folder where `Waits` leaves process ids, and looks for a file ``go``."""


class Rogue:
    """Finds the schedule that `scope` finds, then misbehaves as its subclass says."""

    name = "rogue"
    summary = "for tests"
    exact = False
    constraints: frozenset[str] = frozenset()
    options: frozenset[str] = frozenset()

    def run(
        self, instance: Instance, tables: LatencyTables, options: SolveOptions, monitor: Monitor
    ) -> None:
        best = solve(instance, "scope")
        if instance.name == WARM_UP_NAME:
            return
        assert best.schedule is not None
        assert best.objective_ps is not None
        monitor.improve(best.objective_ps, best.schedule.segments)
        monitor.raise_bound(1)
        self.misbehave(monitor)

    def misbehave(self, monitor: Monitor) -> None:
        """What the subclass is about."""


class Crashes(Rogue):
    def misbehave(self, monitor: Monitor) -> None:
        os.write(2, b"last words\n")
        os.kill(os.getpid(), signal.SIGSEGV)


class CrashesAtOnce(Rogue):
    def run(self, *_: Any) -> None:
        os._exit(7)


class Raises(Rogue):
    def misbehave(self, monitor: Monitor) -> None:
        raise RuntimeError("out of luck")


class Refuses(Rogue):
    def misbehave(self, monitor: Monitor) -> None:
        raise InputError("instance", ["not this one", "nor that one"])


class Hangs(Rogue):
    def misbehave(self, monitor: Monitor) -> None:
        while True:
            time.sleep(0.01)


class Eats(Rogue):
    def misbehave(self, monitor: Monitor) -> None:
        eaten: list[Any] = []
        while True:
            eaten.append(bytearray(16 * 2**20))
            time.sleep(0.01)


class Lies(Rogue):
    def misbehave(self, monitor: Monitor) -> None:
        monitor.improve(1, (make_segment(0, [(8, 64, [ISP] * 8)]),))


class Waits(Rogue):
    """Leaves a file named after its process, with that of its parent, and waits for ``go``."""

    def misbehave(self, monitor: Monitor) -> None:
        folder = Path(os.environ[TRACES])
        (folder / f"{os.getpid()}.tmp").write_text(str(os.getppid()))
        (folder / f"{os.getpid()}.tmp").rename(folder / f"{os.getpid()}.pid")
        while not (folder / "go").exists():
            time.sleep(0.02)


REGISTERED = {
    "crashes": Crashes,
    "crashes-at-once": CrashesAtOnce,
    "raises": Raises,
    "refuses": Refuses,
    "hangs": Hangs,
    "eats": Eats,
    "lies": Lies,
    "waits": Waits,
}


def registered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install them under these names, as a package in ``folder``, here and for child processes."""
    metadata = folder / "rogues-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: rogues\nVersion: 1.0\n")
    lines = [f"{name} = rogues:{kind.__name__}" for name, kind in REGISTERED.items()]
    (metadata / "entry_points.txt").write_text("\n".join(["[scope_opt.solvers]", *lines, ""]))
    places = [str(folder), str(Path(__file__).parent)]
    for place in places:
        monkeypatch.syspath_prepend(place)
    inherited = os.environ.get("PYTHONPATH")
    paths = [*places, str(Path(__file__).parents[1]), *([inherited] if inherited else [])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))


def eventually(condition: Callable[[], bool], within_s: float = 60.0) -> bool:
    """Whether a condition comes true in time."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def waiting(traces: Path) -> dict[int, int]:
    """Processes in which `Waits` waits, or has waited, and those that started them."""
    found = {int(path.stem): int(path.read_text()) for path in traces.glob("*.pid")}
    return dict(sorted(found.items()))
