"""The page `results/README.md`: what there is, and the paper's figures beside ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scope_opt.report.markdown import Article, fixed, table
from scope_opt.report.page import Link
from scope_opt.report.results.records import PAPER_INSTANCES, has_run, ratio, records_of
from scope_opt.report.results.validation import load_validations

if TYPE_CHECKING:
    from scope_opt.report.results.records import Records

LARGEST = "resnet152-256"
STUDIES = {
    "optima": "four schemes on the 40 paper instances, by the paper's search and at the optimum (Fig. 7), annealing",
    "scaling": "ResNet-152 on more and more chiplets (Fig. 9)",
    "segment-counts": "how many segments, and what decides the gain of merging (Fig. 1(b))",
    "case-study": "loads and energy of ResNet-152 on 256 chiplets (Fig. 10)",
    "one-segment": "the whole network as one pipeline up to 64 chiplets, with shared links",
    "scale": "the exact solver in a minute on up to 4,096 chiplets and 768 layers",
    "transformers": "prompts and tokens of published transformers on up to 1,024 chiplets",
    "plus": "`scope-plus` on networks it was not designed on, both models",
    "placed": "the 40 instances of the placed model: four schemes and the optimum, with shared links",
    "orders": "the best order of positions of each placed instance",
    "certificates": "what proofs and their checks by another program take, and how large certificates are",
    "as-placed": "what the schedules of `optima` take where their regions lie, and who overtakes whom",
    "alexnet-space": "every schedule of AlexNet on 16 chiplets (Fig. 8)",
    "sensitivity": "the gain against samples, bandwidth, buffers and the split of PEs",
    "validation": "the paper's search by gap, rank and losses",
    "readings": "the paper's search where its text leaves a choice, and what each choice is worth",
    "reach": "what the formulations prove in one minute, and in ten",
    "gaps": "every solver against the best that is known; registry of best known schedules",
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
            "`scaling`, `case-study`, `gaps` and `takeaways` show records of other studies. "
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
            table(["Paper", "says", "here", "why they differ"], _comparison(), 4),
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
    optima, counts = records_of("optima"), records_of("segment-counts")
    space = records_of("alexnet-space")
    heuristic = _gains(optima, ("sequential", "pipeline", "segmented", "scope"))
    fair = _gains(optima, ("exact-sequential", "exact-pipeline", "exact-segmented", "exact"))
    best, best_fair = max(heuristic, key=heuristic.__getitem__), max(fair, key=fair.__getitem__)
    seconds = optima.result(LARGEST, "scope")
    rank = space.objective("alexnet-16", "scope", "stream")
    optimum = space.objective("alexnet-16", "exact", "stream")

    def gain(merged: str, single: str) -> str:
        pair = (counts.rate(LARGEST, merged), counts.rate(LARGEST, single))
        return f"{fixed(ratio(*pair))}x"

    def chosen(label: str) -> str:
        return str(counts.segments(LARGEST, label))

    pair = [counts.result(LARGEST, label) for label in ("scope 2", "segmented 3")]
    joules = [None if r is None or r.energy_j is None else r.energy_j.total for r in pair]
    energy = fixed(ratio(*joules))
    growth = {
        label: ratio(optima.rate(LARGEST, label), optima.rate("resnet152-16", label))
        for label in ("sequential", "segmented", "scope", "exact")
    }
    return [
        [
            "Fig. 7, Sec. V-B(2)",
            "Scope is best everywhere, up to 1.73x over the state of the art, most for the deepest network on most "
            "chiplets",
            f"with the paper's search up to {fixed(heuristic[best])}x ({best}), "
            f"{fixed(heuristic[LARGEST])}x on {LARGEST}; between proved optima up to {fixed(fair[best_fair])}x "
            f"({best_fair}), {fixed(fair[LARGEST])}x on {LARGEST}",
            "the baseline: an exactly optimized segmented pipeline cuts the network often enough that merging "
            "has little left to repair; see the next row",
        ],
        [
            "Fig. 1(b), Sec. V-B(d)",
            "ResNet-152 on 256 chiplets: 2 segments of Scope against 3 of the segmented pipeline",
            f"that pair: {gain('scope 2', 'segmented 3')}; at one segment "
            f"{gain('exact 1', 'exact-segmented 1')} between optima, at two "
            f"{gain('exact 2', 'exact-segmented 2')}; with free counts {gain('exact dp', 'exact-segmented dp')} "
            f"(at {chosen('exact dp')} and {chosen('exact-segmented dp')} segments), with the paper's search "
            f"{gain('scope balanced', 'segmented balanced')} (at {chosen('scope balanced')} and "
            f"{chosen('segmented balanced')})",
            "what decides is whether the baseline may choose its own number of segments, and how well its regions "
            "are sized",
        ],
        [
            "Fig. 8",
            "AlexNet on 16 chiplets: the search is among the top 0.05 % of all schedules",
            "it finds the optimum" if rank == optimum else "it does not find the optimum",
            "weights that do not fit are streamed here, and DRAM bounds every schedule; other instances are in "
            "[`validation`](validation)",
        ],
        [
            "Sec. V-B(1)",
            "search for ResNet-152 on 256 chiplets takes about an hour",
            f"{fixed(None if seconds is None else seconds.times_s.total, '.1f')} s for the same search (balanced "
            "segments, every cluster count and transition)",
            "latency tables are made once and the search is compiled",
        ],
        [
            "Fig. 9",
            "Scope scales best, the segmented pipeline more slowly, sequential execution may fall",
            "ResNet-152, 16 to 256 chiplets: "
            + ", ".join(f"{label} {fixed(value, '.1f')}x" for label, value in growth.items()),
            "the same order; sequential execution flattens and does not fall",
        ],
        [
            "Fig. 10(b)",
            "both schemes take about the same energy",
            f"{energy} times the energy for the merged schedule of the same pair",
            "they agree ([`case-study`](case-study))",
        ],
    ]


def _gains(records: Records, labels: tuple[str, ...]) -> dict[str, float]:
    """Throughput of the last label over the best of the others."""
    found = {}
    for name in PAPER_INSTANCES:
        *others, merged = [records.rate(name, label) for label in labels]
        gain = ratio(merged, max((rate for rate in others if rate is not None), default=None))
        if gain is not None:
            found[name] = gain
    return found
