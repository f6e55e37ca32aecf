"""Simulated annealing over segments, clusters, regions and partitions together.

The general search that mappers of layer pipelines use: random changes of a complete schedule
(`moves`), accepted by the Metropolis rule under a falling temperature (`walk`). A move changes one
segment, or two neighbours; only clusters whose time can differ are evaluated again (`state`). All
of it is compiled; `AnnealSolver` drives it in chunks of moves and reports the best schedule of
each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from scope_opt.model.compiled import compiled
from scope_opt.model.instance import PLACES, SHAPE
from scope_opt.model.tables import LIMIT, PARTITIONS
from scope_opt.schedule.bounds import latency_bound, layer_floors
from scope_opt.schedule.schedule import make_segment
from scope_opt.search.allowed import make_allowed
from scope_opt.search.anneal.evaluation import evaluate_segment, even_out, reshare
from scope_opt.search.anneal.moves import (
    SEGMENT_MERGE,
    SEGMENT_SHIFT,
    SEGMENT_SPLIT,
)
from scope_opt.search.anneal.state import (
    APART,
    CLUSTER,
    COLUMNS,
    EXCESS,
    FREE,
    INSIDE,
    KINDS,
    LATENCY,
    MARK,
    SEGMENT,
    SIZE,
    TOGETHER,
    WISH,
    Memory,
    Rules,
    State,
    Walk,
    after_cluster,
    after_segment,
    make_rng,
)
from scope_opt.search.anneal.tuning import (
    BALANCED_CUTS,
    CHUNK,
    COLD,
    FREQUENCY,
    HOT,
    MEMORY_ROWS,
    MOVES,
    MOVES_PER_LAYER,
    REHEAT,
    ROUND_LAYERS,
    ROUNDS,
    SEGMENT_MOVES,
)
from scope_opt.search.anneal.walk import (
    anneal,
    copy_rows,
    note_segment,
    recall,
)
from scope_opt.search.cuts import best_ends, other_segments, shortest_cut
from scope_opt.search.packed import pack_tables
from scope_opt.search.paper.segmentation import balanced_choices
from scope_opt.search.paper.solver import agreed_segments
from scope_opt.search.placed import FACTS, weight_gather_ps, within_ps
from scope_opt.search.times import ISP, WSP, gather_time, inner_layer_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.schedule.schedule import Schedule, Segment
    from scope_opt.search.packed import Ints, PackedTables
    from scope_opt.solving.monitor import Monitor
    from scope_opt.solving.solver import SegmentChoice, SolveOptions

    Floats = NDArray[np.float64]
    Words = NDArray[np.uint64]

FIXED, COUNTED, ANY = 0, 1, 2
"""What moves leave alone: the segments, their number, or nothing."""


# --- Starts --------------------------------------------------------------------------------------


@compiled
def _fill(rules: Rules, layer: Ints, low: int, high: int, clusters: int) -> None:
    """Cut a segment into about that many clusters of about the same chiplet-time."""
    layer[low:high, MARK] = INSIDE
    layer[low, MARK] = SEGMENT
    area, begin, made = rules.area, rules.area[low], 1
    part = (area[high] - begin) / clusters
    for a in range(low + 1, high):
        centre = (area[a] + area[a + 1]) / 2 - begin
        due = made < clusters and (centre >= made * part or high - a <= clusters - made)
        if rules.border[a] == APART or (due and rules.border[a] == FREE):
            layer[a, MARK] = CLUSTER
            made += 1


@compiled
def construct(walk: Walk, low: int, high: int) -> bool:
    """Schedule a segment by a few numbers of clusters; False if it has no room for them."""
    layer, area, share = walk.state.layer, walk.rules.area, walk.share
    found, latency, excess = False, 0, 0
    clusters = 1
    while True:
        _fill(walk.rules, layer, low, high, clusters)
        for a in range(low, high):
            if layer[a, MARK] != INSIDE:
                share[a] = area[after_cluster(layer, a)] - area[a]
        if reshare(walk, low, high):
            even_out(walk, low, high)
            now, missing = layer[low, LATENCY], layer[low, EXCESS]
            if not found or missing < excess or (missing == excess and now < latency):
                found, latency, excess = True, now, missing
                copy_rows(walk.state, walk.saved, low, high)
        if clusters == high - low:
            break
        clusters = min(high - low, clusters + max(1, clusters // 3))
    if found:
        copy_rows(walk.saved, walk.state, low, high)
        note_segment(walk.memory, layer, low, high)
    return found


@compiled
def assess(walk: Walk) -> None:
    """Evaluate a whole schedule, and remember its segments."""
    layer = walk.state.layer
    for low in range(len(layer) - 1):
        if layer[low, MARK] == SEGMENT:
            high = after_segment(layer, low)
            evaluate_segment(walk, low, high)
            note_segment(walk.memory, layer, low, high)


@compiled
def likely_partitions(packed: PackedTables) -> NDArray[np.bool_]:
    """Whether WSP suits each layer better, on some of the chiplets, before anything is known."""
    times, places = packed.times, packed.places
    layers, size = len(times), max(1, (times.shape[1] - 1) // 4)
    shared = np.empty(layers, dtype=np.bool_)
    # The type that other callers pass, so that there is one version of the code.
    own = np.array([ISP, WSP], dtype=np.int8)
    for layer in range(layers):
        isp = inner_layer_time(times, layer, ISP, ISP, size, 0)
        wsp = inner_layer_time(times, layer, WSP, WSP, size, 0)
        gather = gather_time(times, layer, WSP, size, False)
        if places.placed:  # then all of these were computation
            gather = weight_gather_ps(places, places.weights[layer], 0, size)
            if layer < layers - 1:
                isp = max(isp, within_ps(places, layer, own[ISP], own[ISP], 0, size, layer))
                wsp = max(wsp, within_ps(places, layer, own[WSP], own[WSP], 0, size, layer))
        shared[layer] = wsp + gather < isp
    return shared


def possible_cuts(rules: Rules, cuts: Sequence[int], exactly: bool) -> tuple[int, ...] | None:
    """First layers of segments near those given, where clusters may begin.

    With ``exactly``, as many as given; None if there are too few such layers.
    """
    possible = np.flatnonzero(rules.border[1:-1] != TOGETHER) + 1
    chosen = {0}
    for cut in cuts[1:]:
        left = [layer for layer in possible.tolist() if not exactly or layer not in chosen]
        if left:
            chosen.add(min(left, key=lambda layer: (abs(layer - cut), layer)))
        elif exactly:
            return None
    return tuple(sorted(chosen))


# --- The solver ----------------------------------------------------------------------------------


def chosen_cuts(instance: Instance, segments: SegmentChoice | None) -> SegmentChoice:
    """Segments that are asked for, by the options and by side constraints."""
    choice: SegmentChoice = segments or "dp"
    if instance.constraints.fixed_segments is not None:
        choice = agreed_segments(choice, instance.constraints.fixed_segments)
    return (0,) if choice == "single" else choice


def freedom(choice: SegmentChoice) -> int:
    """What moves leave alone for these segments: `FIXED`, `COUNTED` or `ANY`."""
    return ANY if choice == "dp" else COUNTED if isinstance(choice, int) else FIXED


def make_rules(instance: Instance, tables: LatencyTables, cuts: int) -> Rules:
    """What moves may do on an instance."""
    limits, layers, chiplets = instance.constraints, tables.layers, tables.chiplets
    border = np.full(layers + 1, FREE, dtype=np.int8)
    border[[layer + 1 for layer in limits.forbidden_merges or ()]] = APART
    border[[layer + 1 for layer in limits.required_merges or ()]] = TOGETHER
    unit = limits.region_multiple or 1
    package = chiplets // unit * unit
    inside, closing = layer_floors(tables)
    area = (np.minimum(inside, closing) * np.arange(1, chiplets + 1)).min(axis=1)
    return Rules(
        border=border,
        choice=make_allowed(limits, layers, chiplets).choice,
        unit=unit,
        largest=min(package, (limits.max_region or package) // unit * unit),
        package=package,
        fewest=limits.min_clusters or 1,
        most=min(limits.max_clusters or layers, package // unit),
        weights=np.concatenate([[0], np.cumsum(tables.weight_bytes)]),
        area=np.concatenate([[0.0], np.cumsum(np.maximum(area, 1).astype(np.float64))]),
        segment_moves=0.0 if cuts == FIXED or layers == 1 else SEGMENT_MOVES,
    )


def make_state(layers: int, placed: bool) -> State:
    """A schedule that is still to be filled in."""
    layer = np.zeros((layers + 1, COLUMNS), dtype=np.int64)
    layer[layers, MARK] = SEGMENT
    return State(
        layer,
        partition=np.zeros(layers + 1, dtype=np.int8),
        guide=np.zeros(layers + 1),
        phase=np.zeros(layers + 1 if placed else 0, dtype=np.int64),
    )


def make_memory(layers: int) -> Memory:
    """An empty memory; that of a very long network is too small for all of its segments."""
    rows = min(layers * (layers + 1) * (layers + 2) // 6, MEMORY_ROWS)
    return Memory(
        latency=np.full((layers, layers), LIMIT, dtype=np.int64),
        offset=np.full((layers, layers), -1, dtype=np.int64),
        rows=np.zeros((rows, 3), dtype=np.int32),
        used=np.zeros(2, dtype=np.int64),
    )


def make_walk(packed: PackedTables, rules: Rules, cuts: int, rng: Words) -> Walk:
    """A walk without a schedule to begin with."""
    layers, placed = len(packed.times), packed.places.placed
    judged = layers if placed or packed.places.limit >= 0 else 0
    frequency = FREQUENCY.copy()
    if cuts != ANY:
        frequency[[SEGMENT_SPLIT, SEGMENT_MERGE]] = 0
    for part in (frequency[:SEGMENT_SHIFT], frequency[SEGMENT_SHIFT:]):
        part[:] = np.cumsum(part) / part.sum()
        part[part == part[-1]] = 2.0  # above every random number
    return Walk(
        packed=packed,
        rules=rules,
        state=make_state(layers, placed),
        saved=make_state(layers, placed),
        spare=make_state(layers, placed),
        memory=make_memory(layers),
        frequency=frequency,
        share=np.zeros(layers + 1),
        changed=np.zeros(4, dtype=np.int64),
        facts=np.zeros((judged, FACTS), dtype=np.int64),
        shared_links=packed.places.shared,
        rng=rng,
        stats=np.zeros((KINDS, 2), dtype=np.int64),
    )


def to_segments(state: State, low: int = 0, high: int | None = None) -> list[Segment]:
    """The schedule of a state, or of whole segments of it: the layers ``low..high-1``."""
    segments = []
    clusters: list[tuple[int, int, list[int]]] = []
    marks, partition = state.layer[:, MARK].tolist(), state.partition.tolist()
    end = len(marks) - 1 if high is None else high
    head = first = low
    for after in range(low + 1, end + 1):
        if after < end and marks[after] == INSIDE:
            continue
        clusters.append((after - head, int(state.layer[head, SIZE]), partition[head:after]))
        head = after
        if after == end or marks[after] == SEGMENT:
            segments.append(make_segment(first, clusters))
            clusters, first = [], after
    return segments


class Annealing:
    """A run of `anneal`: its walk, its share of the budget, what it reports.

    Parameters
    ----------
    instance, tables, options, monitor
        As `AnnealSolver` got them.
    cuts : int
        `FIXED`, `COUNTED` or `ANY`.
    part, parts : int
        Which run it is, and how many share the budget.
    """

    def __init__(
        self,
        instance: Instance,
        tables: LatencyTables,
        options: SolveOptions,
        monitor: Monitor,
        cuts: int,
        part: int = 0,
        parts: int = 1,
    ) -> None:
        rules = make_rules(instance, tables, cuts)
        rng = make_rng(options.seed or 0, part)
        self.walk = make_walk(pack_tables(tables), rules, cuts, rng)
        self._monitor = monitor
        self._layers = tables.layers
        self._counted = cuts == COUNTED
        self._share = (part / parts, (part + 1) / parts)
        self._limit_s = options.time_limit_s
        moves = options.iterations
        if moves is None and options.time_limit_s is None:
            moves = MOVES + MOVES_PER_LAYER * tables.layers
        self._moves = None if moves is None else moves * (part + 1) // parts - moves * part // parts
        self._first: tuple[tuple[int, int], Ints] | None = None
        self._rounds = max(1, min(ROUNDS, ROUND_LAYERS // tables.layers))
        self._heat = HOT
        self.best = LIMIT

    def start(self, cuts: Sequence[int]) -> tuple[int, int] | None:
        """Schedule the segments with these first layers quickly; the best start is kept.

        Returns what of its weights and cluster counts does not fit, 0 if it is valid, and its
        latency; None if the segments have no room for their clusters.
        """
        walk = self.walk
        walk.state.layer[:-1, WISH] = likely_partitions(walk.packed)
        walk.state.layer[:-1, MARK] = INSIDE
        walk.state.layer[list(cuts), MARK] = SEGMENT
        for low, high in zip(cuts, [*cuts[1:], self._layers], strict=True):
            if not construct(walk, low, high):
                return None
        excess, latency = cost = self._keep()
        if excess == 0 and latency < self.best:
            self.best = latency
            self._monitor.improve(latency, to_segments(walk.state))
        return cost

    def begin_with(self, schedule: Schedule) -> None:
        """Begin with a valid schedule, and less heat."""
        layer = self.walk.state.layer
        layer[:-1, MARK] = INSIDE
        for segment in schedule.segments:
            for cluster in segment.clusters:
                first = cluster.first_layer
                layer[first, MARK] = CLUSTER
                layer[first, SIZE] = cluster.chiplets
                wishes = [PARTITIONS.index(partition) for partition in cluster.partitions]
                layer[first : cluster.last_layer + 1, WISH] = wishes
            layer[segment.first_layer, MARK] = SEGMENT
        assess(self.walk)
        self._keep()
        self._heat *= REHEAT

    def _keep(self) -> tuple[int, int]:
        layer = self.walk.state.layer
        heads = np.flatnonzero(layer[:-1, MARK] == SEGMENT)
        cost = (int(layer[heads, EXCESS].sum()), int(layer[heads, LATENCY].sum()))
        if self._first is None or cost < self._first[0]:
            self._first = (cost, layer.copy())
        return cost

    def run(self, bound_ps: int) -> None:
        """Anneal from the best start until the budget is spent or the bound is met."""
        if self._first is None:
            return
        walk, monitor = self.walk, self._monitor
        (_, scale), layer = self._first
        walk.state.layer[:] = layer
        assess(walk)
        count = int((layer[:-1, MARK] == SEGMENT).sum()) if self._counted else 0
        self._report(count)
        begun = monitor.elapsed_s
        until = None if self._limit_s is None else max(begun, self._share[1] * self._limit_s)
        moves, known, current = 0, walk.memory.used[1], 0
        while not monitor.stopping and self.best > bound_ps:
            done = 0.0
            if self._moves is not None:
                done = moves / self._moves if self._moves > 0 else 1.0
            if until is not None:
                done = max(done, (monitor.elapsed_s - begun) / max(1e-9, until - begun))
            if done >= 1:
                break
            fall = done * self._rounds
            if int(fall) > current and self.best < LIMIT:
                current = int(fall)
                self._recall_best(count)
            hot, cold, cool = self._heat * REHEAT**current, COLD, 1.0
            temperature = scale * hot * (cold / hot) ** (fall - current)
            if self._moves is not None and until is None:
                cool = (cold / hot) ** (self._rounds / self._moves)
            chunk = CHUNK
            if self._moves is not None:
                chunk = max(1, min(CHUNK, self._moves // 64, self._moves - moves))
            moves += anneal(walk, chunk, temperature, cool)
            if walk.memory.used[1] != known:
                known = walk.memory.used[1]
                self._report(count)
            begin, end = self._share
            monitor.report("annealing", begin + (end - begin) * min(1.0, done))

    def _recall_best(self, count: int) -> None:
        """Go back to the best schedule that segments of the memory make up."""
        _, cuts = shortest_cut(self.walk.memory.latency, count, LIMIT)
        for low, high in zip(cuts, [*cuts[1:], self._layers], strict=True):
            recall(self.walk, low, high)

    def segments(self) -> list[tuple[int, Segment]]:
        """The best schedules of the layers up to each one, as segments with their latencies.

        Of all segments that were remembered, whatever their number is to be.
        """
        walk, latency = self.walk, self.walk.memory.latency
        found = []
        for low, high in sorted(best_ends(latency)):
            recall(walk, low, high)
            (segment,) = to_segments(walk.state, low, high)
            found.append((int(latency[low, high - 1]), segment))
        return found

    def _report(self, count: int) -> None:
        """Tell the monitor of the best schedule, if it is new."""
        latency, _ = shortest_cut(self.walk.memory.latency, count, LIMIT)
        if latency < self.best:
            self.best = int(latency)
            walk = self.walk
            copy_rows(walk.state, walk.spare, 0, self._layers)
            self._recall_best(count)
            self._monitor.improve(self.best, to_segments(walk.state))
            copy_rows(walk.spare, walk.state, 0, self._layers)


class AnnealSolver:
    """Simulated annealing of the whole schedule."""

    name: ClassVar[str] = "anneal"
    summary: ClassVar[str] = (
        "simulated annealing over segments, clusters, regions and partitions together"
    )
    exact: ClassVar[bool] = False
    constraints: ClassVar[frozenset[str]] = SHAPE | PLACES
    options: ClassVar[frozenset[str]] = frozenset({"seed", "iterations", "warm_start"})

    def run(
        self,
        instance: Instance,
        tables: LatencyTables,
        options: SolveOptions,
        monitor: Monitor,
    ) -> None:
        """Search; see `scope_opt.solving.solver.Solver`.

        Without a time limit the result depends only on instance, seed and iterations. With
        segments ``balanced`` the budget is shared by the balanced cuts of which quick schedules
        are best.
        """
        choice = chosen_cuts(instance, options.segments)
        bound_ps = latency_bound(tables)
        if bound_ps < LIMIT:
            monitor.raise_bound(bound_ps, "simple bound")
        kind = freedom(choice)
        annealing = Annealing(instance, tables, options, monitor, kind)
        if options.warm_start is not None:
            problem = other_segments(options.warm_start, choice)
            if choice == "balanced":
                problem = "segments 'balanced' takes no warm start; give the first layers"
            monitor.warm_start(not problem, problem)
            if not problem:
                annealing.begin_with(options.warm_start)
                annealing.run(bound_ps)
                return
        starts = self.start(annealing, tables, choice, monitor)
        if choice != "balanced":
            annealing.run(bound_ps)
            return
        best = starts[:BALANCED_CUTS]
        for part, cuts in enumerate(best):
            annealing = Annealing(instance, tables, options, monitor, kind, part, len(best))
            annealing.start(cuts)
            annealing.run(bound_ps)

    def start(
        self, annealing: Annealing, tables: LatencyTables, choice: SegmentChoice, monitor: Monitor
    ) -> list[tuple[int, ...]]:
        """Schedule cuts quickly; returns those that have schedules, the best one first."""
        starts = []
        for cuts in self._cuts(annealing.walk.rules, tables, choice):
            cost = annealing.start(cuts)
            if cost is not None:
                starts.append((cost, cuts))
            if monitor.stopping and starts:
                break
        return [cuts for _, cuts in sorted(starts)]

    def _cuts(
        self, rules: Rules, tables: LatencyTables, choice: SegmentChoice
    ) -> Iterator[tuple[int, ...]]:
        """First layers of segments to begin with, made one by one as balancing takes long."""
        layers, exactly = tables.layers, isinstance(choice, int)
        counts: Sequence[int] = range(1, layers + 1)
        if isinstance(choice, tuple):
            if not np.any(rules.border[list(choice)] == TOGETHER):
                yield choice
            return
        if isinstance(choice, int):
            counts = [choice]
        elif choice == "dp":
            counts = sorted({min(layers, int(1.25**power)) for power in range(40)})
        balanced: Iterator[tuple[int, ...]] = (
            cuts for count in counts for cuts in balanced_choices(tables, count)
        )
        if choice == "balanced":
            for cuts in balanced:
                if not np.any(rules.border[list(cuts)] == TOGETHER):
                    yield cuts
            return
        if isinstance(choice, int):
            even = tuple(layers * k // choice for k in range(choice))
            balanced = iter(list(balanced) or [even])
        known = set()
        for cuts in balanced:
            near = possible_cuts(rules, cuts, exactly)
            if near is not None and near not in known:
                known.add(near)
                yield near
