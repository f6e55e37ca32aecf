"""A replay in the Trace Event Format (JSON), for ui.perfetto.dev or chrome://tracing.

A process per segment; in it a thread per cluster, with a slice per sample, in that one per layer,
in that preparation and computation. What a cluster sends is on a thread of its own, because on one
thread slices must nest and communication overlaps with computation. On that thread "links" is the
time by which a transfer, weight gathers included, is late because others use its links. The DRAM is
a process too.

Timestamps are microseconds with three decimals. They are rounded down to nanoseconds, begin and end
alike, which keeps slices nested and disjoint; ``args`` holds the exact picoseconds.
"""

from __future__ import annotations

import json
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from scope_opt.model import units

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scope_opt.model.instance import Instance
    from scope_opt.replay.engine import Slice
    from scope_opt.schedule.schedule import Schedule

SHOWN_LAYER_RUNS = 20_000
"""Layers x samples up to which a trace shows every sample: about 15 MB."""

FEW = 4
"""First and last samples of each segment that larger traces show."""


def default_shown(instance: Instance) -> int | None:
    """How many first and last samples of each segment to show; None for all."""
    return FEW if len(instance.layer_names) * instance.samples > SHOWN_LAYER_RUNS else None


class Trace:
    """Collects the slices of a replay; `add` goes to `scope_opt.replay.engine.simulate`.

    Parameters
    ----------
    instance, schedule
        What is replayed.
    shown : int, optional
        Only so many first and last samples of each segment; None for all.
    """

    def __init__(self, instance: Instance, schedule: Schedule, shown: int | None) -> None:
        self._names, self._samples = instance.layer_names, instance.samples
        self._title, self._schedule = instance.name, schedule
        clusters = [len(segment.clusters) for segment in schedule.segments]
        self._first_tid = list(accumulate(clusters[:-1], lambda tid, n: tid + 2 * n, initial=2))
        """Thread of each segment's first cluster; viewers want numbers above 0, each once."""
        self._shown = instance.samples if shown is None else shown
        self._events: list[dict[str, Any]] = []
        self._in_flight: list[list[tuple[int, int, bool]]] = [[] for _ in schedule.segments]
        """Samples that enter or leave each segment: when, 1 or -1, and whether they are shown."""

    @property
    def left_out(self) -> int:
        """Samples of each segment that are not shown."""
        return max(0, self._samples - 2 * self._shown)

    def add(self, piece: Slice) -> None:
        """Take a slice of the replay."""
        shown = self._is_shown(piece.sample)
        if piece.kind == "sample":
            if piece.stage == 0:
                self._in_flight[piece.segment].append((piece.start_ps, 1, shown))
            if piece.stage == len(self._schedule.segments[piece.segment].clusters) - 1:
                self._in_flight[piece.segment].append((piece.end_ps, -1, shown))
        if shown and piece.end_ps > piece.start_ps:
            self._events.append(self._complete(piece))

    def text(self) -> str:
        """The whole file."""
        slices = sorted(self._events, key=_parents_first)
        events = [*self._tracks(), *slices, *self._counters()]
        lines = ",\n".join(json.dumps(event, ensure_ascii=False) for event in events)
        shown = {"instance": self._title, "samples": self._samples, "left_out": self.left_out}
        end = f'"displayTimeUnit": "ns",\n"otherData": {json.dumps(shown, ensure_ascii=False)}'
        return f'{{"traceEvents": [\n{lines}\n],\n{end}}}\n'

    def _is_shown(self, sample: int | None) -> bool:
        if sample is None:
            return True
        return sample < self._shown or sample >= self._samples - self._shown

    def _complete(self, piece: Slice) -> dict[str, Any]:
        start_ns, end_ns = piece.start_ps // 1000, piece.end_ps // 1000
        name: str = piece.kind
        if piece.kind in ("load", "dram"):
            pid, tid = 1, 1
            what = "weights" if piece.kind == "load" else f"sample {piece.sample}"
            name = f"segment {piece.segment}, {what}"
        else:
            assert piece.stage is not None
            pid = piece.segment + 2
            tid = self._first_tid[piece.segment] + 2 * piece.stage
            tid += piece.kind in ("communication", "links")
            if piece.kind == "sample":
                name = f"sample {piece.sample}"
            elif piece.kind == "layer" and piece.layer is not None:
                name = units.plain(self._names[piece.layer])
        args: dict[str, Any] = {
            "start_ps": piece.start_ps,
            "duration_ps": piece.end_ps - piece.start_ps,
        }
        if piece.sample is not None:
            args["sample"] = piece.sample
        if piece.layer is not None:
            args["layer"] = piece.layer
        return {
            "ph": "X",
            "name": name,
            "cat": piece.kind,
            "pid": pid,
            "tid": tid,
            "ts": start_ns / 1000,
            "dur": (end_ns - start_ns) / 1000,
            "args": args,
        }

    def _tracks(self) -> Sequence[dict[str, Any]]:
        """Names and order of processes and threads."""
        found = [_named("process", 1, 1, "DRAM"), _named("thread", 1, 1, "DRAM")]
        for s, segment in enumerate(self._schedule.segments):
            layers = f"layers {segment.first_layer} to {segment.last_layer}"
            pid, tid = s + 2, self._first_tid[s]
            found.append(_named("process", pid, tid, f"segment {s}: {layers}"))
            for c, cluster in enumerate(segment.clusters):
                layers = f"layers {cluster.first_layer} to {cluster.last_layer}"
                chiplets = units.plural(cluster.chiplets, "chiplet")
                found += [
                    _named("thread", pid, tid + 2 * c, f"cluster {c}: {layers}, {chiplets}"),
                    _named("thread", pid, tid + 2 * c + 1, f"cluster {c}: communication"),
                ]
        orders = [
            {
                **entry,
                "name": entry["name"].replace("_name", "_sort_index"),
                "args": {"sort_index": entry["pid" if "process" in entry["name"] else "tid"]},
            }
            for entry in found
        ]
        return [*found, *orders]

    def _counters(self) -> Sequence[dict[str, Any]]:
        """How many samples are in each segment, at every time a shown one enters or leaves."""
        found = []
        for segment, changes in enumerate(self._in_flight):
            ordered = sorted(changes)
            numbers = accumulate(change for _, change, _ in ordered)
            found += [
                {
                    "ph": "C",
                    "name": "samples in the pipeline",
                    "pid": segment + 2,
                    "ts": time_ps // 1000 / 1000,
                    "args": {"samples": number},
                }
                for (time_ps, _, shown), number in zip(ordered, numbers, strict=True)
                if shown
            ]
        return found


def _parents_first(event: dict[str, Any]) -> tuple[int, ...]:
    """Order on each track; of slices that begin and end together the outer one comes first."""
    times, depth = event["args"], {"sample": 0, "layer": 1}.get(event["cat"], 2)
    return event["pid"], event["tid"], times["start_ps"], -times["duration_ps"], depth


def _named(what: str, pid: int, tid: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": f"{what}_name", "pid": pid, "tid": tid, "args": {"name": name}}
