"""Arguments of the command line that are documents: told apart by their format, read from stdin."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from scope_opt.model.files import (
    InputError,
    decoded,
    read_json,
    read_stream,
    refuse_excess,
    shortened,
)
from scope_opt.model.generate import instance_named, network_named
from scope_opt.model.instance import Instance
from scope_opt.model.parts import NetworkFile, PackageFile
from scope_opt.model.presets import new_package
from scope_opt.schedule.schedule import Schedule
from scope_opt.solving.api import load as instance_or_file
from scope_opt.solving.result import Result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scope_opt.model.files import Document
    from scope_opt.model.network import Network
    from scope_opt.model.package import Package
    from scope_opt.schedule.schedule import InstanceReference
    from scope_opt.solving.solver import OrderChoice, SegmentChoice

STDIN = "-"
_OPTIONS = ("segments", "encoding", "points", "slowest")
"""Of the command line, as parameters are called in errors."""


def load(source: str, *kinds: type[Document]) -> Document:
    """Read a document that is one of ``kinds``; the first where ``format`` is absent.

    Where instances are among the kinds, their names do as well.

    Raises
    ------
    InputError
        For a document of another kind, too.
    """
    if Instance in kinds and _is_name(source):
        return instance_or_file(source)
    return _parse(_text(source), _name(source), *kinds)


def load_instance(source: str) -> Instance:
    """Read an instance."""
    document = load(source, Instance)
    assert isinstance(document, Instance)
    return document


def load_network(source: str) -> Network:
    """Read a network from a file, also from an instance's, or take a built-in one."""
    if _is_name(source):
        return network_named(source)
    document = load(source, NetworkFile, Instance)
    assert isinstance(document, NetworkFile | Instance)
    if document.network is None:
        raise InputError(_name(source), ["network: this instance gives tables instead"])
    return document.network


def load_package(source: str) -> tuple[Package, str]:
    """A package from a file, also from an instance's, or a preset; and what to call it."""
    if _is_name(source):
        return new_package(source), source
    document = load(source, PackageFile, Instance)
    assert isinstance(document, PackageFile | Instance)
    if document.package is None:
        raise InputError(_name(source), ["package: this instance gives tables instead"])
    return document.package, Path(_name(source)).name.split(".")[0]


def _is_name(source: str) -> bool:
    """Whether an argument is no file but a name."""
    return source != STDIN and not os.path.exists(source) and not any(c in source for c in "./\\")


def load_schedule(source: str) -> Schedule:
    """Read a schedule, or the schedule of a result."""
    return _schedule(load(source, Schedule, Result), source)


def load_both(instance: str, schedule: str) -> tuple[Instance, Schedule]:
    """Read an instance and a schedule of it; says so if they are swapped."""
    first = load(instance, Instance, Schedule, Result)
    if isinstance(first, Instance):
        return first, load_schedule(schedule)
    problem = f"is no instance; say INSTANCE first, then SCHEDULE: {schedule} {instance}"
    raise InputError(_name(instance), [problem])


def known_instance(reference: InstanceReference) -> Instance | None:
    """The instance referred to, if it is one of the paper's."""
    instance = instance_named(reference.name)
    return instance if instance is not None and instance.digest == reference.digest else None


@contextmanager
def naming(instance: str, warm_start: Path | None = None) -> Iterator[None]:
    """Have errors of what is done inside name the file or the option they are about.

    Solvers and tables know neither; they name what they found wrong in an instance by its field.
    """
    try:
        yield
    except InputError as error:
        source, found = error.source, error.problems
        whole = source == "instance" or source.startswith("instance ")
        if whole or source in Instance.model_fields:
            field = "" if whole else f"{source}: "
            raise InputError(_name(instance), [field + p for p in found], error.more) from None
        if source == "warm start":
            raise InputError(str(warm_start or source), found, error.more) from None
        if source in _OPTIONS:
            raise InputError(f"--{source}", found, error.more) from None
        raise


def segment_choice(text: str | None) -> SegmentChoice | None:
    """Value of ``--segments``: a method, a number, or a file with segments; None if not given."""
    if text is None:
        return None
    methods: tuple[Literal["single", "balanced", "dp"], ...] = ("single", "balanced", "dp")
    for method in methods:
        if text == method:
            return method
    if text.removeprefix("-").isdecimal() and len(text) < 20:
        return int(text)
    if _is_name(text):
        allowed = "allowed: single, balanced, dp, a number of segments, or a file"
        raise InputError("--segments", [f"found {text!r}; {allowed}"])
    content = _text(text)
    refuse_excess(content, _name(text))
    try:
        starts = json.loads(content)
    except (ValueError, RecursionError):
        starts = None  # the reader below says what is wrong
    if not isinstance(starts, list):
        schedule = _schedule(_parse(content, _name(text), Schedule, Result), text)
        return tuple(segment.first_layer for segment in schedule.segments)
    if not all(type(first) is int for first in starts):
        problem = "needs the first layer of every segment, integers such as [0, 57, 100]"
        raise InputError(_name(text), [problem])
    return tuple(starts)


def order_choice(text: str | None) -> OrderChoice | None:
    """Value of ``--order``: ``all``, or names of orders; None if not given."""
    if text is None:
        return None
    if text == "all":
        return "all"
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _name(source: str) -> str:
    return "stdin" if source == STDIN else source


def _text(source: str) -> str:
    if source != STDIN:
        return read_json(Path(source))
    if sys.stdin is None:
        raise InputError("stdin", ["is closed; name a file, or write to it"])
    try:
        data = read_stream(sys.stdin.buffer, "stdin")
    except OSError as error:
        raise InputError("stdin", [f"cannot be read: {error.strerror}"]) from None
    return decoded(data, "stdin")


def _parse(text: str, name: str, *kinds: type[Document]) -> Document:
    formats = {kind.model_fields["format"].default: kind for kind in kinds}
    refuse_excess(text, name)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None  # the reader below says what is wrong
    found = content.get("format") if isinstance(content, dict) else None
    if found is None:
        return kinds[0].from_json(text, name)
    if not isinstance(found, str) or found not in formats:
        what = f"format: found {shortened(repr(found))}"
        raise InputError(name, [f"{what}; allowed here: {', '.join(formats)}"])
    return formats[found].from_json(text, name)


def _schedule(document: Document, source: str) -> Schedule:
    schedule = document.schedule if isinstance(document, Result) else document
    if not isinstance(schedule, Schedule):
        raise InputError(_name(source), ["schedule: this result holds none"])
    return schedule
