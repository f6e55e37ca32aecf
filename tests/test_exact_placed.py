"""The exact solver on placed instances: equal to exhaustive search, and its bounds honest."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import oracle
import placed_strategies
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st

from scope_opt.cost.build import build_tables
from scope_opt.model.files import InputError
from scope_opt.model.instance import Instance
from scope_opt.schedule.preflight import reasons
from scope_opt.search.exact.places import segment as places_segment
from scope_opt.search.exact.places.labels import label_pass
from scope_opt.search.exact.places.relaxation import relax
from scope_opt.search.exact.solver import ExactSolver
from scope_opt.solving.monitor import Monitor
from scope_opt.solving.result import Result, Status, StopReason
from scope_opt.solving.solver import SolveOptions, solve

if TYPE_CHECKING:
    from collections.abc import Callable

    from scope_opt.solving.solver import SegmentChoice

Json = dict[str, Any]

INSTANCES = Path(__file__).parents[1] / "instances"
TINY = sorted((INSTANCES / "tiny-placed").glob("*.json"))

OPTIMA = [
    ("alexnet-64", 1950779785),
    ("resnet18-64", 2906171340),
    ("darknet19-128", 2249880960),
    ("resnet50-32", 12136087300),
]
"""Instances, and what was proved of them in ps."""

SMALL = placed_strategies.placed_instances(max_layers=4, max_chiplets=4)
SIDE = placed_strategies.placed_instances(max_layers=4, max_chiplets=4, constraints=True)


def run(document: Json, segments: SegmentChoice = "dp", solver: str = "exact") -> Result:
    """The recursion alone; tests/test_placed_programs.py has it continued by programs."""
    instance = Instance.from_json(json.dumps(document), "test")
    return solve(instance, solver, SolveOptions(segments=segments, programs=False))


def within_reach(document: Json) -> Json:
    """The instance without the side constraints that the exact solver refuses."""
    present = document.get("constraints", {})
    honoured = {k: v for k, v in present.items() if k in ExactSolver.constraints}
    return {**document, "constraints": honoured}


def linked(document: Json, shared: bool) -> Json:
    """The instance with or without shared links."""
    nop = {**document["package"]["nop"], "shared_links": shared}
    return {**document, "package": {**document["package"], "nop": nop}}


def settled(document: Json, result: Result, segments: str = "free") -> None:
    """The bound is the optimum without links; the objective is one with links, and feasible."""
    assert result.stop_reason is StopReason.COMPLETED
    without = oracle.best(linked(document, shared=False), segments)
    best = oracle.best(document, segments)
    if without is None:
        assert best is None
        assert result.status is Status.INFEASIBLE
        assert result.explanation
        return
    assert best is not None
    assert result.bound_ps == without[1]
    assert result.objective_ps is not None
    assert result.objective_ps >= best[1]
    assert (result.status is Status.OPTIMAL) == (result.objective_ps == without[1])
    if result.status is Status.FEASIBLE:
        assert "links" in result.explanation[0]
    if not document["package"]["nop"].get("shared_links", True):
        assert result.status is Status.OPTIMAL


@given(SMALL)
def test_equals_exhaustive_search(document: Json) -> None:
    document = within_reach(document)
    settled(document, run(document))
    settled(document, run(document, "single"), "single")


@given(SIDE)
def test_equals_exhaustive_search_under_side_constraints(document: Json) -> None:
    document = within_reach(document)
    settled(document, run(document))


@pytest.mark.parametrize("path", TINY, ids=lambda path: path.stem)
def test_shipped_tiny_instances(path: Path) -> None:
    document = within_reach(json.loads(path.read_text()))
    settled(document, run(document))


# --- Restricted forms and choices of segments ----------------------------------------------------


def restricted(document: Json, solver: str) -> int | None:
    """Least latency without links among the schedules that a restricted solver searches."""
    judge = oracle.oracle(linked(document, shared=False))
    last = judge.n_layers - 1
    costs: dict[tuple[int, int], int] = {}
    for first, final in itertools.combinations_with_replacement(range(last + 1), 2):
        for segment in oracle.enumerate_segments(first, final, judge.chiplets):
            if solver == "exact-sequential":
                admitted = len(segment) == 1
            else:
                admitted = all(cluster.first == cluster.last for cluster in segment)
            if admitted and not judge.segment_codes(segment):
                found = judge.segment_ps(segment)
                costs[first, final] = min(costs.get((first, final), found), found)
    if solver == "exact-pipeline":
        return costs.get((0, last)) if judge.allows_starts([0]) else None
    totals = []
    for count in range(last + 1):
        for inner in itertools.combinations(range(1, last + 1), count):
            starts = [0, *inner]
            ends = zip(starts, [*(first - 1 for first in inner), last], strict=True)
            parts = [costs.get(pair) for pair in ends]
            if judge.allows_starts(starts) and None not in parts:
                totals.append(sum(cost for cost in parts if cost is not None))
    return min(totals, default=None)


@settings(max_examples=strategies.share(3))
@given(SIDE, st.sampled_from(["exact-sequential", "exact-segmented", "exact-pipeline"]))
def test_restricted_forms(document: Json, solver: str) -> None:
    document = within_reach(document)
    if solver == "exact-pipeline" and "fixed_segments" in document["constraints"]:
        return
    result, best = run(document, solver=solver), restricted(document, solver)
    assert (result.status is Status.INFEASIBLE) == (best is None)
    if best is not None:
        assert result.bound_ps == best


@settings(max_examples=strategies.share(4))
@given(SMALL)
def test_segment_choices_agree(document: Json) -> None:
    document = within_reach(linked(document, shared=False))
    layers = len(document["network"]["layers"])
    numbers = [run(document, count).objective_ps for count in range(1, layers + 1)]
    free = run(document)
    assert free.objective_ps == min((n for n in numbers if n is not None), default=None)
    if free.schedule is not None:
        starts = tuple(segment.first_layer for segment in free.schedule.segments)
        assert run(document, starts).objective_ps == free.objective_ps


def test_activation_buffers_without_places_are_refused() -> None:
    document = json.loads((INSTANCES / "placed" / "resnet18-16-placed.json").read_text())
    document["package"]["nop"]["model"] = "regressed"
    document["package"]["activation_buffer_bytes"] = 1 << 20
    with pytest.raises(InputError, match="activation_buffer_bytes"):
        run(document)


# --- Bounds at any time --------------------------------------------------------------------------


class Impatient(Monitor):
    """Stops a solver when it has asked so many times."""

    def __init__(self, patience: int) -> None:
        super().__init__()
        self.patience = patience

    @property
    def stopping(self) -> bool:
        self.patience -= 1
        self.stopped_early |= self.patience < 0
        return self.stopped_early


@settings(max_examples=strategies.share(4))
@given(SMALL)
def test_bounds_hold_at_any_time(document: Json) -> None:
    document = within_reach(document)
    best = oracle.best(linked(document, shared=False))
    instance = Instance.from_json(json.dumps(document), "test")
    tables = build_tables(instance)
    if reasons(instance, tables):
        return
    for patience in (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144):
        monitor = Impatient(patience)
        ExactSolver().run(instance, tables, SolveOptions(), monitor)
        if best is None:
            assert monitor.objective is None
            continue
        assert monitor.bound is None or monitor.bound <= best[1]
        assert monitor.objective is None or monitor.objective >= best[1]
        if not monitor.stopped_early:
            assert monitor.bound == best[1]
            break


def test_the_clock_is_looked_at_every_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a segment: a pass of labels, or filling the relaxation, is cut into pieces."""
    instance = Instance.load(INSTANCES / "placed" / "alexnet-16-placed.json")
    tables = build_tables(instance)
    plain = solve(instance, "exact", SolveOptions(programs=False))
    unwatched = 0
    pieces: list[int] = []

    class Watching(Monitor):
        @property
        def stopping(self) -> bool:
            nonlocal unwatched
            unwatched = 0
            return super().stopping

    def counted(compute: Callable[..., Any], top: int) -> Callable[..., Any]:
        def piece(*arguments: Any) -> Any:
            nonlocal unwatched
            unwatched += arguments[top] - arguments[top + 1] + 1
            pieces.append(unwatched)
            return compute(*arguments)

        return piece

    monkeypatch.setattr(places_segment, "ROW_REGIONS", 2 * 16**2)
    monkeypatch.setattr(places_segment, "label_pass", counted(label_pass, 5))
    monkeypatch.setattr(places_segment, "relax", counted(relax, 4))
    monitor = Watching()
    ExactSolver().run(instance, tables, SolveOptions(), monitor)
    assert (monitor.objective, monitor.bound) == (plain.objective_ps, plain.bound_ps)
    assert max(pieces) == 2


@pytest.mark.parametrize(("name", "optimum"), OPTIMA)
def test_placed_instances(name: str, optimum: int) -> None:
    """Proved with links: the schedule found reaches the bound without them."""
    result = solve(Instance.load(INSTANCES / "placed" / f"{name}-placed.json"))
    assert (result.status, result.bound_ps) == (Status.OPTIMAL, optimum)
