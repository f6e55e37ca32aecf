"""Run studies and write their pages.

    python results/run.py optima scaling     run what is missing of each, then write its page
    python results/run.py optima --page      only write the page, from the records
    python results/run.py                    every study, in an order in which all they need exists

A folder with ``study.toml`` is run by ``scope-opt study``, which resumes by itself; arguments after
``--`` go to it (``-- --jobs 1``). Its ``page.py`` then writes README.md and the figures from the
records, its own or those of another study. Solves that are no jobs of a study it runs itself.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

from scope_opt.model.files import write_text

HERE = Path(__file__).parent
STUDIES = (
    *("optima", "scaling", "segment-counts", "case-study", "alexnet-space", "sensitivity"),
    *("validation", "reach", "gaps"),
)


def main() -> None:
    """Run the studies named on the command line."""
    arguments, passed_on = sys.argv[1:], []
    if "--" in arguments:
        at = arguments.index("--")
        arguments, passed_on = arguments[:at], arguments[at + 1 :]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="STUDY", help=", ".join(STUDIES))
    parser.add_argument("--page", action="store_true", help="only write the pages")
    asked = parser.parse_args(arguments)
    unknown = sorted(set(asked.names) - set(STUDIES))
    if unknown:
        parser.error(f"no study {', '.join(unknown)}; there are {', '.join(STUDIES)}")
    for name in asked.names or STUDIES:
        study = HERE / name / "study.toml"
        if study.exists() and not asked.page:
            command = [sys.executable, "-m", "scope_opt", "study", str(study), *passed_on]
            done = subprocess.run(command, check=False)
            if done.returncode != 0:
                sys.exit(done.returncode)
        write_page(name)
    overview = importlib.import_module("overview")
    write_text(HERE / "README.md", "\n".join(overview.page()) + "\n", force=True)


def write_page(name: str) -> None:
    """Write a study's README.md and figures from records."""
    path = HERE / name / "page.py"
    spec = importlib.util.spec_from_file_location(f"page_{name.replace('-', '_')}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    write_text(HERE / name / "README.md", "\n".join(module.page()) + "\n", force=True)
    print(f"{path.parent.name}/README.md written", file=sys.stderr)


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))  # for pages, which share `pages`
    main()
