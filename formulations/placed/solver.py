"""Placed instances, segment by segment: what the solvers of two libraries have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from formulations.paths.cuts import Cuts
from formulations.placed.costs import PlacedCosts
from formulations.placed.links import Links
from formulations.placed.segment import SegmentProof
from scope_opt.model.files import InputError
from scope_opt.model.instance import NEEDS_ENERGY, SHAPE
from scope_opt.model.tables import PARTITIONS
from scope_opt.schedule.schedule import make_segment

if TYPE_CHECKING:
    from collections.abc import Callable

    from formulations.placed.program import Emitter, PathProgram
    from formulations.request import Request
    from scope_opt.model.instance import Instance


def refuse_foreign(name: str, instance: Instance, encoding: str | None, own: str) -> None:
    """Raise `InputError` for what there is no path program for.

    Parameters
    ----------
    name : str
        The solver's name, for messages.
    instance : Instance
        A placed one.
    encoding : str, optional
        What was asked for.
    own : str
        The encoding that path programs go by.
    """
    if encoding not in (None, own):
        problem = f"found {encoding!r}; where nop.model is 'placed' solver {name!r} has {own!r}"
        raise InputError("encoding", [problem])
    limits = sorted(instance.constraints.active() & NEEDS_ENERGY)
    if limits:
        problem = (
            f"solver {name!r} does not honour it where nop.model is 'placed'; allowed there are "
            f"{', '.join(sorted(SHAPE))}"
        )
        raise InputError("constraints", [f"{limit}: {problem}" for limit in limits])


def prove_placed(name: str, request: Request, emit: Callable[[PathProgram], Emitter]) -> None:
    """Prove the best cut of a placed instance; raises `Undecided`.

    Parameters
    ----------
    name : str
        The solver's name, for messages.
    request : Request
    emit : callable
        Makes what hands a program to a library.
    """
    placed, floors = request.given.placed, request.monitor.segment_floors_ps
    assert placed is not None
    cuts = Cuts(name, request)
    if floors is not None:
        cuts.raise_bounds(floors, "recursion")
    _alone(request, cuts)
    costs, links = PlacedCosts(request), Links(placed)
    proofs: dict[tuple[int, int], SegmentProof] = {}

    def prove(first: int, last: int, ceiling_ps: int | None) -> None:
        ends = (first, last)
        if ends not in proofs:
            proofs[ends] = SegmentProof(request, cuts, costs, links, emit, ends)
        proofs[ends].prove(ceiling_ps)

    cuts.run(prove)


def _alone(request: Request, cuts: Cuts) -> None:
    """Every layer by itself on the whole package, where that is allowed."""
    space, chiplets = request.space, request.given.chiplets
    if space.fewest > 1 or chiplets not in space.sizes:
        return
    for layer in range(request.given.layers):
        for partition in range(len(PARTITIONS)):
            cuts.found(make_segment(layer, [(1, chiplets, [partition])]))
