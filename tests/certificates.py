"""Certificates for tests: of instances as documents, and with claims that are changed at random.

    python tests/certificates.py --count 10000 --seed 0

changes claims of certificates of shipped instances, tables aside, and ends with exit code 1 if one
that is false is accepted. What is accepted is judged by the evaluator and the proved optimum, that
of placed instances without shared links. ``--placed`` takes these only.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import scope_check
from scope_opt import load
from scope_opt.schedule.evaluate import evaluate
from scope_opt.schedule.schedule import Schedule
from scope_opt.solving.certificate import certify
from scope_opt.solving.solver import SolveOptions, solve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scope_opt.model.files import Document
    from scope_opt.model.instance import Instance
    from scope_opt.model.tables import LatencyTables
    from scope_opt.solving.monitor import Monitor

Json = dict[str, Any]
SHIPPED = (
    *("tiny-tables", "tiny-skip", "tiny-stream", "alexnet-16", "resnet18-16"),
    *("tiny-links", "tiny-inputs", "tiny-order", "alexnet-16-placed", "resnet18-16-placed"),
)


class Proved(NamedTuple):
    """An instance, its best schedule and the certificate, as documents."""

    instance: Json
    schedule: Json
    proof: Json

    def accepted(self) -> bool:
        """Whether the checker takes it; bad input counts as refused."""
        try:
            # The checker may fill in tables: it gets its own copies.
            scope_check.check(*copy.deepcopy(tuple(self)))
        except (scope_check.Refused, scope_check.Unusable):
            return False
        return True


def plain(document: Document) -> Json:
    found: Json = json.loads(document.to_json())
    return found


def prove(instance: Instance, **options: Any) -> Proved | None:
    """Solve with `exact` alone and certify; None if there is no schedule."""
    found: list[Json] = []

    def keep(tables: LatencyTables, monitor: Monitor) -> None:
        if monitor.objective is not None and monitor.segment_floors_ps is not None:
            known = monitor.objective, monitor.segment_floors_ps, options.get("segments")
            proof = certify(instance, tables, *known)
            found.append(plain(proof))

    result = solve(instance, "exact", SolveOptions(**options, programs=False), on_end=keep)
    if result.schedule is None:
        return None
    return Proved(plain(instance), plain(result.schedule), found[0])


# --- Changes -------------------------------------------------------------------------------------


def _number(rng: random.Random, value: int) -> Any:
    """Another value in the place of a number."""
    near = [value + 1, value - 1, value + rng.randrange(1, 10**4), int(value * 1.01) + 1]
    far = [0, -value, 2 * value + 1, 2**58 - 1, 2**61, 2**63, 10**30]
    odd: list[Any] = [None, True, str(value), float(value), float("nan"), float("inf"), [], {}]
    kinds: list[list[Any]] = [near, near, near, far, odd]
    return rng.choice(rng.choice(kinds))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container with each of its keys or indices."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(items):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)


def change(rng: random.Random, proved: Proved) -> Proved:
    """Change claims or the schedule in one to three places; tables and instance stay."""
    instance, schedule, proof = copy.deepcopy(proved)
    claims = {key: value for key, value in proof.items() if key != "tables"}
    for _ in range(rng.randint(1, 3)):
        kind = rng.randrange(6)
        if kind < 2:  # a larger bound, with prefixes that could belong to it
            prefix = proved.proof["prefix_bounds_ps"]
            more = rng.choice([1, rng.randrange(1, 10**6), prefix[-1] // 50 + 1])
            start = rng.randrange(1, len(prefix))
            claims["prefix_bounds_ps"] = [
                n + (more if e >= start else 0) for e, n in enumerate(prefix)
            ]
            claims["bound_ps"] = prefix[-1] + more
            if kind == 1 and rng.random() < 0.5:
                claims["objective_ps"] = claims["bound_ps"]
        else:
            places = list(_places(claims if kind < 4 else schedule))
            holder, key = rng.choice(places)
            value = holder[key]
            if isinstance(value, int):
                holder[key] = _number(rng, value)
            elif isinstance(value, list) and value and rng.random() < 0.7:
                del value[rng.randrange(len(value))]
            elif value in ("ISP", "WSP"):
                holder[key] = "WSP" if value == "ISP" else "ISP"
            elif isinstance(value, str) and rng.random() < 0.7:
                holder[key] = value[::-1]
            elif rng.random() < 0.3:
                holder[key] = None
    return Proved(instance, schedule, claims | {"tables": proof.get("tables")})


def is_true(instance: Instance, bound_ps: int, changed: Proved) -> bool:
    """Whether what a certificate claims is so, by evaluator and the largest bound there is."""
    content: Json = {"instance": {"name": instance.name, "digest": instance.digest}}
    content["segments"] = changed.schedule["segments"]
    schedule = Schedule.from_json(json.dumps(content), "changed")
    value, bound = evaluate(instance, schedule).objective_ps, int(changed.proof["bound_ps"])
    return value == changed.proof["objective_ps"] and bound <= bound_ps


def main() -> int:
    """Change certificates, and count what the checker says."""
    parser = argparse.ArgumentParser(prog="python tests/certificates.py")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--placed", action="store_true")
    given = parser.parse_args()
    rng = random.Random(given.seed)
    instances = [load(name) for name in SHIPPED]
    if given.placed:
        instances = [one for one in instances if "placed" in one.demands]
    proved = [(instance, prove(instance)) for instance in instances]
    refused = unchanged = 0
    for _ in range(given.count):
        instance, original = rng.choice(proved)
        assert original is not None
        changed = change(rng, original)
        if not changed.accepted():
            refused += 1
        elif is_true(instance, original.proof["bound_ps"], changed):
            unchanged += 1
        else:
            Path("accepted-falsely.json").write_text(json.dumps(changed._asdict(), indent=1))
            print("a false claim was accepted: accepted-falsely.json", file=sys.stderr)
            return 1
    print(f"{given.count} changed certificates: {refused} refused, {unchanged} accepted and true")
    return 0


if __name__ == "__main__":
    sys.exit(main())
