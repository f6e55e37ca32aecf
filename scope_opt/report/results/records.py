"""Records of the studies in ``results``, by what they were asked for."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from scope_opt.model.generate import TITLES
from scope_opt.model.units import ABSENT
from scope_opt.model.zoo import PAPER_CHIPLETS
from scope_opt.report.markdown import fixed
from scope_opt.solving.api import load
from scope_opt.solving.result import Status
from scope_opt.studies.provenance import runs
from scope_opt.studies.records import MANIFEST, load_records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scope_opt.model.instance import Instance
    from scope_opt.solving.result import Result
    from scope_opt.studies.records import Record

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "results"
PAPER_INSTANCES = tuple(
    f"{network}-{chiplets}" for network in TITLES for chiplets in PAPER_CHIPLETS
)


class Model(NamedTuple):
    """A cost model, and the study that has the optima of the paper's instances in it."""

    name: str
    study: str
    suffix: str
    """What its instances are named with behind the network and the number of chiplets."""


MODELS = (Model("regressed", "optima", ""), Model("placed", "placed", "-placed"))


class Records:
    """Records of a study, by instance, label and variant.

    Parameters
    ----------
    study : str
        Name of its folder.
    """

    def __init__(self, study: str) -> None:
        self.study = study
        self._records: dict[tuple[str, str, str | None], list[Record]] = {}
        for record in load_records(RESULTS / study):
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

    def open_share(self, instance: str, label: str, variant: str | None = None) -> float | None:
        """By what share of its throughput the optimum may be faster; None if it is proved."""
        result = self.result(instance, label, variant)
        if result is None or result.objective_ps is None or result.bound_ps is None:
            return None
        return (
            None if result.status is Status.OPTIMAL else result.objective_ps / result.bound_ps - 1
        )

    def rate_cell(self, instance: str, label: str, variant: str | None = None) -> str:
        """Samples per second; of an exact solver with what is open, in per cent and brackets."""
        share = self.open_share(instance, label, variant) if label.startswith("exact") else None
        return rate_cell(self.rate(instance, label, variant), share)

    def gain(
        self, instance: str, merged: str, single: str, variant: str | None = None
    ) -> tuple[float, float] | None:
        """Least and largest throughput of the optimum of one label over that of another.

        They differ where an exact solver leaves an optimum open; heuristics have no optimum but their
        own schedule. None if one of the two has no schedule.
        """
        rates = [self.rate(instance, label, variant) for label in (merged, single)]
        shares = [
            self.open_share(instance, label, variant) if label.startswith("exact") else None
            for label in (merged, single)
        ]
        return gain(rates, shares)

    def origin(self) -> str:
        """How the records came about, as a paragraph."""
        return (
            f"Reproduce with `scope-opt study results/{self.study}/study.toml`. `study.toml` says "
            "what is run, `records.jsonl` holds every result with its schedule, `table.csv` a row "
            f"of each, `manifest.json` the versions. {machine(self.study)}"
        )


def rate_cell(rate: float | None, share: float | None) -> str:
    """Samples per second, with the share by which the optimum may be faster, if that is open."""
    cell = fixed(rate, ".0f")
    return cell if share is None else f"{cell} (+{100 * share:.1f})"


def gain(
    rates: Sequence[float | None], shares: Sequence[float | None]
) -> tuple[float, float] | None:
    """Least and largest ratio of the first rate to the second; ``shares`` as in `rate_cell`."""
    over = ratio(*rates)
    if over is None:
        return None
    more, less = (share or 0 for share in shares)
    return over / (1 + less), over * (1 + more)


@cache
def records_of(study: str) -> Records:
    """The records of a study, read once for all pages."""
    return Records(study)


def paper_instance(name: str) -> Instance:
    """An instance of the paper as it is committed."""
    return load(ROOT / "instances" / "paper" / f"{name}.json")


def placed_instance(name: str) -> Instance:
    """The same in the placed model."""
    return load(ROOT / "instances" / "placed" / f"{name}-placed.json")


def instance_of(model: Model, name: str) -> Instance:
    """An instance of the paper in a model; ``name`` is that of the regressed one."""
    return placed_instance(name) if model.suffix else paper_instance(name)


def has_run(study: str) -> bool:
    """Whether a folder of results has what its page shows: a study that was not run has nothing."""
    here = RESULTS / study
    asked = any((here / name).exists() for name in ("study.toml", "run.py"))
    return not asked or any(here.glob("*.jsonl")) or any(here.glob("*.csv"))


def machine(study: str) -> str:
    """Machine, commits and date of the runs in a study's manifest, as a sentence."""
    done = runs(RESULTS / study / MANIFEST)
    last = done[-1]
    commits = ", ".join(dict.fromkeys((run["commit"] or "none")[:12] for run in done))
    cpu, cores = last["machine"]["cpu"], last["machine"]["cores"]
    return f"Machine: {cpu}, {cores} cores; commits {commits}, {last['started'][:10]}."


def ratio(above: float | None, below: float | None) -> float | None:
    """Quotient of two numbers that may not exist."""
    return None if above is None or below is None else above / below


def span(values: tuple[float, float] | None) -> str:
    """A number between two, which is one where they are equal to the digits shown."""
    if values is None:
        return ABSENT
    low, high = map(fixed, values)
    return low if low == high else f"{low} to {high}"


def milliseconds(value: int | None) -> str:
    """A latency in ps as milliseconds."""
    return fixed(None if value is None else value / 1e9, ".3f")
