"""Waiting for what other processes do, where nothing tells that they have done it."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Seconds that anything may take on a busy machine.
PATIENCE = 60


def until(condition: Callable[[], object], what: str = "it never came to that") -> None:
    """Look again and again until something holds; `what` is said if it never does."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)  # leaves the processor to what is waited for
