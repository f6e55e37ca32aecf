"""Write the shipped instances and JSON Schemas, or check that they are up to date.

``python instances/regenerate.py`` writes ``paper/``, ``placed/``, ``transformers/``, ``tiny/``,
``tiny-placed/`` and ``schema/`` beside this file;
``--check`` compares instead and exits with 1 if a file differs, is missing or is unknown.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scope_opt.model.explicit import ExplicitTables
from scope_opt.model.files import write_text
from scope_opt.model.generate import paper_instance
from scope_opt.model.instance import Constraints, Instance
from scope_opt.model.network import Edge, Layer, Network
from scope_opt.model.parts import NetworkFile, PackageFile
from scope_opt.model.zoo import NETWORKS, PAPER_CHIPLETS, paper_package
from scope_opt.pareto.front import Front
from scope_opt.replay.report import Replay
from scope_opt.schedule.schedule import Schedule
from scope_opt.solving.result import Result
from scope_opt.studies.records import Record
from scope_opt.validation.document import Validation

if TYPE_CHECKING:
    from collections.abc import Callable

    from scope_opt.model.files import Document
    from scope_opt.model.package import Order, Package

HERE = Path(__file__).parent
FOLDERS = ("paper", "placed", "transformers", "tiny", "tiny-placed", "schema")
FORMATS: dict[str, type[Document]] = {
    "instance": Instance,
    "schedule": Schedule,
    "result": Result,
    "record": Record,
    "validation": Validation,
    "replay": Replay,
    "pareto": Front,
    "network": NetworkFile,
    "package": PackageFile,
}
KIB = 1024


def paper() -> list[Instance]:
    """Every network of the paper on every package size it studies."""
    return [paper_instance(name, chiplets) for name in NETWORKS for chiplets in PAPER_CHIPLETS]


def placed() -> list[Instance]:
    """The same in the placed model."""
    return [
        paper_instance(name, chiplets, nop="placed")
        for name in NETWORKS
        for chiplets in PAPER_CHIPLETS
    ]


TRANSFORMERS = (
    *(("bert-large-512tokens", 64), ("bert-large-512tokens", 256)),
    *(("vit-large-196tokens", 64), ("vit-large-196tokens", 256)),
    *(("gpt2-xl-1024tokens", 256), ("gpt2-xl-1tokens-1023cached", 256)),
    *(("llama2-7b-512tokens", 256), ("llama2-7b-512tokens", 1024)),
    ("llama2-7b-1tokens-2048cached", 256),
    *(("llama3-70b-128tokens", 1024), ("llama3-70b-1tokens-4096cached", 1024)),
)
"""Encoders, prefill and, with cached tokens, decode; the last have weights of 70 GB."""


def transformers() -> list[Instance]:
    """Published transformers on the paper's package."""
    return [paper_instance(network, chiplets) for network, chiplets in TRANSFORMERS]


# --- Small instances, one per special rule -------------------------------------------------------


def small_package(rows: int, cols: int, buffer_kib: int, *, nop_gb_per_s: int = 100) -> Package:
    """Package of the paper with small weight buffers, so that small layers meet its limits."""
    package = paper_package(rows * cols, rows, cols)
    buffer_bytes = buffer_kib * KIB
    chiplet = package.chiplet.model_copy(update={"weight_buffer_bytes": buffer_bytes})
    nop = package.nop.model_copy(update={"bandwidth_bytes_per_s": nop_gb_per_s * 1e9})
    return package.model_copy(update={"chiplet": chiplet, "nop": nop})


def conv(
    name: str,
    inputs: int,
    outputs: int,
    size: int,
    kernel: int = 3,
    *,
    stride: int = 1,
    groups: int = 1,
    pool: int = 1,
) -> Layer:
    """Convolution of a ``size`` x ``size`` map, padded to keep it; ``pool`` shrinks the output."""
    result = -(-size // stride)
    return Layer(
        name=name,
        in_channels=inputs,
        out_channels=outputs,
        input_height=size,
        input_width=size,
        output_height=result,
        output_width=result,
        kernel_height=kernel,
        kernel_width=kernel,
        stride=stride,
        groups=groups,
        weight_bytes=outputs * (inputs // groups) * kernel**2,
        input_bytes=inputs * size**2,
        output_bytes=outputs * (result // pool) ** 2,
    )


def dense(name: str, inputs: int, outputs: int) -> Layer:
    """Fully connected layer."""
    return conv(name, inputs, outputs, 1, 1)


def tokens(
    name: str, inputs: int, outputs: int, count: int, *, groups: int = 1, weights: bool = True
) -> Layer:
    """Matrix product applied to each of ``count`` tokens; without weights both are activations."""
    return Layer(
        name=name,
        in_channels=inputs,
        out_channels=outputs,
        input_height=count,
        input_width=1,
        output_height=count,
        output_width=1,
        kernel_height=1,
        kernel_width=1,
        stride=1,
        groups=groups,
        weight_bytes=outputs * (inputs // groups) if weights else 0,
        input_bytes=inputs * count,
        output_bytes=outputs * count,
    )


def chain(
    layers: list[Layer], skips: tuple[tuple[int, int], ...] = ()
) -> list[tuple[int, int, int]]:
    """Edges ``(from, to, bytes)`` of a chain and of skips, with all that the producer hands on."""
    pairs = sorted([*((i, i + 1) for i in range(len(layers) - 1)), *skips])
    return [(u, v, layers[u].output_bytes) for u, v in pairs]


def network(name: str, layers: list[Layer], edges: list[tuple[int, int, int]]) -> Network:
    """Network with edges ``(from, to, bytes)``."""
    built = [Edge.model_validate({"from": u, "to": v, "bytes": size}) for u, v, size in edges]
    return Network(name=name, layers=tuple(layers), edges=tuple(built))


def tiny_skip() -> Instance:
    """A residual addition."""
    layers = [
        conv("stem", 3, 32, 32),
        conv("block_a", 32, 32, 32),
        conv("block_b", 32, 32, 32, pool=2),
        conv("narrow", 32, 64, 16, stride=2, pool=8),
        dense("fc", 64, 100),
    ]
    return Instance(
        name="tiny-skip",
        description=(
            "A residual addition: the skip edge from layer 0 to layer 2 crosses the border of "
            "the two clusters of the best schedule, which mixes ISP and WSP."
        ),
        samples=16,
        network=network("tiny-skip", layers, edges=chain(layers, skips=((0, 2),))),
        package=small_package(2, 4, 16),
    )


def tiny_projection() -> Instance:
    """A projection shortcut: consecutive layers without an edge between them."""
    layers = [
        conv("stem", 3, 24, 32),
        conv("projection", 24, 48, 32, 1, stride=2),
        conv("block_a", 24, 48, 32, stride=2),
        conv("block_b", 48, 48, 16, pool=16),
        dense("fc", 48, 10),
    ]
    edges = [(0, 1, None), (0, 2, "input"), (1, 3, None), (2, 3, None), (3, 4, None)]
    package = small_package(2, 4, 16, nop_gb_per_s=75)
    nop = package.nop.model_copy(update={"skip": "both"})
    return Instance(
        name="tiny-projection",
        description=(
            "A projection shortcut: layers 1 and 2 are consecutive but no edge joins them; the "
            "skip edge from layer 0 is layer 2's input. A skip edge costs its sender what both "
            "ends would pay. The NoP has three quarters of the usual bandwidth. The best schedule "
            "has two segments, one of them with two clusters; skip edges cross clusters and "
            "segments, and chiplets stay idle."
        ),
        samples=16,
        network=flows("tiny-projection", layers, edges),
        package=package.model_copy(update={"nop": nop}),
    )


def tiny_oversized() -> Instance:
    """A layer larger than all weight buffers together."""
    layers = [
        conv("conv1", 3, 24, 32, pool=2),
        conv("conv2", 24, 32, 16, pool=2),
        dense("fc1", 32 * 8 * 8, 64),
        dense("fc2", 64, 100),
    ]
    return Instance(
        name="tiny-oversized",
        description=(
            "Layer 2 is larger than all weight buffers together, so it is alone in its segment, "
            "on the whole package. The best schedule has three segments, the first with two "
            "clusters."
        ),
        samples=8,
        network=network("tiny-oversized", layers, edges=chain(layers)),
        package=small_package(2, 3, 16),
    )


def tiny_stream() -> Instance:
    """Weights that do not fit are fetched again for every sample."""
    layers = [
        conv("conv1", 16, 32, 16),
        conv("conv2", 32, 64, 16, stride=2),
        conv("conv3", 64, 64, 8),
        conv("conv4", 64, 96, 8, stride=2, pool=4),
        dense("fc", 96, 100),
    ]
    return Instance(
        name="tiny-stream",
        description=(
            "Overflow policy stream: weights that do not fit are fetched for every sample. In "
            "the best schedule a cluster of two layers has 2048 bytes too many, in the second "
            "of three segments."
        ),
        samples=32,
        overflow="stream",
        network=network("tiny-stream", layers, edges=chain(layers)),
        package=small_package(2, 3, 22, nop_gb_per_s=25),
    )


def tiny_depthwise() -> Instance:
    """Grouped convolutions, one with as many groups as channels."""
    layers = [
        conv("stem", 3, 32, 32, stride=2),
        conv("depthwise1", 32, 32, 16, groups=32),
        conv("pointwise1", 32, 64, 16, 1),
        conv("grouped2", 64, 64, 16, stride=2, groups=2),
        conv("pointwise2", 64, 96, 8, 1, pool=8),
    ]
    return Instance(
        name="tiny-depthwise",
        description=(
            "Grouped convolutions, one of them depthwise: ISP splits whole groups first, then "
            "channels within a group. The best schedule mixes ISP and WSP and has two segments."
        ),
        samples=16,
        network=network("tiny-depthwise", layers, edges=chain(layers)),
        package=small_package(2, 3, 12),
    )


def tiny_attention() -> Instance:
    """One head-parallel attention block: products of activations have no weights."""
    count, width, heads = 32, 64, 4
    layers = [
        tokens("qkv", width, 3 * width, count),
        tokens("scores", width, heads * count, count, groups=heads, weights=False),
        tokens("values", heads * count, width, count, groups=heads, weights=False),
        tokens("projection", width, width, count),
        tokens("mlp_a", width, 4 * width, count),
        tokens("mlp_b", 4 * width, width, count),
    ]
    edges = chain(layers, skips=((0, 2), (3, 5)))
    # Scores read queries and keys, then values come in.
    part = {(0, 1): 2 * width * count, (0, 2): width * count}
    return Instance(
        name="tiny-attention",
        description=(
            "An attention block with four heads: products of two activations have no weights, "
            "and two layers read different parts of one output. The best schedule has three "
            "clusters."
        ),
        samples=16,
        network=network(
            "tiny-attention", layers, edges=[(u, v, part.get((u, v), size)) for u, v, size in edges]
        ),
        package=small_package(2, 3, 16),
    )


def tiny_tables() -> Instance:
    """Latency tables given as such, in small numbers."""
    whole: dict[str, Any] = {"chiplets": 4, "weight_buffer_bytes": 160}
    whole["layers"] = [
        {
            "name": "a",
            "weight_bytes": 60,
            "compute_ps": {"ISP": [240, 140, 115, 105], "WSP": [240, 125, 95, 80]},
            "gather_ps": [0, 6, 8, 9],
            "within_ps": {
                "ISP": {"ISP": [0, 30, 40, 45], "WSP": [0, 20, 18, 16]},
                "WSP": {"ISP": [0, 30, 40, 45], "WSP": [0, 5, 4, 3]},
            },
            "send_ps": [40, 24, 18, 15],
            "receive_ps": {"ISP": [40, 52, 56, 60], "WSP": [40, 22, 16, 15]},
            "input_ps": 25,
            "output_ps": 70,
        },
        {
            "name": "b",
            "weight_bytes": 90,
            "compute_ps": {"ISP": [300, 190, 165, 155], "WSP": [300, 150, 105, 90]},
            "gather_ps": [0, 9, 12, 14],
            "within_ps": {
                "ISP": {"ISP": [0, 24, 32, 36], "WSP": [0, 16, 14, 13]},
                "WSP": {"ISP": [0, 24, 32, 36], "WSP": [0, 4, 3, 3]},
            },
            "send_ps": [30, 18, 14, 12],
            "receive_ps": {"ISP": [30, 40, 44, 46], "WSP": [30, 16, 12, 11]},
            "input_ps": 70,
            "output_ps": 50,
        },
        {
            "name": "c",
            "weight_bytes": 150,
            "compute_ps": {"ISP": [200, 105, 85, 75], "WSP": [200, 140, 120, 100]},
            "gather_ps": [0, 15, 20, 23],
            "within_ps": {
                "ISP": {"ISP": [0, 8, 10, 12], "WSP": [0, 6, 5, 5]},
                "WSP": {"ISP": [0, 8, 10, 12], "WSP": [0, 1, 1, 1]},
            },
            "send_ps": [10, 6, 5, 4],
            "receive_ps": {"ISP": [10, 13, 15, 16], "WSP": [10, 6, 5, 4]},
            "input_ps": 50,
            "output_ps": 30,
        },
        {
            "name": "d",
            "weight_bytes": 40,
            "compute_ps": {"ISP": [90, 50, 40, 35], "WSP": [90, 90, 90, 90]},
            "input_ps": 30,
            "output_ps": 12,
        },
    ]
    skip = {"from": 0, "to": 2, "send_ps": [20, 12, 9, 7], "write_ps": 45, "read_ps": 45}
    whole["edges"] = [skip]
    # Every DRAM transfer takes 10 ps, and 1 ps per byte; a segment's traffic is one transfer of
    # what crosses its two ends, the skip edge included.
    whole["segment_dram_ps"] = [
        [120, 100, 45, 27],
        [0, 110, 125, 107],
        [0, 0, 105, 87],
        [0, 0, 0, 32],
    ]
    whole["load_ps"] = [[70, 160, 310, 350], [0, 100, 250, 290], [0, 0, 160, 200], [0, 0, 0, 50]]
    whole["dram_latency_ps"] = 10
    whole["stream_fs_per_byte"] = [4000, 2000, 1334, 1000]
    return Instance(
        name="tiny-tables",
        description=(
            "Explicit latency tables with a skip edge, in numbers small enough to follow by "
            "hand. The best schedule has two clusters and mixes ISP and WSP."
        ),
        samples=10,
        tables=ExplicitTables.model_validate_json(json.dumps(whole)),
    )


def tiny_constraints() -> Instance:
    """Side constraints on the network and package of `tiny_skip`."""
    free = tiny_skip()
    wanted = {
        "min_clusters": 2,
        "max_clusters": 3,
        "forbidden_merges": [0],
        "required_merges": [2],
        "fixed_partitions": [{"layer": 2, "partition": "WSP"}],
        "region_multiple": 2,
        "max_region": 6,
        "fixed_segments": [0, 2],
        "energy_budget_j": 0.000175,
    }
    return Instance(
        name="tiny-constraints",
        description=(
            "Side constraints of many kinds, on the network and package of tiny-skip. The energy "
            "budget makes the best schedule slower; without the others it would be faster "
            "still."
        ),
        samples=16,
        network=free.network,
        package=free.package,
        constraints=Constraints.model_validate_json(json.dumps(wanted)),
    )


def tiny_energy() -> Instance:
    """Least energy within limits on latency, power and DRAM traffic, for `tiny_skip`."""
    free = tiny_skip()
    return Instance(
        name="tiny-energy",
        description=(
            "Least energy within a latency bound, on the network and package of tiny-skip. The "
            "limits on power and DRAM traffic each cost some energy."
        ),
        samples=16,
        network=free.network,
        package=free.package,
        constraints=Constraints(latency_bound_s=8e-5, power_budget_w=1.7, dram_bytes_per_beat=9000),
    )


TINY: tuple[Callable[[], Instance], ...] = (
    tiny_skip,
    tiny_projection,
    tiny_oversized,
    tiny_stream,
    tiny_depthwise,
    tiny_attention,
    tiny_tables,
    tiny_constraints,
    tiny_energy,
)


def tiny() -> list[Instance]:
    """Instances small enough for brute force, each with one special rule."""
    return [build() for build in TINY]


# --- Small instances of the placed model ---------------------------------------------------------


def placed_package(
    rows: int,
    cols: int,
    buffer_kib: int = 16,
    *,
    nop_gb_per_s: int = 100,
    order: Order = "zigzag",
    **changes: object,
) -> Package:
    """As `small_package`, in the placed model; ``changes`` are of the package."""
    small = small_package(rows, cols, buffer_kib, nop_gb_per_s=nop_gb_per_s)
    package = paper_package(rows * cols, rows, cols, nop="placed", order=order)
    nop = package.nop.model_copy(update={"bandwidth_bytes_per_s": nop_gb_per_s * 1e9})
    parts: dict[str, object] = {"chiplet": small.chiplet, "nop": nop}
    return package.model_copy(update={**parts, **changes})


def flows(name: str, layers: list[Layer], edges: list[tuple[int, int, str | None]]) -> Network:
    """Network with edges ``(from, to, feeds)``, each with all that the producer hands on."""
    built = [
        Edge.model_validate({"from": u, "to": v, "bytes": layers[u].output_bytes, "feeds": feeds})
        for u, v, feeds in edges
    ]
    return Network(name=name, layers=tuple(layers), edges=tuple(built))


def tiny_travel() -> Instance:
    """A tensor that travels with the pipeline past a cluster that does not read it."""
    layers = [conv(f"conv{k}", 3 if k == 0 else 16, 16, 24) for k in range(4)]
    edges = [(0, 1, None), (1, 2, None), (2, 3, None), (0, 3, None)]
    return Instance(
        name="tiny-travel",
        description=(
            "A residual addition over two layers: the tensor travels with the pipeline through "
            "the regions between its producer and its reader."
        ),
        samples=16,
        network=flows("tiny-travel", layers, edges),
        package=placed_package(2, 4, nop_gb_per_s=20),
    )


def tiny_inputs() -> Instance:
    """Further inputs of a layer: in a cluster, across clusters, across segments."""
    layers = [
        conv("stem", 3, 16, 16),
        conv("branch_a", 16, 16, 16),
        conv("branch_b", 16, 16, 16),
        conv("join", 48, 32, 16, 1, pool=16),
        dense("fc", 32, 10),
    ]
    edges = [(0, 1, None), (0, 2, "input"), (0, 3, "input"), (1, 3, "input"), (2, 3, None)]
    return Instance(
        name="tiny-inputs",
        description=(
            "Branches that are concatenated: layer 3 reads three tensors, two of which come from "
            "layers that are not before it; layer 2 reads the same tensor as layer 1."
        ),
        samples=16,
        network=flows("tiny-inputs", layers, [*edges, (3, 4, None)]),
        package=placed_package(2, 3, nop_gb_per_s=50),
    )


def tiny_sums() -> Instance:
    """A chain edge whose tensor is added to the reader's output."""
    layers = [
        conv("stem", 3, 24, 16),
        conv("left", 24, 24, 16),
        conv("right", 24, 24, 16),
        conv("head", 24, 10, 16, 1, pool=16),
    ]
    edges = [(0, 1, None), (0, 2, "input"), (1, 2, "sum"), (2, 3, None)]
    return Instance(
        name="tiny-sums",
        description=(
            "Two parallel convolutions of one tensor, added: the chain edge from layer 1 to layer "
            "2 is a summand, the skip edge from layer 0 is layer 2's input."
        ),
        samples=16,
        network=flows("tiny-sums", layers, edges),
        package=placed_package(2, 3, nop_gb_per_s=50),
    )


def tiny_order() -> Instance:
    """Positions in an order of their own."""
    layers = [conv(f"conv{k}", 3 if k == 0 else 16, 16, 24) for k in range(4)]
    order = ((0, 0), (1, 0), (2, 0), (2, 1), (2, 2), (1, 2), (0, 2), (0, 1), (1, 1))
    return Instance(
        name="tiny-order",
        description="Positions run around the mesh and end in its middle.",
        samples=16,
        network=network("tiny-order", layers, edges=chain(layers)),
        package=placed_package(3, 3, nop_gb_per_s=10, order=order),
    )


def tiny_links() -> Instance:
    """Transfers that share a link for longer than each of them takes."""
    layers = [conv(f"conv{k}", 3 if k == 0 else 32, 32, 16) for k in range(5)]
    edges = [(k, k + 1, None) for k in range(4)]
    package = placed_package(2, 4, 32, nop_gb_per_s=8)
    return Instance(
        name="tiny-links",
        description=(
            "A slow network on package: in many schedules a link that several transfers share is "
            "loaded for longer than any cluster takes. Gathers are unicast."
        ),
        samples=16,
        network=flows("tiny-links", layers, [*edges, (0, 4, None)]),
        package=package.model_copy(
            update={"nop": package.nop.model_copy(update={"gather": "unicast"})}
        ),
    )


def tiny_activations() -> Instance:
    """Chiplets that hold few activations."""
    layers = [
        conv("stem", 3, 16, 32),
        conv("wide", 16, 32, 32, stride=2),
        conv("deep", 32, 32, 16),
        conv("narrow", 32, 16, 16, 1, pool=16),
        dense("fc", 16, 10),
    ]
    edges = [(0, 1, None), (1, 2, None), (1, 3, None), (2, 3, None), (3, 4, None)]
    return Instance(
        name="tiny-activations",
        description=(
            "Activation buffers of 12 KiB: the layers with large maps need several chiplets, and "
            "the best schedule without the limit breaks it."
        ),
        samples=16,
        network=flows("tiny-activations", layers, edges),
        package=placed_package(2, 4, activation_buffer_bytes=12 * KIB),
    )


def tiny_cache() -> Instance:
    """Attention over a cache of keys and values, which is read from DRAM for every sample."""
    width, count = 64, 64
    layers = [
        tokens("query", width, width, 1),
        tokens("key_value", width, 2 * width, 1),
        tokens("scores", width, count, 1, weights=False),
        tokens("context", count, width, 1, weights=False),
        tokens("output", width, width, 1),
    ]
    layers[1] = layers[1].model_copy(
        update={"dram_read_bytes": width, "dram_write_bytes": 2 * width}
    )
    for index in (2, 3):
        layers[index] = layers[index].model_copy(update={"dram_read_bytes": width * count})
    edges: list[tuple[int, int, str | None]] = [(0, 2, "input"), (2, 3, None), (3, 4, None)]
    return Instance(
        name="tiny-cache",
        description=(
            "One token of a decoder: keys and values of earlier tokens are read from DRAM for "
            "every sample, new ones written, whatever the schedule; the second layer reads an "
            "input of its own and has no reader."
        ),
        samples=16,
        network=flows("tiny-cache", layers, edges),
        package=placed_package(2, 3),
    )


def tiny_strides() -> Instance:
    """Strides and dilations that differ down and across."""
    layers = [
        Layer(
            name=name,
            in_channels=inputs,
            out_channels=16,
            input_height=height,
            input_width=width,
            output_height=-(-height // stride[0]),
            output_width=-(-width // stride[1]),
            kernel_height=5,
            kernel_width=3,
            stride=stride,
            dilation=dilation,
            groups=1,
            weight_bytes=16 * inputs * 15,
            input_bytes=inputs * height * width,
            output_bytes=16 * -(-height // stride[0]) * -(-width // stride[1]),
        )
        for name, inputs, height, width, stride, dilation in (
            ("spectrum", 2, 40, 24, (2, 1), 1),
            ("dilated", 16, 20, 24, (1, 1), (1, 4)),
            ("across", 16, 20, 24, (1, 2), (2, 1)),
        )
    ]
    return Instance(
        name="tiny-strides",
        description="Strides and dilations that differ down and across, as in speech networks.",
        samples=16,
        network=network("tiny-strides", layers, edges=chain(layers)),
        package=placed_package(2, 3, nop_gb_per_s=20),
    )


TINY_PLACED: tuple[Callable[[], Instance], ...] = (
    tiny_travel,
    tiny_inputs,
    tiny_sums,
    tiny_order,
    tiny_links,
    tiny_activations,
    tiny_cache,
    tiny_strides,
)


def tiny_placed() -> list[Instance]:
    """Instances of the placed model small enough for brute force, each with one special rule."""
    return [build() for build in TINY_PLACED]


# --- Files ---------------------------------------------------------------------------------------


def documents() -> dict[str, str]:
    """Text of every generated file, by its path relative to this folder."""
    texts = {f"paper/{instance.name}.json": instance.to_json() for instance in paper()}
    texts |= {f"placed/{instance.name}.json": instance.to_json() for instance in placed()}
    texts |= {f"transformers/{each.name}.json": each.to_json() for each in transformers()}
    texts |= {f"tiny/{instance.name}.json": instance.to_json() for instance in tiny()}
    texts |= {f"tiny-placed/{instance.name}.json": instance.to_json() for instance in tiny_placed()}
    for kind, model in FORMATS.items():
        schema = model.model_json_schema(by_alias=True)
        texts[f"schema/{kind}.schema.json"] = json.dumps(schema, indent=2) + "\n"
    return texts


def differences(texts: dict[str, str]) -> list[str]:
    """Files that are missing, differ or are not among ``texts``."""
    found = []
    for name, text in texts.items():
        path = HERE / name
        if not path.exists():
            found.append(f"{name}: missing")
        elif path.read_text("utf-8") != text:
            found.append(f"{name}: differs")
    present = [path for folder in FOLDERS for path in sorted((HERE / folder).glob("*"))]
    names = [path.relative_to(HERE).as_posix() for path in present]
    return found + [f"{name}: not generated" for name in names if name not in texts]


def main() -> int:
    """Write all files, or compare them; the exit code is 1 if they differ."""
    parser = argparse.ArgumentParser(description="Write the shipped instances and schemas.")
    parser.add_argument("--check", action="store_true", help="compare, do not write")
    texts = documents()
    if parser.parse_args().check:
        found = differences(texts)
        print("\n".join(found) or f"{len(texts)} files are up to date")
        return 1 if found else 0
    for name, text in texts.items():
        (HERE / name).parent.mkdir(exist_ok=True)
        write_text(HERE / name, text, force=True)
    print(f"{len(texts)} files written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
