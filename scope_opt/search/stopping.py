"""How a search ends when its monitor asks it to stop."""

from __future__ import annotations


class SearchStopped(Exception):
    """The monitor asked to stop; carries the lower bound in ps that holds all the same."""

    def __init__(self, bound_ps: int | None = None) -> None:
        super().__init__("stopped")
        self.bound_ps = bound_ps
