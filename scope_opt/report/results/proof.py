"""What a record says of the programs behind its claim."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scope_opt.solving.result import Result


def program_solved(result: Result) -> bool:
    """Whether a formulation handed a program to its library.

    Without one, what the result claims comes from shortest paths over columns alone.
    """
    return result.model is not None
