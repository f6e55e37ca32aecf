"""Checks certificates of the placed model; `scope_check` calls it and has all that is common.

Transfers are priced where regions lie: counts of what shares a link are made here, from the mesh
and the network of the instance. docs/certificates.md has the argument, docs/model.md the model
(section 17), in the same symbols. Imports the standard library, NumPy and `scope_check` only.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scope_check import (
    NEVER,
    NONE,
    TOP,
    Bound,
    Cluster,
    Ints,
    Json,
    Segments,
    Tables,
    Unusable,
    get,
    numbers,
)
from scope_check_mesh import Mesh

Floats = np.ndarray[Any, np.dtype[np.float64]]
Move = tuple[str, int]
"""A kind of transfer inside a region: bytes gathered or exchanged, or the layer of a halo."""

MOST_TRIPLES = 2**22  # ways on from regions that are looked at at once
FACTOR = 1 - 1e-12  # before times are rounded up, so that floats do not lift them
FLOOR = 1 - 1e-9  # the same for bounds


def real(document: Any, key: str, where: str, default: float | None = None) -> float:
    """A positive number of an object."""
    value: Any = document.get(key, default) if isinstance(document, dict) else None
    if type(value) not in (int, float) or not 0 < value < 1e30:
        raise Unusable(f"{where}.{key}: needs a positive number; found {repr(value)[:60]}")
    return float(value)


def pair(layer: Json, key: str, where: str) -> tuple[int, int]:
    """Down and across, given by one number or by two."""
    value = layer.get(key, 1)
    down, across = numbers(value if isinstance(value, list) else [value] * 2, 2, where).tolist()
    return down, across


# --- The tables ----------------------------------------------------------------------------------


class PlacedTables(Tables):
    """`Tables` with transfers where they take place, of the network and package of an instance."""

    def __init__(self, d: Json, instance: Json, where: str) -> None:
        super().__init__(d, instance, where)
        n, c, at = self.layers, self.chiplets, "instance.network"
        network = get(instance, "network", dict, "instance")
        package = get(instance, "package", dict, "instance")
        nop = get(package, "nop", dict, "instance.package")
        self.read = self.square(d, "read_ps", where)
        self.write = self.square(d, "write_ps", where)
        if len(self.edges):
            raise Unusable(f"{where}.edges: what edges move is in the network; needs none")
        link = "instance.package.nop"
        port = real(nop, "bandwidth_bytes_per_s", link) / real(nop, "ports", link)
        self.ps_per_byte = 1e12 * real(nop, "eta_link", link, 1.15) / port
        self.shared_links = get(nop, "shared_links", bool, link, True)
        if self.shared_links:
            left_out = "what shared links add: the bound leaves it out, the value does not"
            self.uncertified = (*self.uncertified, left_out)
        if nop.get("gather", "relay") not in ("relay", "unicast"):
            raise Unusable(f"{link}.gather: needs relay or unicast")
        self.mesh = Mesh(package, nop.get("gather", "relay") == "relay")
        layers = get(network, "layers", list, at)
        if len(layers) != n or self.mesh.chiplets != c:
            raise Unusable(f"{where}: has other layers or chiplets than the instance")
        self.output_bytes = [get(layer, "output_bytes", int, f"{at}.layers") for layer in layers]
        self.shapes = [self._shape(layer, f"{at}.layers") for layer in layers]
        self.flow = list[tuple[int, int, int, bool]]()  # source, target, bytes, whether input
        for edge in get(network, "edges", list, at):
            u, v, moved = (get(edge, key, int, f"{at}.edges") for key in ("from", "to", "bytes"))
            feeds = edge.get("feeds") or ("input" if v == u + 1 else "sum")
            if not u < v < n or feeds not in ("input", "sum"):
                raise Unusable(f"{at}.edges: needs layers of which one follows, and what it feeds")
            self.flow.append((u, v, moved, feeds == "input"))
        inputs = {(u, v): moved for u, v, moved, own in self.flow if own}
        self.chain = {u: (moved, own) for u, v, moved, own in self.flow if v == u + 1}
        # Further input of each layer: source, bytes, whether an ISP layer before it has them too.
        self.further = [list[tuple[int, int, bool]]() for _ in range(n)]
        for (u, v), moved in inputs.items():
            if v > u + 1:
                self.further[v].append((u, moved, inputs.get((u, v - 1), -1) >= moved))
        self._grids = dict[tuple[int, int], list[tuple[int, int]]]()
        self._halos = dict[tuple[int, ...], Floats]()
        self._within = dict[tuple[int, int], Ints]()
        self._refuse_large_transfers(where)

    def _shape(self, layer: Json, where: str) -> tuple[int, ...]:
        """Rows and columns of the output, bytes that cross a row seam and a column seam."""
        keys = ("height", "width")
        outputs = [get(layer, f"output_{key}", int, where) for key in keys]
        inputs = [get(layer, f"input_{key}", int, where) for key in keys]
        kernel = [get(layer, f"kernel_{key}", int, where) for key in keys]
        dilation, stride = pair(layer, "dilation", where), pair(layer, "stride", where)
        channels = get(layer, "in_channels", int, where)
        reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
        overlap = [channels * max(0, r - s) for r, s in zip(reach, stride, strict=True)]
        if min(outputs) < 1:
            raise Unusable(f"{where}: needs outputs")
        return (*outputs, overlap[0] * inputs[1], overlap[1] * inputs[0])

    def _refuse_large_transfers(self, where: str) -> None:
        """As `_refuse_large`; no link carries more than all bytes once for every chiplet."""
        c = self.chiplets
        per_layer = [self.share("gather", int(w)).max() for w in self.weights]
        moved = sum(b for *_, b, _ in self.flow)
        most = max(self.share(kind, moved).max() for kind in ("gather", "exchange"))
        halos = [2.0 * c * (down + across) for *_, down, across in self.shapes]
        carried = (max(per_layer) + 3 * most + moved + max(halos)) * self.ps_per_byte
        dram = int(self.read.max()) + int(self.write.max())
        self.worst += self.layers * (int(min(carried, 1e18)) + dram + 2 * self.layers + 4)
        total = self.worst * (self.samples + self.layers) + int(self.load.max())
        if total >= TOP or carried >= 1e18:
            raise Unusable(f"{where}: times are too large for 64-bit integers")

    def digest(self, *more: Ints) -> str:
        """SHA-256 of what the tables say; counts are made from the instance."""
        return super().digest(self.read, self.write, *more)

    # Bytes on the busiest link, and on all links.

    def ps(self, link_bytes: Any) -> Any:
        """Time in which a link carries so many bytes."""
        return np.ceil(link_bytes * self.ps_per_byte * FACTOR).astype(np.int64)

    def share(self, kind: str, amount: int) -> Floats:
        """(phases, C+1) bytes on the busiest link of one transfer."""
        if kind == "halo":
            return self.halo(amount)
        sizes = np.maximum(np.arange(self.chiplets + 1), 1)
        counts, shares = self.mesh.gather, sizes
        if kind == "exchange":
            counts, shares = self.mesh.exchange, sizes * sizes
        found: Floats = (amount * counts) / shares
        return found

    def tiling(self, layer: int) -> list[tuple[int, int]]:
        """WSP tile grids by size: fewest outputs of a tile, most nearly square, fewer rows."""
        height, width, *_ = self.shapes[layer]
        if (height, width) not in self._grids:
            grids = [(1, 1)]
            for size in range(1, self.chiplets + 1):
                ways = [(k, size // k) for k in range(1, size + 1) if size % k == 0]
                outputs = {way: -(-height // way[0]) * -(-width // way[1]) for way in ways}
                grids.append(min(ways, key=lambda k: (outputs[k], abs(k[0] - k[1]), k[0])))
            self._grids[height, width] = grids
        return self._grids[height, width]

    def seam(self, layer: int, size: int) -> tuple[int, tuple[int, int], float, float]:
        """Columns of the grid, rows and columns with outputs, bytes each way over both seams."""
        height, width, down, across = self.shapes[layer]
        rows, cols = self.tiling(layer)[size]
        used = min(rows, height), min(cols, width)
        # Half of a pair's part of the seam each way.
        down_each = down / (2 * used[1]) if used[0] > 1 else 0.0
        across_each = across / (2 * used[0]) if used[1] > 1 else 0.0
        return cols, used, down_each, across_each

    def halo(self, layer: int) -> Floats:
        """(phases, C+1) bytes on the busiest link of a layer's halo."""
        shape = self.shapes[layer]
        if shape not in self._halos:
            found = np.zeros((self.mesh.phases, self.chiplets + 1))
            for size in range(2, self.chiplets + 1):
                cols, used, down, across = self.seam(layer, size)
                starts = np.arange(min(self.mesh.phases, self.chiplets - size + 1))
                if down or across:
                    rows, columns = self.mesh.seams(starts, cols, used)
                    loads = rows * down + columns * across
                    found[: len(starts), size] = loads.max(axis=(1, 2, 3))
            self._halos[shape] = found
        return self._halos[shape]

    def moves(self, layer: int, own: int, then: int, a: int) -> list[list[Move]]:
        """What moves to the next layer in the same cluster: one entry for each list."""
        moved, is_input = self.chain.get(layer, (0, False))
        chained, found = layer in self.chain, list[list[Move]]()
        if chained and not is_input and own != then:
            found.append([("exchange", moved)])
        if chained and is_input:
            halo: list[Move] = [("halo", layer + 1)]
            spread: list[Move] = halo if own else [("exchange", moved), *halo]
            found.append(spread if then else [("gather", moved)])
        further = [
            bytes_ for u, bytes_, there in self.further[layer + 1] if u >= a and (own or not there)
        ]
        found += [[("exchange" if then else "gather", bytes_)] for bytes_ in further]
        if further and then and not chained:
            found.append([("halo", layer + 1)])
        return found

    def arriving(self, layer: int, a: int) -> int:
        """How many further inputs of a layer are from segments that begin at a."""
        return sum(u >= a for u, _, _ in self.further[layer])

    def within_ps(self, layer: int, a: int) -> Ints:
        """(2, 2, phases, C+1) what moves to the next layer in a cluster of a segment from a on."""
        key = layer, self.arriving(layer + 1, a)
        if key not in self._within:
            found = np.zeros((2, 2, self.mesh.phases, self.chiplets + 1), dtype=np.int64)
            for own, then in np.ndindex(2, 2):
                for entry in self.moves(layer, own, then, a):
                    found[own, then] += self.ps(sum(self.share(*move) for move in entry))
            self._within[key] = found
        return self._within[key]

    def crossing(self, a: int, b: int) -> tuple[Ints, Ints]:
        """(b + 1 - a,) bytes that travel on behind each layer, and what the next one gathers."""
        travel, wanted = self.crossings(b)
        behind = travel[a:, a : b + 1].sum(axis=0)
        return behind, np.minimum(behind, wanted[a:, a : b + 1].sum(axis=0))

    def crossings(self, b: int) -> tuple[Ints, Ints]:
        """(L, L) the same by the layer u that made them, and the layer behind which they travel."""
        ahead = np.zeros((self.layers, self.layers), dtype=np.int64)
        wanted = np.zeros((self.layers, self.layers), dtype=np.int64)
        for u, v, moved, is_input in self.flow:
            if v <= b:
                ahead[u, u:v] += moved
                wanted[u, v - 1] += moved * is_input
        return np.minimum(ahead, np.array(self.output_bytes)[:, None]), wanted

    # The value of a schedule.

    def gathered(self, layer: int, clusters: list[Cluster], number: int) -> int:
        """Time in which a WSP layer of that cluster gathers its weights."""
        s, size = sum(c[2] for c in clusters[:number]), clusters[number][2]
        share = self.share("gather", int(self.weights[layer]))
        return int(self.ps(share[self.mesh.phase[s], size]))

    def sent(self, a: int, b: int, clusters: list[Cluster], number: int, layer: int) -> int:
        """Time in which a layer of that cluster hands on, or writes, what it made."""
        i, j, size, partition = clusters[number]
        s, own = sum(c[2] for c in clusters[:number]), partition[layer - i]
        phase, sent = self.mesh.phase, int(self.write[layer, b])
        if layer < j:
            then = partition[layer + 1 - i]
            sent += int(self.within_ps(layer, a)[own, then, phase[s], size])
        elif layer < b:
            _, _, following, others = clusters[number + 1]
            travel, wanted = (int(part[layer - a]) for part in self.crossing(a, b))
            load = travel * int(self.mesh.scatter[phase[s], size, following]) / (size * following)
            if others[0] == 0:
                gather = int(self.mesh.gather[phase[s + size], following])
                load += wanted * gather / following
            sent += int(self.ps(load))
        return sent

    def link_beat(self, a: int, b: int, clusters: list[Cluster]) -> int:
        """Least beat in which every link carries all that the segment puts on it."""
        exempt = a == b and clusters[0][2] == self.chiplets
        if exempt or not self.shared_links:
            return 0
        total, s = np.zeros(1), 0
        travel, wanted = self.crossing(a, b)
        for number, (i, j, r, partition) in enumerate(clusters):
            kept = range(i, j + 1) if i < j else range(0)
            moves: list[Move] = [("gather", int(self.weights[u])) for u in kept if partition[u - i]]
            for u in range(i, j):
                for entry in self.moves(u, partition[u - i], partition[u + 1 - i], a):
                    moves += entry
            volume = {
                kind: sum(v for k, v in moves if k == kind) for kind in ("gather", "exchange")
            }
            total = total + self.mesh.gathered(np.array(s), r) * (volume["gather"] / r)
            if volume["exchange"]:
                total = total + self.mesh.exchanged(s, r) * (volume["exchange"] / (r * r))
            for kind, layer in moves:
                if kind == "halo" and r > 1:
                    cols, used, down, across = self.seam(layer, r)
                    rows, columns = self.mesh.seams(np.array(s), cols, used)
                    total = total + rows * down + columns * across
            s += r
            if j < b:
                _, _, following, others = clusters[number + 1]
                pairs = self.mesh.exchanged(s - r, r, s, following)
                total = total + pairs * (int(travel[j - a]) / (r * following))
                if others[0] == 0:
                    share = int(wanted[j - a]) / following
                    total = total + self.mesh.gathered(np.array(s), following) * share
        return int(self.ps(total.max()))


# --- The lower bound -----------------------------------------------------------------------------


class PlacedBound(Bound):
    """`Bound` for segments whose regions have places."""

    t: PlacedTables

    def _prepare(self, limit: int) -> None:
        t, sizes = self.t, np.arange(1, self.t.chiplets + 1)
        scatter = t.mesh.scatter[:, 1:, 1:]
        shares = np.where(scatter > 0, scatter / np.multiply.outer(sizes, sizes), np.inf)
        least = shares.min(axis=(0, 2))
        self.scattered = np.where(least < np.inf, least, 0) * (t.ps_per_byte * FLOOR)
        fits = np.arange(t.mesh.phases)[:, None] + sizes <= t.chiplets
        self.outside = np.where(fits, 0, NEVER)
        self.gather = [t.ps(t.share("gather", int(w))) for w in t.weights]
        # One more than the last layer that a cluster may have at all.
        total = np.append(0, t.compute.min(axis=(1, 2)).cumsum())
        self.stop = np.searchsorted(total, total[:-1] + limit, side="right") - 1
        self.stop = np.maximum(self.stop, np.arange(t.layers) + 1)
        # Further input from before a layer to later ones that could be in its cluster.
        self.passing = [
            [u for v in range(i + 1, self.stop[i]) for u, _, _ in t.further[v] if u < i]
            for i in range(t.layers)
        ]
        self.best, self.recent = dict[Any, Ints](), dict[Any, Ints]()

    def _segments(self, b: int, top: int) -> PlacedSegments:
        return PlacedSegments(self, b, top)

    def at_best(self, key: Any, values: Ints) -> Ints:
        """(.., C) the least over all phases of values (.., phases, C+1), remembered."""
        if key not in self.best:
            self.best[key] = (values[..., 1:] + self.outside).min(axis=-2)
        return self.best[key]

    def inner(self, i: int, n: int, a: int, b: int, r: Ints, phase: Ints | None) -> Ints:
        """(n, 2, 2, K) least times of clusters ``i..i+n-1`` but for the end of the last layer.

        By first and last partition, in segment ``a..b``, on regions of sizes r from positions of
        these phases; with None at the best place for every transfer, r being 1..C.
        """
        t, stored = self.t, self.t.weights[i : i + n].cumsum()
        free = t.buffer * r - stored[:, None]
        room, count = np.maximum(free, 0), (t.weights[i : i + n] > 0).cumsum()
        times = np.full((n, 2, 2, len(r)), NEVER)
        times[:, 0, 0] = times[:, 1, 1] = 0
        for x, u in enumerate(range(i, i + n)):
            if x > 0:
                moved, key = t.within_ps(u - 1, a), (u, t.arriving(u, a))
                at = self.at_best(key, moved) if phase is None else moved[:, :, phase, r]
                step = np.maximum(t.compute[u - 1][:, None, r - 1], at + t.write[u - 1, b])
                isp, wsp = times[x:, :, 0, None] + step[0], times[x:, :, 1, None] + step[1]
                times[x:] = np.minimum(isp, wsp)
            # Alone in its cluster, a layer gathers its weights only once.
            own = self.at_best((u,), self.gather[u]) if phase is None else self.gather[u][phase, r]
            times[max(x, 1) :, :, 1] += own
            fits = t.weights[u] * (r - 1) <= room[x:]
            times[x:, :, 1] = np.where(fits[:, None], times[x:, :, 1], NEVER)
            np.minimum(times, NEVER, out=times)
        again = -(np.minimum(free, 0) * t.refetch[r - 1] // 1000) + count[:, None] * t.latency
        times += np.where(free < 0, again if t.stream else NEVER, 0)[:, None, None]
        np.minimum(times, NEVER, out=times)
        return times


class PlacedSegments(Segments):
    """The segments that end at layer b, for beats up to ``top``."""

    t: PlacedTables

    def __init__(self, bound: PlacedBound, b: int, top: int) -> None:
        self.bound, self.b, self.t, self.places = bound, b, bound.t, bound
        t, (travel, wanted) = self.t, bound.t.crossings(b)
        # (L, L) bytes behind each layer in segments from each layer on.
        self.travel = travel[::-1].cumsum(axis=0)[::-1]
        self.wanted = np.minimum(self.travel, wanted[::-1].cumsum(axis=0)[::-1])
        self.before, bound.recent = bound.recent, {}
        self.rows = dict[int, list[Ints]]()
        # Whatever the segment's first layer: what is from before the cluster costs nothing.
        self.least = [self.relaxed(i, i) for i in range(b + 1)]
        reads = [t.read[i, i : i + len(row)].cumsum() for i, row in enumerate(self.least)]
        self.opening = [row + own[:, None] for row, own in zip(self.least, reads, strict=True)]

    def relaxed(self, i: int, a: int) -> Ints:
        """(J, C) times of clusters ``i..j`` in segment ``a..b`` on at most r chiplets, at best.

        Reads are left out.
        """
        bound, t, b = self.places, self.t, self.b
        stop = int(min(bound.stop[i], b + 1))
        travel, writes = self.travel[a, i:stop], t.write[i:stop, b]
        arriving = tuple(u >= a for u in bound.passing[i])
        key = i, arriving, travel.tobytes(), writes.tobytes()
        found = bound.recent.get(key, self.before.get(key))
        if found is None:
            inner = bound.inner(i, stop - i, a, b, np.arange(1, t.chiplets + 1), None).min(axis=1)
            hand = np.ceil(np.multiply.outer(travel, bound.scattered)).astype(np.int64)
            ends = np.maximum(t.compute[i:stop], (hand + writes[:, None])[:, None])
            found = np.minimum.accumulate((inner + ends).min(axis=1), axis=1)
        bound.recent[key] = found
        return found

    def coupled(self, limit: int, asked: Ints) -> Ints:
        """(b + 1, N) fewest chiplets, places left out, where the limit is asked for; else 0."""
        self.limit, found = limit, np.zeros(asked.shape, dtype=np.int64)
        for a in np.flatnonzero(asked.max(axis=1) == limit).tolist():
            if a not in self.rows:
                rows = [self.relaxed(i, a) for i in range(a, self.b + 1)]
                reads = [self.t.read[a, i : i + len(row)] for i, row in enumerate(rows, a)]
                self.rows[a] = [
                    r + own.cumsum()[:, None] for r, own in zip(rows, reads, strict=True)
                ]
            most = int(np.flatnonzero(asked[a] >= 0)[-1]) + 1
            rest = np.full((self.b + 2 - a, most + 1), NONE)
            rest[-1, 0] = 0
            for x in range(self.b - a, -1, -1):
                need = self.need(a, x)
                total = need[:, None] + rest[x + 1 : x + 1 + len(need), :-1]
                np.minimum(total.min(axis=0), NONE, out=rest[x, 1:])
            found[a, :most] = rest[0, 1:]
        return found

    def need(self, a: int, x: int) -> Ints:
        """(J,) fewest chiplets of clusters from layer a + x on, at best places."""
        sizes = (self.rows[a][x] > self.limit).sum(axis=1) + 1
        return np.where(sizes > self.t.chiplets, NONE, sizes)

    def opened(self, a: int) -> Ints:
        """(N,) fewest chiplets of the segment ``a..b``, or fewer; `NONE` where it is impossible.

        Labels G(i, s, r, p): fewest clusters for layers ``i..b``, the first on the r positions
        from s, with partition p on layer i.
        """
        c, n = self.t.chiplets, self.b + 1 - a
        needs = [self.need(a, x) for x in range(n)]
        behind, before = np.full(n + 1, NONE), np.full(n + 1, NONE)
        behind[n] = before[0] = 0
        for x in range(n - 1, -1, -1):
            behind[x] = min(NONE, (needs[x] + behind[x + 1 : x + 1 + len(needs[x])]).min())
        for x, need in enumerate(needs):
            reached = before[x + 1 : x + 1 + len(need)]
            np.minimum(reached, before[x] + need, out=reached)
        self.labels, self.widest = np.full((n + 1, c + 1, c + 1, 2), NONE, dtype=np.int16), 0
        for x in range(n - 1, -1, -1):
            low, high = (0, 0) if x == 0 else (int(before[x]), c - int(behind[x]))
            ends = behind[x + 1 : x + 1 + len(needs[x])]
            useful = np.flatnonzero(needs[x] + ends <= c)
            if low > high or not len(useful):
                continue
            s, r = np.arange(low, high + 1), np.arange(needs[x][useful].min(), c + 1)
            s, r = np.repeat(s, len(r)), np.tile(r, len(s))
            inside = s + r + ends[useful].min() <= c
            if inside.any():
                self._place(a, x, int(useful[-1]) + 1, s[inside], r[inside], before, behind)
        fewest = int(self.labels[0, 0].min())
        return np.where(self.bound.counts < fewest, NONE, 1)

    def _place(self, a: int, x: int, n: int, s: Ints, r: Ints, before: Ints, behind: Ints) -> None:
        """Labels of layer i = a + x on regions, with clusters ``i..i+n-1`` at most."""
        t, b, i = self.t, self.b, a + x
        phase, here = t.mesh.phase[s], np.s_[i : i + n]
        inner = self.places.inner(i, n, a, b, r, phase)
        left = self.limit - inner - t.read[a, here].cumsum()[:, None, None, None]
        left = np.where(left >= t.compute[here, None][..., r - 1], left, -1).max(axis=2)
        left -= t.write[here, b][:, None, None]
        labels = np.full((2, len(s)), NONE, dtype=np.int16)
        if i + n == b + 1:
            labels[left[-1] >= 0] = 1
            left = left[:-1]
        j, to = np.arange(x, x + len(left))[:, None], s + r
        hand = np.multiply.outer(self.travel[a, i : i + len(left)], self.places.scattered)[:, r - 1]
        allowed = (to >= before[j + 1]) & (to + behind[j + 1] <= t.chiplets)
        j, p, k = np.nonzero(allowed[:, None] & (left >= np.ceil(hand)[:, None]))
        step = MOST_TRIPLES // max(1, self.widest)
        for at in (np.s_[first : first + step] for first in range(0, len(j), step)):
            args = i + j[at], s[k[at]], r[k[at]], left[j, p, k][at]
            np.minimum.at(labels, (p[at], k[at]), self._ways_on(a, *args))
        self.labels[x, s, r] = labels.T
        self.widest = max(self.widest, int(r[(labels < NONE).any(axis=0)].max(initial=0)))

    def _ways_on(self, a: int, j: Ints, s: Ints, r: Ints, left: Ints) -> Ints:
        """Fewest clusters, the one that ends with layer j included, with the time that is left."""
        t, mesh, to, following = self.t, self.t.mesh, s + r, np.arange(1, self.widest + 1)
        scatter = mesh.scatter[mesh.phase[s], r][:, following]
        load = self.travel[a, j][:, None] * scatter / (r[:, None] * following)
        gather = self.wanted[a, j][:, None] * mesh.gather[mesh.phase[to]][:, following] / following
        behind = self.labels[j + 1 - a, to][:, following]
        found = np.full(len(j), NONE, dtype=np.int16)
        for then, moved in ((0, load + gather), (1, load)):
            within = t.ps(moved) <= left[:, None]
            np.minimum(
                found,
                np.where(within, behind[..., then], NONE).min(axis=1, initial=NONE),
                out=found,
            )
        return np.minimum(found + 1, NONE).astype(np.int16)


kinds: tuple[type[Tables], type[Bound]] = PlacedTables, PlacedBound
