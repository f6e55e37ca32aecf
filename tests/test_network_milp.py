"""The network program: equal to exhaustive search, with bounds proved in integers."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import oracle
import placed_strategies
import pytest
import strategies
from documents import shipped
from helpers import agree, read, solve_with
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scope_opt.cost.build import build_tables
from scope_opt.model.files import InputError
from scope_opt.model.generate import paper_instance
from scope_opt.solving.metrics import proof_text
from scope_opt.solving.monitor import Monitor
from scope_opt.solving.result import Status, StopReason
from scope_opt.solving.solver import SolveOptions, solve

pytest.importorskip("highspy", reason="HiGHS is not installed", exc_type=ImportError)
pytest.importorskip("ortools", reason="OR-tools is not installed", exc_type=ImportError)

from formulations.network_milp.candidates import Candidates
from formulations.network_milp.certificate import Certificate
from formulations.network_milp.copies import geometric
from formulations.network_milp.integers import InCpSat
from formulations.network_milp.probing import fitting
from formulations.network_milp.relaxation import InHighs
from formulations.network_milp.rows import Program
from formulations.network_milp.solver import NetworkMilpSolver
from formulations.request import make_request
from formulations.segment_milp.solver import SegmentMilpSolver
from formulations.tuning import DEFAULT, Tuning

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from documents import Json

    from formulations.network_milp.copies import Copy
    from scope_opt.model.instance import Instance
    from scope_opt.solving.result import Result
    from scope_opt.solving.solver import SegmentChoice, Solver

SMALL = strategies.table_instances(max_layers=4, max_chiplets=4)
SMALL |= strategies.physical_instances(max_layers=4, max_chiplets=4)
SMALL |= placed_strategies.unlimited_instances()
SIDE = strategies.table_instances(max_layers=4, max_chiplets=4, constraints=True)
MEDIUM = strategies.table_instances(max_layers=6, max_chiplets=6)
MEDIUM |= strategies.physical_instances(max_layers=6, max_chiplets=6)
TUNINGS = st.builds(
    Tuning,
    network_ratio=st.sampled_from([1.05, 1.2, 3.0, 100.0]),
    network_rise=st.sampled_from([1, 8, 50]),
    network_tries=st.integers(1, 3),
    network_every=st.sampled_from([1, 3, 100]),
    network_small=st.sampled_from([0, 5, 1500]),
)
"""Effort goes elsewhere; answers must be the same."""


def run(
    document: Json,
    segments: SegmentChoice | None = None,
    tuning: Tuning = DEFAULT,
    **options: Any,
) -> Result:
    return solve_with(NetworkMilpSolver(tuning), document, segments, **options)


BOTH = pytest.mark.parametrize("solver", [NetworkMilpSolver, SegmentMilpSolver])
"""One program of all, and one for each segment."""


@BOTH
@settings(max_examples=strategies.share(1))
@given(document=SMALL, choice=st.sampled_from(["free", "single"]), tuning=TUNINGS)
def test_equals_exhaustive_search(
    solver: Callable[[Tuning], Solver], document: Json, choice: str, tuning: Tuning
) -> None:
    segments: SegmentChoice | None = "single" if choice == "single" else None
    agree(document, solve_with(solver(tuning), document, segments), oracle.best(document, choice))


@BOTH
@settings(max_examples=strategies.share(1))
@given(document=SIDE, choice=st.sampled_from(["free", "single"]), tuning=TUNINGS)
def test_equals_exhaustive_search_under_side_constraints(
    solver: Callable[[Tuning], Solver], document: Json, choice: str, tuning: Tuning
) -> None:
    assume(choice == "free" or "fixed_segments" not in document["constraints"])
    segments: SegmentChoice | None = "single" if choice == "single" else None
    agree(document, solve_with(solver(tuning), document, segments), oracle.best(document, choice))


@settings(max_examples=strategies.share(2))
@given(document=MEDIUM, data=st.data())
def test_equals_the_exact_solver(document: Json, data: st.DataObject) -> None:
    choice = data.draw(strategies.segment_choices(len(read(document).layer_names)))
    result = run(document, choice, data.draw(TUNINGS))
    exact = solve(read(document), "exact", SolveOptions(segments=choice))
    assert result.status is exact.status
    assert result.objective_ps == exact.objective_ps


@pytest.mark.parametrize(
    ("name", "segments"),
    [("alexnet", None), ("alexnet", (0, 3, 5, 6, 7)), ("alexnet", 5), ("resnet18", "single")],
)
def test_paper_instance(name: str, segments: SegmentChoice | None) -> None:
    instance = paper_instance(name, 16)
    options = SolveOptions(segments=segments)
    result, exact = solve(instance, NetworkMilpSolver(), options), solve(instance, "exact", options)
    assert result.status is exact.status is Status.OPTIMAL
    assert result.objective_ps == exact.objective_ps
    assert result.proof is not None
    assert "paths" not in result.proof.by
    assert result.proof.programs > 0


def test_programs_alone_prove_it() -> None:
    """Both libraries are named where both were needed."""
    solver = NetworkMilpSolver(Tuning(network_small=10**6))
    result = solve(paper_instance("alexnet", 64), solver)
    assert result.status is Status.OPTIMAL
    assert result.proof is not None
    assert result.proof.by == ("highs", "cp-sat")
    assert result.proof.libraries == ("highs", "cp-sat")
    assert result.proof.library_s <= result.times_s.total
    text = proof_text(result)
    assert text is not None
    assert text.endswith(" in HiGHS and CP-SAT")


# --- Bounds in integers --------------------------------------------------------------------------


@settings(max_examples=strategies.share(1))
@given(document=SMALL, data=st.data())
def test_any_multipliers_give_a_bound(document: Json, data: st.DataObject) -> None:
    """Of whatever size and sign; and what they leave in still has the best schedule."""
    best = oracle.best(document)
    assume(best is not None)
    assert best is not None
    optimum = best[1]
    instance = read(document)
    request = make_request(
        "network-milp", instance, build_tables(instance), SolveOptions(), Monitor()
    )
    candidates = Candidates(request, optimum)
    ranges = geometric(candidates, data.draw(st.sampled_from([1.5, 10.0])))
    program = Program(candidates, ranges, optimum + 1)
    scale = data.draw(st.sampled_from([0.0, 0.3, 1.0, 1e4])) * max(1, optimum)
    random = np.random.default_rng(data.draw(st.integers(0, 999)))
    duals = random.normal(size=len(program.lower)) * scale
    # A potential that falls along the network, as that of shortest paths does.
    if data.draw(st.booleans()):
        duals[: candidates.layers + 1] = np.linspace(0, optimum, candidates.layers + 1)
    runs = [
        {run: abs(float(random.normal())) * scale for run in program.whole_runs}
        if data.draw(st.booleans())
        else {}
        for _ in program.copies
    ]
    certificate = Certificate(program, duals, runs)
    assert certificate.bound_ps <= optimum
    left = Program(candidates, certificate.remaining(optimum), optimum + 1)
    found: list[int] = []
    solution = InCpSat(left, optimum, ()).solve(request, lambda _: None, found.append)
    assert solution is not None
    assert int(solution @ left.cost) <= optimum


@settings(max_examples=strategies.share(2))
@given(document=MEDIUM)
def test_duals_prove_what_highs_says(document: Json) -> None:
    """Up to the rounding of the duals; never more than the optimum."""
    exact = solve(read(document), "exact")
    assume(exact.objective_ps is not None)
    assert exact.objective_ps is not None
    instance = read(document)
    request = make_request(
        "network-milp", instance, build_tables(instance), SolveOptions(), Monitor()
    )
    candidates = Candidates(request, exact.objective_ps)
    program = Program(candidates, geometric(candidates, 1.2), exact.objective_ps + 1)
    values, certificate = InHighs(program, request, integer=False).relax()
    assert certificate.bound_ps <= exact.objective_ps
    assert not program.broken_runs(values, 1e-4)
    relaxed = float(values @ program.cost)
    assert certificate.bound_ps >= relaxed - 1 - 1e-5 * relaxed


# --- Segments that do not fit --------------------------------------------------------------------


def chiplets_needed(c: Candidates, copy: Copy, a: int, b: int) -> int | None:
    """Fewest chiplets of clusters that a segment can have in a copy, by walking backwards."""
    k = copy.clusters
    ok = (c.first[k] >= a) & (c.last[k] <= b)
    ok &= (c.starts[0, k] <= a) & (a <= c.starts[1, k])
    ok &= (c.ends[0, k] <= b) & (b <= c.ends[1, k])
    ok &= (c.opens[k] == (c.first[k] == a)) & (c.closes[k] == (c.last[k] == b))

    @cache
    def rest(layer: int, level: int) -> float:
        if layer > b:
            return 0
        of_layer = np.flatnonzero(ok & (c.first[k] == layer))
        return min(
            (
                int(c.size[k[i]]) + rest(int(c.last[k[i]]) + 1, int(copy.arrives[i]))
                for i in of_layer.tolist()
                if layer == a or copy.leaves[i] <= level
            ),
            default=np.inf,
        )

    least = rest(a, 0)
    return None if np.isinf(least) else int(least)


def check_fitting(instance: Instance, ceiling_ps: int, ratio: float) -> tuple[int, int]:
    """Segments asked and refuted, after comparing each answer with a walk."""
    request = make_request(
        "network-milp", instance, build_tables(instance), SolveOptions(), Monitor()
    )
    candidates = Candidates(request, ceiling_ps)
    program = Program(candidates, geometric(candidates, ratio), ceiling_ps + 1)
    asked = refuted = 0
    for copy, beats in zip(program.copies, fitting(program, request), strict=True):
        assert beats.fits
        for a, b in copy.segments.tolist():
            needed = chiplets_needed(candidates, copy, a, b)
            fits = needed is not None and needed <= candidates.chiplets
            assert beats.segments[a, b] == fits
            asked, refuted = asked + 1, refuted + (not fits)
    return asked, refuted


@settings(max_examples=strategies.share(2))
@given(document=MEDIUM, ratio=st.sampled_from([1.05, 1.5, 10.0]), above=st.integers(0, 50))
def test_segments_fit_or_do_not(document: Json, ratio: float, above: int) -> None:
    best = solve(read(document), "exact").objective_ps
    assume(best is not None)
    assert best is not None
    check_fitting(read(document), best + best * above // 100, ratio)


def test_segments_of_a_deep_network_fit_or_do_not() -> None:
    instance = paper_instance("darknet19", 16)
    best = solve(instance, "exact").objective_ps
    assert best is not None
    asked, refuted = check_fitting(instance, best, 1.1)
    assert 0 < refuted < asked


# --- Options -------------------------------------------------------------------------------------


@settings(max_examples=strategies.share(4))
@given(document=MEDIUM, patience=st.integers(0, 40))
def test_a_stopped_run_leaves_a_bound(document: Json, patience: int) -> None:
    """Stopped at any of the moments at which it looks; what it says then is true."""
    exact = solve(read(document), "exact")
    instance, monitor = read(document), Impatient(patience)
    NetworkMilpSolver().run(instance, build_tables(instance), SolveOptions(), monitor)
    if exact.objective_ps is None:
        assert monitor.objective is None
        return
    assert not monitor.infeasible
    assert monitor.bound is not None
    assert monitor.bound <= exact.objective_ps
    assert monitor.objective is None or exact.objective_ps <= monitor.objective


class Impatient(Monitor):
    """Wants to stop when asked for the nth time."""

    def __init__(self, patience: int) -> None:
        super().__init__()
        self._patience = patience

    @property
    def stopping(self) -> bool:
        self._patience -= 1
        self.stopped_early |= self._patience < 0
        return self.stopped_early


def test_time_limit() -> None:
    options = SolveOptions(time_limit_s=0.5)
    result = solve(paper_instance("resnet50", 64), NetworkMilpSolver(), options)
    assert result.stop_reason is StopReason.TIME_LIMIT
    assert result.bound_ps is not None
    assert result.times_s.solve < 30


def test_begins_with_a_given_schedule(tmp_path: Path) -> None:
    instance = paper_instance("alexnet", 16)
    best = solve(instance, "exact").schedule
    log = tmp_path / "log"
    result = solve(instance, NetworkMilpSolver(), SolveOptions(warm_start=best, log=log))
    assert result.warm_start == "accepted"
    assert result.trajectory[0].objective_ps == result.objective_ps
    assert result.status is Status.OPTIMAL
    assert "HiGHS" in log.read_text()


def test_refuses_what_it_does_not_honour() -> None:
    document = shipped("tiny-energy")
    with pytest.raises(InputError, match=r"does not honour latency_bound_s; .*interval-milp"):
        solve_with("network-milp", document)
