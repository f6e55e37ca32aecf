"""Page of the study `reach`: what the formulations prove in one and in ten minutes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scope_opt.report.markdown import Article, fixed, table
from scope_opt.report.results.records import PAPER_INSTANCES, records_of
from scope_opt.solving import metrics
from scope_opt.solving.result import Status, StopReason

if TYPE_CHECKING:
    from scope_opt.report.results.records import Records
    from scope_opt.studies.records import Record

FORMS = (
    *("interval-milp", "cp-sat", "compact-milp", "network-milp", "segment-milp"),
    *("interval-milp beats", "cp-sat columns"),
)
LABELS = tuple(f"{form}{suffix}" for form in FORMS for suffix in ("", " warm", " annealed"))
FLOATS = 1e-4
"""Larger gaps are not due to floats."""


def page() -> Article:
    """The page."""
    short, optima = records_of("reach"), records_of("optima")
    names = [name for name in PAPER_INSTANCES if name in short.instances]
    labels = [label for label in LABELS if label in short.labels]
    forms = [form for form in FORMS if form in labels]
    outcomes, distances, sizes = [], [], []
    for name in names:
        outcomes.append([name, *(_outcome(short, name, label) for label in labels)])
        optimum = optima.objective(name, "exact")
        cells = []
        for form in forms:
            cells += _distances(short.record(name, form), optimum)
        distances.append([name, *cells])
        for form in forms:
            record = short.record(name, form)
            if record is not None and record.result is not None and record.result.model is not None:
                sizes.append(_size_row(record))
    return Article(
        "Reach of the formulations",
        [
            f"{len(names)} paper instances, free segments, at most 18 GiB, each solve in a process of its own, "
            "60 s, where ten times that may be enough once more with 600 s. `interval-milp`, `cp-sat` and "
            "`compact-milp` had two threads, `network-milp` and `segment-milp` one.",
            short.origin(),
            "`interval-milp`, `cp-sat` and `compact-milp` prove segments one by one and begin with bounds "
            "and schedules from shortest paths over clusters ([formulations](../../formulations/README.md)); "
            "where those meet, no program is left to solve, which a dagger marks. `network-milp`, *interval-milp "
            "beats* and *cp-sat columns* put the whole network into one program; `segment-milp` has one for each "
            "segment that matters, and takes no bound from anything else. "
            "`network-milp` and `segment-milp` begin with a short annealing. The programs of the whole network were asked for the networks they are meant "
            "for and a few beyond.",
            "[Classes](../../formulations/README.md#classes): " + _classes(forms) + ".",
            "Proved optimal in 60 s: "
            + ", ".join(f"{label} {_proved(short, names, label)}" for label in labels)
            + " of those it was asked for.",
            "## Time to proof, or gap",
            "Seconds to the proof of optimality; else the gap between incumbent and bound after 60 s "
            "and, where it was run, after 600 s. *warm*: begun with the schedule of the paper's "
            "search, *annealed* with that of a minute of annealing. `-` not run, *refused* too large to try, *no schedule* none found (its bound is "
            "in the second table), *gave up* since the next program would be too large, *memory limit* and "
            "*crashed* as they say. With a star: completed, the gap "
            "that is left (1e-5 or so) is what floats cannot prove. With a double dagger: completed without a program, "
            "since the gap that shortest paths left was below what HiGHS could have proved in floats. `network-milp`, "
            "`segment-milp` and `compact-milp` ran two jobs at a time: HiGHS keeps one core busy, whatever its "
            "number of threads.",
            table(["instance", *labels], outcomes),
            "## Incumbents and bounds against the optimum",
            "Latency of the incumbent above, and bound below, the optimum that `exact` proves "
            "([`optima`](../optima)), in per cent of it, after 60 s without warm start.",
            table(
                ["instance", *(f"{form} {side}" for form in forms for side in ("above", "below"))],
                distances,
            ),
            "## Sizes and times",
            "The largest program of the run without warm start, seconds spent to build programs and to "
            "hand them to their solver, and the largest memory of the process.",
            table(
                [
                    "instance",
                    "solver",
                    "variables",
                    "constraints",
                    "non-zeros",
                    "build s",
                    "translate s",
                    "other s",
                    "MiB",
                ],
                sizes,
                left=2,
            ),
        ],
    )


def _classes(forms: list[str]) -> str:
    """What each of the forms speaks for."""
    found = []
    for key, meaning in metrics.CLASS_NAMES.items():
        of_it = [form for form in forms if metrics.CLASSES[form] == key]
        if of_it:
            found.append(f"{key} ({meaning}) {', '.join(of_it)}")
    return "; ".join(found)


def _proved(records: Records, names: list[str], label: str) -> str:
    ran = [name for name in names if records.record(name, label) is not None]
    results = [records.result(name, label) for name in ran]
    proved = sum(result is not None and result.status is Status.OPTIMAL for result in results)
    return f"{proved} of {len(ran)}"


def _outcome(records: Records, name: str, label: str) -> str:
    runs = (records.record(name, label), records.record(name, f"{label} 600 s"))
    return " / ".join(_cell(record) for record in runs if record is not None) or "-"


def _cell(record: Record) -> str:
    result = record.result
    if record.outcome != "done" or result is None:
        return record.outcome.replace("_", " ")
    if result.status is Status.OPTIMAL:
        return f"{result.times_s.total:.1f} s" + (
            "†" if metrics.library_work(result) == metrics.BY_PATHS else ""
        )
    if result.stop_reason not in (StopReason.COMPLETED, StopReason.TIME_LIMIT):
        return str(result.stop_reason).replace("_", " ")
    if result.gap is None:
        return "no schedule"
    if result.stop_reason is StopReason.COMPLETED:
        if result.gap > FLOATS:
            return f"{100 * result.gap:.2g} %, gave up"
        return f"{result.times_s.total:.1f} s" + ("*" if metrics.used_floats(result) else "‡")
    return f"{100 * result.gap:.2g} %"


def _distances(record: Record | None, optimum: int | None) -> list[str]:
    if record is None or record.result is None or optimum is None:
        return ["-", "-"]
    objective, bound = record.result.objective_ps, record.result.bound_ps
    above = None if objective is None else 100 * (objective - optimum) / optimum
    below = None if bound is None else 100 * (optimum - bound) / optimum
    return [fixed(above, ".2g"), fixed(below, ".2g")]


def _size_row(record: Record) -> list[str]:
    result = record.result
    assert result is not None
    assert result.model is not None
    model, times = result.model, result.times_s
    spent = (times.build or 0.0, times.translate or 0.0, times.solve)
    memory = result.peak_memory_bytes
    return [
        record.instance.name,
        record.label,
        *(str(size) for size in (model.variables, model.constraints, model.nonzeros)),
        *(f"{seconds:.1f}" for seconds in spent),
        "-" if memory is None else f"{memory / 2**20:.0f}",
    ]
