"""Build the documentation site: ``make docs``, or ``python docs/build_site.py``.

Pages stay where they are in the repository. They are copied, with what they link to, into
``build/docs`` in the same places, so that links lead where they do in a clone; then MkDocs makes
``site`` of them and fails where one leads nowhere. Nothing is fetched: fonts are the reader's,
formulas are MathML. Added to the pages are

- the notebooks, as they were kept;
- a reference of what ``dir(scope_opt)`` lists, from the docstrings;
- a gallery: a report of best known schedules, as ``scope-opt report`` writes it.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import scope_opt

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "docs"
SITE = ROOT / "site"
PAGES = ("*.md", "docs/*.md", "instances/**/*.md", "formulations/**/*.md", "results/**/*.md")
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")
CODE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```|`[^`\n]+`", re.M | re.S)
MATH = re.compile(r"\$\$(.+?)\$\$|\$([^$\n]+(?:\n(?!\n)[^$\n]+)*)\$", re.S)
GALLERY = ("resnet50-64", "vgg16-64", "alexnet-16")
TOPICS = {
    "Solve": ("load", "solve", "progress", "Result", "SolveOptions", "InputError"),
    "Instances": ("Instance", "Network", "Package", "new_package", "combine"),
    "Networks from elsewhere": ("import_onnx", "transformer"),
    "Schedules": ("Schedule", "make_segment", "InstanceReference", "evaluate", "Evaluation"),
    "Solvers of your own": ("Solver", "Monitor", "LatencyTables"),
}
"""Of the reference; every public name has a place."""

Json = dict[str, Any]


def main() -> None:
    """Copy, add, build."""
    shutil.rmtree(BUILD, ignore_errors=True)
    for page in sorted({path for pattern in PAGES for path in ROOT.glob(pattern)}):
        add_page(page)
    for notebook in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        add_notebook(notebook)
    write("docs/api.md", reference())
    copy(ROOT / "docs" / "site.css")
    add_gallery()
    build()
    print(SITE / "index.html")


def build() -> None:
    """Have MkDocs make the site; ends the program where a link leads nowhere."""
    # Not with --quiet: warnings that are not shown are not counted, either.
    command = (sys.executable, "-m", "mkdocs", "build", "--strict")
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}the site was not built")


def write(name: str, text: str) -> None:
    """A page of the site."""
    target = BUILD / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, "utf-8")


def add_page(page: Path) -> None:
    """Copy a page, with formulas as MathML, and the files that it links to."""
    text = page.read_text("utf-8")
    for target, _ in LINK.findall(outside_code(text)):
        linked = (page.parent / target).resolve()
        if "://" not in target and linked.is_file() and linked.suffix != ".md":
            copy(linked)
    write(page.relative_to(ROOT).as_posix(), with_mathml(without_folders(page, text)))


def copy(file: Path) -> None:
    """A file that pages link to."""
    target = BUILD / file.relative_to(ROOT)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, target)


def without_folders(page: Path, text: str) -> str:
    """Links to folders lead to their page, if they have one, and are text otherwise."""

    def replaced(link: re.Match[str]) -> str:
        label, target = link.groups()
        folder = page.parent / target
        if "://" in target or not folder.is_dir():
            return link[0]
        if (folder / "README.md").is_file():
            return f"[{label}]({target.rstrip('/')}/README.md)"
        return label

    return re.sub(r"\[([^\]]*)\]\(([^)#\s]+)\)", replaced, text)


def outside_code(text: str) -> str:
    """The text without code, which shows dollars and brackets as they are."""
    return CODE.sub("", text)


def with_mathml(text: str) -> str:
    """Formulas between dollars or in fences, as GitHub reads them, as MathML."""

    def formula(match: re.Match[str]) -> str:
        block, inline = match.groups()
        if block is not None:
            return f"\n\n{mathml(block, 'block')}\n\n"
        return f"<span>{mathml(inline)}</span>"  # a line that begins with it is no block

    parts, end = [], 0
    for code in CODE.finditer(text):
        parts.append(MATH.sub(formula, text[end : code.start()]))
        parts.append(code[1] + mathml(code[3], "block") if code[2] == "math" else code[0])
        end = code.end()
    return "".join([*parts, MATH.sub(formula, text[end:])])


def mathml(formula: str, display: str = "inline") -> str:
    """A formula of LaTeX as MathML, on one line."""
    from latex2mathml.converter import convert

    return re.sub(r"\s*\n\s*", " ", convert(formula.strip(), display=display))


def add_notebook(notebook: Path) -> None:
    """A notebook as a page, with what its cells showed."""
    content: Json = json.loads(notebook.read_text("utf-8"))
    parts, pictures = [], 0
    for cell in content["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data: Json = output.get("data", {})
            if "image/png" in data:
                picture = notebook.with_suffix(f".{pictures}.png").relative_to(ROOT)
                pictures += 1
                (BUILD / picture).parent.mkdir(parents=True, exist_ok=True)
                (BUILD / picture).write_bytes(base64.b64decode(data["image/png"]))
                parts.append(f"![{''.join(data['text/plain'])}]({picture.name})")
            elif "text/html" in data:
                lines = "".join(data["text/html"]).splitlines()
                html = "\n".join(line for line in lines if line.strip())
                parts.append(f'<div class="shown">{html}</div>')
            else:
                text = "".join(output.get("text", data.get("text/plain", "")))
                parts.append(f"```text\n{text.rstrip()}\n```")
    write(notebook.with_suffix(".md").relative_to(ROOT).as_posix(), "\n\n".join(parts) + "\n")


def reference() -> str:
    """The page of everything that is public, from the docstrings."""
    placed = [name for names in TOPICS.values() for name in names]
    public = {name for name in dir(scope_opt) if not name.startswith("_")}
    if sorted(placed) != sorted(public):
        raise SystemExit(f"TOPICS and the public names differ: {set(placed) ^ public}")
    parts = [
        "# Python reference",
        "Everything that `from scope_opt import ...` gives; modules below it may move.",
    ]
    for topic, names in TOPICS.items():
        parts.append(f"## {topic}")
        parts += [f"::: {scope_opt._HOME[name]}.{name}" for name in names]
    return "\n\n".join(parts) + "\n"


def add_gallery() -> None:
    """A report of best known schedules, and the page that leads to it."""
    from scope_opt.model.shipped import shipped_folder
    from scope_opt.report.cases import make_case
    from scope_opt.report.schedule_page import comparison_page, schedule_page
    from scope_opt.report.site import write_report
    from scope_opt.schedule.schedule import Schedule

    cases = []
    for name in GALLERY:
        schedule = Schedule.load(shipped_folder() / "best_known" / f"{name}.json")
        cases.append(make_case(name, name, scope_opt.load(name), schedule))
    files = [f"{name}.html" for name in GALLERY]
    title = "Best known schedules"
    pages = [comparison_page(cases, files, title)]
    trail = (("All schedules", "index.html"),)
    pages += [schedule_page(case, file, trail) for case, file in zip(cases, files, strict=True)]
    write_report(BUILD / "docs" / "gallery", pages, force=True)
    (BUILD / "docs" / "gallery" / "scope-report.json").unlink()
    rows = "\n".join(
        f"- [{case.instance.description}](gallery/{file})"
        for case, file in zip(cases, files, strict=True)
    )
    copy(ROOT / "docs" / "figures" / "report.png")
    write(
        "docs/gallery.md",
        f"""# Gallery

Reports as `scope-opt report` writes them ([how to read them](reports.md)), of schedules that come with the project and are proved
to be optimal. Figures zoom, show numbers under the pointer, and give their data as a table or a file.

[![One segment of ResNet-50: pipeline, regions on the mesh, loads, times](figures/report.png)](gallery/{files[0]})

{rows}
- [side by side](gallery/index.html)
""",
    )


if __name__ == "__main__":
    main()
