"""The multi-chip module: chiplets on a mesh, their network, and their DRAM."""

from __future__ import annotations

import json
import re
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from scope_opt.model.files import Document, InputError, inconsistent, optional
from scope_opt.model.network import Count, Index

MAX_CHIPLETS = 4096
"""Largest package accepted: tables grow with layers x chiplets."""

LEAST, MOST = 1e-30, 1e30
"""Between which physical quantities lie, so that quotients and products of a few are floats."""

Positive = Annotated[float, Field(ge=LEAST, le=MOST)]
NonNegative = Annotated[float, Field(ge=0, le=MOST)]
Share = Annotated[float, Field(ge=LEAST, le=1)]
MeshSide = Annotated[int, Field(ge=1, le=MAX_CHIPLETS)]


class Chiplet(Document):
    """Compute and buffers of one chiplet: ``pes`` x ``lanes_per_pe`` x ``macs_per_lane`` MACs."""

    pes: Annotated[int, Field(ge=1, le=2**20)]
    lanes_per_pe: Annotated[int, Field(ge=1, le=2**20)]
    macs_per_lane: Annotated[int, Field(ge=1, le=2**20)]
    frequency_hz: Positive
    weight_buffer_bytes: Count
    global_buffer_bytes: Count

    @property
    def macs_per_cycle(self) -> int:
        """MAC units of the chiplet."""
        return self.pes * self.lanes_per_pe * self.macs_per_lane


class Nop(Document):
    """Network on package: bandwidth per chiplet over all its ports, per direction.

    ``model`` says what transfers are priced by: the sizes of regions (``regressed``), or where
    regions really lie (``placed``). ``eta_within`` and ``eta_between`` are the measured ratio of
    simulated time to the time that the most loaded link alone would need, within a region and
    between two regions, of a single transfer; ``eta_link`` is that ratio for what a link sustains
    beat after beat. ``skip``: who pays for a skip edge between clusters in the regressed model,
    the ``sender`` alone or ``both`` ends. ``gather``, in the placed model: shares are handed on
    from position to position (``relay``), or every chiplet sends to every other (``unicast``).
    ``shared_links``: whether a beat lasts at least as long as its busiest link is loaded.
    """

    model: Literal["regressed", "placed"] = optional("regressed")

    bandwidth_bytes_per_s: Positive
    ports: Annotated[int, Field(ge=1, le=1024)]
    energy_pj_per_bit: NonNegative
    eta_within: Positive
    eta_between: Positive
    eta_link: Positive = optional(1.15)
    skip: Literal["sender", "both"] = optional("sender")
    gather: Literal["relay", "unicast"] = optional("relay")
    shared_links: bool = optional(True)

    @property
    def port_bytes_per_s(self) -> float:
        """Bandwidth of one directed mesh link."""
        return self.bandwidth_bytes_per_s / self.ports


class Streams(Document):
    """What several transfers at once do to the DRAM's latency and efficiency.

    ``n`` streams of which a share ``w`` of the bytes is written take ``latency_s +
    latency_per_stream_s (n-1) + latency_mixed_s 4 w (1-w)`` and then reach the efficiency
    ``(read + (write-read) w) / (1 + (slope + (slope_write-slope) w) (n-1))``. More than ``most``
    streams count as ``most``.
    """

    latency_s: NonNegative
    latency_per_stream_s: NonNegative
    latency_mixed_s: NonNegative
    read: Share
    write: Share
    slope: NonNegative
    slope_write: NonNegative
    most: Annotated[int, Field(ge=1, le=2**20)]


class Dram(Document):
    """Main memory shared by the package.

    ``latency_s`` and ``efficiency`` hold for every transfer, unless ``streams`` says more.
    """

    bandwidth_bytes_per_s: Positive
    latency_s: NonNegative
    efficiency: Share
    energy_pj_per_bit: NonNegative
    streams: Streams | None = None


_Place = Annotated[tuple[Index, ...], Field(min_length=2, max_length=2)]
Order = Annotated[
    Annotated[str, Tag("(name)")] | Annotated[tuple[_Place, ...], Tag("(list)")],
    Discriminator(lambda value: "(list)" if isinstance(value, list | tuple) else "(name)"),
]
"""``zigzag``, ``blocks-W``, ``hilbert``, or the ``[row, column]`` of every position."""
_BLOCKS = re.compile(r"blocks-(\d{1,6})")


def order_name(order: Order) -> str:
    """An order as people read it."""
    return order if isinstance(order, str) else "a list of places"


def usual_eta_link(order: Order) -> float:
    """`Nop.eta_link` as measured: in blocks links carry less, beat after beat.

    Other orders were not measured; they are taken to be like blocks.
    """
    return 1.15 if order == "zigzag" else 1.2


class Package(Document):
    """Chiplets on a ``mesh_rows`` x ``mesh_cols`` mesh.

    A region is a run of consecutive positions; ``order`` says how positions run through the mesh.
    ``activation_buffer_bytes`` limits what a chiplet holds of activations, if given;
    ``activation_policy`` says how much of its input an ISP layer holds: a window (``stream``) or
    the ``whole``.
    """

    mesh_rows: MeshSide
    mesh_cols: MeshSide
    chiplet: Chiplet
    nop: Nop
    dram: Dram
    order: Order = optional("zigzag")
    pe_split: Literal["any", "channels"] = "any"
    mac_energy_pj: NonNegative
    sram_energy_pj_per_byte: NonNegative
    activation_buffer_bytes: Count | None = None
    activation_policy: Literal["stream", "whole"] = optional("stream")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        found = []
        if self.chiplets > MAX_CHIPLETS:
            message = (
                f"{self.mesh_rows} x {self.mesh_cols} chiplets; allowed at most {MAX_CHIPLETS}"
            )
            found.append(("mesh_rows", message))
        if self.chiplet.pes & (self.chiplet.pes - 1):
            message = (
                f"{self.chiplet.pes} is not a power of two; state such a number as lanes and MACs "
                "of a lane, 12 x 14 PEs as pes 1, lanes_per_pe 14, macs_per_lane 12"
            )
            found.append(("chiplet.pes", message))
        found += self._order_problems()
        inconsistent(found)
        return self

    def _order_problems(self) -> list[tuple[str, str]]:
        order = self.order
        if isinstance(order, str):
            width = self.block_width
            if order in ("zigzag", "hilbert") or (width and self.mesh_cols % width == 0):
                return []
            divisors = [w for w in range(1, self.mesh_cols + 1) if self.mesh_cols % w == 0]
            names = ", ".join(f"blocks-{w}" for w in divisors[:12])
            allowed = f"zigzag, {names}, hilbert or a list of [row, column]"
            return [("order", f"found {order!r}; allowed {allowed}")]
        if len(order) != self.chiplets:
            return [
                ("order", f"{len(order)} positions; needs one for each of {self.chiplets} chiplets")
            ]
        found: list[tuple[str, str]] = []
        seen: dict[tuple[int, ...], int] = {}
        for index, (row, col) in enumerate(order):
            if row >= self.mesh_rows or col >= self.mesh_cols:
                message = f"[{row}, {col}] is outside the {self.mesh_rows} x {self.mesh_cols} mesh"
                found.append((f"order.{index}", message))
            first = seen.setdefault((row, col), index)
            if first != index:
                found.append((f"order.{index}", f"[{row}, {col}] is position {first} already"))
        return found

    def in_order(self, order: Order) -> Package:
        """The package with positions in another order, and the `eta_link` that goes with it.

        An `eta_link` other than the usual one of the present order stays as it is.

        Raises
        ------
        InputError
            If the mesh has no such order.
        """
        content = json.loads(self.to_json())
        content["order"] = order
        if self.nop.eta_link == usual_eta_link(self.order):
            content["nop"]["eta_link"] = usual_eta_link(order)
        try:
            return Package.from_json(json.dumps(content), "order")
        except InputError as error:
            problems = [problem.removeprefix("order: ") for problem in error.problems]
            raise InputError("order", problems) from None

    @property
    def named_orders(self) -> tuple[str, ...]:
        """Orders that go on as they began, and differ; ``blocks-W`` is ZigZag if it is one stripe.

        ``hilbert`` has a name too, but never repeats, which solvers that prove pay for.
        """
        widths = [w for w in range(1, self.mesh_cols) if self.mesh_cols % w == 0]
        return ("zigzag", *(f"blocks-{width}" for width in widths))

    @property
    def block_width(self) -> int | None:
        """Columns of a stripe of the order ``blocks-W``; None for other orders."""
        named = isinstance(self.order, str) and _BLOCKS.fullmatch(self.order)
        return int(named[1]) if named else None

    @property
    def chiplets(self) -> int:
        """Number of chiplets."""
        return self.mesh_rows * self.mesh_cols
