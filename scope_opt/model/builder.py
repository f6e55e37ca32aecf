"""Networks written layer by layer in Python: `Network.build` starts one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, TypeVar

from pydantic import ValidationError

from scope_opt.model.files import InputError, closest, explain
from scope_opt.model.network import Edge, Feeds, Layer, Network, both

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scope_opt.model.network import Step

Padding = Literal["same", "valid"] | int | tuple[int, int]
"""Of a window on every side: half the kernel (``same``), none, or so many rows and columns."""


INPUT = "input"
"""What layers read that read the network's input; all but the first read it from DRAM."""

_D = TypeVar("_D", Layer, Edge, Network)


class Map(NamedTuple):
    """An activation: channels x height x width, one byte each."""

    channels: int
    height: int
    width: int

    @property
    def bytes(self) -> int:
        """Size of the map."""
        return self.channels * self.height * self.width


class NetworkBuilder:
    """Layers in execution order and what each reads; every method returns the builder.

    A layer reads the one before it unless ``reads`` names others: several are concatenated along
    the channels. ``"input"`` is the network's input, which the first layer reads; where a later one
    reads or adds it, that comes from DRAM for every sample. `pool`, `global_pool`,
    `upsample` and `add` change what the layer before them hands on.
    `Network.build` starts a network, `finish` checks and returns it.

    Parameters
    ----------
    name : str
        Name of the network.
    channels, height, width : int
        The network's input; tokens are the height of a map of width 1.
    """

    def __init__(self, name: str, channels: int, height: int = 1, width: int = 1) -> None:
        self._name = name
        self._input = Map(channels, height, width)
        self._layers: list[dict[str, Any]] = []
        """Fields of each `Layer` but for ``output_bytes``, which pooling still changes."""
        self._maps: list[Map] = []
        """What each layer hands on, as its readers see it."""
        self._copies: dict[int, int] = {}
        """How often every value of it stands there, where that is more than once."""
        self._reads_input: set[int] = set()
        self._index: dict[str, int] = {}
        self._edges: dict[tuple[int, int], tuple[int, Feeds]] = {}

    @property
    def last(self) -> str:
        """Name of the layer added last."""
        return str(self._layers[self._last()]["name"])

    def output(self, name: str | None = None) -> Map:
        """What a layer hands on; by default the last one, or the network's input before any."""
        if name == INPUT or (name is None and not self._layers):
            return self._input
        return self._maps[-1 if name is None else self._find(name)]

    def conv(
        self,
        name: str,
        channels: int,
        kernel: Step,
        stride: Step = 1,
        *,
        padding: Padding = "same",
        dilation: Step = 1,
        groups: int = 1,
        reads: str | Sequence[str] | None = None,
    ) -> Self:
        """Add a convolution to ``channels`` output channels.

        Parameters
        ----------
        name : str
            Unique in the network.
        channels : int
            Output channels.
        kernel, stride, dilation : int or (height, width)
            Of the window.
        padding : {"same", "valid"}, int or (rows, columns)
            On each side; ``same`` is half the reach of the kernel.
        groups : int
            As many as input channels for a depthwise convolution.
        reads : str or sequence of str, optional
            The layers read in place of the last one.
        """
        read, sources = self._read(reads)
        reach = [d * (k - 1) + 1 for k, d in zip(both(kernel), both(dilation), strict=True)]
        pads = _pads(padding, reach)
        height, width = (
            _windows(size, reach_, step, pad)
            for size, reach_, step, pad in zip(read[1:], reach, both(stride), pads, strict=True)
        )
        return self._append(
            name,
            read,
            Map(channels, height, width),
            sources,
            kernel=both(kernel),
            groups=groups,
            stride=stride,
            dilation=dilation,
        )

    def dense(
        self,
        name: str,
        channels: int,
        *,
        reads: str | Sequence[str] | None = None,
        pooled: bool = False,
    ) -> Self:
        """Add a fully connected layer; it reads the flattened map.

        ``pooled``: it reads the mean of each channel, which is all that is sent to it, while other
        layers may read the map. (Where nothing else does, `global_pool` says the same.)
        """
        read, sources = self._read(reads)
        seen = Map(read.channels if pooled else read.bytes, 1, 1)
        self._append(name, seen, Map(channels, 1, 1), [] if pooled else sources)
        for source in sources if pooled else ():
            self.connect(source, name, "input", self.output(source).channels)
        return self

    def tokens(
        self,
        name: str,
        channels: int,
        *,
        reads: str | Sequence[str] | None = None,
        dram_write_bytes: int = 0,
    ) -> Self:
        """Add a matrix product with weights: every token (position) gets ``channels`` values.

        ``dram_write_bytes`` go to DRAM for every sample, such as new keys or values for a cache.
        """
        read, sources = self._read(reads)
        made = read._replace(channels=channels)
        return self._append(name, read, made, sources, dram_write_bytes=dram_write_bytes)

    def product(
        self,
        name: str,
        channels: int,
        operand: str | None = None,
        *,
        groups: int = 1,
        reads: str | Sequence[str] | None = None,
        dram_read_bytes: int = 0,
    ) -> Self:
        """Add a product of two activations, such as the scores of attention.

        What ``reads`` gives (default: the last layer) is multiplied position by position with a
        matrix that layer ``operand`` made; nothing is stored. Heads are ``groups``.
        ``dram_read_bytes`` come from DRAM for every sample, such as cached keys or values.
        """
        read, sources = self._read(reads)
        made = read._replace(channels=channels)
        self._append(
            name,
            read,
            made,
            sources,
            groups=groups,
            weights=False,
            dram_read_bytes=dram_read_bytes,
        )
        return self if operand is None else self.connect(operand, name, "input")

    def pool(self, kernel: Step, stride: Step | None = None, padding: Padding = "valid") -> Self:
        """Fuse a pooling window into the last layer; windows side by side unless ``stride`` says.

        Incomplete windows are dropped.
        """
        read = self._maps[self._last()]
        pads = _pads(padding, both(kernel))
        height, width = (
            _windows(size, reach, step, pad)
            for size, reach, step, pad in zip(
                read[1:],
                both(kernel),
                both(kernel if stride is None else stride),
                pads,
                strict=True,
            )
        )
        self._maps[-1] = read._replace(height=height, width=width)
        return self

    def global_pool(self) -> Self:
        """Fuse pooling over the whole map into the last layer."""
        self._maps[-1] = Map(self._maps[self._last()].channels, 1, 1)
        return self

    def upsample(self, factor: int) -> Self:
        """Let readers of the last layer see every value ``factor`` times down and across.

        They make the copies themselves: no more bytes are handed on.
        """
        last, read = self._last(), self._maps[-1]
        self._maps[-1] = read._replace(height=factor * read.height, width=factor * read.width)
        self._copies[last] = self._copies.get(last, 1) * factor**2
        return self

    def add(self, *names: str) -> Self:
        """Add what earlier layers hand on to the output of the last layer: residual additions.

        What the last layer reads is there already, and needs no edge of its own.
        """
        last = self._last()
        for name in names:
            if name == INPUT:
                self._read_input()
            elif (self._find(name), last) not in self._edges:
                self.connect(name, self.last, "sum")
        return self

    def connect(
        self, source: str, target: str, feeds: Feeds = "sum", size: int | None = None
    ) -> Self:
        """Let layer ``target`` read all that ``source`` hands on, or ``size`` bytes of it."""
        pair = self._find(source), self._find(target)
        if pair in self._edges:
            raise InputError(self._name, [f"layer {target!r} reads {source!r} already"])
        handed_on = self._handed_on(pair[0])
        self._edges[pair] = (handed_on if size is None else size, feeds)
        return self

    def finish(self) -> Network:
        """Check the network and return it, its edges ordered by producer, then by consumer.

        Raises
        ------
        InputError
            With everything that does not fit together.
        """
        layers = [
            checked(
                Layer,
                f"{self._name}, layer {fields['name']!r}",
                output_bytes=self._handed_on(index),
                **fields,
            )
            for index, fields in enumerate(self._layers)
        ]
        return assemble(self._name, layers, self._edges)

    def _append(
        self,
        name: str,
        read: Map,
        made: Map,
        sources: Sequence[str],
        *,
        kernel: tuple[int, int] = (1, 1),
        groups: int = 1,
        weights: bool = True,
        **fields: Any,
    ) -> Self:
        if name in self._index:
            raise InputError(self._name, [f"{name!r} is the name of an earlier layer already"])
        if name == INPUT:
            raise InputError(
                self._name, [f"{name!r} is the network's input; name the layer otherwise"]
            )
        if groups < 1:
            raise InputError(self._name, [f"layer {name!r}: groups: {groups}; allowed 1 or more"])
        self._index[name] = len(self._layers)
        self._maps.append(made)
        kernel_bytes = made.channels * (read.channels // groups) * kernel[0] * kernel[1]
        self._layers.append(
            {
                "name": name,
                "in_channels": read.channels,
                "out_channels": made.channels,
                "input_height": read.height,
                "input_width": read.width,
                "output_height": made.height,
                "output_width": made.width,
                "kernel_height": kernel[0],
                "kernel_width": kernel[1],
                "stride": 1,
                "groups": groups,
                "weight_bytes": kernel_bytes if weights else 0,
                "input_bytes": read.bytes,
                **fields,
            }
        )
        for source in sources:
            if source == INPUT:
                self._read_input()
            else:
                self.connect(source, name, "input")
        return self

    def _read(self, reads: str | Sequence[str] | None) -> tuple[Map, list[str]]:
        """The map that a new layer reads, and the names of what it comes from."""
        if reads is None:
            names = [self.last] if self._layers else [INPUT]
        else:
            names = [reads] if isinstance(reads, str) else list(reads)
        maps = [self.output(name) for name in names]
        if not maps or any(other[1:] != maps[0][1:] for other in maps):
            sizes = ", ".join(
                f"{name!r} {found.height} x {found.width}"
                for name, found in zip(names, maps, strict=True)
            )
            problem = f"reads: maps of equal size are concatenated; found {sizes or 'no layer'}"
            raise InputError(self._name, [problem])
        return maps[0]._replace(channels=sum(found.channels for found in maps)), names

    def _handed_on(self, index: int) -> int:
        """Bytes of what a layer hands on."""
        return self._maps[index].bytes // self._copies.get(index, 1)

    def _read_input(self) -> None:
        """Let the last layer read the network's input: from DRAM, once; the first does anyway."""
        last = self._last()
        if last and last not in self._reads_input:
            fields = self._layers[last]
            fields["dram_read_bytes"] = fields.get("dram_read_bytes", 0) + self._input.bytes
        self._reads_input.add(last)

    def _last(self) -> int:
        if not self._layers:
            raise InputError(self._name, ["no layer yet; begin with conv, dense or tokens"])
        return len(self._layers) - 1

    def _find(self, name: str) -> int:
        if name not in self._index:
            raise InputError(self._name, [f"no layer {name!r}; {closest(name, self._index)}"])
        return self._index[name]


def assemble(
    name: str, layers: Sequence[Layer], edges: Mapping[tuple[int, int], tuple[int, Feeds]]
) -> Network:
    """A checked network from layers and ``{(producer, reader): (bytes, feeds)}``."""
    built = []
    for (source, target), (size, feeds) in sorted(edges.items()):
        # A chain edge is input by default, a skip edge a summand.
        default = (feeds == "input") == (target == source + 1)
        ends = {"from": source, "to": target}
        where = f"{name}, edge from {layers[source].name!r} to {layers[target].name!r}"
        kind = None if default else feeds
        built.append(checked(Edge, where, **ends, bytes=size, feeds=kind))
    return checked(Network, name, name=name, layers=tuple(layers), edges=tuple(built))


def checked(model: type[_D], source: str, **fields: Any) -> _D:
    """A document from its fields; raises `InputError` naming ``source``."""
    try:
        return model(**fields)
    except ValidationError as error:
        raise InputError(source, *explain(model, error)) from None


def _pads(padding: Padding, reach: Sequence[int]) -> tuple[int, int]:
    if padding == "same":
        return reach[0] // 2, reach[1] // 2
    return (0, 0) if padding == "valid" else both(padding)


def _windows(size: int, reach: int, step: int, padding: int) -> int:
    """Outputs per axis of a sliding window, incomplete windows dropped."""
    return (size + 2 * padding - reach) // step + 1
