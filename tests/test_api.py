"""The public face of the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from documents import INSTANCES

import scope_opt
from scope_opt import InputError, Instance, SolveOptions, evaluate, load, solve

if TYPE_CHECKING:
    from pathlib import Path

SKIP = INSTANCES / "tiny" / "tiny-skip.json"


def test_every_public_name_is_there() -> None:
    for name in dir(scope_opt):
        assert getattr(scope_opt, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = scope_opt.nothing


@pytest.mark.parametrize("name", ["tiny-skip", "resnet50-64"])
def test_instances_have_names(name: str) -> None:
    (path,) = INSTANCES.glob(f"[pt]*/{name}.json")
    assert load(name) == load(path) == load(str(path)) == Instance.load(path)


def test_paper_instances_that_are_no_file_have_names() -> None:
    instance = load("alexnet-36-128samples")
    assert (instance.chiplets, instance.samples) == (36, 128)


def test_a_slip_gets_a_hint() -> None:
    with pytest.raises(InputError, match=r"did you mean 'resnet50-64'\?"):
        load("resnet5-64")
    with pytest.raises(InputError, match="no such file"):
        load("resnet50-64.json")


@pytest.mark.parametrize("source", ["tiny-skip", SKIP, str(SKIP)])
def test_solve_takes_names_files_and_instances(source: str | Path) -> None:
    known = Instance.load(SKIP)
    result = solve(source, solver="scope", segments="single")
    assert result.schedule is not None
    assert evaluate(known, result.schedule).objective_ps == result.objective_ps
    again = solve(known, "scope", SolveOptions(segments="single"))
    assert again.objective_ps == result.objective_ps


def test_keywords_replace_options() -> None:
    options = SolveOptions(segments="single", time_limit_s=5)
    assert solve("tiny-skip", "scope", options, time_limit_s=7).options["time_limit_s"] == 7
    with pytest.raises(TypeError, match="no option 'limit'; options: segments, time_limit_s"):
        solve("tiny-skip", "scope", limit=7)
