"""Schedules and their evaluations as tables and pictures for the terminal.

Everything is readable without colour: a region's cells carry the number of its cluster.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from scope_opt.model import units
from scope_opt.model.mesh import position_grid
from scope_opt.terminal.show import (
    BAD,
    DIM,
    GOOD,
    TITLE,
    Columns,
    facts,
    natural_width,
    placement_facts,
    share_bar,
    structure_fact,
    title,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, RenderableType

    from scope_opt.model.instance import Instance
    from scope_opt.model.package import Package
    from scope_opt.schedule.evaluate import (
        ClusterReport,
        EnergyReport,
        Evaluation,
        LinkReport,
        SegmentReport,
    )
    from scope_opt.schedule.schedule import Schedule, Segment
    from scope_opt.terminal.show import Fact

_COLOURS = (
    "cornflower_blue",
    "light_goldenrod2",
    "dark_sea_green3",
    "plum3",
    "sandy_brown",
    "turquoise2",
    "light_coral",
    "grey70",
)


def _colour(cluster: int) -> str:
    return _COLOURS[cluster % len(_COLOURS)]


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
    *,
    draw_mesh: bool = True,
) -> RenderableType:
    """Segments with their clusters, and where the regions lie on the mesh.

    Without an instance, or where the evaluation has no breakdown, only the decisions are shown.
    """
    parts: list[RenderableType] = []
    reports = evaluation.segments if evaluation is not None else ()
    package = instance.package if instance is not None else None
    meshes: list[RenderableType] = []
    for index, segment in enumerate(schedule.segments):
        report = reports[index] if reports else None
        heading = _segment_heading(index, schedule, instance, report)
        if report is not None and instance is not None:
            table = _cluster_table(console, segment, report, instance)
        else:
            table = _decision_table(console, segment)
        parts += [Text(), heading, Text(), table]
        if draw_mesh and package is not None and report is not None:
            sizes = [cluster.chiplets for cluster in segment.clusters]
            meshes.append(_mesh(console, package, sizes, f"segment {index}"))
    if meshes:
        note = "chiplets by cluster, regions laid out in ZigZag order from the top left"
        if any(report.chiplets < instance.chiplets for report in reports if instance is not None):
            note += f", {_idle(console)} idle"
        parts += [Text(), title("Package", note), Text()]
        parts.append(_side_by_side(console, meshes))
    return Group(*parts)


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
    most = link.shares[0]
    share = units.percent(most.bytes / link.bytes)
    what = {"hand-over": "handed over by", "weights": "weights of", "activations": "sent by"}
    return (
        f"busiest link {link}: {units.picoseconds(link.time_ps)} a sample, "
        f"{share} {what[most.what]} layer {most.layer}"
    )


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
    table = Columns(
        (
            ("cluster", "right", 0),
            ("layers", "right", 0),
            ("chiplets", "right", 0),
            ("share of MACs" if instance.network is not None else "share of load", "left", 0),
            ("time per sample", "left", 0),
            ("weight fill", "right", 3),
            ("partitions", "fold", 0),
            ("names", "left", 4),
        )
    )
    for index, (cluster, part) in enumerate(zip(segment.clusters, report.clusters, strict=True)):
        colour = _colour(index)
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
            partition_text(cluster.partitions),
            _layer_names(instance, cluster.first_layer, cluster.last_layer),
        )
    return table.fit(console)


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
            Text.assemble(f"{cluster.chiplets:>4} ", (bar, _colour(index))),
            partition_text(cluster.partitions, 40),
        )
    return table.fit(console)


def _chip(text: str, cluster: int) -> Text:
    """A label in the cluster's colour."""
    return Text(f" {text} ", style=f"black on {_colour(cluster)}")


def _idle(console: Console) -> str:
    return "." if console.options.ascii_only else "·"


def _mesh(console: Console, package: Package, sizes: Sequence[int], caption: str) -> RenderableType:
    """Cells labelled with the cluster whose region they belong to."""
    owner = [index for index, size in enumerate(sizes) for _ in range(size)]
    width = max(3, len(str(len(sizes) - 1)) + 1)
    if package.mesh_cols * width + 2 > console.width:
        mesh = f"{package.mesh_rows} x {package.mesh_cols}"
        return Text(f"  {caption}: the {mesh} mesh is too wide to draw here", style=DIM)
    text = Text(f"  {caption}\n", no_wrap=True)
    for row in position_grid(package):
        text.append("  ")
        for position in row:
            if position < len(owner):
                cluster = owner[position]
                text.append(f"{cluster:^{width}}", style=f"black on {_colour(cluster)}")
            else:
                text.append(f"{_idle(console):^{width}}", style=DIM)
        text.append("\n")
    return text


def _side_by_side(console: Console, pictures: Sequence[RenderableType]) -> RenderableType:
    """Pictures of equal width, as many in a row as fit."""
    widest = max(natural_width(console, picture) for picture in pictures)
    per_row = max(1, (console.width + 2) // (widest + 2))
    grid = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(min(per_row, len(pictures))):
        grid.add_column(no_wrap=True)
    for start in range(0, len(pictures), per_row):
        grid.add_row(*pictures[start : start + per_row])
    return grid


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
    parts.append(schedule_view(console, schedule, instance, evaluation, draw_mesh=False))
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
