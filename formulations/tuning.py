"""How much effort goes where: every constant that changes how long a solver takes, and no result.

Units and rounding, on which proofs rest, stand beside the code that relies on them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tuning:
    """What the solvers of this package go by; the defaults are what measurements left."""

    small: int = 1000
    """Up to so many possible clusters programs alone solve an instance in no time."""
    rejections: int = 100
    """Solutions of one program that rounding let through and the evaluator does not accept."""

    # --- Shortest paths ---

    floor_beats: int = 4096
    """Beats that bounds on all segments try, at most,"""
    floor_work: int = 6 * 10**10
    """and additions they take in the worst case; fewer beats are tried in a deep network."""
    halvings: int = 14
    """Of a range of latencies for the bound on a single segment, at most."""
    precision: int = 4000
    """Schedules of segments are at most this part of their latency slower than the fastest."""
    alone: int = 500_000
    """Segments of one cluster, by first and last layer and region size, of which some are left
    out."""
    survey_rise: int = 4
    """The first ceiling of a survey is this part of the bound above it."""
    sweeps: int = 2
    """Bounds of all segments are computed so often; each time fewer beats are left to try."""
    sweep_again: int = 50
    """They are computed again if a ceiling turns out to be higher than needed by this part."""

    # --- Segments one by one ---

    cut_share: int = 2
    """A segment is first asked for this part of what the whole gap would allow it,"""
    cut_rise: int = 16
    """and for no more than this part of the bound above its own."""
    cut_close: int = 200
    """Gaps below this part of the objective are closed in one go."""
    stair_rise: int = 8
    """The first ceiling of a staircase is this part of the bound above it."""
    stair_ceilings: int = 6
    """Without a schedule, there is no ceiling any more after this many."""
    stair_close: int = 4
    """Gaps below this part of the latency are closed in one go."""

    # --- Placed instances ---

    linked_rise: int = 256
    """The first ceiling of a segment's programs is this part of the bound above it."""
    linked_close: int = 5000
    """Gaps below this part of the latency are closed in one go."""
    label_close: int = 1000
    """Without links the bound is raised to this part of the latency below what is possible."""
    linked_further: int = 3
    """Labels count so many clusters more than are asked for."""

    # --- cp-sat ---

    one_worker: int = 2000
    """Up to this many columns one worker needs less time than several take to begin."""
    coarse_steps: int = 1000
    """Beats are this many units long, at most, in the first, coarse program; energies its
    square."""
    max_columns: int = 1_000_000
    """Columns above which a program is not built; CP-SAT would need tens of gigabytes."""
    program_rise: int = 64
    """The first ceiling of a program is this part of the bound above it."""
    program_ceilings: int = 8
    """Without a schedule, there is no ceiling any more after this many."""
    program_close: int = 200
    """Gaps below this part of the bound are closed in one go."""
    fewer: float = 0.9
    """Bounds on beats are improved again if this part of the columns, or less, is left."""

    # --- network-milp, segment-milp ---

    opening_moves: int = 1_000_000
    """Moves of annealing that finds a schedule to begin with; 0 for none."""
    network_ratio: float = 1.2
    """Ratio of the ends of the first ranges of beats."""
    network_rise: int = 8
    """The first ceiling is this part of the bound above it, unless a schedule is near."""
    network_tries: int = 3
    """Without a schedule below the ceiling after so many rounds, it rises."""
    network_every: int = 3
    """Schedules are looked for in the first rounds and in every so manyth,"""
    network_share: float = 0.15
    """among what is within this part of the gap,"""
    network_nodes: int = 100
    """in so many nodes of HiGHS' search"""
    network_seconds: float = 4.0
    """and for so long, at most."""
    network_small: int = 100
    """Up to so many clusters are left to a program in integers."""
    network_grid: float = 1.1
    """Ratio of the ends of the ranges of beats in exported programs."""

    # --- compact-milp ---

    large: int = 8000
    """Possible clusters of an instance from which on programs alone find hardly any schedule."""
    exact_sizes: int = 64
    """Up to this many region sizes tables are exact from the start; coarser ones did not pay."""
    first_error: float = 0.2
    """Relative error of the first approximation of the tables otherwise."""
    coarse_gap: float = 0.01
    """Gap at which a program is left for the next one as long as refinement changes anything."""


DEFAULT = Tuning()
