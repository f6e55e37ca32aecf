"""Packages and networks as files: quantities, presets, TOML, and what is made of both."""

from __future__ import annotations

import doctest
import json
import math
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from helpers import invoke, plain
from hypothesis import given
from hypothesis import strategies as st

from scope_opt import InputError, Instance, load
from scope_opt.model import quantities, toml
from scope_opt.model.parts import NetworkFile, PackageFile, combine
from scope_opt.model.presets import PRESETS, new_package
from scope_opt.model.zoo import build_network, paper_package

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SHARED = {"--mesh": "2x3", "--buffer": "512KiB", "--nop": "60GB/s", "--dram": "50GB/s",
          "--clock": "1.5GHz", "--macs": "8x4x2", "--activations": "1MB"}  # fmt: skip


def options(given: dict[str, str]) -> list[str]:
    return [part for pair in given.items() for part in pair]


# --- Quantities ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("read", "text", "expected"),
    [
        (quantities.size, "512KiB", 524288),
        (quantities.size, "512 KB", 512000),
        (quantities.size, "512kB", 512000),
        (quantities.size, "1.5MiB", 1572864),
        (quantities.size, "7B", 7),
        (quantities.rate, "60GB/s", 60e9),
        (quantities.rate, "1TiB/s", 2.0**40),
        (quantities.frequency, "800MHz", 800e6),
        (quantities.frequency, "1.8 GHz", 1.8e9),
    ],
)
def test_quantities(read: Callable[[str, str], float], text: str, expected: float) -> None:
    assert read(text, "--option") == expected


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (quantities.size, "512"), (quantities.size, "512 Kilo"), (quantities.size, "-1B"),
        (quantities.size, "0.5B"), (quantities.size, "0KiB"), (quantities.size, ""),
        (quantities.size, "1e400B"), (quantities.rate, "60GB"), (quantities.rate, "60Gb/s"),
        (quantities.frequency, "800mhz"), (quantities.frequency, "nanHz"),
    ],
)  # fmt: skip
def test_quantities_refused(read: Callable[[str, str], float], text: str) -> None:
    with pytest.raises(InputError, match="--option: found"):
        read(text, "--option")


@pytest.mark.parametrize("text", ["6", "6x", "6x0", "6x6x6", "axb", "-6x6", "6 x 6 y"])
def test_grids_refused(text: str) -> None:
    with pytest.raises(InputError, match="such as 6x6"):
        quantities.grid(text, "--mesh", 2, "6x6")


# --- TOML ----------------------------------------------------------------------------------------

SCALARS = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.text(st.characters(exclude_categories=["Cs"])),
)
KEYS = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)


@given(
    st.dictionaries(
        KEYS,
        st.recursive(
            st.one_of(SCALARS, st.lists(SCALARS, max_size=3)),
            lambda inner: st.dictionaries(KEYS, inner, max_size=3),
            max_leaves=8,
        ),
        max_size=4,
    )
)
def test_toml_is_read_back(content: dict[str, Any]) -> None:
    assert tomllib.loads(toml.to_toml(content, ["A comment."])) == content


def test_the_example_is_right() -> None:
    assert doctest.testmod(toml).attempted == 1
    assert doctest.testmod(toml).failed == 0


def test_broken_toml(tmp_path: Path) -> None:
    path = tmp_path / "pkg.toml"
    path.write_text("mesh = = 3")
    with pytest.raises(InputError, match="not valid TOML"):
        PackageFile.load(path)
    path.write_text("format = 'scope-package/1'\n[package]\nmesh_rows = 2\nmesh = 3")
    outcome = invoke("combine", "alexnet", path)
    assert outcome.exit_code == 2
    assert "package.mesh: unknown key; did you mean 'mesh_rows'?" in outcome.stderr
    assert "package.chiplet: required key is missing" in outcome.stderr


def test_an_instance_may_be_toml(tmp_path: Path) -> None:
    instance = load("tiny-skip")
    path = tmp_path / "skip.toml"
    path.write_text(toml.to_toml(plain(instance)))
    assert Instance.load(path) == instance
    assert "tiny-skip" in invoke("show", path).stdout


# --- Packages ------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["placed", "regressed"])
def test_the_paper_preset_is_the_papers_package(model: Any) -> None:
    assert new_package(model=model) == paper_package(64, nop=model)
    assert new_package(mesh=(4, 4), model="placed", order="blocks-2") == paper_package(
        16, nop="placed", order="blocks-2"
    )


def test_presets() -> None:
    simba = new_package("simba-6x6")
    assert simba.chiplets == 36
    # 4 TOPS a chiplet at most (3.7 at 1.8 GHz), 18 MiB of weights in all.
    assert simba.chiplet.macs_per_cycle * 2 * simba.chiplet.frequency_hz == pytest.approx(
        3.7e12, 1e-2
    )
    assert simba.chiplet.weight_buffer_bytes * 36 == 18 * 2**20
    wafer = new_package("wafer-scale")
    assert wafer.chiplets == 25
    assert wafer.chiplet.macs_per_cycle * 2 * wafer.chiplet.frequency_hz == pytest.approx(
        362e12, 5e-3
    )
    listed = invoke("package", "presets").stdout
    assert all(name in listed for name in PRESETS)


def test_new_package_file(tmp_path: Path) -> None:
    path = tmp_path / "pkg.toml"
    outcome = invoke("package", "new", *options(SHARED), "-o", path)
    assert outcome.exit_code == 0
    text = path.read_text()
    assert text.startswith("# Preset paper.\n# Scope (arXiv:2602.14393), Table III")
    package = PackageFile.load(path).package
    assert (package.mesh_rows, package.mesh_cols) == (2, 3)
    assert package.chiplet.weight_buffer_bytes == 512 * 1024
    assert (package.chiplet.pes, package.chiplet.macs_per_cycle) == (8, 64)
    assert package.chiplet.frequency_hz == 1.5e9
    assert package.nop.bandwidth_bytes_per_s == 60e9
    assert package.dram.bandwidth_bytes_per_s == 50e9
    assert package.activation_buffer_bytes == 1_000_000
    as_json = tmp_path / "pkg.json"
    invoke("package", "new", *options(SHARED), "-o", as_json)
    assert PackageFile.load(as_json).package == package
    printed = tomllib.loads(invoke("package", "new", *options(SHARED)).stdout)
    assert printed == tomllib.loads(text)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--mesh", "6"), "--mesh: found '6'"),
        (("--buffer", "512"), "--buffer: found '512'; allowed: a size such as 512KiB"),
        (("--preset", "simba"), "did you mean 'simba-6x6'?"),
        (("--macs", "12x8x8"), "chiplet.pes: 12 is not a power of two"),
        (("--order", "blocks-3"), "order: found 'blocks-3'"),
        (("--order", "blocks-2", "--model", "regressed"), "regions have places"),
        (("--mesh", "999x999"), "998001 is out of range"),
    ],
)
def test_new_package_refuses(arguments: tuple[str, ...], expected: str) -> None:
    outcome = invoke("package", "new", *arguments)
    assert outcome.exit_code == 2
    assert expected in outcome.stderr
    assert outcome.stdout == ""


def test_show(tmp_path: Path) -> None:
    package, network = tmp_path / "pkg.toml", tmp_path / "net.json"
    invoke("package", "new", "--preset", "simba-6x6", "-o", package)
    assert "36 chiplets" in invoke("show", package).stdout
    NetworkFile(network=build_network("resnet18")).save(network)
    shown = invoke("show", network).stdout
    assert "1.814 GMAC" in shown
    rows = [line.split() for line in shown.splitlines()]
    # The last layer of a block reads the one before it and adds the projection.
    (last,) = (row for row in rows if "conv3_1_b" in row)
    assert last[0] == "7"
    assert last[-2:] == ["+5", "6"]
    (first,) = (row for row in rows if row[1:2] == ["conv1"])
    assert first[-1] != "0"
    refused = invoke("show", package, network)
    assert refused.exit_code == 2
    assert "goes with a schedule or a result" in refused.stderr


# --- Instances -----------------------------------------------------------------------------------


def test_combine(tmp_path: Path) -> None:
    network, package = build_network("alexnet"), new_package(mesh=(2, 2))
    NetworkFile(network=network).save(tmp_path / "net.json")
    PackageFile(package=package).save(tmp_path / "pkg.json.gz")
    found = Instance.from_json(
        invoke("combine", tmp_path / "net.json", tmp_path / "pkg.json.gz").stdout, "stdout"
    )
    assert (found.network, found.package, found.samples) == (network, package, 64)
    assert found.name == "alexnet-on-pkg"
    # Halves of instances, and names, do as well.
    found.save(tmp_path / "other.json")
    arguments = ("--samples", 8, "--overflow", "stream")
    again = Instance.from_json(
        invoke("combine", "alexnet", tmp_path / "other.json", *arguments).stdout, "stdout"
    )
    assert again.name == "alexnet-on-other-8samples-stream"
    assert (again.network, again.package) == (network, package)
    named = invoke("combine", tmp_path / "other.json", "simba-6x6", "--name", "mine").stdout
    assert Instance.from_json(named, "stdout").name == "mine"
    assert (
        json.loads(named)["package"]
        == plain(PackageFile(package=new_package("simba-6x6")))["package"]
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("alexnt", "paper"), "did you mean 'alexnet'?"),
        (("alexnet", "papr"), "did you mean 'paper'?"),
        (("net.json", "paper"), "net.json: no such file"),
        (("alexnet", "paper", "--samples", "0"), "samples: input should be greater"),
        (("alexnet", "paper", "--name", ""), "name: string should have at least 1"),
        (("tiny.json", "paper"), "network: this instance gives tables instead"),
        (("alexnet", "tiny.json"), "package: this instance gives tables instead"),
    ],
)
def test_combine_refuses(
    arguments: tuple[str, ...], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load("tiny-tables").save(tmp_path / "tiny.json")
    monkeypatch.chdir(tmp_path)
    outcome = invoke("combine", *arguments)
    assert outcome.exit_code == 2
    assert expected in outcome.stderr


def test_combine_in_python() -> None:
    instance = combine(build_network("vgg16"), new_package("simba-6x6"), "simba", samples=2)
    assert instance.name == "vgg16-on-simba-2samples"
    assert instance.chiplets == math.prod(PRESETS["simba-6x6"].mesh)


def test_generate_takes_the_same_options() -> None:
    found = Instance.from_json(invoke("generate", "alexnet", *options(SHARED)).stdout, "stdout")
    assert found.name == "alexnet-on-own-2x3"
    printed = tomllib.loads(invoke("package", "new", *options(SHARED)).stdout)
    assert plain(found)["package"] == printed["package"]
    simba = Instance.from_json(invoke("generate", "alexnet", "--preset", "simba-6x6").stdout, "out")
    assert simba.package == new_package("simba-6x6")


def test_generate_without_changes_is_the_papers() -> None:
    """However the mesh and the model are given."""
    for arguments in (
        ("--chiplets", 16, "--nop", "regressed"),
        ("--mesh", "4x4", "--model", "regressed"),
        ("--rows", 4, "--cols", 4, "--nop", "regressed"),
    ):
        found = Instance.from_json(invoke("generate", "alexnet", *arguments).stdout, "stdout")
        assert found == load("alexnet-16")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "--chiplets: give the number of chiplets, or --mesh RxC"),
        (("--mesh", "4x4", "--rows", 4), "leave --rows and --cols out"),
        (("--mesh", "4x4", "--chiplets", 15), "4x4 is not 15 chiplets"),
        (("--mesh", "4x4", "--nop", "fast"), "--nop: found 'fast'"),
        (("--rows", 4), "--chiplets: give the number"),
    ],
)
def test_generate_refuses(arguments: tuple[object, ...], expected: str) -> None:
    outcome = invoke("generate", "alexnet", *arguments)
    assert outcome.exit_code == 2
    assert expected in outcome.stderr
