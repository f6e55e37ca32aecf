"""Checks of the installation, each with the way to mend what fails."""

from __future__ import annotations

import os
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from scope_opt.model import units
from scope_opt.model.shipped import shipped_folder, shipped_instances

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PACKAGES = (
    *("scope-opt", "numpy", "scipy", "numba", "pydantic", "typer", "rich", "psutil", "simpy"),
    *("plotly", "jinja2", "ortools", "pyomo", "highspy"),
)
OPTIONAL = {
    "onnx": "scope-opt import: pip install 'scope-opt[onnx]'",
    "pandas": "data frames in Python: pip install 'scope-opt[notebook]'",
    "distributed": "studies on other machines: pip install 'scope-opt[cluster]'",
}
"""What only some commands need: which, and how it is installed."""
REINSTALL = "install again: pip install --force-reinstall scope-opt"


class Check(NamedTuple):
    """Outcome of one check."""

    name: str
    passed: bool
    found: str
    fix: str = ""
    """What to do if it failed."""


def run_checks() -> Iterator[Check]:
    """Run all checks, one after another; none raises."""
    yield _python()
    yield from map(_package, PACKAGES)
    yield from map(_optional, OPTIONAL)
    yield _machine()
    yield _shipped()
    yield _attempt("compile cache", _compile_cache)
    yield from _attempt_solvers()
    yield _attempt("compiled code", _compiled_code)
    yield _attempt("solve and check", _end_to_end)


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return Check("python", sys.version_info >= (3, 11), version, "needs Python 3.11 or later")


def _package(name: str) -> Check:
    try:
        return Check(name, True, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Check(name, False, "not installed", REINSTALL)


def _optional(name: str) -> Check:
    found = _package(name)
    return found if found.passed else Check(name, True, f"not installed; for {OPTIONAL[name]}")


def _machine() -> Check:
    from scope_opt.solving.host import usable_cores

    cores = usable_cores()
    memory = None
    names = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" in names and "SC_PAGE_SIZE" in names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Check("machine", True, f"{units.plural(cores, 'core')}, memory {units.size(memory)}")


def _shipped() -> Check:
    folder, count = shipped_folder(), len(shipped_instances())
    return Check("instances", count > 0, f"{count} in {folder}", REINSTALL)


def _attempt(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except Exception as error:  # whatever is broken, the other checks must still run
        return Check(name, False, f"{type(error).__name__}: {error}", REINSTALL)


def _compile_cache() -> Check:
    """Whether numba finds a folder for compiled code, in its own order of preference."""
    import scope_opt.search

    folders = [Path(folder, "__pycache__") for folder in scope_opt.search.__path__]
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        folders = [Path(chosen)]
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folders.append(Path(base, "numba"))
    for folder in folders:
        if _writable(folder):
            return Check("compile cache", True, f"{folder} is writable")
    fix = "set NUMBA_CACHE_DIR to a folder that can be written"
    return Check("compile cache", False, f"cannot write {' or '.join(map(str, folders))}", fix)


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _attempt_solvers() -> Iterator[Check]:
    from scope_opt.solving.solver import SolverUnavailable, load_solver, solver_names

    names = solver_names()
    if not names:
        yield Check("solvers", False, "none registered", REINSTALL)
    for name in names:
        try:
            yield Check(f"solver {name}", True, load_solver(name).summary)
        except (SolverUnavailable, AttributeError) as error:
            fix = "install what it needs, or uninstall the package that registers it"
            yield Check(f"solver {name}", False, str(error), fix)


def _compiled_code() -> Check:
    """Whether machine code of what the solvers loaded is on disk, and of this source; makes none.

    What is put into its callers has none of its own.
    """
    from numba.core.dispatcher import Dispatcher

    ready = total = 0
    open_rooms: dict[str, None] = {}
    for name, module in tuple(sys.modules.items()):
        if name.partition(".")[0] not in ("scope_opt", "formulations"):
            continue
        for value in tuple(vars(module).values()):
            if not isinstance(value, Dispatcher) or value.__module__ != name:
                continue
            if value.targetoptions.get("inline") == "always":
                continue
            # None where no folder can be written.
            index = getattr(getattr(value, "_cache", None), "_cache_file", None)
            total += 1
            if index is not None and index._load_index():
                ready += 1
            else:
                open_rooms[name.rpartition(".")[0].removeprefix("scope_opt.")] = None
    if not total:
        return Check("compiled code", True, "none: compilation is switched off")
    if ready == total:
        return Check("compiled code", True, f"ready, {units.plural(total, 'function')}")
    found = f"{ready} of {total} functions ready; in {', '.join(open_rooms)} the first run compiles"
    return Check("compiled code", True, f"{found} the rest; to do that now: scope-opt warmup")


def _end_to_end() -> Check:
    from scope_opt.model.generate import paper_instance
    from scope_opt.schedule.evaluate import evaluate
    from scope_opt.solving.solver import solve

    instance = paper_instance("alexnet", 16, overflow="stream")
    result = solve(instance, "scope")
    found = None if result.schedule is None else evaluate(instance, result.schedule)
    agreed = found is not None and found.objective_ps == result.objective_ps
    outcome = (
        f"{instance.name}: {units.picoseconds(result.objective_ps)} "
        f"in {units.seconds(result.times_s.total)}"
    )
    if not agreed:
        outcome += f"; the evaluator finds {found.objective_ps if found else None} ps"
    return Check("solve and check", agreed, outcome, REINSTALL)
