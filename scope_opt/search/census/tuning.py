"""What the census of schedules may cost, and how finely it is cut."""

from __future__ import annotations

# --- Enumeration ---------------------------------------------------------------------------------

MAX_SCHEDULES = 2 * 10**9
"""Most schedules that are enumerated, a matter of minutes."""
MAX_LINK_LOADS = 2**35
"""The same where transfers have places: as many schedules, times the links of the package."""
MAX_TIMES = 2**24
"""Most cluster times held in memory; the tighter limit for many layers on few chiplets."""
PAUSE = 10**7
"""Schedules between two looks at the clock, about."""
PLACED_PAUSE = 10**6
"""The same at most where transfers have places, as each schedule takes longer."""
BINS = 2000
"""Bins of a distribution."""

# --- Samples -------------------------------------------------------------------------------------

AT_ONCE = 2**14
"""Schedules drawn between two looks at the clock."""
MAX_LOG10 = 300
"""Largest space whose schedules floats can count."""
MAX_STEPS = 2**33
"""Most pairs of states and clusters to count over, some seconds."""
