"""What tests of many parts do: read documents, solve and judge them, run commands."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import oracle
from typer.testing import CliRunner

from scope_opt.cli import app
from scope_opt.model.instance import Instance
from scope_opt.schedule.evaluate import evaluate
from scope_opt.schedule.schedule import InstanceReference, Schedule
from scope_opt.solving.result import Result, Status, StopReason
from scope_opt.solving.solver import SegmentChoice, SolveOptions, Solver, solve

if TYPE_CHECKING:
    from collections.abc import Callable

    from documents import Json
    from typer.testing import Result as Outcome

    from scope_opt.model.files import Document
    from scope_opt.schedule.evaluation import Evaluation

# --- Reading -------------------------------------------------------------------------------------


def read(document: Json) -> Instance:
    return Instance.from_json(json.dumps(document), "test")


def read_schedule(instance: Instance, document: Json) -> Schedule:
    """A schedule for this instance, whichever it names or if it names none."""
    reference = InstanceReference.to(instance).model_dump()
    return Schedule.from_json(json.dumps({**document, "instance": reference}), "test")


def plain(document: Document) -> Json:
    """What the file of a document holds."""
    found: Json = json.loads(document.to_json())
    return found


# --- Answers -------------------------------------------------------------------------------------


def judge(document: Json, schedule: Json) -> Evaluation:
    """What the evaluator says of a schedule."""
    instance = read(document)
    return evaluate(instance, read_schedule(instance, schedule))


def solve_with(
    solver: str | Solver, document: Json, segments: SegmentChoice | None = None, **options: Any
) -> Result:
    return solve(read(document), solver, SolveOptions(segments=segments, **options))


def exactly(_objective: int) -> float:
    """No gap."""
    return 0.0


def agree(
    document: Json,
    result: Result,
    best: tuple[Json, int] | None,
    open_gap: Callable[[int], float] = exactly,
) -> None:
    """A completed run's result is that of exhaustive search, as `oracle.best` returns it.

    ``open_gap``: by how much the bound may be below an objective, for the rounding of floats.
    """
    assert result.stop_reason is StopReason.COMPLETED
    if best is None:
        assert result.status is Status.INFEASIBLE
        assert result.explanation
        return
    energy = "latency_bound_s" in document.get("constraints", {})
    objective = result.objective_fj if energy else result.objective_ps
    bound = result.bound_fj if energy else result.bound_ps
    assert objective is not None
    assert bound is not None
    assert bound <= best[1] <= objective
    assert objective - bound <= open_gap(objective)
    assert (result.status is Status.OPTIMAL) == (objective == bound)
    assert result.schedule is not None
    schedule = plain(result.schedule)
    assert not oracle.violations(document, schedule)
    found = oracle.energy_fj_total if energy else oracle.objective_ps
    assert found(document, schedule) == objective


# --- Commands ------------------------------------------------------------------------------------


def invoke(*arguments: object, stdin: bytes | None = None) -> Outcome:
    """Run one command; an exception that is no exit is a test failure."""
    outcome = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
    if outcome.exception is not None and not isinstance(outcome.exception, SystemExit):
        raise outcome.exception
    return outcome
