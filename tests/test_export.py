"""Exported programs: other solvers read them and find the same optimum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import oracle
import pytest
import strategies
from documents import TINY, Json, shipped
from helpers import invoke, read
from hypothesis import assume, given, settings

from scope_opt.model.files import InputError
from scope_opt.model.instance import Instance
from scope_opt.solving.program import build_program
from scope_opt.solving.solver import SolveOptions, solve

model_builder = pytest.importorskip(
    "ortools.linear_solver.python.model_builder",
    reason="OR-tools is not installed",
    exc_type=ImportError,
)
highspy = pytest.importorskip("highspy", reason="HiGHS is not installed", exc_type=ImportError)

if TYPE_CHECKING:
    from pathlib import Path

    from scope_opt.solving.solver import SegmentChoice


MILPS = ("interval-milp", "compact-milp")

SIDE = strategies.table_instances(max_layers=4, max_chiplets=4, constraints=True)
SIDE |= strategies.physical_instances(
    max_layers=3, max_chiplets=4, constraints=True, couplings=True
)


def scip(path: Path) -> float:
    """Optimum that SCIP finds in an MPS file."""
    model = model_builder.Model()
    assert model.import_from_mps_file(str(path))
    solver = model_builder.Solver("scip")
    assert solver.solve(model) == model_builder.SolveStatus.OPTIMAL
    return float(solver.objective_value)


def highs(path: Path) -> float:
    """Optimum that HiGHS finds in an LP file, a dialect that OR-tools does not read."""
    engine = highspy.Highs()
    engine.setOptionValue("output_flag", False)
    engine.setOptionValue("mip_rel_gap", 1e-9)
    assert engine.readModel(str(path)) == highspy.HighsStatus.kOk
    engine.run()
    assert engine.getModelStatus() == highspy.HighsModelStatus.kOptimal
    return float(engine.getInfo().objective_function_value)


def cp_sat(path: Path) -> float:
    """Optimum of a CP-SAT protocol buffer, read without the code that wrote it."""
    from google.protobuf import text_format
    from ortools.sat import cp_model_pb2
    from ortools.sat.python import cp_model

    read = cp_model_pb2.CpModelProto()
    read.ParseFromString(path.read_bytes())
    model = cp_model.CpModel()
    model.proto.parse_text_format(text_format.MessageToString(read))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    assert solver.solve(model) == cp_model.OPTIMAL
    return float(solver.objective_value)


def written(
    instance: Instance, formulation: str, segments: SegmentChoice | None, path: Path
) -> Path:
    options = SolveOptions(segments=segments)
    path.write_bytes(build_program(instance, formulation, options).content(path.suffix))
    return path


@pytest.mark.parametrize("name", ["tiny-skip", "tiny-stream", "tiny-tables", "tiny-energy"])
@pytest.mark.parametrize(
    ("formulation", "suffix"),
    [("interval-milp", ".mps"), ("compact-milp", ".mps"), ("cp-sat", ".pb")],
)
def test_shipped_instances(name: str, formulation: str, suffix: str, tmp_path: Path) -> None:
    document = shipped(name)
    instance = read(document)
    best = oracle.best(document, "single")
    if best is None:  # its weights do not fit one segment
        pytest.fail(f"{name} should have a schedule of one segment")
    path = written(instance, formulation, "single", tmp_path / f"program{suffix}")
    optimum = cp_sat(path) if suffix == ".pb" else scip(path)
    assert optimum == pytest.approx(best[1], rel=1e-6)


@settings(max_examples=max(1, settings().max_examples // 4))
@given(document=SIDE)
def test_free_segments(document: Json, tmp_path_factory: pytest.TempPathFactory) -> None:
    best = oracle.best(document)
    assume(best is not None)
    assert best is not None
    folder = tmp_path_factory.mktemp("programs")
    instance = read(document)
    path = written(instance, "interval-milp", None, folder / "program.mps")
    # Beats that power sets are whole picoseconds, but not in this program.
    layers = len(instance.layer_names)
    below = layers * (instance.samples + layers) if instance.constraints.power_budget_w else 0
    assert best[1] * (1 - 1e-6) - below - 1e-3 <= scip(path) <= best[1] * (1 + 1e-6) + 1e-3
    path = written(instance, "cp-sat", None, folder / "program.pb")
    assert cp_sat(path) == pytest.approx(best[1], rel=1e-12)


@pytest.mark.parametrize("formulation", MILPS)
def test_both_formats_hold_the_same_program(formulation: str, tmp_path: Path) -> None:
    instance = Instance.load(TINY / "tiny-skip.json")
    values = [
        read(written(instance, formulation, "single", tmp_path / f"program{suffix}"))
        for suffix, read in ((".mps", scip), (".lp", highs))
    ]
    best = solve(instance, "exact", SolveOptions(segments="single")).objective_ps
    assert values == pytest.approx([best, best], rel=1e-6)


def test_refusals(tmp_path: Path) -> None:
    instance = Instance.load(TINY / "tiny-skip.json")
    for formulation, suffix in (("cp-sat", ".mps"), ("interval-milp", ".pb")):
        with pytest.raises(InputError, match=r"\.pb"):
            written(instance, formulation, "single", tmp_path / f"program{suffix}")
    with pytest.raises(
        InputError, match="formulations: compact-milp, cp-sat, interval-milp, network-milp"
    ):
        written(instance, "exact", None, tmp_path / "program.mps")
    with pytest.raises(InputError, match="--segments single"):
        written(instance, "compact-milp", None, tmp_path / "program.mps")


def test_command(tmp_path: Path) -> None:
    source, target = TINY / "tiny-skip.json", tmp_path / "skip.lp"
    arguments = (source, "--formulation", "interval-milp", "-o", target)
    outcome = invoke("export", *arguments)
    assert outcome.exit_code == 0
    assert outcome.stdout == ""
    before = target.read_bytes()
    outcome = invoke("export", *arguments, "--segments", "single")
    assert outcome.exit_code == 2
    assert "exists already" in outcome.stderr
    assert target.read_bytes() == before
    outcome = invoke("export", source, "--formulation", "cp-sat", "-o", tmp_path / "skip.lp2")
    assert outcome.exit_code == 2
    assert not (tmp_path / "skip.lp2").exists()
