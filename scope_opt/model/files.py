"""Strict JSON in, canonical JSON out: the one place that reads and writes documents.

Reading refuses what JSON parsers usually let pass (duplicate keys, NaN, bytes that are not UTF-8)
and what would take all memory, and reports the problems of a file at once, each with its path.
Writing is atomic and never replaces a file unless asked to.
"""

from __future__ import annotations

import difflib
import gzip
import hashlib
import json
import os
import re
import reprlib
import select
import stat
import tempfile
import tomllib
import zlib
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pydantic_core import ErrorDetails

MAX_INT = 2**63 - 1
"""Largest integer a document may hold: everything downstream is int64."""
MAX_BYTES = 128 * 2**20
"""Largest text of a document, unpacked."""
MAX_CONTAINERS, MAX_KEYS, MAX_VALUES = 2**18, 2**20, 2**22
"""Most lists and objects, keys, and values of a document. Parsed, each takes a hundred bytes or
more, and a wrong one a thousand, so that the text's size alone would not bound the memory."""
NESTED = "lists or objects nested too deeply; allowed up to 200 levels"
MOST_PROBLEMS = 20
"""Problems of one source that are told; the others are counted."""
MOST_EXPLAINED = 1000
"""Problems that are put into words at all."""
_REPR = reprlib.Repr()
_REPR.maxlist = _REPR.maxtuple = _REPR.maxdict = _REPR.maxstring = _REPR.maxlong = 60
PIPE_WAIT_S = 60.0
"""Seconds that are waited for the first byte of a named pipe."""


class InputError(Exception):
    """A file or an argument that cannot be used, with the problems found in it.

    Parameters
    ----------
    source : str
        File name or option the problems are in.
    problems : sequence of str
        One line each: where, what was found, what is allowed. The first `MOST_PROBLEMS` are kept.
    more : int
        How many there are beyond these.
    """

    def __init__(self, source: str, problems: Sequence[str], more: int = 0) -> None:
        self.source = source
        self.problems = tuple(problems[:MOST_PROBLEMS])
        self.more = more + len(problems) - len(self.problems)
        super().__init__(str(self))

    def __reduce__(self) -> tuple[type[InputError], tuple[str, tuple[str, ...], int]]:
        return InputError, (self.source, self.problems, self.more)  # it crosses processes

    @property
    def lines(self) -> tuple[str, ...]:
        """The problems, and how many there are beyond them."""
        return (*self.problems, f"and {self.more} more") if self.more else self.problems

    def __str__(self) -> str:
        if len(self.lines) == 1:
            return f"{self.source}: {self.problems[0]}"
        lines = "\n".join(f"  {line}" for line in self.lines)
        return f"{self.source}: {len(self.problems) + self.more} problems\n{lines}"


class Document(BaseModel):
    """Base of everything read from JSON: immutable, exact types, unknown keys refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
    )

    keep_nulls: ClassVar[bool] = False
    """Whether absent values are written as null; otherwise they are left out."""

    @classmethod
    def from_json(cls, text: str, source: str) -> Self:
        """Validate JSON text.

        Raises
        ------
        InputError
            Naming ``source``, with the problems and their paths in the document.
        """
        refuse_excess(text, source)
        problems, more = _duplicate_keys(text, source), 0
        try:
            document = cls.model_validate_json(text)
        except ValidationError as error:
            if "recursion limit" in error.errors(include_input=False)[0]["msg"]:
                raise InputError(source, [f"not usable JSON: {NESTED}"]) from None
            found, more = explain(cls, error)
            problems += found
        if problems:
            raise InputError(source, problems, more)
        return document

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a ``.json``, ``.json.gz`` or ``.toml`` file; raises as `from_json` does."""
        return cls.from_json(read_json(Path(path)), str(path))

    def to_json(self) -> str:
        """Canonical text: declared key order, objects without inner objects on one line."""
        return _format(self._content()) + "\n"

    def save(self, path: Path | str, *, force: bool = False) -> None:
        """Write the canonical text atomically; see `write_text`."""
        write_text(Path(path), self.to_json(), force=force)

    def content_digest(self) -> str:
        """SHA-256 (hex) of the content, independent of key order and white space."""
        compact = json.dumps(
            self._content(), sort_keys=True, separators=(",", ":"), allow_nan=False
        )
        return hashlib.sha256(compact.encode()).hexdigest()

    def _content(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True, exclude_none=not self.keep_nulls)


def optional(default: Any) -> Any:
    """A field that documents leave out where it has its default, so that older ones mean the same.

    Its presence changes a document's digest only where its value differs.
    """
    return Field(default=default, exclude_if=lambda value: value == default)


def closest(name: str, allowed: Iterable[str]) -> str:
    """What to say to a name that is not among those allowed."""
    names = list(allowed)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}allowed: {', '.join(names)}"


def inconsistent(problems: Iterable[tuple[str, str]]) -> None:
    """Raise, from a pydantic validator, one error that carries all of ``(path, message)``."""
    found = [{"path": path, "message": message} for path, message in problems]
    if found:
        raise PydanticCustomError("inconsistent", "inconsistent content", {"problems": found})


def read_text(path: Path) -> str:
    """Read a text file, gunzipping ``.gz``; raises `InputError` for anything unreadable.

    Pipes and devices are read like files; a pipe to which nothing is written is refused.
    """
    return decoded(read_bytes(path), str(path))


def read_bytes(path: Path, most_bytes: int = MAX_BYTES) -> bytes:
    """As `read_text`, for content that need not be text."""
    source = str(path)
    try:
        with _open(path) as file:
            stream = gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file
            return read_stream(stream, source, most_bytes)
    except FileNotFoundError:
        raise InputError(source, ["no such file"]) from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(source, [f"not a complete gzip file: {error}"]) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        raise InputError(source, [f"cannot be read: {_reason(error)}"]) from None


def read_stream(
    stream: IO[bytes] | gzip.GzipFile, source: str, most_bytes: int = MAX_BYTES
) -> bytes:
    """All of a stream; raises `InputError` if there is too much of it."""
    data = stream.read(most_bytes + 1)
    if len(data) > most_bytes:
        found = f"found more than {most_bytes >> 20} MiB"
        raise InputError(source, [f"{found}; allowed up to that, unpacked"])
    return data


def decoded(data: bytes, source: str) -> str:
    """Text of UTF-8; raises `InputError` for anything else."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        problem = f"not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}"
        raise InputError(source, [problem]) from None


def refuse_excess(text: str, source: str) -> None:
    """Raise `InputError` for JSON of so many parts that they would take gigabytes once parsed."""
    counted = {
        "lists and objects": (text.count("[") + text.count("{"), MAX_CONTAINERS),
        "keys": (text.count(":"), MAX_KEYS),
        "values": (text.count(","), MAX_VALUES),
    }
    problems = [
        f"found {found} {what} or so; allowed up to {most}"
        for what, (found, most) in counted.items()
        if found > most
    ]
    if problems:
        raise InputError(source, problems)


def _open(path: Path) -> IO[bytes]:
    """Open for reading; only the first byte of a pipe is waited for, and not forever."""
    if not hasattr(os, "O_NONBLOCK"):  # Windows, where pipes have no place among files
        return path.open("rb")
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        if stat.S_ISFIFO(os.fstat(handle).st_mode):
            waiting = select.poll()
            waiting.register(handle, select.POLLIN)
            if not waiting.poll(1000 * PIPE_WAIT_S):  # neither data nor a writer that has left
                raise OSError(f"a pipe to which nothing was written for {PIPE_WAIT_S:g} s")
        os.set_blocking(handle, True)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_json(path: Path) -> str:
    """Read a document's file as `read_text` does; a ``.toml`` file as the JSON that it means."""
    text = read_text(path)
    return toml_as_json(text, str(path)) if path.suffix == ".toml" else text


def toml_as_json(text: str, source: str) -> str:
    """What TOML means, as JSON; raises `InputError` for text that has no meaning."""
    try:
        return json.dumps(tomllib.loads(text), default=str)
    except tomllib.TOMLDecodeError as error:
        raise InputError(source, [f"not valid TOML: {error}"]) from None
    except RecursionError:
        raise InputError(source, [f"not usable TOML: {NESTED}"]) from None
    except ValueError:  # the interpreter's limit, far above what a document may hold
        lengths = [len(line) for line in text.split("\n")]
        line = lengths.index(max(lengths)) + 1
        problem = f"line {line}: an integer of thousands of digits"
        raise InputError(source, [f"not usable TOML: {problem}"]) from None


def refuse_existing(path: Path, *, force: bool) -> None:
    """Raise `InputError` when ``path`` exists and may not be replaced, or can be no file."""
    try:
        above = next(folder for folder in path.absolute().parents if folder.exists())
        if not above.is_dir():
            raise InputError(str(path), [f"cannot be written: {above} is a file, not a folder"])
        if path.is_dir():
            raise InputError(str(path), ["is a folder, not a file"])
        if not os.access(above, os.W_OK | os.X_OK):  # known now, not after hours of solving
            raise InputError(str(path), [f"folder {above} is not writable"])
        if path.exists() and not force:
            raise InputError(str(path), ["exists already; use --force to replace it"])
    except (OSError, ValueError) as error:
        raise InputError(str(path), [f"cannot be written: {_reason(error)}"]) from None


def write_text(path: Path, text: str, *, force: bool = False) -> None:
    """Write ``text`` so that the file is either complete or not there; gzip for ``.gz``.

    Folders that are missing are made.

    Raises
    ------
    InputError
        If the file exists and ``force`` is not set, or it cannot be written.
    """
    data = text.encode()
    if path.suffix == ".gz":
        # Equal content, equal bytes: no time stamp, and what Python 3.13 says of the system
        # in `gzip.compress` differs from what others say.
        packer = zlib.compressobj(level=9, wbits=31)
        data = packer.compress(data) + packer.flush()
    write_bytes(path, data, force=force)


def write_bytes(path: Path, data: bytes, *, force: bool = False) -> None:
    """As `write_text`, for content that is no text."""
    refuse_existing(path, force=force)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(temporary, 0o666 & ~mask)  # mkstemp's 0600 would hide results from a team
            if force or not _link(temporary, path):
                os.replace(temporary, path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except FileExistsError:
        raise InputError(str(path), ["exists already; use --force to replace it"]) from None
    except OSError as error:
        raise InputError(str(path), [f"cannot be written: {_reason(error)}"]) from None


def _link(temporary: str, path: Path) -> bool:
    """Give the finished file its name unless that is taken; False where links are not supported."""
    try:
        os.link(temporary, path)  # fails, unlike rename, if the file appeared meanwhile
    except FileExistsError:
        raise
    except OSError:
        return False
    return True


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _duplicate_keys(text: str, source: str) -> list[str]:
    """Keys given twice, which JSON parsers drop silently; raises `InputError` on broken JSON."""
    problems: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        seen: set[str] = set()
        for key, _ in items:
            if key in seen:
                problems.append(f"key {shortened(key)!r} appears twice in one object")
            seen.add(key)
        return dict(items)

    try:
        json.loads(text, object_pairs_hook=pairs)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        what = (
            "the file is empty" if not text.strip() else f"not valid JSON at {where}: {error.msg}"
        )
        raise InputError(source, [what]) from None
    except RecursionError:
        raise InputError(source, [f"not usable JSON: {NESTED}"]) from None
    except ValueError:  # the interpreter's limit, far above what a document may hold
        raise InputError(source, ["not usable JSON: an integer of thousands of digits"]) from None
    return problems


def explain(model: type[BaseModel], error: ValidationError) -> tuple[list[str], int]:
    """Problems of a document, one line each: the path, what was found, what is allowed.

    Of many, the first ones, and how many there are besides.
    """
    errors = error.errors(include_url=False)
    return list(_lines(model, errors[:MOST_EXPLAINED])), max(0, len(errors) - MOST_EXPLAINED)


def _lines(model: type[BaseModel], errors: Sequence[ErrorDetails]) -> Iterator[str]:
    for item in errors:
        if item["type"] == "too_short" and any(
            other["loc"][: len(item["loc"])] == item["loc"] for other in errors if other is not item
        ):
            continue  # pydantic counts only the valid items; the invalid ones are reported
        # A part in parentheses says which form of a value was meant, not where it is.
        parts = [shortened(str(part)) for part in item["loc"] if not str(part).startswith("(")]
        path = ".".join(parts) or "document"
        if item["type"] == "inconsistent":
            prefix = "" if path == "document" else f"{path}."
            for problem in item["ctx"]["problems"]:
                yield f"{prefix}{problem['path']}: {problem['message']}"
        else:
            yield f"{path}: {_message(model, item)}"


_TINY = re.compile(r"\b0\.0{4,}\d+")
"""Bounds as pydantic writes them, all their zeros counted out."""


def _message(model: type[BaseModel], item: ErrorDetails) -> str:
    if item["type"] == "missing":
        return "required key is missing"
    if item["type"] == "extra_forbidden":
        name = shortened(str(item["loc"][-1]))
        return f"unknown key; {closest(name, _keys_at(model, item['loc'][:-1]))}"
    message = item["msg"].removeprefix("Value error, ")
    message = _TINY.sub(lambda found: f"{float(found[0]):g}", message)
    return f"{message[0].lower()}{message[1:]}; found {_found(item['input'])}"


def _found(value: object) -> str:
    """A value as messages show it: all of a large one would take long, and say less."""
    return shortened(_REPR.repr(value))


def shortened(text: str, length: int = 60) -> str:
    """The text, or its beginning if it is longer."""
    return text if len(text) <= length else text[: length - 3] + "..."


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema(by_alias=True)


def _keys_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """Keys allowed at a place of the document, read off the model's JSON Schema."""
    root = _schema(model)

    def resolve(node: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in node:
            node = root["$defs"][node["$ref"].rsplit("/", 1)[1]]
        return node

    def step(node: dict[str, Any], part: int | str) -> dict[str, Any] | None:
        for option in [node, *node.get("anyOf", [])]:
            option = resolve(option)
            inner = option.get("items") if isinstance(part, int) else None
            inner = inner or option.get("properties", {}).get(part)
            if inner is not None:
                return dict(resolve(inner))
        return None

    node: dict[str, Any] | None = resolve(root)
    for part in loc:
        node = step(node, part) if node is not None else None
    for option in [] if node is None else [node, *node.get("anyOf", [])]:
        keys = list(resolve(option).get("properties", {}))
        if keys:
            return keys
    return []


def _format(value: Any, indent: int = 0) -> str:
    """JSON text in which a container without nested containers takes one line."""
    children = value.values() if isinstance(value, dict) else value
    nested = isinstance(value, dict | list) and any(isinstance(v, dict | list) for v in children)
    if not nested:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    pad = "  " * (indent + 1)
    if isinstance(value, dict):
        body = [f"{pad}{json.dumps(k)}: {_format(v, indent + 1)}" for k, v in value.items()]
        opening, closing = "{", "}"
    else:
        body = [f"{pad}{_format(v, indent + 1)}" for v in value]
        opening, closing = "[", "]"
    return f"{opening}\n" + ",\n".join(body) + f"\n{'  ' * indent}{closing}"
