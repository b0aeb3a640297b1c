"""How long random tests look: once in a normal run, many times as long in `make soak`."""

from __future__ import annotations

import os

TIMES = 60 if os.environ.get("BACPACK_SOAK") else 1
#: The name under which tests record what became of changes, as numbers by name; a run tells the sums in the end.
SCORE = "changes of finished splits"
