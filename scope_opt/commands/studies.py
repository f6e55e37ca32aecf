"""Studies: many instances with many solvers, resumable."""

from __future__ import annotations

import shlex
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scope_opt.commands.arguments import (
    INTERRUPTED,
    NOTHING_FOUND,
    Json,
    Quiet,
    Verbose,
)
from scope_opt.terminal.console import (
    complain,
    print_json,
    print_view,
    set_verbosity,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from rich.console import Console, RenderableType

    from scope_opt.studies.jobs import Job
    from scope_opt.studies.pool import Backend
    from scope_opt.studies.records import Record


def study(
    file: Annotated[Path, typer.Argument(metavar="STUDY", help="Study file (.toml).")],
    output: Annotated[
        Path | None,
        typer.Option(
            *("--output", "-o"), metavar="FOLDER", help="For the results; else the file's folder."
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Jobs at once; as many as have cores of their own if absent."
        ),
    ] = None,
    oversubscribe: Annotated[
        bool, typer.Option("--oversubscribe", help="Allow more threads than there are cores.")
    ] = False,
    only: Annotated[
        str | None,
        typer.Option(metavar="PATTERN", help="Instances named so; * matches any."),
    ] = None,
    labels: Annotated[
        str | None, typer.Option(metavar="LABEL,...", help="Entries, and what they begin with.")
    ] = None,
    redo: Annotated[
        str | None,
        typer.Option(metavar="OUTCOME,...", help="Repeat jobs that ended so, as crashed."),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Run on the workers of this Dask scheduler."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the jobs and which of them are done.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Solve every instance of a study with every solver, each solve in a process of its own.

    Every outcome is recorded as it comes, so that the same command goes on after an interruption
    and does only what is missing. docs/studies.md describes the file and the results.

    \b
    Examples:
      scope-opt study results/reach/study.toml --dry-run
      scope-opt study results/reach/study.toml --jobs 4 --only 'alexnet-*'
      scope-opt study results/reach/study.toml --cluster tcp://10.0.0.1:8786
    """  # noqa: D301  # \b keeps the line breaks
    from scope_opt.model.files import InputError
    from scope_opt.studies.file import load_study
    from scope_opt.studies.jobs import jobs_of, select
    from scope_opt.studies.records import RECORDS, load_records

    set_verbosity(quiet=quiet, verbose=verbose)
    if as_json and not dry_run:
        raise InputError("--json", ["goes with --dry-run; results are in the study's folder"])
    folder = output or file.parent
    unwanted = _unwanted(redo)
    chosen = select(jobs_of(load_study(file), file), only, _words(labels))
    if not dry_run:
        backend = _backend(chosen, cluster, jobs, oversubscribe=oversubscribe)
        with closing(backend):
            _run(chosen, folder, backend, unwanted)
        return
    found = load_records(folder) if (folder / RECORDS).exists() else []
    known = {record.key: record for record in found if record.outcome not in unwanted}
    if as_json:
        print_json([_plain(job, known.get(job.key)) for job in chosen])
    else:
        print_view(lambda console: _view(console, chosen, known))


def _run(chosen: Sequence[Job], folder: Path, backend: Backend, unwanted: Collection[str]) -> None:
    """Run what has no record, or an unwanted one."""
    from scope_opt.commands.study_progress import outcomes, study_progress
    from scope_opt.model.units import plural
    from scope_opt.studies.pool import run_all
    from scope_opt.studies.provenance import note_run
    from scope_opt.studies.records import MANIFEST, RecordFile, write_table

    with RecordFile(folder) as file:
        for job in chosen:
            if job.key in file.records and file.records[job.key].outcome in unwanted:
                del file.records[job.key]
        if any(job.key not in file.records for job in chosen):
            note_run(folder / MANIFEST, shlex.join(["scope-opt", *sys.argv[1:]]))
        try:
            there = file.records.values()
            with study_progress(chosen, there, lambda: backend.slots) as watcher:
                run_all(chosen, file, backend, watcher)
        except KeyboardInterrupt:
            ended = sum(job.key in file.records for job in chosen)
            complain(f"interrupted: {ended} of {len(chosen)} jobs done; the same command goes on")
            raise typer.Exit(INTERRUPTED) from None
        finally:
            write_table(folder)
        mine = [file.records[job.key] for job in chosen if job.key in file.records]
    complain(f"{folder}: {plural(len(mine), 'job')}, {outcomes(mine)}")
    lost = len(chosen) - len(mine)
    if lost:
        complain(f"{plural(lost, 'job')} lost with the workers; the same command tries again")
        raise typer.Exit(NOTHING_FOUND)


def _words(text: str | None) -> list[str] | None:
    """Words of an option, separated by commas."""
    return None if text is None else [word.strip() for word in text.split(",")]


def _unwanted(redo: str | None) -> list[str]:
    """Outcomes whose jobs run again."""
    from scope_opt.model.files import InputError
    from scope_opt.studies.records import Outcome

    words = _words(redo) or []
    unknown = [word for word in words if word not in list(Outcome)]
    if unknown:
        raise InputError("--redo", [f"found {unknown[0]!r}; allowed: {', '.join(Outcome)}"])
    return words


def _backend(
    chosen: Sequence[Job], cluster: str | None, jobs: int | None, *, oversubscribe: bool
) -> Backend:
    """Where the jobs run."""
    from scope_opt.model.files import InputError
    from scope_opt.studies.pool import LocalPool, slots_for

    if cluster is None:
        return LocalPool(slots_for(chosen, jobs, oversubscribe=oversubscribe))
    if jobs is not None:
        raise InputError("--jobs", ["is for this machine; a cluster's workers have threads"])
    from scope_opt.studies.cluster import DaskCluster

    found = DaskCluster(cluster)
    try:
        if not oversubscribe:
            found.refuse_oversubscription(chosen)
        if not found.slots:
            complain("no worker yet; the study begins with the first")
    except BaseException:
        found.close()
        raise
    return found


def _plain(job: Job, record: Record | None) -> dict[str, object]:
    """A job as JSON."""
    return {
        "key": job.key,
        "instance": job.instance.name,
        "digest": job.instance.digest,
        "variant": job.variant,
        "label": job.label,
        "solver": job.solver,
        "seed": job.seed,
        "options": job.options,
        "outcome": None if record is None else record.outcome.value,
    }


def _view(console: Console, jobs: Sequence[Job], known: Mapping[str, Record]) -> RenderableType:
    """Table of the jobs."""
    from rich.console import Group
    from rich.text import Text

    from scope_opt.model.units import ABSENT, plain
    from scope_opt.terminal.show import Columns

    table = Columns(
        (
            ("instance", "left", 0),
            ("variant", "left", 3),
            ("label", "left", 0),
            ("seed", "right", 2),
            ("options", "fold", 1),
            ("outcome", "left", 0),
        )
    )
    for job in jobs:
        record = known.get(job.key)
        options = ", ".join(f"{name} {value}" for name, value in job.options.items())
        table.add(
            plain(job.instance.name),
            plain(job.variant or ABSENT),
            plain(job.label),
            ABSENT if job.seed is None else str(job.seed),
            plain(options),
            ABSENT if record is None else record.outcome.value.replace("_", " "),
        )
    done = sum(job.key in known for job in jobs)
    return Group(table.fit(console), Text(f"{done} of {len(jobs)} jobs done"))
