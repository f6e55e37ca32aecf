from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
import tomllib
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import typer
from documents import INSTANCES, ROOT, shipped
from helpers import invoke

import scope_opt.solving.solver
from scope_opt import __version__, load
from scope_opt.commands.arguments import duration
from scope_opt.commands.making import (
    FURTHER_NAMES,
    NETWORK_NAMES,
    PRESET_NAMES,
    TRANSFORMER_NAMES,
)
from scope_opt.model.files import InputError
from scope_opt.model.further import FURTHER
from scope_opt.model.generate import FURTHER_TITLES, TITLES, instance_named, paper_instance
from scope_opt.model.instance import Constraints, Instance
from scope_opt.model.presets import PRESETS
from scope_opt.model.transformers import TRANSFORMERS
from scope_opt.model.zoo import NETWORKS
from scope_opt.schedule.evaluate import evaluate
from scope_opt.schedule.schedule import Schedule, make_segment
from scope_opt.solving.fallback import FALLBACK
from scope_opt.solving.result import Result
from scope_opt.terminal.doctor import OPTIONAL, PACKAGES, Check, run_checks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COMMANDS = (
    "import",
    "combine",
    "package new",
    "solve",
    "compare",
    "evaluate",
    "validate-heuristic",
    "show",
    "generate",
    "solvers",
    "schema",
    "doctor",
)
SCOPE_OPT = (sys.executable, "-m", "scope_opt")


@pytest.fixture(scope="module")
def alexnet() -> Instance:
    return paper_instance("alexnet", 16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, alexnet: Instance) -> Path:
    """An instance, and the schedule and result of its solve."""
    path = tmp_path_factory.mktemp("cli")
    alexnet.save(path / "instance.json")
    solved = scope_opt.solving.solver.solve(alexnet)
    assert solved.schedule is not None
    solved.schedule.save(path / "schedule.json")
    solved.save(path / "result.json")
    failed = scope_opt.solving.solver.solve(alexnet, "pipeline")
    assert failed.schedule is None
    failed.save(path / "infeasible.json")
    return path


# --- Start-up ------------------------------------------------------------------------------------


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from scope_opt.cli import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'numpy', 'numba', 'scipy', 'pydantic', 'scope_opt.model.instance'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert all(command.split()[0] in done.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    outcome = invoke(*command.split(), "--help")
    assert outcome.exit_code == 0
    assert f"Usage: scope-opt {command}" in outcome.stdout
    if command not in ("solvers", "doctor"):
        assert "Example" in outcome.stdout


def test_version_and_module() -> None:
    assert invoke("--version").stdout == f"scope-opt {__version__}\n"
    done = subprocess.run([*SCOPE_OPT, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"scope-opt {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [("solv",), ("solve",), ("solve", "x.json", "--time-limit", "soon"), ("schema", "tables"),
     ("solve", "x.json", "--time-limit", "-1"), ("generate", "resnet50"), ("show", "a", "b", "c")],
)  # fmt: skip
def test_usage_errors_exit_2(arguments: tuple[str, ...]) -> None:
    outcome = invoke(*arguments)
    assert outcome.exit_code == 2
    assert outcome.stdout == ""
    assert "Traceback" not in outcome.stderr


# --- generate ------------------------------------------------------------------------------------


def test_names_in_help_are_those_there_are() -> None:
    assert tuple(NETWORKS) == NETWORK_NAMES
    assert tuple(FURTHER) == FURTHER_NAMES
    assert set(FURTHER_TITLES) == set(FURTHER)
    assert tuple(TRANSFORMERS) == TRANSFORMER_NAMES
    assert tuple(PRESETS) == PRESET_NAMES
    assert set(TITLES) == set(NETWORKS)


def test_generate_to_stdout_and_file(tmp_path: Path) -> None:
    outcome = invoke("generate", "resnet50", "--chiplets", 64)
    instance = Instance.from_json(outcome.stdout, "stdout")
    assert instance.name == "resnet50-64-placed"
    assert instance.description == ("ResNet-50 on 64 chiplets (8 x 8), transfers where regions lie")
    assert (instance.samples, instance.overflow) == (64, "forbid")
    file = tmp_path / "resnet50.json.gz"
    outcome = invoke("generate", "resnet50", "--chiplets", 64, "-o", file)
    assert (outcome.exit_code, outcome.stdout) == (0, "")
    assert Instance.load(file).digest == instance.digest
    refused = invoke("generate", "resnet50", "--chiplets", 64, "-o", file)
    assert refused.exit_code == 2
    assert "--force" in refused.stderr
    assert invoke("generate", "resnet50", "--chiplets", 64, "-o", file, "--force").exit_code == 0


def test_generate_in_either_model_and_order() -> None:
    outcome = invoke("generate", "resnet50", "--chiplets", 64, "--nop", "regressed")
    assert Instance.from_json(outcome.stdout, "stdout") == load("resnet50-64")
    outcome = invoke("generate", "resnet50", "--chiplets", 64, "--order", "blocks-4")
    instance = Instance.from_json(outcome.stdout, "stdout")
    assert instance.package is not None
    assert (instance.package.order, instance.package.nop.eta_link) == ("blocks-4", 1.2)
    refused = invoke("generate", "resnet50", "--chiplets", 64, "--order", "blocks-3")
    assert refused.exit_code == 2
    assert "order: found 'blocks-3'; allowed zigzag, blocks-1, blocks-2" in refused.stderr
    refused = invoke(
        "generate", "resnet50", "--chiplets", 64, "--nop", "regressed", "--order", "blocks-4"
    )
    assert refused.exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({}, "vgg16-16"),
        ({"samples": 128}, "vgg16-16-128samples"),
        ({"overflow": "stream"}, "vgg16-16-stream"),
        ({"rows": 2}, "vgg16-16-2x8"),
        ({"rows": 4, "cols": 4}, "vgg16-16"),
        ({"cols": 1, "samples": 1, "overflow": "stream"}, "vgg16-16-16x1-1samples-stream"),
        ({"nop": "placed"}, "vgg16-16-placed"),
        ({"nop": "placed", "order": "blocks-2", "samples": 8}, "vgg16-16-8samples-placed-blocks-2"),
    ],
)
def test_names_say_what_differs(arguments: dict[str, Any], name: str) -> None:
    instance = paper_instance("vgg16", 16, **arguments)
    assert instance.name == name
    again = instance_named(name)
    assert again is not None
    assert again.digest == instance.digest


@pytest.mark.parametrize(
    "name", ["vgg16", "vgg17-16", "vgg16-0", "vgg16-9999", "vgg16-16-3x5", "vgg16-16-4x4", "",
             "vgg16-16-64samples", "vgg16-16-0samples", "vgg16-16-stream-", "vgg16-016", "a\nb"]
)  # fmt: skip
def test_other_names_are_no_paper_instances(name: str) -> None:
    assert instance_named(name) is None


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("vgg-16", "--chiplets", 16), "vgg16"),
        (("vgg16", "--chiplets", 0), "allowed 1 to"),
        (("vgg16", "--chiplets", 16, "--rows", 3), "3 rows"),
        (("vgg16", "--chiplets", 16, "--rows", 2, "--cols", 2), "2 x 2"),
        (("vgg16", "--chiplets", 16, "--samples", 0), "allowed 1 to"),
        (("vgg16", "--chiplets", 16, "-o", f"{__file__}/x.json"), "is a file, not a folder"),
    ],
)
def test_generate_refuses(arguments: tuple[object, ...], expected: str) -> None:
    outcome = invoke("generate", *arguments)
    assert outcome.exit_code == 2
    assert expected in outcome.stderr
    assert outcome.stdout == ""


# --- solve ---------------------------------------------------------------------------------------


def test_solve_prints_summary_and_picture(folder: Path, alexnet: Instance) -> None:
    outcome = invoke("solve", folder / "instance.json")
    assert outcome.exit_code == 0
    for expected in ("alexnet-16", "AlexNet on 16 chiplets", "status", "optimal", "lower bound",
                     "gap", "utilization", "energy", "Segment 0", "partitions"):  # fmt: skip
        assert expected in outcome.stdout
    assert outcome.stderr == ""
    assert max(map(len, outcome.stdout.splitlines())) <= 160
    assert all(line == line.rstrip() for line in outcome.stdout.splitlines())


def test_solve_json_is_one_result_document(folder: Path, alexnet: Instance) -> None:
    outcome = invoke("solve", folder / "instance.json", "--json", "--solver", "segmented")
    result = Result.from_json(outcome.stdout, "stdout")
    assert result.solver == "segmented"
    assert result.schedule is not None
    assert evaluate(alexnet, result.schedule).objective_ps == result.objective_ps
    jsonschema.validate(json.loads(outcome.stdout), json.loads(invoke("schema", "result").stdout))


def test_solve_reads_stdin(folder: Path) -> None:
    outcome = invoke("solve", "-", "--json", stdin=(folder / "instance.json").read_bytes())
    assert json.loads(outcome.stdout)["instance"]["name"] == "alexnet-16"


def test_solve_writes_the_schedule_once(folder: Path, tmp_path: Path, alexnet: Instance) -> None:
    file = tmp_path / "schedule.json"
    assert invoke("solve", folder / "instance.json", "-o", file).exit_code == 0
    assert evaluate(alexnet, Schedule.load(file)).feasible
    saved = Result.load(file)
    assert (saved.status, saved.bound_ps) == ("optimal", saved.objective_ps)
    assert saved.proof is not None
    before = file.read_bytes()
    refused = invoke("solve", folder / "instance.json", "-o", file, "--segments", 8)
    assert refused.exit_code == 2
    assert str(file) in refused.stderr
    assert "--force" in refused.stderr
    assert file.read_bytes() == before
    forced = invoke("solve", folder / "instance.json", "-o", file, "--force", "--segments", 8)
    assert forced.exit_code == 0
    assert len(Schedule.load(file).segments) == 8


def test_what_takes_a_schedule_takes_the_saved_result(folder: Path, tmp_path: Path) -> None:
    instance, file = folder / "instance.json", tmp_path / "result.json"
    assert invoke("solve", instance, "-o", file).exit_code == 0
    for arguments in (
        ("evaluate", instance, file),
        ("simulate", instance, file),
        ("show", file, instance),
        ("report", file, "--instance", instance, "-o", tmp_path / "pages"),
        ("solve", instance, "--segments", file),
        ("solve", instance, "--warm-start", file),
    ):
        assert invoke(*arguments).exit_code == 0, arguments
    assert "optimal" in invoke("show", file, instance).stdout
    page = (tmp_path / "pages" / "index.html").read_text()
    assert "optimal" in page


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    outcome = subprocess.run(
        [*SCOPE_OPT, "--show-completion", shell], capture_output=True, text=True, check=True
    )
    assert "_SCOPE_OPT_COMPLETE" in outcome.stdout
    environment = {**os.environ, "_SCOPE_OPT_COMPLETE": "complete_bash"}
    words = {"COMP_WORDS": "scope-opt warm", "COMP_CWORD": "1"}
    completed = subprocess.run(
        SCOPE_OPT, env=environment | words, capture_output=True, text=True, check=True
    )
    assert completed.stdout.split() == ["warmup"]


@pytest.mark.parametrize(
    "arguments", [("--help",), ("solve", "--help"), ("solve", "tiny-skip"), ("solvers",), ("solv",)]
)
def test_no_color_means_no_escape_codes(arguments: tuple[str, ...]) -> None:
    """In a terminal, where help, tables and progress are styled otherwise."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "NO_COLOR": "1", "TERM": "xterm-256color"}
    with subprocess.Popen(
        [*SCOPE_OPT, *arguments], env=environment, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        seen = b""
        with suppress(OSError):  # the other end is closed
            while part := os.read(ours, 4096):
                seen += part
        os.close(ours)
    assert process.returncode == (2 if arguments == ("solv",) else 0)
    assert seen
    assert b"\x1b" not in seen


def test_a_result_without_a_schedule_is_no_schedule(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    solved = invoke("solve", folder / "instance.json", "--solver", "pipeline", "--json")
    file.write_text(solved.stdout)
    with pytest.raises(InputError, match="schedule: this result holds none"):
        Schedule.load(file)


def test_output_is_checked_before_solving(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scope_opt.solving.solver, "solve", lambda *_: pytest.fail("solved"))
    for file in (folder / "schedule.json", tmp_path, folder / "schedule.json" / "x.json"):
        assert invoke("solve", folder / "instance.json", "-o", file).exit_code == 2


def test_result_survives_an_output_that_fails_late(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, solve = tmp_path / "schedule.json", scope_opt.solving.solver.solve

    def meanwhile(*arguments: Any) -> Result:
        file.write_text("another program's")
        return solve(*arguments)

    monkeypatch.setattr(scope_opt.solving.solver, "solve", meanwhile)
    outcome = invoke("solve", folder / "instance.json", "-o", file, "--json")
    assert outcome.exit_code == 2
    assert json.loads(outcome.stdout)["schedule"] is not None
    assert file.read_text() == "another program's"


def test_infeasible_exits_1_and_explains(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "schedule.json"
    outcome = invoke("solve", folder / "instance.json", "--solver", "pipeline", "-o", file)
    assert outcome.exit_code == 1
    assert "infeasible" in outcome.stdout
    assert "weight buffers" in outcome.stdout
    assert not file.exists()
    outcome = invoke("solve", folder / "instance.json", "--solver", "pipeline", "--json")
    assert outcome.exit_code == 1
    assert json.loads(outcome.stdout)["schedule"] is None


def test_infeasible_names_the_conflict(tmp_path: Path) -> None:
    document = shipped("tiny-skip")
    document["constraints"] = {"latency_bound_s": 8e-5, "power_budget_w": 1.4, "max_clusters": 4}
    file = tmp_path / "greedy.json"
    file.write_text(json.dumps(document))
    outcome = invoke("solve", file, "--solver", "cp-sat", "--json")
    assert outcome.exit_code == 1
    explanation = json.loads(outcome.stdout)["explanation"]
    assert "together, these leave no schedule" in explanation[-1]
    assert "max_clusters" not in explanation[-1]


def test_energy_is_reported_where_it_is_minimized() -> None:
    file = INSTANCES / "tiny" / "tiny-energy.json"
    outcome = invoke("solve", file, "--solver", "cp-sat", "--json")
    result = json.loads(outcome.stdout)
    assert result["status"] == "optimal"
    assert result["objective_fj"] == result["bound_fj"] == 123228533216
    assert result["objective_ps"] is None
    outcome = invoke("solve", file, "--solver", "cp-sat")
    assert "lower bound" in outcome.stdout
    assert "takes less energy" in outcome.stdout
    outcome = invoke("solve", file)
    assert outcome.exit_code == 2
    assert "cp-sat" in outcome.stderr  # a solver that honours the constraints


def test_gap_limit_and_isolation(folder: Path) -> None:
    arguments = ("--rel-gap", 0.5, "--isolate", "--memory-limit", 4, "--json")
    outcome = invoke("solve", folder / "instance.json", "--segments", 8, *arguments)
    result = json.loads(outcome.stdout)
    assert result["stop_reason"] in ("gap_limit", "completed")
    assert result["gap"] <= 0.5
    assert result["options"]["rel_gap"] == 0.5


def test_solver_log(folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "cp-sat.log"
    arguments = ("--solver", "cp-sat", "--segments", "single", "--log", log, "--threads", 2)
    outcome = invoke("solve", INSTANCES / "tiny" / "tiny-skip.json", *arguments)
    assert outcome.exit_code == 0
    assert "CpSolverResponse" in log.read_text()
    assert "CpSolverResponse" not in outcome.stdout
    outcome = invoke("solve", INSTANCES / "tiny" / "tiny-skip.json", *arguments)
    assert outcome.exit_code == 2
    assert "exists already" in outcome.stderr


def test_unknown_solver_exits_3(folder: Path) -> None:
    for command in (("solve", "--solver"), ("compare", "--solvers")):
        outcome = invoke(command[0], folder / "instance.json", command[1], "oracle")
        assert outcome.exit_code == 3
        assert "oracle" in outcome.stderr
        assert "scope" in outcome.stderr
        assert outcome.stdout == ""


def test_disagreement_exits_1(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def lie(monitor: Any, schedule: Schedule) -> None:
        monitor.improve(1, schedule.segments)

    use_solver(monkeypatch, folder, lie)
    outcome = invoke("solve", folder / "instance.json", "--solver", "fake")
    assert outcome.exit_code == 1
    assert "claimed 1 ps" in outcome.stderr
    outcome = invoke("compare", folder / "instance.json", "--solvers", "fake")
    assert outcome.exit_code == 1
    assert "refused [1]" in outcome.stdout


@pytest.fixture(scope="module")
def segmented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An instance that every choice of segments suits, and ways to give three of them."""
    path = tmp_path_factory.mktemp("segmented")
    instance = paper_instance("alexnet", 64)
    instance.save(path / "instance.json")
    solved = scope_opt.solve(instance, segments=(0, 3, 6))
    assert solved.schedule is not None
    solved.schedule.save(path / "schedule.json")
    solved.save(path / "result.json")
    (path / "list.json").write_text("[0, 3, 6]")
    return path


@pytest.mark.parametrize(
    ("choice", "expected"),
    [("single", [0]), ("dp", [0, 5]), ("2", [0, 5]), ("list.json", [0, 3, 6]),
     ("schedule.json", [0, 3, 6]), ("result.json", [0, 3, 6])],
)  # fmt: skip
def test_segments(segmented: Path, choice: str, expected: list[int]) -> None:
    given = segmented / choice if choice.endswith(".json") else choice
    outcome = invoke("solve", segmented / "instance.json", "--segments", given, "--json")
    assert outcome.exit_code == 0
    segments = json.loads(outcome.stdout)["schedule"]["segments"]
    assert [segment["clusters"][0]["first_layer"] for segment in segments] == expected


def test_segments_too_few_for_the_weights(folder: Path) -> None:
    outcome = invoke("solve", folder / "instance.json", "--segments", "single", "--json")
    assert outcome.exit_code == 1
    assert json.loads(outcome.stdout)["status"] == "infeasible"


@pytest.mark.parametrize(
    ("choice", "expected"),
    [("blanced", "allowed: single, balanced, dp"), ("0", "allowed 1 to 8"),
     ("99", "allowed 1 to 8"), ("-1", "allowed 1 to 8"), ("no/such.json", "no such file"),
     ("9" * 5000, "allowed"), ("[0, 1.5]", "integers"), ("[true]", "integers"),
     ("[1, 2]", "start with 0"), ("[0, 8]", "below 8"), ("{}", "instance"), ("[", "valid JSON")],
)  # fmt: skip
def test_bad_segments_exit_2(folder: Path, tmp_path: Path, choice: str, expected: str) -> None:
    if choice[0] in "[{":
        (tmp_path / "segments.json").write_text(choice)
        choice = str(tmp_path / "segments.json")
    outcome = invoke("solve", folder / "instance.json", "--segments", choice)
    assert outcome.exit_code == 2
    assert expected in outcome.stderr


def test_segments_of_a_result_without_schedule(folder: Path) -> None:
    file = folder / "infeasible.json"
    outcome = invoke("solve", folder / "instance.json", "--segments", file)
    assert outcome.exit_code == 2
    assert "holds none" in outcome.stderr


# --- Interrupts ----------------------------------------------------------------------------------


def use_solver(
    monkeypatch: pytest.MonkeyPatch, folder: Path, act: Callable[[Any, Schedule], None]
) -> None:
    """Register a solver ``fake`` that does ``act`` with a valid schedule at hand."""

    class Fake:
        name, summary, exact = "fake", "does as told", True
        constraints: frozenset[str] = frozenset(Constraints.model_fields)
        options: frozenset[str] = frozenset()

        def run(self, _instance: Any, _tables: Any, _options: Any, monitor: Any) -> None:
            act(monitor, Schedule.load(folder / "schedule.json"))

    class Entry:
        name = "fake"

        def load(self) -> type[Fake]:
            return Fake

    monkeypatch.setattr(scope_opt.solving.solver, "entry_points", lambda **_: [Entry()])


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.01)  # the handler runs between two instructions


def test_interrupt_keeps_the_schedule(
    folder: Path, tmp_path: Path, alexnet: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def act(monitor: Any, schedule: Schedule) -> None:
        objective = evaluate(alexnet, schedule).objective_ps
        monitor.improve(objective, schedule.segments)
        interrupt()
        assert monitor.stopping

    use_solver(monkeypatch, folder, act)
    file = tmp_path / "schedule.json"
    outcome = invoke("solve", folder / "instance.json", "--solver", "fake", "-o", file, "--json")
    assert outcome.exit_code == 0
    assert json.loads(outcome.stdout)["stop_reason"] == "interrupted"
    assert "interrupted" in outcome.stderr
    assert evaluate(alexnet, Schedule.load(file)).feasible
    outcome = invoke("compare", folder / "instance.json", folder / "instance.json",
                  "--solvers", "fake", "--json")  # fmt: skip
    assert len(json.loads(outcome.stdout)) == 1


def test_interrupt_before_a_schedule_shows_a_simple_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def act(monitor: Any, _schedule: Schedule) -> None:
        interrupt()
        assert monitor.stopping

    use_solver(monkeypatch, folder, act)
    outcome = invoke("solve", folder / "instance.json", "--solver", "fake")
    assert outcome.exit_code == 0
    assert FALLBACK in outcome.stdout
    assert "interrupted" in outcome.stderr


def test_second_interrupt_exits_130(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def act(_monitor: Any, _schedule: Schedule) -> None:
        interrupt()
        interrupt()

    use_solver(monkeypatch, folder, act)
    outcome = invoke("solve", folder / "instance.json", "--solver", "fake")
    assert outcome.exit_code == 130
    assert outcome.stderr == "interrupted\n"


def test_interrupt_of_a_long_solve(tmp_path: Path) -> None:
    instance = paper_instance("resnet152", 1024)
    instance.save(tmp_path / "instance.json")
    process = subprocess.Popen(
        [*SCOPE_OPT, "solve", "instance.json", "--segments", "dp", "-o", "schedule.json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        line = process.stderr.readline()  # the first sign of progress
        assert "resnet152-1024" in line
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0, stderr
    assert "interrupted" in stderr
    assert "interrupted" in stdout
    assert "Traceback" not in stderr
    assert evaluate(instance, Schedule.load(tmp_path / "schedule.json")).feasible


# --- compare -------------------------------------------------------------------------------------


def test_compare_tells_why_there_is_no_schedule(folder: Path) -> None:
    outcome = invoke("compare", folder / "instance.json")
    assert outcome.exit_code == 0
    rows = {line.split()[0]: line for line in outcome.stdout.splitlines() if line.startswith("  ")}
    assert list(rows) == ["sequential", "pipeline", "segmented", "scope", "exact"]
    assert "infeasible [1]" in rows["pipeline"]
    assert "1.000" in rows["exact"]
    assert "[1] alexnet-16, pipeline: the weights" in outcome.stdout


def test_compare_json(folder: Path) -> None:
    arguments = ("--solvers", "pipeline, scope,scope", "--json")
    outcome = invoke("compare", folder / "instance.json", *arguments)
    documents = json.loads(outcome.stdout)
    assert [document["solver"] for document in documents] == ["pipeline", "scope"]
    schema = json.loads(invoke("schema", "result").stdout)
    for document in documents:
        jsonschema.validate(document, schema)


def test_compare_exits_1_if_an_instance_stays_unsolved(folder: Path) -> None:
    outcome = invoke("compare", folder / "instance.json", "--solvers", "pipeline")
    assert outcome.exit_code == 1


def test_compare_shows_refusals(folder: Path, tmp_path: Path, alexnet: Instance) -> None:
    limited = alexnet.model_copy(update={"constraints": Constraints(forbidden_merges=(0,))})
    limited.save(tmp_path / "limited.json")
    outcome = invoke("compare", tmp_path / "limited.json", "--solvers", "scope")
    assert outcome.exit_code == 1
    assert "refused [1]" in outcome.stdout
    assert "forbidden_merges" in outcome.stdout
    outcome = invoke("compare", tmp_path / "limited.json", "--solvers", "scope", "--json")
    assert json.loads(outcome.stdout) == []
    assert "forbidden_merges" in outcome.stderr
    outcome = invoke("solve", tmp_path / "limited.json", "--solver", "scope")
    assert outcome.exit_code == 2
    assert "forbidden_merges" in outcome.stderr


def test_solve_says_which_layer_cannot_be_placed(tmp_path: Path, alexnet: Instance) -> None:
    limited = alexnet.model_copy(update={"constraints": Constraints(max_region=4)})
    limited.save(tmp_path / "limited.json")
    outcome = invoke("solve", tmp_path / "limited.json")
    assert outcome.exit_code == 1
    # fc6 holds 37748736 bytes: 36 buffers of 1 MiB
    assert "layer 5 (fc6)" in outcome.stdout
    assert "36 chiplets" in outcome.stdout


def test_options_of_other_solvers_are_refused(folder: Path) -> None:
    outcome = invoke("solve", folder / "instance.json", "--solver", "scope", "--seed", "1")
    assert outcome.exit_code == 2
    assert "--seed: solver 'scope' does not use it" in outcome.stderr


def test_warm_start(folder: Path) -> None:
    outcome = invoke(
        "solve", folder / "instance.json", "--warm-start", folder / "schedule.json", "--json"
    )
    document = json.loads(outcome.stdout)
    assert document["status"] == "optimal"
    assert len(document["options"]["warm_start"]["sha256"]) == 64


def test_quiet_and_verbose(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scope_opt.terminal.console.VERBOSE_S", 0.0)
    solved = ("solve", folder / "instance.json", "--json")
    assert invoke(*solved).stderr == ""  # too short for a line of progress
    outcome = invoke(*solved, "-v")
    assert re.search(r"alexnet-16, exact: \d+ s, ", outcome.stderr)
    json.loads(outcome.stdout)
    monkeypatch.setattr("scope_opt.terminal.console.PLAIN_PROGRESS_S", 0.0)
    for command in (
        solved,
        ("compare", folder / "instance.json", "--solvers", "anneal", "--json"),
    ):
        assert re.search(r": \d+ s, ", invoke(*command).stderr), command
        assert invoke(*command, "-q").stderr == "", command


@pytest.mark.skipif(not os.path.exists("/dev/stderr"), reason="no name for stderr")
def test_verbose_shows_the_log_of_a_library() -> None:
    solved = ("solve", str(INSTANCES / "tiny" / "tiny-skip.json"), "--solver", "cp-sat", "--json")
    command = [*SCOPE_OPT, *solved, "--encoding", "columns", "-v"]
    outcome = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "CP-SAT solver" in outcome.stderr
    assert json.loads(outcome.stdout)["status"] == "optimal"


@pytest.mark.parametrize("command", ["solve", "compare", "study", "pareto", "validate-heuristic"])
def test_quiet_contradicts_verbose(command: str, folder: Path) -> None:
    heuristic = ("--solver", "scope") if command == "validate-heuristic" else ()
    outcome = invoke(command, folder / "instance.json", *heuristic, "-q", "-v")
    assert outcome.exit_code == 2
    assert "contradicts --verbose" in outcome.stderr


def test_warm_starts_that_do_not_fit(folder: Path, tmp_path: Path, alexnet: Instance) -> None:
    """Segments and rules are no reason not to solve; another network's schedule is a slip."""
    start = ("--warm-start", folder / "schedule.json")
    outcome = invoke("solve", folder / "instance.json", *start, "--segments", "8")
    assert outcome.exit_code == 0
    assert "rejected: segments start at layers" in " ".join(outcome.stdout.split())
    other = tmp_path / "other.json"
    paper_instance("vgg16", 16).save(other)
    outcome = invoke("solve", other, *start)
    assert outcome.exit_code == 2
    assert f"{folder / 'schedule.json'}: made for {alexnet.name}" in outcome.stderr
    assert "the last layer is 15" in outcome.stderr
    # One of fewer constraints, of more samples and the like may well fit.
    more = alexnet.model_copy(update={"samples": alexnet.samples + 1})
    more.save(tmp_path / "more.json")
    outcome = invoke("solve", tmp_path / "more.json", *start, "--json")
    assert json.loads(outcome.stdout)["warm_start"] == "accepted"
    assert "made for" in outcome.stderr


def test_compare_refuses_bad_arguments(folder: Path) -> None:
    assert invoke("compare", folder / "instance.json", "--solvers", ",").exit_code == 2
    assert invoke("compare", folder / "instance.json", "--segments", "99").exit_code == 2
    assert invoke("compare", folder / "instance.json", folder / "none.json").exit_code == 2


# --- evaluate ------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", ["schedule.json", "result.json"])
def test_evaluate_breaks_down(folder: Path, alexnet: Instance, document: str) -> None:
    outcome = invoke("evaluate", folder / "instance.json", folder / document)
    assert outcome.exit_code == 0
    assert outcome.stderr == ""
    for expected in ("all rules checked", "latency as placed", "Energy", "DRAM", "Segments",
                     "beat", "Segment 0", "Layers", "prep.", "bound by"):  # fmt: skip
        assert expected in outcome.stdout
    assert all(name in outcome.stdout for name in alexnet.layer_names)
    outcome = invoke("evaluate", folder / "instance.json", folder / document, "--json")
    content = json.loads(outcome.stdout)
    schedule = Schedule.load(folder / "schedule.json")
    assert content["objective_ps"] == evaluate(alexnet, schedule).objective_ps


def test_evaluate_names_every_violation(folder: Path, tmp_path: Path, alexnet: Instance) -> None:
    schedule = Schedule.load(folder / "schedule.json")
    whole = make_segment(0, [(8, 16, [0] * 8)])  # all weights at once do not fit
    schedule.model_copy(update={"segments": (whole,)}).save(tmp_path / "full.json")
    outcome = invoke("evaluate", folder / "instance.json", tmp_path / "full.json")
    assert outcome.exit_code == 1
    assert "not feasible: 1 violation" in outcome.stdout
    assert "segment 0, cluster 0: capacity" in outcome.stdout
    outcome = invoke("evaluate", folder / "instance.json", tmp_path / "full.json", "--json")
    assert outcome.exit_code == 1
    assert json.loads(outcome.stdout)["violations"][0]["code"] == "capacity"
    broken = (make_segment(0, [(3, 99, [0] * 3)]), make_segment(4, [(9, 0, [0] * 9)]))
    schedule.model_copy(update={"segments": broken}).save(tmp_path / "broken.json")
    outcome = invoke("evaluate", folder / "instance.json", tmp_path / "broken.json")
    assert outcome.exit_code == 1
    for code in ("layer-coverage", "region-total", "region-size"):
        assert code in outcome.stdout


def test_another_instance_is_a_warning(folder: Path, tmp_path: Path) -> None:
    paper_instance("alexnet", 16, samples=8).save(tmp_path / "other.json")
    for command in (
        ("evaluate", tmp_path / "other.json", folder / "schedule.json"),
        ("show", folder / "schedule.json", tmp_path / "other.json"),
    ):
        outcome = invoke(*command)
        assert outcome.exit_code == 0
        assert outcome.stderr.startswith("warning:")
        assert "alexnet-16-8samples" in outcome.stderr


def test_evaluate_needs_a_schedule(folder: Path) -> None:
    instance = folder / "instance.json"
    for document, expected in (
        (folder / "infeasible.json", "holds none"),
        (instance, "allowed here: scope-schedule/1, scope-result/1"),
    ):
        outcome = invoke("evaluate", instance, document)
        assert outcome.exit_code == 2
        assert expected in outcome.stderr


# --- show ----------------------------------------------------------------------------------------


def test_show_instance(folder: Path) -> None:
    outcome = invoke("show", folder / "instance.json")
    assert outcome.exit_code == 0
    for expected in ("AlexNet on 16 chiplets (4 x 4)", "MAC", "MiB", "does not fit",
                     "Lower bounds", "Side constraints"):  # fmt: skip
        assert expected in outcome.stdout


@pytest.mark.parametrize("document", ["schedule.json", "result.json"])
def test_show_finds_the_paper_instance(folder: Path, document: str) -> None:
    outcome = invoke("show", folder / document)
    assert outcome.exit_code == 0
    assert outcome.stderr == ""
    assert "share of MACs" in outcome.stdout
    assert "ZigZag" in outcome.stdout


def test_show_without_instance(folder: Path, tmp_path: Path) -> None:
    content = json.loads((folder / "schedule.json").read_text())
    content["instance"]["digest"] = "0" * 64
    (tmp_path / "schedule.json").write_text(json.dumps(content))
    outcome = invoke("show", tmp_path / "schedule.json")
    assert outcome.exit_code == 0
    assert "partitions" in outcome.stdout
    assert "share of MACs" not in outcome.stdout
    assert "second argument" in outcome.stderr


def test_show_result_without_schedule(folder: Path) -> None:
    outcome = invoke("show", folder / "infeasible.json")
    assert outcome.exit_code == 0
    assert "No schedule" in outcome.stdout


def test_show_refuses_an_instance_for_an_instance(folder: Path) -> None:
    assert invoke("show", folder / "instance.json", folder / "instance.json").exit_code == 2


# --- solvers, schema, doctor ---------------------------------------------------------------------


def test_solvers(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = json.loads(invoke("solvers", "--json").stdout)
    assert {"scope", "sequential", "pipeline", "segmented"} <= {entry["name"] for entry in listed}
    assert all(entry["available"] for entry in listed if entry["name"] == "scope")
    assert "max_clusters" in invoke("solvers").stdout

    class Broken:
        name = "broken"

        def load(self) -> None:
            raise ImportError("no module named 'gurobi'")

    class Hollow(Broken):
        name = "hollow"

        def load(self) -> type[object]:  # type: ignore[override]
            return object

    monkeypatch.setattr(scope_opt.solving.solver, "entry_points", lambda **_: [Broken(), Hollow()])
    listed = json.loads(invoke("solvers", "--json").stdout)
    assert [entry["available"] for entry in listed] == [False, False]
    outcome = invoke("solvers")
    assert outcome.exit_code == 0
    assert "gurobi" in outcome.stdout


@pytest.mark.parametrize("kind", ["instance", "schedule", "result"])
def test_schema_accepts_documents(folder: Path, kind: str) -> None:
    schema = json.loads(invoke("schema", kind).stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads((folder / f"{kind}.json").read_text()), schema)
    assert invoke("schema").stdout == invoke("schema", "instance").stdout


def test_doctor(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = invoke("doctor")
    assert outcome.exit_code == 0, outcome.stdout
    assert "FAILED" not in outcome.stdout
    assert "solver scope" in outcome.stdout
    failing = [Check("numba", False, "not installed", "pip install numba")]
    monkeypatch.setattr("scope_opt.terminal.doctor.run_checks", lambda: iter(failing))
    outcome = invoke("doctor")
    assert outcome.exit_code == 1
    assert "FAILED" in outcome.stdout
    assert "pip install numba" in outcome.stdout


def test_doctor_looks_at_all_that_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    def names(requirements: list[str]) -> set[str]:
        return {re.split(r"[<>=\[ ]", line)[0] for line in requirements}

    assert set(PACKAGES) == {"scope-opt"} | names(project["dependencies"])
    extras = project["optional-dependencies"]
    assert set(OPTIONAL) == names(
        [line for extra in extras if extra not in ("dev", "docs") for line in extras[extra]]
    )
    monkeypatch.setitem(OPTIONAL, "no-such-package-anywhere", "nothing: leave it")
    optional = [check for check in run_checks() if check.name in OPTIONAL]
    assert all(check.passed for check in optional)
    assert optional[-1].found == "not installed; for nothing: leave it"


def test_doctor_says_what_is_still_to_be_compiled(tmp_path: Path) -> None:
    code = (
        "import numpy as np\n"
        "from scope_opt.search.cuts import shortest_cut\n"
        "from scope_opt.terminal.doctor import _compiled_code\n"
        "print(_compiled_code().found)\n"
        "shortest_cut(np.zeros((2, 2), dtype=np.int64), 0, 9)\n"
        "print(_compiled_code().found)\n"
    )

    def said(**variables: str) -> list[str]:
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), **variables}
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env=environment,
            check=True,
        )
        return done.stdout.splitlines()

    before, after = said()
    assert before.startswith("0 of ")
    assert "search the first run compiles the rest" in before
    assert "scope-opt warmup" in before
    assert after.startswith("1 of ")
    assert "in schedule the first run compiles the rest" in after
    assert said()[0] == after
    assert said(NUMBA_DISABLE_JIT="1") == ["none: compilation is switched off"] * 2


def test_doctor_reports_what_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("disk on fire")

    monkeypatch.setattr(scope_opt.solving.solver, "solve", fail)
    monkeypatch.setattr("scope_opt.terminal.doctor._writable", lambda _: False)
    monkeypatch.setattr("scope_opt.terminal.doctor.PACKAGES", ("no-such-package-anywhere",))
    outcome = invoke("doctor")
    assert outcome.exit_code == 1
    assert outcome.stdout.count("FAILED") == 3
    assert "disk on fire" in outcome.stdout
    assert "NUMBA_CACHE_DIR" in outcome.stdout


# --- Robustness ----------------------------------------------------------------------------------

MALFORMED = {
    "empty": b"",
    "text": b"hello",
    "list": b"[1, 2]",
    "number": b"7",
    "binary": b"\xff\xfe\x00",
    "nan": b'{"format": "scope-instance/1", "name": NaN}',
    "format": b'{"format": "scope-instance/2"}',
    "no format": b'{"name": "x"}',
    "format number": b'{"format": 1}',
    "format object": b'{"format": {}}',
    "deep": b"[" * 100_000,
    "escape": b'{"format": "\\u001b[31m"}',
    "duplicate": b'{"name": "a", "name": "b"}',
    "huge integer": b'{"samples": ' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
def test_malformed_files_exit_2(folder: Path, tmp_path: Path, content: bytes) -> None:
    bad, good = tmp_path / "bad.json", folder / "instance.json"
    bad.write_bytes(content)
    for command in (("solve", bad), ("compare", bad), ("evaluate", bad, good),
                    ("evaluate", good, bad), ("show", bad), ("solve", good, "--segments", bad),
                    ("show", folder / "schedule.json", bad)):  # fmt: skip
        outcome = invoke(*command)
        assert outcome.exit_code == 2, command
        # As first layers of segments, the list is well formed, and answered by its numbers.
        if (command[-2], content) != ("--segments", b"[1, 2]"):
            assert "bad.json" in outcome.stderr
        assert "Traceback" not in outcome.stderr
        assert "\x1b" not in outcome.stderr
        assert outcome.stdout == ""


@pytest.mark.parametrize("source", ["missing.json", ".", "missing/", "x\0y", "x" * 5000])
def test_unreadable_files_exit_2(source: str) -> None:
    for command in (("solve", source), ("show", source), ("solve", source, "--segments", "dp")):
        assert invoke(*command).exit_code == 2


def test_malformed_stdin_exits_2() -> None:
    outcome = invoke("show", "-", stdin=b"\xff")
    assert outcome.exit_code == 2
    assert "stdin" in outcome.stderr


@pytest.mark.parametrize("arguments", [("schema", "result"), ("show", "instance.json")])
def test_broken_pipe(folder: Path, arguments: tuple[str, ...]) -> None:
    process = subprocess.Popen(
        [*SCOPE_OPT, *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()  # the reader goes away before anything is written
    stderr = process.stderr.read()
    process.stderr.close()
    process.wait(timeout=60)
    assert stderr == b""


def test_ascii_terminal(folder: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [*SCOPE_OPT, "show", "schedule.json"], cwd=folder, env=environment, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert b"####" in done.stdout
    assert done.stdout.isascii()


# --- distribution --------------------------------------------------------------------------------


def test_distribution_ranks_a_schedule(tmp_path: Path) -> None:
    tiny = INSTANCES / "tiny" / "tiny-stream.json"
    schedule = tmp_path / "schedule.json"
    assert invoke("solve", tiny, "--segments", "single", "-o", schedule).exit_code == 0
    outcome = invoke("distribution", tiny, "--idle", "--rank", schedule)
    assert outcome.exit_code == 0
    assert "0 better" in outcome.stdout
    document = json.loads(invoke("distribution", tiny, "--rank", schedule, "--json").stdout)
    assert sum(document["counts"]) == document["valid"] <= document["schedules"]


def test_distribution_refuses_what_it_cannot_enumerate(tmp_path: Path) -> None:
    paper_instance("resnet50", 64).save(tmp_path / "large.json")
    outcome = invoke("distribution", tmp_path / "large.json")
    assert outcome.exit_code == 2
    assert "10^49.9" in outcome.stderr


# --- Slips ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90), ("0", 0), ("1.5", 1.5), ("90s", 90), ("1m", 60), ("2min", 120), ("1.5h", 5400),
        ("1h30m", 5400), ("1h 2m 3s", 3723), ("1m30", 90),
    ],
)  # fmt: skip
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1", "1d", "m", "1m1h", "1e3", "nan"])
def test_no_durations(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="allowed: seconds, or such as 90s, 1m, 1h30m"):
        duration(text)


def test_time_limit_with_a_unit() -> None:
    outcome = invoke("solve", "tiny-skip", "--time-limit", "1m", "--json")
    assert json.loads(outcome.stdout)["options"]["time_limit_s"] == 60


def test_names_do_where_files_do(tmp_path: Path) -> None:
    schedule = tmp_path / "new" / "folder" / "schedule.json"
    for command in (
        ("solve", "tiny-skip", "-o", schedule),
        ("evaluate", "tiny-skip", schedule),
        ("simulate", "tiny-skip", schedule),
        ("compare", "tiny-skip", "--solvers", "scope,exact"),
        ("show", "tiny-skip"),
        ("show", schedule, "tiny-skip"),
        ("distribution", "tiny-skip"),
    ):
        assert invoke(*command).exit_code == 0, command
    assert "resnet50-64-placed" in invoke("show", "resnet50-64-placed").stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("solve", "resnet50-65x"), "did you mean 'resnet50-64'?"),
        (("show", "resnt50-64"), "did you mean 'resnet50-64'?"),
        (("solve", "tiny-skip", "--encoding", "segmens", "--solver", "cp-sat"), "did you mean"),
        (
            ("export", "tiny-skip", "--formulation", "cp_sat", "-o", "x.pb"),
            "did you mean 'cp-sat'?",
        ),
        (("export", "tiny-skip", "--formulation", "exact", "-o", "x.pb"), "formulations: compact"),
    ],
)
def test_slips_are_answered_with_what_fits(
    arguments: tuple[str, ...], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = invoke(*arguments)
    assert outcome.exit_code == 2
    assert expected in outcome.stderr
    assert "scope," not in outcome.stderr  # no solver that is no formulation
    assert not list(tmp_path.iterdir())


def test_a_solver_with_a_slip() -> None:
    outcome = invoke("solve", "tiny-skip", "--solver", "exakt")
    assert outcome.exit_code == 3
    assert "did you mean 'exact'? registered: anneal" in outcome.stderr


@pytest.mark.parametrize("command", ["evaluate", "simulate"])
@pytest.mark.parametrize("document", ["schedule.json", "result.json"])
def test_swapped_arguments(folder: Path, command: str, document: str) -> None:
    outcome = invoke(command, folder / document, folder / "instance.json")
    assert outcome.exit_code == 2
    assert "is no instance; say INSTANCE first, then SCHEDULE" in outcome.stderr
