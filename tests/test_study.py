"""Studies: what they expand to, what is recorded of whatever happens, and how they go on."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import tomllib
from concurrent.futures import Future
from typing import TYPE_CHECKING

import jsonschema
import psutil
import pytest
from documents import ROOT, TINY
from helpers import invoke
from rogues import TRACES, eventually, registered, waiting

from scope_opt import load
from scope_opt.model.files import InputError
from scope_opt.model.generate import paper_instance
from scope_opt.model.instance import NEEDS_ENERGY, Instance
from scope_opt.schedule.evaluate import evaluate
from scope_opt.solving.solver import SolveOptions, load_solver, solve
from scope_opt.solving.warmup import LOOSE, small_instance
from scope_opt.studies.file import Study, load_study
from scope_opt.studies.jobs import Job, jobs_of, select
from scope_opt.studies.pool import run_all, slots_for
from scope_opt.studies.records import Outcome, RecordFile, load_records

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from scope_opt.solving.monitor import Monitor
    from scope_opt.studies.records import Record

HEAD = f'instances = ["{TINY}/tiny-skip.json"]\n'
SCOPE = '[[solvers]]\nsolver = "scope"\n'


@pytest.fixture(scope="module", autouse=True)
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Solvers that misbehave, registered."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("disagreements"))  # where `lies` leaves its schedule
        registered(tmp_path_factory.mktemp("plugin"), patch)
        yield


def write(folder: Path, text: str, name: str = "study.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def jobs(folder: Path, text: str) -> list[Job]:
    path = write(folder, text)
    return jobs_of(load_study(path), path)


# --- Expansion and keys --------------------------------------------------------------------------


def test_instance_times_variant_times_entry_times_seed(tmp_path: Path) -> None:
    text = f"""
instances = ["{TINY}/tiny-s*.json", "{TINY}/tiny-skip.json"]
time_limit_s = 7
memory_limit_gib = 2
threads = 2
seeds = [3, 4]
[[solvers]]
solver = "scope"
[[solvers]]
solver = "cp-sat"
label = "warm"
warm_start = "scope"
segments = [0, 1]
time_limit_s = 9.5
seeds = [1]
[[solvers]]
solver = "anneal"
instances = ["{TINY}/tiny-stream.json"]
iterations = 10
[[variants]]
label = "m=16"
set = {{ samples = 16, "package.nop.bandwidth_bytes_per_s" = 2e11 }}
[[variants]]
label = "first layer named"
set = {{ "network.layers.0.name" = "first" }}
"""
    found = jobs(tmp_path, text)
    listed = [(job.instance.name, job.variant, job.label, job.seed) for job in found]
    variants = ("m=16", "first layer named")
    assert listed == [
        *(("tiny-skip", v, *rest) for v in variants for rest in (("scope", None), ("warm", 1))),
        *(
            ("tiny-stream", v, *rest)
            for v in variants
            for rest in (("scope", None), ("warm", 1), ("anneal", 3), ("anneal", 4))
        ),
    ]
    scope, warm = found[:2]
    assert scope.options == {"time_limit_s": 7, "memory_limit_bytes": 2 * 2**30}
    assert warm.options == {
        "time_limit_s": 9.5,
        "memory_limit_bytes": 2 * 2**30,
        "threads": 2,
        "segments": (0, 1),
        "warm_start": "scope",
    }
    assert warm.warm_start == scope.key
    assert scope.instance.samples == 16
    assert scope.instance.package is not None
    assert scope.instance.package.nop.bandwidth_bytes_per_s == 2e11
    assert found[2].instance.layer_names[0] == "first"
    assert len({job.key for job in found}) == len(found)


def test_the_documented_file_is_valid() -> None:
    page = (ROOT / "docs" / "studies.md").read_text()
    text = page.split("```toml\n")[1].split("```")[0]
    study = Study.model_validate_json(json.dumps(tomllib.loads(text)))
    found = jobs_of(study, ROOT / "results" / "optima" / "study.toml")
    assert len(found) == 8 * (1 + 3)
    assert {job.variant for job in found} == {"m=16"}


def test_key_names_what_a_job_depends_on(tmp_path: Path) -> None:
    entry = '[[solvers]]\nsolver = "cp-sat"\n'
    base = jobs(tmp_path, HEAD + entry)[0].key
    same = [HEAD + entry + 'label = "other"', HEAD + "grace_s = 3\n" + entry, HEAD * 1 + entry]
    assert {jobs(tmp_path, text)[0].key for text in same} == {base}
    variant = '[[variants]]\nlabel = "v"\nset = { samples = 3 }\n'
    other = [
        HEAD.replace("skip", "stream") + entry,
        HEAD + SCOPE,
        HEAD + entry + "time_limit_s = 3",
        HEAD + entry + "threads = 2",
        HEAD + entry + "seeds = [1]",
        HEAD + entry + 'segments = "single"',
        HEAD + "memory_limit_gib = 1\n" + entry,
        HEAD + entry + variant,
    ]
    keys = [jobs(tmp_path, text)[0].key for text in other]
    warm = HEAD + entry + 'warm_start = "scope"\n' + SCOPE
    keys += [jobs(tmp_path, warm)[0].key, jobs(tmp_path, warm + "time_limit_s = 3")[0].key]
    assert len({base, *keys}) == len(keys) + 1


def test_key_names_the_version_of_another_package(tmp_path: Path) -> None:
    (job,) = jobs(tmp_path, HEAD + '[[solvers]]\nsolver = "raises"\n')
    assert job.versions["rogues"] == "1.0"
    assert job.versions["scope-opt"]


def test_built_in_instances_are_named(tmp_path: Path) -> None:
    file = ROOT / "instances" / "paper" / "alexnet-16.json"
    text = (
        f'instances = ["{file}", "alexnet-16", "yolov3-64-placed"]\n[[solvers]]\nsolver = "scope"'
    )
    found = [job.instance for job in jobs(tmp_path, text)]
    assert [instance.name for instance in found] == ["alexnet-16", "yolov3-64-placed"]
    assert found[1] == paper_instance("yolov3", 64, nop="placed")
    with pytest.raises(InputError, match="'yolov9-64' matches no file"):
        jobs(tmp_path, 'instances = ["yolov9-64"]\n' + SCOPE)


def test_selection_keeps_what_jobs_begin_with(tmp_path: Path) -> None:
    text = HEAD + '[[solvers]]\nsolver = "exact"\nwarm_start = "scope"\n' + SCOPE
    text += '[[solvers]]\nsolver = "sequential"\n'
    all_jobs = jobs(tmp_path, text)
    assert [job.label for job in select(all_jobs, "*-skip", ["exact"])] == ["exact", "scope"]
    with pytest.raises(InputError, match="no job is left; instances: tiny-skip; labels: exact"):
        select(all_jobs, "nothing", None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("instances = [", "not valid TOML"),
        (SCOPE, "instances: required key is missing"),
        (HEAD, "solvers: required key is missing"),
        (HEAD + SCOPE + "sead = [1]", "solvers.0.sead: unknown key; did you mean 'seeds'"),
        (HEAD + "time_limit = 3\n" + SCOPE, "time_limit: unknown key; did you mean 'time_limit_s'"),
        (HEAD + "time_limit_s = -1\n" + SCOPE, "time_limit_s: input should be greater than 0"),
        (HEAD + "threads = 0\n" + SCOPE, "threads: input should be greater than or equal to 1"),
        (HEAD + "seeds = [-1]\n" + SCOPE, "seeds.0: input should be greater than or equal to 0"),
        (HEAD + SCOPE + SCOPE, "solvers.1.label: 'scope' is taken by solvers.0"),
        (HEAD + SCOPE + 'warm_start = "x"', "solvers.0.warm_start: no entry 'x'; labels: scope"),
        (
            HEAD + '[[solvers]]\nsolver = "exact"\nwarm_start = "exact"',
            "solvers.0.warm_start: begins with itself: exact <- exact",
        ),
        (HEAD + SCOPE + 'segments = "all"', "solvers.0.segments: allowed: single, balanced, dp"),
        (HEAD + SCOPE + "segments = true", "solvers.0.segments: allowed: single, balanced, dp"),
        (HEAD + '[[solvers]]\nsolver = "cpsat"', "no solver 'cpsat'; did you mean 'cp-sat'?"),
        (HEAD + SCOPE + "threads = 2", "solvers.0.threads: solver 'scope' does not use it"),
        (HEAD + SCOPE + "seeds = [1]", "solvers.0.seeds: solver 'scope' does not use it"),
        (HEAD + SCOPE + 'encoding = "x"', "solvers.0.encoding: solver 'scope' does not use it"),
        ('instances = ["no-*.json"]\n' + SCOPE, "instances.0: 'no-*.json' matches no file"),
        ('instances = ["study.toml"]\n' + SCOPE, "study.toml: name: required key is missing"),
        (
            HEAD + SCOPE + 'instances = ["no.json"]',
            "solvers.0.instances.0: 'no.json' matches no file",
        ),
        (
            HEAD + SCOPE + '[[variants]]\nlabel = "v"\nset = { "package.size" = 1 }',
            "variants.0.set: tiny-skip: package.size: unknown key",
        ),
        (
            HEAD + SCOPE + '[[variants]]\nlabel = "v"\nset = { "packing.size" = 1 }',
            "variants.0.set: tiny-skip: packing.size: there is no 'packing' in the instance",
        ),
        (
            HEAD + SCOPE + '[[variants]]\nlabel = "v"\nset = { samples = 0 }',
            "variants.0.set: tiny-skip: samples: input should be greater than or equal to 1",
        ),
        (
            HEAD + SCOPE + '[[solvers]]\nsolver = "scope"\nlabel = "again"',
            "the same job twice: (tiny-skip, scope) and (tiny-skip, again)",
        ),
        (
            f'instances = ["{TINY}/tiny-s*.json"]\n[[solvers]]\nsolver = "exact"\n'
            f'warm_start = "scope"\n{SCOPE}instances = ["{TINY}/tiny-skip.json"]',
            "solvers.0.warm_start: entry 'scope' does not solve tiny-stream",
        ),
    ],
)
def test_bad_study_files(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        jobs(tmp_path, text)
    assert any(message in problem for problem in caught.value.problems), caught.value


def test_all_problems_at_once(tmp_path: Path) -> None:
    text = 'instances = ["no.json"]\n[[solvers]]\nsolver = "x"\n' + SCOPE + "seeds = [0]\n"
    outcome = invoke("study", write(tmp_path, text))
    assert outcome.exit_code == 2
    assert "3 problems" in outcome.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["study.toml"]


def test_two_files_with_one_name_are_refused(tmp_path: Path) -> None:
    skip = Instance.load(TINY / "tiny-skip.json")
    skip.model_copy(update={"samples": 3}).save(tmp_path / "other.json")
    with pytest.raises(InputError, match="name 'tiny-skip' is taken by"):
        jobs(tmp_path, f'instances = ["other.json", "{TINY}/tiny-skip.json"]\n{SCOPE}')


# --- A study of everything that can happen -------------------------------------------------------

EVERYTHING = (
    HEAD
    + 'time_limit_s = 20\ngrace_s = 0.3\nthreads = 1\n[[solvers]]\nsolver = "exact"\n'
    + 'warm_start = "scope"\n'
    + SCOPE
    + '[[solvers]]\nsolver = "anneal"\niterations = 300\nseeds = [0, 1]\n'
    + '[[solvers]]\nsolver = "exact"\nlabel = "from nothing"\nwarm_start = "refuses"\n'
    + '[[solvers]]\nsolver = "hangs"\ntime_limit_s = 0.5\n'
    + '[[solvers]]\nsolver = "eats"\nmemory_limit_gib = 0.5\n'
    + "".join(
        f'[[solvers]]\nsolver = "{name}"\n'
        for name in ("crashes", "crashes-at-once", "raises", "refuses", "lies")
    )
)
OUTCOMES = {
    "anneal": Outcome.DONE,
    "crashes": Outcome.CRASHED,
    "crashes-at-once": Outcome.CRASHED,
    "eats": Outcome.MEMORY_LIMIT,
    "exact": Outcome.DONE,
    "from nothing": Outcome.REFUSED,
    "hangs": Outcome.WALL_LIMIT,
    "lies": Outcome.CRASHED,
    "raises": Outcome.CRASHED,
    "refuses": Outcome.REFUSED,
    "scope": Outcome.DONE,
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a study that ran."""
    folder = tmp_path_factory.mktemp("ran")
    outcome = invoke("study", write(folder, EVERYTHING), "--jobs", 2, "--oversubscribe")
    assert outcome.exit_code == 0, outcome.stderr
    assert "12 jobs, 4 done, 2 refused, 4 crashed, 1 wall limit, 1 memory limit" in outcome.stderr
    return folder


def by_label(folder: Path) -> dict[str, Record]:
    return {record.label: record for record in load_records(folder)}


def test_every_outcome_is_recorded(ran: Path) -> None:
    found = load_records(ran)
    assert [record.label for record in found] == sorted(["anneal", *OUTCOMES])
    assert {record.label: record.outcome for record in found} == OUTCOMES
    explained = {record.label for record in found if record.explanation}
    assert explained == {label for label, outcome in OUTCOMES.items() if outcome != Outcome.DONE}
    expected = {job.key for job in jobs(ran, EVERYTHING)}
    assert {record.key for record in found} == expected


def test_records_follow_their_schema(ran: Path) -> None:
    schema = json.loads(invoke("schema", "record").stdout)
    validator = jsonschema.Draft202012Validator(schema)
    for line in (ran / "records.jsonl").read_text().splitlines():
        validator.validate(json.loads(line))


def test_explanations_say_what_happened(ran: Path) -> None:
    found = by_label(ran)
    assert found["crashes"].explanation == (
        "the solver's process was ended by SIGSEGV",
        "last words",
    )
    assert "exit code 7" in found["crashes-at-once"].explanation[0]
    assert found["raises"].explanation == ("RuntimeError: out of luck",)
    assert "SolverDisagreement" in found["lies"].explanation[0]
    assert "more than 0.8 s" in found["hangs"].explanation[0]
    assert "0.5 GiB" in found["eats"].explanation[0]
    assert "nor that one" in found["refuses"].explanation[2]
    assert "'refuses' found no schedule" in found["from nothing"].explanation[0]


@pytest.mark.parametrize(
    ("label", "stop_reason"),
    [("crashes", "error"), ("raises", "error"), ("hangs", "time_limit"), ("eats", "memory_limit")],
)
def test_what_was_reported_is_kept(ran: Path, label: str, stop_reason: str) -> None:
    result = by_label(ran)[label].result
    assert result is not None
    assert (result.status, result.stop_reason, result.bound_ps) == ("feasible", stop_reason, 1)
    instance = Instance.load(TINY / "tiny-skip.json")
    assert result.objective_ps == solve(instance, "scope").objective_ps
    assert result.schedule is not None
    assert evaluate(instance, result.schedule).objective_ps == result.objective_ps
    assert [point.bound_ps for point in result.trajectory] == [None, 1]
    assert by_label(ran)["crashes-at-once"].result is None


def test_results_are_those_of_solve(ran: Path) -> None:
    found = by_label(ran)
    exact, scope = found["exact"].result, found["scope"].result
    assert exact is not None
    assert scope is not None
    assert exact.status == "optimal"
    asked = {"time_limit_s": 20.0, "threads": 1, "warm_start": "scope"}
    assert found["exact"].options == asked
    assert exact.trajectory[0].objective_ps == scope.objective_ps
    assert exact.objective_ps == solve(Instance.load(TINY / "tiny-skip.json")).objective_ps


def test_times_hold_no_start_up(ran: Path) -> None:
    """Importing what solvers need takes longer than all solves of a tiny instance together."""
    found = [by_label(ran)[label] for label in ("anneal", "exact", "scope")]
    for record in found:
        assert record.result is not None
        assert record.result.times_s.total <= record.wall_s + 0.05
    assert min(record.wall_s for record in found) < 0.4


def test_seeds_count(ran: Path) -> None:
    seeded = [record for record in load_records(ran) if record.seed is not None]
    used = [record.result and record.result.options["seed"] for record in seeded]
    assert [record.seed for record in seeded] == used == [0, 1]


def test_table_and_manifest(ran: Path) -> None:
    rows = list(csv.DictReader((ran / "table.csv").read_text().splitlines()))
    assert [row["label"] for row in rows] == [record.label for record in load_records(ran)]
    for row, record in zip(rows, load_records(ran), strict=True):
        assert row["key"] == record.key
        assert row["outcome"] == record.outcome
        objective = None if record.result is None else record.result.objective_ps
        assert row["objective_ps"] == ("" if objective is None else str(objective))
    (noted,) = json.loads((ran / "manifest.json").read_text())["runs"]
    assert {"started", "command", "commit", "versions", "machine"} <= set(noted)


def test_rerun_does_nothing(ran: Path) -> None:
    before = (ran / "records.jsonl").read_bytes()
    assert invoke("study", ran / "study.toml").exit_code == 0
    assert (ran / "records.jsonl").read_bytes() == before
    assert len(json.loads((ran / "manifest.json").read_text())["runs"]) == 1


def test_dry_run_says_what_is_done(ran: Path) -> None:
    outcome = invoke("study", ran / "study.toml", "--dry-run", "--json", "--redo", "crashed")
    listed = {job["label"]: job["outcome"] for job in json.loads(outcome.stdout)}
    again = {label: None for label, found in OUTCOMES.items() if found == Outcome.CRASHED}
    assert listed == OUTCOMES | again
    assert "12 of 12 jobs done" in invoke("study", ran / "study.toml", "--dry-run").stdout


def test_torn_line_is_ignored_then_repaired(ran: Path, tmp_path: Path) -> None:
    whole = (ran / "records.jsonl").read_bytes()
    last = json.loads(whole.splitlines()[-1])["label"]
    (tmp_path / "records.jsonl").write_bytes(whole[:-40])
    assert len(load_records(tmp_path)) == 11
    study = write(tmp_path, EVERYTHING)
    assert "11 of 12 jobs done" in invoke("study", study, "--dry-run").stdout
    with RecordFile(tmp_path) as file:
        assert len(file.records) == 11
    assert (tmp_path / "records.jsonl").read_bytes() == whole[: whole[:-1].rfind(b"\n") + 1]
    assert invoke("study", study).exit_code == 0
    assert (tmp_path / "records.jsonl").read_bytes().startswith(whole[: whole[:-1].rfind(b"\n")])
    assert by_label(tmp_path)[last].outcome == OUTCOMES[last]


def test_renamed_entry_keeps_its_record(ran: Path, tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").write_bytes((ran / "records.jsonl").read_bytes())
    renamed = EVERYTHING.replace('solver = "raises"', 'solver = "raises"\nlabel = "new name"')
    assert invoke("study", write(tmp_path, renamed)).exit_code == 0
    assert by_label(tmp_path)["new name"].key == by_label(ran)["raises"].key
    assert len(load_records(tmp_path)) == 12


# --- Records -------------------------------------------------------------------------------------


def test_other_content_is_refused_with_its_line(ran: Path, tmp_path: Path) -> None:
    line = (ran / "records.jsonl").read_text().splitlines()[0]
    (tmp_path / "records.jsonl").write_text(f"{line}\n{{}}\n")
    with pytest.raises(InputError, match=r"records.jsonl, line 2: "):
        load_records(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        load_records(tmp_path / "nowhere")


def test_one_study_at_a_time(tmp_path: Path) -> None:
    with RecordFile(tmp_path), pytest.raises(InputError, match="another run"):
        RecordFile(tmp_path)
    with RecordFile(tmp_path) as file:
        assert not file.records


def test_full_disk_leaves_no_half_line(
    ran: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = load_records(ran)[:2]
    real = os.write

    def full(handle: int, data: bytes) -> int:
        if len(data) > 100:
            return real(handle, data[:100])
        raise OSError(28, "No space left on device")

    with RecordFile(tmp_path) as file:
        file.append(first)
        monkeypatch.setattr("scope_opt.studies.records.os.write", lambda h, d: full(h, d[:150]))
        with pytest.raises(InputError, match="No space left"):
            file.append(second)
        monkeypatch.undo()
        assert load_records(tmp_path) == [first]
        file.append(second)
    assert load_records(tmp_path) == [first, second]


class Loses:
    """A backend whose workers all die; also the one who watches it."""

    slots = 3

    def __init__(self) -> None:
        self.submitted: list[str] = []
        self.closed = False

    def submit(self, job: Job, *_: object) -> Future[Record | None]:
        self.submitted.append(job.label)
        lost: Future[Record | None] = Future()
        lost.set_result(None)
        return lost

    def close(self) -> None:
        self.closed = True

    def started(self, job: Job) -> None:
        pass

    def ended(self, job: Job, record: Record) -> None:
        raise AssertionError(job)

    def news(self, job: Job, monitor: Monitor) -> None:
        raise AssertionError(job)

    def tick(self) -> None:
        pass


def test_lost_jobs_have_no_record_and_nothing_begins_with_them(tmp_path: Path) -> None:
    backend = Loses()
    with RecordFile(tmp_path) as file:
        chosen = select(jobs(tmp_path, EVERYTHING), None, ["exact", "raises"])
        run_all(chosen, file, backend, backend)
    assert sorted(backend.submitted) == ["raises", "scope"]
    assert backend.closed
    assert load_records(tmp_path) == []


# --- Limits --------------------------------------------------------------------------------------


def test_oversubscription_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scope_opt.solving.host.os.sched_getaffinity", lambda _: set(range(8)))
    entry = '[[solvers]]\nsolver = "cp-sat"\nthreads = 3\n'
    many = jobs(tmp_path, HEAD + SCOPE + entry)
    assert slots_for(many, None, oversubscribe=False) == 2
    assert slots_for(many[:1], None, oversubscribe=False) == 8
    assert slots_for(many, 2, oversubscribe=False) == 2
    with pytest.raises(InputError, match="3 at once with up to 3 threads on 8 cores"):
        slots_for(many, 3, oversubscribe=False)
    assert slots_for(many, 3, oversubscribe=True) == 3
    assert slots_for(jobs(tmp_path, HEAD + entry + "\n"), 8, oversubscribe=True) == 8


def test_every_solver_can_be_warmed_up() -> None:
    assert set(LOOSE) == NEEDS_ENERGY
    for name in ("exact", "exact-pipeline", "exhaustive", "anneal", "scope", "cp-sat"):
        solver = load_solver(name)
        iterations = 300 if "iterations" in solver.options else None
        constraints = [c for c in LOOSE if c in solver.constraints]
        result = solve(small_instance(constraints), solver, SolveOptions(iterations=iterations))
        assert result.schedule is not None, name


@pytest.mark.parametrize("demands", [(), ("placed",), ("activation_buffer_bytes",)])
def test_the_warm_up_has_the_model_of_the_instance(demands: tuple[str, ...]) -> None:
    assert small_instance(demands).demands == set(demands)
    assert solve(small_instance(demands), "exhaustive").schedule is not None


def test_after_the_warm_up_nothing_is_compiled_or_imported() -> None:
    code = f"""
import gc, sys
from pathlib import Path
from numba.core.dispatcher import Dispatcher
from scope_opt.model.instance import Instance
from scope_opt.solving.warmup import warm_up
from scope_opt.solving.solver import SolveOptions, load_solver, solve

def compiled():
    kernels = [kernel for kernel in gc.get_objects() if isinstance(kernel, Dispatcher)]
    return sum(len(kernel.overloads) for kernel in kernels)

cold = compiled()
for name in sys.argv[1:]:
    solver = load_solver(name)
    options = SolveOptions(iterations=300 if "iterations" in solver.options else None)
    for file in ("tiny-skip", "tiny-stream", "tiny-tables"):
        instance = Instance.load(Path({str(TINY)!r}, file + ".json"))
        warm_up(solver, instance.demands, options)
        before = compiled(), set(sys.modules)
        assert before[0] > cold
        solve(instance, solver, options)
        assert (compiled(), set(sys.modules)) == before, (name, set(sys.modules) - before[1])
"""
    command = [sys.executable, "-c", code, "exact", "anneal", "cp-sat"]
    subprocess.run(command, check=True)


def test_limits_of_processor_time_and_orders_reach_the_solver(tmp_path: Path) -> None:
    head = "cpu_limit_s = 5.0\n" + HEAD
    entries = (
        '[[solvers]]\nsolver = "exact"\norder = ["zigzag", "blocks-2"]\n'
        '[[solvers]]\nsolver = "scope"\norder = "all"\ncpu_limit_s = 7.0\n'
    )
    first, second = (job.solve_options(None) for job in jobs(tmp_path, head + entries))
    assert (first.cpu_limit_s, first.order) == (5.0, ("zigzag", "blocks-2"))
    assert (second.cpu_limit_s, second.order) == (7.0, "all")


# --- Interruptions -------------------------------------------------------------------------------

WAITING = HEAD + SCOPE + '[[solvers]]\nsolver = "waits"\n'


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_study_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: signal.Signals
) -> None:
    traces = tmp_path / "traces"
    traces.mkdir()
    monkeypatch.setenv(TRACES, str(traces))
    study = write(tmp_path, WAITING)
    lines = tmp_path / "records.jsonl"
    command = [sys.executable, "-m", "scope_opt", "study", str(study), "--jobs", "2"]
    with subprocess.Popen([*command, "--oversubscribe"], stderr=subprocess.PIPE, text=True) as ran:
        assert eventually(
            lambda: bool(waiting(traces)) and lines.exists() and lines.read_text() != ""
        )
        (solver,) = waiting(traces)
        assert psutil.pid_exists(solver)
        ran.send_signal(how)
        _, errors = ran.communicate(timeout=120)
    if how == signal.SIGINT:
        assert ran.returncode == 130
        assert "interrupted: 1 of 2 jobs done; the same command goes on" in errors
    else:
        assert ran.returncode == -how
    assert eventually(lambda: not psutil.pid_exists(solver))
    first = lines.read_text()
    assert [json.loads(line)["label"] for line in first.splitlines()] == ["scope"]

    (traces / "go").touch()
    assert invoke("study", study).exit_code == 0
    assert lines.read_text().startswith(first)
    assert {r.label: r.outcome for r in load_records(tmp_path)} == {
        "scope": "done",
        "waits": "done",
    }


def test_tables_larger_than_the_memory_limit_are_not_built(tmp_path: Path) -> None:
    large = load("llama3-70b-128tokens-1024")
    assert large.package is not None
    package = large.package.model_copy(update={"mesh_rows": 64, "mesh_cols": 64})
    large.model_copy(update={"package": package}).save(tmp_path / "large.json")
    study = write(tmp_path, 'instances = ["large.json"]\nmemory_limit_gib = 0.5\n' + SCOPE)
    assert invoke("study", study).exit_code == 0
    (record,) = load_records(tmp_path)
    assert record.result is not None
    assert (record.outcome, record.result.stop_reason) == (Outcome.DONE, "memory_limit")
    assert record.result.schedule is None
    assert "tables of times" in record.result.explanation[0]


# Limits differ so that these are two jobs.
TOGETHER = HEAD + '[[solvers]]\nsolver = "waits"\nlabel = "one"\nmemory_limit_gib = 4\n'
TOGETHER += '[[solvers]]\nsolver = "waits"\nlabel = "other"\nmemory_limit_gib = 5\n'
TOGETHER += '[[solvers]]\nsolver = "eats"\nmemory_limit_gib = 0.5\n'


def test_what_ends_a_job_ends_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two that run at once one is killed, the next one takes too much; the other goes on."""
    traces = tmp_path / "traces"
    traces.mkdir()
    monkeypatch.setenv(TRACES, str(traces))
    study, lines = write(tmp_path, TOGETHER), tmp_path / "records.jsonl"
    command = [sys.executable, "-m", "scope_opt", "study", str(study), "--jobs", "2"]
    with subprocess.Popen([*command, "--oversubscribe"], stderr=subprocess.PIPE, text=True) as ran:
        assert eventually(lambda: len(waiting(traces)) == 2)
        killed, stays = waiting(traces)
        os.kill(killed, signal.SIGKILL)
        assert eventually(lambda: lines.exists() and lines.read_text().count("\n") == 2)
        assert psutil.pid_exists(stays)
        (traces / "go").touch()
        _, errors = ran.communicate(timeout=120)
    assert ran.returncode == 0, errors
    assert len(lines.read_text().splitlines()) == 3
    found = {record.label: record for record in load_records(tmp_path)}
    assert found["eats"].outcome == Outcome.MEMORY_LIMIT
    one, other = sorted((found["one"], found["other"]), key=lambda record: record.outcome)
    assert (one.outcome, other.outcome) == (Outcome.CRASHED, Outcome.DONE)
    assert one.explanation[0] == "the solver's process was ended by SIGKILL"
    assert other.result is not None
    before = lines.read_bytes()
    assert invoke("study", study).exit_code == 0
    assert lines.read_bytes() == before
