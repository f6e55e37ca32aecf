"""A function in a process of its own, which can be watched and ended, and ends with this one."""

from __future__ import annotations

import contextlib
import ctypes
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import psutil

from scope_opt.solving.host import ENDINGS

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

POLL_S = 0.05
"""Seconds between two looks at a process."""
CLOSING_S = 10.0
"""Seconds between the end of a process's pipe and its own."""
_BOOT = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from scope_opt.solving.child import main
main(int(sys.argv[2]), int(sys.argv[3]))
"""
_PR_SET_PDEATHSIG = 1  # prctl(2)


class Child:
    """A running call of ``function(pipe, *arguments)`` in a new interpreter and session.

    It is no `multiprocessing.Process`, as those may not be started from a daemon, which a worker
    of a cluster often is. The kernel kills it when the thread that started it ends, however that
    ends.

    Parameters
    ----------
    function : callable
        It and its arguments are pickled; what they name must be importable.
    output : file, optional
        For what it prints; it shares this process's output otherwise.
    """

    def __init__(
        self, function: Callable[..., None], *arguments: object, output: IO[bytes] | None = None
    ) -> None:
        call = pickle.dumps((function, arguments))
        self._pipe, theirs = multiprocessing.Pipe()
        with theirs:
            handle = theirs.fileno()
            words = (_BOOT, json.dumps(sys.path), str(handle), str(os.getpid()))
            # A request to stop waits until `listen`: while it is loading it would be a crash.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", *words],
                    pass_fds=[handle],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,  # a terminal's Ctrl-C does not reach it
                )
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        with contextlib.suppress(OSError):  # if it has died already, `watch` says so
            self._pipe.send_bytes(call)

    def watch(self, receive: Callable[[Any], bool], judge: Callable[[], bool]) -> str | None:
        """Hand on what it sends until ``receive`` calls a message the last or ``judge`` ends it.

        ``judge`` is called every `POLL_S` seconds and returns True to stop watching.

        Returns
        -------
        str or None
            How the process ended, if it did so before either.
        """
        judged = time.monotonic()
        while True:
            try:
                # Messages that wait are read before the process is judged, but not forever.
                while self._pipe.poll(POLL_S) and time.monotonic() < judged + 4 * POLL_S:
                    if receive(self._pipe.recv()):
                        return None
            except (EOFError, ConnectionResetError):
                return self._ending()
            judged = time.monotonic()
            if judge():
                return None
            if self._process.poll() is not None and not self._pipe.poll():
                return self._ending()  # the pipe is held open by something that it has started

    def _ending(self) -> str:
        try:
            code = self._process.wait(CLOSING_S)
        except subprocess.TimeoutExpired:
            return "went on without saying anything"
        if code < 0:
            with contextlib.suppress(ValueError):
                return f"was ended by {signal.Signals(-code).name}"
        return f"ended with exit code {code} before it was done"

    def resident_bytes(self) -> int:
        """Its resident size; 0 once it has ended."""
        try:
            return int(psutil.Process(self._process.pid).memory_info().rss)
        except psutil.Error:
            return 0

    def interrupt(self) -> None:
        """Send it Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def end(self, grace_s: float = 0.0) -> None:
        """Kill it, and what it has started, if it does not end by itself in ``grace_s`` seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(grace_s)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._pipe.close()


def listen() -> None:
    """Take requests to stop from now on, those that wait as well; called in the child."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def main(handle: int, parent: int) -> None:
    """What the new interpreter does; ``handle`` is its end of the pipe, ``parent`` a process id."""
    if sys.platform == "linux":
        # Unlike a thread that watches the parent, this needs no lock that native code may hold.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return  # it has died before
    for number in ENDINGS:  # sent to everybody, as when a machine shuts down: the parent decides
        signal.signal(number, signal.SIG_IGN)
    with Connection(handle) as pipe:
        function, arguments = pipe.recv()
        function(pipe, *arguments)
