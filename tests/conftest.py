"""What all tests share: how Hypothesis looks for examples, and which signals reach what they start."""

from __future__ import annotations

import signal

from hypothesis import settings

import soak

# A normal run tries the same examples every time; a busy machine makes any of them slow.
settings.register_profile(
    "tests", deadline=None, derandomize=soak.TIMES == 1, max_examples=100 * soak.TIMES, print_blob=True
)
settings.load_profile("tests")


def pytest_configure() -> None:
    """Heed interrupts, as what tests start then does: a shell has its background jobs ignore them, for ever."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
