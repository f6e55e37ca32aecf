"""Reading and writing networks and packages: what is refused, and how it is reported."""

from __future__ import annotations

import copy
import gzip
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scope_opt.model.files import MAX_INT, Document, InputError, read_text, write_text
from scope_opt.model.network import Network
from scope_opt.model.package import Package
from scope_opt.model.zoo import build_network, paper_package

if TYPE_CHECKING:
    from documents import Json

Keys = tuple[str | int, ...]

ABSENT = object()
"""Stands for a key taken away."""


def layer(name: str, **changes: Any) -> Json:
    """Describe a 3x3 convolution from 4 to 4 channels on a 6 x 6 map."""
    fields = {
        "name": name,
        "in_channels": 4,
        "out_channels": 4,
        "input_height": 6,
        "input_width": 6,
        "output_height": 6,
        "output_width": 6,
        "kernel_height": 3,
        "kernel_width": 3,
        "stride": 1,
        "groups": 1,
        "weight_bytes": 144,
        "input_bytes": 144,
        "output_bytes": 144,
    }
    return fields | changes


def small_network() -> Json:
    """Three layers, the last of which also reads the first."""
    return {
        "name": "small",
        "layers": [layer("a"), layer("b"), layer("c")],
        "edges": [
            {"from": 0, "to": 1, "bytes": 144},
            {"from": 0, "to": 2, "bytes": 144},
            {"from": 1, "to": 2, "bytes": 144},
        ],
    }


def small_package() -> Json:
    """Four chiplets."""
    found: Json = json.loads(paper_package(4).to_json())
    return found


def changed(document: Json, changes: dict[Keys, Any]) -> Json:
    """Copy with the value at each path replaced, added, or taken away (`ABSENT`)."""
    document = copy.deepcopy(document)
    for path, value in changes.items():
        place: Any = document
        for key in path[:-1]:
            place = place[key]
        if value is ABSENT:
            del place[path[-1]]
        else:
            place[path[-1]] = value
    return document


def problems(model: type[Document], text: str) -> tuple[str, ...]:
    """Return what is wrong with a text that must be refused."""
    with pytest.raises(InputError) as error:
        model.from_json(text, "file.json")
    assert str(error.value).startswith("file.json: ")
    return error.value.problems


def test_the_unchanged_documents_are_valid() -> None:
    network = Network.from_json(json.dumps(small_network()), "network")
    assert [edge.is_chain for edge in network.edges] == [True, False, True]
    assert network.chain_bytes() == [144, 144, 0]
    assert [(edge.source, edge.target) for edge in network.skip_edges()] == [(0, 2)]
    assert network.layers[0].macs == 144 * 36
    assert network.macs == 3 * 144 * 36
    assert network.weight_bytes == 3 * 144
    assert Package.from_json(json.dumps(small_package()), "package").chiplets == 4


STRIDE = ("layers", 1, "stride")
EDGE = ("edges", 1)
GROUPED = {"groups": 2, "weight_bytes": 72}


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        # keys
        ({("layers", 1, "strid"): 1}, "layers.1.strid", "unknown key; did you mean 'stride'?"),
        ({("layers", 1, "colour"): 1}, "layers.1.colour", "unknown key; allowed: name, in_chan"),
        (
            {("edges", 1, "form"): 1},
            "edges.1.form",
            "did you mean 'from'? allowed: from, to, bytes",
        ),
        ({("layer",): []}, "layer", "did you mean 'layers'? allowed: name, layers, edges"),
        ({STRIDE: ABSENT}, "layers.1.stride", "required key is missing"),
        ({("edges", 1, "to"): ABSENT}, "edges.1.to", "required key is missing"),
        ({("edges",): ABSENT}, "edges", "required key is missing"),
        # types
        ({STRIDE: "1"}, "layers.1.stride", "valid integer; found '1'"),
        ({STRIDE: 1.0}, "layers.1.stride", "valid integer; found 1.0"),
        ({STRIDE: 1.5}, "layers.1.stride", "valid integer; found 1.5"),
        ({STRIDE: True}, "layers.1.stride", "valid integer; found True"),
        ({STRIDE: None}, "layers.1.stride", "valid integer; found None"),
        ({STRIDE: [1]}, "layers.1.stride", "at least 2 items"),
        ({STRIDE: [1, 2, 3]}, "layers.1.stride", "at most 2 items"),
        ({STRIDE: [1, 0]}, "layers.1.stride.1", "greater than or equal to 1; found 0"),
        ({("name",): 3}, "name", "valid string; found 3"),
        ({("layers", 1): 3}, "layers.1", "an object; found 3"),
        ({("layers",): {}}, "layers", "found {}"),
        ({("edges",): None}, "edges", "found None"),
        # ranges
        ({("layers",): [], ("edges",): []}, "layers", "at least 1 item"),
        ({("name",): ""}, "name", "at least 1 character"),
        ({("name",): "x" * 201}, "name", "at most 200 characters"),
        ({STRIDE: 0}, "layers.1.stride", "greater than or equal to 1; found 0"),
        ({STRIDE: -1}, "layers.1.stride", "greater than or equal to 1; found -1"),
        ({("layers", 1, "groups"): 0}, "layers.1.groups", "greater than or equal to 1"),
        ({("layers", 1, "weight_bytes"): -1}, "layers.1.weight_bytes", "equal to 0; found -1"),
        ({STRIDE: MAX_INT + 1}, "layers.1.stride", f"less than or equal to {MAX_INT}"),
        ({STRIDE: 10**400}, "layers.1.stride", f"less than or equal to {MAX_INT}"),
        ({("edges", 1, "from"): -1}, "edges.1.from", "greater than or equal to 0; found -1"),
        ({("edges", 1, "bytes"): 0}, "edges.1.bytes", "greater than or equal to 1; found 0"),
        # contradictions inside a layer
        (
            {("layers", 1): layer("b", in_channels=3, input_bytes=108, **GROUPED)},
            "layers.1.in_channels",
            "3 is not a multiple of groups = 2",
        ),
        (
            {("layers", 1): layer("b", out_channels=5, groups=2, weight_bytes=90)},
            "layers.1.out_channels",
            "5 is not a multiple of groups = 2",
        ),
        ({("layers", 1, "output_height"): 9}, "layers.1.output_height", "9 does not follow"),
        ({("layers", 1, "output_width"): 3}, "layers.1.output_width", "allowed 4 to 8"),
        ({STRIDE: 2}, "layers.1.output_height", "6 does not follow from input 6, kernel 3"),
        ({("layers", 1, "input_bytes"): 143}, "layers.1.input_bytes", "in_channels x height x wid"),
        ({("layers", 1, "weight_bytes"): 143}, "layers.1.weight_bytes", "the kernel's size 144"),
        ({("layers", 1, "output_bytes"): 145}, "layers.1.output_bytes", "the layer produces, 144"),
        (
            {
                ("layers", 1): layer(
                    "b",
                    in_channels=2**40,
                    out_channels=2**40,
                    input_bytes=36 * 2**40,
                    weight_bytes=0,
                )
            },
            "layers",
            "overflow int64",
        ),
        ({("layers", 1, "name"): "a"}, "layers.1.name", "'a' is the name of layer 0 already"),
        # edges
        ({("edges", 1, "to"): 3}, "edges.1.to", "layer 3 does not exist; allowed 0 to 2"),
        ({EDGE: {"from": 3, "to": 4, "bytes": 1}}, "edges.1.from", "layer 3 does not exist"),
        ({EDGE: {"from": 2, "to": 1, "bytes": 1}}, "edges.1.to", "1 does not come after"),
        ({EDGE: {"from": 1, "to": 1, "bytes": 1}}, "edges.1.to", "1 does not come after"),
        ({EDGE: {"from": 0, "to": 1, "bytes": 7}}, "edges.1", "same layers as edges.0"),
        ({("edges", 1, "bytes"): 145}, "edges.1.bytes", "145 is more than layer 0 hands on, 144"),
    ],
)
def test_network_defects(changes: dict[Keys, Any], path: str, message: str) -> None:
    found = problems(Network, json.dumps(changed(small_network(), changes)))
    assert any(line.startswith(f"{path}: ") and message in line for line in found), found


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        ({("mesh_rows",): 0}, "mesh_rows", "greater than or equal to 1; found 0"),
        ({("mesh_cols",): 0}, "mesh_cols", "greater than or equal to 1; found 0"),
        ({("mesh_cols",): -2}, "mesh_cols", "greater than or equal to 1; found -2"),
        ({("mesh_rows",): 65, ("mesh_cols",): 64}, "mesh_rows", "65 x 64 chiplets; allowed at mo"),
        ({("mesh_rows",): 2.0}, "mesh_rows", "valid integer"),
        ({("chiplet", "pes"): 12}, "chiplet.pes", "12 is not a power of two"),
        ({("chiplet", "pess"): 16}, "chiplet.pess", "did you mean 'pes'?"),
        ({("chiplet",): ABSENT}, "chiplet", "required key is missing"),
        ({("chiplet", "frequency_hz"): 0}, "chiplet.frequency_hz", "or equal to 1e-30"),
        ({("chiplet", "frequency_hz"): "8e8"}, "chiplet.frequency_hz", "valid number"),
        ({("chiplet", "frequency_hz"): True}, "chiplet.frequency_hz", "valid number"),
        ({("nop", "ports"): 0}, "nop.ports", "greater than or equal to 1"),
        ({("nop", "eta_within"): 0.0}, "nop.eta_within", "or equal to 1e-30"),
        ({("dram", "efficiency"): 1.01}, "dram.efficiency", "less than or equal to 1"),
        ({("dram", "latency_s"): -1e-9}, "dram.latency_s", "greater than or equal to 0"),
        ({("pe_split",): "both"}, "pe_split", "'any' or 'channels'"),
        ({("mac_energy_pj",): -0.2}, "mac_energy_pj", "greater than or equal to 0"),
    ],
)
def test_package_defects(changes: dict[Keys, Any], path: str, message: str) -> None:
    found = problems(Package, json.dumps(changed(small_package(), changes)))
    assert any(line.startswith(f"{path}: ") and message in line for line in found), found


def test_defaults_and_whole_numbers_are_accepted() -> None:
    text = json.dumps(
        changed(small_package(), {("pe_split",): ABSENT, ("chiplet", "frequency_hz"): 800000000})
    )
    assert Package.from_json(text, "package") == paper_package(4)


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_numbers_that_are_not_finite(token: str) -> None:
    package = json.dumps(small_package()).replace("0.2", token)
    (problem,) = problems(Package, package)
    assert problem.startswith("mac_energy_pj: input should be a finite number")
    network = json.dumps(small_network()).replace('"stride": 1', f'"stride": {token}', 1)
    (problem,) = problems(Network, network)
    assert problem.startswith("layers.0.stride: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        (" \n", "the file is empty"),
        ('{"name": "a",', "not valid JSON at line 1, column 14"),
        ('{"name": "a"} x', "not valid JSON at line 1, column 15: Extra data"),
        ("{'name': 1}", "not valid JSON at line 1, column 2"),
        ("[" * 100_000, "not usable JSON"),
        ('{"name": ' + "9" * 5000 + "}", "not usable JSON"),
        ('{"name": "\\ud800", "layers": [], "edges": []}', "invalid JSON"),
        ("[]", "document: input should be an object"),
        ("null", "document: input should be an object"),
    ],
)
def test_unusable_text(text: str, message: str) -> None:
    (problem,) = problems(Network, text)
    assert message in problem


@pytest.mark.parametrize("key", ["name", "stride", "from"])
def test_duplicate_keys(key: str) -> None:
    """Also where the value is the same, which no other check could see."""
    text = re.sub(rf'("{key}": [^,]+),', r"\1, \1,", json.dumps(small_network()), count=1)
    (problem,) = problems(Network, text)
    assert problem == f"key {key!r} appears twice in one object"


def test_every_truncation_is_refused() -> None:
    text = json.dumps(small_network())
    for length in range(len(text)):
        problems(Network, text[:length])


def test_all_wrong_values_are_reported_at_once() -> None:
    defects: dict[Keys, Any] = {
        ("nam",): "x",
        ("layers", 0, "stride"): 0,
        ("layers", 1, "groups"): "1",
        ("layers", 1, "kernel_width"): ABSENT,
        ("edges", 2, "bytes"): -1,
    }
    found = problems(Network, json.dumps(changed(small_network(), defects)))
    assert {line.split(":")[0] for line in found} == {
        "nam",
        "layers.0.stride",
        "layers.1.groups",
        "layers.1.kernel_width",
        "edges.2.bytes",
    }


def test_all_contradictions_are_reported_at_once() -> None:
    defects: dict[Keys, Any] = {
        ("layers", 0, "input_bytes"): 1,
        ("layers", 0, "output_width"): 60,
        ("layers", 1, "weight_bytes"): 1,
        ("layers", 2, "stride"): 0,
        ("edges", 2, "to"): 0,
        ("edges", 1, "bytes"): -1,
    }
    found = problems(Network, json.dumps(changed(small_network(), defects)))
    assert {line.split(":")[0] for line in found} == {
        "layers.0.input_bytes",
        "layers.0.output_width",
        "layers.1.weight_bytes",
        "layers.2.stride",
        "edges.2.to",
        "edges.1.bytes",
    }


def test_all_broken_references_are_reported_at_once() -> None:
    defects: dict[Keys, Any] = {
        ("layers", 2, "name"): "a",
        ("edges", 0, "to"): 9,
        ("edges", 2, "bytes"): 145,
    }
    found = problems(Network, json.dumps(changed(small_network(), defects)))
    assert {line.split(":")[0] for line in found} == {
        "layers.2.name",
        "edges.0.to",
        "edges.2.bytes",
    }


def test_problems_of_different_kinds_are_reported_at_once() -> None:
    text = json.dumps(changed(small_network(), {("edges", 0, "bytes"): 0, ("nam",): 1}))
    text = text.replace('"stride": 1', '"stride": NaN, "stride": NaN', 1)
    assert {line.split(":")[0] for line in problems(Network, text)} == {
        "key 'stride' appears twice in one object",
        "layers.0.stride",
        "edges.0.bytes",
        "nam",
    }


def test_one_problem_takes_one_line_and_several_a_list() -> None:
    assert str(InputError("f", ["a: b"])) == "f: a: b"
    assert str(InputError("f", ["a", "b"])) == "f: 2 problems\n  a\n  b"


# -- canonical text and digest ---------------------------------------------------------------


def test_canonical_text_is_stable() -> None:
    network = {
        "edges": [{"bytes": 144, "to": 1, "from": 0}],
        "name": "tiny",
        "layers": [layer("a"), layer("b", weight_bytes=0)],
    }
    expected = """{
  "name": "tiny",
  "layers": [
    {"name": "a", "in_channels": 4, "out_channels": 4, "input_height": 6, "input_width": 6, \
"output_height": 6, "output_width": 6, "kernel_height": 3, "kernel_width": 3, "stride": 1, \
"groups": 1, "weight_bytes": 144, "input_bytes": 144, "output_bytes": 144},
    {"name": "b", "in_channels": 4, "out_channels": 4, "input_height": 6, "input_width": 6, \
"output_height": 6, "output_width": 6, "kernel_height": 3, "kernel_width": 3, "stride": 1, \
"groups": 1, "weight_bytes": 0, "input_bytes": 144, "output_bytes": 144}
  ],
  "edges": [
    {"from": 0, "to": 1, "bytes": 144}
  ]
}
"""
    assert Network.from_json(json.dumps(network), "tiny").to_json() == expected


def reversed_keys(value: Any) -> Any:
    """Return the same content with the keys of every object in opposite order."""
    if isinstance(value, dict):
        return {key: reversed_keys(value[key]) for key in reversed(value)}
    if isinstance(value, list):
        return [reversed_keys(item) for item in value]
    return value


@pytest.mark.parametrize("document", [build_network("resnet18"), paper_package(32)])
def test_digest_depends_on_content_alone(document: Document) -> None:
    content = json.loads(document.to_json())
    again = type(document).from_json(json.dumps(reversed_keys(content), indent=7), "again")
    assert again == document
    assert again.to_json() == document.to_json()
    assert again.content_digest() == document.content_digest()
    assert re.fullmatch("[0-9a-f]{64}", again.content_digest())


def test_digest_changes_with_content() -> None:
    base = small_network()
    renamed = changed(base, {("name",): "other"})
    reordered = changed(base, {("edges",): base["edges"][::-1]})
    digests = {
        Network.from_json(json.dumps(content), "n").content_digest()
        for content in (base, renamed, reordered)
    }
    assert len(digests) == 3


def test_digest_is_the_same_on_every_machine() -> None:
    digest = Network.from_json(json.dumps(small_network()), "small").content_digest()
    assert digest == "584ed17cb3d8577894dd337d99f9d4242cd2212573c3534f8906dd61be2b13b0"


@given(
    channels=st.integers(1, 2**20),
    multiple=st.integers(1, 64),
    groups=st.integers(1, 8),
    size=st.integers(1, 500),
    kernel=st.integers(1, 11),
    stride=st.integers(1, 4),
    name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200),
)
def test_round_trip(
    channels: int, multiple: int, groups: int, size: int, kernel: int, stride: int, name: str
) -> None:
    """Every consistent layer is accepted, and its text reads back as the same network."""
    produced = (size + 2 * (kernel - 1) - kernel) // stride + 1
    inputs, outputs = channels * groups, multiple * groups
    one = layer(
        name,
        in_channels=inputs,
        out_channels=outputs,
        input_height=size,
        input_width=size,
        output_height=produced,
        output_width=produced,
        kernel_height=kernel,
        kernel_width=kernel,
        stride=stride,
        groups=groups,
        weight_bytes=outputs * channels * kernel**2,
        input_bytes=inputs * size**2,
        output_bytes=outputs * produced**2,
    )
    text = json.dumps({"name": name, "layers": [one], "edges": []})
    network = Network.from_json(text, "n")
    assert Network.from_json(network.to_json(), "n") == network
    assert json.loads(network.to_json()) == json.loads(text)


def test_documents_are_immutable() -> None:
    network = Network.from_json(json.dumps(small_network()), "n")
    with pytest.raises(ValueError, match="frozen"):
        network.layers[0].stride = 2
    with pytest.raises(ValueError, match="frozen"):
        network.name = "other"


# -- files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["network.json", "network.json.gz"])
def test_files_round_trip(tmp_path: Path, name: str) -> None:
    network = build_network("resnet50")
    path = tmp_path / name
    network.save(path)
    assert Network.load(path) == network
    assert Network.load(str(path)).content_digest() == network.content_digest()
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_gzip_has_no_time_stamp(tmp_path: Path) -> None:
    text = "equal content, equal bytes\n" * 100
    for name in ("a.gz", "b.gz"):
        write_text(tmp_path / name, text)
    data = (tmp_path / "a.gz").read_bytes()
    assert data == (tmp_path / "b.gz").read_bytes()
    assert data[4:8] == bytes(4)
    assert gzip.decompress(data).decode() == text
    assert read_text(tmp_path / "a.gz") == text


def zipped(text: str) -> bytes:
    return zipped_bytes(text.encode())


def zipped_bytes(data: bytes) -> bytes:
    """Without a time stamp: the data are part of the test's name."""
    return gzip.compress(data, mtime=0)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("n.json", b"", "the file is empty"),
        ("n.json", json.dumps(small_network()).encode()[:-1], "not valid JSON"),
        ("n.json", b'{"name": "\xff"}', "not UTF-8: byte 0xff at offset 10"),
        (
            "n.json",
            json.dumps(small_network()).encode("utf-16"),
            "not UTF-8: byte 0xff at offset 0",
        ),
        ("n.json", zipped("{}"), "not UTF-8: byte 0x8b at offset 1"),
        ("n.json.gz", b"", "the file is empty"),
        ("n.json.gz", zipped(""), "the file is empty"),
        ("n.json.gz", b"{}", "not a complete gzip file: Not a gzipped file"),
        ("n.json.gz", zipped(json.dumps(small_network()))[:-20], "not a complete gzip file"),
        ("n.json.gz", zipped("{}")[:-8] + bytes(8), "not a complete gzip file: CRC"),
        ("n.json.gz", zipped("{}")[:10] + b"\xff" * 20, "not a complete gzip file"),
        ("n.json.gz", zipped_bytes(b"\x80"), "not UTF-8: byte 0x80 at offset 0"),
    ],
)
def test_unusable_files(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(InputError) as error:
        Network.load(path)
    assert error.value.source == str(path)
    assert message in str(error.value)


def test_missing_file_and_folder_as_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        Network.load(tmp_path / "absent.json")
    with pytest.raises(InputError, match="cannot be read"):
        Network.load(tmp_path)


@pytest.mark.parametrize("name", ["out.txt", "out.txt.gz"])
def test_existing_file_is_replaced_only_when_forced(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_text(path, "first")
    with pytest.raises(InputError, match="exists already; use --force"):
        write_text(path, "second")
    assert read_text(path) == "first"
    write_text(path, "third", force=True)
    assert read_text(path) == "third"
    assert list(tmp_path.iterdir()) == [path]


def test_dangling_link_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="exists already"):
        write_text(path, "text")
    assert path.is_symlink()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("force", [False, True])
def test_impossible_targets(tmp_path: Path, force: bool) -> None:
    file = tmp_path / "file"
    file.write_text("text")
    problem = f"cannot be written: {file} is a file, not a folder"
    with pytest.raises(InputError, match=re.escape(problem)):
        write_text(file / "below" / "out.json", "text", force=force)
    with pytest.raises(InputError, match="is a folder"):
        write_text(tmp_path, "text", force=force)
    assert list(tmp_path.iterdir()) == [file]


def test_missing_folders_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "a" / "b" / "out.json", "text")
    assert read_text(tmp_path / "a" / "b" / "out.json") == "text"
    monkeypatch.chdir(tmp_path)
    write_text(Path("c/out.json"), "text")
    assert read_text(tmp_path / "c" / "out.json") == "text"


def fails(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


def appears(temporary: str, path: Path) -> None:
    """Fail as linking does when another program has created the file meanwhile."""
    raise FileExistsError(17, "File exists")


@pytest.mark.parametrize("force", [False, True])
def test_failed_write_leaves_nothing_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: bool
) -> None:
    path = tmp_path / "out.json"
    if force:
        path.write_text("old")
    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(InputError, match="cannot be written: No space left"):
        write_text(path, "new", force=force)
    assert [entry.read_text() for entry in tmp_path.iterdir()] == (["old"] if force else [])


def test_a_file_that_appears_meanwhile_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", appears)
    with pytest.raises(InputError, match="exists already"):
        write_text(tmp_path / "out.json", "new")
    assert not list(tmp_path.iterdir())


def test_works_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", fails)
    write_text(tmp_path / "out.json", "new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.json"]


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    previous = os.umask(0o027)
    try:
        write_text(tmp_path / "out", "text")
        assert (tmp_path / "out").stat().st_mode & 0o777 == 0o640
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(previous)
