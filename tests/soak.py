"""How long random tests look: once in a normal run, many times as long in `make soak`."""

from __future__ import annotations

import os

TIMES = 60 if os.environ.get("BACPACK_SOAK") else 1
