"""Page of the study `scale`: the exact solver in a minute on large packages and deep networks."""

from __future__ import annotations

import re
from functools import partial
from math import log
from typing import TYPE_CHECKING, Any, NamedTuple

from scope_opt.model.units import ABSENT
from scope_opt.report.drawing import COLORS, MARKERS, new_figure
from scope_opt.report.markdown import Article, Picture, bullets, fixed, table
from scope_opt.report.results.records import milliseconds, records_of
from scope_opt.solving.metrics import milestones, time_to_gap
from scope_opt.solving.result import Status

if TYPE_CHECKING:
    from scope_opt.solving.result import Result

STUDY = "scale"
LABELS = {"free": "free segments", "single": "one segment"}
MIB = 1 << 20


class _Run(NamedTuple):
    """A run that found a schedule."""

    network: str
    """Name of the instance without its number of chiplets"""
    chiplets: int
    label: str
    result: Result

    @property
    def first_s(self) -> float | None:
        return milestones(self.result.trajectory).first_s

    @property
    def close_s(self) -> float | None:
        """Until schedule and bound were within 1 %."""
        return time_to_gap(self.result.trajectory, 0.01)

    @property
    def proof_s(self) -> float | None:
        return milestones(self.result.trajectory).proof_s

    @property
    def memory_mib(self) -> float:
        return (self.result.peak_memory_bytes or 0) / MIB


def page() -> Article:
    """The page."""
    records = records_of(STUDY)
    runs, none = [], []
    for name in records.instances:
        for label in LABELS:
            result = records.result(name, label)
            if result is None:
                continue
            if result.schedule is None:
                none.append(f"{name} ({LABELS[label]}): {result.status}")
                continue
            network, chiplets, model = _parts(name)
            runs.append(_Run(f"{network}{model}", chiplets, label, result))
    runs.sort(key=lambda run: (run.network, run.label, run.chiplets))
    firsts = [run.first_s for run in runs if run.first_s is not None]
    largest = max(runs, key=lambda run: run.memory_mib)
    lines = [
        f"First schedule: after {max(firsts):.1f} s at most.",
        f"Proved within the minute: {sum(run.proof_s is not None for run in runs)} of {len(runs)}; "
        f"within 1 %: {sum(run.close_s is not None for run in runs)}.",
        f"Largest memory: {largest.memory_mib:.0f} MiB ({largest.network} on {largest.chiplets}, "
        f"{LABELS[largest.label]}).",
        *_exponents(runs),
    ]
    if none:
        lines.append(f"Without a schedule: {'; '.join(none)}.")
    return Article(
        "Large packages and deep networks",
        [
            "`exact` for a minute on 256 to 4,096 chiplets: ResNet-152 (156 layers) and transformers "
            "of 96 blocks (768 layers), 1,024 wide on 512 tokens and 12,288 wide on 2,048 tokens, "
            "these with weights that are fetched again where they do not fit. "
            f"{records.origin()}",
            bullets(lines),
            "For comparison: the paper's search takes about an hour for ResNet-152 on 256 chiplets "
            "(arXiv:2602.14393, Sec. V-B) and has no bound.",
            Picture("gaps.svg", "Gap after a minute over chiplets", partial(_draw, runs)),
            "Latency and bound in ms; *first*, *1 %* and *proof*: seconds to the first schedule, to a "
            "gap of 1 %, and to the proof; *MiB*: largest memory of the process.",
            *(
                block
                for network in dict.fromkeys(run.network for run in runs)
                for block in (
                    f"## {network}",
                    table(
                        (
                            *("segments", "chiplets", "latency", "bound", "gap %"),
                            *("first", "1 %", "proof", "MiB"),
                        ),
                        [_row(run) for run in runs if run.network == network],
                    ),
                )
            ),
        ],
    )


def _parts(name: str) -> tuple[str, int, str]:
    """Network, number of chiplets, and what else an instance's name says after it."""
    found = re.fullmatch(r"(.+)-(\d+)((?:-[a-z]+)*)", name)
    assert found is not None  # every instance that `generate` names
    return found[1], int(found[2]), found[3]


def _short(network: str) -> str:
    """Kind, depth and width, and the model."""
    name = network.removesuffix("-placed")
    return "-".join(name.split("-")[:3]) + network.removeprefix(name)


def _row(run: _Run) -> list[str]:
    result = run.result
    return [
        LABELS[run.label],
        str(run.chiplets),
        milliseconds(result.objective_ps),
        milliseconds(result.bound_ps),
        ABSENT if result.gap is None else f"{100 * result.gap:.1f}",
        *(fixed(time, ".1f") for time in (run.first_s, run.close_s, run.proof_s)),
        f"{run.memory_mib:.0f}",
    ]


def _exponents(runs: list[_Run]) -> list[str]:
    """How the time to a proof grows with the package, where one is proved on several."""
    found = []
    for network in dict.fromkeys(run.network for run in runs):
        for label, words in LABELS.items():
            proved = [
                (run.chiplets, run.proof_s)
                for run in runs
                if (run.network, run.label) == (network, label)
                and run.proof_s is not None
                and run.result.status is Status.OPTIMAL
            ]
            if len(proved) > 1:
                (few, early), (many, late) = proved[0], proved[-1]
                power = log(late / early) / log(many / few)
                found.append(
                    f"{network}, {words}: the time to a proof grows with the {power:.2f}th power of "
                    f"the chiplets from {few} to {many}."
                )
    return found


def _draw(runs: list[_Run]) -> Any:
    figure, axes = new_figure(columns=2, width=9, height=3.6)
    networks = list(dict.fromkeys(run.network for run in runs))
    for axis, (label, words) in zip(axes, LABELS.items(), strict=True):
        for n, network in enumerate(networks):
            those = [run for run in runs if (run.network, run.label) == (network, label)]
            axis.plot(
                [run.chiplets for run in those],
                [100 * (run.result.gap or 0) for run in those],
                "--" if network.endswith("placed") else "-",
                color=COLORS[n % len(COLORS)],
                marker=MARKERS[n % len(MARKERS)],
                label=_short(network),
                ms=4,
            )
        axis.set_title(words, fontsize=9)
        axis.set_xscale("log", base=2)
        axis.set_xlabel("chiplets")
        axis.set_ylabel("gap after 60 s, %")
        axis.grid(alpha=0.3)
    axes[0].legend(frameon=False, fontsize=7)
    return figure
