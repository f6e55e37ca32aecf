"""How far the formulations reach: every paper instance, with and without a warm start.

    python results/reach/run.py --limit 60            60 s for each that has no record yet
    python results/reach/run.py --limit 600           600 s for each that 60 s did not settle
    python results/reach/run.py --limit 600 --only alexnet,vgg16-64 --solvers cp-sat
    python results/reach/run.py --report              only write README.md from the records

Each solve has two threads, its own process and a memory limit. Warm starts are schedules of the
paper's search (balanced segments), whose time does not count. Records are appended as they come,
one JSON line each, so an interrupted run goes on where it stopped; of two records of one case, the
later one counts.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from scope_opt.files import InputError, write_text
from scope_opt.instance import Instance
from scope_opt.isolate import Isolated
from scope_opt.provenance import note_run, runs
from scope_opt.result import relative_gap
from scope_opt.solver import SolveOptions, load_solver, solve

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
RECORDS, MANIFEST = HERE / "records.jsonl", HERE / "manifest.json"
OPTIMA = HERE.parent / "optima" / "records.jsonl"
SOLVERS = ("cp-sat", "interval-milp", "compact-milp")
NETWORKS = (
    *("alexnet", "vgg16", "darknet19"),
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
)
NAMES = [f"{network}-{chiplets}" for network in NETWORKS for chiplets in (16, 32, 64, 128, 256)]
THREADS = 2
MEMORY_BYTES = 18 * 2**30
LIMITS = (60, 600)

Record = dict[str, Any]
Case = tuple[str, str, bool]
"""Instance, solver, whether it has a warm start."""


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--report", action="store_true", help="only write README.md")
    parser.add_argument("--limit", type=float, choices=LIMITS, default=LIMITS[0], help="seconds")
    parser.add_argument("--only", default="", help="instances or networks, separated by commas")
    parser.add_argument("--solvers", default=",".join(SOLVERS), help="separated by commas")
    asked = parser.parse_args()
    if not asked.report:
        only = [name for name in asked.only.split(",") if name]
        names = [n for n in NAMES if not only or n in only or n.split("-")[0] in only]
        note_run(MANIFEST, " ".join(["python results/reach/run.py", *sys.argv[1:]]))
        for name in names:
            _solve_all(name, asked.solvers.split(","), asked.limit)
    write_text(HERE / "README.md", report(load()), force=True)


def load() -> dict[Case, Record]:
    """The latest record of every case."""
    if not RECORDS.exists():
        return {}
    lines = RECORDS.read_text().splitlines()
    records = [json.loads(line) for line in lines if line.endswith("}")]
    return {(r["instance"]["name"], r["solver"], r["warm"]): r for r in records}


def _solve_all(name: str, solvers: list[str], limit_s: float) -> None:
    """Solve an instance with every solver, with and without a warm start, where that is missing."""
    known = load()
    instance = Instance.load(ROOT / "instances" / "paper" / f"{name}.json")
    start = None
    for solver in solvers:
        for warm in (False, True):
            old = known.get((name, solver, warm))
            if old is not None and _enough(old, instance, limit_s):
                continue
            if warm and start is None:
                start = solve(instance, "scope", SolveOptions(segments="balanced")).schedule
            options = SolveOptions(
                time_limit_s=limit_s, threads=THREADS, warm_start=start if warm else None
            )
            record: Record = {"warm": warm, "limit_s": limit_s, "refused": None}
            try:
                result = solve(instance, Isolated(load_solver(solver), MEMORY_BYTES), options)
            except InputError as error:
                reference = {"name": name, "digest": instance.digest}
                record |= {"instance": reference, "solver": solver, "refused": str(error)}
                print(name, solver, "warm" if warm else "cold", "refused", flush=True)
            else:
                record |= json.loads(result.to_json())
                found = (result.status, result.stop_reason, result.gap, result.times_s.total)
                print(name, solver, "warm" if warm else "cold", *found, flush=True)
            with RECORDS.open("a") as stream:
                stream.write(json.dumps(record) + "\n")


def _enough(record: Record, instance: Instance, limit_s: float) -> bool:
    """Whether a record says what a run with this limit would say."""
    if record["instance"]["digest"] != instance.digest:
        return False
    ended = record["refused"] is not None or record["stop_reason"] != "time_limit"
    return bool(ended or record["limit_s"] >= limit_s)


def report(records: dict[Case, Record]) -> str:
    """The study's page, from its records only."""
    names = [name for name in NAMES if any(case[0] == name for case in records)]
    last = runs(MANIFEST)[-1]
    commits = list(dict.fromkeys(run["commit"][:12] for run in runs(MANIFEST)))
    proved = {s: sum(_proved(records.get((n, s, False))) for n in names) for s in SOLVERS}
    counts = ", ".join(f"{solver} {count}" for solver, count in proved.items())
    out = [
        "# Reach of the formulations",
        "",
        f"{len(names)} of {len(NAMES)} paper instances so far, free segments, {THREADS} threads, "
        f"at most {MEMORY_BYTES / 2**30:.0f} GiB, each solve in a process of its own. Reproduce "
        "with `python results/reach/run.py --limit 60`, then `--limit 600`; `records.jsonl` holds "
        "every result with its schedule and trajectory, `manifest.json` the runs.",
        "",
        f"Machine: {last['machine']['cpu']}, {last['machine']['cores']} cores; commits "
        f"{', '.join(commits)}, {last['started'][:10]}.",
        "",
        f"Proved optimal without a warm start: {counts}.",
        "",
        "## Time to proof, or gap",
        "",
        "Seconds to the proof of optimality; else the gap between incumbent and bound after 60 s "
        "and, where it was run, after 600 s. *warm*: begun with the schedule of the paper's "
        "search. `-` not run, *refused* too large to try, *no schedule* none found (its bound is "
        "in the second table), *memory* and *error* as they say. With a star: completed, the gap "
        "that is left (about 1e-5) is what floats cannot prove.",
        "",
        "| instance | " + " | ".join(f"{s} | {s} warm" for s in SOLVERS) + " |",
        "|---|" + "---:|" * (2 * len(SOLVERS)),
    ]
    for name in names:
        cells = [_outcome(records.get((name, s, warm))) for s in SOLVERS for warm in (False, True)]
        out.append(f"| {name} | {' | '.join(cells)} |")
    out += [
        "",
        "## Incumbents and bounds against the optimum",
        "",
        "Latency of the incumbent above, and bound below, the optimum that `exact` proves "
        "(results/optima), in per cent of it, at the end of the longest run without warm start.",
        "",
        "| instance | " + " | ".join(f"{s} above | below" for s in SOLVERS) + " |",
        "|---|" + "---:|" * (2 * len(SOLVERS)),
    ]
    optima = _optima()
    for name in names:
        cells = []
        for solver in SOLVERS:
            cells += _distances(records.get((name, solver, False)), optima[name])
        out.append(f"| {name} | {' | '.join(cells)} |")
    out += [
        "",
        "## Sizes and times",
        "",
        "The largest program of the longest run without warm start, seconds spent to build "
        "programs and to hand them to their solver, and the largest memory of the process.",
        "",
        "| instance | solver | variables | constraints | non-zeros | build s | translate s "
        "| other s | MiB |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name in names:
        for solver in SOLVERS:
            record = records.get((name, solver, False))
            if record is not None and record["refused"] is None and record["model"] is not None:
                out.append(_size_row(record))
    return "\n".join(out) + "\n"


def _proved(record: Record | None) -> bool:
    return record is not None and record["refused"] is None and record["status"] == "optimal"


def _outcome(record: Record | None) -> str:
    if record is None:
        return "-"
    if record["refused"] is not None:
        return "refused"
    if record["status"] == "optimal":
        return f"{record['times_s']['total']:.1f} s"
    if record["stop_reason"] in ("memory_limit", "error"):
        return str(record["stop_reason"]).removesuffix("_limit")
    if record["stop_reason"] == "completed" and record["gap"] is not None:
        return f"{record['times_s']['total']:.1f} s*"
    gaps = [_gap_at(record, limit) for limit in LIMITS if limit <= record["limit_s"]]
    return " / ".join("no schedule" if gap is None else f"{100 * gap:.2g} %" for gap in gaps)


def _gap_at(record: Record, seconds: float) -> float | None:
    """Gap after so many seconds, from the trajectory."""
    objective = bound = None
    for point in record["trajectory"]:
        if point["time_s"] <= seconds:
            objective, bound = point["objective_ps"], point["bound_ps"]
    return relative_gap(objective, bound)


def _distances(record: Record | None, optimum: int) -> list[str]:
    if record is None or record["refused"] is not None:
        return ["-", "-"]
    objective, bound = record["objective_ps"], record["bound_ps"]
    above = "-" if objective is None else f"{100 * (objective - optimum) / optimum:.2g}"
    below = "-" if bound is None else f"{100 * (optimum - bound) / optimum:.2g}"
    return [above, below]


def _optima() -> dict[str, int]:
    records = map(json.loads, OPTIMA.read_text().splitlines())
    return {r["instance"]["name"]: r["objective_ps"] for r in records if r["solver"] == "exact"}


def _size_row(record: Record) -> str:
    model, times = record["model"], record["times_s"]
    sizes = [str(model[key]) for key in ("variables", "constraints", "nonzeros")]
    spent = [times[key] or 0.0 for key in ("build", "translate", "solve")]
    memory = f"{record['peak_memory_bytes'] / 2**20:.0f}"
    cells = [record["solver"], *sizes, *(f"{s:.1f}" for s in spent), memory]
    return f"| {record['instance']['name']} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
