"""Parts of documents as data frames of pandas, which is asked for only here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scope_opt.cost.build import build_tables
from scope_opt.model.files import InputError, closest
from scope_opt.model.instance import Instance
from scope_opt.notebook.cases import case_of
from scope_opt.solving import metrics
from scope_opt.solving.result import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd

    from scope_opt.notebook.cases import Shown
    from scope_opt.report.cases import Case

    Row = dict[str, Any]


def frame(
    document: Shown, rows: str | None = None, *, instance: Instance | None = None
) -> pd.DataFrame:
    """See `scope_opt.model.shown.Shown.to_frame`."""
    try:
        import pandas as pd
    except ImportError:
        problem = "needs pandas, which is not installed: pip install 'scope-opt[notebook]'"
        raise InputError("to_frame", [problem]) from None
    names = _names(document)
    name = names[0] if rows is None else rows
    if name not in names:
        raise InputError("rows", [f"found {name!r}; {closest(str(name), names)}"])
    made = pd.DataFrame(_rows(document, name, instance))
    whole = [column for column in made if column.endswith(("_ps", "_fj"))]
    return made.astype(dict.fromkeys(whole, "Int64"))  # not floats where one is missing


def _rows(document: Shown, name: str, instance: Instance | None) -> list[Row]:
    if isinstance(document, Instance):
        return list(_instance_layers(document))
    if isinstance(document, Result) and name == "result":
        return [_result(document)]
    if isinstance(document, Result) and name == "trajectory":
        return [point.model_dump() for point in document.trajectory]
    case = case_of(document, instance)
    if name == "links" and not any(case.links):
        problem = f"'links' of {case.instance.name} carry nothing: transfers have no places there"
        raise InputError("rows", [problem])
    return list(_PARTS[name](case))


def _names(document: Shown) -> list[str]:
    if isinstance(document, Instance):
        return ["layers"]
    return [*_PARTS, "result", "trajectory"] if isinstance(document, Result) else [*_PARTS]


def _instance_layers(instance: Instance) -> Iterator[Row]:
    tables, network = build_tables(instance), instance.network
    for index, name in enumerate(instance.layer_names):
        row: Row = {"layer": index, "name": name}
        if network is None:
            row["alone_ps"] = int(tables.load[index])
        else:
            layer = network.layers[index]
            row |= {"macs": layer.macs, "input_bytes": layer.input_bytes}
            row["output_bytes"] = layer.output_bytes
        yield row | {"weight_bytes": int(tables.weight_bytes[index])}


def _result(result: Result) -> Row:
    """One row; of several results they make a table, with `pandas.concat`."""
    return {
        "instance": result.instance.name,
        "solver": result.solver,
        "status": result.status.value,
        "objective_ps": result.objective_ps,
        "bound_ps": result.bound_ps,
        "objective_fj": result.objective_fj,
        "bound_fj": result.bound_fj,
        "gap": result.gap,
        "proved_by": metrics.provers(result),
        "throughput_per_s": result.throughput_per_s,
        "utilization": result.utilization,
        "energy_j": None if result.energy_j is None else result.energy_j.total,
        "segments": None if result.schedule is None else len(result.schedule.segments),
        "time_s": result.times_s.total,
    }


def _clusters(case: Case) -> Iterator[Row]:
    for s, segment in enumerate(case.evaluation.segments):
        for c, cluster in enumerate(segment.clusters):
            yield {
                "segment": s,
                "cluster": c,
                "first_layer": cluster.first_layer,
                "last_layer": cluster.last_layer,
                "chiplets": cluster.chiplets,
                "first_position": cluster.first_position,
                "time_ps": cluster.time_ps,
                "busy": cluster.time_ps / segment.beat_ps if segment.beat_ps else None,
                "weight_bytes": cluster.weight_bytes,
                "buffer_bytes": cluster.buffer_bytes,
            }


def _layers(case: Case) -> Iterator[Row]:
    for s, segment in enumerate(case.evaluation.segments):
        for c, cluster in enumerate(segment.clusters):
            for layer in cluster.layers:
                yield {
                    "segment": s,
                    "cluster": c,
                    "layer": layer.index,
                    "name": layer.name,
                    "chiplets": cluster.chiplets,
                    "partition": layer.partition,
                    "preparation_ps": layer.preparation_ps,
                    "computation_ps": layer.computation_ps,
                    "communication_ps": layer.communication_ps,
                    "time_ps": layer.time_ps,
                    "bound_by": layer.bound_by,
                }


def _segments(case: Case) -> Iterator[Row]:
    for s, segment in enumerate(case.evaluation.segments):
        yield {
            "segment": s,
            "first_layer": segment.first_layer,
            "last_layer": segment.last_layer,
            "clusters": len(segment.clusters),
            "chiplets": segment.chiplets,
            "load_ps": segment.load_ps,
            "beat_ps": segment.beat_ps,
            "set_by": segment.cause,
            "latency_ps": segment.latency_ps,
            "utilization": segment.utilization,
        }


def _links(case: Case) -> Iterator[Row]:
    for s, links in enumerate(case.links):
        beat_ps = case.evaluation.segments[s].beat_ps
        for link in links:
            yield {
                "segment": s,
                "from_row": link.source[0],
                "from_col": link.source[1],
                "to_row": link.target[0],
                "to_col": link.target[1],
                "bytes": link.bytes,
                "time_ps": link.time_ps,
                "load": link.time_ps / beat_ps if beat_ps else None,
            }


_PARTS: dict[str, Callable[[Case], Iterator[Row]]] = {
    "clusters": _clusters,
    "layers": _layers,
    "segments": _segments,
    "links": _links,
}
"""Rows of schedules and results."""
