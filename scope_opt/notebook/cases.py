"""The instance that a document is about, and the document with all that is known of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scope_opt.model.files import InputError
from scope_opt.model.generate import instance_named
from scope_opt.model.instance import Instance
from scope_opt.model.shipped import shipped_instances
from scope_opt.report.cases import make_case
from scope_opt.schedule.schedule import Schedule
from scope_opt.solving.api import solved_instance
from scope_opt.solving.result import Result

if TYPE_CHECKING:
    from scope_opt.report.cases import Case
    from scope_opt.schedule.schedule import InstanceReference

Shown = Instance | Schedule | Result


def schedule_of(document: Schedule | Result) -> Schedule:
    """The schedule; raises `InputError` for a result without one."""
    schedule = document.schedule if isinstance(document, Result) else document
    if schedule is None:
        raise InputError("schedule", ["this result holds none"])
    return schedule


def find_instance(reference: InstanceReference) -> Instance | None:
    """An instance of this session, a shipped one, or one that its name describes; None if none."""
    solved = solved_instance(reference)
    if solved is not None:
        return solved
    file = shipped_instances().get(reference.name)
    found = Instance.load(file) if file is not None else instance_named(reference.name)
    return found if found is not None and found.digest == reference.digest else None


def case_of(document: Schedule | Result, instance: Instance | None = None) -> Case:
    """A schedule, evaluated.

    Raises
    ------
    InputError
        If there is no schedule, or its instance is neither given nor known.
    """
    schedule = schedule_of(document)
    reference = document.instance
    if instance is None:
        instance = find_instance(reference)
    elif instance.digest != reference.digest:
        found = f"found {instance.name} ({instance.digest[:12]})"
        wanted = f"{reference.name} ({reference.digest[:12]})"
        raise InputError("instance", [f"{found}; this is about {wanted}"])
    if instance is None:
        problem = f"{reference.name} is not known here; give it: instance=load(FILE)"
        raise InputError("instance", [problem])
    result = document if isinstance(document, Result) else None
    return make_case(reference.name, reference.name, instance, schedule, result)
