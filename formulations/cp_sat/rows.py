"""How rows of the constraint programs for OR-tools CP-SAT are stated; what the programs share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from scope_opt.model.tables import LIMIT
from scope_opt.solving.solver import SolverUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from formulations.space import Space

ROW_LIMIT = 2**30
"""Rows over Booleans keep the sum of their coefficients below this."""


def import_cp_sat() -> Any:
    """OR-tools' module for CP-SAT; raises `SolverUnavailable` if it is not installed."""
    try:
        from ortools.sat.python import cp_model
    except ImportError as error:
        raise SolverUnavailable(
            f"solver 'cp-sat' needs OR-tools; install it with: pip install ortools ({error})"
        ) from error
    return cp_model


class PowerRow(NamedTuple):
    """Least beat of a segment under a power budget: ``beat_factor * beat >= energy_factor * E``."""

    beat_factor: int
    energy_factor: int

    @classmethod
    def of(cls, space: Space, beat_ps: int, energy_fj: int) -> PowerRow | None:
        """Integers whose row stays below 2^61 for values up to those; a weaker one if need be."""
        if space.power_fj_per_ps is None:
            return None
        per_beat, per_energy = space.power_fj_per_ps.as_integer_ratio()
        beat_ps = min(beat_ps, LIMIT // 2)  # schedules with longer ones do not count
        while per_beat * beat_ps + per_energy * energy_fj >= LIMIT:
            per_beat, per_energy = -(-per_beat // 2), per_energy // 2
        return cls(per_beat, per_energy)

    def beat_ps(self, energy_fj: int) -> int:
        """Least beat of that energy per sample."""
        return -(-self.energy_factor * energy_fj // self.beat_factor)


class Rows:
    """Variables and rows over Booleans ``x`` of which few are true, with coefficients kept small.

    What follows from the choice of Booleans is remembered, so that hints can be complete.
    """

    def __init__(self, model: Any, count: int) -> None:
        self._expr, self._model = import_cp_sat().LinearExpr, model
        self.x = [model.new_bool_var("") for _ in range(count)]
        self._picked: list[tuple[Any, dict[int, int]]] = []
        self._parts: list[tuple[Any, list[Any], int, int]] = []

    def sum(self, terms: Iterable[Any]) -> Any:
        """Sum of variables."""
        return self._expr.sum(list(terms))

    def weighted(self, terms: Sequence[tuple[Any, int]]) -> Any:
        """Sum of variables times coefficients."""
        return self._expr.weighted_sum([v for v, _ in terms], [c for _, c in terms])

    def pick(self, terms: Sequence[tuple[int, int]]) -> Any:
        """Variable of at least the value of the one of those columns that is used, else 0."""
        variable = self._model.new_int_var(0, max((value for _, value in terms), default=0), "")
        if sum(value for _, value in terms) < ROW_LIMIT:
            self._model.add(variable == self.weighted([(self.x[k], c) for k, c in terms]))
        else:
            self.at_least(variable, terms, [k for k, _ in terms])
        self._picked.append((variable, dict(terms)))
        return variable

    def at_least(
        self, variable: Any, terms: Sequence[tuple[int, int]], apiece: Sequence[int]
    ) -> None:
        """``variable`` is at least the value of the one column that is used.

        Where the row's coefficients are too large, every column of ``apiece`` has a row of its own,
        and there is a coarse copy of the row for the linear relaxation.
        """
        total = sum(value for _, value in terms)
        unit = -(-total // ROW_LIMIT)
        values = dict(terms)
        if unit > 1:
            for k in apiece:
                self._model.add(variable >= values[k]).only_enforce_if(self.x[k])
            variable = self.part([variable], unit, max(values.values()))
        self._model.add(
            variable >= self.weighted([(self.x[k], c // max(1, unit)) for k, c in terms])
        )

    def part(self, variables: list[Any], unit: int, top: int) -> Any:
        """Variable for a sum of others (or for ``top``) divided by ``unit``, rounded down."""
        part = self._model.new_int_var(0, top // unit, "")
        self._model.add(unit * part <= self.sum(variables))
        self._parts.append((part, variables, unit, top))
        return part

    def hint(self, values: dict[int, int], chosen: Sequence[int]) -> None:
        """Hint that just the Booleans ``chosen`` are true, and what follows.

        ``values`` are those of all variables not made here, by index.
        """
        values = {**values, **{x.index: 0 for x in self.x}, **{self.x[k].index: 1 for k in chosen}}
        for variable, picked in self._picked:
            values[variable.index] = max((picked.get(k, 0) for k in chosen), default=0)
        for part, sources, unit, top in self._parts:
            values[part.index] = min(top, sum(values[v.index] for v in sources)) // unit
        hints = self._model.proto.solution_hint
        hints.vars.extend(values.keys())
        hints.values.extend(values.values())
