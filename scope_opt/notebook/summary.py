"""What a notebook shows of a document: its numbers with units, and a small picture.

Nothing here changes from run to run, such as how long a solve took: notebooks that are kept with
what they print stay as they are.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from scope_opt.cost.build import build_tables
from scope_opt.model import units
from scope_opt.model.files import InputError
from scope_opt.model.instance import Instance
from scope_opt.notebook.cases import case_of, find_instance
from scope_opt.notebook.picture import segment_pictures
from scope_opt.report.figure import duration
from scope_opt.schedule.bounds import latency_bound
from scope_opt.solving import metrics
from scope_opt.solving.result import Result, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from scope_opt.notebook.cases import Shown
    from scope_opt.report.cases import Case
    from scope_opt.schedule.evaluation import Evaluation
    from scope_opt.schedule.schedule import Schedule

    Fact = tuple[str, str, str]
    """Name, value and remark."""

CELL = "text-align: left; padding: .1em 1.2em .1em 0; vertical-align: top"


def html(document: Shown) -> str:
    """See `scope_opt.model.shown.Shown`."""
    if isinstance(document, Instance):
        return _block(document.name, document.description, _instance_facts(document))
    case, problem = _case(document)
    evaluation = None if case is None else case.evaluation
    facts = list(_result_facts(document) if isinstance(document, Result) else ())
    facts += _schedule_facts(document, evaluation)
    if problem:
        facts.append(("not shown", problem, ""))
    known = find_instance(document.instance) if case is None else case.instance
    description = "" if known is None else known.description
    picture = "" if case is None else segment_pictures(case)
    return _block(document.instance.name, description, facts, picture)


def _case(document: Schedule | Result) -> tuple[Case | None, str]:
    """The case, or why there is none."""
    if isinstance(document, Result) and document.schedule is None:
        return None, ""
    try:
        return case_of(document), ""
    except InputError as error:
        return None, "; ".join(error.problems)


def _block(name: str, description: str, facts: Iterable[Fact], picture: str = "") -> str:
    rows = "".join(
        f'<tr style="background: none"><th style="{CELL}; font-weight: normal; opacity: .7">'
        f'{escape(name)}</th><td style="{CELL}">{escape(value)}</td>'
        f'<td style="{CELL}; opacity: .7">{escape(remark)}</td></tr>'
        for name, value, remark in facts
    )
    heading = f"<strong>{escape(name)}</strong>&ensp;{escape(description)}"
    table = f'<table style="border: none; border-collapse: collapse; margin: .4em 0">{rows}</table>'
    return f'<div class="scope-opt"><div>{heading}</div>{table}{picture}</div>'


def _result_facts(result: Result) -> Iterator[Fact]:
    ended = result.stop_reason.value.replace("_", " ")
    yield "status", result.status.value, f"{result.solver}, {ended}"
    energy = result.objective_fj is not None or result.bound_fj is not None
    if result.latency_s is not None:
        latency_ps = round(result.latency_s * 10**12)
        yield "latency", duration(latency_ps), "of all samples, weight loading included"
    bound = duration(result.bound_ps)
    if energy:
        bound = units.ABSENT if result.bound_fj is None else units.joules(result.bound_fj / 10**15)
    gap = "" if result.gap is None else f"gap {units.percent(result.gap)}"
    if result.status is Status.OPTIMAL:
        gap = "equals the energy" if energy else "equals the latency"
    yield "lower bound", bound, gap
    who = metrics.provers(result)
    if who is not None:
        yield "proved by", who, metrics.library_work(result) or ""
    if result.throughput_per_s is not None:
        yield "throughput", f"{units.number(result.throughput_per_s)} samples/s", ""
    if result.energy_j is not None:
        yield "energy", units.joules(result.energy_j.total), "of all samples"
    for line in result.explanation:
        yield "", line, ""


def _schedule_facts(document: Schedule | Result, evaluation: Evaluation | None) -> Iterator[Fact]:
    schedule = document.schedule if isinstance(document, Result) else document
    if schedule is None:
        return
    if not isinstance(document, Result) and evaluation is not None:
        broken = units.plural(len(evaluation.violations), "violation")
        yield "status", "feasible" if evaluation.feasible else f"not feasible: {broken}", ""
        latency = duration(evaluation.objective_ps)
        yield "latency", latency, "of all samples, weight loading included"
    clusters = units.plural(len(list(schedule.clusters)), "cluster")
    yield "segments", str(len(schedule.segments)), f"{clusters} in all"


def _instance_facts(instance: Instance) -> Iterator[Fact]:
    tables, network, package = build_tables(instance), instance.network, instance.package
    layers = units.plural(len(instance.layer_names), "layer")
    if network is None:
        yield "network", "latency tables", layers
    else:
        yield "network", network.name, f"{layers}, {units.count(network.macs, 'MAC')} per sample"
    chiplets = units.plural(instance.chiplets, "chiplet")
    if package is None:
        yield "package", chiplets, ""
    else:
        mesh = f"{package.mesh_rows} x {package.mesh_cols}"
        yield "package", chiplets, f"{mesh}, transfers {package.nop.model}"
    yield "samples", str(instance.samples), "per batch"
    buffers = tables.weight_buffer_bytes * instance.chiplets
    remark = f"weight buffers {units.size(buffers)}"
    yield "weights", units.size(int(tables.weight_bytes.sum())), remark
    yield "lower bound", duration(latency_bound(tables)), "simple, of any schedule"
