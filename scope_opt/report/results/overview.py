"""The page `results/README.md`: what there is, and the paper's figures beside ours."""

from __future__ import annotations

from statistics import fmean, median
from typing import TYPE_CHECKING

from scope_opt.report.markdown import Article, bullets, fixed, table
from scope_opt.report.page import Link
from scope_opt.report.results.alexnet_space import is_best
from scope_opt.report.results.as_placed import schedules_as_placed
from scope_opt.report.results.case_study import PAIR
from scope_opt.report.results.rankings import causes, rankings
from scope_opt.report.results.records import (
    MODELS,
    PAPER_INSTANCES,
    has_run,
    ratio,
    records_of,
    span,
)
from scope_opt.report.results.scaling import growth
from scope_opt.report.results.segment_counts import NETWORKS
from scope_opt.report.results.sensitivity import BASES, PLACED
from scope_opt.report.results.validation import (
    DECISIONS,
    load_validations,
    losses_of,
    of_model,
)

if TYPE_CHECKING:
    from scope_opt.report.results.records import Model, Records

LARGEST = "resnet152-256"
STUDIES = {
    "optima": "four schemes on the 40 paper instances, by the paper's search and at the optimum (Fig. 7), annealing",
    "scaling": "ResNet-152 on more and more chiplets (Fig. 9), both models",
    "segment-counts": "how many segments, and what decides the gain of merging (Fig. 1(b)), both models",
    "case-study": "loads and energy of ResNet-152 on 256 chiplets (Fig. 10), both models",
    "one-segment": "the whole network as one pipeline up to 64 chiplets, with shared links",
    "scale": "the exact solver in a minute on up to 4,096 chiplets and 768 layers",
    "transformers": "prompts and tokens of published transformers on up to 1,024 chiplets",
    "plus": "`scope-plus` on networks it was not designed on, both models",
    "placed": "the 40 instances of the placed model: four schemes, by search and at their optimum, with shared links",
    "orders": "the best order of positions of each placed instance",
    "certificates": "what proofs and their checks by another program take, and how large certificates are",
    "as-placed": "what the schedules of `optima` take where their regions lie, and who overtakes whom",
    "alexnet-space": "every schedule of AlexNet on 16 chiplets (Fig. 8), both models",
    "sensitivity": "the gain against samples, bandwidth, buffers and the split of PEs",
    "sensitivity-placed": "the same where regions lie, and against the order of positions, links and activation memory",
    "validation": "the paper's search by gap, rank and losses, both models",
    "readings": "the paper's search where its text leaves a choice, and what each choice is worth",
    "reach": "what the formulations prove in one minute, and in ten",
    "gaps": "every solver against the best that is known, both models; registry of best known schedules",
    "takeaways": "what a heuristic designer should take from all this, on one screen",
    "formulations": "sizes and linear relaxations of the formulations",
}


def page() -> Article:
    """The page."""
    studies: list[list[str | Link]] = [
        [Link(f"`{name}`", name), question] for name, question in STUDIES.items() if has_run(name)
    ]
    return Article(
        "Results",
        [
            "One folder per study. `study.toml` says what is solved: `scope-opt study results/NAME/study.toml` solves "
            "what is missing. What is no solve of one instance is measured by the script `run.py` of its folder. "
            "`scaling`, `case-study` and `takeaways` show records of other studies. "
            "[docs/studies.md](../docs/studies.md) describes the files.",
            "`python -m scope_opt.report.results` writes these pages from the records, and a test compares them; another "
            "one evaluates every committed schedule again. `scope-opt report results/NAME` makes interactive pages of any "
            "study's records.",
            table(["Study", "Question"], studies, 2),
            *_partly(),
            "## The paper's numbers and ours",
            "The figures of the paper (arXiv:2602.14393) beside what this project's model gives; nothing is tuned to "
            "match. The paper leaves open the number of samples, how often weights are loaded, how the mesh is shared and "
            "more ([choices](../docs/model.md#15-choices)), and gives its results as bars without numbers, so the "
            "comparison is of statements.",
            table(
                ["Paper", "says", "here, regressed", "here, placed", "why they differ"],
                _comparison(),
                5,
            ),
            "## Where the two models disagree",
            "*regressed*: transfers cost what regions of their sizes take in the mean, as in the paper; *placed*: what "
            "they take where regions lie, with shared links ([docs/model.md](../docs/model.md#17-the-placed-model)). "
            "Two numbers with *to* enclose the optimum where links leave it open.",
            bullets(_disagreements()),
        ],
    )


def _partly() -> list[str]:
    """Which studies do not have all instances, as those with skip edges have changed since."""
    validated = [name for name in load_validations() if name in PAPER_INSTANCES]
    names = {"validation": validated, "reach": records_of("reach").instances}
    lines = [
        f"`{study}` has {len(found)} of the {len(PAPER_INSTANCES)} instances: those that are as they were when it ran; "
        "the others charge skip edges at both ends since. The command of the study does what is missing."
        for study, found in names.items()
        if len(found) < len(PAPER_INSTANCES)
    ]
    return [" ".join(lines)] if lines else []


def _comparison() -> list[list[str]]:
    return [
        [
            "Fig. 7, Sec. V-B(2)",
            "Scope is best everywhere, up to 1.73x over the state of the art, most for the deepest network on most "
            "chiplets",
            *map(_schemes, MODELS),
            "the baseline: an exactly optimized segmented pipeline cuts the network often enough that merging "
            f"has little left to repair{_gathers()}",
        ],
        [
            "Fig. 1(b), Sec. V-B(d)",
            "ResNet-152 on 256 chiplets: 2 segments of Scope against 3 of the segmented pipeline",
            *map(_counts, MODELS),
            "what decides is whether the baseline may choose its own number of segments, and how well its regions "
            "are sized",
        ],
        [
            "Fig. 8",
            "AlexNet on 16 chiplets: the search is among the top 0.05 % of all schedules",
            *("it finds the optimum" if is_best(model) else "it does not" for model in MODELS),
            "weights that do not fit are streamed here, and DRAM bounds every schedule; other instances are in "
            "[`validation`](validation), in both models",
        ],
        [
            "Sec. V-B(1)",
            "search for ResNet-152 on 256 chiplets takes about an hour",
            *map(_seconds, MODELS),
            "latency tables are made once and the search (balanced segments, every cluster count and transition) is "
            "compiled",
        ],
        [
            "Fig. 9",
            "Scope scales best, the segmented pipeline more slowly, sequential execution may fall",
            *map(_growth, MODELS),
            "ResNet-152, 16 to 256 chiplets: the same order of the paper's search; sequential execution flattens and "
            "does not fall",
        ],
        [
            "Fig. 10(b)",
            "both schemes take about the same energy",
            *map(_energy, MODELS),
            "merged schedule over the other one of the same pair ([`case-study`](case-study))",
        ],
    ]


def _schemes(model: Model) -> str:
    """Gain of merging over the best other scheme, by search and between optima."""
    records, largest = records_of(model.study), LARGEST + model.suffix
    lines = []
    for how, merged, others in (
        ("with the paper's search", "scope", ("sequential", "pipeline", "segmented")),
        ("between optima", "exact", ("exact-sequential", "exact-pipeline", "exact-segmented")),
    ):
        gains = {}
        for name in PAPER_INSTANCES:
            gain = over_best(records, name + model.suffix, merged, others)
            if gain is not None:
                gains[name] = gain
        best = max(gains, key=gains.__getitem__)
        there = span(over_best(records, largest, merged, others))
        lines.append(f"{how} up to {span(gains[best])}x ({best}), {there}x on {LARGEST}")
    return "; ".join(lines)


def _gathers() -> str:
    """What the placed gain between optima owes to how gathers are routed."""
    if not has_run(PLACED):
        return ""
    records, found = records_of(PLACED), []
    for name in records.instances:
        relayed, unicast = (
            records.gain(name, "exact", "exact-segmented", variant)
            for variant in (BASES[PLACED], "gathers unicast")
        )
        if relayed is not None and unicast is not None:
            found.append(f"{name.removesuffix('-placed')} {span(relayed)}x and {span(unicast)}x")
    return (
        "; placed, gathers are relayed, which takes hardly longer in a larger region; with relayed and with "
        f"unicast gathers merging gives between optima: {', '.join(found)} ([`{PLACED}`]({PLACED}))"
    )


def over_best(
    records: Records, name: str, merged: str, others: tuple[str, ...]
) -> tuple[float, float] | None:
    """Throughput of a label over the fastest of others, as `Records.gain` says."""
    gains = [records.gain(name, merged, other) for other in others]
    known = [gain for gain in gains if gain is not None]
    if not known:
        return None
    return min(low for low, _ in known), min(high for _, high in known)


def _counts(model: Model) -> str:
    counts = records_of("segment-counts")

    def gain(merged: str, single: str, network: str = LARGEST) -> str:
        return f"{span(counts.gain(network + model.suffix, merged, single))}x"

    def chosen(label: str, network: str = LARGEST) -> str:
        return str(counts.segments(network + model.suffix, label))

    searched = (
        f"that pair: {gain('scope 2', 'segmented 3')}; with free counts, by the paper's search "
        f"{gain('scope balanced', 'segmented balanced')} (at {chosen('scope balanced')} and "
        f"{chosen('segmented balanced')} segments)"
    )
    proved = [
        f"{network} between optima: {gain('exact 1', 'exact-segmented 1', network)} at one segment, "
        f"{gain('exact 2', 'exact-segmented 2', network)} at two, "
        f"{gain('exact dp', 'exact-segmented dp', network)} with free counts (at {chosen('exact dp', network)} "
        f"and {chosen('exact-segmented dp', network)})"
        for network in NETWORKS
        if counts.result(network + model.suffix, "exact dp") is not None
    ]
    return "; ".join([searched, *proved])


def _seconds(model: Model) -> str:
    result = records_of(model.study).result(LARGEST + model.suffix, "scope")
    return f"{fixed(None if result is None else result.times_s.total, '.1f')} s"


def _growth(model: Model) -> str:
    labels = ("sequential", "segmented", "scope", "exact")
    return ", ".join(f"{label} {fixed(growth(model, label), '.1f')}x" for label in labels)


def _energy(model: Model) -> str:
    counts = records_of("segment-counts")
    pair = [counts.result(LARGEST + model.suffix, label) for label in reversed(PAIR)]
    joules = [None if r is None or r.energy_j is None else r.energy_j.total for r in pair]
    return f"{fixed(ratio(*joules))} times the energy"


def _disagreements() -> list[str]:
    """Where the models answer a question differently, and why."""
    regressed, placed = (records_of(model.study) for model in MODELS)
    schemes = ("sequential", "pipeline", "segmented", "scope")
    cases = {}
    for name in PAPER_INSTANCES:
        known = {label: placed.objective(f"{name}-placed", label) for label in schemes}
        cases[name] = {label: value for label, value in known.items() if value is not None}
    turned = [
        name for name, known in cases.items() if len(set(map(tuple, rankings(name, known)))) > 1
    ]
    lines = [
        f"**Ranking of the schemes** by the paper's search: in {len(turned)} of {len(cases)} instances. "
        f"{causes(cases)} ([`placed`](placed))"
    ]
    medians = []
    for model, records in zip(MODELS, (regressed, placed), strict=True):
        gains = [
            over_best(records, name + model.suffix, "exact", ("exact-segmented",))
            for name in PAPER_INSTANCES
        ]
        low = [gain[0] for gain in gains if gain is not None]
        high = [gain[1] for gain in gains if gain is not None]
        if low:
            middle = span((median(low), median(high)))
            medians.append(f"{middle}x in the median of {len(low)} instances {model.name}")
    lines.append(
        f"**Merging between optima**, `exact` over `exact-segmented`: {', '.join(medians)}."
    )
    overtaken = [
        name
        for name, known in cases.items()
        if (own := schedules_as_placed(name).get("exact")) is not None
        and min(known.values()) < own.shared_ps
    ]
    lines.append(
        f"**The optimum**: where its regions lie, the regressed optimum is behind a scheme of the paper's "
        f"search in {len(overtaken)} of {len(cases)} instances ({', '.join(overtaken)}): it was chosen for "
        "means over all places, and exploits where they are too low ([`as-placed`](as-placed))."
    )
    losses = {model.name: losses_of(of_model(load_validations(), model)) for model in MODELS}
    both = [name for name in losses["regressed"] if name in losses["placed"]]
    if both:
        mean = {
            name: ", ".join(
                f"{decision} {100 * fmean(getattr(found[x], decision) for x in both):.1f} %"
                for decision in DECISIONS
            )
            for name, found in losses.items()
        }
        lines.append(
            f"**What the paper's search loses**, mean of the {len(both)} instances attributed in both models: "
            + "; ".join(f"{name} {text}" for name, text in mean.items())
            + " ([`validation`](validation))."
        )
    return lines
