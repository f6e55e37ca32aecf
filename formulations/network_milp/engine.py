"""Linear programs of the network program as HiGHS takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from formulations.highs import TOLERANCE, import_highs
from scope_opt.model.tables import LIMIT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from formulations.request import Request

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]


def linear_program(
    cost: Floats, bounds: tuple[Floats, Floats], sides: tuple[Ints, Ints], terms: tuple[Ints, ...]
) -> Any:
    """A `HighsLp`.

    Parameters
    ----------
    cost : array of float
        By variable.
    bounds : pair of arrays of float
        Of variables.
    sides : pair of arrays of int
        Of rows; `LIMIT` and more, or less, stands for none.
    terms : arrays of int
        Row, column and value of each, in any order.
    """
    highspy = import_highs()
    infinity, (rows, columns, values) = highspy.kHighsInf, terms
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = len(cost), len(sides[0])
    lp.col_cost_ = cost
    lp.col_lower_, lp.col_upper_ = bounds
    lp.row_lower_ = np.where(sides[0] <= -LIMIT, -infinity, sides[0]).astype(float)
    lp.row_upper_ = np.where(sides[1] >= LIMIT, infinity, sides[1]).astype(float)
    order = np.lexsort((rows, columns))
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.num_col_, lp.a_matrix_.num_row_ = len(cost), len(sides[0])
    starts = np.searchsorted(columns[order], np.arange(len(cost) + 1))
    lp.a_matrix_.start_ = starts.astype(np.int32)
    lp.a_matrix_.index_ = rows[order].astype(np.int32)
    lp.a_matrix_.value_ = values[order].astype(float)
    return lp


def engine(lp: Any, request: Request, **options: Any) -> Any:
    """HiGHS with a program in it, silent unless ``options`` say otherwise."""
    highspy = import_highs()
    highs = highspy.Highs()
    for name, value in {
        "output_flag": False,
        "threads": request.threads,
        "random_seed": request.options.seed or 0,
        "primal_feasibility_tolerance": TOLERANCE,
        "dual_feasibility_tolerance": TOLERANCE,
        **options,
    }.items():
        highs.setOptionValue(name, value)
    # The pool of threads is per process; without this another number of threads fails.
    highspy.Highs.resetGlobalScheduler(True)
    highs.passModel(lp)
    return highs
