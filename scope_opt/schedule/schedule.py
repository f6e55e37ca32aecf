"""A schedule: the decisions, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field

from scope_opt.model.files import MAX_INT, Document, InputError, read_json, refuse_excess
from scope_opt.model.network import Index, Name
from scope_opt.model.package import Order
from scope_opt.model.shown import Shown
from scope_opt.model.tables import PARTITIONS, Partition

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scope_opt.model.instance import Instance

AnyInt = Annotated[int, Field(ge=-MAX_INT, le=MAX_INT)]


class Cluster(Document):
    """Layers ``first_layer..last_layer`` on a region of ``chiplets``, one partition per layer.

    Nothing but the types is checked here: whether a schedule is feasible is the evaluator's word.
    """

    first_layer: Index
    last_layer: Index
    chiplets: AnyInt
    partitions: Annotated[tuple[Partition, ...], Field(fail_fast=True)]


class Segment(Document):
    """Clusters that run as a pipeline on the whole package, in layer order."""

    clusters: Annotated[tuple[Cluster, ...], Field(min_length=1)]

    @property
    def first_layer(self) -> int:
        """First layer of the segment."""
        return self.clusters[0].first_layer

    @property
    def last_layer(self) -> int:
        """Last layer of the segment."""
        return self.clusters[-1].last_layer

    @property
    def chiplets(self) -> int:
        """Chiplets its regions take together."""
        return sum(cluster.chiplets for cluster in self.clusters)


RESULT = "scope-result/1"
"""Format of results, which hold the schedule they are about."""


class InstanceReference(Document):
    """Which instance a schedule or result belongs to."""

    name: Name
    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]

    @classmethod
    def to(cls, instance: Instance) -> InstanceReference:
        """Reference to an instance."""
        return cls(name=instance.name, digest=instance.digest)


class Schedule(Document, Shown):
    """Segments one after the other; a solution of an instance.

    ``order``: how positions run through the mesh, where that was decided with the schedule; the
    order of the instance otherwise.
    """

    format: Literal["scope-schedule/1"] = "scope-schedule/1"
    instance: InstanceReference
    order: Order | None = None
    segments: Annotated[tuple[Segment, ...], Field(min_length=1)]

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a schedule, or that of a result, from a file; raises as `from_json` does."""
        text, source = read_json(Path(path)), str(path)
        refuse_excess(text, source)
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            content = None  # `from_json` says what is wrong
        if not isinstance(content, dict) or content.get("format") != RESULT:
            return cls.from_json(text, source)
        if content.get("schedule") is None:
            raise InputError(source, ["schedule: this result holds none"])
        return cls.from_json(json.dumps(content["schedule"]), source)

    @property
    def clusters(self) -> Iterator[Cluster]:
        """All clusters, in layer order."""
        return (cluster for segment in self.segments for cluster in segment.clusters)

    def ordered(self, instance: Instance) -> Instance:
        """The instance with positions in the order that the schedule is for.

        Raises
        ------
        InputError
            If the schedule has an order and the instance can have none, or not that one.
        """
        if self.order is None:
            return instance
        try:
            return instance.in_order(self.order)
        except InputError as error:
            problems = [f"order: {problem}" for problem in error.problems]
            raise InputError("schedule", problems) from None


def make_segment(first_layer: int, clusters: Sequence[tuple[int, int, Sequence[int]]]) -> Segment:
    """Segment from ``(layer count, chiplets, partition index per layer)`` of each cluster."""
    built = []
    for count, chiplets, partitions in clusters:
        names = tuple(PARTITIONS[index] for index in partitions)
        last_layer = first_layer + count - 1
        built.append(
            Cluster.model_validate(
                {
                    "first_layer": first_layer,
                    "last_layer": last_layer,
                    "chiplets": chiplets,
                    "partitions": names,
                }
            )
        )
        first_layer = last_layer + 1
    return Segment(clusters=tuple(built))
