"""What the evaluator says of a schedule: times, energies, links and violations, all in parts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from scope_opt.schedule.links import Link

if TYPE_CHECKING:
    from scope_opt.model.tables import Partition
    from scope_opt.schedule.rules import Violation

Bound = Literal["computation", "communication", "preparation"]
Moved = Literal["weights", "activations", "hand-over"]


@dataclass(frozen=True)
class LayerReport:
    """Time of one layer per sample (Eq. 7): preparation + max(computation, communication)."""

    index: int
    name: str
    partition: Partition
    preparation_ps: int
    computation_ps: int
    communication_ps: int
    time_ps: int
    bound_by: Bound
    """The largest of the three."""


@dataclass(frozen=True)
class ClusterReport:
    """A cluster of layers on its region; times per sample (Eq. 3)."""

    first_layer: int
    last_layer: int
    chiplets: int
    first_position: int
    """Position in the package's order that its region starts at; a segment's regions follow one
    another from 0 on."""
    time_ps: int
    """All layers, and ``stream_ps``."""
    stream_ps: int
    """Fetching again the weights that do not fit."""
    weight_bytes: int
    buffer_bytes: int
    """Weight buffers of the region."""
    load: int
    """MACs; for explicit tables the picoseconds its layers take on one chiplet."""
    activation_bytes: int | None
    """Activations that each of its chiplets has to hold; None for explicit tables."""
    layers: tuple[LayerReport, ...]


@dataclass(frozen=True)
class LinkShare:
    """What one transfer puts on a link in a beat."""

    what: Moved
    layer: int
    bytes: float


@dataclass(frozen=True)
class LinkReport:
    """A link of the mesh and what a segment puts on it."""

    source: tuple[int, int]
    """Row and column of the chiplet that it leads away from."""
    target: tuple[int, int]
    bytes: float
    """What it carries for one sample."""
    time_ps: int
    """How long it takes for that, beat after beat."""
    shares: tuple[LinkShare, ...]
    """By whom it is loaded, most first."""

    def __str__(self) -> str:
        return str(Link(self.source, self.target))


@dataclass(frozen=True)
class SegmentReport:
    """Clusters running as a pipeline (Eq. 2): ``load + (samples + clusters - 1) * beat``."""

    first_layer: int
    last_layer: int
    beat_ps: int
    dram_beat_ps: int
    """Least beat that the segment's DRAM traffic allows."""
    power_beat_ps: int
    """Least beat that the power budget allows; 0 without one."""
    link_beat_ps: int
    """Least beat in which every link carries its share; 0 where links are not shared."""
    busiest_link: LinkReport | None
    """None in the regressed model, and where no link carries anything."""
    load_ps: int
    """Weight loading, once per batch."""
    latency_ps: int
    bottleneck: int | None
    """Index of the slowest cluster; None when DRAM traffic, power or a link bounds the beat."""
    chiplets: int
    """Chiplets in use."""
    utilization: float | None
    """As in `Evaluation`, weight loading left out."""
    clusters: tuple[ClusterReport, ...]

    @property
    def cause(self) -> str:
        """What sets the beat; of several, a cluster, DRAM traffic, power, a link, in this order."""
        if self.bottleneck is not None:
            return f"cluster {self.bottleneck}"
        if self.dram_beat_ps == self.beat_ps:
            return "DRAM traffic"
        if self.power_beat_ps == self.beat_ps or self.busiest_link is None:
            return "power budget"
        return f"link {self.busiest_link}"


@dataclass(frozen=True)
class EnergyReport:
    """Energy of all samples in joules; weight loading counts as DRAM."""

    mac_j: float
    sram_j: float
    nop_j: float
    dram_j: float
    total_j: float


@dataclass(frozen=True)
class Evaluation:
    """What the evaluator says about a schedule.

    With violations every number is None, but ``segments`` still breaks the times down as if the
    schedule were allowed. Only where its structure is broken (layer coverage, empty clusters,
    region sizes, partition counts) nothing further is checked and ``segments`` is empty. Explicit
    tables have no energy, utilization or placed latency.
    """

    violations: tuple[Violation, ...]
    objective_ps: int | None = None
    """Latency of all samples, weight loading included (Eq. 1)."""
    latency_s: float | None = None
    throughput_per_s: float | None = None
    """Samples per second; None too where explicit tables make the latency 0."""
    utilization: float | None = None
    """Useful MACs over those that all MAC units of the package could do in the same time."""
    energy: EnergyReport | None = None
    energy_fj: int | None = None
    """Energy of all samples in femtojoules, exact."""
    placed_latency_ps: int | None = None
    """Latency in the placed model: what transfers take where the regions lie, links shared.

    None where that is the objective.
    """
    segments: tuple[SegmentReport, ...] = ()

    @property
    def feasible(self) -> bool:
        """Whether the schedule breaks no rule."""
        return not self.violations

    def to_json_dict(self) -> dict[str, Any]:
        """Plain data for `json.dumps`; None where a number does not exist."""

        def plain(items: list[tuple[str, Any]]) -> dict[str, Any]:
            return {key: list(v) if isinstance(v, tuple) else v for key, v in items}

        violations = [violation._asdict() for violation in self.violations]
        data = asdict(self, dict_factory=plain)
        return {"feasible": self.feasible, **data, "violations": violations}
