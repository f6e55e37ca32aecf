"""Page of the study `validation`: the paper's search judged by gap, rank and what loses it.

``results/validation/run.py`` makes the validations.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from scope_opt.report.markdown import Article, bullets, fixed, table
from scope_opt.report.results.records import MODELS, PAPER_INSTANCES, RESULTS, machine
from scope_opt.validation.document import Validation

if TYPE_CHECKING:
    from scope_opt.report.results.records import Model
    from scope_opt.validation.document import Losses

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
    models = {model: of_model(known, model) for model in MODELS}
    models = {model: found for model, found in models.items() if found}
    return Article(
        "The paper's search, validated",
        [
            f"`scope-opt validate-heuristic INSTANCE --solver {SOLVER}`: the gap to the proved optimum, which "
            "decision loses it, and the rank among the schedules of one segment. Reproduce with `python "
            "results/validation/run.py` and, in the placed model, `python results/validation/run.py --placed`; "
            f"`validations.jsonl` has every validation whole. {machine(STUDY)}",
            bullets([line for model, found in models.items() for line in _lines(model, found)]),
            "## Gap, and what loses it",
            "Latency above the proved optimum in per cent of it, split by freeing one decision after the "
            "other: partitions with everything else as the search chose it, then regions, clusters and "
            "segments. *transition* is what a single switch from WSP to ISP in each segment costs against "
            "free partitions, clusters and regions otherwise optimal (part of no other column). *open*: by "
            "how much any of them may be wrong in the placed model, since shared links leave open what is "
            "optimal once some decisions are fixed: the best schedules found are compared.",
            *(
                block
                for model, found in models.items()
                for block in (
                    f"### {model.name.capitalize()}",
                    table(["instance", "gap", *DECISIONS, "transition", "open"], _loss_rows(found)),
                )
            ),
            "## Rank among the schedules of one segment",
            "Those that use every chiplet, valid or not, as the paper counts them; where the search cuts the "
            "network, its schedule for a single segment is ranked. *counted*: all of them, or as many drawn "
            "uniformly. *better*: of these. *top %*: at most this share of all, and of the valid ones, is "
            "better, with 95 % confidence where they were drawn. *gap*: of the one-segment schedule to the "
            "optimum over all segments. Left out: instances that have no such schedule, or where the search "
            "finds none.",
            *(
                block
                for model, found in models.items()
                for block in (
                    f"### {model.name.capitalize()}",
                    table(
                        (
                            *("instance", "schedules", "counted", "valid", "better"),
                            *("top % of all", "of the valid", "gap"),
                        ),
                        _rank_rows(found),
                    ),
                )
            ),
        ],
    )


def of_model(known: dict[str, Validation], model: Model) -> dict[str, Validation]:
    """Those of a model, by the name of the regressed instance."""
    return {
        name: known[name + model.suffix] for name in PAPER_INSTANCES if name + model.suffix in known
    }


def losses_of(found: dict[str, Validation]) -> dict[str, Losses]:
    """What decisions lose, of the validations that say so."""
    return {name: each.losses for name, each in found.items() if each.losses is not None}


def _lines(model: Model, found: dict[str, Validation]) -> list[str]:
    gaps = {name: _gap(each) for name, each in found.items()}
    losses = losses_of(found)
    worst = max(gaps, key=gaps.__getitem__)
    largest = {
        decision: max(losses, key=lambda name: getattr(losses[name], decision))
        for decision in DECISIONS
    }
    most = ", ".join(
        f"{decision} {100 * getattr(losses[name], decision):.1f} % ({name})"
        for decision, name in largest.items()
    )
    middle = ", ".join(
        f"{decision} {100 * median(getattr(each, decision) for each in losses.values()):.1f} %"
        for decision in DECISIONS
    )
    ranked = [each.rank for each in found.values() if each.rank is not None]
    unbeaten = sum(rank.among_all.better == 0 for rank in ranked)
    missing = [name for name in PAPER_INSTANCES if name not in found]
    without = f" (without {', '.join(missing)}, whose proofs take minutes)" if missing else ""
    return [
        f"{model.name.capitalize()}, {len(found)} instances{without}: gap {100 * median(gaps.values()):.1f} % in the "
        f"median, {100 * gaps[worst]:.1f} % at worst ({worst}). Median loss of each decision: {middle}; "
        f"largest: {most}.",
        "Of the schedules of one segment, none of those counted or drawn is better in "
        f"{unbeaten} of the {len(ranked)} instances that have a rank, whatever the gap there: a top "
        "percentile says little about the gap.",
    ]


def _gap(validation: Validation) -> float:
    gap = validation.gaps[0]
    assert gap is not None
    assert gap.at_least is not None
    return gap.at_least


def _loss_rows(found: dict[str, Validation]) -> list[list[str]]:
    rows = []
    for name, validation in found.items():
        losses = validation.losses
        names = (*DECISIONS, "transition", "open")
        values = [None if losses is None else getattr(losses, each) for each in names]
        shares = [None if value is None else 100 * value for value in values]
        rows.append([name, fixed(100 * _gap(validation)), *map(fixed, shares)])
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
