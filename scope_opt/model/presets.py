"""Packages from the literature, and changes to them."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import ValidationError

from scope_opt.model.files import InputError, closest, explain
from scope_opt.model.package import Package
from scope_opt.model.zoo import paper_package

if TYPE_CHECKING:
    from collections.abc import Mapping


class Preset(NamedTuple):
    """A package and where its numbers come from."""

    mesh: tuple[int, int]
    changes: Mapping[str, Mapping[str, Any]]
    """To the package of the Scope paper: by part (empty: the package itself), by key."""
    source: tuple[str, ...]


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "paper": Preset(
            (8, 8),
            {},
            (
                "Scope (arXiv:2602.14393), Table III: chiplet, network on package, DRAM.",
                "DRAM latency and efficiency, eta and SRAM energy: this project's docs/model.md.",
            ),
        ),
        "simba-6x6": Preset(
            (6, 6),
            {
                "chiplet": {
                    "frequency_hz": 1.8e9,
                    "weight_buffer_bytes": 16 * 32 * 1024,
                    "global_buffer_bytes": 64 * 1024,
                },
                "nop": {"energy_pj_per_bit": 1.75},
                "": {"pe_split": "channels", "mac_energy_pj": 0.22},
            },
            (
                "Simba (Shao et al., MICRO 2019; Zimmer et al., VLSI 2019): 36 chiplets, each with "
                "16 PEs of 8 lanes x 8 MACs, 32 KiB of weights per PE, 64 KiB of global buffer,",
                "up to 1.8 GHz, 100 GB/s per chiplet, 0.82 to 1.75 pJ/bit on package, 0.11 pJ per "
                "operation at best (two operations are a MAC), channels split over PEs.",
                "DRAM is not part of Simba: as in the Scope paper.",
            ),
        ),
        "wafer-scale": Preset(
            (5, 5),
            {
                "chiplet": {
                    "pes": 256,
                    "lanes_per_pe": 16,
                    "macs_per_lane": 22,
                    "frequency_hz": 2e9,
                    "weight_buffer_bytes": 440_000_000,
                    "global_buffer_bytes": 64 * 1024,
                },
                "nop": {"bandwidth_bytes_per_s": 16e12},
                "dram": {"bandwidth_bytes_per_s": 4e12},
            },
            (
                "Tesla Dojo training tile (Hot Chips 2022): 25 D1 dies on a wafer-scale carrier; "
                "per die 354 cores, 362 TFLOPS (BF16) at 2 GHz, 440 MB of SRAM, 4 TB/s per edge;",
                "five interface processors of 0.8 TB/s. Cores are stated as 256 PEs of 16 lanes x "
                "22 MACs (90,112 MACs of 90,500), since PEs are a power of two.",
                "Energies and the DRAM's latency are not published: as in the Scope paper.",
            ),
        ),
    }
)
"""Packages by name."""


def preset_named(name: str) -> Preset:
    """A preset; raises `InputError` with the allowed names and the closest of them."""
    if name not in PRESETS:
        raise InputError("preset", [f"found {name!r}; {closest(name, PRESETS)}"])
    return PRESETS[name]


def new_package(
    preset: str = "paper",
    mesh: tuple[int, int] | None = None,
    model: Literal["regressed", "placed"] = "placed",
    order: str = "zigzag",
    *,
    buffer_bytes: int | None = None,
    activation_bytes: int | None = None,
    clock_hz: float | None = None,
    macs: tuple[int, int, int] | None = None,
    nop_bytes_per_s: float | None = None,
    dram_bytes_per_s: float | None = None,
) -> Package:
    """A package: a preset with other numbers.

    Parameters
    ----------
    preset : str
        A key of `PRESETS`.
    mesh : (rows, columns), optional
        By default that of the preset.
    model : {"placed", "regressed"}
        Whether transfers are priced where regions lie or by their sizes.
    order : str
        How positions run through the mesh: ``zigzag``, ``blocks-W`` or ``hilbert``.
    buffer_bytes : int, optional
        Weights that a chiplet can hold.
    activation_bytes : int, optional
        Activations that a chiplet can hold; no limit if absent.
    clock_hz : float, optional
        Clock of the chiplets.
    macs : (PEs, lanes, MACs), optional
        PEs of a chiplet, lanes of a PE, MACs of a lane.
    nop_bytes_per_s : float, optional
        Bandwidth of the network on package, per chiplet and direction.
    dram_bytes_per_s : float, optional
        Peak bandwidth of the DRAM.

    Raises
    ------
    InputError
        For an unknown preset, or numbers that are out of range or do not fit together.
    """
    chosen = preset_named(preset)
    rows, cols = mesh or chosen.mesh
    if model == "regressed" and order != "zigzag":
        problem = f"found {order!r}; regions have places in the model 'placed' only"
        raise InputError("order", [problem])
    try:
        base = paper_package(rows * cols, rows, cols, model, order).model_dump()
    except ValidationError as error:
        raise InputError("package", *explain(Package, error)) from None
    pes, lanes, per_lane = macs or (None, None, None)
    wanted: Mapping[str, Mapping[str, Any]] = {
        "chiplet": {
            "pes": pes,
            "lanes_per_pe": lanes,
            "macs_per_lane": per_lane,
            "frequency_hz": clock_hz,
            "weight_buffer_bytes": buffer_bytes,
        },
        "nop": {"bandwidth_bytes_per_s": nop_bytes_per_s},
        "dram": {"bandwidth_bytes_per_s": dram_bytes_per_s},
        "": {"activation_buffer_bytes": activation_bytes},
    }
    for changes in (chosen.changes, wanted):
        for part, values in changes.items():
            target = base[part] if part else base
            target |= {key: value for key, value in values.items() if value is not None}
    try:
        return Package.model_validate(base)
    except ValidationError as error:
        raise InputError("package", *explain(Package, error)) from None
