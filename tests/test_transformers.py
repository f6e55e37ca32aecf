"""Transformers against the parameters of the published models and sums by hand."""

from __future__ import annotations

import pytest
from helpers import invoke, plain
from hypothesis import given
from hypothesis import strategies as st

from scope_opt import InputError, Instance, load
from scope_opt.model.generate import instance_named, network_named
from scope_opt.model.transformers import TRANSFORMERS, transformer, transformer_named


@pytest.mark.parametrize(
    ("model", "layers", "weights"),
    [
        # Parameters of the published models less embeddings, biases and normalizations.
        ("bert-base", 12 * 8, 12 * 12 * 768**2),
        ("bert-large", 24 * 8, 24 * 12 * 1024**2),
        ("vit-large", 24 * 8 + 2, 24 * 12 * 1024**2 + 768 * 1024 + 1024 * 1000),
        ("gpt2-xl", 48 * 8 + 1, 48 * 12 * 1600**2 + 1600 * 50257),
        # 6 738 415 616 less 32 000 x 4 096 and 65 normalizations.
        ("llama2-7b", 32 * 9 + 1, 6_738_415_616 - 32000 * 4096 - 65 * 4096),
        # 70 553 706 496 less 128 256 x 8 192 and 161 normalizations.
        ("llama3-70b", 80 * 9 + 1, 70_553_706_496 - 128256 * 8192 - 161 * 8192),
    ],
)
def test_published_models(model: str, layers: int, weights: int) -> None:
    network = transformer(model, tokens=2)
    assert len(network.layers) == layers
    assert network.weight_bytes == weights


@given(
    blocks=st.integers(1, 3),
    heads=st.integers(1, 4),
    size=st.integers(1, 8),
    hidden=st.integers(1, 40),
    tokens=st.integers(1, 9),
    cached=st.one_of(st.none(), st.integers(1, 20)),
)
def test_sums(
    blocks: int, heads: int, size: int, hidden: int, tokens: int, cached: int | None
) -> None:
    """Weights, multiply-accumulates and caches by hand."""
    width = heads * size
    network = transformer(
        "decoder",
        blocks=blocks, width=width, heads=heads, hidden=hidden, tokens=tokens, cached=cached,
    )  # fmt: skip
    weights = blocks * (4 * width**2 + 2 * width * hidden)
    context = tokens + (cached or 0)
    assert network.weight_bytes == weights
    assert network.macs == weights * tokens + blocks * 2 * tokens * context * width
    caches = blocks * 2 * width * (cached or 0)
    # Keys, values and the first addition read the network's input again.
    assert sum(layer.dram_read_bytes for layer in network.layers) == caches + 3 * width * tokens
    assert sum(layer.dram_write_bytes for layer in network.layers) == blocks * 2 * width * tokens
    assert transformer_named(network.name) == network


def test_shared_keys_and_gates() -> None:
    network = transformer("llama3-70b", blocks=1, cached=100)
    layers = {layer.name.removeprefix("block1."): layer for layer in network.layers}
    assert layers["key"].out_channels == layers["value"].out_channels == 1024
    assert layers["scores"].groups == 64
    assert layers["scores"].dram_read_bytes == 100 * 1024
    assert layers["key"].dram_write_bytes == 1024
    edges = {(edge.source, edge.target): edge for edge in network.edges}
    assert not edges[6, 7].is_input  # the gate multiplies what the layer makes
    assert edges[5, 7].feeds == "input"


def test_encoders_cache_nothing() -> None:
    assert not any(
        layer.dram_write_bytes for layer in transformer("bert-base", tokens=4, blocks=1).layers
    )


@pytest.mark.parametrize(
    ("model", "sizes", "expected"),
    [
        ("bert", {}, "did you mean 'bert-"),
        ("bert-base", {"heads": 7}, "7 heads do not divide a width of 768"),
        ("bert-base", {"cached": 7}, "bert-base is an encoder"),
        ("bert-base", {"tokens": 0}, "tokens: 0 is out of range"),
        ("llama3-70b", {"blocks": -1}, "blocks: -1 is out of range"),
    ],
)
def test_refused(model: str, sizes: dict[str, int], expected: str) -> None:
    with pytest.raises(InputError) as error:
        transformer(model, **sizes)
    assert expected in str(error.value)


@pytest.mark.parametrize("model", TRANSFORMERS)
def test_names(model: str) -> None:
    network = network_named(model)
    assert network.name == f"{model}-{TRANSFORMERS[model].tokens}tokens"
    assert network_named(network.name) == network


@pytest.mark.parametrize(
    "name",
    [
        "bert-large-0tokens",
        "bert-large-512",
        "bert-large-512tokens-",
        "bert-large-9cached-512tokens",
        "bert-large-512tokens-x",
    ],
)
def test_other_names_are_none(name: str) -> None:
    assert transformer_named(name) is None


def test_generate() -> None:
    outcome = invoke("generate", "bert-base", "--tokens", 8, "--blocks", 1, "--chiplets", 4)
    instance = Instance.from_json(outcome.stdout, "stdout")
    assert instance.name == "bert-base-1blocks-8tokens-4-placed"
    assert instance_named(instance.name) == instance
    assert plain(load("bert-base-1blocks-8tokens-4-placed")) == plain(instance)
    refused = invoke("generate", "resnet18", "--tokens", 8, "--chiplets", 4)
    assert refused.exit_code == 2
    assert "--tokens: goes with a transformer" in refused.stderr
