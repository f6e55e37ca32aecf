"""Quantities as people write them, with a unit: ``512KiB``, ``60GB/s``, ``1.8GHz``, ``6x6``."""

from __future__ import annotations

import math
import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from scope_opt.model.files import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

_PREFIXES = ("k", "M", "G", "T", "P")
_BYTES: Mapping[str, float] = MappingProxyType(
    {
        "B": 1,
        **{f"{prefix}B": 1000.0 ** (k + 1) for k, prefix in enumerate(_PREFIXES)},
        "KB": 1000.0,
        **{f"{prefix.upper()}iB": 1024.0 ** (k + 1) for k, prefix in enumerate(_PREFIXES)},
    }
)
_HERTZ = MappingProxyType({"Hz": 1.0, "kHz": 1e3, "MHz": 1e6, "GHz": 1e9})
_NUMBER = re.compile(r"(?P<number>\d+(\.\d*)?([eE][+-]?\d+)?)\s*(?P<unit>.*)")


def size(text: str, option: str) -> int:
    """Bytes: ``512KiB`` (1024), ``512KB`` (1000)."""
    found = _read(text, option, _BYTES, "a size such as 512KiB or 2MB")
    if found != int(found):
        raise InputError(option, [f"found {text!r}, which is no whole number of bytes"])
    return int(found)


def rate(text: str, option: str) -> float:
    """Bytes per second: ``60GB/s``."""
    units = {f"{unit}/s": factor for unit, factor in _BYTES.items()}
    return _read(text, option, units, "a rate such as 60GB/s")


def frequency(text: str, option: str) -> float:
    """Hertz: ``800MHz``."""
    return _read(text, option, _HERTZ, "a frequency such as 800MHz")


def grid(text: str, option: str, axes: int, example: str) -> tuple[int, ...]:
    """Numbers with an ``x`` between them: ``6x6``."""
    parts = re.split(r"[x×]", text.strip().lower())
    if len(parts) != axes or not all(part.isdecimal() and 0 < int(part) < 10**9 for part in parts):
        raise InputError(option, [f"found {text!r}; allowed: numbers such as {example}"])
    return tuple(map(int, parts))


def _read(text: str, option: str, units: Mapping[str, float], allowed: str) -> float:
    found = _NUMBER.fullmatch(text.strip())
    factor = units.get(found["unit"].strip()) if found else None
    if found is None or factor is None or not math.isfinite(value := float(found["number"])):
        raise InputError(option, [f"found {text!r}; allowed: {allowed}"])
    if value == 0:
        raise InputError(option, [f"found {text!r}; allowed: more than 0"])
    return value * factor
