"""Halves of an instance as files of their own, a network and a package, and what joins them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from scope_opt.model.files import Document, InputError, explain
from scope_opt.model.instance import Instance
from scope_opt.model.network import Network
from scope_opt.model.package import Package

if TYPE_CHECKING:
    from collections.abc import Mapping


class NetworkFile(Document):
    """A network without a package, as ``scope-opt import`` writes it."""

    format: Literal["scope-network/1"] = "scope-network/1"
    network: Network


class PackageFile(Document):
    """A package without a network, as ``scope-opt package new`` writes it."""

    format: Literal["scope-package/1"] = "scope-package/1"
    package: Package


def combine(
    network: Network,
    package: Package,
    on: str,
    samples: int = 64,
    overflow: Literal["forbid", "stream"] = "forbid",
    name: str | None = None,
) -> Instance:
    """An instance: a network on a package.

    Parameters
    ----------
    network, package
        The two.
    on : str
        What to call the package in the instance's name, ``resnet18-on-simba-6x6``.
    samples : int
        Samples per batch.
    overflow : {"forbid", "stream"}
        Whether weights that do not fit are forbidden or fetched again for every sample.
    name : str, optional
        Another name.

    Raises
    ------
    InputError
        If the two or the numbers do not fit together.
    """
    differing: Mapping[str, bool] = {
        f"-{samples}samples": samples != 64,
        "-stream": overflow == "stream",
    }
    usual = f"{network.name}-on-{on}" + "".join(
        part for part, wanted in differing.items() if wanted
    )
    mesh = f"{package.mesh_rows} x {package.mesh_cols}"
    try:
        return Instance(
            name=usual if name is None else name,
            description=f"{network.name} on {package.chiplets} chiplets ({mesh}), {on}",
            samples=samples,
            overflow=overflow,
            network=network,
            package=package,
        )
    except ValidationError as error:
        raise InputError("instance", *explain(Instance, error)) from None
