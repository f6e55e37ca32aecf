"""Commands that make instances, and the networks and packages in them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scope_opt.commands.arguments import Force, Json
from scope_opt.terminal.console import complain, print_json, print_text, print_view

if TYPE_CHECKING:
    from scope_opt.model.instance import Instance
    from scope_opt.model.package import Package

NETWORK_NAMES = (
    *("alexnet", "vgg16", "darknet19"),
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
)
FURTHER_NAMES = ("mobilenetv2", "densenet121", "yolov3")
TRANSFORMER_NAMES = (
    *("bert-base", "bert-large", "vit-large", "gpt2-xl", "llama2-7b", "llama3-70b"),
    *("encoder", "decoder"),
)
PRESET_NAMES = ("paper", "simba-6x6", "wafer-scale")
"""As in `zoo`, `further`, `transformers` and `presets` of `scope_opt.model`, which are too heavy to
import for help."""


class Overflow(StrEnum):
    """What to do with weights that do not fit."""

    FORBID = "forbid"
    STREAM = "stream"


class TransferModel(StrEnum):
    """What transfers between chiplets are priced by."""

    PLACED = "placed"
    REGRESSED = "regressed"


class LayerOrder(StrEnum):
    """Order of imported layers."""

    FILE = "file"
    SHORT = "short"


Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Instead of stdout.")
]
Samples = Annotated[int, typer.Option(metavar="M", help="Samples per batch.")]
OverflowOption = Annotated[
    Overflow,
    typer.Option(help="Weights that do not fit: not allowed, or fetched for every sample."),
]
Preset = Annotated[
    str, typer.Option(metavar="NAME", help=f"Package to start from: {', '.join(PRESET_NAMES)}.")
]
Mesh = Annotated[
    str | None, typer.Option(metavar="RxC", help="Rows and columns of chiplets, such as 6x6.")
]
Buffer = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Weights a chiplet holds, such as 512KiB.")
]
Activations = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="Activations a chiplet holds; no limit if absent."),
]
Clock = Annotated[str | None, typer.Option(metavar="HZ", help="Of the chiplets, such as 800MHz.")]
Macs = Annotated[
    str | None,
    typer.Option(metavar="PxLxM", help="PEs, lanes of a PE, MACs of a lane, such as 16x8x8."),
]
DramRate = Annotated[
    str | None, typer.Option("--dram", metavar="RATE", help="Peak of the DRAM, such as 50GB/s.")
]
Order = Annotated[
    str,
    typer.Option(metavar="ORDER", help="Of positions on the mesh: zigzag, blocks-W or hilbert."),
]


def import_network(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="ONNX file.")],
    size: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=N",
            help="Size of an open dimension, by its name or as INPUT.AXIS; may be repeated.",
        ),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OP", help="Leave out an operator, pass on what it reads; may be repeated."
        ),
    ] = None,
    layer_order: Annotated[
        LayerOrder,
        typer.Option(help="Layers as the file lists them, or so that branches are short."),
    ] = LayerOrder.FILE,
    json: Json = False,
    output: Output = None,
    force: Force = False,
) -> None:
    """Read a network from an ONNX file, and say what became of every operator.

    \b
    Examples:
      scope-opt import resnet18.onnx -o resnet18.json
      scope-opt import bert.onnx --size sequence=128 --layer-order short -o bert.json
    """  # noqa: D301  # \b keeps the line breaks
    from scope_opt.importing.onnx import import_onnx
    from scope_opt.importing.view import coverage_view
    from scope_opt.model.files import InputError, refuse_existing
    from scope_opt.model.parts import NetworkFile

    if output is not None:
        refuse_existing(output, force=force)
    sizes = {}
    for entry in size or ():
        name, equals, number = entry.rpartition("=")
        if not equals or not number.isdecimal() or not 0 < int(number) < 2**31:
            raise InputError("--size", [f"found {entry!r}; allowed: NAME=N, such as batch=1"])
        sizes[name] = int(number)
    network, coverage = import_onnx(model, sizes, ignore or (), layer_order.value)
    document = NetworkFile(network=network)
    if output is not None:
        document.save(output, force=force)
    if json:
        print_json(coverage.to_dict())
    elif output is None:
        print_text(document.to_json())
    else:
        print_view(lambda console: coverage_view(console, network.name, coverage))
    if output is not None:
        complain(f"{network.name} written to {output}")


packages = typer.Typer(help="Write packages as files; list published ones.", no_args_is_help=True)


@packages.command("new")
def new_package_file(
    preset: Preset = "paper",
    mesh: Mesh = None,
    buffer: Buffer = None,
    activations: Activations = None,
    clock: Clock = None,
    macs: Macs = None,
    nop: Annotated[
        str | None,
        typer.Option(metavar="RATE", help="Network on package, per chiplet, such as 60GB/s."),
    ] = None,
    dram: DramRate = None,
    model: Annotated[
        TransferModel,
        typer.Option(help="Transfers priced where regions lie, or by their sizes alone."),
    ] = TransferModel.PLACED,
    order: Order = "zigzag",
    output: Output = None,
    force: Force = False,
) -> None:
    """Write a package as a file: a published one, with numbers of your own.

    \b
    Examples:
      scope-opt package new --mesh 6x6 --buffer 512KiB --nop 60GB/s --dram 50GB/s -o pkg.toml
      scope-opt package new --preset simba-6x6 -o simba.toml
    """  # noqa: D301  # \b keeps the line breaks
    import json

    from scope_opt.model.files import refuse_existing, write_text
    from scope_opt.model.parts import PackageFile
    from scope_opt.model.presets import preset_named
    from scope_opt.model.toml import to_toml

    if output is not None:
        refuse_existing(output, force=force)
    changes = _changes(buffer, activations, clock, macs, nop, dram)
    built = _package(preset, _sides(mesh, None, None, None), model, order, changes)
    document = PackageFile(package=built)
    comments = [f"Preset {preset}.", *preset_named(preset).source]
    if changes or mesh:
        own = ", ".join(["mesh"] * bool(mesh) + list(changes))
        comments.append(f"Given on the command line: {own}.")
    text = document.to_json()
    if output is None or output.suffix == ".toml":
        text = to_toml(json.loads(text), comments)
    if output is None:
        print_text(text)
    else:
        write_text(output, text, force=force)
        complain(f"package of {built.mesh_rows} x {built.mesh_cols} chiplets written to {output}")


@packages.command("presets")
def list_presets() -> None:
    """List published packages and where their numbers come from."""
    from scope_opt.model.presets import PRESETS

    for name, found in PRESETS.items():
        print_text(f"{name}\n" + "".join(f"  {line}\n" for line in found.source))


def combine(
    network: Annotated[
        str,
        typer.Argument(
            metavar="NETWORK", help="Network file, instance file, or name of a built-in network."
        ),
    ],
    package: Annotated[
        str,
        typer.Argument(metavar="PACKAGE", help="Package file, instance file, or preset."),
    ],
    also: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="NETWORK",
            help="A further network that shares the package; may be repeated.",
        ),
    ] = None,
    samples: Samples = 64,
    overflow: OverflowOption = Overflow.FORBID,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Of the instance; NETWORK-on-PACKAGE if absent."),
    ] = None,
    output: Output = None,
    force: Force = False,
) -> None:
    """Join a network and a package to an instance.

    \b
    Examples:
      scope-opt combine net.json pkg.toml --samples 64 -o instance.json
      scope-opt combine resnet50 simba-6x6 -o resnet50-simba.json
      scope-opt combine alexnet pkg.toml --with resnet50 -o both.json
    """  # noqa: D301  # \b keeps the line breaks
    from scope_opt.model.files import refuse_existing
    from scope_opt.model.network import Network
    from scope_opt.model.parts import combine as join
    from scope_opt.terminal.inputs import load_network, load_package

    if output is not None:
        refuse_existing(output, force=force)
    found, on = load_package(package)
    networks = [load_network(each) for each in (network, *(also or ()))]
    whole = networks[0]
    if len(networks) > 1:
        whole = Network.together("-and-".join(each.name for each in networks), networks)
    instance = join(whole, found, on, samples, overflow.value, name)
    _write_instance(instance, output, force=force)


def generate(
    network: Annotated[
        str,
        typer.Argument(
            metavar="NETWORK",
            help=f"One of {', '.join((*NETWORK_NAMES, *FURTHER_NAMES, *TRANSFORMER_NAMES))}.",
        ),
    ],
    chiplets: Annotated[
        int | None, typer.Option(metavar="N", help="Number of chiplets; or give a mesh or preset.")
    ] = None,
    rows: Annotated[
        int | None, typer.Option(metavar="R", help="Mesh rows; nearly square if absent.")
    ] = None,
    cols: Annotated[int | None, typer.Option(metavar="C", help="Mesh columns.")] = None,
    mesh: Mesh = None,
    samples: Samples = 64,
    overflow: OverflowOption = Overflow.FORBID,
    nop: Annotated[
        str | None,
        typer.Option(
            metavar="placed|regressed|RATE",
            help="Transfers priced where regions lie, or by their sizes alone; or the bandwidth "
            "of the network on package, such as 60GB/s (then see --model).",
        ),
    ] = None,
    model: Annotated[
        TransferModel | None,
        typer.Option(help="As --nop placed or regressed; placed if absent."),
    ] = None,
    order: Order = "zigzag",
    preset: Preset = "paper",
    buffer: Buffer = None,
    activations: Activations = None,
    clock: Clock = None,
    macs: Macs = None,
    dram: DramRate = None,
    tokens: Annotated[
        int | None, typer.Option(metavar="N", help="Of a transformer's sample.")
    ] = None,
    cached: Annotated[
        int | None,
        typer.Option(metavar="N", help="Earlier tokens of a decoder, whose keys are in DRAM."),
    ] = None,
    blocks: Annotated[int | None, typer.Option(metavar="N", help="Of a transformer.")] = None,
    width: Annotated[int | None, typer.Option(metavar="N", help="Of a transformer.")] = None,
    heads: Annotated[int | None, typer.Option(metavar="N", help="Of a transformer.")] = None,
    hidden: Annotated[
        int | None, typer.Option(metavar="N", help="Width of a transformer's feed-forward network.")
    ] = None,
    output: Output = None,
    force: Force = False,
) -> None:
    """Write an instance: a built-in network on the paper's package, or on another.

    \b
    Examples:
      scope-opt generate resnet50 --chiplets 64 -o resnet50-64.json
      scope-opt generate resnet50 --chiplets 64 --order blocks-4 -o blocks.json
      scope-opt generate vgg16 --chiplets 16 --nop regressed --overflow stream | scope-opt show -
      scope-opt generate bert-large --tokens 384 --chiplets 256 -o bert.json
      scope-opt generate llama2-7b --cached 4096 --mesh 16x16 --buffer 32MiB -o decode.json
    """  # noqa: D301  # \b keeps the line breaks
    from scope_opt.model.files import InputError, refuse_existing
    from scope_opt.model.generate import network_named, paper_instance
    from scope_opt.model.parts import combine as join
    from scope_opt.model.transformers import TRANSFORMERS, transformer

    if output is not None:
        refuse_existing(output, force=force)
    sizes = {
        "tokens": tokens,
        "cached": cached,
        "blocks": blocks,
        "width": width,
        "heads": heads,
        "hidden": hidden,
    }
    given = [f"--{name}" for name, value in sizes.items() if value is not None]
    if network in TRANSFORMERS:
        built = transformer(network, **sizes)
    else:
        built = network_named(network)
        if given:
            problem = f"goes with a transformer: {', '.join(TRANSFORMERS)}; found {network!r}"
            raise InputError(", ".join(given), [problem])
    rate = None
    if nop in list(TransferModel):
        model = TransferModel(nop)
    else:
        rate = nop
    model = model or TransferModel.PLACED
    changes = _changes(buffer, activations, clock, macs, rate, dram)
    sides = _sides(mesh, chiplets, rows, cols)
    if preset == "paper" and not changes:
        if sides is None:
            raise InputError("--chiplets", ["give the number of chiplets, or --mesh RxC"])
        instance = paper_instance(
            built, sides[0] * sides[1], samples, overflow.value, *sides, model.value, order
        )
    else:
        package = _package(preset, sides, model, order, changes)
        label = preset if not changes else "own"
        instance = join(
            built,
            package,
            f"{label}-{package.mesh_rows}x{package.mesh_cols}",
            samples,
            overflow.value,
        )
    _write_instance(instance, output, force=force)


def _changes(
    buffer: str | None,
    activations: str | None,
    clock: str | None,
    macs: str | None,
    nop: str | None,
    dram: str | None,
) -> dict[str, Any]:
    """Numbers of a package that options give, as `scope_opt.model.presets.new_package` wants."""
    from scope_opt.model.quantities import frequency, grid, rate, size

    found = {
        "buffer_bytes": None if buffer is None else size(buffer, "--buffer"),
        "activation_bytes": None if activations is None else size(activations, "--activations"),
        "clock_hz": None if clock is None else frequency(clock, "--clock"),
        "macs": None if macs is None else grid(macs, "--macs", 3, "16x8x8"),
        "nop_bytes_per_s": None if nop is None else rate(nop, "--nop"),
        "dram_bytes_per_s": None if dram is None else rate(dram, "--dram"),
    }
    return {key: value for key, value in found.items() if value is not None}


def _package(
    preset: str,
    sides: tuple[int, int] | None,
    model: TransferModel,
    order: str,
    changes: dict[str, Any],
) -> Package:
    from scope_opt.model.presets import new_package

    return new_package(preset, sides, model.value, order, **changes)


def _sides(
    mesh: str | None, chiplets: int | None, rows: int | None, cols: int | None
) -> tuple[int, int] | None:
    """Rows and columns of the mesh that options give, None if they do not."""
    from scope_opt.model.files import InputError
    from scope_opt.model.quantities import grid
    from scope_opt.model.zoo import paper_mesh

    if mesh is not None:
        rows_cols = grid(mesh, "--mesh", 2, "6x6")
        if rows is not None or cols is not None:
            raise InputError("--mesh", ["says rows and columns; leave --rows and --cols out"])
        if chiplets is not None and chiplets != rows_cols[0] * rows_cols[1]:
            raise InputError("--mesh", [f"{mesh} is not {chiplets} chiplets"])
        return rows_cols[0], rows_cols[1]
    if chiplets is None:
        if rows is not None and cols is not None:
            return rows, cols
        return None
    return paper_mesh(chiplets, rows, cols)


def _write_instance(instance: Instance, output: Path | None, *, force: bool) -> None:
    if output is None:
        print_text(instance.to_json())
    else:
        instance.save(output, force=force)
        complain(f"{instance.name} written to {output}")
