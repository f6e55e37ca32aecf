"""What docs/import.md says is run as it is printed, one block after the other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import onnx_models
from documents import ROOT
from helpers import invoke

PAGE = (ROOT / "docs" / "import.md").read_text()
BLOCK = re.compile(r"```(?P<kind>sh|python)\n(?P<content>.*?)```", re.DOTALL)


def test_page(tmp_path: Path) -> None:
    onnx_models.resnet18(tmp_path)
    tools = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": os.pathsep.join([tools, os.environ["PATH"]])}
    said, kinds = "", set()
    for block in BLOCK.finditer(PAGE):
        kinds.add(block["kind"])
        command = ["sh", "-ec", block["content"]]
        if block["kind"] == "python":
            compile(block["content"], "docs/import.md", "exec")
            if "import torch" in block["content"]:
                continue  # the only one that needs another library
            command = [sys.executable, "-c", block["content"]]
        ran = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, (block["content"], ran.stdout, ran.stderr)
        said += ran.stdout
    assert kinds == {"sh", "python"}
    assert (tmp_path / "report" / "index.html").exists()
    for number in ("10.55 ms", "1.814 GMAC", "11.68 MB"):
        assert number in PAGE
        assert number in said
    assert said.endswith("optimal\n")


def test_the_order_of_layers_matters_as_said(tmp_path: Path) -> None:
    arguments = ("-o", tmp_path / "net.json")
    assert invoke("import", onnx_models.resnet18(tmp_path), *arguments).exit_code == 0
    package = re.search(r"scope-opt (package new .*) -o pkg.toml", PAGE)
    assert package is not None
    assert invoke(*package[1].split(), "-o", tmp_path / "pkg.toml").exit_code == 0
    instance = tmp_path / "instance.json"
    invoke("combine", tmp_path / "net.json", tmp_path / "pkg.toml", "-o", instance)
    assert "10.90 ms" in invoke("solve", instance).stdout
