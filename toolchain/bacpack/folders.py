"""Where bacpack keeps its state: `BACPACK_HOME`, or the platform's folders for data and cache."""

from __future__ import annotations

import os
from pathlib import Path


def data_folder() -> Path:
    """Folder of the block store, pins and other state that must not be lost."""
    home = os.environ.get("BACPACK_HOME")
    if home:
        return Path(home)
    from platformdirs import user_data_path

    return user_data_path("bacpack")


def cache_folder() -> Path:
    """Folder of what can be made again, such as compiled modules."""
    home = os.environ.get("BACPACK_HOME")
    if home:
        return Path(home) / "cache"
    from platformdirs import user_cache_path

    return user_cache_path("bacpack")
