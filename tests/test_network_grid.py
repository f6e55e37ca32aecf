"""The network program over a fixed grid of beats: below, or above, what schedules take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import oracle
import pytest
import strategies
from documents import ROOT
from helpers import invoke, plain, read, read_schedule
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_programs import clusters_of, highs, least, pyo, scip

import formulations
from formulations.network_milp.grid import ENCODINGS
from formulations.network_milp.solver import NetworkMilpSolver
from formulations.tuning import Tuning
from scope_opt.model.files import InputError
from scope_opt.schedule.evaluate import evaluate
from scope_opt.solving.api import load, solve

if TYPE_CHECKING:
    from pathlib import Path

    from documents import Json

    from formulations.family.open_program import OpenProgram

SIDE = strategies.table_instances(max_layers=4, max_chiplets=4, constraints=True)
SIDE |= strategies.physical_instances(max_layers=3, max_chiplets=4)
GRIDS = st.sampled_from([1.02, 1.3, 10.0])
CLOSE = 1e-6
"""Relative gap that floats may leave."""


def build(document: Json, encoding: str, ratio: float, ceiling: int | None = None) -> OpenProgram:
    solver = NetworkMilpSolver(Tuning(network_grid=ratio))
    return formulations.build(read(document), solver, encoding=encoding, ceiling_ps=ceiling)


def encloses(encoding: str, value: float, exact: int) -> bool:
    below = value <= exact * (1 + CLOSE) + 1e-3
    return below if encoding == "relaxation" else value >= exact * (1 - CLOSE) - 1e-3


def solvable(document: Json) -> bool:
    """Nothing that the family refuses, and a schedule that keeps to all rules."""
    return oracle.best(document) is not None


@settings(max_examples=strategies.share(2))
@given(document=SIDE, ratio=GRIDS, tight=st.booleans())
def test_the_optimum_is_enclosed(document: Json, ratio: float, tight: bool) -> None:
    best = oracle.best(document)
    assume(best is not None)
    assert best is not None
    for encoding in ENCODINGS:
        # A restriction may need more than the optimum for every schedule.
        ceiling = best[1] if tight and encoding == "relaxation" else None
        answer = build(document, encoding, ratio, ceiling).solve()
        assert answer.status == "optimal"
        assert answer.value is not None
        assert answer.objective is not None
        assert answer.bound is not None
        assert encloses(encoding, answer.value, best[1])
        assert answer.objective >= best[1]
        assert answer.bound <= answer.value * (1 + CLOSE) + 1e-3
        if encoding == "restriction":
            assert answer.objective <= answer.value * (1 + CLOSE) + 1e-3


@settings(max_examples=strategies.share(2))
@given(document=SIDE, ratio=GRIDS, data=st.data())
def test_every_schedule_is_a_solution(document: Json, ratio: float, data: st.DataObject) -> None:
    """Of every row, and charged no more, or no less, than it takes with its fastest partitions."""
    drawn = data.draw(strategies.schedules(document))
    assume(not oracle.violations(document, drawn))
    schedule = read_schedule(read(document), drawn)
    for encoding in ENCODINGS:
        program = build(document, encoding, ratio)
        start = program._start(schedule.segments)  # type: ignore[attr-defined]
        assert start is not None
        for variable in program.model.component_data_objects(pyo.Var):
            variable.set_value(0)
        for variable, value in start:
            variable.set_value(value)
        for row in program.model.component_data_objects(pyo.Constraint):
            assert row.slack() >= -1e-6, row.name
        charged = pyo.value(program.model.objective) * program.scale.factor
        same = program.schedule_from(pyo.value)
        assert clusters_of(plain(same)) == clusters_of(drawn)
        takes = evaluate(program.instance, same).objective_ps
        assert takes is not None
        assert encloses(encoding, charged, takes)


@settings(max_examples=strategies.share(4))
@given(document=SIDE, data=st.data())
def test_own_constraints(document: Json, data: st.DataObject) -> None:
    """On numbers of clusters and on region sizes, which a grid must not have left out."""
    judge = oracle.oracle(document)
    assume(solvable(document))
    most = data.draw(st.integers(1, judge.n_layers))
    runs = st.tuples(*[st.integers(0, judge.n_layers - 1)] * 2, st.integers(1, judge.chiplets))
    forbidden = data.draw(st.sets(runs, max_size=8))

    def allowed(schedule: Json) -> bool:
        clusters = clusters_of(schedule)
        return len(clusters) <= most and not forbidden & set(clusters)

    best = least(document, allowed, single=False)
    for encoding in ENCODINGS:
        program = build(document, encoding, 1.1)
        x = program.variables["x"]
        program.constrain("few", sum(x.values()) <= most)
        rows = [v <= 0 for key, v in x.items() if key[:3] in forbidden]
        program.constrain("forbidden", *rows)
        answer = program.solve()
        if best is None:
            assert answer.status == "infeasible"
            continue
        assert answer.status == "optimal"
        assert answer.schedule is not None
        assert answer.value is not None
        assert allowed(plain(answer.schedule))
        assert encloses(encoding, answer.value, best)


@pytest.mark.parametrize(("encoding", "suffix"), [("restriction", ".mps"), ("relaxation", ".lp")])
def test_there_and_back(encoding: str, suffix: str, tmp_path: Path) -> None:
    program = formulations.build("tiny-skip", "network-milp", encoding=encoding)
    answer = program.solve()
    file, solution = tmp_path / f"program{suffix}", tmp_path / "program.sol"
    program.write(file)
    for solve_ in (scip, highs):
        value = solve_(file, solution, {})
        assert value == pytest.approx(answer.value, rel=1e-6)
        imported = program.import_solution(solution)
        assert imported.claimed == pytest.approx(value)
        assert evaluate(program.instance, imported.schedule).objective_ps is not None


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found 'relaxation', which is for programs on a fixed"):
        solve(load("tiny-skip"), "network-milp", encoding="relaxation")
    with pytest.raises(InputError, match=r"found 'floor'; .*relaxation"):
        formulations.build("tiny-skip", "network-milp", encoding="floor")
    source, target = ROOT / "instances" / "tiny" / "tiny-skip.json", tmp_path / "p.mps"
    outcome = invoke("export", source, "--formulation", "segment-milp", "-o", target)
    assert outcome.exit_code == 2
    assert "compact-milp, cp-sat, interval-milp, network-milp" in outcome.stderr
    energy = ROOT / "instances" / "tiny" / "tiny-energy.json"
    outcome = invoke("export", energy, "--formulation", "network-milp", "-o", target)
    assert outcome.exit_code == 2
    assert "latency_bound_s" in outcome.stderr
