"""Page of the study `validation`: the paper's search judged by gap, rank and what loses it.

Validations that are missing are made first, one instance after the other; each is kept in
`validations.jsonl` as it ends, so an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median

from pages import PAPER_INSTANCES, ROOT, machine, table, text
from scope_opt.model.files import write_text
from scope_opt.model.instance import Instance
from scope_opt.studies.provenance import note_run
from scope_opt.validation.document import Validation
from scope_opt.validation.run import ValidationOptions, validate

HERE = Path(__file__).parent
VALIDATIONS, MANIFEST = HERE / "validations.jsonl", HERE / "manifest.json"
SOLVER = "scope"
DECISIONS = ("partitions", "regions", "clusters", "segments")


def page() -> list[str]:
    """Lines of README.md."""
    found = _validations()
    losses = {name: each.losses for name, each in found.items() if each.losses is not None}
    gaps = {name: _gap(each) for name, each in found.items()}
    worst = max(gaps, key=gaps.__getitem__)
    most = {
        decision: max(losses, key=lambda name: getattr(losses[name], decision))
        for decision in DECISIONS
    }
    ranked = [each for each in found.values() if each.rank is not None]
    unbeaten = sum(each.rank is not None and each.rank.among_all.better == 0 for each in ranked)
    return [
        "# The paper's search, validated",
        "",
        f"`scope-opt validate-heuristic INSTANCE --solver {SOLVER}` on {len(found)} instances: the gap to "
        "the proved optimum, which decision loses it, and the rank among the schedules of one segment. "
        "Reproduce with `python results/run.py validation`; `validations.jsonl` has every validation whole. "
        f"{machine(MANIFEST)}",
        "",
        f"- Gap: {100 * median(gaps.values()):.1f} % in the median, {100 * gaps[worst]:.1f} % at worst "
        f"({worst}).",
        "- Largest loss of each decision: "
        + ", ".join(
            f"{decision} {100 * getattr(losses[name], decision):.1f} % ({name})"
            for decision, name in most.items()
        )
        + ".",
        f"- Of the schedules of one segment, none of those counted or drawn is better in {unbeaten} of the "
        f"{len(ranked)} instances that have a rank, whatever the gap there: a top percentile "
        "says little about the gap.",
        "",
        "## Gap, and what loses it",
        "",
        "Latency above the proved optimum in per cent of it, split by freeing one decision after the "
        "other: partitions with everything else as the search chose it, then regions, clusters and "
        "segments. *transition* is what a single switch from WSP to ISP in each segment costs against "
        "free partitions, clusters and regions otherwise optimal (part of no other column).",
        "",
        *table(["instance", "gap", *DECISIONS, "transition"], _loss_rows(found)),
        "",
        "## Rank among the schedules of one segment",
        "",
        "Those that use every chiplet, valid or not, as the paper counts them; where the search cuts the "
        "network, its schedule for a single segment is ranked. *counted*: all of them, or as many drawn "
        "uniformly. *better*: of these. *top %*: at most this share of all, and of the valid ones, is "
        "better, with 95 % confidence where they were drawn. *gap*: of the one-segment schedule to the "
        "optimum over all segments. Left out: instances that have no such schedule, or where the search "
        "finds none.",
        "",
        *table(
            (
                *("instance", "schedules", "counted", "valid", "better"),
                *("top % of all", "of the valid", "gap"),
            ),
            _rank_rows(found),
        ),
    ]


def _validations() -> dict[str, Validation]:
    lines = VALIDATIONS.read_text().splitlines() if VALIDATIONS.exists() else []
    known = {}
    for line in lines:
        validation = Validation.from_json(line, str(VALIDATIONS))
        known[validation.instance.name] = validation
    if "--page" not in sys.argv:
        noted = False
        for name in PAPER_INSTANCES:
            instance = Instance.load(ROOT / "instances" / "paper" / f"{name}.json")
            old = known.get(name)
            if old is not None and old.instance.digest == instance.digest:
                continue
            if not noted:
                note_run(MANIFEST, "python results/run.py validation")
                noted = True
            known[name] = validate(instance, SOLVER, ValidationOptions())
            lines = [_line(each) for each in known.values()]
            write_text(VALIDATIONS, "".join(lines), force=True)
            print(f"{name}: gap {100 * _gap(known[name]):.1f} %", flush=True)
    return {name: known[name] for name in PAPER_INSTANCES if name in known}


def _line(validation: Validation) -> str:
    """Without trajectories, which are long and used nowhere here."""
    content = json.loads(validation.to_json())
    for result in (*content["runs"], content["exact"], content["one_segment"]):
        if result is not None:
            result["trajectory"] = []
    return json.dumps(content) + "\n"


def _gap(validation: Validation) -> float:
    gap = validation.gaps[0]
    assert gap is not None
    assert gap.at_least is not None
    return gap.at_least


def _loss_rows(found: dict[str, Validation]) -> list[list[str]]:
    rows = []
    for name, validation in found.items():
        losses = validation.losses
        names = (*DECISIONS, "transition")
        values = [None if losses is None else 100 * getattr(losses, each) for each in names]
        rows.append([name, text(100 * _gap(validation)), *(text(value) for value in values)])
    return rows


def _rank_rows(found: dict[str, Validation]) -> list[list[str]]:
    rows = []
    for name, validation in found.items():
        rank = validation.rank
        if rank is None or validation.optimum.objective_ps is None:
            continue
        shares = (rank.among_all.better_share_at_most, rank.among_valid.better_share_at_most)
        rows.append(
            [
                name,
                f"10^{rank.log10_schedules:.1f}",
                f"{rank.among_all.counted:,}" + (" drawn" if rank.method == "sampling" else ""),
                f"{rank.among_valid.counted:,}",
                f"{rank.among_all.better:,}",
                *(text(None if share is None else 100 * share, ".2g") for share in shares),
                text(100 * (rank.latency_ps / validation.optimum.objective_ps - 1)),
            ]
        )
    return rows
