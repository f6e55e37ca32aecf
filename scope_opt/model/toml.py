"""Documents as TOML, with comments above: for files that people go on editing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def to_toml(content: Mapping[str, Any], comments: Iterable[str] = ()) -> str:
    """Text of plain data: numbers, strings, lists and tables.

    >>> print(to_toml({"format": "x/1", "package": {"mesh_rows": 6}}, ["Mine."]), end="")
    # Mine.
    format = "x/1"
    <BLANKLINE>
    [package]
    mesh_rows = 6
    """
    lines = [f"# {line}" for line in comments]
    lines += _table(content, ())
    return "\n".join(lines) + "\n"


def _table(content: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    lines = [f"[{'.'.join(path)}]"] if path else []
    # Values come first: below the head of a table, a key belongs to that.
    lines += [f"{key} = {_value(value)}" for key, value in content.items() if not _is_table(value)]
    for key, value in content.items():
        if _is_table(value):
            lines += ["", *_table(value, (*path, key))]
    return lines


def _is_table(value: Any) -> bool:
    return isinstance(value, dict)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key} = {_value(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    # Numbers and strings are written as in JSON, but for this character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
