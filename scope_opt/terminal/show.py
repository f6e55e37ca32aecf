"""Instances, results and comparisons as text for the terminal."""

from __future__ import annotations

import os
import shutil
import sys
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from rich import box
from rich.console import Console, Group
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from scope_opt.cost.build import build_tables
from scope_opt.cost.dram import dram_s, efficiency
from scope_opt.model import units
from scope_opt.model.instance import Constraints
from scope_opt.model.package import order_name
from scope_opt.schedule.bounds import latency_bound
from scope_opt.solving.metrics import (
    CLASS_NAMES,
    CLASSES,
    library_work,
    provers,
    solver_class,
)
from scope_opt.solving.result import Status, StopReason
from scope_opt.solving.solver import SolverUnavailable, load_solver, solver_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

    from scope_opt.model.instance import Instance
    from scope_opt.model.package import Package
    from scope_opt.schedule.evaluation import Evaluation
    from scope_opt.schedule.schedule import Schedule
    from scope_opt.search.census.distribution import Distribution
    from scope_opt.solving.result import EnergyBreakdown, ModelSize, Result

    Fact = tuple[str, str | Text, str]
    """Name, value and remark."""

PIPED_WIDTH = 160
"""Columns where the output is no terminal: wide enough for every table."""

TITLE, DIM, GOOD, BAD = "bold", "dim", "green", "bold red"
_STATUS_STYLE = {Status.OPTIMAL: GOOD, Status.FEASIBLE: GOOD}


def make_console(*, stderr: bool = False) -> Console:
    """Console that takes text literally and does not cut tables short in a pipe."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PIPED_WIDTH
    if width is None and os.environ.get("NO_COLOR"):
        width = shutil.get_terminal_size().columns  # rich takes 80 where it may not style
    return Console(stderr=stderr, width=width, markup=False, highlight=False, emoji=False)


# --- Parts ---------------------------------------------------------------------------------------


class Columns:
    """A table that leaves out its least important columns where the terminal is too narrow.

    Parameters
    ----------
    columns : sequence of (header, alignment, rank)
        ``rank`` 0 stays; the highest rank goes first.
    """

    def __init__(self, columns: Sequence[tuple[str, str, int]]) -> None:
        self._columns = columns
        self._rows: list[tuple[Text | str, ...]] = []
        self._sections: set[int] = set()

    def add(self, *cells: Text | str) -> None:
        """Append a row; missing cells are empty."""
        self._rows.append(cells)

    def end_section(self) -> None:
        """Draw a line below the last row."""
        self._sections.add(len(self._rows))

    def fit(self, console: Console) -> RenderableType:
        """The table, with a line that names the columns left out."""
        shown = list(range(len(self._columns)))
        left_out: list[str] = []
        while True:
            table = self._table(shown)
            wanted = natural_width(console, table)
            droppable = [index for index in shown if self._columns[index][2] > 0]
            if wanted <= console.width or not droppable:
                break
            goes = max(droppable, key=lambda index: (self._columns[index][2], index))
            shown.remove(goes)
            left_out.append(self._columns[goes][0])
        if not left_out:
            return table
        note = f"too narrow for: {', '.join(left_out)}"
        return Group(table, Text(note, style=DIM))

    def _table(self, shown: list[int]) -> Table:
        table = Table(
            box=box.SIMPLE_HEAD,
            show_edge=False,
            pad_edge=False,
            padding=(0, 1, 0, 0),
            header_style=TITLE,
        )
        for index in shown:
            header, alignment, _ = self._columns[index]
            fold = alignment == "fold"
            table.add_column(
                header,
                justify="right" if alignment == "right" else "left",
                no_wrap=not fold,
                overflow="fold" if fold else "ellipsis",
            )
        for number, cells in enumerate(self._rows, start=1):
            picked = [cells[index] if index < len(cells) else "" for index in shown]
            table.add_row(*picked, end_section=number in self._sections)
        return table


def natural_width(console: Console, picture: RenderableType) -> int:
    """Columns that a picture takes if there is no limit."""
    return Measurement.get(console, console.options.update(width=10_000), picture).maximum


def facts(rows: Iterable[Fact]) -> Table:
    """Lines of name, value and remark."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(style=DIM, overflow="fold")
    for name, value, remark in rows:
        table.add_row(f"  {name}", value, remark)
    return table


def title(*parts: str) -> Text:
    """A heading: the first part in bold, then the others."""
    first, *rest = (units.plain(part) for part in parts if part)
    return Text.assemble((first, TITLE), *(f"  {part}" for part in rest), overflow="fold")


def share_bar(share: float, length: int, *, ascii_only: bool) -> str:
    """A bar of ``share`` of ``length`` characters; never empty for a share above zero."""
    eighths = round(max(0.0, min(1.0, share)) * length * 8)
    if ascii_only:
        return "#" * max(1 if share > 0 else 0, round(eighths / 8))
    eighths = max(1 if share > 0 else 0, eighths)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


# --- Instances -----------------------------------------------------------------------------------


def instance_view(instance: Instance) -> RenderableType:
    """Sizes, totals, whether the weights fit, lower bounds and side constraints."""
    tables = build_tables(instance)
    weights, buffer = int(tables.weight_bytes.sum()), tables.weight_buffer_bytes
    largest = int(tables.weight_bytes.argmax())
    rows: list[Fact] = []
    network, package = instance.network, instance.package
    layers = len(instance.layer_names)
    if network is not None:
        skips = units.plural(len(network.skip_edges()), "skip edge")
        rows.append(("network", units.plain(network.name), f"{layers} layers, {skips}"))
        most = max(network.layers, key=lambda layer: layer.macs)
        remark = f"per sample; most in {units.plain(most.name)}, {units.count(most.macs, 'MAC')}"
        rows.append(("computation", units.count(network.macs, "MAC"), remark))
    else:
        assert instance.tables is not None
        edges = units.plural(len(instance.tables.edges), "edge")
        rows.append(("network", "latency tables", f"{layers} layers, {edges}"))
    rows.append(("samples", str(instance.samples), "per batch"))
    remark = (
        f"largest layer {largest} ({units.plain(instance.layer_names[largest])}), "
        f"{units.size(int(tables.weight_bytes[largest]))}"
    )
    rows.append(("weights", units.size(weights), remark))
    if package is not None:
        rows += package_facts(package)
    else:
        rows.append(("package", units.plural(instance.chiplets, "chiplet"), ""))
    total = buffer * instance.chiplets
    rows.append(("weight buffers", units.size(total), f"{units.size(buffer)} per chiplet"))
    rows.append(_fit(weights, total, stream=tables.stream))
    policy = {
        "forbid": "a cluster's weights must fit the buffers of its region",
        "stream": "weights that do not fit are fetched again for every sample",
    }
    rows.append(("overflow", instance.overflow, policy[instance.overflow]))

    bound = latency_bound(tables)
    floors: list[Fact] = [
        ("latency", units.picoseconds(bound), "of any schedule, weight loading included")
    ]
    if bound:
        rate = f"{units.number(instance.samples / (bound / 1e12))} samples/s"
        floors.append(("throughput", rate, "at most"))
    if network is not None and package is not None:
        peak = package.chiplet.macs_per_cycle * package.chiplet.frequency_hz * package.chiplets
        ideal = network.macs * instance.samples / peak
        floors.append(("computation alone", units.seconds(ideal), "all MAC units always busy"))
        if weights:
            once = units.seconds(float(dram_s(package.dram, np.asarray(weights))))
            floors.append(("weights alone", once, "each read once from DRAM"))
    return Group(
        title(instance.name, instance.description),
        Text(),
        facts(rows),
        Text(),
        title("Lower bounds"),
        facts(floors),
        Text(),
        title("Side constraints"),
        facts(_constraint_facts(instance.constraints)),
    )


def package_facts(package: Package) -> Iterable[Fact]:
    """Numbers of a package."""
    chip = package.chiplet
    mesh = f"{package.mesh_rows} x {package.mesh_cols}"
    yield "package", units.plural(package.chiplets, "chiplet"), f"{mesh} mesh"
    peak = chip.macs_per_cycle * chip.frequency_hz * package.chiplets
    remark = f"{chip.macs_per_cycle} MACs per chiplet at {units.count(chip.frequency_hz, 'Hz')}"
    yield "peak", units.count(peak, "MAC/s"), remark
    nop, dram = package.nop, package.dram
    remark = f"per chiplet and direction, {units.plural(nop.ports, 'port')}"
    yield "network on package", units.count(nop.bandwidth_bytes_per_s, "B/s"), remark
    if nop.model == "placed":
        order = order_name(package.order)
        shared = "shared by all transfers" if nop.shared_links else "each transfer by itself"
        how = "relayed" if nop.gather == "relay" else "unicast"
        yield "transfers", "placed", f"order {order}, gathers {how}, links {shared}"
    else:
        yield "transfers", "regressed", "priced by the sizes of regions"
    remark = f"shared, {units.percent(float(efficiency(dram)))} of it usable"
    if dram.streams is not None:
        remark += " by one transfer, less by several"
    yield "DRAM", units.count(dram.bandwidth_bytes_per_s, "B/s"), remark


def _fit(weights: int, buffers: int, *, stream: bool) -> Fact:
    if weights <= buffers:
        share = units.percent(weights / buffers)
        return "one segment", Text("fits", style=GOOD), f"all weights take {share} of the buffers"
    remark = f"weights are {units.number(weights / buffers)} x the buffers; "
    if stream:
        return "one segment", Text("overflows", style="yellow"), remark + "refetching or segments"
    least = -(-weights // buffers)
    return (
        "one segment",
        Text("does not fit", style="yellow"),
        f"{remark}about {least} segments or more",
    )


def _constraint_facts(constraints: Constraints) -> list[Fact]:
    present = constraints.model_dump(exclude_none=True)
    if not present:
        return [("none", "", "")]
    facts: list[Fact] = []
    for name, value in present.items():
        if name == "fixed_partitions":
            value = [f"{entry['layer']}:{entry['partition']}" for entry in value]
        text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        facts.append((name, "", text))
    return facts


# --- Results -------------------------------------------------------------------------------------

_ENDED = {
    StopReason.COMPLETED: "completed",
    StopReason.TIME_LIMIT: "stopped at the time limit",
    StopReason.CPU_LIMIT: "stopped at the limit of processor time",
    StopReason.GAP_LIMIT: "stopped at the gap asked for",
    StopReason.MEMORY_LIMIT: "ended at the memory limit, best so far",
    StopReason.INTERRUPTED: "interrupted, best so far",
    StopReason.OUTDONE: "stopped: no order of positions is better",
    StopReason.ERROR: "broke down, best so far",
}


def result_view(
    result: Result, instance: Instance | None, evaluation: Evaluation | None = None
) -> RenderableType:
    """Summary of a solve."""
    description = instance.description if instance is not None else ""
    status = Text(result.status.value, style=_STATUS_STYLE.get(result.status, BAD))
    ended = f"{_ENDED[result.stop_reason]}, {units.seconds(result.times_s.total)}"
    if result.times_s.compile:
        ended += f", after {units.seconds(result.times_s.compile)} of compiling"
    rows: list[Fact] = [
        ("solver", units.plain(result.solver), _options(result)),
        ("status", status, ended),
    ]
    samples = instance.samples if instance is not None else None
    if result.latency_s is not None:
        latency_ps = round(result.latency_s * 10**12)
        batch = f"{units.plural(samples, 'sample')}, " if samples is not None else ""
        rows.append(("latency", units.picoseconds(latency_ps), f"{batch}weight loading included"))
        rows += placement_facts(latency_ps, evaluation)
        rows.append(("throughput", f"{units.number(result.throughput_per_s)} samples/s", ""))
    rows.append(_bound_fact(result))
    if result.schedule is not None:
        rows.append(("utilization", units.percent(result.utilization), "of all MAC units"))
        rows.append(_energy_fact(result.energy_j, samples))
        rows.append(structure_fact(result.schedule))
    if result.orders:
        rows.append(_order_fact(result))
    if result.warm_start is not None:
        rows.append(("warm start", units.plain(result.warm_start), ""))
    if result.model is not None:
        rows.append(_model_fact(result.model))
    kind = solver_class(result)
    if kind is not None:
        rows.append(("class", kind, CLASS_NAMES[kind]))
    who, work = provers(result), library_work(result)
    if who is not None or work is not None:
        rows.append(("proved by", who or units.ABSENT, work or ""))
    parts: list[RenderableType] = [
        title(result.instance.name, description),
        Text(),
        facts(rows),
    ]
    if result.explanation:
        completed = result.stop_reason is StopReason.COMPLETED
        heading = "Not proved" if completed else "Breakdown"
        parts += [Text(), title("No schedule" if result.schedule is None else heading)]
        parts += [Text(f"  {units.plain(line)}", overflow="fold") for line in result.explanation]
    return Group(*parts)


def _options(result: Result) -> str:
    options = dict(result.options)
    limit, cpu_limit = options.pop("time_limit_s", None), options.pop("cpu_limit_s", None)
    texts = [
        f"{name.replace('_', ' ')} {value}"
        for name, value in options.items()
        if value is not None and name not in ("order", "warm_start")
    ]
    if limit is not None:
        texts.append(f"time limit {units.seconds(limit)}")
    if cpu_limit is not None:
        texts.append(f"CPU limit {units.seconds(cpu_limit)}")
    return units.plain(", ".join(texts))


def _bound_fact(result: Result) -> Fact:
    bound, better = units.picoseconds(result.bound_ps), "is faster"
    if result.objective_fj is not None or result.bound_fj is not None:
        joules = None if result.bound_fj is None else result.bound_fj / 10**15
        bound, better = units.joules(joules), "takes less energy"
    remark = ""
    if result.gap is not None:
        remark = f"nothing {result.solver} may choose {better}; gap {units.percent(result.gap)}"
    return "lower bound", bound, remark


def _order_fact(result: Result) -> Fact:
    """Which order of positions the schedule is for, and what is known of the others."""
    own = None if result.schedule is None else result.schedule.order
    objective = result.objective_ps if result.objective_fj is None else result.objective_fj
    others: dict[str, list[str]] = {}
    for outcome in result.orders:
        if outcome.order == own:
            continue
        bound = outcome.bound_ps if outcome.bound_fj is None else outcome.bound_fj
        if outcome.infeasible:
            state = "no schedule in"
        elif bound is None:
            state = "not known:"
        elif objective is not None and bound >= objective:
            state = "nothing better in"
        elif outcome.bound_fj is None:
            state = f"nothing below {units.picoseconds(bound)} in"
        else:
            state = f"nothing below {units.joules(bound / 10**15)} in"
        others.setdefault(state, []).append(order_name(outcome.order))
    texts = ["of positions", *(f"{state} {', '.join(names)}" for state, names in others.items())]
    return "order", units.ABSENT if own is None else order_name(own), "; ".join(texts)


def _model_fact(model: ModelSize) -> Fact:
    parts = (
        f"{units.plural(model.constraints, 'constraint')}",
        f"{units.plural(model.nonzeros, 'non-zero')}",
    )
    return "program", units.plural(model.variables, "variable"), ", ".join(parts)


def structure_fact(schedule: Schedule | None) -> Fact:
    """Number of segments and clusters."""
    if schedule is None:
        return "segments", units.ABSENT, ""
    clusters = len(list(schedule.clusters))
    return "segments", str(len(schedule.segments)), f"{units.plural(clusters, 'cluster')} in all"


def placement_facts(objective_ps: int, evaluation: Evaluation | None) -> Iterable[Fact]:
    """Latency with the regions where they really lie, if it is known."""
    if evaluation is not None and evaluation.placed_latency_ps is not None:
        placed = evaluation.placed_latency_ps
        remark = "with every transfer where its regions lie, and shared links"
        if objective_ps:
            remark = f"{100 * (placed / objective_ps - 1):+.1f}%, {remark}"
        yield "latency as placed", units.picoseconds(placed), remark


def _energy_fact(energy: EnergyBreakdown | None, samples: int | None) -> Fact:
    if energy is None:
        return "energy", units.ABSENT, ""
    parts = (("MAC", energy.mac), ("SRAM", energy.sram), ("NoP", energy.nop), ("DRAM", energy.dram))
    return _energy_line(energy.total, parts, samples)


def _energy_line(total: float, parts: Iterable[tuple[str, float]], samples: int | None) -> Fact:
    shares = ", ".join(
        f"{name} {units.percent(value / total if total else None)}" for name, value in parts
    )
    each = f"{units.joules(total / samples)} per sample: " if samples else ""
    return "energy", units.joules(total), each + shares


# --- Comparisons ---------------------------------------------------------------------------------


def distribution_view(
    instance: Instance, found: Distribution, ranked: Sequence[str]
) -> RenderableType:
    """How the latencies of all schedules of one segment spread; ``ranked`` names `Rank` entries."""
    idle = "idle chiplets allowed" if found.idle else "all chiplets used"
    share = f"{units.percent(found.valid / found.schedules)} of all"
    rows: list[Fact] = [
        ("schedules", f"{found.schedules:,}", f"one segment, {idle}"),
        ("valid", f"{found.valid:,}", share),
    ]
    if found.valid:
        best = units.plural(found.at_minimum, "schedule")
        rows.append(("fastest", units.picoseconds(found.minimum_ps), best))
        rows += [
            (f"best {100 * part:g} %", units.picoseconds(found.quantile_ps(part)), "")
            for part in (0.0001, 0.001, 0.01, 0.1, 0.5)
        ]
        rows.append(("slowest", units.picoseconds(found.maximum_ps), ""))
    for name, rank in zip(ranked, found.ranks, strict=True):
        place = f"{rank.better:,} better, {rank.equal:,} equal"
        if rank.better_share is not None:
            place += f": {100 * rank.better_share:.4g} % are better"
        rows.append((units.plain(name), units.picoseconds(rank.latency_ps), place))
    return Group(title(instance.name, instance.description), Text(), facts(rows))


class Run(NamedTuple):
    """One solver on one instance."""

    instance: Instance
    solver: str
    result: Result | None
    failure: str = ""
    """Why there is no result."""

    @property
    def explanation(self) -> str:
        """Why there is no schedule; empty if there is one."""
        if self.result is None:
            return self.failure
        if self.result.schedule is not None:
            return ""
        return "; ".join(self.result.explanation) or _ENDED[self.result.stop_reason]


def comparison_view(console: Console, runs: Sequence[Run]) -> RenderableType:
    """Every instance with one row per solver, and why some of them have no schedule."""
    table = Columns(
        (
            ("solver", "left", 0),
            ("class", "left", 7),
            ("latency", "right", 0),
            ("vs. best", "right", 0),
            ("samples/s", "right", 5),
            ("segments", "right", 3),
            ("clusters", "right", 2),
            ("MAC use", "right", 4),
            ("energy", "right", 0),
            ("gap", "right", 0),
            ("bound by", "left", 6),
            ("status", "left", 0),
            ("time", "right", 1),
        )
    )
    notes: list[str] = []
    for name, group in groupby(runs, key=lambda run: run.instance.name):
        rows = list(group)
        table.add(Text(units.plain(name), style=TITLE))
        found = [_objective(run.result) for run in rows if run.result is not None]
        best = min((value for value in found if value is not None), default=None)
        for run in rows:
            note = ""
            if run.explanation:
                notes.append(f"{run.instance.name}, {run.solver}: {run.explanation}")
                note = f" [{len(notes)}]"
            _add_run(table, run, best, note)
        table.end_section()
    parts = [table.fit(console)]
    if notes:
        parts.append(Text())
    for index, note in enumerate(notes, start=1):
        parts.append(Text(f"[{index}] {units.plain(note)}", overflow="fold"))
    return Group(*parts)


def _objective(result: Result) -> int | None:
    """What was minimized: latency in ps or energy in fJ."""
    return result.objective_ps if result.objective_fj is None else result.objective_fj


def _add_run(table: Columns, run: Run, best: int | None, note: str) -> None:
    result = run.result
    label = f"  {units.plain(run.solver)}"
    if result is None:
        absent = [units.ABSENT] * 10
        table.add(label, *absent, Text(f"refused{note}", style=BAD), units.ABSENT)
        return
    objective, schedule = _objective(result), result.schedule
    wins = objective is not None and objective == best
    status = result.status.value
    if result.stop_reason is not StopReason.COMPLETED:
        status += f", {result.stop_reason.value.replace('_', ' ')}"
    table.add(
        label,
        solver_class(result) or units.ABSENT,
        Text(units.seconds(result.latency_s), style=TITLE if wins else ""),
        f"{objective / best:.3f}" if objective is not None and best else units.ABSENT,
        units.number(result.throughput_per_s),
        units.ABSENT if schedule is None else str(len(schedule.segments)),
        units.ABSENT if schedule is None else str(len(list(schedule.clusters))),
        units.percent(result.utilization),
        units.joules(None if result.energy_j is None else result.energy_j.total),
        units.percent(result.gap),
        provers(result) or units.ABSENT,
        Text(status + note, style="" if schedule is not None else BAD),
        units.seconds(result.times_s.total),
    )


# --- Solvers -------------------------------------------------------------------------------------


def describe_solvers() -> list[dict[str, Any]]:
    """Every registered solver as plain data; one that cannot be loaded says why."""
    described: list[dict[str, Any]] = []
    for name in solver_names():
        entry: dict[str, Any] = {"name": name, "available": False, "exact": None, "class": None}
        try:
            solver = load_solver(name)
            entry |= {
                "available": True,
                "exact": bool(solver.exact),
                "class": CLASSES.get(name),
                "constraints": sorted(solver.constraints),
                "summary": str(solver.summary),
            }
        except (SolverUnavailable, AttributeError, TypeError) as error:
            entry |= {"available": False, "exact": None, "constraints": [], "summary": str(error)}
        described.append(entry)
    return described


def solver_view(console: Console, described: Sequence[dict[str, Any]]) -> RenderableType:
    """Table of the solvers."""
    table = Columns(
        (
            ("solver", "left", 0),
            ("available", "left", 0),
            ("exact", "left", 0),
            ("class", "left", 0),
            ("summary", "fold", 0),
            ("side constraints", "fold", 0),
        )
    )
    everything = set(Constraints.model_fields)
    for entry in described:
        honoured = entry["constraints"]
        names = "all" if everything <= set(honoured) else ", ".join(honoured)
        table.add(
            units.plain(entry["name"]),
            "yes" if entry["available"] else Text("no", style=BAD),
            {None: units.ABSENT, True: "yes", False: "no"}[entry["exact"]],
            entry.get("class") or units.ABSENT,
            units.plain(entry["summary"]),
            units.plain(names) or units.ABSENT,
        )
    return table.fit(console)
