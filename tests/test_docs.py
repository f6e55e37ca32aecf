"""What documents say of the code is so: links lead somewhere, names exist, the house is right."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted(
    path.relative_to(ROOT)
    for folder in (".", "docs", "instances", "scope_opt", "formulations", "results")
    for path in (ROOT / folder).glob("*.md" if folder == "." else "**/*.md")
)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#([^)\s]*))?\)")
CODE = re.compile(r"`((?:scope_opt|formulations)(?:\.\w+)+)`")


def prose(document: Path) -> str:
    """A document without its blocks of code."""
    return re.sub(r"^```.*?^```", "", (ROOT / document).read_text(), flags=re.M | re.S)


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_lead_somewhere(document: Path) -> None:
    for target, _ in LINK.findall(prose(document)):
        if "://" not in target and not target.startswith("mailto:"):
            assert (ROOT / document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_named_modules_exist(document: Path) -> None:
    for name in CODE.findall(prose(document)):
        folder, _, last = name.rpartition(".")
        path = ROOT / name.replace(".", "/")
        inside = ROOT / folder.replace(".", "/")
        texts = [
            p.read_text() for p in (inside.with_suffix(".py"), inside / "__init__.py") if p.exists()
        ]
        found = path.is_dir() or path.with_suffix(".py").exists()
        assert found or any(re.search(rf"\b{last}\b", text) for text in texts), name


def test_the_house_is_drawn_as_it_is() -> None:
    """If not: ``python docs/figures/house.py``."""
    house = runpy.run_path(str(ROOT / "docs" / "figures" / "house.py"))
    assert house["PICTURE"].read_text() == house["draw"]()
