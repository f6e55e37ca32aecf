"""Networks written in Python: what the builder makes of them, and what it refuses."""

from __future__ import annotations

import doctest
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scope_opt import InputError, Network
from scope_opt.model import network as module

if TYPE_CHECKING:
    from collections.abc import Callable

    from scope_opt.model.builder import NetworkBuilder


def edges(network: Network) -> dict[tuple[str, str], tuple[int, bool]]:
    """Bytes, and whether they are input, by the names of the layers."""
    names = [layer.name for layer in network.layers]
    return {
        (names[edge.source], names[edge.target]): (edge.bytes, edge.is_input)
        for edge in network.edges
    }


def test_the_example_is_right() -> None:
    assert doctest.testmod(module).attempted > 0
    assert doctest.testmod(module).failed == 0


def test_residual_block() -> None:
    net = Network.build("block", 3, 8, 8).conv("stem", 4, 3).conv("a", 4, 3).conv("b", 4, 3)
    built = net.add("stem").global_pool().dense("fc", 2).finish()
    assert edges(built) == {
        ("stem", "a"): (4 * 64, True),
        ("a", "b"): (4 * 64, True),
        ("stem", "b"): (4 * 64, False),
        ("b", "fc"): (4, True),
    }
    assert built.layers[2].output_bytes == 4
    assert [layer.weight_bytes for layer in built.layers] == [108, 144, 144, 8]


def test_residual_around_one_layer_needs_no_edge_of_its_own() -> None:
    net = Network.build("block", 4, 8, 8).conv("a", 4, 3).conv("b", 4, 3).add("a")
    assert edges(net.finish()) == {("a", "b"): (4 * 64, True)}


def test_branches_are_concatenated() -> None:
    net = Network.build("inception", 3, 8, 8).conv("stem", 4, 3)
    net.conv("left", 2, 1).conv("right", 6, 3, reads="stem").conv("up", 5, 1, reads="stem")
    built = net.conv("join", 8, 1, reads=["left", "right"]).finish()
    assert built.layers[-1].in_channels == 8
    assert edges(built)["left", "join"] == (2 * 64, True)
    assert edges(built)["right", "join"] == (6 * 64, True)
    # An input over a longer way says so, a chain edge need not.
    assert {edge.feeds for edge in built.edges} == {None, "input"}


def test_attention() -> None:
    width, heads, tokens, cached = 12, 3, 5, 7
    net = Network.build("attention", width, tokens).tokens("q", width).tokens("start", width)
    net.tokens("k", width, reads="start", dram_write_bytes=60).tokens("v", width, reads="start")
    net.product("scores", heads * (tokens + cached), "k", groups=heads, reads="q",
                dram_read_bytes=width * cached)  # fmt: skip
    built = net.product("context", width, "v", groups=heads).tokens("o", width).add("q").finish()
    scores, context = built.layers[4], built.layers[5]
    assert scores.macs == context.macs == tokens * (tokens + cached) * width
    assert (scores.weight_bytes, scores.dram_read_bytes) == (0, width * cached)
    assert built.layers[2].dram_write_bytes == 60
    assert edges(built)["k", "scores"] == (60, True)
    assert edges(built)["q", "o"] == (60, False)


@pytest.mark.parametrize(
    ("layer", "sizes"),
    [
        ({"kernel": 3}, (9, 7)),
        ({"kernel": (5, 3), "stride": (2, 1)}, (5, 7)),
        ({"kernel": 3, "padding": "valid"}, (7, 5)),
        ({"kernel": 3, "padding": (0, 1)}, (7, 7)),
        ({"kernel": 3, "dilation": (2, 1)}, (9, 7)),
        ({"kernel": 3, "dilation": 2, "padding": 0}, (5, 3)),
        ({"kernel": 7, "stride": 2, "padding": 3}, (5, 4)),
    ],
)
def test_sizes(layer: dict[str, Any], sizes: tuple[int, int]) -> None:
    found = Network.build("net", 2, 9, 7).conv("conv", 4, **layer).finish().layers[0]
    assert (found.output_height, found.output_width) == sizes


@given(
    kernel=st.integers(1, 7),
    stride=st.integers(1, 4),
    size=st.integers(8, 20),
    pad=st.integers(0, 3),
)
def test_windows_are_those_that_fit(kernel: int, stride: int, size: int, pad: int) -> None:
    """Counted one by one."""
    pad = min(pad, kernel - 1)
    fit = sum(1 for start in range(0, size + 2 * pad, stride) if start + kernel <= size + 2 * pad)
    net = Network.build("net", 1, size, size).conv("conv", 1, kernel, stride, padding=pad)
    assert net.finish().layers[0].output_width == fit
    pooled = Network.build("net", 1, size, size).conv("conv", 1, 1).pool(kernel, stride, pad)
    assert pooled.output().width == fit


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (lambda net: net.finish(), "layers: tuple should have at least 1 item"),
        (lambda net: net.pool(2), "no layer yet"),
        (lambda net: net.conv("stem", 4, 3).conv("stem", 4, 3), "'stem' is the name of an earlier"),
        (lambda net: net.conv("stem", 4, 3).dense("fc", 4, reads="stm"), "did you mean 'stem'?"),
        (
            lambda net: net.conv("stem", 4, 3, groups=2).finish(),
            "layer 'stem': in_channels: 3 is not a multiple of groups = 2",
        ),
        (lambda net: net.conv("stem", 4, 3, groups=0), "groups: 0; allowed 1 or more"),
        (lambda net: net.conv("stem", 4, 3, padding=3).finish(), "output_height: 12 does not"),
        (
            lambda net: net.conv("a", 4, 3).conv("b", 4, 3, 2).conv("c", 4, 1, reads=["a", "b"]),
            "found 'a' 8 x 8, 'b' 4 x 4",
        ),
        (lambda net: net.conv("a", 4, 3).conv("c", 4, 1, reads=[]), "found no layer"),
        (
            lambda net: net.conv("a", 4, 3).dense("b", 4).connect("a", "b"),
            "layer 'b' reads 'a' already",
        ),
        (
            lambda net: net.conv("a", 1, 1).dense("b", 4).dense("c", 1).connect("c", "b").finish(),
            "edge from 'c' to 'b': to: 1 does not come after",
        ),
        (
            lambda net: (
                net.conv("a", 1, 1).dense("b", 4).dense("c", 1).connect("a", "c", size=99).finish()
            ),
            "edges.1.bytes: 99 is more than layer 0 hands on, 64",
        ),
    ],
)
def test_refused(write: Callable[[NetworkBuilder], object], expected: str) -> None:
    with pytest.raises(InputError) as error:
        write(Network.build("mine", 3, 8, 8))
    assert "mine" in str(error.value)
    assert expected in str(error.value)
