"""Where the two models rank the schemes of the paper's search differently, and what turns them."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

from scope_opt.report.markdown import fixed
from scope_opt.report.results.as_placed import schedules_as_placed
from scope_opt.report.results.records import records_of

if TYPE_CHECKING:
    from collections.abc import Mapping

STEPS = ("regressed", "places", "links", "search")
"""One scheme after the other: its schedule of the regressed model by that model's prices, where its
regions lie, with shared links; and the schedule that the search finds in the placed model."""


class Turn(NamedTuple):
    """Two schemes that the models rank differently."""

    ahead: str
    """Faster in the regressed model."""
    behind: str
    over: tuple[float, ...]
    """Latency of ``behind`` over that of ``ahead`` at each of `STEPS`: above 1, then below."""

    @property
    def by(self) -> str:
        """The step from which on ``behind`` is the faster one."""
        last = max(step for step, value in enumerate(self.over) if value >= 1)
        return STEPS[last + 1]


def rankings(name: str, placed: Mapping[str, int]) -> tuple[list[str], list[str]]:
    """Schemes from the fastest, in the regressed model and by their latencies in the placed one."""
    there = records_of("optima")
    claimed = {label: there.objective(name, label) for label in placed}
    both = {label: value for label, value in claimed.items() if value is not None}
    return sorted(both, key=both.__getitem__), sorted(both, key=placed.__getitem__)


def turns(name: str, placed: Mapping[str, int]) -> list[Turn]:
    """All pairs of schemes that change places."""
    regressed, now = rankings(name, placed)
    schedules = schedules_as_placed(name)
    latencies = {}
    for label in regressed:
        if label in schedules:
            own = schedules[label]
            latencies[label] = own.claimed_ps, own.apart_ps, own.shared_ps, placed[label]
    found = []
    for ahead, behind in combinations(regressed, 2):
        if now.index(behind) < now.index(ahead) and ahead in latencies and behind in latencies:
            pairs = zip(latencies[behind], latencies[ahead], strict=True)
            over = tuple(slow / fast for slow, fast in pairs)
            if over[0] >= 1 > over[-1]:  # else they are equally fast in one of the models
                found.append(Turn(ahead, behind, over))
    return found


def turn_rows(name: str, placed: Mapping[str, int]) -> list[list[str]]:
    """Rows of a table of them."""
    return [
        [name, turn.ahead, turn.behind, *map(fixed, turn.over), turn.by]
        for turn in turns(name, placed)
    ]


def causes(cases: Mapping[str, Mapping[str, int]]) -> str:
    """How many pairs each step turns, as a sentence."""
    every = [turn.by for name, placed in cases.items() for turn in turns(name, placed)]
    meaning = {
        "places": "what transfers cost where the same regions lie",
        "links": "that transfers share links",
        "search": "the search with places, which finds other schedules",
    }
    counted = [f"{text} {every.count(step)}" for step, text in meaning.items()]
    return f"What turns the {len(every)} pairs of schemes that change places: {', '.join(counted)}."
