"""The real command, as a process of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

#: Root may read and write everything, unless it runs without the rights that let it.
WITHOUT_ROOTS_RIGHTS = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


def command(*arguments: object) -> list[str]:
    """The command line of `bacpack` with these arguments, run by this interpreter."""
    return [sys.executable, "-m", "bacpack.cli", *map(str, arguments)]


def environment(home: Path) -> dict[str, str]:
    """Variables for a store of its own, in which no warning passes unseen."""
    return {**os.environ, "BACPACK_HOME": str(home), "PYTHONWARNINGS": "error"}
