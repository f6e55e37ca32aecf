"""Solves so small that all they do is to load libraries and to have machine code compiled."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from scope_opt.model.generate import paper_instance
from scope_opt.model.instance import NEEDS_ENERGY, Instance
from scope_opt.solving.solver import SolveOptions, solve_next

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from scope_opt.solving.monitor import Monitor
    from scope_opt.solving.result import Result
    from scope_opt.solving.solver import Solver

LIMIT_S = 10.0
"""Most seconds of a solve, which takes milliseconds once libraries are loaded."""
ITERATIONS = 1000
SIZES = ((3, 4), (4, 128))
"""Layers and chiplets; formulations go other ways, and compile more, where there is more choice."""
NAME = "warm-up"
LOOSE = {
    "energy_budget_j": 1.0,
    "latency_bound_s": 1.0,
    "power_budget_w": 1e4,
    "dram_bytes_per_beat": 10**9,
}
"""Values of constraints that do not bind the instance."""
ROOMY_BYTES = 2**40
"""Room for activations on each chiplet that does not bind it either."""


def kinds(solver: Solver) -> list[tuple[str, ...]]:
    """Demands of instances (`Instance.demands`) that together make a solver use all of its code."""
    able = solver.constraints
    models = [(), ("placed",)] if "placed" in able else [()]
    limits = tuple(sorted(NEEDS_ENERGY & able))
    return models + [(*model, *limits) for model in models if limits]


def warm_up(
    solver: Solver,
    demands: Collection[str],
    options: SolveOptions | None = None,
    on_progress: Callable[[Monitor], None] | None = None,
) -> None:
    """Solve a small instance, so that libraries are loaded and searches compiled.

    Failures are ignored: those that matter happen again.

    Parameters
    ----------
    solver : Solver
    demands : collection of str
        Of the instances to come: the small one has their model and the kinds of their constraints
        that solvers treat in another way, but so loose that they do not bind.
    options : SolveOptions, optional
        Of the solves to come.
    on_progress : callable, optional
        Called with the monitor of each solve now and then.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C.
    """
    options = options or SolveOptions()
    segments = options.segments
    options = replace(
        options,
        time_limit_s=LIMIT_S,
        cpu_limit_s=None,
        order=None,
        segments=segments if segments is None or isinstance(segments, str) else "single",
        iterations=ITERATIONS if "iterations" in solver.options else None,
        warm_start=None,
    )
    for size in SIZES if "threads" in solver.options else SIZES[:1]:
        small = small_instance(demands, *size)
        for variant in getattr(solver, "warm_ups", (solver,)):
            with contextlib.suppress(Exception):
                found = _run(small, variant, options, on_progress)
                if "warm_start" in solver.options and found.schedule is not None:
                    again = replace(options, warm_start=found.schedule)
                    _run(small, variant, again, on_progress)


def _run(
    small: Instance,
    solver: Solver,
    options: SolveOptions,
    on_progress: Callable[[Monitor], None] | None,
) -> Result:
    result, interrupted = solve_next(small, solver, options, on_progress)
    if interrupted:
        raise KeyboardInterrupt
    return result


def small_instance(
    demands: Collection[str] = (), layers: int = SIZES[0][0], chiplets: int = SIZES[0][1]
) -> Instance:
    """First layers of AlexNet: on four chiplets milliseconds for every solver, once warm.

    With those of the given `Instance.demands` that solvers treat in another way.
    """
    nop: Literal["regressed", "placed"] = "placed" if "placed" in demands else "regressed"
    whole = paper_instance("alexnet", chiplets, samples=2, overflow="stream", nop=nop)
    content = json.loads(whole.to_json())
    network = content["network"]
    network["layers"] = network["layers"][:layers]
    network["edges"] = [edge for edge in network["edges"] if edge["to"] < layers]
    loose = {name: value for name, value in LOOSE.items() if name in demands}
    if "activation_buffer_bytes" in demands:
        content["package"]["activation_buffer_bytes"] = ROOMY_BYTES
    content |= {"name": NAME, "constraints": loose}
    return Instance.from_json(json.dumps(content), NAME)
