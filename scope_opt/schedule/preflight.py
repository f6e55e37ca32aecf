"""Why an instance has no schedule at all, where that shows without a search.

Every reason is a proof: it holds for all schedules, however the network is cut into segments.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scope_opt.model.files import InputError
from scope_opt.model.tables import LIMIT
from scope_opt.schedule.bounds import latency_bound, segment_traffic_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables


def reasons(instance: Instance, tables: LatencyTables) -> list[str]:
    """What makes an instance infeasible, one sentence each with the way out; empty if unknown.

    Parameters
    ----------
    instance : Instance
    tables : LatencyTables
        Its tables.
    """
    return [
        *_weights(instance, tables),
        *_copies(instance, tables),
        *_cluster_counts(instance, tables),
        *_totals(instance, tables),
        *_power(instance, tables),
        *_traffic(instance, tables),
    ]


def _largest_region(instance: Instance, tables: LatencyTables) -> int:
    limits = instance.constraints
    multiple = limits.region_multiple or 1
    return min(limits.max_region or tables.chiplets, tables.chiplets) // multiple * multiple


def _weights(instance: Instance, tables: LatencyTables) -> Iterator[str]:
    """Layers, and layers that must share a cluster, whose weights fit no region."""
    if tables.stream:
        return
    largest, names = _largest_region(instance, tables), instance.layer_names
    for first, last in _merged(instance, tables.layers):
        # A layer alone on the whole package needs no room.
        if first == last and largest == tables.chiplets:
            continue
        stored = int(tables.weight_bytes[first : last + 1].sum())
        needed = -(-stored // tables.weight_buffer_bytes)
        if needed > largest:
            what = f"layer {first} ({names[first]})"
            if last > first:
                what = f"layers {first} to {last}, which required_merges joins"
            allowed = f"the side constraints allow regions of at most {largest}"
            if largest == tables.chiplets:
                allowed = f"there are {largest}"
            yield (
                f"the weights of {what}, {stored} bytes, need {needed} chiplets, {allowed}; allow "
                "larger regions or overflow 'stream'"
            )


def _merged(instance: Instance, layers: int) -> Iterator[tuple[int, int]]:
    """Runs of layers that must share a cluster, single layers included."""
    joined = set(instance.constraints.required_merges or ())
    starts = [layer for layer in range(layers) if layer - 1 not in joined]
    yield from ((first, following - 1) for first, following in pairwise([*starts, layers]))


def _copies(instance: Instance, tables: LatencyTables) -> Iterator[str]:
    """Layers fixed to WSP whose whole kernel does not fit a chiplet.

    ``W (r-1) + W <= cap r`` holds for no ``r`` if it does not hold for one chiplet. Under
    ``stream``, one chiplet makes no copy.
    """
    smallest = instance.constraints.region_multiple or 1
    if tables.chiplets == 1 or (tables.stream and smallest == 1):
        return
    for fixed in instance.constraints.fixed_partitions or ():
        stored = int(tables.weight_bytes[fixed.layer])
        if fixed.partition == "WSP" and stored > tables.weight_buffer_bytes:
            yield (
                f"layer {fixed.layer} ({instance.layer_names[fixed.layer]}) is fixed to WSP, which "
                f"keeps all its {stored} weight bytes on every chiplet, whose buffer has "
                f"{tables.weight_buffer_bytes}; allow ISP"
            )


def _cluster_counts(instance: Instance, tables: LatencyTables) -> Iterator[str]:
    limits = instance.constraints
    least, most = limits.min_clusters or 1, limits.max_clusters
    multiple = limits.region_multiple or 1
    if least > tables.chiplets // multiple:
        yield (
            f"min_clusters = {least} regions of at least {multiple} chiplets need "
            f"{least * multiple}, there are {tables.chiplets}; lower min_clusters or "
            "region_multiple"
        )
    # With the segments open, one segment has the most clusters and single layers have the fewest.
    starts = limits.fixed_segments or (0,)
    for first, following in pairwise([*starts, tables.layers]):
        inside = range(first, following - 1)
        joined = sum(layer in (limits.required_merges or ()) for layer in inside)
        apart = sum(layer in (limits.forbidden_merges or ()) for layer in inside)
        where = f"layers {first} to {following - 1}"
        if following - first - joined < least:
            yield (
                f"{where} make at most {following - first - joined} clusters, min_clusters is "
                f"{least}; lower it, or require fewer merges"
            )
        if limits.fixed_segments and most is not None and 1 + apart > most:
            yield (
                f"{where} are a segment of at least {1 + apart} clusters, max_clusters is {most}; "
                "raise it, or forbid fewer merges"
            )


def _totals(instance: Instance, tables: LatencyTables) -> Iterator[str]:
    """Budgets that even simple lower bounds exceed."""
    limits, energy = instance.constraints, tables.energy
    if limits.latency_bound_s is not None:
        floor_ps = latency_bound(tables)
        if floor_ps > Fraction(str(limits.latency_bound_s)) * 10**12:
            yield (
                f"every schedule takes at least {floor_ps / 10**12:.6g} s, latency_bound_s is "
                f"{limits.latency_bound_s}; raise it"
            )
    if limits.energy_budget_j is None or energy is None:
        return
    budget_fj = Fraction(str(limits.energy_budget_j)) * 10**15
    loading = tables.loading_fj
    ends = energy.dram_fj_per_byte * int(energy.input_bytes[0] + energy.output_bytes[-1])
    least = loading + tables.samples * (int(energy.floor_fj.sum()) + ends)
    if loading > budget_fj:
        yield (
            f"loading the weights alone takes {loading / 10**15:.6g} J, energy_budget_j is "
            f"{limits.energy_budget_j}; raise it"
        )
    elif least > budget_fj:
        yield (
            f"MACs, buffers and weights alone take {least / 10**15:.6g} J, energy_budget_j is "
            f"{limits.energy_budget_j}; raise it"
        )


def _power(instance: Instance, tables: LatencyTables) -> Iterator[str]:
    """A power budget under which what every schedule spends takes longer than allowed."""
    bound_s, floor = instance.constraints.latency_bound_s, _power_floor(instance, tables)
    if bound_s is not None and floor.latency_ps > Fraction(str(bound_s)) * 10**12:
        yield f"{floor.text}, latency_bound_s is {bound_s}; raise either"


def refuse_power(instance: Instance, tables: LatencyTables) -> None:
    """Raise `InputError` for a power budget under which every latency overflows."""
    floor = _power_floor(instance, tables)
    if floor.latency_ps >= LIMIT:
        allowed = f"latencies must stay below 2^61 ps = {LIMIT / 10**12:.6g} s"
        raise InputError("constraints", [f"power_budget_w: {floor.text}; {allowed}; raise it"])


class _PowerFloor(NamedTuple):
    """What every schedule takes because of the power budget; 0 without one."""

    latency_ps: int
    text: str


def _power_floor(instance: Instance, tables: LatencyTables) -> _PowerFloor:
    """A segment's beat allows for its energy of a sample, and there is a beat for every sample.

    So the latency allows for the energy of all samples, wherever the segments are cut.
    """
    budget_w, energy = instance.constraints.power_budget_w, tables.energy
    if budget_w is None or energy is None:
        return _PowerFloor(0, "")
    spent_fj = tables.samples * int(energy.floor_fj.sum())
    latency_ps = ceil(spent_fj / (1000 * Fraction(str(budget_w))))  # 1 W is 1000 fJ per ps
    spent = f"MACs and buffers take {spent_fj / 10**15:.6g} J, at power_budget_w = {budget_w}"
    return _PowerFloor(latency_ps, f"{spent} at least {latency_ps / 10**12:.6g} s")


def _traffic(instance: Instance, tables: LatencyTables) -> Iterator[str]:
    """Layers around which every segment moves more through DRAM than a beat may."""
    limits = instance.constraints
    if limits.dram_bytes_per_beat is None or tables.energy is None:
        return
    traffic = segment_traffic_bytes(tables)
    ends = [*(limits.fixed_segments or range(tables.layers)), tables.layers]
    for first, following in pairwise(ends):
        around = traffic[: first + 1, following - 1 :]
        if limits.fixed_segments:
            around = traffic[first, following - 1]
        least = int(np.min(around))
        if least > limits.dram_bytes_per_beat:
            yield (
                f"every segment with layer {first} ({instance.layer_names[first]}) moves at least "
                f"{least} bytes through DRAM for a sample, dram_bytes_per_beat is "
                f"{limits.dram_bytes_per_beat}; raise it"
            )
