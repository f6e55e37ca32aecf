"""The sdist and the wheel: complete, installed without a clone or a network, and put to work.

The wheel is built from the unpacked sdist, as whoever gets one of them from an index has it.
"""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from documents import INSTANCES, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

LEFT_OUT = ("__pycache__", "*.egg-info", ".*", "build", "dist", "site")
"""What a clone has and its index does not."""


class Distribution(NamedTuple):
    """The unpacked sdist, the wheel, and an environment of its own where that is installed."""

    source: Path
    wheel: Path
    python: Path

    def run(self, *arguments: str | Path, cwd: Path) -> str:
        """Output of the environment's Python, which sees no clone."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        done = subprocess.run(
            (self.python, "-P", *arguments),
            cwd=cwd,
            env=kept | {"COLUMNS": "120", "NUMBA_DISABLE_JIT": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout


def build(kind: str, source: Path, target: Path) -> Path:
    """Have the project's build backend make one; everything that it needs is installed."""
    call = f"import setuptools.build_meta as backend; backend.build_{kind}({str(target)!r})"
    done = subprocess.run((sys.executable, "-c", call), cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    (built,) = target.glob("*.tar.gz" if kind == "sdist" else "*.whl")
    return built


@pytest.fixture(scope="module")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Distribution]:
    folder = tmp_path_factory.mktemp("distribution")
    clone = folder / "clone"
    shutil.copytree(ROOT, clone, ignore=shutil.ignore_patterns(*LEFT_OUT))
    with tarfile.open(build("sdist", clone, folder)) as archive:
        archive.extractall(folder, filter="data")
    source = next(folder.glob("scope_opt-*/"))
    wheel = build("wheel", source, folder)
    environment = folder / "environment"
    subprocess.run((sys.executable, "-m", "venv", "--without-pip", environment), check=True)
    python = environment / "bin" / "python"
    install = ("pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel)
    subprocess.run((sys.executable, "-m", *install), check=True)
    # Dependencies are those of this environment; its own scope-opt is behind a .pth file, which
    # counts in a site's folder only.
    pure = sysconfig.get_path("purelib", vars={"base": str(environment)})
    Path(pure, "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    yield Distribution(source, wheel, python)
    shutil.rmtree(folder)


def test_the_sdist_has_what_tests_and_documents_name(distribution: Distribution) -> None:
    files = ("tests/test_docs.py",)
    options = ("-q", "-p", "no:cacheprovider")
    out = distribution.run("-m", "pytest", *options, *files, cwd=distribution.source)
    assert " passed" in out


def test_a_wheel_solves_an_instance_by_its_name(distribution: Distribution, tmp_path: Path) -> None:
    where = "import scope_opt; print(scope_opt.__file__)"
    installed = Path(distribution.run("-c", where, cwd=tmp_path).strip())
    assert installed.is_relative_to(distribution.python.parents[1])
    command = ("-m", "scope_opt", "solve", "tiny-skip", "--solver", "paths", "-o", "best.json")
    assert "optimal" in distribution.run(*command, cwd=tmp_path)
    distribution.run("-m", "scope_opt", "evaluate", "tiny-skip", "best.json", cwd=tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["best.json"]


def test_a_wheel_knows_all_instances_and_solvers(
    distribution: Distribution, tmp_path: Path
) -> None:
    call = (
        "from scope_opt.model.shipped import shipped_instances\n"
        "from scope_opt.solving.solver import load_solver, solver_names\n"
        "print(*(load_solver(name).name for name in solver_names()))\n"
        "print(*shipped_instances())"
    )
    solvers, instances = distribution.run("-c", call, cwd=tmp_path).splitlines()
    assert {"exact", "paths", "cp-sat", "scope"} <= set(solvers.split())
    shipped = [file.stem for file in INSTANCES.glob("*/*.json")]
    assert sorted(instances.split()) == sorted(
        name for name in set(shipped) if not name.endswith(".schema")
    )


def test_a_wheel_has_instances_schemas_and_the_registry(distribution: Distribution) -> None:
    with zipfile.ZipFile(distribution.wheel) as archive:
        names = set(archive.namelist())
        metadata = archive.read(next(name for name in names if name.endswith("METADATA"))).decode()
    expected = {
        f"scope_opt/instances/{file.relative_to(INSTANCES).as_posix()}"
        for file in INSTANCES.rglob("*.json")
    }
    assert expected <= names
    assert "scope_opt/report/templates/report.js" in names
    assert "scope_opt/py.typed" in names
    assert not [name for name in names if name.startswith(("tests/", "docs/", "results/"))]
    assert not re.search(r"\]\((?!https?:|#)", metadata), "links that lead nowhere on an index page"


@pytest.mark.parametrize(
    ("text", "without", "within"),
    [
        ("[docs/a.md](docs/a.md)", "docs/a.md", "[docs/a.md](https://x.org/p/blob/main/docs/a.md)"),
        ("[a](docs/a.md#b)", "a (`docs/a.md`)", "[a](https://x.org/p/blob/main/docs/a.md#b)"),
        ("![a](docs/a.png)", "", "![a](https://x.org/p/raw/main/docs/a.png)"),
        ("[a](https://b.org) [c](#d)", "[a](https://b.org) [c](#d)", "[a](https://b.org) [c](#d)"),
    ],
)
def test_links_of_the_readme(text: str, without: str, within: str) -> None:
    readable = runpy.run_path(str(ROOT / "setup.py"))["readable_anywhere"]
    assert readable(text, None) == without
    assert readable(text, "https://x.org/p/") == within


HIDDEN = """
import importlib, os, pkgutil, signal, sys
import distributed, highspy, onnx, ortools, psutil, pyomo.environ  # they have others elsewhere
for name in ("resource", "fcntl", "termios", "tty", "pwd", "grp"):
    sys.modules[name] = None
for module, names in ((os, ("O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY", "killpg", "sched_getaffinity",
                            "sysconf", "sysconf_names")),
                      (signal, ("SIGHUP", "SIGKILL", "SIGALRM"))):
    for name in names:
        delattr(module, name)
import scope_opt
for found in pkgutil.walk_packages(scope_opt.__path__, "scope_opt."):
    if found.name not in ("scope_opt.__main__", "scope_opt.report.results.__main__"):
        importlib.import_module(found.name)
from scope_opt import load, solve
from scope_opt.solving.host import ENDINGS, usable_cores
assert ENDINGS == (signal.SIGTERM,)
assert usable_cores() == os.cpu_count()
result = solve(sys.argv[1], "scope")
assert result.schedule is not None
print("peak memory", result.peak_memory_bytes)
"""


def test_it_is_imported_where_linux_modules_are_not() -> None:
    """Not a test of Windows; only what would stop every import there is taken away."""
    file = INSTANCES / "tiny" / "tiny-skip.json"
    done = subprocess.run(
        (sys.executable, "-c", HIDDEN, file),
        cwd=ROOT,
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "peak memory None\n"
