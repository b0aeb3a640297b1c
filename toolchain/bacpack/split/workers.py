"""How much is done at once."""

from __future__ import annotations

import os


def processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def can_fork() -> bool:
    """Whether workers can inherit what is in memory."""
    import multiprocessing  # slow to import, and one blob needs it not

    return "fork" in multiprocessing.get_all_start_methods()
