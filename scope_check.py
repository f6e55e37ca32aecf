"""Checks a certificate: that a schedule takes what it claims, and that none is faster than claimed.

    scope-check INSTANCE SCHEDULE PROOF

Believes nothing that a solver says; imports the standard library, NumPy and, for placed instances,
`scope_check_placed`. Mathematics: docs/certificates.md. Exits: 0 accepted, 1 refused, 2 bad input.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import sys
import zlib
from typing import Any

import numpy as np

Json = dict[str, Any]
Ints = np.ndarray[Any, np.dtype[np.int64]]
Small = np.ndarray[Any, np.dtype[np.int16]]
Cluster = tuple[int, int, int, list[int]]  # first layer, last layer, chiplets, partitions

FORMATS = ("scope-instance/1", "scope-schedule/1", "scope-certificate/1")
KNOWN = {"format", "name", "description", "samples", "overflow", "network", "package", "tables"}
PARTITIONS = ("ISP", "WSP")
MOST_BYTES, MOST_LABELS = 2**27, 2**30  # what a file may unpack to, and labels of one last layer
TOP = 2**58  # totals of times stay below it, so that int64 holds all sums
NEVER = 2**60  # stands for a time that no cluster can have
NONE = 15000  # stands for more chiplets than there are; twice that fits int16


class Unusable(Exception):
    """Input that is not what it should be."""


class Refused(Exception):
    """A claim that is wrong, or that could not be verified."""


def read(path: str) -> Json:
    """A JSON object from a file, packed with gzip or not."""
    try:
        with open(path, "rb") as file:
            packed = file.peek(2)[:2] == b"\x1f\x8b"
            data = (gzip.GzipFile(fileobj=file) if packed else file).read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES} bytes")
        found = json.loads(data)
    except (OSError, EOFError, zlib.error, ValueError, RecursionError) as error:
        raise Unusable(f"{path}: cannot be read as JSON: {str(error)[:200]}") from None
    if not isinstance(found, dict):
        raise Unusable(f"{path}: needs a JSON object")
    return found


def get(document: Any, key: str, kind: type, where: str, default: Any = None) -> Any:
    """A value of an object, of the type that it should have; integers from 0, below 2^58."""
    value: Any = document.get(key, default) if isinstance(document, dict) else None
    if type(value) is not kind or (kind is int and value not in range(TOP)):
        raise Unusable(f"{where}.{key}: needs {kind.__name__}; found {repr(value)[:60]}")
    return value


def numbers(value: Any, count: int, where: str) -> Ints:
    """A list of so many integers as an array."""
    right = isinstance(value, list) and len(value) == count
    if not right or not all(type(n) is int and 0 <= n < TOP for n in value):
        raise Unusable(f"{where}: needs a list of {count} integers from 0, below 2^58")
    return np.array(value, dtype=np.int64)


class Tables:
    """All times of an instance in ps; partitions are ISP 0 and WSP 1, sizes 1 to C."""

    uncertified: tuple[str, ...] = ("that the instance's network and package have these tables",)

    def __init__(self, d: Json, instance: Json, where: str) -> None:
        self.samples = m = get(instance, "samples", int, "instance", 64)
        self.stream = get(instance, "overflow", str, "instance", "forbid") == "stream"
        self.chiplets = c = get(d, "chiplets", int, where)
        self.buffer = get(d, "weight_buffer_bytes", int, where)
        layers = get(d, "layers", list, where)
        for index, layer in enumerate(layers):  # a number stands for an equal layer before it
            if type(layer) is int and 0 <= layer < index:
                layers[index] = layers[layer]
        self.layers = n = len(layers)
        if not (1 <= c <= 4096 and n and m) or 2 * n * c * min(n, c) > MOST_LABELS:
            raise Unusable(f"{where}: {n} layers, {c} chiplets, {m} samples: none, or too many")

        def times(value: Any, depth: int, at: str) -> Ints:
            if value is None:
                return np.zeros((2,) * depth + (c,), dtype=np.int64)
            if depth == 0:
                return numbers(value, c, at)
            kind = dict if depth > 1 else list
            return np.array([times(get(value, p, kind, at), depth - 1, at) for p in PARTITIONS])

        def of_layers(key: str, depth: int) -> Ints:
            return np.array([times(layer.get(key), depth, f"{where}.{key}") for layer in layers])

        def single(key: str, default: int | None) -> Ints:
            return np.array([get(layer, key, int, where, default) for layer in layers], np.int64)

        self.weights = single("weight_bytes", None)
        self.input, self.output = single("input_ps", 0), single("output_ps", 0)
        self.compute, self.gather = of_layers("compute_ps", 1), of_layers("gather_ps", 0)
        self.within, self.send = of_layers("within_ps", 2), of_layers("send_ps", 0)
        self.receive, self.within[-1] = of_layers("receive_ps", 1), 0  # the last has no next one
        # DRAM times by first layer of a segment and reader, and by writer and last layer.
        self.read, self.write = np.diag(self.input), np.diag(self.output)
        given, at = get(d, "edges", list, where, []), f"{where}.edges"
        keyed = list[tuple[int, ...]]()  # for each reader of a tensor, with what comes before it
        alike = [({**layer, "name": ""}, list[Any]()) for layer in layers]  # with edges to them
        for k, edge in enumerate(given):
            u, write, read = (get(edge, key, int, at) for key in ("from", "write_ps", "read_ps"))
            readers = edge["to"] if isinstance(edge.get("to"), list) else [edge.get("to")]
            for after, v in zip([u, *readers], readers, strict=False):
                if type(v) is not int or not after < v < n:
                    raise Unusable(f"{at}: an edge runs from a layer to later ones, in order")
                keyed.append((u, v, write, read, after, k))
                alike[v][1].append((v - u, v - after, edge.get("send_ps"), edge.get("receive_ps")))
                self.read[after + 1 : v + 1, v] += read
                self.write[u, after:v] += write
        self.edges = np.array(sorted(keyed), dtype=np.int64).reshape(-1, 6)
        self.source, self.to, _, _, self.after, order = self.edges.T
        both = [[times(e.get(key), 0, at) for key in ("send_ps", "receive_ps")] for e in given]
        self.skip, self.take = np.array(both, np.int64).reshape(-1, 2, c)[order].transpose(1, 0, 2)
        self.kind = np.array([alike.index(layer) for layer in alike])  # equal for equal layers
        self.taken = np.bincount(self.to, self.take.any(axis=1), n) > 0
        self.sdram = self.square(d, "segment_dram_ps", where)
        self.load = self.square(d, "load_ps", where)
        self.latency = get(d, "dram_latency_ps", int, where, 0) * self.stream
        self.refetch = times(d.get("stream_fs_per_byte"), 0, where) * self.stream
        self._refuse_large(where)

    def square(self, d: Json, key: str, where: str) -> Ints:
        """(L, L) a table by first and last layer; 0 where it is absent."""
        n, rows = self.layers, d.get(key) or [[0] * self.layers] * self.layers
        if not isinstance(rows, list) or len(rows) != n:
            raise Unusable(f"{where}.{key}: needs {n} rows")
        return np.triu(np.array([numbers(row, n, f"{where}.{key}") for row in rows], np.int64))

    def _refuse_large(self, where: str) -> None:
        """No sum may overflow; Python's integers say whether one could."""
        parts = (self.compute, self.gather, self.within, self.send, self.receive, self.output)
        layer = sum(int(part.max()) for part in parts) + int(self.input.max())
        moved = self.edges[:, 2], self.edges[:, 3], self.skip.max(axis=1), self.take.max(axis=1)
        layer += sum(sum(times.tolist()) for times in moved)
        weights = sum(map(int, self.weights))
        again = weights * int(self.refetch.max())
        longest = (layer + self.latency) * self.layers + again // 1000 + 1
        self.worst = longest + int(self.sdram.max())  # no beat is larger
        total = self.worst * (self.samples + self.layers) + int(self.load.max())
        if max(total * self.layers, (weights + self.buffer) * self.chiplets, again) >= TOP:
            raise Unusable(f"{where}: times or weights are too large for 64-bit integers")

    def gathered(self, layer: int, clusters: list[Cluster], number: int) -> int:
        """Time in which a WSP layer of that cluster gathers its weights."""
        return int(self.gather[layer, clusters[number][2] - 1])

    def sent(self, a: int, b: int, clusters: list[Cluster], number: int, layer: int) -> int:
        """Time in which a layer of that cluster hands on, or writes, what it made."""
        i, j, size, partition = clusters[number]
        leaving = (self.source == layer) & (self.after <= j) & (j < self.to) & (self.to <= b)
        sent = int(self.write[layer, b] + self.skip[leaving, size - 1].sum())
        if layer < j:
            sent += int(self.within[(layer, *partition[layer - i : layer - i + 2], size - 1)])
        elif layer < b:
            _, _, following, others = clusters[number + 1]
            sent += int(self.send[layer, size - 1] + self.receive[layer, others[0], following - 1])
        return sent

    def entering(self, u: int, i: int | Ints) -> Ints:
        """(.., C) what layer u takes in along edges, in a cluster from layer i on."""
        edges = np.flatnonzero((self.to == u) & self.take.any(axis=1))
        return np.asarray((self.after[edges] < np.array(i)[..., None]) @ self.take[edges])

    def link_beat(self, a: int, b: int, clusters: list[Cluster]) -> int:
        """Least beat in which links carry what clusters share; here they have no places."""
        return 0

    def digest(self, *more: Ints) -> str:
        """SHA-256 of what the tables say, however they are written."""
        parts = [np.array([self.samples, self.stream, self.buffer, self.latency]), self.weights]
        parts += [self.compute, self.gather, self.within, self.send, self.receive, self.input]
        parts += [self.output, self.edges[:, :4], self.skip, self.sdram, self.load, self.refetch]
        if (self.after != self.source).any() or self.take.any():
            parts += [self.after, self.take]
        found = hashlib.sha256()
        for part in [*parts, *more]:
            found.update(np.array([part.ndim, *part.shape], dtype="<i8").tobytes())
            found.update(np.ascontiguousarray(part, dtype="<i8").tobytes())
        return found.hexdigest()


def schedule_value(t: Tables, schedule: Json) -> int:
    """Latency of a schedule in ps, by the rules of the model; refuses one that breaks a rule."""
    total = after = 0
    for index, segment in enumerate(get(schedule, "segments", list, "schedule")):
        where, clusters, first = f"schedule.segments.{index}", list[Cluster](), after
        for cluster in get(segment, "clusters", list, where):
            i, j = get(cluster, "first_layer", int, where), get(cluster, "last_layer", int, where)
            size = get(cluster, "chiplets", int, where)
            names = get(cluster, "partitions", list, where)
            if i != after or not i <= j < t.layers or size < 1:
                raise Refused(f"{where}: layers {i} to {j} on {size} chiplets are no next cluster")
            if len(names) != j - i + 1 or not all(name in PARTITIONS for name in names):
                raise Refused(f"{where}: layers {i} to {j} need one of {PARTITIONS} each")
            clusters.append((i, j, size, [int(name == "WSP") for name in names]))
            after = j + 1
        if not clusters or sum(size for _, _, size, _ in clusters) > t.chiplets:
            raise Refused(f"{where}: no clusters, or more chiplets than {t.chiplets}")
        total += segment_value(t, first, after - 1, clusters, where)
    if after != t.layers:
        raise Refused(f"schedule: ends before layer {after} of {t.layers}")
    return total


def segment_value(t: Tables, a: int, b: int, clusters: list[Cluster], where: str) -> int:
    """Latency of the segment ``a..b``."""
    beat = max(int(t.sdram[a, b]), t.link_beat(a, b, clusters))
    for number, (i, j, size, partition) in enumerate(clusters):
        room, r = t.buffer * size - int(t.weights[i : j + 1].sum()), size - 1
        exempt = a == b and size == t.chiplets  # its weights pass through in tiles
        again = room < 0 and not exempt
        if again and not t.stream:
            raise Refused(f"{where}: weights of layers {i} to {j} do not fit {size} chiplets")
        stored = int((t.weights[i : j + 1] > 0).sum())
        time = again * (stored * t.latency + (-room * int(t.refetch[r]) + 999) // 1000)
        for layer, own in zip(range(i, j + 1), partition, strict=True):
            if own and int(t.weights[layer]) * r > max(0, room):
                raise Refused(f"{where}: the WSP copy of layer {layer} does not fit")
            time += t.gathered(layer, clusters, number) if own and i < j else 0
            time += int(t.read[a, layer] + t.entering(layer, i)[r])
            time += max(int(t.compute[layer, own, r]), t.sent(a, b, clusters, number, layer))
        beat = max(beat, time)
    return int(t.load[a, b] + (t.samples + len(clusters) - 1) * beat)


def fewest(sizes: Small, most: int) -> Small:
    """(n + 1, K + 1) fewest chiplets from each place to the last in 0..K clusters x to y."""
    found = np.full((len(sizes), most + 1), NONE, dtype=np.int16)
    found[-1, 0] = 0
    for x in range(len(sizes) - 2, -1, -1):
        found[x, 1:] = np.minimum((sizes[x, x + 1 :, None] + found[x + 1 :, :-1]).min(axis=0), NONE)
    return found


class Bound:
    """Verifies that every segment ``a..b`` takes at least ``claims[a, b]``."""

    def __init__(self, t: Tables, claims: Ints) -> None:
        self.t, self.claims, self.closed = t, claims, dict[tuple[bytes, ...], Ints]()
        n, c, self.counts = t.layers, t.chiplets, np.arange(1, min(t.layers, t.chiplets) + 1)
        # (L, L) least beats of pipelines: chiplets are busy with all layers, and weights must fit.
        busy = (t.compute.min(axis=1) // c * np.arange(1, c + 1)).min(axis=1)
        shared, self.stored = (np.append(0, part.cumsum()) for part in (busy, t.weights))
        self.floor = np.maximum(t.sdram, shared[1:] - shared[:-1, None])
        over = self.stored[1:] - (self.stored[-1] if t.stream else t.buffer * c)
        self.floor[self.stored[:-1, None] < over] = NEVER
        limits = [np.append(self.asked(b).max(axis=1), np.full(n - 1 - b, -1)) for b in range(n)]
        self.top = int(np.max(limits))
        # (L, L) whether a cluster is within a limit of a segment: with what its layers move in it.
        around = np.maximum.accumulate(np.maximum.accumulate(limits, axis=1)[::-1])[::-1].T
        step = np.maximum(t.compute, t.within.min(axis=2))
        step = np.minimum(step[:, 0], step[:, 1] + t.gather)
        spent = np.concatenate([np.zeros((1, c), np.int64), step[:-1].cumsum(axis=0)])
        within = [(spent - spent[i]).min(axis=1) <= around[i] for i in range(n)]
        possible = np.triu(within) | np.eye(n, dtype=bool)
        # Of the longest cluster that ends with each layer, the first one.
        low = possible.argmax(axis=0), np.searchsorted(self.stored, over)
        self.low = np.minimum(np.arange(n), np.maximum(*low))
        self._prepare()

    def _prepare(self) -> None:
        # Clusters in rows, by last layer; what they take, and pass on, on at most so many chiplets.
        t, n = self.t, self.t.layers
        clusters = np.tri(n, dtype=bool) & (self.low[:, None] <= np.arange(n))
        self.row = np.append(0, clusters.sum(axis=1).cumsum())
        self.last, self.first = np.nonzero(clusters)
        self.times = np.zeros((len(self.last), 2, 2, t.chiplets), dtype=np.int64)
        self.whole, self.sends = np.zeros((2, len(self.last), t.chiplets), dtype=np.int64)
        self.closing, self.leaving = np.zeros((n, t.chiplets), dtype=np.int64), [b""] * n
        self.reads = np.pad(t.read.cumsum(axis=1), ((0, 0), (1, 0)))  # of all layers before each

    def renew(self, j: int, b: int) -> None:
        """Times of the clusters that end with layer j, where they are not those of the last b."""
        t, low, rows = self.t, int(self.low[j]), slice(self.row[j], self.row[j + 1])
        moved = (t.after <= j) & (j < t.to) & (t.to <= b) & (low <= t.source)
        leaving = moved.tobytes() + t.write[low : j + 1, b].tobytes() + bytes([j < b])
        if self.leaving[j] != leaving:
            sent = np.repeat(t.write[low : j + 1, b, None], t.chiplets, axis=1)
            np.add.at(sent, t.source[moved] - low, t.skip[moved])
            self.leaving[j], self.closing[j] = leaving, sent[-1] + t.send[j] * (j < b)
            times = self.times[rows] = self.ending_at(j, sent)
            # Ascending over all rows, for one search.
            offset = np.arange(rows.start, rows.stop)[:, None] * (self.top + 2)
            ends = np.maximum(t.compute[j], self.closing[j])
            for keys, end in (self.whole, ends), (self.sends, self.closing[j]):
                least = np.minimum.accumulate((times.min(axis=1) + end).min(axis=1), axis=1)
                keys[rows] = np.minimum(least[:, ::-1], self.top + 1) + offset

    def ending_at(self, j: int, sent: Ints) -> Ints:
        """(I, 2, 2, C) of clusters ``i..j``, i from low[j] on, without the end of j."""
        t, r, low = self.t, np.arange(1, self.t.chiplets + 1), int(self.low[j])
        free = t.buffer * r - t.weights[low : j + 1][::-1].cumsum()[::-1, None]
        times = np.full((j + 1 - low, 2, 2, t.chiplets), NEVER)
        for n, u in enumerate(range(low, j + 1)):
            if n > 0:
                step = np.maximum(t.compute[u - 1][:, None], t.within[u - 1] + sent[n - 1])
                times[:n] = (times[:n, :, :, None] + step).min(axis=2)
            times[n, 0, 0] = times[n, 1, 1] = 0
            # Alone in its cluster, a layer gathers its weights only once.
            times[: n + (u < j), :, 1] += t.gather[u]
            if t.taken[u]:
                times[: n + 1] += t.entering(u, np.arange(low, u + 1))[:, None, None]
            copied = t.weights[u] * (r - 1) > np.maximum(free[: n + 1], 0)
            np.copyto(times[: n + 1, :, 1], NEVER, where=copied[:, None])
        count = (t.weights[low : j + 1] > 0)[::-1].cumsum()[::-1]
        again = -(np.minimum(free, 0) * t.refetch // 1000) + count[:, None] * t.latency
        times += np.where(free < 0, again if t.stream else NEVER, 0)[:, None, None]
        return np.minimum(times, NEVER, out=times)

    def asked(self, b: int) -> Ints:
        """(b + 1, N) T(a, b, N): beats that must be impossible; -1 where that is plain."""
        t, last = self.t, np.s_[: b + 1, b]
        spare = self.claims[last] - 1 - t.load[last]
        beats = np.minimum(spare[:, None] // (t.samples + self.counts - 1), t.worst)
        layers = np.arange(b + 1, 0, -1)[:, None]
        return np.where((self.counts <= layers) & (beats >= self.floor[last][:, None]), beats, -1)

    def remaining(self, b: int) -> Ints:
        """(b + 1, N) `asked`, but for beats that were impossible for equal layers before."""
        asked, t = self.asked(b), self.t
        for a in np.flatnonzero(asked.max(axis=1) >= 0).tolist():
            here = t.kind[a : b + 1], t.read[a, a : b + 1], t.write[a : b + 1, b]
            closed = self.closed.setdefault(tuple(map(bytes, here)), np.full_like(asked[a], -1))
            asked[a, asked[a] <= closed] = -1
            np.maximum(closed, asked[a], out=closed)
        return asked

    def verify(self, b: int) -> None:
        """All segments that end at layer b."""
        asked, c, self.b = self.remaining(b), self.t.chiplets, b
        self._verify_whole_package(b)
        for j in range(b + 1 if asked.max() >= 0 else 0):
            self.renew(j, b)
        while (limit := int(asked.max())) >= 0:
            asked[self.uncoupled(limit, asked) > c] = -1
            for a in np.flatnonzero((asked == limit).any(axis=1)).tolist():
                for step in (self.with_reads, self.coupled):
                    if asked[a].max() == limit:
                        asked[a, np.flatnonzero(step(a, asked[a]) > c)] = -1
                if asked[a].max() == limit:
                    raise Refused(f"layers {a} to {b} take less than {self.claims[a, b]} ps")

    def _verify_whole_package(self, b: int) -> None:
        """Layer b alone on all chiplets, where its weights may be of any size."""
        t, room = self.t, self.t.buffer * self.t.chiplets - int(self.t.weights[b])
        for own in range(1 + (int(t.weights[b]) * (t.chiplets - 1) <= max(0, room))):
            if segment_value(t, b, b, [(b, b, t.chiplets, [own])], "") < self.claims[b, b]:
                raise Refused(f"layer {b} alone takes less than the certificate claims")

    def regions(self, a: int, limit: int, reads: Ints) -> Small:
        """(n + 1, n + 1) least regions by first layer and end, if what follows receives fastest."""
        t, b, c = self.t, self.b, self.t.chiplets
        rows = np.flatnonzero(self.first[: self.row[b + 1]] >= a)
        alone = self.times[self.row[a + 2 : b + 2] - 1][:, [0, 1], [0, 1]]
        receive = np.where(alone + t.compute[a + 1 : b + 1] <= limit, t.receive[a:b], NEVER)
        receive, within = np.append(receive.min(axis=(1, 2)), 0), np.int64(c)
        first, last = self.first[rows], self.last[rows]
        left = limit - (reads[last + 1] - reads[first])
        for keys, most in (self.whole, left), (self.sends, left - receive[last - a]):
            sought = np.maximum(most, -1) + rows * (self.top + 2)
            found = keys[: self.row[b + 1]].ravel().searchsorted(sought, side="right")
            within = np.minimum(within, found - rows * c)
        sizes = np.full((b + 2 - a, b + 2 - a), NONE, dtype=np.int16)
        sizes[first - a, last + 1 - a] = np.where(within > 0, c + 1 - within, NONE)
        return sizes

    def uncoupled(self, limit: int, asked: Ints) -> Ints:
        """(b + 1, N) fewest chiplets, reads left out, and whatever follows a cluster."""
        wanted, found = np.nonzero(asked >= 0), np.full(asked.shape, NONE)
        first, most = int(wanted[0].min()), int(wanted[1].max()) + 1
        sizes = self.regions(first, limit, np.zeros_like(self.reads[0]))
        found[first:, :most] = fewest(sizes, most)[:-1, 1:]
        return found

    def with_reads(self, a: int, asked: Ints) -> Small:
        """(K,) fewest chiplets of ``a..b`` in 1..K clusters, whatever follows a cluster."""
        self.limit, self.most = int(asked.max()), int(np.flatnonzero(asked >= 0)[-1]) + 1
        self.needs = self.regions(a, self.limit, self.reads[a])
        self.behind = fewest(self.needs, self.most)
        return self.behind[0, 1:]

    def coupled(self, a: int, asked: Ints) -> Small:
        """The same exactly, of the clusters that `with_reads` leaves; labels F(i, r, p, k)."""
        t, n, c, most = self.t, self.b + 1 - a, self.t.chiplets, self.most
        before = fewest(self.needs[::-1, ::-1].T, most)[::-1].min(axis=1)
        room = c - before[:, None] - self.behind.min(axis=1)  # what is left beside the others
        (y, x), r = np.nonzero((self.needs <= room).T), np.arange(1, c + 1, dtype=np.int16)
        k, at = np.nonzero((self.needs[x, y, None] <= r) & (r <= room[x, y, None]))
        x, y, r, j = x[k], y[k], r[at, None], a + y[k] - 1
        left = (self.limit - self.reads[a, j + 1] + self.reads[a, a + x])[:, None, None]
        left = left - self.times[self.row[j] + a + x - self.low[j], :, :, at]
        closing = self.closing[j, at][:, None, None]
        needed = np.maximum(t.compute[j, :, at][:, None], closing)
        slack = np.where(left >= needed, left - closing, -1).max(axis=2)
        labels = np.full((n + 1, c, 2, most), NONE, dtype=np.int16)
        ends, last = np.searchsorted(y, np.arange(n + 2)).tolist(), y == n
        labels[x[last], at[last], :, 0] = np.where(slack[last] >= 0, r[last], NONE)
        for end in range(n - 1, 0, -1):
            here = slice(ends[end], ends[end + 1])
            ways, receive = labels[end].reshape(-1, most), t.receive[a + end - 1].T.ravel()
            order = np.flatnonzero(ways.min(axis=1) < NONE)
            order = order[receive[order].argsort()]
            behind = np.full((len(order) + 1, most - 1), NONE, dtype=np.int16)
            np.minimum.accumulate(ways[order, :-1], axis=0, out=behind[1:])
            total = behind[receive[order].searchsorted(slack[here], side="right")] + r[here, None]
            labels[x[here], at[here], :, 1:] = np.minimum(labels[x[here], at[here], :, 1:], total)
        return np.asarray(labels[0].min(axis=(0, 1)))


def check(instance: Json, schedule: Json, proof: Json) -> list[str]:
    """What was verified, one line each; raises `Refused` or `Unusable`."""
    text = json.dumps(instance, sort_keys=True, separators=(",", ":"))
    digest, name = hashlib.sha256(text.encode()).hexdigest(), get(instance, "name", str, "instance")
    for document, form in zip((instance, schedule, proof), FORMATS, strict=True):
        if document.get("format") != form:
            raise Unusable(f"format: needs {form}; found {repr(document.get('format'))[:60]}")
    if set(instance) - KNOWN - ({"constraints"} if instance.get("constraints") == {} else set()):
        raise Unusable("instance: side constraints and unknown keys are not checked here")
    whose = "instance" if "tables" in instance else "proof"
    package = get(instance, "package", dict, "instance") if whose == "proof" else {"nop": {}}
    model = get(get(package, "nop", dict, "package"), "model", str, "package.nop", "regressed")
    if model not in ("regressed", "placed") or package.get("activation_buffer_bytes") is not None:
        raise Unusable("instance: activation buffers and other models are not checked here")
    kinds: tuple[type[Tables], type[Bound]] = Tables, Bound
    if model == "placed":
        sys.modules.setdefault("scope_check", sys.modules[__name__])  # one of each class
        from scope_check_placed import kinds
    for what, document in (("schedule", schedule), ("proof", proof)):
        if get(get(document, "instance", dict, what), "digest", str, what) != digest:
            raise Refused(f"{what}: is for another instance than {name}, {digest}")
    tables = get(instance if whose == "instance" else proof, "tables", dict, whose)
    t = kinds[0](tables, instance, f"{whose}.tables")
    if proof.get("tables_sha256") != t.digest():
        raise Refused(f"proof.tables_sha256: the tables have {t.digest()}")
    value, bound = schedule_value(t, schedule), get(proof, "bound_ps", int, "proof")
    if get(proof, "objective_ps", int, "proof") != value:
        raise Refused(f"proof.objective_ps: the schedule takes {value} ps")
    prefix = numbers(proof.get("prefix_bounds_ps"), t.layers + 1, "proof.prefix_bounds_ps")
    if prefix[0] != 0 or prefix[-1] != bound:
        raise Refused("proof.prefix_bounds_ps: must run from 0 to bound_ps")
    claims, gap = prefix[1:] - prefix[:-1, None], f"{(value - bound) / max(1, value):.4%}"
    cuts = [segment["clusters"][0]["first_layer"] for segment in schedule["segments"]]
    among, ends = "", [cut - 1 for cut in [*cuts[1:], t.layers]]
    if proof.get("first_layers") is not None:  # nothing is claimed of other segments
        claims, kept = np.zeros_like(claims), claims[cuts, ends]
        claims[cuts, ends], among = kept, f" with segments from layers {cuts}"
        if proof["first_layers"] != cuts:
            raise Refused(f"proof.first_layers: the schedule's segments begin at {cuts}")
    verifier = kinds[1](t, claims)
    for b in range(t.layers):
        verifier.verify(b)
    return [
        f"accepted {name}",
        f"value    {value} ps, what the schedule takes",
        f"bound    {bound} ps, no schedule{among} takes less",
        f"gap      {'0: the schedule is optimal' if value == bound else gap}{among}",
        f"tables   {t.digest()}, of the {whose}",
        "level    1: labels computed here",
        *(f"not certified: {what}" for what in t.uncertified if whose == "proof"),
    ]


def main(arguments: list[str] | None = None) -> int:
    """Check the files that the command line names; returns the exit code."""
    parser = argparse.ArgumentParser("scope-check", description=(__doc__ or "").splitlines()[0])
    for name in ("instance", "schedule", "proof"):
        parser.add_argument(name, metavar=name.upper(), help="JSON, packed with gzip or not")
    files = parser.parse_args(arguments)
    try:
        plan = read(files.schedule)
        plan = get(plan, "schedule", dict, "result") if "status" in plan else plan  # a result's
        print("\n".join(check(read(files.instance), plan, read(files.proof))), flush=True)
    except Refused as reason:
        print(f"refused: {reason}")
        return 1
    except (Unusable, ImportError, MemoryError, RecursionError, OSError) as reason:
        print(f"scope-check: {reason or 'not enough memory'}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
