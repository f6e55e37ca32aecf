"""Page of the study `scaling`: one network on more and more chiplets (Fig. 9 of the paper)."""

from __future__ import annotations

from math import log2
from typing import TYPE_CHECKING, Any

from scope_opt.model.zoo import PAPER_CHIPLETS
from scope_opt.report.drawing import COLORS, MARKERS, new_figure
from scope_opt.report.markdown import Article, Picture, bullets, fixed, table
from scope_opt.report.results.records import MODELS, ratio, records_of

if TYPE_CHECKING:
    from scope_opt.report.page import Table
    from scope_opt.report.results.records import Model

NETWORK = "resnet152"
SCHEMES = ("sequential", "segmented", "scope")
LABELS = (*SCHEMES, "exact-sequential", "exact-segmented", "exact")
FEWEST, MOST = PAPER_CHIPLETS[0], PAPER_CHIPLETS[-1]


def page() -> Article:
    """The page."""
    tables: list[str | Table] = []
    for model in MODELS:
        records, rates, speedups = records_of(model.study), [], []
        for chiplets in PAPER_CHIPLETS:
            name = f"{NETWORK}-{chiplets}{model.suffix}"
            rates.append([str(chiplets), *(records.rate_cell(name, label) for label in LABELS)])
            over = (growth(model, label, chiplets) for label in LABELS)
            speedups.append([str(chiplets), *map(fixed, over)])
        tables += [
            f"## Samples per second, {model.name}",
            table(["chiplets", *LABELS], rates),
            f"## Over the same scheme on {FEWEST} chiplets, {model.name}",
            table(["chiplets", *LABELS], speedups),
        ]
    return Article(
        "ResNet-152 on 16 to 256 chiplets",
        [
            "How throughput grows with the package (Fig. 9 of the paper; the full pipeline is left out "
            "there as here, as it has no valid schedule on few chiplets), in both models. Records: "
            "[`optima`](../optima) and [`placed`](../placed).",
            Picture("throughput.svg", "Throughput over chiplets", _draw),
            bullets([*(_growth(model) for model in MODELS), *_between()]),
            "In the tables, best schedules of the `exact` solvers: in brackets, by how many per cent of "
            "its throughput the optimum may still be faster where it is not proved.",
            *tables,
        ],
    )


def rate(model: Model, chiplets: int, label: str) -> float | None:
    """Samples per second."""
    return records_of(model.study).rate(f"{NETWORK}-{chiplets}{model.suffix}", label)


def growth(model: Model, label: str, chiplets: int = MOST) -> float | None:
    """Throughput over that of the same scheme on the fewest chiplets."""
    return ratio(rate(model, chiplets, label), rate(model, FEWEST, label))


def _growth(model: Model) -> str:
    """How a model's schemes grow, from the one that grows most."""
    times = {label: growth(model, label) for label in LABELS}
    found = {label: value for label, value in times.items() if value is not None}
    ranked = sorted(found, key=found.__getitem__, reverse=True)
    grown = ", ".join(f"{label} {found[label]:.1f}x" for label in ranked)
    exponent = log2(found["exact"]) / log2(MOST / FEWEST)
    return (
        f"{model.name.capitalize()}, {MOST // FEWEST} times the chiplets: {grown}. That of `exact` is an "
        f"exponent of {exponent:.2f} (1 would be ideal)."
    )


def _between() -> list[str]:
    """Where one model promises more than the other."""
    regressed, placed = MODELS
    found = []
    for label in ("scope", "exact"):
        over = {
            chiplets: ratio(rate(placed, chiplets, label), rate(regressed, chiplets, label))
            for chiplets in PAPER_CHIPLETS
        }
        values = ", ".join(f"{fixed(value)} on {chiplets}" for chiplets, value in over.items())
        found.append(f"Throughput of `{label}` placed over regressed: {values}.")
    return found


def _draw() -> Any:
    figure, axes = new_figure(1, 2, width=9.5, height=3.8)
    for axis, model in zip(axes, MODELS, strict=True):
        for n, scheme in enumerate(SCHEMES):
            exact = "exact" if scheme == "scope" else f"exact-{scheme}"
            for label, style in ((scheme, "-"), (exact, ":")):
                points = [(c, value) for c in PAPER_CHIPLETS if (value := rate(model, c, label))]
                if points:
                    xs, ys = zip(*points, strict=True)
                    axis.plot(xs, ys, style, color=COLORS[n], marker=MARKERS[n], label=label, ms=4)
        ideal = rate(model, FEWEST, "exact")
        assert ideal is not None
        line = [ideal * chiplets / FEWEST for chiplets in PAPER_CHIPLETS]
        axis.plot(PAPER_CHIPLETS, line, "--", color="gray", lw=0.8, label="ideal")
        axis.set_title(model.name, fontsize=9)
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_ylim(700, 20_000)
        axis.set_xticks(PAPER_CHIPLETS, [str(chiplets) for chiplets in PAPER_CHIPLETS])
        axis.set_xlabel("chiplets")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("samples per second")
    axes[0].legend(frameon=False, fontsize=8)
    return figure
