"""The mapping problem as a compact mixed-integer program, solved by HiGHS.

`segment` has the rows, `rounds` the programs of given segments. Segments that share no limit are
proved one by one (`paths.cuts`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from formulations.compact_milp.clusters import columns_of
from formulations.compact_milp.encodings import ENCODINGS
from formulations.compact_milp.rounds import Rest, Rounds, safety
from formulations.compact_milp.tables import NoSchedule, OneLayerSegments
from formulations.family.open_program import Scale
from formulations.family.pyomo_program import PyomoProgram
from formulations.family.solver import Family
from formulations.highs import import_highs, import_pyomo
from formulations.paths.cuts import Cuts
from formulations.paths.survey import Survey
from formulations.space import Stopped
from scope_opt.model.files import InputError
from scope_opt.model.tables import LIMIT
from scope_opt.schedule.bounds import segment_bounds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from formulations.request import Request
    from formulations.space import Space
    from scope_opt.schedule.schedule import Segment


class CompactMilpSolver(Family):
    """Mixed-integer programming, layer by layer."""

    name = "compact-milp"
    summary = "compact mixed-integer program (Pyomo, HiGHS) with piecewise linear tables"
    library = "HiGHS"
    encodings = tuple(ENCODINGS)

    def import_library(self) -> None:
        """See `Family`."""
        import_pyomo()
        import_highs()

    def search(self, request: Request) -> None:
        """See `Family`."""
        if request.space.couples_segments:
            Coupled(request, _given(self.name, request.space)).run()
        else:
            Separate(self.name, request).run()

    def program(self, request: Request, ceiling_ps: int | None) -> PyomoProgram:
        """The program of given segments with exact tables; see `Family`."""
        segments = _given(self.name, request.space)
        if not segments:
            raise InputError("segments", ["these allow no schedule, so there is no program"])
        coupled = Coupled(request, segments)
        try:
            columns = columns_of(request, ceiling_ps)
            ceilings = coupled.ceilings(ceiling_ps)
            program = Rounds(request, segments, ceilings, 0.0, columns).program()
        except NoSchedule as error:
            problem = "there is no schedule, so there is no program"
            raise InputError("instance", [problem]) from error
        return PyomoProgram(
            request,
            self.name,
            program.model,
            Scale(program.units.ps, program.units.fj, program.scale, program.constant),
            program.read,
            ceiling_ps,
            bound=lambda value: coupled.total(program.bound(value)),
            start=program.start,
            variables=program.variables,
        )


def _given(name: str, space: Space) -> list[tuple[int, int]]:
    """First and last layers of the segments where there is no choice; empty if none is allowed."""
    layers = len(space.segments)
    first, runs = 0, []
    while first < layers:
        lasts = [k for k in range(layers) if space.segments[first, k]]
        if space.segment_count == 1:
            lasts = [layers - 1] if lasts[-1:] == [layers - 1] else []
        if len(lasts) > 1:
            problem = (
                f"solver {name!r} needs them given for one program of all; use --segments single, "
                "those of a schedule (--segments FILE), or solver 'cp-sat'"
            )
            raise InputError("segments", [problem])
        if not lasts:
            return []
        runs.append((first, lasts[0]))
        first = lasts[0] + 1
    return runs if space.segment_count in (None, len(runs)) else []


class Coupled:
    """Given segments that share a budget or a bound, in one program."""

    def __init__(self, request: Request, segments: Sequence[tuple[int, int]]) -> None:
        self._request, self._segments = request, segments
        energy, weights = request.tables.energy, sum(map(int, request.tables.weight_bytes))
        self._loading_fj = 0 if energy is None else weights * energy.dram_fj_per_byte

    def run(self) -> None:
        """Solve program after program; raises `Stopped`."""
        request, monitor = self._request, self._request.monitor
        if not self._segments:
            request.prove_infeasible("simple bound")
            return
        status = Rest.OPEN
        try:
            rounds = Rounds(request, self._segments, self.ceilings(monitor.objective))
            while status is Rest.OPEN and monitor.bound != (monitor.objective or -1):
                status = rounds.solve(self, monitor.segments)
        except NoSchedule:
            status = Rest.INFEASIBLE
        if status is Rest.INFEASIBLE:
            if monitor.objective is not None:
                raise RuntimeError("HiGHS refutes a program that contains a known schedule")
            request.prove_infeasible("simple bound")  # at least: HiGHS has its credit

    def ceilings(self, known_ps: int | None) -> list[int | None]:
        """What the other segments leave of the latency allowed, or of one that is enough."""
        space = self._request.space
        most = space.latency_ps if space.latency_ps is not None else known_ps
        if most is None:
            return [None] * len(self._segments)
        lower = segment_bounds(self._request.tables)
        least = [min(int(lower[ends]), LIMIT) for ends in self._segments]
        return [most - sum(least) + own for own in least]

    def total(self, bound: int) -> int:
        """Bound on the objective from one on the latency, or on a sample's energy."""
        if self._request.energy_minimized:
            return self._request.tables.samples * bound + self._loading_fj
        return bound

    def offer(self, segments: Sequence[Segment]) -> int | None:
        """See `Client`."""
        return self._request.objective(self._request.offer(segments))

    def bound(self, value: int) -> None:
        """See `Client`; no bound above a known schedule, which may be the ceiling."""
        total, best = self.total(value), self._request.monitor.objective
        self._request.raise_bound(total if best is None else min(total, best))


class Separate:
    """Segments one by one, and the best cut of the layers into segments."""

    def __init__(self, name: str, request: Request) -> None:
        self._request, self._cuts = request, Cuts(name, request)
        self._alone = OneLayerSegments(request.tables, request.space)
        self._survey = Survey(request, self._cuts)

    def run(self) -> None:
        """Prove segments until the best cut is; raises `Stopped`."""
        self._cuts.begin()
        if self._request.clusters > self._request.tuning.large:
            self._survey.run()
        self._cuts.run(self._prove)

    def _prove(self, first: int, last: int, ceiling: int | None) -> None:
        """See `Cuts.run`; raises `Stopped` too if floats are not exact enough."""
        cuts = self._cuts
        if first == last:
            self._one_layer(first)
            return
        known = cuts.latency(first, last)
        if self._close(first, last):
            raise Stopped
        most = min(known, LIMIT if ceiling is None else ceiling)
        limit = None if most >= LIMIT else most
        client = _Client(cuts, first, last, limit)
        status = Rest.OPEN
        try:
            supply = None if self._request.space.energy_matters else self._survey.supply.columns
            rounds = Rounds(self._request, [(first, last)], [limit], columns=supply)
            while status is Rest.OPEN and not cuts.settled(first, last, ceiling):
                best = cuts.known.get((first, last))
                usable = best is not None and best.latency_ps <= most
                status = rounds.solve(client, [best.segment] if best and usable else None)
        except NoSchedule:
            status = Rest.INFEASIBLE
        if status is Rest.INFEASIBLE:
            none = LIMIT if limit is None else min(limit + 1, known)
            cuts.refute(first, last, none, "simple bound")  # at least: HiGHS has its credit
        elif not cuts.settled(first, last, ceiling) and not self._close(first, last):
            raise Stopped

    def _close(self, first: int, last: int) -> bool:
        """Whether the gap of a segment is too small for floats, or for beats that are not whole."""
        known, samples = self._cuts.latency(first, last), self._request.tables.samples
        gap = known - int(self._cuts.lower[first, last])
        close = 2 * safety(self._request.tables.layers) * known
        return gap <= close + samples + last - first

    def _one_layer(self, layer: int) -> None:
        """Try everything."""
        choices = self._alone.choices(layer)
        for choice in choices:
            self._cuts.found(choice.segment)
        least = min((choice.latency_ps for choice in choices), default=LIMIT)
        self._cuts.refute(layer, layer, least, "enumeration")


class _Client:
    """A segment, for `Rounds`."""

    def __init__(self, cuts: Cuts, first: int, last: int, ceiling: int | None) -> None:
        self._cuts, self._first, self._last = cuts, first, last
        self._ceiling = ceiling

    def offer(self, segments: Sequence[Segment]) -> int | None:
        """See `Client`."""
        return self._cuts.found(segments[0])

    def bound(self, value: int) -> None:
        """See `Client`; nothing is known of schedules above the ceiling."""
        known = self._cuts.latency(self._first, self._last)
        ceiling = LIMIT if self._ceiling is None else self._ceiling + 1
        self._cuts.refute(self._first, self._last, min(value, ceiling, known))
