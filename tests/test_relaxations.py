"""The script of `results/formulations` measures every program that it names."""

from __future__ import annotations

import runpy

import pytest
from documents import ROOT, shipped
from helpers import read

from formulations.compact_milp.encodings import ENCODINGS
from scope_opt.solving.solver import SolveOptions, solve

SCRIPT = runpy.run_path(str(ROOT / "results" / "formulations" / "run.py"))


def test_relaxations_are_below_the_optimum() -> None:
    instance = read(shipped("tiny-skip"))
    best = solve(instance, "exact", SolveOptions(segments="single")).objective_ps
    rows = SCRIPT["rows"](instance, best)
    assert all(0 < row.relaxed <= 1 and row.nonzeros > 0 for row in rows)
    relaxed = {row.formulation: row.relaxed for row in rows}
    assert len(relaxed) == len(rows)
    # Encodings of one function are equally strong; piecewise from below is weaker.
    exact = [relaxed.pop(f"compact-milp, {encoding}") for encoding in ENCODINGS]
    assert exact == pytest.approx([exact[0]] * len(exact))
    assert relaxed.pop("compact-milp, coarse tables") < exact[0]
    assert relaxed.pop("compact-milp, whole clusters") > exact[0]
    assert set(relaxed) == {"interval-milp, beats", "network-milp, relaxation"}
