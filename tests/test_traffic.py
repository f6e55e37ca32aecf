"""Traffic of a beat: routed message by message, it loads links as the evaluator says."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import placed_strategies
import pytest
import strategies
from documents import ROOT, Json
from helpers import invoke, read, read_schedule
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from scope_opt.model.files import InputError
from scope_opt.replay import traffic as traffic_module
from scope_opt.replay.traffic import traffic
from scope_opt.schedule.evaluate import evaluate, link_loads
from scope_opt.schedule.schedule import InstanceReference, Schedule

if TYPE_CHECKING:
    from pathlib import Path

    from scope_opt.model.instance import Instance

Place = tuple[int, int]


class Message(NamedTuple):
    source: int
    destination: int
    bytes: float
    flits: int
    start: int
    kind: str
    segment: int
    layers: tuple[int, int]


def messages(text: str) -> list[Message]:
    """Read the file as somebody would who knows its header only."""
    lines = text.splitlines()
    header = next(line for line in reversed(lines) if line.startswith("# source"))
    assert header == (
        "# source destination bytes flits start_cycle kind segment from_layer to_layer"
    )
    found = []
    for line in lines:
        if not line.startswith("#"):
            a, b, size, flits, start, kind, segment, source, target = line.split(" ")
            numbers = int(a), int(b), float(size), int(flits), int(start)
            found.append(Message(*numbers, kind, int(segment), (int(source), int(target))))
    return found


def routed(found: list[Message], cols: int) -> dict[int, Counter[tuple[Place, Place]]]:
    """Bytes on every directed link by segment, each message along its row and then its column."""
    loads: dict[int, Counter[tuple[Place, Place]]] = defaultdict(Counter)
    for message in found:
        (y, x), (to_y, to_x) = divmod(message.source, cols), divmod(message.destination, cols)
        while (y, x) != (to_y, to_x):
            step = (
                (y, x + (1 if x < to_x else -1)) if x != to_x else (y + (1 if y < to_y else -1), x)
            )
            loads[message.segment][(y, x), step] += message.bytes  # type: ignore[assignment]
            y, x = step
    return loads


def check(instance: Instance, schedule: Schedule, flit_bytes: int = 32) -> list[Message]:
    """Links carry what the evaluator says, and messages fit into flits and beats."""
    text = traffic(instance, schedule, flit_bytes)
    found = messages(text)
    assert instance.package is not None
    loads = routed(found, instance.package.mesh_cols)
    evaluation = evaluate(instance, schedule)
    heads = [line for line in text.splitlines() if line.startswith("# segment ")]
    for index, links in enumerate(link_loads(instance, schedule)):
        for link in links:
            assert loads[index][link.source, link.target] == pytest.approx(link.bytes, rel=1e-9)
        segment = evaluation.segments[index]
        own = [message for message in found if message.segment == index]
        assert bool(own) == bool(links)
        assert f"# segment {index}: layers {segment.first_layer} to {segment.last_layer}, " in text
        assert f"beat {segment.beat_ps} ps" in heads[index]
        assert f", {len(own)} messages, " in heads[index]
        for message in own:
            assert message.source != message.destination
            assert message.flits == -(-message.bytes // flit_bytes)
            assert segment.first_layer <= message.layers[0] <= message.layers[1]
            assert message.layers[1] <= segment.last_layer
    return found


@st.composite
def problems(draw: st.DrawFn) -> tuple[Json, Json]:
    """A random placed instance without limits, and a valid schedule of it."""
    instance = draw(placed_strategies.placed_instances(couplings=True))
    instance.pop("constraints", None)
    instance["package"].pop("activation_buffer_bytes", None)
    schedule = draw(strategies.schedules(instance) | placed_strategies.pipelines(instance))
    parsed = read(instance)
    assume(evaluate(parsed, read_schedule(parsed, schedule)).feasible)
    return instance, schedule


@settings(max_examples=strategies.share(1), suppress_health_check=[HealthCheck.filter_too_much])
@given(problems(), st.sampled_from(["relay", "unicast"]), st.sampled_from([1, 32, 1000]))
def test_random_schedules(problem: tuple[Json, Json], gather: str, flit_bytes: int) -> None:
    document, schedule = problem
    document["package"]["nop"]["gather"] = gather
    instance = read(document)
    found = check(instance, read_schedule(instance, schedule), flit_bytes)
    assert {message.kind for message in found}.isdisjoint({"relay", "gather"} - {_of(gather)})


def _of(gather: str) -> str:
    return "relay" if gather == "relay" else "gather"


def example(gather: str = "relay", order: Any = "zigzag") -> tuple[Instance, Schedule]:
    """A shipped network in another package, with a schedule that has clusters of all kinds."""
    document = json.loads((ROOT / "instances" / "placed" / "resnet50-64-placed.json").read_text())
    document["package"] |= {"order": order}
    document["package"]["nop"] |= {"gather": gather}
    instance = read(document)
    schedule = Schedule.load(ROOT / "instances" / "best_known" / "resnet50-64.json")
    return instance, schedule.model_copy(update={"instance": InstanceReference.to(instance)})


def all_wsp(schedule: Schedule) -> Schedule:
    """The same clusters, where all layers keep their activations in tiles that meet."""
    document = json.loads(schedule.to_json())
    for segment in document["segments"]:
        for cluster in segment["clusters"]:
            cluster["partitions"] = ["WSP"] * len(cluster["partitions"])
    return Schedule.from_json(json.dumps(document), "all WSP")


@pytest.mark.parametrize("order", ["zigzag", "blocks-4"])
@pytest.mark.parametrize("gather", ["relay", "unicast"])
def test_a_large_schedule(gather: str, order: str) -> None:
    instance, schedule = example(gather, order)
    found = [*check(instance, schedule), *check(instance, all_wsp(schedule))]
    kinds = {message.kind for message in found}
    assert kinds == {_of(gather), "exchange", "scatter", "halo"}


def test_paced_messages_are_spread_over_the_beat() -> None:
    instance, schedule = example("unicast")
    text = traffic(instance, schedule)
    beats = [float(beat) for beat in re.findall(r"ps = ([\d.]+) cycles", text)]
    by_chiplet: dict[tuple[int, int], list[Message]] = defaultdict(list)
    for message in messages(text):
        assert 0 <= message.start <= beats[message.segment] / message.flits
        by_chiplet[message.segment, message.source].append(message)
    for (segment, _), own in by_chiplet.items():
        # Up to any cycle, what has left is that part of the whole, but for a flit of each message.
        total, beat = sum(message.flits for message in own), beats[segment]
        for part in (0.25, 0.5, 0.75):
            left = 0.0
            for message in own:
                passed = (part * beat - message.start) * message.flits / beat
                left += min(message.flits, max(0, int(passed) + 1 if passed >= 0 else 0))
            assert abs(left - part * total) <= len(own) + 1


@pytest.mark.parametrize("flit_bytes", [32, 2000])
def test_messages_of_a_chiplet_do_not_begin_together(flit_bytes: int) -> None:
    instance, schedule = example("unicast")
    text = traffic(instance, schedule, flit_bytes)
    beats = [float(beat) for beat in re.findall(r"ps = ([\d.]+) cycles", text)]
    assert min(beats) > 100
    found = messages(text)
    total: Counter[tuple[int, int]] = Counter()
    before: Counter[tuple[int, int]] = Counter()
    for message in found:
        total[message.segment, message.source] += message.flits
    for message in found:
        chiplet = message.segment, message.source
        part = before[chiplet] / total[chiplet]
        assert message.start == pytest.approx(part * beats[message.segment] / message.flits, abs=1)
        before[chiplet] += message.flits


def test_a_burst_begins_with_the_beat() -> None:
    instance, schedule = example()
    burst = messages(traffic(instance, schedule, injection="burst"))
    assert {message.start for message in burst} == {0}
    paced = messages(traffic(instance, schedule))
    assert [each._replace(start=0) for each in paced] == burst


def test_busiest_link() -> None:
    """The header names it by flits; routed again, no link has more."""
    instance, schedule = example("unicast")
    text = traffic(instance, schedule, 64)
    found = messages(text)
    assert instance.package is not None
    in_flits = routed([each._replace(bytes=each.flits) for each in found], 8)
    in_bytes = routed(found, 8)
    pattern = r"# segment (\d+): .* busiest link (\d+) to (\d+): ([\d.]+) bytes, (\d+) flits, "
    heads = re.findall(pattern, text)
    assert len(heads) == len(schedule.segments)
    for index, source, target, size, flits in heads:
        link = divmod(int(source), 8), divmod(int(target), 8)
        assert in_flits[int(index)][link] == int(flits) == max(in_flits[int(index)].values())
        assert in_bytes[int(index)][link] == pytest.approx(float(size))


def test_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    instance, schedule = example("unicast")
    monkeypatch.setattr(traffic_module, "MOST_MESSAGES", 1000)
    with pytest.raises(InputError, match=r"at most 1000 are written; .*'relay'"):
        traffic(instance, schedule)
    monkeypatch.undo()
    monkeypatch.setattr(traffic_module, "MOST_COUNTED", 1000)
    with pytest.raises(InputError, match="take a larger --flit-bytes"):
        traffic(instance, schedule)


# --- Command -------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    instance, schedule = example()
    paths = tmp_path / "instance.json", tmp_path / "schedule.json"
    instance.save(paths[0])
    schedule.save(paths[1])
    return paths


def test_command(files: tuple[Path, Path], tmp_path: Path) -> None:
    file = tmp_path / "beat.txt.gz"
    options = ("--traffic", file, "--flit-bytes", 16, "--injection", "burst")
    outcome = invoke("simulate", *files, *options)
    assert outcome.exit_code == 0, outcome.output
    assert f"traffic written to {file}" in outcome.stderr.replace("\n", "")
    text = gzip.decompress(file.read_bytes()).decode()
    assert text == traffic(*example(), flit_bytes=16, injection="burst")
    assert "# flit: 16 bytes; cycle: 640 ps" in text
    assert "# order: zigzag\n" in text

    before = file.read_bytes()
    refused = invoke("simulate", *files, "--traffic", file)
    assert (refused.exit_code, "--force" in refused.stderr) == (2, True)
    assert file.read_bytes() == before


def test_command_refuses(files: tuple[Path, Path], tmp_path: Path) -> None:
    file = tmp_path / "beat.txt"
    for instance, found in (("resnet50-64", "'regressed'"), ("tiny-tables", "explicit tables")):
        outcome = invoke("simulate", instance, files[1], "--traffic", file)
        assert outcome.exit_code == 2
        for expected in ("--traffic", instance, found, "'generate'"):
            assert expected in outcome.stderr
    for option, value in (("--flit-bytes", 16), ("--injection", "paced")):
        outcome = invoke("simulate", *files, option, value)
        assert outcome.exit_code == 2
        assert f"{option}" in outcome.stderr
        assert "add --traffic FILE" in outcome.stderr
    outcome = invoke("simulate", *files, "--traffic", file, "--trace", file)
    assert (outcome.exit_code, "name another" in outcome.stderr) == (2, True)
    assert invoke("simulate", *files, "--traffic", file, "--flit-bytes", 0).exit_code == 2
    assert invoke("simulate", *files, "--traffic", file, "--injection", "late").exit_code == 2
    broken = json.loads(files[1].read_text())
    broken["segments"].pop()
    files[1].write_text(json.dumps(broken))
    assert invoke("simulate", *files, "--traffic", file).exit_code == 1
    assert not file.exists()
