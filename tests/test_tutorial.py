"""The commands of docs/tutorial.md, run in a shell as they are printed, one after the other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from documents import ROOT

TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text()
BLOCK = re.compile(
    r"(?:Write `(?P<file>[^`]+)`:\n\n)?```(?P<kind>sh|toml)\n(?P<content>.*?)```", re.DOTALL
)


def test_commands(tmp_path: Path) -> None:
    """The only preparation is what the tutorial asks for: an empty folder and the tool."""
    tools = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": os.pathsep.join([tools, os.environ["PATH"]])}
    said, kinds = "", set()
    for block in BLOCK.finditer(TUTORIAL):
        kinds.add(block["kind"])
        if block["kind"] == "toml":
            (tmp_path / block["file"]).write_text(block["content"])
            continue
        ran = subprocess.run(
            ["sh", "-ec", block["content"]], cwd=tmp_path, env=environment,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, (block["content"], ran.stdout, ran.stderr)
        said += ran.stdout
    assert kinds == {"sh", "toml"}
    assert (tmp_path / "report" / "index.html").exists()
    assert (tmp_path / "results" / "report" / "index.html").exists()
    for number in re.findall(r"\d+\.\d{3} ms", TUTORIAL):
        assert number in said, number
    assert "14.2%" in said
    assert "+18.3%" in said
