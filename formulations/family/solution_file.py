"""Files of solutions that solvers write: names of variables and their values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from scope_opt.model.files import InputError

if TYPE_CHECKING:
    from pathlib import Path

FORMATS = "of HiGHS, SCIP, CBC or Gurobi (names and values in lines), or of CPLEX (XML)"
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_OBJECTIVE = re.compile(rf"objective(?: value)?\s*[:=]?\s*({_NUMBER})\s*$", re.IGNORECASE)
_LINE = re.compile(
    rf"(?:(?:\*\*\s*)?\d+\s+)?(?P<name>[A-Za-z_]\S*)\s+(?P<value>{_NUMBER})"
    rf"(?:\s+(?:\(obj:.*\)|{_NUMBER}))?$"
)
"""A name and a value; CBC puts a number before and the reduced cost behind, SCIP the coefficient in
the objective."""


@dataclass(frozen=True)
class SolutionFile:
    """Values of variables by name; those that are 0 may be left out."""

    values: dict[str, float]
    objective: float | None
    """As the file states it; None if it does not."""


def read_solution(path: Path) -> SolutionFile:
    """Contents of the file of a solution.

    Raises
    ------
    InputError
        If it cannot be read or holds no values.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(str(path), [f"cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise InputError(str(path), [f"no text; allowed: a solution {FORMATS}"]) from error
    found = _xml(path, text) if text.lstrip().startswith("<") else _lines(text)
    if not found.values:
        first = next((line.strip() for line in text.splitlines() if line.strip()), "nothing")
        problem = (
            f"holds no value of any variable (it begins with {first[:60]!r}); allowed: a solution "
            f"{FORMATS}"
        )
        raise InputError(str(path), [problem])
    return found


def _lines(text: str) -> SolutionFile:
    values: dict[str, float] = {}
    objective = None
    for line in map(str.strip, text.splitlines()):
        stated = _OBJECTIVE.search(line)
        if stated and objective is None:
            objective = float(stated[1])
        elif line.startswith("# Rows"):  # HiGHS goes on with values of rows
            break
        elif match := _LINE.match(line):
            values[match["name"]] = float(match["value"])
    return SolutionFile(values, objective)


def _xml(path: Path, text: str) -> SolutionFile:
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise InputError(str(path), [f"broken XML: {error}"]) from error
    values = {
        item.attrib["name"]: float(item.attrib["value"])
        for item in root.iter("variable")
        if {"name", "value"} <= item.attrib.keys()
    }
    header = root.find(".//header")
    stated = None if header is None else header.attrib.get("objectiveValue")
    return SolutionFile(values, None if stated is None else float(stated))
