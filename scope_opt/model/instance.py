"""An instance: what to map, onto what, for how many samples, under which side constraints."""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from scope_opt.model.explicit import ExplicitTables
from scope_opt.model.files import Document, InputError, inconsistent
from scope_opt.model.network import Count, Index, Name, Network
from scope_opt.model.package import Order, Package, Positive
from scope_opt.model.shown import Shown
from scope_opt.model.tables import Partition

NEEDS_ENERGY = frozenset(
    {"energy_budget_j", "latency_bound_s", "power_budget_w", "dram_bytes_per_beat"}
)
"""Constraints that only instances with a network and a package can have."""


PLACES = frozenset({"placed", "activation_buffer_bytes"})
"""What instances demand of solvers beside constraints; see `Instance.demands`."""
SHAPE = frozenset(
    {
        *("min_clusters", "max_clusters", "forbidden_merges", "required_merges"),
        *("fixed_partitions", "region_multiple", "max_region", "fixed_segments"),
    }
)
"""Constraints on the shape of a schedule alone. Solvers say which of these names they honor, so a
new constraint is honored by none before it is added here or to their own."""


Layers = Annotated[tuple[Index, ...], Field(fail_fast=True)]
"""Layers by index; the first that is wrong is told."""


class FixedPartition(Document):
    """Layer ``layer`` must use ``partition``."""

    layer: Index
    partition: Partition


class Constraints(Document):
    """Optional side constraints; absent ones do not bind.

    ``forbidden_merges`` and ``required_merges`` list layers ``l`` such that ``l`` and ``l+1`` must
    not, or must, share a cluster. Cluster counts are per segment. ``fixed_segments`` lists the
    first layer of every segment. ``energy_budget_j`` bounds the energy of all samples.
    ``latency_bound_s`` bounds the latency of all samples; then energy is minimized. Under
    ``power_budget_w`` a segment's beat is long enough that its steady state draws no more.
    ``dram_bytes_per_beat`` bounds what a segment reads and writes in DRAM for one sample.
    """

    min_clusters: Count | None = None
    max_clusters: Count | None = None
    forbidden_merges: Layers | None = None
    required_merges: Layers | None = None
    fixed_partitions: tuple[FixedPartition, ...] | None = None
    region_multiple: Count | None = None
    max_region: Count | None = None
    fixed_segments: Annotated[Layers, Field(min_length=1)] | None = None
    energy_budget_j: Positive | None = None
    latency_bound_s: Positive | None = None
    power_budget_w: Positive | None = None
    dram_bytes_per_beat: Index | None = None

    def active(self) -> frozenset[str]:
        """Names of the constraints that are present."""
        return frozenset(self.model_dump(exclude_none=True))

    def problems(self, layers: int, chiplets: int) -> list[tuple[str, str]]:
        """Entries that are out of range or contradict each other, as ``(path, message)``."""
        found: list[tuple[str, str]] = []
        if self.min_clusters and self.max_clusters and self.min_clusters > self.max_clusters:
            message = f"{self.min_clusters} is more than max_clusters = {self.max_clusters}"
            found.append(("min_clusters", message))
        for name in ("forbidden_merges", "required_merges"):
            for index, layer in enumerate(getattr(self, name) or ()):
                if layer >= layers - 1:
                    message = f"layer {layer} has no next layer; allowed below {layers - 1}"
                    found.append((f"{name}.{index}", message))
        both = set(self.forbidden_merges or ()) & set(self.required_merges or ())
        found += [
            ("required_merges", f"layer {layer} is in forbidden_merges") for layer in sorted(both)
        ]
        seen: set[int] = set()
        for index, fixed in enumerate(self.fixed_partitions or ()):
            if fixed.layer >= layers:
                message = f"layer {fixed.layer} does not exist; allowed below {layers}"
                found.append((f"fixed_partitions.{index}.layer", message))
            if fixed.layer in seen:
                found.append(
                    (f"fixed_partitions.{index}.layer", f"layer {fixed.layer} listed twice")
                )
            seen.add(fixed.layer)
        for name in ("region_multiple", "max_region"):
            value = getattr(self, name)
            if value is not None and value > chiplets:
                found.append((name, f"{value} is more than the {chiplets} chiplets there are"))
        if self.region_multiple and self.max_region and self.max_region < self.region_multiple:
            message = f"{self.max_region} is less than region_multiple = {self.region_multiple}"
            found.append(("max_region", message))
        starts = self.fixed_segments
        if starts is not None:
            increasing = all(a < b for a, b in pairwise(starts))
            if starts[0] != 0 or not increasing or starts[-1] >= layers:
                message = f"{list(starts)} must start with 0 and increase, below {layers} layers"
                found.append(("fixed_segments", message))
            for layer in self.required_merges or ():
                if layer + 1 in starts:
                    message = f"layer {layer} ends a segment of fixed_segments"
                    found.append(("required_merges", message))
        return found


class Instance(Document, Shown):
    """One problem to solve: a network on a package, or explicit latency tables."""

    format: Literal["scope-instance/1"] = "scope-instance/1"
    name: Name
    description: str = ""
    samples: Annotated[int, Field(ge=1, le=10**9)] = 64
    overflow: Literal["forbid", "stream"] = "forbid"
    network: Network | None = None
    package: Package | None = None
    tables: ExplicitTables | None = None
    constraints: Constraints = Constraints()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        physical = self.network is not None and self.package is not None
        if self.tables is None:
            if not physical:
                missing = "network" if self.network is None else "package"
                inconsistent([(missing, "required key is missing (or give 'tables' instead)")])
        elif self.network is not None or self.package is not None:
            inconsistent([("tables", "allowed only without 'network' and 'package'")])
        found = self.constraints.problems(len(self.layer_names), self.chiplets)
        if self.tables is not None:
            found += [
                (name, "explicit tables carry no energies or bytes to bound")
                for name in sorted(self.constraints.active() & NEEDS_ENERGY)
            ]
        inconsistent((f"constraints.{path}", message) for path, message in found)
        return self

    @property
    def demands(self) -> frozenset[str]:
        """What a solver has to know of: side constraints, and parts of the model beyond the tables.

        ``placed``: transfers cost what they do where regions lie, and a chiplet may hold so much
        of its activations; ``activation_buffer_bytes``: the latter in the regressed model.
        """
        found = self.constraints.active()
        if self.package is not None and self.package.nop.model == "placed":
            found |= {"placed"}
        elif self.package is not None and self.package.activation_buffer_bytes is not None:
            found |= {"activation_buffer_bytes"}
        return found

    @property
    def minimizes(self) -> Literal["latency", "energy"]:
        """What a best schedule has least of."""
        return "latency" if self.constraints.latency_bound_s is None else "energy"

    def in_order(self, order: Order) -> Instance:
        """The instance with the positions of its package in another order.

        Raises
        ------
        InputError
            Where the order does not matter, or is none of the mesh.
        """
        if self.package is None or self.package.nop.model != "placed":
            about = (
                "explicit tables know no places"
                if self.package is None
                else f"package.nop.model is {self.package.nop.model!r}, which prices transfers by "
                "the sizes of regions"
            )
            way_out = "give an instance of the placed model, as 'generate' writes them"
            raise InputError("order", [f"does not matter for {self.name}: {about}; {way_out}"])
        if order == self.package.order:
            return self
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self)(**fields | {"package": self.package.in_order(order)})

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the whole content; ties schedules and results to their instance."""
        return self.content_digest()

    @cached_property
    def layer_names(self) -> tuple[str, ...]:
        """Layer names in execution order."""
        source = self.tables or self.network
        assert source is not None  # the validator leaves one of the two
        return tuple(layer.name for layer in source.layers)

    @property
    def chiplets(self) -> int:
        """Number of chiplets ``C``."""
        source = self.tables or self.package
        assert source is not None
        return source.chiplets
