"""Take the picture of a report for the README: one segment of the optimum of ResNet-50.

    python docs/figures/report.py        write report.png beside this file

Solves the instance, writes its report into a temporary folder, and has an installed Chromium
take the picture, without a network.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

PICTURE = Path(__file__).with_name("report.png")
INSTANCE = Path(__file__).parents[2] / "instances" / "paper" / "resnet50-64.json"
SCOPE_OPT = (sys.executable, "-m", "scope_opt")
SEGMENT = "details.segment >> nth=0 >> .figures"
HIDDEN = ".tools, figure details { display: none !important; }"
"""Buttons and closed tables, which take room and say nothing in a picture."""


def main() -> None:
    """Solve, report, photograph."""
    browsers = ("chromium", "chromium-browser", "google-chrome")
    chromium = next(filter(None, map(shutil.which, browsers)), None)
    if chromium is None:
        sys.exit("needs an installed Chromium, for example: apt-get install chromium")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result = folder / "result.json"
        with result.open("w") as output:
            subprocess.run((*SCOPE_OPT, "solve", INSTANCE, "--json"), stdout=output, check=True)
        subprocess.run((*SCOPE_OPT, "report", result, "-o", folder / "report"), check=True)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=chromium, args=["--headless", "--no-sandbox", "--disable-gpu"]
            )
            page = browser.new_page(viewport={"width": 1200, "height": 1400})
            page.goto((folder / "report" / "index.html").as_uri())
            page.add_style_tag(content=HIDDEN)
            figures = page.locator(SEGMENT)
            figures.scroll_into_view_if_needed()
            for plot in figures.locator(".plot").all():
                plot.locator(".main-svg").first.wait_for()
            figures.screenshot(path=PICTURE, animations="disabled")
            browser.close()
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
