"""Records of a study: one line each, appended as jobs end, and the table made of them."""

from __future__ import annotations

import csv
import io
import json
import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field

from scope_opt.model.files import Document, InputError, decoded, read_bytes, write_text
from scope_opt.model.network import Index
from scope_opt.schedule.schedule import InstanceReference
from scope_opt.solving.metrics import library_share, proof_of, provers, solver_class
from scope_opt.solving.result import Options, Result

if TYPE_CHECKING:
    from collections.abc import Iterable

RECORDS, TABLE, MANIFEST = "records.jsonl", "table.csv", "manifest.json"
"""Files of a study's folder."""
MAX_RECORDS_BYTES = 4 * 2**30
"""Largest file of records; each of its lines is a document, with a document's limits."""


class Outcome(StrEnum):
    """How a job ended."""

    DONE = "done"
    """The solver returned, whatever its answer."""
    REFUSED = "refused"
    """It does not take this instance or these options."""
    CRASHED = "crashed"
    WALL_LIMIT = "wall_limit"
    """It was ended as it did not stop at its time limit."""
    MEMORY_LIMIT = "memory_limit"


class Record(Document):
    """What came of one job.

    A job that crashed or was ended keeps, in ``result``, the best schedule and bound that it had
    reported until then.
    """

    keep_nulls: ClassVar[bool] = True

    format: Literal["scope-record/1"] = "scope-record/1"
    key: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """SHA-256 (hex) of what defines the job, see `scope_opt.studies.jobs.job_key`."""
    instance: InstanceReference
    """In its variant."""
    variant: str | None
    label: str
    """Of the entry of the study."""
    solver: str
    seed: Index | None
    options: Options
    """Those that were asked for."""
    outcome: Outcome
    explanation: tuple[str, ...] = ()
    """Why there is no answer; empty where the outcome is ``done``."""
    result: Result | None
    started: str
    """ISO 8601, UTC."""
    wall_s: float
    """From the start of the solve, with the solver loaded, to the end of its process's work."""
    host: str
    commit: str | None

    def to_line(self) -> str:
        """The record as JSON on one line."""
        return json.dumps(self._content(), ensure_ascii=False, allow_nan=False) + "\n"


class RecordFile:
    """A study's records, open for appending by one process at a time.

    A last line that a killed process left unfinished is removed.

    Raises
    ------
    InputError
        If another process has it open, or it holds something else than records.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / RECORDS
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise InputError(str(self._path), [f"cannot be written: {error.strerror}"]) from None
        try:
            self._lock()
            text, torn = _read(self._path)
            if torn:
                os.truncate(self._file, len(text.encode()))
            self.records = {record.key: record for record in _parse(text, self._path)}
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def append(self, record: Record) -> None:
        """Add a record and see it on the disk; raises `InputError` if that is full."""
        data = record.to_line().encode()
        size = os.fstat(self._file).st_size
        try:
            while data:
                data = data[os.write(self._file, data) :]
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, size)  # the next line must not follow half a one
            raise InputError(str(self._path), [f"cannot be written: {error.strerror}"]) from None
        self.records[record.key] = record

    def _lock(self) -> None:
        try:
            import fcntl
        except ImportError:
            return  # Windows
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(str(self._path), ["another run of this study has it open"]) from None
        except OSError:
            return  # a file system without locks


def load_records(folder: Path | str) -> list[Record]:
    """Records of a study, by instance, variant, label and seed; the last one of each key.

    Parameters
    ----------
    folder : path
        Where ``records.jsonl`` is. An unfinished last line is ignored: a study may be running.

    Raises
    ------
    InputError
        With file and line, if something else than records is found.
    """
    path = Path(folder) / RECORDS
    text, _ = _read(path)
    latest = {record.key: record for record in _parse(text, path)}
    return sorted(latest.values(), key=_place)


def _place(record: Record) -> tuple[str, str, str, int]:
    seed = -1 if record.seed is None else record.seed
    return record.instance.name, record.variant or "", record.label, seed


def _read(path: Path) -> tuple[str, bool]:
    """Text of the complete lines, and whether an unfinished one follows."""
    data = read_bytes(path, MAX_RECORDS_BYTES)
    complete = data[: data.rfind(b"\n") + 1]
    return decoded(complete, str(path)), len(complete) < len(data)


def _parse(text: str, path: Path) -> Iterable[Record]:
    lines = text.split("\n")  # not splitlines: names may hold other line separators
    for number, line in enumerate(lines[:-1], start=1):
        yield Record.from_json(line, f"{path}, line {number}")


# --- Table ---------------------------------------------------------------------------------------


def write_table(folder: Path) -> None:
    """Write ``table.csv``: one row per record."""
    rows = [_row(record) for record in load_records(folder)]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / TABLE, stream.getvalue(), force=True)


_OF_RECORD = ("variant", "label", "solver", "seed", "outcome")
_OF_RESULT = (
    *("status", "stop_reason", "objective_ps", "bound_ps", "objective_fj", "bound_fj", "gap"),
    *("latency_s", "throughput_per_s", "utilization", "peak_memory_bytes", "warm_start"),
)
_TIMES = ("tables", "build", "translate", "solve", "total")
_SIZES = ("variables", "constraints", "nonzeros")
_PROOF = ("library", "second_library", "programs", "library_s")
_OPTIONS = ("time_limit_s", "threads", "memory_limit_bytes")
FORMULA = ("=", "+", "-", "@")
"""How spreadsheets tell a formula, if only white space stands before it."""
COLUMNS = (
    *("instance", *_OF_RECORD, *_OF_RESULT, "energy_j", "segments", "clusters", "wall_s"),
    *(f"{name}_s" for name in _TIMES),
    *(*_SIZES, "class", "proof_by", *_PROOF, "library_share"),
    *(*_OPTIONS, "options", "explanation", "started", "host", "commit", "digest", "key"),
)
"""Of the table; numbers that do not exist are empty."""


def _row(record: Record) -> dict[str, object]:
    result, options = record.result, dict(record.options)
    row: dict[str, object] = {name: getattr(record, name) for name in _OF_RECORD}
    row |= {name: options.pop(name, None) for name in _OPTIONS}
    if result is not None:
        row |= {name: getattr(result, name) for name in _OF_RESULT}
        row |= {f"{name}_s": getattr(result.times_s, name) for name in _TIMES}
        if result.energy_j is not None:
            row["energy_j"] = result.energy_j.total
        if result.model is not None:
            row |= {name: getattr(result.model, name) for name in _SIZES}
        row["class"], row["library_share"] = solver_class(result), library_share(result)
        row["proof_by"], proof = provers(result), proof_of(result)
        if proof is not None:
            row |= {name: getattr(proof, name) for name in _PROOF}
        if result.schedule is not None:
            row["segments"] = len(result.schedule.segments)
            row["clusters"] = sum(1 for _ in result.schedule.clusters)
    row |= {
        "instance": record.instance.name,
        "wall_s": record.wall_s,
        "options": json.dumps(options, sort_keys=True) if options else None,
        "explanation": "; ".join(record.explanation) or None,
        "started": record.started,
        "host": record.host,
        "commit": record.commit,
        "digest": record.instance.digest,
        "key": record.key,
    }
    return {name: _no_formula(value) for name, value in row.items()}


def _no_formula(value: object) -> object:
    """A cell that a spreadsheet does not run: text that looks like a formula gets a quote."""
    if not isinstance(value, str):
        return value
    text = value.replace("\r", " ")  # which some readers take for the end of a row
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text
