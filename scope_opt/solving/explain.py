"""Which demands of an instance contradict each other: a smallest set, found by relaxing the rest.

Demands are the side constraints, the segments asked for, and that weights must fit on chip. They
are dropped one after another; what can go while the instance stays infeasible is not to blame
(the deletion filter of Chinneck and Dravnieks, 1991).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from scope_opt.schedule import preflight
from scope_opt.solving.isolate import Isolated
from scope_opt.solving.monitor import Monitor, interruptible
from scope_opt.solving.pricing import TablesStopped, build_within
from scope_opt.solving.result import Status
from scope_opt.solving.solver import SolveOptions, load_solver, solve_next

if TYPE_CHECKING:
    from collections.abc import Callable

    from scope_opt.model.instance import Instance
    from scope_opt.solving.solver import SegmentChoice

SOLVERS = ("exact", "cp-sat")
"""What decides whether a relaxed instance has a schedule: the first that honours its demands."""
TRIAL_S = 10.0
"""Time limit of a decision; without one the demand is kept."""
START_S = 20.0
"""More for a decision that is a process of its own: its start counts, on a busy machine, too."""


class _Ended(Exception):
    pass


def conflict(
    instance: Instance,
    segments: SegmentChoice | None = None,
    on_progress: Callable[[Monitor], None] | None = None,
    time_limit_s: float | None = None,
    memory_limit_bytes: int | None = None,
) -> list[str]:
    """Demands that leave no schedule together, in one sentence.

    Parameters
    ----------
    instance : Instance
        Without a schedule for these segments, as some solver found.
    segments : SegmentChoice, optional
        As in `SolveOptions`.
    time_limit_s : float, optional
        Of all decisions together.
    memory_limit_bytes : int, optional
        As in `SolveOptions`; each decision then is a process of its own. A demand whose decision is
        ended by it is kept.

    Returns
    -------
    list of str
        Empty if a simple reason is known (`preflight`), if it is not the instance but
        the scheme of a solver that leaves no schedule, or if Ctrl-C or a limit ended the search.
    """
    clock = Monitor(time_limit_s, on_progress, memory_limit_bytes=memory_limit_bytes)
    reasons: list[str] | None = None
    with suppress(TablesStopped), interruptible(clock):
        reasons = preflight.reasons(instance, build_within(instance, clock))
    if reasons is None or reasons:
        return []

    def feasible(demands: list[str]) -> bool | None:
        left_s = clock.left_s
        trial_s = TRIAL_S if memory_limit_bytes is None else TRIAL_S + START_S
        limit_s = trial_s if left_s is None else min(trial_s, left_s)
        if limit_s <= 0:
            raise _Ended
        limits = limit_s, memory_limit_bytes
        return _feasible(instance, segments, demands, limits, on_progress)

    demands = sorted(instance.constraints.active())
    demands += ["segments"] if segments is not None else []
    demands += ["overflow"] if instance.overflow == "forbid" else []
    needed, doubtful = list(demands), False
    try:
        if feasible(demands) is not False:
            return []
        for demand in demands:
            rest = [other for other in needed if other != demand]
            found = feasible(rest)
            if found is False:
                needed = rest
            doubtful = doubtful or found is None
    except _Ended:
        return []
    texts = ", ".join(_text(instance, segments, demand) for demand in needed)
    if len(needed) == 1:
        without = "it may have one" if doubtful else "it has one"
        return [f"{texts} leaves no schedule; without it, {without}"]
    rest_is = "some of them may not matter" if doubtful else "without any one of them there is one"
    return [f"together, these leave no schedule: {texts}; {rest_is}"]


def _feasible(
    instance: Instance,
    segments: SegmentChoice | None,
    demands: list[str],
    limits: tuple[float, int | None],
    on_progress: Callable[[Monitor], None] | None,
) -> bool | None:
    """Whether there is a schedule under these demands only; None if that is not found out."""
    dropped = instance.constraints.active() - set(demands)
    constraints = instance.constraints.model_copy(update=dict.fromkeys(dropped))
    overflow = "forbid" if "overflow" in demands else "stream"
    relaxed = instance.model_copy(update={"constraints": constraints, "overflow": overflow})
    for name in SOLVERS:
        solver = load_solver(name)
        if constraints.active() <= solver.constraints:
            break
    time_limit_s, memory_limit_bytes = limits
    if memory_limit_bytes is not None:
        solver = Isolated(solver)
    options = SolveOptions(
        segments=segments if "segments" in demands else None,
        time_limit_s=time_limit_s,
        memory_limit_bytes=memory_limit_bytes,
        rel_gap=1.0,  # any schedule will do
    )
    result, interrupted = solve_next(relaxed, solver, options, on_progress)
    if interrupted:
        raise _Ended
    if result.schedule is not None:
        return True
    return False if result.status is Status.INFEASIBLE else None


def _text(instance: Instance, segments: SegmentChoice | None, demand: str) -> str:
    if demand == "segments":
        return f"segments {list(segments) if isinstance(segments, tuple) else segments}"
    if demand == "overflow":
        return "overflow 'forbid'"
    value = instance.constraints.model_dump(exclude_none=True)[demand]
    value = list(value) if isinstance(value, tuple) else value
    return f"{demand} = {value}"
