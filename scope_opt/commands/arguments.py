"""Arguments and exit codes that commands share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

NOTHING_FOUND, BAD_INPUT, UNAVAILABLE, INTERRUPTED = 1, 2, 3, 130
"""Exit codes besides 0."""


def duration(text: str) -> float:
    """Seconds: ``90``, ``90s``, ``1m``, ``1.5h``, ``1h30m``."""
    found = _DURATION.fullmatch(text.strip())
    parts = [] if found is None else [found[unit] for unit in ("h", "m", "s")]
    if not any(parts):
        raise typer.BadParameter(f"found {text!r}; allowed: seconds, or such as 90s, 1m, 1h30m")
    hours, minutes, seconds = (float(part or 0) for part in parts)
    return 3600 * hours + 60 * minutes + seconds


_NUMBER = r"\d+(?:\.\d*)?"
_DURATION = re.compile(
    rf"(?:(?P<h>{_NUMBER})h)?\s*(?:(?P<m>{_NUMBER})m(?:in)?)?\s*(?:(?P<s>{_NUMBER})s?)?"
)

InstanceFile = Annotated[
    str,
    typer.Argument(
        metavar="INSTANCE",
        help="Instance file (.json, .json.gz, .toml), name such as resnet50-64, or - for stdin.",
    ),
]
SegmentsOption = Annotated[
    str | None,
    typer.Option(
        metavar="single|balanced|dp|N|FILE",
        help="How to cut the network: one segment, the best of all balanced cuts, the best of all "
        "cuts (dp), N segments, or those of a schedule, a result or a list of first layers. "
        "Exact solvers and anneal cut freely unless told otherwise, the others take balanced.",
    ),
]
OrderOption = Annotated[
    str | None,
    typer.Option(
        metavar="all|NAME,NAME,...",
        help="Choose the order of positions as well, in the placed model: the best of zigzag and "
        "every blocks-W (all), or of these (hilbert is one more). The schedule says which one it "
        "is for; without this option it is the instance's own.",
    ),
]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of a randomized solver.")]
Iterations = Annotated[
    int | None,
    typer.Option(min=1, help="Moves of a randomized solver; repeatable, unlike a time limit."),
]
WarmStart = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Schedule or result to begin with, where supported."),
]
TimeLimit = Annotated[
    float | None,
    typer.Option(
        metavar="TIME",
        parser=duration,
        help="Stop then, with the best schedule: 90, 1m, 2h.",
    ),
]
CpuLimit = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        min=0.0,
        help="Stop when the search has used so much processor time; on a busy machine, runs are "
        "then comparable.",
    ),
]
RelGap = Annotated[
    float,
    typer.Option(
        metavar="SHARE",
        min=0.0,
        help="Stop once (objective - bound) / objective is at most this.",
    ),
]
Threads = Annotated[
    int | None, typer.Option(min=1, help="Threads, where supported; one if absent.")
]
Encoding = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Variant of a formulation; see formulations/README.md."),
]
Similarity = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="How scope decides which clusters merge: mean (default), meeting, widest, ratio or "
        "load; see docs/model.md, section 12.1.",
    ),
]
Donor = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Which cluster gives chiplets in the paper's search: fastest (default), any, best.",
    ),
]
Ceiling = Annotated[
    int | None,
    typer.Option(
        "--ceiling-ps",
        metavar="PS",
        min=0,
        help="Leave out schedules of a larger latency, which makes the program smaller. Without, "
        "none is left out.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Every phase on stderr, in lines that stay."),
]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing output file.")]
