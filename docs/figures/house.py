"""Draw the rooms of the house and what they import, for CONTRIBUTING.md.

    python docs/figures/house.py        write house.svg beside this file

A room is a folder of one of the two packages; modules that lie beside folders are a room, too. An
arrow leads from a room to one that it imports, unless a longer way over other rooms does. All that
is said is read from the code; only the place of each room is chosen here, so that few arrows
cross, and a new room needs one.
"""

from __future__ import annotations

import ast
import re
import tomllib
from html import escape
from pathlib import Path
from textwrap import wrap

import grimp

ROOT = Path(__file__).parents[2]
PICTURE = Path(__file__).with_name("house.svg")
PACKAGES = ("scope_opt", "formulations")
NO_ROOM = {"scope_opt", "scope_opt.__main__"}
"""The public face, which loads lazily, and ``python -m scope_opt``."""
FRAMES = ("scope_opt.search", "formulations")
"""Folders drawn around the rooms in them."""

Imports = dict[str, set[str]]

PLACES = {
    "scope_opt.cli": (1.5, 13),
    "scope_opt.commands": (1.5, 12),
    "scope_opt.report.results": (3.4, 12),
    "scope_opt.notebook": (4.6, 12),
    "scope_opt.importing": (0, 10),
    "scope_opt.pareto": (1, 10),
    "scope_opt.replay": (2, 10),
    "scope_opt.validation": (3, 10),
    "scope_opt.report": (4, 11),
    "scope_opt.terminal": (1, 9),
    "scope_opt.studies": (2.5, 9),
    "scope_opt.search.anneal": (0, 6),
    "scope_opt.search.census": (1, 8),
    "scope_opt.search.exact": (0.5, 7),
    "scope_opt.search.exact.places": (1.3, 6),
    "scope_opt.search.paper": (0.5, 5),
    "scope_opt.search.plus": (0, 8),
    "scope_opt.search": (1, 4),
    "scope_opt.solving": (2.5, 3),
    "scope_opt.schedule": (2.5, 2),
    "scope_opt.cost": (2.5, 1),
    "scope_opt.model": (2.5, 0),
    "formulations.segment_milp": (6.2, 10),
    "formulations.network_milp": (6.2, 9),
    "formulations.cp_sat": (4.2, 8),
    "formulations.interval_milp": (5.2, 8),
    "formulations.compact_milp": (6.2, 8),
    "formulations.placed": (4.2, 7),
    "formulations.program": (5.2, 7),
    "formulations.family": (6.2, 7),
    "formulations.paths": (5.2, 6),
    "formulations.columns": (5.2, 5),
    "formulations": (5.7, 4),
}
"""Column, from the left, and floor, from the ground, of each room."""
LEGEND = (3.7, 2.2)

WIDTH, HEIGHT = 150, 72  # of a room
COLUMN, FLOOR = 166, 112  # from one room to the next
MARGIN = 30
LETTERS = 22  # in a line of a room
TOP = max(floor for _, floor in PLACES.values())

STYLE = """
  .paper { fill: #ffffff; }
  .frame { fill: #f2f5f8; stroke: #c9d1da; }
  .room { fill: #ffffff; stroke: #8793a0; }
  .base { fill: #e4eff8; stroke: #1b6ca8; }
  .solver { fill: #fbeae5; stroke: #c8553d; }
  .arrow { fill: none; stroke: #66727f; stroke-width: 1.4; marker-end: url(#head); }
  .head { fill: #66727f; }
  text { fill: #1d2733; font: 12px system-ui, "DejaVu Sans", sans-serif; }
  .name { font-weight: 600; font-size: 15px; }
  .note { fill: #56616d; }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117; }
    .frame { fill: #151b23; stroke: #30363d; }
    .room { fill: #1c232c; stroke: #6e7a86; }
    .base { fill: #12283a; stroke: #4f9bd0; }
    .solver { fill: #35201b; stroke: #dd7a63; }
    .arrow { stroke: #8b96a1; }
    .head { fill: #8b96a1; }
    text { fill: #e6edf3; }
    .note { fill: #a3adb8; }
  }
"""


# --- What the code says --------------------------------------------------------------------------


def read_rooms() -> tuple[dict[str, list[str]], Imports]:
    """Modules of each room, and the rooms that each imports."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    folders = {module.rpartition(".")[0] for module in graph.modules}
    home: dict[str, str] = {}
    for module in graph.modules - NO_ROOM:
        folder = module.rpartition(".")[0]
        home[module] = module if module in folders or folder in NO_ROOM else folder
    rooms: dict[str, list[str]] = {}
    for module in sorted(home):
        rooms.setdefault(home[module], []).append(module)
    imports: Imports = {room: set() for room in rooms}
    for module, room in home.items():
        if module in PACKAGES:  # a face imports what it shows when that is used
            continue
        for imported in graph.find_modules_directly_imported_by(module):
            imports[room] |= {home.get(imported, room)} - {room}
    return rooms, imports


def reduced(imports: Imports) -> Imports:
    """Without the imports that others imply."""
    far = {room: reach(room, imports) for room in imports}
    circle = sorted(room for room in imports if room in far[room])
    if circle:
        raise SystemExit(f"rooms that import each other: {', '.join(circle)}")
    return {
        room: {other for other in own if not any(other in far[third] for third in own)}
        for room, own in imports.items()
    }


def reach(room: str, imports: Imports) -> set[str]:
    """Rooms that a room imports, directly or over others."""
    found: set[str] = set()
    rest = list(imports[room])
    while rest:
        other = rest.pop()
        if other not in found:
            found.add(other)
            rest += imports[other]
    return found


def summary(room: str) -> str:
    """First words of a room's docstring."""
    path = ROOT / room.replace(".", "/")
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = ast.get_docstring(ast.parse(file.read_text())) or ""
    return re.split(r"[:;,.](?:\s|$)", text.replace("`", ""))[0]


def rooms_with_solvers() -> set[str]:
    """Rooms of registered solvers."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        entries = tomllib.load(file)["project"]["entry-points"]["scope_opt.solvers"]
    return {entry.partition(":")[0].rpartition(".")[0] for entry in entries.values()}


# --- How it looks --------------------------------------------------------------------------------


def middle(room: str) -> tuple[float, float]:
    """Where a room's middle is drawn."""
    return place(*PLACES[room])


def place(column: float, floor: float) -> tuple[float, float]:
    """Coordinates of a place."""
    return MARGIN + WIDTH / 2 + column * COLUMN, MARGIN + HEIGHT / 2 + (TOP - floor) * FLOOR


def balanced(text: str) -> list[str]:
    """Lines of about equal length, no more than needed."""
    least = len(wrap(text, LETTERS, break_on_hyphens=False))
    lines = (wrap(text, letters, break_on_hyphens=False) for letters in range(8, LETTERS + 1))
    return next(found for found in lines if len(found) <= least)


def frame(folder: str) -> list[str]:
    """A folder around its rooms."""
    inside = [middle(room) for room in PLACES if room == folder or room.startswith(f"{folder}.")]
    left, right = min(x for x, _ in inside) - WIDTH / 2, max(x for x, _ in inside) + WIDTH / 2
    top, bottom = min(y for _, y in inside) - HEIGHT / 2, max(y for _, y in inside) + HEIGHT / 2
    size = f'width="{right - left + 20:g}" height="{bottom - top + 24:g}" rx="10"'
    lines = [("name", folder.rpartition(".")[2])]
    lines += [("note", line) for line in balanced(summary(folder))]
    start = bottom - 17 * (len(lines) - 1) - 4
    text = [
        f'<text class="{style}" x="{left + 4:g}" y="{start + 17 * n:g}">{escape(line)}</text>'
        for n, (style, line) in enumerate(lines)
    ]
    return [f'<rect class="frame" x="{left - 10:g}" y="{top - 12:g}" {size}/>', *text]


def box(room: str, modules: list[str], kind: str) -> list[str]:
    """A room."""
    x, y = middle(room)
    inside = next((len(folder) for folder in FRAMES if room.startswith(f"{folder}.")), -1)
    name = room[inside + 1 :].removeprefix("scope_opt.").replace(".", "/")
    about = summary(room)
    if room in FRAMES:
        name = "*.py"
        about = ", ".join(module.rpartition(".")[2] for module in modules if module != room)
    lines = [("name", name), *(("note", line) for line in balanced(about))]
    start = y - 8.5 * (len(lines) - 1) + 5
    return [
        f'<rect class="room {kind}" x="{x - WIDTH / 2:g}" y="{y - HEIGHT / 2:g}" '
        f'width="{WIDTH}" height="{HEIGHT}" rx="7"/>',
        *(
            f'<text class="{style}" x="{x:g}" y="{start + 17 * n:g}" text-anchor="middle">'
            f"{escape(line)}</text>"
            for n, (style, line) in enumerate(lines)
        ),
    ]


def arrow(upper: str, lower: str, exits: int, exit_: int, entries: int, entry: int) -> str:
    """An arrow from below one room to above another."""
    (x0, y0), (x1, y1) = middle(upper), middle(lower)
    x0 += (exit_ - (exits - 1) / 2) * min(22, 110 / exits)
    x1 += (entry - (entries - 1) / 2) * min(22, 110 / entries)
    y0, y1 = y0 + HEIGHT / 2, y1 - HEIGHT / 2 - 2
    turn = y1 - (FLOOR - HEIGHT) + 2  # above the lowest gap; down to it the arrow is straight
    bend = 0.6 * (y1 - turn)
    return (
        f'<path class="arrow" d="M{x0:g} {y0:g} V{turn:g} C{x0:g} {turn + bend:g} '
        f'{x1:g} {y1 - bend:g} {x1:g} {y1:g}"/>'
    )


def arrows(imports: Imports) -> list[str]:
    """All arrows; those of one room leave and arrive side by side, in the order of their ends."""
    below = {room: sorted(own, key=lambda o: (middle(o), o)) for room, own in imports.items()}
    above = {
        room: sorted((o for o in imports if room in imports[o]), key=lambda o: (middle(o), o))
        for room in imports
    }
    drawn = []
    for upper in sorted(imports):
        for lower in below[upper]:
            if PLACES[upper][1] <= PLACES[lower][1]:
                raise SystemExit(f"{upper} imports {lower}, and must stand above it in PLACES")
            mine, theirs = below[upper], above[lower]
            drawn.append(
                arrow(upper, lower, len(mine), mine.index(lower), len(theirs), theirs.index(upper))
            )
    return drawn


def legend() -> list[str]:
    """What colours and arrows mean."""
    x, y = place(*LEGEND)
    x, rows = x - WIDTH / 2, []
    meanings = (
        ("base", "what problems, solutions and solving are"),
        ("solver", "has solvers, found at run time"),
        ("", "other rooms"),
    )
    for n, (kind, meaning) in enumerate(meanings):
        rows.append(
            f'<rect class="room {kind}" x="{x:g}" y="{y + 24 * n:g}" '
            'width="24" height="15" rx="3"/>'
        )
        rows.append(f'<text x="{x + 34:g}" y="{y + 24 * n + 12:g}">{meaning}</text>')
    rows.append(f'<path class="arrow" d="M{x:g} {y + 80:g} H{x + 22:g}"/>')
    rows.append(
        f'<text x="{x + 34:g}" y="{y + 84:g}">imports, and all that this room imports</text>'
    )
    return rows


def draw() -> str:
    """The picture as SVG."""
    rooms, imports = read_rooms()
    if set(rooms) != set(PLACES):
        raise SystemExit(f"rooms and PLACES differ: {', '.join(sorted(set(rooms) ^ set(PLACES)))}")
    solvers = rooms_with_solvers()
    base = reach("formulations", imports)
    width = max(x for x, _ in map(middle, PLACES)) + WIDTH / 2 + MARGIN
    height = place(0, 0)[1] + HEIGHT / 2 + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" role="img" aria-label="Rooms and their imports">',
        f"<style>{STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path class="head" d="M0 0.5 L8 4 L0 7.5 z"/>'
        "</marker></defs>",
        f'<rect class="paper" width="{width:g}" height="{height:g}" rx="10"/>',
        *(line for folder in FRAMES for line in frame(folder)),
        *arrows(reduced(imports)),
    ]
    for room in PLACES:
        kind = "base" if room in base else "solver" if room in solvers else ""
        parts += box(room, rooms[room], kind)
    return "\n".join([*parts, *legend(), "</svg>"]) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(draw())
