"""Figures as SVG files, by matplotlib: for pages that are read where no script can draw them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scope_opt.model.files import InputError

if TYPE_CHECKING:
    from pathlib import Path

COLORS = ("#1b6ca8", "#c8553d", "#3c8d5a", "#7a4ea3", "#8a6d1f", "#4c4c4c")
MARKERS = "osD^vx"


def new_figure(rows: int = 1, columns: int = 1, width: float = 9, height: float = 3.6) -> Any:
    """Figure and axes of matplotlib; sizes in inches.

    Raises
    ------
    InputError
        Without matplotlib, which is among the development packages.
    """
    try:
        import matplotlib
    except ImportError:
        raise InputError("figures", ["need matplotlib: pip install 'scope-opt[dev]'"]) from None
    matplotlib.use("Agg")
    matplotlib.rcParams |= {"svg.hashsalt": "scope-opt", "svg.fonttype": "none", "font.size": 9}
    from matplotlib import pyplot as plt

    return plt.subplots(rows, columns, figsize=(width, height), constrained_layout=True)


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure, the same file each time, and let go of it."""
    from matplotlib import pyplot as plt

    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
