"""Validation of a heuristic: gap to the proved optimum, rank, and what each decision loses.

Where the exact solver does not honour an instance, the best schedule known takes the place of the
optimum.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from scope_opt.cost.build import build_tables
from scope_opt.model.files import MAX_INT, InputError
from scope_opt.model.instance import PLACES
from scope_opt.model.package import order_name
from scope_opt.schedule.bounds import latency_bound
from scope_opt.schedule.count import space_size
from scope_opt.search.census.distribution import distribution, refuse_other_constraints
from scope_opt.search.census.sampling import Sample, sample, share_at_most
from scope_opt.search.census.valid_sampling import ValidSampler, countable
from scope_opt.search.exact.attribution import attribute
from scope_opt.search.stopping import SearchStopped
from scope_opt.solving import metrics
from scope_opt.solving.monitor import Monitor, interruptible
from scope_opt.solving.result import StopReason
from scope_opt.solving.solver import (
    SolveOptions,
    SolverDisagreement,
    load_solver,
    refuse_unsupported,
    solve,
)
from scope_opt.validation.document import Gap, KnownOptimum, Losses, Place, Rank, Validation

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.search.census import distribution as distributions
    from scope_opt.solving.result import Result
    from scope_opt.solving.solver import Solver

    OnProgress = Callable[[Monitor], None] | None
    Stage = Callable[[str], AbstractContextManager[OnProgress]]

EXACT, EXHAUSTIVE, ANNEAL = "exact", "exhaustive", "anneal"
DRAWS = 200_000
"""Schedules drawn where there are too many to enumerate."""


class _NotDone(Exception):
    """Why a part of a validation is missing."""


@dataclass(frozen=True)
class ValidationOptions:
    """How to validate.

    ``solver``: options of the heuristic; its seed, 0 by default, is the first of ``seeds``, and its
    choice of orders is that of all solvers.
    ``time_limit_s`` is that of the exact solver, and of the attribution. ``draws`` is the number of
    schedules to draw from all, and from the valid ones; by default they are enumerated, and only
    drawn if there are too many. They are drawn with the first seed as well.
    """

    solver: SolveOptions = field(default_factory=SolveOptions)
    seeds: int = 1
    time_limit_s: float | None = None
    draws: int | None = None
    confidence: float = 0.95

    @property
    def seed(self) -> int:
        """First seed."""
        return self.solver.seed or 0


def validate(
    instance: Instance,
    solver: str | Solver,
    options: ValidationOptions | None = None,
    stage: Stage = lambda _: nullcontext(None),
) -> Validation:
    """Run a heuristic and say how good its schedule is.

    Ctrl-C ends the step at hand with what it has, as in `solve`; twice raises KeyboardInterrupt.

    Parameters
    ----------
    instance : Instance
    solver : str or Solver
        Registered name, or the solver itself.
    options : ValidationOptions, optional
    stage : callable
        Gives for the name of each step a context with a callback for its progress.

    Raises
    ------
    InputError
        If the heuristic or the exact solver does not honour a side constraint or an option.
    SolverUnavailable
        If there is no such solver.
    SolverDisagreement
        If a claim of a solver contradicts the evaluator or the other solver.
    """
    options = options or ValidationOptions()
    heuristic = load_solver(solver) if isinstance(solver, str) else solver
    reference = SolveOptions(time_limit_s=options.time_limit_s, order=options.solver.order)
    provable = _provable(instance)
    if provable:
        refuse_unsupported(instance, load_solver(EXACT), reference)  # before the long run
    runs = _runs(instance, heuristic, options, stage)
    exact, others = None, []
    if provable:
        with stage(EXACT) as on_progress:
            exact = solve(instance, EXACT, reference, on_progress)
    else:
        others = _others(instance, heuristic, options, stage)
    found = [*runs, *others] if exact is None else [*runs, exact]
    try:
        # All chose among the same orders, if any: that is one question here.
        known = metrics.reference([run.model_copy(update={"orders": ()}) for run in found])
    except ValueError as error:
        names = " and ".join(repr(name) for name in dict.fromkeys(run.solver for run in found))
        raise SolverDisagreement(f"solvers {names} disagree: {error}") from None
    tables = build_tables(instance)
    if exact is None:
        known = replace(known, bound=max(known.bound or 0, latency_bound(tables)))
    one_segment = rank = no_rank = losses = no_losses = None
    try:
        ranked = _one_segment(instance, heuristic, options, runs[0], stage)
        one_segment = None if ranked is runs[0] else ranked
        there = _in_its_order(instance, tables, ranked)
        rank = _rank(*there, ranked, options, stage)
    except _NotDone as reason:
        no_rank = str(reason)
    try:
        there = _in_its_order(instance, tables, runs[0])
        losses = _losses(*there, runs[0], exact, known, options, stage)
    except _NotDone as reason:
        no_losses = str(reason)
    return Validation(
        instance=runs[0].instance,
        solver=heuristic.name,
        runs=tuple(runs),
        exact=exact,
        others=tuple(others),
        optimum=KnownOptimum(
            objective_ps=known.objective,
            bound_ps=known.bound,
            kind=known.kind,
            methods=known.methods,
        ),
        gaps=tuple(_gap(run, known) for run in runs),
        one_segment=one_segment,
        rank=rank,
        no_rank=no_rank,
        losses=losses,
        no_losses=no_losses,
    )


def _in_its_order(
    instance: Instance, tables: LatencyTables, run: Result
) -> tuple[Instance, LatencyTables]:
    """The instance with positions in the order of the schedule that was found, and its tables."""
    order = None if run.schedule is None else run.schedule.order
    if order is None:
        return instance, tables
    there = instance.in_order(order)
    return there, build_tables(there)


def _runs(
    instance: Instance, heuristic: Solver, options: ValidationOptions, stage: Stage
) -> list[Result]:
    """One run for each seed; a single one without a seed if the solver has no use for it."""
    if "seed" not in heuristic.options:
        if options.seeds > 1:
            problem = f"found {options.seeds}; solver {heuristic.name!r} does not use a seed"
            raise InputError("--seeds", [problem])
        seeds: list[int | None] = [None]
    else:
        seeds = [options.seed + index for index in range(options.seeds)]
    runs = []
    for seed in seeds:
        name = heuristic.name if len(seeds) == 1 else f"{heuristic.name}, seed {seed}"
        with stage(name) as on_progress:
            chosen = replace(options.solver, seed=seed)
            runs.append(solve(instance, heuristic, chosen, on_progress))
    return runs


def _provable(instance: Instance) -> bool:
    """Whether the exact solver can be asked, if only to say which side constraint it refuses."""
    missing = instance.demands - load_solver(EXACT).constraints
    return not missing or not missing <= PLACES


def _others(
    instance: Instance, heuristic: Solver, options: ValidationOptions, stage: Stage
) -> list[Result]:
    """Runs that make the best known schedule better, of solvers that honour the instance.

    One is enumeration, if the schedules of one segment are few enough. It proves the optimum of
    these only.
    """
    chosen = {
        EXHAUSTIVE: SolveOptions(segments="single"),
        ANNEAL: SolveOptions(seed=options.seed),
    }
    limit_s, order = options.time_limit_s, options.solver.order
    found = []
    for name, given in chosen.items():
        if name == heuristic.name or not instance.demands <= load_solver(name).constraints:
            continue
        try:
            with stage(name) as on_progress:
                limited = replace(given, time_limit_s=limit_s, order=order)
                found.append(solve(instance, name, limited, on_progress))
        except InputError:
            continue  # too many schedules to enumerate
    return found


def _gap(run: Result, known: metrics.Reference) -> Gap | None:
    if run.objective_ps is None:
        return None
    low, high = metrics.gap_bracket(run.objective_ps, known)
    return Gap(at_least=low, at_most=high)


# --- Rank ----------------------------------------------------------------------------------------


def _one_segment(
    instance: Instance,
    heuristic: Solver,
    options: ValidationOptions,
    run: Result,
    stage: Stage,
) -> Result:
    """The run if its schedule has one segment, else another one that has to have one."""
    if run.schedule is None:
        raise _NotDone("there is no schedule to rank")
    if len(run.schedule.segments) == 1:
        return run
    name = f"{heuristic.name}, one segment"
    single = replace(options.solver, seed=run.options.get("seed"), segments="single")
    try:
        with stage(name) as on_progress:
            ranked = solve(instance, heuristic, single, on_progress)
    except InputError as error:
        raise _NotDone(f"{name}: {error}") from None
    if ranked.schedule is None:
        reason = "; ".join(ranked.explanation) or f"no schedule found ({ranked.stop_reason})"
        raise _NotDone(f"{name}: {reason}")
    if len(ranked.schedule.segments) > 1:
        found = len(ranked.schedule.segments)
        raise _NotDone(f"{name}: the solver ignores segments 'single' and uses {found}")
    return ranked


def _rank(
    instance: Instance,
    tables: LatencyTables,
    ranked: Result,
    options: ValidationOptions,
    stage: Stage,
) -> Rank:
    """Exact rank if the schedules can be enumerated and no sample was asked for."""
    latency_ps = ranked.objective_ps
    assert latency_ps is not None  # it has a schedule
    try:
        refuse_other_constraints(instance)
    except InputError as error:
        raise _NotDone(str(error)) from None
    if options.draws is None:
        try:
            with stage("every schedule of one segment") as on_progress:
                return _enumerated(instance, tables, latency_ps, on_progress)
        except InputError:
            pass  # too many
    return _sampled(instance, tables, latency_ps, options, stage)


def _enumerated(
    instance: Instance, tables: LatencyTables, latency_ps: int, on_progress: OnProgress
) -> Rank:
    monitor = Monitor(on_progress=on_progress)
    try:
        with interruptible(monitor):
            found = distribution(instance, tables, monitor=monitor, rank_of=[latency_ps])
    except SearchStopped:
        raise _NotDone("interrupted before every schedule was enumerated") from None
    (place,) = found.ranks
    return Rank(
        method="enumeration",
        latency_ps=latency_ps,
        **_size(tables, found.valid),
        seed=None,
        confidence=None,
        among_all=_place(place, found.schedules, None),
        among_valid=_place(place, found.valid, None),
    )


def _sampled(
    instance: Instance,
    tables: LatencyTables,
    latency_ps: int,
    options: ValidationOptions,
    stage: Stage,
) -> Rank:
    draws = options.draws or DRAWS

    def run(step: str, draw: Callable[..., Sample]) -> Sample:
        with stage(step) as on_progress:
            monitor = Monitor(on_progress=on_progress)
            with interruptible(monitor):
                return draw(latency_ps, draws, options.seed, monitor)

    try:
        every = run("a sample of all schedules", partial(sample, instance, tables))
        if countable(instance.constraints, tables.layers, tables.chiplets):
            sampler = ValidSampler(instance, tables)
            valid, number = run("a sample of the valid schedules", sampler.sample), sampler.number
        else:
            valid, number = replace(every, drawn=every.valid), None
    except SearchStopped:
        raise _NotDone("interrupted before a schedule was drawn") from None
    return Rank(
        method="sampling",
        latency_ps=latency_ps,
        **_size(tables, number),
        seed=options.seed,
        confidence=options.confidence,
        among_all=_place(every, every.drawn, options.confidence),
        among_valid=_place(valid, valid.drawn, options.confidence),
    )


def _size(tables: LatencyTables, valid: float | None) -> dict[str, Any]:
    """Fields of a `Rank` about the space."""
    schedules = space_size(tables.layers, tables.chiplets)
    return {
        "schedules": schedules if schedules <= MAX_INT else None,
        "log10_schedules": math.log10(schedules),
        "log10_valid": math.log10(valid) if valid else None,
    }


def _place(found: Sample | distributions.Rank, counted: int, confidence: float | None) -> Place:
    """Place among ``counted`` schedules, all there are without a ``confidence``."""
    share = found.better / counted if counted else None
    return Place(
        counted=counted,
        better=found.better,
        equal=found.equal,
        better_share=share,
        better_share_at_most=share
        if confidence is None
        else share_at_most(found.better, counted, confidence),
    )


# --- Attribution ---------------------------------------------------------------------------------


def _losses(
    instance: Instance,
    tables: LatencyTables,
    run: Result,
    exact: Result | None,
    known: metrics.Reference,
    options: ValidationOptions,
    stage: Stage,
) -> Losses:
    if run.schedule is None:
        raise _NotDone("there is no schedule")
    missing = sorted(instance.demands - load_solver(EXACT).constraints)
    if missing:
        raise _NotDone(f"its proofs do not honour {', '.join(missing)}")
    # A completed run leaves nothing open but what links cost.
    settled = exact is not None and exact.stop_reason is StopReason.COMPLETED
    if not (known.proved or settled) or known.objective is None:
        raise _NotDone("the optimum is not proved; give the exact solver more time")
    best = None if exact is None or exact.schedule is None else exact.schedule.order
    if best is not None and best != run.schedule.order:
        own, other = order_name(run.schedule.order or "zigzag"), order_name(best)
        raise _NotDone(
            f"its schedule is in order {own}, the best one in {other}, and decisions are compared "
            f"in one order; validate with --order {own}"
        )
    try:
        with stage("what each decision loses") as on_progress:
            monitor = Monitor(options.time_limit_s, on_progress)
            with interruptible(monitor):
                found = attribute(
                    instance, tables, run.schedule, known.objective, monitor, known.bound
                )
    except SearchStopped:
        limit = "interrupted" if monitor.interrupted else "stopped at the time limit"
        raise _NotDone(f"{limit} before it was done") from None
    return Losses(**found.losses(), transition=found.transition_loss, open=found.open_share)
