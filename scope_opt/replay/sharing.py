"""Links of the mesh that transfers under way at the same time share fairly.

Alone, a transfer takes its time and keeps every link busy for a part of it; on the link that
limits it, for all of it unless it moves one thing after the other. When links are asked for more
than they can carry, transfers go on at a lower pace: a share of the time that they need alone. All
paces grow together until a link is full; those of its transfers stay there, the others go on up to
1. That is max-min fair: no pace could be higher but at the expense of one that is no higher itself
(Bertsekas and Gallager, Data Networks, 1992, section 6.5.2).
"""

from __future__ import annotations

from math import ceil, inf
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import simpy
    from numpy.typing import NDArray

    from scope_opt.replay.stages import Stage
    from scope_opt.replay.transfers import Transfer

    Floats = NDArray[np.float64]

SLACK = 1e-9
"""Relative; float noise fills no link."""

EARLY_PS = 1e-3
"""Far above float noise, far below a picosecond: what is left then is done."""


def paces(use: Floats) -> Floats:
    """Max-min fair paces of transfers, each at most 1.

    Parameters
    ----------
    use : float array, shape ``(transfers, links)``
        Part of each link that a transfer takes at pace 1.

    Returns
    -------
    float array, shape ``(transfers,)``
    """
    found = np.ones(len(use))
    crowded = use.sum(axis=0) > 1 + SLACK
    if not crowded.any():
        return found
    use = use[:, crowded]  # no other link can be full
    rising, pace = use.any(axis=1), 0.0
    while rising.any():
        wanted = rising @ use
        left = 1 - np.where(rising, 0.0, found) @ use
        level = np.divide(left, wanted, out=np.full(len(left), inf), where=wanted > SLACK)
        pace = max(pace, level.min())  # never less, but for float noise
        if pace >= 1:
            break
        full = level <= pace * (1 + SLACK)
        stay = rising & use[:, full].any(axis=1)
        found[stay] = pace
        rising &= ~stay
    return found


class SharedLinks:
    """The links that stages of a pipeline can crowd; each stage has one transfer at a time."""

    def __init__(self, env: simpy.Environment, stages: Sequence[Stage]) -> None:
        self._env = env
        most: Floats | float = 0.0  # on each link, with every stage at its worst for it
        for stage in stages:
            uses = [_use(each) for each in stage.transfers if each.links_ps is not None]
            most = most + np.max(uses, axis=0) if uses else most
        self._contested = np.flatnonzero(np.asarray(most) > 1 + SLACK)
        self._use = np.zeros((len(stages), len(self._contested)))
        self._left_ps = np.full(len(stages), inf)
        """Time that each stage's transfer still needs at pace 1; none has all the time."""
        self._pace = np.ones(len(stages))
        self._ends: dict[int, simpy.Event] = {}
        self._since_ps, self._plan = 0, 0

    def carry(self, stage: int, transfer: Transfer) -> simpy.Event:
        """An event at the end of a transfer that begins now."""
        use = _use(transfer)[self._contested] if len(self._contested) else self._contested
        if not use.any():
            return self._env.timeout(transfer.time_ps)
        self._advance()
        self._use[stage], self._left_ps[stage] = use, transfer.time_ps
        end = self._ends[stage] = self._env.event()
        self._share()
        return end

    def _advance(self) -> None:
        """What has been carried since paces changed."""
        now_ps = int(self._env.now)
        self._left_ps -= self._pace * (now_ps - self._since_ps)
        self._since_ps = now_ps

    def _share(self) -> None:
        """Paces anew, and when the next transfer ends."""
        self._plan += 1
        if not self._ends:
            return
        self._pace = paces(self._use)
        remaining = float((self._left_ps / self._pace).min())
        plan = self._plan
        # Whole picoseconds, as everywhere.
        timer = self._env.timeout(max(0, ceil(remaining - EARLY_PS)))
        timer.callbacks.append(lambda _: self._end(plan))

    def _end(self, plan: int) -> None:
        if plan != self._plan:
            return  # paces have changed since
        self._advance()
        done = [s for s in self._ends if self._left_ps[s] <= EARLY_PS * self._pace[s]]
        for stage in done:
            self._use[stage], self._left_ps[stage] = 0.0, inf
            self._ends.pop(stage).succeed()
        self._share()


def _use(transfer: Transfer) -> Floats:
    """Part of each link that it takes at pace 1."""
    assert transfer.links_ps is not None
    return transfer.links_ps / transfer.time_ps
