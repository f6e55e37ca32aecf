"""Input of any size, from anywhere: read within bounds, or refused with file and field."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from documents import shipped, two_layers
from helpers import invoke

from scope_opt.model import files
from scope_opt.model.files import InputError, read_bytes, read_text
from scope_opt.model.instance import Instance
from scope_opt.model.package import Package
from scope_opt.solving.solver import SolveOptions

SCOPE_OPT = (sys.executable, "-m", "scope_opt")
MEASURED = """
import resource, subprocess, sys
ran = subprocess.run(sys.argv[1:], capture_output=True, text=True)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(ran.returncode, peak // 1024, ran.stderr)
"""


def measured(path: Path) -> tuple[int, int, str]:
    """Exit code, peak memory in MiB and messages of `show` in a process of its own."""
    command = [sys.executable, "-c", MEASURED, *SCOPE_OPT, "show", str(path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    code, peak, errors = ran.stdout.split(" ", 2)
    return int(code), int(peak), errors.strip()


# --- Sizes ---------------------------------------------------------------------------------------


def bomb(size: int) -> bytes:
    return gzip.compress(b"[" * size, compresslevel=1)


def test_gzip_bomb_is_refused_without_being_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.json.gz"
    path.write_bytes(bomb(files.MAX_BYTES) * 8)  # members of a gzip file are read as one
    code, peak_mib, errors = measured(path)
    assert (code, errors) == (
        2,
        f"error: {path}: found more than 128 MiB; allowed up to that, unpacked",
    )
    assert peak_mib < 600


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("lists and objects", '{"edges": [' + "{}," * files.MAX_CONTAINERS + "{}]}"),
        ("keys", '{"":0' + ',"":0' * files.MAX_KEYS + "}"),
        ("values", "[0" + ",0" * (files.MAX_VALUES + 1) + "]"),
    ],
)
def test_more_parts_than_any_document_has(what: str, text: str) -> None:
    with pytest.raises(InputError, match=f"big: found .* {what} or so; allowed up to"):
        Instance.from_json(text, "big")
    outcome = invoke("show", "-", stdin=text.encode())
    assert outcome.exit_code == 2
    assert "stdin: found" in outcome.stderr
    outcome = invoke(
        "solve",
        Path(__file__).parents[1] / "instances/tiny/tiny-skip.json",
        "--segments",
        "-",
        stdin=text.encode(),
    )
    assert outcome.exit_code == 2
    assert what in outcome.stderr


def test_wrong_entries_of_a_table_are_not_all_told(tmp_path: Path) -> None:
    document = two_layers()
    document["tables"]["layers"][0]["compute_ps"]["ISP"] = ["x"] * 1_000_000
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(document))
    code, peak_mib, errors = measured(path)
    assert code == 2
    wrong = "compute_ps.ISP.0: input should be a valid integer; found 'x'"
    assert errors.splitlines() == [
        f"error: {path}: 2 problems",  # one for each table, as both layers have this one
        *(f"  tables.layers.{layer}.{wrong}" for layer in range(2)),
    ]
    assert peak_mib < 600  # telling a million would take a gigabyte


def test_problems_are_cut_after_twenty() -> None:
    document = {**two_layers(), **{f"unknown{index}": 0 for index in range(5000)}}
    with pytest.raises(InputError) as refused:
        Instance.from_json(json.dumps(document), "test")
    lines = str(refused.value).splitlines()
    assert lines[0] == "test: 5000 problems"
    assert len(lines) == 22
    assert lines[1].startswith("  unknown0: unknown key")
    assert lines[-1] == "  and 4980 more"


def test_long_values_and_keys_are_shortened() -> None:
    document = two_layers(name="n" * 10**6, samples={"x" * 10**6: 1}, **{"k" * 10**6: 0})
    with pytest.raises(InputError) as refused:
        Instance.from_json(json.dumps(document), "test")
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize(
    "deep", ['{"a":' * 100_000, "[" * 100_000, '{"a":' * 300 + "1" + "}" * 300]
)
def test_deep_nesting_is_refused(deep: str) -> None:
    with pytest.raises(InputError, match="nested too deeply"):
        Instance.from_json(deep, "test")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (f"a = {'9' * 5001}", "line 2: an integer of thousands of digits"),
        (f"a = {'[' * 2000}", "nested too deeply"),
        (f"a = {'[' * 300}{']' * 300}", "nested too deeply"),
        (f"a{'.a' * 3000} = 1", "nested too deeply"),
    ],
)
def test_packages_that_toml_cannot_hold(tmp_path: Path, line: str, problem: str) -> None:
    path = tmp_path / "package.toml"
    path.write_text(f'format = "scope-package/1"\n{line}\n')
    with pytest.raises(InputError, match=problem) as refused:
        Package.load(path)
    assert str(refused.value).startswith(f"{path}: ")


def test_number_of_thousands_of_digits_is_refused() -> None:
    text = json.dumps(two_layers()).replace('"samples": 4', f'"samples": {"9" * 5000}')
    with pytest.raises(InputError, match="test: not usable JSON: an integer of thousands"):
        Instance.from_json(text, "test")


# --- Pipes and devices ---------------------------------------------------------------------------


def test_pipe_that_nobody_writes_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PIPE_WAIT_S", 0.2)
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match=r"a pipe to which nothing was written for 0\.2 s"):
        read_text(pipe)
    assert invoke("show", pipe).exit_code == 2


def test_pipe_in_use_is_read_to_its_end(tmp_path: Path) -> None:
    pipe, text = tmp_path / "pipe.json.gz", json.dumps(shipped("tiny-skip")) * 100
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(gzip.compress(text.encode())))
    writer.start()
    assert read_text(pipe) == text
    writer.join()


def test_devices_answer() -> None:
    with pytest.raises(InputError, match="/dev/zero: found more than 1 MiB"):
        read_bytes(Path("/dev/zero"), 2**20)
    assert "/dev/null: the file is empty" in invoke("show", "/dev/null").stderr


def test_loop_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop.json").symlink_to("loop.json")
    problem = "cannot be read: Too many levels of symbolic links"
    assert problem in invoke("show", tmp_path / "loop.json").stderr
    study = tmp_path / "study.toml"
    study.write_text('instances = ["*.json"]\n[[solvers]]\nsolver = "scope"\n')
    outcome = invoke("study", study, "--dry-run")
    assert outcome.exit_code == 2
    assert problem in outcome.stderr


# --- Options and studies -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value", "found"),
    [
        ("--time-limit", "1" + "0" * 12, "found 1000000000000.0; allowed 0 to 1000000000"),
        ("--cpu-limit", "1" + "0" * 12, "found 1000000000000.0; allowed 0 to 1000000000"),
        ("--rel-gap", "inf", "found inf; allowed 0 to 1"),
        ("--seed", "2147483648", "found 2147483648; allowed 0 to 2147483647"),
        ("--iterations", "9" * 20, f"found {'9' * 20}; allowed 0 to"),
        ("--threads", "1000000", "found 1000000; allowed 1 to 1024"),
        ("--memory-limit", "1e308", "found 1e+308; allowed are numbers up to 1048576 (GiB)"),
        ("--memory-limit", "inf", "found inf; allowed are numbers"),
    ],
)
def test_options_out_of_range(option: str, value: str, found: str) -> None:
    instance = Path(__file__).parents[1] / "instances/tiny/tiny-skip.json"
    outcome = invoke("solve", instance, "--solver", "cp-sat", option, value)
    assert outcome.exit_code == 2
    assert f"error: {option}: {found}" in outcome.stderr


@pytest.mark.parametrize("value", [-1, float("nan")])
def test_options_of_the_library_have_the_same_ranges(value: float) -> None:
    with pytest.raises(InputError, match=f"--time-limit: found {value}; allowed 0 to"):
        SolveOptions(time_limit_s=value)


@pytest.mark.parametrize("buffers", ["9" * 20, str(10**9)])
def test_buffers_out_of_range(tmp_path: Path, buffers: str) -> None:
    instance = Path(__file__).parents[1] / "instances/tiny/tiny-skip.json"
    invoke("solve", instance, "-o", tmp_path / "schedule.json")
    outcome = invoke("simulate", instance, tmp_path / "schedule.json", "--buffers", buffers)
    assert outcome.exit_code == 2
    assert f"--buffers: found {buffers}; allowed 1 to 10000000" in outcome.stderr


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (f"time_limit_s = {'9' * 5001}", "line 2: an integer of thousands of digits"),
        (f"time_limit_s = {'[' * 2000}", "nested too deeply"),
        (f"a{'.a' * 3000} = 1", "nested too deeply"),
        (
            "memory_limit_gib = 1e308",
            "memory_limit_gib: input should be less than or equal to 1048",
        ),
        ("time_limit_s = inf", "time_limit_s: "),
        ("seeds = [2147483648]", "seeds.0: input should be less than or equal to 2147483647"),
        ("threads = 1000000", "threads: input should be less than or equal to 1024"),
    ],
)
def test_studies_out_of_range(tmp_path: Path, line: str, problem: str) -> None:
    study = tmp_path / "study.toml"
    study.write_text(f'instances = ["*.json"]\n{line}\n[[solvers]]\nsolver = "scope"\n')
    outcome = invoke("study", study, "--dry-run")
    assert outcome.exit_code == 2
    assert f"error: {study}: " in outcome.stderr
    assert problem in outcome.stderr


# --- File and field ------------------------------------------------------------------------------


def test_errors_of_solvers_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(shipped("tiny-constraints")))
    outcome = invoke("solve", path, "--solver", "exhaustive")
    assert outcome.stderr.startswith(f"error: {path}: ")
    assert "constraints: solver 'exhaustive' does not honour" in outcome.stderr
    path.write_text(json.dumps(shipped("tiny-skip")))
    outcome = invoke("solve", path, "--segments", "99")
    assert outcome.stderr.startswith("error: --segments: found 99")
    document = two_layers(samples=10**9)
    document["tables"]["layers"][0]["compute_ps"]["ISP"] = [2**62, 2**62]
    path.write_text(json.dumps(document))
    for command in (
        ("solve",),
        ("show",),
        ("compare",),
        ("export", "--formulation", "cp-sat", "-o", tmp_path / "p.pb"),
    ):
        outcome = invoke(command[0], path, *command[1:])
        assert f"{path}: " in outcome.stdout + outcome.stderr
        assert "error: instance:" not in outcome.stderr


def test_folder_that_is_not_writable_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, _mode: path != tmp_path)  # root may write
    instance = Path(__file__).parents[1] / "instances/tiny/tiny-skip.json"
    for option in ("--output", "--log"):
        outcome = invoke("solve", instance, "--solver", "cp-sat", option, tmp_path / "new")
        assert outcome.exit_code == 2
        assert f"{tmp_path / 'new'}: folder {tmp_path} is not writable" in outcome.stderr
    assert list(tmp_path.iterdir()) == []
