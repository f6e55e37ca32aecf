"""The page of a schedule, and the page that sets several side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scope_opt.model import units
from scope_opt.report import mesh_figures, schedule_figures, segment_figures
from scope_opt.report.figure import duration
from scope_opt.report.page import Chip, Column, Fact, Link, Page, Table
from scope_opt.solving import metrics
from scope_opt.terminal.picture import activation_limit, held_text, layer_range, partition_text
from scope_opt.terminal.show import placement_facts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scope_opt.report.cases import Case
    from scope_opt.report.figure import Figure
    from scope_opt.solving.result import Result


def schedule_page(case: Case, file: str, trail: Sequence[tuple[str, str]] = ()) -> Page:
    """Everything about one schedule."""
    reports = case.evaluation.segments
    content = {
        "facts": list(_facts(case)),
        "violations": _violations(case),
        "notes": list(_notes(case)),
        "figures": _figures(case) if reports else [],
        "segment_table": _segment_table(case),
        "segments": [
            {
                "title": f"Segment {index}",
                "subtitle": _segment_subtitle(case, index),
                "figures": _segment_figures(case, index) if reports else [],
                "clusters": _cluster_table(case, index),
            }
            for index in range(len(case.schedule.segments))
        ],
    }
    description = case.instance.description
    return Page(file, "schedule.html.j2", case.title, description, trail, content)


def comparison_page(
    cases: Sequence[Case], files: Sequence[str], title: str, file: str = "index.html"
) -> Page:
    """Several schedules in one table and on the same scales."""
    networks = [case.instance.layer_names for case in cases]
    evaluated = [case for case in cases if case.evaluation.segments]
    figures: list[Figure | None] = []
    if evaluated:
        figures += [
            schedule_figures.timeline(evaluated),
            schedule_figures.energy(evaluated),
            schedule_figures.use_over_time(evaluated),
        ]
    if all(names == networks[0] for names in networks):
        figures.append(schedule_figures.region_sizes(cases))
    content = {
        "table": _comparison_table(cases, files),
        "figures": [figure for figure in figures if figure is not None],
    }
    subtitle = f"{units.plural(len(cases), 'schedule')}, all figures on the same scales"
    return Page(file, "comparison.html.j2", title, subtitle, content=content)


# --- Headline numbers ----------------------------------------------------------------------------


def _facts(case: Case) -> Iterator[Fact]:
    evaluation, instance, result = case.evaluation, case.instance, case.result
    objective = evaluation.objective_ps
    samples = units.plural(instance.samples, "sample")
    if objective is not None:
        remark = f"{samples}, weight loading included"
        yield Fact("Latency", duration(objective), remark)
        for name, value, remark in placement_facts(objective, evaluation):
            yield Fact(name.capitalize(), str(value), remark)
        if evaluation.throughput_per_s is not None:
            yield Fact(
                "Throughput", units.number(evaluation.throughput_per_s), "samples per second"
            )
    if evaluation.energy is not None:
        each = units.joules(evaluation.energy.total_j / instance.samples)
        yield Fact("Energy", units.joules(evaluation.energy.total_j), f"{each} per sample")
    if evaluation.utilization is not None:
        use = units.percent(evaluation.utilization)
        yield Fact("MAC use", use, "of all MAC units, whole batch")
    clusters = units.plural(len(list(case.schedule.clusters)), "cluster")
    yield Fact("Segments", str(len(case.schedule.segments)), f"{clusters} in all")
    if result is not None:
        yield from _result_facts(result)


def _result_facts(result: Result) -> Iterator[Fact]:
    if result.gap is not None:
        yield Fact("Gap", units.percent(result.gap), f"to the lower bound {_bound(result)}")
    who = metrics.provers(result)
    if who is not None:
        yield Fact("Bound proved by", who, metrics.library_work(result) or "")
    yield Fact("Status", result.status.value, f"{result.solver}, {_ended(result)}")


def _bound(result: Result) -> str:
    """The lower bound of what was minimized."""
    if result.bound_fj is not None:
        return units.joules(result.bound_fj / 10**15)
    return duration(result.bound_ps)


def _ended(result: Result) -> str:
    return f"{result.stop_reason.value.replace('_', ' ')}, {units.seconds(result.times_s.total)}"


def _notes(case: Case) -> Iterator[str]:
    if case.instance.package is None:
        yield "The instance gives latency tables: no energy, no mesh, no use of MAC units."
    if case.result is not None and case.result.explanation:
        yield from case.result.explanation


def _violations(case: Case) -> Table | None:
    broken = case.evaluation.violations
    if not broken:
        return None
    columns = (Column("rule", False), Column("where", False), Column("found", False, fold=True))
    return Table(units.plural(len(broken), "violation"), columns, broken)


def _comparison_table(cases: Sequence[Case], files: Sequence[str]) -> Table:
    """One row per schedule; ratios to the fastest of its instance."""
    best: dict[str, int] = {}
    for case in cases:
        found, digest = case.evaluation.objective_ps, case.schedule.instance.digest
        if found is not None:
            best[digest] = min(found, best.get(digest, found))
    numbers = ("latency", "vs. best", "samples/s", "segments", "clusters", "MAC use", "energy")
    columns = [Column("schedule", False), *map(Column, numbers)]
    columns += [
        Column("lower bound"),
        Column("gap"),
        Column("bound by", False),
        Column("status", False),
        Column("ended", False),
    ]
    rows: list[list[str | Link | Chip]] = []
    for case, file in zip(cases, files, strict=True):
        evaluation, result = case.evaluation, case.result
        objective, least = evaluation.objective_ps, best.get(case.schedule.instance.digest)
        energy = evaluation.energy.total_j if evaluation.energy is not None else None
        status = "feasible" if evaluation.feasible else "not feasible"
        if evaluation.feasible and result is not None:
            status = result.status.value
        rows.append(
            [
                Link(case.label, file),
                duration(objective),
                f"{objective / least:.3f}" if objective is not None and least else units.ABSENT,
                units.number(evaluation.throughput_per_s),
                str(len(case.schedule.segments)),
                str(len(list(case.schedule.clusters))),
                units.percent(evaluation.utilization),
                units.joules(energy),
                units.ABSENT if result is None else _bound(result),
                units.ABSENT if result is None else units.percent(result.gap),
                (None if result is None else metrics.provers(result)) or units.ABSENT,
                status,
                units.ABSENT if result is None else _ended(result),
            ]
        )
    return Table("Schedules; each name leads to its own page", columns, rows)


# --- Segments and clusters -----------------------------------------------------------------------


def _figures(case: Case) -> list[Figure]:
    made = [
        schedule_figures.timeline([case]),
        schedule_figures.layers(case),
        schedule_figures.utilization(case),
        schedule_figures.energy([case]),
    ]
    return [figure for figure in made if figure is not None]


def _segment_figures(case: Case, index: int) -> list[Figure]:
    package = case.instance.package
    report = case.evaluation.segments[index]
    one = len(report.clusters) == 1  # nothing runs at the same time, nothing can be out of balance
    figures = [] if one else [segment_figures.pipeline(case, index)]
    if package is not None and not (one and report.chiplets == package.chiplets):
        figures.append(mesh_figures.regions(package, report, index))
    if package is not None and case.links and case.links[index]:
        figures.append(mesh_figures.links(package, report, case.links[index], index))
    if not one:
        figures.append(segment_figures.loads(case, index))
    figures.append(segment_figures.times(case, index))
    if package is not None and package.nop.model == "placed":
        figures.append(segment_figures.memory(case, index))
    return figures


def _layers(case: Case, first: int, last: int) -> str:
    names = case.instance.layer_names
    if max(first, last) >= len(names):
        return layer_range(first, last)
    ends = names[first] if first == last else f"{names[first]} .. {names[last]}"
    return f"{layer_range(first, last)} ({ends})"


def _segment_subtitle(case: Case, index: int) -> str:
    segment = case.schedule.segments[index]
    text = (
        f"layers {_layers(case, segment.first_layer, segment.last_layer)}, "
        f"{units.plural(len(segment.clusters), 'cluster')} on "
        f"{units.plural(segment.chiplets, 'chiplet')}"
    )
    if case.evaluation.segments:
        text += f", {duration(case.evaluation.segments[index].latency_ps)}"
    return text


def _segment_table(case: Case) -> Table:
    objective = case.evaluation.objective_ps
    headings = ("segment", "layers", "clusters", "chiplets")
    timed = ("latency", "share", "weight loading", "beat", "set by", "DRAM beat", "MAC use")
    columns = [Column(name, name != "set by") for name in headings]
    rows = []
    for index, segment in enumerate(case.schedule.segments):
        row = [
            str(index),
            layer_range(segment.first_layer, segment.last_layer),
            str(len(segment.clusters)),
            f"{segment.chiplets} of {case.instance.chiplets}",
        ]
        if case.evaluation.segments:
            report = case.evaluation.segments[index]
            row += [
                duration(report.latency_ps),
                units.percent(report.latency_ps / objective if objective else None),
                duration(report.load_ps),
                duration(report.beat_ps),
                report.cause,
                duration(report.dram_beat_ps),
                units.percent(report.utilization),
            ]
        rows.append(row)
    if case.evaluation.segments:
        columns += [Column(name, name != "set by") for name in timed]
    return Table("Segments, in the order in which they run", columns, rows)


def _cluster_table(case: Case, index: int) -> Table:
    segment = case.schedule.segments[index]
    columns = [Column("cluster", False), Column("layers", False), Column("chiplets")]
    if case.evaluation.segments:
        share = "share of load" if case.instance.network is None else "share of MACs"
        columns += [
            *map(Column, ("positions", share, "time per sample", "busy", "weight fill")),
            *([Column("held")] if case.instance.network is not None else []),
            Column("mostly bound by", False),
        ]
    columns.append(Column("partitions", False, fold=True))
    rows = [_cluster_row(case, index, number) for number in range(len(segment.clusters))]
    return Table(f"Clusters of segment {index}", columns, rows)


def _cluster_row(case: Case, index: int, number: int) -> list[str | Chip]:
    cluster = case.schedule.segments[index].clusters[number]
    row: list[str | Chip] = [
        Chip(str(number), number),
        _layers(case, cluster.first_layer, cluster.last_layer),
        str(cluster.chiplets),
    ]
    if case.evaluation.segments:
        segment = case.evaluation.segments[index]
        part = segment.clusters[number]
        load = sum(cluster.load for cluster in segment.clusters)
        bounds = [layer.bound_by for layer in part.layers]
        network = case.instance.network is not None
        row += [
            layer_range(part.first_position, part.first_position + part.chiplets - 1),
            units.percent(part.load / load if load else None),
            duration(part.time_ps),
            units.percent(part.time_ps / segment.beat_ps if segment.beat_ps else None),
            units.percent(part.weight_bytes / part.buffer_bytes if part.buffer_bytes else None),
            *([held_text(part, activation_limit(case.instance))] if network else []),
            max(dict.fromkeys(bounds), key=bounds.count),
        ]
    row.append(partition_text(cluster.partitions))
    return row
