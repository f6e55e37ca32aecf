"""Arguments and exit codes that commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

NOTHING_FOUND, BAD_INPUT, UNAVAILABLE, INTERRUPTED = 1, 2, 3, 130
"""Exit codes besides 0."""

InstanceFile = Annotated[
    str, typer.Argument(metavar="INSTANCE", help="Instance file (.json, .json.gz), or - for stdin.")
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
    typer.Option(metavar="SECONDS", min=0.0, help="Stop then, with the best schedule so far."),
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
    int | None, typer.Option(min=1, help="Threads of the solver library, where supported.")
]
Encoding = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Variant of a formulation; see formulations/README.md."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing output file.")]
