"""Programs in Go, built for WASI."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from packages import BUILD
from wanting import needed


def build_go(source: Path | str, target: Path, *options: str, cwd: Path | None = None) -> None:
    """Compile one program, without looking for another version of Go."""
    # It keeps counts of what it does below the home.
    config = {"XDG_CONFIG_HOME": str(BUILD / "cache" / "go-config")}
    environment = os.environ | config | {"GOOS": "wasip1", "GOARCH": "wasm", "GOTOOLCHAIN": "local"}
    line = [needed("go"), "build", *options, "-o", target, source]
    subprocess.run(line, cwd=cwd, env=environment, check=True)
