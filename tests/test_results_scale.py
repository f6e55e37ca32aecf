"""The page about large packages, from records made here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from study_records import pages_of, stated, write_study

from scope_opt.report.markdown import render
from scope_opt.report.results import scale

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Latency and bound in ps, seconds to the first schedule, to 1 % and to the proof, MiB.
CASES = {
    ("net-1024wide-256", "free"): (10**9, 10**9, 0.5, 1.0, 2.0, 100),
    ("net-1024wide-1024", "free"): (9 * 10**8, 9 * 10**8, 0.75, 8.0, 8.0, 300),
    ("net-1024wide-1024", "single"): (2 * 10**9, 18 * 10**8, 1.5, None, None, 700),
    ("net-1024wide-256-placed", "single"): (None, 5 * 10**8, None, None, None, 200),
}


@pytest.fixture(autouse=True)
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder of results with these records."""
    records = []
    for (name, label), (objective, bound, first, close, proof, memory) in CASES.items():
        points: list[dict[str, Any]] = []
        if objective is not None:
            points.append({"time_s": first, "objective_ps": objective, "bound_ps": objective // 2})
            if close is not None and close != proof:
                points.append(
                    {
                        "time_s": close,
                        "objective_ps": objective,
                        "bound_ps": objective * 995 // 1000,
                    }
                )
            end = 60.0 if proof is None else proof
            points.append({"time_s": end, "objective_ps": objective, "bound_ps": bound})
        records.append(
            stated(name, label, objective, bound, trajectory=points, peak_memory_bytes=memory << 20)
        )
    write_study(tmp_path, scale.STUDY, records)
    with pages_of(tmp_path, monkeypatch):
        yield


def test_the_page_says_what_the_records_say() -> None:
    page = render(scale.page())
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    assert [row for row in rows if row[0] in scale.LABELS.values()] == [
        ["free segments", "256", "1.000", "1.000", "0.0", "0.5", "1.0", "2.0", "100"],
        ["free segments", "1024", "0.900", "0.900", "0.0", "0.8", "8.0", "8.0", "300"],
        ["one segment", "1024", "2.000", "1.800", "10.0", "1.5", "-", "-", "700"],
    ]
    assert "First schedule: after 1.5 s at most." in page
    assert "Proved within the minute: 2 of 3; within 1 %: 2." in page
    assert "Largest memory: 700 MiB (net-1024wide on 1024, one segment)." in page
    assert "grows with the 1.00th power of the chiplets from 256 to 1024" in page  # 2 s, 8 s
    assert "Without a schedule: net-1024wide-256-placed (one segment): unknown." in page
