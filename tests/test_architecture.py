"""What importing costs; `make test` checks separately, with lint-imports, what may be imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

MODELLING = {"pyomo", "highspy", "ortools", "formulations"}
NUMERICS = {"numpy", "scipy", "numba", "simpy", "plotly", *MODELLING}
"""Packages whose import takes long enough to notice."""


def loaded_by(code: str) -> set[str]:
    """Top-level packages that a fresh interpreter has loaded after running ``code``."""
    report = "import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not loaded_by("import scope_opt") & {"pydantic", "rich", "typer", *NUMERICS}


def test_importing_the_command_line_loads_no_numerics() -> None:
    assert not loaded_by("import scope_opt.cli") & {"pydantic", *NUMERICS}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["solve", "--help"]])
def test_help_answers_without_numerics(arguments: list[str]) -> None:
    code = f"""
import sys
from scope_opt.cli import main
sys.argv = ["scope-opt", *{arguments!r}]
try:
    main()
except SystemExit as end:
    assert end.code == 0
"""
    assert not loaded_by(code) & NUMERICS


def test_solving_loads_no_modelling_library() -> None:
    code = """
from scope_opt import solve
assert solve("alexnet-16", "scope").schedule is not None
"""
    assert not loaded_by(code) & MODELLING
