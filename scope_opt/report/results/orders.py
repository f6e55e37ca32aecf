"""Page of the study `orders`: the best order of positions of each placed instance.

``results/orders/run.py`` solves them.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from scope_opt.model.package import order_name
from scope_opt.report.markdown import Article, bullets, fixed, table
from scope_opt.report.results.best_known import known_placed
from scope_opt.report.results.records import (
    PAPER_INSTANCES,
    RESULTS,
    machine,
    milliseconds,
    ratio,
)
from scope_opt.report.results.shapes import SIZES, Shape, shape_lines, shape_rows
from scope_opt.solving.metrics import proof_text
from scope_opt.solving.result import Result, Status

if TYPE_CHECKING:
    from pathlib import Path

STUDY = "orders"
SOLVED, HILBERT = RESULTS / STUDY / "results.jsonl", RESULTS / STUDY / "hilbert.jsonl"
ZIGZAG = "zigzag"


def load_solved(file: Path | None = None) -> dict[str, Result]:
    """Results of `exact` by instance of the paper, over all orders unless the file has others.

    Of several for an instance the last counts.
    """
    file = file or SOLVED
    lines = file.read_text().splitlines() if file.exists() else []
    found = [Result.from_json(line, str(file)) for line in lines]
    return {result.instance.name.removesuffix("-placed"): result for result in found}


def page() -> Article:
    """The page."""
    known, curve = load_solved(), load_solved(HILBERT)
    found = {name: known[name] for name in PAPER_INSTANCES if name in known}
    proved = [name for name, result in found.items() if result.status is Status.OPTIMAL]
    gains = {
        name: gain - 1
        for name, result in found.items()
        if (gain := zigzag_over_best(result)) is not None
    }
    names = [_order(result) for result in found.values()]
    counts = {name: names.count(name) for name in sorted(set(names))}
    lines = [
        f"Proved optimal over all orders, shared links included: {len(proved)} of {len(found)}.",
        "Best order found: " + ", ".join(f"{name} {count}" for name, count in counts.items()) + ".",
    ]
    if gains:
        best = max(gains, key=gains.__getitem__)
        lines.append(
            f"ZigZag takes {100 * median(gains.values()):.1f} % longer in the median, "
            f"{100 * gains[best]:.1f} % at most ({best})."
        )
    lines += _curve_lines(found, curve)
    return Article(
        "The order of positions",
        [
            f"`scope-opt solve INSTANCE --order all` on {len(found)} instances of `instances/placed`: "
            "the best schedule over ZigZag and blocks of every width, links loaded by what was "
            "measured for either ([docs/model.md](../../docs/model.md#173-order-of-positions)). "
            "Reproduce with `python results/orders/run.py`; `results.jsonl` has every result whole. "
            f"{machine(STUDY)}",
            bullets(lines),
            "*zigzag*: best schedule in ZigZag order, ms, also by studies of that order alone; "
            "*latency*: that in the best order; "
            "*zigzag %*: how much longer the first takes. *bound*: no schedule in any of the orders "
            "takes less; *gap* between the two, 0 where the optimum is proved with links. *open*: "
            "other orders that may still have a better schedule. *s*: seconds of all orders. "
            "*hilbert %*: how much longer than in the best of those orders the best schedule takes "
            "along a Hilbert-like curve, where both are proved.",
            table(
                (
                    *("instance", "order", "open", "zigzag", "latency", "zigzag %"),
                    *("bound", "gap %", "s", "hilbert %", "bound by"),
                ),
                [_row(name, result, curve.get(name)) for name, result in found.items()],
                3,
            ),
            "## Shapes of regions",
            "What a region's shape decides. When every chiplet of a region of $n$ sends to every other, a "
            "quarter of the $n^2$ pairs cross its middle each way, so that some link carries at least "
            "$n^2/4b$ of them, if they cross over $b$ links: $n^2/4$ in a row, $n^{1.5}/4$ in a square, whose "
            "perimeter $4\\sqrt n$ is the shortest. What a region sends to the next one crosses the border "
            "they share likewise. XY routes do not spread evenly, so that links carry more. A relayed "
            "gather is handed on from neighbour to neighbour and puts $n - 1$ shares on its busiest link "
            "whatever the shape: orders differ in all other transfers only.",
            "Means over all regions of 4, 16 and 64 positions. *perimeter*: over that of a square; "
            "*exchange*: pairs on the busiest link over $n^{1.5}/4$; *scatter*: pairs on the busiest link "
            "from a region to the next of its size, over $n^{1.5}$. `hilbert` never repeats, so that links are "
            "counted for every position; `--order all` leaves it out.",
            bullets(shape_lines()),
            table(
                (
                    *("mesh", "order"),
                    *(f"{what} {size}" for what in Shape._fields for size in SIZES),
                ),
                shape_rows(),
                2,
            ),
        ],
    )


def _curve_lines(found: dict[str, Result], curve: dict[str, Result]) -> list[str]:
    over = {name: _curve_over_best(result, curve.get(name)) for name, result in found.items()}
    longer = {name: 100 * (value - 1) for name, value in over.items() if value is not None}
    if not longer:
        return []
    most, least = max(longer, key=longer.__getitem__), min(longer, key=longer.__getitem__)
    shorter = sum(value < 0 for value in longer.values())
    return [
        f"Along a Hilbert-like curve, proved in {len(longer)} instances, the best schedule takes "
        f"{median(longer.values()):.1f} % longer than in the best of those orders in the median, "
        f"{longer[most]:.1f} % at most ({most}); it is shorter in {shorter}"
        + (f", by {-longer[least]:.1f} % at most ({least})." if shorter else ".")
    ]


def _curve_over_best(result: Result, curve: Result | None) -> float | None:
    """Latency along the curve over that in the best of all other orders, both optimal."""
    if curve is None or not curve.status is result.status is Status.OPTIMAL:
        return None
    return ratio(curve.objective_ps, result.objective_ps)


def _order(result: Result) -> str:
    order = None if result.schedule is None else result.schedule.order
    return "-" if order is None else order_name(order)


def _zigzag(result: Result) -> int | None:
    """Latency in ps of the best schedule in ZigZag order, also by studies of that order alone."""
    found = [each.objective_ps for each in result.orders if each.order == ZIGZAG]
    if result.instance.name in known_placed():
        found.append(known_placed()[result.instance.name][0].objective)
    return min((each for each in found if each is not None), default=None)


def zigzag_over_best(result: Result) -> float | None:
    """Latency in ZigZag order over that in the best order; None where one of them is missing."""
    return ratio(_zigzag(result), result.objective_ps)


def _row(name: str, result: Result, curve: Result | None) -> list[str]:
    own, best = _order(result), result.objective_ps
    open_ = [
        order_name(each.order)
        for each in result.orders
        if order_name(each.order) != own and not each.infeasible
        if best is None or each.bound_ps is None or each.bound_ps < best
    ]
    gain, along = zigzag_over_best(result), _curve_over_best(result, curve)
    return [
        name,
        own,
        ", ".join(open_) or "-",
        milliseconds(_zigzag(result)),
        milliseconds(best),
        fixed(None if gain is None else 100 * (gain - 1), ".1f"),
        milliseconds(result.bound_ps),
        fixed(None if result.gap is None else 100 * result.gap, ".1f"),
        fixed(result.times_s.total, ".1f"),
        fixed(None if along is None else 100 * (along - 1), ".1f"),
        proof_text(result) or "-",
    ]
