"""Independent oracle of the cost model: slow, plain, written from the problem statement alone.

It shares no code with the package it checks. Instances and schedules are the plain dicts of the
JSON formats scope-instance/1 and scope-schedule/1. The rules are those of docs/model.md, which
follows the Scope paper (arXiv 2602.14393); equation numbers are the paper's.

Physical quantities are exact fractions and each table entry is rounded up once, to picoseconds or
femtojoules. Only the two regressions (transfer times and hops between regions) are solved in
floating point.

This module prices transfers by region sizes (`nop.model` "regressed"), and holds all that does not
depend on places: rules, DRAM, activation memory, brute force. `oracle_placed` prices them where the
regions lie (`nop.model` "placed"). The functions at the end do the right one for every instance.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
from abc import ABC, abstractmethod
from collections import Counter
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Concatenate, NamedTuple, ParamSpec, TypeVar

import numpy as np
from scipy.optimize import nnls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Json = dict[str, Any]
Link = tuple[tuple[int, int], tuple[int, int]]
P = ParamSpec("P")
T = TypeVar("T")

ISP, WSP = "ISP", "WSP"
PARTITIONS = (ISP, WSP)
WAYS = ("read", "write")
GRID = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192)

#: Side constraints that need energies or bytes, which an instance with explicit tables lacks.
PHYSICAL_CONSTRAINTS = (
    "energy_budget_j",
    "latency_bound_s",
    "power_budget_w",
    "dram_bytes_per_beat",
)

#: Codes after which a schedule cannot be evaluated; with one of them no other rule is checked.
STRUCTURAL_CODES = frozenset(
    {"layer-coverage", "empty-cluster", "region-size", "region-total", "partition-count"}
)


def exact(number: float) -> Fraction:
    """Return the decimal number that was written in the JSON file, exactly."""
    return Fraction(str(number))


def up(value: Fraction) -> int:
    """Round an exact value up."""
    return math.ceil(value)


def up_fitted(value: Fraction) -> int:
    """Round a value up as ``ceil_int`` of the model does: 1e-12 of it are forgiven.

    A must where a coefficient is fitted in floating point, or where fractions with large
    denominators come closer to an integer than floating point can tell.
    """
    return math.ceil(value * (1 - Fraction(1, 10**12)))


def height_width(value: int | list[int]) -> tuple[int, int]:
    """Read a stride or a dilation: one number for both, or [height, width]."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def memoised(method: Callable[Concatenate[Any, P], T]) -> Callable[Concatenate[Any, P], T]:
    """Remember a method's results in the object itself."""
    name = "_memo_" + method.__name__

    def wrapper(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        memo: dict[Any, T] = self.__dict__.setdefault(name, {})
        key = (args, tuple(sorted(kwargs.items())))
        if key not in memo:
            memo[key] = method(self, *args, **kwargs)
        return memo[key]

    return wrapper


# --- The mesh ------------------------------------------------------------------------------------


def place(cols: int, s: int) -> tuple[int, int]:
    """Return (row, column) of snake position ``s``: even rows run right, odd rows run left."""
    row, step = divmod(s, cols)
    return (row, step) if row % 2 == 0 else (row, cols - 1 - step)


@functools.cache
def route(cols: int, source: int, target: int) -> tuple[Link, ...]:
    """Walk from one snake position to another."""
    return walk(place(cols, source), place(cols, target))


@functools.cache
def walk(source: tuple[int, int], target: tuple[int, int]) -> tuple[Link, ...]:
    """Walk from one chiplet to another: along the row first, then along the column."""
    row, col = source
    target_row, target_col = target
    links: list[Link] = []
    while col != target_col:
        step = 1 if target_col > col else -1
        links.append(((row, col), (row, col + step)))
        col += step
    while row != target_row:
        step = 1 if target_row > row else -1
        links.append(((row, col), (row + step, col)))
        row += step
    return tuple(links)


def pairs_within(s: int, r: int) -> list[tuple[int, int]]:
    """Every chiplet of the run to every other one of the run."""
    run = range(s, s + r)
    return [(i, j) for i in run for j in run if i != j]


def pairs_between(s: int, r: int, r_next: int) -> list[tuple[int, int]]:
    """Every chiplet of the run to every chiplet of the run after it."""
    return [(i, j) for i in range(s, s + r) for j in range(s + r, s + r + r_next)]


def busiest_link(cols: int, pairs: Iterable[tuple[int, int]]) -> int:
    """Count the pairs that share the most used directed link."""
    use = Counter(link for i, j in pairs for link in route(cols, i, j))
    return max(use.values(), default=0)


def mean_hops(cols: int, pairs: list[tuple[int, int]]) -> Fraction:
    """Mean number of links walked by the pairs."""
    return Fraction(sum(len(route(cols, i, j)) for i, j in pairs), len(pairs))


def mean(values: list[Fraction]) -> Fraction:
    """Arithmetic mean."""
    return sum(values, Fraction(0)) / len(values)


@functools.cache
def load_within(rows: int, cols: int, r: int) -> Fraction:
    """Mean of M(s, r) over all starts s that fit."""
    starts = range(rows * cols - r + 1)
    return mean([Fraction(busiest_link(cols, pairs_within(s, r))) for s in starts])


@functools.cache
def load_between(rows: int, cols: int, r: int, r_next: int) -> Fraction:
    """Mean of M(s, r, r') over all starts s that fit."""
    starts = range(rows * cols - r - r_next + 1)
    return mean([Fraction(busiest_link(cols, pairs_between(s, r, r_next))) for s in starts])


@functools.cache
def hops_within(rows: int, cols: int, r: int) -> Fraction:
    """Mean distance h(r) of two different chiplets of a run of r; 0 for one chiplet."""
    if r == 1:
        return Fraction(0)
    starts = range(rows * cols - r + 1)
    return mean([mean_hops(cols, pairs_within(s, r)) for s in starts])


@functools.cache
def hops_between(rows: int, cols: int, r: int, r_next: int) -> Fraction:
    """Mean distance between a run of r and the run of r' after it."""
    starts = range(rows * cols - r - r_next + 1)
    return mean([mean_hops(cols, pairs_between(s, r, r_next)) for s in starts])


class Fit(NamedTuple):
    """Coefficients of ``y(r, r') ~ a(r) + c(r')`` at the grid points in use."""

    grid: tuple[int, ...]
    a: tuple[Fraction, ...]
    c: tuple[Fraction, ...]


def separate(y: dict[tuple[int, int], Fraction]) -> Fit:
    """Fit ``a(r) + c(r')`` to ``y`` by non-negative least squares on relative errors.

    The free direction (a + t, c - t) is used to bring the two means as close as a, c >= 0 allows.
    """
    grid = sorted({r for r, _ in y})
    n = len(grid)
    matrix = np.zeros((len(y), 2 * n))
    for k, ((r, r_next), value) in enumerate(y.items()):
        matrix[k, grid.index(r)] = float(1 / value)
        matrix[k, n + grid.index(r_next)] = float(1 / value)
    solution = [float(x) for x in nnls(matrix, np.ones(len(y)))[0]]
    a, c = solution[:n], solution[n:]
    t = (sum(c) / n - sum(a) / n) / 2
    t = min(max(t, -min(a)), min(c))
    # Ten decimals, so that the last digits of the linear algebra do not matter.
    rounded_a = tuple(Fraction(str(round(x + t, 10))) for x in a)
    rounded_c = tuple(Fraction(str(round(x - t, 10))) for x in c)
    return Fit(tuple(grid), rounded_a, rounded_c)


def grid_pairs(chiplets: int) -> list[tuple[int, int]]:
    """All pairs of grid sizes that fit on the package together."""
    return [(r, q) for r in GRID for q in GRID if r + q <= chiplets]


@functools.cache
def load_fit(rows: int, cols: int) -> Fit:
    """Fit the mean busiest link per pair, M / (r r'): dimensionless, before eta and bandwidth."""
    pairs = grid_pairs(rows * cols)
    return separate({(r, q): load_between(rows, cols, r, q) / (r * q) for r, q in pairs})


@functools.cache
def hops_fit(rows: int, cols: int) -> Fit:
    """Fit the mean hops between neighbouring regions."""
    return separate({(r, q): hops_between(rows, cols, r, q) for r, q in grid_pairs(rows * cols)})


def interpolate(grid: tuple[int, ...], values: tuple[Fraction, ...], r: int) -> Fraction:
    """Linear between grid points, constant beyond the last."""
    if r >= grid[-1]:
        return values[-1]
    k = max(i for i, point in enumerate(grid) if point <= r)
    share = Fraction(r - grid[k], grid[k + 1] - grid[k])
    return values[k] + share * (values[k + 1] - values[k])


# --- Elementary times and energies ---------------------------------------------------------------


class Times(ABC):
    """Elementary times in ps of one instance; ``r`` is a region size, layers count from 0."""

    n_layers: int
    chiplets: int
    capacity: int
    weights: list[int]
    #: What crosses clusters besides the chain: its producer, and who reads it, ascending.
    tensors: list[tuple[int, tuple[int, ...]]]
    dram_latency_ps: int

    @abstractmethod
    def compute_ps(self, layer: int, partition: str, r: int) -> int:
        """Computation."""

    @abstractmethod
    def gather_ps(self, layer: int, r: int) -> int:
        """Gathering a WSP layer's kernel."""

    @abstractmethod
    def within_ps(self, layer: int, partition: str, following: str, r: int) -> int:
        """Case 1: the next layer is in the same cluster."""

    @abstractmethod
    def send_ps(self, layer: int, r: int) -> int:
        """Case 2: the next layer is in the next cluster, sender's part."""

    @abstractmethod
    def receive_ps(self, layer: int, following: str, r_next: int) -> int:
        """Case 2: the next layer is in the next cluster, receiver's part."""

    @abstractmethod
    def input_ps(self, layer: int) -> int:
        """Reading the layer's chain input (or the network's input) from DRAM."""

    @abstractmethod
    def output_ps(self, layer: int) -> int:
        """Writing the layer's chain output (or the network's output) to DRAM."""

    @abstractmethod
    def skip_send_ps(self, edge: int, r: int) -> int:
        """Skip edge to another cluster of the segment."""

    def skip_receive_ps(self, edge: int, r: int) -> int:
        """Skip edge into a cluster, consumer's part besides reading."""
        return 0

    @abstractmethod
    def skip_write_ps(self, edge: int) -> int:
        """Skip edge to another segment, producer's part."""

    @abstractmethod
    def skip_read_ps(self, edge: int) -> int:
        """Skip edge from another segment, consumer's part."""

    @abstractmethod
    def segment_dram_ps(self, first: int, last: int) -> int:
        """DRAM time of everything the segment reads and writes per sample."""

    @abstractmethod
    def load_ps(self, first: int, last: int) -> int:
        """Loading the segment's weights."""

    @abstractmethod
    def stream_fs_per_byte(self, r: int) -> int:
        """Fetching one byte of weights again at the region's share of the DRAM bandwidth."""

    def own_read_ps(self, layer: int) -> int:
        """What the layer reads from DRAM besides edges."""
        return 0

    def own_write_ps(self, layer: int) -> int:
        """What the layer writes to DRAM besides edges."""
        return 0


class TableTimes(Times):
    """Times that the instance lists itself."""

    def __init__(self, tables: Json) -> None:
        self.layers: list[Json] = tables["layers"]
        self.edges: list[Json] = tables.get("edges", [])
        self.tables = tables
        self.n_layers = len(self.layers)
        self.chiplets = tables["chiplets"]
        self.capacity = tables["weight_buffer_bytes"]
        self.weights = [layer["weight_bytes"] for layer in self.layers]
        self.tensors = [
            (edge["from"], tuple(edge["to"] if isinstance(edge["to"], list) else [edge["to"]]))
            for edge in self.edges
        ]
        self.dram_latency_ps = tables["dram_latency_ps"]

    def _entry(self, table: Any, r: int, *keys: str) -> int:
        """Entry of an optional table under the given keys; its first number is for r = 1."""
        for key in keys:
            if table is None:
                return 0
            table = table.get(key)
        return 0 if table is None else int(table[r - 1])

    def compute_ps(self, layer: int, partition: str, r: int) -> int:
        return int(self.layers[layer]["compute_ps"][partition][r - 1])

    def gather_ps(self, layer: int, r: int) -> int:
        return self._entry(self.layers[layer], r, "gather_ps")

    def within_ps(self, layer: int, partition: str, following: str, r: int) -> int:
        return self._entry(self.layers[layer], r, "within_ps", partition, following)

    def send_ps(self, layer: int, r: int) -> int:
        return self._entry(self.layers[layer], r, "send_ps")

    def receive_ps(self, layer: int, following: str, r_next: int) -> int:
        return self._entry(self.layers[layer], r_next, "receive_ps", following)

    def input_ps(self, layer: int) -> int:
        return int(self.layers[layer]["input_ps"])

    def output_ps(self, layer: int) -> int:
        return int(self.layers[layer]["output_ps"])

    def skip_send_ps(self, edge: int, r: int) -> int:
        return int(self.edges[edge]["send_ps"][r - 1])

    def skip_receive_ps(self, edge: int, r: int) -> int:
        return self._entry(self.edges[edge], r, "receive_ps")

    def skip_write_ps(self, edge: int) -> int:
        return int(self.edges[edge]["write_ps"])

    def skip_read_ps(self, edge: int) -> int:
        return int(self.edges[edge]["read_ps"])

    def segment_dram_ps(self, first: int, last: int) -> int:
        table = self.tables.get("segment_dram_ps")
        return 0 if table is None else int(table[first][last])

    def load_ps(self, first: int, last: int) -> int:
        table = self.tables.get("load_ps")
        return 0 if table is None else int(table[first][last])

    def stream_fs_per_byte(self, r: int) -> int:
        return int(self.tables["stream_fs_per_byte"][r - 1])


class Edge(NamedTuple):
    """What layer ``v`` reads of layer ``u``'s output, for its input or added to its output."""

    u: int
    v: int
    bytes: int
    feeds: str


class PhysicalTimes(Times):
    """Times and energies that follow from a network and a package."""

    def __init__(self, network: Json, package: Json) -> None:
        self.layers: list[Json] = network["layers"]
        self.package = package
        self.rows, self.cols = package["mesh_rows"], package["mesh_cols"]
        self.n_layers = len(self.layers)
        self.chiplets = self.rows * self.cols
        self.capacity = package["chiplet"]["weight_buffer_bytes"]
        self.weights = [layer["weight_bytes"] for layer in self.layers]
        self.edges: list[Edge] = []
        for e in network["edges"]:
            default = "input" if e["to"] == e["from"] + 1 else "sum"
            self.edges.append(Edge(e["from"], e["to"], e["bytes"], e.get("feeds", default)))
        edges = {(e.u, e.v): e.bytes for e in self.edges}
        self.chain = [edges.get((i, i + 1), 0) for i in range(self.n_layers)]
        self.skips = [(u, v) for u, v in edges if v != u + 1]
        self.skip_bytes = [edges[skip] for skip in self.skips]
        self.tensors = [(u, (v,)) for u, v in self.skips]
        #: Layers whose chain edge is added to the next layer's output.
        self.adds = {e.u for e in self.edges if e.v == e.u + 1 and e.feeds == "sum"}
        nop, dram = package["nop"], package["dram"]
        self.skip_both: bool = nop.get("skip", "sender") == "both"
        self.port: Fraction = exact(nop["bandwidth_bytes_per_s"]) / nop["ports"]
        self.eta_within = exact(nop["eta_within"])
        self.eta_between = exact(nop["eta_between"])
        self.streams: dict[str, Fraction] | None = None
        if dram.get("streams") is not None:
            self.streams = {key: exact(value) for key, value in dram["streams"].items()}
        self.dram_bandwidth = exact(dram["bandwidth_bytes_per_s"])
        single = self.streams or {
            "latency_s": exact(dram["latency_s"]),
            "read": exact(dram["efficiency"]),
        }
        self.dram_latency_s = single["latency_s"]
        #: Of a single read.
        self.dram_bytes_per_s = single["read"] * self.dram_bandwidth
        self.dram_latency_ps = up(self.dram_latency_s * 10**12)
        self.nop_fj_per_byte_hop = exact(nop["energy_pj_per_bit"]) * 8 * 1000
        self.dram_fj_per_byte = up(exact(dram["energy_pj_per_bit"]) * 8 * 1000)

    # Transfers, in seconds.

    def dram_s(self, reads: list[int], writes: list[int]) -> Fraction:
        """DRAM transfers at once, one number of bytes per tensor; nothing for nothing."""
        reads = [volume for volume in reads if volume > 0]
        writes = [volume for volume in writes if volume > 0]
        total = sum(reads) + sum(writes)
        if total == 0:
            return Fraction(0)
        if self.streams is None:
            return self.dram_latency_s + total / self.dram_bytes_per_s
        k = self.streams
        n = min(k["most"], Fraction(max(len(reads), len(writes))))
        w = Fraction(sum(writes), total)
        latency = k["latency_s"] + k["latency_per_stream_s"] * (n - 1)
        latency += k["latency_mixed_s"] * 4 * w * (1 - w)
        best = k["read"] + (k["write"] - k["read"]) * w
        slope = k["slope"] + (k["slope_write"] - k["slope"]) * w
        efficiency = best / (1 + slope * (n - 1))
        return latency + total / (efficiency * self.dram_bandwidth)

    def read_ps(self, volume: int) -> int:
        """Single read."""
        return up_fitted(self.dram_s([volume], []) * 10**12)

    def write_ps(self, volume: int) -> int:
        """Single write."""
        return up_fitted(self.dram_s([], [volume]) * 10**12)

    def gather_s_per_byte(self, r: int) -> Fraction:
        """g(r): all-gather time per byte of the gathered tensor."""
        return self.eta_within * load_within(self.rows, self.cols, r) / (r * self.port)

    def halo_s(self, volume: int, r: int) -> Fraction:
        """Exchange of the input overlap between neighbouring tiles."""
        return Fraction(0) if r == 1 else volume / (2 * r * self.port)

    def send_s_per_byte(self, r: int) -> Fraction:
        """a(r)."""
        if self.chiplets == 1:
            return Fraction(0)
        fit = load_fit(self.rows, self.cols)
        return interpolate(fit.grid, fit.a, r) * self.eta_between / self.port

    def receive_s_per_byte(self, r_next: int) -> Fraction:
        """c(r')."""
        if self.chiplets == 1:
            return Fraction(0)
        fit = load_fit(self.rows, self.cols)
        return interpolate(fit.grid, fit.c, r_next) * self.eta_between / self.port

    # Shapes.

    def tiling(self, layer: int, r: int) -> tuple[int, int]:
        """WSP's r1 x r2 = r tiles: fewest outputs per chiplet, then squarest, then smaller r1."""
        height, width = self.layers[layer]["output_height"], self.layers[layer]["output_width"]
        splits = [(r1, r // r1) for r1 in range(1, r + 1) if r % r1 == 0]
        return min(
            splits,
            key=lambda s: (
                math.ceil(Fraction(height, s[0])) * math.ceil(Fraction(width, s[1])),
                abs(s[0] - s[1]),
                s[0],
            ),
        )

    def reach(self, layer: int) -> tuple[int, int]:
        """Height and width of the input that one output depends on: the kernel, dilated."""
        d = self.layers[layer]
        down, across = height_width(d.get("dilation", 1))
        return down * (d["kernel_height"] - 1) + 1, across * (d["kernel_width"] - 1) + 1

    def seam_bytes(self, layer: int) -> tuple[int, int]:
        """Overlap of the input at one seam between rows of tiles, and at one between columns."""
        d = self.layers[layer]
        (height, width), (down, across) = self.reach(layer), height_width(d["stride"])
        between_rows = max(0, height - down) * d["input_width"]
        between_cols = max(0, width - across) * d["input_height"]
        return d["in_channels"] * between_rows, d["in_channels"] * between_cols

    def halo_bytes(self, layer: int, r: int) -> int:
        """Overlap of the layer's input tiles, in all."""
        d = self.layers[layer]
        r1, r2 = self.tiling(layer, r)
        row_seam, col_seam = self.seam_bytes(layer)
        seams_rows = min(r1, d["output_height"]) - 1
        seams_cols = min(r2, d["output_width"]) - 1
        return int(seams_rows * row_seam + seams_cols * col_seam)

    def cycles(self, layer: int, partition: str, r: int) -> int:
        """Cycles of the busiest chiplet (Eq. 5) under the best split of its PEs."""
        d, chip = self.layers[layer], self.package["chiplet"]
        n_groups = d["groups"]
        c_group = d["in_channels"] // n_groups
        k_group = d["out_channels"] // n_groups
        outputs = d["output_height"] * d["output_width"]
        if partition == WSP:
            r1, r2 = self.tiling(layer, r)
            outputs = -(-d["output_height"] // r1) * -(-d["output_width"] // r2)
        elif n_groups == 1:
            k_group = -(-k_group // r)
        elif r <= n_groups:
            n_groups = -(-n_groups // r)
        else:
            k_group = -(-k_group // (r // n_groups))
            n_groups = 1
        pes = chip["pes"]
        divisors = [k for k in range(1, pes + 1) if pes % k == 0]
        counts = []
        for a, b, c, d_ in itertools.product(divisors, repeat=4):
            if a * b * c * d_ != pes:
                continue
            if self.package.get("pe_split", "any") == "channels" and (c, d_) != (1, 1):
                continue
            counts.append(
                -(-n_groups // d_)
                * -(-c_group // (chip["macs_per_lane"] * a))
                * -(-k_group // (chip["lanes_per_pe"] * b))
                * -(-outputs // c)
            )
        return int(min(counts) * d["kernel_height"] * d["kernel_width"])

    def input_bytes(self, layer: int) -> int:
        """What the layer reads from DRAM when it opens a segment."""
        return int(self.layers[0]["input_bytes"]) if layer == 0 else int(self.chain[layer - 1])

    def output_bytes(self, layer: int) -> int:
        """What the layer writes to DRAM when it closes a segment."""
        last = layer == self.n_layers - 1
        return int(self.layers[layer]["output_bytes"]) if last else int(self.chain[layer])

    def tensors_read(self, first: int, last: int) -> list[int]:
        """Bytes of every transfer from DRAM per sample, repeated weight fetches aside."""
        skips = zip(self.skips, self.skip_bytes, strict=True)
        entering = [volume for (u, v), volume in skips if u < first <= v <= last]
        own = [self.own_bytes(layer, "read") for layer in range(first, last + 1)]
        return [self.input_bytes(first), *entering, *own]

    def tensors_written(self, first: int, last: int) -> list[int]:
        """Bytes of every transfer to DRAM per sample."""
        skips = zip(self.skips, self.skip_bytes, strict=True)
        leaving = [volume for (u, v), volume in skips if first <= u <= last < v]
        own = [self.own_bytes(layer, "write") for layer in range(first, last + 1)]
        return [self.output_bytes(last), *leaving, *own]

    def segment_bytes(self, first: int, last: int) -> int:
        """Bytes a segment reads and writes per sample, repeated weight fetches aside."""
        return sum(self.tensors_read(first, last)) + sum(self.tensors_written(first, last))

    def own_bytes(self, layer: int, way: str) -> int:
        """Bytes the layer reads or writes besides edges."""
        return int(self.layers[layer].get(f"dram_{way}_bytes", 0))

    # Edges inside a segment.

    def inputs_to_move(self, first: int, v: int, partition_before: str) -> list[int]:
        """Bytes of the input edges, chain aside, that must be moved before layer v runs.

        Nothing need be moved that the layer before v, as ISP, gathered on every chiplet for itself.
        """
        moved = []
        for edge in self.edges:
            if edge.v != v or edge.u == v - 1 or edge.feeds != "input":
                continue
            if edge.u < first or edge.bytes == 0:
                continue
            there = partition_before == ISP and any(
                e.u == edge.u and e.v == v - 1 and e.feeds == "input" and e.bytes >= edge.bytes
                for e in self.edges
            )
            if not there:
                moved.append(edge.bytes)
        return moved

    def read_later(self, u: int, after: int, last: int) -> int:
        """Bytes of layer u's output that layers after ``after`` up to ``last`` still read."""
        read = sum(e.bytes for e in self.edges if e.u == u and after < e.v <= last)
        return min(int(self.layers[u]["output_bytes"]), read)

    def crossing_bytes(self, first: int, layer: int, last: int) -> int:
        """X_l: what crosses a cluster boundary after the layer, each tensor once."""
        return sum(self.read_later(u, layer, last) for u in range(first, layer + 1))

    # Activation memory.

    @memoised
    def activation_bytes(self, first: int, last: int, cluster: Cluster) -> int:
        """Activations of a cluster of segment ``first..last`` on each of its chiplets, at most."""
        r, whole = cluster.chiplets, self.package.get("activation_policy", "stream") == "whole"
        needs = []
        for layer in range(cluster.first, cluster.last + 1):
            d = self.layers[layer]
            reach_height, reach_width = self.reach(layer)
            volume = Fraction(d["input_bytes"])
            if cluster.partitions[layer - cluster.first] == WSP:
                r1, r2 = self.tiling(layer, r)
                down, across = height_width(d["stride"])
                height = (-(-d["output_height"] // r1) - 1) * down + reach_height
                width = (-(-d["output_width"] // r2) - 1) * across + reach_width
                height, width = min(height, d["input_height"]), min(width, d["input_width"])
                inputs = Fraction(d["in_channels"] * height * width)
            elif whole:
                inputs = volume
            else:
                rows = d["in_channels"] * reach_height * d["input_width"]
                inputs = volume / r + min(volume, rows)
            kept = 0
            for u in range(first, layer):
                read = sum(
                    e.bytes
                    for e in self.edges
                    if e.u == u and e.v <= last
                    if e.v > layer or (e.v == layer and e.feeds == "sum")
                )
                kept += min(self.layers[u]["output_bytes"], read)
            needs.append(inputs + Fraction(d["output_bytes"], r) + Fraction(kept, r))
        if cluster.first > first:
            buffered = self.crossing_bytes(first, cluster.first - 1, last)
        elif first == 0:
            buffered = self.layers[0]["input_bytes"]
        else:
            buffered = sum(e.bytes for e in self.edges if e.v == first)
        return up(max(needs) + Fraction(buffered, r))

    # Times, each rounded up once.

    @memoised
    def compute_ps(self, layer: int, partition: str, r: int) -> int:
        frequency = exact(self.package["chiplet"]["frequency_hz"])
        return up(self.cycles(layer, partition, r) / frequency * 10**12)

    @memoised
    def gather_ps(self, layer: int, r: int) -> int:
        return up(self.weights[layer] * self.gather_s_per_byte(r) * 10**12)

    @memoised
    def within_ps(self, layer: int, partition: str, following: str, r: int) -> int:
        volume = self.chain[layer]
        gather = volume * self.gather_s_per_byte(r)
        halo = Fraction(0)
        if following == WSP and layer + 1 < self.n_layers:
            halo = self.halo_s(self.halo_bytes(layer + 1, r), r)
        if volume == 0:
            seconds = Fraction(0)
        elif layer in self.adds:
            seconds = Fraction(0) if partition == following else gather / r
        elif following == ISP:
            seconds = gather
        else:
            seconds = halo if partition == WSP else gather / r + halo
        # Further inputs of the next layer are part of the same entry, wherever they come from.
        further = self.inputs_to_move(0, layer + 1, partition)
        if further:
            share = 1 if following == ISP else r
            seconds += sum(further) * self.gather_s_per_byte(r) / share
            if volume == 0:
                seconds += halo
        return up_fitted(seconds * 10**12)

    @memoised
    def send_ps(self, layer: int, r: int) -> int:
        return up_fitted(self.chain[layer] * self.send_s_per_byte(r) * 10**12)

    @memoised
    def receive_ps(self, layer: int, following: str, r_next: int) -> int:
        seconds = self.chain[layer] * self.receive_s_per_byte(r_next)
        if following == ISP:
            wanted = sum(self.inputs_to_move(0, layer + 1, WSP))
            if layer not in self.adds:
                wanted += self.chain[layer]
            seconds += wanted * self.gather_s_per_byte(r_next)
        return up_fitted(seconds * 10**12)

    def input_ps(self, layer: int) -> int:
        return self.read_ps(self.input_bytes(layer))

    def output_ps(self, layer: int) -> int:
        return self.write_ps(self.output_bytes(layer))

    def own_read_ps(self, layer: int) -> int:
        return self.read_ps(self.own_bytes(layer, "read"))

    def own_write_ps(self, layer: int) -> int:
        return self.write_ps(self.own_bytes(layer, "write"))

    @memoised
    def skip_send_ps(self, edge: int, r: int) -> int:
        per_byte = self.send_s_per_byte(r)
        if self.skip_both:
            per_byte += self.receive_s_per_byte(r)
        return up_fitted(self.skip_bytes[edge] * per_byte * 10**12)

    def skip_write_ps(self, edge: int) -> int:
        return self.write_ps(self.skip_bytes[edge])

    def skip_read_ps(self, edge: int) -> int:
        return self.read_ps(self.skip_bytes[edge])

    @memoised
    def segment_dram_ps(self, first: int, last: int) -> int:
        reads, writes = self.tensors_read(first, last), self.tensors_written(first, last)
        return up_fitted(self.dram_s(reads, writes) * 10**12)

    @memoised
    def load_ps(self, first: int, last: int) -> int:
        return self.read_ps(sum(self.weights[first : last + 1]))

    @memoised
    def stream_fs_per_byte(self, r: int) -> int:
        return up(Fraction(10**15 * self.chiplets) / (self.dram_bytes_per_s * r))

    # Energies in fJ per sample, each rounded up once.

    @memoised
    def mac_fj(self, layer: int) -> int:
        """Multiplications of the layer."""
        d = self.layers[layer]
        macs = d["out_channels"] * (d["in_channels"] // d["groups"])
        macs *= d["kernel_height"] * d["kernel_width"] * d["output_height"] * d["output_width"]
        return up(macs * exact(self.package["mac_energy_pj"]) * 1000)

    @memoised
    def sram_fj(self, layer: int, partition: str, r: int) -> int:
        """Buffer accesses of the layer: weights, inputs, outputs before pooling."""
        d = self.layers[layer]
        accesses = d["out_channels"] * d["output_height"] * d["output_width"]
        if partition == ISP:
            accesses += d["weight_bytes"] + r * d["input_bytes"]
        else:
            accesses += r * d["weight_bytes"] + d["input_bytes"] + self.halo_bytes(layer, r)
        return up(accesses * exact(self.package["sram_energy_pj_per_byte"]) * 1000)

    @memoised
    def gather_fj(self, layer: int, r: int) -> int:
        """Gathering a WSP layer's kernel: each other chiplet receives it."""
        hops = hops_within(self.rows, self.cols, r)
        return up((r - 1) * self.weights[layer] * hops * self.nop_fj_per_byte_hop)

    @memoised
    def within_fj(self, layer: int, partition: str, following: str, r: int) -> int:
        """Case 1: volumes of Table II times hops; the halo goes one hop."""
        volume = self.chain[layer]
        hops = (r - 1) * hops_within(self.rows, self.cols, r)
        halo = 0
        if following == WSP and layer + 1 < self.n_layers:
            halo = self.halo_bytes(layer + 1, r)
        if volume == 0:
            byte_hops = Fraction(0)
        elif layer in self.adds:
            byte_hops = Fraction(0) if partition == following else volume * hops / r
        elif following == ISP:
            byte_hops = volume * hops
        else:
            byte_hops = halo + (Fraction(0) if partition == WSP else volume * hops / r)
        further = self.inputs_to_move(0, layer + 1, partition)
        if further:
            byte_hops += sum(further) * hops / (1 if following == ISP else r)
            byte_hops += halo if volume == 0 else 0
        return up_fitted(byte_hops * self.nop_fj_per_byte_hop)

    @memoised
    def send_fj(self, layer: int, r: int) -> int:
        """Case 2, sender's share of the hops."""
        if self.chiplets == 1:
            return 0
        fit = hops_fit(self.rows, self.cols)
        byte_hops = self.chain[layer] * interpolate(fit.grid, fit.a, r)
        return up_fitted(byte_hops * self.nop_fj_per_byte_hop)

    @memoised
    def receive_fj(self, layer: int, following: str, r_next: int) -> int:
        """Case 2, receiver's share of the hops, and the all-gather into ISP."""
        if self.chiplets == 1:
            return 0
        fit = hops_fit(self.rows, self.cols)
        byte_hops = self.chain[layer] * interpolate(fit.grid, fit.c, r_next)
        if following == ISP:
            wanted = sum(self.inputs_to_move(0, layer + 1, WSP))
            if layer not in self.adds:
                wanted += self.chain[layer]
            byte_hops += (r_next - 1) * wanted * hops_within(self.rows, self.cols, r_next)
        return up_fitted(byte_hops * self.nop_fj_per_byte_hop)

    @memoised
    def skip_fj(self, edge: int) -> int:
        """Skip edge to another cluster of the segment: mean distance on the whole mesh."""
        hops = hops_within(self.rows, self.cols, self.chiplets)
        return up(self.skip_bytes[edge] * hops * self.nop_fj_per_byte_hop)


# --- Schedules -----------------------------------------------------------------------------------


class Cluster(NamedTuple):
    """Layers ``first..last`` on ``chiplets`` chiplets."""

    first: int
    last: int
    chiplets: int
    partitions: tuple[str, ...]


Segment = tuple[Cluster, ...]


class LayerTime(NamedTuple):
    """Times of one layer in a schedule (Eq. 7)."""

    segment: int
    cluster: int
    layer: int
    partition: str
    chiplets: int
    pre_ps: int
    compute_ps: int
    comm_ps: int

    @property
    def time_ps(self) -> int:
        """Preparation, then computation overlapped with communication."""
        return self.pre_ps + max(self.compute_ps, self.comm_ps)


class ClusterTime(NamedTuple):
    """Layers of a cluster as (pre, compute, comm), and the weights fetched for every sample."""

    layers: tuple[tuple[int, int, int], ...]
    stream_ps: int

    @property
    def time_ps(self) -> int:
        """Time of one sample in the cluster (Eq. 3)."""
        return sum(pre + max(compute, comm) for pre, compute, comm in self.layers) + self.stream_ps


def parse(schedule: Json) -> list[Segment]:
    """Read a scope-schedule/1 dict."""
    return [
        tuple(
            Cluster(c["first_layer"], c["last_layer"], c["chiplets"], tuple(c["partitions"]))
            for c in segment["clusters"]
        )
        for segment in schedule["segments"]
    ]


def to_json(segments: Iterable[Segment]) -> Json:
    """Write a scope-schedule/1 dict (without the reference to an instance)."""
    return {
        "format": "scope-schedule/1",
        "segments": [
            {
                "clusters": [
                    {
                        "first_layer": c.first,
                        "last_layer": c.last,
                        "chiplets": c.chiplets,
                        "partitions": list(c.partitions),
                    }
                    for c in segment
                ]
            }
            for segment in segments
        ],
    }


class Oracle:
    """Evaluates schedules of one instance."""

    def __init__(self, instance: Json) -> None:
        self.times: Times
        self.physical: PhysicalTimes | None = None
        if "tables" in instance:
            self.times = TableTimes(instance["tables"])
        else:
            self.physical = PhysicalTimes(instance["network"], instance["package"])
            self.times = self.physical
        self.samples = int(instance.get("samples", 64))
        self.overflow = str(instance.get("overflow", "forbid"))
        self.constraints: Json = instance.get("constraints", {})
        self.n_layers = self.times.n_layers
        self.chiplets = self.times.chiplets
        self.minimizes_energy = self.constraints.get("latency_bound_s") is not None
        refused = [key for key in PHYSICAL_CONSTRAINTS if self.constraints.get(key) is not None]
        if self.physical is None and refused:
            raise ValueError(f"explicit tables have no energy and no bytes for {refused}")

    # Rules.

    def structural_codes(self, segments: list[Segment]) -> set[str]:
        """Rules without which nothing else can be computed."""
        codes = set()
        covered = [i for seg in segments for c in seg for i in range(c.first, c.last + 1)]
        if covered != list(range(self.n_layers)):
            codes.add("layer-coverage")
        for segment in segments:
            if not segment or any(c.last < c.first for c in segment):
                codes.add("empty-cluster")
            if any(c.chiplets < 1 for c in segment):
                codes.add("region-size")
            if sum(c.chiplets for c in segment) > self.chiplets:
                codes.add("region-total")
            if any(len(c.partitions) != max(0, c.last - c.first + 1) for c in segment):
                codes.add("partition-count")
        return codes

    def exempt(self, segment: Segment) -> bool:
        """One layer on the whole package: its weights pass through in tiles."""
        only = segment[0]
        return len(segment) == 1 and only.first == only.last and only.chiplets == self.chiplets

    @memoised
    def segment_codes(self, segment: Segment) -> frozenset[str]:
        """Rules that look at one segment of a structurally sound schedule."""
        codes = set()
        wanted = self.constraints
        exempt = self.exempt(segment)
        for cluster in segment:
            r = cluster.chiplets
            total = sum(self.times.weights[cluster.first : cluster.last + 1])
            room = self.times.capacity * r - total
            if self.overflow == "forbid" and not exempt and room < 0:
                codes.add("capacity")
            for layer, partition in zip(
                range(cluster.first, cluster.last + 1), cluster.partitions, strict=True
            ):
                copy = self.times.weights[layer] * (r - 1)
                soft = self.overflow == "stream" or exempt
                if partition == WSP and copy > (max(0, room) if soft else room):
                    codes.add("wsp-copy")
                for fixed in wanted.get("fixed_partitions") or []:
                    if fixed["layer"] == layer and fixed["partition"] != partition:
                        codes.add("fixed-partition")
            inner = range(cluster.first, cluster.last)
            if any(i in inner for i in wanted.get("forbidden_merges") or []):
                codes.add("forbidden-merge")
            if r % (wanted.get("region_multiple") or 1) != 0:
                codes.add("region-multiple")
            if wanted.get("max_region") is not None and r > wanted["max_region"]:
                codes.add("max-region")
        for i in wanted.get("required_merges") or []:
            # A pair may be torn by a cluster border, or by the end of the segment.
            touched = segment[0].first <= i <= segment[-1].last
            if touched and not any(c.first <= i < c.last for c in segment):
                codes.add("required-merge")
        if wanted.get("min_clusters") is not None and len(segment) < wanted["min_clusters"]:
            codes.add("min-clusters")
        if wanted.get("max_clusters") is not None and len(segment) > wanted["max_clusters"]:
            codes.add("max-clusters")
        if self.physical is not None:
            buffer = self.physical.package.get("activation_buffer_bytes")
            if buffer is not None and max(self.activation_bytes(segment)) > buffer:
                codes.add("activation-memory")
        per_beat = wanted.get("dram_bytes_per_beat")
        if per_beat is not None and self.dram_bytes(segment) > per_beat:
            codes.add("dram-per-beat")
        return frozenset(codes)

    def allows_starts(self, starts: list[int]) -> bool:
        """Whether the segments may start at these layers."""
        fixed = self.constraints.get("fixed_segments")
        return fixed is None or starts == fixed

    def within_budget(self, energy_fj: int) -> bool:
        """Whether the batch's energy respects the bound."""
        budget = self.constraints.get("energy_budget_j")
        return budget is None or Fraction(energy_fj, 10**15) <= exact(budget)

    def within_latency(self, latency_ps: int) -> bool:
        """Whether the batch's latency respects the bound."""
        bound = self.constraints.get("latency_bound_s")
        return bound is None or Fraction(latency_ps, 10**12) <= exact(bound)

    def violations(self, schedule: Json) -> list[str]:
        """Return the codes of all rules the schedule breaks, sorted.

        A schedule with a structural fault (``STRUCTURAL_CODES``) is checked no further.
        """
        segments = parse(schedule)
        codes = self.structural_codes(segments)
        if codes:
            return sorted(codes)
        for segment in segments:
            codes |= self.segment_codes(segment)
        if not self.allows_starts([segment[0].first for segment in segments]):
            codes.add("fixed-segments")
        if self.physical is not None and not self.within_budget(
            sum(self.energy_parts_fj(segments).values())
        ):
            codes.add("energy-budget")
        if not self.within_latency(sum(self.segment_ps(segment) for segment in segments)):
            codes.add("latency-bound")
        return sorted(codes)

    # Latency.

    def excess_bytes(self, cluster: Cluster) -> int:
        """Weights that do not fit into the cluster's region."""
        total = sum(self.times.weights[cluster.first : cluster.last + 1])
        return max(0, total - self.times.capacity * cluster.chiplets)

    @memoised
    def cluster_time(
        self, first: int, last: int, cluster: Cluster, following: tuple[int, str] | None
    ) -> ClusterTime:
        """Times of a cluster in segment ``first..last`` (Eq. 3, 4, 6, 7).

        ``following`` is the next cluster's region size and first partition.
        """
        times, r = self.times, cluster.chiplets
        layers = []
        for layer in range(cluster.first, cluster.last + 1):
            partition = cluster.partitions[layer - cluster.first]

            pre = 0
            if partition == WSP and cluster.first < cluster.last:
                pre += times.gather_ps(layer, r)
            if layer == first:
                pre += times.input_ps(layer)
            pre += times.own_read_ps(layer)
            for edge, (u, readers) in enumerate(times.tensors):
                if u < first and layer == min((v for v in readers if v >= first), default=None):
                    pre += times.skip_read_ps(edge)
                here = [v for v in readers if cluster.first <= v <= cluster.last]
                if u < cluster.first and here and here[0] == layer:
                    pre += times.skip_receive_ps(edge, r)

            if layer == last:
                comm = times.output_ps(layer)
            elif layer == cluster.last:
                assert following is not None
                r_next, partition_next = following
                comm = times.send_ps(layer, r) + times.receive_ps(layer, partition_next, r_next)
            else:
                partition_next = cluster.partitions[layer + 1 - cluster.first]
                comm = times.within_ps(layer, partition, partition_next, r)
            comm += times.own_write_ps(layer)
            for edge, (u, readers) in enumerate(times.tensors):
                if u != layer:
                    continue
                if any(cluster.last < v <= last for v in readers):
                    comm += times.skip_send_ps(edge, r)
                if any(v > last for v in readers):
                    comm += times.skip_write_ps(edge)

            layers.append((pre, times.compute_ps(layer, partition, r), comm))
        return ClusterTime(tuple(layers), self.stream_ps(first, last, cluster))

    def stream_ps(self, first: int, last: int, cluster: Cluster) -> int:
        """Fetching the weights again that do not fit, for every sample."""
        excess = self.excess_bytes(cluster)
        exempt = first == last and cluster.chiplets == self.chiplets
        if self.overflow == "forbid" or excess == 0 or exempt:
            return 0
        fetched = [w for w in self.times.weights[cluster.first : cluster.last + 1] if w > 0]
        bytes_ps = Fraction(excess * self.times.stream_fs_per_byte(cluster.chiplets), 1000)
        return len(fetched) * self.times.dram_latency_ps + math.ceil(bytes_ps)

    def cluster_times(self, segment: Segment) -> list[ClusterTime]:
        """Times of the clusters of a segment."""
        heads = [(c.chiplets, c.partitions[0]) for c in segment]
        first, last = segment[0].first, segment[-1].last
        return [
            self.cluster_time(first, last, cluster, following)
            for cluster, following in zip(segment, [*heads[1:], None], strict=True)
        ]

    def power_ps(self, segment: Segment) -> int:
        """Shortest beat at which one sample's energy per beat stays within the power budget.

        Weight loading is not part of the steady state. 0 without a budget.
        """
        budget = self.constraints.get("power_budget_w")
        if budget is None:
            return 0
        joules = Fraction(sum(self.segment_energy_fj(segment)), 10**15)
        return up(joules / exact(budget) * 10**12)

    def link_beat_ps(self, segment: Segment) -> int:
        """Shortest beat the busiest link allows; 0 where links are not modelled as shared."""
        return 0

    def beat_ps(self, segment: Segment) -> int:
        """Time between two samples: slowest cluster, DRAM, power budget, or busiest link."""
        slowest = max(cluster.time_ps for cluster in self.cluster_times(segment))
        dram = self.times.segment_dram_ps(segment[0].first, segment[-1].last)
        return max(slowest, dram, self.power_ps(segment), self.link_beat_ps(segment))

    def activation_bytes(self, segment: Segment) -> list[int]:
        """Largest need of activation memory per chiplet, for every cluster."""
        assert self.physical is not None
        first, last = segment[0].first, segment[-1].last
        return [self.physical.activation_bytes(first, last, cluster) for cluster in segment]

    def segment_ps(self, segment: Segment) -> int:
        """Latency of one segment: weights, then samples and pipeline fill (Eq. 2)."""
        load = self.times.load_ps(segment[0].first, segment[-1].last)
        return load + (self.samples + len(segment) - 1) * self.beat_ps(segment)

    def _sound(self, schedule: Json) -> list[Segment]:
        segments = parse(schedule)
        codes = self.structural_codes(segments)
        if codes:
            raise ValueError(f"not a schedule of this instance: {sorted(codes)}")
        return segments

    def objective_ps(self, schedule: Json) -> int:
        """Latency of the schedule (Eq. 1), whether or not it respects capacity and constraints."""
        return sum(self.segment_ps(segment) for segment in self._sound(schedule))

    def layer_times(self, schedule: Json) -> list[LayerTime]:
        """Preparation, computation and communication of every layer."""
        rows = []
        for s, segment in enumerate(self._sound(schedule)):
            for c, (cluster, times) in enumerate(
                zip(segment, self.cluster_times(segment), strict=True)
            ):
                for k, layer in enumerate(times.layers):
                    head = (s, c, cluster.first + k, cluster.partitions[k], cluster.chiplets)
                    rows.append(LayerTime(*head, *layer))
        return rows

    def explain(self, schedule: Json) -> str:
        """Tell how the objective comes about, for the message of a failing test."""
        lines = []
        for s, segment in enumerate(self._sound(schedule)):
            first, last = segment[0].first, segment[-1].last
            lines.append(
                f"segment {s}: layers {first}..{last}, {self.segment_ps(segment)} ps"
                f" = load {self.times.load_ps(first, last)}"
                f" + ({self.samples}+{len(segment)}-1) * {self.beat_ps(segment)},"
                f" segment DRAM {self.times.segment_dram_ps(first, last)},"
                f" power {self.power_ps(segment)}, links {self.link_beat_ps(segment)}"
            )
            if self.physical is not None:
                needs = self.activation_bytes(segment)
                lines.append(f"  activations per chiplet: {needs} bytes")
            for cluster, times in zip(segment, self.cluster_times(segment), strict=True):
                lines.append(
                    f"  layers {cluster.first}..{cluster.last} on {cluster.chiplets} chiplets:"
                    f" {times.time_ps} ps, of which stream {times.stream_ps}"
                )
                lines.extend(
                    f"    layer {cluster.first + k} {cluster.partitions[k]}:"
                    f" pre {pre}, compute {compute}, comm {comm}"
                    for k, (pre, compute, comm) in enumerate(times.layers)
                )
        lines.append(f"violations: {', '.join(self.violations(schedule)) or 'none'}")
        return "\n".join(lines)

    # DRAM traffic and energy.

    def refetched_bytes(self, segment: Segment) -> int:
        """Weights that the segment reads from DRAM again for every sample."""
        if self.overflow == "forbid" or self.exempt(segment):
            return 0
        return sum(self.excess_bytes(cluster) for cluster in segment)

    def dram_bytes(self, segment: Segment) -> int:
        """Bytes that the segment reads and writes for one sample."""
        assert self.physical is not None
        crossing = self.physical.segment_bytes(segment[0].first, segment[-1].last)
        return crossing + self.refetched_bytes(segment)

    @memoised
    def segment_energy_fj(self, segment: Segment) -> tuple[int, int, int, int]:
        """Energy of a segment per sample: MAC, SRAM, NoP, DRAM."""
        model = self.physical
        assert model is not None
        mac = sram = 0
        for cluster in segment:
            for k, partition in enumerate(cluster.partitions):
                mac += model.mac_fj(cluster.first + k)
                sram += model.sram_fj(cluster.first + k, partition, cluster.chiplets)
        dram = self.dram_bytes(segment) * model.dram_fj_per_byte
        return mac, sram, self.nop_fj(segment), dram

    def nop_fj(self, segment: Segment) -> int:
        """Energy of all transfers between chiplets for one sample."""
        model = self.physical
        assert model is not None
        last = segment[-1].last
        nop = 0
        heads = [(c.chiplets, c.partitions[0]) for c in segment]
        for cluster, following in zip(segment, [*heads[1:], None], strict=True):
            r = cluster.chiplets
            for layer in range(cluster.first, cluster.last + 1):
                partition = cluster.partitions[layer - cluster.first]
                if partition == WSP and cluster.first < cluster.last:
                    nop += model.gather_fj(layer, r)
                if layer < cluster.last:
                    partition_next = cluster.partitions[layer + 1 - cluster.first]
                    nop += model.within_fj(layer, partition, partition_next, r)
                elif following is not None:
                    r_next, partition_next = following
                    nop += model.send_fj(layer, r) + model.receive_fj(layer, partition_next, r_next)
                for edge, (u, v) in enumerate(model.skips):
                    if u == layer and cluster.last < v <= last:
                        nop += model.skip_fj(edge)
        return nop

    def weights_fj(self) -> int:
        """Loading every layer's weights once per batch."""
        assert self.physical is not None
        return sum(self.times.weights) * self.physical.dram_fj_per_byte

    def energy_parts_fj(self, segments: list[Segment]) -> dict[str, int]:
        """Energy of the batch by part; weight loading counts as DRAM."""
        parts = [self.segment_energy_fj(segment) for segment in segments]
        mac, sram, nop, dram = (self.samples * sum(column) for column in zip(*parts, strict=True))
        return {"mac": mac, "sram": sram, "nop": nop, "dram": dram + self.weights_fj()}

    def energy_fj(self, schedule: Json) -> dict[str, int] | None:
        """Energy of the batch by part in femtojoules; None for explicit tables."""
        if self.physical is None:
            return None
        parts = self.energy_parts_fj(self._sound(schedule))
        return {**parts, "total": sum(parts.values())}

    def energy_j(self, schedule: Json) -> dict[str, float] | None:
        """Energy of the batch by part in joules; None for explicit tables."""
        parts = self.energy_fj(schedule)
        return None if parts is None else {key: fj / 10**15 for key, fj in parts.items()}


# --- The same as functions of an instance --------------------------------------------------------


@functools.lru_cache(maxsize=32)
def _oracle_of(text: str) -> Oracle:
    instance = json.loads(text)
    if is_placed(instance):
        # Imported here because it builds on this module.
        from oracle_placed import PlacedOracle

        return PlacedOracle(instance)
    return Oracle(instance)


def oracle(instance: Json) -> Oracle:
    """Return the oracle of an instance; equal instances share one."""
    return _oracle_of(json.dumps(instance, sort_keys=True))


def is_placed(instance: Json) -> bool:
    """Whether transfers are priced where the regions lie."""
    return "package" in instance and instance["package"]["nop"].get("model") == "placed"


def as_placed(instance: Json) -> Json:
    """Return a physical instance with its transfers priced where the regions lie."""
    package = instance["package"]
    return {**instance, "package": {**package, "nop": {**package["nop"], "model": "placed"}}}


def violations(instance: Json, schedule: Json) -> list[str]:
    """Return the codes of all rules the schedule breaks, sorted."""
    return oracle(instance).violations(schedule)


def objective_ps(instance: Json, schedule: Json) -> int:
    """Return the latency of a structurally sound schedule."""
    return oracle(instance).objective_ps(schedule)


def placed_latency_ps(instance: Json, schedule: Json) -> int:
    """Return the latency of a schedule of a physical instance by the placed model's rules."""
    return objective_ps(as_placed(instance), schedule)


def activation_bytes(instance: Json, schedule: Json) -> list[list[int]]:
    """Return the activation memory per chiplet that every cluster of every segment needs."""
    return [oracle(instance).activation_bytes(segment) for segment in parse(schedule)]


def energy_j(instance: Json, schedule: Json) -> dict[str, float] | None:
    """Return the energy under mac, sram, nop, dram and total; None for explicit tables."""
    return oracle(instance).energy_j(schedule)


def energy_fj_total(instance: Json, schedule: Json) -> int | None:
    """Return the exact energy of all samples, loads included; None for explicit tables."""
    parts = oracle(instance).energy_fj(schedule)
    return None if parts is None else parts["total"]


def layer_times(instance: Json, schedule: Json) -> list[LayerTime]:
    """Return pre, compute and comm of every layer."""
    return oracle(instance).layer_times(schedule)


def explain(instance: Json, schedule: Json) -> str:
    """Return a text that tells how the objective comes about."""
    return oracle(instance).explain(schedule)


def to_tables(instance: Json) -> Json:
    """Write a physical instance's times as an instance with explicit tables.

    These have no places, no entries that depend on more than one edge, no transfers of a layer's
    own, and no activations.
    """
    physical, model = oracle(instance).physical, oracle(instance).times
    if (
        is_placed(instance)
        or physical is None
        or any(e.feeds == "input" and e.v > e.u + 1 for e in physical.edges)
        or any(physical.own_bytes(i, way) for i in range(model.n_layers) for way in WAYS)
        or "activation_buffer_bytes" in instance["package"]
    ):
        raise ValueError("explicit tables cannot say this")
    sizes = range(1, model.chiplets + 1)
    span = range(model.n_layers)
    layers = [
        {
            "name": f"l{i}",
            "weight_bytes": model.weights[i],
            "compute_ps": {p: [model.compute_ps(i, p, r) for r in sizes] for p in PARTITIONS},
            "gather_ps": [model.gather_ps(i, r) for r in sizes],
            "within_ps": {
                p: {q: [model.within_ps(i, p, q, r) for r in sizes] for q in PARTITIONS}
                for p in PARTITIONS
            },
            "send_ps": [model.send_ps(i, r) for r in sizes],
            "receive_ps": {q: [model.receive_ps(i, q, r) for r in sizes] for q in PARTITIONS},
            "input_ps": model.input_ps(i),
            "output_ps": model.output_ps(i),
        }
        for i in span
    ]
    edges = [
        {
            "from": u,
            "to": v,
            "send_ps": [model.skip_send_ps(e, r) for r in sizes],
            "write_ps": model.skip_write_ps(e),
            "read_ps": model.skip_read_ps(e),
        }
        for e, (u, v) in enumerate(physical.skips)
    ]
    tables = {
        "chiplets": model.chiplets,
        "weight_buffer_bytes": model.capacity,
        "layers": layers,
        "edges": edges,
        "segment_dram_ps": [
            [model.segment_dram_ps(i, j) if i <= j else 0 for j in span] for i in span
        ],
        "load_ps": [[model.load_ps(i, j) if i <= j else 0 for j in span] for i in span],
        "dram_latency_ps": model.dram_latency_ps,
        "stream_fs_per_byte": [model.stream_fs_per_byte(r) for r in sizes],
    }
    kept = ("format", "name", "description", "samples", "overflow", "constraints")
    return {**{key: instance[key] for key in kept if key in instance}, "tables": tables}


# --- Brute force ---------------------------------------------------------------------------------


def _cuttings(first: int, last: int) -> Iterator[list[tuple[int, int]]]:
    """All ways to cut ``first..last`` into consecutive runs."""
    inner = range(first + 1, last + 1)
    for n in range(len(inner) + 1):
        for starts in itertools.combinations(inner, n):
            heads = [first, *starts]
            yield list(zip(heads, [s - 1 for s in starts] + [last], strict=True))


def _regions(n: int, chiplets: int) -> Iterator[tuple[int, ...]]:
    """All n-tuples of positive sizes with a sum of at most ``chiplets``."""
    if n == 0:
        yield ()
        return
    for r in range(1, chiplets - n + 2):
        for rest in _regions(n - 1, chiplets - r):
            yield (r, *rest)


def enumerate_segments(
    first: int, last: int, chiplets: int, idle: bool = True
) -> Iterator[Segment]:
    """All segments of layers ``first..last``; with ``idle`` chiplets may be left over."""
    for runs in _cuttings(first, last):
        for sizes in _regions(len(runs), chiplets):
            if not idle and sum(sizes) != chiplets:
                continue
            for partitions in itertools.product(PARTITIONS, repeat=last - first + 1):
                yield tuple(
                    Cluster(i, j, r, partitions[i - first : j - first + 1])
                    for (i, j), r in zip(runs, sizes, strict=True)
                )


def enumerate_schedules(layers: int, chiplets: int, idle: bool = True) -> Iterator[Json]:
    """All schedules of one segment; without ``idle`` only those that use every chiplet."""
    for segment in enumerate_segments(0, layers - 1, chiplets, idle):
        yield to_json([segment])


def enumerate_all(layers: int, chiplets: int, idle: bool = True) -> Iterator[Json]:
    """All schedules with any number of segments."""
    for runs in _cuttings(0, layers - 1):
        choices = [list(enumerate_segments(i, j, chiplets, idle)) for i, j in runs]
        for segments in itertools.product(*choices):
            yield to_json(segments)


class Cost(NamedTuple):
    """Latency and energy per sample of consecutive segments."""

    ps: int
    fj: int
    segments: tuple[Segment, ...]

    def plus(self, other: Cost) -> Cost:
        """Both runs, one after the other."""
        return Cost(self.ps + other.ps, self.fj + other.fj, self.segments + other.segments)


def _undominated(costs: Iterable[Cost]) -> list[Cost]:
    """Those that no other one matches or beats in both latency and energy."""
    kept: list[Cost] = []
    for cost in sorted(costs, key=lambda cost: (cost.ps, cost.fj)):
        if not kept or cost.fj < kept[-1].fj:
            kept.append(cost)
    return kept


def best(instance: Json, segments: str = "free") -> tuple[Json, int] | None:
    """Return an optimal valid schedule and its objective, None if no schedule is valid.

    The objective is the latency in ps. With ``latency_bound_s`` it is the energy in fJ of all
    samples, weight loading included, of the schedules that respect the bound. ``segments`` is
    "free" (any number) or "single".

    Every segment of every pair of ends is enumerated. Rules aside that look at one segment or at
    the ends only, segments influence each other through two sums, latency and energy, of which
    each is bounded or minimized. So for every way to cut the layers it is enough to keep, run by
    run, the (latency, energy) pairs of which none is as good as another in both. Where energy
    neither is bounded nor counts it is taken as 0, which leaves the fastest.
    """
    judge = oracle(instance)
    by_energy = judge.minimizes_energy
    energy_matters = by_energy or judge.constraints.get("energy_budget_j") is not None

    @functools.cache
    def candidates(first: int, last: int) -> list[Cost]:
        return _undominated(
            Cost(
                judge.segment_ps(segment),
                sum(judge.segment_energy_fj(segment)) if energy_matters else 0,
                (segment,),
            )
            for segment in enumerate_segments(first, last, judge.chiplets)
            if not judge.segment_codes(segment)
        )

    winner: tuple[Json, int] | None = None
    for runs in _cuttings(0, judge.n_layers - 1):
        if segments == "single" and len(runs) > 1:
            continue
        if not judge.allows_starts([i for i, _ in runs]):
            continue
        front = [Cost(0, 0, ())]
        for i, j in runs:
            front = _undominated(a.plus(b) for a in front for b in candidates(i, j))
        for latency, per_sample, choice in front:
            energy = judge.samples * per_sample + judge.weights_fj() if energy_matters else 0
            if not judge.within_latency(latency) or not judge.within_budget(energy):
                continue
            objective = energy if by_energy else latency
            if winner is None or objective < winner[1]:
                winner = (to_json(choice), objective)
    return winner
