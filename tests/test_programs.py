"""Programs for others: constraints of one's own, names, files and solutions of other solvers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import oracle
import pytest
import strategies
from documents import ROOT, Json, shipped, two_layers
from helpers import invoke, plain, read
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import formulations
from formulations.family.solution_file import read_solution
from scope_opt.model.files import InputError
from scope_opt.schedule.evaluate import evaluate
from scope_opt.solving.api import load, solve
from scope_opt.solving.result import Result, Status

pyo = pytest.importorskip("pyomo.environ", reason="Pyomo is not installed", exc_type=ImportError)
highspy = pytest.importorskip("highspy", reason="HiGHS is not installed", exc_type=ImportError)
cp_model = pytest.importorskip(
    "ortools.sat.python.cp_model", reason="OR-tools is not installed", exc_type=ImportError
)
pyscipopt = pytest.importorskip("pyscipopt", reason="SCIP is not installed", exc_type=ImportError)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from formulations.family.open_program import OpenProgram

build = formulations.build

COLUMNS = ("interval-milp", "cp-sat")
FAMILIES = (*COLUMNS, "compact-milp")
SIDE = strategies.table_instances(max_layers=3, max_chiplets=3, constraints=True)
SIDE |= strategies.physical_instances(
    max_layers=3, max_chiplets=3, constraints=True, couplings=True
)
CLOSE = 1e-4
"""Relative gap that floats may leave."""

# --- Constraints of one's own --------------------------------------------------------------------


def least(document: Json, allowed: Callable[[Json], bool], *, single: bool) -> int | None:
    """Best objective of the valid schedules that are allowed, by enumeration."""
    judge = oracle.oracle(document)
    enumerate_ = oracle.enumerate_schedules if single else oracle.enumerate_all
    objective = oracle.energy_fj_total if judge.minimizes_energy else oracle.objective_ps
    return min(
        (
            value
            for schedule in enumerate_(judge.n_layers, judge.chiplets)
            if allowed(schedule) and not oracle.violations(document, schedule)
            if (value := objective(document, schedule)) is not None
        ),
        default=None,
    )


def check(program: OpenProgram, best: int | None, allowed: Callable[[Json], bool]) -> None:
    answer = program.solve()
    if best is None:
        assert answer.status == "infeasible"
        assert answer.schedule is None
        return
    assert answer.status == "optimal"
    assert answer.bound is not None
    assert answer.bound <= best
    assert answer.schedule is not None
    assert answer.objective is not None
    assert allowed(plain(answer.schedule))
    assert best <= answer.objective <= best + max(1, CLOSE * best)


def clusters_of(schedule: Json) -> list[tuple[int, int, int]]:
    return [
        (cluster["first_layer"], cluster["last_layer"], cluster["chiplets"])
        for segment in schedule["segments"]
        for cluster in segment["clusters"]
    ]


@settings(max_examples=max(1, settings().max_examples // 8))
@given(document=SIDE, data=st.data())
def test_own_constraints_on_clusters(document: Json, data: st.DataObject) -> None:
    judge = oracle.oracle(document)
    most = data.draw(st.integers(1, judge.n_layers))
    runs = st.tuples(*[st.integers(0, judge.n_layers - 1)] * 2, st.integers(1, judge.chiplets))
    forbidden = data.draw(st.sets(runs, max_size=8))

    def allowed(schedule: Json) -> bool:
        clusters = clusters_of(schedule)
        return len(clusters) <= most and not forbidden & set(clusters)

    best = least(document, allowed, single=False)
    for formulation in COLUMNS:
        try:
            program = build(read(document), formulation)
        except InputError:
            assert least(document, lambda _: True, single=False) is None
            continue
        used = program.variables["segment"]
        program.constrain("few", sum(n * v for (_, _, n), v in used.items()) <= most)
        rows = [v <= 0 for key, v in program.variables["x"].items() if key[:3] in forbidden]
        program.constrain("forbidden", *rows)
        assert len(program.families.get("forbidden", ())) == len(rows)
        check(program, best, allowed)


@settings(max_examples=max(1, settings().max_examples // 8))
@given(document=SIDE, data=st.data())
def test_own_constraints_on_layers(document: Json, data: st.DataObject) -> None:
    """In the compact program, where partitions are decided layer by layer."""
    judge = oracle.oracle(document)
    layer = data.draw(st.integers(0, judge.n_layers - 1))
    most = data.draw(st.integers(1, judge.n_layers))
    size = data.draw(st.integers(1, judge.chiplets))

    def allowed(schedule: Json) -> bool:
        clusters = schedule["segments"][0]["clusters"]
        inside = next(c for c in clusters if c["first_layer"] <= layer <= c["last_layer"])
        wsp = inside["partitions"][layer - inside["first_layer"]] == "WSP"
        return len(clusters) <= most and wsp and inside["chiplets"] <= size

    assume(judge.n_layers > 1)
    try:
        program = build(read(document), "compact-milp", segments="single")
    except InputError:
        assert least(document, lambda _: True, single=True) is None
        return
    of = program.variables
    program.constrain("few", sum(of["cut"].values()) <= most)
    program.model.wsp_only = pyo.Constraint(expr=of["wsp"][layer] == 1)
    program.constrain("small", of["size"][layer] <= size)
    check(program, least(document, allowed, single=True), allowed)


@settings(max_examples=max(1, settings().max_examples // 8))
@given(document=SIDE, data=st.data())
def test_no_schedule_is_cut_off(document: Json, data: st.DataObject) -> None:
    """Clusters of any valid schedule, however slow, are a solution when they are asked for."""
    drawn = data.draw(strategies.schedules(document))
    assume(not oracle.violations(document, drawn))
    wanted = clusters_of(drawn)
    cuts = [segment["clusters"][0]["first_layer"] for segment in drawn["segments"]]

    def allowed(schedule: Json) -> bool:
        starts = [segment["clusters"][0]["first_layer"] for segment in schedule["segments"]]
        return clusters_of(schedule) == wanted and starts == cuts

    best = least(document, allowed, single=False)
    for formulation in COLUMNS:
        program = build(read(document), formulation)
        x, used = program.variables["x"], program.variables["segment"]
        for number, (first, last, size) in enumerate(wanted):
            columns = [v for key, v in x.items() if key[:3] == (first, last, size)]
            program.constrain(f"cluster_{number}", sum(columns) == 1)
        starting = sum(v for (first, _, _), v in used.items() if first in cuts)
        program.constrain("cuts", starting == len(cuts))
        program.constrain("segments", sum(used.values()) == len(cuts))
        check(program, best, allowed)


def test_the_example_of_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs" / "programs.md").read_text()
    code = re.findall(r"^```python\n(.*?)^```", text, flags=re.M | re.S)[0]
    for formulation in COLUMNS:
        scope: dict[str, Any] = {}
        exec(code.replace('"interval-milp"', f'"{formulation}"'), scope)
        assert "optimal 5340824939 " in capsys.readouterr().out
        schedule = scope["answer"].schedule
        assert sum(len(segment.clusters) for segment in schedule.segments) <= 4
    assert solve("alexnet-16", "exact").objective_ps == 5292449804
    assert all(number in text for number in ("5340824939", "5292449804"))


@pytest.mark.parametrize("formulation", FAMILIES)
def test_another_objective(formulation: str) -> None:
    """The fewest chiplets; what a bound in ps would mean is not known any more."""
    program = build(read(two_layers()), formulation, segments="single")
    taken = sum(program.variables["region" if formulation == "compact-milp" else "size"].values())
    if formulation == "compact-milp":
        taken += program.variables["size"][0]
    if formulation == "cp-sat":
        program.model.minimize(taken)
    else:
        program.model.objective.deactivate()
        program.model.fewest = pyo.Objective(expr=taken)
    answer = program.solve()
    assert (answer.status, answer.value, answer.bound) == ("optimal", None, None)
    assert answer.schedule is not None
    assert [size for _, _, size in clusters_of(plain(answer.schedule))] == [1]


@pytest.mark.parametrize("formulation", COLUMNS)
def test_rows_that_always_or_never_hold(formulation: str) -> None:
    program = build(read(two_layers()), formulation)
    program.constrain("always", sum([]) <= 1)
    assert program.solve().status == "optimal"
    program.constrain("never", sum([]) >= 1)
    assert program.solve().status == "infeasible"


@pytest.mark.parametrize("formulation", COLUMNS)
def test_names_are_taken_once(formulation: str) -> None:
    program = build("tiny-skip", formulation)
    with pytest.raises(ValueError, match="'beats' already"):
        program.constrain("beats")


def test_a_ceiling_leaves_out_slow_schedules() -> None:
    best = solve("tiny-skip", "exact").objective_ps
    assert best is not None
    for formulation in COLUMNS:
        small = build("tiny-skip", formulation, ceiling_ps=best)
        assert len(small.names()) < len(build("tiny-skip", formulation).names())
        assert small.solve().objective == best
        if formulation == "cp-sat":
            with pytest.raises(InputError, match=f"no schedule within {best - 1} ps"):
                build("tiny-skip", formulation, ceiling_ps=best - 1)
    assert "tiny-energy" in read(shipped("tiny-energy")).name
    bounded = {**shipped("tiny-energy"), "constraints": {"latency_bound_s": 1.0}}
    with pytest.raises(InputError, match=r"latency_bound_s = 1\.0 of the instance is one already"):
        build(read(bounded), "interval-milp", ceiling_ps=5)


def test_pyomo_and_cp_sat_solve_the_model_themselves() -> None:
    best = solve("tiny-skip", "exact")
    program = build("tiny-skip", "interval-milp")
    engine = pyo.SolverFactory("appsi_highs")
    engine.config.mip_gap = 0
    engine.solve(program.model)
    schedule = program.schedule_from(pyo.value)
    assert evaluate(program.instance, schedule).objective_ps == best.objective_ps
    value = pyo.value(program.model.objective)
    assert program.scale.factor * value + program.scale.constant == pytest.approx(best.objective_ps)

    program = build("tiny-skip", "cp-sat")
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.solve(program.model)
    schedule = program.schedule_from(solver.value)
    assert evaluate(program.instance, schedule).objective_ps == best.objective_ps
    total = program.scale.factor * solver.objective_value + program.scale.constant
    assert total == best.objective_ps


# --- Files ---------------------------------------------------------------------------------------


def scip(program: Path, solution: Path, fixed: Mapping[str, int]) -> float:
    model = pyscipopt.Model()
    model.hideOutput()
    model.readProblem(str(program))
    for variable in model.getVars():
        if variable.name in fixed:
            model.fixVar(variable, fixed[variable.name])
    model.optimize()
    assert model.getStatus() == "optimal"
    model.writeBestSol(str(solution))
    return float(model.getObjVal())


def highs(program: Path, solution: Path, fixed: Mapping[str, int]) -> float:
    engine = highspy.Highs()
    engine.setOptionValue("output_flag", False)
    engine.setOptionValue("mip_rel_gap", 1e-9)
    assert engine.readModel(str(program)) == highspy.HighsStatus.kOk
    for column, name in enumerate(engine.getLp().col_names_):
        if name in fixed:
            engine.changeColBounds(column, fixed[name], fixed[name])
    engine.run()
    assert engine.getModelStatus() == highspy.HighsModelStatus.kOptimal
    engine.writeSolution(str(solution), 0)
    return float(engine.getInfo().objective_function_value)


def there_and_back(
    program: OpenProgram, best: Result, folder: Path, suffix: str, fixed: Mapping[str, int]
) -> None:
    assert best.status is Status.OPTIMAL
    file = folder / f"program{suffix}"
    program.write(file)
    for solve_ in (scip, highs):
        solution = folder / "program.sol"
        value = solve_(file, solution, fixed)
        assert value == pytest.approx(best.objective_ps, rel=1e-7)
        imported = program.import_solution(solution)
        assert imported.claimed == pytest.approx(value)
        evaluation = evaluate(program.instance, imported.schedule)
        assert evaluation.objective_ps == best.objective_ps
        if fixed:
            assert best.schedule is not None
            assert imported.schedule == best.schedule


@pytest.mark.parametrize("suffix", [".mps", ".lp"])
@pytest.mark.parametrize("formulation", ["interval-milp", "compact-milp"])
def test_there_and_back(formulation: str, suffix: str, tmp_path: Path) -> None:
    """SCIP and HiGHS solve the file; what they write is the optimum."""
    best = solve("tiny-skip", "exact", segments="single")
    program = build("tiny-skip", formulation, segments="single")
    there_and_back(program, best, tmp_path, suffix, {})


@pytest.mark.parametrize(
    ("name", "formulation", "suffix"),
    [
        *((name, "compact-milp", s) for name in ("alexnet", "vgg16") for s in (".mps", ".lp")),
        *((name, "interval-milp", ".mps") for name in ("alexnet", "vgg16", "resnet18")),
        ("alexnet", "interval-milp", ".lp"),
        ("resnet18", "compact-milp", ".mps"),
        ("resnet18", "compact-milp", ".lp"),
    ],
)
def test_networks_there_and_back(name: str, formulation: str, suffix: str, tmp_path: Path) -> None:
    """With the decisions of the proved optimum: every other variable follows."""
    best = solve(f"{name}-16", "exact")
    assert best.schedule is not None
    firsts = tuple(segment.first_layer for segment in best.schedule.segments)
    given_ = firsts if formulation == "compact-milp" else None
    program = build(f"{name}-16", formulation, segments=given_)
    fixed = decisions(program, best)
    there_and_back(program, best, tmp_path, suffix, fixed)


def decisions(program: OpenProgram, best: Result) -> dict[str, int]:
    """Values of the integer variables in a schedule."""
    assert best.schedule is not None
    start = program._start(best.schedule.segments)  # type: ignore[attr-defined]
    values = {id(variable): value for variable, value in start}
    return {
        name: round(values.get(id(variable), 0))
        for name, variable in program.names().items()
        if not variable.is_continuous()
    }


@pytest.mark.parametrize("name", ["tiny-skip", "alexnet-16", "vgg16-16"])
def test_cp_sat_there_and_back(name: str, tmp_path: Path) -> None:
    """Read without the code that wrote it; the answer in both forms."""
    from google.protobuf import text_format
    from ortools.sat import cp_model_pb2

    best = solve(name, "exact")
    program = build(name, "cp-sat")
    assert best.schedule is not None
    program._program.hint(best.schedule.segments)  # type: ignore[attr-defined]
    program.write(tmp_path / "program.pb")
    proto = cp_model_pb2.CpModelProto()
    proto.ParseFromString((tmp_path / "program.pb").read_bytes())
    assert proto.name == program.title
    assert all(variable.name for variable in proto.variables)
    assert all(row.name for row in proto.constraints)
    model = cp_model.CpModel()
    model.proto.parse_text_format(text_format.MessageToString(proto))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.fix_variables_to_their_hinted_value = True
    assert solver.solve(model) == cp_model.OPTIMAL
    assert solver.objective_value == best.objective_ps
    text = str(solver.response_proto)
    (tmp_path / "answer.txt").write_text(text)
    answer = text_format.Parse(text, cp_model_pb2.CpSolverResponse())
    (tmp_path / "answer.pb").write_bytes(answer.SerializeToString())
    names = program.names()
    lines = [f"{name} {answer.solution[v.index]}" for name, v in names.items()]
    (tmp_path / "answer.sol").write_text("\n".join(lines))
    for file in ("answer.txt", "answer.pb", "answer.sol"):
        assert program.schedule_from(tmp_path / file) == best.schedule
    (tmp_path / "answer.pb").write_bytes(b"no answer")
    (tmp_path / "short.txt").write_text("solution: 1")
    for file, problem in (("answer.pb", "no answer of CP-SAT"), ("short.txt", "holds 1 values")):
        with pytest.raises(InputError, match=problem):
            program.schedule_from(tmp_path / file)


@pytest.mark.parametrize(
    ("formulation", "mark"),
    [("interval-milp", "*"), ("interval-milp", "\\"), ("compact-milp", "*")],
)
def test_files_say_what_they_are(formulation: str, mark: str, tmp_path: Path) -> None:
    program = build("tiny-skip", formulation, segments="single")
    program.constrain("mine", program.variables["size"][0] >= 1)
    suffix = ".mps" if mark == "*" else ".lp"
    program.write(tmp_path / f"program{suffix}")
    text = (tmp_path / f"program{suffix}").read_text()
    head = [line[2:] for line in text.splitlines() if line.startswith(mark)]
    unit = program.scale.unit_ps
    assert unit > 1
    assert head[:5] == [
        f"Scope-Opt 0.1.0: {formulation} of tiny-skip",
        f"instance {program.instance.digest}, segments: single",
        f"1 unit = {unit} ps for times",
        "the objective is the latency in ps",
        "no schedule is left out",
    ]
    assert ("mine_1" in text.split()) or (" mine_1:" in text)
    if suffix == ".mps":
        assert f"tiny-skip_{formulation}_1_unit={unit}_ps" in text
        engine = highspy.Highs()
        engine.setOptionValue("output_flag", False)
        engine.readModel(str(tmp_path / "program.mps"))
        lp = engine.getLp()
        assert set(lp.col_names_) <= set(program.names())
        families = {re.sub(r"_\d+$", "", name) for name in lp.row_names_}
        assert {"mine"} <= families
        assert not any(re.fullmatch(r"[rc]\d*", name) for name in families)


# --- Solutions -----------------------------------------------------------------------------------

SOLUTIONS = {
    "scip": "solution status: optimal solution found\n"
    "objective value:                     12.5\n"
    "x_0_1                         1 \t(obj:3)\n"
    "beat                       1.5e+2 \t(obj:0)\n",
    "highs": "Model status\nOptimal\n\n# Primal solution values\nFeasible\nObjective 12.5\n"
    "# Columns 2\nx_0_1 1\nbeat 150\n# Rows 1\nrow 7\n\n# Dual solution values\nNone\n",
    "gurobi": "# Solution for model program\n# Objective value = 12.5\nx_0_1 1\nbeat 150\n",
    "cbc": "Optimal - objective value 12.50000000\n"
    "      0 x_0_1             1           3\n**    7 beat           150       0\n",
    "cplex": '<?xml version = "1.0"?>\n<CPLEXSolution version="1.2">\n'
    ' <header problemName="p" objectiveValue="12.5"/>\n'
    ' <linearConstraints><constraint name="row" index="0" slack="7"/></linearConstraints>\n'
    ' <variables><variable name="x_0_1" index="0" value="1"/>\n'
    '  <variable name="beat" index="1" value="150"/></variables>\n</CPLEXSolution>\n',
}


@pytest.mark.parametrize("solver", SOLUTIONS)
def test_files_of_solutions(solver: str, tmp_path: Path) -> None:
    path = tmp_path / "program.sol"
    path.write_text(SOLUTIONS[solver])
    found = read_solution(path)
    assert found.values == {"x_0_1": 1, "beat": 150}
    assert found.objective == 12.5


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read"),
        (b"", "begins with 'nothing'"),
        (b"solution status: infeasible\nno solution available\n", "holds no value of any variable"),
        (b"<broken", "broken XML"),
        (b"\xff\xfe\x00", "no text; allowed: a solution of HiGHS, SCIP"),
        (b"other 1\n", "no variable of interval-milp of tiny-skip .found 'other', allowed such as"),
        (b"x_0_0_1_I_0 0.5\n", r"x_0_0_1_I_0 = 0\.5, allowed are whole numbers"),
        (b"x_0_0_1_I_0 1\n", "layer 1 is in 0 clusters, allowed is 1"),
    ],
)
def test_broken_solutions_are_refused(content: bytes | None, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "program.sol"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=problem) as refused:
        build("tiny-skip", "interval-milp").schedule_from(path)
    assert str(path) in str(refused.value)


def test_a_compact_solution_without_decisions_is_refused() -> None:
    program = build("tiny-skip", "compact-milp", segments=(0, 4))
    steps = {name: 1 for name in program.names() if "steps" in name}
    with pytest.raises(InputError, match="nothing is chosen for layer 4"):
        program.schedule_from(steps)


def test_commands(tmp_path: Path) -> None:
    source = ROOT / "instances" / "tiny" / "tiny-skip.json"
    options = ("--formulation", "interval-milp", "--segments", "single")
    target, solution, schedule = (tmp_path / name for name in ("p.mps", "p.sol", "s.json"))
    assert invoke("export", source, *options, "-o", target).exit_code == 0
    scip(target, solution, {})
    outcome = invoke("import-solution", source, solution, *options, "-o", schedule)
    assert outcome.exit_code == 0
    assert "claims" not in outcome.stderr
    best = solve("tiny-skip", "exact", segments="single").objective_ps
    assert evaluate(load("tiny-skip"), type_of(schedule)).objective_ps == best

    text = solution.read_text()
    solution.write_text(re.sub(r"(objective value:\s*)\d", r"\g<1>9", text))
    outcome = invoke("import-solution", source, solution, *options)
    assert outcome.exit_code == 0
    assert f"the schedule has {best}" in outcome.stderr
    outcome = invoke("import-solution", source, solution, *options, "-o", schedule)
    assert outcome.exit_code == 2
    assert "exists already" in outcome.stderr
    outcome = invoke("import-solution", source, solution, "--formulation", "compact-milp")
    assert outcome.exit_code == 2
    outcome = invoke("import-solution", source, solution, "--formulation", "exact")
    assert outcome.exit_code == 2
    assert "formulations: compact-milp, cp-sat, interval-milp, network-milp" in outcome.stderr


def type_of(path: Path) -> Any:
    from scope_opt.schedule.schedule import Schedule

    return Schedule.load(path)
