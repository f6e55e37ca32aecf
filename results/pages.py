"""What the pages of studies share: records by instance and label, Markdown tables, figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from scope_opt.model.generate import TITLES
from scope_opt.model.zoo import PAPER_CHIPLETS
from scope_opt.studies.provenance import runs
from scope_opt.studies.records import load_records

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from scope_opt.solving.result import Result
    from scope_opt.studies.records import Record

RESULTS = Path(__file__).parent
ROOT = RESULTS.parent
PAPER_INSTANCES = tuple(
    f"{network}-{chiplets}" for network in TITLES for chiplets in PAPER_CHIPLETS
)
COLORS = ("#1b6ca8", "#c8553d", "#3c8d5a", "#7a4ea3", "#8a6d1f", "#4c4c4c")
MARKERS = "osD^vx"


class Records:
    """Records of a study, by instance, label and variant.

    Parameters
    ----------
    study : str
        Name of its folder.
    """

    def __init__(self, study: str) -> None:
        self.folder = RESULTS / study
        self._records: dict[tuple[str, str, str | None], list[Record]] = {}
        for record in load_records(self.folder):
            key = (record.instance.name, record.label, record.variant)
            self._records.setdefault(key, []).append(record)
        for records in self._records.values():
            records.sort(key=lambda record: record.seed or 0)
        self.instances = tuple(dict.fromkeys(key[0] for key in self._records))
        self.labels = tuple(dict.fromkeys(key[1] for key in self._records))
        self.variants = tuple(dict.fromkeys(key[2] for key in self._records))

    def record(self, instance: str, label: str, variant: str | None = None) -> Record | None:
        """The record of a job, that of the first seed; None if it has not run."""
        found = self.seeds(instance, label, variant)
        return found[0] if found else None

    def seeds(self, instance: str, label: str, variant: str | None = None) -> Sequence[Record]:
        """Records of all seeds of a job."""
        return self._records.get((instance, label, variant), ())

    def result(self, instance: str, label: str, variant: str | None = None) -> Result | None:
        """The result of a job; None if it has not run or was refused."""
        record = self.record(instance, label, variant)
        return None if record is None else record.result

    def results(self, instance: str) -> list[Result]:
        """Every result of an instance as it is, of all labels and seeds."""
        return [
            record.result
            for (name, _, variant), records in self._records.items()
            if name == instance and variant is None
            for record in records
            if record.result is not None
        ]

    def objective(self, instance: str, label: str, variant: str | None = None) -> int | None:
        """Latency in ps; None without a schedule."""
        result = self.result(instance, label, variant)
        return None if result is None else result.objective_ps

    def rate(self, instance: str, label: str, variant: str | None = None) -> float | None:
        """Samples per second; None without a schedule."""
        result = self.result(instance, label, variant)
        return None if result is None else result.throughput_per_s

    def segments(self, instance: str, label: str, variant: str | None = None) -> int | None:
        """Number of segments; None without a schedule."""
        result = self.result(instance, label, variant)
        if result is None or result.schedule is None:
            return None
        return len(result.schedule.segments)

    def origin(self) -> str:
        """How the records came about, as a paragraph."""
        return (
            f"Reproduce with `python results/run.py {self.folder.name}`. `study.toml` says what is "
            "run, `records.jsonl` holds every result with its schedule, `table.csv` a row of each, "
            f"`manifest.json` the versions. {machine(self.folder / 'manifest.json')}"
        )


def machine(manifest: Path) -> str:
    """Machine, commits and date of the runs in a manifest, as a sentence."""
    done = runs(manifest)
    last = done[-1]
    commits = ", ".join(dict.fromkeys((run["commit"] or "none")[:12] for run in done))
    cpu, cores = last["machine"]["cpu"], last["machine"]["cores"]
    return f"Machine: {cpu}, {cores} cores; commits {commits}, {last['started'][:10]}."


def table(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> list[str]:
    """Lines of a Markdown table; all columns but the first ``left`` are aligned to the right."""
    marks = ["---"] * left + ["---:"] * (len(header) - left)
    return [f"| {' | '.join(cells)} |" for cells in (header, marks, *rows)]


def text(value: float | None, pattern: str = ".2f") -> str:
    """A number, or ``-`` where there is none."""
    return "-" if value is None else format(value, pattern)


def ratio(above: float | None, below: float | None) -> float | None:
    """Quotient of two numbers that may not exist."""
    return None if above is None or below is None else above / below


def milliseconds(value: int | None) -> str:
    """A latency in ps as milliseconds."""
    return text(None if value is None else value / 1e9, ".3f")


def new_figure(rows: int = 1, columns: int = 1, width: float = 9, height: float = 3.6) -> Any:
    """Figure and axes of matplotlib that draw the same SVG each time."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams |= {"svg.hashsalt": "scope-opt", "svg.fonttype": "none", "font.size": 9}
    from matplotlib import pyplot as plt

    return plt.subplots(rows, columns, figsize=(width, height), constrained_layout=True)


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure as SVG, without its date."""
    figure.savefig(path, metadata={"Date": None})
