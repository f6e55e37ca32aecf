"""Pyomo models that their user may change, solve in HiGHS and write as MPS or LP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from formulations.family.open_program import OpenProgram
from formulations.highs import Highs, file_names, import_pyomo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from formulations.family.open_program import Answer, Read, Scale
    from formulations.request import Request
    from scope_opt.schedule.schedule import Schedule, Segment

    Variables = Mapping[str, Mapping[Any, Any]]
    Start = Callable[[Sequence[Segment]], Iterable[tuple[Any, float]] | None]


class PyomoProgram(OpenProgram):
    """A Pyomo model of a family.

    Parameters
    ----------
    request, formulation, model, scale, read, ceiling_ps
        See `OpenProgram`. Constraint lists of the model are the families of its rows; its objective
        is its component ``objective``.
    bound : callable
        Lower bound in ps or fJ that follows, whatever floats do, from one on the objective.
    start : callable
        Variables and their values in a schedule of these segments; None if it is none of the
        program's.
    variables : mapping, optional
        By family and index; the model's own components if not given.
    presolve : bool
        Whether HiGHS simplifies the program first.
    """

    def __init__(
        self,
        request: Request,
        formulation: str,
        model: Any,
        scale: Scale,
        read: Read,
        ceiling_ps: int | None,
        *,
        bound: Callable[[float], int],
        start: Start,
        variables: Variables | None = None,
        presolve: bool = True,
    ) -> None:
        super().__init__(request, formulation, model, scale, read, ceiling_ps)
        self._bound, self._start, self._presolve = bound, start, presolve
        self._variables = variables

    @property
    def variables(self) -> Variables:
        """See `OpenProgram`; with own ones where they are components of the model."""
        if self._variables is not None:
            return self._variables
        return {v.local_name: v for v in self.model.component_objects(import_pyomo().Var)}

    @property
    def families(self) -> Mapping[str, Sequence[Any]]:
        """See `OpenProgram`."""
        found: dict[str, list[Any]] = {}
        for rows in self.model.component_objects(import_pyomo().Constraint, active=True):
            if len(rows):
                found.setdefault(rows.local_name, []).extend(rows.values())
        return found

    def constrain(self, name: str, *rows: Any) -> None:
        """See `OpenProgram`; a sum of nothing makes a row a Python truth value."""
        if self.model.component(name) is not None:
            raise ValueError(f"the program has a {name!r} already; take another name")
        family = import_pyomo().ConstraintList()
        self.model.add_component(name, family)
        for row in rows:
            if row is False:
                family.add((1, self._nothing(), None))
            elif row is not True:
                family.add(row)

    def _nothing(self) -> Any:
        """0, as an expression of the model."""
        from pyomo.core.expr.numeric_expr import LinearExpression

        some = next(self.model.component_data_objects(import_pyomo().Var))
        return LinearExpression(constant=0, linear_coefs=[0.0], linear_vars=[some])

    def names(self) -> dict[str, Any]:
        """See `OpenProgram`."""
        every = list(self.model.component_data_objects(import_pyomo().Var))
        return dict(zip(file_names(every), every, strict=True))

    def _whole(self, variable: Any) -> bool:
        return not variable.is_continuous()

    def solve(
        self,
        time_limit_s: float | None = None,
        threads: int = 1,
        start: Schedule | None = None,
        log: Path | None = None,
    ) -> Answer:
        """See `OpenProgram`; in HiGHS."""
        monitor = self._monitor(time_limit_s)
        highs = Highs(self.model, monitor)
        outcome = highs.solve(
            monitor,
            threads=threads,
            log=log,
            start=None if start is None else self._start(start.segments),
            presolve=self._presolve,
        )
        own = not self.model.objective.active
        value = bound = None
        if outcome.objective is not None and not own:
            value = outcome.objective * self.scale.factor + self.scale.constant
        if outcome.bound is not None and not own and outcome.status != "infeasible":
            bound = self._bound(outcome.bound)
        values, schedule = outcome.values, None
        if values is not None:
            schedule = self._schedule(lambda variable: highs.value(values, variable))
        return self._answer(outcome.status, schedule, value, bound)

    def content(self, suffix: str) -> bytes:
        """See `OpenProgram`: .mps or .lp."""
        names = {id(variable): name for name, variable in self.names().items()}
        highs = Highs(self.model, self._monitor(None))
        factor, constant = float(self.scale.factor), float(self.scale.constant)
        if not self.model.objective.active:
            factor, constant = 1.0, 0.0
        return highs.content(suffix, self.title, self.description, names, factor, constant)
