"""Write the pages of ``results`` from the records there; nothing is solved.

python -m scope_opt.report.results             all of them, and the registry of best schedules
python -m scope_opt.report.results reach gaps  some
"""

from __future__ import annotations

import argparse
import sys

from scope_opt.report.markdown import write_article
from scope_opt.report.results import best_known
from scope_opt.report.results.pages import PAGES, folder
from scope_opt.report.results.records import RESULTS


def main() -> None:
    """Write the pages named on the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m scope_opt.report.results", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("names", nargs="*", metavar="PAGE", help=", ".join(PAGES))
    names = parser.parse_args().names
    unknown = sorted(set(names) - set(PAGES))
    if unknown:
        parser.error(f"no page {', '.join(unknown)}; there are {', '.join(PAGES)}")
    if not RESULTS.is_dir():
        parser.error(f"no folder {RESULTS}: the records are in the project's repository")
    for name in names or PAGES:
        write_article(PAGES[name](), folder(name))
        print(f"{folder(name) / 'README.md'}", file=sys.stderr)
    if not names:
        best_known.write(
            best_known.known() | best_known.known_placed() | best_known.known_transformers()
        )


if __name__ == "__main__":
    main()
