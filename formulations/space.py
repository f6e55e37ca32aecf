"""What a schedule may look like.

A `Space` holds side constraints and the choice of segments, `Caps` how long a cluster may take in a
schedule worth finding.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from formulations.formulas import longest_beat
from scope_opt.model.files import InputError
from scope_opt.model.tables import ISP, LIMIT, WSP
from scope_opt.schedule.bounds import best_around, best_cut, segment_bounds, segment_traffic_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables

    Ints = NDArray[np.int64]


class Stopped(Exception):
    """The caller asked to stop."""


@dataclass(frozen=True)
class Space:
    """What schedules may look like: side constraints and the choice of segments."""

    segments: NDArray[np.bool_]
    """(L, L): which runs of layers may be a segment"""
    segment_count: int | None
    clusters: NDArray[np.bool_]
    """(L, L): which runs of layers may be a cluster"""
    fewest: int
    most: int
    """Clusters per segment."""
    sizes: tuple[int, ...]
    """Region sizes."""
    partitions: tuple[tuple[int, ...], ...]
    """Per layer."""
    budget_fj: int | None
    """Largest energy of one sample, weight loading left out; negative if that exceeds it alone."""
    latency_ps: int | None
    """Largest latency; energy is minimized if there is one."""
    power_fj_per_ps: Fraction | None
    """Largest power of a segment's steady state."""
    traffic_bytes: NDArray[np.int64]
    """(L, L): what a segment reads and writes in DRAM for one sample, refetched weights left out"""
    traffic_limit_bytes: int | None
    """Largest DRAM traffic of a segment for one sample, refetched weights included."""

    @property
    def energy_matters(self) -> bool:
        """Whether the least energy that goes with a time is needed, not only the least time."""
        limits = (self.budget_fj, self.latency_ps, self.power_fj_per_ps)
        return any(limit is not None for limit in limits)

    @property
    def couples_segments(self) -> bool:
        """Whether segments share more than the sum of their latencies."""
        return self.budget_fj is not None or self.latency_ps is not None

    def power_beat_ps(self, energy_fj: int) -> int:
        """Shortest beat in which so much energy can be spent."""
        return 0 if self.power_fj_per_ps is None else ceil(energy_fj / self.power_fj_per_ps)

    def refetch_limit_bytes(self, ends: tuple[int, int]) -> int | None:
        """Most weights that a segment may fetch for every sample; negative: it is not allowed."""
        limit = self.traffic_limit_bytes
        return None if limit is None else limit - int(self.traffic_bytes[ends])


def make_space(
    instance: Instance, tables: LatencyTables, starts: tuple[int, ...] | None, count: int | None
) -> Space:
    """Space of an instance; ``starts`` are the first layers of its segments, if given."""
    wanted, layers = instance.constraints, tables.layers
    segments = np.triu(np.ones((layers, layers), dtype=np.bool_))
    if starts is not None:
        segments[:] = False
        for first, following in zip(starts, (*starts[1:], layers), strict=True):
            segments[first, following - 1] = True
    clusters = np.triu(np.ones((layers, layers), dtype=np.bool_))
    for layer in wanted.forbidden_merges or ():
        clusters[: layer + 1, layer + 1 :] = False
    for layer in wanted.required_merges or ():
        clusters[:, layer] = False
        clusters[layer + 1, :] = False
        segments[:, layer] = False
        segments[layer + 1, :] = False
    multiple = wanted.region_multiple or 1
    largest = min(wanted.max_region or tables.chiplets, tables.chiplets)
    fixed = {entry.layer: entry.partition for entry in wanted.fixed_partitions or ()}
    indices = {"ISP": (ISP,), "WSP": (WSP,)}
    budget = None
    if wanted.energy_budget_j is not None and tables.energy is not None:
        # The budget is the decimal number as written, not the float nearest to it.
        total = Fraction(str(wanted.energy_budget_j)) * 10**15
        budget = (total - tables.loading_fj) // tables.samples
    bound_s, power_w = wanted.latency_bound_s, wanted.power_budget_w
    # 1 W is 1000 fJ per ps.
    power = None if power_w is None else 1000 * Fraction(str(power_w))
    bound = None if bound_s is None else int(Fraction(str(bound_s)) * 10**12)
    # Limits that no schedule reaches would only make numbers too large for the libraries.
    worst_fj = worst_energy_fj(tables, 0, layers - 1)
    if worst_fj >= LIMIT and (budget, power, bound_s) != (None, None, None):
        problem = (
            f"constraints: a sample could take {worst_fj:.3g} fJ; limits that make energies matter "
            f"need them below 2^61 = {LIMIT:.3g} fJ: leave out the limit, or lower the energies "
            "of the package"
        )
        raise InputError(f"instance {instance.name}", [problem])
    if budget is not None and budget >= worst_fj:
        budget = None
    if power is not None and power >= worst_fj:
        power = None
    if bound is not None:
        longest = tables.worst_latency_ps
        if power is not None:
            beats = (tables.samples + layers) * layers
            longest += beats * (int(worst_fj / power) + 1)
        bound = min(bound, longest)
    traffic = segment_traffic_bytes(tables)
    if wanted.dram_bytes_per_beat is not None:
        segments &= traffic <= wanted.dram_bytes_per_beat
    return Space(
        segments=segments,
        segment_count=count,
        clusters=clusters,
        fewest=wanted.min_clusters or 1,
        most=min(wanted.max_clusters or layers, layers, tables.chiplets // multiple),
        sizes=tuple(range(multiple, largest + 1, multiple)),
        partitions=tuple(
            indices[fixed[layer]] if layer in fixed else (ISP, WSP) for layer in range(layers)
        ),
        budget_fj=budget,
        latency_ps=bound,
        power_fj_per_ps=power,
        traffic_bytes=traffic,
        traffic_limit_bytes=wanted.dram_bytes_per_beat,
    )


class Caps:
    """Largest beats in ps of segments that can belong to a schedule worth finding.

    A segment matters only if, with the bounds of the layers before and after it, its latency stays
    within ``most_ps``, the latency of a known schedule (None if none is known). ``beats`` are
    further lower bounds on beats, by number of clusters (`paths.floors`), ``proved`` on the
    latencies of segments. With ``ends``, only the segment of these layers matters, and ``most_ps``
    is the largest latency of it alone.
    """

    def __init__(
        self,
        tables: LatencyTables,
        space: Space,
        most_ps: int | None,
        beats: Ints | None = None,
        proved: Ints | None = None,
        ends: tuple[int, int] | None = None,
    ) -> None:
        self._samples, self._beat_floors = tables.samples, beats
        lower = segment_bounds(tables)
        floors = longest_beat(lower, tables.load_ps, tables.samples, 1)
        if proved is not None:
            lower = np.maximum(lower, proved)
        if beats is not None:
            times = tables.samples - 1 + np.arange(beats.shape[2])
            known = np.maximum(np.where(beats < LIMIT, beats, 0), floors[..., None]) * times
            known += tables.load_ps[..., None]
            lower = np.maximum(lower, np.where(beats < LIMIT, known, LIMIT).min(axis=2))
            floors = np.maximum(floors, beats.min(axis=2))
        asked = space.segments
        if ends is not None:
            asked = np.zeros_like(asked)
            asked[ends] = space.segments[ends]
        lower[~asked] = LIMIT
        lower = np.triu(lower)
        self.lower = lower
        """(L, L) lower bounds on latencies; `LIMIT` where there is no schedule, or none within
        ``most_ps`` because of ``beats``"""
        around = np.full_like(lower, LIMIT)
        if ends is None:
            around = best_around(lower)
        else:
            around[ends] = 0
        self.bound_ps = int(best_cut(lower)[-1]) if ends is None else int(lower[ends])
        """Lower bound on every schedule; `LIMIT` if the bound alone leaves none."""
        possible = (lower < LIMIT) & space.segments
        self.floors = np.where(possible, floors, 0)
        """(L, L) lower bounds on the beat"""
        self.around: Ints = around
        """(L, L) lower bounds on the latency of all layers outside a segment"""
        around = around + tables.load_ps
        self._room = np.where(
            possible & (around < LIMIT), (LIMIT if most_ps is None else most_ps) - around, -1
        )
        self._any = np.where(possible & (around < LIMIT), LIMIT, -1) if most_ps is None else None
        # Without further bounds, two clusters leave room for the longest beat.
        several = range(2, (2 if beats is None else max(2, space.most)) + 1)
        self.several: Ints = np.maximum.reduce([self._beats(n) for n in several])
        """(L, L) largest times of one of several clusters of a segment; -1 if there is none"""
        self.one: Ints = self._beats(1)
        """The same for the only cluster."""
        self._known: dict[tuple[tuple[int, int], tuple[int, int]], int] = {}

    def floor(self, first: int, last: int, clusters: int) -> int:
        """Lower bound on the beat of a segment with so many clusters."""
        if self._beat_floors is None:
            return int(self.floors[first, last])
        return max(int(self.floors[first, last]), int(self._beat_floors[first, last, clusters]))

    def _beats(self, clusters: int) -> Ints:
        if self._any is not None:
            beats: Ints = self._any.copy()
        else:
            beats = np.where(
                self._room < 0, -1, longest_beat(self._room, 0, self._samples, clusters)
            )
            beats[beats < self.floors] = -1
        known = self._beat_floors
        if known is not None and clusters < known.shape[2]:
            beats[(beats < known[..., clusters]) | (known[..., clusters] == LIMIT)] = -1
        return beats

    def all_segments(self, clusters: int) -> Ints:
        """(L, L) largest beats of segments with so many clusters; -1 if they cannot matter."""
        return self._beats(clusters)

    def cluster(self, starts: tuple[int, int], ends: tuple[int, int], *, alone: bool) -> int:
        """Largest time of a cluster of a segment within those ranges; -1 if there is none."""
        if alone:
            return int(self.one[starts[0], ends[0]])
        top = self._known.get((starts, ends))
        if top is None:
            part = self.several[starts[0] : starts[1] + 1, ends[0] : ends[1] + 1]
            top = self._known[starts, ends] = int(part.max(initial=-1))
        return top


def worst_energy_fj(tables: LatencyTables, first: int, last: int) -> int:
    """An energy of one sample that no schedule of the segment exceeds; 0 without energies."""
    e = tables.energy
    if e is None:
        return 0
    part = slice(first, last + 1)
    arrays = (e.mac_fj, e.sram_fj, e.gather_fj, e.within_fj, e.send_fj, e.receive_fj)
    total = sum(sum(a[part].reshape(last - first + 1, -1).max(axis=1).tolist()) for a in arrays)
    moved = int(e.input_bytes[part].sum() + e.output_bytes[part].sum())
    moved += int(tables.weight_bytes[part].sum()) + 2 * int(e.edge_bytes.sum())
    total += sum(e.edge_send_fj.max(axis=1).tolist()) if len(e.edge_send_fj) else 0
    return total + moved * e.dram_fj_per_byte
