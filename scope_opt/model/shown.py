"""Documents that show themselves in Python: as HTML in a notebook, as figures, as data frames."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from scope_opt.model.instance import Instance


class Shown:
    """What instances, schedules and results can show of themselves.

    How is known to the room `scope_opt.notebook`, which stands above all others. It is loaded by
    its name, and only when something is shown.
    """

    def _repr_html_(self) -> str:
        """What a notebook shows of it: numbers with units, and a small picture."""
        return str(_room().html(self))

    def plot(
        self, figure: str | None = None, *, segment: int = 0, instance: Instance | None = None
    ) -> go.Figure:
        """One of the figures that reports have.

        Parameters
        ----------
        figure : str, optional
            Its name; an error for another one lists those that there are. By default the first.
        segment : int
            Index of the segment that it is about, where it is about one.
        instance : Instance, optional
            The instance of a schedule or a result, if it is neither a shipped one nor was solved
            in this session.

        Raises
        ------
        InputError
            If there is no such figure, segment or instance.
        """
        return _room().plot(self, figure, segment=segment, instance=instance)

    def to_frame(
        self, rows: str | None = None, *, instance: Instance | None = None
    ) -> pd.DataFrame:
        """Its parts as a data frame of pandas; columns carry units in their names.

        Parameters
        ----------
        rows : str, optional
            What a row is; an error for something else lists what it can be. By default the first
            of these.
        instance : Instance, optional
            As for `plot`.

        Raises
        ------
        InputError
            If there are no such rows, no instance, or no pandas.
        """
        return _room().frame(self, rows, instance=instance)


def _room() -> Any:
    return import_module("scope_opt.notebook")
