"""Piecewise linear functions of one integer argument, in Pyomo, in several encodings.

Functions of one argument share its encoding: the argument is written as a combination of
breakpoints once, with binaries that select a piece, and every function of it is then a linear
expression in the same weights. That matters here, since some twenty tables of a layer are all
functions of its region size.

All encodings are sharp: without integrality, the least value of a function is its lower convex
envelope. All but the convex combination are also locally ideal: the vertices of the relaxation
have integral binaries. Names and properties follow Vielma, Ahmed and Nemhauser, Mixed-integer
models for nonseparable piecewise-linear optimization (2010).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from formulations.highs import import_pyomo
from formulations.request import check_encoding

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Terms(NamedTuple):
    """A linear expression: a constant and coefficients of variables."""

    constant: float
    coefficients: tuple[float, ...]
    variables: tuple[Any, ...]

    def expression(self) -> Any:
        """As an expression of Pyomo."""
        from pyomo.core.expr.numeric_expr import LinearExpression

        return LinearExpression(
            constant=self.constant,
            linear_coefs=list(self.coefficients),
            linear_vars=list(self.variables),
        )


class Argument(ABC):
    """An integer argument between its first and last breakpoint, in one encoding.

    Parameters
    ----------
    block : pyomo Block
        Empty; variables and constraints go there.
    argument : pyomo Var or expression
        Must take integer values only.
    breakpoints : sequence of int
        Increasing.
    """

    def __init__(self, block: Any, argument: Any, breakpoints: Sequence[int]) -> None:
        self.breakpoints = tuple(breakpoints)
        self._pyo, self._block = import_pyomo(), block
        self._pieces = range(len(self.breakpoints) - 1)
        if self._pieces:
            self._build()
        block.argument = self._pyo.Constraint(expr=argument == self.of(self.breakpoints))

    def of(self, values: Sequence[float]) -> Any:
        """Expression of the function with these values at the breakpoints, linear in between."""
        if len(values) == 1:
            return float(values[0])
        return self.terms([float(value) for value in values]).expression()

    def start(self, argument: int) -> None:
        """Give every variable the value that it has at that argument."""
        if not self._pieces:
            return
        ends = enumerate(self.breakpoints[1:])
        piece = next((j for j, end in ends if argument <= end), self._pieces[-1])
        left, right = self.breakpoints[piece : piece + 2]
        self._start(piece, (argument - left) / (right - left), argument)

    def _variables(self, name: str, count: int) -> list[Any]:
        """Variables from 0 to 1."""
        variables = self._pyo.Var(range(count), bounds=(0, 1))
        self._block.add_component(name, variables)
        return [variables[index] for index in range(count)]

    def _binaries(self, name: str, count: int) -> list[Any]:
        variables = self._variables(name, count)
        for variable in variables:
            variable.domain = self._pyo.Binary
        return variables

    def _rows(self) -> Any:
        self._block.pieces = self._pyo.ConstraintList()
        return self._block.pieces

    @abstractmethod
    def _build(self) -> None:
        """Add variables and all constraints but the argument's own; there is a piece."""

    @abstractmethod
    def terms(self, values: Sequence[float]) -> Terms:
        """The function with these values at two or more breakpoints."""

    @abstractmethod
    def _start(self, piece: int, share: float, argument: int) -> None:
        """Set the variables for a point that far (0 to 1) into a piece."""


class Incremental(Argument):
    """How much of each piece is filled; the next piece may begin when one is full.

    A piece between neighboring integers is filled or empty, which takes one binary and no more.
    """

    def _build(self) -> None:
        rows = self._rows()
        count = len(self._pieces)
        self._filled = self._variables("filled", count)
        self._full: dict[int, Any] = {}
        lengths = [right - left for left, right in pairwise(self.breakpoints)]
        between = [j for j in self._pieces[:-1] if lengths[j] > 1 and lengths[j + 1] > 1]
        full = dict(zip(between, self._binaries("full", len(between)), strict=True))
        for j, filled in enumerate(self._filled):
            if lengths[j] == 1:
                filled.domain = self._pyo.Binary
        for j in self._pieces[:-1]:
            if j in full:
                rows.add(full[j] <= self._filled[j])
                rows.add(self._filled[j + 1] <= full[j])
            else:
                # One of the two is binary already and says whether the other one may be partial.
                rows.add(self._filled[j + 1] <= self._filled[j])
        self._full = full

    def terms(self, values: Sequence[float]) -> Terms:
        """Sum of the rises of the filled pieces."""
        rises = tuple(right - left for left, right in pairwise(values))
        return Terms(values[0], rises, tuple(self._filled))

    def _start(self, piece: int, share: float, argument: int) -> None:
        for j, filled in enumerate(self._filled):
            filled.value = 1.0 if j < piece else share if j == piece else 0.0
        for j, full in self._full.items():
            full.value = int(self._filled[j].value == 1.0)


class _Weighted(Argument):
    """One weight per breakpoint; pieces differ in how neighbors are singled out."""

    def _build(self) -> None:
        rows = self._rows()
        self._weights = self._variables("weights", len(self.breakpoints))
        rows.add(sum(self._weights) == 1)
        if len(self._pieces) > 1:
            self._neighbors(rows)

    @abstractmethod
    def _neighbors(self, rows: Any) -> None:
        """Let only the ends of one piece have a weight."""

    @abstractmethod
    def _select(self, piece: int) -> None:
        """Set the binaries for a piece."""

    def terms(self, values: Sequence[float]) -> Terms:
        """Weighted mean of the values."""
        return Terms(0.0, tuple(values), tuple(self._weights))

    def _start(self, piece: int, share: float, argument: int) -> None:
        for weight in self._weights:
            weight.value = 0.0
        self._weights[piece].value = 1 - share
        self._weights[piece + 1].value = share
        if len(self._pieces) > 1:
            self._select(piece)


class Convex(_Weighted):
    """Convex combination of the breakpoints, with one binary per piece."""

    def _neighbors(self, rows: Any) -> None:
        self._chosen = self._binaries("chosen", len(self._pieces))
        rows.add(sum(self._chosen) == 1)
        for k, weight in enumerate(self._weights):
            rows.add(weight <= sum(self._chosen[max(k - 1, 0) : k + 1]))

    def _select(self, piece: int) -> None:
        for j, chosen in enumerate(self._chosen):
            chosen.value = int(j == piece)


class Logarithmic(_Weighted):
    """Convex combination with as many binaries as a Gray code of the pieces has bits.

    Vielma and Nemhauser, Modeling disjunctive constraints with a logarithmic number of binary
    variables and constraints (2011). Codes of neighboring pieces differ in one bit, so the
    breakpoints whose pieces agree in a bit are the ones that the bit can exclude; any number of
    pieces will do.
    """

    def _neighbors(self, rows: Any) -> None:
        self._bits = self._binaries("bits", self._pieces[-1].bit_length())
        for bit, variable in enumerate(self._bits):
            sides: tuple[list[Any], list[Any]] = ([], [])
            for k, weight in enumerate(self._weights):
                around = {_gray(j) >> bit & 1 for j in (k - 1, k) if j in self._pieces}
                if len(around) == 1:
                    sides[around.pop()].append(weight)
            rows.add(sum(sides[1]) <= variable)
            rows.add(sum(sides[0]) <= 1 - variable)

    def _select(self, piece: int) -> None:
        for bit, variable in enumerate(self._bits):
            variable.value = _gray(piece) >> bit & 1


class Disaggregated(Argument):
    """One convex combination per piece, of which one has the weight 1."""

    def _build(self) -> None:
        rows = self._rows()
        self._left = self._variables("left", len(self._pieces))
        self._right = self._variables("right", len(self._pieces))
        self._chosen = self._binaries("chosen", len(self._pieces))
        rows.add(sum(self._chosen) == 1)
        for left, right, chosen in zip(self._left, self._right, self._chosen, strict=True):
            rows.add(left + right == chosen)

    def terms(self, values: Sequence[float]) -> Terms:
        """Weighted mean of the values at the ends of the pieces."""
        return Terms(0.0, (*values[:-1], *values[1:]), (*self._left, *self._right))

    def _start(self, piece: int, share: float, argument: int) -> None:
        for j in self._pieces:
            self._left[j].value = 1 - share if j == piece else 0.0
            self._right[j].value = share if j == piece else 0.0
            self._chosen[j].value = int(j == piece)


class MultipleChoice(Argument):
    """A copy of the argument per piece, zero but in the chosen piece."""

    def _build(self) -> None:
        rows = self._rows()
        self._copies = self._variables("copies", len(self._pieces))
        for copy in self._copies:
            copy.setub(None)
        self._chosen = self._binaries("chosen", len(self._pieces))
        rows.add(sum(self._chosen) == 1)
        for (left, right), copy, chosen in zip(
            pairwise(self.breakpoints), self._copies, self._chosen, strict=True
        ):
            rows.add(copy >= left * chosen)
            rows.add(copy <= right * chosen)

    def terms(self, values: Sequence[float]) -> Terms:
        """Slope times copy, and intercept, of the chosen piece."""
        slopes, intercepts = [], []
        for (left, right), (low, high) in zip(
            pairwise(self.breakpoints), pairwise(values), strict=True
        ):
            slopes.append((high - low) / (right - left))
            intercepts.append((low * right - high * left) / (right - left))
        return Terms(0.0, (*slopes, *intercepts), (*self._copies, *self._chosen))

    def _start(self, piece: int, share: float, argument: int) -> None:
        for j in self._pieces:
            self._copies[j].value = argument if j == piece else 0
            self._chosen[j].value = int(j == piece)


ENCODINGS: dict[str, Callable[[Any, Any, Sequence[int]], Argument]] = {
    "incremental": Incremental,
    "convex": Convex,
    "disaggregated": Disaggregated,
    "logarithmic": Logarithmic,
    "multiple-choice": MultipleChoice,
}
"""By name; the first is the default of the solvers."""


def encode(name: str, block: Any, argument: Any, breakpoints: Sequence[int]) -> Argument:
    """Encode an argument; see `Argument`.

    Raises
    ------
    InputError
        If there is no such encoding.
    """
    check_encoding(name, ENCODINGS)
    return ENCODINGS[name](block, argument, breakpoints)


def _gray(number: int) -> int:
    """Gray code: consecutive numbers differ in one bit."""
    return number ^ (number >> 1)
