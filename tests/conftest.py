"""What all tests share: how Hypothesis looks for examples."""

from __future__ import annotations

from hypothesis import settings

import soak

# A normal run tries the same examples every time; a busy machine makes any of them slow.
settings.register_profile(
    "tests", deadline=None, derandomize=soak.TIMES == 1, max_examples=100 * soak.TIMES, print_blob=True
)
settings.load_profile("tests")
