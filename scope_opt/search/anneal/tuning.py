"""How annealing spends its moves."""

from __future__ import annotations

import numpy as np

# --- What is minimized ---------------------------------------------------------------------------

CROWD, SPREAD = 0.02, 0.05
"""Weights of what the guide adds to the latency, see `state.revalue`."""

# --- Moves ---------------------------------------------------------------------------------------

FREQUENCY = np.array([30, 4, 20, 5, 5, 4, 12, 5, 5, 3, 1.5, 1.5])
"""How often each kind of move is tried, relative to the others."""
SEGMENT_MOVES = 0.2
"""How often segments are changed instead."""
BURST = 16
"""Moves inside a segment before another one is chosen."""
TRIALS = 50
"""Moves inside a new segment before it is judged, for every layer."""

# --- Temperature ---------------------------------------------------------------------------------

HOT, COLD = 0.1, 3e-4
"""First and last temperature, relative to the latency of the start."""
ROUNDS, ROUND_LAYERS = 4, 60
"""How often the temperature falls: at most so often, over at least so many layers in all.

Large networks gain most from one slow fall. Every fall but the first begins with the best schedule.
"""
REHEAT = 0.3
"""First temperature of each fall over that of the fall before it."""

# --- Budget --------------------------------------------------------------------------------------

MOVES, MOVES_PER_LAYER = 100_000, 50_000
"""Moves unless options say otherwise."""
CHUNK = 8192
"""Most moves between two looks at the clock, about."""
BALANCED_CUTS = 3
"""How many balanced cuts are annealed."""
MEMORY_ROWS = 2**24
"""Most layers, over all segments, in a `Memory`."""
