"""What is known without a search: simple schedules and a bound, for solvers that are stopped early.

Segments of equal clusters, sized by their load: rarely good, but there at once, and valid for most
instances. Whoever shows them says that the solver did not find them.
"""

from __future__ import annotations

import time
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from scope_opt.model.tables import ISP, LIMIT, PARTITIONS, WSP
from scope_opt.schedule.bounds import latency_bound
from scope_opt.schedule.evaluate import evaluate
from scope_opt.schedule.schedule import InstanceReference, Schedule, make_segment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.schedule.schedule import Segment
    from scope_opt.solving.solver import SegmentChoice

    Cuts = tuple[int, ...]
    Clusters = list[tuple[int, int, Sequence[int]]]

FALLBACK = "stopped before it had a schedule: this is a simple one, of equal clusters, not its own"
ENOUGH_S = 0.5
"""Seconds after which no further one is tried."""


def simple_bound(instance: Instance, tables: LatencyTables) -> int | None:
    """Lower bound on every schedule, in ps or, where energy is minimized, in fJ; None without."""
    if instance.minimizes == "energy":
        energy = tables.energy
        return None if energy is None else tables.samples * int(energy.floor_fj.sum())
    bound = latency_bound(tables)
    return bound if bound < LIMIT else None


def simple_schedule(
    instance: Instance,
    tables: LatencyTables,
    choice: SegmentChoice | None = None,
    *,
    single_layers: bool = False,
) -> tuple[int, tuple[Segment, ...]] | None:
    """Best of a few schedules that are made without a search, and what is minimized.

    Parameters
    ----------
    instance : Instance
    tables : LatencyTables
    choice : SegmentChoice, optional
        How its segments are to be chosen.
    single_layers : bool
        Whether each cluster must have a single layer.

    Returns
    -------
    (int, tuple of Segment) or None
        ps, or fJ where energy is minimized; None if all of them break a rule of the instance.
    """
    best: tuple[int, tuple[Segment, ...]] | None = None
    reference = InstanceReference.to(instance)
    began_s = time.perf_counter()
    for cuts in _cuts(instance, tables, choice):
        for segments in _filled(instance, tables, cuts, single_layers):
            found = evaluate(instance, Schedule(instance=reference, segments=segments), tables)
            energy = instance.minimizes == "energy"
            value = found.energy_fj if energy else found.objective_ps
            small = value is not None and (energy or value < LIMIT)
            if value is not None and small and (best is None or value < best[0]):
                best = value, segments
            if time.perf_counter() - began_s > ENOUGH_S:
                return best
    return best


def _cuts(instance: Instance, tables: LatencyTables, choice: SegmentChoice | None) -> list[Cuts]:
    """First layers of segments, as the choice and the instance want them."""
    layers = tables.layers
    if instance.constraints.fixed_segments is not None:
        return [instance.constraints.fixed_segments]
    if choice == "single":
        return [(0,)]
    if isinstance(choice, tuple):
        return [choice]
    if isinstance(choice, int):
        ones = np.ones(layers, dtype=np.int64)
        return [*dict.fromkeys(_even(part, choice) for part in (ones, tables.load))]
    every = tuple(range(layers))
    if choice == "balanced":
        return [every, (0,)]
    return [*dict.fromkeys((every, _full(tables), (0,)))]


def _even(load: np.ndarray[tuple[int], np.dtype[np.int64]], count: int) -> Cuts:
    """First layers of so many parts, of about the same load each."""
    total = np.cumsum(load)
    cuts = [0]
    for part in range(1, count):
        aim = int(np.searchsorted(total, total[-1] * part / count)) + 1
        cuts.append(min(max(aim, cuts[-1] + 1), len(load) - count + part))
    return tuple(cuts)


def _full(tables: LatencyTables) -> Cuts:
    """As few segments as hold their weights on chip, from the first layer on."""
    room = tables.weight_buffer_bytes * tables.chiplets
    cuts, stored = [0], 0
    for layer, weights in enumerate(tables.weight_bytes.tolist()):
        stored += weights
        if stored > room and layer > cuts[-1]:
            cuts.append(layer)
            stored = weights
    return tuple(cuts)


def _filled(
    instance: Instance, tables: LatencyTables, cuts: Cuts, single_layers: bool
) -> Iterator[tuple[Segment, ...]]:
    """Those segments with equal clusters, in each of a few ways to partition layers."""
    quicker = np.argmin(tables.compute_ps[:, :, tables.chiplets], axis=1).tolist()
    ways = ([ISP] * tables.layers, [WSP] * tables.layers, quicker)
    fixed = {
        one.layer: PARTITIONS.index(one.partition)
        for one in instance.constraints.fixed_partitions or ()
    }
    shapes = [
        _shape(instance, tables, first, following, single_layers)
        for first, following in zip(cuts, (*cuts[1:], tables.layers), strict=True)
    ]
    if any(shape is None for shape in shapes):
        return
    for way in ways:
        partitions = [fixed.get(layer, way[layer]) for layer in range(tables.layers)]
        segments = []
        for first, shape in zip(cuts, shapes, strict=True):
            clusters: Clusters = []
            layer = first
            for count, size in shape or ():
                clusters.append((count, size, partitions[layer : layer + count]))
                layer += count
            segments.append(make_segment(first, clusters))
        yield tuple(segments)


def _shape(
    instance: Instance, tables: LatencyTables, first: int, following: int, single_layers: bool
) -> list[tuple[int, int]] | None:
    """Layers and chiplets of the clusters of a segment; None if there are too few of either."""
    limits, layers = instance.constraints, following - first
    count = layers if single_layers else limits.min_clusters or 1
    step = limits.region_multiple or 1
    most = min(limits.max_region or tables.chiplets, tables.chiplets) // step
    slots = tables.chiplets // step
    if count > layers or count > slots or not most:
        return None
    starts = [*_even(tables.load[first:following], count), layers]
    bounds = list(pairwise(starts))
    sizes = []
    for begin, end in bounds:
        stored = int(tables.weight_bytes[first + begin : first + end].sum())
        room = tables.weight_buffer_bytes * step
        sizes.append(1 if tables.stream or layers == 1 else max(1, -(-stored // room)))
    if sum(sizes) > slots:
        return None
    # Chiplets go, one step at a time, to the cluster that has most work on each of its own.
    work = [int(tables.load[first + begin : first + end].sum()) for begin, end in bounds]
    for _ in range(slots - sum(sizes)):
        open_ = [k for k in range(count) if sizes[k] < most]
        if not open_:
            break
        sizes[max(open_, key=lambda k: (work[k] / sizes[k], -k))] += 1
    return [(end - begin, size * step) for (begin, end), size in zip(bounds, sizes, strict=True)]
