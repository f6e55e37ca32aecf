"""Checks certificates of the placed model; `scope_check` calls it and has all that is common.

Transfers are priced where regions lie: counts of what shares a link are made here, from the mesh
and the network of the instance. docs/certificates.md has the argument, docs/model.md the model
(section 17), in the same symbols. Imports the standard library, NumPy and `scope_check` only.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scope_check import NEVER, NONE, TOP, Bound, Cluster, Ints, Json, Refused, Tables, Unusable, get
from scope_check_mesh import Floats, Mesh, ranges, real, shape

Move = tuple[str, int]
"""A kind of transfer inside a region: bytes gathered or exchanged, or the layer of a halo."""

MOST_CELLS = 2**20  # clusters on regions that are looked at at once
MOST_KEPT = 2**23  # times of clusters by places that are remembered
MOST_TRIPLES = 2**17  # ways on from them, which stay in the processor's cache
FACTOR = 1 - 1e-12  # before times are rounded up, so that floats do not lift them
FLOOR = 1 - 1e-9  # the same for bounds


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
        times = self.gather, self.within, self.send, self.receive
        if len(self.edges) or any(part.any() for part in times):
            raise Unusable(f"{where}: has edges or times of transfers; those are in the network")
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
        self.shapes = [shape(layer, f"{at}.layers") for layer in layers]
        self.halos = self.mesh.halos(self.shapes)
        self.flow = list[tuple[int, int, int, bool]]()  # source, target, bytes, whether input
        for edge in get(network, "edges", list, at):
            u, v, moved = (get(edge, key, int, f"{at}.edges") for key in ("from", "to", "bytes"))
            feeds = edge.get("feeds") or ("input" if v == u + 1 else "sum")
            if not u < v < n or feeds not in ("input", "sum"):
                raise Unusable(f"{at}.edges: needs layers of which one follows, and what it feeds")
            self.flow.append((u, v, moved, feeds == "input"))
        # Layers are equal only if what moves to them and from them is.
        into = [[(v - u, *rest) for u, v, *rest in self.flow if v == to] for to in range(n)]
        alike = list(zip(self.kind.tolist(), self.output_bytes, self.shapes, into, strict=True))
        self.kind = np.array([alike.index(layer) for layer in alike])
        inputs = {(u, v): moved for u, v, moved, own in self.flow if own}
        self.chain = {u: (moved, own) for u, v, moved, own in self.flow if v == u + 1}
        # Further input of each layer: source, bytes, whether an ISP layer before it has them too.
        self.further = [list[tuple[int, int, bool]]() for _ in range(n)]
        for (u, v), moved in inputs.items():
            if v > u + 1:
                self.further[v].append((u, moved, inputs.get((u, v - 1), -1) >= moved))
        # (L, L) how many of them are from segments that begin at each layer.
        self.arriving = np.zeros((n, n), dtype=np.int64)
        for v, further in enumerate(self.further):
            for u, _, _ in further:
                self.arriving[v, : u + 1] += 1
        self._within = dict[tuple[int, int], Ints]()
        self._refuse_large_transfers(where)

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
            return self.halos[self.shapes[amount]]
        return self.mesh.share(kind, amount)

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

    def within_ps(self, layer: int, a: int) -> Ints:
        """(2, 2, phases, C+1) what moves to the next layer in a cluster of a segment from a on."""
        key = layer, int(self.arriving[layer + 1, a])
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
                    cols, used, down, across = self.mesh.seam(self.shapes[layer], r)
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

    def _prepare(self) -> None:
        t, n = self.t, self.t.layers
        self.sizes = np.arange(1, t.chiplets + 1)
        scatter = t.mesh.scatter[:, 1:, 1:]
        shares = np.where(scatter > 0, scatter / np.multiply.outer(self.sizes, self.sizes), np.inf)
        least = shares.min(axis=(0, 2))
        self.scattered = np.where(least < np.inf, least, 0) * (t.ps_per_byte * FLOOR)
        fits = np.arange(t.mesh.phases)[:, None] + self.sizes <= t.chiplets
        self.outside = np.where(fits, 0, NEVER)
        self.gathers = [t.ps(t.share("gather", int(w))) for w in t.weights]
        self.best = dict[tuple[int, ...], Ints]()
        self.kept = dict[tuple[int, int, bytes, bytes], Ints]()
        # Where clusters begin, and from which layer on what they pass on is of their segment.
        starts, stop = list[tuple[int, int]](), np.searchsorted(self.low, np.arange(n), "right")
        for i in range(n):
            further = [u for v in range(i + 1, stop[i]) for u, _, _ in t.further[v] if u < i]
            starts += [(i, u) for u in sorted({i, *further}, reverse=True)]
        self.first, self.origin = np.array(starts).T
        self.own = np.flatnonzero(self.first == self.origin)
        # By last layer: times of clusters but for their ends, with them, and what these depend on.
        self.ending, self.keys = ([np.zeros(0, dtype=np.int64)] * n for _ in range(2))
        self.written, self.handed = ([b""] * n for _ in range(2))

    def verify(self, b: int) -> None:
        """All segments that end at layer b."""
        asked, c = self.remaining(b), self.t.chiplets
        self._verify_whole_package(b)
        segments = PlacedSegments(self, b) if asked.max() >= 0 else None
        while segments is not None and (limits := asked.max(axis=1)).max() >= 0:
            asked[segments.uncoupled(asked) > c] = -1
            for a in np.flatnonzero((limits >= 0) & (asked.max(axis=1) == limits)).tolist():
                asked[a, segments.coupled(a, asked[a]) > c] = -1
                if asked[a].max() == limits[a]:
                    asked[a, segments.opened(a) > c] = -1
                if asked[a].max() == limits[a]:
                    raise Refused(f"layers {a} to {b} take less than {self.claims[a, b]} ps")

    def at_best(self, key: tuple[int, ...], values: Ints) -> Ints:
        """(.., C) the least over all phases of values (.., phases, C+1), remembered."""
        if key not in self.best:
            self.best[key] = (values[..., 1:] + self.outside).min(axis=-2)
        return self.best[key]

    def moved(self, u: int, origins: Ints, r: Ints, phase: Ints | None) -> Ints:
        """(2, 2, n, K) what moves to layer u in n clusters, by `origin`."""
        t, found = self.t, np.empty((2, 2, len(origins), r.shape[1]), dtype=np.int64)
        counts = t.arriving[u, origins]
        for count in set(counts.tolist()):
            rows = np.flatnonzero(counts == count)
            values = t.within_ps(u - 1, int(origins[rows[0]]))
            if phase is None:
                found[:, :, rows] = self.at_best((u, count), values)[:, :, None]
            else:
                found[:, :, rows] = values[:, :, phase[rows], r[rows]]
        return found

    def inner(
        self, firsts: Ints, lasts: Ints, origins: Ints, b: int, r: Ints, phase: Ints | None
    ) -> Ints:
        """(2, 2, n, K) least times of n clusters but for the end of the last layer.

        By first and last partition, in a segment up to b, on regions of sizes r, (n or 1, K), from
        positions of these phases; with None at the best place for every transfer, r being 1..C.
        """
        t, several, at = self.t, firsts < lasts, r - 1
        free = t.buffer * r - (self.stored[lasts + 1] - self.stored[firsts])[:, None]
        room, times = np.maximum(free, 0), np.full((2, 2, *free.shape), NEVER)
        times[0, 0] = times[1, 1] = 0
        for u in range(int(firsts.min()), int(lasts.max()) + 1):
            with_u = np.flatnonzero((firsts <= u) & (u <= lasts))
            sizes, places = (r, None) if phase is None else (r[with_u], phase[with_u])
            now, on = times[:, :, with_u], sizes - 1
            begun = firsts[with_u] < u
            if begun.any():
                moved = self.moved(u, origins[with_u], sizes, places) + t.write[u - 1, b]
                step = np.maximum(t.compute[u - 1][:, None, on], moved)
                after = np.minimum(now[:, 0, None] + step[0], now[:, 1, None] + step[1])
                now = np.where(begun[:, None], after, now)
            # Alone in its cluster, a layer gathers its weights only once.
            gather = self.gathers[u]
            own = self.at_best((u,), gather) if places is None else gather[places, sizes]
            now[:, 1] += own * several[with_u, None]
            now[:, 1] = np.where(t.weights[u] * on <= room[with_u], now[:, 1], NEVER)
            times[:, :, with_u] = now
        count = np.append(0, (t.weights > 0).cumsum())
        again = (count[lasts + 1] - count[firsts])[:, None] * t.latency
        again = again - (np.minimum(free, 0) * t.refetch[at] // 1000)
        times += np.where(free < 0, again if t.stream else NEVER, 0)
        return np.minimum(times, NEVER, out=times)

    def everywhere(self, first: int, last: int, a: int, b: int) -> Ints:
        """(2, 2, phases, C) `inner` of one cluster of the segment ``a..b``, remembered."""
        t = self.t
        arriving, written = t.arriving[first + 1 : last + 1, a], t.write[first:last, b]
        key = first, last, arriving.tobytes(), written.tobytes()
        if key not in self.kept:
            if len(self.kept) * t.mesh.phases * t.chiplets > MOST_KEPT:
                self.kept.clear()
            phases = np.arange(t.mesh.phases)[:, None]
            sizes = np.broadcast_to(self.sizes, (t.mesh.phases, t.chiplets))
            firsts, lasts, origins = (np.full(len(phases), layer) for layer in (first, last, a))
            self.kept[key] = self.inner(firsts, lasts, origins, b, sizes, phases)
        return self.kept[key]


class PlacedSegments:
    """The segments that end at layer b."""

    def __init__(self, bound: PlacedBound, b: int) -> None:
        self.places, self.b, self.t = bound, b, bound.t
        travel, wanted = self.t.crossings(b)
        # (L, L) bytes behind each layer in segments from each layer on, and time of reads before.
        self.travel = travel[::-1].cumsum(axis=0)[::-1]
        self.wanted = np.minimum(self.travel, wanted[::-1].cumsum(axis=0)[::-1])
        self.reads = np.pad(self.t.read.cumsum(axis=1), ((0, 0), (1, 0)))
        for j in range(b + 1):
            self._renew(j)

    def _renew(self, j: int) -> None:
        """Times of clusters that end with layer j, where they are not those of the last b."""
        bound, t, low = self.places, self.t, int(self.places.low[j])
        written, handed = t.write[low:j, self.b].tobytes(), self.travel[low : j + 1, j].tobytes()
        handed += t.write[j, self.b].tobytes()
        begin, end = bound.own[low], np.searchsorted(bound.first, j, side="right")
        if bound.written[j] != written or not bound.ending[j].size:
            firsts = bound.first[begin:end]
            clusters = firsts, np.full_like(firsts, j), bound.origin[begin:end]
            bound.ending[j] = bound.inner(*clusters, self.b, bound.sizes[None], None).min(axis=0)
        elif bound.handed[j] == handed:
            return
        bound.written[j], bound.handed[j] = written, handed
        own = bound.ending[j][:, bound.own[low : j + 1] - begin]
        times = self._ended(j, own, self.travel[low : j + 1, j])
        # Made ascending over all first layers, for one search.
        rows = np.arange(len(times))[:, None] * (bound.top + 2)
        bound.keys[j] = (np.minimum(times[:, ::-1], bound.top + 1) + rows).ravel()

    def _ended(self, j: int, inner: Ints, travel: Ints) -> Ints:
        """(n, C) least times on at most r chiplets with what layer j hands on, at best."""
        hand = np.ceil(np.multiply.outer(travel, self.places.scattered)).astype(np.int64)
        ends = np.maximum(self.t.compute[j][:, None], hand + self.t.write[j, self.b])
        return np.minimum.accumulate((inner + ends).min(axis=0), axis=1)

    def uncoupled(self, asked: Ints) -> Ints:
        """(b + 1, N) fewest chiplets at the largest limit of each first layer, uncoupled."""
        bound, b, c, limits = self.places, self.b, self.t.chiplets, asked.max(axis=1)
        firsts, most = np.flatnonzero(limits >= 0), int(np.flatnonzero(asked.max(axis=0) >= 0)[-1])
        most += 1
        fewest = np.full((b + 2, len(firsts), most + 1), NONE, dtype=np.int16)
        fewest[firsts, np.arange(len(firsts)), 0] = 0
        for j in range(firsts[0], b + 1):
            low, n = max(bound.low[j], firsts[0]), np.searchsorted(firsts, j, side="right")
            here = firsts[:n]
            left = limits[here] - self.reads[here, j + 1] + self.reads[here, low : j + 1].T
            rows = np.arange(low, j + 1)[:, None] - bound.low[j]
            keys = np.maximum(left, -1) + rows * (bound.top + 2)
            within = np.searchsorted(bound.keys[j], keys, side="right") - rows * c
            sizes = np.where(within > 0, c + 1 - within, NONE).astype(np.int16)
            total = sizes[..., None] + fewest[low : j + 1, :n, :-1]
            np.minimum(total.min(axis=0), NONE, out=fewest[j + 1, :n, 1:])
        found = np.full(asked.shape, NONE)
        found[firsts, :most] = fewest[b + 1, :, 1:]
        return found

    def coupled(self, a: int, asked: Ints) -> Ints:
        """(N,) fewest chiplets of ``a..b`` at the largest limit, places left out."""
        bound, n, c = self.places, self.b + 1 - a, self.t.chiplets
        self.limit, most = int(asked.max()), int(np.flatnonzero(asked >= 0)[-1]) + 1
        # Of the starts of each layer the last one that has the segment's first layer before it.
        kept = np.flatnonzero(bound.origin >= a)
        picked = kept[np.diff(bound.first[kept], append=-1) != 0]
        self.needs = np.full((n, n + 1), NONE)
        fewest = np.full((n + 1, most + 1), NONE)
        fewest[0, 0] = 0
        for j in range(a, self.b + 1):
            low = max(int(bound.low[j]), a)
            inner = bound.ending[j][:, picked[low - a : j + 1 - a] - bound.own[bound.low[j]]]
            times = self._ended(j, inner, self.travel[a, j : j + 1])
            left = self.limit - self.reads[a, j + 1] + self.reads[a, low : j + 1]
            sizes = (times > left[:, None]).sum(axis=1) + 1
            here = np.s_[low - a : j + 1 - a]
            self.needs[here, j + 1 - a] = np.where(sizes > c, NONE, sizes)
            total = self.needs[here, j + 1 - a, None] + fewest[here, :-1]
            np.minimum(total.min(axis=0), NONE, out=fewest[j + 1 - a, 1:])
        self.before = fewest.min(axis=1)
        return np.append(fewest[n, 1:], np.full(len(asked) - most, NONE))

    def opened(self, a: int) -> Ints:
        """(N,) fewest chiplets of the segment ``a..b``, or fewer; `NONE` where it is impossible.

        Labels G(i, s, r, p): fewest clusters for layers ``i..b``, the first on the r positions
        from s, with partition p on layer i. After `coupled`.
        """
        c, n = self.t.chiplets, self.b + 1 - a
        behind = np.append(np.full(n, NONE), 0)
        for i in range(n - 1, -1, -1):
            behind[i] = min(NONE, (self.needs[i, i + 1 :] + behind[i + 1 :]).min())
        self.labels, self.widest = np.full((n + 1, c + 1, c + 1, 2), NONE, dtype=np.int16), 0
        self.begins = np.zeros((self.b + 2, c + 1), dtype=bool)  # which layer, where
        self.begins[-1] = True
        # Clusters and where their regions can begin, from the last layer on.
        x, y = np.nonzero(self.before[:-1, None] + self.needs + behind <= c)
        x, y = x[::-1], y[::-1]
        k, s = ranges(self.before[x], np.where(x > 0, c - behind[x], 0))
        step = max(1, MOST_CELLS // c)
        for part in (np.s_[at : at + step] for at in range(0, len(s), step)):
            self._place(a, x[k[part]], y[k[part]], s[part], behind)
        fewest = int(self.labels[0, 0].min())
        return np.where(self.places.counts < fewest, NONE, 1)

    def _place(self, a: int, x: Ints, y: Ints, s: Ints, behind: Ints) -> None:
        """Labels of clusters ``a+x..a+y-1`` on all regions from s."""
        t, b, c = self.t, self.b, self.t.chiplets
        k, r = ranges(np.maximum(self.needs[x, y], self.before[y] - s), c - behind[y] - s)
        x, s, firsts, lasts = x[k], s[k], a + x[k], a + y[k] - 1
        if not len(k):
            return
        left = np.empty((2, 2, len(k)), dtype=np.int64)
        ends = np.flatnonzero((np.diff(firsts, append=-1) != 0) | (np.diff(lasts, append=-1) != 0))
        for at, end in zip([0, *(ends[:-1] + 1)], ends + 1, strict=True):  # cluster by cluster
            times = self.places.everywhere(int(firsts[at]), int(lasts[at]), a, b)
            left[..., at:end] = self.limit - times[:, :, t.mesh.phase[s[at:end]], r[at:end] - 1]
        left -= self.reads[a, lasts + 1] - self.reads[a, firsts]
        left = np.where(left >= t.compute[lasts, :, r - 1].T, left, -1).max(axis=1)
        left -= t.write[lasts, b]
        hand = np.where(lasts < b, self.travel[a, lasts] * self.places.scattered[r - 1], 0)
        left = np.where(left >= np.ceil(hand), left, -1)
        for layer in range(int(x[0]), int(x[-1]) - 1, -1):
            # Only where the next cluster can begin; sorted, as few sizes are left at the end.
            here = np.flatnonzero((x == layer) & (left >= 0).any(axis=0))
            here = here[self.begins[lasts[here] + 1, s[here] + r[here]]]
            here = here[np.argsort(s[here] + r[here], kind="stable")]
            step = MOST_TRIPLES // max(1, self.widest)
            for k in (here[at : at + step] for at in range(0, len(here), step)):
                ways = self._ways_on(a, lasts[k], s[k], r[k], left[:, k])
                for p in range(2):
                    np.minimum.at(self.labels[layer, :, :, p], (s[k], r[k]), ways[p])
                reached = k[ways.min(axis=0) < NONE]
                self.begins[layer + a, s[reached]] = True
                self.widest = max(self.widest, int(r[reached].max(initial=0)))

    def _ways_on(self, a: int, j: Ints, s: Ints, r: Ints, left: Ints) -> Ints:
        """(2, n) fewest clusters, that which ends with layer j included, with the time left."""
        t, mesh, to = self.t, self.t.mesh, s + r
        following = np.arange(1, min(self.widest, t.chiplets - int(to.min())) + 1)
        behind = self.labels[j + 1 - a, to][:, following]
        per_byte = t.ps_per_byte * FACTOR / following
        load = mesh.scatter[mesh.phase[s], r][:, following] * per_byte
        load *= (self.travel[a, j] / r)[:, None]
        gather = mesh.gather[mesh.phase[to]][:, following] * per_byte
        gather *= self.wanted[a, j][:, None]
        found = np.full(left.shape, NONE, dtype=np.int16)
        for then, moved in ((0, load + gather), (1, load)):
            for p in range(2):
                reached = np.where(moved <= left[p, :, None], behind[..., then], NONE)
                np.minimum(found[p], reached.min(axis=1, initial=NONE), out=found[p])
        return np.where((j == self.b) & (left >= 0), 1, np.minimum(found + 1, NONE))


kinds: tuple[type[Tables], type[Bound]] = PlacedTables, PlacedBound
