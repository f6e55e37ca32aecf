"""Named tuples of equally long arrays: many things of a kind, one array for each of their numbers.

Compiled code takes and returns them as they are. Note that their ``len`` is that of any tuple, the
number of arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numba.extending import register_jitable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

Arrays = TypeVar("Arrays", bound=tuple[Any, ...])


def take(arrays: Arrays, index: NDArray[Any] | slice) -> Arrays:
    """Some of the things, as NumPy indexes arrays; a slice shares memory."""
    return type(arrays)._make(array[index] for array in arrays)  # type: ignore[attr-defined, no-any-return]


def joined(several: Iterable[Arrays]) -> Arrays:
    """All things of several, at least one, one after the other."""
    parts = list(several)
    return type(parts[0])._make(map(np.concatenate, zip(*parts, strict=True)))  # type: ignore[attr-defined, no-any-return]


@register_jitable
def longer(array: Ints, count: int) -> Ints:
    """The array with room for so many; what is added is undefined."""
    more = np.empty(count, dtype=np.int64)
    more[: len(array)] = array
    return more
