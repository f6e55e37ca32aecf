"""The page about `scope-plus` on other networks, from records made here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from study_records import pages_of, stated, write_study

from scope_opt.report.markdown import render
from scope_opt.report.results import plus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Latencies of scope, scope-plus and exact, and the bound of exact, in ps.
CASES = {
    "a-64": (130_000, 101_000, 100_000, 100_000),
    "b-64-placed": (None, 106_000, 100_000, 90_000),
    "c-64-placed": (120_000, 100_000, 110_000, 95_000),
}


@pytest.fixture(autouse=True)
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder of results with these records."""
    made = (
        stated(name, label, value, bound)
        for name, (paper, own, exact, bound) in CASES.items()
        for label, value in ((plus.PAPER, paper), (plus.PLUS, own), (plus.EXACT, exact))
    )
    write_study(tmp_path, plus.STUDY, made)
    with pages_of(tmp_path, monkeypatch):
        yield


def test_gaps_are_those_to_the_best_schedule_and_to_the_bound() -> None:
    page = render(plus.page())
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    cells = {row[0]: row[1:] for row in rows[1:] if "---" not in row[0]}
    assert list(cells) == list(CASES)
    assert cells["a-64"][2:5] == ["30.0", "1.0", "1.0"]
    assert cells["b-64-placed"][2:5] == ["-", "6.0", "17.8"]
    assert cells["c-64-placed"][2:5] == ["20.0", "0.0", "5.3"]  # better than exact, stopped
    assert "`scope-plus` 1.0 % in the median, 6.0 % at worst on 3 instances, 1 of them" in page
    assert "is met, by the best schedules known" in page
    assert "placed: gap 3.0 % in the median, 6.0 % at worst (b-64-placed)" in page
    assert "against the bounds at most 17.8 %" in page
