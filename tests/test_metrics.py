"""Metrics: definitions by hand, bounds, monotonicity, invariance, brute-force quadrature."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from helpers import read
from hypothesis import given
from hypothesis import strategies as st

from scope_opt.solving import metrics
from scope_opt.solving.metrics import Reference, reference
from scope_opt.solving.result import OrderOutcome, Result, Status, StopReason, TrajectoryPoint
from scope_opt.solving.solver import SolveOptions, solve

if TYPE_CHECKING:
    from scope_opt.model.instance import Instance
    from scope_opt.solving.solver import SegmentChoice

COSTS = st.integers(1, 10**15)
MAYBE = st.none() | st.floats(0, 1e6)


# --- Reference values ----------------------------------------------------------------------------


def small(name: str = "small") -> Instance:
    """Three layers on three chiplets, whose best schedule has one segment."""
    times = {"ISP": [300, 160, 110], "WSP": [290, 170, 115]}
    layer = {"weight_bytes": 4, "compute_ps": times, "input_ps": 90, "output_ps": 90}
    layers = [{"name": f"l{i}", **layer} for i in range(3)]
    tables = {"chiplets": 3, "weight_buffer_bytes": 10, "layers": layers}
    document = {"format": "scope-instance/1", "name": name, "samples": 5, "tables": tables}
    return read(document)


ASKED: list[tuple[str, SegmentChoice | None]] = [
    *(("exact", None), ("exact", "single"), ("exact", (0, 1)), ("exact-segmented", None)),
    *(("exhaustive", None), ("scope", None), ("sequential", None)),
]
SOLVED = {
    (solver, segments): solve(small(), solver, SolveOptions(segments=segments))
    for solver, segments in ASKED
}


def optimum() -> int:
    found = SOLVED["exact", None].objective_ps
    assert found is not None
    return found


OPTIMUM = optimum()


def renamed(result: Result, solver: str, **changes: Any) -> Result:
    """The same result by another solver."""
    return result.model_copy(update={"solver": solver, **changes})


def test_one_proof_and_two() -> None:
    exact, scope = SOLVED["exact", None], SOLVED["scope", None]
    assert reference([exact, scope]) == Reference(OPTIMUM, OPTIMUM, "opt1", ("exact",))
    other = renamed(exact, "cp-sat")
    assert reference([exact, other]) == Reference(
        OPTIMUM, OPTIMUM, "opt", ("exact", "formulations")
    )
    assert reference([exact, exact]).kind == "opt1"


def test_results_that_chose_the_order_of_positions_do_not_count() -> None:
    """Another order may be better than what is proved for the instance's own."""
    exact = SOLVED["exact", None]
    outcome = OrderOutcome(
        order="blocks-1", stop_reason=StopReason.COMPLETED, objective_ps=1, bound_ps=1, time_s=0.0
    )
    better = renamed(exact, "exact", objective_ps=1, bound_ps=1, orders=(outcome,))
    assert reference([exact, better]) == reference([exact])


def test_a_bound_proves_a_schedule_of_another_solver() -> None:
    exact = SOLVED["exact", None]
    no_schedule = {"schedule": None, "objective_ps": None, "status": Status.UNKNOWN}
    bound = renamed(exact, "interval-milp", **no_schedule)
    best = renamed(exact, "scope", bound_ps=None, status=Status.FEASIBLE)
    assert reference([bound, best]) == Reference(OPTIMUM, OPTIMUM, "opt1", ("formulations",))
    assert reference([best]) == Reference(OPTIMUM, None, "best")
    assert reference([bound]) == Reference(None, OPTIMUM, "unkn")
    assert reference([]) == Reference(None, None, "unkn")


def test_bounds_of_narrower_spaces_do_not_count() -> None:
    worse = SOLVED["exact", (0, 1)]
    assert worse.objective_ps is not None
    assert worse.objective_ps > OPTIMUM
    everything = list(SOLVED.values())
    assert reference(everything) == Reference(OPTIMUM, OPTIMUM, "opt1", ("exact",))
    restricted = [result for key, result in SOLVED.items() if key != ("exact", None)]
    assert reference(restricted).kind == "best"


def test_a_question_about_some_segments() -> None:
    everything = list(SOLVED.values())
    single = SOLVED["exact", "single"].objective_ps
    found = reference(everything, "single")
    assert found.kind == "opt"
    assert (found.objective, found.methods) == (single, ("exact", "exhaustive"))
    split = reference(everything, (0, 1))
    assert (split.kind, split.objective) == ("opt1", SOLVED["exact", (0, 1)].objective_ps)
    assert reference(everything, 2).kind == "best"
    assert reference(everything, 2).bound == OPTIMUM


def test_a_proof_that_there_is_no_schedule() -> None:
    none = {"schedule": None, "objective_ps": None, "bound_ps": None}
    proof = renamed(SOLVED["exact", None], "cp-sat", status=Status.INFEASIBLE, **none)
    assert reference([proof]) == Reference(None, None, "inf", ("formulations",))
    heuristic = renamed(proof, "pipeline")
    assert reference([heuristic]).kind == "unkn"
    with pytest.raises(ValueError, match="excluded every schedule"):
        reference([proof, SOLVED["scope", None]])


def test_contradictions_are_errors() -> None:
    wrong = renamed(SOLVED["exact", None], "cp-sat", bound_ps=OPTIMUM + 1)
    with pytest.raises(ValueError, match="bound of formulations exceeds"):
        reference([wrong, SOLVED["exact", None]])
    with pytest.raises(ValueError, match="different instances"):
        reference([SOLVED["scope", None], solve(small("other"), "scope")])


# --- Gaps ----------------------------------------------------------------------------------------


def test_gaps_by_hand() -> None:
    assert metrics.optimality_gap(130, 100) == pytest.approx(0.3)
    assert metrics.optimality_gap(0, 0) == 0.0
    assert metrics.optimality_gap(1, 0) is None
    with pytest.raises(ValueError, match="below the proved optimum"):
        metrics.optimality_gap(99, 100)
    assert metrics.gap_bracket(150, Reference(120, 100, "best")) == (0.25, 0.5)
    assert metrics.gap_bracket(150, Reference(120, 120, "opt1")) == (0.25, 0.25)
    assert metrics.gap_bracket(150, Reference(None, 100, "unkn")) == (None, 0.5)
    assert metrics.gap_bracket(150, Reference(None, None, "unkn")) == (None, None)


@given(COSTS, COSTS, COSTS, st.integers(1, 1000))
def test_the_bracket_holds_the_gap(a: int, b: int, c: int, factor: int) -> None:
    bound, optimum, cost = sorted((a, b, c))
    gap = metrics.optimality_gap(cost, optimum)
    low, high = metrics.gap_bracket(cost, Reference(cost, bound, "best"))
    assert gap is not None
    assert high is not None
    assert low == 0 <= gap <= high
    scaled = metrics.optimality_gap(cost * factor, optimum * factor)
    assert scaled == pytest.approx(gap)


def test_summary_by_hand() -> None:
    found = metrics.summary([0.0, 0.4, None, 0.1, 0.0, 0.2])
    assert (found.count, found.missing, found.best, found.worst) == (6, 1, 0.0, 0.4)
    assert (found.median, found.p90, found.share_at_0) == (0.1, 0.4, 2 / 6)
    ten = metrics.summary(range(1, 11))
    assert (ten.median, ten.p90) == (5.5, 9)
    empty = metrics.summary([None])
    assert (empty.median, empty.p90, empty.worst, empty.share_at_0) == (None, None, None, 0)
    assert metrics.summary([]).share_at_0 is None


@given(st.lists(MAYBE, min_size=1))
def test_summary_agrees_with_numpy(values: list[float | None]) -> None:
    present = [value for value in values if value is not None]
    found = metrics.summary(values)
    assert found.missing == len(values) - len(present)
    if present:
        assert found.median == pytest.approx(np.median(present))
        assert found.p90 == np.percentile(present, 90, method="inverted_cdf")
        assert (found.best, found.worst) == (min(present), max(present))


def test_shifted_geometric_mean_by_hand() -> None:
    assert metrics.shifted_geometric_mean([1, 100], 0) == pytest.approx(10)
    assert metrics.shifted_geometric_mean([0, 30], 10) == pytest.approx(10)
    assert metrics.shifted_geometric_mean([None, 0], 10, limit=30) == pytest.approx(10)
    assert metrics.shifted_geometric_mean([None, None], 10, [0, 30]) == pytest.approx(10)
    for values, shift in (([], 1), ([None], 1), ([-1.0], 10), ([0.0], 0)):
        with pytest.raises(ValueError, match=r"no values|needs a limit|above 0"):
            metrics.shifted_geometric_mean(values, shift)


@given(st.lists(st.floats(0.01, 1e6), min_size=1), st.floats(0, 100), st.floats(0.1, 10))
def test_shifted_geometric_mean(values: list[float], shift: float, factor: float) -> None:
    found = metrics.shifted_geometric_mean(values, shift)
    tolerance = 1e-9 * (max(values) + shift)
    assert min(values) - tolerance <= found <= np.mean(values) + tolerance
    # A larger shift gives more weight to large values.
    assert found <= metrics.shifted_geometric_mean(values, shift + 1) + tolerance
    larger = metrics.shifted_geometric_mean([value + 1 for value in values], shift)
    assert larger >= found + 1 - tolerance
    scaled = metrics.shifted_geometric_mean([v * factor for v in values], shift * factor)
    assert scaled == pytest.approx(found * factor, abs=factor * tolerance)


# --- Profiles ------------------------------------------------------------------------------------


def test_profiles_by_hand() -> None:
    found = metrics.performance_profiles({"a": [1, 4, None, None], "b": [2, 2, 5, None]})
    assert found["a"].steps() == [(1, 0.25), (2, 0.5)]
    assert found["b"].steps() == [(1, 0.5), (2, 0.75)]
    assert found["a"].share(1.99) == 0.25
    assert found["b"].share(math.inf) == 0.75
    gaps = metrics.gap_profile([0, 0.1, None, 0, 0.3])
    assert [gaps.share(x) for x in (-0.1, 0, 0.1, 0.2, 0.3)] == [0, 0.4, 0.6, 0.6, 0.8]


def test_profiles_refuse_what_has_no_ratio() -> None:
    refused: list[dict[str, list[int | None]]]
    refused = [{}, {"a": []}, {"a": [0, 1]}, {"a": [1], "b": [1, 2]}]
    for costs in refused:
        with pytest.raises(ValueError, match=r"no instances|above 0|shorter|longer"):
            metrics.performance_profiles(costs)
    with pytest.raises(ValueError, match="no instances"):
        metrics.gap_profile([])


@given(st.lists(st.tuples(*[st.none() | COSTS] * 3), min_size=1), st.integers(1, 1000))
def test_profiles(rows: list[tuple[int | None, ...]], factor: int) -> None:
    costs = dict(zip("abc", zip(*rows, strict=True), strict=True))
    found = metrics.performance_profiles(costs)
    solvable = sum(any(cost is not None for cost in row) for row in rows)
    # At ratio 1 the winners are counted, ties more than once.
    assert sum(profile.share(1) for profile in found.values()) >= solvable / len(rows) - 1e-9
    for name, profile in found.items():
        shares = [profile.share(tau) for tau in (0.5, 1, 2, 10, 1e20)]
        assert shares == sorted(shares)
        assert shares[0] == 0
        failures = costs[name].count(None)
        assert shares[-1] == (len(rows) - failures) / len(rows)
    # An instance in other units gives the same ratios.
    scaled = {
        name: [None if c is None else c * factor for c in column] for name, column in costs.items()
    }
    for name, profile in metrics.performance_profiles(scaled).items():
        assert profile.values == pytest.approx(found[name].values)


# --- Trajectories --------------------------------------------------------------------------------


@st.composite
def trajectories(draw: st.DrawFn) -> list[TrajectoryPoint]:
    """Falling objectives and rising bounds at ascending times, like a monitor's."""
    times = sorted(draw(st.lists(st.integers(0, 200), max_size=8)))
    objective: int | None = None
    bound: int | None = None
    points = []
    for time in times:
        if draw(st.booleans()):
            objective = draw(st.integers(bound or 1, objective or 1000))
        else:
            bound = draw(st.integers(bound or 0, objective or 1000))
        points.append(TrajectoryPoint(time_s=time / 10, objective_ps=objective, bound_ps=bound))
    return points


def brute_force(points: list[TrajectoryPoint], limit: int, best: int | None) -> float:
    """Midpoint rule on steps of 0.1 s, exact as everything changes at multiples of it."""
    total = 0.0
    for step in range(limit):
        now = (step + 0.5) / 10
        seen = [point for point in points if point.time_s <= now]
        objective = seen[-1].objective_ps if seen else None
        other = best if best is not None else seen[-1].bound_ps if seen else None
        if objective is None or other is None:
            total += 0.1
        elif objective != other:
            total += 0.1 * abs(objective - other) / max(objective, other)
    return total


@given(trajectories(), st.integers(1, 250), st.integers(1, 1000))
def test_integrals_against_quadrature(points: list[TrajectoryPoint], limit: int, best: int) -> None:
    primal = metrics.primal_integral(points, best, limit / 10)
    both = metrics.primal_dual_integral(points, limit / 10)
    assert primal == pytest.approx(brute_force(points, limit, best))
    assert both == pytest.approx(brute_force(points, limit, None))
    assert 0 <= primal <= limit / 10 + 1e-9
    assert 0 <= both <= limit / 10 + 1e-9


@given(trajectories(), st.integers(1, 1000), st.integers(1, 50))
def test_integrals_do_not_depend_on_units(
    points: list[TrajectoryPoint], best: int, factor: int
) -> None:
    def scaled(value: int | None) -> int | None:
        return None if value is None else value * factor

    energies = [
        TrajectoryPoint(
            time_s=point.time_s,
            objective_fj=scaled(point.objective_ps),
            bound_fj=scaled(point.bound_ps),
        )
        for point in points
    ]
    found = metrics.primal_integral(points, best, 20)
    assert metrics.primal_integral(energies, best * factor, 20) == pytest.approx(found)
    found = metrics.primal_dual_integral(points, 20)
    assert metrics.primal_dual_integral(energies, 20) == pytest.approx(found)


@given(trajectories(), st.floats(0, 1))
def test_finding_everything_earlier_lowers_the_integral(
    points: list[TrajectoryPoint], factor: float
) -> None:
    earlier = [point.model_copy(update={"time_s": point.time_s * factor}) for point in points]
    best = min((point.objective_ps for point in points if point.objective_ps), default=1)
    late = metrics.primal_integral(points, best, 20)
    assert metrics.primal_integral(earlier, best, 20) <= late + 1e-9


def test_trajectories_by_hand() -> None:
    points = [
        TrajectoryPoint(time_s=1, bound_ps=50),
        TrajectoryPoint(time_s=2, objective_ps=200, bound_ps=50),
        TrajectoryPoint(time_s=4, objective_ps=100, bound_ps=50),
        TrajectoryPoint(time_s=6, objective_ps=100, bound_ps=100),
    ]
    # Gap 1 for 2 s, 1/2 for 2 s, 0 from then on; and 3/4 and 1/2 against the own bound.
    assert metrics.primal_integral(points, 100, 10) == pytest.approx(3)
    assert metrics.primal_dual_integral(points, 10) == pytest.approx(2 + 1.5 + 1)
    assert metrics.primal_integral(points, 100, 3) == pytest.approx(2.5)
    assert metrics.primal_integral([], 100, 3) == 3
    assert metrics.milestones(points) == metrics.Milestones(2, 4, 6)
    assert metrics.milestones(points[:1]) == metrics.Milestones(None, None, None)
    assert [metrics.time_to(points, target) for target in (200, 150, 99)] == [2, 4, None]
    found = [metrics.time_to_gap(points, gap) for gap in (0.75, 0.6, 0.5, 0.01)]
    assert found == [2, 4, 4, 6]
    assert metrics.time_to_gap(points[:3], 0.01) is None
    with pytest.raises(ValueError, match="allowed from 0"):
        metrics.primal_integral(points, 100, -1)


def test_milestones_of_a_real_run() -> None:
    result = SOLVED["exact", None]
    found = metrics.milestones(result.trajectory)
    assert found.first_s is not None
    assert found.best_s is not None
    assert found.proof_s is not None
    assert found.first_s <= found.best_s <= found.proof_s <= result.times_s.total
