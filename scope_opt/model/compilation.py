"""How long numba has been making machine code here, so that no limit and no measurement counts it.

Kernels are compiled when they are first called and kept on disk, once per machine, which takes from
seconds to minutes. Clocks that read `spent_s` stand still meanwhile. Where nothing is left to be
compiled that costs nothing, not even that numba is loaded: `scope_opt.model.compiled` calls `began`
and `ended`.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class _Watch:
    """Adds up the time between beginnings and ends, which numba tells one thread at a time."""

    def __init__(self) -> None:
        self._depth = 0
        self._thread: int | None = None
        self._spent_s = self._cpu_s = 0.0
        self._began_s = self._cpu_began_s = 0.0
        self.told: list[Callable[[], None]] = []
        self.telling = False

    def begin(self) -> None:
        if self._depth == 0:
            self._began_s, self._cpu_began_s = time.perf_counter(), time.process_time()
            self._thread = threading.get_ident()
        self._depth += 1
        self._tell()

    def end(self) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._thread = None
            self._spent_s += time.perf_counter() - self._began_s
            self._cpu_s += time.process_time() - self._cpu_began_s
        self._tell()

    def _tell(self) -> None:
        self.telling = True
        try:
            for tell in tuple(self.told):
                tell()
        finally:
            self.telling = False

    @property
    def thread(self) -> int | None:
        """The one that compiles now."""
        return self._thread

    @property
    def spent_s(self) -> float:
        running = self._thread is not None
        return self._spent_s + (time.perf_counter() - self._began_s if running else 0.0)

    @property
    def cpu_s(self) -> float:
        running = self._thread is not None
        return self._cpu_s + (time.process_time() - self._cpu_began_s if running else 0.0)


_WATCH = _Watch()


def began() -> None:
    """Say that a kernel is compiled from now on, perhaps inside the compilation of another."""
    _WATCH.begin()


def ended() -> None:
    """Say that this is done, or has failed."""
    _WATCH.end()


def spent_s() -> float:
    """Wall time in seconds that this process has compiled, up to now."""
    return _WATCH.spent_s


def cpu_s() -> float:
    """Processor time in seconds that it took, on all threads."""
    return _WATCH.cpu_s


def active() -> bool:
    """Whether something is compiled now."""
    return _WATCH.thread is not None


def breakable() -> bool:
    """Whether an exception that a signal handler raises breaks off a compilation and no message."""
    return _WATCH.thread == threading.get_ident() and not _WATCH.telling


@contextmanager
def told(tell: Callable[[], None]) -> Iterator[None]:
    """Have ``tell`` called, in the thread that compiles, again and again while it does."""
    _WATCH.told.append(tell)
    try:
        yield
    finally:
        _WATCH.told.remove(tell)
