"""Commands on the registry of best known schedules."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scope_opt.commands.arguments import NOTHING_FOUND
from scope_opt.terminal.console import complain, print_text, print_view

RegistryFile = Annotated[
    Path | None,
    typer.Option("--file", metavar="FILE", help="Another registry than the project's own."),
]
registry = typer.Typer(help="The registry of best known schedules.", no_args_is_help=True)


@registry.callback()
def _registry() -> None:
    """The registry of best known schedules."""


@registry.command()
def check(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Instances; all by default.", show_default=False),
    ] = None,
    file: RegistryFile = None,
) -> None:
    """Evaluate every schedule again, and verify every certificate.

    Tables of certificates are compared with those computed from the instance. No solver is
    involved. Exit code 1 if an entry is wrong.

    \b
    Examples:
      scope-opt registry check
      scope-opt registry check resnet50-64 resnet152-16
    """  # noqa: D301  # \b keeps the line breaks
    from scope_opt.solving.registry import SHIPPED, check_registry

    wrong = total = certified = 0
    for found in check_registry(file or SHIPPED, tuple(names or ())):
        name, total = found.entry.instance.name, total + 1
        certified += found.certified_ps is not None
        for problem in found.problems:
            complain(f"{name}: {problem}")
        wrong += bool(found.problems)
        proof = f"bound of {found.certified_ps} ps certified" if found.certified_ps else ""
        said = "WRONG" if found.problems else f"{found.entry.objective_ps} ps evaluated"
        print_text("  ".join(filter(None, (name, said, proof))) + "\n")
    print_text(f"{total} entries, {certified} certified, {wrong} wrong\n")
    if wrong:
        raise typer.Exit(NOTHING_FOUND)


@registry.command("list")
def entries(file: RegistryFile = None) -> None:
    """List what is known of each instance, and how hard it is.

    Easy, medium, hard: solver exact proves the optimum within 1 s, within 60 s, or in more. Open:
    nothing proves it. Instances without an entry come last.

    \b
    Example:
      scope-opt registry list
    """  # noqa: D301  # \b keeps the line breaks
    from scope_opt.solving.registry import SHIPPED, Registry
    from scope_opt.solving.submission import benchmark
    from scope_opt.terminal.registry import registry_view

    found = Registry.load(file or SHIPPED).entries
    known = {entry.instance.name for entry in found}
    unknown = [name for name in benchmark() if name not in known]
    print_view(lambda console: registry_view(console, found, unknown))


@registry.command()
def submit(
    schedule: Annotated[
        str, typer.Argument(metavar="FILE", help="Schedule or result file, or - for stdin.")
    ],
    source: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Who found it, or where it is published."),
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option(metavar="PROOF", help="Of the schedule, from solve --certificate."),
    ] = None,
    claimed_bound_ps: Annotated[
        int | None,
        typer.Option(
            metavar="PS", min=0, help="Lower bound without a certificate; needs --source."
        ),
    ] = None,
    file: RegistryFile = None,
) -> None:
    """Verify a schedule, and add it to the registry where it is better.

    The evaluator judges the schedule, the checker its certificate. Only a certificate raises the
    bound: one that a result states does not count, and one that is claimed is kept as a claim. Exit
    code 1 if nothing is better than what the registry has.

    \b
    Examples:
      scope-opt registry submit result.json --source "A. Author, doi:10.1000/1"
      scope-opt registry submit result.json --certificate proof.gz
    """  # noqa: D301  # \b keeps the line breaks
    from scope_opt.model.files import InputError
    from scope_opt.schedule.schedule import Schedule
    from scope_opt.solving.registry import SHIPPED
    from scope_opt.solving.result import Result
    from scope_opt.solving.submission import submit as add
    from scope_opt.terminal.inputs import load

    if claimed_bound_ps is not None and source is None:
        raise InputError("--claimed-bound-ps", ["nothing verifies it; give --source, whose it is"])
    document = load(schedule, Schedule, Result)
    assert isinstance(document, Schedule | Result)
    outcome = add(
        file or SHIPPED,
        document,
        "stdin" if schedule == "-" else schedule,
        "not stated" if source is None else source,
        certificate,
        claimed_bound_ps,
    )
    name, before, after = outcome.after.instance.name, outcome.before, outcome.after
    if not outcome.kept:
        known = f"{after.objective_ps} ps, bound {after.bound_ps or 'none'}"
        complain(f"{name}: not better than what the registry has ({known}); nothing is changed")
        raise typer.Exit(NOTHING_FOUND)
    if before is None or after.objective_ps < before.objective_ps:
        was = "" if before is None else f", before {before.objective_ps} ps"
        print_text(f"{name}: schedule of {after.objective_ps} ps{was}\n")
    if outcome.certified:
        was = "none" if before is None or before.bound_ps is None else f"{before.bound_ps} ps"
        print_text(f"{name}: bound of {after.bound_ps} ps certified, before {was}\n")
    if after.claim is not None and (before is None or after.claim != before.claim):
        print_text(f"{name}: bound of {after.claim.bound_ps} ps claimed, not verified\n")
    print_text(f"{name}: {after.kind}, {after.difficulty}\n")
