"""Runs stated by prefix sums: variables for the sums, rows that define them, four terms a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from formulations.network_milp.rows import Program, Run

    Ints = NDArray[np.int64]


class Sums(NamedTuple):
    """Where the sums of one copy begin; ``L`` variables each.

    ``used`` by the clusters that begin at a layer, and ``level``, all that is used up to a layer
    less what the segments begun supply, by resource; ``covered`` is 1 where a segment has a layer.
    """

    covered: int
    used: list[int]
    level: list[int]


class PrefixSums:
    """Sums of a program, as variables behind its own, and the rows that define them.

    Each row is 0, and has the variable that it defines with -1. The variables are free.

    Parameters
    ----------
    program : Program
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        layers = program.candidates.layers
        line, width, height = np.arange(layers), len(program.cost), 0
        terms: list[tuple[Ints, Ints, Ints]] = []

        def put(row: Ints, column: Ints, value: Ints | int) -> None:
            row, column, value = np.broadcast_arrays(row, column, value)
            terms.append((row.ravel(), column.ravel(), value.ravel()))

        def define() -> tuple[Ints, int]:
            """Rows and variables of new sums, by layer."""
            nonlocal width, height
            put(height + line, width + line, -1)
            width, height = width + layers, height + layers
            return height - layers + line, width - layers

        self.copies: list[Sums] = []
        for copy, at in zip(program.copies, program.variables, strict=True):
            first = program.candidates.first[copy.clusters]
            x, s = np.arange(at.clusters, at.steps), np.arange(at.segments, at.clusters)
            a, b = copy.segments.T
            rows, covered = define()
            for layer in range(layers):
                put(rows[[layer]], s[(a <= layer) & (b >= layer)], 1)
            sums = Sums(covered, [], [])
            for resource in program.resources:
                rows, used = define()
                put(rows[first], x, resource.use[copy.clusters])
                rows, level = define()
                put(rows, used + line, 1)
                put(rows[1:], level + line[:-1], 1)
                put(rows[a], s, -resource.supply)
                sums.used.append(used)
                sums.level.append(level)
            self.copies.append(sums)
        self.width, self.height = width, height
        """Variables, those of the program included; rows"""
        parts = [np.concatenate(part) for part in zip(*terms, strict=True)] if terms else []
        self.rows, self.columns, self.values = parts or [np.zeros(0, np.int64)] * 3
        """Terms: row, variable, coefficient"""

    def terms(self, copy: int, run: Run) -> list[tuple[int, int]]:
        """Variables and coefficients of a run in a copy, which sum to no more than 0."""
        supply, sums = self._program.resources[run.resource].supply, self.copies[copy]
        used, level = sums.used[run.resource], sums.level[run.resource]
        terms = [(used + run.first, 1), (sums.covered + run.first, -supply)]
        if run.first < run.last:
            terms += [(level + run.last, 1), (level + run.first, -1)]
        return terms
