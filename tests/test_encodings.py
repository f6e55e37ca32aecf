"""Encodings of piecewise linear functions: exact at every integer, convex envelope without it."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st

pyo = pytest.importorskip("pyomo.environ", reason="Pyomo is not installed")

from pyomo.repn.plugins.standard_form import LinearStandardFormCompiler  # noqa: E402
from scipy.optimize import Bounds, LinearConstraint, milp  # noqa: E402

from formulations.compact_milp.encodings import ENCODINGS, Argument, encode  # noqa: E402
from scope_opt.model.files import InputError  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence


@st.composite
def functions(draw: st.DrawFn, count: int = 1) -> tuple[list[int], list[list[int]]]:
    """Breakpoints and values of some functions."""
    points = draw(st.lists(st.integers(1, 40), min_size=1, max_size=8, unique=True))
    values = st.lists(st.integers(0, 50), min_size=len(points), max_size=len(points))
    return sorted(points), draw(st.lists(values, min_size=count, max_size=count))


def at(points: list[int], values: list[int], x: float) -> float:
    """Straight from the definition."""
    for (a, b), (fa, fb) in zip(pairwise(points), pairwise(values), strict=True):
        if a <= x <= b:
            return fa + (fb - fa) * (x - a) / (b - a)
    return float(values[0])


def model_of(name: str, points: list[int]) -> tuple[Any, Argument]:
    model = pyo.ConcreteModel()
    model.x = pyo.Var(domain=pyo.Integers, bounds=(points[0], points[-1]))
    model.encoded = pyo.Block()
    argument = encode(name, model.encoded, model.x, points)
    return model, argument


class Compiled:
    """The constraints as arrays, for many small solves with SciPy."""

    def __init__(self, model: Any, argument: Argument, functions: Sequence[list[int]]) -> None:
        model.ys = pyo.Var(range(len(functions)))
        model.defined = pyo.Constraint(
            range(len(functions)), rule=lambda m, k: m.ys[k] == argument.of(functions[k])
        )
        binaries = [v for v in model.encoded.component_data_objects(pyo.Var) if v.is_binary()]
        everything = [model.x, *model.ys.values(), *binaries]
        model.objective = pyo.Objective(expr=sum(everything))
        form = LinearStandardFormCompiler().write(model, mixed_form=True)
        kind = np.array([row.bound_type for row in form.rows])
        self._rows = LinearConstraint(
            form.A,
            np.where(kind <= 0, form.rhs, -np.inf),
            np.where(kind >= 0, form.rhs, np.inf),
        )
        places = {id(v): k for k, v in enumerate(form.columns)}
        self._x, self._ys, self.binaries = (
            [places[id(v)] for v in part] for part in ([model.x], model.ys.values(), binaries)
        )
        self._lower = [-np.inf if v.lb is None else v.lb for v in form.columns]
        self._upper = [np.inf if v.ub is None else v.ub for v in form.columns]
        self._integral = np.array([not v.is_continuous() for v in form.columns], dtype=int)

    def least(
        self,
        x: float | None,
        weights: Sequence[float],
        others: Sequence[float] = (),
        *,
        relaxed: bool,
    ) -> tuple[float, Any]:
        """Least weighted sum of the functions and the binaries, and the values of all variables."""
        cost, lower, upper = np.zeros(len(self._lower)), [*self._lower], [*self._upper]
        cost[self._ys] = weights
        cost[self.binaries] += [*others, *[0.0] * (len(self.binaries) - len(others))]
        if x is not None:
            lower[self._x[0]] = upper[self._x[0]] = x
        found = milp(
            cost,
            constraints=self._rows,
            bounds=Bounds(lower, upper),
            integrality=self._integral * (not relaxed),
        )
        assert found.success
        return float(found.fun), found.x


@pytest.mark.parametrize("name", ENCODINGS)
@settings(max_examples=strategies.share(4))
@given(drawn=functions(count=2))
def test_exact_at_every_integer(name: str, drawn: tuple[list[int], list[list[int]]]) -> None:
    """Fixing the argument leaves one value for every function of it."""
    points, tables = drawn
    program = Compiled(*model_of(name, points), tables)
    for x in {*points, *(a + 1 for a in points[:-1]), (points[0] + points[-1]) // 2}:
        # Functions share the weights, so that of a weighted sum is the sum of theirs.
        expected = at(points, tables[0], x) + 100 * at(points, tables[1], x)
        for sign in (1, -1):
            found, _ = program.least(x, [sign, 100 * sign], relaxed=False)
            assert sign * found == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("name", ENCODINGS)
@settings(max_examples=strategies.share(4))
@given(drawn=functions(), data=st.data())
def test_relaxation_is_the_convex_envelope(
    name: str, drawn: tuple[list[int], list[list[int]]], data: st.DataObject
) -> None:
    points, (values,) = drawn
    program = Compiled(*model_of(name, points), [values])
    x = data.draw(st.floats(points[0], points[-1]))
    chords = [
        fa + (fb - fa) * (x - a) / (b - a)
        for a, fa in zip(points, values, strict=True)
        for b, fb in zip(points, values, strict=True)
        if a <= x <= b and a < b
    ]
    found, _ = program.least(x, [1], relaxed=True)
    assert found == pytest.approx(min(chords, default=values[0]), abs=1e-4)


@pytest.mark.parametrize("name", [name for name in ENCODINGS if name != "convex"])
@settings(max_examples=strategies.share(4))
@given(drawn=functions(), data=st.data())
def test_locally_ideal(
    name: str, drawn: tuple[list[int], list[list[int]]], data: st.DataObject
) -> None:
    """Whatever is minimized over the relaxation, binaries come out integral."""
    points, (values,) = drawn
    program = Compiled(*model_of(name, points), [values])
    costs = st.floats(-5, 5, allow_subnormal=False)
    others = data.draw(st.lists(costs, min_size=len(program.binaries), max_size=60))
    _, solution = program.least(None, [1], others[: len(program.binaries)], relaxed=True)
    for value in solution[program.binaries]:
        assert min(abs(value), abs(1 - value)) < 1e-5


@pytest.mark.parametrize("name", ENCODINGS)
@given(drawn=functions(), data=st.data())
def test_starting_values_are_feasible(
    name: str, drawn: tuple[list[int], list[list[int]]], data: st.DataObject
) -> None:
    points, (values,) = drawn
    model, argument = model_of(name, points)
    x = data.draw(st.integers(points[0], points[-1]))
    model.x.value = x
    argument.start(x)
    for variable in model.encoded.component_data_objects(pyo.Var):
        assert variable.value is not None
        if variable.is_integer() or variable.is_binary():
            assert variable.value == round(variable.value)
        assert variable.lb is None or variable.value >= variable.lb
        assert variable.ub is None or variable.value <= variable.ub
    for row in model.component_data_objects(pyo.Constraint):
        body = pyo.value(row.body)
        assert row.lower is None or body >= pyo.value(row.lower) - 1e-9
        assert row.upper is None or body <= pyo.value(row.upper) + 1e-9
    assert pyo.value(argument.of(values)) == pytest.approx(at(points, values, x))


@pytest.mark.parametrize(
    ("name", "binaries"), [("incremental", 3), ("logarithmic", 3), ("convex", 7)]
)
def test_number_of_binaries(name: str, binaries: int) -> None:
    """Incremental: none between, and one for, pieces of length 1."""
    model, _ = model_of(name, [1, 2, 3, 4, 8, 16, 24, 25])
    found = [v for v in model.encoded.component_data_objects(pyo.Var) if v.is_binary()]
    assert len(found) == (binaries if name != "incremental" else 4 + 2)


def test_unknown_encodings_are_refused() -> None:
    with pytest.raises(InputError, match="incremental, convex"):
        model_of("sos2", [1, 2])
