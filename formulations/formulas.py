"""The formulas of docs/model.md that columns and programs need, each once.

Plain functions, for the interpreter and for compiled code alike; times are in ps, weights in bytes.
Numba does not notice a change here in what it has cached of other modules: remove their
``__pycache__`` after one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

from numba.extending import register_jitable

from scope_opt.model.tables import ISP

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

# --- Layers and clusters -------------------------------------------------------------------------


def layer_time(computing: int, sending: int, gathering: int) -> int:
    """A layer sends while it computes, after it has gathered its weights."""
    return max(computing, sending) + gathering


def room_left(stored: int, capacity: int, stream: bool, exempt: bool) -> int:
    """Room for gathered copies of weights, in bytes; negative: the cluster is not allowed.

    ``stream``: what does not fit may be fetched for every sample; ``exempt``: a layer alone on the
    whole package, whose weights pass through in tiles that serve all samples.
    """
    room = capacity - stored
    return max(0, room) if stream or exempt else room


def refetched(stored: int, capacity: int, exempt: bool) -> int:
    """Weights that are fetched for every sample, in bytes; see `room_left`."""
    return 0 if exempt else max(0, stored - capacity)


def refetching_time(missing: int, fs_per_byte: int, transfers: int, dram_latency: int) -> int:
    """Time to fetch so many bytes of as many layers as have weights, rounded up."""
    if missing == 0:
        return 0
    return transfers * dram_latency + (missing * fs_per_byte + 999) // 1000


def copies_fit(partition: int, weights: int, size: int, room: int) -> bool:
    """Whether a region has room for all that its chiplets hold of a layer; WSP copies weights."""
    return partition == ISP or weights * (size - 1) <= room


# --- Segments ------------------------------------------------------------------------------------


def segment_latency(load: int, samples: int, clusters: int, beat: int) -> int:
    """Weight loading, and a beat per sample and to fill the pipeline."""
    return load + (samples + clusters - 1) * beat


@overload
def longest_beat(latency: int, load: int, samples: int, clusters: int) -> int: ...  # type: ignore[overload-overlap]
@overload
def longest_beat(
    latency: int | Ints, load: int | Ints, samples: int, clusters: int | Ints
) -> Ints: ...
def longest_beat(
    latency: int | Ints, load: int | Ints, samples: int, clusters: int | Ints
) -> int | Ints:
    """Longest beat of a segment of so many clusters within a latency; negative: there is none."""
    return (latency - load) // (samples + clusters - 1)


for formula in (layer_time, room_left, refetched, refetching_time, copies_fit, longest_beat):
    register_jitable(formula)
