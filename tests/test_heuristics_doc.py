"""docs/heuristics.md: its code runs as it stands and prints what the page shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest
from documents import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PAGE = (ROOT / "docs" / "heuristics.md").read_text()


def blocks(language: str) -> list[str]:
    every = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return [text for name, text in every if name == language]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Variables of a process that has the page's package installed."""
    package = tomllib.loads(blocks("toml")[0])
    (module,) = package["tool"]["setuptools"]["py-modules"]
    (tmp_path / f"{module}.py").write_text(blocks("python")[0])
    project = package["project"]
    installed = tmp_path / f"{module}-{project['version']}.dist-info"
    installed.mkdir()
    named = f"Name: {project['name']}\nVersion: {project['version']}\n"
    (installed / "METADATA").write_text(f"Metadata-Version: 2.1\n{named}")
    lines = []
    for group, entries in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in entries.items())]
    (installed / "entry_points.txt").write_text("\n".join(lines))
    path = os.pathsep.join([str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path}


def words(text: str) -> list[list[str]]:
    """Words of each line, without the line that says how long it took."""
    return [line.split() for line in text.strip().splitlines() if "  solver " not in line]


def test_the_page_shows_what_its_code_does(environment: dict[str, str]) -> None:
    command, printed = blocks("")
    _, arguments = command.strip().splitlines()
    name, *rest = arguments.split()
    assert name == "scope-opt"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "scope_opt", *rest],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert words(done.stdout) == words(printed)


def test_the_other_example_runs() -> None:
    code = blocks("python")[1].replace("200_000", "2_000")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "at_least" in done.stdout
    assert "sampling" in done.stdout
