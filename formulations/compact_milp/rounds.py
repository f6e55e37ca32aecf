"""Compact mixed-integer programs of given segments, each finer than the one before.

Large tables enter as piecewise linear functions from below, so that every program is a relaxation;
it is refined around the region sizes of its own solution until that is exact there. Small ones are
exact from the start.
"""

from __future__ import annotations

from enum import Enum, auto
from math import ceil
from typing import TYPE_CHECKING, Any, Protocol

from formulations.compact_milp.clusters import least_of_clusters
from formulations.compact_milp.encodings import ENCODINGS
from formulations.compact_milp.segment import OneLayer, SegmentModel, Units
from formulations.compact_milp.tables import OneLayerSegments, layer_tables, most_beats_ps
from formulations.highs import REL_GAP, TOLERANCE, Highs, import_pyomo
from formulations.space import Stopped, worst_energy_fj
from scope_opt.model.tables import PARTITIONS
from scope_opt.schedule.schedule import make_segment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from formulations.compact_milp.clusters import ColumnsOf, Least
    from formulations.compact_milp.tables import LayerTables
    from formulations.request import Request
    from formulations.space import Space
    from scope_opt.model.tables import LatencyTables
    from scope_opt.schedule.schedule import Segment

    Floats = NDArray[np.float64]

WHOLE = 10**6
"""Latencies up to this many ps are computed in whole ps, in which floats are exact enough."""
SCALE = 1000
"""Otherwise the largest beat, and the largest energy of a sample, are this many units."""


def safety(layers: int) -> float:
    """Relative error of a bound for which that in other units allows.

    Each layer has a few rows that HiGHS' tolerance, times an ``M`` of about the beat, may move: two
    of its own, two where clusters begin and end in shares. This is twice that.
    """
    return 8 * TOLERANCE * layers


class Rest(Enum):
    """What a program leaves to do."""

    OPEN = auto()
    EXHAUSTED = auto()
    """Solved; tables were exact at its solution."""
    INFEASIBLE = auto()


class Program:
    """Given segments as one program.

    Parameters
    ----------
    tables, space
        The instance.
    segments : sequence of (int, int)
        First and last layers.
    approximations : list of dict of LayerTables
        By segment (none for those of one layer) and layer.
    ceilings_ps : sequence of int or None
        Largest latencies of interest, by segment.
    encoding : str
    least : sequence of dict or None
        What clusters need at least, by segment; see `SegmentModel`.

    Raises
    ------
    NoSchedule
        If one of the segments has none.
    """

    def __init__(
        self,
        tables: LatencyTables,
        space: Space,
        segments: Sequence[tuple[int, int]],
        approximations: Sequence[dict[int, LayerTables]],
        ceilings_ps: Sequence[int | None],
        encoding: str,
        least: Sequence[dict[tuple[int, int], Least] | None],
    ) -> None:
        pyo = import_pyomo()
        self.space, self.tables = space, tables
        self.units = _units(tables, space, segments, ceilings_ps)
        self.model = pyo.ConcreteModel()
        self.parts: list[SegmentModel | OneLayer] = []
        one_layer = OneLayerSegments(tables, space)
        for k, (first, last) in enumerate(segments):
            block = pyo.Block()
            self.model.add_component(f"segment_{k}", block)
            if first == last:
                self.parts.append(OneLayer(block, one_layer.choices(first), self.units))
                continue
            self.parts.append(
                SegmentModel(
                    block,
                    tables,
                    space,
                    first,
                    last,
                    approximations[k],
                    self.units,
                    ceilings_ps[k],
                    encoding,
                    least[k],
                )
            )
        latency = sum(part.latency for part in self.parts)
        energy = sum(part.energy for part in self.parts)
        if space.budget_fj is not None:
            self.model.budget = pyo.Constraint(expr=energy <= space.budget_fj / self.units.fj)
        if space.latency_ps is not None:
            self.model.deadline = pyo.Constraint(expr=latency <= space.latency_ps / self.units.ps)
        self.scale, self.constant = self.units.ps, 0
        """Latency in ps, or energy in fJ, is ``scale`` times the objective plus ``constant``."""
        by_energy = space.latency_ps is not None
        if by_energy and tables.energy is not None:
            self.scale = tables.samples * self.units.fj
            self.constant = tables.loading_fj
        self.model.objective = pyo.Objective(expr=energy if by_energy else latency)

    def bound(self, value: float) -> int:
        """Lower bound on the latency in ps, or the energy of a sample in fJ, from one in units.

        These are whole numbers, so bounds are rounded up, from so far down that the errors of
        floats cannot matter.
        """
        if self.space.latency_ps is not None:
            return ceil(value * (1 - safety(self.tables.layers)) * self.units.fj)
        if self.units.whole:
            return ceil(value - 0.25)
        return ceil(value * (1 - safety(self.tables.layers)) * self.units.ps)

    def start(self, segments: Sequence[Segment]) -> list[tuple[Any, float]]:
        """Every variable and its value in a schedule."""
        for part, segment in zip(self.parts, segments, strict=True):
            part.start(segment)
        pyo = import_pyomo()
        return [(v, v.value) for v in self.model.component_data_objects(pyo.Var)]

    def read(self, value: Callable[[Any], float]) -> list[Segment]:
        """Schedule in a solution, given its variables' values."""
        return [part.read(value) for part in self.parts]

    @property
    def variables(self) -> dict[str, dict[Any, Any]]:
        """By family and layer; those of a whole segment by its place among the segments."""
        found: dict[str, dict[Any, Any]] = {}
        for place, part in enumerate(self.parts):
            for family, members in part.variables(place).items():
                found.setdefault(family, {}).update(members)
        return found


def _units(
    tables: LatencyTables,
    space: Space,
    segments: Sequence[tuple[int, int]],
    ceilings_ps: Sequence[int | None],
) -> Units:
    beats = [
        max(most_beats_ps(tables, space, first, last, ceiling).values())
        for (first, last), ceiling in zip(segments, ceilings_ps, strict=True)
    ]
    longest = (tables.samples + tables.layers) * sum(beats)
    longest += sum(int(tables.load_ps[ends]) for ends in segments)
    fj = max(1, ceil(sum(worst_energy_fj(tables, *ends) for ends in segments) / SCALE))
    if longest <= WHOLE:
        return Units(1, fj, True)
    return Units(max(1, ceil(max(beats) / SCALE)), fj, False)


class Client(Protocol):
    """What rounds report to."""

    def offer(self, segments: Sequence[Segment]) -> int | None:
        """Report a schedule; its exact objective, None if it breaks a rule."""

    def bound(self, value: int) -> None:
        """Report a lower bound on the latency in ps, or on a sample's energy in fJ.

        Who proved it has been credited.
        """


class Rounds:
    """Programs for given segments, each with finer tables than the one before.

    Parameters
    ----------
    request : Request
    segments : sequence of (int, int)
        First and last layers.
    ceilings_ps : sequence of int or None
        Largest latencies of interest, by segment.
    tolerance : float, optional
        Relative error of the first approximation; chosen by the number of region sizes if not
        given.
    columns : callable, optional
        Of segments; without, the program does not know what whole clusters need.

    Raises
    ------
    NoSchedule
        If one of the segments has none.
    """

    def __init__(
        self,
        request: Request,
        segments: Sequence[tuple[int, int]],
        ceilings_ps: Sequence[int | None],
        tolerance: float | None = None,
        columns: ColumnsOf | None = None,
    ) -> None:
        self._request, self._segments = request, segments
        tables, space = request.tables, request.space
        # Rounding must exclude nothing up to the ceilings.
        wider = 1 + 2 * safety(tables.layers)
        self._ceilings = [None if c is None else int(c * wider) for c in ceilings_ps]
        if tolerance is None:
            exact = len(space.sizes) <= request.tuning.exact_sizes
            tolerance = 0.0 if exact else request.tuning.first_error
        with request.monitor.timed("build"):
            self._layers = [
                {}
                if first == last
                else layer_tables(
                    tables,
                    space,
                    first,
                    last,
                    max(most_beats_ps(tables, space, first, last, ceiling).values()),
                    tolerance,
                )
                for (first, last), ceiling in zip(segments, self._ceilings, strict=True)
            ]
        self._least = [
            None
            if columns is None or first == last
            else least_of_clusters(columns(first, last, ceiling), tables.layers)
            for (first, last), ceiling in zip(segments, self._ceilings, strict=True)
        ]
        self._number = 1
        self._fine = False
        """Whether no refinement is left around the last solution."""

    def program(self) -> Program:
        """With the tables as they are now."""
        request = self._request
        encoding = request.options.encoding or next(iter(ENCODINGS))
        with request.monitor.timed("build"):
            return Program(
                request.tables,
                request.space,
                self._segments,
                self._layers,
                self._ceilings,
                encoding,
                self._least,
            )

    def solve(self, client: Client, best: Sequence[Segment] | None) -> Rest:
        """Solve one program, beginning with schedule ``best``; refine the tables.

        Raises
        ------
        Stopped
            If the monitor stops it.
        """
        request, options = self._request, self._request.options
        monitor = request.monitor
        program = self.program()
        monitor.report(f"program {self._number} with {self.breakpoints} breakpoints", 0.0)
        self._number += 1
        highs = Highs(program.model, monitor)
        if monitor.stopping:
            raise Stopped
        exact = self._fine or program.units.whole or self._exact

        def on_solution(values: Floats) -> None:
            client.offer(program.read(lambda variable: highs.value(values, variable)))

        def on_bound(value: float) -> None:
            monitor.credit(highs.prover)
            client.bound(program.bound(value))

        outcome = highs.solve(
            monitor,
            threads=request.threads,
            seed=options.seed or 0,
            log=options.log,
            start=None if best is None else program.start(best),
            on_solution=on_solution,
            on_bound=on_bound,
            rel_gap=REL_GAP if exact else request.tuning.coarse_gap,
        )
        if outcome.status == "infeasible":
            monitor.credit(highs.prover)
            return Rest.INFEASIBLE
        if outcome.bound is not None:
            on_bound(outcome.bound)
        if outcome.status == "stopped" or outcome.values is None:
            raise Stopped
        best_values = outcome.values
        found = program.read(lambda variable: highs.value(best_values, variable))
        self._improve(client, found)
        self._fine = not self._refine(found)
        return Rest.EXHAUSTED if self._fine and exact else Rest.OPEN

    def _refine(self, segments: Sequence[Segment]) -> bool:
        """Make the tables exact at the sizes of a schedule; whether they were not before."""
        changed = False
        for layers, segment in zip(self._layers, segments, strict=True):
            for cluster in segment.clusters:
                for layer in range(cluster.first_layer, cluster.last_layer + 1):
                    if layer in layers:
                        changed |= layers[layer].refine(cluster.chiplets)
        return changed

    def _improve(self, client: Client, segments: Sequence[Segment]) -> None:
        """Report a schedule; change partitions one by one as long as that helps."""
        best, value = list(segments), client.offer(segments)
        for k in range(len(best)):
            for layer in range(best[k].first_layer, best[k].last_layer + 1):
                if value is None or self._request.monitor.stopping:
                    return
                other = [*best[:k], _flipped(best[k], layer), *best[k + 1 :]]
                found = client.offer(other)
                if found is not None and found < value:
                    best, value = other, found

    @property
    def _exact(self) -> bool:
        return all(t.exact for layers in self._layers for t in layers.values())

    @property
    def breakpoints(self) -> int:
        """Of all layers."""
        return sum(len(t.breakpoints) for layers in self._layers for t in layers.values())


def _flipped(segment: Segment, layer: int) -> Segment:
    """The segment with the other partition for a layer."""
    clusters = []
    for cluster in segment.clusters:
        partitions = [PARTITIONS.index(p) for p in cluster.partitions]
        if cluster.first_layer <= layer <= cluster.last_layer:
            partitions[layer - cluster.first_layer] ^= 1
        clusters.append((len(partitions), cluster.chiplets, partitions))
    return make_segment(segment.first_layer, clusters)
