"""What differs between operating systems: signals, cores, memory.

Everything is developed and tested on Linux. Elsewhere, what is missing here must at least not keep
the rest from being imported.
"""

from __future__ import annotations

import os
import signal
import sys

ENDINGS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""How a machine that shuts down, a scheduler or a terminal that closes ends a program."""


def usable_cores() -> int:
    """Cores that this process may use, where the system says so; all of them elsewhere."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def peak_memory_bytes() -> int | None:
    """Largest resident size of this process so far; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return getattr(psutil.Process().memory_info(), "peak_wset", None)
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else 1024 * size  # Linux counts kilobytes
