"""The mesh of a placed instance, for `scope_check_placed`: positions, and what shares a link.

Everything is counted in shares, as integers. Imports NumPy and `scope_check` only.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scope_check import Ints, Json, Unusable, get, numbers

Floats = np.ndarray[Any, np.dtype[np.float64]]
Shape = tuple[int, int, int, int]
"""Rows and columns of a layer's output, bytes that cross a row seam and a column seam."""

MOST_COUNTS = 2**28  # of scatters, from every region to every size of the next


def real(document: Any, key: str, where: str, default: float | None = None) -> float:
    """A positive number of an object."""
    value: Any = document.get(key, default) if isinstance(document, dict) else None
    if type(value) not in (int, float) or not 0 < value < 1e30:
        raise Unusable(f"{where}.{key}: needs a positive number; found {repr(value)[:60]}")
    return float(value)


def ranges(low: Ints, high: Ints) -> tuple[Ints, Ints]:
    """All integers from each low to its high one: which range, and the integer."""
    counts = np.maximum(high - low + 1, 0)
    which = np.repeat(np.arange(len(low)), counts)
    return which, np.arange(len(which)) + np.repeat(low - counts.cumsum() + counts, counts)


def positions(package: Json) -> Ints:
    """(C, 2) row and column of each position."""
    where = "instance.package"
    rows, cols = get(package, "mesh_rows", int, where), get(package, "mesh_cols", int, where)
    if not 1 <= rows * cols <= 4096:
        raise Unusable(f"{where}: {rows} x {cols} chiplets: none, or too many")
    order, found = package.get("order", "zigzag"), list[tuple[int, int]]()
    if isinstance(order, list):
        places = np.array([numbers(place, 2, f"{where}.order") for place in order]).reshape(-1, 2)
        known = np.unique(places @ [cols, 1])
        if len(places) != rows * cols or not np.array_equal(known, np.arange(rows * cols)):
            raise Unusable(f"{where}.order: needs every chiplet once")
        return places
    if order == "hilbert":
        grid = np.indices((rows, cols)).transpose(1, 2, 0)
        return hilbert(grid.transpose(1, 0, 2) if cols >= rows else grid)
    word = str(order).removeprefix("blocks-")
    width = int(word) if word.isdecimal() and len(word) < 5 else cols if order == "zigzag" else 0
    if width == 0 or cols % width:
        raise Unusable(f"{where}.order: needs zigzag, hilbert, blocks-W or a list")
    for stripe in range(cols // width):
        for k in range(rows):
            line = range(stripe * width, stripe * width + width)[:: -1 if k % 2 else 1]
            found += [(rows - 1 - k if stripe % 2 else k, x) for x in line]
    return np.array(found)


def hilbert(part: Ints) -> Ints:
    """(a b, 2) chiplets of a part (a, b, 2) in order, from a corner to the other end of side a."""
    a, b, _ = part.shape
    if min(a, b) == 1:
        return part.reshape(-1, 2)
    half, near, turned = a // 2, b // 2, part.transpose(1, 0, 2)
    if 2 * a > 3 * b:
        half += half % 2 if a > 2 else 0
        return np.concatenate([hilbert(part[:half]), hilbert(part[half:])])
    near += near % 2 if b > 2 else 0
    away, back = turned[:near, :half], turned[near - 1 :: -1, : half - 1 : -1]
    return np.concatenate([hilbert(away), hilbert(part[:, near:]), hilbert(back)])


def pair(layer: Json, key: str, where: str) -> tuple[int, int]:
    """Down and across, given by one number or by two."""
    value = layer.get(key, 1)
    down, across = numbers(value if isinstance(value, list) else [value] * 2, 2, where).tolist()
    return down, across


def shape(layer: Json, where: str) -> Shape:
    """What the halos of a layer depend on."""
    keys = ("height", "width")
    rows, cols = (get(layer, f"output_{key}", int, where) for key in keys)
    height, width = (get(layer, f"input_{key}", int, where) for key in keys)
    kernel = [get(layer, f"kernel_{key}", int, where) for key in keys]
    dilation, stride = pair(layer, "dilation", where), pair(layer, "stride", where)
    channels = get(layer, "in_channels", int, where)
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    down, across = (channels * max(0, r - s) for r, s in zip(reach, stride, strict=True))
    if min(rows, cols) < 1:
        raise Unusable(f"{where}: needs outputs")
    return rows, cols, down * width, across * height


def sending(sets: Ints) -> list[Ints]:
    """Most sources behind each link, east, west, south, north, of (n, rows, cols) sets."""
    row, above = sets.cumsum(axis=2), sets.sum(axis=2).cumsum(axis=1)
    return [row.max(1), (row[:, :, -1:] - row).max(1), above, above[:, -1:] - above]


def receiving(sets: Ints) -> list[Ints]:
    """Most targets before each link; with XY routes loads are products with `sending`."""
    column, left = sets.cumsum(axis=1), sets.sum(axis=1).cumsum(axis=1)
    return [left[:, -1:] - left, left, (column[:, -1:] - column).max(2), column.max(2)]


def busiest(sources: list[Ints], targets: list[Ints]) -> Ints:
    """(n,) pairs on the busiest link if all sources send to all targets."""
    loads = [(s * t).max(axis=1) for s, t in zip(sources, targets, strict=True)]
    found: Ints = np.maximum.reduce(loads)
    return found


class Mesh:
    """What transfers load links with, for regions of each size r from each position s.

    Runs whose starts are a whole number of `phases` apart load their links alike: in ZigZag order
    the order goes on from every row as from the first, shifted and mirrored.
    """

    def __init__(self, package: Json, relay: bool) -> None:
        self.at, self.relay = positions(package), relay
        self.chiplets = c = len(self.at)
        rows, cols = (self.at.max(axis=0) + 1).tolist()
        self.phases = cols if package.get("order", "zigzag") == "zigzag" else c
        if self.phases * (c + 1) ** 2 > MOST_COUNTS:
            raise Unusable(f"instance.package: places of {c} chiplets are too many in this order")
        self.phase = np.arange(c + 1) % self.phases
        self._grids = dict[tuple[int, int], list[tuple[int, int]]]()
        upto = np.zeros((c + 1, rows, cols), dtype=np.int32)
        upto[np.arange(c) + 1, self.at[:, 0], self.at[:, 1]] = 1
        upto = upto.cumsum(axis=0, dtype=np.int32)
        # (phases, C+1) and (phases, C+1, C+1); 0 where no such regions fit.
        self.exchange = np.zeros((self.phases, c + 1), dtype=np.int64)
        self.scatter = np.zeros((self.phases, c + 1, c + 1), dtype=np.int32)
        from_phase = []
        for s in range(self.phases):
            runs = upto[s + 1 :] - upto[s]
            from_phase.append(sending(runs))
            self.exchange[s, 1 : c - s + 1] = busiest(from_phase[s], receiving(runs))
        for to in range(1, c):
            targets = receiving(upto[to + 1 :] - upto[to])
            for s in range(min(to, self.phases)):
                sources = [part[to - s - 1] for part in from_phase[s]]
                self.scatter[s, to - s, 1 : c - to + 1] = busiest(sources, targets)
        self.gather = self.exchange
        if relay:
            self.gather = np.zeros_like(self.exchange)
            for r in range(2, c + 1):
                starts = np.arange(min(self.phases, c - r + 1))
                self.gather[: len(starts), r] = self.gathered(starts, r).max(axis=(1, 2, 3))

    def share(self, kind: str, amount: int) -> Floats:
        """(phases, C+1) bytes of a gather or an exchange on the busiest link."""
        sizes = np.maximum(np.arange(self.chiplets + 1), 1)
        counts, shares = self.gather, sizes
        if kind == "exchange":
            counts, shares = self.exchange, sizes * sizes
        found: Floats = (amount * counts) / shares
        return found

    def loads(self, source: Ints, target: Ints, shares: Ints) -> Ints:
        """(.., 4, side, side) what links carry of the shares (m,) between positions (.., m)."""
        lead, side = source.shape[:-1], int(self.at.max()) + 1
        flat = int(np.prod(lead)), len(shares)
        y, x = self.at[source.reshape(flat)].transpose(2, 0, 1)
        v, w = self.at[target.reshape(flat)].transpose(2, 0, 1)
        found = np.zeros((len(y), 4, side, side), dtype=np.int64)
        # Along the source's row, then along the target's column; each way by itself.
        for k, line, low, high in ((0, y, x, w), (1, y, w, x), (2, w, y, v), (3, w, v, y)):
            n, m = np.nonzero(low < high)
            np.add.at(found[:, k], (n, line[n, m], low[n, m]), shares[m])
            np.subtract.at(found[:, k], (n, line[n, m], high[n, m]), shares[m])
        return found.cumsum(axis=3).reshape(*lead, 4, side, side)

    def gathered(self, s: Ints, r: int) -> Ints:
        """(.., 4, side, side) shares of 1/r of the volume on each link of gathers, if relayed."""
        if not self.relay:
            return self.exchanged(int(s), r)
        k = np.arange(1, r)
        before, here = s[..., None] + k - 1, s[..., None] + k
        ends = np.concatenate([before, here], axis=-1), np.concatenate([here, before], axis=-1)
        return self.loads(*ends, np.concatenate([k, r - k]))

    def exchanged(self, s: int, r: int, to: int | None = None, following: int = 0) -> Ints:
        """Shares on each link if all of a region send to all of it, or of the next one."""
        targets = np.arange(s, s + r) if to is None else np.arange(to, to + following)
        source = np.repeat(np.arange(s, s + r), len(targets))
        target = np.tile(targets, r)
        return self.loads(source, target, np.ones_like(source))

    def seams(self, s: Ints, cols: int, used: tuple[int, int]) -> tuple[Ints, Ints]:
        """Pairs of tiles on each link, in row seams and in column seams; ``cols`` of the grid."""
        here = s[..., None, None] + np.arange(used[0])[:, None] * cols + np.arange(used[1])
        down, across = (here[..., :-1, :], here[..., 1:, :]), (here[..., :-1], here[..., 1:])
        found = []
        for ends in (down, across):
            pairs = *s.shape, ends[0].shape[-2] * ends[0].shape[-1]
            one, other = (end.reshape(pairs) for end in ends)
            source = np.concatenate([one, other], axis=-1)
            target = np.concatenate([other, one], axis=-1)
            found.append(self.loads(source, target, np.ones(source.shape[-1], dtype=np.int64)))
        return found[0], found[1]

    def tiling(self, height: int, width: int) -> list[tuple[int, int]]:
        """WSP tile grids by size: fewest outputs of a tile, most nearly square, fewer rows."""
        if (height, width) not in self._grids:
            grids = [(1, 1)]
            for size in range(1, self.chiplets + 1):
                ways = [(k, size // k) for k in range(1, size + 1) if size % k == 0]
                outputs = {way: -(-height // way[0]) * -(-width // way[1]) for way in ways}
                grids.append(min(ways, key=lambda k: (outputs[k], abs(k[0] - k[1]), k[0])))
            self._grids[height, width] = grids
        return self._grids[height, width]

    def seam(self, of: Shape, size: int) -> tuple[int, tuple[int, int], float, float]:
        """Columns of the grid, rows and columns with outputs, bytes each way over both seams."""
        height, width, down, across = of
        rows, cols = self.tiling(height, width)[size]
        used = min(rows, height), min(cols, width)
        # Half of a pair's part of the seam each way.
        down_each = down / (2 * used[1]) if used[0] > 1 else 0.0
        across_each = across / (2 * used[0]) if used[1] > 1 else 0.0
        return cols, used, down_each, across_each

    def halos(self, shapes: list[Shape]) -> dict[Shape, Floats]:
        """(phases, C+1) bytes on the busiest link of the halo of each layer."""
        found = {of: np.zeros((self.phases, self.chiplets + 1)) for of in shapes}
        for size in range(2, self.chiplets + 1):
            starts = np.arange(min(self.phases, self.chiplets - size + 1))
            counted = dict[Any, tuple[Ints, Ints]]()  # layers of one grid share its seams
            for of, loads in found.items():
                cols, used, down, across = self.seam(of, size)
                if down or across:
                    if (cols, used) not in counted:
                        counted[cols, used] = self.seams(starts, cols, used)
                    rows, columns = counted[cols, used]
                    carried = rows * down + columns * across
                    loads[: len(starts), size] = carried.max(axis=(1, 2, 3))
        return found
