"""Parts of a search in several threads, whose results do not depend on how many there are.

Parts are compiled code that releases the interpreter for most of their time. Each begins from what
was known when it was given out, and whoever gave it out takes the results in its own order.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

T = TypeVar("T")


class Workers:
    """Do work while there is other work; with one thread, only when its result is wanted.

    Used as a context, at whose end all work is over: what has begun should look at `stopping` often
    and then raise `scope_opt.search.stopping.SearchStopped`. Work must not give out work.

    Parameters
    ----------
    threads : int
    stopping : callable
        Whether all is to end early.
    """

    def __init__(self, threads: int = 1, stopping: Callable[[], bool] = lambda: False) -> None:
        self.threads = threads
        self._asked, self._over = stopping, False
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over = True
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def stopping(self) -> bool:
        """Whether work should end without a result."""
        return self._over or self._asked()

    def begin(self, work: Callable[[], T]) -> Callable[[], T]:
        """Have ``work`` done; what is returned waits for its result, once."""
        return work if self._pool is None else self._pool.submit(work).result

    def each(self, work: Callable[[int], T], count: int) -> list[T]:
        """Results for 0, 1, ... up to ``count``, in this order."""
        return [wait() for wait in [self.begin(partial(work, k)) for k in range(count)]]


ONE_WORKER = Workers()
"""No other thread than the one that asks."""
