"""Hypothesis strategies for instances and schedules, as plain dicts of the JSON formats.

Everything shrinks towards one layer, one chiplet, ample buffers and no extras. Physical instances
satisfy the consistency rules of docs/model.md; nothing here promises that a valid schedule exists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import oracle
from hypothesis import assume, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from scope_opt.solving.solver import SegmentChoice

Json = dict[str, Any]
Draw = st.DrawFn

MESHES = [(rows, cols) for rows in range(1, 9) for cols in range(1, 9)]


def share(parts: int) -> int:
    """That part of the profile's examples, for tests that do much per example."""
    return max(1, settings().max_examples // parts)


def _maybe(draw: Draw) -> bool:
    return draw(st.booleans())


def _rarely(draw: Draw) -> bool:
    return draw(st.sampled_from([False, False, False, True]))


# --- Physical instances --------------------------------------------------------------------------


@st.composite
def _layer(draw: Draw, index: int) -> Json:
    """One layer: mostly a square convolution, sometimes fully connected or grouped."""
    kind = draw(st.sampled_from(["conv", "fc", "groups", "depthwise"]))
    groups = draw(st.sampled_from([2, 3, 4])) if kind in ("groups", "depthwise") else 1
    if kind == "depthwise":
        in_channels = out_channels = groups
    else:
        in_channels = groups * draw(st.sampled_from([1, 3, 8, 20, 33]))
        out_channels = groups * draw(st.sampled_from([1, 4, 10, 16, 65]))
    if kind == "fc":
        height = width = kernel = draw(st.sampled_from([1, 3]))
        stride, padding = 1, 0
    else:
        height = draw(st.integers(1, 9))
        width = draw(st.one_of(st.just(height), st.integers(1, 9)))
        kernel = draw(st.sampled_from([1, 3, 5]))
        # "Same" padding, or none where the kernel fits into the input.
        paddings = [(kernel - 1) // 2]
        if kernel > 1 and kernel <= min(height, width):
            paddings.append(0)
        padding = draw(st.sampled_from(paddings))
        stride = draw(st.sampled_from([1, 2, 3]))
    out_height = (height + 2 * padding - kernel) // stride + 1
    out_width = (width + 2 * padding - kernel) // stride + 1
    weights = out_channels * (in_channels // groups) * kernel * kernel
    # Without weights the layer multiplies two activations.
    if draw(st.sampled_from([True] * 7 + [False])) is False:
        weights = 0
    outputs = out_channels * out_height * out_width
    pooled = draw(st.sampled_from([1, 4]))
    return {
        "name": f"l{index}",
        "in_channels": in_channels,
        "out_channels": out_channels,
        "input_height": height,
        "input_width": width,
        "output_height": out_height,
        "output_width": out_width,
        "kernel_height": kernel,
        "kernel_width": kernel,
        "stride": stride,
        "groups": groups,
        "weight_bytes": weights,
        "input_bytes": in_channels * height * width,
        "output_bytes": max(1, outputs // pooled),
    }


@st.composite
def _edge_pairs(draw: Draw, n: int) -> list[tuple[int, int]]:
    """Chain edges, some left out, and skip edges; every layer but the first has a producer."""
    pairs = set()
    for v in range(1, n):
        absent = v >= 2 and draw(st.sampled_from([False] * 5 + [True]))
        pairs.add((draw(st.integers(0, v - 2)), v) if absent else (v - 1, v))
    for _ in range(draw(st.integers(0, 3)) if n >= 3 else 0):
        u = draw(st.integers(0, n - 3))
        pairs.add((u, draw(st.integers(u + 2, n - 1))))
    return sorted(pairs)


@st.composite
def _tensors(draw: Draw, n: int) -> list[tuple[int, int | list[int]]]:
    """Edges of explicit tables: skip edges alone, or tensors of several readers and chain edges."""
    pairs = draw(_edge_pairs(n))
    if not _maybe(draw):
        return [(u, v) for u, v in pairs if v > u + 1]
    found: list[tuple[int, int | list[int]]] = []
    for u in range(n - 1):
        readers = [v for source, v in pairs if source == u]
        if len(readers) > 1 and _maybe(draw):
            found.append((u, readers))
        else:
            found += [(u, v) for v in readers]
    return found


@st.composite
def _capacity(draw: Draw, weights: list[int], chiplets: int) -> int:
    """Weight buffer: ample, or at the edge of one of the capacity rules, or tiny."""
    total = sum(weights)
    edges = [2**20, total, -(-total // chiplets), max(weights), max(weights) // chiplets, 1]
    base = draw(st.sampled_from([*edges, -1]))
    if base == -1:
        base = draw(st.integers(1, max(1, total)))
    return max(1, base + draw(st.sampled_from([0, 1, -1])))


@st.composite
def _constraints(draw: Draw, n: int, chiplets: int) -> Json:
    """Some side constraints, without contradictions that are visible at a glance."""
    chosen: Json = {}
    if _rarely(draw):
        chosen["fixed_segments"] = [0, *(i for i in range(1, n) if _maybe(draw))]
    if _rarely(draw):
        chosen["min_clusters"] = draw(st.integers(1, min(2, n, chiplets)))
    if _rarely(draw):
        chosen["max_clusters"] = draw(st.integers(chosen.get("min_clusters", 1), min(3, n)))
    if n > 1 and _rarely(draw):
        borders = chosen.get("fixed_segments", [])
        marks = {i: draw(st.sampled_from(["free", "apart", "together"])) for i in range(n - 1)}
        chosen["forbidden_merges"] = [i for i, mark in marks.items() if mark == "apart"]
        chosen["required_merges"] = [
            i for i, mark in marks.items() if mark == "together" and i + 1 not in borders
        ]
    if _rarely(draw):
        layers = draw(st.sets(st.integers(0, n - 1), min_size=1, max_size=2))
        chosen["fixed_partitions"] = [
            {"layer": i, "partition": draw(st.sampled_from(oracle.PARTITIONS))}
            for i in sorted(layers)
        ]
    if _rarely(draw):
        chosen["region_multiple"] = draw(st.integers(1, min(3, chiplets)))
    if _rarely(draw):
        chosen["max_region"] = draw(st.integers(chosen.get("region_multiple", 1), chiplets))
    return chosen


@st.composite
def limits(draw: Draw, instance: Json) -> Json:
    """Limits on latency, power and DRAM traffic around those of one schedule, each rarely.

    The factors range from generous to hopeless; with 1 the schedule meets the limit exactly
    (power: to three digits).
    """
    chosen: Json = {}
    schedule = draw(schedules(instance))
    segments = oracle.parse(schedule)
    judge = oracle.oracle(instance)
    if _rarely(draw):
        factor = draw(st.sampled_from([1.0, 2.0, 0.9, 0.6]))
        moved = max(judge.dram_bytes(segment) for segment in segments)
        chosen["dram_bytes_per_beat"] = max(1, int(factor * moved))
    if _rarely(draw):
        # Femtojoules per picosecond are milliwatts.
        segment = draw(st.sampled_from(segments))
        power = sum(judge.segment_energy_fj(segment)) / judge.beat_ps(segment) / 1000
        factor = draw(st.sampled_from([1.0, 2.0, 0.8, 0.3, 0.05]))
        chosen["power_budget_w"] = float(f"{power * factor:.2e}")
    if _rarely(draw):
        slowed = {**instance, "constraints": {**instance["constraints"], **chosen}}
        latency = oracle.objective_ps(slowed, schedule)
        factor = draw(st.sampled_from([1.0, 2.0, 0.9, 0.7, 0.5, 0.1]))
        digits = f"{latency}" if factor == 1.0 else f"{latency * factor:.2e}"
        chosen["latency_bound_s"] = float(digits) / 10**12
    return chosen


@st.composite
def physical_instances(
    draw: Draw,
    max_layers: int = 6,
    max_chiplets: int = 8,
    constraints: bool = False,
    couplings: bool = False,
    meshes: list[tuple[int, int]] = MESHES,
) -> Json:
    """Instances with a network and a package.

    ``constraints`` adds side constraints other than the limits of ``couplings``: a bound on the
    latency (and energy minimized instead), on the power, and on the DRAM traffic.
    """
    n = draw(st.integers(1, max_layers))
    layers = [draw(_layer(i)) for i in range(n)]
    edges = []
    for u, v in draw(_edge_pairs(n)):
        volume = layers[u]["output_bytes"]
        if draw(st.sampled_from([False] * 3 + [True])):
            volume = draw(st.integers(1, volume))
        edges.append({"from": u, "to": v, "bytes": volume})

    meshes = [mesh for mesh in meshes if mesh[0] * mesh[1] <= max_chiplets]
    meshes.sort(key=lambda mesh: (mesh[0] * mesh[1], mesh))
    rows, cols = draw(st.sampled_from(meshes))
    chiplets = rows * cols
    pes = draw(st.sampled_from([16, 4, 1]))
    chiplet = {
        "pes": pes,
        "lanes_per_pe": draw(st.sampled_from([8, 2, 3])),
        "macs_per_lane": draw(st.sampled_from([8, 4, 1])),
        "frequency_hz": draw(st.sampled_from([8e8, 1e9, 3e8])),
        "weight_buffer_bytes": draw(_capacity([x["weight_bytes"] for x in layers], chiplets)),
        "global_buffer_bytes": 65536,
    }
    package = {
        "mesh_rows": rows,
        "mesh_cols": cols,
        "chiplet": chiplet,
        "nop": {
            "bandwidth_bytes_per_s": draw(st.sampled_from([1e11, 1e10, 4e8])),
            "ports": draw(st.sampled_from([4, 2])),
            "energy_pj_per_bit": draw(st.sampled_from([1.3, 0.5])),
            "eta_within": draw(st.sampled_from([1.12, 1.0])),
            "eta_between": draw(st.sampled_from([1.06, 1.0])),
        },
        "dram": {
            "bandwidth_bytes_per_s": draw(st.sampled_from([1e11, 2.5e10, 1e9])),
            "latency_s": draw(st.sampled_from([5.2e-8, 0.0])),
            "efficiency": draw(st.sampled_from([0.93, 1.0])),
            "energy_pj_per_bit": draw(st.sampled_from([4.0, 3.3])),
        },
        "pe_split": draw(st.sampled_from(["any", "channels"])),
        "mac_energy_pj": 0.2,
        "sram_energy_pj_per_byte": draw(st.sampled_from([1.25, 0.7])),
    }
    instance: Json = {
        "format": "scope-instance/1",
        "name": "drawn",
        "samples": draw(st.sampled_from([1, 2, 64]) | st.integers(1, 64)),
        "overflow": draw(st.sampled_from(["forbid", "stream"])),
        "network": {"name": "drawn", "layers": layers, "edges": edges},
        "package": package,
        "constraints": {},
    }
    if constraints:
        instance["constraints"] = draw(_constraints(n, chiplets))
        if _maybe(draw):
            # A budget around the energy of some schedule, so that it separates schedules.
            energy = oracle.energy_j(instance, draw(schedules(instance)))
            assert energy is not None
            budget = energy["total"] * draw(st.sampled_from([1.1, 0.9, 2.0, 0.5]))
            instance["constraints"]["energy_budget_j"] = float(f"{budget:.3e}")
    if couplings:
        instance["constraints"].update(draw(limits(instance)))
    return instance


@st.composite
def trading_instances(draw: Draw, max_layers: int = 3, max_chiplets: int = 4) -> Json:
    """Small instances that minimize energy, with a latency bound that often excludes the least.

    It lies between the latencies of the fastest schedule and of the one of least energy, which
    differ in four of ten. A valid schedule exists: the fastest meets every bound.
    """
    instance = draw(physical_instances(max_layers, max_chiplets, constraints=True, couplings=True))
    limits = instance["constraints"]
    limits.pop("latency_bound_s", None)
    fastest = oracle.best(instance)
    assume(fastest is not None)
    assert fastest is not None
    generous = {**instance, "constraints": {**limits, "latency_bound_s": 1e6}}
    leanest = oracle.best(generous)
    assert leanest is not None
    fast, lean = fastest[1], oracle.objective_ps(instance, leanest[0])
    percent = draw(st.sampled_from([100, 0, 50, 10, 90, 99]))
    limits["latency_bound_s"] = float(fast + (lean - fast) * percent // 100) / 10**12
    return instance


# --- Explicit tables -----------------------------------------------------------------------------


@st.composite
def _table(draw: Draw, size: int, low: int, high: int, monotone: bool) -> list[int]:
    """One number per region size."""
    values = draw(st.lists(st.integers(low, high), min_size=size, max_size=size))
    return sorted(values, reverse=True) if monotone else values


@st.composite
def _triangle(draw: Draw, n: int, high: int) -> list[list[int]]:
    """One number per segment, entry [first][last]."""
    return [[draw(st.integers(0, high)) if j >= i else 0 for j in range(n)] for i in range(n)]


@st.composite
def table_instances(
    draw: Draw,
    max_layers: int = 6,
    max_chiplets: int = 8,
    constraints: bool = False,
    monotone: bool = False,
) -> Json:
    """Instances with explicit tables of small numbers; ``monotone``: never slower on more chiplets.

    Monotone means every table over the region size, those of the transfers and of the weight
    stream included.
    """
    n = draw(st.integers(1, max_layers))
    size = draw(st.integers(1, max_chiplets))
    top = draw(st.sampled_from([3, 12, 40]))
    table = _table(size, 0, top, monotone)
    # A table left out is a table of zeros. Decided once, so that the numbers stay few.
    has = {key: _maybe(draw) for key in ("gather_ps", "within_ps", "send_ps", "receive_ps")}
    layers = []
    for i in range(n):
        layer: Json = {
            "name": f"l{i}",
            "weight_bytes": draw(st.integers(0, 20)),
            "compute_ps": {p: draw(_table(size, 1, 2 * top, monotone)) for p in oracle.PARTITIONS},
            "input_ps": draw(st.integers(0, top)),
            "output_ps": draw(st.integers(0, top)),
        }
        if has["gather_ps"]:
            layer["gather_ps"] = draw(table)
        if has["within_ps"]:
            layer["within_ps"] = {
                p: {q: draw(table) for q in oracle.PARTITIONS} for p in oracle.PARTITIONS
            }
        if has["send_ps"]:
            layer["send_ps"] = draw(table)
        if has["receive_ps"]:
            layer["receive_ps"] = {q: draw(table) for q in oracle.PARTITIONS}
        layers.append(layer)
    edges = []
    has["edge_receive_ps"] = _maybe(draw)
    for u, to in draw(_tensors(n)):
        edge: Json = {
            "from": u,
            "to": to,
            "send_ps": draw(table),
            "write_ps": draw(st.integers(0, top)),
            "read_ps": draw(st.integers(0, top)),
        }
        if has["edge_receive_ps"]:
            edge["receive_ps"] = draw(table)
        edges.append(edge)
    tables: Json = {
        "chiplets": size,
        "weight_buffer_bytes": draw(_capacity([x["weight_bytes"] for x in layers], size)),
        "layers": layers,
        "edges": edges,
        "dram_latency_ps": draw(st.integers(0, 3)),
        "stream_fs_per_byte": draw(_table(size, 0, 3000, monotone)),
    }
    if _maybe(draw):
        tables["segment_dram_ps"] = draw(_triangle(n, 3 * top))
    if _maybe(draw):
        tables["load_ps"] = draw(_triangle(n, 10 * top))
    return {
        "format": "scope-instance/1",
        "name": "drawn",
        "samples": draw(st.sampled_from([1, 2, 64]) | st.integers(1, 64)),
        "overflow": draw(st.sampled_from(["forbid", "stream"])),
        "tables": tables,
        "constraints": draw(_constraints(n, size)) if constraints else {},
    }


# --- Schedules -----------------------------------------------------------------------------------


def _sizes(instance: Json) -> tuple[int, int]:
    """Numbers of layers and of chiplets."""
    if "tables" in instance:
        return len(instance["tables"]["layers"]), instance["tables"]["chiplets"]
    package = instance["package"]
    return len(instance["network"]["layers"]), package["mesh_rows"] * package["mesh_cols"]


@st.composite
def schedules(draw: Draw, instance: Json) -> Json:
    """Structurally sound schedules: any segments, clusters, regions and partitions.

    Capacity and side constraints may be violated.
    """
    n, chiplets = _sizes(instance)
    runs: list[list[tuple[int, int]]] = [[(0, 0)]]
    for layer in range(1, n):
        cut = draw(st.sampled_from(["none", "cluster", "segment"]))
        if cut == "none":
            runs[-1][-1] = (runs[-1][-1][0], layer)
        elif cut == "cluster" and len(runs[-1]) < chiplets:
            runs[-1].append((layer, layer))
        else:
            runs.append([(layer, layer)])
    segments = []
    for clusters in runs:
        left = chiplets - len(clusters)
        # Whether the last cluster takes whatever is left; otherwise chiplets may stay idle.
        fill = _maybe(draw)
        segment = []
        for k, (first, last) in enumerate(clusters):
            more = left if fill and k == len(clusters) - 1 else draw(st.integers(0, left))
            left -= more
            partitions = draw(
                st.lists(
                    st.sampled_from(oracle.PARTITIONS),
                    min_size=last - first + 1,
                    max_size=last - first + 1,
                )
            )
            segment.append(oracle.Cluster(first, last, 1 + more, tuple(partitions)))
        segments.append(tuple(segment))
    return oracle.to_json(segments)


@st.composite
def valid_or_not(draw: Draw, instance: Json) -> Json:
    """Schedules of which some break a structural rule."""
    n, chiplets = _sizes(instance)
    schedule = draw(schedules(instance))
    fault = draw(st.sampled_from(["none", "coverage", "empty", "zero", "many", "partitions"]))
    clusters = draw(st.sampled_from([segment["clusters"] for segment in schedule["segments"]]))
    index = draw(st.integers(0, len(clusters) - 1))
    cluster = clusters[index]
    if fault == "coverage":
        how = draw(st.sampled_from(["skips", "overlaps", "beyond", "missing"]))
        if how == "skips":
            cluster["first_layer"] += 1
            cluster["partitions"].pop()
        elif how == "overlaps":
            cluster["last_layer"] += 1
            cluster["partitions"].append(oracle.ISP)
        elif how == "beyond":
            last = schedule["segments"][-1]["clusters"][-1]
            last["last_layer"] = n
            last["partitions"].append(oracle.ISP)
        else:
            schedule["segments"].pop()
    elif fault == "empty":
        clusters.insert(
            index,
            {
                "first_layer": cluster["first_layer"],
                "last_layer": cluster["first_layer"] - 1,
                "chiplets": 1,
                "partitions": [],
            },
        )
    elif fault == "zero":
        cluster["chiplets"] = draw(st.integers(-1, 0))
    elif fault == "many":
        used = sum(c["chiplets"] for c in clusters)
        cluster["chiplets"] += chiplets - used + draw(st.integers(1, 3))
    elif fault == "partitions":
        if _maybe(draw):
            cluster["partitions"].append(oracle.WSP)
        else:
            cluster["partitions"].pop()
    return schedule


@st.composite
def segment_choices(draw: Draw, layers: int) -> SegmentChoice:
    """A method, a number of segments, or their first layers."""
    kind = draw(st.sampled_from(["single", "dp", "number", "starts"]))
    if kind == "number":
        return draw(st.integers(1, layers))
    if kind == "starts":
        inner = draw(st.sets(st.integers(1, layers - 1))) if layers > 1 else set()
        return (0, *sorted(inner))
    return "single" if kind == "single" else "dp"
