"""Choices of all partitions of a cluster that no other one beats, compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from formulations.arrays import longer
from formulations.columns.columns import NO_SENDING
from scope_opt.model.compiled import loop, released

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from formulations.columns.labels import Labels

    Ints = NDArray[np.int64]

ANY = 2
"""Number of the choices for any partition of the first layer; else it is that partition."""


class Choices(NamedTuple):
    """Choices of all partitions of a cluster, each of shape ``(n,)``; see `Columns`."""

    time_ps: Ints
    sending_ps: Ints
    energy_fj: Ints
    label: Ints


def no_choices() -> Choices:
    """Room for choices, which grows where it is needed."""
    return Choices(*np.zeros((4, 1024), dtype=np.int64))


@loop
def choices(
    labels: Labels,
    spans: Ints,
    low: Ints,
    high: Ints,
    handed: int,
    spent: int,
    head: int,
    top: int,
    at: Ints,
    found: Choices,
    used: int,
) -> int:
    """Append the choices that no other one beats, up to a time; how many there are then.

    Whatever the next cluster charges for receiving, a choice that beats another is as fast, and
    takes no more energy. It is enough to look at the least and the most that can be charged.

    Parameters
    ----------
    labels, spans
        Of the cluster's last layer.
    low, high : int64 array, shape (2,)
        What is added to the time of a label for the last layer, by its partition, if the next
        cluster charges the least and the most.
    handed, spent : int
        What the last layer sends, and the energy for all that leaves the cluster.
    head : int
        Partition of the first layer, or `ANY`.
    top : int
        Largest time.
    at : int64 array, shape (4,)
        Overwritten.
    found : Choices
        With room for all labels.
    used : int
        How many choices there are before.
    """
    time_ps, energy_fj, _ = labels
    for pair in range(4):
        if head not in (ANY, pair // 2):
            continue
        q = pair % 2
        for other in range(4):
            at[other] = spans[other]
        for n in range(spans[pair], spans[pair + 1]):
            if time_ps[n] + low[q] > top:
                break
            beaten = False
            for other in range(4):
                if other == pair or head not in (ANY, other // 2):
                    continue
                o = other % 2
                # How much faster a label has to be for the other pair to be as fast.
                ahead = max(low[o] - low[q], high[o] - high[q])
                behind = max(low[q] - low[o], high[q] - high[o])
                while at[other] < spans[other + 1] and time_ps[at[other]] + ahead <= time_ps[n]:
                    at[other] += 1
                best = at[other] - 1
                if best < spans[other] or energy_fj[best] > energy_fj[n]:
                    continue
                # Of two that are equal the first one stays.
                equal = time_ps[best] + ahead == time_ps[n] and energy_fj[best] == energy_fj[n]
                beaten |= not equal or ahead + behind > 0 or other < pair
            if not beaten:
                found.time_ps[used] = time_ps[n] + low[q]
                found.sending_ps[used] = NO_SENDING
                if high[q] > low[q]:
                    found.sending_ps[used] = time_ps[n] + handed
                found.energy_fj[used] = energy_fj[n] + spent
                found.label[used] = 4 * (n - spans[pair]) + pair
                used += 1
    return used


@loop
def same(found: Choices, spans: Ints, i: int, j: int) -> bool:
    """Whether the choices for two ranges of ends have the same times and energies."""
    for head in range(3):
        a, b = spans[i, head], spans[j, head]
        if spans[i, head + 1] - a != spans[j, head + 1] - b:
            return False
        for n in range(spans[i, head + 1] - a):
            if found.time_ps[a + n] != found.time_ps[b + n]:
                return False
            if found.sending_ps[a + n] != found.sending_ps[b + n]:
                return False
            if found.energy_fj[a + n] != found.energy_fj[b + n]:
                return False
    return True


@released
def more_choices(found: Choices, count: int) -> Choices:
    """The same with room for so many."""
    return Choices(
        longer(found.time_ps, count),
        longer(found.sending_ps, count),
        longer(found.energy_fj, count),
        longer(found.label, count),
    )
