"""Schedules and their evaluations as tables and pictures for the terminal.

Everything is readable without colour: a region's cells carry the number of its cluster.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from scope_opt.model import units
from scope_opt.schedule.evaluate import link_loads
from scope_opt.terminal.mesh import (
    LINKS_NOTE,
    colour_of,
    idle_mark,
    link_map,
    loaded_by,
    order_text,
    region_map,
    side_by_side,
    together,
)
from scope_opt.terminal.show import (
    BAD,
    DIM,
    GOOD,
    TITLE,
    Columns,
    facts,
    placement_facts,
    share_bar,
    structure_fact,
    title,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console, RenderableType

    from scope_opt.model.instance import Instance
    from scope_opt.model.package import Package
    from scope_opt.schedule.evaluation import (
        ClusterReport,
        EnergyReport,
        Evaluation,
        LinkReport,
        SegmentReport,
    )
    from scope_opt.schedule.schedule import Schedule, Segment
    from scope_opt.terminal.show import Fact


def partition_text(partitions: Sequence[str], width: int = 12) -> str:
    """Partitions as letters, ``WWWIII``; as run lengths, ``57W 3I``, where that is shorter."""
    letters = "".join(partition[0] for partition in partitions)
    runs = " ".join(f"{len(list(run))}{letter}" for letter, run in groupby(letters))
    return runs if len(letters) > width and len(runs) < len(letters) else letters


def layer_range(first: int, last: int) -> str:
    """``3-7``, or ``3`` for one layer."""
    return f"{first}" if first == last else f"{first}-{last}"


def _layer_names(instance: Instance, first: int, last: int) -> str:
    names = [units.plain(instance.layer_names[first]), units.plain(instance.layer_names[last])]
    return names[0] if first == last else f"{names[0]} .. {names[1]}"


# --- Schedules -----------------------------------------------------------------------------------


def schedule_view(
    console: Console,
    schedule: Schedule,
    instance: Instance | None,
    evaluation: Evaluation | None,
) -> RenderableType:
    """Segments with their clusters, where the regions lie, and how loaded the links are.

    Without an instance, or where the evaluation has no breakdown, only the decisions are shown.
    """
    parts: list[RenderableType] = []
    reports = evaluation.segments if evaluation is not None else ()
    for index, segment in enumerate(schedule.segments):
        report = reports[index] if reports else None
        heading = _segment_heading(index, schedule, instance, report)
        if report is not None and instance is not None:
            table = _cluster_table(console, segment, report, instance)
        else:
            table = _decision_table(console, segment)
        parts += [Text(), heading, Text(), table]
    if reports and instance is not None and instance.package is not None:
        parts += _package_pictures(console, schedule, instance, instance.package, reports)
    return Group(*parts)


def _package_pictures(
    console: Console,
    schedule: Schedule,
    instance: Instance,
    package: Package,
    reports: Sequence[SegmentReport],
) -> Iterator[RenderableType]:
    """Regions of all segments on the mesh, and beside them the links where transfers share them."""
    note = f"chiplets by cluster, regions laid out {order_text(package)}"
    if any(report.chiplets < package.chiplets for report in reports):
        note += f", {idle_mark(console)} idle"
    yield from (Text(), title("Package", note))
    loads = link_loads(instance, schedule) if any(r.busiest_link for r in reports) else ()
    if loads:
        yield Text(LINKS_NOTE, style=DIM, overflow="fold")
    yield Text()
    pictures = []
    for index, report in enumerate(reports):
        sizes = [cluster.chiplets for cluster in report.clusters]
        picture = region_map(console, package, sizes, f"segment {index}")
        if loads and loads[index]:
            links = link_map(console, package, report, loads[index])
            picture = together(console, picture, links)
        pictures.append(picture)
    yield side_by_side(console, pictures)


def _segment_heading(
    index: int, schedule: Schedule, instance: Instance | None, report: SegmentReport | None
) -> Text:
    segment = schedule.segments[index]
    layers = f"layers {layer_range(segment.first_layer, segment.last_layer)}"
    if instance is not None and segment.last_layer < len(instance.layer_names):
        layers += f" ({_layer_names(instance, segment.first_layer, segment.last_layer)})"
    clusters = units.plural(len(segment.clusters), "cluster")
    used = units.plural(segment.chiplets, "chiplet")
    if instance is not None and instance.chiplets > segment.chiplets:
        used = f"{segment.chiplets} of {instance.chiplets} chiplets"
    heading = title(f"Segment {index}", f"{layers}, {clusters} on {used}")
    if report is not None:
        latency, load = units.picoseconds(report.latency_ps), units.picoseconds(report.load_ps)
        heading.append(f"\n  latency {latency}, weight loading {load} of it", style=DIM)
        beat = units.picoseconds(report.beat_ps)
        heading.append(f"\n  a sample every {beat}, set by {_slowest(report)}", style=DIM)
        if report.busiest_link is not None:
            heading.append(f"\n  {_busiest(report.busiest_link)}", style=DIM)
    return heading


def _busiest(link: LinkReport) -> str:
    """The busiest link, how long it is loaded, and by what most."""
    return f"busiest link {link}: {units.picoseconds(link.time_ps)} a sample, {loaded_by(link)}"


def _slowest(report: SegmentReport) -> str:
    """What sets the beat of a segment."""
    if report.bottleneck is None:
        return report.cause
    others = sum(cluster.time_ps == report.beat_ps for cluster in report.clusters) - 1
    return f"cluster {report.bottleneck}" + (f" and {others} more" if others else "")


def _cluster_table(
    console: Console, segment: Segment, report: SegmentReport, instance: Instance
) -> RenderableType:
    """What each cluster has to do, on how much, and how long it takes."""
    load = sum(cluster.load for cluster in report.clusters) or 1
    largest = max(cluster.load for cluster in report.clusters) or 1
    length = 12 if console.width >= 110 else 6
    flat = console.options.ascii_only
    limit = activation_limit(instance)
    table = Columns(
        (
            ("cluster", "right", 0),
            ("layers", "right", 0),
            ("chiplets", "right", 0),
            ("share of MACs" if instance.network is not None else "share of load", "left", 0),
            ("time per sample", "left", 0),
            ("weight fill", "right", 3),
            ("held", "right", 5 if limit is None else 1),
            ("partitions", "fold", 0),
            ("names", "left", 4),
        )
    )
    for index, (cluster, part) in enumerate(zip(segment.clusters, report.clusters, strict=True)):
        colour = colour_of(index)
        share = part.load / load
        busy = part.time_ps / report.beat_ps if report.beat_ps else 0.0
        slowest = part.time_ps == report.beat_ps
        time = Text.assemble(
            (share_bar(busy, length, ascii_only=flat).ljust(length + 1), colour),
            (f"{units.picoseconds(part.time_ps):>8}", BAD if slowest else ""),
            (" slowest" if slowest else "", BAD),
        )
        work = Text.assemble(
            (share_bar(part.load / largest, length, ascii_only=flat).ljust(length + 1), colour),
            f"{units.percent(share):>6}",
        )
        table.add(
            _chip(str(index), index),
            layer_range(cluster.first_layer, cluster.last_layer),
            str(cluster.chiplets),
            work,
            time,
            units.percent(part.weight_bytes / part.buffer_bytes),
            held_text(part, limit),
            partition_text(cluster.partitions),
            _layer_names(instance, cluster.first_layer, cluster.last_layer),
        )
    return table.fit(console)


def activation_limit(instance: Instance) -> int | None:
    """Bytes of activations that a chiplet may hold; None where they are not limited."""
    return None if instance.package is None else instance.package.activation_buffer_bytes


def held_text(cluster: ClusterReport, limit: int | None) -> str:
    """Activations on each chiplet of a cluster, with their share of a limited buffer."""
    held = units.size(cluster.activation_bytes)
    if limit is None or cluster.activation_bytes is None:
        return held
    full = cluster.activation_bytes / limit if limit else None
    return f"{held} {units.percent(full):>6}"


def _decision_table(console: Console, segment: Segment) -> RenderableType:
    """Clusters without an instance: sizes and partitions only."""
    largest = max(cluster.chiplets for cluster in segment.clusters)
    table = Columns(
        (
            ("cluster", "right", 0),
            ("layers", "right", 0),
            ("chiplets", "left", 0),
            ("partitions", "fold", 0),
        )
    )
    for index, cluster in enumerate(segment.clusters):
        share = cluster.chiplets / largest if largest > 0 else 0.0
        bar = share_bar(share, 12, ascii_only=console.options.ascii_only)
        table.add(
            _chip(str(index), index),
            layer_range(cluster.first_layer, cluster.last_layer),
            Text.assemble(f"{cluster.chiplets:>4} ", (bar, colour_of(index))),
            partition_text(cluster.partitions, 40),
        )
    return table.fit(console)


def _chip(text: str, cluster: int) -> Text:
    """A label in the cluster's colour."""
    return Text(f" {text} ", style=f"black on {colour_of(cluster)}")


# --- Evaluations ---------------------------------------------------------------------------------


def violation_view(evaluation: Evaluation) -> RenderableType:
    """Every broken rule by name."""
    broken = evaluation.violations
    parts: list[Text] = [Text(f"not feasible: {units.plural(len(broken), 'violation')}", BAD)]
    for code, where, message in broken:
        parts.append(Text.assemble(f"  {units.plain(where)}: ", (code, TITLE)))
        parts.append(Text(f"    {units.plain(message)}", overflow="fold"))
    return Group(*parts)


def evaluation_view(
    console: Console, instance: Instance, schedule: Schedule, evaluation: Evaluation
) -> RenderableType:
    """Summary and full breakdown of a feasible schedule."""
    objective = evaluation.objective_ps
    assert objective is not None  # violations are shown by `violation_view`
    rows: list[Fact] = [
        ("schedule", Text("feasible", style=GOOD), "all rules checked"),
        (
            "latency",
            units.picoseconds(objective),
            f"{units.plural(instance.samples, 'sample')}, weight loading included",
        ),
        *placement_facts(objective, evaluation),
        ("throughput", f"{units.number(evaluation.throughput_per_s)} samples/s", ""),
        ("utilization", units.percent(evaluation.utilization), "of all MAC units"),
        ("segments", *structure_fact(schedule)[1:]),
    ]
    parts: list[RenderableType] = [title(instance.name, instance.description), Text()]
    parts.append(facts(rows))
    if evaluation.energy is not None:
        parts += [Text(), title("Energy"), _energy_table(console, instance, evaluation.energy)]
    parts += [Text(), title("Segments"), Text(), _segment_table(console, evaluation, objective)]
    parts.append(schedule_view(console, schedule, instance, evaluation))
    parts += [
        Text(),
        title("Layers", "time per sample: preparation, then computation and communication at once"),
        Text(),
        _layer_table(console, evaluation),
    ]
    return Group(*parts)


def _energy_table(console: Console, instance: Instance, energy: EnergyReport) -> RenderableType:
    flat = console.options.ascii_only
    rows: list[Fact] = []
    parts = (
        ("MAC units", energy.mac_j),
        ("SRAM", energy.sram_j),
        ("network on package", energy.nop_j),
        ("DRAM", energy.dram_j),
    )
    for name, value in parts:
        share = value / energy.total_j if energy.total_j else 0.0
        bar = share_bar(share, 20, ascii_only=flat)
        rows.append((name, f"{units.joules(value):>9}", f"{units.percent(share):>6} {bar}"))
    each = f"{units.joules(energy.total_j / instance.samples)} per sample"
    rows.append(("total", f"{units.joules(energy.total_j):>9}", each))
    return facts(rows)


def _segment_table(console: Console, evaluation: Evaluation, objective_ps: int) -> RenderableType:
    table = Columns(
        (
            ("segment", "right", 0),
            ("layers", "right", 0),
            ("clusters", "right", 0),
            ("chiplets", "right", 2),
            ("latency", "right", 0),
            ("share", "right", 0),
            ("loading", "right", 0),
            ("beat", "right", 0),
            ("set by", "left", 0),
            ("DRAM beat", "right", 4),
            ("link beat", "right", 2),
            ("held", "right", 5),
            ("MAC use", "right", 3),
        )
    )
    for index, segment in enumerate(evaluation.segments):
        table.add(
            str(index),
            layer_range(segment.first_layer, segment.last_layer),
            str(len(segment.clusters)),
            str(segment.chiplets),
            units.picoseconds(segment.latency_ps),
            units.percent(segment.latency_ps / objective_ps if objective_ps else None),
            units.picoseconds(segment.load_ps),
            units.picoseconds(segment.beat_ps),
            segment.cause,
            units.picoseconds(segment.dram_beat_ps),
            units.picoseconds(segment.link_beat_ps) if segment.busiest_link else units.ABSENT,
            units.size(_held(segment)),
            units.percent(segment.utilization),
        )
    return table.fit(console)


def _held(segment: SegmentReport) -> int | None:
    """Activations on the fullest chiplet."""
    held = [cluster.activation_bytes for cluster in segment.clusters]
    return max((bytes_ for bytes_ in held if bytes_ is not None), default=None)


def _layer_table(console: Console, evaluation: Evaluation) -> RenderableType:
    table = Columns(
        (
            ("cluster", "right", 2),
            ("layer", "right", 0),
            ("name", "left", 1),
            ("", "left", 0),
            ("prep.", "right", 0),
            ("comp.", "right", 0),
            ("comm.", "right", 0),
            ("time", "right", 0),
            ("bound by", "left", 3),
        )
    )
    for number, segment in enumerate(evaluation.segments):
        for index, cluster in enumerate(segment.clusters):
            _add_layers(table, cluster, f"{number}.{index}")
        table.end_section()
    return table.fit(console)


def _add_layers(table: Columns, cluster: ClusterReport, label: str) -> None:
    for layer in cluster.layers:
        times = [
            Text(units.picoseconds(value) if value else units.ABSENT, style=TITLE if bound else "")
            for value, bound in (
                (layer.preparation_ps, layer.bound_by == "preparation"),
                (layer.computation_ps, layer.bound_by == "computation"),
                (layer.communication_ps, layer.bound_by == "communication"),
            )
        ]
        table.add(
            label,
            str(layer.index),
            units.plain(layer.name),
            layer.partition,
            *times,
            units.picoseconds(layer.time_ps),
            layer.bound_by,
        )
    if cluster.stream_ps:
        note, refetch = "(weights refetched)", units.picoseconds(cluster.stream_ps)
        table.add(label, "", note, "", refetch, "", "", refetch, "DRAM")
