"""Transformers: encoders, and decoders that read a prompt (prefill) or write a token (decode).

A block is nine layers at most: queries, keys, values, scores, context, the output of attention,
and two or three of the feed-forward network; heads are groups. Normalizations, softmax and
activation functions are fused. A decoder writes its new keys and values to DRAM and reads those of
earlier tokens from there, for every sample. Scores are computed for all pairs of tokens.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from scope_opt.model.builder import INPUT
from scope_opt.model.files import InputError, closest
from scope_opt.model.network import Network

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scope_opt.model.builder import NetworkBuilder


@dataclass(frozen=True)
class Transformer:
    """Sizes of a transformer.

    ``kv_heads`` fewer than ``heads`` are shared by several query heads; ``gated`` feed-forward
    networks multiply two of their layers; ``vocabulary`` is that of a last layer on one token, 0
    for none; ``patch`` are the values of an image patch that a first layer reads, 0 for none.
    """

    title: str
    width: int
    blocks: int
    heads: int
    hidden: int
    tokens: int
    """At most, or by default."""
    kv_heads: int | None = None
    gated: bool = False
    decoder: bool = False
    vocabulary: int = 0
    patch: int = 0


TRANSFORMERS: Mapping[str, Transformer] = MappingProxyType(
    {
        "bert-base": Transformer("BERT-base", 768, 12, 12, 3072, 512),
        "bert-large": Transformer("BERT-large", 1024, 24, 16, 4096, 512),
        # 196 patches of 16 x 16 pixels, their outputs averaged.
        "vit-large": Transformer("ViT-L/16", 1024, 24, 16, 4096, 196, vocabulary=1000, patch=768),
        "gpt2-xl": Transformer(
            "GPT-2 XL", 1600, 48, 25, 6400, 1024, decoder=True, vocabulary=50257
        ),
        "llama2-7b": Transformer(
            "Llama-2-7B", 4096, 32, 32, 11008, 4096, gated=True, decoder=True, vocabulary=32000
        ),
        "llama3-70b": Transformer(
            "Llama-3-70B",
            *(8192, 80, 64, 28672, 8192),
            kv_heads=8,
            gated=True,
            decoder=True,
            vocabulary=128256,
        ),
        "encoder": Transformer("an encoder", 768, 12, 12, 3072, 512),
        "decoder": Transformer("a decoder", 768, 12, 12, 3072, 1024, decoder=True),
    }
)
"""Published models by name, and two to give sizes of your own."""

SIZES = ("blocks", "width", "heads", "hidden", "tokens", "cached")
_SUFFIX = {"width": "wide"}
_NAME = re.compile(
    "(?P<model>"
    + "|".join(TRANSFORMERS)
    + ")"
    + "".join(rf"(-(?P<{size}>\d{{1,7}}){_SUFFIX.get(size, size)})?" for size in SIZES)
)


def transformer(
    model: str,
    *,
    blocks: int | None = None,
    width: int | None = None,
    heads: int | None = None,
    hidden: int | None = None,
    tokens: int | None = None,
    cached: int | None = None,
) -> Network:
    """A transformer for one sample of ``tokens`` tokens.

    Parameters
    ----------
    model : str
        A key of `TRANSFORMERS`.
    blocks, width, heads, hidden : int, optional
        Sizes that differ from the model's. Another width keeps the size of a head and the shape of
        the feed-forward network, unless these are given as well.
    tokens : int, optional
        By default the most that the model takes, and 1 if there are cached ones.
    cached : int, optional
        Earlier tokens whose keys and values are in DRAM; of decoders only.

    Raises
    ------
    InputError
        For an unknown model, or sizes that do not fit together.
    """
    if model not in TRANSFORMERS:
        raise InputError("network", [f"found {model!r}; {closest(model, TRANSFORMERS)}"])
    given = {
        "blocks": blocks,
        "width": width,
        "heads": heads,
        "hidden": hidden,
        "tokens": tokens,
        "cached": cached,
    }
    for option, value in given.items():
        if value is not None and not 1 <= value < 10**7:
            raise InputError(option, [f"{value} is out of range; allowed 1 to 9999999"])
    sizes = _sized(TRANSFORMERS[model], given)
    if cached is not None and not sizes.decoder:
        problem = f"{model} is an encoder, which caches nothing; leave the option out"
        raise InputError("cached", [problem])
    if sizes.width % sizes.heads:
        problem = f"{sizes.heads} heads do not divide a width of {sizes.width} evenly"
        raise InputError("heads", [problem])
    kv_heads = sizes.kv_heads or sizes.heads
    if sizes.heads % kv_heads:
        problem = f"{sizes.heads} do not share {kv_heads} heads of keys evenly"
        raise InputError("heads", [problem])
    length = tokens or (1 if cached else sizes.tokens)
    name = model + "".join(
        f"-{value}{_SUFFIX.get(option, option)}"
        for option, value in {**given, "tokens": length}.items()
        if value is not None
    )
    return _build(name, sizes, length, cached or 0)


def transformer_named(name: str) -> Network | None:
    """The network of that name, as `transformer` gives it; None if there is none."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    sizes = {size: int(found[size]) for size in SIZES if found[size]}
    try:
        network = transformer(found["model"], **sizes)
    except InputError:
        return None
    return network if network.name == name else None


def _sized(model: Transformer, given: Mapping[str, int | None]) -> Transformer:
    """The model with other sizes; what follows from the width goes along."""
    width = given["width"] or model.width
    head = model.width // model.heads
    scaled = {
        "width": width,
        "heads": max(1, width // head),
        "hidden": width * model.hidden // model.width,
    }
    own = {key: value for key, value in given.items() if value is not None and key != "cached"}
    sizes: dict[str, Any] = {**scaled, **own}
    if sizes["heads"] != model.heads:
        sizes["kv_heads"] = None  # every head has its own
    return replace(model, **sizes)


def _build(name: str, sizes: Transformer, tokens: int, cached: int) -> Network:
    net = Network.build(name, sizes.patch or sizes.width, tokens)
    entry = INPUT
    if sizes.patch:
        entry = net.tokens("patches", sizes.width).last
    for block in range(sizes.blocks):
        entry = _block(net, f"block{block + 1}", sizes, tokens, cached, entry)
    if sizes.vocabulary:
        net.global_pool().dense("head", sizes.vocabulary)  # one token
    return net.finish()


def _block(
    net: NetworkBuilder, name: str, sizes: Transformer, tokens: int, cached: int, entry: str
) -> str:
    keys = sizes.width // sizes.heads * (sizes.kv_heads or sizes.heads)
    new = keys * tokens if sizes.decoder else 0
    net.tokens(f"{name}.query", sizes.width, reads=entry)
    net.tokens(f"{name}.key", keys, reads=entry, dram_write_bytes=new)
    net.tokens(f"{name}.value", keys, reads=entry, dram_write_bytes=new)
    net.product(
        f"{name}.scores",
        sizes.heads * (cached + tokens),
        f"{name}.key",
        groups=sizes.heads,
        reads=f"{name}.query",
        dram_read_bytes=keys * cached,
    )
    net.product(
        f"{name}.context",
        sizes.width,
        f"{name}.value",
        groups=sizes.heads,
        dram_read_bytes=keys * cached,
    )
    attention = net.tokens(f"{name}.output", sizes.width).add(entry).last
    if sizes.gated:
        net.tokens(f"{name}.gate", sizes.hidden)
        net.tokens(f"{name}.up", sizes.hidden, reads=attention).add(f"{name}.gate")
    else:
        net.tokens(f"{name}.up", sizes.hidden)
    return net.tokens(f"{name}.down", sizes.width).add(attention).last
