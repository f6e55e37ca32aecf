"""The order of positions as a decision: one solver in several orders, each pruned by the others.

In the placed model it matters how positions run through the mesh. Orders are solved one after the
other. What the best schedule so far takes is the cutoff of those that follow: a solver that makes
use of it only has to prove that they have nothing better, and whoever raises bounds is stopped once
they reach it. The bound over all orders is the least of theirs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from scope_opt.model.files import InputError
from scope_opt.model.mesh import places
from scope_opt.model.package import order_name
from scope_opt.schedule.bounds import latency_bound
from scope_opt.solving.monitor import Monitor
from scope_opt.solving.pricing import TablesStopped, build_within
from scope_opt.solving.result import PROVERS, OrderOutcome, StopReason
from scope_opt.solving.start import usable_start

if TYPE_CHECKING:
    from collections.abc import Callable

    from scope_opt.model.instance import Instance
    from scope_opt.model.package import Order, Package
    from scope_opt.model.tables import LatencyTables
    from scope_opt.schedule.schedule import Schedule
    from scope_opt.solving.result import Prover
    from scope_opt.solving.solver import OrderChoice, SolveOptions

    Run = Callable[[Instance, LatencyTables, SolveOptions, Monitor], None]


@dataclass(frozen=True)
class Tried:
    """What came of the orders."""

    best: Order | None
    """That of the best schedule; None without one."""
    outcomes: tuple[OrderOutcome, ...]
    tables_s: float
    """Wall time in seconds that the tables of all orders but the instance's own took."""


def chosen(instance: Instance, choice: OrderChoice) -> tuple[Order, ...]:
    """The orders asked for, each once; of ``all`` the instance's own is the first.

    ``all`` are those that repeat: of ``hilbert`` every position has counts of its own, so that
    `exact` takes many times as long. It can be asked for by name.

    Raises
    ------
    InputError
        Where the order does not matter, or is none of the mesh.
    """
    instance.in_order("zigzag")  # says so where the order does not matter
    package = instance.package
    assert package is not None
    if not choice:
        problem = f"found none; allowed: all, {', '.join(package.named_orders)}, hilbert"
        raise InputError("order", [problem])
    if choice != "all":
        return tuple(dict.fromkeys(_package(instance, order).order for order in choice))
    different: dict[bytes, Order] = {}
    for order in (package.order, *package.named_orders):
        positions = places(_package(instance, order))
        different.setdefault(positions.tobytes(), order)
    return tuple(different.values())


def _package(instance: Instance, order: Order) -> Package:
    found = instance.in_order(order).package
    assert found is not None
    return found


def run(
    instance: Instance,
    tables: LatencyTables,
    solve: Run,
    options: SolveOptions,
    orders: tuple[Order, ...],
    monitor: Monitor,
) -> Tried:
    """Solve in each order; schedules, bounds and what they rest on go to the monitor.

    ``solve`` runs a solver on one instance. Each order gets an equal share of the time that is left
    when its turn comes.
    """
    trials = _Trials(instance, tables, solve, options, orders, monitor)
    for index in range(len(orders)):
        trials.run(index)
    return trials.close()


class _Trials:
    """Orders with what is known of each."""

    def __init__(
        self,
        instance: Instance,
        tables: LatencyTables,
        solve: Run,
        options: SolveOptions,
        orders: tuple[Order, ...],
        monitor: Monitor,
    ) -> None:
        self._instance, self._tables = instance, tables
        self._solve, self._options = solve, options
        self._orders, self._monitor = orders, monitor
        # The simple bound does not depend on places.
        simple = latency_bound(tables) if instance.minimizes == "latency" else -math.inf
        self._bounds: list[float] = [simple] * len(orders)
        self._parts: dict[int, Monitor] = {}
        self._unpriced: dict[int, TablesStopped] = {}
        self._provers: set[Prover] = {"simple bound"} if instance.minimizes == "latency" else set()
        self._best: int | None = None
        self._tables_s = 0.0
        self._times_s = [0.0] * len(orders)

    def run(self, index: int) -> None:
        """Solve in one order, unless it cannot be better, or others are done and time is up."""
        monitor, order = self._monitor, self._orders[index]
        if (self._parts and monitor.stopping) or self._bounds[index] >= self._cutoff:
            return
        instance, tables = self._instance.in_order(order), self._tables
        if instance is not self._instance:
            began_s = monitor.elapsed_s
            try:
                tables = build_within(instance, monitor)
            except TablesStopped as stopped:
                self._unpriced[index] = stopped
                return
            finally:
                self._tables_s += monitor.elapsed_s - began_s
        left = monitor.left_s
        share_s = None if left is None else left / (len(self._orders) - index)
        part = Monitor(
            share_s,
            lambda part: self._follow(index, part),
            parent=monitor,
            rel_gap=self._options.rel_gap,
            minimizes=instance.minimizes,
            cutoff=monitor.objective,
        )
        self._parts[index] = part
        start = self._start(instance, tables, part)
        options = replace(self._options, order=None, time_limit_s=share_s, warm_start=start)
        self._solve(instance, tables, options, part)
        self._times_s[index] = part.elapsed_s
        if part.infeasible:
            self._bounds[index] = math.inf
        self._follow(index, part)
        monitor.absorb(part)

    def close(self) -> Tried:
        """Say how the orders ended."""
        monitor = self._monitor
        open_ = [k for k, bound in enumerate(self._bounds) if bound < self._cutoff]
        lines = [
            f"order {order_name(self._orders[index])}: {line}"
            for index, part in self._parts.items()
            if index in open_ or part.infeasible
            for line in part.explanation
        ]
        failures = [part.failure for part in self._parts.values() if part.failure is not None]
        for index, why in self._unpriced.items():
            if why.failure is not None:
                failures.append(why.failure)
                lines.append(f"order {order_name(self._orders[index])}: {why}")
        if min(self._bounds) == math.inf:
            monitor.prove_infeasible(lines, *self._sorted_provers())
        elif failures:
            monitor.fail(failures[0], lines)
        else:
            monitor.give_up(lines)
        early = [self._parts[index].stopped_early for index in open_ if index in self._parts]
        monitor.stopped_early |= any(early)
        return Tried(
            None if self._best is None else self._orders[self._best],
            tuple(map(self._outcome, range(len(self._orders)))),
            self._tables_s,
        )

    @property
    def _cutoff(self) -> float:
        return math.inf if self._monitor.objective is None else self._monitor.objective

    def _sorted_provers(self) -> tuple[Prover, ...]:
        return tuple(prover for prover in PROVERS if prover in self._provers)

    def _follow(self, index: int, part: Monitor) -> None:
        """Pass on what is new of an order."""
        monitor = self._monitor
        if part.objective is not None and part.objective < self._cutoff:
            assert part.segments is not None
            self._best = index
            monitor.improve(part.objective, part.segments)
        if part.bound is not None and part.bound > self._bounds[index]:
            self._bounds[index] = part.bound
        if part.proof is not None:
            self._provers.update(part.proof.by)
        least = min(self._bounds)
        if 0 <= least < math.inf:
            monitor.credit(*self._sorted_provers())
            monitor.raise_bound(int(least))
        stage = f"order {order_name(self._orders[index])}, {part.stage}".removesuffix(", ")
        monitor.report(stage, (index + part.done) / len(self._orders))

    def _start(self, instance: Instance, tables: LatencyTables, part: Monitor) -> Schedule | None:
        """The warm start in this order of positions, where it keeps the rules.

        One of another instance must keep them in the order that it is for.
        """
        given = self._options.warm_start
        if given is None:
            return None
        here = given.model_copy(update={"order": None})
        assert instance.package is not None
        assert self._instance.package is not None
        own = given.order or self._instance.package.order
        foreign = instance.package.order == own and given.instance.digest != self._instance.digest
        return usable_start(instance, tables, here, part, foreign=foreign)

    def _outcome(self, index: int) -> OrderOutcome:
        part, bound = self._parts.get(index), self._bounds[index]
        known = int(bound) if 0 <= bound < math.inf else None
        objective = None if part is None else part.objective
        energy = self._instance.minimizes == "energy"
        reason = (part or self._monitor).stop_reason
        if part.outdone if part is not None else bound >= self._cutoff:
            reason = StopReason.OUTDONE
        return OrderOutcome(
            order=self._orders[index],
            stop_reason=reason,
            objective_ps=None if energy else objective,
            bound_ps=None if energy else known,
            objective_fj=objective if energy else None,
            bound_fj=known if energy else None,
            infeasible=part is not None and part.infeasible,
            time_s=self._times_s[index],
        )
