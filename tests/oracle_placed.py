"""Independent oracle of the placed model: transfers where the regions of a schedule really lie.

Every transfer is a number of bytes per directed link, found by walking its routes one by one. Its
time is that of its busiest link, its energy that of all its links, and all transfers of a sample
share the links within one beat. Everything else is as in `oracle`, in exact fractions too.
"""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from oracle import (
    ISP,
    WSP,
    ClusterTime,
    Link,
    Oracle,
    PhysicalTimes,
    exact,
    memoised,
    pairs_between,
    pairs_within,
    place,
    up_fitted,
    walk,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from oracle import Cluster, Segment

Json = dict[str, Any]
Chiplet = tuple[int, int]
Load = dict[Link, Fraction]
#: Positions of the source and of the target, and what goes from one to the other.
Parcel = tuple[int, int, Fraction]


# --- The mesh ------------------------------------------------------------------------------------


def positions(package: Json) -> list[Chiplet]:
    """Return (row, column) of every position, in order."""
    rows, cols = package["mesh_rows"], package["mesh_cols"]
    order = package.get("order", "zigzag")
    if order == "zigzag":
        return [place(cols, s) for s in range(rows * cols)]
    if order == "hilbert":
        if cols >= rows:
            return _hilbert(complex(0), complex(cols), complex(0, rows))
        return _hilbert(complex(0), complex(0, rows), complex(cols))
    if isinstance(order, str):
        return _blocks(rows, cols, int(order.removeprefix("blocks-")))
    return [(row, col) for row, col in order]


def _blocks(rows: int, cols: int, width: int) -> list[Chiplet]:
    """Stripes of ``width`` columns, every second one upwards, each a zigzag of its own."""
    found = []
    for stripe in range(cols // width):
        downwards = stripe % 2 == 0
        for visited in range(rows):
            row = visited if downwards else rows - 1 - visited
            columns = range(stripe * width, (stripe + 1) * width)
            rightwards = visited % 2 == 0
            found += [(row, col) for col in (columns if rightwards else reversed(columns))]
    return found


def _hilbert(corner: complex, side: complex, width: complex) -> list[Chiplet]:
    """Through a rectangle that spans two vectors, from its corner to the other end of the first.

    Columns are real parts, rows imaginary ones.
    """
    long, wide = round(abs(side)), round(abs(width))
    forth, over = side / long, width / wide
    if wide == 1:
        found = [corner + forth * k for k in range(long)]
        return [(round(one.imag), round(one.real)) for one in found]
    if long == 1:
        found = [corner + over * k for k in range(wide)]
        return [(round(one.imag), round(one.real)) for one in found]

    def half(number: int) -> int:
        return number // 2 + (1 if number > 2 and number // 2 % 2 == 1 else 0)

    if 2 * long > 3 * wide:
        first = forth * half(long)
        return [*_hilbert(corner, first, width), *_hilbert(corner + first, side - first, width)]
    first, up = forth * (long // 2), over * half(wide)
    end = corner + side - forth + up - over
    return [
        *_hilbert(corner, up, first),
        *_hilbert(corner + up, side, width - up),
        *_hilbert(end, -up, first - side),
    ]


def add(loads: Iterable[Load]) -> Load:
    """Bytes per link of several transfers together."""
    total: Load = defaultdict(Fraction)
    for load in loads:
        for link, volume in load.items():
            total[link] += volume
    return dict(total)


def times(volume: Fraction | int, load: Load) -> Load:
    """Bytes per link of a transfer of ``volume`` bytes, from those of one byte."""
    return {link: share * volume for link, share in load.items()} if volume else {}


class Entry(NamedTuple):
    """One table entry: transfers one after the other, in a layer's preparation or communication."""

    layer: int
    in_preparation: bool
    transfers: tuple[Load, ...]


class PlacedTimes(PhysicalTimes):
    """Transfers of one instance as bytes per link; ``s`` is a region's first position."""

    def __init__(self, network: Json, package: Json) -> None:
        super().__init__(network, package)
        nop = package["nop"]
        self.eta_link = exact(nop.get("eta_link", 1.15))
        self.gather_by: str = nop.get("gather", "relay")
        self.shared_links: bool = nop.get("shared_links", True)
        self.chiplet_at = positions(package)

    def carry(self, parcels: Iterable[Parcel]) -> Load:
        """Walk every parcel's route."""
        load: Load = defaultdict(Fraction)
        for source, target, volume in parcels:
            for link in walk(self.chiplet_at[source], self.chiplet_at[target]):
                load[link] += volume
        return dict(load)

    # One byte each.

    @memoised
    def gather(self, s: int, r: int) -> Load:
        """From where it lies, evenly spread, to all chiplets of the region."""
        share = Fraction(1, r)
        if self.gather_by == "unicast":
            return self.carry((i, j, share) for i, j in pairs_within(s, r))
        # Handed on along the region: the shares of all before go up, those of all behind go down.
        up = [(s + k - 1, s + k, k * share) for k in range(1, r)]
        down = [(s + k, s + k - 1, (r - k) * share) for k in range(1, r)]
        return self.carry(up + down)

    @memoised
    def exchange(self, s: int, r: int) -> Load:
        """Spread anew over the same region."""
        return self.carry((i, j, Fraction(1, r * r)) for i, j in pairs_within(s, r))

    @memoised
    def scatter(self, s: int, r: int, r_next: int) -> Load:
        """Spread over the region behind."""
        pairs = pairs_between(s, r, r_next)
        return self.carry((i, j, Fraction(1, len(pairs))) for i, j in pairs)

    @memoised
    def halo(self, layer: int, s: int, r: int) -> Load:
        """Overlap of the layer's input tiles, in bytes: half of it each way across every seam."""
        height, width = self.layers[layer]["output_height"], self.layers[layer]["output_width"]
        r1, r2 = self.tiling(layer, r)
        filled_rows, filled_cols = min(r1, height), min(r2, width)
        row_seam, col_seam = self.seam_bytes(layer)
        parcels: list[Parcel] = []

        def cross(one: tuple[int, int], other: tuple[int, int], volume: Fraction) -> None:
            here, there = s + one[0] * r2 + one[1], s + other[0] * r2 + other[1]
            parcels.extend([(here, there, volume / 2), (there, here, volume / 2)])

        for k in range(filled_rows - 1):
            for c in range(filled_cols):
                cross((k, c), (k + 1, c), Fraction(row_seam, filled_cols))
        for c in range(filled_cols - 1):
            for k in range(filled_rows):
                cross((k, c), (k, c + 1), Fraction(col_seam, filled_rows))
        return self.carry(parcels)

    # Times and energies, each rounded up once.

    def link_s(self, load: Load) -> Fraction:
        """Time of a transfer: its busiest link's."""
        return self.eta_link * max(load.values(), default=Fraction(0)) / self.port

    def entry_ps(self, entry: Entry) -> int:
        return up_fitted(sum(map(self.link_s, entry.transfers), Fraction(0)) * 10**12)

    def entry_fj(self, entry: Entry) -> int:
        moved = sum((sum(load.values()) for load in entry.transfers), Fraction(0))
        return up_fitted(moved * self.nop_fj_per_byte_hop)

    # Through DRAM: every reader reads for itself, every tensor is written once.

    def edges_read(self, first: int, layer: int) -> list[int]:
        """What the layer reads of tensors from before its segment, and of the network's input."""
        edges = [e.bytes for e in self.edges if e.u < first and e.v == layer]
        return [*edges, self.layers[0]["input_bytes"]] if layer == 0 else edges

    def edges_written(self, layer: int, last: int) -> int:
        """What the layer writes for later segments, or as the network's output."""
        if layer == self.n_layers - 1:
            return int(self.layers[layer]["output_bytes"])
        return self.read_later(layer, last, self.n_layers - 1)

    def tensors_read(self, first: int, last: int) -> list[int]:
        span = range(first, last + 1)
        edges = [volume for layer in span for volume in self.edges_read(first, layer)]
        return edges + [self.own_bytes(layer, "read") for layer in span]

    def tensors_written(self, first: int, last: int) -> list[int]:
        span = range(first, last + 1)
        edges = [self.edges_written(layer, last) for layer in span]
        return edges + [self.own_bytes(layer, "write") for layer in span]

    # What a cluster transfers.

    @memoised
    def entries(
        self, first: int, last: int, s: int, cluster: Cluster, following: tuple[int, str] | None
    ) -> list[Entry]:
        """All entries of a cluster at position ``s`` in segment ``first..last``.

        ``following`` is the next cluster's region size and first partition.
        """
        r, partitions = cluster.chiplets, cluster.partitions
        found = []
        for k, layer in enumerate(range(cluster.first, cluster.last + 1)):
            if partitions[k] == WSP and cluster.first < cluster.last:
                weights = times(self.weights[layer], self.gather(s, r))
                found.append(Entry(layer, True, (weights,)))
            if layer < cluster.last:
                found += self.inside(layer, first, s, r, partitions[k], partitions[k + 1])
            elif layer < last:
                assert following is not None
                found.append(self.hand_over(layer, first, last, s, r, *following))
        return found

    def inside(
        self, layer: int, first: int, s: int, r: int, partition: str, following: str
    ) -> list[Entry]:
        """What moves while the layer runs, for the next one in the same cluster."""
        gather, exchange = self.gather(s, r), self.exchange(s, r)
        halo = self.halo(layer + 1, s, r)
        found: list[tuple[Load, ...]] = []
        volume = self.chain[layer]
        if volume > 0 and layer in self.adds:
            if partition != following:
                found.append((times(volume, exchange),))
        elif volume > 0:
            if following == ISP:
                found.append((times(volume, gather),))
            elif partition == WSP:
                found.append((halo,))
            else:
                found.append((times(volume, exchange), halo))
        moved = self.inputs_to_move(first, layer + 1, partition)
        found += [(times(x, gather if following == ISP else exchange),) for x in moved]
        if moved and following == WSP and volume == 0:
            found.append((halo,))
        return [Entry(layer, False, transfers) for transfers in found]

    def hand_over(
        self, layer: int, first: int, last: int, s: int, r: int, r_next: int, following: str
    ) -> Entry:
        """Everything that later clusters of the segment still read, to the next one."""
        crossing = self.crossing_bytes(first, layer, last)
        transfers = [times(crossing, self.scatter(s, r, r_next))]
        if following == ISP:
            read = sum(
                e.bytes
                for e in self.edges
                if e.v == layer + 1 and e.u >= first and e.feeds == "input"
            )
            transfers.append(times(min(crossing, read), self.gather(s + r, r_next)))
        return Entry(layer, False, tuple(transfers))


# --- Schedules -----------------------------------------------------------------------------------


class Here(NamedTuple):
    """A cluster where it lies: its times, the energy of its transfers, and bytes per link."""

    time: ClusterTime
    nop_fj: int
    carried: Load


class PlacedOracle(Oracle):
    """Evaluates schedules of one instance with its regions in place."""

    def __init__(self, instance: Json) -> None:
        super().__init__(instance)
        self.placed = PlacedTimes(instance["network"], instance["package"])
        self.times = self.physical = self.placed

    def here(self, segment: Segment) -> list[Here]:
        """All clusters in place: their regions lie side by side from position 0 on."""
        first, last = segment[0].first, segment[-1].last
        heads = [(c.chiplets, c.partitions[0]) for c in segment]
        found, s = [], 0
        for cluster, following in zip(segment, [*heads[1:], None], strict=True):
            found.append(self.cluster_here(first, last, s, cluster, following))
            s += cluster.chiplets
        return found

    @memoised
    def cluster_here(
        self, first: int, last: int, s: int, cluster: Cluster, following: tuple[int, str] | None
    ) -> Here:
        """Price a cluster at position ``s`` (Eq. 3, 4, 6, 7)."""
        model = self.placed
        entries = model.entries(first, last, s, cluster, following)
        layers = []
        for layer in range(cluster.first, cluster.last + 1):
            mine = [entry for entry in entries if entry.layer == layer]
            pre = sum(model.entry_ps(entry) for entry in mine if entry.in_preparation)
            pre += sum(map(model.read_ps, model.edges_read(first, layer)))
            pre += model.own_read_ps(layer)
            comm = sum(model.entry_ps(entry) for entry in mine if not entry.in_preparation)
            comm += model.write_ps(model.edges_written(layer, last))
            comm += model.own_write_ps(layer)
            partition = cluster.partitions[layer - cluster.first]
            layers.append((pre, model.compute_ps(layer, partition, cluster.chiplets), comm))
        time = ClusterTime(tuple(layers), self.stream_ps(first, last, cluster))
        carried = add(load for entry in entries for load in entry.transfers)
        return Here(time, sum(map(model.entry_fj, entries)), carried)

    def cluster_times(self, segment: Segment) -> list[ClusterTime]:
        return [cluster.time for cluster in self.here(segment)]

    def nop_fj(self, segment: Segment) -> int:
        return sum(cluster.nop_fj for cluster in self.here(segment))

    # Shared links.

    def link_bytes(self, segment: Segment) -> Load:
        """Bytes that every used link carries for one sample."""
        return add(cluster.carried for cluster in self.here(segment))

    def busiest_links(self, segment: Segment) -> list[Link]:
        """Those that carry the most bytes, sorted; none if nothing is carried."""
        carried = self.link_bytes(segment)
        most = max(carried.values(), default=Fraction(0))
        return sorted(link for link, volume in carried.items() if volume == most > 0)

    def link_beat_ps(self, segment: Segment) -> int:
        if not self.placed.shared_links or self.exempt(segment):
            return 0
        return up_fitted(self.placed.link_s(self.link_bytes(segment)) * 10**12)

    def explain(self, schedule: Json) -> str:
        lines = [super().explain(schedule)]
        for s, segment in enumerate(self._sound(schedule)):
            carried = self.link_bytes(segment)
            lines += [
                f"segment {s}: link {link} carries {float(carried[link])} bytes"
                for link in self.busiest_links(segment)
            ]
        return "\n".join(lines)
