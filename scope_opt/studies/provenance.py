"""Where a study's records come from: every run of it is noted in its manifest."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scope_opt.model.files import write_text
from scope_opt.solving.result import versions

_ROOT = Path(__file__).parent.parent.parent


def note_run(manifest: Path, command: str) -> None:
    """Add a run to the manifest: start, commit, versions and machine."""
    run = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "commit": commit(),
        "uncommitted_changes": None
        if commit() is None
        else bool(_git("status", "--porcelain", "--", "scope_opt", "formulations")),
        "versions": versions(),
        "machine": {"cpu": _cpu(), "cores": os.cpu_count(), "system": platform.platform()},
    }
    content = {"runs": [*runs(manifest), run]}
    write_text(manifest, json.dumps(content, indent=2) + "\n", force=True)


def runs(manifest: Path) -> list[dict[str, Any]]:
    """Runs noted so far, oldest first."""
    if not manifest.exists():
        return []
    found: list[dict[str, Any]] = json.loads(manifest.read_text())["runs"]
    return found


def commit() -> str | None:
    """Commit that this code is of; None where it is installed without its repository."""
    return _git("rev-parse", "HEAD") or None


def _git(*arguments: str) -> str:
    if not (_ROOT / ".git").exists():  # git would look for one further up
        return ""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=_ROOT, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


def _cpu() -> str:
    if not Path("/proc/cpuinfo").exists():
        return platform.processor()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()
