"""Random changes of a schedule for simulated annealing, inside a segment and of segments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scope_opt.model.compiled import compiled
from scope_opt.search.anneal.state import (
    CLUSTER,
    FREE,
    INSIDE,
    KINDS,
    MARK,
    SEGMENT,
    SIZE,
    SLOWEST,
    TIME,
    TOGETHER,
    USED,
    WISH,
    Rules,
    after_cluster,
    head_of_cluster,
    random_below,
    random_step,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from scope_opt.search.packed import Bytes, Ints

    Floats = NDArray[np.float64]
    Words = NDArray[np.uint64]

(
    TRANSFER,
    SWAP,
    SHIFT,
    SPLIT,
    MERGE,
    RESPLIT,
    FLIP,
    RUN,
    TRANSITION,
    SEGMENT_SHIFT,
    SEGMENT_SPLIT,
    SEGMENT_MERGE,
) = range(KINDS)
"""Moves."""


# --- Moves within a segment ----------------------------------------------------------------------


@compiled
def _pick(layer: Ints, low: int, high: int, rng: Words) -> int:
    """First layer of some cluster of a segment: often the slowest one."""
    if random_below(rng, 5) < 2:
        return int(layer[low, SLOWEST])
    return head_of_cluster(layer, low + random_below(rng, high - low))


@compiled
def _donor(rules: Rules, layer: Ints, low: int, high: int, other: int, rng: Words) -> int:
    """A cluster that can spare chiplets, not ``other``: the fastest of a few, or -1."""
    donor, least = -1, 0.0
    for _ in range(1 + random_below(rng, 4)):
        a = head_of_cluster(layer, low + random_below(rng, high - low))
        size = layer[a, SIZE]
        if a == other or size <= rules.unit:
            continue
        then = float(layer[a, TIME]) * size / (size - rules.unit)
        if donor < 0 or then < least:
            donor, least = a, then
    return donor


@compiled
def _border(layer: Ints, rules: Rules, low: int, high: int, rng: Words) -> int:
    """First layer of a cluster that could be joined to the one before it, or -1."""
    head = _pick(layer, low, high, rng)
    if random_below(rng, 2) == 0:
        head = after_cluster(layer, head)
    if head == low:
        head = after_cluster(layer, head)
    elif head == high:
        head = head_of_cluster(layer, head - 1)
    if head in (low, high) or rules.border[head] != FREE:
        return -1
    return head


@compiled
def _cut(layer: Ints, rules: Rules, head: int, rng: Words) -> int:
    """A layer at which a cluster can be split, or -1."""
    after = after_cluster(layer, head)
    if after - head < 2:
        return -1
    start = head + 1 + random_below(rng, after - head - 1)
    for index in range(start, after):
        if rules.border[index] != TOGETHER:
            return index
    for index in range(start - 1, head, -1):
        if rules.border[index] != TOGETHER:
            return index
    return -1


@compiled
def _portion(rules: Rules, first: int, middle: int, after: int, size: int) -> int:
    """Chiplets out of ``size`` for the layers before the middle, by chiplet-time."""
    whole = rules.area[after] - rules.area[first]
    ratio = (rules.area[middle] - rules.area[first]) / whole if whole > 0 else 0.5
    return int(ratio * size / rules.unit + 0.5) * rules.unit


@compiled
def _divide(layer: Ints, rules: Rules, head: int, cut: int, size: int, rng: Words) -> bool:
    """Split a cluster into two with ``size`` chiplets together."""
    unit = rules.unit
    if size < 2 * unit:
        return False
    first = _portion(rules, head, cut, after_cluster(layer, head), size)
    first += (random_below(rng, 3) - 1) * unit
    first = min(max(first, unit, size - rules.largest), size - unit, rules.largest)
    layer[cut, MARK] = CLUSTER
    layer[head, SIZE], layer[cut, SIZE] = first, min(size - first, rules.largest)
    return True


@compiled
def _transfer(rules: Rules, layer: Ints, low: int, high: int, changed: Ints, rng: Words) -> bool:
    """Move chiplets between two clusters, or from or to the idle ones."""
    unit = rules.unit
    to = _pick(layer, low, high, rng) if random_below(rng, 16) > 0 else -1
    source = -1
    spare = rules.package - layer[low, USED]
    if to < 0 or spare < unit or random_below(rng, 2) == 0:
        source = _donor(rules, layer, low, high, to, rng)
        if source < 0:
            return False
        spare = layer[source, SIZE] - unit
    most = spare // unit
    if random_below(rng, 5) == 0:
        amount = (1 + random_below(rng, max(1, most // 2))) * unit
    else:
        amount = random_step(rng, most) * unit
    if to >= 0:
        amount = min(amount, rules.largest - layer[to, SIZE])
        if amount <= 0:
            return False
        layer[to, SIZE] += amount
        changed[0], changed[1] = to, after_cluster(layer, to)
    if source >= 0:
        layer[source, SIZE] -= amount
        changed[2], changed[3] = source, after_cluster(layer, source)
    return True


@compiled
def _swap(rules: Rules, layer: Ints, low: int, high: int, changed: Ints, rng: Words) -> bool:
    """Swap the sizes of two regions."""
    one = _pick(layer, low, high, rng)
    other = head_of_cluster(layer, low + random_below(rng, high - low))
    if layer[one, SIZE] == layer[other, SIZE]:
        return False
    layer[one, SIZE], layer[other, SIZE] = layer[other, SIZE], layer[one, SIZE]
    changed[0], changed[1] = one, after_cluster(layer, one)
    changed[2], changed[3] = other, after_cluster(layer, other)
    return True


@compiled
def _shift(rules: Rules, layer: Ints, low: int, high: int, changed: Ints, rng: Words) -> bool:
    """Move the border of two clusters, and often chiplets along with the layers."""
    unit = rules.unit
    border = _border(layer, rules, low, high, rng)
    if border < 0:
        return False
    left, after = head_of_cluster(layer, border - 1), after_cluster(layer, border)
    direction = 1 if random_below(rng, 2) == 0 else -1
    moved = border + direction * random_step(rng, after - left)
    while left < moved < after and rules.border[moved] == TOGETHER:
        moved += direction
    if not left < moved < after:
        return False
    one, two = layer[left, SIZE], layer[border, SIZE]
    kind = random_below(rng, 4)
    if kind < 2:
        amount = 0
        if kind == 0:
            amount = random_step(rng, 4) * unit
        elif direction > 0:
            amount = _portion(rules, border, moved, after, two)
        else:
            amount = one - _portion(rules, left, moved, border, one)
        amount = min(amount, (two if direction > 0 else one) - unit)
        one += direction * amount
        two -= direction * amount
        if one > rules.largest or two > rules.largest:
            return False
    layer[border, MARK], layer[moved, MARK] = INSIDE, CLUSTER
    layer[left, SIZE], layer[moved, SIZE] = one, two
    changed[0], changed[1] = left, after
    return True


@compiled
def _split(rules: Rules, layer: Ints, low: int, high: int, changed: Ints, rng: Words) -> bool:
    """Split a cluster; a region of one chiplet gets another one for it."""
    unit = rules.unit
    head = _pick(layer, low, high, rng)
    cut = _cut(layer, rules, head, rng)
    if cut < 0:
        return False
    after, size, source = after_cluster(layer, head), layer[head, SIZE], -1
    if size < 2 * unit or random_below(rng, 3) == 0:
        if layer[low, USED] + unit > rules.package:
            source = _donor(rules, layer, low, high, head, rng)
            if source < 0:
                return False
        size += unit
    if not _divide(layer, rules, head, cut, size, rng):
        return False
    changed[0], changed[1] = head, after
    if source >= 0:
        layer[source, SIZE] -= unit
        changed[2], changed[3] = source, after_cluster(layer, source)
    return True


@compiled
def _merge(rules: Rules, layer: Ints, low: int, high: int, changed: Ints, rng: Words) -> bool:
    """Merge two clusters; often chiplets go to the slowest one, or idle."""
    unit = rules.unit
    border = _border(layer, rules, low, high, rng)
    if border < 0:
        return False
    left, after, slowest = (
        head_of_cluster(layer, border - 1),
        after_cluster(layer, border),
        layer[low, SLOWEST],
    )
    size = layer[left, SIZE] + layer[border, SIZE]
    layer[border, MARK] = INSIDE
    if random_below(rng, 2) == 0:
        amount = random_step(rng, size // unit - 1) * unit
        if slowest not in (left, border) and random_below(rng, 4) > 0:
            amount = min(amount, rules.largest - layer[slowest, SIZE])
            layer[slowest, SIZE] += amount
            changed[0], changed[1] = slowest, after_cluster(layer, slowest)
        size -= amount
    layer[left, SIZE] = min(size, rules.largest)
    changed[2], changed[3] = left, after
    return True


@compiled
def _resplit(rules: Rules, layer: Ints, low: int, high: int, changed: Ints, rng: Words) -> bool:
    """Merge two clusters and split another one, which gets one of the two regions."""
    border = _border(layer, rules, low, high, rng)
    head = _pick(layer, low, high, rng)
    if border < 0:
        return False
    left, after = head_of_cluster(layer, border - 1), after_cluster(layer, border)
    if head in (left, border):
        return False
    cut = _cut(layer, rules, head, rng)
    if cut < 0:
        return False
    freed, kept = layer[left, SIZE], layer[border, SIZE]
    if random_below(rng, 2) == 0:
        freed, kept = kept, freed
    if random_below(rng, 4) == 0:
        freed, kept = 0, freed + kept
    if not _divide(layer, rules, head, cut, layer[head, SIZE] + freed, rng):
        return False
    layer[border, MARK] = INSIDE
    layer[left, SIZE] = min(kept, rules.largest)
    changed[0], changed[1] = head, after_cluster(layer, cut)
    changed[2], changed[3] = left, after
    return True


@compiled
def _relabel(
    rules: Rules,
    layer: Ints,
    partition: Bytes,
    low: int,
    high: int,
    kind: int,
    changed: Ints,
    rng: Words,
) -> bool:
    """Change partitions in a cluster: of a layer, of a run, or to WSP up to a transition."""
    head = _pick(layer, low, high, rng)
    after = after_cluster(layer, head)
    if kind == FLIP:
        start = head + random_below(rng, after - head)
        stop = start + 1
        value = 1 - partition[start]
    elif kind == RUN:
        start = head + random_below(rng, after - head)
        stop = start + 1 + random_below(rng, after - start)
        value = random_below(rng, 2)
    else:
        start, stop = head, head + random_below(rng, after - head + 1)
        value = 1 if random_below(rng, 8) > 0 else 0
        for index in range(stop, after):
            layer[index, WISH] = 1 - value
    for index in range(start, stop):
        layer[index, WISH] = value
    changed[0], changed[1] = head, after
    return True


@compiled
def change_inside(
    rules: Rules,
    layer: Ints,
    partition: Bytes,
    low: int,
    high: int,
    kind: int,
    changed: Ints,
    rng: Words,
) -> bool:
    """Change clusters of a segment, which are then in ``changed``, see `revalue`.

    False if the move leads nowhere; what it did is then to be undone.
    """
    changed[:] = 0
    if kind == TRANSFER:
        return _transfer(rules, layer, low, high, changed, rng)
    if kind == SWAP:
        return _swap(rules, layer, low, high, changed, rng)
    if kind == SHIFT:
        return _shift(rules, layer, low, high, changed, rng)
    if kind == SPLIT:
        return _split(rules, layer, low, high, changed, rng)
    if kind == MERGE:
        return _merge(rules, layer, low, high, changed, rng)
    if kind == RESPLIT:
        return _resplit(rules, layer, low, high, changed, rng)
    return _relabel(rules, layer, partition, low, high, kind, changed, rng)


# --- Moves of segments ---------------------------------------------------------------------------


@compiled
def _thin(rules: Rules, layer: Ints, share: Floats, low: int, high: int, rng: Words) -> None:
    """Merge clusters at random until the segment has no more than it may have."""
    most = min(rules.most, rules.package // rules.unit)
    clusters = 0
    for a in range(low, high):
        clusters += layer[a, MARK] != INSIDE
    for _ in range(8 * (high - low)):
        if clusters <= most:
            return
        a = head_of_cluster(layer, low + random_below(rng, high - low))
        if a > low and rules.border[a] == FREE:
            layer[a, MARK] = INSIDE
            share[head_of_cluster(layer, a)] += share[a]
            clusters -= 1


@compiled
def _open(rules: Rules, layer: Ints, share: Floats, cut: int) -> None:
    """Begin a cluster at a layer, with its part of the share of the cluster it was in."""
    if layer[cut, MARK] == INSIDE:
        head, after = head_of_cluster(layer, cut), after_cluster(layer, cut)
        whole = max(1e-9, rules.area[after] - rules.area[head])
        part = (rules.area[cut] - rules.area[head]) / whole
        share[cut] = share[head] * (1 - part)
        share[head] *= part
        layer[cut, MARK] = CLUSTER


@compiled
def _close(rules: Rules, layer: Ints, share: Floats, cut: int, rng: Words, odds: int) -> None:
    """Turn the end of a segment into one of a cluster, or into nothing, once in ``odds``."""
    layer[cut, MARK] = CLUSTER
    if rules.border[cut] == FREE and random_below(rng, odds) == 0:
        layer[cut, MARK] = INSIDE
        share[head_of_cluster(layer, cut)] += share[cut]


@compiled
def change_segments(
    rules: Rules,
    layer: Ints,
    share: Floats,
    low: int,
    middle: int,
    high: int,
    kind: int,
    rng: Words,
) -> int:
    """Move, insert or remove the end of a segment.

    ``middle`` is the end in question, between the two segments, or where the one is to be cut.
    ``share`` becomes what regions are to be in proportion to: their old sizes, where possible.
    Returns the first layer of the second segment, ``high`` if there is only one, -1 if the
    move leads nowhere.
    """
    for a in range(low, high):
        share[a] = float(layer[a, SIZE])
    if kind == SEGMENT_SPLIT:
        if rules.border[middle] == TOGETHER:
            return -1
        _open(rules, layer, share, middle)
        layer[middle, MARK] = SEGMENT
        return middle
    if kind == SEGMENT_MERGE:
        # Both had the whole package to themselves.
        left = rules.area[middle] - rules.area[low]
        right = rules.area[high] - rules.area[middle]
        for a in range(low, high):
            share[a] *= left if a < middle else right
        _close(rules, layer, share, middle, rng, 4)
        _thin(rules, layer, share, low, high, rng)
        return high
    direction, old = 1 if random_below(rng, 2) == 0 else -1, middle
    draw = random_below(rng, 5)
    if draw == 0:
        middle = low + 1 + random_below(rng, high - low - 1)
        if middle == old or rules.border[middle] == TOGETHER:
            return -1
    elif draw < 3:  # a whole cluster changes sides
        middle = after_cluster(layer, old) if direction > 0 else head_of_cluster(layer, old - 1)
    else:
        middle += direction * random_step(rng, high - low)
        while low < middle < high and rules.border[middle] == TOGETHER:
            middle += direction
    if not low < middle < high:
        return -1
    _open(rules, layer, share, middle)
    layer[middle, MARK] = SEGMENT
    _close(rules, layer, share, old, rng, 2)
    _thin(rules, layer, share, low, middle, rng)
    _thin(rules, layer, share, middle, high, rng)
    return middle
