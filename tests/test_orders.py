"""The order of positions as a decision, against exhaustive search in every order."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import oracle
import placed_strategies
import pytest
import strategies
from documents import INSTANCES, Json, shipped
from helpers import invoke, plain, read
from hypothesis import given, settings
from hypothesis import strategies as st

from scope_opt.cost.build import build_tables
from scope_opt.model.files import InputError
from scope_opt.model.generate import paper_instance
from scope_opt.model.instance import Instance
from scope_opt.schedule.bounds import latency_bound
from scope_opt.schedule.evaluate import evaluate, link_loads
from scope_opt.schedule.schedule import Schedule, make_segment
from scope_opt.search.exact.solver import ExactSolver
from scope_opt.solving.api import solve
from scope_opt.solving.fallback import FALLBACK
from scope_opt.solving.isolate import Isolated
from scope_opt.solving.monitor import Monitor
from scope_opt.solving.orders import chosen
from scope_opt.solving.result import Result, Status, StopReason
from scope_opt.solving.solver import SolveOptions

if TYPE_CHECKING:
    from pathlib import Path

    from scope_opt.model.tables import LatencyTables

RESNET = INSTANCES / "placed" / "resnet18-16-placed.json"
LARGER = INSTANCES / "placed" / "resnet18-64-placed.json"
SMALL = placed_strategies.placed_instances(max_layers=3, max_chiplets=4)


def in_order(document: Json, order: Any) -> Json:
    """The instance in another order, with the usual factor of that order if it had its own's."""
    package, nop = document["package"], dict(document["package"]["nop"])
    usual = {"zigzag": 1.15}
    if nop.get("eta_link", 1.15) == usual.get(str(package.get("order", "zigzag")), 1.2):
        nop["eta_link"] = usual.get(str(order), 1.2)
    return {**document, "package": {**package, "order": order, "nop": nop}}


def unlinked(document: Json) -> Json:
    nop = {**document["package"]["nop"], "shared_links": False}
    return {**document, "package": {**document["package"], "nop": nop}}


def widths(document: Json) -> list[str]:
    """Orders that have a name and differ."""
    cols = document["package"]["mesh_cols"]
    return ["zigzag", *(f"blocks-{w}" for w in range(1, cols) if cols % w == 0)]


# --- What is found -------------------------------------------------------------------------------


@settings(max_examples=strategies.share(3))
@given(SMALL)
def test_equals_exhaustive_search_in_every_order(document: Json) -> None:
    document = {**document, "constraints": {}}
    orders = widths(document)
    result = solve(read(document), "exact", order=orders)
    without = [oracle.best(unlinked(in_order(document, order))) for order in orders]
    best = [oracle.best(in_order(document, order)) for order in orders]
    assert [outcome.order for outcome in result.orders] == orders
    if all(found is None for found in best):
        assert result.status is Status.INFEASIBLE
        return
    bound = min(found[1] for found in without if found is not None)
    assert result.bound_ps is not None
    assert result.objective_ps is not None
    assert result.schedule is not None
    # A schedule may reach a bound of its own order before that of another one is known exactly.
    assert result.bound_ps == min(bound, result.objective_ps)
    assert result.objective_ps >= min(found[1] for found in best if found is not None)
    for outcome, found in zip(result.orders, without, strict=True):
        assert outcome.infeasible == (found is None)
        if found is not None:
            assert outcome.bound_ps is not None
            assert outcome.bound_ps <= max(found[1], result.objective_ps)
    there = in_order(document, result.schedule.order)
    assert oracle.violations(there, plain(result.schedule)) == []
    assert oracle.objective_ps(there, plain(result.schedule)) == result.objective_ps


@settings(max_examples=strategies.share(6))
@given(SMALL, st.sampled_from(["scope", "anneal"]))
def test_heuristics_take_the_best_order(document: Json, solver: str) -> None:
    document = {**document, "constraints": {}}
    options: dict[str, Any] = {"iterations": 300, "seed": 1} if solver == "anneal" else {}
    result = solve(read(document), solver, order="all", **options)
    alone = [
        solve(read(document).in_order(outcome.order), solver, **options).objective_ps
        for outcome in result.orders
    ]
    assert result.objective_ps == min((n for n in alone if n is not None), default=None)
    simple = latency_bound(build_tables(read(document)))
    assert result.bound_ps is None or result.bound_ps >= simple


@settings(max_examples=strategies.share(6))
@given(SMALL)
def test_simple_bounds_do_not_depend_on_the_order(document: Json) -> None:
    instance = read(document)
    bounds = {latency_bound(build_tables(instance.in_order(order))) for order in widths(document)}
    assert len(bounds) == 1


def test_a_network_of_the_paper() -> None:
    result = solve(RESNET, order="all")
    assert result.status is Status.OPTIMAL
    assert result.schedule is not None
    instance = Instance.load(RESNET)
    alone = {
        str(outcome.order): solve(instance.in_order(outcome.order)).objective_ps
        for outcome in result.orders
    }
    assert list(alone) == ["zigzag", "blocks-1", "blocks-2"]
    assert result.objective_ps == min(value for value in alone.values() if value is not None)
    assert result.objective_ps == alone[str(result.schedule.order)]
    assert result.schedule.instance.digest == result.instance.digest == instance.digest
    assert result.options["order"] == "all"
    assert Result.from_json(result.to_json(), "test") == result


# --- Pruning -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "instance", [Instance.load(RESNET), paper_instance("resnet18", 16)], ids=["placed", "regressed"]
)
@pytest.mark.parametrize("isolated", [False, True])
def test_a_cutoff_is_proved_instead_of_an_optimum(instance: Instance, isolated: bool) -> None:
    """If nothing better is left to be found, that is a bound and no infeasibility."""
    tables = build_tables(instance)
    optimum = solve(instance).objective_ps
    assert optimum is not None
    for cutoff, bound in ((optimum, optimum), (optimum + 1, optimum), (optimum - 5, optimum - 5)):
        monitor = Monitor(cutoff=cutoff)
        solver = Isolated(ExactSolver()) if isolated else ExactSolver()
        solver.run(instance, tables, SolveOptions(), monitor)
        assert monitor.bound == bound
        assert not monitor.infeasible
        assert monitor.outdone == (bound == cutoff)
        if bound < cutoff:
            assert monitor.objective == optimum


class Bounder:
    """Reports a schedule of given length in ZigZag order, and bounds until it is told to stop."""

    name, summary, exact = "bounder", "", False
    constraints = frozenset({"placed"})
    options = frozenset[str]()

    def __init__(self) -> None:
        self.rounds: dict[str, int] = {}

    def run(
        self, instance: Instance, tables: LatencyTables, options: SolveOptions, monitor: Monitor
    ) -> None:
        assert instance.package is not None
        order = str(instance.package.order)
        self.rounds[order] = 0
        segment = make_segment(0, [(tables.layers, instance.chiplets, [1] * tables.layers)])
        schedule = Schedule.model_validate(
            {"instance": {"name": "x", "digest": "0" * 64}, "segments": (segment,)}
        )
        objective = evaluate(instance, schedule, tables).objective_ps
        assert objective is not None
        if order == "zigzag":
            monitor.improve(objective, [segment])
            return
        for step in range(10):
            if monitor.stopping:
                return
            self.rounds[order] += 1
            monitor.raise_bound(objective * (step + 1) // 2, "recursion")


def small() -> Instance:
    """Four layers of AlexNet that fit a single cluster."""
    content = json.loads(paper_instance("alexnet", 16, overflow="stream", nop="placed").to_json())
    network = content["network"]
    network["layers"], network["edges"] = network["layers"][:4], network["edges"][:3]
    return Instance.from_json(json.dumps(content), "test")


def test_an_order_is_stopped_when_its_bound_reaches_the_best_schedule() -> None:
    solver = Bounder()
    result = solve(small(), solver, order=["zigzag", "blocks-2"])
    assert result.schedule is not None
    assert result.schedule.order == "zigzag"
    assert solver.rounds["blocks-2"] < 10
    first, second = result.orders
    assert first.stop_reason is StopReason.COMPLETED
    assert second.stop_reason is StopReason.OUTDONE
    assert result.stop_reason is StopReason.COMPLETED
    # ZigZag itself is bounded by no more than the simple bound.
    assert result.bound_ps == latency_bound(build_tables(small()))


class Slow(Bounder):
    """Uses its time up."""

    def run(
        self, instance: Instance, tables: LatencyTables, options: SolveOptions, monitor: Monitor
    ) -> None:
        assert instance.package is not None
        assert options.time_limit_s is not None
        self.rounds[str(instance.package.order)] = round(100 * options.time_limit_s)
        while not monitor.stopping:
            pass


def test_the_time_limit_is_shared() -> None:
    solver = Slow()
    result = solve(small(), solver, order=["zigzag", "blocks-2"], time_limit_s=0.5)
    assert result.stop_reason is StopReason.TIME_LIMIT
    assert 15 <= solver.rounds["zigzag"] <= 25
    assert result.explanation == (FALLBACK,)  # no schedule of its own
    assert all(outcome.stop_reason is StopReason.TIME_LIMIT for outcome in result.orders)


class Interrupted(Bounder):
    """Has found a schedule when Ctrl-C comes."""

    def run(
        self, instance: Instance, tables: LatencyTables, options: SolveOptions, monitor: Monitor
    ) -> None:
        super().run(instance, tables, options, monitor)
        assert monitor._parent is not None
        monitor._parent.interrupted = True


def test_ctrl_c_leaves_the_best_so_far() -> None:
    result = solve(small(), Interrupted(), order=["zigzag", "blocks-2"])
    assert result.stop_reason is StopReason.INTERRUPTED
    assert result.schedule is not None
    assert [outcome.objective_ps for outcome in result.orders] == [result.objective_ps, None]
    assert result.orders[1].stop_reason is StopReason.INTERRUPTED
    assert result.bound_ps == latency_bound(build_tables(small()))


# --- What carries the order ----------------------------------------------------------------------


def test_schedules_are_evaluated_in_their_order() -> None:
    instance = Instance.load(RESNET)
    tables = build_tables(instance)
    found = solve(instance, "scope", order="blocks-2").schedule
    assert found is not None
    bare = found.model_copy(update={"order": None})
    there = instance.in_order("blocks-2")
    assert evaluate(instance, found, tables) == evaluate(there, bare)
    assert evaluate(there, found) == evaluate(there, bare) != evaluate(instance, bare, tables)
    assert link_loads(instance, found, tables) == link_loads(there, bare)
    assert Schedule.from_json(found.to_json(), "test") == found


def test_the_instance_in_another_order() -> None:
    instance = Instance.load(RESNET)
    blocks = instance.in_order("blocks-2")
    generated = paper_instance("resnet18", 16, nop="placed", order="blocks-2")
    assert blocks.package == generated.package
    assert blocks.digest != instance.digest
    assert blocks.in_order("zigzag").digest == instance.digest
    assert instance.in_order("zigzag") is instance
    content = json.loads(instance.to_json())
    content["package"]["nop"]["eta_link"] = 1.3
    measured = Instance.from_json(json.dumps(content), "test").in_order("blocks-2")
    assert measured.package is not None
    assert measured.package.nop.eta_link == 1.3


def test_all_orders_are_the_different_ones() -> None:
    own = [[y, x] for x in range(4) for y in range(4)]
    content = in_order(json.loads(RESNET.read_text()), own)
    listed, *named = chosen(read(content), "all")
    assert listed == tuple(map(tuple, own))
    assert named == ["zigzag", "blocks-1", "blocks-2"]
    assert chosen(read(content), ("blocks-4", "zigzag", "blocks-4")) == ("blocks-4", "zigzag")
    assert chosen(read(content), (own, "zigzag", own)) == (listed, "zigzag")  # type: ignore[arg-type]
    line = in_order(json.loads(RESNET.read_text()), "zigzag")
    line["package"] |= {"mesh_rows": 1, "mesh_cols": 16}
    assert chosen(read(line), "all") == ("zigzag",)


def test_a_warm_start_counts_in_its_order(tmp_path: Path) -> None:
    best = solve(RESNET, order="blocks-2").schedule
    assert best is not None
    with pytest.raises(InputError, match="found blocks-2, but positions run in order zigzag"):
        solve(RESNET, warm_start=best)
    result = solve(RESNET, order=["blocks-2", "zigzag"], warm_start=best, time_limit_s=1e-9)
    assert result.objective_ps == evaluate(Instance.load(RESNET), best).objective_ps
    assert result.schedule is not None
    assert result.schedule.order == "blocks-2"


# --- Commands ------------------------------------------------------------------------------------


def test_commands_read_the_order_with_the_schedule(tmp_path: Path) -> None:
    saved, pages = tmp_path / "schedule.json", tmp_path / "pages"
    solved = invoke(
        "solve", LARGER, "--solver", "scope", "--order", "blocks-1,blocks-2", "-o", saved
    )
    assert solved.exit_code == 0
    order = Schedule.load(saved).order
    assert f"order        {order} " in solved.stdout
    for command in (("evaluate", LARGER, saved), ("show", saved, LARGER)):
        shown = invoke(*command)
        assert shown.exit_code == 0
        assert "warning" not in shown.stderr
        assert f"in order {order}" in shown.stdout
    replayed = invoke("simulate", LARGER, saved, "--json")
    evaluated = json.loads(invoke("evaluate", LARGER, saved, "--json").stdout)
    assert json.loads(replayed.stdout)["lockstep_ps"] == evaluated["objective_ps"]
    reported = invoke("report", saved, "--instance", LARGER, "-o", pages)
    assert reported.exit_code == 0
    assert f"in order {order}" in (pages / "index.html").read_text()


@pytest.mark.parametrize(
    ("instance", "order", "message"),
    [
        (RESNET, "blocks-3", "order: found 'blocks-3'; allowed zigzag, blocks-1, blocks-2"),
        (RESNET, ",", "order: found none; allowed: all, zigzag, blocks-1, blocks-2"),
        (INSTANCES / "paper" / "resnet18-16.json", "all", "package.nop.model is 'regressed'"),
        (INSTANCES / "tiny" / "tiny-tables.json", "zigzag", "explicit tables know no places"),
    ],
)
def test_refusals(instance: Path, order: str, message: str) -> None:
    refused = invoke("solve", instance, "--order", order)
    assert refused.exit_code == 2
    assert message in refused.stderr


def test_an_order_that_the_instance_cannot_have(tmp_path: Path) -> None:
    schedule = json.loads((INSTANCES / "best_known" / "resnet18-16.json").read_text())
    file = tmp_path / "schedule.json"
    file.write_text(json.dumps({**schedule, "order": "blocks-2"}))
    refused = invoke("evaluate", INSTANCES / "paper" / "resnet18-16.json", file)
    assert refused.exit_code == 2
    assert "schedule: order: does not matter for resnet18-16" in refused.stderr
    with pytest.raises(InputError, match="does not matter"):
        read(shipped("tiny-tables")).in_order("zigzag")
