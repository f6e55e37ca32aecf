"""The commands of docs/tutorial.md run as it says, one after the other."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from helpers import ROOT, invoke

if TYPE_CHECKING:
    import pytest

TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text()


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```(sh|toml)\n(.*?)```", TUTORIAL, flags=re.DOTALL)
    assert {kind for kind, _ in blocks} == {"sh", "toml"}
    said = ""
    for kind, content in blocks:
        if kind == "toml":
            Path("study.toml").write_text(content)
            Path("study").mkdir()
            continue
        for line in content.splitlines():
            command, _, target = line.partition(" > ")
            program, *arguments = shlex.split(command)
            assert program == "scope-opt"
            outcome = invoke(*arguments)
            assert outcome.exit_code == 0, (line, outcome.output)
            if target:
                Path(target).write_text(outcome.stdout)
            said += outcome.stdout
    assert Path("report/index.html").exists()
    assert Path("results/report/index.html").exists()
    for number in re.findall(r"\d+\.\d{3} ms", TUTORIAL):
        assert number in said, number
    assert "18.2%" in said
