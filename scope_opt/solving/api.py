"""`solve` and `load` as they are called from Python: names and files where objects are meant."""

from __future__ import annotations

import difflib
import os
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scope_opt.model.files import InputError
from scope_opt.model.generate import instance_named
from scope_opt.model.instance import Instance
from scope_opt.model.shipped import shipped_instances
from scope_opt.model.zoo import NETWORKS, PAPER_CHIPLETS
from scope_opt.solving import solver as solving
from scope_opt.solving.solver import SolveOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from scope_opt.schedule.schedule import InstanceReference
    from scope_opt.solving.monitor import Monitor
    from scope_opt.solving.result import Result
    from scope_opt.solving.solver import Solver


_MOST_SOLVED = 100
_solved: dict[str, Instance] = {}
"""By digest: a result names its instance only, and is to be shown with it."""


def load(source: str | Path) -> Instance:
    """An instance from a file, or by the name of one that comes with the project.

    Parameters
    ----------
    source : str or Path
        A ``.json``, ``.json.gz`` or ``.toml`` file, or a name such as ``resnet50-64``.

    Raises
    ------
    InputError
        If there is neither such a file nor such a name, or the file is no valid instance.
    """
    path = Path(source)
    # `os.path.exists`, unlike `Path.exists`, takes names that no file can have.
    if (
        isinstance(source, Path)
        or os.path.exists(source)
        or path.suffix in (".json", ".gz", ".toml")
    ):
        return Instance.load(path)
    found = shipped_instances().get(source)
    if found is not None:
        return Instance.load(found)
    named = instance_named(source)
    if named is not None:
        return named
    known = [f"{network}-{chiplets}" for network in NETWORKS for chiplets in PAPER_CHIPLETS]
    close = difflib.get_close_matches(source, known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    problem = f"no file and no instance of that name; {hint}names are like {known[0]!r}"
    raise InputError(source, [problem])


def solve(
    instance: Instance | str | Path,
    solver: str | Solver = "exact",
    options: SolveOptions | None = None,
    on_progress: Callable[[Monitor], None] | None = None,
    **keywords: Any,
) -> Result:
    """Solve an instance and have the evaluator check the answer.

    Parameters
    ----------
    instance : Instance, str or Path
        The problem, its file, or its name; see `load`.
    solver : str or Solver
        A registered solver's name, or a solver.
    options : SolveOptions, optional
        What to start from.
    on_progress : callable, optional
        Called with the monitor now and then.
    **keywords
        Fields of `SolveOptions`, such as ``time_limit_s=60``; they replace those of ``options``.
        ``order`` may be a single order's name or a list of orders, too.

    Raises
    ------
    TypeError
        For a keyword that is no option.
    InputError, SolverUnavailable, SolverDisagreement
        As `scope_opt.solving.solver.solve` says.
    """
    names = [field.name for field in fields(SolveOptions)]
    unknown = sorted(set(keywords) - set(names))
    if unknown:
        raise TypeError(f"no option {unknown[0]!r}; options: {', '.join(names)}")
    order = keywords.get("order")
    if isinstance(order, str) and order != "all":
        keywords["order"] = (order,)
    elif isinstance(order, list):
        keywords["order"] = tuple(order)
    chosen = replace(options or SolveOptions(), **keywords)
    if not isinstance(instance, Instance):
        instance = load(instance)
    result = solving.solve(instance, solver, chosen, on_progress)
    _solved[result.instance.digest] = instance
    while len(_solved) > _MOST_SOLVED:
        del _solved[next(iter(_solved))]
    return result


def solved_instance(reference: InstanceReference) -> Instance | None:
    """The instance referred to, if `solve` has solved it in this session, not too long ago."""
    return _solved.get(reference.digest)
