"""Transfers priced by region sizes alone: coefficients of the network on package."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import nnls

from scope_opt.model.mesh import means_between, means_within

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from scope_opt.model.package import Package

    Floats = NDArray[np.float64]

REGRESSION_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192)
"""Region sizes between which the region-to-region coefficients are regressed."""


@dataclass(frozen=True, eq=False)
class NopCoefficients:
    """Time and hops per byte as functions of the region size; each ``(C+1,)``, index 0 unused.

    ``gather``, ``send`` and ``receive`` are in bytes over the worst link per byte moved (times the
    eta factors): multiply by the volume and divide by the link's bandwidth. ``*_hops`` are means
    over the bytes moved.
    """

    gather: Floats
    hops: Floats
    send: Floats
    receive: Floats
    send_hops: Floats
    receive_hops: Floats
    skip: Floats
    """of a skip edge between clusters, charged to its sender"""


@lru_cache(maxsize=64)
def nop_coefficients(
    rows: int, cols: int, eta_within: float, eta_between: float, skip_both: bool = False
) -> NopCoefficients:
    """Coefficients of a mesh: link counts inside regions, separable regression between them.

    With ``skip_both`` a skip edge costs its sender what both ends of a transfer would, the
    receiver as if it had as many chiplets; that does not depend on how the regression is split.
    """
    chiplets = rows * cols
    within = means_within(rows, cols)
    gather = np.zeros(chiplets + 1)
    gather[1:] = eta_within * within.peak_within[1:] / np.arange(1, chiplets + 1)
    send, receive = separable_fit(
        chiplets, lambda r, q: means_between(rows, cols, r, q)[0] / (r * q)
    )
    send_hops, receive_hops = separable_fit(
        chiplets, lambda r, q: means_between(rows, cols, r, q)[1]
    )
    return NopCoefficients(
        gather=gather,
        hops=within.hops_within,
        send=eta_between * send,
        receive=eta_between * receive,
        send_hops=send_hops,
        receive_hops=receive_hops,
        skip=eta_between * (send + receive if skip_both else send),
    )


def regression_pairs(chiplets: int) -> list[tuple[int, int]]:
    """Pairs of consecutive region sizes that the regression is fitted to."""
    return [(r, q) for r in REGRESSION_SIZES for q in REGRESSION_SIZES if r + q <= chiplets]


def separable_fit(chiplets: int, target: Callable[[int, int], float]) -> tuple[Floats, Floats]:
    """Fit ``target(r, r') ~ a(r) + c(r')`` with ``a, c >= 0``, least squares on relative errors.

    The fit leaves one direction free (``a + t, c - t``); ``t`` is chosen so that the means of
    ``a`` and ``c`` over the fitted sizes come as close as the signs allow. Linear between fitted
    sizes, constant beyond the largest (Lawson and Hanson, Solving Least Squares Problems, 1974).

    Returns
    -------
    a, c : float arrays, shape ``(chiplets + 1,)``
    """
    pairs = regression_pairs(chiplets)
    if not pairs:
        return np.zeros(chiplets + 1), np.zeros(chiplets + 1)
    sizes = sorted({size for pair in pairs for size in pair})
    column = {size: index for index, size in enumerate(sizes)}
    matrix = np.zeros((len(pairs), 2 * len(sizes)))
    for row, (size, next_size) in enumerate(pairs):
        scale = 1 / target(size, next_size)
        matrix[row, column[size]] = scale
        matrix[row, len(sizes) + column[next_size]] = scale
    solution, _ = nnls(matrix, np.ones(len(pairs)))
    a, c = solution[: len(sizes)], solution[len(sizes) :]
    shift = float(np.clip((c.mean() - a.mean()) / 2, -a.min(), c.min()))
    every = np.arange(chiplets + 1)
    # Ten decimals: the last digits of the fit differ between linear algebra libraries.
    fitted_a = np.interp(every, sizes, np.round(a + shift, 10))
    fitted_c = np.interp(every, sizes, np.round(c - shift, 10))
    fitted_a[0] = fitted_c[0] = 0.0
    return fitted_a, fitted_c


def package_coefficients(package: Package) -> NopCoefficients:
    """Coefficients of a package's mesh."""
    nop = package.nop
    return nop_coefficients(
        package.mesh_rows, package.mesh_cols, nop.eta_within, nop.eta_between, nop.skip == "both"
    )
