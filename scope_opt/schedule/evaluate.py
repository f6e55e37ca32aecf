"""The independent evaluator: is a schedule valid, how long does it take, and why.

It reads like the problem statement (docs/model.md) and shares no code with any solver. Equation and
table numbers are those of the Scope paper (arXiv 2602.14393). Times and energies are plain Python
integers (ps, fJ) up to the conversion to seconds and joules at the very end.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from scope_opt.cost.build import build_tables
from scope_opt.cost.dram import dram_traffic
from scope_opt.schedule.evaluation import Evaluation
from scope_opt.schedule.pipeline import EnergyFj, Pipeline, costs_of, placed_costs, utilization
from scope_opt.schedule.rules import Violation, fixed_starts, shape, structure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.schedule.evaluation import LinkReport, SegmentReport
    from scope_opt.schedule.pipeline import Costs
    from scope_opt.schedule.schedule import Schedule, Segment


def evaluate(
    instance: Instance, schedule: Schedule, tables: LatencyTables | None = None
) -> Evaluation:
    """Check a schedule against every rule and break down its latency and energy.

    Parameters
    ----------
    instance : Instance
        The problem. Whether the schedule was made for it (its digest) is the caller's to check.
    schedule : Schedule
        Nothing is assumed about it.
    tables : LatencyTables, optional
        The instance's tables where they are at hand; built otherwise, and where the schedule has
        another order of positions.

    Raises
    ------
    InputError
        If a time or an energy of the instance overflows int64, or the instance cannot have the
        schedule's order of positions.
    """
    instance, tables = _as_ordered(instance, schedule, tables)
    layers = len(instance.layer_names)
    violations = tuple(structure(schedule.segments, (0, layers - 1), instance.chiplets))
    if violations:
        return Evaluation(violations)
    t = build_tables(instance) if tables is None else tables
    pipelines = [Pipeline(instance, t, segment) for segment in schedule.segments]
    costs = costs_of(instance, t)
    segments = tuple(pipeline.report(costs) for pipeline in pipelines)
    energy = _energy(t, pipelines, costs)
    objective_ps = sum(segment.latency_ps for segment in segments)
    violations = (
        *(
            found
            for s, segment in enumerate(schedule.segments)
            for found in _own(instance, s, segment, pipelines[s])
        ),
        *fixed_starts(instance, schedule.segments),
        *_totals(instance, objective_ps, energy),
    )
    if violations:
        return Evaluation(violations, segments=segments)
    latency_s = objective_ps / 10**12
    placed_ps = None if t.placed is not None else _placed_ps(instance, t, schedule)
    return Evaluation(
        violations=(),
        objective_ps=objective_ps,
        latency_s=latency_s,
        throughput_per_s=instance.samples / latency_s if objective_ps else None,
        utilization=utilization(instance, sum(map(int, t.load)), objective_ps),
        energy=energy.report() if energy is not None else None,
        energy_fj=sum(energy) if energy is not None else None,
        placed_latency_ps=placed_ps,
        segments=segments,
    )


def evaluate_structure(schedule: Schedule) -> Evaluation:
    """What can be said about a schedule whose instance is not at hand: whether it is one at all."""
    last_layer = schedule.segments[-1].last_layer
    return Evaluation(tuple(structure(schedule.segments, (0, last_layer), None)))


def evaluate_segment(
    instance: Instance, segment: Segment, tables: LatencyTables
) -> SegmentReport | None:
    """The same for one segment, whatever the others are; None if it breaks a rule of its own."""
    ends = (segment.first_layer, segment.last_layer)
    if any(structure((segment,), ends, instance.chiplets)):
        return None
    pipeline = Pipeline(instance, tables, segment)
    broken = any(_own(instance, 0, segment, pipeline))
    return None if broken else pipeline.report(costs_of(instance, tables))


def link_loads(
    instance: Instance, schedule: Schedule, tables: LatencyTables | None = None
) -> tuple[tuple[LinkReport, ...], ...]:
    """What every segment puts on every link of the mesh, idle links included.

    Parameters
    ----------
    instance, schedule : Instance, Schedule
        The schedule has segments that `evaluate` reports on.
    tables : LatencyTables, optional
        The instance's tables where they are at hand; built otherwise.

    Returns
    -------
    tuple of tuple of LinkReport
        For each segment its links, in the order of `scope_opt.model.mesh.links`; nothing for a
        segment that moves nothing over links, and in the regressed model.
    """
    instance, tables = _as_ordered(instance, schedule, tables)
    t = build_tables(instance) if tables is None else tables
    links = costs_of(instance, t).links
    if links is None:
        return tuple(() for _ in schedule.segments)
    return tuple(Pipeline(instance, t, segment).links(links) for segment in schedule.segments)


def _as_ordered(
    instance: Instance, schedule: Schedule, tables: LatencyTables | None
) -> tuple[Instance, LatencyTables | None]:
    """The instance in the schedule's order of positions; without tables of another order."""
    ordered = schedule.ordered(instance)
    return ordered, tables if ordered is instance else None


_AS_PLACED: WeakKeyDictionary[LatencyTables, LatencyTables] = WeakKeyDictionary()
"""Tables of the regressed model with the DRAM traffic of the placed one."""


def _placed_ps(instance: Instance, t: LatencyTables, schedule: Schedule) -> int | None:
    """What a schedule of the regressed model takes in the placed one; all else is the same."""
    network, package = instance.network, instance.package
    if network is None or package is None:
        return None
    tables = _AS_PLACED.get(t)
    if tables is None:
        traffic = dram_traffic(network, package.dram, once=True)
        tables = _AS_PLACED[t] = replace(
            t,
            read_ps=traffic.read_ps,
            write_ps=traffic.write_ps,
            segment_dram_ps=traffic.segment_ps,
            energy=None if t.energy is None else replace(t.energy, traffic_bytes=traffic.bytes),
        )
    costs = placed_costs(network, package)
    pipelines = (Pipeline(instance, tables, segment) for segment in schedule.segments)
    return sum(pipeline.report(costs).latency_ps for pipeline in pipelines)


def _own(instance: Instance, s: int, segment: Segment, pipeline: Pipeline) -> Iterator[Violation]:
    """Rules that a segment keeps or breaks by itself."""
    yield from pipeline.buffers(s)
    yield from pipeline.activations(s)
    yield from shape(instance, s, segment)
    yield from pipeline.traffic(s)


def _totals(instance: Instance, latency_ps: int, energy: EnergyFj | None) -> Iterator[Violation]:
    """Limits on energy and latency; decimal numbers count as they are written."""
    wanted = instance.constraints
    budget_j, bound_s = wanted.energy_budget_j, wanted.latency_bound_s
    if budget_j and energy and sum(energy) > Fraction(str(budget_j)) * 10**15:
        message = f"{sum(energy) / 10**15} J; allowed up to {budget_j} J"
        yield Violation("energy-budget", "schedule", message)
    if bound_s and latency_ps > Fraction(str(bound_s)) * 10**12:
        message = f"{latency_ps / 10**12} s; allowed up to {bound_s} s"
        yield Violation("latency-bound", "schedule", message)


def _energy(tables: LatencyTables, pipelines: list[Pipeline], costs: Costs) -> EnergyFj | None:
    """Of all samples; weights are fetched once per batch."""
    if tables.energy is None:
        return None
    weights_fj = sum(map(int, tables.weight_bytes)) * tables.energy.dram_fj_per_byte
    parts = [pipeline.sample_energy(tables.energy, costs.energies) for pipeline in pipelines]
    mac, sram, nop, dram = (tables.samples * sum(part) for part in zip(*parts, strict=True))
    return EnergyFj(mac, sram, nop, dram + weights_fj)
