"""Page of the study `validation`: the paper's search judged by gap, rank and what loses it.

``results/validation/run.py`` makes the validations.
"""

from __future__ import annotations

from statistics import median

from scope_opt.report.markdown import Article, bullets, fixed, table
from scope_opt.report.results.records import PAPER_INSTANCES, RESULTS, machine
from scope_opt.validation.document import Validation

STUDY = "validation"
VALIDATIONS = RESULTS / STUDY / "validations.jsonl"
SOLVER = "scope"
DECISIONS = ("partitions", "regions", "clusters", "segments")


def load_validations() -> dict[str, Validation]:
    """Those that were made, by instance; of several the last counts."""
    lines = VALIDATIONS.read_text().splitlines() if VALIDATIONS.exists() else []
    found = [Validation.from_json(line, str(VALIDATIONS)) for line in lines]
    return {validation.instance.name: validation for validation in found}


def page() -> Article:
    """The page."""
    known = load_validations()
    found = {name: known[name] for name in PAPER_INSTANCES if name in known}
    losses = {name: each.losses for name, each in found.items() if each.losses is not None}
    gaps = {name: _gap(each) for name, each in found.items()}
    worst = max(gaps, key=gaps.__getitem__)
    most = {
        decision: max(losses, key=lambda name: getattr(losses[name], decision))
        for decision in DECISIONS
    }
    ranked = [each for each in found.values() if each.rank is not None]
    unbeaten = sum(each.rank is not None and each.rank.among_all.better == 0 for each in ranked)
    return Article(
        "The paper's search, validated",
        [
            f"`scope-opt validate-heuristic INSTANCE --solver {SOLVER}` on {len(found)} instances: the gap to "
            "the proved optimum, which decision loses it, and the rank among the schedules of one segment. "
            "Reproduce with `python results/validation/run.py`; `validations.jsonl` has every validation whole. "
            f"{machine(STUDY)}",
            bullets(
                [
                    f"Gap: {100 * median(gaps.values()):.1f} % in the median, {100 * gaps[worst]:.1f} % at worst "
                    f"({worst}).",
                    "Largest loss of each decision: "
                    + ", ".join(
                        f"{decision} {100 * getattr(losses[name], decision):.1f} % ({name})"
                        for decision, name in most.items()
                    )
                    + ".",
                    f"Of the schedules of one segment, none of those counted or drawn is better in {unbeaten} of the "
                    f"{len(ranked)} instances that have a rank, whatever the gap there: a top percentile "
                    "says little about the gap.",
                ]
            ),
            "## Gap, and what loses it",
            "Latency above the proved optimum in per cent of it, split by freeing one decision after the "
            "other: partitions with everything else as the search chose it, then regions, clusters and "
            "segments. *transition* is what a single switch from WSP to ISP in each segment costs against "
            "free partitions, clusters and regions otherwise optimal (part of no other column).",
            table(["instance", "gap", *DECISIONS, "transition"], _loss_rows(found)),
            "## Rank among the schedules of one segment",
            "Those that use every chiplet, valid or not, as the paper counts them; where the search cuts the "
            "network, its schedule for a single segment is ranked. *counted*: all of them, or as many drawn "
            "uniformly. *better*: of these. *top %*: at most this share of all, and of the valid ones, is "
            "better, with 95 % confidence where they were drawn. *gap*: of the one-segment schedule to the "
            "optimum over all segments. Left out: instances that have no such schedule, or where the search "
            "finds none.",
            table(
                (
                    *("instance", "schedules", "counted", "valid", "better"),
                    *("top % of all", "of the valid", "gap"),
                ),
                _rank_rows(found),
            ),
        ],
    )


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
        rows.append([name, fixed(100 * _gap(validation)), *(fixed(value) for value in values)])
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
                *(fixed(None if share is None else 100 * share, ".2g") for share in shares),
                fixed(100 * (rank.latency_ps / validation.optimum.objective_ps - 1)),
            ]
        )
    return rows
