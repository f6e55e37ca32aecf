"""Files, command lines and instances that nobody would write, to find what breaks.

``python tests/fuzz.py --seconds 3600`` goes on until the time is over; `test_fuzz` does a little of
it in every run of the tests. Everything follows from a seed. A case that fails is written to a
folder, with what happened and the command that does it again.

Two things are tried. Documents are changed where they have structure (values from the edges of
types, keys and items dropped, doubled, swapped) or as bytes, and given to every command that reads
them: whatever they hold, a command must end in time with one of its exit codes and in words. And
valid instances with quantities of any size are solved by all solvers that take them: nothing that
one of them proves may contradict what another one finds.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from documents import TINY_FILES, shipped
from helpers import read
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from placed_strategies import placed_instances
from strategies import physical_instances, table_instances
from typer.testing import CliRunner

from scope_opt.cli import app
from scope_opt.cost.build import build_tables
from scope_opt.model.files import InputError
from scope_opt.model.instance import Instance
from scope_opt.schedule.schedule import InstanceReference
from scope_opt.solving.result import Result, Status
from scope_opt.solving.solver import (
    SolveOptions,
    load_solver,
    refuse_unsupported,
    solve,
    solver_names,
)
from scope_opt.studies.records import RECORDS, Outcome, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from documents import Json

CODES = (0, 1, 2, 3)
"""How a command may end."""
CASE_S = 120.0
"""Seconds that a command may take, compilation included; solvers are given `SOLVE_S`."""
SOLVE_S = 0.5
MOST_CHIPLETS = 36
"""Of instances whose tables are built: larger ones are slow, not wrong."""
SCALE = 12
"""Quantities of valid instances are changed by up to so many powers of ten."""

VALUES: tuple[Any, ...] = (
    *(0, 1, -1, 2, 3, 7, 1000, 2**31 - 1, 2**31, 2**53 + 1, 2**61, 2**63 - 1, 2**63, 10**30),
    *(0.0, -0.0, 0.5, 1.5, -1e-9, 5e-324, 1e-30, 1e-12, 1e12, 1e30, 1e308, float("nan")),
    *(float("inf"), float("-inf"), True, False, None, "", "x", "0", "1e3", "ISP", "dp", "stream"),
    *("<b>&", "=1+1", "\u202e\x1b[31m\r\n", "\ud800", "\x00", "n" * 300, [], {}, [0], [[]]),
    *({"": 0}, [None], [1, 1], [[0, 0]]),
)
OPTION_VALUES = (
    *("0", "1", "-1", "2", "7", "1e3", "1e308", "1e-300", "inf", "nan", "", "x", "single", "dp"),
    *("balanced", "9" * 30, str(2**31), str(2**63), "-", "/", "/dev/null", ".", "\u202e", "=1"),
)
OPTIONS = {
    "solve": (
        *("--segments", "--time-limit", "--seed", "--iterations", "--rel-gap", "--threads"),
        *("--encoding", "--memory-limit", "--warm-start"),
    ),
    "simulate": ("--mode", "--buffers", "--trace-samples", "--flit-bytes", "--injection"),
    "export": ("--segments", "--encoding"),
    "pareto": ("--points", "--slowest", "--segments"),
    "distribution": ("--idle",),
    "study": ("--only", "--labels", "--redo"),
}


class Failure(NamedTuple):
    """A case that broke something."""

    name: str
    what: str


class TooLong(BaseException):
    """A case took more than its time; no `Exception`, lest somebody catches it."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise `TooLong` in the main thread after so many seconds."""

    def stop(_signal: int, _frame: object) -> None:
        raise TooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def problem_of(arguments: list[str]) -> str | None:
    """What is wrong with how a command ends; None if nothing is."""
    try:
        with limited(CASE_S):
            ran = CliRunner().invoke(app, arguments)
    except TooLong:
        return f"took more than {CASE_S:g} s"
    error = ran.exception
    if error is not None and not isinstance(error, SystemExit):
        return "".join(traceback.format_exception(error))
    if ran.exit_code not in CODES:
        return f"exit code {ran.exit_code}"
    if ran.exit_code == 2 and not ran.stderr.startswith(("error: ", "Usage: ", "warning: ")):
        return f"exit code 2 without an error: {ran.stderr!r}"
    if "and the evaluator disagree" in ran.stderr:
        return ran.stderr
    return None


# --- Documents -----------------------------------------------------------------------------------


class Documents:
    """What is changed: one document of each kind for some instances."""

    def __init__(self) -> None:
        self.instances = [json.loads(path.read_text()) for path in TINY_FILES]
        self.instances.append(placed(shipped("tiny-skip")))
        self.schedules: list[Json] = []
        self.results: list[Json] = []
        self.records: list[Json] = []
        for document in self.instances:
            instance = read(document)
            result = solve(instance, _able(instance), SolveOptions(time_limit_s=5.0))
            content = json.loads(result.to_json())
            self.results.append(content)
            if result.schedule is not None:
                self.schedules.append(content["schedule"])
            self.records.append(json.loads(_record(instance, result).to_line()))
        self.study: Json = {
            "instances": ["instance.json"],
            "time_limit_s": 1.0,
            "seeds": [0, 1],
            "solvers": [
                {"solver": "scope", "label": "first", "segments": [0]},
                {"solver": "anneal", "iterations": 100, "warm_start": "first"},
            ],
            "variants": [{"label": "few", "set": {"samples": 2}}],
        }


def placed(document: Json) -> Json:
    """The instance in the placed model."""
    package = document["package"]
    return {**document, "package": {**package, "nop": {"model": "placed", **package["nop"]}}}


def _able(instance: Instance) -> str:
    """A solver that takes the instance."""
    for name in ("exact", "cp-sat", "scope"):
        if instance.demands <= load_solver(name).constraints:
            return name
    raise AssertionError(instance.demands)


def _record(instance: Instance, result: Result) -> Record:
    return Record(
        key=instance.digest,
        instance=InstanceReference.to(instance),
        variant=None,
        label="exact",
        solver=result.solver,
        seed=None,
        options={"time_limit_s": 5.0},
        outcome=Outcome.DONE,
        result=result,
        started="2026-01-01T00:00:00+00:00",
        wall_s=1.0,
        host="here",
        commit=None,
    )


def changed(draw: random.Random, document: Json) -> Any:
    """The document with a few changes where it has structure."""
    whole: list[Any] = [json.loads(json.dumps(document))]
    for _ in range(draw.choice((1, 1, 1, 2, 3, 5))):
        places = list(_places(whole))
        _change(draw, *draw.choice(places), places)
    return whole[0]


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    """Every place inside of a document, as a container and a key or an index."""
    keys = content if isinstance(content, dict) else range(len(content))
    for key in keys:
        yield content, key
        if isinstance(content[key], dict | list):
            yield from _places(content[key])


def _change(draw: random.Random, inside: Any, key: Any, places: list[tuple[Any, Any]]) -> None:
    value = inside[key]
    kind = draw.randrange(8)
    if kind == 0 and len(inside) > 1:
        del inside[key]
    elif kind == 1 and isinstance(inside, list):
        inside.insert(key, value)
    elif kind == 2 and isinstance(inside, dict):
        inside[draw.choice(("", "name", "unknown", f"{key} ", "chiplets"))] = value
    elif kind == 3:
        other, there = draw.choice(places)
        inside[key] = json.loads(json.dumps(other[there]))
    elif kind in (4, 5) and type(value) in (int, float):
        factor = draw.choice((0, -1, 2, 10, 1000, 10**6, 10**12, 10**30, 0.5, 1e-3, 1e-9, 1e-30))
        inside[key] = type(value)(value * factor) if draw.random() < 0.7 else value * factor
    elif kind == 6 and type(value) in (int, float):
        inside[key] = value + draw.choice((-1, 1))
    else:
        inside[key] = draw.choice(VALUES)


def spoiled(draw: random.Random, data: bytes) -> bytes:
    """The bytes with some cut, changed or added."""
    at = draw.randrange(len(data) + 1)
    kind = draw.randrange(5)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + bytes([draw.randrange(256)]) + data[at + 1 :]
    if kind == 2:
        return data[:at] + draw.choice((b"{", b"[" * 3000, b"\xff", b",", b"9" * 5000)) + data[at:]
    if kind == 3:
        return data[:at] + data[draw.randrange(len(data) + 1) :]
    return gzip.compress(data)


def toml(content: Json) -> str:
    """A study as TOML; what TOML does not know is written as JSON has it."""
    lines = []
    for key, value in content.items():
        tables = isinstance(value, list) and value and all(isinstance(v, dict) for v in value)
        lines.append((tables, key, value))
    text = "".join(f"{_key(key)} = {_value(value)}\n" for table, key, value in lines if not table)
    for _, key, value in (line for line in lines if line[0]):
        for entry in value:
            text += f"[[{_key(key)}]]\n"
            text += "".join(f"{_key(k)} = {_value(v)}\n" for k, v in entry.items())
    return text


def _key(key: object) -> str:
    return json.dumps(str(key))


def _value(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    text = json.dumps(value)
    return {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf"}.get(text, text)


# --- Cases ---------------------------------------------------------------------------------------


class Fuzzer:
    """Changed documents, and the commands that read them, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._documents = folder, Documents()
        self._makers: tuple[Callable[[random.Random], list[list[str]]], ...] = (
            *(self._instance, self._instance, self._instance),
            *(self._answer, self._answer, self._study, self._study_folder, self._options),
        )

    def cases(self, first: int, count: int) -> Iterator[Failure]:
        """Those of ``count`` seeds that fail."""
        for number in range(first, first + count):
            yield from self.case(number)

    def case(self, number: int) -> Iterator[Failure]:
        """What one seed breaks, if anything; its files stay until the next one."""
        draw = random.Random(number)
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        for arguments in draw.choice(self._makers)(draw):
            what = problem_of(arguments)
            if what is not None:
                yield Failure(f"case-{number}", f"{' '.join(arguments)}\n{what}")

    def _write(self, name: str, content: Any, draw: random.Random | None = None) -> str:
        """File of a document, spoiled now and then if ``draw`` is given."""
        data = content if isinstance(content, str) else json.dumps(content)
        raw = data.encode("utf-8", "surrogatepass")
        if draw is not None and draw.random() < 0.1:
            raw = spoiled(draw, raw)
        path = self._folder / name
        path.write_bytes(raw)
        return str(path)

    def _pick(self, draw: random.Random) -> int:
        return draw.randrange(len(self._documents.schedules))

    def _instance(self, draw: random.Random) -> list[list[str]]:
        """A changed instance, solved, shown and evaluated."""
        known = self._documents
        index = self._pick(draw)
        content = changed(draw, known.instances[index])
        file = self._write("instance.json", content, draw)
        if _large(content):
            return []
        schedule = self._write("schedule.json", known.schedules[index])
        solvers = ["scope", "exact", draw.choice(solver_names())]
        commands = [
            ["show", file],
            *(["solve", file, "--solver", s, "--time-limit", str(SOLVE_S)] for s in solvers[1:]),
            ["evaluate", file, schedule, *draw.choice(([], ["--json"]))],
            ["simulate", file, schedule],
            ["simulate", file, schedule, "--traffic", str(self._folder / "beat.txt"), "--force"],
            ["show", schedule, file],
            ["distribution", file],
            ["report", schedule, "--instance", file, "-o", str(self._folder / "report")],
            ["export", file, "--formulation", "cp-sat", "-o", str(self._folder / "p.pb")],
        ]
        return [commands[0], *draw.sample(commands[1:], 3)]

    def _answer(self, draw: random.Random) -> list[list[str]]:
        """A changed schedule or result with its instance."""
        known = self._documents
        index = self._pick(draw)
        answer = draw.choice((known.schedules, known.results))[index]
        file = self._write("answer.json", changed(draw, answer), draw)
        instance = self._write("instance.json", known.instances[index])
        commands = [
            ["show", file],
            ["show", file, instance],
            ["evaluate", instance, file],
            ["simulate", instance, file, "--mode", draw.choice(("lockstep", "asynchronous"))],
            ["solve", instance, "--segments", file, "--time-limit", str(SOLVE_S)],
            ["solve", instance, "--solver", "cp-sat", "--warm-start", file, "--time-limit", "0.5"],
            ["report", file, "--instance", instance, "-o", str(self._folder / "report")],
        ]
        return [*commands[:2], *draw.sample(commands[2:], 2)]

    def _study(self, draw: random.Random) -> list[list[str]]:
        """A changed study file."""
        index = draw.randrange(len(self._documents.instances))
        self._write("instance.json", self._documents.instances[index])
        file = self._write("study.toml", toml(_as_dict(changed(draw, self._documents.study))), draw)
        return [["study", file, "--dry-run"]]

    def _study_folder(self, draw: random.Random) -> list[list[str]]:
        """Changed records of a study."""
        lines = [
            json.dumps(changed(draw, record) if draw.random() < 0.5 else record)
            for record in draw.sample(self._documents.records, 3)
        ]
        self._write(RECORDS, "\n".join([*lines, ""]), draw)
        self._write("instance.json", self._documents.instances[0])
        study = self._write("study.toml", toml(self._documents.study))
        return [["study", study, "--dry-run"], ["report", str(self._folder)]]

    def _options(self, draw: random.Random) -> list[list[str]]:
        """Options with values from anywhere."""
        index = self._pick(draw)
        instance = self._write("instance.json", self._documents.instances[index])
        schedule = self._write("schedule.json", self._documents.schedules[index])
        study = self._write("study.toml", toml(self._documents.study))
        files = {
            "solve": [instance, "--solver", draw.choice(solver_names()), "--time-limit", "0.5"],
            "simulate": [instance, schedule],
            "export": [instance, "--formulation", "cp-sat", "-o", str(self._folder / "p.pb")],
            "pareto": [instance, "--time-limit", "0.2", "--points", "2"],
            "distribution": [instance],
            "study": [study, "--dry-run"],
        }
        command = draw.choice(list(files))
        given = []
        for option in draw.sample(OPTIONS[command], min(2, len(OPTIONS[command]))):
            given += [option] if option == "--idle" else [option, draw.choice(OPTION_VALUES)]
        if command == "solve" and "--time-limit" in given:
            given += ["--iterations", "1000"] if "--iterations" not in given else []
        return [[command, *files[command], *given]]


def _as_dict(content: Any) -> Json:
    return content if isinstance(content, dict) else {"": content}


def _large(content: Any) -> bool:
    """Whether an instance has more chiplets than are worth the time."""
    try:
        return Instance.from_json(json.dumps(content), "fuzz").chiplets > MOST_CHIPLETS
    except InputError:
        return False


# --- Solvers against each other ------------------------------------------------------------------


@st.composite
def extreme_instances(draw: st.DrawFn) -> Json:
    """Valid instances of both models, or of explicit tables, with quantities of any size."""
    small = {"max_layers": 3, "max_chiplets": 4, "constraints": draw(st.booleans())}
    kind = draw(st.sampled_from((physical_instances, placed_instances, table_instances)))
    document: Json = draw(kind(**small))
    document = {**document, "samples": draw(st.sampled_from((1, 2, 3, 64, 1000, 10**6, 10**9)))}
    if "package" not in document:
        return document
    document = json.loads(json.dumps(document))
    package = document["package"]
    for part in (package["chiplet"], package["nop"], package["dram"], package):
        for name, value in part.items():
            grows = isinstance(value, float) and name not in ("efficiency", "eta_link")
            if grows and draw(st.booleans()):
                part[name] = value * 10.0 ** draw(st.integers(-SCALE, SCALE))
    return document


def contradiction(document: Json) -> str | None:
    """What solvers say of an instance that cannot all be true; None if they agree."""
    instance = read(document)
    try:
        build_tables(instance)
    except InputError:
        return None  # too large for int64, and said so
    found: dict[str, Result] = {}
    for name in solver_names():
        solver, options = load_solver(name), SolveOptions("dp", time_limit_s=5.0)
        if "iterations" in solver.options:
            options = SolveOptions("dp", time_limit_s=5.0, iterations=500)
        try:
            refuse_unsupported(instance, solver, options)
            found[name] = solve(instance, solver, options)
        except InputError:
            continue  # does not take this instance, and said so
    return contradiction_of(instance, found)


def contradiction_of(instance: Instance, found: dict[str, Result]) -> str | None:
    def value(result: Result) -> int | None:
        return result.objective_fj if instance.minimizes == "energy" else result.objective_ps

    def bound(result: Result) -> int | None:
        return result.bound_fj if instance.minimizes == "energy" else result.bound_ps

    whole = {name: r for name, r in found.items() if name in WHOLE}
    best = min(((v, n) for n, r in found.items() if (v := value(r)) is not None), default=None)
    for name, result in whole.items():
        if result.status is Status.INFEASIBLE and best is not None:
            return f"{name} proves that there is no schedule, {best[1]} has one of {best[0]}"
        proved = bound(result)
        if proved is not None and best is not None and proved > best[0]:
            return f"{name} proves {proved}, {best[1]} has a schedule of {best[0]}"
    return None


WHOLE = ("exact", "cp-sat", "interval-milp", "compact-milp", "paths")
"""Solvers whose bounds hold for every schedule, whoever finds it."""


def differential(number: int, examples: int) -> None:
    """Compare solvers on so many instances; raises on a contradiction, with the smallest one."""

    @seed(number)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(extreme_instances())
    def agree(document: Json) -> None:
        said = contradiction(document)
        assert said is None, f"{said}\n{json.dumps(document)}"

    agree()


# --- By hand -------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    parser.add_argument("--failures", type=Path, default=Path("fuzz-failures"))
    arguments = parser.parse_args()
    deadline, number = time.monotonic() + arguments.seconds, arguments.seed
    tried = agreed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "case"
        fuzzer = Fuzzer(inputs)
        while time.monotonic() < deadline:
            for failure in fuzzer.case(number):
                failed += 1
                kept = arguments.failures / failure.name
                shutil.copytree(inputs, kept, dirs_exist_ok=True)
                (kept / "failure.txt").write_text(failure.what)
                print(f"{failure.name}: {failure.what.splitlines()[-1]}", flush=True)
            tried, number = tried + 1, number + 1
            if number % 50:
                continue
            try:
                differential(number, 10)
                agreed += 10
            except Exception as error:  # whatever it is, the next seed is tried
                failed += 1
                arguments.failures.mkdir(parents=True, exist_ok=True)
                (arguments.failures / f"solvers-{number}.txt").write_text(
                    "".join(traceback.format_exception(error))
                )
                print(f"solvers-{number}: {str(error).splitlines()[0]}", flush=True)
    print(f"{tried} cases, {agreed} instances with all solvers, {failed} failures")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
