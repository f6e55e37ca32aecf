"""Hypothesis strategies for instances of the placed model, and for what it shares with the other.

Plain dicts of the JSON format that satisfy the consistency rules of docs/model.md. Everything
shrinks towards instances without optional keys.
"""

from __future__ import annotations

from typing import Any

import oracle
import strategies
from hypothesis import strategies as st

Json = dict[str, Any]
Draw = st.DrawFn

MESHES = [(rows, cols) for rows in range(1, 4) for cols in range(1, 5)]

#: What `generate` writes: fitted to measurements of an LPDDR5 memory.
STREAMS = {
    "latency_s": 4.54e-8,
    "latency_per_stream_s": 1.54e-8,
    "latency_mixed_s": 7.98e-8,
    "read": 0.908,
    "write": 0.866,
    "slope": 0.049,
    "slope_write": 0.083,
    "most": 8,
}


def _maybe(draw: Draw) -> bool:
    return draw(st.booleans())


def _rarely(draw: Draw) -> bool:
    return draw(st.sampled_from([False, False, False, True]))


# --- Networks ------------------------------------------------------------------------------------


def _pair(draw: Draw, values: list[int]) -> int | list[int]:
    """One number for height and width, or one for each."""
    if _maybe(draw):
        return draw(st.sampled_from(values))
    return [draw(st.sampled_from(values)), draw(st.sampled_from(values))]


@st.composite
def _reshaped(draw: Draw, layer: Json) -> Json:
    """The layer with its own kernel, stride and dilation down and across."""
    kernel = [draw(st.sampled_from([3, 1, 5])) for _ in range(2)]
    stride, dilation = _pair(draw, [1, 2, 3]), _pair(draw, [1, 2, 3])
    sizes = []
    for k, side in enumerate(("height", "width")):
        size = layer[f"input_{side}"]
        reach = oracle.height_width(dilation)[k] * (kernel[k] - 1) + 1
        # "Same" padding, or none where the kernel fits into the input.
        paddings = [(reach - 1) // 2] + [0] * (reach <= size)
        padding = draw(st.sampled_from(paddings))
        sizes.append((size + 2 * padding - reach) // oracle.height_width(stride)[k] + 1)
    outputs = layer["out_channels"] * sizes[0] * sizes[1]
    weights = layer["out_channels"] * (layer["in_channels"] // layer["groups"])
    return {
        **layer,
        "output_height": sizes[0],
        "output_width": sizes[1],
        "kernel_height": kernel[0],
        "kernel_width": kernel[1],
        "stride": stride,
        "dilation": dilation,
        "weight_bytes": weights * kernel[0] * kernel[1] if layer["weight_bytes"] else 0,
        "output_bytes": max(1, outputs // draw(st.sampled_from([1, 4]))),
    }


def _dense(n: int) -> dict[tuple[int, int], str | None]:
    """Every layer reads the outputs of all before it."""
    return {(u, v): "input" for v in range(n) for u in range(v)}


@st.composite
def _blocks(draw: Draw, n: int) -> dict[tuple[int, int], str | None]:
    """Residual blocks with a projection: it and the first convolution read the same tensor.

    The projection comes first, without an edge to the convolution, and is added to the block's last
    layer.
    """
    feeds: dict[tuple[int, int], str | None] = {(v - 1, v): None for v in range(1, n)}
    p = draw(st.integers(1, 2))
    while p + 2 < n:
        last = min(n - 1, p + draw(st.integers(2, 3)))
        del feeds[p, p + 1]
        feeds[p - 1, p + 1] = "input"
        feeds[p, last] = None
        p = last + draw(st.integers(1, 2))
    return feeds


@st.composite
def _edges(draw: Draw, layers: list[Json], pairs: list[tuple[int, int]]) -> list[Json]:
    """Edges of a kind of network, or the given ones, of either kind each."""
    n = len(layers)
    kind = draw(st.sampled_from(["given", "dense", "blocks"]))
    feeds: dict[tuple[int, int], str | None] = dict.fromkeys(pairs)
    if kind == "dense":
        feeds = _dense(n)
        if _maybe(draw):  # some layer does not read its predecessor
            feeds = {(u, v): fed for (u, v), fed in feeds.items() if u == 0 or _maybe(draw)}
    elif kind == "blocks":
        feeds = draw(_blocks(n))
    edges = []
    for (u, v), usual in sorted(feeds.items()):
        volume = layers[u]["output_bytes"]
        if _rarely(draw):
            volume = draw(st.integers(1, volume))
        edge = {"from": u, "to": v, "bytes": volume}
        fed = draw(st.sampled_from([usual, usual, "input", "sum"]))
        edges.append(edge if fed is None else {**edge, "feeds": fed})
    return edges


# --- Packages ------------------------------------------------------------------------------------


@st.composite
def orders(draw: Draw, rows: int, cols: int) -> str | list[list[int]]:
    """Positions by name or one by one."""
    widths = [w for w in range(1, cols + 1) if cols % w == 0]
    named = ["zigzag", "hilbert", *(f"blocks-{w}" for w in widths)]
    if draw(st.sampled_from([False, False, True])):
        return draw(st.permutations([[row, col] for row in range(rows) for col in range(cols)]))
    return draw(st.sampled_from(named))


def _put(draw: Draw, target: Json, key: str, values: list[Any]) -> None:
    """Give the key one of the values, or leave it as it is."""
    if _maybe(draw):
        target[key] = draw(st.sampled_from(values))


def _room(draw: Draw, instance: Json, schedule: Json) -> int:
    """Bytes around what a schedule needs; with that it fits exactly, with less it just does not."""
    need = max(max(needs) for needs in oracle.activation_bytes(instance, schedule))
    return max(1, need + draw(st.sampled_from([0, -1, need, -(need // 2)])))


@st.composite
def limited_instances(draw: Draw, max_layers: int, max_chiplets: int) -> Json:
    """Instances of the regressed model, without what was added to it but limited activations."""
    instance = draw(strategies.physical_instances(max_layers, max_chiplets))
    _put(draw, instance["package"], "activation_policy", ["stream", "whole"])
    schedule = draw(strategies.schedules(instance))
    instance["package"]["activation_buffer_bytes"] = _room(draw, instance, schedule)
    return instance


@st.composite
def _instances(
    draw: Draw, model: str, max_layers: int, max_chiplets: int, constraints: bool, couplings: bool
) -> Json:
    instance = draw(
        strategies.physical_instances(max_layers, max_chiplets, constraints, meshes=MESHES)
    )
    network, package = instance["network"], instance["package"]
    layers = [draw(_reshaped(x)) if _rarely(draw) else x for x in network["layers"]]
    pairs = [(edge["from"], edge["to"]) for edge in network["edges"]]
    for layer in layers:
        for way in oracle.WAYS:
            if draw(st.sampled_from([False] * 7 + [True])):
                layer[f"dram_{way}_bytes"] = draw(st.sampled_from([0, 1, 1000]))
    network["layers"], network["edges"] = layers, draw(_edges(layers, pairs))

    nop, dram = package["nop"], package["dram"]
    # So slow that transfers decide.
    _put(draw, nop, "bandwidth_bytes_per_s", [4e8, 1e7])
    if model == "placed":
        nop["model"] = "placed"
        _put(draw, nop, "eta_link", [1.15, 1.0, 1.2])
        _put(draw, nop, "gather", ["relay", "unicast"])
        _put(draw, nop, "shared_links", [True, False])
        if _maybe(draw):
            package["order"] = draw(orders(package["mesh_rows"], package["mesh_cols"]))
    else:
        _put(draw, nop, "model", ["regressed"])
        _put(draw, nop, "skip", ["both", "sender"])
    if _maybe(draw):
        dram["streams"] = {**STREAMS, "most": draw(st.sampled_from([8, 1, 2]))}
    _put(draw, package, "activation_policy", ["stream", "whole"])

    limits = instance["constraints"]
    schedule = draw(strategies.schedules(instance))
    if _rarely(draw):
        package["activation_buffer_bytes"] = _room(draw, instance, schedule)
    if "energy_budget_j" in limits:
        energy = oracle.energy_j(instance, schedule)
        assert energy is not None
        budget = energy["total"] * draw(st.sampled_from([1.1, 0.9, 2.0, 0.5]))
        limits["energy_budget_j"] = float(f"{budget:.3e}")
    if couplings:
        limits.update(draw(strategies.limits(instance)))
    return instance


def placed_instances(
    max_layers: int = 6,
    max_chiplets: int = 12,
    constraints: bool = False,
    couplings: bool = False,
) -> st.SearchStrategy[Json]:
    """Instances of the placed model on meshes up to 3 x 4, with any of its optional keys.

    ``constraints`` and ``couplings`` as in `strategies.physical_instances`.
    """
    return _instances("placed", max_layers, max_chiplets, constraints, couplings)


def repaired_instances(
    max_layers: int = 6,
    max_chiplets: int = 12,
    constraints: bool = False,
    couplings: bool = False,
) -> st.SearchStrategy[Json]:
    """Instances of the regressed model with all that was added to it.

    That is both kinds of edges, skip edges paid at both ends, and the layers, the DRAM and the
    activation memory of the placed model.
    """
    return _instances("regressed", max_layers, max_chiplets, constraints, couplings)


@st.composite
def pipelines(draw: Draw, instance: Json) -> Json:
    """Schedules of one segment in clusters of few layers, so that clusters get in each other's way.

    Structurally sound; capacity and side constraints may be violated.
    """
    chiplets = instance["package"]["mesh_rows"] * instance["package"]["mesh_cols"]
    n = len(instance["network"]["layers"])
    most = min(n, chiplets)
    count = draw(st.integers((most + 1) // 2, most))
    starts = sorted(draw(st.permutations(range(1, n)))[: count - 1])
    sizes = [1] * count
    for _ in range(chiplets - count):
        sizes[draw(st.integers(0, count - 1))] += 1
    clusters = []
    for first, after, r in zip([0, *starts], [*starts, n], sizes, strict=True):
        partitions = tuple(draw(st.sampled_from(oracle.PARTITIONS)) for _ in range(first, after))
        clusters.append(oracle.Cluster(first, after - 1, r, partitions))
    return oracle.to_json([tuple(clusters)])


def unlimited_instances(
    max_layers: int = 4, max_chiplets: int = 4, constraints: bool = False, couplings: bool = False
) -> st.SearchStrategy[Json]:
    """Those of `repaired_instances` whose chiplets can hold any amount of activations."""
    drawn = repaired_instances(max_layers, max_chiplets, constraints, couplings)

    def without(instance: Json) -> Json:
        instance["package"].pop("activation_buffer_bytes", None)
        return instance

    return drawn.map(without)
