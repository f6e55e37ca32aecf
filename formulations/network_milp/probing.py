"""Segments that a range of beats is too short for, however many chiplets the others leave them.

The relaxation of the network mixes the segments of a copy, so that one that needs more chiplets
than there are hides behind one that needs fewer. Alone it cannot: a small linear program per
segment, the rows of its copy with the fewest chiplets as the objective, says so.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from formulations.highs import import_highs
from formulations.network_milp.certificate import whole_multipliers
from formulations.network_milp.engine import engine, linear_program
from formulations.network_milp.rows import COUPLING
from formulations.space import Stopped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from formulations.network_milp.copies import Beats, Copy
    from formulations.network_milp.rows import Program, Variables
    from formulations.request import Request

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

FINE = 2**10
"""Multipliers are integers in units of ``1 / FINE`` chiplets."""
LARGEST = 2.0**20
"""Multipliers are no larger, in chiplets, so that sums fit 64 bits."""


class Block(NamedTuple):
    """Rows and variables of one copy, numbered from 0; terms in the order of variables."""

    rows: Ints
    columns: Ints
    values: Ints
    lower: Ints
    upper: Ints
    segments: int
    """Variables of segments, which come first"""
    cost: Ints
    """Chiplets by variable; a segment earns one more than there are"""


def fitting(program: Program, request: Request) -> list[Beats]:
    """The ranges of a program without the segments that cannot have a beat in them.

    Raises
    ------
    Stopped
        If the monitor wants to stop.
    """
    found = []
    for copy, block in zip(program.copies, _blocks(program), strict=True):
        segments = np.zeros_like(copy.beats.segments)
        segments[copy.segments[:, 0], copy.segments[:, 1]] = True
        with request.monitor.library("highs"):
            probe = _Probe(block, request)
            for number, (first, last) in enumerate(copy.segments.tolist()):
                if request.monitor.stopping:
                    raise Stopped
                if probe.refutes(number):
                    segments[first, last] = False
        found.append(replace(copy.beats, segments=segments, fits=True))
    return found


def _blocks(program: Program) -> Iterator[Block]:
    """Rows and variables by copy."""
    alone = np.ones(len(program.lower), dtype=np.bool_)
    for name, begin, end in program.families:
        alone[begin:end] = name not in COUPLING
    keep = np.flatnonzero(alone[program.rows])
    keep = keep[np.argsort(program.columns[keep], kind="stable")]
    rows, columns, values = program.rows[keep], program.columns[keep], program.values[keep]
    for copy, at in zip(program.copies, program.variables, strict=True):
        part = slice(*np.searchsorted(columns, [at.segments, at.end]).tolist())
        used, row = np.unique(rows[part], return_inverse=True)
        yield Block(
            np.asarray(row, dtype=np.int64).ravel(),
            columns[part] - at.segments,
            values[part],
            program.lower[used],
            program.upper[used],
            at.clusters - at.segments,
            _chiplets(program, copy, at),
        )


def _chiplets(program: Program, copy: Copy, at: Variables) -> Ints:
    """Cost by variable of a copy."""
    cost = np.zeros(at.end - at.segments, dtype=np.int64)
    cost[: at.clusters - at.segments] = -(program.candidates.chiplets + 1)
    sizes = program.candidates.size[copy.clusters]
    cost[at.clusters - at.segments : at.steps - at.segments] = sizes
    return cost


class _Probe:
    """One copy in HiGHS, in which one segment after the other is allowed.

    An allowed segment earns one chiplet more than there are, and its clusters cost theirs: a
    solution that uses it is worth its while exactly if it needs no more than there are. Costs
    never change, so each probe begins with the basis of the one before.
    """

    def __init__(self, block: Block, request: Request) -> None:
        self._block = block
        self._optimal = import_highs().HighsModelStatus.kOptimal
        upper = np.ones(len(block.cost))
        upper[: block.segments] = 0
        lp = linear_program(
            block.cost.astype(float),
            (np.zeros(len(block.cost)), upper),
            (block.lower, block.upper),
            (block.rows, block.columns, block.values),
        )
        self._highs = engine(lp, request, presolve="off")
        self._allowed: int | None = None

    def refutes(self, segment: int) -> bool:
        """Whether the segment needs more chiplets than there are."""
        if self._allowed is not None:
            self._highs.changeColBounds(self._allowed, 0, 0)
        self._highs.changeColBounds(segment, 0, 1)
        self._allowed = segment
        self._highs.run()
        if self._highs.getModelStatus() != self._optimal:
            return False
        # A segment that fits is worth a chiplet at least.
        return self._proved(segment) > -FINE

    def _proved(self, segment: int) -> int:
        """What no solution with this segment can be below, in units of ``1 / FINE`` chiplets.

        As in `Certificate`: whatever the multipliers, adding up in integers proves it.
        """
        block = self._block
        duals = np.clip(np.array(self._highs.getSolution().row_dual), -LARGEST, LARGEST)
        multipliers = whole_multipliers(FINE * duals, block.lower, block.upper)
        reduced = FINE * block.cost
        np.subtract.at(reduced, block.columns, block.values * multipliers[block.rows])
        # Every side that there is is 0.
        rest = reduced[block.segments :]
        return int(min(0, reduced[segment]) + rest[rest < 0].sum())
