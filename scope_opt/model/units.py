"""Numbers as people read them: four significant digits and a fitting unit, "-" where absent."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ABSENT = "-"

_TIME = ((1e-12, "ps"), (1e-9, "ns"), (1e-6, "us"), (1e-3, "ms"), (1.0, "s"))
_ENERGY = ((1e-12, "pJ"), (1e-9, "nJ"), (1e-6, "uJ"), (1e-3, "mJ"), (1.0, "J"))
_BINARY = ((1.0, "B"), (2.0**10, "KiB"), (2.0**20, "MiB"), (2.0**30, "GiB"), (2.0**40, "TiB"))
_DECIMAL = ((1.0, ""), (1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T"), (1e15, "P"))


def number(value: float | None) -> str:
    """Four significant digits or all before the point, no exponent: 12345, 12.35, 0.01235."""
    if value is None:
        return ABSENT
    if value == 0:
        return "0"
    rounded = round(value, _decimals(value))  # may gain a digit: 9.9999 is 10.00
    return f"{rounded:.{_decimals(rounded)}f}"


def _decimals(value: float) -> int:
    return max(0, 3 - math.floor(math.log10(abs(value))))


def _scaled(value: float | None, units: Sequence[tuple[float, str]]) -> str:
    if value is None:
        return ABSENT
    if value == 0:
        return f"0 {units[-1][1] if units[-1][0] == 1 else units[0][1]}".rstrip()
    # Half a unit in the fifth digit belongs to the next unit: 999.96 us is 1.000 ms.
    fitting = [unit for unit in units if abs(value) >= unit[0] * (1 - 5e-5)]
    factor, name = fitting[-1] if fitting else units[0]
    return f"{number(value / factor)} {name}".rstrip()


def seconds(value: float | None) -> str:
    """Time with a unit from ps to s."""
    return _scaled(value, _TIME)


def picoseconds(value: int | None) -> str:
    """Time given in ps, with a unit from ps to s."""
    return seconds(None if value is None else value / 1e12)


def joules(value: float | None) -> str:
    """Energy with a unit from pJ to J."""
    return _scaled(value, _ENERGY)


def size(value: int | None) -> str:
    """Bytes with a unit from B to TiB (powers of 1024)."""
    return f"{value} B" if value is not None and value < 1024 else _scaled(value, _BINARY)


def count(value: float | None, unit: str) -> str:
    """Amount of ``unit`` with a decimal prefix: ``4.089 GMAC``."""
    text = _scaled(value, _DECIMAL)
    return text if value is None else f"{text}{unit}" if text[-1].isalpha() else f"{text} {unit}"


def percent(share: float | None) -> str:
    """Share as a percentage with one decimal; small non-zero shares show as <0.1%."""
    if share is None:
        return ABSENT
    return "<0.1%" if 0 < share < 0.0005 else f"{100 * share:.1f}%"


def plain(text: str) -> str:
    """Text of a file on one line, without characters that could steer the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def plural(amount: int, noun: str) -> str:
    """``1 layer``, ``2 layers``."""
    return f"{amount} {noun}" if amount == 1 else f"{amount} {noun}s"
