"""Instances by name: a built-in network on the paper's package of a given size."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from scope_opt.model.files import InputError, closest, explain
from scope_opt.model.further import FURTHER
from scope_opt.model.instance import Instance
from scope_opt.model.package import Package
from scope_opt.model.transformers import TRANSFORMERS, transformer, transformer_named
from scope_opt.model.zoo import NETWORKS, build_network, paper_package

if TYPE_CHECKING:
    from scope_opt.model.network import Network

TITLES = {
    "alexnet": "AlexNet",
    "vgg16": "VGG-16",
    "darknet19": "DarkNet-19",
    "resnet18": "ResNet-18",
    "resnet34": "ResNet-34",
    "resnet50": "ResNet-50",
    "resnet101": "ResNet-101",
    "resnet152": "ResNet-152",
}
"""The paper's networks as the literature writes them."""
FURTHER_TITLES = {"mobilenetv2": "MobileNetV2", "densenet121": "DenseNet-121", "yolov3": "YOLOv3"}
"""Likewise those of `scope_opt.model.further`."""

_NAME = re.compile(
    r"(?P<network>[a-z]+\d*|[a-z0-9-]+tokens(-\d{1,7}cached)?)-(?P<chiplets>\d{1,4})(-(?P<rows>\d{1,4})x(?P<cols>\d{1,4}))?"
    r"(-(?P<samples>\d{1,9})samples)?(?P<stream>-stream)?"
    r"(?P<placed>-placed(-(?P<order>blocks-\d{1,4}|hilbert))?)?"
)


def network_named(name: str) -> Network:
    """A built-in network: ``resnet50``, ``mobilenetv2``, ``bert-large-128tokens``.

    Raises
    ------
    InputError
        For an unknown name, with the allowed names and the closest of them.
    """
    if name in NETWORKS:
        return build_network(name)
    if name in FURTHER:
        return FURTHER[name]()
    if name in TRANSFORMERS:
        return transformer(name)
    found = transformer_named(name)
    if found is None:
        plain = name.lower().replace("_", "-")
        known = closest(plain, [*NETWORKS, *FURTHER, *TRANSFORMERS])
        raise InputError("network", [f"{name!r} is not a built-in network; {known}"])
    return found


def paper_instance(
    network: str | Network,
    chiplets: int,
    samples: int = 64,
    overflow: Literal["forbid", "stream"] = "forbid",
    rows: int | None = None,
    cols: int | None = None,
    nop: Literal["regressed", "placed"] = "regressed",
    order: str = "zigzag",
) -> Instance:
    """A network on the paper's package.

    The name says everything that differs from the paper's set-up: ``resnet50-64``,
    ``resnet50-64-4x16-128samples-stream``, ``resnet50-64-placed-blocks-4``.

    Parameters
    ----------
    network : str or Network
        A built-in network, see `network_named`, or another one.
    chiplets : int
        Number of chiplets; the paper studies `scope_opt.model.zoo.PAPER_CHIPLETS`.
    samples : int
        Samples per batch, 1 to 10^9.
    overflow : {"forbid", "stream"}
        Whether weights that do not fit are forbidden or fetched again for every sample.
    rows, cols : int, optional
        Mesh; by default the most nearly square one.
    nop : {"regressed", "placed"}
        Whether transfers are priced by the sizes of regions alone, as in the paper, or by where
        these lie and the links they share.
    order : str
        ``zigzag`` or, in the placed model, ``blocks-W`` or ``hilbert``.

    Raises
    ------
    InputError
        If a value is out of range or unknown.
    """
    if not 1 <= samples <= 10**9:
        raise InputError("samples", [f"{samples} is out of range; allowed 1 to 10^9"])
    built = network_named(network) if isinstance(network, str) else network
    if nop == "regressed" and order != "zigzag":
        problem = f"found {order!r}; regions have places in the model 'placed' only"
        raise InputError("order", [problem])
    package = _checked_package(chiplets, rows, cols, nop, order)
    if nop == "regressed" and built.skip_edges():
        # The fit shares a transfer's time between its ends arbitrarily; both together are right.
        priced = package.nop.model_copy(update={"skip": "both"})
        package = package.model_copy(update={"nop": priced})
    name = f"{built.name}-{chiplets}"
    titles = {**TITLES, **FURTHER_TITLES}
    description = f"{titles.get(built.name, built.name)} on {chiplets} chiplets"
    if _mesh(package) != _mesh(paper_package(chiplets)):
        name += f"-{package.mesh_rows}x{package.mesh_cols}"
    description += f" ({package.mesh_rows} x {package.mesh_cols})"
    if samples != 64:
        name += f"-{samples}samples"
        description += f", {samples} samples"
    if overflow == "stream":
        name += "-stream"
        description += ", weights that do not fit are fetched for every sample"
    if nop == "placed":
        name += "-placed" if order == "zigzag" else f"-placed-{order}"
        description += ", transfers where regions lie"
        description += "" if order == "zigzag" else f", order {order}"
    return Instance(
        name=name,
        description=description,
        samples=samples,
        overflow=overflow,
        network=built,
        package=package,
    )


def _checked_package(
    chiplets: int,
    rows: int | None,
    cols: int | None,
    nop: Literal["regressed", "placed"],
    order: str,
) -> Package:
    try:
        return paper_package(chiplets, rows, cols, nop, order)
    except ValidationError as error:
        raise InputError("order", *explain(Package, error)) from None


def instance_named(name: str) -> Instance | None:
    """The instance of that name, as `paper_instance` gives it; None if there is none."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    network = transformer_named(found["network"])
    if network is None and found["network"] not in (*NETWORKS, *FURTHER):
        return None
    try:
        instance = paper_instance(
            network or found["network"],
            int(found["chiplets"]),
            int(found["samples"] or 64),
            "stream" if found["stream"] else "forbid",
            int(found["rows"]) if found["rows"] else None,
            int(found["cols"]) if found["cols"] else None,
            "placed" if found["placed"] else "regressed",
            found["order"] or "zigzag",
        )
    except InputError:
        return None
    return instance if instance.name == name else None


def _mesh(package: Package) -> tuple[int, int]:
    return package.mesh_rows, package.mesh_cols
