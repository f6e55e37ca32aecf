"""Pages that show both models, computed from the lines of the records once more."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from documents import ROOT
from study_records import pages_of, stated, write_study

from scope_opt.report.results import records as results

if TYPE_CHECKING:
    from pathlib import Path

MODELS = {"regressed": ("optima", ""), "placed": ("placed", "-placed")}


@cache
def lines(study: str) -> dict[tuple[str, str, str | None], dict[str, Any]]:
    """Results by instance, label and variant; of several seeds the first."""
    found: dict[tuple[str, str, str | None], dict[str, Any]] = {}
    text = (ROOT / "results" / study / "records.jsonl").read_text()
    for record in map(json.loads, text.splitlines()):
        if record["result"] is not None and record["seed"] in (None, 0):
            key = record["instance"]["name"], record["label"], record["variant"]
            found[key] = record["result"]
    return found


def tables(page: str, heading: str) -> list[dict[str, list[str]]]:
    """All tables under a heading of a committed page: cells of each row by its first one."""
    text = f"\n{(ROOT / 'results' / page / 'README.md').read_text()}"
    section = text.split(f"\n{heading}\n", 1)[1].split("\n#", 1)[0]
    found = []
    for block in section.split("\n\n"):
        rows = [line[2:-2].split(" | ") for line in block.splitlines() if line[:1] == "|"]
        if rows:
            cells = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}
            found.append({name: row for name, row in cells.items() if not name.startswith("---")})
    return found


def rate(result: dict[str, Any] | None) -> str:
    """Samples per second, and by how many per cent the optimum may be faster."""
    if result is None or result["objective_ps"] is None:
        return "-"
    cell = f"{64 / result['objective_ps'] * 1e12:.0f}"
    if result["status"] == "optimal" or not result["solver"].startswith("exact"):
        return cell
    return f"{cell} (+{100 * (result['objective_ps'] / result['bound_ps'] - 1):.1f})"


def gain(merged: dict[str, Any] | None, single: dict[str, Any] | None) -> str:
    """Throughput of one over the other, in the widest case if bounds leave it open."""

    def ends(result: dict[str, Any]) -> tuple[float, float]:
        slow: float = result["objective_ps"]
        return (result["bound_ps"] if result["solver"].startswith("exact") else slow), slow

    if any(result is None or result["objective_ps"] is None for result in (merged, single)):
        return "-"
    assert merged is not None
    assert single is not None
    (fast, slow), (other_fast, other_slow) = ends(merged), ends(single)
    low, high = f"{other_fast / slow:.2f}", f"{other_slow / fast:.2f}"
    return low if low == high else f"{low} to {high}"


@pytest.mark.parametrize("model", MODELS)
def test_scaling(model: str) -> None:
    study, suffix = MODELS[model]
    (shown,) = tables("scaling", f"## Samples per second, {model}")
    labels = shown.pop("chiplets")
    assert len(labels) == 6
    assert list(shown) == ["16", "32", "64", "128", "256"]
    for chiplets, cells in shown.items():
        found = [lines(study).get((f"resnet152-{chiplets}{suffix}", x, None)) for x in labels]
        assert cells == [rate(result) for result in found]


def counted(
    found: dict[Any, dict[str, Any]], network: str, model: str, label: str, choice: str
) -> dict[str, Any] | None:
    """The result of a number of segments, which is bounded by what is known of free cuts."""
    study, suffix = MODELS[model]
    name = network + suffix
    own = found.get((name, f"{label} {choice}", None))
    own = own or found.get((name, f"{label} {choice}, limited", None))
    free = lines(study).get((name, label, None))
    if own is None:
        return free if choice == "dp" else None
    if free is None or not label.startswith("exact") or own["status"] == "optimal":
        return own
    return {**own, "bound_ps": max(own["bound_ps"], free["bound_ps"])}


@pytest.mark.parametrize("network", ["resnet152-256", "resnet50-128"])
@pytest.mark.parametrize("model", MODELS)
def test_segment_counts(network: str, model: str) -> None:
    found = lines("segment-counts")
    title = "ResNet-152 on 256 chiplets" if network == "resnet152-256" else "ResNet-50 on 128"
    (shown,) = tables("segment-counts", f"## {title}, {model}")
    labels = shown.pop("segments")[:4]
    names = {"best of all balanced": "balanced", "free cuts": "dp"}
    assert list(shown) == [*map(str, range(1, 9)), *names]
    for row, cells in shown.items():
        of_row = [counted(found, network, model, label, names.get(row, row)) for label in labels]
        assert [cell.split(" at ")[0] for cell in cells[:4]] == [rate(result) for result in of_row]
        for cell, result in zip(cells, of_row, strict=False):
            if " at " in cell and result is not None:
                assert int(cell.split(" at ")[1]) == len(result["schedule"]["segments"])
        assert cells[4:] == [gain(of_row[1], of_row[0]), gain(of_row[3], of_row[2])]


@pytest.mark.parametrize("model", MODELS)
def test_case_study(model: str) -> None:
    study, suffix = MODELS[model]
    name = f"resnet152-256{suffix}"
    (balance,), (energy,) = (
        tables("case-study", f"## {what}, {model}")
        for what in ("Balance", "Energy of 64 samples, mJ")
    )
    assert list(balance)[1:] == list(energy)[1:]
    assert len(balance) == 7
    for label, cells in list(balance.items())[1:]:
        where = study if label.startswith("exact") else "segment-counts"
        result = lines(where)[name, label, None]
        assert cells[0] == f"{result['objective_ps'] / 1e9:.3f}"
        assert cells[1] == str(len(result["schedule"]["segments"]))
        assert energy[label][-1] == f"{1000 * result['energy_j']['total']:.1f}"
        assert (cells[-1] == "-") == (model == "regressed")
        assert cells[-1] == "-" or 0 < int(cells[-1]) <= 100


@pytest.mark.parametrize("study", ["sensitivity", "sensitivity-placed"])
def test_sensitivity(study: str) -> None:
    found = lines(study)
    names = sorted({name for name, _, _ in found})
    variants = {variant for _, _, variant in found}
    base = "as in the paper" if study == "sensitivity" else "as shipped"
    (worth,) = tables(study, "## What each change is worth")
    worth.pop("variant")
    assert set(worth) == variants - {base}
    for place, name in enumerate(names):
        (shown,) = tables(study, f"## {name}")
        assert set(shown) == {"variant", *variants}
        *labels, _, _, _ = shown.pop("variant")
        for variant, cells in shown.items():
            by = {label: found.get((name, label, variant)) for label in labels}
            for label, cell in zip(labels, cells, strict=False):
                result = by[label]
                samples = {"m = 16": 16, "m = 256": 256}.get(variant, 64)
                if result is None or result["objective_ps"] is None:
                    assert cell == "-"
                    continue
                assert cell.split()[0] == f"{samples / result['objective_ps'] * 1e12:.0f}"
                assert cell.endswith(f" at {len(result['schedule']['segments'])}")
                open_ = result["solver"].startswith("exact") and result["status"] != "optimal"
                assert (" (+" in cell) == open_
            pairs = (("scope", "segmented"), ("exact", "exact-segmented"), ("exact", "scope"))
            assert cells[-3:] == [gain(by[one], by[other]) for one, other in pairs]
            if variant != base:
                for step, label in enumerate(("exact", "scope")):
                    now, then = by[label], found.get((name, label, base))
                    cell = worth[variant][2 * place + step]
                    if now is None or then is None:
                        assert cell == "-"
                    else:
                        assert cell == f"{now['throughput_per_s'] / then['throughput_per_s']:.2f}"


def test_gaps_placed() -> None:
    latencies: dict[str, dict[str, int]] = {}
    for study in ("placed", "gaps", "readings"):
        for (name, label, _), result in lines(study).items():
            if name.endswith("-placed") and result["objective_ps"] is not None:
                ours = latencies.setdefault(name, {})
                ours.setdefault(label, result["objective_ps"])
                ours["best"] = min(ours.get("best", result["objective_ps"]), result["objective_ps"])
    (shown,) = tables("gaps", "## Instance by instance, placed")
    _, _, *labels = shown.pop("instance")
    assert {"segmented", "scope", "scope-plus", "exact"} <= set(labels)
    assert len(shown) == 40
    for name, (reference, kind, *cells) in shown.items():
        ours = latencies[name]
        assert reference == f"{ours['best'] / 1e9:.3f}"
        assert kind in ("opt", "opt1", "best")
        for label, cell in zip(labels, cells, strict=True):
            if label not in ours:
                assert cell in ("", "-")
            elif kind != "best":
                assert cell.rstrip("*") == f"{100 * (ours[label] / ours['best'] - 1):.2f}"


@pytest.mark.parametrize("model", MODELS)
def test_validation(model: str) -> None:
    text = (ROOT / "results" / "validation" / "validations.jsonl").read_text()
    made = {found["instance"]["name"]: found for found in map(json.loads, text.splitlines())}
    shown, *_ = tables("validation", f"### {model.capitalize()}")
    header = shown.pop("instance")
    suffix = MODELS[model][1]
    assert {f"{name}{suffix}" for name in shown} == {
        name for name in made if name.endswith("-placed") == bool(suffix)
    }
    for name, cells in shown.items():
        found = made[f"{name}{suffix}"]
        own, best = found["runs"][0]["objective_ps"], found["optimum"]["objective_ps"]
        assert cells[0] == f"{100 * (own / best - 1):.2f}"
        for what, cell in zip(header[1:], cells[1:], strict=True):
            loss = (found["losses"] or {}).get(what, 0.0 if what == "open" else None)
            assert cell == ("-" if loss is None else f"{100 * loss:.2f}")


def test_the_gain_of_optima_lies_between_what_bounds_leave_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [
        stated(name, label, objective, bound, throughput_per_s=64 / objective * 1e12)
        for name, label, objective, bound in (
            ("a", "exact", 100, 80),
            ("a", "exact-segmented", 160, 128),
            ("a", "scope", 200, 50),
            ("b", "exact", 100, 100),
            ("b", "exact-segmented", 150, 150),
        )
    ]
    write_study(tmp_path, "placed", made)
    with pages_of(tmp_path, monkeypatch):
        records = results.records_of("placed")
        assert records.gain("a", "exact", "exact-segmented") == pytest.approx((1.28, 2.0))
        assert records.gain("a", "exact", "scope") == pytest.approx((2.0, 2.5))
        assert records.gain("b", "exact", "exact-segmented") == pytest.approx((1.5, 1.5))
        assert records.gain("b", "exact", "scope") is None
        assert results.span((1.28, 2.0)) == "1.28 to 2.00"
        assert results.span((1.501, 1.499)) == "1.50"
        assert results.span(None) == "-"
        assert records.rate_cell("a", "exact").endswith(" (+25.0)")
        assert "(" not in records.rate_cell("b", "exact")
        assert "(" not in records.rate_cell("a", "scope")
