"""Run the notebooks beside this file, and keep what their cells show.

    python docs/notebooks/run.py            run all, write them with what they show
    python docs/notebooks/run.py --check    run all, fail if they show something else

Cells run one after the other in one namespace, in an empty folder. What is kept is what Jupyter
would show of the last expression and of what is printed, with figures as pictures, which an
installed Chromium makes without a network. Nothing else is needed; `--check` needs no Chromium,
and compares everything but the pictures.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PICTURE = {"format": "png", "width": 900, "scale": 1.5}
PNG = "image/png"

Json = dict[str, Any]


def run_cells(cells: list[Json]) -> list[list[Json]]:
    """What each code cell shows, in Jupyter's format; figures as themselves under ``figure``."""
    shown: list[list[Json]] = []
    names: Json = {"__name__": "__main__"}
    for number, cell in enumerate(cells):
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(tree, f"cell {number}", "exec"), names)
            value = None
            if last is not None:
                value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)
        outputs: list[Json] = []
        if printed.getvalue():
            text = printed.getvalue().splitlines(keepends=True)
            outputs.append({"name": "stdout", "output_type": "stream", "text": text})
        if value is not None:
            outputs.append(_result(value, number + 1))
        shown.append(outputs)
    return shown


def _result(value: object, count: int) -> Json:
    data: Json = {}
    if hasattr(value, "to_plotly_json"):
        data["figure"] = value
    elif hasattr(value, "_repr_html_"):
        data["text/html"] = value._repr_html_().splitlines(keepends=True)
        if hasattr(value, "to_string"):
            data["text/plain"] = value.to_string().splitlines(keepends=True)
    else:
        data["text/plain"] = repr(value).splitlines(keepends=True)
    return {
        "data": data,
        "execution_count": count,
        "metadata": {},
        "output_type": "execute_result",
    }


def code_cells(notebook: Json) -> list[Json]:
    """Cells that are run."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def read(path: Path) -> Json:
    """A notebook."""
    content: Json = json.loads(path.read_text("utf-8"))
    return content


def run(path: Path) -> list[list[Json]]:
    """Run a notebook in an empty folder."""
    back = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            return run_cells(code_cells(read(path)))
        finally:
            os.chdir(back)


def comparable(outputs: list[list[Json]]) -> list[list[Json]]:
    """Without figures and their pictures, which depend on the browser and its fonts."""

    def plain(output: Json) -> Json:
        data = output.get("data", {})
        drawn = "figure" in data or PNG in data
        return {**output, "data": {}} if drawn else output

    return [[plain(output) for output in cell] for cell in outputs]


def with_pictures(outputs: list[list[Json]]) -> list[list[Json]]:
    """With the figures as PNG, drawn by an installed Chromium."""
    from playwright.sync_api import sync_playwright
    from plotly.offline import get_plotlyjs

    browsers = ("chromium", "chromium-browser", "google-chrome")
    chromium = next(filter(None, map(shutil.which, browsers)), None)
    if chromium is None:
        sys.exit("needs an installed Chromium, for example: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        page.set_content("<div id='plot'></div>")
        page.add_script_tag(content=get_plotlyjs())
        for output in (output for cell in outputs for output in cell):
            figure = output.get("data", {}).pop("figure", None)
            if figure is None:
                continue
            size = {**PICTURE, "height": figure.layout.height}
            size["width"] = figure.layout.width or PICTURE["width"]
            url = page.evaluate(
                "async ([figure, size]) => Plotly.toImage(figure, size)",
                [json.loads(figure.to_json()), size],
            )
            data = url.partition(",")[2]
            assert base64.b64decode(data).startswith(b"\x89PNG")
            title = figure.layout.title.text
            output["data"] = {PNG: data, "text/plain": [f"Figure: {title}"]}
        browser.close()
    return outputs


def write(path: Path, outputs: list[list[Json]]) -> None:
    """Keep what was shown; equal each time."""
    notebook = read(path)
    for number, (cell, found) in enumerate(zip(code_cells(notebook), outputs, strict=True)):
        cell["execution_count"], cell["outputs"] = number + 1, found
    text = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True)
    path.write_text(text + "\n", "utf-8")


def main() -> None:
    """Run all notebooks."""
    for path in sorted(HERE.glob("*.ipynb")):
        found = run(path)
        if "--check" in sys.argv[1:]:
            kept = [cell["outputs"] for cell in code_cells(read(path))]
            if comparable(kept) != comparable(found):
                sys.exit(f"{path.name} shows something else; run this without --check")
        else:
            write(path, with_pictures(found))
        print(path.name)


if __name__ == "__main__":
    main()
