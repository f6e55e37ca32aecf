"""Page of the study `certificates`: how large they are, and what proving and checking take.

``results/certificates/run.py`` measures them.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from scope_opt.model.files import Document
from scope_opt.model.network import Index
from scope_opt.report.markdown import Article, bullets, fixed, table
from scope_opt.report.results.records import PAPER_INSTANCES, RESULTS, ROOT, machine, milliseconds
from scope_opt.schedule.schedule import InstanceReference

if TYPE_CHECKING:
    from pathlib import Path

STUDY = "certificates"
CHECKS = RESULTS / STUDY / "checks.jsonl"
FLOOR_S = 1.0
"""Of processor time that starting a process and reading its files may take beside the proof."""
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class CertificateCheck(Document):
    """A certificate of the registry: its proof made again, and checked by a process of its own."""

    format: Literal["scope-certificate-check/1"] = "scope-certificate-check/1"
    instance: InstanceReference
    certificate_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """Of its file."""
    file_bytes: Index
    objective_ps: Index
    bound_ps: Index
    solve_cpu_s: Seconds
    """Processor time of the proof, which began with the best schedule and compiled nothing."""
    check_cpu_s: Seconds
    """Processor time of the checker's process from its start to its end."""


def certificate_of(name: str) -> Path:
    """Where the certificate of an instance lies, if it has one."""
    return ROOT / "instances" / "best_known" / f"{name}.proof.gz"


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load_checks() -> dict[str, CertificateCheck]:
    """Those of certificates as they lie there now, by instance; of several the last counts."""
    lines = CHECKS.read_text().splitlines() if CHECKS.exists() else []
    found = [CertificateCheck.from_json(line, str(CHECKS)) for line in lines]
    return {
        check.instance.name: check
        for check in found
        if (path := certificate_of(check.instance.name)).exists()
        and file_digest(path) == check.certificate_sha256
    }


def page() -> Article:
    """The page."""
    known = load_checks()
    models = {
        "regressed": [known[name] for name in PAPER_INSTANCES if name in known],
        "placed": [
            known[f"{name}-placed"] for name in PAPER_INSTANCES if f"{name}-placed" in known
        ],
    }
    lines = [_summary(model, checks) for model, checks in models.items() if checks]
    checks = [check for found in models.values() for check in found]
    return Article(
        "Certificates",
        [
            f"All {len(checks)} certificates in `instances/best_known`: the proof by `exact` again, which began with "
            "the best schedule, and the check by `scope-check`, which shares nothing with it "
            "([docs/certificates.md](../../docs/certificates.md)). Reproduce with "
            "`python results/certificates/run.py`; `checks.jsonl` has what was measured. "
            f"{machine(STUDY)}",
            bullets([*lines, _slower(checks)]),
            "*KB*: size of the certificate, packed. *latency*: of the best schedule, ms; *gap*: to the bound that is "
            "certified, which leaves out what shared links add in the placed model, 0 for an optimum. *proof*, "
            "*check*: processor seconds; the check has those of its process from start to end.",
            table(("instance", "KB", "latency", "gap %", "proof", "check"), map(_row, checks), 1),
        ],
    )


def _summary(model: str, checks: list[CertificateCheck]) -> str:
    proved = sum(check.objective_ps == check.bound_ps for check in checks)
    size = sum(check.file_bytes for check in checks) / 1e6
    solve_s, check_s = (
        sum(times)
        for times in zip(*((one.solve_cpu_s, one.check_cpu_s) for one in checks), strict=True)
    )
    return (
        f"{model} model: {len(checks)} certificates of {size:.1f} MB in all, {proved} of them of optima. Proofs took "
        f"{solve_s:.0f} s of processor time, checks {check_s:.0f} s."
    )


def _slower(checks: list[CertificateCheck]) -> str:
    """Which checks took longer than their proofs and the start of a process."""
    over = [one for one in checks if one.check_cpu_s > one.solve_cpu_s + FLOOR_S]
    limit = f"{FLOOR_S:g} s more than the proof"
    if not over:
        return f"No check took longer than {limit}."
    each = (f"{one.instance.name} ({one.check_cpu_s - one.solve_cpu_s:.1f} s)" for one in over)
    return f"Longer than {limit} took {len(over)} of {len(checks)} checks: {', '.join(each)}."


def _row(check: CertificateCheck) -> list[str]:
    return [
        check.instance.name,
        f"{check.file_bytes / 1e3:.1f}",
        milliseconds(check.objective_ps),
        fixed(100 * (1 - check.bound_ps / check.objective_ps), ".2f"),
        f"{check.solve_cpu_s:.2f}",
        f"{check.check_cpu_s:.2f}",
    ]
