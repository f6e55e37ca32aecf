"""Solve the 40 paper instances with every scheme, heuristically and exactly, and tabulate.

    python results/optima/run.py            solve what is missing, then write README.md
    python results/optima/run.py --report   only write README.md from the records

Records are appended as they come, one JSON line per instance and solver, keyed by the instance's
digest, the solver and the program's version; so an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from scope_opt import __version__
from scope_opt.cost import build_tables
from scope_opt.files import write_text
from scope_opt.instance import Instance
from scope_opt.provenance import note_run, runs
from scope_opt.result import Result, Status
from scope_opt.search.restricted import attribute
from scope_opt.solver import SolveOptions, solve

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
RECORDS, MANIFEST = HERE / "records.jsonl", HERE / "manifest.json"
HEURISTICS = ("sequential", "pipeline", "segmented", "scope")
EXACT = ("exact-sequential", "exact-pipeline", "exact-segmented", "exact")
ANNEAL = "anneal"
NETWORKS = {
    "alexnet": "AlexNet",
    "vgg16": "VGG-16",
    "darknet19": "DarkNet-19",
    "resnet18": "ResNet-18",
    "resnet34": "ResNet-34",
    "resnet50": "ResNet-50",
    "resnet101": "ResNet-101",
    "resnet152": "ResNet-152",
}
CHIPLETS = (16, 32, 64, 128, 256)

Record = dict[str, Any]


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--report", action="store_true", help="only write README.md")
    if not parser.parse_args().report:
        run()
    write_text(HERE / "README.md", report(load()), force=True)


def load() -> dict[tuple[str, str], Record]:
    """Records by instance name and solver."""
    if not RECORDS.exists():
        return {}
    lines = RECORDS.read_text().splitlines()
    records = [json.loads(line) for line in lines if line.endswith("}")]
    return {(record["instance"]["name"], record["solver"]): record for record in records}


def run() -> None:
    """Solve every instance with every solver that has no record yet."""
    known = load()
    note_run(MANIFEST, "python results/optima/run.py")
    warm = Instance.load(ROOT / "instances" / "paper" / "alexnet-16.json")
    for solver in (*HEURISTICS, ANNEAL, *EXACT):  # compiled code is loaded before anything is timed
        solve(warm, solver)
    for name in (f"{network}-{chiplets}" for network in NETWORKS for chiplets in CHIPLETS):
        instance = Instance.load(ROOT / "instances" / "paper" / f"{name}.json")
        results: dict[str, Result] = {}
        for solver in (*HEURISTICS, ANNEAL, *EXACT):
            old = known.get((name, solver))
            fresh = old is None or old["instance"]["digest"] != instance.digest
            if old is None or fresh or old["versions"]["scope-opt"] != __version__:
                options = SolveOptions(
                    segments="balanced" if solver in HEURISTICS else "dp",
                    seed=0 if solver == ANNEAL else None,
                )
                results[solver] = solve(instance, solver, options)
                print(
                    name, solver, results[solver].status, results[solver].objective_ps, flush=True
                )
                record = json.loads(results[solver].to_json())
                record["trajectory"] = []  # long, and not used here
                if solver == "exact":
                    record["attribution"] = _attribution(instance, results, known)
                with RECORDS.open("a") as stream:
                    stream.write(json.dumps(record) + "\n")


def _attribution(
    instance: Instance, results: dict[str, Result], known: dict[tuple[str, str], Record]
) -> dict[str, int] | None:
    scope = results.get("scope")
    if scope is None:
        text = json.dumps({**known[instance.name, "scope"]})
        scope = Result.from_json(text, str(RECORDS))
    exact = results["exact"]
    if scope.schedule is None or exact.status is not Status.OPTIMAL or exact.objective_ps is None:
        return None
    found = attribute(instance, build_tables(instance), scope.schedule, exact.objective_ps)
    return {name: getattr(found, name) for name in found.__dataclass_fields__}


def report(records: dict[tuple[str, str], Record]) -> str:
    """The study's page, from its records only."""
    names = [f"{network}-{chiplets}" for network in NETWORKS for chiplets in CHIPLETS]
    solvers = (*HEURISTICS, ANNEAL, *EXACT)
    names = [name for name in names if all((name, solver) in records for solver in solvers)]
    started = runs(MANIFEST)
    last = started[-1]
    proved = [name for name in names if records[name, "exact"]["status"] == "optimal"]
    seconds = sum(records[name, "exact"]["times_s"]["total"] for name in names)
    gaps = sorted(_excess(records, name, "scope") for name in proved)
    annealed = sorted(_excess(records, name, ANNEAL) for name in proved)
    gains = {name: _gain(records, name, HEURISTICS) for name in names}
    fair = {name: _gain(records, name, EXACT) for name in names}
    best, best_fair = max(gains, key=gains.__getitem__), max(fair, key=fair.__getitem__)
    out = [
        "# The paper's networks: four schemes, heuristic and optimal",
        "",
        f"{len(names)} instances: eight networks on 16 to 256 chiplets, 64 samples. Each scheme is "
        "run with the paper's search (balanced segments) and exactly (free segments, proved "
        "optimal). Reproduce with `python results/optima/run.py`; `records.jsonl` holds every "
        "result with its schedule, `manifest.json` the versions and the machine.",
        "",
        f"Machine: {last['machine']['cpu']}, {last['machine']['cores']} cores, one used; commits "
        f"{', '.join(each['commit'][:12] for each in started)}, {last['started'][:10]}.",
        "",
        f"- Proved optimal: {len(proved)} of {len(names)} instances, {seconds:.0f} s together.",
        f"- `scope` is {100 * median(gaps):.1f} % above the optimum in the median, "
        f"{100 * gaps[int(0.9 * (len(gaps) - 1))]:.1f} % at the 90th percentile, "
        f"{100 * gaps[-1]:.1f} % at worst; `anneal` {100 * median(annealed):.1f} % in the median, "
        f"{100 * annealed[-1]:.1f} % at worst.",
        f"- Largest gain of `scope` over the best baseline: {gains[best]:.2f}x ({best}); "
        f"with every scheme at its optimum: {fair[best_fair]:.2f}x ({best_fair}).",
        "",
        "## Throughput, samples per second",
        "",
        "`-` where the scheme has no valid schedule. *opt*: proved optimum of the scheme.",
        "",
        "| instance | sequential | opt | pipeline | opt | segmented | opt | scope | optimum "
        "| scope / best baseline |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name in names:
        cells = []
        for heuristic, exact in zip(HEURISTICS, EXACT, strict=True):
            cells += [_rate(records, name, heuristic), _rate(records, name, exact)]
        out.append(f"| {name} | {' | '.join(cells)} | {gains[name]:.2f} |")
    out += [
        "",
        "## Gap of the paper's search, and what loses it",
        "",
        "Latency of `scope` above the proved optimum, in per cent of the optimum, split by freeing "
        "one decision after the other: partitions with everything else as `scope` chose it, then "
        "regions, clusters and segments. *transition* is what a single switch from WSP to ISP in "
        "each of `scope`'s segments costs against free partitions, clusters and regions otherwise "
        "optimal (part of no other column). *anneal*: gap and seconds of simulated annealing, seed "
        "0, with its default number of moves. Last column: numbers of segments of segmented "
        "pipeline, scope and optimum.",
        "",
        "| instance | scope ms | segmented ms | optimum ms | proof s | gap % | partitions "
        "| regions | clusters | segments | transition | anneal % | anneal s "
        "| segments (seg., scope, opt.) |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for name in names:
        out.append(_gap_row(records, name))
    return "\n".join(out) + "\n"


def _gap_row(records: dict[tuple[str, str], Record], name: str) -> str:
    exact, scope = records[name, "exact"], records[name, "scope"]
    optimum = exact["objective_ps"]
    split = exact.get("attribution")
    cells = [_ms(scope), _ms(records[name, "segmented"]), _ms(exact)]
    cells.append(f"{exact['times_s']['solve']:.2f}")
    cells.append(f"{100 * _excess(records, name, 'scope'):.1f}")
    if split is None:
        cells += ["-"] * 5
    else:
        chain = ("schedule_ps", "partitions_ps", "regions_ps", "clusters_ps", "segments_ps")
        values = [split[key] for key in chain]
        for before, after in pairwise(values):
            cells.append(f"{100 * (before - after) / optimum:.1f}")
        cells.append(f"{100 * (split['transition_ps'] - split['clusters_ps']) / optimum:.1f}")
    cells.append(f"{100 * _excess(records, name, ANNEAL):.1f}")
    cells.append(f"{records[name, ANNEAL]['times_s']['solve']:.1f}")
    counts = [_segments(records[name, solver]) for solver in ("segmented", "scope", "exact")]
    cells.append(", ".join(counts))
    return f"| {name} | {' | '.join(cells)} |"


def _excess(records: dict[tuple[str, str], Record], name: str, solver: str) -> float:
    optimum: int = records[name, "exact"]["objective_ps"]
    objective: int = records[name, solver]["objective_ps"]
    return (objective - optimum) / optimum


def _gain(records: dict[tuple[str, str], Record], name: str, solvers: tuple[str, ...]) -> float:
    """Best baseline's latency over the merged pipeline's, the last of ``solvers``."""
    *baselines, merged = [records[name, solver]["objective_ps"] for solver in solvers]
    best: int = min(value for value in baselines if value is not None)
    return best / int(merged)


def _rate(records: dict[tuple[str, str], Record], name: str, solver: str) -> str:
    rate = records[name, solver]["throughput_per_s"]
    return "-" if rate is None else f"{rate:.0f}"


def _ms(record: Record) -> str:
    return "-" if record["objective_ps"] is None else f"{record['objective_ps'] / 1e9:.3f}"


def _segments(record: Record) -> str:
    return "-" if record["schedule"] is None else str(len(record["schedule"]["segments"]))


if __name__ == "__main__":
    main()
