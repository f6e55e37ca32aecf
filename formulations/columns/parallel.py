"""Compiled code that releases the interpreter, in several threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from formulations.space import Stopped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")


def each(
    work: Callable[[int], T], count: int, threads: int, stopping: Callable[[], bool]
) -> Iterator[T]:
    """Results for 0, 1, ... up to ``count``, in this order whatever the number of threads.

    Raises `Stopped` when ``stopping`` says so, which is asked before each.
    """
    if threads == 1:
        for k in range(count):
            if stopping():
                raise Stopped
            yield work(k)
        return
    pool = ThreadPoolExecutor(threads)
    try:
        for future in [pool.submit(work, k) for k in range(count)]:
            if stopping():
                raise Stopped
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)
