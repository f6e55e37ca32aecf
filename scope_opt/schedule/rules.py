"""Rules for the shape of a schedule: which layers, chiplets and partitions it may have.

What it takes, and whether its weights fit, is `scope_opt.schedule.evaluate`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scope_opt.model.instance import Instance
    from scope_opt.schedule.schedule import Cluster, Segment


class Violation(NamedTuple):
    """One rule that a schedule breaks: a stable code, the place, what was found and is allowed."""

    code: str
    where: str
    """E.g. ``segment 0, cluster 2, layer 17 (conv3_1)``."""
    message: str

    def __str__(self) -> str:
        return f"{self.code} at {self.where}: {self.message}"


def structure(
    segments: Sequence[Segment], ends: tuple[int, int], chiplets: int | None
) -> Iterator[Violation]:
    """Rules without which no number can be computed, on a package of so many chiplets, if known.

    ``ends`` are the first and last layer.
    """
    awaited, last_layer = ends
    for s, segment in enumerate(segments):
        for c, cluster in enumerate(segment.clusters):
            where = f"segment {s}, cluster {c}"
            first, last = cluster.first_layer, cluster.last_layer
            count = max(0, last - first + 1)
            if count == 0:
                message = f"ends at layer {last}, before its first layer {first}; needs a layer"
                yield Violation("empty-cluster", where, message)
            elif first != awaited:
                message = f"starts at layer {first}; the next layer to map is {awaited}"
                yield Violation("layer-coverage", where, message)
            awaited = last + 1 if count else awaited
            if cluster.chiplets < 1:
                message = f"{cluster.chiplets} chiplets; needs at least 1"
                yield Violation("region-size", where, message)
            if len(cluster.partitions) != count:
                message = f"{len(cluster.partitions)} partitions for {count} layers"
                yield Violation("partition-count", where, message)
        if chiplets is not None and segment.chiplets > chiplets:
            message = f"regions take {segment.chiplets} chiplets; there are {chiplets}"
            yield Violation("region-total", f"segment {s}", message)
    if awaited != last_layer + 1:
        message = f"the last cluster ends at layer {awaited - 1}; the last layer is {last_layer}"
        yield Violation("layer-coverage", "schedule", message)


def shape(instance: Instance, s: int, segment: Segment) -> Iterator[Violation]:
    """What the instance asks of a segment's shape beyond fitting the package."""
    wanted = instance.constraints
    least, most = wanted.min_clusters or 1, wanted.max_clusters
    multiple, largest = wanted.region_multiple or 1, wanted.max_region
    partitions = {fixed.layer: fixed.partition for fixed in wanted.fixed_partitions or ()}
    where, count = f"segment {s}", len(segment.clusters)
    if count < least:
        yield Violation("min-clusters", where, f"{count} clusters; allowed from {least}")
    if most is not None and count > most:
        yield Violation("max-clusters", where, f"{count} clusters; allowed up to {most}")
    for c, cluster in enumerate(segment.clusters):
        where, size = f"segment {s}, cluster {c}", cluster.chiplets
        if size % multiple:
            message = f"{size} chiplets; allowed are multiples of {multiple}"
            yield Violation("region-multiple", where, message)
        if largest is not None and size > largest:
            yield Violation("max-region", where, f"{size} chiplets; allowed up to {largest}")
        for layer, partition in zip(layers_of(cluster), cluster.partitions, strict=True):
            where = place_of(instance, s, c, layer)
            if partition != partitions.get(layer, partition):
                message = f"{partition}; fixed to {partitions[layer]}"
                yield Violation("fixed-partition", where, message)
            merged = layer < cluster.last_layer
            if merged and layer in (wanted.forbidden_merges or ()):
                message = f"shares a cluster with layer {layer + 1}; must not"
                yield Violation("forbidden-merge", where, message)
            if not merged and layer in (wanted.required_merges or ()):
                message = f"does not share a cluster with layer {layer + 1}; must"
                yield Violation("required-merge", where, message)


def fixed_starts(instance: Instance, segments: Sequence[Segment]) -> Iterator[Violation]:
    """Segments that the instance gives."""
    fixed = instance.constraints.fixed_segments
    starts = tuple(segment.first_layer for segment in segments)
    if starts != (fixed or starts):
        message = f"segments start at layers {starts}; fixed to {fixed}"
        yield Violation("fixed-segments", "schedule", message)


def layers_of(cluster: Cluster) -> range:
    """Layers of a cluster."""
    return range(cluster.first_layer, cluster.last_layer + 1)


def place_of(instance: Instance, segment: int, cluster: int, layer: int) -> str:
    """Of a layer in a schedule, for messages."""
    return f"segment {segment}, cluster {cluster}, layer {layer} ({instance.layer_names[layer]})"
