"""Certificates against the model written a second time, and against those who change them."""

from __future__ import annotations

import ast
import gzip
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import certificates
import numpy as np
import oracle
import oracle_placed
import placed_strategies
import pytest
import strategies
from certificates import Proved, change, is_true, prove
from documents import INSTANCES
from helpers import invoke, read
from hypothesis import given, settings
from hypothesis import strategies as st

import scope_check
import scope_check_mesh
import scope_check_placed
from scope_opt import load
from scope_opt.solving.certificate import Certificate

if TYPE_CHECKING:
    from documents import Json

CHECKER = Path(scope_check.__file__)
PARTS = sorted(CHECKER.parent.glob("scope_check*.py"))
SHIPPED = [
    *("tiny/tiny-tables", "tiny/tiny-skip", "tiny/tiny-projection", "tiny/tiny-oversized"),
    *("tiny/tiny-stream", "tiny/tiny-depthwise", "tiny/tiny-attention"),
    *("paper/alexnet-16", "paper/alexnet-256", "paper/vgg16-64", "paper/darknet19-32"),
    *("paper/resnet18-16", "paper/resnet34-128"),
    *("tiny-placed/tiny-inputs", "tiny-placed/tiny-order", "placed/resnet18-64-placed"),
]


def save(folder: Path, proved: Proved) -> list[str]:
    """The three files of a certificate, named as the checker takes them."""
    paths = []
    for name, document in zip(("instance", "schedule", "proof"), proved, strict=True):
        paths.append(str(folder / f"{name}.json"))
        Path(paths[-1]).write_text(json.dumps(document))
    return paths


# --- The checker is one file that stands alone ---------------------------------------------------


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.stem)
def test_the_checker_is_short_files_that_import_nothing_of_ours(part: Path) -> None:
    text = part.read_text()
    assert len(text.splitlines()) <= 500
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names.add(str(node.module).partition(".")[0])
    assert names - {"numpy", *(part.stem for part in PARTS)} <= sys.stdlib_module_names
    assert "importlib" not in names
    code = f"import sys, {part.stem}; print(*{{n.partition('.')[0] for n in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"scope_opt", "formulations", "numba", "pydantic"} & set(done.stdout.split())


@pytest.mark.parametrize("name", ["tiny-skip", "tiny-links"])
def test_the_checker_runs_alone_as_a_script(name: str, tmp_path: Path) -> None:
    for part in PARTS:
        (tmp_path / part.name).write_text(part.read_text())
    proved = prove(load(name))
    assert proved is not None
    files = save(tmp_path, proved)
    script = [sys.executable, str(tmp_path / CHECKER.name), *files]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "accepted" in done.stdout
    Path(files[1]).write_text(json.dumps({**proved.schedule, "segments": []}))
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "refused" in done.stdout


# --- What it verifies ----------------------------------------------------------------------------


def least_costs(document: Json) -> dict[tuple[int, int], int]:
    """Least latency of each segment that has a schedule, by enumeration."""
    judge = oracle.oracle(document)
    found = {}
    for first in range(judge.n_layers):
        for last in range(first, judge.n_layers):
            costs = [
                judge.segment_ps(segment)
                for segment in oracle.enumerate_segments(first, last, judge.chiplets)
                if not judge.segment_codes(segment)
            ]
            if costs:
                found[first, last] = min(costs)
    return found


SMALL = st.one_of(
    strategies.table_instances(max_layers=4, max_chiplets=4),
    strategies.physical_instances(max_layers=4, max_chiplets=4),
)


def tables_of(proved: Proved) -> scope_check.Tables:
    """What the checker reads."""
    own = "tables" in proved.instance
    source = proved.instance if own else proved.proof
    placed = oracle.is_placed(proved.instance)
    reading = scope_check_placed.PlacedTables if placed else scope_check.Tables
    return reading(json.loads(json.dumps(source["tables"])), proved.instance, "tables")


@given(SMALL, st.data())
def test_bounds_of_prefixes_are_accepted_exactly_where_every_segment_takes_as_much(
    document: Json, data: st.DataObject
) -> None:
    proved = prove(read(document))
    if proved is None:
        return
    assert proved.accepted()
    optimum = oracle.best(document)
    assert optimum is not None
    assert proved.proof["bound_ps"] == proved.proof["objective_ps"] == optimum[1]
    exactly_where_it_is_true(document, proved, data)


def exactly_where_it_is_true(document: Json, proved: Proved, data: st.DataObject) -> None:
    """Change prefixes and compare what the checker says with all segments, none with links."""
    tables, costs = tables_of(proved), least_costs(document)
    optimum_ps = int(proved.proof["bound_ps"])
    prefix = list(proved.proof["prefix_bounds_ps"])
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(1, len(prefix) - 1))
        slack = data.draw(st.sampled_from([1, 2, 10, optimum_ps // 20 + 1]))
        prefix[at] = max(0, prefix[at] + data.draw(st.sampled_from([1, 1, -1])) * slack)
    right = all(cost >= prefix[b + 1] - prefix[a] for (a, b), cost in costs.items())
    claims = np.array(prefix[1:], dtype=np.int64) - np.array(prefix[:-1], dtype=np.int64)[:, None]
    assert verified(tables, claims) == right
    assert not right or prefix[-1] <= optimum_ps


def verified(tables: scope_check.Tables, claims: scope_check.Ints) -> bool:
    """Whether the checker takes it that every segment takes as much."""
    placed = isinstance(tables, scope_check_placed.PlacedTables)
    bound = (scope_check_placed.PlacedBound if placed else scope_check.Bound)(tables, claims)
    try:
        for last in range(tables.layers):
            bound.verify(last)
    except scope_check.Refused:
        return False
    return True


@st.composite
def placed_instances(draw: st.DrawFn) -> Json:
    """Small instances of the placed model, free of what is not certified."""
    document = draw(placed_strategies.placed_instances(max_layers=4, max_chiplets=4))
    document.pop("constraints", None)
    document["package"].pop("activation_buffer_bytes", None)
    return document


def without_links(document: Json) -> Json:
    """The instance whose links are shared by nothing."""
    package = document["package"]
    return {**document, "package": {**package, "nop": {**package["nop"], "shared_links": False}}}


@given(placed_instances(), st.data())
@settings(max_examples=strategies.share(2))
def test_bounds_of_placed_instances_are_those_without_shared_links(
    document: Json, data: st.DataObject
) -> None:
    proved = prove(read(document))
    if proved is None:
        return
    assert proved.accepted()
    free = without_links(document)
    optimum, value = oracle.best(free), oracle.objective_ps(document, proved.schedule)
    assert optimum is not None
    assert proved.proof["bound_ps"] == optimum[1] <= proved.proof["objective_ps"] == value
    exactly_where_it_is_true(free, proved, data)


@st.composite
def equal_layers(draw: st.DrawFn) -> Json:
    """Small instances whose layers repeat; edges, and so what is equal, are as they were drawn."""
    document: Json = draw(st.one_of(SMALL, placed_instances().map(without_links)))
    period = draw(st.integers(1, 2))
    holder = document["tables" if "tables" in document else "network"]
    layers = holder["layers"]
    holder["layers"] = [
        {**layers[k % period], "name": layer["name"]} for k, layer in enumerate(layers)
    ]
    for edge in holder["edges"]:
        if "bytes" in edge:
            edge["bytes"] = min(edge["bytes"], layers[edge["from"] % period]["output_bytes"])
    return document


@given(equal_layers())
def test_what_one_segment_takes_is_not_believed_of_another_of_equal_layers(document: Json) -> None:
    proved = prove(read(document))
    if proved is None:
        return
    tables, costs = tables_of(proved), least_costs(document)
    claims = np.zeros((tables.layers, tables.layers), dtype=np.int64)
    for ends, cost in costs.items():
        claims[ends] = cost
    assert verified(tables, claims)
    for (a, b), cost in costs.items():
        # The checker asks of them before, by last layer.
        before = [costs.get((a - k, b - k), 0) for k in range(1, a + 1)]
        claims[a, b] = max([*before, cost + 1])
        assert not verified(tables, claims)
        claims[a, b] = cost


@pytest.mark.parametrize(
    ("edge", "slow", "fast"),
    [
        ({"send_ps": [15, 15]}, (1, 2), (4, 5)),
        ({"receive_ps": [5, 5]}, (1, 2), (4, 5)),
        ({"read_ps": 5}, (2, 3), (5, 6)),
        ({"write_ps": 15}, (0, 1), (3, 4)),
    ],
)
def test_layers_are_equal_only_with_what_moves_to_and_from_them(
    edge: Json, slow: tuple[int, int], fast: tuple[int, int]
) -> None:
    times = {"ISP": [10, 10], "WSP": [10, 10]}
    ends: Json = {"send_ps": [0, 0], "receive_ps": [0, 0], "read_ps": 0, "write_ps": 0}
    document = {
        "chiplets": 2,
        "weight_buffer_bytes": 100,
        "layers": [{"weight_bytes": 1, "compute_ps": times} for _ in range(7)],
        "edges": [{"from": 1, "to": 2, **ends, **edge}, {"from": 4, "to": 5, **ends}],
    }
    tables = scope_check.Tables(document, {"samples": 64}, "tables")
    # Every layer is a cluster, as two in one would take 20 ps a sample.
    claims = np.zeros((7, 7), dtype=np.int64)
    claims[slow], claims[fast] = 65 * 15, 65 * 10
    assert verified(tables, claims)
    claims[fast] = claims[slow]
    assert not verified(tables, claims)


def test_placed_layers_are_equal_only_with_what_moves_to_them() -> None:
    document = without_links(certificates.plain(load("tiny-links")))
    network, package = document["network"], document["package"]
    layer = network["layers"][1]
    network["layers"] = [{**layer, "name": f"conv{k}"} for k in range(7)]
    network["edges"] = [
        {"from": u, "to": u + 1, "bytes": moved} for u, moved in ((1, 8192), (4, 64))
    ]
    document["package"] = {**package, "mesh_rows": 1, "mesh_cols": 2}
    proved = prove(read(document))
    assert proved is not None
    tables, costs, slow, fast = tables_of(proved), least_costs(document), (1, 2), (4, 5)
    claims = np.zeros((7, 7), dtype=np.int64)
    claims[slow], claims[fast] = costs[slow], costs[fast]
    assert verified(tables, claims)
    assert costs[fast] < costs[slow]
    claims[fast] = claims[slow]
    assert not verified(tables, claims)


def test_equal_layers_are_equal_to_the_checker() -> None:
    proved = prove(load("resnet50-16"))
    assert proved is not None
    tables = tables_of(proved)
    assert len(set(tables.kind.tolist())) < tables.layers / 2


@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_positions_run_as_in_the_second_model(rows: int, cols: int, data: st.DataObject) -> None:
    named = ["zigzag", "hilbert", *(f"blocks-{w}" for w in range(1, cols + 1) if cols % w == 0)]
    order = data.draw(st.sampled_from(named))
    package = {"mesh_rows": rows, "mesh_cols": cols, "order": order}
    places = scope_check_mesh.positions(package).tolist()
    assert list(map(tuple, places)) == oracle_placed.positions(package)


@given(st.one_of(SMALL, placed_instances()), st.data())
def test_schedules_have_the_value_that_the_second_model_gives_them(
    document: Json, data: st.DataObject
) -> None:
    proved = prove(read(document))
    if proved is None:
        return
    schedule = data.draw(strategies.valid_or_not(document))
    try:
        value = scope_check.schedule_value(tables_of(proved), schedule)
    except (scope_check.Refused, scope_check.Unusable):
        assert oracle.violations(document, schedule)
    else:
        assert not oracle.violations(document, schedule)
        assert value == oracle.objective_ps(document, schedule)


@given(SMALL)
@settings(max_examples=strategies.share(4))
def test_a_run_that_was_stopped_has_a_certificate_of_its_bound(document: Json) -> None:
    proved = prove(read(document), rel_gap=0.6)
    if proved is not None:
        assert proved.accepted()
        assert proved.proof["bound_ps"] <= proved.proof["objective_ps"]


@given(st.one_of(SMALL, placed_instances()), st.data())
@settings(max_examples=strategies.share(2))
def test_where_segments_are_given_the_bound_is_one_of_schedules_that_are_cut_there(
    document: Json, data: st.DataObject
) -> None:
    n_layers = oracle.oracle(document).n_layers
    later = data.draw(st.sets(st.integers(1, n_layers - 1))) if n_layers > 1 else set()
    cuts = (0, *sorted(later))
    proved = prove(read(document), segments="single" if len(cuts) == 1 else cuts)
    if proved is None:
        return
    assert proved.accepted()
    assert proved.proof["first_layers"] == list(cuts)
    free = without_links(document) if oracle.is_placed(document) else document
    costs, ends = least_costs(free), [*(cut - 1 for cut in cuts[1:]), n_layers - 1]
    bound = sum(costs[ends_] for ends_ in zip(cuts, ends, strict=True))
    assert proved.proof["bound_ps"] == bound
    # One segment that is claimed to take more than it does: all that begin later follow.
    at = data.draw(st.integers(1, len(cuts)))
    prefix = list(proved.proof["prefix_bounds_ps"])
    for e in [*cuts, n_layers][at:]:
        prefix[e] += 1
    more = proved.proof | {"prefix_bounds_ps": prefix, "bound_ps": prefix[-1]}
    assert not proved._replace(proof=more).accepted()
    # What is proved of these segments is neither a claim about all, nor about others.
    others: list[Any] = [cuts[:-1], [*cuts, n_layers], [[0]], "single", {}, 0]
    for other in others:
        changed = proved.proof | {"first_layers": other}
        assert not proved._replace(proof=changed).accepted()
    unrestricted = {key: value for key, value in proved.proof.items() if key != "first_layers"}
    if proved._replace(proof=unrestricted).accepted():
        optimum = oracle.best(free)
        assert optimum is not None
        assert optimum[1] >= bound


@pytest.mark.parametrize("name", ["tiny-skip", "tiny-links"])
def test_a_certificate_of_one_segment_says_that_it_is_one(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proof, result = tmp_path / "proof.gz", tmp_path / "result.json"
    arguments = ["--segments", "single", "--certificate", proof, "-o", result]
    assert invoke("solve", name, *arguments).exit_code == 0
    instance = tmp_path / "instance.json"
    load(name).save(instance)
    assert scope_check.main([str(instance), str(result), str(proof)]) == 0
    assert "no schedule with segments from layers [0] takes less" in capsys.readouterr().out
    other = tmp_path / "other.json"
    assert invoke("solve", name, "-o", other).exit_code == 0
    if len(json.loads(other.read_text())["schedule"]["segments"]) > 1:
        assert scope_check.main([str(instance), str(other), str(proof)]) == 1


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_optima_are_certified(name: str, tmp_path: Path) -> None:
    instance = INSTANCES / f"{name}.json"
    schedule, proof = tmp_path / "schedule.json", tmp_path / "proof.gz"
    done = invoke("solve", instance, "-o", schedule, "--certificate", proof, "--json")
    assert done.exit_code == 0
    result = json.loads(done.stdout)
    assert json.loads(schedule.read_text())["format"] == "scope-result/1"
    assert scope_check.main([str(instance), str(schedule), str(proof)]) == 0
    claims = Certificate.load(proof)
    assert claims.objective_ps == result["objective_ps"]
    # Programs may prove more than the recursion does where links are shared.
    assert claims.bound_ps == result["bound_ps"] or result["proof"][-1] != "recursion"


def test_what_was_verified_is_said_with_what_was_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("tiny-tables", "tiny-skip", "tiny-links"):
        proved = prove(load(name))
        assert proved is not None
        assert scope_check.main(save(tmp_path, proved)) == 0
        said, claims = capsys.readouterr().out, proved.proof
        assert f"bound    {claims['bound_ps']} ps" in said
        assert claims["tables_sha256"] in said
        assert ("not certified" in said) == (name != "tiny-tables")
        assert ("links" in said.partition("not certified")[2]) == (name == "tiny-links")


# --- What it refuses -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", certificates.SHIPPED)
def test_changed_claims_are_refused_unless_they_are_true(name: str) -> None:
    instance, rng = load(name), random.Random(name)
    proved = prove(instance)
    assert proved is not None
    refused = 0
    for _ in range(60):
        changed = change(rng, proved)
        if changed.accepted():
            assert is_true(instance, proved.proof["bound_ps"], changed)
        else:
            refused += 1
    assert refused > 30


@pytest.mark.parametrize("name", ["resnet18-16", "alexnet-64", "vgg16-128", "resnet18-256"])
def test_a_bound_above_the_optimum_is_refused_with_the_segment(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proved = prove(load(name))
    assert proved is not None
    layers = len(proved.proof["prefix_bounds_ps"]) - 1
    for at in (layers // 4, layers // 2, layers):
        proof = dict(proved.proof)
        prefix = [n + (e >= at) for e, n in enumerate(proof["prefix_bounds_ps"])]
        proof |= {"prefix_bounds_ps": prefix, "bound_ps": prefix[-1]}
        assert scope_check.main(save(tmp_path, proved._replace(proof=proof))) == 1
        assert "take" in capsys.readouterr().out


def test_another_instance_schedule_or_table_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proved = prove(load("tiny-skip"))
    assert proved is not None
    other = dict(proved.instance, samples=17)
    assert scope_check.main(save(tmp_path, proved._replace(instance=other))) == 1
    assert "another instance" in capsys.readouterr().out
    tables = json.loads(json.dumps(proved.proof["tables"]))
    tables["load_ps"][0][0] += 1
    changed = proved._replace(proof=proved.proof | {"tables": tables})
    assert scope_check.main(save(tmp_path, changed)) == 1
    assert "tables_sha256" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["tiny-constraints", "tiny-energy", "tiny-activations"])
def test_what_the_checker_does_not_know_is_no_input(name: str, tmp_path: Path) -> None:
    proved = prove(load("tiny-skip"))
    assert proved is not None
    instance = certificates.plain(load(name))
    assert scope_check.main(save(tmp_path, proved._replace(instance=instance))) == 2


def test_placed_instances_need_the_files_beside_the_checker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    proved = prove(load("tiny-links"))
    assert proved is not None
    monkeypatch.setitem(sys.modules, "scope_check_placed", None)
    assert scope_check.main(save(tmp_path, proved)) == 2
    assert "scope_check_placed" in capsys.readouterr().err


def test_placed_tables_state_no_transfers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proved = prove(load("tiny-links"))
    assert proved is not None
    tables = proved.proof["tables"]
    edge = {"from": 0, "to": 1, "write_ps": 0, "read_ps": 0}
    first, *rest = tables["layers"]
    gathering = {**first, "gather_ps": [10**9] * tables["chiplets"]}
    for change_of in ({"edges": [edge]}, {"layers": [gathering, *rest]}):
        changed = proved._replace(proof=proved.proof | {"tables": tables | change_of})
        assert scope_check.main(save(tmp_path, changed)) == 2
        assert "edges or times of transfers" in capsys.readouterr().err


def spoilt(value: Any) -> list[Any]:
    return [None, -1, 1.5, float("nan"), True, "x", [], {}, [value], 2**200, 10**5000]


@pytest.mark.parametrize("key", sorted(Certificate.model_fields))
def test_malformed_certificates_are_refused_without_a_traceback(key: str, tmp_path: Path) -> None:
    proved = prove(load("tiny-stream"))
    assert proved is not None
    sys.set_int_max_str_digits(0)
    try:
        for value in [*spoilt(proved.proof.get(key)), *([v] * 6 for v in spoilt(1))]:
            if value != proved.proof.get(key):
                changed = proved._replace(proof=proved.proof | {key: value})
                paths = save(tmp_path, changed)
                sys.set_int_max_str_digits(4300)
                assert scope_check.main(paths) in (1, 2)
                sys.set_int_max_str_digits(0)
    finally:
        sys.set_int_max_str_digits(4300)


@given(st.data())
@settings(max_examples=strategies.share(2))
def test_malformed_tables_are_refused_without_a_traceback(data: st.DataObject) -> None:
    proved = prove(load("tiny-stream"))
    assert proved is not None
    proof = json.loads(json.dumps(proved.proof))
    holder, key = data.draw(st.sampled_from(list(certificates._places(proof["tables"]))))
    squares = ("segment_dram_ps", "load_ps")
    rows = [(k, row) for table in squares for k, row in enumerate(proof["tables"].get(table, []))]
    # Nothing depends on segments that end before they begin, nor on what the last layer would
    # hand to a next one: such entries may be anything in range.
    unread = any(row is holder and key < k for k, row in rows)
    within = proof["tables"]["layers"][-1]["within_ps"]
    unread |= any(row is holder for own in within.values() for row in own.values())
    # Where a table is absent its times are 0, and those of the last layer are.
    absent = holder is proof["tables"]["layers"][-1] and key in (
        "within_ps",
        "send_ps",
        "receive_ps",
    )
    choices = [*spoilt(holder[key])[absent:-1], *([] if unread else [2**57]), 2**62]
    holder[key] = data.draw(st.sampled_from(choices))
    assert not proved._replace(proof=proof).accepted()


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    proved = prove(load("tiny-tables"))
    assert proved is not None
    instance, schedule, proof = save(tmp_path, proved)
    bomb = gzip.compress(b" " * 2**28)
    whole = gzip.compress(Path(proof).read_bytes())
    bad = [b"", b"[]", b"{", b"\xff\xfe", b"[" * 10**5, bomb, whole[:-9], b'{"a": ' * 10**5, b"7"]
    for content in bad:
        Path(proof).write_bytes(content)
        assert scope_check.main([instance, schedule, proof]) == 2
    Path(proof).write_bytes(whole)
    assert scope_check.main([instance, schedule, proof]) == 0
    assert scope_check.main([instance, schedule, str(tmp_path)]) == 2


# --- The command that writes them ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("tiny/tiny-skip", ["--solver", "scope"], "--solver exact"),
        ("tiny/tiny-skip", ["--segments", "balanced"], "allowed: dp, single, or first layers"),
        ("tiny/tiny-skip", ["--segments", "2"], "allowed: dp, single, or first layers"),
        ("tiny/tiny-skip", ["--isolate"], "--isolate"),
        ("tiny/tiny-constraints", [], "side constraints"),
        ("tiny-placed/tiny-activations", [], "activation buffers"),
        ("tiny-placed/tiny-links", ["--order", "all"], "orders"),
    ],
)
def test_what_cannot_be_certified_is_refused_before_it_is_solved(
    name: str, arguments: list[str], said: str, tmp_path: Path
) -> None:
    proof = tmp_path / "proof.gz"
    done = invoke("solve", INSTANCES / f"{name}.json", "--certificate", proof, *arguments)
    assert done.exit_code == 2
    assert "--certificate" in done.stderr
    assert said in done.stderr
    assert not proof.exists()
