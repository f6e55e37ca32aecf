"""Documents that many tests use: plain dicts of the JSON formats, shipped or made by hand.

Nothing here imports `scope_opt`, so that `test_oracle` does not either.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Container

Json = dict[str, Any]

ROOT = Path(__file__).parents[1]
INSTANCES = ROOT / "instances"
TINY = INSTANCES / "tiny"
TINY_FILES = sorted(TINY.glob("*.json"))


def shipped(name: str) -> Json:
    """One of the instances in `TINY`."""
    found: Json = json.loads((TINY / f"{name}.json").read_text())
    return found


# --- By hand -------------------------------------------------------------------------------------


def conv(
    in_channels: int, out_channels: int, size: int = 1, kernel: int = 1, **changes: Any
) -> Json:
    """A square layer with stride 1, one group and "same" padding unless changed."""
    layer: Json = {
        "name": "layer",
        "in_channels": in_channels,
        "out_channels": out_channels,
        "input_height": size,
        "input_width": size,
        "output_height": size,
        "output_width": size,
        "kernel_height": kernel,
        "kernel_width": kernel,
        "stride": 1,
        "groups": 1,
        **changes,
    }
    inputs = layer["in_channels"] * layer["input_height"] * layer["input_width"]
    outputs = layer["out_channels"] * layer["output_height"] * layer["output_width"]
    weights = out_channels * (in_channels // layer["groups"]) * kernel**2
    return {"weight_bytes": weights, "input_bytes": inputs, "output_bytes": outputs, **layer}


def physical(
    layers: list[Json],
    edges: list[tuple[int, int, int]],
    rows: int = 1,
    cols: int = 2,
    buffer: int = 2**20,
    pe_split: str = "any",
    **changes: Any,
) -> Json:
    """The paper's chiplet on a small mesh: one port carries b = 25 GB/s."""
    return {
        "format": "scope-instance/1",
        "name": "by-hand",
        "network": {
            "name": "by-hand",
            "layers": layers,
            "edges": [{"from": u, "to": v, "bytes": volume} for u, v, volume in edges],
        },
        "package": {
            "mesh_rows": rows,
            "mesh_cols": cols,
            "chiplet": {
                "pes": 16,
                "lanes_per_pe": 8,
                "macs_per_lane": 8,
                "frequency_hz": 8e8,
                "weight_buffer_bytes": buffer,
                "global_buffer_bytes": 65536,
            },
            "nop": {
                "bandwidth_bytes_per_s": 1e11,
                "ports": 4,
                "energy_pj_per_bit": 1.3,
                "eta_within": 1.12,
                "eta_between": 1.06,
            },
            "dram": {
                "bandwidth_bytes_per_s": 1e11,
                "latency_s": 5.2e-8,
                "efficiency": 0.93,
                "energy_pj_per_bit": 4.0,
            },
            "pe_split": pe_split,
            "mac_energy_pj": 0.2,
            "sram_energy_pj_per_byte": 1.25,
        },
        **changes,
    }


def two_layers(**changes: Any) -> Json:
    """Two layers of 10 ps, wherever they are, on two chiplets, for 4 samples."""
    layer = {"weight_bytes": 1, "compute_ps": {"ISP": [10, 10], "WSP": [10, 10]}}
    layers = [{"name": name, **layer} for name in ("first", "second")]
    return {
        "format": "scope-instance/1",
        "name": "tiny",
        "samples": 4,
        "tables": {"chiplets": 2, "weight_buffer_bytes": 10, "layers": layers},
        **changes,
    }


# --- Changed -------------------------------------------------------------------------------------


def keep_constraints(document: Json, names: Container[str]) -> Json:
    """The instance with only those of its side constraints."""
    present = document.get("constraints", {})
    return {**document, "constraints": {k: v for k, v in present.items() if k in names}}


def only(document: Json, schedule: Json) -> Json:
    """The instance whose only schedules are that one and those with other region sizes."""
    clusters = [c for segment in schedule["segments"] for c in segment["clusters"]]
    merged = {layer for c in clusters for layer in range(c["first_layer"], c["last_layer"])}
    layers = clusters[-1]["last_layer"] + 1
    partitions = itertools.chain.from_iterable(c["partitions"] for c in clusters)
    return {
        **document,
        "constraints": {
            "fixed_segments": [s["clusters"][0]["first_layer"] for s in schedule["segments"]],
            "required_merges": sorted(merged),
            "forbidden_merges": [x for x in range(layers - 1) if x not in merged],
            "fixed_partitions": [
                {"layer": layer, "partition": p} for layer, p in enumerate(partitions)
            ],
        },
    }
