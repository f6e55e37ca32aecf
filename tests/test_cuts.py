"""Whole networks from single segments: the best cut, and what is told of it on the way."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import oracle
import pytest
import strategies
from documents import Json, shipped
from helpers import read
from hypothesis import given, settings
from hypothesis import strategies as st

from formulations.paths.cuts import Cuts, shortest_cut
from formulations.request import Request, make_request
from scope_opt.cost.build import build_tables
from scope_opt.model.files import InputError
from scope_opt.model.tables import LIMIT
from scope_opt.schedule.schedule import make_segment
from scope_opt.solving.monitor import Monitor
from scope_opt.solving.solver import SolveOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scope_opt.schedule.schedule import Segment


TINY = strategies.table_instances(max_layers=3, max_chiplets=3)
TINY |= strategies.physical_instances(max_layers=3, max_chiplets=2)


def ask(document: Json) -> Request:
    instance = read(document)
    monitor = Monitor(minimizes=instance.minimizes)
    return make_request("cuts", instance, build_tables(instance), SolveOptions(), monitor)


def cuts_of(layers: int) -> Iterator[list[tuple[int, int]]]:
    """Every cut of the layers into segments."""
    for inner in itertools.product([False, True], repeat=layers - 1):
        firsts = [0, *(layer + 1 for layer, cut in enumerate(inner) if cut)]
        yield list(zip(firsts, [first - 1 for first in firsts[1:]] + [layers - 1], strict=True))


@given(data=st.data(), layers=st.integers(1, 5))
def test_shortest_cut_equals_brute_force(data: st.DataObject, layers: int) -> None:
    cost = st.sampled_from([0, 1, 2, 3, 5, 8, LIMIT])
    costs = np.array(data.draw(st.lists(cost, min_size=layers**2, max_size=layers**2)))
    costs = costs.reshape(layers, layers)
    count = data.draw(st.none() | st.integers(1, layers))
    possible = [cut for cut in cuts_of(layers) if count in (None, len(cut))]
    totals = [min(LIMIT, sum(int(costs[ends]) for ends in cut)) for cut in possible]
    total, path = shortest_cut(costs, count)
    assert total == min(totals)
    if total < LIMIT:
        assert path in possible
        assert sum(int(costs[ends]) for ends in path) == total
    else:
        assert path == []


def schedules(first: int, last: int, chiplets: int) -> Iterator[Segment]:
    """Every schedule of a segment."""
    for clusters in cuts_of(last - first + 1):
        for sizes in itertools.product(range(1, chiplets + 1), repeat=len(clusters)):
            if sum(sizes) > chiplets:
                continue
            for partitions in itertools.product(range(2), repeat=last - first + 1):
                parts = [
                    (end - begin + 1, size, partitions[begin : end + 1])
                    for (begin, end), size in zip(clusters, sizes, strict=True)
                ]
                yield make_segment(first, parts)


@settings(max_examples=strategies.share(3))
@given(document=TINY, begin=st.booleans())
def test_best_cut_of_segments_tried_out(document: Json, begin: bool) -> None:
    """With a solver that tries everything the result is that of exhaustive search."""
    request = ask(document)
    monitor, cuts = request.monitor, Cuts("cuts", request)
    if begin:
        cuts.begin()

    def prove(first: int, last: int, ceiling_ps: int | None) -> None:
        assert not cuts.settled(first, last, ceiling_ps)
        for segment in schedules(first, last, request.tables.chiplets):
            cuts.found(segment)
        best = cuts.latency(first, last)
        # Nothing need be known beyond the ceiling.
        cuts.refute(first, last, best if ceiling_ps is None else min(best, ceiling_ps + 1))
        assert cuts.settled(first, last, ceiling_ps)

    cuts.run(prove)
    best = oracle.best(document)
    if best is None:
        assert monitor.infeasible
        return
    assert monitor.objective == monitor.bound == best[1]
    bounds = [point.bound_ps for point in monitor.trajectory if point.bound_ps is not None]
    assert bounds == sorted(bounds)


def test_stops_when_told() -> None:
    request = ask(
        {
            "format": "scope-instance/1",
            "name": "one",
            "samples": 2,
            "tables": {
                "chiplets": 2,
                "weight_buffer_bytes": 1,
                "layers": [
                    {
                        "name": "a",
                        "weight_bytes": 0,
                        "compute_ps": {"ISP": [9, 5], "WSP": [9, 5]},
                    }
                ],
            },
        }
    )
    cuts = Cuts("cuts", request)

    def prove(first: int, last: int, ceiling_ps: int | None) -> None:
        request.monitor.interrupted = True

    cuts.run(prove)
    assert request.monitor.objective is None
    assert not request.monitor.infeasible


def test_coupled_segments_are_refused() -> None:
    with pytest.raises(InputError, match="shared by all of them"):
        Cuts("cuts", ask(shipped("tiny-energy")))
