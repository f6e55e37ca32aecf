"""How compiled code is put together, so that a formula written once costs nothing where it is used.

Numba counts references of arrays, with atomic operations that cost more than a formula. So

- an `inlined` function becomes part of each of its callers before these are compiled;
- a `loop` is compiled without reference counts: it allocates nothing, and the arrays, also those in
  named tuples, belong to its caller. (Numba's option ``_nrt``.)

Numba caches machine code beside the source, and looks at the time stamp of the caller's file only.
After a change of an inlined function delete the ``__pycache__`` folders: callers in other files
have the old one in them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def inlined(function: Function) -> Function:
    """Put the function into its callers."""
    return cast("Function", njit(inline="always")(function))


def loop(function: Function) -> Function:
    """Compile the function without reference counts; it must not allocate."""
    options: dict[str, Any] = {"_nrt": False}
    return cast("Function", njit(cache=True, **options)(function))
