"""Prove all certified bounds again, and check the certificates.

    python results/certificates/run.py [INSTANCE...]

INSTANCE is a name, such as resnet50-64-placed; without one, all that have a certificate. Checks
that are there are kept while their certificate is the same. Each is written as it ends, so an
interrupted run goes on where it stopped.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import scope_check
from scope_opt.report.results.certificates import (
    CHECKS,
    CertificateCheck,
    certificate_of,
    file_digest,
    load_checks,
)
from scope_opt.report.results.records import PAPER_INSTANCES
from scope_opt.schedule.schedule import InstanceReference, Schedule
from scope_opt.solving.api import load
from scope_opt.solving.certificate import CERTIFIED, Certificate
from scope_opt.solving.monitor import cpu_s
from scope_opt.solving.solver import SolveOptions, load_solver, solve
from scope_opt.solving.warmup import warm_up
from scope_opt.studies.one_by_one import make_missing

if TYPE_CHECKING:
    from scope_opt.model.instance import Instance


def measured(instance: Instance) -> CertificateCheck:
    """Prove the bound again, and check the certificate beside the best schedule."""
    proof = certificate_of(instance.name)
    schedule = proof.with_name(f"{instance.name}.json")
    claims = Certificate.load(proof)
    options = SolveOptions(warm_start=Schedule.load(schedule), programs=False)
    solver = load_solver(CERTIFIED)
    warm_up(solver, instance.demands, options)
    began_s = cpu_s()
    result = solve(instance, solver, options)
    solve_s = cpu_s() - began_s
    # A proof reports more than its certificate where it uses the best schedule.
    if result.bound_ps is None or result.bound_ps < claims.bound_ps:
        raise SystemExit(f"{instance.name}: proved {result.bound_ps}, certified {claims.bound_ps}")
    with TemporaryDirectory() as folder:
        file = Path(folder) / "instance.json"
        instance.save(file)
        before_s = _children_s()
        command = [sys.executable, scope_check.__file__, str(file), str(schedule), str(proof)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        check_s = _children_s() - before_s
    if done.returncode != 0:
        raise SystemExit(f"{instance.name}: {done.stdout}{done.stderr}")
    return CertificateCheck(
        instance=InstanceReference.to(instance),
        certificate_sha256=file_digest(proof),
        file_bytes=proof.stat().st_size,
        objective_ps=claims.objective_ps,
        bound_ps=claims.bound_ps,
        solve_cpu_s=round(solve_s, 3),
        check_cpu_s=round(check_s, 3),
    )


def _children_s() -> float:
    """Processor time of all processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Make what is missing."""
    names = [f"{name}{model}" for model in ("", "-placed") for name in PAPER_INSTANCES]
    chosen = sys.argv[1:] or [name for name in names if certificate_of(name).exists()]
    make_missing(
        CHECKS,
        load_checks(),
        ((name, load(name)) for name in chosen),
        measured,
        "python results/certificates/run.py",
    )


if __name__ == "__main__":
    main()
