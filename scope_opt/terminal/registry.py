"""The registry of best known schedules as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scope_opt.model import units
from scope_opt.solving.registry import JUDGE
from scope_opt.solving.result import relative_gap
from scope_opt.terminal.show import Columns

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console, RenderableType

    from scope_opt.solving.registry import Entry


def registry_view(
    console: Console, entries: Iterable[Entry], unknown: Iterable[str]
) -> RenderableType:
    """What is known of each instance, and how hard it is; then those without an entry."""
    table = Columns(
        (
            ("instance", "left", 0),
            ("difficulty", "left", 0),
            ("latency", "right", 0),
            ("gap", "right", 0),
            (f"{JUDGE} proves in", "right", 1),
            ("proved by", "left", 2),
            ("submitted by", "left", 3),
        )
    )
    for entry in entries:
        sources = (entry.schedule_source, entry.bound_source)
        table.add(
            units.plain(entry.instance.name),
            entry.difficulty,
            units.seconds(entry.objective_ps / 10**12),
            units.percent(relative_gap(entry.objective_ps, entry.bound_ps)),
            units.seconds(entry.proved_in_s.get(JUDGE)),
            units.plain(", ".join(entry.proved_by)) or units.ABSENT,
            units.plain(", ".join(dict.fromkeys(filter(None, sources)))) or units.ABSENT,
        )
    for name in unknown:
        table.add(units.plain(name), "open", *[units.ABSENT] * 5)
    return table.fit(console)
