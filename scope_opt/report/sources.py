"""From the command line's arguments to pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scope_opt.model.files import InputError, read_text
from scope_opt.report.cases import make_case
from scope_opt.report.page import file_names
from scope_opt.report.schedule_page import comparison_page, schedule_page
from scope_opt.report.study_data import arrange
from scope_opt.report.study_page import study_pages
from scope_opt.schedule.schedule import Schedule
from scope_opt.solving.result import Result
from scope_opt.studies.file import load_study
from scope_opt.studies.jobs import jobs_of
from scope_opt.studies.records import MANIFEST, RECORDS, load_records
from scope_opt.terminal.inputs import STDIN, known_instance, load, naming

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scope_opt.model.instance import Instance
    from scope_opt.report.cases import Case
    from scope_opt.report.page import Page
    from scope_opt.schedule.schedule import InstanceReference
    from scope_opt.studies.records import Record


def schedule_pages(sources: Sequence[str], instances: Sequence[Instance]) -> list[Page]:
    """Pages of schedule and result files; the first of them is ``index.html``.

    Raises
    ------
    InputError
        For a file that holds no schedule, or whose instance is neither known nor given.
    """
    cases = _cases(sources, instances)
    if len(cases) == 1:
        return [schedule_page(cases[0], "index.html")]
    files = file_names(case.label for case in cases)
    names = list(dict.fromkeys(case.instance.name for case in cases))
    title = f"Schedules of {names[0]}" if len(names) == 1 else f"{len(cases)} schedules"
    trail = [(title, "index.html")]
    pages = [schedule_page(case, file, trail) for case, file in zip(cases, files, strict=True)]
    return [comparison_page(cases, files, title), *pages]


def study_folder_pages(folder: Path, instances: Sequence[Instance]) -> Iterator[Page]:
    """Pages of a study's folder, made one after another; the first is ``index.html``.

    Raises
    ------
    InputError
        If the folder holds no records, or a file in it cannot be used.
    """
    records = load_records(folder)
    if not records:
        raise InputError(str(folder), [f"{RECORDS}: holds no records"])
    own: list[Instance] | None = None

    def find(record: Record) -> Instance | None:
        nonlocal own
        found = find_instance(record.instance, instances)
        if found is None:
            own = _instances_of(folder / "study.toml") if own is None else own
            found = find_instance(record.instance, own)
        return found

    study = arrange(folder.resolve().name, records, find)
    return study_pages(study, _manifest_runs(folder / MANIFEST))


def _instances_of(file: Path) -> list[Instance]:
    """Instances of a study file in their variants; none where it cannot be used (any more)."""
    try:
        jobs = jobs_of(load_study(file), file)
    except InputError:
        return []
    return list({job.instance.digest: job.instance for job in jobs}.values())


def _manifest_runs(path: Path) -> list[dict[str, Any]]:
    """Runs that a study's manifest lists; none without a manifest."""
    if not path.exists():
        return []
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise InputError(str(path), [f"not valid JSON: {error}"]) from None
    runs = content.get("runs") if isinstance(content, dict) else None
    if not isinstance(runs, list) or not all(isinstance(run, dict) for run in runs):
        raise InputError(str(path), ["runs: needs a list of objects"])
    return runs


def find_instance(reference: InstanceReference, given: Sequence[Instance]) -> Instance | None:
    """The instance of a schedule: one of those given, or one of the paper's."""
    for instance in given:
        if instance.digest == reference.digest:
            return instance
    return known_instance(reference)


def _cases(sources: Sequence[str], instances: Sequence[Instance]) -> list[Case]:
    found = []
    for source in sources:
        document = load(source, Schedule, Result)
        result = document if isinstance(document, Result) else None
        schedule = result.schedule if result is not None else document
        if not isinstance(schedule, Schedule):
            raise InputError(source, ["schedule: this result holds none"])
        instance = find_instance(schedule.instance, instances)
        if instance is None:
            name, digest = schedule.instance.name, schedule.instance.digest[:12]
            given = "".join(f"; given: {i.name} ({i.digest[:12]})" for i in instances)
            problem = f"instance: {name} ({digest}) is not one of the paper's"
            raise InputError(source, [f"{problem}; name its file with --instance{given}"])
        found.append((source, instance, schedule, result))
    labels = _labels([(source, instance, result) for source, instance, _, result in found])
    cases = []
    for (label, title), (_, instance, schedule, result) in zip(labels, found, strict=True):
        with naming(instance.name):
            cases.append(make_case(label, title, instance, schedule, result))
    return cases


def _labels(entries: Sequence[tuple[str, Instance, Result | None]]) -> list[tuple[str, str]]:
    """Label and title of each: solver or file, the instance where several need telling apart."""
    files = [
        "stdin" if source == STDIN else Path(source).name.removesuffix(".gz").removesuffix(".json")
        for source, _, _ in entries
    ]
    names = [
        file if result is None else result.solver
        for file, (_, _, result) in zip(files, entries, strict=True)
    ]
    titles = [f"{i.name}, {name}" for name, (_, i, _) in zip(names, entries, strict=True)]
    if len(set(titles)) < len(titles):
        sources = files if len(set(files)) == len(files) else [source for source, _, _ in entries]
        names = [
            name if name == source else f"{name}, {source}"
            for name, source in zip(names, sources, strict=True)
        ]
        titles = [f"{i.name}, {name}" for name, (_, i, _) in zip(names, entries, strict=True)]
    one = len({instance.digest for _, instance, _ in entries}) == 1
    return list(zip(names if one else titles, titles, strict=True))
