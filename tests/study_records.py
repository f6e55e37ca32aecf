"""Records of studies, made without solving, and pages that read them."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from documents import two_layers
from helpers import read

from scope_opt.report.results import records as results
from scope_opt.solving.result import Result
from scope_opt.solving.solver import solve
from scope_opt.studies.provenance import note_run
from scope_opt.studies.records import MANIFEST, RECORDS, Outcome, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    import pytest


def stated(name: str, label: str, objective: int | None, bound: int, **more: Any) -> Record:
    """A record that states these numbers, in ps; its instance and schedule are always the same."""
    content = json.loads(solve(read(two_layers() | {"name": name}), "sequential").to_json())
    content |= {"solver": label, "objective_ps": objective, "bound_ps": bound, "status": "feasible"}
    content |= {"trajectory": [], "gap": objective and (objective - bound) / objective}
    if objective is None:
        content |= {"schedule": None, "status": "unknown", "latency_s": None, "energy_j": None}
        content |= {"throughput_per_s": None}
    elif objective == bound:
        content |= {"status": "optimal"}
    return record(Result.from_json(json.dumps(content | more), "test"), label)


def record(result: Result, label: str, **options: Any) -> Record:
    """A record of a result."""
    return Record(
        key=f"{sum(map(ord, result.instance.name + label)):064x}",
        instance=result.instance,
        variant=None,
        label=label,
        solver=label,
        seed=None,
        options=options,
        outcome=Outcome.DONE,
        result=result,
        started="2026-01-01T00:00:00+00:00",
        wall_s=1.0,
        host="test",
        commit=None,
    )


def write_study(folder: Path, study: str, records: Iterable[Record]) -> None:
    """Records and manifest of a study."""
    (folder / study).mkdir()
    (folder / study / RECORDS).write_text("".join(each.to_line() for each in records))
    note_run(folder / study / MANIFEST, "test")


@contextmanager
def pages_of(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caches: Iterable[Callable[..., Any]] = ()
) -> Iterator[None]:
    """Pages are made of this folder of results, and ``caches`` forget what they were before."""
    emptied: list[Any] = [results.records_of, *caches]
    monkeypatch.setattr(results, "RESULTS", folder)
    for cached in emptied:
        cached.cache_clear()
    yield
    for cached in emptied:
        cached.cache_clear()
