"""Studies with one document an instance, where a job is more than a solve.

Each document is written as it is made, so that an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from scope_opt.model.files import write_text
from scope_opt.studies.provenance import note_run
from scope_opt.studies.records import MANIFEST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from scope_opt.model.instance import Instance
    from scope_opt.schedule.schedule import InstanceReference


class OfInstance(Protocol):
    """A document about an instance."""

    @property
    def instance(self) -> InstanceReference:
        """Which one."""
        ...

    def to_json(self) -> str:
        """The document."""
        ...


Made = TypeVar("Made", bound=OfInstance)


def make_missing(
    file: Path,
    known: dict[str, Made],
    instances: Iterable[tuple[str, Instance]],
    make: Callable[[Instance], Made],
    command: str,
) -> None:
    """Make a document of every instance that has none, or one of another instance of that name.

    Parameters
    ----------
    file : Path
        All documents, a line each, without trajectories; written anew after each.
    known : dict
        Those that are there, by name; the new ones are added.
    instances : iterable of (name, Instance)
    make : callable
    command : str
        What this run is noted as in the manifest beside the file, if it makes anything.
    """
    noted = False
    for name, instance in instances:
        old = known.get(name)
        if old is not None and old.instance.digest == instance.digest:
            continue
        if not noted:
            note_run(file.parent / MANIFEST, command)
            noted = True
        known[name] = make(instance)
        write_text(file, "".join(map(_line, known.values())), force=True)
        print(f"{name}: made", flush=True)


def _line(document: OfInstance) -> str:
    return json.dumps(_without_trajectories(json.loads(document.to_json()))) + "\n"


def _without_trajectories(content: Any) -> Any:
    """Those of all results in it are long, and pages use none."""
    if isinstance(content, list):
        return [_without_trajectories(each) for each in content]
    if isinstance(content, dict):
        return {
            key: [] if key == "trajectory" else _without_trajectories(value)
            for key, value in content.items()
        }
    return content
