"""What documents say of the code is so: links lead somewhere, names exist, the house is right."""

from __future__ import annotations

import re
import runpy
from typing import TYPE_CHECKING

import pytest
from documents import ROOT

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENTS = sorted(
    path.relative_to(ROOT)
    for folder in (".", "docs", "instances", "scope_opt", "formulations", "results")
    for path in (ROOT / folder).glob("*.md" if folder == "." else "**/*.md")
)
HOUSE = runpy.run_path(str(ROOT / "docs" / "figures" / "house.py"))
SCHEDULE = runpy.run_path(str(ROOT / "docs" / "figures" / "schedule.py"))
FAMILIES = sorted(path.parent for path in (ROOT / "formulations").glob("**/README.md"))
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
NAME = re.compile(r"`((?:scope_opt|formulations)(?!\.solvers`)(?:\.\w+)+)`")
"""Names of modules and what is in them; ``scope_opt.solvers`` is a group of entry points."""
FILE = re.compile(r"`((?:scope_opt|formulations|docs|tests|results|instances)/[\w./-]+\.\w+)`")


def prose(document: Path) -> str:
    """A document without its blocks of code."""
    return re.sub(r"^```.*?^```", "", (ROOT / document).read_text(), flags=re.M | re.S)


def anchors(document: Path) -> set[str]:
    """Where links into a document can lead, as GitHub names its headings."""
    headings = re.findall(r"^#+ (.*)$", prose(document), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_lead_somewhere(document: Path) -> None:
    for target, anchor in LINK.findall(prose(document)):
        if "://" in target or target.startswith("mailto:"):
            continue
        path = (ROOT / document.parent / target) if target else ROOT / document
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), f"{target}#{anchor}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_what_is_named_exists(document: Path) -> None:
    text = prose(document)
    for name in NAME.findall(text):
        path = ROOT / name.replace(".", "/")
        homes = (path.parent.with_suffix(".py"), path.parent / "__init__.py")
        found = path.is_dir() or path.with_suffix(".py").exists()
        word = re.compile(rf"\b{path.name}\b")
        assert found or any(word.search(home.read_text()) for home in homes if home.exists()), name
    for file in FILE.findall(text):
        assert (ROOT / file).exists(), file


@pytest.mark.parametrize("family", FAMILIES, ids=lambda folder: folder.name)
def test_families_name_their_modules(family: Path) -> None:
    named = set(re.findall(r"`(\w+\.py)`", (family / "README.md").read_text()))
    here = {path.name for path in family.glob("*.py")} - {"__init__.py"}
    assert here <= named
    assert named <= here


def test_the_house_is_drawn_as_it_is() -> None:
    """If not: ``python docs/figures/house.py``."""
    assert HOUSE["PICTURE"].read_text() == HOUSE["draw"]()


@pytest.mark.parametrize("name", SCHEDULE["PICTURES"])
def test_schedules_are_drawn_as_they_are(name: str) -> None:
    """If not: ``python docs/figures/schedule.py``."""
    picture = ROOT / "docs" / "figures" / name
    assert picture.read_text("utf-8") == SCHEDULE["PICTURES"][name]()


def test_the_house_leaves_out_implied_arrows() -> None:
    imports = {"roof": {"attic", "cellar"}, "attic": {"cellar"}, "cellar": set()}
    assert HOUSE["reduced"](imports) == {"roof": {"attic"}, "attic": {"cellar"}, "cellar": set()}
    with pytest.raises(SystemExit, match="attic, cellar"):
        HOUSE["reduced"]({**imports, "cellar": {"attic"}})
