"""Solvers behind one interface: registry, options, monitoring, and `solve`, which checks all."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from scope_opt.model import compilation
from scope_opt.model.files import InputError, write_text
from scope_opt.model.instance import PLACES
from scope_opt.model.package import Order, order_name
from scope_opt.schedule import preflight
from scope_opt.schedule.evaluate import evaluate
from scope_opt.schedule.schedule import InstanceReference, Schedule
from scope_opt.solving import fallback, orders
from scope_opt.solving.host import peak_memory_bytes
from scope_opt.solving.metrics import solver_class
from scope_opt.solving.monitor import Monitor, interruptible
from scope_opt.solving.pricing import TablesStopped, build_within
from scope_opt.solving.result import (
    EnergyBreakdown,
    OrderOutcome,
    Result,
    Status,
    Times,
    relative_gap,
    versions,
)
from scope_opt.solving.start import usable_start

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.schedule.evaluation import Evaluation

ENTRY_POINTS = "scope_opt.solvers"

OrderChoice = Literal["all"] | tuple[Order, ...]
"""Orders of positions to choose from: all that have a name and the instance's own, or these."""
SegmentChoice = Literal["single", "balanced", "dp"] | int | tuple[int, ...]
"""How segments are chosen: by a method, in exactly that number, or by their first layers."""


SCHEME = ("single_layers", "segment_choice")
"""Attributes of solvers: whether each cluster has one layer, and a method that gives the segments
chosen when asked for others."""

RANGES: Mapping[str, tuple[float, float]] = {
    "time_limit_s": (0, 10**9),
    "cpu_limit_s": (0, 10**9),
    "rel_gap": (0, 1),
    "seed": (0, 2**31 - 1),
    "iterations": (0, 10**15),
    "threads": (1, 1024),
    "memory_limit_bytes": (0, 2**50),
}
"""What options may be: what every library takes, and sums of a few still fit."""


READINGS: Mapping[str, tuple[str, ...]] = {
    "similarity": ("mean", "meeting", "widest", "ratio", "load"),
    "donor": ("fastest", "any", "best"),
}
"""Readings of the paper's search where its text leaves a choice; the first is the default."""


def reading_problem(name: str, value: str) -> str | None:
    """What is wrong with a reading, see `READINGS`; None if it is one."""
    readings = READINGS[name]
    if value in readings:
        return None
    close = difflib.get_close_matches(value, readings, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"found {value!r}; {hint}allowed: {', '.join(readings)}"


@dataclass(frozen=True)
class SolveOptions:
    """Options common to solvers.

    ``segments``: see `SegmentChoice`, None for the solver's own choice. ``order``: see
    `OrderChoice`, None for the instance's own. ``time_limit_s``: wall time after which the solver
    returns the best it has, None for no limit; ``cpu_limit_s``: the same for processor time of the
    solver's process; ``memory_limit_bytes``: what the tables may take, and how large the process of
    `scope_opt.solving.isolate.Isolated` may grow; ``rel_gap``: it stops once ``(objective - bound)
    / objective`` is at most this. The others are refused by solvers that do not list them: ``seed``
    of all randomness; ``iterations``, a budget that, unlike time, makes runs repeatable;
    ``warm_start``, a schedule to begin with (the result says that it was rejected where it breaks a
    rule or has other segments than asked for); ``threads``, 1 if None; ``encoding``, a
    variant of the formulation; ``log``, a file for the library's own log; ``similarity`` and
    ``donor``, readings of the paper's search, see `READINGS`.
    ``programs``: whether a solver that proves the placed optimum without shared links hands on to
    mathematical programs where they leave a gap.

    Raises
    ------
    InputError
        For a number outside of its range in `RANGES`, or a reading that is none of `READINGS`.
    """

    segments: SegmentChoice | None = None
    time_limit_s: float | None = None
    rel_gap: float = 0.0
    seed: int | None = None
    iterations: int | None = None
    warm_start: Schedule | None = None
    threads: int | None = None
    encoding: str | None = None
    log: Path | None = None
    order: OrderChoice | None = None
    programs: bool = True
    cpu_limit_s: float | None = None
    memory_limit_bytes: int | None = None
    similarity: str | None = None
    donor: str | None = None

    def __post_init__(self) -> None:
        for name, (least, most) in RANGES.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:  # not so for NaN either
                problem = f"found {value}; allowed {least:.10g} to {most:.10g}"
                raise InputError(f"--{name.removesuffix('_s').replace('_', '-')}", [problem])
        for name in READINGS:
            reading = getattr(self, name)
            wrong = None if reading is None else reading_problem(name, reading)
            if wrong is not None:
                raise InputError(f"--{name}", [wrong])

    def given(self) -> frozenset[str]:
        """Names of the solver-specific options that are set."""
        names = ("seed", "iterations", "warm_start", "threads", "encoding", "log", *READINGS)
        return frozenset(name for name in names if getattr(self, name) is not None)


class Solver(Protocol):
    """What a solver is; register a class without constructor arguments as an entry point.

    ``run`` reports schedules and bounds to the monitor as it finds them, looks at
    ``monitor.stopping`` often, and returns when it is done.

    A solver may have an attribute ``continued_by``, the name of the solver that goes on where
    shared links leave a gap; see `run_solver`. One whose schedules follow a scheme may have those
    of `SCHEME`, so that a schedule that is shown in its place follows it as well.
    """

    @property
    def name(self) -> str:
        """Under which it is registered."""

    @property
    def summary(self) -> str:
        """One line for `scope-opt solvers`."""

    @property
    def exact(self) -> bool:
        """Whether a completed run proves the optimum of the schedules it considers."""

    @property
    def constraints(self) -> frozenset[str]:
        """What of `Instance.demands` it honours: side constraints, places, activation buffers."""

    @property
    def options(self) -> frozenset[str]:
        """Solver-specific options (see `SolveOptions`) it uses."""

    def run(
        self,
        instance: Instance,
        tables: LatencyTables,
        options: SolveOptions,
        monitor: Monitor,
    ) -> None:
        """Search."""


class SolverUnavailable(Exception):
    """A solver that is not registered or whose library is missing."""


class SolverDisagreement(Exception):
    """A solver's claim that the evaluator contradicts."""


def solver_names() -> list[str]:
    """Names of all registered solvers."""
    return sorted({entry.name for entry in entry_points(group=ENTRY_POINTS)})


def load_solver(name: str) -> Solver:
    """Solver of that name.

    Raises
    ------
    SolverUnavailable
        Saying what is registered, or what is missing.
    """
    found = [entry for entry in entry_points(group=ENTRY_POINTS) if entry.name == name]
    if not found:
        known = solver_names()
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        listed = ", ".join(known) or "none (is the package installed?)"
        raise SolverUnavailable(f"no solver {name!r}; {hint}registered: {listed}")
    try:
        solver: Solver = found[0].load()()
    except Exception as error:  # a broken plug-in must not look like our own failure
        raise SolverUnavailable(f"solver {name!r} cannot be loaded: {error}") from error
    parts = ("name", "summary", "exact", "constraints", "options", "run")
    missing = [part for part in parts if not hasattr(solver, part)]
    if missing:
        raise SolverUnavailable(f"solver {name!r} lacks {', '.join(missing)}")
    return solver


def solve(
    instance: Instance,
    solver: str | Solver = "exact",
    options: SolveOptions | None = None,
    on_progress: Callable[[Monitor], None] | None = None,
    on_end: Callable[[LatencyTables, Monitor], None] | None = None,
) -> Result:
    """Solve an instance and have the evaluator check the answer.

    ``on_end`` gets the tables and what the solver has reported, checked: it may keep what results
    do not hold.

    Ctrl-C once stops the solver and returns the best schedule so far; twice raises
    KeyboardInterrupt.

    Raises
    ------
    InputError
        If the solver does not honour one of the instance's side constraints, or the options do
        not fit the instance.
    SolverUnavailable
        If there is no such solver.
    SolverDisagreement
        If the evaluator finds a violation or another objective; the schedule is saved.
    """
    return _solve(instance, solver, options, on_progress, on_end)[0]


def solve_next(
    instance: Instance,
    solver: str | Solver,
    options: SolveOptions | None = None,
    on_progress: Callable[[Monitor], None] | None = None,
) -> tuple[Result, bool]:
    """Solve one instance of several: as `solve`, and whether the others are to be left out.

    That is so after Ctrl-C, even if it came when the solver had its answer already.
    """
    result, monitor = _solve(instance, solver, options, on_progress, None)
    return result, monitor.interrupted


def _solve(
    instance: Instance,
    solver: str | Solver,
    options: SolveOptions | None,
    on_progress: Callable[[Monitor], None] | None,
    on_end: Callable[[LatencyTables, Monitor], None] | None,
) -> tuple[Result, Monitor]:
    options = options or SolveOptions()
    chosen = load_solver(solver) if isinstance(solver, str) else solver
    refuse_unsupported(instance, chosen, options)
    check_segments(options.segments, len(instance.layer_names))
    asked = None if options.order is None else orders.chosen(instance, options.order)
    monitor = Monitor(
        options.time_limit_s,
        on_progress,
        rel_gap=options.rel_gap,
        minimizes=instance.minimizes,
        cpu_limit_s=options.cpu_limit_s,
        memory_limit_bytes=options.memory_limit_bytes,
    )
    tables = schedule = evaluation = None
    tried: orders.Tried | None = None
    built_s = 0.0
    with interruptible(monitor), compilation.told(monitor.tell):
        try:
            tables = build_within(instance, monitor)
        except TablesStopped as stopped:
            stopped.report(monitor)
        built_s = monitor.elapsed_s
        if tables is not None:
            tried = _search(chosen, instance, tables, options, asked, monitor)
    order = None if tried is None else tried.best
    if tables is not None and monitor.stopped_early and monitor.failure is None:
        order = _fall_back(chosen, instance, tables, options, asked, monitor) or order
    solved_s = monitor.elapsed_s
    if tables is not None and monitor.segments is not None:
        reference = InstanceReference.to(instance)
        schedule = Schedule(instance=reference, order=order, segments=monitor.segments)
        evaluation = evaluate(instance, schedule, tables)
        _check(chosen.name, instance, monitor, schedule, evaluation)
    if on_end is not None and tables is not None:
        on_end(tables, monitor)
    phases = monitor.phases_s
    more_s = 0.0 if tried is None else tried.tables_s
    times = Times(
        tables=built_s + more_s,
        build=phases.get("build"),
        translate=phases.get("translate"),
        solve=solved_s - built_s - more_s - sum(phases.values()),
        total=monitor.elapsed_s,
        compile=monitor.compile_s,
    )
    outcomes = () if tried is None else tried.outcomes
    result = _result(instance, chosen.name, options, monitor, schedule, evaluation, times, outcomes)
    return result, monitor


def _search(
    solver: Solver,
    instance: Instance,
    tables: LatencyTables,
    options: SolveOptions,
    asked: tuple[Order, ...] | None,
    monitor: Monitor,
) -> orders.Tried | None:
    """Run the solver, in the orders asked for, unless a simple reason leaves no schedule."""
    preflight.refuse_power(instance, tables)
    obstacles = preflight.reasons(instance, tables)
    if obstacles:
        monitor.prove_infeasible(obstacles, "simple bound")
        return None
    if asked is None:
        given = options.warm_start
        if given is not None:
            _refuse_other_order(instance, given)
            foreign = given.instance.digest != instance.digest
            start = usable_start(instance, tables, given, monitor, foreign=foreign)
            options = replace(options, warm_start=start)
        run_solver(solver, instance, tables, options, monitor)
        return None
    return orders.run(instance, tables, partial(run_solver, solver), options, asked, monitor)


def _fall_back(
    solver: Solver,
    instance: Instance,
    tables: LatencyTables,
    options: SolveOptions,
    asked: tuple[Order, ...] | None,
    monitor: Monitor,
) -> Order | None:
    """Report what is known without a search, where the solver was stopped before it said so much.

    Returns the order of positions of the schedule, where it was to be chosen.
    """
    if monitor.infeasible:
        return None
    if monitor.bound is None:
        bound = fallback.simple_bound(instance, tables)
        if bound is not None:
            monitor.raise_bound(bound, "simple bound")
    if monitor.segments is not None:
        return None
    order = None if asked is None else asked[0]
    if order is not None and instance.package is not None and order != instance.package.order:
        instance = instance.in_order(order)
        tables = build_within(instance, Monitor())
    segments = options.segments
    if segments is None or hasattr(solver, "segment_choice"):
        segments = getattr(solver, "segment_choice", lambda choice: choice)(segments or "dp")
    single_layers = getattr(solver, "single_layers", False)
    found = fallback.simple_schedule(instance, tables, segments, single_layers=single_layers)
    if found is None:
        return None
    monitor.improve(*found)
    monitor.explanation = (*monitor.explanation, fallback.FALLBACK)
    return order


def run_solver(
    solver: Solver,
    instance: Instance,
    tables: LatencyTables,
    options: SolveOptions,
    monitor: Monitor,
) -> None:
    """Run a solver, and the one that continues it where shared links leave a gap.

    The second one starts from what the monitor knows: the best schedule, and what has been proved
    of single segments. Both are in the proof.
    """
    solver.run(instance, tables, options, monitor)
    successor = getattr(solver, "continued_by", None)
    placed = tables.placed
    # Programs count scatters between all regions, as labels do.
    linked = placed is not None and placed.shared_links and placed.scatter_fits
    if successor is None or not (options.programs and linked) or options.segments == "balanced":
        return
    objective, bound = monitor.objective, monitor.bound
    if objective is None or bound is None or bound >= objective or monitor.stopping:
        return
    explanation, monitor.explanation = monitor.explanation, ()
    try:
        given = replace(options, warm_start=None)
        load_solver(successor).run(instance, tables, given, monitor)
    except SolverUnavailable as error:
        monitor.give_up([*explanation, f"solver {successor!r} would go on, but: {error}"])
        return
    if monitor.bound == bound and not monitor.explanation:
        monitor.give_up(explanation)


def check_segments(segments: SegmentChoice | None, layers: int) -> None:
    """Raise `InputError` if a number of segments or their first layers do not fit the network."""
    if isinstance(segments, int) and not 1 <= segments <= layers:
        raise InputError("segments", [f"found {segments}; allowed 1 to {layers} (layers)"])
    if isinstance(segments, tuple):
        inside = all(0 <= first < layers for first in segments)
        if not segments or segments[0] != 0 or not inside or sorted(set(segments)) != [*segments]:
            problem = f"first layers {list(segments)} must start with 0 and increase below {layers}"
            raise InputError("segments", [problem])


_DEMANDS = {
    "placed": "nop.model: solver {} knows regions by their sizes only, not their places",
    "activation_buffer_bytes": "solver {} does not honour activation_buffer_bytes",
}
"""What solvers lack, where it is no side constraint."""


def refuse_unsupported(instance: Instance, solver: Solver, options: SolveOptions) -> None:
    """Raise `InputError` for an option or a side constraint that the solver does not honour."""
    unused = sorted(options.given() - solver.options)
    if unused:
        used = ", ".join(sorted(solver.options)) or "none"
        problems = [f"solver {solver.name!r} does not use it; it uses: {used}"]
        raise InputError(f"--{unused[0].replace('_', '-')}", problems)
    missing = sorted(instance.demands - solver.constraints)
    if missing:
        able = []
        for name in solver_names():
            try:
                if set(missing) <= load_solver(name).constraints:
                    able.append(name)
            except SolverUnavailable:
                continue
        hint = f"solvers that do: {', '.join(able)}" if able else "no registered solver does"
        problems = [
            f"{_DEMANDS.get(name, f'solver {{}} does not honour {name}')}; {hint}".format(
                repr(solver.name)
            )
            for name in missing
        ]
        raise InputError("package" if set(missing) <= PLACES else "constraints", problems)


def _refuse_other_order(instance: Instance, start: Schedule) -> None:
    """Raise `InputError` for a warm start that is for another order of positions."""
    package = instance.package
    if start.order is None or package is None or start.order == package.order:
        return
    found, own = order_name(start.order), order_name(package.order)
    problem = f"order: found {found}, but positions run in order {own}; solve with --order {found}"
    raise InputError("warm start", [problem])


def _check(
    name: str, instance: Instance, monitor: Monitor, schedule: Schedule, evaluation: Evaluation
) -> None:
    problems = [str(violation) for violation in evaluation.violations]
    energy = instance.minimizes == "energy"
    value = evaluation.energy_fj if energy else evaluation.objective_ps
    unit = "fJ" if energy else "ps"
    bound, objective = monitor.bound, monitor.objective
    if not problems and value != objective:
        problems.append(f"claimed {objective} {unit}, the evaluator finds {value} {unit}")
    if bound is not None and objective is not None and bound > objective:
        problems.append(f"bound {bound} {unit} exceeds the objective {objective} {unit}")
    if problems:
        path = Path(f"disagreement-{name}-{schedule.instance.digest[:12]}.json")
        write_text(path, schedule.to_json(), force=True)
        found = "\n  ".join(problems)
        raise SolverDisagreement(
            f"solver {name!r} and the evaluator disagree; schedule saved as {path}\n  {found}"
        )


def _result(
    instance: Instance,
    solver: str,
    options: SolveOptions,
    monitor: Monitor,
    schedule: Schedule | None,
    evaluation: Evaluation | None,
    times: Times,
    outcomes: tuple[OrderOutcome, ...],
) -> Result:
    objective, bound = monitor.objective, monitor.bound
    energy_minimized = instance.minimizes == "energy"
    if schedule is not None:
        status = Status.OPTIMAL if bound == objective else Status.FEASIBLE
    else:
        status = Status.INFEASIBLE if monitor.infeasible else Status.UNKNOWN
    energy = evaluation.energy if evaluation is not None else None
    segments = options.segments
    found = Result(
        instance=InstanceReference.to(instance),
        solver=solver,
        options={
            "segments": list(segments) if isinstance(segments, tuple) else segments,
            "time_limit_s": options.time_limit_s,
            **({} if options.cpu_limit_s is None else {"cpu_limit_s": options.cpu_limit_s}),
            **(
                {}
                if options.memory_limit_bytes is None
                else {"memory_limit_bytes": options.memory_limit_bytes}
            ),
            **({"rel_gap": options.rel_gap} if options.rel_gap else {}),
            **({} if options.order is None else {"order": _plain(options.order)}),
            **({} if options.programs else {"programs": False}),
            **{name: _recorded(getattr(options, name)) for name in sorted(options.given())},
        },
        status=status,
        stop_reason=monitor.stop_reason,
        explanation=() if status is Status.OPTIMAL else monitor.explanation,
        objective_ps=None if energy_minimized else objective,
        bound_ps=None if energy_minimized else bound,
        objective_fj=objective if energy_minimized else None,
        bound_fj=bound if energy_minimized else None,
        gap=relative_gap(objective, bound),
        latency_s=evaluation.latency_s if evaluation is not None else None,
        throughput_per_s=evaluation.throughput_per_s if evaluation is not None else None,
        utilization=evaluation.utilization if evaluation is not None else None,
        energy_j=None
        if energy is None
        else EnergyBreakdown(
            mac=energy.mac_j,
            sram=energy.sram_j,
            nop=energy.nop_j,
            dram=energy.dram_j,
            total=energy.total_j,
        ),
        times_s=times,
        peak_memory_bytes=monitor.peak_memory_bytes or peak_memory_bytes(),
        model=monitor.model,
        proof=monitor.proof,
        warm_start=monitor.start_verdict,
        orders=outcomes,
        trajectory=tuple(monitor.trajectory),
        schedule=schedule,
        versions=versions(),
    )
    return found.model_copy(update={"solver_class": solver_class(found)})


def _plain(choice: OrderChoice) -> Any:
    """A choice of orders as JSON has it."""
    return json.loads(json.dumps(choice))


def _recorded(value: int | str | Path | Schedule) -> int | str | dict[str, str]:
    """An option as results keep it: a warm start by its content's digest."""
    if isinstance(value, Schedule):
        return {"sha256": value.content_digest()}
    return str(value) if isinstance(value, Path) else value
