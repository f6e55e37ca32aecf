"""How compiled code is put together, so that a formula written once costs nothing where it is used.

Numba counts references of arrays, with atomic operations that cost more than a formula. So

- an `inlined` function becomes part of each of its callers before these are compiled;
- a `loop` is compiled without reference counts: it allocates nothing, and the arrays, also those in
  named tuples, belong to its caller;
- all else is `compiled` as usual.

Machine code is cached beside the source. Numba would use it as long as the function's own file is
unchanged, though functions and types of other files are compiled in; here it is compiled anew when
any file has changed of the room that the function is in, or of `scope_opt.model`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit
from numba.core import event

from scope_opt.model import compilation

Function = TypeVar("Function", bound=Callable[..., Any])


class _Listener(event.Listener):
    def on_start(self, event: event.Event) -> None:
        compilation.began()

    def on_end(self, event: event.Event) -> None:
        compilation.ended()


event.register("numba:compile", _Listener())  # type: ignore[no-untyped-call]


@cache
def _stamp(room: Path) -> tuple[tuple[str, float, int], ...]:
    """What changes with the source of a room and of the model."""
    root = Path(__file__).parents[2]
    files = {*room.rglob("*.py"), *(root / "scope_opt" / "model").rglob("*.py")}
    found = [(path, path.stat()) for path in sorted(files)]
    return tuple((str(path.relative_to(root)), stat.st_mtime, stat.st_size) for path, stat in found)


def _room(function: Callable[..., Any]) -> Path:
    """Folder of a function: ``formulations``, or one in ``scope_opt``."""
    parts = function.__module__.split(".")
    return Path(__file__).parents[2].joinpath(*parts[: 1 if parts[0] == "formulations" else 2])


def _cached(function: Function, **options: Any) -> Function:
    try:
        dispatcher = njit(cache=True, **options)(function)
    except RuntimeError:  # no folder can be written, as `scope-opt doctor` says
        return cast("Function", njit(**options)(function))
    if dispatcher is function:  # NUMBA_DISABLE_JIT=1, for debuggers and what needs no speed
        return function
    # The stamp is kept in the function's index file; another one there makes the cache start anew.
    dispatcher._cache._cache_file._source_stamp = _stamp(_room(function))
    return cast("Function", dispatcher)


def compiled(function: Function) -> Function:
    """Compile the function; it may allocate, also when a loop calls it."""
    # Said explicitly, since what a loop calls would inherit the loop's setting.
    return _cached(function, _nrt=True)


def released(function: Function) -> Function:
    """Compile the function; it runs without the interpreter's lock."""
    return _cached(function, nogil=True)


def inlined(function: Function) -> Function:
    """Put the function into its callers."""
    return _cached(function, inline="always")


def loop(function: Function) -> Function:
    """Compile the function without reference counts; it must not allocate."""
    return _cached(function, _nrt=False)
