"""Arguments of the command line that are documents: told apart by their format, read from stdin."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from scope_opt.model.files import InputError, read_json
from scope_opt.model.generate import instance_named, network_named
from scope_opt.model.instance import Instance
from scope_opt.model.parts import NetworkFile, PackageFile
from scope_opt.model.presets import new_package
from scope_opt.schedule.schedule import Schedule
from scope_opt.solving.api import load as instance_or_file
from scope_opt.solving.result import Result

if TYPE_CHECKING:
    from scope_opt.model.files import Document
    from scope_opt.model.network import Network
    from scope_opt.model.package import Package
    from scope_opt.schedule.schedule import InstanceReference
    from scope_opt.solving.solver import SegmentChoice

STDIN = "-"


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


def _name(source: str) -> str:
    return "stdin" if source == STDIN else source


def _text(source: str) -> str:
    if source != STDIN:
        return read_json(Path(source))
    try:
        return sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        problem = f"not UTF-8: byte 0x{error.object[error.start]:02x} at offset {error.start}"
        raise InputError("stdin", [problem]) from None


def _parse(text: str, name: str, *kinds: type[Document]) -> Document:
    formats = {kind.model_fields["format"].default: kind for kind in kinds}
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None  # the reader below says what is wrong
    found = content.get("format") if isinstance(content, dict) else None
    if found is None:
        return kinds[0].from_json(text, name)
    if not isinstance(found, str) or found not in formats:
        raise InputError(name, [f"format: found {found!r}; allowed here: {', '.join(formats)}"])
    return formats[found].from_json(text, name)


def _schedule(document: Document, source: str) -> Schedule:
    schedule = document.schedule if isinstance(document, Result) else document
    if not isinstance(schedule, Schedule):
        raise InputError(_name(source), ["schedule: this result holds none"])
    return schedule
