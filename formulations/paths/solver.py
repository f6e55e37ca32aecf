"""Solver `paths`: shortest paths over columns prove the optimum, without any library.

Under one largest beat a segment is a path through its layers. The fewest clusters of such a path
that fits the package are a shortest path as well, one label per number of clusters, so that no
program is needed where nothing else limits a segment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from formulations.paths.cuts import Cuts
from formulations.paths.network import Fewest
from formulations.paths.staircase import Staircases
from formulations.paths.survey import Survey
from formulations.request import make_request
from formulations.space import Stopped
from formulations.tuning import DEFAULT, Tuning
from scope_opt.model.instance import SHAPE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from formulations.columns.columns import Columns
    from formulations.paths.network import BeatNetwork, Limits
    from formulations.paths.staircase import Formulate
    from formulations.request import Request
    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.solving.monitor import Monitor
    from scope_opt.solving.solver import SolveOptions


class PathsSolver:
    """Shortest paths over cluster columns.

    Energies and refetched bytes add up along a path, so that a limit on them makes the question a
    constrained shortest path: those side constraints are left to programs.
    """

    name = "paths"
    summary = "shortest paths over clusters, segment by segment: proves the optimum, no library"
    exact = True
    constraints: ClassVar[frozenset[str]] = SHAPE
    options: ClassVar[frozenset[str]] = frozenset({"warm_start", "threads"})

    def __init__(self, tuning: Tuning = DEFAULT) -> None:
        self._tuning = tuning

    def run(
        self,
        instance: Instance,
        tables: LatencyTables,
        options: SolveOptions,
        monitor: Monitor,
    ) -> None:
        """Search; see `scope_opt.solving.solver.Solver`."""
        request = make_request(self.name, instance, tables, options, monitor, self._tuning)
        try:
            prove_cuts(self.name, request, ShortestPath)
        except Stopped:
            return


class ShortestPath:
    """The fewest clusters of a segment under one largest beat; see `FewestClusters`.

    Parameters
    ----------
    columns : Columns
    network : BeatNetwork
    chiplets : int
        Of the package.
    counts : (int, int)
        Fewest and most clusters.
    limits : list of Limits
        None: no path keeps to further rows.
    """

    def __init__(
        self,
        columns: Columns,
        network: BeatNetwork,
        chiplets: int,
        counts: tuple[int, int],
        limits: Sequence[Limits],
    ) -> None:
        if limits:
            raise ValueError("a path through the layers keeps to no limit but the package")
        self._network, self._chiplets, self._counts = network, chiplets, counts

    def solve(self, request: Request, target: int) -> Fewest:
        """See `formulations.paths.network.FewestClusters`."""
        used = self._network.lightest(self._chiplets, self._counts)
        return Fewest(len(used), used) if used else Fewest(None, None)

    def exclude(self, used: Sequence[int]) -> None:
        """Columns add up exactly, so that every path keeps to the rules and the beat."""
        raise RuntimeError(f"the evaluator refuses the path over columns {list(used)}")


def prove_cuts(name: str, request: Request, formulate: Formulate) -> None:
    """Prove the best cut, segment by segment; raises `Stopped` and `Undecided`.

    Parameters
    ----------
    name : str
        The solver's name, for messages.
    request : Request
    formulate : callable
        Makes what answers how many clusters a beat needs, where that is still open.
    """
    cuts = Cuts(name, request)
    cuts.begin()
    survey = Survey(request, cuts)
    staircases = Staircases(request, cuts, survey.supply, formulate)
    if request.small:
        cuts.run(staircases.prove)
    else:
        survey.run()
        cuts.run(survey.first(staircases.prove))
