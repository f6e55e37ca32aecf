"""What a result says of a solver that was stopped at once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import oracle
import placed_strategies
import pytest
import strategies
from helpers import plain, read
from hypothesis import given, settings
from hypothesis import strategies as st

from scope_opt.cost.build import build_tables
from scope_opt.model.generate import paper_instance
from scope_opt.schedule.schedule import InstanceReference, Schedule
from scope_opt.solving.fallback import FALLBACK, simple_bound, simple_schedule
from scope_opt.solving.isolate import Isolated
from scope_opt.solving.result import Status, StopReason
from scope_opt.solving.solver import SolveOptions, load_solver, solve, solver_names

if TYPE_CHECKING:
    from documents import Json

    from scope_opt.solving.monitor import Monitor

AT_ONCE = SolveOptions(time_limit_s=0.0)
ONE_LAYER_PER_CLUSTER = ("pipeline", "segmented", "exact-pipeline", "exact-segmented")
TOO_LARGE = ("exhaustive",)
"""Refuses instances of this size."""
SEARCHES = sorted(set(solver_names()) - set(TOO_LARGE))

SMALL = strategies.table_instances(max_layers=4, max_chiplets=5, constraints=True)
SMALL |= strategies.physical_instances(max_layers=4, max_chiplets=4, constraints=True)
SMALL |= placed_strategies.unlimited_instances()


# --- Every solver --------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["regressed", "placed"])
@pytest.mark.parametrize("name", SEARCHES)
def test_stopped_at_once_there_are_a_schedule_and_a_bound(name: str, model: str) -> None:
    instance = paper_instance(
        "resnet18", 64, nop="placed" if model == "placed" else "regressed", overflow="stream"
    )
    solver = load_solver(name)
    if not instance.demands <= solver.constraints:
        pytest.skip("knows no places")
    result = solve(instance, solver, AT_ONCE)
    assert result.status is Status.FEASIBLE
    assert result.stop_reason is StopReason.TIME_LIMIT
    assert result.bound_ps is not None
    assert result.proof is not None
    assert result.proof.by
    schedule = result.schedule
    assert schedule is not None
    clusters = [cluster for segment in schedule.segments for cluster in segment.clusters]
    if name in ONE_LAYER_PER_CLUSTER:
        assert all(cluster.first_layer == cluster.last_layer for cluster in clusters)
    if name in ("sequential", "exact-sequential"):
        assert len(clusters) == len(schedule.segments)
    if name in ("pipeline", "exact-pipeline"):
        assert len(schedule.segments) == 1
    assert result.explanation in ((), (FALLBACK,))


def test_a_small_instance_for_the_one_that_refuses_others() -> None:
    instance = paper_instance("alexnet", 4, overflow="stream")
    result = solve(instance, "exhaustive", AT_ONCE)
    assert result.bound_ps is not None
    assert result.schedule is not None


@pytest.mark.parametrize("name", ["cp-sat", "interval-milp", "compact-milp"])
def test_energy(name: str) -> None:
    instance = paper_instance("alexnet", 16, overflow="stream")
    limits = instance.constraints.model_copy(update={"latency_bound_s": 1.0})
    bounded = instance.model_copy(update={"constraints": limits})
    result = solve(bounded, name, replace(AT_ONCE, segments="single"))
    assert result.objective_ps is None
    assert result.objective_fj is not None
    assert result.bound_fj is not None
    assert 0 < result.bound_fj <= result.objective_fj


@pytest.mark.parametrize("name", ["exact-pipeline", "cp-sat"])
def test_it_follows_the_scheme_in_a_process_of_its_own(name: str) -> None:
    instance = paper_instance("resnet18", 64, overflow="stream")
    found = [solve(instance, s, AT_ONCE) for s in (load_solver(name), Isolated(load_solver(name)))]
    assert found[0].schedule is not None
    assert found[1].schedule is not None
    if name in ONE_LAYER_PER_CLUSTER:
        assert len(found[1].schedule.segments) == 1


def test_the_order_asked_for() -> None:
    instance = paper_instance("alexnet", 16, overflow="stream", nop="placed")
    options = SolveOptions(time_limit_s=0.0, order=("blocks-2",))
    result = solve(instance, "cp-sat", options)
    assert result.schedule is not None
    assert result.schedule.order == "blocks-2"


def test_interrupted_at_once() -> None:
    def interrupt(monitor: Monitor) -> None:
        monitor.interrupted = True

    instance = paper_instance("resnet18", 64, overflow="stream")
    result = solve(instance, "cp-sat", on_progress=interrupt)
    assert result.stop_reason is StopReason.INTERRUPTED
    assert result.schedule is not None


def test_what_a_solver_found_is_left_alone() -> None:
    result = solve(paper_instance("alexnet", 16), "scope")
    assert result.stop_reason is StopReason.COMPLETED
    assert result.explanation == ()


# --- The schedules and bounds --------------------------------------------------------------------


@settings(max_examples=strategies.share(2))
@given(document=SMALL, single_layers=st.booleans(), data=st.data())
def test_schedules_keep_the_rules_and_the_choice(
    document: Json, single_layers: bool, data: st.DataObject
) -> None:
    instance = read(document)
    tables = build_tables(instance)
    choice = data.draw(strategies.segment_choices(tables.layers) | st.just(None))
    found = simple_schedule(instance, tables, choice, single_layers=single_layers)
    bound = simple_bound(instance, tables)
    if found is None:
        return
    value, segments = found
    schedule = Schedule(instance=InstanceReference.to(instance), segments=segments)
    assert oracle.violations(document, plain(schedule)) == []
    energy = instance.minimizes == "energy"
    judge = oracle.energy_fj_total if energy else oracle.objective_ps
    assert judge(document, plain(schedule)) == value
    assert bound is not None
    assert bound <= value
    firsts = tuple(segment.first_layer for segment in segments)
    if isinstance(choice, tuple) and not instance.constraints.fixed_segments:
        assert firsts == choice
    if isinstance(choice, int) and not instance.constraints.fixed_segments:
        assert len(firsts) == choice
    if single_layers:
        clusters = [cluster for segment in segments for cluster in segment.clusters]
        assert all(cluster.first_layer == cluster.last_layer for cluster in clusters)


@settings(max_examples=strategies.share(4))
@given(document=strategies.trading_instances())
def test_no_schedule_is_below_the_bound(document: Json) -> None:
    instance = read(document)
    best = oracle.best(document)
    bound = simple_bound(instance, build_tables(instance))
    if best is not None:
        assert bound is not None
        assert bound <= best[1]
