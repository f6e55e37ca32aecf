"""The documentation site: built strictly, complete, and readable without a network."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from documents import ROOT

import scope_opt

if TYPE_CHECKING:
    from pathlib import Path

SITE = ROOT / "site"


@pytest.fixture(scope="module")
def site() -> Path:
    """Built as ``make docs`` does; a link that leads nowhere fails."""
    command = (sys.executable, ROOT / "docs" / "build_site.py")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return SITE


def test_every_page_is_there(site: Path) -> None:
    for folder in ("docs", "instances", "formulations", "results"):
        for page in (ROOT / folder).rglob("*.md"):
            name = "index.html" if page.name == "README.md" else f"{page.stem}.html"
            made = site / page.relative_to(ROOT).with_name(name)
            assert made.is_file(), made
    for notebook in (ROOT / "docs" / "notebooks").glob("*.ipynb"):
        text = (site / "docs" / "notebooks" / f"{notebook.stem}.html").read_text("utf-8")
        assert 'class="scope-opt"' in text  # what a cell showed


def test_the_reference_has_every_public_name(site: Path) -> None:
    text = (site / "docs" / "api.html").read_text("utf-8")
    for name in scope_opt._HOME:
        assert f'id="{scope_opt._HOME[name]}.{name}"' in text


def test_nothing_is_fetched(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text("utf-8")
        sources = re.findall(r"<(?:script|img|iframe)[^>]* src=\"?([^\" >]+)", text)
        sources += re.findall(r"<link[^>]* rel=\"?stylesheet\"?[^>]* href=\"?([^\" >]+)", text)
        fetched = [source for source in sources if source.startswith(("http", "//"))]
        assert not fetched, page


def test_formulas_are_mathml(site: Path) -> None:
    text = (site / "docs" / "model.html").read_text("utf-8")
    assert text.count("<math") > 400
    prose = re.sub(r"<(pre|code|math|script).*?</\1>", "", text, flags=re.S)
    assert "$" not in prose
    assert "\\frac" not in text
    assert "merror" not in text


def test_links_that_lead_nowhere_fail(site: Path) -> None:
    assert site.is_dir()
    script = runpy.run_path(str(ROOT / "docs" / "build_site.py"))
    page = script["BUILD"] / "docs" / "tutorial.md"
    page.write_text(page.read_text("utf-8") + "\n[a](nowhere.md) [b](model.md#no-such-place)\n")
    with pytest.raises(SystemExit, match=r"(?s)nowhere\.md.*#no-such-place"):
        script["build"]()
