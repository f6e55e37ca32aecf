"""How compiled code is put together, so that a formula written once costs nothing where it is used.

Numba counts references of arrays, with atomic operations that cost more than a formula. So

- an `inlined` function becomes part of each of its callers before these are compiled;
- a `loop` is compiled without reference counts: it allocates nothing, and the arrays, also those in
  named tuples, belong to its caller;
- all else is `compiled` as usual.

Machine code is cached beside the source. Numba would use it as long as the function's own file is
unchanged, though functions of other files are compiled in; here it is compiled anew when any file
of `scope_opt.search` has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def _stamp() -> tuple[tuple[str, float, int], ...]:
    """What changes with the source of the searches."""
    here = Path(__file__).parent
    found = [(path, path.stat()) for path in sorted(here.rglob("*.py"))]
    return tuple((str(path.relative_to(here)), stat.st_mtime, stat.st_size) for path, stat in found)


STAMP = _stamp()


def _cached(function: Function, **options: Any) -> Function:
    dispatcher = njit(cache=True, **options)(function)
    # The stamp is kept in the function's index file; another one there makes the cache start anew.
    dispatcher._cache._cache_file._source_stamp = STAMP
    return cast("Function", dispatcher)


def compiled(function: Function) -> Function:
    """Compile the function."""
    return _cached(function)


def inlined(function: Function) -> Function:
    """Put the function into its callers."""
    return _cached(function, inline="always")


def loop(function: Function) -> Function:
    """Compile the function without reference counts; it must not allocate."""
    return _cached(function, _nrt=False)
