"""The loop: relax, leave out, look for schedules, split ranges, and prove the rest in integers."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np

from formulations.network_milp.candidates import Candidates
from formulations.network_milp.copies import geometric
from formulations.network_milp.integers import InCpSat
from formulations.network_milp.probing import fitting
from formulations.network_milp.refinement import refined, true_beats
from formulations.network_milp.relaxation import InHighs
from formulations.network_milp.rows import Program

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from formulations.network_milp.certificate import Certificate
    from formulations.network_milp.copies import Beats
    from formulations.network_milp.goal import Goal
    from formulations.network_milp.refinement import BeatsFound
    from formulations.network_milp.rows import Run
    from formulations.request import Request
    from scope_opt.solving.result import Prover

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

UNDECIDED = "times are too long for 64 bits to tell such close schedules apart; the bound holds"
INTEGRAL = 1e-6
"""By which a value may differ from 0 or 1 to be offered as a schedule."""


class Search:
    """The best of the schedules up to a ceiling, or that there is none.

    Parameters
    ----------
    request : Request
    goal : Goal

    Raises
    ------
    Stopped
        If the monitor wants to stop; so does `run`.
    """

    def __init__(self, request: Request, goal: Goal) -> None:
        self._request, self._tuning = request, request.tuning
        self._goal, self._rounds = goal, 0
        with request.monitor.timed("build"):
            self._candidates = Candidates(request, goal.ceiling_ps, goal.ends)
        self._ranges = geometric(self._candidates, self._tuning.network_ratio)
        self._runs: set[Run] = set()
        """That relaxations have needed so far"""
        self.stuck = False
        """Whether integers of 64 bits cannot tell the schedules that are left apart"""

    def run(self, rounds: int | None = None) -> bool:
        """Go on until all is known of the schedules up to the ceiling, or for so many rounds.

        Returns
        -------
        bool
            Whether all is known, as far as integers of 64 bits can tell.
        """
        last = None if rounds is None else self._rounds + rounds
        while not self._settled and not self.stuck and self._rounds != last:
            self._round()
            self._rounds += 1
        return self._settled

    @property
    def _settled(self) -> bool:
        return self._goal.bound_ps > self._goal.ceiling_ps

    def _round(self) -> None:
        request, tuning = self._request, self._tuning
        ends = self._goal.ends
        what = "the network" if ends is None else f"layers {ends[0]}-{ends[1]}"
        request.monitor.report(f"program of {what}, round {self._rounds + 1}", 0.0)
        if ends is None:
            self._ranges = self._fitting()
        program = self._program(self._ranges)
        relaxation = InHighs(program, request, integer=False)
        relaxation.add(self._runs)
        values, certificate = relaxation.relax()
        self._runs = relaxation.runs
        self._prove(certificate.bound_ps, "highs")
        beats = true_beats(program, values)
        if np.all(np.abs(values - np.rint(values)) <= INTEGRAL):
            self._offer(program, values)
        if self._rounds < 2 or self._rounds % tuning.network_every == 0:
            self._look(certificate, beats)
        if self._settled:
            return
        self._ranges = certificate.remaining(self._goal.ceiling_ps)
        split = refined(self._ranges, beats)
        rest = self._program(self._ranges)
        left = sum(len(copy.clusters) for copy in rest.copies)
        if len(split) == len(self._ranges) or left <= tuning.network_small:
            split = refined(self._ranges, self._finish(rest))
            self.stuck = len(split) == len(self._ranges) and not self._settled
        self._ranges = split

    def _fitting(self) -> list[Beats]:
        """The ranges without segments that do not fit; only the new ones have to be looked at."""
        new = [each for each in self._ranges if not each.fits]
        found = fitting(self._program(new), self._request)
        return sorted(
            [each for each in self._ranges if each.fits] + found, key=attrgetter("low_ps")
        )

    def _program(self, ranges: Sequence[Beats]) -> Program:
        with self._request.monitor.timed("build"):
            return Program(self._candidates, ranges, self._goal.ceiling_ps + 1)

    def _prove(self, bound_ps: int, *by: Prover) -> None:
        """What was left out is slower than the ceiling, so no bound is beyond that."""
        self._goal.raise_bound(min(bound_ps, self._goal.ceiling_ps + 1), *by)

    def _offer(self, program: Program, values: Floats | Ints) -> None:
        segments = program.segments_of(values)
        if segments:
            self._goal.offer(segments)

    def _look(self, certificate: Certificate, beats: BeatsFound) -> None:
        """Look for schedules at the beats found, where solutions take what they are charged."""
        bound = certificate.bound_ps
        near = bound + int(self._tuning.network_share * (self._goal.ceiling_ps - bound))
        points = [
            point
            for each in certificate.remaining(near)
            for point in each.points({each.low_ps, *beats.get((each.low_ps, each.high_ps), ())})
        ]
        program = self._program(points)
        if not program.copies:
            return
        restricted = InHighs(program, self._request, integer=True)
        restricted.add(self._runs | program.whole_runs)
        restricted.search(
            lambda values: self._offer(program, values),
            self._tuning.network_nodes,
            self._tuning.network_seconds,
        )

    def _finish(self, program: Program) -> BeatsFound:
        """Prove in integers what is left; the true beats of the best solution, if there is one."""
        best = InCpSat(program, self._goal.ceiling_ps, self._runs).solve(
            self._request,
            lambda values: self._offer(program, values),
            lambda bound: self._prove(bound, "cp-sat"),
        )
        if best is None:
            self._prove(self._goal.ceiling_ps + 1, "cp-sat")
            return {}
        return true_beats(program, best.astype(float))
