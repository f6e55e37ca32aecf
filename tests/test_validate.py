"""Validation of heuristics: gaps, ranks and losses against what is known otherwise; its output."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from documents import INSTANCES, two_layers
from helpers import invoke, read

import scope_opt.solving.solver
from scope_opt.cost.build import build_tables
from scope_opt.model.files import InputError
from scope_opt.model.generate import paper_instance
from scope_opt.model.instance import SHAPE
from scope_opt.model.tables import ISP
from scope_opt.schedule.schedule import make_segment
from scope_opt.search.census.distribution import distribution
from scope_opt.search.exact.solver import ExactSolver
from scope_opt.search.paper.solver import SequentialSolver
from scope_opt.solving.solver import SolveOptions, SolverDisagreement, solve
from scope_opt.solving.warmup import small_instance
from scope_opt.terminal.inputs import load_instance
from scope_opt.terminal.show import make_console
from scope_opt.validation.document import Validation
from scope_opt.validation.run import ValidationOptions, validate
from scope_opt.validation.view import validation_view

if TYPE_CHECKING:
    from pathlib import Path

    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.schedule.schedule import Segment
    from scope_opt.solving.monitor import Monitor


@pytest.fixture(scope="module")
def alexnet() -> Instance:
    """Small enough to enumerate, in several segments or one."""
    return paper_instance("alexnet", 16, overflow="stream")


PLACED = INSTANCES / "placed" / "resnet18-64-placed.json"


class Fixed:
    """Reports the schedule it was made with."""

    name = "fixed"
    summary = "what a test says"
    exact = False
    constraints: frozenset[str] = frozenset()
    options: frozenset[str] = frozenset()

    def __init__(self, objective_ps: int | None, *segments: Segment) -> None:
        self.objective_ps, self.segments = objective_ps, segments

    def run(
        self, instance: Instance, tables: LatencyTables, options: SolveOptions, monitor: Monitor
    ) -> None:
        if self.objective_ps is not None:
            monitor.improve(self.objective_ps, self.segments)


def tiny(**constraints: Any) -> Instance:
    return read(two_layers(constraints=constraints))


ONE_CLUSTER = make_segment(0, [(2, 2, [ISP, ISP])])
TWO_SEGMENTS = (make_segment(0, [(1, 2, [ISP])]), make_segment(1, [(1, 2, [ISP])]))


# --- Numbers -------------------------------------------------------------------------------------


def test_by_hand() -> None:
    """One cluster takes 4 x 20 ps; two clusters, the optimum, (4 + 2 - 1) x 10 ps."""
    found = validate(tiny(), Fixed(80, ONE_CLUSTER))
    assert (found.optimum.objective_ps, found.optimum.kind) == (50, "opt1")
    assert found.gaps[0] is not None
    assert found.gaps[0].at_least == found.gaps[0].at_most == 0.6
    # Of 4 x 2 schedules the 4 with two clusters are better; WSP copies of one byte fit everywhere.
    assert found.rank is not None
    assert found.rank.method == "enumeration"
    assert found.rank.schedules == found.rank.among_all.counted == 8
    assert found.rank.among_valid.counted == 8
    assert (found.rank.among_all.better, found.rank.among_all.equal) == (4, 4)
    assert found.rank.among_all.better_share_at_most == 0.5
    assert found.losses is not None
    assert found.losses.clusters == 0.6
    assert found.losses.partitions == found.losses.regions == found.losses.segments == 0
    assert (found.no_rank, found.no_losses, found.one_segment) == (None, None, None)


def test_the_optimum_has_no_gap(alexnet: Instance) -> None:
    found = validate(alexnet, "exact", ValidationOptions(SolveOptions(segments="single")))
    best = solve(alexnet, "exact", SolveOptions(segments="single"))
    assert found.rank is not None
    assert found.rank.latency_ps == best.objective_ps
    assert found.rank.among_all.better == 0
    free = validate(alexnet, "exact", ValidationOptions(draws=10))
    assert free.gaps[0] is not None
    assert free.gaps[0].at_most == 0
    assert free.losses is not None
    assert set(free.losses.model_dump().values()) == {0}


@pytest.mark.parametrize("solver", ["scope", "segmented", "sequential"])
def test_losses_add_up_to_the_gap(solver: str) -> None:
    found = validate(paper_instance("resnet18", 16), solver, ValidationOptions(draws=100))
    gap, losses, run = found.gaps[0], found.losses, found.runs[0]
    assert gap is not None
    assert losses is not None
    assert gap.at_most is not None
    assert run.objective_ps is not None
    assert found.optimum.objective_ps is not None
    assert gap.at_most == pytest.approx(run.objective_ps / found.optimum.objective_ps - 1)
    assert gap.at_most > 0
    parts = (losses.partitions, losses.regions, losses.clusters, losses.segments)
    assert sum(parts) == pytest.approx(gap.at_most)
    assert losses.transition is not None
    assert all(part >= 0 for part in (*parts, losses.transition))
    assert losses.open == 0


def test_losses_on_a_placed_instance() -> None:
    found = validate(load_instance(str(PLACED)), "scope", ValidationOptions(draws=100))
    losses, gap = found.losses, found.gaps[0]
    assert losses is not None
    assert gap is not None
    assert gap.at_least is not None
    parts = (losses.partitions, losses.regions, losses.clusters, losses.segments)
    assert sum(parts) == pytest.approx(gap.at_least)
    assert losses.clusters > 0
    assert losses.open == 0


def test_the_order_of_positions_is_chosen_by_both_solvers() -> None:
    problem = small_instance(("placed",))
    orders = ("blocks-1", "zigzag")
    options = ValidationOptions(SolveOptions(order=orders), draws=100)
    found = validate(problem, "sequential", options)
    assert found.exact is not None
    alone = {
        order: validate(problem.in_order(order), "sequential", ValidationOptions(draws=100))
        for order in orders
    }
    assert found.runs[0].objective_ps == min(
        each.runs[0].objective_ps or 0 for each in alone.values()
    )
    assert found.optimum.objective_ps == min(
        each.optimum.objective_ps or 0 for each in alone.values()
    )
    own, best = found.runs[0].schedule, found.exact.schedule
    assert own is not None
    assert best is not None
    # The rank is that among the schedules in the order of the schedule that is ranked.
    ranked = found.runs[0] if found.one_segment is None else found.one_segment
    assert ranked.schedule is not None
    assert found.rank == alone[str(ranked.schedule.order)].rank
    if own.order == best.order:
        assert found.losses == alone[str(own.order)].losses
    else:
        assert f"validate with --order {own.order}" in (found.no_losses or "")


def test_decisions_are_not_compared_across_orders() -> None:
    problem = small_instance(("placed",))
    orders = ("zigzag", "blocks-1")
    best = solve(problem, "exact", SolveOptions(order=orders)).schedule
    assert best is not None
    (other,) = {*orders} - {str(best.order)}

    class Elsewhere(SequentialSolver):
        """Finds nothing in the best order."""

        name = "elsewhere"

        def run(self, instance: Instance, *rest: Any) -> None:
            if instance.package is not None and instance.package.order == other:
                super().run(instance, *rest)

    found = validate(problem, Elsewhere(), ValidationOptions(SolveOptions(order=orders), draws=100))
    assert found.losses is None
    assert f"in order {other}, the best one in {best.order}" in (found.no_losses or "")
    assert f"validate with --order {other}" in (found.no_losses or "")
    console = make_console()
    with console.capture() as capture:
        console.print(validation_view(found, problem))
    assert f"optimum: {best.order}" in capture.get()


def test_what_links_leave_open_is_said() -> None:
    instance = load_instance(str(INSTANCES / "tiny-placed" / "tiny-links.json"))
    found = validate(instance, "pipeline")
    assert found.losses is not None
    assert found.losses.open > 0
    assert found.gaps[0] is not None
    losses = found.losses.model_dump()
    parts = [losses[name] for name in ("partitions", "regions", "clusters", "segments")]
    assert sum(parts) == pytest.approx(found.gaps[0].at_least)
    assert all(part >= 0 for part in parts)
    view = make_console()
    with view.capture() as captured:
        view.print(validation_view(found, instance))
    assert "links leave open what is optimal" in captured.get()


def test_the_rank_is_that_of_one_segment(alexnet: Instance) -> None:
    found = validate(alexnet, "pipeline")
    single = solve(alexnet, "pipeline", SolveOptions(segments="single"))
    assert single.objective_ps is not None
    exact = distribution(alexnet, build_tables(alexnet), rank_of=[single.objective_ps])
    rank, place = found.rank, exact.ranks[0]
    assert rank is not None
    assert rank.latency_ps == single.objective_ps
    assert (rank.among_all.counted, rank.among_valid.counted) == (exact.schedules, exact.valid)
    assert (rank.among_valid.better, rank.among_valid.equal) == (place.better, place.equal)
    assert rank.among_valid.better_share == place.better_share
    assert rank.among_all.better_share == place.better / exact.schedules

    sampled = validate(
        alexnet, "pipeline", ValidationOptions(SolveOptions(seed=3), draws=50_000, confidence=0.999)
    ).rank
    assert sampled is not None
    assert (sampled.method, sampled.seed, sampled.confidence) == ("sampling", 3, 0.999)
    assert sampled.among_all.counted == 50_000
    assert sampled.schedules == exact.schedules
    for few, every in (
        (sampled.among_all, rank.among_all),
        (sampled.among_valid, rank.among_valid),
    ):
        assert few.better_share is not None
        assert few.better_share_at_most is not None
        assert every.better_share is not None
        assert few.better_share < few.better_share_at_most
        assert every.better_share <= few.better_share_at_most


def test_several_segments_are_run_again_as_one(alexnet: Instance) -> None:
    found = validate(alexnet, "scope", ValidationOptions(draws=1000))
    assert found.runs[0].schedule is not None
    assert len(found.runs[0].schedule.segments) > 1
    assert found.one_segment is not None
    assert found.one_segment.schedule is not None
    assert len(found.one_segment.schedule.segments) == 1
    assert found.rank is not None
    assert found.rank.latency_ps == found.one_segment.objective_ps


def test_large_spaces_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scope_opt.validation.run.DRAWS", 2000)
    instance = paper_instance("resnet18", 64)
    rank = validate(instance, "segmented").rank
    assert rank is not None
    assert (rank.method, rank.schedules) == ("sampling", None)
    assert rank.among_all.counted == rank.among_valid.counted == 2000
    assert rank.log10_schedules == pytest.approx(25.23, abs=0.005)
    assert rank.log10_valid is not None
    assert 10 ** (rank.log10_valid - rank.log10_schedules) == pytest.approx(0.00657, rel=0.01)

    monkeypatch.setattr("scope_opt.validation.run.countable", lambda *_: False)
    again = validate(instance, "segmented").rank
    assert again is not None
    assert again.among_all == rank.among_all
    assert 0 < again.among_valid.counted < 2000 * 0.03
    assert again.log10_valid is None


def test_one_run_for_each_seed() -> None:
    options = ValidationOptions(SolveOptions(seed=7, iterations=50), seeds=3, draws=10)
    found = validate(tiny(), "anneal", options)
    assert [result.options["seed"] for result in found.runs] == [7, 8, 9]
    assert len(found.gaps) == 3
    again = validate(tiny(), "anneal", options)
    assert again.gaps == found.gaps


# --- What is missing, and why --------------------------------------------------------------------


def test_where_exact_does_not_know_the_model_the_best_known_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ExactSolver, "constraints", SHAPE)
    instance = load_instance(str(INSTANCES / "tiny-placed" / "tiny-links.json"))
    best = solve(instance, "exhaustive").objective_ps
    found = validate(instance, "pipeline")
    run, gap, known = found.runs[0].objective_ps, found.gaps[0], found.optimum
    assert best is not None
    assert run is not None
    assert gap is not None
    assert known.bound_ps is not None
    assert found.exact is None
    assert (found.others[0].solver, found.others[0].objective_ps) == ("exhaustive", best)
    assert (known.kind, known.methods) == ("best", ())
    assert known.bound_ps < best
    assert known.objective_ps == min(result.objective_ps or run for result in found.others) < run
    assert gap.at_least == pytest.approx(run / known.objective_ps - 1)
    assert gap.at_most == pytest.approx(run / known.bound_ps - 1)
    assert found.rank is not None
    assert found.rank.method == "enumeration"
    assert found.rank.among_valid.better > 0
    assert found.no_losses == "its proofs do not honour placed"
    assert Validation.from_json(found.to_json(), "test") == found


def test_without_a_proof_the_gap_is_a_range() -> None:
    instance = paper_instance("vgg16", 64)
    found = validate(instance, "scope", ValidationOptions(time_limit_s=0, draws=10))
    assert found.exact is not None
    assert found.exact.status != "optimal"
    assert found.optimum.kind == "best"
    gap = found.gaps[0]
    assert gap is not None
    assert gap.at_most is not None
    assert gap.at_least == 0 < gap.at_most
    assert found.losses is None
    assert "not proved" in (found.no_losses or "")


def test_no_rank_where_one_segment_does_not_fit() -> None:
    found = validate(paper_instance("alexnet", 16), "scope")
    assert found.rank is None
    assert "the weights of segment 0 to 7" in (found.no_rank or "")
    assert found.gaps[0] is not None


def test_no_rank_where_the_solver_ignores_segments() -> None:
    found = validate(tiny(), Fixed(80, *TWO_SEGMENTS))
    assert "ignores segments 'single' and uses 2" in (found.no_rank or "")


def test_no_rank_where_segments_are_fixed() -> None:
    found = validate(tiny(fixed_segments=[0, 1]), "scope")
    assert "contradicts fixed_segments" in (found.no_rank or "")
    assert found.losses is not None


def test_nothing_without_a_schedule() -> None:
    found = validate(tiny(), Fixed(None))
    assert found.gaps == (None,)
    assert found.no_rank == "there is no schedule to rank"
    assert found.no_losses == "there is no schedule"
    assert found.optimum.objective_ps == 50


def interrupting(step: str) -> Any:
    """Stages of a validation in which Ctrl-C comes during one step."""

    def stop(monitor: Monitor) -> None:
        monitor.interrupted = True

    return lambda name: nullcontext(stop if name.startswith(step) else None)


def test_an_interrupted_enumeration_gives_no_rank(alexnet: Instance) -> None:
    found = validate(alexnet, "pipeline", stage=interrupting("every schedule"))
    assert found.no_rank == "interrupted before every schedule was enumerated"
    assert found.losses is not None


def test_an_interrupted_sample_is_a_smaller_one() -> None:
    options = ValidationOptions(draws=10**6)
    found = validate(tiny(), Fixed(80, ONE_CLUSTER), options, interrupting("a sample"))
    assert found.rank is not None
    assert 0 < found.rank.among_all.counted < 10**6


# --- Errors --------------------------------------------------------------------------------------


def test_wrong_claims_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SolverDisagreement, match="claimed 79 ps, the evaluator finds 80"):
        validate(tiny(), Fixed(79, ONE_CLUSTER))


def test_a_better_schedule_than_the_optimum_is_a_disagreement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Wrong(Fixed):
        name = "exact"
        exact = True

        def run(self, *arguments: Any) -> None:
            super().run(*arguments)
            arguments[-1].raise_bound(80)

    better = make_segment(0, [(1, 1, [ISP]), (1, 1, [ISP])])
    monkeypatch.setattr(scope_opt.solving.solver, "load_solver", lambda _: Wrong(80, ONE_CLUSTER))
    with pytest.raises(SolverDisagreement, match="'fixed' and 'exact' disagree: bound of exact"):
        validate(tiny(), Fixed(50, better))


def test_seeds_need_a_solver_that_uses_them() -> None:
    with pytest.raises(InputError, match="--seeds: found 2; solver 'scope' does not use a seed"):
        validate(tiny(), "scope", ValidationOptions(seeds=2))


def test_constraints_that_the_exact_solver_does_not_honour(alexnet: Instance) -> None:
    limits = alexnet.constraints.model_copy(update={"energy_budget_j": 1.0})
    limited = alexnet.model_copy(update={"constraints": limits})
    with pytest.raises(InputError, match="'exact' does not honour energy_budget_j"):
        validate(limited, "cp-sat", ValidationOptions(SolveOptions(time_limit_s=0)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("validate")
    tiny().save(path / "tiny.json")
    paper_instance("alexnet", 16).save(path / "alexnet.json")
    return path


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--solver", "mine"], 3, "no solver 'mine'; registered:"),
        (["--solver", "scope", "--seeds", "2"], 2, "does not use a seed"),
        (["--solver", "scope", "--seeds", "0"], 2, "--seeds"),
        (["--solver", "scope", "--samples", "0"], 2, "--samples"),
        (["--solver", "scope", "--confidence", "1"], 2, "--confidence: found 1.0; allowed between"),
        (["--solver", "scope", "--confidence", "nan"], 2, "--confidence: found nan"),
        (["--solver", "scope", "--iterations", "5"], 2, "does not use it"),
        (["--solver", "scope", "--segments", "many"], 2, "allowed: single, balanced, dp"),
        (["--solver", "scope", "--segments", "9"], 2, "allowed 1 to 2"),
        (["--solver", "scope", "--order", "all"], 2, "order"),
        ([], 2, "--solver"),
    ],
)
def test_bad_arguments(folder: Path, arguments: list[str], code: int, message: str) -> None:
    outcome = invoke("validate-heuristic", folder / "tiny.json", *arguments)
    assert outcome.exit_code == code
    assert message in outcome.stderr
    assert outcome.stdout == ""


# --- Output --------------------------------------------------------------------------------------


def test_json_output_follows_its_schema(folder: Path) -> None:
    arguments = ("validate-heuristic", folder / "tiny.json", "--solver", "scope", "--json")
    outcome = invoke(*arguments, "--samples", 500, "--seed", 4)
    assert outcome.exit_code == 0
    document = json.loads(outcome.stdout)
    schema = json.loads(invoke("schema", "validation").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema)
    found = Validation.from_json(outcome.stdout, "stdout")
    assert found.to_json() == outcome.stdout
    assert found.rank is not None
    assert (found.rank.seed, found.rank.among_all.counted) == (4, 500)


def test_show_prints_a_saved_validation_as_the_command_did(folder: Path) -> None:
    arguments = ("validate-heuristic", folder / "tiny.json", "--solver", "scope")
    printed = invoke(*arguments).stdout
    (folder / "validation.json").write_text(invoke(*arguments, "--json").stdout)
    shown = invoke("show", folder / "validation.json").stdout

    def untimed(text: str) -> list[str]:
        return [line for line in text.splitlines() if "solver" not in line]

    assert untimed(shown) == untimed(printed)
    assert "every schedule was counted: 0 better and 4 equal of 8" in shown


def test_documents_must_be_whole(folder: Path) -> None:
    text = invoke("validate-heuristic", folder / "tiny.json", "--solver", "scope", "--json").stdout
    document = json.loads(text)
    document["gaps"] = []
    document["losses"] = None
    with pytest.raises(InputError) as raised:
        Validation.from_json(json.dumps(document), "test")
    assert "gaps: 0 for 1 runs" in str(raised.value)
    assert "losses: needs either a value or a reason" in str(raised.value)


def test_the_view_says_what_is_missing(folder: Path) -> None:
    outcome = invoke("validate-heuristic", folder / "alexnet.json", "--solver", "scope")
    assert outcome.exit_code == 0
    assert "none: scope, one segment: the weights of segment 0 to 7" in outcome.stdout
    outcome = invoke(
        *("validate-heuristic", folder / "alexnet.json", "--solver", "anneal"),
        *("--seeds", 2, "--iterations", 20, "--time-limit", 0, "--samples", 10),
    )
    assert "exact did not prove it: time limit" in outcome.stdout
    assert "latency / best known - 1 to latency / lower bound - 1" in outcome.stdout
    assert "of 2 seeds" in outcome.stdout
    assert "none: the optimum is not proved" in outcome.stdout


def test_exit_code_without_a_schedule(folder: Path) -> None:
    outcome = invoke("validate-heuristic", folder / "alexnet.json", "--solver", "pipeline")
    assert outcome.exit_code == 1
    assert "there is no schedule to rank" in outcome.stdout


def test_the_view_of_an_infeasible_instance(tmp_path: Path) -> None:
    document = json.loads(paper_instance("alexnet", 16).to_json())
    document["constraints"] = {"fixed_segments": [0]}
    (tmp_path / "infeasible.json").write_text(json.dumps(document))
    outcome = invoke("validate-heuristic", tmp_path / "infeasible.json", "--solver", "scope")
    assert outcome.exit_code == 1
    assert "there is no schedule: proved by simple bound" in outcome.stdout
    assert "exceed all weight buffers" in outcome.stdout
