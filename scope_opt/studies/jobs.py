"""Jobs of a study: instance x variant x solver entry x seed, each with a key of what defines it."""

from __future__ import annotations

import fnmatch
import glob
import hashlib
import json
import os
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from scope_opt.model.files import InputError
from scope_opt.model.generate import instance_named
from scope_opt.model.instance import Instance
from scope_opt.solving.isolate import memory_bytes
from scope_opt.solving.result import versions
from scope_opt.solving.solver import (
    ENTRY_POINTS,
    READINGS,
    SolveOptions,
    SolverUnavailable,
    load_solver,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from scope_opt.schedule.schedule import Schedule
    from scope_opt.studies.file import Entry, Study, Variant


@dataclass(frozen=True)
class Job:
    """One solve of a study; whole, as it may run elsewhere."""

    key: str
    instance: Instance
    variant: str | None
    label: str
    solver: str
    seed: int | None
    options: dict[str, Any]
    """As recorded; what is absent was not asked for."""
    warm_start: str | None
    """Key of the job whose schedule it begins with."""
    grace_s: float
    versions: dict[str, str]

    @property
    def threads(self) -> int:
        """Threads that the solver may use."""
        return int(self.options.get("threads", 1))

    def solve_options(self, start: Schedule | None) -> SolveOptions:
        """Options of the solve that begins with that schedule."""
        limits = ("time_limit_s", "cpu_limit_s", "memory_limit_bytes", "rel_gap")
        names = (*limits, "threads", "segments", "encoding", "iterations", *READINGS)
        asked = {name: self.options[name] for name in names if name in self.options}
        order = self.options.get("order")
        if order is not None:
            asked["order"] = order if order == "all" else tuple(order)
        return SolveOptions(**asked, seed=self.seed, warm_start=start)

    def __str__(self) -> str:
        parts = (self.instance.name, self.variant, self.label)
        seed = None if self.seed is None else f"seed {self.seed}"
        return ", ".join(part for part in (*parts, seed) if part is not None)


def select(jobs: Sequence[Job], only: str | None, labels: Collection[str] | None) -> list[Job]:
    """Jobs of instances that match a pattern and of the labels, and those they begin with.

    Raises
    ------
    InputError
        If there are none.
    """
    chosen = [
        job
        for job in jobs
        if (only is None or fnmatch.fnmatchcase(job.instance.name, only))
        and (labels is None or job.label in labels)
    ]
    if not chosen:
        names = ", ".join(dict.fromkeys(job.instance.name for job in jobs))
        known = ", ".join(dict.fromkeys(job.label for job in jobs))
        raise InputError("study", [f"no job is left; instances: {names}; labels: {known}"])
    needed = {job.key for job in chosen}
    for job in reversed(begun_first(jobs)):
        if job.key in needed and job.warm_start is not None:
            needed.add(job.warm_start)
    return [job for job in jobs if job.key in needed]


def begun_first(jobs: Sequence[Job]) -> list[Job]:
    """Jobs such that each stands after the one it begins with."""
    by_key = {job.key: job for job in jobs}
    ordered: dict[str, Job] = {}

    def add(job: Job) -> None:
        if job.warm_start is not None:
            add(by_key[job.warm_start])
        ordered.setdefault(job.key, job)

    for job in jobs:
        add(job)
    return list(ordered.values())


def jobs_of(study: Study, path: Path) -> list[Job]:
    """Jobs of a study, by instance, variant, entry and seed.

    Parameters
    ----------
    study : Study
    path : Path
        Its file; instances are looked for relative to it.

    Raises
    ------
    InputError
        With everything about files, solvers, options and variants that does not fit.
    """
    reader = _Reader(path.parent)
    everywhere = reader.instances("instances", study.instances)
    plans = [
        plan
        for index, entry in enumerate(study.solvers)
        if (plan := _plan(study, index, entry, everywhere, reader)) is not None
    ]
    jobs: list[Job] = []
    for instance in reader.all:
        for label, changed in reader.variants(instance, study.variants):
            jobs += _jobs(study, plans, instance, label, changed, reader.problems)
    reader.problems += _same(jobs)
    if reader.problems:
        raise InputError(str(path), list(dict.fromkeys(reader.problems)))
    return jobs


class _Plan(NamedTuple):
    """An entry that has been checked."""

    place: str
    entry: Entry
    options: dict[str, Any]
    seeds: tuple[int | None, ...]
    instances: frozenset[str]
    """Digests."""
    versions: dict[str, str]


class _Reader:
    """Reads instances, and collects what is wrong with the study."""

    def __init__(self, folder: Path) -> None:
        self.problems: list[str] = []
        self._folder = folder
        self._read: dict[Path, Instance | None] = {}

    @property
    def all(self) -> list[Instance]:
        """Instances read so far, sorted by file name, or by their own if they are built-in."""
        found = [self._read[path] for path in sorted(self._read)]
        return [instance for instance in found if instance is not None]

    def instances(self, field: str, patterns: Sequence[str]) -> frozenset[str]:
        """Digests of the instances that the patterns name."""
        digests = []
        for index, pattern in enumerate(patterns):
            paths = sorted(glob.glob(os.path.join(self._folder, pattern), recursive=True))
            named = None if paths else self._named(pattern)
            if named is not None:
                digests.append(named.digest)
            elif not paths:
                self.problems.append(f"{field}.{index}: {pattern!r} matches no file")
            found = [self._instance(Path(os.path.realpath(path))) for path in paths]
            digests += [instance.digest for instance in found if instance is not None]
        return frozenset(digests)

    def _named(self, name: str) -> Instance | None:
        """A built-in instance, unless a file has given the same one."""
        found = instance_named(name)
        if found is not None and found not in self._read.values():
            self._read[Path(name)] = found
        return found

    def _instance(self, path: Path) -> Instance | None:
        if path not in self._read:
            known = {instance.name: path for path, instance in self._read.items() if instance}
            try:
                found = self._read[path] = Instance.load(path)
            except InputError as error:
                self._read[path] = None
                self.problems += [f"{path}: {problem}" for problem in error.lines]
            else:
                if found.name in known:
                    other = known[found.name]
                    self.problems.append(f"{path}: name {found.name!r} is taken by {other}")
        return self._read[path]

    def variants(
        self, instance: Instance, variants: Sequence[Variant]
    ) -> Iterator[tuple[str | None, Instance]]:
        """The instance in each variant, with the variant's label; as it is where there are none."""
        if not variants:
            yield None, instance
        for index, variant in enumerate(variants):
            content = json.loads(instance.to_json())
            wrong = [
                f"{name}: {problem}"
                for name, value in variant.set.items()
                if (problem := _put(content, name.split("."), value)) is not None
            ]
            try:
                if not wrong:
                    yield variant.label, Instance.from_json(json.dumps(content), variant.label)
            except InputError as error:
                wrong += error.lines
            place = f"variants.{index}.set"
            self.problems += [f"{place}: {instance.name}: {problem}" for problem in wrong]


def _put(content: Any, path: list[str], value: object) -> str | None:
    """Set a value inside of JSON content; what is wrong if there is no such place."""
    for depth, part in enumerate(path):
        last = depth == len(path) - 1
        if isinstance(content, list) and part.isdecimal() and int(part) < len(content):
            key: Any = int(part)
        elif isinstance(content, dict) and (last or part in content):
            key = part
        else:
            return f"there is no {'.'.join(path[: depth + 1])!r} in the instance"
        if last:
            content[key] = value
        content = content[key]
    return None


def _plan(
    study: Study, index: int, entry: Entry, everywhere: frozenset[str], reader: _Reader
) -> _Plan | None:
    place = f"solvers.{index}"
    try:
        solver = load_solver(entry.solver)
    except SolverUnavailable as error:
        reader.problems.append(f"{place}.solver: {error}")
        return None
    used = ", ".join(sorted(solver.options)) or "none"
    for option in ("threads", "encoding", "seed", "iterations", "warm_start", *READINGS):
        field = "seeds" if option == "seed" else option
        if getattr(entry, field) is not None and option not in solver.options:
            wrong = f"solver {entry.solver!r} does not use it; it uses: {used}"
            reader.problems.append(f"{place}.{field}: {wrong}")
    memory_gib = entry.memory_limit_gib or study.memory_limit_gib
    asked = {
        "time_limit_s": entry.time_limit_s or study.time_limit_s,
        "cpu_limit_s": entry.cpu_limit_s or study.cpu_limit_s,
        "memory_limit_bytes": None if memory_gib is None else memory_bytes(memory_gib, place),
        "threads": entry.threads or (study.threads if "threads" in solver.options else None),
        "order": entry.order if entry.order in (None, "all") else list(entry.order or ()),
        **{name: getattr(entry, name) for name in ("segments", "encoding", "rel_gap")},
        **{name: getattr(entry, name) for name in ("iterations", "warm_start", *READINGS)},
    }
    own = entry.instances
    return _Plan(
        place,
        entry,
        options={name: value for name, value in asked.items() if value is not None},
        seeds=tuple(dict.fromkeys(entry.seeds or study.seeds))
        if "seed" in solver.options
        else (None,),
        instances=everywhere if own is None else reader.instances(f"{place}.instances", own),
        versions=_versions(entry.solver),
    )


def _versions(solver: str) -> dict[str, str]:
    """Versions that a job of this solver depends on."""
    found = versions()
    (entry, *_) = [e for e in entry_points(group=ENTRY_POINTS) if e.name == solver]
    if entry.dist is not None:
        found.setdefault(entry.dist.name, entry.dist.version)
    return found


def _jobs(
    study: Study,
    plans: Sequence[_Plan],
    instance: Instance,
    variant: str | None,
    changed: Instance,
    problems: list[str],
) -> list[Job]:
    """Jobs of one instance in one variant."""
    by_name = {plan.entry.name: plan for plan in plans if instance.digest in plan.instances}

    def make(plan: _Plan, seed: int | None) -> Job:
        entry, start = plan.entry, None
        if entry.warm_start in by_name:
            first = by_name[entry.warm_start]
            start = make(first, seed if seed in first.seeds else first.seeds[0]).key
        elif entry.warm_start is not None:
            wrong = f"entry {entry.warm_start!r} does not solve {instance.name}"
            problems.append(f"{plan.place}.warm_start: {wrong}")
        return Job(
            key=job_key(changed, entry.solver, plan.options, seed, start, plan.versions),
            instance=changed,
            variant=variant,
            label=entry.name,
            solver=entry.solver,
            seed=seed,
            options=plan.options,
            warm_start=start,
            grace_s=study.grace_s,
            versions=plan.versions,
        )

    return [make(plan, seed) for plan in by_name.values() for seed in plan.seeds]


def job_key(
    instance: Instance,
    solver: str,
    options: dict[str, Any],
    seed: int | None,
    warm_start: str | None,
    versions: dict[str, str],
) -> str:
    """SHA-256 (hex) of everything that a job's outcome may depend on, labels excepted.

    ``warm_start`` is the key of the job whose schedule it begins with.
    """
    content = {
        "instance": instance.digest,
        "solver": solver,
        "options": options | {"warm_start": warm_start},
        "seed": seed,
        "versions": versions,
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _same(jobs: Sequence[Job]) -> Iterator[str]:
    """Pairs of jobs that are one."""
    seen: dict[str, Job] = {}
    for job in jobs:
        first = seen.setdefault(job.key, job)
        if first is not job:
            yield f"the same job twice: ({first}) and ({job}); drop one"
