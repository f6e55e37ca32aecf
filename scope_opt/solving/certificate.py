"""Certificates: what a program that shares nothing with this one needs to verify an optimum.

A certificate has lower bounds on the latencies of all prefixes of the network; that of the whole
network is the bound claimed. ``scope_check.py`` verifies that no segment takes less than its two
prefixes differ by, from latency tables alone. (docs/certificates.md has the argument and the
format.)
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from scope_opt.model.files import Document, InputError
from scope_opt.model.network import Index
from scope_opt.model.tables import PARTITIONS
from scope_opt.schedule.bounds import best_cut, best_rest
from scope_opt.schedule.schedule import InstanceReference

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.solving.solver import SegmentChoice, SolveOptions

    Ints = NDArray[np.int64]

CERTIFIED = "exact"
"""The solver whose bounds can be certified."""


class Certificate(Document):
    """Claims about an instance, and what they can be verified from.

    Which schedule has the objective is not stated: whoever checks has the schedule.
    """

    format: Literal["scope-certificate/1"] = "scope-certificate/1"
    instance: InstanceReference
    objective_ps: Index
    bound_ps: Index
    prefix_bounds_ps: tuple[Index, ...]
    """Lower bounds on the latency of the first 0, 1, .., L layers; the last one is the bound."""
    first_layers: tuple[Index, ...] | None = None
    """Of all segments, if the bound is one of schedules that are cut there; None if of all."""
    tables_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    tables: dict[str, Any] | None = None
    """In the form of explicit tables; None where the instance has them itself."""


def refuse_uncertifiable(instance: Instance, solver: str, options: SolveOptions) -> None:
    """Raise `InputError` where no certificate could be written, before anything is solved."""
    found = []
    if solver != CERTIFIED:
        found.append(f"solver {solver!r} writes none; choose --solver {CERTIFIED}")
    if instance.constraints.active():
        active = ", ".join(sorted(instance.constraints.active()))
        found.append(f"side constraints ({active}) are not certified; leave them out")
    if instance.package is not None and instance.package.activation_buffer_bytes is not None:
        found.append("activation buffers are not certified; leave activation_buffer_bytes out")
    if options.order is not None:
        found.append("bounds over several orders are not certified; leave --order out")
    if options.segments == "balanced" or isinstance(options.segments, int):
        found.append(
            f"segments {options.segments!r} are not certified; allowed: dp, single, or first layers"
        )
    if found:
        raise InputError("--certificate", found)


def certify(
    instance: Instance,
    tables: LatencyTables,
    objective_ps: int,
    floors: Ints,
    segments: SegmentChoice | None = None,
) -> Certificate:
    """The certificate of a schedule's latency and of lower bounds on all segments.

    Parameters
    ----------
    instance : Instance
    tables : LatencyTables
        Of the instance.
    objective_ps : int
        Latency of the schedule.
    floors : int64 array, shape ``(L, L)``
        Proved lower bounds on the latencies of segments.
    segments : SegmentChoice, optional
        How the network was cut: ``dp``, ``single`` or first layers.

    Raises
    ------
    InputError
        If the instance's DRAM traffic has no form that certificates can state.
    """
    forward = best_cut(floors)
    bound = min(int(forward[-1]), objective_ps)
    # The loosest potentials of the shortest path: they ask least of segments that do not matter.
    prefix = np.maximum(0, np.minimum(forward, bound - best_rest(floors)))
    return Certificate(
        instance=InstanceReference.to(instance),
        objective_ps=objective_ps,
        bound_ps=bound,
        prefix_bounds_ps=tuple(prefix.tolist()),
        first_layers=(0,) if segments == "single" else _given(segments),
        tables_sha256=tables_digest(tables),
        tables=None if instance.tables is not None else _as_explicit(tables),
    )


def _given(segments: SegmentChoice | None) -> tuple[int, ...] | None:
    return segments if isinstance(segments, tuple) else None


def tables_digest(tables: LatencyTables) -> str:
    """SHA-256 of the times of an instance, as docs/certificates.md defines it.

    Raises
    ------
    InputError
        As `certify` does.
    """
    t, streams = _stated(tables), int(tables.stream)
    plain = [t.samples, streams, t.weight_buffer_bytes, t.dram_latency_ps * streams]
    edges = np.stack([t.edge_from, t.edge_to, t.edge_write_ps, t.edge_read_ps], axis=1)
    parts = [
        *(np.array(plain), t.weight_bytes, t.compute_ps[..., 1:], t.gather_ps[..., 1:]),
        *(t.within_ps[..., 1:], t.send_ps[..., 1:], t.receive_ps[..., 1:]),
        *(t.input_ps, t.output_ps, edges, t.edge_send_ps[..., 1:]),
        *(t.segment_dram_ps, t.load_ps, t.stream_fs_per_byte[1:] * streams),
    ]
    if (t.edge_after != t.edge_from).any() or t.edge_receive_ps.any():
        parts += [t.edge_after, t.edge_receive_ps[..., 1:]]
    if t.placed is not None:
        parts += [t.read_ps, t.write_ps.T]
    # The last layer hands nothing on.
    parts[4] = np.concatenate([parts[4][:-1], np.zeros_like(parts[4][-1:])])
    found = hashlib.sha256()
    for part in parts:
        found.update(np.array([part.ndim, *part.shape], dtype="<i8").tobytes())
        found.update(np.ascontiguousarray(part, dtype="<i8").tobytes())
    return found.hexdigest()


def _stated(t: LatencyTables) -> LatencyTables:
    """What a certificate says of tables; raises `InputError` where it has no form for them.

    Where transfers have places, DRAM times are stated by the ends of segments. Elsewhere those of a
    layer must be sums of those of its transfers, as explicit tables are.
    """
    if t.placed is not None:
        nothing = np.zeros_like(t.input_ps)
        return replace(t, input_ps=nothing, output_ps=nothing)
    reads, writes = np.diag(t.input_ps), np.diag(t.output_ps)
    for u, after, v, write, read in zip(
        *(t.edge_from, t.edge_after, t.edge_to, t.edge_write_ps, t.edge_read_ps), strict=True
    ):
        reads[after + 1 : v + 1, v] += read
        writes[after:v, u] += write
    if t.own_read_ps is not None and t.own_write_ps is not None:
        reads, writes = reads + t.own_read_ps, writes + t.own_write_ps
    if not (np.triu(reads - t.read_ps) == 0).all() or not (np.tril(writes - t.write_ps) == 0).all():
        raise InputError("certificate", ["DRAM times that are no sums cannot be certified"])
    return t.folded()


def _as_explicit(tables: LatencyTables) -> dict[str, Any]:
    """Tables as an instance states its own; a layer equal to an earlier one is its number."""
    t = _stated(tables)

    def pair(values: Ints) -> dict[str, list[int]]:
        return {name: values[own, 1:].tolist() for own, name in enumerate(PARTITIONS)}

    layers: list[dict[str, Any] | int] = []
    seen: dict[str, int] = {}
    for index in range(t.layers):
        within = t.within_ps[index] * (index + 1 < t.layers)
        layer = {
            "weight_bytes": int(t.weight_bytes[index]),
            "compute_ps": pair(t.compute_ps[index]),
            "gather_ps": t.gather_ps[index, 1:].tolist(),
            "within_ps": {name: pair(within[own]) for own, name in enumerate(PARTITIONS)},
            "send_ps": t.send_ps[index, 1:].tolist(),
            "receive_ps": pair(t.receive_ps[index]),
            "input_ps": int(t.input_ps[index]),
            "output_ps": int(t.output_ps[index]),
        }
        first = seen.setdefault(repr(layer), index)
        layers.append(layer if first == index else first)
    ends = (t.edge_from, t.edge_to, t.edge_write_ps, t.edge_read_ps)
    keys = ("from", "to", "write_ps", "read_ps")
    by_ends = {"read_ps": t.read_ps.tolist(), "write_ps": t.write_ps.T.tolist()}
    return {
        **({} if t.placed is None else by_ends),
        "chiplets": t.chiplets,
        "weight_buffer_bytes": t.weight_buffer_bytes,
        "layers": layers,
        "edges": [
            {**dict(zip(keys, map(int, edge), strict=True)), "send_ps": send[1:].tolist()}
            for *edge, send in zip(*ends, t.edge_send_ps, strict=True)
        ],
        "segment_dram_ps": t.segment_dram_ps.tolist(),
        "load_ps": t.load_ps.tolist(),
        "dram_latency_ps": t.dram_latency_ps * t.stream,
        "stream_fs_per_byte": (t.stream_fs_per_byte[1:] * t.stream).tolist(),
    }
