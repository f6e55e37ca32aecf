"""What a search is after: the best schedule up to a ceiling, or that there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from formulations.paths.cuts import Cuts
    from formulations.request import Request
    from scope_opt.schedule.schedule import Segment
    from scope_opt.solving.result import Prover


class Goal(Protocol):
    """Where a search has its ceiling from, and where it reports."""

    @property
    def ends(self) -> tuple[int, int] | None:
        """First and last layer of a segment that is all there is; None for the whole network."""

    @property
    def ceiling_ps(self) -> int:
        """Slower schedules do not matter; falls as schedules are found."""

    @property
    def bound_ps(self) -> int:
        """What is proved so far."""

    def raise_bound(self, bound_ps: int, *by: Prover) -> None:
        """Report a lower bound, and who proved it."""

    def offer(self, segments: Sequence[Segment]) -> None:
        """Report a schedule."""


class WholeNetwork:
    """Schedules of the network up to a ceiling, and better than the best one known."""

    ends = None

    def __init__(self, request: Request, ceiling_ps: int) -> None:
        self._request, self._ceiling = request, ceiling_ps

    @property
    def ceiling_ps(self) -> int:
        """See `Goal`."""
        best = self._request.monitor.objective
        return self._ceiling if best is None else min(self._ceiling, best - 1)

    @property
    def bound_ps(self) -> int:
        """See `Goal`."""
        return self._request.monitor.bound or 0

    def raise_bound(self, bound_ps: int, *by: Prover) -> None:
        """See `Goal`."""
        self._request.raise_bound(bound_ps, *by)

    def offer(self, segments: Sequence[Segment]) -> None:
        """See `Goal`."""
        self._request.offer(segments)


class OneSegment:
    """Schedules of a segment up to a ceiling, and better than the best one known."""

    def __init__(self, cuts: Cuts, ends: tuple[int, int], ceiling_ps: int) -> None:
        self.ends = ends
        self._cuts, self._ceiling = cuts, ceiling_ps

    @property
    def ceiling_ps(self) -> int:
        """See `Goal`."""
        return min(self._ceiling, self._cuts.latency(*self.ends) - 1)

    def fall(self, ceiling_ps: int) -> None:
        """Slower schedules than that do not matter any more."""
        self._ceiling = min(self._ceiling, ceiling_ps)

    @property
    def bound_ps(self) -> int:
        """See `Goal`."""
        return int(self._cuts.lower[self.ends])

    def raise_bound(self, bound_ps: int, *by: Prover) -> None:
        """See `Goal`."""
        self._cuts.refute(*self.ends, bound_ps, *by)

    def offer(self, segments: Sequence[Segment]) -> None:
        """See `Goal`."""
        for segment in segments:
            self._cuts.found(segment)
