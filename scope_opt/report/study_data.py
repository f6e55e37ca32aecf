"""A study's records, arranged by problem and label, with the numbers that its pages show."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING

from scope_opt.solving import metrics
from scope_opt.solving.result import StopReason
from scope_opt.studies.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from scope_opt.model.instance import Instance
    from scope_opt.solving.metrics import Reference, Space
    from scope_opt.studies.records import Record


@dataclass(frozen=True)
class Problem:
    """An instance in a variant, and every run on it."""

    title: str
    records: tuple[Record, ...]
    """By label and seed."""
    instance: Instance | None
    """Where it is known."""
    space: Space
    """Segments that the question is about."""
    reference: Reference
    contradiction: str
    """Why there is no reference although there are results: two of them cannot both be right."""

    def runs(self, label: str) -> list[Record]:
        """Runs of a label, one per seed."""
        return [record for record in self.records if record.label == label]

    @cached_property
    def best(self) -> Record | None:
        """The run with the best schedule; the first of equals."""
        found = [record for record in self.records if cost(record) is not None]
        return min(found, key=lambda record: cost(record) or 0, default=None)

    @cached_property
    def layers(self) -> int | None:
        """Layers of its network."""
        if self.instance is not None:
            return len(self.instance.layer_names)
        if self.best is None or self.best.result is None or self.best.result.schedule is None:
            return None
        return self.best.result.schedule.segments[-1].last_layer + 1

    @property
    def energy(self) -> bool:
        """Whether energy is minimized, not latency."""
        return any(
            record.result is not None
            and (record.result.objective_fj is not None or record.result.bound_fj is not None)
            for record in self.records
        )


@dataclass(frozen=True)
class Study:
    """Everything that the pages of a study are made from."""

    name: str
    labels: tuple[str, ...]
    problems: tuple[Problem, ...]

    @property
    def records(self) -> list[Record]:
        """All records."""
        return [record for problem in self.problems for record in problem.records]

    def values(
        self,
        label: str,
        value: Callable[[Problem, Record], float | None],
        problems: Sequence[Problem] | None = None,
    ) -> list[float | None]:
        """One value per problem that the label was run on: the median of its seeds.

        None, for a run that failed, counts as larger than every number.
        """
        found = []
        for problem in self.problems if problems is None else problems:
            runs = [value(problem, record) for record in problem.runs(label)]
            if runs:
                found.append(_median(runs))
        return found

    @property
    def common(self) -> tuple[Problem, ...]:
        """Problems that every label was run on, the only ones on which labels can be compared."""
        return tuple(p for p in self.problems if all(p.runs(label) for label in self.labels))


def arrange(
    name: str, records: Iterable[Record], find: Callable[[Record], Instance | None]
) -> Study:
    """Group records into problems, in natural order of their names."""
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        key = (record.instance.name, record.variant or "", record.instance.digest)
        groups.setdefault(key, []).append(record)
    labels = dict.fromkeys(record.label for group in groups.values() for record in group)
    order = sorted(groups, key=lambda key: (_natural(key[0]), _natural(key[1]), key[2]))
    space = _space([record for group in groups.values() for record in group])
    return Study(
        name, tuple(sorted(labels)), tuple(_problem(groups[key], space, find) for key in order)
    )


def cost(record: Record) -> int | None:
    """Objective of a run's schedule in ps or fJ."""
    return None if record.result is None else metrics.objective(record.result)


def run_name(record: Record) -> str:
    """Label, and the seed if there is one."""
    return record.label if record.seed is None else f"{record.label}, seed {record.seed}"


def gap(problem: Problem, record: Record) -> float | None:
    """Gap to the optimum, or to the best schedule known if that is not proved."""
    found = cost(record)
    return None if found is None else metrics.gap_bracket(found, problem.reference)[0]


def proof_s(problem: Problem, record: Record) -> float | None:
    """Seconds of a run that by itself proves the optimum of the study's question.

    Optima of a solver's own, narrower scheme are none.
    """
    result = record.result
    if result is None or problem.contradiction:
        return None
    proved = metrics.reference([result], problem.space).proved
    return result.times_s.total if proved else None


def finished_s(_: Problem, record: Record) -> float | None:
    """Seconds of a run that its solver ended by itself, with or without a proof."""
    result = record.result
    if record.outcome is not Outcome.DONE or result is None:
        return None
    return result.times_s.total if result.stop_reason is StopReason.COMPLETED else None


def limit_s(record: Record) -> float:
    """What an unfinished run counts as: its time limit, or the time it took without one."""
    limit = record.options.get("time_limit_s")
    return float(limit) if isinstance(limit, int | float) else record.wall_s


def time_to_gap(target: float) -> Callable[[Problem, Record], float | None]:
    """Seconds until the first schedule within ``target`` of the best schedule known."""

    def value(problem: Problem, record: Record) -> float | None:
        best, result = problem.reference.objective, record.result
        found = cost(record)
        if best is None or result is None or found is None or found > best * (1 + target):
            return None
        seconds = metrics.time_to(result.trajectory, int(best * (1 + target)))
        return result.times_s.total if seconds is None else seconds

    return value


def primal_share(problem: Problem, record: Record) -> float | None:
    """Primal integral over the time limit, so between 0 and 1; 1 for a run without a schedule.

    None without a limit or a reference, and where the solver did not say when it found what.
    """
    best, limit = problem.reference.objective, record.options.get("time_limit_s")
    if best is None or not isinstance(limit, int | float) or not limit:
        return None
    trajectory = () if record.result is None else record.result.trajectory
    if not trajectory and cost(record) is not None:
        return None
    return metrics.primal_integral(trajectory, best, float(limit)) / float(limit)


def _problem(
    records: Sequence[Record], space: Space, find: Callable[[Record], Instance | None]
) -> Problem:
    first, contradiction = records[0], ""
    results = [record.result for record in records if record.result is not None]
    try:
        reference = metrics.reference(results, space)
    except ValueError as error:
        reference = metrics.Reference(None, None, "unkn")
        contradiction = str(error)
    title = first.instance.name + (f", {first.variant}" if first.variant else "")
    ordered = sorted(records, key=lambda record: (record.label, record.seed or 0))
    return Problem(title, tuple(ordered), find(first), space, reference, contradiction)


def _space(records: Sequence[Record]) -> Space:
    """Segments that the whole study is about, if all of it restricts them in the same way."""
    asked = [record.options.get("segments") for record in records]
    first = asked[0] if asked else None
    if any(other != first for other in asked) or first in (None, "dp", "balanced"):
        return None
    if isinstance(first, list):
        return tuple(first)
    return "single" if first == "single" else int(first)


def _median(values: Sequence[float | None]) -> float | None:
    if values.count(None) * 2 >= len(values):
        return None
    present = sorted(value for value in values if value is not None)
    return median([*present, *[present[-1]] * values.count(None)])


def _natural(name: str) -> list[tuple[int, str]]:
    """Key by which net9 comes before net10."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)
    ]
