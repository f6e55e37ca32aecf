"""Latency-energy fronts against brute force, their certificates, interruption and bad input."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import jsonschema
import oracle
import pytest
import strategies
from documents import TINY, Json, shipped
from helpers import invoke, read
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scope_opt.model import units
from scope_opt.model.files import InputError
from scope_opt.model.instance import Constraints, Instance
from scope_opt.pareto.front import Front, Point, check_front, strengthened, undominated
from scope_opt.pareto.search import UNBOUNDED_S, bound_seconds, trace_front
from scope_opt.schedule.evaluate import evaluate
from scope_opt.schedule.schedule import InstanceReference, Schedule, make_segment
from scope_opt.solving.monitor import Monitor
from scope_opt.solving.result import Status
from scope_opt.solving.solver import SolveOptions, SolverDisagreement
from scope_opt.terminal import console as terminal

if TYPE_CHECKING:
    from pathlib import Path

Pairs = list[tuple[int, int]]


def tiny(name: str) -> Instance:
    return Instance.load(TINY / f"tiny-{name}.json")


def small() -> Instance:
    """The first layers of a shipped instance on four chiplets."""
    content = json.loads(tiny("stream").to_json())
    network = content["network"]
    network["layers"] = network["layers"][:3]
    network["edges"] = [edge for edge in network["edges"] if edge["to"] < 3]
    content["package"] |= {"mesh_rows": 2, "mesh_cols": 2}
    return read(content)


class BruteForce:
    """A solver that enumerates with the oracle."""

    name = "brute-force"
    summary = "for tests"
    exact = True
    constraints = frozenset(Constraints.model_fields)
    options: frozenset[str] = frozenset()

    def __init__(
        self, interrupt_at: int | None = None, prove: bool = True, late: bool = False
    ) -> None:
        self.solves, self.interrupt_at, self.prove = 0, interrupt_at, prove
        self.late = late  # the interruption comes when it has its answer

    def run(self, instance: Instance, tables: Any, options: SolveOptions, monitor: Monitor) -> None:
        self.solves += 1
        found = oracle.best(json.loads(instance.to_json()))
        if found is None:
            monitor.prove_infeasible(["there is none"])
            return
        content = {**found[0], "instance": {"name": "x", "digest": "0" * 64}}
        monitor.improve(found[1], Schedule.from_json(json.dumps(content), "found").segments)
        monitor.raise_bound(found[1] if self.prove else found[1] - 1)
        monitor.interrupted = self.solves == self.interrupt_at
        assert self.late or monitor.stopping == monitor.interrupted


def brute_front(instance: Json) -> Pairs:
    """Undominated (latency, energy) of all valid schedules, each evaluated on its own."""
    judge = oracle.oracle(instance)
    pairs = set()
    for schedule in oracle.enumerate_all(judge.n_layers, judge.chiplets):
        if not judge.violations(schedule):
            energy = oracle.energy_fj_total(instance, schedule)
            assert energy is not None
            pairs.add((judge.objective_ps(schedule), energy))
    front: Pairs = []
    for latency, energy in sorted(pairs):
        if not front or energy < front[-1][1]:
            front.append((latency, energy))
    return front


def pairs_of(front: Front) -> Pairs:
    return [(point.latency_ps, point.energy_fj) for point in front.points]


def check(front: Front, instance: Instance) -> None:
    """Every point's schedule has its numbers, none is dominated, certificates are in order."""
    assert front.instance.digest == instance.digest
    for point in front.points:
        assert point.schedule.instance == front.instance
        evaluation = evaluate(instance, point.schedule)
        assert (evaluation.objective_ps, evaluation.energy_fj) == (
            point.latency_ps,
            point.energy_fj,
        )
    for one, other in pairwise(front.points):
        assert one.latency_ps < other.latency_ps
        assert one.energy_fj > other.energy_fj
        if one.bound_fj is not None and other.bound_fj is not None:
            assert one.bound_fj >= other.bound_fj
    assert Front.from_json(front.to_json(), "front") == front


@st.composite
def instances(draw: st.DrawFn) -> Json:
    instance = draw(strategies.physical_instances(3, 3, constraints=True, couplings=True))
    if draw(st.booleans()):
        instance["constraints"].pop("latency_bound_s", None)
    return instance


# --- Bounds in seconds ---------------------------------------------------------------------------


@given(st.integers(1, 8 * 10**15) | st.integers(0, 52).map(lambda power: 2**power))
def test_every_picosecond_has_its_seconds(latency_ps: int) -> None:
    seconds = bound_seconds(latency_ps)
    limits = Constraints.from_json(json.dumps({"latency_bound_s": seconds}), "limits")
    assert limits.latency_bound_s is not None
    assert oracle.exact(limits.latency_bound_s) * 10**12 // 1 == latency_ps


def test_seconds_that_floats_cannot_tell() -> None:
    with pytest.raises(InputError, match="no number that a file can hold"):
        bound_seconds(2**61 - 1)


def test_bound_of_one_picosecond_less() -> None:
    instance = small()
    front = trace_front(instance, BruteForce(), points=2)
    fast = front.points[0]
    for less in (0, 1):
        seconds = bound_seconds(fast.latency_ps - less)
        limits = Constraints(latency_bound_s=seconds)
        bounded = instance.model_copy(update={"constraints": limits})
        codes = [violation.code for violation in evaluate(bounded, fast.schedule).violations]
        assert codes == ["latency-bound"] * less


# --- Whole fronts --------------------------------------------------------------------------------


@settings(max_examples=strategies.share(5))
@given(instances())
def test_random_fronts(instance: Json) -> None:
    expected = brute_front(instance)
    parsed = read(instance)
    solver = BruteForce()
    front = trace_front(parsed, solver)
    check(front, parsed)
    assert pairs_of(front) == expected
    assert front.complete == bool(expected)
    assert bool(front.explanation) != bool(expected)
    if expected:
        assert front.latency_bound_ps == expected[0][0]
        # Ties in energy cost a solve more each, and the fast end two.
        assert solver.solves >= len(expected)
        assert all(point.status is Status.OPTIMAL for point in front.points)
        assert all(point.answers(point.latency_ps) for point in front.points)


@settings(max_examples=strategies.share(10))
@given(instances(), st.integers(2, 5))
def test_sampled_fronts(instance: Json, points: int) -> None:
    """A subset of the front that holds both ends and what is best at every bound."""
    expected = brute_front(instance)
    assume(expected)
    parsed = read(instance)
    front = trace_front(parsed, BruteForce(), points=points)
    check(front, parsed)
    found = pairs_of(front)
    assert set(found) <= set(expected)
    assert (found[0], found[-1]) == (expected[0], expected[-1])
    assert len(found) <= points
    assert not front.complete
    first, last = expected[0][0], expected[-1][0]
    for index in range(points):
        bound = first + (last - first) * index // (points - 1)
        best = min(energy for latency, energy in expected if latency <= bound)
        assert best == min(energy for latency, energy in found if latency <= bound)


@pytest.mark.parametrize("points", [None, 4])
def test_only_up_to_a_multiple_of_the_least_latency(points: int | None) -> None:
    whole = trace_front(small(), BruteForce())
    least, *_, last = pairs_of(whole)
    factor = (last[0] - 1) / least[0]
    front = trace_front(small(), BruteForce(), None, points, factor)
    check(front, small())
    assert pairs_of(front) == pairs_of(whole)[:-1]
    assert front.complete == (points is None)
    assert front.points[-1].within_ps == int(least[0] * oracle.exact(factor))
    # A continued front may hold more than was asked for now; nothing is solved again.
    solver = BruteForce()
    again = trace_front(small(), solver, None, points, factor, previous=whole)
    assert pairs_of(again) == pairs_of(whole)
    assert solver.solves == 0
    # With a factor of 1 the least energy at the least latency is all there is.
    assert pairs_of(trace_front(small(), BruteForce(), None, points, 1)) == [least]


@pytest.mark.parametrize("solver", ["cp-sat", BruteForce()])
def test_small_front(solver: Any) -> None:
    front = trace_front(small(), solver)
    check(front, small())
    assert front.complete
    assert pairs_of(front) == brute_front(json.loads(small().to_json()))
    assert len(front.points) >= 3


def test_solvers_agree() -> None:
    instance = tiny("skip")
    fronts = [trace_front(instance, name, points=4) for name in ("cp-sat", "interval-milp")]
    assert pairs_of(fronts[0]) == pairs_of(fronts[1])
    for exact, close in zip(*(front.points for front in fronts), strict=True):
        assert exact.status is Status.OPTIMAL
        assert close.bound_fj is not None
        assert exact.energy_fj * (1 - 1e-5) < close.bound_fj <= exact.energy_fj
    assert fronts[0].latency_bound_ps == fronts[1].latency_bound_ps


def test_solves_without_proof() -> None:
    front = trace_front(small(), BruteForce(prove=False))
    assert pairs_of(front) == brute_front(json.loads(small().to_json()))
    assert not front.complete
    assert {each.status for each in front.points} == {Status.FEASIBLE}
    assert all(each.bound_fj == each.energy_fj - 1 for each in front.points)


# --- Certificates --------------------------------------------------------------------------------


def point(latency: int, energy: int, within: int | None, bound: int | None) -> Point:
    segment = make_segment(0, [(3, 4, [0, 0, 0])])
    schedule = Schedule(instance=InstanceReference.to(small()), segments=(segment,))
    return Point(
        latency_ps=latency,
        energy_fj=energy,
        within_ps=within,
        status=Status.FEASIBLE,
        bound_fj=None,
        gap=None,
        time_s=0.0,
        schedule=schedule,
    ).with_bound(bound)


def test_looser_proofs_hold_for_faster_schedules() -> None:
    found = strengthened([point(5, 30, 6, None), point(9, 20, None, 15), point(7, 25, 8, 25)])
    assert [(each.latency_ps, each.bound_fj) for each in found] == [(9, 15), (7, 25), (5, 25)]
    assert found[2].gap == pytest.approx(5 / 30)
    same = strengthened([point(5, 30, 6, None), point(5, 30, 6, 20)])
    assert [each.bound_fj for each in same] == [20, 20]
    with pytest.raises(SolverDisagreement, match="proved that no schedule within 5 ps"):
        strengthened([point(5, 30, 6, None), point(9, 40, None, 35)])


def test_dominated_points_go() -> None:
    kept = undominated(
        [point(5, 30, 5, 30), point(6, 30, 7, 30), point(5, 30, 5, 20), point(8, 10, None, 10)]
    )
    assert [(each.latency_ps, each.bound_fj) for each in kept] == [(5, 30), (8, 10)]
    front = trace_front(small(), BruteForce(), points=2)
    backwards = front.model_copy(update={"points": front.points[::-1]}).to_json()
    with pytest.raises(InputError, match=r"points.1: is dominated or not in order"):
        Front.from_json(backwards, "front.json")


# --- Interruption --------------------------------------------------------------------------------


@pytest.mark.parametrize("late", [False, True])
def test_interruption_and_continuation(late: bool) -> None:
    whole = trace_front(small(), BruteForce())
    seen: list[Front] = []
    part = trace_front(small(), BruteForce(interrupt_at=3, late=late), on_front=seen.append)
    assert part.stop_reason == "interrupted"
    assert not part.complete
    assert len(seen) == 3
    assert pairs_of(seen[-1]) == pairs_of(part) == [pairs_of(whole)[0], pairs_of(whole)[-1]]
    solver = BruteForce()
    again = trace_front(small(), solver, previous=part)
    assert pairs_of(again) == pairs_of(whole)
    assert again.complete
    assert 0 < solver.solves < 10
    solver = BruteForce()
    assert trace_front(small(), solver, previous=whole) == whole
    assert solver.solves == 0


def test_ctrl_c_keeps_what_is_found(tmp_path: Path) -> None:
    output = tmp_path / "front.json"
    command = [sys.executable, "-m", "scope_opt", "pareto", str(TINY / "tiny-skip.json"), "-o"]
    process = subprocess.Popen([*command, str(output)], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not output.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "interrupted" in said
    front = Front.load(output)
    assert front.stop_reason == "interrupted"
    assert front.points
    check(front, tiny("skip"))


def test_progress_says_energies(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "PLAIN_PROGRESS_S", 0.0)
    with terminal.progress("energies") as on_progress:
        monitor = Monitor(on_progress=on_progress, minimizes="energy")
        monitor.improve(5 * 10**12, [])
    assert capsys.readouterr().err == "energies: 0 s, 0%, best 5.000 mJ\n"


# --- Bad input -----------------------------------------------------------------------------------


def test_refused() -> None:
    with pytest.raises(InputError, match="explicit tables carry no energies"):
        trace_front(tiny("tables"))
    with pytest.raises(InputError, match="points: found 1; allowed 2"):
        trace_front(tiny("skip"), points=1)
    with pytest.raises(InputError, match=r"slowest: found 0.5; needs a factor from 1 on"):
        trace_front(tiny("skip"), slowest=0.5)
    with pytest.raises(InputError, match=r"does not honour latency_bound_s; .* cp-sat"):
        trace_front(tiny("skip"), "exact")
    with pytest.raises(InputError, match="found 9; allowed 1 to 5"):
        trace_front(tiny("skip"), options=SolveOptions(segments=9))


def test_fronts_that_cannot_be_continued() -> None:
    instance = small()
    front = trace_front(instance, BruteForce())
    check_front(front, instance, None, "front.json")
    with pytest.raises(InputError, match=r"is a front of tiny-stream .*, not of this tiny-skip"):
        check_front(front, tiny("skip"), None, "front.json")
    with pytest.raises(InputError, match="found None, asked for single"):
        check_front(front, instance, "single", "front.json")
    wrong = front.points[0].model_copy(update={"energy_fj": 5})
    changed = front.model_copy(update={"points": (wrong,)})
    with pytest.raises(InputError, match="its schedule has latency and energy"):
        check_front(changed, instance, None, "front.json")


def test_no_bound_excludes_anything() -> None:
    assert UNBOUNDED_S * 1e12 > 2**61


# --- Command -------------------------------------------------------------------------------------


def test_command(tmp_path: Path) -> None:
    source, output, figure = (tmp_path / name for name in ("i.json", "f.json", "f.html"))
    small().save(source)
    outcome = invoke("pareto", source, "--points", 3, "-o", output, "--figure", figure)
    assert outcome.exit_code == 0, outcome.output
    front = Front.load(output)
    assert f"{len(front.points)} points  a sample of the front" in outcome.stdout
    assert outcome.stdout.count("optimal") == len(front.points)
    page = figure.read_text()
    assert "least energy within a latency" in page
    assert "<script" not in page
    assert len(page) < 50_000
    tree = ElementTree.fromstring(re.search("<svg.*</svg>", page, re.S)[0])  # type: ignore[index]
    circles = tree.findall("circle")
    assert len(circles) == len(front.points)
    for circle, point in zip(circles, front.points, strict=True):
        assert units.joules(point.energy_fj / 1e15) in (circle[0].text or "")
    across = [float(circle.attrib["cx"]) for circle in circles]
    up = [float(circle.attrib["cy"]) for circle in circles]
    assert across == sorted(across)
    assert up == sorted(up)  # less energy is further down

    outcome = invoke("pareto", source, "-o", output, "--json")
    assert outcome.exit_code == 0, outcome.output
    assert "continued from" in outcome.stderr
    whole = Front.from_json(outcome.stdout, "stdout")
    assert whole.complete
    assert whole == Front.load(output)
    assert set(pairs_of(front)) <= set(pairs_of(whole))
    assert pairs_of(whole) == brute_front(json.loads(source.read_text()))
    schema = json.loads(invoke("schema", "pareto").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(outcome.stdout), schema)

    outcome = invoke("pareto", TINY / "tiny-skip.json", "-o", output)
    assert outcome.exit_code == 2
    assert "is a front of tiny-stream" in outcome.stderr
    assert Front.load(output) == whole


def test_command_refuses(tmp_path: Path) -> None:
    source = TINY / "tiny-energy.json"
    other = tmp_path / "other.json"
    other.write_text("{}")
    outcome = invoke("pareto", source, "-o", other)
    assert (outcome.exit_code, other.read_text()) == (2, "{}")
    assert "exists already" in outcome.stderr
    assert invoke("pareto", source, "--figure", tmp_path / "f.svg").exit_code == 2
    assert invoke("pareto", source, "--solver", "exact").exit_code == 2
    assert invoke("pareto", source, "--solver", "nobody").exit_code == 3
    for points in (1, 10**30):
        assert invoke("pareto", source, "--points", points).exit_code == 2
    assert invoke("pareto", source, "--slowest", 0.9).exit_code == 2
    assert sorted(tmp_path.iterdir()) == [other]


def test_command_finds_nothing(tmp_path: Path) -> None:
    content = shipped("tiny-energy")
    content["constraints"]["latency_bound_s"] = 1e-9
    source, output = tmp_path / "hasty.json", tmp_path / "front.json"
    source.write_text(json.dumps(content))
    outcome = invoke("pareto", source, "-o", output)
    assert outcome.exit_code == 1
    assert "every schedule takes at least" in outcome.stdout
    assert not output.exists()
